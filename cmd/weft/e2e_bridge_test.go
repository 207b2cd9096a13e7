//go:build e2e

package main

import (
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"

	"weft.dev/reconcile/engine"
)

// TestLinuxBridge brings up hosts without Open vSwitch: VLAN and VXLAN on bridges of
// the kernel's.
func TestLinuxBridge(t *testing.T) {
	c := startLab(t, fmt.Sprintf("br%d", os.Getpid()), "../../examples/linux-bridge")
	for _, part := range []struct {
		name string
		run  func(*cloud)
	}{
		{"Promises", (*cloud).bridgePromises},
		{"Isolation", (*cloud).bridgeIsolation},
		{"Spoofing", (*cloud).bridgeSpoofing},
		{"Drift", (*cloud).bridgeDrift},
		{"Rate", (*cloud).bridgeRate},
		{"Move", (*cloud).bridgeMove},
		{"Down", (*cloud).bridgeDown},
		{"Multicast", (*cloud).bridgeMulticast},
		{"Trash", (*cloud).bridgeTrash},
	} {
		t.Run(part.name, func(t *testing.T) {
			p := *c
			p.TB = t
			p.well()
			part.run(&p)
		})
	}
}

// bridgePromises are the checks of the demo, across hosts: DHCP and names came by
// them, and source NAT on the public VLAN. A full frame passes.
func (c *cloud) bridgePromises() {
	t, err := newCompiler().workTree(c.tree)
	if err != nil {
		c.Fatal(err)
	}
	list := checks(c.lab, t)
	if len(list) < 6 {
		c.Errorf("only %d checks", len(list))
	}
	for i, err := range runChecks(c.ctx, list) {
		if err != nil {
			c.Errorf("%s: %v", list[i].claim, err)
		}
	}
	for from, to := range map[string]string{"acme/web-1": "web-2", "acme/app-1": "app-2"} {
		c.answered(from, "-M", "do", "-s", "1472", to)
	}
	for _, h := range hosts {
		if out := c.in("host/"+h, "ovs-vsctl", "list-br"); out != "" {
			c.Errorf("%s has bridges of Open vSwitch: %s", h, out)
		}
	}
}

// bridgeIsolation: a broadcast is heard on both hosts of its network, and nowhere
// else.
func (c *cloud) bridgeIsolation() {
	guests := c.guests()
	ears := map[string]*ear{}
	for name := range guests {
		ears[name] = c.listen(name, "eth0")
	}
	for _, name := range []string{"acme/web-1", "acme/app-2"} {
		c.shout(guests[name], "shout-"+c.word(name))
	}
	for name, near := range map[string]string{"acme/web-1": "acme/web-2", "acme/app-2": "acme/app-1"} {
		ears[near].hears(c, "shout-"+c.word(name))
	}
	for name, far := range map[string]string{"acme/web-1": "acme/app-1", "acme/app-2": "acme/web-2"} {
		if ears[far].heard("shout-" + c.word(name)) {
			c.Errorf("%s heard %s", far, name)
		}
	}
}

