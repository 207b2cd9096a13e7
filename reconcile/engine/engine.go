// Package engine makes a host what an intent says: observe, diff, apply,
// verify by the same diff being empty.
//
// In go a desired Intent and the drivers of a host; out come Results, and on
// the host's disk a journal of what was done and the intent that was verified
// last. It decides when and in which order, never what: that is plan's. It reads
// the clock that it is given and does not sleep. The agent and cmd import it.
package engine

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"weft.dev/reconcile/driver"
	"weft.dev/reconcile/host"
	"weft.dev/reconcile/plan"
	"weft.dev/reconcile/resource"
)

// A Digester is a driver whose desired states need something of the host
// before they can be compared, such as digests of secrets. It returns another
// intent and leaves the given one as it is.
type Digester interface {
	Digest(in *resource.Intent) *resource.Intent
}

// A Settler is a driver with something to say when all drivers are done, such as to
// neighbours that could not hear it before. Settle is called once, after the last
// round of a pass that carried something out, and waits for nothing; the process may
// end when it returns.
type Settler interface {
	Settle(ctx context.Context)
}

// Settings are what an Engine takes from outside beside its drivers; the zero
// value is right for production.
type Settings struct {
	// Now is the clock; default time.Now.
	Now func() time.Time
	// Jitter returns numbers in [0,1) that keep hosts from retrying together;
	// default math/rand.
	Jitter func() float64
	// Limits bound what is removed without consent.
	Limits plan.Limits
	// Did, which may be nil, hears of every call of a driver's Do.
	Did func(d driver.Driver, steps int, took time.Duration)
	// Keep is how many applies the journal holds; default 100.
	Keep int
	// Closed, which may be nil, says why nobody may change the host now but
	// the trial of that ID. It is asked under the lock.
	Closed func(trial string) error
}

// An Engine reconciles one host. One call of Reconcile runs at a time; the
// other methods may be called at any time.
type Engine struct {
	host     *host.Host
	drivers  []driver.Driver
	by       map[resource.Kind]int // which driver answers for a kind
	settings Settings
	maxBatch int
	journal  *journal

	running atomic.Int64 // the ID of the apply that runs; 0 for none

	pass sync.Mutex // held by the one Reconcile that runs
	mu   sync.Mutex
	// seen is what each driver observed last; nil before it was asked.
	seen     []*resource.Observed
	verified Stored
	stamp    stamp // of the file that verified was read from or written to
	backoff  map[lane]*backoff
}

// New returns the engine of h. It panics when two drivers answer for one kind.
func New(h *host.Host, drivers []driver.Driver, s Settings) *Engine {
	if s.Now == nil {
		s.Now = time.Now
	}
	if s.Jitter == nil {
		s.Jitter = rand.Float64
	}
	if s.Keep <= 0 {
		s.Keep = 100
	}
	e := &Engine{
		host: h, drivers: drivers, by: map[resource.Kind]int{}, settings: s, maxBatch: maxBatch,
		journal: openJournal(h.StateDir, s.Keep),
		seen:    make([]*resource.Observed, len(drivers)), backoff: map[lane]*backoff{},
	}
	for i, d := range drivers {
		for _, k := range d.Kinds() {
			if _, taken := e.by[k]; taken {
				panic(fmt.Sprintf("two drivers answer for %s", k))
			}
			e.by[k] = i
		}
	}
	e.refresh()
	return e
}

// Drivers lists the drivers, for those who watch them.
func (e *Engine) Drivers() []driver.Driver { return e.drivers }

// Prepare fills in what only this host knows of a desired intent.
func (e *Engine) Prepare(in *resource.Intent) *resource.Intent {
	for _, d := range e.drivers {
		if d, ok := d.(Digester); ok {
			in = d.Digest(in)
		}
	}
	return in
}

// settle lets drivers end what they began.
func (e *Engine) settle(ctx context.Context) {
	for _, d := range e.drivers {
		if d, ok := d.(Settler); ok {
			d.Settle(ctx)
		}
	}
}

// binding reports whether there is a process that binds to a device.
func binding(set resource.Set) bool {
	for _, e := range set {
		if p, ok := e.State.(resource.Process); ok && p.Device != "" {
			return true
		}
	}
	return false
}

