//go:build e2e

package main

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"

	"weft.dev/reconcile/model"
)

// A guest is a machine of the lab with one card.
type guest struct {
	name string
	ip   netip.Addr
	mac  net.HardwareAddr
	net  *model.Network
	host string
}

// guests are those of the tree as it is now, by name.
func (c *cloud) guests() map[string]guest {
	c.Helper()
	t, err := newCompiler().workTree(c.tree)
	if err != nil {
		c.Fatal(err)
	}
	s, err := c.lab.Status(c.ctx)
	if err != nil {
		c.Fatal(err)
	}
	out := map[string]guest{}
	for _, n := range t.Networks() {
		for _, nic := range running(n) {
			at, _ := s.Node(vm(nic))
			mac, err := net.ParseMAC(nic.MAC.String())
			if err != nil {
				c.Fatal(err)
			}
			out[vm(nic)] = guest{vm(nic), nic.IP, mac, n, "host/" + at.Host}
		}
	}
	return out
}

// promises are the checks of the demo.
func (c *cloud) promises() {
	t, err := newCompiler().workTree(c.tree)
	if err != nil {
		c.Fatal(err)
	}
	list := checks(c.lab, t)
	if len(list) < 16 {
		c.Errorf("only %d checks", len(list))
	}
	for i, err := range runChecks(c.ctx, list) {
		if err != nil {
			c.Errorf("%s: %v", list[i].claim, err)
		}
	}
}

// shout sends a broadcast into a guest's network.
func (c *cloud) shout(from guest, text string) {
	c.Helper()
	all := from.net.CIDR.Masked().Addr().As4()
	binary.BigEndian.PutUint32(all[:], binary.BigEndian.Uint32(all[:])|^(^uint32(0)<<(32-from.net.CIDR.Bits())))
	c.in(from.name, "weft", "e2e-shout", netip.AddrFrom4(all).String(), text)
}

// solo is three networks whose only guest and router are on kvm1.
func solo() string {
	var b strings.Builder
	for i, fabric := range []string{"vxlan", "gre", "geneve"} {
		fmt.Fprintf(&b, `---
apiVersion: weft.dev/v1alpha1
kind: Network
metadata: {name: solo-%s, account: acme}
spec: {offering: closed, physicalNetwork: %[1]s, cidr: 10.2.%d.0/24}
---
apiVersion: weft.dev/v1alpha1
kind: VirtualMachine
metadata: {name: solo-%[1]s, account: acme}
spec: {host: kvm1, nics: [{network: solo-%[1]s}]}
`, fabric, i)
	}
	return strings.TrimPrefix(b.String(), "---\n")
}

// isolation: a broadcast is heard in its own network on both hosts, in no other
// network, and on no host that has no part of it.
func (c *cloud) isolation() {
	c.write("tenants/solo.yaml", solo())
	args := []string{"lock", c.tree}
	for _, fabric := range []string{"vxlan", "gre", "geneve"} {
		args = append(args, "--pin", "network/acme/solo-"+fabric+" router kvm1")
	}
	if out, code := c.run(args...); code != exitOK {
		c.Fatalf("lock: %s", out)
	}
	c.commit()

	guests := c.guests()
	ears := map[string]*ear{}
	for name := range guests {
		ears[name] = c.listen(name, "eth0")
	}
	underlay := c.listen("host/kvm2", "eth1")
	for name, g := range guests {
		c.shout(g, "shout-"+c.word(name))
	}
	// A second call comes after the first: whoever heard that would have heard the
	// first one too.
	for name, g := range guests {
		c.shout(g, "fence-"+c.word(name))
	}
	for name, g := range guests {
		for other, o := range guests {
			if o.net == g.net {
				ears[other].hears(c, "fence-"+c.word(name))
			}
		}
	}
	for name, g := range guests {
		token := "shout-" + c.word(name)
		for other, o := range guests {
			switch heard := ears[other].heard(token); {
			case heard && o.net != g.net:
				c.Errorf("%s hears a broadcast of %s of another network", other, name)
			case !heard && o.net == g.net:
				c.Errorf("%s does not hear a broadcast of %s", other, name)
			}
		}
	}

	// On the wire between the hosts: what kvm2 has a part of, and nothing else.
	c.in("host/kvm1", "weft", "e2e-shout", "192.168.50.12", "fence-underlay")
	underlay.hears(c, "fence-underlay")
	for name := range guests {
		crossed := underlay.heard("shout-" + c.word(name))
		if alone := strings.Contains(name, "solo-"); crossed == alone {
			c.Errorf("a broadcast of %s on the wire to kvm2: %v", name, crossed)
		}
	}
	// And unicast does not cross a shared address either.
	if out, err := c.try("beta/files", "ping", "-c1", "-W1", guests["acme/web-2"].ip.String()); err == nil {
		c.Errorf("beta reaches an address that only acme has: %s", out)
	}
}

