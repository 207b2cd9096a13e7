//go:build netns

package ovs

import (
	"strings"
	"testing"

	"weft.dev/reconcile/plan"
	"weft.dev/reconcile/resource"
)

// A NIC that names what the host lives on gets no port; the fault goes away with
// its reason.
func TestHostsOwnLinkIsNoGuests(t *testing.T) {
	s := startSwitch(t, "")
	d := s.driver("")
	mustDo(t, d, steps(nil, intBridge()))
	for _, c := range []struct{ name, make, undo, want string }{
		{"address", "ip link add own0 type veth peer name own0-x; ip addr add 192.0.2.7/24 dev own0", "ip addr flush dev own0", "192.0.2.7/24"},
		{"IPv6 address", "ip link add own0 type veth peer name own0-x; ip addr add 2001:db8::7/64 dev own0 nodad", "ip addr flush dev own0", "2001:db8::7/64"},
		{"default route", "ip link add own0 type veth peer name own0-x; ip link set own0 up; ip route add default dev own0", "ip route del default", "default route"},
		{"Linux bridge", "ip link add own0 type veth peer name own0-x; ip link add br-own type bridge; ip link set own0 master br-own", "ip link del br-own", "br-own"},
		{"another kind", "ip link add own0 type bridge", "ip link del own0", "bridge of this host"},
	} {
		t.Run(c.name, func(t *testing.T) {
			sh(t, c.make)
			defer sh(t, "for l in own0-x own0 br-own; do ip link del $l 2>/dev/null || true; done")
			nic := entry("network/acme/web", resource.Port{Bridge: resource.IntegrationBridge, Name: "own0", IfaceID: "acme/vm1/nic0"})
			errs := d.Do(t.Context(), steps(nil, nic))
			if errs[0] == nil || !strings.Contains(errs[0].Error(), c.want) || !strings.Contains(errs[0].Error(), "tap-web-1") {
				t.Fatal(errs)
			}
			s.mustBe("", intBridge())
			sh(t, c.undo)
			mustDo(t, d, steps(nil, nic))
			s.mustBe("", intBridge(), nic)
			mustDo(t, d, steps(nil, nic)) // again
			mustDo(t, d, []*plan.Step{dropStep(0, nic)})
		})
	}
}

// What comes later under the name of a guest's port and is the host's own is seen,
// and unplugged.
func TestHostsOwnLinkComesLater(t *testing.T) {
	s := startSwitch(t, "")
	d := s.driver("")
	nic := entry("network/acme/web", resource.Port{Bridge: resource.IntegrationBridge, Name: "own0", IfaceID: "acme/vm1/nic0"})
	mustDo(t, d, steps(nil, intBridge(), nic))
	s.mustBe("", intBridge(), nic)
	sh(t, "ip link add own0 type bridge; ip link set own0 up")
	defer sh(t, "ip link del own0")
	o := mustObserve(t, d, intBridge(), nic)
	if diff := differing(o, intBridge(), nic); len(diff) != 1 || !strings.Contains(diff[0], "bridge of this host") {
		t.Fatal(diff)
	}
	if errs := d.Do(t.Context(), steps(o, nic)); errs[0] == nil || !strings.Contains(errs[0].Error(), "bridge of this host") {
		t.Fatal(errs)
	}
	s.mustBe("", intBridge())
}
