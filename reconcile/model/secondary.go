package model

import (
	"net/netip"

	"weft.dev/schema"
)

// FieldSecondaryIP and an address after it is a field of a NIC for each of its
// secondary addresses. They are stated, never allocated; of IPv6 ones the lock has the
// lower half, as of others.
const FieldSecondaryIP = "secondary-ip/"

// secondary checks the further addresses that a NIC states, and has the lock keep
// them for it.
func (r *resolver) secondary(n *NIC, owner, before string, i int, pod string) {
	if len(n.Spec.SecondaryIPs) == 0 {
		return
	}
	at := func(j int) schema.Pos { return n.VM.At(path2("spec.nics", i, "secondaryIPs", j)) }
	pool := r.poolOf(pod)
	if pool == nil {
		if r.n.Type() == GuestL2 {
			r.diags.Errorf(at(0), "no-addresses", "network %s is L2, which has no addresses", r.n.ID.Name).
				Offending(n.Spec.SecondaryIPs[0].String()).See(r.doc.At("spec.offering"), "its offering").Hintf("leave secondaryIPs out")
		}
		return
	}
	for j, ip := range n.Spec.SecondaryIPs {
		if ip.Is6() {
			r.secondary6(n, Demand{Owner: owner, Field: FieldSecondaryIP + ip.String(), Pos: at(j), Formerly: before}, ip, pod)
			continue
		}
		if !r.stated(ip, at(j), pod) {
			continue
		}
		if s := r.n.subnetOf(ip); n.Subnet != nil && s != n.Subnet {
			r.diags.Errorf(at(j), "other-subnet", "%s is in subnet %s, and the NIC in subnet %s", ip, s.Name, n.Subnet.Name).
				Offending(ip.String()).See(r.doc.At("spec.subnets"), "the subnets")
			continue
		}
		text := ip.String()
		r.demand(Demand{Owner: owner, Field: FieldSecondaryIP + text, Pool: pool, Pos: at(j), Fixed: text, Formerly: before})
	}
}

// addresses calls f with every IPv4 address that the document gives the NIC.
func (n *NIC) addresses(f func(netip.Addr)) {
	if n.Spec.IP.IsValid() {
		f(n.Spec.IP)
	}
	for _, ip := range n.Spec.SecondaryIPs {
		if ip.Is4() {
			f(ip)
		}
	}
}
