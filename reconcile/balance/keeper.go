package balance

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"

	"weft.dev/reconcile/host"
)

const (
	program = "haproxy"
	// localPeer is the name under which a process hands its tables to the next one.
	localPeer = "weft"
)

const (
	// startTime bounds how long a new process takes to answer; it takes 50 ms.
	startTime = 10 * time.Second
	stopTime  = 2 * time.Second
	// learnTime bounds how long a process takes to have all tables: HAProxy waits 5
	// seconds for the old process and 5 for other hosts (PEER_RESYNC_TIMEOUT).
	learnTime = 12 * time.Second
	// settleTime passes between a change of the files and their being read, as they
	// are written one after the other.
	settleTime = 50 * time.Millisecond
	// againTime passes between two tries to load what was not taken.
	againTime = 30 * time.Second
	pollTime  = 10 * time.Millisecond
)

// A keeper has one HAProxy, master and workers, do what the files say.
type keeper struct {
	dir, state string
	master     *os.Process

	mu     sync.Mutex
	loaded *config
	err    error // why what was written last is not loaded
}

func (k *keeper) run(first *config) error {
	stop, end := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer end()
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	// Certificates come and go without a signal.
	files, err := fsnotify.NewWatcher()
	if err != nil {
		return err
	}
	defer func() { _ = files.Close() }()
	if err := files.Add(k.dir); err != nil {
		return fmt.Errorf("watch %s: %w", k.dir, err)
	}
	ctx, ended := context.WithCancelCause(stop)
	defer ended(nil)
	cmd, err := k.start(first, ended)
	if err != nil {
		return err
	}
	defer k.end(cmd)
	if err := until(ctx, startTime, func() bool { _, err := worker(); return err == nil }); err != nil {
		return fmt.Errorf("it does not answer: %w", err)
	}
	if err := host.Tell(Socket, k.tell); err != nil {
		return err
	}
	look := time.NewTimer(0) // something may have been written meanwhile
	for {
		select {
		case <-ctx.Done():
			if stop.Err() != nil {
				return nil
			}
			return context.Cause(ctx)
		case <-hup:
			look.Reset(0)
		case <-files.Events:
			look.Reset(settleTime)
		case <-files.Errors: // events were lost
			look.Reset(settleTime)
		case <-look.C:
			if err := k.follow(ctx); err != nil && ctx.Err() == nil {
				fmt.Fprintln(os.Stderr, "haproxy: what was read before stays:", err)
				look.Reset(againTime)
			}
		}
	}
}

// given is what HAProxy reads.
func (k *keeper) given() string { return filepath.Join(k.state, "haproxy.cfg") }

// start starts HAProxy, which dies with the keeper; ended is told when it does.
func (k *keeper) start(first *config, ended context.CancelCauseFunc) (*exec.Cmd, error) {
	if err := os.MkdirAll(k.state, 0o700); err != nil {
		return nil, err
	}
	if err := k.give(first); err != nil {
		return nil, err
	}
	cmd := exec.Command(program, "-W", "-C", k.dir, "-L", localPeer, "-f", k.given())
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		return nil, reason(err, "")
	}
	k.master, k.loaded = cmd.Process, first
	go func() {
		err := cmd.Wait()
		ended(fmt.Errorf("it ended: %w", errors.Join(err, errors.New("see its log"))))
	}()
	return cmd, nil
}

// give puts a configuration where HAProxy reads it, in one rename.
func (k *keeper) give(c *config) error {
	next := k.given() + ".new"
	if err := os.WriteFile(next, []byte(c.text), 0o600); err != nil {
		return err
	}
	return os.Rename(next, k.given())
}

// end ends HAProxy.
func (k *keeper) end(cmd *exec.Cmd) {
	_ = cmd.Process.Signal(syscall.SIGTERM)
	gone := func() bool { return cmd.Process.Signal(syscall.Signal(0)) != nil }
	if until(context.Background(), stopTime, gone) != nil {
		_ = cmd.Process.Kill()
	}
}

// follow has HAProxy read what the files say if that is not what it has.
func (k *keeper) follow(ctx context.Context) error {
	next, err := read(k.dir)
	if err == nil {
		k.mu.Lock()
		same := next.sum == k.loaded.sum
		k.mu.Unlock()
		if same {
			k.note(nil, nil)
			return nil
		}
		err = check(k.dir, next.text)
	}
	if err == nil {
		err = k.load(ctx, next)
	}
	if err != nil {
		k.note(nil, err)
		return err
	}
	k.note(next, nil)
	return nil
}

// note takes in how loading went; nil stays as it was.
func (k *keeper) note(loaded *config, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if loaded != nil {
		k.loaded = loaded
	}
	k.err = err
}

// load has a new worker take over. A worker hands its tables on only when it has all of
// them itself, which one that was started without a predecessor says of itself after 5
// seconds; and a signal that comes while the master reads its configuration is lost (it
// ignores it for a moment, which drops what is pending): so each takeover is waited for.
func (k *keeper) load(ctx context.Context, next *config) error {
	stick := remembers()
	if stick {
		_ = until(ctx, learnTime, learned) // who never learns must not keep what is new from being read
	}
	if err := k.give(next); err != nil {
		return err
	}
	was, err := worker()
	if err != nil {
		return err
	}
	if err := until(ctx, startTime, k.listens); err != nil {
		return fmt.Errorf("its master does not listen: %w", err)
	}
	if err := k.master.Signal(syscall.SIGUSR2); err != nil {
		return err
	}
	another := func() bool { now, err := worker(); return err == nil && now != was }
	if err := until(ctx, startTime, another); err != nil {
		return fmt.Errorf("no new process answers: %w", err)
	}
	if stick {
		_ = until(ctx, learnTime, learned)
	}
	return nil
}

// reloads is the bit of SIGUSR2 in a set of signals.
const reloads = 1 << (syscall.SIGUSR2 - 1)

// listens reports whether the master would hear a signal.
func (k *keeper) listens() bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", k.master.Pid))
	if err != nil {
		return false
	}
	caught, blocked := uint64(0), uint64(reloads)
	for line := range strings.Lines(string(b)) {
		switch name, set, _ := strings.Cut(strings.TrimSpace(line), ":\t"); name {
		case "SigCgt":
			caught, _ = strconv.ParseUint(set, 16, 64)
		case "SigBlk":
			blocked, _ = strconv.ParseUint(set, 16, 64)
		}
	}
	return caught&reloads != 0 && blocked&reloads == 0
}

// until waits until ok says so.
func until(ctx context.Context, limit time.Duration, ok func() bool) error {
	tick := time.NewTicker(pollTime)
	defer tick.Stop()
	late := time.NewTimer(limit)
	defer late.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-late.C:
			return fmt.Errorf("not within %v", limit)
		case <-tick.C:
		}
	}
	return nil
}

// tell answers at Socket.
func (k *keeper) tell(line string) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	if line == "" {
		if k.err != nil {
			return "Error: what was read before stays: " + strings.ReplaceAll(k.err.Error(), "\n", " ")
		}
		return "Loaded"
	}
	switch end, ok := k.loaded.certs[line]; {
	case !ok && !strings.Contains(k.loaded.text, "listen "+line+"\n"):
		return "Closed: it is not loaded yet"
	case ok && end.IsZero():
		return "Closed: it has no certificate that can be used"
	case ok && time.Now().After(end):
		return "Expired: its certificate ended on " + end.UTC().Format("2006-01-02 15:04") + " UTC"
	}
	return "Serves"
}
