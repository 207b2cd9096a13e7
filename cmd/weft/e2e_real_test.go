//go:build e2e

package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weft.dev/reconcile/lab"
)

// fort is the real machine of examples/real-vm: its first card is recognised on
// weft-int, the second is plugged by weft.
const fort = "acme/fort"

// TestRealMachine boots a Debian kernel under QEMU and libvirt on a host of the
// lab. Its ports are ports like others.
func TestRealMachine(t *testing.T) {
	began := time.Now()
	c := startLab(t, fmt.Sprintf("real%d", os.Getpid()), "../../examples/real-vm")
	t.Logf("up with a real machine after %v", time.Since(began).Round(100*time.Millisecond))
	for _, part := range []struct {
		name string
		run  func(*cloud)
	}{
		{"Packets", (*cloud).realPackets},
		{"Exec", (*cloud).realExec},
		{"HotPlug", (*cloud).realHotPlug},
		{"Migration", (*cloud).realMigration},
		{"Life", (*cloud).realLife},
	} {
		t.Run(part.name, func(t *testing.T) {
			p := *c
			p.TB = t
			part.run(&p)
			p.well()
		})
	}
}

// node is what the lab says of one.
func (c *cloud) node(name string) lab.NodeStatus {
	c.Helper()
	s, err := c.lab.Status(c.ctx)
	if err != nil {
		c.Fatal(err)
	}
	n, ok := s.Node(name)
	if !ok {
		c.Fatalf("there is no %s", name)
	}
	return n
}

// realPackets: it has its leases, and packets come and go as they do for others.
func (c *cloud) realPackets() {
	guests := c.cards()
	web, back := guests["acme/fort/web"], guests["acme/fort/back"]
	ip := c.in(fort, "ip", "-o", "-4", "addr")
	for _, want := range []string{web, back} {
		if !strings.Contains(ip, " "+want+"/24 ") {
			c.Errorf("the machine has no lease of %s:\n%s", want, ip)
		}
	}
	n := c.node(fort)
	if len(n.NICs) != 2 || !n.NICs[0].Plugged || n.NICs[0].Port == "" || n.NICs[0].MTU != 1450 || n.NICs[1].Port != "tap-fort" {
		c.Errorf("the lab says of the machine: %+v", n)
	}
	if out := c.in(fort, "cat", "/etc/resolv.conf"); out != "nameserver 10.1.1.1\nsearch home.arpa\n" {
		c.Errorf("its resolver: %q", out)
	}
	// 1400 bytes and headers are more than what would pass with a wrong MTU.
	for _, to := range []string{"10.1.1.1", "near", "far", guests["acme/far/back"], world} {
		c.answered(fort, "-s1400", to)
	}
	for _, from := range []string{"acme/near", "acme/far"} {
		c.answered(from, "-M", "do", "-s", "1422", "fort")
	}
	c.answered("acme/far", back)
	// TCP both ways: checksums are right, too.
	c.in(fort, "sh", "-c", "head -c 1000000 /dev/zero >/tmp/zero && httpd -h /tmp")
	if out := c.in("acme/far", "curl", "-s", "-m", "10", "-o", "/dev/null", "-w", "%{size_download}", "http://"+web+"/zero"); out != "1000000" {
		c.Errorf("%s bytes came from the machine", out)
	}
	if out := c.in(fort, "wget", "-O", "-", "http://"+world+"/"); !strings.Contains(out, "192.0.2.") {
		c.Errorf("the internet sees the machine as %s", out)
	}
	c.honest()
}

// honest: the real machine cannot lie where it is now.
func (c *cloud) honest() {
	c.Helper()
	if out, err := c.try(fort, "sh", "-c", "ip addr add 10.1.1.250/24 dev eth0; ping -c1 -W1 -I 10.1.1.250 10.1.1.1; s=$?; ip addr del 10.1.1.250/24 dev eth0; exit $s"); err == nil {
		c.Errorf("the machine got through with another address: %s", out)
	}
}

