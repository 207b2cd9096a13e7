package resource

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// IntegrationBridge is the bridge that carries all networks of a host.
const IntegrationBridge = "weft-int"

// Bridge is an Open vSwitch bridge.
type Bridge struct {
	Name     string `json:"name"`
	Datapath string `json:"datapath"` // system | netdev
	FailMode string `json:"failMode"` // secure | standalone; set in the creating transaction
	// Existing bridges are somebody else's: never made or removed by us.
	Existing bool `json:"existing,omitempty"`
	// Adopt uses a foreign bridge of that name where there is one.
	Adopt bool `json:"adopt,omitempty"`
	// MTU is requested of a bridge that weft makes; 0 leaves the default.
	MTU int `json:"mtu,omitempty"`
	// MAC of the local port, "" for the switch's choice. One that is always the
	// same lets neighbours go on when the bridge had to be made anew.
	MAC string `json:"mac,omitempty"`
}

// ID implements State.
func (b Bridge) ID() ID { return ID{KindBridge, b.Name} }

// Needs implements State.
func (Bridge) Needs() []ID { return nil }

// Adopts implements Adopter.
func (b Bridge) Adopts() bool { return b.Adopt || b.Existing }

// Fingerprint implements State.
func (b Bridge) Fingerprint() uint64 {
	return newHash(string(KindBridge)).str(b.Name).str(b.Datapath).str(b.FailMode).flag(b.Existing).num(uint64(b.MTU)).str(b.MAC).sum()
}

// Fields implements State.
func (b Bridge) Fields() []Field {
	return []Field{
		{Name: "datapath", Value: b.Datapath, Fixed: true},
		{Name: "fail-mode", Value: b.FailMode},
		{Name: "mtu", Value: number(b.MTU)},
		{Name: "mac", Value: b.MAC},
	}
}

// Port is a port of an Open vSwitch bridge.
type Port struct {
	Bridge string `json:"bridge"`
	Name   string `json:"name"`
	// Type is "" for a link that stands in the host's namespace (or will:
	// a guest's interface may appear later), or "patch".
	Type string `json:"type,omitempty"`
	// Peer is the other patch port.
	Peer string `json:"peer,omitempty"`
	// IfaceID is "account/vm/nic" on a guest's port (external_ids:iface-id),
	// MAC its attached-mac.
	IfaceID string `json:"ifaceID,omitempty"`
	MAC     string `json:"mac,omitempty"`
	// Uplink marks a label bridge's way to the wire. It is refused while
	// the link carries an address.
	Uplink bool `json:"uplink,omitempty"`
	// Bond makes it one of several links, instead of the link called Name.
	Bond *Bond `json:"bond,omitempty"`
	// Link is the net.link below the port where weft makes it; Guards are
	// chains and sets that have to be in place before the port may carry traffic.
	Link   *ID  `json:"link,omitempty"`
	Guards []ID `json:"guards,omitempty"`
}

// ID implements State. A port name is unique in a switch.
func (p Port) ID() ID { return ID{KindPort, p.Name} }

// Parent implements Contained.
func (p Port) Parent() ID { return ID{KindBridge, p.Bridge} }

// Needs implements State.
func (p Port) Needs() []ID {
	out := append([]ID(nil), p.Guards...)
	if p.Link != nil {
		out = append(out, *p.Link)
	}
	return out
}

// NIC implements NICBound.
func (p Port) NIC() string { return p.IfaceID }

// Adopts implements Adopter: an uplink that somebody plugged already will do.
func (p Port) Adopts() bool { return p.Uplink }

// Fingerprint implements State. Guards order steps; the switch does not know them.
func (p Port) Fingerprint() uint64 {
	return newHash(string(KindPort)).str(p.Bridge).str(p.Name).str(p.Type).str(p.Peer).str(p.IfaceID).str(p.MAC).flag(p.Uplink).opt(p.Bond.print()).sum()
}

// Fields implements State.
func (p Port) Fields() []Field {
	return []Field{
		{Name: "bridge", Value: p.Bridge, Fixed: true},
		{Name: "type", Value: p.Type, Fixed: true},
		{Name: "peer", Value: p.Peer},
		{Name: "iface-id", Value: p.IfaceID},
		{Name: "attached-mac", Value: p.MAC},
		{Name: "uplink", Value: boolean(p.Uplink)},
		{Name: "bond-members", Value: strings.Join(p.Bond.members(), " "), Fixed: true},
		{Name: "bond-mode", Value: p.Bond.mode()},
		{Name: "lacp", Value: p.Bond.lacp()},
	}
}

// A Bond is several links that carry what one port does.
type Bond struct {
	Mode    string   `json:"mode"`    // active-backup | balance-slb | balance-tcp
	LACP    string   `json:"lacp"`    // off | active | passive
	Members []string `json:"members"` // links, sorted
}

// print is "" of no bond, so that ports without one have the fingerprint that they
// always had.
func (b *Bond) print() string {
	if b == nil {
		return ""
	}
	return "bond " + b.Mode + " " + b.LACP + " " + strings.Join(b.Members, " ")
}

func (b *Bond) members() []string {
	if b == nil {
		return nil
	}
	return b.Members
}

func (b *Bond) mode() string {
	if b == nil {
		return ""
	}
	return b.Mode
}

func (b *Bond) lacp() string {
	if b == nil {
		return ""
	}
	return b.LACP
}

// Tunnel is a tunnel port with key=flow: one per encapsulation, own and remote
// endpoint, shared by all networks.
type Tunnel struct {
	Bridge string     `json:"bridge"`
	Name   string     `json:"name"`
	Type   string     `json:"type"` // vxlan | gre | geneve | stt
	Local  netip.Addr `json:"local"`
	Remote netip.Addr `json:"remote"`
	// DstPort is the UDP (or STT's TCP-like) port; 0 for GRE.
	DstPort int `json:"dstPort,omitempty"`
	// Endpoint is the net.addr that carries Local, where weft makes it.
	Endpoint *ID `json:"endpoint,omitempty"`
}

// ID implements State.
func (t Tunnel) ID() ID { return ID{KindTunnel, t.Name} }

// Parent implements Contained.
func (t Tunnel) Parent() ID { return ID{KindBridge, t.Bridge} }

// Needs implements State.
func (t Tunnel) Needs() []ID {
	if t.Endpoint != nil {
		return []ID{*t.Endpoint}
	}
	return nil
}

// Claims implements Claimant: a second key=flow port of the same type and ends
// gets ofport -1 anywhere in one vswitchd.
func (t Tunnel) Claims() []string {
	return []string{fmt.Sprintf("tunnel %s %s-%s:%d", t.Type, t.Local, t.Remote, t.DstPort)}
}

// Fingerprint implements State.
func (t Tunnel) Fingerprint() uint64 {
	return newHash(string(KindTunnel)).str(t.Bridge).str(t.Name).str(t.Type).str(t.Local.String()).str(t.Remote.String()).num(uint64(t.DstPort)).sum()
}

// Fields implements State.
func (t Tunnel) Fields() []Field {
	return []Field{
		{Name: "bridge", Value: t.Bridge, Fixed: true},
		{Name: "type", Value: t.Type, Fixed: true},
		{Name: "local", Value: t.Local.String()},
		{Name: "remote", Value: t.Remote.String()},
		{Name: "dst-port", Value: number(t.DstPort)},
	}
}

func number(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

func boolean(b bool) string {
	if b {
		return "true"
	}
	return ""
}

// opt writes s unless it is "": what most states do not have leaves their
// fingerprints as they are.
func (h hash) opt(s string) hash {
	if s == "" {
		return h
	}
	return h.str(s)
}
