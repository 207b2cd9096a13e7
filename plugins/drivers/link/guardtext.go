package link

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

// What may pass a guest's port is one table of nftables' bridge family: it sees MAC,
// ARP, IPv4 and IPv6 alike, before the bridge does, and changes atomically. Its
// connection tracking (CONFIG_NF_CONNTRACK_BRIDGE) is not in every kernel, and that
// of the host's own stack (br_netfilter) would make all bridges of the host pass its
// iptables. So what began is remembered in sets of the table, one for each family,
// direction and port, that forget by themselves: as conntrack, but without looking
// into sequence numbers or the payload of errors.

// Names of a port's chains and sets, with the port's ID behind them.
const (
	fromGuest = "from-"  // what leaves the guest
	toGuest   = "to-"    // what is for it
	outward   = "out-"   // what leaves and is its own, judged by groups
	asking    = "ask-"   // what the guest may begin
	letting   = "let-"   // what others may begin
	asked     = "asked-" // began here
	admitted  = "adm-"   // began elsewhere
)

// mostFlows is how many flows of one sort a port remembers: more are refused until
// some are forgotten.
const mostFlows = 131072

// How long a flow is remembered without a packet: TCP as long as the keepalive of most
// systems (2 h) needs.
const (
	openTCP   = "3h"
	openUDP   = "3m"
	beginning = "2m"
	ending    = "1m"
)

// rules writes the rules of one port.
type rules struct {
	table, id string
	b         strings.Builder
}

func (w *rules) rule(chain, format string, args ...any) {
	fmt.Fprintf(&w.b, "add rule bridge %s %s%s %s\n", w.table, chain, w.id, fmt.Sprintf(format, args...))
}

// chain makes a chain, or empties it.
func (w *rules) chain(name string) {
	fmt.Fprintf(&w.b, "add chain bridge %s %s%s\nflush chain bridge %[1]s %[2]s%[3]s\n", w.table, name, w.id)
}

// render is what nft has to be told of the port called id: its chains and sets are as
// g says after it. Sets that are there keep what they remember.
func render(table, id string, g *resource.Guard) (string, error) {
	if err := check(id, g); err != nil {
		return "", err
	}
	w := &rules{table: table, id: id}
	w.chain(fromGuest)
	w.chain(toGuest)
	switch {
	case g.Down:
		w.rule(fromGuest, "drop")
		w.rule(toGuest, "drop")
		return w.b.String(), nil
	case g.Groups == nil:
		w.own(g, "accept")
		w.rule(toGuest, "accept")
		return w.b.String(), nil
	}
	for _, c := range []string{outward, asking, letting} {
		w.chain(c)
	}
	for _, f := range families {
		for _, s := range []string{asked, admitted} {
			f.sets(w, s)
		}
	}
	w.own(g, "goto "+outward+id)
	w.groups(g.Groups)
	return w.b.String(), nil
}

// check refuses what would not mean in a rule what it says.
func check(id string, g *resource.Guard) error {
	if id == "" || strings.Trim(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./") != "" {
		return fmt.Errorf("%q is no name of a port", id)
	}
	macs := []string{g.MAC}
	for _, o := range g.Owned {
		macs = append(macs, o.MAC)
		if !o.CIDR.IsValid() {
			return fmt.Errorf("port %s: an address is empty", id)
		}
	}
	if r := g.Reserved; r != nil {
		macs = append(macs, r.MACs...)
		if slices.ContainsFunc(r.Addrs, func(a netip.Addr) bool { return !a.IsValid() || a.Zone() != "" }) {
			return fmt.Errorf("port %s: an address is empty", id)
		}
	}
	for _, m := range macs {
		if mac, err := net.ParseMAC(m); err != nil || len(mac) != 6 || mac.String() != m {
			return fmt.Errorf("port %s: %q is no MAC in lower case", id, m)
		}
	}
	return nil
}

