// Package alloc gives out numbers: VLAN ids, VNIs, addresses, MACs and router
// hosts. In go the demands of a tree (model) and the lock before; out come a
// lock, a report of what changed, and diagnostics.
//
// Nothing depends on the order of documents or lines, and an entry stays while
// its owner and its pool remain, whatever else changes. It is pure. Compile and
// cmd import it; it imports model, resource and schema.
package alloc

import (
	"cmp"
	"slices"
	"sort"
	"strings"

	"weft.dev/reconcile/model"
	"weft.dev/schema"
)

// FileName is where a tree keeps its lock.
const FileName = "weft.lock"

// An Entry is one line of a lock.
type Entry struct {
	Owner string `json:"owner"`
	Field string `json:"field"`
	Value string `json:"value"`
}

func compareEntries(a, b Entry) int {
	if c := cmp.Compare(a.Owner, b.Owner); c != 0 {
		return c
	}
	if c := cmp.Compare(a.Field, b.Field); c != 0 {
		return c
	}
	return cmp.Compare(a.Value, b.Value)
}

// A Lock is a parsed weft.lock. It is immutable and implements model.Numbers.
type Lock struct {
	file string
	text string
	// base has every owner but those in over, which has what an incremental
	// parse found changed: no entries means that the owner is gone.
	base *table
	over map[string][]number
	// conflicts are the fields that have two values; Number knows none of them.
	conflicts []Entry
	diags     schema.Diags
	plain     bool // sorted, without repeats: may be parsed incrementally

	self, from *token
	changed    []string // owners that differ from the lock called from
}

// token identifies a lock without keeping it alive.
type token struct{ _ byte }

// number is one field of an owner.
type number struct{ field, value string }

// table is all entries of a text by owner.
type table struct {
	owners  map[string]group
	numbers []number
}

// group is the part of numbers that one owner has.
type group struct{ from, to uint32 }

// Empty is the lock of a tree that has none.
func Empty() *Lock {
	return &Lock{file: FileName, base: &table{}, plain: true, self: &token{}}
}

var _ model.Numbers = (*Lock)(nil)

// Number implements model.Numbers. A field with two values has none.
func (l *Lock) Number(owner, field string) string {
	for _, n := range l.of(owner) {
		if n.field == field {
			return n.value
		}
	}
	return ""
}

// Of lists the entries of one owner by field, without conflicts.
func (l *Lock) Of(owner string) []Entry {
	var out []Entry
	for _, n := range l.of(owner) {
		if n.value != "" {
			out = append(out, Entry{owner, n.field, n.value})
		}
	}
	return out
}

func (l *Lock) of(owner string) []number {
	if l.over != nil {
		if ns, ok := l.over[owner]; ok {
			return ns
		}
	}
	g, ok := l.base.owners[owner]
	if !ok {
		return nil
	}
	return l.base.numbers[g.from:g.to]
}

// Unreadable says why no number can be trusted to be all there is, or "": the
// lock is empty, or has lines that cannot be read. Two values for one field make
// only that one unknown.
func (l *Lock) Unreadable() string {
	for _, d := range l.diags {
		if d.Code != codeTwoValues {
			return d.Pos.String() + ": " + d.Message
		}
	}
	if len(l.base.owners) == 0 && len(l.over) == 0 {
		return l.file + " has no numbers; run weft lock"
	}
	return ""
}

// Holds reports whether l has just n entries, and no conflicts.
func (l *Lock) Holds(n int) bool { return len(l.conflicts) == 0 && l.size() == n }

func (l *Lock) size() int {
	n := 0
	for owner, g := range l.base.owners {
		if _, ok := l.over[owner]; !ok {
			n += int(g.to - g.from)
		}
	}
	for _, ns := range l.over {
		n += len(ns)
	}
	return n
}

// Entries lists all entries in order, also both values of a conflict.
func (l *Lock) Entries() []Entry {
	out := make([]Entry, 0, len(l.base.numbers))
	add := func(owner string, ns []number) {
		for _, n := range ns {
			if n.value != "" {
				out = append(out, Entry{owner, n.field, n.value})
			}
		}
	}
	for owner, g := range l.base.owners {
		if _, ok := l.over[owner]; !ok {
			add(owner, l.base.numbers[g.from:g.to])
		}
	}
	for owner, ns := range l.over {
		add(owner, ns)
	}
	out = append(out, l.conflicts...)
	slices.SortFunc(out, compareEntries)
	return out
}

// Marshal returns the text of the lock as it is written: sorted, without repeats.
func (l *Lock) Marshal() []byte {
	if l.plain {
		return []byte(l.text)
	}
	return marshal(slices.Compact(l.Entries()))
}

func marshal(entries []Entry) []byte {
	size := 0
	for _, e := range entries {
		size += len(e.Owner) + len(e.Field) + len(e.Value) + 3
	}
	out := make([]byte, 0, size)
	for _, e := range entries {
		out = append(out, e.Owner...)
		out = append(out, ' ')
		out = append(out, e.Field...)
		out = append(out, ' ')
		out = append(out, e.Value...)
		out = append(out, '\n')
	}
	return out
}

// Changed lists the owners whose entries differ between prev and l, in no order.
// It is cheap when one was parsed with the other.
func (l *Lock) Changed(prev *Lock) []string {
	switch {
	case l == prev:
		return nil
	case prev == nil:
		prev = Empty()
	case l.from != nil && l.from == prev.self:
		return l.changed
	case prev.from != nil && prev.from == l.self:
		return prev.changed
	}
	var out []string
	for _, owner := range l.ownerNames() {
		if !slices.Equal(l.of(owner), prev.of(owner)) {
			out = append(out, owner)
		}
	}
	for _, owner := range prev.ownerNames() {
		if l.of(owner) == nil {
			out = append(out, owner)
		}
	}
	return out
}

func (l *Lock) ownerNames() []string {
	out := make([]string, 0, len(l.base.owners))
	for owner := range l.base.owners {
		if _, ok := l.over[owner]; !ok {
			out = append(out, owner)
		}
	}
	for owner, ns := range l.over {
		if len(ns) > 0 {
			out = append(out, owner)
		}
	}
	return out
}

// Pos is the line that says owner field value; value "" means any. It reads the
// text: for messages only.
func (l *Lock) Pos(owner, field, value string) schema.Pos {
	want := owner + " " + field + " " + value
	for off := 0; ; {
		i := strings.Index(l.text[off:], want)
		if i < 0 {
			return schema.Pos{File: l.file}
		}
		at := off + i
		end := at + len(want)
		if (at == 0 || l.text[at-1] == '\n') && (value == "" || end == len(l.text) || l.text[end] == '\n' || l.text[end] == '\r') {
			return schema.Pos{File: l.file, Line: 1 + strings.Count(l.text[:at], "\n"), Col: 1}
		}
		off = at + 1
	}
}

// NICs lists the names of a VM's NICs that have entries, in order. It looks at the
// text: for what cannot be looked up otherwise only.
func (l *Lock) NICs(account, vm string) []string {
	prefix := "nic/" + account + "/" + vm + "/"
	rest := l.text
	if l.plain {
		// No character of an owner comes before the space that ends it, so lines
		// are in the order of owners.
		rest = rest[sort.Search(len(rest), func(i int) bool { return rest[lineStart(rest, i):] >= prefix }):]
	}
	var out []string
	for line := range strings.Lines(rest) {
		owner, ok := strings.CutPrefix(line, prefix)
		if !ok && l.plain {
			break
		}
		if name, _, found := strings.Cut(owner, " "); ok && found && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}
