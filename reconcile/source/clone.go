package source

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/config"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/storage/filesystem"
)

const (
	// tipName is the revision that was fetched last; the clone's HEAD names it.
	tipName = plumbing.ReferenceName("refs/weft/tip")
	// incoming is where go-git puts what it fetches, in place and not at once.
	incoming = plumbing.ReferenceName("refs/weft/incoming")

	// go-git never collects garbage. A clone with more packs, or more loose
	// objects in one of 256 directories (git's gc.auto 6700, spread evenly), is
	// made anew when there is something to fetch anyway.
	maxPacks = 50
	maxLoose = 6700 / 256
)

// clone is the bare repository in a state directory, and what is made beside
// it: git, git.new while another is made, lock.
type clone struct {
	dir    string
	origin config.RemoteConfig // what it is a clone of
}

func (c clone) path() string  { return filepath.Join(c.dir, "git") }
func (c clone) fresh() string { return filepath.Join(c.dir, "git.new") }
func (c clone) aside() string { return filepath.Join(c.dir, "git.old") }

// acquire makes the state directory ours until the returned file is closed.
func (c clone) acquire() (*os.File, error) {
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(filepath.Join(c.dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = fmt.Errorf("%s: %w", c.dir, ErrInUse)
	}
	if err != nil {
		_ = lock.Close()
		return nil, err
	}
	return lock, nil
}

// tidy removes what a process that died has left, and a clone of something
// else. What a death in replace left is put right.
func (c clone) tidy() error {
	if _, err := os.Stat(c.path()); err != nil {
		_ = os.Rename(c.aside(), c.path()) // or there is none
	}
	err := errors.Join(os.RemoveAll(c.fresh()), os.RemoveAll(c.aside()))
	locks, _ := filepath.Glob(filepath.Join(c.path(), "refs", "weft", "*.lock"))
	for _, l := range locks {
		err = errors.Join(err, os.Remove(l))
	}
	removeTemporary(c.path())
	if !c.same() {
		err = errors.Join(err, os.RemoveAll(c.path()))
	}
	return err
}

// same reports whether the clone that is there is of this origin.
func (c clone) same() bool {
	repo, err := openRepository(c.path())
	if err != nil {
		return false
	}
	defer repo.close()
	cfg, err := repo.refs.Config()
	if err != nil || cfg.Remotes["origin"] == nil {
		return false
	}
	had := cfg.Remotes["origin"]
	return len(had.URLs) == 1 && had.URLs[0] == c.origin.URLs[0] &&
		len(had.Fetch) == 1 && had.Fetch[0] == c.origin.Fetch[0]
}

// init makes an empty clone at path.
func (c clone) init(path string) error {
	if err := os.RemoveAll(path); err != nil {
		return err
	}
	store := filesystem.NewStorage(osfs.New(path), cache.NewObjectLRU(cache.MiByte))
	if _, err := git.Init(store, nil); err != nil {
		return err
	}
	cfg, err := store.Config()
	if err != nil {
		return err
	}
	cfg.Remotes["origin"] = &c.origin
	return errors.Join(
		store.SetConfig(cfg),
		store.SetReference(plumbing.NewSymbolicReference(plumbing.HEAD, tipName)),
		store.Close())
}

// tip returns where tipName points, also when nothing else can be read.
func (c clone) tip() plumbing.Hash {
	b, err := os.ReadFile(filepath.Join(c.path(), filepath.FromSlash(tipName.String())))
	id := strings.TrimSpace(string(b))
	if err != nil || !plumbing.IsHash(id) {
		return plumbing.ZeroHash
	}
	return plumbing.NewHash(id)
}

// setTip makes tipName of the clone at path point to a commit, and notes under
// which name it was found, and that found, where it is not the commit itself,
// is the annotated tag that led to it.
func setTip(path string, ref plumbing.ReferenceName, found, commit plumbing.Hash) error {
	if err := setTag(path, found, commit); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(path, "weft-ref"), []byte(ref), 0o600); err != nil {
		return err
	}
	return setRef(path, tipName, commit, func() bool { return true })
}

// followed returns the name noted by setTip.
func (c clone) followed() plumbing.ReferenceName {
	b, err := os.ReadFile(filepath.Join(c.path(), "weft-ref"))
	name := plumbing.ReferenceName(b)
	if err != nil || name.Validate() != nil {
		return ""
	}
	return name
}

// crowded reports whether the clone has gathered too many files.
func (c clone) crowded() bool {
	packs, _ := filepath.Glob(filepath.Join(c.path(), "objects", "pack", "*.pack"))
	loose, _ := filepath.Glob(filepath.Join(c.path(), "objects", "17", "*"))
	return len(packs) > maxPacks || len(loose) > maxLoose
}

// openObjects opens what the repository at path has, for o.
func openObjects(o *objects, path string) {
	known := cache.NewObjectLRUDefault()
	o.take(known, openStore(osfs.New(path), known))
}

// check reads all of a commit.
func check(ctx context.Context, o *objects, id plumbing.Hash) (commit plumbing.Hash, err error) {
	c, err := o.commit(id)
	if errors.Is(err, plumbing.ErrObjectNotFound) {
		err = &problem{ErrDamaged, fmt.Sprintf("commit %s is missing", id)}
	}
	if err != nil {
		return plumbing.ZeroHash, err
	}
	if err := o.verify(ctx, c.TreeHash); err != nil {
		return plumbing.ZeroHash, fmt.Errorf("commit %s: %w", c.Hash, err)
	}
	return c.Hash, nil
}

// replace puts the clone made at fresh in the place of the old one, and lets o
// read from it. Readers wait meanwhile; their commits are there before and
// after, unless they were rewritten away.
func (c clone) replace(o *objects, verified map[plumbing.Hash]*dir) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.close()
	err := c.swap()
	openObjects(o, c.path())
	o.dirs, o.damaged = verified, err != nil
	return err
}

// swap leaves the old clone where it was if the new one cannot be put there.
func (c clone) swap() error {
	if err := os.RemoveAll(c.aside()); err != nil {
		return err
	}
	if err := os.Rename(c.path(), c.aside()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.Rename(c.fresh(), c.path()); err != nil {
		_ = os.Rename(c.aside(), c.path()) // the first error says why
		return err
	}
	return os.RemoveAll(c.aside())
}
