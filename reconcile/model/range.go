package model

import (
	"weft.dev/schema"
)

// ranges resolves public ranges and checks them against each other.
func (b *builder) ranges() {
	for _, d := range b.kinds[schema.KindPublicIPRange] {
		spec, _ := d.Spec.(*schema.PublicIPRange)
		r := &PublicRange{Name: d.Meta.Name, Doc: d, Spec: spec}
		if r.Physical = b.publicNetwork(d, spec); r.Physical == nil {
			continue
		}
		r.Zone = r.Physical.Zone
		if b.prev != nil {
			if o := b.prev.Ranges[r.Name]; o != nil && *o == *r {
				r = o
			}
		}
		z := b.parts[r.Zone]
		for _, o := range z.Ranges {
			b.compareRanges(r, o)
			b.compareRanges6(r, o)
		}
		b.site.Ranges[r.Name] = r
		z.Ranges = append(z.Ranges, r)
	}
}

// publicNetwork finds the physical network of a public range, or says why there
// is none.
func (b *builder) publicNetwork(d *schema.Document, spec *schema.PublicIPRange) *PhysicalNetwork {
	if name := spec.PhysicalNetwork; name != "" {
		p := b.site.Physical[name]
		if p == nil {
			if b.site.Invalid[schema.ID{Kind: schema.KindPhysicalNetwork, Name: name}] == "" {
				unknown(&b.diags, d.At("spec.physicalNetwork"), "physical network", name, keys(b.site.Physical))
			}
			return b.noRange(d)
		}
		if _, ok := b.zoneOf(d, spec.Zone, p.Zone, "physical network "+name); !ok {
			return nil
		}
		if p.Public == "" {
			b.diags.Errorf(d.At("spec.physicalNetwork"), "no-public-traffic", "physical network %s carries no Public traffic", name).
				Offending(name).See(p.Doc.At("spec.traffic"), "its traffic types")
			return b.noRange(d)
		}
		return p
	}
	zone, ok := b.zoneOf(d, spec.Zone, "", "")
	if !ok {
		return nil
	}
	var fit []*PhysicalNetwork
	for _, p := range b.parts[zone].Physical {
		if p.Public != "" {
			fit = append(fit, p)
		}
	}
	switch len(fit) {
	case 1:
		return fit[0]
	case 0:
		if b.all == "" {
			b.diags.Errorf(nameOf(d), "no-public-traffic", "no physical network of zone %s carries Public traffic", zone).
				Hintf("add {type: Public, label: BRIDGE} to the traffic of one")
		}
	default:
		b.diags.Errorf(d.At("spec"), "ambiguous-physical-network", "which physical network carries %s? %s have Public traffic", d.ID(), list(names(fit))).
			Hintf("add physicalNetwork: %s", fit[0].Name)
	}
	return b.noRange(d)
}

// noRange notes that a range could not be resolved: its zone cannot be judged.
func (b *builder) noRange(d *schema.Document) *PhysicalNetwork {
	why := d.ID().String() + " is invalid"
	b.site.Invalid[d.ID()] = why
	b.zoneBroken("", why)
	return nil
}

func (b *builder) compareRanges(r, o *PublicRange) {
	samePlace := r.Physical.Public == o.Physical.Public && r.Spec.VLAN.ID == o.Spec.VLAN.ID
	if samePlace && r.Spec.CIDR.Overlaps(o.Spec.CIDR) && (r.Spec.CIDR != o.Spec.CIDR || r.Spec.Gateway != o.Spec.Gateway) {
		b.diags.Errorf(r.Doc.At("spec.cidr"), "overlapping-cidr", "%s of range %s overlaps %s of range %s on the same wire, but with another size or gateway", r.Spec.CIDR, r.Name, o.Spec.CIDR, o.Name).
			Offending(r.Spec.CIDR.String()).See(o.Doc.At("spec.cidr"), "the other range").Hintf("ranges of one network have equal cidr and gateway")
		b.zoneBroken(r.Zone, "public ranges "+o.Name+" and "+r.Name+" overlap")
		return
	}
	for i, x := range r.Spec.Ranges {
		for j, y := range o.Spec.Ranges {
			if x.Overlaps(y) {
				b.diags.Errorf(d1(r.Doc, "spec.ranges", i), "overlapping-range", "the public addresses %s of range %s overlap %s of range %s", x, r.Name, y, o.Name).
					Offending(x.String()).See(d1(o.Doc, "spec.ranges", j), "the other range")
				b.zoneBroken(r.Zone, "public ranges "+o.Name+" and "+r.Name+" overlap")
			}
		}
	}
}
