package ovs

import (
	"net/netip"

	"weft.dev/reconcile/model"
	"weft.dev/reconcile/plugin/pipeline"
	"weft.dev/schema"
)

// owned is what may leave the port of a NIC: its MAC, and with it its addresses and
// those that are allowed besides. In an L2 network nobody knows addresses.
func owned(n *model.Network, nic *model.NIC) pipeline.Owned {
	o := pipeline.Owned{MAC: nic.MAC, Any: n.Type() == model.GuestL2, IPs: make([]netip.Prefix, 0, 2+len(nic.Spec.SecondaryIPs))}
	for _, a := range []netip.Addr{nic.IP, nic.IP6} {
		if a.IsValid() {
			o.IPs = append(o.IPs, netip.PrefixFrom(a, a.BitLen()))
		}
	}
	for _, a := range nic.Spec.SecondaryIPs {
		o.IPs = append(o.IPs, netip.PrefixFrom(a, a.BitLen()))
	}
	for i := range nic.Spec.AllowedAddresses {
		a := &nic.Spec.AllowedAddresses[i]
		o.More = append(o.More, pipeline.Pair{CIDR: a.CIDR, MAC: a.MAC})
	}
	return o
}

func allowed6(a schema.AllowedAddress) bool { return a.CIDR.Addr().Is6() }
