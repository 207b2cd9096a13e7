package reach

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"

	"weft.dev/reconcile/resource"
)

// A grid is what rules tell packets apart by: the CIDRs that they name, and the
// ports at which they begin or end. Trying one packet of each cell is trying all.
// Two routers that are compared are tried on one grid.
type grid struct {
	src, dst []netip.Prefix
	ports    map[string][]uint16 // first of each interval, by protocol
	own      []netip.Addr        // of the routers
	guests   []netip.Prefix
	family   int
	routers  []*Router
	from, to tests // what the rules ask of the two ends
}

// gridOf is the grid of those rules of routers, of one family, that packets to an address may
// meet; without address it is that of all.
func gridOf(routers []*Router, to netip.Addr) *grid {
	g := &grid{family: routers[0].Family, routers: routers, ports: map[string][]uint16{}}
	for _, proto := range protocols(g.family) {
		first, _ := portsOf(proto)
		g.ports[proto] = []uint16{first}
	}
	for _, r := range routers {
		for _, l := range r.links {
			for _, p := range l {
				g.own = append(g.own, p.Addr())
			}
		}
		for _, link := range r.inner() {
			for _, p := range r.links[link] {
				g.guests = append(g.guests, p.Masked())
			}
		}
		g.dst = append(g.dst, r.tiers()...)
		seen := map[string]bool{}
		for _, table := range []string{"mangle", "nat"} {
			g.walk(r, table, "PREROUTING", to, seen)
		}
		// By then the address may be another.
		g.walk(r, "filter", "INPUT", netip.Addr{}, seen)
		g.walk(r, "filter", "FORWARD", netip.Addr{}, seen)
	}
	for proto, l := range g.ports {
		slices.Sort(l)
		g.ports[proto] = slices.Compact(l)
	}
	g.src, g.dst = ordered(g.src), ordered(g.dst)
	return g
}

// walk adds the rules of a chain and of those that it jumps to, as far as a packet
// to an address meets them.
func (g *grid) walk(r *Router, table, chain string, to netip.Addr, seen map[string]bool) {
	name := table + "/" + chain
	c := r.chains[name]
	if c == nil || seen[name] {
		return
	}
	seen[name] = true
	for i := range c.Rules {
		m := &c.Rules[i].Match
		if to.IsValid() && m.Dst.IsValid() && m.Dst.Contains(to) == m.NotDst {
			continue
		}
		g.meet(r, m)
		if jump := c.Rules[i].Do.Jump; jump != "" {
			g.walk(r, table, jump, to, seen)
		}
	}
}

// ordered sorts, so that those within one follow it.
func ordered(list []netip.Prefix) []netip.Prefix {
	slices.SortFunc(list, func(a, b netip.Prefix) int { return cmp.Or(a.Addr().Compare(b.Addr()), a.Bits()-b.Bits()) })
	return slices.Compact(list)
}

// protocols are those that the routers are tried with: those of every router, and others
// that rules name.
func (g *grid) protocols() []string { return slices.Sorted(maps.Keys(g.ports)) }

// portsOf is the first and the last port of a protocol; of icmp, the types; of one
// without ports, 0.
func portsOf(proto string) (first, last uint16) {
	switch {
	case isICMP(proto):
		return 0, 255
	case known(proto):
		return 1, 65535
	}
	return 0, 0
}

// cut begins intervals where m does, and behind where it ends.
func (g *grid) cut(m *resource.Match) {
	if m.Proto != "" && !known(m.Proto) {
		g.ports[m.Proto] = []uint16{0}
		return
	}
	for _, proto := range protocols(g.family) {
		if m.Proto != "" && m.Proto != proto {
			continue
		}
		_, end := portsOf(proto)
		add := func(from, to uint16) {
			g.ports[proto] = append(g.ports[proto], from)
			if to < end {
				g.ports[proto] = append(g.ports[proto], to+1)
			}
		}
		if isICMP(proto) {
			if m.ICMPType > 0 {
				add(uint16(m.ICMPType-1), uint16(m.ICMPType-1))
			}
			continue
		}
		for _, p := range m.DstPorts {
			add(p.From, p.To)
		}
	}
}

