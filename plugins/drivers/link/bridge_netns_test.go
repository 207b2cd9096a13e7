//go:build netns

package link_test

import (
	"fmt"
	"hash/fnv"
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	"weft.dev/plugins/drivers/link"
	"weft.dev/reconcile/driver"
	"weft.dev/reconcile/driver/drivertest"
	"weft.dev/reconcile/host"
	"weft.dev/reconcile/resource"
)

// world names what the tests of bridges stand on.
type world struct {
	h *host.Host
	// br and label are bridges, label by another hand; wire and tap are links of
	// another hand.
	br, label, wire, tap string
}

func newWorld(t *testing.T) *world {
	h := newHost(t)
	n := func(k string) string { return resource.Short(15, h.Instance, k) }
	return &world{h, n("br"), n("lb"), n("wi"), n("ta")}
}

// veth makes a pair by another hand, until the test ends.
func veth(t *testing.T, name, args string) {
	t.Helper()
	sh(t, "", "ip link add "+name+" "+args+" type veth peer name "+name+"x && ip link set "+name+" up && ip link set "+name+"x up")
	t.Cleanup(func() { _ = exec.Command("ip", "link", "del", name).Run() })
}

// run is a command line of another hand.
func run(line string) func(*testing.T) { return func(t *testing.T) { t.Helper(); sh(t, "", line) } }

// has checks that a command prints all words while the state is there, and not the
// first when it is not.
func has(line string, words ...string) func(*testing.T, resource.State) error {
	return func(_ *testing.T, st resource.State) error {
		out, _ := exec.Command("sh", "-c", line).CombinedOutput()
		for i, w := range words {
			if found := strings.Contains(string(out), w); found != (st != nil) && (st != nil || i == 0) {
				return fmt.Errorf("%q in %q: %v", w, out, found)
			}
		}
		return nil
	}
}

func (w *world) fixture(samples []drivertest.Sample, foreign ...drivertest.Foreign) drivertest.Fixture {
	return drivertest.Fixture{
		New: func(t *testing.T) driver.Driver {
			fresh := host.New("kvm1", w.h.Instance)
			fresh.RunDir, fresh.StateDir = w.h.RunDir, w.h.StateDir
			t.Cleanup(fresh.Close)
			return link.New(fresh)
		},
		Samples: samples, Foreign: foreign,
	}
}

func changed[T any](v T, f func(*T)) T { f(&v); return v }

// bridgeOf, vlanOf and vxlanOf change a copy of what makes a link special.
func bridgeOf(l resource.Link, f func(*resource.LinuxBridge)) resource.State {
	b := *l.Bridge
	f(&b)
	l.Bridge = &b
	return l
}

func vxlanOf(l resource.Link, f func(*resource.VXLAN)) resource.State {
	v := *l.VXLAN
	f(&v)
	l.VXLAN = &v
	return l
}

