//go:build e2e

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"weft.dev/reconcile/lab"
	"weft.dev/reconcile/status"
)

// git runs git in a directory and returns what it prints.
func (c *cloud) git(dir string, args ...string) string {
	c.Helper()
	cmd := exec.CommandContext(c.ctx, "git", append([]string{"-C", dir, "-c", "user.name=Ann", "-c", "user.email=ann@example.com"}, args...)...)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL="+os.DevNull)
	out, err := cmd.CombinedOutput()
	if err != nil {
		c.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// bare is the lab's repository.
func (c *cloud) bare() string {
	c.Helper()
	path, err := lab.Repo(c.lab.Name)
	if err != nil {
		c.Fatal(err)
	}
	return path
}

// stalls waits until every host says that it is stalled for a reason, and not
// ready unless that does not matter.
func (c *cloud) stalls(reason string, ready bool, words ...string) {
	c.Helper()
	for _, h := range hosts {
		c.until(slow, h+" is stalled: "+reason, func() string {
			s, err := c.status(h)
			if err != nil {
				return err.Error()
			}
			stalled := s.Condition(status.Stalled)
			switch {
			case !stalled.True || stalled.Reason != reason:
				return stalled.Reason + ": " + stalled.Message
			case s.Condition(status.Ready).True != ready:
				return "ready is " + s.Condition(status.Ready).Message
			}
			for _, w := range words {
				if !strings.Contains(stalled.Message, w) {
					return "it does not say " + w + ": " + stalled.Message
				}
			}
			return ""
		})
	}
}

// A still life is what hosts have and have applied, which must not change.
type still struct {
	c       *cloud
	applied map[string]int
	made    map[string]string
}

func (c *cloud) still() *still {
	c.Helper()
	s := &still{c: c, applied: c.applied(), made: map[string]string{}}
	for _, h := range hosts {
		s.made[h] = c.made(h)
	}
	return s
}

// holds says that nothing was applied and nothing changed since.
func (s *still) holds(what string) {
	s.c.Helper()
	for h, id := range s.c.applied() {
		if id != s.applied[h] {
			s.c.Errorf("%s: %s applied something: %+v", what, h, s.c.history(h)[0])
		}
		if diff := difference(s.made[h], s.c.made(h)); diff != "" {
			s.c.Errorf("%s: %s changed:%s", what, h, diff)
		}
	}
}

// unreachable: without its repository a host stays what it is, over a restart of
// the agent too, and heals; once it is back, commits are noticed as before.
func (c *cloud) unreachable() {
	as := c.still()
	ping := c.pinging("beta/files", world)
	bare := c.bare()
	away := filepath.Join(bare, "away")
	move := func(from, to string) {
		c.Helper()
		for _, f := range []string{"HEAD", "config", "objects", "refs"} {
			if err := os.Rename(filepath.Join(from, f), filepath.Join(to, f)); err != nil {
				c.Fatal(err)
			}
		}
	}
	if err := os.Mkdir(away, 0o700); err != nil {
		c.Fatal(err)
	}
	move(bare, away)
	for _, h := range hosts {
		c.in("host/"+h, "weft", "reconcile")
	}
	c.stalls("Unreachable", true)
	if out := c.in("host/kvm1", "weft", "status"); !strings.Contains(out, "Unreachable") {
		c.Errorf("status without a repository:\n%s", out)
	}
	for _, h := range hosts {
		c.kill9(h, "agent")
	}
	c.stalls("Unreachable", true)
	as.holds("without a repository")
	c.in("host/kvm1", "sh", "-ec", "kill -9 $(pgrep -f '^dnsmasq.*weft-acme-app/dnsmasq.conf')")
	c.until(slow, "drift is healed without a repository", func() string { return difference(as.made["kvm1"], c.made("kvm1")) })
	as = c.still()
	move(away, bare)
	if err := os.Remove(away); err != nil {
		c.Fatal(err)
	}
	for _, h := range hosts {
		c.in("host/"+h, "weft", "reconcile")
	}
	c.well()
	as.holds("with the repository back")
	ping.unbroken()
	c.edit("tenants/beta.yaml", "ports: 25,", "ports: 26,")
	c.must("lab", "commit", c.tree, "--timeout", "10s")
}

// repository: whatever comes in it, the last good intent stays in force, the
// status says so, and it goes on once all is well.
func (c *cloud) repository() {
	as := c.still()
	flows := []*probe{c.pinging("acme/web-1", "10.1.1.4"), c.pinging("beta/files", world)}
	bare := c.bare()
	work := c.TempDir()
	c.git(work, "clone", "-q", bare, ".")
	good := c.git(work, "rev-parse", "HEAD")

	// A commit of nothing.
	c.git(work, "rm", "-rq", ".")
	c.git(work, "commit", "-qm", "nothing")
	c.git(work, "push", "-q", "origin", "main")
	for _, h := range hosts {
		c.until(slow, h+" has seen the commit of nothing", func() string {
			s, err := c.status(h)
			if err != nil {
				return err.Error()
			}
			if !strings.HasSuffix(s.ObservedRevision, c.head()) || !s.Condition(status.Stalled).True || s.Condition(status.Ready).True {
				return s.Line()
			}
			return ""
		})
		s, _ := c.status(h)
		c.Logf("%s at a commit of nothing: %s", h, s.Line())
	}
	as.holds("a commit of nothing")
	c.git(work, "revert", "--no-edit", "HEAD")
	c.git(work, "push", "-q", "origin", "main")
	c.well()
	as.holds("nothing and back")

	// A tree of which nothing can be read.
	for _, f := range []string{"infra/zone.yaml", "infra/hosts.yaml", "infra/fabrics.yaml", "tenants/acme-web.yaml"} {
		if err := os.WriteFile(filepath.Join(work, f), []byte("kind: [\n"), 0o600); err != nil {
			c.Fatal(err)
		}
	}
	c.git(work, "commit", "-qam", "torn")
	c.git(work, "push", "-q", "origin", "main")
	c.stalls("Invalid", false)
	as.holds("a torn tree")
	if out := c.in("host/kvm1", "weft", "status"); !strings.Contains(out, "infra/zone.yaml:") {
		c.Errorf("status with a torn tree names no file:\n%s", out)
	}
	c.git(work, "revert", "--no-edit", "HEAD")
	c.git(work, "push", "-q", "origin", "main")
	c.well()
	as.holds("torn and back")

	// A history that was rewritten is followed on consent only.
	c.git(work, "reset", "-q", "--hard", good)
	c.git(work, "commit", "-q", "--amend", "-m", "another past")
	c.git(work, "push", "-q", "--force", "origin", "main")
	c.stalls("Rewritten", false, "--accept-rewrite")
	for _, h := range hosts {
		c.kill9(h, "agent")
	}
	c.stalls("Rewritten", false)
	as.holds("a history that was rewritten")
	for _, h := range hosts {
		c.in("host/"+h, "weft", "reconcile", "--accept-rewrite")
	}
	c.well()
	as.holds("a history that is accepted")
	for _, f := range flows {
		f.unbroken()
	}
}

// broken: one broken document leaves what its owner has as it is, and the rest
// of the same commit is applied.
func (c *cloud) broken() {
	web := func() string {
		return c.in("router/acme/web", "sh", "-c", "ip -br addr; iptables-save | grep -v '^[#:]'")
	}
	before := web()
	c.edit("tenants/acme-web.yaml", "  offering: open\n", "  offering: opne\n")
	c.edit("tenants/acme-web.yaml", "ports: 80, to", "ports: 81, to")
	c.edit("tenants/beta.yaml", "ports: 25,", "ports: 26,")
	if _, _, err := c.lab.Commit(c.ctx, c.tree, "broken"); err != nil {
		c.Fatal(err)
	}
	c.probe("beta/mail", "e2e-echo", ":26")
	c.probe("acme/web-1", "e2e-echo", ":8080")
	c.until(slow, "another network is changed", func() string {
		out, err := c.try("internet", "nc", "-z", "-w", "1", "203.0.113.73", "26")
		if err != nil {
			return out + err.Error()
		}
		return ""
	})
	c.stalls("Invalid", false)
	if diff := difference(before, web()); diff != "" {
		c.Errorf("the broken network was touched:%s", diff)
	}
	c.connects(true, "internet", "", "203.0.113.20", 80)
	c.reaches("acme/web-1", "web-2", soon)
	s, err := c.status("kvm1")
	if err != nil {
		c.Fatal(err)
	}
	for _, o := range s.Owners {
		want := status.OwnerReady
		if o.Name == "network/acme/web" {
			want = status.OwnerHeld
		}
		if o.State != want {
			c.Errorf("%s is %s (%s), want %s", o.Name, o.State, o.Message, want)
		}
	}
	if len(s.Diagnostics) == 0 || !strings.Contains(s.Diagnostics[0], `tenants/acme-web.yaml:11:13: error: there is no offering "opne"`) {
		c.Errorf("diagnostics: %q", s.Diagnostics)
	}
	// What is held is not left to drift apart for ever: it is told.
	c.edit("tenants/acme-web.yaml", "  offering: opne\n", "  offering: open\n")
	c.edit("tenants/acme-web.yaml", "ports: 81, to", "ports: 80, to")
	c.commit()
	c.well()
}

// unallocated: what has no numbers yet waits for them, and the rest of the same
// commit is applied.
func (c *cloud) unallocated() {
	c.write("tenants/grown.yaml", grown)
	c.edit("tenants/beta.yaml", "ports: 25,", "ports: 26,")
	if _, _, err := c.lab.Commit(c.ctx, c.tree, "weft lock was forgotten"); err != nil {
		c.Fatal(err)
	}
	c.probe("beta/mail", "e2e-echo", ":26")
	c.until(slow, "another network is changed", func() string {
		out, err := c.try("internet", "nc", "-z", "-w", "1", "203.0.113.73", "26")
		if err != nil {
			return out + err.Error()
		}
		return ""
	})
	c.stalls("Invalid", false)
	if out := c.in("host/kvm1", "weft", "status"); !strings.Contains(out, "weft.lock has no ") || !strings.Contains(out, "network/acme/new") {
		c.Errorf("status without numbers:\n%s", out)
	}
	if out := c.in("host/kvm1", "ip", "netns"); strings.Contains(out, "weft-acme-new") {
		c.Errorf("a router without numbers: %s", out)
	}
	c.reaches("acme/web-1", "web-2", soon)
	c.commit() // with the lock
	c.well()
	c.answered("acme/new-1", "new-2")
}

// rollback goes back to an earlier commit, stays there, and comes back.
func (c *cloud) rollback() {
	c.probe("beta/mail", "e2e-echo", ":25")
	c.probe("beta/mail", "e2e-echo", ":26")
	good := c.head()
	c.edit("tenants/beta.yaml", "ports: 25,", "ports: 26,")
	c.commit()
	bad := c.head()
	together(
		func() { c.connects(true, "internet", "", "203.0.113.73", 26) },
		func() { c.connects(false, "internet", "", "203.0.113.73", 25) },
	)
	c.in("host/kvm1", "weft", "rollback", good[:12])
	together(
		func() { c.connects(false, "internet", "", "203.0.113.73", 26) },
		func() { c.connects(true, "internet", "", "203.0.113.73", 25) },
	)
	if out := c.in("host/kvm1", "weft", "status"); !strings.Contains(out, "rolled back") || !strings.Contains(out, good[:12]) {
		c.Errorf("status after a rollback:\n%s", out)
	}
	// It stays so over a restart.
	c.kill9("kvm1", "agent")
	c.until(slow, "the rollback stays", func() string {
		s, err := c.status("kvm1")
		if err != nil {
			return err.Error()
		}
		if !strings.HasSuffix(s.Pinned, good) || !strings.HasSuffix(s.LastAppliedRevision, good) || !s.Condition(status.Ready).True {
			return s.Line() + " pinned " + s.Pinned
		}
		return ""
	})
	c.connects(true, "internet", "", "203.0.113.73", 25)
	c.in("host/kvm1", "weft", "resume")
	c.well()
	c.connects(true, "internet", "", "203.0.113.73", 26)
	out := c.in("host/kvm1", "weft", "history", "-n", "3")
	for _, rev := range []string{good, bad} {
		if !strings.Contains(out, rev[:12]) {
			c.Errorf("history does not show %s:\n%s", rev[:12], out)
		}
	}
	if !strings.HasPrefix(out, "WHEN") || strings.Count(out, "Applied") != 3 {
		c.Errorf("history:\n%s", out)
	}
	if out, code := c.code("host/kvm1", "weft", "rollback", "nonsense"); code != exitError || !strings.Contains(out, "nonsense") {
		c.Errorf("rollback to nonsense: exit status %d\n%s", code, out)
	}
	// A newer commit ends a rollback.
	c.in("host/kvm1", "weft", "rollback", good)
	c.edit("tenants/beta.yaml", "ports: 26,", "ports: 25,")
	c.commit()
	c.well()
}
