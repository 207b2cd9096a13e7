package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/vishvananda/netlink"

	"weft.dev/reconcile/host"
	"weft.dev/reconcile/lab/link"
	"weft.dev/reconcile/pair"
)

// A Router is one on this host.
type Router struct {
	Netns string // "" where there is none
	// Standby: it is one of a pair, and not the primary.
	Standby bool
}

// Router returns the router ACCOUNT/NETWORK-OR-VPC on this host. Between the two may stand network/ or vpc/. A router is
// found by weft's mark on its namespace.
func (n *Node) Router(name string, found *Router) error {
	const dir = "/run/netns"
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("list namespaces: %w", err)
	}
	for _, e := range entries {
		var mark string
		err := link.Within(dir+"/"+e.Name(), func() error {
			lo, err := netlink.LinkByName("lo")
			if err == nil {
				mark = lo.Attrs().Alias
			}
			return err
		})
		if err == nil && routerOf(mark, name) {
			*found = Router{Netns: e.Name(), Standby: standby(mark, e.Name())}
			return nil
		}
	}
	return nil
}

// standby says whether the router is one of a pair that wrote down that it is not the primary.
func standby(mark, netns string) bool {
	instance, _, _ := host.ReadAlias(mark)
	list, err := pair.Read(host.New("", instance).Kept(netns + "/keepalived"))
	return err == nil && len(list) > 0 && list[len(list)-1].State != pair.Primary
}

// routerOf says whether the mark on lo of a namespace is that of a router, whose owner is the network or VPC, of that name.
func routerOf(mark, name string) bool {
	_, owner, ours := host.ReadAlias(mark)
	kind, of, _ := strings.Cut(owner, "/")
	account, last, _ := strings.Cut(of, "/")
	return ours && (kind == "network" || kind == "vpc") && (name == of || name == account+"/"+kind+"/"+last)
}
