package engine

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weft.dev/reconcile/plan"
	"weft.dev/reconcile/resource"
)

// idleIntent is what is wanted when of networks only those named run, and a is idle.
func idleIntent(linger time.Duration, running ...string) *resource.Intent {
	var frags []*resource.Fragment
	for _, n := range running {
		frags = append(frags, network(n, 1))
	}
	in := intent(frags...)
	in.Terms = []resource.Term{{Owner: owner("a"), Idle: true, Linger: linger}}
	return in
}

func (w *world) hasOf(name string) bool {
	for _, e := range w.kernel.has {
		if e.Owner == owner(name) {
			return true
		}
	}
	return false
}

// What is idle stays as it is for as long as it lingers, by the host's own clock,
// over restarts; then it goes.
func TestLinger(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	w.reconcile(e, intent(network("a", 1), network("b", 1)), Options{Revision: "r1"})
	in := idleIntent(10*time.Minute, "b")

	p, err := e.Plan(t.Context(), in, Options{})
	if err != nil || !p.Empty() || len(p.Held) != 1 || !strings.HasPrefix(p.Held[0].Reason, "shutdown, after 10m: ") || p.Held[0].Resources == 0 {
		t.Fatalf("the plan: %+v, %v", p, err)
	}
	if _, err := os.Stat(e.idlePath()); err == nil {
		t.Error("a plan wrote something down")
	}
	began := w.now
	r := w.reconcile(e, in, Options{Revision: "r2"})
	if !w.hasOf("a") || !r.Converged() || !r.Wake.Equal(began.Add(10*time.Minute)) {
		t.Fatalf("at first: converged %t, wake %v", r.Converged(), r.Wake)
	}
	w.now = began.Add(10*time.Minute - time.Second)
	e = w.engine() // the agent restarted
	if r = w.reconcile(e, in, Options{Revision: "r2"}); !w.hasOf("a") || !r.Wake.Equal(began.Add(10*time.Minute)) {
		t.Fatalf("a second too early it is gone, or waits anew until %v", r.Wake)
	}
	w.now = began.Add(10 * time.Minute)
	if p, _ = e.Plan(t.Context(), in, Options{}); len(p.Held) != 0 || p.Empty() || p.Actions[0].Phase != plan.Shutdown || p.Actions[0].Wait != 0 {
		t.Errorf("the plan when it is due: %+v", p)
	}
	r = w.reconcile(e, in, Options{Revision: "r2"})
	if w.hasOf("a") || !w.hasOf("b") || !r.Converged() {
		t.Error("it did not go")
	}
	w.reconcile(e, in, Options{Revision: "r2"})
	if _, err := os.Stat(e.idlePath()); err == nil {
		t.Error("a mark stays of what is gone")
	}
}

// A lost mark starts anew; what runs again, or is declared no more, does not linger.
func TestLingerMarks(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	w.reconcile(e, intent(network("a", 1)), Options{})
	in := idleIntent(10 * time.Minute)
	began := w.now
	w.reconcile(e, in, Options{Consent: true})
	for _, rubbish := range []string{"", "{", `{"network/acme/a":"2999-01-01T00:00:00Z"}`} {
		w.now = w.now.Add(9 * time.Minute)
		path := filepath.Join(w.host.StateDir, "idle.json")
		if err := os.WriteFile(path, []byte(rubbish), 0o600); err != nil {
			t.Fatal(err)
		}
		if r := w.reconcile(e, in, Options{Consent: true}); !w.hasOf("a") || !r.Wake.Equal(w.now.Add(10*time.Minute)) {
			t.Fatalf("with %q as mark %v after it was seen idle: wake %v", rubbish, w.now.Sub(began), r.Wake)
		}
	}
	w.now = w.now.Add(9 * time.Minute)
	w.reconcile(e, intent(network("a", 1)), Options{}) // it runs again
	w.now = w.now.Add(9 * time.Minute)
	if r := w.reconcile(e, in, Options{Consent: true}); !r.Wake.Equal(w.now.Add(10 * time.Minute)) {
		t.Errorf("after it ran again it waits until %v", r.Wake)
	}
	w.reconcile(e, intent(), Options{Consent: true}) // its document went
	if w.hasOf("a") {
		t.Error("what is declared no more lingers")
	}
	// What was never there has nothing to wait for.
	if r := w.reconcile(e, in, Options{Consent: true}); !r.Wake.IsZero() {
		t.Errorf("nothing is there, and it waits until %v", r.Wake)
	}
}

// Others are made meanwhile, and what the idle one shares with them goes only with
// it.
func TestLingerHoldsBackNobody(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	w.reconcile(e, intent(network("a", 1)), Options{})
	in := idleIntent(time.Minute, "c")
	if r := w.reconcile(e, in, Options{}); !r.Converged() || !w.hasOf("c") || !w.hasOf("a") {
		t.Errorf("beside what lingers: %+v", r.Owners)
	}
}
