package schema

import (
	"strings"
	"testing"
	"testing/fstest"
)

// TestWithin: a character of a value is where it stands in the file, however the value is written.
func TestWithin(t *testing.T) {
	const head = "apiVersion: weft.dev/v1alpha1\nkind: Policy\nmetadata: {name: p}\nspec:\n  match: {kinds: [Host]}\n"
	for name, field := range map[string]string{
		"plain":         "  expression: one < X\n",
		"single quotes": "  expression: 'it''s \\ < X'\n",
		"double quotes": "  expression: \"a \\\"b\\\" \\t < X\"\n",
		"flow":          "  {expression: one < X}\n",
		"literal":       "  expression: |\n    one &&\n      two && X\n",
		"stripped":      "  expression: |-\n    ä &&\n\n    X\n",
		"folded":        "  expression: >\n    one &&\n    two &&\n\n    X\n",
		"plain lines":   "  expression: one &&\n    two\n    && X\n",
		"quoted lines":  "  expression: \"one &&\n    two\n    && X\"\n",
		"later":         "  # X\n  message: X\n  expression: a  X\n",
	} {
		text := head + field
		if name == "flow" {
			text = strings.Replace(head, "spec:\n  match: {kinds: [Host]}\n", "", 1) + "spec: {match: {kinds: [Host]}, expression: one < X}\n"
		}
		tree, ds := Parse(fstest.MapFS{"a.yaml": {Data: []byte("# first\n---\n" + text)}}, nil)
		if len(ds) > 0 || len(tree.Documents) != 1 {
			t.Errorf("%s: %v", name, ds)
			continue
		}
		d := tree.Documents[0]
		value := d.Spec.(*Policy).Expression
		before, _, _ := strings.Cut(value, "X")
		line := strings.Count(before, "\n") + 1
		col := len([]rune(before[strings.LastIndex(before, "\n")+1:])) + 1
		got := d.Within("spec.expression", line, col)
		lines := strings.Split("# first\n---\n"+text, "\n")
		if got.Line < 1 || got.Line > len(lines) || got.Col > len([]rune(lines[got.Line-1])) || []rune(lines[got.Line-1])[got.Col-1] != 'X' {
			t.Errorf("%s: X of %q is said to be at %v of\n%s", name, value, got, text)
		}
	}
}

// TestWithinIsSafe: places that do not exist are the value's own.
func TestWithinIsSafe(t *testing.T) {
	tree, _ := Parse(fstest.MapFS{"a.yaml": {Data: []byte("apiVersion: weft.dev/v1alpha1\nkind: Policy\nmetadata: {name: p}\nspec:\n  match: {kinds: [Host]}\n  expression: 'true'\n")}}, nil)
	d := tree.Documents[0]
	for _, at := range [][2]int{{0, 0}, {-1, 5}, {9, 9}, {1, 1 << 30}, {1 << 30, 1}} {
		for _, path := range []string{"spec.expression", "spec.message", "spec", "", "metadata.name"} {
			if got := d.Within(path, at[0], at[1]); got.File != "a.yaml" || got.Line < 1 || got.Line > 7 {
				t.Errorf("%s %v: %v", path, at, got)
			}
		}
	}
}
