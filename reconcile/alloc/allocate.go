package alloc

import (
	"cmp"
	"slices"

	"weft.dev/reconcile/model"
	"weft.dev/schema"
)

// Options change what Allocate does with entries that could stay.
type Options struct {
	// Reallocate lists owners whose entries are given up first.
	Reallocate []string
	// Pin states entries.
	Pin []Entry
	// Base is the lock of the branch that was merged into: its entries win
	// over this branch's own, which are reallocated where both meet.
	Base *Lock
	// Rebalance places every router anew.
	Rebalance bool
	// Evacuate lists hosts that routers move away from.
	Evacuate []string

	still bool // routers stay where they may
}

// A Report says how a lock differs from the one before, in order.
type Report struct {
	Allocated []Entry
	Released  []Entry
	Changed   []Change
}

// Empty reports whether nothing differs.
func (r *Report) Empty() bool {
	return len(r.Allocated) == 0 && len(r.Released) == 0 && len(r.Changed) == 0
}

// A Change is an entry that got another value.
type Change struct {
	Entry
	From string
}

// Allocate answers demands: with what they state, with what old has, else with a
// free number of their pool. Its result depends on the demands as a set, on old
// and on opts. Where there are errors the lock keeps what old had and should not
// be written.
func Allocate(demands []model.Demand, old *Lock, opts Options) (*Lock, Report, schema.Diags) {
	if old == nil {
		old = Empty()
	}
	a := &allocator{old: old, opts: opts, spaces: map[string]space{}}
	a.ask(demands)
	a.options()
	a.stated()
	a.pinned()
	a.kept()
	a.fresh()
	lock, report := a.result()
	a.diags.Sort()
	return lock, report, a.diags
}

// space has who holds which value.
type space map[string]*want

// want is one demand on its way to a value.
type want struct {
	*model.Demand
	value string // the result
	had   string // what the lock has
	given bool   // value is decided
}

type allocator struct {
	old    *Lock
	opts   Options
	wants  []want // by owner and field
	spaces map[string]space
	again  map[string]bool // owners to reallocate
	away   map[string]bool // hosts to evacuate
	full   map[string]bool // pools without free numbers, by description
	seeds  map[*model.HostPool][]uint64
	diags  schema.Diags
}

// ask sorts the demands; of repeats the first stays.
func (a *allocator) ask(demands []model.Demand) {
	a.wants = make([]want, 0, len(demands))
	for i := range demands {
		a.wants = append(a.wants, want{Demand: &demands[i]})
	}
	slices.SortFunc(a.wants, func(x, y want) int {
		if c := cmp.Compare(x.Owner, y.Owner); c != 0 {
			return c
		}
		return cmp.Compare(x.Field, y.Field)
	})
	a.wants = slices.CompactFunc(a.wants, func(x, y want) bool { return x.Owner == y.Owner && x.Field == y.Field })
}

// options looks up what the lock has and checks that options name something.
func (a *allocator) options() {
	a.again, a.away, a.full = map[string]bool{}, map[string]bool{}, map[string]bool{}
	a.seeds = map[*model.HostPool][]uint64{}
	for _, h := range a.opts.Evacuate {
		a.away[h] = true
	}
	known := map[string]bool{}
	for _, o := range a.opts.Reallocate {
		known[o] = false
	}
	for i := range a.wants {
		w := &a.wants[i]
		if _, ok := known[w.Owner]; ok {
			known[w.Owner] = true
			a.again[w.Owner] = true
			w.had = a.oldValue(w)
			continue
		}
		w.had = a.oldValue(w)
	}
	for _, o := range a.opts.Reallocate {
		if !known[o] {
			a.diags.Errorf(schema.Pos{File: a.old.file}, "unknown-owner", "nothing that needs numbers is called %s", o).Offending(o).
				Hintf("an owner is such as network/acme/web, nic/acme/web-1/web or publicip/acme/vip")
		}
	}
}

