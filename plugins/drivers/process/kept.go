package process

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// keptFor is how long the state of a process outlives it: one that comes back, as
// after a move or a shutdown of its network, finds it again.
const keptFor = 30 * 24 * time.Hour

// beside is how the name of a directory ends that a process has beside its state.
const beside = ".d"

// keptPath is what "{state}" stands for.
func (d *Driver) keptPath(name string) string { return d.host.Kept(name) }

// kept notes that the process called name is no more, and forgets the state of those
// that are no more for so long: their state was written last when they went.
func (d *Driver) kept(name string) error {
	now := time.Now()
	err := os.Chtimes(d.keptPath(name), now, now)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	dir := filepath.Dir(d.keptPath(name))
	files, _ := os.ReadDir(dir) // without one there is nothing to forget
	used := d.marks.Keys()
	for _, f := range files {
		info, gone := f.Info()
		if gone != nil || slices.Contains(used, strings.TrimSuffix(f.Name(), beside)) || now.Sub(info.ModTime()) < keptFor {
			continue
		}
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, f.Name())))
	}
	return err
}
