package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/utils/diff"
	"github.com/sergi/go-diff/diffmatchpatch"
)

// ErrUncommitted is Blame's answer for a line that no commit has yet.
var ErrUncommitted = errors.New("is not committed yet")

// Blame returns the commit that gave a line (from 1) of a file, as it is in the
// work tree, the form that it has. The Revision's Ref is empty. It follows the
// one line through history, and not through renames; it may read much of the
// file's history. In a shallow clone the oldest commit takes the blame.
func (c *Checkout) Blame(ctx context.Context, file string, line int) (Revision, error) {
	head, err := c.Head()
	if err != nil {
		return Revision{}, err
	}
	at, err := c.repo.objects.commit(plumbing.NewHash(head.Commit))
	if err != nil {
		return Revision{}, err
	}
	name := path.Join(c.prefix, file)
	blob := c.blob(at, name)
	if line, err = c.committedLine(file, line, blob); err != nil {
		return Revision{}, fmt.Errorf("%s:%d %w", file, line, err)
	}
	shallow := c.shallow()
	for {
		if err := ctx.Err(); err != nil {
			return Revision{}, err
		}
		var parents []plumbing.Hash
		if !shallow[at.Hash] {
			parents = at.ParentHashes
		}
		next, nextBlob, nextLine, err := c.origin(parents, name, blob, line)
		if err != nil {
			return Revision{}, err
		}
		if next == nil {
			return revisionOf("", at), nil
		}
		at, blob, line = next, nextBlob, nextLine
	}
}

// blob returns the id of a file's content in a commit, zero where it has none.
func (c *Checkout) blob(at *object.Commit, name string) plumbing.Hash {
	id, _ := newCommitTree(c.repo.objects, at).BlobID(name)
	return plumbing.NewHash(id) // of "" it is zero
}

// committedLine returns where a line of the work tree is in a blob.
func (c *Checkout) committedLine(file string, line int, blob plumbing.Hash) (int, error) {
	tree, err := c.WorkTree()
	if err != nil {
		return line, err
	}
	defer func() { _ = tree.Close() }()
	now, err := tree.ReadFile(file)
	if err != nil {
		return line, err
	}
	if lines := bytes.Count(now, []byte("\n")) + 1; line < 1 || line > lines {
		return line, fmt.Errorf("is not a line: the file has %d", lines)
	}
	if blob.IsZero() {
		return line, ErrUncommitted
	}
	if objectID(plumbing.BlobObject, now) == blob {
		return line, nil
	}
	was, err := c.repo.objects.readAs(plumbing.BlobObject, blob)
	if err != nil {
		return line, err
	}
	if n := sameLine(string(was), string(now), line); n > 0 {
		return n, nil
	}
	return line, ErrUncommitted
}

// origin returns the first parent that has the line already, nil if none has.
func (c *Checkout) origin(parents []plumbing.Hash, name string, blob plumbing.Hash, line int) (
	*object.Commit, plumbing.Hash, int, error,
) {
	type candidate struct {
		commit *object.Commit
		blob   plumbing.Hash
	}
	var have []candidate
	for _, id := range parents {
		p, err := c.repo.objects.commit(id)
		if err != nil {
			return nil, plumbing.ZeroHash, 0, fmt.Errorf("commit %s: %w", id, err)
		}
		b := c.blob(p, name)
		if b == blob { // the whole file came from there
			return p, b, line, nil
		}
		if !b.IsZero() {
			have = append(have, candidate{p, b})
		}
	}
	if len(have) == 0 {
		return nil, plumbing.ZeroHash, 0, nil
	}
	now, err := c.repo.objects.readAs(plumbing.BlobObject, blob)
	if err != nil {
		return nil, plumbing.ZeroHash, 0, err
	}
	for _, p := range have {
		was, err := c.repo.objects.readAs(plumbing.BlobObject, p.blob)
		if err != nil {
			return nil, plumbing.ZeroHash, 0, err
		}
		if n := sameLine(string(was), string(now), line); n > 0 {
			return p.commit, p.blob, n, nil
		}
	}
	return nil, plumbing.ZeroHash, 0, nil
}

// sameLine returns where a line of now was in was, 0 if it was not there.
func sameLine(was, now string, line int) int {
	inWas, inNow := 0, 0
	for _, d := range diff.DoWithTimeout(was, now, 5*time.Second) {
		n := countLines(d.Text)
		switch d.Type {
		case diffmatchpatch.DiffDelete:
			inWas += n
		case diffmatchpatch.DiffInsert:
			if inNow += n; line <= inNow {
				return 0
			}
		case diffmatchpatch.DiffEqual:
			if line <= inNow+n {
				return inWas + line - inNow
			}
			inWas, inNow = inWas+n, inNow+n
		}
	}
	return 0
}

// countLines counts lines, the last one also without its newline.
func countLines(s string) int {
	n := bytes.Count([]byte(s), []byte("\n"))
	if s != "" && s[len(s)-1] != '\n' {
		n++
	}
	return n
}
