package linuxbridge

import (
	"weft.dev/reconcile/model"
	"weft.dev/reconcile/plugin"
	"weft.dev/reconcile/plugin/bridge"
	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

// DesignHost implements plugin.Switch: the host's label bridges with their uplinks
// and addresses, and the bridges of VLANs that several owners have ports in.
func (Switch) DesignHost(h *model.Host, needs *plugin.Needs, out *plugin.Draft) {
	d := hostDraft{host: h, out: out}
	for _, b := range needs.Bridges {
		d.label(b, needs.MTU(b.Name))
	}
	for _, w := range needs.Wires {
		if bridge.Wire(h, w.Label, w.VLAN) == "" {
			noUplink(h, w.Label, w.VLAN, out)
			continue
		}
		at := h.Doc.PosOf(h.Bridge(w.Label).At)
		for _, st := range bridge.VLAN(h, w.Label, w.VLAN, needs.MTU(w.Label)) {
			out.Ask(h.Name, st, at)
		}
	}
}

type hostDraft struct {
	host *model.Host
	out  *plugin.Draft
}

// label asks for the bridge of a label. One that is not weft's to make is there with
// its uplinks; those only have to be up, for the VLANs on them.
func (d *hostDraft) label(b *schema.HostBridge, mtu int) {
	at, uplinks := d.host.Doc.PosOf(b.At), b.Uplinks
	ask := func(st resource.State) { d.out.Ask(d.host.Name, st, at) }
	if b.Bond != nil {
		d.out.Diags.Errorf(at, "bond-on-linux-bridge", "weft makes bonds on Open vSwitch only, and label %s is one of Linux bridges", b.Name).
			Offending(b.Bond.Name).Hintf("make the bond on the host and write uplinks: [%s]", b.Bond.Name)
		uplinks = []string{b.Bond.Name}
	}
	for _, up := range uplinks {
		ask(plugin.Uplink(b, up))
	}
	if b.Manage == "Use" {
		ask(resource.Link{Name: b.Name, Up: true})
		return
	}
	ask(resource.Link{Name: b.Name, MAC: plugin.BridgeMAC(d.host, b.Name), MTU: mtu, Up: true, Bridge: &resource.LinuxBridge{Adopt: true}})
	for _, up := range uplinks {
		ask(resource.BridgePort{Bridge: b.Name, Name: up, Uplink: true, Guards: []resource.ID{resource.LinkID("", up)}})
	}
	d.out.AskAddress(d.host, b)
}
