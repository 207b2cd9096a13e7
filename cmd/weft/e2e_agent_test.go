//go:build e2e

package main

import (
	"strings"
	"time"

	"weft.dev/reconcile/lab"
)

// applied is how often something was applied on each host.
func (c *cloud) applied() map[string]int {
	c.Helper()
	out := map[string]int{}
	for _, h := range hosts {
		out[h] = c.history(h)[0].ID
	}
	return out
}

// agents: an agent that is killed or stopped is missed by nobody, and finds
// nothing to do when it is back.
func (c *cloud) agents() {
	before := c.applied()
	flows := []*probe{
		c.pinging("acme/web-1", "10.1.1.4"), // across hosts: VXLAN, GRE, GENEVE, VLAN
		c.pinging("acme/app-1", "10.1.2.133"),
		c.pinging("acme/db-1", "10.1.3.244"),
		c.pinging("beta/files", "10.1.1.11"),
		c.pinging("acme/web-2", world), // through a router
		c.streaming("acme/web-1", "acme/web-2", "10.1.1.4"),
		c.streaming("beta/mail", "beta/files", "10.1.1.153"),
	}
	for _, h := range hosts {
		c.kill9(h, "agent")
	}
	c.well()
	for _, h := range hosts {
		if err := c.lab.Kill(c.ctx, "agent/"+h); err != nil {
			c.Fatal(err)
		}
		if out, code := c.code("host/"+h, "weft", "status"); code != exitError || !strings.Contains(out, "no agent runs on this host") {
			c.Errorf("weft status without an agent: exit status %d\n%s", code, out)
		}
	}
	for _, h := range hosts {
		if err := c.lab.Start(c.ctx, "agent/"+h); err != nil {
			c.Fatal(err)
		}
	}
	c.well()
	for _, h := range hosts {
		c.in("host/"+h, "weft", "reconcile")
	}
	for _, f := range flows {
		f.unbroken()
	}
	for h, id := range c.applied() {
		if id != before[h] {
			c.Errorf("%s: a new agent applied something: %+v", h, c.history(h)[0])
		}
	}
}

// switches: a switch that is killed loses its flows, and gets them back; so does
// one whose database was killed.
func (c *cloud) switches() {
	before := c.made("kvm1")
	ping := c.pinging("acme/web-1", "10.1.1.4")
	c.kill9("kvm1", "ovs-vswitchd")
	c.until(slow, "the flows are back", func() string {
		out, err := c.try("host/kvm1", "ovs-ofctl", "-O", "OpenFlow14", "dump-flows", "weft-int", "table=60")
		if err != nil {
			return out
		}
		return difference(before, c.made("kvm1"))
	})
	c.reaches("acme/web-1", "10.1.1.4", soon)
	t := ping.tally()
	c.Logf("the switch was killed: %d of %d pings lost, longest gap %v", t.Lost, t.Sent, t.Gap.Round(time.Millisecond))
	if t.Gap > soon {
		c.Errorf("that is long")
	}
	c.well()

	ping = c.pinging("acme/web-1", "10.1.1.4")
	c.kill9("kvm1", "ovsdb-server")
	c.until(slow, "the database answers", func() string {
		out, err := c.try("host/kvm1", "ovs-vsctl", "--timeout=1", "list-br")
		if err != nil {
			return out + err.Error()
		}
		return ""
	})
	c.well()
	c.in("host/kvm1", "sh", "-ec", "ovs-vsctl --timeout=10 del-port $(ovs-vsctl --timeout=10 list-ports weft-int | grep -m1 ^wp-)")
	c.until(slow, "drift is healed after the database was killed", func() string { return difference(before, c.made("kvm1")) })
	ping.unbroken()
	for _, to := range []string{"acme/web-1", "acme/web-2", "beta/files", "beta/mail"} {
		c.reaches(to, world, soon)
	}
}

// moves: live migrations are followed at once and without a commit, however many
// there are, and are nobody's drift.
func (c *cloud) moves() {
	ping := c.pinging("acme/web-2", "10.1.1.11")
	stream := c.streaming("acme/web-2", "acme/web-1", "10.1.1.11")
	for _, to := range []string{"kvm2", "kvm1", "kvm2", "kvm1", "kvm2", "kvm1"} {
		c.must("lab", "move", "acme/web-1", to)
		s, err := c.lab.Wait(c.ctx, func(s lab.Status) bool {
			n, _ := s.Node("acme/web-1")
			return n.Host == to && n.NICs[0].Plugged
		})
		if err != nil {
			c.Fatalf("%v: %+v", err, s)
		}
		c.reaches("acme/web-2", "10.1.1.11", soon)
		c.reaches("acme/web-1", world, soon)
		c.well()
	}
	if t := stream.tally(); t.Lost > 0 {
		c.Errorf("a TCP connection lost %d of %d over six moves", t.Lost, t.Sent)
	}
	t := ping.tally()
	c.Logf("six moves: %d of %d pings lost, longest gap %v", t.Lost, t.Sent, t.Gap.Round(time.Millisecond))
	if t.Gap > soon {
		c.Errorf("that is long")
	}
	for _, h := range hosts {
		if out := c.in("host/"+h, "weft", "drift"); strings.Contains(out, "nic:acme/web-1") {
			c.Errorf("a guest that moves is drift:\n%s", out)
		}
	}
	if out, code := c.weft("lab", "move", "acme/web-2", "nowhere"); code != exitError || !strings.Contains(out, "nowhere") {
		c.Errorf("move to nowhere: exit status %d\n%s", code, out)
	}
}

// powerCut: a host that lost its power is itself again after a boot, and the
// other one does not care.
func (c *cloud) powerCut() {
	before := c.made("kvm1")
	c.must("lab", "kill", "host/kvm1")
	if out, err := c.try("acme/web-2", "ping", "-c1", "-W1", "10.1.1.11"); err == nil {
		c.Errorf("a guest of a host without power answers: %s", out)
	}
	if why := c.unwell("kvm2", c.head()); why != "" {
		c.Errorf("kvm2 is not well without kvm1: %s", why)
	}
	c.answered("acme/db-2", "10.1.3.1") // its router is on kvm2
	if out := c.must("lab", "status"); !strings.Contains(out, "host/kvm1: Stopped") {
		c.Errorf("lab status of a host without power:\n%s", out)
	}
	began := time.Now()
	c.must("lab", "start", "host/kvm1")
	c.well()
	c.Logf("all is well %v after the power came back", time.Since(began).Round(time.Millisecond))
	if diff := difference(before, c.made("kvm1")); diff != "" {
		c.Errorf("after a power cut something differs:%s", diff)
	}
	c.promises()
}
