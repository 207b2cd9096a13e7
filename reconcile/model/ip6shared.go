package model

import (
	"net/netip"
	"slices"

	"weft.dev/schema"
)

// shared6 resolves the IPv6 of a Shared network: a /64 for each of its broadcast
// domains that states one. As with IPv4 the gateway is not weft's, and so it sends
// the router advertisements.
func (r *resolver) shared6() {
	if x := r.spec.IP6; x != nil && r.spec.PVLAN == nil { // reported with the PVLAN
		own := slices.IndexFunc(r.n.Segments, func(s *Segment) bool { return s.owner == r.owner })
		switch {
		case x.CIDR.IsValid() && own >= 0:
			r.segment6(r.n.Segments[own], &IP6{CIDR: x.CIDR, Gateway: x.Gateway, path: "spec.ip6"})
		case x.CIDR.IsValid() && len(r.n.Segments) > 0:
			r.diags.Errorf(r.doc.At("spec.ip6.cidr"), "ip6-without-segment", "network %s has no broadcast domain that its ip6 is for: each of its subnets has one of its own", r.n.ID.Name).
				Offending(x.CIDR.String()).See(r.doc.At("spec.subnets"), "the subnets").Hintf("write ip6: {cidr: ...} in the subnets")
		case !x.CIDR.IsValid() && !slices.ContainsFunc(r.spec.Subnets, func(s schema.Subnet) bool { return s.IP6 != nil }):
			r.diags.Errorf(r.doc.At("spec.ip6"), "cidr-missing", "the Shared network %s states ip6 without its cidr", r.n.ID.Name).
				Offending("ip6").Hintf("add the /64 that its gateway advertises")
		}
	}
	for i := range r.spec.Subnets {
		s := &r.spec.Subnets[i]
		at := slices.IndexFunc(r.n.Subnets, func(o *Subnet) bool { return o.Name == s.Name })
		if s.IP6 != nil && at >= 0 {
			r.segment6(r.n.Subnets[at].Segment, &IP6{CIDR: s.IP6.CIDR, Gateway: s.IP6.Gateway, path: path1("spec.subnets", i) + ".ip6"})
		}
	}
	for _, s := range r.n.Segments {
		if s.IP6 != nil && r.n.IP6 == nil {
			r.n.IP6 = s.IP6
		}
	}
	r.only4()
}

// segment6 gives a broadcast domain its IPv6, which it has one of: its guests make
// an address of each prefix that they hear of.
func (r *resolver) segment6(s *Segment, x *IP6) {
	if s.IP6 != nil {
		r.diags.Errorf(r.doc.At(x.path), "two-ip6", "%s is a second /64 in the broadcast domain of %s", x.CIDR, s.IP6.CIDR).
			Offending("ip6").See(r.doc.At(s.IP6.path), "the other one").Hintf("give the subnet a VLAN of its own, or leave ip6 out: all in a broadcast domain have it")
		return
	}
	x.Foreign, x.Mode = true, SLAAC
	if y := r.spec.IP6; y != nil {
		x.Mode = y.Mode
	}
	if x.Mode == DHCPv6 && r.n.Offering.Spec.Services.Dhcp == nil && r.n.IP6 == nil {
		r.lacks(r.doc, "spec.ip6.mode", "Dhcp")
	}
	if !x.Gateway.IsValid() {
		x.Gateway = x.CIDR.Addr().Next()
	}
	x.pool = r.sharedPool6(x)
	s.IP6 = x
	if r.apart6(x.CIDR, x.path+".cidr") {
		r.demand(Demand{Owner: s.owner, Field: FieldIP6, Pool: r.n.Zone.prefixes6(), Fixed: x.CIDR.String(), Pos: r.doc.At(x.path + ".cidr")})
	}
}

// sharedPool6 is where guests' lower halves are from: one pool for all broadcast
// domains of the network, because which of them a NIC is in may follow from its IPv4
// address, which is not known before it is allocated.
func (r *resolver) sharedPool6(x *IP6) *addr6Pool {
	for _, s := range r.n.Segments {
		if s.IP6 != nil {
			p := s.IP6.pool
			p.spans = p.spans.without(span{low64(x.Gateway), low64(x.Gateway)})
			return p
		}
	}
	return r.guestPool6(x.Gateway)
}

