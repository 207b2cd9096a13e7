package source

import (
	"path"
	"slices"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
)

// changed lists the files that differ between two directories, sorted. Equal
// directories are not read.
func changed(o *objects, a, b plumbing.Hash) ([]string, error) {
	d := &difference{objects: o}
	if err := d.dirs("", entry{mode: filemode.Dir, id: a}, entry{mode: filemode.Dir, id: b}); err != nil {
		return nil, err
	}
	slices.Sort(d.paths)
	return d.paths, nil
}

type difference struct {
	objects *objects
	paths   []string
}

// dirs compares two entries as directories; what is none has no entries.
func (d *difference) dirs(at string, a, b entry) error {
	if a == b {
		return nil
	}
	left, err := d.entries(a)
	if err != nil {
		return err
	}
	right, err := d.entries(b)
	if err != nil {
		return err
	}
	for len(left) > 0 || len(right) > 0 {
		var x, y entry
		switch {
		case len(right) == 0 || len(left) > 0 && left[0].name < right[0].name:
			x, left = left[0], left[1:]
		case len(left) == 0 || right[0].name < left[0].name:
			y, right = right[0], right[1:]
		default:
			x, left, y, right = left[0], left[1:], right[0], right[1:]
		}
		if err := d.pair(at, x, y); err != nil {
			return err
		}
	}
	return nil
}

func (d *difference) entries(e entry) ([]entry, error) {
	if e.mode != filemode.Dir {
		return nil, nil
	}
	list, err := d.objects.dir(e.id)
	if err != nil {
		return nil, err
	}
	return list.entries, nil
}

// pair compares what one name stands for; a zero entry is absence.
func (d *difference) pair(at string, a, b entry) error {
	if a == b {
		return nil
	}
	name := path.Join(at, max(a.name, b.name))
	if isFile(a) || isFile(b) {
		d.paths = append(d.paths, name)
	}
	if a.mode == filemode.Dir || b.mode == filemode.Dir {
		a.name, b.name = "", ""
		return d.dirs(name, a, b)
	}
	return nil
}

func isFile(e entry) bool { return e.name != "" && e.mode != filemode.Dir }
