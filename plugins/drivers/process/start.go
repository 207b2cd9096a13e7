package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"weft.dev/reconcile/host"
	"weft.dev/reconcile/resource"
)

// testTime bounds a test of files; the slowest we know, haproxy -c, takes 50 ms.
const testTime = 10 * time.Second

// maxLog bounds a log file; what is beyond it goes, keepLog bytes stay.
const (
	maxLog  = 1 << 20
	keepLog = 64 << 10
)

// start runs p and returns once it serves, or lives and has nothing to serve.
func (b *batch) start(ctx context.Context, p resource.Process, owner resource.Owner) error {
	argv := b.expand(p, p.Argv)
	if len(argv) == 0 || argv[0] == "" {
		return errors.New("the command line is empty")
	}
	log, err := b.openLog(p.Name)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	begin, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = "/", b.environ(p, owner), log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := b.host.In(p.NS, cmd.Start); err != nil {
		return &host.CommandError{Argv: argv, NS: p.NS, Err: err}
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	err, over := b.settle(ctx, cmd.Process.Pid, ended)
	if !over {
		b.begun(cmd.Process.Pid)
		return err
	}
	if err == nil {
		if b.runs(ctx, p) {
			return nil
		}
		err = errors.New("it ended at once, with status 0")
	}
	e := &host.CommandError{Argv: argv, NS: p.NS, Stderr: lastLine(log, begin), Err: err}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		e.Code = exit.ExitCode()
	}
	return e
}

// settle waits until the new process sleeps and holds a socket of its own,
// which is how a daemon looks that waits for clients, or has lived for a while
// without. over says that it ended, with err.
func (b *batch) settle(ctx context.Context, pid int, ended <-chan error) (err error, over bool) {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	late := time.NewTimer(b.alive)
	defer late.Stop()
	for quiet := 0; quiet < 2; {
		select {
		case err := <-ended:
			return err, true
		case <-ctx.Done():
			return ctx.Err(), false
		case <-late.C:
			return nil, false
		case <-tick.C:
		}
		if s, ok := statOf(pid); ok && s.sleeping && holdsSocket(pid) {
			quiet++
		} else {
			quiet = 0
		}
	}
	return nil, false
}

// holdsSocket says whether a process has a socket; it was given none.
func holdsSocket(pid int) bool {
	dir := "/proc/" + strconv.Itoa(pid) + "/fd"
	entries, err := os.ReadDir(dir)
	if err != nil {
		return false
	}
	for _, e := range entries {
		if to, err := os.Readlink(dir + "/" + e.Name()); err == nil && strings.HasPrefix(to, "socket:") {
			return true
		}
	}
	return false
}

// runs says whether a process started as p is there.
func (b *batch) runs(ctx context.Context, p resource.Process) bool {
	all, err := b.scan(ctx)
	if err != nil {
		return false
	}
	for _, f := range all[p.Name] {
		if f.start == startPrint(p) {
			return true
		}
	}
	return false
}

func (d *Driver) openLog(name string) (*os.File, error) {
	if err := os.MkdirAll(d.logs, 0o700); err != nil {
		return nil, fmt.Errorf("log of %s: %w", name, err)
	}
	// Appending: a process keeps writing at the end after the file was cut.
	f, err := os.OpenFile(d.logPath(name), os.O_RDWR|os.O_CREATE|os.O_APPEND|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("log of %s: %w", name, err)
	}
	return f, nil
}

// lastLine is the last line written to log after begin.
func lastLine(log *os.File, begin int64) string {
	end, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		return ""
	}
	from := max(begin, end-4096)
	b := make([]byte, max(0, end-from))
	n, _ := log.ReadAt(b, from)
	lines := strings.Split(strings.TrimSpace(string(b[:n])), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}

// trim cuts log files that have grown too large, down to their last lines.
func (d *Driver) trim() {
	entries, err := os.ReadDir(d.logs)
	if err != nil {
		return // there is no process
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() || info.Size() <= maxLog {
			continue
		}
		f, err := os.OpenFile(d.logs+"/"+e.Name(), os.O_RDWR|os.O_APPEND|syscall.O_NOFOLLOW, 0)
		if err != nil {
			continue
		}
		tail := make([]byte, keepLog)
		n, _ := f.ReadAt(tail, info.Size()-keepLog)
		tail = tail[:n]
		tail = tail[bytes.IndexByte(tail, '\n')+1:]
		if f.Truncate(0) == nil {
			_, _ = f.Write(tail)
		}
		_ = f.Close()
	}
}
