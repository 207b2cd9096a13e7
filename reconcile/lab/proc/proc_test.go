package proc

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// table is the one of this process: a second one would take its children away.
var table = NewTable()

func TestRun(t *testing.T) {
	ctx := context.Background()
	if out, err := table.Run(ctx, "sh", "-c", "echo out; echo err >&2"); err != nil || out != "out\n" {
		t.Errorf("%q, %v", out, err)
	}
	_, err := table.Run(ctx, "sh", "-c", "echo first >&2; echo last >&2; exit 3")
	if err == nil || !strings.HasSuffix(err.Error(), "exit status 3: last") {
		t.Errorf("error %v, want one with exit status and last line", err)
	}
	if _, err := table.Run(ctx, "no-such-program"); err == nil {
		t.Error("a program that is not there ran")
	}
	short, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := table.Run(short, "sleep", "1000"); err == nil || !strings.Contains(err.Error(), "signal") {
		t.Errorf("after its context: %v", err)
	}
	// A daemon that keeps the pipes open does not hold Run up.
	begin := time.Now()
	out, err := table.Run(ctx, "sh", "-c", "sleep 30 & echo $!")
	if err != nil || time.Since(begin) > 20*time.Second {
		t.Errorf("%q, %v after %v", out, err, time.Since(begin))
	}
	if _, err := table.Run(ctx, "kill", strings.TrimSpace(out)); err != nil {
		t.Error(err)
	}
}

func TestSignalOnlyWhatRuns(t *testing.T) {
	p, err := table.Start(exec.Command("sleep", "1000"))
	if err != nil {
		t.Fatal(err)
	}
	p.Kill()
	if err := p.Wait(); err == nil || !strings.Contains(err.Error(), "signal 9") {
		t.Errorf("killed process: %v", err)
	}
	p.Signal(syscall.SIGKILL) // of nobody
}

func TestService(t *testing.T) {
	dir := t.TempDir()
	events := make(chan struct{}, 1000)
	log := filepath.Join(dir, "log")
	const steady = 4 // the first run that stays
	script := fmt.Sprintf("echo run; test $(wc -l <%s) -ge %d && exec sleep 1000; exit 7", log, steady)
	s := table.NewService("crashing", []string{"sh", "-c", script}, nil, log, func() { events <- struct{}{} })
	until := func(what string, enough func(ServiceState) bool) {
		t.Helper()
		timeout := time.After(20 * time.Second)
		for !enough(s.State()) {
			select {
			case <-events:
			case <-timeout:
				t.Fatalf("never %s: %+v", what, s.State())
			}
		}
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	until("restarted", func(st ServiceState) bool {
		return st.Restarts == steady-1 && st.Running && st.LastExit == "exit status 7"
	})
	first := s.State().Pid
	if err := s.Start(); err != nil || s.State().Pid != first {
		t.Errorf("start of a running service: %v, pid %d after %d", err, s.State().Pid, first)
	}
	s.Stop(syscall.SIGKILL, time.Second)
	if st := s.State(); st.Running || st.LastExit == "" {
		t.Errorf("stopped service: %+v", st)
	}
	s.Stop(syscall.SIGKILL, time.Second) // again is nothing
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	until("running again", func(st ServiceState) bool { return st.Running && st.Restarts == 0 })
	s.Stop(syscall.SIGTERM, time.Second)
	if text, err := os.ReadFile(log); err != nil || strings.Count(string(text), "run\n") < steady-1 {
		t.Errorf("log %q, %v", text, err)
	}
	bad := table.NewService("bad", []string{"/no/such"}, nil, filepath.Join(dir, "log2"), func() {})
	if err := bad.Start(); err == nil || bad.State().Running {
		t.Errorf("start of a program that is not there: %v", err)
	}
}
