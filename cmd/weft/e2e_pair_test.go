//go:build e2e

package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"weft.dev/reconcile/status"
)

const pairTree = "../../examples/redundant"

// The router of the example, its gateway, and its hosts in the lock.
const (
	pairNS   = "weft-acme-web"
	pairLead = "10.1.1.1/24"
)

// A pairLab is the lab of the example: kvm1 and kvm2 have the routers, kvm3 the guests.
type pairLab struct {
	*cloud
	// back counts how often a router was the primary that should not be.
	back *int
}

// TestRedundantRouters: one of two routers serves, whatever happens to the other one,
// and connections outlive that.
func TestRedundantRouters(t *testing.T) {
	c := &pairLab{startLab(t, fmt.Sprintf("pair%d", os.Getpid()), pairTree), new(int)}
	for _, part := range []struct {
		name string
		run  func(*pairLab)
	}{
		{"Begin", (*pairLab).begin}, {"KillDaemon", (*pairLab).killDaemon}, {"KillHost", (*pairLab).killHost}, {"StartRace", (*pairLab).startRace},
		{"Drift", (*pairLab).drifts}, {"Change", (*pairLab).change}, {"Evacuate", (*pairLab).evacuate}, {"Off", (*pairLab).off},
	} {
		t.Run(part.name, func(t *testing.T) {
			p := *c.cloud
			p.TB = t
			q := &pairLab{&p, c.back}
			q.whole("kvm1", "kvm2")
			part.run(q)
		})
	}
	if *c.back > 1 {
		t.Errorf("%d times a router took over from one that lives", *c.back)
	}
}

// stays looks that a host leads still. Where the machine stands still for the better
// part of a second the other one takes over, rightly: so once may be.
func (c *pairLab) stays(host string) bool {
	c.Helper()
	if c.leads(host) {
		return true
	}
	c.Logf("%s is the primary no more", host)
	*c.back++
	return false
}

// inside runs a command in the router's namespace on a host.
func (c *pairLab) inside(host string, argv ...string) (string, error) {
	return c.try("host/"+host, append([]string{"ip", "netns", "exec", pairNS}, argv...)...)
}

// leads reports whether the router on a host has the gateway.
func (c *pairLab) leads(host string) bool {
	out, err := c.inside(host, "ip", "-o", "-4", "addr", "show", "dev", "eth0")
	return err == nil && strings.Contains(out, " "+pairLead+" ")
}

// primary waits until one of the hosts leads, and returns it and the other one.
func (c *pairLab) primary(hosts ...string) (primary, backup string) {
	c.Helper()
	c.until(slow, "there is one primary", func() string {
		var lead []string
		for _, h := range hosts {
			if c.leads(h) {
				lead = append(lead, h)
			} else {
				backup = h
			}
		}
		if len(lead) != 1 {
			return fmt.Sprintf("%d primaries: %v", len(lead), lead)
		}
		primary = lead[0]
		return ""
	})
	return primary, backup
}

// role is what the status of a host says of its router.
func (c *pairLab) role(host string) status.Role {
	s, err := c.status(host)
	if err != nil {
		return status.Role{State: err.Error()}
	}
	i := slices.IndexFunc(s.Routers, func(r status.Router) bool { return r.NS == pairNS })
	if i < 0 {
		return status.Role{State: "no router"}
	}
	return s.Routers[i].Role()
}

// whole waits until all hosts are as the tree says, and the routers on two of them are
// a pair.
func (c *pairLab) whole(hosts ...string) {
	c.Helper()
	c.until(slow, "the pair is whole", func() string {
		head := c.head()
		for _, h := range []string{"kvm1", "kvm2", "kvm3"} {
			if why := c.unwell(h, head); why != "" {
				return h + ": " + why
			}
		}
		roles := map[string]int{}
		for _, h := range hosts {
			r := c.role(h).State
			if roles[r]++; (r == status.RolePrimary) != c.leads(h) {
				return h + " says that it is " + r
			}
		}
		if roles[status.RolePrimary] != 1 || roles[status.RoleBackup] != 1 {
			return fmt.Sprint(roles)
		}
		return ""
	})
}

// serves: guests have DHCP, names and the way out, and are reached.
func (c *pairLab) serves() {
	c.Helper()
	c.answered("acme/web-1", "web-2")
	c.answered("acme/web-1", "203.0.113.1")
	c.answered("acme/web-1", "2001:db8:feed::1")
	c.answered("internet", "203.0.113.40")
	c.until(soon, "a guest gets a lease", func() string {
		out, err := c.try("acme/web-2", "udhcpc", "-f", "-q", "-n", "-t", "5", "-T", "1", "-i", "eth0", "-s", "/bin/true")
		if err != nil {
			return out
		}
		return ""
	})
}

