package compile

import (
	"cmp"
	"maps"
	"slices"

	"weft.dev/reconcile/model"
	"weft.dev/schema"
)

// A placed subnet is one that the world knows a way to: of a Shared or Routed network,
// or a Routed VPC.
type placed struct {
	unit   *unit
	subnet *model.Subnet
}

// overlaps reports placed subnets of one zone that have addresses in common, and
// holds both: routers outside know one way to an address.
func (c *Compiler) overlaps(ds *schema.Diags, hold func(*unit, string)) {
	if len(c.shared) < 2 {
		return
	}
	var all []placed
	for u := range c.shared {
		for _, s := range outside(u.net) {
			all = append(all, placed{u, s})
		}
	}
	zone := func(p placed) string { return p.unit.net.Zone.Name }
	slices.SortFunc(all, func(a, b placed) int {
		return cmp.Or(cmp.Compare(zone(a), zone(b)), a.subnet.CIDR.Addr().Compare(b.subnet.CIDR.Addr()),
			cmp.Compare(a.subnet.CIDR.Bits(), b.subnet.CIDR.Bits()), compareID(a.unit.id, b.unit.id))
	})
	for i, a := range all {
		// Networks either contain each other or have nothing in common, so those
		// that a overlaps follow at once.
		for _, b := range all[i+1:] {
			if zone(a) != zone(b) || !a.subnet.CIDR.Overlaps(b.subnet.CIDR) {
				break
			}
			if a.unit != b.unit {
				overlap(ds, hold, a, b)
			}
		}
	}
}

func overlap(ds *schema.Diags, hold func(*unit, string), a, b placed) {
	pos := func(p placed) schema.Pos {
		if p.unit.vpc != nil {
			return p.unit.net.Doc.At("spec.cidr")
		}
		return p.unit.net.CIDRPos(p.subnet)
	}
	at, other := pos(a), pos(b)
	if c := cmp.Or(cmp.Compare(at.File, other.File), cmp.Compare(at.Line, other.Line), cmp.Compare(at.Col, other.Col)); c < 0 {
		a, b, at, other = b, a, other, at
	}
	ds.Errorf(at, "overlapping-cidr", "%s of %s overlaps %s of %s: Shared and Routed networks of a zone have no addresses in common", a.subnet.CIDR, a.unit.id, b.subnet.CIDR, b.unit.id).
		Offending(a.subnet.CIDR.String()).See(other, "the other network")
	hold(a.unit, "its addresses are also those of "+b.unit.id.String())
	hold(b.unit, "its addresses are also those of "+a.unit.id.String())
}

// An advertised prefix is that of a broadcast domain of a Shared network.
type advertised struct {
	unit    *unit
	segment *model.Segment
}

// advertisements reports broadcast domains that two Shared networks have with a /64
// each, and holds both: their guests hear of both and make an address of each.
func (c *Compiler) advertisements(ds *schema.Diags, hold func(*unit, string)) {
	type wire struct {
		zone, label, scheme string
		vnet                uint32
	}
	seen := map[wire][]advertised{}
	for _, u := range slices.SortedFunc(maps.Keys(c.shared), func(a, b *unit) int { return compareID(a.id, b.id) }) {
		for _, s := range u.net.Segments {
			if s.IP6 == nil || s.Scheme == "" || !u.answered {
				continue
			}
			w := wire{u.net.Zone.Name, u.net.Physical.Guest, s.Scheme, s.VNet}
			for _, o := range seen[w] {
				if o.unit != u {
					bothAdvertised(ds, hold, advertised{u, s}, o)
				}
			}
			seen[w] = append(seen[w], advertised{u, s})
		}
	}
}

func bothAdvertised(ds *schema.Diags, hold func(*unit, string), a, b advertised) {
	pos := func(x advertised) schema.Pos { return x.unit.net.IP6Pos(x.segment) }
	at, other := pos(a), pos(b)
	if c := cmp.Or(cmp.Compare(at.File, other.File), cmp.Compare(at.Line, other.Line), cmp.Compare(at.Col, other.Col)); c < 0 {
		a, b, at, other = b, a, other, at
	}
	ds.Errorf(at, "two-ip6", "%s of %s and %s of %s are in one broadcast domain: guests hear of both and make an address of each", a.segment.IP6.CIDR, a.unit.id, b.segment.IP6.CIDR, b.unit.id).
		Offending(a.segment.IP6.CIDR.String()).See(other, "the other network").Hintf("leave ip6 out of one of them, or give it a VLAN of its own")
	hold(a.unit, "its broadcast domain has the IPv6 of "+b.unit.id.String()+" too")
	hold(b.unit, "its broadcast domain has the IPv6 of "+a.unit.id.String()+" too")
}

// isShared reports whether u takes part in overlaps.
func isShared(u *unit) bool { return u.net != nil && len(outside(u.net)) > 0 }

// outside are the subnets of n that the world knows a way to: none of a tier's, because
// a Routed VPC has all of its CIDR for itself.
func outside(n *model.Network) []*model.Subnet {
	switch {
	case n.Tier != nil:
	case n.ID.Kind == schema.KindVPC && n.Routed() && n.CIDR.IsValid():
		return []*model.Subnet{{CIDR: n.CIDR}}
	case len(n.Subnets) > 0 && (n.Type() == model.GuestShared || n.Routed()):
		return n.Subnets
	}
	return nil
}
