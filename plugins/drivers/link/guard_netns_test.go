//go:build netns

package link_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"weft.dev/plugins/drivers/link"
	"weft.dev/reconcile/driver/drivertest"
	"weft.dev/reconcile/host"
	"weft.dev/reconcile/resource"
)

// table is the nftables table of a test; it goes with it.
func table(t *testing.T, w *world) string {
	name := "weft-" + w.h.Instance
	t.Cleanup(func() { _ = exec.Command("nft", "delete", "table", "bridge", name).Run() })
	return name
}

func guarded(p resource.BridgePort, f func(*resource.Guard)) resource.BridgePort {
	g := *p.Guard
	if g.Groups != nil {
		s := *g.Groups
		g.Groups = &s
	}
	f(&g)
	p.Guard = &g
	return p
}

func passes(proto int, from, to uint16, peers ...string) resource.GuestRule {
	r := resource.GuestRule{Proto: proto, ICMPType: -1, ICMPCode: -1}
	if from != 0 {
		r.Ports = []resource.PortSpan{{From: from, To: to}}
	}
	for _, p := range peers {
		r.Peers = append(r.Peers, pfx(p))
	}
	return r
}

// everything is a guard in which every kind of rule is.
func everything(mac string) *resource.Guard {
	icmp := resource.GuestRule{Proto: 1, ICMPType: 8, ICMPCode: 0, Peers: []netip.Prefix{pfx("0.0.0.0/0"), pfx("::/0")}}
	icmp6 := resource.GuestRule{Proto: 58, ICMPType: 128, ICMPCode: -1, Peers: []netip.Prefix{pfx("0.0.0.0/0"), pfx("::/0")}}
	return &resource.Guard{
		MAC: mac, Owned: []resource.Owned{
			{MAC: mac, CIDR: pfx("10.0.0.1/32")}, {MAC: mac, CIDR: pfx("fd00::1/128")},
			{MAC: "02:00:00:00:88:01", CIDR: pfx("10.0.8.0/24")}, {MAC: mac, CIDR: pfx("fd00:8::/33")}, {MAC: mac, CIDR: pfx("0.0.0.0/0")},
		},
		Reserved: &resource.Reserved{MACs: []string{"02:00:00:00:88:02"}, Addrs: []netip.Addr{netip.MustParseAddr("10.0.0.254"), netip.MustParseAddr("fd00::fe")}},
		Groups: &resource.GuestGroups{
			Ingress: []resource.GuestRule{
				passes(6, 80, 80, "10.0.0.0/8", "192.0.2.1/32", "fd00::/16"), passes(17, 1000, 2000, "::/0"), passes(-1, 0, 0, "10.0.0.0/24"),
				passes(132, 5, 5, "10.0.0.0/24"), passes(47, 0, 0, "10.0.0.0/24"), icmp, icmp6,
			},
			Egress:    []resource.GuestRule{passes(17, 53, 53, "0.0.0.0/0", "::/0")},
			Local:     []netip.Prefix{pfx("10.0.0.0/24"), pfx("fd00::/64")},
			Resolvers: []netip.Addr{netip.MustParseAddr("10.0.0.53"), netip.MustParseAddr("fd00::53")},
		},
	}
}

