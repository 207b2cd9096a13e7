package pair

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// How a daemon that ends by itself is started again: at once, then slower. One that
// never lives is given up, so that whoever started this learns of it.
const (
	restPause = 50 * time.Millisecond
	restMost  = 5 * time.Second
	lived     = 2 * time.Second
	giveUp    = 8
	// grace is how long a daemon has to end, and its children after it.
	grace = 4 * time.Second
)

// A service is one call of the program.
type service struct {
	config, state string
	address       netip.Prefix
	link          string
	argv          []string

	pid     int // 0: it does not run
	started time.Time
	failed  int // starts in a row that did not live
	pause   <-chan time.Time
	signals chan os.Signal
	ended   chan int
}

func (s *service) dir() string { return s.state + ".d" }

// prepare makes the directory anew and adopts whatever daemons leave behind.
func (s *service) prepare() error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("adopt orphans: %w", err)
	}
	s.signals, s.ended = make(chan os.Signal, 8), make(chan int, 8)
	signal.Notify(s.signals, syscall.SIGHUP, syscall.SIGTERM, syscall.SIGINT, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGCHLD)
	if s.state == "" {
		return nil
	}
	if err := os.RemoveAll(s.dir()); err != nil {
		return err
	}
	return os.MkdirAll(s.dir(), 0o700)
}

// expand writes the configuration with its directory, and returns where.
func (s *service) expand(dir string) (string, error) {
	b, err := os.ReadFile(s.config)
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "conf")
	return path, os.WriteFile(path, []byte(strings.ReplaceAll(string(b), Dir, dir)), 0o600)
}

// start starts the daemon, which is told to end when this does.
func (s *service) start() error {
	path, err := exec.LookPath(s.argv[0])
	if err != nil {
		return err
	}
	attr := &syscall.ProcAttr{
		Dir: "/", Env: os.Environ(), Files: []uintptr{0, 1, 2},
		Sys: &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM},
	}
	if s.state != "" {
		attr.Dir = s.dir()
	}
	s.started, s.pause = time.Now(), nil
	s.pid, err = syscall.ForkExec(path, s.argv, attr)
	if err != nil {
		s.pid = 0
		return fmt.Errorf("start %s: %w", path, err)
	}
	return nil
}

// reap takes up who ended, and reports whether the daemon is among them.
func (s *service) reap() bool {
	daemon := false
	for {
		var how syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &how, syscall.WNOHANG, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil || pid <= 0 {
			return daemon
		}
		if pid == s.pid {
			s.pid, daemon = 0, true
			fmt.Fprintf(os.Stderr, "%s ended: %s\n", s.argv[0], ending(how))
		}
	}
}

func ending(how syscall.WaitStatus) string {
	if how.Signaled() {
		return how.Signal().String()
	}
	return fmt.Sprintf("exit %d", how.ExitStatus())
}

// again plans the next start after the daemon ended by itself.
func (s *service) again() error {
	if s.failed++; time.Since(s.started) > lived {
		s.failed = 1
	}
	if s.failed >= giveUp {
		return fmt.Errorf("%s ended %d times in a row", s.argv[0], s.failed)
	}
	s.pause = time.After(min(restPause<<(s.failed-1), restMost))
	return s.clear()
}

// stop ends the daemon and whatever it left behind.
func (s *service) stop() error {
	if s.pid != 0 {
		_ = syscall.Kill(s.pid, syscall.SIGTERM) // it ended: clear finds out
	}
	s.pause = nil
	err := s.clear()
	s.pid = 0
	return err
}

// clear waits until no child is left; all but the daemon are asked to end, and in the
// end killed.
func (s *service) clear() error {
	limit := time.Now().Add(grace)
	asked := map[int]bool{s.pid: true}
	for {
		late := time.Now().After(limit)
		for _, pid := range children() {
			switch {
			case late:
				_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended
			case !asked[pid]:
				asked[pid] = true
				_ = syscall.Kill(pid, syscall.SIGTERM)
			}
		}
		var how syscall.WaitStatus
		_, err := syscall.Wait4(-1, &how, syscall.WNOHANG, nil)
		if errors.Is(err, syscall.ECHILD) {
			return nil
		}
		if err != nil && !errors.Is(err, syscall.EINTR) {
			return fmt.Errorf("wait for %s: %w", s.argv[0], err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// children are the processes whose parent this is.
func children() []int {
	var out []int
	lists, _ := filepath.Glob("/proc/self/task/*/children")
	for _, l := range lists {
		b, err := os.ReadFile(l)
		if err != nil {
			continue // the thread ended
		}
		for _, word := range strings.Fields(string(b)) {
			pid := 0
			if _, err := fmt.Sscan(word, &pid); err == nil {
				out = append(out, pid)
			}
		}
	}
	return out
}

// test has keepalived judge the configuration.
func (s *service) test() error {
	dir, err := os.MkdirTemp("", "weft-pair-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	conf, err := s.expand(dir)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "keepalived", "-t", "-l", "-f", conf).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}
