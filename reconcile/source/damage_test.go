package source

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
)

// many is enough files for a pack.
func many(content string) files {
	f := files{}
	for i := range 150 {
		f["d"+strconv.Itoa(i%10)+"/"+strconv.Itoa(i)+".yaml"] = content + strconv.Itoa(i)
	}
	return f
}

// eachPack does something to every file of that ending among the packs of a clone.
func eachPack(clone, ending string, do func(path string) error) error {
	list, err := filepath.Glob(filepath.Join(clone, "objects", "pack", "*"+ending))
	if err == nil && len(list) == 0 {
		err = fmt.Errorf("no %s in %s", ending, clone)
	}
	for _, p := range list {
		err = errors.Join(err, do(p))
	}
	return err
}

// truncate cuts a file, which may be read-only, to a size.
func truncate(path string, size int64) error {
	return errors.Join(os.Chmod(path, 0o600), os.Truncate(path, size))
}

func TestDamagedClone(t *testing.T) {
	objectFile := func(clone, id string) string { return filepath.Join(clone, "objects", id[:2], id[2:]) }
	for name, damage := range map[string]func(clone string, rev Revision) error{
		"pack truncated": func(clone string, _ Revision) error {
			return eachPack(clone, ".pack", func(p string) error {
				info, err := os.Stat(p)
				if err != nil {
					return err
				}
				return truncate(p, info.Size()/2)
			})
		},
		"pack emptied": func(clone string, _ Revision) error {
			return eachPack(clone, ".pack", func(p string) error { return truncate(p, 0) })
		},
		"pack overwritten": func(clone string, _ Revision) error {
			return eachPack(clone, ".pack", func(p string) error {
				b, err := os.ReadFile(p)
				if err != nil {
					return err
				}
				for i := 200; i < len(b)-20; i++ {
					b[i] ^= 0x55
				}
				return errors.Join(os.Chmod(p, 0o600), os.WriteFile(p, b, 0o600))
			})
		},
		"index truncated": func(clone string, _ Revision) error {
			return eachPack(clone, ".idx", func(p string) error { return truncate(p, 100) })
		},
		"index and pack gone": func(clone string, _ Revision) error {
			return errors.Join(eachPack(clone, ".idx", os.Remove), eachPack(clone, ".pack", os.Remove))
		},
		"commit deleted": func(clone string, rev Revision) error { return os.Remove(objectFile(clone, rev.Commit)) },
		"commit emptied": func(clone string, rev Revision) error { return truncate(objectFile(clone, rev.Commit), 0) },
		"HEAD gone":      func(clone string, _ Revision) error { return os.Remove(filepath.Join(clone, "HEAD")) },
		"ref emptied": func(clone string, _ Revision) error {
			return os.Truncate(filepath.Join(clone, filepath.FromSlash(tipName.String())), 0)
		},
		"config is junk": func(clone string, _ Revision) error {
			return os.WriteFile(filepath.Join(clone, "config"), []byte("\x00[["), 0o600)
		},
		"all gone": func(clone string, _ Revision) error { return os.RemoveAll(clone) },
	} {
		t.Run(name, func(t *testing.T) {
			bare, dir, f := filepath.Join(t.TempDir(), "net.git"), t.TempDir(), many("x")
			work := f.write(t, t.TempDir())
			publishDir(t, work, bare)
			r := open(t, Config{URL: bare, Dir: dir})
			fetch(t, r)
			put := func(content string) Revision {
				f["d1/new.yaml"] = content
				files{"d1/new.yaml": content}.write(t, work)
				return publishDir(t, work, bare)
			}
			second := put("new")
			fetch(t, r)
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
			if err := damage(r.clone.path(), second); err != nil {
				t.Fatal(err)
			}
			r = open(t, Config{URL: bare, Dir: dir})
			if rev, ok := r.Last(); ok && name != "all gone" {
				t.Errorf("Last of a damaged clone is %s", rev)
			}
			rev := fetch(t, r)
			same(t, r, rev, second, f)
			if rev.Rewritten {
				t.Error("the clone was damaged, the history was not rewritten")
			}
			third := put("newer")
			same(t, r, fetch(t, r), third, f)
			if left, _ := filepath.Glob(filepath.Join(dir, "git*")); len(left) != 1 {
				t.Errorf("left %v", left)
			}
		})
	}
}

