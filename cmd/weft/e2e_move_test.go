//go:build e2e

package main

import (
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"weft.dev/reconcile/lab"
)

// longest is how long packets of a guest that moves may be lost on a machine that
// is busy with other things. Some 0.1 s are usual; a guest whose port nobody noticed
// waits for an agent's look at everything, which is a minute.
const longest = soon

// movers are a guest of each isolation, with a neighbour that stays.
var movers = []struct{ fabric, guest, peer string }{
	{"VXLAN", "acme/web-1", "acme/web-2"},
	{"GRE", "acme/app-1", "acme/app-2"},
	{"GENEVE", "acme/db-1", "acme/db-2"},
	{"VLAN", "beta/mail", "beta/files"},
}

// migrations: in each isolation a guest moves to its neighbour's host under
// pings in both directions and a TCP connection. Nothing of it stays behind, and
// what it may send it may send there, and no more.
func (c *cloud) migrations() {
	for _, file := range []string{"tenants/acme-app.yaml", "tenants/acme-db.yaml", "tenants/beta.yaml"} {
		c.edit(file, "  host: kvm1\n", "  host: kvm1\n  hosts: [kvm1, kvm2]\n")
	}
	c.commit()
	guests := c.guests()
	var moves []*migration
	for _, m := range movers {
		moves = append(moves, c.depart(m.fabric, guests[m.guest], guests[m.peer]))
	}
	for _, m := range moves {
		m.move(c)
	}
	var ends sync.WaitGroup
	for _, m := range moves {
		ends.Go(func() { m.end(c) })
	}
	ends.Wait()
	for _, m := range moves {
		c.until(soon, "nothing of "+m.self.name+" is left on "+m.from, func() string { return c.leftovers(m.from, m.self.mac, m.ofport) })
		c.obeys(m.self, m.peer)
	}
	for _, m := range moves {
		c.must("lab", "move", m.self.name, m.from)
	}
	c.well()
}

// A migration is a guest between two hosts, under packets.
type migration struct {
	fabric       string
	self, peer   guest
	from, to     string
	ofport       string // on from
	in, out, tcp *probe
	took         time.Duration
}

// depart starts the packets: pings in both directions, and a TCP connection.
func (c *cloud) depart(fabric string, self, peer guest) *migration {
	c.Helper()
	m := &migration{fabric: fabric, self: self, peer: peer, to: "kvm1"}
	var port string
	if m.from, port = c.port(self.name); m.from == m.to {
		m.to = "kvm2"
	}
	m.ofport = c.ofport(m.from, port)
	m.in = c.pinging(peer.name, self.ip.String())
	m.out = c.pinging(self.name, self.net.Gateway.String())
	m.tcp = c.streaming(peer.name, self.name, self.ip.String())
	return m
}

func (m *migration) move(c *cloud) {
	c.Helper()
	began := time.Now()
	c.must("lab", "move", m.self.name, m.to)
	m.took = time.Since(began)
	c.reaches(m.peer.name, m.self.ip.String(), soon)
	c.reaches(m.self.name, m.self.net.Gateway.String(), soon)
}

// end tells what was lost.
func (m *migration) end(c *cloud) {
	in, out, tcp := m.in.tally(), m.out.tally(), m.tcp.tally()
	c.Logf("%s, %s to %s: moved in %v; %d of %d pings to it lost (gap %v), %d of %d from it (gap %v); TCP lost %d of %d (gap %v)",
		m.fabric, m.self.name, m.to, m.took.Round(time.Millisecond), in.Lost, in.Sent, in.Gap.Round(time.Millisecond),
		out.Lost, out.Sent, out.Gap.Round(time.Millisecond), tcp.Lost, tcp.Sent, tcp.Gap.Round(time.Millisecond))
	if tcp.Lost > 0 {
		c.Errorf("%s: a TCP connection lost %d of %d", m.fabric, tcp.Lost, tcp.Sent)
	}
	if gap := max(in.Gap, out.Gap); gap > longest {
		c.Errorf("%s: %s lost packets for %v on its way to %s", m.fabric, m.self.name, gap, m.to)
	}
}

