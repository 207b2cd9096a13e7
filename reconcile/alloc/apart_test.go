package alloc_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"weft.dev/reconcile/alloc"
	"weft.dev/reconcile/model"
	"weft.dev/schema"
)

// pairDemands are those of 60 networks with redundant routers on hosts given as name,
// rack and rest of the spec.
func pairDemands(t *testing.T, hosts ...string) []model.Demand {
	t.Helper()
	var b strings.Builder
	b.WriteString(envelope + "kind: Zone\nmetadata: {name: zone1}\nspec: {networkType: Advanced, routers: {spreadBy: rack}}\n")
	b.WriteString(envelope + "kind: PhysicalNetwork\nmetadata: {name: fabric}\nspec: {isolation: VXLAN, vnets: [\"5000-9999\"], traffic: [{type: Guest, label: br1}, {type: Public, label: br1}], providers: [VirtualRouter]}\n")
	b.WriteString(envelope + "kind: PublicIPRange\nmetadata: {name: internet}\nspec: {cidr: 203.0.112.0/20, gateway: 203.0.112.1, ranges: [\"203.0.112.10-203.0.127.250\"]}\n")
	b.WriteString(envelope + "kind: Account\nmetadata: {name: acme}\nspec: {}\n")
	b.WriteString(envelope + "kind: NetworkOffering\nmetadata: {name: pair}\nspec: {guestType: Isolated, services: {SourceNat: {provider: VirtualRouter, redundantRouter: true}}}\n")
	for i, h := range hosts {
		f := strings.SplitN(h, " ", 3)
		rest := ""
		if len(f) > 2 {
			rest = ", " + f[2]
		}
		fmt.Fprintf(&b, envelope+"kind: Host\nmetadata: {name: %s, labels: {rack: %s}}\nspec: {bridges: [{name: br1, address: 10.0.0.%d/8}]%s}\n", f[0], f[1], i+1, rest)
	}
	for i := range 60 {
		fmt.Fprintf(&b, envelope+"kind: Network\nmetadata: {name: n%d, account: acme}\nspec: {offering: pair}\n", i)
	}
	return resolved(t, b.String())
}

// resolved is what the networks of a tree ask the lock for.
func resolved(t *testing.T, text string) []model.Demand {
	t.Helper()
	tree, ds := schema.Parse(fstest.MapFS{"tree.yaml": &fstest.MapFile{Data: []byte(text)}}, nil)
	if ds.HasErrors() {
		t.Fatal(ds[0].String())
	}
	site, ds := model.BuildSite(tree, nil, nil)
	if ds.HasErrors() {
		t.Fatal(ds[0].String())
	}
	var index model.Index
	for _, d := range tree.Documents {
		index.Add(d)
	}
	var out []model.Demand
	for _, d := range index.Networks() {
		n, ds := model.Resolve(site, &index, d, alloc.Empty())
		if ds.HasErrors() {
			t.Fatal(ds[0].String())
		}
		out = append(out, n.Demands...)
	}
	return out
}

// pairs are the hosts of both routers by owner.
func pairs(l *alloc.Lock) map[string][2]string {
	out := map[string][2]string{}
	for _, e := range l.Entries() {
		p := out[e.Owner]
		switch e.Field {
		case model.FieldHost:
			p[0] = e.Value
		case model.FieldHost2:
			p[1] = e.Value
		default:
			continue
		}
		out[e.Owner] = p
	}
	return out
}

var rack = map[string]string{"a1": "a", "a2": "a", "b1": "b", "b2": "b"}

