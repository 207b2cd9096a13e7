package agent

import (
	"context"

	"weft.dev/reconcile/source"
)

// Signatures decide which revisions may be followed; *source.Repo is one.
type Signatures interface {
	// Signed says why a revision is not signed as it should be.
	Signed(rev source.Revision) error
	// Descends reports whether a commit is rev or in its history.
	Descends(ctx context.Context, rev source.Revision, commit string) (bool, error)
}

func (a *Agent) signed(rev source.Revision) error {
	if a.Signatures == nil {
		return nil
	}
	return a.Signatures.Signed(rev)
}

// alsoSigned checks what is to be followed, perhaps in place of what was
// observed.
func (f *follower) alsoSigned(rev source.Revision, n *news) bool {
	if rev.Commit == n.tried.Commit {
		return n.unsigned == nil // it was checked as what was observed
	}
	err := f.signed(rev)
	if n.unsigned == nil {
		n.unsigned = err
	}
	return err == nil
}

// rewritten reports whether rev has left the history that is followed. Where
// signatures are asked for, what was fetched and never followed does not count:
// an unsigned commit may be replaced by a signed one, and cannot lead back to a
// signed one that is older.
func (f *follower) rewritten(ctx context.Context, rev source.Revision, s state) (bool, error) {
	if s.Followed == "" || rev.Commit == s.Followed {
		return false, nil
	}
	if f.Signatures == nil || rev.Commit == s.Refused {
		return rev.Rewritten || rev.Commit == s.Refused, nil
	}
	ok, err := f.Signatures.Descends(ctx, rev, s.Followed)
	return !ok, err
}
