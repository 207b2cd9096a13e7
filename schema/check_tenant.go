package schema

import (
	"cmp"
	"net/netip"
	"slices"
)

// maxSecondaryIPs is CloudStack's vm.network.nic.max.secondary.ipaddresses.
const maxSecondaryIPs = 10

func (c *checker) network(s *Network) {
	c.family(s.CIDR, "cidr")
	c.addrFamily(s.Gateway, "gateway")
	c.subnets(s)
	if s.Gateway.IsValid() && !s.CIDR.IsValid() && len(s.Subnets) == 0 {
		if _, written := c.node(at("cidr")); !written {
			c.errorf(at("gateway"), "required-field", "a gateway needs the network's cidr")
		}
	}
	if len(s.Ranges) > 0 && !s.CIDR.IsValid() && len(s.Subnets) == 0 {
		if _, written := c.node(at("cidr")); !written {
			c.errorf(at("ranges"), "required-field", "ranges need the network's cidr")
		}
	}
	c.subnet(s.CIDR, s.Gateway, s.Ranges)
	c.reserved(s)
	for i := range s.Egress {
		r := &s.Egress[i]
		m := match{r.Protocol, r.Ports, r.ICMPType, r.ICMPCode, r.Sources, r.Destinations}
		c.match(m, at("egress", i))
		c.icmpFamily(m, at("egress", i))
		c.inside(s.CIDR, r.Sources, at("egress", i, "sources"))
	}
	for i := range s.Ingress {
		r := &s.Ingress[i]
		m := match{r.Protocol, r.Ports, r.ICMPType, r.ICMPCode, r.Sources, r.Destinations}
		c.match(m, at("ingress", i))
		c.icmpFamily(m, at("ingress", i))
		c.inside(s.CIDR, r.Destinations, at("ingress", i, "destinations"))
	}
	c.networkRoutes(s)
	c.networkIP6(s)
	c.private(s)
	c.tier(s)
	c.words(s.SharedWith, "sharedWith")
}

func (c *checker) reserved(s *Network) {
	for i, p := range s.Reserved {
		path := at("reserved", i)
		switch {
		case !p.IsValid():
		case p.Addr().Is6():
			c.reserved6(s, p, path)
		case len(s.Subnets) > 0:
			if !slices.ContainsFunc(s.Subnets, func(x Subnet) bool { return x.CIDR.IsValid() && x.CIDR.Contains(p.Addr()) && p.Bits() > x.CIDR.Bits() }) {
				c.errorf(path, "outside-cidr", "%s is no part of a subnet", p)
			}
		case !s.CIDR.IsValid():
		case !s.CIDR.Contains(p.Addr()) || p.Bits() < s.CIDR.Bits():
			c.errorf(path, "outside-cidr", "%s is outside %s", p, s.CIDR)
		case p == s.CIDR:
			c.errorf(path, "outside-cidr", "%s is the whole network, nothing is left to allocate", p)
		}
	}
	c.prefixesUnique(s.Reserved, at("reserved"))
}

func (c *checker) networkRoutes(s *Network) {
	for i, r := range s.Routes {
		path := at("routes", i)
		if r.CIDR.IsValid() && r.CIDR.Addr().Is6() || r.Via.Is6() {
			c.route6(s, r, path)
			continue
		}
		if !s.CIDR.IsValid() {
			continue
		}
		if r.Via.Is4() && !s.CIDR.Contains(r.Via) {
			c.errorf(join(path, "via"), "outside-cidr", "the next hop %s is outside %s", r.Via, s.CIDR)
		}
		if r.CIDR.IsValid() && s.CIDR.Overlaps(r.CIDR) && r.CIDR.Bits() >= s.CIDR.Bits() {
			c.errorf(join(path, "cidr"), "route-inside", "%s is in the network itself", r.CIDR)
		}
	}
}

// inside asks that sources of egress lie in the network, as CloudStack does.
func (c *checker) inside(cidr netip.Prefix, list []netip.Prefix, path []any) {
	for i, p := range list {
		if p.IsValid() && cidr.IsValid() && p.Addr().Is4() && p.Bits() != 0 && !(cidr.Contains(p.Addr()) && p.Bits() >= cidr.Bits()) {
			c.errorf(join(path, i), "outside-cidr", "%s is outside %s", p, cidr).Hintf("sources of egress are the network's own addresses")
		}
	}
}

