//go:build netns

package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// world is a lab under test.
type world struct {
	*testing.T
	*Client
	ctx context.Context
}

// start begins a lab of the test's own name that goes down with the test.
func start(t *testing.T, suffix string, spec Spec) *world {
	t.Helper()
	name := fmt.Sprintf("test%d%s", os.Getpid(), suffix)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	begin := time.Now()
	c, err := Start(ctx, Options{Name: name, Spec: spec})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d nodes up after %v", len(spec.Hosts)+len(spec.VMs)+1, time.Since(begin).Round(time.Millisecond))
	t.Cleanup(func() {
		c.Close()
		if log := crashes(name); log != "" {
			t.Error(log)
		}
		if t.Failed() {
			dumpLogs(t, name)
		}
		if err := Down(context.Background(), name); err != nil {
			t.Error(err)
		}
	})
	return &world{t, c, ctx}
}

// crashes returns what the processes of a lab said before they broke, as tests with -race find it.
func crashes(name string) string {
	dir, _ := stateDir(name)
	out, _ := exec.Command("grep", "-rlE", "DATA RACE|^panic:|^fatal error:", dir, "--include=*.log").Output()
	return string(out)
}

func dumpLogs(t *testing.T, name string) {
	t.Helper()
	dir, _ := stateDir(name)
	_ = filepath.Walk(dir, func(path string, at os.FileInfo, err error) error {
		if err == nil && strings.HasSuffix(path, ".log") && !strings.Contains(path, "ovs") {
			text, _ := os.ReadFile(path)
			t.Logf("--- %s\n%s", path, text)
		}
		return nil
	})
}

// try runs a command in a node.
func (w *world) try(node string, argv ...string) (string, error) {
	w.Helper()
	return w.feed("", node, argv...)
}

func (w *world) feed(stdin, node string, argv ...string) (string, error) {
	w.Helper()
	line, err := w.Command(w.ctx, node, "", argv)
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(w.ctx, line[0], line[1:]...)
	var out bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &out
	err = cmd.Run()
	return out.String(), err
}

// in is try that must succeed.
func (w *world) in(node string, argv ...string) string {
	w.Helper()
	out, err := w.try(node, argv...)
	if err != nil {
		w.Fatalf("%s: %s: %v\n%s", node, strings.Join(argv, " "), err, out)
	}
	return out
}

// reaches says whether one guest's ping is answered; it tries for some time.
func (w *world) reaches(from, to string) bool {
	for range 20 {
		if _, err := w.try(from, "ping", "-c1", "-W1", to); err == nil {
			return true
		}
	}
	return false
}

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// twoHosts is two hosts on a guest wire and a public wire, with two guests each.
func twoHosts() Spec {
	s := Spec{
		Wires:  []Wire{{Name: "zone1/cloudbr1", MTU: 1600}, {Name: "zone1/pub"}},
		Ranges: []Range{{Name: "internet", Wire: "zone1/pub", VLAN: 50, Gateways: []netip.Prefix{prefix("203.0.113.1/24")}}},
		DNS:    []netip.Addr{netip.MustParseAddr("9.9.9.9")},
		World:  DefaultWorld,
	}
	for i := 1; i <= 2; i++ {
		s.Hosts = append(s.Hosts, Host{Name: fmt.Sprintf("kvm%d", i), Bridges: []Bridge{
			{Name: "cloudbr1", Wire: "zone1/cloudbr1", Manage: Use, Uplinks: []string{"eth1"}, Address: prefix(fmt.Sprintf("192.168.50.1%d/24", i))},
			{Name: "cloudbr2", Wire: "zone1/pub", Manage: Takeover, Uplinks: []string{"eth2"}, Address: prefix(fmt.Sprintf("192.168.60.1%d/24", i))},
		}})
		for j := 1; j <= 2; j++ {
			s.VMs = append(s.VMs, VM{Name: fmt.Sprintf("acme/vm%d%d", i, j), Host: fmt.Sprintf("kvm%d", i), NICs: []NIC{
				{Name: "web", MAC: fmt.Sprintf("02:00:00:00:0%d:0%d", i, j), Addresses: []netip.Prefix{prefix(fmt.Sprintf("10.1.1.%d%d/24", i, j))}}}})
		}
	}
	return s
}

