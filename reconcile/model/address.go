package model

import (
	"weft.dev/schema"
)

// address derives subnets, domain and resolvers.
func (r *resolver) address() {
	n, z := r.n, r.n.Zone
	r.fields()
	r.subnets()
	if t := n.Tier; t != nil {
		n.Domain, n.DNS = vpcNames(t.Spec, t.Doc, z)
		return
	}
	n.DNS = r.spec.DNS
	if len(n.DNS) == 0 {
		n.DNS = z.Spec.DNS
	}
	n.Domain = r.spec.NetworkDomain
	if n.Domain == "" {
		n.Domain = z.Spec.NetworkDomain
	}
	if n.Domain == "" {
		n.Domain = r.doc.Meta.Account + ".cloud.internal"
	}
	if n.Type() == GuestIsolated && !r.spec.CIDR.IsValid() {
		r.insideGuestCIDR()
	}
}

// insideGuestCIDR checks what schema cannot: the network took the zone's CIDR.
func (r *resolver) insideGuestCIDR() {
	c := r.n.CIDR
	for i, p := range r.spec.Reserved {
		if p.Addr().Is6() {
			continue // see reserved6
		}
		if !c.Contains(p.Addr()) || p.Bits() < c.Bits() {
			r.outside(d1(r.doc, "spec.reserved", i), "the reserved "+p.String(), p.String())
		} else if p == c {
			r.diags.Errorf(d1(r.doc, "spec.reserved", i), "outside-cidr", "%s is the whole network, nothing is left to allocate", p).
				Offending(p.String()).See(r.n.Zone.Doc.At("spec.guestCIDR"), "the zone's guestCIDR")
		}
	}
	for i, e := range r.spec.Egress {
		for j, p := range e.Sources {
			if p.Addr().Is4() && p.Bits() != 0 && (!c.Contains(p.Addr()) || p.Bits() < c.Bits()) {
				r.outside(r.doc.At(path2("spec.egress", i, "sources", j)), "the source "+p.String(), p.String())
			}
		}
	}
	for i, x := range r.spec.Routes {
		if x.Via.Is6() {
			continue // see routes6
		}
		if !c.Contains(x.Via) {
			r.outside(d2(r.doc, "spec.routes", i, "via"), "the next hop "+x.Via.String(), x.Via.String())
		}
		if c.Overlaps(x.CIDR) && x.CIDR.Bits() >= c.Bits() {
			r.diags.Errorf(d2(r.doc, "spec.routes", i, "cidr"), "route-inside", "%s is in the network itself, which has %s from zone %s", x.CIDR, c, r.n.Zone.Name).
				Offending(x.CIDR.String()).See(r.n.Zone.Doc.At("spec.guestCIDR"), "the zone's guestCIDR")
		}
	}
}

func (r *resolver) outside(at schema.Pos, what, text string) {
	r.diags.Errorf(at, "outside-cidr", "%s is outside %s, which the network has from zone %s", what, r.n.CIDR, r.n.Zone.Name).
		Offending(text).See(r.n.Zone.Doc.At("spec.guestCIDR"), "the zone's guestCIDR").Hintf("give the network a cidr of its own")
}

// Overhead is what an encapsulation takes of the wire's MTU: the outer IPv4 and
// its headers, and for VXLAN and GENEVE the inner Ethernet header.
func Overhead(scheme string) int {
	switch scheme {
	case schema.SchemeVXLAN, schema.SchemeGENEVE:
		return 50
	case schema.SchemeGRE:
		return 42
	}
	return 0
}

// minMTU is what IPv4 asks of every host.
const minMTU = 576

func (r *resolver) mtu() {
	n := r.n
	if n.Scheme == "" {
		return
	}
	scheme := n.Scheme
	for _, s := range n.Segments {
		if Overhead(s.Scheme) > Overhead(scheme) {
			scheme = s.Scheme
		}
	}
	room := n.Physical.Spec.MTU - Overhead(scheme)
	n.MTU = min(1500, room)
	switch {
	case room < minMTU:
		r.diags.Errorf(nameOf(r.doc), "mtu-too-small", "the wire of physical network %s carries %d bytes, which leaves %d inside %s", n.Physical.Name, n.Physical.Spec.MTU, room, scheme).
			See(n.Physical.Doc.At("spec.mtu"), "the wire's MTU").Hintf("at least %d are needed", minMTU)
	case r.spec.MTU > room:
		r.diags.Errorf(r.doc.At("spec.mtu"), "mtu-too-large", "mtu %d does not fit: the wire of physical network %s carries %d bytes, and %s takes %d", r.spec.MTU, n.Physical.Name, n.Physical.Spec.MTU, scheme, Overhead(scheme)).
			Offending(number(uint32(r.spec.MTU))).See(n.Physical.Doc.At("spec.mtu"), "the wire's MTU").Hintf("at most %d", room)
	case r.spec.MTU != 0:
		n.MTU = r.spec.MTU
	}
}
