package agent

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"weft.dev/reconcile/engine"
	"weft.dev/reconcile/plan"
	"weft.dev/reconcile/resource"
	"weft.dev/reconcile/status"
)

// Bounds of what is told of drift.
const (
	maxRepaired   = 50
	maxDriftLines = 20
)

// A driftLog remembers what another hand changed.
type driftLog struct {
	open     map[resource.ID]status.Drift
	repaired []status.Drift // newest first
}

// take notes what a pass found and what it repaired.
func (d *driftLog) take(r *engine.Result, now time.Time) {
	left := map[resource.ID]bool{}
	for _, a := range r.Left.Actions {
		left[a.ID] = true
	}
	open := map[resource.ID]status.Drift{}
	for _, a := range r.Plan.Actions {
		if !a.Drift {
			continue
		}
		x, known := d.open[a.ID]
		if !known {
			x = status.Drift{Owner: a.Owner(), ID: a.ID, Since: r.Began}
		}
		x.What = what(a)
		open[a.ID] = x
	}
	healed := slices.SortedFunc(maps.Keys(open), resource.ID.Compare)
	for id := range d.open {
		if _, still := open[id]; !still && !left[id] {
			open[id] = d.open[id] // it went away by itself
			healed = append(healed, id)
		}
	}
	for _, id := range healed {
		if left[id] {
			continue
		}
		x := open[id]
		x.Healed = now
		d.repaired = slices.Insert(d.repaired, 0, x)
		delete(open, id)
	}
	d.repaired = d.repaired[:min(len(d.repaired), maxRepaired)]
	d.open = open
}

// list returns what is open, by owner and ID.
func (d *driftLog) list() []status.Drift {
	return slices.SortedFunc(maps.Values(d.open), func(a, b status.Drift) int {
		if a.Owner != b.Owner {
			return slices.Compare([]byte(a.Owner), []byte(b.Owner))
		}
		return a.ID.Compare(b.ID)
	})
}

// what says in lines how a resource differs from what it should be.
func what(a *plan.Action) []string {
	var out []string
	switch {
	case a.Before == nil:
		out = append(out, "it is gone")
	case a.After == nil:
		out = append(out, "nobody asked for it")
	}
	for _, c := range a.Changes {
		if !c.Lines {
			out = append(out, fmt.Sprintf("%s is %q, should be %q", c.Field, c.From, c.To))
			continue
		}
		for _, l := range c.Diff {
			switch l.Op { // seen from the host: what is there too much, and what is missing
			case "-":
				out = append(out, c.Field+" has:   "+l.Text)
			case "+":
				out = append(out, c.Field+" lacks: "+l.Text)
			}
		}
	}
	if more := len(out) - maxDriftLines; more > 0 {
		out = append(out[:maxDriftLines], fmt.Sprintf("and %d lines more", more))
	}
	return out
}
