package resource

import (
	"net/netip"
)

// NS is a named network namespace that weft makes. Inside it everything is
// weft's.
type NS struct {
	Name  string `json:"name"`
	Owner Owner  `json:"owner"` // written as the alias of lo
	// Health is how its services are looked after; nil: not at all.
	Health *Health `json:"health,omitempty"`
}

// ID implements State.
func (n NS) ID() ID { return ID{KindNS, n.Name} }

// Needs implements State.
func (NS) Needs() []ID { return nil }

// Fingerprint implements State.
func (n NS) Fingerprint() uint64 {
	return newHash(string(KindNS)).str(n.Name).str(string(n.Owner)).sum()
}

// Fields implements State.
func (n NS) Fields() []Field { return []Field{{Name: "owner", Value: string(n.Owner)}} }

// Link is a network interface. With Host set it is a veth pair: Name inside
// namespace NS, Host the other end in the host's namespace. Without, it is a
// link of the host's namespace that something else makes (the local port of a
// bridge, an uplink) of which weft sets what is given here. With Bridge, VLAN or
// VXLAN set weft makes it as that, in the host's namespace.
type Link struct {
	NS   string `json:"ns,omitempty"`
	Name string `json:"name"`
	Host string `json:"host,omitempty"`
	MAC  string `json:"mac,omitempty"`
	MTU  int    `json:"mtu,omitempty"` // of both ends; 0 = not set by weft
	Up   bool   `json:"up"`
	// Of is the bridge whose local port this is.
	Of string `json:"of,omitempty"`
	// TxOff switches transmit checksum offload off on the inner end, without
	// which TCP through a userspace datapath fails.
	TxOff bool `json:"txOff,omitempty"`
	// Takeover moves what the link has of addresses and routes away; they come back
	// when weft lets go of it.
	Takeover *Takeover `json:"takeover,omitempty"`
	// Meter is what its counters are of, in a namespace; nil: of nothing that is told.
	Meter *Meter `json:"meter,omitempty"`
	// At most one of these is set, and then neither Host nor Of.
	Bridge *LinuxBridge `json:"bridge,omitempty"`
	VLAN   *VLAN        `json:"vlan,omitempty"`
	VXLAN  *VXLAN       `json:"vxlan,omitempty"`
}

// A Takeover says where the addresses and routes of a link move to. What is not
// named here must not be on the link: it would be lost.
type Takeover struct {
	Bridge string `json:"bridge"`
	// Addresses and Ways are what the bridge has instead.
	Addresses []netip.Prefix `json:"addresses,omitempty"`
	Ways      []Way          `json:"ways,omitempty"`
}

// A Way is where a route leads, and by which gateway; without one it leads straight
// there.
type Way struct {
	Dst netip.Prefix `json:"dst"`
	Via netip.Addr   `json:"via,omitzero"`
}

// print is the bridge alone: the rest is a condition, not a state.
func (t *Takeover) print() string {
	if t == nil {
		return ""
	}
	return t.Bridge
}

// ID implements State.
func (l Link) ID() ID { return LinkID(l.NS, l.Name) }

// LinkID is the ID of link name in namespace ns ("" is the host's).
func LinkID(ns, name string) ID { return ID{KindLink, ns + "/" + name} }

// Parent implements Contained.
func (l Link) Parent() ID {
	switch {
	case l.NS != "":
		return ID{KindNS, l.NS}
	case l.Of != "":
		return ID{KindBridge, l.Of}
	case l.below() != "":
		return LinkID("", l.below())
	}
	return ID{}
}

// Needs implements State.
func (l Link) Needs() []ID {
	if l.VXLAN != nil && l.VXLAN.Endpoint != nil {
		return []ID{*l.VXLAN.Endpoint}
	}
	return nil
}

// Adopts implements Adopter: a link that weft does not make only gets its
// settings.
func (l Link) Adopts() bool { return l.Sort() == "" || l.Bridge != nil && l.Bridge.Adopt }

// Claims implements Claimant: the name of the outer end, and what the kernel
// gives to one VLAN or VXLAN only.
func (l Link) Claims() []string {
	if l.Host == "" {
		return l.specialClaims()
	}
	return []string{"link " + l.Host + " of the host"}
}

// Fingerprint implements State.
func (l Link) Fingerprint() uint64 {
	h := newHash(string(KindLink)).str(l.NS).str(l.Name).str(l.Host).str(l.MAC).num(uint64(l.MTU)).flag(l.Up).str(l.Of).flag(l.TxOff).opt(l.Takeover.print())
	return l.special(h).sum()
}

