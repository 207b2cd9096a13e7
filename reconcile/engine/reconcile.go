package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"weft.dev/reconcile/driver"
	"weft.dev/reconcile/plan"
	"weft.dev/reconcile/resource"
)

// ErrStale says that the host is not what it was when a plan was made.
var ErrStale = errors.New("the plan is stale: the host or the tree is not what it was")

// Options say how to reconcile beside what for.
type Options struct {
	// Revision and Lock name what desired was made of.
	Revision string
	Lock     string
	// Kinds limits the first look to the drivers of these kinds, as after a
	// driver's Watch; empty looks at everything.
	Kinds []resource.Kind
	// Target limits the changes to these owners; empty is all.
	Target []resource.Owner
	// Declared reports whether the tree has an owner; nil: nobody knows.
	Declared func(resource.Owner) bool
	// Expect is the digest of the plan that somebody agreed to; any other
	// plan is ErrStale.
	Expect string
	// Consent to remove more than the limits allow.
	Consent bool
	// Force tries owners that would have to wait.
	Force bool
	// Dry plans and changes nothing.
	Dry bool
	// Trial is the ID of the trial that this pass is part of, "" for none.
	Trial string
	// Watched says that the pass is, or the planned one will be, part of a trial: a
	// link that the host is reached by is taken over then only.
	Watched bool
	// Aside is a file that takes what is verified, instead of its being the last
	// good intent from now on; "" for none.
	Aside string
	// Renew are resources that are made anew though they are what they should be,
	// and why.
	Renew map[resource.ID]string
	// Note goes into the journal.
	Note string
}

// A Result is one pass.
type Result struct {
	Revision string
	Began    time.Time
	Took     time.Duration
	// Plan is what was to be done, Left what a second look found still to be
	// done; the same plan where nothing was.
	Plan, Left *plan.Plan
	// Refused is why nothing was done though there was something, or "".
	Refused string
	// Owners with something to do, by name.
	Owners []Outcome
	// Retry is when to try again what failed; zero if nothing did.
	Retry time.Time
	// Wake is when something that is left alone for a while is due; zero if nothing is.
	Wake time.Time
	// Journal is the ID of the apply; 0 if there was none.
	Journal int
}

// An Outcome is how one owner fared.
type Outcome struct {
	Owner   resource.Owner
	Actions int
	Drift   int // of these, repairs
	// Failures are the steps that failed and what verification found open.
	Failures []Failure
	// Waits is why nothing was tried, or "".
	Waits string
	Retry time.Time
}

// Converged reports whether the host is all that was desired.
func (r *Result) Converged() bool { return r.Refused == "" && r.Left != nil && r.Left.Converged() }

// Settled is Converged but for what is at other machines than the host.
func (r *Result) Settled() bool { return r.Refused == "" && r.Left != nil && r.Left.Settled() }

// Reconcile makes the host what desired says, as far as it can, and verifies
// it. It may be repeated at any time; the second call finds nothing to do. The
// error is a *LockedError, that of Closed, ErrStale, that of ctx, an intent that contradicts
// itself, or a disk that cannot be written; what could not be done on the host
// is in the Result. Result.Plan is nil where it did not come that far.
func (e *Engine) Reconcile(ctx context.Context, desired *resource.Intent, o Options) (*Result, error) {
	e.pass.Lock()
	defer e.pass.Unlock()
	release, err := e.lock()
	if err != nil {
		return nil, err
	}
	defer release()
	if e.settings.Closed != nil && !o.Dry {
		if err := e.settings.Closed(o.Trial); err != nil {
			return nil, err
		}
	}
	e.refresh() // another process may have been at work
	w := e.newPass(desired, o)
	w.result = &Result{Revision: o.Revision, Began: e.settings.Now(), Wake: w.wake}
	err = w.run(ctx)
	w.result.Took = e.settings.Now().Sub(w.result.Began)
	return w.result, err
}

// A pass is one call of Reconcile.
type pass struct {
	*Engine
	asked, desired *resource.Intent
	set            resource.Set
	options        Options
	result         *Result
	idle           idle      // since when, to be remembered
	wake           time.Time // see Result
}

// newPass prepares desired: what is kept of owners that are no more, and what only
// this host knows.
func (e *Engine) newPass(desired *resource.Intent, o Options) *pass {
	desired, idle, wake := e.linger(resource.Carry(e.Verified().Intent, desired))
	w := &pass{Engine: e, asked: desired, desired: e.Prepare(desired), options: o, idle: idle, wake: wake}
	w.set = w.desired.Set()
	return w
}

