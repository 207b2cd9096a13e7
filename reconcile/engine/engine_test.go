package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"weft.dev/reconcile/plan"
	"weft.dev/reconcile/resource"
)

func TestConvergeAndRest(t *testing.T) {
	w := newWorld(t)
	in := intent(network("a", 1), network("b", 1))
	e := w.engine()
	r := w.reconcile(e, in, Options{Revision: "main@sha1:1", Lock: "x"})
	w.has(in)
	if !r.Converged() || r.Journal != 1 || len(r.Owners) != 2 || r.Owners[0].Actions != 5 || !r.Retry.IsZero() {
		t.Errorf("first pass: %+v", r)
	}
	done := len(w.kernel.log)
	r = w.converge(e, in)
	if r.Journal != 0 || len(r.Owners) != 0 || len(w.kernel.log) != done {
		t.Errorf("second pass: %+v", r)
	}
	r = w.converge(w.engine(), in)
	if len(r.Owners) != 0 {
		t.Errorf("a new engine finds something to do: %+v", r.Owners)
	}
	h := e.History(10)
	if len(h) != 1 || h[0].Outcome != Applied || h[0].Revision != "main@sha1:1" || h[0].Count.Add != 10 || len(h[0].Actions) != 10 {
		t.Errorf("history: %+v", h)
	}
}

