//go:build e2e

package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"weft.dev/reconcile/host/facts"
	inside "weft.dev/reconcile/lab/machine"
)

// TestKernelDevices has a kernel with all its modules carry the guests: Open vSwitch's own datapath with a bond, VXLAN and
// GRE, and 802.1q devices on bridges. make kernel runs it in such a machine.
func TestKernelDevices(t *testing.T) {
	if os.Getenv(inside.Variable) == "" {
		t.Skip("it is for a kernel with all its modules: make kernel")
	}
	if out, err := exec.Command("modprobe", "-a", "openvswitch", "vport-vxlan", "vport-gre", "8021q").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Setenv(facts.DatapathVariable, "system")
	c := startLab(t, fmt.Sprintf("kd%d", os.Getpid()), "testdata/kernel", "--timeout", "6m")
	for _, part := range []struct {
		name string
		run  func(*cloud)
	}{
		{"Made", (*cloud).kernelMade},
		{"Packets", (*cloud).kernelPackets},
		{"Drift", (*cloud).kernelDrift},
	} {
		t.Run(part.name, func(t *testing.T) {
			p := *c
			p.TB = t
			part.run(&p)
		})
	}
}

// kernelMade: what carries the guests is the kernel's.
func (c *cloud) kernelMade() {
	for _, h := range hosts {
		sh := func(script string) string { return c.in("host/"+h, "sh", "-ec", script) }
		if out := sh("ovs-appctl dpctl/show"); !strings.HasPrefix(out, "system@ovs-system") || strings.Contains(out, "netdev@") || !strings.Contains(out, "vxlan_sys") || !strings.Contains(out, "gre_sys") {
			c.Errorf("%s: the datapath is\n%s", h, out)
		}
		if out := sh("ip -d link show type vlan"); !strings.Contains(out, "802.1Q id 162") {
			c.Errorf("%s: no 802.1q device:\n%s", h, out)
		}
		if out := sh("ovs-appctl bond/show bond0"); strings.Count(out, ": enabled") != 2 {
			c.Errorf("%s: the bond is\n%s", h, out)
		}
	}
}

// kernelPackets: guests reach each other on each network, in frames as large as they are told, and by TCP.
func (c *cloud) kernelPackets() {
	for _, to := range []string{"10.1.1.12", "10.1.2.12", "10.1.3.12"} {
		c.reaches("acme/one", to, slow)
		c.until(slow, "a full frame to "+to, func() string {
			if out, err := c.try("acme/one", "ping", "-c1", "-W2", "-Mdo", "-s1472", to); err != nil {
				return out
			}
			return ""
		})
		c.in("acme/two", "sh", "-ec", `mkdir -p /tmp/page; head -c 300000 /dev/zero >/tmp/page/zeros; cd /tmp/page
			setsid python3 -m http.server --bind `+to+` 8000 >/dev/null 2>&1 </dev/null &`)
		c.until(time.Minute, "a page from "+to, func() string {
			out, err := c.try("acme/one", "curl", "-sS", "-m", "30", "-o", "/dev/null", "-w", "%{size_download}", "http://"+to+":8000/zeros")
			if err != nil || out != "300000" {
				return out
			}
			return ""
		})
	}
}

// kernelDrift: a device that is taken away comes back, and the bond carries by its other link.
func (c *cloud) kernelDrift() {
	link := strings.TrimSpace(c.in("host/kvm1", "sh", "-ec", "ip -o link show type vlan | sed 's/^[0-9]*: \\([^@]*\\)@.*/\\1/'"))
	c.in("host/kvm1", "ip", "link", "del", link)
	c.in("host/kvm1", "ip", "link", "set", "eth0", "down")
	for _, to := range []string{"10.1.1.12", "10.1.2.12", "10.1.3.12"} {
		c.reaches("acme/one", to, time.Minute)
	}
}

// vpnKernel: where the kernel has ESP and WireGuard, they are what carries the packets.
func (c *cloud) vpnKernel() {
	if os.Getenv(inside.Variable) == "" {
		c.Skip("it is for a kernel with all its modules: make kernel")
	}
	if out := c.in("router/acme/web", "ip", "xfrm", "state"); !strings.Contains(out, "proto esp") || !strings.Contains(out, "espinudp") {
		c.Errorf("no ESP in the kernel, bare and in UDP:\n%s", out)
	}
	if out := c.in("router/acme/web", "ip", "-d", "-o", "link"); !strings.Contains(out, " wireguard ") || strings.Contains(out, "ipsec0") {
		c.Errorf("WireGuard is not the kernel's, or ESP is not:\n%s", out)
	}
}
