package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/rpc"
	"net/rpc/jsonrpc"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"weft.dev/reconcile/source"
)

// ErrDown says that a lab does not run.
var ErrDown = errors.New("the lab is not up")

// Client talks to the supervisor of a lab that runs. Its methods may be used at once from several goroutines.
type Client struct {
	Name string
	dir  string
	rpc  *rpc.Client
	pid  int // of the supervisor, as this process sees it
}

// Dial connects to the lab of that name of this user. The error is ErrDown when it does not run.
func Dial(name string) (*Client, error) {
	dir, err := stateDir(name)
	if err != nil {
		return nil, err
	}
	path, done, err := socketPath(dir)
	if err != nil {
		return nil, fmt.Errorf("lab %s: %w", name, ErrDown)
	}
	defer done()
	conn, err := net.Dial("unix", path)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return nil, fmt.Errorf("lab %s: %w", name, ErrDown)
	}
	if err != nil {
		return nil, fmt.Errorf("lab %s: %w", name, err)
	}
	pid, err := peer(conn.(*net.UnixConn))
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("lab %s: %w", name, err)
	}
	return &Client{Name: name, dir: dir, rpc: jsonrpc.NewClient(conn), pid: pid}, nil
}

// peer is the process that listens on the other end, by the pid that it has here.
func peer(conn *net.UnixConn) (int, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var sockErr error
	err = raw.Control(func(fd uintptr) { cred, sockErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err := errors.Join(err, sockErr); err != nil {
		return 0, err
	}
	return int(cred.Pid), nil
}

// Close ends the connection, not the lab.
func (c *Client) Close() error { return c.rpc.Close() }

// call calls a verb; it returns early, with the verb still at work, when ctx ends.
func (c *Client) call(ctx context.Context, verb string, args, reply any) error {
	call := c.rpc.Go("Lab."+verb, args, reply, make(chan *rpc.Call, 1))
	select {
	case <-ctx.Done():
		return fmt.Errorf("lab %s: %w", c.Name, ctx.Err())
	case <-call.Done:
	}
	switch err := call.Error; {
	case err == nil:
		return nil
	case errors.Is(err, rpc.ErrShutdown), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return fmt.Errorf("lab %s: %w any more", c.Name, ErrDown)
	default:
		return fmt.Errorf("lab %s: %w", c.Name, err)
	}
}

// Status returns what runs now.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var s Status
	return s, c.call(ctx, "Watch", 0, &s)
}

// Spec returns what the lab is built from now; guests are where they are.
func (c *Client) Spec(ctx context.Context) (Spec, error) {
	var s Spec
	return s, c.call(ctx, "Spec", Void{}, &s)
}

// Wait returns the first status that satisfies enough, or the last one with the reason why none does.
func (c *Client) Wait(ctx context.Context, enough func(Status) bool) (Status, error) {
	var s Status
	for {
		var next Status
		if err := c.call(ctx, "Watch", s.Version, &next); err != nil {
			return s, err
		}
		if s = next; enough(s) {
			return s, nil
		}
	}
}

// Kill cuts the power of host/NAME (with its guests), internet or ACCOUNT/VM, or ends agent/HOST.
func (c *Client) Kill(ctx context.Context, name string) error {
	return c.call(ctx, "Kill", name, &Void{})
}

// Start starts what Kill stopped; it returns when that has booted.
func (c *Client) Start(ctx context.Context, name string) error {
	return c.call(ctx, "Start", name, &Void{})
}

// Move brings a guest to another host, as a live migration does.
func (c *Client) Move(ctx context.Context, vm, host string) error {
	return c.call(ctx, "Move", Move{VM: vm, Host: host}, &Void{})
}

// Update turns the lab into another Spec.
func (c *Client) Update(ctx context.Context, next Spec) error {
	return c.call(ctx, "Update", next, &Void{})
}

// Renew has a guest, or with the empty name all, ask for DHCP leases again.
func (c *Client) Renew(ctx context.Context, vm string) error {
	return c.call(ctx, "Renew", vm, &Void{})
}

// Commit makes the directory tree, as it is now, the newest commit of the lab's repository. One that equals the newest
// commit makes none: that one is returned, and false.
func (c *Client) Commit(ctx context.Context, tree, message string) (source.Revision, bool, error) {
	return publish(ctx, tree, c.dir, message)
}
