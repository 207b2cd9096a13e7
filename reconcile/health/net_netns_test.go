//go:build netns

package health

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weft.dev/reconcile/host"
	"weft.dev/reconcile/resource"
)

// A lab is a namespace as a router has it: dnsmasq on a veth whose other end is the
// host's, and a second link to somebody who is a gateway.
type lab struct {
	t             testing.TB
	n             Net
	ns, far, link string
	dnsmasq       *exec.Cmd
}

// labs counts them: the links of one that is gone may stay for a moment.
var labs atomic.Int32

func newLab(t testing.TB) *lab {
	t.Helper()
	id := fmt.Sprintf("wh%d-%d", os.Getpid()%1_000_000, labs.Add(1))
	l := &lab{t: t, n: Net{host.New("kvm1", id)}, ns: id + "-r", far: id + "-g", link: id + "x"}
	for _, ns := range []string{l.ns, l.far} {
		l.ip("netns", "add", ns)
		t.Cleanup(func() { l.ip("netns", "del", ns) })
		l.ip("-n", ns, "link", "set", "lo", "up")
	}
	l.ip("link", "add", l.link, "type", "veth", "peer", "name", "eth0", "netns", l.ns)
	l.ip("link", "set", l.link, "addrgenmode", "none") // it is a port of a switch
	l.ip("link", "set", l.link, "up")
	l.ip("-n", l.ns, "link", "set", "eth0", "up")
	l.ip("-n", l.ns, "addr", "add", "10.1.1.1/24", "dev", "eth0")
	l.ip("-n", l.ns, "addr", "add", "2001:db8:5::1/64", "dev", "eth0", "nodad")
	l.ip("-n", l.ns, "addr", "add", "fe80::1/64", "dev", "eth0", "nodad")
	l.ip("-n", l.ns, "link", "add", "eth1", "type", "veth", "peer", "name", "eth0", "netns", l.far)
	l.ip("-n", l.ns, "link", "set", "eth1", "up")
	l.ip("-n", l.far, "link", "set", "eth0", "up")
	l.ip("-n", l.far, "addr", "add", "203.0.113.1/24", "dev", "eth0")
	l.ip("-n", l.far, "addr", "add", "2001:db8::1/64", "dev", "eth0", "nodad")
	l.ip("-n", l.ns, "addr", "add", "2001:db8::2/64", "dev", "eth1", "nodad")
	return l
}

func (l *lab) ip(args ...string) {
	l.t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		l.t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// serve starts dnsmasq as a router has it.
func (l *lab) serve() {
	l.t.Helper()
	dir := l.t.TempDir()
	conf := `interface=eth*
except-interface=eth1
except-interface=lo
bind-dynamic
pid-file=
log-facility=-
no-resolv
no-hosts
user=root
domain=web.test
local=/web.test/
expand-hosts
dhcp-range=10.1.1.0,static,255.255.255.0,infinite
dhcp-authoritative
dhcp-ignore=tag:!known
leasefile-ro
no-ping
dhcp-host=02:00:4c:00:00:0b,10.1.1.11,[2001:db8:5::b],web-1.
enable-ra
ra-param=eth0,mtu:1500,15,1800
dhcp-range=2001:db8:5::,static,64,10m
dhcp-duid=0,020000000001
`
	for name, text := range map[string]string{"conf": conf, "hosts": "10.1.1.11 web-1\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			l.t.Fatal(err)
		}
	}
	l.dnsmasq = exec.Command("dnsmasq", "--no-daemon", "--conf-file="+dir+"/conf", "--addn-hosts="+dir+"/hosts")
	if err := l.n.Host.In(l.ns, l.dnsmasq.Start); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { _ = l.dnsmasq.Process.Kill(); _ = l.dnsmasq.Wait() })
}

// ask asks once, with little patience.
func (l *lab) ask(p resource.Probe) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	return l.n.Ask(ctx, l.ns, p)
}

