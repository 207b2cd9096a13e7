package source

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// cloud is a directory of 10,000 files of about 310 bytes in 1,021 directories,
// and a bare repository with it as first commit and 50 changes as the second.
func cloud(b *testing.B) (dir, bare string) {
	b.Helper()
	dir, bare = filepath.Join(b.TempDir(), "tree"), filepath.Join(b.TempDir(), "net.git")
	fill := func(i int, text string) {
		path := filepath.Join(dir, fmt.Sprintf("a%02d", i%20), fmt.Sprintf("n%03d", i%1000), fmt.Sprintf("net-%d.yaml", i))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			b.Fatal(err)
		}
		content := fmt.Sprintf("kind: Network\nmetadata:\n  name: net-%d\nspec:\n  text: %s-%d\n", i, text, i) +
			strings.Repeat(fmt.Sprintf("# %d line\n", i), 20)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	for i := range 10_000 {
		fill(i, "one")
	}
	publishDir(b, dir, bare)
	for i := range 50 {
		fill(i*7, "two")
	}
	publishDir(b, dir, bare)
	return dir, bare
}

func publishDir(tb testing.TB, dir, bare string) Revision {
	tb.Helper()
	rev, made, err := Publish(tb.Context(), dir, bare, Note{})
	if err != nil || !made {
		tb.Fatalf("Publish: made %v, %v", made, err)
	}
	return rev
}

func read(b *testing.B, tree Tree) {
	b.Helper()
	n := 0
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		n++
		_, err = tree.ReadFile(name)
		return err
	})
	if err != nil || n != 10_000 {
		b.Fatalf("%d files, %v", n, err)
	}
}

func BenchmarkSource(b *testing.B) {
	dir, bare := cloud(b)
	state := b.TempDir()
	mk := func() *Repo {
		r, err := Open(b.Context(), Config{URL: bare, Dir: state})
		if err != nil {
			b.Fatal(err)
		}
		return r
	}
	grab := func(r *Repo) Revision {
		rev, err := r.Fetch(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		return rev
	}
	b.Run("clone", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			if err := os.RemoveAll(state); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
			r := mk()
			grab(r)
			_ = r.Close()
		}
	})
	b.Run("open+verify", func(b *testing.B) {
		for b.Loop() {
			r := mk()
			if _, ok := r.Last(); !ok {
				b.Fatal("no revision")
			}
			_ = r.Close()
		}
	})
	r := mk()
	defer r.Close()
	rev := grab(r)
	b.Run("fetch nothing new", func(b *testing.B) {
		for b.Loop() {
			grab(r)
		}
	})
	b.Run("read after fetch", func(b *testing.B) {
		for b.Loop() {
			tree, err := r.Tree(rev)
			if err != nil {
				b.Fatal(err)
			}
			read(b, tree)
		}
	})
	b.Run("walk and ids", func(b *testing.B) {
		for b.Loop() {
			tree, _ := r.Tree(rev)
			_ = fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, _ error) error {
				if _, ok := tree.BlobID(name); ok == d.IsDir() {
					b.Fatal(name)
				}
				return nil
			})
		}
	})
	b.Run("read cold", func(b *testing.B) {
		for b.Loop() {
			repo, err := openRepository(bare)
			if err != nil {
				b.Fatal(err)
			}
			ref, err := repo.ref("refs/heads/main")
			if err != nil {
				b.Fatal(err)
			}
			c, err := repo.objects.commit(ref.Hash())
			if err != nil {
				b.Fatal(err)
			}
			read(b, newCommitTree(repo.objects, c))
			repo.close()
		}
	})
	b.Run("read directory", func(b *testing.B) {
		for b.Loop() {
			tree, err := Dir(dir)
			if err != nil {
				b.Fatal(err)
			}
			read(b, tree)
			_ = tree.Close()
		}
	})
	c, err := r.commit(rev)
	if err != nil {
		b.Fatal(err)
	}
	before := Revision{Commit: c.ParentHashes[0].String()}
	b.Run("changed cold", func(b *testing.B) {
		for b.Loop() {
			r.objects.dirs = nil
			openObjects(r.objects, r.clone.path())
			if paths, err := r.Changed(before, rev); err != nil || len(paths) != 50 {
				b.Fatal(len(paths), err)
			}
		}
	})
	b.Run("changed", func(b *testing.B) {
		for b.Loop() {
			if paths, err := r.Changed(before, rev); err != nil || len(paths) != 50 {
				b.Fatal(len(paths), err)
			}
		}
	})
	b.Run("publish and fetch one file", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			b.StopTimer()
			file := filepath.Join(dir, "one.yaml")
			if err := os.WriteFile(file, fmt.Append(nil, b.N, i, time.Now()), 0o600); err != nil {
				b.Fatal(err)
			}
			publishDir(b, dir, bare)
			b.StartTimer()
			grab(r)
		}
	})
}

// BenchmarkNotice is how long a commit to a repository on this machine goes
// unnoticed.
func BenchmarkNotice(b *testing.B) {
	dir, bare := b.TempDir(), filepath.Join(b.TempDir(), "net.git")
	put := func(i int) {
		if err := os.WriteFile(filepath.Join(dir, "a.yaml"), fmt.Append(nil, i, time.Now()), 0o600); err != nil {
			b.Fatal(err)
		}
		publishDir(b, dir, bare)
	}
	put(-1)
	r, err := Open(b.Context(), Config{URL: bare, Dir: b.TempDir(), Poll: -1})
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	wakes, err := r.Watch(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	for i := 0; b.Loop(); i++ {
		b.StopTimer()
		put(i)
		b.StartTimer()
		<-wakes
		if _, err := r.Fetch(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPublish is what `weft lab commit` waits for when one file changed.
func BenchmarkPublish(b *testing.B) {
	dir, bare := cloud(b)
	for i := 0; b.Loop(); i++ {
		if err := os.WriteFile(filepath.Join(dir, "one.yaml"), fmt.Append(nil, i, time.Now()), 0o600); err != nil {
			b.Fatal(err)
		}
		publishDir(b, dir, bare)
	}
}
