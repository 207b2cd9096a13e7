// Package drivertest is the suite that every driver passes: create, repeat,
// change each field, replace, delete, observe after a restart, foreign objects
// untouched, killed midway.
//
// In goes a Fixture: how to get a driver upon a host, and sample states; out
// come test failures. Only tests import it.
package drivertest

import (
	"testing"

	"weft.dev/reconcile/driver"
	"weft.dev/reconcile/resource"
)

// Owner owns every sample of a fixture that names no other.
const Owner = resource.Owner("network/acme/web")

// A Fixture is one host of a test and what to try on it. Run leaves the host
// as it found it, so that one host serves all samples.
type Fixture struct {
	// New returns a driver that has just started upon the host: nothing may be
	// shared with those returned before but the host itself. It is called
	// often, so the host is made outside.
	New func(t *testing.T) driver.Driver
	// Owner of the samples; default drivertest.Owner.
	Owner resource.Owner
	// Under are the states of the driver's own kinds that every sample stands
	// on. What other drivers make (a namespace for chains) the test has to
	// make itself before; needs and parents of kinds that the driver does not serve
	// count as there.
	Under   []resource.State
	Samples []Sample
	Foreign []Foreign
}

// A Sample is one resource and its life.
type Sample struct {
	// Name of the sub-test; default the ID.
	Name string
	// Under are states of the driver's own kinds that this sample stands on,
	// beside those of the fixture, parents first.
	Under []resource.State
	State resource.State
	// Changed are states of the same ID, each different from State in one
	// thing: every field once at least, fixed ones too. The suite goes from State to
	// each and back.
	Changed []resource.State
	// Spoil changes the resource by another hand without removing it; it must
	// be seen as different from State and be healed. nil where nobody can.
	Spoil func(t *testing.T)
	// Vanish removes the resource by another hand; it must be seen as gone and
	// be made again. nil where nobody can.
	Vanish func(t *testing.T)
	// Check looks at the host with other eyes than the driver's when state
	// should stand there, or should be gone (nil). nil: the driver is believed.
	Check func(t *testing.T, state resource.State) error
}

// A Foreign is something of somebody else's on the host.
type Foreign struct {
	Name string
	// Make makes it and arranges its removal by t.Cleanup.
	Make func(t *testing.T)
	// Intact returns what is wrong with it, nil when it is as it was made.
	Intact func(t *testing.T) error
	// InTheWay is a state that would stand where it stands; the driver must
	// list its ID in Observed.Foreign and not in Observed.Set. nil for things that are merely there.
	InTheWay resource.State
	// Forbidden says that Do must refuse InTheWay should it be tried all the
	// same, as when the foreign thing appears between plan and apply.
	Forbidden bool
}
