//go:build netns

package ovs

import (
	"strings"
	"testing"

	"weft.dev/reconcile/plan"
	"weft.dev/reconcile/resource"
)

func bonded(mode, lacp string, members ...string) resource.Port {
	return resource.Port{Bridge: "cloudbr1", Name: "bond1", Uplink: true, Bond: &resource.Bond{Mode: mode, LACP: lacp, Members: members}}
}

// TestBond makes a bond of several links, changes it in place, heals what another
// hand does to it, and carries frames while one of its links is down.
func TestBond(t *testing.T) {
	s := startSwitch(t, "")
	makeLinks(t, "up0", "up1", "up2")
	d := s.driver("")
	br := entry(shared, resource.Bridge{Name: "cloudbr1", Datapath: "netdev", FailMode: "standalone"})
	make := func(p resource.Port) {
		t.Helper()
		mustDo(t, d, steps(nil, entry(shared, p)))
		s.mustBe("", br, entry(shared, p))
	}
	mustDo(t, d, steps(nil, br))
	for _, mode := range []struct{ mode, lacp string }{{"active-backup", "off"}, {"balance-slb", "off"}, {"balance-tcp", "active"}, {"active-backup", "passive"}} {
		make(bonded(mode.mode, mode.lacp, "up0", "up1"))
		if got := strings.TrimSpace(s.vsctl("get", "port", "bond1", "bond_mode")); got != mode.mode {
			t.Fatalf("the mode is %s, not %s", got, mode.mode)
		}
	}
	want := entry(shared, bonded("active-backup", "off", "up0", "up1"))
	make(bonded("active-backup", "off", "up0", "up1"))
	for _, by := range []string{"set port bond1 bond_mode=balance-slb", "set port bond1 lacp=active", "set port bond1 tag=7"} {
		s.vsctl(strings.Fields(by)...)
		if diff := differing(mustObserve(t, d, br, want), br, want); len(diff) == 0 {
			t.Errorf("%q is not seen", by)
		}
		make(bonded("active-backup", "off", "up0", "up1"))
	}
	// Other links are another bond.
	mustDo(t, d, []*plan.Step{dropStep(0, want)})
	make(bonded("active-backup", "off", "up0", "up2"))
	sh(t, "ip link set up0 down")
	s.mustBe("", br, entry(shared, bonded("active-backup", "off", "up0", "up2"))) // a dead link is no drift
	// A link that is made anew, as by a driver that is loaded again, is opened again.
	again := func() {
		sh(t, "ip link del up2 && ip link add up2 type veth peer name up2-x && ip link set up2 up")
	}
	again()
	anew := entry(shared, bonded("active-backup", "off", "up0", "up2"))
	eventually(t, "the switch knows of the new link", func() bool {
		diff := strings.Join(differing(mustObserve(t, d, br, anew), br, anew), "\n")
		if diff == "" && strings.Contains(sh(t, "ip -o link show up2"), "PROMISC") {
			again() // the switch was so fast that it saw the old one go
		}
		return strings.Contains(diff, "link up2: "+deafWords)
	})
	make(bonded("active-backup", "off", "up0", "up2"))
	// What is no bond is refused before the switch is asked.
	for words, p := range map[string]resource.Port{
		"no mode": bonded("broadcast", "off", "up0", "up2"), "two links": bonded("active-backup", "off", "up0"), "needs LACP": bonded("balance-tcp", "off", "up0", "up2"),
	} {
		if errs := d.Do(t.Context(), steps(nil, entry(shared, p))); errs[0] == nil || !strings.Contains(errs[0].Error(), words) {
			t.Errorf("%q: %v", words, errs[0])
		}
	}
	sh(t, "ip addr add 192.0.2.9/24 dev up1")
	other := bonded("active-backup", "off", "up1", "up2")
	other.Name = "bond2"
	if errs := d.Do(t.Context(), steps(nil, entry(shared, other))); errs[0] == nil || !strings.Contains(errs[0].Error(), "link up1: it carries the address 192.0.2.9/24") {
		t.Errorf("a link with an address: %v", errs[0])
	}
}

// TestAdoptedBridgeDoesNotFlap: a bridge that somebody made is used as it is: its
// local port keeps number, MAC and addresses, its uplink stays plugged.
func TestAdoptedBridgeDoesNotFlap(t *testing.T) {
	s := startSwitch(t, "")
	makeLinks(t, "up0", "up1")
	s.vsctl("add-br", "cloudbr1", "--", "set", "bridge", "cloudbr1", "datapath_type=netdev", "--", "add-bond", "cloudbr1", "bond1", "up0", "up1", "bond_mode=balance-slb")
	sh(t, "ip addr add 198.18.9.1/24 dev cloudbr1 && ip link set cloudbr1 up")
	shape := func() string {
		return sh(t, "cat /sys/class/net/cloudbr1/ifindex /sys/class/net/cloudbr1/address; ip -o addr show cloudbr1 | sed 's/ *valid_lft.*//'") +
			s.vsctl("get", "interface", "up0", "ofport") + s.vsctl("get", "port", "bond1", "_uuid", "bond_mode")
	}
	before := shape()
	d := s.driver("")
	world := []resource.Entry{
		entry(shared, resource.Bridge{Name: "cloudbr1", Datapath: "netdev", FailMode: "standalone", Adopt: true, MAC: "02:00:00:00:00:09", MTU: 1400}),
		entry(shared, bonded("balance-slb", "off", "up0", "up1")),
		intBridge(),
		entry(shared, resource.Port{Bridge: "cloudbr1", Name: "p-wire", Type: "patch", Peer: "p-int"}),
		entry(shared, resource.Port{Bridge: resource.IntegrationBridge, Name: "p-int", Type: "patch", Peer: "p-wire"}),
	}
	if o := mustObserve(t, d, world...); o.Foreign[world[0].State.ID()] == "" || o.Foreign[world[1].State.ID()] == "" {
		t.Fatalf("foreign are %v", o.Foreign)
	}
	mustDo(t, d, steps(nil, world[2], world[3], world[4]))
	if after := shape(); after != before {
		t.Errorf("it was\n%s\nand is\n%s", before, after)
	}
	mustDo(t, d, []*plan.Step{dropStep(0, world[4]), dropStep(1, world[3]), dropStep(2, world[2])})
	if after := shape(); after != before {
		t.Errorf("after all of weft's went it was\n%s\nand is\n%s", before, after)
	}
}
