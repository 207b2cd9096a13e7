package course

import (
	"cmp"
	"maps"
	"slices"

	"weft.dev/reconcile/resource"
)

// A chain ends in ACCEPT, goes back to who called it, or ends in DROP: each is no more
// open than the one before, whatever rules come after. What is closed ends, for each
// packet, no more openly than the chain of either filter does.

// closed is between was and is: its tables, apart from nat, let pass only what those of
// both do, and its sets let pass as little. Chains that neither filter drops by stay.
func closed(was, is Filter) Filter {
	x := &merger{was: was, is: is}
	out := Filter{Chains: maps.Clone(was.Chains), Sets: map[string]resource.AddrSet{}}
	if out.Chains == nil {
		out.Chains = map[Place]resource.Chain{}
	}
	var todo []Place
	seen := map[Place]bool{}
	visit := func(at Place) {
		if !seen[at] {
			seen[at] = true
			todo = append(todo, at)
		}
	}
	for _, f := range []Filter{was, is} {
		for _, at := range places(f) {
			if c := f.Chains[at]; at.Table != nat && c.Policy != "" && (x.may(was, at, drops) || x.may(is, at, drops)) {
				visit(at)
			}
		}
	}
	for len(todo) > 0 {
		at := todo[0]
		todo = todo[1:]
		c := x.merge(at)
		out.Chains[at] = c
		for i := range c.Rules {
			if to := (Place{at.Table, c.Rules[i].Do.Jump}); to.Name != "" && (x.has(was, to) || x.has(is, to)) {
				visit(to)
			}
		}
	}
	x.sets(&out)
	return out
}

type merger struct{ was, is Filter }

func (x *merger) has(f Filter, at Place) bool {
	_, ok := f.Chains[at]
	return ok
}

// merge is the chain that is no more open than it was and is to be.
func (x *merger) merge(at Place) resource.Chain {
	old, before := x.was.Chains[at]
	c, after := x.is.Chains[at]
	switch {
	case !after:
		return old
	case !before, sameChain(old, c):
		return c
	}
	accepts := x.accepts(at)
	if old.Policy == "DROP" {
		c.Policy = old.Policy
	}
	c.Rules = nil
	for _, p := range align(old.Rules, x.is.Chains[at].Rules) {
		c.Rules = append(c.Rules, p.both...)
		for _, r := range slices.Concat(p.old, p.now) {
			if r, ok := x.alone(at.Table, r, accepts); ok {
				c.Rules = append(c.Rules, r)
			}
		}
		c.Rules = append(c.Rules, shared(p.old, p.now, accepts)...)
	}
	return c
}

// alone is what stands for a rule that only one of the filters has.
func (x *merger) alone(table string, r resource.Rule, accepts bool) (resource.Rule, bool) {
	switch {
	case r.Do.Jump != "" && !x.accepts(Place{table, r.Do.Jump}):
		return r, true
	case r.Do.Target == "DROP", r.Do.Target == "REJECT":
		return r, true
	case r.Do.Jump == "" && (r.Do.Target != "RETURN" || !accepts):
		return r, false
	}
	// What it lets pass cannot be told from what it stops.
	r.Do = resource.Verdict{Target: "DROP"}
	switch {
	case len(r.Match.CT) == 0:
		r.Match.CT = beginning
	case !slices.ContainsFunc(r.Match.CT, func(s string) bool { return !slices.Contains(established, s) }):
		return r, false
	}
	return r, true
}

var (
	established = []string{"ESTABLISHED", "RELATED"}
	beginning   = []string{"NEW", "INVALID", "UNTRACKED"}
)

// accepts reports whether a chain may end in ACCEPT, in either filter.
func (x *merger) accepts(at Place) bool {
	accept := func(r *resource.Rule) bool { return r.Do.Target == "ACCEPT" }
	return !x.has(x.was, at) && !x.has(x.is, at) || x.may(x.was, at, accept) || x.may(x.is, at, accept)
}

// drops are rules that end in DROP.
func drops(r *resource.Rule) bool { return r.Do.Target == "DROP" || r.Do.Target == "REJECT" }

// may reports whether a chain of f, or one that it calls, has such a rule; for drops a
// policy counts.
func (x *merger) may(f Filter, at Place, such func(*resource.Rule) bool) bool {
	seen := map[Place]bool{}
	var look func(Place) bool
	look = func(at Place) bool {
		c, ok := f.Chains[at]
		if !ok || seen[at] {
			return false
		}
		seen[at] = true
		if c.Policy != "" && such(&resource.Rule{Do: resource.Verdict{Target: c.Policy}}) {
			return true
		}
		return slices.ContainsFunc(c.Rules, func(r resource.Rule) bool {
			return such(&r) || r.Do.Jump != "" && look(Place{at.Table, r.Do.Jump})
		})
	}
	return look(at)
}

// sets closes those that change: of who may pass, those that might and may; of who is
// stopped, those that were and will be.
func (x *merger) sets(out *Filter) {
	stops := map[string]bool{}
	for _, f := range []Filter{x.was, x.is} {
		for _, at := range places(f) {
			for i := range f.Chains[at].Rules {
				r := &f.Chains[at].Rules[i]
				stop := drops(r) || r.Do.Jump != "" && !x.accepts(Place{at.Table, r.Do.Jump})
				for _, name := range []string{r.Match.SrcSet, r.Match.DstSet} {
					stops[name] = stops[name] || stop
				}
			}
		}
	}
	for name, s := range x.is.Sets {
		old, ok := x.was.Sets[name]
		if ok && !sameSet(old, s) && old.Family == s.Family {
			s.Members = among(old, s, stops[name])
		}
		out.Sets[name] = s
	}
}

// among are the members of both sets, or of either.
func among(a, b resource.AddrSet, either bool) []prefix {
	n := map[prefix]int{}
	for _, s := range []resource.AddrSet{a, b} {
		for _, m := range s.Members {
			n[m]++
		}
	}
	var out []prefix
	for m, times := range n {
		if either || times == 2 {
			out = append(out, m)
		}
	}
	slices.SortFunc(out, prefix.Compare)
	return out
}

// names lists sets in a stable order, places chains.
func names(sets map[string]resource.AddrSet) []string { return slices.Sorted(maps.Keys(sets)) }

func places(f Filter) []Place {
	return slices.SortedFunc(maps.Keys(f.Chains), func(a, b Place) int {
		return cmp.Or(cmp.Compare(a.Table, b.Table), cmp.Compare(a.Name, b.Name))
	})
}
