package source

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// gitOutput runs git in a directory, free of the machine's configuration.
func gitOutput(tb testing.TB, dir string, args ...string) (string, error) {
	tb.Helper()
	cmd := exec.Command(gitBinary(tb), args...)
	cmd.Dir = dir
	clock++
	date := fmt.Sprintf("%d +0000", 1_700_000_000+clock)
	cmd.Env = append(os.Environ(), "HOME="+dir, "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null",
		"GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@example.com", "GIT_AUTHOR_DATE="+date,
		"GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@example.com", "GIT_COMMITTER_DATE="+date)
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// clock makes each commit of a test a second younger than the one before.
var clock int64

func runGit(tb testing.TB, dir string, args ...string) string {
	tb.Helper()
	out, err := gitOutput(tb, dir, args...)
	if err != nil {
		tb.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return out
}

// commit writes files into a work tree and commits all.
func commit(t *testing.T, dir, subject string, f files) string {
	t.Helper()
	f.write(t, dir)
	runGit(t, dir, "add", "-A")
	runGit(t, dir, "commit", "-q", "--allow-empty", "-m", subject)
	return runGit(t, dir, "rev-parse", "HEAD")
}

func local(t *testing.T, dir string) *Checkout {
	t.Helper()
	c, err := Local(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// project is a work tree with a branch, a merge, tags and a remote.
func project(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	runGit(t, dir, "init", "-q", "-b", "main")
	commit(t, dir, "one", files{"cloud/net.yaml": "a\nb\nc\n", "README": "x"})
	runGit(t, dir, "tag", "light")
	commit(t, dir, "two", files{"cloud/net.yaml": "a\nB\nc\n"})
	runGit(t, dir, "tag", "-a", "-m", "v1", "v1")
	runGit(t, dir, "checkout", "-q", "-b", "topic/a")
	commit(t, dir, "topic", files{"cloud/topic.yaml": "t\n"})
	runGit(t, dir, "checkout", "-q", "main")
	commit(t, dir, "three", files{"cloud/net.yaml": "a\nB\nc\nd\n"})
	runGit(t, dir, "update-ref", "refs/remotes/origin/main", "HEAD")
	runGit(t, dir, "symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/main")
	runGit(t, dir, "merge", "-q", "--no-ff", "-m", "merge", "topic/a")
	return dir
}

func TestResolve(t *testing.T) {
	dir := project(t)
	runGit(t, dir, "branch", "beef", "HEAD~1")
	full := runGit(t, dir, "rev-parse", "HEAD~2")
	revs := []string{
		"HEAD", "@", "HEAD~1", "HEAD~", "HEAD^", "HEAD^2", "HEAD^2~1", "HEAD~1^1", "HEAD^^", "HEAD^0", "HEAD~0", "main", "main~2",
		"topic/a", "heads/main", "refs/heads/main", "light", "v1", "v1~1", "v1^{}", "v1^{commit}", "tags/v1",
		"origin/main", "origin/main~1", "origin", "refs/remotes/origin/main", "beef",
		full, full[:7], full[:8], strings.ToUpper(full[:12]), full[:9] + "~1",
	}
	check := func(t *testing.T) {
		t.Helper()
		c := local(t, filepath.Join(dir, "cloud"))
		for _, rev := range revs {
			want := runGit(t, dir, "rev-parse", rev+"^{commit}")
			got, err := c.Resolve(rev)
			if err != nil || got.Commit != want {
				t.Errorf("%s: %s, %v, want %s", rev, got, err, want)
			}
		}
	}
	t.Run("loose", check)
	runGit(t, dir, "gc", "-q")
	t.Run("packed", check)

	c := local(t, dir)
	if rev, err := c.Resolve("v1"); err != nil || rev.Ref != "v1" || rev.Subject != "two" {
		t.Errorf("v1 is %+v, %v", rev, err)
	}
	for rev, text := range map[string]string{
		"":                          `"" is not a revision that weft understands`,
		"^1":                        `"" is not a revision that weft understands`,
		"nope":                      `this repository has no branch, tag or commit "nope"; its remote branches: origin/HEAD, origin/main`,
		"HEAD~99":                   "HEAD~99 goes beyond the first commit",
		"HEAD^3":                    "has 2 parents",
		"main..HEAD":                `"main..HEAD" is a range; name one commit`,
		"HEAD@{1}":                  "is not a revision that weft understands",
		"HEAD:README":               "is not a revision that weft understands",
		"HEAD^{tree}":               "weft understands ~N and ^N",
		"HEAD~99999999999999999999": "weft understands ~N and ^N",
		"-x":                        "is not a revision that weft understands",
		strings.Repeat("1", 40):     "is not in this clone",
		runGit(t, dir, "rev-parse", "HEAD:README"): "is a blob, not a commit",
	} {
		if got, err := c.Resolve(rev); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%q: %s, %v\nwant %s", rev, got, err, text)
		}
	}
}

func TestMergeBase(t *testing.T) {
	dir := project(t)
	c := local(t, dir)
	for _, rev := range []string{"topic/a", "origin/main", "HEAD", "v1", "light", "HEAD~2"} {
		want := runGit(t, dir, "merge-base", "HEAD", rev)
		got, err := c.MergeBase(t.Context(), rev)
		if err != nil || got.Commit != want {
			t.Errorf("%s: %s, %v, want %s", rev, got, err, want)
		}
	}
	runGit(t, dir, "checkout", "-q", "-b", "other", "HEAD~1")
	commit(t, dir, "other", files{"x": "x"})
	runGit(t, dir, "merge", "-q", "-m", "criss", "main~1")
	want := runGit(t, dir, "merge-base", "HEAD", "main")
	if got, err := local(t, dir).MergeBase(t.Context(), "main"); err != nil || got.Commit != want {
		t.Errorf("criss-cross: %s, %v, want %s", got, err, want)
	}
	runGit(t, dir, "checkout", "-q", "--orphan", "alone")
	commit(t, dir, "alone", files{"y": "y"})
	if got, err := local(t, dir).MergeBase(t.Context(), "main"); err == nil || err.Error() != "HEAD and main have no commit in common" {
		t.Errorf("no common history: %s, %v", got, err)
	}
}

func TestCheckout(t *testing.T) {
	dir := project(t)
	c := local(t, filepath.Join(dir, "cloud"))
	head, err := c.Head()
	if err != nil || head.Ref != "main" || head.Subject != "merge" || head.Commit != runGit(t, dir, "rev-parse", "HEAD") {
		t.Errorf("Head is %+v, %v", head, err)
	}
	if c.Prefix() != "cloud" {
		t.Errorf("prefix is %q", c.Prefix())
	}
	for rev, want := range map[string]files{
		"HEAD":        {"net.yaml": "a\nB\nc\nd\n", "topic.yaml": "t\n"},
		"origin/main": {"net.yaml": "a\nB\nc\nd\n"},
		"light":       {"net.yaml": "a\nb\nc\n"},
	} {
		tree, err := c.TreeAt(rev)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, tree, want)
	}
	files{"cloud/new.yaml": "n", "later/x.yaml": "x"}.write(t, dir)
	now, err := c.WorkTree()
	if err != nil {
		t.Fatal(err)
	}
	equal(t, now, files{"net.yaml": "a\nB\nc\nd\n", "topic.yaml": "t\n", "new.yaml": "n"})
	later, err := local(t, filepath.Join(dir, "later")).TreeAt("HEAD")
	if err != nil {
		t.Fatal(err)
	}
	equal(t, later, files{})
	runGit(t, dir, "checkout", "-q", "--detach", "HEAD~1")
	if head, err := local(t, dir).Head(); err != nil || head.Ref != "" || head.Subject != "three" {
		t.Errorf("detached: %+v, %v", head, err)
	}
}

func TestOutsideARepository(t *testing.T) {
	dir := files{"a.yaml": "1"}.write(t, t.TempDir())
	c := local(t, dir)
	now, err := c.WorkTree()
	if err != nil {
		t.Fatal(err)
	}
	equal(t, now, files{"a.yaml": "1"})
	_, headErr := c.Head()
	_, baseErr := c.MergeBase(t.Context(), "main")
	_, treeErr := c.TreeAt("HEAD")
	_, blameErr := c.Blame(t.Context(), "a.yaml", 1)
	for _, err := range []error{headErr, baseErr, treeErr, blameErr} {
		if !errors.Is(err, ErrNotRepository) || err.Error() != dir+" is not in a Git repository" {
			t.Error(err)
		}
	}
	if _, err := Local(filepath.Join(dir, "nope")); err == nil {
		t.Error("a directory that is not there is opened")
	}
	runGit(t, dir, "init", "-q", "-b", "main")
	if _, err := local(t, dir).Head(); !errors.Is(err, ErrNoRevision) {
		t.Errorf("a repository without a commit: %v", err)
	}
}

func TestGitLayouts(t *testing.T) {
	dir := project(t)
	want := runGit(t, dir, "rev-parse", "HEAD")
	at := t.TempDir()
	linked, shared, separate := filepath.Join(at, "linked"), filepath.Join(at, "shared"), filepath.Join(at, "separate")
	runGit(t, dir, "worktree", "add", "-q", linked, "main~1")
	runGit(t, at, "clone", "-q", "--shared", dir, shared)
	runGit(t, at, "clone", "-q", "--separate-git-dir", filepath.Join(at, "elsewhere"), dir, separate)
	for name, c := range map[string]struct{ dir, head string }{
		"worktree": {linked, runGit(t, dir, "rev-parse", "HEAD~1")}, "alternates": {shared, want}, "separate": {separate, want},
	} {
		t.Run(name, func(t *testing.T) {
			co := local(t, filepath.Join(c.dir, "cloud"))
			head, err := co.Head()
			if err != nil || head.Commit != c.head {
				t.Fatalf("HEAD is %s, %v, want %s", head, err, c.head)
			}
			tree, err := co.TreeAt("v1")
			if err != nil {
				t.Fatal(err)
			}
			equal(t, tree, files{"net.yaml": "a\nB\nc\n"})
			r := open(t, Config{URL: c.dir})
			if rev := fetch(t, r); rev.Commit != c.head {
				t.Errorf("fetched %s, want %s", rev, c.head)
			}
		})
	}
}

func TestShallowClone(t *testing.T) {
	dir := project(t)
	shallow := filepath.Join(t.TempDir(), "shallow")
	runGit(t, filepath.Dir(shallow), "clone", "-q", "--depth", "1", "--no-single-branch", "file://"+dir, shallow)
	c := local(t, shallow)
	for _, ask := range []func() error{
		func() error { _, err := c.Resolve("HEAD~1"); return err },
		func() error { _, err := c.MergeBase(t.Context(), "origin/topic/a"); return err },
	} {
		if err := ask(); !errors.Is(err, ErrNoRevision) || !strings.Contains(err.Error(), "fetch-depth: 0") {
			t.Errorf("in a shallow clone: %v", err)
		}
	}
	if rev, err := c.MergeBase(t.Context(), "origin/main"); err != nil || rev.Subject != "merge" {
		t.Errorf("what is there is found: %+v, %v", rev, err)
	}
	if rev, err := c.Blame(t.Context(), "cloud/net.yaml", 1); err != nil || rev.Subject != "merge" {
		t.Errorf("blame: %+v, %v", rev, err)
	}
	_, err := open(t, Config{URL: shallow}).Fetch(t.Context())
	if err == nil || !strings.Contains(err.Error(), "shallow") {
		t.Errorf("following a shallow clone: %v", err)
	}
}

func TestBlame(t *testing.T) {
	dir := project(t)
	commit(t, dir, "moved", files{"cloud/net.yaml": "top\na\nB\nc\nd"})
	c := local(t, filepath.Join(dir, "cloud"))
	blame := func(file string, line int) string {
		rev, err := c.Blame(t.Context(), file, line)
		if err != nil {
			return err.Error()
		}
		if rev.Author != "Ada" || rev.Time.Before(time.Unix(1_700_000_000, 0)) {
			t.Errorf("%s:%d: %+v", file, line, rev)
		}
		return rev.Subject
	}
	check := func(file string, want ...string) {
		t.Helper()
		for i, w := range want {
			if got := blame(file, i+1); got != w {
				t.Errorf("%s:%d: %q, want %q", file, i+1, got, w)
			}
		}
	}
	check("net.yaml", "moved", "one", "two", "one", "moved")
	check("topic.yaml", "topic")
	files{"cloud/net.yaml": "new\ntop\na\nB\nc\nd", "cloud/new.yaml": "x\n"}.write(t, dir)
	check("net.yaml", "net.yaml:1 is not committed yet", "moved", "one", "two", "one", "moved")
	check("new.yaml", "new.yaml:1 is not committed yet")
	for line, want := range map[int]string{0: "net.yaml:0 is not a line: the file has 6", 7: "net.yaml:7 is not a line: the file has 6"} {
		if got := blame("net.yaml", line); got != want {
			t.Errorf("line %d: %q", line, got)
		}
	}
	if got := blame("nope.yaml", 1); !strings.Contains(got, "no such file") {
		t.Errorf("no such file: %q", got)
	}
	if _, err := c.Blame(t.Context(), "new.yaml", 1); !errors.Is(err, ErrUncommitted) {
		t.Error(err)
	}
}
