//go:build netns

package health

import (
	"net"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"weft.dev/reconcile/resource"
)

// A real dnsmasq answers over IPv6; the same one stopped does not. No guest hears a word
// of DHCPv6, nor an advertisement that is for nobody else.
func TestDnsmasq6(t *testing.T) {
	l := newLab(t)
	ra := resource.Probe{Kind: resource.ProbeRA, At: "2001:db8:5::1", Want: "2001:db8:5::/64", Link: l.link}
	dhcp := resource.Probe{Kind: resource.ProbeDHCP6, At: "2001:db8:5::1", Ask: "02:00:4c:00:00:0b", Want: "2001:db8:5::b", Link: l.link}
	heard, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK, int(network16(unix.ETH_P_IPV6)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(heard) }()
	at, err := net.InterfaceByName(l.link)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(heard, &unix.SockaddrLinklayer{Protocol: network16(unix.ETH_P_IPV6), Ifindex: at.Index}); err != nil {
		t.Fatal(err)
	}
	l.serve()
	l.until(ra, "advertises 2001:db8:5::/64")
	l.until(dhcp, "offers 2001:db8:5::b")
	for _, wrong := range []resource.Probe{
		{Kind: resource.ProbeRA, At: ra.At, Want: "2001:db8:6::/64", Link: l.link},
		{Kind: resource.ProbeDHCP6, At: dhcp.At, Ask: dhcp.Ask, Want: "2001:db8:5::c", Link: l.link},
		{Kind: resource.ProbeDHCP6, At: dhcp.At, Ask: "02:00:4c:00:00:ff", Want: "2001:db8:5::b", Link: l.link},
	} {
		if words, err := l.ask(wrong); err == nil {
			t.Errorf("%+v: %q", wrong, words)
		}
	}
	away := ra
	away.At = "2001:db8:7::1"
	if words, err := l.ask(away); err == nil || !strings.Contains(err.Error(), ErrAbsent.Error()) {
		t.Errorf("at an address that is not here: %q, %v", words, err)
	}
	l.stopped(ra, dhcp)
	l.until(ra, "advertises 2001:db8:5::/64")

	buf := make([]byte, 2048)
	for {
		k, from, err := unix.Recvfrom(heard, buf, 0)
		if err != nil {
			break
		}
		ll, ok := from.(*unix.SockaddrLinklayer)
		if !ok || ll.Pkttype == unix.PACKET_OUTGOING || k < 58 {
			continue // what we sent ourselves is told too
		}
		udp, group := buf[20] == unix.IPPROTO_UDP, buf[38] == 0xff
		if udp || buf[20] == unix.IPPROTO_ICMPV6 && buf[54] == advertisement && !group {
			t.Errorf("a guest hears % x", buf[:k])
		}
	}
}

// A guest that leased its address, known by what only it says of itself, is none that
// dnsmasq has nothing for.
func TestLeased6(t *testing.T) {
	l := newLab(t)
	const mac = "02:00:4c:00:00:0b"
	dhcp := resource.Probe{Kind: resource.ProbeDHCP6, At: "2001:db8:5::1", Ask: mac, Want: "2001:db8:5::b", Link: l.link}
	l.serve()
	l.until(dhcp, "offers 2001:db8:5::b")
	l.ip("link", "set", l.link, "address", mac)
	l.ip("addr", "add", "fe80::b/64", "dev", l.link, "nodad")
	dir := t.TempDir()
	guest := exec.Command("dhclient", "-6", "-d", "-q", "-D", "LLT", "-sf", "/bin/true", "-lf", dir+"/leases", "-pf", dir+"/pid", "-cf", "/dev/null", l.link)
	if err := guest.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = guest.Process.Kill(); _ = guest.Wait() }()
	l.until(dhcp, "answers, the guest has its address")
	if err := l.dnsmasq.Process.Signal(unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if words, err := l.ask(dhcp); err == nil {
		t.Errorf("who is stopped says %q", words)
	}
}
