//go:build netns

package link_test

import (
	"net/netip"
	"strings"
	"testing"

	"weft.dev/plugins/drivers/link"
	"weft.dev/reconcile/resource"
)

// What a daemon gives and takes is as wanted where all of it is there and where none
// is; the rest is drift, and healed without the address that leads ever being put.
func TestGivenByADaemon(t *testing.T) {
	h := newHost(t)
	d := link.New(h)
	ns := h.Instance + "-r"
	base := []resource.State{
		resource.NS{Name: ns, Owner: owner},
		resource.Link{NS: ns, Name: "eth0", Host: resource.Short(15, h.Instance, "g0"), MAC: "02:00:00:00:00:01", MTU: 1500, Up: true},
		resource.Link{NS: ns, Name: "eth1", Host: resource.Short(15, h.Instance, "g1"), MAC: "02:00:00:00:00:02", MTU: 1500, Up: true},
		resource.Addr{NS: ns, Link: "eth0", Prefix: pfx("10.1.1.2/24")},
	}
	lead := resource.AddrID(ns, "eth0", pfx("10.1.1.1/24"))
	given := []resource.State{
		resource.Addr{NS: ns, Link: "eth0", Prefix: pfx("10.1.1.1/24"), With: &lead},
		resource.Addr{NS: ns, Link: "eth1", Prefix: pfx("203.0.113.10/24"), With: &lead},
		resource.Route{NS: ns, Dst: pfx("0.0.0.0/0"), Via: netip.MustParseAddr("203.0.113.1"), Dev: "eth1", With: &lead},
	}
	want := append(append([]resource.State(nil), base...), given...)
	do(t, d, steps(false, want...))
	if out := sh(t, ns, "ip -o -4 addr show dev eth1"); out != "" {
		t.Errorf("weft put what the daemon gives: %s", out)
	}
	is := func(what string) {
		t.Helper()
		if l := diff(observe(t, d, set(want...)), set(want...)); len(l) > 0 {
			t.Errorf("%s: %s", what, strings.Join(l, "; "))
		}
	}
	drifted := func(what string, st resource.State) {
		t.Helper()
		if e, ok := observe(t, d, set(want...)).Set[st.ID()]; ok && e.State.Fingerprint() == st.Fingerprint() {
			t.Errorf("%s: %s is taken for what is wanted", what, st.ID())
		}
		do(t, d, steps(false, st))
	}
	is("nothing is given")

	sh(t, ns, "ip addr add 203.0.113.10/24 dev eth1")
	drifted("an address without the one that leads", given[1])
	is("it is taken away")

	sh(t, ns, "ip addr add 10.1.1.1/24 dev eth0; ip addr add 203.0.113.10/24 dev eth1; ip route add default via 203.0.113.1 dev eth1 proto keepalived")
	is("all is given")

	sh(t, ns, "ip route del default")
	drifted("no route", given[2])
	is("the route is there again")

	sh(t, ns, "ip addr del 10.1.1.1/24 dev eth0")
	for _, st := range []resource.State{given[2], given[1]} { // with its last address a link loses its routes
		drifted("what was left behind", st)
	}
	do(t, d, steps(false, given[0]))
	is("all was taken")
	if out := sh(t, ns, "ip -o -4 addr show dev eth0"); !strings.Contains(out, " 10.1.1.2/24 ") || strings.Contains(out, " 10.1.1.1/24 ") {
		t.Errorf("the address that leads: %s", out)
	}
}
