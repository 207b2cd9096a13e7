//go:build e2e

package main

import (
	"encoding/binary"
	"encoding/hex"
	"net"
	"net/netip"
	"strings"
	"testing"

	"weft.dev/reconcile/model"
)

// TestDualStack: guests have the IPv6 addresses that the tree says, by what routers
// advertise or by DHCPv6; they reach and are reached as its rules say; nobody lies.
func TestDualStack(t *testing.T) {
	c := startLab(t, "e2e-dual", "../../examples/dual-stack")
	c.well()
	for node, list := range map[string][]string{"acme/web-1": {"80", "81"}, "acme/web-2": {"80"}, "acme/db-1": {"80"}} {
		for _, port := range list {
			c.probe(node, "e2e-echo", ":"+port)
		}
	}
	for _, part := range []struct {
		name string
		run  func(*cloud)
	}{
		{"Addresses", (*cloud).addresses6}, {"Well", (*cloud).well6}, {"Ways", (*cloud).ways6}, {"Behind", (*cloud).behind6}, {"Lies", (*cloud).lies6}, {"World", (*cloud).world6},
		{"Change", (*cloud).change6}, {"Repair", (*cloud).repair6}, {"Off", (*cloud).off6},
	} {
		t.Run(part.name, func(t *testing.T) {
			p := *c
			p.TB = t
			part.run(&p)
		})
	}
}

// nics6 are the running NICs of the tree's dual stack networks, by VM.
func (c *cloud) nics6() (map[string]*model.NIC, map[string]*model.Network) {
	c.Helper()
	t, err := newCompiler().workTree(c.tree)
	if err != nil {
		c.Fatal(err)
	}
	nics, networks := map[string]*model.NIC{}, map[string]*model.Network{}
	for _, n := range t.Networks() {
		for _, nic := range running(n) {
			nics[vm(nic)], networks[vm(nic)] = nic, n
		}
	}
	return nics, networks
}

// addresses6: what guests have is what the tree says, with the way out, the resolver
// and the MTU that the router advertises.
func (c *cloud) addresses6() {
	nics, networks := c.nics6()
	if len(nics) != 4 || nics["acme/db-1"].IP6 != netip.MustParseAddr("2001:db8:100:9::db") {
		c.Fatalf("%d guests, db-1 has %v", len(nics), nics["acme/db-1"])
	}
	for name, nic := range nics {
		n := networks[name]
		out := c.in(name, "ip", "-6", "-o", "addr", "show", "dev", "eth0", "scope", "global")
		if strings.Count(out, "inet6") != 1+len(six6(nic)) || !strings.Contains(out, " "+nic.IP6.String()+"/") {
			c.Errorf("%s has %q, want %s", name, out, nic.IP6)
		}
		want := "default via " + linkLocal(n).String() + " "
		if out := c.in(name, "ip", "-6", "route", "show", "default"); !strings.HasPrefix(out, want) {
			c.Errorf("%s leaves by %q, want %s", name, out, want)
		}
		if out := c.in(name, "cat", "/proc/sys/net/ipv6/conf/eth0/mtu"); strings.TrimSpace(out) != "1450" {
			c.Errorf("%s was told an MTU of %s", name, out)
		}
		if out := c.in(name, "cat", "/etc/resolv.conf"); !strings.Contains(out, "nameserver "+n.IP6.Gateway.String()+"\n") {
			c.Errorf("%s asks %q, want %s", name, out, n.IP6.Gateway)
		}
		c.answered(name, n.IP6.Gateway.String())
	}
	if out := c.in("acme/web-1", "dig", "+short", "-6", "AAAA", "web-2.zone1.internal"); strings.TrimSpace(out) != nics["acme/web-2"].IP6.String() {
		c.Errorf("web-2 is called %q", out)
	}
	c.answered("acme/db-1", "-6", "db-2")
	n := networks["acme/web-1"]
	if out := c.in("host/"+n.Router.Host.Name, "weft", "status"); !strings.Contains(strings.Join(strings.Fields(out), " "), "a route to "+upstream(n, n.Router)) {
		c.Errorf("nobody says what has to be upstream: %s", out)
	}
}

