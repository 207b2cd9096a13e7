package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// TestTornTrees: an agent takes in a tree that lacks any one document, whatever it
// holds of what stands on it.
func TestTornTrees(t *testing.T) {
	paths, err := filepath.Glob("../../examples/*/cloud.yaml")
	if err != nil || len(paths) == 0 {
		t.Fatal(paths, err)
	}
	for _, path := range paths {
		dir := filepath.Dir(path)
		t.Run(filepath.Base(dir), func(t *testing.T) {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			lock, err := os.ReadFile(filepath.Join(dir, "weft.lock"))
			if err != nil {
				t.Fatal(err)
			}
			c := newCompilerOf("kvm1")
			docs := strings.Split(string(text), "\n---\n")
			for i := range docs {
				left := strings.Join(slices.Delete(slices.Clone(docs), i, i+1), "\n---\n")
				torn, err := c.compile(fstest.MapFS{"cloud.yaml": {Data: []byte(left)}, "weft.lock": {Data: lock}}, nil)
				if err != nil {
					t.Fatalf("without %s: %v", docs[i], err)
				}
				torn.Intent("kvm1")
				notesOf(torn, "kvm1")
				for g := range guestsOf(torn) {
					if g.Network == "" {
						t.Errorf("without %s: a guest of no network", docs[i])
					}
				}
			}
		})
	}
}