// oldValue is what the lock has for w: under its name, under its former one, or
// of two values that of the base.
func (a *allocator) oldValue(w *want) string {
	if v := a.old.Number(w.Owner, w.Field); v != "" {
		return v
	}
	for _, c := range a.old.conflicts {
		if a.opts.Base != nil && c.Owner == w.Owner && c.Field == w.Field && a.opts.Base.Number(w.Owner, w.Field) == c.Value {
			return c.Value
		}
	}
	if w.Formerly == "" || a.asks(w.Formerly) {
		return "" // an owner of that name needs its numbers itself
	}
	return a.old.Number(w.Formerly, w.Field)
}

// asks reports whether owner needs numbers.
func (a *allocator) asks(owner string) bool {
	_, ok := slices.BinarySearchFunc(a.wants, owner, func(w want, o string) int { return cmp.Compare(w.Owner, o) })
	return ok
}

func (a *allocator) space(w *want) space {
	name := w.Pool.Space()
	s := a.spaces[name]
	if s == nil {
		s = space{}
		a.spaces[name] = s
	}
	return s
}

// take gives w a value unless another has it and does not share it; then that one
// is returned.
func (a *allocator) take(w *want, value string) *want {
	if w.Pool.Space() != "" {
		s := a.space(w)
		other := s[value]
		if other != nil && other != w && (w.Shares == "" || w.Shares != other.Shares) {
			return other
		}
		if other == nil {
			s[value] = w
		}
	}
	w.value, w.given = value, true
	return nil
}

// stated gives the numbers that documents state: an explicit number replaces its
// own owner's entry only.
func (a *allocator) stated() {
	for i := range a.wants {
		w := &a.wants[i]
		if w.Fixed == "" {
			continue
		}
		if o := a.take(w, w.Fixed); o != nil {
			TwoStated(&a.diags, w.Demand, o.Demand)
			w.value, w.given = w.had, true
		}
	}
}

// TwoStated reports that two documents state one number. The later place is the
// one that is reported.
func TwoStated(ds *schema.Diags, a, b *model.Demand) {
	if earlier(a.Pos, b.Pos) {
		a, b = b, a
	}
	what := a.Fixed
	if what == "0" {
		what = "untagged"
	}
	ds.Errorf(a.Pos, "number-taken", "%s is used twice as %s: by %s and %s", what, a.Pool.Describe(), b.Owner, a.Owner).
		Offending(a.Fixed).See(b.Pos, "stated by %s", b.Owner)
}

func earlier(a, b schema.Pos) bool {
	return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Col, b.Col)) < 0
}

func (a *allocator) pinned() {
	for _, p := range a.opts.Pin {
		at := schema.Pos{File: a.old.file}
		i, ok := slices.BinarySearchFunc(a.wants, p, func(w want, p Entry) int {
			return cmp.Or(cmp.Compare(w.Owner, p.Owner), cmp.Compare(w.Field, p.Field))
		})
		if !ok {
			a.diags.Errorf(at, "unknown-owner", "nothing called %s needs a number %s", p.Owner, p.Field).Offending(p.Owner)
			continue
		}
		w := &a.wants[i]
		switch {
		case w.Fixed != "" && w.Fixed != p.Value:
			a.diags.Errorf(w.Pos, "pin-contradicts", "%s states %s %s, so %s can not be pinned", w.Owner, w.Field, w.Fixed, p.Value).Offending(w.Fixed)
		case w.Fixed == "" && !w.Pool.Contains(p.Value):
			a.diags.Errorf(w.Pos, "outside-pool", "%s is no %s, so it can not be pinned to %s", p.Value, w.Pool.Describe(), p.Owner).Offending(p.Value)
		default:
			if o := a.take(w, p.Value); o != nil {
				a.diags.Errorf(w.Pos, "number-taken", "%s can not be pinned to %s as %s: %s has it", p.Value, p.Owner, w.Pool.Describe(), o.Owner).
					See(o.Pos, "%s", o.Owner)
			}
		}
	}
}

