// Package render writes plans for people and machines: text for terminals,
// Markdown for pull requests, annotations for GitHub, JSON.
//
// In goes a plan.Report; out comes text on a writer. cmd imports it, and status for Wrap. What users
// wrote cannot break out of its line, fence or annotation.
package render

import (
	"fmt"
	"slices"
	"strings"

	"weft.dev/reconcile/plan"
	"weft.dev/reconcile/resource"
)

// A row is one line of a plan before it gets its form.
type row struct {
	depth int
	// mark is a glyph: a verb's, "!" or "".
	mark string
	// text may hold anything a user wrote; rows are cleaned when written.
	text string
	// more is of less weight, right stands at the right margin.
	more  string
	right string
	kind  rowKind
}

type rowKind uint8

const (
	plain   rowKind = iota
	heading         // of a group
	action
	detail
	context // a line of a difference that stays
	added
	removed
	warning
)

// hostRows lists all there is to say of one host.
func hostRows(p *plan.Plan) []row {
	var out []row
	if p.Frozen != "" {
		out = append(out, row{kind: heading, text: "frozen: nothing is changed here"}, row{depth: 1, text: p.Frozen})
	}
	within := implied(p)
	out = append(out, groups(p, within, false)...)
	if drift := groups(p, within, true); len(drift) > 0 {
		out = append(out, row{kind: heading, text: "drift: what somebody else changed here, put right"})
		for i := range drift {
			drift[i].depth++
		}
		out = append(out, drift...)
	}
	return append(out, asides(p)...)
}

// groups lists the actions by owner and phase.
func groups(p *plan.Plan, within map[resource.ID]int, drift bool) []row {
	by := map[resource.Owner]map[plan.Phase][]*plan.Action{}
	var owners []resource.Owner
	for _, a := range p.Actions {
		if a.Drift != drift || a.Implied {
			continue
		}
		o := a.Owner()
		if by[o] == nil {
			by[o] = map[plan.Phase][]*plan.Action{}
			owners = append(owners, o)
		}
		by[o][a.Phase] = append(by[o][a.Phase], a)
	}
	slices.Sort(owners)
	var out []row
	for _, o := range owners {
		out = append(out, row{kind: heading, text: ownerWords(o)})
		for _, phase := range plan.Phases() {
			if len(by[o][phase]) == 0 {
				continue
			}
			out = append(out, row{depth: 1, text: phaseWords(by[o][phase]), more: nicWords(by[o][phase])})
			for _, a := range by[o][phase] {
				out = append(out, actionRows(a, within[a.ID], p.Revision)...)
			}
		}
	}
	return out
}

// phaseWords is the verb of a group, and how long it waits where all of it does.
func phaseWords(group []*plan.Action) string {
	out := string(group[0].Phase)
	if d := group[0].Wait; d > 0 && !slices.ContainsFunc(group, func(a *plan.Action) bool { return a.Wait != d }) {
		out += ", after " + resource.Wait(d)
	}
	return out
}

func ownerWords(o resource.Owner) string {
	if o == "" {
		return "of unknown owner"
	}
	if strings.HasPrefix(string(o), "host/") {
		return string(o) + " (what networks share)"
	}
	return string(o)
}

// implied counts what vanishes with each removed resource, by the resource
// that has a line of its own.
func implied(p *plan.Plan) map[resource.ID]int {
	by := make(map[resource.ID]*plan.Action, len(p.Actions))
	for _, a := range p.Actions {
		by[a.ID] = a
	}
	out := map[resource.ID]int{}
	for _, a := range p.Actions {
		top := a
		for range len(p.Actions) {
			if !top.Implied {
				break
			}
			up, ok := resource.Parent(top.Before.State)
			if !ok || by[up] == nil {
				break
			}
			top = by[up]
		}
		if top != a {
			out[top.ID]++
		}
	}
	return out
}

func actionRows(a *plan.Action, within int, revision string) []row {
	r := row{depth: 2, kind: action, mark: string(a.Verb), text: a.ID.String()}
	if s := a.Source(revision); !s.IsZero() {
		r.right = sourceWords(s)
	}
	switch {
	case a.Verb == plan.Create:
		r.more = summary(a.After.State)
	case within > 0:
		r.more = fmt.Sprintf("and %d within it", within)
	}
	out := []row{r}
	for _, c := range a.Changes {
		out = append(out, changeRows(c, r.right)...)
	}
	if a.Reason != "" && a.Verb != plan.Delete {
		out = append(out, row{depth: 3, kind: detail, text: a.Reason})
	}
	if a.Disrupts != "" {
		out = append(out, row{depth: 3, kind: warning, mark: "!", text: a.Disrupts})
	}
	return out
}

// mostNICs is how many NICs a group names.
const mostNICs = 3

// nicWords names the NICs that a group is for.
func nicWords(group []*plan.Action) string {
	var nics []string
	for _, a := range group {
		for _, n := range a.NICs() {
			nics = append(nics, "nic/"+n)
		}
	}
	slices.Sort(nics)
	nics = slices.Compact(nics)
	if n := len(nics) - mostNICs; n > 0 {
		nics = append(nics[:mostNICs], fmt.Sprintf("and %d more", n))
	}
	return strings.Join(nics, ", ")
}

