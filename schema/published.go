package schema

import (
	"embed"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
)

//go:embed *.schema.json
var schemaFiles embed.FS

// JSONSchema returns the JSON Schema (draft 2020-12) of a kind's documents, nil for a kind that
// is not supported. It says less than Parse knows, never something else: what Parse accepts is
// valid by it.
func JSONSchema(kind string) []byte {
	if findKind(kind) == nil {
		return nil
	}
	b, err := schemaFiles.ReadFile(schemaFile(kind))
	if err != nil {
		panic(err) // go generate and its test keep a file for every kind
	}
	return b
}

func schemaFile(kind string) string { return strings.ToLower(kind) + ".schema.json" }

// Reference returns the description of a kind and all its fields in Markdown, "" for a kind
// that is not supported.
func Reference(kind string) string {
	k := findKind(kind)
	if k == nil {
		return ""
	}
	var doc struct {
		Description string
		Defs        map[string]struct {
			Properties map[string]struct{ Description string }
		} `json:"$defs"`
	}
	if err := json.Unmarshal(JSONSchema(kind), &doc); err != nil {
		panic(err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\n%s\n\n", kind, doc.Description)
	if k.tenant {
		b.WriteString("A tenant kind: `metadata.account` is required.\n\n")
	}
	var fields func(path string, t *table)
	fields = func(path string, t *table) {
		for i := range t.fields {
			f := &t.fields[i]
			typ := t.typ.Field(f.index).Type
			fmt.Fprintf(&b, "- `%s%s` (%s)", path, f.name, typeText(typ))
			fmt.Fprintf(&b, ": %s", doc.Defs[t.typ.Name()].Properties[f.name].Description)
			b.WriteString(facts(f) + "\n")
			if inner, more := innerTable(typ); inner != nil {
				fields(path+f.name+more, inner)
			}
		}
	}
	fields("spec.", specTables[kind])
	return b.String()
}

// facts says in words what a field's tag says.
func facts(f *field) string {
	var s string
	if f.required {
		s += " Required."
	}
	if len(f.enum) > 0 {
		s += " One of `" + strings.Join(f.enum, "`, `") + "`."
	}
	if f.hasDef {
		s += " Default `" + f.def + "`."
	}
	switch {
	case f.hasMin && f.hasMax:
		s += fmt.Sprintf(" From %d to %d.", f.min, f.max)
	case f.hasMin:
		s += fmt.Sprintf(" At least %d.", f.min)
	}
	if f.unique != "" {
		s += " Each `" + f.unique + "` once."
	}
	return s
}

// innerTable finds the struct below pointers and lists, and how a path goes on to its fields.
func innerTable(t reflect.Type) (inner *table, more string) {
	more = "."
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		if t.Kind() == reflect.Slice {
			more = "[]."
		}
		t = t.Elem()
	}
	if scalarDecoders[t] != nil || t.Kind() != reflect.Struct {
		return nil, ""
	}
	return tables[t], more
}

// typeText names a type of the language for people.
func typeText(t reflect.Type) string {
	if name := typeNames[t]; name != "" {
		return name
	}
	switch t.Kind() {
	case reflect.Pointer:
		return typeText(t.Elem())
	case reflect.Slice:
		return "list of " + typeText(t.Elem())
	case reflect.Map:
		return "map of " + typeText(t.Elem())
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "true or false"
	case reflect.Struct:
		return "mapping"
	}
	return "number"
}

var typeNames = map[reflect.Type]string{
	addrType:                        "IP address",
	prefixType:                      "CIDR",
	reflect.TypeFor[Duration]():     "duration",
	reflect.TypeFor[MAC]():          "MAC address",
	reflect.TypeFor[IPRange]():      "range of addresses",
	reflect.TypeFor[Ports]():        "ports",
	reflect.TypeFor[IDRange]():      "range of ids",
	reflect.TypeFor[BroadcastURI](): "broadcast URI",
	reflect.TypeFor[Ref]():          "reference",
	reflect.TypeFor[Rate]():         "rate",
	reflect.TypeFor[Date]():         "date",
}
