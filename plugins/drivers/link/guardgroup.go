package link

import (
	"fmt"
	"net/netip"
	"strings"

	"weft.dev/reconcile/resource"
)

// family is how one family of addresses is written.
type family struct {
	word, typ, icmp string
	errors          string // types of ICMP
	answers         string // types that answer others
	proto, other    int    // numbers of its ICMP, and of the other family's
}

var families = []family{
	{"ip", "ipv4_addr", "icmp", "{ destination-unreachable, time-exceeded, parameter-problem }", "{ 0, 14, 16, 18 }", 1, 58},
	{"ip6", "ipv6_addr", "icmpv6", "{ destination-unreachable, packet-too-big, time-exceeded, parameter-problem }", "{ 129, 140 }", 58, 1},
}

func familyOf(a netip.Addr) *family {
	if a.Is4() {
		return &families[0]
	}
	return &families[1]
}

// set is the name of one of a port's sets: of flows that have ports, or of others.
func (f family) set(sort, id string, ports bool) string {
	if ports {
		return sort + f.word + "-" + id
	}
	return sort + f.word + "-any-" + id
}

// sets makes the two sets of one sort.
func (f family) sets(w *rules, sort string) {
	const tail = "size %d; flags dynamic,timeout; }\n"
	fmt.Fprintf(&w.b, "add set bridge %s %s { type %s . %[3]s . inet_proto . inet_service . inet_service; "+tail,
		w.table, f.set(sort, w.id, true), f.typ, mostFlows)
	fmt.Fprintf(&w.b, "add set bridge %s %s { type %s . %[3]s . inet_proto; "+tail, w.table, f.set(sort, w.id, false), f.typ, mostFlows)
}

// withPorts are the protocols whose flows have ports: tcp, dccp, udp, sctp, udplite.
const withPorts = "{ 6, 17, 33, 132, 136 }"

// key is what a flow is remembered by, of a packet on its way there or back.
func (f family) key(ports, back bool) string {
	a, b, p, q := "saddr", "daddr", "sport", "dport"
	if back {
		a, b, p, q = b, a, q, p
	}
	out := fmt.Sprintf("%s %s . %[1]s %[3]s . meta l4proto", f.word, a, b)
	if ports {
		out += fmt.Sprintf(" . th %s . th %s", p, q)
	}
	return out
}

// remember lets a packet pass and remembers its flow, for as long as it looks like: a
// packet that begins one or, where it goes back, one that answers what is remembered.
func (f family) remember(w *rules, chain, sort string, back bool) {
	update := func(match string, ports bool, timeout string) {
		set, key, known := f.set(sort, w.id, ports), f.key(ports, back), ""
		if back {
			known = fmt.Sprintf("%s @%s ", key, set)
		}
		w.rule(chain, "%s%supdate @%s { %s timeout %s } accept", known, match, set, key, timeout)
	}
	update("tcp flags & (fin|rst) != 0 ", true, ending)
	update("tcp flags & (syn|ack) == syn ", true, beginning)
	update("meta l4proto 6 ", true, openTCP)
	update("meta l4proto "+withPorts+" ", true, openUDP)
	if !back {
		update("", false, ending)
		return
	}
	update(f.icmp+" type "+f.answers+" ", false, ending)
	update("meta l4proto != { 1, 58 } ", false, ending)
}

// groups judges what leaves the guest and is its own, and what is for it.
func (w *rules) groups(g *resource.GuestGroups) {
	w.rule(outward, "meta protocol arp accept")
	w.rule(outward, "ip saddr 0.0.0.0 udp sport 68 udp dport 67 accept")
	w.rule(outward, "ip protocol 17 udp sport 68 udp dport 67 accept") // a lease is renewed
	w.rule(outward, "ip6 saddr fe80::/10 udp sport 546 udp dport 547 accept")
	w.rule(outward, "icmpv6 type { nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert, mld-listener-report, mld-listener-done, mld2-listener-report } accept")
	w.rule(toGuest, "meta protocol arp accept")
	for _, p := range g.Local {
		if p.Addr().Is4() {
			w.rule(toGuest, "%s udp sport 67 udp dport 68 accept", addressed("saddr", p))
		}
	}
	w.rule(toGuest, "ip6 saddr fe80::/10 udp sport 547 udp dport 546 accept")
	w.rule(toGuest, "icmpv6 type { nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert, mld-listener-query } accept")
	for _, f := range families {
		for _, c := range []string{outward, toGuest} {
			// Without its first part a packet is nothing, and that is judged.
			if f.word == "ip" {
				w.rule(c, "ip frag-off & 0x1fff != 0 accept")
			} else {
				w.rule(c, "frag frag-off != 0 accept")
			}
		}
		f.remember(w, outward, admitted, true)
		f.remember(w, toGuest, asked, true)
		for _, c := range []string{outward, toGuest} {
			w.rule(c, "%s type %s accept", f.icmp, f.errors)
		}
		f.remember(w, asking, asked, false)
		f.remember(w, letting, admitted, false)
	}
	for _, a := range g.Resolvers {
		w.rule(outward, "%s meta l4proto { 6, 17 } th dport 53 goto %s%s", addressed("daddr", netip.PrefixFrom(a, a.BitLen())), asking, w.id)
	}
	if g.Open {
		w.rule(outward, "meta protocol { ip, ip6 } goto %s%s", asking, w.id)
	}
	for i := range g.Egress {
		w.guest(outward, "daddr", &g.Egress[i], asking)
	}
	for i := range g.Ingress {
		w.guest(toGuest, "saddr", &g.Ingress[i], letting)
	}
	for _, c := range []string{outward, toGuest, asking, letting} {
		w.rule(c, "drop")
	}
}

// guest writes a rule of a group, for each family that it is about.
func (w *rules) guest(chain, field string, r *resource.GuestRule, next string) {
	for _, f := range families {
		var peers []string
		all := false
		for _, p := range r.Peers {
			if familyOf(p.Addr()).word == f.word {
				peers = append(peers, literal(p))
				all = all || p.Bits() == 0
			}
		}
		if len(peers) == 0 || r.Proto == f.other {
			continue
		}
		match := fmt.Sprintf("%s %s { %s }", f.word, field, strings.Join(peers, ", "))
		if all {
			match = "meta protocol " + f.word
		}
		w.rule(chain, "%s%s goto %s%s", match, service(f, r), next, w.id)
	}
}

// service matches the protocol and the ports of r.
func service(f family, r *resource.GuestRule) string {
	switch {
	case r.Proto < 0:
		return ""
	case r.ICMPType >= 0 && r.Proto == f.proto:
		out := fmt.Sprintf(" %s type %d", f.icmp, r.ICMPType)
		if r.ICMPCode >= 0 {
			out += fmt.Sprintf(" %s code %d", f.icmp, r.ICMPCode)
		}
		return out
	case len(r.Ports) == 0:
		return fmt.Sprintf(" meta l4proto %d", r.Proto)
	}
	spans := make([]string, len(r.Ports))
	for i, p := range r.Ports {
		if spans[i] = fmt.Sprintf("%d-%d", p.From, p.To); p.From == p.To {
			spans[i] = fmt.Sprint(p.From)
		}
	}
	return fmt.Sprintf(" meta l4proto %d th dport { %s }", r.Proto, strings.Join(spans, ", "))
}
