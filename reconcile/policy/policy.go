// Package policy judges what is valid and yet not wanted: documents of kind Policy, and those that are
// built in, over the objects of a tree and over the plan of a change.
//
// In go trees, built-in policies as documents, a plan and the day; out come findings with the line of
// the object, and diagnostics about the policies themselves. Expressions are CEL, always end, and see
// no secret. cmd imports it; it imports schema and plan. The day comes from outside: there is no clock
// here, and equal input gives equal findings.
package policy

import (
	"slices"
	"strings"

	"weft.dev/schema"
)

// Rules are the policies that apply to a tree. They may be used concurrently.
type Rules struct {
	// Diags are mistakes in the policies: expressions that do not compile, exceptions that are
	// over or name nothing. A policy with an error judges nothing.
	Diags schema.Diags

	tree *schema.Tree
	list []*rule
}

// Options say which policies apply, and when.
type Options struct {
	// Builtin are policies that apply beside those of the tree. A document of the same name stands
	// in for one.
	Builtin []*schema.Document
	// Today decides which exceptions are over.
	Today schema.Date
	// DenyOnly leaves out those that would only warn.
	DenyOnly bool
	// All keeps those that are off, too, to be listed: they judge nothing.
	All bool
	// Name, when not empty, is the only policy wanted.
	Name string
}

// Of collects the policies that apply to a tree.
func Of(tree *schema.Tree, o Options) *Rules {
	r := &Rules{tree: tree}
	replaced := map[string]*schema.Document{}
	for _, d := range o.Builtin {
		replaced[d.Meta.Name] = d
	}
	seen := map[string]bool{}
	for _, d := range tree.Documents {
		spec, ok := d.Spec.(*schema.Policy)
		if !ok || o.Name != "" && d.Meta.Name != o.Name {
			continue
		}
		seen[d.Meta.Name] = true
		n := &rule{name: d.Meta.Name, doc: d, source: d, spec: spec}
		if b := replaced[n.name]; b != nil && spec.Expression == "" {
			n.stand(b)
		}
		r.add(n, o, replaced)
	}
	for _, d := range o.Builtin {
		if !seen[d.Meta.Name] && (o.Name == "" || d.Meta.Name == o.Name) {
			r.add(&rule{name: d.Meta.Name, doc: d, source: d, spec: d.Spec.(*schema.Policy), builtin: true}, o, replaced)
		}
	}
	slices.SortFunc(r.list, func(a, b *rule) int { return strings.Compare(a.name, b.name) })
	r.Diags.Sort()
	return r
}

func (r *Rules) add(n *rule, o Options, builtin map[string]*schema.Document) {
	n.today = o.Today
	off := n.spec.Action == actionOff
	if off && !o.All || o.DenyOnly && n.spec.Action != actionDeny {
		return
	}
	n.trusted = builtin[n.name] == n.source
	if !n.trusted {
		if !n.complete(builtin, &r.Diags) || !n.compile(&r.Diags) {
			return
		}
	}
	n.readExceptions(r.tree, &r.Diags)
	r.list = append(r.list, n)
}

// The actions of a policy.
const (
	actionDeny = "Deny"
	actionOff  = "Off"
)

// A Policy is one that applies, for people.
type Policy struct {
	Name    string
	Action  string
	Kinds   []string
	Why     string
	Message string
	Builtin bool // and no document stands in for it
	// Pos is where it is written; zero for a built-in one.
	Pos        schema.Pos
	Exceptions int
}

// Policies lists those that apply, by name.
func (r *Rules) Policies() []Policy {
	out := make([]Policy, len(r.list))
	for i, n := range r.list {
		out[i] = Policy{
			Name: n.name, Action: n.spec.Action, Kinds: n.spec.Match.Kinds, Why: n.spec.Why, Message: n.spec.Message,
			Builtin: n.builtin, Pos: n.pos(), Exceptions: len(n.except),
		}
	}
	return out
}

// A Finding is one object, item or plan that does not meet a policy.
type Finding struct {
	Policy string
	// Deny: the policy forbids it; else it warns.
	Deny bool
	// Object is what was judged; zero for a plan.
	Object schema.ID
	// Text is what is wrong, without the name of the policy.
	Text string
	// Diag says the same at its line: of the object, or of the policy over plans.
	Diag schema.Diag
}

// Diags returns the diagnostics of findings, sorted.
func Diags(findings []Finding) schema.Diags {
	var out schema.Diags
	for _, f := range findings {
		out = append(out, f.Diag)
	}
	out.Sort()
	return out
}
