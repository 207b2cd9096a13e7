package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"weft.dev/reconcile/driver"
	"weft.dev/reconcile/engine"
	"weft.dev/reconcile/host"
	"weft.dev/reconcile/plan"
	"weft.dev/reconcile/resource"
	"weft.dev/reconcile/source"
	"weft.dev/reconcile/status"
	"weft.dev/schema"
)

// repo is a repository whose history a test writes.
type repo struct {
	mu     sync.Mutex
	last   source.Revision
	known  []string // commits
	err    error
	stored bool // what Last says survives
	wakes  chan struct{}
}

func (r *repo) String() string { return "/srv/net.git" }

func (r *repo) Fetch(context.Context) (source.Revision, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return source.Revision{}, r.err
	}
	rev := r.last
	r.last.Rewritten = false
	r.stored = true
	return rev, nil
}

func (r *repo) Last() (source.Revision, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last, r.stored
}

func (r *repo) Tree(rev source.Revision) (source.Tree, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Contains(r.known, rev.Commit) {
		return nil, source.ErrNoRevision
	}
	return tree{commit: rev.Commit}, nil
}

func (r *repo) Watch(context.Context) (<-chan struct{}, error) { return r.wakes, nil }

// push makes commit n the newest.
func (r *repo) push(n int, rewritten bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := commit(n)
	r.known = append(r.known, c)
	r.last = source.Revision{Ref: "main", Commit: c, Author: "Ann", Subject: fmt.Sprintf("change %d", n), Rewritten: rewritten}
	select {
	case r.wakes <- struct{}{}:
	default:
	}
}

func (r *repo) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = err
}

func commit(n int) string { return fmt.Sprintf("%06x%034d", n, 0) }

type tree struct {
	source.Tree
	commit string
}

// compiler knows what each commit asks for.
type compiler struct {
	mu   sync.Mutex
	what map[string]func() (*Compiled, error)
}

func (c *compiler) Compile(_ context.Context, t source.Tree) (*Compiled, error) {
	c.mu.Lock()
	f := c.what[t.(tree).commit]
	c.mu.Unlock()
	return f()
}

// kernel is a driver of namespaces in memory.
type kernel struct {
	mu    sync.Mutex
	has   resource.Set
	fail  error
	panic any
	wake  func(driver.Scope)
	dos   int
}

func (*kernel) Kinds() []resource.Kind { return []resource.Kind{resource.KindNS} }

func (k *kernel) Observe(context.Context, driver.Scope) (*resource.Observed, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.panic != nil {
		panic(k.panic)
	}
	out := resource.NewObserved()
	for _, e := range k.has {
		out.Set.Put(e)
	}
	return out, nil
}

func (k *kernel) Do(_ context.Context, steps []*plan.Step) []error {
	k.mu.Lock()
	defer k.mu.Unlock()
	errs := make([]error, len(steps))
	for i, s := range steps {
		k.dos++
		switch {
		case k.fail != nil:
			errs[i] = k.fail
		case s.Drop:
			delete(k.has, s.ID())
		default:
			k.has.Put(resource.Entry{State: s.State(), Owner: s.Owner()})
		}
	}
	return errs
}

func (k *kernel) Watch(ctx context.Context, changed func(driver.Scope)) error {
	k.mu.Lock()
	k.wake = changed
	k.mu.Unlock()
	<-ctx.Done()
	return nil
}

func (*kernel) Epoch(context.Context, driver.Scope) (uint64, bool) { return 0, false }

func (k *kernel) names() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	var out []string
	for _, id := range k.has.IDs() {
		out = append(out, id.Name)
	}
	return strings.Join(out, " ")
}

// remove takes a namespace away by another hand.
func (k *kernel) remove(name string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.has, resource.ID{Kind: resource.KindNS, Name: name})
	k.wake(driver.Scope{})
}

func (k *kernel) set(f func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	f()
}

// world is a host with an agent that can be started again and again.
type world struct {
	t        *testing.T
	host     *host.Host
	repo     *repo
	compiler *compiler
	kernel   *kernel
	config   Config
	stop     func()
	agent    *Agent
}

