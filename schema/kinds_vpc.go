package schema

import (
	"net/netip"
	"strconv"
)

// The network ACLs that every VPC has, by CloudStack's names.
const (
	ACLDefaultAllow = "default_allow"
	ACLDefaultDeny  = "default_deny"
)

// VPCOffering is what a kind of VPC offers.
type VPCOffering struct {
	// Services of the VPCs made of it; of those that need a public address or the ACL, tiers have no others. Dhcp, Dns, Gateway and
	// UserData are the tiers' own choice.
	Services Services `yaml:"services"`
	// RedundantRouter runs a pair of routers.
	RedundantRouter bool `yaml:"redundantRouter" weft:"default=false"`
	// ConserveMode: one public address may serve several purposes, and several tiers, at once.
	ConserveMode bool `yaml:"conserveMode" weft:"default=true"`
	// NetworkMode: `Natted`, or `Routed` without address translation. Tiers have the same.
	NetworkMode string `yaml:"networkMode" weft:"enum=Natted|Routed,default=Natted"`
	// RoutingMode of Routed VPCs: `Static`, or `Dynamic` by BGP. Tiers have the same.
	RoutingMode string `yaml:"routingMode" weft:"enum=Static|Dynamic,default=Static"`
	// Zones that may use the offering; absent: all.
	Zones []string `yaml:"zones" weft:"format=name"`
	// Accounts that may use the offering; absent: all.
	Accounts []string `yaml:"accounts" weft:"format=name"`
	// State: a Disabled offering can not be used for new VPCs.
	State string `yaml:"state" weft:"enum=Enabled|Disabled,default=Enabled"`
}

// VPC is a virtual private cloud: tiers, which are networks with vpc, behind one router.
type VPC struct {
	// Zone of the VPC; may be left out where the tree has one zone.
	Zone string `yaml:"zone" weft:"format=name"`
	// Offering is the VPCOffering that says what the VPC has.
	Offering string `yaml:"offering" weft:"required,format=vpcoffering"`
	// CIDR that all tiers lie in. That of a Routed VPC no other Routed VPC and no Routed or Shared network of the zone has a part of.
	CIDR netip.Prefix `yaml:"cidr" weft:"required"`
	// NetworkDomain is the DNS suffix of the guests; absent: the zone's.
	NetworkDomain string `yaml:"networkDomain" weft:"format=domain"`
	// DNS are the upstream resolvers of the router; absent: the zone's.
	DNS []netip.Addr `yaml:"dns"`
	// PublicMTU of the router's public interface in bytes; absent: 1500.
	PublicMTU int `yaml:"publicMTU" weft:"min=576,max=65535"`
	// ASN of its router, where the offering has routingMode Dynamic; absent: allocated from the zone's.
	ASN int `yaml:"asn" weft:"min=1,max=4294967294"`
	// Routes of the router; next hops are in a tier, or behind a private gateway.
	Routes []Route `yaml:"routes" weft:"unique=cidr"`
}

// NetworkACL says what may enter and leave tiers of a VPC: the first rule that matches decides, by number, and the end of the list is
// deny, in both directions and both families. Answers to what passed pass. default_allow and default_deny are built in.
type NetworkACL struct {
	// VPC whose tiers and private gateways may have the list.
	VPC Ref `yaml:"vpc" weft:"required"`
	// Rules of the list.
	Rules []ACLRule `yaml:"rules" weft:"unique=name"`
}

// ACLRule lets something pass, or not.
type ACLRule struct {
	At Pos32 `yaml:"-"`
	// Number of the rule, unique in the list: the lowest that matches decides.
	Number int `yaml:"number" weft:"required,min=1,max=65535"`
	// Name of the rule, unique in the list and stable.
	Name string `yaml:"name" weft:"required,format=name"`
	// Action of the rule.
	Action string `yaml:"action" weft:"required,enum=Allow|Deny"`
	// Direction: Ingress is what enters the tier, Egress what leaves it.
	Direction string `yaml:"direction" weft:"enum=Ingress|Egress,default=Ingress"`
	// Protocol that the rule matches: tcp, udp, icmp, icmpv6, all or a number of IANA's.
	Protocol string `yaml:"protocol" weft:"required,format=protocol"`
	// Ports of the destination, after translation; absent: all. Only tcp and udp.
	Ports Ports `yaml:"ports"`
	// ICMPType that the rule matches; absent: all. Only icmp and icmpv6.
	ICMPType *int `yaml:"icmpType" weft:"min=0,max=255"`
	// ICMPCode that the rule matches; absent: all. Only with icmpType.
	ICMPCode *int `yaml:"icmpCode" weft:"min=0,max=255"`
	// Sources of what enters; absent: everywhere. Only Ingress.
	Sources []netip.Prefix `yaml:"sources"`
	// Destinations of what leaves; absent: everywhere. Only Egress.
	Destinations []netip.Prefix `yaml:"destinations"`
}