// bridgeSpoofing: what is not the guest's own does not leave its port.
func (c *cloud) bridgeSpoofing() {
	guests := c.guests()
	for _, pair := range [][2]string{{"acme/web-1", "acme/web-2"}, {"acme/app-1", "acme/app-2"}} {
		self, peer := guests[pair[0]], guests[pair[1]]
		victim := c.listen(peer.name, "eth0")
		other := self.net.CIDR.Addr().Next().Next().Next()
		mac := net.HardwareAddr{2, 0, 0, 0, 0x77, 0x77}
		send := func(frame []byte) { c.in(self.name, "weft", "e2e-frame", "eth0", hex.EncodeToString(frame)) }
		broadcast := net.HardwareAddr{255, 255, 255, 255, 255, 255}
		truth := udp(self.mac, peer.mac, self.ip, peer.ip, 4711, 4711, "lie-tagged")

		send(udp(self.mac, peer.mac, other, peer.ip, 4711, 4711, "lie-address"))
		send(udp(mac, peer.mac, self.ip, peer.ip, 4711, 4711, "lie-mac"))
		send(udp(peer.mac, broadcast, peer.ip, peer.ip, 4711, 4711, "lie-both"))
		send(udp(self.mac, broadcast, self.ip, netip.MustParseAddr("255.255.255.255"), 67, 68, "lie-dhcp-server"))
		send(append(append(append(append([]byte{}, peer.mac...), self.mac...), 0x81, 0, 0, 7), truth[12:]...))
		send(arp(self.mac, self.net.Gateway))
		send(arp(mac, self.ip))
		send(udp(self.mac, peer.mac, self.ip, peer.ip, 4711, 4711, "the-truth"))

		victim.hears(c, "the-truth")
		for _, lie := range []string{"lie-address", "lie-mac", "lie-both", "lie-dhcp-server", "lie-tagged"} {
			if victim.heard(lie) {
				c.Errorf("%s got through with %s", self.name, lie)
			}
		}
		for _, claim := range []string{self.net.Gateway.String() + " is-at " + self.mac.String(), "is-at " + mac.String()} {
			if victim.heard(claim) {
				c.Errorf("%s got through with ARP %s", self.name, claim)
			}
		}
	}
}

// bridgeDrift: what another hand changes is made right again, and packets pass. What
// flaps is repaired more and more slowly, in 30 s at last.
func (c *cloud) bridgeDrift() {
	guests := c.guests()
	_, web := c.port("acme/web-1")
	for _, harm := range []string{
		"ip link set " + web + " nomaster",
		"bridge fdb del 00:00:00:00:00:00 dev vxlan5001 dst 192.168.50.12",
		"nft delete table bridge weft",
		"nft insert rule bridge weft from-acme/web-1/web accept",
		"nft flush chain bridge weft prerouting",
		"ip link del breth1-100", "ip link del brvx-5001", "ip link del vxlan5001", "ip link del eth1.100", "ip link del cloudbr1",
	} {
		before := len(c.history("kvm1"))
		c.in("host/kvm1", "sh", "-c", harm)
		c.until(slow, "repair after "+harm, func() string {
			h := c.history("kvm1")
			if len(h) == before {
				return "nothing was done"
			}
			if h[0].Outcome == engine.Running { // more harm now would be repaired along with it
				return "it is being done"
			}
			return c.unwell("kvm1", c.head())
		})
		for from, to := range map[string]string{"acme/web-1": guests["acme/web-2"].ip.String(), "acme/app-1": guests["acme/app-2"].ip.String()} {
			c.reaches(from, to, soon)
		}
	}
}

// bridgeRate: a limit holds in both directions, of TCP and UDP.
func (c *cloud) bridgeRate() {
	ip := c.guests()["acme/app-1"].ip.String()
	for _, udp := range []bool{false, true} {
		for _, reverse := range []bool{false, true} {
			c.limited(fmt.Sprintf("udp %t, reverse %t", udp, reverse), 50, func() float64 {
				return c.flood("acme/app-2", "acme/app-1", ip, udp, reverse)
			})
		}
	}
}

// bridgeMove: a guest that runs moves to another of its hosts without a commit, under
// pings in both directions and a TCP connection. It is found there, and leaves nothing.
func (c *cloud) bridgeMove() {
	c.edit("cloud.yaml", "{host: kvm2, nics: [{network: web,", "{host: kvm2, hosts: [kvm1, kvm2], nics: [{network: web,")
	c.commit()
	guests := c.guests()
	for _, to := range []string{"kvm1", "kvm2"} {
		for fabric, pair := range map[string][2]string{"VXLAN": {"acme/app-2", "acme/app-1"}, "VLAN": {"acme/web-2", "acme/web-1"}} {
			self, peer := guests[pair[0]], guests[pair[1]]
			m := &migration{fabric: fabric, self: self, peer: peer, to: to}
			m.in = c.pinging(peer.name, self.ip.String())
			m.out = c.pinging(self.name, self.net.Gateway.String())
			m.tcp = c.streaming(peer.name, self.name, self.ip.String())
			m.move(c)
			m.end(c)
		}
	}
	c.well()
	if out := c.in("host/kvm1", "nft", "list", "map", "bridge", "weft", "from"); strings.Contains(out, "app-2") || strings.Contains(out, "web-2") {
		c.Errorf("a port is left on kvm1: %s", out)
	}
}