func TestSuiteOfBridges(t *testing.T) {
	w := newWorld(t)
	veth(t, w.wire, "")
	br := resource.Link{Name: w.br, MAC: "02:00:00:00:00:0a", MTU: 1450, Up: true, Bridge: &resource.LinuxBridge{Deaf: true}}
	free := resource.Link{Name: w.br, Up: true, Bridge: &resource.LinuxBridge{Adopt: true}}
	addr := resource.Addr{Link: w.br, Prefix: pfx("198.18.1.1/24")}
	second := resource.Link{Name: w.br + "2", Up: true, Bridge: &resource.LinuxBridge{}}
	port := resource.BridgePort{Bridge: w.br, Name: w.wire, Isolated: true}
	foreign := drivertest.Foreign{
		Name: "link", InTheWay: br, Forbidden: true,
		Make: func(t *testing.T) {
			sh(t, "", "ip link add "+w.br+" type bridge")
			t.Cleanup(func() { sh(t, "", "ip link del "+w.br) })
		},
		Intact: func(*testing.T) error { return exec.Command("ip", "link", "show", w.br, "type", "bridge").Run() },
	}
	samples := []drivertest.Sample{
		{
			State: br,
			Changed: []resource.State{
				changed(br, func(l *resource.Link) { l.MAC = "02:00:00:00:00:0b" }),
				changed(br, func(l *resource.Link) { l.MTU = 1400 }),
				changed(br, func(l *resource.Link) { l.Up = false }),
				bridgeOf(br, func(b *resource.LinuxBridge) { b.Snooping = true }),
				bridgeOf(br, func(b *resource.LinuxBridge) { b.Deaf = false }),
				resource.Link{Name: w.br, Up: true, VXLAN: &resource.VXLAN{VNI: 77, Local: netip.MustParseAddr("198.18.1.1"), DstPort: 4790}},
			},
			Spoil: run("ip link set " + w.br + " type bridge stp_state 1"), Vanish: run("ip link del " + w.br),
			Check: has("ip -d link show "+w.br, w.br+":", w.h.Instance+"/network/acme/web"),
		},
		{Name: "address of a bridge", Under: []resource.State{free}, State: addr, Vanish: run("ip addr del 198.18.1.1/24 dev " + w.br), Check: has("ip addr show "+w.br, "198.18.1.1/24")},
		{
			Under: []resource.State{br, second}, State: port,
			Changed: []resource.State{
				changed(port, func(p *resource.BridgePort) { p.Bridge = second.Name }),
				changed(port, func(p *resource.BridgePort) { p.Isolated = false }),
				changed(port, func(p *resource.BridgePort) { p.Static = true }),
				changed(port, func(p *resource.BridgePort) { p.NeighSuppress = true }),
				changed(port, func(p *resource.BridgePort) { p.IfaceID, p.MAC = "acme/web/eth0", "02:00:00:00:00:01" }),
				changed(port, func(p *resource.BridgePort) { p.Uplink = true }),
			},
			Spoil: run("bridge link set dev " + w.wire + " hairpin on"), Vanish: run("ip link set " + w.wire + " nomaster"),
			Check: has("ip -d link show "+w.wire, "bridge_slave"),
		},
	}
	drivertest.Run(t, w.fixture(samples, foreign))
}

func TestSuiteOfVXLAN(t *testing.T) {
	w := newWorld(t)
	veth(t, w.wire, "")
	a := netip.MustParseAddr
	mesh := resource.Link{Name: w.br, MAC: "02:00:00:00:00:0a", MTU: 1450, Up: true, VXLAN: &resource.VXLAN{
		VNI: 7001, Local: a("198.18.1.1"), DstPort: 4790, TTL: 10,
		Remotes: []netip.Addr{a("198.18.1.2"), a("198.18.1.3")}, Peers: []resource.Peer{{MAC: "02:00:00:00:00:01", Remote: a("198.18.1.2")}},
	}}
	lower := resource.Link{Name: w.wire, Up: true}
	group := resource.Link{Name: w.br, Up: true, VXLAN: &resource.VXLAN{VNI: 7001, Local: a("198.18.1.1"), DstPort: 4790, TTL: 10, Learning: true, Group: a("239.0.27.89"), Dev: w.wire}}
	six := resource.Link{Name: w.br, Up: true, VXLAN: &resource.VXLAN{VNI: 7001, Local: a("fd00::1"), DstPort: 4790, Remotes: []netip.Addr{a("fd00::2")}}}
	drivertest.Run(t, w.fixture([]drivertest.Sample{
		{
			State: mesh,
			Changed: []resource.State{
				vxlanOf(mesh, func(v *resource.VXLAN) { v.VNI = 7002 }),
				vxlanOf(mesh, func(v *resource.VXLAN) { v.Local = a("198.18.1.9") }),
				vxlanOf(mesh, func(v *resource.VXLAN) { v.DstPort = 4791 }),
				vxlanOf(mesh, func(v *resource.VXLAN) { v.TTL = 0 }),
				vxlanOf(mesh, func(v *resource.VXLAN) { v.Learning = true }),
				vxlanOf(mesh, func(v *resource.VXLAN) { v.Remotes = []netip.Addr{a("198.18.1.3"), a("198.18.1.4")} }),
				vxlanOf(mesh, func(v *resource.VXLAN) { v.Remotes = nil }),
				vxlanOf(mesh, func(v *resource.VXLAN) {
					v.Peers = []resource.Peer{{MAC: "02:00:00:00:00:01", Remote: a("198.18.1.3")}}
				}),
				vxlanOf(mesh, func(v *resource.VXLAN) { v.Peers = nil }),
				changed(mesh, func(l *resource.Link) { l.MTU = 1400 }),
				six,
			},
			Spoil: run("bridge fdb del 00:00:00:00:00:00 dev " + w.br + " dst 198.18.1.3"), Vanish: run("ip link del " + w.br),
			Check: has("ip -d link show "+w.br, "vxlan id"),
		},
		{
			Name: "multicast", Under: []resource.State{lower}, State: group,
			Changed: []resource.State{
				vxlanOf(group, func(v *resource.VXLAN) { v.Group = a("239.0.27.90") }),
				mesh,
			},
			Spoil: run("bridge fdb append 00:00:00:00:00:00 dev " + w.br + " dst 198.18.1.3"), Vanish: run("ip link del " + w.br),
			Check: has("ip -d link show "+w.br, "vxlan id"),
		},
	}))
}

