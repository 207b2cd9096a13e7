// Package model resolves documents into what they mean together: zones with
// their hosts and fabrics, and for each guest network one unit that knows its
// NICs, public addresses, router and numbers.
//
// In go documents (schema) and numbers (a lock); out come values, diagnostics
// and the demands that the allocator fills. It is pure. Compile, plugins, alloc
// and cmd import it; it imports schema, and resource for the names of what a
// router consists of on its host.
package model

import (
	"net/netip"
	"sync"

	"weft.dev/schema"
)

// A Site is the shared ground that units stand on: everything of the
// infrastructure kinds, resolved. It is immutable; a part that did not change
// keeps its pointer from one Site to the next, so that units can be reused.
type Site struct {
	Zones     map[string]*Zone
	Hosts     map[string]*Host
	Offerings map[string]*Offering // the built-in ones too
	// VPCOfferings are offerings of VPCs, the built-in ones too, in the words of
	// those of networks.
	VPCOfferings map[string]*Offering
	Accounts     map[string]*Account // "system" too

	// Ranges and Physical are those of all zones by name.
	Ranges   map[string]*PublicRange
	Physical map[string]*PhysicalNetwork
	// Invalid are the documents of the infrastructure kinds that could not be
	// read or resolved: what stands on them cannot be judged. The value says why.
	Invalid map[schema.ID]string

	pods map[string]*schema.Document
}

// Zone is a zone with all that lies in it. Its pointer changes whenever
// anything below it changes.
type Zone struct {
	Name     string
	Doc      *schema.Document
	Spec     *schema.Zone
	Hosts    []*Host            // by name, in every state
	Physical []*PhysicalNetwork // by name
	Ranges   []*PublicRange     // by name
	Pods     []*schema.Document // by name
	// Providers are the DNS servers that networks may have told, by name.
	Providers []*Provider
	// Invalid says why nothing in the zone can be judged, or is "".
	Invalid string

	wires     map[string]*wire // by label
	outside   []*Host          // where NICs were seen that are not expected
	dedicated []dedication     // in order
	vnets     map[*PhysicalNetwork]*vnetPool
	memo      sync.Map // *HostPool and []*Host by what they are asked for
}

// Host is a machine.
type Host struct {
	Name string
	Doc  *schema.Document
	Spec *schema.Host
	Zone string
	// TunnelIP is where tunnels end: spec.tunnelIP, else the address of the
	// first bridge that has one; zero when there is none.
	TunnelIP netip.Addr
	Facts    Facts
}

// Bridge returns the host's bridge called label, or nil.
func (h *Host) Bridge(label string) *schema.HostBridge {
	for i := range h.Spec.Bridges {
		if h.Spec.Bridges[i].Name == label {
			return &h.Spec.Bridges[i]
		}
	}
	return nil
}

// Facts are what a host can do: an input of compile, comparable. They change
// how a thing is made, never who reaches whom.
type Facts struct {
	Instance    string // of weft on that host; "weft" when unknown
	ESP         bool
	WireGuard   bool
	PPP         bool
	VLANDevices bool
	STT         bool
	// Datapath overrides what the Host document says; "" does not. The lab sets it.
	Datapath   string
	OVSVersion string
	IPTables   string // nft | legacy
	Rootless   bool
	// Outside are NICs, account/vm/nic, sorted and each with a space after it, whose
	// ports were seen on the host, though it is none of their VMs' hosts.
	Outside string
	// Assumed facts come from no host: stock Debian.
	Assumed bool
}

// PhysicalNetwork is one fabric of a zone.
type PhysicalNetwork struct {
	Name   string
	Doc    *schema.Document
	Spec   *schema.PhysicalNetwork
	Guest  string // label of guest traffic, or ""
	Public string // label of public traffic, or ""
	// Management and Storage are the labels of the hosts' own traffic, or "".
	Management, Storage string
	Zone                string
}

// PublicRange is a range of public addresses.
type PublicRange struct {
	Name     string
	Doc      *schema.Document
	Spec     *schema.PublicIPRange
	Physical *PhysicalNetwork // with a Public label
	Zone     string
}

// Offering is a network offering; Doc is nil for a built-in one.
type Offering struct {
	Pairs bool // of a VPC: its routers are redundant
	Name  string
	Doc   *schema.Document
	Spec  *schema.NetworkOffering
}

// Account owns tenant documents; Doc is nil for "system".
type Account struct {
	Name string
	Doc  *schema.Document
	Spec *schema.Account
}

// A Lifecycle is a network's state, derived, as CloudStack calls it.
type Lifecycle string

// The lifecycle states of a network.
const (
	Allocated   Lifecycle = "Allocated"   // numbers only
	Implemented Lifecycle = "Implemented" // a NIC runs, or it is persistent
)

