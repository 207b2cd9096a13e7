package trial

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weft.dev/reconcile/driver"
	"weft.dev/reconcile/driver/memhost"
	"weft.dev/reconcile/engine"
	"weft.dev/reconcile/host"
	"weft.dev/reconcile/resource"
)

// TestMain lets the test binary be a watchdog.
func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == "watchdog" {
		if err := watchdog(os.Args[2], os.Args[3]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// watchdog ends a trial of the host below dir whose time is over.
func watchdog(dir, id string) error {
	if id == "broken" {
		return errors.New("line one\nthe switch is gone")
	}
	if err := Ready(); err != nil {
		return err
	}
	_, c, err := Open(hostIn(dir)).Await(context.Background(), id, 0)
	if err != nil || c == nil {
		return err
	}
	return c.End(Outcome{ID: id, Outcome: RolledBack, Reason: "pid " + strconv.Itoa(os.Getpid()) + " ppid " + strconv.Itoa(os.Getppid())})
}

func hostIn(dir string) *host.Host {
	h := host.New("kvm1", "")
	h.RunDir, h.StateDir = filepath.Join(dir, "run"), filepath.Join(dir, "state")
	return h
}

// world is a host in memory whose clock stands until somebody moves it.
type world struct {
	*testing.T
	dir    string
	host   *host.Host
	mem    *memhost.Host
	trials *Trials
	up     time.Duration
	boot   string
}

func newWorld(t *testing.T) *world {
	w := &world{T: t, dir: t.TempDir(), mem: memhost.New(), up: time.Hour, boot: "first"}
	w.host = hostIn(w.dir)
	w.trials = w.open()
	return w
}

// open is what another process has.
func (w *world) open() *Trials {
	t := Open(w.host)
	t.clock = func() (string, time.Duration) { return w.boot, w.up }
	return t
}

func (w *world) engine() *engine.Engine {
	return engine.New(w.host, []driver.Driver{w.mem}, engine.Settings{Closed: w.trials.Closed})
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func intent(names ...string) *resource.Intent {
	var all []*resource.Fragment
	for _, n := range names {
		o := resource.Owner("network/acme/" + n)
		all = append(all, resource.NewFragment(o, []resource.Entry{{State: resource.NS{Name: "weft-" + n, Owner: o}, Owner: o}}))
	}
	return resource.NewIntent("kvm1", all, nil)
}

func (w *world) apply(e *engine.Engine, in *resource.Intent, o engine.Options) {
	w.Helper()
	r, err := e.Reconcile(context.Background(), in, o)
	w.must(err)
	if !r.Converged() {
		w.Fatalf("not converged: %+v", r.Owners)
	}
}

// has wants the host to be in, and the last good intent to be good.
func (w *world) has(in, good *resource.Intent) {
	w.Helper()
	if got, want := fmt.Sprint(w.mem.Set().IDs()), fmt.Sprint(in.Set().IDs()); got != want {
		w.Errorf("the host has %s, not %s", got, want)
	}
	if got := w.engine().Verified().Intent; got == nil || got.Fingerprint() != good.Fingerprint() {
		w.Errorf("the last good intent is %+v", got)
	}
}

// tried is a host on which a change from a to a, b waits to be confirmed.
func tried(t *testing.T) (*world, *Trial) {
	w := newWorld(t)
	w.apply(w.engine(), intent("a"), engine.Options{Revision: "r1"})
	e := w.engine()
	next := intent("a", "b")
	_, err := e.Plan(context.Background(), next, engine.Options{})
	w.must(err)
	back, err := e.LastGood(next)
	w.must(err)
	x, err := w.trials.begin(back, time.Minute)
	w.must(err)
	w.apply(e, next, engine.Options{Revision: "r2", Trial: x.ID, Aside: w.trials.Next()})
	return w, x
}

func (w *world) await(id string, grace time.Duration) (Outcome, *Claim) {
	w.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	o, c, err := w.open().Await(ctx, id, grace)
	w.must(err)
	return o, c
}

func TestNobodyConfirms(t *testing.T) {
	w, x := tried(t)
	w.has(intent("a", "b"), intent("a"))
	_, err := w.trials.Applied(x.ID)
	w.must(err)
	w.up += time.Minute + time.Nanosecond
	_, c := w.await(x.ID, 0)
	if c == nil {
		t.Fatal("nobody has to go back")
	}
	// From here on it cannot be confirmed, and nobody else changes the host.
	if _, err := w.open().Confirm(); !errors.Is(err, ErrGoingBack) {
		t.Errorf("got %v", err)
	}
	var pending *PendingError
	if _, err := w.engine().Reconcile(context.Background(), intent("c"), engine.Options{}); !errors.As(err, &pending) {
		t.Errorf("got %v", err)
	}
	back, err := engine.ReadStored(w.trials.Back())
	w.must(err)
	e := w.engine()
	w.must(c.GoBack(context.Background(), e, back, c.Why()))
	w.has(intent("a"), intent("a"))
	if o, ok := w.trials.Last(); !ok || o.Outcome != RolledBack || o.ID != x.ID || o.Reason != "nobody confirmed in time" {
		t.Errorf("outcome %+v", o)
	}
	if h := e.History(1); h[0].Note != "went back: nobody confirmed in time" || h[0].Revision != "r1" {
		t.Errorf("journal %+v", h[0])
	}
	if _, err := w.trials.Confirm(); !errors.Is(err, ErrNone) {
		t.Errorf("got %v", err)
	}
	w.apply(w.engine(), intent("c"), engine.Options{})
	left, err := filepath.Glob(filepath.Join(w.host.StateDir, "confirm", "*.json"))
	w.must(err)
	if len(left) != 1 {
		t.Errorf("left: %v", left)
	}
}

func TestConfirmed(t *testing.T) {
	w, x := tried(t)
	if _, err := w.open().Confirm(); !errors.Is(err, ErrApplying) {
		t.Errorf("before the apply ended: %v", err)
	}
	// The time to confirm begins when it is applied.
	w.up += 50 * time.Second
	_, err := w.trials.Applied(x.ID)
	w.must(err)
	w.up += 50 * time.Second
	_, err = w.open().Confirm()
	w.must(err)
	w.has(intent("a", "b"), intent("a", "b"))
	if got := w.engine().Verified(); got.Revision != "r2" {
		t.Errorf("the last good revision is %s", got.Revision)
	}
	w.up += time.Hour
	if o, c := w.await(x.ID, 0); c != nil || o.Outcome != Confirmed {
		t.Errorf("the watchdog sees %+v, %v", o, c)
	}
	w.apply(w.engine(), intent("a"), engine.Options{})
}

func TestWhileOneWaits(t *testing.T) {
	w, x := tried(t)
	var pending *PendingError
	if _, err := w.engine().Reconcile(context.Background(), intent("c"), engine.Options{}); !errors.As(err, &pending) {
		t.Errorf("another apply: %v", err)
	}
	if _, err := w.open().begin(engine.Stored{}, time.Minute); !errors.As(err, &pending) {
		t.Errorf("another trial: %v", err)
	}
	w.has(intent("a", "b"), intent("a"))
	// One that nobody ends holds nobody back for ever.
	w.up += time.Minute + time.Nanosecond
	if p, ok := w.trials.Pending(); ok {
		t.Errorf("%+v waits though nobody watches it", p)
	}
	// But too late is too late.
	_, err := w.trials.Applied(x.ID)
	w.must(err)
	w.up += 2 * time.Minute
	if _, err := w.trials.Confirm(); !errors.Is(err, ErrGoingBack) {
		t.Errorf("got %v", err)
	}
}

func TestPowerCutEndsATrial(t *testing.T) {
	w, x := tried(t)
	w.boot = "second"
	if _, ok := w.trials.Pending(); ok {
		t.Error("it waits in another boot")
	}
	if o, c := w.await(x.ID, 0); c != nil || o.Outcome != "" {
		t.Errorf("%+v, %v", o, c)
	}
	if _, err := w.trials.Confirm(); !errors.Is(err, ErrNone) {
		t.Errorf("got %v", err)
	}
	w.apply(w.engine(), intent("a"), engine.Options{})
}

// What fails on the way back is tried again.
func TestGoingBackIsStubborn(t *testing.T) {
	w, x := tried(t)
	w.mem.AddForeign(resource.NS{Name: "weft-z"}.ID(), "somebody's")
	other, err := os.Create(filepath.Join(w.host.RunDir, "apply.lock"))
	w.must(err)
	w.must(unix.Flock(int(other.Fd()), unix.LOCK_EX))
	c, err := w.trials.Claim(x.ID)
	w.must(err)
	back, err := engine.ReadStored(w.trials.Back())
	w.must(err)
	done := make(chan error)
	go func() { done <- c.GoBack(context.Background(), w.engine(), back, "the gateway is gone") }()
	select {
	case err := <-done:
		t.Fatalf("it gave up: %v", err)
	case <-time.After(3 * look):
	}
	w.must(other.Close())
	w.must(<-done)
	w.has(intent("a"), intent("a"))
}

func TestWatchdog(t *testing.T) {
	w := newWorld(t)
	trials := Open(w.host) // on the real clock
	back := engine.Stored{FormatVersion: 1, Intent: intent("a")}
	args := func(x *Trial) []string { return []string{"watchdog", w.dir, x.ID} }
	x, err := trials.Arm(t.Context(), back, 500*time.Millisecond, args)
	w.must(err)
	if !trials.held("alive") {
		t.Error("nobody watches")
	}
	o, c, err := trials.Await(t.Context(), x.ID, 20*time.Second)
	if err != nil || c != nil || o.Outcome != RolledBack || !strings.Contains(o.Reason, "ppid "+strconv.Itoa(os.Getpid())) {
		t.Fatalf("%+v, %v, %v", o, c, err)
	}
	// The next one waits for the last one to go.
	x, err = trials.Arm(t.Context(), back, time.Hour, args)
	w.must(err)
	var pending *PendingError
	if _, err := trials.Arm(t.Context(), back, time.Hour, args); !errors.As(err, &pending) {
		t.Errorf("a second one: %v", err)
	}
	if p, ok := trials.Pending(); !ok || p.ID != x.ID {
		t.Errorf("%+v waits", p)
	}
	_, err = trials.Applied(x.ID)
	w.must(err)
	_, err = trials.Confirm()
	w.must(err)
	end := time.Now().Add(20 * time.Second)
	for trials.held("alive") {
		if time.Now().After(end) {
			t.Fatal("the watchdog does not end")
		}
	}
	if _, err := os.Stat(filepath.Join(w.host.StateDir, "confirm", "weft")); err == nil {
		t.Error("the copy of the program is left")
	}
}

// Without a watchdog nothing is begun.
func TestWatchdogThatDoesNotStart(t *testing.T) {
	w := newWorld(t)
	trials := Open(w.host)
	_, err := trials.Arm(t.Context(), engine.Stored{FormatVersion: 1, Intent: intent()}, time.Hour,
		func(*Trial) []string { return []string{"watchdog", w.dir, "broken"} })
	if err == nil || !strings.Contains(err.Error(), "the switch is gone") {
		t.Errorf("got %v", err)
	}
	if p, ok := trials.Pending(); ok {
		t.Errorf("%+v waits", p)
	}
	if err := Ready(); err == nil {
		t.Error("a watchdog that nobody started is ready")
	}
}

func TestProbes(t *testing.T) {
	works := true
	good := Probe{"the gateway", func(context.Context) error {
		if works {
			return nil
		}
		return errors.New("no answer")
	}}
	bad := Probe{"the moon", func(context.Context) error { return errors.New("too far") }}
	held := Holding(t.Context(), []Probe{bad, good})
	if len(held) != 1 || held[0].Name != "the gateway" {
		t.Fatalf("%+v", held)
	}
	if err := StillHold(t.Context(), held); err != nil {
		t.Error(err)
	}
	works = false
	ctx, cancel := context.WithTimeout(t.Context(), 3*look)
	defer cancel()
	if err := StillHold(ctx, held); err == nil || err.Error() != "the gateway does not answer any more: no answer" {
		t.Errorf("got %v", err)
	}
	// It may need a moment.
	tries := 0
	slow := Probe{"the gateway", func(context.Context) error {
		if tries++; tries < 3 {
			return errors.New("not yet")
		}
		return nil
	}}
	if err := StillHold(t.Context(), []Probe{slow}); err != nil {
		t.Error(err)
	}
}

func TestServer(t *testing.T) {
	for repository, want := range map[string]string{
		"https://git.example.com/net.git":         "git.example.com:443",
		"http://user:pw@git.example.com:8080/net": "git.example.com:8080",
		"ssh://git@git.example.com/net.git":       "git.example.com:22",
		"git@git.example.com:team/net.git":        "git.example.com:22",
		"git://[2001:db8::1]/net":                 "[2001:db8::1]:9418",
		"/srv/net.git":                            "",
		"../net.git":                              "",
		"./a:b":                                   "",
		"file:///srv/net.git":                     "",
		"":                                        "",
	} {
		if got := server(repository); got != want {
			t.Errorf("%s is at %q, not %q", repository, got, want)
		}
	}
}
