package schema

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
)

// net6 is the length of a guest network's prefix: what SLAAC asks for (RFC 4862, RFC 7421).
const net6 = 64

// zoneIP6 checks what networks take a /64 of.
func (c *checker) zoneIP6(p netip.Prefix) {
	path := at("ip6Prefix")
	if !c.family6(p, path) {
		return
	}
	switch {
	case p.Bits() > net6:
		c.errorf(path, "bad-cidr", "%s has no room for a /64, which each network takes", p)
	case p.Bits() < 16 || !forMachines(p):
		c.errorf(path, "bad-cidr", "%s is not a prefix for machines", p)
	}
}

// networkIP6 checks a network's stated /64.
func (c *checker) networkIP6(s *Network) {
	if s.IP6 == nil {
		return
	}
	p, gw := s.IP6.CIDR, s.IP6.Gateway
	ranges := s.IP6.Ranges
	if len(ranges) > 0 && !c.ranges6(s) {
		ranges = nil
	}
	if p.IsValid() {
		c.net6(p, gw, ranges, "ip6")
		return
	}
	c.addrFamily6(gw, "ip6", "gateway")
	if _, written := c.node(at("ip6", "cidr")); written {
		return
	}
	if gw.IsValid() {
		c.errorf(at("ip6", "gateway"), "required-field", "a gateway needs the network's ip6.cidr")
	}
	if len(s.IP6.Ranges) > 0 {
		c.errorf(at("ip6", "ranges"), "required-field", "ranges need the network's ip6.cidr")
	}
}

// net6 checks a /64 with its gateway and ranges.
func (c *checker) net6(p netip.Prefix, gw netip.Addr, ranges []IPRange, base ...any) {
	path := join(base, "cidr")
	c.addrFamily6(gw, join(base, "gateway")...)
	switch {
	case !c.family6(p, path):
	case p.Bits() != net6:
		c.errorf(path, "bad-cidr", "%s is no /64, which the guests of a network need to make their addresses", p)
	case !forMachines(p):
		c.errorf(path, "bad-cidr", "%s is not a prefix for machines", p)
	case gw.Is4():
	default:
		c.subnet(p, gw, ranges, base...)
	}
}

// ranges6 reports whether ranges are of IPv6, and holds that they are given where
// somebody gives addresses.
func (c *checker) ranges6(s *Network) bool {
	ok := true
	if s.IP6.Mode == "SLAAC" {
		c.errorf(at("ip6", "ranges"), "conflicting-fields", "with mode SLAAC guests make their addresses, so there are no ranges").
			Hintf("leave ranges out, or write mode: DHCPv6")
	}
	for i, r := range s.IP6.Ranges {
		if r.From.Is4() {
			c.errorf(at("ip6", "ranges", i), "wrong-family", "%s is IPv4, but this field is for IPv6", r)
			ok = false
		}
	}
	return ok
}

// subnets6 checks the IPv6 of a network's subnets.
func (c *checker) subnets6(s *Network) {
	var has []int
	for i := range s.Subnets {
		if x := s.Subnets[i].IP6; x != nil && x.CIDR.IsValid() {
			c.net6(x.CIDR, x.Gateway, nil, "subnets", i, "ip6")
			has = append(has, i)
		}
	}
	if len(has) == 0 {
		return
	}
	if s.IP6 != nil && len(s.IP6.Ranges) > 0 {
		c.errorf(at("ip6", "ranges"), "conflicting-fields", "a network whose subnets state ip6 has no ranges in common").
			See(c.pos("subnets", has[0], "ip6"), "the IPv6 of a subnet")
	}
	for j, i := range has {
		p := s.Subnets[i].IP6.CIDR
		if s.IP6 != nil && s.IP6.CIDR.IsValid() && s.IP6.CIDR.Overlaps(p) {
			c.errorf(at("subnets", i, "ip6", "cidr"), "overlapping-cidr", "%s of subnet %s is that of the network", p, s.Subnets[i].Name).
				See(c.pos("ip6", "cidr"), "the network's")
		}
		for _, k := range has[:j] {
			if o := &s.Subnets[k]; o.IP6.CIDR.Overlaps(p) {
				c.errorf(at("subnets", i, "ip6", "cidr"), "overlapping-cidr", "%s of subnet %s is that of subnet %s", p, s.Subnets[i].Name, o.Name).
					See(c.pos("subnets", k, "ip6", "cidr"), "the other subnet")
			}
		}
	}
}

