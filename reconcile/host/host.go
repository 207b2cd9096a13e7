// Package host is what drivers and the agent know of the machine they run on:
// where weft keeps its files, how a command runs in a namespace, and the marks
// that a driver leaves for its successors.
//
// It belongs to the shell: it touches the world. The core must not import it.
package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/vishvananda/netns"
)

// Host is one machine as one instance of weft sees it.
type Host struct {
	// Name is the Host document's name.
	Name string
	// Instance tells two wefts on one machine apart; default "weft".
	Instance string
	// RunDir holds what a reboot may lose (generated files, marks, sockets);
	// default /run/weft, or /run/weft-INSTANCE.
	RunDir string
	// StateDir holds what it must not (clone, journal, last intent); default
	// /var/lib/weft or /var/lib/weft-INSTANCE.
	StateDir string
	// OVSDB is where the switch's database listens; default
	// unix:/run/openvswitch/db.sock.
	OVSDB string
	// Netns is the directory of named namespaces, default /run/netns.
	Netns string

	spaces spaces
}

// New returns the host with every default filled in.
func New(name, instance string) *Host {
	if instance == "" {
		instance = "weft"
	}
	dir := "weft"
	if instance != "weft" {
		dir = "weft-" + instance
	}
	return &Host{
		Name: name, Instance: instance,
		RunDir:   filepath.Join("/run", dir),
		StateDir: filepath.Join("/var/lib", dir),
		OVSDB:    "unix:/run/openvswitch/db.sock",
		Netns:    "/run/netns",
	}
}

// A CommandError is a command that failed, with what a person needs to repeat
// it.
type CommandError struct {
	Argv   []string
	NS     string
	Code   int
	Stderr string // its last line that is no hint to a manual
	Log    string // all of it
	Err    error
}

// Error implements error.
func (e *CommandError) Error() string {
	where := ""
	if e.NS != "" {
		where = " in namespace " + e.NS
	}
	out := fmt.Sprintf("%s%s: ", strings.Join(e.Argv, " "), where)
	if e.Code > 0 {
		out += fmt.Sprintf("exit %d", e.Code)
	} else {
		out += e.Err.Error()
	}
	if e.Stderr != "" {
		out += ": " + e.Stderr
	}
	return out
}

// Unwrap implements errors.Is.
func (e *CommandError) Unwrap() error { return e.Err }

// linger is how long Run goes on to read what a command prints once it has
// ended: a daemon that it left behind may hold the pipes open for ever.
const linger = time.Second

// Run executes argv in namespace ns ("" is the host's own) with stdin and
// returns what it printed. It blocks until the command ends or ctx does. An
// error of the command is a *CommandError.
func (h *Host) Run(ctx context.Context, ns string, stdin []byte, argv ...string) ([]byte, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), &stdout, &stderr
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.WaitDelay = linger
	err := h.In(ns, cmd.Run)
	if err == nil || errors.Is(err, exec.ErrWaitDelay) { // the command itself ended well
		return stdout.Bytes(), nil
	}
	e := &CommandError{Argv: argv, NS: ns, Stderr: lastLine(stderr.String()), Log: stderr.String(), Err: err}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		e.Code = exit.ExitCode()
	}
	return stdout.Bytes(), e
}

func lastLine(s string) string {
	last := ""
	for line := range strings.Lines(s) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "Try `") {
			last = line
		}
	}
	return last
}

// In calls f on a thread inside network namespace ns ("" is the host's own).
// Commands started by f run in that namespace. f must not start goroutines that
// rely on it.
func (h *Host) In(ns string, f func() error) error {
	if ns == "" {
		return f()
	}
	done := make(chan error, 1)
	go Thread(func() { done <- h.inside(ns, f) })
	return <-done
}

func (h *Host) inside(ns string, f func() error) error {
	handle, err := netns.GetFromPath(filepath.Join(h.Netns, ns))
	if err != nil {
		return fmt.Errorf("namespace %s: %w", ns, err)
	}
	defer func() { _ = handle.Close() }()
	if err := netns.Set(handle); err != nil {
		return fmt.Errorf("enter namespace %s: %w", ns, err)
	}
	return f()
}