// Routers of a pair are in different racks where there are such, and never on one host.
func TestPairsAreApart(t *testing.T) {
	four := []string{"a1 a", "a2 a", "b1 b", "b2 b"}
	lock, _, ds := alloc.Allocate(pairDemands(t, four...), nil, alloc.Options{})
	noErrors(t, ds)
	had := pairs(lock)
	if len(had) != 60 {
		t.Fatalf("%d pairs", len(had))
	}
	for o, p := range had {
		if p[0] == "" || p[1] == "" || rack[p[0]] == rack[p[1]] {
			t.Errorf("%s is on %v", o, p)
		}
	}
	if ds := alloc.Check(pairDemands(t, four...), lock); len(ds) > 0 {
		t.Errorf("the lock is stale: %s", ds[0])
	}

	// One host goes: only its routers move, and stay in other racks.
	lock, _, ds = alloc.Allocate(pairDemands(t, "a1 a", "a2 a", "b1 b", "b2 b state: Maintenance"), lock, alloc.Options{})
	noErrors(t, ds)
	for o, p := range pairs(lock) {
		for i := range p {
			if was := had[o][i]; was != "b2" && p[i] != was || p[i] == "b2" || rack[p[0]] == rack[p[1]] {
				t.Errorf("%s was on %v and is on %v", o, had[o], p)
			}
		}
	}

	// One rack is left: they share it, and not a host.
	lock, _, ds = alloc.Allocate(pairDemands(t, "a1 a", "a2 a", "b1 b state: Maintenance", "b2 b state: Maintenance"), lock, alloc.Options{})
	noErrors(t, ds)
	for o, p := range pairs(lock) {
		if p[0] == p[1] || rack[p[0]] != "a" || rack[p[1]] != "a" {
			t.Errorf("%s is on %v", o, p)
		}
	}

	// One host is left: they stay where they are.
	before := pairs(lock)
	lock, _, ds = alloc.Allocate(pairDemands(t, "a1 a state: Maintenance", "a2 a", "b1 b state: Maintenance", "b2 b state: Maintenance"), lock, alloc.Options{})
	noErrors(t, ds)
	for o, p := range pairs(lock) {
		if p != before[o] {
			t.Errorf("%s was on %v and is on %v", o, before[o], p)
		}
	}
}

// Of a pair whose two hosts are evacuated one router moves at a time.
func TestPairsLeaveOneByOne(t *testing.T) {
	four := pairDemands(t, "a1 a", "a2 a", "b1 b", "b2 b")
	lock, _, ds := alloc.Allocate(four, nil, alloc.Options{})
	noErrors(t, ds)
	for _, want := range []int{1, 0} {
		before := pairs(lock)
		lock, _, ds = alloc.Allocate(four, lock, alloc.Options{Evacuate: []string{"a1", "b1"}})
		noErrors(t, ds)
		stay := 0
		for o, p := range pairs(lock) {
			moved, left := 0, 0
			for i := range p {
				if p[i] != before[o][i] {
					moved++
				}
				if p[i] == "a1" || p[i] == "b1" {
					left++
				}
			}
			if moved > 1 {
				t.Errorf("%s was on %v and is on %v", o, before[o], p)
			}
			stay += left
		}
		if (stay > 0) != (want > 0) {
			t.Errorf("%d routers are still on hosts that are evacuated", stay)
		}
	}
}

// So it is with one whose two hosts go into Maintenance in one commit, and such a lock
// is not stale.
func TestPairsLeaveMaintenanceOneByOne(t *testing.T) {
	lock, _, ds := alloc.Allocate(pairDemands(t, "a1 a", "a2 a", "b1 b", "b2 b"), nil, alloc.Options{})
	noErrors(t, ds)
	closed := pairDemands(t, "a1 a state: Maintenance", "a2 a", "b1 b state: Maintenance", "b2 b")
	both := 0
	for round := range 3 {
		if ds := alloc.Check(closed, lock); len(ds) > 0 {
			t.Errorf("round %d: the lock is stale: %s", round, ds[0])
		}
		before := pairs(lock)
		lock, _, ds = alloc.Allocate(closed, lock, alloc.Options{})
		noErrors(t, ds)
		for o, p := range pairs(lock) {
			left := map[bool]int{}
			for i := range p {
				left[before[o][i] == "a1" || before[o][i] == "b1"]++
				if p[i] != before[o][i] && before[o][1-i] != p[1-i] {
					t.Errorf("%s was on %v and is on %v", o, before[o], p)
				}
			}
			if both += left[true] / 2; rack[p[0]] == rack[p[1]] && round > 0 {
				t.Errorf("round %d: %s is on %v", round, o, p)
			}
		}
		switch told := len(ds); {
		case round == 0 && (both == 0 || told != both || ds[0].Code != "pair-moves"):
			t.Errorf("%d pairs had both in Maintenance, and %d were told: %v", both, told, ds)
		case round > 0 && told > 0:
			t.Errorf("round %d: %s", round, ds[0])
		}
	}
	for o, p := range pairs(lock) {
		if p[0] != "a2" && p[0] != "b2" || p[1] != "a2" && p[1] != "b2" {
			t.Errorf("%s ends on %v", o, p)
		}
	}
	// One host is left: one of the two goes there, and the other one stays.
	one := pairDemands(t, "a1 a state: Maintenance", "a2 a state: Maintenance", "b1 b", "b2 b state: Maintenance")
	for range 3 {
		lock, _, ds = alloc.Allocate(one, lock, alloc.Options{})
		noErrors(t, ds)
	}
	for o, p := range pairs(lock) {
		if p[0] == p[1] || p[0] != "b1" && p[1] != "b1" {
			t.Errorf("%s ends on %v", o, p)
		}
	}
}

