//go:build netns

package link_test

import (
	"testing"

	"weft.dev/plugins/drivers/link"
	"weft.dev/reconcile/driver"
	"weft.dev/reconcile/resource"
)

// Links of the host and of a namespace are counted from both ends; one that is not there
// is not told.
func TestCount(t *testing.T) {
	h := newHost(t)
	ns, outer := h.Instance+"-r1", resource.Short(15, h.Instance, "g1")
	l := resource.Link{NS: ns, Name: "eth0", Host: outer, Up: true}
	d := link.New(h)
	do(t, d, steps(false, resource.NS{Name: ns, Owner: owner}, l))
	count := func() (in, out driver.Count) {
		t.Helper()
		got := d.Count(t.Context(), []resource.State{l, resource.Link{Name: outer}, resource.Link{Name: "nobody0"}, resource.Link{NS: "nobody", Name: "eth0"}})
		if len(got) != 2 {
			t.Fatalf("counted %+v", got)
		}
		for _, c := range got {
			if c.State.(resource.Link).NS == "" {
				out = c
			} else {
				in = c
			}
		}
		return in, out
	}
	wasIn, wasOut := count()
	sh(t, ns, "ip addr add 192.0.2.1/24 dev eth0; ip neigh add 192.0.2.2 lladdr 02:00:00:00:00:09 dev eth0; ping -c 5 -i 0.01 -W 1 -s 972 192.0.2.2 >/dev/null || true")
	in, out := count()
	const least = 5 * 1014
	if n := in.Sent.Bytes - wasIn.Sent.Bytes; n < least {
		t.Errorf("the router sent %d bytes", n)
	}
	if n := out.Received.Bytes - wasOut.Received.Bytes; n < least || out.Received.Packets-wasOut.Received.Packets < 5 {
		t.Errorf("the host received %d bytes", n)
	}
}
