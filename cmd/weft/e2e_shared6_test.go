//go:build e2e

package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"

	"weft.dev/reconcile/model"
)

// TestSharedDualStack: Shared networks with IPv6 on Open vSwitch.
func TestSharedDualStack(t *testing.T) {
	sharedDual(t, startLab(t, fmt.Sprintf("e2es6%d", os.Getpid()), example("shared-dual-stack")))
}

// TestBridgeSharedDualStack is the same on bridges of the kernel.
func TestBridgeSharedDualStack(t *testing.T) {
	dir := onLinux(t, example("shared-dual-stack"), "{isolation: ", "{vswitch: LinuxBridge, isolation: ")
	sharedDual(t, startLab(t, fmt.Sprintf("bs6%d", os.Getpid()), dir))
}

func sharedDual(t *testing.T, c *cloud) {
	c.well()
	for node, ports := range map[string][]string{"acme/web-1": {"80", "81"}, "acme/web-2": {"80"}, "acme/db": {"5432", "80"}, "acme/robot-2": {"80"}} {
		for _, port := range ports {
			c.probe(node, "e2e-echo", ":"+port)
		}
	}
	for _, part := range []struct {
		name string
		run  func(*cloud)
	}{
		{"Addresses", (*cloud).sharedAddresses}, {"Ways", (*cloud).sharedWays}, {"Secondary", (*cloud).sharedSecondary},
		{"Lies", (*cloud).sharedLies}, {"Members", (*cloud).sharedMembers},
	} {
		t.Run(part.name, func(t *testing.T) {
			p := *c
			p.TB = t
			part.run(&p)
		})
	}
}

// sharedAddresses: what guests have is what the tree says, by DHCPv6 or made of what the
// gateway advertises; the way out is the gateway, and the router is no other.
func (c *cloud) sharedAddresses() {
	nics, networks := c.nics6()
	if len(nics) != 6 || nics["acme/web-1"].IP6 != netip.MustParseAddr("2001:db8:120::11") {
		c.Fatalf("%d guests, web-1 has %v", len(nics), nics["acme/web-1"])
	}
	for name, nic := range nics {
		want, n := nic.IP6.String(), networks[name]
		c.until(slow, name+" has "+want, func() string {
			out := c.in(name, "ip", "-6", "-o", "addr", "show", "dev", "eth0", "scope", "global")
			if strings.Count(out, "inet6") != 1+len(six6(nic)) || !strings.Contains(out, " "+want+"/") || strings.Contains(out, "tentative") {
				return out
			}
			return ""
		})
		c.until(slow, name+" knows the gateway", func() string {
			out := c.in(name, "ip", "-6", "route", "show", "default")
			if strings.Contains(out, linkLocal(n).String()) {
				c.Fatalf("%s leaves by the router, which is no gateway: %s", name, out)
			}
			if strings.Count(out, "via ") != 1 {
				return out + "is not one"
			}
			return ""
		})
		c.reaches(name, n.IP6.Gateway.String(), soon)
		c.reaches(name, "2001:4860:4860::8888", soon)
		if n.IP6.Mode != model.DHCPv6 {
			continue
		}
		if out := c.in(name, "cat", "/etc/resolv.conf"); !strings.Contains(out, "nameserver "+n.IP6.Router.String()+"\n") {
			c.Errorf("%s asks %q, want %s", name, out, n.IP6.Router)
		}
	}
	for _, h := range hosts {
		out := c.in("host/"+h, "sh", "-c", "for n in $(ip netns list | cut -d' ' -f1); do ip netns exec $n sysctl -n net.ipv6.conf.all.forwarding; done")
		if strings.Contains(out, "1") {
			c.Errorf("a router of %s passes IPv6 on: %q", h, out)
		}
	}
	// By name, and the name server by IPv6.
	router := networks["acme/db"].IP6.Router.String()
	if out := c.in("acme/db", "dig", "+short", "@"+router, "AAAA", "web-2.dc.example"); strings.TrimSpace(out) != nics["acme/web-2"].IP6.String() {
		c.Errorf("web-2 is called %q", out)
	}
	c.informed(networks["acme/robot-1"])
}

