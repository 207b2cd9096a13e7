package model

import (
	"net/netip"
	"slices"
)

// The modes by which guests get their IPv6 address.
const (
	SLAAC  = "SLAAC"
	DHCPv6 = "DHCPv6"
)

// IP6 is the IPv6 part of a broadcast domain, which is routed: nothing of it is
// translated, so that what is outside has to know the way to CIDR.
type IP6 struct {
	CIDR    netip.Prefix // a /64; zero while it has no number
	Gateway netip.Addr   // of the guests
	// Router is the address of weft's router, the gateway where it is that; zero
	// without router or number.
	Router netip.Addr
	// Foreign: the gateway is not weft's, and so the router advertisements are not.
	Foreign bool
	Mode    string

	pool *addr6Pool // of the lower halves of guests' addresses
	path string     // in the network's document, of a Foreign one
}

// uniqueLocal are the addresses of nobody in particular, RFC 4193.
var uniqueLocal = netip.MustParsePrefix("fc00::/7")

// minMTU6 is what IPv6 asks of every link, RFC 8200, 5.
const minMTU6 = 1280

// ip6 resolves the network's IPv6 part.
func (r *resolver) ip6() {
	n := r.n
	defer r.routes6()
	defer r.reserved6()
	defer r.rules4()
	if n.Type() == GuestShared {
		r.shared6()
		return
	}
	if n.Offering.Spec.InternetProtocol != "DualStack" || n.Type() != GuestIsolated {
		r.only4()
		return
	}
	x := &IP6{Mode: SLAAC}
	var stated netip.Prefix
	if s := r.spec.IP6; s != nil {
		x.Mode, x.Gateway, stated = s.Mode, s.Gateway, s.CIDR
	}
	n.IP6, n.Segments[0].IP6 = x, x
	r.served6(x)
	first := lower.Addr().Next()
	if x.Gateway.IsValid() {
		first = x.Gateway
	}
	x.pool = r.guestPool6(first)
	if !r.prefix6(x, stated) {
		return
	}
	x.Gateway = host6(x.CIDR, low64(first))
	r.rules6(x)
}

// prefix6 reports whether the network's /64 is known; it asks for it.
func (r *resolver) prefix6(x *IP6, stated netip.Prefix) bool {
	n, z := r.n, r.n.Zone
	d := Demand{Owner: r.owner, Field: FieldIP6, Pool: z.prefixes6(), Pos: r.doc.Pos}
	switch prefix := z.Spec.IP6Prefix; {
	case stated.IsValid():
		if !uniqueLocal.Contains(stated.Addr()) && !(prefix.IsValid() && prefix.Contains(stated.Addr())) {
			x := r.diags.Errorf(r.doc.At("spec.ip6.cidr"), "outside-cidr", "%s of network %s is neither of zone %s nor unique local", stated, n.ID.Name, z.Name).
				Offending(stated.String())
			if prefix.IsValid() {
				x.See(z.Doc.At("spec.ip6Prefix"), "the zone's ip6Prefix").Hintf("take a /64 of %s, or leave cidr out", prefix)
			} else {
				x.See(nameOf(z.Doc), "the zone").Hintf("give the zone an ip6Prefix that holds it")
			}
			return false
		}
		if !r.apart6(stated, "spec.ip6.cidr") {
			return false
		}
		d.Fixed, d.Pos = stated.String(), r.doc.At("spec.ip6.cidr")
	case !prefix.IsValid():
		r.diags.Errorf(r.doc.At("spec.offering"), "no-ip6-prefix", "offering %s is DualStack, and zone %s has no ip6Prefix", n.Offering.Name, z.Name).
			Offending(n.Offering.Name).See(nameOf(z.Doc), "the zone").Hintf("give the zone an ip6Prefix, or the network an ip6.cidr of fc00::/7")
		return false
	}
	v := r.demand(d)
	if v == "" {
		x.CIDR = stated
		return stated.IsValid()
	}
	p, err := netip.ParsePrefix(v)
	x.CIDR = p
	return err == nil
}

