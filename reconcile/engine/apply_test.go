package engine

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"weft.dev/reconcile/plan"
	"weft.dev/reconcile/resource"
)

// Steps of one driver that depend on each other only are one call, and drivers
// with nothing to wait for run at the same time.
func TestBatchesAndConcurrency(t *testing.T) {
	w := newWorld(t)
	var calls [][]string
	filing, netting := make(chan struct{}), make(chan struct{})
	w.net.batch = func(steps []*plan.Step) {
		close(netting)
		<-filing
		var ids []string
		for _, s := range steps {
			ids = append(ids, string(s.ID().Kind))
		}
		calls = append(calls, ids)
	}
	w.files.batch = func([]*plan.Step) {
		close(filing)
		<-netting
	}
	w.converge(w.engine(), intent(network("a", 1)))
	if len(calls) != 1 || !slices.Equal(calls[0], []string{"net.ns", "net.link", "net.addr"}) {
		t.Errorf("calls of the net driver: %v", calls)
	}
}

// Nothing is removed that could serve a little longer.
func TestRemovalsComeLast(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	w.converge(e, intent(network("old", 1), network("kept", 1)))
	w.kernel.log = nil
	w.converge(e, intent(network("new", 1), network("kept", 1)))
	removal := slices.IndexFunc(w.kernel.log, func(s string) bool { return s[0] == '-' })
	if removal < 0 || slices.ContainsFunc(w.kernel.log[removal:], func(s string) bool { return s[0] == '+' }) {
		t.Errorf("order: %v", w.kernel.log)
	}
}

func TestSkippedStepsNameTheFirstFailure(t *testing.T) {
	w := newWorld(t)
	w.net.hook = failing(resource.ID{Kind: resource.KindNS, Name: "a"})
	e := w.engine()
	in := intent(network("a", 1))
	p, err := e.Plan(context.Background(), in, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i, err := range e.Apply(context.Background(), p, nil) {
		switch id := p.Steps[i].ID(); id.Kind {
		case resource.KindNS:
			if !errors.Is(err, errFault) {
				t.Errorf("%s: %v", id, err)
			}
		case resource.KindFile:
			if err != nil {
				t.Errorf("%s: %v", id, err)
			}
		case resource.KindProcess:
			if !errors.Is(err, plan.ErrSkipped) {
				t.Errorf("%s: %v", id, err)
			}
		}
	}
}

// A bug of a driver is a panic of whoever asked, and leaves no lock behind.
func TestPanicOfADriver(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	w.net.hook = func(*plan.Step) error { panic("a bug") }
	func() {
		defer func() {
			if p := recover(); p != "a bug" {
				t.Errorf("recovered %v", p)
			}
		}()
		_, _ = e.Reconcile(context.Background(), intent(network("a", 1)), Options{})
	}()
	w.net.hook = nil
	w.converge(e, intent(network("a", 1)))
}

// What turns up while a plan is carried out, and what is not as it should be
// though its step succeeded, is tried once more in the same pass.
func TestSecondRound(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	w.converge(e, intent(network("a", 1), network("b", 1)))
	file, process := resource.ID{Kind: resource.KindFile, Name: "a/conf"}, resource.ID{Kind: resource.KindProcess, Name: "b/dnsmasq"}
	undone := 0
	w.files.batch = func(steps []*plan.Step) {
		if undone++; undone == 1 {
			w.kernel.mu.Lock()
			defer w.kernel.mu.Unlock()
			delete(w.kernel.has, process)
		}
	}
	w.converge(e, intent(network("a", 2), network("b", 1)))

	times := 0
	w.files.after = func(s *plan.Step) {
		times++
		w.kernel.mu.Lock()
		defer w.kernel.mu.Unlock()
		w.kernel.has.Put(resource.Entry{State: resource.File{Path: file.Name}, Owner: s.Owner()})
	}
	r := w.reconcile(e, intent(network("a", 3), network("b", 1)), Options{})
	if times != 2 || len(r.Owners) != 1 || len(r.Owners[0].Failures) != 1 || r.Owners[0].Failures[0].ID != file {
		t.Errorf("%d tries, %+v", times, r.Owners)
	}
}

// A step that failed is no failure where all is as it should be.
func TestFailedStepWithoutConsequence(t *testing.T) {
	w := newWorld(t)
	w.files.hook = func(s *plan.Step) error { return errors.Join(w.kernel.do(s), errFault) }
	r := w.reconcile(w.engine(), intent(resource.NewFragment(owner("a"), network("a", 1).Entries()[:1])), Options{})
	if !r.Converged() || len(r.Owners[0].Failures) != 0 {
		t.Errorf("%+v", r.Owners)
	}
}

func TestKindWithoutDriver(t *testing.T) {
	w := newWorld(t)
	set := resource.AddrSet{NS: "a", Name: "s", Family: 4}
	f := network("a", 1)
	f = resource.NewFragment(f.Owner, append(slices.Clone(f.Entries()), resource.Entry{State: set, Owner: f.Owner}))
	r := w.reconcile(w.engine(), intent(f), Options{})
	if len(r.Owners[0].Failures) != 1 || r.Owners[0].Failures[0].ID != set.ID() {
		t.Errorf("%+v", r.Owners)
	}
}

// errCrash stands for the end of the process: nothing after it happens.
type errCrash struct{}

// From any world to any other, with a crash after any number of steps: a new
// engine converges.
func TestCrashBetweenAnyTwoSteps(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	random := func() *resource.Intent {
		var all []*resource.Fragment
		for i := range 4 {
			if rng.IntN(3) > 0 {
				all = append(all, network(fmt.Sprintf("n%d", i), rng.Uint64N(2)))
			}
		}
		return intent(all...)
	}
	for range 8 {
		from, to := random(), random()
		for crash := 0; ; crash++ {
			w := newWorld(t)
			w.settings.Limits.Consent = true
			w.reconcile(w.engine(), from, Options{})
			w.has(from)
			steps := 0
			hook := func(*plan.Step) error {
				w.kernel.mu.Lock()
				defer w.kernel.mu.Unlock()
				if steps++; steps > crash {
					panic(errCrash{})
				}
				return nil
			}
			w.net.hook, w.files.hook, w.process.hook = hook, hook, hook
			if !crashes(func() { w.reconcile(w.engine(), to, Options{}) }) {
				w.has(to)
				break
			}
			w.net.hook, w.files.hook, w.process.hook = nil, nil, nil
			e := w.engine()
			if h := e.History(1); h[0].Outcome != Interrupted {
				t.Errorf("the journal says %s", h[0].Outcome)
			}
			w.converge(e, to)
			if r := w.converge(e, to); len(r.Plan.Actions) != 0 {
				t.Errorf("the second pass does %d things", len(r.Plan.Actions))
			}
		}
	}
}

func crashes(f func()) (crashed bool) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case errCrash:
			crashed = true
		default:
			panic(p)
		}
	}()
	f()
	return false
}

// Faults heal: whatever somebody removes by hand comes back in one pass.
func TestFaultsHeal(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	in := intent(network("a", 1), network("b", 1), network("c", 1))
	for range 30 {
		w := newWorld(t)
		e := w.engine()
		w.converge(e, in)
		for range 1 + rng.IntN(4) {
			if ids := w.kernel.has.IDs(); len(ids) > 0 {
				w.kernel.remove(ids[rng.IntN(len(ids))])
			}
		}
		w.converge(w.engine(), in)
	}
}
