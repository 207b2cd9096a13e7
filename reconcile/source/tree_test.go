package source

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/fstest"
	"time"
)

// trees returns the same files as a commit and as a directory.
func trees(t *testing.T, f files) map[string]Tree {
	t.Helper()
	dir := f.write(t, t.TempDir())
	bare := filepath.Join(t.TempDir(), "net.git")
	if _, _, err := Publish(t.Context(), dir, bare, Note{}); err != nil {
		t.Fatal(err)
	}
	r := open(t, Config{URL: bare})
	commit, err := r.Tree(fetch(t, r))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := Dir(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = plain.Close() })
	return map[string]Tree{"commit": commit, "directory": plain}
}

func TestTreeIsAnFS(t *testing.T) {
	f := files{"a.yaml": "1", "d/b.yaml": "2", "d/e/c.yaml": "3", "d.yaml": "", "d-e/x": "4", ".weftignore": "x"}
	for name, tree := range trees(t, f) {
		t.Run(name, func(t *testing.T) {
			if err := fstest.TestFS(tree, "a.yaml", "d/b.yaml", "d/e/c.yaml", "d.yaml", "d-e/x"); err != nil {
				t.Error(err)
			}
			equal(t, tree, f)
			sub, err := fs.Sub(tree, "d")
			if err != nil {
				t.Fatal(err)
			}
			equal(t, sub, files{"b.yaml": "2", "e/c.yaml": "3"})
			if _, ok := sub.(Tree); !ok {
				t.Errorf("a sub tree is a %T", sub)
			}
			for _, bad := range []string{"nope", "a.yaml"} {
				if _, err := fs.Sub(tree, bad); err == nil {
					t.Errorf("fs.Sub of %s works", bad)
				}
			}
			// git hash-object of "2" without a newline
			if id, ok := tree.BlobID("d/b.yaml"); !ok || id != "d8263ee9860594d2806b0dfd1bfd17528b0ba2a4" {
				t.Errorf("BlobID is %s, %v", id, ok)
			}
			if id, ok := tree.BlobID("d"); ok {
				t.Errorf("a directory has the id %s", id)
			}
			b, err := tree.ReadFile("d/b.yaml")
			if err != nil || string(b) != "2" {
				t.Fatalf("ReadFile: %q, %v", b, err)
			}
			b[0] = 'X' // callers own what they get
			if b, _ := tree.ReadFile("d/b.yaml"); string(b) != "2" {
				t.Errorf("a second ReadFile gives %q", b)
			}
		})
	}
}

func TestEmptyTree(t *testing.T) {
	for name, tree := range trees(t, files{}) {
		t.Run(name, func(t *testing.T) { equal(t, tree, files{}) })
	}
	equal(t, emptyTree{}, files{})
	if err := fstest.TestFS(emptyTree{}); err != nil {
		t.Error(err)
	}
}

func TestConcurrentReading(t *testing.T) {
	f := many("x")
	for name, tree := range trees(t, f) {
		t.Run(name, func(t *testing.T) {
			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() {
					for n, want := range f {
						tree.BlobID(n)
						if b, err := tree.ReadFile(n); err != nil || string(b) != want {
							t.Errorf("%s: %q, %v", n, b, err)
						}
					}
				})
			}
			wg.Wait()
		})
	}
}

func TestDirectoryKeepsInside(t *testing.T) {
	outside := files{"secret.yaml": "secret"}.write(t, t.TempDir())
	dir := files{"real/a.yaml": "1", ".git/config": "x", "sub/.git": "gitdir: x"}.write(t, t.TempDir())
	for link, target := range map[string]string{
		"out": outside, "up": "../" + filepath.Base(outside), "in": "real", "file.yaml": "real/a.yaml",
		"secret.yaml": filepath.Join(outside, "secret.yaml"), "dangling": "nowhere",
	} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe.yaml"), 0o600); err != nil {
		t.Fatal(err)
	}
	big, err := os.Create(filepath.Join(dir, "big.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(big.Truncate(maxFile+1), big.Close()); err != nil {
		t.Fatal(err)
	}
	tree, err := Dir(dir)
	if err != nil {
		t.Fatal(err)
	}
	list, err := tree.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range list {
		names = append(names, e.Name())
	}
	if want := "big.yaml dangling file.yaml in out pipe.yaml real secret.yaml sub up"; strings.Join(names, " ") != want {
		t.Errorf("entries %v, want %s", names, want)
	}
	for name, want := range map[string]error{
		"out/secret.yaml": ErrSymlink, "up/secret.yaml": ErrSymlink, "in/a.yaml": ErrSymlink, "file.yaml": ErrSymlink,
		"secret.yaml": ErrSymlink, "dangling": ErrSymlink, "pipe.yaml": ErrSpecial, "big.yaml": ErrTooLarge,
		".git/config": fs.ErrNotExist, "sub/.git": fs.ErrNotExist, "../x": fs.ErrInvalid, "/etc/passwd": fs.ErrInvalid,
		"real/a.yaml/x": fs.ErrNotExist, "nope": fs.ErrNotExist, "nope/x": fs.ErrNotExist,
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
	for _, name := range []string{"in", "out", "real/a.yaml", ".git"} {
		if _, err := tree.ReadDir(name); err == nil {
			t.Errorf("%s can be listed", name)
		}
		if _, err := tree.Sub(name); err == nil {
			t.Errorf("%s is a sub tree", name)
		}
	}
	if err := os.Symlink(dir, dir+".link"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(dir + ".link") })
	through, err := Dir(dir + ".link") // a link that the user names is meant
	if err != nil {
		t.Fatal(err)
	}
	if b, err := through.ReadFile("real/a.yaml"); err != nil || string(b) != "1" {
		t.Errorf("through a link: %q, %v", b, err)
	}
}

