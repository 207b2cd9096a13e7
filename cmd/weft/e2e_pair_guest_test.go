//go:build e2e

package main

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"weft.dev/reconcile/status"
)

// A member is what one router of the pair is in its guest network.
type member struct {
	ip  netip.Addr
	mac net.HardwareAddr
}

// member reads it of the router on a host.
func (c *pairLab) member(host string) member {
	c.Helper()
	out, err := c.inside(host, "sh", "-c", "cat /sys/class/net/eth0/address; ip -o -4 addr show dev eth0")
	if err != nil {
		c.Fatal(out)
	}
	lines := strings.Fields(out)
	m := member{}
	if m.mac, err = net.ParseMAC(lines[0]); err != nil {
		c.Fatal(err)
	}
	for _, w := range lines {
		if p, err := netip.ParsePrefix(w); err == nil && w != pairLead {
			m.ip = p.Addr()
		}
	}
	if !m.ip.IsValid() {
		c.Fatalf("%s has no address of its own: %s", host, out)
	}
	return m
}

// vrrp is what a primary says: it lives, with a priority.
func vrrp(from, to net.HardwareAddr, source, target netip.Addr, priority byte) []byte {
	lead := netip.MustParsePrefix(pairLead).Addr().As4()
	body := append([]byte{0x31, pairVRID, priority, 1, 0, 20, 0, 0}, lead[:]...)
	a, b := source.As4(), target.As4()
	pseudo := append(append(append([]byte{}, a[:]...), b[:]...), 0, 112, 0, byte(len(body)))
	binary.BigEndian.PutUint16(body[6:], checksum(append(pseudo, body...)))
	ip := append(append([]byte{0x45, 0xc0, 0, byte(20 + len(body)), 0, 0, 0, 0, 255, 112, 0, 0}, a[:]...), b[:]...)
	binary.BigEndian.PutUint16(ip[10:], checksum(ip))
	return append(append(append(append(append([]byte{}, to...), from...), 8, 0), ip...), body...)
}

// impostor: a machine without antiSpoof is none of the routers, whatever it says, and
// may say anything else.
func (c *pairLab) impostor() {
	stream := c.streaming("acme/web-1", "internet", "203.0.113.1")
	six := c.streaming("acme/web-2", "internet", "[2001:db8:feed::1]")
	for round := 1; ; round++ {
		was, is := c.lies()
		if was == is {
			break
		}
		// On a machine that stands still for the better part of a second it may be.
		if c.Logf("the routers were %v, and are %v", was, is); round == 3 {
			c.Fatal("the routers changed while a guest lied, three times in a row")
		}
	}
	c.serves()
	stream.unbroken()
	six.unbroken()
}

