package schema

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
)

// object is a JSON object that keeps the order of its members.
type object []member

type member struct {
	key   string
	value any
}

func (o object) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, m := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.Quote(m.key) + ":")
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(m.value); err != nil {
			return nil, err
		}
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// generator makes the JSON Schema of a kind from its table and the doc comments of the source.
type generator struct {
	docs map[string]string // "Type" and "Type.Field"
	defs object
	done map[string]bool
}

// readDocs collects the doc comments of all struct types and fields of the package.
func readDocs(t *testing.T) map[string]string {
	t.Helper()
	docs := map[string]string{}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			decl, ok := n.(*ast.GenDecl)
			if !ok {
				return true
			}
			for _, s := range decl.Specs {
				spec, ok := s.(*ast.TypeSpec)
				if !ok {
					continue
				}
				st, ok := spec.Type.(*ast.StructType)
				if !ok {
					continue
				}
				docs[spec.Name.Name] = paragraph(decl.Doc)
				for _, field := range st.Fields.List {
					for _, name := range field.Names {
						docs[spec.Name.Name+"."+name.Name] = paragraph(field.Doc)
					}
				}
			}
			return false
		})
	}
	return docs
}

func paragraph(c *ast.CommentGroup) string { return strings.Join(strings.Fields(c.Text()), " ") }

// sentence turns Go's "Name is ..." into a description of the YAML field of that name.
func sentence(doc, goName, yamlName string) string {
	if rest, ok := strings.CutPrefix(doc, goName); ok && goName != yamlName && (rest == "" || !isAlnum(rest[0])) {
		return "`" + yamlName + "`" + rest
	}
	return doc
}

const refPattern = `^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(/[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)?$`

var scalarSchemas = map[reflect.Type]object{
	addrType:                    {{"type", "string"}, {"anyOf", []any{object{{"format", "ipv4"}}, object{{"format", "ipv6"}}}}},
	prefixType:                  {{"type", "string"}, {"pattern", `^[0-9a-fA-F.:]+/[0-9]{1,3}$`}, {"examples", []any{"10.1.1.0/24"}}},
	reflect.TypeFor[Duration](): {{"type", "string"}, {"pattern", `^([0-9]+(\.[0-9]*)?(ns|us|µs|ms|s|m|h))+$`}, {"examples", []any{"30s", "1h30m"}}},
	reflect.TypeFor[MAC]():      {{"type", "string"}, {"pattern", `^[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}$`}},
	reflect.TypeFor[IPRange]():  {{"type", "string"}, {"pattern", `^[0-9a-fA-F.:]+( *- *[0-9a-fA-F.:]+)?$`}, {"examples", []any{"10.1.1.100-10.1.1.200"}}},
	reflect.TypeFor[IDRange](): {{"anyOf", []any{
		object{{"type", "integer"}, {"minimum", 1}, {"maximum", 4294967295}},
		object{{"type", "string"}, {"pattern", `^[0-9]+(-[0-9]+)?$`}}}}, {"examples", []any{"5000-5999"}}},
	reflect.TypeFor[BroadcastURI](): {{"anyOf", []any{
		object{{"type", "integer"}, {"minimum", 1}, {"maximum", 4094}},
		object{{"type", "string"}, {"pattern", `^([0-9]+|(vlan|vxlan|gre|geneve|stt)://[0-9]+|lswitch:[0-9a-f-]{36}|native://untagged)$`}}}}, {"examples", []any{"vlan://100"}}},
	reflect.TypeFor[Ref]():  {{"type", "string"}, {"pattern", refPattern}},
	reflect.TypeFor[Rate](): {{"type", "integer"}, {"minimum", 0}},
	reflect.TypeFor[Date](): {{"type", "string"}, {"pattern", `^[0-9]{4}-[0-9]{2}-[0-9]{2}$`}, {"examples", []any{"2027-01-31"}}},
	reflect.TypeFor[Ports](): {{"anyOf", []any{onePort[0], onePort[1],
		object{{"type", "array"}, {"minItems", 1}, {"items", object{{"anyOf", onePort}}}}}}, {"examples", []any{443, "8000-8100"}}},
}

var onePort = []any{
	object{{"type", "integer"}, {"minimum", 1}, {"maximum", 65535}},
	object{{"type", "string"}, {"pattern", `^[0-9]{1,5}(-[0-9]{1,5})?$`}},
}

