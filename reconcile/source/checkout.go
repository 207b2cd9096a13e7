package source

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// A Checkout is a directory that a person or a CI job works in: its files as
// they are, and the repository around it, if there is one. It only reads.
type Checkout struct {
	dir    string
	prefix string      // of dir in the repository, "." at its top
	repo   *repository // nil: none
	why    error       // what is wrong with it, when it is nil
}

// Local opens the directory dir and finds the repository that contains it. A
// directory outside any repository is a Checkout too: WorkTree works, all else
// is ErrNotRepository.
func Local(dir string) (*Checkout, error) {
	tree, err := Dir(dir) // for its errors
	if err != nil {
		return nil, err
	}
	_ = tree.Close() // read only
	abs, err := filepath.Abs(dir)
	if err == nil {
		abs, err = filepath.EvalSymlinks(abs)
	}
	if err != nil {
		return nil, err
	}
	c := &Checkout{dir: dir, why: &problem{ErrNotRepository, dir + " is not in a Git repository"}}
	for top := abs; ; top = filepath.Dir(top) {
		if _, err := os.Lstat(filepath.Join(top, ".git")); err == nil {
			repo, err := openRepository(top)
			if err != nil {
				c.why = fmt.Errorf("repository of %s: %w", dir, err)
				return c, nil
			}
			prefix, err := filepath.Rel(top, abs)
			c.repo, c.prefix = repo, filepath.ToSlash(prefix)
			return c, err
		}
		if top == filepath.Dir(top) {
			return c, nil
		}
	}
}

// Bare opens a bare repository, such as the lab's. All of a Checkout but
// WorkTree serves: it has no files beside its commits.
func Bare(path string) (*Checkout, error) {
	repo, err := openRepository(path)
	if err != nil {
		return nil, err
	}
	return &Checkout{dir: path, repo: repo, prefix: "."}, nil
}

// Close releases the repository. Trees of it cannot be read after that.
func (c *Checkout) Close() error {
	if c.repo != nil {
		c.repo.close()
	}
	return nil
}

// Prefix returns where in the repository the directory is, "." at its top and
// where there is none.
func (c *Checkout) Prefix() string {
	if c.prefix == "" {
		return "."
	}
	return c.prefix
}

// WorkTree returns the directory's files as they are now, committed or not. Ask
// again for a new look.
func (c *Checkout) WorkTree() (*Directory, error) { return Dir(c.dir) }

// Head returns the commit that is checked out; its Ref is the branch, empty
// when none is.
func (c *Checkout) Head() (Revision, error) {
	if c.repo == nil {
		return Revision{}, c.why
	}
	ref, err := c.repo.ref(plumbing.HEAD)
	if errors.Is(err, plumbing.ErrReferenceNotFound) {
		return Revision{}, &problem{ErrNoRevision, "the repository has no commit yet"}
	}
	if err != nil {
		return Revision{}, fmt.Errorf("HEAD: %w", err)
	}
	head, err := c.repo.objects.commit(ref.Hash())
	if err != nil {
		return Revision{}, fmt.Errorf("HEAD: %w", err)
	}
	return revisionOf(target{ref: ref.Name()}.short(), head), nil
}

// Resolve returns the commit that rev names: a branch, tag or remote branch,
// HEAD or @, a commit id of 4 digits or more, each followed by any number of ~,
// ~N, ^, ^N, ^{} and ^{commit}. Its Ref is rev as it was given, unless that is
// the commit's id.
func (c *Checkout) Resolve(rev string) (Revision, error) {
	found, err := c.resolve(rev)
	if err != nil {
		return Revision{}, err
	}
	return named(rev, found), nil
}

func named(rev string, c *object.Commit) Revision {
	if rev == c.Hash.String() {
		rev = ""
	}
	return revisionOf(rev, c)
}

// MergeBase returns the commit that HEAD and rev have in common: what a branch
// was made from, so that what others added to rev since is not taken for a
// change of this branch.
func (c *Checkout) MergeBase(ctx context.Context, rev string) (Revision, error) {
	head, err := c.Head()
	if err != nil {
		return Revision{}, err
	}
	other, err := c.resolve(rev)
	if err != nil {
		return Revision{}, err
	}
	h := newHistory(c.repo.objects)
	h.shallow = c.shallow()
	base, err := h.mergeBase(ctx, plumbing.NewHash(head.Commit), other.Hash)
	switch {
	case errors.Is(err, errNoBase) && h.cut, errors.Is(err, plumbing.ErrObjectNotFound):
		return Revision{}, &problem{ErrNoRevision, fmt.Sprintf(
			"the merge base of HEAD and %s is not in this clone: it is shallow; %s", rev, deepen)}
	case errors.Is(err, errNoBase):
		return Revision{}, &problem{ErrNoRevision, fmt.Sprintf("HEAD and %s have no commit in common", rev)}
	case err != nil:
		return Revision{}, fmt.Errorf("merge base of HEAD and %s: %w", rev, err)
	}
	found, err := c.repo.objects.commit(base)
	if err != nil {
		return Revision{}, err
	}
	return revisionOf("", found), nil
}

const deepen = "fetch the history (git fetch --unshallow; GitHub: fetch-depth: 0; GitLab: GIT_DEPTH: 0)"

func (c *Checkout) shallow() map[plumbing.Hash]bool {
	set := map[plumbing.Hash]bool{}
	ids, _ := c.repo.refs.Shallow() // unreadable as good as absent: the walk says what is missing
	for _, id := range ids {
		set[id] = true
	}
	return set
}

// TreeAt returns the directory's files as rev has them. A directory that rev
// does not have is an empty tree.
func (c *Checkout) TreeAt(rev string) (Tree, error) {
	found, err := c.resolve(rev)
	if err != nil {
		return nil, err
	}
	top := newCommitTree(c.repo.objects, found)
	sub, err := top.Sub(c.prefix)
	if errors.Is(err, fs.ErrNotExist) {
		return emptyTree{found.Committer.When}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", rev, err)
	}
	return sub.(*commitTree), nil // Sub's only type
}
