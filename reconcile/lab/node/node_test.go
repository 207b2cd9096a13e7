package node

import (
	"bytes"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"testing"

	"weft.dev/reconcile/host"
	"weft.dev/schema"
)

func TestParseLease(t *testing.T) {
	a := netip.MustParseAddr
	for _, c := range []struct {
		name  string
		event map[string]string
		want  lease
		bad   bool
	}{
		{"all", map[string]string{"ip": "10.1.1.11", "mask": "24", "mtu": "1450", "router": "10.1.1.1 10.1.1.2", "dns": "10.1.1.1 9.9.9.9", "domain": "web.internal"},
			lease{address: netip.MustParsePrefix("10.1.1.11/24"), mtu: 1450, dns: []netip.Addr{a("10.1.1.1"), a("9.9.9.9")}, domain: "web.internal",
				routes: []Route{{netip.MustParsePrefix("0.0.0.0/0"), a("10.1.1.1")}}}, false},
		{"classless routes win", map[string]string{"ip": "10.1.1.11", "mask": "24", "router": "10.1.1.1", "staticroutes": "10.9.0.0/16 10.1.1.9 0.0.0.0/0 10.1.1.3"},
			lease{address: netip.MustParsePrefix("10.1.1.11/24"),
				routes: []Route{{netip.MustParsePrefix("10.9.0.0/16"), a("10.1.1.9")}, {netip.MustParsePrefix("0.0.0.0/0"), a("10.1.1.3")}}}, false},
		{"nonsense is left out", map[string]string{"ip": "10.1.1.11", "mask": "24", "mtu": "9", "dns": "x 9.9.9.9\nnameserver", "domain": "a\nnameserver 6.6.6.6", "router": "y"},
			lease{address: netip.MustParsePrefix("10.1.1.11/24"), dns: []netip.Addr{a("9.9.9.9")}}, false},
		{"no address", map[string]string{"mask": "24"}, lease{}, true},
		{"mask", map[string]string{"ip": "10.1.1.11", "mask": "33"}, lease{}, true},
	} {
		got, err := parseLease(c.event)
		if (err != nil) != c.bad || (!c.bad && !reflect.DeepEqual(got, c.want)) {
			t.Errorf("%s: %+v, %v", c.name, got, err)
		}
	}
}

// TestRouterOf reads marks that are made as the driver of namespaces makes them: by host.Alias, of the owner that a
// network's resources have.
func TestRouterOf(t *testing.T) {
	web := schema.ID{Kind: schema.KindNetwork, Account: "acme", Name: "web"}.String()
	for _, c := range []struct {
		instance, owner, name string
		want                  bool
	}{
		{"", web, "acme/web", true},
		{"weft-b", "vpc/acme/shop", "acme/shop", true},
		{"", web, "acme/network/web", true},
		{"", web, "acme/vpc/web", false},
		{"", web, "acme/we", false},
		{"", web, web, false},
		{"", "vm/acme/web", "acme/web", false},
		{"", "host/kvm1", "kvm1", false},
	} {
		mark, err := host.New("kvm1", c.instance).Alias(c.owner)
		if err != nil {
			t.Fatal(err)
		}
		if got := routerOf(mark, c.name); got != c.want {
			t.Errorf("mark %q, router %q: %v", mark, c.name, got)
		}
	}
	for _, foreign := range []string{"", web, "weft/" + web, "libvirt/weft/" + web} {
		if routerOf(foreign, "acme/web") {
			t.Errorf("mark %q is taken for a router's", foreign)
		}
	}
}

func TestGratuitous(t *testing.T) {
	got := gratuitous(net.HardwareAddr{2, 0, 0, 0, 0, 1}, net.IPv4(10, 1, 1, 11).To4())
	want := []byte{255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, 1, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1,
		2, 0, 0, 0, 0, 1, 10, 1, 1, 11, 0, 0, 0, 0, 0, 0, 10, 1, 1, 11}
	if !bytes.Equal(got, want) {
		t.Errorf("frame % x, want % x", got, want)
	}
}

func TestQuote(t *testing.T) {
	if got, want := quote("a\"b\\c\nd"), `"a\"b\\c\nd"`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestResolver puts the configuration through dnsmasq's own parser.
func TestResolver(t *testing.T) {
	dnsmasq, err := Look("dnsmasq")
	if err != nil {
		t.Skip(err)
	}
	a := netip.MustParseAddr
	text := resolver(Internet{Resolver: []netip.Addr{a("9.9.9.9"), a("2001:db8::9")},
		Hosts: map[string][]netip.Addr{"internet": {a("198.51.100.5"), a("2001:db8::5")}}})
	file := filepath.Join(t.TempDir(), "dnsmasq.conf")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(dnsmasq, "--test", "--conf-file="+file).CombinedOutput(); err != nil {
		t.Errorf("%v: %s\n%s", err, out, text)
	}
}
