package link

import (
	"net"

	"weft.dev/reconcile/resource"
)

// The MAC of a guest's interface on the host is the guest's with this first octet:
// libvirt makes it so, so that a bridge does not take the lowest of its ports'.
const hostOctet = 0xfe

// hostMAC is the MAC of the host's end of the NIC with a MAC, "" if that is none.
func hostMAC(nic string) string {
	mac, err := parseMAC(nic)
	if err != nil || mac == nil {
		return ""
	}
	return net.HardwareAddr(append([]byte{hostOctet}, mac[1:]...)).String()
}

// find returns the link of that name or, without one, the guest's interface with
// the MAC of a NIC; nil if it is not there. Of two it is the one that is plugged in
// already, or the older.
func (d *Driver) find(list []iface, name, nic string) *iface {
	mac := hostMAC(nic)
	var found *iface
	for i := range list {
		l := &list[i]
		if name != "" {
			if l.name == name {
				return l
			}
			continue
		}
		_, ours := d.host.OwnerOf(l.alias)
		if mac == "" || l.mac != mac || ours || d.made(*l) || l.kind == "bridge" {
			continue
		}
		if found == nil || found.master == 0 && l.master != 0 {
			found = l
		}
	}
	return found
}

// search is find among the links of x. Guests' interfaces are looked for among those
// that were there when x first looked: weft makes none.
func (x *site) search(name, nic string) (*iface, error) {
	if name == "" {
		if x.seen == nil {
			var err error
			if x.seen, err = links(x.space); err != nil {
				return nil, err
			}
		}
		l := x.d.find(x.seen, "", nic)
		if l == nil {
			return nil, nil
		}
		name = l.name
	}
	l, ok, err := linkNamed(x.space, name)
	if err != nil || !ok {
		return nil, err
	}
	return &l, nil
}

// bound is a port or a limit that was put on a link: the index is 0 for a guest's
// that was not there.
type bound[T resource.State] struct {
	State T      `json:"state"`
	Owner string `json:"owner"`
	Index int32  `json:"index,omitempty"`
}

// or returns what was noted and whose it is, or what is wanted where nothing was.
func (b bound[T]) or(want resource.Entry) (T, string) {
	if b.Owner != "" {
		return b.State, b.Owner
	}
	st, _ := want.State.(T)
	return st, string(want.Owner)
}

// rebound is what a guest's interface that came, or came anew, needs.
func rebound(st resource.State, name string) resource.State {
	s, _ := drifted(st, []string{"its interface " + name + " came"}).(resource.Seen)
	s.Rebound = true
	return s
}

// unbound notes that the link of st is not there yet.
func unbound(out *resource.Observed, owner resource.Owner, symbol string) {
	out.Unbound[owner] = append(out.Unbound[owner], symbol)
}
