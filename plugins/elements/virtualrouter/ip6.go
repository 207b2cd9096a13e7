package virtualrouter

import (
	"net/netip"
	"slices"
	"strings"

	"weft.dev/reconcile/model"
	"weft.dev/reconcile/plugin"
	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

// What the router says of itself, in seconds (RFC 4861, 6.2.1). It says it often, as
// CloudStack's does (reference 5.16), so that a guest without a working solicitation
// waits seconds. It is believed for long: routers come back with the same MAC and so
// with the same link-local address, and a guest that lost its prefix meanwhile would
// lose the others of its network too.
const (
	raInterval = 15
	raLifetime = 1800
	raPrefix   = "24h"
	// lease6 is short. dnsmasq holds an address for the DUID that had it last, and a
	// machine that was set up anew has another one: it waits until the lease ends
	// (measured with 2.90; with IPv4 the MAC alone counts).
	lease6 = "10m"
)

// ip6 asks for the IPv6 side of a dual stack network: routed, nothing of it is
// translated.
//
// dnsmasq does what radvd does in CloudStack's router: prefix, RDNSS, DNSSL and MTU,
// answers to solicitations at once. It serves DHCPv6 and names anyway, so that no
// second process with a second opinion is needed (for 200 routers, 200 less).
func (r *side) ip6() {
	x := r.on.IP6
	if x == nil {
		return
	}
	six := *r.router
	six.family = 6
	(&side{router: &six, side: r.side, n: r.n, on: r.on}).chains6()
	r.addrs6()
}

// addrs6 asks for the addresses and routes of a side with IPv6.
func (r *side) addrs6() {
	x := r.on.IP6
	if x == nil {
		return
	}
	r.sysctls6()
	r.addr6(r.side.Link, r.guest6())
	r.addr6(r.side.Link, linkLocal(r.knownMAC()))
	own := resource.AddrID(r.r.NS, r.side.Link, r.guest6())
	for _, route := range r.routes6() {
		r.ask(resource.Route{NS: r.r.NS, Dst: route.CIDR.Masked(), Via: route.Via, Dev: r.side.Link, From: &own}, r.n.Doc.PosOf(route.At))
	}
	switch {
	case r.public6():
		r.addr6(r.r.Legs[0].Link, r.r.Legs[0].IP6)
		r.addr6(r.r.Legs[0].Link, linkLocal(r.r.Legs[0].MAC))
		from := resource.AddrID(r.r.NS, r.r.Legs[0].Link, r.r.Legs[0].IP6)
		r.ask(resource.Route{NS: r.r.NS, Dst: anywhere6, Via: r.r.Legs[0].Gateway6, Dev: r.r.Legs[0].Link, From: &from})
	case x.Foreign: // it asks its resolvers as a guest would
		r.ask(resource.Route{NS: r.r.NS, Dst: anywhere6, Via: x.Gateway, Dev: r.side.Link, From: &own})
	}
}

// routes6 are the network's routes of IPv6. The router passes on what guests send it
// for them, and so it is a default router even where it leads to nobody else.
func (r *side) routes6() []schema.Route {
	if r.on.IP6 == nil || r.on.IP6.Foreign {
		return nil
	}
	return ofFamily(r.n.Spec.Routes, 6)
}

// ofFamily are the routes of IPv4, or of IPv6.
func ofFamily(list []schema.Route, family int) []schema.Route {
	var out []schema.Route
	for _, x := range list {
		if x.Via.Is4() == (family == 4) {
			out = append(out, x)
		}
	}
	return out
}

var anywhere6 = netip.PrefixFrom(netip.IPv6Unspecified(), 0)

// public6 reports whether the router leads to the world by IPv6.
func (r *side) public6() bool { return r.r.IP6().IsValid() }

// guest6 is the router's address in the guests' /64.
func (r *side) guest6() netip.Prefix {
	return netip.PrefixFrom(r.on.IP6.Router, r.on.IP6.CIDR.Bits())
}

// linkLocal is what guests know the router as, and what it asks its neighbours from.
func linkLocal(m schema.MAC) netip.Prefix {
	return netip.PrefixFrom(m.LinkLocal(), 64)
}

func (r *router) addr6(link string, p netip.Prefix) {
	on := resource.Sysctl{NS: r.r.NS, Key: "net.ipv6.conf." + link + ".disable_ipv6"}.ID()
	r.ask(resource.Addr{NS: r.r.NS, Link: link, Prefix: p, After: &on})
}

// sysctls6: a router starts with IPv6 off everywhere (see sysctls). It is switched
// on link by link, once the chains stand, which is also so when a network that runs
// becomes dual stack. What others advertise is not for it. Its link-local addresses
// are weft's and not the kernel's (addr_gen_mode 1 is "none"), which would make them
// once and never again, and wait a second to see whether they are taken.
func (r *side) sysctls6() {
	ns := r.r.NS
	guards := plugin.RouterGuards6(ns)
	off := resource.Sysctl{NS: ns, Key: "net.ipv6.conf.all.disable_ipv6"}.ID()
	links := []string{r.side.Link}
	if r.public6() {
		links = append(links, r.r.Legs[0].Link)
	}
	for _, l := range links {
		id := resource.LinkID(ns, l)
		after := append(slices.Clone(guards), off)
		for _, x := range []struct{ key, value string }{{"accept_ra", "0"}, {"addr_gen_mode", "1"}} {
			s := resource.Sysctl{NS: ns, Key: "net.ipv6.conf." + l + "." + x.key, Value: x.value, Link: &id}
			r.ask(s)
			after = append(after, s.ID())
		}
		r.ask(resource.Sysctl{NS: ns, Key: "net.ipv6.conf." + l + ".disable_ipv6", Value: "0", Link: &id, After: after})
	}
	if r.on.IP6.Foreign {
		return // it is a machine among others
	}
	// What a service answers the router itself goes that way: see health.Net.
	r.ask(resource.Sysctl{NS: ns, Key: "net.ipv6.conf.lo.disable_ipv6", Value: "0", After: append(slices.Clone(guards), off)})
	r.ask(resource.Sysctl{NS: ns, Key: "net.ipv6.conf.all.forwarding", Value: "1", After: guards})
}

// chains6 is chains for IPv6: the same egress, and what comes in by the network's
// ingress rules only.
func (r *side) chains6() {
	r.chain("filter", "INPUT", "DROP", append(r.input6(), r.bgpRules(6)...))
	var forward []resource.Rule
	for _, route := range r.routes6() { // see forward
		forward = append(forward, rule("route", match{In: r.side.Link, Out: r.side.Link, Dst: route.CIDR.Masked()}, "ACCEPT", r.n.Doc.PosOf(route.At)))
	}
	forward = append(forward, rule("invalid", match{CT: []string{"INVALID"}}, "DROP"))
	if !r.public6() {
		r.chain("filter", "FORWARD", "DROP", append(forward, rule("established", match{CT: established}, "ACCEPT")))
		return
	}
	for _, p := range r.inside6() { // there is no rp_filter for IPv6
		forward = append(forward, rule("spoofed", match{In: r.r.Legs[0].Link, Src: p}, "DROP"))
	}
	forward = append(forward, rule("established", match{CT: established}, "ACCEPT"))
	for _, p := range r.inside6() {
		forward = append(forward, jump("egress", match{In: r.side.Link, Out: r.r.Legs[0].Link, Src: p}, "EGRESS"))
	}
	r.chain("filter", "FORWARD", "DROP", append(forward,
		jump("ingress", match{In: r.r.Legs[0].Link, Out: r.side.Link, Dst: r.on.IP6.CIDR}, "INGRESS")))
	r.chain("filter", "EGRESS", "", r.egress())
	r.chain("filter", "INGRESS", "", r.comingIn())
	r.chain("mangle", "FORWARD", "ACCEPT", append([]resource.Rule{
		rule("mss", match{Proto: "tcp", SYN: true}, "CLAMPMSS"),
	}, r.counting6(towards)...))
}

// inside6 lists what lies on the guests' side. From behind a route machines get out
// as guests do; what comes in there is answers.
func (r *side) inside6() []netip.Prefix {
	out := []netip.Prefix{r.on.IP6.CIDR}
	for _, route := range r.routes6() {
		out = append(out, route.CIDR.Masked())
	}
	return out
}

// inputCommon6 is how many rules of input6 are not of the side.
const inputCommon6 = 9

// input6: what RFC 4890 says must not be dropped, echo, and the guests' services.
// The kernel itself drops neighbour discovery that crossed a router.
func (r *side) input6() []resource.Rule {
	out := []resource.Rule{
		rule("established", match{CT: established}, "ACCEPT"),
		rule("loopback", match{In: "lo"}, "ACCEPT"),
	}
	icmp := func(name, in string, types ...int) {
		for _, t := range types {
			out = append(out, rule(name, match{In: in, Proto: "icmpv6", ICMPType: t + 1}, "ACCEPT"))
		}
	}
	icmp("icmp-error", "", 1, 2, 3, 4)
	icmp("echo", "", 128)
	icmp("neighbour", "", 135, 136)
	if !r.on.IP6.Foreign {
		icmp("router-solicitation", r.side.Link, 133)
	}
	port := func(name, proto string, p uint16, src netip.Prefix) {
		out = append(out, rule(name, match{
			In: r.side.Link, Proto: proto, Src: src, DstPorts: []schema.PortRange{{From: p, To: p}},
		}, "ACCEPT"))
	}
	if r.dhcp6() || r.informs6() {
		port("dhcp", "udp", 547, netip.MustParsePrefix("fe80::/10"))
	}
	if r.provides(r.services().Dns) {
		port("dns", "udp", 53, r.on.IP6.CIDR)
		port("dns", "tcp", 53, r.on.IP6.CIDR)
	}
	return out
}

// comingIn says what may begin from outside where nothing is translated.
func (r *side) comingIn() []resource.Rule {
	var out []resource.Rule
	for i := range r.n.Spec.Ingress {
		g := &r.n.Spec.Ingress[i]
		if g.Protocol == icmpOf(10-r.family) {
			continue
		}
		at := r.n.Doc.PosOf(g.At)
		m := match{Proto: g.Protocol, DstPorts: g.Ports, ICMPType: plusOne(g.ICMPType), ICMPCode: plusOne(g.ICMPCode)}
		if g.Protocol == "all" {
			m.Proto = ""
		}
		for _, m := range r.ends(m, "i", g.Name, g.Sources, g.Destinations, at) {
			out = append(out, rule(g.Name, m, "ACCEPT", at))
		}
	}
	return append(out, rule("default", match{}, "DROP"))
}

// dhcp6 reports whether guests are given their IPv6 address.
func (r *side) dhcp6() bool {
	return r.on.IP6 != nil && r.on.IP6.Mode == model.DHCPv6 && r.provides(r.services().Dhcp)
}

// informs6 reports whether guests that make their address are told the rest by DHCPv6
// (RFC 8415, 18.2.6): what is advertised is not weft's to say.
func (r *side) informs6() bool {
	return r.on.IP6 != nil && r.on.IP6.Foreign && !r.dhcp6() && r.provides(r.services().Dhcp)
}

// conf6 is the IPv6 part of dnsmasq's configuration. Advertisements are for the link,
// so that a machine with NICs in several such networks hears several default routers.
func (r *side) conf6(c *config, dns bool) {
	x := r.on.IP6
	if x == nil || x.Foreign && !r.provides(r.services().Dhcp) {
		return
	}
	if !x.Foreign {
		link := r.listens()
		lifetime := raLifetime
		if !r.public6() && len(r.routes6()) == 0 {
			lifetime = 0 // no way to anybody: RFC 4861, 6.2.3
		}
		c.line("enable-ra")
		c.line("ra-param=%s,mtu:%d,%d,%d", link, r.n.MTU, raInterval, lifetime)
	}
	switch {
	case r.dhcp6(), r.informs6():
		length := lease6
		if r.n.Spec.LeaseTime > 0 {
			length = lease(r.n.Spec.LeaseTime)
		}
		// Without an address in any dhcp-host nobody is given one.
		c.line("dhcp-range=%s,static,%d,%s", x.CIDR.Addr(), x.CIDR.Bits(), length)
		// Else it is made of the time, and after a restart guests ask a server that is gone.
		c.line("dhcp-duid=0,%s", r.knownMAC())
	default:
		c.line("dhcp-range=%s,ra-only,%d,%s", x.CIDR.Addr(), x.CIDR.Bits(), raPrefix)
	}
	if list := r.resolvers6(dns); len(list) > 0 {
		c.line("dhcp-option=option6:dns-server,[%s]", strings.Join(list, "],["))
	}
	c.line("dhcp-option=option6:domain-search,%s", r.n.Domain)
}

// maxResolvers6 fits a line of dnsmasq's configuration and an advertisement.
const maxResolvers6 = 8

// resolvers6 is what guests are told to ask by IPv6.
func (r *side) resolvers6(dns bool) []string {
	list := r.n.DNS
	switch {
	case len(r.n.Spec.GuestDNS) > 0:
		list = r.n.Spec.GuestDNS
	case dns:
		list = []netip.Addr{r.on.IP6.Router}
	}
	var out []string
	for _, a := range list {
		if a.Is6() && len(out) < maxResolvers6 {
			out = append(out, a.String())
		}
	}
	return out
}

// upstream lists the resolvers that the router reaches.
func (r *side) upstream() []netip.Addr {
	if r.public6() || r.on.IP6 != nil && r.on.IP6.Foreign {
		return r.n.DNS
	}
	return only4(r.n.DNS)
}