// PrivateGateway joins a VPC to a network of the operator's.
type PrivateGateway struct {
	// VPC whose router is joined.
	VPC Ref `yaml:"vpc" weft:"required"`
	// PhysicalNetwork that carries the network, with Guest traffic; may be left out where only one fits.
	PhysicalNetwork string `yaml:"physicalNetwork" weft:"format=name"`
	// VLAN of the network.
	VLAN BroadcastURI `yaml:"vlan" weft:"required"`
	// AllowVLANOverlap permits a VLAN that others of the wire have which say it too.
	AllowVLANOverlap bool `yaml:"allowVlanOverlap" weft:"default=false"`
	// IP of the router there, with the length of the network.
	IP netip.Prefix `yaml:"ip" weft:"required,format=hostaddr"`
	// Gateway is the next hop of routes.
	Gateway netip.Addr `yaml:"gateway"`
	// SourceNat: guests appear as the router's address there.
	SourceNat bool `yaml:"sourceNat" weft:"default=false"`
	// ACL of the gateway; absent: default_deny. As with a tier, Ingress is what enters the network, Egress what comes from it.
	ACL string `yaml:"acl" weft:"format=acl,default=default_deny"`
	// Routes that lead through the gateway.
	Routes []GatewayRoute `yaml:"routes" weft:"unique=cidr"`
	// MTU of the link in bytes; absent: the smaller of 1500 and the wire's.
	MTU int `yaml:"mtu" weft:"min=576,max=65535"`
}

// GatewayRoute is a route through a private gateway.
type GatewayRoute struct {
	At Pos32 `yaml:"-"`
	// CIDR of the destination.
	CIDR netip.Prefix `yaml:"cidr" weft:"required"`
}

func vpcFormats() []format {
	return []format{
		{name: "acl", what: "the name of an ACL", pattern: `^(default_allow|default_deny|[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)$`, ok: isACL,
			rule: "write the name of a NetworkACL, default_allow or default_deny"},
		{name: "vpcoffering", what: "the name of a VPC offering", pattern: `^[A-Za-z0-9]([A-Za-z0-9_. -]{0,61}[A-Za-z0-9])?$`, ok: isVPCOffering,
			rule: "an offering's name has 1-63 letters, digits, spaces and _ . -"},
	}
}

func isACL(s string) bool { return s == ACLDefaultAllow || s == ACLDefaultDeny || isLabel(s) }

func isVPCOffering(s string) bool {
	return only(s, "_. -", 63) && isAlnum(s[0]) && isAlnum(s[len(s)-1])
}

// The providers of VPCs and their tiers.
const (
	providerVPC        = "VpcVirtualRouter"
	providerInternalLb = "InternalLbVm"
	providerDrive      = "ConfigDrive"
)

// ofVPC holds that an offering, of VPCs or of tiers, takes its services from those who
// serve VPCs.
func (c *checker) ofVPC(v *Services) {
	for _, s := range v.all() {
		allowed := []string{providerVPC}
		switch s.name {
		case "Lb":
			allowed = append(allowed, providerInternalLb)
		case "UserData":
			allowed = append(allowed, providerDrive)
		case "Firewall", "SecurityGroup", "Connectivity":
			if s.name != "Firewall" {
				c.errorf(at("services", s.name), "not-of-vpc", "a VPC has no service %s", s.name)
				continue
			}
		}
		if s.provider == "" || s.provider == allowed[0] || len(allowed) > 1 && s.provider == allowed[1] {
			continue
		}
		c.errorf(at("services", s.name), "not-of-vpc", "provider %s does not serve VPCs", s.provider).Offending(s.provider).Hintf("write %s", providerVPC)
	}
}

// tierOffering holds what networks of a VPC need, and that others take nothing from who
// serves VPCs only.
func (c *checker) tierOffering(s *NetworkOffering) {
	if !s.ForVPC {
		for _, x := range s.Services.all() {
			if x.provider == providerVPC {
				c.errorf(at("services", x.name), "not-of-provider", "provider %s serves tiers of VPCs", x.provider).Offending(x.provider).Hintf("add forVPC: true, or write VirtualRouter")
			}
		}
		if s.Services.NetworkACL != nil {
			c.errorf(at("services", "NetworkACL"), "not-of-guest-type", "only tiers of VPCs have NetworkACL").Hintf("add forVPC: true, or use Firewall")
		}
		return
	}
	if s.GuestType != "" && s.GuestType != "Isolated" {
		c.errorf(at("forVPC"), "not-of-guest-type", "tiers of a VPC are Isolated, not %s", s.GuestType).See(c.pos("guestType"), "the guest type")
		return
	}
	c.ofVPC(&s.Services)
	if s.Services.SourceNat == nil && s.Services.Gateway == nil && s.NetworkMode != "Routed" {
		c.errorf(at("services"), "service-needs", "a tier needs SourceNat or Gateway: the VPC's router is its gateway").Hintf("add Gateway: %s", providerVPC)
	}
	if s.Services.NetworkACL == nil {
		c.errorf(at("services"), "service-needs", "a tier needs NetworkACL: nothing else filters it").Hintf("add NetworkACL: %s", providerVPC)
	}
}

