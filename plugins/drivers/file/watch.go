package file

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"

	"github.com/fsnotify/fsnotify"

	"weft.dev/reconcile/driver"
	"weft.dev/reconcile/resource"
)

// Watch implements driver.Driver: it hears of every change below the directory, our
// own included, and of those beside the secrets that were asked for.
func (d *Driver) Watch(ctx context.Context, changed func(driver.Scope)) error {
	root, err := d.root()
	if err != nil {
		return fmt.Errorf("watch files: %w", err)
	}
	_ = root.Close()
	if err := d.sweep(); err != nil {
		return fmt.Errorf("watch files: %w", err)
	}
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch files: %w", err)
	}
	defer func() { _ = w.Close() }()
	if err := d.follow(w, d.dir); err != nil {
		return fmt.Errorf("watch files: %w", err)
	}
	d.sources.again()
	scope := driver.Scope{Kinds: []resource.Kind{resource.KindFile}}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-d.sources.poke:
			d.sources.follow(w)
		case _, ok := <-w.Errors:
			if !ok {
				return errors.New("watch files: inotify ended")
			}
			// Events were lost: look at everything, once.
			if err := d.follow(w, d.dir); err != nil {
				return fmt.Errorf("watch files: %w", err)
			}
			changed(scope)
		case e, ok := <-w.Events:
			if !ok {
				return errors.New("watch files: inotify ended")
			}
			if d.heard(w, e) {
				changed(scope)
			}
		}
	}
}

// heard reports whether an event means anything, and follows new directories.
func (d *Driver) heard(w *fsnotify.Watcher, e fsnotify.Event) bool {
	if !below(d.dir, e.Name) { // in a directory with secrets, which may have gone itself
		if e.Op.Has(fsnotify.Remove) || e.Op.Has(fsnotify.Rename) {
			d.sources.again()
		}
		return e.Op != fsnotify.Chmod
	}
	if e.Op.Has(fsnotify.Create) {
		// Only directories are followed; what is no directory any more is no fault.
		_ = d.follow(w, e.Name)
	}
	return filepath.Base(e.Name) != temporary
}

func below(dir, path string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(rel)
}

// follow watches dir and the directories below it: inotify is not recursive.
func (d *Driver) follow(w *fsnotify.Watcher, dir string) error {
	return filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || !e.IsDir() {
			return err
		}
		return w.Add(path)
	})
}

// sources are the directories of the secrets that were asked for, so that a changed
// one is noticed. A secret's own file is not watched: editors put another in its place.
type sources struct {
	poke chan struct{} // there may be one to follow

	mu       sync.Mutex
	followed map[string]bool
}

func newSources() *sources {
	return &sources{poke: make(chan struct{}, 1), followed: map[string]bool{}}
}

// add takes up the directory of path.
func (s *sources) add(path string) {
	dir := filepath.Dir(path)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.followed[dir] {
		s.followed[dir] = false
		s.wake()
	}
}

// again has all be followed anew.
func (s *sources) again() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for dir := range s.followed {
		s.followed[dir] = false
	}
	s.wake()
}

func (s *sources) wake() {
	select {
	case s.poke <- struct{}{}:
	default:
	}
}

// follow watches those that are not followed. One that is not there is tried again
// when a secret in it is asked for the next time.
func (s *sources) follow(w *fsnotify.Watcher) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for dir, done := range s.followed {
		if !done {
			s.followed[dir] = w.Add(dir) == nil
		}
	}
}
