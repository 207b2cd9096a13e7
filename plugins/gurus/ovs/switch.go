package ovs

import (
	"fmt"
	"slices"

	"weft.dev/reconcile/model"
	"weft.dev/reconcile/plugin"
	"weft.dev/reconcile/plugin/pipeline"
	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

// Switch designs what the networks of a host share on Open vSwitch.
type Switch struct{}

// Name implements plugin.Switch.
func (Switch) Name() string { return "OpenVSwitch" }

// DesignHost implements plugin.Switch: the integration bridge and its fixed
// rules, the host's label bridges, patches to those that a network needs, one
// tunnel port per encapsulation and remote host, and the shared segments.
func (Switch) DesignHost(h *model.Host, needs *plugin.Needs, out *plugin.Draft) {
	d := hostDraft{host: h, out: out}
	out.Ask(h.Name, resource.Bridge{
		Name: resource.IntegrationBridge, Datapath: datapath(h), FailMode: "secure",
	})
	d.fabrics(needs)
	rules := pipeline.Host()
	for _, b := range needs.Bridges {
		d.bridge(b, needs)
	}
	for _, label := range needs.Labels {
		rules = append(rules, d.patch(label)...)
	}
	for _, t := range needs.Tunnels {
		rules = append(rules, d.tunnel(t))
	}
	out.Flow(h.Name, d.made, append(rules, d.segments(needs.Segments, needs.Privates)...)...)
}

// fabrics reports wires or encapsulations that share a number by accident: their
// networks would hear each other.
func (d *hostDraft) fabrics(needs *plugin.Needs) {
	seen := map[uint32]string{}
	see := func(s plugin.Segment, what string) {
		f := pipeline.Fabric(s)
		if other, ok := seen[f]; ok && other != what {
			d.out.Diags.Errorf(d.host.Doc.Pos, "fabric-clash", "%s and %s of host %s have the same number in the switch", other, what, d.host.Name).
				Hintf("rename a label, or use another UDP port")
		}
		seen[f] = what
	}
	for _, l := range needs.Labels {
		see(plugin.Segment{Scheme: schema.SchemeVLAN, Label: l, Zone: d.host.Zone}, "label "+l)
	}
	for _, t := range needs.Tunnels {
		see(plugin.Segment{Scheme: t.Type, Port: t.DstPort}, fmt.Sprintf("%s on port %d", t.Type, t.DstPort))
	}
}

// datapath is what h's bridges are made with.
func datapath(h *model.Host) string {
	if h.Facts.Datapath != "" {
		return h.Facts.Datapath
	}
	return h.Spec.OVS.Datapath
}

type hostDraft struct {
	host *model.Host
	out  *plugin.Draft
	made []resource.ID
}

func (d *hostDraft) bridge(b *schema.HostBridge, needs *plugin.Needs) {
	at := d.host.Doc.PosOf(b.At)
	if b.Manage == "Use" {
		d.out.Ask(d.host.Name, resource.Bridge{Name: b.Name, Datapath: datapath(d.host), FailMode: "standalone", Existing: true}, at)
		return
	}
	mac := plugin.BridgeMAC(d.host, b.Name)
	if b.Manage == "Takeover" {
		mac = "" // the switch takes the uplink's, which neighbours know the host by
	}
	d.out.Ask(d.host.Name, resource.Bridge{
		Name: b.Name, Datapath: datapath(d.host), FailMode: "standalone", Adopt: true, MTU: needs.MTU(b.Name), MAC: mac,
	}, at)
	d.uplinks(b, at)
	d.out.Ask(d.host.Name, resource.Link{Name: b.Name, Of: b.Name, Up: true}, at)
	d.out.AskAddress(d.host, b)
}

// uplinks plugs what leads to the wire: one link, or several as a bond. A taken one
// loses its addresses before it is plugged, and the bridge gets its own after that.
func (d *hostDraft) uplinks(b *schema.HostBridge, at schema.Pos) {
	var links []resource.ID
	for _, up := range b.Uplinks {
		link := plugin.Uplink(b, up)
		links = append(links, link.ID())
		d.out.Ask(d.host.Name, link, at)
		if b.Bond == nil {
			d.out.Ask(d.host.Name, resource.Port{Bridge: b.Name, Name: up, Uplink: true, Link: &links[0]}, at)
		}
	}
	if b.Bond == nil || len(links) == 0 {
		return
	}
	bond := &resource.Bond{Mode: b.Bond.Mode, LACP: b.Bond.LACP, Members: slices.Sorted(slices.Values(b.Uplinks))}
	d.out.Ask(d.host.Name, resource.Port{Bridge: b.Name, Name: b.Bond.Name, Uplink: true, Bond: bond, Guards: links}, at)
}

func (d *hostDraft) patch(label string) []resource.Flow {
	at := d.host.Doc.Pos
	if b := d.host.Bridge(label); b != nil {
		at = d.host.Doc.PosOf(b.At)
	}
	near := resource.Port{Bridge: resource.IntegrationBridge, Name: pipeline.PatchName(label), Type: "patch", Peer: pipeline.PatchPeer(label)}
	far := resource.Port{Bridge: label, Name: pipeline.PatchPeer(label), Type: "patch", Peer: pipeline.PatchName(label)}
	d.out.Ask(d.host.Name, near, at)
	d.out.Ask(d.host.Name, far, at)
	d.made = append(d.made, near.ID())
	return pipeline.Wire(d.host.Zone, label)
}

func (d *hostDraft) tunnel(t plugin.TunnelNeed) resource.Flow {
	name := pipeline.TunnelName(t.Type, t.DstPort, t.Remote)
	_, endpoint := plugin.Endpoint(d.host)
	tun := resource.Tunnel{
		Bridge: resource.IntegrationBridge, Name: name, Type: t.Type,
		Local: d.host.TunnelIP, Remote: t.Remote, DstPort: t.DstPort, Endpoint: endpoint,
	}
	d.out.Ask(d.host.Name, tun)
	d.made = append(d.made, tun.ID())
	return pipeline.Tunnel(t.Type, t.DstPort, resource.PortSym(name))
}

// segments returns the rules of the broadcast domains that several owners
// have ports in. Needs are sorted, so that equal segments are neighbours.
func (d *hostDraft) segments(needs []plugin.SegmentNeed, privates []plugin.PrivateNeed) []resource.Flow {
	var out []resource.Flow
	for len(needs) > 0 {
		seg := needs[0].Segment
		n := slices.IndexFunc(needs, func(s plugin.SegmentNeed) bool { return s.Segment != seg })
		if n < 0 {
			n = len(needs)
		}
		ports := make([]string, n)
		for i, s := range needs[:n] {
			ports[i] = s.Port
		}
		out = append(out, pipeline.Segment(seg, ports, nil)...)
		for _, p := range privates {
			if p.Primary == seg {
				out = append(out, pipeline.Secondary(seg, p.Secondary, ports)...)
			}
		}
		needs = needs[n:]
	}
	return out
}