func (c *checker) vpcOffering(s *VPCOffering) {
	c.ofVPC(&s.Services)
	c.mode(s.NetworkMode, s.RoutingMode, &s.Services, true)
	c.words(s.Zones, "zones")
	c.words(s.Accounts, "accounts")
}

func (c *checker) vpc(s *VPC) {
	c.family(s.CIDR, "cidr")
	c.usable(s.CIDR, "cidr")
	for i, r := range s.Routes {
		if r.CIDR.IsValid() && r.Via.IsValid() && r.CIDR.Addr().Is4() != r.Via.Is4() {
			c.errorf(at("routes", i, "via"), "wrong-family", "the next hop %s is not of the family of %s", r.Via, r.CIDR)
		}
		c.outOfVPC(s.CIDR, r.CIDR, at("routes", i, "cidr"))
	}
}

// outOfVPC refuses routes to the VPC itself, and to what no route may lead to.
func (c *checker) outOfVPC(vpc, to netip.Prefix, path []any) {
	switch {
	case !to.IsValid():
	case to.Bits() == 0:
		c.errorf(path, "route-denied", "the default route is the router's own")
	case to.Addr().IsLinkLocalUnicast() || to.Addr().IsLoopback() || to.Addr().IsMulticast():
		c.errorf(path, "route-denied", "no route can lead to %s", to)
	case vpc.IsValid() && vpc.Overlaps(to):
		c.errorf(path, "route-inside", "%s overlaps %s of the VPC itself", to, vpc).See(c.pos("cidr"), "the VPC's cidr")
	}
}

func (c *checker) networkACL(s *NetworkACL) {
	numbers := map[int]int{}
	for i := range s.Rules {
		r := &s.Rules[i]
		path := at("rules", i)
		if first, ok := numbers[r.Number]; ok && r.Number != 0 {
			c.errorf(join(path, "number"), "duplicate-item", "two rules have number %d", r.Number).See(c.pos("rules", first, "number"), "the other rule").
				Hintf("rules are tried by number, so each has its own")
		} else {
			numbers[r.Number] = i
		}
		c.aclRule(r, path)
	}
}

func (c *checker) aclRule(r *ACLRule, path []any) {
	protocol, known := GroupProtocol(r.Protocol)
	if known && protocol == 0 {
		c.errorf(join(path, "protocol"), "unsupported-value", "an ACL cannot tell protocol 0 from all").Offending(r.Protocol).Hintf("write all, or a number from 1 to 255")
	}
	if known && len(r.Ports) > 0 && protocol != 6 && protocol != 17 {
		c.errorf(join(path, "ports"), "ports-without-protocol", "protocol %s has no ports", r.Protocol).
			Hintf("leave ports out, or use protocol tcp or udp").See(c.pos(join(path, "protocol")...), "the protocol")
	}
	if r.ICMPType != nil && known && protocol != 1 && protocol != 58 {
		c.errorf(join(path, "icmpType"), "icmp-without-protocol", "icmpType is only for protocol icmp and icmpv6, not %s", r.Protocol).
			See(c.pos(join(path, "protocol")...), "the protocol")
	}
	if r.ICMPCode != nil && r.ICMPType == nil {
		c.errorf(join(path, "icmpCode"), "icmp-code-without-type", "icmpCode needs icmpType")
	}
	peers, wrong, list, other := "sources", "destinations", r.Sources, r.Destinations
	if r.Direction == "Egress" {
		peers, wrong, list, other = wrong, peers, other, list
	}
	if other != nil {
		c.errorf(join(path, wrong), "conflicting-fields", "rules for %s have %s, not %s", r.Direction, peers, wrong).
			See(c.pos(join(path, "direction")...), "the direction")
	}
	c.prefixes(list, join(path, peers))
	for i, p := range list {
		if p.IsValid() && (protocol == 1 && p.Addr().Is6() || protocol == 58 && p.Addr().Is4()) {
			c.errorf(join(path, peers, i), "wrong-family", "%s has no packets of protocol %s", p, r.Protocol).
				Hintf("icmp is for IPv4, icmpv6 for IPv6")
		}
	}
}

