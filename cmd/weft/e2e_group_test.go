//go:build e2e

package main

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// denied is how long a connection that groups deny is tried.
const denied = 700 * time.Millisecond

// probeTry ADDR:PORT: says whether a connection begins. A refusal counts: it is an
// answer.
func probeTry(args []string) error {
	c, err := net.DialTimeout("tcp4", args[0], denied)
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

// A knock is a connection that should begin, or not.
type knock struct {
	from, to string
	passes   bool
}

// TestSecurityGroups: what groups say holds for packets on one host and between two,
// through changes, and nobody lies about who he is.
func TestSecurityGroups(t *testing.T) {
	groups(t, startLab(t, "e2e-groups", "../../examples/security-groups"))
}

// groups runs the parts on a cloud of the example, but those that are about another
// switch than it has.
func groups(t *testing.T, c *cloud, not ...string) {
	c.well()
	for node, list := range map[string][]string{
		"acme/web-1": {"80", "22", "8010", "8001"}, "acme/web-2": {"80", "8000", "8011"}, "acme/db": {"5432", "80"}, "beta/desk": {"80"},
	} {
		for _, port := range list {
			c.probe(node, "e2e-echo", ":"+port)
		}
	}
	for _, part := range []struct {
		name string
		run  func(*cloud)
	}{
		{"Ports", (*cloud).groupPorts}, {"Lies", (*cloud).lies}, {"Unrelated", (*cloud).groupChange},
		{"Conjunction", (*cloud).conjunction}, {"Removed", (*cloud).ruleGoes}, {"Members", (*cloud).membersChange}, {"Errors", (*cloud).related},
	} {
		if slices.Contains(not, part.name) {
			continue
		}
		t.Run(part.name, func(t *testing.T) {
			p := *c
			p.TB = t
			part.run(&p)
		})
	}
}

// knocks tries connections until all fare as they should.
func (c *cloud) knocks(list ...knock) {
	c.Helper()
	for _, k := range list {
		c.until(soon, fmt.Sprintf("%s to %s passes: %v", k.from, k.to, k.passes), func() string {
			out := strings.TrimSpace(c.in(k.from, "weft", "e2e-try", k.to))
			if (out == "open") == k.passes && out != "refused" {
				return ""
			}
			return out
		})
	}
}

func (c *cloud) groupPorts() {
	c.knocks(
		knock{"beta/desk", "192.0.2.11:80", true}, knock{"beta/desk", "192.0.2.11:8010", true}, knock{"beta/desk", "192.0.2.11:22", false},
		knock{"acme/web-1", "192.0.2.12:8000", true}, knock{"acme/web-1", "192.0.2.12:8011", false},
		knock{"acme/web-1", "192.0.2.13:5432", true}, knock{"acme/web-2", "192.0.2.13:5432", true}, knock{"beta/desk", "192.0.2.13:5432", false},
		knock{"acme/web-1", "192.0.2.13:80", false}, knock{"acme/web-1", "192.0.2.14:80", false},
		knock{"acme/db", "192.0.2.11:80", false}, knock{"acme/db", "192.0.2.12:80", false},
	)
	c.reaches("beta/desk", "192.0.2.11", soon)
	c.reaches("beta/desk", "192.0.2.12", soon)
	for _, silent := range []string{"192.0.2.14", "192.0.2.13"} {
		if _, code := c.code("acme/web-1", "ping", "-c1", "-W1", silent); code == 0 {
			c.Errorf("%s answers a ping", silent)
		}
	}
	if out := c.in("acme/db", "getent", "hosts", "web-1"); !strings.Contains(out, "192.0.2.11") {
		c.Errorf("db, which may ask nobody, is told no names: %q", out)
	}
}

// lies: what a guest sends as another one leaves neither its port nor its host.
func (c *cloud) lies() {
	guests := c.guests()
	for _, name := range []string{"acme/web-1", "beta/desk"} {
		self, other := guests[name], guests["acme/web-2"]
		if name == "beta/desk" {
			other = guests["acme/web-1"]
		}
		wire := c.listen(self.host, "eth0")
		token := func(s string) string { return s + "-of-" + c.word(name) }
		all := net.HardwareAddr{255, 255, 255, 255, 255, 255}
		broadcast := netip.MustParseAddr("255.255.255.255")
		for what, frame := range map[string][]byte{
			"address":    udp(self.mac, all, other.ip, broadcast, 4711, 4711, token("address")),
			"nobody":     udp(self.mac, all, netip.MustParseAddr("203.0.113.7"), broadcast, 4711, 4711, token("nobody")),
			"mac":        udp(other.mac, all, self.ip, broadcast, 4711, 4711, token("mac")),
			"server":     udp(self.mac, all, self.ip, broadcast, 67, 68, token("server")),
			"zero":       udp(self.mac, all, netip.IPv4Unspecified(), broadcast, 4711, 4711, token("zero")),
			"arp":        ending(arp(self.mac, other.ip), token("arp")),
			"arp-sender": ending(arpFrom(self.mac, other.mac, self.ip), token("arp-sender")),
			"router":     ending(advertisement(self.mac), token("router")),
		} {
			c.in(name, "weft", "e2e-frame", "eth0", hex.EncodeToString(frame))
			_ = what
		}
		c.in(name, "weft", "e2e-frame", "eth0", hex.EncodeToString(ending(arp(self.mac, self.ip), token("true-arp"))))
		c.in(name, "weft", "e2e-frame", "eth0", hex.EncodeToString(udp(self.mac, all, self.ip, broadcast, 4711, 4711, token("truth"))))
		wire.hears(c, token("true-arp"))
		wire.hears(c, token("truth"))
		for _, what := range []string{"address", "nobody", "mac", "server", "zero", "arp", "arp-sender", "router"} {
			if wire.heard("."+token(what)) || wire.heard(token(what)) && !strings.HasPrefix(what, "arp") {
				c.Errorf("a lie of %s leaves it: %s", name, what)
			}
		}
	}
}

// ending puts a text at the end of a frame.
func ending(frame []byte, text string) []byte { return append(append(frame, '.'), text...) }

// arpFrom is an announcement that mac has address, sent by another.
func arpFrom(from, mac net.HardwareAddr, address netip.Addr) []byte {
	f := arp(mac, address)
	copy(f[6:12], from)
	return f
}

// advertisement is one of an IPv6 router.
func advertisement(mac net.HardwareAddr) []byte {
	f := append([]byte{0x33, 0x33, 0, 0, 0, 1}, mac...)
	f = append(f, 0x86, 0xdd, 0x60, 0, 0, 0)
	body := make([]byte, 16, 64)
	body[0] = 134
	f = binary.BigEndian.AppendUint16(f, uint16(len(body)))
	src, dst := netip.MustParseAddr("fe80::1").As16(), netip.MustParseAddr("ff02::1").As16()
	f = append(append(append(f, 58, 255), src[:]...), dst[:]...)
	return append(f, body...)
}

// groupChange: 20 changes of rules next to the one that a connection goes by, each in
// force before the next.
func (c *cloud) groupChange() {
	local, across := c.probe("acme/web-2", "e2e-stream", "192.0.2.11:8001"), c.probe("acme/web-1", "e2e-stream", "192.0.2.13:5432")
	ports := []string{"[80, 8000-8010]", "[80, 443, 8000-8010]"}
	for i := range 20 {
		c.edit("cloud.yaml", ports[i%2], ports[1-i%2])
		c.commit()
	}
	c.well()
	local.unbroken()
	across.unbroken()
}

// conjunction: many peers times many ports are rules of another form, and say the same.
func (c *cloud) conjunction() {
	const some = "sources: [192.0.2.14/32, 198.51.100.0/24, 203.0.113.0/24]}"
	c.edit("cloud.yaml", "8000-8010], sources: [0.0.0.0/0]}", "8000-8010], "+some)
	c.commit()
	if out := c.in("host/kvm1", "ovs-ofctl", "-O", "OpenFlow14", "dump-flows", "weft-int", "table=62"); !strings.Contains(out, "conj_id=") {
		c.Errorf("no conjunction in\n%s", out)
	}
	c.knocks(
		knock{"beta/desk", "192.0.2.11:80", true}, knock{"beta/desk", "192.0.2.11:8010", true}, knock{"beta/desk", "192.0.2.11:22", false},
		knock{"beta/desk", "192.0.2.12:8000", true}, knock{"acme/web-2", "192.0.2.11:80", false}, knock{"acme/web-1", "192.0.2.12:8000", false},
	)
	c.edit("cloud.yaml", "8000-8010], "+some, "8000-8010], sources: [0.0.0.0/0]}")
	c.commit()
	c.knocks(knock{"acme/web-2", "192.0.2.11:80", true})
}

// ruleGoes: what a rule allowed ends with it, and it alone.
func (c *cloud) ruleGoes() {
	ended, other := c.probe("beta/desk", "e2e-stream", "192.0.2.11:8001"), c.probe("acme/web-2", "e2e-stream", "192.0.2.13:5432")
	c.edit("cloud.yaml", "[80, 8000-8010]", "[80]")
	c.commit()
	c.knocks(knock{"beta/desk", "192.0.2.11:8001", false}, knock{"beta/desk", "192.0.2.11:80", true})
	t := ended.tally()
	if t.Lost == 0 {
		c.Errorf("a connection goes on without the rule that allowed it: %+v", t)
	}
	other.unbroken()
	c.edit("cloud.yaml", "[80]", "[80, 8000-8010]")
	c.commit()
	c.knocks(knock{"beta/desk", "192.0.2.11:8001", true})
}

// membersChange: rules that name a group follow who is in it, on every host.
func (c *cloud) membersChange() {
	c.edit("cloud.yaml", "ip: 192.0.2.12, securityGroups: [web]", "ip: 192.0.2.12, securityGroups: [db]")
	c.commit()
	c.knocks(knock{"acme/web-2", "192.0.2.13:5432", false}, knock{"acme/web-1", "192.0.2.13:5432", true}, knock{"beta/desk", "192.0.2.12:80", false})
	c.edit("cloud.yaml", "ip: 192.0.2.12, securityGroups: [db]", "ip: 192.0.2.12, securityGroups: [web]")
	c.commit()
	c.knocks(knock{"acme/web-2", "192.0.2.13:5432", true}, knock{"beta/desk", "192.0.2.12:80", true})
}
