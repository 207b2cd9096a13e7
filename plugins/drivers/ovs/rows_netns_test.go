//go:build netns

package ovs

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"weft.dev/reconcile/plan"
	"weft.dev/reconcile/resource"
)

func intBridge() resource.Entry {
	return entry(shared, resource.Bridge{Name: resource.IntegrationBridge, Datapath: "netdev", FailMode: "secure"})
}

// rowsWorld is one of everything.
func rowsWorld(t testing.TB) []resource.Entry {
	t.Helper()
	link := resource.LinkID("vr", "eth0")
	return []resource.Entry{
		intBridge(),
		entry(shared, resource.Bridge{Name: "cloudbr1", Datapath: "netdev", FailMode: "standalone", MTU: 1400}),
		entry(shared, resource.Port{Bridge: "cloudbr1", Name: "up0", Uplink: true}),
		entry(shared, resource.Port{Bridge: "cloudbr1", Name: "p-wire", Type: "patch", Peer: "p-int"}),
		entry(shared, resource.Port{Bridge: resource.IntegrationBridge, Name: "p-int", Type: "patch", Peer: "p-wire"}),
		entry("network/acme/web", resource.Port{Bridge: resource.IntegrationBridge, Name: "vr-eth0", Link: &link,
			Guards: []resource.ID{{Kind: resource.KindChain, Name: "x"}}}),
		entry("network/acme/web", resource.Port{Bridge: resource.IntegrationBridge, Name: "vnet0", IfaceID: "acme/vm1/nic0", MAC: "02:00:00:00:00:11"}),
		entry(shared, vxlan("t-vxlan", "10.0.0.1", "10.0.0.2")),
		entry(shared, resource.Tunnel{Bridge: resource.IntegrationBridge, Name: "t-gre", Type: "gre",
			Local: netip.MustParseAddr("10.0.0.1"), Remote: netip.MustParseAddr("10.0.0.2")}),
		entry(shared, resource.Tunnel{Bridge: resource.IntegrationBridge, Name: "t-gnv", Type: "geneve",
			Local: netip.MustParseAddr("fd00::1"), Remote: netip.MustParseAddr("fd00::2"), DstPort: 6081}),
	}
}

func makeLinks(t testing.TB, names ...string) {
	t.Helper()
	for _, n := range names {
		sh(t, "ip link add "+n+" type veth peer name "+n+"-x && ip link set "+n+" up")
		t.Cleanup(func() { sh(t, "ip link del "+n) })
	}
}

func TestRowsRoundTrip(t *testing.T) {
	s := startSwitch(t, "")
	makeLinks(t, "up0", "vr-eth0")
	d := s.driver("")
	world := rowsWorld(t)
	mustDo(t, d, steps(nil, world...))
	s.mustBe("", world...)

	t.Run("needs survive", func(t *testing.T) {
		o := mustObserve(t, s.driver(""))
		got := o.Set[resource.ID{Kind: resource.KindPort, Name: "vr-eth0"}].State.Needs()
		if len(got) != 2 {
			t.Fatalf("needs %v", got)
		}
	})
	t.Run("again", func(t *testing.T) {
		mustDo(t, d, steps(nil, world...))
		s.mustBe("", world...)
	})
	t.Run("another instance sees nothing of it", func(t *testing.T) {
		o := mustObserve(t, s.driver("other"), world...)
		if len(o.Set) != 0 {
			t.Fatalf("sees %v", o.Set.IDs())
		}
		if len(o.Foreign) != len(world) {
			t.Fatalf("foreign: %v", o.Foreign)
		}
		for i, err := range s.driver("other").Do(t.Context(), steps(nil, world...)) {
			if err == nil {
				t.Errorf("%s was taken over", world[i].State.ID())
			}
		}
		s.mustBe("", world...)
	})
	t.Run("deletion", func(t *testing.T) {
		var list []*plan.Step
		for i := len(world) - 1; i >= 0; i-- {
			list = append(list, dropStep(len(list), world[i]))
		}
		mustDo(t, d, list)
		s.mustBe("")
		mustDo(t, d, list)
		if left := s.vsctl("list-br"); left != "" {
			t.Fatalf("bridges left: %s", left)
		}
	})
}

