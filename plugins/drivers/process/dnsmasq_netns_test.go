//go:build netns

package process

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weft.dev/reconcile/driver"
	"weft.dev/reconcile/plan"
	"weft.dev/reconcile/resource"
)

// spaces makes n namespaces, each with lo up, for as long as the test runs.
func spaces(t testing.TB, w *world, n int) []string {
	t.Helper()
	ip := func(args ...string) {
		t.Helper()
		if _, err := w.host.Run(context.Background(), "", nil, append([]string{"ip"}, args...)...); err != nil {
			t.Fatal(err)
		}
	}
	w.host.Netns = "/run/netns"
	var names []string
	for i := range n {
		name := fmt.Sprintf("weft-test-%d-%d", os.Getpid(), i)
		ip("netns", "add", name)
		t.Cleanup(func() { ip("netns", "del", name) })
		ip("-n", name, "link", "set", "lo", "up")
		names = append(names, name)
	}
	return names
}

func (w *world) dnsmasq(ns, answer string) resource.Process {
	w.t.Helper()
	dir := filepath.Join(w.host.RunDir, "files", ns)
	must(w.t, os.MkdirAll(dir, 0o755))
	conf := "port=53\ninterface=lo\nbind-interfaces\nno-resolv\nno-hosts\npid-file=\nuser=root\nlog-facility=-\n"
	must(w.t, os.WriteFile(filepath.Join(dir, "conf"), []byte(conf), 0o644))
	must(w.t, os.WriteFile(filepath.Join(dir, "hosts"), []byte(answer+" name.test\n"), 0o644))
	argv := []string{"dnsmasq", "--keep-in-foreground", "--conf-file={run}/" + ns + "/conf", "--addn-hosts={run}/" + ns + "/hosts"}
	return resource.Process{
		Name: ns + "/dnsmasq", NS: ns, Argv: argv, Reload: "HUP",
		Load: resource.Digest(answer), Start: resource.Digest(conf),
		Test: []string{"dnsmasq", "--test", "--conf-file={run}/" + ns + "/conf"},
	}
}

// ask resolves name.test inside a namespace.
func (w *world) ask(ns string) string {
	var conn *net.UDPConn
	err := w.host.In(ns, func() (err error) {
		conn, err = net.DialUDP("udp", nil, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 53})
		return err
	})
	if err != nil {
		return err.Error()
	}
	defer func() { _ = conn.Close() }()
	r := net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) { return kept{conn}, nil }}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	found, err := r.LookupNetIP(ctx, "ip4", "name.test.")
	if err != nil || len(found) != 1 {
		return fmt.Sprint(found, err)
	}
	return found[0].String()
}

// kept is a connection that the resolver does not close: its second try asks by it too.
type kept struct{ *net.UDPConn }

func (kept) Close() error { return nil }

func TestDnsmasqInItsNamespace(t *testing.T) {
	w := newWorld(t)
	w.patient = true
	names := spaces(t, w, 2)
	steps := []*plan.Step{step(0, w.dnsmasq(names[0], "10.0.0.1"), false), step(1, w.dnsmasq(names[1], "10.0.0.2"), false)}
	for i, err := range w.driver().Do(context.Background(), steps) {
		must(t, err)
		// It serves as soon as its step is done.
		if got := w.ask(names[i]); got != fmt.Sprintf("10.0.0.%d", i+1) {
			t.Errorf("answer in %s: %s", names[i], got)
		}
	}
	p := w.dnsmasq(names[0], "10.0.0.9")
	pid := w.pid(p.Name)
	if w.equal(p) {
		t.Fatal("what it has not loaded is seen as equal")
	}
	must(t, w.make(p))
	w.until("the new answer is given", func() bool { return w.ask(names[0]) == "10.0.0.9" })
	if w.pid(p.Name) != pid || !w.equal(p) {
		t.Errorf("pid %d, was %d; seen as %v", w.pid(p.Name), pid, w.observe(p))
	}
	if got := w.ask(names[1]); got != "10.0.0.2" {
		t.Errorf("the neighbour answers %s", got)
	}

	must(t, os.WriteFile(filepath.Join(w.host.RunDir, "files", names[0], "conf"), []byte("no-such-option\n"), 0o644))
	p.Start++
	if err := w.make(p); err == nil || !strings.Contains(err.Error(), "bad option at line 1") {
		t.Errorf("a broken configuration gives %v", err)
	}
	if w.pid(p.Name) != pid || w.ask(names[0]) != "10.0.0.9" {
		t.Error("it does not serve any more")
	}

	second := w.dnsmasq(names[1], "10.0.0.2")
	second.Name = "second"
	if err := w.make(second); err == nil || !strings.Contains(err.Error(), "Address already in use") {
		t.Errorf("two on one port: %v", err)
	}
}

