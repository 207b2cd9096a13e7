package schema

import (
	"net/netip"
	"strconv"
)

// SecurityGroup says what may reach the NICs in it, and what they may reach. The rules of all groups of a NIC count together.
type SecurityGroup struct {
	// Ingress says what may come in; the rest is denied. Answers to what may leave come in.
	Ingress []GroupIngress `yaml:"ingress" weft:"unique=name"`
	// Egress says what may leave; absent or empty: everything, with any rule the rest is denied. Answers to what may come
	// in leave.
	Egress []GroupEgress `yaml:"egress" weft:"unique=name"`
	// SharedWith are accounts, domains (`domain/root/customers`, with subdomains) or `*` whose NICs may be in the group and
	// whose rules may name it.
	SharedWith []string `yaml:"sharedWith" weft:"format=share"`
}

// GroupIngress lets something come in.
type GroupIngress struct {
	At Pos32 `yaml:"-"`
	// Name of the rule, unique in the list and stable; order in the list means nothing.
	Name string `yaml:"name" weft:"required,format=name"`
	// Protocol that the rule matches: tcp, udp, icmp, icmpv6, all or a number of IANA's.
	Protocol string `yaml:"protocol" weft:"required,format=protocol"`
	// Ports of the NIC; absent: all. Only tcp and udp.
	Ports Ports `yaml:"ports"`
	// ICMPType that the rule matches; absent: all. Only icmp and icmpv6.
	ICMPType *int `yaml:"icmpType" weft:"min=0,max=255"`
	// ICMPCode that the rule matches; absent: all. Only with icmpType.
	ICMPCode *int `yaml:"icmpCode" weft:"min=0,max=255"`
	// Sources that may come in; needed where groups is absent.
	Sources []netip.Prefix `yaml:"sources"`
	// Groups whose NICs may come in, from their addresses, secondary ones too.
	Groups []Ref `yaml:"groups"`
}

// GroupEgress lets something leave.
type GroupEgress struct {
	At Pos32 `yaml:"-"`
	// Name of the rule, unique in the list and stable; order in the list means nothing.
	Name string `yaml:"name" weft:"required,format=name"`
	// Protocol that the rule matches: tcp, udp, icmp, icmpv6, all or a number of IANA's.
	Protocol string `yaml:"protocol" weft:"required,format=protocol"`
	// Ports of the destination; absent: all. Only tcp and udp.
	Ports Ports `yaml:"ports"`
	// ICMPType that the rule matches; absent: all. Only icmp and icmpv6.
	ICMPType *int `yaml:"icmpType" weft:"min=0,max=255"`
	// ICMPCode that the rule matches; absent: all. Only with icmpType.
	ICMPCode *int `yaml:"icmpCode" weft:"min=0,max=255"`
	// Destinations that may be reached; needed where groups is absent.
	Destinations []netip.Prefix `yaml:"destinations"`
	// Groups whose NICs may be reached, at their addresses, secondary ones too.
	Groups []Ref `yaml:"groups"`
}

// groupProtocols are IANA's numbers of the protocols that have names.
var groupProtocols = map[string]int{"all": -1, "icmp": 1, "tcp": 6, "udp": 17, "icmpv6": 58}

// GroupProtocol is the number of a protocol as rules of groups write it, -1 for all; false where
// it is none.
func GroupProtocol(s string) (int, bool) {
	if n, ok := groupProtocols[s]; ok {
		return n, true
	}
	n, err := strconv.Atoi(s)
	return n, err == nil && 0 <= n && n <= 255 && strconv.Itoa(n) == s
}

// isGroupProtocol refuses what is no protocol.
func isGroupProtocol(s string) bool {
	_, ok := GroupProtocol(s)
	return ok
}

// groupProvider holds that security groups are for their provider; see narrow.
func (c *checker) groupProvider(s *NetworkOffering) {
	const provider = "SecurityGroupProvider"
	v := &s.Services
	if g := v.SecurityGroup; g != nil && g.Provider != "" && g.Provider != provider {
		c.errorf(at("services", "SecurityGroup"), "not-of-provider", "provider %s has no service SecurityGroup", g.Provider).
			Offending(g.Provider).Hintf("write %s", provider)
	}
}

