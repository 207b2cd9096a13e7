// Package agent is the daemon of a host: it follows a repository, has each
// revision compiled, lets the engine make the host so and keep it so, and says
// how things stand.
//
// In go a Source of trees, a Compiler and an Engine; out come a status, a unix
// socket for the command line, and metrics. It belongs to the shell; cmd wires
// it.
package agent

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"weft.dev/reconcile/driver"
	"weft.dev/reconcile/engine"
	"weft.dev/reconcile/health"
	"weft.dev/reconcile/host"
	"weft.dev/reconcile/resource"
	"weft.dev/reconcile/source"
	"weft.dev/reconcile/status"
	"weft.dev/schema"
)

// A Source is a repository that is followed; *source.Repo is one.
type Source interface {
	String() string
	Fetch(ctx context.Context) (source.Revision, error)
	Last() (source.Revision, bool)
	Tree(rev source.Revision) (source.Tree, error)
	Watch(ctx context.Context) (<-chan struct{}, error)
}

// A Compiler turns a tree into the intent of this host. It is asked for one
// tree at a time. An error says that the tree could not be read; what is wrong
// with documents are diagnostics, and their owners are held by the intent.
type Compiler interface {
	Compile(ctx context.Context, tree source.Tree) (*Compiled, error)
}

// Compiled is what a tree asks of this host.
type Compiled struct {
	Intent *resource.Intent
	Lock   string // digest of the lock file
	Diags  schema.Diags
	// Guru names who designed an owner's network, "" where nobody did; may be nil.
	Guru func(owner resource.Owner) string
	// Declared reports whether the tree has an owner; may be nil.
	Declared func(owner resource.Owner) bool
	// Guests yields the NICs of the whole tree; nil where nobody knows them.
	Guests iter.Seq[Guest]
	// Notes are facts of the tree for who looks at this host.
	Notes []string
}

// A Seer is a Compiler that takes in which NICs, sorted, have a port on this host,
// though it is none of their VM's hosts. See reports whether that is news, and what
// is compiled then may be another intent. It is called while Compile runs.
type Seer interface {
	See(outside []string) bool
}

// Config is what an Agent is made of. Zero durations are the defaults.
type Config struct {
	Host     *host.Host
	Version  string
	Source   Source
	Compiler Compiler
	Engine   *engine.Engine
	Metrics  *Metrics // nil: none are kept
	Log      *slog.Logger
	// Listen is the address of metrics and health, "" for none.
	Listen string
	// Signatures decides which revisions may be followed; nil: all may.
	Signatures Signatures
	// Roles reads what a router of a pair became, by its namespace; nil: nobody knows.
	Roles func(ns string) []status.Role
	// Asker asks the services of routers how they are; nil: nobody is asked.
	Asker health.Asker
	// Hook is where a forge may say that something was pushed; nil: nowhere.
	Hook *Hook

	Full     time.Duration // between looks at everything; 60 s
	Debounce time.Duration // between a driver's news and the look; 50 ms
	Patience time.Duration // for the first word of the repository, before the stored intent serves; 10 s
	Limit    time.Duration // of one pass; 10 min
}

