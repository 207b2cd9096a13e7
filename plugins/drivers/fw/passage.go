package fw

import (
	"maps"
	"slices"

	"weft.dev/plugins/drivers/fw/course"
	"weft.dev/reconcile/resource"
)

// swap is a set whose members change in place.
type swap struct {
	job     *job
	was, is resource.AddrSet
	opens   bool // not before the chains are written
}

// was is the filter of a family as weft wrote it. Chains that kernel has otherwise are
// not in it: they are drift, and whatever they let pass is to end.
func (x *site) was(family int, kernel tables) course.Filter {
	out := course.Filter{Chains: map[course.Place]resource.Chain{}, Sets: map[string]resource.AddrSet{}}
	for _, w := range x.note.Chains {
		k := kernel[w.Chain.ID()]
		if w.Chain.Family == family && (kernel == nil || k != nil && slices.Equal(k.text(), w.Text)) {
			out.Chains[course.At(w.Chain)] = w.Chain
		}
	}
	for name, s := range x.swaps {
		if s.is.Family == family {
			out.Sets[name] = s.was
		}
	}
	return out
}

// is changes was to what jobs make of it. What they drop was there, whatever it was.
func (x *site) is(was course.Filter, family int, jobs []*job) course.Filter {
	out := course.Filter{Chains: maps.Clone(was.Chains), Sets: map[string]resource.AddrSet{}}
	for _, j := range jobs {
		c, ok := j.step.State().(resource.Chain)
		if j.edit != nil {
			c, ok = j.edit.chain, true
		} else if j.step.Drop {
			var err error
			c, err = chainOf(j.step.ID())
			ok = err == nil
		}
		switch at := course.At(c); {
		case !ok || c.Family != family:
		case j.step.Drop:
			if _, known := was.Chains[at]; !known {
				if builtin(c.Table, c.Name) {
					c.Policy = "ACCEPT"
				}
				was.Chains[at] = c
			}
			delete(out.Chains, at)
		default:
			out.Chains[at] = c
		}
	}
	for name, s := range x.swaps {
		if s.is.Family == family {
			out.Sets[name] = s.is
		}
	}
	return out
}

// first returns what each set that changes in place gets before the chains are written,
// and notes which get the rest after them.
func (x *site) first(jobs []*job) []resource.AddrSet {
	var out []resource.AddrSet
	var chains []*job
	for _, j := range jobs {
		if j.step.ID().Kind == resource.KindChain && !j.done {
			chains = append(chains, j)
		}
	}
	for _, family := range []int{4, 6} { // sets are there also where chains cannot be
		was := x.was(family, nil)
		for _, w := range course.Writes(was, x.is(was, family, chains)) {
			switch {
			case w.Set == nil:
			case w.Opens:
				x.swaps[w.Set.Name].opens = true
			default:
				out = append(out, *w.Set)
			}
		}
	}
	return out
}

// passage lists the tables of a family to write, one after the other, so that jobs are
// done. What weft sees no difference in is written once more.
func (x *site) passage(family int, jobs []*job, kernel tables) ([]section, error) {
	was := x.was(family, kernel)
	is := x.is(was, family, jobs)
	owners, left := map[course.Place]resource.Owner{}, map[course.Place]*job{}
	for _, j := range jobs {
		at := course.At(j.edit.chain)
		owners[at] = j.step.Owner()
		if !j.step.Drop {
			left[at] = j
		}
	}
	var out []section
	for _, w := range course.Writes(was, is) {
		if w.Set != nil {
			continue
		}
		s := section{table: w.Table}
		for _, c := range w.Chains {
			lines, err := render(c, owners[course.At(c)])
			if err != nil {
				return nil, err
			}
			s.edits = append(s.edits, &edit{chain: c, lines: lines})
			if is.Chains[course.At(c)].Fingerprint() == c.Fingerprint() {
				delete(left, course.At(c))
			}
		}
		for _, name := range w.Drops {
			s.edits = append(s.edits, &edit{chain: resource.Chain{Family: family, Table: w.Table, Name: name}, drop: true})
		}
		out = append(out, s)
	}
	for _, table := range course.Tables {
		s := section{table: table}
		for _, j := range jobs {
			if at := course.At(j.edit.chain); at.Table == table && left[at] == j {
				s.edits = append(s.edits, j.edit)
			}
		}
		if len(s.edits) > 0 {
			out = append(out, s)
		}
	}
	return out, nil
}

// held reports whether a chain of a set's owner could not be written: then the set lets
// no more pass.
func held(s *swap, jobs []*job) bool {
	return slices.ContainsFunc(jobs, func(j *job) bool {
		return j.err != nil && j.step.ID().Kind == resource.KindChain && j.step.Owner() == s.job.step.Owner()
	})
}
