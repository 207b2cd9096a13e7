package source

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// A Tree is the files of a commit or of a directory. All methods may be used
// concurrently and take names as fs.FS has them: slashes, no leading one, "."
// for the root. fs.WalkDir, fs.Glob and fs.Sub work on it, and what fs.Sub
// returns is a Tree again.
type Tree interface {
	fs.ReadDirFS
	fs.ReadFileFS
	// Stat does not follow links: it describes the link.
	fs.StatFS
	// BlobID returns the id that Git gives to a file's content, 40 hex digits.
	// Equal ids mean equal content. Of a commit it reads directories only, of a
	// plain directory the file. It returns false for what ReadFile would not
	// return.
	BlobID(path string) (id string, ok bool)
}

// commitTree is a directory of a commit.
type commitTree struct {
	objects *objects
	root    plumbing.Hash
	when    time.Time
}

// emptyTree stands for a directory that a commit does not have.
type emptyTree struct{ when time.Time }

func newCommitTree(o *objects, c *object.Commit) *commitTree {
	return &commitTree{objects: o, root: c.TreeHash, when: c.Committer.When}
}

// find returns the entry of a name; that of "." is the root's.
func (t *commitTree) find(op, name string) (entry, error) {
	e := entry{name: ".", mode: filemode.Dir, id: t.root}
	if !fs.ValidPath(name) {
		return e, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	if name == "." {
		return e, nil
	}
	for part := range strings.SplitSeq(name, "/") {
		if err := entered(e); err != nil {
			return e, &fs.PathError{Op: op, Path: name, Err: err}
		}
		d, err := t.objects.dir(e.id)
		if err != nil {
			return e, &fs.PathError{Op: op, Path: name, Err: err}
		}
		i, ok := slices.BinarySearchFunc(d.entries, part, func(e entry, name string) int {
			return strings.Compare(e.name, name)
		})
		if !ok {
			return e, &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
		}
		e = d.entries[i]
	}
	return e, nil
}

// entered says why a name cannot go on below e.
func entered(e entry) error {
	switch e.mode {
	case filemode.Dir:
		return nil
	case filemode.Symlink:
		return ErrSymlink
	case filemode.Submodule:
		return ErrSubmodule
	default:
		return fs.ErrNotExist
	}
}

// readable says why e has no content to read.
func readable(e entry) error {
	switch e.mode {
	case filemode.Dir:
		return errors.New("is a directory")
	case filemode.Symlink:
		return ErrSymlink
	case filemode.Submodule:
		return ErrSubmodule
	default:
		return nil
	}
}

func (t *commitTree) ReadFile(name string) ([]byte, error) {
	e, err := t.find("read", name)
	if err != nil {
		return nil, err
	}
	if err = readable(e); err == nil {
		var content []byte
		if content, err = t.objects.readAs(plumbing.BlobObject, e.id); err == nil {
			return content, nil
		}
	}
	return nil, &fs.PathError{Op: "read", Path: name, Err: err}
}

func (t *commitTree) BlobID(name string) (string, bool) {
	e, err := t.find("read", name)
	if err != nil || readable(e) != nil {
		return "", false
	}
	return e.id.String(), true
}

func (t *commitTree) ReadDir(name string) ([]fs.DirEntry, error) {
	e, err := t.find("readdir", name)
	if err != nil {
		return nil, err
	}
	if e.mode != filemode.Dir {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: notDirectory(e)}
	}
	d, err := t.objects.dir(e.id)
	if err != nil {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: err}
	}
	list := make([]fs.DirEntry, len(d.entries))
	for i := range d.entries {
		list[i] = &commitEntry{tree: t, entry: d.entries[i]}
	}
	return list, nil
}

func notDirectory(e entry) error {
	if err := entered(e); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return errors.New("is not a directory")
}

func (t *commitTree) Stat(name string) (fs.FileInfo, error) {
	e, err := t.find("stat", name)
	if err != nil {
		return nil, err
	}
	return (&commitEntry{tree: t, entry: e}).Info()
}

