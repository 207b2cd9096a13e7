package engine

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"weft.dev/reconcile/host"
	"weft.dev/reconcile/plan"
	"weft.dev/reconcile/resource"
)

// The ends of an apply.
const (
	Applied     = "Applied"     // verified: what was left was nothing
	Failed      = "Failed"      // something of it is still to be done
	Interrupted = "Interrupted" // the process ended in the middle of it
	Running     = "Running"     // it has not ended yet
)

// A Record is one apply in the journal.
type Record struct {
	ID       int           `json:"id"`
	Revision string        `json:"revision,omitempty"`
	Lock     string        `json:"lock,omitempty"`
	Digest   string        `json:"digest"`
	Began    time.Time     `json:"began"`
	Took     time.Duration `json:"took,omitempty"` // nanoseconds
	Tries    int           `json:"tries"`          // of the same plan in a row, this one included
	Outcome  string        `json:"outcome"`
	// Note says why, where that was no commit and no drift.
	Note  string     `json:"note,omitempty"`
	Count plan.Count `json:"count"`
	// Actions lists the first of what was to be done, More counts the rest.
	Actions []Action `json:"actions,omitempty"`
	More    int      `json:"more,omitempty"`
	// Failures lists the first of what went wrong.
	Failures []Failure `json:"failures,omitempty"`
}

// An Action is one action of a plan in short.
type Action struct {
	Verb  plan.Verb      `json:"verb"`
	ID    resource.ID    `json:"id"`
	Owner resource.Owner `json:"owner"`
	Phase plan.Phase     `json:"lifecycle,omitempty"`
	Drift bool           `json:"drift,omitempty"`
}

// A Failure is a resource that could not be made what it should be.
type Failure struct {
	ID    resource.ID    `json:"id"`
	Owner resource.Owner `json:"owner"`
	Error string         `json:"error"`
}

// Bounds of the lists in one record.
const (
	maxActions  = 200
	maxFailures = 50
)

// A journal is a directory with one file per apply. It is written before
// anything is done, so that a crash in the middle shows.
type journal struct {
	dir  string
	keep int
}

func openJournal(stateDir string, keep int) *journal {
	return &journal{filepath.Join(stateDir, "journal"), keep}
}

func (j *journal) path(id int) string { return filepath.Join(j.dir, fmt.Sprintf("%09d.json", id)) }

// ids lists what is there, oldest first.
func (j *journal) ids() []int {
	entries, err := os.ReadDir(j.dir)
	if err != nil {
		return nil // nothing was ever applied
	}
	var out []int
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".json"); ok {
			if id, err := strconv.Atoi(name); err == nil {
				out = append(out, id)
			}
		}
	}
	slices.Sort(out)
	return out
}

// begin writes r ahead of the apply, gives it its ID, and forgets the oldest.
func (j *journal) begin(r *Record) error {
	ids := j.ids()
	r.ID, r.Tries = 1, 1
	if last := j.records(1); len(last) > 0 && last[0].Outcome == Failed && last[0].Digest == r.Digest {
		// Failing again and again must not push out what was done before.
		r.ID, r.Tries, r.Outcome = last[0].ID, last[0].Tries+1, Interrupted
		return j.put(r)
	}
	if len(ids) > 0 {
		r.ID = ids[len(ids)-1] + 1
	}
	for len(ids) >= j.keep {
		if err := os.Remove(j.path(ids[0])); err != nil {
			return fmt.Errorf("journal: %w", err)
		}
		ids = ids[1:]
	}
	r.Outcome = Interrupted // until its end says otherwise
	return j.put(r)
}

func (j *journal) put(r *Record) error {
	b, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	if err := host.WriteFile(j.path(r.ID), append(b, '\n'), 0o600); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	return nil
}

// records returns the last n, newest first. What cannot be read is left out.
func (j *journal) records(n int) []Record {
	ids := j.ids()
	slices.Reverse(ids)
	var out []Record
	for _, id := range ids[:min(n, len(ids))] {
		var r Record
		b, err := os.ReadFile(j.path(id))
		if err == nil && json.Unmarshal(b, &r) == nil && r.ID == id {
			out = append(out, r)
		}
	}
	return out
}

// History returns the last n applies, newest first.
func (e *Engine) History(n int) []Record {
	out := e.journal.records(n)
	for i := range out {
		if out[i].Outcome == Interrupted && int64(out[i].ID) == e.running.Load() {
			out[i].Outcome = Running
		}
	}
	return out
}

// record puts a plan into the words of the journal.
func record(p *plan.Plan, began time.Time) *Record {
	r := &Record{Revision: p.Revision, Lock: p.Lock, Digest: p.Digest, Began: began, Count: p.Count()}
	for _, a := range p.Actions[:min(maxActions, len(p.Actions))] {
		r.Actions = append(r.Actions, Action{a.Verb, a.ID, a.Owner(), a.Phase, a.Drift})
	}
	r.More = len(p.Actions) - len(r.Actions)
	return r
}
