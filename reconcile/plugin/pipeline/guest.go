package pipeline

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"weft.dev/reconcile/plugin"
	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

// An Owned is what may leave a guest's port.
type Owned struct {
	MAC schema.MAC
	// Any: every address may be used with the MACs, as in an L2 network.
	Any bool
	// IPs are the NIC's own addresses, of both families. With one of IPv6 it has its
	// link-local address too, the one made of its MAC.
	IPs []netip.Prefix
	// More may leave beside them, each with its own MAC.
	More []Pair
}

// A Pair is addresses that are used with a MAC; the zero MAC is the NIC's.
type Pair struct {
	CIDR netip.Prefix
	MAC  schema.MAC
}

// ICMPv6 types, RFC 4861 and RFC 2710.
const (
	typeMLDQuery   = 130
	typeMLDReport  = 131
	typeMLDDone    = 132
	typeSolicit    = 133 // of routers
	typeAdvertise  = 134
	typeNeighbour  = 135
	typeNeighbourA = 136
	typeRedirect   = 137
	typeMLDv2      = 143
)

// Guest returns the rules of a virtual machine's port: only what it owns leaves
// it, it may ask for DHCP and probe its address, and it is no DHCP server and no
// IPv6 router. Guests that own no IPv6 address speak none. What may leave is
// judged by policy, a number of a Firewall, unless that is 0.
func Guest(s plugin.Segment, sym string, o Owned, policy uint32) []resource.Flow {
	next := toLearn
	if policy != 0 {
		next = toFrom
	}
	g := guard{sym: sym, next: next, o: o}
	// With room for what attach and Limit add, and no more: there are many ports.
	g.room = make(conds, 0, 21+9*(len(o.IPs)+len(o.More)))
	g.out = make([]resource.Flow, 0, 6+2*(len(o.IPs)+len(o.More)))
	g.out, g.room = attach(g.out, g.room, s, sym, policy)
	if o.Any {
		g.add(100, resource.MACValue(o.MAC))
		for _, p := range o.More {
			if !p.MAC.IsZero() {
				g.add(100, resource.MACValue(p.MAC))
			}
		}
		return once(g.out)
	}
	own := []Pair{{MAC: o.MAC}}
	v6 := false
	for _, p := range o.More {
		if !p.MAC.IsZero() {
			own = append(own, Pair{MAC: p.MAC})
		}
		v6 = v6 || p.CIDR.Addr().Is6()
	}
	for _, p := range o.IPs {
		v6 = v6 || p.Addr().Is6()
	}
	g.begin(own, v6)
	for _, p := range o.IPs {
		g.address(o.MAC, p)
	}
	for _, p := range o.More {
		mac := p.MAC
		if mac.IsZero() {
			mac = o.MAC
		}
		g.address(mac, p.CIDR)
	}
	if v6 {
		g.address(o.MAC, netip.PrefixFrom(o.MAC.LinkLocal(), 128))
	}
	if len(o.More) > 0 {
		return once(g.out)
	}
	return g.out
}

// once drops rules that match as an earlier one does: an address may be owned
// and allowed besides.
func once(rules []resource.Flow) []resource.Flow {
	type key struct {
		table    uint8
		priority uint16
	}
	seen := map[key][]int{}
	out := rules[:0]
	for _, r := range rules {
		k := key{r.Table, r.Priority}
		if slices.ContainsFunc(seen[k], func(i int) bool { return slices.Equal(out[i].Match, r.Match) }) {
			continue
		}
		seen[k] = append(seen[k], len(out))
		out = append(out, r)
	}
	return out
}

// guard collects the port security of one port.
type guard struct {
	sym  string
	next []resource.Act
	o    Owned
	room conds // of all rules
	out  []resource.Flow
}

func (g *guard) add(priority uint16, mac uint64, more ...resource.Cond) {
	g.rule(priority, g.next, mac, more...)
}

// rule adds one; without acts it drops.
func (g *guard) rule(priority uint16, acts []resource.Act, mac uint64, more ...resource.Cond) {
	from := len(g.room)
	g.room = append(append(g.room, inPort(g.sym), is(resource.FieldEthSrc, mac)), more...)
	g.out = append(g.out, flow(TableSecurity, priority, g.room[from:len(g.room):len(g.room)], acts...))
}

