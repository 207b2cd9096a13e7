// Package public designs the public leg of routers: a port in the broadcast
// domain of the public range, which all routers of a host share.
//
// In goes a router; out come the ports and flows of its public legs,
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

// Name implements plugin.Public.
func (Guru) Name() string { return "PublicNetworkGuru" }

// CanServe implements plugin.Public: any router.
func (Guru) CanServe(*model.Router) string { return "" }

// DesignLegs implements plugin.Public.
func (Guru) DesignLegs(r *model.Router, out *plugin.Draft) {
	for _, one := range r.Each() {
		legs(one, out)
	}
}

func legs(r *model.Router, out *plugin.Draft) {
	for _, l := range r.Legs {
		p := plug{r, l, l.Range.Physical, SegmentOf(r.Zone, l.Range)}
		p.design(out)
	}
	if r.VPC == nil {
		return
	}
	for _, g := range r.VPC.Gateways {
		p := plug{r, &g.Leg, g.Physical, plugin.Segment{Scheme: schema.SchemeVLAN, VNet: g.VLAN, Label: g.Physical.Guest, Zone: r.Zone.Name}}
		p.design(out)
	}
}

// A plug joins a link of a router to a VLAN that routers of the host share: that of a
// public range, or of a private gateway, which is CloudStack's PrivateNetworkGuru's.
type plug struct {
	r   *model.Router
	leg *model.Leg
	on  *model.PhysicalNetwork
	seg plugin.Segment
}

func (p *plug) design(out *plugin.Draft) {
	if p.on.Spec.VSwitch == bridge.Switch {
		p.onBridge(out)
		return
	}
	r, l := p.r, p.leg
	link := resource.LinkID(r.NS, l.Link)
	port := resource.Port{Bridge: resource.IntegrationBridge, Name: l.Port, Link: &link, Guards: guards(r)}
	sym := resource.PortSym(l.Port)
	patch := resource.ID{Kind: resource.KindPort, Name: pipeline.PatchName(p.seg.Label)}
	out.Ask(r.Host.Name, port)
	out.Flow(r.Host.Name, []resource.ID{port.ID(), patch}, pipeline.Limit(pipeline.Port(p.seg, sym), sym, r.Rate)...)
	need := out.Need(r.Host.Name)
	need.Labels = append(need.Labels, p.seg.Label)
	need.Segments = append(need.Segments, plugin.SegmentNeed{Segment: p.seg, Port: sym, MAC: l.MAC})
}

// guards are what filters at the public addresses: it has to stand before the wire
// does.
func guards(r *model.Router) []resource.ID {
	return append(plugin.RouterGuards(r, r.Dual()), resource.ChainID(r.NS, 4, "mangle", "PREROUTING"))
}

// SegmentOf is the broadcast domain of a public range: VLAN 0 is untagged.
func SegmentOf(z *model.Zone, r *model.PublicRange) plugin.Segment {
	return plugin.Segment{
		Scheme: schema.SchemeVLAN, VNet: r.Spec.VLAN.ID, Label: r.Physical.Public, Zone: z.Name,
	}
}