// linkLocal is the address of the router of a NIC's network, as guests see it.
func linkLocal(n *model.Network) netip.Addr {
	return n.Router.Sides[0].MAC.LinkLocal()
}

// ways6: what ingress and egress let through, and what not.
func (c *cloud) ways6() {
	nics, _ := c.nics6()
	web1, web2, db1 := nics["acme/web-1"].IP6.String(), nics["acme/web-2"].IP6.String(), nics["acme/db-1"].IP6.String()
	const world = "2001:4860:4860::8888"
	var claims []func()
	for _, x := range []struct {
		want     bool
		from, to string
		port     int
	}{
		{true, "internet", web1, 80},
		{false, "internet", web1, 81},
		{false, "internet", web2, 80},
		{false, "internet", db1, 80},
		{true, "acme/web-1", world, 80},
		{false, "acme/web-1", world, 53},
		{false, "acme/db-1", world, 80},
		{true, "acme/web-2", web1, 81}, // not through the router
		{false, "acme/db-1", web1, 80}, // may not leave
		{false, "acme/web-1", db1, 80}, // may not come in
	} {
		claims = append(claims, func() { c.connects(x.want, x.from, "", x.to, x.port) })
	}
	pings := func(want bool, from, to string) func() {
		return func() {
			got := func() bool { return c.pings(from, "", to) }
			if !want && got() || want && !c.comes(got) {
				c.Errorf("%s pings %s: %v, want %v", from, to, !want, want)
			}
		}
	}
	claims = append(claims, pings(true, "internet", web1), pings(true, "internet", web2), pings(false, "internet", db1),
		pings(true, "acme/web-1", world), pings(false, "acme/db-1", world))
	together(claims...)
	if got := c.fetched("acme/web-1", "-g", "http://["+world+"]/"); got != web1 {
		c.Errorf("the internet sees web-1 as %q, want %s", got, web1)
	}
}

// behind6: a route leads guests by way of the router to a network behind one of them,
// from where one gets out as its guests do, and where nobody gets in.
func (c *cloud) behind6() {
	nics, networks := c.nics6()
	const behind, prefix, second, world = "2001:db8:100:f000::1", "2001:db8:100:f000::/64", "2001:db8:100:5::53", "2001:4860:4860::8888"
	router := networks["acme/web-1"].Router
	c.in("acme/web-2", "ip", "-6", "addr", "add", behind+"/128", "dev", "lo")
	c.in("internet", "ip", "-6", "route", "add", prefix, "via", router.IP6().String())
	answered := func(from, source, to string) {
		c.until(soon, from+" pings "+to+" from "+source, func() string {
			if !c.pings(from, source, to) {
				return "no answer"
			}
			return ""
		})
	}
	answered("acme/web-1", "", second)
	answered("acme/web-2", second, networks["acme/web-1"].IP6.Gateway.String())
	answered("acme/web-1", "", behind)
	answered("acme/web-2", behind, world)
	c.never("internet", "", behind, "what is behind a route is not opened by ingress")
	c.never("acme/db-1", "", behind, "its network has no such route, and it may not leave")
	if out := c.in("host/"+router.Host.Name, "ip", "-n", router.NS, "-6", "route", "show", prefix); !strings.Contains(out, "via "+second) {
		c.Errorf("the router leads elsewhere: %s", out)
	}
	answered("internet", "", nics["acme/web-2"].IP6.String())
	c.in("internet", "ip", "-6", "route", "del", prefix)
	c.in("acme/web-2", "ip", "-6", "addr", "del", behind+"/128", "dev", "lo")
}

