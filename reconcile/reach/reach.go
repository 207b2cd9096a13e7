package reach

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"weft.dev/reconcile/model"
	"weft.dev/reconcile/plugin"
	"weft.dev/reconcile/resource"
)

// The links of a router.
const (
	guest  = model.GuestLink
	public = model.PublicLink
)

var everywhere = netip.PrefixFrom(netip.IPv4Unspecified(), 0)

// A Way is traffic that may begin: from somewhere to somewhere, on ports.
type Way struct {
	// From and To are "internet", "network/ACCOUNT/NAME", an address or a
	// CIDR.
	From string `json:"from"`
	To   string `json:"to"`
	// Ports are "443/tcp", "tcp" (all of it), "icmp type 8".
	Ports string `json:"ports"`
	// At is where it arrives when that differs from To: "10.1.1.11:8080".
	At string `json:"at,omitempty"`
}

// String is the way for people.
func (w Way) String() string {
	s := w.From + " -> " + w.To + " " + w.Ports
	if w.At != "" {
		s += " (at " + w.At + ")"
	}
	return s
}

// Open reports whether anybody on the internet may begin.
func (w Way) Open() bool { return w.From == "internet" && !strings.HasPrefix(w.To, "internet") }

// Compare orders ways.
func (w Way) Compare(o Way) int {
	return cmp.Or(cmp.Compare(w.To, o.To), cmp.Compare(w.Ports, o.Ports), cmp.Compare(w.From, o.From), cmp.Compare(w.At, o.At))
}

// Of lists the ways through the routers of owner's fragment: from the internet
// to its public addresses, and from its guests to the internet. It is sorted.
func Of(f *resource.Fragment) []Way {
	var out []Way
	for _, r := range Routers([]*resource.Fragment{f}) {
		out = append(out, r.inbound()...)
		out = append(out, r.outbound(string(f.Owner))...)
	}
	slices.SortFunc(out, Way.Compare)
	return slices.Compact(out)
}

var protocols = []string{"tcp", "udp", "icmp"}

// inbound tries every public address from every source and on every port
// between which some rule could tell a difference.
func (r *Router) inbound() []Way {
	var out []Way
	for _, addr := range r.links[public] {
		for _, from := range r.places(func(m *resource.Match) []netip.Prefix { return r.named(m.Src, m.SrcSet) }) {
			for _, proto := range protocols {
				out = append(out, r.sweep(proto, func(port uint16) (string, bool) {
					v := r.Send(Packet{In: public, Src: from.probe, Dst: addr.Addr(), Proto: proto, Port: port})
					return arrival(v, addr.Addr(), proto, port), v.Pass && !(v.Local && proto != "icmp")
				}, from.name, addr.Addr().String())...)
			}
		}
	}
	return narrow(out)
}

// arrival says where a packet ends, as an offset-free text, so that ranges
// that move as a whole stay one way.
func arrival(v Verdict, to netip.Addr, proto string, port uint16) string {
	if v.Dst == to || v.Local {
		return ""
	}
	if proto != "icmp" && v.Port != port {
		return v.Dst.String() + " port " + shift(v.Port, port)
	}
	return v.Dst.String()
}

// shift writes a translated port relative to the one asked for.
func shift(got, asked uint16) string {
	if got > asked {
		return "+" + span(got-asked, got-asked)
	}
	return "-" + span(asked-got, asked-got)
}

func (r *Router) outbound(owner string) []Way {
	var src netip.Prefix
	for _, p := range r.links[guest] {
		src = p
	}
	if !src.IsValid() || len(r.links[public]) == 0 {
		return nil
	}
	var out []Way
	for _, to := range r.places(func(m *resource.Match) []netip.Prefix { return r.named(m.Dst, m.DstSet) }) {
		if to.name != "internet" && src.Overlaps(to.cidr) || r.own(to.probe) {
			continue
		}
		for _, proto := range protocols {
			out = append(out, r.sweep(proto, func(port uint16) (string, bool) {
				v := r.Send(Packet{In: guest, Src: src.Addr().Next(), Dst: to.probe, Proto: proto, Port: port})
				return "", v.Pass
			}, owner, to.name)...)
		}
	}
	return narrowTo(out)
}

// named lists the CIDRs that a rule names, itself or through a set.
func (r *Router) named(p netip.Prefix, set string) []netip.Prefix {
	if set != "" {
		return r.sets[set]
	}
	if p.IsValid() {
		return []netip.Prefix{p}
	}
	return nil
}

// A place is a CIDR with an address in it that no narrower one holds.
type place struct {
	name  string
	cidr  netip.Prefix
	probe netip.Addr
}

// places lists the CIDRs that rules tell apart, and the internet as all the
// rest.
func (r *Router) places(of func(*resource.Match) []netip.Prefix) []place {
	var list []netip.Prefix
	for _, c := range r.chains {
		for i := range c.Rules {
			list = append(list, of(&c.Rules[i].Match)...)
		}
	}
	slices.SortFunc(list, func(a, b netip.Prefix) int { return cmp.Or(a.Addr().Compare(b.Addr()), a.Bits()-b.Bits()) })
	list = slices.Compact(list)
	out := []place{{"internet", everywhere, elsewhere(list)}}
	for _, p := range list {
		if p != everywhere {
			out = append(out, place{p.String(), p, p.Addr()})
		}
	}
	return out
}

