//go:build netns

package link_test

import (
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"weft.dev/plugins/drivers/link"
	"weft.dev/reconcile/resource"
)

// TestTakeover: what a link has moves away, is known to a fresh process, and comes
// back as it was; what would be lost is refused untouched.
func TestTakeover(t *testing.T) {
	w := newWorld(t)
	d := link.New(w.h)
	veth(t, w.wire, "")
	sh(t, "", "ip addr add 198.18.6.2/24 brd + dev "+w.wire+" && ip -6 addr add 2001:db8:6::2/64 dev "+w.wire+" nodad && ip route add 198.18.66.0/24 via 198.18.6.1 dev "+w.wire+
		" && ip route add 198.18.67.0/24 via 198.18.6.1 dev "+w.wire+" metric 50 proto 77")
	shape := func() string {
		return sh(t, "", "ip -o addr show dev "+w.wire+" scope global | sed 's/ *valid_lft.*//'; ip route show dev "+w.wire+"; ip -6 route show dev "+w.wire+" | grep -v ^fe80 || true")
	}
	before := shape()
	take := resource.Link{Name: w.wire, Up: true, Takeover: &resource.Takeover{Bridge: w.label, Addresses: []netip.Prefix{pfx("198.18.6.2/24"), pfx("2001:db8:6::2/64")}}}
	refused := func(words string) {
		t.Helper()
		errs := d.Do(t.Context(), steps(false, take))
		if errs[0] == nil || !strings.Contains(errs[0].Error(), words) {
			t.Fatalf("the error is %v, not about %q", errs[0], words)
		}
		if got := shape(); got != before {
			t.Fatalf("something was taken all the same:\n%s", got)
		}
	}
	refused("the route to 198.18.66.0/24 leads through it")
	way := func(dst, via string) resource.Way {
		return resource.Way{Dst: pfx(dst), Via: netip.MustParseAddr(via)}
	}
	take.Takeover.Ways = []resource.Way{way("198.18.66.0/24", "198.18.6.9"), way("198.18.67.0/24", "198.18.6.1")}
	refused("the route to 198.18.66.0/24 by 198.18.6.1 leads through it, but by 198.18.6.9 from bridge " + w.label)
	take.Takeover.Ways = []resource.Way{{Dst: pfx("198.18.66.0/24")}, way("198.18.67.0/24", "198.18.6.1")}
	refused("the route to 198.18.66.0/24 by 198.18.6.1 leads through it, but straight from bridge " + w.label)
	take.Takeover.Ways[0] = way("198.18.66.0/24", "198.18.6.1")
	take.Takeover.Addresses = take.Takeover.Addresses[:1]
	refused("it carries 2001:db8:6::2/64")
	take.Takeover.Addresses = []netip.Prefix{pfx("198.18.6.2/24"), pfx("2001:db8:6::2/64")}

	if l, _ := observe(t, d, set(take)).Set[take.ID()].State.(resource.Link); l.Takeover != nil {
		t.Fatal("it is said to be taken before it is")
	}
	do(t, d, steps(false, take))
	if got := shape(); strings.Contains(got, "198.18.6") {
		t.Fatalf("it has still\n%s", got)
	}
	same(t, link.New(w.h), set(take))
	do(t, d, steps(false, take)) // twice is once
	// Another hand gives it the address again.
	sh(t, "", "ip addr add 198.18.6.2/24 dev "+w.wire)
	if l := diff(observe(t, d, set(take)), set(take)); len(l) != 1 {
		t.Fatalf("the drift is %v", l)
	}
	do(t, d, steps(false, take))
	same(t, d, set(take))
	// A fresh process, which nobody told of it, gives all back.
	fresh := link.New(w.h)
	got, ok := observe(t, fresh, nil).Set[take.ID()]
	if !ok || got.Owner != owner {
		t.Fatalf("a fresh process does not know it: %+v", got)
	}
	do(t, fresh, steps(true, got.State))
	if got := shape(); got != before {
		t.Fatalf("it came back as\n%s\nand was\n%s", got, before)
	}
	if _, ok := observe(t, fresh, nil).Set[take.ID()]; ok {
		t.Fatal("it is still ours")
	}
	// A link without addresses has nothing that could be lost.
	sh(t, "", "ip addr flush dev "+w.wire+" scope global")
	same(t, fresh, set(take))
	_ = exec.Command("ip", "link", "del", w.wire).Run()
}

