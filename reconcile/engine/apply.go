package engine

import (
	"context"
	"errors"
	"fmt"

	"weft.dev/reconcile/plan"
	"weft.dev/reconcile/resource"
)

// Apply executes p and returns one error per step. Drivers run at the same
// time, each one batch at a time, made of all steps that are ready or wait for
// others of the batch only. A failed step holds back what depends on it and
// nothing else. Removals that nothing waits for come last. Steps for which skip,
// which may be nil, gives an error are not tried.
func (e *Engine) Apply(ctx context.Context, p *plan.Plan, skip func(*plan.Step) error) []error {
	s := newSchedule(e, p)
	s.skip(skip)
	return s.run(ctx)
}

// A schedule is one execution of a plan. One goroutine owns it.
type schedule struct {
	engine *Engine
	plan   *plan.Plan
	done   []bool
	errs   []error
	late   []bool  // removals that nothing waits for
	wait   []int   // unfinished predecessors
	named  [][]int // steps that make ports that the flows of a step name, though they need them not
	rush   bool    // nothing goes on but what waits for named ports
	next   [][]int // who waits for a step
	left   int     // steps not done
	early  int     // of these not late
	busy   []bool  // by driver
	queue  [][]int // by driver: its steps in the plan's order, without those done or running
	ended  chan ended
}

// ended is the news of one batch.
type ended struct {
	driver int
	steps  []int
	errs   []error
	bug    any
}

func newSchedule(e *Engine, p *plan.Plan) *schedule {
	n := len(p.Steps)
	s := &schedule{
		engine: e, plan: p, done: make([]bool, n), errs: make([]error, n), late: make([]bool, n), wait: make([]int, n),
		next: make([][]int, n), left: n, early: n,
		named: namedPorts(p), busy: make([]bool, len(e.drivers)), queue: make([][]int, len(e.drivers)), ended: make(chan ended),
	}
	for i, st := range p.Steps {
		if st.Index != i {
			panic(fmt.Sprintf("step %d of the plan says that it is step %d", i, st.Index))
		}
		s.wait[i] = len(st.After)
		for _, j := range st.After {
			s.next[j] = append(s.next[j], i)
		}
	}
	for i := n - 1; i >= 0; i-- {
		s.late[i] = p.Steps[i].Drop
		for _, j := range s.next[i] {
			s.late[i] = s.late[i] && s.late[j]
		}
		if s.late[i] {
			s.early--
		}
	}
	for i, st := range p.Steps {
		d, ok := e.by[st.ID().Kind]
		if !ok {
			s.finish(i, fmt.Errorf("nobody on this host makes resources of kind %s", st.ID().Kind))
			continue
		}
		s.queue[d] = append(s.queue[d], i)
	}
	return s
}

// namedPorts lists for each step that writes flows those that make the ports
// which its rules name. A port may be missing, so the flows do not need it, but
// written before it they would have to be written again.
func namedPorts(p *plan.Plan) [][]int {
	out, ports := make([][]int, len(p.Steps)), map[string]int{}
	for i, st := range p.Steps {
		if s, ok := st.State().(resource.Port); ok {
			ports[resource.PortSym(s.Name)] = i
		}
	}
	for i, st := range p.Steps {
		f, ok := st.State().(resource.Flows)
		if !ok || len(ports) == 0 {
			continue
		}
		for _, sym := range f.Symbols() {
			if j, ok := ports[sym]; ok {
				out[i] = append(out[i], j)
			}
		}
	}
	return out
}

func (s *schedule) skip(f func(*plan.Step) error) {
	if f == nil {
		return
	}
	for i, st := range s.plan.Steps {
		if s.done[i] {
			continue
		}
		if err := f(st); err != nil {
			s.finish(i, err)
		}
	}
}

// finish notes how step i ended. What depends on a failed one is done with it.
func (s *schedule) finish(i int, err error) {
	if s.done[i] {
		return
	}
	s.done[i], s.errs[i] = true, err
	s.left--
	if !s.late[i] {
		s.early--
	}
	for _, j := range s.next[i] {
		s.wait[j]--
		if err != nil {
			s.finish(j, skipped(s.plan.Steps[i], err))
		}
	}
}

