package schema

import "net/netip"

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
	c.addrFamily6(gw, "ip6", "gateway")
	if !p.IsValid() {
		if _, written := c.node(at("ip6", "cidr")); gw.IsValid() && !written {
			c.errorf(at("ip6", "gateway"), "required-field", "a gateway needs the network's ip6.cidr")
		}
		return
	}
	path := at("ip6", "cidr")
	switch {
	case !c.family6(p, path):
	case p.Bits() != net6:
		c.errorf(path, "bad-cidr", "%s is no /64, which the guests of a network need to make their addresses", p)
	case !forMachines(p):
		c.errorf(path, "bad-cidr", "%s is not a prefix for machines", p)
	case gw.IsValid() && gw.Is6():
		c.machine(p, gw, "gateway", at("ip6", "gateway"))
	}
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

// ingress checks a rule for what comes in by IPv6.
func (c *checker) ingress(m match, path []any) {
	if m.protocol == "icmp" {
		c.errorf(join(path, "protocol"), "wrong-family", "icmp is for IPv4, which does not come in by ingress").Hintf("write icmpv6")
		return
	}
	for i, p := range m.sources {
		if p.IsValid() && p.Addr().Is4() {
			c.errorf(join(path, "sources", i), "wrong-family", "%s is IPv4, which does not come in by ingress", p).
				Hintf("IPv4 comes in at public addresses: use firewall of a PublicIP")
		}
	}
	for i, p := range m.dests {
		if p.IsValid() && p.Addr().Is4() {
			c.errorf(join(path, "destinations", i), "wrong-family", "%s is IPv4, which does not come in by ingress", p)
		}
	}
}
