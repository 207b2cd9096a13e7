//go:build e2e

package main

import (
	"fmt"
	"strings"
)

// digs waits until a guest that asks its resolver hears that.
func (c *cloud) digs(vm, want string, args ...string) {
	c.Helper()
	c.until(slow, fmt.Sprintf("%s digs %s", vm, strings.Join(args, " ")), func() string {
		out, err := c.try(vm, append([]string{"dig", "+short", "+tries=1", "+time=2"}, args...)...)
		if err == nil && strings.TrimSpace(out) == want {
			return ""
		}
		return fmt.Sprintf("%q, want %q, %v", out, want, err)
	})
}

// names: what DNS says of guests and of what serves them, both ways; what it does not
// know it asks the world for, but never for names and addresses of its own.
func (c *cloud) names() {
	const domain = "zone1.internal"
	c.digs("acme/web-1", "10.1.1.12", "web-2."+domain)
	c.digs("acme/web-1", "10.1.1.12", "+search", "web-2")
	c.digs("acme/web-1", "10.1.1.12", "+tcp", "web-2."+domain)
	c.digs("acme/web-1", "web-2."+domain+".", "-x", "10.1.1.12")
	c.digs("acme/web-1", "10.1.1.1", "gateway."+domain)
	c.digs("acme/web-1", "gateway."+domain+".", "-x", "10.1.1.1")
	c.digs("acme/web-1", "10.1.1.1", "data-server."+domain)
	c.digs("acme/web-1", "198.51.100.5", "example.com")
	c.digs("acme/web-1", "198.51.100.5", "+tcp", "example.com")
	c.digs("acme/desk", "10.2.0.1", "gateway."+domain)
	c.digs("acme/desk", "10.2.0.20", "desk."+domain)
	var router string
	c.until(slow, "desk is told where metadata is", func() string {
		out, err := c.try("acme/desk", "dig", "+short", "data-server."+domain)
		if router = strings.TrimSpace(out); err != nil || router == "" {
			return fmt.Sprintf("%q, %v", out, err)
		}
		return ""
	})
	if router == "10.2.0.1" {
		c.Errorf("metadata of a network whose gateway is not weft's is said to be at %q", router)
	}
	c.digs("acme/desk", "data-server."+domain+".", "-x", router)

	// It answers for its own names itself, though another network has such a domain too.
	for _, args := range [][]string{{"desk." + domain}, {"nobody." + domain}, {"-x", "10.1.1.99"}, {"-x", "192.168.7.7"}} {
		c.until(soon, fmt.Sprintf("%q is said not to be", args), func() string {
			out, err := c.try("acme/web-1", append([]string{"dig", "+tries=1", "+time=2"}, args...)...)
			if err != nil || !strings.Contains(out, "status: NXDOMAIN") {
				return out
			}
			return ""
		})
	}
}
