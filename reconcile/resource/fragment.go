package resource

import (
	"cmp"
	"slices"

	"github.com/cespare/xxhash/v2"
)

// A Fragment is what one owner asks of one host: entries sorted by ID, and a
// fingerprint over them. Fragments are immutable and shared between intents;
// equal pointers or fingerprints mean equal content. One may keep no entries but
// the way to make them again (Thin): then it knows its Owner, Print and Len, and
// answers Has and Needs, at no cost.
type Fragment struct {
	Owner Owner
	Print uint64

	// sums are hashes: of the IDs of the entries in their order, up to claimed of
	// their claims, and the rest, sorted, of what they require of others.
	sums           []uint64
	count, claimed int

	entries []Entry
	again   func() []Entry
}

// NewFragment sorts entries and fingerprints them; it does not keep the slice. It
// panics when two entries share an ID: the compiler reports that before.
func NewFragment(owner Owner, entries []Entry) *Fragment {
	return Fold(entries, func(_, again Entry) {
		panic("two entries of one fragment have the ID " + again.State.ID().String())
	}).Fragment(owner)
}

// Entries lists the entries by ID. They belong to the fragment: nobody changes
// them. Where they are made again that may be slow, and two calls may give two
// lists.
func (f *Fragment) Entries() []Entry {
	if f.again != nil {
		return f.again()
	}
	return f.entries
}

// Len counts the entries.
func (f *Fragment) Len() int { return f.count }

// Has reports whether an entry has that ID. It may be wrong once in 2^64 times.
func (f *Fragment) Has(id ID) bool { return slices.Contains(f.sums[:f.count], id.mark()) }

// Needs reports whether an entry requires id, which none of the fragment has. It
// may be wrong once in 2^64 times.
func (f *Fragment) Needs(id ID) bool {
	_, ok := slices.BinarySearch(f.sums[f.claimed:], id.mark())
	return ok
}

// Marks are hashes of all that the fragment has for itself on its host: first the
// IDs, in the order of the entries, then what they claim. They belong to the
// fragment.
func (f *Fragment) Marks() []uint64 { return f.sums[:f.claimed:f.claimed] }

// Thin returns f without its entries: again makes them whenever somebody asks. It
// must be safe for concurrent use and give what f has.
func (f *Fragment) Thin(again func() []Entry) *Fragment {
	out := *f
	out.entries, out.again = nil, again
	return &out
}

// Marks are hashes of what st has for itself on its host: its ID, then what it
// claims.
func Marks(st State) []uint64 {
	out := []uint64{st.ID().mark()}
	for _, c := range Claims(st) {
		out = append(out, claimMark(c))
	}
	return out
}

// mark is a hash of the ID, the same in every process.
func (id ID) mark() uint64 { return markOf(string(id.Kind), id.Name) }

func claimMark(claim string) uint64 { return markOf("claim", claim) }

// markOf is a hash of something called name among those of its sort.
func markOf(sort, name string) uint64 {
	return xxhash.Sum64String(sort)*0x9e3779b97f4a7c15 ^ xxhash.Sum64String(name)
}

// Marked says what of st a mark stands for: its ID, or one of its claims.
func Marked(st State, mark uint64) (what string, ok bool) {
	if id := st.ID(); id.mark() == mark {
		return id.String(), true
	}
	for _, c := range Claims(st) {
		if claimMark(c) == mark {
			return c, true
		}
	}
	return "", false
}

// Folded are entries sorted by ID, each ID once.
type Folded struct {
	ids     []ID
	entries []Entry
}

// Fold sorts entries. Of those that share an ID the first
// stays, and repeated is told of each other one.
func Fold(entries []Entry, repeated func(first, again Entry)) Folded {
	// IDs are made once: most of them are put together from parts.
	type keyed struct {
		id ID
		at int
	}
	list := make([]keyed, len(entries))
	for i, e := range entries {
		list[i] = keyed{e.State.ID(), i}
	}
	slices.SortFunc(list, func(a, b keyed) int { return cmp.Or(a.id.Compare(b.id), a.at-b.at) })
	f := Folded{ids: make([]ID, 0, len(list)), entries: make([]Entry, 0, len(list))}
	for _, k := range list {
		e := entries[k.at]
		if n := len(f.ids); n > 0 && f.ids[n-1] == k.id {
			repeated(f.entries[n-1], e)
			continue
		}
		f.ids, f.entries = append(f.ids, k.id), append(f.entries, e)
	}
	return f
}

// Entries lists them by ID.
func (l Folded) Entries() []Entry { return l.entries }

// Fragment makes a fragment of them.
func (l Folded) Fragment(owner Owner) *Fragment {
	f := &Fragment{Owner: owner, count: len(l.entries), entries: l.entries}
	f.sums = l.Marks()
	f.claimed = len(f.sums)
	f.sums = append(f.sums, l.others(f.sums[:f.count])...)
	h := newHash("fragment").str(string(owner))
	for i, e := range l.entries {
		h.str(string(l.ids[i].Kind)).str(l.ids[i].Name).num(e.State.Fingerprint())
	}
	f.Print = h.sum()
	return f
}

// Marks are what Fragment.Marks would be.
func (l Folded) Marks() []uint64 {
	out := make([]uint64, 0, len(l.ids)+len(l.ids)/2)
	for _, id := range l.ids {
		out = append(out, id.mark())
	}
	for _, e := range l.entries {
		for _, c := range Claims(e.State) {
			out = append(out, claimMark(c))
		}
	}
	return out
}

// others are the marks of what the entries require and none of them is, sorted.
func (l Folded) others(own []uint64) []uint64 {
	own = slices.Sorted(slices.Values(own))
	var out []uint64
	add := func(id ID) {
		m := id.mark()
		if _, ok := slices.BinarySearch(own, m); !ok && !slices.Contains(out, m) {
			out = append(out, m)
		}
	}
	for _, e := range l.entries {
		for _, id := range e.State.Needs() {
			add(id)
		}
		if p, ok := Parent(e.State); ok {
			add(p)
		}
	}
	slices.Sort(out)
	return out
}
