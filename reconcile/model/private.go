package model

import (
	"weft.dev/schema"
)

// private resolves the secondary VLAN of a private VLAN. Networks with one
// primary are one private VLAN: their promiscuous ports hear all, those of a
// community each other, isolated ones nobody else. As in CloudStack a primary has
// one network of promiscuous ports, and a secondary belongs to one network.
func (r *resolver) private() {
	n, p := r.n, r.spec.PVLAN
	if p == nil || n.Type() == GuestIsolated {
		return
	}
	s := n.Segments[0]
	if !r.mayBePrivate(s) {
		return
	}
	d := Demand{Owner: r.owner, Field: FieldSecondary, Fixed: number(uint32(p.Secondary)), Pos: r.doc.At("spec.pvlan")}
	wire := n.Zone.wires[n.Physical.Guest]
	if p.Type == "Promiscuous" {
		d.Pool = &vnetPool{space: "promiscuous " + wire.space, describe: "VLAN of promiscuous ports " + wire.space[len("vlan "):], spans: spans{{1, 4094}}}
	} else {
		if r.publicVLAN(uint32(p.Secondary), d.Fixed, "spec.pvlan.secondary") {
			return
		}
		d.Pool = wire.vlans
	}
	if v := r.demand(d); v != "" {
		s.Secondary, _ = parseID(v)
	}
}

// mayBePrivate holds what CloudStack asks of private VLANs.
func (r *resolver) mayBePrivate(s *Segment) bool {
	n := r.n
	refuse := func(code, format string, args ...any) *schema.Diag {
		return r.diags.Errorf(r.doc.At("spec.pvlan"), code, format, args...).Offending("pvlan")
	}
	switch {
	case n.Zone.Basic() || n.Zone.Spec.SecurityGroups:
		refuse("pvlan-zone", "zone %s isolates by security groups, so a network of it can not be a private VLAN", n.Zone.Name).
			See(nameOf(n.Zone.Doc), "the zone")
	case n.Offering.Spec.Services.SecurityGroup != nil:
		refuse("pvlan-security-groups", "a private VLAN has no security groups, which offering %s has", n.Offering.Name)
	case n.Offering.Spec.InternetProtocol == "DualStack" || r.spec.IP6 != nil:
		refuse("pvlan-ipv6", "a private VLAN has no IPv6")
	case len(n.Segments) > 1 || s.owner != r.owner:
		refuse("pvlan-subnets", "a private VLAN is one broadcast domain, and subnets of network %s have a VLAN of their own", n.ID.Name)
	case r.spec.VLAN.Scheme != schema.SchemeVLAN || r.spec.VLAN.ID == 0:
		if s.Scheme != "" {
			refuse("pvlan-needs-vlan", "a private VLAN has to state its primary VLAN").Hintf("add vlan: \"vlan://ID\", with an offering that has specifyVlan")
		}
	default:
		return s.Scheme != ""
	}
	return false
}
