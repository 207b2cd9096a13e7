//go:build e2e

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// TestNICs holds what a NIC may ask for on the wire, in the lab of examples/nics.
func TestNICs(t *testing.T) {
	c := startLab(t, fmt.Sprintf("nics%d", os.Getpid()), "../../examples/nics")
	for _, part := range []struct {
		name string
		run  func(*cloud)
	}{
		{"Addresses", (*cloud).nicAddresses},
		{"Options", (*cloud).nicOptions},
		{"Cut", (*cloud).nicCut},
		{"Rates", (*cloud).nicRates},
		{"LimitDrift", (*cloud).limitDrift},
		{"HotPlug", (*cloud).hotPlug},
		{"TwoPorts", (*cloud).twoPorts},
		{"Moved", (*cloud).movedPorts},
	} {
		t.Run(part.name, func(t *testing.T) {
			p := *c
			p.TB = t
			part.run(&p)
		})
	}
}

// nicAddresses: a guest may use its secondary address and no other one, and a
// forwarded port ends at it.
func (c *cloud) nicAddresses() {
	c.answered("acme/plain", "-I", "10.1.1.12", "10.1.1.20")
	c.in("acme/plain", "ip", "addr", "add", "10.1.1.13/24", "dev", "eth0")
	if out, err := c.try("acme/plain", "ping", "-c1", "-W1", "-I", "10.1.1.13", "10.1.1.20"); err == nil {
		c.Errorf("an address that is not the guest's leaves it: %s", out)
	}
	c.in("acme/plain", "ip", "addr", "del", "10.1.1.13/24", "dev", "eth0")
	answer := c.lab1(c.ctx, "acme/plain", "sh", "-c", "echo hello | nc -l -s 10.1.1.12 -p 80 -q1")
	c.until(soon, "the forwarded port answers from the secondary address", func() string {
		out, err := c.try("internet", "nc", "-w1", "203.0.113.20", "80")
		if err == nil && strings.Contains(out, "hello") {
			return ""
		}
		return "no answer: " + out
	})
	_ = answer.Wait()
}

// lab1 starts a command in the background.
func (c *cloud) lab1(ctx context.Context, node string, argv ...string) *exec.Cmd {
	c.Helper()
	line, err := c.lab.Command(ctx, node, "", argv)
	if err != nil {
		c.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, line[0], line[1:]...)
	if err := cmd.Start(); err != nil {
		c.Fatal(err)
	}
	return cmd
}

// nicOptions: the guest that asked for options gets them, another one does not.
func (c *cloud) nicOptions() {
	script := "tmp=$(mktemp) && chmod 700 $tmp && printf '#!/bin/sh\\necho \"[$1] ntp=$ntpsrv tftp=$tftp\"\\n' >$tmp && udhcpc -i eth0 -n -q -t 3 -O ntpsrv -O tftp -s $tmp; rm -f $tmp"
	if out := c.in("acme/plain", "sh", "-c", script); !strings.Contains(out, "ntp=10.1.1.5 tftp=boot.example.com") {
		c.Errorf("the options did not come: %s", out)
	}
	if out := c.in("acme/slow", "sh", "-c", script); strings.Contains(out, "10.1.1.5") || !strings.Contains(out, "[bound]") {
		c.Errorf("another guest has them: %s", out)
	}
}

// nicCut: a port whose link is Down carries nothing, until the tree says so.
func (c *cloud) nicCut() {
	if out, err := c.try("acme/plain", "ping", "-c1", "-W1", "10.1.1.40"); err == nil {
		c.Errorf("a guest whose link is Down answers: %s", out)
	}
	if out := c.in("host/kvm1", "weft", "status", "vm/acme/cut"); !strings.Contains(out, "link: Down") {
		c.Errorf("status: %s", out)
	}
	c.edit("cloud.yaml", "ip: 10.1.1.40, link: Down", "ip: 10.1.1.40")
	c.commit()
	c.reaches("acme/plain", "10.1.1.40", soon)
	c.edit("cloud.yaml", "ip: 10.1.1.40", "ip: 10.1.1.40, link: Down")
	c.commit()
	c.until(soon, "the guest is cut off again", func() string {
		if _, err := c.try("acme/plain", "ping", "-c1", "-W1", "10.1.1.40"); err != nil {
			return ""
		}
		return "it answers"
	})
}