func TestSuiteOfGuards(t *testing.T) {
	w := newWorld(t)
	veth(t, w.wire, "")
	name := table(t, w)
	br := resource.Link{Name: w.br, Up: true, Bridge: &resource.LinuxBridge{Deaf: true}}
	port := resource.BridgePort{Bridge: w.br, Name: w.wire, IfaceID: "acme/web-1/eth0", MAC: "02:00:00:00:00:01", Guard: everything("02:00:00:00:00:01")}
	change := func(f func(*resource.Guard)) resource.State { return guarded(port, f) }
	drivertest.Run(t, w.fixture([]drivertest.Sample{{
		Under: []resource.State{br}, State: port,
		Changed: []resource.State{
			change(func(g *resource.Guard) { g.Down = true }),
			change(func(g *resource.Guard) { g.Open = true }),
			change(func(g *resource.Guard) { g.Any = true }),
			change(func(g *resource.Guard) { g.MAC = "02:00:00:00:00:02" }),
			change(func(g *resource.Guard) { g.Owned = g.Owned[:1] }),
			change(func(g *resource.Guard) { g.Reserved = nil }),
			change(func(g *resource.Guard) { g.Groups = nil }),
			change(func(g *resource.Guard) { g.Groups.Open = true }),
			change(func(g *resource.Guard) { g.Groups.Ingress = nil }),
			change(func(g *resource.Guard) { g.Groups.Egress = nil }),
			change(func(g *resource.Guard) { g.Groups.Local = nil }),
			change(func(g *resource.Guard) { g.Groups.Resolvers = nil }),
			changed(port, func(p *resource.BridgePort) { p.Guard = nil }),
		},
		Spoil: run("nft insert rule bridge " + name + " from-" + w.wire + " accept"), Vanish: run("nft delete table bridge " + name + " && ip link set " + w.wire + " nomaster"),
		Check: func(t *testing.T, st resource.State) error {
			if p, ok := st.(resource.BridgePort); ok && p.Guard == nil {
				st = nil
			}
			return has("nft list table bridge "+name, "from-"+w.wire, `"`+w.wire+`" : jump to-`+w.wire)(t, st)
		},
	}}))
}

