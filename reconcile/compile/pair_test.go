package compile

import (
	"strings"
	"testing"

	"weft.dev/reconcile/alloc"
	"weft.dev/reconcile/model"
	"weft.dev/schema"
)

// TestPairOfInstances: two routers of a pair are each complete, also where two
// instances of weft run their hosts, whose names differ.
func TestPairOfInstances(t *testing.T) {
	const tree = `
kind: Zone
metadata: {name: zone1}
spec: {networkType: Advanced, dns: [9.9.9.9]}
---
kind: PhysicalNetwork
metadata: {name: fabric}
spec: {isolation: VLAN, vnets: ["100-199"], traffic: [{type: Guest, label: br1}, {type: Public, label: br1}], providers: [VirtualRouter, VpcVirtualRouter]}
---
kind: PublicIPRange
metadata: {name: internet}
spec: {vlan: "vlan://50", cidr: 203.0.113.0/24, gateway: 203.0.113.1, ranges: ["203.0.113.10-203.0.113.99"]}
---
kind: Host
metadata: {name: kvm1}
spec: {bridges: [{name: br1, uplinks: [eth1], address: 192.168.50.11/24}]}
---
kind: Host
metadata: {name: kvm2}
spec: {bridges: [{name: br1, uplinks: [eth1], address: 192.168.50.12/24}]}
---
kind: Account
metadata: {name: acme}
spec: {}
---
kind: VPC
metadata: {name: shop, account: acme}
spec: {offering: Redundant VPC offering, cidr: 10.20.0.0/16, routes: [{cidr: 10.77.0.0/16, via: 172.31.0.9}]}
---
kind: Network
metadata: {name: web, account: acme}
spec: {offering: DefaultIsolatedNetworkOfferingForVpcNetworks, vpc: shop, cidr: 10.20.1.0/24}
---
kind: PrivateGateway
metadata: {name: mpls, account: acme}
spec: {vpc: shop, vlan: 900, ip: 172.31.0.2/24, gateway: 172.31.0.1}
---
kind: VirtualMachine
metadata: {name: web-1, account: acme}
spec: {host: kvm1, nics: [{network: web}]}
`
	text := "apiVersion: weft.dev/v1alpha1" + strings.ReplaceAll(tree, "---\n", "---\napiVersion: weft.dev/v1alpha1\n")
	parsed, ds := schema.Parse(cloudFS(map[string]string{"cloud.yaml": text}), nil)
	if ds.HasErrors() {
		t.Fatal(ds[0].String())
	}
	blue := model.StockFacts()
	blue.Instance = "blue"
	facts := map[string]model.Facts{"kvm1": model.StockFacts(), "kvm2": blue}
	c := New(fakes())
	lock, _, ds := alloc.Allocate(c.Update(parsed, nil, facts).Demands(), nil, alloc.Options{})
	if ds.HasErrors() {
		t.Fatal(ds[0].String())
	}
	r := c.Update(parsed, lock, facts)
	v := r.VPC(schema.ID{Kind: schema.KindVPC, Account: "acme", Name: "shop"})
	if v == nil || v.Router == nil || v.Router.Pair == nil {
		t.Fatalf("no pair: %v", r.Diags)
	}
	// The tier, which is compiled by itself, knows what its guests may not use.
	tier := r.Network(schema.ID{Kind: schema.KindNetwork, Account: "acme", Name: "web"}).Segments[0].Reserved()
	if tier == nil || len(tier.Addrs) != 3 {
		t.Fatalf("reserved in the tier: %v", tier)
	}
	for i, x := range v.Router.Each() {
		s := x.Sides[0]
		if tier.MACs[i] != s.MAC || tier.Addrs[1+i] != s.Own || tier.Addrs[0] != s.IP {
			t.Errorf("reserved in the tier %v, and the router has %s, %s and %s", tier, s.MAC, s.Own, s.IP)
		}
	}
	names := map[string]string{}
	for i, x := range v.Router.Each() {
		g := x.VPC.Gateways[0]
		if route := x.VPC.Routes[0]; route.Gateway != g || route.Link() != g.Leg.Link {
			t.Errorf("the route of router %d leads by another's gateway", i)
		}
		for _, port := range []string{g.Leg.Port, x.Sides[0].Port, x.Legs[0].Port, x.NS} {
			if on, taken := names[port]; taken {
				t.Errorf("%s is a name on %s and on %s", port, on, x.Host.Name)
			}
			names[port] = x.Host.Name
		}
	}
	if a, b := v.Router.Pair.Routers[0], v.Router.Pair.Routers[1]; a.VPC.Gateways[0].Leg.MAC != b.VPC.Gateways[0].Leg.MAC || a.VPC.Gateways[0].Leg.Link != b.VPC.Gateways[0].Leg.Link {
		t.Error("the routers differ in what neighbours know")
	}
}