func (c *pairLab) begin() {
	c.serves()
	primary, backup := c.primary("kvm1", "kvm2")
	if out := c.in("router/acme/web", "ip", "-o", "addr", "show", "dev", "eth0"); !strings.Contains(out, " "+pairLead+" ") {
		c.Errorf("router/acme/web is not the active one:\n%s", out)
	}
	if out, _ := c.inside(backup, "ip", "-o", "addr", "show", "dev", "eth1"); out != "" {
		c.Errorf("the backup has public addresses: %s", out)
	}
	if out, _ := c.inside(backup, "ip", "route", "show", "default"); out != "" {
		c.Errorf("the backup has a way out: %s", out)
	}
	for _, x := range []struct{ host, word string }{{primary, status.RolePrimary}, {backup, status.RoleBackup}} {
		if out := c.in("host/"+x.host, "weft", "status"); !strings.Contains(out, "pair  "+x.word) {
			c.Errorf("the status of %s does not say %s:\n%s", x.host, x.word, out)
		}
		want := fmt.Sprintf("weft_router_primary{router=\"router/acme/web\"} %d", map[bool]int{true: 1}[x.host == primary])
		if out := c.in("host/"+x.host, "curl", "-sf", "http://127.0.0.1:9464/metrics"); !strings.Contains(out, want) {
			c.Errorf("the metrics of %s lack %s", x.host, want)
		}
	}
	// A guest hears nothing of what the routers tell each other.
	ear := c.listen("acme/web-1", "eth0")
	c.answered("acme/web-1", "10.1.1.1")
	ear.hears(c.cloud, "ICMP echo reply")
	if ear.heard("VRRP") || ear.heard(".3780") {
		c.Error("a guest hears VRRP or conntrackd")
	}
}

// daemons are the pids of what runs for keepalived in the router of a host: that which
// looks after it first.
func (c *pairLab) daemons(host string) []string {
	return strings.Fields(c.in("host/"+host, "sh", "-c", "pgrep -f '[k]eepalived-serve --config'; pgrep -x keepalived"))
}

// killDaemon: without keepalived the other one takes over, and no connection breaks;
// that comes back changes nothing.
func (c *pairLab) killDaemon() {
	primary, backup := c.primary("kvm1", "kvm2")
	stream := c.streaming("acme/web-1", "internet", "203.0.113.1")
	var pids []string
	c.until(soon, "keepalived runs as one does", func() string { // but for the moment in which it starts something
		if pids = c.daemons(primary); len(pids) != 3 {
			return fmt.Sprint(pids)
		}
		return ""
	})
	c.in("host/"+primary, "kill", "-9", pids[1]) // its own process looks after the rest
	c.until(soon, backup+" takes over", func() string {
		if !c.leads(backup) || c.leads(primary) {
			return "not yet"
		}
		return ""
	})
	c.whole("kvm1", "kvm2")
	c.stays(backup)
	c.serves()
	stream.unbroken()
	// All of it at once, so that nobody lets go of the addresses: the agent starts it anew.
	primary, _ = c.primary("kvm1", "kvm2")
	c.in("host/"+primary, append([]string{"kill", "-9"}, c.daemons(primary)...)...)
	c.whole("kvm1", "kvm2")
	c.serves()
}

// killHost: with the host of the primary the way out is lost for less than a second,
// and no connection.
func (c *pairLab) killHost() {
	primary, backup := c.primary("kvm1", "kvm2")
	out := c.streaming("acme/web-1", "internet", "203.0.113.1")
	six := c.streaming("acme/web-2", "internet", "[2001:db8:feed::1]")
	c.probe("acme/web-1", "e2e-echo", ":80")
	in := c.probe("internet", "e2e-stream", "203.0.113.40:80")
	ping := c.pinging("acme/web-1", "203.0.113.1")
	c.must("lab", "kill", "host/"+primary)
	c.until(soon, backup+" takes over", func() string {
		if !c.leads(backup) {
			return "not yet"
		}
		return ""
	})
	c.serves()
	c.must("lab", "start", "host/"+primary)
	c.whole("kvm1", "kvm2")
	c.stays(backup)
	c.serves()
	out.unbroken()
	six.unbroken()
	in.unbroken()
	t := ping.tally()
	c.Logf("%d of %d pings lost, longest gap %v", t.Lost, t.Sent, t.Gap.Round(time.Millisecond))
}

// A watcher notes when the router on a host got and lost the gateway.
type watcher struct {
	mu   sync.Mutex
	text strings.Builder
}

func (w *watcher) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(b)
}

