// Package plan compares what a host should have with what it has and says, in
// order, what to do about it.
//
// In go a desired Intent and an Observed host (Diff), or the Intents of two
// commits (Between); out comes a Plan, a value: the same input gives the same
// plan in every process. Engine, drivers and cmd import it; it imports resource
// and schema only. It touches nothing.
package plan

import (
	"slices"

	"weft.dev/reconcile/resource"
)

// A Plan is all that is to be done on one host, and all that is not and why.
type Plan struct {
	Host string
	// Revision and Lock say what the desired state was made of.
	Revision string
	Lock     string
	// Actions, for people, are sorted by owner, kind and name.
	Actions []*Action
	// Steps, for drivers, come in an order that is valid one by one: what
	// must be first is first, making before breaking where both are
	// possible, and by owner, kind and name otherwise.
	Steps []*Step
	// Frozen, when not empty, is why nothing may change here; there are no
	// actions then.
	Frozen string
	// Held are owners that are left alone, Blocked single resources that
	// cannot be made what they should be. Both may hold back others.
	Held    []Held
	Blocked []Blocked
	// Foreign are things of others that were adopted or are in the way.
	Foreign []Foreign
	// Unread are parts of the host that could not be seen: nothing was
	// planned there.
	Unread []resource.Unread
	// Unbound are flow symbols without a port yet: shown, no drift.
	Unbound []Unbound
	// Notices are what others have yet to do: shown, no drift.
	Notices []Notice
	// Observed counts what is ours on the host now, Desired what should be.
	Observed int
	Desired  int
	// Digest stands for all of the plan that an apply must find unchanged.
	Digest string
}

// Held is an owner that is left alone.
type Held struct {
	resource.Hold
	// Resources counts what the owner has on the host.
	Resources int `json:"resources,omitempty"`
}

// Blocked is a resource that should change and cannot.
type Blocked struct {
	ID     resource.ID
	Owner  resource.Owner
	Verb   Verb
	Reason string
	Source Source
}

// A Source is the document line that something comes from.
type Source struct {
	File   string `json:"file,omitempty"`
	Line   int    `json:"line,omitempty"`
	Commit string `json:"commit,omitempty"`
}

// IsZero reports whether nobody knows the line.
func (s Source) IsZero() bool { return s.File == "" }

// Foreign is something that is not ours where something desired stands.
type Foreign struct {
	ID    resource.ID    `json:"id"`
	Owner resource.Owner `json:"owner"`
	Words string         `json:"words"`
	// Adopted things serve as they are; others are in the way.
	Adopted bool `json:"adopted,omitempty"`
}

// Unbound lists an owner's flow symbols that have no port.
type Unbound struct {
	Owner   resource.Owner `json:"owner"`
	Symbols []string       `json:"symbols"`
}

// Notice is what somebody else has yet to do for an owner, in words.
type Notice struct {
	Owner resource.Owner `json:"owner"`
	Words []string       `json:"words"`
}

// Options say what belongs to a plan beside the two states.
type Options struct {
	// Last is what was intended when the host was last made so; nil when
	// nobody knows, and nothing is called drift then.
	Last *resource.Intent
	// Target, when not empty, limits the plan to these owners.
	Target []resource.Owner
	// Declared reports whether a document declares an owner that has nothing on the
	// host any more; nil: none does.
	Declared func(resource.Owner) bool
	// Withhold are resources that must not be made or changed now, and why: they are
	// blocked.
	Withhold map[resource.ID]string
	// Renew are resources that are replaced though they are what they should be, and
	// why; what is not there or not wanted is not renewed.
	Renew map[resource.ID]string
	// Revision names the desired commit, Lock the digest of its lock file.
	Revision string
	Lock     string
}

// Empty reports whether nothing is to be done. What is blocked or held is
// not to be done.
func (p *Plan) Empty() bool { return len(p.Actions) == 0 }

// Converged reports whether the host is all it should be: nothing to do and
// nothing in the way. Held owners do not count, they are as they should be.
func (p *Plan) Converged() bool { return p.Empty() && len(p.Blocked) == 0 && len(p.Unread) == 0 }

// Settled is Converged but for what is at other machines than the host.
func (p *Plan) Settled() bool {
	return !slices.ContainsFunc(p.Blocked, func(b Blocked) bool { return !b.ID.Kind.Outside() }) &&
		!slices.ContainsFunc(p.Actions, func(a *Action) bool { return !a.ID.Kind.Outside() }) &&
		!slices.ContainsFunc(p.Unread, func(u resource.Unread) bool { return !u.Kind.Outside() })
}

// A Count sums up actions. A replaced resource is one removed and one added.
type Count struct {
	Add        int `json:"add"`
	Change     int `json:"change"`
	Destroy    int `json:"destroy"`
	Disruptive int `json:"disruptive"`
	Drift      int `json:"drift"`
}

// Count sums up the plan.
func (p *Plan) Count() Count {
	var c Count
	for _, a := range p.Actions {
		switch a.Verb {
		case Create:
			c.Add++
		case Update:
			c.Change++
		case Replace:
			c.Add++
			c.Destroy++
		case Delete:
			c.Destroy++
		}
		if a.Disrupts != "" {
			c.Disruptive++
		}
		if a.Drift {
			c.Drift++
		}
	}
	return c
}

// Plus adds o.
func (c Count) Plus(o Count) Count {
	return Count{c.Add + o.Add, c.Change + o.Change, c.Destroy + o.Destroy, c.Disruptive + o.Disruptive, c.Drift + o.Drift}
}
