//go:build e2e

package main

// tierLinkAnew: a link into a tier that somebody takes away is made again, and who was
// bound to the one before serves again at once, not when its health is looked at; the
// other tiers' daemons stay.
func (c *cloud) tierLinkAnew() {
	daemon := func(tier string) string {
		c.Helper()
		return c.in("host/kvm2", "sh", "-ec", "pgrep -f '^dnsmasq.*/"+tier+"/dnsmasq.conf'")
	}
	before, other := daemon("web"), daemon("app")
	c.in(vpcRouter, "ip", "link", "del", "t-web")
	c.until(soon, "a guest gets a lease", func() string {
		out, err := c.try("acme/web-1", "udhcpc", "-f", "-q", "-n", "-t", "3", "-T", "1", "-i", "eth0", "-s", "/bin/true")
		if err != nil {
			return out
		}
		return ""
	})
	c.well()
	if daemon("web") == before {
		c.Error("the daemon of before serves")
	}
	if daemon("app") != other {
		c.Error("the daemon of another tier was started anew")
	}
}
