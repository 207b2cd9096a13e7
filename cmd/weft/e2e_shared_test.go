//go:build e2e

package main

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
)

func example(name string) string { return "../../examples/" + name }

// pings reports whether a node's ping is answered; source may be an address or a
// link, or "".
func (c *cloud) pings(from, source, to string) bool {
	c.Helper()
	args := []string{"ping", "-c1", "-W1"}
	if source != "" {
		args = append(args, "-I", source)
	}
	_, err := c.try(from, append(args, to)...)
	return err == nil
}

// never is pings that must not be answered, twice: the first may have been lost.
func (c *cloud) never(from, source, to, why string) {
	c.Helper()
	for range 2 {
		if c.pings(from, source, to) {
			c.Errorf("%s reaches %s from %q: %s", from, to, source, why)
			return
		}
	}
}

// calm waits until no host drifts and the newest commit is in force everywhere.
func (c *cloud) calm() {
	c.Helper()
	head := c.head()
	c.until(slow, "all is as committed", func() string {
		for _, h := range hosts {
			if why := c.unwell(h, head); why != "" {
				return h + ": " + why
			}
		}
		return ""
	})
}

// TestShared: two subnets on a VLAN over two hosts, with gateways that are not
// weft's; another account's guest; a network without services.
func TestShared(t *testing.T) {
	c := startLab(t, fmt.Sprintf("shared%d", os.Getpid()), example("shared"))
	c.well()
	for _, to := range []string{"db", "desk", "192.0.2.1", "192.0.2.129", "192.0.2.150", "198.51.100.5"} {
		c.reaches("acme/web", to, soon)
	}
	c.reaches("beta/desk", "web", soon)
	c.reaches("acme/web", "198.18.0.12", soon) // static
	for vm, gateway := range map[string]string{"acme/web": "192.0.2.1", "acme/db": "192.0.2.129"} {
		if out := c.in(vm, "ip", "route", "show", "default"); !strings.Contains(out, "via "+gateway+" ") {
			c.Errorf("%s: %s", vm, out)
		}
	}
	if out := c.in("acme/db", "cat", "/etc/resolv.conf"); !strings.Contains(out, "nameserver 192.0.2.1") || strings.Contains(out, "192.0.2.2\n") {
		c.Errorf("db does not ask the router in its own subnet: %s", out)
	}
	c.in("acme/web", "ip", "addr", "add", "192.0.2.77/25", "dev", "eth0")
	c.never("acme/web", "192.0.2.77", "192.0.2.1", "the address is not its own")
	c.in("acme/web", "ip", "addr", "del", "192.0.2.77/25", "dev", "eth0")
	c.in("acme/web", "ip", "route", "add", "192.0.2.150/32", "dev", "eth1")
	c.never("acme/web", "eth1", "192.0.2.150", "it is on another VLAN")
	c.in("acme/web", "ip", "route", "del", "192.0.2.150/32", "dev", "eth1")
	c.designed("kvm1", "system/office", "DirectNetworkGuru")
	c.notShared()
	c.ownVLAN()
}

// designed: the status of a network names its guru.
func (c *cloud) designed(host, network, guru string) {
	c.Helper()
	if out := c.in("host/"+host, "weft", "status", network); !strings.Contains(out, "designed by "+guru) {
		c.Errorf("weft status %s does not name %s:\n%s", network, guru, out)
	}
}

// notShared: who is not among those that a network is shared with cannot use it.
func (c *cloud) notShared() {
	c.edit("cloud.yaml", "sharedWith: [domain/root/customers, beta]", "sharedWith: [domain/root/customers]")
	out, code := c.run("validate", c.tree)
	if code == exitOK || !strings.Contains(out, "network office of account system is not shared with account beta") {
		c.Errorf("exit status %d:\n%s", code, out)
	}
	c.copyTree(example("shared"))
}

