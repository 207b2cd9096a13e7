package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weft.dev/reconcile/alloc"
	"weft.dev/reconcile/resource"
)

var update = flag.Bool("update", false, "write golden files anew")

// TestExamples compiles every example and compares what each host should have
// with examples/NAME/expect/HOST.txt.
func TestExamples(t *testing.T) {
	dirs, err := filepath.Glob("../../examples/*/" + alloc.FileName)
	if err != nil || len(dirs) < 3 {
		t.Fatalf("only %d examples: %v", len(dirs), err)
	}
	for _, lock := range dirs {
		dir := filepath.Dir(lock)
		t.Run(filepath.Base(dir), func(t *testing.T) {
			tree, err := newCompiler().workTree(dir)
			if err != nil {
				t.Fatal(err)
			}
			if tree.diags = append(tree.diags, alloc.Check(tree.Demands(), tree.lock)...); len(tree.diags) > 0 {
				var b strings.Builder
				_ = tree.diags.Render(&b, tree.source, false)
				t.Fatal(b.String())
			}
			for _, h := range tree.Hosts() {
				golden(t, filepath.Join(dir, "expect", h+".txt"), intentText(tree.Intent(h)))
				madeAgain(t, dir, tree.Intent(h))
			}
		})
	}
}

// madeAgain: entries that are made when asked for are those that were compiled,
// and those that the host's own compiler keeps.
func madeAgain(t *testing.T, dir string, in *resource.Intent) {
	t.Helper()
	own, err := newCompilerOf(in.Host).workTree(dir)
	if err != nil {
		t.Fatal(err)
	}
	if own.Intent(in.Host).Fingerprint() != in.Fingerprint() {
		t.Errorf("%s: compiled for this host only its intent is another", in.Host)
	}
	for _, f := range in.Fragments {
		again := resource.NewFragment(f.Owner, f.Entries())
		if again.Print != f.Print || again.Len() != f.Len() || !slices.Equal(again.Marks(), f.Marks()) {
			t.Errorf("%s: %s is not the same when made again", in.Host, f.Owner)
		}
	}
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("%s (-want +got; make golden writes it anew):\n%s", path, diff)
	}
}

// intentText is an intent for people: every resource with its fields.
func intentText(in *resource.Intent) string {
	var b strings.Builder
	for _, f := range in.Fragments {
		fmt.Fprintf(&b, "%s\n", f.Owner)
		for _, e := range f.Entries() {
			fmt.Fprintf(&b, "  %s\n", e.State.ID())
			for _, fd := range e.State.Fields() {
				switch {
				case fd.Value == "":
				case fd.Lines:
					for l := range strings.SplitSeq(fd.Value, "\n") {
						fmt.Fprintf(&b, "      | %s\n", l)
					}
				default:
					fmt.Fprintf(&b, "      %s: %s\n", fd.Name, fd.Value)
				}
			}
		}
	}
	for _, h := range in.Holds {
		fmt.Fprintf(&b, "hold %s %s: %s\n", h.Owner, h.Cause, h.Reason)
	}
	return b.String()
}
