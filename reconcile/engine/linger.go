package engine

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"weft.dev/reconcile/host"
	"weft.dev/reconcile/resource"
)

// idle is since when owners have nothing that runs, as this host saw it first. It
// lies in the state directory; where it is lost the wait starts anew.
type idle map[resource.Owner]time.Time

func (e *Engine) idlePath() string { return filepath.Join(e.host.StateDir, "idle.json") }

func (e *Engine) readIdle() idle {
	out := idle{}
	b, err := os.ReadFile(e.idlePath())
	if err != nil || json.Unmarshal(b, &out) != nil {
		return idle{}
	}
	return out
}

// linger returns in with holds on the owners that are idle for less than they
// linger, and without that term of those that are idle for longer. since is what is
// to be remembered of it, wake when the next wait ends. Nothing is written.
func (e *Engine) linger(in *resource.Intent) (out *resource.Intent, since idle, wake time.Time) {
	since = idle{}
	if !slices.ContainsFunc(in.Terms, func(t resource.Term) bool { return t.Linger > 0 }) {
		return in, since, wake
	}
	known, now := e.readIdle(), e.settings.Now()
	last, seen := e.Verified().Intent, sync.OnceValue(e.seenOwners)
	// Something may be on the host if the last good intent has it, it was seen, or nobody knows.
	present := func(o resource.Owner) bool { return last == nil || last.Fragment(o) != nil || seen()[o] }
	next := *in
	next.Terms, next.Holds = slices.Clone(in.Terms), slices.Clone(in.Holds)
	for i := range next.Terms {
		t := &next.Terms[i]
		if t.Linger <= 0 || in.Fragment(t.Owner) != nil || !present(t.Owner) {
			continue
		}
		from, ok := known[t.Owner]
		if !ok || from.After(now) {
			from = now
		}
		since[t.Owner] = from
		until := from.Add(t.Linger)
		if _, held := in.Held(t.Owner); held {
			continue
		}
		if !now.Before(until) {
			t.Linger = 0
			continue
		}
		next.Holds = append(next.Holds, resource.Hold{Owner: t.Owner, Cause: resource.HoldLingering,
			Reason: fmt.Sprintf("shutdown, after %s: no NIC of it runs since %s", resource.Wait(t.Linger), from.UTC().Format(time.RFC3339))})
		if wake.IsZero() || until.Before(wake) {
			wake = until
		}
	}
	return resource.Reheld(&next), since, wake
}

// seenOwners are those of which something was there when the host was observed last.
func (e *Engine) seenOwners() map[resource.Owner]bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := map[resource.Owner]bool{}
	for _, o := range e.seen {
		if o == nil {
			continue
		}
		for _, x := range o.Set {
			out[x.Owner] = true
		}
	}
	return out
}

// remember writes down since when owners are idle, if that changed.
func (e *Engine) remember(since idle) error {
	if maps.EqualFunc(e.readIdle(), since, time.Time.Equal) {
		return nil
	}
	if len(since) == 0 {
		if err := os.Remove(e.idlePath()); err != nil && !os.IsNotExist(err) {
			return fmt.Errorf("forget what was idle: %w", err)
		}
		return nil
	}
	b, err := json.Marshal(since)
	if err == nil {
		err = host.WriteFile(e.idlePath(), b, 0o600)
	}
	if err != nil {
		return fmt.Errorf("remember what is idle: %w", err)
	}
	return nil
}
