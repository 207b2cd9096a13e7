package schema

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
)

func account(name string) *fstest.MapFile {
	return &fstest.MapFile{Data: []byte("apiVersion: weft.dev/v1alpha1\nkind: Account\nmetadata: {name: " + name + "}\n")}
}

// blobs is a tree that knows the identity of its files, and counts what is opened.
type blobs struct {
	fstest.MapFS
	ids    map[string]string
	mu     *sync.Mutex
	opened map[string]int
}

func (b blobs) BlobID(path string) (string, bool) {
	id, ok := b.ids[path]
	return id, ok
}

func (b blobs) Open(name string) (fs.File, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.opened[name]++
	return b.MapFS.Open(name)
}

func TestCacheKeepsPointers(t *testing.T) {
	files := fstest.MapFS{"a.yaml": account("a"), "b.yaml": account("b"), "copy.yaml": account("c")}
	for _, withID := range []bool{false, true} {
		t.Run(fmt.Sprintf("blob ids %v", withID), func(t *testing.T) {
			tree := blobs{MapFS: files, ids: map[string]string{}, opened: map[string]int{}, mu: new(sync.Mutex)}
			if withID {
				tree.ids = map[string]string{"a.yaml": "1", "b.yaml": "2", "copy.yaml": "3"}
			}
			var cache Cache
			before, ds := Parse(tree, &cache)
			if len(ds) > 0 || len(before.Documents) != 3 {
				t.Fatal(ds, len(before.Documents))
			}
			changed := blobs{MapFS: fstest.MapFS{"a.yaml": files["a.yaml"], "b.yaml": account("b2"), "moved.yaml": files["copy.yaml"]},
				ids: map[string]string{}, opened: map[string]int{}, mu: new(sync.Mutex)}
			if withID {
				changed.ids = map[string]string{"a.yaml": "1", "b.yaml": "4", "moved.yaml": "3"}
			}
			after, _ := Parse(changed, &cache)
			if before.Documents[0] != after.Documents[0] {
				t.Error("an unchanged document got a new pointer")
			}
			if withID && changed.opened["a.yaml"] > 0 {
				t.Error("a known blob was read")
			}
			if after.Documents[1].Meta.Name != "b2" || after.Documents[2].File != "moved.yaml" {
				t.Error("a changed or moved document is stale")
			}
			again, _ := Parse(tree, &cache)
			if again.Documents[2] != before.Documents[2] {
				t.Error("the cache forgot the parse before the last")
			}
			if string(after.Source("b.yaml")) != string(changed.MapFS["b.yaml"].Data) || after.Source("gone") != nil {
				t.Error("wrong source")
			}
		})
	}
}

// TestCacheDuplicates: a duplicate that comes and goes is seen by each Parse, as without cache.
func TestCacheDuplicates(t *testing.T) {
	var cache Cache
	for i, tree := range []fstest.MapFS{
		{"a.yaml": account("a"), "b.yaml": account("b")},
		{"a.yaml": account("a"), "b.yaml": account("a")},
		{"a.yaml": account("a"), "b.yaml": account("a")},
		{"a.yaml": account("b"), "b.yaml": account("a")},
		{"b.yaml": account("b"), "c.yaml": account("a")},
		{"a.yaml": account("a"), "b.yaml": account("b"), "c.yaml": account("a")},
		{"a.yaml": account("a"), "b.yaml": account("b"), "c.yaml": account("c")},
		{},
		{"a.yaml": account("c")},
	} {
		cold, coldDiags := Parse(tree, nil)
		warm, warmDiags := Parse(tree, &cache)
		if got, want := describe(warm, warmDiags), describe(cold, coldDiags); got != want {
			t.Errorf("tree %d: got\n%s\nwant\n%s", i, got, want)
		}
	}
}

func TestCacheForgets(t *testing.T) {
	var cache Cache
	for i := range 400 {
		Parse(fstest.MapFS{"a.yaml": account(fmt.Sprintf("a%d", i))}, &cache)
	}
	if len(cache.files) > 100 {
		t.Errorf("%d files are kept for a tree of one", len(cache.files))
	}
}

// TestOrder: the result depends on the tree only.
func TestOrder(t *testing.T) {
	tree := cloud(1000)
	tree["a.yaml"] = &fstest.MapFile{Data: []byte("x: [\n---\ny: 1\n")}
	want := ""
	for range 5 {
		out, ds := Parse(tree, nil)
		if got := describe(out, ds); want == "" {
			want = got
		} else if got != want {
			t.Fatal("two parses differ")
		}
	}
}

