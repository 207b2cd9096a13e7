package bridge_test

import (
	"testing"

	"weft.dev/reconcile/model"
	"weft.dev/reconcile/plugin/bridge"
	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

// The names are those of CloudStack's agent, within the kernel's limit.
func TestNames(t *testing.T) {
	h := &model.Host{Spec: &schema.Host{Bridges: []schema.HostBridge{
		{Name: "cloudbr0", Uplinks: []string{"eth0"}}, {Name: "cloudbr1", Uplinks: []string{"enp129s0f1np1"}}, {Name: "bare"},
		{Name: "bonded", Uplinks: []string{"a", "b"}, Bond: &schema.Bond{Name: "bond0"}}, {Name: "two", Uplinks: []string{"a", "b"}},
	}}}
	for _, x := range []struct {
		label string
		vlan  uint32
		want  string
	}{
		{"cloudbr0", 100, "breth0-100"}, {"cloudbr0", 0, "cloudbr0"}, {"bonded", 4094, "brbond0-4094"},
		{"bare", 0, "bare"}, {"bare", 7, ""}, {"two", 7, ""}, {"elsewhere", 0, ""},
	} {
		if got := bridge.Wire(h, x.label, x.vlan); got != x.want {
			t.Errorf("VLAN %d of %s is on %q, want %q", x.vlan, x.label, got, x.want)
		}
	}
	seen := map[string]bool{bridge.VNIName(1<<24 - 1): true}
	for _, vlan := range []uint32{1, 10, 100, 4094} {
		seen[bridge.Wire(h, "cloudbr1", vlan)] = true
	}
	for name := range seen {
		if len(name) > 15 || len(name) < 4 {
			t.Errorf("%q is no name of a link", name)
		}
	}
	if len(seen) != 5 || !seen["brvx-16777215"] {
		t.Errorf("the names are %v", seen)
	}
}

func TestGroup(t *testing.T) {
	for _, x := range []struct {
		vni  uint32
		six  bool
		want string
	}{{5001, false, "239.0.19.137"}, {1<<24 - 1, false, "239.255.255.255"}, {5001, true, "ff05::19:137"}} {
		if got := bridge.Group(x.vni, x.six).String(); got != x.want || !bridge.Group(x.vni, x.six).IsMulticast() {
			t.Errorf("the group of %d is %s, want %s", x.vni, got, x.want)
		}
	}
}

// A guest's limits outlive its port, whose link the hypervisor has; a router's do not.
func TestLimit(t *testing.T) {
	p := resource.BridgePort{Bridge: "br", IfaceID: "acme/web-1/web", MAC: "02:00:00:00:00:01"}
	if got := bridge.Limit(&p, "", "", 0); got != nil {
		t.Errorf("0 limits: %v", got)
	}
	for _, st := range bridge.Limit(&p, "", "", 10) {
		if up, ok := resource.Parent(st); ok && up != (resource.ID{}) {
			t.Errorf("%s goes with %s", st.ID(), up)
		}
	}
	leg := resource.BridgePort{Bridge: "br", Name: "wg"}
	list := bridge.Limit(&leg, "weft-acme-web", "eth0", 10)
	for i, want := range []resource.ID{leg.ID(), resource.LinkID("weft-acme-web", "eth0")} {
		if up, _ := resource.Parent(list[i]); up != want {
			t.Errorf("%s goes with %s, want %s", list[i].ID(), up, want)
		}
	}
}