func (g *generator) schema(t reflect.Type, f *field) object {
	if s, ok := scalarSchemas[t]; ok {
		return append(object{}, s...)
	}
	switch t.Kind() {
	case reflect.Pointer:
		return g.schema(t.Elem(), f)
	case reflect.Slice:
		s := object{{"type", "array"}, {"items", g.schema(t.Elem(), f)}}
		if f.required {
			s = append(s, member{"minItems", 1})
		}
		return s
	case reflect.Map:
		s := object{{"type", "object"}, {"additionalProperties", g.schema(t.Elem(), &field{})}}
		if t.Key().Kind() == reflect.Int {
			s = append(s, member{"propertyNames", object{{"pattern", `^[0-9]{1,3}$`}}})
		}
		return s
	case reflect.Struct:
		return g.reference(tables[t])
	case reflect.Bool:
		return object{{"type", "boolean"}}
	case reflect.String:
		return stringSchema(f)
	}
	low := int64(0)
	if f.hasMin {
		low = f.min
	}
	s := object{{"type", "integer"}, {"minimum", low}}
	if f.hasMax {
		s = append(s, member{"maximum", f.max})
	}
	return s
}

func stringSchema(f *field) object {
	switch {
	case len(f.enum) > 0:
		return object{{"type", "string"}, {"enum", f.enum}}
	case f.format != nil && f.format.pattern != "":
		return object{{"type", "string"}, {"pattern", f.format.pattern}}
	}
	return object{{"type", "string"}, {"minLength", 1}}
}

// reference puts a struct's definition into $defs and returns a $ref to it.
func (g *generator) reference(t *table) object {
	name := t.typ.Name()
	if !g.done[name] {
		g.done[name] = true
		at := len(g.defs)
		g.defs = append(g.defs, member{key: name})
		g.defs[at].value = g.definition(t)
	}
	ref := object{{"$ref", "#/$defs/" + name}}
	if t.short >= 0 {
		f := &t.fields[t.short]
		return object{{"anyOf", []any{ref, g.schema(t.typ.Field(f.index).Type, f)}}}
	}
	return ref
}

func (g *generator) definition(t *table) object {
	var properties object
	required := []string{}
	for i := range t.fields {
		f := &t.fields[i]
		sf := t.typ.Field(f.index)
		doc := sentence(g.docs[t.typ.Name()+"."+sf.Name], sf.Name, f.name)
		if f.later != "" {
			doc += " Not supported yet: a later release brings " + f.later + "."
		}
		if len(f.notYet) > 0 {
			doc += " Not supported yet: `" + strings.Join(f.notYet, "`, `") + "`."
		}
		p := append(object{{"description", doc}}, g.schema(sf.Type, f)...)
		if f.hasDef {
			p = append(p, member{"default", defaultValue(t.proto.Field(f.index), f)})
		}
		properties = append(properties, member{f.name, p})
		if f.required {
			required = append(required, f.name)
		}
	}
	d := object{{"description", g.docs[t.typ.Name()]}, {"type", "object"}, {"properties", properties}, {"additionalProperties", false}}
	if len(required) > 0 {
		d = append(d, member{"required", required})
	}
	return d
}

func defaultValue(v reflect.Value, f *field) any {
	switch v.Kind() {
	case reflect.Bool, reflect.Int, reflect.Uint16, reflect.Uint32:
		return v.Interface()
	}
	return f.def
}

func (g *generator) document(k *kindOf) object {
	meta := g.definition(metaTable)
	properties := meta[2].value.(object)
	for i := range properties {
		switch m := &properties[i]; m.key {
		case "name":
			m.value = append(m.value.(object)[:1:1], object{{"type", "string"}, {"pattern", patternLabel}}...)
		case "account":
			m.value = append(m.value.(object)[:1:1], object{{"type", "string"}, {"pattern", patternLabel}}...)
		case "annotations":
			var ours object
			for _, r := range annotationRules {
				ours = append(ours, member{r.name, object{{"description", r.doc}, {"type", "string"}, {"pattern", r.pattern}}})
			}
			m.value = append(m.value.(object), member{"properties", ours})
		}
	}
	required, envelope := []string{"name"}, []string{"apiVersion", "kind", "metadata"}
	if k.tenant {
		required = append(required, "account")
	} else {
		properties = append(properties[:1:1], properties[2:]...)
	}
	meta[2].value = properties
	meta[len(meta)-1].value = required
	t := specTables[k.name]
	for i := range t.fields {
		if t.fields[i].required {
			envelope = []string{"apiVersion", "kind", "metadata", "spec"}
		}
	}
	spec := g.reference(t)
	return object{
		{"$schema", "https://json-schema.org/draft/2020-12/schema"},
		{"$id", "https://weft.dev/schema/v1alpha1/" + schemaFile(k.name)},
		{"title", k.name},
		{"description", g.docs[k.name]},
		{"type", "object"},
		{"properties", object{
			{"apiVersion", object{{"description", "The version of the language."}, {"const", APIVersion}}},
			{"kind", object{{"description", "The kind of the document."}, {"const", k.name}}},
			{"metadata", meta},
			{"spec", spec},
		}},
		{"additionalProperties", false},
		{"required", envelope},
		{"$defs", g.defs},
	}
}
