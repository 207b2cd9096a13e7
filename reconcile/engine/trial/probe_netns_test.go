//go:build netns

package trial

import (
	"context"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// A gateway answers while its end of the wire is up, by ARP and by NDP.
func TestGateways(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	runtime.LockOSThread() // never unlocked: the thread ends with the test
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	far, err := netns.New()
	must(err)
	defer func() { _ = far.Close() }()
	here, err := netns.New() // the thread is in it from now on
	must(err)
	defer func() { _ = here.Close() }()

	if got := Gateways(); len(got) != 0 {
		t.Fatalf("a gateway out of nothing: %s", got[0].Name)
	}
	must(netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "up0"}, PeerName: "gw0", PeerNamespace: netlink.NsFd(far)}))
	there, err := netlink.NewHandleAt(far)
	must(err)
	defer there.Close()
	gw, err := there.LinkByName("gw0")
	must(err)
	up, err := netlink.LinkByName("up0")
	must(err)
	for addr, a := range map[string]func(*netlink.Addr) error{
		"192.0.2.1/24":   func(a *netlink.Addr) error { return there.AddrAdd(gw, a) },
		"2001:db8::1/64": func(a *netlink.Addr) error { return there.AddrAdd(gw, a) },
		"192.0.2.2/24":   func(a *netlink.Addr) error { return netlink.AddrAdd(up, a) },
		"2001:db8::2/64": func(a *netlink.Addr) error { return netlink.AddrAdd(up, a) },
	} {
		ip, err := netlink.ParseAddr(addr)
		must(err)
		ip.Flags = 0x02 // no duplicate address detection
		must(a(ip))
	}
	must(there.LinkSetUp(gw))
	must(netlink.LinkSetUp(up))
	for _, via := range []string{"192.0.2.1", "2001:db8::1"} {
		ip, err := netlink.ParseAddr(via + "/32")
		if err != nil {
			ip, err = netlink.ParseAddr(via + "/128")
		}
		must(err)
		must(netlink.RouteAdd(&netlink.Route{Gw: ip.IP, LinkIndex: up.Attrs().Index}))
	}
	probes := Gateways()
	if len(probes) != 2 {
		t.Fatalf("%d gateways", len(probes))
	}
	// The checks stay on this thread, which is in the namespace.
	check := func(p Probe) error {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		return p.Check(ctx)
	}
	for _, p := range probes { // until the wire is up
		for end := time.Now().Add(20 * time.Second); check(p) != nil && time.Now().Before(end); {
		}
	}
	for range 2 {
		for _, p := range probes {
			if err := check(p); err != nil {
				t.Errorf("%s: %v", p.Name, err)
			}
		}
	}
	must(there.LinkSetARPOff(gw))
	v6, err := netlink.ParseAddr("2001:db8::1/64")
	must(err)
	must(there.AddrDel(gw, v6))
	for _, p := range probes {
		if err := check(p); err == nil {
			t.Errorf("%s answers though it is gone", p.Name)
		}
	}
	must(there.LinkSetARPOn(gw))
	for _, p := range probes[:1] {
		if err := check(p); err != nil {
			t.Errorf("%s came back: %v", p.Name, err)
		}
	}
}
