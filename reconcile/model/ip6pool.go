package model

import (
	"cmp"
	"encoding/binary"
	"math"
	"net/netip"
	"slices"

	"weft.dev/schema"
)

// prefixPool has the /64s of a zone's ip6Prefix, as numbers of their upper half.
type prefixPool struct {
	space, describe string
	of              netip.Prefix
	spans           spans
}

// prefixes6 are the /64s that networks of z may have: those of its prefix without
// what public ranges are of.
func (z *Zone) prefixes6() *prefixPool {
	p := &prefixPool{space: "IPv6 /64 in " + z.Name, describe: "/64 in zone " + z.Name, of: z.Spec.IP6Prefix}
	if !p.of.IsValid() {
		return p
	}
	p.describe = "/64 in ip6Prefix " + p.of.String() + " of zone " + z.Name
	first := high64(p.of.Addr())
	p.spans = spans{{first, first | (1<<(64-p.of.Bits()) - 1)}}
	for _, r := range z.Ranges {
		if ip6 := r.Spec.IP6; ip6 != nil && p.of.Contains(ip6.CIDR.Addr()) {
			p.spans = p.spans.without(span{high64(ip6.CIDR.Addr()), high64(ip6.CIDR.Addr())})
		}
	}
	return p
}

func high64(a netip.Addr) uint64 {
	b := a.As16()
	return binary.BigEndian.Uint64(b[:8])
}

func (p *prefixPool) Space() string    { return p.space }
func (p *prefixPool) Describe() string { return p.describe }
func (p *prefixPool) Size() uint64     { return p.spans.size() }

func (p *prefixPool) At(i uint64) string {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], p.spans.at(i))
	return netip.PrefixFrom(netip.AddrFrom16(b), 64).String()
}

func (p *prefixPool) Contains(v string) bool {
	q, err := netip.ParsePrefix(v)
	return err == nil && q.Bits() == 64 && q == q.Masked() && q.String() == v && p.of.IsValid() && p.of.Contains(q.Addr()) &&
		p.spans.contains(high64(q.Addr()))
}

// addr6Pool has addresses of one prefix of at most 64 bits of hosts.
type addr6Pool struct {
	space, describe string
	of              netip.Prefix
	spans           spans // of the lower half, to choose from
	not             netip.Addr
	reserved        spans // not to be held
	strict          bool  // nothing outside of spans may be held
}

// What is chosen is short to write and far from what people write themselves.
const first6, last6 = 1 << 16, math.MaxUint32

// lower is the prefix of what is half an address: what guests get by DHCPv6 is
// allocated before the /64 of their network is known, and outlives it.
var lower = netip.MustParsePrefix("::/64")

// guestPool6 has the lower halves of the network's addresses that are given: by
// DHCPv6, and to routers.
func (r *resolver) guestPool6(gateway netip.Addr) *addr6Pool {
	name := "IPv6 address in " + r.n.ID.String()
	low := low64(gateway)
	p := &addr6Pool{space: name, describe: name, of: lower, not: host6(lower, low), spans: spans{{first6, last6}}}
	if x := r.spec.IP6; x != nil && len(x.Ranges) > 0 {
		p.strict, p.spans = true, nil
		for _, y := range x.Ranges {
			p.spans = append(p.spans, span{low64(y.From), low64(y.To)})
		}
		slices.SortFunc(p.spans, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	}
	p.spans = p.spans.without(span{low, low})
	for _, x := range r.spec.Reserved {
		if x.Addr().Is6() && x.Bits() >= 64 {
			part := span{low64(x.Addr()), low64(x.Addr()) | (1<<(128-x.Bits()) - 1)}
			p.spans, p.reserved = p.spans.without(part), append(p.reserved, part)
		}
	}
	return p
}

// publicPool6 has the IPv6 addresses of ranges of one public network.
func publicPool6(z *Zone, ranges []*PublicRange) *addr6Pool {
	first := ranges[0].Spec.IP6
	p := &addr6Pool{space: "public IPv6 address in " + z.Name, describe: "public IPv6 address in ", of: first.CIDR, not: first.Gateway, strict: true}
	for i, r := range ranges {
		if i > 0 {
			p.describe += " and "
		}
		p.describe += r.Name
		for _, x := range r.Spec.IP6.Ranges {
			p.spans = append(p.spans, span{low64(x.From), low64(x.To)})
		}
		if len(r.Spec.IP6.Ranges) == 0 {
			p.spans, p.strict = append(p.spans, wide6(first.CIDR)), false
		}
	}
	slices.SortFunc(p.spans, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	p.spans = slices.Compact(p.spans).without(span{low64(p.not), low64(p.not)})
	return p
}

// wide6 is what is chosen from where no ranges are stated.
func wide6(cidr netip.Prefix) span {
	base := low64(cidr.Addr())
	if bits := 128 - cidr.Bits(); bits < 32 {
		return span{base + 1, base | (1<<bits - 1)}
	}
	return span{base | first6, base | last6}
}

func (p *addr6Pool) Space() string      { return p.space }
func (p *addr6Pool) Describe() string   { return p.describe }
func (p *addr6Pool) Size() uint64       { return p.spans.size() }
func (p *addr6Pool) At(i uint64) string { return host6(p.of, p.spans.at(i)).String() }

func (p *addr6Pool) Contains(v string) bool {
	a, err := netip.ParseAddr(v)
	return err == nil && a.String() == v && p.of.Contains(a) && a != p.of.Addr() && a != p.not && (!p.strict || p.spans.contains(low64(a))) &&
		!p.reserved.contains(low64(a))
}

// host6 is the address of prefix p with that lower half.
func host6(p netip.Prefix, low uint64) netip.Addr {
	b := p.Addr().As16()
	binary.BigEndian.PutUint64(b[8:], low)
	return netip.AddrFrom16(b)
}

// eui64 is the address that a machine makes of a /64 and its MAC: RFC 4291,
// appendix A.
func eui64(p netip.Prefix, m schema.MAC) netip.Addr {
	return host6(p, binary.BigEndian.Uint64([]byte{m[0] ^ 2, m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5]}))
}
