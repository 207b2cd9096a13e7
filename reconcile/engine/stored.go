package engine

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"weft.dev/reconcile/host"
	"weft.dev/reconcile/plan"
	"weft.dev/reconcile/resource"
)

// Stored is the last good intent of this host: of every owner what was verified
// last. It is what stays in force when there is no better one.
type Stored struct {
	FormatVersion int `json:"formatVersion"`
	// Revision is the last one of which everything was verified.
	Revision string           `json:"revision,omitempty"`
	Lock     string           `json:"lock,omitempty"`
	Time     time.Time        `json:"time"`
	Intent   *resource.Intent `json:"intent"` // nil when nothing was ever verified
}

func (e *Engine) storedPath() string { return filepath.Join(e.host.StateDir, "intent.json") }

// Verified returns the last good intent.
func (e *Engine) Verified() Stored {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.verified
}

// load reads what an earlier process verified; the zero value if that cannot
// be read: it is a help, and not needed.
func (e *Engine) load() Stored {
	var s Stored
	b, err := os.ReadFile(e.storedPath())
	if err != nil || json.Unmarshal(b, &s) != nil || s.Intent == nil || s.Intent.Host != e.host.Name {
		return Stored{}
	}
	return s
}

// keep notes what of desired a verification that found left has proved, beside
// what was proved before of the owners it says nothing of. prepared is desired
// as it was compared.
func (e *Engine) keep(desired, prepared *resource.Intent, left *plan.Plan, o Options) error {
	if len(left.Unread) > 0 || left.Frozen != "" || len(o.Target) > 0 {
		return nil // nothing can be said of the whole
	}
	open := map[resource.Owner]bool{}
	for _, a := range left.Actions {
		open[a.Owner()] = true
		if a.Before != nil {
			open[a.Before.Owner] = true
		}
	}
	for _, b := range left.Blocked {
		open[b.Owner] = true
	}
	for _, h := range prepared.Holds {
		open[h.Owner] = true
	}
	old := e.Verified()
	var fragments []*resource.Fragment
	for _, f := range desired.Fragments {
		if open[f.Owner] {
			f = last(old.Intent, f.Owner)
		}
		if f != nil {
			fragments = append(fragments, f)
		}
	}
	for _, h := range desired.Holds {
		if f := last(old.Intent, h.Owner); f != nil && desired.Fragment(h.Owner) == nil {
			fragments = append(fragments, f)
		}
	}
	s := Stored{FormatVersion: resource.FormatVersion, Revision: o.Revision, Lock: o.Lock, Time: e.settings.Now()}
	s.Intent = resource.NewIntent(desired.Host, fragments, append([]resource.Hold(nil), desired.Holds...))
	s.Intent.Terms = desired.Terms
	if !left.Converged() {
		s.Revision, s.Lock = old.Revision, old.Lock
	}
	if old.Intent != nil && old.Revision == s.Revision && old.Intent.Fingerprint() == s.Intent.Fingerprint() {
		return nil
	}
	return e.store(s)
}

func last(in *resource.Intent, o resource.Owner) *resource.Fragment {
	if in == nil {
		return nil
	}
	return in.Fragment(o)
}

func (e *Engine) store(s Stored) error {
	b, err := json.Marshal(s)
	if err == nil {
		err = host.WriteFile(e.storedPath(), b, 0o600)
	}
	if err != nil {
		return fmt.Errorf("store the verified intent: %w", err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.verified = s
	return nil
}
