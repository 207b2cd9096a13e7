package model

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"weft.dev/reconcile/resource"
)

// FieldLegMAC and the public network behind it are the MAC of a router's leg there; that
// of the first leg is FieldPublicMAC.
const FieldLegMAC = "leg-mac/"

// LegField reports whether a field of a lock is of a leg, as the lock writes it.
func LegField(field string) bool {
	key, ok := strings.CutPrefix(field, FieldLegMAC)
	if !ok {
		return false
	}
	vlan, cidr, ok := strings.Cut(key, "/")
	if !ok {
		return false
	}
	n, err := strconv.ParseUint(vlan, 10, 12)
	p, bad := netip.ParsePrefix(cidr)
	return err == nil && bad == nil && vlan == strconv.FormatUint(n, 10) && cidr == p.Masked().String()
}

// netKey names a public network: a subnet on one VLAN.
func netKey(p *PublicRange) string {
	return fmt.Sprintf("%d/%s", p.Spec.VLAN.ID, p.Spec.CIDR.Masked())
}

// samePublicNet reports whether two ranges are of one subnet on one VLAN.
func samePublicNet(a, b *PublicRange) bool {
	return a.Physical.Public == b.Physical.Public && a.Spec.VLAN.ID == b.Spec.VLAN.ID && a.Spec.CIDR == b.Spec.CIDR
}

// LegMarks are the bits of a packet's mark, and of its connection's, that say by which leg
// it leaves; the others are free.
const LegMarks = 0xffff0000

// MarkOf is the mark of what belongs to a leg, and TableOf its routing table: both follow
// from the public network alone. Legs whose numbers clash are a diagnostic.
func (l *Leg) MarkOf() uint32 { return uint32(l.number()) << 16 }

// TableOf is described with MarkOf.
func (l *Leg) TableOf() uint32 { return resource.RoutingTables + uint32(l.number()) }

func (l *Leg) number() uint16 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(l.Range.Physical.Public + " " + netKey(l.Range)))
	sum := h.Sum32()
	return max(1, uint16(sum>>16)^uint16(sum))
}

// LegOf is the leg that a public address answers by, or nil.
func (r *Router) LegOf(p *PublicIP) *Leg {
	for _, l := range r.Legs {
		if p.Range != nil && samePublicNet(l.Range, p.Range) {
			return l
		}
	}
	return nil
}

// mainNet narrows the ranges that the source NAT address may be of where the network
// has public addresses: to their public network, so that one leg is enough.
func (r *resolver) mainNet() {
	main := r.mainRange()
	if main == nil {
		return
	}
	r.ranges = slices.DeleteFunc(slices.Clone(r.ranges), func(x *PublicRange) bool { return !samePublicNet(x, main) })
}

// mainRange is a range of the first leg's network: that of source NAT, which stays where
// the lock has it, else the first of those that the addresses are of.
func (r *resolver) mainRange() *PublicRange {
	var first *PublicRange
	for _, p := range r.n.IPs {
		if p.SourceNAT {
			return p.Range
		}
		if first == nil || compareNets(p.Range, first) < 0 {
			first = p.Range
		}
	}
	if first == nil {
		return nil
	}
	had := r.numbers.Number(r.owner, FieldSourceNAT)
	if before := r.formerly(r.owner); had == "" && before != "" {
		had = r.numbers.Number(before, FieldSourceNAT)
	}
	if was := rangeOf(r.ranges, addrOf(had)); was != nil {
		return was
	}
	return first
}

func compareNets(a, b *PublicRange) int {
	return cmp.Or(cmp.Compare(a.Physical.Public, b.Physical.Public), cmp.Compare(a.Spec.VLAN.ID, b.Spec.VLAN.ID),
		a.Spec.CIDR.Addr().Compare(b.Spec.CIDR.Addr()), cmp.Compare(a.Name, b.Name))
}

// moreLegs adds a leg for each public network of the router's addresses but the first
// leg's.
func (r *resolver) moreLegs(x *Router) {
	var more []*PublicRange
	for _, p := range r.n.IPs {
		if !slices.ContainsFunc(append(more, x.Legs[0].Range), func(o *PublicRange) bool { return samePublicNet(o, p.Range) }) {
			more = append(more, p.Range)
		}
	}
	slices.SortFunc(more, compareNets)
	for _, p := range more {
		l := &Leg{Range: p, key: netKey(p)}
		l.MAC, _ = parseMAC(r.demand(Demand{Owner: r.owner, Field: FieldLegMAC + l.key, Pool: macs, Pos: r.doc.Pos}))
		r.publicMTU(l)
		r.legApart(x, l)
		x.Legs = append(x.Legs, l)
	}
}

// legApart holds that a leg has an outside of its own.
func (r *resolver) legApart(x *Router, l *Leg) {
	if r.n.CIDR.IsValid() && l.Range.Spec.CIDR.Overlaps(r.n.CIDR) {
		r.diags.Errorf(r.doc.At("spec.cidr"), "overlapping-cidr", "%s of %s overlaps %s of public range %s", r.n.CIDR, r.n.what(), l.Range.Spec.CIDR, l.Range.Name).
			See(l.Range.Doc.At("spec.cidr"), "the public range").Hintf("give the network another cidr")
	}
	for _, o := range x.Legs {
		switch {
		case o.Range.Spec.CIDR.Overlaps(l.Range.Spec.CIDR):
			r.diags.Errorf(nameOf(r.doc), "overlapping-cidr", "%s has public addresses of %s and of %s, whose CIDRs overlap", r.n.what(), o.Range.Name, l.Range.Name).
				See(o.Range.Doc.At("spec.cidr"), "range %s", o.Range.Name).See(l.Range.Doc.At("spec.cidr"), "range %s", l.Range.Name).
				Hintf("a router cannot tell two networks of the same addresses apart")
		case o.number() == l.number():
			r.diags.Errorf(nameOf(r.doc), "clash", "%s has public addresses of %s and of %s, which hash to the same routing table", r.n.what(), o.Range.Name, l.Range.Name).
				Hintf("use another public network for one of them")
		}
	}
}

// nameLegs gives the names that the legs of a router have on its host: one more changes
// none. owner are the parts that tell the router from others.
func nameLegs(x *Router, account, own, instance string) {
	for _, l := range x.Legs {
		l.Link, l.Port = PublicLink, resource.Short(15, "wp", account, own, instance)
		if l.key != "" {
			l.Link, l.Port = resource.Short(15, "pub", l.key), resource.Short(15, "wp", account, own, l.key, instance)
		}
	}
}

// shadowLeg is the leg that a router whose documents are not known may have in a network.
func shadowLeg(numbers Numbers, owner string, p *PublicRange) *Leg {
	leg := &Leg{Range: p}
	field := FieldPublicMAC
	if numbers.Number(owner, FieldLegMAC+netKey(p)) != "" {
		leg.key = netKey(p)
		field = FieldLegMAC + leg.key
	}
	leg.MAC, _ = parseMAC(numbers.Number(owner, field))
	return leg
}
