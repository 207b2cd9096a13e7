package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"weft.dev/reconcile/host"
	"weft.dev/reconcile/resource"
)

// saved is what people told an agent and what it must not forget when it is
// restarted.
type saved struct {
	path string

	mu    sync.Mutex
	state state
}

type state struct {
	// Suspended lists what is left alone and why; the owner "" is the host.
	Suspended map[resource.Owner]suspension `json:"suspended,omitempty"`
	// Pin is the commit that a rollback chose, Over the newest commit at that
	// time: a newer one ends it.
	Pin  string `json:"pin,omitempty"`
	Over string `json:"over,omitempty"`
	// Repository is where the tree comes from, as people read it.
	Repository string `json:"repository,omitempty"`
	// Followed is the commit that was followed last, Refused one that replaced
	// it though it does not descend from it.
	Followed string `json:"followed,omitempty"`
	Refused  string `json:"refused,omitempty"`
}

type suspension struct {
	Reason string    `json:"reason,omitempty"`
	Since  time.Time `json:"since"`
}

// openSaved reads what an earlier agent left. What is there and cannot be read may
// have been a suspension, and is taken for one of the host.
func openSaved(h *host.Host) *saved {
	s := &saved{path: filepath.Join(h.StateDir, "agent.json")}
	b, err := os.ReadFile(s.path)
	if err == nil {
		err = json.Unmarshal(b, &s.state)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		why := suspension{Reason: fmt.Sprintf("%s cannot be read: %v", s.path, err), Since: time.Now()}
		s.state = state{Suspended: map[resource.Owner]suspension{"": why}}
	}
	return s
}

// Followed is the repository that the agent of h follows, or followed last; "" if
// none ever ran.
func Followed(h *host.Host) string { return openSaved(h).get().Repository }

// get returns a copy.
func (s *saved) get() state {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.state
	out.Suspended = maps.Clone(out.Suspended)
	return out
}

// change applies f and writes the result down. When that fails nothing has
// changed.
func (s *saved) change(f func(*state)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := s.state
	next.Suspended = maps.Clone(next.Suspended)
	if next.Suspended == nil {
		next.Suspended = map[resource.Owner]suspension{}
	}
	f(&next)
	b, err := json.Marshal(next)
	if err == nil {
		err = host.WriteFile(s.path, append(b, '\n'), 0o600)
	}
	if err != nil {
		return fmt.Errorf("remember: %w", err)
	}
	s.state = next
	return nil
}

// ErrRunning says that an agent of this instance runs already.
var ErrRunning = errors.New("an agent of this instance runs already")

// lock makes sure that there is one agent.
func (s *saved) lock() (release func(), err error) {
	path := s.path + ".lock"
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, ErrRunning
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return func() { _ = f.Close() }, nil
}
