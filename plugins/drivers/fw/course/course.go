// Package course finds the way from one packet filter to another that is never more
// open than both.
//
// In go the chains and sets of one family of one namespace, as they are and as they
// are to be; out come writes, each of which the kernel does in one moment: chains of
// one table, or the members of one set. It is pure. The driver beside it and the laws of
// plugins import it.
//
// A packet passes where every table lets it pass that may drop: those are closed first,
// to what both the old and the new one let pass. Then the translations change, in one
// moment. Until then all that passes, passes in the old filter, where it went: the
// tables are no more open than the old ones and translate as these do. From then on all
// that passes, passes in the new filter, for the same reason, also while the tables are
// opened to what they are to be. What rules let pass that stay is not disturbed, nor is
// what is established; what other rules let pass now than before may have to wait for a
// moment.
package course

import (
	"slices"

	"weft.dev/reconcile/resource"
)

// A Filter is the packet filter of one family of one namespace: chains by table and
// name, sets by name. Of built-in chains that it does not have, all is accepted.
type Filter struct {
	Chains map[Place]resource.Chain
	Sets   map[string]resource.AddrSet
}

// Place is a chain of a table.
type Place struct{ Table, Name string }

// At is the place of a chain.
func At(c resource.Chain) Place { return Place{c.Table, c.Name} }

// A Write is done in one moment: either chains of one table are made and dropped, or
// one set gets its members.
type Write struct {
	Table  string
	Chains []resource.Chain
	Drops  []string
	Set    *resource.AddrSet
	// Opens: the set may have its new members once all chains are written.
	Opens bool
}

// nat is the table that decides nothing, but where to.
const nat = "nat"

// Tables are all tables, those that may drop first, nat last.
var Tables = []string{"raw", "mangle", "filter", nat}

// Writes lists what turns was into is. A set whose members change is used for one thing
// in both: to let packets pass, by ACCEPT or by RETURN in a chain without ACCEPT, or to
// stop them; not to translate. Sets that are new come first, since nobody uses them;
// those that go are nobody's concern here.
func Writes(was, is Filter) []Write {
	var out []Write
	for _, name := range names(is.Sets) {
		if _, ok := was.Sets[name]; !ok {
			s := is.Sets[name]
			out = append(out, Write{Set: &s})
		}
	}
	both := was // if one thing changes it is one moment, whatever it is
	if units(was, is) > 1 {
		both = closed(was, is)
	}
	for _, name := range names(both.Sets) {
		if s := both.Sets[name]; !sameSet(s, was.Sets[name]) {
			out = append(out, Write{Set: &s})
		}
	}
	deciding := Tables[:len(Tables)-1]
	for _, table := range deciding {
		if w := write(table, was, both, false); w.any() {
			out = append(out, w)
		}
	}
	// What is translated comes last of what decides, and first of what opens.
	for _, table := range append([]string{nat}, deciding...) {
		from := both
		if table == nat {
			from = was
		}
		if w := write(table, from, is, true); w.any() {
			out = append(out, w)
		}
	}
	for _, name := range names(is.Sets) {
		if s, before := is.Sets[name], both.Sets[name]; before.Name != "" && !sameSet(s, before) {
			out = append(out, Write{Set: &s, Opens: true})
		}
	}
	return out
}

func (w Write) any() bool { return len(w.Chains)+len(w.Drops) > 0 }

// units counts what changes, each in a moment of its own.
func units(was, is Filter) int {
	n := 0
	for _, table := range Tables {
		if write(table, was, is, true).any() {
			n++
		}
	}
	for name, s := range is.Sets {
		if before, ok := was.Sets[name]; ok && !sameSet(s, before) {
			n++
		}
	}
	return n
}

// write is what turns a table of from into that of to; without drops, chains that to
// does not have stay.
func write(table string, from, to Filter, drops bool) Write {
	w := Write{Table: table}
	for _, at := range places(to) {
		c := to.Chains[at]
		before, ok := from.Chains[at]
		if at.Table == table && (!ok || !sameChain(before, c)) {
			w.Chains = append(w.Chains, c)
		}
	}
	for _, at := range places(from) {
		if _, ok := to.Chains[at]; !ok && drops && at.Table == table {
			w.Drops = append(w.Drops, at.Name)
		}
	}
	return w
}

// sameChain reports whether two chains are alike. Most are one and the same.
func sameChain(a, b resource.Chain) bool {
	if n := len(a.Rules); n == len(b.Rules) && a.Policy == b.Policy && (n == 0 || &a.Rules[0] == &b.Rules[0]) {
		return true
	}
	return a.Fingerprint() == b.Fingerprint()
}

func sameSet(a, b resource.AddrSet) bool {
	return a.Family == b.Family && slices.Equal(a.Members, b.Members)
}
