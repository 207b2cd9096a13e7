package source

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/transport"
)

// upstream is a repository that is followed.
type upstream interface {
	// find says where what is wanted is now.
	find(ctx context.Context, w want) (target, error)
	// pull brings all that t needs into the bare repository at gitDir, and
	// returns what it got: t's ref may have moved since find.
	pull(ctx context.Context, gitDir string, t target) (plumbing.Hash, error)
}

// want is what a Config asks for; all empty means the default branch.
type want struct{ branch, tag, commit string }

// refspec is how the clone's config notes what it follows.
func (w want) refspec() string {
	src := "HEAD"
	switch {
	case w.branch != "":
		src = plumbing.NewBranchReferenceName(w.branch).String()
	case w.tag != "":
		src = plumbing.NewTagReferenceName(w.tag).String()
	case w.commit != "":
		src = w.commit
	}
	return "+" + src + ":" + tipName.String()
}

func (w want) check() error {
	set := 0
	for _, s := range []string{w.branch, w.tag, w.commit} {
		if s != "" {
			set++
		}
	}
	switch {
	case set > 1:
		return errors.New("follow a branch, a tag or a commit, not two of them")
	case w.branch != "" && plumbing.NewBranchReferenceName(w.branch).Validate() != nil:
		return fmt.Errorf("%q cannot be the name of a branch", w.branch)
	case w.tag != "" && plumbing.NewTagReferenceName(w.tag).Validate() != nil:
		return fmt.Errorf("%q cannot be the name of a tag", w.tag)
	case w.commit != "" && !plumbing.IsHash(w.commit):
		return fmt.Errorf("%q is not a commit id of 40 hex digits", w.commit)
	}
	return nil
}

// target is what was wanted as it was found.
type target struct {
	ref    plumbing.ReferenceName // empty: the commit itself
	commit plumbing.Hash          // zero: not known before it is pulled
	tag    plumbing.Hash          // the annotated tag that names it; zero: none
}

// id is what the ref names: the tag, or else the commit.
func (t target) id() plumbing.Hash {
	if t.tag.IsZero() {
		return t.commit
	}
	return t.tag
}

// short is the ref as users write it.
func (t target) short() string {
	if t.ref == "" || t.ref == plumbing.HEAD {
		return ""
	}
	return t.ref.Short()
}

// missing says that a repository lacks what is wanted, and what it has instead.
func missing(where, kind, name string, plural string, have []string) error {
	text := fmt.Sprintf("%s has no %s %q", where, kind, name)
	switch {
	case len(have) == 0 && kind == "branch":
		text += "; it has no branch at all, so nothing was pushed yet"
	case len(have) > 0:
		text += "; its " + plural + ": " + enumerate(have)
	}
	return &problem{ErrNoRevision, text}
}

func missingDefault(where string, branches []string) error {
	if len(branches) == 0 {
		return &problem{ErrNoRevision, where + " is empty: it has no commit yet"}
	}
	return &problem{ErrNoRevision, fmt.Sprintf("%s has no default branch; name one of: %s", where, enumerate(branches))}
}

func missingCommit(where, commit string) error {
	return &problem{ErrNoRevision, fmt.Sprintf("%s has no commit %s on any branch or tag", where, commit)}
}

