package file

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"weft.dev/reconcile/host"
	"weft.dev/reconcile/plan"
	"weft.dev/reconcile/resource"
)

// temporary is where content waits to be renamed; one at a time.
const temporary = ".new"

// Do implements driver.Driver.
func (d *Driver) Do(ctx context.Context, steps []*plan.Step) []error {
	d.mu.Lock()
	defer d.mu.Unlock()
	errs := make([]error, len(steps))
	root, err := d.root()
	if err != nil {
		for i := range errs {
			errs[i] = fmt.Errorf("directory of files: %w", err)
		}
		return errs
	}
	defer func() { _ = root.Close() }()
	failed := map[int]bool{}
	for i, s := range steps {
		errs[i] = ctx.Err()
		for _, before := range s.After {
			if failed[before] {
				errs[i] = plan.ErrSkipped
			}
		}
		if errs[i] == nil {
			errs[i] = d.do(ctx, root, s)
		}
		failed[s.Index] = errs[i] != nil
	}
	return errs
}

func (d *Driver) do(ctx context.Context, root *os.Root, s *plan.Step) error {
	if s.Drop {
		if err := d.drop(root, s.ID().Name); err != nil {
			return fmt.Errorf("remove file %s: %w", s.ID().Name, err)
		}
		return nil
	}
	f, ok := s.State().(resource.File)
	if !ok {
		panic(fmt.Sprintf("the file driver was given a %T", s.State()))
	}
	if err := d.write(ctx, root, f, s.Owner()); err != nil {
		return fmt.Errorf("write file %s: %w", f.Path, err)
	}
	return nil
}

// write makes f true. The mark of a file with secrets is written before it and
// that of another after it: whatever happens in between, secrets are not taken
// for text.
func (d *Driver) write(ctx context.Context, root *os.Root, f resource.File, owner resource.Owner) error {
	if err := check(f.Path); err != nil {
		return err
	}
	content, m, err := d.render(ctx, f)
	if err != nil {
		return err
	}
	if err := d.test(ctx, root, f, content); err != nil {
		return err
	}
	m.Owner = owner
	if m.Sum != "" {
		if err := d.marks.Put(markKey(f.Path), m); err != nil {
			return err
		}
	}
	if err := makeRoom(root, f.Path); err != nil {
		return err
	}
	if err := replace(root, f.Path, content, fs.FileMode(f.Mode)&fs.ModePerm); err != nil {
		return err
	}
	if m.Sum == "" {
		return d.marks.Put(markKey(f.Path), m)
	}
	return nil
}

// testTime bounds a test of content.
const testTime = 10 * time.Second

// test runs the command that checks content, which lies where it is about to be
// written for so long.
func (d *Driver) test(ctx context.Context, root *os.Root, f resource.File, content []byte) error {
	if len(f.Test) == 0 {
		return nil
	}
	if err := put(root, content, 0o600); err != nil {
		return err
	}
	defer func() { _ = root.Remove(temporary) }()
	ctx, cancel := context.WithTimeout(ctx, testTime)
	defer cancel()
	words := strings.NewReplacer("{file}", filepath.Join(d.dir, temporary), "{weft}", d.weft)
	var argv []string
	for _, word := range f.Test {
		argv = append(argv, words.Replace(word))
	}
	_, err := d.host.Run(ctx, "", nil, argv...)
	var refused *host.CommandError
	if errors.As(err, &refused) && refused.Stderr != "" {
		return fmt.Errorf("what was there before stays: %s", refused.Stderr)
	}
	return err
}

// render opens the secrets of f.
func (d *Driver) render(ctx context.Context, f resource.File) ([]byte, mark, error) {
	m := mark{Path: f.Path, Nic: f.Nic, Image: f.Image}
	content, err := d.content(ctx, f)
	if err != nil || !opaque(f) {
		return content, m, err
	}
	if m.Parts, err = d.fill(f.Parts); err != nil {
		return nil, m, err
	}
	m.Parts = resource.File{Parts: m.Parts}.Redacted().Parts
	m.Sum, err = d.secret.sum(content)
	return content, m, err
}

// makeRoom makes the directories of p. What is in the way is ours, like all
// below the root, and no desired file: it goes.
func makeRoom(root *os.Root, p string) error {
	dirs := strings.Split(p, "/")
	for i := 1; i < len(dirs); i++ {
		dir := path.Join(dirs[:i]...)
		info, err := root.Lstat(dir)
		if err == nil && info.IsDir() {
			if info.Mode().Perm() == dirMode {
				continue
			}
			if err := root.Chmod(dir, dirMode); err != nil {
				return err
			}
			continue
		}
		if err == nil {
			err = root.Remove(dir)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := errors.Join(root.Mkdir(dir, dirMode), root.Chmod(dir, dirMode)); err != nil {
			return err
		}
	}
	if info, err := root.Lstat(p); err == nil && info.IsDir() {
		return root.RemoveAll(p)
	}
	return nil
}

// replace puts content at p in one rename, or changes the mode only where the
// content is right: a rename would wake who watches the file.
func replace(root *os.Root, p string, content []byte, mode fs.FileMode) error {
	if info, err := root.Lstat(p); err == nil && info.Mode().IsRegular() && info.Size() == int64(len(content)) {
		if old, err := readAll(root, p); err == nil && bytes.Equal(old, content) {
			return root.Chmod(p, mode)
		}
	}
	err := put(root, content, mode)
	if err == nil {
		err = root.Rename(temporary, p)
	}
	if err != nil {
		_ = root.Remove(temporary)
	}
	return err
}

// put writes content where it waits to be renamed.
func put(root *os.Root, content []byte, mode fs.FileMode) error {
	if err := root.RemoveAll(temporary); err != nil {
		return err
	}
	f, err := root.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Chmod(mode), f.Close())
}

// drop removes p and the directories that it leaves empty.
func (d *Driver) drop(root *os.Root, p string) error {
	if err := root.RemoveAll(p); err != nil {
		return err
	}
	for dir := path.Dir(p); dir != "."; dir = path.Dir(dir) {
		if root.Remove(dir) != nil {
			break // not empty
		}
	}
	return d.marks.Drop(markKey(p))
}
