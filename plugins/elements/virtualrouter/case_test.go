package virtualrouter

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
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

// nothing is a guru that takes every network and makes nothing of it.
type nothing struct{}

func (nothing) Name() string                         { return "NothingGuru" }
func (nothing) CanHandle(*model.Network) string      { return "" }
func (nothing) Design(*model.Network, *plugin.Draft) {}

var registry = plugin.Registry{Gurus: []plugin.Guru{nothing{}}, Public: nothing{}, Elements: []plugin.Element{Element{}}}

// TestCases compiles the trees in testdata/*.txtar and compares what their
// hosts should have with the last file of each. A line "show: TEXT, ..." before the
// first file limits that to resources whose name holds one of these. A tree without
// weft.lock gets one with -update.
func TestCases(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no cases", err)
	}
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) { golden(t, name) })
	}
}

func golden(t *testing.T, name string) {
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	a := txtar.Parse(text)
	last := len(a.Files) - 1
	if a.Files[last].Name != "intent" {
		t.Fatal("the last file is not called intent")
	}
	if *update && a.Files[last-1].Name != alloc.FileName {
		tree, _ := schema.Parse(treeOf(a.Files[:last]), nil)
		lock := txtar.File{Name: alloc.FileName, Data: lockOf(t, tree).Marshal()}
		a.Files = append(a.Files[:last:last], lock, a.Files[last])
		last++
	}
	res, ds := compileFiles(t, a.Files[:last])
	var got bytes.Buffer
	if err := ds.Render(&got, nil, false); err != nil {
		t.Fatal(err)
	}
	for _, h := range res.Hosts() {
		show(&got, res.Intent(h), shown(a.Comment))
		complete(t, res.Intent(h))
		parsers(t, res.Intent(h))
	}
	if *update {
		a.Files[last].Data = got.Bytes()
		if err := os.WriteFile(name, txtar.Format(a), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(got.Bytes(), a.Files[last].Data) {
		t.Errorf("got:\n%s\nwant:\n%s", got.Bytes(), a.Files[last].Data)
	}
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

// lockOf is the lock that weft lock would write for tree.
func lockOf(t testing.TB, tree *schema.Tree) *alloc.Lock {
	t.Helper()
	lock, _, ds := alloc.Allocate(compile.New(registry).Update(tree, nil, nil).Demands(), nil, alloc.Options{})
	if ds.HasErrors() {
		t.Fatal(ds[0].String())
	}
	return lock
}

func compileFiles(t testing.TB, files []txtar.File) (*compile.Result, schema.Diags) {
	t.Helper()
	tree, ds := schema.Parse(treeOf(files), nil)
	var lock *alloc.Lock
	for _, f := range files {
		if f.Name == alloc.FileName {
			lock, _ = alloc.Parse(f.Name, f.Data, nil)
		}
	}
	if lock == nil {
		lock = lockOf(t, tree)
	}
	res := compile.New(registry).Update(tree, lock, nil)
	return res, append(ds, res.Diags...)
}

// show writes an intent for people: every resource with its fields, or those whose
// name holds one of only.
func show(w *bytes.Buffer, in *resource.Intent, only []string) {
	for _, f := range in.Fragments {
		fmt.Fprintf(w, "%s on %s\n", f.Owner, in.Host)
		for _, e := range f.Entries {
			id := e.State.ID().String()
			if only != nil && !slices.ContainsFunc(only, func(s string) bool { return strings.Contains(id, s) }) {
				continue
			}
			fmt.Fprintf(w, "  %s\n", id)
			for _, fd := range e.State.Fields() {
				switch {
				case fd.Value == "" || fd.Name == "configuration" || fd.Name == "loaded":
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

// complete holds that what a resource needs is asked for too.
func complete(t *testing.T, in *resource.Intent) {
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

// parsers gives every file to the program that reads it, as the process itself
// asks for.
func parsers(t *testing.T, in *resource.Intent) {
	t.Helper()
	set := in.Set()
	for _, id := range set.IDs() {
		p, ok := set[id].State.(resource.Process)
		if !ok {
			continue
		}
		dir := t.TempDir()
		write(t, set, dir)
		dnsmasqTest(t, expand(p.Test, dir)...)
		for _, a := range p.Argv {
			if path, ok := strings.CutPrefix(a, "--dhcp-hostsfile={run}/"); ok {
				dnsmasqTest(t, "dnsmasq", "--test", "--conf-file="+asOptions(t, filepath.Join(dir, path)))
			}
		}
	}
}

// write makes the files of set below dir.
func write(t testing.TB, set resource.Set, dir string) {
	t.Helper()
	for _, e := range set {
		f, ok := e.State.(resource.File)
		if !ok {
			continue
		}
		path := filepath.Join(dir, f.Path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(f.Parts[0].Text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func expand(argv []string, dir string) []string {
	out := make([]string, len(argv))
	for i, a := range argv {
		out[i] = strings.ReplaceAll(a, "{run}", dir)
	}
	return out
}

// asOptions turns a dhcp-hostsfile, which --test does not read, into a
// configuration with the same lines.
func asOptions(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for l := range strings.Lines(string(text)) {
		b.WriteString("dhcp-host=" + l)
	}
	path += ".conf"
	if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func dnsmasqTest(t testing.TB, argv ...string) {
	t.Helper()
	path := dnsmasq(t)
	if out, err := exec.Command(path, argv[1:]...).CombinedOutput(); err != nil {
		t.Errorf("%s: %v: %s", strings.Join(argv, " "), err, out)
	}
}

// dnsmasq is the path of the program; without it a test is skipped.
func dnsmasq(t testing.TB) string {
	t.Helper()
	for _, path := range []string{"dnsmasq", "/usr/sbin/dnsmasq"} {
		if found, err := exec.LookPath(path); err == nil {
			return found
		}
	}
	t.Skip("no dnsmasq here (package dnsmasq-base) that could read what was generated")
	return ""
}
