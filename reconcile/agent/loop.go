package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"weft.dev/reconcile/driver"
	"weft.dev/reconcile/engine"
	"weft.dev/reconcile/engine/trial"
	"weft.dev/reconcile/health"
	"weft.dev/reconcile/resource"
	"weft.dev/reconcile/source"
	"weft.dev/reconcile/status"
)

// trouble is what stands in the way of following the repository.
type trouble struct {
	fetched   error
	rewritten bool
	unsigned  error
	invalid   error
	bug       error
	locked    error // another weft is at work
	broken    error // another reason why a pass could not be made
}

// loop is where everything happens, one thing at a time.
func (a *Agent) loop(ctx context.Context) {
	full := time.NewTicker(a.Full)
	defer full.Stop()
	patience := time.NewTimer(a.Patience)
	defer patience.Stop()
	dog, feed := watchdog()
	defer dog.Stop()
	again, soon := time.NewTimer(0), time.NewTimer(0)
	again.Stop()
	soon.Stop()
	waiting := false // for soon
	a.beat.Store(time.Now().Unix())
	for {
		var retry time.Time
		select {
		case <-ctx.Done():
			return
		case n := <-a.news:
			retry = a.hear(ctx, n)
		case <-patience.C:
			if a.compiled != nil {
				continue
			}
			retry = a.useStored(ctx)
		case <-a.stirred:
			if !a.hurry() {
				if !waiting {
					soon.Reset(a.Debounce)
					waiting = true
				}
				continue
			}
			soon.Stop()
			waiting = false
			retry = a.pass(ctx, a.takeDue())
		case <-soon.C:
			waiting = false
			retry = a.pass(ctx, a.takeDue())
		case <-full.C:
			retry = a.pass(ctx, nil)
		case <-again.C:
			retry = a.pass(ctx, nil)
		case do := <-a.commands:
			do()
			continue
		case cure := <-a.checker.Cures():
			var done bool
			if retry, done = a.treat(ctx, cure); !done {
				continue
			}
		case <-dog.C:
			feed()
			continue
		}
		again.Stop()
		if !retry.IsZero() {
			again.Reset(max(0, time.Until(retry)))
		}
		feed()
		a.beat.Store(time.Now().Unix())
	}
}

// hear takes in what the follower says.
func (a *Agent) hear(ctx context.Context, n news) (retry time.Time) {
	if n.asked {
		a.trouble.fetched = n.fetched
	}
	if n.tried.Commit != "" {
		a.trouble.rewritten, a.trouble.unsigned, a.trouble.invalid = n.rewritten, n.unsigned, n.invalid
	}
	a.mu.Lock()
	if n.asked && n.fetched == nil {
		a.status.Fetched = time.Now()
	}
	if n.observed.Commit != "" {
		a.status.ObservedRevision = n.observed.String()
	}
	if n.tried.Commit != "" {
		a.status.LastAttemptedRevision, a.status.Subject, a.status.Author = n.tried.String(), n.tried.Subject, n.tried.Author
	}
	a.mu.Unlock()
	switch {
	case n.compiled != nil:
		a.compiled, a.revision, a.result = n.compiled, n.tried, nil
		a.begin(n.tried)
		retry = a.pass(ctx, nil)
	case a.compiled == nil && n.asked:
		retry = a.useStored(ctx)
	case a.awaited(n):
		retry = a.pass(ctx, nil)
	default:
		a.report()
		return a.retryOf()
	}
	a.release(n)
	return retry
}

// A waiter wants to know when a pass is over that began with a fetch later
// than those before after.
type waiter struct {
	after int64
	done  chan<- struct{}
}

func (a *Agent) awaited(n news) bool {
	return slices.ContainsFunc(a.waiters, func(w waiter) bool { return n.number > w.after })
}

// release tells those who waited for a pass after n.
func (a *Agent) release(n news) {
	a.waiters = slices.DeleteFunc(a.waiters, func(w waiter) bool {
		if n.number > w.after {
			close(w.done)
		}
		return n.number > w.after
	})
}

// retryOf is when the last pass wanted to be repeated, if that is to come.
func (a *Agent) retryOf() time.Time {
	if a.result == nil {
		return time.Time{}
	}
	return earlier(a.result.Retry, a.result.Wake)
}

// useStored falls back on the intent that was verified last, or at least looks
// at the host once.
func (a *Agent) useStored(ctx context.Context) (retry time.Time) {
	stored := a.Engine.Verified()
	if stored.Intent == nil {
		_ = a.recovering(func() error {
			a.Engine.Observe(ctx, driver.Scope{})
			return nil
		})
		a.looked()
		a.report()
		return time.Time{}
	}
	a.compiled = &Compiled{Intent: stored.Intent, Lock: stored.Lock}
	a.revision = parseRevision(stored.Revision)
	a.Log.Warn("the last verified intent stays in force", "revision", stored.Revision)
	return a.pass(ctx, nil)
}

// parseRevision is the inverse of Revision.String.
func parseRevision(s string) source.Revision {
	ref, commit, ok := strings.Cut(s, "sha1:")
	if !ok {
		return source.Revision{}
	}
	return source.Revision{Ref: strings.TrimSuffix(ref, "@"), Commit: commit}
}