// had are the times at which the gateway came (and went, if it did).
func (w *watcher) had() [][2]time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out [][2]time.Time
	for line := range strings.Lines(w.text.String()) {
		// [2026-11-21T11:12:37.123456] Deleted 2: eth0    inet 10.1.1.1/24 ...
		stamp, rest, _ := strings.Cut(strings.TrimPrefix(line, "["), "]")
		at, err := time.Parse("2006-01-02T15:04:05.999999", stamp)
		if err != nil || !strings.Contains(rest, " "+pairLead+" ") {
			continue
		}
		switch gone := strings.Contains(rest, "Deleted"); {
		case !gone:
			out = append(out, [2]time.Time{at})
		case len(out) > 0 && out[len(out)-1][1].IsZero():
			out[len(out)-1][1] = at
		}
	}
	return out
}

// both is how long two routers had the gateway at once.
func both(a, b [][2]time.Time) time.Duration {
	var sum time.Duration
	for _, x := range a {
		for _, y := range b {
			from, to := x[0], x[1]
			if y[0].After(from) {
				from = y[0]
			}
			if to.IsZero() || !y[1].IsZero() && y[1].Before(to) {
				to = y[1]
			}
			if to.IsZero() {
				to = time.Now().UTC()
			}
			if to.After(from) {
				sum += to.Sub(from)
			}
		}
	}
	return sum
}

// startRace: of two that begin at once one becomes primary and the other does not,
// from the first moment.
func (c *pairLab) startRace() {
	for round := 1; ; round++ {
		over := c.race()
		if over == 0 {
			return
		}
		// On a machine that stands still for the better part of a second it may be.
		if c.Logf("round %d: two primaries for %v", round, over); round == 3 {
			c.Fatal("two primaries, three times in a row")
		}
	}
}

func (c *pairLab) race() time.Duration {
	hosts := []string{"kvm1", "kvm2"}
	for _, h := range hosts {
		c.must("lab", "kill", "agent/"+h)
		c.in("host/"+h, "pkill", "-TERM", "-f", "keepalived-serve --config")
	}
	ctx, cancel := context.WithCancel(c.ctx)
	defer cancel()
	var seen [2]watcher
	for i, h := range hosts {
		c.until(soon, h+" has let go", func() string {
			if c.leads(h) {
				return "not yet"
			}
			return ""
		})
		cmd, err := c.command(ctx, "host/"+h, "ip", "netns", "exec", pairNS, "ip", "-ts", "-o", "monitor", "address")
		if err != nil {
			c.Fatal(err)
		}
		cmd.Stdout = &seen[i]
		if err := cmd.Start(); err != nil {
			c.Fatal(err)
		}
		defer func() { cancel(); _ = cmd.Wait() }()
	}
	for _, h := range hosts {
		c.must("lab", "start", "agent/"+h)
	}
	c.whole(hosts...)
	return both(seen[0].had(), seen[1].had())
}

// drifts: what keepalived gives and takes is no drift, what others do to it is.
func (c *pairLab) drifts() {
	_, backup := c.primary("kvm1", "kvm2")
	for _, add := range [][]string{
		{"ip", "addr", "add", "203.0.113.40/24", "dev", "eth1"},
		{"ip", "addr", "add", "10.1.1.77/24", "dev", "eth0"},
		{"ip", "route", "add", "default", "via", "10.1.1.98", "dev", "eth0"},
	} {
		if out, err := c.inside(backup, add...); err != nil {
			c.Fatal(out)
		}
	}
	c.until(slow, "the backup has only what is its own", func() string {
		addr, _ := c.inside(backup, "ip", "-o", "-4", "addr")
		route, _ := c.inside(backup, "ip", "route", "show", "default")
		if strings.Contains(addr, "203.0.113.40") || strings.Contains(addr, "10.1.1.77") || route != "" {
			return addr + route
		}
		return ""
	})
	c.whole("kvm1", "kvm2")
	primary, _ := c.primary("kvm1", "kvm2")
	since := c.role(primary).Since
	// keepalived takes an address that vanishes for a failure: one of the two begins anew.
	if out, err := c.inside(primary, "ip", "addr", "del", "203.0.113.40/24", "dev", "eth1"); err != nil {
		c.Fatal(out)
	}
	c.until(soon, "keepalived begins anew", func() string {
		if c.role(primary).Since.Equal(since) {
			return "not yet"
		}
		return ""
	})
	c.whole("kvm1", "kvm2")
	c.serves()
}

// relock writes the lock of the tree.
func (c *pairLab) relock(args ...string) {
	c.Helper()
	if out, code := c.run(append([]string{"lock", c.tree}, args...)...); code != exitOK {
		c.Fatal(out)
	}
}

