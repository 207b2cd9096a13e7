package source

import (
	"compress/zlib"
	"context"
	"crypto/sha1" // it is what ends a pack
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/storage/filesystem"
)

// unpackLimit is the number of objects from which on a pack is written instead
// of a file for each; git's fetch.unpackLimit has the same default.
const unpackLimit = 100

// maxCopied bounds an object that is copied. What is larger than maxFile is not
// read as a file, but must not keep the rest of its commit away.
const maxCopied = 2 << 30

// reader returns an object by its name.
type reader func(plumbing.Hash) (plumbing.ObjectType, []byte, error)

// write stores objects in the repository at gitDir, in the order of ids. Where
// every object comes after those it names, an interrupted write leaves none
// that lacks something.
func write(ctx context.Context, gitDir string, ids []plumbing.Hash, read reader) (err error) {
	store := filesystem.NewStorage(osfs.New(gitDir), cache.NewObjectLRU(cache.MiByte))
	defer func() { err = errors.Join(err, store.Close()) }()
	if len(ids) > unpackLimit {
		return writePack(ctx, store, ids, read)
	}
	for _, id := range ids {
		typ, content, err := read(id)
		if err != nil {
			return err
		}
		obj := &plumbing.MemoryObject{}
		obj.SetType(typ)
		_, _ = obj.Write(content) // memory
		if _, err := store.SetEncodedObject(obj); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// writePack writes one pack. go-git's own encoder would hold every object in
// memory at a time.
func writePack(ctx context.Context, store *filesystem.Storage, ids []plumbing.Hash, read reader) (err error) {
	w, err := store.PackfileWriter()
	if err != nil {
		return err
	}
	sum := sha1.New()
	err = writeObjects(ctx, io.MultiWriter(w, sum), ids, read)
	if err == nil {
		_, err = w.Write(sum.Sum(nil))
	}
	return errors.Join(err, w.Close())
}

// writeObjects writes a pack without its checksum: gitformat-pack(5).
func writeObjects(ctx context.Context, w io.Writer, ids []plumbing.Hash, read reader) error {
	head := binary.BigEndian.AppendUint32([]byte("PACK\x00\x00\x00\x02"), uint32(len(ids)))
	if _, err := w.Write(head); err != nil {
		return err
	}
	deflate, err := zlib.NewWriterLevel(w, zlib.BestSpeed)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if err := ctx.Err(); err != nil {
			return err
		}
		typ, content, err := read(id)
		if err != nil {
			return err
		}
		n := uint64(len(content))
		head := []byte{byte(typ)<<4 | byte(n&0x0f)}
		for n >>= 4; n > 0; n >>= 7 {
			head[len(head)-1] |= 0x80
			head = append(head, byte(n&0x7f))
		}
		if _, err := w.Write(head); err != nil {
			return err
		}
		deflate.Reset(w)
		_, err = deflate.Write(content)
		if err := errors.Join(err, deflate.Close()); err != nil {
			return err
		}
	}
	return nil
}

// lacking lists what a commit of src needs and dst does not have, each object
// after those it names. A commit that dst has is taken to be whole there.
func lacking(ctx context.Context, src *objects, dst *objects, tip plumbing.Hash) ([]plumbing.Hash, error) {
	l := &closure{ctx: ctx, src: src, dst: dst, seen: map[plumbing.Hash]bool{}}
	// Depth first, a commit after its parents; the second visit lists it.
	type visit struct {
		id   plumbing.Hash
		last bool
	}
	var commits []plumbing.Hash
	for stack := []visit{{id: tip}}; len(stack) > 0; {
		v := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if v.last {
			commits = append(commits, v.id)
			continue
		}
		if l.seen[v.id] || dst.has(v.id) {
			continue
		}
		l.seen[v.id] = true
		c, err := src.commit(v.id)
		if errors.Is(err, plumbing.ErrObjectNotFound) {
			err = &problem{ErrDamaged, fmt.Sprintf("commit %s is missing there (is it a shallow clone?)", v.id)}
		}
		if err != nil {
			return nil, err
		}
		if err := l.dir(c.TreeHash, 0); err != nil {
			return nil, err
		}
		stack = append(stack, visit{id: v.id, last: true})
		for _, parent := range c.ParentHashes {
			stack = append(stack, visit{id: parent})
		}
	}
	return append(l.ids, commits...), nil
}

// closure gathers what directories need.
type closure struct {
	ctx      context.Context // lives as long as one call
	src, dst *objects
	seen     map[plumbing.Hash]bool
	ids      []plumbing.Hash
}

func (l *closure) dir(id plumbing.Hash, depth int) error {
	if l.seen[id] || l.dst.has(id) {
		return nil
	}
	if depth > maxDepth {
		return fmt.Errorf("the tree is more than %d directories deep", maxDepth)
	}
	if err := l.ctx.Err(); err != nil {
		return err
	}
	content, err := l.src.readAs(plumbing.TreeObject, id)
	if err != nil {
		return err
	}
	l.seen[id] = true
	for e, err := range rawEntries(content) {
		switch {
		case err != nil:
			return &problem{ErrDamaged, fmt.Sprintf("directory %s: %v", id, err)}
		case e.mode == filemode.Dir:
			if err := l.dir(e.id, depth+1); err != nil {
				return err
			}
		case e.mode == filemode.Submodule || l.seen[e.id] || l.dst.has(e.id):
		default:
			l.seen[e.id] = true
			l.ids = append(l.ids, e.id)
		}
	}
	l.ids = append(l.ids, id)
	return nil
}
