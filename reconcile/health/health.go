// Package health asks the services of a host's routers whether they are well, and
// says what is to be done where one is not.
//
// In go the routers of an intent with their probes; out come results for a status
// and metrics, and Cures for whoever changes the host: the agent, by an ordinary
// pass. It belongs to the shell: it enters namespaces and sends packets. The agent
// imports it.
package health

import (
	"cmp"
	"context"
	"hash/fnv"
	"slices"
	"sync"
	"time"

	"weft.dev/reconcile/resource"
	"weft.dev/reconcile/status"
)

// An Asker puts one question in a namespace and waits for the answer, for as long
// as ctx lets it. The words are for people. ErrAbsent says that there is nobody to
// be asked here now, which is no failure of theirs.
type Asker interface {
	Ask(ctx context.Context, ns string, p resource.Probe) (words string, err error)
}

// Config is what a Checker is made of.
type Config struct {
	Asker Asker
	// Changed, which may be nil, is told when a service became well or sick.
	Changed func()
	// Now is the clock; default time.Now.
	Now func() time.Time
}

// Bounds of what is done at a time, and how long an answer may take: many times what
// the slowest one took on two busy cores, but where checks are to be often.
const (
	rounds   = 16
	abreast  = 4
	timeout  = 5 * time.Second
	shortest = 2 * time.Second
)

// A Checker looks after routers. Make one with New; Run asks until its context ends.
type Checker struct {
	cfg   Config
	cures chan Cure
	slots chan struct{} // of rounds

	mu      sync.Mutex
	ctx     context.Context // of Run; nil before
	running sync.WaitGroup
	routers map[string]*watched // by namespace
	acted   time.Time
	down    map[string]bool
	anew    map[resource.ID]time.Time // when each was made anew last
}

// watched is a router that is looked after.
type watched struct {
	patient
	stop context.CancelFunc // of its rounds; nil while they do not run
	turn chan struct{}      // its interval is another: the next round is not when it was to be
}

// New returns a checker that knows no router yet.
func New(c Config) *Checker {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Changed == nil {
		c.Changed = func() {}
	}
	return &Checker{cfg: c, cures: make(chan Cure), slots: make(chan struct{}, rounds), routers: map[string]*watched{}, anew: map[resource.ID]time.Time{}}
}

// Cures are what is to be done, one at a time. Who takes one has Treat carry it out.
func (c *Checker) Cures() <-chan Cure { return c.cures }

// Treat has act carry a cure out; while it does, no answer of that router counts. It does
// not, and returns false, where nothing may be done since the cure was offered.
func (c *Checker) Treat(cure Cure, act func()) bool {
	c.mu.Lock()
	w := c.routers[cure.NS]
	leave := w == nil || w.router.Leave != "" || w.router.Keep != "" && cure.Rebuilds() || c.down[w.process(cure.Service)]
	c.mu.Unlock()
	if leave {
		return false
	}
	note := func(f func(w *watched)) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.acted = c.cfg.Now()
		if w := c.routers[cure.NS]; w != nil {
			f(w)
		}
	}
	note(func(w *watched) {
		w.treat(cure, c.acted)
		c.anew[cure.ID] = c.acted
	})
	defer note(func(w *watched) { w.done() })
	act()
	return true
}

// Watch says which routers there are from now on, and by name which processes cannot be
// started: they are not treated. What is known of a router that stays stays; one whose
// questions are others is asked them from the next round on, which another interval moves.
func (c *Checker) Watch(routers []Router, down map[string]bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.down = down
	there := map[string]bool{}
	for _, r := range routers {
		there[r.NS] = true
		w := c.routers[r.NS]
		if w == nil {
			w = &watched{patient: newPatient(), turn: make(chan struct{}, 1)}
			c.routers[r.NS] = w
		} else if w.router.Every != r.Every {
			select {
			case w.turn <- struct{}{}:
			default:
			}
		}
		w.down = down
		w.take(r, c.cfg.Now())
		c.begin(w)
	}
	for ns, w := range c.routers {
		if !there[ns] {
			if w.stop != nil {
				w.stop()
			}
			delete(c.routers, ns)
		}
	}
}

// Run asks until ctx ends.
func (c *Checker) Run(ctx context.Context) {
	c.mu.Lock()
	c.ctx = ctx
	for _, w := range c.routers {
		c.begin(w)
	}
	c.mu.Unlock()
	<-ctx.Done()
	c.mu.Lock()
	c.ctx = nil
	c.mu.Unlock()
	c.running.Wait()
}

