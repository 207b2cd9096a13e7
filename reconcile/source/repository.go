package source

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-git/go-billy/v5"
	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/storer"
	"github.com/go-git/go-git/v5/storage/filesystem"
	"github.com/go-git/go-git/v5/storage/filesystem/dotgit"
)

// repository is a Git repository on this machine, open for reading.
type repository struct {
	// gitDir holds HEAD, commonDir all else; they differ in a work tree made
	// by git worktree.
	gitDir, commonDir string
	refs              *filesystem.Storage
	objects           *objects
}

// IsRepository reports whether path is what a local Config.URL may name: a bare
// repository or the top of a work tree.
func IsRepository(path string) bool {
	_, _, err := locate(path)
	return err == nil
}

// locate returns the directories of the repository at path, not above it.
func locate(path string) (gitDir, commonDir string, err error) {
	gitDir = path
	switch info, err := os.Stat(filepath.Join(path, ".git")); {
	case err == nil && info.IsDir():
		gitDir = filepath.Join(path, ".git")
	case err == nil:
		if gitDir, err = linkedDir(filepath.Join(path, ".git"), "gitdir: "); err != nil {
			return "", "", err
		}
	}
	if info, err := os.Stat(filepath.Join(gitDir, "HEAD")); err != nil || !info.Mode().IsRegular() {
		return "", "", notRepository(path)
	}
	commonDir, err = linkedDir(filepath.Join(gitDir, "commondir"), "")
	if errors.Is(err, fs.ErrNotExist) {
		commonDir, err = gitDir, nil
	}
	if err != nil {
		return "", "", err
	}
	for _, name := range []string{"objects", "refs"} {
		if info, err := os.Stat(filepath.Join(commonDir, name)); err != nil || !info.IsDir() {
			return "", "", notRepository(path)
		}
	}
	return gitDir, commonDir, nil
}

func notRepository(path string) error {
	_, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &problem{ErrNotRepository, path + " does not exist"}
	case err != nil:
		return &problem{ErrNotRepository, err.Error()}
	}
	return &problem{ErrNotRepository, path + " is not a Git repository"}
}

// linkedDir reads a file that names a directory.
func linkedDir(file, prefix string) (string, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	dir, ok := strings.CutPrefix(strings.TrimSpace(string(b)), prefix)
	if !ok || dir == "" {
		return "", &problem{ErrNotRepository, fmt.Sprintf("%s does not name a directory", file)}
	}
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(filepath.Dir(file), dir)
	}
	return dir, nil
}

// openRepository opens the repository at path, not above it.
func openRepository(path string) (*repository, error) {
	gitDir, commonDir, err := locate(path)
	if err != nil {
		return nil, err
	}
	var files billy.Filesystem = osfs.New(gitDir)
	if commonDir != gitDir {
		files = dotgit.NewRepositoryFilesystem(files, osfs.New(commonDir))
	}
	known := cache.NewObjectLRUDefault()
	store := openStore(files, known)
	if _, err := git.Open(store, nil); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	stores := []*filesystem.Storage{store}
	for _, dir := range alternates(filepath.Join(commonDir, "objects"), 5) {
		stores = append(stores, openStore(osfs.New(filepath.Dir(dir)), known))
	}
	// go-git opens alternates anew for each object that it does not find at
	// home, so they are asked first and home last.
	slices.Reverse(stores)
	r := &repository{gitDir: gitDir, commonDir: commonDir, refs: store, objects: &objects{}}
	r.objects.take(known, stores...)
	return r, nil
}

// openStore keeps descriptors: without, each object costs opening its pack.
func openStore(files billy.Filesystem, known cache.Object) *filesystem.Storage {
	return filesystem.NewStorageWithOptions(files, known, filesystem.Options{
		KeepDescriptors: true,
		AlternatesFS:    osfs.New("/"),
	})
}

// alternates lists the object directories that a repository borrows from, as
// `git clone --reference` and --shared set them up.
func alternates(objectDir string, depth int) []string {
	b, err := os.ReadFile(filepath.Join(objectDir, "info", "alternates"))
	if err != nil || depth == 0 {
		return nil
	}
	var dirs []string
	for line := range strings.Lines(string(b)) {
		dir := strings.TrimSpace(line)
		if dir == "" || dir[0] == '#' {
			continue
		}
		if !filepath.IsAbs(dir) {
			dir = filepath.Join(objectDir, dir)
		}
		if filepath.Base(dir) == "objects" { // go-git finds objects by that name only
			dirs = append(append(dirs, dir), alternates(dir, depth-1)...)
		}
	}
	return dirs
}

func (r *repository) close() {
	r.objects.mu.Lock()
	defer r.objects.mu.Unlock()
	r.objects.close()
}

// ref returns what a full reference name stands for after all indirections,
// and the last name on the way. A reference that is not there is
// plumbing.ErrReferenceNotFound.
func (r *repository) ref(name plumbing.ReferenceName) (*plumbing.Reference, error) {
	ref, err := storer.ResolveReference(r.refs, name)
	if err == nil && ref.Hash().IsZero() {
		err = plumbing.ErrReferenceNotFound
	}
	return ref, err
}

// names returns the short names of all references below a prefix, sorted.
func (r *repository) names(prefix string) []string {
	var list []string
	all, err := r.refs.IterReferences()
	if err != nil {
		return nil
	}
	_ = all.ForEach(func(ref *plumbing.Reference) error {
		if short, ok := strings.CutPrefix(ref.Name().String(), prefix); ok {
			list = append(list, short)
		}
		return nil
	})
	slices.Sort(list)
	return list
}

// setRef makes a branch or other reference point to a commit, provided that it
// still is where old says (zero: it does not exist). Readers see the old or the
// new one: unlike go-git, which truncates and writes, this renames, under the
// lock file that git uses too.
func setRef(gitDir string, name plumbing.ReferenceName, to plumbing.Hash, unmoved func() bool) error {
	file := filepath.Join(gitDir, filepath.FromSlash(name.String()))
	if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
		return err
	}
	lock, err := os.OpenFile(file+".lock", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(lock, to)
	err = errors.Join(err, lock.Sync(), lock.Close())
	if err == nil && !unmoved() {
		err = errMoved
	}
	if err == nil {
		err = os.Rename(lock.Name(), file)
	}
	if err != nil {
		_ = os.Remove(lock.Name()) // the first error says why
	}
	return err
}

var errMoved = errors.New("somebody else moved it meanwhile")

// removeTemporary removes what an interrupted write left among the objects.
func removeTemporary(gitDir string) {
	left, _ := filepath.Glob(filepath.Join(gitDir, "objects", "pack", "tmp_*"))
	for _, file := range left {
		_ = os.Remove(file)
	}
}
