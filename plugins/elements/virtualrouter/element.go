// Package virtualrouter is the VirtualRouter provider: a network namespace with
// links, addresses, firewall chains, dnsmasq, HAProxy and a metadata server, made of nothing but
// net.*, fw.*, file and process resources.
//
// In goes a resolved network; out come the resources of its router on the host
// that the lock names. It is pure; plugins registers it.
package virtualrouter

import (
	"net/netip"
	"path"

	"weft.dev/reconcile/model"
	"weft.dev/reconcile/plugin"
	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

// Element implements plugin.Element.
type Element struct{}

// Name implements plugin.Element.
func (Element) Name() string { return "VirtualRouter" }

// Services implements plugin.Element.
func (Element) Services() []string {
	return []string{"Dhcp", "Dns", "Gateway", "UserData", "SourceNat", "StaticNat", "PortForwarding", "Firewall", "Lb", "Vpn"}
}

// Implement implements plugin.Element. A segment without a router (nothing
// runs, or no service needs one) gets nothing.
func (Element) Implement(n *model.Network, out *plugin.Draft) {
	for _, s := range n.Segments {
		if s.Side == nil {
			continue
		}
		for _, one := range s.Side.Router.Each() {
			r := router{r: one, out: out, provider: Element{}.Name(), family: 4}
			r.draft()
		}
	}
}

// draft asks for all that the router is made of.
func (r *router) draft() {
	r.out.Need(r.r.Host.Name).Routers = true
	r.namespace()
	if r.r.VPC != nil {
		r.gateways()
		r.vpcChains()
	} else {
		own := r.sides()[0]
		own.chains()
		own.ip6()
	}
	for _, s := range r.sides() {
		s.dnsmasq()
		s.metadata()
		s.internal()
	}
	r.meters()
	r.haproxy()
	r.vpn()
	r.bgp()
	r.publish()
	r.pair()
}

// A router drafts what the sides of a router have in common.
type router struct {
	r        *model.Router
	out      *plugin.Draft
	provider string           // this element, as offerings name it
	family   int              // of the chains and sets asked for
	given    []resource.State // what the primary of a pair has
}

// A side drafts what a router has for one network of guests.
type side struct {
	*router
	side *model.Side
	n    *model.Network
	on   *model.Segment
}

func (r *router) sides() []*side {
	out := make([]*side, len(r.r.Sides))
	for i, s := range r.r.Sides {
		out[i] = &side{router: r, side: s, n: s.Network, on: s.Segment}
	}
	return out
}

func (r *router) ask(st resource.State, origin ...schema.Pos) {
	if r.r.Pair != nil {
		st = r.give(st)
	}
	r.out.Ask(r.r.Host.Name, st, origin...)
}

// provides reports whether an offering takes a service from this element.
func (r *router) provides(s *schema.Service) bool { return s != nil && s.Provider == r.provider }

// services are those that the side's network is offered.
func (r *side) services() *schema.Services { return &r.n.Offering.Spec.Services }

// name is what the processes of the side are called by.
func (r *side) name() string { return path.Join(r.r.NS, r.side.Name) }

// dir is where the files of the side are.
func (r *side) dir() string { return "routers/" + r.name() }

// guest is the router's address in the first subnet of its guests.
func (r *side) guest() netip.Prefix { return leg(r.on.Subnets[0]) }

// leg is the router's address in a subnet.
func leg(s *model.Subnet) netip.Prefix { return netip.PrefixFrom(s.RouterIP, s.CIDR.Bits()) }

func (r *router) namespace() {
	r.ask(resource.NS{Name: r.r.NS, Owner: r.out.Owner, Health: r.health()})
	for _, s := range r.sides() {
		s.link()
		s.routes()
	}
	if r.r.Public() {
		r.public()
	}
	r.sysctls()
}

// link asks for the side's link and addresses.
func (r *side) link() {
	ns, name := r.r.NS, r.side.Link
	r.ask(resource.Link{
		NS: ns, Name: name, Host: r.side.Port, MAC: r.side.MAC.String(),
		MTU: r.n.MTU, Up: true, TxOff: true,
	})
	if r.r.Pair != nil {
		r.ask(resource.Addr{NS: ns, Link: name, Prefix: ownLeg(r.side)})
	}
	for _, s := range r.on.Subnets {
		r.ask(resource.Addr{NS: ns, Link: name, Prefix: leg(s)})
	}
	if first := r.on.Subnets[0]; !r.r.Public() && first.RouterIP != first.Gateway {
		// Only a service of the network: it asks its resolvers as a guest would.
		from := resource.AddrID(ns, name, r.guest())
		r.ask(resource.Route{NS: ns, Dst: anywhere, Via: first.Gateway, Dev: name, From: &from})
	}
}

// routes asks for those whose next hop the router sees.
func (r *side) routes() {
	for _, route := range r.n.Spec.Routes {
		for _, s := range r.on.Subnets {
			if s.CIDR.Contains(route.Via) {
				from := resource.AddrID(r.r.NS, r.side.Link, leg(s))
				r.ask(resource.Route{NS: r.r.NS, Dst: route.CIDR.Masked(), Via: route.Via, Dev: r.side.Link, From: &from}, r.n.Doc.PosOf(route.At))
			}
		}
	}
}

var anywhere = netip.PrefixFrom(netip.IPv4Unspecified(), 0)

// public asks for the outer legs: every public address, and the default route.
func (r *router) public() {
	ns := r.r.NS
	for _, l := range r.r.Legs {
		r.ask(resource.Link{NS: ns, Name: l.Link, Host: l.Port, MAC: l.MAC.String(), MTU: l.MTU, Up: true, TxOff: true})
	}
	main := r.r.Legs[0]
	var first *resource.ID
	for _, a := range r.addresses() {
		addr := resource.Addr{NS: ns, Link: a.leg.Link, Prefix: netip.PrefixFrom(a.addr, a.leg.Range.Spec.CIDR.Bits())}
		r.ask(addr, a.origin)
		if first == nil && a.leg == main {
			id := addr.ID()
			first = &id
		}
	}
	r.ask(resource.Route{NS: ns, Dst: anywhere, Via: main.Range.Spec.Gateway, Dev: main.Link, From: first})
	r.ways()
}

type address struct {
	addr   netip.Addr
	leg    *model.Leg
	origin schema.Pos
}

// addresses lists the router's public addresses, that of source NAT first.
func (r *router) addresses() []address {
	var out []address
	if r.r.SourceNAT.IsValid() {
		out = append(out, address{r.r.SourceNAT, r.r.Legs[0], r.r.Doc.Pos})
	}
	if r.routed() {
		out = append(out, address{r.r.Outer, r.r.Legs[0], r.r.Doc.Pos})
	}
	for _, ip := range r.r.IPs {
		switch {
		case ip.Addr == r.r.SourceNAT:
			out[0].origin = ip.Doc.Pos
		default:
			if l := r.r.LegOf(ip); l != nil {
				out = append(out, address{ip.Addr, l, ip.Doc.Pos})
			}
		}
	}
	return out
}

// filterOf is rp_filter of the guests' links: where there are several, nobody in one
// may pretend to be in another.
func filterOf(r *model.Router) string {
	if r.VPC != nil {
		return "1"
	}
	return "0"
}

// sysctls: as CloudStack's router (reference 5.2); IPv6 is off but
// where a network has it (see sysctls6), so that nothing is routed that no chain filters. The kernel
// takes the greater of "all" and the link's rp_filter, and either of both for
// send_redirects, so both are set. Without promote_secondaries the address that
// happened to come first would take all others of its subnet along when it goes.
// From outside nobody may pretend to be inside (strict rp_filter): the way back to
// everybody else leads through the public leg; where there are several, through that
// whose mark the packet has, which the filter and the router's own answers then follow.
func (r *router) sysctls() {
	ns := r.r.NS
	set := func(key, value string, link *resource.ID) {
		r.ask(resource.Sysctl{NS: ns, Key: key, Value: value, Link: link})
	}
	set("net.ipv4.conf.all.arp_ignore", "1", nil)
	set("net.ipv4.conf.all.arp_announce", "2", nil)
	set("net.ipv4.conf.all.rp_filter", "0", nil)
	set("net.ipv4.conf.all.send_redirects", "0", nil)
	set("net.ipv4.conf.all.accept_redirects", "0", nil)
	set("net.ipv4.conf.all.accept_source_route", "0", nil)
	set("net.ipv4.conf.all.promote_secondaries", "1", nil)
	set("net.ipv6.conf.all.disable_ipv6", "1", nil)
	link := func(l, filter string) {
		id := resource.LinkID(ns, l)
		set("net.ipv4.conf."+l+".rp_filter", filter, &id)
		set("net.ipv4.conf."+l+".send_redirects", "0", &id)
	}
	for _, s := range r.r.Sides {
		link(s.Link, filterOf(r.r))
	}
	if r.r.VPC != nil {
		for _, g := range r.r.VPC.Gateways {
			link(g.Leg.Link, "1")
		}
	}
	for i, l := range r.r.Legs {
		link(l.Link, "1")
		if i > 0 {
			id := resource.LinkID(ns, l.Link)
			set("net.ipv4.conf."+l.Link+".src_valid_mark", "1", &id)
		}
	}
	if r.several() {
		set("net.ipv4.fwmark_reflect", "1", nil)
	}
	r.ask(resource.Sysctl{NS: ns, Key: "net.ipv4.ip_forward", Value: "1", After: plugin.RouterGuards4(ns)})
}
