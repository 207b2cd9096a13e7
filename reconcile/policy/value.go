package policy

import (
	"fmt"
	"reflect"
	"slices"
	"time"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"

	"weft.dev/schema"
)

// hidden is what expressions see of a secret that is given.
const hidden = "***"

// A record is a struct as expressions see it. Fields are converted when they are read, each once. It
// is for one evaluation.
type record struct {
	shape  *shape
	shapes *shapes
	value  reflect.Value // invalid: the envelope of doc
	doc    *schema.Document
	scope  *scope
	read   []fieldValue
}

// A fieldValue is a field that was read. There are few of one record, so they are a list.
type fieldValue struct {
	name  string
	value ref.Val
}

// A scope is the tree that an object's references point into.
type scope struct {
	tree  *schema.Tree
	found map[schema.ID]ref.Val
}

// object is a document as expressions see it; typed where its kind is known when they are checked.
func object(doc *schema.Document, tree *schema.Tree, typed bool) *record {
	s := allShapes()
	name := objectName("")
	if typed {
		name = objectName(doc.Kind)
	}
	return &record{shape: s.byName[name], shapes: s, doc: doc, scope: &scope{tree: tree}}
}

// fieldOf reads a field of a struct of that shape. One that is not given is null, and reads as one
// without values.
func (s *shapes) fieldOf(target any, in *shape, name string) (any, error) {
	r, ok := target.(*record)
	switch {
	case !ok && in.goType == nil:
		return nil, fmt.Errorf("no such key: %s of null", name)
	case !ok:
		r = &record{shape: in, shapes: s, value: reflect.Zero(in.goType)}
	}
	return r.field(name), nil
}

func (r *record) field(name string) ref.Val {
	for i := range r.read {
		if r.read[i].name == name {
			return r.read[i].value
		}
	}
	f := r.shape.fields[name]
	if f == nil {
		return types.NewErr("no such key: %s", name)
	}
	v := r.convertField(name, f)
	r.read = append(r.read, fieldValue{name, v})
	return v
}

func (r *record) convertField(name string, f *fieldShape) ref.Val {
	if r.doc != nil {
		switch name {
		case "id":
			return types.String(r.doc.ID().String())
		case "kind":
			return types.String(r.doc.Kind)
		case "metadata":
			return r.convert(reflect.ValueOf(&r.doc.Meta).Elem())
		}
		return r.convert(reflect.ValueOf(r.doc.Spec).Elem())
	}
	v := r.value.Field(f.index)
	if f.secret {
		if v.IsZero() {
			return types.String("")
		}
		return types.String(hidden)
	}
	return r.convert(v)
}

// isSet reports whether a field has a value other than the empty one of its type.
func (r *record) isSet(name string) bool {
	f := r.shape.fields[name]
	switch {
	case f == nil:
		return false
	case r.doc != nil:
		return true
	}
	v := r.value.Field(f.index)
	if k := v.Kind(); k == reflect.Slice || k == reflect.Map {
		return v.Len() > 0
	}
	return !v.IsZero()
}

// convert makes a value of CEL of one of the language.
func (r *record) convert(v reflect.Value) ref.Val {
	t := v.Type()
	if texts[t] {
		if v.IsZero() {
			return types.String("")
		}
		return types.String(v.Interface().(fmt.Stringer).String())
	}
	switch v.Kind() {
	case reflect.String:
		return types.String(v.String())
	case reflect.Bool:
		return types.Bool(v.Bool())
	case reflect.Int, reflect.Int64:
		if d, ok := v.Interface().(time.Duration); ok {
			return types.Duration{Duration: d}
		}
		return types.Int(v.Int())
	case reflect.Uint8, reflect.Uint16, reflect.Uint32:
		return types.Int(int64(v.Uint()))
	case reflect.Pointer:
		if !v.IsNil() {
			return r.convert(v.Elem())
		}
		return types.NullValue
	case reflect.Slice:
		list := make([]ref.Val, v.Len())
		for i := range list {
			list[i] = r.convert(v.Index(i))
		}
		return types.NewRefValList(types.DefaultTypeAdapter, list)
	case reflect.Map:
		m, keys := make(map[ref.Val]ref.Val, v.Len()), make([]ref.Val, 0, v.Len())
		for i := v.MapRange(); i.Next(); {
			k := r.convert(i.Key())
			m[k], keys = r.convert(i.Value()), append(keys, k)
		}
		slices.SortFunc(keys, func(a, b ref.Val) int { return int(a.(traits.Comparer).Compare(b).(types.Int)) })
		return ordered{types.NewRefValMap(types.DefaultTypeAdapter, m), keys}
	case reflect.Struct:
		return &record{shape: r.shapes.byType[t], shapes: r.shapes, value: v, scope: r.scope}
	}
	return types.NewErr("a %s is nothing that policies see", t)
}