func sourceWords(s plan.Source) string {
	if s.Line > 0 {
		return fmt.Sprintf("%s:%d", s.File, s.Line)
	}
	return s.File
}

// summary is a state in one line: its fields that say something.
func summary(st resource.State) string {
	var parts []string
	for _, f := range st.Fields() {
		switch {
		case f.Value == "" || f.Name == "owner" || isHash(f.Value):
		case f.Lines:
			parts = append(parts, fmt.Sprintf("%s (%s)", f.Name, count(strings.Count(f.Value, "\n")+1, "line")))
		case f.Value == "true":
			parts = append(parts, f.Name)
		default:
			parts = append(parts, f.Name+" "+f.Value)
		}
	}
	return strings.Join(parts, ", ")
}

// isHash reports whether v is a fingerprint, which says nothing to people.
func isHash(v string) bool {
	return len(v) == 16 && strings.Trim(v, "0123456789abcdef") == ""
}

// changeRows lists a change; source is what stands beside its action.
func changeRows(c plan.Change, source string) []row {
	if !c.Lines {
		words := fmt.Sprintf("%s: %s -> %s", c.Field, orNone(c.From), orNone(c.To))
		if isHash(c.From) || isHash(c.To) {
			if words = c.Field + " changed"; c.Field == "loaded" {
				words = "reads its files again"
			}
		} else if c.To == "" && c.From != "" && (c.Field == "content" || c.Field == "details") {
			words = c.Field + " differ"
		}
		return []row{{depth: 3, kind: detail, text: words}}
	}
	if c.Field == "flows" {
		return []row{{depth: 3, kind: detail, text: flowWords(c.Diff)}}
	}
	out := []row{{depth: 3, kind: detail, text: c.Field + ":"}}
	for _, l := range c.Diff {
		r := row{depth: 4, kind: context, text: l.Text}
		switch l.Op {
		case "+":
			r.kind, r.mark = added, "+"
		case "-":
			r.kind, r.mark = removed, "-"
		case "@":
			r.text = "... " + l.Text
		}
		if s := sourceWords(l.Source); s != "" && s != source {
			r.right, source = s, s
		}
		out = append(out, r)
	}
	return out
}

// flowWords counts OpenFlow rules: they follow from the ports and segments that
// stand beside them, and are in the JSON for whom they tell something.
func flowWords(diff []plan.Line) string {
	more, fewer := 0, 0
	for _, l := range diff {
		switch l.Op {
		case "+":
			more++
		case "-":
			fewer++
		}
	}
	return fmt.Sprintf("flows: %d added, %d removed", more, fewer)
}

func orNone(v string) string {
	if v == "" {
		return "(none)"
	}
	return v
}

// reportRows lists what is not about one host: who is held and is on none of
// them, allocations, checks and reachability.
func reportRows(r *plan.Report) []row {
	var out []row
	for _, h := range held(r) {
		if h.Resources > 0 {
			continue // said where they are
		}
		if len(out) == 0 {
			out = append(out, row{kind: heading, text: "held: nothing is made of these"})
		}
		out = append(out, heldRow(h, h.Cause)...)
	}
	if len(r.Allocations) > 0 {
		out = append(out, row{kind: heading, text: "weft.lock"})
		for _, a := range r.Allocations {
			more := a.To
			switch a.Verb {
			case plan.Update:
				more = a.From + " -> " + a.To
			case plan.Delete:
				more = a.From
			case plan.Create, plan.Replace:
			}
			out = append(out, row{depth: 2, kind: action, mark: string(a.Verb), text: a.Owner + " " + a.Field, more: more})
		}
	}
	if rows := checkRows(r); len(rows) > 0 {
		out = append(append(out, row{kind: heading, text: "checks"}), rows...)
	}
	if rows := pathRows(r.Reachability); len(rows) > 0 {
		out = append(append(out, row{kind: heading, text: "reachability"}), rows...)
	}
	return out
}

func checkRows(r *plan.Report) []row {
	var out []row
	passed := 0
	for _, c := range r.Checks {
		if c.Status == plan.Passed {
			passed++
			continue
		}
		x := row{depth: 1, kind: warning, mark: "!", text: fmt.Sprintf("%s %s", c.Name, c.Status)}
		if !c.Source.IsZero() {
			x.right = sourceWords(c.Source)
		}
		if out = append(out, x); c.Message != "" {
			out = append(out, row{depth: 2, kind: detail, text: c.Message})
		}
	}
	if passed > 0 {
		out = append(out, row{depth: 1, text: fmt.Sprintf("%d passed", passed)})
	}
	return out
}

func pathRows(x *plan.Reachability) []row {
	if x == nil {
		return nil
	}
	var out []row
	list := func(mark plan.Verb, paths []plan.Path) {
		for _, p := range paths {
			r := row{depth: 2, kind: action, mark: string(mark), text: p.From + " -> " + p.To, more: p.Ports}
			if !p.Source.IsZero() {
				r.right = sourceWords(p.Source)
			}
			out = append(out, r)
		}
	}
	list(plan.Create, x.Gained)
	list(plan.Delete, x.Lost)
	return out
}
