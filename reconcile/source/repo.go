package source

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/go-git/go-git/v5/config"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// Config says what a Repo follows.
type Config struct {
	// URL is https://, http://, ssh://, user@host:path, file:// or a path on
	// this machine. A user, password or token in it is used and kept out of
	// messages and the state directory.
	URL string
	// Branch, Tag or Commit (40 hex digits) is what is followed; at most one.
	// All empty: the branch that the repository's HEAD names.
	Branch, Tag, Commit string
	// Dir is the state directory, this Repo's alone; made when missing.
	Dir string
	// Poll is how often Watch wakes by itself, varied by 10 % either way; zero
	// is a minute, negative never.
	Poll time.Duration
	// Timeout bounds a Fetch; zero is 5 minutes.
	Timeout time.Duration
	// Credentials is a file of URLs with user and password, as
	// git-credential-store writes it. Empty: ~/.git-credentials, then ~/.netrc.
	Credentials string
	// Identity is a file with an ssh key without passphrase. Empty: the ssh
	// agent's keys, then those ~/.ssh/config names, then the usual ones.
	Identity string
	// Signers is a file of the keys that Signed accepts: armored GPG public
	// keys, and lines as in OpenSSH's authorized_keys or allowed_signers.
	// Empty: no signature is asked for.
	Signers string
}

const defaultTimeout = 5 * time.Minute

// A Repo follows a branch, tag or commit of a repository and keeps a clone of
// it.
type Repo struct {
	cfg   Config
	want  want
	from  upstream
	name  string // the URL without credentials
	path  string // of a repository on this machine
	clone clone

	lock    *os.File
	busy    chan struct{} // held by the one Fetch that runs
	objects *objects

	mu      sync.Mutex
	last    Revision
	refused refusal // used by the one Fetch that runs
}

// A refusal is a commit that came damaged even into a new clone. It is not
// cloned again at every poll.
type refusal struct {
	commit plumbing.Hash
	until  time.Time
	err    error
}

const refuseFor = 10 * time.Minute

// Open prepares to follow a repository; it does not ask it yet. What an
// earlier process fetched for the same URL and ref is there again, if it is
// whole. The directory stays locked until Close.
func Open(ctx context.Context, cfg Config) (*Repo, error) {
	w := want{cfg.Branch, cfg.Tag, cfg.Commit}
	if err := w.check(); err != nil {
		return nil, err
	}
	from, name, path, err := dial(cfg.URL, cfg.Credentials, cfg.Identity)
	if err != nil {
		return nil, err
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = defaultTimeout
	}
	if err := checkSigners(cfg.Signers, path); err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil || cfg.Dir == "" {
		return nil, errors.Join(errors.New("a state directory is needed for the clone"), err)
	}
	r := &Repo{
		cfg: cfg, want: w, from: from, name: name, path: path,
		clone: clone{dir: dir, origin: config.RemoteConfig{
			Name: "origin", URLs: []string{name}, Fetch: []config.RefSpec{config.RefSpec(w.refspec())},
		}},
		busy: make(chan struct{}, 1), objects: &objects{},
	}
	if r.lock, err = r.clone.acquire(); err != nil {
		return nil, err
	}
	if err := r.clone.tidy(); err != nil {
		return nil, errors.Join(err, r.lock.Close())
	}
	openObjects(r.objects, r.clone.path())
	if err := r.remember(ctx); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// remember makes what the clone's tip says the last revision, if all of it can
// be read.
func (r *Repo) remember(ctx context.Context) error {
	tip := r.clone.tip()
	if tip.IsZero() {
		return nil
	}
	if _, err := check(ctx, r.objects, tip); err != nil {
		r.objects.spoil()
		return ctx.Err() // the next Fetch makes a new clone
	}
	rev, err := r.revision(target{ref: r.clone.followed(), commit: tip})
	if err == nil {
		r.last = rev
	}
	return nil
}

// String returns the URL, without credentials.
func (r *Repo) String() string { return r.name }

// Close releases the state directory. Trees of the Repo cannot be read after
// it.
func (r *Repo) Close() error {
	r.objects.mu.Lock()
	defer r.objects.mu.Unlock()
	r.objects.close()
	return r.lock.Close()
}

// Last returns the revision that was fetched last, by this process or one
// before; false when there is none. It needs no network.
func (r *Repo) Last() (Revision, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last, r.last.Commit != ""
}

// Fetch asks the repository where the followed ref is, brings the commit if it
// is not here, and returns it. Where nothing moved this costs one question. On
// an error Last is what it was, and can still be read. A damaged clone is
// replaced by a new one.
//
// Calls wait for each other. The error matches ErrUnreachable, ErrDenied,
// ErrNoRevision or ErrNotRepository where one of them is the reason.
func (r *Repo) Fetch(ctx context.Context) (Revision, error) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	select {
	case r.busy <- struct{}{}:
	case <-ctx.Done():
		cancel()
		return Revision{}, fmt.Errorf("fetch %s: waiting for an earlier fetch: %w", r.name, ctx.Err())
	}
	type result struct {
		rev Revision
		err error
	}
	// go-git does not look at the context everywhere. A fetch that is given up
	// ends by its deadline and keeps the next one waiting until then.
	done := make(chan result, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				done <- result{err: fmt.Errorf("go-git: %v", p)}
			}
			cancel()
			<-r.busy
		}()
		rev, err := r.fetch(ctx)
		done <- result{rev, err}
	}()
	var res result
	select {
	case res = <-done:
	case <-ctx.Done():
		select {
		case res = <-done: // the reason is better than "too late"
		default:
			res.err = ctx.Err()
		}
	}
	if errors.Is(res.err, context.DeadlineExceeded) {
		res.err = &problem{ErrUnreachable, r.name + ": no answer in time"}
	}
	if res.err != nil {
		return Revision{}, fmt.Errorf("fetch: %w", res.err)
	}
	return res.rev, nil
}