// cards are the addresses of all NICs of the tree.
func (c *cloud) cards() map[string]string {
	c.Helper()
	t, err := newCompiler().workTree(c.tree)
	if err != nil {
		c.Fatal(err)
	}
	out := map[string]string{}
	for _, n := range t.Networks() {
		for _, nic := range n.NICs {
			out[nic.ID] = nic.IP.String()
		}
	}
	return out
}

// realExec: commands run in it, one at a time.
func (c *cloud) realExec() {
	if out, code := c.code(fort, "sh", "-c", "echo out; echo err >&2; exit 42"); code != 42 || out != "out\nerr\n" {
		c.Errorf("exit status %d, %q", code, out)
	}
	if out, code := c.code(fort, "/no/such"); code != 127 {
		c.Errorf("a program that is not there: exit status %d, %q", code, out)
	}
	if out := c.in(fort, "cat", "/proc/version"); !strings.HasPrefix(out, "Linux version ") || !strings.Contains(c.in(fort, "cat", "/etc/hostname"), "fort") {
		c.Errorf("that is no machine of its own: %s", out)
	}
	// What an impatient caller leaves does not stop the next one.
	cmd, err := c.command(c.ctx, fort, "ping", "10.1.1.1")
	if err != nil {
		c.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		c.Fatal(err)
	}
	c.until(soon, "the first command runs", func() string {
		if out, _ := c.try("host/kvm1", "pgrep", "-f", "lab-guest acme/fort ping"); out == "" {
			return "not yet"
		}
		return ""
	})
	if err := cmd.Cancel(); err != nil {
		c.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	if out := c.in(fort, "echo", "again"); out != "again\n" {
		c.Errorf("after a command that was left: %q", out)
	}
}

// realHotPlug: cards go and come while the machine runs, by what weft nic xml
// prints.
func (c *cloud) realHotPlug() {
	web := c.cards()["acme/fort/web"]
	before := c.applied()
	for _, nic := range []struct{ id, link, address string }{
		{"acme/fort/web", "eth0", web}, {"acme/fort/back", "eth1", c.cards()["acme/fort/back"]},
	} {
		element, code := c.run("nic", "xml", nic.id, c.tree)
		if code != exitOK {
			c.Fatalf("nic xml: exit status %d\n%s", code, element)
		}
		file := filepath.Join(c.TempDir(), "nic.xml")
		if err := os.WriteFile(file, []byte(element), 0o600); err != nil {
			c.Fatal(err)
		}
		c.in("host/kvm1", "virsh", "detach-device", "acme.fort", file, "--live")
		c.until(slow, "the card is gone", func() string {
			if out, err := c.try(fort, "ip", "-o", "link"); err != nil || strings.Contains(out, " "+nic.link+":") {
				return out
			}
			return ""
		})
		if out, err := c.try("acme/far", "ping", "-c1", "-W1", nic.address); err == nil {
			c.Errorf("%s answers without its card: %s", nic.id, out)
		}
		if nic.link == "eth0" { // the other port is weft's: it stays, without a device
			c.until(slow, "the host says that it waits", func() string {
				out := c.in("host/kvm1", "weft", "status")
				if strings.Contains(out, "nic:"+nic.id) {
					return ""
				}
				return out
			})
		}
		c.in("host/kvm1", "virsh", "attach-device", "acme.fort", file, "--live")
		c.reaches("acme/far", nic.address, slow)
	}
	c.answered(fort, "far")
	for h, id := range c.applied() {
		c.Logf("%s: %d applies for two cards that went and came", h, id-before[h])
	}
}

// realMigration: libvirt brings it to another host as it runs, under pings and a TCP
// connection, and a commit brings it back.
func (c *cloud) realMigration() {
	guests := c.cards()
	web, back := guests["acme/fort/web"], guests["acme/fort/back"]
	const one, both = "  host: kvm1\n  nics:\n", "  host: kvm1\n  hosts: [kvm1, kvm2]\n  nics:\n"
	c.edit("cloud.yaml", one, both)
	c.commit()
	// The next command kills what has not left this one's group.
	c.in(fort, "sh", "-c", `touch /tmp/this-life
		setsid nc -ll -p 4712 -e cat >/dev/null 2>&1 </dev/null &
		until netstat -ltn | grep -q :4712; do usleep 100000; done`)
	ping := c.pinging("acme/near", web)
	stream := c.probe("acme/far", "e2e-stream", web+":4712")
	for _, hop := range []struct {
		from, to string
		move     func()
	}{
		{"kvm1", "kvm2", func() { c.must("lab", "move", fort, "kvm2") }},
		{"kvm2", "kvm1", func() {
			// Once Git has it on kvm2, weft plugs its second card there, too.
			c.edit("cloud.yaml", both, strings.Replace(both, "host: kvm1", "host: kvm2", 1))
			c.commit()
			c.reaches("acme/far", back, slow)
			c.edit("cloud.yaml", strings.Replace(both, "host: kvm1", "host: kvm2", 1), both)
			c.commit()
		}},
	} {
		n := c.node(fort)
		mac, err := net.ParseMAC(n.NICs[0].MAC)
		if err != nil {
			c.Fatal(err)
		}
		ofport := c.ofport(hop.from, n.NICs[0].Port)
		began := time.Now()
		hop.move()
		c.Logf("to %s in %v", hop.to, time.Since(began).Round(10*time.Millisecond))
		if n = c.node(fort); n.Host != hop.to || n.State != lab.Up || !n.NICs[0].Plugged || n.NICs[0].Port == "" || !n.NICs[1].Ready {
			c.Errorf("the lab says of it on %s: %+v", hop.to, n)
		}
		c.reaches("acme/near", web, slow)
		c.reaches("acme/far", web, slow)
		c.until(slow, "nothing of the machine is left on "+hop.from, func() string { return c.leftovers(hop.from, mac, ofport) })
		if out := c.in("host/"+hop.from, "virsh", "list", "--name"); strings.TrimSpace(out) != "" {
			c.Errorf("%s still runs %s", hop.from, out)
		}
		c.honest()
	}
	c.reaches("acme/far", back, slow)
	c.in(fort, "test", "-e", "/tmp/this-life")
	p, s := ping.tally(), stream.tally()
	c.Logf("there and back: %d of %d pings lost (gap %v), TCP lost %d of %d (gap %v)",
		p.Lost, p.Sent, p.Gap.Round(time.Millisecond), s.Lost, s.Sent, s.Gap.Round(time.Millisecond))
	if s.Lost > 0 {
		c.Errorf("a TCP connection lost %d of %d", s.Lost, s.Sent)
	}
	c.edit("cloud.yaml", both, one)
	c.commit()
}

// realLife: it is switched off by itself and by others.
func (c *cloud) realLife() {
	if out, code := c.weft("lab", "move", fort, "nowhere"); code != exitError || !strings.Contains(out, "nowhere") {
		c.Errorf("move to nowhere: exit status %d\n%s", code, out)
	}
	port := c.node(fort).NICs[0].Port
	_, _ = c.try(fort, "poweroff", "-f") // it cannot say how that went
	stopped := func(why string) {
		c.Helper()
		if s, err := c.lab.Wait(c.ctx, func(s lab.Status) bool {
			n, _ := s.Node(fort)
			return n.State == lab.Stopped && n.Reason == why
		}); err != nil {
			c.Errorf("%v: %+v", err, s)
		}
		c.until(soon, "its port is gone", func() string {
			out := c.in("host/kvm1", "ovs-vsctl", "list-ports", "weft-int")
			if strings.Contains(out, port+"\n") {
				return out
			}
			return ""
		})
	}
	stopped("it switched itself off")
	if out, code := c.weft("lab", "exec", fort, "--", "true"); code != exitError || !strings.Contains(out, "does not run") {
		c.Errorf("a command in a machine that is off: exit status %d\n%s", code, out)
	}
	c.must("lab", "start", fort)
	c.until(slow, "it is on again", func() string {
		if n := c.node(fort); n.NICs[0].Port == "" {
			return fmt.Sprintf("%+v", n)
		}
		return ""
	})
	port = c.node(fort).NICs[0].Port
	c.must("lab", "kill", fort)
	stopped("killed")
}
