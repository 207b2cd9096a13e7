package schema

import "net/netip"

// VirtualMachine declares the NICs of a VM and where they may appear; weft runs no VM.
type VirtualMachine struct {
	// Zone of the VM; may be left out where the tree has one zone or a network implies it.
	Zone string `yaml:"zone" weft:"format=name"`
	// Host where the VM is expected (plan, lab).
	Host string `yaml:"host" weft:"format=name"`
	// Hosts where its ports may appear; absent: host, else all enabled hosts of the zone that offer the label.
	Hosts []string `yaml:"hosts" weft:"format=name"`
	// Pin: on host only.
	Pin bool `yaml:"pin" weft:"default=false"`
	// Pod of a VM without host in a Basic zone.
	Pod string `yaml:"pod" weft:"format=name"`
	// State: NICs run when the VM is Running.
	State string `yaml:"state" weft:"enum=Running|Stopped,default=Running"`
	// Hostname given by DHCP and DNS; absent: metadata.name.
	Hostname string `yaml:"hostname" weft:"format=hostname"`
	// NICs of the VM; the first is the default one unless another says so.
	NICs []NIC `yaml:"nics" weft:"required"`
	// UserData for cloud-init, at most 32768 bytes; treated as a secret in output. Networks with the service UserData tell it.
	UserData string `yaml:"userData" weft:"format=text,secret"`
	// Password told to the VM by the network of its default NIC, until the VM says that it has it.
	Password *Secret `yaml:"password"`
	// SSHKeys told to the VM, each a line of authorized_keys.
	SSHKeys []string `yaml:"sshKeys" weft:"format=sshkey"`
}

// NIC is a network interface of a VM.
type NIC struct {
	At Pos32 `yaml:"-"`
	// Default: this NIC gives the VM its gateway, resolvers and domain.
	Default bool `yaml:"default" weft:"default=false"`
	// Network that the NIC is in.
	Network Ref `yaml:"network" weft:"required"`
	// Name of the NIC, unique in the VM; absent: the network's name. Lock, references and iface-id use it.
	Name string `yaml:"name" weft:"format=name"`
	// IP of the NIC; absent: allocated.
	IP netip.Addr `yaml:"ip"`
	// IP6 of the NIC, in networks with DHCPv6; absent: allocated. With SLAAC it follows from the MAC, and may be stated beside it.
	IP6 netip.Addr `yaml:"ip6"`
	// MAC of the NIC, unicast; absent: allocated, locally administered.
	MAC MAC `yaml:"mac"`
	// SecondaryIPs of the NIC, IPv4 and IPv6, at most 10; the guest sets them itself.
	SecondaryIPs []netip.Addr `yaml:"secondaryIPs"`
	// Interface is the stable name of the port on the host; absent: the port is recognised by iface-id or MAC.
	Interface string `yaml:"interface" weft:"format=nicname"`
	// SecurityGroups of the NIC, in a network that has the service; absent: the account's group `default`, without one nothing comes
	// in and everything may leave.
	SecurityGroups []Ref `yaml:"securityGroups"`
	// Rate per direction in Mbit/s, 0: unlimited; absent: the offering's.
	Rate *Rate `yaml:"rate"`
	// Link state of the port.
	Link string `yaml:"link" weft:"enum=Up|Down,default=Up"`
	// DHCPOptions are further DHCP options by number.
	DHCPOptions map[int]string `yaml:"dhcpOptions" weft:"format=dhcpoption"`
	// AntiSpoof: only the NIC's MAC and addresses leave the port (in an L2 network: only its MAC).
	AntiSpoof bool `yaml:"antiSpoof" weft:"default=true"`
	// AllowedAddresses may leave the port beside the NIC's own (VRRP, clusters).
	AllowedAddresses []AllowedAddress `yaml:"allowedAddresses"`
}

// AllowedAddress may leave a port beside the NIC's own addresses.
type AllowedAddress struct {
	At Pos32 `yaml:"-"`
	// CIDR of the addresses.
	CIDR netip.Prefix `yaml:"cidr" weft:"required"`
	// MAC that they are used with; absent: the NIC's.
	MAC MAC `yaml:"mac"`
}

