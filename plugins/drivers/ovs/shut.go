package ovs

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"

	"weft.dev/reconcile/resource"
)

// A shut port stands on a guest's link that is not up, and carries nothing. The
// switch itself may have done it: to make a link that it opens promiscuous it writes
// back all flags that it read of it before (lib/netdev-linux.c, update_flags), and
// when a hypervisor sets the link up in between, as libvirt does with a device that
// it made for a port which waits for it, that is lost. Nobody repeats it.

// isShut reports whether the switch has the port open and its link is down.
func (v *view) isShut(p *port) bool {
	_, open := plugged(p.link)
	return open && p.link.Error == nil && v.shut[p.Name]
}

// unready is st with a guest's link that the switch does not serve yet, and why: to be
// mended, and nobody's tampering, since a guest's device comes and goes, and is down for
// a moment when it is made.
func unready(st resource.Port, why string) resource.State {
	s, ok := observed(st, []string{why}).(resource.Seen)
	s.Rebound = ok
	return s
}

// raise sets the link of a guest's port up if it is down.
func (d *Driver) raise(v *view, st resource.Port) error {
	p := v.ports[st.Name]
	if !lent(st) || v.own[st.Name] != "" || !d.ours(p.ExternalIDs) || !v.isShut(p) {
		return nil
	}
	err := d.host.In("", func() error {
		l, err := netlink.LinkByName(st.Name)
		if errors.As(err, &netlink.LinkNotFoundError{}) {
			return nil // it went in the meantime
		}
		if err != nil {
			return err
		}
		return netlink.LinkSetUp(l)
	})
	if err != nil {
		return fmt.Errorf("%s: set its interface up: %w", st.ID(), err)
	}
	return nil
}