// stopped: while dnsmasq stands still nobody gets an answer.
func (l *lab) stopped(probes ...resource.Probe) {
	l.t.Helper()
	if err := l.dnsmasq.Process.Signal(unix.SIGSTOP); err != nil {
		l.t.Fatal(err)
	}
	for _, p := range probes {
		if words, err := l.ask(p); err == nil {
			l.t.Errorf("%s: who is stopped says %q", p.Kind, words)
		}
	}
	if err := l.dnsmasq.Process.Signal(unix.SIGCONT); err != nil {
		l.t.Fatal(err)
	}
}

// until asks until the answer is words.
func (l *lab) until(p resource.Probe, words string) {
	l.t.Helper()
	var got string
	var err error
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); {
		if got, err = l.ask(p); err == nil && got == words {
			return
		}
	}
	l.t.Fatalf("%s of %s: %q, %v; want %q", p.Kind, p.At, got, err, words)
}

var (
	dnsProbe  = resource.Probe{Kind: resource.ProbeDNS, At: "10.1.1.1:53", Ask: "web-1.web.test", Want: "10.1.1.11"}
	dhcpProbe = resource.Probe{Kind: resource.ProbeDHCP, At: "10.1.1.1", Ask: "02:00:4c:00:00:0b", Want: "10.1.1.11"}
)

// A real dnsmasq answers; the same one stopped does not, though it is there. No guest
// hears anything of a check.
func TestDnsmasq(t *testing.T) {
	l := newLab(t)
	dhcp := dhcpProbe
	dhcp.Link = l.link
	if _, err := l.ask(dnsProbe); err == nil {
		t.Fatal("nobody is there, and answers")
	}
	heard, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK, int(network16(unix.ETH_P_IP)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(heard) }()
	at, err := net.InterfaceByName(l.link)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(heard, &unix.SockaddrLinklayer{Protocol: network16(unix.ETH_P_IP), Ifindex: at.Index}); err != nil {
		t.Fatal(err)
	}
	l.serve()
	l.until(dnsProbe, "answers 10.1.1.11")
	l.until(dhcp, "offers 10.1.1.11")
	wrong := dhcp
	wrong.Want = "10.1.1.12"
	if _, err := l.ask(wrong); err == nil || !strings.Contains(err.Error(), "instead of") {
		t.Errorf("another address than was wanted: %v", err)
	}
	stranger := dhcp
	stranger.Ask = "02:00:4c:00:00:ff"
	if words, err := l.ask(stranger); err == nil {
		t.Errorf("a stranger is told %q", words)
	}
	name := dnsProbe
	name.Ask, name.Want = "nobody.web.test", ""
	l.until(name, "answers")

	l.stopped(dnsProbe, dhcp)
	l.until(dnsProbe, "answers 10.1.1.11")

	buf := make([]byte, 2048)
	for {
		k, from, err := unix.Recvfrom(heard, buf, 0)
		if err != nil {
			break
		}
		// What we sent ourselves is told too, as going out.
		if ll, ok := from.(*unix.SockaddrLinklayer); ok && ll.Pkttype != unix.PACKET_OUTGOING {
			t.Errorf("a guest hears % x", buf[:k])
		}
	}
}

// A guest that declines its address is no reason to think ill of the server.
func TestDeclined(t *testing.T) {
	l := newLab(t)
	dhcp := dhcpProbe
	dhcp.Link = l.link
	l.serve()
	l.until(dhcp, "offers 10.1.1.11")
	mac, err := net.ParseMAC(dhcp.Ask)
	if err != nil {
		t.Fatal(err)
	}
	const decline, own, server = 4, 50, 54
	no := asked(decline, 1, mac, netip.Addr{}, netip.Addr{})
	options := no[len(no)-300+bootpLen:]
	copy(options[3:], []byte{own, 4, 10, 1, 1, 11, server, 4, 10, 1, 1, 1, 255})
	if err := send(l.link, no); err != nil {
		t.Fatal(err)
	}
	l.until(dhcp, "answers, and the guest declined 10.1.1.11")
}