// ownVLAN: a subnet with a VLAN of its own has a router of its own, and leaves
// nothing when it goes.
func (c *cloud) ownVLAN() {
	before := c.in("host/kvm1", "ip", "netns", "list")
	c.edit("cloud.yaml", "    - {name: old,", "    - {name: lab, vlan: vlan://121, cidr: 198.18.9.0/24}\n    - {name: old,")
	c.write("more.yaml", `apiVersion: weft.dev/v1alpha1
kind: VirtualMachine
metadata: {name: probe, account: acme}
spec: {host: kvm2, nics: [{network: system/office, ip: 198.18.9.9}]}
---
apiVersion: weft.dev/v1alpha1
kind: VirtualMachine
metadata: {name: second, account: acme}
spec: {host: kvm1, nics: [{network: storage}, {network: system/office, ip: 192.0.2.60}]}
`)
	c.commit()
	c.well()
	c.reaches("acme/probe", "198.18.9.1", soon)
	c.reaches("acme/probe", "192.0.2.11", soon) // through both gateways
	// What is not the default NIC gets an address and no gateway, in a subnet too.
	if out := c.in("acme/second", "ip", "route"); strings.Count(out, "default ") != 1 || !strings.Contains(out, "192.0.2.0/25 dev eth1") ||
		!strings.Contains(out, "default via 198.18.0.254 dev eth0") {
		c.Errorf("routes of second:\n%s", out)
	}
	if now := c.in("host/kvm1", "ip", "netns", "list"); strings.Count(now, "\n") != strings.Count(before, "\n")+1 {
		c.Errorf("there is no router more:\n%s\nbefore:\n%s", now, before)
	}
	if out := c.in("acme/probe", "cat", "/etc/resolv.conf"); !strings.Contains(out, "nameserver 198.18.9.") {
		c.Errorf("probe asks somebody else: %s", out)
	}
	c.copyTree(example("shared"))
	c.commit()
	c.well()
	c.until(soon, "the router is gone", func() string {
		if now := c.in("host/kvm1", "ip", "netns", "list"); now != before {
			return now
		}
		return ""
	})
}

// TestL2: guests that weft knows no address of, and a private VLAN over two hosts.
func TestL2(t *testing.T) {
	c := startLab(t, fmt.Sprintf("l2%d", os.Getpid()), example("l2-pvlan"))
	c.calm()
	for vm, ip := range map[string]string{"acme/node-1": "172.16.0.1/24", "acme/node-2": "172.16.0.2/24"} {
		c.in(vm, "ip", "addr", "add", ip, "dev", "eth0")
	}
	c.reaches("acme/node-1", "172.16.0.2", soon)
	c.in("acme/node-1", "ip", "addr", "add", "172.16.0.77/24", "dev", "eth0")
	if !c.pings("acme/node-1", "172.16.0.77", "172.16.0.2") {
		c.Error("node-1 has only one address, and the network none")
	}
	c.in("acme/node-1", "ip", "link", "set", "eth0", "address", "02:00:00:00:00:99")
	c.never("acme/node-1", "", "172.16.0.2", "the MAC is not its own")
	c.designed("kvm1", "acme/cluster", "ExternalGuestNetworkGuru")
	c.private()
	c.calm()
}

// private holds who hears whom of a private VLAN, with and without being asked for
// MACs: what is known is delivered no further than what is looked for.
func (c *cloud) private() {
	type port struct{ vm, kind, ip, mac string }
	var ports []port
	for i, vm := range []string{"firewall", "tenant-1", "tenant-2", "tenant-3", "team-1", "team-2"} {
		p := port{vm: "acme/" + vm, kind: strings.Split(vm, "-")[0], ip: fmt.Sprintf("10.0.0.%d", i+1)}
		c.in(p.vm, "ip", "addr", "add", p.ip+"/24", "dev", "eth0")
		p.mac = strings.TrimSpace(c.in(p.vm, "cat", "/sys/class/net/eth0/address"))
		ports = append(ports, p)
	}
	hears := func(a, b port) bool {
		return a.kind == "firewall" || b.kind == "firewall" || a.kind == "team" && b.kind == "team"
	}
	check := func(how string) {
		var wg sync.WaitGroup
		for _, a := range ports {
			for _, b := range ports {
				switch {
				case a == b:
				case hears(a, b):
					c.reaches(a.vm, b.ip, soon)
				default:
					wg.Go(func() {
						if c.pings(a.vm, "", b.ip) {
							c.Errorf("%s reaches %s %s", a.vm, b.vm, how)
						}
					})
				}
			}
		}
		wg.Wait()
	}
	check("by asking")
	for _, a := range ports {
		for _, b := range ports {
			if a != b {
				c.in(a.vm, "ip", "neigh", "replace", b.ip, "lladdr", b.mac, "dev", "eth0", "nud", "permanent")
			}
		}
	}
	check("whose MAC it knows")
	c.tagged(ports[3].vm, ports[0].ip)
}

