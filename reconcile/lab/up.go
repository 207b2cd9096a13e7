package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"weft.dev/reconcile/host/facts"
	"weft.dev/reconcile/lab/node"
	"weft.dev/reconcile/source"
)

// Options are what a lab is started with.
type Options struct {
	Name string
	Spec Spec
	// Tree is the directory that becomes the first commit of the lab's bare repository, which the hosts see at RepoPath;
	// empty: the lab has no repository.
	Tree string
}

// Repo is the bare repository of the lab of that name, as seen from outside.
func Repo(name string) (string, error) {
	dir, err := stateDir(name)
	return repo(dir), err
}

// Start begins a lab and returns when all its nodes have been started; agents and guests' addresses may take longer. What a
// lab of that name left when it died is removed first. After an error nothing of the lab is left.
func Start(ctx context.Context, o Options) (*Client, error) {
	if err := o.Spec.Check(); err != nil {
		return nil, fmt.Errorf("lab %s: %w", o.Name, err)
	}
	if err := errors.Join(Missing(), o.Spec.Missing()); err != nil {
		return nil, err
	}
	dir, err := stateDir(o.Name)
	if err != nil {
		return nil, err
	}
	held, err := lock(dir)
	if errors.Is(err, errHeld) {
		return nil, fmt.Errorf("lab %s is up already", o.Name)
	}
	if err != nil {
		return nil, fmt.Errorf("lab %s: %w", o.Name, err)
	}
	defer func() { _ = held.Close() }()
	if err := prepare(ctx, dir, o); err != nil {
		return nil, errors.Join(fmt.Errorf("lab %s: %w", o.Name, err), discardState(dir))
	}
	if err := launch(dir, held); err != nil {
		return nil, errors.Join(fmt.Errorf("lab %s: %w", o.Name, err), discardState(dir))
	}
	_ = held.Close() // the supervisor has it
	c, err := Dial(o.Name)
	if err != nil {
		return nil, errors.Join(err, Down(context.WithoutCancel(ctx), o.Name))
	}
	s, err := c.Wait(ctx, func(s Status) bool { return s.State != Starting })
	if err == nil && s.State == Failed {
		err = fmt.Errorf("lab %s: %s", o.Name, s.Error)
	}
	if err != nil {
		_ = c.Close()
		return nil, errors.Join(err, Down(context.WithoutCancel(ctx), o.Name))
	}
	return c, nil
}

// prepare fills the state directory with what the supervisor reads.
func prepare(ctx context.Context, dir string, o Options) error {
	if err := clean(dir); err != nil {
		return err
	}
	text, err := json.MarshalIndent(o.Spec, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "spec.json"), text, 0o600); err != nil {
		return err
	}
	if err := copySelf(binary(dir)); err != nil {
		return fmt.Errorf("copy this program: %w", err)
	}
	if o.Tree == "" {
		return nil
	}
	_, _, err = publish(ctx, o.Tree, dir, "The tree that the lab began with")
	return err
}

// publish commits a tree to the repository of the lab in dir.
func publish(ctx context.Context, tree, dir, message string) (source.Revision, bool, error) {
	return source.Publish(ctx, tree, repo(dir), source.Note{Branch: "main", Message: message, Author: "weft lab"})
}

func copySelf(to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	from, err := os.Open("/proc/self/exe")
	if err != nil {
		return err
	}
	defer func() { _ = from.Close() }()
	f, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, from)
	return errors.Join(err, f.Close())
}

