package public

import (
	"weft.dev/reconcile/plugin"
	"weft.dev/reconcile/plugin/bridge"
	"weft.dev/reconcile/resource"
)

// onBridge joins the link on a Linux bridge: that of the VLAN, which the routers of a
// host share, or the label's own.
func (p *plug) onBridge(out *plugin.Draft) {
	r, l := p.r, p.leg
	label, vlan := p.seg.Label, p.seg.VNet
	name := bridge.Wire(r.Host, label, vlan)
	if vlan != 0 {
		need := out.Need(r.Host.Name)
		need.Wires = append(need.Wires, plugin.WireNeed{Label: label, VLAN: vlan})
	}
	if name == "" {
		return // the switch says so, where it designs the host
	}
	link := resource.LinkID(r.NS, l.Link)
	port := resource.BridgePort{Bridge: name, Name: l.Port, Link: &link, Guards: guards(r)}
	out.Ask(r.Host.Name, port)
	for _, st := range bridge.Limit(&port, r.NS, l.Link, r.Rate) {
		out.Ask(r.Host.Name, st)
	}
}
