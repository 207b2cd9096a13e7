package trial

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"weft.dev/reconcile/engine"
)

// armPatience is how long a watchdog may take to be ready.
const armPatience = 30 * time.Second

// The descriptors that a watchdog inherits beside the standard ones.
const (
	aliveFD = 3 + iota // the lock; it lasts as long as the process
	readyFD            // gets one byte when the watchdog is ready
)

// Arm begins a trial of timeout and starts its watchdog: a copy of this program, in
// a session of its own, with the arguments that args gives for the trial. It
// returns when the watchdog watches; on an error nothing was begun. The watchdog is
// to call Ready and Await.
func (t *Trials) Arm(ctx context.Context, back engine.Stored, timeout time.Duration, args func(*Trial) []string) (*Trial, error) {
	x, err := t.begin(back, timeout)
	if err != nil {
		return nil, err
	}
	if err := t.start(ctx, args(x)); err != nil {
		return nil, errors.Join(fmt.Errorf("watchdog: %w", err), t.Withdraw(x.ID))
	}
	return x, t.again(x.ID) // its time begins now
}

// again gives the trial its whole time.
func (t *Trials) again(id string) error {
	c, err := t.Claim(id)
	if c == nil {
		return err
	}
	defer c.Release()
	x, _ := t.read()
	return t.put(x)
}

// Withdraw ends a trial of which nothing was carried out.
func (t *Trials) Withdraw(id string) error {
	c, err := t.Claim(id)
	if c == nil {
		return err
	}
	return c.End(Outcome{ID: id, Outcome: Withdrawn})
}

func (t *Trials) start(ctx context.Context, args []string) error {
	if err := copyProgram(t.path("weft")); err != nil {
		return err
	}
	alive, err := t.lockSoon("alive")
	if err != nil {
		return fmt.Errorf("the last one still runs: %w", err)
	}
	defer func() { _ = alive.Close() }()
	ready, tell, err := os.Pipe()
	if err != nil {
		return err
	}
	defer func() { _ = ready.Close() }()
	log, err := os.OpenFile(t.path("log"), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return errors.Join(err, tell.Close())
	}
	defer func() { _ = log.Close() }()
	// Not CommandContext: it is to outlive all of this.
	cmd := exec.Command(t.path("weft"), args...) //nolint:noctx // it outlives ctx
	cmd.Dir, cmd.Stdout, cmd.Stderr = "/", log, log
	cmd.ExtraFiles = []*os.File{aliveFD - 3: alive, readyFD - 3: tell}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // no hangup, no ^C
	err = cmd.Start()
	_ = tell.Close()
	if err != nil {
		return err
	}
	go func() { _ = cmd.Wait() }() // no zombie while the apply lasts
	stop := context.AfterFunc(ctx, func() { _ = ready.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	_ = ready.SetReadDeadline(time.Now().Add(armPatience)) // a pipe can
	if _, err := io.ReadFull(ready, make([]byte, 1)); err != nil {
		_ = cmd.Process.Kill() // it may be gone
		return fmt.Errorf("it is not ready: %s", t.said())
	}
	return nil
}

// said is the last line of the watchdog's log.
func (t *Trials) said() string {
	b, _ := os.ReadFile(t.path("log")) // then it said nothing
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	if last := lines[len(lines)-1]; last != "" {
		return last
	}
	return "it said nothing"
}

// Ready tells who started this watchdog that it watches.
func Ready() error {
	syscall.CloseOnExec(aliveFD) // daemons that it starts must not keep the lock
	f := os.NewFile(readyFD, "ready")
	if f == nil {
		return errors.New("nobody started this watchdog")
	}
	_, err := f.Write([]byte{'\n'})
	return errors.Join(err, f.Close())
}

// copyProgram copies the running program, so that the watchdog works though it is
// replaced or its file system gone.
func copyProgram(to string) error {
	from, err := os.Open("/proc/self/exe")
	if err != nil {
		return err
	}
	defer func() { _ = from.Close() }()
	tmp, err := os.CreateTemp(filepath.Dir(to), ".weft-")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(tmp.Name()) }() // it has its name by then
	_, err = io.Copy(tmp, from)
	if err = errors.Join(err, tmp.Chmod(0o700), tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), to)
}