// six is a frame of IPv6 with a payload behind extension headers, if any.
func six(from, to net.HardwareAddr, source, target netip.Addr, next byte, payload []byte) []byte {
	f := append(append(append([]byte{}, to...), from...), 0x86, 0xdd, 0x60, 0, 0, 0)
	f = binary.BigEndian.AppendUint16(f, uint16(len(payload)))
	a, b := source.As16(), target.As16()
	return append(append(append(append(f, next, 255), a[:]...), b[:]...), payload...)
}

// summed6 sets the checksum of an ICMPv6 message or a UDP datagram, which is at.
func summed6(source, target netip.Addr, proto byte, at int, body []byte) []byte {
	a, b := source.As16(), target.As16()
	pseudo := append(append([]byte{}, a[:]...), b[:]...)
	pseudo = binary.BigEndian.AppendUint32(pseudo, uint32(len(body)))
	pseudo = append(append(pseudo, 0, 0, 0, proto), body...)
	if len(pseudo)%2 == 1 {
		pseudo = append(pseudo, 0)
	}
	binary.BigEndian.PutUint16(body[at:], checksum(pseudo))
	return body
}

func udp6(from, to net.HardwareAddr, source, target netip.Addr, sport, dport uint16, text string) []byte {
	var b []byte
	b = binary.BigEndian.AppendUint16(b, sport)
	b = binary.BigEndian.AppendUint16(b, dport)
	b = binary.BigEndian.AppendUint16(b, uint16(8+len(text)))
	b = append(append(b, 0, 0), text...)
	return six(from, to, source, target, 17, summed6(source, target, 17, 6, b))
}

// icmp6 is a message; its text is an option that nobody knows.
func icmp6(from, to net.HardwareAddr, source, target netip.Addr, message []byte, text string) []byte {
	option := append([]byte{253, 0}, text...)
	for len(option)%8 != 0 {
		option = append(option, '.')
	}
	option[1] = byte(len(option) / 8)
	message = append(append([]byte{}, message...), option...)
	return six(from, to, source, target, 58, summed6(source, target, 58, 2, message))
}

// rogue6 is an advertisement of a router with a prefix.
func rogue6() []byte {
	b := []byte{134, 0, 0, 0, 64, 0, 0x07, 0x08, 0, 0, 0, 0, 0, 0, 0, 0}
	b = append(b, 3, 4, 64, 0xc0, 0, 1, 0x51, 0x80, 0, 1, 0x51, 0x80, 0, 0, 0, 0)
	p := netip.MustParseAddr("2001:db8:bad::").As16()
	return append(b, p[:]...)
}

