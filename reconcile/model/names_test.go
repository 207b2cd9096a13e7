package model_test

import (
	"net/netip"
	"strings"
	"testing"
	"testing/fstest"

	"weft.dev/reconcile/alloc"
	"weft.dev/reconcile/model"
	"weft.dev/reconcile/plugin/pipeline"
	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

// TestOwnNames: no document can give something of its own the name of a port that
// weft makes.
func TestOwnNames(t *testing.T) {
	names := []string{
		resource.IntegrationBridge, pipeline.PatchName("cloudbr1"), pipeline.PatchPeer("cloudbr1"),
		pipeline.TunnelName("vxlan", 4789, netip.MustParseAddr("192.168.50.12")),
	}
	names = append(names, routerPorts(t)...)
	const head = "apiVersion: weft.dev/v1alpha1\n"
	for _, name := range names {
		for _, doc := range []string{
			head + "kind: Host\nmetadata: {name: h}\nspec: {bridges: [{name: " + name + "}]}\n",
			head + "kind: Host\nmetadata: {name: h}\nspec: {bridges: [{name: br0, uplinks: [" + name + "]}]}\n",
			head + "kind: PhysicalNetwork\nmetadata: {name: p}\nspec: {isolation: VLAN, traffic: [{type: Guest, label: " + name + "}]}\n",
			head + "kind: VirtualMachine\nmetadata: {name: v, account: a}\nspec: {nics: [{network: n, interface: " + name + "}]}\n",
		} {
			_, ds := schema.Parse(fstest.MapFS{"a.yaml": {Data: []byte(doc)}}, nil)
			if len(ds) != 1 || !strings.Contains(ds[0].Message, name) || ds[0].Pos.Line != 4 {
				t.Errorf("%s is taken: %v", doc, ds)
			}
		}
	}
}

// routerPorts are the ports of a router on its host.
func routerPorts(t *testing.T) []string {
	tree, ds := schema.Parse(fstest.MapFS{"a.yaml": {Data: []byte(strings.ReplaceAll(`
kind: Zone
metadata: {name: z}
spec: {networkType: Advanced}
---
kind: PhysicalNetwork
metadata: {name: p}
spec: {isolation: VLAN, vnets: ["100"], traffic: [{type: Guest, label: br0}], providers: [VirtualRouter]}
---
kind: Host
metadata: {name: h}
spec: {bridges: [{name: br0}]}
---
kind: Account
metadata: {name: a}
spec: {}
---
kind: NetworkOffering
metadata: {name: o}
spec: {guestType: Isolated, persistent: true, services: {Gateway: VirtualRouter}}
---
kind: Network
metadata: {name: n, account: a}
spec: {offering: o}
`, "\nkind:", "\napiVersion: weft.dev/v1alpha1\nkind:"))}}, nil)
	if ds.HasErrors() {
		t.Fatal(ds[0].String())
	}
	_, demands := judge(tree, alloc.Empty())
	lock, _, _ := alloc.Allocate(demands, nil, alloc.Options{})
	site, _ := model.BuildSite(tree, nil, nil)
	var index model.Index
	for _, d := range tree.Documents {
		index.Add(d)
	}
	n, _ := model.Resolve(site, &index, index.Networks()[0], lock)
	if n.Router == nil {
		t.Fatal("the network has no router")
	}
	return []string{n.Router.Sides[0].Port, "wp-a-n-weft"}
}
