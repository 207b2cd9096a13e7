package source

import (
	"bytes"
	"context"
	"crypto/sha1" // it is what names Git's objects
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/storage/filesystem"
)

const (
	// maxFiles and maxDepth bound a tree. Git names equal directories by one
	// object, so a few kilobytes can stand for billions of paths.
	maxFiles = 1_000_000
	maxDepth = 100
)

// objects reads the objects of a repository. It may be used concurrently:
// go-git's storage seeks in shared descriptors when it keeps them open, which
// is what makes it fast, so every access to it holds mu.
type objects struct {
	mu      sync.Mutex
	stores  []*filesystem.Storage // alternates first, the repository last
	cache   *cache.ObjectLRU
	dirs    map[plumbing.Hash]*dir
	damaged bool
}

// A dir is one decoded directory of a commit, entries by name.
type dir struct {
	entries []entry
	files   int // in it and below; 0 before it was verified
}

type entry struct {
	name string
	mode filemode.FileMode
	id   plumbing.Hash
}

// take makes o read from stores, which share c, in place of what it had.
func (o *objects) take(c *cache.ObjectLRU, stores ...*filesystem.Storage) {
	o.close()
	o.cache, o.stores, o.damaged = c, stores, false
	if o.dirs == nil {
		o.dirs = map[plumbing.Hash]*dir{}
	}
}

func (o *objects) close() {
	for _, s := range o.stores {
		_ = s.Close() // opened for reading
	}
	o.stores = nil
}

// refresh makes packs visible that were written past o.
func (o *objects) refresh() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, s := range o.stores {
		s.Reindex()
	}
}

func (o *objects) isDamaged() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.damaged
}

// has reports whether an object is there, without reading it.
func (o *objects) has(id plumbing.Hash) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, s := range o.stores {
		if s.HasEncodedObject(id) == nil {
			return true
		}
	}
	return false
}

// read returns an object's type and content, which the caller may keep and
// change. The content is what the name says, or the error is ErrDamaged; a
// missing object is plumbing.ErrObjectNotFound.
func (o *objects) read(id plumbing.Hash) (plumbing.ObjectType, []byte, error) {
	return o.readUpTo(id, maxFile)
}

func (o *objects) readUpTo(id plumbing.Hash, limit int64) (plumbing.ObjectType, []byte, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.stores == nil {
		return 0, nil, fs.ErrClosed
	}
	err := error(plumbing.ErrObjectNotFound)
	for _, s := range o.stores {
		var typ plumbing.ObjectType
		var content []byte
		typ, content, err = readFrom(s, id, limit)
		if err == nil || errors.Is(err, ErrTooLarge) {
			return typ, content, err
		}
		if !errors.Is(err, plumbing.ErrObjectNotFound) {
			break
		}
	}
	if errors.Is(err, plumbing.ErrObjectNotFound) {
		return 0, nil, err
	}
	// go-git caches an object before it knows that it came whole.
	o.cache.Clear()
	o.damaged = true
	return 0, nil, &problem{ErrDamaged, fmt.Sprintf("object %s: %v", id, err)}
}

// readFrom turns panics of go-git's decoders, which trust the disk, into
// errors.
func readFrom(s *filesystem.Storage, id plumbing.Hash, limit int64) (typ plumbing.ObjectType, content []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("decode: %v", p)
		}
	}()
	obj, err := s.EncodedObject(plumbing.AnyObject, id)
	if err != nil {
		return 0, nil, err
	}
	if obj.Size() > limit {
		return obj.Type(), nil, ErrTooLarge
	}
	r, err := obj.Reader()
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = r.Close() }()
	content = make([]byte, obj.Size())
	if _, err := io.ReadFull(r, content); err != nil {
		return 0, nil, err
	}
	if got := objectID(obj.Type(), content); got != id {
		return 0, nil, fmt.Errorf("its content is that of %s", got)
	}
	return obj.Type(), content, nil
}

// objectID is the name that Git gives to an object of that content.
func objectID(typ plumbing.ObjectType, content []byte) plumbing.Hash {
	h := sha1.New()
	h.Write(typ.Bytes())
	h.Write([]byte{' '})
	h.Write(strconv.AppendInt(nil, int64(len(content)), 10))
	h.Write([]byte{0})
	h.Write(content)
	return plumbing.Hash(h.Sum(nil))
}

// readAs reads an object which another object says is there: its absence is
// damage.
func (o *objects) readAs(want plumbing.ObjectType, id plumbing.Hash) ([]byte, error) {
	typ, content, err := o.read(id)
	switch {
	case errors.Is(err, plumbing.ErrObjectNotFound):
		err = &problem{ErrDamaged, fmt.Sprintf("object %s (%s) is missing", id, want)}
	case err == nil && typ != want:
		err = &problem{ErrDamaged, fmt.Sprintf("object %s is a %s, not a %s", id, typ, want)}
	}
	if errors.Is(err, ErrDamaged) {
		o.mu.Lock()
		o.damaged = true
		o.mu.Unlock()
	}
	return content, err
}

