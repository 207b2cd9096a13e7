package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
)

// ErrUnsigned says that a revision is not signed by a key of Config.Signers.
var ErrUnsigned = errors.New("not signed by a listed key")

const (
	armorPGP = "-----BEGIN PGP SIGNATURE-----"
	armorSSH = "-----BEGIN SSH SIGNATURE-----"

	// maxSignature bounds a signature; one of RSA 16384 has 3 KiB.
	maxSignature = 64 << 10
)

// Signed returns nil where the commit of a revision that is in the clone is
// signed by a key of Config.Signers, or where none is asked for. Where a tag is
// followed, the signature of the annotated tag that names the commit does as
// well. The file is read at each call, so a key that is taken out of it counts
// no longer. The error says why not and matches ErrUnsigned unless the clone
// could not be read.
//
// One commit is enough: its signature covers its tree and its parents by their
// ids, so everything that is applied and the history before it.
func (r *Repo) Signed(rev Revision) error {
	if r.cfg.Signers == "" {
		return nil
	}
	c, err := r.commit(rev)
	if err != nil {
		return err
	}
	by, err := readSigners(r.cfg.Signers)
	if err != nil {
		return &problem{ErrUnsigned, fmt.Sprintf("revision %s was not checked for its signature: %v", rev.Short(), err)}
	}
	raw, err := r.objects.readAs(plumbing.CommitObject, c.Hash)
	if err != nil {
		return err
	}
	now := time.Now()
	payload, signature, err := splitCommit(raw)
	if err == nil {
		err = by.verify(payload, signature, now)
	}
	if err == nil {
		return nil
	}
	if tagged := r.taggedBy(by, c.Hash, now); tagged == nil {
		return nil
	} else if !errors.Is(tagged, errNoTag) {
		err = fmt.Errorf("%w; its tag: %w", err, tagged)
	}
	return &problem{ErrUnsigned, fmt.Sprintf("revision %s is not signed by a listed key: %v", rev.Short(), err)}
}

// Descends reports whether a revision is a commit, or has it in its history. A
// commit that is not in the clone is in no history. What follows one commit by
// its id descends from anything: whoever wrote the id chose it.
func (r *Repo) Descends(ctx context.Context, rev Revision, from string) (bool, error) {
	if r.want.commit != "" || rev.Commit == from {
		return true, nil
	}
	return isAncestor(ctx, r.objects, plumbing.NewHash(from), plumbing.NewHash(rev.Commit))
}

var (
	errNoTag       = errors.New("there is no annotated tag")
	errNoSignature = errors.New("it has no signature")
)

// taggedBy checks the annotated tag under which a commit was found.
func (r *Repo) taggedBy(by *signers, commit plumbing.Hash, now time.Time) error {
	id := r.clone.tag()
	if r.want.tag == "" || id.IsZero() {
		return errNoTag
	}
	raw, err := r.objects.readAs(plumbing.TagObject, id)
	if err != nil {
		return err
	}
	payload, signature, err := splitTag(raw)
	if err != nil {
		return err
	}
	// The name is signed too: a tag cannot be passed off as another.
	head := fmt.Sprintf("object %s\ntype commit\ntag %s\n", commit, r.want.tag)
	if !bytes.HasPrefix(payload, []byte(head)) {
		return fmt.Errorf("it does not name this commit %q", r.want.tag)
	}
	return by.verify(payload, signature, now)
}

// splitCommit takes a commit as Git stores it apart into what was signed and
// the signature. Where Git would be lenient it fails, so that nobody reads a
// signed commit in two ways.
func splitCommit(raw []byte) (payload []byte, signature string, err error) {
	var sig []byte
	malformed := errors.New("it is no commit as git writes them")
	key, line := "", 0
	committed, found := false, false
	for rest := raw; len(rest) > 0; line++ {
		end := bytes.IndexByte(rest, '\n')
		if end < 0 {
			return nil, "", malformed
		}
		if end == 0 {
			payload = append(payload, rest...)
			break
		}
		text := rest[:end+1]
		rest = rest[end+1:]
		more := text[0] == ' '
		if !more {
			word, _, _ := bytes.Cut(text[:end], []byte{' '})
			key = string(word)
		}
		switch {
		case line == 0 && key != "tree", line > 0 && key == "tree", committed && key == "parent", more && !committed:
			return nil, "", malformed
		case key == "gpgsig" && !more && found:
			return nil, "", errors.New("it has two signatures")
		case key == "gpgsig" && !committed:
			return nil, "", malformed
		case key == "gpgsig" && more:
			sig = append(sig, text[1:]...)
		case key == "gpgsig":
			found = true
			sig = append(sig, text[len("gpgsig")+min(1, end-len("gpgsig")):]...)
		case key == "gpgsig-sha256": // of the same commit in a repository of the other kind
		default:
			payload = append(payload, text...)
		}
		committed = committed || key == "committer"
	}
	if !found {
		return nil, "", errNoSignature
	}
	return payload, string(sig), nil
}

// splitTag is splitCommit for an annotated tag, which ends in its signature.
func splitTag(raw []byte) (payload []byte, signature string, err error) {
	at := -1
	for _, armor := range []string{armorPGP, armorSSH} {
		at = max(at, bytes.LastIndex(raw, []byte("\n"+armor)))
	}
	if at < 0 {
		return nil, "", errNoSignature
	}
	return raw[:at+1], string(raw[at+1:]), nil
}