func (c *checker) privateGateway(s *PrivateGateway) {
	if s.VLAN.Scheme != "" && s.VLAN.Scheme != SchemeVLAN && s.VLAN.Scheme != SchemeNative {
		c.errorf(at("vlan"), "gateway-needs-vlan", "%s can not be the network of a private gateway", s.VLAN).Hintf("write \"vlan://ID\", or native://untagged")
	}
	if s.IP.IsValid() {
		c.addrFamily(s.IP.Addr(), "ip")
		if s.IP.Addr().Is4() {
			c.machine(s.IP.Masked(), s.IP.Addr(), "address", at("ip"))
		}
	}
	if s.Gateway.IsValid() && s.IP.IsValid() && c.machine(s.IP.Masked(), s.Gateway, "gateway", at("gateway")) && s.Gateway == s.IP.Addr() {
		c.errorf(at("gateway"), "conflicting-fields", "%s is the router's own address", s.Gateway).See(c.pos("ip"), "the address")
	}
	for i, r := range s.Routes {
		if r.CIDR.IsValid() && !r.CIDR.Addr().Is4() {
			c.family(r.CIDR, "routes", i, "cidr")
			continue
		}
		c.outOfVPC(netip.Prefix{}, r.CIDR, at("routes", i, "cidr"))
		if !s.Gateway.IsValid() {
			if _, written := c.node(at("gateway")); !written {
				c.errorf(at("routes", i, "cidr"), "required-field", "a route through the gateway needs its next hop").Hintf("add gateway: ADDRESS, of the router on the other side")
			}
		}
		if r.CIDR.IsValid() && s.IP.IsValid() && s.IP.Masked().Overlaps(r.CIDR) && r.CIDR.Bits() >= s.IP.Bits() {
			c.errorf(at("routes", i, "cidr"), "route-inside", "%s is in the gateway's own network", r.CIDR).See(c.pos("ip"), "the network")
		}
	}
}

// A taken service is one that an offering has, and from whom.
type taken struct{ name, provider string }

// all lists the services that are offered.
func (v *Services) all() []taken {
	var out []taken
	add := func(name string, s *Service) {
		if s != nil {
			out = append(out, taken{name, s.Provider})
		}
	}
	add("Dhcp", v.Dhcp)
	add("Dns", v.Dns)
	add("Gateway", v.Gateway)
	add("UserData", v.UserData)
	if v.SourceNat != nil {
		out = append(out, taken{"SourceNat", v.SourceNat.Provider})
	}
	add("StaticNat", v.StaticNat)
	add("PortForwarding", v.PortForwarding)
	add("Firewall", v.Firewall)
	if v.Lb != nil {
		out = append(out, taken{"Lb", v.Lb.Provider})
	}
	add("Vpn", v.Vpn)
	add("NetworkACL", v.NetworkACL)
	add("SecurityGroup", v.SecurityGroup)
	add("Connectivity", v.Connectivity)
	return out
}

// tier judges the fields of a network that is a tier.
func (c *checker) tier(s *Network) {
	if s.VPC.IsZero() {
		if s.ACL != "" {
			c.errorf(at("acl"), "conflicting-fields", "only tiers of a VPC have an ACL").Hintf("add vpc: NAME, or leave it out")
		}
		return
	}
	for _, x := range []struct {
		field   string
		written bool
		why     string
	}{
		{"egress", len(s.Egress) > 0, "its ACL says what leaves it"},
		{"ingress", len(s.Ingress) > 0, "its ACL says what enters it"},
		{"routes", len(s.Routes) > 0, "routes are the VPC's"},
		{"networkDomain", s.NetworkDomain != "", "the domain is the VPC's"},
		{"dns", len(s.DNS) > 0, "resolvers of the router are the VPC's"},
		{"publicMTU", s.PublicMTU != 0, "the public link is the VPC's"},
		{"asn", s.ASN != 0, "the router is the VPC's, and so is its AS number"},
	} {
		if x.written {
			c.errorf(at(x.field), "not-of-tier", "a tier has no %s: %s", x.field, x.why).See(c.pos("vpc"), "the VPC")
		}
	}
	if !s.CIDR.IsValid() {
		if _, written := c.node(at("cidr")); !written {
			c.errorf(at("vpc"), "required-field", "a tier states its cidr, a part of its VPC's")
		}
	}
}

// ProtocolName is the protocol as the packet filter names it, "" for all.
func (r *ACLRule) ProtocolName() string {
	if n, _ := GroupProtocol(r.Protocol); n >= 0 {
		for name, number := range groupProtocols {
			if number == n {
				return name
			}
		}
		return strconv.Itoa(n)
	}
	return ""
}