// TestGuardsOfACrash: whoever was killed after the rules were written and before that
// was noted leaves rules that a fresh process finds, wanted or not, with their bridge
// or without.
func TestGuardsOfACrash(t *testing.T) {
	for _, c := range []struct {
		what  string
		crash func(t *testing.T, note string)
	}{
		{"the note of the rules is missing", func(t *testing.T, note string) {
			t.Helper()
			var all map[string]any
			b, err := os.ReadFile(note)
			if err == nil {
				err = json.Unmarshal(b, &all)
			}
			if err != nil || all["guards"] == nil || all["ports"] == nil {
				t.Fatalf("%s: %v", b, err)
			}
			delete(all, "guards")
			if b, err = json.Marshal(all); err == nil {
				err = host.WriteFile(note, b, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}},
		{"every note is missing", func(t *testing.T, note string) {
			t.Helper()
			if err := os.Remove(note); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(c.what, func(t *testing.T) {
			w := newWorld(t)
			name := table(t, w)
			br := resource.Link{Name: w.br, Up: true, Bridge: &resource.LinuxBridge{Deaf: true}}
			port := resource.BridgePort{Bridge: w.br, IfaceID: "acme/web-1/eth0", MAC: "02:00:00:00:00:01", Guard: everything("02:00:00:00:00:01")}
			gone := func(when string) {
				t.Helper()
				if exec.Command("nft", "list", "table", "bridge", name).Run() == nil {
					t.Errorf("%s there are rules", when)
				}
			}
			crashed := func() {
				do(t, link.New(w.h), steps(false, br, port))
				c.crash(t, filepath.Join(w.h.RunDir, "marks", "link", "host"))
			}
			crashed()
			fresh := link.New(w.h)
			if l := diff(observe(t, fresh, set(br, port)), set(br, port)); len(l) != 1 {
				t.Errorf("of what is wanted differs %v", l)
			}
			do(t, fresh, steps(false, port))
			same(t, link.New(w.h), set(br, port))

			crashed()
			fresh = link.New(w.h)
			o := observe(t, fresh, set(br))
			if _, ok := o.Set[port.ID()]; !ok {
				t.Errorf("nobody wants the rules, and nobody sees them: %v", o.Set.IDs())
			}
			do(t, fresh, steps(true, port))
			gone("after the port was dropped")
			same(t, fresh, set(br))

			crashed()
			do(t, link.New(w.h), steps(true, br)) // its ports go with it
			fresh = link.New(w.h)
			if o = observe(t, fresh, nil); o.Set[port.ID()].State != nil {
				do(t, fresh, steps(true, port))
			}
			gone("after the bridge was dropped")
			same(t, fresh, nil)
		})
	}
}

// TestPortsGoWithTheirBridge: nothing is left of them, neither rules nor a note; while
// the bridge stays, as one that another hand took, they keep their rules.
func TestPortsGoWithTheirBridge(t *testing.T) {
	w := newWorld(t)
	name := table(t, w)
	br := resource.Link{Name: w.br, Up: true, Bridge: &resource.LinuxBridge{Deaf: true}}
	guarded := resource.BridgePort{Bridge: w.br, IfaceID: "acme/web-1/eth0", MAC: "02:00:00:00:00:01", Guard: everything("02:00:00:00:00:01")}
	bare := resource.BridgePort{Bridge: w.br, IfaceID: "acme/web-2/eth0", MAC: "02:00:00:00:00:02"}
	noted := func() (out []string) {
		t.Helper()
		var all struct{ Ports map[string]any }
		b, err := os.ReadFile(filepath.Join(w.h.RunDir, "marks", "link", "host"))
		if err == nil {
			err = json.Unmarshal(b, &all)
		}
		if err != nil {
			t.Fatal(err)
		}
		return slices.Sorted(maps.Keys(all.Ports))
	}
	rules := func() bool { return exec.Command("nft", "list", "table", "bridge", name).Run() == nil }
	do(t, link.New(w.h), steps(false, br, guarded, bare))
	sh(t, "", "ip link set "+w.br+" group default") // it is weft's no more
	do(t, link.New(w.h), steps(true, br))
	if got := noted(); len(got) != 2 || !rules() {
		t.Errorf("of a bridge that stayed the ports %v are noted, rules: %v", got, rules())
	}
	sh(t, "", "ip link set "+w.br+" group "+group(w))
	do(t, link.New(w.h), steps(true, br))
	if got := noted(); len(got) > 0 || rules() {
		t.Errorf("of a bridge that went the ports %v are noted, rules: %v", got, rules())
	}
}

// opens tries a TCP connection to a listener that answers at once.
func opens(from, addr string, port int) bool {
	return exec.Command("ip", "netns", "exec", from, "nc", "-z", "-w1", addr, fmt.Sprint(port)).Run() == nil
}

// answer has a guest answer on TCP ports until the test ends.
func answer(t *testing.T, ns string, ports ...int) {
	t.Helper()
	for _, p := range ports {
		cmd := exec.Command("ip", "netns", "exec", ns, "nc", "-l", "-k", "-p", fmt.Sprint(p))
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
		until(t, fmt.Sprintf("%s listens on %d", ns, p), func() bool {
			out, _ := exec.Command("ip", "netns", "exec", ns, "ss", "-tln").Output()
			return strings.Contains(string(out), fmt.Sprintf(":%d ", p))
		})
	}
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(15 * time.Second); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not in 15 s: " + what)
		}
	}
}

// TestGuardHolds sends packets that may pass and packets that may not between three
// guests of a bridge, the first of which has security groups.
func TestGuardHolds(t *testing.T) {
	w := newWorld(t)
	table(t, w)
	d := link.New(w.h)
	macs := []string{"02:00:00:00:99:01", "02:00:00:00:99:02", "02:00:00:00:99:03"}
	addrs := []string{"198.18.9.1", "198.18.9.2", "198.18.9.3"}
	br := resource.Link{Name: w.br, Up: true, Bridge: &resource.LinuxBridge{Deaf: true}}
	want := []resource.State{br}
	var ns []string
	var ports []resource.BridgePort
	for i := range macs {
		ns = append(ns, guest(t, w.h, fmt.Sprintf("%s%d", w.tap, i), macs[i], addrs[i]+"/24"))
		p := resource.BridgePort{Bridge: w.br, IfaceID: fmt.Sprintf("acme/g%d/eth0", i), MAC: macs[i], Guard: &resource.Guard{
			MAC: macs[i], Owned: []resource.Owned{{MAC: macs[i], CIDR: pfx(addrs[i] + "/32")}},
		}}
		ports = append(ports, p)
		want = append(want, p)
	}
	ports[0].Guard.Groups = &resource.GuestGroups{
		Ingress: []resource.GuestRule{passes(6, 80, 80, "0.0.0.0/0"), passes(6, 22, 22, addrs[1]+"/32")},
		Egress:  []resource.GuestRule{passes(6, 80, 81, "0.0.0.0/0")},
	}
	do(t, d, steps(false, want...))
	same(t, d, set(want...))
	for _, n := range ns {
		answer(t, n, 22, 80, 81)
	}
	ok := func(what string, got, want bool) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %v", what, got)
		}
	}
	ok("1 to 2", reaches(ns[1], addrs[2]), true)
	for from, open := range map[int]map[int]bool{1: {22: true, 80: true, 81: false}, 2: {22: false, 80: true, 81: false}} {
		for port, want := range open {
			ok(fmt.Sprintf("%d to 0:%d", from, port), opens(ns[from], addrs[0], port), want)
		}
	}
	for port, want := range map[int]bool{22: false, 80: true, 81: true} {
		ok(fmt.Sprintf("0 to 2:%d", port), opens(ns[0], addrs[2], port), want)
	}
	ok("ping to 0", silentTo(ns[1], addrs[0]), true)
	ok("ping from 0", silentTo(ns[0], addrs[1]), true)
	sh(t, ns[1], "ip addr add 198.18.9.77/24 dev eth0")
	ok("from an address of nobody", exec.Command("ip", "netns", "exec", ns[1], "ping", "-c2", "-i0.1", "-W1", "-I", "198.18.9.77", addrs[2]).Run() == nil, false)
	sh(t, ns[1], "ip link set eth0 address 02:00:00:00:99:99")
	ok("with another MAC", silentTo(ns[1], addrs[2]), true)
	sh(t, ns[1], "ip link set eth0 address "+macs[1])
	ok("1 to 2 again", reaches(ns[1], addrs[2]), true)

	// What goes takes its rules along, and the last port the table.
	do(t, d, steps(true, ports[0]))
	out, _ := exec.Command("nft", "list", "ruleset").Output()
	ok("rules of 0", strings.Contains(string(out), "acme/g0/eth0"), false)
	do(t, d, steps(true, ports[1], ports[2]))
	out, _ = exec.Command("nft", "list", "tables").Output()
	ok("the table", strings.Contains(string(out), w.h.Instance), false)
}

