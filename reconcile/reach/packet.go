// Package reach says who can reach whom: it sends packets through the typed
// rules of routers, as the kernel would, without a kernel.
//
// In go fragments of an intent (the chains, sets and addresses of one router);
// out come the ways that are open, and the difference between two commits. It is
// pure. Compile, plan's callers and cmd import it; it imports model, plugin and resource only.
package reach

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

// A Packet is the first packet of a connection, on its way through a router.
type Packet struct {
	In, Out  string // interfaces; Out is known after routing
	Src, Dst netip.Addr
	Proto    string // tcp udp icmp icmpv6, or another's number
	Port     uint16 // destination port; of icmp, the type
	dnat     bool
	ipsec    bool // it came out of a tunnel of the kernel's
	into     bool // and goes into one
	mark     uint32
	shared   []netip.AddrPort // to whom a part of such packets goes
}

// A Router is the packet filter of one namespace for one family, indexed.
type Router struct {
	NS     string
	Family int                        // 4 or 6
	chains map[string]*resource.Chain // "table/name"
	sets   map[string]*cidrs
	links  map[string][]netip.Prefix // addresses by link
	behind map[string][]netip.Prefix // what routes lead to by links inside, in order
	ways   []resource.RoutingRule    // of several public links
	// tunnelled are the tunnels to which the rules let packets, and from which.
	tunnelled []tunnel
}

// Routers finds the routers in fragments, by namespace; those of IPv6 are where
// chains of it are, each behind that of IPv4.
func Routers(frags []*resource.Fragment) []*Router {
	type key struct {
		ns     string
		family int
	}
	by := map[key]*Router{}
	at := func(ns string, family int) *Router {
		k := key{ns, family}
		if by[k] == nil {
			by[k] = &Router{NS: ns, Family: family, chains: map[string]*resource.Chain{}, sets: map[string]*cidrs{}, links: map[string][]netip.Prefix{}, behind: map[string][]netip.Prefix{}}
		}
		return by[k]
	}
	var names []string
	for _, f := range frags {
		for _, e := range f.Entries() {
			switch s := e.State.(type) {
			case resource.Chain:
				at(s.NS, s.Family).chains[s.Table+"/"+s.Name] = &s
			case resource.AddrSet:
				at(s.NS, s.Family).sets[s.Name] = setOf(s.Members)
			case resource.Addr:
				if s.NS != "" && !s.Prefix.Addr().IsLinkLocalUnicast() {
					r := at(s.NS, familyOf(s.Prefix.Addr()))
					r.links[s.Link] = append(r.links[s.Link], s.Prefix)
				}
			case resource.Route:
				if s.NS != "" && (isInner(s.Dev) || isGateway(s.Dev)) && s.Dst.Bits() > 0 {
					r := at(s.NS, familyOf(s.Dst.Addr()))
					r.behind[s.Dev] = ordered(append(r.behind[s.Dev], s.Dst))
				}
			case resource.RoutingRule:
				r := at(s.NS, 4)
				r.ways = append(r.ways, s)
			case resource.NS:
				names = append(names, s.Name)
			}
		}
	}
	slices.Sort(names)
	var out []*Router
	for _, n := range slices.Compact(names) {
		x := at(n, 4)
		x.tunnelled = x.tunnels()
		out = append(out, x)
		if r := by[key{n, 6}]; r != nil && len(r.chains) > 0 {
			out = append(out, r)
		}
	}
	return out
}

func familyOf(a netip.Addr) int {
	if a.Is4() {
		return 4
	}
	return 6
}

// A Verdict says what became of a packet.
type Verdict struct {
	Pass bool
	// Dst and Port are where it arrives, after translation; Local when that is
	// the router itself.
	Dst   netip.Addr
	Port  uint16
	Local bool
	// Behind are those that it is passed on to, each a part of what begins so: the
	// members of a balancer.
	Behind []netip.AddrPort
	// Rule decided, when a packet did not pass or a chain let it.
	Rule resource.Rule
}

