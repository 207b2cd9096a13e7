package schema

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
)

// TestCases reads trees from testdata/*.txtar and compares what Parse says with their last
// file, named want; -update writes it.
func TestCases(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no cases", err)
	}
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			a := parseArchive(text)
			files := fstest.MapFS{}
			for _, f := range a.files {
				if f.name != "want" {
					files[f.name] = &fstest.MapFile{Data: unescape(f.data)}
				}
			}
			tree, ds := Parse(files, nil)
			checkDiags(t, tree, ds)
			checkTree(t, tree)
			got := []byte(describe(tree, ds))
			last := len(a.files) - 1
			if a.files[last].name != "want" {
				a.files = append(a.files, archiveFile{name: "want"})
				last++
			}
			if bytes.Equal(got, a.files[last].data) {
				return
			}
			if !*update {
				t.Fatalf("got:\n%s\nwant:\n%s", got, a.files[last].data)
			}
			a.files[last].data = got
			if err := os.WriteFile(name, a.format(), 0o644); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// unescape puts in the bytes that can not stand in an archive: \xNN.
func unescape(b []byte) []byte {
	return regexp.MustCompile(`\\x[0-9a-f]{2}`).ReplaceAllFunc(b, func(m []byte) []byte {
		var c byte
		fmt.Sscanf(string(m[2:]), "%x", &c)
		return []byte{c}
	})
}

// describe prints diagnostics with their codes, then the documents.
func describe(tree *Tree, ds Diags) string {
	var b strings.Builder
	for i := range ds {
		fmt.Fprintf(&b, "[%s]\n", ds[i].Code)
		_ = ds[i:i+1].Render(&b, tree.Source, false)
		b.WriteString("\n")
	}
	for _, d := range tree.Documents {
		fmt.Fprintf(&b, "valid %v at %v\n", d.ID(), d.Pos)
	}
	for _, d := range tree.Invalid {
		fmt.Fprintf(&b, "invalid %v at %v\n", d.ID(), d.Pos)
	}
	return b.String()
}

// checkTree checks what holds for every tree.
func checkTree(t *testing.T, tree *Tree) {
	t.Helper()
	for i, d := range tree.Documents {
		if i > 0 && tree.Documents[i-1].Pos.compare(d.Pos) >= 0 {
			t.Errorf("%v is out of order", d.Pos)
		}
		if tree.Lookup(d.ID()) != d || d.Spec == nil {
			t.Errorf("%v is not complete", d.ID())
		}
		if err := compileSchema(t, d.Kind).Validate(plainValue(t, d.text)); err != nil {
			t.Errorf("Parse takes what the JSON Schema refuses: %v: %v", d.ID(), err)
		}
	}
}

// TestEveryRuleHasACase: each code that the package can give appears in a golden.
func TestEveryRuleHasACase(t *testing.T) {
	seen := ""
	cases, _ := filepath.Glob("testdata/*.txtar")
	for _, name := range cases {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		seen += string(b)
	}
	codes := map[string]bool{}
	for name := range formats {
		codes["bad-"+name] = true
	}
	delete(codes, "bad-"+hostAddr) // the prefix decoder's
	sources, _ := filepath.Glob("*.go")
	call := regexp.MustCompile(`(?:errorf|Errorf|Warnf|wrong|fail|refuse|readError)[({][^"\n]*"([a-z0-9]+(?:-[a-z0-9]+)+)", `)
	for _, name := range sources {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range call.FindAllSubmatch(b, -1) {
			if !strings.HasSuffix(name, "_test.go") {
				codes[string(m[1])] = true
			}
		}
	}
	for code := range codes {
		if !strings.Contains(seen, "\n["+code+"]\n") && notInArchive[code] == "" {
			t.Errorf("no case in testdata for %s", code)
		}
	}
	if len(codes) < 40 {
		t.Errorf("found %d codes only", len(codes))
	}
}

// notInArchive are rules whose cases are made by other tests.
var notInArchive = map[string]string{
	"too-large":            "TestHostile",
	"too-many":             "unsupported fields only",
	"too-many-errors":      "TestHostile",
	"too-many-aliases":     "TestHostile",
	"symbolic-link":        "TestWalk",
	"not-a-file":           "TestWalk",
	"unreadable-file":      "TestWalk",
	"unreadable-directory": "TestWalk",
}