// A blob is lost while the Repo is open: reading it says so, and the next fetch
// heals the clone although the branch did not move.
func TestDamageFoundByReading(t *testing.T) {
	bare := filepath.Join(t.TempDir(), "net.git")
	f := files{"a.yaml": "1", "b.yaml": "2"}
	want := publish(t, bare, "main", f)
	r := open(t, Config{URL: bare})
	rev := fetch(t, r)
	tree, err := r.Tree(rev)
	if err != nil {
		t.Fatal(err)
	}
	id, ok := tree.BlobID("b.yaml")
	if !ok {
		t.Fatal("no id")
	}
	if err := os.Remove(filepath.Join(r.clone.path(), "objects", id[:2], id[2:])); err != nil {
		t.Fatal(err)
	}
	r.objects.cache.Clear()
	if _, err := tree.ReadFile("b.yaml"); !errors.Is(err, ErrDamaged) {
		t.Fatalf("a lost blob: %v", err)
	}
	if b, err := tree.ReadFile("a.yaml"); err != nil || string(b) != "1" {
		t.Fatalf("another file: %q, %v", b, err)
	}
	if err := os.Rename(bare, bare+".away"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Fetch(t.Context()); !errors.Is(err, ErrNotRepository) {
		t.Fatalf("a fetch that cannot heal: %v", err)
	}
	if b, err := tree.ReadFile("a.yaml"); err != nil || string(b) != "1" {
		t.Fatalf("what is whole must stay readable: %q, %v", b, err)
	}
	if err := os.Rename(bare+".away", bare); err != nil {
		t.Fatal(err)
	}
	same(t, r, fetch(t, r), want, f)
	equal(t, tree, f) // an old Tree reads from the new clone
}

func TestDamagedUpstream(t *testing.T) {
	bare := filepath.Join(t.TempDir(), "net.git")
	f := files{"a.yaml": "1"}
	first := publish(t, bare, "main", f)
	r := open(t, Config{URL: bare})
	rev := fetch(t, r)
	second := publish(t, bare, "main", files{"a.yaml": "2"})
	blob := objectID(plumbing.BlobObject, []byte("2")).String()
	lost := filepath.Join(bare, "objects", blob[:2], blob[2:])
	if err := os.Rename(lost, lost+".away"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Fetch(t.Context()); err == nil || !strings.Contains(err.Error(), bare+" is damaged: object "+blob) {
		t.Fatalf("fetch from a damaged repository: %v", err)
	}
	same(t, r, rev, first, f)
	if err := os.Rename(lost+".away", lost); err != nil {
		t.Fatal(err)
	}
	same(t, r, fetch(t, r), second, files{"a.yaml": "2"})
}

func TestInterruptedReplace(t *testing.T) {
	bare, dir := filepath.Join(t.TempDir(), "net.git"), t.TempDir()
	f := files{"a.yaml": "1"}
	first := publish(t, bare, "main", f)
	r := open(t, Config{URL: bare, Dir: dir})
	fetch(t, r)
	_ = r.Close()
	junk := filepath.Join(r.clone.path(), "objects", "pack", "tmp_pack_1")
	lock := filepath.Join(r.clone.path(), "refs", "weft", "tip.lock")
	for _, left := range []string{junk, lock} {
		if err := os.WriteFile(left, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Rename(r.clone.path(), r.clone.aside()), os.Mkdir(r.clone.fresh(), 0o700)); err != nil {
		t.Fatal(err)
	}
	r = open(t, Config{URL: bare, Dir: dir})
	rev, ok := r.Last()
	if !ok {
		t.Fatal("the clone that was set aside is lost")
	}
	same(t, r, rev, first, f)
	for _, left := range []string{junk, lock, r.clone.aside(), r.clone.fresh()} {
		if _, err := os.Lstat(left); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is still there", left)
		}
	}
}

func TestCrowdedCloneIsRenewed(t *testing.T) {
	bare := filepath.Join(t.TempDir(), "net.git")
	publish(t, bare, "main", files{"a.yaml": "1"})
	r := open(t, Config{URL: bare})
	fetch(t, r)
	shard := filepath.Join(r.clone.path(), "objects", "17")
	junk := files{}
	for i := range maxLoose + 1 {
		junk[strconv.Itoa(i)] = ""
	}
	junk.write(t, shard)
	second := publish(t, bare, "main", files{"a.yaml": "2"})
	rev := fetch(t, r)
	same(t, r, rev, second, files{"a.yaml": "2"})
	if rev.Rewritten || r.clone.crowded() {
		t.Fatalf("rewritten %v, crowded %v", rev.Rewritten, r.clone.crowded())
	}
}
