package schema

import "net/netip"

// Zone is a site: the physical networks, hosts and guest networks that can reach each other.
type Zone struct {
	// NetworkType is `Advanced` (networks isolated by VLAN or overlay) or `Basic` (one shared guest network per
	// pod, isolated by security groups).
	NetworkType string `yaml:"networkType" weft:"required,enum=Advanced|Basic"`
	// SecurityGroups turns an Advanced zone into one with security groups.
	SecurityGroups bool `yaml:"securityGroups" weft:"default=false"`
	// State: `Enabled`; `Disabled`: frozen, nothing is changed or removed on its hosts, and no new network comes to it.
	State string `yaml:"state" weft:"enum=Enabled|Disabled,default=Enabled"`
	// DNS are the upstream resolvers of the guests' routers, in order; the nearest of Network, VPC, Zone wins.
	DNS []netip.Addr `yaml:"dns"`
	// InternalDNS are the resolvers that hosts ask for names in the tree which they need themselves: the endpoints of ServiceProviders.
	InternalDNS []netip.Addr `yaml:"internalDNS"`
	// NetworkDomain is the DNS suffix of networks that state none.
	NetworkDomain string `yaml:"networkDomain" weft:"format=domain"`
	// GuestCIDR is given to Isolated networks without a cidr; their address spaces may be equal.
	GuestCIDR netip.Prefix `yaml:"guestCIDR" weft:"default=10.1.1.0/24"`
	// IP6Prefix is the prefix that dual stack networks take a /64 of, through weft.lock.
	IP6Prefix netip.Prefix `yaml:"ip6Prefix"`
	// GCWait is how long an idle, non-persistent Isolated network is kept on the hosts before it is shut down.
	GCWait Duration `yaml:"gcWait" weft:"default=0s"`
	// Routers are settings of all virtual routers of the zone.
	Routers *ZoneRouters `yaml:"routers"`
	// BGP is how routers of networks with routingMode Dynamic tell where these are.
	BGP *ZoneBGP `yaml:"bgp"`
}

// ZoneRouters are settings of all virtual routers of a zone.
type ZoneRouters struct {
	// HealthCheckInterval is the time between two health checks of each router's services; 0s checks none.
	HealthCheckInterval Duration `yaml:"healthCheckInterval" weft:"default=30s"`
	// SpreadBy is a host label: the two routers of a redundant pair run on hosts that differ in it.
	SpreadBy string `yaml:"spreadBy" weft:"format=labelkey"`
}

// Pod is a part of a zone with its own management network, usually a rack.
type Pod struct {
	// Zone that the pod is in; may be left out where the tree has one zone.
	Zone string `yaml:"zone" weft:"format=name"`
	// CIDR of the management network.
	CIDR netip.Prefix `yaml:"cidr" weft:"required"`
	// Gateway of the management network.
	Gateway netip.Addr `yaml:"gateway"`
	// Ranges of management addresses that are reserved: weft gives them to nobody.
	Ranges []IPRange `yaml:"ranges"`
}

// PhysicalNetwork is a wire that hosts share: what isolates guest networks on it, which numbers may be
// allocated, and the bridges it is known by on the hosts.
type PhysicalNetwork struct {
	// Zone that the network is in; may be left out where the tree has one zone.
	Zone string `yaml:"zone" weft:"format=name"`
	// VSwitch is the switch on the hosts.
	VSwitch string `yaml:"vswitch" weft:"enum=OpenVSwitch|LinuxBridge,default=OpenVSwitch"`
	// Isolation of guest networks on this wire.
	Isolation string `yaml:"isolation" weft:"required,enum=VLAN|VXLAN|GRE|GENEVE|STT|L3,laterenum=L3" instead:"guests would be routed from host to host without a broadcast domain, and no guru does that: use VLAN or an overlay, or security groups in one Shared network"`
	// VXLAN are settings of the isolation `VXLAN`.
	VXLAN *VXLANSettings `yaml:"vxlan"`
	// VNets are the VLAN ids (1-4094), VNIs (1-16777215) or keys that weft.lock allocates from, as `"5000-5999"`
	// or single numbers.
	VNets []IDRange `yaml:"vnets"`
	// MTU of the wire in bytes, checked by `weft doctor`; set only on bridges that weft makes.
	MTU int `yaml:"mtu" weft:"default=1500,min=576,max=65535"`
	// Tags: an offering with tags needs a physical network that has them all.
	Tags []string `yaml:"tags" weft:"format=label"`
	// Traffic says which traffic types the wire carries and the label of each: the name of its bridge on the hosts.
	Traffic []Traffic `yaml:"traffic" weft:"required,unique=type"`
	// StorageRanges are the address ranges of Storage traffic. Weft gives their addresses, and their VLANs, to nobody.
	StorageRanges []StorageRange `yaml:"storageRanges"`
	// Providers that are enabled on this network; an offering's services need an enabled provider.
	Providers []string `yaml:"providers" weft:"enum=VirtualRouter|VpcVirtualRouter|Ovs|InternalLbVm|SecurityGroupProvider|ConfigDrive"`
}

