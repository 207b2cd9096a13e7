package plugin

import (
	"net/netip"
	"slices"

	"weft.dev/reconcile/model"
)

// FreeInterface reports an interface name of a NIC that would plug what h itself is
// made of, whatever its switch.
func (d *Draft) FreeInterface(h *model.Host, nic *model.NIC) {
	what := ""
	for _, b := range h.Spec.Bridges {
		switch {
		case b.Name == nic.Interface:
			what = "is a bridge of host " + h.Name
		case slices.Contains(b.Uplinks, nic.Interface), b.Bond != nil && b.Bond.Name == nic.Interface:
			what = "is an uplink of host " + h.Name
		}
	}
	if what != "" {
		d.Diags.Errorf(nic.Pos, "interface-taken", "the interface %s of NIC %s %s", nic.Interface, nic.ID, what).
			Offending(nic.Interface).Hintf("choose another name, such as tap-%s", nic.VM.Meta.Name)
	}
}

// Resolvers are what n tells its guests in s to ask for names.
func Resolvers(n *model.Network, s *model.Segment) []netip.Addr {
	switch {
	case len(n.Spec.GuestDNS) > 0:
		return n.Spec.GuestDNS
	case s.Side != nil && n.Offering.Spec.Services.Dns != nil:
		var out []netip.Addr
		for _, sub := range s.Subnets {
			if sub.RouterIP.IsValid() {
				out = append(out, sub.RouterIP)
			}
		}
		if s.IP6 != nil && s.IP6.Router.IsValid() {
			out = append(out, s.IP6.Router)
		}
		return out
	}
	return n.DNS
}