// launch starts the supervisor, detached, and returns when it listens.
func launch(dir string, held *os.File) error {
	log, err := os.OpenFile(filepath.Join(dir, "supervisor.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	ready, tell, err := os.Pipe()
	if err != nil {
		return err
	}
	defer func() { _ = ready.Close() }()
	defer func() { _ = tell.Close() }()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("dashboard: %w", err)
	}
	defer func() { _ = listener.Close() }()
	dashboard, err := listener.(*net.TCPListener).File()
	if err != nil {
		return fmt.Errorf("dashboard: %w", err)
	}
	defer func() { _ = dashboard.Close() }()
	cmd := exec.Command(binary(dir), supervisorVerb, dir)
	cmd.Dir, cmd.Stdout, cmd.Stderr = "/", log, log
	cmd.Env = cleanEnv(os.Environ())
	cmd.ExtraFiles = []*os.File{held, tell, dashboard} // lockFile, readyFile, dashboardFile
	cmd.SysProcAttr = isolation()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start supervisor: %w%s", err, whyNoNamespace(err))
	}
	go func() { _ = cmd.Wait() }() // in case this process outlives it
	_ = tell.Close()
	word, err := io.ReadAll(ready)
	if err != nil {
		return fmt.Errorf("supervisor: %w", err)
	}
	switch string(word) {
	case "ok":
		return nil
	case "":
		return fmt.Errorf("the supervisor died: %s", lastLine(filepath.Join(dir, "supervisor.log")))
	}
	return errors.New(string(word))
}

// isolation is the namespaces of a supervisor; without root, one of users first, in which this user is root.
func isolation() *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Setsid: true,
		Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC}
	if os.Geteuid() != 0 {
		a.Cloneflags |= unix.CLONE_NEWUSER
		a.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		a.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	return a
}

// cleanEnv is the environment of everything in a lab: nothing that points a tool at another place.
func cleanEnv(env []string) []string {
	keep := []string{"LANG", "LC_ALL", "TZ", "HOME", "TERM", facts.DatapathVariable}
	env = slices.DeleteFunc(slices.Clone(env), func(e string) bool {
		name, _, _ := strings.Cut(e, "=")
		return !slices.Contains(keep, name)
	})
	return append(env, "PATH="+node.Path)
}

func lastLine(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return lines[len(lines)-1]
}

// Down ends a lab and removes all that is of it, also when it died before. It returns when nothing is left. A lab that is
// not there is no error.
func Down(ctx context.Context, name string) error {
	dir, err := stateDir(name)
	if err != nil {
		return err
	}
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	c, err := Dial(name)
	if err != nil && !errors.Is(err, ErrDown) {
		return err
	}
	if err == nil {
		defer func() { _ = c.Close() }()
		if err := c.end(ctx); err != nil {
			return err
		}
	}
	held, err := lock(dir)
	if errors.Is(err, errHeld) {
		return fmt.Errorf("lab %s is being started or stopped by another", name)
	}
	if err != nil {
		return fmt.Errorf("lab %s: %w", name, err)
	}
	defer func() { _ = held.Close() }()
	if err := discardState(dir); err != nil {
		return fmt.Errorf("lab %s: %w", name, err)
	}
	return nil
}

// patience is how long a supervisor may take to go by itself. It kills processes and nothing more; one that hangs is killed,
// which ends the rest too.
const patience = 5 * time.Second

// end tells the supervisor to go and waits until it has, with all its nodes.
func (c *Client) end(ctx context.Context) error {
	fd, err := unix.PidfdOpen(c.pid, 0)
	if err != nil {
		return fmt.Errorf("lab %s: supervisor %d: %w", c.Name, c.pid, err)
	}
	defer func() { _ = unix.Close(fd) }()
	polite, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	// Whatever it answers: it goes, or it is killed.
	_ = c.call(polite, "Down", Void{}, &Void{})
	for killed := false; ; {
		ready, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 50)
		switch {
		case err != nil && !errors.Is(err, unix.EINTR):
			return fmt.Errorf("lab %s: %w", c.Name, err)
		case ready == 1:
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("lab %s: %w", c.Name, ctx.Err())
		case polite.Err() != nil && !killed:
			killed = true
			if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil {
				return fmt.Errorf("lab %s: kill supervisor %d: %w", c.Name, c.pid, err)
			}
		}
	}
}

// All names the labs of this user, running or dead.
func All() ([]string, error) {
	dir, err := home()
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() && labName.MatchString(e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names, err
}
