package process

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"weft.dev/reconcile/driver"
	"weft.dev/reconcile/host"
	"weft.dev/reconcile/plan"
	"weft.dev/reconcile/resource"
)

func TestMakeObserveDrop(t *testing.T) {
	w := newWorld(t)
	p := sleeper("acme-web/a")
	must(t, w.make(p))
	if !w.equal(p) {
		t.Fatalf("seen as %v", w.observe(p))
	}
	pid := w.pid(p.Name)
	must(t, w.make(p))
	if w.pid(p.Name) != pid {
		t.Error("making it twice starts it anew")
	}
	if sid, err := syscall.Getpgid(pid); err != nil || sid != pid {
		t.Errorf("it leads no session of its own: %d, %v", sid, err)
	}
	if wd, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid)); err != nil || wd != "/" {
		t.Errorf("its directory is %q, %v", wd, err)
	}
	env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	must(t, err)
	if n := strings.Count(string(env), "\x00"); n != 6 {
		t.Errorf("environment of %d: %q", n, env)
	}
	for range 2 {
		must(t, w.drop(p))
		if len(w.scan()) != 0 || len(w.observe(p)) != 0 {
			t.Error("it is still there")
		}
	}
	if logs, err := os.ReadDir(filepath.Join(w.host.RunDir, "log")); err != nil || len(logs) != 0 {
		t.Errorf("logs stay: %v, %v", logs, err)
	}
	if keys := w.host.Marks("process").Keys(); len(keys) != 0 {
		t.Errorf("marks stay: %v", keys)
	}
}

func TestRunStandsForTheDirectoryOfFiles(t *testing.T) {
	w := newWorld(t)
	p := resource.Process{Name: "a", Argv: []string{"sh", "-c", "echo $0; sleep 1000", "{run}/x"}, Test: []string{"test", "{run}/x", "=", w.host.RunDir + "/files/x"}}
	must(t, w.make(p))
	p.Load = 1
	must(t, w.make(p)) // tests
	w.until("the path is printed", func() bool {
		b, _ := os.ReadFile(w.driver().logPath("a"))
		return string(b) == w.host.RunDir+"/files/x\n"
	})
}

// What a process wrote into its file is there for the next one of its name, and for
// no other.
func TestStateOutlivesTheProcess(t *testing.T) {
	w := newWorld(t)
	script := func(name, line string) resource.Process {
		return resource.Process{Name: name, Argv: []string{"sh", "-c", "mkdir -p $(dirname $1) && " + line + "; sleep 1000", "{weft}", "{state}"}}
	}
	says := func(name, want string) {
		t.Helper()
		w.until(name+" has said "+want, func() bool {
			b, _ := os.ReadFile(w.driver().logPath(name))
			return string(b) == want+"\n"
		})
	}
	must(t, w.make(script("web/a", "echo kept >$1; echo $0")))
	self, err := os.Executable()
	must(t, err)
	says("web/a", self)
	must(t, w.drop(script("web/a", "")))
	must(t, w.make(script("web/a", "cat $1")))
	says("web/a", "kept")
	must(t, w.make(script("web/b", "cat $1 || echo nothing")))
	w.until("another process has nothing", func() bool {
		b, _ := os.ReadFile(w.driver().logPath("web/b"))
		return strings.HasSuffix(string(b), "nothing\n")
	})
}

// What processes kept is forgotten long after they went, and only then.
func TestStateOfThePastIsForgotten(t *testing.T) {
	w := newWorld(t)
	old := time.Now().Add(-2 * keptFor)
	for _, name := range []string{"runs", "went", "goes"} {
		path := w.driver().keptPath(name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o700))
		must(t, os.WriteFile(path, []byte(name), 0o600))
		must(t, os.Mkdir(path+beside, 0o700))
		must(t, os.WriteFile(filepath.Join(path+beside, "pid"), nil, 0o600))
		must(t, os.Chtimes(path, old, old))
		must(t, os.Chtimes(path+beside, old, old))
	}
	must(t, w.make(sleeper("runs")))
	must(t, w.make(sleeper("goes")))
	must(t, w.drop(sleeper("goes")))
	for name, want := range map[string]bool{"runs": true, "goes": true, "went": false} {
		if _, err := os.Stat(w.driver().keptPath(name)); (err == nil) != want {
			t.Errorf("what %q kept is there: %v, want %v", name, err == nil, want)
		}
	}
	for name, want := range map[string]bool{"runs": true, "went": false} {
		if _, err := os.Stat(w.driver().keptPath(name) + beside); (err == nil) != want {
			t.Errorf("the directory of %q is there: %v, want %v", name, err == nil, want)
		}
	}
}

