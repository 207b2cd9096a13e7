//go:build e2e

package main

import (
	"fmt"
	"regexp"
	"slices"
)

// balancedLimits: leastconn gives a client to who has fewer; no more connections than the
// offering says are served at a time; who is asked for a connection only leaves when there
// is none to be had.
func (c *cloud) balancedLimits() {
	const three, least = "[{vm: web-1, weight: 3}, {vm: web-2}]", "[{vm: web-1}, {vm: web-2}]\n  algorithm: leastconn"
	c.edit("cloud.yaml", "members: "+three, "members: "+least)
	c.edit("cloud.yaml", "concurrentConnections: 10000", "concurrentConnections: 2")
	c.commit()
	c.well()
	c.until(soon, "in turn while nobody has any", func() string { // the new weights are in force
		if seen := c.calls(8, "internet", vip+":25"); len(seen) != 2 {
			return fmt.Sprint(seen)
		}
		return ""
	})
	one := c.probe("internet", "e2e-clients", vip+":25", "one")
	c.until(soon, "all go to who has none", func() string {
		if seen := c.calls(6, "internet", vip+":25"); len(seen) != 1 {
			return fmt.Sprint(seen)
		}
		return ""
	})
	two := c.probe("internet", "e2e-clients", vip+":25", "one")
	c.unanswered(call{"internet", []string{vip + ":25"}})
	for _, p := range []*probe{one, two} {
		if got := p.tally(); got.Lost > 0 {
			c.Errorf("%d of %d requests of who was there before are lost", got.Lost, got.Sent)
		}
	}
	c.fetched("internet", vip+":25")
	c.edit("cloud.yaml", "members: "+least, "members: "+three)
	c.edit("cloud.yaml", "concurrentConnections: 2", "concurrentConnections: 10000")
	c.commit()
	c.well()

	deaf := []string{"iptables", "-I", "INPUT", "-p", "tcp", "--dport", "80", "-j", "REJECT", "--reject-with", "tcp-reset"}
	c.in("acme/web-2", deaf...)
	c.until(slow, "web-2 has left", func() string {
		if seen := c.calls(6, "internet", vip+":25"); seen["web-1"] != 6 {
			return fmt.Sprint(seen)
		}
		return ""
	})
	deaf[1] = "-D"
	c.in("acme/web-2", deaf...)
	c.until(slow, "web-2 is back", func() string {
		if seen := c.calls(8, "internet", vip+":25"); seen["web-2"] != 2 {
			return fmt.Sprint(seen)
		}
		return ""
	})
}

// balancedScanned: nmap finds open what rules open, and what a balancer's sources let in,
// and nothing else.
func (c *cloud) balancedScanned() {
	open := regexp.MustCompile(`\d+/open/tcp`)
	all := []string{"25/open/tcp", "80/open/tcp", "443/open/tcp", "465/open/tcp", "8000/open/tcp"}
	for from, want := range map[string][]string{"8.8.8.8": all, world: slices.Insert(slices.Clone(all), 4, "993/open/tcp")} {
		c.until(slow, "nmap finds what is open from "+from, func() string {
			out := c.in("internet", "sh", "-ec", `nmap -n -Pn -sS -T5 --max-retries 1 -S $0 -e $(ip -o route get $1 | sed 's/.* dev \([^ ]*\).*/\1/') -p 20-30,53,75-90,443-470,514,990-1000,5353,8000-8090,8443 -oG - $1`, from, vip)
			if got := open.FindAllString(out, -1); !slices.Equal(got, want) {
				return out
			}
			return ""
		})
	}
}