// lies6: what a guest sends as another one, as a router or as a server is dropped
// at its port.
func (c *cloud) lies6() {
	nics, networks := c.nics6()
	self, peer, n := nics["acme/web-1"], nics["acme/web-2"], networks["acme/web-1"]
	victim := c.listen("acme/web-2", "eth0")
	mac, peerMAC := net.HardwareAddr(self.MAC[:]), net.HardwareAddr(peer.MAC[:])
	other := net.HardwareAddr{2, 0, 0, 0, 0x77, 0x77}
	own := netip.MustParseAddr("fe80::4cff:fe00:b")
	all, allMAC := netip.MustParseAddr("ff02::1"), net.HardwareAddr{0x33, 0x33, 0, 0, 0, 1}
	gateway := n.IP6.Gateway.As16()
	claim := append(append([]byte{136, 0, 0, 0, 0xe0, 0, 0, 0}, gateway[:]...), append([]byte{2, 1}, mac...)...)
	target := peer.IP6.As16()
	redirect := append(append([]byte{137, 0, 0, 0, 0, 0, 0, 0}, target[:]...), gateway[:]...)
	hidden := summed6(own, all, 58, 2, append(rogue6(), append([]byte{253, 3}, "lie-hidden-router-...."...)...))
	lies := map[string][]byte{
		"lie-address":   udp6(mac, peerMAC, netip.MustParseAddr("2001:db8:100:5::77"), peer.IP6, 4711, 4711, "lie-address"),
		"lie-peer":      udp6(mac, allMAC, peer.IP6, all, 4711, 4711, "lie-peer"),
		"lie-mac":       udp6(other, peerMAC, self.IP6, peer.IP6, 4711, 4711, "lie-mac"),
		"lie-linklocal": udp6(mac, peerMAC, netip.MustParseAddr("fe80::77"), peer.IP6, 4711, 4711, "lie-linklocal"),
		"lie-nobody":    udp6(mac, peerMAC, netip.IPv6Unspecified(), peer.IP6, 4711, 4711, "lie-nobody"),
		"lie-server":    udp6(mac, allMAC, own, all, 547, 546, "lie-server"),
		"lie-router":    icmp6(mac, allMAC, own, all, rogue6(), "lie-router"),
		"lie-neighbour": icmp6(mac, allMAC, self.IP6, all, claim, "lie-neighbour"),
		"lie-redirect":  icmp6(mac, peerMAC, own, peer.IP6, redirect, "lie-redirect"),
		"lie-hidden":    six(mac, allMAC, own, all, 60, append([]byte{58, 0, 1, 4, 0, 0, 0, 0}, hidden...)),
	}
	send := func(frame []byte) { c.in("acme/web-1", "weft", "e2e-frame", "eth0", hex.EncodeToString(frame)) }
	for _, f := range lies {
		send(f)
	}
	send(udp6(mac, allMAC, own, all, 4711, 4711, "true-linklocal"))
	send(udp6(mac, peerMAC, self.IP6, peer.IP6, 4711, 4711, "the-truth"))
	victim.hears(c, "true-linklocal")
	victim.hears(c, "the-truth")
	for lie := range lies {
		if victim.heard(lie) {
			c.Errorf("a guest got through with %s", lie)
		}
	}
	if out := c.in("acme/web-2", "ip", "-6", "addr"); strings.Contains(out, "2001:db8:bad:") {
		c.Errorf("a guest believes a rogue router: %s", out)
	}
	if out := c.in("acme/web-2", "ip", "-6", "neigh"); strings.Contains(out, n.IP6.Gateway.String()+" dev eth0 lladdr "+self.MAC.String()) {
		c.Errorf("the gateway is taken over: %s", out)
	}
}

// world6: from outside nobody pretends to be inside, and what a router there
// advertises is not for weft's.
func (c *cloud) world6() {
	nics, networks := c.nics6()
	self, n := nics["acme/web-1"], networks["acme/web-1"]
	to := net.HardwareAddr(n.Router.Legs[0].MAC[:])
	from := net.HardwareAddr{2, 0, 0, 0, 0x55, 0x55}
	victim := c.listen("acme/web-1", "eth0")
	echo := func(source netip.Addr, text string) []byte {
		body := append([]byte{128, 0, 0, 0, 0, 1, 0, 1}, text...)
		return six(from, to, source, self.IP6, 58, summed6(source, self.IP6, 58, 2, body))
	}
	send := func(frame []byte) { c.in("internet", "weft", "e2e-frame", "range0", hex.EncodeToString(frame)) }
	send(echo(nics["acme/web-2"].IP6, "lie-inside"))
	send(echo(n.IP6.Gateway, "lie-gateway"))
	send(six(from, net.HardwareAddr{0x33, 0x33, 0, 0, 0, 1}, netip.MustParseAddr("fe80::5555"), netip.MustParseAddr("ff02::1"), 58,
		summed6(netip.MustParseAddr("fe80::5555"), netip.MustParseAddr("ff02::1"), 58, 2, rogue6())))
	send(echo(netip.MustParseAddr("2001:db8:feed::99"), "the-truth"))
	victim.hears(c, "the-truth")
	for _, lie := range []string{"lie-inside", "lie-gateway"} {
		if victim.heard(lie) {
			c.Errorf("the internet got through with %s", lie)
		}
	}
	for _, h := range hosts {
		if h != n.Router.Host.Name {
			continue
		}
		if out := c.in("host/"+h, "ip", "-n", n.Router.NS, "-6", "addr"); strings.Contains(out, "2001:db8:bad:") {
			c.Errorf("a router of weft believes another: %s", out)
		}
	}
}