func (c *checker) securityGroup(s *SecurityGroup) {
	c.words(s.SharedWith, "sharedWith")
	for i := range s.Ingress {
		r := &s.Ingress[i]
		c.groupRule(at("ingress", i), "sources", groupMatch{r.Protocol, r.Ports, r.ICMPType, r.ICMPCode, r.Sources, r.Groups})
	}
	for i := range s.Egress {
		r := &s.Egress[i]
		c.groupRule(at("egress", i), "destinations", groupMatch{r.Protocol, r.Ports, r.ICMPType, r.ICMPCode, r.Destinations, r.Groups})
	}
}

// groupMatch is what rules of both directions have.
type groupMatch struct {
	protocol           string
	ports              Ports
	icmpType, icmpCode *int
	peers              []netip.Prefix
	groups             []Ref
}

func (c *checker) groupRule(path []any, peers string, m groupMatch) {
	protocol, known := GroupProtocol(m.protocol)
	if known && len(m.ports) > 0 && protocol != 6 && protocol != 17 {
		c.errorf(join(path, "ports"), "ports-without-protocol", "protocol %s has no ports", m.protocol).
			Hintf("leave ports out, or use protocol tcp or udp").See(c.pos(join(path, "protocol")...), "the protocol")
	}
	if m.icmpType != nil && known && protocol != 1 && protocol != 58 {
		c.errorf(join(path, "icmpType"), "icmp-without-protocol", "icmpType is only for protocol icmp and icmpv6, not %s", m.protocol).
			See(c.pos(join(path, "protocol")...), "the protocol")
	}
	if m.icmpCode != nil && m.icmpType == nil {
		c.errorf(join(path, "icmpCode"), "icmp-code-without-type", "icmpCode needs icmpType")
	}
	c.groupPeers(path, peers, protocol, m)
}

// groupPeers judges whom a rule is for.
func (c *checker) groupPeers(path []any, peers string, protocol int, m groupMatch) {
	if m.peers == nil && m.groups == nil {
		_, written := c.node(join(path, peers))
		_, named := c.node(join(path, "groups"))
		if !written && !named {
			c.errorf(path, "required-field", "the rule says not whom it is for").
				Hintf("add %s: [0.0.0.0/0, \"::/0\"] for everybody, or groups", peers)
		}
	}
	if m.groups != nil && len(m.groups) == 0 {
		c.errorf(join(path, "groups"), "empty-value", "the list is empty").Hintf("leave the field out")
	}
	c.prefixes(m.peers, join(path, peers))
	for i, p := range m.peers {
		if p.IsValid() && (protocol == 1 && p.Addr().Is6() || protocol == 58 && p.Addr().Is4()) {
			c.errorf(join(path, peers, i), "wrong-family", "%s has no packets of protocol %s", p, m.protocol).
				Hintf("icmp is for IPv4, icmpv6 for IPv6")
		}
	}
	c.refs(m.groups, join(path, "groups"))
}

// allowed judges the addresses that a NIC may use beside its own.
func (c *checker) allowed(n *NIC, path []any) {
	if len(n.AllowedAddresses) > 0 && !n.AntiSpoof {
		c.errorf(path, "conflicting-fields", "every address may leave a NIC with antiSpoof: false").Hintf("leave one of them out")
	}
	type pair struct {
		cidr netip.Prefix
		mac  MAC
	}
	var first map[pair]int
	for i := range n.AllowedAddresses {
		a := &n.AllowedAddresses[i]
		if first == nil {
			first = map[pair]int{}
		}
		k := pair{a.CIDR, a.MAC}
		if j, ok := first[k]; ok && a.CIDR.IsValid() {
			c.errorf(join(path, i), "duplicate-item", "%s is in the list twice", a.CIDR).See(c.pos(join(path, j)...), "first here")
			continue
		}
		first[k] = i
	}
}

// groupRefs judges the groups of a NIC.
func (c *checker) groupRefs(list []Ref, path []any) {
	if len(list) == 0 {
		c.errorf(path, "empty-value", "the list is empty").Hintf("leave the field out for the group default")
	}
	c.refs(list, path)
}

// refs refuses repeats.
func (c *checker) refs(list []Ref, path []any) {
	first := make(map[Ref]int, len(list))
	for i, r := range list {
		if j, ok := first[r]; ok {
			c.errorf(join(path, i), "duplicate-item", "%s is in the list twice", r).See(c.pos(join(path, j)...), "first here")
			continue
		}
		first[r] = i
	}
}