// TestVLANIsSilent: the host does not answer on a VLAN that is not plugged in yet.
func TestVLANIsSilent(t *testing.T) {
	w := newWorld(t)
	veth(t, w.wire, "")
	vlan := resource.Link{Name: w.br, Up: true, VLAN: &resource.VLAN{Dev: w.wire, ID: 100}}
	t.Cleanup(func() { _ = exec.Command("ip", "link", "del", w.br).Run() })
	do(t, link.New(w.h), steps(false, resource.Link{Name: w.wire, Up: true}, vlan))
	for path, want := range map[string]string{"ipv4/conf/" + w.br + "/arp_ignore": "8", "ipv6/conf/" + w.br + "/disable_ipv6": "1"} {
		if got := strings.TrimSpace(sh(t, "", "cat /proc/sys/net/"+path)); got != want {
			t.Errorf("%s is %s, want %s", path, got, want)
		}
	}
}

func TestSuiteOfVLANs(t *testing.T) {
	w := newWorld(t)
	veth(t, w.wire, "")
	other := resource.Short(15, w.h.Instance, "w2")
	veth(t, other, "")
	lower, lower2 := resource.Link{Name: w.wire, Up: true}, resource.Link{Name: other, Up: true}
	vlan := resource.Link{Name: w.br, MTU: 1450, Up: true, MAC: "02:00:00:00:00:0a", VLAN: &resource.VLAN{Dev: w.wire, ID: 100}}
	to := func(dev string, id int) resource.State {
		l := vlan
		l.VLAN = &resource.VLAN{Dev: dev, ID: id}
		return l
	}
	drivertest.Run(t, w.fixture([]drivertest.Sample{{
		Under: []resource.State{lower, lower2}, State: vlan,
		Changed: []resource.State{
			to(w.wire, 101), to(other, 100),
			changed(vlan, func(l *resource.Link) { l.MTU = 1400 }),
			changed(vlan, func(l *resource.Link) { l.MAC = "02:00:00:00:00:0b" }),
			changed(vlan, func(l *resource.Link) { l.Up = false }),
		},
		Spoil: run("tc qdisc del dev " + w.wire + " clsact || ip link set " + w.br + " mtu 1300"), Vanish: run("ip link del " + w.br),
		Check: has("ip link show "+w.br, "mtu"),
	}}))
	if out := sh(t, "", "tc qdisc show dev "+w.wire); strings.Contains(out, "clsact") {
		t.Errorf("a place for filters is left on the device below: %s", out)
	}
}

