package model_test

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"testing"
	"testing/fstest"

	"golang.org/x/tools/txtar"

	"weft.dev/reconcile/alloc"
	"weft.dev/reconcile/model"
	"weft.dev/schema"
)

// TestChangeOfOffering reads what networks were and what they are, and compares what
// is said of their offerings with the last file.
func TestChangeOfOffering(t *testing.T) {
	const name = "testdata/change/offerings.txtar"
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	a := txtar.Parse(text)
	file := func(name string) []byte {
		i := slices.IndexFunc(a.Files, func(f txtar.File) bool { return f.Name == name })
		if i < 0 {
			t.Fatal("there is no", name)
		}
		return a.Files[i].Data
	}
	was, _ := networks(t, file("infra.yaml"), file("was.yaml"))
	now, source := networks(t, file("infra.yaml"), file("now.yaml"))
	var got bytes.Buffer
	for i, n := range now {
		x, ds := model.ChangeOfOffering(was[i], n)
		if x == nil {
			fmt.Fprintf(&got, "%s: nothing\n\n", n.ID)
			continue
		}
		fmt.Fprintf(&got, "%s\n", x.Sentence())
		if err := ds.Render(&got, source, false); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&got)
	}
	last := &a.Files[len(a.Files)-1]
	if *update {
		last.Data = got.Bytes()
		if err := os.WriteFile(name, txtar.Format(a), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if !bytes.Equal(got.Bytes(), last.Data) {
		t.Errorf("got:\n%s\nwant:\n%s", got.Bytes(), last.Data)
	}
}

// networks resolves those of a tree, in the order of their documents.
func networks(t *testing.T, files ...[]byte) ([]*model.Network, func(string) []byte) {
	t.Helper()
	fs := fstest.MapFS{}
	for i, f := range files {
		fs[fmt.Sprintf("%d.yaml", i)] = &fstest.MapFile{Data: f}
	}
	tree, ds := schema.Parse(fs, nil)
	if ds.HasErrors() {
		t.Fatal(ds[0].String())
	}
	site, ds := model.BuildSite(tree, nil, nil)
	if ds.HasErrors() {
		t.Fatal(ds[0].String())
	}
	var index model.Index
	for _, d := range tree.Documents {
		index.Add(d)
	}
	var out []*model.Network
	for _, d := range index.Networks() {
		n, ds := model.Resolve(site, &index, d, alloc.Empty())
		if ds.HasErrors() {
			t.Fatal(ds[0].String())
		}
		out = append(out, n)
	}
	return out, tree.Source
}
