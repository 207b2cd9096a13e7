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
	r.chain("mangle", "INPUT", "ACCEPT", r.metersIn())
	r.chain("mangle", "POSTROUTING", "ACCEPT", r.metersOut())
}

// metersIn are the rules that count what comes in, for the end of mangle's FORWARD and
// INPUT: by the address that it was sent to before translation; else it answers what
// began inside or here.
func (r *router) metersIn() []resource.Rule {
	var out []resource.Rule
	all := r.addresses()
	for _, a := range all {
		out = append(out, jump("count", match{In: a.leg.Link, OrigDst: host(a.addr)}, r.counter(towards, a.addr)))
	}
	for _, a := range all {
		out = append(out, jump("count", match{In: a.leg.Link, Dst: host(a.addr)}, r.counter(towards, a.addr)))
	}
	for _, ip := range r.r.IPs {
		if l := r.r.LegOf(ip); ip.StaticNAT != nil && l != nil {
			out = append(out, jump("count", match{In: l.Link, Dst: host(ip.StaticTo)}, r.counter(towards, ip.Addr)))
		}
	}
	if a := r.known(); a.IsValid() {
		out = append(out, jump("count", match{In: r.r.Legs[0].Link}, r.counter(towards, a)))
	}
	return out
}

// metersOut are those of what leaves.
func (r *router) metersOut() []resource.Rule {
	var out []resource.Rule
	all := r.addresses()
	for _, a := range all {
		out = append(out, jump("count", match{Out: a.leg.Link, OrigDst: host(a.addr)}, r.counter(away, a.addr)))
	}
	for _, a := range all {
		out = append(out, jump("count", match{Out: a.leg.Link, Src: host(a.addr)}, r.counter(away, a.addr)))
	}
	for _, ip := range r.r.IPs {
		if l := r.r.LegOf(ip); ip.StaticNAT != nil && l != nil {
			out = append(out, jump("count", match{Out: l.Link, Src: host(ip.StaticTo)}, r.counter(away, ip.Addr)))
		}
	}
	if a := r.known(); a.IsValid() {
		out = append(out, jump("count", match{Out: r.r.Legs[0].Link}, r.counter(away, a)))
	}
	return out
}