func TestDirectoryErrors(t *testing.T) {
	dir := files{"a": ""}.write(t, t.TempDir())
	if _, err := Dir(filepath.Join(dir, "b")); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "there is no such directory") {
		t.Error(err)
	}
	if _, err := Dir(filepath.Join(dir, "a")); err == nil || !strings.HasSuffix(err.Error(), "a is not a directory") {
		t.Error(err)
	}
}

// A content must never be taken for that of an id which was given out before.
func TestDirectoryChangesWhileRead(t *testing.T) {
	dir := files{"a.yaml": "1", "b.yaml": "1"}.write(t, t.TempDir())
	tree, err := Dir(dir)
	if err != nil {
		t.Fatal(err)
	}
	old, _ := tree.BlobID("a.yaml")
	if _, err := tree.ReadFile("b.yaml"); err != nil {
		t.Fatal(err)
	}
	files{"a.yaml": "2", "b.yaml": "2"}.write(t, dir)
	if b, err := tree.ReadFile("a.yaml"); err != nil || string(b) != "1" {
		t.Errorf("the content of the id that was given out: %q, %v", b, err)
	}
	for _, name := range []string{"a.yaml", "b.yaml"} {
		if b, err := tree.ReadFile(name); !errors.Is(err, ErrChanged) {
			t.Errorf("%s changed: %q, %v", name, b, err)
		}
	}
	if id, _ := tree.BlobID("a.yaml"); id != old {
		t.Error("an id changed within one Directory")
	}
	again, err := Dir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if id, _ := again.BlobID("a.yaml"); id == old {
		t.Error("a new Directory has the old id")
	}
}

func TestChanged(t *testing.T) {
	bare := filepath.Join(t.TempDir(), "net.git")
	r := open(t, Config{URL: bare})
	at := func(f files) Revision {
		publish(t, bare, "main", f)
		return fetch(t, r)
	}
	a := at(files{"same/x": "1", "file-to-dir": "1", "dir-to-file/x": "1", "d/gone": "1", "d/changed": "1", "z/w/x": "1"})
	b := at(files{"same/x": "1", "file-to-dir/x": "1", "dir-to-file": "1", "d/new": "1", "d/changed": "2", "z/w/y": "1"})
	want := []string{"d/changed", "d/gone", "d/new", "dir-to-file", "dir-to-file/x", "file-to-dir", "file-to-dir/x", "z/w/x", "z/w/y"}
	for _, pair := range [][2]Revision{{a, b}, {b, a}} {
		got, err := r.Changed(pair[0], pair[1])
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("Changed = %v, %v\nwant %v", got, err, want)
		}
	}
	if got, err := r.Changed(a, a); err != nil || len(got) != 0 {
		t.Errorf("Changed of equals = %v, %v", got, err)
	}
	if _, err := r.Changed(a, Revision{Commit: strings.Repeat("1", 40)}); !errors.Is(err, ErrNoRevision) {
		t.Errorf("Changed to nowhere: %v", err)
	}
	if _, err := r.Tree(Revision{}); !errors.Is(err, ErrNoRevision) {
		t.Errorf("Tree of nothing: %v", err)
	}
}

