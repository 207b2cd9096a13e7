package schema

import (
	"net/netip"
	"slices"
)

// checker judges what concerns several fields of one document. Checks run on what could be
// decoded, so each tests that the values it compares are there.
type checker struct {
	d    *decoder
	spec int32 // node of the spec, 0 when the document has none
	at   Pos32 // of the spec's key
}

func (d *decoder) check(n int32, at Pos32, spec any) {
	c := &checker{d: d, spec: n, at: at}
	switch s := spec.(type) {
	case *Pod:
		c.subnet(s.CIDR, s.Gateway, s.Ranges)
	case *PhysicalNetwork:
		c.physicalNetwork(s)
	case *Host:
		c.host(s)
	case *PublicIPRange:
		c.publicIPRange(s)
	case *NetworkOffering:
		c.offering(s)
	case *Network:
		c.network(s)
	case *VirtualMachine:
		c.virtualMachine(s)
	case *PublicIP:
		c.publicIP(s)
	case *SecurityGroup:
		c.securityGroup(s)
	case *VPCOffering:
		c.vpcOffering(s)
	case *VPC:
		c.vpc(s)
	case *NetworkACL:
		c.networkACL(s)
	case *PrivateGateway:
		c.privateGateway(s)
	case *LoadBalancer:
		c.loadBalancer(s)
	case *SiteToSiteVPN:
		c.siteToSiteVPN(s)
	case *RemoteAccessVPN:
		c.remoteAccessVPN(s)
	case *ServiceProvider:
		c.serviceProvider(s)
	case *Policy:
		c.policy(s)
	case *Zone:
		c.bgp(s.BGP)
		c.family(s.GuestCIDR, "guestCIDR")
		c.usable(s.GuestCIDR, "guestCIDR")
		c.zoneRouters(s.Routers)
		c.zoneIP6(s.IP6Prefix)
	}
}

// node finds a value below the spec: field names and list indices. ok is false where the path
// is not written; n is then the nearest value above.
func (c *checker) node(path []any) (n int32, ok bool) {
	n = c.spec
	for _, p := range path {
		next := int32(0)
		switch p := p.(type) {
		case string:
			_, next = c.d.ns.find(n, p)
		case int:
			if c.d.ns[n].kind == sequenceNode {
				next = c.d.ns[n].first
				for i := 0; i < p && next != 0; i++ {
					next = c.d.ns[next].next
				}
			}
		}
		if next == 0 {
			return n, false
		}
		n = next
	}
	return n, true
}

// errorf reports a mistake at a path below the spec, or at the nearest value above it: a value
// on its line is pointed to itself, a list or mapping by its key.
func (c *checker) errorf(path []any, code, format string, args ...any) *Diag {
	if c.d.errs >= maxDiags {
		c.d.errs++
		return new(Diag) // finding the place in a long list is not free
	}
	n, ok := c.node(path)
	if n == 0 || n == c.spec {
		return c.d.errorf(c.d.place(c.at), code, format, args...)
	}
	if name, isField := path[len(path)-1].(string); ok && isField && c.d.ns[n].kind != scalarNode {
		parent, _ := c.node(path[:len(path)-1])
		n, _ = c.d.ns.find(parent, name)
	}
	return c.d.errorf(c.d.pos(n), code, format, args...).Offending(c.d.ns[n].value)
}

func (c *checker) pos(path ...any) Pos {
	n, _ := c.node(path)
	if n == 0 || n == c.spec {
		return c.d.place(c.at)
	}
	return c.d.pos(n)
}

// at makes a path.
func at(path ...any) []any { return path }

// join appends to a path without touching it.
func join(path []any, more ...any) []any { return append(slices.Clone(path), more...) }

// family asks for IPv4 where the language has a field of its own for IPv6.
func (c *checker) family(p netip.Prefix, path ...any) {
	if p.IsValid() && !p.Addr().Is4() {
		c.errorf(path, "wrong-family", "%s is IPv6, but this field is for IPv4", p)
	}
}

func (c *checker) addrFamily(ip netip.Addr, path ...any) {
	if ip.IsValid() && !ip.Is4() {
		c.errorf(path, "wrong-family", "%s is IPv6, but this field is for IPv4", ip)
	}
}

// usable asks for a network that has room for a gateway and a guest.
func (c *checker) usable(p netip.Prefix, path ...any) {
	switch {
	case !p.IsValid():
	case p.Addr().BitLen()-p.Bits() < 2:
		c.errorf(path, "bad-cidr", "%s has no room for a gateway and a machine", p).Hintf("use /%d or shorter", p.Addr().BitLen()-2)
	case p.Addr().Is4() && p.Bits() < 8:
		c.errorf(path, "bad-cidr", "%s is larger than any network", p).Hintf("use /8 or longer")
	case p.Addr().IsMulticast() || p.Addr().IsLoopback() || p.Addr().IsLinkLocalUnicast() || p.Addr().IsUnspecified():
		c.errorf(path, "bad-cidr", "%s is not a network for machines", p)
	}
}

