// Package plugintest is what the tests of gurus and elements share: trees in txtar
// files, compiled with a registry of just the plugins under test, against goldens.
//
// In go a registry and testdata; out come failures, and with -update new goldens.
// Only tests below plugins import it; it imports compile, and touches files below
// testdata.
package plugintest

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"golang.org/x/tools/txtar"

	"weft.dev/reconcile/alloc"
	"weft.dev/reconcile/compile"
	"weft.dev/reconcile/model"
	"weft.dev/reconcile/plugin"
	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

var update = flag.Bool("update", false, "write golden files anew")

// Silent stands in for the plugins that are not under test: it takes every network
// and asks for nothing.
type Silent struct{}

// Name implements plugin.Guru and, as the provider that offerings name,
// plugin.Element.
func (Silent) Name() string { return "VirtualRouter" }

// CanHandle implements plugin.Guru.
func (Silent) CanHandle(*model.Network) string { return "" }

// Design implements plugin.Guru.
func (Silent) Design(*model.Network, *plugin.Draft) {}

// CanServe implements plugin.Public.
func (Silent) CanServe(*model.Router) string { return "" }

// DesignLegs implements plugin.Public.
func (Silent) DesignLegs(*model.Router, *plugin.Draft) {}

// Services implements plugin.Element.
func (Silent) Services() []string { return nil }

// Implement implements plugin.Element.
func (Silent) Implement(*model.Network, *plugin.Draft) {}

// SilentVPC is Silent for VPCs.
type SilentVPC struct{ Silent }

// Name implements plugin.Element.
func (SilentVPC) Name() string { return model.ProviderVPC }

// Plain is a guru that takes every network which its switch carries.
type Plain struct{ plugin.Switch }

// CanHandle implements plugin.Guru.
func (p Plain) CanHandle(n *model.Network) string { return p.Carries(n) }

// Design implements plugin.Guru.
func (p Plain) Design(n *model.Network, out *plugin.Draft) {
	for _, s := range n.Segments {
		p.DesignSegment(n, s, out)
	}
}

// Cases compiles the trees in testdata/*.txtar and compares diagnostics and what
// the hosts should have with the last file of each, "intent". A line "show: TEXT,
// ..." before the first file limits that to resources whose name holds one of
// these. A tree without weft.lock gets one with -update. check, unless nil, sees
// every intent.
func Cases(t *testing.T, r plugin.Registry, check func(*testing.T, *resource.Intent)) {
	t.Helper()
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no cases", err)
	}
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			a := read(t, name)
			last := len(a.Files) - 1
			if last < 1 || a.Files[last].Name != "intent" {
				t.Fatal("there is no tree, or the last file is not called intent")
			}
			if *update && a.Files[last-1].Name != alloc.FileName {
				lock := txtar.File{Name: alloc.FileName, Data: lockFor(t, r, a.Files[:last]).Marshal()}
				a.Files = append(a.Files[:last:last], lock, a.Files[last])
			}
			golden(t, name, a, render(t, r, a, check))
		})
	}
}