// word is a text that no other name is a part of.
func (c *cloud) word(name string) string { return "<" + strings.ReplaceAll(name, "/", "+") + ">" }

// udp is a frame with a text from any MAC and address.
func udp(from, to net.HardwareAddr, source, target netip.Addr, sport, dport uint16, text string) []byte {
	f := append(append(append([]byte{}, to...), from...), 8, 0)
	ip := []byte{0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0}
	binary.BigEndian.PutUint16(ip[2:], uint16(28+len(text)))
	a, b := source.As4(), target.As4()
	ip = append(append(ip, a[:]...), b[:]...)
	binary.BigEndian.PutUint16(ip[10:], checksum(ip))
	f = append(f, ip...)
	f = binary.BigEndian.AppendUint16(f, sport)
	f = binary.BigEndian.AppendUint16(f, dport)
	f = binary.BigEndian.AppendUint16(f, uint16(8+len(text)))
	f = append(f, 0, 0) // no checksum
	return append(f, text...)
}

// arp is an announcement that mac has address.
func arp(mac net.HardwareAddr, address netip.Addr) []byte {
	f := append([]byte{255, 255, 255, 255, 255, 255}, mac...)
	f = append(f, 8, 6, 0, 1, 8, 0, 6, 4, 0, 2)
	a := address.As4()
	f = append(append(f, mac...), a[:]...)
	f = append(append(f, 255, 255, 255, 255, 255, 255), a[:]...)
	return append(f, make([]byte, 18)...)
}

// spoofing: what a guest sends as another one is dropped at its port.
func (c *cloud) spoofing() {
	guests := c.guests()
	self, peer := guests["acme/web-1"], guests["acme/web-2"]
	victim := c.listen(peer.name, "eth0")
	other := netip.MustParseAddr("10.1.1.77")
	mac := net.HardwareAddr{2, 0, 0, 0, 0x77, 0x77}
	send := func(frame []byte) { c.in(self.name, "weft", "e2e-frame", "eth0", hex.EncodeToString(frame)) }
	broadcast := net.HardwareAddr{255, 255, 255, 255, 255, 255}

	send(udp(self.mac, peer.mac, other, peer.ip, 4711, 4711, "lie-address"))
	send(udp(mac, peer.mac, self.ip, peer.ip, 4711, 4711, "lie-mac"))
	send(udp(peer.mac, broadcast, peer.ip, peer.ip, 4711, 4711, "lie-both"))
	send(udp(self.mac, broadcast, self.ip, netip.MustParseAddr("255.255.255.255"), 67, 68, "lie-dhcp-server"))
	send(append(append(append(append([]byte{}, peer.mac...), self.mac...), 0x81, 0, 0, 7), udp(self.mac, peer.mac, self.ip, peer.ip, 4711, 4711, "lie-tagged")[12:]...))
	send(arp(self.mac, self.net.Gateway))
	send(arp(mac, self.ip))
	send(udp(self.mac, peer.mac, self.ip, peer.ip, 4711, 4711, "the-truth"))

	victim.hears(c, "the-truth")
	for _, lie := range []string{"lie-address", "lie-mac", "lie-both", "lie-dhcp-server", "lie-tagged"} {
		if victim.heard(lie) {
			c.Errorf("a guest got through with %s", lie)
		}
	}
	for _, claim := range []string{self.net.Gateway.String() + " is-at " + self.mac.String(), "is-at " + mac.String()} {
		if victim.heard(claim) {
			c.Errorf("a guest got through with ARP %s", claim)
		}
	}
	// Its neighbours still know the gateway as who it is.
	c.answered(peer.name, self.net.Gateway.String())
	if out := c.in(peer.name, "ip", "neigh", "show", self.net.Gateway.String()); strings.Contains(out, self.mac.String()) {
		c.Errorf("the gateway is taken over: %s", out)
	}
}

