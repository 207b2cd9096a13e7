package source

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// prompt is how soon a wake must come that fsnotify makes. What it checks is
// that it is not the poll's; see BenchmarkNotice for the figure.
const prompt = 10 * time.Second

func woken(t *testing.T, wakes <-chan struct{}, what string) {
	t.Helper()
	select {
	case _, ok := <-wakes:
		if !ok {
			t.Fatalf("%s: the channel is closed", what)
		}
	case <-time.After(prompt):
		t.Fatalf("%s: no wake", what)
	}
}

// drained lets the wakes of earlier changes pass, which would hide that a later
// change makes none. That nothing more comes can only be seen by waiting.
func drained(wakes <-chan struct{}) {
	for {
		select {
		case <-wakes:
		case <-time.After(3 * dirPause):
			return
		}
	}
}

func TestPoll(t *testing.T) {
	for poll, mean := range map[time.Duration]time.Duration{0: time.Minute, 10 * time.Second: 10 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			wakes, err := watch(ctx, poll, place{})
			if err != nil {
				t.Fatal(err)
			}
			last, seen := time.Now(), map[time.Duration]bool{}
			for range 20 {
				<-wakes
				took := time.Since(last)
				last = time.Now()
				if took < mean*9/10 || took > mean*11/10 {
					t.Errorf("poll %s woke after %s", poll, took)
				}
				seen[took] = true
			}
			if len(seen) < 10 {
				t.Errorf("20 polls took only %d different times", len(seen))
			}
			time.Sleep(10 * mean)
			if n := len(wakes); n != 1 {
				t.Errorf("%d wakes wait, want 1", n)
			}
			cancel()
			<-wakes
			if _, ok := <-wakes; ok {
				t.Error("the channel stays open")
			}
		})
	}
}

func TestNoPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 1000*time.Hour)
		defer cancel()
		wakes, err := watch(ctx, -1, place{})
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := <-wakes; ok {
			t.Error("woken")
		}
	})
}

func TestWatchRepository(t *testing.T) {
	bare := filepath.Join(t.TempDir(), "net.git")
	first := publish(t, bare, "main", files{"a.yaml": "1"})
	r := open(t, Config{URL: bare, Poll: -1})
	wakes, err := r.Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	fetch(t, r)
	change := func(what string, f func()) {
		t.Helper()
		drained(wakes)
		f()
		woken(t, wakes, what)
	}
	change("a commit", func() { publish(t, bare, "main", files{"a.yaml": "2"}) })
	change("a branch with slashes", func() { publish(t, bare, "topic/a/b", files{"a.yaml": "1"}) })
	change("a commit on it", func() { publish(t, bare, "topic/a/b", files{"a.yaml": "2"}) })
	change("packed references", func() { runGit(t, bare, "pack-refs", "--all") })
	change("HEAD", func() { runGit(t, bare, "symbolic-ref", "HEAD", "refs/heads/topic/a/b") })
	drained(wakes)
	files{"objects/17/x": "", "description": "x", "refs/heads/x.lock": ""}.write(t, bare)
	select {
	case <-wakes:
		t.Error("woken by what is no reference")
	case <-time.After(5 * repoPause):
	}
	change("the repository made anew", func() {
		if err := os.Rename(bare, bare+".old"); err != nil {
			t.Fatal(err)
		}
		publish(t, bare, "main", files{"a.yaml": "new"})
	})
	var second Revision
	change("a commit in the new one", func() { second = publish(t, bare, "main", files{"a.yaml": "newer"}) })
	if rev := fetch(t, r); rev.Commit != second.Commit || !rev.Rewritten || rev.Commit == first.Commit {
		t.Errorf("after it was made anew: %+v", rev)
	}
}

func TestWatchWorkTree(t *testing.T) {
	dir := project(t)
	linked := filepath.Join(t.TempDir(), "linked")
	runGit(t, dir, "worktree", "add", "-q", linked, "main~1")
	for _, path := range []string{dir, linked} {
		r := open(t, Config{URL: path, Poll: -1})
		wakes, err := r.Watch(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		drained(wakes)
		want := commit(t, path, "new", files{"x": path})
		woken(t, wakes, path)
		if rev := fetch(t, r); rev.Commit != want {
			t.Errorf("%s: fetched %s, want %s", path, rev, want)
		}
	}
}

func TestWatchDir(t *testing.T) {
	dir := files{"a.yaml": "1", "d/b.yaml": "2", ".git/HEAD": "x"}.write(t, filepath.Join(t.TempDir(), "tree"))
	wakes, err := WatchDir(t.Context(), dir, -1)
	if err != nil {
		t.Fatal(err)
	}
	change := func(what string, f func() error) {
		t.Helper()
		drained(wakes)
		if err := f(); err != nil {
			t.Fatal(err)
		}
		woken(t, wakes, what)
	}
	path := func(name string) string { return filepath.Join(dir, filepath.FromSlash(name)) }
	change("a write", func() error { return os.WriteFile(path("d/b.yaml"), []byte("3"), 0o600) })
	change("a new file", func() error { return os.WriteFile(path("c.yaml"), nil, 0o600) })
	change("a removal", func() error { return os.Remove(path("c.yaml")) })
	change("a rename over", func() error { return os.Rename(path("a.yaml"), path("d/b.yaml")) })
	change("directories", func() error { return os.MkdirAll(path("n/e/w"), 0o700) })
	change("a file below them", func() error { return os.WriteFile(path("n/e/w/x.yaml"), nil, 0o600) })
	change("a directory moved", func() error { return os.Rename(path("n"), path("m")) })
	change("a file below it", func() error { return os.WriteFile(path("m/e/w/y.yaml"), nil, 0o600) })
	change("the directory replaced", func() error {
		files{"z/x.yaml": "1"}.write(t, dir+".new")
		if err := os.Rename(dir, dir+".old"); err != nil {
			return err
		}
		return os.Rename(dir+".new", dir)
	})
	change("a file in the new one", func() error { return os.WriteFile(path("z/x.yaml"), []byte("2"), 0o600) })
	drained(wakes)
	files{"../beside/a.yaml": "1", ".git/HEAD": "y"}.write(t, dir)
	select {
	case <-wakes:
		t.Error("woken by what is not in the directory")
	case <-time.After(3 * dirPause):
	}
}

func TestWatchWithoutPlace(t *testing.T) {
	r := open(t, Config{URL: filepath.Join(t.TempDir(), "later.git"), Poll: time.Millisecond})
	wakes, err := r.Watch(t.Context())
	if err == nil {
		t.Error("no warning that there is nothing to watch")
	}
	woken(t, wakes, "the poll")
	if _, err := WatchDir(t.Context(), filepath.Join(t.TempDir(), "nope"), -1); err == nil {
		t.Error("no warning for a directory that is not there")
	}
}
