//go:build e2e

package main

import (
	"os"
	"strings"
)

// words is a list for the private gateway.
const words = `apiVersion: weft.dev/v1alpha1
kind: NetworkACL
metadata: {name: mpls, account: acme}
spec:
  vpc: shop
  rules:
    - {number: 10, name: http, action: Allow, protocol: tcp, ports: 80}
    - {number: 20, name: sql, action: Allow, direction: Egress, protocol: tcp, ports: 5432}
`

// vpcWords: rules go by their numbers wherever they stand, a private gateway has a list of
// its own, a static route leads behind a guest, publicMTU is what leaves unfragmented.
func (c *cloud) vpcWords() {
	was := c.read("cloud.yaml")
	c.write("words.yaml", words)
	for _, x := range []struct{ old, new string }{
		{"    - {number: 10, name: http, action: Allow, protocol: tcp, ports: 80}\n", "    - {number: 99, name: late, action: Deny, protocol: all}\n    - {number: 10, name: http, action: Allow, protocol: tcp, ports: 80}\n"},
		{"    - {number: 50, name: world,", "    - {number: 5, name: not-the-office, action: Deny, protocol: tcp, sources: [" + office + "/32]}\n    - {number: 50, name: world,"},
		{"acl: default_allow, routes", "acl: mpls, routes"},
		{"networkDomain: shop.internal}", "networkDomain: shop.internal, publicMTU: 1400, routes: [{cidr: 10.98.0.0/24, via: 10.20.2.11}]}"},
		{"{network: app, ip: 10.20.2.11}", "{network: app, ip: 10.20.2.11, allowedAddresses: [{cidr: 10.98.0.0/24}]}"},
	} {
		c.edit("cloud.yaml", x.old, x.new)
	}
	c.commit()
	c.in("acme/app-1", "ip", "addr", "add", "10.98.0.5/32", "dev", "lo")
	together(
		func() { c.connects(true, "internet", "", "203.0.113.20", 8000) },
		func() { c.connects(false, "internet", office, "203.0.113.21", 80) },
		func() { c.connects(true, "internet", branch, "10.20.3.11", 5432) },
		func() { c.connects(false, "internet", branch, "10.20.1.11", 80) }, // the tier's list would
	)
	c.walls(
		knock{"acme/db-1", branch + ":80", true}, knock{"acme/web-1", branch + ":80", true}, knock{"acme/web-1", branch + ":22", false},
		knock{"acme/web-1", "10.98.0.5:8080", true}, knock{"acme/web-1", "10.98.0.5:8081", false}, knock{"acme/db-1", "10.98.0.5:8080", false},
	)
	c.until(soon, "1400 bytes leave as they are, and no more", func() string {
		link := strings.TrimSpace(c.in(vpcRouter, "cat", "/sys/class/net/eth1/mtu"))
		fits, err := c.try("acme/web-1", "ping", "-c1", "-W2", "-M", "do", "-s", "1372", world)
		over, _ := c.try("acme/web-1", "ping", "-c1", "-W2", "-M", "do", "-s", "1373", world)
		if link != "1400" || err != nil || !strings.Contains(over, "mtu = 1400") && !strings.Contains(over, "mtu=1400") {
			return link + "\n" + fits + over
		}
		return ""
	})
	c.in("acme/app-1", "ip", "addr", "del", "10.98.0.5/32", "dev", "lo")
	c.in("acme/web-1", "ip", "route", "flush", "cache")
	if err := os.Remove(c.tree + "/words.yaml"); err != nil {
		c.Fatal(err)
	}
	c.write("cloud.yaml", was)
	c.commit()
	c.connects(true, "internet", office, "203.0.113.21", 80)
}
