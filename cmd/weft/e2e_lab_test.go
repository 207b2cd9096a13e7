//go:build e2e

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"weft.dev/reconcile/agent"
	"weft.dev/reconcile/engine"
	"weft.dev/reconcile/host"
	"weft.dev/reconcile/lab"
	"weft.dev/reconcile/status"
)

const quickstart = "../../examples/quickstart"

// A cloud is the lab under test as one test sees it.
type cloud struct {
	testing.TB
	ctx  context.Context
	lab  *lab.Client
	tree string // a copy of the quickstart, which tests edit

	secrets string // the directory that hosts see at /etc/weft, where a test gave one
}

// TestLab brings one cloud of two hosts up and holds it to what issue and
// reference promise. Each part leaves it as it found it.
func TestLab(t *testing.T) {
	c := startLab(t, fmt.Sprintf("e2e%d", os.Getpid()), quickstart)
	for _, part := range []struct {
		name string
		run  func(*cloud)
	}{
		{"Promises", (*cloud).promises},
		{"Isolation", (*cloud).isolation},
		{"Spoofing", (*cloud).spoofing},
		{"Public", (*cloud).public},
		{"Egress", (*cloud).egress},
		{"Verbs", (*cloud).verbs},
		{"Commit", (*cloud).commits},
		{"Drift", (*cloud).drift},
		{"Suspend", (*cloud).suspend},
		{"Agent", (*cloud).agents},
		{"Switch", (*cloud).switches},
		{"Repository", (*cloud).repository},
		{"Broken", (*cloud).broken},
		{"Denied", (*cloud).denied},
		{"Unallocated", (*cloud).unallocated},
		{"Rollback", (*cloud).rollback},
		{"Apply", (*cloud).apply},
		{"Move", (*cloud).moves},
		{"Migration", (*cloud).migrations},
		{"PowerCut", (*cloud).powerCut},
		{"Unreachable", (*cloud).unreachable},
	} {
		c.part(t, part.name, part.run)
	}
}

// startLab starts a lab of a copy of the tree in dir, with further arguments; it goes
// down with the test.
func startLab(t testing.TB, name, dir string, args ...string) *cloud {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	t.Cleanup(cancel)
	c := &cloud{TB: t, ctx: ctx, tree: t.TempDir()}
	c.copyTree(dir)
	out, code := c.run(append([]string{"lab", "up", c.tree, "--name", name}, args...)...)
	t.Cleanup(func() {
		if t.Failed() {
			c.dump(name)
		}
		if c.lab != nil {
			_ = c.lab.Close()
		}
		if err := lab.Down(context.Background(), name); err != nil {
			t.Error(err)
		}
	})
	if code != exitOK {
		t.Fatalf("lab up: exit status %d\n%s", code, out)
	}
	var err error
	if c.lab, err = lab.Dial(name); err != nil {
		t.Fatal(err)
	}
	return c
}

// part runs f as a subtest on a cloud that is well, and leaves it so.
func (c *cloud) part(t *testing.T, name string, f func(*cloud)) {
	t.Run(name, func(t *testing.T) {
		p := *c
		p.TB = t
		p.well()
		t.Cleanup(p.restore)
		f(&p)
	})
}

// restore makes the lab what the quickstart says again, whatever a part that
// failed left.
func (c *cloud) restore() {
	for _, h := range hosts {
		_ = c.lab.Start(c.ctx, "host/"+h)
		_ = c.lab.Start(c.ctx, "agent/"+h)
		_, _ = c.try("host/"+h, "weft", "resume")
		_, _ = c.try("host/"+h, "weft", "resume", "acme/web")
	}
	c.copyTree(quickstart)
	if out, code := c.weft("lab", "commit", c.tree); code != exitOK {
		c.Errorf("restore: exit status %d\n%s", code, out)
	}
}

func (c *cloud) copyTree(dir string) {
	c.Helper()
	if err := errors.Join(os.RemoveAll(c.tree), os.CopyFS(c.tree, os.DirFS(dir))); err != nil {
		c.Fatal(err)
	}
}

// run calls the program in this process and returns all that it printed.
func (c *cloud) run(args ...string) (string, int) {
	var out bytes.Buffer
	code := run(c.ctx, args, strings.NewReader(""), &out, &out)
	return out.String(), code
}

