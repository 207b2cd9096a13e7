//go:build netns

package ovs

import (
	"strings"
	"testing"

	"weft.dev/reconcile/resource"
)

// A guest's device that appears under a waiting port and is down, as one whose
// hypervisor lost the race against the switch, is set up; it is no drift of anybody.
func TestShutDeviceIsSetUp(t *testing.T) {
	s := startSwitch(t, "")
	d := s.driver("")
	world := []resource.Entry{
		intBridge(),
		entry("network/a/n", resource.Port{Bridge: resource.IntegrationBridge, Name: "shut0", IfaceID: "a/vm/0"}),
	}
	mustDo(t, d, steps(nil, world...))
	s.mustBe("", world...) // it may wait
	sh(t, "ip tuntap add dev shut0 mode tap")
	t.Cleanup(func() { sh(t, "ip link del shut0") })
	eventually(t, "the switch opens it", func() bool { return s.vsctl("get", "interface", "shut0", "ofport") != "-1" })
	for range 2 { // and each time that somebody sets it down
		o := mustObserve(t, d, world...)
		seen, ok := o.Set[world[1].State.ID()].State.(resource.Seen)
		if !ok || !seen.Rebound || seen.Drift != "its interface is down" {
			t.Fatalf("seen as %+v", o.Set[world[1].State.ID()].State)
		}
		mustDo(t, d, steps(o, world...))
		if flags := sh(t, "ip -o link show shut0"); !strings.Contains(flags, ",UP") || !strings.Contains(flags, "PROMISC") {
			t.Fatalf("it is %s", flags)
		}
		s.mustBe("", world...)
		sh(t, "ip link set shut0 down")
	}
}
