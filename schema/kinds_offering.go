package schema

// NetworkOffering is what a kind of guest network offers: its services, who provides them, and its limits.
type NetworkOffering struct {
	// GuestType of the networks made of it.
	GuestType string `yaml:"guestType" weft:"required,enum=Isolated|Shared|L2"`
	// Services of the networks made of it.
	Services Services `yaml:"services"`
	// EgressDefaultPolicy decides on traffic that leaves the network and no egress rule matches, in both families.
	EgressDefaultPolicy string `yaml:"egressDefaultPolicy" weft:"enum=Allow|Deny,default=Deny"`
	// NetworkRate per NIC and direction in Mbit/s; 0: unlimited.
	NetworkRate Rate `yaml:"networkRate" weft:"default=200"`
	// SpecifyVLAN: networks state their VLAN themselves.
	SpecifyVLAN bool `yaml:"specifyVlan" weft:"default=false"`
	// SpecifyIPRanges: networks state the ranges that addresses are allocated from; true for Shared, never with SourceNat.
	SpecifyIPRanges bool `yaml:"specifyIPRanges" weft:"default=false"`
	// ConserveMode: one public address may serve several purposes at once.
	ConserveMode bool `yaml:"conserveMode" weft:"default=true"`
	// Persistent networks are implemented without running NICs and never shut down.
	Persistent bool `yaml:"persistent" weft:"default=false"`
	// ForVPC: networks are tiers of a VPC.
	ForVPC bool `yaml:"forVPC" weft:"default=false"`
	// InternetProtocol is `IPv4` or `DualStack`: IPv4, and an IPv6 /64 that is routed. Only Isolated.
	InternetProtocol string `yaml:"internetProtocol" weft:"enum=IPv4|DualStack,default=IPv4"`
	// NetworkMode: `Natted`, or `Routed` without address translation.
	NetworkMode string `yaml:"networkMode" weft:"enum=Natted|Routed,default=Natted"`
	// RoutingMode of Routed networks: `Static`, or `Dynamic` by BGP.
	RoutingMode string `yaml:"routingMode" weft:"enum=Static|Dynamic,default=Static"`
	// ConcurrentConnections is HAProxy's maxconn.
	ConcurrentConnections int `yaml:"concurrentConnections" weft:"default=4096,min=1,max=1000000"`
	// KeepAlive lets HAProxy keep HTTP connections open.
	KeepAlive bool `yaml:"keepAlive" weft:"default=false"`
	// Tags that the physical network must have, all of them.
	Tags []string `yaml:"tags" weft:"format=label"`
	// Zones that may use the offering; absent: all.
	Zones []string `yaml:"zones" weft:"format=name"`
	// Accounts that may use the offering; absent: all.
	Accounts []string `yaml:"accounts" weft:"format=name"`
	// State: a Disabled offering can not be used for new networks.
	State string `yaml:"state" weft:"enum=Enabled|Disabled,default=Enabled"`
}

// Services are the services of an offering; nil where not offered.
type Services struct {
	// Dhcp hands out addresses and options.
	Dhcp *Service `yaml:"Dhcp"`
	// Dns resolves the names of the network's VMs and forwards the rest.
	Dns *Service `yaml:"Dns"`
	// Gateway is implied by SourceNat and need not be listed.
	Gateway *Service `yaml:"Gateway"`
	// UserData serves metadata, user data, SSH keys and passwords.
	UserData *Service `yaml:"UserData"`
	// SourceNat lets guests reach the internet by one public address.
	SourceNat *SourceNatService `yaml:"SourceNat"`
	// StaticNat gives one VM a public address.
	StaticNat *Service `yaml:"StaticNat"`
	// PortForwarding maps public ports to VMs.
	PortForwarding *Service `yaml:"PortForwarding"`
	// Firewall filters what comes in at public addresses and what leaves the network.
	Firewall *Service `yaml:"Firewall"`
	// Lb balances load.
	Lb *LbService `yaml:"Lb"`
	// Vpn is remote access and site-to-site.
	Vpn *Service `yaml:"Vpn"`
	// NetworkACL filters a tier of a VPC.
	NetworkACL *Service `yaml:"NetworkACL"`
	// SecurityGroup filters per NIC.
	SecurityGroup *Service `yaml:"SecurityGroup"`
	// Connectivity hands the network's topology to a provider; never required.
	Connectivity *Service `yaml:"Connectivity"`
}

// Service is a service without capabilities; may be written as just the provider's name.
type Service struct {
	At Pos32 `yaml:"-"`
	// Provider of the service.
	Provider string `yaml:"provider" weft:"required,enum=VirtualRouter|VpcVirtualRouter|Ovs|InternalLbVm|SecurityGroupProvider|ConfigDrive,short"`
}

// SourceNatService is the service SourceNat; may be written as just the provider's name.
type SourceNatService struct {
	At Pos32 `yaml:"-"`
	// Provider of the service.
	Provider string `yaml:"provider" weft:"required,enum=VirtualRouter|VpcVirtualRouter,short"`
	// SourceNatType: `perAccount`, one source NAT address for each network. `perZone`, one for all, is what CloudStack has devices for
	// that all networks of a zone share; it is refused here, where each network has a router of its own.
	SourceNatType string `yaml:"sourceNatType" weft:"enum=perAccount|perZone,default=perAccount"`
	// RedundantRouter runs a pair of routers.
	RedundantRouter bool `yaml:"redundantRouter" weft:"default=false"`
}

// LbService is the service Lb; may be written as just the provider's name.
type LbService struct {
	At Pos32 `yaml:"-"`
	// Provider of the service.
	Provider string `yaml:"provider" weft:"required,enum=VirtualRouter|VpcVirtualRouter|InternalLbVm,short"`
	// Scheme: load balancers on public addresses, or on addresses of a tier.
	Scheme string `yaml:"scheme" weft:"enum=Public|Internal,default=Public"`
}
