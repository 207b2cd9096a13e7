package reach

import (
	"net/netip"
	"slices"

	"weft.dev/reconcile/resource"
)

// ofFamily are the routers of one family.
func ofFamily(all []*Router, family int) []*Router {
	var out []*Router
	for _, r := range all {
		if r.Family == family {
			out = append(out, r)
		}
	}
	return out
}

// plain reports whether what comes from the world may be for guests as it is: by IPv6,
// and where nothing is translated.
func (r *Router) plain() bool {
	c := r.chains["filter/FORWARD"]
	return r.Family == 6 || c != nil && slices.ContainsFunc(c.Rules, func(x resource.Rule) bool {
		return isLeg(x.Match.In) && isInner(x.Match.Out) && len(x.Match.CT) == 0 && x.Match.IPsec == ""
	})
}

// routed tries the guests of a router that translates nothing from everywhere: all
// of them alike, by their prefix, and those that rules tell from the rest.
func (r *Router) routed(g *grid) []trial {
	if len(r.links[public]) == 0 {
		return nil
	}
	var targets []place
	for _, link := range r.inner() {
		targets = append(targets, g.within(r.links[link][0].Masked())...)
	}
	var out []trial
	for _, from := range g.outside() {
		for _, to := range targets {
			for _, proto := range g.protocols() {
				out = append(out, sweep(g, trial{from: from, to: to, proto: proto}, func(port uint16) (string, bool) {
					v := r.Send(Packet{In: public, Src: from.probe, Dst: to.probe, Proto: proto, Port: port})
					return "", v.Pass && !v.Local
				})...)
			}
		}
	}
	return out
}

// within lists where packets to guests of net go: to one that rules name, or to any
// other.
func (g *grid) within(net netip.Prefix) []place {
	var part []netip.Prefix
	for _, p := range g.dst {
		if net.Contains(p.Addr()) && p.Bits() > net.Bits() {
			part = append(part, p)
		}
	}
	out := places(part, "")
	for i := range out {
		if out[i].cidr.IsSingleIP() {
			out[i].name = out[i].cidr.Addr().String()
		}
	}
	out = g.alike(out, g.to)
	taken := append([]netip.Prefix{netip.PrefixFrom(net.Addr(), net.Addr().BitLen())}, part...)
	for _, a := range g.own {
		taken = append(taken, netip.PrefixFrom(a, a.BitLen()))
	}
	if a := free(net, ordered(taken)); a.IsValid() {
		out = append(out, place{name: net.String(), cidr: net, probe: a})
	}
	return out
}
