package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"weft.dev/reconcile/driver"
	"weft.dev/reconcile/host"
	"weft.dev/reconcile/plan"
	"weft.dev/reconcile/resource"

	"github.com/miekg/dns"
)

func TestMarks(t *testing.T) {
	m := mark{"weft", "kvm1", "network/acme/web"}
	got, ok := parseMark(m.text())
	if !ok || got != m {
		t.Errorf("read back: %+v %v", got, ok)
	}
	for _, text := range [][]string{
		nil, {"v=spf1 -all"}, {"heritage=external-dns", "instance=weft", "host=kvm1", "owner=network/acme/web"},
		{heritage}, {heritage, "", "", ""}, {heritage, "instance=", "host=kvm1", "owner=x"},
	} {
		if m, ok := parseMark(text); ok {
			t.Errorf("%q is taken for a mark: %+v", text, m)
		}
	}
	for _, kind := range []string{"A", "AAAA", "PTR"} {
		if name, k, ok := marked(marking("web-1.example.org", kind)); !ok || name != "web-1.example.org" || k != kind {
			t.Errorf("marking of %s: %s %s %v", kind, name, k, ok)
		}
	}
	for _, at := range []string{"web-1.example.org", "_weft-txt.web-1.example.org", "_weft.example.org", ""} {
		if _, _, ok := marked(at); ok {
			t.Errorf("%q is taken for the place of a mark", at)
		}
	}
}

func TestMine(t *testing.T) {
	d := New(host.New("kvm1", "one"), nil)
	for _, x := range []struct {
		m    mark
		want bool
	}{
		{mark{"one", "kvm1", "network/acme/other"}, true},
		{mark{"one", "kvm2", "network/acme/web"}, true},
		{mark{"one", "kvm2", "network/acme/other"}, false},
		{mark{"two", "kvm1", "network/acme/web"}, false},
	} {
		if got := d.mine(x.m, "network/acme/web"); got != x.want {
			t.Errorf("%+v is ours: %v", x.m, got)
		}
	}
}

// TestHostile: no value becomes another record, another type or a name elsewhere.
func TestHostile(t *testing.T) {
	for _, r := range []resource.Record{
		{Zone: "example.org", Name: "web.example.org.evil.com", Type: "A", Values: []string{"10.0.0.1"}},
		{Zone: "example.org", Name: "notexample.org", Type: "A", Values: []string{"10.0.0.1"}},
		{Zone: "example.org", Name: "web.example.org", Type: "A", Values: []string{"10.0.0.1\nevil A 10.0.0.2"}},
		{Zone: "example.org", Name: "web.example.org", Type: "A", Values: []string{"2001:db8::1"}},
		{Zone: "example.org", Name: "web.example.org", Type: "AAAA", Values: []string{"10.0.0.1"}},
		{Zone: "example.org", Name: "web.example.org", Type: "TXT", Values: []string{"10.0.0.1"}},
		{Zone: "example.org", Name: "web.example.org", Type: "PTR", Values: []string{strings.Repeat("x", 64) + ".org"}},
	} {
		if rrs, err := values(r); err == nil {
			t.Errorf("%+v became %v", r, rrs)
		}
	}
	rrs, err := values(resource.Record{Zone: "10.in-addr.arpa", Name: "1.0.0.10.in-addr.arpa", Type: "PTR", Values: []string{"a\n2 IN PTR evil.org"}})
	if err != nil {
		return
	}
	m := new(dns.Msg).SetUpdate("10.in-addr.arpa.")
	m.Insert(rrs)
	wire, err := m.Pack()
	if err != nil {
		return
	}
	var back dns.Msg
	if err := back.Unpack(wire); err != nil || len(back.Ns) != 1 || back.Ns[0].Header().Name != "1.0.0.10.in-addr.arpa." {
		t.Errorf("a line break in a name makes another record: %v %v", back.Ns, err)
	}
}

