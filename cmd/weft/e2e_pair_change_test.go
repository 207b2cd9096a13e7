//go:build e2e

package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"weft.dev/reconcile/status"
)

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

// maintained: both hosts go into Maintenance in one commit, and one router moves; the
// other one serves.
func (c *pairLab) maintained() {
	stream := c.streaming("acme/web-1", "internet", "203.0.113.1")
	for _, last := range []string{"11", "12"} {
		bridges := "  bridges: [{name: cloudbr1, uplinks: [eth1], address: 192.168.50." + last + "/24}]\n"
		c.edit("cloud.yaml", bridges, "  state: Maintenance\n"+bridges)
	}
	out, code := c.run("lock", c.tree)
	if code != exitOK || !strings.Contains(out, "moves from kvm1 first") {
		c.Fatalf("weft lock: %d, %s", code, out)
	}
	c.commit()
	c.whole("kvm2", "kvm3")
	c.stays("kvm2")
	c.serves()
	stream.unbroken()
	text := strings.ReplaceAll(c.read("cloud.yaml"), "  state: Maintenance\n", "")
	c.write("cloud.yaml", text)
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
