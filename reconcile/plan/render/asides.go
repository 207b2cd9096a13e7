package render

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"weft.dev/reconcile/plan"
	"weft.dev/reconcile/resource"
)

// asides lists what is not done and why.
func asides(p *plan.Plan) []row {
	var out []row
	section := func(title string, rows []row) {
		if len(rows) > 0 {
			out = append(append(out, row{kind: heading, text: title}), rows...)
		}
	}
	section("blocked: cannot be made what they should be", blockedRows(p))
	section("held: left exactly as they are", heldRows(p))
	section("foreign: not ours, not touched", foreignRows(p))
	section("not read: nothing is planned here", unreadRows(p))
	section("unbound: ports that flows wait for", unboundRows(p))
	section("for others to do", noticeRows(p))
	return out
}

func blockedRows(p *plan.Plan) []row {
	var out []row
	for _, b := range p.Blocked {
		r := row{depth: 1, kind: action, mark: string(b.Verb), text: b.ID.String(), more: string(b.Owner)}
		if !b.Source.IsZero() {
			r.right = sourceWords(b.Source)
		}
		out = append(out, r, row{depth: 2, kind: detail, text: b.Reason})
	}
	return out
}

// heldRows lists the held owners that have something on the host: a plan names
// those of the whole tree.
func heldRows(p *plan.Plan) []row {
	var out []row
	for _, h := range p.Held {
		if h.Resources > 0 {
			out = append(out, heldRow(h, h.Cause+", "+count(h.Resources, "resource"))...)
		}
	}
	return out
}

func heldRow(h plan.Held, more string) []row {
	return []row{{depth: 1, text: string(h.Owner), more: more}, {depth: 2, kind: detail, text: h.Reason}}
}

// held lists the held owners of all hosts, each once, with all that they have.
func held(r *plan.Report) []plan.Held {
	var out []plan.Held
	at := map[resource.Owner]int{}
	for _, p := range r.Hosts {
		for _, h := range p.Held {
			i, ok := at[h.Owner]
			if !ok {
				at[h.Owner] = len(out)
				out = append(out, h)
				continue
			}
			out[i].Resources += h.Resources
		}
	}
	slices.SortFunc(out, func(a, b plan.Held) int { return cmp.Compare(a.Owner, b.Owner) })
	return out
}

func foreignRows(p *plan.Plan) []row {
	var out []row
	for _, f := range p.Foreign {
		if slices.ContainsFunc(p.Blocked, func(b plan.Blocked) bool { return b.ID == f.ID }) {
			continue // said there
		}
		words := "is in the way of " + string(f.Owner)
		if f.Adopted {
			words = "serves " + string(f.Owner)
		}
		out = append(out, row{depth: 1, text: f.ID.String(), more: words}, row{depth: 2, kind: detail, text: f.Words})
	}
	return out
}

func unreadRows(p *plan.Plan) []row {
	var out []row
	for _, u := range p.Unread {
		out = append(out, row{depth: 1, text: unreadWords(u)}, row{depth: 2, kind: detail, text: u.Err})
	}
	return out
}

func unreadWords(u resource.Unread) string {
	if u.NS == "" {
		return string(u.Kind)
	}
	if u.Kind == resource.KindRecord {
		return string(u.Kind) + " of server " + u.NS
	}
	return string(u.Kind) + " in namespace " + u.NS
}

func noticeRows(p *plan.Plan) []row {
	var out []row
	for _, n := range p.Notices {
		out = append(out, row{depth: 1, text: ownerWords(n.Owner)})
		for _, w := range n.Words {
			out = append(out, row{depth: 2, kind: detail, text: w})
		}
	}
	return out
}

// mostSymbols is how many unbound symbols of one owner are listed.
const mostSymbols = 5

func unboundRows(p *plan.Plan) []row {
	var out []row
	for _, u := range p.Unbound {
		list := u.Symbols
		if len(list) > mostSymbols {
			list = append(slices.Clone(list[:mostSymbols]), fmt.Sprintf("and %d more", len(u.Symbols)-mostSymbols))
		}
		out = append(out, row{depth: 1, text: ownerWords(u.Owner), more: strings.Join(list, ", ")})
	}
	return out
}