// port is where a guest is plugged now.
func (c *cloud) port(guest string) (host, port string) {
	c.Helper()
	s, err := c.lab.Status(c.ctx)
	if err != nil {
		c.Fatal(err)
	}
	n, _ := s.Node(guest)
	return n.Host, n.NICs[0].Port
}

// ofport is the number of a port on weft-int.
func (c *cloud) ofport(host, port string) string {
	c.Helper()
	return strings.TrimSpace(c.in("host/"+host, "ovs-vsctl", "get", "Interface", port, "ofport"))
}

// leftovers are the flows of a host that still name a port that went, or that
// send to it what is for a MAC.
func (c *cloud) leftovers(host string, mac net.HardwareAddr, ofport string) string {
	c.Helper()
	if out := c.in("host/"+host, "ovs-vsctl", "--bare", "--columns=name", "find", "Interface", `external_ids:attached-mac="`+mac.String()+`"`); out != "" {
		return "port " + out
	}
	var number int
	if _, err := fmt.Sscan(ofport, &number); err != nil {
		c.Fatalf("port number %q: %v", ofport, err)
	}
	names := regexp.MustCompile(fmt.Sprintf(`in_port=%d\b|output:%[1]d\b|reg2=0x%[2]x\b|:0x%[2]x->(reg2|NXM_NX_REG2)`, number, number))
	var left []string
	for line := range strings.Lines(c.in("host/"+host, "ovs-ofctl", "-O", "OpenFlow14", "--no-names", "--no-stats", "dump-flows", "weft-int")) {
		if names.MatchString(line) {
			left = append(left, strings.TrimSpace(line))
		}
	}
	return strings.Join(left, "\n")
}

// obeys: the guest's packets pass, and those in the name of another do not.
func (c *cloud) obeys(self, peer guest) {
	c.Helper()
	ear := c.listen(peer.name, "eth0")
	send := func(ip netip.Addr, text string) {
		c.in(self.name, "weft", "e2e-frame", "eth0", hex.EncodeToString(udp(self.mac, peer.mac, ip, peer.ip, 4711, 4711, text)))
	}
	send(peer.net.CIDR.Masked().Addr().Next().Next(), "a-lie-after-"+self.host)
	send(self.ip, "the-truth")
	ear.hears(c, "the-truth")
	if ear.heard("a-lie-after") {
		c.Errorf("%s lies where it moved to", self.name)
	}
}

// BenchmarkMigration is the loss of a guest that moves: the longest time without
// an answer, to pings every 10 ms from a neighbour.
func BenchmarkMigration(b *testing.B) {
	c := startLab(b, fmt.Sprintf("migrate%d", os.Getpid()), quickstart)
	guests := c.guests()
	self, peer := guests["acme/web-1"], guests["acme/web-2"]
	next := map[string]string{"kvm1": "kvm2", "kvm2": "kvm1"}
	var gap, moved time.Duration
	lost, n := 0, 0
	for b.Loop() {
		from, _ := c.port(self.name)
		ping := c.pinging(peer.name, self.ip.String())
		began := time.Now()
		if err := c.lab.Move(c.ctx, self.name, next[from]); err != nil {
			b.Fatal(err)
		}
		moved += time.Since(began)
		if _, err := c.lab.Wait(c.ctx, func(s lab.Status) bool {
			g, _ := s.Node(self.name)
			return g.Host == next[from] && g.NICs[0].Plugged
		}); err != nil {
			b.Fatal(err)
		}
		c.reaches(peer.name, self.ip.String(), slow)
		t := ping.tally()
		gap, lost, n = gap+t.Gap, lost+t.Lost, n+1
	}
	b.ReportMetric(float64(gap.Milliseconds())/float64(n), "lost-ms")
	b.ReportMetric(float64(lost)/float64(n), "lost-pings")
	b.ReportMetric(float64(moved.Milliseconds())/float64(n), "move-ms")
}