// elsewhere is a public address in none of list: one of a few that are set aside
// for documentation and benchmarks, or the first free one.
func elsewhere(list []netip.Prefix) netip.Addr {
	a := netip.MustParseAddr("198.18.0.1")
	for i := 0; i < len(list)+1; i++ {
		j := slices.IndexFunc(list, func(p netip.Prefix) bool { return p != everywhere && p.Contains(a) })
		if j < 0 {
			break
		}
		a = last(list[j]).Next()
	}
	return a
}

func last(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().As4()
	for i := p.Bits(); i < 32; i++ {
		b[i/8] |= 1 << (7 - i%8)
	}
	return netip.AddrFrom4(b)
}

// sweep tries one port of each interval that rules tell apart and joins
// neighbours that fare alike.
func (r *Router) sweep(proto string, try func(uint16) (string, bool), from, to string) []Way {
	var out []Way
	type run struct {
		start uint16
		at    string
		open  bool
	}
	cuts, end := r.cuts(proto)
	cur := run{}
	flush := func(stop uint16) {
		if cur.open {
			out = append(out, Way{From: from, To: to, Ports: portText(proto, cur.start, stop), At: cur.at})
		}
	}
	for i, c := range cuts {
		at, open := try(c)
		if i == 0 {
			cur = run{c, at, open}
			continue
		}
		if at != cur.at || open != cur.open {
			flush(c - 1)
			cur = run{c, at, open}
		}
	}
	flush(end)
	return out
}

// cuts lists the first port of every interval that some rule tells from the one
// before, and the last port of all. For icmp ports are types.
func (r *Router) cuts(proto string) ([]uint16, uint16) {
	end, first := uint16(65535), uint16(1)
	if proto == "icmp" {
		end, first = 255, 0
	}
	out := []uint16{first}
	add := func(from, to uint16) {
		out = append(out, from)
		if to < end {
			out = append(out, to+1)
		}
	}
	for _, c := range r.chains {
		for i := range c.Rules {
			m := &c.Rules[i].Match
			if m.Proto != "" && m.Proto != proto {
				continue
			}
			if proto == "icmp" && m.ICMPType > 0 {
				add(uint16(m.ICMPType-1), uint16(m.ICMPType-1))
			}
			if proto != "icmp" {
				for _, p := range m.DstPorts {
					add(p.From, p.To)
				}
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out), end
}

// narrow drops what a CIDR may do that a wider one, or the whole internet, may do
// too.
func narrow(ways []Way) []Way {
	return drop(ways, func(w *Way) *string { return &w.From })
}

func narrowTo(ways []Way) []Way {
	return drop(ways, func(w *Way) *string { return &w.To })
}

func drop(ways []Way, end func(*Way) *string) []Way {
	all := slices.Clone(ways)
	return slices.DeleteFunc(ways, func(w Way) bool {
		cidr, err := netip.ParsePrefix(*end(&w))
		if err != nil {
			return false
		}
		return slices.ContainsFunc(all, func(o Way) bool {
			wide := *end(&o)
			*end(&o) = *end(&w)
			if o != w {
				return false
			}
			p, err := netip.ParsePrefix(wide)
			return wide == "internet" || err == nil && p.Bits() < cidr.Bits() && p.Contains(cidr.Addr())
		})
	})
}

// Members lists who is in which broadcast domain: those of one hear each other.
func Members(domains []plugin.Domain) []Way {
	var out []Way
	for _, d := range domains {
		for _, n := range d.NICs {
			out = append(out, Way{From: "nic/" + n, To: d.Network.String(), Ports: "all"})
		}
	}
	return out
}

// A Change is what a commit does to who reaches whom.
type Change struct {
	Added   []Way `json:"added,omitempty"`
	Removed []Way `json:"removed,omitempty"`
}

// Between compares the fragments of one host before and after; equal ones are
// not looked at.
func Between(base, head *resource.Intent) Change {
	var before, after []Way
	for _, f := range base.Fragments {
		if _, held := head.Held(f.Owner); held {
			continue // it stays as it is
		}
		if g := head.Fragment(f.Owner); g == nil || g.Print != f.Print {
			before = append(before, Of(f)...)
		}
	}
	for _, f := range head.Fragments {
		if _, held := head.Held(f.Owner); held {
			continue
		}
		if g := base.Fragment(f.Owner); g == nil || g.Print != f.Print {
			after = append(after, Of(f)...)
		}
	}
	return Compare(before, after)
}

// Compare tells two lists of ways apart.
func Compare(before, after []Way) Change {
	var c Change
	had := map[Way]bool{}
	for _, w := range before {
		had[w] = true
	}
	has := map[Way]bool{}
	for _, w := range after {
		has[w] = true
		if !had[w] {
			c.Added = append(c.Added, w)
		}
	}
	for _, w := range before {
		if !has[w] {
			c.Removed = append(c.Removed, w)
		}
	}
	slices.SortFunc(c.Added, Way.Compare)
	slices.SortFunc(c.Removed, Way.Compare)
	return c
}

// Join adds the changes of another host: a router that moved is no change.
func (c Change) Join(o Change) Change {
	j := Compare(append(slices.Clip(c.Removed), o.Removed...), append(slices.Clip(c.Added), o.Added...))
	j.Added, j.Removed = slices.Compact(j.Added), slices.Compact(j.Removed)
	return j
}

// Exposed lists what a change newly opens to the internet: "203.0.113.20:443/tcp".
func (c Change) Exposed() []string {
	var out []string
	for _, w := range c.Added {
		if w.Open() {
			out = append(out, w.To+":"+w.Ports)
		}
	}
	return out
}