// apart6 holds that guests and the public network have different addresses.
func (r *resolver) apart6(p netip.Prefix, path string) bool {
	for _, o := range r.n.Zone.Ranges {
		if ip6 := o.Spec.IP6; ip6 != nil && ip6.CIDR.Overlaps(p) {
			r.diags.Errorf(r.doc.At(path), "overlapping-cidr", "%s of network %s overlaps %s of public range %s", p, r.n.ID.Name, ip6.CIDR, o.Name).
				Offending(p.String()).See(o.Doc.At("spec.ip6.cidr"), "the public range").Hintf("give the network another ip6.cidr")
			return false
		}
	}
	return true
}

// served6 holds what IPv6 needs of the offering: a router that is the gateway, and
// for DHCPv6 the service.
func (r *resolver) served6(x *IP6) {
	o := r.n.Offering
	if !r.servesRouter || !r.isGateway() {
		r.offeringDiag("dual-stack-gateway", "offering %s is DualStack, and its networks have no router that is their gateway", o.Name)
	}
	if x.Mode == DHCPv6 && o.Spec.Services.Dhcp == nil {
		r.lacks(r.doc, "spec.ip6.mode", "Dhcp")
	}
}

// only4 reports what a network without IPv6 has no use for.
func (r *resolver) only4() {
	why := func(path, offending string) {
		d := r.diags.Errorf(r.doc.At(path), "no-ip6", "network %s has no IPv6: its offering %s is not DualStack", r.n.ID.Name, r.n.Offering.Name).
			Offending(offending).See(r.doc.At("spec.offering"), "its offering")
		if path == "spec.ingress" {
			d.Hintf("IPv4 comes in at public addresses: use firewall of a PublicIP")
		}
	}
	if r.spec.IP6 != nil && r.n.Type() == GuestIsolated && r.spec.PVLAN == nil { // reported of others elsewhere
		why("spec.ip6", "ip6")
	}
	switch {
	case len(r.spec.Ingress) == 0 || r.n.Routed():
	case r.n.IP6 != nil:
		r.lacks(r.doc, "spec.ingress", "Firewall")
	default:
		why("spec.ingress", "ingress")
	}
	for i := range r.spec.Egress {
		if r.spec.Egress[i].Protocol == "icmpv6" && r.n.IP6 == nil {
			why(path1("spec.egress", i)+".protocol", "icmpv6")
		}
	}
}

// rules6 holds what rules for IPv6 must obey.
func (r *resolver) rules6(x *IP6) {
	if len(r.spec.Ingress) > 0 && r.n.Offering.Spec.Services.Firewall == nil {
		r.lacks(r.doc, "spec.ingress", "Firewall")
	}
	within := func(list []netip.Prefix, path, field string, i int) {
		for j, p := range list {
			if p.Addr().Is6() && p.Bits() != 0 && (p.Bits() < x.CIDR.Bits() || !x.CIDR.Contains(p.Addr())) {
				r.diags.Errorf(r.doc.At(path2(path, i, field, j)), "outside-cidr", "%s is outside %s of network %s", p, x.CIDR, r.n.ID.Name).
					Offending(p.String()).Hintf("name addresses of the network's guests, or leave %s out for all of them", field)
			}
		}
	}
	for i := range r.spec.Ingress {
		within(r.spec.Ingress[i].Destinations, "spec.ingress", "destinations", i)
	}
	for i := range r.spec.Egress {
		within(r.spec.Egress[i].Sources, "spec.egress", "sources", i)
	}
}

func (r *resolver) mtu6() {
	n := r.n
	if n.IP6 == nil || n.MTU == 0 || n.MTU >= minMTU6 {
		return
	}
	at := nameOf(r.doc)
	if r.spec.MTU != 0 {
		at = r.doc.At("spec.mtu")
	}
	r.diags.Errorf(at, "mtu-too-small", "network %s has an MTU of %d, and IPv6 needs at least %d", n.ID.Name, n.MTU, minMTU6).
		See(n.Physical.Doc.At("spec.mtu"), "the wire's MTU")
}

