// Package ovs says what networks are made of on Open vSwitch: one integration bridge
// per host carries all of them, label bridges carry the wires, and hosts that
// share a network are joined by tunnels with key=flow.
//
// In goes a segment of a resolved network or what a host's networks share; out come
// bridges, ports, tunnels and flows. It is pure; plugins registers it, and hands it
// to the gurus.
package ovs

import (
	"slices"

	"weft.dev/reconcile/model"
	"weft.dev/reconcile/plugin"
	"weft.dev/reconcile/plugin/pipeline"
	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

// Carries implements plugin.Switch: VLANs, untagged networks, private VLANs, and
// tunnels of VXLAN, GRE and GENEVE; STT where every host's switch has it (no
// upstream kernel or release since 2.18 does).
func (Switch) Carries(n *model.Network) string {
	for _, s := range n.Segments {
		switch s.Scheme {
		case schema.SchemeVXLAN:
			if v := n.Physical.Spec.VXLAN; v != nil && v.Mode == "Multicast" {
				return "Open vSwitch has no multicast VXLAN (use mode Unicast, or vswitch LinuxBridge)"
			}
		case schema.SchemeVLAN, schema.SchemeNative, schema.SchemeGRE, schema.SchemeGENEVE:
		case schema.SchemeSTT:
			if why := declineSTT(s); why != "" {
				return why
			}
		default:
			return "Open vSwitch knows no broadcast domain " + s.Scheme
		}
	}
	return ""
}

func declineSTT(s *model.Segment) string {
	for _, h := range s.Hosts {
		if !h.Facts.STT {
			return "the switch of host " + h.Name + " has no STT (Open vSwitch dropped it; use GENEVE)"
		}
	}
	return ""
}

// DesignSegment implements plugin.Switch.
func (Switch) DesignSegment(n *model.Network, s *model.Segment, out *plugin.Draft) {
	seg := SegmentOf(n, s)
	secondary(n, s, seg, out)
	numbers, reserved := policies(n), s.Reserved()
	for _, h := range s.Hosts {
		d := draft{n: n, on: s, seg: seg, host: h, out: out, policies: numbers, reserved: reserved}
		d.guests()
		d.firewall()
		d.router()
		d.join()
	}
	out.Reach(n, s, seg)
}

// SegmentOf is the broadcast domain of a segment of n.
func SegmentOf(n *model.Network, s *model.Segment) plugin.Segment {
	switch s.Scheme {
	case schema.SchemeVLAN:
		return plugin.Segment{Scheme: schema.SchemeVLAN, VNet: s.VNet, Label: n.Physical.Guest, Zone: n.Zone.Name}
	case schema.SchemeNative:
		return plugin.Segment{Scheme: schema.SchemeVLAN, Label: n.Physical.Guest, Zone: n.Zone.Name}
	}
	return plugin.Segment{Scheme: s.Scheme, VNet: s.VNet, Port: tunnelPort(n, s.Scheme), Zone: n.Zone.Name}
}

// tunnelPort is the UDP port of n's encapsulation: as configured for VXLAN,
// else IANA's (STT's is a TCP port).
func tunnelPort(n *model.Network, scheme string) int {
	switch scheme {
	case schema.SchemeVXLAN:
		return n.Physical.VXLANPort()
	case schema.SchemeGENEVE:
		return 6081
	case schema.SchemeSTT:
		return 7471
	}
	return 0
}

// A draft designs one segment of a network on one host.
type draft struct {
	n    *model.Network
	on   *model.Segment
	seg  plugin.Segment
	host *model.Host
	out  *plugin.Draft
	// policies are the numbers of the network's security groups, groups those on
	// the host.
	policies map[string]uint32
	groups   []*model.Groups
	reserved *model.Reserved // of the routers
	ports    []string        // symbols of local ports
	made     []resource.ID   // ports that weft plugs
}

func (d *draft) guests() {
	count := 0
	for _, nic := range d.on.NICs {
		if d.here(nic) {
			count++
		}
	}
	if count == 0 {
		return
	}
	d.out.Flows(d.host.Name, count, func(f *resource.Flows) {
		for _, nic := range d.on.NICs {
			if d.here(nic) {
				f.Write(author(nic), d.port(nic)...)
			}
		}
	})
}

func (d *draft) here(nic *model.NIC) bool {
	return nic.Running && slices.Contains(nic.Hosts, d.host.Name)
}

// port asks for the port of a NIC where weft plugs it, and returns its rules.
func (d *draft) port(nic *model.NIC) []resource.Flow {
	sym := resource.NICSym(nic.ID, nic.MAC.String())
	if nic.Interface != "" {
		d.out.FreeInterface(d.host, nic)
		p := resource.Port{
			Bridge: resource.IntegrationBridge, Name: nic.Interface,
			IfaceID: nic.ID, MAC: nic.MAC.String(),
		}
		sym = resource.PortSym(nic.Interface)
		d.out.Ask(d.host.Name, p, nic.Pos)
		d.made = append(d.made, p.ID())
	}
	if !nic.Up() {
		return []resource.Flow{pipeline.Down(sym)}
	}
	d.ports = append(d.ports, sym)
	return pipeline.Limit(pipeline.Isolate(d.guest(nic, sym), d.isolation()), sym, d.n.Rate(nic))
}

// author is who wrote the rules of a NIC's port.
func author(nic *model.NIC) resource.Author { return resource.Author{Pos: nic.Pos, NIC: nic.ID} }

func (d *draft) router() {
	s := d.on.SideOn(d.host.Name)
	if s == nil {
		return
	}
	link := resource.LinkID(s.Router.NS, s.Link)
	p := resource.Port{
		Bridge: resource.IntegrationBridge, Name: s.Port,
		Link: &link, Guards: plugin.RouterGuards(s.Router, d.on.IP6 != nil),
	}
	sym := resource.PortSym(s.Port)
	d.out.Ask(d.host.Name, p)
	d.made = append(d.made, p.ID())
	d.ports = append(d.ports, sym)
	d.out.Flow(d.host.Name, nil, pipeline.Limit(pipeline.Port(d.seg, sym), sym, d.n.Rate(nil))...)
}

// join ties the local ports together and to the other hosts of the network.
func (d *draft) join() {
	need := d.out.Need(d.host.Name)
	var tunnels []string
	if d.seg.Label != "" {
		need.Labels = append(need.Labels, d.seg.Label)
		d.made = append(d.made, resource.ID{Kind: resource.KindPort, Name: pipeline.PatchName(d.seg.Label)})
	} else {
		for _, peer := range d.on.Hosts {
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
	if d.n.Common() {
		d.share(need)
		return
	}
	d.out.Flow(d.host.Name, d.made, pipeline.Segment(d.seg, d.ports, tunnels)...)
}
