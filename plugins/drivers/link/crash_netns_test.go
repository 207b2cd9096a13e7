//go:build netns

package link_test

import (
	"strings"
	"testing"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

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

// The news that a namespace went may come when another bears its name already: that
// one stays open.
func TestLateNewsOfANamespace(t *testing.T) {
	h := newHost(t)
	name := h.Instance + "-late"
	t.Cleanup(func() { _ = h.DropSpace(name) })
	for range 2 {
		s, err := h.MakeSpace(name, "network/acme/late")
		if err != nil {
			t.Fatal(err)
		}
		h.Forget(name)
		if _, err := s.Dump(unix.NETLINK_ROUTE, unix.RTM_GETLINK, unix.RTM_NEWLINK, nl.NewIfInfomsg(unix.AF_UNSPEC)); err != nil {
			t.Errorf("it is closed: %v", err)
		}
		if err := h.DropSpace(name); err != nil {
			t.Fatal(err)
		}
	}
}
