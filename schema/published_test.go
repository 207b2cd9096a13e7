package schema

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"
)

var update = flag.Bool("update", false, "write generated and golden files")

// TestSchemaFiles holds the published files to the Go source; go generate writes them.
func TestSchemaFiles(t *testing.T) {
	docs := readDocs(t)
	for i := range kinds {
		g := generator{docs: docs, done: map[string]bool{}}
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		if err := enc.Encode(g.document(&kinds[i])); err != nil {
			t.Fatal(err)
		}
		name := schemaFile(kinds[i].name)
		if *update {
			if err := os.WriteFile(name, b.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if got, err := os.ReadFile(name); err != nil || !bytes.Equal(got, b.Bytes()) {
			t.Errorf("%s is not current: run go generate ./schema", name)
		}
	}
}

// TestFieldDocs: every field of the language says what it means.
func TestFieldDocs(t *testing.T) {
	docs := readDocs(t)
	for typ, table := range tables {
		if docs[typ.Name()] == "" {
			t.Errorf("%s has no doc comment", typ.Name())
		}
		for i := range table.fields {
			if name := typ.Name() + "." + typ.Field(table.fields[i].index).Name; docs[name] == "" {
				t.Errorf("%s has no doc comment", name)
			}
		}
	}
}

func compileSchema(t *testing.T, kind string) *jsonschema.Schema {
	t.Helper()
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(JSONSchema(kind)))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource(kind, value); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile(kind)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// plainValue decodes YAML as an editor would before it validates.
func plainValue(t *testing.T, text string) any {
	t.Helper()
	var v any
	if err := yaml.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(stringKeys(v))
	if err != nil {
		t.Fatal(err)
	}
	v, err = jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// stringKeys makes JSON's maps of YAML's.
func stringKeys(v any) any {
	switch v := v.(type) {
	case time.Time: // editors follow YAML 1.2, where a date is text
		return v.Format(time.DateOnly)
	case map[string]any:
		for k := range v {
			v[k] = stringKeys(v[k])
		}
	case map[any]any:
		m := map[string]any{}
		for k, x := range v {
			b, _ := json.Marshal(k)
			m[strings.Trim(string(b), `"`)] = stringKeys(x)
		}
		return m
	case []any:
		for i := range v {
			v[i] = stringKeys(v[i])
		}
	}
	return v
}

// TestReferenceValid: the documents of the language's reference are valid by the schemas.
func TestReferenceValid(t *testing.T) {
	for _, k := range kinds {
		text, err := os.ReadFile(filepath.Join("testdata", "reference", strings.ToLower(k.name)+".yaml"))
		if err != nil {
			t.Fatal(err)
		}
		if err := compileSchema(t, k.name).Validate(plainValue(t, string(text))); err != nil {
			t.Errorf("%s: %v", k.name, err)
		}
	}
}

// TestSchemaRefuses: the schemas are not so wide that anything passes.
func TestSchemaRefuses(t *testing.T) {
	s := compileSchema(t, KindNetwork)
	const head = "apiVersion: weft.dev/v1alpha1\nkind: Network\n"
	for _, text := range []string{
		"apiVersion: weft.dev/v2\nkind: Network\nmetadata: {name: web, account: acme}\nspec: {offering: x}\n",
		head + "metadata: {name: web}\nspec: {offering: x}\n",
		head + "metadata: {name: Web, account: acme}\nspec: {offering: x}\n",
		head + "metadata: {name: web, account: acme}\n",
		head + "metadata: {name: web, account: acme}\nspec: {}\n",
		head + "metadata: {name: web, account: acme}\nspec: {offering: x, cidr: 10.1.1.0}\n",
		head + "metadata: {name: web, account: acme}\nspec: {offering: x, offring: y}\n",
		head + "metadata: {name: web, account: acme}\nspec: {offering: x, egress: [{name: a, action: allow, protocol: tcp}]}\n",
		head + "metadata: {name: web, account: acme}\nspec: {offering: x, mtu: 5}\n",
	} {
		if s.Validate(plainValue(t, text)) == nil {
			t.Errorf("valid:\n%s", text)
		}
	}
}

// TestSchemaAnnotations: the schemas judge the annotations of weft.dev/ as Parse does.
func TestSchemaAnnotations(t *testing.T) {
	s := compileSchema(t, KindAccount)
	for annotation, valid := range map[string]bool{
		`weft.dev/suspend: "true"`: true, `weft.dev/suspend: "false"`: false, `weft.dev/suspend: true`: false,
		`weft.dev/prune: disabled`: true, `weft.dev/prune: enabled`: false,
		`weft.dev/ignore-drift: "ovs.port/*"`: true, `weft.dev/ignore-drift: "ovs port"`: false,
		`weft.dev/formerly: old`: true, `weft.dev/formerly: Old`: false,
		`example.org/x: anything`: true,
	} {
		text := "apiVersion: weft.dev/v1alpha1\nkind: Account\nmetadata: {name: a, annotations: {" + annotation + "}}\n"
		if err := s.Validate(plainValue(t, text)); (err == nil) != valid {
			t.Errorf("%s by the schema: %v", annotation, err)
		}
		if tree, ds := Parse(fstest.MapFS{"a.yaml": {Data: []byte(text)}}, nil); len(tree.Documents) == 1 != valid {
			t.Errorf("%s by Parse: %v", annotation, ds)
		}
	}
}

func TestReferenceText(t *testing.T) {
	for _, kind := range Kinds() {
		text := Reference(kind)
		for _, want := range []string{"# " + kind + "\n", "- `spec."} {
			if !strings.Contains(text, want) {
				t.Errorf("the reference of %s lacks %q", kind, want)
			}
		}
	}
	for _, want := range []string{"`spec.egress[].action`", "Required. One of `Allow`, `Deny`."} {
		if !strings.Contains(Reference(KindNetwork), want) {
			t.Errorf("the reference of Network lacks %q", want)
		}
	}
	if Reference("Expectation") != "" || JSONSchema("Expectation") != nil {
		t.Error("a kind that is not supported is published")
	}
}
