//go:build netns

package virtualrouter

import (
	"bufio"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"weft.dev/plugins/plugintest"
	"weft.dev/reconcile/resource"
)

// patience is how long something may take that happens at once on an idle machine.
const patience = 10 * time.Second

// lan is a router's namespace with its links, and one with what they lead to:
// "eth0" to the guests' side, "eth1" to the public one.
type lan struct {
	t      *testing.T
	router string
	guests string
	dir    string
	proc   resource.Process
	log    chan string
}

func run(t *testing.T, argv ...string) string {
	t.Helper()
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", strings.Join(argv, " "), err, out)
	}
	return string(out)
}

// newLAN makes the namespaces and addresses that the intent of network asks for,
// and its files.
func newLAN(t *testing.T, in *resource.Intent, network string) *lan {
	t.Helper()
	x := &lan{t: t, router: fmt.Sprintf("weft-vr-%d-r", os.Getpid()), guests: fmt.Sprintf("weft-vr-%d-g", os.Getpid()), dir: t.TempDir()}
	for _, ns := range []string{x.router, x.guests} {
		run(t, "ip", "netns", "add", ns)
		t.Cleanup(func() { run(t, "ip", "netns", "del", ns) })
		run(t, "ip", "-n", ns, "link", "set", "lo", "up")
	}
	set := resource.Set{}
	for _, e := range in.Fragment(resource.Owner("network/acme/" + network)).Entries() {
		set.Put(e)
	}
	for _, id := range set.IDs() {
		if p, ok := set[id].State.(resource.Process); ok {
			x.proc = p
		}
	}
	x.link("eth0")
	x.link("eth1")
	for _, e := range set {
		if a, ok := e.State.(resource.Addr); ok {
			run(t, "ip", "-n", x.router, "addr", "add", a.Prefix.String(), "dev", a.Link)
		}
	}
	write(t, set, x.dir)
	// dnsmasq reads its files as another user once it serves.
	for dir := x.dir; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return x
}

func (x *lan) link(name string) {
	x.t.Helper()
	run(x.t, "ip", "-n", x.router, "link", "add", name, "type", "veth", "peer", "name", name, "netns", x.guests)
	run(x.t, "ip", "-n", x.router, "link", "set", name, "up")
	run(x.t, "ip", "-n", x.guests, "link", "set", name, "up")
}

// start runs the process as the intent says, until it serves.
func (x *lan) start() *os.Process {
	x.t.Helper()
	argv := append([]string{"netns", "exec", x.router}, expand(x.proc.Argv, x.dir)...)
	cmd := exec.Command("ip", argv...)
	out, err := cmd.StderrPipe()
	if err != nil {
		x.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		x.t.Fatal(err)
	}
	x.log = make(chan string, 1000)
	done := make(chan struct{})
	go func() {
		defer close(done)
		lines(out, x.log)
		_ = cmd.Wait()
	}()
	x.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-done
	})
	x.await("read ")
	return cmd.Process
}

func lines(r io.Reader, to chan<- string) {
	for s := bufio.NewScanner(r); s.Scan(); {
		to <- s.Text()
	}
	close(to)
}

// await reads the log up to a line that holds text.
func (x *lan) await(text string) {
	x.t.Helper()
	var seen []string
	limit := time.After(patience)
	for {
		select {
		case l, ok := <-x.log:
			if !ok {
				x.t.Fatalf("it ended before it said %q: %s", text, strings.Join(seen, "\n"))
			}
			seen = append(seen, l)
			if strings.Contains(l, text) {
				return
			}
		case <-limit:
			x.t.Fatalf("it did not say %q: %s", text, strings.Join(seen, "\n"))
		}
	}
}

// dig returns the status of an answer and what it holds.
func (x *lan) dig(words ...string) string {
	x.t.Helper()
	argv := append([]string{"netns", "exec", x.guests, "dig", "+tries=1", "+time=2", "+noall", "+comments", "+answer"}, words...)
	out, err := exec.Command("ip", argv...).CombinedOutput()
	if err != nil {
		return "no answer"
	}
	var got []string
	for l := range strings.Lines(string(out)) {
		f := strings.Fields(l)
		switch {
		case strings.Contains(l, "status: "):
			_, rest, _ := strings.Cut(l, "status: ")
			status, _, _ := strings.Cut(rest, ",")
			got = append([]string{status}, got...)
		case len(f) == 5 && f[2] == "IN":
			got = append(got, f[4])
		}
	}
	return strings.Join(got, " ")
}

