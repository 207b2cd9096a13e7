// Package virtualrouter is the VirtualRouter provider: a network namespace with
// links, addresses, firewall chains, dnsmasq and a metadata server, made of nothing but
// net.*, fw.*, file and process resources.
//
// In goes a resolved network; out come the resources of its router on the host
// that the lock names. It is pure; plugins registers it.
package virtualrouter

import (
	"net/netip"

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
	return []string{"Dhcp", "Dns", "Gateway", "UserData", "SourceNat", "StaticNat", "PortForwarding", "Firewall"}
}

// Implement implements plugin.Element. A segment without a router (nothing
// runs, or no service needs one) gets nothing.
func (Element) Implement(n *model.Network, out *plugin.Draft) {
	for _, s := range n.Segments {
		if s.Router == nil {
			continue
		}
		r := router{n: n, on: s, r: s.Router, out: out, services: n.Offering.Spec.Services, family: 4}
		r.namespace()
		r.chains()
		r.ip6()
		r.dnsmasq()
		r.metadata()
	}
}

// A router drafts the router of one segment of a network.
type router struct {
	n        *model.Network
	on       *model.Segment
	r        *model.Router
	out      *plugin.Draft
	services schema.Services
	family   int // of the chains and sets asked for
}

func (r *router) ask(st resource.State, origin ...schema.Pos) {
	r.out.Ask(r.r.Host.Name, st, origin...)
}

// provides reports whether the offering takes a service from this element.
func provides(s *schema.Service) bool { return s != nil && s.Provider == Element{}.Name() }

// guest is the router's address in the first subnet of its guests.
func (r *router) guest() netip.Prefix { return leg(r.on.Subnets[0]) }

// leg is the router's address in a subnet.
func leg(s *model.Subnet) netip.Prefix { return netip.PrefixFrom(s.RouterIP, s.CIDR.Bits()) }

func (r *router) namespace() {
	ns := r.r.NS
	r.ask(resource.NS{Name: ns, Owner: r.out.Owner})
	r.ask(resource.Link{
		NS: ns, Name: model.GuestLink, Host: r.r.GuestPort, MAC: r.r.GuestMAC.String(),
		MTU: r.n.MTU, Up: true, TxOff: true,
	})
	for _, s := range r.on.Subnets {
		r.ask(resource.Addr{NS: ns, Link: model.GuestLink, Prefix: leg(s)})
	}
	r.routes()
	switch first := r.on.Subnets[0]; {
	case r.r.Public():
		r.public()
	case first.RouterIP != first.Gateway:
		// Only a service of the network: it asks its resolvers as a guest would.
		from := resource.AddrID(ns, model.GuestLink, r.guest())
		r.ask(resource.Route{NS: ns, Dst: anywhere, Via: first.Gateway, Dev: model.GuestLink, From: &from})
	}
	r.sysctls()
}

// routes asks for those whose next hop the router sees.
func (r *router) routes() {
	for _, route := range r.n.Spec.Routes {
		for _, s := range r.on.Subnets {
			if s.CIDR.Contains(route.Via) {
				from := resource.AddrID(r.r.NS, model.GuestLink, leg(s))
				r.ask(resource.Route{NS: r.r.NS, Dst: route.CIDR.Masked(), Via: route.Via, Dev: model.GuestLink, From: &from}, r.n.Doc.PosOf(route.At))
			}
		}
	}
}

var anywhere = netip.PrefixFrom(netip.IPv4Unspecified(), 0)

// public asks for the outer leg: every public address, and the default route.
func (r *router) public() {
	ns, spec := r.r.NS, r.r.Range.Spec
	r.ask(resource.Link{
		NS: ns, Name: model.PublicLink, Host: r.r.PublicPort, MAC: r.r.PublicMAC.String(),
		MTU: r.r.PublicMTU, Up: true, TxOff: true,
	})
	var first *resource.ID
	for _, a := range r.addresses() {
		addr := resource.Addr{NS: ns, Link: model.PublicLink, Prefix: netip.PrefixFrom(a.addr, spec.CIDR.Bits())}
		r.ask(addr, a.origin)
		if first == nil {
			id := addr.ID()
			first = &id
		}
	}
	r.ask(resource.Route{NS: ns, Dst: anywhere, Via: spec.Gateway, Dev: model.PublicLink, From: first})
}

type address struct {
	addr   netip.Addr
	origin schema.Pos
}

// addresses lists the router's public addresses, that of source NAT first.
func (r *router) addresses() []address {
	var out []address
	if r.r.SourceNAT.IsValid() {
		out = append(out, address{r.r.SourceNAT, r.n.Doc.Pos})
	}
	for _, ip := range r.n.IPs {
		switch {
		case ip.Addr == r.r.SourceNAT:
			out[0].origin = ip.Doc.Pos
		default:
			out = append(out, address{ip.Addr, ip.Doc.Pos})
		}
	}
	return out
}

// sysctls: as CloudStack's router (reference 5.2); IPv6 is off but
// where a network has it (see sysctls6), so that nothing is routed that no chain filters. The kernel
// takes the greater of "all" and the link's rp_filter, and either of both for
// send_redirects, so both are set. Without promote_secondaries the address that
// happened to come first would take all others of its subnet along when it goes.
// From outside nobody may pretend to be inside (strict rp_filter): there is one
// public leg, so the way back to everybody else leads through it.
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
	link(model.GuestLink, "0")
	if r.r.Public() {
		link(model.PublicLink, "1")
	}
	r.ask(resource.Sysctl{NS: ns, Key: "net.ipv4.ip_forward", Value: "1", After: plugin.RouterGuards4(ns)})
}