// together makes claims at once, as many of them wait for what must not come.
func together(claims ...func()) {
	var all sync.WaitGroup
	slots := make(chan struct{}, 8)
	for _, claim := range claims {
		all.Go(func() {
			slots <- struct{}{}
			claim()
			<-slots
		})
	}
	all.Wait()
}

// connects says whether a TCP connection is made, which it must or must not be.
func (c *cloud) connects(want bool, from, source, to string, port int) {
	c.Helper()
	argv := []string{"nc", "-z", "-w", "1"}
	if source != "" {
		argv = append(argv, "-s", source)
	}
	argv = append(argv, to, fmt.Sprint(port))
	var out string
	got := func() (yes bool) {
		var err error
		out, err = c.try(from, argv...)
		return err == nil
	}
	if !want && got() || want && !c.comes(got) {
		c.Errorf("%s (%s) connects to %s:%d: %v, want %v %s", from, source, to, port, !want, want, out)
	}
}

// public: forwarded ports and ranges, the sources that a firewall names,
// hairpins, static NAT.
func (c *cloud) public() {
	for _, s := range []struct{ guest, port string }{
		{"acme/web-1", "8080"}, {"acme/web-1", "8081"}, {"acme/web-2", "8999"}, {"acme/web-2", "9000"}, {"acme/web-2", "9005"},
		{"acme/web-2", "9009"}, {"acme/web-2", "9010"}, {"beta/mail", "25"}, {"beta/mail", "26"},
	} {
		c.probe(s.guest, "e2e-echo", ":"+s.port)
	}
	const vip, mail = "203.0.113.20", "203.0.113.73"
	var claims []func()
	for _, x := range []struct {
		want         bool
		from, source string
		to           string
		port         int
	}{
		{true, "internet", "198.51.100.5", vip, 80},
		{true, "internet", "198.51.100.6", vip, 80},
		{true, "internet", "8.8.8.8", vip, 80},
		{false, "internet", "", vip, 8080},
		{false, "internet", "", vip, 81},
		{true, "internet", "198.51.100.5", vip, 9000},
		{true, "internet", "198.51.100.6", vip, 9005},
		{true, "internet", "198.51.100.5", vip, 9009},
		{false, "internet", "198.51.100.5", vip, 8999},
		{false, "internet", "198.51.100.5", vip, 9010},
		{false, "internet", "8.8.8.8", vip, 9005},
		{true, "internet", "198.51.100.5", mail, 25},
		{true, "internet", "8.8.8.8", mail, 25},
		{false, "internet", "198.51.100.5", mail, 26},
		{true, "acme/web-2", "", vip, 80},   // hairpin by forward
		{true, "acme/web-1", "", vip, 80},   // to oneself
		{true, "beta/files", "", mail, 25},  // hairpin by static NAT
		{true, "beta/mail", "", mail, 25},   // to oneself
		{true, "beta/files", "", vip, 80},   // from another network's guest
		{true, "acme/web-2", "", mail, 25},  // across routers
		{false, "acme/web-2", "", mail, 26}, // the firewall holds there too
	} {
		claims = append(claims, func() { c.connects(x.want, x.from, x.source, x.to, x.port) })
	}
	together(claims...)
	c.answered("internet", vip)
	if out, err := c.try("internet", "ping", "-c1", "-W1", mail); err == nil {
		c.Errorf("the internet pings %s, which nothing allows: %s", mail, out)
	}
	// What a guest with static NAT sends comes from its own address.
	if got := c.fetched("beta/mail", "http://198.51.100.5/"); got != mail {
		c.Errorf("the internet sees beta/mail as %q, want %s", got, mail)
	}

	// One source only.
	c.edit("tenants/acme-web.yaml", "ports: 80, sources: [0.0.0.0/0]", "ports: 80, sources: [198.51.100.5/32]")
	c.commit()
	together(
		func() { c.connects(true, "internet", "198.51.100.5", vip, 80) },
		func() { c.connects(false, "internet", "198.51.100.6", vip, 80) },
		func() { c.connects(false, "internet", "8.8.8.8", vip, 80) },
	)
}

