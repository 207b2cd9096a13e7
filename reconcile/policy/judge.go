package policy

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"unicode"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"

	"weft.dev/schema"
)

// All policies of a tree together may cost so much: a hostile one ends after seconds, however large the
// tree is.
const (
	costOfTree   = 20_000_000
	costOfObject = 1_000
)

// maxFindings are those of one policy that are told one by one.
const maxFindings = 100

// Objects judges the objects of the tree. Base is the tree before the change, or nil: then old is null
// everywhere. What cannot be judged is an error of a policy that denies. Findings are sorted by place.
func (r *Rules) Objects(base *schema.Tree) []Finding {
	kinds := map[string][]*schema.Document{}
	for _, n := range r.list {
		for _, k := range n.spec.Match.Kinds {
			kinds[k] = nil
		}
	}
	if len(kinds) == 0 {
		return nil
	}
	total := uint64(costOfTree)
	for _, d := range r.tree.Documents {
		if list, ok := kinds[d.Kind]; ok {
			kinds[d.Kind] = append(list, d)
		}
		total += costOfObject
	}
	var out []Finding
	for _, n := range r.list {
		var docs []*schema.Document
		for _, k := range n.spec.Match.Kinds {
			docs = append(docs, kinds[k]...)
		}
		if n.overPlan() || len(docs) == 0 {
			continue
		}
		n.ready()
		j := &judge{rule: n, tree: r.tree, base: base, left: total}
		out = append(out, j.all(docs)...)
		total -= min(j.spent.Load(), total)
	}
	sortFindings(out)
	return out
}

// Plan judges the plan of a change.
func (r *Rules) Plan(c *Change) []Finding {
	var out []Finding
	for _, n := range r.list {
		if !n.overPlan() || n.except["plan"] {
			continue
		}
		n.ready()
		j := &judge{rule: n, tree: r.tree, left: costOfPlan}
		v := &vars{plan: changed(c)}
		ok, text, err := j.one(v)
		switch {
		case err != nil:
			out = append(out, j.failed(n.pos(), schema.ID{}, err, 0))
		case !ok:
			out = append(out, j.finding(n.pos(), schema.ID{}, text))
		}
	}
	sortFindings(out)
	return out
}

func sortFindings(out []Finding) {
	slices.SortStableFunc(out, func(a, b Finding) int {
		p, q := a.Diag.Pos, b.Diag.Pos
		if c := strings.Compare(p.File, q.File); c != 0 {
			return c
		}
		if p.Line != q.Line {
			return p.Line - q.Line
		}
		return strings.Compare(a.Policy, b.Policy)
	})
}

// vars are the variables of one evaluation.
type vars struct {
	object, old, item, plan ref.Val
}

// ResolveName implements cel.Activation.
func (v *vars) ResolveName(name string) (any, bool) {
	var x ref.Val
	switch name {
	case "object":
		x = v.object
	case "old":
		x = v.old
	case "item":
		x = v.item
	case "plan":
		x = v.plan
	}
	return x, x != nil
}

// Parent implements cel.Activation.
func (v *vars) Parent() cel.Activation { return nil }

// A judge is one rule at work.
type judge struct {
	rule  *rule
	tree  *schema.Tree
	base  *schema.Tree
	left  uint64 // of the cost
	spent atomic.Uint64
}

// verdict is what became of one document.
type verdict struct {
	items []int // that do not meet the policy; -1: the object
	texts []string
	err   error
}

// all judges documents in parallel.
func (j *judge) all(docs []*schema.Document) []Finding {
	verdicts := make([]verdict, len(docs))
	const batch = 64
	var next atomic.Int64
	var judging sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(docs)/batch+1) {
		judging.Go(func() {
			for {
				to := int(next.Add(batch))
				for i := to - batch; i < min(to, len(docs)); i++ {
					if j.spent.Load() > j.left {
						return
					}
					verdicts[i] = j.document(docs[i])
				}
				if to >= len(docs) {
					return
				}
			}
		})
	}
	judging.Wait()
	if j.spent.Load() > j.left {
		// Which ones were judged by then is chance.
		return []Finding{j.failed(j.rule.source.At("spec.expression"), schema.ID{}, errExpensive, 0)}
	}
	return j.tell(docs, verdicts)
}

// tell makes findings of verdicts.
func (j *judge) tell(docs []*schema.Document, verdicts []verdict) []Finding {
	var out []Finding
	more, failures, first := 0, 0, -1
	for i, v := range verdicts {
		if v.err != nil {
			if failures++; first < 0 {
				first = i
			}
		}
		for k, item := range v.items {
			if len(out) == maxFindings {
				more++
				continue
			}
			out = append(out, j.finding(j.place(docs[i], item), docs[i].ID(), v.texts[k]))
		}
	}
	if more > 0 {
		last := out[len(out)-1]
		last.Text = fmt.Sprintf("%d more do not meet it", more)
		last.Diag.Message = fmt.Sprintf("%d more do not meet the policy %s and are not shown", more, j.rule.name)
		last.Diag.Text, last.Diag.Hint = "", ""
		out = append(out, last)
	}
	if first >= 0 {
		out = append(out, j.failed(docs[first].At("metadata.name"), docs[first].ID(), verdicts[first].err, failures-1))
	}
	return out
}