// six6 are the further IPv6 addresses of a NIC.
func six6(nic *model.NIC) []netip.Addr {
	var out []netip.Addr
	for _, a := range nic.Spec.SecondaryIPs {
		if a.Is6() {
			out = append(out, a)
		}
	}
	return out
}

// informed: who made its address is told the resolver by DHCPv6, and given no address.
func (c *cloud) informed(n *model.Network) {
	script := "#!/bin/sh\necho \"$reason $new_dhcp6_name_servers $new_ip6_address\" >> /run/told\n"
	c.in("acme/robot-1", "sh", "-c", "printf '%s' \"$1\" > /run/tell; chmod +x /run/tell", "sh", script)
	c.until(slow, "robot-1 is told the resolver", func() string {
		_, _ = c.try("acme/robot-1", "timeout", "10", "dhclient", "-6", "-S", "-1", "-q", "-sf", "/run/tell", "-lf", "/run/told.leases", "-pf", "/run/told.pid", "-cf", "/dev/null", "eth0")
		out, _ := c.try("acme/robot-1", "cat", "/run/told")
		if !strings.Contains(out, n.IP6.Router.String()) {
			return out
		}
		return ""
	})
}

// probeTry6 [ADDR]:PORT: as e2e-try, by IPv6.
func probeTry6(args []string) error {
	c, err := net.DialTimeout("tcp6", args[0], denied)
	switch {
	case err == nil:
		fmt.Println("open")
		return c.Close()
	case errors.Is(err, syscall.ECONNREFUSED):
		fmt.Println("refused")
		return nil
	}
	fmt.Println("silent")
	return nil
}

// knocks6 tries connections until all fare as they should.
func (c *cloud) knocks6(list ...knock) {
	c.Helper()
	for _, k := range list {
		c.until(soon, fmt.Sprintf("%s to %s passes: %v", k.from, k.to, k.passes), func() string {
			out := strings.TrimSpace(c.in(k.from, "weft", "e2e-try6", k.to))
			if (out == "open") == k.passes && out != "refused" {
				return ""
			}
			return out
		})
	}
}

// sharedWays: what groups let through by IPv6, on one host and between two.
func (c *cloud) sharedWays() {
	nics, _ := c.nics6()
	at := func(vm, port string) string { return net.JoinHostPort(nics[vm].IP6.String(), port) }
	c.knocks6(
		knock{"beta/desk", at("acme/web-1", "80"), true}, knock{"beta/desk", at("acme/web-1", "81"), false},
		knock{"beta/desk", at("acme/web-2", "80"), true}, knock{"internet", at("acme/web-1", "80"), true}, knock{"internet", at("acme/web-1", "81"), false},
		knock{"acme/web-1", at("acme/db", "5432"), true}, knock{"acme/web-2", at("acme/db", "5432"), true}, // members of the group by IPv6
		knock{"beta/desk", at("acme/db", "5432"), false}, knock{"internet", at("acme/db", "5432"), false}, knock{"acme/web-1", at("acme/db", "80"), false},
		knock{"acme/robot-1", at("acme/robot-2", "80"), true}, // no groups
	)
	c.reaches("beta/desk", nics["acme/web-1"].IP6.String(), soon)
	c.never("acme/web-1", "", nics["acme/db"].IP6.String(), "its group lets no ping in")
	c.never("internet", "", nics["beta/desk"].IP6.String(), "it has no group")
}

// sharedSecondary: a further address is reached and used, and is in the groups.
func (c *cloud) sharedSecondary() {
	nics, _ := c.nics6()
	const second = "2001:db8:120::80"
	c.knocks6(knock{"beta/desk", "[" + second + "]:80", true}, knock{"beta/desk", "[" + second + "]:81", false})
	c.until(soon, "the gateway answers the second address", func() string {
		if !c.pings("acme/web-1", second, "2001:db8:120::1") {
			return "it does not"
		}
		return ""
	})
	// For a time, or the lab takes it away: it is none that the guest should have.
	const lie = "2001:db8:120::81"
	c.in("acme/web-1", "ip", "-6", "addr", "add", lie+"/64", "dev", "eth0", "nodad", "valid_lft", "3600", "preferred_lft", "3600")
	c.never("acme/web-1", lie, "2001:db8:120::1", "the address is not its own")
	if out := c.in("acme/web-1", "ip", "-6", "addr", "show", "dev", "eth0"); !strings.Contains(out, lie+"/64") {
		c.Errorf("web-1 did not lie: %s", out)
	}
	c.in("acme/web-1", "ip", "-6", "addr", "del", lie+"/64", "dev", "eth0")
	// The database knows the server by it too: it is a member of the group with all it has.
	c.in("acme/web-1", "ip", "-6", "route", "replace", nics["acme/db"].IP6.String()+"/128", "dev", "eth0", "src", second)
	c.knocks6(knock{"acme/web-1", net.JoinHostPort(nics["acme/db"].IP6.String(), "5432"), true})
	c.in("acme/web-1", "ip", "-6", "route", "del", nics["acme/db"].IP6.String()+"/128", "dev", "eth0")
}