// egress: what may leave, by the offering and the exceptions of the network.
func (c *cloud) egress() {
	const world, other, resolver = "198.51.100.5", "198.51.100.6", "9.9.9.9"
	answers := func(want bool, from, at string) {
		c.Helper()
		var out string
		got := func() bool {
			var err error
			out, err = c.try(from, "dig", "+short", "+tries=1", "+time=1", "@"+at, "example.com")
			return err == nil && strings.Contains(out, world)
		}
		if !want && got() || want && !c.comes(got) {
			c.Errorf("%s resolves at %s: %v, want %v: %s", from, at, !want, want, out)
		}
	}
	pings := func(want bool, from string) {
		c.Helper()
		got := func() bool { return c.pings(from, "", world) }
		if !want && got() || want && !c.comes(got) {
			c.Errorf("%s pings the internet: %v, want %v", from, !want, want)
		}
	}
	together(
		// Closed, with exceptions for HTTP and one resolver.
		func() { c.connects(true, "acme/app-1", "", world, 80) },
		func() { c.connects(false, "acme/app-1", "", world, 443) },
		func() { answers(true, "acme/app-2", resolver) },
		func() { c.connects(false, "acme/app-2", "", resolver, 53) }, // the exception is for UDP
		func() { pings(false, "acme/app-1") },
		// Closed without any.
		func() { c.connects(false, "acme/db-1", "", world, 80) },
		func() { answers(false, "acme/db-2", resolver) },
		func() { pings(false, "acme/db-2") },
		// Open.
		func() { c.connects(true, "acme/web-2", "", world, 443) },
		func() { c.connects(true, "acme/web-2", "", other, 80) },
		func() { answers(true, "acme/web-1", resolver) },
		func() { pings(true, "acme/web-1") },
	)

	// Open, with exceptions.
	c.edit("tenants/acme-web.yaml", "  networkDomain: web.acme.internal\n", `  networkDomain: web.acme.internal
  egress:
    - {name: no-tls, action: Deny, protocol: tcp, ports: "440-450"}
    - {name: no-ping, action: Deny, protocol: icmp, icmpType: 8}
    - {name: no-other, action: Deny, protocol: tcp, ports: 80, destinations: [198.51.100.6/32]}
`)
	c.commit()
	together(
		func() { c.connects(false, "acme/web-2", "", world, 443) },
		func() { c.connects(true, "acme/web-2", "", world, 80) },
		func() { c.connects(false, "acme/web-2", "", other, 80) },
		func() { answers(true, "acme/web-1", resolver) },
		func() { pings(false, "acme/web-1") },
	)
	c.answered("acme/web-1", "web-2")
	c.until(slow, "the router still resolves", func() string {
		out, err := c.try("acme/web-1", "dig", "+short", "+tries=1", "+time=1", "example.com")
		if err != nil || !strings.Contains(out, world) {
			return out
		}
		return ""
	})
}