// VXLANSettings are settings of the isolation VXLAN.
type VXLANSettings struct {
	// Mode is how a host finds the others: `Unicast` (a mesh from the tree), `Multicast` (a group; vswitch LinuxBridge)
	// or `EVPN` (the host's own routing daemon tells, such as FRR, which weft does not configure; vswitch LinuxBridge).
	Mode string `yaml:"mode" weft:"enum=Unicast|Multicast|EVPN,default=Unicast"`
	// Port is the UDP port of the tunnels; 4789 is the number IANA assigned.
	Port uint16 `yaml:"port" weft:"default=4789,min=1,max=65535"`
}

// Traffic is one traffic type of a physical network.
type Traffic struct {
	At Pos32 `yaml:"-"`
	// Type of traffic: `Guest` of networks, `Public` of routers towards the internet, `Management` and `Storage` of the
	// hosts themselves.
	Type string `yaml:"type" weft:"required,enum=Guest|Public|Management|Storage"`
	// Label is the name of the bridge on the hosts.
	Label string `yaml:"label" weft:"required,format=ifname"`
}

// StorageRange is an address range of Storage traffic in a pod.
type StorageRange struct {
	At Pos32 `yaml:"-"`
	// Pod that the range is for.
	Pod string `yaml:"pod" weft:"required,format=name"`
	// VLAN of the range; absent: untagged.
	VLAN BroadcastURI `yaml:"vlan"`
	// CIDR of the storage network.
	CIDR netip.Prefix `yaml:"cidr" weft:"required"`
	// Gateway of the storage network.
	Gateway netip.Addr `yaml:"gateway"`
	// Ranges of storage addresses that are reserved.
	Ranges []IPRange `yaml:"ranges" weft:"required"`
}

// PublicIPRange is a set of public addresses on one public wire.
type PublicIPRange struct {
	// Zone that the range is in; may be left out where the tree has one zone.
	Zone string `yaml:"zone" weft:"format=name"`
	// PhysicalNetwork with Public traffic that carries the range; may be left out where only one fits.
	PhysicalNetwork string `yaml:"physicalNetwork" weft:"format=name"`
	// VLAN of the range; absent: untagged.
	VLAN BroadcastURI `yaml:"vlan"`
	// CIDR of the public network.
	CIDR netip.Prefix `yaml:"cidr" weft:"required"`
	// Gateway towards the internet.
	Gateway netip.Addr `yaml:"gateway" weft:"required"`
	// Ranges that addresses are allocated from; the gateway must not lie in them.
	Ranges []IPRange `yaml:"ranges" weft:"required"`
	// IP6 is the range's IPv6 part.
	IP6 *PublicIP6 `yaml:"ip6"`
	// Account that the range is dedicated to: nobody else gets addresses of it, and the account gets them first.
	Account string `yaml:"account" weft:"format=name"`
}

// PublicIP6 is the IPv6 part of a public range.
type PublicIP6 struct {
	// CIDR of the public IPv6 network.
	CIDR netip.Prefix `yaml:"cidr" weft:"required"`
	// Gateway towards the internet.
	Gateway netip.Addr `yaml:"gateway" weft:"required"`
	// Ranges that addresses are allocated from.
	Ranges []IPRange `yaml:"ranges"`
}

// Account owns tenant documents.
type Account struct {
	// Domain is the path of the account in the tree of domains, such as `root/customers`.
	Domain string `yaml:"domain" weft:"format=domainpath,default=root"`
	// Project marks an account that several people share.
	Project bool `yaml:"project" weft:"default=false"`
	// VNets are numbers dedicated to the account, by physical network: parts of its vnets that nobody else gets, and that
	// the account gets first.
	VNets map[string][]IDRange `yaml:"vnets" weft:"format=name"`
	// VNetsFallback allows the common pool once the dedicated numbers are used up. Where nothing is dedicated the common
	// pool is always allowed.
	VNetsFallback bool `yaml:"vnetsFallback" weft:"default=true"`
	// PublicIPFallback allows the common public ranges once the dedicated ones are used up. Where none is dedicated the
	// common ones are always allowed.
	PublicIPFallback bool `yaml:"publicIPFallback" weft:"default=true"`
	// Limits on what the account may have.
	Limits *Limits `yaml:"limits"`
}

// Limits on what an account may have; absent fields are not limited.
type Limits struct {
	// Networks is the largest number of Isolated networks, tiers included.
	Networks *int `yaml:"networks" weft:"min=0"`
	// PublicIPs is the largest number of public addresses: source NAT addresses count, those of ranges dedicated to the
	// account do not.
	PublicIPs *int `yaml:"publicIPs" weft:"min=0"`
	// VPCs is the largest number of VPCs.
	VPCs *int `yaml:"vpcs" weft:"min=0"`
}
