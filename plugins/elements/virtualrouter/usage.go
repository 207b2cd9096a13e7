package virtualrouter

import (
	"net/netip"
	"slices"

	"weft.dev/reconcile/model"
	"weft.dev/reconcile/resource"
)

// What is sent to and from each public address is counted in chains of their own, one
// for each address and direction, so that no change of other rules resets a counter, and
// that of one address none of another's (CloudStack's NETWORK_STATS, reference 5.5 and
// 5.18, counts by device). A packet is counted once, where the router has let it in, and
// where it has let it out: chains of counters are the last of mangle's INPUT, FORWARD and
// POSTROUTING, and end them.
//
// Addresses are translated after the last chain that could count, so what leaves is told
// by what NAT goes by.

const (
	towards = "in"
	away    = "out"
)

// counter is the chain that counts for an address.
func (r *router) counter(direction string, a netip.Addr) string {
	word := "IN_"
	if direction == away {
		word = "OUT_"
	}
	return resource.Short(28, word+a.String())
}

// meters asks for the counters of the public addresses, and for the chains that lead
// there and are nobody else's.
func (r *router) meters() {
	if !r.r.Public() {
		return
	}
	for _, a := range r.addresses() {
		for _, direction := range []string{towards, away} {
			r.ask(resource.Chain{
				NS: r.r.NS, Family: 4, Table: "mangle", Name: r.counter(direction, a.addr),
				Rules: []resource.Rule{rule("count", match{}, "ACCEPT")},
				Meter: &resource.Meter{Of: "publicip", Name: a.addr.String(), Account: r.r.ID.Account, Direction: direction},
			}, a.origin)
		}
	}
	r.chain("mangle", "INPUT", "ACCEPT", r.counting(towards))
	r.chain("mangle", "POSTROUTING", "ACCEPT", r.counting(away))
	if r.r.IP6().IsValid() {
		six := *r
		six.family = 6
		six.meters6()
	}
}

// meters6 asks for the counters of the router's addresses of IPv6: what passes by the
// public link is told by its address, whoever of the guests it is from, as for IPv4 where
// nothing is translated.
func (r *router) meters6() {
	for _, l := range r.legs6() {
		for _, direction := range []string{towards, away} {
			r.ask(resource.Chain{
				NS: r.r.NS, Family: 6, Table: "mangle", Name: r.counter(direction, l.IP6.Addr()),
				Rules: []resource.Rule{rule("count", match{}, "ACCEPT")},
				Meter: &resource.Meter{Of: "publicip", Name: l.IP6.Addr().String(), Account: r.r.ID.Account, Direction: direction},
			})
		}
	}
	// What neighbours say to each other is not counted; of IPv4 it is none either.
	neighbours := make([]resource.Rule, 0, len(discovery))
	for _, t := range discovery {
		neighbours = append(neighbours, rule("neighbour", match{Proto: "icmpv6", ICMPType: t + 1}, "ACCEPT"))
	}
	r.chain("mangle", "INPUT", "ACCEPT", slices.Concat(neighbours, r.counting6(towards)))
	r.chain("mangle", "POSTROUTING", "ACCEPT", slices.Concat(neighbours, r.counting6(away)))
}

// discovery are the messages of RFC 4861 between a router and its neighbours.
var discovery = []int{133, 134, 135, 136, 137}

// legs6 are the legs with an address of IPv6.
func (r *router) legs6() []*model.Leg {
	return slices.DeleteFunc(slices.Clone(r.r.Legs), func(l *model.Leg) bool { return !l.IP6.IsValid() })
}

// counting6 is counting for IPv6.
func (r *router) counting6(direction string) []resource.Rule {
	var out []resource.Rule
	for _, l := range r.legs6() {
		m := match{In: l.Link}
		if direction == away {
			m = match{Out: l.Link}
		}
		out = append(out, jump("count", m, r.counter(direction, l.IP6.Addr())))
	}
	return out
}

// counting are the rules that count what comes in, for the end of mangle's FORWARD and
// INPUT, or what leaves: by the address that it was sent to before translation; else it
// answers what began inside or here.
func (r *router) counting(direction string) []resource.Rule {
	by := func(link string, a netip.Addr) match { // the zero address is any
		if direction == away {
			return match{Out: link, Src: host(a)}
		}
		return match{In: link, Dst: host(a)}
	}
	all := r.addresses()
	out := make([]resource.Rule, 0, 2*len(all)+len(r.r.IPs)+1)
	count := func(m match, a netip.Addr) {
		out = append(out, jump("count", m, r.counter(direction, a)))
	}
	for _, a := range all {
		m := by(a.leg.Link, netip.Addr{})
		m.OrigDst = host(a.addr)
		count(m, a.addr)
	}
	for _, a := range all {
		count(by(a.leg.Link, a.addr), a.addr)
	}
	for _, ip := range r.r.IPs {
		if l := r.r.LegOf(ip); ip.StaticNAT != nil && l != nil {
			count(by(l.Link, ip.StaticTo), ip.Addr)
		}
	}
	if a := r.known(); a.IsValid() {
		count(by(r.r.Legs[0].Link, netip.Addr{}), a)
	}
	return out
}