// weft is run with the lab's name.
func (c *cloud) weft(args ...string) (string, int) {
	return c.run(append([]string{args[0], "--name", c.lab.Name}, args[1:]...)...)
}

// must is weft that has to succeed.
func (c *cloud) must(args ...string) string {
	c.Helper()
	out, code := c.weft(args...)
	if code != exitOK {
		c.Fatalf("weft %s: exit status %d\n%s", strings.Join(args, " "), code, out)
	}
	return out
}

// commit locks and commits the tree as it is and waits until it is in force.
func (c *cloud) commit() string {
	c.Helper()
	if out, code := c.run("lock", c.tree); code != exitOK {
		c.Fatalf("lock: exit status %d\n%s", code, out)
	}
	return c.must("lab", "commit", c.tree)
}

// edit replaces a text, which must be there, in a file of the tree.
func (c *cloud) edit(file, old, new string) {
	c.Helper()
	path := filepath.Join(c.tree, file)
	b, err := os.ReadFile(path)
	if err != nil {
		c.Fatal(err)
	}
	if !strings.Contains(string(b), old) {
		c.Fatalf("%s does not hold %q", file, old)
	}
	c.write(file, strings.ReplaceAll(string(b), old, new))
}

func (c *cloud) write(file, text string) {
	c.Helper()
	if err := os.WriteFile(filepath.Join(c.tree, file), []byte(text), 0o600); err != nil {
		c.Fatal(err)
	}
}

