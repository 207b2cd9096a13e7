package source

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// tagName is the annotated tag that was followed to the tip, if there was one.
const tagName = plumbing.ReferenceName("refs/weft/tag")

// tag returns where tagName points, zero for nowhere.
func (c clone) tag() plumbing.Hash {
	b, err := os.ReadFile(filepath.Join(c.path(), filepath.FromSlash(tagName.String())))
	id := strings.TrimSpace(string(b))
	if err != nil || !plumbing.IsHash(id) {
		return plumbing.ZeroHash
	}
	return plumbing.NewHash(id)
}

// setTag notes which object led to a commit, in the clone at path.
func setTag(path string, found, commit plumbing.Hash) error {
	if found != commit {
		return setRef(path, tagName, found, func() bool { return true })
	}
	err := os.Remove(filepath.Join(path, filepath.FromSlash(tagName.String())))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// tags lists the annotated tags from id to the commit, the innermost first.
func tags(o *objects, id, commit plumbing.Hash) ([]plumbing.Hash, error) {
	var ids []plumbing.Hash
	for range 10 { // as deep as objects.commit goes
		if id.IsZero() || id == commit {
			return ids, nil
		}
		content, err := o.readAs(plumbing.TagObject, id)
		if err != nil {
			return nil, err
		}
		raw, t := &plumbing.MemoryObject{}, &object.Tag{}
		raw.SetType(plumbing.TagObject)
		_, _ = raw.Write(content) // memory
		if err := t.Decode(raw); err != nil {
			return nil, &problem{ErrDamaged, fmt.Sprintf("tag %s: %v", id, err)}
		}
		ids = append([]plumbing.Hash{id}, ids...)
		id = t.Target
	}
	return nil, &problem{ErrNoRevision, fmt.Sprintf("tag %s names a tag that names a tag, without end", id)}
}