// TestGuardSpeaks6: of IPv6 a guest tells its neighbours only what it has.
func TestGuardSpeaks6(t *testing.T) {
	w := newWorld(t)
	table(t, w)
	d := link.New(w.h)
	macs := []string{"02:00:00:00:96:01", "02:00:00:00:96:02"}
	br := resource.Link{Name: w.br, Up: true, Bridge: &resource.LinuxBridge{Deaf: true}}
	want := []resource.State{br}
	var ns []string
	for i := range macs {
		ns = append(ns, guest(t, w.h, fmt.Sprintf("%s%d", w.tap, i), macs[i], fmt.Sprintf("198.18.6.%d/24", i+1)))
		sh(t, ns[i], fmt.Sprintf("ip addr add fd00:6::%d/64 dev eth0 nodad", i+1))
		g := &resource.Guard{MAC: macs[i], Owned: []resource.Owned{{MAC: macs[i], CIDR: pfx(fmt.Sprintf("fd00:6::%d/128", i+1))}}}
		if i == 1 {
			g.Groups = &resource.GuestGroups{Open: true}
		}
		want = append(want, resource.BridgePort{Bridge: w.br, IfaceID: fmt.Sprintf("acme/s%d/eth0", i), MAC: macs[i], Guard: g})
	}
	do(t, d, steps(false, want...))
	same(t, d, set(want...))
	if !reaches(ns[1], "fd00:6::1") {
		t.Error("the second does not reach the first")
	}
	if !silentTo(ns[0], "fd00:6::2") {
		t.Error("the first reaches the second, whose groups let nobody")
	}
	sh(t, ns[0], "ip addr add fd00:6::7/64 dev eth0 nodad")
	if !silentTo(ns[1], "fd00:6::7") {
		t.Error("the first answers for an address of nobody")
	}
	if !silentTo(ns[1], "198.18.6.1") {
		t.Error("the first has no IPv4, and speaks it")
	}
}
