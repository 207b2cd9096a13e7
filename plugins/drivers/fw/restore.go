package fw

import (
	"fmt"
	"strings"

	"weft.dev/reconcile/resource"
)

// edit is one chain as it is to be after a write.
type edit struct {
	chain resource.Chain // name, table and family of a chain to drop
	lines []string
	drop  bool
	last  *edit // that follows once what this one ends has ended
}

func (e *edit) builtin() bool { return builtin(e.chain.Table, e.chain.Name) }

// section is what changes of one table, in one moment.
type section struct {
	table string
	edits []*edit
}

// restoreText returns what iptables-restore --noflush has to read to write sections,
// all of one family, one after the other.
func restoreText(sections []section) []byte {
	var b strings.Builder
	for _, s := range sections {
		s.write(&b)
	}
	return []byte(b.String())
}

func (s section) write(b *strings.Builder) {
	fmt.Fprintf(b, "*%s\n", s.table)
	// All chains are declared first: rules may jump to any. Declaring a chain
	// that is not built in empties it.
	for _, e := range s.edits {
		fmt.Fprintf(b, ":%s %s [0:0]\n", e.chain.Name, e.policy())
	}
	for _, e := range s.edits {
		if e.builtin() {
			fmt.Fprintf(b, "-F %s\n", e.chain.Name)
		}
	}
	for _, e := range s.edits {
		for _, l := range e.lines {
			b.WriteString(l)
			b.WriteByte('\n')
		}
	}
	for _, e := range s.edits {
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
