package policy

import (
	"net/netip"
	"strings"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/ext"

	"weft.dev/schema"
)

// maxExpression is the most characters of one expression.
const maxExpression = 8 << 10

// base is the environment that all expressions share: CEL's standard library, its extensions for
// strings, sets, math and network addresses, and the functions of weft.
var base = sync.OnceValue(func() *cel.Env {
	env, err := cel.NewCustomEnv(
		cel.StdLib(), ext.Strings(ext.StringsVersion(4)), ext.Sets(), ext.Math(), ext.Network(), ext.Bindings(),
		cel.ParserExpressionSizeLimit(maxExpression), cel.ParserRecursionLimit(100), cel.DefaultUTCTimeZone(true),
		functions(),
		func(e *cel.Env) (*cel.Env, error) { // last: libraries add types to CEL's own provider only
			return cel.CustomTypeProvider(provider{e.CELTypeProvider(), allShapes()})(e)
		},
	)
	if err != nil {
		panic("policy: " + err.Error())
	}
	return env
})

// over is the environment of expressions over objects of a kind ("": of several), with item of a
// list, where item is not nil; over plans it is of KindPlan.
func over(kind string, item *types.Type) (*cel.Env, error) {
	if kind == schema.KindPlan {
		return base().Extend(cel.Variable("plan", types.NewObjectType(prefix+"Change")))
	}
	object := types.NewObjectType(objectName(kind))
	opts := []cel.EnvOption{cel.Variable("object", object), cel.Variable("old", object)}
	if item != nil {
		opts = append(opts, cel.Variable("item", item))
	}
	return base().Extend(opts...)
}

// functions are those of weft; docs/policies.md describes them.
func functions() cel.EnvOption {
	strs, ports := cel.ListType(cel.StringType), cel.ListType(types.NewObjectType(prefix+"PortRange"))
	opts := []cel.EnvOption{
		cel.Function("includes",
			cel.MemberOverload("ports_includes", []*cel.Type{ports, cel.IntType}, cel.BoolType, cel.BinaryBinding(includes))),
		cel.Function("isWorld",
			cel.Overload("is_world_string", []*cel.Type{cel.StringType}, cel.BoolType, cel.UnaryBinding(isWorld)),
			cel.Overload("is_world_list", []*cel.Type{strs}, cel.BoolType, cel.UnaryBinding(isWorld))),
		cel.Function("isPrivate", cel.Overload("is_private", []*cel.Type{cel.StringType}, cel.BoolType, cel.UnaryBinding(isPrivate))),
		cel.Function("overlap", cel.Overload("overlap", []*cel.Type{cel.StringType, cel.StringType}, cel.BoolType, cel.BinaryBinding(overlap))),
		cel.Function("find", cel.MemberOverload("object_find", []*cel.Type{cel.DynType, cel.StringType, cel.StringType}, cel.DynType,
			cel.FunctionBinding(find))),
	}
	return func(e *cel.Env) (*cel.Env, error) {
		for _, o := range opts {
			var err error
			if e, err = o(e); err != nil {
				return nil, err
			}
		}
		return e, nil
	}
}

// costs charges the functions of weft for what they look at.
type costs struct{}

// CallCost implements cost.ActualCostEstimator.
func (costs) CallCost(function, _ string, args []ref.Val, _ ref.Val) *uint64 {
	n := uint64(1)
	switch function {
	case "includes", "isWorld":
		if list, ok := args[0].(traits.Lister); ok {
			if size, ok := list.Size().(types.Int); ok {
				n += uint64(size)
			}
		}
	case "overlap":
		n = 5
	case "find":
		n = 10
	default:
		return nil
	}
	return &n
}

// includes reports whether a list of ports has one: no ports are all of them, as in rules.
func includes(list, port ref.Val) ref.Val {
	ranges, ok := list.(traits.Lister)
	want, isInt := port.(types.Int)
	if !ok || !isInt {
		return types.MaybeNoSuchOverloadErr(list)
	}
	n, _ := ranges.Size().(types.Int)
	for i := range n {
		r, ok := ranges.Get(i).(*record)
		if !ok {
			return types.NewErr("includes: this is no list of ports")
		}
		from, isFrom := r.field("from").(types.Int)
		to, isTo := r.field("to").(types.Int)
		if !isFrom || !isTo {
			return types.NewErr("includes: this is no list of ports")
		}
		if from <= want && want <= to {
			return types.True
		}
	}
	return types.Bool(n == 0)
}

