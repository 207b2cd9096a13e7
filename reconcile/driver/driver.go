// Package driver is the contract of those who act on a host: a driver observes
// and changes the resources of some kinds, and decides nothing.
//
// In goes a host (reconcile/host) and steps of a plan; out come observations
// and errors. The engine imports it, plugins/drivers implement it.
package driver

import (
	"context"

	"weft.dev/reconcile/plan"
	"weft.dev/reconcile/resource"
)

// A Driver makes resources of some kinds true on one host. It has no memory
// that matters: what is ours is marked on the host, so that a fresh process
// recognises it. It is safe for concurrent use.
type Driver interface {
	// Kinds lists the kinds this driver answers for.
	Kinds() []resource.Kind

	// Observe returns everything of its kinds that carries our mark within
	// scope, what is foreign where scope wants something, and what could not be
	// read. It changes nothing. An error means that nothing is known.
	Observe(ctx context.Context, scope Scope) (*resource.Observed, error)

	// Do executes steps in one transaction where the backend has them. Steps
	// come in an order that is valid to execute one by one; a step's After may
	// name other steps of the same call, and a step whose predecessor failed
	// is answered with plan.ErrSkipped. A failed batch is retried split by
	// owner, so that one owner's fault does not hold back another. Doing a
	// step twice is the same as doing it once. The result has one error per
	// step.
	Do(ctx context.Context, steps []*plan.Step) []error

	// Watch calls changed, which does not block, whenever something in its
	// kinds may have changed by another hand, until ctx ends. A driver that
	// cannot tell returns nil at once: it is then looked at by timer.
	Watch(ctx context.Context, changed func(Scope)) error

	// Epoch returns a number that changes whenever the scope may have
	// changed, at a fraction of the cost of Observe; false if it cannot.
	Epoch(ctx context.Context, scope Scope) (uint64, bool)
}

// Scope says what to look at.
type Scope struct {
	// Desired is what is wanted, by ID; nil when nobody knows. Drivers use
	// it to say what foreign things are in the way and which symbols of flows
	// are unbound.
	Desired resource.Set
	// Kinds limits the look; empty is all.
	Kinds []resource.Kind
	// Now is set by a Watch for what packets wait for, such as a guest's port that
	// came: unless there is much of it, who is told looks at once.
	Now bool
}

// A Counter is a driver that reads what the states count that have a Meter: those of
// its kinds among all that are given. What cannot be read is left out. It changes
// nothing and may be called at any time.
type Counter interface {
	Count(ctx context.Context, metered []resource.State) []Count
}

// A Count is what one state counted since it was made: a link what it received and
// sent, a chain what its first rule saw, as Received.
type Count struct {
	State          resource.State
	Received, Sent Traffic
}

// Traffic is what passed.
type Traffic struct{ Packets, Bytes uint64 }
