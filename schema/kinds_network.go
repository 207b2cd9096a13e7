package schema

import "net/netip"

// Network is a guest network: a broadcast domain with the services of its offering.
type Network struct {
	// Zone of the network; may be left out where the tree has one zone.
	Zone string `yaml:"zone" weft:"format=name"`
	// Offering is the NetworkOffering that says what the network has.
	Offering string `yaml:"offering" weft:"required,format=offering"`
	// PhysicalNetwork that carries it; may be left out where only one fits.
	PhysicalNetwork string `yaml:"physicalNetwork" weft:"format=name"`
	// CIDR of the network; Isolated: the zone's guestCIDR where absent; Shared: required.
	CIDR netip.Prefix `yaml:"cidr"`
	// Gateway of the guests; absent: the first address of the CIDR.
	Gateway netip.Addr `yaml:"gateway"`
	// Ranges that addresses are allocated from, with specifyIPRanges and for Shared networks; absent: all of the CIDR.
	Ranges []IPRange `yaml:"ranges"`
	// Subnets of a Shared network, instead of cidr, gateway and ranges.
	Subnets []Subnet `yaml:"subnets" weft:"unique=name"`
	// Reserved are parts of the CIDR, or of ip6.cidr, that are never allocated.
	Reserved []netip.Prefix `yaml:"reserved"`
	// RouterIPs are the addresses of a Shared network's router, one in each subnet and one in each IPv6 prefix; allocated where not given.
	RouterIPs []netip.Addr `yaml:"routerIPs"`
	// IP6 is the network's IPv6 part. Isolated: for offerings with internetProtocol DualStack; absent: a /64 of the zone's ip6Prefix, with
	// SLAAC. Shared: with any offering; absent: no IPv6.
	IP6 *NetworkIP6 `yaml:"ip6"`
	// VLAN of the network; only where the offering has specifyVlan.
	VLAN BroadcastURI `yaml:"vlan"`
	// NetworkDomain is the DNS suffix of the network; absent: the zone's.
	NetworkDomain string `yaml:"networkDomain" weft:"format=domain"`
	// DNSUpdates names the ServiceProvider of type Dns that is told the names of the network's running machines.
	DNSUpdates string `yaml:"dnsUpdates" weft:"format=name"`
	// VPC that the network is a tier of.
	VPC Ref `yaml:"vpc"`
	// ACL of a tier; absent: default_deny.
	ACL string `yaml:"acl" weft:"format=acl"`
	// Ingress says what may come in where nothing is translated: by IPv6, and in Routed networks by IPv4 too; the rest is denied. In
	// others IPv4 comes in at public addresses.
	Ingress []IngressRule `yaml:"ingress" weft:"unique=name"`
	// Egress are exceptions from the offering's egressDefaultPolicy.
	Egress []EgressRule `yaml:"egress" weft:"unique=name"`
	// Routes of the router, and of the guests by DHCP; guests send what is for IPv6 ones to the router.
	Routes []Route `yaml:"routes" weft:"unique=cidr"`
	// DNS are the upstream resolvers of the router; absent: the zone's.
	DNS []netip.Addr `yaml:"dns"`
	// GuestDNS are resolvers given to guests instead of the router.
	GuestDNS []netip.Addr `yaml:"guestDNS"`
	// MTU of the guests in bytes; absent: the smaller of 1500 and the wire's less the encapsulation.
	MTU int `yaml:"mtu" weft:"min=576,max=65535"`
	// PublicMTU of the router's public interface in bytes; absent: 1500.
	PublicMTU int `yaml:"publicMTU" weft:"min=576,max=65535"`
	// LeaseTime of DHCP; absent: the router's choice.
	LeaseTime Duration `yaml:"leaseTime"`
	// SharedWith are accounts, domains (`domain/root/customers`, with subdomains) or `*` that may use the network.
	SharedWith []string `yaml:"sharedWith" weft:"format=share"`
	// ASN of its router, where the offering has routingMode Dynamic; absent: allocated from the zone's.
	ASN int `yaml:"asn" weft:"min=1,max=4294967294"`
	// PVLAN makes the network, Shared or L2, a part of the private VLAN whose primary is vlan; networks of one primary are one private
	// VLAN.
	PVLAN *PVLAN `yaml:"pvlan"`
	// AllowVLANOverlap permits a VLAN that other networks of the wire have which say it too: they are one broadcast domain. Shared and
	// L2.
	AllowVLANOverlap bool `yaml:"allowVlanOverlap" weft:"default=false"`
}