// broken is a tree in which some names can not be read.
type broken struct{ fs.FS }

var errBroken = errors.New("input/output error")

func (b broken) Open(name string) (fs.File, error) {
	if strings.Contains(name, "broken") {
		return nil, errBroken
	}
	return b.FS.Open(name)
}

func (b broken) ReadDir(name string) ([]fs.DirEntry, error) {
	if strings.Contains(name, "broken") {
		return nil, errBroken
	}
	return fs.ReadDir(b.FS, name)
}

// TestWalkUnreadable: what can not be read is unknown, so it must be held, not pruned.
func TestWalkUnreadable(t *testing.T) {
	tree, ds := Parse(broken{fstest.MapFS{"a.yaml": account("a"), "broken.yaml": account("b"), "broken/c.yaml": account("c")}}, nil)
	if len(tree.Documents) != 1 || len(tree.Invalid) != 2 || len(ds) != 2 {
		t.Fatal(describe(tree, ds))
	}
	checkDiags(t, tree, ds)
	for i, code := range []string{"unreadable-directory", "unreadable-file"} {
		if ds[i].Code != code || tree.Invalid[i].ID() != (ID{}) {
			t.Errorf("%+v", ds[i])
		}
	}
}

func TestWalkLinks(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"a.yaml": string(account("a").Data), "sub/b.yml": string(account("b").Data)} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for target, link := range map[string]string{"a.yaml": "link.yaml", "..": "sub/up", "/dev/zero": "zero.yaml", "sub": ".weftignore"} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	tree, ds := Parse(os.DirFS(dir), nil)
	if len(tree.Documents) != 2 || len(tree.Invalid) != 0 || ds.HasErrors() {
		t.Error(describe(tree, ds))
	}
	if len(ds) != 3 || ds[0].Code != "not-a-file" || ds[1].Code != "symbolic-link" {
		t.Error("links are not told", ds)
	}
}

func TestLargeFile(t *testing.T) {
	tree, ds := Parse(fstest.MapFS{"a.yaml": {Data: make([]byte, maxFileSize+1)}, "b.yaml": account("b")}, nil)
	if len(tree.Documents) != 1 || len(tree.Invalid) != 1 || len(ds) != 1 || ds[0].Code != "too-large" {
		t.Error(describe(tree, ds))
	}
}

// TestLargeTree: of a tree that is too large nothing is used and everything is unknown, and it
// does not matter which file was read when.
func TestLargeTree(t *testing.T) {
	tree := fstest.MapFS{"broken.yaml": {Data: []byte("x: [\n")}}
	size := int64(len(tree["broken.yaml"].Data))
	for i := range 50 {
		name := fmt.Sprintf("a%d", i)
		tree[name+".yaml"] = account(name)
		size += int64(len(tree[name+".yaml"].Data))
	}
	for _, c := range []struct {
		size, documents int64
		ok              bool
	}{{size, 51, true}, {size - 1, 51, false}, {size, 50, false}, {1, 1, false}} {
		for _, cache := range []*Cache{nil, new(Cache)} {
			for range 2 {
				out, ds := parseTree(tree, cache, &budget{size: c.size, documents: c.documents})
				checkDiags(t, out, ds)
				if c.ok {
					if len(out.Documents) != 50 || len(out.Invalid) != 1 {
						t.Error(describe(out, ds))
					}
				} else if len(out.Documents) != 0 || len(out.Invalid) != 1 || out.Invalid[0].ID() != (ID{}) || len(ds) != 1 || ds[0].Code != "too-large" {
					t.Error(describe(out, ds))
				}
			}
		}
	}
}