func TestOthers(t *testing.T) {
	l := newLab(t)
	l.until(resource.Probe{Kind: resource.ProbePing, At: "2001:db8::1", Link: "eth1", Outside: true}, "answers")
	gateway := resource.Probe{Kind: resource.ProbePing, At: "203.0.113.1", Link: "eth1", Outside: true}
	if words, err := l.ask(gateway); !errors.Is(err, ErrAbsent) {
		t.Errorf("the backup of a pair asks for the gateway: %q, %v", words, err)
	}
	if out, err := exec.Command("ip", "-n", l.ns, "addr", "add", "203.0.113.2/24", "dev", "eth1").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if words, err := l.ask(gateway); err != nil || !strings.HasPrefix(words, "is at ") {
		t.Errorf("the gateway: %q, %v", words, err)
	}
	gateway.At = "203.0.113.9"
	if words, err := l.ask(gateway); err == nil {
		t.Errorf("nobody %q", words)
	}
	var web, sock net.Listener
	err := l.n.Host.In(l.ns, func() (err error) {
		if web, err = net.Listen("tcp", "10.1.1.1:80"); err == nil {
			sock, err = net.Listen("unix", "@weft-test")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = web.Close(), sock.Close() }()
	var code atomic.Int32
	code.Store(http.StatusNotFound)
	go func() {
		_ = http.Serve(web, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(int(code.Load())) }))
	}()
	go func() {
		for {
			c, err := sock.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, "Connected\n")
			_ = c.Close()
		}
	}()
	l.until(resource.Probe{Kind: resource.ProbeHTTP, At: "10.1.1.1:80", Path: "/latest/ HTTP/1.1\r\nX: y"}, "answers with status 404")
	code.Store(http.StatusBadGateway)
	if _, err := l.ask(resource.Probe{Kind: resource.ProbeHTTP, At: "10.1.1.1:80", Path: "/"}); err == nil {
		t.Error("status 502 is well")
	}
	l.until(resource.Probe{Kind: resource.ProbeTCP, At: "10.1.1.1:80"}, "connected")
	l.until(resource.Probe{Kind: resource.ProbeUnix, Path: "@weft-test", Ask: "x\n", Want: "Connect"}, "Connected")
	if _, err := l.ask(resource.Probe{Kind: resource.ProbeUnix, Path: "@weft-test", Want: "Disconn"}); err == nil || err.Error() != "Connected" {
		t.Errorf("another answer than was wanted: %v", err)
	}
	if _, err := l.ask(resource.Probe{Kind: resource.ProbeTCP, At: "10.1.1.1:81"}); err == nil || errors.Is(err, ErrAbsent) {
		t.Errorf("a closed port: %v", err)
	}
	if _, err := l.ask(resource.Probe{Kind: resource.ProbeTCP, At: "10.9.9.9:80"}); !errors.Is(err, ErrAbsent) {
		t.Errorf("an address that is not here: %v", err)
	}
	away := resource.Probe{Kind: resource.ProbeDNS, At: "198.51.100.1:53", Ask: ".", Outside: true}
	if _, err := l.ask(away); !errors.Is(err, ErrAbsent) {
		t.Errorf("somebody outside, without a way out: %v", err)
	}
	if _, err := l.n.Ask(context.Background(), l.ns+"x", gateway); !errors.Is(err, ErrAbsent) {
		t.Errorf("a namespace that is not there: %v", err)
	}
}

// One round of a router: what 200 of them every 30 s cost is 200/30 times this.
func BenchmarkRound(b *testing.B) {
	l := newLab(b)
	l.serve()
	dhcp := dhcpProbe
	dhcp.Link = l.link
	l.until(dnsProbe, "answers 10.1.1.11")
	gateway := resource.Probe{Kind: resource.ProbePing, At: "203.0.113.1", Link: "eth1", Outside: true}
	for b.Loop() {
		for _, p := range []resource.Probe{dnsProbe, dhcp, gateway} {
			if _, err := l.ask(p); err != nil {
				b.Fatal(err)
			}
		}
	}
}
