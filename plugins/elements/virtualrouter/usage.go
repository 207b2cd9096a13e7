package virtualrouter

import (
	"net/netip"

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
	if direction == away {
		return "OUT_" + a.String()
	}
	return "IN_" + a.String()
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
	var out []resource.Rule
	count := func(m match, a netip.Addr) {
		out = append(out, jump("count", m, r.counter(direction, a)))
	}
	all := r.addresses()
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