// lies are told by a guest, beside what it may say; it returns what the routers were
// before, and are.
func (c *pairLab) lies() (was, is [2]status.Role) {
	c.Helper()
	primary, backup := c.primary("kvm1", "kvm2")
	lead, twin := c.member(primary), c.member(backup)
	guests := c.guests()
	self, peer := guests["acme/appliance"], guests["acme/web-1"]
	was = [2]status.Role{c.role(primary), c.role(backup)}
	router, victim := c.listen("router/acme/web", "eth0"), c.listen("acme/web-1", "eth0")
	send := func(frame []byte) { c.in("acme/appliance", "weft", "e2e-frame", "eth0", hex.EncodeToString(frame)) }
	all := net.HardwareAddr{255, 255, 255, 255, 255, 255}
	group, groupMAC := netip.MustParseAddr("224.0.0.18"), net.HardwareAddr{1, 0, 0x5e, 0, 0, 0x12}
	gateway, broadcast := netip.MustParsePrefix(pairLead).Addr(), netip.MustParseAddr("255.255.255.255")
	for range 3 { // each would be enough
		for _, mac := range []net.HardwareAddr{self.mac, twin.mac} {
			send(vrrp(mac, lead.mac, twin.ip, lead.ip, 255)) // the primary would give way
			send(vrrp(mac, groupMAC, twin.ip, group, 255))
		}
		for _, mac := range []net.HardwareAddr{self.mac, lead.mac} {
			send(vrrp(mac, twin.mac, lead.ip, twin.ip, 0)) // the backup would take over
			send(vrrp(mac, groupMAC, lead.ip, group, 0))
		}
		send(vrrp(self.mac, lead.mac, self.ip, lead.ip, 255))
		send(vrrp(self.mac, twin.mac, self.ip, twin.ip, 255))
		send(udp(self.mac, lead.mac, twin.ip, lead.ip, 3780, 3780, "lie-connections"))
		send(udp(twin.mac, lead.mac, twin.ip, lead.ip, 3780, 3780, "lie-connections"))
	}
	for _, a := range []netip.Addr{gateway, lead.ip, twin.ip} {
		send(arp(self.mac, a))
		as802 := arp(self.mac, a)
		as802[15] = 6 // hardware that a switch does not read, and a machine does
		send(as802)
		send(udp(self.mac, all, a, broadcast, 4711, 4711, "lie-address"))
	}
	for _, mac := range []net.HardwareAddr{lead.mac, twin.mac} {
		send(udp(mac, all, self.ip, broadcast, 4711, 4711, "lie-mac"))
		send(arp(mac, netip.MustParseAddr("10.1.1.78")))
	}
	c.lies6AsRouter(self, send)

	// What it may: any other address and MAC, and VRRP with machines like itself.
	other := net.HardwareAddr{2, 0, 0, 0, 0x77, 0x77}
	send(udp(other, peer.mac, netip.MustParseAddr("10.1.1.77"), peer.ip, 4711, 4711, "true-address"))
	send(vrrp(self.mac, groupMAC, self.ip, group, 100))
	send(udp(self.mac, all, self.ip, broadcast, 4711, 4711, "the-truth"))
	victim.hears(c.cloud, "true-address")
	victim.hears(c.cloud, self.ip.String()+" > 224.0.0.18: VRRP")
	victim.hears(c.cloud, "the-truth")
	router.hears(c.cloud, "the-truth")
	if is = [2]status.Role{c.role(primary), c.role(backup)}; is != was {
		return was, is // the other one says rightly what was a lie
	}
	for _, lie := range []string{
		"lie-", fmt.Sprintf("%s > %s: VRRP", twin.ip, lead.ip), fmt.Sprintf("%s > 224.0.0.18: VRRP", twin.ip), fmt.Sprintf("%s > 224.0.0.18: VRRP", lead.ip),
		fmt.Sprintf("%s > %s: VRRP", self.ip, lead.ip),
	} {
		if router.heard(lie) || victim.heard(lie) {
			c.Errorf("a guest got through with %s", lie)
		}
	}
	if out := c.in("acme/web-1", "ip", "neigh"); strings.Contains(out, self.mac.String()) && strings.Contains(out, gateway.String()+" dev eth0 lladdr "+self.mac.String()) {
		c.Errorf("a guest believes another gateway: %s", out)
	}
	return was, is
}

// lies6AsRouter says of IPv6 what only the routers may.
func (c *pairLab) lies6AsRouter(self guest, send func([]byte)) {
	c.Helper()
	at := netip.MustParseAddr(strings.Fields(c.in("acme/web-1", "sh", "-c", "ip -6 route show default | head -1"))[2]) // default via ADDRESS
	own := netip.MustParseAddr("fe80::7777")
	all, allMAC := netip.MustParseAddr("ff02::1"), net.HardwareAddr{0x33, 0x33, 0, 0, 0, 1}
	for _, a := range []netip.Addr{self.net.Segments[0].IP6.Gateway, at} {
		target := a.As16()
		me := append([]byte{2, 1}, self.mac...)
		claim := slices.Concat([]byte{136, 0, 0, 0, 0xa0, 0, 0, 0}, target[:], me)
		probe := append([]byte{135, 0, 0, 0, 0, 0, 0, 0}, target[:]...)
		send(icmp6(self.mac, allMAC, own, all, claim, "lie-neighbour"))
		send(icmp6(self.mac, allMAC, own, all, append(claim, me...), "lie-twice")) // which a switch does not read
		send(icmp6(self.mac, allMAC, netip.IPv6Unspecified(), all, probe, "lie-probe"))
		send(udp6(self.mac, allMAC, a, all, 4711, 4711, "lie-address"))
	}
	send(icmp6(self.mac, allMAC, at, all, rogue6(), "lie-router"))
}