// Every change by hand is seen, and undone by the step that a plan makes of it.
func TestRowsDrift(t *testing.T) {
	s := startSwitch(t, "")
	makeLinks(t, "up0", "vr-eth0")
	d := s.driver("")
	world := rowsWorld(t)
	mustDo(t, d, steps(nil, world...))
	for _, c := range []struct{ id, by string }{
		{"vr-eth0", "set port vr-eth0 tag=5"},
		{"vr-eth0", "set port vr-eth0 vlan_mode=access"},
		{"vr-eth0", "set port vr-eth0 trunks=5,6"},
		{"vnet0", "set interface vnet0 external_ids:iface-id=x"},
		{"vnet0", "remove interface vnet0 external_ids attached-mac"},
		{"p-int", "set interface p-int options:peer=nowhere"},
		{"p-int", "set interface p-int type=internal"},
		{"t-vxlan", "set interface t-vxlan options:key=7"},
		{"t-vxlan", "set interface t-vxlan options:remote_ip=10.0.0.9"},
		{"t-vxlan", "set interface t-vxlan options:tos=inherit"},
		{"t-vxlan", "set interface t-vxlan options:dst_port=9999"},
		{"t-gre", "set interface t-gre type=vxlan"},
		{"weft-int", "set-fail-mode weft-int standalone"},
		{"weft-int", "set-controller weft-int unix:/run/none"},
		{"weft-int", "set bridge weft-int protocols=OpenFlow10"},
		{"cloudbr1", "set interface cloudbr1 mtu_request=1300"},
		{"cloudbr1", "remove interface cloudbr1 mtu_request 1400"},
		{"vnet0", "del-port weft-int vnet0"},
		{"t-gre", "del-port weft-int t-gre"},
	} {
		s.vsctl(strings.Fields(c.by)...)
		o, err := s.driver("").Observe(t.Context(), scopeOf(world...))
		if err != nil {
			t.Fatal(err)
		}
		diff := slices.DeleteFunc(differing(o, world...), func(line string) bool {
			return strings.Contains(line, "No usable peer") // the other half of a patch suffers too
		})
		if len(diff) != 1 || !strings.Contains(diff[0], " "+c.id+" ") {
			t.Errorf("%s: seen as %q", c.by, diff)
		}
		var heal []resource.Entry
		for _, e := range world {
			if e.State.ID().Name == c.id {
				heal = append(heal, e)
			}
		}
		mustDo(t, d, steps(o, heal...))
		if diff := differing(mustObserve(t, d, world...), world...); len(diff) > 0 {
			t.Fatalf("%s: not healed: %q", c.by, diff)
		}
	}
}

func TestForeignStays(t *testing.T) {
	s := startSwitch(t, "")
	d := s.driver("")
	s.vsctl("add-br", "cloudbr0", "--", "set", "bridge", "cloudbr0", "datapath_type=netdev")
	adopted := entry(shared, resource.Bridge{Name: "cloudbr0", Datapath: "netdev", FailMode: "standalone", Adopt: true})
	patch := entry(shared, resource.Port{Bridge: "cloudbr0", Name: "p-wire", Type: "patch", Peer: "p-int"})
	other := entry(shared, resource.Port{Bridge: resource.IntegrationBridge, Name: "p-int", Type: "patch", Peer: "p-wire"})
	mustDo(t, d, steps(nil, adopted, intBridge(), patch, other))
	o := mustObserve(t, s.driver(""), adopted, intBridge(), patch, other)
	if diff := differing(o, intBridge(), patch, other); len(diff) > 0 {
		t.Fatal(diff)
	}
	if o.Foreign[adopted.State.ID()] == "" {
		t.Fatalf("foreign: %v", o.Foreign)
	}
	if ids := s.vsctl("get", "bridge", "cloudbr0", "external_ids"); ids != "{}" {
		t.Fatalf("adopted bridge was marked: %s", ids)
	}
	// What another hand plugs in is not ours, and keeps the bridge alive.
	s.vsctl("add-port", resource.IntegrationBridge, "vm7", "--", "set", "interface", "vm7", "type=internal")
	if diff := differing(mustObserve(t, d, intBridge(), patch, other), intBridge(), patch, other); len(diff) > 0 {
		t.Fatal(diff)
	}
	errs := d.Do(t.Context(), []*plan.Step{dropStep(0, intBridge()), dropStep(1, adopted)})
	if errs[0] == nil || !strings.Contains(errs[0].Error(), "vm7") || errs[1] != nil {
		t.Fatal(errs)
	}
	if got := s.vsctl("list-br"); got != "cloudbr0\nweft-int" {
		t.Fatalf("bridges: %s", got)
	}
	existing := resource.Bridge{Name: "absent", Datapath: "netdev", FailMode: "standalone", Existing: true}
	if errs := d.Do(t.Context(), steps(nil, entry(shared, existing))); errs[0] == nil {
		t.Fatal("made a bridge that should exist")
	}
}