// prefixesUnique refuses networks of a list that overlap.
func (c *checker) prefixesUnique(list []netip.Prefix, path []any) {
	bounds := func(i int) (from, to netip.Addr) {
		if !list[i].IsValid() {
			return
		}
		return list[i].Addr(), lastAddr(list[i])
	}
	for _, x := range clashes(len(list), bounds, netip.Addr.Compare) {
		if list[x.first].IsValid() {
			c.errorf(join(path, x.second), "overlapping-range", "%s overlaps %s", list[x.second], list[x.first]).
				See(c.pos(join(path, x.first)...), "the other one")
		}
	}
}

func (c *checker) virtualMachine(s *VirtualMachine) {
	if s.NICs != nil && len(s.NICs) == 0 {
		c.errorf(at("nics"), "empty-value", "a VM needs at least one NIC")
	}
	if len(s.UserData) > maxUserData {
		c.errorf(at("userData"), "too-large", "userData has %d bytes, at most %d are allowed", len(s.UserData), maxUserData).Offending("")
	}
	c.words(s.Hosts, "hosts")
	if s.Host != "" && len(s.Hosts) > 0 {
		found := false
		for _, h := range s.Hosts {
			found = found || h == s.Host
		}
		if !found {
			c.errorf(at("host"), "host-not-listed", "the host %s is not one of hosts", s.Host).See(c.pos("hosts"), "the list")
		}
	}
	if s.Pin && s.Host == "" {
		c.errorf(at("pin"), "required-field", "pin needs host")
	}
	c.nics(s.NICs)
}

func (c *checker) nics(nics []NIC) {
	defaults := -1
	names, addrs, macs, ports := map[string]int{}, map[netip.Addr]int{}, map[MAC]int{}, map[string]int{}
	for i := range nics {
		n := &nics[i]
		base := at("nics", i)
		if n.Default {
			if defaults >= 0 {
				c.errorf(join(base, "default"), "two-defaults", "a VM has one default NIC").See(c.pos("nics", defaults, "default"), "the other one")
			}
			defaults = i
		}
		name, field := n.NICName(), "name"
		if n.Name == "" {
			field = "network"
		}
		once(c, names, name, i, base, field, "two NICs are named %s")
		once(c, addrs, n.IP, i, base, "ip", "%s is given to two NICs")
		once(c, macs, n.MAC, i, base, "mac", "%s is given to two NICs")
		once(c, ports, n.Interface, i, base, "interface", "two NICs have the interface %s")
		if len(n.AllowedAddresses) > 0 {
			c.allowed(n, join(base, "allowedAddresses"))
		}
		if n.SecurityGroups != nil {
			c.groupRefs(n.SecurityGroups, join(base, "securityGroups"))
		}
		if n.IP.IsValid() {
			c.addrFamily(n.IP, join(base, "ip")...)
		}
		if n.IP6.IsValid() {
			c.addrFamily6(n.IP6, join(base, "ip6")...)
		}
		once(c, addrs, n.IP6, i, base, "ip6", "%s is given to two NICs")
		c.dhcpOptions(n.DHCPOptions, base)
		if len(n.SecondaryIPs) > maxSecondaryIPs {
			c.errorf(join(base, "secondaryIPs"), "too-many", "a NIC has at most %d secondary addresses", maxSecondaryIPs)
		}
		for j, ip := range n.SecondaryIPs {
			if ip.IsValid() && (ip == n.IP || ip == n.IP6) {
				c.errorf(join(base, "secondaryIPs", j), "duplicate-item", "%s is the NIC's own address", ip)
			}
			if slices.Index(n.SecondaryIPs, ip) < j {
				c.errorf(join(base, "secondaryIPs", j), "duplicate-item", "%s is listed twice", ip)
			}
		}
	}
}

// NICName is the NIC's name: as written, else its network's.
func (n *NIC) NICName() string {
	if n.Name != "" {
		return n.Name
	}
	return n.Network.Name
}

