package fw

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"weft.dev/reconcile/host"
	"weft.dev/reconcile/plan"
	"weft.dev/reconcile/resource"
)

// job is a step on its way.
type job struct {
	step *plan.Step
	edit *edit // of a chain
	// instead of dropping a chain that is made again at the same time it is
	// only made, by that job.
	instead *job
	err     error
	done    bool
	// phase says when it is its turn: sets are made, chains written, sets that had
	// to wait for that opened, sets dropped, and so on round.
	phase int
}

// The turns of a round.
const (
	makeSets = iota
	writeChains
	openSets
	dropSets
	turns
)

func (j *job) turn() int {
	switch {
	case j.step.ID().Kind == resource.KindChain:
		return writeChains
	case j.step.Drop:
		return dropSets
	}
	return makeSets
}

// Do implements driver.Driver. All that changes in a namespace and family is
// one run of a program, and one more where connections have to end before rules go (see
// hold); if that fails it is tried again owner by owner. Nothing here needs anything of
// another namespace.
func (d *Driver) Do(ctx context.Context, steps []*plan.Step) []error {
	jobs := make([]*job, len(steps))
	groups := map[string][]*job{}
	var names []string
	for i, st := range steps {
		jobs[i] = &job{step: st}
		ns, _, _ := strings.Cut(st.ID().Name, "/")
		if groups[ns] == nil {
			names = append(names, ns)
		}
		groups[ns] = append(groups[ns], jobs[i])
	}
	t, err := d.find(ctx)
	if err == nil {
		host.Each(workers, names, func(_ int, ns string) {
			m := d.memory(ns)
			m.busy.Lock()
			defer m.busy.Unlock()
			d.group(ctx, t, ns, groups[ns])
		})
	}
	errs := make([]error, len(jobs))
	for i, j := range jobs {
		if errs[i] = j.err; err != nil {
			errs[i] = err
		}
	}
	d.tidy()
	return errs
}

// tidy drops notes about namespaces that are gone.
func (d *Driver) tidy() {
	for _, ns := range d.marks.Keys() {
		if d.host.HasSpace(ns) {
			continue
		}
		_ = d.marks.Drop(ns) // it is of no use, and of no harm
		d.mu.Lock()
		delete(d.spaces, ns)
		d.mu.Unlock()
	}
}

// group does the steps of one namespace.
func (d *Driver) group(ctx context.Context, t *tools, ns string, jobs []*job) {
	s, err := d.open(ns)
	if err != nil {
		for _, j := range jobs {
			if j.err = err; j.step.Drop && errors.Is(err, host.ErrNoSpace) {
				j.err = nil // gone with its namespace
			}
		}
		return
	}
	x := &site{d: d, tools: t, space: s, note: d.note(s).clone(t.variant), byIndex: map[int]*job{}, swaps: map[string]*swap{}}
	last := x.schedule(jobs)
	for phase := 0; phase <= last+openSets; phase++ {
		x.turn(ctx, phase, jobs)
	}
	err = x.finish(ctx)
	for _, j := range jobs {
		if j.err == nil {
			j.err = err
		}
	}
	for _, j := range jobs {
		if j.instead != nil {
			j.err = j.instead.err
		}
	}
}

// open finds a namespace; that of the host is none of ours.
func (d *Driver) open(ns string) (*host.Space, error) {
	if ns == "" {
		return nil, errors.New("the firewall of the host's own namespace is not weft's to change")
	}
	return d.host.Space(ns)
}

// turn does the jobs whose turn it is.
func (x *site) turn(ctx context.Context, phase int, jobs []*job) {
	if phase%turns == openSets {
		x.open(ctx, jobs)
	}
	var now []*job
	for _, j := range jobs {
		if j.phase == phase && j.instead == nil && x.ready(j) {
			now = append(now, j)
		}
	}
	if len(now) == 0 {
		return
	}
	switch phase % turns {
	case writeChains:
		x.chains(ctx, now)
	case makeSets:
		x.makeSets(ctx, now, jobs)
	case dropSets:
		x.dropSets(ctx, now)
	}
	for _, j := range now {
		j.done = true
	}
}

// site is where one namespace is worked on.
type site struct {
	d       *Driver
	tools   *tools
	space   *host.Space
	note    *note
	byIndex map[int]*job
	swaps   map[string]*swap // of this round
	// wrote are the chains whose text in the kernel has to be noted.
	wrote []*job
	// touched: rules changed, so what is remembered of them is old.
	touched bool
}

// schedule gives each step the first turn of its sort that is not before what
// it needs, and returns the last turn.
func (x *site) schedule(jobs []*job) (last int) {
	same := map[resource.ID]*job{}
	for _, j := range jobs {
		j.phase = j.turn()
		deps := []*job{same[j.step.ID()]}
		for _, i := range j.step.After {
			deps = append(deps, x.byIndex[i])
		}
		for _, dep := range deps {
			for dep != nil && j.phase < dep.phase {
				j.phase += turns
			}
		}
		if prev := same[j.step.ID()]; prev != nil && prev.step.Drop && !j.step.Drop && prev.phase == j.phase {
			prev.instead = j
		}
		x.byIndex[j.step.Index], same[j.step.ID()] = j, j
		last = max(last, j.phase)
	}
	return last
}