// weave does by hand what an agent would: the integration bridge, joined to the guest wire.
func (w *world) weave(hosts ...string) {
	w.Helper()
	for _, h := range hosts {
		w.in("host/"+h, "ovs-vsctl", "--timeout=10", "--may-exist", "add-br", "weft-int", "--", "set", "Bridge", "weft-int", "datapath_type=netdev",
			"--", "--may-exist", "add-port", "weft-int", "to-wire", "--", "set", "Interface", "to-wire", "type=patch", "options:peer=to-int",
			"--", "--may-exist", "add-port", "cloudbr1", "to-int", "--", "set", "Interface", "to-int", "type=patch", "options:peer=to-wire")
	}
}

func TestGuestsAcrossWire(t *testing.T) {
	w := start(t, "wire", twoHosts())
	s, err := w.Status(w.ctx)
	if err != nil {
		t.Fatal(err)
	}
	if vm, _ := s.Node("acme/vm11"); len(vm.NICs) != 1 || vm.NICs[0].Plugged || !vm.NICs[0].Ready {
		t.Errorf("before weft-int exists: %+v, want a NIC that is ready and not plugged", vm)
	}
	w.weave("kvm1", "kvm2")
	if _, err := w.Wait(w.ctx, func(s Status) bool {
		for _, n := range s.Nodes {
			for _, c := range n.NICs {
				if !c.Plugged {
					return false
				}
			}
		}
		return true
	}); err != nil {
		t.Fatal(err)
	}
	if !w.reaches("acme/vm11", "10.1.1.22") || !w.reaches("acme/vm11", "10.1.1.12") {
		t.Error("guests do not reach each other")
	}
	got := w.in("host/kvm1", "ovs-vsctl", "--bare", "--columns=external_ids", "find", "Interface", `external_ids:iface-id="acme/vm11/web"`)
	if !strings.Contains(got, "attached-mac=02:00:00:00:01:01") && !strings.Contains(got, `attached-mac="02:00:00:00:01:01"`) {
		t.Errorf("external_ids of the port: %s", got)
	}
	if !w.reaches("host/kvm1", "192.168.50.12") || !w.reaches("host/kvm1", "192.168.60.12") {
		t.Error("hosts do not reach each other on the addresses of their bridges")
	}
	// Full-size frames of a jumbo wire, not one byte more.
	w.in("host/kvm1", "ping", "-c1", "-W2", "-Mdo", "-s1572", "192.168.50.12")
	if out, err := w.try("host/kvm1", "ping", "-c1", "-W1", "-Mdo", "-s1573", "192.168.50.12"); err == nil {
		t.Errorf("a frame larger than the wire's MTU passed: %s", out)
	}
	if got := w.in("acme/vm11", "sh", "-c", "echo $(hostname) and $(cat /etc/hostname); ls /sys/class/net"); got != "vm11 and vm11\neth0\nlo\n" {
		t.Errorf("inside the guest: %q", got)
	}
	var exit *exec.ExitError
	if _, err := w.try("acme/vm11", "sh", "-c", "exit 42"); !errors.As(err, &exit) || exit.ExitCode() != 42 {
		t.Errorf("exit 42: %v", err)
	}
	if got, err := w.feed("hello\n", "host/kvm1", "cat"); err != nil || got != "hello\n" {
		t.Errorf("cat: %q, %v", got, err)
	}
	if _, err := w.try("host/kvm1", "no-such-command"); !errors.As(err, &exit) || exit.ExitCode() != 127 {
		t.Errorf("unknown command: %v", err)
	}
}

// plugged says whether the lab has plugged all ports that are its to plug.
func plugged(s Status) bool {
	for _, n := range s.Nodes {
		for _, c := range n.NICs {
			if n.State == Up && !c.Plugged {
				return false
			}
		}
	}
	return true
}

func (w *world) until(enough func(Status) bool) Status {
	w.Helper()
	s, err := w.Wait(w.ctx, enough)
	if err != nil {
		w.Fatalf("%v: %+v", err, s)
	}
	return s
}