// kept lets entries stay: those of the base first, where there is one.
func (a *allocator) kept() {
	if a.opts.Base != nil {
		for i := range a.wants {
			w := &a.wants[i]
			if !w.given && w.had != "" && a.opts.Base.Number(w.Owner, w.Field) == w.had {
				a.keep(w)
			}
		}
	}
	for i := range a.wants {
		if w := &a.wants[i]; !w.given && w.had != "" {
			a.keep(w)
		}
	}
}

func (a *allocator) keep(w *want) {
	if p := a.apart(w); p != nil && p.given && p.value == w.had {
		return
	}
	switch _, isHost := w.Pool.(*model.HostPool); {
	case a.again[w.Owner]:
		return
	case isHost && a.goes(w) && a.waits(w):
		return
	case isHost && (a.opts.Rebalance || a.goes(w) || !w.Pool.Contains(w.had)):
		return // routers move away from where they may not stay
	case movable(w.Pool) && !w.Pool.Contains(w.had):
		return
	case !w.Pool.Contains(w.had):
		d := a.diags.Errorf(w.Pos, "outside-pool", "%s has %s %s, which is not a %s any more", w.Owner, w.Field, w.had, w.Pool.Describe()).
			Offending(w.had).See(a.old.Pos(w.Owner, w.Field, w.had), "its entry").Hintf("run weft lock --reallocate %s", w.Owner)
		if x, ok := w.Pool.(model.Denier); ok {
			if why := x.Denies(w.had); why != "" {
				d.Message += ": " + why
			}
		}
		w.value, w.given = w.had, true
		return
	}
	o := a.take(w, w.had)
	if o == nil || a.opts.Base != nil && a.opts.Base.Number(w.Owner, w.Field) != w.had {
		return
	}
	d := a.diags.Errorf(a.old.Pos(w.Owner, w.Field, w.had), "number-taken", "%s is held twice as %s: by %s and %s", w.had, w.Pool.Describe(), o.Owner, w.Owner).Offending(w.had)
	if o.Fixed != "" {
		d.See(o.Pos, "stated by %s", o.Owner).Hintf("state another number, or run weft lock --reallocate %s", w.Owner)
	} else {
		d.See(a.old.Pos(o.Owner, o.Field, o.value), "held by %s", o.Owner).
			Hintf("run weft lock --base REV after a merge, or weft lock --reallocate %s", w.Owner)
	}
	w.value, w.given = w.had, true
}

// fresh gives numbers to the rest, in the order of owner and field.
func (a *allocator) fresh() {
	for i := range a.wants {
		w := &a.wants[i]
		if w.given {
			continue
		}
		if p, ok := w.Pool.(*model.HostPool); ok {
			a.place(w, p)
			continue
		}
		a.probe(w)
	}
}

// result makes the lock and says how it differs from the old one.
func (a *allocator) result() (*Lock, Report) {
	var report Report
	entries := make([]Entry, 0, len(a.wants))
	for i := range a.wants {
		w := &a.wants[i]
		if w.value == "" {
			continue
		}
		e := Entry{w.Owner, w.Field, w.value}
		entries = append(entries, e)
		switch before := a.old.Number(w.Owner, w.Field); {
		case before == "":
			report.Allocated = append(report.Allocated, e)
		case before != w.value:
			report.Changed = append(report.Changed, Change{e, before})
		}
	}
	report.Released = a.released(entries)
	lock, _ := Parse(a.old.file, marshal(entries), nil)
	return lock, report
}

// released lists the old entries that no owner has any more. Both lists are in order.
func (a *allocator) released(entries []Entry) []Entry {
	var out []Entry
	i := 0
	for _, e := range a.old.Entries() {
		for i < len(entries) && cmp.Or(cmp.Compare(entries[i].Owner, e.Owner), cmp.Compare(entries[i].Field, e.Field)) < 0 {
			i++
		}
		if i == len(entries) || entries[i].Owner != e.Owner || entries[i].Field != e.Field {
			out = append(out, e)
		}
	}
	return out
}