// Subnet is one of several subnets of a Shared network: in its broadcast domain, or with a VLAN or a pod of its own.
type Subnet struct {
	At Pos32 `yaml:"-"`
	// Name of the subnet, unique in the network.
	Name string `yaml:"name" weft:"required,format=name"`
	// Pod that the subnet is for, in Basic zones.
	Pod string `yaml:"pod" weft:"format=name"`
	// VLAN of the subnet, which is then a broadcast domain and has a router of its own; absent: the network's.
	VLAN BroadcastURI `yaml:"vlan"`
	// CIDR of the subnet.
	CIDR netip.Prefix `yaml:"cidr" weft:"required"`
	// Gateway of the subnet; absent: its first address.
	Gateway netip.Addr `yaml:"gateway"`
	// Ranges that addresses are allocated from.
	Ranges []IPRange `yaml:"ranges"`
	// IP6 is the IPv6 part of the subnet's broadcast domain, which has one; with the network's ip6.mode.
	IP6 *SubnetIP6 `yaml:"ip6"`
}

// SubnetIP6 is the IPv6 part of the broadcast domain that a subnet is in.
type SubnetIP6 struct {
	// CIDR of the broadcast domain, a /64.
	CIDR netip.Prefix `yaml:"cidr" weft:"required"`
	// Gateway of the guests, which sends the router advertisements; absent: the first address.
	Gateway netip.Addr `yaml:"gateway"`
}

// NetworkIP6 is the IPv6 part of a network.
type NetworkIP6 struct {
	// CIDR of the network, a /64. Isolated: of the zone's ip6Prefix or unique local (fc00::/7); absent: one of the zone's ip6Prefix.
	// Shared: required, but where subnets state theirs.
	CIDR netip.Prefix `yaml:"cidr"`
	// Gateway of the guests; absent: the first address. That of a Shared network is not weft's, and sends the router advertisements.
	Gateway netip.Addr `yaml:"gateway"`
	// Ranges that DHCPv6 gives addresses of; absent: all of the CIDR.
	Ranges []IPRange `yaml:"ranges"`
	// Mode by which guests get their address: with `SLAAC` they make it of the prefix and their MAC, with `DHCPv6` they are given it.
	Mode string `yaml:"mode" weft:"enum=SLAAC|DHCPv6,default=SLAAC"`
}

// PVLAN makes a network a private VLAN.
type PVLAN struct {
	// Type of the network's ports: Promiscuous ones hear all and are heard by all, those of a Community hear each other too, Isolated
	// ones promiscuous ones only.
	Type string `yaml:"type" weft:"required,enum=Isolated|Community|Promiscuous"`
	// Secondary VLAN id; equal to the primary for Promiscuous, and only there.
	Secondary int `yaml:"secondary" weft:"required,min=1,max=4094"`
}

// EgressRule is an exception from the offering's egress default.
type EgressRule struct {
	At Pos32 `yaml:"-"`
	// Name of the rule, unique in the list and stable; order in the list means nothing.
	Name string `yaml:"name" weft:"required,format=name"`
	// Action of the rule; one equal to the offering's default is an error.
	Action string `yaml:"action" weft:"required,enum=Allow|Deny"`
	// Protocol that the rule matches: icmp is that of IPv4, icmpv6 that of IPv6, the others are both.
	Protocol string `yaml:"protocol" weft:"required,enum=tcp|udp|icmp|icmpv6|all"`
	// Ports of the destination; absent: all. Only tcp and udp.
	Ports Ports `yaml:"ports"`
	// ICMPType that the rule matches; absent: all. Only icmp and icmpv6.
	ICMPType *int `yaml:"icmpType" weft:"min=0,max=255"`
	// ICMPCode that the rule matches; absent: all. Only with icmpType.
	ICMPCode *int `yaml:"icmpCode" weft:"min=0,max=255"`
	// Sources within the network; absent: all of it.
	Sources []netip.Prefix `yaml:"sources"`
	// Destinations; absent: everywhere.
	Destinations []netip.Prefix `yaml:"destinations"`
}

// IngressRule says what may come in where nothing is translated.
type IngressRule struct {
	At Pos32 `yaml:"-"`
	// Name of the rule, unique in the list and stable; order in the list means nothing.
	Name string `yaml:"name" weft:"required,format=name"`
	// Protocol that the rule matches: icmp is that of IPv4, icmpv6 that of IPv6, the others are both.
	Protocol string `yaml:"protocol" weft:"required,enum=tcp|udp|icmp|icmpv6|all"`
	// Ports of the destination; absent: all. Only tcp and udp.
	Ports Ports `yaml:"ports"`
	// ICMPType that the rule matches; absent: all. Only icmp and icmpv6.
	ICMPType *int `yaml:"icmpType" weft:"min=0,max=255"`
	// ICMPCode that the rule matches; absent: all. Only with icmpType.
	ICMPCode *int `yaml:"icmpCode" weft:"min=0,max=255"`
	// Sources; absent: everywhere.
	Sources []netip.Prefix `yaml:"sources"`
	// Destinations within the network; absent: all of it.
	Destinations []netip.Prefix `yaml:"destinations"`
}
