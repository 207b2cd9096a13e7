package alloc_test

import (
	"fmt"
	"strings"
	"testing"

	"weft.dev/reconcile/alloc"
	"weft.dev/reconcile/model"
)

const envelope = "---\napiVersion: weft.dev/v1alpha1\n"

// demands resolves a zone with hosts, given as name and rest of the spec, and 300
// networks with routers.
func demands(t *testing.T, hosts ...string) []model.Demand {
	t.Helper()
	var b strings.Builder
	b.WriteString(envelope + "kind: Zone\nmetadata: {name: zone1}\nspec: {networkType: Advanced}\n")
	b.WriteString(envelope + "kind: PhysicalNetwork\nmetadata: {name: fabric}\nspec: {isolation: VXLAN, vnets: [\"5000-9999\"], traffic: [{type: Guest, label: br1}, {type: Public, label: br1}], providers: [VirtualRouter]}\n")
	b.WriteString(envelope + "kind: PublicIPRange\nmetadata: {name: internet}\nspec: {cidr: 203.0.112.0/20, gateway: 203.0.112.1, ranges: [\"203.0.112.10-203.0.127.250\"]}\n")
	b.WriteString(envelope + "kind: Account\nmetadata: {name: acme}\nspec: {}\n")
	for i, h := range hosts {
		name, rest, _ := strings.Cut(h, " ")
		fmt.Fprintf(&b, envelope+"kind: Host\nmetadata: {name: %s}\nspec: {bridges: [{name: br1, address: 10.0.0.%d/8}] %s}\n", name, i+1, rest)
	}
	for i := range 300 {
		fmt.Fprintf(&b, envelope+"kind: Network\nmetadata: {name: n%d, account: acme}\nspec: {offering: %s}\n", i, model.OfferingSourceNat)
	}
	return resolved(t, b.String())
}

func routers(l *alloc.Lock) map[string]string {
	out := map[string]string{}
	for _, e := range l.Entries() {
		if e.Field == model.FieldHost {
			out[e.Owner] = e.Value
		}
	}
	return out
}

func count(routers map[string]string) map[string]int {
	out := map[string]int{}
	for _, h := range routers {
		out[h]++
	}
	return out
}

func allocate(t *testing.T, demands []model.Demand, old *alloc.Lock, opts alloc.Options) *alloc.Lock {
	t.Helper()
	l, _, ds := alloc.Allocate(demands, old, opts)
	if ds.HasErrors() {
		t.Fatal(ds[0].String())
	}
	return l
}

func moved(a, b map[string]string) (from map[string]int) {
	from = map[string]int{}
	for o, h := range a {
		if b[o] != h {
			from[h]++
		}
	}
	return from
}

func TestPlacement(t *testing.T) {
	three := demands(t, "kvm1", "kvm2", "kvm3 , routers: {weight: 2}")
	l := allocate(t, three, nil, alloc.Options{})
	before := routers(l)
	if n := count(before); n["kvm1"] < 50 || n["kvm2"] < 50 || n["kvm3"] < 110 || n["kvm3"] > 190 {
		t.Error("300 routers by weights 1:1:2:", n)
	}

	four := demands(t, "kvm1", "kvm2", "kvm3 , routers: {weight: 2}", "kvm4")
	if m := moved(before, routers(allocate(t, four, l, alloc.Options{}))); len(m) != 0 {
		t.Error("routers do not stay where they are when a host comes:", m)
	}
	balanced := routers(allocate(t, four, l, alloc.Options{Rebalance: true}))
	for o, h := range balanced {
		if h != before[o] && h != "kvm4" {
			t.Errorf("rebalancing moved %s to %s, not to the new host", o, h)
		}
	}
	if n := count(balanced); n["kvm4"] < 30 || n["kvm4"] > 90 {
		t.Error("kvm4 got", n)
	}
}

func TestHostsThatLose(t *testing.T) {
	l := allocate(t, demands(t, "kvm1", "kvm2", "kvm3"), nil, alloc.Options{})
	before := routers(l)
	on := count(before)["kvm2"]
	for what, now := range map[string][]model.Demand{
		"Maintenance": demands(t, "kvm1", "kvm2 , state: Maintenance", "kvm3"),
		"weight 0":    demands(t, "kvm1", "kvm2 , routers: {weight: 0}", "kvm3"),
		"gone":        demands(t, "kvm1", "kvm4 , routers: {weight: 0}", "kvm3"),
	} {
		after := routers(allocate(t, now, l, alloc.Options{}))
		if m := moved(before, after); len(m) != 1 || m["kvm2"] != on || count(after)["kvm2"] != 0 {
			t.Errorf("%s: moved %v, had %d", what, m, on)
		}
	}
	if m := moved(before, routers(allocate(t, demands(t, "kvm1", "kvm2 , state: Disabled", "kvm3"), l, alloc.Options{}))); len(m) != 0 {
		t.Error("routers left a Disabled host, which goes on running them:", m)
	}
	fresh := routers(allocate(t, demands(t, "kvm1", "kvm2 , state: Disabled", "kvm3"), nil, alloc.Options{}))
	if count(fresh)["kvm2"] != 0 {
		t.Error("a Disabled host got new routers")
	}
}

func TestEvacuate(t *testing.T) {
	all := demands(t, "kvm1", "kvm2")
	l := allocate(t, all, nil, alloc.Options{})
	after := routers(allocate(t, all, l, alloc.Options{Evacuate: []string{"kvm1"}}))
	if n := count(after); n["kvm1"] != 0 || n["kvm2"] != 300 {
		t.Error(n)
	}
	_, _, ds := alloc.Allocate(all, l, alloc.Options{Evacuate: []string{"kvm1", "kvm2"}})
	if !ds.HasErrors() {
		t.Error("there is nowhere to go")
	}
}
