package source

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// resolve is what Resolve says. go-git's ResolveRevision takes a branch named
// like hex digits for a commit, panics on "^1", and cannot say that a clone is
// shallow.
func (c *Checkout) resolve(rev string) (*object.Commit, error) {
	if c.repo == nil {
		return nil, c.why
	}
	if strings.Contains(rev, "..") {
		return nil, fmt.Errorf("%q is a range; name one commit", rev)
	}
	base, steps := rev, ""
	if i := strings.IndexAny(rev, "~^"); i >= 0 {
		base, steps = rev[:i], rev[i:]
	}
	id, err := c.base(base)
	if err != nil {
		return nil, err
	}
	found, err := c.repo.objects.commit(id)
	for err == nil && steps != "" {
		found, steps, err = c.step(rev, found, steps)
	}
	if errors.Is(err, plumbing.ErrObjectNotFound) {
		err = &problem{ErrNoRevision, fmt.Sprintf("%s: commit %s is not in this clone; %s", rev, id, deepen)}
	}
	return found, err
}

// base finds the object that a revision without ~ and ^ names, in the order of
// gitrevisions(7).
func (c *Checkout) base(name string) (plumbing.Hash, error) {
	if name == "@" {
		name = "HEAD"
	}
	if plumbing.IsHash(name) {
		return plumbing.NewHash(name), nil
	}
	if name == "" || strings.ContainsAny(name, " :?*[\\{}\x7f") || strings.HasPrefix(name, "-") {
		return plumbing.ZeroHash, &problem{ErrNoRevision, fmt.Sprintf(
			"%q is not a revision that weft understands; name a branch, tag or commit, as in origin/main or HEAD~1", name)}
	}
	for _, rule := range plumbing.RefRevParseRules {
		if ref, err := c.repo.ref(plumbing.ReferenceName(fmt.Sprintf(rule, name))); err == nil {
			return ref.Hash(), nil
		}
	}
	ids := c.abbreviated(name)
	switch {
	case len(ids) == 1:
		return ids[0], nil
	case len(ids) > 1:
		return plumbing.ZeroHash, &problem{ErrNoRevision, fmt.Sprintf("%q is ambiguous: %d commits begin so; give more digits", name, len(ids))}
	}
	return plumbing.ZeroHash, c.unknown(name)
}

// abbreviated returns the commits and tags whose ids begin with some digits.
func (c *Checkout) abbreviated(digits string) []plumbing.Hash {
	digits = strings.ToLower(digits)
	even, err := hex.DecodeString(digits[:len(digits)&^1])
	if err != nil || len(digits) < 4 || strings.Trim(digits, "0123456789abcdef") != "" {
		return nil
	}
	o := c.repo.objects
	var ids []plumbing.Hash
	o.mu.Lock()
	for _, s := range o.stores {
		found, _ := s.HashesWithPrefix(even) // a store that cannot be read has none
		ids = append(ids, found...)
	}
	o.mu.Unlock()
	slices.SortFunc(ids, func(a, b plumbing.Hash) int { return strings.Compare(a.String(), b.String()) })
	return slices.DeleteFunc(slices.Compact(ids), func(id plumbing.Hash) bool {
		_, err := o.commit(id)
		return err != nil || !strings.HasPrefix(id.String(), digits)
	})
}

func (c *Checkout) unknown(name string) error {
	text := fmt.Sprintf("this repository has no branch, tag or commit %q", name)
	remote, _, isRemote := strings.Cut(name, "/")
	have := c.repo.names("refs/remotes/")
	switch {
	case len(have) > 0:
		text += "; its remote branches: " + enumerate(have)
	case isRemote:
		text += fmt.Sprintf("; nothing was fetched from %s (git fetch %s)", remote, remote)
	default:
		text += "; its branches: " + enumerate(c.repo.names("refs/heads/"))
	}
	return &problem{ErrNoRevision, text}
}

// step takes one ~ or ^ off steps and follows it from a commit.
func (c *Checkout) step(rev string, from *object.Commit, steps string) (*object.Commit, string, error) {
	kind, rest := steps[0], steps[1:]
	for _, peel := range []string{"{commit}", "{}"} {
		if after, ok := strings.CutPrefix(rest, peel); ok && kind == '^' {
			return from, after, nil
		}
	}
	digits := rest[:len(rest)-len(strings.TrimLeft(rest, "0123456789"))]
	rest = rest[len(digits):]
	n, err := 1, error(nil)
	if digits != "" {
		n, err = strconv.Atoi(digits)
	}
	if err != nil || rest != "" && rest[0] != '~' && rest[0] != '^' {
		return nil, "", &problem{ErrNoRevision, fmt.Sprintf("%q: weft understands ~N and ^N after a revision", rev)}
	}
	if kind == '^' {
		if n == 0 {
			return from, rest, nil
		}
		to, err := c.parent(rev, from, n)
		return to, rest, err
	}
	for range n {
		if from, err = c.parent(rev, from, 1); err != nil {
			return nil, "", err
		}
	}
	return from, rest, nil
}

// parent returns the n-th parent, from 1.
func (c *Checkout) parent(rev string, of *object.Commit, n int) (*object.Commit, error) {
	if len(of.ParentHashes) == 0 {
		return nil, &problem{ErrNoRevision, fmt.Sprintf("%s goes beyond the first commit, %s", rev, of.Hash)}
	}
	if n > len(of.ParentHashes) {
		return nil, &problem{ErrNoRevision, fmt.Sprintf("%s: commit %s has %d parents", rev, of.Hash, len(of.ParentHashes))}
	}
	p, err := c.repo.objects.commit(of.ParentHashes[n-1])
	if errors.Is(err, plumbing.ErrObjectNotFound) {
		return nil, &problem{ErrNoRevision, fmt.Sprintf(
			"%s is not in this clone, which ends at commit %s; %s", rev, of.Hash, deepen)}
	}
	return p, err
}
