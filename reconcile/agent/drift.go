package agent

import (
	"cmp"
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
	for _, b := range r.Left.Blocked {
		left[b.ID] = true
	}
	open := map[resource.ID]status.Drift{}
	drifted, with := roots(r.Plan)
	for _, a := range drifted {
		x, known := d.open[a.ID]
		if !known {
			x = status.Drift{Owner: a.Owner(), ID: a.ID, Since: r.Began}
		}
		x.What = what(a, with[a.ID])
		open[a.ID] = x
	}
	healed := slices.SortedFunc(maps.Keys(open), resource.ID.Compare)
	for id, x := range d.open {
		switch _, still := open[id]; {
		case still || left[id]:
		case held(r.Left, x.Owner): // nobody looks whether it still differs
		default:
			open[id] = x // it went away by itself
			healed = append(healed, id)
		}
	}
	var repaired []status.Drift
	for _, id := range healed {
		if left[id] || unread(r.Left, id.Kind) {
			continue
		}
		x := open[id]
		x.Healed = now
		repaired = append(repaired, x)
		delete(open, id)
	}
	slices.SortStableFunc(repaired, byOwner)
	d.repaired = append(repaired, d.repaired...)
	d.repaired = d.repaired[:min(len(d.repaired), maxRepaired)]
	d.open = open
}

func held(p *plan.Plan, o resource.Owner) bool {
	return slices.ContainsFunc(p.Held, func(h plan.Held) bool { return h.Owner == o })
}

// unread reports whether nobody knows of resources of a kind what they are.
func unread(p *plan.Plan, k resource.Kind) bool {
	return slices.ContainsFunc(p.Unread, func(u resource.Unread) bool { return u.Kind == k })
}

// roots lists what drifted by itself, and how many things are gone with each.
func roots(p *plan.Plan) (drifted []*plan.Action, with map[resource.ID]int) {
	gone := map[resource.ID]*plan.Action{}
	for _, a := range p.Actions {
		if a.Drift && a.Before == nil {
			gone[a.ID] = a
		}
	}
	with = map[resource.ID]int{}
	for _, a := range p.Actions {
		if !a.Drift || a.Implied {
			continue
		}
		root := a
		for root.Before == nil {
			parent, ok := resource.Parent(root.After.State)
			if !ok || gone[parent] == nil {
				break
			}
			root = gone[parent]
		}
		if root == a {
			drifted = append(drifted, a)
		} else {
			with[root.ID]++
		}
	}
	return drifted, with
}

func byOwner(a, b status.Drift) int { return cmp.Compare(a.Owner, b.Owner) }

// list returns what is open, by owner and ID.
func (d *driftLog) list() []status.Drift {
	return slices.SortedFunc(maps.Values(d.open), func(a, b status.Drift) int {
		return cmp.Or(byOwner(a, b), a.ID.Compare(b.ID))
	})
}

// what says in lines how a resource differs from what it should be, and how
// many others are gone with it.
func what(a *plan.Action, with int) []string {
	var out []string
	switch {
	case a.Before == nil && with > 0:
		out = append(out, fmt.Sprintf("it is gone, and %d more with it", with))
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
		field := c.Field + " "
		if c.Field == "drift" {
			field = "" // a driver's own words
		}
		for _, l := range c.Diff {
			switch { // seen from the host: what is there too much, and what is missing
			case l.Op == "-":
				out = append(out, field+"extra:   "+l.Text)
			case l.Op == "+":
				out = append(out, field+"missing: "+l.Text)
			case field == "":
				out = append(out, l.Text)
			}
		}
	}
	if more := len(out) - maxDriftLines; more > 0 {
		out = append(out[:maxDriftLines], fmt.Sprintf("and %d lines more", more))
	}
	return out
}
