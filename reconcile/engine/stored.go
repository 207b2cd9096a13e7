package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

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

func (e *Engine) storedPath() string { return StoredPath(e.host) }

// StoredPath is where the last good intent of h lies.
func StoredPath(h *host.Host) string { return filepath.Join(h.StateDir, "intent.json") }

// Verified returns the last good intent.
func (e *Engine) Verified() Stored {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.verified
}

// A stamp tells two states of a file apart; each write makes a new file.
type stamp struct {
	ino  uint64
	time int64
}

func stampOf(path string) stamp {
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil {
		return stamp{}
	}
	return stamp{st.Ino, st.Ctim.Nano()}
}

// refresh reads what another process verified last, if one did since; nothing if
// that cannot be read: it is a help, and not needed.
func (e *Engine) refresh() {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := stampOf(e.storedPath())
	if now == e.stamp {
		return
	}
	e.stamp = now
	s, err := ReadStored(e.storedPath())
	if err != nil || s.Intent.Host != e.host.Name {
		s = Stored{}
	}
	e.verified = s
}

// ReadStored reads what an engine stored, or an intent alone. The intent is not nil.
func ReadStored(path string) (Stored, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return Stored{}, err
	}
	var s Stored
	if err := json.Unmarshal(b, &s); err != nil {
		return Stored{}, fmt.Errorf("%s is no intent: %w", path, err)
	}
	if s.Intent == nil {
		s = Stored{FormatVersion: s.FormatVersion, Intent: new(resource.Intent)}
		if err := json.Unmarshal(b, s.Intent); err != nil {
			return Stored{}, fmt.Errorf("%s is no intent: %w", path, err)
		}
	}
	if err := resource.CheckFormat(s.FormatVersion, resource.FormatVersion); err != nil {
		return Stored{}, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

// WriteFile replaces path with s.
func (s Stored) WriteFile(path string) error {
	b, err := json.Marshal(s)
	if err == nil {
		err = host.WriteFile(path, b, 0o600)
	}
	return err
}

// LastGood is what to go back to if desired turns out badly: the last good intent,
// without holds on what desired does not leave alone; nothing at all where nothing
// is ours yet. The host must have been observed. An error says that nobody knows.
func (e *Engine) LastGood(desired *resource.Intent) (Stored, error) {
	s := e.Verified()
	if s.Intent == nil {
		if len(e.Count()) > 0 {
			return Stored{}, errors.New("nothing is known to go back to: no intent was ever verified here, though something of weft is on this host")
		}
		return Stored{FormatVersion: resource.FormatVersion, Time: e.settings.Now(), Intent: resource.NewIntent(e.host.Name, nil, nil)}, nil
	}
	back := *s.Intent
	back.Holds = slices.DeleteFunc(slices.Clone(back.Holds), func(h resource.Hold) bool {
		_, held := desired.Held(h.Owner)
		return !held && back.Fragment(h.Owner) != nil
	})
	s.Intent = &back
	return s, nil
}

// keep notes what of desired a verification that found left has proved, beside
// what was proved before of the owners it says nothing of. prepared is desired
// as it was compared.
func (e *Engine) keep(desired, prepared *resource.Intent, left *plan.Plan, o Options) error {
	hidden := slices.ContainsFunc(left.Unread, func(u resource.Unread) bool { return !u.Kind.Outside() })
	if hidden || left.Frozen != "" || len(o.Target) > 0 {
		return nil // nothing can be said of the whole
	}
	open := map[resource.Owner]bool{}
	for _, a := range left.Actions {
		if a.ID.Kind.Outside() {
			continue // it is looked at in any case, and no reason to go back
		}
		open[a.Owner()] = true
		if a.Before != nil {
			open[a.Before.Owner] = true
		}
	}
	for _, b := range left.Blocked {
		open[b.Owner] = open[b.Owner] || !b.ID.Kind.Outside()
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
	if !left.Settled() {
		s.Revision, s.Lock = old.Revision, old.Lock
	}
	if o.Aside != "" {
		if err := s.WriteFile(o.Aside); err != nil {
			return fmt.Errorf("store the intent aside: %w", err)
		}
		return nil
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
	if err := s.WriteFile(e.storedPath()); err != nil {
		return fmt.Errorf("store the verified intent: %w", err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.verified, e.stamp = s, stampOf(e.storedPath())
	return nil
}