// command is one in a node; its streams are the caller's to set.
func (c *cloud) command(ctx context.Context, node string, argv ...string) (*exec.Cmd, error) {
	line, err := c.lab.Command(ctx, node, "", argv)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, line[0], line[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // nsenter and what it runs
	return cmd, nil
}

// try runs a command in a node and returns all that it printed.
func (c *cloud) try(node string, argv ...string) (string, error) {
	c.Helper()
	return c.tryFor(30*time.Second, node, argv...)
}

// tryFor is try of a command that may take longer.
func (c *cloud) tryFor(limit time.Duration, node string, argv ...string) (string, error) {
	c.Helper()
	ctx, cancel := context.WithTimeout(c.ctx, limit)
	defer cancel()
	cmd, err := c.command(ctx, node, argv...)
	if err != nil {
		return "", err
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// in is try that must succeed.
func (c *cloud) in(node string, argv ...string) string {
	c.Helper()
	out, err := c.try(node, argv...)
	if err != nil {
		c.Fatalf("%s: %s: %v\n%s", node, strings.Join(argv, " "), err, out)
	}
	return out
}

// code is the exit status of a command in a node, and what it printed.
func (c *cloud) code(node string, argv ...string) (string, int) {
	c.Helper()
	out, err := c.try(node, argv...)
	var e *exec.ExitError
	if errors.As(err, &e) {
		return out, e.ExitCode()
	}
	if err != nil {
		c.Fatal(err)
	}
	return out, 0
}

// until waits for a state: why says why it is not there yet, or "".
func (c *cloud) until(limit time.Duration, what string, why func() string) {
	c.Helper()
	end := time.Now().Add(limit)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		reason := why()
		switch {
		case reason == "":
			return
		case time.Now().After(end):
			c.Fatalf("not in %s: %s: %s", limit, what, reason)
		case c.ctx.Err() != nil:
			c.Fatal(c.ctx.Err())
		}
		<-tick.C
	}
}

// client talks to a host's agent.
func (c *cloud) client(name string) *agent.Client {
	c.Helper()
	dir, err := c.lab.Path(c.ctx, "host/"+name, "/run/weft")
	if err != nil {
		c.Fatal(err)
	}
	h := host.New(name, "")
	h.RunDir = dir
	return agent.NewClient(h)
}

// status is what a host's agent says; the error is that it does not answer.
func (c *cloud) status(name string) (*status.Status, error) { return c.client(name).Status(c.ctx) }

// history is what was applied on a host, newest first.
func (c *cloud) history(name string) []engine.Record {
	c.Helper()
	h, err := c.client(name).History(c.ctx, 100)
	if err != nil {
		c.Fatal(err)
	}
	return h
}

// head is the newest commit of the lab's repository.
func (c *cloud) head() string {
	c.Helper()
	l := labApp{app: &app{}}
	rev, err := l.head(c.lab)
	if err != nil {
		c.Fatal(err)
	}
	return rev.Commit
}

var hosts = []string{"kvm1", "kvm2"}

// well waits until every host is what the newest commit says, nothing drifts,
// and every guest has its addresses.
func (c *cloud) well() {
	c.Helper()
	head := c.head()
	c.until(slow, "all is well", func() string {
		for _, h := range hosts {
			if why := c.unwell(h, head); why != "" {
				return h + ": " + why
			}
		}
		s, err := c.lab.Status(c.ctx)
		if err != nil || !s.Ready() {
			return fmt.Sprintf("not all guests have addresses: %v", err)
		}
		return ""
	})
}

func (c *cloud) unwell(host, head string) string {
	s, err := c.status(host)
	if err != nil {
		return err.Error()
	}
	switch ready := s.Condition(status.Ready); {
	case !ready.True:
		return "not ready: " + ready.Reason + " " + ready.Message
	case !strings.HasSuffix(s.LastAppliedRevision, head):
		return "is at " + s.LastAppliedRevision
	case len(s.Drift) > 0:
		return "drift of " + s.Drift[0].ID.String()
	}
	return ""
}

// soon is how long after weft has done its work packets may need, on a machine that is
// busy with other things; slow is for what has to time out first.
const soon, slow = 15 * time.Second, 45 * time.Second

// reaches waits until one node's ping is answered.
func (c *cloud) reaches(from, to string, limit time.Duration) {
	c.Helper()
	c.until(limit, from+" reaches "+to, func() string {
		out, err := c.try(from, "ping", "-c1", "-W1", to)
		if err != nil {
			return out
		}
		return ""
	})
}

// answered waits until a node's ping with such arguments is.
func (c *cloud) answered(node string, args ...string) {
	c.Helper()
	c.until(soon, node+" pings "+strings.Join(args, " "), func() string {
		out, err := c.try(node, append([]string{"ping", "-c1", "-W2"}, args...)...)
		if err != nil {
			return out
		}
		return ""
	})
}

// fetched waits until a node has what curl brings with such arguments.
func (c *cloud) fetched(node string, args ...string) string {
	c.Helper()
	var out string
	c.until(soon, node+" fetches "+strings.Join(args, " "), func() (why string) {
		var err error
		if out, err = c.try(node, append([]string{"curl", "-s", "-m", "5"}, args...)...); err != nil {
			return err.Error() + " " + out
		}
		return ""
	})
	return out
}

// comes reports whether f is true before soon is over: what must pass may take more
// than one packet. Other than until it may be called in any goroutine.
func (c *cloud) comes(f func() bool) bool {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(soon); ; {
		switch {
		case f():
			return true
		case c.ctx.Err() != nil || time.Now().After(end):
			return false
		}
		<-tick.C
	}
}

// pid is that of a service of a host, in its own counting, and how often it was
// started anew.
func (c *cloud) pid(host, service string) (pid, restarts int) {
	c.Helper()
	s, err := c.lab.Status(c.ctx)
	if err != nil {
		c.Fatal(err)
	}
	n, _ := s.Node("host/" + host)
	v, ok := n.Service(service)
	if !ok {
		c.Fatalf("%s has no service %s", host, service)
	}
	return v.Pid, v.Restarts
}

// kill9 kills a service of a host and waits until it was started anew.
func (c *cloud) kill9(host, service string) {
	c.Helper()
	pid, restarts := c.pid(host, service)
	c.in("host/"+host, "kill", "-9", strconv.Itoa(pid))
	c.until(slow, service+" is started anew", func() string {
		if now, n := c.pid(host, service); n == restarts || now == 0 {
			return "not yet"
		}
		return ""
	})
}

// made is what there is on a host by weft's doing, as ordinary tools show it.
func (c *cloud) made(host string) string {
	c.Helper()
	return c.in("host/"+host, "sh", "-ec", `
		ip -o link | sed 's/^[0-9]*: \([^:@]*\).*/\1/' | grep -v ^vnet | sort
		for b in $(ovs-vsctl list-br | sort); do echo "$b: $(ovs-vsctl list-ports $b | grep -v ^vnet | sort | tr '\n' ' ')"; done
		ovs-ofctl -O OpenFlow14 dump-flows weft-int --no-stats | grep -v 'table=30' | sed 's/^ cookie=\([^,]*\),.*table=\([0-9]*\).*/\1 \2/; s/^ cookie=\([^,]*\),.*/\1 0/' | sort | uniq -c
		for ns in $(ip netns list | cut -d' ' -f1 | sort); do
			echo "namespace $ns"
			ip -n $ns -br addr | sed 's/@[^ ]*//' | tr -s ' '
			ip -n $ns route
			ip netns exec $ns iptables-save | grep -v '^[#:]'
		done
		ps ax -o args= | grep '^dnsmasq' | sort
		ip -o -4 addr show dev cloudbr1 | cut -d' ' -f7`)
}

// dump prints the logs of a lab that failed, and what its hosts are like.
func (c *cloud) dump(name string) {
	dir, err := lab.Repo(name)
	if err != nil {
		return
	}
	_ = filepath.WalkDir(filepath.Dir(dir), func(path string, e os.DirEntry, err error) error {
		base := filepath.Base(path)
		if err == nil && (base == "agent.log" || base == "ovs-vswitchd.log" || strings.HasPrefix(base, "console-")) {
			text, _ := os.ReadFile(path)
			c.Logf("--- %s\n%s", path, text[max(0, len(text)-20000):])
		}
		return nil
	})
	if c.lab == nil { // it never came up
		if c.lab, err = lab.Dial(name); err != nil {
			return
		}
		defer func() { _ = c.lab.Close() }()
	}
	// The test's own time may be over.
	var cancel context.CancelFunc
	c.ctx, cancel = context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	s, err := c.lab.Status(c.ctx)
	c.Logf("--- the lab: %v\n%+v", err, s)
	for _, n := range s.Nodes {
		if n.Kind != lab.KindHost {
			continue
		}
		out, _ := c.try(n.Name, "sh", "-c", `weft status
			ip -d -s link
			ovs-vsctl --columns=name,ofport,ifindex,admin_state,link_state,mtu,error,external_ids list interface
			ovs-ofctl -O OpenFlow14 dump-flows weft-int
			ovs-ofctl -O OpenFlow14 dump-ports weft-int`)
		c.Logf("--- %s\n%s", n.Name, out)
	}
}

// A probe is a command of the test binary that runs in a node.
type probe struct {
	c    *cloud
	name string
	cmd  *exec.Cmd
	end  io.Closer
	out  *bytes.Buffer
	done chan error
}

// probe starts a hidden verb in a node and returns after its first line.
func (c *cloud) probe(node string, args ...string) *probe {
	c.Helper()
	p := &probe{c: c, name: node + ": " + strings.Join(args, " "), out: new(bytes.Buffer), done: make(chan error, 1)}
	var err error
	if p.cmd, err = c.command(c.ctx, node, append([]string{"weft"}, args...)...); err != nil {
		c.Fatal(err)
	}
	in, err := p.cmd.StdinPipe()
	if err != nil {
		c.Fatal(err)
	}
	p.end = in
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		c.Fatal(err)
	}
	var errs bytes.Buffer
	p.cmd.Stderr = &errs
	if err := p.cmd.Start(); err != nil {
		c.Fatal(err)
	}
	first := make(chan struct{})
	go func() {
		one := make([]byte, 1)
		for line := 0; line == 0; {
			if _, err := out.Read(one); err != nil {
				break
			}
			if one[0] == '\n' {
				close(first)
				line++
			}
		}
		_, _ = io.Copy(p.out, out)
		p.done <- errors.Join(p.cmd.Wait(), said(&errs))
	}()
	c.Cleanup(func() { _ = p.end.Close() })
	select {
	case <-first:
	case err := <-p.done:
		c.Fatalf("%s: ended at once: %v", p.name, err)
	case <-time.After(20 * time.Second):
		c.Fatalf("%s: nothing yet", p.name)
	}
	return p
}

func said(b *bytes.Buffer) error {
	if b.Len() == 0 {
		return nil
	}
	return errors.New(b.String())
}
