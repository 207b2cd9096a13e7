package agent

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"weft.dev/reconcile/resource"
	"weft.dev/reconcile/status"
	"weft.dev/schema"
)

func TestFollowsCommits(t *testing.T) {
	w := newWorld(t)
	w.push(1, "a", "b")
	w.start()
	s := w.applied(1)
	if w.kernel.names() != "a b" || s.Subject != "change 1" || len(s.Owners) != 2 || s.Managed[resource.KindNS] != 2 {
		t.Errorf("kernel has %s, status %+v", w.kernel.names(), s)
	}
	for _, c := range s.Conditions {
		if c.True != (c.Type == status.Ready || c.Type == status.Healthy) {
			t.Errorf("condition %+v", c)
		}
	}
	w.push(2, "a", "c")
	w.applied(2)
	if w.kernel.names() != "a c" {
		t.Errorf("kernel has %s", w.kernel.names())
	}
	h, err := w.client().History(context.Background(), 10)
	if err != nil || len(h) != 2 || h[0].Revision != "main@sha1:"+commit(2) {
		t.Errorf("history %+v, %v", h, err)
	}
}

func TestRestartChangesNothing(t *testing.T) {
	w := newWorld(t)
	w.push(1, "a")
	w.start()
	w.applied(1)
	dos := w.kernel.dos
	w.start()
	w.applied(1)
	if w.kernel.dos != dos {
		t.Error("the second agent does something")
	}
}

func TestDriftIsHealedAndTold(t *testing.T) {
	w := newWorld(t)
	w.push(1, "a", "b")
	w.start()
	w.applied(1)
	w.kernel.remove("a")
	s := w.until("it is repaired", func(s *status.Status) bool { return len(s.Repaired) == 1 })
	if w.kernel.names() != "a b" || s.Repaired[0].Owner != owner("a") || s.Repaired[0].What[0] != "it is gone" || len(s.Drift) != 0 {
		t.Errorf("kernel has %s, repaired %+v", w.kernel.names(), s.Repaired)
	}
}

func TestUnreachable(t *testing.T) {
	w := newWorld(t)
	w.push(1, "a")
	w.start()
	w.applied(1)
	w.repo.fail(errors.New("fetch: /srv/net.git: no answer"))
	w.repo.wakes <- struct{}{}
	s := w.until("it is told", reason(status.Stalled, "Unreachable"))
	if !s.Condition(status.Ready).True || w.kernel.names() != "a" {
		t.Errorf("the last good intent is not in force: %+v", s.Conditions)
	}
	w.kernel.remove("a")
	w.until("drift is healed all the same", func(s *status.Status) bool { return len(s.Repaired) == 1 })
	w.start()
	w.until("it starts without Git", func(s *status.Status) bool {
		return s.Condition(status.Ready).True && reason(status.Stalled, "Unreachable")(s)
	})
	// Not even the clone is left.
	w.repo.mu.Lock()
	w.repo.stored = false
	w.repo.mu.Unlock()
	w.start()
	w.until("it starts from the stored intent", func(s *status.Status) bool { return s.Condition(status.Ready).True })
	w.kernel.remove("a")
	w.until("drift is healed by that", func(s *status.Status) bool { return len(s.Repaired) == 1 })
	w.repo.fail(nil)
	w.push(2, "a", "b")
	w.applied(2)
}