// place is where a finding points: the field, the item, or the object's name.
func (j *judge) place(d *schema.Document, item int) schema.Pos {
	path := j.rule.spec.Field
	if item >= 0 {
		path = strings.TrimSuffix(j.rule.spec.Each+"["+itoa(item)+"]."+path, ".")
	}
	if path == "" {
		path = "metadata.name"
	}
	at := d.At(path)
	if at == d.Pos {
		at = d.At("metadata.name")
	}
	return at
}

func itoa(i int) string { return strconv.Itoa(i) }

// document judges one object, or each item of its list.
func (j *judge) document(d *schema.Document) verdict {
	r := j.rule
	if !r.matches(d) || len(r.except) > 0 && r.except[d.ID().String()] {
		return verdict{}
	}
	typed := r.typed() != ""
	v := &vars{object: object(d, j.tree, typed), old: types.NullValue}
	if j.base != nil {
		if before := j.base.Lookup(d.ID()); before != nil {
			v.old = object(before, j.base, typed)
		}
	}
	var out verdict
	judge := func(item int) {
		ok, text, err := j.one(v)
		if err != nil {
			out.err = err
		} else if !ok {
			out.items, out.texts = append(out.items, item), append(out.texts, text)
		}
	}
	if r.each == nil {
		judge(-1)
		return out
	}
	at := v.object
	for _, name := range r.each {
		at = at.(traits.Indexer).Get(types.String(name))
		if _, ok := at.(traits.Indexer); !ok {
			return verdict{} // a field that only other kinds have
		}
	}
	list, ok := at.(traits.Lister)
	if !ok {
		return verdict{}
	}
	n, _ := list.Size().(types.Int)
	for i := range n {
		v.item = list.Get(i)
		judge(int(i))
	}
	return out
}

// one evaluates the policy under variables: whether it is met, and if not what to say.
func (j *judge) one(v *vars) (met bool, text string, err error) {
	p := j.rule.programs[j.rule.typed()]
	result, err := j.eval(p.expression, v)
	if err != nil {
		return false, "", err
	}
	ok, isBool := result.(types.Bool)
	switch {
	case !isBool:
		return false, "", fmt.Errorf("the expression is a %s, not true or false", result.Type().TypeName())
	case bool(ok):
		return true, "", nil
	case p.message == nil:
		return false, j.rule.spec.Message, nil
	}
	said, err := j.eval(p.message, v)
	if s, ok := said.(types.String); err == nil && ok {
		return false, sentence(string(s)), nil
	}
	return false, "", nil
}

func (j *judge) eval(p cel.Program, v *vars) (ref.Val, error) {
	result, details, err := p.Eval(v)
	if details != nil {
		if cost := details.ActualCost(); cost != nil {
			j.spent.Add(*cost)
		}
	}
	if err != nil && strings.Contains(err.Error(), "cost limit exceeded") {
		j.spent.Add(costLimit) // what was spent is not told
		return nil, errExpensive
	}
	return result, err
}

// sentence makes one line of what an expression says.
func sentence(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
	if runes := []rune(s); len(runes) > 500 {
		s = string(runes[:500]) + "..."
	}
	return s
}

// finding makes one of what does not meet the policy.
func (j *judge) finding(at schema.Pos, id schema.ID, text string) Finding {
	r := j.rule
	f := Finding{Policy: r.name, Deny: r.spec.Action == actionDeny, Object: id, Text: text}
	if f.Text == "" {
		f.Text = "it does not meet the policy"
	}
	var ds schema.Diags
	d := ds.Errorf(at, r.code(), "%s (policy %s)", f.Text, r.name).Hintf("%s", r.spec.Why)
	if !f.Deny {
		d.Severity = schema.Warning
	}
	if id.Name != "" && j.rule.spec.Field == "" && j.rule.spec.Each == "" {
		d.Offending(id.Name)
	}
	if pos := r.pos(); !pos.IsZero() && pos != at {
		d.See(pos, "the policy")
	}
	f.Diag = *d
	return f
}

func (r *rule) code() string { return "policy-" + r.name }

// failed makes a finding of a policy that cannot judge.
func (j *judge) failed(at schema.Pos, id schema.ID, err error, more int) Finding {
	what := "it"
	if id.Name != "" {
		what = id.String()
	}
	text := fmt.Sprintf("%s cannot be judged: %s", what, sentence(err.Error()))
	if more > 0 {
		text += fmt.Sprintf("; nor can %d more", more)
	}
	f := j.finding(at, id, text)
	f.Diag.Hint = "the expression must be true or false for every object: has(x) asks whether something is given"
	if errors.Is(err, errExpensive) {
		f.Diag.Hint = "nested loops over lists cost most"
	}
	return f
}