// begin says that a new revision is being made true.
func (a *Agent) begin(rev source.Revision) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.status.Set(status.Condition{Type: status.Reconciling, True: true, Reason: "Applying", Message: "making the host what " + rev.Short() + " says"}, time.Now())
}

// pass has the engine make the host what is desired and reports how it went.
// Kinds limit the first look.
func (a *Agent) pass(ctx context.Context, kinds []resource.Kind) (retry time.Time) {
	if a.compiled == nil {
		a.report()
		return time.Time{}
	}
	ctx, cancel := context.WithTimeout(ctx, a.Limit)
	defer cancel()
	defer a.feeding()()
	began := time.Now()
	o := engine.Options{Revision: a.revision.String(), Lock: a.compiled.Lock, Declared: a.compiled.Declared, Kinds: kinds, Force: a.force, Consent: a.consent}
	_, o.Dry = a.saved.get().Suspended[""]
	if c := a.cure; c.ID.Name != "" {
		o.Renew, o.Note = map[resource.ID]string{c.ID: c.Why}, c.Note()
	}
	a.force, a.consent, a.cure = false, false, health.Cure{}
	var result *engine.Result
	err := a.recovering(func() (err error) {
		result, err = a.reconcile(ctx, o)
		return err
	})
	a.trouble.bug, a.trouble.locked, a.trouble.broken = nil, nil, nil
	var locked *engine.LockedError
	var pending *trial.PendingError
	switch {
	case isBug(err):
		a.trouble.bug = err
		retry = time.Now().Add(30 * time.Second)
	case errors.As(err, &locked) || errors.As(err, &pending):
		a.trouble.locked = err
		retry = time.Now().Add(time.Second)
	case err != nil:
		a.trouble.broken = err
		retry = time.Now().Add(10 * time.Second)
	}
	a.Metrics.passed(result, err, time.Since(began))
	if result != nil && result.Plan != nil {
		a.result = result
		a.looked()
		a.drift.take(result, time.Now())
		a.mourn(result)
		a.log(result)
		retry = earlier(retry, earlier(result.Retry, result.Wake))
	}
	a.report()
	a.lookAfter()
	return retry
}

// reconcile makes one pass. Where the guard refuses, what was verified last is
// kept as it was.
func (a *Agent) reconcile(ctx context.Context, o engine.Options) (*engine.Result, error) {
	result, err := a.Engine.Reconcile(ctx, a.desired(), o)
	if err != nil || result.Refused == "" {
		return result, err
	}
	if stored := a.Engine.Verified(); stored.Intent != nil {
		o.Revision, o.Lock = stored.Revision, stored.Lock
		if _, err := a.Engine.Reconcile(ctx, stored.Intent, o); err != nil {
			return result, err
		}
	}
	return result, nil
}

// desired is the intent in force, with the suspended owners held.
func (a *Agent) desired() *resource.Intent {
	in, suspended := a.compiled.Intent, a.saved.get().Suspended
	if len(suspended) == 0 {
		return in
	}
	holds := slices.Clone(in.Holds)
	for owner, s := range suspended {
		if owner == "" {
			continue
		}
		why := "suspended"
		if s.Reason != "" {
			why += ": " + s.Reason
		}
		holds = slices.DeleteFunc(holds, func(h resource.Hold) bool { return h.Owner == owner })
		holds = append(holds, resource.Hold{Owner: owner, Cause: resource.HoldSuspended, Reason: why})
	}
	out := resource.NewIntent(in.Host, slices.Clone(in.Fragments), holds)
	out.Frozen, out.Terms = in.Frozen, in.Terms
	return out
}

// looked says that everything was observed at least once.
func (a *Agent) looked() {
	select {
	case <-a.ready:
	default:
		close(a.ready)
		notify("READY=1")
	}
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// log writes what changed, and a failure when it is another than before.
func (a *Agent) log(r *engine.Result) {
	if r.Journal != 0 {
		c := r.Plan.Count()
		a.Log.Info("applied", "revision", r.Revision, "add", c.Add, "change", c.Change, "destroy", c.Destroy, "drift", c.Drift,
			"converged", r.Converged(), "duration_ms", r.Took.Milliseconds(), "journal", r.Journal)
		for _, x := range r.Plan.Actions {
			a.Log.Debug("action", "verb", string(x.Verb), "kind", string(x.ID.Kind), "name", x.ID.Name, "owner", string(x.Owner()), "drift", x.Drift)
		}
	}
	var failures []string
	for _, o := range r.Owners {
		for _, f := range o.Failures {
			failures = append(failures, fmt.Sprintf("%s: %s", f.ID, f.Error))
		}
	}
	text := strings.Join(append(failures, r.Refused), "\n")
	if text == a.logged {
		return
	}
	a.logged = text
	for _, o := range r.Owners {
		for _, f := range o.Failures[:min(3, len(o.Failures))] {
			a.Log.Error("failed", "owner", string(o.Owner), "kind", string(f.ID.Kind), "name", f.ID.Name, "error", f.Error, "retry", o.Retry)
		}
	}
	if r.Refused != "" {
		a.Log.Error("refused", "revision", r.Revision, "reason", r.Refused)
	}
}
