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
// restarted), and the switch still holds the one before. The database shows
// nothing of it. The kernel does: a switch sets every link that it opens
// promiscuous (dpif-netdev's port_create, and the kernel's datapath alike).

// lookOutside notes of the links of the host's namespace which are not promiscuous
// and which are the host's own; nothing when they cannot be listed, and then nobody
// is taken for either.
func (d *Driver) lookOutside() (deaf map[string]bool, own map[string]string) {
	_ = d.host.In("", func() error {
		links, err := netlink.LinkList()
		if err != nil {
			return err
		}
		deaf, own = make(map[string]bool, len(links)), map[string]string{}
		for _, l := range links {
			a := l.Attrs()
			if a.RawFlags&unix.IFF_PROMISC == 0 {
				deaf[a.Name] = true
			}
			if what := ownLink(l); what != "" {
				own[a.Name] = what
			}
		}
		return nil
	})
	return deaf, own
}

// isDeaf reports whether the switch believes that it has the port of an ordinary
// link open, and has not.
func (v *view) isDeaf(p *port) bool {
	if linkType(p.link) != "" || !v.deaf[p.Name] {
		return false
	}
	_, open := plugged(p.link)
	return open && p.link.Error == nil
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
