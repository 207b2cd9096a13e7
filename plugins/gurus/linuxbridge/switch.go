// Package linuxbridge says what networks are made of on bridges of the Linux kernel:
// a bridge for each broadcast domain of a host, on a VLAN of the label's uplink or on
// a VXLAN, and the label's own bridge for what is untagged.
//
// In go a segment of a resolved network or what a host's networks share; out come
// links, ports and limits. It is pure; plugins registers it, and hands it to the
// gurus.
package linuxbridge

import (
	"net/netip"
	"slices"

	"weft.dev/reconcile/model"
	"weft.dev/reconcile/plugin"
	"weft.dev/reconcile/plugin/bridge"
	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

// Switch designs networks on bridges of the kernel.
type Switch struct{}

// Name implements plugin.Switch.
func (Switch) Name() string { return bridge.Switch }

// Carries implements plugin.Switch: VLANs, untagged networks and VXLANs. The other
// encapsulations need key=flow tunnels, which the kernel's bridges cannot use;
// private VLANs need rules between ports of several hosts.
func (Switch) Carries(n *model.Network) string {
	for _, s := range n.Segments {
		switch s.Scheme {
		case schema.SchemeVLAN, schema.SchemeNative:
		case schema.SchemeVXLAN:
			if n.Spec.AllowVLANOverlap {
				return "a VXLAN that several networks share needs vswitch OpenVSwitch"
			}
		case schema.SchemeGRE, schema.SchemeGENEVE, schema.SchemeSTT:
			return "Linux bridges have no " + s.Scheme + " (use VXLAN, or vswitch OpenVSwitch)"
		default:
			return "Linux bridges know no broadcast domain " + s.Scheme
		}
	}
	if n.Spec.PVLAN != nil {
		return "Linux bridges have no private VLANs (use vswitch OpenVSwitch)"
	}
	return ""
}

// DesignSegment implements plugin.Switch.
func (Switch) DesignSegment(n *model.Network, s *model.Segment, out *plugin.Draft) {
	reserved := s.Reserved()
	for _, h := range s.Hosts {
		d := draft{n: n, on: s, host: h, out: out, reserved: reserved}
		if d.join() {
			d.guests()
			d.router()
		}
	}
	out.Reach(n, s, segment(n, s))
}

// segment is the broadcast domain for reachability.
func segment(n *model.Network, s *model.Segment) plugin.Segment {
	if s.Scheme == schema.SchemeVXLAN {
		return plugin.Segment{Scheme: s.Scheme, VNet: s.VNet, Port: n.Physical.VXLANPort(), Zone: n.Zone.Name}
	}
	return plugin.Segment{Scheme: schema.SchemeVLAN, VNet: vlan(s), Label: n.Physical.Guest, Zone: n.Zone.Name}
}

// vlan is the VLAN of a segment on a wire, 0 for untagged.
func vlan(s *model.Segment) uint32 {
	if s.Scheme == schema.SchemeNative {
		return 0
	}
	return s.VNet
}

// A draft designs one segment of a network on one host.
type draft struct {
	n      *model.Network
	on     *model.Segment
	host   *model.Host
	out    *plugin.Draft
	bridge string
	// reserved is what the routers have for themselves.
	reserved *model.Reserved
}

// join asks for the segment's bridge and its way to the other hosts; false where
// there can be none.
func (d *draft) join() bool {
	if d.on.Scheme == schema.SchemeVXLAN {
		return d.tunnel()
	}
	label, id := d.n.Physical.Guest, vlan(d.on)
	if d.bridge = bridge.Wire(d.host, label, id); d.bridge == "" {
		noUplink(d.host, label, id, d.out)
		return false
	}
	switch {
	case id == 0:
	case d.n.Common():
		need := d.out.Need(d.host.Name)
		need.Wires = append(need.Wires, plugin.WireNeed{Label: label, VLAN: id})
	default:
		d.ask(bridge.VLAN(d.host, label, id, d.n.MTU))
	}
	return true
}

// noUplink reports a label whose VLANs cannot be made. A label that the host lacks
// is reported elsewhere.
func noUplink(h *model.Host, label string, vlan uint32, out *plugin.Draft) {
	b := h.Bridge(label)
	if b == nil {
		return
	}
	out.Diags.Errorf(h.Doc.PosOf(b.At), "no-uplink", "VLAN %d of label %s can not be on host %s: the bridge states no uplink", vlan, label, h.Name).
		Offending(label).Hintf("add uplinks: [eth1]; on Linux bridges VLANs are devices of the uplink")
}

func (d *draft) tunnel() bool {
	if !d.host.TunnelIP.IsValid() {
		return d.alone()
	}
	t := bridge.Tunnel{VNI: d.on.VNet, Port: d.n.Physical.VXLANPort(), MTU: d.n.MTU, Multicast: d.n.Physical.VXLANMode() == model.Multicast, EVPN: d.n.Physical.VXLANMode() == model.EVPN}
	if dev, _ := plugin.Endpoint(d.host); t.Multicast && dev == "" {
		d.out.Diags.Errorf(d.host.Doc.At("spec"), "tunnel-endpoint", "the tunnel endpoint %s is not the address of a bridge of host %s, which multicast VXLAN needs", d.host.TunnelIP, d.host.Name).
			Offending(d.host.TunnelIP.String()).Hintf("give a bridge the address, or use vxlan mode Unicast")
		return false
	}
	t.Remotes = d.remotes()
	d.bridge = bridge.VNIName(t.VNI)
	d.ask(bridge.VXLAN(d.host, t))
	return true
}

// alone makes the bridge of a network that needs no tunnel: no host of it has an
// endpoint, which the model allows for one host only.
func (d *draft) alone() bool {
	d.bridge = bridge.VNIName(d.on.VNet)
	d.ask([]resource.State{resource.Link{Name: d.bridge, MTU: d.n.MTU, Up: true, Bridge: &resource.LinuxBridge{Deaf: true}}})
	return true
}

// remotes are the endpoints of the segment's other hosts.
func (d *draft) remotes() []netip.Addr {
	var out []netip.Addr
	for _, h := range d.on.Hosts {
		if h != d.host && h.TunnelIP.IsValid() {
			out = append(out, h.TunnelIP)
		}
	}
	return out
}

func (d *draft) ask(list []resource.State, origin ...schema.Pos) {
	for _, st := range list {
		d.out.Ask(d.host.Name, st, origin...)
	}
}

func (d *draft) guests() {
	for _, nic := range d.on.NICs {
		if !nic.Running || !slices.Contains(nic.Hosts, d.host.Name) {
			continue
		}
		if nic.Interface != "" {
			d.out.FreeInterface(d.host, nic)
		}
		p := resource.BridgePort{Bridge: d.bridge, Name: nic.Interface, IfaceID: nic.ID, MAC: nic.MAC.String(), Guard: d.guard(nic)}
		d.ask([]resource.State{p}, nic.Pos)
		if nic.Up() {
			d.ask(bridge.Limit(&p, "", "", d.n.Rate(nic)), nic.Pos)
		}
	}
}

func (d *draft) router() {
	s := d.on.SideOn(d.host.Name)
	if s == nil {
		return
	}
	ns := s.Router.NS
	link := resource.LinkID(ns, s.Link)
	p := resource.BridgePort{Bridge: d.bridge, Name: s.Port, Link: &link, Guards: plugin.RouterGuards(s.Router, d.on.IP6 != nil)}
	d.ask([]resource.State{p})
	d.ask(bridge.Limit(&p, ns, s.Link, d.n.Rate(nil)))
}
