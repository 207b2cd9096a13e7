package model

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"
	"strconv"

	"weft.dev/schema"
)

// A Mover is a pool whose values are exchanged for others when they are no longer in
// it; those of other pools are a mistake then.
type Mover interface{ Movable() bool }

// span is an inclusive range of numbers.
type span struct{ from, to uint64 }

// spans are in order and do not overlap.
type spans []span

func (s spans) size() uint64 {
	n := uint64(0)
	for _, r := range s {
		n += r.to - r.from + 1
	}
	return n
}

func (s spans) at(i uint64) uint64 {
	for _, r := range s {
		if n := r.to - r.from + 1; i >= n {
			i -= n
			continue
		}
		return r.from + i
	}
	panic("index outside the pool")
}

func (s spans) contains(v uint64) bool {
	return slices.ContainsFunc(s, func(r span) bool { return r.from <= v && v <= r.to })
}

// without cuts x out of s.
func (s spans) without(x span) spans {
	out := make(spans, 0, len(s)+1)
	for _, r := range s {
		if x.to < r.from || r.to < x.from {
			out = append(out, r)
			continue
		}
		if r.from < x.from {
			out = append(out, span{r.from, x.from - 1})
		}
		if x.to < r.to {
			out = append(out, span{x.to + 1, r.to})
		}
	}
	return out
}

// wire is what VLANs are unique on: the physical networks of a zone that share
// a label.
type wire struct {
	space  string
	public map[uint32]*PublicRange // the VLANs of public ranges; 0 is untagged
	vlans  *vnetPool               // any VLAN; only explicit ones come from it
	// storage are the VLANs of storage ranges, without untagged.
	storage map[uint32]storageVLAN
}

// buildWires makes what the networks of z share. Called once, before z is seen.
func (z *Zone) buildWires() {
	z.wires = map[string]*wire{}
	z.vnets = map[*PhysicalNetwork]*vnetPool{}
	for _, p := range z.Physical {
		for _, label := range []string{p.Guest, p.Public, p.Storage} {
			if label != "" && z.wires[label] == nil {
				z.wires[label] = &wire{space: vlanSpace(z.Name, label), public: map[uint32]*PublicRange{}, storage: map[uint32]storageVLAN{}}
			}
		}
	}
	for _, r := range z.Ranges {
		w := z.wires[r.Physical.Public]
		if w.public[r.Spec.VLAN.ID] == nil {
			w.public[r.Spec.VLAN.ID] = r
		}
	}
	z.storageVLANs()
	for _, p := range z.Physical {
		if p.Guest != "" {
			z.vnets[p] = z.poolOf(p)
			z.exclude(z.vnets[p])
		}
	}
	for _, h := range z.Hosts {
		if h.Facts.Outside != "" {
			z.outside = append(z.outside, h)
		}
	}
	for _, w := range z.wires {
		w.vlans = &vnetPool{space: w.space, describe: "VLAN " + w.space[len("vlan "):], spans: w.less(spans{{0, 4094}})}
	}
}

func (w *wire) less(s spans) spans {
	for id := range w.public {
		s = s.without(span{uint64(id), uint64(id)})
	}
	for id := range w.storage {
		s = s.without(span{uint64(id), uint64(id)})
	}
	return s
}

// poolOf is where the broadcast domains of p's isolation are allocated from.
func (z *Zone) poolOf(p *PhysicalNetwork) *vnetPool {
	var all spans
	for _, r := range p.Spec.VNets {
		all = append(all, span{uint64(r.From), uint64(r.To)})
	}
	slices.SortFunc(all, func(a, b span) int { return int(int64(a.from) - int64(b.from)) })
	if p.Spec.Isolation == "VLAN" {
		w := z.wires[p.Guest]
		return &vnetPool{space: w.space, describe: "VLAN id in " + p.Name, spans: w.less(all)}
	}
	word := map[string]string{"VXLAN": "VNI", "GENEVE": "VNI"}[p.Spec.Isolation]
	if word == "" {
		word = p.Spec.Isolation + " key"
	}
	return &vnetPool{space: vnetSpace(p), describe: word + " in " + p.Name, spans: all}
}

// vnetPool has VLAN ids, VNIs or keys.
type vnetPool struct {
	space, describe string
	spans           spans
	tier            uint64       // candidates that are tried first; 0: all are alike
	taken           []dedication // of others
}

func (p *vnetPool) Space() string      { return p.space }
func (p *vnetPool) Describe() string   { return p.describe }
func (p *vnetPool) Size() uint64       { return p.spans.size() }
func (p *vnetPool) At(i uint64) string { return strconv.FormatUint(p.spans.at(i), 10) }

func (p *vnetPool) Contains(v string) bool {
	n, err := strconv.ParseUint(v, 10, 32)
	return err == nil && p.spans.contains(n) && strconv.FormatUint(n, 10) == v
}

// addrPool has addresses, as numbers below base.
type addrPool struct {
	space, describe string
	base            netip.Addr
	spans           spans
	tier            uint64 // candidates that are tried first; 0: all are alike
	zone            *Zone  // of public addresses; nil: guests'
}

// offset is the distance of ip from base, in the lower 64 bits.
func offset(base, ip netip.Addr) uint64 { return low64(ip) - low64(base) }

