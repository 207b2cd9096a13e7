package plan

import (
	"cmp"
	"container/heap"
	"fmt"
	"slices"
	"strings"

	"weft.dev/reconcile/resource"
)

// steps are the nodes of a decision as steps with what must come before.
type steps struct {
	d     *decision
	nodes []*node // by step
	drop  []bool
	after [][]int
}

// order turns a decision into steps in a valid order. If steps wait for each
// other it returns those that do, by cycle.
func order(d *decision) ([]*node, []bool, [][]int, [][]int) {
	s := &steps{d: d}
	s.place()
	s.leave()
	s.enter()
	s.unplug()
	s.together()
	return s.sort()
}

// place numbers the steps by preference: making before dropping, then by
// owner, kind and name.
func (s *steps) place() {
	list := slices.Clone(s.d.list)
	slices.SortFunc(list, compareNodes)
	for _, n := range list {
		if n.makes() {
			n.mk = s.add(n, false)
		}
	}
	for _, n := range list {
		if n.goes() && n.gone == nil {
			n.dr = s.add(n, true)
		}
	}
}

func (s *steps) add(n *node, drop bool) int {
	s.nodes, s.drop, s.after = append(s.nodes, n), append(s.drop, drop), append(s.after, nil)
	return len(s.nodes) - 1
}

func (s *steps) before(first, then int) {
	if first != then {
		s.after[then] = append(s.after[then], first)
	}
}

// goneBy returns the step after which the present resource is no more, or -1.
func (s *steps) goneBy(n *node) int {
	for n != nil && n.gone != nil {
		n = n.gone
	}
	if n == nil || !n.goes() {
		return -1
	}
	return n.dr
}

// endOf returns the step that ends what n holds on to without keeping it, or -1.
func (s *steps) endOf(n *node) int {
	if i := s.goneBy(n); i >= 0 {
		return i
	}
	return n.mk
}

// leave lets present resources let go of what they stand on before that goes.
func (s *steps) leave() {
	for _, n := range s.d.list {
		if n.before == nil || n.verb == "" {
			continue
		}
		end := s.endOf(n)
		for _, r := range s.d.wasRequired(n.id, n.before, n.after) {
			if i := s.goneBy(s.d.nodes[r]); i >= 0 {
				s.before(end, i)
			}
		}
		if i := s.goneBy(n); i >= 0 && n.mk >= 0 {
			s.before(i, n.mk)
		}
	}
}

// enter makes resources after what they need, and after whoever held their
// claims has given them up.
func (s *steps) enter() {
	released := map[string][]int{}
	for _, n := range s.d.list {
		if n.before == nil || n.verb == "" {
			continue
		}
		var kept []string
		if !n.goes() {
			kept = resource.Claims(n.after.State)
		}
		for _, c := range resource.Claims(n.before.State) {
			if !slices.Contains(kept, c) {
				released[c] = append(released[c], s.endOf(n))
			}
		}
	}
	for _, n := range s.d.list {
		if n.mk < 0 {
			continue
		}
		for _, r := range resource.Requires(n.after.State) {
			if m := s.d.nodes[r]; m != nil && m.mk >= 0 {
				s.before(m.mk, n.mk)
			}
		}
		for _, c := range resource.Claims(n.after.State) {
			for _, i := range released[c] {
				s.before(i, n.mk)
			}
		}
	}
}

// ready is a heap of steps that nothing holds back.
type ready []int

func (r ready) Len() int           { return len(r) }
func (r ready) Less(i, j int) bool { return r[i] < r[j] }
func (r ready) Swap(i, j int)      { r[i], r[j] = r[j], r[i] }
func (r *ready) Push(x any)        { *r = append(*r, x.(int)) }
func (r *ready) Pop() any {
	last := (*r)[len(*r)-1]
	*r = (*r)[:len(*r)-1]
	return last
}

// late returns every step's rank: its number, or beyond all of them for what is
// dropped without anything waiting to be made in its place.
func (s *steps) late() []int {
	n := len(s.nodes)
	rank := make([]int, n)
	var work []int
	for i := range s.nodes {
		if rank[i] = i + n; !s.drop[i] {
			rank[i] = i
			work = append(work, i)
		}
	}
	for len(work) > 0 {
		i := work[len(work)-1]
		work = work[:len(work)-1]
		for _, j := range s.after[i] {
			if rank[j] >= n {
				rank[j] = j
				work = append(work, j)
			}
		}
	}
	return rank
}