func TestEveryChangeOfAField(t *testing.T) {
	for _, c := range []struct {
		name    string
		change  func(*resource.Process)
		restart bool
	}{
		{"command", func(p *resource.Process) { p.Argv = []string{"sleep", "1001"} }, true},
		{"start", func(p *resource.Process) { p.Start++ }, true},
		{"load", func(p *resource.Process) { p.Load++ }, false},
		{"reload", func(p *resource.Process) { p.Reload = "USR1" }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			p := sleeper("a")
			must(t, w.make(p))
			pid := w.pid("a")
			c.change(&p)
			if w.equal(p) {
				t.Fatal("the change is not seen")
			}
			must(t, w.make(p))
			if !w.equal(p) {
				t.Errorf("seen as %v", w.observe(p))
			}
			if (w.pid("a") != pid) != c.restart {
				t.Errorf("restarted: %v", w.pid("a") != pid)
			}
		})
	}
}

func TestReload(t *testing.T) {
	w := newWorld(t)
	file := filepath.Join(t.TempDir(), "loaded")
	p := shell("a", "trap 'echo x >> "+file+"' USR1; echo up; while :; do sleep 0.05; done") // wait could miss a signal, and nohup takes HUP away
	p.Reload = "USR1"
	must(t, w.make(p))
	w.until("the signal is trapped", func() bool {
		b, _ := os.ReadFile(w.driver().logPath("a"))
		return string(b) == "up\n"
	})
	p.Load = 5
	must(t, w.make(p))
	w.until("it has reloaded", func() bool { b, _ := os.ReadFile(file); return string(b) == "x\n" })
	// What was loaded is forgotten with the mark: that is drift, and healed by
	// one more reload.
	must(t, os.RemoveAll(filepath.Join(w.host.RunDir, "marks")))
	if w.equal(p) {
		t.Error("nobody knows what it loaded, and it is seen as equal")
	}
	pid := w.pid("a")
	must(t, w.make(p))
	if !w.equal(p) || w.pid("a") != pid {
		t.Errorf("seen as %v", w.observe(p))
	}
	w.until("it has reloaded again", func() bool { b, _ := os.ReadFile(file); return string(b) == "x\nx\n" })
	p.Reload, p.Load = "KILL", 6
	if err := w.make(p); err == nil {
		t.Error("KILL is taken for a signal that reloads")
	}
}

// A file that was changed by hand may have been loaded by hand.
func TestFileChangedByHand(t *testing.T) {
	w := newWorld(t)
	path := filepath.Join(w.driver().run, "hosts")
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.WriteFile(path, []byte("right"), 0o644))
	p := sleeper("a")
	p.Load, p.After = 1, []resource.ID{{Kind: resource.KindFile, Name: "hosts"}}
	must(t, w.make(p))
	if !w.equal(p) {
		t.Fatalf("seen as %v", w.observe(p))
	}
	later := time.Now().Add(time.Hour) // the clock was set back
	must(t, os.Chtimes(path, later, later))
	if w.equal(p) {
		t.Error("it is taken for what was loaded")
	}
	pid := w.pid("a")
	must(t, w.make(p))
	if !w.equal(p) || w.pid("a") != pid {
		t.Errorf("seen as %v", w.observe(p))
	}
}

func TestFailedTestKeepsWhatRuns(t *testing.T) {
	w := newWorld(t)
	p := sleeper("a")
	must(t, w.make(p))
	pid := w.pid("a")
	p.Start, p.Test = 9, []string{"sh", "-c", "echo bad line 7 >&2; exit 4"}
	err := w.make(p)
	var command *host.CommandError
	if !errors.As(err, &command) || command.Code != 4 || command.Stderr != "bad line 7" {
		t.Errorf("got %v", err)
	}
	if w.pid("a") != pid {
		t.Error("what ran was touched")
	}
	p.Start, p.Load = 0, 1
	if err := w.make(p); err == nil || w.equal(p) {
		t.Errorf("it was reloaded all the same: %v", err)
	}
}

