package policy

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"

	"weft.dev/schema"
)

// A rule is one policy, ready to judge once it is compiled.
type rule struct {
	name    string
	doc     *schema.Document // whose action and exceptions count
	source  *schema.Document // whose expression counts
	spec    *schema.Policy
	builtin bool // doc is of weft
	trusted bool // source is of weft: its cost is known
	today   schema.Date
	except  map[string]bool // objects, by identity

	once     sync.Once // for a trusted rule
	programs map[string]program
	each     []string
}

// A program is what an expression became for a kind; "" is any of several.
type program struct {
	expression, message cel.Program
}

// costLimit is what judging one object may cost, costOfPlan a plan; a unit is about one access or
// comparison, some 100 ns.
const (
	costLimit  = 1_000_000
	costOfPlan = 20_000_000
)

// stand fills what the document leaves out from the built-in policy whose name it has.
func (r *rule) stand(b *schema.Document) {
	from := b.Spec.(*schema.Policy)
	s := *r.spec
	r.source = b
	s.Expression, s.Each, s.Field = from.Expression, from.Each, from.Field
	s.Match.Kinds = from.Match.Kinds
	if s.Match.Accounts == nil {
		s.Match.Accounts = from.Match.Accounts
	}
	if s.Match.Labels == nil {
		s.Match.Labels = from.Match.Labels
	}
	if s.Message == "" && s.MessageExpression == "" {
		s.Message, s.MessageExpression = from.Message, from.MessageExpression
	}
	if s.Why == "" {
		s.Why = from.Why
	}
	r.spec = &s
}

// pos is where the policy is written, zero for a built-in one.
func (r *rule) pos() schema.Pos {
	if r.builtin {
		return schema.Pos{}
	}
	return r.doc.At("metadata.name")
}

// complete reports whether the policy says all that it must, with a diagnostic where not.
func (r *rule) complete(builtin map[string]*schema.Document, ds *schema.Diags) bool {
	switch {
	case r.spec.Expression == "":
		names := make([]string, 0, len(builtin))
		for name := range builtin {
			names = append(names, name)
		}
		slices.Sort(names)
		ds.Errorf(r.doc.At("metadata.name"), "policy-incomplete", "policy %s has no expression, and no built-in policy has its name", r.name).
			Offending(r.name).Hintf("write spec.match and spec.expression, or a name of %s", strings.Join(names, ", "))
	case len(r.spec.Match.Kinds) == 0:
		ds.Errorf(r.doc.At("spec.match"), "policy-incomplete", "policy %s does not say what it is about", r.name).
			Hintf("write such as match: {kinds: [PublicIP]}")
	default:
		return true
	}
	return false
}

func (r *rule) overPlan() bool { return slices.Contains(r.spec.Match.Kinds, schema.KindPlan) }

// typed is the kind that expressions are checked for; "" where they are about several.
func (r *rule) typed() string {
	if k := r.spec.Match.Kinds; len(k) == 1 && (k[0] == schema.KindPlan || schema.SpecType(k[0]) != nil) {
		return k[0]
	}
	return ""
}

// ready compiles a built-in policy when it is needed first.
func (r *rule) ready() {
	if !r.trusted {
		return
	}
	r.once.Do(func() {
		var ds schema.Diags
		if !r.compile(&ds) {
			panic("policy: the built-in " + r.name + " does not compile: " + ds[0].String())
		}
	})
}

// compile makes programs of the expressions, with a diagnostic for each mistake at its place.
func (r *rule) compile(ds *schema.Diags) bool {
	before := len(*ds)
	var item *types.Type
	if r.spec.Each != "" {
		r.each = strings.Split(r.spec.Each, ".")
		item = r.itemType(ds)
	}
	r.checkField(item, ds)
	env, err := over(r.typed(), item)
	if err != nil {
		panic("policy: " + err.Error())
	}
	p := program{expression: r.program(env, "spec.expression", r.spec.Expression, types.BoolType, ds)}
	if r.spec.MessageExpression != "" {
		p.message = r.program(env, "spec.messageExpression", r.spec.MessageExpression, types.StringType, ds)
	}
	r.programs = map[string]program{r.typed(): p}
	return len(*ds) == before
}

func (r *rule) program(env *cel.Env, path, text string, want *types.Type, ds *schema.Diags) cel.Program {
	ast, issues := env.Compile(text)
	if issues.Err() != nil {
		for _, e := range issues.Errors()[:min(len(issues.Errors()), 5)] {
			at := r.source.Within(path, max(e.Location.Line(), 1), e.Location.Column()+1)
			ds.Errorf(at, "policy-expression", "%s: %s", path, strings.Join(strings.Fields(e.Message), " ")).Hintf("%s", hintOf(e.Message))
		}
		return nil
	}
	if t := ast.OutputType(); !t.IsExactType(want) && !t.IsExactType(types.DynType) {
		ds.Errorf(r.source.At(path), "policy-expression", "%s gives %s, and must give %s", path, t, want)
		return nil
	}
	opts := []cel.ProgramOption{cel.EvalOptions(cel.OptOptimize)}
	if !r.trusted {
		limit := uint64(costLimit)
		if r.overPlan() {
			limit = costOfPlan
		}
		opts = append(opts, cel.CostLimit(limit), cel.CostTracking(costs{}))
	}
	prg, err := env.Program(ast, opts...)
	if err != nil { // such as a constant regular expression that is none
		ds.Errorf(r.source.At(path), "policy-expression", "%s: %s", path, strings.Join(strings.Fields(err.Error()), " "))
		return nil
	}
	return prg
}