// telling reports whether there is a record that one of a pair of routers tells.
func telling(set resource.Set) bool {
	for _, e := range set {
		if r, ok := e.State.(resource.Record); ok && r.With != nil {
			return true
		}
	}
	return false
}

// Observe asks the drivers of scope, all at once. What a driver could not read
// at all is Unread for all its kinds. Where scope names kinds, the others are
// as they were when they were observed last.
func (e *Engine) Observe(ctx context.Context, scope driver.Scope) *resource.Observed {
	results := make([]*resource.Observed, len(e.drivers))
	var all group
	kinds := scope.Kinds
	if slices.Contains(kinds, resource.KindFile) {
		// Who reads a file may have read what is there now.
		kinds = append(slices.Clip(kinds), resource.KindProcess)
	}
	if slices.Contains(kinds, resource.KindLink) && binding(scope.Desired) {
		// Who is bound to a device hears nothing of another that takes its place.
		kinds = append(slices.Clip(kinds), resource.KindProcess)
	}
	if slices.Contains(kinds, resource.KindAddr) && telling(scope.Desired) {
		// Which host of a pair of routers tells of names is seen by an address.
		kinds = append(slices.Clip(kinds), resource.KindRecord)
	}
	for i, d := range e.drivers {
		if old := e.lastSeen(i); old != nil && len(kinds) > 0 && !intersect(d.Kinds(), kinds) {
			results[i] = old
			continue
		}
		all.Go(func() { results[i] = observe(ctx, d, scope.Desired) })
	}
	all.Wait()
	e.mu.Lock()
	copy(e.seen, results)
	e.mu.Unlock()
	out := resource.NewObserved()
	for _, r := range results {
		out.Merge(r)
	}
	return out
}

// Guests lists the ports of guests as they were observed last.
func (e *Engine) Guests() []resource.GuestPort {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []resource.GuestPort
	for _, o := range e.seen {
		if o != nil {
			out = append(out, o.Guests...)
		}
	}
	return out
}

func (e *Engine) lastSeen(i int) *resource.Observed {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.seen[i]
}

func observe(ctx context.Context, d driver.Driver, desired resource.Set) *resource.Observed {
	got, err := d.Observe(ctx, driver.Scope{Desired: desired})
	if err == nil {
		return got
	}
	out := resource.NewObserved()
	for _, k := range d.Kinds() {
		out.Unread = append(out.Unread, resource.Unread{Kind: k, Err: err.Error()})
	}
	return out
}

func intersect(a, b []resource.Kind) bool {
	return slices.ContainsFunc(a, func(k resource.Kind) bool { return slices.Contains(b, k) })
}

// Plan observes and compares; it changes nothing. Its plan is the one that a
// Reconcile of the same desired and options carries out while the host stays as it
// is. Of o only Revision, Lock, Target, Declared, Trial and Watched count.
func (e *Engine) Plan(ctx context.Context, desired *resource.Intent, o Options) (*plan.Plan, error) {
	w := e.newPass(desired, Options{Revision: o.Revision, Lock: o.Lock, Target: o.Target, Declared: o.Declared, Trial: o.Trial, Watched: o.Watched})
	p, err := w.diff(ctx, nil)
	return p, errors.Join(err, ctx.Err())
}

// A group runs functions and waits for them; a panic in one is a panic of Wait.
type group struct {
	running sync.WaitGroup
	mu      sync.Mutex
	bug     any
}

// Go runs f in a goroutine.
func (g *group) Go(f func()) {
	g.running.Go(func() {
		defer func() {
			if p := recover(); p != nil {
				g.mu.Lock()
				g.bug = p
				g.mu.Unlock()
			}
		}()
		f()
	})
}

// Wait returns when all have ended.
func (g *group) Wait() {
	g.running.Wait()
	if g.bug != nil {
		panic(g.bug)
	}
}

// Count says how many resources of each kind are ours, as of the last look.
func (e *Engine) Count() map[resource.Kind]int {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := map[resource.Kind]int{}
	for _, o := range e.seen {
		if o == nil {
			continue
		}
		for id := range o.Set {
			out[id.Kind]++
		}
	}
	return out
}
