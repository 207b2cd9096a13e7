//go:build e2e

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// TestRouted holds what examples/routed promises: addresses of two public networks
// answer by the leg where they are asked, and networks where nothing is translated are
// reached as their rules say, by ways that BGP tells.
func TestRouted(t *testing.T) {
	secrets := t.TempDir()
	c := startLab(t, fmt.Sprintf("routed%d", os.Getpid()), "../../examples/routed", "--secrets", secrets)
	c.secrets = secrets
	c.well()
	for node, list := range map[string][]string{
		"acme/app-1": {"80", "81"}, "acme/app-2": {"80"}, "acme/lab-1": {"22"}, "acme/web-1": {"8080", "8081"}, "acme/web-2": {"8080"},
		"acme/front-1": {"80", "81"}, "acme/back-1": {"5432", "22"},
	} {
		for _, port := range list {
			c.probe(node, "e2e-echo", ":"+port)
		}
	}
	for _, part := range []struct {
		name string
		run  func(*cloud)
	}{
		{"Legs", (*cloud).legs}, {"LegsDrift", (*cloud).legsDrift}, {"LegGoes", (*cloud).legGoes}, {"OtherLegs", (*cloud).otherLegs},
		{"Ways", (*cloud).routedWays}, {"Usage", (*cloud).routedUsage}, {"VPC", (*cloud).routedVPC}, {"BGP", (*cloud).told4},
	} {
		t.Run(part.name, func(t *testing.T) {
			p := *c
			p.TB = t
			part.run(&p)
		})
	}
}

const (
	webRouter       = "router/acme/web"
	firstA, secondA = "203.0.113.20", "192.0.2.20" // public addresses of acme/web
	static          = "192.0.2.31"
	edge, carrier   = "203.0.113.1", "192.0.2.1" // gateways, both of the internet
)

// secondLeg is the name of the leg on the second public network.
func (c *cloud) secondLeg() string {
	c.Helper()
	for _, word := range strings.Fields(c.in(webRouter, "ip", "-br", "link")) {
		if name, _, _ := strings.Cut(word, "@"); strings.HasPrefix(name, "pub-") {
			return name
		}
	}
	c.Fatal("the router of acme/web has no second leg")
	return ""
}

// legs: an address answers by the leg where it was asked, whoever asks; what static NAT
// begins leaves by its address's leg, all else by the first.
func (c *cloud) legs() {
	first, second := c.listen(webRouter, "eth1"), c.listen(webRouter, c.secondLeg())
	together(
		func() { c.connects(true, "internet", "", firstA, 80) },
		func() { c.connects(true, "internet", "", secondA, 80) },
		func() { c.connects(true, "internet", "", static, 8080) },
		// A client that lies in the other leg's network.
		func() { c.connects(true, "internet", edge, secondA, 80) },
		func() { c.connects(true, "internet", carrier, firstA, 80) },
		func() { c.connects(false, "internet", "", secondA, 22) },
		func() { c.connects(false, "internet", "", static, 22) },
		// From inside to each: a hairpin.
		func() { c.connects(true, "acme/web-1", "", secondA, 80) },
		func() { c.connects(true, "acme/web-1", "", static, 8080) },
		func() { c.connects(true, "acme/web-2", "", firstA, 80) },
		func() { c.connects(true, "acme/web-2", "", static, 8080) },
	)
	c.answered("internet", secondA)
	c.answered("internet", "-I", edge, secondA)
	for _, x := range []struct{ from, to, sees string }{
		{"acme/web-1", world, firstA}, {"acme/web-2", world, static},
		{"acme/web-1", carrier, firstA}, {"acme/web-2", edge, static},
	} {
		if got := c.fetched(x.from, "http://"+x.to+"/"); got != x.sees {
			c.Errorf("%s sees %s as %q, want %s", x.to, x.from, got, x.sees)
		}
	}
	second.hears(c, secondA+".80 > "+edge)
	first.hears(c, firstA+".80 > "+carrier)
	second.hears(c, static+".")
	for _, x := range []struct {
		ear   *ear
		token string
	}{
		{first, "IP " + secondA}, {first, "IP " + static}, {second, "IP " + firstA}, {first, "IP 10.1.1."}, {second, "IP 10.1.1."},
	} {
		if x.ear.heard(x.token) {
			c.Errorf("%s heard %s, which is none of its addresses", x.ear.name, x.token)
		}
	}
	if first.heard(" > "+secondA) || second.heard(" > "+firstA) {
		c.Log("the internet asked by the other wire") // not weft's doing
	}
}

