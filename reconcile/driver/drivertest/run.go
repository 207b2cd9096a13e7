package drivertest

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"testing"

	"weft.dev/reconcile/driver"
	"weft.dev/reconcile/plan"
	"weft.dev/reconcile/resource"
)

// elsewhere owns what other drivers made for the samples to stand on.
const elsewhere = resource.Owner("host/elsewhere")

// stranger owns what is tried beside the samples.
const stranger = resource.Owner("network/other/net")

// Run tries everything on the fixture's host, one thing after another. Every
// look and every change is made by a driver that has just started.
func Run(t *testing.T, f Fixture) {
	t.Helper()
	f.Owner = cmp.Or(f.Owner, Owner)
	h := &bench{f: f}
	t.Cleanup(func() { h.empty(t) })
	for _, s := range f.Samples {
		t.Run(cmp.Or(s.Name, s.State.ID().String()), func(t *testing.T) { h.sample(t, s) })
	}
	for _, x := range f.Foreign {
		t.Run("foreign "+x.Name, func(t *testing.T) { h.foreign(t, x) })
	}
}

// bench is a fixture at work.
type bench struct{ f Fixture }

func (h *bench) sample(t *testing.T, s Sample) {
	t.Helper()
	t.Run("create", func(t *testing.T) { h.create(t, s) })
	t.Run("repeat", func(t *testing.T) { h.repeat(t, s) })
	for i, st := range s.Changed {
		name := st.ID().String()
		if d := differing(s.State, st); d != "" {
			name = d
		}
		t.Run("change "+name, func(t *testing.T) { h.change(t, s, s.Changed[i]) })
	}
	if s.Spoil != nil {
		t.Run("spoilt", func(t *testing.T) { h.spoilt(t, s) })
	}
	if s.Vanish != nil {
		t.Run("vanished", func(t *testing.T) { h.vanished(t, s) })
	}
	if s.Spoil != nil || s.Vanish != nil {
		t.Run("watch", func(t *testing.T) { h.watch(t, s) })
	}
	t.Run("killed midway", func(t *testing.T) { h.killed(t, s) })
	t.Run("delete", func(t *testing.T) { h.remove(t, s) })
}

func (h *bench) create(t *testing.T, s Sample) {
	h.reach(t, h.under(s)...)
	h.check(t, s, nil)
	before, tells := h.epoch(t)
	h.reach(t, h.with(s, s.State)...)
	h.check(t, s, s.State)
	if after, still := h.epoch(t); tells && still && after == before {
		t.Errorf("epoch is %d before and after %s was made", before, s.State.ID())
	}
	seen, ok := h.observe(t, h.with(s, s.State)...).Set[s.State.ID()]
	if !ok {
		t.Fatalf("%s is not observed", s.State.ID())
	}
	if seen.Owner != h.f.Owner {
		t.Errorf("owner of %s: observed %q, made for %q", s.State.ID(), seen.Owner, h.f.Owner)
	}
}

// repeat does every step of a creation again.
func (h *bench) repeat(t *testing.T, s Sample) {
	h.reach(t, h.under(s)...)
	want := h.with(s, s.State)
	p := h.plan(t, want...)
	h.do(t, p.Steps)
	h.do(t, p.Steps)
	h.settled(t, want...)
	h.check(t, s, s.State)
	h.reach(t, want...)
}

func (h *bench) change(t *testing.T, s Sample, to resource.State) {
	if to.ID() != s.State.ID() {
		t.Fatalf("fixture: %s is to change into %s", s.State.ID(), to.ID())
	}
	h.reach(t, h.with(s, s.State)...)
	for _, next := range []resource.State{to, s.State} {
		want := h.with(s, next)
		p := h.plan(t, want...)
		if p.Empty() {
			t.Fatalf("the host has not what is wanted, and the plan is empty: the driver does not see %s", differing(s.State, to))
		}
		h.do(t, p.Steps)
		h.settled(t, want...)
		h.check(t, s, next)
		h.do(t, makes(p.Steps))
		h.settled(t, want...)
	}
}

func (h *bench) spoilt(t *testing.T, s Sample) {
	want := h.with(s, s.State)
	h.reach(t, want...)
	s.Spoil(t)
	if h.plan(t, want...).Empty() {
		t.Errorf("another hand changed %s, and nothing differs", s.State.ID())
	}
	h.reach(t, want...)
	h.check(t, s, s.State)
}

func (h *bench) vanished(t *testing.T, s Sample) {
	want := h.with(s, s.State)
	h.reach(t, want...)
	s.Vanish(t)
	if _, ok := h.observe(t, want...).Set[s.State.ID()]; ok {
		t.Errorf("another hand removed %s, and it is still observed", s.State.ID())
	}
	h.reach(t, want...)
	h.check(t, s, s.State)
}

// remove deletes the sample, twice, and then what it stands on.
func (h *bench) remove(t *testing.T, s Sample) {
	h.reach(t, h.with(s, s.State)...)
	p := h.plan(t, h.under(s)...)
	h.do(t, p.Steps)
	h.do(t, p.Steps)
	h.settled(t, h.under(s)...)
	if _, ok := h.observe(t).Set[s.State.ID()]; ok {
		t.Errorf("%s is deleted and still observed", s.State.ID())
	}
	h.check(t, s, nil)
	h.empty(t)
}