// router6 asks for the address of a segment's router in the guests' /64.
func (r *resolver) router6(s *Segment) {
	x := s.IP6
	switch {
	case x == nil:
		return
	case !x.Foreign:
		x.Router = x.Gateway
		return
	}
	d := Demand{Owner: s.owner, Field: FieldGuestIP6, Pool: x.pool, Pos: r.doc.Pos}
	for i, ip := range r.spec.RouterIPs {
		if x.CIDR.Contains(ip) {
			d.Fixed, d.Pos = host6(lower, low64(ip)).String(), d1(r.doc, "spec.routerIPs", i)
			break
		}
	}
	if v := r.demand(d); v != "" {
		x.Router = host6(x.CIDR, low64(addrOf(v)))
	}
}

// IP6Pos is where the network states the IPv6 of its segment s, which has one.
func (n *Network) IP6Pos(s *Segment) schema.Pos { return n.Doc.At(s.IP6.path + ".cidr") }

// routerIP6At holds that routerIPs[i], of IPv6, can be a router's.
func (r *resolver) routerIP6At(i int, had *[]*IP6) {
	ip := r.spec.RouterIPs[i]
	var x *IP6
	for _, s := range r.n.Segments {
		if s.IP6 != nil && s.IP6.CIDR.Contains(ip) {
			x = s.IP6
		}
	}
	why, code := "", "outside-cidr"
	switch {
	case x == nil:
		why = "is in no IPv6 prefix of network " + r.n.ID.Name
	case ip == x.CIDR.Addr():
		why = "is the address of all routers of " + x.CIDR.String()
	case ip == x.Gateway:
		why, code = "is the gateway of "+x.CIDR.String()+", which the router of a Shared network is not", "ip-taken"
	case slices.Contains(*had, x):
		why, code = "is a second router in "+x.CIDR.String()+", which has one", "too-many"
	}
	*had = append(*had, x)
	if why != "" {
		r.diags.Errorf(d1(r.doc, "spec.routerIPs", i), code, "the router address %s %s", ip, why).Offending(ip.String())
	}
}

// routes6 holds what routes of IPv6 must obey. Guests send what is for them to the
// router, which passes it on. Nothing else would tell guests of them: DHCPv6 has no
// option for routes, and that of advertisements (RFC 4191) leads to who sends it.
func (r *resolver) routes6() {
	for i, x := range r.spec.Routes {
		if !x.Via.Is6() {
			continue
		}
		at := func(field string) schema.Pos { return d2(r.doc, "spec.routes", i, field) }
		switch {
		case r.n.Type() == GuestL2: // reported
		case r.n.IP6 == nil:
			r.without6(at("cidr"), x.CIDR.String())
		case r.n.IP6.Foreign:
			r.diags.Errorf(at("cidr"), "route-untold", "nothing tells the guests of Shared network %s of a route to %s: DHCPv6 has no option for routes, and router advertisements are the gateway's", r.n.ID.Name, x.CIDR).
				Offending(x.CIDR.String()).Hintf("add the route to the gateway %s, and leave it out here", r.n.IP6.Gateway)
		case !r.n.IP6.CIDR.IsValid():
		case !r.n.IP6.CIDR.Contains(x.Via):
			if r.spec.IP6 == nil || !r.spec.IP6.CIDR.IsValid() {
				r.diags.Errorf(at("via"), "outside-cidr", "the next hop %s is outside %s of network %s", x.Via, r.n.IP6.CIDR, r.n.ID.Name).
					Offending(x.Via.String()).See(nameOf(r.doc), "the network, which has it through the lock")
			}
		case x.Via == r.n.IP6.Gateway:
			r.diags.Errorf(at("via"), "route-via-router", "the next hop %s is the router of network %s itself", x.Via, r.n.ID.Name).
				Offending(x.Via.String()).Hintf("name the machine of the network that the route leads through")
		case x.CIDR.Overlaps(r.n.IP6.CIDR) && x.CIDR.Bits() >= r.n.IP6.CIDR.Bits():
			if r.spec.IP6 == nil || !r.spec.IP6.CIDR.IsValid() {
				r.diags.Errorf(at("cidr"), "route-inside", "%s is in the network itself, which has %s through the lock", x.CIDR, r.n.IP6.CIDR).Offending(x.CIDR.String())
			}
		}
	}
}