// legsDrift: what somebody does to the routing of legs is undone, and a stream through
// the first leg does not notice.
func (c *cloud) legsDrift() {
	still := c.pinging("acme/web-1", world)
	before := c.policy()
	// All at once: what is broken again and again is repaired later and later.
	c.in(webRouter, "sh", "-c", strings.Join([]string{
		"ip rule del priority 1001",
		"ip rule add priority 1003 from 10.1.1.11 table 1234",
		"for t in $(ip rule | sed -n 's/.*fwmark.*lookup \\([0-9]*\\).*/\\1/p'); do ip route flush table $t; done",
		"ip link set " + c.secondLeg() + " group default",
	}, "; "))
	c.until(slow, "the router routes as before", func() string {
		if now := c.policy(); now != before {
			return now
		}
		return ""
	})
	c.connects(true, "internet", "", secondA, 80)
	still.unbroken()
}

// policy is the routing of legs, as ordinary tools show it.
func (c *cloud) policy() string {
	c.Helper()
	out, _ := c.try(webRouter, "sh", "-c", `ip rule | sort; for t in $(ip rule | sed -n 's/.*fwmark.*lookup \([0-9]*\).*/\1/p' | sort); do echo $t; ip route show table $t; done; ip -o link | sed -n 's/.*: \([^@]*\).* group \([^ ]*\) .*/\1 \2/p'`)
	return out
}

// legGoes: the second leg goes with the last of its addresses, and comes back, and who
// uses the first does not notice.
func (c *cloud) legGoes() {
	// The lab's switch itself may lose a packet where a port comes or goes on a busy
	// machine: what weft does would lose some each time.
	lost := 0
	for range 3 {
		if lost = c.legRound(); lost == 0 {
			return
		}
	}
	c.Errorf("each time that a leg went and came the first one lost pings, %d the last time", lost)
}

// legRound removes and adds the second leg, and counts the pings that the first one loses.
func (c *cloud) legRound() (lost int) {
	still := c.pinging("acme/web-1", world)
	tree := c.read("acme.yaml")
	short := tree[:strings.Index(tree, "---\napiVersion: weft.dev/v1alpha1\nkind: PublicIP\nmetadata: {name: web-b")]
	c.write("acme.yaml", short)
	c.commit()
	c.until(soon, "nothing of the second leg is left", func() string {
		if out := c.in(webRouter, "sh", "-c", "ip -br link; ip rule"); strings.Contains(out, "pub-") || strings.Contains(out, "fwmark") {
			return out
		}
		return ""
	})
	if got := c.fetched("acme/web-2", "http://"+world+"/"); got != firstA {
		c.Errorf("without its address web-2 is seen as %q", got)
	}
	c.write("acme.yaml", tree)
	c.commit()
	c.connects(true, "internet", "", secondA, 80)
	t := still.tally()
	c.Logf("%s: %d of %d lost, longest gap %v", still.name, t.Lost, t.Sent, t.Gap)
	return t.Lost
}

// routedWays: what ingress and egress let through, both families.
func (c *cloud) routedWays() {
	nics, _ := c.nics6()
	app1, app2 := nics["acme/app-1"].IP6.String(), nics["acme/app-2"].IP6.String()
	const six = "2001:4860:4860::8888"
	var claims []func()
	for _, x := range []struct {
		want     bool
		from, to string
		port     int
	}{
		{true, "internet", "100.64.10.11", 80}, {false, "internet", "100.64.10.11", 81}, {false, "internet", "100.64.10.12", 80},
		{true, "internet", app1, 80}, {false, "internet", app1, 81}, {true, "internet", app2, 80},
		{true, "acme/app-1", "100.64.20.11", 22}, {false, "internet", "100.64.20.11", 22},
		{true, "acme/app-1", world, 80}, {false, "acme/app-1", world, 25}, {true, "acme/app-1", six, 80},
		{true, "acme/lab-1", world, 80}, {false, "acme/lab-1", world, 53}, {true, "acme/lab-1", "100.64.10.11", 80},
	} {
		claims = append(claims, func() { c.connects(x.want, x.from, "", x.to, x.port) })
	}
	together(claims...)
	c.answered("internet", "100.64.10.12")
	c.answered("internet", app2)
	c.never("internet", world, "100.64.20.11", "no rule lets pings in")
	if got := c.fetched("acme/app-1", "http://"+world+"/"); got != "100.64.10.11" {
		c.Errorf("the internet sees app-1 as %q: something is translated", got)
	}
}

// peerConf is the edge router, configured by hand. It tells routers of everything that it
// knows, IPv6 with a link-local next hop.
const peerConf = `hostname edge
router bgp 65500
 bgp router-id 203.0.113.1
 no bgp ebgp-requires-policy
 no bgp network import-check
 bgp graceful-restart
 neighbor weft peer-group
 neighbor weft remote-as external
 bgp listen range 203.0.113.0/24 peer-group weft
 address-family ipv4 unicast
  network 0.0.0.0/0
  network 198.18.0.0/15
 exit-address-family
 address-family ipv6 unicast
  network ::/0
  network 2001:db8:ffff::/48
  neighbor weft activate
 exit-address-family
`

