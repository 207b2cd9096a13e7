package process

import (
	"context"
	"fmt"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"weft.dev/reconcile/driver"
	"weft.dev/reconcile/host"
	"weft.dev/reconcile/plan"
	"weft.dev/reconcile/resource"
)

const owner = resource.Owner("network/acme/web")

// The test binary plays the agent that is killed and a daemon that serves.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "serve" {
		serve(os.Args[2])
	}
	if dir := os.Getenv("TEST_AGENT"); dir != "" {
		agent(dir, os.Getenv("TEST_INSTANCE"))
	}
	os.Exit(m.Run())
}

func serve(socket string) {
	l, err := net.Listen("unix", socket)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
	_, _ = l.Accept()
	select {}
}

// agent starts one process and then lives until it is killed.
func agent(dir, instance string) {
	h := host.New("kvm1", instance)
	h.RunDir = dir
	w := &world{host: h}
	if err := w.make(sleeper("a")); err != nil {
		fmt.Println(err)
	}
	fmt.Println("ready")
	select {}
}

type world struct {
	t       testing.TB
	host    *host.Host
	patient bool // its drivers wait until a process ends or serves, however busy the machine
}

func newWorld(t testing.TB) *world {
	t.Helper()
	h := host.New("kvm1", fmt.Sprintf("test-%d-%s", os.Getpid(), t.Name()))
	h.RunDir, h.Netns = t.TempDir(), t.TempDir()
	w := &world{t: t, host: h}
	t.Cleanup(func() {
		for _, list := range w.scan() {
			for _, p := range list {
				_ = syscall.Kill(p.pid, syscall.SIGKILL)
			}
		}
		if left := w.scan(); len(left) > 0 {
			w.until("all is gone", func() bool { return len(w.scan()) == 0 })
		}
	})
	return w
}

// driver is a new one each time: nothing may be remembered but on the host.
func (w *world) driver() *Driver {
	d := New(w.host)
	d.grace, d.alive = 200*time.Millisecond, 10*time.Millisecond
	if w.patient {
		d.alive = 20 * time.Second
	}
	return d
}

func (w *world) scan() map[string][]found {
	w.t.Helper()
	all, err := w.driver().scan(context.Background())
	must(w.t, err)
	return all
}

func step(i int, p resource.Process, drop bool, after ...int) *plan.Step {
	e := &resource.Entry{State: p, Owner: owner}
	a := &plan.Action{ID: p.ID(), Verb: plan.Create, After: e}
	if drop {
		a = &plan.Action{ID: p.ID(), Verb: plan.Delete, Before: e}
	}
	return &plan.Step{Index: i, Action: a, Drop: drop, After: after}
}

func (w *world) make(p resource.Process) error {
	return w.driver().Do(context.Background(), []*plan.Step{step(0, p, false)})[0]
}

func (w *world) drop(p resource.Process) error {
	return w.driver().Do(context.Background(), []*plan.Step{step(0, p, true)})[0]
}

func (w *world) observe(want ...resource.Process) resource.Set {
	w.t.Helper()
	scope := driver.Scope{Desired: resource.Set{}}
	for _, p := range want {
		scope.Desired.Put(resource.Entry{State: p, Owner: owner})
	}
	got, err := w.driver().Observe(context.Background(), scope)
	must(w.t, err)
	return got.Set
}

func (w *world) equal(p resource.Process) bool {
	w.t.Helper()
	e, ok := w.observe(p)[p.ID()]
	return ok && e.State.Fingerprint() == p.Fingerprint() && e.Owner == owner
}

// pid of the one process of that name.
func (w *world) pid(name string) int {
	w.t.Helper()
	list := tops(w.scan()[name])
	if len(list) != 1 {
		w.t.Fatalf("%d processes called %s", len(list), name)
	}
	return list[0].pid
}

func (w *world) until(what string, f func() bool) {
	w.t.Helper()
	for end := time.Now().Add(10 * time.Second); !f(); {
		if time.Now().After(end) {
			w.t.Fatalf("it never came to be that %s", what)
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func sleeper(name string) resource.Process {
	return resource.Process{Name: name, Argv: []string{"sleep", "1000"}}
}

func shell(name, script string) resource.Process {
	return resource.Process{Name: name, Argv: []string{"sh", "-c", script}}
}
