package pipeline

import (
	"net/netip"
	"slices"

	"weft.dev/reconcile/model"
	"weft.dev/reconcile/resource"
)

// A frame that its port may send is dropped nevertheless where it is of what is
// reserved: above all that lets pass.
const reservedPriority = 400

const protoVRRP = 112

// Reserve adds to the rules of a guest's port that it uses nothing of what the routers
// of a pair have for themselves. That they are not told of VRRP is all that a port
// needs that sends from its own addresses only (strict).
func Reserve(rules []resource.Flow, sym string, r *model.Reserved, strict bool) []resource.Flow {
	if r == nil {
		return rules
	}
	drop := func(more ...resource.Cond) {
		rules = append(rules, flow(TableSecurity, reservedPriority, append(conds{inPort(sym)}, more...)))
	}
	for _, a := range r.Addrs {
		if p := netip.PrefixFrom(a, a.BitLen()); a.Is4() {
			drop(ip4(resource.FieldIPDst, p, isIP, is(resource.FieldIPProto, protoVRRP))...)
		}
	}
	if strict {
		return rules
	}
	for _, m := range r.MACs {
		drop(is(resource.FieldEthSrc, resource.MACValue(m)))
		drop(isARP, is(resource.FieldARPSHA, resource.MACValue(m)))
	}
	// The switch takes nothing out of ARP of another hardware than Ethernet (IEEE 802's,
	// 6), nor out of neighbour discovery that has an option twice, and machines take both.
	nobody := netip.PrefixFrom(netip.IPv6Unspecified(), 128)
	code := is(resource.FieldICMPCode, 0)
	drop(isARP, is(resource.FieldARPOp, 0))
	for _, typ := range []uint64{typeNeighbour, typeNeighbourA} {
		drop(slices.Concat(icmp6(typ), conds{code}, ip6(resource.FieldNDTargetHi, nobody))...)
	}
	nowhere := ip6(resource.FieldIP6SrcHi, nobody)
	for _, a := range r.Addrs {
		p := netip.PrefixFrom(a, a.BitLen())
		if a.Is4() {
			drop(ip4(resource.FieldIPSrc, p, isIP)...)
			drop(ip4(resource.FieldARPSPA, p, isARP)...)
			continue
		}
		target := ip6(resource.FieldNDTargetHi, p)
		drop(append(conds{isIPv6}, ip6(resource.FieldIP6SrcHi, p)...)...)
		drop(append(append(icmp6(typeNeighbourA), code), target...)...)
		// Whoever is asked so does not take the address.
		drop(slices.Concat(append(icmp6(typeNeighbour), code), nowhere, target)...)
	}
	return rules
}