// told4: the edge learns the ways to Dynamic networks by BGP and packets take them; a
// change and an end of the daemon leave them there.
func (c *cloud) told4() {
	kill := c.edge()
	nics, networks := c.nics6()
	n := networks["acme/app-1"]
	// The lab's own ways to the network: from now on BGP has to tell.
	c.in("internet", "ip", "route", "del", n.CIDR.String())
	c.in("internet", "ip", "-6", "route", "del", n.IP6.CIDR.String())
	c.until(slow, "the edge knows acme/app", func() string {
		four, _ := c.try("internet", "ip", "route", "show", n.CIDR.String())
		six, _ := c.try("internet", "ip", "-6", "route", "show", n.IP6.CIDR.String())
		if !strings.Contains(four, "via "+n.Router.Outer.String()) || !strings.Contains(four, "proto bgp") || !strings.Contains(six, "proto bgp") {
			return four + six
		}
		return ""
	})
	if out := c.in("internet", "ip", "route", "show", "100.64.20.0/24"); strings.Contains(out, "proto bgp") {
		c.Errorf("a Static network is told of: %s", out)
	}
	c.connects(true, "internet", "", "100.64.10.11", 80)
	c.connects(true, "internet", "", nics["acme/app-1"].IP6.String(), 80)
	var before string
	c.until(soon, "vtysh tells of the session", func() string {
		if before = c.session(n.Router.Outer.String()); !strings.HasPrefix(before, "Established") {
			return before
		}
		return ""
	})

	// What changes is told over the session that there is.
	still := c.pinging("internet", "100.64.10.12")
	c.edit("cloud.yaml", "networkDomain: zone1.internal", "networkDomain: zone1.internal\n  routers: {healthCheckInterval: 1s}")
	c.edit("cloud.yaml", "asn: 65500, keepalive: 3s, holdTime: 9s}", "asn: 65500, keepalive: 3s, holdTime: 9s}\n      - {name: second, address: 203.0.113.2, asn: 65501, multihop: 4}")
	c.commit()
	c.until(slow, "bgpd speaks with a second peer", func() string {
		if out := c.in("router/acme/app", "sh", "-c", "ss -Htan state syn-sent dst 203.0.113.2; ip neigh show 203.0.113.2"); !strings.Contains(out, "203.0.113.2") {
			return "it does not try: " + out
		}
		return ""
	})
	c.until(soon, "the session is the one of before the change", func() string {
		if now := c.session(n.Router.Outer.String()); now != before {
			return now + ", and was " + before
		}
		return ""
	})
	// The daemon is started anew, and the edge keeps the way meanwhile.
	c.in("host/"+n.Router.Host.Name, "kill", "-9", c.bgpd(n.Router.Host.Name, n.Router.NS))
	c.until(slow, "the session is there again", func() string {
		if now := c.session(n.Router.Outer.String()); now == before || !strings.HasPrefix(now, "Established") {
			return now
		}
		return ""
	})
	still.unbroken()
	c.toldTiers()
	c.toldSessions(n.Router.Host.Name, kill)
}

// session is the state of the edge's session with a router, and how often it began.
func (c *cloud) session(router string) string {
	c.Helper()
	out, err := c.try("internet", "vtysh", "--vty_socket", "/run/frr", "-c", "show bgp neighbors "+router+" json")
	if err != nil {
		return err.Error() + out
	}
	var all map[string]struct {
		State string `json:"bgpState"`
		Began int    `json:"connectionsEstablished"`
	}
	if err := json.Unmarshal([]byte(out), &all); err != nil {
		return err.Error() + out
	}
	s := all[router]
	return fmt.Sprintf("%s, session %d", s.State, s.Began)
}

// edge starts the operator's router in the internet, and returns how to kill its bgpd.
func (c *cloud) edge() (kill func()) {
	c.Helper()
	c.in("internet", "sh", "-c", "install -d -m 755 -o frr -g frr /run/frr && printf %s \"$1\" >/run/frr/edge.conf", "sh", peerConf)
	c.frrAt("internet", "zebra", "-f", "/dev/null")
	c.until(soon, "zebra serves", func() string {
		out, _ := c.try("internet", "ls", "/run/frr/zserv.api")
		return strings.TrimSuffix(strings.TrimSpace(out), "/run/frr/zserv.api")
	})
	return c.frrAt("internet", "bgpd", "-f", "/run/frr/edge.conf")
}

// frrAt runs a daemon of FRR in a node until it is killed, or the test ends.
func (c *cloud) frrAt(node, name string, args ...string) (kill func()) {
	c.Helper()
	var cmd *exec.Cmd
	cmd, err := c.command(c.ctx, node, append([]string{"/usr/lib/frr/" + name, "-u", "frr", "-g", "frr"}, args...)...)
	if err != nil {
		c.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		c.Fatal(err)
	}
	gone := false
	end := func(s syscall.Signal) {
		if !gone {
			gone = true
			_ = syscall.Kill(-cmd.Process.Pid, s)
			_ = cmd.Wait()
		}
	}
	c.Cleanup(func() { end(syscall.SIGTERM) })
	return func() { end(syscall.SIGKILL) }
}