// TestGivenBackToACardThatWasAway: what a link had is kept while it is away, as a card
// is whose driver is loaded anew, and nothing is said to be of a link that is not there.
func TestGivenBackToACardThatWasAway(t *testing.T) {
	w := newWorld(t)
	d := link.New(w.h)
	veth(t, w.wire, "")
	t.Cleanup(func() { _ = exec.Command("ip", "link", "del", w.wire).Run() })
	sh(t, "", "ip addr add 198.18.6.2/24 brd + dev "+w.wire+" && ip route add 198.18.66.0/24 via 198.18.6.1 dev "+w.wire)
	shape := func() string {
		return sh(t, "", "ip -o addr show dev "+w.wire+" scope global | sed 's/^[0-9]*: //;s/ *valid_lft.*//'; ip route show dev "+w.wire)
	}
	before := shape()
	take := resource.Link{Name: w.wire, Up: true, Takeover: &resource.Takeover{
		Bridge: w.label, Addresses: []netip.Prefix{pfx("198.18.6.2/24")}, Ways: []resource.Way{{Dst: pfx("198.18.66.0/24"), Via: netip.MustParseAddr("198.18.6.1")}},
	}}
	do(t, d, steps(false, take))
	sh(t, "", "ip link del "+w.wire)
	if l := diff(observe(t, d, set(take)), set(take)); len(l) != 1 || !strings.HasPrefix(l[0], "missing") {
		t.Errorf("a link that is away is %v", l)
	}
	do(t, d, steps(true, take)) // as far as that can be
	if l := diff(observe(t, d, nil), nil); len(l) > 0 {
		t.Errorf("of a link that is away there is %v", l)
	}
	veth(t, w.tap, "")
	observe(t, d, set(resource.Link{Name: w.tap, Up: true}))
	told, stop := watching(t, d, w.tap)
	veth(t, w.wire, "")
	select {
	case <-told:
	case <-time.After(15 * time.Second):
		t.Error("the watch did not tell that it came back")
	}
	stop()
	fresh := link.New(w.h)
	got, ok := observe(t, fresh, nil).Set[take.ID()]
	if !ok || got.Owner != owner {
		t.Fatalf("a link that came back is not known: %+v", got)
	}
	do(t, fresh, steps(true, got.State))
	if got := shape(); got != before {
		t.Fatalf("it came back as\n%s\nand was\n%s", got, before)
	}
	same(t, fresh, nil)
}

// TestTakenOverByAnotherBridge: what is to be given back stays the same.
func TestTakenOverByAnotherBridge(t *testing.T) {
	w := newWorld(t)
	d := link.New(w.h)
	veth(t, w.wire, "")
	t.Cleanup(func() { _ = exec.Command("ip", "link", "del", w.wire).Run() })
	sh(t, "", "ip addr add 198.18.6.2/24 brd + dev "+w.wire)
	take := resource.Link{Name: w.wire, Up: true, Takeover: &resource.Takeover{Bridge: w.label, Addresses: []netip.Prefix{pfx("198.18.6.2/24")}}}
	do(t, d, steps(false, take))
	take.Takeover.Bridge = w.label + "x"
	do(t, d, steps(false, take))
	same(t, link.New(w.h), set(take))
	do(t, d, steps(true, take))
	if got := sh(t, "", "ip -o addr show dev "+w.wire); !strings.Contains(got, "198.18.6.2/24") {
		t.Fatalf("it came back as\n%s", got)
	}
}