// Target is a NIC of a VM that traffic is sent to.
type Target struct {
	At Pos32 `yaml:"-"`
	// VM that the traffic goes to.
	VM Ref `yaml:"vm" weft:"required"`
	// NIC of the VM by name; absent: its only one in the network.
	NIC string `yaml:"nic" weft:"format=name"`
	// IP of the NIC, one of its secondaryIPs; absent: its own.
	IP netip.Addr `yaml:"ip"`
}

// PublicIP is a public address of an account and what it does; without network it is reserved.
type PublicIP struct {
	// Zone of the address; may be left out where the tree has one zone or the network implies it.
	Zone string `yaml:"zone" weft:"format=name"`
	// Network that the address serves.
	Network Ref `yaml:"network"`
	// VPC that the address serves.
	VPC Ref `yaml:"vpc"`
	// Range that the address is of; may be left out where only one fits.
	Range string `yaml:"range" weft:"format=name"`
	// Address; absent: allocated.
	Address netip.Addr `yaml:"address"`
	// SourceNat: this is the network's source NAT address.
	SourceNat bool `yaml:"sourceNat" weft:"default=false"`
	// StaticNat gives the address to one VM; excludes portForwarding and load balancers on it.
	StaticNat *Target `yaml:"staticNat"`
	// PortForwarding maps ports of the address to VMs.
	PortForwarding []PortForward `yaml:"portForwarding" weft:"unique=name"`
	// Firewall says what may come in at the address. For a network: absent and empty are the same, nothing comes in.
	// For a VPC: absent is not filtered here, empty is nothing.
	Firewall []FirewallRule `yaml:"firewall" weft:"unique=name"`
}

// PortForward maps public ports to a VM.
type PortForward struct {
	At Pos32 `yaml:"-"`
	// Name of the rule, unique in the list and stable; order in the list means nothing.
	Name string `yaml:"name" weft:"required,format=name"`
	// Protocol that is forwarded.
	Protocol string `yaml:"protocol" weft:"required,enum=tcp|udp"`
	// Ports of the public address.
	Ports Ports `yaml:"ports" weft:"required"`
	// To is the VM that they are forwarded to.
	To Target `yaml:"to" weft:"required"`
	// ToPorts of the VM, as many as ports, mapped in order; absent: the same.
	ToPorts Ports `yaml:"toPorts"`
	// Sources that may use the rule; absent: everywhere. The firewall decides beside it.
	Sources []netip.Prefix `yaml:"sources"`
}

// PortPair is a range of public ports and the private ports they are mapped to, of equal length.
type PortPair struct {
	Public, Private PortRange
}

// Pairs returns the mapping in the order written.
func (f *PortForward) Pairs() []PortPair {
	pairs := make([]PortPair, len(f.Ports))
	for i, r := range f.Ports {
		pairs[i] = PortPair{Public: r, Private: r}
		if i < len(f.ToPorts) {
			pairs[i].Private = f.ToPorts[i]
		}
	}
	return pairs
}

// FirewallRule opens a public address.
type FirewallRule struct {
	At Pos32 `yaml:"-"`
	// Name of the rule, unique in the list and stable; order in the list means nothing.
	Name string `yaml:"name" weft:"required,format=name"`
	// Protocol that the rule matches.
	Protocol string `yaml:"protocol" weft:"required,enum=tcp|udp|icmp"`
	// Ports of the public address, before any translation; absent: all. Only tcp and udp.
	Ports Ports `yaml:"ports"`
	// ICMPType that the rule matches; absent: all. Only icmp.
	ICMPType *int `yaml:"icmpType" weft:"min=0,max=255"`
	// ICMPCode that the rule matches; absent: all. Only with icmpType.
	ICMPCode *int `yaml:"icmpCode" weft:"min=0,max=255"`
	// Sources that may come in; absent: everywhere.
	Sources []netip.Prefix `yaml:"sources"`
}
