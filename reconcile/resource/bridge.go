package resource

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// LinuxBridge makes a Link a bridge of the kernel's, without spanning tree.
type LinuxBridge struct {
	// Snooping sends multicast only where somebody asked for it. Without a querier
	// in the network that loses frames, IPv6 neighbour discovery among them.
	Snooping bool `json:"snooping,omitempty"`
	// Deaf bridges are for guests only: the host itself neither answers ARP nor
	// speaks IPv6 there.
	Deaf bool `json:"deaf,omitempty"`
	// Adopt uses a foreign bridge of that name, as it is, where there is one.
	Adopt bool `json:"adopt,omitempty"`
}

// VLAN makes a Link the tagged part of another link, which has to be a Link of
// the host too: this one vanishes with it.
type VLAN struct {
	Dev string `json:"dev"`
	ID  int    `json:"id"` // 1 to 4094
}

// VXLAN makes a Link a VXLAN tunnel of the kernel's: a mesh of FDB entries, one
// multicast group, or what a routing daemon of the host makes of it.
type VXLAN struct {
	VNI     uint32     `json:"vni"`
	Local   netip.Addr `json:"local"`
	DstPort int        `json:"dstPort"` // 4789 is IANA's
	// TTL of the outer packets, 0 for the kernel's choice.
	TTL int `json:"ttl,omitempty"`
	// Learning takes remote MACs from what arrives. Without it Peers has to
	// name them all, or frames to others go to every remote.
	Learning bool `json:"learning,omitempty"`
	// Remotes get what is for everybody, and what is for a MAC that is not
	// known (head-end replication). Sorted.
	Remotes []netip.Addr `json:"remotes,omitempty"`
	// Peers say behind which remote a MAC is. Sorted by MAC.
	Peers []Peer `json:"peers,omitempty"`
	// Group is the multicast group that Dev joins instead of Remotes.
	Group netip.Addr `json:"group,omitzero"`
	Dev   string     `json:"dev,omitempty"`
	// External leaves the FDB to a routing daemon of the host's (BGP EVPN), which
	// marks what is for everybody like anybody else: weft then neither puts entries
	// there nor looks at them. Without Learning, Remotes, Peers and Group.
	External bool `json:"external,omitempty"`
	// Joined says that other hosts of the tree have the VXLAN, so that the daemon
	// should know remotes. It is for people, no state of the link.
	Joined bool `json:"joined,omitempty"`
	// Endpoint is the net.addr that carries Local, where weft makes it.
	Endpoint *ID `json:"endpoint,omitempty"`
}

// A Peer is a MAC behind another host.
type Peer struct {
	MAC    string     `json:"mac"` // lower case, with colons
	Remote netip.Addr `json:"remote"`
}

// ComparePeers orders by MAC, then by remote.
func ComparePeers(a, b Peer) int {
	return cmp.Or(strings.Compare(a.MAC, b.MAC), a.Remote.Compare(b.Remote))
}

// Sort is what weft makes of a link: "veth", "bridge", "vlan" or "vxlan", or ""
// for a link that something else makes.
func (l Link) Sort() string {
	switch {
	case l.Host != "":
		return "veth"
	case l.Bridge != nil:
		return "bridge"
	case l.VLAN != nil:
		return "vlan"
	case l.VXLAN != nil:
		return "vxlan"
	}
	return ""
}

// below is the link that this one vanishes with, "" if there is none.
func (l Link) below() string {
	switch {
	case l.VLAN != nil:
		return l.VLAN.Dev
	case l.VXLAN != nil:
		return l.VXLAN.Dev
	}
	return ""
}

// special writes what only bridges, VLANs and VXLANs have, and nothing for others.
func (l Link) special(h hash) hash {
	if b := l.Bridge; b != nil {
		h = h.str("bridge").flag(b.Snooping).flag(b.Deaf)
	}
	if v := l.VLAN; v != nil {
		h = h.str("vlan").str(v.Dev).num(uint64(v.ID))
	}
	if v := l.VXLAN; v != nil {
		h = h.str("vxlan").num(uint64(v.VNI)).str(v.Local.String()).num(uint64(v.DstPort)).num(uint64(v.TTL)).flag(v.Learning).flag(v.External)
		h = h.str(v.Group.String()).str(v.Dev).num(uint64(len(v.Remotes)))
		for _, r := range v.Remotes {
			h = h.str(r.String())
		}
		h = h.num(uint64(len(v.Peers)))
		for _, p := range v.Peers {
			h = h.str(p.MAC).str(p.Remote.String())
		}
	}
	return h
}