func noErrors(t *testing.T, ds schema.Diags) {
	t.Helper()
	if ds.HasErrors() {
		t.Fatal(ds[0].String())
	}
}

// A tier that goes takes the number along that named it.
func TestLeadTierMoves(t *testing.T) {
	tiers := func(names ...string) []model.Demand {
		var b strings.Builder
		b.WriteString(envelope + "kind: Zone\nmetadata: {name: zone1}\nspec: {networkType: Advanced}\n")
		b.WriteString(envelope + "kind: PhysicalNetwork\nmetadata: {name: fabric}\nspec: {isolation: VLAN, vnets: [\"100-200\"], traffic: [{type: Guest, label: br1}, {type: Public, label: br1}], providers: [VpcVirtualRouter]}\n")
		b.WriteString(envelope + "kind: PublicIPRange\nmetadata: {name: internet}\nspec: {cidr: 203.0.112.0/20, gateway: 203.0.112.1, ranges: [\"203.0.112.10-203.0.127.250\"]}\n")
		b.WriteString(envelope + "kind: Account\nmetadata: {name: acme}\nspec: {}\n")
		b.WriteString(envelope + "kind: VPCOffering\nmetadata: {name: pairs}\nspec: {services: {SourceNat: VpcVirtualRouter, NetworkACL: VpcVirtualRouter}, redundantRouter: true}\n")
		b.WriteString(envelope + "kind: NetworkOffering\nmetadata: {name: tier}\nspec: {guestType: Isolated, forVPC: true, services: {SourceNat: VpcVirtualRouter, NetworkACL: VpcVirtualRouter}}\n")
		b.WriteString(envelope + "kind: VPC\nmetadata: {name: shop, account: acme}\nspec: {offering: pairs, cidr: 10.0.0.0/16}\n")
		for i, h := range []string{"h1", "h2"} {
			fmt.Fprintf(&b, envelope+"kind: Host\nmetadata: {name: %s}\nspec: {bridges: [{name: br1, address: 10.9.0.%d/24}]}\n", h, i+1)
		}
		for i, n := range names {
			fmt.Fprintf(&b, envelope+"kind: Network\nmetadata: {name: %s, account: acme}\nspec: {offering: tier, vpc: shop, acl: default_deny, cidr: 10.0.%d.0/24}\n", n, i+1)
		}
		tree, ds := schema.Parse(fstest.MapFS{"tree.yaml": &fstest.MapFile{Data: []byte(b.String())}}, nil)
		noErrors(t, ds)
		site, ds := model.BuildSite(tree, nil, nil)
		noErrors(t, ds)
		var index model.Index
		for _, d := range tree.Documents {
			index.Add(d)
		}
		v, ds := model.ResolveVPC(site, &index, index.VPC(schema.ID{Kind: schema.KindVPC, Account: "acme", Name: "shop"}), alloc.Empty())
		noErrors(t, ds)
		return v.Demands
	}
	lead := func(l *alloc.Lock) string { return l.Number("vpc/acme/shop", model.FieldLead) }
	lock, _, ds := alloc.Allocate(tiers("b", "c"), nil, alloc.Options{})
	noErrors(t, ds)
	first := lead(lock)
	lock, _, ds = alloc.Allocate(tiers("a", "b", "c", "d"), lock, alloc.Options{})
	noErrors(t, ds)
	if lead(lock) != first || first == "" {
		t.Errorf("another tier moves it from %q to %q", first, lead(lock))
	}
	lock, _, ds = alloc.Allocate(tiers("a", "d"), lock, alloc.Options{})
	noErrors(t, ds)
	if got := lead(lock); got != "a" && got != "d" {
		t.Errorf("it is in %q, which is gone", got)
	}
}
