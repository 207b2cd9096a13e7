//go:build e2e

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"weft.dev/schema"
)

// A VPC, and a network whose router is a pair, with addresses of both public networks.
const twoLegs = `apiVersion: weft.dev/v1alpha1
kind: NetworkOffering
metadata: {name: duo-tier}
spec:
  guestType: Isolated
  forVPC: true
  services:
    Dhcp: VpcVirtualRouter
    Dns: VpcVirtualRouter
    SourceNat: VpcVirtualRouter
    StaticNat: VpcVirtualRouter
    PortForwarding: VpcVirtualRouter
    NetworkACL: VpcVirtualRouter
---
apiVersion: weft.dev/v1alpha1
kind: VPC
metadata: {name: duo, account: acme}
spec: {offering: Default VPC offering, cidr: 10.2.0.0/16}
---
apiVersion: weft.dev/v1alpha1
kind: Network
metadata: {name: duo-web, account: acme}
spec: {vpc: duo, offering: duo-tier, acl: default_allow, cidr: 10.2.1.0/24}
---
apiVersion: weft.dev/v1alpha1
kind: NetworkOffering
metadata: {name: pair}
spec:
  guestType: Isolated
  services: {Dhcp: VirtualRouter, Dns: VirtualRouter, SourceNat: {provider: VirtualRouter, redundantRouter: true}, StaticNat: VirtualRouter, PortForwarding: VirtualRouter, Firewall: VirtualRouter}
  egressDefaultPolicy: Allow
---
apiVersion: weft.dev/v1alpha1
kind: Network
metadata: {name: twin, account: acme}
spec: {offering: pair, cidr: 10.3.1.0/24}
`

// A manyLegs is a router with addresses of both public networks, and two of its guests.
type manyLegs struct {
	id              schema.ID
	router, network string
	vms             [2]string
	subnet          string // of the guests, "10.2.1."
	last            int    // byte of the addresses
}

func (m *manyLegs) first() string  { return fmt.Sprintf("203.0.113.%d", m.last) }
func (m *manyLegs) second() string { return fmt.Sprintf("192.0.2.%d", m.last) }
func (m *manyLegs) static() string { return fmt.Sprintf("192.0.2.%d", m.last+1) }

// docs are its guests and its addresses: forwards at one of each network to the first
// guest, and static NAT of the second one's.
func (m *manyLegs) docs() string {
	var out strings.Builder
	for i, vm := range m.vms {
		fmt.Fprintf(&out, "---\napiVersion: weft.dev/v1alpha1\nkind: VirtualMachine\nmetadata: {name: %s, account: acme}\nspec: {host: kvm%d, nics: [{network: %s, ip: %s1%d}]}\n", vm, i+1, m.network, m.subnet, i+1)
	}
	owner := "network: " + m.id.Name
	firewall := ", firewall: [{name: http, protocol: tcp, ports: [80, 8080]}, {name: ping, protocol: icmp, icmpType: 8}]"
	if m.id.Kind == schema.KindVPC {
		owner, firewall = "vpc: "+m.id.Name, ""
	}
	for i, a := range []string{m.first(), m.second()} {
		what := "portForwarding: [{name: http, protocol: tcp, ports: 80, to: {vm: " + m.vms[0] + "}, toPorts: 8080}]"
		fmt.Fprintf(&out, "---\napiVersion: weft.dev/v1alpha1\nkind: PublicIP\nmetadata: {name: %s-%d, account: acme}\nspec: {%s, address: %s, sourceNat: %v, %s%s}\n", m.id.Name, i, owner, a, i == 0, what, firewall)
	}
	fmt.Fprintf(&out, "---\napiVersion: weft.dev/v1alpha1\nkind: PublicIP\nmetadata: {name: %s-static, account: acme}\nspec: {%s, address: %s, staticNat: {vm: %s}%s}\n", m.id.Name, owner, m.static(), m.vms[1], firewall)
	return out.String()
}

