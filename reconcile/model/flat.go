package model

import (
	"net/netip"
	"slices"

	"weft.dev/schema"
)

// A bridgeAddress is the address of a host on a label, and where it is stated.
type bridgeAddress struct {
	host *Host
	ip   netip.Addr
	at   int // of spec.bridges
}

func (a bridgeAddress) pos() schema.Pos { return d2(a.host.Doc, "spec.bridges", a.at, "address") }

// addressesOn lists the hosts' addresses on label, by host.
func (z *Zone) addressesOn(label string) []bridgeAddress {
	key := "addresses on " + label
	if l, ok := z.memo.Load(key); ok {
		return l.([]bridgeAddress)
	}
	var out []bridgeAddress
	for _, h := range z.Hosts {
		for i := range h.Spec.Bridges {
			if b := &h.Spec.Bridges[i]; b.Name == label && b.Address.IsValid() {
				out = append(out, bridgeAddress{h, b.Address.Addr(), i})
			}
		}
	}
	kept, _ := z.memo.LoadOrStore(key, out)
	return kept.([]bridgeAddress)
}

// A flat subnet has guests beside the hosts: it is untagged, so that the hosts'
// addresses, and those reserved for them, are on the same wire.
func (r *resolver) isFlat(s *Subnet) bool {
	return s.Segment != nil && s.Segment.Scheme == schema.SchemeNative
}

// flat holds that Shared networks have no addresses of public ranges, and that
// untagged networks, as that of a Basic zone is, and the networks of the hosts
// (management of the pods, storage) do not get into each other's way.
func (r *resolver) flat() {
	n := r.n
	var grounds []ground
	for _, s := range n.Subnets {
		if n.Type() == GuestShared {
			r.besidePublic(s)
		}
		if !r.isFlat(s) {
			continue
		}
		if grounds == nil {
			grounds = n.Zone.hostGrounds(n.Physical.Guest)
		}
		for i := range grounds {
			r.besides(s, &grounds[i])
		}
		r.besideHosts(s)
	}
}

// hostGrounds are the hosts' own networks that untagged frames on label are in: in
// Basic zones the pods are where guests are.
func (z *Zone) hostGrounds(label string) []ground {
	managed := slices.ContainsFunc(z.Physical, func(p *PhysicalNetwork) bool { return p.Management == label })
	out := []ground{}
	for _, g := range z.grounds() {
		if g.pod && (z.Basic() || managed) || !g.pod && g.label == label && g.vlan == 0 && g.path != "spec." {
			out = append(out, g)
		}
	}
	return out
}

// besidePublic holds that s has no addresses of a public range: routers outside know
// one way to an address.
func (r *resolver) besidePublic(s *Subnet) {
	for _, p := range r.n.Zone.Ranges {
		if p.Spec.CIDR.Overlaps(s.CIDR) {
			r.diags.Errorf(r.doc.At(s.path+"cidr"), "overlapping-cidr", "%s of network %s overlaps %s of public range %s: both are reached from outside", s.CIDR, r.n.ID.Name, p.Spec.CIDR, p.Name).
				Offending(s.CIDR.String()).See(p.Doc.At("spec.cidr"), "the public range")
			return
		}
	}
}

// besides holds that subnet s of guests and a network of hosts have nothing in
// common, or are one network of which each has addresses of its own.
func (r *resolver) besides(s *Subnet, g *ground) {
	if !s.CIDR.Overlaps(g.cidr) {
		return
	}
	at := r.doc.At(s.path + "cidr")
	if s.CIDR != g.cidr.Masked() || g.gateway.IsValid() && g.gateway != s.Gateway {
		r.diags.Errorf(at, "overlapping-cidr", "%s of network %s overlaps %s of %s, but with another size or gateway", s.CIDR, r.n.ID.Name, g.cidr, g.what).
			Offending(s.CIDR.String()).See(g.at("cidr"), "%s", g.what).Hintf("guests and hosts on one wire are in one network, or in two that have nothing in common")
		return
	}
	if len(g.ranges) == 0 {
		r.diags.Errorf(at, "overlapping-cidr", "network %s has %s, as %s, which does not say what addresses are reserved", r.n.ID.Name, s.CIDR, g.what).
			Offending(s.CIDR.String()).See(g.at("cidr"), "%s", g.what).Hintf("add ranges to %s", g.what)
		return
	}
	for i, x := range g.ranges {
		if s.pool.meets(x) {
			r.diags.Errorf(r.rangesPos(s), "overlapping-range", "guests of network %s get addresses of %s, which are reserved by %s", r.n.ID.Name, x, g.what).
				See(g.doc.At(path1(g.path+"ranges", i)), "%s", g.what).Hintf("state ranges without them, or add them to reserved")
		}
	}
}

// besideHosts holds that no guest is given the address of a host.
func (r *resolver) besideHosts(s *Subnet) {
	count, first := 0, bridgeAddress{}
	for _, a := range r.n.Zone.addressesOn(r.n.Physical.Guest) {
		if s.pool.has(a.ip) {
			if count == 0 {
				first = a
			}
			count++
		}
	}
	if count == 0 {
		return
	}
	d := r.diags.Errorf(r.rangesPos(s), "ip-taken", "guests of network %s get addresses of hosts, as %s of host %s", r.n.ID.Name, first.ip, first.host.Name).
		See(first.pos(), "the host's").Hintf("state ranges without them, or add them to reserved")
	if count > 1 {
		d.Message += ", and of " + number(uint32(count-1)) + " more"
	}
}

// rangesPos is where the network states what the addresses of s are from.
func (r *resolver) rangesPos(s *Subnet) schema.Pos {
	if s.ranged {
		return r.doc.At(s.path + "ranges")
	}
	return r.doc.At(s.path + "cidr")
}

// ofHosts says whose address ip is, which a document states for a guest or router
// in s, and where; "" where it is free.
func (r *resolver) ofHosts(s *Subnet, ip netip.Addr) (whose string, at schema.Pos) {
	if !r.isFlat(s) {
		return "", at
	}
	for _, a := range r.n.Zone.addressesOn(r.n.Physical.Guest) {
		if a.ip == ip {
			return "that of host " + a.host.Name, a.pos()
		}
	}
	for _, g := range r.n.Zone.hostGrounds(r.n.Physical.Guest) {
		for i, x := range g.ranges {
			if x.Contains(ip) {
				return "reserved by " + g.what, g.doc.At(path1(g.path+"ranges", i))
			}
		}
	}
	return "", at
}

// meets reports whether the pool has addresses of x.
func (p *addrPool) meets(x schema.IPRange) bool {
	if p.base.BitLen() != x.From.BitLen() {
		return false
	}
	from, to := offset(p.base, x.From), offset(p.base, x.To)
	if x.From.Less(p.base) {
		from = 0
	}
	if x.To.Less(p.base) {
		return false
	}
	return slices.ContainsFunc(p.spans, func(s span) bool { return s.from <= to && from <= s.to })
}
