package plan

import (
	"slices"
	"strings"

	"weft.dev/reconcile/resource"
)

// compare lists the fields in which an observed resource differs from the
// desired one, nil when it does not, and whether one of them is fixed.
func compare(before, after *resource.Entry, w *world) (changes []Change, fixed bool) {
	if !differs(before, after) {
		return nil, false
	}
	if before.Owner != "" && before.Owner != after.Owner {
		changes = append(changes, Change{Field: "owner", From: string(before.Owner), To: string(after.Owner)})
	}
	if before.State.Fingerprint() == after.State.Fingerprint() && len(changes) > 0 {
		return changes, false
	}
	was := before.State
	if seen, ok := was.(resource.Seen); ok {
		if seen.Drift != "" {
			return append(changes, drift(seen)), false
		}
		// What was written last is what stands there: it has the fields.
		l := w.lastOf(seen.Ident)
		if l == nil || l.State.Fingerprint() != seen.Print {
			return append(changes, Change{Field: "content", From: "something else"}), false
		}
		was = l.State
	}
	more, fixed := compareFields(was.Fields(), after.State.Fields(), func(diff []Line) { credit(diff, was, after.State, w.opt.Revision) })
	if changes = append(changes, more...); len(changes) == 0 {
		changes = []Change{{Field: "details", From: "other"}}
	}
	return changes, fixed
}

func drift(s resource.Seen) Change {
	c := Change{Field: "drift", Lines: true}
	for l := range strings.SplitSeq(strings.TrimRight(s.Drift, "\n"), "\n") {
		c.Diff = append(c.Diff, driftLine(l))
	}
	c.From, c.To = sides(c.Diff)
	return c
}

// driftLine takes a line of a driver's own difference: what is "missing" is shown
// as added, what is "extra" or "foreign" as removed, anything else as it is.
func driftLine(l string) Line {
	for prefix, op := range map[string]string{"missing ": "+", "extra ": "-", "foreign ": "-"} {
		if rest, ok := strings.CutPrefix(l, prefix); ok {
			return Line{Op: op, Text: rest}
		}
	}
	return Line{Text: l}
}

func compareFields(was, will []resource.Field, credit func([]Line)) (changes []Change, fixed bool) {
	for i, f := range will {
		old := resource.Field{Lines: f.Lines}
		if i < len(was) && was[i].Name == f.Name {
			old = was[i]
		} else if j := slices.IndexFunc(was, func(o resource.Field) bool { return o.Name == f.Name }); j >= 0 {
			old = was[j]
		}
		if old.Value == f.Value {
			continue
		}
		fixed = fixed || f.Fixed
		c := Change{Field: f.Name, From: old.Value, To: f.Value, Lines: f.Lines}
		if f.Lines {
			c.Diff = diffLines(old.Value, f.Value)
			credit(c.Diff)
			c.From, c.To = sides(c.Diff)
		}
		changes = append(changes, c)
	}
	return changes, fixed
}

// sides are the removed and the added lines of a difference.
func sides(diff []Line) (from, to string) {
	var minus, plus []string
	for _, l := range diff {
		switch l.Op {
		case "-":
			minus = append(minus, l.Text)
		case "+":
			plus = append(plus, l.Text)
		}
	}
	return strings.Join(minus, "\n"), strings.Join(plus, "\n")
}