// sort returns nodes, drops and predecessors in the order of execution, or
// the cycles among the steps.
func (s *steps) sort() ([]*node, []bool, [][]int, [][]int) {
	then := make([][]int, len(s.nodes))
	open := make([]int, len(s.nodes))
	var r ready
	for i := range s.after {
		slices.Sort(s.after[i])
		s.after[i] = slices.Compact(s.after[i])
		for _, j := range s.after[i] {
			then[j] = append(then[j], i)
		}
		if open[i] = len(s.after[i]); open[i] == 0 {
			r = append(r, i)
		}
	}
	late := s.late()
	for k, i := range r {
		r[k] = late[i]
	}
	heap.Init(&r)
	place := make([]int, len(s.nodes))
	nodes, drop, after := make([]*node, 0, len(s.nodes)), make([]bool, 0, len(s.nodes)), make([][]int, 0, len(s.nodes))
	for r.Len() > 0 {
		i, _ := heap.Pop(&r).(int)
		i %= len(s.nodes)
		place[i] = len(nodes)
		var prior []int
		for _, j := range s.after[i] {
			prior = append(prior, place[j])
		}
		slices.Sort(prior)
		nodes, drop, after = append(nodes, s.nodes[i]), append(drop, s.drop[i]), append(after, prior)
		for _, j := range then[i] {
			if open[j]--; open[j] == 0 {
				heap.Push(&r, late[j])
			}
		}
	}
	if len(nodes) == len(s.nodes) {
		return nodes, drop, after, nil
	}
	return s.nodes, nil, nil, cycles(s.after, open)
}

// cycles returns the groups of steps that wait for themselves, among those
// with something open (Tarjan's components, with a stack of its own).
func cycles(after [][]int, open []int) [][]int {
	t := &tarjan{after: after, open: open, index: make([]int, len(after)), low: make([]int, len(after)), on: make([]bool, len(after))}
	for i := range after {
		if open[i] > 0 && t.index[i] == 0 {
			t.walk(i)
		}
	}
	return t.out
}

type tarjan struct {
	after      [][]int
	open       []int
	index, low []int
	on         []bool
	stack      []int
	next       int
	out        [][]int
}

type frame struct{ step, edge int }

func (t *tarjan) enter(i int) frame {
	t.next++
	t.index[i], t.low[i], t.on[i] = t.next, t.next, true
	t.stack = append(t.stack, i)
	return frame{i, 0}
}

func (t *tarjan) walk(root int) {
	frames := []frame{t.enter(root)}
	for len(frames) > 0 {
		f := &frames[len(frames)-1]
		if f.edge < len(t.after[f.step]) {
			j := t.after[f.step][f.edge]
			f.edge++
			switch {
			case t.open[j] == 0:
			case t.index[j] == 0:
				frames = append(frames, t.enter(j))
			case t.on[j]:
				t.low[f.step] = min(t.low[f.step], t.index[j])
			}
			continue
		}
		i := f.step
		frames = frames[:len(frames)-1]
		if len(frames) > 0 {
			up := frames[len(frames)-1].step
			t.low[up] = min(t.low[up], t.low[i])
		}
		if t.low[i] == t.index[i] {
			t.component(i)
		}
	}
}

func (t *tarjan) component(root int) {
	var group []int
	for {
		i := t.stack[len(t.stack)-1]
		t.stack = t.stack[:len(t.stack)-1]
		t.on[i] = false
		group = append(group, i)
		if i == root {
			break
		}
	}
	if len(group) > 1 {
		slices.Sort(group)
		t.out = append(t.out, group)
	}
}

// breakUp chooses one update of every cycle to be done as drop and make
// (rule 7). It returns an error when there is none to choose.
func breakUp(d *decision, nodes []*node, groups [][]int) error {
	for _, g := range groups {
		var choice *node
		for _, i := range g {
			n := nodes[i]
			if _, pinned := d.pins[n.id]; n.verb != Update || pinned || d.split[n.id] {
				continue
			}
			if choice == nil || len(d.usersOf(n.id)) < len(d.usersOf(choice.id)) {
				choice = n
			}
		}
		switch {
		case choice != nil:
			d.split[choice.id] = true
		case !d.explicit && slices.ContainsFunc(d.list, func(n *node) bool { return n.gone != nil }):
			d.explicit = true
		default:
			return cycleError(d, nodes, g)
		}
	}
	return nil
}

// cycleError names the members of a cycle, or blocks it for the sake of the
// rest where something that is held is what keeps it from being broken.
func cycleError(d *decision, nodes []*node, group []int) error {
	var names []string
	for _, i := range group {
		if name := fmt.Sprintf("%s (%s)", nodes[i].id, nodes[i].owner()); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, cmp.Compare[string])
	words := "these wait for each other: " + strings.Join(names, ", ")
	blocked := false
	for _, i := range group {
		if _, pinned := d.pins[nodes[i].id]; pinned && nodes[i].verb == Update {
			d.stuck[nodes[i].id], blocked = words, true
		}
	}
	if blocked {
		return nil
	}
	return fmt.Errorf("no order for the plan: %s", words)
}
