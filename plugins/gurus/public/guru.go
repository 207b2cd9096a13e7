// Package public designs the public leg of routers: a port in the broadcast
// domain of the public range, which all routers of a host share.
//
// In goes a resolved network with a public router; out come its port and flows,
// and what it needs of the host. It is pure; plugins registers it.
package public

import (
	"weft.dev/reconcile/model"
	"weft.dev/reconcile/plugin"
	"weft.dev/reconcile/plugin/bridge"
	"weft.dev/reconcile/plugin/pipeline"
	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

// Guru is CloudStack's PublicNetworkGuru.
type Guru struct{}

// Name implements plugin.Guru.
func (Guru) Name() string { return "PublicNetworkGuru" }

// CanHandle implements plugin.Guru: networks whose router has a public leg.
func (Guru) CanHandle(n *model.Network) string {
	if n.Router == nil || !n.Router.Public() {
		return "its router has no public leg"
	}
	return ""
}

// Design implements plugin.Guru.
func (Guru) Design(n *model.Network, out *plugin.Draft) {
	r := n.Router
	if r.Range.Physical.Spec.VSwitch == bridge.Switch {
		onBridge(n, out)
		return
	}
	seg := SegmentOf(n.Zone, r.Range)
	link := resource.LinkID(r.NS, model.PublicLink)
	port := resource.Port{Bridge: resource.IntegrationBridge, Name: r.PublicPort, Link: &link, Guards: guards(n)}
	sym := resource.PortSym(r.PublicPort)
	patch := resource.ID{Kind: resource.KindPort, Name: pipeline.PatchName(seg.Label)}
	out.Ask(r.Host.Name, port)
	out.Flow(r.Host.Name, []resource.ID{port.ID(), patch}, pipeline.Limit(pipeline.Port(seg, sym), sym, n.Rate(nil))...)
	need := out.Need(r.Host.Name)
	need.Labels = append(need.Labels, seg.Label)
	need.Segments = append(need.Segments, plugin.SegmentNeed{Segment: seg, Port: sym, MAC: r.PublicMAC})
}

// guards are what filters at the public addresses: it has to stand before the wire
// does.
func guards(n *model.Network) []resource.ID {
	return append(plugin.RouterGuards(n.Segments[0], n.Router.NS), resource.ChainID(n.Router.NS, 4, "mangle", "PREROUTING"))
}

// SegmentOf is the broadcast domain of a public range: VLAN 0 is untagged.
func SegmentOf(z *model.Zone, r *model.PublicRange) plugin.Segment {
	return plugin.Segment{
		Scheme: schema.SchemeVLAN, VNet: r.Spec.VLAN.ID, Label: r.Physical.Public, Zone: z.Name,
	}
}