// begin starts the rounds of w where they do not run yet.
func (c *Checker) begin(w *watched) {
	if c.ctx == nil || w.stop != nil {
		return
	}
	ctx, stop := context.WithCancel(c.ctx)
	w.stop = stop
	c.running.Go(func() {
		defer stop()
		c.look(ctx, w)
	})
}

// firstRound bounds how long a new router waits for its first round: all of a host
// are spread over that time, and over the interval afterwards.
const firstRound = 5 * time.Second

// spread is where in an interval the turn of a router comes, the same at any time.
func spread(ns string, every time.Duration) time.Duration {
	h := fnv.New64a()
	_, _ = h.Write([]byte(ns))
	return time.Duration(h.Sum64() % uint64(max(every, 1)))
}

// first is how long w waits for its first round, or for the first by a new interval.
func (c *Checker) first(w *watched) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return spread(w.router.NS, min(w.router.Every, firstRound))
}

// look makes the rounds of one router.
func (c *Checker) look(ctx context.Context, w *watched) {
	wait := c.first(w)
	for {
		due := c.cfg.Now().Add(wait)
		select {
		case <-time.After(wait):
		case <-w.turn:
			wait = c.first(w)
			continue
		case <-ctx.Done():
			return
		}
		select {
		case c.slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		late := c.cfg.Now().Sub(due)
		c.round(ctx, w, late)
		<-c.slots
		c.offer(ctx, w)
		c.mu.Lock()
		wait = w.next()
		c.mu.Unlock()
	}
}

// round asks every question of w once.
func (c *Checker) round(ctx context.Context, w *watched, late time.Duration) {
	c.mu.Lock()
	router := w.router
	c.mu.Unlock()
	questions := router.questions()
	answers := make([]answer, len(questions))
	var asking sync.WaitGroup
	next := make(chan int)
	for range min(abreast, len(questions)) {
		asking.Go(func() {
			for i := range next {
				answers[i] = c.ask(ctx, &router, questions[i])
			}
		})
	}
	for i := range questions {
		next <- i
	}
	close(next)
	asking.Wait()
	if ctx.Err() != nil {
		return
	}
	c.mu.Lock()
	changed := w.hear(questions, answers, late, c.cfg.Now())
	c.mu.Unlock()
	if changed {
		c.cfg.Changed()
	}
}

func (c *Checker) ask(ctx context.Context, r *Router, q question) answer {
	ctx, cancel := context.WithTimeout(ctx, min(timeout, max(shortest, r.Every)))
	defer cancel()
	began := c.cfg.Now()
	words, err := c.cfg.Asker.Ask(ctx, r.NS, q.Probe)
	return answer{words: words, err: err, took: c.cfg.Now().Sub(began)}
}

// The least time between two cures on a host, and two of one thing that several routers
// complain of, and how long a cure is offered: the agent may be in the middle of
// something that takes long, or heals it.
const (
	pace    = 2 * time.Second
	shared  = 10 * time.Second
	offered = 5 * time.Second
)

// offer hands on what is to be done for w, if anything.
func (c *Checker) offer(ctx context.Context, w *watched) {
	c.mu.Lock()
	now := c.cfg.Now()
	cure, ok := w.cure(now)
	if ok && (c.failing() || now.Sub(c.acted) < pace || now.Sub(c.anew[cure.ID]) < shared) {
		ok = false
	}
	c.mu.Unlock()
	if !ok {
		return
	}
	late := time.NewTimer(offered)
	defer late.Stop()
	select {
	case c.cures <- cure:
	case <-late.C: // the next round asks again
	case <-ctx.Done():
	}
}

// Where all of several routers are sick at once, or more than this share of many, it is
// the host that is, and starting all of them anew makes it no better. Of one or two both
// may well be sick for themselves.
const (
	several  = 3
	many     = 6
	manySick = 2 // one in so many
)

// failing reports whether the host is what is sick.
func (c *Checker) failing() bool {
	sick := 0
	for _, w := range c.routers {
		if w.sick() {
			sick++
		}
	}
	all := len(c.routers)
	return all >= several && sick == all || all >= many && sick*manySick > all
}

// Routers says how all of them are, by name.
func (c *Checker) Routers() []status.Router {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]status.Router, 0, len(c.routers))
	for _, w := range c.routers {
		out = append(out, w.state())
	}
	slices.SortFunc(out, func(a, b status.Router) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.NS, b.NS)) })
	return out
}
