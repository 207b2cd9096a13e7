package file

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/fsnotify/fsnotify"

	"weft.dev/reconcile/driver"
	"weft.dev/reconcile/resource"
)

// Watch implements driver.Driver: it hears of every change below the
// directory, our own included.
func (d *Driver) Watch(ctx context.Context, changed func(driver.Scope)) error {
	root, err := d.root()
	if err != nil {
		return fmt.Errorf("watch files: %w", err)
	}
	_ = root.Close()
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch files: %w", err)
	}
	defer func() { _ = w.Close() }()
	if err := d.follow(w, d.dir); err != nil {
		return fmt.Errorf("watch files: %w", err)
	}
	scope := driver.Scope{Kinds: []resource.Kind{resource.KindFile}}
	for {
		select {
		case <-ctx.Done():
			return nil
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
			if e.Op.Has(fsnotify.Create) {
				// Only directories are followed; what is no directory any more is no fault.
				_ = d.follow(w, e.Name)
			}
			if filepath.Base(e.Name) != temporary {
				changed(scope)
			}
		}
	}
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
