package plan

import (
	"fmt"
	"slices"
	"strings"

	"weft.dev/reconcile/resource"
)

// A Line is one line of a difference: Op is "-", "+", "" for a line that stays
// and is there to find one's way, or "@" where lines that stay were left out.
type Line struct {
	Op   string `json:"op,omitempty"`
	Text string `json:"text,omitempty"`
	// Source is the document line that a changed one follows from, and NIC the
	// "account/vm/nic" that it is for; zero where it is nobody's in particular.
	Source Source `json:"source,omitzero"`
	NIC    string `json:"nic,omitempty"`

	at int // of its own text, from 1, until its author is known
}

// contextLines is how many lines that stay are shown around a change.
const contextLines = 1

// diffLines compares two texts line by line.
func diffLines(was, will string) []Line {
	a, b := split(was), split(will)
	head := 0
	for head < len(a) && head < len(b) && a[head] == b[head] {
		head++
	}
	tail := 0
	for tail < len(a)-head && tail < len(b)-head && a[len(a)-1-tail] == b[len(b)-1-tail] {
		tail++
	}
	all := make([]Line, 0, len(a)+len(b))
	for _, l := range a[:head] {
		all = append(all, Line{Text: l})
	}
	for _, l := range middle(a[head:len(a)-tail], b[head:len(b)-tail]) {
		l.at += head
		all = append(all, l)
	}
	for _, l := range a[len(a)-tail:] {
		all = append(all, Line{Text: l})
	}
	return around(all)
}

func split(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, "\n")
}

// around keeps the changed lines with their context.
func around(all []Line) []Line {
	keep := make([]bool, len(all))
	for i, l := range all {
		if l.Op == "" {
			continue
		}
		for j := max(0, i-contextLines); j <= min(len(all)-1, i+contextLines); j++ {
			keep[j] = true
		}
	}
	var out []Line
	skipped := 0
	flush := func() {
		if skipped > 0 {
			out = append(out, Line{Op: "@", Text: fmt.Sprintf("%d unchanged", skipped)})
		}
		skipped = 0
	}
	for i, l := range all {
		if !keep[i] {
			skipped++
			continue
		}
		flush()
		out = append(out, l)
	}
	flush()
	return out
}

// mostEdits bounds the search for the shortest difference, whose cost grows
// with its square; texts that differ more are compared as sets of lines.
const mostEdits = 1500

// middle finds the shortest difference (Myers, "An O(ND) Difference Algorithm
// and Its Variations", 1986, the greedy form).
func middle(a, b []string) []Line {
	if len(a) == 0 || len(b) == 0 {
		return asSets(a, b)
	}
	most := min(len(a)+len(b), mostEdits)
	reach := make([]int, 2*most+3) // by diagonal: how far into a
	var trace [][]int
	for edits := 0; edits <= most; edits++ {
		trace = append(trace, slices.Clone(reach[most-edits:most+edits+3]))
		for k := -edits; k <= edits; k += 2 {
			x := reach[most+k] + 1
			if k == -edits || k != edits && reach[most+k] < reach[most+k+2] {
				x = reach[most+k+2]
			}
			for x < len(a) && x-k < len(b) && a[x] == b[x-k] {
				x++
			}
			reach[most+k+1] = x
			if x >= len(a) && x-k >= len(b) {
				return walkBack(a, b, trace)
			}
		}
	}
	return asSets(a, b)
}

// walkBack follows the furthest reaches from the end to the start.
func walkBack(a, b []string, trace [][]int) []Line {
	var out []Line
	x, y := len(a), len(b)
	for edits := len(trace) - 1; x > 0 || y > 0; edits-- {
		reach := trace[edits] // of diagonals -edits-1 to edits+1
		k := x - y
		from := k - 1
		if k == -edits || k != edits && reach[k+edits] < reach[k+edits+2] {
			from = k + 1
		}
		px := reach[from+edits+1]
		py := px - from
		if edits == 0 {
			px, py = 0, 0
		}
		for x > px && y > py {
			x, y = x-1, y-1
			out = append(out, Line{Text: a[x]})
		}
		switch {
		case x > px:
			out = append(out, Line{Op: "-", Text: a[x-1], at: x})
			x--
		case y > py:
			out = append(out, Line{Op: "+", Text: b[y-1], at: y})
			y--
		}
	}
	slices.Reverse(out)
	return out
}

// asSets finds lines that are on one side only; order does not count.
func asSets(a, b []string) []Line {
	count := make(map[string]int, len(b))
	for _, l := range b {
		count[l]++
	}
	var out []Line
	for i, l := range a {
		if count[l] == 0 {
			out = append(out, Line{Op: "-", Text: l, at: i + 1})
			continue
		}
		count[l]--
		out = append(out, Line{Text: l})
	}
	for i, l := range b {
		if count[l] > 0 {
			count[l]--
			out = append(out, Line{Op: "+", Text: l, at: i + 1})
		}
	}
	return out
}

// credit says of each changed line who wrote what it follows from: was and will are
// the states whose lines they are, commit is that of will.
func credit(diff []Line, was, will resource.State, commit string) {
	for i := range diff {
		l := &diff[i]
		st, of := will, commit
		if l.Op == "-" {
			st, of = was, ""
		}
		if l.Op == "+" || l.Op == "-" {
			by := resource.AuthorOf(st, l.at-1)
			l.NIC = by.NIC
			if by.Pos.File != "" {
				l.Source = Source{File: by.Pos.File, Line: by.Pos.Line, Commit: of}
			}
		}
		l.at = 0
	}
	disown(diff)
}

// disown takes lines from NICs that stay, where lines of nobody in particular change
// beside them: all of that follows from a change of the whole.
func disown(diff []Line) {
	whole, comes, goes := false, map[string]bool{}, map[string]bool{}
	for _, l := range diff {
		switch {
		case l.Op != "+" && l.Op != "-":
		case l.NIC == "":
			whole = whole || l.Source.IsZero()
		case l.Op == "+":
			comes[l.NIC] = true
		default:
			goes[l.NIC] = true
		}
	}
	for i := range diff {
		if l := &diff[i]; whole && comes[l.NIC] && goes[l.NIC] {
			l.NIC, l.Source = "", Source{}
		}
	}
}