// One owner's fault does not hold back another, and what needs it is skipped.
func TestFaultsStayApart(t *testing.T) {
	s := startSwitch(t, "")
	d := s.driver("")
	s.vsctl("add-br", "theirs", "--", "set", "bridge", "theirs", "datapath_type=netdev")
	s.vsctl("add-port", "theirs", "taken", "--", "set", "interface", "taken", "type=internal")
	link := resource.LinkID("vr", "eth0")
	world := []resource.Entry{
		intBridge(),
		entry("network/a/bad", resource.Port{Bridge: resource.IntegrationBridge, Name: "taken", Type: "patch", Peer: "x"}),
		entry("network/a/good", resource.Port{Bridge: resource.IntegrationBridge, Name: "p1", Type: "patch", Peer: "p2"}),
		entry("network/a/nolink", resource.Port{Bridge: resource.IntegrationBridge, Name: "no-such", Link: &link}),
		entry("network/a/bad2", resource.Port{Bridge: "nowhere", Name: "p3", Type: "patch", Peer: "p2"}),
		entry(shared, vxlan("t1", "10.0.0.1", "10.0.0.2")),
		entry(shared, vxlan("t2", "10.0.0.1", "10.0.0.2")),
		entry("network/a/guest", resource.Port{Bridge: resource.IntegrationBridge, Name: "vnet9", IfaceID: "a/vm/0"}),
		entry("network/a/hostile", resource.Port{Bridge: resource.IntegrationBridge, Name: "p5", Type: "patch", Peer: "a\x00b\n\"],[]"}),
	}
	list := steps(nil, world...)
	list = append(list, &plan.Step{Index: 50, After: []int{1}, Action: &plan.Action{ID: resource.ID{Kind: resource.KindPort, Name: "p4"},
		Verb: plan.Create, After: &resource.Entry{Owner: "network/a/bad", State: resource.Port{Bridge: resource.IntegrationBridge, Name: "p4", Type: "patch", Peer: "p9"}}}})
	errs := d.Do(t.Context(), list)
	// Which of the two tunnels stands is the switch's choice.
	if (errs[5] == nil) == (errs[6] == nil) || !strings.Contains(errors.Join(errs[5], errs[6]).Error(), "File exists") {
		t.Errorf("tunnels of the same ends: %v, %v", errs[5], errs[6])
	}
	errs[5], errs[6] = nil, nil
	for i, want := range []string{"", "was not made by weft", "", "No such device", "no bridge nowhere", "", "", "", "characters", "skipped"} {
		got := ""
		if errs[i] != nil {
			got = errs[i].Error()
		}
		if want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", list[i].ID(), got, want)
		}
	}
	// A port that does not work is no port that is as wanted.
	diff := differing(mustObserve(t, d, world...), world...)
	if text := strings.Join(diff, "\n"); strings.Count(text, "File exists") != 1 || !strings.Contains(text, "no-such is") || strings.Contains(text, "vnet9") {
		t.Fatal(text)
	}
}

func TestUplinkWithAddressIsRefused(t *testing.T) {
	s := startSwitch(t, "")
	makeLinks(t, "up0")
	sh(t, "ip addr add 192.0.2.7/24 dev up0")
	world := []resource.Entry{
		entry(shared, resource.Bridge{Name: "cloudbr1", Datapath: "netdev", FailMode: "standalone"}),
		entry(shared, resource.Port{Bridge: "cloudbr1", Name: "up0", Uplink: true}),
	}
	d := s.driver("")
	errs := d.Do(t.Context(), steps(nil, world...))
	if errs[0] != nil || errs[1] == nil || !strings.Contains(errs[1].Error(), "192.0.2.7/24") || !strings.Contains(errs[1].Error(), "Takeover") {
		t.Fatal(errs)
	}
	sh(t, "ip addr flush dev up0")
	mustDo(t, d, steps(nil, world...))
	s.mustBe("", world...)
}

func TestConnectionLossIsSurvived(t *testing.T) {
	s := startSwitch(t, "")
	d := s.driver("")
	mustDo(t, d, steps(nil, intBridge()))
	for range 2 { // the switch serves no OpenFlow until it has its database back: 1 s, 2 s, ...
		stop(s.db)
		s.startDB()
		if diff := differing(mustObserve(t, d, intBridge()), intBridge()); len(diff) > 0 {
			t.Fatal(diff)
		}
	}
	stop(s.db)
	if o, err := d.Observe(t.Context(), scopeOf()); err == nil {
		t.Fatalf("observed %v without a database", o.Set.IDs())
	}
	s.startDB()
	stop(s.sw)
	p := entry(shared, resource.Port{Bridge: resource.IntegrationBridge, Name: "p1", Type: "patch", Peer: "p2"})
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if errs := d.Do(ctx, steps(nil, p)); errs[0] == nil || !strings.Contains(errs[0].Error(), "ovs-vswitchd") {
		t.Fatal(errs)
	}
	s.startVswitchd()
	mustDo(t, d, steps(nil, p))
	s.mustBe("", intBridge(), p)
}