func TestDnsmasqServes(t *testing.T) {
	dnsmasq(t)
	x := newLAN(t, plugintest.Intent(t, registry, "serve"), "web")
	daemon := x.start()
	t.Run("leases", x.leases)
	run(t, "ip", "-n", x.guests, "addr", "add", "10.1.1.11/24", "dev", "eth0")
	run(t, "ip", "-n", x.guests, "addr", "add", "203.0.113.200/24", "dev", "eth1")
	t.Run("names", x.names)

	hosts := filepath.Join(x.dir, "routers/weft-acme-web/hosts")
	if err := os.WriteFile(hosts, []byte("10.1.1.15 idle\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := daemon.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	x.await("read " + hosts)
	if got := x.dig("@10.1.1.1", "idle.web.internal"); got != "NOERROR 10.1.1.15" {
		t.Errorf("after a reload idle is %s", got)
	}

	// A link made anew is served by the same process.
	run(t, "ip", "-n", x.router, "link", "del", "eth0")
	x.link("eth0")
	run(t, "ip", "-n", x.router, "addr", "add", "10.1.1.1/24", "dev", "eth0")
	run(t, "ip", "-n", x.guests, "addr", "add", "10.1.1.11/24", "dev", "eth0")
	if got := x.lease("02:00:00:00:00:11", nil); got.ip != "10.1.1.11" {
		t.Errorf("over the new link: %+v", got)
	}
	if got := x.dig("@10.1.1.1", "idle"); got != "NOERROR 10.1.1.15" {
		t.Errorf("over the new link idle is %s", got)
	}
}

func (x *lan) names(t *testing.T) {
	for _, q := range []struct{ words, want string }{
		{"web-1.web.internal", "NOERROR 10.1.1.11"},
		{"web-1", "NOERROR 10.1.1.11"},
		{"+tcp web-1.web.internal", "NOERROR 10.1.1.11"},
		{"ignore.web.internal", "NOERROR 10.1.1.13"},
		{"2h.web.internal", "NOERROR 10.1.1.14"},
		{"-x 10.1.1.12", "NOERROR two.web.internal."},
		{"-x 10.1.1.99", "NXDOMAIN"},
		{"idle.web.internal", "NXDOMAIN"},
		{"nobody.web.internal", "NXDOMAIN"},
		{"web-1.web.internal AAAA", "NOERROR"},
		{"nobody", "NXDOMAIN"},
		{"localhost", "NXDOMAIN"},
		{"example.com", "REFUSED"},
	} {
		if got := x.dig(append([]string{"@10.1.1.1"}, strings.Fields(q.words)...)...); got != q.want {
			t.Errorf("%s: %s, want %s", q.words, got, q.want)
		}
	}
	// The public side is not served, whatever the firewall says: the daemon does not listen there.
	for e := range strings.FieldsSeq(run(t, "ip", "-n", x.router, "-o", "-4", "addr", "show", "dev", "eth1")) {
		p, err := netip.ParsePrefix(e)
		if err != nil {
			continue
		}
		for _, more := range []string{"+notcp", "+tcp"} {
			if got := x.dig("@"+p.Addr().String(), "web-1.web.internal", more); got != "no answer" {
				t.Errorf("on the public side %s: %s", p, got)
			}
		}
	}
}

func (x *lan) leases(t *testing.T) {
	const routes = "172.16.0.0/12 10.1.1.9"
	got := x.lease("02:00:00:00:00:11", nil)
	want := offer{
		kind: ack, ip: "10.1.1.11", mask: "255.255.255.0", router: "10.1.1.1", dns: "10.1.1.1", domain: "web.internal",
		hostname: "web-1", mtu: 1500, lease: 1<<32 - 1, server: "10.1.1.1", search: "web.internal",
		routes: routes + " 0.0.0.0/0 10.1.1.1", windows: routes + " 0.0.0.0/0 10.1.1.1",
	}
	if got != want {
		t.Errorf("a guest is told\n%+v, not\n%+v", got, want)
	}
	got = x.lease("02:00:00:00:00:12", nil)
	want = offer{
		kind: ack, ip: "10.1.1.12", mask: "255.255.255.0", hostname: "two", mtu: 1500, lease: 1<<32 - 1, server: "10.1.1.1",
		routes: routes, windows: routes,
	}
	if got != want {
		t.Errorf("a NIC that is not the machine's default one is told\n%+v, not\n%+v", got, want)
	}
	for mac, name := range map[string]string{"02:00:00:00:00:13": "ignore 10.1.1.13", "02:00:00:00:00:14": "2h 10.1.1.14"} {
		if got := x.lease(mac, nil); got.hostname+" "+got.ip != name {
			t.Errorf("%s got %+v, not %s", mac, got, name)
		}
	}
	// Clones say the same of themselves.
	clone := []byte{0xff, 1, 2, 3, 4}
	for range 2 {
		for _, last := range []string{"1", "3"} {
			if got := x.lease("02:00:00:00:00:1"+last, clone); got.kind != ack || got.ip != "10.1.1.1"+last {
				t.Errorf("of two with one client id, %s got %+v", last, got)
			}
		}
	}
	// Who comes back without a lease that this process knows.
	if got := x.ask(packet{kind: request, mac: "02:00:00:00:00:14", wants: "10.1.1.14"}); got.kind != ack {
		t.Errorf("who comes back got %+v", got)
	}
	if got := x.ask(packet{kind: request, mac: "02:00:00:00:00:14", wants: "10.1.1.99"}); got.kind != nak {
		t.Errorf("who comes back to a wrong address got %+v", got)
	}
	x.tell(packet{kind: discover, mac: "02:00:00:00:00:99"})
	x.await("DHCPDISCOVER(eth0) 02:00:00:00:00:99 ignored")
}

// An address that moves to another machine is given to it, though the one before
// never gave it back.
func TestAddressMovesOn(t *testing.T) {
	dnsmasq(t)
	x := newLAN(t, plugintest.Intent(t, registry, "serve"), "web")
	daemon := x.start()
	if got := x.lease("02:00:00:00:00:11", nil); got.ip != "10.1.1.11" {
		t.Fatalf("%+v", got)
	}
	before := x.proc
	in := plugintest.Intent(t, registry, "serve", "02:00:00:00:00:11", "02:00:00:00:00:77")
	x.proc, _ = in.Set()[before.ID()].State.(resource.Process)
	write(t, in.Set(), x.dir)
	// As the process driver does: a restart for another Start, a reload for
	// another Load.
	if x.proc.StartPrint() == before.StartPrint() {
		if err := daemon.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		x.await("read ")
	} else {
		_ = daemon.Kill()
		for range x.log { // until it has ended
		}
		x.start()
	}
	if got := x.lease("02:00:00:00:00:77", nil); got.kind != ack || got.ip != "10.1.1.11" {
		t.Errorf("the new holder got %+v", got)
	}
}