func TestAt(t *testing.T) {
	text := "# c\n---\napiVersion: weft.dev/v1alpha1\nkind: VirtualMachine\nmetadata:\n  name: web-1\n  account: acme\n" +
		"  annotations: {weft.dev/formerly: old, weft.dev: x}\nspec:\n  nics:\n    - network: a\n    - network: b\n      mac: \"02:00:00:00:00:01\"\n"
	tree, ds := Parse(fstest.MapFS{"a.yaml": {Data: []byte(text)}}, nil)
	if len(ds) > 0 {
		t.Fatal(ds)
	}
	d := tree.Documents[0]
	for path, want := range map[string]string{
		"":                                       "a.yaml:3:1",
		"metadata.name":                          "a.yaml:6:9",
		"metadata.annotations.weft.dev/formerly": "a.yaml:8:36",
		"spec.nics[1].mac":                       "a.yaml:13:12",
		"spec.nics[1]":                           "a.yaml:12:7",
		"spec.nics[1].ip":                        "a.yaml:12:7",
		"spec.nics[2].ip":                        "a.yaml:11:5",
		"spec.nics[x]":                           "a.yaml:11:5",
		"spec.host":                              "a.yaml:10:3",
		"nothing":                                "a.yaml:3:1",
		"spec.nics[0].network.deeper":            "a.yaml:11:16",
	} {
		if got := d.At(path).String(); got != want {
			t.Errorf("%q: got %s, want %s", path, got, want)
		}
	}
	vm := d.Spec.(*VirtualMachine)
	if got := d.PosOf(vm.NICs[1].At).String(); got != "a.yaml:12:7" {
		t.Errorf("the NIC is at %s", got)
	}
	if got := d.PosOf(Pos32{}); got != d.Pos {
		t.Errorf("no place is at %s", got)
	}
}

func TestID(t *testing.T) {
	for _, k := range kinds {
		id := ID{Kind: k.name, Name: "n1"}
		if k.tenant {
			id.Account = "acme"
		}
		if back, err := ParseID(id.String()); err != nil || back != id {
			t.Errorf("%v: %v %v", id, back, err)
		}
	}
	for _, s := range []string{"", "network", "network/web", "network/a/b/c", "host/a/b", "VirtualMachine/a/b", "vm//b", "vm/a/", "host/"} {
		if id, err := ParseID(s); err == nil {
			t.Errorf("%q is %v", s, id)
		}
	}
}

// TestIgnore: the matcher against what git does with the same lines.
func TestIgnore(t *testing.T) {
	for _, c := range []struct {
		rules string
		yes   string
		no    string
	}{
		{"a.yaml", "a.yaml x/a.yaml x/y/a.yaml", "b.yaml xa.yaml"},
		{"/a.yaml", "a.yaml", "x/a.yaml"},
		{"x/a.yaml", "x/a.yaml", "y/x/a.yaml"},
		{"*.gen.yaml", "a.gen.yaml x/b.gen.yaml", "gen.yaml"},
		{"x/", "x/", "x"},
		{"x/*", "x/a.yaml x/y/", "x/y/a.yaml"},
		{"x/**", "x/a.yaml x/y/a.yaml", "x/ y"},
		{"**/x", "x y/x y/z/x", "xy"},
		{"a/**/b", "a/b a/x/b a/x/y/b", "b x/a/b"},
		{"[!a].yaml", "b.yaml", "a.yaml"},
		{"*.yaml\n!keep.yaml", "a.yaml x/b.yaml", "keep.yaml x/keep.yaml"},
		{"!a.yaml\na.yaml", "a.yaml", ""},
		{"\\#a", "#a", "a"},
		{"a.yaml  ", "a.yaml", "b.yaml"},
	} {
		var rules []ignoreRule
		for _, line := range strings.Split(c.rules, "\n") {
			rule, ok, err := parseIgnore(line, ".")
			if err != nil || !ok {
				t.Fatal(line, err)
			}
			rules = append(rules, rule)
		}
		check := func(names string, want bool) {
			for _, name := range strings.Fields(names) {
				path, isDir := strings.CutSuffix(name, "/")
				if ignored(rules, path, isDir) != want {
					t.Errorf("%q, %s: want %v", c.rules, name, want)
				}
			}
		}
		check(c.yes, true)
		check(c.no, false)
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range hostile() {
		if len(text) < 4096 {
			f.Add([]byte(text))
		}
	}
	for _, text := range readReference(&testing.T{}) {
		f.Add([]byte(text))
	}
	cases, _ := filepath.Glob("testdata/*.txtar")
	for _, name := range cases {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range parseArchive(text).files {
			if file.name != "want" {
				f.Add(unescape(file.data))
			}
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		tree, ds := Parse(fstest.MapFS{"f.yaml": {Data: text}}, nil)
		checkDiags(t, tree, ds)
		for _, d := range tree.Documents {
			if d.Spec == nil || !isLabel(d.Meta.Name) || IsTenant(d.Kind) != isLabel(d.Meta.Account) {
				t.Errorf("%+v", d)
			}
			d.At("spec.nics[0].network")
		}
		if len(tree.Invalid) > 0 && !ds.HasErrors() {
			t.Error("an invalid document without an error")
		}
	})
}