func hintOf(message string) string {
	switch {
	case strings.Contains(message, "undefined field"):
		return "weft schema KIND -o text lists the fields of a kind"
	case strings.Contains(message, "undeclared reference"):
		return "an expression knows object, old and item, or plan; docs/policies.md lists its functions"
	}
	return ""
}

// itemType is the type of the items of the list each. Of several kinds all must have it.
func (r *rule) itemType(ds *schema.Diags) *types.Type {
	var item reflect.Type
	for _, kind := range r.spec.Match.Kinds {
		spec := schema.SpecType(kind)
		if spec == nil {
			continue // of a later release
		}
		t, ok := walk(spec, r.each, false)
		if !ok || t.Kind() != reflect.Slice || texts[t] {
			ds.Errorf(r.source.At("spec.each"), "policy-path", "%s has no list %s", kind, r.spec.Each).Offending(r.spec.Each).
				Hintf("weft schema %s -o text lists its fields", kind)
			return types.DynType
		}
		item = t.Elem()
	}
	if r.typed() == "" || item == nil {
		return types.DynType
	}
	return allShapes().celType(item)
}

// checkField looks whether field is one of each kind, or of an item.
func (r *rule) checkField(item *types.Type, ds *schema.Diags) {
	if r.spec.Field == "" || item != nil && r.typed() == "" {
		return
	}
	path := strings.Split(r.spec.Field, ".")
	for _, kind := range r.spec.Match.Kinds {
		spec := schema.SpecType(kind)
		if spec == nil {
			continue
		}
		in := r.each
		if _, ok := walk(spec, append(slices.Clip(in), path...), true); !ok {
			ds.Errorf(r.source.At("spec.field"), "policy-path", "%s has no field %s", kind, strings.Join(append(slices.Clip(in), path...), ".")).
				Offending(r.spec.Field).Hintf("weft schema %s -o text lists its fields", kind)
			return
		}
	}
}

// walk follows a path of fields, spec or metadata first, through structs and what points to them, and
// through the items of lists where it may.
func walk(spec reflect.Type, path []string, lists bool) (reflect.Type, bool) {
	t := spec
	switch path[0] {
	case "spec":
	case "metadata":
		t = reflect.TypeFor[schema.Metadata]()
	default:
		return nil, false
	}
	for _, name := range path[1:] {
		for t.Kind() == reflect.Pointer || lists && t.Kind() == reflect.Slice && !texts[t] {
			t = t.Elem()
		}
		if t.Kind() == reflect.Map {
			return t.Elem(), true
		}
		s := allShapes().byType[t]
		if s == nil || s.fields[name] == nil || s.fields[name].secret {
			return nil, false
		}
		t = s.fields[name].goType
	}
	return t, true
}

// readExceptions keeps those that hold and reports the rest.
func (r *rule) readExceptions(tree *schema.Tree, ds *schema.Diags) {
	r.except = map[string]bool{}
	for i, x := range r.spec.Exceptions {
		at := r.doc.PosOf(x.At)
		if x.Until.Before(r.today) {
			ds.Warnf(at, "exception-over", "the exception of %s from policy %s is over since %s", x.Object, r.name, x.Until).
				Hintf("%s answers for it: remove it, or give it another day", x.Owner)
			continue
		}
		if why := r.pointless(tree, x.Object); why != "" {
			ds.Warnf(r.doc.At("spec.exceptions["+itoa(i)+"].object"), "exception-without-object", "the exception of %s from policy %s: %s", x.Object, r.name, why).
				Offending(x.Object).Hintf("remove it")
		}
		r.except[x.Object] = true
	}
}

// pointless says why an exception excepts nothing, or "".
func (r *rule) pointless(tree *schema.Tree, object string) string {
	if r.overPlan() {
		if object == "plan" {
			return ""
		}
		return "the policy is about plans"
	}
	id, err := schema.ParseID(object)
	if err != nil {
		return "the policy is about objects"
	}
	doc := tree.Lookup(id)
	switch {
	case !slices.Contains(r.spec.Match.Kinds, id.Kind):
		return "the policy is not about that kind"
	case doc != nil && !r.matches(doc):
		return "the policy does not match it"
	case doc == nil && !slices.ContainsFunc(tree.Invalid, func(d *schema.Document) bool { return d.ID() == id }):
		return "there is no such object"
	}
	return ""
}

// matches reports whether the policy is about an object of one of its kinds.
func (r *rule) matches(d *schema.Document) bool {
	m := &r.spec.Match
	if m.Accounts != nil && !slices.Contains(m.Accounts, d.Meta.Account) {
		return false
	}
	for k, want := range m.Labels {
		if got, ok := d.Meta.Labels[k]; !ok || want != "*" && got != want {
			return false
		}
	}
	return true
}

var errExpensive = errors.New("it costs too much")