func (t *commitTree) Open(name string) (fs.File, error) {
	e, err := t.find("open", name)
	if err != nil {
		return nil, err
	}
	if e.mode == filemode.Dir {
		list, err := t.ReadDir(name)
		return &dirFile{info: commitInfo{entry: e, when: t.when}, list: list}, err
	}
	content, err := t.ReadFile(name)
	if err != nil {
		return nil, err
	}
	return &file{info: commitInfo{entry: e, when: t.when, size: int64(len(content))}, Reader: bytes.NewReader(content)}, nil
}

// Sub returns the Tree below a directory.
func (t *commitTree) Sub(name string) (fs.FS, error) {
	e, err := t.find("sub", name)
	if err == nil && e.mode != filemode.Dir {
		err = &fs.PathError{Op: "sub", Path: name, Err: notDirectory(e)}
	}
	if err != nil {
		return nil, err
	}
	return &commitTree{objects: t.objects, root: e.id, when: t.when}, nil
}

func (emptyTree) BlobID(string) (string, bool) { return "", false }

func (t emptyTree) Open(name string) (fs.File, error) {
	info, err := t.Stat(name)
	if err != nil {
		return nil, err
	}
	return &dirFile{info: info}, nil
}

func (t emptyTree) Stat(name string) (fs.FileInfo, error) {
	if name != "." {
		return nil, &fs.PathError{Op: "stat", Path: name, Err: fs.ErrNotExist}
	}
	return commitInfo{entry: entry{name: ".", mode: filemode.Dir}, when: t.when}, nil
}

func (t emptyTree) ReadDir(name string) ([]fs.DirEntry, error) {
	_, err := t.Stat(name)
	return nil, err
}

func (emptyTree) ReadFile(name string) ([]byte, error) {
	return nil, &fs.PathError{Op: "read", Path: name, Err: fs.ErrNotExist}
}

// commitEntry is an entry as ReadDir returns it; its size is read when asked.
type commitEntry struct {
	tree *commitTree
	entry
}

func (e *commitEntry) Name() string      { return e.name }
func (e *commitEntry) IsDir() bool       { return e.mode == filemode.Dir }
func (e *commitEntry) Type() fs.FileMode { return fileMode(e.mode).Type() }
func (e *commitEntry) String() string    { return fs.FormatDirEntry(e) }

func (e *commitEntry) Info() (fs.FileInfo, error) {
	info := commitInfo{entry: e.entry, when: e.tree.when}
	if e.mode == filemode.Dir || e.mode == filemode.Submodule {
		return info, nil
	}
	size, err := e.tree.objects.size(e.id)
	if err != nil {
		return nil, &fs.PathError{Op: "stat", Path: e.name, Err: err}
	}
	info.size = size
	return info, nil
}

// commitInfo is an fs.FileInfo. Its time is the commit's.
type commitInfo struct {
	entry
	size int64
	when time.Time
}

func (i commitInfo) Name() string       { return i.name }
func (i commitInfo) Size() int64        { return i.size }
func (i commitInfo) Mode() fs.FileMode  { return fileMode(i.mode) }
func (i commitInfo) ModTime() time.Time { return i.when }
func (i commitInfo) IsDir() bool        { return i.mode == filemode.Dir }
func (i commitInfo) Sys() any           { return nil }

func fileMode(m filemode.FileMode) fs.FileMode {
	switch m {
	case filemode.Dir:
		return fs.ModeDir | 0o555
	case filemode.Symlink:
		return fs.ModeSymlink | 0o777
	case filemode.Submodule:
		return fs.ModeIrregular
	case filemode.Executable:
		return 0o555
	default:
		return 0o444
	}
}

// file is an open file; all of it is in memory.
type file struct {
	info fs.FileInfo
	*bytes.Reader
}

func (f *file) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *file) Close() error               { return nil }

// dirFile is an open directory.
type dirFile struct {
	info fs.FileInfo
	list []fs.DirEntry
}

func (d *dirFile) Stat() (fs.FileInfo, error) { return d.info, nil }
func (d *dirFile) Close() error               { return nil }

func (d *dirFile) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.info.Name(), Err: errors.New("is a directory")}
}

func (d *dirFile) ReadDir(n int) ([]fs.DirEntry, error) {
	if n > 0 && len(d.list) == 0 {
		return nil, io.EOF
	}
	if n <= 0 || n > len(d.list) {
		n = len(d.list)
	}
	list := d.list[:n]
	d.list = d.list[n:]
	return list, nil
}
