package agent

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weft.dev/reconcile/status"
	"weft.dev/schema"
)

// A repository that does not answer makes nothing well that was not.
func TestUnreachableHidesNothing(t *testing.T) {
	w := newWorld(t)
	w.define(1, func() (*Compiled, error) {
		var ds schema.Diags
		ds.Errorf(schema.Pos{File: "b.yaml", Line: 3, Col: 5}, "bad", "vni 7001 is used twice")
		return &Compiled{Intent: intent("a"), Diags: ds}, nil
	})
	w.repo.push(1, false)
	w.start()
	w.until("the mistake is told", reason(status.Stalled, "Invalid"))
	w.repo.fail(errors.New("fetch: /srv/net.git: no answer"))
	w.repo.wakes <- struct{}{}
	s := w.until("the silence is told", func(s *status.Status) bool {
		return strings.Contains(s.Condition(status.Stalled).Message, "no answer")
	})
	if s.Condition(status.Ready).True || s.Condition(status.Stalled).Reason != "Invalid" {
		t.Errorf("%+v", s.Conditions)
	}
}

// Who asks for drift is told when nobody could look.
func TestDriftThatNobodyCanSee(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	w.repo.fail(errors.New("no answer"))
	w.start()
	if s, err := w.client().Drift(ctx); err == nil || !strings.Contains(err.Error(), "no revision yet") {
		t.Errorf("before there is a revision: %v, %v", s, err)
	}
	w.repo.fail(nil)
	w.push(1, "a")
	w.applied(1)
	other, err := os.Create(filepath.Join(w.host.RunDir, "apply.lock"))
	must(t, err)
	must(t, unix.Flock(int(other.Fd()), unix.LOCK_EX))
	if s, err := w.client().Drift(ctx); err == nil || !strings.Contains(err.Error(), "another weft") {
		t.Errorf("while another changes the host: %v, %v", s, err)
	}
	if s := w.agent.Status(); s.Condition(status.Stalled).True {
		t.Errorf("that another is at work is no damage: %+v", s.Conditions)
	}
	must(t, other.Close())
	if _, err := w.client().Drift(ctx); err != nil {
		t.Error(err)
	}
}

// What cannot be read may have been a suspension: nothing is changed.
func TestDamagedMemoryIsASuspension(t *testing.T) {
	w := newWorld(t)
	w.push(1, "a")
	must(t, os.MkdirAll(w.host.StateDir, 0o700))
	must(t, os.WriteFile(filepath.Join(w.host.StateDir, "agent.json"), []byte(`{"suspended":{"":`), 0o600))
	w.start()
	s := w.until("it has looked", func(s *status.Status) bool { return s.Condition(status.Suspended).True && len(s.Owners) > 0 })
	if !s.HostSuspended() || w.kernel.names() != "" || !strings.Contains(s.Condition(status.Suspended).Message, "agent.json cannot be read") {
		t.Errorf("kernel has %q, %+v", w.kernel.names(), s.Conditions)
	}
	if _, err := w.client().Resume(context.Background(), ""); err != nil || w.kernel.names() != "a" {
		t.Errorf("after resume: %q, %v", w.kernel.names(), err)
	}
}

func TestOneSuspendedNetworkIsNotTheHost(t *testing.T) {
	w := newWorld(t)
	w.push(1, "a", "b")
	w.start()
	w.applied(1)
	s, err := w.client().Suspend(context.Background(), "acme/a", "")
	must(t, err)
	if s.HostSuspended() || !s.Condition(status.Suspended).True {
		t.Errorf("%+v", s.Conditions)
	}
	s, err = w.client().Suspend(context.Background(), "", "")
	must(t, err)
	if !s.HostSuspended() {
		t.Errorf("%+v", s.Conditions)
	}
}

// Others learn from the state directory what is followed, whether an agent runs or not.
func TestFollowed(t *testing.T) {
	w := newWorld(t)
	if got := Followed(w.host); got != "" {
		t.Errorf("before there was an agent: %q", got)
	}
	w.push(1, "a")
	w.start()
	w.applied(1)
	w.stop()
	if got := Followed(w.host); got != "/srv/net.git" {
		t.Errorf("got %q", got)
	}
}

// A pass may last longer than systemd waits for a sign of life.
func TestWatchdogIsFedDuringAPass(t *testing.T) {
	path := filepath.Join(t.TempDir(), "n")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	must(t, err)
	defer func() { _ = l.Close() }()
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()))
	t.Setenv("WATCHDOG_USEC", "30000")
	a := &Agent{Config: Config{Limit: time.Minute}}
	stop := a.feeding()
	must(t, l.SetReadDeadline(time.Now().Add(20*time.Second)))
	b := make([]byte, 100)
	for range 3 {
		n, err := l.Read(b)
		if err != nil || string(b[:n]) != "WATCHDOG=1" {
			t.Fatalf("%q, %v", b[:n], err)
		}
	}
	stop()
}
