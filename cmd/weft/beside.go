package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"weft.dev/reconcile/agent"
	"weft.dev/reconcile/engine"
	"weft.dev/reconcile/status"
)

// beside returns the status of the agent that is to do the work, nil where none runs or
// it is suspended. It refuses what an agent would undo or cannot do.
func (a *app) beside(ctx context.Context, c *agent.Client, f applyFlags) (*status.Status, error) {
	s, err := c.Status(ctx)
	switch {
	case errors.Is(err, agent.ErrNotRunning):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("ask the agent whether it is suspended: %w", err)
	case s.HostSuspended():
		return nil, nil
	}
	var cannot string
	switch {
	case f.intent != "":
		cannot = "--intent"
	case f.confirm > 0:
		cannot = "--confirm-timeout"
	case len(f.target) > 0:
		cannot = "--target"
	default:
		return s, nil
	}
	return nil, exit{exitStale, fmt.Errorf("an agent runs here and follows %s, and does all of that: weft suspend first for %s", follows(s), cannot)}
}

// follows is what an agent follows, for people.
func follows(s *status.Status) string {
	if s.LastAttemptedRevision == "" {
		return s.Repository
	}
	return s.Repository + " at " + status.Short(s.LastAttemptedRevision)
}

// askAgent has the agent make the host what its tree says, which is that of before, and
// tells how that ended.
func (a *app) askAgent(ctx context.Context, c *agent.Client, before *status.Status, f applyFlags) error {
	asked := time.Now()
	now, err := c.Reconcile(ctx, agent.ReconcileOptions{AllowRemoval: f.removal})
	if err != nil {
		return fmt.Errorf("ask the agent: %w", err)
	}
	list, err := c.History(ctx, 20)
	if err != nil {
		return fmt.Errorf("ask the agent how it went: %w", err)
	}
	if now.Intent != before.Intent {
		return exit{exitStale, fmt.Errorf("the agent follows another tree by now, %s: plan again", follows(now))}
	}
	return a.outcome(now, slices.DeleteFunc(list, func(r engine.Record) bool { return r.Began.Before(asked) }), time.Since(asked))
}

// outcome tells how an agent fared: its status, and what it applied since it was asked,
// newest first.
func (a *app) outcome(now *status.Status, since []engine.Record, took time.Duration) error {
	busy, ready := now.Condition(status.Reconciling), now.Condition(status.Ready)
	switch {
	case len(since) == 0 && busy.True && busy.Reason == status.ReconcilingWaits:
		return exit{exitStale, errors.New(oneLine(busy.Message))}
	case len(since) > 0 && since[0].Outcome == engine.Failed:
		for _, x := range since[0].Failures {
			fmt.Fprintf(a.err, "%s: %s: %s\n", x.Owner, x.ID, oneLine(x.Error))
		}
		return errors.New("not all of it could be done; the rest is as it was")
	case !ready.True:
		return errors.New(oneLine(ready.Message))
	case len(since) > 0:
		took = since[0].Took
	}
	_, err := fmt.Fprintf(a.out, "Applied and verified by the agent in %d ms.\n", took.Milliseconds())
	return err
}