// Network is the unit of compilation: one guest network with all that belongs
// to it. Everything is resolved; numbers are filled in from the lock.
type Network struct {
	ID       schema.ID
	Doc      *schema.Document
	Spec     *schema.Network
	Zone     *Zone
	Account  *Account
	Offering *Offering
	Physical *PhysicalNetwork
	State    Lifecycle

	// CIDR and Gateway are those of the first subnet; zero in an L2 network.
	CIDR    netip.Prefix
	Gateway netip.Addr
	Subnets []*Subnet    // by name; none in an L2 network
	IP6     *IP6         // of the first segment that has it; nil without IPv6
	Domain  string       // DNS domain of the guests
	DNS     []netip.Addr // upstream resolvers: nearest of network, zone
	MTU     int          // of the guests' frames
	// Published says where the names of its machines are told; nil: nowhere.
	Published *Published
	// Scheme and VNet are the broadcast domain of the first segment: vlan 100,
	// vxlan 5001; native is VLAN 0.
	Scheme string
	VNet   uint32
	// Segments are the broadcast domains: one, but where subnets have a VLAN of
	// their own or are those of pods. At least one where the physical network is
	// known.
	Segments []*Segment

	// Tier is the VPC that it is a tier of; nil for others.
	Tier *Tier

	// Wide: what the network is depends on other networks and groups too.
	Wide bool
	// CTZone is where hosts track the connections of a network with security
	// groups; 0 without.
	CTZone uint16

	NICs      []*NIC      // by ID, Running ones only when the host side is meant: see NIC.Running
	IPs       []*PublicIP // by ID
	Balancers []*Balancer // by ID
	VPNs      []*VPN      // by ID
	Router    *Router     // of the first segment; nil when the offering's services need none, or nothing runs

	// Hosts are those that carry the network: where a running NIC may appear,
	// and the routers'. By name.
	Hosts []*Host
	// Guests are other accounts that the network depends on: those that it is
	// shared with by name, and those of VMs in it.
	Guests []*Account

	// Demands lists the numbers this unit needs, whether found or not.
	Demands []Demand
	// Missing are the demands that the lock does not answer, or no longer
	// fittingly: the unit is held.
	Missing []Demand
	// Blocked says why the network cannot be judged though nothing is wrong
	// with its own documents, or is "".
	Blocked string
	// Suspended says which document suspends the network, or is "".
	Suspended string
}

// NIC is one network interface of a virtual machine in this network.
type NIC struct {
	ID        string // account/vm/nic: iface-id, lock owner nic/ID
	VM        *schema.Document
	VMSpec    *schema.VirtualMachine
	Spec      *schema.NIC
	Pos       schema.Pos
	Name      string
	Hostname  string
	IP        netip.Addr // zero in an L2 network
	IP6       netip.Addr // zero in a network without IPv6
	Subnet    *Subnet    // that IP is of; nil without
	Segment   *Segment   // nil while IP is not known and there are several
	MAC       schema.MAC
	Interface string // host-side name to plug, or "": the port is recognised
	Running   bool
	Default   bool   // carries the VM's default route
	Host      string // where it is expected; "" = any of Hosts
	Hosts     []string
	// Outside are those of Hosts where nobody expects the NIC, but where it is.
	Outside []string
	Groups  *Groups // nil where the network has no security groups
}

// PublicIP is a public address that belongs to the network.
type PublicIP struct {
	ID        schema.ID
	Doc       *schema.Document
	Spec      *schema.PublicIP
	Range     *PublicRange
	Addr      netip.Addr
	SourceNAT bool
	StaticNAT *NIC
	StaticTo  netip.Addr // the address of StaticNAT that it leads to
	Forwards  []Forward
}

// Forward is one resolved port forwarding rule.
type Forward struct {
	Spec *schema.PortForward
	NIC  *NIC
	To   netip.Addr // the NIC's address that it leads to
}

// A Demand asks the lock for one number.
type Demand struct {
	Owner string // "network/acme/web", "subnet/acme/web/a", "nic/acme/web-1/web", "publicip/acme/vip"
	Field string // see the Field constants
	Pool  Pool
	// Fixed is the number that the document states, or "".
	Fixed string
	// Formerly is the owner that the number was under before a rename, or "".
	Formerly string
	// Apart is the field of the same owner that must have another value: the hosts of
	// a pair of routers.
	Apart string
	// Shares says with whom the number may be shared: demands that say the same,
	// and not "", may have equal ones.
	Shares string
	Pos    schema.Pos
}

// The fields of a lock.
const (
	FieldVNet      = "vnet"
	FieldIP        = "ip"
	FieldIP6       = "ip6" // of a network its /64, of a NIC the lower half of its address
	FieldMAC       = "mac"
	FieldAddress   = "address"    // of a PublicIP
	FieldSourceNAT = "sourcenat"  // of a network without a PublicIP that says sourceNat
	FieldHost      = "router"     // host of the router
	FieldGuestIP   = "router-ip"  // of a router that is not its network's gateway, or not alone
	FieldGuestIP6  = "router-ip6" // likewise, the lower half
	FieldHost2     = "router-2"   // of the second of a pair, and so on
	FieldGuestIP2  = "router-ip-2"
	FieldGuestMAC2 = "router-mac-2"
	FieldVRID      = "vrrp-id"
	FieldLead      = "vrrp-tier"
	FieldGuestMAC  = "router-mac" // of the router's guest NIC
	FieldPublicMAC = "public-mac" // of the router's public NIC
	FieldPublicIP6 = "public-ip6" // of the router, beside SourceNAT
	FieldCTZone    = "ct-zone"    // connection tracking zone of a network with security groups
	FieldSecondary = "pvlan"      // secondary VLAN of a private VLAN
	// FieldUser and a user's name are the address of a user of a RemoteAccessVPN.
	FieldUser = "user/"
	// FieldSharedVNet instead of FieldVNet: other networks may have the number too.
	FieldSharedVNet = "shared-vnet"
)

// A Pool is where a number comes from. Pools of one Space share what is taken:
// a value is given once per Space.
type Pool interface {
	// Space names what values must be unique in, such as "vlan on zone1/cloudbr1".
	// Pools of hosts return "": many routers may have one host.
	Space() string
	// Describe names the pool for people: "VNI in guest-fabric".
	Describe() string
	// Size counts the candidates.
	Size() uint64
	// At is candidate i, 0 <= i < Size.
	At(i uint64) string
	// Contains reports whether value may be held, explicit ones included
	// where allowed; false makes an entry "outside its pool".
	Contains(value string) bool
}

// Numbers answers demands; a lock does.
type Numbers interface {
	// Number returns the value of owner's field, or "".
	Number(owner, field string) string
}
