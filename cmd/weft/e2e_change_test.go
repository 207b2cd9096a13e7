//go:build e2e

package main

import (
	"regexp"
	"strings"
)

// grown is what a growing tenant adds: a machine in a network that there is,
// and a network of its own with a public address.
const grown = `apiVersion: weft.dev/v1alpha1
kind: VirtualMachine
metadata: {name: web-3, account: acme}
spec: {host: kvm1, nics: [{network: web}]}
---
apiVersion: weft.dev/v1alpha1
kind: Network
metadata: {name: new, account: acme}
spec: {offering: open, physicalNetwork: vlan, cidr: 10.1.9.0/24, networkDomain: new.acme.internal}
---
apiVersion: weft.dev/v1alpha1
kind: VirtualMachine
metadata: {name: new-1, account: acme}
spec: {host: kvm1, nics: [{network: new}]}
---
apiVersion: weft.dev/v1alpha1
kind: VirtualMachine
metadata: {name: new-2, account: acme}
spec: {host: kvm2, nics: [{network: new}]}
---
apiVersion: weft.dev/v1alpha1
kind: PublicIP
metadata: {name: new, account: acme}
spec:
  network: new
  address: 203.0.113.99
  staticNat: {vm: new-2}
  firewall: [{name: s, protocol: tcp, ports: 443, sources: [0.0.0.0/0]}]
`

// commits: an edit, a plan, and the wire; then a VM, a network, a public
// address more, and all of it gone again without a trace.
func (c *cloud) commits() {
	const vip = "203.0.113.20"
	c.probe("acme/web-1", "e2e-echo", ":8080")
	c.edit("tenants/acme-web.yaml", "ports: 80,", "ports: 81,")
	out := c.commit()
	for _, want := range []string{
		`(?m)^kvm1  0 to add, \d+ to change, 0 to destroy$`, `tenants/acme-web.yaml:\d+`,
		`(?m)^Plan: 0 to add, \d+ to change, 0 to destroy on 1 host\.$`, `newly open to the internet: 203.0.113.20:81/tcp`,
		`(?m)^On every host (\d+\.\d+) s after the commit`,
	} {
		if !regexp.MustCompile(want).MatchString(out) {
			c.Errorf("lab commit does not print %s:\n%s", want, out)
		}
	}
	if m := regexp.MustCompile(`On every host (\d+\.\d+) s`).FindStringSubmatch(out); m != nil {
		c.Logf("an edit was on every host after %s s", m[1])
	}
	together(
		func() { c.connects(true, "internet", "", vip, 81) },
		func() { c.connects(false, "internet", "", vip, 80) },
	)
	if out := c.must("lab", "commit", c.tree); !strings.Contains(out, "Nothing to commit") {
		c.Errorf("the same tree again: %s", out)
	}
	c.edit("tenants/acme-web.yaml", "ports: 81,", "ports: 80,")
	c.commit()

	before := map[string]string{}
	for _, h := range hosts {
		before[h] = c.made(h)
	}
	c.write("tenants/grown.yaml", grown)
	out = c.commit()
	if !regexp.MustCompile(`(?m)^Plan: \d+ to add, \d+ to change, 0 to destroy on 2 hosts`).MatchString(out) {
		c.Errorf("the plan of a growing tenant:\n%s", out)
	}
	c.probe("acme/new-2", "e2e-echo", ":443")
	c.answered("acme/web-2", "web-3")
	c.answered("acme/web-3", "web-1.web.acme.internal")
	c.answered("acme/new-1", "new-2")
	together(
		func() { c.connects(true, "internet", "", "203.0.113.99", 443) },
		func() { c.connects(false, "internet", "", "203.0.113.99", 80) },
		func() { c.connects(true, "acme/new-2", "", world, 80) },
	)
	if got := c.fetched("acme/new-2", "http://"+world); got != "203.0.113.99" {
		c.Errorf("the internet sees acme/new-2 as %q", got)
	}

	c.copyTree(quickstart)
	out = c.commit()
	if !regexp.MustCompile(`(?m)^Plan: 0 to add, \d+ to change, \d+ to destroy on 2 hosts`).MatchString(out) {
		c.Errorf("the plan of a tenant that leaves:\n%s", out)
	}
	for _, h := range hosts {
		c.until(slow, h+" has nothing left of it", func() string {
			return difference(before[h], c.made(h))
		})
	}
	s, err := c.lab.Status(c.ctx)
	if err != nil {
		c.Fatal(err)
	}
	for _, gone := range []string{"acme/web-3", "acme/new-1", "acme/new-2"} {
		if n, ok := s.Node(gone); ok {
			c.Errorf("%s is still there: %+v", gone, n)
		}
	}
	c.connects(false, "internet", "", "203.0.113.99", 443)
}

// difference says in lines how two texts differ, or "".
func difference(want, got string) string {
	if want == got {
		return ""
	}
	count := map[string]int{}
	for l := range strings.Lines(want) {
		count[l]--
	}
	for l := range strings.Lines(got) {
		count[l]++
	}
	var out strings.Builder
	for l, n := range count {
		switch {
		case n > 0:
			out.WriteString("+ " + l)
		case n < 0:
			out.WriteString("- " + l)
		}
	}
	if out.Len() == 0 {
		return "the order differs"
	}
	return "\n" + out.String()
}
