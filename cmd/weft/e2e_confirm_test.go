//go:build e2e

package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"weft.dev/reconcile/status"
)

// TestConfirm applies with --confirm-timeout on a host of a lab: unconfirmed it goes
// back by itself, whatever dies, and confirmed it stays.
func TestConfirm(t *testing.T) {
	c := startLab(t, fmt.Sprintf("cnf%d", os.Getpid()), "../../examples/single-host")
	c.edit("cloud.yaml", "action: Allow, protocol: all", "action: Allow, protocol: tcp, ports: 80")
	says := c.says
	chain := []string{"ip", "netns", "exec", "weft-me-lab", "iptables", "-S"}
	rules := func() string { return c.in("host/box", chain...) }
	before := rules()
	apply := func(timeout string, more ...string) []string {
		return append([]string{"apply", c.tree, "--host", "box", "--auto-approve", "--confirm-timeout", timeout}, more...)
	}

	says(5, []string{"weft suspend"}, apply("60s")...)
	c.in("host/box", "weft", "suspend", "me/lab") // one network is not the host
	says(5, []string{"weft suspend"}, apply("60s")...)
	c.in("host/box", "weft", "resume", "me/lab")
	c.in("host/box", "weft", "suspend")
	says(1, []string{"use 1s to 24h"}, apply("0s")...)
	says(1, []string{"no change waits"}, "confirm")

	// Nobody confirms: the apply waits for it and says so.
	says(4, []string{"Applied and verified", "weft confirm", "went back", "nobody confirmed in time"}, apply("2s")...)
	if got := rules(); got != before {
		t.Errorf("the chains are not as they were:\n%s\nbefore\n%s", got, before)
	}
	says(4, []string{"went back at"}, "confirm")
	says(0, []string{"went back: nobody confirmed in time"}, "history")

	// With the apply, its shell and the agent dead.
	p := c.waiting(apply("6s"))
	if got := rules(); got == before {
		t.Error("nothing was applied")
	}
	says(5, []string{"waits for `weft confirm`"}, apply("60s")...)
	c.until(soon, "the status tells of it", func() string {
		c.in("host/box", "weft", "reconcile")
		if out := c.in("host/box", "weft", "status"); !strings.Contains(out, "waits for `weft confirm`") {
			return out
		}
		return ""
	})
	c.must("lab", "kill", "agent/box")
	p.kill()
	c.in("host/box", "sh", "-ec", "kill $(pgrep -f -- '--await [A-Z2-7]')") // it does not mind
	c.until(slow, "it went back by itself", func() string {
		if got := rules(); got != before {
			return got
		}
		return ""
	})
	c.until(soon, "the outcome is written", func() string {
		if out, code := c.code("host/box", "weft", "confirm"); code != exitRolled {
			return out
		}
		return ""
	})
	if out := c.in("host/box", "sh", "-c", "ls /var/lib/weft/confirm; ps ax -o args= | grep -- --await | grep -v grep || true"); strings.TrimSpace(out) != "alive\nclaim\nlog\noutcome.json" {
		t.Errorf("left behind: %s", out)
	}

	// With the watchdog dead, the apply that waits goes back.
	p = c.waiting(apply("3s"))
	c.in("host/box", "sh", "-ec", "kill -9 $(pgrep -f -- '--await [A-Z2-7]')")
	p.ends(4, "nobody confirmed in time")
	if got := rules(); got != before {
		t.Errorf("the chains are not as they were:\n%s\nbefore\n%s", got, before)
	}

	// Without an agent, confirmed: it stays, and is the last good intent.
	p = c.waiting(apply("20s"))
	says(0, []string{"Confirmed"}, "confirm")
	p.ends(0, "Confirmed.")
	says(0, []string{"No changes"}, "plan", c.tree, "--host", "box", "--detailed-exitcode")
	says(0, []string{"No changes"}, "apply", "--intent", "/var/lib/weft/intent.json", "--host", "box", "--auto-approve")
	if got := rules(); got == before {
		t.Error("what was confirmed is gone")
	}

	// Who cuts the wire that the gateway is behind is brought back before anybody waits.
	c.in("host/box", "sh", "-ec", "ip addr add 192.0.2.5/24 dev cloudbr0; ip route add default via 192.0.2.1")
	c.reaches("host/box", "192.0.2.1", soon)
	wire := func() string { return c.in("host/box", "ovs-vsctl", "list-ports", "cloudbr0") }
	ports := wire()
	c.edit("cloud.yaml", ", uplinks: [eth0]", "")
	says(4, []string{"the wire of cloudbr0 is lost", "default gateway 192.0.2.1 does not answer any more", "went back"}, apply("60s")...)
	c.reaches("host/box", "192.0.2.1", slow)
	says(4, []string{"default gateway 192.0.2.1", "went back"}, "apply", c.tree, "--host", "box", "--auto-approve")
	if got := wire(); got != ports {
		t.Errorf("ports of the bridge: %s, before: %s", got, ports)
	}
	c.reaches("host/box", "192.0.2.1", slow)
}