// bridgeDown: a NIC that is down carries nothing.
func (c *cloud) bridgeDown() {
	guests := c.guests()
	peer := guests["acme/web-2"].ip.String()
	c.edit("cloud.yaml", "{host: kvm1, nics: [{network: web}]}", "{host: kvm1, nics: [{network: web, link: Down}]}")
	c.commit()
	if out, err := c.try("acme/web-1", "ping", "-c2", "-W1", peer); err == nil {
		c.Errorf("a NIC that is down reaches its neighbour: %s", out)
	}
	c.edit("cloud.yaml", "link: Down", "link: Up")
	c.commit()
	c.reaches("acme/web-1", peer, soon)
}

// bridgeMulticast: hosts find each other by a group too.
func (c *cloud) bridgeMulticast() {
	c.edit("cloud.yaml", "  isolation: VXLAN\n", "  isolation: VXLAN\n  vxlan: {mode: Multicast}\n")
	c.commit()
	if out := c.in("host/kvm1", "ip", "-d", "link", "show", "vxlan5001"); !strings.Contains(out, "group 239.0.19.137") {
		c.Errorf("the tunnel has another group: %s", out)
	}
	c.reaches("acme/app-1", c.guests()["acme/app-2"].ip.String(), soon)
	c.edit("cloud.yaml", "  vxlan: {mode: Multicast}\n", "")
	c.commit()
	c.reaches("acme/app-1", c.guests()["acme/app-2"].ip.String(), soon)
}

// bridgeTrash: a network that goes leaves nothing on its hosts.
func (c *cloud) bridgeTrash() {
	text := c.read("cloud.yaml")
	var keep []string
	for _, doc := range strings.Split(text, "---\n") {
		if !strings.Contains(doc, "app") {
			keep = append(keep, doc)
		}
	}
	c.write("cloud.yaml", strings.Join(keep, "---\n"))
	c.commit()
	for _, h := range hosts {
		out := c.in("host/"+h, "sh", "-c", "ip -o link; nft list ruleset")
		for _, left := range []string{"vx", "app"} {
			if strings.Contains(out, left) {
				c.Errorf("%s is left on %s:\n%s", left, h, out)
			}
		}
	}
	c.reaches("acme/web-1", c.guests()["acme/web-2"].ip.String(), soon)
}

func (c *cloud) read(file string) string {
	c.Helper()
	b, err := os.ReadFile(c.tree + "/" + file)
	if err != nil {
		c.Fatal(err)
	}
	return string(b)
}

// TestBridgeSecurityGroups holds Linux bridges to what TestSecurityGroups holds Open
// vSwitch to.
func TestBridgeSecurityGroups(t *testing.T) {
	dir := onLinux(t, "../../examples/security-groups", "{isolation: ", "{vswitch: LinuxBridge, isolation: ")
	groups(t, startLab(t, fmt.Sprintf("bg%d", os.Getpid()), dir), "Conjunction", "Errors") // they are about flows
}

// TestBridgeTakeover moves a host's address to a Linux bridge.
func TestBridgeTakeover(t *testing.T) {
	dir := onLinux(t, "../../examples/single-host", "  isolation: ", "  vswitch: LinuxBridge\n  isolation: ")
	takeOver(t, startLab(t, fmt.Sprintf("bt%d", os.Getpid()), dir))
}

// onLinux copies a tree and has its physical networks on Linux bridges.
func onLinux(t *testing.T, tree, old, new string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(tree)); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(dir + "/cloud.yaml")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(b), old, new)
	if text == string(b) {
		t.Fatal("the tree has no physical network")
	}
	if err := os.WriteFile(dir+"/cloud.yaml", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}
