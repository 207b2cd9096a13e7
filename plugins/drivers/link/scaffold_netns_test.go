//go:build netns

package link_test

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"weft.dev/reconcile/driver"
	"weft.dev/reconcile/host"
	"weft.dev/reconcile/plan"
	"weft.dev/reconcile/resource"
)

var seq atomic.Int32

// newHost returns a host of an instance of its own, with which everything of the
// test ends.
func newHost(tb testing.TB) *host.Host {
	tb.Helper()
	inst := fmt.Sprintf("wl%x%d", os.Getpid(), seq.Add(1))
	h := host.New("kvm1", inst)
	h.RunDir, h.StateDir = tb.TempDir(), tb.TempDir()
	tb.Cleanup(func() {
		h.Close()
		names, _ := filepath.Glob(filepath.Join(h.Netns, inst+"-*"))
		for _, n := range names {
			_ = exec.Command("ip", "netns", "del", filepath.Base(n)).Run()
		}
		out, _ := exec.Command("ip", "-o", "link").Output()
		for line := range strings.Lines(string(out)) {
			if strings.Contains(line, "alias weft/"+inst+"/") {
				name, _, _ := strings.Cut(strings.Fields(line)[1], "@")
				_ = exec.Command("ip", "link", "del", strings.TrimSuffix(name, ":")).Run()
			}
		}
	})
	return h
}

// sh runs a command line, in namespace ns unless "", and returns its output.
func sh(tb testing.TB, ns, line string) string {
	tb.Helper()
	args := []string{"sh", "-c", line}
	if ns != "" {
		args = append([]string{"ip", "netns", "exec", ns}, args...)
	}
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		tb.Fatalf("%s in %q: %v\n%s", line, ns, err, out)
	}
	return string(out)
}

const owner = resource.Owner("network/acme/web")

func entry(st resource.State) resource.Entry { return resource.Entry{State: st, Owner: owner} }

// steps makes or, with drop, drops states in order, each after the one before.
func steps(drop bool, states ...resource.State) []*plan.Step {
	var out []*plan.Step
	for i, st := range states {
		e := entry(st)
		a := &plan.Action{ID: st.ID(), Verb: plan.Create, After: &e}
		if drop {
			a = &plan.Action{ID: st.ID(), Verb: plan.Delete, Before: &e}
		}
		out = append(out, &plan.Step{Index: i, Action: a, Drop: drop})
	}
	return out
}

func do(tb testing.TB, d driver.Driver, list []*plan.Step) {
	tb.Helper()
	for i, err := range d.Do(tb.Context(), list) {
		if err != nil {
			tb.Fatalf("%s: %v", list[i].ID(), err)
		}
	}
}

func set(states ...resource.State) resource.Set {
	s := resource.Set{}
	for _, st := range states {
		s.Put(entry(st))
	}
	return s
}

func observe(tb testing.TB, d driver.Driver, desired resource.Set) *resource.Observed {
	tb.Helper()
	o, err := d.Observe(tb.Context(), driver.Scope{Desired: desired})
	if err != nil {
		tb.Fatal(err)
	}
	if len(o.Unread) > 0 {
		tb.Fatalf("unread: %v", o.Unread)
	}
	return o
}

// diff lists how observed differs from desired.
func diff(o *resource.Observed, desired resource.Set) (out []string) {
	for _, id := range desired.IDs() {
		got, ok := o.Set[id]
		switch {
		case !ok:
			out = append(out, "missing "+id.String())
		case got.State.Fingerprint() != desired[id].State.Fingerprint():
			out = append(out, fmt.Sprintf("%s is %+v", id, got.State))
		case got.Owner != desired[id].Owner:
			out = append(out, fmt.Sprintf("%s is of %s", id, got.Owner))
		}
	}
	for _, id := range o.Set.IDs() {
		if _, ok := desired[id]; !ok {
			out = append(out, "extra "+id.String())
		}
	}
	return out
}

func same(tb testing.TB, d driver.Driver, desired resource.Set) {
	tb.Helper()
	if l := diff(observe(tb, d, desired), desired); l != nil {
		tb.Fatalf("observed differs:\n%s", strings.Join(l, "\n"))
	}
}

func pfx(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// router is all of one router: a namespace with two links.
func router(h *host.Host, i int) []resource.State {
	ns := fmt.Sprintf("%s-r%d", h.Instance, i)
	end := func(k string) string { return resource.Short(15, h.Instance, fmt.Sprint(k, i)) }
	pub := pfx(fmt.Sprintf("203.0.%d.%d/16", i/250, i%250+2))
	from := resource.AddrID(ns, "eth1", pub)
	l0 := resource.LinkID(ns, "eth0")
	return []resource.State{
		resource.NS{Name: ns, Owner: owner},
		resource.Link{NS: ns, Name: "eth0", Host: end("g"), MAC: fmt.Sprintf("02:00:00:00:%02x:%02x", i/256, i%256), MTU: 1450, Up: true, TxOff: true},
		resource.Link{NS: ns, Name: "eth1", Host: end("p"), MTU: 1500, Up: true, TxOff: true},
		resource.Addr{NS: ns, Link: "eth0", Prefix: pfx("10.1.1.1/24")},
		resource.Addr{NS: ns, Link: "eth0", Prefix: pfx("fd00:1::1/64")},
		resource.Addr{NS: ns, Link: "eth1", Prefix: pub},
		resource.Route{NS: ns, Dst: pfx("0.0.0.0/0"), Via: netip.MustParseAddr("203.0.255.254"), Dev: "eth1", From: &from},
		resource.Route{NS: ns, Dst: pfx("192.0.2.0/24"), Dev: "eth0"},
		resource.Sysctl{NS: ns, Key: "net.ipv4.ip_forward", Value: "1"},
		resource.Sysctl{NS: ns, Key: "net.ipv4.conf.eth0.rp_filter", Value: "2", Link: &l0},
	}
}
