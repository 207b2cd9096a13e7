package lab

import (
	"net/netip"
	"slices"
	"strings"

	"weft.dev/reconcile/lab/libvirt"
	"weft.dev/reconcile/lab/node"
)

// RepoPath is where the agents find the lab's repository.
const RepoPath = node.Dir + "/repo.git"

// Spec is a lab as a value: what there is besides weft's own doing. It says nothing of networks or routers; the agents
// build these.
type Spec struct {
	Hosts   []Host       `json:"hosts,omitempty"`
	Wires   []Wire       `json:"wires,omitempty"`
	Ranges  []Range      `json:"ranges,omitempty"`
	VMs     []VM         `json:"vms,omitempty"`
	World   []netip.Addr `json:"world,omitempty"`   // addresses of the internet beside gateways; those in a range are left out
	DNS     []netip.Addr `json:"dns,omitempty"`     // those of the world that answer DNS
	Routes  []Route      `json:"routes,omitempty"`  // of the internet, towards networks behind routers: an operator's task elsewhere
	Secrets string       `json:"secrets,omitempty"` // directory shown read-only at /etc/weft of every host
}

// DefaultWorld are addresses that the internet has in any lab.
var DefaultWorld = []netip.Addr{
	netip.MustParseAddr("8.8.8.8"),
	netip.MustParseAddr("198.51.100.5"), // a client or server somewhere
	netip.MustParseAddr("198.51.100.6"), // and another, outside of source restrictions that let in the first
	netip.MustParseAddr("2001:4860:4860::8888"),
}

// Wire is a broadcast domain between hosts: tagged and untagged frames pass.
type Wire struct {
	Name string `json:"name"`          // any unique text, e.g. zone and label
	MTU  int    `json:"mtu,omitempty"` // 0: 1500
}

// Host is a machine with a switch of its own and an agent.
type Host struct {
	Name    string   `json:"name"`
	Bridges []Bridge `json:"bridges,omitempty"`
	Agent   []string `json:"agent,omitempty"` // command line; empty: none. `weft` is this program
	Env     []string `json:"env,omitempty"`   // of the agent
}

// Manage says who makes a bridge.
type Manage string

// Who makes a bridge: weft; the operator, before weft comes; weft, taking over an address that is on the uplink.
const (
	Create   Manage = "Create"
	Use      Manage = "Use"
	Takeover Manage = "Takeover"
)

// Bridge is a labelled bridge of a host with its uplinks, all of which are plugged into one wire.
type Bridge struct {
	Name    string       `json:"name"`
	Wire    string       `json:"wire"`
	Manage  Manage       `json:"manage,omitempty"` // default Create
	Uplinks []string     `json:"uplinks,omitempty"`
	Linux   bool         `json:"linux,omitempty"` // of the kernel's; else of Open vSwitch's
	Address netip.Prefix `json:"address,omitzero"`
	Gateway netip.Addr   `json:"gateway,omitzero"`
	Routes  []Route      `json:"routes,omitempty"`
}

// Route is a static route of a host, or of the internet.
type Route struct {
	To  netip.Prefix `json:"to"`
	Via netip.Addr   `json:"via"`
}

// Range is a public address range, whose gateways the internet owns.
type Range struct {
	Name     string         `json:"name"`
	Wire     string         `json:"wire"`
	VLAN     int            `json:"vlan,omitempty"` // 0: untagged
	Gateways []netip.Prefix `json:"gateways"`       // the gateway's address with the length of the range's prefix
	Prefixes []Prefix       `json:"prefixes,omitempty"`
}

// Prefix is what the gateway of a Shared network advertises.
type Prefix struct {
	Of      netip.Prefix `json:"of"`
	Managed bool         `json:"managed,omitempty"` // guests have addresses by DHCPv6; else they make them
}

// VM is a running guest.
type VM struct {
	Name     string `json:"name"` // account/name
	Host     string `json:"host"`
	Hostname string `json:"hostname,omitempty"` // default: the last part of Name
	NICs     []NIC  `json:"nics"`               // eth0, eth1, ... in the guest
	Runtime  string `json:"runtime,omitempty"`  // default: a namespace
}

// Qemu is the runtime of a guest that is a real machine: QEMU in software emulation under its host's libvirt.
const Qemu = "qemu"

// NIC is a network card of a guest.
type NIC struct {
	Name      string         `json:"name"`
	MAC       string         `json:"mac"`
	Default   bool           `json:"default,omitempty"`   // its routes and resolvers come first; else the first NIC's do
	Interface string         `json:"interface,omitempty"` // name on the host, where weft plugs it; empty: plugged as libvirt does
	Down      bool           `json:"down,omitempty"`      // its port carries nothing: it gets no lease
	DHCP      bool           `json:"dhcp,omitempty"`
	Addresses []netip.Prefix `json:"addresses,omitempty"` // static; beside DHCP: secondary ones
	Gateway   netip.Addr     `json:"gateway,omitzero"`    // static
	DNS       []netip.Addr   `json:"dns,omitempty"`       // static
	Domain    string         `json:"domain,omitempty"`    // static
	MTU       int            `json:"mtu,omitempty"`       // static, or more than 1500: what DHCP may set; 0: 1500
	IP6       string         `json:"ip6,omitempty"`       // SLAAC or DHCPv6: how it gets its IPv6 address
	// Linux: weft finds the port by its MAC and plugs it, into a bridge of the kernel's; else the lab plugs it as libvirt does.
	Linux bool `json:"linux,omitempty"`
	// Element is how libvirt plugs the NIC of a guest with runtime Qemu.
	Element *libvirt.Interface `json:"element,omitempty"`
}

// byLab reports whether the lab plugs the NIC of a guest that is a namespace.
func (n NIC) byLab() bool { return n.Interface == "" && !n.Linux }

// tap is the MAC of the host's end of a NIC on a bridge of the kernel's: as hypervisors have it, the guest's with fe in
// front. Elsewhere it is the kernel's choice.
func (n NIC) tap() string {
	if !n.Linux || len(n.MAC) < 2 {
		return ""
	}
	return "fe" + strings.ToLower(n.MAC[2:])
}

// mtu is the size that the cable of a NIC carries.
func (n NIC) mtu() int { return max(1500, n.MTU) }

func (v VM) hostname() string {
	if v.Hostname != "" {
		return v.Hostname
	}
	_, name, _ := cutLast(v.Name)
	return name
}

// metric orders the routes and resolvers of NICs: that of the default one is 0.
func (v VM) metric(i int) int {
	stated := slices.IndexFunc(v.NICs, func(n NIC) bool { return n.Default })
	if i == max(stated, 0) {
		return 0
	}
	return 100 + i
}

func (w Wire) mtu() int {
	if w.MTU == 0 {
		return 1500
	}
	return w.MTU
}