// own lets what is the guest's own go on, and nothing else.
func (w *rules) own(g *resource.Guard, next string) {
	from := fromGuest
	w.rule(from, "ether type { 8021q, 8021ad } drop") // it would leave the network
	w.reserved(g.Reserved)
	if g.Open {
		w.rule(from, "%s", next)
		return
	}
	me := "ether saddr " + g.MAC
	if g.Any {
		w.rule(from, "%s %s", me, next)
		w.rule(from, "drop")
		return
	}
	own := g.Owned
	six := false
	for _, o := range own {
		six = six || o.CIDR.Addr().Is6()
	}
	if six {
		mac, _ := net.ParseMAC(g.MAC)
		own = append(own[:len(own):len(own)], resource.Owned{MAC: g.MAC, CIDR: netip.PrefixFrom(schema.MAC(mac).LinkLocal(), 128)})
	}
	w.rule(from, "%s arp saddr ether %s arp saddr ip 0.0.0.0 accept", me, g.MAC)
	for _, o := range own {
		if o.CIDR.Addr().Is4() {
			w.rule(from, "ether saddr %s arp saddr ether %[1]s%s accept", o.MAC, prefixed("arp saddr ip", o.CIDR))
		}
	}
	w.rule(from, "meta protocol ip udp sport 67 drop")
	w.rule(from, "%s ip saddr 0.0.0.0 udp sport 68 udp dport 67 accept", me)
	if six {
		w.neighbours(me, own)
	}
	for _, o := range own {
		w.rule(from, "ether saddr %s %s %s", o.MAC, addressed("saddr", o.CIDR), next)
	}
	w.rule(from, "drop")
}

// reserved keeps what others have for themselves from leaving the guest. Whoever probes
// for an address of IPv6 would keep its owner from taking it.
func (w *rules) reserved(r *resource.Reserved) {
	if r == nil {
		return
	}
	from := fromGuest
	for _, m := range r.MACs {
		w.rule(from, "ether saddr %s drop", m)
		w.rule(from, "arp saddr ether %s drop", m)
	}
	for _, a := range r.Addrs {
		if a.Is4() {
			w.rule(from, "arp saddr ip %s drop", a)
			w.rule(from, "ip saddr %s drop", a)
			w.rule(from, "ip protocol 112 ip daddr %s drop", a) // VRRP
			continue
		}
		target := targeted(netip.PrefixFrom(a, a.BitLen()))
		w.rule(from, "ip6 saddr %s drop", a)
		w.rule(from, "icmpv6 type nd-neighbor-advert %s drop", target)
		w.rule(from, "ip6 saddr :: icmpv6 type nd-neighbor-solicit %s drop", target)
	}
}

// neighbours lets IPv6 find its neighbours: of itself the guest tells only what it
// owns.
func (w *rules) neighbours(me string, own []resource.Owned) {
	from := fromGuest
	const ns, na = "nd-neighbor-solicit", "nd-neighbor-advert"
	w.rule(from, "meta protocol ip6 udp sport 547 drop")
	w.rule(from, "icmpv6 type { nd-router-advert, nd-redirect } drop")
	w.rule(from, "icmpv6 type { %s, %s } ip6 length > 32 drop", ns, na) // one option at most
	for _, o := range own {
		if o.CIDR.Addr().Is4() {
			continue
		}
		src, target, mac := "ether saddr "+o.MAC, targeted(o.CIDR), "0x"+strings.ReplaceAll(o.MAC, ":", "")
		w.rule(from, "%s ip6 saddr :: icmpv6 type %s %s accept", src, ns, target)
		w.rule(from, "%s icmpv6 type %s @th,192,8 1 @th,208,48 != %s drop", src, ns, mac)
		w.rule(from, "%s icmpv6 type %s @th,192,8 2 @th,208,48 != %s drop", src, na, mac)
		w.rule(from, "%s icmpv6 type %s%s accept", src, ns, prefixed(" ip6 saddr", o.CIDR))
		w.rule(from, "%s icmpv6 type %s %s accept", src, na, target)
	}
	w.rule(from, "icmpv6 type { %s, %s } drop", ns, na)
	w.rule(from, "%s ip6 saddr :: icmpv6 type { nd-router-solicit, mld-listener-report, mld2-listener-report } accept", me)
}

// prefixed is a match of p with a space before it, nothing where p is everything.
func prefixed(field string, p netip.Prefix) string {
	if p.Bits() == 0 {
		return ""
	}
	return " " + strings.TrimSpace(field) + " " + literal(p)
}

func literal(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.Masked().String()
}

// addressed matches packets by one of their addresses.
func addressed(field string, p netip.Prefix) string {
	switch f := familyOf(p.Addr()); {
	case p.Bits() == 0:
		return "meta protocol " + f.word
	default:
		return f.word + " " + field + " " + literal(p)
	}
}

// targeted matches the address that a neighbour is asked for or tells of.
func targeted(p netip.Prefix) string {
	if p.IsSingleIP() {
		return fmt.Sprintf("@th,64,128 0x%x", p.Addr().As16())
	}
	var mask [16]byte
	for i := range p.Bits() {
		mask[i/8] |= 0x80 >> (i % 8)
	}
	return fmt.Sprintf("@th,64,128 & 0x%x == 0x%x", mask, p.Masked().Addr().As16())
}