// sharedLies: a guest is no router and no server, and nobody else.
func (c *cloud) sharedLies() {
	nics, networks := c.nics6()
	for from, to := range map[string]string{"acme/web-1": "acme/web-2", "acme/robot-1": "acme/robot-2"} {
		self, peer, n := nics[from], nics[to], networks[from]
		victim := c.listen(to, "eth0")
		mac, peerMAC := net.HardwareAddr(self.MAC[:]), net.HardwareAddr(peer.MAC[:])
		m := self.MAC
		own := netip.AddrFrom16([16]byte{0xfe, 0x80, 8: m[0] ^ 2, 9: m[1], 10: m[2], 11: 0xff, 12: 0xfe, 13: m[3], 14: m[4], 15: m[5]})
		all, allMAC := netip.MustParseAddr("ff02::1"), net.HardwareAddr{0x33, 0x33, 0, 0, 0, 1}
		gateway := n.IP6.Gateway.As16()
		claim := append(append([]byte{136, 0, 0, 0, 0xe0, 0, 0, 0}, gateway[:]...), append([]byte{2, 1}, mac...)...)
		word := func(s string) string { return s + "-of-" + c.word(from) }
		lies := map[string][]byte{
			word("lie-router"):    icmp6(mac, allMAC, own, all, rogue6(), word("lie-router")),
			word("lie-server"):    udp6(mac, allMAC, own, all, 547, 546, word("lie-server")),
			word("lie-peer"):      udp6(mac, peerMAC, peer.IP6, peer.IP6, 4711, 80, word("lie-peer")),
			word("lie-address"):   udp6(mac, peerMAC, n.IP6.Router, peer.IP6, 4711, 80, word("lie-address")),
			word("lie-neighbour"): icmp6(mac, allMAC, self.IP6, all, claim, word("lie-neighbour")),
		}
		send := func(frame []byte) { c.in(from, "weft", "e2e-frame", "eth0", hex.EncodeToString(frame)) }
		for _, f := range lies {
			send(f)
		}
		echo := append([]byte{128, 0, 0, 0, 0, 1, 0, 1}, word("the-truth")...)
		truth := six(mac, peerMAC, self.IP6, peer.IP6, 58, summed6(self.IP6, peer.IP6, 58, 2, echo))
		c.until(soon, to+" hears the truth", func() string {
			send(truth)
			if !victim.heard(word("the-truth")) {
				return "not yet"
			}
			return ""
		})
		for lie := range lies {
			if victim.heard(lie) {
				c.Errorf("%s got through with %s", from, lie)
			}
		}
		if out := c.in(to, "ip", "-6", "addr"); strings.Contains(out, "2001:db8:bad:") {
			c.Errorf("%s believes a rogue router: %s", to, out)
		}
	}
}

// sharedMembers: a member that comes by IPv6 is let in, on other hosts too; one that
// goes is not.
func (c *cloud) sharedMembers() {
	nics, _ := c.nics6()
	db := net.JoinHostPort(nics["acme/db"].IP6.String(), "5432")
	c.edit("cloud.yaml", `ip: 192.0.2.12, securityGroups: [web]`, `ip: 192.0.2.12, securityGroups: [db]`)
	c.commit()
	c.knocks6(knock{"acme/web-2", db, false}, knock{"acme/web-1", db, true})
	c.edit("cloud.yaml", `ip: 192.0.2.12, securityGroups: [db]`, `ip: 192.0.2.12, securityGroups: [web]`)
	c.commit()
	c.knocks6(knock{"acme/web-2", db, true})
}