func newWorld(t *testing.T) *world {
	t.Helper()
	// The path of a socket is short.
	dir, err := os.MkdirTemp("", "weft")
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	h := host.New("kvm1", "")
	h.RunDir, h.StateDir = filepath.Join(dir, "run"), filepath.Join(dir, "state")
	w := &world{
		t: t, host: h, repo: &repo{wakes: make(chan struct{}, 1)}, kernel: &kernel{has: resource.Set{}},
		compiler: &compiler{what: map[string]func() (*Compiled, error){}},
	}
	w.config = Config{
		Host: h, Version: "test", Source: w.repo, Compiler: w.compiler,
		Full: time.Hour, Debounce: time.Millisecond, Patience: time.Hour,
	}
	t.Cleanup(func() {
		if w.stop != nil {
			w.stop()
		}
	})
	return w
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func owner(name string) resource.Owner { return resource.Owner("network/acme/" + name) }

func intent(names ...string) *resource.Intent {
	var all []*resource.Fragment
	for _, n := range names {
		e := resource.Entry{State: resource.NS{Name: n, Owner: owner(n)}, Owner: owner(n)}
		all = append(all, resource.NewFragment(owner(n), []resource.Entry{e}))
	}
	return resource.NewIntent("kvm1", all, nil)
}

// push commits n, which asks for namespaces.
func (w *world) push(n int, names ...string) {
	w.define(n, func() (*Compiled, error) { return &Compiled{Intent: intent(names...)}, nil })
	w.repo.push(n, false)
}

func (w *world) define(n int, f func() (*Compiled, error)) {
	w.compiler.mu.Lock()
	defer w.compiler.mu.Unlock()
	w.compiler.what[commit(n)] = f
}

// start runs an agent, after it has stopped the one before.
func (w *world) start() {
	w.t.Helper()
	if w.stop != nil {
		w.stop()
	}
	w.config.Metrics = NewMetrics("test")
	w.config.Engine = engine.New(w.host, []driver.Driver{w.kernel}, engine.Settings{Did: w.config.Metrics.Did})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	a := New(w.config)
	go func() { done <- a.Run(ctx) }()
	w.agent, w.stop = a, func() {
		cancel()
		must(w.t, <-done)
		w.stop = nil
	}
	w.until("the kernel is watched and the socket answers", func(*status.Status) bool {
		w.kernel.mu.Lock()
		defer w.kernel.mu.Unlock()
		return w.kernel.wake != nil
	})
}

func (w *world) client() *Client { return NewClient(w.host) }

// until waits for a status.
func (w *world) until(what string, f func(*status.Status) bool) *status.Status {
	w.t.Helper()
	var s *status.Status
	var err error
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
		if s, err = w.client().Status(context.Background()); err == nil && f(s) {
			return s
		}
	}
	w.t.Fatalf("it never came to be that %s: %v\n%+v", what, err, s)
	return nil
}

// applied waits until commit n is in force and all is well.
func (w *world) applied(n int) *status.Status {
	w.t.Helper()
	return w.until(fmt.Sprintf("commit %d is applied", n), func(s *status.Status) bool {
		return s.LastAppliedRevision == "main@sha1:"+commit(n) && s.Condition(status.Ready).True
	})
}

func reason(typ, why string) func(*status.Status) bool {
	return func(s *status.Status) bool { return s.Condition(typ).True && s.Condition(typ).Reason == why }
}

func TestFollowsCommits(t *testing.T) {
	w := newWorld(t)
	w.push(1, "a", "b")
	w.start()
	s := w.applied(1)
	if w.kernel.names() != "a b" || s.Subject != "change 1" || len(s.Owners) != 2 || s.Managed[resource.KindNS] != 2 {
		t.Errorf("kernel has %s, status %+v", w.kernel.names(), s)
	}
	for _, c := range s.Conditions {
		if c.True != (c.Type == status.Ready) {
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
	s = w.until("it starts from the stored intent", func(s *status.Status) bool { return s.Condition(status.Ready).True })
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

type recorder struct {
	strings.Builder
	code   int
	header http.Header
}

func newRecorder() *recorder { return &recorder{code: http.StatusOK, header: http.Header{}} }

func (r *recorder) Header() http.Header  { return r.header }
func (r *recorder) WriteHeader(code int) { r.code = code }