func TestSecrets(t *testing.T) {
	text := "c2VjcmV0\n"
	d := New(host.New("kvm1", ""), func(string) ([]byte, error) { return []byte(text), nil })
	s := resource.Server{Endpoint: "udp:127.0.0.1:53", Key: "weft", Algorithm: "hmac-sha256", Secret: "/etc/weft/dns.key"}
	m := new(dns.Msg).SetUpdate("example.org.")
	secrets, err := d.sign(s, m)
	if err != nil || secrets["weft."] != "c2VjcmV0" || m.IsTsig() == nil {
		t.Errorf("%v %v", secrets, err)
	}
	for _, bad := range []string{"", "not base64!", "key \"weft\" { secret \"c2VjcmV0\"; };"} {
		text = bad
		if _, err := d.sign(s, m); err == nil || bad != "" && strings.Contains(err.Error(), bad) || !strings.Contains(err.Error(), s.Secret) {
			t.Errorf("of the key %q: %v", bad, err)
		}
	}
}

func TestPlaces(t *testing.T) {
	h := host.New("kvm1", "")
	h.StateDir = t.TempDir()
	d := New(h, func(string) ([]byte, error) { return nil, errors.New("not asked") })
	a, b := place{resource.Server{Endpoint: "udp:10.0.0.2:53"}, "example.org"}, place{resource.Server{Endpoint: "udp:10.0.0.1:53"}, "example.org"}
	keyed := a
	keyed.Server.Key = "weft"
	if err := errors.Join(d.remember(a), d.remember(b), d.remember(keyed), d.remember(keyed)); err != nil {
		t.Fatal(err)
	}
	if got, err := d.known(); err != nil || !slices.Equal(got, []place{b, keyed}) {
		t.Errorf("%v %v", got, err)
	}
	if err := errors.Join(d.forget(b), d.forget(a)); err != nil {
		t.Fatal(err)
	}
	if got, err := d.Observe(t.Context(), driver.Scope{}); err != nil || len(got.Set)+len(got.Unread) != 0 {
		t.Errorf("of no place: %+v %v", got, err)
	}
	if err := os.WriteFile(filepath.Join(h.StateDir, "dns.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Observe(t.Context(), driver.Scope{}); err == nil {
		t.Error("places that cannot be read are taken for none")
	}
}

// TestSilent: a server that does not answer is waited for once, by whoever asks for it,
// and that is what is said of it; one that refuses at once is asked again.
func TestSilent(t *testing.T) {
	for _, x := range []struct {
		err   error
		dials int
		words string
	}{
		{os.ErrDeadlineExceeded, tries, "zone example.org: it does not answer"},
		{syscall.ECONNREFUSED, 2, "zone example.org: it cannot be reached: connection refused"},
	} {
		dials := 0
		d := New(host.New("kvm1", "one"), nil)
		d.host.StateDir, d.places = t.TempDir(), filepath.Join(t.TempDir(), "dns.json")
		d.dial = func(context.Context, string, string) (net.Conn, error) {
			dials++
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: x.err}
		}
		want := resource.Set{}
		want.Put(resource.Entry{Owner: "network/acme/web", State: resource.Record{
			Server: resource.Server{Endpoint: "udp:10.0.0.53:53"}, Zone: "example.org", Name: "web.example.org", Type: "A", Values: []string{"10.0.0.1"},
		}})
		for range 2 {
			seen, err := d.Observe(t.Context(), driver.Scope{Desired: want})
			if err != nil || len(seen.Unread) != 1 || seen.Unread[0].Err != x.words || seen.Unread[0].NS != "udp:10.0.0.53:53/example.org" {
				t.Errorf("%v: seen %+v, %v", x.err, seen.Unread, err)
			}
		}
		if dials != x.dials {
			t.Errorf("%v: it was asked %d times", x.err, dials)
		}
	}
}

