package alloc_test

import (
	"fmt"
	"strings"
	"testing"

	"weft.dev/reconcile/alloc"
	"weft.dev/reconcile/model"
)

// demands6 are those of dual stack networks with one guest each.
func demands6(t *testing.T, prefix string, networks ...string) []model.Demand {
	t.Helper()
	var b strings.Builder
	b.WriteString(envelope + "kind: Zone\nmetadata: {name: zone1}\nspec: {networkType: Advanced, ip6Prefix: \"" + prefix + "\"}\n")
	b.WriteString(envelope + "kind: PhysicalNetwork\nmetadata: {name: fabric}\nspec: {isolation: VXLAN, vnets: [\"5000-9999\"], traffic: [{type: Guest, label: br1}, {type: Public, label: br1}], providers: [VirtualRouter]}\n")
	b.WriteString(envelope + "kind: PublicIPRange\nmetadata: {name: internet}\nspec: {cidr: 203.0.112.0/20, gateway: 203.0.112.1, ranges: [\"203.0.112.10-203.0.127.250\"],\n  ip6: {cidr: \"2001:db8:0:3::/64\", gateway: \"2001:db8:0:3::1\"}}\n")
	b.WriteString(envelope + "kind: Account\nmetadata: {name: acme}\nspec: {}\n")
	b.WriteString(envelope + "kind: Host\nmetadata: {name: kvm1}\nspec: {bridges: [{name: br1, address: 10.0.0.1/8}]}\n")
	b.WriteString(envelope + "kind: NetworkOffering\nmetadata: {name: dual}\nspec: {guestType: Isolated, internetProtocol: DualStack, services: {Dhcp: VirtualRouter, SourceNat: VirtualRouter}}\n")
	for _, n := range networks {
		name, rest, _ := strings.Cut(n, " ")
		fmt.Fprintf(&b, envelope+"kind: Network\nmetadata: {name: %s, account: acme}\nspec: {offering: dual, ip6: {mode: DHCPv6%s}}\n", name, rest)
		fmt.Fprintf(&b, envelope+"kind: VirtualMachine\nmetadata: {name: vm-%s, account: acme}\nspec: {nics: [{network: %[1]s}]}\n", name)
	}
	return resolved(t, b.String())
}

// Every network has a /64 of its own, none that of the public network, and a new one
// changes nobody's.
func TestIP6(t *testing.T) {
	before, _, ds := alloc.Allocate(demands6(t, "2001:db8::/61", "b", "d", "f"), nil, alloc.Options{})
	if len(ds) > 0 {
		t.Fatal(ds[0].String())
	}
	after, report, ds := alloc.Allocate(demands6(t, "2001:db8::/61", "a", "b", "c", "d", "e", "f"), before, alloc.Options{})
	if len(ds) > 0 || len(report.Changed) > 0 || len(report.Released) > 0 {
		t.Fatalf("%v %+v", ds, report)
	}
	seen := map[string]bool{"2001:db8:0:3::/64": true}
	for _, n := range []string{"a", "b", "c", "d", "e", "f"} {
		v := after.Number("network/acme/"+n, model.FieldIP6)
		if v == "" || seen[v] || !strings.HasPrefix(v, "2001:db8:") {
			t.Errorf("%s has %q", n, v)
		}
		seen[v] = true
		if v := after.Number("network/acme/"+n, model.FieldPublicIP6); !strings.HasPrefix(v, "2001:db8:0:3:") || seen[v] {
			t.Errorf("the router of %s has %q", n, v)
		}
		if v := after.Number("nic/acme/vm-"+n+"/"+n, model.FieldIP6); !strings.HasPrefix(v, "::") {
			t.Errorf("the guest of %s has %q", n, v)
		}
	}
	again, _ := alloc.Parse(alloc.FileName, after.Marshal(), nil)
	if string(again.Marshal()) != string(after.Marshal()) {
		t.Error("the lock is another when read again")
	}
}

func TestIP6Exhausted(t *testing.T) {
	_, _, ds := alloc.Allocate(demands6(t, "2001:db8::/63", "a", "b", "c"), nil, alloc.Options{})
	if len(ds) != 1 || !strings.Contains(ds[0].Message, "no free /64 in ip6Prefix 2001:db8::/63 of zone zone1 (2 of 2 used)") {
		t.Errorf("%v", ds)
	}
}

func TestIP6Twice(t *testing.T) {
	_, _, ds := alloc.Allocate(demands6(t, "2001:db8::/61", `a , cidr: "fd00::/64"`, `b , cidr: "fd00::/64"`), nil, alloc.Options{})
	if len(ds) != 1 || ds[0].Code != "number-taken" {
		t.Errorf("%v", ds)
	}
}
