package engine

import (
	"cmp"
	"strings"

	"weft.dev/reconcile/resource"
)

// A lane is what is tried again together: what an owner has on this host, or what it has
// at other machines. Those fail for reasons of their own, and hold back nothing here.
type lane struct {
	owner   resource.Owner
	outside bool
}

func laneOf(id resource.ID, o resource.Owner) lane { return lane{o, id.Kind.Outside()} }

func (l lane) compare(o lane) int {
	if c := cmp.Compare(l.owner, o.owner); c != 0 || l.outside == o.outside {
		return c
	}
	if l.outside {
		return 1
	}
	return -1
}

// unreached lists the machines that could not be read as failures of all who want
// something there; of the host where nobody does any more.
func (w *pass) unreached() []Failure {
	var out []Failure
	known := map[resource.ID]bool{}
	for _, u := range w.result.Left.Unread {
		at, n := resource.ID{Kind: u.Kind, Name: u.NS}, len(out)
		if !u.Kind.Outside() || known[at] {
			continue
		}
		known[at] = true
		for _, f := range w.desired.Fragments {
			for _, e := range f.Entries() {
				if e.State.ID().Kind == u.Kind && (u.NS == "" || strings.HasPrefix(e.State.ID().Name, u.NS+"/")) {
					out = append(out, Failure{at, f.Owner, u.Err})
					break
				}
			}
		}
		if len(out) == n {
			out = append(out, Failure{at, resource.Owner("host/" + w.host.Name), u.Err})
		}
	}
	return out
}

// joined appends x to list; two of one owner are one.
func joined(list []Outcome, x Outcome) []Outcome {
	if len(list) == 0 || list[len(list)-1].Owner != x.Owner {
		return append(list, x)
	}
	to := &list[len(list)-1]
	to.Actions += x.Actions
	to.Drift += x.Drift
	to.Failures = append(to.Failures, x.Failures...)
	to.Waits = cmp.Or(to.Waits, x.Waits)
	if to.Retry.IsZero() || !x.Retry.IsZero() && x.Retry.Before(to.Retry) {
		to.Retry = x.Retry
	}
	return list
}
