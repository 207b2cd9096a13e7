package trial

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"weft.dev/reconcile/engine"
)

// How going back is done.
const (
	look     = 100 * time.Millisecond // between two looks at the trial
	again    = time.Second            // between two tries
	patience = 2 * time.Minute        // until it is given up
	stubborn = 5 * time.Second        // that an apply has to end by itself
)

// Await returns when the trial has ended, with how; or grace after its time was
// over, with a claim: then the caller goes back and ends it. The error is ctx's or
// the disk's.
func (t *Trials) Await(ctx context.Context, id string, grace time.Duration) (Outcome, *Claim, error) {
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		x, ok := t.read()
		if !ok || x.ID != id {
			return t.ended(id), nil, nil
		}
		if _, up := t.clock(); up >= x.Due+grace {
			c, err := t.Claim(id)
			if !errors.Is(err, ErrGoingBack) {
				return t.ended(id), c, err
			}
		}
		select {
		case <-ctx.Done():
			return Outcome{}, nil, ctx.Err()
		case <-tick.C:
		}
	}
}

// ended is how trial id ended, as far as that is known.
func (t *Trials) ended(id string) Outcome {
	if o, ok := t.Last(); ok && o.ID == id {
		return o
	}
	return Outcome{ID: id}
}

// Claim takes the trial to end it: for who knows before its time is over that it
// has to go back. A nil Claim without an error says that it ended already.
func (t *Trials) Claim(id string) (*Claim, error) {
	c, err := t.claim()
	if err != nil {
		return nil, err
	}
	if x, ok := t.read(); !ok || x.ID != id {
		c.Release()
		return nil, nil
	}
	return c, nil
}

// GoBack makes the host what back says, trying again what fails for a while, and
// ends the trial. why goes into the journal. The error says what could not be made
// as it was.
func (c *Claim) GoBack(ctx context.Context, e *engine.Engine, back engine.Stored, why string) error {
	x, ok := c.trials.read()
	if !ok {
		return errors.Join(errors.New("the trial is gone"), c.End(Outcome{Outcome: Failed, Reason: why}))
	}
	o := engine.Options{Trial: x.ID, Note: "went back: " + why}
	err := GoBack(ctx, e, back, o, x.Applier)
	end := Outcome{ID: x.ID, Outcome: RolledBack, Reason: why}
	if err != nil {
		end.Outcome, end.Reason = Failed, why+"; "+err.Error()
	}
	return errors.Join(err, c.End(end))
}

// GoBack makes the host what back says, trying again what fails for a while. An
// applier, the process of a change that does not end, is killed when it is in the
// way; 0 is none.
func GoBack(ctx context.Context, e *engine.Engine, back engine.Stored, o engine.Options, applier int) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	o.Revision, o.Lock, o.Consent, o.Force = back.Revision, back.Lock, true, true
	began := time.Now()
	for {
		r, err := e.Reconcile(ctx, back.Intent, o)
		wait := again
		var locked *engine.LockedError
		switch {
		case errors.As(err, &locked):
			wait = look
			if locked.Holder == applier && applier != os.Getpid() && applier > 1 && time.Since(began) > stubborn {
				_ = unix.Kill(applier, unix.SIGKILL) // it holds the lock: it is the one
			}
		case err == nil && r.Settled():
			return nil
		case err == nil:
			err = left(r)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("go back: %w", err)
		case <-time.After(wait):
		}
	}
}

// left says what a pass could not do.
func left(r *engine.Result) error {
	var errs []error
	for _, o := range r.Owners {
		for _, f := range o.Failures {
			errs = append(errs, fmt.Errorf("%s: %s: %s", o.Owner, f.ID, f.Error))
		}
	}
	for _, u := range r.Left.Unread {
		errs = append(errs, fmt.Errorf("%s could not be read: %s", u.Kind, u.Err))
	}
	for _, b := range r.Left.Blocked {
		errs = append(errs, fmt.Errorf("%s: %s", b.ID, b.Reason))
	}
	if len(errs) == 0 {
		errs = append(errs, errors.New("changes are left to be made"))
	}
	return errors.Join(errs...)
}

// Why says why a trial whose time is over has to go back.
func (c *Claim) Why() string {
	if x, ok := c.trials.read(); ok && !x.Applied {
		return "the apply did not end in time"
	}
	return "nobody confirmed in time"
}