// change: a change of what moves is no reason to move.
func (c *pairLab) change() {
	primary, _ := c.primary("kvm1", "kvm2")
	since := c.role(primary).Since
	stream := c.streaming("acme/web-1", "internet", "203.0.113.1")
	c.write("more.yaml", `apiVersion: weft.dev/v1alpha1
kind: PublicIP
metadata: {name: more, account: acme}
spec:
  network: web
  address: 203.0.113.41
  staticNat: {vm: web-2}
  firewall: [{name: ping, protocol: icmp, sources: [0.0.0.0/0]}]
`)
	c.relock()
	c.commit()
	c.whole("kvm1", "kvm2")
	c.answered("internet", "203.0.113.41")
	c.write("more.yaml", "")
	if err := os.Remove(c.tree + "/more.yaml"); err != nil {
		c.Fatal(err)
	}
	c.relock()
	c.commit()
	c.whole("kvm1", "kvm2")
	if out, err := c.inside(primary, "ip", "-o", "addr"); err != nil || strings.Contains(out, " 203.0.113.41/") {
		c.Errorf("the address did not go: %s", out)
	}
	stream.unbroken()
	if now := c.role(primary); c.stays(primary) && !now.Since.Equal(since) {
		c.Logf("%s was primary since %v, and is so since %v", primary, since, now.Since)
		*c.back++
	}
}

// evacuate: the host of the primary is to be left; the backup serves while another one
// is made.
func (c *pairLab) evacuate() {
	primary, backup := c.primary("kvm1", "kvm2")
	stream := c.streaming("acme/web-1", "internet", "203.0.113.1")
	c.relock("--evacuate", primary)
	// In rack b there are two: kvm3 takes the place of either.
	c.commit()
	c.whole(backup, "kvm3")
	c.stays(backup)
	if out, err := c.try("host/"+primary, "ip", "netns", "list"); err != nil || strings.Contains(out, pairNS) {
		c.Errorf("%s still has a router: %s", primary, out)
	}
	c.serves()
	// It knows of the stream: nothing is lost when it takes over.
	c.until(soon, "the new backup knows of the stream", func() string {
		if out, err := c.inside("kvm3", "conntrack", "-L", "-p", "tcp", "--dst", "203.0.113.1"); err != nil || !strings.Contains(out, "ESTABLISHED") {
			return out
		}
		return ""
	})
	stream.unbroken()
	c.relock("--evacuate", "kvm3")
	c.commit()
	c.whole("kvm1", "kvm2")
}

// off: without redundancy one router stays, with the addresses as its own.
func (c *pairLab) off() {
	c.edit("cloud.yaml", "redundantRouter: true", "redundantRouter: false")
	c.relock()
	c.commit()
	c.until(slow, "one router is left", func() string {
		head := c.head()
		for _, h := range []string{"kvm1", "kvm2", "kvm3"} {
			if why := c.unwell(h, head); why != "" {
				return h + ": " + why
			}
		}
		out, err := c.try("host/kvm2", "ip", "netns", "list")
		if err != nil || strings.Contains(out, pairNS) || !c.leads("kvm1") {
			return out
		}
		if out, err := c.try("host/kvm1", "pgrep", "-x", "keepalived"); err == nil {
			return "keepalived still runs: " + out
		}
		return ""
	})
	c.serves()
	// And back, under a connection that stays.
	stream := c.streaming("acme/web-1", "internet", "203.0.113.1")
	c.edit("cloud.yaml", "redundantRouter: false", "redundantRouter: true")
	c.relock()
	c.commit()
	c.until(slow, "there are two again", func() string {
		roles := []string{c.role("kvm1").State, c.role("kvm2").State, c.role("kvm3").State}
		slices.Sort(roles)
		if !slices.Contains(roles, status.RolePrimary) || !slices.Contains(roles, status.RoleBackup) {
			return fmt.Sprint(roles)
		}
		return ""
	})
	c.serves()
	stream.unbroken()
}

// BenchmarkFailover is how long guests are without the way out when the host of the
// primary loses power.
func BenchmarkFailover(b *testing.B) {
	c := &pairLab{startLab(b, fmt.Sprintf("failover%d", os.Getpid()), pairTree), new(int)}
	c.whole("kvm1", "kvm2")
	var gaps []time.Duration
	for b.Loop() {
		primary, backup := c.primary("kvm1", "kvm2")
		ping := c.pinging("acme/web-1", "203.0.113.1")
		c.must("lab", "kill", "host/"+primary)
		c.until(slow, "it takes over", func() string {
			if !c.leads(backup) {
				return "not yet"
			}
			return ""
		})
		c.answered("acme/web-1", netip.MustParseAddr("203.0.113.1").String())
		gaps = append(gaps, ping.tally().Gap)
		c.must("lab", "start", "host/"+primary)
		c.whole("kvm1", "kvm2")
	}
	b.ReportMetric(float64(median(gaps).Milliseconds()), "ms-without")
	b.ReportMetric(float64(slices.Max(gaps).Milliseconds()), "ms-most")
}