func (r *Repo) fetch(ctx context.Context) (Revision, error) {
	last, _ := r.Last()
	old := r.clone.tip()
	if r.want.commit != "" && r.want.commit == last.Commit && !r.objects.isDamaged() {
		return last, nil
	}
	t, err := r.from.find(ctx, r.want)
	if err != nil {
		return Revision{}, err
	}
	if t.commit.String() == last.Commit && t.tag == r.clone.tag() && !r.objects.isDamaged() {
		last.Rewritten = false
		if t.short() != last.Ref {
			if err := setTip(r.clone.path(), t.ref, t.id(), t.commit); err != nil {
				return Revision{}, err
			}
			last.Ref = t.short()
		}
		return r.settle(last), nil
	}
	t.commit, err = r.bring(ctx, t)
	if err != nil {
		return Revision{}, err
	}
	rev, err := r.revision(t)
	if err != nil {
		return Revision{}, err
	}
	if !old.IsZero() && old != t.commit && r.want.commit == "" {
		fast := false
		if r.want.tag == "" {
			if fast, err = isAncestor(ctx, r.objects, old, t.commit); err != nil {
				return Revision{}, err
			}
		}
		rev.Rewritten = !fast
	}
	return r.settle(rev), nil
}

// settle makes a revision the last one.
func (r *Repo) settle(rev Revision) Revision {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last = rev
	r.last.Rewritten = false
	return rev
}

func (r *Repo) revision(t target) (Revision, error) {
	c, err := r.objects.commit(t.commit)
	if err != nil {
		return Revision{}, err
	}
	return revisionOf(t.short(), c), nil
}

// bring makes the clone hold t, verified, and its tip point there. It returns
// the commit.
func (r *Repo) bring(ctx context.Context, t target) (plumbing.Hash, error) {
	if last, ok := r.Last(); ok && last.Commit != "" && !r.objects.isDamaged() && !r.clone.crowded() {
		commit, err := r.add(ctx, t)
		if err == nil || !errors.Is(err, ErrDamaged) {
			return commit, err
		}
	}
	return r.renew(ctx, t)
}

// add brings t into the clone that is there.
func (r *Repo) add(ctx context.Context, t target) (plumbing.Hash, error) {
	id, err := r.from.pull(ctx, r.clone.path(), t)
	if err != nil {
		removeTemporary(r.clone.path())
		return plumbing.ZeroHash, err
	}
	r.objects.refresh()
	commit, err := check(ctx, r.objects, id)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	return commit, setTip(r.clone.path(), t.ref, id, commit)
}

// renew brings t into a new clone, which then replaces the old one.
func (r *Repo) renew(ctx context.Context, t target) (plumbing.Hash, error) {
	if r.refused.commit == t.commit && time.Now().Before(r.refused.until) {
		return plumbing.ZeroHash, r.refused.err
	}
	fresh := r.clone.fresh()
	defer func() { _ = os.RemoveAll(fresh) }() // renamed away where all went well
	if err := r.clone.init(fresh); err != nil {
		return plumbing.ZeroHash, err
	}
	id, err := r.from.pull(ctx, fresh, t)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	o := &objects{}
	openObjects(o, fresh)
	defer o.close()
	commit, err := check(ctx, o, id)
	if errors.Is(err, ErrDamaged) {
		err = &problem{errUpstreamDamaged, fmt.Sprintf("%s is damaged: %v", r.name, err)}
		r.refused = refusal{commit: t.commit, until: time.Now().Add(refuseFor), err: err}
	}
	if err != nil {
		return plumbing.ZeroHash, err
	}
	if err := setTip(fresh, t.ref, id, commit); err != nil {
		return plumbing.ZeroHash, err
	}
	return commit, r.clone.replace(r.objects, o.dirs)
}

// Tree returns the files of a revision that this Repo fetched. Where the clone
// turns out to be damaged, reading fails with ErrDamaged and the next Fetch
// heals it.
func (r *Repo) Tree(rev Revision) (Tree, error) {
	c, err := r.commit(rev)
	if err != nil {
		return nil, err
	}
	return newCommitTree(r.objects, c), nil
}

// Changed returns the paths whose content or kind differs between two
// revisions, sorted.
func (r *Repo) Changed(a, b Revision) ([]string, error) {
	from, err := r.commit(a)
	if err != nil {
		return nil, err
	}
	to, err := r.commit(b)
	if err != nil {
		return nil, err
	}
	return changed(r.objects, from.TreeHash, to.TreeHash)
}

func (r *Repo) commit(rev Revision) (*object.Commit, error) {
	c, err := r.objects.commit(plumbing.NewHash(rev.Commit))
	if errors.Is(err, plumbing.ErrObjectNotFound) || rev.Commit == "" {
		return nil, &problem{ErrNoRevision, fmt.Sprintf("%s is not in the clone of %s", rev, r.name)}
	}
	return c, err
}
