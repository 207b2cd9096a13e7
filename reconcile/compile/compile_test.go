package compile

import (
	"testing"

	"weft.dev/reconcile/alloc"
	"weft.dev/reconcile/model"
	"weft.dev/reconcile/plugin"
	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

// fakeGuru asks for one port per NIC and host, and a tunnel to each other host.
type fakeGuru struct{ name, no string }

func (g fakeGuru) Name() string                    { return g.name }
func (g fakeGuru) CanHandle(*model.Network) string { return g.no }

func (g fakeGuru) Design(n *model.Network, out *plugin.Draft) {
	for _, h := range n.Hosts {
		need := out.Need(h.Name)
		need.Labels = append(need.Labels, n.Physical.Guest)
		for _, peer := range n.Hosts {
			if peer != h {
				need.Tunnels = append(need.Tunnels, plugin.TunnelNeed{Type: n.Scheme, Remote: peer.TunnelIP, Peer: peer.Name})
			}
		}
		for _, nic := range n.NICs {
			for _, on := range nic.Hosts {
				if on == h.Name && nic.Running {
					out.Ask(h.Name, resource.Port{Bridge: resource.IntegrationBridge, Name: resource.Short(15, "n", nic.ID), IfaceID: nic.ID, MAC: nic.MAC.String()}, nic.Pos)
				}
			}
		}
	}
	out.Domains = append(out.Domains, plugin.Domain{Network: n.ID, MTU: n.MTU})
}

type fakePublic struct{ fakeGuru }

func (p fakePublic) CanServe(*model.Router) string { return p.no }

func (fakePublic) DesignLegs(r *model.Router, out *plugin.Draft) {
	need := out.Need(r.Host.Name)
	need.Segments = append(need.Segments, plugin.SegmentNeed{Segment: plugin.Segment{Scheme: "vlan", VNet: r.Legs[0].Range.Spec.VLAN.ID}, Port: r.Legs[0].Port})
}

type fakeElement struct{}

func (fakeElement) Name() string       { return "VirtualRouter" }
func (fakeElement) Services() []string { return nil }

func (fakeElement) Implement(n *model.Network, out *plugin.Draft) {
	if n.Router != nil {
		out.Ask(n.Router.Host.Name, resource.NS{Name: n.Router.NS, Owner: out.Owner})
	}
}

// fakeVPC is the element of VPCs.
type fakeVPC struct{ fakeElement }

func (fakeVPC) Name() string                            { return "VpcVirtualRouter" }
func (fakeVPC) Implement(*model.Network, *plugin.Draft) {}

func (fakeVPC) ImplementVPC(v *model.VPC, out *plugin.Draft) {
	out.Ask(v.Router.Host.Name, resource.NS{Name: v.Router.NS, Owner: out.Owner})
}

type fakeSwitch struct{ plugin.Switch }

func (fakeSwitch) Name() string { return "OpenVSwitch" }

func (fakeSwitch) DesignHost(h *model.Host, needs *plugin.Needs, out *plugin.Draft) {
	out.Ask(h.Name, resource.Bridge{Name: resource.IntegrationBridge, Datapath: h.Spec.OVS.Datapath, FailMode: "secure"})
	for _, t := range needs.Tunnels {
		out.Ask(h.Name, resource.Tunnel{Bridge: resource.IntegrationBridge, Name: resource.Short(15, "t", t.Type, t.Peer), Type: t.Type, Local: h.TunnelIP, Remote: t.Remote})
	}
	for _, s := range needs.Segments {
		out.Ask(h.Name, resource.Port{Bridge: resource.IntegrationBridge, Name: resource.Short(15, "s", s.Port)})
	}
}

func fakes() plugin.Registry {
	return plugin.Registry{
		Gurus: []plugin.Guru{fakeGuru{name: "OvsGuestNetworkGuru"}}, Public: fakePublic{fakeGuru{name: "PublicNetworkGuru"}},
		Elements: []plugin.Element{fakeElement{}, fakeVPC{}}, Switches: []plugin.Switch{fakeSwitch{}},
	}
}

func parse(files map[string]string, cache *schema.Cache) *schema.Tree {
	tree, _ := schema.Parse(cloudFS(files), cache)
	return tree
}

// lockFor is the lock that weft lock would write for tree.
func lockFor(t *testing.T, tree *schema.Tree, old *alloc.Lock) *alloc.Lock {
	t.Helper()
	lock, _, ds := alloc.Allocate(New(fakes()).Update(tree, old, nil).Demands(), old, alloc.Options{})
	if ds.HasErrors() {
		t.Fatal(ds[0].String())
	}
	return lock
}