// diff looks at the host.
func (w *pass) diff(ctx context.Context, kinds []resource.Kind) (*plan.Plan, error) {
	observed := w.Observe(ctx, driver.Scope{Desired: w.set, Kinds: kinds})
	o := plan.Options{Revision: w.options.Revision, Lock: w.options.Lock, Target: w.options.Target, Declared: w.options.Declared}
	if in := w.Verified().Intent; in != nil {
		o.Last = w.Prepare(in)
	}
	o.Withhold = w.withheld(observed)
	o.Renew, w.options.Renew = w.options.Renew, nil // once: the second look is not to find it again
	return plan.Diff(w.desired, observed, o)
}

func (w *pass) run(ctx context.Context) error {
	p, err := w.diff(ctx, w.options.Kinds)
	if err := cmp.Or(ctx.Err(), err); err != nil {
		return err
	}
	r := w.result
	r.Plan, r.Left = p, p
	if w.options.Expect != "" && p.Digest != w.options.Expect {
		return ErrStale
	}
	if w.options.Dry || p.Frozen != "" {
		return nil
	}
	if err := w.remember(w.idle); err != nil {
		return err
	}
	if err := plan.Guard(p, p.Observed, w.limits()); err != nil {
		r.Refused = err.Error()
		return nil //nolint:nilerr // a refusal is a result
	}
	if p.Empty() {
		for l := range w.backoff {
			w.well(l)
		}
		w.judge(faults{})
		return w.keep(w.asked, w.desired, p, w.options)
	}
	return w.apply(ctx)
}

// limits bound what this pass may remove.
func (w *pass) limits() plan.Limits {
	l := w.settings.Limits
	l.Consent = l.Consent || w.options.Consent
	return l
}

// apply executes the plan, verifies it and writes down how it went.
func (w *pass) apply(ctx context.Context) error {
	r := w.result
	held := w.held()
	skip := func(s *plan.Step) error { return held[laneOf(s.ID(), s.Owner())] }
	faults := faults{}
	if !slices.ContainsFunc(r.Plan.Steps, func(s *plan.Step) bool { return skip(s) == nil }) {
		faults.note(r.Plan, w.Apply(ctx, r.Plan, skip)) // everything waits
		w.judge(faults)
		return nil
	}
	rec := record(r.Plan, r.Began)
	rec.Note = w.options.Note
	if err := w.journal.begin(rec); err != nil {
		return err
	}
	r.Journal = rec.ID
	w.running.Store(int64(rec.ID))
	defer w.running.Store(0)
	err := w.rounds(ctx, skip, faults)
	w.settle(context.WithoutCancel(ctx))
	if err != nil {
		return err
	}
	w.judge(faults)
	rec.Outcome, rec.Took = Applied, w.settings.Now().Sub(r.Began)
	if !r.Left.Empty() {
		rec.Outcome = Failed
	}
	for _, o := range r.Owners {
		rec.Failures = append(rec.Failures, o.Failures...)
	}
	rec.Failures = rec.Failures[:min(len(rec.Failures), maxFailures)]
	if err := w.journal.put(rec); err != nil {
		return err
	}
	return errors.Join(w.keep(w.asked, w.desired, r.Left, w.options), ctx.Err())
}

// maxRounds bounds the rounds of one pass.
const maxRounds = 3

// rounds executes the plan and verifies it. What turns up beside it, or is not
// as it should be though its step succeeded, is tried at once, and once: other
// hands are at work while we are, and some things are seen only when others are
// there.
func (w *pass) rounds(ctx context.Context, skip func(*plan.Step) error, faults faults) error {
	r, tries := w.result, map[resource.ID]int{}
	for p, round := r.Plan, 1; ; p, round = r.Left, round+1 {
		failed := maps.Clone(faults)
		faults.note(p, w.Apply(ctx, p, func(s *plan.Step) error {
			if f, ok := failed[s.ID()]; ok {
				return f.err
			}
			return skip(s)
		}))
		for _, a := range p.Actions {
			tries[a.ID]++
		}
		// Verified even if ctx has ended: what was done should be known.
		left, err := w.diff(context.WithoutCancel(ctx), nil)
		if err != nil {
			return err
		}
		r.Left = left
		again := slices.ContainsFunc(left.Actions, func(a *plan.Action) bool {
			_, failed := faults[a.ID]
			return !failed && tries[a.ID] < 2
		})
		if !again || round == maxRounds || ctx.Err() != nil || plan.Guard(left, left.Observed, w.limits()) != nil {
			return nil //nolint:nilerr // what is left stands in the result
		}
	}
}