// ranges6 keeps the public ranges that a dual stack network can be of: those with
// IPv6, of one public network.
func (r *resolver) ranges6() {
	with := slices.DeleteFunc(slices.Clone(r.ranges), func(p *PublicRange) bool { return p.Spec.IP6 == nil })
	if len(with) == 0 {
		if len(r.ranges) > 0 {
			d := r.diags.Errorf(r.doc.At("spec.offering"), "no-public-ip6", "offering %s is DualStack, and no public range for %s has IPv6", r.n.Offering.Name, r.n.what()).
				Offending(r.n.Offering.Name).Hintf("add ip6: {cidr: ..., gateway: ...} to a range")
			for _, p := range r.ranges {
				d.See(nameOf(p.Doc), "range %s", p.Name)
			}
		}
		return
	}
	first := with[0]
	had := rangeOf(with, addrOf(r.numbers.Number(r.owner, FieldSourceNAT)))
	if had != nil {
		first = had
	}
	r.ranges = slices.DeleteFunc(slices.Clone(with), func(p *PublicRange) bool { return !samePublicNet(p, first) })
	if len(r.ranges) < len(with) && had == nil {
		r.diags.Errorf(nameOf(r.doc), "ambiguous-range", "which public network is %s of? Ranges %s have IPv6", r.n.what(), list(rangeNames(with))).
			Offending(r.n.ID.Name).Hintf("add a PublicIP of one of them with sourceNat: true")
	}
}

// routerIP6 asks for the router's address on the public network.
func (r *resolver) routerIP6(x *Leg) {
	if len(r.ranges) == 0 || r.ranges[0].Spec.IP6 == nil {
		return // reported
	}
	d := Demand{Owner: r.owner, Field: FieldPublicIP6, Pool: publicPool6(r.n.Zone, r.ranges), Pos: r.doc.Pos}
	if v := r.demand(d); v != "" {
		public := r.ranges[0].Spec.IP6
		x.IP6, x.Gateway6 = netip.PrefixFrom(addrOf(v), public.CIDR.Bits()), public.Gateway
	}
}

// prefixes6 warns of zones whose prefixes overlap: networks of both may get one /64,
// and the world knows one way to it. Unique local ones the world does not know.
func (b *builder) prefixes6() {
	for i, name := range b.zoneNames {
		z := b.parts[name]
		p := z.Spec.IP6Prefix
		if !p.IsValid() || uniqueLocal.Contains(p.Addr()) {
			continue
		}
		for _, other := range b.zoneNames[:i] {
			if o := b.parts[other]; o.Spec.IP6Prefix.IsValid() && o.Spec.IP6Prefix.Overlaps(p) {
				b.diags.Warnf(z.Doc.At("spec.ip6Prefix"), "overlapping-cidr", "ip6Prefix %s of zone %s overlaps %s of zone %s: networks of both may get the same /64", p, name, o.Spec.IP6Prefix, other).
					Offending(p.String()).See(o.Doc.At("spec.ip6Prefix"), "the other zone").Hintf("give each zone a prefix of its own")
			}
		}
	}
}

// compareRanges6 is compareRanges for the IPv6 part.
func (b *builder) compareRanges6(r, o *PublicRange) {
	x, y := r.Spec.IP6, o.Spec.IP6
	if x == nil || y == nil {
		return
	}
	samePlace := r.Physical.Public == o.Physical.Public && r.Spec.VLAN.ID == o.Spec.VLAN.ID
	if samePlace && (x.CIDR != y.CIDR || x.Gateway != y.Gateway) || !samePlace && x.CIDR.Overlaps(y.CIDR) {
		b.diags.Errorf(r.Doc.At("spec.ip6.cidr"), "overlapping-cidr", "the IPv6 of range %s, %s by %s, does not go with that of range %s, %s by %s", r.Name, x.CIDR, x.Gateway, o.Name, y.CIDR, y.Gateway).
			Offending(x.CIDR.String()).See(o.Doc.At("spec.ip6.cidr"), "the other range").
			Hintf("ranges of one public network have equal ip6.cidr and gateway, those of others nothing in common")
		b.zoneBroken(r.Zone, "public ranges "+o.Name+" and "+r.Name+" overlap")
		return
	}
	for i, p := range x.Ranges {
		for j, q := range y.Ranges {
			if p.Overlaps(q) {
				b.diags.Errorf(d1(r.Doc, "spec.ip6.ranges", i), "overlapping-range", "the public addresses %s of range %s overlap %s of range %s", p, r.Name, q, o.Name).
					Offending(p.String()).See(d1(o.Doc, "spec.ip6.ranges", j), "the other range")
				b.zoneBroken(r.Zone, "public ranges "+o.Name+" and "+r.Name+" overlap")
			}
		}
	}
}