func (c *Config) fill() {
	for d, value := range map[*time.Duration]time.Duration{
		&c.Full: time.Minute, &c.Debounce: 50 * time.Millisecond, &c.Patience: 10 * time.Second, &c.Limit: 10 * time.Minute,
	} {
		if *d == 0 {
			*d = value
		}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

// An Agent is one run of the daemon. Make one with New and call Run once.
type Agent struct {
	Config
	saved    *saved
	commands chan func()
	news     chan news // from the follower
	refetch  chan struct{}
	stirred  chan struct{} // due has become more
	ready    chan struct{} // closed after the first look at everything
	checker  *health.Checker

	recompile atomic.Bool // the revision in force, though it was compiled already

	fetches atomic.Int64 // begun so far
	beat    atomic.Int64 // when the loop was seen alive, in Unix seconds

	mu     sync.Mutex
	status *status.Status
	deaths map[string]int            // of processes that ended by themselves, by namespace
	pairs  map[string]resource.Owner // routers of pairs, by namespace
	meters []resource.State          // what counts what is told
	due    map[resource.Kind]bool    // to be looked at, as drivers say
	dueAll bool                      // so is everything else
	urgent bool                      // some of it now

	// What follows belongs to the loop.
	hurried  time.Time // when it looked at something without a pause
	compiled *Compiled // in force; nil before there is one
	revision source.Revision
	trouble  trouble
	result   *engine.Result // of the last pass with an intent
	drift    driftLog
	waiters  []waiter
	force    bool // the next pass tries what would have to wait
	consent  bool // the next pass may remove much
	logged   string
	cure     health.Cure // that the next pass carries out
}

// New prepares an agent; it touches nothing yet.
func New(c Config) *Agent {
	c.fill()
	now := time.Now()
	a := &Agent{
		Config: c, saved: openSaved(c.Host), commands: make(chan func()), news: make(chan news),
		refetch: make(chan struct{}, 1), stirred: make(chan struct{}, 1), ready: make(chan struct{}), deaths: map[string]int{},
	}
	a.checker = health.New(health.Config{Asker: c.Asker, Changed: a.feel})
	a.status = &status.Status{
		FormatVersion: status.FormatVersion, Host: c.Host.Name, Instance: c.Host.Instance, Version: c.Version,
		Started: now, Repository: c.Source.String(), LastAppliedRevision: c.Engine.Verified().Revision,
	}
	for _, typ := range []string{status.Ready, status.Reconciling, status.Stalled, status.Drifted, status.Suspended, status.Healthy} {
		a.status.Set(status.Condition{Type: typ, True: typ == status.Reconciling || typ == status.Healthy, Reason: "Starting"}, now)
	}
	return a
}

// Status returns a copy of how things stand.
func (a *Agent) Status() *status.Status {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := a.status.Clone()
	out.Time = time.Now()
	out.Routers = a.routersLocked()
	return out
}

// Run works until ctx ends. It leaves the host's networks as they are. The
// error says why it could not start, or a listener failed.
func (a *Agent) Run(ctx context.Context) error {
	release, err := a.saved.lock()
	if err != nil {
		return err
	}
	defer release()
	if err := a.saved.change(func(s *state) { s.Repository = a.Source.String() }); err != nil {
		a.Log.Error("remember", "error", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer a.Metrics.of(a)()
	closeAPI, err := a.listen()
	if err != nil {
		return err
	}
	defer closeAPI()
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	running.Go(func() { a.follow(ctx) })
	running.Go(func() { a.wake(ctx) })
	if a.Asker != nil {
		running.Go(func() { a.checker.Run(ctx) })
	}
	for _, d := range a.Engine.Drivers() {
		running.Go(func() { a.watch(ctx, d) })
	}
	a.loop(ctx)
	notify("STOPPING=1")
	return nil
}

// watch passes on what a driver notices, and starts its watch again if that
// fails.
func (a *Agent) watch(ctx context.Context, d driver.Driver) {
	pause := time.Second
	for ctx.Err() == nil {
		began := time.Now()
		err := a.recovering(func() error {
			return d.Watch(ctx, func(s driver.Scope) {
				kinds := s.Kinds
				if len(kinds) == 0 {
					kinds = d.Kinds()
				}
				a.stir(kinds, s.Now)
			})
		})
		if err == nil || ctx.Err() != nil {
			return // it cannot watch, or need not any more
		}
		a.Log.Warn("watch failed; starting it again", "kind", d.Kinds()[0], "error", err)
		if time.Since(began) > time.Minute {
			pause = time.Second
		}
		if !host.Sleep(ctx, pause) {
			return
		}
		pause = min(2*pause, 30*time.Second)
	}
}

// stir has the loop look at kinds, none for all, soon, or now if it did not hurry lately. It does
// not block.
func (a *Agent) stir(kinds []resource.Kind, now bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.urgent = a.urgent || now
	if a.due == nil {
		a.due = map[resource.Kind]bool{}
	}
	a.dueAll = a.dueAll || len(kinds) == 0
	for _, k := range kinds {
		a.due[k] = true
	}
	select {
	case a.stirred <- struct{}{}:
	default: // it knows
	}
}

// takeDue returns what is to be looked at, nil for everything, and forgets it.
func (a *Agent) takeDue() []resource.Kind {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := slices.Sorted(maps.Keys(a.due))
	if a.dueAll {
		out = nil
	}
	a.due, a.dueAll, a.urgent = nil, false, false
	return out
}

// unhurried is how many pauses the loop makes before news that cannot wait are
// looked at without one again: where they come in a storm, each look takes many.
const unhurried = 10

// hurry reports whether what is due is to be looked at without a pause.
func (a *Agent) hurry() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.urgent || time.Since(a.hurried) < unhurried*a.Debounce {
		return false
	}
	a.hurried = time.Now()
	return true
}

// A bug is a panic that was recovered.
type bug struct{ what any }

// Error implements error.
func (b bug) Error() string { return fmt.Sprintf("bug in weft: %v", b.what) }

// recovering runs f and turns a panic into an error. Only loops use it.
func (a *Agent) recovering(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = bug{p}
			a.Log.Error("panic", "what", fmt.Sprint(p), "stack", stack())
		}
	}()
	return f()
}

func isBug(err error) bool {
	var b bug
	return errors.As(err, &b)
}