// ready reports whether j can be tried, and renders its chain.
func (x *site) ready(j *job) bool {
	for _, i := range j.step.After {
		if dep := x.byIndex[i]; dep != nil && dep != j && dep.err != nil {
			j.err = plan.ErrSkipped
		}
	}
	if j.err != nil || j.step.ID().Kind != resource.KindChain {
		return j.err == nil
	}
	if j.step.Drop {
		c, err := chainOf(j.step.ID())
		if err == nil && !chainName.MatchString(c.Name) {
			err = fmt.Errorf("chain %q was not made by weft and its name cannot be written", c.Name)
		}
		j.edit, j.err = &edit{chain: c, drop: true}, err
		return err == nil
	}
	c, ok := j.step.State().(resource.Chain)
	if !ok {
		j.err = fmt.Errorf("fw driver: no way to make %s of %T", j.step.ID(), j.step.State())
		return false
	}
	if _, ok := x.tools.families[c.Family]; !ok {
		j.err = fmt.Errorf("chain %s: there is no iptables for IPv%d", c.Name, c.Family)
		return false
	}
	lines, err := render(c, j.step.Owner())
	j.edit, j.err = &edit{chain: c, lines: lines}, err
	return err == nil
}

// chainOf reads what the ID of a chain says: namespace, family, table, name.
func chainOf(id resource.ID) (resource.Chain, error) {
	p := strings.SplitN(id.Name, "/", 4)
	if len(p) == 4 {
		if n, err := strconv.Atoi(p[1]); err == nil && builtins[p[2]] != nil {
			return resource.Chain{NS: p[0], Family: n, Table: p[2], Name: p[3]}, nil
		}
	}
	return resource.Chain{}, fmt.Errorf("%s is no chain of a table that weft writes", id)
}

// chains writes chains, families side by side in order, owners together if it
// can be.
func (x *site) chains(ctx context.Context, jobs []*job) {
	for family := range x.tools.families {
		var mine []*job
		for _, j := range jobs {
			if j.edit.chain.Family == family {
				mine = append(mine, j)
			}
		}
		if len(mine) == 0 {
			continue
		}
		kernel, err := x.d.read(ctx, x.tools, x.space)
		if err != nil {
			fail(mine, err)
			continue
		}
		if err := x.write(ctx, family, mine, kernel); err == nil {
			continue
		} else if len(mine) == 1 {
			x.alone(family, mine[0], err)
			continue
		} else if owners(mine) == 1 && !slices.ContainsFunc(mine, func(j *job) bool { return j.step.Drop }) {
			fail(mine, err)
			continue
		}
		x.apart(ctx, family, mine, kernel)
	}
}

func fail(jobs []*job, err error) {
	for _, j := range jobs {
		j.err = err
	}
}

func owners(jobs []*job) int {
	seen := map[resource.Owner]bool{}
	for _, j := range jobs {
		seen[j.step.Owner()] = true
	}
	return len(seen)
}

// apart writes owner by owner what could not be written together, drops last
// and one by one. An owner is tried once all it needs of others is there.
func (x *site) apart(ctx context.Context, family int, jobs []*job, kernel tables) {
	var turns [][]*job
	at := map[resource.Owner]int{}
	var drops [][]*job
	for _, j := range jobs {
		o := j.step.Owner()
		i, ok := at[o]
		switch {
		case j.step.Drop:
			drops = append(drops, []*job{j})
		case ok:
			turns[i] = append(turns[i], j)
		default:
			at[o] = len(turns)
			turns = append(turns, []*job{j})
		}
	}
	pending := append(turns, drops...)
	for len(pending) > 0 {
		var later [][]*job
		for _, group := range pending {
			if x.waits(group) {
				later = append(later, group)
				continue
			}
			group = slices.DeleteFunc(slices.Clone(group), func(j *job) bool { return !x.ready(j) })
			if len(group) > 0 {
				if err := x.write(ctx, family, group, kernel); err != nil && len(group) == 1 {
					x.alone(family, group[0], err)
				} else if err != nil {
					fail(group, err)
				}
			}
			for _, j := range group {
				j.done = true
			}
		}
		if len(later) == len(pending) { // they need each other
			for _, group := range later {
				for _, j := range group {
					j.err = errors.Join(plan.ErrSkipped, fmt.Errorf("chain %s needs another owner's chain that needs it", j.edit.chain.Name))
				}
			}
			return
		}
		pending = later
	}
}

// waits reports whether a group needs something that was not tried yet.
func (x *site) waits(group []*job) bool {
	for _, j := range group {
		for _, i := range j.step.After {
			if dep := x.byIndex[i]; dep != nil && !dep.done && dep.err == nil && !slices.Contains(group, dep) {
				return true
			}
		}
	}
	return false
}
