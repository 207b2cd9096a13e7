package source

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/go-git/go-git/v5/plumbing"
)

// A Directory is the Tree of a plain directory, as it is at each call. Within
// one Directory a file has one content: once read, later reads return the same
// or ErrChanged. So make a new one for every pass.
type Directory struct {
	root *os.Root

	mu    sync.Mutex
	plain map[string]bool          // directories that are reached without a link
	ids   map[string]plumbing.Hash // of what was read
	held  map[string][]byte        // read by BlobID, not yet by ReadFile
	size  int                      // of held
}

// maxHeld bounds what BlobID keeps for the ReadFile that usually follows.
const maxHeld = 16 << 20

// Dir opens a directory as a Tree. A path that is itself a link is followed,
// links in it are not. Entries named .git are left out.
func Dir(path string) (*Directory, error) {
	switch info, err := os.Stat(path); {
	case errors.Is(err, fs.ErrNotExist):
		return nil, &problem{fs.ErrNotExist, path + ": there is no such directory"}
	case err == nil && !info.IsDir():
		return nil, fmt.Errorf("%s is not a directory", path)
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	return newDirectory(root), nil
}

func newDirectory(root *os.Root) *Directory {
	return &Directory{
		root:  root,
		plain: map[string]bool{".": true},
		ids:   map[string]plumbing.Hash{},
		held:  map[string][]byte{},
	}
}

// Close releases the directory. It is optional: what is no longer used is
// released in time.
func (d *Directory) Close() error { return d.root.Close() }

// reach fails unless every directory above name is one, and no link. The root
// keeps even a link that is put there afterwards from leading outside.
func (d *Directory) reach(op, name string) error {
	if !fs.ValidPath(name) {
		return &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	if base := path.Base(name); strings.EqualFold(base, ".git") {
		return &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
	}
	parent := path.Dir(name)
	d.mu.Lock()
	known := d.plain[parent]
	d.mu.Unlock()
	if known {
		return nil
	}
	if err := d.reach(op, parent); err != nil {
		return renamed(err, op, name)
	}
	info, err := d.root.Lstat(parent)
	switch {
	case err != nil:
		return renamed(err, op, name)
	case info.Mode().Type() == fs.ModeSymlink:
		return &fs.PathError{Op: op, Path: name, Err: fmt.Errorf("%s %w", parent, ErrSymlink)}
	case !info.IsDir():
		return &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
	}
	d.mu.Lock()
	d.plain[parent] = true
	d.mu.Unlock()
	return nil
}

// renamed gives an error of os.Root the operation and name of this call.
func renamed(err error, op, name string) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	return &fs.PathError{Op: op, Path: name, Err: err}
}

// Stat implements Tree.
func (d *Directory) Stat(name string) (fs.FileInfo, error) {
	if err := d.reach("stat", name); err != nil {
		return nil, err
	}
	info, err := d.root.Lstat(name)
	if err != nil {
		return nil, renamed(err, "stat", name)
	}
	return info, nil
}

// ReadFile implements Tree.
func (d *Directory) ReadFile(name string) ([]byte, error) {
	d.mu.Lock()
	content, ok := d.held[name]
	if ok {
		delete(d.held, name)
		d.size -= len(content)
	}
	d.mu.Unlock()
	if ok {
		return content, nil
	}
	content, _, err := d.load(name)
	return content, err
}

// BlobID implements Tree.
func (d *Directory) BlobID(name string) (string, bool) {
	d.mu.Lock()
	id, ok := d.ids[name]
	d.mu.Unlock()
	if ok {
		return id.String(), true
	}
	content, id, err := d.load(name)
	if err != nil {
		return "", false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.size+len(content) <= maxHeld {
		d.held[name] = content
		d.size += len(content)
	}
	return id.String(), true
}

// load reads a file and remembers what it was.
func (d *Directory) load(name string) ([]byte, plumbing.Hash, error) {
	content, err := d.read(name)
	if err != nil {
		return nil, plumbing.ZeroHash, renamed(err, "read", name)
	}
	id := objectID(plumbing.BlobObject, content)
	d.mu.Lock()
	defer d.mu.Unlock()
	if old, ok := d.ids[name]; ok && old != id {
		return nil, id, &fs.PathError{Op: "read", Path: name, Err: ErrChanged}
	}
	d.ids[name] = id
	return content, id, nil
}

func (d *Directory) read(name string) ([]byte, error) {
	info, err := d.Stat(name)
	if err != nil {
		return nil, err
	}
	if err := regular(info); err != nil {
		return nil, err
	}
	// Between the look and the open the file may become a pipe, which blocks.
	f, err := d.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	if info, err = f.Stat(); err != nil {
		return nil, err
	}
	if err := regular(info); err != nil {
		return nil, err
	}
	content := make([]byte, 0, info.Size()+bytes.MinRead)
	buf := bytes.NewBuffer(content)
	if _, err := buf.ReadFrom(io.LimitReader(f, maxFile+1)); err != nil {
		return nil, err
	}
	if buf.Len() > maxFile {
		return nil, ErrTooLarge
	}
	return buf.Bytes(), nil
}

func regular(info fs.FileInfo) error {
	switch mode := info.Mode(); {
	case mode.IsDir():
		return errors.New("is a directory")
	case mode.Type() == fs.ModeSymlink:
		return ErrSymlink
	case !mode.IsRegular():
		return ErrSpecial
	case info.Size() > maxFile:
		return ErrTooLarge
	}
	return nil
}

// ReadDir implements Tree.
func (d *Directory) ReadDir(name string) ([]fs.DirEntry, error) {
	info, err := d.Stat(name)
	if err != nil {
		return nil, renamed(err, "readdir", name)
	}
	if !info.IsDir() {
		err := errors.New("is not a directory")
		if info.Mode().Type() == fs.ModeSymlink {
			err = ErrSymlink
		}
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: err}
	}
	f, err := d.root.Open(name)
	if err != nil {
		return nil, renamed(err, "readdir", name)
	}
	defer func() { _ = f.Close() }()
	found, err := f.ReadDir(-1)
	if err != nil {
		return nil, renamed(err, "readdir", name)
	}
	list := make([]fs.DirEntry, 0, len(found))
	for _, e := range found {
		if !strings.EqualFold(e.Name(), ".git") {
			list = append(list, &directoryEntry{dir: d, parent: name, name: e.Name(), mode: e.Type()})
		}
	}
	slices.SortFunc(list, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return list, nil
}

// Open implements Tree.
func (d *Directory) Open(name string) (fs.File, error) {
	info, err := d.Stat(name)
	if err != nil {
		return nil, renamed(err, "open", name)
	}
	if info.IsDir() {
		list, err := d.ReadDir(name)
		return &dirFile{info: info, list: list}, err
	}
	content, err := d.ReadFile(name)
	if err != nil {
		return nil, renamed(err, "open", name)
	}
	return &file{info: info, Reader: bytes.NewReader(content)}, nil
}

// Sub returns the Tree below a directory.
func (d *Directory) Sub(name string) (fs.FS, error) {
	info, err := d.Stat(name)
	if err != nil {
		return nil, renamed(err, "sub", name)
	}
	if err := regular(info); !info.IsDir() {
		if err == nil {
			err = errors.New("is not a directory")
		}
		return nil, &fs.PathError{Op: "sub", Path: name, Err: err}
	}
	root, err := d.root.OpenRoot(name)
	if err != nil {
		return nil, renamed(err, "sub", name)
	}
	return newDirectory(root), nil
}

// directoryEntry is an entry as ReadDir returns it.
type directoryEntry struct {
	dir          *Directory
	parent, name string
	mode         fs.FileMode
}

func (e *directoryEntry) Name() string      { return e.name }
func (e *directoryEntry) IsDir() bool       { return e.mode.IsDir() }
func (e *directoryEntry) Type() fs.FileMode { return e.mode }
func (e *directoryEntry) String() string    { return fs.FormatDirEntry(e) }

func (e *directoryEntry) Info() (fs.FileInfo, error) {
	info, err := e.dir.root.Lstat(path.Join(e.parent, e.name))
	if err != nil {
		return nil, renamed(err, "stat", path.Join(e.parent, e.name))
	}
	return info, nil
}
