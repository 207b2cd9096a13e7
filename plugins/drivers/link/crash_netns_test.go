//go:build netns

package link_test

import (
	"strings"
	"testing"

	"weft.dev/plugins/drivers/link"
	"weft.dev/reconcile/resource"
)

// A pair that a crash left bare is finished: its outer end must not listen to what
// guests say, nor take an address from them.
func TestBarePairIsFinished(t *testing.T) {
	h := newHost(t)
	ns, outer := h.Instance+"-r1", resource.Short(15, h.Instance, "g1")
	l := resource.Link{NS: ns, Name: "eth0", Host: outer, Up: true}
	d := link.New(h)
	do(t, d, steps(false, resource.NS{Name: ns, Owner: owner}))
	sh(t, "", "ip link add "+outer+" type veth peer name eth0 netns "+ns)
	do(t, d, steps(false, l))
	if got := sh(t, "", "cat /proc/sys/net/ipv6/conf/"+outer+"/disable_ipv6"); strings.TrimSpace(got) != "1" {
		t.Errorf("disable_ipv6 of the outer end is %s", got)
	}
	if got := sh(t, "", "ip link show "+outer); !strings.Contains(got, "NOARP") || !strings.Contains(got, "alias weft/"+h.Instance) {
		t.Errorf("the outer end is\n%s", got)
	}
}
