package source

import (
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// dirObject stores a directory as a hostile server may send it.
func dirObject(t *testing.T, repo string, entries ...any) plumbing.Hash {
	t.Helper()
	var content []byte
	for i := 0; i < len(entries); i += 2 {
		content = append(append(content, entries[i].(string)...), 0)
		id := entries[i+1].(plumbing.Hash)
		content = append(content, id[:]...)
	}
	s := store(t, repo)
	o := s.NewEncodedObject()
	o.SetType(plumbing.TreeObject)
	w, err := o.Writer()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	id, err := s.SetEncodedObject(o)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestHostileTrees(t *testing.T) {
	type maker func(entries ...any) plumbing.Hash // of directories
	for name, c := range map[string]struct {
		tree func(dir maker, blob plumbing.Hash) plumbing.Hash
		text string
	}{
		"parent": {func(dir maker, blob plumbing.Hash) plumbing.Hash {
			return dir("100644 ..", blob)
		}, "impossible entry"},
		"slash": {func(dir maker, blob plumbing.Hash) plumbing.Hash {
			return dir("100644 a/../../etc/passwd", blob)
		}, "impossible entry"},
		"twice": {func(dir maker, blob plumbing.Hash) plumbing.Hash {
			return dir("100644 a", blob, "100644 a", blob)
		}, `two entries named "a"`},
		"no mode": {func(dir maker, blob plumbing.Hash) plumbing.Hash {
			return dir("a", blob)
		}, "torn entry"},
		"blob as directory": {func(dir maker, blob plumbing.Hash) plumbing.Hash {
			return dir("40000 a", blob)
		}, "is a blob, not a tree"},
		"bomb": {func(dir maker, blob plumbing.Hash) plumbing.Hash {
			id := dir("100644 f", blob)
			for range 12 { // 10^12 files
				var entries []any
				for i := range 10 {
					entries = append(entries, "40000 d"+strconv.Itoa(i), id)
				}
				id = dir(entries...)
			}
			return id
		}, "the tree has more than 1000000 files"},
		"deep": {func(dir maker, blob plumbing.Hash) plumbing.Hash {
			id := dir("100644 f", blob)
			for range 2 * maxDepth {
				id = dir("40000 d", id)
			}
			return id
		}, "the tree is more than 100 directories deep"},
	} {
		t.Run(name, func(t *testing.T) {
			bare := filepath.Join(t.TempDir(), "net.git")
			f := files{"a.yaml": "1"}
			first := publish(t, bare, "main", f)
			r := open(t, Config{URL: bare})
			rev := fetch(t, r)
			s := store(t, bare)
			c1, err := object.GetCommit(s, plumbing.NewHash(first.Commit))
			if err != nil {
				t.Fatal(err)
			}
			c1.ParentHashes = []plumbing.Hash{c1.Hash}
			c1.TreeHash = c.tree(func(entries ...any) plumbing.Hash { return dirObject(t, bare, entries...) }, objectID(plumbing.BlobObject, []byte("1")))
			point(t, bare, "refs/heads/main", save(t, s, c1))
			for range 2 {
				if _, err := r.Fetch(t.Context()); err == nil || !strings.Contains(err.Error(), c.text) {
					t.Fatalf("got %v, want %s", err, c.text)
				}
			}
			same(t, r, rev, first, f)
		})
	}
}

func TestLinksAndSubmodules(t *testing.T) {
	bare := filepath.Join(t.TempDir(), "net.git")
	publish(t, bare, "main", files{"a.yaml": "1"})
	s := store(t, bare)
	blob := objectID(plumbing.BlobObject, []byte("1"))
	root := dirObject(t, bare, "40000 .git", dirObject(t, bare, "100644 config", blob),
		"120000 link.yaml", blob, "160000 module", plumbing.NewHash(strings.Repeat("1", 40)), "100755 run.yaml", blob)
	c := &object.Commit{TreeHash: root, Message: "x"}
	point(t, bare, "refs/heads/main", save(t, s, c))
	r := open(t, Config{URL: bare})
	tree, err := r.Tree(fetch(t, r))
	if err != nil {
		t.Fatal(err)
	}
	list, err := tree.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range list {
		got = append(got, e.Name()+" "+e.Type().String())
	}
	if want := []string{"link.yaml L---------", "module ?---------", "run.yaml ----------"}; !slices.Equal(got, want) {
		t.Errorf("entries %q, want %q", got, want)
	}
	for name, want := range map[string]error{
		"link.yaml": ErrSymlink, "module": ErrSubmodule, "link.yaml/x": ErrSymlink, "module/x": ErrSubmodule,
		"run.yaml/x": fs.ErrNotExist, ".git/config": fs.ErrNotExist, "../x": fs.ErrInvalid,
	} {
		if _, err := tree.ReadFile(name); !errors.Is(err, want) {
			t.Errorf("read %s: %v, want %v", name, err, want)
		}
		if _, err := tree.Open(name); !errors.Is(err, want) {
			t.Errorf("open %s: %v, want %v", name, err, want)
		}
		if id, ok := tree.BlobID(name); ok {
			t.Errorf("%s has the id %s", name, id)
		}
	}
	info, err := tree.Stat("link.yaml")
	if err != nil || info.Mode().Type() != fs.ModeSymlink {
		t.Errorf("stat of a link: %v, %v", info, err)
	}
}

// A file that is too large to be read must not keep its commit away.
func TestLargeFile(t *testing.T) {
	if raced {
		t.Skip("half a minute under the race detector, which has nothing to find here")
	}
	bare := filepath.Join(t.TempDir(), "net.git")
	publish(t, bare, "main", files{"a.yaml": "1"})
	s := store(t, bare)
	o := s.NewEncodedObject()
	o.SetType(plumbing.BlobObject)
	w, err := o.Writer()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(make([]byte, maxFile+1)); err != nil {
		t.Fatal(err)
	}
	big, err := s.SetEncodedObject(o)
	if err != nil {
		t.Fatal(err)
	}
	root := dirObject(t, bare, "100644 a.yaml", objectID(plumbing.BlobObject, []byte("1")), "100644 disk.img", big)
	point(t, bare, "refs/heads/main", save(t, s, &object.Commit{TreeHash: root, Message: "x"}))
	r := open(t, Config{URL: bare})
	tree, err := r.Tree(fetch(t, r))
	if err != nil {
		t.Fatal(err)
	}
	if b, err := tree.ReadFile("a.yaml"); err != nil || string(b) != "1" {
		t.Errorf("a.yaml: %q, %v", b, err)
	}
	if info, err := tree.Stat("disk.img"); err != nil || info.Size() != maxFile+1 {
		t.Errorf("disk.img: %v, %v", info, err)
	}
	if _, err := tree.ReadFile("disk.img"); !errors.Is(err, ErrTooLarge) {
		t.Errorf("disk.img: %v", err)
	}
	_ = r.Close()
	if _, err := tree.ReadFile("a.yaml"); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}