func TestSuiteOfLimits(t *testing.T) {
	w := newWorld(t)
	veth(t, w.wire, "")
	ns := w.h.Instance + "-q"
	base := resource.NS{Name: ns, Owner: drivertest.Owner}
	eth := resource.Link{NS: ns, Name: "eth0", Host: w.br, Up: true, TxOff: true}
	inside := resource.Qdisc{NS: ns, Link: "eth0", Mbit: 10}
	lower := resource.Link{Name: w.wire, Up: true}
	outside := resource.Qdisc{Link: w.wire, Mbit: 10}
	ingress := outside
	ingress.Ingress = true
	more := func(q resource.Qdisc) resource.State { q.Mbit = 10000; return q }
	drivertest.Run(t, w.fixture([]drivertest.Sample{
		{
			Under: []resource.State{base, eth}, State: inside, Changed: []resource.State{more(inside)},
			Spoil: run("tc -n " + ns + " qdisc replace dev eth0 root handle 1: pfifo limit 9"), Vanish: run("tc -n " + ns + " qdisc del dev eth0 root"),
			Check: has("tc -n "+ns+" qdisc show dev eth0", "tbf"),
		},
		{
			Under: []resource.State{lower}, State: outside, Changed: []resource.State{more(outside), changed(outside, func(q *resource.Qdisc) { q.IfaceID, q.MAC = "a/b/c", "02:00:00:00:00:01" })},
			Spoil: run("tc qdisc change dev " + w.wire + " root tbf rate 20mbit burst 64k limit 100k"), Vanish: run("tc qdisc del dev " + w.wire + " root"),
			Check: has("tc qdisc show dev "+w.wire, "tbf"),
		},
		{
			Under: []resource.State{lower}, State: ingress, Changed: []resource.State{more(ingress)},
			Spoil:  run("tc qdisc del dev $(ip -o link show group " + group(w) + " | cut -d' ' -f2 | tr -d :) root"),
			Vanish: run("tc filter del dev " + w.wire + " ingress"),
			Check:  has("tc filter show dev "+w.wire+" ingress", "mirred"),
		},
	}, drivertest.Foreign{
		Name: "discipline", InTheWay: resource.Qdisc{Link: w.wire + "x", Mbit: 5}, Forbidden: true,
		Make: func(t *testing.T) {
			sh(t, "", "tc qdisc add dev "+w.wire+"x root handle 1: tbf rate 9mbit burst 64k limit 100k")
			t.Cleanup(func() { sh(t, "", "tc qdisc del dev "+w.wire+"x root") })
		},
		Intact: func(*testing.T) error {
			return exec.Command("sh", "-c", "tc qdisc show dev "+w.wire+"x | grep -q 9Mbit").Run()
		},
	}))
}

// group is that of the links that weft makes for w.
func group(w *world) string {
	sum := fnv.New32a()
	_, _ = sum.Write([]byte(w.h.Instance))
	return fmt.Sprint(0x57460000 | sum.Sum32()&0xffff)
}

// TestPlaceOfAnotherHandStays: the place for filters goes with weft's last filter if
// weft made it, and stays where it was there before, or has a filter of another hand.
func TestPlaceOfAnotherHandStays(t *testing.T) {
	w := newWorld(t)
	for i, c := range []struct {
		what, before, meanwhile string
		stays                   bool
	}{
		{"weft's", "true", "true", false},
		{"another hand's", "tc qdisc add dev %s clsact", "true", true},
		{"one with a filter of another hand", "true", "tc filter add dev %s egress protocol all prio 1 bpf bytecode '1,6 0 0 4294967295,'", true},
	} {
		name := fmt.Sprintf("%s%d", w.wire, i)
		hand := func(line string) { sh(t, "", strings.ReplaceAll(line, "%s", name)) }
		veth(t, name, "")
		hand(c.before)
		limit := resource.Qdisc{Link: name, Mbit: 10, Ingress: true}
		do(t, link.New(w.h), steps(false, limit))
		same(t, link.New(w.h), set(limit))
		hand(c.meanwhile)
		do(t, link.New(w.h), steps(true, limit))
		if out := sh(t, "", "tc qdisc show dev "+name); strings.Contains(out, "clsact") != c.stays {
			t.Errorf("%s: there is now %s", c.what, out)
		}
	}
}