// faults are the steps that did not succeed, by resource.
type faults map[resource.ID]fault

type fault struct {
	owner resource.Owner
	err   error
}

// note takes in how the steps of p ended. That one was skipped says less than
// that one failed.
func (f faults) note(p *plan.Plan, errs []error) {
	for _, s := range p.Steps {
		delete(f, s.ID())
	}
	for i, err := range errs {
		s := p.Steps[i]
		if old, ok := f[s.ID()]; err != nil && (!ok || errors.Is(old.err, plan.ErrSkipped)) {
			f[s.ID()] = fault{s.Owner(), err}
		}
	}
}

// held is what must not be tried now, and why.
func (w *pass) held() map[lane]error {
	out := map[lane]error{}
	for _, s := range w.result.Plan.Steps {
		l := laneOf(s.ID(), s.Owner())
		if b := w.waiting(l, w.desired, w.result.Began); b != nil && !w.options.Force {
			out[l] = b.hold(l.owner)
		}
	}
	return out
}

// place is where the tree asks for a resource, in brackets, as far as it
// does.
func (w *pass) place(id resource.ID) string {
	if e, ok := w.set[id]; ok && len(e.Origin) > 0 && !e.Origin[0].IsZero() {
		return " (" + e.Origin[0].String() + ")"
	}
	return ""
}

// judge sums up by owner how it went and when to try again.
func (w *pass) judge(faults faults) {
	r := w.result
	outcomes := map[lane]*Outcome{}
	of := func(id resource.ID, o resource.Owner) *Outcome {
		l := laneOf(id, o)
		if outcomes[l] == nil {
			outcomes[l] = &Outcome{Owner: o}
		}
		return outcomes[l]
	}
	for _, a := range r.Plan.Actions {
		x := of(a.ID, a.Owner())
		x.Actions++
		if a.Drift {
			x.Drift++
		}
	}
	open := map[resource.ID]bool{}
	for _, a := range r.Left.Actions {
		open[a.ID] = true
	}
	for _, id := range slices.SortedFunc(maps.Keys(faults), resource.ID.Compare) {
		f := faults[id]
		if !open[id] {
			continue // it is as it should be all the same
		}
		x := of(id, f.owner)
		if errors.Is(f.err, plan.ErrSkipped) {
			x.Waits = cmp.Or(x.Waits, f.err.Error())
			continue
		}
		x.Failures = append(x.Failures, Failure{id, f.owner, f.err.Error() + w.place(id)})
	}
	for _, a := range r.Left.Actions {
		if _, known := faults[a.ID]; !known {
			x := of(a.ID, a.Owner())
			x.Failures = append(x.Failures, Failure{a.ID, a.Owner(), unverified(a)})
		}
	}
	for _, f := range w.unreached() {
		x := of(f.ID, f.Owner)
		x.Failures = append(x.Failures, f)
	}
	for _, l := range slices.SortedFunc(maps.Keys(outcomes), lane.compare) {
		w.schedule(l, outcomes[l])
		r.Owners = joined(r.Owners, *outcomes[l])
	}
}

// unverified says what a second look found though the step succeeded.
func unverified(a *plan.Action) string {
	out := "it is not as it should be after all was done"
	if len(a.Changes) == 0 {
		return out
	}
	c := a.Changes[0]
	for _, l := range c.Diff {
		if l.Op == "+" || l.Op == "-" {
			return fmt.Sprintf("%s: %s: %s%s", out, c.Field, l.Op, l.Text)
		}
	}
	if c.From == "" && c.To == "" && len(c.Diff) > 0 { // what a driver says in words
		return fmt.Sprintf("%s: %s", out, c.Diff[0].Text)
	}
	return fmt.Sprintf("%s: %s is %q, not %q", out, c.Field, c.From, c.To)
}

// schedule says when what failed is tried again.
func (w *pass) schedule(l lane, x *Outcome) {
	switch {
	case len(x.Failures) > 0:
		x.Retry = w.failed(l, w.desired, x.Failures[0].ID.String()+": "+x.Failures[0].Error)
	case x.Waits != "":
		if b := w.waiting(l, w.desired, w.result.Began); b != nil {
			x.Retry = b.until
		}
	case x.Drift > 0:
		w.healed(l, w.desired)
	default:
		w.well(l)
	}
	if !x.Retry.IsZero() && (w.result.Retry.IsZero() || x.Retry.Before(w.result.Retry)) {
		w.result.Retry = x.Retry
	}
}