// flood is stream with UDP, if that is what it is, of 100 Mbit/s.
func (c *cloud) flood(from, to, ip string, udp, reverse bool) float64 {
	c.Helper()
	if udp {
		return c.stream(from, to, ip, 100, reverse)
	}
	return c.stream(from, to, ip, 0, reverse)
}

// stream measures what arrives of a stream between two guests in Mbit/s, of TCP or
// of udp Mbit/s; reverse: the second one sends.
func (c *cloud) stream(from, to, ip string, udp int, reverse bool) float64 {
	c.Helper()
	argv := []string{"iperf3", "-c", ip, "-t", "3", "-J"}
	if udp > 0 {
		argv = append(argv, "-u", "-b", fmt.Sprintf("%dM", udp), "-l", "1400")
	}
	if reverse {
		argv = append(argv, "-R")
	}
	var out string
	c.until(slow, to+" takes a stream from "+from, func() string {
		server := c.lab1(c.ctx, to, "iperf3", "-s", "-1", "-B", ip)
		c.until(soon, to+" listens", func() string {
			said, _ := c.try(to, "ss", "-Hltn", "sport = :5201")
			if said == "" {
				return "nobody listens"
			}
			return ""
		})
		var err error
		if out, err = c.try(from, argv...); err != nil || !strings.Contains(out, `"sum_received"`) {
			_, _ = c.try(to, "sh", "-c", "kill $(ss -Hltnp sport = :5201 | sed -n 's/.*pid=\\([0-9]*\\).*/\\1/p')")
			_ = server.Wait()
			return fmt.Sprint(err, ": ", out)
		}
		_ = server.Wait()
		return ""
	})
	var r struct {
		End struct {
			Sum, SumReceived struct {
				BPS  float64 `json:"bits_per_second"`
				Lost float64 `json:"lost_percent"`
			}
			Received struct {
				BPS float64 `json:"bits_per_second"`
			} `json:"sum_received"`
		}
	}
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		c.Fatalf("%v: %s", err, out)
	}
	if udp > 0 {
		return r.End.Sum.BPS * (1 - r.End.Sum.Lost/100) / 1e6
	}
	return r.End.Received.BPS / 1e6
}

// nicRates: each limit holds in both directions, for TCP as for UDP; without one a
// guest has far more.
func (c *cloud) nicRates() {
	for _, m := range []struct {
		from, to, ip string
		mbit         int
	}{
		{"acme/slow", "acme/fast", "10.1.1.30", 10},
		{"acme/plain", "acme/fast", "10.1.1.30", 50},
		{"acme/fast", "internet", "198.51.100.5", 50}, // the router's
	} {
		for _, udp := range []int{0, 2 * m.mbit} {
			for _, reverse := range []bool{false, true} {
				what := fmt.Sprintf("%s and %s, udp %d, reverse %t", m.from, m.to, udp, reverse)
				c.limited(what, m.mbit, func() float64 { return c.stream(m.from, m.to, m.ip, udp, reverse) })
			}
		}
	}
	// The same two guests without limits.
	c.edit("cloud.yaml", "rate: 10", "rate: 0")
	c.commit()
	c.until(4*slow, "guests without a limit have more", func() string {
		if got := c.stream("acme/slow", "acme/fast", "10.1.1.30", 0, false); got < 60 {
			return fmt.Sprintf("%.1f Mbit/s", got)
		}
		return ""
	})
	c.edit("cloud.yaml", "10.1.1.20, rate: 0", "10.1.1.20, rate: 10")
	c.commit()
}

// limited measures until a run is near its limit of mbit: a busy machine makes any
// one run wrong, a limit that does not hold makes all of them.
func (c *cloud) limited(what string, mbit int, measure func() float64) {
	c.Helper()
	c.until(4*slow, what+" is limited", func() string {
		got := measure()
		c.Logf("%s: %.1f of %d Mbit/s", what, got, mbit)
		if got < 0.4*float64(mbit) || got > 1.15*float64(mbit) {
			return fmt.Sprintf("%.1f of %d Mbit/s", got, mbit)
		}
		return ""
	})
}