// TestInternet gives a host a leg in the tagged public range and looks at the world from there.
func TestInternet(t *testing.T) {
	spec := twoHosts()
	spec.VMs = nil
	w := start(t, "inet", spec)
	w.in("host/kvm1", "sh", "-ec", `
		ip addr flush dev eth2
		ovs-vsctl --timeout=10 add-br pub -- set Bridge pub datapath_type=netdev -- add-port pub eth2 \
			-- add-port pub leg tag=50 -- set Interface leg type=internal
		ip addr add 203.0.113.10/24 dev leg; ip link set leg up
		ip route add default via 203.0.113.1`)
	for _, target := range []string{"8.8.8.8:80", "203.0.113.1:443", "198.51.100.5:80"} {
		got := w.in("host/kvm1", "curl", "-s", "--retry", "3", "--retry-connrefused", "-m", "5", "http://"+target+"/any")
		if got != "203.0.113.10" {
			t.Errorf("http://%s/: %q, want the client's address 203.0.113.10", target, got)
		}
	}
	if got := w.in("host/kvm1", "dig", "+short", "+tries=3", "@9.9.9.9", "example.com", "A"); got != "198.51.100.5\n" {
		t.Errorf("example.com at 9.9.9.9: %q", got)
	}
	if got := w.in("host/kvm1", "dig", "+noall", "+comments", "@9.9.9.9", "nowhere.example.com"); !strings.Contains(got, "NXDOMAIN") {
		t.Errorf("a name that is not: %s", got)
	}
	path, err := w.Path(w.ctx, "host/kvm1", "etc/hostname")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "kvm1\n" {
		t.Errorf("%s: %q, %v", path, got, err)
	}
	if got := w.in("internet", "ping", "-c1", "-W2", "203.0.113.10"); got == "" {
		t.Error("no answer")
	}
	// The tag is on the wire, and a wrong one leads nowhere.
	w.in("host/kvm1", "ovs-vsctl", "set", "Port", "leg", "tag=51")
	if out, err := w.try("host/kvm1", "curl", "-s", "-m", "1", "http://203.0.113.1/"); err == nil {
		t.Errorf("reached vlan 50 from vlan 51: %q", out)
	}
}

// TestDHCP has a guest served by a dnsmasq on the other host, over the wire and in a VLAN.
func TestDHCP(t *testing.T) {
	t.Parallel()
	spec := twoHosts()
	spec.VMs = []VM{{Name: "acme/web-1", Host: "kvm1", Hostname: "web", NICs: []NIC{
		{Name: "web", MAC: "02:00:00:00:01:01", DHCP: true, Interface: "tap-web-1"},
		{Name: "data", MAC: "02:00:00:00:01:02", DHCP: true, MTU: 9000},
	}}}
	w := start(t, "dhcp", spec)
	w.weave("kvm1", "kvm2")
	w.in("host/kvm1", "ovs-vsctl", "--timeout=10", "add-port", "weft-int", "tap-web-1", "tag=7")
	w.in("host/kvm2", "sh", "-ec", `
		ovs-vsctl --timeout=10 add-port weft-int gw tag=7 -- set Interface gw type=internal
		ip addr add 10.7.0.1/24 dev gw; ip link set gw up
		dnsmasq --no-daemon --conf-file=/dev/null --port=0 --interface=gw --bind-interfaces --dhcp-range=10.7.0.1,static \
			--dhcp-host=02:00:00:00:01:01,10.7.0.7 --dhcp-option=option:router,10.7.0.1 --dhcp-option=option:dns-server,10.7.0.1 \
			--dhcp-option=option:mtu,1450 --domain=web.test --dhcp-leasefile=/run/leases >/run/dnsmasq.log 2>&1 &
		echo $! >/run/dnsmasq.pid`)
	s := w.until(func(s Status) bool {
		n, _ := s.Node("acme/web-1")
		return n.NICs[0].Ready
	})
	n, _ := s.Node("acme/web-1")
	if got := n.NICs[0]; len(got.Addresses) != 1 || got.Addresses[0] != prefix("10.7.0.7/24") || got.MTU != 1450 {
		t.Errorf("leased NIC: %+v", got)
	}
	if n.NICs[1].Ready || s.Ready() {
		t.Errorf("the NIC without a server is ready: %+v", n.NICs[1])
	}
	if got := w.in("acme/web-1", "cat", "/etc/resolv.conf"); got != "nameserver 10.7.0.1\nsearch web.test\n" {
		t.Errorf("resolv.conf: %q", got)
	}
	if got := w.in("acme/web-1", "ip", "-br", "route", "show", "default"); !strings.Contains(got, "via 10.7.0.1 dev eth0") {
		t.Errorf("default route: %q", got)
	}
	if got := w.in("acme/web-1", "cat", "/sys/class/net/eth0/mtu", "/sys/class/net/eth1/mtu"); got != "1450\n9000\n" {
		t.Errorf("mtu of the NICs: %q", got)
	}
	if got := w.in("host/kvm2", "cat", "/run/leases"); !strings.Contains(got, "web") {
		t.Errorf("the client did not send its hostname: %s", got)
	}
	// Checksums of TCP survive two userspace switches, not only pings.
	w.in("host/kvm2", "sh", "-c", "busybox httpd -p 10.7.0.1:8080 -h /etc")
	if got := w.in("acme/web-1", "curl", "-s", "-m", "5", "http://10.7.0.1:8080/hostname"); got != "kvm2\n" {
		t.Errorf("http over the wire: %q", got)
	}
	// The server now gives another address; a guest that is told to asks.
	w.in("host/kvm2", "sh", "-ec", `kill $(cat /run/dnsmasq.pid); rm /run/leases
		dnsmasq --no-daemon --conf-file=/dev/null --port=0 --interface=gw --bind-interfaces --dhcp-authoritative \
			--dhcp-range=10.7.0.1,static --dhcp-host=02:00:00:00:01:01,10.7.0.8 --dhcp-leasefile=/run/leases >/run/dnsmasq.log 2>&1 &`)
	if err := w.Renew(w.ctx, "acme/web-1"); err != nil {
		t.Fatal(err)
	}
	w.until(func(s Status) bool {
		n, _ := s.Node("acme/web-1")
		a := n.NICs[0].Addresses
		return len(a) == 1 && a[0] == prefix("10.7.0.8/24")
	})
}