// Fields implements State.
func (l Link) Fields() []Field {
	return append([]Field{
		{Name: "host-end", Value: l.Host, Fixed: true},
		{Name: "mac", Value: l.MAC},
		{Name: "mtu", Value: number(l.MTU)},
		{Name: "up", Value: boolean(l.Up)},
		{Name: "tx-checksum-off", Value: boolean(l.TxOff)},
		{Name: "taken-over-by", Value: l.Takeover.print()},
	}, l.specialFields()...)
}

// Addr is an address of a link.
type Addr struct {
	NS   string `json:"ns,omitempty"`
	Link string `json:"link"`
	// Prefix is the address with its prefix length, unmasked.
	Prefix netip.Prefix `json:"prefix"`
	// After is what has to be in place before, such as the setting that switches
	// IPv6 on.
	After *ID `json:"after,omitempty"`
	// With says that a daemon gives and takes it: it is to be there exactly when that
	// address is, which may be this one.
	With *ID `json:"with,omitempty"`
}

// ID implements State.
func (a Addr) ID() ID { return AddrID(a.NS, a.Link, a.Prefix) }

// AddrID is the ID of an address.
func AddrID(ns, link string, p netip.Prefix) ID {
	return ID{KindAddr, ns + "/" + link + "/" + p.String()}
}

// Parent implements Contained: addresses vanish with their link.
func (a Addr) Parent() ID { return LinkID(a.NS, a.Link) }

// Needs implements State.
func (a Addr) Needs() []ID {
	if a.After != nil {
		return []ID{*a.After}
	}
	return nil
}

// Claims implements Claimant.
func (a Addr) Claims() []string {
	return []string{"address " + a.Prefix.Addr().String() + " in " + a.NS}
}

// Fingerprint implements State.
func (a Addr) Fingerprint() uint64 {
	return newHash(string(KindAddr)).str(a.NS).str(a.Link).str(a.Prefix.String()).opt(withName(a.With)).sum()
}

// Fields implements State.
func (a Addr) Fields() []Field { return withField(a.With) }

func withName(with *ID) string {
	if with == nil {
		return ""
	}
	return "with " + with.Name
}

func withField(with *ID) []Field {
	if with == nil {
		return nil
	}
	return []Field{{Name: "comes-with", Value: with.Name}}
}

// Route is a route with weft's protocol number.
type Route struct {
	NS  string       `json:"ns,omitempty"`
	Dst netip.Prefix `json:"dst"` // masked; 0.0.0.0/0 is the default route
	Via netip.Addr   `json:"via"` // zero = on link
	Dev string       `json:"dev"`
	// From is the net.addr that makes Via reachable, if weft sets it.
	From *ID `json:"from,omitempty"`
	// With is that of Addr: a daemon gives and takes the route with that address.
	With *ID `json:"with,omitempty"`
}

// ID implements State. One route per destination in the main table.
func (r Route) ID() ID { return ID{KindRoute, r.NS + "/" + r.Dst.String()} }

// Parent implements Contained: routes vanish with their link.
func (r Route) Parent() ID { return LinkID(r.NS, r.Dev) }

// Needs implements State.
func (r Route) Needs() []ID {
	if r.From != nil {
		return []ID{*r.From}
	}
	return nil
}

// Fingerprint implements State.
func (r Route) Fingerprint() uint64 {
	return newHash(string(KindRoute)).str(r.NS).str(r.Dst.String()).str(r.Via.String()).str(r.Dev).opt(withName(r.With)).sum()
}

// Fields implements State.
func (r Route) Fields() []Field {
	via := ""
	if r.Via.IsValid() {
		via = r.Via.String()
	}
	return append([]Field{{Name: "via", Value: via}, {Name: "dev", Value: r.Dev, Fixed: true}}, withField(r.With)...)
}

// Sysctl is a kernel setting inside a namespace of weft's.
type Sysctl struct {
	NS    string `json:"ns"`
	Key   string `json:"key"` // with dots: net.ipv4.ip_forward
	Value string `json:"value"`
	// After lists what has to be in place before, such as the chain that filters
	// what ip_forward lets pass; Link is the link the key is about.
	After []ID `json:"after,omitempty"`
	Link  *ID  `json:"link,omitempty"`
}

// ID implements State.
func (s Sysctl) ID() ID { return ID{KindSysctl, s.NS + "/" + s.Key} }

// Parent implements Contained.
func (s Sysctl) Parent() ID {
	if s.Link != nil {
		return *s.Link
	}
	return ID{KindNS, s.NS}
}

// Needs implements State.
func (s Sysctl) Needs() []ID { return s.After }

// Fingerprint implements State.
func (s Sysctl) Fingerprint() uint64 {
	return newHash(string(KindSysctl)).str(s.NS).str(s.Key).str(s.Value).sum()
}

// Fields implements State.
func (s Sysctl) Fields() []Field { return []Field{{Name: "value", Value: s.Value}} }
