package link

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"weft.dev/reconcile/host"
	"weft.dev/reconcile/resource"
)

func TestSysctlPath(t *testing.T) {
	for key, want := range map[string]string{
		"net.ipv4.ip_forward":              "/proc/sys/net/ipv4/ip_forward",
		"net.ipv4.conf.eth0/100.rp_filter": "/proc/sys/net/ipv4/conf/eth0.100/rp_filter",
		"net.ipv4.conf.eth-0_x.rp_filter":  "/proc/sys/net/ipv4/conf/eth-0_x/rp_filter",
	} {
		if got, err := sysctlPath(key); err != nil || got != want {
			t.Errorf("%s: %q, %v", key, got, err)
		}
	}
	for _, key := range []string{
		"", "net", "net.ipv4", "kernel.core_pattern.x", "net.ipv4./", "net.ipv4.//", "net.//.//.kernel.core_pattern",
		"net..ip_forward", "net.ipv4.", ".net.ipv4.x", "net.ipv4.a b", "net.ipv4.a\nb", "net.ipv4.a\x00b", "/net.ipv4.x",
	} {
		if got, err := sysctlPath(key); err == nil {
			t.Errorf("%q leads to %s", key, got)
		}
	}
}

func FuzzSysctlPath(f *testing.F) {
	f.Add("net.ipv4.//.x")
	f.Fuzz(func(t *testing.T, key string) {
		p, err := sysctlPath(key)
		if err != nil {
			return
		}
		for _, part := range strings.Split(strings.TrimPrefix(p, "/proc/sys/net/"), "/") {
			if part == "" || part == "." || part == ".." || strings.ContainsRune(part, 0) {
				t.Errorf("%q leads to %q", key, p)
			}
		}
		if !strings.HasPrefix(p, "/proc/sys/net/") {
			t.Errorf("%q leads to %q", key, p)
		}
	})
}

func TestCheckName(t *testing.T) {
	for _, ok := range []string{"eth0", "a.b", "wl-123-abcdefgh"} {
		if err := checkName(ok); err != nil {
			t.Error(err)
		}
	}
	for _, bad := range []string{"", ".", "..", "a/b", "a:b", "a b", "g%d", "sixteen-letters-", "a\n", "a\x00", "all", "default"} {
		if checkName(bad) == nil {
			t.Errorf("%q is taken for a name", bad)
		}
	}
}

func TestProtocolOfInstance(t *testing.T) {
	if p := New(host.New("a", "")).proto; p != Protocol {
		t.Errorf("protocol of weft is %d", p)
	}
	if p := New(host.New("a", "lab")).proto; p < 200 || p > 249 {
		t.Errorf("protocol of lab is %d", p)
	}
}

func TestIdent(t *testing.T) {
	for _, a := range []resource.Addr{
		{NS: "weft-r", Link: "eth0", Prefix: netip.MustParsePrefix("10.0.0.1/24")},
		{Link: "br-x", Prefix: netip.MustParsePrefix("2001:db8::1/64")},
	} {
		if got, ok := addrOf(a.ID()); !ok || got != a {
			t.Errorf("%s is read as %+v", a.ID(), got)
		}
	}
	for _, s := range []string{"0.0.0.0/0", "2001:db8::/32"} {
		p := netip.MustParsePrefix(s)
		if got, ok := dstOf(routeID("weft-r", p)); !ok || got != p {
			t.Errorf("%s is read as %s", routeID("weft-r", p), got)
		}
	}
}

func TestKernelMade(t *testing.T) {
	const forever = unix.IFA_F_PERMANENT
	for _, x := range []struct {
		prefix string
		flags  uint32
		proto  uint8
		want   bool
	}{
		{"127.0.0.1/8", forever, 0, true},
		{"::1/128", forever, 0, true},
		{"fe80::1/64", forever, 0, true},
		{"2001:db8::5/64", 0, 0, true}, // by router advertisement
		{"2001:db8::5/64", forever, 0, false},
		{"10.0.0.1/24", forever, 0, false},
		{"10.0.0.1/24", forever, Protocol, false},
		{"10.0.0.1/24", 0, 0, false}, // by a DHCP client
	} {
		a := ifaddr{prefix: netip.MustParsePrefix(x.prefix), flags: x.flags, proto: x.proto}
		if a.kernelMade() != x.want {
			t.Errorf("%+v: %v", x, !x.want)
		}
	}
}

func TestNoteDropsWhatHangsOnALink(t *testing.T) {
	id := resource.LinkID("weft-r", "eth0")
	addr := resource.AddrID("weft-r", "eth0", netip.MustParsePrefix("10.0.0.1/24")).String()
	other := resource.AddrID("weft-r", "eth01", netip.MustParsePrefix("10.0.0.1/24")).String()
	n := (&note{}).clone()
	n.Links["eth0"] = madeLink{}
	n.Owners[addr], n.Owners[other] = "a", "b"
	n.Sysctls["net.ipv4.conf.eth0.rp_filter"] = setting{Sysctl: resource.Sysctl{Link: &id}}
	n.Sysctls["net.ipv4.ip_forward"] = setting{}
	n.drop(id)
	if len(n.Links) != 0 || len(n.Owners) != 1 || n.Owners[other] == "" || len(n.Sysctls) != 1 {
		t.Errorf("left is %+v", n)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte{8, 0, 3, 0, 'a', 0, 0, 0})
	f.Fuzz(func(_ *testing.T, b []byte) {
		head := make([]byte, 16)
		binary.NativeEndian.PutUint16(head, uint16(len(b)))
		parseLink(append(head[:16:16], b...))
		parseAddr(append(head[:8:8], b...))
		parseRoute(append(head[:12:12], b...))
	})
}
