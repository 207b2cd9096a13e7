package schema

import "net/netip"

// Host is a machine that carries VMs, routers, or both.
type Host struct {
	// Zone that the host is in; may be left out where the tree has one zone.
	Zone string `yaml:"zone" weft:"format=name"`
	// Pod that the host is in.
	Pod string `yaml:"pod" weft:"format=name"`
	// State: `Enabled`; `Maintenance`: `weft lock` moves its routers away; `Disabled`: frozen, nothing is changed or
	// removed on it.
	State string `yaml:"state" weft:"enum=Enabled|Maintenance|Disabled,default=Enabled"`
	// Bridges are the labels that the host offers: those of Guest traffic where VMs of their networks may run, those
	// of Public traffic where routers may run.
	Bridges []HostBridge `yaml:"bridges" weft:"unique=name"`
	// TunnelIP is the address where tunnels end; absent: that of the Guest label's bridge.
	TunnelIP netip.Addr `yaml:"tunnelIP"`
	// OVS says how to reach Open vSwitch on the host.
	OVS OVSSettings `yaml:"ovs"`
	// Routers are settings of router placement.
	Routers HostRouters `yaml:"routers"`
	// Facts are what CI may assume of the host; absent ones are taken from the last snapshot, else those of stock
	// Debian, and the plan says so.
	Facts *HostFacts `yaml:"facts"`
}

// HostBridge is a label's bridge on a host.
type HostBridge struct {
	At Pos32 `yaml:"-"`
	// Name of the bridge: the label of a physical network's traffic.
	Name string `yaml:"name" weft:"required,format=ifname"`
	// Manage: `Create`: made if absent, one that exists is used and foreign ports are left alone, an uplink that
	// carries an address is refused; `Use`: must exist, only ports of weft are plugged; `Takeover`: the uplink and its
	// address, gateway and routes move to the bridge, with `weft apply --confirm-timeout` only.
	Manage string `yaml:"manage" weft:"enum=Create|Use|Takeover,default=Create"`
	// Uplinks are the network interfaces that connect the bridge to the wire.
	Uplinks []string `yaml:"uplinks" weft:"format=ifname"`
	// Bond joins several uplinks into one port of the bridge, on Open vSwitch.
	Bond *Bond `yaml:"bond"`
	// Address of the bridge with its prefix length; tunnels end here unless tunnelIP says otherwise.
	Address netip.Prefix `yaml:"address" weft:"format=hostaddr"`
	// Gateway of the host through this bridge.
	Gateway netip.Addr `yaml:"gateway"`
	// Routes of the host through this bridge.
	Routes []Route `yaml:"routes" weft:"unique=cidr"`
}

// Bond joins the uplinks of a bridge.
type Bond struct {
	// Name of the bond.
	Name string `yaml:"name" weft:"required,format=ifname"`
	// Mode in Open vSwitch's words.
	Mode string `yaml:"mode" weft:"enum=active-backup|balance-slb|balance-tcp,default=active-backup"`
	// LACP in Open vSwitch's words.
	LACP string `yaml:"lacp" weft:"enum=off|active|passive,default=off"`
}

// Route is a static route.
type Route struct {
	At Pos32 `yaml:"-"`
	// CIDR of the destination.
	CIDR netip.Prefix `yaml:"cidr" weft:"required"`
	// Via is the next hop.
	Via netip.Addr `yaml:"via" weft:"required"`
}

// OVSSettings says how to reach Open vSwitch on a host.
type OVSSettings struct {
	// DB is the address of ovsdb-server: `unix:PATH`.
	DB string `yaml:"db" weft:"default=unix:/run/openvswitch/db.sock,format=ovsdb"`
	// Datapath: `system` (the kernel's) or `netdev` (userspace).
	Datapath string `yaml:"datapath" weft:"enum=system|netdev,default=system"`
}

// HostRouters are settings of router placement.
type HostRouters struct {
	// Weight is the host's share of the routers placed; 0: none.
	Weight int `yaml:"weight" weft:"default=1,min=0,max=1000"`
}

// HostFacts are what CI may assume of a host. Absent fields are not stated.
type HostFacts struct {
	// ESP: the kernel encrypts IPsec.
	ESP *bool `yaml:"esp"`
	// WireGuard: the kernel has WireGuard.
	WireGuard *bool `yaml:"wireguard"`
	// PPP: the kernel has PPP (L2TP).
	PPP *bool `yaml:"ppp"`
	// VLANDevices: the kernel has 802.1q devices.
	VLANDevices *bool `yaml:"vlanDevices"`
	// Rootless: weft runs in a user namespace.
	Rootless *bool `yaml:"rootless"`
	// IPTables is the variant that `iptables` is on the host.
	IPTables *string `yaml:"iptables" weft:"enum=nft|legacy"`
	// OVSVersion is the version of Open vSwitch, such as `3.1.0`.
	OVSVersion *string `yaml:"ovsVersion" weft:"format=version"`
	// STT: the switch has STT tunnels.
	STT *bool `yaml:"stt"`
}
