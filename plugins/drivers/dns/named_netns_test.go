//go:build netns

package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"weft.dev/reconcile/driver"
	"weft.dev/reconcile/driver/drivertest"
	"weft.dev/reconcile/host"
	"weft.dev/reconcile/plan"
	"weft.dev/reconcile/resource"
)

const (
	key   = "c2VjcmV0IG9mIGEgdGVzdCBvbmx5IQ=="
	other = "YW5vdGhlciBzZWNyZXQgb2YgYSB0ZXN0"
)

// A world is BIND in a namespace of its own, and a host that tells it.
type world struct {
	dir, ns string
	host    *host.Host
	named   *exec.Cmd
}

const conf = `options { directory "%[1]s"; pid-file none; session-keyfile none; listen-on port 53 { 127.0.0.1; }; listen-on-v6 { none; }; recursion no; dnssec-validation no; empty-zones-enable no; };
controls { };
key "weft" { algorithm hmac-sha256; secret "%[2]s"; };
key "weft2" { algorithm hmac-sha512; secret "%[3]s"; };
zone "example.org" { type primary; file "example.org"; allow-transfer { key weft; key weft2; }; allow-update { key weft; key weft2; }; };
zone "1.1.10.in-addr.arpa" { type primary; file "reverse"; allow-transfer { key weft; key weft2; }; allow-update { key weft; key weft2; }; };
`

const zoneText = `$TTL 300
@ IN SOA ns.example.org. root.example.org. 1 3600 600 86400 60
@ IN NS ns.example.org.
`

func newWorld(t *testing.T) *world {
	t.Helper()
	if _, err := exec.LookPath("named"); err != nil {
		t.Skip("no named here (bind9)")
	}
	w := &world{dir: t.TempDir(), ns: fmt.Sprintf("wfdns%x", os.Getpid())}
	must(t, os.Chmod(w.dir, 0o755))
	w.host = host.New("kvm1", w.ns)
	w.host.RunDir, w.host.StateDir = filepath.Join(w.dir, "run"), filepath.Join(w.dir, "state")
	sh(t, "ip", "netns", "add", w.ns)
	t.Cleanup(func() {
		w.host.Close()
		sh(t, "ip", "netns", "del", w.ns)
	})
	sh(t, "ip", "-n", w.ns, "link", "set", "lo", "up")
	w.write(t, "named.conf", fmt.Sprintf(conf, w.dir, key, other))
	w.write(t, "example.org", zoneText+"ns IN A 127.0.0.1\nhand 300 IN A 192.0.2.1\nalias IN CNAME hand\n")
	w.write(t, "reverse", zoneText)
	w.write(t, "one", key+"\n")
	w.write(t, "two", other)
	w.start(t)
	t.Cleanup(w.stop)
	return w
}

func (w *world) write(t *testing.T, name, text string) {
	t.Helper()
	must(t, os.WriteFile(filepath.Join(w.dir, name), []byte(text), 0o644))
}