// A waiting is a weft on the host box that runs beside the test.
type waiting struct {
	*cloud
	cmd *exec.Cmd
	out *bytes.Buffer
	end chan error
}

// waiting starts an apply and returns when it waits to be confirmed.
func (c *cloud) waiting(argv []string) *waiting {
	c.Helper()
	cmd, err := c.command(c.ctx, "host/box", append([]string{"weft"}, argv...)...)
	if err != nil {
		c.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		c.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = w, w
	if err := errors.Join(cmd.Start(), w.Close()); err != nil {
		c.Fatal(err)
	}
	p := &waiting{cloud: c, cmd: cmd, out: new(bytes.Buffer), end: make(chan error, 1)}
	asked := make(chan bool, 1)
	go func() {
		lines := bufio.NewScanner(r)
		for lines.Scan() {
			fmt.Fprintln(p.out, lines.Text())
			if strings.Contains(lines.Text(), "unless somebody runs") {
				asked <- true
			}
		}
		asked <- false
		p.end <- errors.Join(cmd.Wait(), r.Close())
	}()
	if !<-asked {
		c.Fatalf("it does not wait to be confirmed: %v\n%s", <-p.end, p.out)
	}
	return p
}

// kill kills it and all that is left in its process group.
func (p *waiting) kill() {
	p.Helper()
	if err := p.cmd.Cancel(); err != nil {
		p.Error(err)
	}
	if err := <-p.end; err == nil {
		p.Errorf("it ended well:\n%s", p.out)
	}
}

// ends waits for its end.
func (p *waiting) ends(code int, words string) {
	p.Helper()
	<-p.end
	if got := p.cmd.ProcessState.ExitCode(); got != code || !strings.Contains(p.out.String(), words) {
		p.Errorf("exit status %d, want %d, and %q:\n%s", got, code, words, p.out)
	}
}

// TestObserve takes a snapshot of a host and plans against it elsewhere.
func TestObserve(t *testing.T) {
	c := startLab(t, fmt.Sprintf("obs%d", os.Getpid()), "../../examples/single-host")
	file := filepath.Join(t.TempDir(), "box.json")
	c.says(0, []string{"resources of host box"}, "observe", "--out", file)
	plan := func(want int, words ...string) {
		t.Helper()
		out, code := c.run("plan", c.tree, "--observed", file, "--detailed-exitcode")
		if code != want {
			t.Errorf("exit status %d, want %d\n%s", code, want, out)
		}
		for _, w := range words {
			if !strings.Contains(out, w) {
				t.Errorf("it does not say %q:\n%s", w, out)
			}
		}
	}
	plan(0, "No changes", "Host box as it was on")
	c.in("host/box", "weft", "suspend")
	c.in("host/box", "sh", "-ec", "kill -9 $(pgrep -f '^dnsmasq.*weft-me-lab')")
	c.until(soon, "it is seen", func() string {
		if s, err := c.status("box"); err != nil || len(s.Drift) == 0 || !s.Condition(status.Drifted).True {
			return fmt.Sprint(err)
		}
		return ""
	})
	c.says(0, nil, "observe", "--out", file)
	plan(2, "drift: what somebody else changed", "process weft-me-lab/dnsmasq")
	// Without --out it is on standard output, and nothing else.
	if out := c.in("host/box", "sh", "-c", "weft observe 2>/dev/null"); !regexp.MustCompile(`^\{\s+"formatVersion": 1,\s+"host": "box"`).MatchString(out) {
		t.Errorf("%.200s", out)
	}
}

// says wants an exit status and words of a verb on the host box.
func (c *cloud) says(want int, words []string, argv ...string) {
	c.Helper()
	out, code := c.code("host/box", append([]string{"weft"}, argv...)...)
	if code != want {
		c.Errorf("weft %s: exit status %d, want %d\n%s", strings.Join(argv, " "), code, want, out)
	}
	for _, w := range words {
		if !strings.Contains(out, w) {
			c.Errorf("weft %s does not say %q:\n%s", strings.Join(argv, " "), w, out)
		}
	}
}