// commit reads a commit or, through an annotated tag, the commit it names. The
// id need not exist: plumbing.ErrObjectNotFound.
func (o *objects) commit(id plumbing.Hash) (*object.Commit, error) {
	for range 10 { // tags of tags are legal and never deep
		typ, content, err := o.read(id)
		if err != nil {
			return nil, err
		}
		raw := &plumbing.MemoryObject{}
		raw.SetType(typ)
		_, _ = raw.Write(content) // memory
		switch typ {
		case plumbing.CommitObject:
			c := &object.Commit{}
			if err := c.Decode(raw); err != nil {
				return nil, &problem{ErrDamaged, fmt.Sprintf("commit %s: %v", id, err)}
			}
			return c, nil
		case plumbing.TagObject:
			t := &object.Tag{}
			if err := t.Decode(raw); err != nil {
				return nil, &problem{ErrDamaged, fmt.Sprintf("tag %s: %v", id, err)}
			}
			id = t.Target
		default:
			return nil, &problem{ErrNoRevision, fmt.Sprintf("object %s is a %s, not a commit", id, typ)}
		}
	}
	return nil, &problem{ErrNoRevision, fmt.Sprintf("tag %s names a tag that names a tag, without end", id)}
}

// dir returns a decoded directory, which nobody may change.
func (o *objects) dir(id plumbing.Hash) (*dir, error) {
	o.mu.Lock()
	d := o.dirs[id]
	o.mu.Unlock()
	if d != nil {
		return d, nil
	}
	content, err := o.readAs(plumbing.TreeObject, id)
	if err != nil {
		return nil, err
	}
	entries, err := decodeDir(content)
	if err != nil {
		return nil, &problem{ErrDamaged, fmt.Sprintf("directory %s: %v", id, err)}
	}
	d = &dir{entries: entries}
	o.mu.Lock()
	o.dirs[id] = d
	o.mu.Unlock()
	return d, nil
}

// rawEntries yields the entries of a directory as Git has stored them.
func rawEntries(b []byte) iter.Seq2[entry, error] {
	return func(yield func(entry, error) bool) {
		for len(b) > 0 {
			head, rest, ok := bytes.Cut(b, []byte{0})
			mode, name, ok2 := strings.Cut(string(head), " ")
			if !ok || !ok2 || len(rest) < len(plumbing.ZeroHash) {
				yield(entry{}, errors.New("torn entry"))
				return
			}
			m, err := filemode.New(mode)
			if err != nil || name == "" || name == "." || name == ".." || strings.ContainsRune(name, '/') {
				yield(entry{}, fmt.Errorf("impossible entry %q", head))
				return
			}
			e := entry{name: name, mode: m, id: plumbing.Hash(rest[:len(plumbing.ZeroHash)])}
			b = rest[len(e.id):]
			if !yield(e, nil) {
				return
			}
		}
	}
}

func decodeDir(b []byte) ([]entry, error) {
	var entries []entry
	for e, err := range rawEntries(b) {
		if err != nil {
			return nil, err
		}
		if !strings.EqualFold(e.name, ".git") {
			entries = append(entries, e)
		}
	}
	// Git sorts directories as if their names ended in a slash; fs.FS does not.
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.name, b.name) })
	for i := 1; i < len(entries); i++ {
		if entries[i].name == entries[i-1].name {
			return nil, fmt.Errorf("two entries named %q", entries[i].name)
		}
	}
	return entries, nil
}

// verify reads everything below a directory once, and from then on remembers
// its directories and those only. What it has verified before it does not read
// again.
func (o *objects) verify(ctx context.Context, root plumbing.Hash) error {
	seen := map[plumbing.Hash]*dir{}
	files, err := o.verifyDir(ctx, root, seen, 0)
	if err != nil {
		return err
	}
	if files > maxFiles {
		return fmt.Errorf("the tree has more than %d files", maxFiles)
	}
	o.mu.Lock()
	o.dirs = seen
	o.mu.Unlock()
	return nil
}

func (o *objects) verifyDir(ctx context.Context, id plumbing.Hash, seen map[plumbing.Hash]*dir, depth int) (int, error) {
	if d := seen[id]; d != nil {
		return d.files, nil
	}
	if depth > maxDepth {
		return 0, fmt.Errorf("the tree is more than %d directories deep", maxDepth)
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	d, err := o.dir(id)
	if err != nil {
		return 0, err
	}
	known, files := d.files > 0, 0
	for _, e := range d.entries {
		switch e.mode {
		case filemode.Dir:
			n, err := o.verifyDir(ctx, e.id, seen, depth+1)
			if err != nil {
				return 0, err
			}
			files = min(files+n, maxFiles+1)
		case filemode.Submodule:
		default:
			files++
			if known {
				continue
			}
			if _, err := o.readAs(plumbing.BlobObject, e.id); err != nil && !errors.Is(err, ErrTooLarge) {
				return 0, fmt.Errorf("%s: %w", e.name, err)
			}
		}
	}
	seen[id] = &dir{entries: d.entries, files: files}
	return files, nil
}

// size returns the length of a file's content without unpacking it.
func (o *objects) size(id plumbing.Hash) (int64, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, s := range o.stores {
		if n, err := s.EncodedObjectSize(id); err == nil {
			return n, nil
		}
	}
	o.damaged = true
	return 0, &problem{ErrDamaged, fmt.Sprintf("object %s is missing", id)}
}

// spoil notes that what is there cannot be trusted.
func (o *objects) spoil() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.damaged = true
}
