package drivertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"weft.dev/reconcile/driver"
	"weft.dev/reconcile/plan"
	"weft.dev/reconcile/resource"
)

// dying is a context that ends when it was asked so many times whether it
// did: a driver that asks between its writes dies between them.
type dying struct {
	context.Context
	end  context.CancelFunc
	left atomic.Int64
}

func newDying(ctx context.Context, asked int) *dying {
	d := &dying{}
	d.Context, d.end = context.WithCancel(ctx)
	d.left.Store(int64(asked))
	return d
}

func (d *dying) ask() {
	if d.left.Add(-1) < 0 {
		d.end()
	}
}

// Err implements context.Context.
func (d *dying) Err() error { d.ask(); return d.Context.Err() }

// Done implements context.Context.
func (d *dying) Done() <-chan struct{} { d.ask(); return d.Context.Done() }

// killed stops between any two steps, and within them, and lets a new driver
// finish.
func (h *bench) killed(t *testing.T, s Sample) {
	h.empty(t)
	worlds := [][]resource.State{h.with(s, s.State)}
	if len(s.Changed) > 0 {
		worlds = append(worlds, h.with(s, s.Changed[len(s.Changed)-1]))
	}
	worlds = append(worlds, nil)
	for _, want := range worlds {
		for range h.plan(t, want...).Steps {
			if p := h.plan(t, want...); len(p.Steps) > 0 {
				h.do(t, p.Steps[:1])
			}
		}
		h.settled(t, want...)
	}
	for _, asked := range []int{0, 1, 2, 3, 5, 8, 13} {
		for _, want := range worlds {
			d := newDying(t.Context(), asked)
			if p := h.plan(t, want...); len(p.Steps) > 0 {
				if errs := h.f.New(t).Do(d, p.Steps); len(errs) != len(p.Steps) {
					t.Fatalf("do: %d errors for %d steps", len(errs), len(p.Steps))
				}
			}
			d.end()
			h.reach(t, want...)
			if st := last(want); st != nil {
				h.check(t, s, st)
			}
		}
	}
}

func last(l []resource.State) resource.State {
	if len(l) == 0 {
		return nil
	}
	return l[len(l)-1]
}

// patience is how long a change by another hand may stay unnoticed, by try:
// nobody tells when a watch has begun.
func patience() []time.Duration {
	return []time.Duration{20 * time.Millisecond, 200 * time.Millisecond, time.Second, 2 * time.Second, 5 * time.Second}
}

// watch changes the sample by another hand until the driver notices.
func (h *bench) watch(t *testing.T, s Sample) {
	want := h.with(s, s.State)
	h.reach(t, want...)
	ctx, stop := context.WithCancel(t.Context())
	noticed, ended := make(chan struct{}, 1), make(chan error, 1)
	d := h.f.New(t)
	go func() {
		ended <- d.Watch(ctx, func(driver.Scope) {
			select {
			case noticed <- struct{}{}:
			default:
			}
		})
	}()
	harm := s.Vanish
	if s.Spoil != nil {
		harm = s.Spoil
	}
	told := notices(noticed, ended, func() { harm(t) }, func() { h.reach(t, want...) })
	stop()
	var err error
	if told != mute {
		err = <-ended
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("watch: %v", err)
	}
	if told == nothing {
		t.Errorf("another hand changed %s %d times, and the watch did not tell", s.State.ID(), len(patience()))
	}
	h.reach(t, want...)
}

// What a watch says of a change.
type answer int

const (
	nothing answer = iota
	change
	mute // it ended, as of a driver that cannot tell
)

// notices does harm, and undoes it, until the watch tells of it. What it tells
// unasked, of its own beginning or of what was done before, is no answer.
func notices(noticed <-chan struct{}, ended chan error, harm, undo func()) answer {
	for _, wait := range patience() {
		calm(noticed)
		harm()
		select {
		case <-noticed:
			return change
		case err := <-ended:
			if err == nil {
				return mute
			}
			ended <- err
			return nothing
		case <-time.After(wait):
		}
		undo()
	}
	return nothing
}

// calm returns once a watch has been silent for a while, or never is.
func calm(noticed <-chan struct{}) {
	for range 50 {
		select {
		case <-noticed:
		case <-time.After(100 * time.Millisecond):
			return
		}
	}
}

// foreign lets the samples live beside something of somebody else's.
func (h *bench) foreign(t *testing.T, x Foreign) {
	h.empty(t)
	x.Make(t)
	intact := func(when string) {
		t.Helper()
		if err := x.Intact(t); err != nil {
			t.Fatalf("%s: %v", when, err)
		}
	}
	intact("before anything was done")
	for _, s := range h.f.Samples {
		if x.InTheWay != nil && slices.ContainsFunc(h.with(s, s.State), func(st resource.State) bool { return st.ID() == x.InTheWay.ID() }) {
			continue
		}
		h.reach(t, h.with(s, s.State)...)
		intact(fmt.Sprintf("after %s was made", s.State.ID()))
		h.empty(t)
		intact(fmt.Sprintf("after %s was removed", s.State.ID()))
	}
	if x.InTheWay == nil {
		return
	}
	id := x.InTheWay.ID()
	h.reach(t, h.f.Under...)
	seen := h.observe(t, append(slices.Clone(h.f.Under), x.InTheWay)...)
	if _, ok := seen.Foreign[id]; !ok {
		t.Errorf("%s is foreign and was not reported: foreign are %v", id, seen.Foreign)
	}
	if _, ok := seen.Set[id]; ok {
		t.Errorf("%s is foreign and was taken for ours", id)
	}
	if x.Forbidden {
		h.refuses(t, x)
	}
	intact("after it was in the way")
	h.empty(t)
	intact("after everything was removed")
}

// refuses gives the driver a step that must fail, one that waits for it and
// one of another owner, in one batch.
func (h *bench) refuses(t *testing.T, x Foreign) {
	step := func(i int, st resource.State, owner resource.Owner, after ...int) *plan.Step {
		a := &plan.Action{ID: st.ID(), Verb: plan.Create, After: &resource.Entry{State: st, Owner: owner}}
		return &plan.Step{Index: i, Action: a, After: after}
	}
	steps := []*plan.Step{step(0, x.InTheWay, stranger)}
	var free []resource.State
	for _, s := range h.f.Samples {
		if len(s.Under) == 0 && s.State.ID() != x.InTheWay.ID() && len(free) < 2 &&
			!slices.ContainsFunc(free, func(st resource.State) bool { return st.ID() == s.State.ID() }) {
			free = append(free, s.State)
		}
	}
	for i, st := range free {
		if i == 0 {
			steps = append(steps, step(1, st, h.f.Owner))
			continue
		}
		steps = append(steps, step(2, st, stranger, 0))
	}
	errs := h.f.New(t).Do(t.Context(), steps)
	if len(errs) != len(steps) {
		t.Fatalf("do: %d errors for %d steps", len(errs), len(steps))
	}
	if errs[0] == nil {
		t.Errorf("%s was made where something foreign stands", x.InTheWay.ID())
	}
	if len(errs) > 1 && errs[1] != nil {
		t.Errorf("%s of another owner was held back: %v", steps[1].ID(), errs[1])
	}
	if len(errs) > 2 && !errors.Is(errs[2], plan.ErrSkipped) {
		t.Errorf("%s waits for a step that failed: got %v, want %v", steps[2].ID(), errs[2], plan.ErrSkipped)
	}
}