func golden(t *testing.T, name string, a *txtar.Archive, got []byte) {
	t.Helper()
	want := &a.Files[len(a.Files)-1].Data
	if *update {
		*want = got
		if err := os.WriteFile(name, txtar.Format(a), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(got, *want) {
		t.Errorf("got:\n%s\nwant:\n%s", got, *want)
	}
}

func render(t *testing.T, r plugin.Registry, a *txtar.Archive, check func(*testing.T, *resource.Intent)) []byte {
	t.Helper()
	var got bytes.Buffer
	res, ds := Compile(t, r, a.Files[:len(a.Files)-1])
	if err := ds.Render(&got, nil, false); err != nil {
		t.Fatal(err)
	}
	for _, h := range res.Hosts() {
		in := res.Intent(h)
		show(&got, in, shown(a.Comment))
		if check != nil {
			check(t, in)
		}
	}
	return got.Bytes()
}

// Intent compiles the tree of testdata/NAME.txtar, which must have no mistake, with
// one text replaced by another where they are given, and returns what its first
// host should have.
func Intent(t *testing.T, r plugin.Registry, name string, replace ...string) *resource.Intent {
	t.Helper()
	a := read(t, "testdata/"+name+".txtar")
	a = txtar.Parse([]byte(strings.NewReplacer(replace...).Replace(string(txtar.Format(a)))))
	res, ds := Compile(t, r, a.Files[:len(a.Files)-1])
	if ds.HasErrors() {
		t.Fatal(ds[0].String())
	}
	return res.Intent(res.Hosts()[0])
}

// Complete holds that what a resource needs is asked for too.
func Complete(t *testing.T, in *resource.Intent) {
	t.Helper()
	set := in.Set()
	for _, id := range set.IDs() {
		for _, need := range resource.Requires(set[id].State) {
			if _, ok := set[need]; !ok {
				t.Errorf("%s needs %s, which nobody asks for", id, need)
			}
		}
	}
}

func read(t *testing.T, name string) *txtar.Archive {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return txtar.Parse(text)
}

func shown(comment []byte) []string {
	for l := range strings.Lines(string(comment)) {
		if rest, ok := strings.CutPrefix(l, "show: "); ok {
			return strings.Split(strings.TrimSpace(rest), ", ")
		}
	}
	return nil
}

func treeOf(files []txtar.File) fstest.MapFS {
	out := fstest.MapFS{}
	for _, f := range files {
		out[f.Name] = &fstest.MapFile{Data: f.Data}
	}
	return out
}

// lockFor is the lock that weft lock would write for files.
func lockFor(t *testing.T, r plugin.Registry, files []txtar.File) *alloc.Lock {
	t.Helper()
	tree, _ := schema.Parse(treeOf(files), nil)
	lock, _, ds := alloc.Allocate(compile.New(r).Update(tree, nil, nil).Demands(), nil, alloc.Options{})
	if ds.HasErrors() {
		t.Fatal(ds[0].String())
	}
	return lock
}

// Compile compiles files with the lock among them, else with a new one. The
// diagnostics are those of parsing too.
func Compile(t *testing.T, r plugin.Registry, files []txtar.File) (*compile.Result, schema.Diags) {
	t.Helper()
	tree, ds := schema.Parse(treeOf(files), nil)
	var lock *alloc.Lock
	for _, f := range files {
		if f.Name == alloc.FileName {
			lock, _ = alloc.Parse(f.Name, f.Data, nil)
		}
	}
	if lock == nil {
		lock = lockFor(t, r, files)
	}
	res := compile.New(r).Update(tree, lock, nil)
	return res, append(ds, res.Diags...)
}

// show writes an intent for people: every resource with its fields, or those whose
// name holds one of only.
func show(w *bytes.Buffer, in *resource.Intent, only []string) {
	set := in.Set()
	for _, f := range in.Fragments {
		fmt.Fprintf(w, "%s on %s\n", f.Owner, in.Host)
		for _, id := range set.IDs() {
			if set[id].Owner != f.Owner || only != nil && !slices.ContainsFunc(only, func(s string) bool { return strings.Contains(id.String(), s) }) {
				continue
			}
			fmt.Fprintf(w, "  %s\n", id)
			for _, fd := range set[id].State.Fields() {
				switch {
				case fd.Value == "" || fd.Name == "configuration" || fd.Name == "loaded": // hashes of what is shown
				case fd.Lines:
					fmt.Fprintf(w, "      | %s\n", strings.ReplaceAll(fd.Value, "\n", "\n      | "))
				default:
					fmt.Fprintf(w, "      %s: %s\n", fd.Name, fd.Value)
				}
			}
		}
	}
	for _, h := range in.Holds {
		fmt.Fprintf(w, "hold %s %s: %s\n", h.Owner, h.Cause, h.Reason)
	}
}