func (c *cloud) meters() []string {
	c.Helper()
	var out []string
	for l := range strings.Lines(c.in("host/kvm1", "ovs-ofctl", "-OOpenFlow14", "dump-meters", "weft-int")) {
		if strings.HasPrefix(l, "meter=") {
			out = append(out, strings.Fields(l)[0])
		}
	}
	slices.Sort(out)
	return out
}

// limitDrift: what another hand does to a limit is undone, what it adds stays.
func (c *cloud) limitDrift() {
	was := c.meters()
	if len(was) == 0 {
		c.Fatal("no meters")
	}
	c.in("host/kvm1", "ovs-ofctl", "-OOpenFlow14", "add-meter", "weft-int", "meter=5,kbps,bands=type=drop,rate=1")
	c.in("host/kvm1", "ovs-ofctl", "-OOpenFlow14", "del-meter", "weft-int", was[0])
	c.in("host/kvm1", "weft", "reconcile")
	c.until(soon, "the limit is back", func() string {
		if now := c.meters(); len(now) != len(was)+1 || !slices.Contains(now, was[0]) || !slices.Contains(now, "meter=5") {
			return fmt.Sprint(now)
		}
		return ""
	})
	c.in("host/kvm1", "ovs-ofctl", "-OOpenFlow14", "del-meter", "weft-int", "meter=5")
}

// nicSays waits until a host's status of a VM has all words.
func (c *cloud) nicSays(host, vm string, words ...string) {
	c.Helper()
	c.until(soon, fmt.Sprintf("%s says %v of %s", host, words, vm), func() string {
		out, err := c.try(host, "weft", "status", "vm/"+vm)
		if err != nil {
			return out
		}
		for _, w := range words {
			if !strings.Contains(out, w) {
				return out
			}
		}
		return ""
	})
}

// hotPlug: a port that is taken out and put back is recognised again.
func (c *cloud) hotPlug() {
	_, port := c.port("acme/fast")
	c.nicSays("host/kvm1", "acme/fast", "Reserved", port)
	c.in("host/kvm1", "ovs-vsctl", "del-port", "weft-int", port)
	c.nicSays("host/kvm1", "acme/fast", "Allocated", "waits for its port")
	c.in("host/kvm1", "ovs-vsctl", "add-port", "weft-int", port, "--", "set", "interface", port, "external_ids:iface-id=acme/fast/web")
	c.nicSays("host/kvm1", "acme/fast", "Reserved", port)
	c.reaches("acme/plain", "10.1.1.30", soon)
}

// twoPorts: a second port that says it is the NIC is reported; the first one keeps
// what it has, whatever their names.
func (c *cloud) twoPorts() {
	_, port := c.port("acme/fast")
	const other = "aa-twin"
	c.in("host/kvm1", "ovs-vsctl", "add-port", "weft-int", other, "--", "set", "interface", other, "type=internal", "external_ids:iface-id=acme/fast/web")
	c.nicSays("host/kvm1", "acme/fast", "TwoPorts", port+" and "+other, port+" carries it")
	c.reaches("acme/plain", "10.1.1.30", soon)
	if out := c.in("host/kvm1", "ovs-vsctl", "list-ports", "weft-int"); !strings.Contains(out, other) {
		c.Errorf("a port of another hand is gone: %s", out)
	}
	c.in("host/kvm1", "ovs-vsctl", "del-port", "weft-int", other)
	c.nicSays("host/kvm1", "acme/fast", "Reserved")
}

// movedPorts: a guest is reported where it was not expected, and carried there, even
// outside its hosts.
func (c *cloud) movedPorts() {
	for _, m := range []struct{ vm, ip, word string }{
		{"acme/fast", "10.1.1.30", "Moved"},
		{"acme/slow", "10.1.1.20", "Outside"},
	} {
		c.must("lab", "move", m.vm, "kvm2")
		c.nicSays("host/kvm2", m.vm, m.word, "kvm1")
		c.reaches("acme/plain", m.ip, soon)
		c.nicSays("host/kvm1", m.vm, "Allocated")
		c.must("lab", "move", m.vm, "kvm1")
		c.nicSays("host/kvm1", m.vm, "Reserved")
		c.reaches("acme/plain", m.ip, soon)
	}
	c.until(soon, "nothing of the guest outside its hosts is left", func() string {
		if out, err := c.try("host/kvm2", "weft", "status", "vm/acme/slow"); err == nil {
			return out
		}
		return ""
	})
}
