//go:build netns

package ovs

import (
	"strings"
	"testing"

	"weft.dev/reconcile/resource"
)

// A second port that claims a NIC changes nothing for the first, though its name
// comes first; it takes over once the first is gone.
func TestSecondPortOfANIC(t *testing.T) {
	s := startSwitch(t, "")
	d := s.driver("")
	plug := func(name string) {
		s.vsctl("add-port", resource.IntegrationBridge, name, "--", "set", "interface", name, "type=internal", "external_ids:iface-id=acme/vm/e")
	}
	unit := flowsOf("network/acme/web", simple(7, resource.NICSym("acme/vm/e", "02:00:00:00:00:0e"))...)
	mustDo(t, d, steps(nil, intBridge()))
	plug("vnet7")
	mustDo(t, d, steps(nil, unit))
	s.mustBe("", intBridge(), unit)
	before := s.ofctl("dump-flows", resource.IntegrationBridge, "--no-stats")
	plug("vnet2")
	s.mustBe("", intBridge(), unit)
	mustDo(t, d, steps(nil, unit))
	if after := s.ofctl("dump-flows", resource.IntegrationBridge, "--no-stats"); after != before {
		t.Fatalf("the flows were\n%s\nand are\n%s", before, after)
	}
	s.vsctl("del-port", resource.IntegrationBridge, "vnet7")
	if diff := differing(mustObserve(t, d, intBridge(), unit), intBridge(), unit); len(diff) != 1 || !strings.Contains(diff[0], "has moved") {
		t.Fatal(diff)
	}
	mustDo(t, d, steps(nil, unit))
	s.mustBe("", intBridge(), unit)
}