// reserved6 holds that reserved parts of IPv6 are of the network.
func (r *resolver) reserved6() {
	for i, p := range r.spec.Reserved {
		if !p.Addr().Is6() || r.n.Type() == GuestL2 {
			continue
		}
		switch at := d1(r.doc, "spec.reserved", i); {
		case r.n.IP6 == nil:
			r.without6(at, p.String())
		case !r.n.IP6.Foreign && r.n.IP6.CIDR.IsValid() && !r.n.IP6.CIDR.Contains(p.Addr()) && (r.spec.IP6 == nil || !r.spec.IP6.CIDR.IsValid()):
			r.diags.Errorf(at, "outside-cidr", "the reserved %s is outside %s, which network %s has through the lock", p, r.n.IP6.CIDR, r.n.ID.Name).Offending(p.String())
		}
	}
}

// without6 reports what a network has no use for without IPv6.
func (r *resolver) without6(at schema.Pos, offending string) *schema.Diag {
	if r.n.Type() == GuestShared {
		return r.diags.Errorf(at, "no-ip6", "network %s has no IPv6: it states no ip6", r.n.ID.Name).
			Offending(offending).See(nameOf(r.doc), "the network").Hintf("add ip6: {cidr: ...} to the network, or leave it out")
	}
	return r.diags.Errorf(at, "no-ip6", "network %s has no IPv6: its offering %s is not DualStack", r.n.ID.Name, r.n.Offering.Name).
		Offending(offending).See(r.doc.At("spec.offering"), "its offering")
}

// ip6Of is the IPv6 of the broadcast domain that a NIC is in, nil where it has none
// or that is not known yet.
func (r *resolver) ip6Of(n *NIC, pod string) *IP6 {
	switch s := r.n.Segments; {
	case len(s) == 1:
		return s[0].IP6
	case n.Subnet != nil:
		return n.Subnet.Segment.IP6
	}
	for _, s := range r.n.Subnets {
		if pod != "" && s.Pod == pod {
			return s.Segment.IP6
		}
	}
	return nil
}

// shared6Of is the IPv6 of the NICs of a Shared network, as its document says: where
// there are several broadcast domains, of the one with the subnet that ip is of.
func shared6Of(s *schema.Network, ip netip.Addr) (cidr netip.Prefix, mode string) {
	mode = SLAAC
	if s.IP6 != nil {
		cidr, mode = s.IP6.CIDR, s.IP6.Mode
	}
	i := slices.IndexFunc(s.Subnets, func(x schema.Subnet) bool { return x.CIDR.Contains(ip) })
	if i < 0 {
		return cidr, mode
	}
	own := &s.Subnets[i]
	if own.Pod != "" || !own.VLAN.IsZero() {
		cidr = netip.Prefix{}
	}
	for j := range s.Subnets {
		x := &s.Subnets[j]
		together := i == j || own.Pod != "" && x.Pod == own.Pod || own.Pod == "" && x.Pod == "" && own.VLAN.IsZero() && x.VLAN.IsZero()
		if together && x.IP6 != nil {
			cidr = x.IP6.CIDR
		}
	}
	return cidr, mode
}

// member6 is the IPv6 address of a NIC of any Shared network, zero where that is not
// known.
func (r *resolver) member6(d *schema.Document, n *schema.NIC, owner string, ip netip.Addr) netip.Addr {
	network := r.index.Network(refID(d, n.Network))
	if network == nil {
		return netip.Addr{}
	}
	spec, _ := network.Spec.(*schema.Network)
	cidr, mode := shared6Of(spec, ip)
	switch {
	case !cidr.IsValid():
	case mode == DHCPv6 && n.IP6.IsValid():
		return n.IP6
	case mode == DHCPv6:
		if v := addrOf(r.numbers.Number(owner, FieldIP6)); v.IsValid() {
			return host6(cidr, low64(v))
		}
	default:
		mac := n.MAC
		if mac.IsZero() {
			mac, _ = parseMAC(r.numbers.Number(owner, FieldMAC))
		}
		if !mac.IsZero() {
			return eui64(cidr, mac)
		}
	}
	return netip.Addr{}
}