func TestFailedStart(t *testing.T) {
	w := newWorld(t)
	w.patient = true
	for _, c := range []struct {
		p    resource.Process
		want string
	}{
		{shell("a", "echo first; echo cannot bind >&2; exit 2"), "exit 2: cannot bind"},
		{shell("a", "exit 0"), "ended at once"},
		{shell("a", "kill -9 $$"), "killed"},
		{resource.Process{Name: "a", Argv: []string{"/nonexistent/daemon"}}, "no such file"},
		{resource.Process{Name: "a"}, "empty"},
		{resource.Process{Name: "a", Argv: []string{"sleep", "10\x0000"}}, "invalid argument"},
		{resource.Process{Name: "a", Argv: []string{"sleep", "1000"}, NS: "none"}, "namespace none"},
	} {
		if err := w.make(c.p); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: got %v, want %s", c.p.Argv, err, c.want)
		}
		if got := w.observe(c.p); len(got) != 0 {
			t.Errorf("%q: seen %v", c.p.Argv, got)
		}
	}
	if keys := w.host.Marks("process").Keys(); len(keys) != 0 {
		t.Errorf("marks stay: %v", keys)
	}
}

func TestStartWaitsForTheSocket(t *testing.T) {
	w := newWorld(t)
	socket := filepath.Join(t.TempDir(), "s")
	d := w.driver()
	d.alive = time.Minute
	p := resource.Process{Name: "a", Argv: []string{os.Args[0], "serve", socket}}
	must(t, d.Do(context.Background(), []*plan.Step{step(0, p, false)})[0])
	conn, err := net.Dial("unix", socket)
	must(t, err)
	must(t, conn.Close())
	second := resource.Process{Name: "b", Argv: p.Argv}
	if err := d.Do(context.Background(), []*plan.Step{step(0, second, false)})[0]; err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a daemon that cannot bind: %v", err)
	}
}

func TestDaemonThatForks(t *testing.T) {
	w := newWorld(t)
	p := shell("a", "sleep 1000 & exit 0")
	must(t, w.make(p))
	if !w.equal(p) {
		t.Errorf("seen as %v", w.observe(p))
	}
	must(t, w.drop(p))
	if left := w.scan(); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

func TestStopTakesChildrenAndTheDeaf(t *testing.T) {
	w := newWorld(t)
	p := shell("a", "trap '' TERM; sleep 1000 & echo up; while :; do wait; done")
	must(t, w.make(p))
	w.until("TERM is ignored", func() bool {
		b, _ := os.ReadFile(w.driver().logPath("a"))
		return string(b) == "up\n"
	})
	w.until("it has a child", func() bool { return len(w.scan()["a"]) == 2 })
	must(t, w.drop(p))
	if left := w.scan(); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

func TestDuplicates(t *testing.T) {
	w := newWorld(t)
	p := sleeper("a")
	must(t, w.make(p))
	right := w.pid("a")
	d := w.driver()
	other := &batch{Driver: d, spaces: d.namespaces()}
	wrong := p
	wrong.Start = 3
	must(t, other.start(context.Background(), p, owner))
	must(t, other.start(context.Background(), wrong, owner))
	if w.equal(p) {
		t.Fatal("three processes are seen as one")
	}
	must(t, w.make(p))
	if w.pid("a") != right || !w.equal(p) {
		t.Errorf("pid %d, was %d", w.pid("a"), right)
	}
}

func TestOthersAreNotOurs(t *testing.T) {
	w := newWorld(t)
	p := sleeper("a")
	must(t, w.make(p))
	other := New(host.New("kvm1", w.host.Instance+"x"))
	got, err := other.Observe(context.Background(), driver.Scope{})
	must(t, err)
	if len(got.Set) != 0 {
		t.Errorf("another instance sees %v", got.Set)
	}
}

func TestUnknownStart(t *testing.T) {
	w := newWorld(t)
	p := sleeper("a")
	must(t, w.make(p))
	must(t, os.RemoveAll(filepath.Join(w.host.RunDir, "marks")))
	if !w.equal(p) {
		t.Error("without a mark it is not recognised by what is wanted")
	}
	e := w.observe()[p.ID()]
	if got := e.State.(resource.Process); strings.Join(got.Argv, " ") != "sleep 1000" || e.Owner != owner {
		t.Errorf("seen as %v of %s", got, e.Owner)
	}
	must(t, w.drop(p))
}

// An agent that is killed leaves its processes, and the next one knows them.
func TestKilledAgent(t *testing.T) {
	w := newWorld(t)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "TEST_AGENT="+w.host.RunDir, "TEST_INSTANCE="+w.host.Instance)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("the agent says %q, %v", line, err)
	}
	pid := w.pid("a")
	must(t, cmd.Process.Kill())
	_ = cmd.Wait()
	if !w.equal(sleeper("a")) || w.pid("a") != pid {
		t.Errorf("seen as %v", w.observe(sleeper("a")))
	}
	must(t, w.make(sleeper("a")))
	if w.pid("a") != pid {
		t.Error("the next agent starts it anew")
	}
}

