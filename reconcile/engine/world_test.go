package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"weft.dev/reconcile/driver"
	"weft.dev/reconcile/host"
	"weft.dev/reconcile/plan"
	"weft.dev/reconcile/resource"
)

// kernel is what several drivers act on: like a real one it refuses what has
// nothing to stand on, and takes children with their parents.
type kernel struct {
	mu  sync.Mutex
	has resource.Set
	log []string // steps in the order in which they were done
}

func (k *kernel) do(s *plan.Step) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.log = append(k.log, verb(s)+s.ID().String())
	if s.Drop {
		for id, e := range k.has {
			if p, child := resource.Parent(e.State); !(child && p == s.ID()) && slices.Contains(resource.Requires(e.State), s.ID()) {
				return fmt.Errorf("%s is in use by %s", s.ID(), id)
			}
		}
		k.remove(s.ID())
		return nil
	}
	for _, id := range resource.Requires(s.State()) {
		if _, ok := k.has[id]; !ok {
			return fmt.Errorf("%s does not exist", id)
		}
	}
	for id, e := range k.has {
		for _, c := range resource.Claims(e.State) {
			if id != s.ID() && slices.Contains(resource.Claims(s.State()), c) {
				return fmt.Errorf("%s is taken by %s", c, id)
			}
		}
	}
	k.has.Put(resource.Entry{State: s.State(), Owner: s.Owner()})
	return nil
}

func (k *kernel) remove(id resource.ID) {
	delete(k.has, id)
	for other, e := range k.has {
		if p, ok := resource.Parent(e.State); ok && p == id {
			k.remove(other)
		}
	}
}

// fake is a driver of some of the kernel's kinds.
type fake struct {
	*kernel
	kinds []resource.Kind
	hook  func(*plan.Step) error // before each step
	batch func([]*plan.Step)     // before each call of Do
	after func(*plan.Step)       // after each step that succeeded
	blind error
	looks int
}

func (f *fake) Kinds() []resource.Kind { return f.kinds }

func (f *fake) Observe(ctx context.Context, _ driver.Scope) (*resource.Observed, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.looks++
	if f.blind != nil {
		return nil, f.blind
	}
	out := resource.NewObserved()
	for id, e := range f.has {
		if slices.Contains(f.kinds, id.Kind) {
			out.Set.Put(e)
		}
	}
	return out, ctx.Err()
}

func (f *fake) Do(ctx context.Context, steps []*plan.Step) []error {
	if f.batch != nil {
		f.batch(steps)
	}
	failed := map[int]bool{}
	errs := make([]error, len(steps))
	for i, s := range steps {
		errs[i] = ctx.Err()
		if slices.ContainsFunc(s.After, func(j int) bool { return failed[j] }) {
			errs[i] = plan.ErrSkipped
		}
		if errs[i] == nil && f.hook != nil {
			errs[i] = f.hook(s)
		}
		if errs[i] == nil {
			errs[i] = f.do(s)
		}
		if errs[i] == nil && f.after != nil {
			f.after(s)
		}
		failed[s.Index] = errs[i] != nil
	}
	return errs
}

func (*fake) Watch(context.Context, func(driver.Scope)) error { return nil }

func (*fake) Epoch(context.Context, driver.Scope) (uint64, bool) { return 0, false }

func verb(s *plan.Step) string {
	if s.Drop {
		return "-"
	}
	return "+"
}

// world is a host whose clock stands until somebody moves it.
type world struct {
	t        testing.TB
	host     *host.Host
	kernel   *kernel
	net      *fake
	files    *fake
	process  *fake
	now      time.Time
	settings Settings
}

func newWorld(t testing.TB) *world {
	t.Helper()
	h := host.New("kvm1", "")
	h.RunDir, h.StateDir = t.TempDir(), t.TempDir()
	k := &kernel{has: resource.Set{}}
	w := &world{t: t, host: h, kernel: k, now: time.Unix(1_800_000_000, 0)}
	w.net = &fake{kernel: k, kinds: []resource.Kind{resource.KindNS, resource.KindLink, resource.KindAddr}}
	w.files = &fake{kernel: k, kinds: []resource.Kind{resource.KindFile}}
	w.process = &fake{kernel: k, kinds: []resource.Kind{resource.KindProcess}}
	w.settings = Settings{Now: func() time.Time { return w.now }, Jitter: func() float64 { return 0 }}
	return w
}

// engine is a new one: what it knows it has from the host.
func (w *world) engine() *Engine {
	return New(w.host, []driver.Driver{w.net, w.files, w.process}, w.settings)
}

func owner(name string) resource.Owner { return resource.Owner("network/acme/" + name) }

// network is a fragment with all that depends on each other: namespace, link,
// address, file, process.
func network(name string, version uint64) *resource.Fragment {
	o := owner(name)
	ns := resource.NS{Name: name, Owner: o}
	link := resource.Link{NS: name, Name: "eth0", Host: name + "-0", Up: true}
	addr := resource.Addr{NS: name, Link: "eth0", Prefix: netip.MustParsePrefix("10.0.0.1/24")}
	file := resource.File{Path: name + "/conf", Mode: 0o644, Parts: []resource.Part{{Text: fmt.Sprint(version)}}}
	proc := resource.Process{Name: name + "/dnsmasq", NS: name, Argv: []string{"dnsmasq"}, Load: version, After: []resource.ID{file.ID(), addr.ID()}}
	var entries []resource.Entry
	for _, st := range []resource.State{ns, link, addr, file, proc} {
		entries = append(entries, resource.Entry{State: st, Owner: o})
	}
	return resource.NewFragment(o, entries)
}

func intent(fragments ...*resource.Fragment) *resource.Intent {
	return resource.NewIntent("kvm1", fragments, nil)
}

func (w *world) reconcile(e *Engine, in *resource.Intent, o Options) *Result {
	w.t.Helper()
	r, err := e.Reconcile(context.Background(), in, o)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// converge reconciles and wants all to be well.
func (w *world) converge(e *Engine, in *resource.Intent) *Result {
	w.t.Helper()
	r := w.reconcile(e, in, Options{})
	if !r.Converged() {
		w.t.Fatalf("not converged: refused %q, left %d actions, owners %+v", r.Refused, len(r.Left.Actions), r.Owners)
	}
	w.has(in)
	return r
}

// has wants the kernel to be exactly what in says.
func (w *world) has(in *resource.Intent) {
	w.t.Helper()
	want := in.Set()
	for _, id := range want.IDs() {
		if got, ok := w.kernel.has[id]; !ok || got.State.Fingerprint() != want[id].State.Fingerprint() {
			w.t.Errorf("%s is %v, not %v", id, got.State, want[id].State)
		}
	}
	for _, id := range w.kernel.has.IDs() {
		if _, ok := want[id]; !ok {
			w.t.Errorf("%s is there", id)
		}
	}
}

var errFault = errors.New("no buffer space")

// failing gives an error for the resources of one kind and name.
func failing(id resource.ID) func(*plan.Step) error {
	return func(s *plan.Step) error {
		if s.ID() == id {
			return errFault
		}
		return nil
	}
}

func (w *world) snapshot() resource.Set { return maps.Clone(w.kernel.has) }
