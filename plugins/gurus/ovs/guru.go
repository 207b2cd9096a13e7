// Package ovs designs guest networks on Open vSwitch: one integration bridge
// per host carries all of them, label bridges carry the wires, and hosts that
// share a network are joined by tunnels with key=flow.
//
// In goes a resolved network or what a host's networks share; out come bridges,
// ports, tunnels and flows. It is pure; plugins registers it.
package ovs

import (
	"net/netip"
	"regexp"
	"slices"

	"weft.dev/reconcile/model"
	"weft.dev/reconcile/plugin"
	"weft.dev/reconcile/plugin/pipeline"
	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

// Guru is CloudStack's OvsGuestNetworkGuru, for every isolation that the
// switch can carry.
type Guru struct{}

// Name implements plugin.Guru.
func (Guru) Name() string { return "OvsGuestNetworkGuru" }

// CanHandle implements plugin.Guru: Isolated networks on a physical network
// with vswitch OpenVSwitch and isolation VLAN, VXLAN, GRE or GENEVE, and STT
// where every host's switch has it (no upstream kernel or release since 2.18
// does).
func (Guru) CanHandle(n *model.Network) string {
	switch {
	case n.Physical.Spec.VSwitch != "OpenVSwitch":
		return "physical network " + n.Physical.Name + " has vswitch " + n.Physical.Spec.VSwitch
	case n.Offering.Spec.GuestType != "Isolated":
		return "guest type is " + n.Offering.Spec.GuestType
	}
	switch n.Scheme {
	case schema.SchemeVLAN, schema.SchemeNative, schema.SchemeVXLAN, schema.SchemeGRE, schema.SchemeGENEVE:
		return ""
	case schema.SchemeSTT:
		return declineSTT(n)
	}
	return "it knows no broadcast domain " + n.Scheme
}

func declineSTT(n *model.Network) string {
	for _, h := range n.Hosts {
		if !h.Facts.STT {
			return "the switch of host " + h.Name + " has no STT (Open vSwitch dropped it; use GENEVE)"
		}
	}
	return ""
}

// Design implements plugin.Guru.
func (Guru) Design(n *model.Network, out *plugin.Draft) {
	seg := SegmentOf(n)
	for _, h := range n.Hosts {
		d := draft{n: n, seg: seg, host: h, out: out}
		d.guests()
		d.router()
		d.join()
	}
	var nics []string
	for _, nic := range n.NICs {
		if nic.Running {
			nics = append(nics, nic.ID)
		}
	}
	out.Domains = append(out.Domains, plugin.Domain{Network: n.ID, Segment: seg, MTU: n.MTU, NICs: nics})
}

// SegmentOf is the broadcast domain of n.
func SegmentOf(n *model.Network) plugin.Segment {
	switch n.Scheme {
	case schema.SchemeVLAN:
		return plugin.Segment{Scheme: schema.SchemeVLAN, VNet: n.VNet, Label: n.Physical.Guest, Zone: n.Zone.Name}
	case schema.SchemeNative:
		return plugin.Segment{Scheme: schema.SchemeVLAN, Label: n.Physical.Guest, Zone: n.Zone.Name}
	}
	return plugin.Segment{Scheme: n.Scheme, VNet: n.VNet, Port: tunnelPort(n), Zone: n.Zone.Name}
}

// tunnelPort is the UDP port of n's encapsulation: as configured for VXLAN,
// else IANA's (STT's is a TCP port).
func tunnelPort(n *model.Network) int {
	switch n.Scheme {
	case schema.SchemeVXLAN:
		if v := n.Physical.Spec.VXLAN; v != nil && v.Port != 0 {
			return int(v.Port)
		}
		return 4789
	case schema.SchemeGENEVE:
		return 6081
	case schema.SchemeSTT:
		return 7471
	}
	return 0
}

// A draft designs one network on one host.
type draft struct {
	n     *model.Network
	seg   plugin.Segment
	host  *model.Host
	out   *plugin.Draft
	ports []string      // symbols of local ports
	made  []resource.ID // ports that weft plugs
}

func (d *draft) guests() {
	for _, nic := range d.n.NICs {
		if !nic.Running || !slices.Contains(nic.Hosts, d.host.Name) {
			continue
		}
		sym := resource.NICSym(nic.ID, nic.MAC.String())
		if nic.Interface != "" {
			d.free(nic)
			p := resource.Port{
				Bridge: resource.IntegrationBridge, Name: nic.Interface,
				IfaceID: nic.ID, MAC: nic.MAC.String(),
			}
			sym = resource.PortSym(nic.Interface)
			d.out.Ask(d.host.Name, p, nic.Pos)
			d.made = append(d.made, p.ID())
		}
		d.ports = append(d.ports, sym)
		d.out.Flow(d.host.Name, nil, d.guest(nic, sym)...)
	}
}

// own are the names that weft gives to what it makes on the host's side: router
// links, patches and tunnels.
var own = regexp.MustCompile(`^w[gpilt]-`)

// free reports an interface name that would plug what the host itself, or another
// network, is made of.
func (d *draft) free(nic *model.NIC) {
	what := ""
	for _, b := range d.host.Spec.Bridges {
		switch {
		case b.Name == nic.Interface:
			what = "is a bridge of host " + d.host.Name
		case slices.Contains(b.Uplinks, nic.Interface):
			what = "is an uplink of host " + d.host.Name
		}
	}
	if own.MatchString(nic.Interface) {
		what = "begins like what weft makes itself"
	}
	if what != "" {
		d.out.Diags.Errorf(nic.Pos, "interface-taken", "the interface %s of NIC %s %s", nic.Interface, nic.ID, what).
			Offending(nic.Interface).Hintf("choose another name, such as tap-%s", nic.VM.Meta.Name)
	}
}

func (d *draft) guest(nic *model.NIC, sym string) []resource.Flow {
	if !nic.Spec.AntiSpoof {
		return pipeline.Port(d.seg, sym)
	}
	return pipeline.Guest(d.seg, sym, nic.MAC, []netip.Addr{nic.IP})
}

func (d *draft) router() {
	r := d.n.Router
	if r == nil || r.Host.Name != d.host.Name {
		return
	}
	link := resource.LinkID(r.NS, model.GuestLink)
	p := resource.Port{
		Bridge: resource.IntegrationBridge, Name: r.GuestPort,
		Link: &link, Guards: plugin.RouterGuards(r.NS),
	}
	sym := resource.PortSym(r.GuestPort)
	d.out.Ask(d.host.Name, p)
	d.made = append(d.made, p.ID())
	d.ports = append(d.ports, sym)
	d.out.Flow(d.host.Name, nil, pipeline.Port(d.seg, sym)...)
}

// join ties the local ports together and to the other hosts of the network.
func (d *draft) join() {
	need := d.out.Need(d.host.Name)
	var tunnels []string
	if d.seg.Label != "" {
		need.Labels = append(need.Labels, d.seg.Label)
		d.made = append(d.made, resource.ID{Kind: resource.KindPort, Name: pipeline.PatchName(d.seg.Label)})
	} else {
		for _, peer := range d.n.Hosts {
			if peer.Name == d.host.Name || !peer.TunnelIP.IsValid() {
				continue
			}
			need.Tunnels = append(need.Tunnels, plugin.TunnelNeed{
				Type: d.seg.Scheme, Remote: peer.TunnelIP, Peer: peer.Name, DstPort: d.seg.Port,
			})
			name := pipeline.TunnelName(d.seg.Scheme, d.seg.Port, peer.TunnelIP)
			tunnels = append(tunnels, resource.PortSym(name))
			d.made = append(d.made, resource.ID{Kind: resource.KindTunnel, Name: name})
		}
	}
	slices.Sort(d.ports)
	d.out.Flow(d.host.Name, d.made, pipeline.Segment(d.seg, d.ports, tunnels)...)
}