func TestInvalidTree(t *testing.T) {
	w := newWorld(t)
	w.push(1, "a")
	w.start()
	w.applied(1)
	w.define(2, func() (*Compiled, error) { return nil, errors.New("read weft.lock: damaged") })
	w.repo.push(2, false)
	s := w.until("it is told", reason(status.Stalled, "Invalid"))
	if w.kernel.names() != "a" || s.Condition(status.Ready).True || s.LastAppliedRevision != "main@sha1:"+commit(1) {
		t.Errorf("kernel has %s, %+v", w.kernel.names(), s)
	}
	w.define(3, func() (*Compiled, error) { panic("a bug in the compiler") })
	w.repo.push(3, false)
	w.until("a panic of the compiler is told", func(s *status.Status) bool {
		return strings.Contains(s.Condition(status.Stalled).Message, "a bug in the compiler")
	})
	w.define(4, func() (*Compiled, error) {
		var ds schema.Diags
		ds.Errorf(schema.Pos{File: "b.yaml", Line: 3, Col: 5}, "bad", "vni 7001 is used twice")
		in := resource.NewIntent("kvm1", intent("a").Fragments, []resource.Hold{{Owner: owner("b"), Cause: resource.HoldInvalid, Reason: "b.yaml:3"}})
		return &Compiled{Intent: in, Diags: ds}, nil
	})
	w.repo.push(4, false)
	s = w.until("diagnostics are told", func(s *status.Status) bool { return len(s.Diagnostics) == 1 })
	if s.Condition(status.Ready).True || s.Diagnostics[0] != "b.yaml:3:5: error: vni 7001 is used twice" || s.Owners[1].State != status.OwnerHeld {
		t.Errorf("%+v", s)
	}
	w.push(5, "a", "b")
	w.applied(5)
}

func TestRewrittenHistory(t *testing.T) {
	w := newWorld(t)
	w.push(1, "a")
	w.start()
	w.applied(1)
	w.define(2, func() (*Compiled, error) { return &Compiled{Intent: intent("evil")}, nil })
	w.repo.push(2, true)
	w.until("it is told", reason(status.Stalled, "Rewritten"))
	w.start()
	s := w.until("it is remembered", reason(status.Stalled, "Rewritten"))
	if w.kernel.names() != "a" || s.ObservedRevision != "main@sha1:"+commit(2) || s.LastAttemptedRevision != "main@sha1:"+commit(1) {
		t.Errorf("kernel has %s, %+v", w.kernel.names(), s)
	}
	_, err := w.client().Reconcile(context.Background(), ReconcileOptions{AcceptRewrite: true, AllowRemoval: true})
	must(t, err)
	w.applied(2)
	if w.kernel.names() != "evil" {
		t.Errorf("kernel has %s", w.kernel.names())
	}
}

