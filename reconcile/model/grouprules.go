package model

import (
	"cmp"
	"net/netip"
	"slices"

	"weft.dev/schema"
)

// Groups are the security groups of a NIC, resolved: whom its rules name are
// addresses. It says all that a switch has to know, whatever its mechanism; NICs of
// the same groups share one, which nobody changes.
type Groups struct {
	// Key names the groups: "acme/default acme/web", "" for a NIC without any. It is
	// unique in a network.
	Key string
	// Ingress rules let traffic to the NIC begin: what none lets in is denied. Egress
	// rules let traffic from it begin: where Open, all may.
	Ingress, Egress []GroupRule
	Open            bool
}

// The values of a GroupRule that stand for all.
const (
	AllProtocols = -1
	AllTypes     = -1
)

// A GroupRule is one rule of a security group.
type GroupRule struct {
	// Name is "account/group/rule".
	Name  string
	Proto int // IP protocol, or AllProtocols; 1 is for IPv4 only, 58 for IPv6 only
	// Ports of the destination, of tcp and udp; none is all.
	Ports []schema.PortRange
	// ICMPType and ICMPCode are AllTypes where all match.
	ICMPType, ICMPCode int
	// Peers are the other ends: sources of ingress, destinations of egress, in order, none
	// within another. A rule without peers matches nothing.
	Peers []netip.Prefix
	// Stated and Named are the peers as written: Named are groups, "account/group".
	Stated []netip.Prefix
	Named  []string
	Pos    schema.Pos
}

// Numbers of IP protocols that only one family has.
const (
	protoICMP   = 1
	protoICMPv6 = 58
)

// Of lists the peers of r of one family that its protocol has.
func (r *GroupRule) Of(ipv4 bool) []netip.Prefix {
	if r.Proto == protoICMP && !ipv4 || r.Proto == protoICMPv6 && ipv4 {
		return nil
	}
	// IPv4 comes first.
	i, _ := slices.BinarySearchFunc(r.Peers, true, func(p netip.Prefix, _ bool) int {
		if p.Addr().Is4() {
			return -1
		}
		return 1
	})
	if ipv4 {
		return r.Peers[:i]
	}
	return r.Peers[i:]
}

// Allows reports whether rules let a connection from or to peer begin; of icmp, port
// is the type.
func Allows(rules []GroupRule, peer netip.Addr, proto int, port uint16) bool {
	return slices.ContainsFunc(rules, func(r GroupRule) bool {
		return r.covers(proto, port) && slices.ContainsFunc(r.Of(peer.Is4()), func(p netip.Prefix) bool { return p.Contains(peer) })
	})
}

func (r *GroupRule) covers(proto int, port uint16) bool {
	switch {
	case r.Proto != AllProtocols && r.Proto != proto:
		return false
	case r.ICMPType != AllTypes:
		return r.ICMPType == int(port)
	}
	return len(r.Ports) == 0 || slices.ContainsFunc(r.Ports, func(p schema.PortRange) bool { return p.From <= port && port <= p.To })
}

// tidy orders prefixes, and drops those within another.
func tidy(list []netip.Prefix) []netip.Prefix {
	slices.SortFunc(list, func(a, b netip.Prefix) int { return cmp.Or(a.Addr().Compare(b.Addr()), a.Bits()-b.Bits()) })
	out := list[:0]
	for _, p := range list {
		if n := len(out); n > 0 && out[n-1].Bits() <= p.Bits() && out[n-1].Contains(p.Addr()) {
			continue
		}
		out = append(out, p)
	}
	return out
}
