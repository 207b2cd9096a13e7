package agent

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"weft.dev/reconcile/source"
	"weft.dev/reconcile/status"
)

// notary knows who has signed what, and a history in which each commit has one
// parent.
type notary struct {
	mu      sync.Mutex
	signed  []int
	parents map[string]string
}

func (n *notary) Signed(rev source.Revision) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if slices.ContainsFunc(n.signed, func(i int) bool { return commit(i) == rev.Commit }) {
		return nil
	}
	return errors.New("revision " + rev.Short() + " is not signed by a listed key: it has no signature")
}

func (n *notary) Descends(_ context.Context, rev source.Revision, from string) (bool, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := rev.Commit; c != ""; c = n.parents[c] {
		if c == from {
			return true, nil
		}
	}
	return false, nil
}

// child puts a commit on top of another, signed or not.
func (n *notary) child(c, parent int, signed bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.parents[commit(c)] = commit(parent)
	if signed {
		n.signed = append(n.signed, c)
	}
}

func (n *notary) forget(c int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.signed = slices.DeleteFunc(n.signed, func(i int) bool { return i == c })
}

func newSignedWorld(t *testing.T) (*world, *notary) {
	w, n := newWorld(t), &notary{parents: map[string]string{}}
	w.config.Signatures = n
	return w, n
}

// refused waits until commit n is told to be unsigned.
func (w *world) refused(n int) *status.Status {
	w.t.Helper()
	return w.until("it is told", func(s *status.Status) bool {
		return reason(status.Stalled, "Unsigned")(s) && s.ObservedRevision == "main@sha1:"+commit(n) && !s.Condition(status.Ready).True
	})
}

func TestUnsignedIsNotFollowed(t *testing.T) {
	w, n := newSignedWorld(t)
	n.child(1, 0, true)
	w.push(1, "a")
	w.start()
	w.applied(1)
	n.child(2, 1, false)
	w.push(2, "evil")
	s := w.refused(2)
	const want = "revision 000002000000 is not signed by a listed key: it has no signature"
	if got := s.Condition(status.Stalled).Message; got != want || s.LastAttemptedRevision != "main@sha1:"+commit(1) || w.kernel.names() != "a" {
		t.Errorf("kernel has %s, attempted %s, message %q", w.kernel.names(), s.LastAttemptedRevision, got)
	}
	w.kernel.remove("a")
	w.until("drift is healed all the same", func(s *status.Status) bool { return len(s.Repaired) == 1 })
	w.start()
	if w.refused(2); w.kernel.names() != "a" {
		t.Errorf("after a restart the kernel has %s", w.kernel.names())
	}
	w.kernel.remove("a")
	w.until("drift is healed by that one too", func(s *status.Status) bool { return len(s.Repaired) == 1 })
	n.child(3, 2, true)
	w.push(3, "a", "b")
	w.applied(3)
}

func TestUnsignedMayBeAmended(t *testing.T) {
	w, n := newSignedWorld(t)
	n.child(1, 0, true)
	w.push(1, "a")
	w.start()
	w.applied(1)
	n.child(2, 1, false)
	w.push(2, "b")
	w.refused(2)
	n.child(3, 1, true)
	w.define(3, func() (*Compiled, error) { return &Compiled{Intent: intent("b")}, nil })
	w.repo.push(3, true) // git commit --amend -S; git push --force
	w.applied(3)
}

func TestNoWayBackToAnOlderSignedCommit(t *testing.T) {
	w, n := newSignedWorld(t)
	for i := 1; i <= 3; i++ {
		n.child(i, i-1, true)
	}
	w.push(3, "a")
	w.start()
	w.applied(3)
	// First the branch is reset, which is a rewrite; what is put on top of that
	// is none for Git.
	w.push(1, "old")
	w.until("it is refused", reason(status.Stalled, "Rewritten"))
	w.push(2, "old")
	w.until("it is refused", func(s *status.Status) bool {
		return reason(status.Stalled, "Rewritten")(s) && s.ObservedRevision == "main@sha1:"+commit(2)
	})
	if w.kernel.names() != "a" {
		t.Errorf("kernel has %s", w.kernel.names())
	}
	_, err := w.client().Reconcile(context.Background(), ReconcileOptions{AcceptRewrite: true, AllowRemoval: true})
	must(t, err)
	w.applied(2)
}

func TestUnsignedFromTheStart(t *testing.T) {
	w, n := newSignedWorld(t)
	w.push(1, "evil")
	w.start()
	w.refused(1)
	if w.kernel.names() != "" {
		t.Errorf("kernel has %s", w.kernel.names())
	}
	n.child(2, 1, true)
	w.push(2, "a")
	w.applied(2)
	// A key is taken out of the file.
	n.forget(2)
	w.repo.wakes <- struct{}{}
	w.refused(2)
	w.start()
	if w.refused(2); w.kernel.names() != "a" {
		t.Errorf("kernel has %s", w.kernel.names())
	}
	w.kernel.remove("a")
	w.until("the last good intent stays in force", func(s *status.Status) bool { return len(s.Repaired) == 1 })
}

func TestRollbackIsSigned(t *testing.T) {
	w, n := newSignedWorld(t)
	w.push(1, "evil")
	n.child(2, 1, true)
	w.push(2, "a")
	n.child(3, 2, true)
	w.push(3, "b")
	w.start()
	w.applied(3)
	if _, err := w.client().Rollback(context.Background(), commit(1)); err == nil || !strings.Contains(err.Error(), "is not signed by a listed key") {
		t.Errorf("rollback to an unsigned commit: %v", err)
	}
	_, err := w.client().Rollback(context.Background(), commit(2))
	must(t, err)
	w.until("it is rolled back", func(s *status.Status) bool { return s.Pinned == "sha1:"+commit(2) && w.kernel.names() == "a" })
	// What is not signed ends no rollback.
	n.child(4, 3, false)
	w.push(4, "evil")
	if s := w.refused(4); s.Pinned == "" || w.kernel.names() != "a" {
		t.Errorf("kernel has %s, pinned %q", w.kernel.names(), s.Pinned)
	}
	// Nor is a pin kept in force whose key is no longer listed.
	n.forget(2)
	w.start()
	w.refused(4)
	n.child(5, 4, true)
	w.push(5, "c")
	w.applied(5)
}
