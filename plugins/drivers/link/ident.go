package link

import (
	"fmt"
	"net/netip"
	"strings"

	"weft.dev/reconcile/resource"
)

// cut splits the name of an ID at its first "/": namespace and the rest.
func cut(name string) (ns, rest string, ok bool) { return strings.Cut(name, "/") }

// addrOf reads the ID of an address, which says everything of it.
func addrOf(id resource.ID) (resource.Addr, bool) {
	ns, rest, ok := cut(id.Name)
	if !ok {
		return resource.Addr{}, false
	}
	link, prefix, ok := strings.Cut(rest, "/")
	if !ok {
		return resource.Addr{}, false
	}
	p, err := netip.ParsePrefix(prefix)
	return resource.Addr{NS: ns, Link: link, Prefix: p}, err == nil
}

// dstOf reads the destination from the ID of a route.
func dstOf(id resource.ID) (netip.Prefix, bool) {
	_, rest, _ := cut(id.Name)
	p, err := netip.ParsePrefix(rest)
	return p, err == nil
}

func routeID(ns string, dst netip.Prefix) resource.ID { return resource.Route{NS: ns, Dst: dst}.ID() }

// index finds a link by name.
func (x *site) index(name string) (int32, error) {
	l, ok, err := linkNamed(x.space, name)
	if err != nil {
		return 0, err
	}
	if !ok {
		return 0, fmt.Errorf("link %s does not exist", name)
	}
	return l.index, nil
}
