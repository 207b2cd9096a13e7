package plan_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	"weft.dev/reconcile/driver"
	"weft.dev/reconcile/driver/memhost"
	"weft.dev/reconcile/plan"
	"weft.dev/reconcile/resource"
)

// TestMain lets the heap, which stays small, grow before it is collected: that was
// a fourth of the time.
func TestMain(m *testing.M) {
	debug.SetGCPercent(400)
	m.Run()
}

// worlds is how many pairs of worlds a law is tried on.
func worlds(t *testing.T) uint64 {
	t.Helper()
	if testing.Short() {
		return 300
	}
	return 1500
}

// hostOf is a host that is all that in says; every second one is frank.
func hostOf(in *resource.Intent, seed uint64) *memhost.Host {
	h := memhost.New()
	h.Frank = seed%2 == 0
	h.Load(in.Set())
	return h
}

func look(t *testing.T, h *memhost.Host, in *resource.Intent) *resource.Observed {
	t.Helper()
	o, err := h.Observe(t.Context(), driver.Scope{Desired: in.Set()})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func diff(t *testing.T, in *resource.Intent, o *resource.Observed, opt plan.Options) *plan.Plan {
	t.Helper()
	p, err := plan.Diff(in, o, opt)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// run executes p one step at a time, in any order that After allows. It
// returns an error per step.
func run(t *testing.T, h *memhost.Host, p *plan.Plan, r *rand.Rand) []error {
	t.Helper()
	errs := make([]error, len(p.Steps))
	open := make([]int, len(p.Steps))
	then := make([][]int, len(p.Steps))
	var free []int
	for i, s := range p.Steps {
		for _, j := range s.After {
			if j >= i {
				t.Fatalf("step %d comes after step %d", i, j)
			}
			then[j] = append(then[j], i)
		}
		if open[i] = len(s.After); open[i] == 0 {
			free = append(free, i)
		}
	}
	for len(free) > 0 {
		k := 0
		if r != nil {
			k = r.IntN(len(free))
		}
		i := free[k]
		free = slices.Delete(free, k, k+1)
		if slices.ContainsFunc(p.Steps[i].After, func(j int) bool { return errs[j] != nil }) {
			errs[i] = plan.ErrSkipped
		} else {
			errs[i] = h.Do(t.Context(), []*plan.Step{{Index: i, Action: p.Steps[i].Action, Drop: p.Steps[i].Drop}})[0]
		}
		for _, j := range then[i] {
			if open[j]--; open[j] == 0 {
				free = append(free, j)
			}
		}
		if r == nil {
			slices.Sort(free)
		}
	}
	return errs
}

// describe is p for a failing test.
func describe(p *plan.Plan, errs []error) string {
	var b strings.Builder
	for i, s := range p.Steps {
		fmt.Fprintf(&b, "%3d %-5v %-3s %s after %v", i, s.Drop, s.Action.Verb, s.ID(), s.After)
		if i < len(errs) && errs[i] != nil {
			fmt.Fprintf(&b, " ERROR %v", errs[i])
		}
		b.WriteByte('\n')
	}
	for _, x := range p.Blocked {
		fmt.Fprintf(&b, "blocked %s %s: %s\n", x.Verb, x.ID, x.Reason)
	}
	return b.String()
}

func same(h *memhost.Host, in *resource.Intent) bool {
	return maps.EqualFunc(h.Set(), in.Set(), func(a, b resource.Entry) bool {
		return a.Owner == b.Owner && a.State.Fingerprint() == b.State.Fingerprint()
	})
}

func TestAnyWorldToAnyWorld(t *testing.T) {
	t.Parallel()
	for seed := range worlds(t) {
		r := newRand(seed, 1)
		from, to := world(r), world(r)
		h := hostOf(from, seed)
		opt := plan.Options{}
		if seed%3 == 0 {
			opt.Last = from
		}
		order := r
		if seed%5 == 0 {
			order = nil
		}
		p := diff(t, to, look(t, h, to), opt)
		errs := run(t, h, p, order)
		if err := errors.Join(errs...); err != nil || !same(h, to) || len(p.Blocked) > 0 {
			t.Fatalf("seed %d: %v\n%s", seed, err, describe(p, errs))
		}
		if again := diff(t, to, look(t, h, to), opt); !again.Empty() {
			t.Fatalf("seed %d: the second plan is not empty:\n%s", seed, describe(again, nil))
		}
		if seed%3 == 0 {
			for _, a := range p.Actions {
				if a.Drift {
					t.Fatalf("seed %d: %s is called drift, and nobody else did anything", seed, a.ID)
				}
			}
		}
	}
}

func TestFaultsHeal(t *testing.T) {
	t.Parallel()
	for seed := range worlds(t) / 4 {
		r := newRand(seed, 2)
		from, to := world(r), world(r)
		h := hostOf(from, seed)
		h.Fault = func(*plan.Step) error {
			if r.IntN(3) == 0 {
				return errors.New("injected")
			}
			return nil
		}
		rounds := 0
		for ; !same(h, to) && rounds < 60; rounds++ {
			p := diff(t, to, look(t, h, to), plan.Options{})
			for i, err := range run(t, h, p, r) {
				if err != nil && !errors.Is(err, plan.ErrSkipped) && err.Error() != "injected" {
					t.Fatalf("seed %d: step %d: %v\n%s", seed, i, err, describe(p, nil))
				}
			}
		}
		if !same(h, to) {
			t.Fatalf("seed %d: not there after %d rounds", seed, rounds)
		}
	}
}

func TestCrashBetweenAnyTwoSteps(t *testing.T) {
	t.Parallel()
	for seed := range worlds(t) / 25 {
		r := newRand(seed, 3)
		from, to := world(r), world(r)
		whole := diff(t, to, look(t, hostOf(from, seed), to), plan.Options{})
		for k := range whole.Steps {
			h := hostOf(from, seed)
			part := *whole
			part.Steps = whole.Steps[:k]
			if err := errors.Join(run(t, h, &part, nil)...); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			p := diff(t, to, look(t, h, to), plan.Options{})
			errs := run(t, h, p, r)
			if err := errors.Join(errs...); err != nil || !same(h, to) {
				t.Fatalf("seed %d: after %d steps: %v\n%s", seed, k, err, describe(p, errs))
			}
		}
	}
}

func TestPlanIsAFunction(t *testing.T) {
	t.Parallel()
	for seed := range worlds(t) / 10 {
		r := newRand(seed, 4)
		from, to := world(r), world(r)
		first := diff(t, to, observedOf(from), plan.Options{})
		for range 3 {
			next := diff(t, shuffled(r, to), observedOf(shuffled(r, from)), plan.Options{})
			if !reflect.DeepEqual(first, next) {
				t.Fatalf("seed %d:\n%s\nand\n%s", seed, describe(first, nil), describe(next, nil))
			}
		}
		if p := diff(t, shuffled(r, from), observedOf(from), plan.Options{}); !p.Empty() || len(p.Steps) > 0 {
			t.Fatalf("seed %d: the plan of equal is not empty:\n%s", seed, describe(p, nil))
		}
	}
}

func TestBetweenAgreesWithDiff(t *testing.T) {
	t.Parallel()
	mixed := 0
	for seed := range worlds(t) / 4 {
		r := newRand(seed, 5)
		from, to := world(r), world(r)
		// Most of a tree stays as it is.
		keep := slices.Clone(to.Fragments)
		for i, f := range keep {
			if old := from.Fragment(f.Owner); old != nil && r.IntN(2) == 0 {
				keep[i] = old
			}
		}
		to = resource.NewIntent(hostName, keep, nil)
		a, errA := plan.Diff(to, observedOf(from), plan.Options{})
		b, errB := plan.Between(from, to, plan.Options{})
		if (errA == nil) != (errB == nil) {
			t.Fatalf("seed %d: Diff says %v, Between %v", seed, errA, errB)
		}
		if errA != nil {
			mixed++ // a mixture may ask for a thing twice
			continue
		}
		if !reflect.DeepEqual(a, b) {
			t.Fatalf("seed %d: Diff\n%s\nBetween\n%s", seed, describe(a, nil), describe(b, nil))
		}
		if c, err := plan.Between(thin(from), thin(to), plan.Options{}); err != nil || !reflect.DeepEqual(a, c) {
			t.Fatalf("seed %d: Diff\n%s\nBetween, of fragments that keep no entries, %v\n%s", seed, describe(a, nil), err, describe(c, nil))
		}
	}
	if mixed == 0 {
		t.Fatal("no mixture asked for a thing twice")
	}
}

// thin is in with fragments that make their entries whenever they are asked.
func thin(in *resource.Intent) *resource.Intent {
	var out []*resource.Fragment
	for _, f := range in.Fragments {
		out = append(out, f.Thin(func() []resource.Entry { return slices.Clone(f.Entries()) }))
	}
	return resource.NewIntent(in.Host, out, in.Holds)
}

func TestDriftIsTold(t *testing.T) {
	t.Parallel()
	for seed := range worlds(t) / 2 {
		r := newRand(seed, 6)
		from, to := world(r), world(r)
		h := hostOf(from, seed)
		id := h.Corrupt(r.IntN)
		if id == (resource.ID{}) {
			continue
		}
		heal := diff(t, from, look(t, h, from), plan.Options{Last: from})
		if heal.Empty() {
			t.Fatalf("seed %d: %s was corrupted and the plan is empty", seed, id)
		}
		for _, a := range heal.Actions {
			if !a.Drift {
				t.Fatalf("seed %d: %s %s is not called drift after %s was corrupted", seed, a.Verb, a.ID, id)
			}
		}
		p := diff(t, to, look(t, h, to), plan.Options{Last: from})
		errs := run(t, h, p, r)
		if err := errors.Join(errs...); err != nil || !same(h, to) {
			t.Fatalf("seed %d: %s corrupted: %v\n%s", seed, id, err, describe(p, errs))
		}
	}
}

// TestMakingComesBeforeBreaking looks at the order of steps: once something is
// dropped that nothing waits for, nothing is made any more.
func TestMakingComesBeforeBreaking(t *testing.T) {
	t.Parallel()
	tried := 0
	for seed := range worlds(t) / 4 {
		r := newRand(seed, 7)
		from, to := world(r), world(r)
		p := diff(t, to, observedOf(from), plan.Options{})
		awaited := make([]bool, len(p.Steps))
		for i, s := range slices.Backward(p.Steps) {
			for _, j := range s.After {
				awaited[j] = awaited[j] || awaited[i] || !s.Drop
			}
		}
		breaking := false
		for i, s := range p.Steps {
			switch {
			case s.Drop && !awaited[i]:
				breaking = true
				tried++
			case breaking && !s.Drop:
				t.Fatalf("seed %d: step %d makes something late:\n%s", seed, i, describe(p, nil))
			}
		}
	}
	if tried == 0 {
		t.Fatal("no world had anything to drop")
	}
}
