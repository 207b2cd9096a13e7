package source

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/storage/filesystem"
)

// files is a directory's content by path.
type files map[string]string

func (f files) write(t *testing.T, dir string) string {
	t.Helper()
	for name, content := range f {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// publish puts files on top of a branch of a bare repository.
func publish(t *testing.T, repo, branch string, f files) Revision {
	t.Helper()
	note := Note{Branch: branch, Message: "change", Author: "Ada <ada@example.com>"}
	rev, made, err := Publish(t.Context(), f.write(t, t.TempDir()), repo, note)
	if err != nil || !made {
		t.Fatalf("Publish: made %v, %v", made, err)
	}
	return rev
}

// store opens a bare repository for a test that does what Publish does not.
func store(t *testing.T, path string) *filesystem.Storage {
	t.Helper()
	s := filesystem.NewStorage(osfs.New(path), cache.NewObjectLRUDefault())
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// orphan commits a tree of rev without history, as a rewrite does.
func orphan(t *testing.T, path string, rev Revision, message string) plumbing.Hash {
	t.Helper()
	s := store(t, path)
	c, err := object.GetCommit(s, plumbing.NewHash(rev.Commit))
	if err != nil {
		t.Fatal(err)
	}
	c.ParentHashes, c.Message = nil, message
	return save(t, s, c)
}

func save(t *testing.T, s *filesystem.Storage, o interface {
	Encode(plumbing.EncodedObject) error
},
) plumbing.Hash {
	t.Helper()
	raw := s.NewEncodedObject()
	if err := o.Encode(raw); err != nil {
		t.Fatal(err)
	}
	id, err := s.SetEncodedObject(raw)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func point(t *testing.T, path, ref string, to plumbing.Hash) {
	t.Helper()
	if err := store(t, path).SetReference(plumbing.NewHashReference(plumbing.ReferenceName(ref), to)); err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, cfg Config) *Repo {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	r, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

func fetch(t *testing.T, r *Repo) Revision {
	t.Helper()
	rev, err := r.Fetch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return rev
}

// same fails unless rev is commit want and its tree is f.
func same(t *testing.T, r *Repo, rev, want Revision, f files) {
	t.Helper()
	if rev.Commit != want.Commit {
		t.Fatalf("revision %s, want %s", rev, want)
	}
	tree, err := r.Tree(rev)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, tree, f)
}

func equal(t *testing.T, tree fs.FS, want files) {
	t.Helper()
	got := files{}
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := fs.ReadFile(tree, name)
		got[name] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("tree has %v, want %v", got, want)
	}
}

func TestFetch(t *testing.T) {
	bare := filepath.Join(t.TempDir(), "net.git")
	one, two := files{"a.yaml": "1", "d/b.yaml": "2"}, files{"a.yaml": "1", "d/c.yaml": "3"}
	first := publish(t, bare, "main", one)
	r := open(t, Config{URL: bare, Branch: "main"})
	if rev, ok := r.Last(); ok {
		t.Fatalf("Last before the first fetch is %s", rev)
	}
	rev := fetch(t, r)
	same(t, r, rev, first, one)
	if rev.String() != "main@sha1:"+first.Commit || rev.Author != "Ada" || rev.Subject != "change" || rev.Rewritten {
		t.Fatalf("revision is %+v", rev)
	}
	if again := fetch(t, r); again != rev {
		t.Fatalf("a fetch of nothing new gave %+v, want %+v", again, rev)
	}
	second := publish(t, bare, "main", two)
	next := fetch(t, r)
	same(t, r, next, second, two)
	same(t, r, rev, first, one) // an older commit stays readable
	if next.Rewritten {
		t.Fatal("a commit on top counts as a rewrite")
	}
	paths, err := r.Changed(rev, next)
	if err != nil || fmt.Sprint(paths) != "[d/b.yaml d/c.yaml]" {
		t.Fatalf("Changed = %v, %v", paths, err)
	}
	if last, ok := r.Last(); !ok || last != next {
		t.Fatalf("Last = %v, want %v", last, next)
	}
}

func TestOpenRemembers(t *testing.T) {
	bare, dir := filepath.Join(t.TempDir(), "net.git"), t.TempDir()
	f := files{"a.yaml": "1"}
	first := publish(t, bare, "main", f)
	r := open(t, Config{URL: bare, Dir: dir})
	if rev := fetch(t, r); rev.Ref != "main" {
		t.Fatalf("the default branch is %q", rev.Ref)
	}
	if _, err := Open(t.Context(), Config{URL: bare, Dir: dir}); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Fatalf("a second Open of the same directory: %v", err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(bare, bare+".away"); err != nil {
		t.Fatal(err)
	}
	r = open(t, Config{URL: bare, Dir: dir})
	rev, ok := r.Last()
	if !ok || rev.Ref != "main" {
		t.Fatalf("Last after a restart = %+v, %v", rev, ok)
	}
	same(t, r, rev, first, f)
	if _, err := r.Fetch(t.Context()); !errors.Is(err, ErrNotRepository) {
		t.Fatalf("fetch from a repository that is gone: %v", err)
	}
	same(t, r, rev, first, f)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	for _, other := range []Config{{URL: bare, Branch: "main"}, {URL: bare + ".away"}} {
		other.Dir = dir
		r = open(t, other)
		if rev, ok := r.Last(); ok {
			t.Fatalf("a clone of something else gave %s", rev)
		}
		_ = r.Close()
	}
}

func TestRewritten(t *testing.T) {
	bare := filepath.Join(t.TempDir(), "net.git")
	first := publish(t, bare, "main", files{"a.yaml": "1"})
	r := open(t, Config{URL: bare, Branch: "main"})
	fetch(t, r)
	point(t, bare, "refs/heads/main", orphan(t, bare, first, "rewritten\x1b[31m\n\nbody"))
	rev := fetch(t, r)
	if !rev.Rewritten || rev.Subject != "rewritten [31m" {
		t.Fatalf("after a force-push: %+v", rev)
	}
	same(t, r, rev, rev, files{"a.yaml": "1"})
	if again := fetch(t, r); again.Rewritten || again.Commit != rev.Commit {
		t.Fatalf("the fetch after it: %+v", again)
	}
	second := publish(t, bare, "main", files{"a.yaml": "2"})
	if rev := fetch(t, r); rev.Rewritten || rev.Commit != second.Commit {
		t.Fatalf("a commit on top of it: %+v", rev)
	}
	point(t, bare, "refs/heads/main", plumbing.NewHash(rev.Commit)) // a reset to the parent
	if rev := fetch(t, r); !rev.Rewritten {
		t.Fatalf("a reset to an older commit: %+v", rev)
	}
}

func TestTag(t *testing.T) {
	bare := filepath.Join(t.TempDir(), "net.git")
	first := publish(t, bare, "main", files{"a.yaml": "1"})
	second := publish(t, bare, "main", files{"a.yaml": "2"})
	annotated := save(t, store(t, bare), &object.Tag{
		Name: "v1", Message: "v1\n", TargetType: plumbing.CommitObject, Target: plumbing.NewHash(first.Commit),
		Tagger: object.Signature{Name: "Ada", Email: "ada@example.com", When: time.Unix(1, 0)},
	})
	point(t, bare, "refs/tags/v1", annotated)
	r := open(t, Config{URL: bare, Tag: "v1"})
	rev := fetch(t, r)
	same(t, r, rev, first, files{"a.yaml": "1"})
	if rev.Ref != "v1" {
		t.Fatalf("ref is %q", rev.Ref)
	}
	point(t, bare, "refs/tags/v1", plumbing.NewHash(second.Commit))
	if rev = fetch(t, r); !rev.Rewritten {
		t.Fatal("a tag that moved is not reported")
	}
	same(t, r, rev, second, files{"a.yaml": "2"})
}

func TestCommit(t *testing.T) {
	bare := filepath.Join(t.TempDir(), "net.git")
	first := publish(t, bare, "main", files{"a.yaml": "1"})
	publish(t, bare, "main", files{"a.yaml": "2"})
	r := open(t, Config{URL: "file://" + bare, Commit: first.Commit})
	rev := fetch(t, r)
	same(t, r, rev, first, files{"a.yaml": "1"})
	if rev.Ref != "" || rev.String() != "sha1:"+first.Commit {
		t.Fatalf("revision is %s", rev)
	}
	if err := os.RemoveAll(bare); err != nil {
		t.Fatal(err)
	}
	fetch(t, r) // what cannot change needs no asking
}

func TestFetchErrors(t *testing.T) {
	dir := t.TempDir()
	bare, empty, plain := filepath.Join(dir, "net.git"), filepath.Join(dir, "empty.git"), filepath.Join(dir, "plain")
	first := publish(t, bare, "main", files{"a.yaml": "1"})
	point(t, bare, "refs/heads/stage", plumbing.NewHash(first.Commit))
	if err := makeBare(empty, "refs/heads/main"); err != nil {
		t.Fatal(err)
	}
	files{"a.yaml": "1"}.write(t, plain)
	absent := strings.Repeat("1", 40)
	for _, c := range []struct {
		cfg  Config
		kind error
		text string
	}{
		{Config{URL: bare, Branch: "prod"}, ErrNoRevision, bare + ` has no branch "prod"; its branches: main, stage`},
		{Config{URL: bare, Tag: "v1"}, ErrNoRevision, bare + ` has no tag "v1"`},
		{Config{URL: bare, Commit: absent}, ErrNoRevision, bare + " has no commit " + absent + " on any branch or tag"},
		{Config{URL: empty}, ErrNoRevision, empty + " is empty: it has no commit yet"},
		{Config{URL: empty, Branch: "main"}, ErrNoRevision, empty + ` has no branch "main"; it has no branch at all, so nothing was pushed yet`},
		{Config{URL: plain}, ErrNotRepository, plain + " is not a Git repository"},
		{Config{URL: plain + "x"}, ErrNotRepository, plain + "x does not exist"},
	} {
		r := open(t, c.cfg)
		_, err := r.Fetch(t.Context())
		if !errors.Is(err, c.kind) || err.Error() != "fetch: "+c.text {
			t.Errorf("%+v:\n got %v\nwant fetch: %s", c.cfg, err, c.text)
		}
		if left, _ := filepath.Glob(filepath.Join(r.clone.dir, "git*")); len(left) > 0 {
			t.Errorf("%+v: left %v", c.cfg, left)
		}
	}
}

func TestOpenErrors(t *testing.T) {
	for _, c := range []struct {
		cfg  Config
		text string
	}{
		{Config{URL: ""}, "the repository's URL is neither a path nor a URL"},
		{Config{URL: "/x", Branch: "a", Tag: "b"}, "follow a branch, a tag or a commit, not two of them"},
		{Config{URL: "/x", Branch: "a..b"}, `"a..b" cannot be the name of a branch`},
		{Config{URL: "/x", Branch: "-a\n"}, `"-a\n" cannot be the name of a branch`},
		{Config{URL: "/x", Commit: "abc"}, `"abc" is not a commit id of 40 hex digits`},
		{Config{URL: "git://host/x"}, "git:// is neither private nor authenticated; use https or ssh"},
		{Config{URL: "ftp://user:secret@host/x"}, `cannot fetch by "ftp"; use https, ssh or a path`},
		{Config{URL: "ssh://git:secret@host/x"}, "the repository's URL has a password: ssh needs a key"},
		{Config{URL: "https://user:sec%zzret@host/x"}, "the repository's URL is neither a path nor a URL"},
		{Config{URL: "https://host/x?private_token=hunter2"}, "the repository's URL has a query; put user and token before the host"},
		{Config{URL: "file://host/x"}, "file://host/ is not on this machine"},
	} {
		c.cfg.Dir = t.TempDir()
		if _, err := Open(t.Context(), c.cfg); err == nil || err.Error() != c.text {
			t.Errorf("%+v:\n got %v\nwant %s", c.cfg, err, c.text)
		}
	}
	if _, err := Open(t.Context(), Config{URL: "/x"}); err == nil {
		t.Error("no state directory is accepted")
	}
}

func TestBranchDeleted(t *testing.T) {
	bare := filepath.Join(t.TempDir(), "net.git")
	f := files{"a.yaml": "1"}
	first := publish(t, bare, "main", f)
	r := open(t, Config{URL: bare, Branch: "main"})
	rev := fetch(t, r)
	if err := store(t, bare).RemoveReference("refs/heads/main"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Fetch(t.Context()); !errors.Is(err, ErrNoRevision) {
		t.Fatalf("fetch of a deleted branch: %v", err)
	}
	same(t, r, rev, first, f)
	if last, ok := r.Last(); !ok || last != rev {
		t.Fatalf("Last = %v, %v", last, ok)
	}
}

func TestFetchEndsWithContext(t *testing.T) {
	bare := filepath.Join(t.TempDir(), "net.git")
	publish(t, bare, "main", files{"a.yaml": "1"})
	r := open(t, Config{URL: bare})
	r.from = silent{}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Fetch(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("cancelled fetch: %v", err)
	}
	r.cfg.Timeout = time.Millisecond
	if _, err := r.Fetch(t.Context()); !errors.Is(err, ErrUnreachable) {
		t.Fatalf("fetch beyond its timeout: %v", err)
	}
}

// silent never answers.
type silent struct{}

func (silent) find(ctx context.Context, _ want) (target, error) {
	<-ctx.Done()
	return target{}, ctx.Err()
}

func (silent) pull(context.Context, string, target) (plumbing.Hash, error) {
	return plumbing.ZeroHash, errors.New("not asked")
}