// specialFields describes the same to people.
func (l Link) specialFields() []Field {
	b, v, x := l.Bridge, l.VLAN, l.VXLAN
	if b == nil {
		b = &LinuxBridge{}
	}
	if v == nil {
		v = &VLAN{}
	}
	if x == nil {
		x = &VXLAN{}
	}
	vni := ""
	if l.VXLAN != nil {
		vni = strconv.FormatUint(uint64(x.VNI), 10)
	}
	return []Field{
		{Name: "sort", Value: l.Sort(), Fixed: true},
		{Name: "multicast-snooping", Value: boolean(b.Snooping)},
		{Name: "deaf", Value: boolean(b.Deaf)},
		{Name: "dev", Value: cmp.Or(v.Dev, x.Dev), Fixed: true},
		{Name: "vlan", Value: number(v.ID), Fixed: true},
		{Name: "vni", Value: vni, Fixed: true},
		{Name: "dst-port", Value: number(x.DstPort), Fixed: true},
		{Name: "group", Value: address(x.Group), Fixed: true},
		{Name: "local", Value: address(x.Local)},
		{Name: "ttl", Value: number(x.TTL)},
		// In place, what is in the FDB would stay: learned, or by a daemon.
		{Name: "learning", Value: boolean(x.Learning), Fixed: true},
		{Name: "fdb", Value: x.fdb(), Lines: true},
	}
}

// fdb lists where frames go, in lines.
func (v *VXLAN) fdb() string {
	lines := make([]string, 0, len(v.Remotes)+len(v.Peers)+1)
	if v.External {
		lines = append(lines, "by the host's routing daemon (BGP EVPN)")
	}
	for _, r := range v.Remotes {
		lines = append(lines, "all dst "+r.String())
	}
	for _, p := range v.Peers {
		lines = append(lines, p.MAC+" dst "+p.Remote.String())
	}
	return strings.Join(lines, "\n")
}

func (l Link) specialClaims() []string {
	switch {
	case l.VLAN != nil:
		return []string{fmt.Sprintf("vlan %d of link %s", l.VLAN.ID, l.VLAN.Dev)}
	case l.VXLAN != nil:
		// The kernel refuses a second one in a namespace.
		return []string{fmt.Sprintf("vxlan %d on port %d", l.VXLAN.VNI, l.VXLAN.DstPort)}
	}
	return nil
}

// BridgePort is a link's place in a bridge of the kernel's. The link may be the
// interface of a guest, which appears when the guest starts: until then the port
// is unbound, which is shown and no drift.
type BridgePort struct {
	Bridge string `json:"bridge"`
	// Name of the link; "" for a guest's whose name nobody knows: it is then
	// the one whose MAC is MAC with fe as its first octet, as hypervisors have it.
	Name string `json:"name,omitempty"`
	// IfaceID is "account/vm/nic" on a guest's port, MAC the NIC's.
	IfaceID string `json:"ifaceID,omitempty"`
	MAC     string `json:"mac,omitempty"`
	// Uplink marks a label bridge's way to the wire: one that somebody plugged
	// there already will do. Unless Addressed, one that carries an address is
	// refused: it would not be reached any more.
	Uplink    bool `json:"uplink,omitempty"`
	Addressed bool `json:"addressed,omitempty"`
	// Isolated ports hear only those that are not.
	Isolated bool `json:"isolated,omitempty"`
	// Static ports learn no MACs.
	Static bool `json:"static,omitempty"`
	// NeighSuppress answers ARP and ND from the neighbours that the bridge
	// knows, instead of sending them out of this port.
	NeighSuppress bool `json:"neighSuppress,omitempty"`
	// Guard is what may pass a guest's port, nil where nothing is asked for.
	Guard *Guard `json:"guard,omitempty"`
	// Link is the net.link below the port where weft makes it; Guards are
	// what has to be in place before the port may carry traffic.
	Link   *ID  `json:"link,omitempty"`
	Guards []ID `json:"guards,omitempty"`
}

// ID implements State. A link is in one bridge at most.
func (p BridgePort) ID() ID { return BridgePortID(cmp.Or(p.Name, p.IfaceID)) }

// BridgePortID is the ID of the port of a link by name, or of a guest's by its
// iface-id.
func BridgePortID(name string) ID { return ID{KindBridgePort, name} }

// MayWait reports whether p's link is a guest's, which may not be there yet.
func (p BridgePort) MayWait() bool { return p.IfaceID != "" && p.Link == nil }

// Symbol is what an unbound p is called.
func (p BridgePort) Symbol() string {
	if p.Name != "" {
		return PortSym(p.Name)
	}
	return NICSym(p.IfaceID, p.MAC)
}

// Parent implements Contained.
func (p BridgePort) Parent() ID { return LinkID("", p.Bridge) }

