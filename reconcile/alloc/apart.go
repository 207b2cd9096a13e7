package alloc

import (
	"cmp"
	"slices"

	"weft.dev/reconcile/model"
)

// apart is the demand that w's value must differ from, or nil.
func (a *allocator) apart(w *want) *want {
	if w.Apart == "" {
		return nil
	}
	i, ok := slices.BinarySearchFunc(a.wants, w, func(x want, w *want) int {
		return cmp.Or(cmp.Compare(x.Owner, w.Owner), cmp.Compare(x.Field, w.Apart))
	})
	if !ok {
		return nil
	}
	return &a.wants[i]
}

func movable(p model.Pool) bool {
	m, ok := p.(model.Mover)
	return ok && m.Movable()
}

// goes reports whether a router is to leave the host that it has.
func (a *allocator) goes(w *want) bool {
	p, ok := w.Pool.(*model.HostPool)
	if !ok || w.had == "" {
		return false
	}
	twin := ""
	if o := a.apart(w); o != nil {
		if twin = o.had; o.given {
			twin = o.value
		}
	}
	return a.away[w.had] || !a.opts.still && p.Leaves(w.had, twin)
}

// waits lets the routers of a pair both of which are to leave their hosts move one after
// the other, so that one of them serves: the second stays where it is for now, and the
// next weft lock moves it.
func (a *allocator) waits(w *want) bool {
	o := a.apart(w)
	if o == nil || o.given || o.Field > w.Field || o.had == w.had || !a.goes(o) || !w.Pool.Contains(w.had) {
		return false
	}
	a.diags.Warnf(w.Pos, "pair-moves", "the other router of %s moves from %s first: run weft lock again once that is in force, to move this one from %s", w.Owner, o.had, w.had)
	a.take(w, w.had)
	return true
}

// A spread says which hosts a router may have for the sake of the other one of its
// pair: not that one's, and one of another group if there is any.
type spread struct {
	host, group string
	strict      bool
}

func (a *allocator) spread(w *want, p *model.HostPool, seeds []uint64) spread {
	o := a.apart(w)
	if o == nil || !o.given {
		return spread{}
	}
	s := spread{host: o.value, group: p.Group(o.value)}
	if s.group == "" {
		return s
	}
	for i := range seeds {
		h := p.At(uint64(i))
		s.strict = s.strict || !a.away[h] && p.Group(h) != s.group
	}
	return s
}

func (s spread) allows(p *model.HostPool, host string) bool {
	return s.host == "" || host != s.host && !(s.strict && p.Group(host) == s.group)
}
