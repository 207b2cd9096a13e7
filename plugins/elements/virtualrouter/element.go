// Package virtualrouter is the VirtualRouter provider: a network namespace with
// links, addresses, firewall chains and dnsmasq, made of nothing but net.*, fw.*,
// file and process resources.
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
	return []string{"Dhcp", "Dns", "Gateway", "SourceNat", "StaticNat", "PortForwarding", "Firewall"}
}

// Implement implements plugin.Element. A network without a router (nothing
// runs, or no service needs one) gets nothing.
func (Element) Implement(n *model.Network, out *plugin.Draft) {
	if n.Router == nil {
		return
	}
	for _, x := range n.Spec.Routes {
		if !x.CIDR.Addr().Is4() {
			out.Diags.Errorf(n.Doc.PosOf(x.At), "wrong-family", "the route to %s is of IPv6, which routers do not have yet", x.CIDR)
			return
		}
	}
	r := router{n: n, r: n.Router, out: out, services: n.Offering.Spec.Services}
	r.namespace()
	r.chains()
	r.dnsmasq()
}

// A router drafts one network's router.
type router struct {
	n        *model.Network
	r        *model.Router
	out      *plugin.Draft
	services schema.Services
}

func (r *router) ask(st resource.State, origin ...schema.Pos) {
	r.out.Ask(r.r.Host.Name, st, origin...)
}

// provides reports whether the offering takes a service from this element.
func provides(s *schema.Service) bool { return s != nil && s.Provider == Element{}.Name() }

// guest is the router's address in the guest network.
func (r *router) guest() netip.Prefix { return netip.PrefixFrom(r.r.GuestIP, r.n.CIDR.Bits()) }

func (r *router) namespace() {
	ns := r.r.NS
	r.ask(resource.NS{Name: ns, Owner: r.out.Owner})
	r.ask(resource.Link{
		NS: ns, Name: model.GuestLink, Host: r.r.GuestPort, MAC: r.r.GuestMAC.String(),
		MTU: r.n.MTU, Up: true, TxOff: true,
	})
	r.ask(resource.Addr{NS: ns, Link: model.GuestLink, Prefix: r.guest()})
	from := resource.AddrID(ns, model.GuestLink, r.guest())
	for _, route := range r.n.Spec.Routes {
		r.ask(resource.Route{NS: ns, Dst: route.CIDR.Masked(), Via: route.Via, Dev: model.GuestLink, From: &from}, r.n.Doc.PosOf(route.At))
	}
	switch {
	case r.r.Public():
		r.public()
	case r.r.GuestIP != r.n.Gateway:
		// Only a service of the network: it asks its resolvers as a guest would.
		r.ask(resource.Route{NS: ns, Dst: anywhere, Via: r.n.Gateway, Dev: model.GuestLink, From: &from})
	}
	r.sysctls()
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

// sysctls: as CloudStack's router (reference 5.2); IPv6 stays off until a
// network has it, so that nothing is routed that no chain filters. The kernel
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
	r.ask(resource.Sysctl{NS: ns, Key: "net.ipv4.ip_forward", Value: "1", After: plugin.RouterGuards(ns)})
}
