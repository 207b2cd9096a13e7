//go:build e2e

package main

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"weft.dev/reconcile/status"
)

const pairTree = "../../examples/redundant"

// The router of the example, its gateway, and its hosts in the lock.
const (
	pairNS   = "weft-acme-web"
	pairLead = "10.1.1.1/24"
	pairVRID = 138
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
	secrets := t.TempDir()
	c := &pairLab{startLab(t, fmt.Sprintf("pair%d", os.Getpid()), pairTree, "--secrets", secrets), new(int)}
	c.secrets = secrets
	for _, part := range []struct {
		name string
		run  func(*pairLab)
	}{
		{"Begin", (*pairLab).begin}, {"Impostor", (*pairLab).impostor}, {"Services", (*pairLab).services}, {"SplitBrain", (*pairLab).splits},
		{"KillDaemon", (*pairLab).killDaemon}, {"KillHost", (*pairLab).killHost}, {"StartRace", (*pairLab).startRace},
		{"Drift", (*pairLab).drifts}, {"Change", (*pairLab).change}, {"VPN", (*pairLab).vpn}, {"BGP", (*pairLab).bgp}, {"Evacuate", (*pairLab).evacuate}, {"Maintenance", (*pairLab).maintained}, {"Off", (*pairLab).off},
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

// daemons are the pids of what runs for keepalived in the router of a host, which may be
// nothing at the moment: that which looks after it first.
func (c *pairLab) daemons(host string) []string {
	return strings.Fields(c.in("host/"+host, "sh", "-c", "pgrep -f '[k]eepalived-serve --config'; pgrep -x keepalived || true"))
}

// killDaemon: without keepalived the other one takes over, and no connection breaks;
// that comes back changes nothing.
func (c *pairLab) killDaemon() {
	stream := c.streaming("acme/web-1", "internet", "203.0.113.1")
	primary, _ := c.failover()
	c.stays(primary)
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