// Needs implements State.
func (p BridgePort) Needs() []ID {
	out := slices.Clone(p.Guards)
	if p.Link != nil {
		out = append(out, *p.Link)
	}
	return out
}

// NIC implements NICBound.
func (p BridgePort) NIC() string { return p.IfaceID }

// Adopts implements Adopter.
func (p BridgePort) Adopts() bool { return p.Uplink }

// Claims implements Claimant: two NICs whose MACs differ in the first octet at most
// could not be told apart.
func (p BridgePort) Claims() []string {
	if p.Name != "" || p.MAC == "" {
		return nil
	}
	mac := p.MAC
	if i := strings.IndexByte(mac, ':'); i > 0 {
		mac = "fe" + strings.ToLower(mac[i:])
	}
	return []string{"the guest interface with MAC " + mac}
}

// Fingerprint implements State. Guards order steps, and Addressed is a permission:
// the kernel knows neither.
func (p BridgePort) Fingerprint() uint64 {
	h := newHash(string(KindBridgePort)).str(p.Bridge).str(p.Name).str(p.IfaceID).str(p.MAC).flag(p.Uplink).
		flag(p.Isolated).flag(p.Static).flag(p.NeighSuppress)
	return p.Guard.hash(h).sum()
}

// Fields implements State.
func (p BridgePort) Fields() []Field {
	return []Field{
		{Name: "bridge", Value: p.Bridge, Fixed: true},
		{Name: "iface-id", Value: p.IfaceID},
		{Name: "attached-mac", Value: p.MAC},
		{Name: "uplink", Value: boolean(p.Uplink)},
		{Name: "isolated", Value: boolean(p.Isolated)},
		{Name: "static", Value: boolean(p.Static)},
		{Name: "neighbour-suppression", Value: boolean(p.NeighSuppress)},
		{Name: "guard", Value: p.Guard.String(), Lines: true},
	}
}

// Qdisc limits what leaves through a link, by a token bucket whose burst and
// queue the driver derives from the rate. On a guest's interface that is what
// the guest receives; the link may then appear later, as of a BridgePort.
// The far end of a router's link has one for what the router receives.
type Qdisc struct {
	NS   string `json:"ns,omitempty"`
	Link string `json:"link,omitempty"`
	// Mbit is the rate in 10^6 bit/s of Ethernet frames, from 1.
	Mbit int `json:"mbit"`
	// Ingress limits what comes in through a link of the host's namespace
	// instead: what a guest sends. A switch that takes frames from the link before
	// the kernel's bridge would (Open vSwitch in userspace) does not heed it.
	Ingress bool `json:"ingress,omitempty"`
	// IfaceID and MAC are a guest's NIC, as in BridgePort.
	IfaceID string `json:"ifaceID,omitempty"`
	MAC     string `json:"mac,omitempty"`
	// Below is what makes the link, where it is not net.link NS/Link: the port
	// of a bridge, say.
	Below *ID `json:"below,omitempty"`
}

// ID implements State. A link has one for each direction.
func (q Qdisc) ID() ID { return QdiscID(q.NS, cmp.Or(q.Link, q.IfaceID), q.Ingress) }

// QdiscID is the ID of the limit of a link, or of a guest's NIC by its iface-id.
func QdiscID(ns, link string, ingress bool) ID {
	if ingress {
		link += "/in"
	}
	return ID{KindQdisc, ns + "/" + link}
}

// MayWait reports whether q's link is a guest's, which may not be there yet.
func (q Qdisc) MayWait() bool { return q.IfaceID != "" }

// Symbol is what an unbound q is called.
func (q Qdisc) Symbol() string {
	return BridgePort{Name: q.Link, IfaceID: q.IfaceID, MAC: q.MAC}.Symbol()
}

// Parent implements Contained: a limit vanishes with its link.
func (q Qdisc) Parent() ID {
	switch {
	case q.Below != nil:
		return *q.Below
	case q.MayWait():
		return ID{}
	}
	return LinkID(q.NS, q.Link)
}

// Needs implements State.
func (Qdisc) Needs() []ID { return nil }

// NIC implements NICBound.
func (q Qdisc) NIC() string { return q.IfaceID }

// Fingerprint implements State.
func (q Qdisc) Fingerprint() uint64 {
	return newHash(string(KindQdisc)).str(q.NS).str(q.Link).num(uint64(q.Mbit)).flag(q.Ingress).str(q.IfaceID).str(q.MAC).sum()
}

// Fields implements State.
func (q Qdisc) Fields() []Field {
	return []Field{
		{Name: "mbit", Value: number(q.Mbit)},
		{Name: "iface-id", Value: q.IfaceID},
		{Name: "attached-mac", Value: q.MAC},
	}
}

func address(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}