// A network and a VPC of one name are told apart by their kind, and who does not say
// which is told both names.
func TestSuspendOneOfTwo(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	w.define(1, func() (*Compiled, error) {
		in := intent("a")
		in.Fragments = append(in.Fragments, resource.NewFragment("vpc/acme/a", nil))
		return &Compiled{Intent: in}, nil
	})
	w.repo.push(1, false)
	w.start()
	w.applied(1)
	const both = `"acme/a" is several things here: say network/acme/a or vpc/acme/a`
	if _, err := w.client().Suspend(ctx, "acme/a", ""); err == nil || !strings.Contains(err.Error(), both) {
		t.Errorf("suspend: %v", err)
	}
	for _, name := range []string{"vpc/acme/a", "network/acme/a"} {
		_, err := w.client().Suspend(ctx, name, "")
		must(t, err)
	}
	if _, err := w.client().Resume(ctx, "acme/a"); err == nil || !strings.Contains(err.Error(), both) {
		t.Errorf("resume: %v", err)
	}
	_, err := w.client().Resume(ctx, "network/acme/a")
	must(t, err)
	_, err = w.client().Resume(ctx, "acme/a") // one only is suspended now
	must(t, err)
	if s, err := w.client().Status(ctx); err != nil || s.Condition(status.Suspended).True {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestSuspendAndResume(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	w.push(1, "a", "b")
	w.start()
	w.applied(1)
	s, err := w.client().Suspend(ctx, "acme/a", "Ann is at it")
	must(t, err)
	if s.Owners[0].State != status.OwnerSuspended || !strings.Contains(s.Owners[0].Message, "Ann is at it") || !s.Condition(status.Suspended).True {
		t.Errorf("%+v", s)
	}
	w.kernel.remove("a")
	w.kernel.remove("b")
	w.until("b is healed", func(s *status.Status) bool { return len(s.Repaired) == 1 })
	w.start() // it is remembered
	w.until("the new agent has looked", func(s *status.Status) bool { return s.Condition(status.Ready).True })
	if w.kernel.names() != "b" {
		t.Errorf("kernel has %s", w.kernel.names())
	}
	if _, err := w.client().Resume(ctx, "network/acme/a"); err != nil || w.kernel.names() != "a b" {
		t.Errorf("after resume: %s, %v", w.kernel.names(), err)
	}

	_, err = w.client().Suspend(ctx, "", "")
	must(t, err)
	w.kernel.remove("b")
	s, err = w.client().Drift(ctx)
	if err != nil || len(s.Drift) != 1 || s.Drift[0].ID.Name != "b" || w.kernel.names() != "a" {
		t.Errorf("suspended host: %+v, %v", s, err)
	}
	if _, err := w.client().Resume(ctx, "host/kvm1"); err != nil || w.kernel.names() != "a b" {
		t.Errorf("after resume: %s, %v", w.kernel.names(), err)
	}
	for _, name := range []string{"", "acme/a", "acme/none"} {
		if _, err := w.client().Resume(ctx, name); err == nil {
			t.Errorf("resume of %q, which is not suspended", name)
		}
	}
	if _, err := w.client().Suspend(ctx, "acme/none", ""); err == nil {
		t.Error("what does not exist can be suspended")
	}
}

func TestRollback(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	w.push(1, "a")
	w.start()
	w.applied(1)
	w.push(0x222222, "a", "b")
	w.applied(0x222222)
	s, err := w.client().Rollback(ctx, "")
	if err != nil || w.kernel.names() != "a" || s.Pinned != "sha1:"+commit(1) {
		t.Fatalf("kernel has %s, %+v, %v", w.kernel.names(), s, err)
	}
	w.repo.fail(errors.New("no answer"))
	w.start()
	w.until("it stays there", func(s *status.Status) bool { return s.Condition(status.Ready).True && s.Pinned != "" })
	if w.kernel.names() != "a" {
		t.Errorf("kernel has %s", w.kernel.names())
	}
	if _, err := w.client().Rollback(ctx, commit(0x222222)); err != nil || w.kernel.names() != "a b" {
		t.Errorf("without Git: kernel has %s, %v", w.kernel.names(), err)
	}
	w.repo.fail(nil)
	if s, err := w.client().Resume(ctx, ""); err != nil || s.Pinned != "" {
		t.Errorf("%+v, %v", s, err)
	}
	_, err = w.client().Rollback(ctx, "222222")
	must(t, err)
	w.push(3, "c")
	if s := w.applied(3); s.Pinned != "" || w.kernel.names() != "c" {
		t.Errorf("a newer commit does not end it: %s", w.kernel.names())
	}
	for _, rev := range []string{"zzzz", "12", "ffffffff", strings.Repeat("f", 40), "main"} {
		if _, err := w.client().Rollback(ctx, rev); err == nil {
			t.Errorf("rollback to %q", rev)
		}
	}
	if _, err := w.client().Rollback(ctx, strings.Repeat("z", 40)); err == nil || !strings.Contains(err.Error(), "is no commit") {
		t.Errorf("40 letters are a commit: %v", err)
	}
}

func TestFailureAndRetry(t *testing.T) {
	w := newWorld(t)
	w.push(1, "a")
	w.kernel.fail = errors.New("no buffer space")
	w.start()
	s := w.until("it is told", func(s *status.Status) bool { return len(s.Owners) == 1 && s.Owners[0].State == status.OwnerFailing })
	if s.Owners[0].Retry.IsZero() || !s.Condition(status.Reconciling).True || !strings.Contains(s.Condition(status.Ready).Message, "no buffer space") {
		t.Errorf("%+v", s)
	}
	w.kernel.set(func() { w.kernel.fail = nil })
	w.applied(1) // by itself
}

func TestReconcileNowSkipsTheWait(t *testing.T) {
	w := newWorld(t)
	w.push(1, "a")
	w.kernel.fail = errors.New("no buffer space")
	w.start()
	w.until("it has failed", func(s *status.Status) bool { return len(s.Owners) == 1 && s.Owners[0].State == status.OwnerFailing })
	w.kernel.set(func() { w.kernel.fail = nil })
	if s, err := w.client().Reconcile(context.Background(), ReconcileOptions{}); err != nil || !s.Condition(status.Ready).True {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestPanicInAPassIsRecovered(t *testing.T) {
	w := newWorld(t)
	w.push(1, "a")
	w.start()
	w.applied(1)
	w.kernel.set(func() { w.kernel.panic = "a bug" })
	w.kernel.remove("a")
	w.until("it is told", reason(status.Stalled, "Bug"))
	w.kernel.set(func() { w.kernel.panic = nil })
	if s, err := w.client().Reconcile(context.Background(), ReconcileOptions{}); err != nil || !s.Condition(status.Ready).True || w.kernel.names() != "a" {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestMassRemoval(t *testing.T) {
	w := newWorld(t)
	names := strings.Fields("a b c d e f g h i j k l")
	w.push(1, names...)
	w.start()
	w.applied(1)
	w.push(2)
	s := w.until("it is refused", reason(status.Stalled, "PruneBlocked"))
	if s.LastAppliedRevision != "main@sha1:"+commit(1) || w.kernel.names() != strings.Join(names, " ") {
		t.Errorf("kernel has %s, %+v", w.kernel.names(), s)
	}
	w.kernel.remove("a")
	w.until("the last good intent is in force", func(*status.Status) bool { return w.kernel.names() == strings.Join(names, " ") })
	if _, err := w.client().Reconcile(context.Background(), ReconcileOptions{AllowRemoval: true}); err != nil || w.kernel.names() != "" {
		t.Errorf("with consent: %s, %v", w.kernel.names(), err)
	}
}

func TestOneAgent(t *testing.T) {
	w := newWorld(t)
	w.push(1, "a")
	w.start()
	if err := New(w.config).Run(context.Background()); !errors.Is(err, ErrRunning) {
		t.Errorf("got %v", err)
	}
	w.applied(1)
	info, err := os.Stat(Socket(w.host))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("socket: %v, %v", info.Mode(), err)
	}
	w.stop()
	if _, err := w.client().Status(context.Background()); !errors.Is(err, ErrNotRunning) {
		t.Errorf("got %v", err)
	}
	if w.kernel.names() != "a" {
		t.Error("stopping the agent touches the networks")
	}
}

func TestHealthAndMetrics(t *testing.T) {
	w := newWorld(t)
	w.push(1, "a")
	w.start()
	w.applied(1)
	_, err := w.client().Reconcile(context.Background(), ReconcileOptions{})
	must(t, err)
	get := func(path string) (int, string) {
		t.Helper()
		rec := newRecorder()
		r, err := http.NewRequest(http.MethodGet, path, nil)
		must(t, err)
		w.agent.health().ServeHTTP(rec, r)
		return rec.code, rec.String()
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		if code, body := get(path); code != http.StatusOK {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
	_, body := get("/metrics")
	for _, line := range []string{
		`weft_apply_duration_seconds_count{backend="net.ns"} 1`,
		`weft_managed_objects{kind="net.ns"} 1`,
		`weft_apply_actions_total{action="create",kind="net.ns",result="success"} 1`,
		`weft_last_applied_revision_info{revision="main@sha1:` + commit(1) + `"} 1`,
		`weft_condition{type="Ready"} 1`,
		`weft_suspend_status 0`,
		`weft_build_info{version="test"} 1`,
	} {
		if !strings.Contains(body, line+"\n") {
			t.Errorf("metrics lack %s", line)
		}
	}
	if testing.Verbose() {
		_, _ = io.WriteString(os.Stdout, body)
	}
}
