package engine

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"weft.dev/reconcile/driver"
	"weft.dev/reconcile/plan"
	"weft.dev/reconcile/resource"
)

// told is a host that tells a DNS server of one network's names, and of another's none;
// with is what the primary of two routers has, nil where there is one.
func told(w *world, with *resource.ID) (*fake, *Engine, func(version uint64) *resource.Intent) {
	dns := &fake{kernel: w.kernel, kinds: []resource.Kind{resource.KindRecord}}
	e := New(w.host, []driver.Driver{w.net, w.files, w.process, dns}, w.settings)
	return dns, e, func(version uint64) *resource.Intent {
		a := network("a", version)
		record := resource.Record{Server: resource.Server{Endpoint: "udp:10.0.0.53:53"}, Zone: "example.org", Name: "a.example.org", Type: "A", Values: []string{"10.0.0.5"}, With: with}
		a = resource.NewFragment(a.Owner, append(a.Entries(), resource.Entry{State: record, Owner: a.Owner}))
		return intent(a, network("b", version))
	}
}

// TestOutside: another machine that cannot be read, or refuses, is the failure of those
// who want something there, tried again by itself; the host is what it should be, what is
// verified is kept, and what drifts here is repaired at once.
func TestOutside(t *testing.T) {
	for name, fail := range map[string]func(*fake){
		"silent": func(f *fake) { f.blind = errors.New("it does not answer") },
		"refuses": func(f *fake) {
			f.hook = func(*plan.Step) error { return errors.New("REFUSED") }
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			dns, e, in := told(w, nil)
			fail(dns)
			r := w.reconcile(e, in(1), Options{Revision: "r1"})
			if r.Converged() || !r.Settled() || len(r.Owners) != 2 || len(r.Owners[0].Failures) != 1 || len(r.Owners[1].Failures) != 0 {
				t.Fatalf("first pass: settled %v, owners %+v", r.Settled(), r.Owners)
			}
			if !r.Retry.Equal(w.now.Add(firstPause)) {
				t.Errorf("tried again at %v, now is %v", r.Retry, w.now)
			}
			if got := e.Verified(); got.Revision != "r1" || got.Intent.Fragment(owner("a")) == nil {
				t.Errorf("verified is %+v", got)
			}
			w.kernel.remove(resource.ID{Kind: resource.KindProcess, Name: "a/dnsmasq"})
			r = w.reconcile(e, in(1), Options{Revision: "r1"})
			if _, there := w.kernel.has[resource.ID{Kind: resource.KindProcess, Name: "a/dnsmasq"}]; !there || !r.Settled() {
				t.Errorf("what drifted here waits for the server: %+v", r.Owners)
			}
			dns.blind, dns.hook = nil, nil
			w.now = w.now.Add(time.Minute)
			w.converge(e, in(1))
		})
	}
}

// TestOutsideGone: what nobody wants any more at a machine that is silent is the host's own failure.
func TestOutsideGone(t *testing.T) {
	w := newWorld(t)
	dns, e, in := told(w, nil)
	w.converge(e, in(1))
	dns.blind = errors.New("it does not answer")
	r := w.reconcile(e, intent(network("a", 1), network("b", 1)), Options{})
	if !r.Settled() || len(r.Owners) != 1 || r.Owners[0].Owner != "host/kvm1" || r.Retry.IsZero() {
		t.Errorf("owners %+v, tried again at %v", r.Owners, r.Retry)
	}
}

// TestOutsideLooks: who of a pair tells is seen by an address, so that machines are read
// again when one changed, and not when something else did.
func TestOutsideLooks(t *testing.T) {
	w := newWorld(t)
	lead := resource.AddrID("a", "eth0", netip.MustParsePrefix("10.1.1.1/24"))
	for _, with := range []*resource.ID{nil, &lead} {
		dns, e, in := told(w, with)
		w.converge(e, in(1))
		wants := map[resource.Kind]int{resource.KindFile: 0, resource.KindAddr: 0}
		if with != nil {
			wants[resource.KindAddr] = 1
		}
		for kind, want := range wants {
			before := dns.looks
			w.reconcile(e, in(1), Options{Kinds: []resource.Kind{kind}})
			if got := dns.looks - before; got != want {
				t.Errorf("after a change of %s it is read %d times, want %d; told with %v", kind, got, want, with)
			}
		}
	}
}