// Send sends a packet that comes in through the router.
func (r *Router) Send(p Packet) Verdict {
	if ok, rule := r.table("mangle", "PREROUTING", &p); !ok {
		return Verdict{Rule: rule}
	}
	if ok, rule := r.table("nat", "PREROUTING", &p); !ok {
		return Verdict{Rule: rule}
	}
	chain := "FORWARD"
	out := r.route(p.Dst)
	if isLeg(out) {
		out = r.way(p.mark, out)
	}
	if t, ok := r.tunnel(p.Dst); ok && !r.own(p.Dst) {
		out, p.into = t.link, t.ipsec
	}
	switch {
	case r.own(p.Dst):
		chain = "INPUT"
	case out == "":
		return Verdict{}
	default:
		p.Out = out
	}
	ok, rule := r.table("filter", chain, &p)
	v := Verdict{Pass: ok, Dst: p.Dst, Port: p.Port, Local: chain == "INPUT", Behind: p.shared, Rule: rule}
	if v.Local {
		v.Behind = rule.Behind
	}
	return v
}

func (r *Router) own(a netip.Addr) bool {
	for _, l := range r.links {
		for _, p := range l {
			if p.Addr() == a {
				return true
			}
		}
	}
	return false
}

// route picks the link whose network holds a, else the public one.
func (r *Router) route(a netip.Addr) string {
	for name, l := range r.links {
		for _, p := range l {
			if p.Contains(a) {
				return name
			}
		}
	}
	for name, list := range r.behind {
		if slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(a) }) {
			return name
		}
	}
	if len(r.links[public]) > 0 {
		return public
	}
	return ""
}

// isLeg reports whether a link leads to a public network.
func isLeg(link string) bool { return link == public || strings.HasPrefix(link, "pub-") }

