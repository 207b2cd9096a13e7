//go:build netns

package link_test

import (
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"weft.dev/plugins/drivers/link"
	"weft.dev/reconcile/resource"
)

// inside runs f on a thread that is in a network namespace, and goes with it.
func inside(t *testing.T, ns string, f func() error) {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // for good
		n, err := os.Open("/run/netns/" + ns)
		if err == nil {
			err = errors.Join(unix.Setns(int(n.Fd()), unix.CLONE_NEWNET), n.Close())
		}
		if err == nil {
			err = f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// vrrps sends packets of VRRP from one guest and reports which of the addresses of
// another heard of it.
func vrrps(t *testing.T, from, to string, addrs ...string) (heard []string) {
	t.Helper()
	var ear int
	inside(t, to, func() (err error) {
		ear, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 112)
		return err
	})
	defer func() { _ = unix.Close(ear) }()
	inside(t, from, func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 112)
		if err != nil {
			return err
		}
		defer func() { _ = unix.Close(fd) }()
		for _, a := range addrs {
			err = errors.Join(err, unix.Sendto(fd, []byte("31"), 0, &unix.SockaddrInet4{Addr: netip.MustParseAddr(a).As4()}))
		}
		return err
	})
	// The last address hears for certain: what is before it has come or never does.
	for b := make([]byte, 100); len(heard) == 0 || heard[len(heard)-1] != addrs[len(addrs)-1]; {
		if err := unix.SetsockoptTimeval(ear, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 10}); err != nil {
			t.Fatal(err)
		}
		n, _, err := unix.Recvfrom(ear, b, 0)
		if err != nil || n < 20 {
			t.Fatalf("VRRP: %d bytes, %v, of %v", n, err, heard)
		}
		heard = append(heard, netip.AddrFrom4([4]byte(b[16:20])).String())
	}
	return heard
}

// TestGuardReserves: a guest that may send anything is not what is reserved, by no
// packet, and teaches the bridge nothing of it; all else it may.
func TestGuardReserves(t *testing.T) {
	w := newWorld(t)
	table(t, w)
	d := link.New(w.h)
	const routers = "02:00:00:00:95:99"
	macs := []string{"02:00:00:00:95:01", "02:00:00:00:95:02"}
	br := resource.Link{Name: w.br, Up: true, Bridge: &resource.LinuxBridge{Deaf: true}}
	reserved := &resource.Reserved{MACs: []string{routers}}
	for _, a := range []string{"198.18.5.1", "198.18.5.3", "fd00:5::1"} {
		reserved.Addrs = append(reserved.Addrs, netip.MustParseAddr(a))
	}
	want := []resource.State{br}
	var ns []string
	for i, addr := range []string{"198.18.5.9", "198.18.5.8"} {
		ns = append(ns, guest(t, w.h, w.tap+string(rune('0'+i)), macs[i], addr+"/24"))
		g := &resource.Guard{Open: true, MAC: macs[i]}
		if i == 0 {
			g.Reserved = reserved
		}
		want = append(want, resource.BridgePort{Bridge: w.br, IfaceID: "acme/r" + string(rune('0'+i)) + "/eth0", MAC: macs[i], Guard: g})
	}
	sh(t, ns[1], "ip addr add fd00:5::8/64 dev eth0 nodad; ip addr add 198.18.5.3/24 dev eth0")
	do(t, d, steps(false, want...))
	same(t, d, set(want...))
	if !reaches(ns[1], "198.18.5.9") || !reaches(ns[0], "198.18.5.3") {
		t.Fatal("the guests do not reach each other")
	}
	for _, x := range []struct {
		addr, peer string
		free       bool
	}{
		{"198.18.5.77/24", "198.18.5.8", true}, {"fd00:5::77/64", "fd00:5::8", true}, // of nobody
		{"198.18.5.1/24", "198.18.5.8", false}, {"fd00:5::1/64", "fd00:5::8", false},
	} {
		sh(t, ns[0], "ip addr add "+x.addr+" dev eth0 nodad")
		a, _, _ := strings.Cut(x.addr, "/")
		if silentTo(ns[1], a) == x.free {
			t.Errorf("the guest answers as %s: %v", a, !x.free)
		}
		if (exec.Command("ip", "netns", "exec", ns[0], "ping", "-c3", "-i0.1", "-W1", "-I", a, x.peer).Run() == nil) != x.free {
			t.Errorf("the guest speaks as %s: %v", a, !x.free)
		}
	}
	if heard := vrrps(t, ns[0], ns[1], "198.18.5.3", "198.18.5.8"); !slices.Equal(heard, []string{"198.18.5.8"}) {
		t.Errorf("VRRP is heard at %v", heard)
	}
	sh(t, ns[0], "ip link set eth0 address "+routers)
	if !silentTo(ns[0], "198.18.5.8") {
		t.Error("the guest speaks with a MAC of the routers")
	}
	if out, err := exec.Command("bridge", "fdb", "show", "br", w.br).Output(); err != nil || slices.Contains(words(out), routers) {
		t.Errorf("the bridge learned it: %s, %v", out, err)
	}
}

func words(b []byte) []string { return strings.Fields(string(b)) }
