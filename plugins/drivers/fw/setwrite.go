package fw

import (
	"context"
	"fmt"
	"slices"

	"weft.dev/reconcile/plan"
	"weft.dev/reconcile/resource"
)

// makeSets makes sets in one go, and one by one if that fails. What would open with the
// new members of one that is there waits until the chains of this round are written.
func (x *site) makeSets(ctx context.Context, jobs, all []*job) {
	have, err := readSets(x.space)
	if err != nil {
		fail(jobs, err)
		return
	}
	var now []resource.AddrSet
	by := map[string]*job{}
	for _, j := range jobs {
		set, ok := j.step.State().(resource.AddrSet)
		if !ok {
			j.err = fmt.Errorf("fw driver: no way to make %s of %T", j.step.ID(), j.step.State())
			continue
		}
		by[set.Name] = j
		k := find(have, set.Name)
		if k == nil || k.odd != "" || k.family != set.Family || slices.Equal(k.members, split(set.Members)) {
			now = append(now, set)
			continue
		}
		x.swaps[set.Name] = &swap{job: j, is: set, was: resource.AddrSet{NS: set.NS, Name: set.Name, Family: set.Family, Members: join(k.members)}}
	}
	if len(x.swaps) > 0 {
		now = append(now, x.first(all)...)
	}
	x.fill(ctx, now, have, func(s resource.AddrSet) *job { return by[s.Name] })
	for name, s := range x.swaps {
		if s.opens && s.job.err != nil {
			delete(x.swaps, name)
		}
	}
}

// open gives sets that had to wait their members.
func (x *site) open(ctx context.Context, all []*job) {
	var list []resource.AddrSet
	for name, s := range x.swaps {
		if s.opens && held(s, all) {
			s.job.err, s.opens = plan.ErrSkipped, false
		}
		if s.opens {
			list = append(list, x.swaps[name].is)
		}
	}
	swaps := x.swaps
	x.swaps = map[string]*swap{}
	if len(list) == 0 {
		return
	}
	have, err := readSets(x.space)
	if err != nil {
		for _, s := range list {
			swaps[s.Name].job.err = err
		}
		return
	}
	x.fill(ctx, list, have, func(s resource.AddrSet) *job { return swaps[s.Name].job })
}

// fill makes sets true in one go, and one by one if that fails, and notes those that
// have what they are to have.
func (x *site) fill(ctx context.Context, sets []resource.AddrSet, have []kset, of func(resource.AddrSet) *job) {
	slices.SortFunc(sets, func(a, b resource.AddrSet) int { return slices.Compare([]byte(a.Name), []byte(b.Name)) })
	var all []byte
	var good []resource.AddrSet
	for _, s := range sets {
		text, err := renderSet(s, find(have, s.Name))
		if of(s).err = err; err == nil {
			all, good = append(all, text...), append(good, s)
		}
	}
	if len(good) == 0 {
		return
	}
	if err := x.ipset(ctx, all, find(have, spareSet) != nil); err != nil {
		for _, s := range good {
			j := of(s)
			if j.err = err; len(good) == 1 {
				break
			}
			if have, j.err = readSets(x.space); j.err == nil {
				text, _ := renderSet(s, find(have, s.Name))
				j.err = x.ipset(ctx, text, find(have, spareSet) != nil)
			}
		}
	}
	for _, s := range good {
		if w := x.swaps[s.Name]; of(s).err == nil && (w == nil || !w.opens) {
			set := of(s).step.State().(resource.AddrSet)
			x.note.Sets[set.Name] = madeSet{Owner: of(s).step.Owner(), Set: set}
		}
	}
}
