package plan

import (
	"cmp"
	"maps"
	"slices"

	"weft.dev/reconcile/resource"
)

// Diff plans the way from what a host has to what it should have. The
// arguments are not changed, and the plan points into them. The error is a
// fault of who made desired: two resources of one ID, two holders of one
// claim, or needs in a circle.
func Diff(desired *resource.Intent, observed *resource.Observed, opt Options) (*Plan, error) {
	w := newWorld(desired.Holds, opt)
	for _, t := range desired.Terms {
		w.terms[t.Owner] = t
	}
	w.observed, w.before = observed, observed.Set
	w.after = make(map[resource.ID]*resource.Entry, desired.Len())
	for _, f := range desired.Fragments {
		if err := w.want(f); err != nil {
			return nil, err
		}
	}
	if err := w.claims(); err != nil {
		return nil, err
	}
	p := &Plan{Host: desired.Host, Revision: opt.Revision, Lock: opt.Lock, Frozen: desired.Frozen}
	p.Observed, p.Desired, p.Unread = len(observed.Set), len(w.after), slices.Clone(observed.Unread)
	for _, owner := range slices.Sorted(maps.Keys(observed.Unbound)) {
		if l := slices.Compact(slices.Sorted(slices.Values(observed.Unbound[owner]))); len(l) > 0 {
			p.Unbound = append(p.Unbound, Unbound{Owner: owner, Symbols: l})
		}
	}
	for _, owner := range slices.Sorted(maps.Keys(observed.Notices)) {
		p.Notices = append(p.Notices, Notice{owner, slices.Sorted(slices.Values(observed.Notices[owner]))})
	}
	return p, p.fill(w)
}

// Between plans the way from one commit's intent to another's, as a host that
// is all that base says would go it. Fragments with equal fingerprints are
// looked at only as far as something else touches them. Resources that weft does
// not make are taken to be there. The error is that of Diff.
func Between(base, head *resource.Intent, opt Options) (*Plan, error) {
	w := newWorld(head.Holds, opt)
	for _, t := range head.Terms {
		w.terms[t.Owner] = t
	}
	if err := w.pair(base.Fragments, head.Fragments); err != nil {
		return nil, err
	}
	if err := w.claims(); err != nil {
		return nil, err
	}
	if err := w.meets(); err != nil {
		return nil, err
	}
	p := &Plan{Host: head.Host, Revision: opt.Revision, Lock: opt.Lock, Frozen: head.Frozen, Observed: base.Len(), Desired: head.Len()}
	return p, p.fill(w)
}

// pair walks both lists, which are sorted by owner, and keeps what is equal
// folded.
func (w *world) pair(base, head []*resource.Fragment) error {
	for len(base) > 0 || len(head) > 0 {
		var c int
		switch {
		case len(base) == 0:
			c = 1
		case len(head) == 0:
			c = -1
		default:
			c = cmp.Compare(base[0].Owner, head[0].Owner)
		}
		if c == 0 && base[0].Print == head[0].Print {
			w.same = append(w.same, head[0])
			base, head = base[1:], head[1:]
			continue
		}
		if c <= 0 {
			for _, e := range base[0].Entries() {
				if _, ok := w.before[e.State.ID()]; !ok {
					w.before[e.State.ID()] = e
				}
			}
			base = base[1:]
		}
		if c >= 0 {
			if err := w.want(head[0]); err != nil {
				return err
			}
			head = head[1:]
		}
	}
	return nil
}

// differ lists what is not the same on both sides, in a stable order.
func (w *world) differ() []resource.ID {
	var out []resource.ID
	for id, a := range w.after {
		b, ok := w.before[id]
		_, renewed := w.opt.Renew[id]
		if (!ok || differs(&b, a)) && !w.tolerated(id, a) || ok && renewed {
			out = append(out, id)
		}
	}
	for id := range w.before {
		if _, ok := w.after[id]; !ok {
			out = append(out, id)
		}
	}
	slices.SortFunc(out, resource.ID.Compare)
	return out
}

// tolerated reports whether a difference is drift that a document wants ignored:
// what is desired of the resource is what was made last.
func (w *world) tolerated(id resource.ID, after *resource.Entry) bool {
	t, ok := w.terms[after.Owner]
	if !ok || !t.Matches(id) {
		return false
	}
	last := w.lastOf(id)
	return last != nil && last.Owner == after.Owner && last.State.Fingerprint() == after.State.Fingerprint()
}