// enumerate joins names for a message, of many only the first.
func enumerate(names []string) string {
	const limit = 20
	clean := make([]string, 0, limit)
	for _, n := range names[:min(len(names), limit)] {
		clean = append(clean, printable(n))
	}
	text := strings.Join(clean, ", ")
	if more := len(names) - limit; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// dial makes the upstream of a URL. The name it returns is the URL without
// credentials, for messages; path is set where the repository is on this
// machine.
func dial(raw string, credentials, identity string) (up upstream, name, path string, err error) {
	end, err := transport.NewEndpoint(raw)
	if err != nil || raw == "" {
		return nil, "", "", errors.New("the repository's URL is neither a path nor a URL") // err quotes it
	}
	switch end.Protocol {
	case "file":
		if end.Host != "" && end.Host != "localhost" {
			return nil, "", "", fmt.Errorf("file://%s/ is not on this machine", end.Host)
		}
		path := filepath.Clean(end.Path)
		return &neighbour{path: path}, path, path, nil
	case "ssh":
		if end.Password != "" {
			return nil, "", "", errors.New("the repository's URL has a password: ssh needs a key")
		}
		r := &remote{url: raw, user: end.User, host: end.Host, ssh: true, identity: identity}
		return r, raw, "", nil
	case "http", "https":
		u, err := url.Parse(raw)
		if err != nil {
			return nil, "", "", errors.New("the repository's URL is not a URL")
		}
		if u.RawQuery != "" {
			return nil, "", "", errors.New("the repository's URL has a query; put user and token before the host")
		}
		r := &remote{host: u.Host, credentials: credentials}
		if u.User != nil {
			r.user = u.User.Username()
			r.password, _ = u.User.Password()
		}
		u.User, u.Fragment = nil, ""
		r.url = u.String()
		return r, r.url, "", nil
	case "git":
		return nil, "", "", errors.New("git:// is neither private nor authenticated; use https or ssh")
	}
	return nil, "", "", fmt.Errorf("cannot fetch by %q; use https, ssh or a path", end.Protocol)
}

// neighbour is a repository on this machine. It is read in this process, as go-git's
// file transport would run git-upload-pack.
type neighbour struct{ path string }

func (n *neighbour) find(_ context.Context, w want) (target, error) {
	repo, err := openRepository(n.path)
	if err != nil {
		return target{}, err
	}
	defer repo.close()
	t := target{ref: plumbing.HEAD}
	switch {
	case w.branch != "":
		t.ref = plumbing.NewBranchReferenceName(w.branch)
	case w.tag != "":
		t.ref = plumbing.NewTagReferenceName(w.tag)
	case w.commit != "":
		if _, err := repo.objects.commit(plumbing.NewHash(w.commit)); errors.Is(err, plumbing.ErrObjectNotFound) {
			return target{}, missingCommit(n.path, w.commit)
		}
		return target{commit: plumbing.NewHash(w.commit)}, nil
	}
	ref, err := repo.ref(t.ref)
	if errors.Is(err, plumbing.ErrReferenceNotFound) {
		return target{}, n.lacks(repo, w)
	}
	if err != nil {
		return target{}, fmt.Errorf("%s: %w", n.path, err)
	}
	c, err := repo.objects.commit(ref.Hash())
	if err != nil {
		return target{}, n.broken(fmt.Errorf("%s: %w", ref.Name(), err))
	}
	t = target{ref: ref.Name(), commit: c.Hash}
	if ref.Hash() != c.Hash {
		t.tag = ref.Hash()
	}
	return t, nil
}

func (n *neighbour) lacks(repo *repository, w want) error {
	switch {
	case w.tag != "":
		return missing(n.path, "tag", w.tag, "tags", repo.names("refs/tags/"))
	case w.branch != "":
		return missing(n.path, "branch", w.branch, "branches", repo.names("refs/heads/"))
	}
	return missingDefault(n.path, repo.names("refs/heads/"))
}

func (n *neighbour) pull(ctx context.Context, gitDir string, t target) (plumbing.Hash, error) {
	id, err := n.copy(ctx, gitDir, t)
	if errors.Is(err, errUpstreamDamaged) {
		// A git gc over there may have moved objects under our hands.
		removeTemporary(gitDir)
		id, err = n.copy(ctx, gitDir, t)
	}
	return id, err
}

func (n *neighbour) copy(ctx context.Context, gitDir string, t target) (plumbing.Hash, error) {
	src, err := openRepository(n.path)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	defer src.close()
	dst, err := openRepository(gitDir)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	defer dst.close()
	ids, err := lacking(ctx, src.objects, dst.objects, t.commit)
	if err == nil {
		var more []plumbing.Hash
		more, err = tags(src.objects, t.tag, t.commit)
		ids = append(ids, slices.DeleteFunc(more, dst.objects.has)...)
	}
	if err != nil {
		return plumbing.ZeroHash, n.broken(err)
	}
	read := func(id plumbing.Hash) (plumbing.ObjectType, []byte, error) {
		typ, content, err := src.objects.readUpTo(id, maxCopied)
		if errors.Is(err, plumbing.ErrObjectNotFound) {
			err = &problem{ErrDamaged, fmt.Sprintf("object %s is missing", id)}
		}
		return typ, content, err
	}
	return t.id(), n.broken(write(ctx, gitDir, ids, read))
}

// broken says that the damage is in the repository that is followed, where a
// new clone cannot heal it.
func (n *neighbour) broken(err error) error {
	if errors.Is(err, ErrDamaged) || errors.Is(err, plumbing.ErrObjectNotFound) {
		return &problem{errUpstreamDamaged, fmt.Sprintf("%s is damaged: %v", n.path, err)}
	}
	return err
}

var errUpstreamDamaged = errors.New("the repository that is followed is damaged")