func TestVerifiedIntentOutlivesTheEngine(t *testing.T) {
	w := newWorld(t)
	in := intent(network("a", 1), network("b", 1))
	w.reconcile(w.engine(), in, Options{Revision: "r1", Lock: "l1"})
	got := w.engine().Verified()
	if got.Intent == nil || got.Intent.Fingerprint() != in.Fingerprint() || got.Revision != "r1" || got.Lock != "l1" {
		t.Fatalf("stored: %+v", got)
	}
	// Of what fails, the last good part stays.
	w.process.hook = failing(resource.ID{Kind: resource.KindProcess, Name: "b/dnsmasq"})
	next := intent(network("a", 2), network("b", 2))
	w.reconcile(w.engine(), next, Options{Revision: "r2", Lock: "l1"})
	got = w.engine().Verified()
	if got.Revision != "r1" || got.Intent.Fragment(owner("a")).Print != next.Fragment(owner("a")).Print ||
		got.Intent.Fragment(owner("b")).Print != in.Fragment(owner("b")).Print {
		t.Errorf("stored after a failure: %+v", got)
	}
	// Another host's intent, or rubbish, is none.
	for _, content := range []string{"{", `{"formatVersion":1,"intent":{"formatVersion":1,"host":"kvm2","fragments":[]}}`} {
		if err := os.WriteFile(filepath.Join(w.host.StateDir, "intent.json"), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := w.engine().Verified(); got.Intent != nil {
			t.Errorf("%s is taken for an intent", content)
		}
	}
}

func TestOneFailureHoldsBackNothingElse(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	in := intent(network("a", 1), network("b", 1), network("c", 1))
	w.net.hook = failing(resource.ID{Kind: resource.KindLink, Name: "b/eth0"})
	r := w.reconcile(e, in, Options{})
	if r.Converged() || len(r.Owners) != 3 || len(r.Owners[0].Failures) != 0 || len(r.Owners[2].Failures) != 0 {
		t.Fatalf("owners: %+v", r.Owners)
	}
	b := r.Owners[1]
	if len(b.Failures) != 1 || b.Failures[0].ID.Kind != resource.KindLink || b.Failures[0].Error != errFault.Error() {
		t.Errorf("failures of b: %+v", b.Failures)
	}
	if !b.Retry.Equal(w.now.Add(time.Second)) || !r.Retry.Equal(b.Retry) {
		t.Errorf("retry at %v, now %v", b.Retry, w.now)
	}
	for _, name := range []string{"a", "c"} {
		if _, ok := w.kernel.has[resource.ID{Kind: resource.KindProcess, Name: name + "/dnsmasq"}]; !ok {
			t.Errorf("%s is not there", name)
		}
	}
	if h := e.History(1); h[0].Outcome != Failed || len(h[0].Failures) != 1 {
		t.Errorf("history: %+v", h)
	}
}

func TestBackoff(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	in := intent(network("a", 1))
	w.net.hook = failing(resource.ID{Kind: resource.KindNS, Name: "a"})
	for i, want := range []time.Duration{1, 2, 4, 8, 16, 30, 30} {
		r := w.reconcile(e, in, Options{})
		if got := r.Retry.Sub(w.now); got != want*time.Second {
			t.Errorf("pause %d is %v, not %ds", i, got, want)
		}
		// Asked too early, it does nothing, and says so.
		tried := len(w.kernel.log)
		w.now = r.Retry.Add(-time.Millisecond)
		early := w.reconcile(e, in, Options{})
		if len(w.kernel.log) != tried || early.Journal != 0 || !early.Retry.Equal(r.Retry) || !strings.Contains(early.Owners[0].Waits, "no buffer space") {
			t.Errorf("tried too early: %+v", early)
		}
		w.now = r.Retry
	}
	// The first try made the file, so that the plan was another one then.
	if h := e.History(10); len(h) != 2 || h[0].Tries != 6 || h[1].Tries != 1 {
		t.Errorf("history of one failure: %+v", h)
	}

	w.now = w.now.Add(time.Millisecond - lastPause) // in the middle of a pause
	w.reconcile(e, in, Options{})
	before := len(w.kernel.log)
	w.net.hook = nil
	if r := w.reconcile(e, in, Options{Force: true}); !r.Converged() || len(w.kernel.log) == before {
		t.Errorf("by force: %+v", r)
	}
}

func TestAnotherIntentIsAnotherTry(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	w.net.hook = failing(resource.ID{Kind: resource.KindNS, Name: "a"})
	w.reconcile(e, intent(network("a", 1)), Options{})
	w.net.hook = nil
	w.converge(e, intent(network("a", 2)))
}

// What breaks again as soon as it is repaired is not repaired all the time.
func TestFlapping(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	in := intent(network("a", 1), network("b", 1))
	w.converge(e, in)
	kill := func() { delete(w.kernel.has, resource.ID{Kind: resource.KindProcess, Name: "a/dnsmasq"}) }
	kill()
	w.converge(e, in)
	kill()
	w.converge(e, in) // the second one costs a pause afterwards
	kill()
	r := w.reconcile(e, in, Options{Kinds: []resource.Kind{resource.KindProcess}})
	if r.Converged() || !r.Retry.Equal(w.now.Add(time.Second)) || !strings.Contains(r.Owners[0].Waits, "repaired a moment ago") {
		t.Errorf("third time: %+v", r)
	}
	w.now = r.Retry
	w.converge(e, in)
	w.now = w.now.Add(2 * quiet)
	w.converge(e, in)
	kill()
	w.converge(e, in)
}

func TestDriftIsNamed(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	in := intent(network("a", 1))
	r := w.converge(e, in)
	if r.Owners[0].Drift != 0 {
		t.Errorf("a new network is called drift: %+v", r.Owners)
	}
	w.kernel.remove(resource.ID{Kind: resource.KindLink, Name: "a/eth0"})
	r = w.converge(w.engine(), in)
	if len(r.Owners) != 1 || r.Owners[0].Drift == 0 {
		t.Errorf("drift is not called so: %+v", r.Owners)
	}
}

func TestDry(t *testing.T) {
	w := newWorld(t)
	r := w.reconcile(w.engine(), intent(network("a", 1)), Options{Dry: true})
	if len(r.Plan.Actions) != 5 || len(w.kernel.log) != 0 || r.Converged() {
		t.Errorf("%+v", r)
	}
}

func TestMassRemovalNeedsConsent(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	var all []*resource.Fragment
	for i := range 6 {
		all = append(all, network(fmt.Sprintf("n%d", i), 1))
	}
	w.converge(e, intent(all...))
	before := w.snapshot()
	for _, in := range []*resource.Intent{intent(), intent(all[:2]...)} {
		r := w.reconcile(e, in, Options{})
		if r.Refused == "" || r.Converged() || len(w.kernel.has) != len(before) {
			t.Errorf("removing all but %d entries: %+v", in.Len(), r)
		}
	}
	w.converge(e, intent(all[:5]...))
	r := w.reconcile(e, intent(), Options{Consent: true})
	if !r.Converged() || len(w.kernel.has) != 0 {
		t.Errorf("with consent: %+v", r)
	}
}

func TestFrozen(t *testing.T) {
	w := newWorld(t)
	in := intent(network("a", 1))
	in.Frozen = "the host is Disabled"
	r := w.reconcile(w.engine(), in, Options{})
	if len(w.kernel.log) != 0 || r.Plan.Frozen == "" {
		t.Errorf("%+v", r)
	}
}

func TestHeldOwnersKeepTheirLastGoodIntent(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	in := intent(network("a", 1), network("b", 1))
	w.converge(e, in)
	held := resource.NewIntent("kvm1", []*resource.Fragment{in.Fragment(owner("a"))}, []resource.Hold{{Owner: owner("b"), Cause: resource.HoldInvalid, Reason: "web.yaml:3"}})
	if r := w.reconcile(e, held, Options{}); !r.Converged() {
		t.Errorf("%+v", r)
	}
	w.has(in)
	if got := w.engine().Verified().Intent; got.Fragment(owner("b")) == nil || len(got.Holds) != 1 {
		t.Errorf("stored: %+v", got)
	}
}

func TestUnreadableIsNotRemoved(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	in := intent(network("a", 1), network("b", 1))
	w.converge(e, in)
	w.process.blind = errors.New("too many open files")
	r := w.reconcile(e, intent(network("a", 1)), Options{})
	if r.Converged() || len(r.Left.Unread) != 1 {
		t.Errorf("%+v", r)
	}
	for _, id := range []resource.ID{{Kind: resource.KindProcess, Name: "b/dnsmasq"}, {Kind: resource.KindNS, Name: "b"}} {
		if _, ok := w.kernel.has[id]; !ok {
			t.Errorf("%s was removed though processes could not be read", id)
		}
	}
	if got := e.Verified().Intent; got.Fingerprint() != in.Fingerprint() {
		t.Error("what could not be verified is stored as verified")
	}
	w.process.blind = nil
	w.converge(e, intent(network("a", 1)))
}

func TestLock(t *testing.T) {
	w := newWorld(t)
	one, two := w.engine(), w.engine()
	w.net.batch = func([]*plan.Step) {
		if h := one.History(1); h[0].Outcome != Running {
			t.Errorf("the journal says %s", h[0].Outcome)
		}
		if h := two.History(1); h[0].Outcome != Interrupted {
			t.Errorf("the journal of another process says %s", h[0].Outcome)
		}
		_, err := two.Reconcile(context.Background(), intent(), Options{})
		var locked *LockedError
		if !errors.As(err, &locked) || locked.Holder != os.Getpid() {
			t.Errorf("got %v", err)
		}
	}
	w.converge(one, intent(network("a", 1)))
	w.net.batch = nil
	w.converge(two, intent(network("a", 1)))
}

func TestExpectedPlan(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	in := intent(network("a", 1))
	p, err := e.Plan(context.Background(), in, Options{Revision: "r"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Reconcile(context.Background(), in, Options{Revision: "r", Expect: p.Digest + "0"}); !errors.Is(err, ErrStale) {
		t.Errorf("got %v", err)
	}
	if r := w.reconcile(e, in, Options{Revision: "r", Expect: p.Digest}); !r.Converged() {
		t.Errorf("%+v", r)
	}
	if _, err := e.Reconcile(context.Background(), in, Options{Revision: "r", Expect: p.Digest}); !errors.Is(err, ErrStale) {
		t.Errorf("the host has moved: got %v", err)
	}
}

// A look at some kinds asks their drivers only.
func TestKinds(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	in := intent(network("a", 1))
	w.converge(e, in)
	net, process := w.net.looks, w.process.looks
	w.reconcile(e, in, Options{Kinds: []resource.Kind{resource.KindProcess}})
	if w.net.looks != net || w.process.looks != process+1 {
		t.Errorf("looks: net %d, process %d", w.net.looks-net, w.process.looks-process)
	}
	delete(w.kernel.has, resource.ID{Kind: resource.KindProcess, Name: "a/dnsmasq"})
	r := w.reconcile(e, in, Options{Kinds: []resource.Kind{resource.KindProcess}})
	if !r.Converged() || w.net.looks != net+1 {
		t.Errorf("what was done is verified by %d looks: %+v", w.net.looks-net, r)
	}
	w.has(in)
}

func TestJournalIsBounded(t *testing.T) {
	w := newWorld(t)
	w.settings.Keep = 3
	e := w.engine()
	for i := range 5 {
		w.converge(e, intent(network("a", uint64(i))))
	}
	var ids []int
	for _, r := range w.engine().History(10) {
		ids = append(ids, r.ID)
	}
	if !slices.Equal(ids, []int{5, 4, 3}) {
		t.Errorf("journal: %v", ids)
	}
}

type digester struct{ *fake }

func (d digester) Digest(in *resource.Intent) *resource.Intent {
	out := *in
	out.Holds = append(slices.Clone(in.Holds), resource.Hold{Owner: owner("a"), Cause: resource.HoldInvalid})
	out.Fragments = nil
	return &out
}

func TestPreparedHoldsAreNotVerified(t *testing.T) {
	w := newWorld(t)
	in := intent(network("a", 1))
	e := w.engine()
	e.drivers[1] = digester{w.files}
	w.reconcile(e, in, Options{})
	if got := e.Verified().Intent; len(w.kernel.log) != 0 || got.Fragment(owner("a")) != nil {
		t.Errorf("stored %+v after %v", got, w.kernel.log)
	}
}

func TestContradictoryIntent(t *testing.T) {
	w := newWorld(t)
	twice := network("a", 1)
	other := resource.NewFragment(owner("b"), slices.Clone(twice.Entries()))
	if _, err := w.engine().Reconcile(context.Background(), intent(twice, other), Options{}); err == nil {
		t.Error("it is accepted")
	}
}

func TestCancelledPass(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(context.Background())
	w.net.hook = func(s *plan.Step) error {
		if s.ID().Kind == resource.KindAddr {
			cancel()
		}
		return nil
	}
	e := w.engine()
	if _, err := e.Reconcile(ctx, intent(network("a", 1)), Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if h := e.History(1); len(h) != 1 || h[0].Outcome != Failed {
		t.Errorf("history: %+v", h)
	}
	w.net.hook = nil
	w.reconcile(w.engine(), intent(network("a", 1)), Options{})
	w.has(intent(network("a", 1)))
}
