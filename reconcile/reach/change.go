package reach

import (
	"maps"
	"slices"
	"strings"

	"weft.dev/reconcile/resource"
)

// less lists what a has and b has not: ends are equal or have nothing in common,
// ports are counted one by one.
func less(a, b []trial) []trial {
	type ends struct{ from, to, proto, at string }
	key := func(t trial) ends { return ends{t.from.name, t.to.name, t.proto, t.at} }
	has := map[ends][]trial{}
	for _, t := range b {
		has[key(t)] = append(has[key(t)], t)
	}
	var out []trial
	for _, t := range a {
		left := []trial{t}
		for _, o := range has[key(t)] {
			var next []trial
			for _, l := range left {
				next = append(next, l.without(o)...)
			}
			left = next
		}
		out = append(out, left...)
	}
	return out
}

// without is t less the ports of o.
func (t trial) without(o trial) []trial {
	if o.hi < t.lo || t.hi < o.lo {
		return []trial{t}
	}
	var out []trial
	if t.lo < o.lo {
		before := t
		before.hi = o.lo - 1
		out = append(out, before)
	}
	if o.hi < t.hi {
		after := t
		after.lo = o.hi + 1
		out = append(out, after)
	}
	return out
}

// A Change is what a commit does to who reaches whom.
type Change struct {
	Added   []Way `json:"added,omitempty"`
	Removed []Way `json:"removed,omitempty"`
}

// Between compares the fragments of one host before and after; equal ones, and
// those of owners that head holds, are not looked at. It is exact: a way that
// grows, or shrinks, counts by what it grows or shrinks by.
func Between(base, head *resource.Intent) Change {
	var added, removed []Way
	owners := map[resource.Owner]bool{}
	for _, in := range []*resource.Intent{base, head} {
		for _, f := range in.Fragments {
			owners[f.Owner] = true
		}
	}
	for _, owner := range slices.Sorted(maps.Keys(owners)) {
		f, g := base.Fragment(owner), head.Fragment(owner)
		if _, held := head.Held(owner); held || f != nil && g != nil && f.Print == g.Print {
			continue
		}
		was, is := routersOf(f), routersOf(g)
		both := slices.Concat(was, is)
		before, after := tried(was, both, string(owner)), tried(is, both, string(owner))
		added = append(added, changed(after, before)...)
		removed = append(removed, changed(before, after)...)
	}
	return Compare(removed, added)
}

// changed lists what of a has no counterpart in b.
func changed(a, b []trial) []Way { return texts(narrow(expand(narrow(less(a, b))))) }

func routersOf(f *resource.Fragment) []*Router {
	if f == nil {
		return nil
	}
	return Routers([]*resource.Fragment{f})
}

// Compare tells two lists of ways apart, by ends and ports.
func Compare(before, after []Way) Change {
	was, is := trials(before), trials(after)
	return Change{Added: texts(less(is, was)), Removed: texts(less(was, is))}
}

func trials(ways []Way) []trial {
	out := make([]trial, len(ways))
	for i, w := range ways {
		t := trial{from: place{name: w.From}, to: place{name: w.To}, at: w.At}
		t.proto, t.lo, t.hi = portsIn(w.Ports)
		out[i] = t
	}
	return out
}

// Join adds the changes of another host: a router that moved is no change.
func (c Change) Join(o Change) Change {
	return Compare(append(slices.Clip(c.Removed), o.Removed...), append(slices.Clip(c.Added), o.Added...))
}

// Exposed lists what a change newly opens to the internet: "203.0.113.20:443/tcp".
func (c Change) Exposed() []string {
	var out []string
	for _, w := range c.Added {
		if w.Open() {
			to := w.To
			if strings.Contains(to, ":") { // IPv6, an address or a prefix
				to = "[" + to + "]"
			}
			if text := to + ":" + w.Ports; !slices.Contains(out, text) { // a balancer's members are several ways
				out = append(out, text)
			}
		}
	}
	return out
}