// tagged: on the wire the frames of isolated ports have the tag of the secondary
// VLAN, which is what switches between the hosts know them by.
func (c *cloud) tagged(from, to string) {
	for _, vlan := range []string{"201", "100"} {
		heard := make(chan error, 1)
		cmd, err := c.command(c.ctx, "host/kvm1", "timeout", "10", "tcpdump", "-c1", "-n", "--immediate-mode", "-i", "eth0", "vlan", vlan, "and", "icmp")
		if err != nil {
			c.Fatal(err)
		}
		go func() { heard <- cmd.Run() }()
		c.until(slow, "the wire carries VLAN "+vlan, func() string {
			c.pings(from, "", to)
			select {
			case err := <-heard:
				if err != nil {
					c.Fatalf("VLAN %s is not heard: %v", vlan, err)
				}
				return ""
			default:
				return "not heard yet"
			}
		})
	}
}

// TestBasicZone: pods with a subnet and a router each.
func TestBasicZone(t *testing.T) {
	c := startLab(t, fmt.Sprintf("basic%d", os.Getpid()), example("basic-zone"))
	c.well()
	c.reaches("acme/web", "app", soon)
	c.reaches("acme/web", "10.1.0.1", soon)
	c.designed("kvm2", "system/guests", "DirectPodBasedNetworkGuru")
	db := c.address("acme/db")
	if !strings.HasPrefix(db, "10.2.0.") {
		c.Fatalf("db of rack2 has %s", db)
	}
	c.reaches("acme/web", db, soon)
	for host, net := range map[string]string{"kvm1": "10.1.0.", "kvm2": "10.2.0."} {
		out := c.in("host/"+host, "sh", "-c", "for n in $(ip netns list | cut -d' ' -f1); do ip -n $n -4 -o addr show dev eth0; done")
		if strings.Count(out, "inet ") != 1 || !strings.Contains(out, "inet "+net) {
			c.Errorf("routers of %s:\n%s", host, out)
		}
	}
	// A VM that moves to another pod needs an address of it.
	c.edit("cloud.yaml", "metadata: {name: app, account: acme}\nspec: {host: kvm1,", "metadata: {name: app, account: acme}\nspec: {host: kvm2,")
	if out, code := c.run("lock", c.tree); code == exitOK || !strings.Contains(out, "--reallocate nic/acme/app/guests") {
		c.Fatalf("exit status %d\n%s", code, out)
	}
	if out, code := c.run("lock", c.tree, "--reallocate", "nic/acme/app/guests"); code != exitOK {
		c.Fatalf("exit status %d\n%s", code, out)
	}
	c.must("lab", "commit", c.tree)
	c.must("lab", "move", "acme/app", "kvm2")
	c.must("lab", "kill", "acme/app") // it asks for an address when it starts
	c.must("lab", "start", "acme/app")
	c.until(slow, "app is in rack2", func() string {
		if a := c.address("acme/app"); !strings.HasPrefix(a, "10.2.0.") {
			return "it has " + a
		}
		return ""
	})
	c.reaches("acme/db", c.address("acme/app"), soon)
}

// address is the first that a guest has, without length, or "".
func (c *cloud) address(vm string) string {
	c.Helper()
	n := c.node(vm)
	if len(n.NICs) == 0 || len(n.NICs[0].Addresses) == 0 {
		return ""
	}
	return n.NICs[0].Addresses[0].Addr().String()
}
