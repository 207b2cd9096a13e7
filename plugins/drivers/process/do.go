package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"

	"weft.dev/reconcile/plan"
	"weft.dev/reconcile/resource"
)

// workers bounds the processes that start or stop at a time: both is mostly
// waiting.
const workers = 8

// Do implements driver.Driver. Steps that do not wait for each other run
// concurrently.
func (d *Driver) Do(ctx context.Context, steps []*plan.Step) []error {
	d.busy.Add(1)
	defer d.busy.Add(-1)
	errs := make([]error, len(steps))
	all, err := d.scan(ctx)
	if err != nil {
		for i := range errs {
			errs[i] = fmt.Errorf("find processes: %w", err)
		}
		return errs
	}
	b := &batch{Driver: d, all: all, spaces: d.namespaces()}
	failed := map[int]bool{}
	for _, wave := range waves(steps) {
		var running sync.WaitGroup
		slots := make(chan struct{}, workers)
		for _, i := range wave {
			if slices.ContainsFunc(steps[i].After, func(n int) bool { return failed[n] }) {
				errs[i] = plan.ErrSkipped
				continue
			}
			slots <- struct{}{}
			running.Go(func() {
				defer func() { <-slots }()
				errs[i] = b.do(ctx, steps[i])
			})
		}
		running.Wait()
		for _, i := range wave {
			failed[steps[i].Index] = errs[i] != nil
		}
	}
	return errs
}

// waves groups the positions in steps so that each step stands in a later
// group than those of the call that it comes after.
func waves(steps []*plan.Step) [][]int {
	level := map[int]int{} // by Index
	var out [][]int
	for i, s := range steps {
		n := 0
		for _, before := range s.After {
			if l, ok := level[before]; ok {
				n = max(n, l+1)
			}
		}
		level[s.Index] = n
		if n == len(out) {
			out = append(out, nil)
		}
		out[n] = append(out[n], i)
	}
	return out
}

// A batch is one call of Do.
type batch struct {
	*Driver
	spaces namespaces

	mu  sync.Mutex
	all map[string][]found
}

// take returns the processes of that name and forgets them: whoever acts on a
// name is the only one at that time.
func (b *batch) take(name string) []found {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := b.all[name]
	delete(b.all, name)
	return list
}

func (b *batch) do(ctx context.Context, s *plan.Step) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	name := s.ID().Name
	if s.Drop {
		if err := b.drop(name); err != nil {
			return fmt.Errorf("stop %s: %w", name, err)
		}
		return nil
	}
	p, ok := s.State().(resource.Process)
	if !ok {
		panic(fmt.Sprintf("the process driver was given a %T", s.State()))
	}
	return b.make(ctx, p, s.Owner())
}

func (b *batch) drop(name string) error {
	if err := b.stop(b.take(name)); err != nil {
		return err
	}
	err := os.Remove(b.logPath(name))
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return errors.Join(b.marks.Drop(markKey(name)), err, b.kept(name))
}

// make has p run, and nothing else under its name. A process that was started
// as p would be is kept, and reloaded if it may have loaded something else.
func (b *batch) make(ctx context.Context, p resource.Process, owner resource.Owner) error {
	list := b.take(p.Name)
	m, marked := b.mark(p.Name)
	keep := slices.IndexFunc(tops(list), func(f found) bool { return f.start == startPrint(p) && b.spaces.is(f.ns, p.NS) })
	if keep < 0 || b.deaf(m, p) {
		return b.restart(ctx, p, owner, list)
	}
	kept := tops(list)[keep]
	family, others := split(list, kept.pid)
	if err := b.stop(others); err != nil {
		return fmt.Errorf("stop another %s: %w", p.Name, err)
	}
	b.mu.Lock()
	b.all[p.Name] = family
	b.mu.Unlock()
	loaded := m.Loaded
	if !marked || m.Process.Load != p.Load || startPrint(m.Process) != startPrint(p) || b.stale(&m) {
		loaded = b.now(p)
		if err := b.test(ctx, p); err != nil {
			return err
		}
		if err := reload(kept, p.Reload); err != nil {
			return fmt.Errorf("reload %s: %w", p.Name, err)
		}
	}
	return b.marks.Put(markKey(p.Name), mark{Process: p, Owner: owner, Loaded: loaded, Index: m.Index})
}

// restart replaces whatever runs under p's name. The mark is there before the
// process: a crash between the two leaves a process that is known, or none.
func (b *batch) restart(ctx context.Context, p resource.Process, owner resource.Owner, old []found) error {
	if len(old) > 0 {
		// Where nothing runs, nothing is at stake: the start itself is the test.
		if err := b.test(ctx, p); err != nil {
			return err
		}
	}
	if err := b.stop(old); err != nil {
		return fmt.Errorf("stop the old %s: %w", p.Name, err)
	}
	if err := b.marks.Put(markKey(p.Name), mark{Process: p, Owner: owner, Loaded: b.now(p), Index: b.index(p)}); err != nil {
		return err
	}
	if err := b.start(ctx, p, owner); err != nil {
		return errors.Join(fmt.Errorf("start %s: %w", p.Name, err), b.marks.Drop(markKey(p.Name)))
	}
	return nil
}

// test runs the command that checks p's files.
func (d *Driver) test(ctx context.Context, p resource.Process) error {
	if len(p.Test) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, testTime)
	defer cancel()
	if _, err := d.host.Run(ctx, p.NS, nil, d.expand(p, p.Test)...); err != nil {
		return fmt.Errorf("the files of %s do not pass: %w", p.Name, err)
	}
	return nil
}

// split parts list into pid with what descends from it, and the rest.
func split(list []found, pid int) (family, others []found) {
	in := map[int]bool{pid: true}
	for range list { // as deep as it can be
		for _, p := range list {
			in[p.pid] = in[p.pid] || in[p.parent]
		}
	}
	for _, p := range list {
		if in[p.pid] {
			family = append(family, p)
		} else {
			others = append(others, p)
		}
	}
	return family, others
}
