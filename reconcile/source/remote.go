package source

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/config"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/transport"
	"github.com/go-git/go-git/v5/storage"
	"github.com/go-git/go-git/v5/storage/filesystem"
	"github.com/go-git/go-git/v5/storage/memory"
	"github.com/skeema/knownhosts"
)

// answerWithin is how long a remote may take to say what it has. A transfer may
// take all of Config.Timeout.
const answerWithin = 30 * time.Second

// remote is a repository behind https or ssh.
type remote struct {
	url  string // without credentials
	host string
	ssh  bool

	user, password        string   // from the URL
	credentials, identity string   // files, see Config
	secrets               []string // not to be shown; set by auth
}

func (r *remote) open(ctx context.Context, s storage.Storer) (*git.Remote, transport.AuthMethod, transport.ProxyOptions, error) {
	auth, err := r.auth()
	if err != nil {
		return nil, nil, transport.ProxyOptions{}, err
	}
	var proxy transport.ProxyOptions
	if r.ssh {
		proxy = deadlineProxy(ctx)
	}
	c := &config.RemoteConfig{Name: "origin", URLs: []string{r.url}}
	return git.NewRemote(s, c), auth, proxy, nil
}

func (r *remote) find(ctx context.Context, w want) (target, error) {
	if w.commit != "" {
		return target{commit: plumbing.NewHash(w.commit)}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	origin, auth, proxy, err := r.open(ctx, memory.NewStorage())
	if err != nil {
		return target{}, err
	}
	refs, err := origin.ListContext(ctx, &git.ListOptions{
		Auth: auth, ProxyOptions: proxy, PeelingOption: git.AppendPeeled,
	})
	if err != nil && !errors.Is(err, transport.ErrEmptyRemoteRepository) {
		return target{}, r.explain(ctx, err)
	}
	return r.choose(w, refs)
}

// choose finds what is wanted among the advertised references.
func (r *remote) choose(w want, refs []*plumbing.Reference) (target, error) {
	at := map[plumbing.ReferenceName]*plumbing.Reference{}
	for _, ref := range refs {
		at[ref.Name()] = ref
	}
	name := plumbing.HEAD
	switch {
	case w.branch != "":
		name = plumbing.NewBranchReferenceName(w.branch)
	case w.tag != "":
		name = plumbing.NewTagReferenceName(w.tag)
	}
	for range 5 { // HEAD is a symbolic reference
		ref := at[name]
		if ref == nil || ref.Type() != plumbing.SymbolicReference {
			break
		}
		name = ref.Target()
	}
	if peeled := at[name+"^{}"]; peeled != nil {
		t := target{ref: name, commit: peeled.Hash()}
		if ref := at[name]; ref != nil {
			t.tag = ref.Hash()
		}
		return t, nil
	}
	if ref := at[name]; ref != nil && ref.Type() == plumbing.HashReference && name.Validate() == nil {
		return target{ref: name, commit: ref.Hash()}, nil
	}
	switch {
	case w.tag != "":
		return target{}, missing(r.url, "tag", w.tag, "tags", shorten(refs, "refs/tags/"))
	case w.branch != "":
		return target{}, missing(r.url, "branch", w.branch, "branches", shorten(refs, "refs/heads/"))
	}
	return target{}, missingDefault(r.url, shorten(refs, "refs/heads/"))
}

func shorten(refs []*plumbing.Reference, prefix string) []string {
	var names []string
	for _, ref := range refs {
		name, ok := strings.CutPrefix(ref.Name().String(), prefix)
		if ok && !strings.HasSuffix(name, "^{}") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// pull fetches into refs/weft/incoming. There is no Depth: go-git then fetches
// everything anew each time.
func (r *remote) pull(ctx context.Context, gitDir string, t target) (plumbing.Hash, error) {
	store := filesystem.NewStorage(osfs.New(gitDir), cache.NewObjectLRUDefault())
	defer func() { _ = store.Close() }()
	if t.ref != "" {
		if err := r.fetch(ctx, store, "+"+t.ref.String()+":"+incoming.String()); err != nil {
			return plumbing.ZeroHash, r.explain(ctx, err)
		}
		ref, err := store.Reference(incoming)
		if err != nil {
			return plumbing.ZeroHash, err
		}
		return ref.Hash(), nil
	}
	err := r.fetch(ctx, store, t.commit.String()+":"+incoming.String())
	if err != nil && ctx.Err() == nil {
		// Not every server gives out a commit by its id alone.
		err = r.fetch(ctx, store, "+refs/heads/*:refs/weft/heads/*", "+refs/tags/*:refs/weft/tags/*")
	}
	if err != nil {
		return plumbing.ZeroHash, r.explain(ctx, err)
	}
	if store.HasEncodedObject(t.commit) != nil {
		return plumbing.ZeroHash, missingCommit(r.url, t.commit.String())
	}
	return t.commit, nil
}

func (r *remote) fetch(ctx context.Context, store *filesystem.Storage, specs ...string) error {
	origin, auth, proxy, err := r.open(ctx, store)
	if err != nil {
		return err
	}
	o := &git.FetchOptions{Auth: auth, ProxyOptions: proxy, Tags: git.NoTags, Force: true}
	for _, s := range specs {
		o.RefSpecs = append(o.RefSpecs, config.RefSpec(s))
	}
	err = origin.FetchContext(ctx, o)
	if errors.Is(err, git.NoErrAlreadyUpToDate) {
		return nil
	}
	return err
}

// explain puts an error of a transport into the words of somebody who uses
// git, without anything that is secret.
func (r *remote) explain(ctx context.Context, err error) error {
	var said *problem
	if errors.As(err, &said) {
		return said
	}
	kind := ErrUnreachable
	var text string
	var dns *net.DNSError
	var timeout net.Error
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return ctx.Err()
	case errors.Is(err, transport.ErrAuthenticationRequired):
		kind, text = ErrDenied, "it asks for a user and a password or token, and "+r.offered()
	case errors.Is(err, transport.ErrAuthorizationFailed):
		kind, text = ErrDenied, "these credentials may not read it"
	case errors.Is(err, transport.ErrRepositoryNotFound):
		kind, text = ErrDenied, "there is no such repository, or these credentials may not see it"
	case knownhosts.IsHostKeyChanged(err):
		kind, text = ErrDenied, "the host's key is not the one in known_hosts; somebody may be in between"
	case knownhosts.IsHostUnknown(err), r.ssh && strings.Contains(err.Error(), "known_hosts file"): // go-git: there is none
		kind, text = ErrDenied, "the host's key is not in known_hosts; add it after checking: ssh-keyscan "+r.host
	case strings.Contains(err.Error(), "unable to authenticate"): // x/crypto/ssh has no error value for it
		kind, text = ErrDenied, "it accepts none of the keys: "+r.offered()
	case errors.As(err, &dns) && dns.IsNotFound:
		text = fmt.Sprintf("there is no host named %s", dns.Name)
	case errors.Is(err, syscall.ECONNREFUSED):
		text = "the host refuses connections at that port"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		text = "no answer in time"
	default:
		text = r.scrub(err.Error())
	}
	return &problem{kind, r.url + ": " + text}
}

// scrub makes a foreign message fit to show: one line, no secrets.
func (r *remote) scrub(text string) string {
	for _, secret := range r.secrets {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "***")
		}
	}
	if !r.ssh && r.user != "" { // a token is often given as the user
		text = strings.ReplaceAll(text, r.user, "***")
	}
	return printable(strings.Join(strings.Fields(text), " "))
}
