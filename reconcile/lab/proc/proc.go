// Package proc starts and waits for the children of a process that is PID 1 of a pid namespace, where every orphan
// becomes a child too. Commands go in; exit states come out. A process that uses a Table must wait for no child in
// another way: one loop reaps all. Only reconcile/lab and its packages import it.
package proc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A Table holds the running children. Its zero value is not usable; make one with NewTable, once in a process.
type Table struct {
	mu      sync.Mutex // also keeps the reaper from a child that is not registered yet
	running map[int]*Process
}

// A Process is a child that was started through a Table.
type Process struct {
	Pid    int
	table  *Table
	done   chan struct{}
	status syscall.WaitStatus // valid once done is closed
}

// NewTable starts to reap all children of this process, known and orphaned.
func NewTable() *Table {
	t := &Table{running: map[int]*Process{}}
	child := make(chan os.Signal, 1)
	signal.Notify(child, syscall.SIGCHLD)
	go func() {
		for range child {
			t.reap()
		}
	}()
	return t
}

func (t *Table) reap() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
		if p := t.running[pid]; p != nil {
			delete(t.running, pid)
			p.status = status
			close(p.done)
		}
	}
}

// Start starts cmd, whose streams must be files or nil: nothing copies for it.
func (t *Table) Start(cmd *exec.Cmd) (*Process, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &Process{Pid: cmd.Process.Pid, table: t, done: make(chan struct{})}
	t.running[p.Pid] = p
	return p, cmd.Process.Release()
}

// Done is closed when the process has ended and was reaped.
func (p *Process) Done() <-chan struct{} { return p.done }

// Wait returns nil after exit status 0, else what happened.
func (p *Process) Wait() error {
	<-p.done
	switch {
	case p.status.Signaled():
		return fmt.Errorf("killed by signal %d (%s)", p.status.Signal(), p.status.Signal())
	case p.status.ExitStatus() != 0:
		return fmt.Errorf("exit status %d", p.status.ExitStatus())
	}
	return nil
}

// Signal sends sig unless the process was reaped already, so it never hits another process of the same number.
func (p *Process) Signal(sig syscall.Signal) {
	p.table.mu.Lock()
	defer p.table.mu.Unlock()
	select {
	case <-p.done:
	default:
		_ = syscall.Kill(p.Pid, sig) // the zombie of a process that ended this instant takes the signal without effect
	}
}

// Kill ends the process at once and returns when it is reaped.
func (p *Process) Kill() {
	p.Signal(syscall.SIGKILL)
	<-p.done
}

// Run runs a command to its end and returns its standard output. The process is killed when ctx ends. The error carries
// the command, how it ended, and the last line of its standard error.
func (t *Table) Run(ctx context.Context, argv ...string) (string, error) {
	outR, outW, err := os.Pipe()
	if err != nil {
		return "", err
	}
	defer func() { _ = outR.Close() }()
	errR, errW, err := os.Pipe()
	if err != nil {
		_ = outW.Close()
		return "", err
	}
	defer func() { _ = errR.Close() }()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = outW, errW
	p, err := t.Start(cmd)
	_ = outW.Close()
	_ = errW.Close()
	if err != nil {
		return "", fmt.Errorf("%s: %w", strings.Join(argv, " "), err)
	}
	stop := context.AfterFunc(ctx, func() { p.Signal(syscall.SIGKILL) })
	defer stop()
	var stdout, stderr bytes.Buffer
	var readers sync.WaitGroup
	readers.Go(func() { _, _ = io.Copy(&stdout, outR) })
	readers.Go(func() { _, _ = io.Copy(&stderr, errR) })
	err = p.Wait()
	// A daemon that the command left behind may hold the pipes open for ever.
	timer := time.AfterFunc(time.Second, func() {
		_ = outR.SetReadDeadline(time.Now())
		_ = errR.SetReadDeadline(time.Now())
	})
	readers.Wait()
	timer.Stop()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, lastLine(stderr.String()))
	}
	return stdout.String(), nil
}

func lastLine(text string) string {
	text = strings.TrimSpace(text)
	return text[strings.LastIndexByte(text, '\n')+1:]
}
