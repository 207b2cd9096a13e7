//go:build e2e

package main

import (
	"net"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"

	"weft.dev/schema"
)

const (
	front, back = "100.64.32.11", "100.64.33.11" // in the tiers of the VPC shop
	office172   = "172.31.0.2"                   // the router's address at the private gateway
)

// routedVPC: nothing of a VPC is translated but at its private gateway, and the lists of
// its tiers judge whoever comes, in both directions and families; what none names is
// dropped without an answer.
func (c *cloud) routedVPC() {
	ear := c.listen(vpcRouter, "eth1")
	nics, _ := c.nics6()
	at6 := func(vm, port string) string { return net.JoinHostPort(nics[vm].IP6.String(), port) }
	const six = "[2001:4860:4860::8888]"
	c.walls(
		knock{"internet", front + ":80", true}, knock{"internet", front + ":81", false}, knock{"internet", back + ":5432", false},
		knock{"acme/app-1", front + ":80", true}, knock{"acme/app-1", back + ":5432", false}, // a Routed network
		knock{"acme/front-1", back + ":5432", true}, knock{"acme/front-1", back + ":22", false}, knock{"acme/back-1", front + ":80", false},
		knock{"acme/front-1", world + ":80", true}, knock{"acme/front-1", world + ":25", false}, knock{"acme/back-1", world + ":80", false},
		knock{"acme/back-1", branch + ":80", true}, knock{"acme/front-1", branch + ":22", false}, // the gateway's list
		knock{"internet", at6("acme/front-1", "80"), true}, knock{"internet", at6("acme/front-1", "81"), false},
		knock{"internet", at6("acme/back-1", "5432"), false}, knock{"acme/front-1", at6("acme/back-1", "5432"), false},
		knock{"acme/front-1", six + ":80", true}, knock{"acme/front-1", six + ":25", false}, knock{"acme/back-1", six + ":80", false},
	)
	c.answered("internet", front)
	c.answered("internet", nics["acme/front-1"].IP6.String())
	c.never("internet", world, back, "no rule lets pings in")
	for _, x := range []struct{ from, to, sees string }{{"acme/front-1", world, front}, {"acme/front-1", branch, office172}, {"acme/back-1", branch, office172}} {
		if got := c.fetched(x.from, "http://"+x.to+"/"); got != x.sees {
			c.Errorf("%s sees %s as %q, want %s", x.to, x.from, got, x.sees)
		}
	}
	ear.hears(c, "IP "+front+".")
	if ear.heard("IP " + back) {
		c.Errorf("%s heard a guest that may not go there", ear.name)
	}
	together(
		func() { c.scanned("internet", "-n", front, "80/open/tcp") },
		func() { c.scanned("internet", "-n", back) },
		func() { c.scanned("internet", "-6", nics["acme/front-1"].IP6.String(), "80/open/tcp") },
		func() { c.scanned("internet", "-6", nics["acme/back-1"].IP6.String()) },
		// And out.
		func() { c.scanned("acme/back-1", "-n", world) },
		func() { c.scanned("acme/back-1", "-6", strings.Trim(six, "[]")) },
	)
}

// walls tries all at once what passes and what is dropped without an answer.
func (c *cloud) walls(list ...knock) {
	c.Helper()
	var claims []func()
	for _, k := range list {
		verb := "e2e-try"
		if strings.HasPrefix(k.to, "[") {
			verb = "e2e-try6"
		}
		claims = append(claims, func() {
			var out string
			if !c.comes(func() bool {
				out, _ = c.try(k.from, "weft", verb, k.to)
				out = strings.TrimSpace(out)
				return (out == "open") == k.passes && out != "refused"
			}) {
				c.Errorf("%s to %s passes: want %v, is %s", k.from, k.to, k.passes, out)
			}
		})
	}
	together(claims...)
}

// scanned: nmap in a node finds these TCP ports of an address, and no answer at all from
// others. how is an option of its: -6, or nothing new.
func (c *cloud) scanned(node, how, address string, want ...string) {
	c.Helper()
	states := regexp.MustCompile(`\d+/(?:open|closed|unfiltered)/tcp`)
	var out string
	if !c.comes(func() bool {
		out, _ = c.try(node, "nmap", how, "-n", "-Pn", "-sT", "-T5", "--max-retries", "1", "-p", "22,25,53,79-82,179,443,5432,8080", "-oG", "-", address)
		return slices.Equal(states.FindAllString(out, -1), want) && strings.Contains(out, "filtered")
	}) {
		c.Errorf("nmap in %s finds at %s, want %v:\n%s", node, address, want, out)
	}
}