func TestPublish(t *testing.T) {
	dir := files{".gitignore": "*", "a.yaml": "1", "d/b.yaml": "2", ".git/config": "x", "e/.git": "x"}.write(t, t.TempDir())
	if err := os.Symlink("a.yaml", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "empty"), 0o700), os.Chmod(filepath.Join(dir, "a.yaml"), 0o755)); err != nil {
		t.Fatal(err)
	}
	bare := filepath.Join(t.TempDir(), "labs", "net.git")
	note := Note{Message: "first\n\nbody", Author: "Ada <Lovelace>\n <ada@example.com>", Time: time.Unix(1000, 0)}
	rev, made, err := Publish(t.Context(), dir, bare, note)
	if err != nil || !made {
		t.Fatalf("made %v, %v", made, err)
	}
	if rev.Ref != "main" || rev.Subject != "first" || rev.Author != "Ada" || !rev.Time.Equal(note.Time) {
		t.Errorf("revision is %+v", rev)
	}
	before := everything(t, bare)
	again, made, err := Publish(t.Context(), dir, bare, Note{Message: "nothing new"})
	if err != nil || made || again != rev {
		t.Errorf("publishing the same: %+v, made %v, %v", again, made, err)
	}
	if after := everything(t, bare); !slices.Equal(before, after) {
		t.Errorf("publishing nothing left %v, had %v", after, before)
	}
	r := open(t, Config{URL: bare})
	same(t, r, fetch(t, r), rev, files{".gitignore": "*", "a.yaml": "1", "d/b.yaml": "2"})
	if git, err := gitOutput(t, bare, "fsck", "--strict", "--full"); err != nil || git != "" {
		t.Errorf("git fsck: %s %v", git, err)
	}
	listed, err := gitOutput(t, bare, "ls-tree", "-r", "--format=%(objectmode) %(path)", "main")
	if want := "100644 .gitignore\n100755 a.yaml\n100644 d/b.yaml\n120000 link"; err != nil || listed != want {
		t.Errorf("git ls-tree: %s %v", listed, err)
	}
	rest, _ := filepath.Glob(filepath.Join(filepath.Dir(bare), "*"))
	hidden, _ := filepath.Glob(filepath.Join(filepath.Dir(bare), ".*"))
	if len(rest) != 1 || len(hidden) != 0 {
		t.Errorf("beside the repository there are %v %v", rest, hidden)
	}
}

func TestPublishErrors(t *testing.T) {
	dir := files{"a.yaml": "1"}.write(t, t.TempDir())
	work := filepath.Join(t.TempDir(), "work")
	if err := makeBare(filepath.Join(work, ".git"), "refs/heads/main"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		dir, repo string
		note      Note
		text      string
	}{
		{dir, dir, Note{}, dir + " is not a Git repository"},
		{dir, work, Note{}, work + " is a work tree: publishing needs a bare repository"},
		{dir + "x", filepath.Join(t.TempDir(), "r"), Note{}, dir + "x: there is no such directory"},
		{dir, filepath.Join(t.TempDir(), "r"), Note{Branch: "a..b"}, `"a..b" cannot be the name of a branch`},
	} {
		if _, _, err := Publish(t.Context(), c.dir, c.repo, c.note); err == nil || err.Error() != c.text {
			t.Errorf("got %v\nwant %s", err, c.text)
		}
	}
	bare := filepath.Join(t.TempDir(), "net.git")
	publish(t, bare, "main", files{"a.yaml": "0"})
	lock := filepath.Join(bare, "refs", "heads", "main.lock")
	if err := os.WriteFile(lock, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, _, err := Publish(ctx, dir, bare, Note{}); err == nil || !strings.Contains(err.Error(), lock) {
		t.Errorf("a lock that stays: %v", err)
	}
}

func TestPublishConcurrently(t *testing.T) {
	bare := filepath.Join(t.TempDir(), "net.git")
	dirs := make([]string, 4)
	for i := range dirs {
		dirs[i] = files{"a.yaml": strings.Repeat("x", i+1)}.write(t, t.TempDir())
	}
	var wg sync.WaitGroup
	for _, dir := range dirs {
		wg.Go(func() {
			if _, made, err := Publish(t.Context(), dir, bare, Note{}); err != nil || !made {
				t.Errorf("made %v, %v", made, err)
			}
		})
	}
	wg.Wait()
	r := open(t, Config{URL: bare})
	rev := fetch(t, r)
	n := 0
	for c, err := r.commit(rev); ; c, err = r.objects.commit(c.ParentHashes[0]) {
		if err != nil {
			t.Fatal(err)
		}
		n++
		if len(c.ParentHashes) == 0 {
			break
		}
	}
	if n != len(dirs) {
		t.Errorf("%d commits in the history, want %d", n, len(dirs))
	}
}

// everything lists all files below a directory.
func everything(t *testing.T, dir string) []string {
	t.Helper()
	var list []string
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		list = append(list, path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}
