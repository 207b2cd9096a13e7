package virtualrouter

import (
	"hash/fnv"
	"net/netip"
	"slices"
	"strconv"

	"weft.dev/reconcile/model"
	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

// inlineSources is how many CIDRs stand in rules of their own; more become a
// set, which the kernel looks up in one step.
const inlineSources = 4

var established = []string{"ESTABLISHED", "RELATED"}

type match = resource.Match

func rule(name string, m match, target string, origin ...schema.Pos) resource.Rule {
	r := resource.Rule{Name: name, Match: m, Do: resource.Verdict{Target: target}}
	if len(origin) > 0 {
		r.Origin = origin[0]
	}
	return r
}

func jump(name string, m match, chain string) resource.Rule {
	return resource.Rule{Name: name, Match: m, Do: resource.Verdict{Jump: chain}}
}

func (r *router) chain(table, name, policy string, rules []resource.Rule, origin ...schema.Pos) {
	r.ask(resource.Chain{NS: r.r.NS, Family: r.family, Table: table, Name: name, Policy: policy, Rules: rules}, origin...)
}

// chains asks for the packet filter: the layout of CloudStack's router
// (reference 5.5 to 5.7), whole chains at a time.
func (r *side) chains() {
	r.chain("filter", "INPUT", "DROP", r.router.input())
	r.chain("filter", "FORWARD", "DROP", r.forward())
	if !r.r.Public() {
		return
	}
	r.chain("filter", "EGRESS", "", r.egress())
	r.chain("mangle", "FORWARD", "ACCEPT", slices.Concat([]resource.Rule{
		rule("mss", match{Proto: "tcp", SYN: true}, "CLAMPMSS"),
	}, r.vpnMeters(), r.counting(towards)))
	r.firewall()
	if r.routed() {
		r.chain("filter", "INGRESS", "", r.comingIn())
		return
	}
	r.nat()
}

// input: what the router itself is asked.
func (r *router) input() []resource.Rule {
	rules := [][]resource.Rule{r.l2tpInput(), {
		rule("established", match{CT: established}, "ACCEPT"),
		rule("loopback", match{In: "lo"}, "ACCEPT"),
		rule("icmp", match{Proto: "icmp"}, "ACCEPT"),
	}}
	for _, s := range r.sides() {
		rules = append(rules, s.input(), s.metadataRules(), s.statisticsRules())
	}
	return slices.Concat(append(rules, r.bgpRules(4), r.balancerRules(), r.vpnInput(), r.pairInput())...)
}

// input: the services of the side, for its guests.
func (r *side) input() []resource.Rule {
	out := make([]resource.Rule, 0, 1+2*len(r.on.Subnets))
	port := func(name, proto string, p uint16, src netip.Prefix) {
		out = append(out, rule(name, match{
			In: r.side.Link, Proto: proto, Src: src, DstPorts: []schema.PortRange{{From: p, To: p}},
		}, "ACCEPT"))
	}
	if r.provides(r.services().Dhcp) {
		port("dhcp", "udp", 67, netip.Prefix{})
	}
	if r.provides(r.services().Dns) {
		for _, s := range r.on.Subnets {
			port("dns", "udp", 53, s.CIDR)
			port("dns", "tcp", 53, s.CIDR)
		}
	}
	return out
}

func (r *side) forward() []resource.Rule {
	out := append(make([]resource.Rule, 0, 8), r.vpnClear()...)
	// First, because it is stateless: the next hop answers guests directly, so
	// that the router sees half of a connection, which conntrack calls INVALID.
	for _, route := range ofFamily(r.n.Spec.Routes, 4) {
		out = append(out, rule("route", match{In: r.side.Link, Out: r.side.Link, Dst: route.CIDR.Masked()}, "ACCEPT", r.n.Doc.PosOf(route.At)))
	}
	out = append(out,
		rule("invalid", match{CT: []string{"INVALID"}}, "DROP"),
		rule("established", match{CT: established}, "ACCEPT"))
	if !r.r.Public() {
		return out
	}
	out = append(out, r.vpnForward(resource.Verdict{Target: "ACCEPT"})...)
	for _, l := range r.r.Legs {
		for _, src := range r.leavers(l, r.inside()) {
			out = append(out, jump("egress", match{In: r.side.Link, Out: l.Link, Src: src}, "EGRESS"))
		}
	}
	if r.routed() {
		return append(out, r.comesIn()...)
	}
	for _, l := range r.r.Legs {
		out = append(out, rule("inbound", match{In: l.Link, Out: r.side.Link, CT: []string{"DNAT"}}, "ACCEPT"))
	}
	return append(out,
		rule("hairpin", match{In: r.side.Link, Out: r.side.Link, CT: []string{"DNAT"}}, "ACCEPT"))
}

// inside lists what lies on the guests' side.
func (r *side) inside() []netip.Prefix {
	out := []netip.Prefix{r.n.CIDR}
	for _, route := range ofFamily(r.n.Spec.Routes, 4) {
		out = append(out, route.CIDR.Masked())
	}
	if r.r.VPC == nil {
		return out
	}
	for _, x := range r.r.VPC.Routes {
		if x.Side != nil && x.Side.Link == r.side.Link && x.Via.Is4() {
			out = append(out, x.CIDR)
		}
	}
	return out
}

func host(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// egress: the exceptions in any order (all have the action opposite to the
// default), then the default.
func (r *side) egress() []resource.Rule {
	var out []resource.Rule
	for i := range r.n.Spec.Egress {
		e := &r.n.Spec.Egress[i]
		if e.Protocol == icmpOf(10-r.family) {
			continue
		}
		at := r.n.Doc.PosOf(e.At)
		m := match{DstPorts: e.Ports}
		if e.Protocol != "all" {
			m.Proto = e.Protocol
		}
		m.ICMPType, m.ICMPCode = plusOne(e.ICMPType), plusOne(e.ICMPCode)
		target := "DROP"
		if e.Action == "Allow" {
			target = "ACCEPT"
		}
		for _, m := range r.ends(m, "e"+stops(target), e.Name, e.Sources, e.Destinations, at) {
			out = append(out, rule(e.Name, m, target, at))
		}
	}
	last := "DROP"
	if r.n.Offering.Spec.EgressDefaultPolicy == "Allow" {
		last = "ACCEPT"
	}
	return append(out, rule("default", match{}, last))
}

// icmpOf is the word for ICMP of a family, 4 or 6.
func icmpOf(family int) string {
	if family == 6 {
		return "icmpv6"
	}
	return "icmp"
}

func plusOne(p *int) int {
	if p == nil {
		return 0
	}
	return *p + 1
}

// firewall asks for the chains that decide what reaches a public address,
// before any translation: default deny.
func (r *router) firewall() {
	jumps := append(r.legMarks(), r.vpnDecrypted()...)
	for _, a := range r.addresses() {
		name := "FW_" + a.addr.String()
		if r.unfiltered(a.addr) {
			jumps = append(jumps, rule(a.addr.String(), match{In: a.leg.Link, Dst: host(a.addr)}, "ACCEPT", a.origin))
			continue
		}
		jumps = append(jumps, jump(a.addr.String(), match{In: a.leg.Link, Dst: host(a.addr)}, name))
		r.chain("mangle", name, "", r.ingress(a.addr), a.origin)
	}
	jumps = append(jumps, r.passes()...)
	// Nothing else is for this router, whatever the wire brings.
	for _, l := range r.r.Legs {
		jumps = append(jumps, rule("elsewhere", match{In: l.Link}, "DROP"))
	}
	r.chain("mangle", "PREROUTING", "ACCEPT", jumps)
}

func (r *router) ingress(addr netip.Addr) []resource.Rule {
	out := []resource.Rule{rule("established", match{CT: established}, "ACCEPT")}
	i := slices.IndexFunc(r.r.IPs, func(ip *model.PublicIP) bool { return ip.Addr == addr })
	if i >= 0 {
		ip := r.r.IPs[i]
		for j := range ip.Spec.Firewall {
			f := &ip.Spec.Firewall[j]
			at := ip.Doc.PosOf(f.At)
			m := match{Proto: f.Protocol, DstPorts: f.Ports, ICMPType: plusOne(f.ICMPType), ICMPCode: plusOne(f.ICMPCode)}
			for _, m := range r.ends(m, "f", ip.ID.Name+"/"+f.Name, f.Sources, nil, at) {
				out = append(out, rule(f.Name, m, "ACCEPT", at))
			}
		}
	}
	if addr == r.r.Outer {
		out = append(out, r.bgpRules(4)...)
	}
	return append(append(out, r.vpnOuter(addr)...), rule("default", match{}, "DROP"))
}

// nat asks for static NAT and port forwarding (from outside and, as a hairpin,
// from inside), and for the source address of what leaves. Static NAT comes
// before source NAT.
func (r *side) nat() {
	pre, static := r.translated()
	post := slices.Concat(r.vpnNAT(), static, r.sourceNAT())
	for _, src := range r.inside() {
		post = append(post, resource.Rule{
			Name: "hairpin", Match: match{Src: src, Dst: r.n.CIDR, Out: r.side.Link, CT: []string{"DNAT"}},
			Do: resource.Verdict{Target: "SNAT", To: r.side.IP},
		})
	}
	r.chain("nat", "PREROUTING", "ACCEPT", pre)
	r.chain("nat", "POSTROUTING", "ACCEPT", post)
}

// translated are static NAT and port forwarding, and the source of what leaves by
// static NAT.
func (r *router) translated() (pre, static []resource.Rule) {
	for _, ip := range r.r.IPs {
		if out := r.r.LegOf(ip); ip.StaticNAT != nil && out != nil {
			at := ip.Doc.PosOf(ip.Spec.StaticNat.At)
			pre = append(pre, resource.Rule{
				Name: "static-nat", Match: match{Dst: host(ip.Addr)},
				Do: resource.Verdict{Target: "DNAT", To: ip.StaticTo}, Origin: at,
			})
			static = append(static, resource.Rule{
				Name: "static-nat", Match: match{Src: host(ip.StaticTo), Out: out.Link},
				Do: resource.Verdict{Target: "SNAT", To: ip.Addr}, Origin: at,
			})
		}
		for _, f := range ip.Forwards {
			pre = append(pre, r.portForward(ip, f)...)
		}
	}
	return append(pre, r.balancedUDP()...), static
}

func (r *router) portForward(ip *model.PublicIP, f model.Forward) []resource.Rule {
	var out []resource.Rule
	at := ip.Doc.PosOf(f.Spec.At)
	ends := r.ends(match{Dst: host(ip.Addr), Proto: f.Spec.Protocol}, "p", ip.ID.Name+"/"+f.Spec.Name+of(f.Spec.Sources), f.Spec.Sources, nil, at)
	for _, pair := range f.Spec.Pairs() {
		do := resource.Verdict{Target: "DNAT", To: f.To}
		if pair.Private != pair.Public {
			do.Ports = pair.Private
			if pair.Public.Len() > 1 {
				do.Base = pair.Public.From
			}
		}
		for _, m := range ends {
			m.DstPorts = []schema.PortRange{pair.Public}
			out = append(out, resource.Rule{Name: f.Spec.Name, Match: m, Do: do, Origin: at})
		}
	}
	return out
}

func (r *side) sourceNAT() []resource.Rule {
	if !r.r.SourceNAT.IsValid() {
		return nil
	}
	var out []resource.Rule
	for _, src := range r.inside() {
		out = append(out, resource.Rule{
			Name: "source-nat", Match: match{Src: src, Out: r.r.Legs[0].Link},
			Do: resource.Verdict{Target: "SNAT", To: r.r.SourceNAT},
		})
	}
	return out
}

// ends multiplies m by the sources and destinations that a rule names: each in
// a match of its own, or all in a set where they are many. What names the other
// family only matches nothing here. The members of a set may change in a moment in which
// the rule is still the old one, so it is used for one thing: kind and name say for which
// (see stops), and for a translation they say what is in it (see of).
func (r *router) ends(m match, kind, name string, sources, destinations []netip.Prefix, at schema.Pos) []match {
	src, srcSet, none := r.end(kind+"s", name, sources, at)
	dst, dstSet, noneToo := r.end(kind+"d", name, destinations, at)
	if none || noneToo {
		return nil
	}
	m.SrcSet, m.DstSet = srcSet, dstSet
	var out []match
	for _, s := range src {
		for _, d := range dst {
			m.Src, m.Dst = s, cmpPrefix(d, m.Dst)
			out = append(out, m)
		}
	}
	return out
}

// stops is what the name of a set has in it that stops packets: the same rule with the
// other verdict has another set.
func stops(target string) string {
	if target == "DROP" {
		return "x"
	}
	return ""
}

// of is what the name of a set has in it that decides where packets go: its members are
// part of that, in whatever order they are written, and change with the translations.
func of(cidrs []netip.Prefix) string {
	if len(cidrs) <= inlineSources {
		return ""
	}
	h := fnv.New64a()
	for _, c := range slices.SortedFunc(slices.Values(cidrs), comparePrefix) {
		_, _ = h.Write([]byte(c.String() + " "))
	}
	return "/" + strconv.FormatUint(h.Sum64(), 36)
}

// cmpPrefix prefers what the rule names to what the match had.
func cmpPrefix(named, had netip.Prefix) netip.Prefix {
	if named.IsValid() {
		return named
	}
	return had
}

// end returns the prefixes to match one by one (the zero one matches all), or
// the set that holds them; none when CIDRs are named but none of the family.
func (r *router) end(kind, name string, cidrs []netip.Prefix, at schema.Pos) (one []netip.Prefix, set string, none bool) {
	all := []netip.Prefix{{}}
	if len(cidrs) == 0 {
		return all, "", false
	}
	var list []netip.Prefix
	for _, c := range cidrs {
		if c.Addr().Is4() == (r.family == 4) {
			list = append(list, c.Masked())
		}
	}
	slices.SortFunc(list, comparePrefix)
	list = slices.Compact(list)
	switch {
	case len(list) == 0:
		return nil, "", true
	case slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Bits() == 0 }):
		return all, "", false
	case len(list) <= inlineSources:
		return list, "", false
	}
	if r.family == 6 {
		kind += "6"
	}
	s := resource.AddrSet{NS: r.r.NS, Name: resource.Short(31, kind, name), Family: r.family, Members: list}
	r.ask(s, at)
	return all, s.Name, false
}

func comparePrefix(a, b netip.Prefix) int {
	if c := a.Addr().Compare(b.Addr()); c != 0 {
		return c
	}
	return a.Bits() - b.Bits()
}