// named lists the CIDRs that a rule names, itself or through a set.
func (r *Router) named(p netip.Prefix, set string) []netip.Prefix {
	if c := r.sets[set]; set != "" && c != nil {
		return c.list
	}
	if p.IsValid() {
		return []netip.Prefix{p}
	}
	return nil
}

// A place is where packets come from or go to: everywhere, or a CIDR.
type place struct {
	name  string
	cidr  netip.Prefix
	all   bool       // all that no CIDR names
	probe netip.Addr // in cidr, and in nothing narrower
	each  []place    // those that it stands for; itself where empty
	known bool       // a network of the router's: it is told though the internet fares alike
}

// world lists list's CIDRs, and the internet as all the rest.
func (g *grid) world(list []netip.Prefix) []place {
	return append([]place{{name: "internet", all: true, probe: elsewhere(list, g.family)}}, places(list, "")...)
}

// places lists the CIDRs of list that have an address which none within them has.
func places(list []netip.Prefix, before string) []place {
	var out []place
	for i, p := range list {
		if a := free(p, list[i+1:]); p.Bits() > 0 && a.IsValid() {
			out = append(out, place{name: before + p.String(), cidr: p, probe: a})
		}
	}
	return out
}

// free is the first address of p in none of list, which is ordered and follows p,
// or zero.
func free(p netip.Prefix, list []netip.Prefix) netip.Addr {
	a := p.Addr()
	for _, q := range list {
		if q.Addr().Compare(a) > 0 {
			break
		}
		if q.Contains(a) {
			a = last(q).Next()
		}
	}
	if !p.Contains(a) {
		return netip.Addr{}
	}
	return a
}

// elsewhere is a public address in none of list: one of a few that are set aside
// for documentation and benchmarks, or the first free one.
func elsewhere(list []netip.Prefix, family int) netip.Addr {
	a := netip.MustParseAddr("198.18.0.1")
	if family == 6 {
		a = netip.MustParseAddr("2001:2::1")
	}
	for _, p := range list { // ordered: those before p that hold what follows it hold p too
		if p.Bits() > 0 && p.Contains(a) {
			a = last(p).Next()
		}
	}
	return a
}

func last(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for i := p.Bits(); i < 8*len(b); i++ {
		b[i/8] |= 1 << (7 - i%8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// outside lists where packets to public addresses come from.
func (g *grid) outside() []place {
	return g.alike(g.world(slices.DeleteFunc(slices.Clone(g.src), func(p netip.Prefix) bool {
		return slices.ContainsFunc(g.guests, func(n netip.Prefix) bool { return n.Overlaps(p) && n.Bits() <= p.Bits() })
	})), g.from)
}

// inside lists the guests of net: all of them, as owner, and those that rules tell
// from the rest.
func (g *grid) inside(net netip.Prefix, owner string) []place {
	var part []netip.Prefix
	for _, p := range g.src {
		if net.Contains(p.Addr()) && p.Bits() > net.Bits() {
			part = append(part, p)
		}
	}
	out := g.alike(places(part, owner+" "), g.from)
	// Neither the network's own address nor a router's is a guest's.
	taken := append(slices.Clone(part), netip.PrefixFrom(net.Addr(), net.Addr().BitLen()))
	for _, a := range g.own {
		taken = append(taken, netip.PrefixFrom(a, a.BitLen()))
	}
	if a := free(net, ordered(taken)); a.IsValid() {
		out = append(out, place{name: owner, all: true, probe: a})
	}
	return out
}

// beyond lists where guests of net send to.
func (g *grid) beyond(net netip.Prefix) []place {
	out := slices.DeleteFunc(g.world(g.dst), func(to place) bool {
		return !to.all && net.Overlaps(to.cidr) || slices.Contains(g.own, to.probe)
	})
	for i := range out {
		if out[i].all && g.family == 6 {
			out[i].name += " by IPv6" // it may be open to one family only
		}
	}
	return g.alike(out, g.to)
}
