//go:build e2e

package main

import "strings"

// vpnBefore: who talks to an office through a tunnel goes on with the router's address
// when the tunnel is no more, never with its own, and through the tunnel again as soon as
// there is one.
func (c *cloud) vpnBefore() {
	heard := c.overheard("before")
	c.reaches("acme/web-1", "10.60.0.1", slow)
	_, stop := c.countedPings("acme/web-1", "10.60.0.1")
	c.edit("cloud.yaml", "cidrs: [10.60.0.0/24]", "cidrs: [10.61.0.0/24]")
	c.edit("cloud.yaml", "cidr: 10.1.1.0/24}", "cidr: 10.1.1.0/24, egress: [{name: all, action: Allow, protocol: icmp}]}")
	c.commit()
	wire := func(what string, said func(string) bool) {
		c.Helper()
		from := len(heard())
		c.until(slow, what, func() string {
			if out := heard()[from:]; !said(out) {
				return out
			}
			return ""
		})
	}
	const translated, own = "203.0.113.20 > 10.60.0.1: ICMP echo request", "10.1.1.11 > 10.60.0.1"
	wire("pings with the router's address", func(out string) bool { return strings.Contains(out, translated) })
	c.copyTree(vpnTree)
	c.must("lab", "commit", c.tree)
	c.until(slow, "the pings come through the tunnel", func() string {
		out, err := c.try("internet", far("paris", "timeout", "3", "tcpdump", "-lni", "any", "-c1", "src 10.1.1.11 and icmp[icmptype] = icmp-echo")...)
		if err != nil {
			return out
		}
		return ""
	})
	from := len(heard())
	c.reaches("acme/web-1", "10.60.0.1", slow)
	stop()
	if out := heard()[from:]; strings.Contains(out, translated) {
		c.Errorf("some still go past the tunnel:\n%s", out)
	}
	if bare := clear(heard()); strings.Contains(bare, own) {
		c.Errorf("in the clear:\n%s", bare)
	}
}