// Prefixes as short as these leave out next to nothing of the internet.
const (
	worldBits4 = 7
	worldBits6 = 15
)

// isWorld reports whether a CIDR, or one of a list, is so wide that it restricts nothing. No CIDRs are
// everywhere, as in rules.
func isWorld(v ref.Val) ref.Val {
	list, ok := v.(traits.Lister)
	if !ok {
		s, _ := v.(types.String)
		p, err := netip.ParsePrefix(string(s))
		if err != nil {
			return types.NewErr("isWorld: %q is no CIDR", string(s))
		}
		return types.Bool(p.Addr().Is4() && p.Bits() <= worldBits4 || p.Addr().Is6() && p.Bits() <= worldBits6)
	}
	n, _ := list.Size().(types.Int)
	for i := range n {
		if one := isWorld(list.Get(i)); one != types.False {
			return one
		}
	}
	return types.Bool(n == 0)
}

// isPrivate reports whether an address or CIDR is of those that nobody routes (RFC 1918, RFC 4193).
func isPrivate(v ref.Val) ref.Val {
	s, _ := v.(types.String)
	from, to, ok := bounds(string(s))
	if !ok {
		return types.NewErr("isPrivate: %q is no address, range or CIDR", string(s))
	}
	for _, p := range [...]string{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"} {
		if net := netip.MustParsePrefix(p); net.Contains(from) && net.Contains(to) {
			return types.True
		}
	}
	return types.False
}

// overlap reports whether two addresses, ranges or CIDRs have an address in common.
func overlap(a, b ref.Val) ref.Val {
	var from, to [2]netip.Addr
	for i, v := range [...]ref.Val{a, b} {
		s, _ := v.(types.String)
		var ok bool
		if from[i], to[i], ok = bounds(string(s)); !ok {
			return types.NewErr("overlap: %q is no address, range or CIDR", string(s))
		}
	}
	return types.Bool(from[0].Is4() == from[1].Is4() && from[0].Compare(to[1]) <= 0 && from[1].Compare(to[0]) <= 0)
}

// bounds are the first and the last address of what the language writes in one word.
func bounds(s string) (from, to netip.Addr, ok bool) {
	if p, err := netip.ParsePrefix(s); err == nil {
		b := p.Masked().Addr().AsSlice()
		for i := p.Bits(); i < len(b)*8; i++ {
			b[i/8] |= 1 << (7 - i%8)
		}
		to, _ = netip.AddrFromSlice(b)
		return p.Masked().Addr(), to, true
	}
	first, last, isRange := strings.Cut(s, "-")
	from, err := netip.ParseAddr(first)
	if err != nil {
		return from, to, false
	}
	if !isRange {
		return from, from, true
	}
	to, err = netip.ParseAddr(last)
	return from, to, err == nil
}

// find is object.find(kind, reference).
func find(args ...ref.Val) ref.Val {
	r, ok := args[0].(*record)
	kind, isKind := args[1].(types.String)
	name, isName := args[2].(types.String)
	if !ok || !isKind || !isName {
		return types.MaybeNoSuchOverloadErr(args[0])
	}
	return r.find(string(kind), string(name))
}

// referred is the identity that a reference means within an account.
func referred(kind, name, account string) (schema.ID, bool) {
	kind = strings.ToLower(kind)
	if id, err := schema.ParseID(kind + "/" + name); err == nil {
		return id, true
	}
	id, err := schema.ParseID(kind + "/" + account + "/" + name)
	return id, err == nil || name == "" && known(kind)
}

// known reports whether a word names a kind.
func known(word string) bool {
	_, err := schema.ParseID(word + "/x")
	_, tenant := schema.ParseID(word + "/x/x")
	return err == nil || tenant == nil
}
