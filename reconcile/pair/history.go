package pair

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// A State is what one router of a pair is.
type State string

// The states, CloudStack's words for them but Stopped.
const (
	Primary = State("PRIMARY")
	Backup  = State("BACKUP")
	Fault   = State("FAULT")   // a link that it needs is down
	Stopped = State("STOPPED") // nothing decides: it has no address of the pair
)

// A Change is when a router became something.
type Change struct {
	Time  time.Time `json:"time"`
	State State     `json:"state"`
}

// keep is how many changes are remembered.
const keep = 50

// A history is a file of changes, the last one last.
type history struct {
	path string
	list []Change
}

func open(path string) (*history, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	list, err := Read(path)
	if err != nil {
		list = nil // torn: it begins anew
	}
	return &history{path, list}, nil
}

// Read returns what a router became, the last change last; nothing if nobody wrote
// it down.
func Read(path string) ([]Change, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var list []Change
	if err := json.Unmarshal(b, &list); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return list, nil
}

// stopped writes down that nothing decides, where whoever did was killed before it could
// say so.
func (h *history) stopped(now time.Time) error {
	if len(h.list) == 0 {
		return nil
	}
	return h.add(Change{Time: now, State: Stopped})
}

// add writes a change down, whole or not at all; one to the same state is none.
func (h *history) add(c Change) error {
	if n := len(h.list); n > 0 && h.list[n-1].State == c.State {
		return nil
	}
	h.list = append(h.list, c)
	h.list = h.list[max(0, len(h.list)-keep):]
	b, err := json.Marshal(h.list)
	if err != nil {
		return err
	}
	tmp := filepath.Join(h.path+".d", "history")
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, h.path)
}
