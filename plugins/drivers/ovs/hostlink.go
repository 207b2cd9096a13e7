package ovs

import (
	"errors"
	"fmt"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"weft.dev/reconcile/resource"
)

// fit refuses to plug in what the host itself lives on: in a bridge a link's
// addresses are of no use any more, and with them perhaps the way to the host. A
// network card that came under a guest's name after the port was there is unplugged.
func (t *txn) fit(st resource.Port) error {
	p := t.v.ports[st.Name]
	switch {
	case st.Uplink && p == nil:
		links := []string{st.Name}
		if st.Bond != nil {
			links = st.Bond.Members
		}
		return t.d.host.In("", func() error {
			for _, l := range links {
				switch err := bare(l); {
				case err != nil && st.Bond != nil:
					return fmt.Errorf("link %s: %w", l, err)
				case err != nil:
					return err
				}
			}
			return nil
		})
	case !lent(st):
		return nil
	case p == nil:
		return t.d.host.In("", func() error { return spare(st.Name) })
	case t.v.own[st.Name] != "":
		return errors.Join(errors.New(t.v.own[st.Name]+"; "+guestHint), t.dropPort(st.ID()))
	}
	return nil
}

// lent reports whether p is the port of a link that is made for a guest, by whom
// weft does not know.
func lent(p resource.Port) bool { return p.Type == "" && p.Link == nil && !p.Uplink }

// bare refuses an uplink that is not there, or carries an address.
func bare(name string) error {
	l, err := netlink.LinkByName(name)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return errors.New("there is no such interface on this host")
	}
	if err != nil {
		return fmt.Errorf("look at link: %w", err)
	}
	address, err := carried(l, true)
	if err == nil && address != "" {
		err = fmt.Errorf("it carries the address %s and would lose it in the bridge; move the address away, or let weft move it (manage: Takeover)", address)
	}
	return err
}

// spare refuses a guest's interface that is there and is the host's own. It may
// appear later.
func spare(name string) error {
	l, err := netlink.LinkByName(name)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at link: %w", err)
	}
	if what := ownLink(l); what != "" {
		return fmt.Errorf("%s; %s", what, guestHint)
	}
	if at := l.Attrs().MasterIndex; at != 0 {
		if m, err := netlink.LinkByIndex(at); err == nil && m.Type() != "openvswitch" {
			return fmt.Errorf("it is plugged into %s; %s", m.Attrs().Name, guestHint)
		}
	}
	address, err := carried(l, false)
	if err == nil && address != "" {
		err = fmt.Errorf("it carries the address %s, so it is this host's; %s", address, guestHint)
	}
	if err != nil {
		return err
	}
	routes, err := netlink.RouteList(l, netlink.FAMILY_ALL)
	if err != nil {
		return fmt.Errorf("look at its routes: %w", err)
	}
	if slices.ContainsFunc(routes, isDefault) {
		return fmt.Errorf("the default route of this host leads through it; %s", guestHint)
	}
	return nil
}

const guestHint = "a NIC's interface names the end that the hypervisor makes for it, such as tap-web-1"

// guestKinds are the links at whose other end a guest may be.
var guestKinds = []string{"tuntap", "veth"}

// ownLink says what a link is at whose other end no guest can be: a network card,
// or what the host built of others; "" of all else.
func ownLink(l netlink.Link) string {
	switch kind := l.Type(); {
	case kind == "device":
		return "it is a network card of this host"
	case !slices.Contains(guestKinds, kind):
		return "it is a " + kind + " of this host"
	}
	return ""
}

// carried returns an address of l, or "". Link-local ones of the kernel's are none;
// those that a router told the link, as a guest may, count if told says so.
func carried(l netlink.Link, told bool) (string, error) {
	addrs, err := netlink.AddrList(l, netlink.FAMILY_ALL)
	if err != nil {
		return "", fmt.Errorf("look at its addresses: %w", err)
	}
	for _, a := range addrs {
		if a.IP.To4() != nil || !a.IP.IsLinkLocalUnicast() && (told || a.Flags&unix.IFA_F_PERMANENT != 0) {
			return a.IPNet.String(), nil
		}
	}
	return "", nil
}

// isDefault reports whether r leads everywhere, and no guest said so.
func isDefault(r netlink.Route) bool {
	if r.Type != unix.RTN_UNICAST || r.Protocol == unix.RTPROT_RA {
		return false
	}
	if r.Dst == nil {
		return true
	}
	ones, _ := r.Dst.Mask.Size()
	return ones == 0
}
