package schema

import (
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"
)

// tree prints nodes with everything that decoding can see.
func printNodes(ns nodes, n int32) string {
	var b strings.Builder
	var walk func(n int32, depth int)
	walk = func(n int32, depth int) {
		x := ns[n]
		fmt.Fprintf(&b, "%*s%d:%d %v style %d %q\n", depth, "", x.pos.Line, x.pos.Col, x.kind, x.style, x.value)
		for c := x.first; c != 0; c = ns[c].next {
			walk(c, depth+1)
		}
	}
	walk(n, 0)
	return b.String()
}

// agree checks the law of fastParser for one text; it reports whether the fast parser took it.
func agree(t *testing.T, text string) bool {
	t.Helper()
	took := false
	for _, c := range split(text) {
		var fast, slow nodes
		p := fastParser{ns: &fast}
		root, ok := p.parse(c)
		if !ok {
			continue
		}
		took = true
		var ds Diags
		want := parseYAML("f", c, &slow, &ds)
		if want == 0 {
			t.Fatalf("the fast parser took what yaml.v3 refuses: %v\n%q", ds, c.text)
		}
		if got, want := printNodes(fast, root), printNodes(slow, want); got != want {
			t.Fatalf("the parsers differ on\n%s\nfast:\n%s\nyaml.v3:\n%s", c.text, got, want)
		}
	}
	return took
}

var plainDocuments = []string{
	"a: 1\n",
	"a: 1\nb:\n  c: x y z   # comment\n  d: [1, 2, \"three\"]\n",
	"a:\n- b: 1\n  c: 2\n- b: 3\nd: e\n",
	"a:\n  - b\n  - c: {d: e, f: [g]}\n    h: 'i'\n",
	"a: {b: 1,\n    c: 2}   # end\nd: 3\n",
	"a: {b: [x, y,\n # comment\n z]}\n",
	"a: |\n  text\n   more\n\n  # no comment\nb: 1\n",
	"a: |-\n  text\n\n# comment\nb: 1\n",
	"a:\n  b: |\n    x\n  c: 1\n",
	"- a\n- - b\n",
	"- a\n-\n  b: 1\n",
	"a: vlan://50\nb: \"vlan://50\"\nc: 02:00:4c:00:00:0b\nd: fd00::1\n",
	"a: {b: vlan://50, c: fd00::1}\n",
	"a: ü\nb: {\"x\": 1}\n",
	"a: {b: ü, c: 1} # ö\n",
	"# ü\na: b#c\n",
	"a: <<\nb: ~\nc: -1\nd: a-b\n",
	"a:   \n  b: 1\n",
	"a: b\n\n\n# c\n",
	"a: b",
	"a: |\n  x",
	"a: 'it''s'\nb: \"x\\n\"\n",
	"a: b\n  c\n",
	"a: [b]\n  c\n",
	"a:\nb: 1\n",
	"a: b: c\n",
	"a: [b, ]\n",
	"a: {b, c}\n",
	"a: {b: }\n",
	"a: \"b\"#c\n",
	"a: [-1, - 2]\n",
	"a: 1\n b: 2\n",
	"a: ? b\n",
	"? a\n: b\n",
	"a: {b: 'c' 'd'}\n",
	"a: \"b\" c\n",
	"a: |\n  x\n y\n",
	"a: |\n\n  x\n",
	"a: |\n  x\n   \n  y\n",
	"- |\n  x\n- y\n",
	"a:\n- |\n  x\n- y\n",
	"a: b\n- c\n",
	"a:\n  - b\n - c\n",
	"a/b.c-d_e: f\n",
	"a: b ",
	"a: [b\n  c]\n",
	"a: (b)\nc: $d\ne: =f\n",
	"a: b\\c\n",
	"a: .\nb: ...\n",
	"a: [a?b]\n",
	"a: x:\n",
	"a: {b: x:y}\n",
	"1: a\ntrue: b\n",
}

func TestFastAgrees(t *testing.T) {
	taken := 0
	for _, text := range plainDocuments {
		if agree(t, text) {
			taken++
		}
	}
	if taken < 20 {
		t.Errorf("the fast parser took %d documents only", taken)
	}
}

// TestFastTakesExamples: what people write as the reference shows must be read fast.
func TestFastTakesExamples(t *testing.T) {
	for _, text := range readReference(t) {
		for _, c := range split(text) {
			var ns nodes
			p := fastParser{ns: &ns}
			if _, ok := p.parse(c); !ok {
				at := p.here()
				t.Errorf("not read fast, stopped at %d:%d\n%s", at.Line, at.Col, c.text)
			}
			agree(t, c.text)
		}
	}
}

func readReference(t *testing.T) []string {
	t.Helper()
	var out []string
	err := fs.WalkDir(os.DirFS("testdata"), "reference", func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile("testdata/" + p)
		out = append(out, string(b))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) == 0 {
		t.Fatal("no reference documents")
	}
	return out
}

func FuzzFast(f *testing.F) {
	for _, text := range plainDocuments {
		f.Add(text)
	}
	for _, text := range readReference(&testing.T{}) {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) { agree(t, text) })
}