// otherLegs: what holds of a network's router holds of a VPC's, and of a pair's, whichever
// of the two leads: an address answers by the leg where it was asked.
func (c *cloud) otherLegs() {
	vpc := &manyLegs{schema.ID{Kind: schema.KindVPC, Account: "acme", Name: "duo"}, "router/acme/duo", "duo-web", [2]string{"duo-1", "duo-2"}, "10.2.1.", 60}
	pair := &manyLegs{schema.ID{Kind: schema.KindNetwork, Account: "acme", Name: "twin"}, "router/acme/twin", "twin", [2]string{"twin-1", "twin-2"}, "10.3.1.", 70}
	c.write("legs.yaml", twoLegs+vpc.docs()+pair.docs())
	c.commit()
	for _, m := range []*manyLegs{vpc, pair} {
		c.probe("acme/"+m.vms[0], "e2e-echo", ":8080")
		c.probe("acme/"+m.vms[1], "e2e-echo", ":8080")
	}
	together(func() { c.answersByItsLeg(vpc) }, func() { c.answersByItsLeg(pair) })
	// The other one of the pair takes over.
	const ns = "weft-acme-twin"
	leads := func() string {
		for _, h := range []string{"kvm1", "kvm2"} {
			if out, _ := c.try("host/"+h, "ip", "-n", ns, "-o", "-4", "addr", "show", "dev", "eth0"); strings.Contains(out, " 10.3.1.1/24 ") {
				return h
			}
		}
		return ""
	}
	former := leads()
	c.in("host/"+former, "sh", "-c", `for p in $(ip netns pids "$1"); do if grep -qz "^keepalived-serve$" /proc/$p/cmdline; then kill -TERM $p; fi; done`, "sh", ns)
	c.until(slow, "the other one leads", func() string {
		if now := leads(); now == "" || now == former {
			return "it is " + now
		}
		return ""
	})
	c.well() // the backup too, whose legs have lost their addresses
	c.answersByItsLeg(pair)
	if err := os.Remove(filepath.Join(c.tree, "legs.yaml")); err != nil {
		c.Fatal(err)
	}
	c.commit()
	c.well()
}

func (c *cloud) answersByItsLeg(m *manyLegs) {
	c.Helper()
	second := ""
	c.until(slow, m.router+" has two legs with addresses", func() string {
		out, _ := c.try(m.router, "ip", "-br", "addr")
		if !strings.Contains(out, m.first()+"/") || !strings.Contains(out, m.static()+"/") {
			return out // of a pair, nobody leads yet
		}
		for _, word := range strings.Fields(out) {
			if name, _, _ := strings.Cut(word, "@"); strings.HasPrefix(name, "pub-") {
				second = name
			}
		}
		if second == "" {
			return out
		}
		return ""
	})
	one, two := c.listen(m.router, "eth1"), c.listen(m.router, second)
	together(
		func() { c.connects(true, "internet", "", m.first(), 80) },
		func() { c.connects(true, "internet", "", m.second(), 80) },
		func() { c.connects(true, "internet", "", m.static(), 8080) },
		// A client that lies in the other leg's network.
		func() { c.connects(true, "internet", edge, m.second(), 80) },
		func() { c.connects(true, "internet", carrier, m.first(), 80) },
		// From inside to each: a hairpin.
		func() { c.connects(true, "acme/"+m.vms[0], "", m.second(), 80) },
		func() { c.connects(true, "acme/"+m.vms[0], "", m.static(), 8080) },
		func() { c.connects(true, "acme/"+m.vms[1], "", m.first(), 80) },
	)
	for _, x := range []struct{ from, to, sees string }{
		{m.vms[0], world, m.first()}, {m.vms[1], world, m.static()}, {m.vms[0], carrier, m.first()}, {m.vms[1], edge, m.static()},
	} {
		if got := c.fetched("acme/"+x.from, "http://"+x.to+"/"); got != x.sees {
			c.Errorf("%s sees %s as %q, want %s", x.to, x.from, got, x.sees)
		}
	}
	two.hears(c, m.second()+".80 > "+edge)
	one.hears(c, m.first()+".80 > "+carrier)
	two.hears(c, m.static()+".")
	for _, x := range []struct {
		ear   *ear
		token string
	}{
		{one, "IP " + m.second()}, {one, "IP " + m.static()}, {two, "IP " + m.first()}, {one, "IP " + m.subnet}, {two, "IP " + m.subnet},
	} {
		if x.ear.heard(x.token) {
			c.Errorf("%s heard %s, which is none of its addresses", x.ear.name, x.token)
		}
	}
}