// subnet checks cidr, gateway and ranges against each other.
func (c *checker) subnet(cidr netip.Prefix, gateway netip.Addr, ranges []IPRange, base ...any) {
	c.usable(cidr, join(base, "cidr")...)
	if !cidr.IsValid() {
		return
	}
	if gateway.IsValid() {
		c.machine(cidr, gateway, "gateway", join(base, "gateway"))
	}
	for i, r := range ranges {
		path := join(base, "ranges", i)
		switch {
		case !r.From.IsValid():
			continue
		case !c.machine(cidr, r.From, "range", path) || r.To != r.From && !c.machine(cidr, r.To, "range", path):
			continue
		case gateway.IsValid() && r.Contains(gateway):
			c.errorf(path, "gateway-in-range", "the range %s contains the gateway %s", r, gateway).
				See(c.pos(join(base, "gateway")...), "the gateway")
		}
	}
	bounds := func(i int) (from, to netip.Addr) { return ranges[i].From, ranges[i].To }
	for _, x := range clashes(len(ranges), bounds, netip.Addr.Compare) {
		if ranges[x.first].From.IsValid() {
			c.errorf(join(base, "ranges", x.second), "overlapping-range", "the range %s overlaps %s", ranges[x.second], ranges[x.first]).
				See(c.pos(join(base, "ranges", x.first)...), "the other range")
		}
	}
}

// machine reports whether ip can be the address of a machine in cidr.
func (c *checker) machine(cidr netip.Prefix, ip netip.Addr, what string, path []any) bool {
	switch {
	case !cidr.Contains(ip):
		c.errorf(path, "outside-cidr", "the %s %s is outside %s", what, ip, cidr)
	case ip == cidr.Addr() && cidr.Bits() < ip.BitLen()-1:
		c.errorf(path, "outside-cidr", "%s is the address of the network %s itself", ip, cidr)
	case ip.Is4() && ip == lastAddr(cidr) && cidr.Bits() < ip.BitLen()-1:
		c.errorf(path, "outside-cidr", "%s is the broadcast address of %s", ip, cidr)
	default:
		return true
	}
	return false
}

// lastAddr is the last address of a network.
func lastAddr(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 1 << (7 - i%8)
	}
	ip, _ := netip.AddrFromSlice(b)
	return ip
}

// match is what the rules of firewalls have in common.
type match struct {
	protocol string
	ports    Ports
	icmpType *int
	icmpCode *int
	sources  []netip.Prefix
	dests    []netip.Prefix
}

func (c *checker) match(m match, path []any) {
	if len(m.ports) > 0 && m.protocol != "" && m.protocol != "tcp" && m.protocol != "udp" {
		c.errorf(join(path, "ports"), "ports-without-protocol", "protocol %s has no ports", m.protocol).
			Hintf("leave ports out, or use protocol tcp or udp").See(c.pos(join(path, "protocol")...), "the protocol")
	}
	if m.protocol != "" && m.protocol != "icmp" && m.protocol != "icmpv6" {
		for _, name := range []string{"icmpType", "icmpCode"} {
			if name == "icmpType" && m.icmpType != nil || name == "icmpCode" && m.icmpCode != nil {
				c.errorf(join(path, name), "icmp-without-protocol", "%s is only for protocol icmp, not %s", name, m.protocol).
					See(c.pos(join(path, "protocol")...), "the protocol")
			}
		}
	} else if m.icmpCode != nil && m.icmpType == nil {
		c.errorf(join(path, "icmpCode"), "icmp-code-without-type", "icmpCode needs icmpType")
	}
	c.prefixes(m.sources, join(path, "sources"))
	c.prefixes(m.dests, join(path, "destinations"))
}

// prefixes refuses an empty list, which reads like nobody but would match everybody, and
// repeats.
func (c *checker) prefixes(list []netip.Prefix, path []any) {
	if list != nil && len(list) == 0 {
		c.errorf(path, "empty-value", "the list is empty").Hintf("leave the field out for all addresses, or write 0.0.0.0/0")
	}
	if len(list) < 2 {
		return
	}
	first := make(map[netip.Prefix]int, len(list))
	for i, p := range list {
		if j, ok := first[p]; ok && p.IsValid() {
			c.errorf(join(path, i), "duplicate-item", "%s is in the list twice", p).See(c.pos(join(path, j)...), "first here")
			continue
		}
		first[p] = i
	}
}