// TestManyStartFast holds the promise of a whole cloud in seconds, addresses by DHCP included.
func TestManyStartFast(t *testing.T) {
	spec := twoHosts()
	spec.VMs = nil
	var leases []string
	for i := range 8 {
		mac := fmt.Sprintf("02:00:00:00:00:%02x", i+1)
		leases = append(leases, fmt.Sprintf("--dhcp-host=%s,10.7.0.%d", mac, i+10))
		spec.VMs = append(spec.VMs, VM{Name: fmt.Sprintf("acme/vm%d", i), Host: spec.Hosts[i%2].Name, NICs: []NIC{{Name: "web", MAC: mac, DHCP: true}}})
	}
	w := start(t, "many", spec)
	begin := time.Now()
	w.weave("kvm1", "kvm2")
	w.in("host/kvm2", "sh", "-ec", `
		ovs-vsctl --timeout=10 add-port weft-int gw -- set Interface gw type=internal
		ip addr add 10.7.0.1/24 dev gw; ip link set gw up
		dnsmasq --no-daemon --conf-file=/dev/null --port=0 --interface=gw --bind-interfaces --dhcp-range=10.7.0.1,static `+strings.Join(leases, " ")+`\
			--dhcp-leasefile=/run/leases >/run/dnsmasq.log 2>&1 &`)
	w.until(Status.Ready)
	t.Logf("8 guests have addresses %v after their bridge was made", time.Since(begin).Round(time.Millisecond))
	if took := time.Since(begin); took > 20*time.Second {
		t.Errorf("that is long")
	}
}

// TestTerminal runs a command on a terminal of its user.
func TestTerminal(t *testing.T) {
	spec := twoHosts()
	spec.VMs = spec.VMs[:1]
	w := start(t, "tty", spec)
	line, err := w.Command(w.ctx, "acme/vm11", "", []string{"sh", "-c", "test -t 0 && test -t 1 && echo terminal; stty size; exit 5"})
	if err != nil {
		t.Fatal(err)
	}
	for i, word := range line {
		line[i] = "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
	}
	cmd := exec.CommandContext(w.ctx, "script", "-qec", "stty rows 33 cols 44; "+strings.Join(line, " "), "/dev/null")
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 5 || string(out) != "terminal\r\n33 44\r\n" {
		t.Errorf("%q, %v", out, err)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