// change6: a rule that comes opens, one that goes closes, and what lasts stays.
func (c *cloud) change6() {
	nics, _ := c.nics6()
	web1, web2 := nics["acme/web-1"].IP6.String(), nics["acme/web-2"].IP6.String()
	still := c.pinging("internet", web1)
	const http = `    - {name: http, protocol: tcp, ports: 80, destinations: ["2001:db8:100:5:0:4cff:fe00:b/128"]}`
	c.edit("cloud.yaml", http, strings.Replace(http, "0:4cff:fe00:b/128", nics["acme/web-2"].IP6.StringExpanded()[20:]+"/128", 1))
	c.commit()
	c.connects(false, "internet", "", web1, 80)
	c.connects(true, "internet", "", web2, 80)
	still.unbroken()
}

// repair6: what somebody changes in a router comes back.
func (c *cloud) repair6() {
	_, networks := c.nics6()
	n := networks["acme/web-1"]
	host, ns := "host/"+n.Router.Host.Name, n.Router.NS
	// At once, because what breaks again and again is repaired ever later.
	c.in(host, "ip", "netns", "exec", ns, "sh", "-c", "ip6tables -w -P FORWARD ACCEPT && ip6tables -w -F INGRESS &&"+
		"ip -6 addr flush dev eth1 && ip -6 route del default &&"+
		"sysctl -qw net.ipv6.conf.eth0.disable_ipv6=1 net.ipv6.conf.all.forwarding=0")
	c.until(slow, "IPv6 is repaired", func() string {
		if out, err := c.try("acme/web-1", "ping", "-c1", "-W1", "2001:4860:4860::8888"); err != nil {
			return out
		}
		out := c.in(host, "ip", "netns", "exec", ns, "ip6tables", "-w", "-S")
		if !strings.Contains(out, "-P FORWARD DROP") || !strings.Contains(out, "-A INGRESS") {
			return out
		}
		return ""
	})
	c.well()
}

// off6: without IPv6 in the offering routers speak none.
func (c *cloud) off6() {
	_, networks := c.nics6()
	n := networks["acme/db-1"]
	c.write("plain.yaml", "apiVersion: weft.dev/v1alpha1\nkind: NetworkOffering\nmetadata: {name: plain}\nspec:\n  guestType: Isolated\n"+
		"  services: {Dhcp: VirtualRouter, Dns: VirtualRouter, SourceNat: VirtualRouter, Firewall: VirtualRouter}\n")
	c.edit("cloud.yaml", "  offering: dual\n  cidr: 10.1.2.0/24\n  ip6: {cidr: \"2001:db8:100:9::/64\", mode: DHCPv6}\n", "  offering: plain\n  cidr: 10.1.2.0/24\n")
	c.edit("cloud.yaml", `, ip6: "2001:db8:100:9::db"`, "")
	if out, code := c.run("lock", c.tree); code != exitOK {
		c.Fatalf("lock: %s", out)
	}
	c.commit()
	c.well()
	host := "host/" + n.Router.Host.Name
	if out := c.in(host, "ip", "-n", n.Router.NS, "-6", "addr"); strings.Contains(out, "inet6") {
		c.Errorf("the router still speaks IPv6: %s", out)
	}
	c.reaches("acme/db-1", "10.1.2.1", soon)
	if out := c.in("internet", "ip", "-6", "route"); strings.Contains(out, "2001:db8:100:9::") {
		c.Errorf("the world still knows the way: %s", out)
	}
	// And on again, while the router runs.
	c.copyTree("../../examples/dual-stack")
	c.commit()
	c.well()
	c.answered("acme/db-1", "-6", "2001:db8:100:9::1")
	if out, err := c.try("internet", "ping", "-c1", "-W1", "2001:db8:100:9::db"); err == nil {
		c.Errorf("db-1 is open: %s", out)
	}
}
