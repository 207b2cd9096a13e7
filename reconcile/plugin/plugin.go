// Package plugin is what a guru, an element or a switch implements: pure
// functions from a resolved network to resources on hosts.
//
// In goes a model.Network; out comes a Draft. Plugins import it, and compile
// runs them; it imports model, resource and schema only.
package plugin

import (
	"net/netip"
	"slices"

	"weft.dev/reconcile/model"
	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

// A Guru decides the topology of networks: which broadcast domains, on which
// hosts. What that means for the switch of a physical network its Switch says.
type Guru interface {
	// Name is CloudStack's name of it.
	Name() string
	// CanHandle returns "" if the guru designs n, else why not, as the end
	// of the sentence "NAME declines: ...". Exactly one guru must accept a network.
	CanHandle(n *model.Network) string
	// Design asks for the topology of n on every host of n.
	Design(n *model.Network, out *Draft)
}

// A Public guru designs the public legs of routers.
type Public interface {
	// Name is CloudStack's name of it.
	Name() string
	// CanServe returns "" if the guru designs the legs of r, else why not.
	CanServe(r *model.Router) string
	// DesignLegs asks for what joins the legs of r to their public networks, on the
	// host of r.
	DesignLegs(r *model.Router, out *Draft)
}

// A System guru serves traffic of the hosts themselves: it designs no network of
// guests.
type System interface {
	// Name is CloudStack's name of it.
	Name() string
	// CanHandle returns "" if the guru serves that type of traffic of p, else why
	// not. Exactly one of a registry must accept.
	CanHandle(p *model.PhysicalNetwork, traffic string) string
	// DesignHost asks for what that traffic needs on h. out.Owner is host/NAME.
	DesignHost(h *model.Host, p *model.PhysicalNetwork, out *Draft)
}

// An Element turns offered services of a network into resources.
type Element interface {
	// Name is the provider's name in offerings.
	Name() string
	// Services lists what it can provide.
	Services() []string
	// Implement asks for what the services need that n's offering takes from
	// this provider. It is called once per network with such a service.
	Implement(n *model.Network, out *Draft)
}

// A VPCElement is an element that serves VPCs. Networks that are tiers it is asked for
// as others.
type VPCElement interface {
	Element
	// ImplementVPC asks for what the router of v is made of; there is one.
	ImplementVPC(v *model.VPC, out *Draft)
}

// A HostElement is an Element that asks for what all networks and VPCs of a host share.
type HostElement interface {
	// DesignHost asks for the host's own resources, given the union of what its
	// networks and VPCs need. out.Owner is host/NAME.
	DesignHost(h *model.Host, needs *Needs, out *Draft)
}

// A Switch knows one kind of switch, vswitch of PhysicalNetwork: what networks are
// made of on it, and what the networks of one host share.
type Switch interface {
	// Name is the vswitch of PhysicalNetwork: "OpenVSwitch".
	Name() string
	// Carries returns "" if n's hosts can have n, else why not, as the end of the
	// sentence "NAME declines: ...".
	Carries(n *model.Network) string
	// DesignSegment asks for s, a broadcast domain of n, on every host of s: ports
	// of its guests and router, and what joins them.
	DesignSegment(n *model.Network, s *model.Segment, out *Draft)
	// DesignHost asks for the host's own resources, given the union of what
	// its networks need. out.Owner is host/NAME.
	DesignHost(h *model.Host, needs *Needs, out *Draft)
}

// A Registry lists what a weft is made of.
type Registry struct {
	Gurus    []Guru
	Public   Public
	System   []System
	Elements []Element
	Switches []Switch
}

// A Draft collects what plugins ask for on behalf of one owner.
type Draft struct {
	Owner resource.Owner
	Diags schema.Diags
	// Hosts are the entries by host name.
	Hosts map[string][]resource.Entry
	// Needs are what the owner needs of what hosts share, by host name.
	Needs map[string]*Needs
	// Domains are what reachability reads beside the resources.
	Domains []Domain
	// at is where an entry comes from when the plugin does not say.
	at []schema.Pos
	// flows is the place of the owner's flows among the entries of a host.
	flows map[string]int
}

// NewDraft returns an empty draft for owner, whose document stands at pos.
func NewDraft(owner resource.Owner, pos schema.Pos) *Draft {
	return &Draft{
		Owner: owner, Hosts: map[string][]resource.Entry{}, Needs: map[string]*Needs{},
		at: []schema.Pos{pos}, flows: map[string]int{},
	}
}

// Ask puts st on host; origin is the document lines that ask for it, by default
// the owner's document.
func (d *Draft) Ask(host string, st resource.State, origin ...schema.Pos) {
	if len(origin) == 0 {
		origin = d.at
	}
	d.Hosts[host] = append(d.Hosts[host], resource.Entry{State: st, Owner: d.Owner, Origin: origin})
}

// flowRoom is how many rules an owner usually has on a host.
const flowRoom = 36

// Flows lets write add to the owner's flows on host, of about that many authors, in
// one piece: each call stores them anew. Meanwhile write adds no others there.
func (d *Draft) Flows(host string, authors int, write func(*resource.Flows)) {
	if _, ok := d.flows[host]; !ok {
		d.Flow(host, nil)
	}
	at := d.flows[host]
	f, _ := d.Hosts[host][at].State.(resource.Flows)
	f.Authors = slices.Grow(f.Authors, authors)
	write(&f)
	d.Hosts[host][at].State = f
}

// Flow adds rules to the owner's flows on host; ports are the resources of weft
// that the rules name.
func (d *Draft) Flow(host string, ports []resource.ID, rules ...resource.Flow) {
	i, ok := d.flows[host]
	if !ok {
		d.flows[host] = len(d.Hosts[host])
		all := append(make([]resource.Flow, 0, max(flowRoom, len(rules))), rules...)
		d.Ask(host, resource.Flows{Bridge: resource.IntegrationBridge, Owner: d.Owner, Rules: all, Ports: slices.Clone(ports)})
		return
	}
	e := &d.Hosts[host][i]
	f, _ := e.State.(resource.Flows)
	f.Rules = append(f.Rules, rules...)
	if len(ports) > 0 {
		f.Ports = append(f.Ports, ports...)
		slices.SortFunc(f.Ports, resource.ID.Compare)
		f.Ports = slices.Compact(f.Ports)
	}
	e.State = f
}

// RouterGuards are the chains that have to stand before a port of r carries traffic;
// dual says whether it carries IPv6.
func RouterGuards(r *model.Router, dual bool) []resource.ID {
	guards := guardsOf(r.NS, 4)
	if dual {
		guards = append(guards, guardsOf(r.NS, 6)...)
	}
	return guards
}

// RouterGuards4 are those of RouterGuards for IPv4.
func RouterGuards4(ns string) []resource.ID { return guardsOf(ns, 4) }

// RouterGuards6 are those of RouterGuards for IPv6.
func RouterGuards6(ns string) []resource.ID { return guardsOf(ns, 6) }

func guardsOf(ns string, family int) []resource.ID {
	return []resource.ID{
		resource.ChainID(ns, family, "filter", "INPUT"),
		resource.ChainID(ns, family, "filter", "FORWARD"),
	}
}

// Need returns what the owner needs of host, to be added to.
func (d *Draft) Need(host string) *Needs {
	n := d.Needs[host]
	if n == nil {
		n = &Needs{}
		d.Needs[host] = n
	}
	return n
}

// Needs are what owners need of the things that a host's networks share. The
// compiler unites those of all owners: lists are then sorted and without repeats.
type Needs struct {
	Labels   []string
	Tunnels  []TunnelNeed
	Segments []SegmentNeed
	Privates []PrivateNeed
	// Wires are the VLANs that several owners have ports in on a Linux bridge.
	Wires []WireNeed
	// Routers says that there are routers on the host.
	Routers bool
	// Bridges are those of the host that are the switch's whom it is asked, in
	// the order of the document: the compiler fills them in.
	Bridges []*schema.HostBridge
	// MTUs state the wires below the host's labels, as the zone's physical
	// networks say: the compiler fills them in for every bridge of the host.
	MTUs []LabelMTU
}

// MTU is what the wire below label carries, or 0 when no physical network
// names the label.
func (n *Needs) MTU(label string) int {
	mtu := 0
	for _, m := range n.MTUs {
		if m.Label == label {
			mtu = max(mtu, m.MTU)
		}
	}
	return mtu
}

// A TunnelNeed is a tunnel to another host.
type TunnelNeed struct {
	Type    string // vxlan | gre | geneve | stt
	Remote  netip.Addr
	Peer    string // name of the other host
	DstPort int
}

// A SegmentNeed is a port in a broadcast domain that networks share on a host,
// such as a public VLAN: the switch floods and learns there.
type SegmentNeed struct {
	Segment Segment
	Port    string // symbol, see resource.PortSym
	MAC     schema.MAC
}

// A PrivateNeed is a secondary VLAN of a private VLAN: the host has to know it
// where it has ports of the primary, whoever's they are.
type PrivateNeed struct {
	Primary   Segment
	Secondary uint32
}

// A WireNeed is a VLAN of a label that ports of several owners are plugged into.
type WireNeed struct {
	Label string
	VLAN  uint32
}

// A Segment is a broadcast domain as the pipeline knows it.
type Segment struct {
	Scheme string // vlan (0 = untagged) | vxlan | gre | geneve | stt
	VNet   uint32
	// Label is the bridge of a vlan segment; "" for tunnels.
	Label string
	Zone  string
	// Port is the UDP port of a tunnel segment, 0 where there is none.
	Port int
}

// A Domain is the ports of a network in a broadcast domain, which other networks may
// share. They hear each other, as far as Private and Gates let them.
type Domain struct {
	Network schema.ID
	Segment Segment
	Private Private
	MTU     int
	NICs    []string // account/vm/nic
	Gates   []Gate   // of networks with security groups
}

// Private is how ports are in a private VLAN; zero ones are promiscuous, or in none.
type Private struct {
	Secondary uint32
	// Community: ports of one secondary VLAN hear each other.
	Community bool
}

// Hears reports whether ports in p and in o hear each other: one of them is
// promiscuous, or both are of one community.
func (p Private) Hears(o Private) bool {
	return p.Secondary == 0 || o.Secondary == 0 || p == o && p.Community
}

// A LabelMTU is what a label bridge has to carry.
type LabelMTU struct {
	Label string
	MTU   int
}
