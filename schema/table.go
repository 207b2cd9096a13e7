package schema

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// A table is what the decoder knows of a struct type of the language. Tables are made once, at
// start, from the struct tags:
//
//	yaml:"name"            the field's name in YAML; "-" is not a field
//	weft:"required"        must be written
//	weft:"enum=A|B"        the values of a string, or of a list's items
//	weft:"default=V"       what an absent field gets
//	weft:"format=NAME"     the rule for a string, its items, or a map's keys (formats in format.go)
//	weft:"min=N,max=N"     the bounds of a number
//	weft:"unique=KEY"      no two items of a list have equal KEY
//	weft:"short"           a single value in place of the mapping sets this field
//	weft:"laterenum=A|B"   values that are not supported yet
//	instead:"hint"         why values are not supported yet, and what does the same
//	later:"what"           the field is not supported yet; its default may be written
//	weft:"mild"            with later: a warning, not an error
//	weft:"secret"          no output shows its value; always so for a Secret
type table struct {
	typ    reflect.Type
	fields []field
	names  []string
	byName map[string]int
	short  int           // index of the short field, -1
	at     int           // struct index of At, -1
	proto  reflect.Value // a value with all defaults
}

type field struct {
	name     string
	index    int
	required bool
	enum     []string
	later    string
	mild     bool
	secret   bool
	notYet   []string
	instead  string
	def      string
	hasDef   bool
	format   *format
	hasMin   bool
	hasMax   bool
	min, max int64
	unique   string
	decode   decodeFunc
}

var tables = map[reflect.Type]*table{}

// specTables has the table of every kind, metaTable that of the envelope's metadata.
var (
	metaTable  = tableOf(reflect.TypeFor[Metadata]())
	specTables = func() map[string]*table {
		m := map[string]*table{}
		for _, k := range kinds {
			m[k.name] = tableOf(k.spec)
		}
		return m
	}()
)

// tableOf returns the table of a struct type; only called while the package starts.
func tableOf(typ reflect.Type) *table {
	if t := tables[typ]; t != nil {
		return t
	}
	t := &table{typ: typ, byName: map[string]int{}, short: -1, at: -1, proto: reflect.New(typ).Elem()}
	tables[typ] = t
	for i := range typ.NumField() {
		sf := typ.Field(i)
		name := sf.Tag.Get("yaml")
		switch {
		case sf.Type == reflect.TypeFor[Pos32]():
			t.at = i
			continue
		case name == "" || name == "-":
			continue
		}
		f := field{name: name, index: i, later: sf.Tag.Get("later"), instead: sf.Tag.Get("instead"), secret: sf.Type == reflect.TypeFor[*Secret]()}
		if f.readTag(sf.Tag.Get("weft")) {
			t.short = len(t.fields)
		}
		f.decode = decoderOf(sf.Type)
		t.byName[name] = len(t.fields)
		t.names = append(t.names, name)
		t.fields = append(t.fields, f)
		if sf.Type.Kind() == reflect.Struct && tables[sf.Type] != nil {
			t.proto.Field(i).Set(tables[sf.Type].proto)
		}
		if f.hasDef {
			t.setDefault(&f)
		}
	}
	if len(t.fields) > 64 {
		panic("schema: " + typ.Name() + " has more fields than the decoder's bit set")
	}
	return t
}

// readTag reads the weft tag; it reports whether the field is the short one.
func (f *field) readTag(tag string) (short bool) {
	for _, part := range strings.Split(tag, ",") {
		key, value, _ := strings.Cut(part, "=")
		switch key {
		case "":
		case "required":
			f.required = true
		case "short":
			short = true
		case "mild":
			f.mild = true
		case "secret":
			f.secret = true
		case "enum":
			f.enum = strings.Split(value, "|")
		case "laterenum":
			f.notYet = strings.Split(value, "|")
		case "default":
			f.def, f.hasDef = value, true
		case "format":
			if f.format = formats[value]; f.format == nil {
				panic("schema: unknown format " + value)
			}
		case "min":
			f.min, f.hasMin = mustInt(value), true
		case "max":
			f.max, f.hasMax = mustInt(value), true
		case "unique":
			f.unique = value
		default:
			panic("schema: unknown tag " + part)
		}
	}
	return short
}

func mustInt(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		panic(err)
	}
	return n
}

// setDefault decodes the default as if it were written.
func (t *table) setDefault(f *field) {
	var ds Diags
	d := decoder{ds: &ds, ns: nodes{{}, {value: f.def}}}
	f.decode(&d, f, 1, t.proto.Field(f.index))
	if len(ds) > 0 {
		panic(fmt.Sprintf("schema: default of %s.%s: %s", t.typ.Name(), f.name, ds[0].Message))
	}
}
