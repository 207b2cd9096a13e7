package model

import (
	"weft.dev/schema"
)

// address derives CIDR, gateway, domain and resolvers.
func (r *resolver) address() {
	n, z := r.n, r.n.Zone
	n.CIDR, n.Gateway = r.spec.CIDR, r.spec.Gateway
	if !n.CIDR.IsValid() {
		n.CIDR = z.Spec.GuestCIDR
	}
	n.CIDR = n.CIDR.Masked()
	if !n.Gateway.IsValid() {
		n.Gateway = n.CIDR.Addr().Next()
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
	r.pool = guestPool(n.ID, n.CIDR, n.Gateway, r.spec.Reserved)
	if !r.spec.CIDR.IsValid() {
		r.insideGuestCIDR()
	}
}

// insideGuestCIDR checks what schema cannot: the network took the zone's CIDR.
func (r *resolver) insideGuestCIDR() {
	c := r.n.CIDR
	for i, p := range r.spec.Reserved {
		if !c.Contains(p.Addr()) || p.Bits() < c.Bits() {
			r.outside(d1(r.doc, "spec.reserved", i), "the reserved "+p.String(), p.String())
		}
	}
	for i, e := range r.spec.Egress {
		for j, p := range e.Sources {
			if p.Bits() != 0 && (!c.Contains(p.Addr()) || p.Bits() < c.Bits()) {
				r.outside(r.doc.At(path2("spec.egress", i, "sources", j)), "the source "+p.String(), p.String())
			}
		}
	}
	for i, x := range r.spec.Routes {
		if !c.Contains(x.Via) {
			r.outside(d2(r.doc, "spec.routes", i, "via"), "the next hop "+x.Via.String(), x.Via.String())
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
	room := n.Physical.Spec.MTU - Overhead(n.Scheme)
	n.MTU = min(1500, room)
	switch {
	case room < minMTU:
		r.diags.Errorf(nameOf(r.doc), "mtu-too-small", "the wire of physical network %s carries %d bytes, which leaves %d inside %s", n.Physical.Name, n.Physical.Spec.MTU, room, n.Scheme).
			See(n.Physical.Doc.At("spec.mtu"), "the wire's MTU").Hintf("at least %d are needed", minMTU)
	case r.spec.MTU > room:
		r.diags.Errorf(r.doc.At("spec.mtu"), "mtu-too-large", "mtu %d does not fit: the wire of physical network %s carries %d bytes, and %s takes %d", r.spec.MTU, n.Physical.Name, n.Physical.Spec.MTU, n.Scheme, Overhead(n.Scheme)).
			Offending(number(uint32(r.spec.MTU))).See(n.Physical.Doc.At("spec.mtu"), "the wire's MTU").Hintf("at most %d", room)
	case r.spec.MTU != 0:
		n.MTU = r.spec.MTU
	}
}