// differs compares states and owners. What the observer could not tell does
// not differ.
func differs(before, after *resource.Entry) bool {
	if before.State.Fingerprint() != after.State.Fingerprint() {
		return true
	}
	if s, ok := before.State.(resource.Seen); ok && s.Drift != "" {
		return true
	}
	return before.Owner != "" && before.Owner != after.Owner
}

// fill decides, orders and describes.
func (p *Plan) fill(w *world) error {
	if p.Frozen != "" {
		p.sign(w)
		return nil
	}
	stuck, split, explicit := map[resource.ID]string{}, map[resource.ID]bool{}, false
	maps.Copy(stuck, w.opt.Withhold)
	differ := w.differ()
	for {
		d := w.decide(differ, stuck, split, explicit)
		nodes, drop, after, groups := order(d)
		if groups == nil {
			p.describe(d, nodes, drop, after)
			p.sign(w)
			return nil
		}
		if err := breakUp(d, nodes, groups); err != nil {
			return err
		}
		explicit = d.explicit
	}
}

// describe writes a decision down.
func (p *Plan) describe(d *decision, nodes []*node, drop []bool, after [][]int) {
	list := slices.Clone(d.list)
	slices.SortFunc(list, compareNodes)
	actions := make(map[*node]*Action, len(list))
	var phase func(*Action) Phase
	for _, n := range list {
		switch {
		case n.blocked != "":
			p.Blocked = append(p.Blocked, p.blocked(n))
		case n.verb != "":
			if phase == nil {
				phase = d.phases()
			}
			a := d.action(n)
			if a.Phase = phase(a); a.Phase == Shutdown || a.Phase == Release {
				a.Wait = d.terms[a.Owner()].Linger
			}
			actions[n] = a
			p.Actions = append(p.Actions, a)
		}
	}
	p.follow()
	p.Steps = make([]*Step, len(nodes))
	for i, n := range nodes {
		p.Steps[i] = &Step{Index: i, Action: actions[n], Drop: drop[i], After: after[i]}
	}
	p.Foreign = d.foreign
	slices.SortFunc(p.Foreign, func(a, b Foreign) int { return cmp.Or(cmp.Compare(a.Owner, b.Owner), a.ID.Compare(b.ID)) })
	p.held(d.world)
}

func (p *Plan) blocked(n *node) Blocked {
	b := Blocked{ID: n.id, Owner: n.owner(), Verb: n.meant, Reason: n.blocked}
	if b.Source = sourceOf(n.after, p.Revision); b.Source.IsZero() {
		b.Source = sourceOf(n.before, "")
	}
	return b
}

func (p *Plan) held(w *world) {
	if len(w.holds) == 0 {
		return
	}
	count := map[resource.Owner]int{}
	for _, f := range w.same {
		count[f.Owner] += f.Len()
	}
	for id, e := range w.before {
		count[w.ownerOf(id, &e)]++
	}
	for _, h := range w.holds {
		p.Held = append(p.Held, Held{h, count[h.Owner]})
	}
}

// action describes a node to people.
func (d *decision) action(n *node) *Action {
	a := &Action{ID: n.id, Verb: n.verb, Before: n.before, After: n.after, Changes: n.changes, Reason: n.reason}
	a.Implied = n.verb == Delete && n.gone != nil
	if a.Verb == Replace && d.split[n.id] && a.Reason == "" && !n.fixed {
		a.Reason = "what it holds is to be exchanged with another"
	}
	if n.after == nil && a.Reason == "" {
		a.Reason = "no document asks for it"
	}
	a.Drift = d.drifted(n)
	a.Disrupts = d.disrupts(n)
	return a
}

// drifted reports whether the difference is not one of intent. What is
// dragged along is whatever its cause is.
func (d *decision) drifted(n *node) bool {
	if d.opt.Last == nil {
		return false
	}
	if n.before != nil {
		if s, ok := n.before.State.(resource.Seen); ok && s.Rebound {
			return false
		}
	}
	for n.cause != nil {
		n = n.cause
	}
	if n.renewed() {
		return false
	}
	if n.id.Kind.Outside() && (n.before == nil || n.after == nil || n.before.Owner != n.after.Owner) {
		return false // that machine may not have been there when it was to be told
	}
	last := d.lastOf(n.id)
	if last == nil || n.after == nil {
		return last == nil && n.after == nil
	}
	return last.Owner == n.after.Owner && last.State.Fingerprint() == n.after.State.Fingerprint()
}