// under lists what s stands on.
func (h *bench) under(s Sample) []resource.State {
	return append(slices.Clone(h.f.Under), s.Under...)
}

func (h *bench) with(s Sample, st resource.State) []resource.State { return append(h.under(s), st) }

// intent is want as a host would be given it. Things of other kinds that want
// stands on are put on both sides.
func (h *bench) intent(kinds []resource.Kind, want []resource.State) (*resource.Intent, resource.Set) {
	var entries, others []resource.Entry
	known := resource.Set{}
	for _, st := range want {
		e := resource.Entry{State: st, Owner: h.f.Owner}
		entries = append(entries, e)
		known.Put(e)
	}
	made := resource.Set{}
	for _, st := range want {
		for _, r := range resource.Requires(st) {
			if _, ok := known[r]; ok || slices.Contains(kinds, r.Kind) {
				continue
			}
			e := resource.Entry{State: resource.Seen{Ident: r}, Owner: elsewhere}
			known.Put(e)
			made.Put(e)
			others = append(others, e)
		}
	}
	fragments := []*resource.Fragment{resource.NewFragment(h.f.Owner, entries), resource.NewFragment(elsewhere, others)}
	return resource.NewIntent("test", fragments, nil), made
}

func (h *bench) observe(t *testing.T, want ...resource.State) *resource.Observed {
	t.Helper()
	d := h.f.New(t)
	intent, _ := h.intent(d.Kinds(), want)
	seen, err := d.Observe(t.Context(), driver.Scope{Desired: intent.Set()})
	if err != nil {
		t.Fatalf("observe: %v", err)
	}
	if len(seen.Unread) > 0 {
		t.Fatalf("observe: could not read %v", seen.Unread)
	}
	for id := range seen.Set {
		if !slices.Contains(d.Kinds(), id.Kind) {
			t.Fatalf("observe: %s is of a kind that the driver does not serve", id)
		}
	}
	return seen
}

// plan says what is to be done for want to be all that is there.
func (h *bench) plan(t *testing.T, want ...resource.State) *plan.Plan {
	t.Helper()
	seen := h.observe(t, want...)
	intent, made := h.intent(h.f.New(t).Kinds(), want)
	for _, e := range made {
		seen.Set.Put(e)
	}
	p, err := plan.Diff(intent, seen, plan.Options{})
	if err != nil {
		t.Fatalf("plan: %v", err)
	}
	for _, b := range p.Blocked {
		t.Fatalf("%s cannot be made: %s", b.ID, b.Reason)
	}
	return p
}

// do executes steps in one batch.
func (h *bench) do(t *testing.T, steps []*plan.Step) {
	t.Helper()
	if len(steps) == 0 {
		return
	}
	errs := h.f.New(t).Do(t.Context(), steps)
	if len(errs) != len(steps) {
		t.Fatalf("do: %d errors for %d steps", len(errs), len(steps))
	}
	failed := false
	for i, err := range errs {
		if err != nil {
			failed = true
			t.Errorf("%s %s: %v", steps[i].Action.Verb, steps[i].ID(), err)
		}
	}
	if failed {
		t.FailNow()
	}
}

// settled fails unless want is exactly what is there.
func (h *bench) settled(t *testing.T, want ...resource.State) {
	t.Helper()
	for _, a := range h.plan(t, want...).Actions {
		t.Errorf("not as wanted: %s %s %+v", a.Verb, a.ID, a.Changes)
	}
	if t.Failed() {
		t.FailNow()
	}
}

// reach makes want all that is there.
func (h *bench) reach(t *testing.T, want ...resource.State) {
	t.Helper()
	h.do(t, h.plan(t, want...).Steps)
	h.settled(t, want...)
}

// empty removes all that is ours.
func (h *bench) empty(t *testing.T) {
	t.Helper()
	ctx := context.Background() // that of t is over during its clean-up
	d := h.f.New(t)
	seen, err := d.Observe(ctx, driver.Scope{})
	if err != nil {
		t.Errorf("observe: %v", err)
		return
	}
	p, err := plan.Diff(resource.NewIntent("test", nil, nil), seen, plan.Options{})
	if err != nil {
		t.Errorf("plan the end: %v", err)
		return
	}
	if len(p.Steps) > 0 {
		if err := errors.Join(h.f.New(t).Do(ctx, p.Steps)...); err != nil {
			t.Errorf("remove everything: %v", err)
		}
	}
}

func (h *bench) check(t *testing.T, s Sample, st resource.State) {
	t.Helper()
	if s.Check == nil {
		return
	}
	if err := s.Check(t, st); err != nil {
		t.Errorf("seen with other eyes: %v", err)
	}
}

func (h *bench) epoch(t *testing.T) (uint64, bool) {
	t.Helper()
	return h.f.New(t).Epoch(t.Context(), driver.Scope{})
}

// makes are the steps of a plan that make something, on their own.
func makes(steps []*plan.Step) []*plan.Step {
	var out []*plan.Step
	for _, s := range steps {
		if !s.Drop {
			out = append(out, &plan.Step{Index: s.Index, Action: s.Action})
		}
	}
	return out
}

// differing names the fields in which two states differ.
func differing(a, b resource.State) string {
	out := ""
	for i, f := range b.Fields() {
		if old := a.Fields(); i >= len(old) || old[i].Value != f.Value {
			out += cmp.Or(f.Name, "?") + " "
		}
	}
	return out
}
