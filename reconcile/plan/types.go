package plan

import (
	"errors"
	"time"

	"weft.dev/reconcile/resource"
)

// A Verb says what happens to a resource; its value is the glyph people see.
type Verb string

// The verbs.
const (
	Create  Verb = "+"
	Update  Verb = "~"
	Replace Verb = "-/+"
	Delete  Verb = "-"
)

// ErrSkipped marks a step that was not tried because one it needs failed.
var ErrSkipped = errors.New("skipped")

// A Step is what a driver executes: make its state true, or drop what is
// there. A resource that vanished with its parent and is wanted again has a
// making step only, with a Before that is gone by then.
type Step struct {
	// Index is the step's place in its plan.
	Index  int
	Action *Action
	// Drop steps remove Action.Before; others make Action.After true.
	Drop bool
	// After lists the indices of steps that must have succeeded before.
	After []int
}

// ID is the resource the step is about.
func (s *Step) ID() resource.ID { return s.Action.ID }

// Before is what is there now, or nil.
func (s *Step) Before() resource.State {
	if s.Action.Before == nil {
		return nil
	}
	return s.Action.Before.State
}

// State is what the step makes true; nil on a Drop.
func (s *Step) State() resource.State {
	if s.Drop || s.Action.After == nil {
		return nil
	}
	return s.Action.After.State
}

// Owner is whose resource it is.
func (s *Step) Owner() resource.Owner {
	if s.Action.After != nil {
		return s.Action.After.Owner
	}
	return s.Action.Before.Owner
}

// An Action is what a person reads: one resource and its fate.
type Action struct {
	ID      resource.ID
	Verb    Verb
	Before  *resource.Entry // nil on create
	After   *resource.Entry // nil on delete
	Changes []Change
	// Reason says why where the changes alone do not.
	Reason string
	// Implied actions happen by themselves with their parent.
	Implied bool
	// Disrupts says whom the action disturbs and how; "" = nobody.
	Disrupts string
	// Drift: the difference is somebody else's doing, not a new intent.
	Drift bool
	// Phase is the lifecycle verb that the action is shown under.
	Phase Phase
	// Wait is how long a host waits before it, from when it first sees that nothing
	// of the owner runs.
	Wait time.Duration
}

// A Phase is a verb of a network's lifecycle. It labels actions, nothing more.
type Phase string

// The phases, in CloudStack's words.
const (
	Design    Phase = "design"    // the topology of an owner that is there already
	Implement Phase = "implement" // an owner that is new here, or the services of one that is there
	Prepare   Phase = "prepare"   // for NICs
	Release   Phase = "release"   // of NICs, or an owner that is on other hosts only from now on
	Shutdown  Phase = "shutdown"  // an owner of which nothing runs any more
	Trash     Phase = "trash"     // an owner that no document declares, or what nobody asked for
)

// Phases lists them in the order in which they are shown.
func Phases() []Phase { return []Phase{Design, Implement, Prepare, Release, Shutdown, Trash} }

// A Change is one field that differs.
type Change struct {
	Field string `json:"field"`
	From  string `json:"from,omitempty"`
	To    string `json:"to,omitempty"`
	// Lines: From and To are the removed and the added lines of a text.
	Lines bool `json:"lines,omitempty"`
	// Diff is the difference line by line, with a little of what stays.
	Diff []Line `json:"diff,omitempty"`
	// Source is the document line that all of it follows from, where that is another
	// than the resource's.
	Source Source `json:"source,omitzero"`
}