// TestUnsigned: a server that has our key is believed with its signature only; and a zone
// without end is not read to its end.
func TestUnsigned(t *testing.T) {
	const soa, web = "example.org. 60 IN SOA ns.example.org. root.example.org. 1 3600 600 86400 60", "web.example.org. 60 IN A 192.0.2.1"
	var answer []dns.RR
	for _, text := range append([]string{soa}, slices.Repeat([]string{web}, 999)...) {
		rr, err := dns.NewRR(text)
		if err != nil {
			t.Fatal(err)
		}
		answer = append(answer, rr)
	}
	d := New(host.New("kvm1", "one"), func(string) ([]byte, error) { return []byte("c2VjcmV0"), nil })
	d.dial = func(context.Context, string, string) (net.Conn, error) {
		here, there := net.Pipe()
		go func() {
			c := &dns.Conn{Conn: there, TsigSecret: map[string]string{"weft.": "c2VjcmV0"}}
			defer func() { _ = c.Close() }()
			q, err := c.ReadMsg()
			for err == nil {
				m := new(dns.Msg).SetReply(q)
				m.Authoritative, m.Compress, m.Answer = true, true, answer
				err = c.WriteMsg(m)
				if q.Question[0].Qtype != dns.TypeAXFR {
					return
				}
			}
		}()
		return here, nil
	}
	signed := resource.Server{Endpoint: "tcp:10.0.0.53:53", Key: "weft", Algorithm: "hmac-sha256", Secret: "/etc/weft/dns.key"}
	const words = "the server's answer is not signed"
	if err := d.update(t.Context(), signed, new(dns.Msg).SetUpdate("example.org.")); err == nil || !strings.Contains(err.Error(), words) {
		t.Errorf("an update: %v", err)
	}
	for _, read := range []func(context.Context, place) error{
		func(ctx context.Context, p place) error { _, err := d.serial(ctx, p); return err },
		func(ctx context.Context, p place) error { _, err := d.axfr(ctx, p); return err },
	} {
		if err := read(t.Context(), place{signed, "example.org"}); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("a zone: %v", err)
		}
	}
	_, err := d.axfr(t.Context(), place{resource.Server{Endpoint: "tcp:10.0.0.53:53"}, "example.org"})
	if err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("a zone without end: %v", err)
	}
}

// TestSlow: a server that takes its time holds up nothing for longer than its turn; what
// was told by then is told, and it has a silence until the next one.
func TestSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := host.New("kvm1", "one")
		h.StateDir = t.TempDir()
		d := New(h, nil)
		d.dial = func(context.Context, string, string) (net.Conn, error) {
			here, there := net.Pipe()
			go func() {
				c := &dns.Conn{Conn: there}
				defer func() { _ = c.Close() }()
				if q, err := c.ReadMsg(); err == nil {
					time.Sleep(time.Second)
					m := new(dns.Msg).SetReply(q)
					m.Authoritative = true
					_ = c.WriteMsg(m)
				}
			}()
			return here, nil
		}
		server := resource.Server{Endpoint: "tcp:10.0.0.53:53"}
		var steps []*plan.Step
		for i := range 100 {
			r := resource.Record{Server: server, Zone: "example.org", Name: fmt.Sprintf("web-%d.example.org", i), Type: "A", Values: []string{"192.0.2.1"}}
			steps = append(steps, &plan.Step{Index: i, Action: &plan.Action{ID: r.ID(), Verb: plan.Create, After: &resource.Entry{State: r, Owner: "network/acme/web"}}})
		}
		began := time.Now()
		errs := d.Do(t.Context(), steps)
		if took := time.Since(began); took > turn+2*patience {
			t.Errorf("it took %s", took)
		}
		told := slices.IndexFunc(errs, func(err error) bool { return err != nil })
		if told < 5 || slices.ContainsFunc(errs[told:], func(err error) bool { return !errors.Is(err, errSlow) }) {
			t.Fatalf("%d were told, the rest: %v", told, errs[max(told, 0):])
		}
		if err := d.silent(server); !errors.Is(err, errSlow) {
			t.Errorf("until the next turn: %v", err)
		}
		time.Sleep(silence)
		if errs := d.Do(t.Context(), steps[told:told+1]); errs[0] != nil {
			t.Errorf("at the next turn: %v", errs)
		}
	})
}
