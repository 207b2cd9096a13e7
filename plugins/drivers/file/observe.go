package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"weft.dev/reconcile/driver"
	"weft.dev/reconcile/resource"
)

// maxShown bounds what is read of one file. No element writes as much.
const maxShown = 16 << 20

// Observe implements driver.Driver. A file is seen with its real content, as
// one part of text, except when it has secret parts: then it is seen as it was
// asked for if nobody changed it, and with a sentence as content otherwise. The
// owner of what nobody wants and weft did not write is not known.
func (d *Driver) Observe(ctx context.Context, scope driver.Scope) (*resource.Observed, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := resource.NewObserved()
	root, err := os.OpenRoot(d.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return out, nil
	}
	if err != nil {
		return nil, fmt.Errorf("observe files: %w", err)
	}
	defer func() { _ = root.Close() }()
	shut := map[string]fs.FileMode{}
	err = fs.WalkDir(root.FS(), ".", func(name string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // gone since its directory was read
		}
		if err != nil || e.IsDir() {
			return errors.Join(err, ctx.Err(), d.enter(shut, name, e))
		}
		entry, err := d.look(root, name, e, scope.Desired)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if mode, ok := shut[path.Dir(name)]; ok {
			f := entry.State.(resource.File)
			f.Parts = words("content in a directory of mode %04o", mode)
			entry.State = f
		}
		out.Set.Put(entry)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("observe files: %w", err)
	}
	return out, nil
}

// enter notes in shut a directory that daemons may be unable to enter, and those
// below it.
func (d *Driver) enter(shut map[string]fs.FileMode, name string, e fs.DirEntry) error {
	if e == nil {
		return nil
	}
	info, err := e.Info()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	mode, above := shut[path.Dir(name)] // nothing is above the first
	if !above {
		mode = info.Mode().Perm()
	}
	if mode != dirMode {
		shut[name] = mode
	}
	return nil
}

// look observes what is called name, which is no directory.
func (d *Driver) look(root *os.Root, name string, e fs.DirEntry, desired resource.Set) (resource.Entry, error) {
	var m mark
	marked := d.marks.Load(markKey(name), &m) && m.Path == name
	f := resource.File{Path: name, Nic: m.Nic, Image: m.Image}
	owner := m.Owner
	want, wanted := desired[f.ID()].State.(resource.File)
	if !marked && wanted {
		// Another owner than the right one, so that the mark is written.
		owner = resource.Owner("host/" + d.host.Name)
	}
	info, err := e.Info()
	if err != nil {
		return resource.Entry{}, err
	}
	f.Mode = permissions(info.Mode())
	switch {
	case !info.Mode().IsRegular():
		f.Parts = words("something that is no file: %s", info.Mode().Type())
	case info.Size() > maxShown:
		f.Parts = words("%d bytes, more than weft writes", info.Size())
	case !marked && (!wanted || opaque(want)):
		f.Parts = words("content that weft did not write")
	default:
		content, err := readAll(root, name)
		if err != nil {
			return resource.Entry{}, err
		}
		if f.Parts, err = d.seen(m, content); err != nil {
			return resource.Entry{}, err
		}
	}
	return resource.Entry{State: f, Owner: owner}, nil
}

// seen is the content as an observed state has it.
func (d *Driver) seen(m mark, content []byte) ([]resource.Part, error) {
	if m.Sum == "" {
		return []resource.Part{{Text: string(content)}}, nil
	}
	sum, err := d.secret.sum(content)
	if err != nil {
		return nil, err
	}
	if sum != m.Sum {
		return words("content that was changed by hand and may hold secrets"), nil
	}
	return m.Parts, nil
}

// words is content that stands for what is not shown.
func words(format string, args ...any) []resource.Part {
	return []resource.Part{{Text: "(" + fmt.Sprintf(format, args...) + ")\n"}}
}

// permissions are the bits of a mode as chmod takes them, special ones
// included, so that one of those is seen as different.
func permissions(m fs.FileMode) uint32 {
	out := uint32(m.Perm())
	for bit, special := range map[uint32]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if m&special != 0 {
			out |= bit
		}
	}
	return out
}

func readAll(root *os.Root, name string) ([]byte, error) {
	f, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return io.ReadAll(io.LimitReader(f, maxShown+1))
}
