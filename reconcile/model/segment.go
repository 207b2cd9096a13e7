package model

import (
	"weft.dev/schema"
)

// broadcast decides the broadcast domains and asks for their numbers.
func (r *resolver) broadcast() {
	n := r.n
	for i, s := range n.Segments {
		switch {
		case n.Zone.Basic() && i > 0:
			// Pods are networks of their own, and all of them are untagged.
			s.Scheme, s.VNet = n.Segments[0].Scheme, n.Segments[0].VNet
		case n.Zone.Basic():
			r.untagged(s)
		case s.owner != r.owner:
			at := s.Subnets[0].path + "vlan"
			if r.mayState(s.Subnets[0].vlan, at) {
				r.explicit(s, s.Subnets[0].vlan, at)
			}
		default:
			r.ownDomain(s)
		}
	}
	if len(n.Segments) > 0 {
		n.Scheme, n.VNet = n.Segments[0].Scheme, n.Segments[0].VNet
	}
	r.overlap()
	r.private()
}

// overlap holds that only VLANs are those of several networks: whose hosts a tunnel
// leads to, one network alone knows.
func (r *resolver) overlap() {
	n := r.n
	if n.Spec.AllowVLANOverlap && n.Type() != GuestIsolated && tunneled(n.Scheme) {
		r.diags.Errorf(r.doc.At("spec.allowVlanOverlap"), "overlap-not-vlan", "only a VLAN can be that of several networks, and network %s is %s", n.ID.Name, n.Scheme).
			Offending("true").See(nameOf(n.Physical.Doc), "its physical network").Hintf("leave allowVlanOverlap out, or state a VLAN")
	}
}

// ownDomain is that of what states no VLAN of its own.
func (r *resolver) ownDomain(s *Segment) {
	n, u := r.n, r.spec.VLAN
	switch {
	case !u.IsZero():
		if r.mayState(u, "spec.vlan") {
			r.explicit(s, u, "spec.vlan")
		}
	case n.Offering.Spec.SpecifyVLAN:
		r.diags.Errorf(r.doc.At("spec"), "vlan-missing", "offering %s has specifyVlan: the network has to state its VLAN", n.Offering.Name).
			Hintf("add vlan: \"vlan://ID\"")
	default:
		s.Scheme = schemeOf(n.Physical)
		pool := n.Zone.vnetPool(n.Physical, n.Account)
		if pool.Size() == 0 {
			r.noVNets()
			return
		}
		r.number(s, Demand{Pool: pool, Pos: r.doc.Pos})
	}
}

// mayState reports whether the offering lets the network state its VLAN.
func (r *resolver) mayState(u schema.BroadcastURI, path string) bool {
	if r.n.Offering.Spec.SpecifyVLAN {
		return true
	}
	r.diags.Errorf(r.doc.At(path), "vlan-not-allowed", "offering %s does not let a network state its VLAN", r.n.Offering.Name).
		Offending(u.String()).Hintf("leave vlan out, or use an offering with specifyVlan: true")
	return false
}

// explicit takes the broadcast domain that the document states at path.
func (r *resolver) explicit(s *Segment, u schema.BroadcastURI, path string) {
	n := r.n
	s.Scheme = u.Scheme
	d := Demand{Fixed: number(u.ID), Pool: n.Zone.vnetPool(n.Physical, n.Account)}
	if u.Scheme == schema.SchemeVLAN || u.Scheme == schema.SchemeNative {
		if r.publicVLAN(u.ID, u.String(), path) {
			return
		}
		d.Pool = n.Zone.wires[n.Physical.Guest].vlans
	}
	if r.dedicatedVNet(d.Pool.Space(), u.ID, u.String(), path) || r.commonVNet(d.Pool.Space(), u.ID, u.String(), path) {
		return
	}
	d.Pos = r.doc.At(path)
	r.number(s, d)
}

// publicVLAN reports that a VLAN is that of a public or storage range on the wire.
func (r *resolver) publicVLAN(id uint32, text, path string) bool {
	w := r.n.Zone.wires[r.n.Physical.Guest]
	p := w.public[id]
	if s, ok := w.storage[id]; ok && p == nil {
		r.diags.Errorf(r.doc.At(path), "vlan-taken", "%s is that of a storage range of physical network %s on the same wire", text, s.on.Name).
			Offending(text).See(s.pos(), "the range")
		return true
	}
	if p == nil {
		return false
	}
	r.diags.Errorf(r.doc.At(path), "vlan-taken", "%s is that of public range %s on the same wire", text, p.Name).
		Offending(text).See(p.Doc.At("spec"), "the range")
	return true
}

// number asks for the number of a broadcast domain.
func (r *resolver) number(s *Segment, d Demand) {
	d.Owner, d.Field = s.owner, FieldVNet
	if r.n.Common() {
		d.Field, d.Shares = FieldSharedVNet, "overlap"
		if r.spec.PVLAN != nil {
			d.Shares = "pvlan"
		}
	}
	if v := r.demand(d); v != "" {
		s.VNet, _ = parseID(v)
	}
}
