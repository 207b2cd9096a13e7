package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"weft.dev/reconcile/agent"
	"weft.dev/reconcile/engine"
	"weft.dev/reconcile/engine/trial"
)

// takeover is how long after its time an apply that waits leaves the trial to the
// watchdog, before it goes back itself: somebody may have killed that.
const takeover = 3 * time.Second

func (a *app) confirm() *cobra.Command {
	return &cobra.Command{
		Use:   "confirm",
		Short: "Keep what weft apply --confirm-timeout made",
		Long: `Keep what weft apply --confirm-timeout made of this host; without this it goes back by itself.
Run it from a new login: that proves that the host can still be reached. It needs no agent.
Exit status 4 if it went back already.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			trials := trial.Open(a.machine())
			_, err := trials.Confirm()
			last, ended := trials.Last()
			switch {
			case errors.Is(err, trial.ErrGoingBack):
				return exit{exitRolled, err}
			case errors.Is(err, trial.ErrNone) && ended && last.Outcome == trial.RolledBack:
				return exit{exitRolled, fmt.Errorf("%w: the last one went back at %s: %s", err, last.Time.Local().Format(time.DateTime), oneLine(last.Reason))}
			case err != nil:
				return err
			}
			_, err = fmt.Fprintln(a.out, "Confirmed: the host stays as it is now.")
			return err
		},
	}
}

// An attempt is one apply, which may have to go back.
type attempt struct {
	*app
	*live
	back    engine.Stored
	unknown error // why there is nothing to go back to
	probes  []trial.Probe
	trials  *trial.Trials
	trial   *trial.Trial // nil where nobody is asked to confirm
}

// carryOut applies what was planned and agreed to, sees that what has to go on
// working does, and waits for a person's word where that is asked for.
func (a *app) carryOut(ctx context.Context, l *live, f applyFlags) error {
	h := a.machine()
	t := &attempt{app: a, live: l, trials: trial.Open(h)}
	t.back, t.unknown = l.engine.LastGood(l.intent)
	t.probes = trial.Holding(ctx, append(trial.Gateways(), trial.Repository(agent.Followed(h))...))
	if f.confirm == 0 {
		return t.apply(ctx)
	}
	if t.unknown != nil {
		return t.unknown
	}
	var err error
	t.trial, err = t.trials.Arm(ctx, t.back, f.confirm, func(x *trial.Trial) []string {
		return []string{
			"apply", "--host", a.host, "--instance", a.instance, "--secrets", f.secrets, "--auto-approve",
			"--intent", t.trials.Back(), "--await", x.ID,
		}
	})
	var pending *trial.PendingError
	if errors.As(err, &pending) {
		return exit{exitStale, err}
	}
	if err != nil {
		return err
	}
	l.options.Trial, l.options.Aside = t.trial.ID, t.trials.Next()
	limited, cancel := context.WithTimeout(ctx, f.confirm)
	defer cancel()
	if err := t.apply(limited); err != nil {
		return err
	}
	return t.wait(ctx)
}

// apply carries the plan out. Where it has to go back it has gone back when it
// returns.
func (t *attempt) apply(ctx context.Context) error {
	r, err := t.engine.Reconcile(ctx, t.intent, t.options)
	if r == nil || r.Journal == 0 {
		if t.trial != nil {
			err = errors.Join(err, t.trials.Withdraw(t.trial.ID))
		}
		return untouched(r, err)
	}
	for _, o := range r.Owners {
		for _, x := range o.Failures {
			fmt.Fprintf(t.err, "%s: %s: %s\n", o.Owner, x.ID, oneLine(x.Error))
		}
	}
	// What another machine does not take is no reason to go back.
	whole := err == nil && (r.Converged() || t.trial != nil && r.Settled())
	if t.trial != nil && !whole {
		return t.goBack(ctx, errors.Join(errors.New("not all of it could be done"), err))
	}
	if err := trial.StillHold(context.WithoutCancel(ctx), t.probes); err != nil {
		return t.goBack(ctx, err)
	}
	switch {
	case err != nil:
		return err
	case !whole:
		return errors.New("not all of it could be done; the rest is as it was")
	}
	_, err = fmt.Fprintf(t.out, "Applied and verified in %d ms.\n", r.Took.Milliseconds())
	return err
}

// untouched says why nothing was done: err, or where that is nil what the result says.
func untouched(r *engine.Result, err error) error {
	var held *engine.LockedError
	var pending *trial.PendingError
	switch {
	case errors.Is(err, engine.ErrStale) || errors.As(err, &held) || errors.As(err, &pending):
		return exit{exitStale, err}
	case err != nil:
		return err
	case r.Refused != "":
		return fmt.Errorf("%s (--allow-removal consents)", r.Refused)
	}
	return errors.New("nothing could be done: everything waits for another try")
}

// goBack returns the host to the last good intent; the error says how that ended.
func (t *attempt) goBack(ctx context.Context, why error) error {
	ctx = context.WithoutCancel(ctx)
	reason := oneLine(why.Error())
	fmt.Fprintf(t.err, "%s: going back to the last good intent\n", reason)
	if t.trial == nil {
		if t.unknown != nil {
			return fmt.Errorf("%s, and %w", reason, t.unknown)
		}
		if err := trial.GoBack(ctx, t.engine, t.back, engine.Options{Note: "went back: " + reason}, 0); err != nil {
			return fmt.Errorf("%s, and going back failed: %w", reason, err)
		}
		return exit{exitRolled, fmt.Errorf("went back to the last good intent: %s", reason)}
	}
	c, err := t.trials.Claim(t.trial.ID)
	switch {
	case errors.Is(err, trial.ErrGoingBack):
		return t.wait(ctx) // the watchdog is at it
	case err != nil:
		return err
	case c != nil:
		if err := c.GoBack(ctx, t.engine, t.back, reason); err != nil {
			return fmt.Errorf("%s, and going back failed: %w", reason, err)
		}
	}
	return t.ended()
}

// wait asks for a person's word and returns how the trial ended.
func (t *attempt) wait(ctx context.Context) error {
	x, err := t.trials.Applied(t.trial.ID)
	if err == nil {
		fmt.Fprintf(t.err, "It goes back by itself at %s, in %s, unless somebody runs: %s\n",
			x.Until.Local().Format(time.TimeOnly), x.Timeout, t.command("confirm"))
	} else if !errors.Is(err, trial.ErrGoingBack) {
		return err
	}
	_, c, err := t.trials.Await(ctx, t.trial.ID, takeover)
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("not confirmed yet; it goes back by itself unless somebody runs: %s", t.command("confirm"))
	case err != nil:
		return err
	case c != nil:
		if err := c.GoBack(ctx, t.engine, t.back, c.Why()); err != nil {
			return fmt.Errorf("going back failed: %w", err)
		}
	}
	return t.ended()
}

// ended is the end of the trial as an exit status.
func (t *attempt) ended() error {
	switch o, _ := t.trials.Last(); o.Outcome {
	case trial.Confirmed:
		_, err := fmt.Fprintln(t.out, "Confirmed.")
		return err
	case trial.RolledBack:
		return exit{exitRolled, fmt.Errorf("went back to the last good intent: %s", oneLine(o.Reason))}
	default:
		return fmt.Errorf("going back failed: %s", oneLine(o.Reason))
	}
}

// command is a verb as a person has to type it for this instance.
func (a *app) command(verb string) string {
	if a.instance != "weft" {
		return "weft --instance " + a.instance + " " + verb
	}
	return "weft " + verb
}

// keepWatch is the watchdog: it goes back if nobody confirms in time.
func (a *app) keepWatch(ctx context.Context, f applyFlags) error {
	h := a.machine()
	back, err := engine.ReadStored(f.intent)
	if err != nil {
		return err
	}
	if back.Intent.Host != h.Name {
		return fmt.Errorf("%s is the intent of host %s, not %s", f.intent, back.Intent.Host, h.Name)
	}
	e := newEngine(h, f.secrets, nil)
	if err := trial.Ready(); err != nil {
		return err
	}
	// Whoever ends what the shell left does not mean this.
	ctx = context.WithoutCancel(ctx)
	end, c, err := trial.Open(h).Await(ctx, f.await, 0)
	if err == nil && c != nil {
		if err = c.GoBack(ctx, e, back, c.Why()); err == nil {
			end.Outcome = trial.RolledBack
		}
	}
	if err == nil {
		fmt.Fprintf(a.err, "%s %s\n", time.Now().Format(time.RFC3339), end.Outcome)
	}
	return err
}
