package source

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	defaultPoll = time.Minute

	// A reference changes by one rename, so a repository is quiet at once; the
	// pause gathers what one push does. An editor or a checkout takes longer.
	repoPause, repoPatience = 20 * time.Millisecond, 200 * time.Millisecond
	dirPause, dirPatience   = 60 * time.Millisecond, 2 * time.Second
)

// Watch returns a channel that wakes its reader when it is time to Fetch: every
// Config.Poll, and soon after a reference changed where the repository is on
// this machine. Wakes that are not read gather into one. The channel is closed
// when ctx ends. Watch before the first Fetch, and no change is missed.
//
// The channel works in any case; an error says why it only polls.
func (r *Repo) Watch(ctx context.Context) (<-chan struct{}, error) {
	if r.path == "" {
		return watch(ctx, r.cfg.Poll, place{})
	}
	return watch(ctx, r.cfg.Poll, repositoryPlace(r.path))
}

// WatchDir is Watch for a plain directory: it wakes every poll (zero is a
// minute, negative never) and soon after anything below path changed.
func WatchDir(ctx context.Context, path string, poll time.Duration) (<-chan struct{}, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	below := strings.TrimSuffix(path, "/") + "/"
	return watch(ctx, poll, place{
		root:    path,
		find:    func() (dirs, trees []string, err error) { return nil, []string{path}, nil },
		matters: func(file string) bool { return strings.HasPrefix(file, below) },
		pause:   dirPause, patience: dirPatience,
	})
}

// A place is what fsnotify is to look at. Without find there is nothing.
type place struct {
	// root is what may be taken away and made again as a whole.
	root string
	// find returns directories to watch by themselves and with all below.
	find func() (dirs, trees []string, err error)
	// matters tells whether a changed file is worth a wake.
	matters func(file string) bool
	// pause is how long it must be quiet before a wake; patience is when it is
	// due all the same.
	pause, patience time.Duration
}

func repositoryPlace(path string) place {
	var tops []string
	return place{
		root: path,
		find: func() (dirs, trees []string, err error) {
			gitDir, commonDir, err := locate(path)
			if err != nil {
				return nil, nil, err
			}
			tops = []string{gitDir, commonDir}
			return tops, []string{filepath.Join(commonDir, "refs")}, nil
		},
		matters: func(file string) bool {
			dir, name := filepath.Split(file)
			if slices.Contains(tops, filepath.Clean(dir)) { // much else is written there
				return name == "HEAD" || name == "packed-refs" || name == "refs"
			}
			return !strings.HasSuffix(name, ".lock") && filepath.Clean(dir) != filepath.Dir(path)
		},
		pause: repoPause, patience: repoPatience,
	}
}

func watch(ctx context.Context, poll time.Duration, at place) (<-chan struct{}, error) {
	w := &watcher{place: at, wakes: make(chan struct{}, 1)}
	var err error
	if at.find != nil {
		if w.notify, err = fsnotify.NewWatcher(); err == nil {
			err = w.look()
		}
	}
	go w.run(ctx, poll)
	return w.wakes, explainNotify(err)
}

func explainNotify(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EMFILE):
		return fmt.Errorf("changes are noticed by polling only: the limit of inotify is reached "+
			"(sysctl fs.inotify.max_user_watches, max_user_instances): %w", err)
	}
	return fmt.Errorf("changes are noticed by polling only: %w", err)
}

type watcher struct {
	place
	notify *fsnotify.Watcher // nil: poll only
	wakes  chan struct{}
	lost   bool // when last looked there was nothing to watch
}

func (w *watcher) run(ctx context.Context, poll time.Duration) {
	defer close(w.wakes)
	var events <-chan fsnotify.Event
	var faults <-chan error
	if w.notify != nil {
		defer func() { _ = w.notify.Close() }()
		events, faults = w.notify.Events, w.notify.Errors
	}
	tick := time.NewTimer(jitter(poll))
	defer tick.Stop()
	quiet := time.NewTimer(time.Hour)
	quiet.Stop()
	defer quiet.Stop()
	var due time.Time // of the wake that quiet is for; zero: none
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			tick.Reset(jitter(poll))
			_ = w.look() // what vanished may be back; else the poll goes on
			w.wake()
		case <-quiet.C:
			due = time.Time{}
			w.wake()
		case e := <-events:
			if !w.follow(e) {
				continue
			}
			now := time.Now()
			if due.IsZero() {
				due = now.Add(w.patience)
			}
			quiet.Reset(min(w.pause, due.Sub(now)))
		case <-faults: // the queue overflowed: anything may have changed
			_ = w.look()
			quiet.Reset(w.pause)
		}
	}
}

// wake leaves a wake, unless one waits already.
func (w *watcher) wake() {
	select {
	case w.wakes <- struct{}{}:
	default:
	}
}

// look adds every directory that is to be watched; those that are watched
// already stay.
func (w *watcher) look() error {
	if w.notify == nil {
		return nil
	}
	dirs, trees, err := w.find()
	if w.lost = err != nil; w.lost {
		// What makes it a repository again appears right below the root.
		if info, missing := os.Stat(w.root); missing == nil && info.IsDir() {
			dirs = append(dirs, w.root)
		}
	}
	if parent := filepath.Dir(w.root); parent != w.root {
		dirs = append(dirs, parent)
	}
	for _, d := range dirs {
		err = errors.Join(err, w.notify.Add(d))
	}
	for _, t := range trees {
		err = errors.Join(err, w.lookBelow(t))
	}
	return err
}

// lookBelow watches a directory and all below it. Each is watched before it is
// listed, so nothing that is made meanwhile is missed.
func (w *watcher) lookBelow(dir string) error {
	if err := w.notify.Add(dir); err != nil {
		return err
	}
	list, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range list {
		if !e.IsDir() || e.Name() == ".git" {
			continue
		}
		if err := w.lookBelow(filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// follow reports whether an event is worth a wake, and watches directories that
// it brought: fsnotify does not, and tells only of the topmost.
func (w *watcher) follow(e fsnotify.Event) bool {
	if filepath.Clean(e.Name) == w.root {
		if e.Has(fsnotify.Create) {
			_ = w.look() // if it is not whole yet, the poll looks again
		}
		return e.Op != fsnotify.Chmod
	}
	if w.lost && e.Op != fsnotify.Chmod && filepath.Dir(e.Name) == w.root {
		_ = w.look()
		return true
	}
	if e.Op == fsnotify.Chmod || filepath.Base(e.Name) == ".git" || !w.matters(e.Name) {
		return false
	}
	if e.Has(fsnotify.Create) {
		if info, err := os.Lstat(e.Name); err == nil && info.IsDir() {
			_ = w.lookBelow(e.Name) // on a limit, the poll finds the rest
		}
	}
	return true
}

// jitter varies a poll interval by 10 % either way, so that hosts that started
// together do not ask together.
func jitter(poll time.Duration) time.Duration {
	switch {
	case poll < 0:
		return 1<<63 - 1
	case poll == 0:
		poll = defaultPoll
	}
	poll = max(poll, time.Millisecond) // not a busy loop
	return time.Duration(float64(poll) * (0.9 + 0.2*rand.Float64()))
}
