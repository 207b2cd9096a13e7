package metadata

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"time"

	"weft.dev/reconcile/host"
)

// keptFor is how long what was taken is remembered after a router went from the host.
const keptFor = 30 * 24 * time.Hour

// saved is what each side of a router remembers.
type saved map[string]*memory

// A memory has, by the id of a VM, a salted digest of the password that it took: it
// is told the next one only.
type memory struct {
	Marks map[string]string `json:"marks"`
	// Gone is when the side was seen to be no more; zero while it is there.
	Gone time.Time `json:"gone,omitzero"`
}

// readSaved reads what was remembered; nothing if that cannot be read, as after the
// loss of the host.
func readSaved(path string) saved {
	out := saved{}
	b, err := os.ReadFile(path)
	if err != nil || json.Unmarshal(b, &out) != nil || out == nil {
		return saved{}
	}
	for side, m := range out {
		if m == nil {
			delete(out, side)
		}
	}
	return out
}

func (s saved) write(path string) error {
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return host.WriteFile(path, append(b, '\n'), 0o600)
}

// has reports whether the VM called id took password, or nothing is to be taken.
func (s saved) has(side, id string, password []byte) bool {
	m := s[side]
	return m != nil && isMark(m.Marks[id], password)
}

// put remembers a mark, "" none.
func (s saved) put(side, id, mark string) {
	m := s[side]
	if m == nil {
		m = &memory{}
		s[side] = m
	}
	if m.Marks == nil {
		m.Marks = map[string]string{}
	}
	m.Marks[id] = mark
}

// prune forgets the VMs that a side has no more: one that is made again under the name
// is told anew. It reports whether anything changed.
func (s saved) prune(side string, guests []*Guest) bool {
	m := s[side]
	if m == nil {
		return false
	}
	changed := !m.Gone.IsZero()
	m.Gone = time.Time{}
	for id := range m.Marks {
		if !slices.ContainsFunc(guests, func(g *Guest) bool { return g.ID == id }) {
			delete(m.Marks, id)
			changed = true
		}
	}
	if len(m.Marks) == 0 {
		delete(s, side)
		changed = true
	}
	return changed
}

// leave notes that there is no such side, and forgets those that went long ago. It
// reports whether anything changed.
func (s saved) leave(there func(side string) bool, now time.Time) bool {
	changed := false
	for side, m := range s {
		switch {
		case there(side):
		case m.Gone.IsZero():
			m.Gone, changed = now, true
		case now.Sub(m.Gone) > keptFor:
			delete(s, side)
			changed = true
		}
	}
	return changed
}

// taken is what a worker says of a guest: which VM, and the mark of the password that
// it took, for there may be another by the time that the keeper hears of it.
type taken struct {
	Side string `json:"side"`
	ID   string `json:"id"`
	Mark string `json:"mark"`
}

func markOf(password []byte) string { return digest(rand.Text(), password) }

func isMark(mark string, password []byte) bool {
	salt, _, ok := strings.Cut(mark, ":")
	return ok && subtle.ConstantTimeCompare([]byte(digest(salt, password)), []byte(mark)) == 1
}

func digest(salt string, password []byte) string {
	sum := sha256.Sum256(append([]byte(salt+":"), password...))
	return salt + ":" + hex.EncodeToString(sum[:])
}
