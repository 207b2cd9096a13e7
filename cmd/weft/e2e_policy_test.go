//go:build e2e

package main

import "strings"

// denied: what a policy denies reaches no host although somebody pushed it, the status says which policy
// and which line, and what is undenied is followed.
func (c *cloud) denied() {
	as := c.still()
	c.edit("tenants/acme-web.yaml", "    - {name: ping, protocol: icmp", "    - {name: ssh, protocol: tcp, ports: 22}\n    - {name: ping, protocol: icmp")
	out, code := c.weft("lab", "commit", c.tree)
	if code != exitError || !strings.Contains(out, "by rule ssh (policy world-open-admin-ports)") {
		c.Errorf("lab commit: exit status %d\n%s", code, out)
	}
	c.stalls("Invalid", false, "denied by policy world-open-admin-ports: tenants/acme-web.yaml:", "by rule ssh")
	as.holds("a denied commit")
	c.reaches("acme/web-1", "web-2", soon)
	c.edit("tenants/acme-web.yaml", "ports: 22}", "ports: 22, sources: [198.51.100.0/24]}")
	c.commit()
	c.well()
}