func (w *world) start(t *testing.T) {
	t.Helper()
	log, err := os.Create(filepath.Join(w.dir, "log"))
	must(t, err)
	defer func() { _ = log.Close() }()
	w.named = exec.Command("ip", "netns", "exec", w.ns, "named", "-g", "-n", "1", "-c", filepath.Join(w.dir, "named.conf"))
	w.named.Stdout, w.named.Stderr = log, log
	must(t, w.named.Start())
	for end := time.Now().Add(15 * time.Second); ; {
		if seen, err := w.driver().Observe(t.Context(), driver.Scope{Desired: set(record("www", "192.0.2.7"))}); err == nil && len(seen.Unread) == 0 {
			return
		}
		if time.Now().After(end) {
			text, _ := os.ReadFile(log.Name())
			t.Fatalf("named does not answer:\n%s", text)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func (w *world) stop() {
	_ = w.named.Process.Kill()
	_ = w.named.Wait()
}

func (w *world) driver() *Driver {
	d := New(w.host, func(path string) ([]byte, error) { return os.ReadFile(filepath.Join(w.dir, filepath.Base(path))) })
	d.dial = func(ctx context.Context, network, address string) (conn net.Conn, err error) {
		dialer := net.Dialer{Timeout: patience}
		err = w.host.In(w.ns, func() error { conn, err = dialer.DialContext(ctx, network, address); return err })
		return conn, err
	}
	return d
}

var server = resource.Server{Endpoint: "udp:127.0.0.1:53", Key: "weft", Algorithm: "hmac-sha256", Secret: "/etc/weft/one"}

func record(name string, values ...string) resource.Record {
	r := resource.Record{Server: server, Zone: "example.org", Name: name + ".example.org", Type: "A", Values: values, TTL: 60}
	if strings.Contains(values[0], ":") {
		r.Type = "AAAA"
	}
	return r
}

func set(list ...resource.State) resource.Set {
	out := resource.Set{}
	for _, st := range list {
		out.Put(resource.Entry{State: st, Owner: drivertest.Owner})
	}
	return out
}

func TestSuite(t *testing.T) {
	w := newWorld(t)
	web := record("web-1", "10.1.1.5")
	moved, more, slow, keyed := web, web, web, web
	moved.Values, more.Values, slow.TTL = []string{"10.1.1.6"}, []string{"10.1.1.5", "10.1.1.7"}, 300
	keyed.Server = resource.Server{Endpoint: server.Endpoint, Key: "weft2", Algorithm: "hmac-sha512", Secret: "/etc/weft/two"}
	six := record("web-1", "2001:db8::5")
	six.Server.Endpoint, six.Server.Resolvers = "tcp:ns.example.org:53", "127.0.0.1"
	ptr := resource.Record{Server: server, Zone: "1.1.10.in-addr.arpa", Name: "5.1.1.10.in-addr.arpa", Type: "PTR", Values: []string{"web-1.example.org"}, TTL: 60}
	renamed := ptr
	renamed.Values = []string{"web-2.example.org"}
	samples := []drivertest.Sample{w.sample(web, moved, more, slow, keyed), w.sample(six), w.sample(ptr, renamed)}
	drivertest.Run(t, drivertest.Fixture{
		New:     func(*testing.T) driver.Driver { return w.driver() },
		Samples: samples,
		Foreign: []drivertest.Foreign{w.foreign("hand", record("hand", "10.1.1.8"), "192.0.2.1"), w.foreign("alias", record("alias", "10.1.1.8"), "192.0.2.1 hand.example.org")},
	})
}

// sample is a record that another hand changes and removes.
func (w *world) sample(r resource.Record, changed ...resource.State) drivertest.Sample {
	wrong := map[string]string{"A": "192.0.2.99", "AAAA": "2001:db8::99", "PTR": "wrong.example.org."}[r.Type]
	return drivertest.Sample{
		State: r, Changed: changed,
		Spoil: func(t *testing.T) {
			w.nsupdate(t, r.Zone, fmt.Sprintf("update delete %s %s\nupdate add %s 60 %s %s", r.Name, r.Type, r.Name, r.Type, wrong))
		},
		Vanish: func(t *testing.T) {
			w.nsupdate(t, r.Zone, fmt.Sprintf("update delete %s %s\nupdate delete %s TXT", r.Name, r.Type, marking(r.Name, r.Type)))
		},
		Check: func(t *testing.T, st resource.State) error {
			var want []string
			if r, ok := st.(resource.Record); ok {
				want = r.Values
			}
			if got := w.dig(t, r.Name, r.Type); !slices.Equal(got, want) {
				return fmt.Errorf("dig says %q, want %q", got, want)
			}
			if got := w.dig(t, marking(r.Name, r.Type), "TXT"); (len(got) == 1) != (st != nil) {
				return fmt.Errorf("the marks are %q", got)
			}
			return nil
		},
	}
}

func (w *world) foreign(name string, r resource.Record, has string) drivertest.Foreign {
	return drivertest.Foreign{
		Name: name, Make: func(*testing.T) {}, InTheWay: r, Forbidden: true,
		Intact: func(t *testing.T) error {
			if got := strings.Join(w.dig(t, r.Name, "A"), " "); got != has {
				return fmt.Errorf("dig says %q, want %q", got, has)
			}
			return nil
		},
	}
}

func (w *world) nsupdate(t *testing.T, zone, text string) {
	t.Helper()
	cmd := exec.Command("ip", "netns", "exec", w.ns, "nsupdate", "-y", "hmac-sha256:weft:"+key)
	cmd.Stdin = strings.NewReader("server 127.0.0.1\nzone " + zone + "\n" + text + "\nsend\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("nsupdate: %v\n%s", err, out)
	}
}

// dig asks with other eyes than the driver's.
func (w *world) dig(t *testing.T, name, kind string) []string {
	t.Helper()
	var out []string
	for line := range strings.Lines(sh(t, "ip", "netns", "exec", w.ns, "dig", "@127.0.0.1", "+short", name, kind)) {
		out = append(out, strings.TrimSuffix(strings.TrimSpace(line), "."))
	}
	slices.Sort(out)
	return out
}

func step(st resource.State, owner resource.Owner, drop bool) []*plan.Step {
	e := &resource.Entry{State: st, Owner: owner}
	if drop {
		return []*plan.Step{{Drop: true, Action: &plan.Action{ID: st.ID(), Verb: plan.Delete, Before: e}}}
	}
	return []*plan.Step{{Action: &plan.Action{ID: st.ID(), Verb: plan.Create, After: e}}}
}

// TestHosts: the host that a router came to takes its records over, the one that it
// left no longer has them to remove; another network gets nothing of them.
func TestHosts(t *testing.T) {
	w := newWorld(t)
	web := record("web-1", "10.1.1.5")
	must(t, errors.Join(w.driver().Do(t.Context(), step(web, drivertest.Owner, false))...))
	there := *w
	there.host = host.New("kvm2", w.host.Instance)
	there.host.StateDir = filepath.Join(w.dir, "state2")

	if err := errors.Join(there.driver().Do(t.Context(), step(web, "network/acme/other", false))...); err == nil || !strings.Contains(err.Error(), "it is that of network/acme/web by host kvm1") {
		t.Errorf("another network on another host: %v", err)
	}
	p := planned(t, there.driver(), web)
	must(t, errors.Join(there.driver().Do(t.Context(), p.Steps)...))
	if p := planned(t, there.driver(), web); !p.Empty() {
		t.Errorf("after it took over: %+v", p.Actions)
	}
	if p := planned(t, w.driver()); !p.Empty() {
		t.Errorf("where it was: %+v", p.Actions)
	}
	must(t, errors.Join(w.driver().Do(t.Context(), step(web, drivertest.Owner, true))...))
	if got := w.dig(t, web.Name, "A"); len(got) != 1 {
		t.Errorf("the host that it left removed it: %q", got)
	}
	must(t, errors.Join(there.driver().Do(t.Context(), step(web, drivertest.Owner, true))...))
	if got := w.dig(t, web.Name, "A"); len(got) != 0 {
		t.Errorf("it is still there: %q", got)
	}
	if list, err := there.driver().known(); err != nil || len(list) != 0 {
		t.Errorf("places without records: %v %v", list, err)
	}
}

// TestPair: of two hosts with a router each the one tells whose router has the lead; the
// other one finds all in order, whatever the server has. When the lead comes over, it
// takes the records over; it also removes what the first made and nobody wants any more.
func TestPair(t *testing.T) {
	w := newWorld(t)
	lead := resource.AddrID(w.ns, "lo", netip.MustParsePrefix("10.1.1.1/24"))
	gone := resource.AddrID("wfdns-none", "lo", netip.MustParsePrefix("10.1.1.1/24"))
	web, old := record("web-1", "10.1.1.5"), record("web-1", "10.1.1.4")
	web.With, old.With = &lead, &lead
	away := web
	away.With = &gone
	for _, r := range []resource.Record{web, away} {
		if p := planned(t, w.driver(), r); !p.Converged() {
			t.Errorf("the backup has something to do with %s: %+v", r.With, p.Actions)
		}
		must(t, errors.Join(w.driver().Do(t.Context(), step(r, drivertest.Owner, false))...))
	}
	if got := w.dig(t, web.Name, "A"); len(got) != 0 {
		t.Errorf("the backup told: %q", got)
	}
	sh(t, "ip", "-n", w.ns, "addr", "add", "10.1.1.1/24", "dev", "lo")
	p := planned(t, w.driver(), web)
	if len(p.Steps) != 1 {
		t.Fatalf("the primary has nothing to do: %+v", p)
	}
	must(t, errors.Join(w.driver().Do(t.Context(), p.Steps)...))
	if p := planned(t, w.driver(), web); !p.Converged() || len(w.dig(t, web.Name, "A")) != 1 {
		t.Errorf("the primary told: %+v", p.Actions)
	}
	sh(t, "ip", "-n", w.ns, "addr", "del", "10.1.1.1/24", "dev", "lo")
	if p := planned(t, w.driver(), old); !p.Converged() {
		t.Errorf("the former primary undoes what the other one told: %+v", p.Actions)
	}
	if p := planned(t, w.driver()); len(p.Steps) != 1 {
		t.Errorf("of what nobody wants it leaves what it made: %+v", p)
	}

	there := *w
	there.host = host.New("kvm2", w.host.Instance)
	there.host.StateDir = filepath.Join(w.dir, "state2")
	sh(t, "ip", "-n", w.ns, "addr", "add", "10.1.1.1/24", "dev", "lo")
	p = planned(t, there.driver(), web)
	must(t, errors.Join(there.driver().Do(t.Context(), p.Steps)...))
	if got := strings.Join(w.dig(t, marking(web.Name, "A"), "TXT"), ""); len(p.Steps) != 1 || !strings.Contains(got, "host=kvm2") {
		t.Errorf("after the lead came over: %+v, the mark is %s", p, got)
	}
	must(t, errors.Join(there.driver().Do(t.Context(), step(web, drivertest.Owner, true))...))
}

// TestSilence: a server that is down is what could not be read, and the rest of the
// host goes on; afterwards all is as it was.
func TestSilence(t *testing.T) {
	w := newWorld(t)
	web := record("web-1", "10.1.1.5")
	must(t, errors.Join(w.driver().Do(t.Context(), step(web, drivertest.Owner, false))...))
	w.stop()
	p := planned(t, w.driver(), web)
	if len(p.Unread) != 1 || p.Unread[0].NS != server.Endpoint+"/"+web.Zone || len(p.Steps) != 0 {
		t.Errorf("of a server that is down: unread %v, steps %d", p.Unread, len(p.Steps))
	}
	w.start(t)
	if p := planned(t, w.driver(), web); !p.Converged() {
		t.Errorf("after it came back: %+v %v", p.Actions, p.Unread)
	}
	wrong := web
	wrong.Server.Secret = "/etc/weft/two"
	if p := planned(t, w.driver(), wrong); len(p.Unread) != 1 || !strings.Contains(p.Unread[0].Err, "NOTAUTH") {
		t.Errorf("with the wrong key it reads: %+v %v", p.Actions, p.Unread)
	}
	unsigned := web
	unsigned.Server = resource.Server{Endpoint: server.Endpoint}
	if p := planned(t, w.driver(), unsigned); len(p.Unread) != 1 || !strings.Contains(p.Unread[0].Err, "REFUSED") {
		t.Errorf("without a key it reads: %+v %v", p.Actions, p.Unread)
	}
	must(t, errors.Join(w.driver().Do(t.Context(), step(web, drivertest.Owner, true))...))
}

func planned(t *testing.T, d *Driver, want ...resource.State) *plan.Plan {
	t.Helper()
	var entries []resource.Entry
	for _, st := range want {
		entries = append(entries, resource.Entry{State: st, Owner: drivertest.Owner})
	}
	intent := resource.NewIntent("kvm1", []*resource.Fragment{resource.NewFragment(drivertest.Owner, entries)}, nil)
	seen, err := d.Observe(context.Background(), driver.Scope{Desired: intent.Set()})
	must(t, err)
	p, err := plan.Diff(intent, seen, plan.Options{})
	must(t, err)
	return p
}

func sh(t *testing.T, argv ...string) string {
	t.Helper()
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", argv, err, out)
	}
	return string(out)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
