package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/storage/filesystem"
)

// A Note says how Publish records a commit.
type Note struct {
	Branch  string    // "main" when empty
	Message string    // "Publish" when empty
	Author  string    // "weft" when empty; an address may follow in angle brackets
	Time    time.Time // now when zero
}

// maxPublished bounds what Publish copies. Somebody who publishes more stands in
// another directory than they think.
const maxPublished = 256 << 20

// Publish commits the files of dir as they are to a branch of the bare
// repository at repo, which is made if there is none. All of dir is in it but
// entries named .git and what is neither file nor link; no ignore file is
// looked at. A dir that equals the branch's newest commit makes no commit:
// that one is returned, and false.
//
// Readers see the branch before or after, never between. Where others publish
// at the same time, each gets a commit on top of the other's.
func Publish(ctx context.Context, dir, repo string, note Note) (Revision, bool, error) {
	note = note.complete()
	branch := plumbing.NewBranchReferenceName(note.Branch)
	if err := branch.Validate(); err != nil {
		return Revision{}, false, fmt.Errorf("%q cannot be the name of a branch", note.Branch)
	}
	if err := makeBare(repo, branch); err != nil {
		return Revision{}, false, err
	}
	tree, err := Dir(dir)
	if err != nil {
		return Revision{}, false, err
	}
	defer func() { _ = tree.Close() }()
	p := &publication{tree: tree, loaded: map[plumbing.Hash]loaded{}}
	root, _, err := p.dir(ctx, ".")
	if err != nil {
		return Revision{}, false, fmt.Errorf("publish %s: %w", dir, err)
	}
	ctx, cancel := context.WithTimeout(ctx, publishPatience)
	defer cancel()
	var held error // what kept the last attempt from the branch
	for {
		rev, made, err := p.commit(ctx, repo, branch, root, note)
		if errors.Is(err, errMoved) || errors.Is(err, fs.ErrExist) {
			held = err
		} else if err == nil || held == nil || ctx.Err() == nil {
			return rev, made, err
		}
		select { // somebody else writes the branch, for a moment
		case <-ctx.Done():
			return Revision{}, false, fmt.Errorf("publish to %s: %w", repo, held)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// publishPatience bounds the writing. A lock file that is there as long was
// left by a process that died, and the error names it.
const publishPatience = 30 * time.Second

func (n Note) complete() Note {
	if n.Branch == "" {
		n.Branch = "main"
	}
	if strings.TrimSpace(n.Message) == "" {
		n.Message = "Publish"
	}
	if n.Time.IsZero() {
		n.Time = time.Now()
	}
	return n
}

// signature is the author as Git stores it, where newlines and angle brackets
// have a meaning.
func (n Note) signature() object.Signature {
	clean := func(s string) string {
		return strings.TrimSpace(strings.Map(func(r rune) rune {
			if r < ' ' || r == '<' || r == '>' {
				return -1
			}
			return r
		}, s))
	}
	name, mail, _ := strings.Cut(n.Author, "<")
	s := object.Signature{Name: clean(name), Email: clean(mail), When: n.Time}
	if s.Name == "" {
		s.Name = "weft"
	}
	if s.Email == "" {
		s.Email = "weft@localhost"
	}
	return s
}

// makeBare makes a bare repository beside its place and renames it there.
func makeBare(path string, branch plumbing.ReferenceName) error {
	if list, err := os.ReadDir(path); err == nil && len(list) > 0 {
		gitDir, _, err := locate(path)
		if err == nil && gitDir != path {
			err = fmt.Errorf("%s is a work tree: publishing needs a bare repository", path)
		}
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	fresh, err := os.MkdirTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(fresh) }() // renamed away where all went well
	if err := os.Chmod(fresh, 0o755); err != nil {
		return err
	}
	store := filesystem.NewStorage(osfs.New(fresh), cache.NewObjectLRU(cache.MiByte))
	if _, err := git.InitWithOptions(store, nil, git.InitOptions{DefaultBranch: branch}); err != nil {
		return err
	}
	if err := store.Close(); err != nil {
		return err
	}
	err = os.Rename(fresh, path)
	if err != nil && IsRepository(path) { // somebody else was first
		return nil
	}
	return err
}

// publication is a directory as objects.
type publication struct {
	tree   *Directory
	size   int
	loaded map[plumbing.Hash]loaded
}

type loaded struct {
	typ     plumbing.ObjectType
	content []byte
}

func (p *publication) add(typ plumbing.ObjectType, content []byte) (plumbing.Hash, error) {
	id := objectID(typ, content)
	if _, ok := p.loaded[id]; ok {
		return id, nil
	}
	if p.size += len(content); p.size > maxPublished {
		return id, fmt.Errorf("it has more than %d MiB; is it the right directory?", maxPublished>>20)
	}
	p.loaded[id] = loaded{typ, content}
	return id, nil
}

// dir adds a directory and all below it. Git has no empty directories: false.
func (p *publication) dir(ctx context.Context, name string) (plumbing.Hash, bool, error) {
	if err := ctx.Err(); err != nil {
		return plumbing.ZeroHash, false, err
	}
	list, err := p.tree.ReadDir(name)
	if err != nil {
		return plumbing.ZeroHash, false, err
	}
	var entries []entry
	for _, d := range list {
		e, ok, err := p.entry(ctx, name, d)
		if err != nil {
			return plumbing.ZeroHash, false, err
		}
		if ok {
			entries = append(entries, e)
		}
	}
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(sortName(a), sortName(b)) })
	var content []byte
	for _, e := range entries {
		content = fmt.Appendf(content, "%o %s\x00", uint32(e.mode), e.name)
		content = append(content, e.id[:]...)
	}
	if len(entries) == 0 && name != "." {
		return plumbing.ZeroHash, false, nil
	}
	id, err := p.add(plumbing.TreeObject, content)
	return id, true, err
}

// sortName is what Git sorts a directory's entries by.
func sortName(e entry) string {
	if e.mode == filemode.Dir {
		return e.name + "/"
	}
	return e.name
}

func (p *publication) entry(ctx context.Context, parent string, d fs.DirEntry) (entry, bool, error) {
	name := d.Name()
	if parent != "." {
		name = parent + "/" + name
	}
	e := entry{name: d.Name()}
	var content []byte
	switch mode := d.Type(); {
	case mode.IsDir():
		id, ok, err := p.dir(ctx, name)
		e.mode, e.id = filemode.Dir, id
		return e, ok, err
	case mode == fs.ModeSymlink:
		link, err := p.tree.root.Readlink(name)
		if err != nil {
			return e, false, err
		}
		e.mode, content = filemode.Symlink, []byte(link)
	case mode.IsRegular():
		info, err := d.Info()
		if err != nil {
			return e, false, err
		}
		if content, err = p.tree.ReadFile(name); err != nil {
			return e, false, err
		}
		e.mode = filemode.Regular
		if info.Mode()&0o111 != 0 {
			e.mode = filemode.Executable
		}
	default:
		return e, false, nil
	}
	var err error
	e.id, err = p.add(plumbing.BlobObject, content)
	return e, true, err
}

// commit puts root on top of the branch.
func (p *publication) commit(ctx context.Context, path string, branch plumbing.ReferenceName, root plumbing.Hash, note Note) (
	Revision, bool, error,
) {
	repo, err := openRepository(path)
	if err != nil {
		return Revision{}, false, err
	}
	defer repo.close()
	c := &object.Commit{
		Author: note.signature(), Committer: note.signature(),
		Message: strings.TrimRight(note.Message, "\n") + "\n", TreeHash: root,
	}
	tip, err := repo.ref(branch)
	switch {
	case errors.Is(err, plumbing.ErrReferenceNotFound):
		tip = plumbing.NewHashReference(branch, plumbing.ZeroHash)
	case err != nil:
		return Revision{}, false, fmt.Errorf("%s: %w", path, err)
	default:
		newest, err := repo.objects.commit(tip.Hash())
		if err != nil {
			return Revision{}, false, fmt.Errorf("%s: %s: %w", path, note.Branch, err)
		}
		if newest.TreeHash == root {
			return revisionOf(note.Branch, newest), false, nil
		}
		c.ParentHashes = []plumbing.Hash{tip.Hash()}
	}
	if c.Hash, err = p.store(ctx, repo, c); err != nil {
		removeTemporary(repo.commonDir)
		return Revision{}, false, fmt.Errorf("%s: %w", path, err)
	}
	err = setRef(repo.commonDir, branch, c.Hash, func() bool {
		now, err := repo.ref(branch)
		if errors.Is(err, plumbing.ErrReferenceNotFound) {
			return tip.Hash().IsZero()
		}
		return err == nil && now.Hash() == tip.Hash()
	})
	if err != nil {
		return Revision{}, false, err
	}
	return revisionOf(note.Branch, c), true, nil
}

// store writes what the repository lacks, the commit last.
func (p *publication) store(ctx context.Context, repo *repository, c *object.Commit) (plumbing.Hash, error) {
	raw := &plumbing.MemoryObject{}
	if err := c.Encode(raw); err != nil {
		return plumbing.ZeroHash, err
	}
	content, err := readAll(raw)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	last := loaded{plumbing.CommitObject, content}
	id := objectID(last.typ, last.content)
	ids := p.lacking(repo.objects, c.TreeHash, map[plumbing.Hash]bool{}, nil)
	read := func(want plumbing.Hash) (plumbing.ObjectType, []byte, error) {
		if want == id {
			return last.typ, last.content, nil
		}
		l := p.loaded[want]
		return l.typ, l.content, nil
	}
	return id, write(ctx, repo.commonDir, append(ids, id), read)
}

// lacking appends what the repository does not have of a directory or file,
// each after those it names. A directory that it has is whole there.
func (p *publication) lacking(have *objects, id plumbing.Hash, seen map[plumbing.Hash]bool, ids []plumbing.Hash) []plumbing.Hash {
	if seen[id] || have.has(id) {
		return ids
	}
	seen[id] = true
	if l := p.loaded[id]; l.typ == plumbing.TreeObject {
		for e := range rawEntries(l.content) { // made here, so sound
			ids = p.lacking(have, e.id, seen, ids)
		}
	}
	return append(ids, id)
}

func readAll(o plumbing.EncodedObject) ([]byte, error) {
	r, err := o.Reader()
	if err != nil {
		return nil, err
	}
	content := make([]byte, o.Size())
	_, err = io.ReadFull(r, content)
	return content, errors.Join(err, r.Close())
}
