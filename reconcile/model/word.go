package model

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"weft.dev/schema"
)

// unknown reports a name that no document has.
func unknown(ds *schema.Diags, at schema.Pos, what, name string, known []string) *schema.Diag {
	d := ds.Errorf(at, "unknown-"+strings.ReplaceAll(what, " ", "-"), "there is no %s %q", what, name).Offending(name)
	switch best := nearest(name, known); {
	case best != "":
		d.Hintf("did you mean %q?", best)
	case len(known) == 0:
		d.Hintf("the tree has no %s", what)
	case len(known) == 1:
		d.Hintf("there is only %q", known[0])
	case len(known) <= 8:
		d.Hintf("known are %s", list(known))
	}
	return d
}

// unknownAccount reports an account that no document declares.
func unknownAccount(ds *schema.Diags, at schema.Pos, name string, site *Site) {
	known := keys(site.Accounts)
	if d := unknown(ds, at, "account", name, known); nearest(name, known) == "" {
		d.Hintf("add a document of kind Account named %s", name)
	}
}

// nearest returns the word that was probably meant, or "": at most a third of
// it mistyped.
func nearest(name string, words []string) string {
	best, limit := "", 1+min(len(name)/3, 3)
	for _, w := range words {
		if n := distance(name, w, limit); n < limit {
			best, limit = w, n
		}
	}
	return best
}

// distance counts the insertions, deletions, replacements and swaps of neighbours
// that make b of a; from limit on it may say limit.
func distance(a, b string, limit int) int {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit {
		return limit
	}
	before, prev, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := prev[j-1]
			if a[i-1] != b[j-1] {
				cost++
			}
			row[j] = min(cost, prev[j]+1, row[j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, prev, row = prev, row, before
	}
	return prev[len(b)]
}

// list joins words for people.
func list(words []string) string {
	switch n := len(words); {
	case n == 0:
		return "none"
	case n == 1:
		return words[0]
	case n > 8:
		return strings.Join(words[:8], ", ") + fmt.Sprintf(" and %d more", n-8)
	default:
		return strings.Join(words[:n-1], ", ") + " and " + words[n-1]
	}
}

func keys[T any](m map[string]T) []string { return slices.Sorted(maps.Keys(m)) }

func names(l []*PhysicalNetwork) []string {
	out := make([]string, len(l))
	for i, p := range l {
		out[i] = p.Name
	}
	return out
}

// nameOf is the place of a document's name: where notes point to.
func nameOf(d *schema.Document) schema.Pos { return d.At("metadata.name") }

// d1 is the place of item i of the list at path, and d2 that of a field of it.
func d1(d *schema.Document, path string, i int) schema.Pos {
	return d.At(fmt.Sprintf("%s[%d]", path, i))
}

func d2(d *schema.Document, path string, i int, field string) schema.Pos {
	return d.At(fmt.Sprintf("%s[%d].%s", path, i, field))
}