// ordered is a map that expressions always go through in the same order.
type ordered struct {
	traits.Mapper
	keys []ref.Val
}

// Iterator implements traits.Iterable.
func (m ordered) Iterator() traits.Iterator {
	return types.NewRefValList(types.DefaultTypeAdapter, m.keys).Iterator()
}

// find returns the object that a reference of r's document means, or null.
func (r *record) find(kind, name string) ref.Val {
	if r.doc == nil {
		return types.NewErr("find: only object and old have references")
	}
	id, ok := referred(kind, name, r.doc.Meta.Account)
	if !ok {
		return types.NewErr("find: %q is no kind of the language", kind)
	}
	if v, ok := r.scope.found[id]; ok {
		return v
	}
	var v ref.Val = types.NullValue
	if doc := r.scope.tree.Lookup(id); doc != nil {
		o := object(doc, r.scope.tree, false)
		o.scope = r.scope
		v = o
	}
	if r.scope.found == nil {
		r.scope.found = map[schema.ID]ref.Val{}
	}
	r.scope.found[id] = v
	return v
}

// Get implements traits.Indexer.
func (r *record) Get(index ref.Val) ref.Val {
	name, ok := index.(types.String)
	if !ok {
		return types.MaybeNoSuchOverloadErr(index)
	}
	return r.field(string(name))
}

// IsSet implements traits.FieldTester.
func (r *record) IsSet(index ref.Val) ref.Val {
	name, ok := index.(types.String)
	if !ok {
		return types.MaybeNoSuchOverloadErr(index)
	}
	return types.Bool(r.isSet(string(name)))
}

// ConvertToNative implements ref.Val: nothing outside asks for it.
func (r *record) ConvertToNative(t reflect.Type) (any, error) {
	return nil, fmt.Errorf("%s cannot be a %s", r.shape.name, t)
}

// ConvertToType implements ref.Val.
func (r *record) ConvertToType(t ref.Type) ref.Val {
	switch t {
	case types.TypeType:
		return r.shape.typ
	case r.shape.typ:
		return r
	}
	return types.NewErr("%s cannot be a %s", r.shape.name, t.TypeName())
}

// Equal implements ref.Val.
func (r *record) Equal(other ref.Val) ref.Val {
	o, ok := other.(*record)
	switch {
	case !ok || o.shape.name != r.shape.name:
		return types.False
	case r.doc != nil || o.doc != nil:
		return types.Bool(r.doc == o.doc || r.doc != nil && o.doc != nil && reflect.DeepEqual(r.doc.Meta, o.doc.Meta) && r.field("spec").Equal(o.field("spec")) == types.True)
	}
	for _, name := range r.shape.names {
		if r.shape.fields[name].secret { // whether it changed is not for policies to say
			continue
		}
		if r.field(name).Equal(o.field(name)) != types.True {
			return types.False
		}
	}
	return types.True
}

// Type implements ref.Val.
func (r *record) Type() ref.Type { return r.shape.typ }

// Value implements ref.Val.
func (r *record) Value() any { return r }

// changed is a plan as expressions see it.
func changed(c *Change) ref.Val {
	r := &record{shapes: allShapes(), scope: &scope{}}
	return r.convert(reflect.ValueOf(c).Elem())
}