// third is one tier more of the routed VPC, with a machine.
const third = `apiVersion: weft.dev/v1alpha1
kind: Network
metadata: {name: cache, account: acme}
spec: {vpc: shop, offering: told-tier, acl: default_allow, cidr: 100.64.34.0/24}
---
apiVersion: weft.dev/v1alpha1
kind: VirtualMachine
metadata: {name: cache-1, account: acme}
spec: {host: kvm1, nics: [{network: cache, ip: 100.64.34.11}]}
`

// toldTiers: the edge learns the way to each tier of a VPC from its one router; a tier is
// told of when it comes and taken back when it goes, over the session that there is, and
// connections with others go on.
func (c *cloud) toldTiers() {
	outer := c.outerOf(schema.ID{Kind: schema.KindVPC, Account: "acme", Name: "shop"})
	c.edit("vpc.yaml", "rules:\n    - {number: 10, name: http,", "rules:\n    - {number: 1, name: measured, action: Allow, protocol: tcp, ports: \"7000-7999\"}\n    - {number: 10, name: http,")
	if out := c.commit(); !strings.Contains(out, "newly open to the internet: 100.64.32.0/24:7000-7999/tcp") {
		c.Errorf("what the world may now is not told:\n%s", out)
	}
	for _, vm := range []string{"acme/front-1", "acme/back-1"} {
		c.learns(vm, outer)
	}
	nics, _ := c.nics6()
	c.connects(true, "internet", "", front, 80)
	c.connects(true, "internet", "", nics["acme/front-1"].IP6.String(), 80)
	before := c.session(outer.String())
	if !strings.HasPrefix(before, "Established") {
		c.Errorf("the session with the VPC is %s", before)
	}
	streams := []*probe{c.streaming("internet", "acme/front-1", front), c.streaming("acme/app-1", "acme/front-1", front)}
	c.write("third.yaml", third)
	c.commit()
	c.learns("acme/cache-1", outer)
	c.probe("acme/cache-1", "e2e-echo", ":80")
	c.connects(true, "internet", "", "100.64.34.11", 80)
	_, networks := c.nics6()
	gone := networks["acme/cache-1"]
	if err := os.Remove(c.tree + "/third.yaml"); err != nil {
		c.Fatal(err)
	}
	c.commit()
	c.until(slow, "the edge knows no way to the tier any more", func() string {
		out := c.in("internet", "sh", "-c", "ip route show "+gone.CIDR.String()+"; ip -6 route show "+gone.IP6.CIDR.String())
		return strings.TrimSpace(out)
	})
	if after := c.session(outer.String()); after != before {
		c.Errorf("the session was %s and is %s", before, after)
	}
	for _, f := range streams {
		f.unbroken()
	}
}

// outerOf is the address of a VPC's router that the world knows.
func (c *cloud) outerOf(id schema.ID) netip.Addr {
	c.Helper()
	t, err := newCompiler().workTree(c.tree)
	if err != nil {
		c.Fatal(err)
	}
	v := t.VPC(id)
	if v == nil || v.Router == nil {
		c.Fatalf("%s has no router", id)
	}
	return v.Router.Outer
}

// learns takes the lab's own ways to a guest's network from the edge, as often as they
// come back, and waits until BGP tells of others, by a router.
func (c *cloud) learns(vm string, outer netip.Addr) {
	c.Helper()
	_, networks := c.nics6()
	n := networks[vm]
	if n == nil {
		c.Errorf("no network of %s", vm)
		return
	}
	four, six := n.CIDR.String(), n.IP6.CIDR.String()
	c.until(slow, "the edge knows "+n.ID.Name, func() string {
		out := c.in("internet", "sh", "-c", "ip route del "+four+" proto static; ip -6 route del "+six+" proto static; ip route show "+four+"; ip -6 route show "+six)
		if strings.Count(out, "proto bgp") != 2 || !strings.Contains(out, "via "+outer.String()) || strings.Contains(out, "proto static") {
			return out
		}
		return ""
	})
}
