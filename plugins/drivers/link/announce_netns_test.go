//go:build netns

package link_test

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weft.dev/plugins/drivers/link"
	"weft.dev/reconcile/resource"
)

// listen opens a packet socket on a link of the host's namespace that hears ARP and
// neighbour discovery.
func listen(t *testing.T, name string) int {
	t.Helper()
	all := uint16(unix.ETH_P_ALL)<<8 | uint16(unix.ETH_P_ALL)>>8
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(all))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	index := strings.Fields(sh(t, "", "cat /sys/class/net/"+name+"/ifindex"))[0]
	to := &unix.SockaddrLinklayer{Protocol: all}
	if _, err := fmt.Sscan(index, &to.Ifindex); err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(fd, to); err != nil {
		t.Fatal(err)
	}
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 1}); err != nil {
		t.Fatal(err)
	}
	return fd
}

// hears reads frames until one starts as want says, in hexadecimal, ends with end,
// and returns false after the time given.
func hears(fd int, start, end string, limit time.Duration) bool {
	buf := make([]byte, 2048)
	for until := time.Now().Add(limit); time.Now().Before(until); {
		n, _, err := unix.Recvfrom(fd, buf, 0)
		if err != nil {
			continue
		}
		if f := hex.EncodeToString(buf[:n]); strings.HasPrefix(f, start) && strings.HasSuffix(f, end) {
			return true
		}
	}
	return false
}

const (
	request = "ffffffffffff" + "020000000001" + "08060001080006040001"
	reply   = "ffffffffffff" + "020000000001" + "08060001080006040002"
)

// Neighbours learn of an address that a link which is up gets, of one that a new
// link has, of another MAC, and once more when the port of the link was late.
func TestNeighboursAreTold(t *testing.T) {
	h := newHost(t)
	d := link.New(h)
	ns, outer := h.Instance+"-r1", resource.Short(15, h.Instance, "g1")
	l := resource.Link{NS: ns, Name: "eth0", Host: outer, MAC: "02:00:00:00:00:01", Up: true}
	addr := func(s string) resource.Addr {
		return resource.Addr{NS: ns, Link: "eth0", Prefix: netip.MustParsePrefix(s)}
	}
	first, second, six := addr("10.1.1.1/24"), addr("10.1.1.2/24"), addr("2001:db8::1/64")
	do(t, d, steps(false, resource.NS{Name: ns, Owner: owner}, l, first))
	fd := listen(t, outer)
	// Nobody listened when it was new: what is heard is an encore.
	if !hears(fd, request, "0a010101", 5*time.Second) {
		t.Error("the address of a new link is not announced again")
	}
	do(t, d, steps(false, second, six))
	if !hears(fd, request, "0a010102", 900*time.Millisecond) || !hears(fd, reply, "0a010102", 900*time.Millisecond) {
		t.Error("an address that a link got is not announced")
	}
	d.Settle(t.Context())
	if !hears(fd, request, "0a010102", 800*time.Millisecond) { // the next encore is after a second
		t.Error("what was announced is not announced once more when all is done")
	}
	d.Settle(t.Context())
	do(t, d, steps(false, addr("2001:db8::2/64")))
	const advertisement = "333300000001" + "020000000001" + "86dd" + "60000000" + "00203aff" + "20010db8000000000000000000000002"
	if !hears(fd, advertisement, "0201020000000001", 900*time.Millisecond) {
		t.Error("an IPv6 address that a link got is not announced")
	}
	l.MAC = "02:00:00:00:00:07"
	do(t, d, steps(false, l))
	if !hears(fd, strings.ReplaceAll(request, "020000000001", "020000000007"), "0a010102", 900*time.Millisecond) {
		t.Error("another MAC is not announced")
	}
}

// What was there is not announced when it is made once more, nor what is gone.
func TestNeighboursAreLeftAlone(t *testing.T) {
	h := newHost(t)
	ns, outer := h.Instance+"-r1", resource.Short(15, h.Instance, "g1")
	l := resource.Link{NS: ns, Name: "eth0", Host: outer, MAC: "02:00:00:00:00:01", Up: true}
	states := []resource.State{resource.NS{Name: ns, Owner: owner}, l, resource.Addr{NS: ns, Link: "eth0", Prefix: netip.MustParsePrefix("10.1.1.1/24")}}
	sh(t, "", "ip netns add "+ns+"; ip -n "+ns+" link set lo up alias weft/"+h.Instance+"/"+string(owner))
	sh(t, "", "ip link add "+outer+" alias weft/"+h.Instance+"/"+string(owner)+" type veth peer name eth0 address 02:00:00:00:00:01 netns "+ns)
	sh(t, "", "ip link set "+outer+" up; ip -n "+ns+" link set eth0 up; ip -n "+ns+" addr add 10.1.1.1/24 dev eth0")
	fd := listen(t, outer)
	d := link.New(h)
	do(t, d, steps(false, states...))
	if hears(fd, request, "0a010101", 1900*time.Millisecond) {
		t.Error("an address that was there is announced")
	}
	gone := resource.Addr{NS: ns, Link: "eth0", Prefix: netip.MustParsePrefix("10.1.1.9/24")}
	do(t, d, steps(false, gone))
	if !hears(fd, reply, "0a010109", 900*time.Millisecond) {
		t.Fatal("an address that a link got is not announced")
	}
	do(t, d, steps(true, gone))
	if hears(fd, request, "0a010109", 1900*time.Millisecond) {
		t.Error("an address that is gone is announced")
	}
}

// A neighbour that believes the address to be elsewhere, and was told so just now,
// sends to the router at once.
func TestNeighbourBelieves(t *testing.T) {
	h := newHost(t)
	d := link.New(h)
	ns, peer := h.Instance+"-r1", h.Instance+"-peer"
	outer, bridge, port := resource.Short(15, h.Instance, "g1"), resource.Short(15, h.Instance, "b"), resource.Short(15, h.Instance, "p")
	addr := func(s string) resource.Addr {
		return resource.Addr{NS: ns, Link: "eth0", Prefix: netip.MustParsePrefix(s)}
	}
	do(t, d, steps(false, resource.NS{Name: ns, Owner: owner},
		resource.Link{NS: ns, Name: "eth0", Host: outer, MAC: "02:00:00:00:00:01", Up: true}, addr("10.1.1.1/24")))
	sh(t, "", "ip netns add "+peer+"; ip link add "+port+" type veth peer name eth0 netns "+peer)
	t.Cleanup(func() { sh(t, "", "ip link del "+bridge+"; ip link del "+port) })
	sh(t, "", "ip link add "+bridge+" type bridge; for l in "+outer+" "+port+"; do ip link set $l master "+bridge+" up; done; ip link set "+bridge+" up")
	// The bridge takes a while to forward.
	sh(t, peer, "ip link set eth0 up; ip addr add 10.1.1.50/24 dev eth0; ping -q -c 1 -w 10 10.1.1.1; ip neigh replace 10.1.1.2 lladdr 02:de:ad:00:00:01 dev eth0 nud reachable")
	do(t, d, steps(false, addr("10.1.1.2/24")))
	now := ""
	for limit := time.Now().Add(900 * time.Millisecond); time.Now().Before(limit); {
		if now = sh(t, peer, "ip neigh show 10.1.1.2"); strings.Contains(now, "02:00:00:00:00:01") {
			return
		}
	}
	t.Errorf("the neighbour goes on sending to %s", now)
}