// A process that outlived its namespace is no part of the one that bears the
// name now.
func TestNamespaceMadeAnew(t *testing.T) {
	w := newWorld(t)
	ns := spaces(t, w, 1)[0]
	p := sleeper("a")
	p.NS = ns
	must(t, w.make(p))
	if !w.equal(p) {
		t.Fatalf("seen as %v", w.observe(p))
	}
	for _, verb := range []string{"del", "add"} {
		_, err := w.host.Run(context.Background(), "", nil, "ip", "netns", verb, ns)
		must(t, err)
	}
	if w.equal(p) {
		t.Error("it is seen in a namespace where it is not")
	}
	pid := w.pid("a")
	must(t, w.make(p))
	if w.pid("a") == pid || !w.equal(p) {
		t.Errorf("seen as %v", w.observe(p))
	}
}

// Bring-up of 50 daemons, one look at them, and their end.
func BenchmarkDnsmasq(b *testing.B) {
	w := newWorld(b)
	names := spaces(b, w, 50)
	d := New(w.host)
	var up, down []*plan.Step
	scope := driver.Scope{Desired: resource.Set{}}
	for i, ns := range names {
		p := w.dnsmasq(ns, "10.0.0.1")
		up, down = append(up, step(i, p, false)), append(down, step(i, p, true))
		scope.Desired.Put(resource.Entry{State: p})
	}
	do := func(unit string, steps []*plan.Step) {
		begin := time.Now()
		for _, err := range d.Do(context.Background(), steps) {
			must(b, err)
		}
		b.ReportMetric(float64(time.Since(begin).Milliseconds()), unit)
	}
	for b.Loop() {
		do("start-ms", up)
		begin := time.Now()
		_, err := d.Observe(context.Background(), scope)
		must(b, err)
		b.ReportMetric(float64(time.Since(begin).Milliseconds()), "observe-ms")
		do("stop-ms", down)
	}
}

// TestDeviceMadeAnew: who is bound to a device is started anew when another has its
// name, and not because of any other link.
func TestDeviceMadeAnew(t *testing.T) {
	w := newWorld(t)
	ns := spaces(t, w, 1)[0]
	ip := func(args ...string) {
		t.Helper()
		_, err := w.host.Run(context.Background(), "", nil, append([]string{"ip", "-n", ns}, args...)...)
		must(t, err)
	}
	alias, err := w.host.Alias(string(owner)) // or it is not weft's
	must(t, err)
	ip("link", "set", "lo", "alias", alias)
	ip("link", "add", "d0", "type", "bridge")
	bound, free := sleeper("bound"), sleeper("free")
	bound.NS, free.NS, bound.Device = ns, ns, "d0"
	must(t, w.make(bound))
	must(t, w.make(free))
	pids := [2]int{w.pid("bound"), w.pid("free")}
	ip("link", "add", "d1", "type", "bridge")
	if !w.equal(bound) || !w.equal(free) {
		t.Errorf("beside another link they are %v", w.observe(bound, free))
	}
	must(t, w.make(bound)) // nothing to do
	for _, again := range []func(){func() { ip("link", "del", "d0") }, func() { ip("link", "add", "d0", "index", "77", "type", "bridge") }} {
		again()
		if w.equal(bound) || !w.equal(free) {
			t.Errorf("without its device it is %v", w.observe(bound, free))
		}
	}
	must(t, w.make(bound))
	must(t, w.make(free))
	if w.pid("bound") == pids[0] || w.pid("free") != pids[1] || !w.equal(bound) {
		t.Errorf("pids %d and %d, were %v; seen as %v", w.pid("bound"), w.pid("free"), pids, w.observe(bound))
	}
}
