package public

import (
	"weft.dev/reconcile/model"
	"weft.dev/reconcile/plugin"
	"weft.dev/reconcile/plugin/bridge"
	"weft.dev/reconcile/resource"
)

// onBridge asks for the public leg on a Linux bridge: that of the range's VLAN, which
// the routers of a host share, or the label's own.
func onBridge(n *model.Network, out *plugin.Draft) {
	r := n.Router
	label, vlan := r.Range.Physical.Public, r.Range.Spec.VLAN.ID
	name := bridge.Wire(r.Host, label, vlan)
	if vlan != 0 {
		need := out.Need(r.Host.Name)
		need.Wires = append(need.Wires, plugin.WireNeed{Label: label, VLAN: vlan})
	}
	if name == "" {
		return // the switch says so, where it designs the host
	}
	link := resource.LinkID(r.NS, model.PublicLink)
	p := resource.BridgePort{Bridge: name, Name: r.PublicPort, Link: &link, Guards: guards(n)}
	out.Ask(r.Host.Name, p)
	for _, st := range bridge.Limit(&p, r.NS, model.PublicLink, n.Rate(nil)) {
		out.Ask(r.Host.Name, st)
	}
}