func TestOrderWithinABatch(t *testing.T) {
	w := newWorld(t)
	p := sleeper("a")
	must(t, w.make(p))
	pid := w.pid("a")
	bad := resource.Process{Name: "bad"}
	errs := w.driver().Do(context.Background(), []*plan.Step{
		step(7, p, true), step(8, p, false, 7), step(9, bad, false), step(10, sleeper("b"), false, 9), step(11, sleeper("c"), false, 10),
	})
	if errs[0] != nil || errs[1] != nil || errs[2] == nil || !errors.Is(errs[3], plan.ErrSkipped) || !errors.Is(errs[4], plan.ErrSkipped) {
		t.Errorf("got %v", errs)
	}
	if w.pid("a") == pid || len(w.scan()) != 1 {
		t.Errorf("running: %v", w.scan())
	}
}

// TestWatch: what ran before anybody watched is watched too.
func TestWatch(t *testing.T) {
	w := newWorld(t)
	must(t, w.make(sleeper("old")))
	d := w.driver()
	ctx, cancel := context.WithCancel(context.Background())
	wakes, done := make(chan struct{}, 100), make(chan error)
	go func() { done <- d.Watch(ctx, func(driver.Scope) { wakes <- struct{}{} }) }()
	w.until("it watches", func() bool { d.mu.Lock(); defer d.mu.Unlock(); return d.watching })
	must(t, syscall.Kill(w.pid("old"), syscall.SIGKILL))
	<-wakes
	cancel()
	must(t, <-done)
}

// TestWatchOwn: what Do starts is watched, and what it stops wakes nobody. A process
// that is killed may wake more than once; until then nothing is missing.
func TestWatchOwn(t *testing.T) {
	w := newWorld(t)
	d := w.driver()
	ctx, cancel := context.WithCancel(context.Background())
	var killed atomic.Bool
	wakes, done := make(chan bool, 100), make(chan error)
	go func() { done <- d.Watch(ctx, func(driver.Scope) { wakes <- killed.Load() }) }()
	w.until("it watches", func() bool { d.mu.Lock(); defer d.mu.Unlock(); return d.watching })
	do := func(s *plan.Step) { t.Helper(); must(t, d.Do(ctx, []*plan.Step{s})[0]) }

	do(step(0, sleeper("mine"), false))
	do(step(0, sleeper("mine"), true))
	do(step(0, sleeper("last"), false))
	killed.Store(true)
	must(t, syscall.Kill(w.pid("last"), syscall.SIGKILL))
	if !<-wakes {
		t.Error("it wakes up for what Do stopped")
	}
	cancel()
	must(t, <-done)
}

func TestTrim(t *testing.T) {
	w := newWorld(t)
	d := w.driver()
	log, err := d.openLog("a")
	must(t, err)
	for i := range 100_000 {
		_, err := fmt.Fprintf(log, "line %d of many\n", i)
		must(t, err)
	}
	d.trim()
	_, err = log.WriteString("after\n")
	must(t, err)
	b, err := os.ReadFile(d.logPath("a"))
	must(t, err)
	if len(b) > keepLog+6 || !strings.HasPrefix(string(b), "line ") || !strings.HasSuffix(string(b), "line 99999 of many\nafter\n") {
		t.Errorf("%d bytes, %.20q ... %q", len(b), b, b[max(0, len(b)-40):])
	}
	must(t, log.Close())
}
