package fw

import (
	"fmt"
	"slices"
	"strings"

	"weft.dev/reconcile/resource"
)

// edit is one chain as it is to be after a write.
type edit struct {
	chain resource.Chain // name, table and family of a chain to drop
	lines []string
	drop  bool
}

func (e *edit) builtin() bool { return builtin(e.chain.Table, e.chain.Name) }

// order is that of the tables in a write: what restricts first. Only a table
// changes in one moment, so when new translations come they come after the
// rules that limit them.
var order = []string{"raw", "mangle", "filter", "nat"}

// restoreText returns what iptables-restore --noflush has to read to make edits
// true, all of one family. At no moment between its tables is more let through
// than before or after: translations of destinations go first and come last.
func restoreText(edits []*edit, kernel tables) []byte {
	perTable := map[string][]*edit{}
	for _, e := range edits {
		perTable[e.chain.Table] = append(perTable[e.chain.Table], e)
	}
	var b strings.Builder
	nat := perTable["nat"]
	added, lost := redirections(nat, kernel)
	if lost && len(perTable) > 1 {
		table(&b, "nat", nat, func(line string) bool { return !added[line] })
		if len(added) == 0 {
			delete(perTable, "nat")
		}
	}
	for _, name := range order {
		if list := perTable[name]; len(list) > 0 {
			table(&b, name, list, func(string) bool { return true })
		}
	}
	return []byte(b.String())
}

// redirections says which DNAT lines of edits are new and whether old ones go.
func redirections(edits []*edit, kernel tables) (added map[string]bool, lost bool) {
	added = map[string]bool{}
	for _, e := range edits {
		old := map[string]bool{}
		if c := kernel[e.chain.ID()]; c != nil {
			for _, r := range c.rules {
				if isDNAT(r) {
					old[squash(r)] = true
				}
			}
		}
		for _, l := range e.lines {
			switch {
			case !isDNAT(l):
			case old[squash(l)]:
				delete(old, squash(l))
			default:
				added[l] = true
			}
		}
		lost = lost || len(old) > 0
	}
	return added, lost
}

func isDNAT(line string) bool { return strings.Contains(line, " -j DNAT ") }

// squash drops what our text and the kernel's tell differently of the same
// rule. Where it does not suffice a rule only looks new.
func squash(line string) string {
	words := strings.Fields(strings.ReplaceAll(line, `"`, ""))
	for i, w := range words {
		words[i] = strings.TrimSuffix(w, "/32")
	}
	slices.Sort(words)
	return strings.Join(words, " ")
}

// table writes one table, with the lines that keep wants.
func table(b *strings.Builder, name string, edits []*edit, keep func(string) bool) {
	fmt.Fprintf(b, "*%s\n", name)
	// All chains are declared first: rules may jump to any. Declaring a chain
	// that is not built in empties it.
	for _, e := range edits {
		fmt.Fprintf(b, ":%s %s [0:0]\n", e.chain.Name, e.policy())
	}
	for _, e := range edits {
		if e.builtin() {
			fmt.Fprintf(b, "-F %s\n", e.chain.Name)
		}
	}
	for _, e := range edits {
		for _, l := range e.lines {
			if keep(l) {
				b.WriteString(l)
				b.WriteByte('\n')
			}
		}
	}
	for _, e := range edits {
		if e.drop && !e.builtin() {
			fmt.Fprintf(b, "-X %s\n", e.chain.Name)
		}
	}
	b.WriteString("COMMIT\n")
}

// policy is what stands behind the name of the chain.
func (e *edit) policy() string {
	switch {
	case !e.builtin():
		return "-"
	case e.drop || e.chain.Policy == "":
		return "ACCEPT"
	}
	return e.chain.Policy
}