// nets6 are the IPv6 prefixes that a network states.
func (s *Network) nets6() []netip.Prefix {
	var out []netip.Prefix
	add := func(p netip.Prefix) {
		if p.IsValid() && p.Addr().Is6() {
			out = append(out, p)
		}
	}
	if s.IP6 != nil {
		add(s.IP6.CIDR)
	}
	for i := range s.Subnets {
		if x := s.Subnets[i].IP6; x != nil {
			add(x.CIDR)
		}
	}
	return out
}

// reserved6 checks what is never allocated of the network's IPv6.
func (c *checker) reserved6(s *Network, p netip.Prefix, path []any) {
	nets := s.nets6()
	switch {
	case p.Bits() <= net6:
		c.errorf(path, "outside-cidr", "%s is no part of a /64, which networks have", p)
	case len(nets) > 0 && !slices.ContainsFunc(nets, func(n netip.Prefix) bool { return n.Contains(p.Addr()) }):
		c.errorf(path, "outside-cidr", "%s is outside %s", p, wordList(nets))
	}
}

// route6 checks a route that is of IPv6 at one end at least.
func (c *checker) route6(s *Network, r Route, path []any) {
	nets := s.nets6()
	switch {
	case !r.CIDR.IsValid() || !r.Via.IsValid():
	case r.CIDR.Addr().Is6() != r.Via.Is6():
		c.errorf(join(path, "via"), "wrong-family", "the next hop %s does not lead to %s: one is IPv4, the other IPv6", r.Via, r.CIDR)
	case !forMachines(r.CIDR):
		c.errorf(join(path, "cidr"), "bad-cidr", "%s is not a prefix for machines", r.CIDR)
	case r.Via.IsLinkLocalUnicast() || len(nets) > 0 && !slices.ContainsFunc(nets, func(n netip.Prefix) bool { return n.Contains(r.Via) }):
		c.errorf(join(path, "via"), "outside-cidr", "the next hop %s is outside %s", r.Via, cmp.Or(wordList(nets), "the network's /64"))
	}
	for _, n := range nets {
		if r.CIDR.IsValid() && n.Overlaps(r.CIDR) && r.CIDR.Bits() >= n.Bits() {
			c.errorf(join(path, "cidr"), "route-inside", "%s is in the network itself", r.CIDR)
		}
	}
}

func wordList(list []netip.Prefix) string {
	words := make([]string, len(list))
	for i, p := range list {
		words[i] = p.String()
	}
	return strings.Join(words, ", ")
}

// publicIP6 checks the IPv6 part of a public range.
func (c *checker) publicIP6(s *PublicIP6) {
	if s == nil {
		return
	}
	path := at("ip6", "cidr")
	ok := c.family6(s.CIDR, path)
	c.addrFamily6(s.Gateway, "ip6", "gateway")
	if !ok || s.Gateway.Is4() {
		return
	}
	if s.CIDR.Bits() < net6 {
		c.errorf(path, "bad-cidr", "%s is larger than the network on a wire", s.CIDR).Hintf("use /64 or longer")
		return
	}
	for i, r := range s.Ranges {
		if r.From.Is4() {
			c.errorf(at("ip6", "ranges", i), "wrong-family", "%s is IPv4, but this field is for IPv6", r)
			return
		}
	}
	c.subnet(s.CIDR, s.Gateway, s.Ranges, "ip6")
}

func forMachines(p netip.Prefix) bool {
	a := p.Addr()
	return !a.IsMulticast() && !a.IsLoopback() && !a.IsLinkLocalUnicast() && !a.IsUnspecified()
}

// family6 reports whether p is there and of IPv6.
func (c *checker) family6(p netip.Prefix, path []any) bool {
	if p.IsValid() && p.Addr().Is4() {
		c.errorf(path, "wrong-family", "%s is IPv4, but this field is for IPv6", p)
	}
	return p.IsValid() && p.Addr().Is6()
}

func (c *checker) addrFamily6(ip netip.Addr, path ...any) {
	if ip.IsValid() && ip.Is4() {
		c.errorf(path, "wrong-family", "%s is IPv4, but this field is for IPv6", ip)
	}
}

// icmpFamily refuses addresses that packets of the rule's protocol never have.
func (c *checker) icmpFamily(m match, path []any) {
	if m.protocol != "icmp" && m.protocol != "icmpv6" {
		return
	}
	for _, l := range []struct {
		field string
		list  []netip.Prefix
	}{{"sources", m.sources}, {"destinations", m.dests}} {
		for i, p := range l.list {
			if p.IsValid() && p.Addr().Is6() != (m.protocol == "icmpv6") {
				c.errorf(join(path, l.field, i), "wrong-family", "%s has no packets of protocol %s", p, m.protocol).
					Hintf("icmp is for IPv4, icmpv6 for IPv6")
			}
		}
	}
}
