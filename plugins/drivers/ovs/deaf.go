package ovs

import (
	"context"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"weft.dev/reconcile/resource"
)

// A deaf port stands on a link that the switch does not have open: the link was
// made anew under its old name (a router's namespace was deleted, a guest
// restarted), and the switch still holds the one before. The database shows no more
// of it than a new ifindex, which wakes whoever watches. The kernel does: a switch
// sets every link that it opens promiscuous (dpif-netdev's port_create). The kernel's
// datapath does too, but in a way that no flag shows; there it is the link's master.

const deafWords = "its interface was made anew, and the switch still listens to the one before"

// outside is what the kernel says of the links of the host's namespace; nothing when
// they cannot be listed, and then none is taken for any of this.
type outside struct {
	deaf map[string]bool   // no switch has them open
	shut map[string]bool   // not up, see shut.go
	own  map[string]string // cannot be a guest's, and why, see hostlink.go
}

func (d *Driver) lookOutside() outside {
	var x outside
	_ = d.host.In("", func() error {
		links, err := netlink.LinkList()
		if err != nil {
			return err
		}
		x = outside{deaf: make(map[string]bool, len(links)), shut: map[string]bool{}, own: map[string]string{}}
		datapaths := map[int]bool{}
		for _, l := range links {
			datapaths[l.Attrs().Index] = l.Type() == "openvswitch"
		}
		for _, l := range links {
			a := l.Attrs()
			if a.RawFlags&unix.IFF_PROMISC == 0 && !datapaths[a.MasterIndex] {
				x.deaf[a.Name] = true
			}
			if a.RawFlags&unix.IFF_UP == 0 {
				x.shut[a.Name] = true
			}
			if what := ownLink(l); what != "" {
				x.own[a.Name] = what
			}
		}
		return nil
	})
	return x
}

// isDeaf reports whether the switch believes that it has a port of ordinary links
// open, and of one has not.
func (v *view) isDeaf(p *port) bool { return slices.ContainsFunc(p.links, v.deafTo) }

func (v *view) deafTo(l *interfaceRow) bool {
	_, open := plugged(l)
	return open && l.Error == nil && linkType(l) == "" && v.deaf[l.Name]
}

// unplugDeaf takes out the ports of part that are deaf and are to be made: the
// switch opens a link anew only after its port was gone for a transaction.
func (d *Driver) unplugDeaf(ctx context.Context, v *view, r *run, part []int) (bool, error) {
	t := &txn{d: d, v: v}
	for _, i := range part {
		st, ok := r.steps[i].State().(resource.Port)
		if !ok {
			continue
		}
		if p := v.ports[st.Name]; p != nil && d.ours(p.ExternalIDs) && v.isDeaf(p) {
			t.op(unlink(tableBridge, p.bridge.Name, "ports", p.UUID))
		}
	}
	if len(t.ops) == 0 {
		return false, nil
	}
	s, err := d.db.open(ctx)
	if err == nil {
		err = s.transact(ctx, v, slices.Clone(t.ops))
	}
	return true, err
}