// skipped is the error of a step that depends on step before, which failed
// with err. It names the first that failed.
func skipped(before *plan.Step, err error) error {
	if errors.Is(err, plan.ErrSkipped) {
		return err
	}
	return fmt.Errorf("%w: it comes after %s, which failed", plan.ErrSkipped, before.ID())
}

func (s *schedule) run(ctx context.Context) []error {
	running := 0
	var bug any
	for {
		if bug == nil {
			for d := range s.busy {
				if s.start(ctx, d) {
					running++
				}
			}
		}
		if running == 0 && !s.rush && s.left > 0 {
			s.rush = true
			continue
		}
		if running == 0 {
			break
		}
		e := <-s.ended
		running--
		s.busy[e.driver] = false
		if e.bug != nil {
			bug = e.bug
			continue
		}
		for k, i := range e.steps {
			s.finish(i, e.errs[k])
		}
	}
	if bug != nil {
		panic(bug)
	}
	if s.left > 0 {
		panic(fmt.Sprintf("%d steps of the plan wait for each other", s.left))
	}
	return s.errs
}

// start gives driver d what it can do now; false if it is busy or that is
// nothing.
func (s *schedule) start(ctx context.Context, d int) bool {
	if s.busy[d] {
		return false
	}
	batch, rest := s.batch(d)
	s.queue[d] = rest
	if len(batch) == 0 {
		return false
	}
	s.busy[d] = true
	steps := make([]*plan.Step, len(batch))
	for k, i := range batch {
		steps[k] = s.plan.Steps[i]
	}
	go func() {
		e := ended{driver: d, steps: batch}
		defer func() {
			e.bug = recover()
			s.ended <- e
		}()
		dr, begin := s.engine.drivers[d], s.engine.settings.Now()
		e.errs = dr.Do(ctx, steps)
		if did := s.engine.settings.Did; did != nil {
			did(dr, len(steps), s.engine.settings.Now().Sub(begin))
		}
		if len(e.errs) != len(steps) {
			panic(fmt.Sprintf("the driver of %s answers %d steps with %d errors", steps[0].ID().Kind, len(steps), len(e.errs)))
		}
	}()
	return true
}

// batch takes from d's queue what is ready, and what waits for nothing but
// other steps of the batch.
func (s *schedule) batch(d int) (batch, rest []int) {
	in := map[int]bool{}
	for _, i := range s.queue[d] {
		if s.ready(i, in) {
			in[i] = true
			batch = append(batch, i)
		}
	}
	if len(batch) > s.engine.maxBatch {
		batch = s.some(batch)
	}
	in = map[int]bool{}
	for _, i := range batch {
		in[i] = true
	}
	for _, i := range s.queue[d] {
		if !s.done[i] && !in[i] {
			rest = append(rest, i)
		}
	}
	return batch, rest
}

// ready says whether step i waits for nothing but steps of in.
func (s *schedule) ready(i int, in map[int]bool) bool {
	if s.done[i] || s.late[i] && s.early > 0 {
		return false
	}
	if s.wait[i] > 0 {
		for _, j := range s.plan.Steps[i].After {
			if !s.done[j] && !in[j] {
				return false
			}
		}
	}
	for _, j := range s.named[i] {
		if !s.done[j] && !in[j] && !s.rush {
			return false
		}
	}
	return true
}

// maxBatch is about how many steps a driver is given at a time, so that others
// can go on with the first networks while it makes the next ones.
const maxBatch = 500

// some keeps of a large batch the steps of its first owners, about maxBatch of
// them, as far as they need no other owner's.
func (s *schedule) some(batch []int) []int {
	count := map[resource.Owner]int{}
	for _, i := range batch {
		count[s.plan.Steps[i].Owner()]++
	}
	chosen, n := map[resource.Owner]bool{}, 0
	for _, i := range batch {
		if o := s.plan.Steps[i].Owner(); !chosen[o] && n < s.engine.maxBatch {
			chosen[o] = true
			n += count[o]
		}
	}
	in := map[int]bool{}
	var out []int
	for _, i := range batch {
		if chosen[s.plan.Steps[i].Owner()] && s.ready(i, in) {
			in[i] = true
			out = append(out, i)
		}
	}
	if len(out) == 0 {
		return batch // every owner waits for another
	}
	return out
}