var (
	isIP   = is(resource.FieldEthType, typeIPv4)
	isIPv6 = is(resource.FieldEthType, typeIPv6)
	isARP  = is(resource.FieldEthType, typeARP)
	isUDP  = is(resource.FieldIPProto, protoUDP)
	isICMP = is(resource.FieldIPProto, protoICMPv6)
)

func icmp6(typ uint64) []resource.Cond {
	return []resource.Cond{isIPv6, isICMP, is(resource.FieldICMPType, typ)}
}

// begin is what every guest may and may not, by its MACs.
func (g *guard) begin(own []Pair, v6 bool) {
	for _, p := range own {
		m := resource.MACValue(p.MAC)
		g.rule(300, nil, m, isIP, isUDP, is(resource.FieldTPSrc, 67))
	}
	m := resource.MACValue(g.o.MAC)
	g.add(200, m, isIP, is(resource.FieldIPSrc, 0), isUDP, is(resource.FieldTPSrc, 68), is(resource.FieldTPDst, 67))
	g.add(200, m, isARP, is(resource.FieldARPSHA, m), is(resource.FieldARPSPA, 0))
	if !v6 {
		return
	}
	for _, p := range own {
		m := resource.MACValue(p.MAC)
		g.rule(300, nil, m, isIPv6, isUDP, is(resource.FieldTPSrc, 547))
		for _, typ := range []uint64{typeAdvertise, typeRedirect} {
			g.rule(300, nil, m, icmp6(typ)...)
		}
		// Neighbours are told of what is owned only: see address.
		for _, typ := range []uint64{typeNeighbour, typeNeighbourA} {
			g.rule(250, nil, m, icmp6(typ)...)
		}
	}
	nowhere := ip6(resource.FieldIP6SrcHi, netip.PrefixFrom(netip.IPv6Unspecified(), 128))
	for _, typ := range []uint64{typeSolicit, typeMLDReport, typeMLDv2} {
		g.add(200, m, append(icmp6(typ), nowhere...)...)
	}
}

// address lets p leave with mac.
func (g *guard) address(mac schema.MAC, p netip.Prefix) {
	m := resource.MACValue(mac)
	if p.Addr().Is4() {
		var room [3]resource.Cond // of what is copied at once
		g.add(100, m, ip4(resource.FieldIPSrc, p, append(room[:0], isIP)...)...)
		g.add(100, m, ip4(resource.FieldARPSPA, p, append(room[:0], isARP, is(resource.FieldARPSHA, m))...)...)
		return
	}
	src, target := ip6(resource.FieldIP6SrcHi, p), ip6(resource.FieldNDTargetHi, p)
	g.add(100, m, append([]resource.Cond{isIPv6}, src...)...)
	code := is(resource.FieldICMPCode, 0)
	solicit, advert := append(icmp6(typeNeighbour), code), append(icmp6(typeNeighbourA), code)
	nowhere := ip6(resource.FieldIP6SrcHi, netip.PrefixFrom(netip.IPv6Unspecified(), 128))
	g.add(280, m, slices.Concat(solicit, nowhere, target)...)
	// The option with the MAC may be missing: the switch then takes it for 0.
	for _, at := range []uint64{m, 0} {
		g.add(280, m, append(slices.Concat(solicit, src), is(resource.FieldNDSLL, at))...)
		g.add(280, m, append(slices.Concat(advert, target), is(resource.FieldNDTLL, at))...)
	}
}

// ip4 adds to more what matches p in f.
func ip4(f resource.FlowField, p netip.Prefix, more ...resource.Cond) []resource.Cond {
	c := is(f, addr4(p.Masked().Addr()))
	switch {
	case p.Bits() == 0:
		return more
	case p.Bits() < 32:
		c.Mask = 0xffffffff << (32 - p.Bits()) & 0xffffffff
	}
	return append(more, c)
}

// ip6 matches p in the field whose upper half is hi.
func ip6(hi resource.FlowField, p netip.Prefix) []resource.Cond {
	b := p.Masked().Addr().As16()
	var out []resource.Cond
	for i := range 2 {
		n := min(max(p.Bits()-64*i, 0), 64)
		if n == 0 {
			continue
		}
		c := resource.Cond{Field: hi + resource.FlowField(i), Value: binary.BigEndian.Uint64(b[8*i:])}
		if n < 64 {
			c.Mask = ^uint64(0) << (64 - n)
		}
		out = append(out, c)
	}
	return out
}

func addr4(a netip.Addr) uint64 {
	b := a.As4()
	return uint64(binary.BigEndian.Uint32(b[:]))
}
