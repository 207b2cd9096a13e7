package virtualrouter

import (
	"net/netip"
	"slices"

	"weft.dev/reconcile/model"
	"weft.dev/reconcile/plugin"
	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

// VPC is the VpcVirtualRouter provider: one router for all tiers of a VPC.
type VPC struct{}

// Name implements plugin.Element.
func (VPC) Name() string { return model.ProviderVPC }

// Services implements plugin.Element.
func (VPC) Services() []string {
	return []string{"Dhcp", "Dns", "Gateway", "UserData", "SourceNat", "StaticNat", "PortForwarding", "Firewall", "Lb", "Vpn", "NetworkACL"}
}

// Implement implements plugin.Element: what a tier has is its VPC's.
func (VPC) Implement(*model.Network, *plugin.Draft) {}

// ImplementVPC implements plugin.VPCElement.
func (VPC) ImplementVPC(v *model.VPC, out *plugin.Draft) {
	for _, one := range v.Router.Each() {
		r := router{r: one, out: out, provider: model.ProviderVPC, family: 4}
		r.draft()
	}
}

// InternalLB is the InternalLbVm provider: balancers in a tier, which the VPC's router
// has too.
type InternalLB struct{}

// Name implements plugin.Element.
func (InternalLB) Name() string { return model.ProviderInternalLB }

// Services implements plugin.Element.
func (InternalLB) Services() []string { return []string{"Lb"} }

// Implement implements plugin.Element: the VPC's router does it.
func (InternalLB) Implement(*model.Network, *plugin.Draft) {}

// gateways asks for the links to private networks, and for the static routes.
func (r *router) gateways() {
	ns := r.r.NS
	for _, g := range r.r.VPC.Gateways {
		at := g.Doc.Pos
		r.ask(resource.Link{NS: ns, Name: g.Leg.Link, Host: g.Leg.Port, MAC: g.Leg.MAC.String(), MTU: g.Leg.MTU, Up: true, TxOff: true}, at)
		r.ask(resource.Addr{NS: ns, Link: g.Leg.Link, Prefix: g.Spec.IP}, at)
	}
	for _, x := range r.r.VPC.Routes {
		from := r.routeFrom(&x)
		r.ask(resource.Route{NS: ns, Dst: x.CIDR, Via: x.Via, Dev: x.Link(), From: &from}, x.Pos)
	}
}

// routeFrom is the router's address on the network of a route's next hop.
func (r *router) routeFrom(x *model.VPCRoute) resource.ID {
	switch {
	case x.Gateway != nil:
		return resource.AddrID(r.r.NS, x.Gateway.Leg.Link, x.Gateway.Spec.IP)
	case x.Via.Is6():
		own := x.Side.Segment.IP6
		return resource.AddrID(r.r.NS, x.Side.Link, netip.PrefixFrom(own.Router, own.CIDR.Bits()))
	}
	return resource.AddrID(r.r.NS, x.Side.Link, leg(x.Side.Segment.Subnets[0]))
}

// vpcChains asks for the packet filter of a VPC: the layout of CloudStack's (reference
// 5.10), but that both lists of a tier are tried where the last word is said, on what
// has been translated, and that both end in deny.
func (r *router) vpcChains() {
	r.chain("filter", "INPUT", "DROP", r.input())
	r.chain("filter", "FORWARD", "DROP", r.vpcForward())
	r.lists()
	r.chain("mangle", "FORWARD", "ACCEPT", slices.Concat([]resource.Rule{
		rule("mss", match{Proto: "tcp", SYN: true}, "CLAMPMSS"),
	}, r.vpnMeters(), r.counting(towards)))
	r.firewall()
	r.vpcNAT()
	if !r.r.Dual() {
		return
	}
	six := *r
	six.family = 6
	six.chain("filter", "INPUT", "DROP", six.vpcInput6())
	six.chain("filter", "FORWARD", "DROP", six.vpcForward())
	six.lists()
	six.chain("mangle", "FORWARD", "ACCEPT", append([]resource.Rule{
		rule("mss", match{Proto: "tcp", SYN: true}, "CLAMPMSS"),
	}, six.counting6(towards)...))
	for _, s := range r.sides() {
		s.addrs6()
	}
}

// vpcInput6 unites what the sides are asked.
func (r *router) vpcInput6() []resource.Rule {
	var out []resource.Rule
	for _, s := range r.sides() {
		if s.on.IP6 == nil {
			continue
		}
		rules := s.input6()
		if len(out) > 0 {
			rules = rules[inputCommon6:]
		}
		out = append(out, rules...)
	}
	return append(out, r.bgpRules(6)...)
}

// plain reports whether nothing of the family is translated.
func (r *router) plain() bool { return r.family == 6 || r.routed() }

// listed is the chain of an ACL and a direction.
func listed(l *model.ACL, ingress bool) string {
	if ingress {
		return resource.Short(28, "ACL_IN", l.Name)
	}
	return resource.Short(28, "ACL_OUT", l.Name)
}

// lists asks for the chains of the ACLs that are used, one for each direction: a
// changed rule is one chain, however many tiers have the list.
func (r *router) lists() {
	done := map[string]bool{}
	chains := func(l *model.ACL) {
		if done[l.Name] {
			return
		}
		done[l.Name] = true
		at := r.r.Doc.Pos
		if l.Doc != nil {
			at = l.Doc.Pos
		}
		for _, ingress := range []bool{true, false} {
			r.chain("filter", listed(l, ingress), "", r.entries(l, ingress), at)
		}
	}
	for _, s := range r.r.Sides {
		chains(s.ACL)
	}
	for _, g := range r.r.VPC.Gateways {
		chains(g.ACL)
	}
}

// entries are the rules of an ACL for one direction: RETURN is what passes, and what
// none matches does not.
func (r *router) entries(l *model.ACL, ingress bool) []resource.Rule {
	rules, kind := l.Egress, "o"
	if ingress {
		rules, kind = l.Ingress, "i"
	}
	var out []resource.Rule
	for _, x := range rules {
		proto := x.ProtocolName() // a number may be that of ICMP
		if proto == icmpOf(10-r.family) {
			continue
		}
		var at schema.Pos
		if l.Doc != nil {
			at = l.Doc.PosOf(x.At)
		}
		m := match{Proto: proto, DstPorts: x.Ports, ICMPType: plusOne(x.ICMPType), ICMPCode: plusOne(x.ICMPCode)}
		target := "DROP"
		if x.Action == "Allow" {
			target = "RETURN"
		}
		for _, m := range r.ends(m, kind+stops(target), l.Name+"/"+x.Name, x.Sources, x.Destinations, at) {
			out = append(out, rule(x.Name, m, target, at))
		}
	}
	return append(out, rule("end", match{}, "DROP"))
}

// within lists what lies in the VPC or behind its tiers, of one family.
func (r *router) within() []netip.Prefix {
	var out []netip.Prefix
	if r.family == 4 {
		out = append(out, r.r.VPC.CIDR)
	} else {
		for _, s := range r.r.Sides {
			if x := s.Segment.IP6; x != nil {
				out = append(out, x.CIDR)
			}
		}
	}
	for _, x := range r.r.VPC.Routes {
		if x.Side != nil && x.Via.Is4() == (r.family == 4) {
			out = append(out, x.CIDR)
		}
	}
	return out
}

// vpcForward: who is not stopped by the list of where it comes from, nor by that of
// where it goes, passes if there is a way.
func (r *router) vpcForward() []resource.Rule {
	var out []resource.Rule
	if r.family == 4 {
		out = r.vpnClear()
	}
	// The next hop answers guests of its own tier directly, so that the router sees half
	// of a connection, which conntrack calls INVALID: both lists see each packet.
	for _, x := range r.r.VPC.Routes {
		if x.Side == nil || x.Via.Is4() != (r.family == 4) {
			continue
		}
		m := match{In: x.Side.Link, Out: x.Side.Link, Dst: x.CIDR}
		out = append(out, jump("route", m, listed(x.Side.ACL, false)), jump("route", m, listed(x.Side.ACL, true)), rule("route", m, "ACCEPT", x.Pos))
	}
	out = append(out, rule("invalid", match{CT: []string{"INVALID"}}, "DROP"))
	if r.plain() { // rp_filter is IPv4's, and knows nothing of what is no tier
		for _, l := range r.r.Legs {
			for _, p := range r.within() {
				out = append(out, rule("spoofed", match{In: l.Link, Src: p}, "DROP"))
			}
		}
	}
	out = append(out, rule("established", match{CT: established}, "ACCEPT"))
	if r.family == 4 {
		out = append(out, r.balancedWays()...)
	}
	for _, l := range r.r.Legs { // what is in no tier is nowhere
		for _, p := range r.within() {
			out = append(out, rule("nowhere", match{Out: l.Link, Dst: p}, "DROP"))
		}
	}
	for _, s := range r.r.Sides {
		out = append(out, jump(s.Name, match{In: s.Link}, listed(s.ACL, false)))
	}
	for _, g := range r.r.VPC.Gateways {
		out = append(out, jump(g.ID.Name, match{In: g.Leg.Link}, listed(g.ACL, false)))
	}
	for _, s := range r.r.Sides {
		out = append(out, jump(s.Name, match{Out: s.Link}, listed(s.ACL, true)))
	}
	for _, g := range r.r.VPC.Gateways {
		out = append(out, jump(g.ID.Name, match{Out: g.Leg.Link}, listed(g.ACL, true)))
	}
	return append(out, r.vpcWays()...)
}

// vpcWays are where the VPC leads: between its tiers, to its gateways and back, to the
// world, and from there to what is translated, or routed by IPv6.
func (r *router) vpcWays() []resource.Rule {
	var out []resource.Rule
	within := r.within()
	for _, s := range r.sides() {
		if r.family == 6 && s.on.IP6 == nil {
			continue
		}
		link := s.side.Link
		for _, p := range within {
			out = append(out, rule("tiers", match{In: link, Dst: p}, "ACCEPT"))
		}
		if r.family == 4 {
			out = append(out, s.vpnForward(resource.Verdict{Target: "ACCEPT"})...)
		}
		for _, g := range r.r.VPC.Gateways {
			out = append(out,
				rule("gateway", match{In: link, Out: g.Leg.Link}, "ACCEPT", g.Doc.Pos),
				rule("gateway", match{In: g.Leg.Link, Out: link}, "ACCEPT", g.Doc.Pos))
		}
		for _, l := range r.r.Legs {
			out = append(out, s.world(l, within)...)
		}
	}
	return out
}

// world is the way from a tier to the world by a leg, and back: to what is translated,
// or else to guests.
func (r *side) world(l *model.Leg, within []netip.Prefix) []resource.Rule {
	leave, enter := match{In: r.side.Link, Out: l.Link}, match{In: l.Link, Out: r.side.Link}
	switch {
	case r.family == 6:
		within, enter.Dst = []netip.Prefix{r.on.IP6.CIDR}, r.on.IP6.CIDR
	case r.routed():
		within, enter.Dst = r.inside(), r.n.CIDR
	default:
		within, enter.CT = r.leavers(l, within), []string{"DNAT"}
	}
	var out []resource.Rule
	for _, src := range within {
		leave.Src = src
		out = append(out, rule("outbound", leave, "ACCEPT"))
	}
	return append(out, rule("inbound", enter, "ACCEPT"))
}

// vpcNAT translates what comes in at public addresses, and what leaves; where nothing of
// that is, there may yet be balancers of udp, and private gateways with sourceNat. A guest
// that calls a public address of its own tier is answered through the router; those of
// others keep their address, which the lists are about.
func (r *router) vpcNAT() {
	pre, static := r.translated()
	post := append(r.vpnNAT(), static...)
	for _, g := range r.r.VPC.Gateways {
		if g.Spec.SourceNat {
			post = append(post, resource.Rule{
				Name: g.ID.Name, Match: match{Out: g.Leg.Link},
				Do: resource.Verdict{Target: "SNAT", To: g.Spec.IP.Addr()}, Origin: g.Doc.Pos,
			})
		}
	}
	if r.r.SourceNAT.IsValid() {
		for _, src := range r.within() {
			post = append(post, resource.Rule{
				Name: "source-nat", Match: match{Src: src, Out: r.r.Legs[0].Link},
				Do: resource.Verdict{Target: "SNAT", To: r.r.SourceNAT},
			})
		}
	}
	translates := !r.routed() || len(pre) > 0
	for _, s := range r.sides() {
		if translates {
			post = append(post, resource.Rule{
				Name: "hairpin", Match: match{Src: s.n.CIDR, Dst: s.n.CIDR, Out: s.side.Link, CT: []string{"DNAT"}},
				Do: resource.Verdict{Target: "SNAT", To: s.side.IP},
			})
		}
	}
	if !translates && len(post) == 0 {
		return
	}
	r.chain("nat", "PREROUTING", "ACCEPT", pre)
	r.chain("nat", "POSTROUTING", "ACCEPT", post)
}

// unfiltered reports whether a public address has no firewall of its own.
func (r *router) unfiltered(addr netip.Addr) bool {
	if r.r.VPC == nil {
		return false
	}
	for _, ip := range r.r.IPs {
		if ip.Addr == addr {
			return !ip.Filtered()
		}
	}
	return true
}
