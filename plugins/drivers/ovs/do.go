package ovs

import (
	"context"
	"errors"
	"slices"

	"weft.dev/reconcile/plan"
	"weft.dev/reconcile/resource"
)

// Do implements driver.Driver. All rows that can go together are one database
// transaction and all flows of a bridge one OpenFlow bundle; the two alternate
// as far as steps wait for each other.
func (d *Driver) Do(ctx context.Context, steps []*plan.Step) []error {
	d.doing.Lock()
	defer d.doing.Unlock()
	r := &run{steps: steps, errs: make([]error, len(steps)), place: make(map[int]int, len(steps))}
	for i, s := range steps {
		r.place[s.Index] = i
	}
	for turn, part := range r.rounds() {
		if turn%2 == 0 {
			d.doRows(ctx, r, part)
		} else {
			d.doFlows(ctx, r, part)
		}
	}
	return r.errs
}

// A run is one call of Do. Steps are named by their place in it.
type run struct {
	steps []*plan.Step
	errs  []error
	place map[int]int // plan index -> place
}

// before lists the places of the steps of this call that step i waits for.
func (r *run) before(i int) []int {
	var out []int
	for _, index := range r.steps[i].After {
		if j, ok := r.place[index]; ok && j != i {
			out = append(out, j)
		}
	}
	return out
}

// rounds deals the steps out: rows in the even rounds, flows in the odd ones,
// each as early as the steps it waits for allow.
func (r *run) rounds() [][]int {
	var out [][]int
	turn := make([]int, len(r.steps))
	for i, s := range r.steps {
		if s.ID().Kind == resource.KindFlows {
			turn[i] = 1
		}
		for _, j := range r.before(i) {
			for turn[i] < turn[j] {
				turn[i] += 2
			}
		}
		for len(out) <= turn[i] {
			out = append(out, nil)
		}
		out[turn[i]] = append(out[turn[i]], i)
	}
	return out
}

// ready returns the steps of part whose predecessors have succeeded or are in
// part before them; the others are skipped.
func (r *run) ready(part []int) []int {
	var out []int
	for _, i := range part {
		if r.errs[i] != nil {
			continue
		}
		if slices.ContainsFunc(r.before(i), func(j int) bool { return r.errs[j] != nil }) {
			r.errs[i] = plan.ErrSkipped
			continue
		}
		out = append(out, i)
	}
	return out
}

// byOwner splits part into groups of one owner each, in an order in which no
// group waits for a later one: an owner may have several.
func (r *run) byOwner(part []int) [][]int {
	var groups [][]int
	last := map[resource.Owner]int{} // owner -> its latest group
	in := map[int]int{}              // step -> group
	for _, i := range part {
		owner := r.steps[i].Owner()
		g, ok := last[owner]
		for _, j := range r.before(i) {
			if at, here := in[j]; here && ok && at > g {
				ok = false
			}
		}
		if !ok {
			g = len(groups)
			groups = append(groups, nil)
			last[owner] = g
		}
		groups[g] = append(groups[g], i)
		in[i] = g
	}
	return groups
}

// fail gives err to all steps of part that have none yet.
func (r *run) fail(part []int, err error) {
	for _, i := range part {
		if r.errs[i] == nil {
			r.errs[i] = err
		}
	}
}

// doRows executes steps of bridges, ports and tunnels in as few transactions as
// possible: all in one; without a step that the server blames; by owner; one by
// one.
func (d *Driver) doRows(ctx context.Context, r *run, part []int) {
	for part = r.ready(part); len(part) > 0; part = r.ready(part) {
		v, err := d.look(ctx)
		if err != nil {
			r.fail(part, err)
			return
		}
		if out, err := d.unplugDeaf(ctx, v, r, part); err != nil {
			r.fail(part, err)
			return
		} else if out {
			continue
		}
		t := d.compose(v, r, part)
		part = t.part
		if len(t.ops) == 0 {
			return
		}
		s, err := d.db.open(ctx)
		if err == nil {
			err = s.transact(ctx, v, t.ops)
		}
		var refused *rejection
		switch {
		case err == nil:
			d.verify(ctx, s, v, r, part)
			return
		case !errors.As(err, &refused) || len(part) == 1:
			r.fail(part, err)
			return
		case refused.Op >= 0 && refused.Op < len(t.step):
			r.errs[t.step[refused.Op]] = err
		default:
			d.split(ctx, r, part)
			return
		}
	}
}

// split tries the owners apart, and the steps of one owner each alone.
func (d *Driver) split(ctx context.Context, r *run, part []int) {
	groups := r.byOwner(part)
	if len(groups) == 1 {
		groups = groups[:0]
		for _, i := range part {
			groups = append(groups, []int{i})
		}
	}
	for _, g := range groups {
		d.doRows(ctx, r, g)
	}
}

// verify checks what was committed. What failed is tried once more: a tunnel that
// moves to another bridge is "File exists" until its old port is quite gone.
func (d *Driver) verify(ctx context.Context, s *session, v *view, r *run, part []int) {
	d.check(ctx, r, part)
	failed := slices.DeleteFunc(slices.Clone(part), func(i int) bool { return r.errs[i] == nil })
	if len(failed) == 0 || s.transact(ctx, v, nil) != nil {
		return
	}
	d.check(ctx, r, failed)
}

// check reads what the switch made of the steps that were committed: a
// transaction succeeds even when a port does not.
func (d *Driver) check(ctx context.Context, r *run, part []int) {
	v, err := d.look(ctx)
	if err != nil {
		r.fail(part, err)
		return
	}
	for _, i := range part {
		switch st := r.steps[i].State().(type) {
		case resource.Bridge:
			if b := v.bridges[st.Name]; b == nil || d.ours(b.ExternalIDs) {
				r.errs[i] = made(st.ID(), v.ports[st.Name], "")
			}
		case nil:
			if id := r.steps[i].ID(); id.Kind == resource.KindBridge {
				r.errs[i] = d.dropFlowMarks(id.Name) // its flows went with it
			}
		case resource.Port:
			if r.errs[i] = made(st.ID(), v.ports[st.Name], v.mayWait(st)); r.errs[i] == nil {
				r.errs[i] = d.raise(v, st)
			}
		case resource.Tunnel:
			r.errs[i] = made(st.ID(), v.ports[st.Name], "")
		}
	}
}

func made(id resource.ID, p *port, excused string) error {
	if p == nil {
		return errors.New(id.String() + ": it vanished right after it was made; somebody removes it or its bridge")
	}
	for _, l := range p.links {
		if fault := linkFault(l, excused); fault != "" {
			if len(p.links) > 1 {
				fault = "link " + l.Name + ": " + fault
			}
			return errors.New(id.String() + ": " + fault)
		}
	}
	return nil
}
