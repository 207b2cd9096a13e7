package reach

import (
	"net/netip"
	"slices"
	"strings"

	"weft.dev/reconcile/model"
)

// A VPC's router has a link into each tier, and into private networks. Guests are told
// by the CIDR of their tier: "vpc/ACCOUNT/NAME 10.20.1.0/24".

func isInner(link string) bool { return link == guest || strings.HasPrefix(link, model.TierLinks) }

func isGateway(link string) bool { return strings.HasPrefix(link, model.GatewayLinks) }

// inner are the links to guests.
func (r *Router) inner() []string { return r.linksThat(isInner) }

func (r *Router) linksThat(is func(string) bool) []string {
	var out []string
	for name, l := range r.links {
		if is(name) && len(l) > 0 {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// tiers are the networks inside a VPC's router, and what lies behind them: packets go to
// them though no rule names them.
func (r *Router) tiers() []netip.Prefix {
	if len(r.links[guest]) > 0 {
		return nil
	}
	var out []netip.Prefix
	for _, link := range r.linksThat(func(l string) bool { return isInner(l) || isGateway(l) }) {
		out = append(out, r.links[link][0].Masked())
		out = append(out, r.behind[link]...)
	}
	return out
}

// between tries all ways from tiers and private networks: to each other, and to the
// world.
func (r *Router) between(g *grid, owner string) []trial {
	var out []trial
	tiers := r.tiers()
	send := func(link string, from place, part bool, targets []place) {
		for _, to := range targets {
			if from.cidr == to.cidr {
				continue
			}
			to.known = slices.Contains(tiers, to.cidr)
			for _, proto := range g.protocols() {
				out = append(out, sweep(g, trial{from: from, to: to, part: part, proto: proto}, func(port uint16) (string, bool) {
					v := r.Send(Packet{In: link, Src: from.probe, Dst: to.probe, Proto: proto, Port: port})
					return arrival(v, to.probe, proto, port), v.Pass && !v.Local
				})...)
			}
		}
	}
	for _, link := range r.inner() {
		net := r.links[link][0].Masked()
		targets := g.beyond(net)
		for _, from := range g.inside(net, owner) {
			part := !from.all
			if from.all {
				from.name, from.cidr, from.all = owner+" "+net.String(), net, false
			}
			send(link, from, part, targets)
			out = append(out, r.balanced(g, link, from, part)...)
		}
		for _, from := range places(r.behind[link], owner+" ") {
			send(link, from, false, targets)
		}
	}
	for _, link := range r.linksThat(isGateway) {
		net := r.links[link][0].Masked()
		targets := slices.DeleteFunc(g.beyond(net), func(to place) bool { return to.all })
		for _, from := range places(ordered(append([]netip.Prefix{net}, r.behind[link]...)), "") {
			send(link, from, false, targets)
		}
	}
	return out
}

// balanced tries the balancers from a tier: they are at addresses of the router, inside a
// tier or public ones.
func (r *Router) balanced(g *grid, link string, from place, part bool) []trial {
	var out []trial
	for _, a := range r.balancers() {
		to := place{name: a.String(), cidr: netip.PrefixFrom(a, a.BitLen()), probe: a, known: true}
		for _, proto := range g.protocols() {
			out = append(out, sweep(g, trial{from: from, to: to, part: part, proto: proto}, func(port uint16) (string, bool) {
				v := r.Send(Packet{In: link, Src: from.probe, Dst: a, Proto: proto, Port: port})
				return arrival(v, a, proto, port), v.Pass && (len(v.Behind) > 0 || !v.Local)
			})...)
		}
	}
	return apart(out)
}

// balancers are the addresses of the router that rules pass on to members, be it one: by
// a service, or by a chain of translations.
func (r *Router) balancers() []netip.Addr {
	var out []netip.Addr
	for _, c := range r.chains {
		for i := range c.Rules {
			x := &c.Rules[i]
			passed := len(x.Behind) > 0 || c.Table == "nat" && x.Do.Jump != ""
			if a := x.Match.Dst.Addr(); passed && x.Match.Dst.IsSingleIP() && r.own(a) {
				out = append(out, a)
			}
		}
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return slices.Compact(out)
}
