package agent

import (
	"context"
	"fmt"
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
	lacks resource.Owner // a secret: see Digest
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
		w.kernel.set(func() { w.kernel.wake = nil }) // it is not the next agent's
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
		<-time.After(time.Millisecond) // the agent needs the processor more
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

type recorder struct {
	strings.Builder
	code   int
	header http.Header
}

func newRecorder() *recorder { return &recorder{code: http.StatusOK, header: http.Header{}} }

func (r *recorder) Header() http.Header  { return r.header }
func (r *recorder) WriteHeader(code int) { r.code = code }
