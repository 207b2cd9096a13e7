package policy

import (
	"net/netip"
	"reflect"
	"strings"
	"sync"
	"time"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"weft.dev/schema"
)

// A shape is how expressions see a Go struct: its fields by their names in YAML.
type shape struct {
	name   string       // of the type in CEL
	goType reflect.Type // nil: the envelope of a document
	typ    *types.Type
	fields map[string]*fieldShape
	names  []string
}

type fieldShape struct {
	index  int
	typ    *types.Type
	goType reflect.Type
	secret bool
}

// prefix begins the names of all types of weft in CEL.
const prefix = "weft."

// shapes has all types that policies can see. Made once, read only afterwards.
type shapes struct {
	byName map[string]*shape
	byType map[reflect.Type]*shape
}

var allShapes = sync.OnceValue(func() *shapes {
	s := &shapes{map[string]*shape{}, map[reflect.Type]*shape{}}
	for _, kind := range schema.Kinds() {
		s.envelope(kind, s.of(schema.SpecType(kind)).typ)
	}
	s.envelope("", types.DynType)
	s.of(reflect.TypeFor[Change]())
	return s
})

// envelope is the type of the documents of a kind; "" is any of several.
func (s *shapes) envelope(kind string, spec *types.Type) {
	name := objectName(kind)
	e := &shape{name: name, typ: types.NewObjectType(name), names: []string{"id", "kind", "metadata", "spec"}, fields: map[string]*fieldShape{
		"id": {typ: types.StringType}, "kind": {typ: types.StringType},
		"metadata": {typ: s.of(reflect.TypeFor[schema.Metadata]()).typ}, "spec": {typ: spec},
	}}
	s.byName[name] = e
}

func objectName(kind string) string { return strings.TrimSuffix(prefix+"object."+kind, ".") }

// of returns the shape of a struct type, made on first use.
func (s *shapes) of(t reflect.Type) *shape {
	if known := s.byType[t]; known != nil {
		return known
	}
	name := prefix + t.Name()
	n := &shape{name: name, goType: t, typ: types.NewObjectType(name), fields: map[string]*fieldShape{}}
	s.byType[t], s.byName[name] = n, n
	for i := range t.NumField() {
		f := t.Field(i)
		tag := f.Tag.Get("yaml")
		switch {
		case !f.IsExported() || tag == "-" || f.Type == reflect.TypeFor[schema.Pos32]():
			continue
		case tag == "": // ranges have a text form of their own in YAML
			tag = strings.ToLower(f.Name)
		}
		fs := &fieldShape{index: i, goType: f.Type, secret: isSecret(f)}
		if fs.typ = types.StringType; !fs.secret {
			fs.typ = s.celType(f.Type)
		}
		n.fields[tag] = fs
		n.names = append(n.names, tag)
	}
	return n
}

// isSecret reports whether no output, and so no policy, may see a field's value.
func isSecret(f reflect.StructField) bool {
	if f.Type == reflect.TypeFor[*schema.Secret]() || f.Type == reflect.TypeFor[schema.Secret]() {
		return true
	}
	for part := range strings.SplitSeq(f.Tag.Get("weft"), ",") {
		if part == "secret" {
			return true
		}
	}
	return false
}

// texts are the types that expressions see as the language writes them.
var texts = map[reflect.Type]bool{
	reflect.TypeFor[netip.Addr](): true, reflect.TypeFor[netip.Prefix](): true, reflect.TypeFor[schema.MAC](): true,
	reflect.TypeFor[schema.IPRange](): true, reflect.TypeFor[schema.BroadcastURI](): true, reflect.TypeFor[schema.Ref](): true,
	reflect.TypeFor[schema.Date](): true,
}

func (s *shapes) celType(t reflect.Type) *types.Type {
	switch {
	case texts[t]:
		return types.StringType
	case t == reflect.TypeFor[time.Duration]():
		return types.DurationType
	}
	switch t.Kind() {
	case reflect.String:
		return types.StringType
	case reflect.Bool:
		return types.BoolType
	case reflect.Pointer:
		if inner := s.celType(t.Elem()); t.Elem().Kind() == reflect.Struct && !texts[t.Elem()] {
			return inner
		}
		return types.NewNullableType(s.celType(t.Elem()))
	case reflect.Slice:
		return types.NewListType(s.celType(t.Elem()))
	case reflect.Map:
		return types.NewMapType(s.celType(t.Key()), s.celType(t.Elem()))
	case reflect.Struct:
		return s.of(t).typ
	case reflect.Interface:
		return types.DynType
	}
	return types.IntType // all other types of the language are numbers
}

// provider adds the types of weft to those of CEL.
type provider struct {
	types.Provider
	shapes *shapes
}

// FindStructType implements types.Provider.
func (p provider) FindStructType(name string) (*types.Type, bool) {
	if s := p.shapes.byName[name]; s != nil {
		return types.NewTypeTypeWithParam(s.typ), true
	}
	return p.Provider.FindStructType(name)
}

// FindStructFieldNames implements types.Provider.
func (p provider) FindStructFieldNames(name string) ([]string, bool) {
	if s := p.shapes.byName[name]; s != nil {
		return s.names, true
	}
	return p.Provider.FindStructFieldNames(name)
}

// FindStructFieldType implements types.Provider.
func (p provider) FindStructFieldType(name, field string) (*types.FieldType, bool) {
	s := p.shapes.byName[name]
	if s == nil {
		return p.Provider.FindStructFieldType(name, field)
	}
	f := s.fields[field]
	if f == nil {
		return nil, false
	}
	return &types.FieldType{
		Type:    f.typ,
		IsSet:   func(target any) bool { r, ok := target.(*record); return ok && r.isSet(field) },
		GetFrom: func(target any) (any, error) { return p.shapes.fieldOf(target, s, field) },
	}, true
}

// NewValue implements types.Provider: expressions make no objects.
func (p provider) NewValue(name string, fields map[string]ref.Val) ref.Val {
	if p.shapes.byName[name] != nil {
		return types.NewErr("a policy cannot make a %s", name)
	}
	return p.Provider.NewValue(name, fields)
}