func low64(ip netip.Addr) uint64 {
	b := ip.As16()
	return binary.BigEndian.Uint64(b[8:])
}

func plus(base netip.Addr, n uint64) netip.Addr {
	b := base.As16()
	binary.BigEndian.PutUint64(b[8:], binary.BigEndian.Uint64(b[8:])+n)
	ip := netip.AddrFrom16(b)
	if base.Is4() {
		return ip.Unmap()
	}
	return ip
}

// lastAddr is the broadcast address of an IPv4 network.
func lastAddr(p netip.Prefix) netip.Addr {
	bits := min(p.Addr().BitLen()-p.Bits(), 63)
	return plus(p.Masked().Addr(), 1<<bits-1)
}

func (p *addrPool) Space() string      { return p.space }
func (p *addrPool) Describe() string   { return p.describe }
func (p *addrPool) Size() uint64       { return p.spans.size() }
func (p *addrPool) At(i uint64) string { return plus(p.base, p.spans.at(i)).String() }

func (p *addrPool) Contains(v string) bool {
	ip, err := netip.ParseAddr(v)
	return err == nil && p.has(ip)
}

func (p *addrPool) has(ip netip.Addr) bool {
	return p.base.IsValid() && ip.BitLen() == p.base.BitLen() && p.spans.contains(offset(p.base, ip))
}

// guestPool has the addresses of a subnet that may be allocated: those of ranges,
// else of all its CIDR but the network's and the broadcast address; less the
// gateway's and what is reserved.
func guestPool(id schema.ID, cidr netip.Prefix, gateway netip.Addr, ranges []schema.IPRange, reserved []netip.Prefix) *addrPool {
	base := cidr.Masked().Addr()
	p := &addrPool{space: "address in " + id.String(), describe: "address in " + id.String(), base: base}
	p.spans = spans{{1, offset(base, lastAddr(cidr)) - 1}}
	if len(ranges) > 0 {
		p.spans = make(spans, 0, len(ranges)+1)
		for _, r := range ranges {
			p.spans = append(p.spans, span{offset(base, r.From), offset(base, r.To)})
		}
		slices.SortFunc(p.spans, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	}
	if gateway.IsValid() && cidr.Contains(gateway) {
		p.spans = p.spans.without(span{offset(base, gateway), offset(base, gateway)})
	}
	for _, r := range reserved {
		if cidr.Overlaps(r) {
			p.spans = p.spans.without(span{offset(base, r.Masked().Addr()), offset(base, lastAddr(r))})
		}
	}
	return p
}

// publicPool has the addresses of ranges of one zone, of which the first are
// dedicated ones. Public addresses are unique in a zone, whatever the VLAN.
func publicPool(z *Zone, ranges []*PublicRange, dedicated int) *addrPool {
	p := &addrPool{space: "public address in " + z.Name, zone: z}
	for i, r := range ranges {
		if i == dedicated {
			p.tier = p.spans.size()
		}
		if i > 0 {
			p.describe += " and "
		}
		p.describe += r.Name
		if i == 0 {
			p.base = netip.IPv4Unspecified()
			if r.Spec.CIDR.Addr().Is6() {
				p.base = r.Spec.CIDR.Masked().Addr()
			}
		}
		for _, x := range r.Spec.Ranges {
			if x.From.BitLen() == p.base.BitLen() {
				p.spans = append(p.spans, span{offset(p.base, x.From), offset(p.base, x.To)})
			}
		}
		if r.Spec.Gateway.BitLen() == p.base.BitLen() {
			gw := offset(p.base, r.Spec.Gateway)
			p.spans = p.spans.without(span{gw, gw})
		}
	}
	p.describe = "public address in " + p.describe
	return p
}

// rangeOf returns the range of ranges that ip is of, or nil.
func rangeOf(ranges []*PublicRange, ip netip.Addr) *PublicRange {
	for _, r := range ranges {
		for _, x := range r.Spec.Ranges {
			if x.Contains(ip) && ip != r.Spec.Gateway {
				return r
			}
		}
	}
	return nil
}

// macPool has the addresses 02:xx:xx:xx:xx:xx: locally administered, unicast,
// the prefix that CloudStack gives guests.
type macPool struct{}

// macs serves all trees: it has no state.
var macs Pool = macPool{}

func (macPool) Space() string    { return "MAC address" }
func (macPool) Describe() string { return "MAC address" }
func (macPool) Size() uint64     { return 1 << 40 }

func (macPool) At(i uint64) string {
	return schema.MAC{2, byte(i >> 32), byte(i >> 24), byte(i >> 16), byte(i >> 8), byte(i)}.String()
}

func (macPool) Contains(v string) bool {
	mac, ok := parseMAC(v)
	return ok && mac[0] == 2
}

// parseMAC reads what schema.MAC.String writes, and nothing else.
func parseMAC(s string) (mac schema.MAC, ok bool) {
	if len(s) != 17 {
		return mac, false
	}
	for i := range mac {
		hi, lo := hexDigit(s[3*i]), hexDigit(s[3*i+1])
		if hi < 0 || lo < 0 || i > 0 && s[3*i-1] != ':' {
			return schema.MAC{}, false
		}
		mac[i] = byte(hi<<4 | lo)
	}
	return mac, !mac.IsZero()
}

func hexDigit(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	}
	return -1
}