// once reports a value that two NICs of a VM have.
func once[K comparable](c *checker, seen map[K]int, value K, i int, base []any, field, format string) {
	var none K
	if value == none {
		return
	}
	first, ok := seen[value]
	if !ok {
		seen[value] = i
		return
	}
	diag := c.errorf(join(base, field), "duplicate-item", format, value).See(c.pos("nics", first, field), "the other one")
	if field == "network" {
		diag.Hintf("give each NIC a name")
	}
}

func (c *checker) publicIP(s *PublicIP) {
	if !s.Network.IsZero() && !s.VPC.IsZero() {
		c.errorf(at("vpc"), "conflicting-fields", "an address serves a network or a VPC, not both").See(c.pos("network"), "the network")
	}
	if s.Network.IsZero() && s.VPC.IsZero() {
		for _, use := range []struct {
			field string
			used  bool
		}{
			{"sourceNat", s.SourceNat}, {"staticNat", s.StaticNat != nil},
			{"portForwarding", len(s.PortForwarding) > 0}, {"firewall", len(s.Firewall) > 0},
		} {
			if _, written := c.node(at("network")); use.used && !written {
				c.errorf(at(use.field), "required-field", "%s needs the network, or VPC, that the address serves", use.field).
					Hintf("add network: NAME; an address without network is only reserved")
			}
		}
	}
	if s.StaticNat != nil {
		c.addrFamily(s.StaticNat.IP, "staticNat", "ip")
		if len(s.PortForwarding) > 0 {
			c.errorf(at("portForwarding"), "conflicting-fields", "an address with staticNat has no portForwarding").
				See(c.pos("staticNat"), "the static NAT").Hintf("static NAT forwards every port to one VM")
		}
		if s.SourceNat {
			c.errorf(at("staticNat"), "conflicting-fields", "the source NAT address has no staticNat").See(c.pos("sourceNat"), "the source NAT")
		}
	}
	for i := range s.Firewall {
		r := &s.Firewall[i]
		c.match(match{r.Protocol, r.Ports, r.ICMPType, r.ICMPCode, r.Sources, nil}, at("firewall", i))
	}
	c.portForwarding(s.PortForwarding)
}

func (c *checker) portForwarding(rules []PortForward) {
	for i := range rules {
		r := &rules[i]
		base := at("portForwarding", i)
		c.prefixes(r.Sources, join(base, "sources"))
		c.addrFamily(r.To.IP, join(base, "to", "ip")...)
		if len(r.ToPorts) > 0 && len(r.Ports) > 0 {
			c.sameLength(r, base)
		}
	}
	for _, protocol := range []string{"tcp", "udp"} {
		c.sharedPorts(rules, protocol)
	}
}

// sharedPorts reports ports that two rules of a protocol forward.
func (c *checker) sharedPorts(rules []PortForward, protocol string) {
	type use struct {
		PortRange
		rule int
	}
	var uses []use
	for i := range rules {
		if rules[i].Protocol == protocol {
			for _, r := range rules[i].Ports {
				uses = append(uses, use{r, i})
			}
		}
	}
	bounds := func(i int) (from, to uint16) { return uses[i].From, uses[i].To }
	for _, x := range clashes(len(uses), bounds, cmp.Compare[uint16]) {
		i, j := uses[x.first].rule, uses[x.second].rule
		c.errorf(at("portForwarding", j, "ports"), "port-conflict", "%s %s is forwarded by %q already", protocol, uses[x.second].PortRange, rules[i].Name).
			See(c.pos("portForwarding", i, "ports"), "the other rule")
	}
}

func (c *checker) sameLength(r *PortForward, base []any) {
	if len(r.ToPorts) != len(r.Ports) {
		c.errorf(join(base, "toPorts"), "port-count", "toPorts has %d parts, ports has %d", len(r.ToPorts), len(r.Ports)).
			Hintf("ports are mapped in order, each range to one of equal length")
		return
	}
	for i, pair := range r.Pairs() {
		if pair.Public.Len() != pair.Private.Len() {
			c.errorf(join(base, "toPorts", i), "port-count", "%s and %s differ in length: %d and %d", pair.Public, pair.Private, pair.Public.Len(), pair.Private.Len()).
				Hintf("ports are mapped in order, each range to one of equal length")
			return
		}
	}
}
