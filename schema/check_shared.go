package schema

import "net/netip"

// subnets checks those of a Shared network: instead of cidr, gateway and ranges, and
// without a common address.
func (c *checker) subnets(s *Network) {
	if len(s.Subnets) == 0 {
		return
	}
	for _, field := range []string{"cidr", "gateway", "ranges"} {
		if _, written := c.node(at(field)); written {
			c.errorf(at(field), "conflicting-fields", "a network with subnets states %s in each of them", field).See(c.pos("subnets"), "the subnets")
		}
	}
	for i := range s.Subnets {
		x := &s.Subnets[i]
		c.family(x.CIDR, "subnets", i, "cidr")
		c.addrFamily(x.Gateway, "subnets", i, "gateway")
		c.subnet(x.CIDR, x.Gateway, x.Ranges, "subnets", i)
		c.vlan(x.VLAN, "subnets", i, "vlan")
	}
	c.subnets6(s)
	bounds := func(i int) (from, to netip.Addr) {
		if p := s.Subnets[i].CIDR; p.IsValid() {
			return p.Masked().Addr(), lastAddr(p)
		}
		return
	}
	for _, x := range clashes(len(s.Subnets), bounds, netip.Addr.Compare) {
		a, b := s.Subnets[x.first], s.Subnets[x.second]
		if a.CIDR.IsValid() && b.CIDR.IsValid() {
			c.errorf(at("subnets", x.second, "cidr"), "overlapping-cidr", "%s of subnet %s overlaps %s of subnet %s", b.CIDR, b.Name, a.CIDR, a.Name).
				See(c.pos("subnets", x.first, "cidr"), "the other subnet")
		}
	}
}

// private checks a private VLAN: its secondary is its primary for promiscuous ports,
// and only there.
func (c *checker) private(s *Network) {
	p := s.PVLAN
	if p == nil || p.Secondary == 0 || s.VLAN.IsZero() {
		return
	}
	primary := s.VLAN.Scheme == SchemeVLAN && s.VLAN.ID == uint32(p.Secondary)
	switch {
	case s.VLAN.Scheme == SchemeNative:
		c.errorf(at("pvlan"), "pvlan-untagged", "an untagged network can not be a private VLAN").See(c.pos("vlan"), "its VLAN")
	case s.VLAN.Scheme != SchemeVLAN:
		c.errorf(at("pvlan"), "pvlan-needs-vlan", "%s can not be a private VLAN", s.VLAN).See(c.pos("vlan"), "its broadcast domain")
	case p.Type == "Promiscuous" && !primary:
		c.errorf(at("pvlan", "secondary"), "pvlan-secondary", "promiscuous ports send on the primary VLAN %d, not on %d", s.VLAN.ID, p.Secondary).
			See(c.pos("vlan"), "the primary").Hintf("write secondary: %d", s.VLAN.ID)
	case p.Type != "" && p.Type != "Promiscuous" && primary:
		c.errorf(at("pvlan", "secondary"), "pvlan-secondary", "only Promiscuous has the primary VLAN as its secondary, not %s", p.Type).
			See(c.pos("vlan"), "the primary").Hintf("choose another VLAN id")
	}
}

// guestType checks what an offering of its guest type can have.
func (c *checker) guestType(s *NetworkOffering) {
	refuse := func(why string, services ...string) {
		offered := map[string]bool{
			"Dhcp": s.Services.Dhcp != nil, "Dns": s.Services.Dns != nil, "Gateway": s.Services.Gateway != nil, "SourceNat": s.Services.SourceNat != nil,
			"StaticNat": s.Services.StaticNat != nil, "PortForwarding": s.Services.PortForwarding != nil, "Firewall": s.Services.Firewall != nil,
			"Lb": s.Services.Lb != nil, "Vpn": s.Services.Vpn != nil, "NetworkACL": s.Services.NetworkACL != nil,
			"SecurityGroup": s.Services.SecurityGroup != nil,
		}
		for _, name := range services {
			if offered[name] {
				c.errorf(at("services", name), "not-of-guest-type", "%s offerings have no service %s: %s", s.GuestType, name, why).
					See(c.pos("guestType"), "the guest type")
			}
		}
	}
	if s.InternetProtocol == "DualStack" && s.GuestType != "" && s.GuestType != "Isolated" {
		d := c.errorf(at("internetProtocol"), "not-of-guest-type", "%s offerings are not DualStack: the gateway of their networks is not weft's", s.GuestType).
			See(c.pos("guestType"), "the guest type")
		if s.GuestType == "Shared" {
			d.Hintf("leave it out: Shared networks have IPv6 where they state ip6, with any offering")
		}
	}
	switch s.GuestType {
	case "Shared":
		refuse("the gateway of their networks is not weft's", "Gateway", "SourceNat", "StaticNat", "PortForwarding", "Firewall", "Vpn", "NetworkACL")
		if !s.SpecifyIPRanges {
			c.errorf(at("specifyIPRanges"), "required-field", "a Shared offering has specifyIPRanges: true").See(c.pos("guestType"), "the guest type").
				Hintf("add specifyIPRanges: true")
		}
		if s.Persistent {
			c.errorf(at("persistent"), "conflicting-fields", "Shared networks are always there, so persistent is not for them").See(c.pos("guestType"), "the guest type")
		}
	case "L2":
		refuse("their networks are nothing but a broadcast domain",
			"Dhcp", "Dns", "Gateway", "SourceNat", "StaticNat", "PortForwarding", "Firewall", "Lb", "Vpn", "NetworkACL", "SecurityGroup")
		if s.SpecifyIPRanges {
			c.errorf(at("specifyIPRanges"), "conflicting-fields", "L2 networks have no addresses").See(c.pos("guestType"), "the guest type")
		}
	case "Isolated":
		refuse("only Shared ones have", "SecurityGroup")
	}
}