// legs are the links to public networks.
func (r *Router) legs() []string {
	var out []string
	for name := range r.links {
		if isLeg(name) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// way is the public link that a packet with a mark leaves by; or where there is but one.
func (r *Router) way(mark uint32, or string) string {
	for _, w := range r.ways {
		if mark != 0 && w.Mark == mark&w.Mask {
			return w.Dev
		}
		if w.Rest {
			or = w.Dev
		}
	}
	return or
}

// hears is r without the rules that match nothing which comes in by a link from one
// address: lists of thousands of sources are walked once for each of them, not once for
// each port too.
func (r *Router) hears(in string, src netip.Addr) *Router {
	out := *r
	out.chains = make(map[string]*resource.Chain, len(r.chains))
	for name, c := range r.chains {
		x := *c
		x.Rules = nil
		for i := range c.Rules {
			if r.matchFrom(&c.Rules[i].Match, in, src) {
				x.Rules = append(x.Rules, c.Rules[i])
			}
		}
		out.chains[name] = &x
	}
	return &out
}

func (r *Router) matchFrom(m *resource.Match, in string, src netip.Addr) bool {
	return (m.In == "" || m.In == in) && (!m.Src.IsValid() || m.Src.Contains(src)) && (m.SrcSet == "" || r.sets[m.SrcSet].contains(src))
}

// table walks a chain and what it jumps to; false means dropped. p changes where
// a rule translates it.
func (r *Router) table(table, chain string, p *Packet) (bool, resource.Rule) {
	c := r.chains[table+"/"+chain]
	if c == nil {
		return true, resource.Rule{}
	}
	target, rule := r.walk(table, c, p)
	if target == "" || target == "RETURN" {
		return c.Policy != "DROP", resource.Rule{Name: "policy"}
	}
	return target != "DROP" && target != "REJECT", rule
}

// walk returns the target that ends the walk of a chain, or "" at its end.
func (r *Router) walk(table string, c *resource.Chain, p *Packet) (string, resource.Rule) {
	for i := range c.Rules {
		rule := &c.Rules[i]
		if !r.matches(&rule.Match, p) {
			continue
		}
		if rule.Do.Jump != "" {
			next := r.chains[table+"/"+rule.Do.Jump]
			if next == nil {
				continue
			}
			if t, by := r.walk(table, next, p); t != "" && t != "RETURN" {
				return t, by
			}
			continue
		}
		switch rule.Do.Target {
		case "MARK":
			p.mark = rule.Do.Mark
		case "CLAMPMSS", "SAVEMARK", "RESTOREMARK":
		case "DNAT":
			port := translated(rule.Do, p.Port)
			if part := rule.Match.Nth > 0 || rule.Match.Hash.Nodes > 0; part || p.shared != nil {
				p.shared = append(p.shared, netip.AddrPortFrom(rule.Do.To, port))
				if part {
					continue
				}
			}
			p.dnat = true
			p.Dst, p.Port = rule.Do.To, port
			return "ACCEPT", *rule
		default:
			return rule.Do.Target, *rule
		}
	}
	return "", resource.Rule{}
}

func translated(v resource.Verdict, port uint16) uint16 {
	switch {
	case v.Ports == schema.PortRange{}:
		return port
	case v.Base != 0:
		return v.Ports.From + port - v.Base
	}
	return v.Ports.From
}

func (r *Router) matches(m *resource.Match, p *Packet) bool {
	switch {
	case !r.matchFrom(m, p.In, p.Src), m.Out != "" && m.Out != p.Out:
		return false
	case m.Dst.IsValid() && m.Dst.Contains(p.Dst) == m.NotDst:
		return false
	case m.DstSet != "" && !r.sets[m.DstSet].contains(p.Dst):
		return false
	case m.Proto != "" && m.Proto != p.Proto:
		return false
	case len(m.SrcPorts) > 0, m.SYN && p.Proto != "tcp", m.Mark != 0:
		return false
	case m.OrigDst.IsValid():
		return false
	}
	return matchIPsec(m.IPsec, p) && matchPorts(m, p) && matchState(m.CT, p)
}

func matchPorts(m *resource.Match, p *Packet) bool {
	if isICMP(p.Proto) {
		return len(m.DstPorts) == 0 && (m.ICMPType == 0 || m.ICMPType == int(p.Port)+1)
	}
	if m.ICMPType != 0 {
		return false
	}
	return len(m.DstPorts) == 0 || slices.ContainsFunc(m.DstPorts, func(r schema.PortRange) bool {
		return r.From <= p.Port && p.Port <= r.To
	})
}

// matchState: the packet is new, and translated or not.
func matchState(ct []string, p *Packet) bool {
	if len(ct) == 0 || slices.Contains(ct, "NEW") {
		return true
	}
	return p.dnat && slices.Contains(ct, "DNAT")
}

// portText is "443/tcp", "8000-8100/udp", "icmp type 8" or "protocol 50".
func portText(proto string, from, to uint16) string {
	switch {
	case !known(proto):
		if _, err := strconv.Atoi(proto); err == nil {
			return "protocol " + proto
		}
		return proto
	case isICMP(proto) && from == 0 && to == 255:
		return proto
	case isICMP(proto):
		return proto + " type " + span(from, to)
	case from <= 1 && to == 65535:
		return proto
	}
	return span(from, to) + "/" + proto
}

// portsIn reads what portText wrote; what it did not write is a protocol without
// ports.
func portsIn(text string) (proto string, from, to uint16) {
	proto, ports := text, ""
	if word, rest, ok := strings.Cut(text, " type "); ok && isICMP(word) {
		proto, ports = word, rest
	} else if rest, after, ok := strings.Cut(text, "/"); ok {
		proto, ports = after, rest
	}
	first, last := portsOf(proto)
	a, b, ranged := strings.Cut(ports, "-")
	if !ranged {
		b = a
	}
	lo, errLo := strconv.ParseUint(a, 10, 16)
	hi, errHi := strconv.ParseUint(b, 10, 16)
	switch {
	case !known(proto):
		return text, 0, 0
	case errLo != nil || errHi != nil:
		return proto, first, last
	}
	return proto, uint16(lo), uint16(hi)
}

func span(from, to uint16) string {
	if from == to {
		return strconv.Itoa(int(from))
	}
	return strconv.Itoa(int(from)) + "-" + strconv.Itoa(int(to))
}
