package lab

import (
	"errors"
	"net/netip"
	"os"
	"strings"
	"testing"
)

func small() Spec {
	return Spec{
		Wires:  []Wire{{Name: "w"}},
		Hosts:  []Host{{Name: "kvm1", Bridges: []Bridge{{Name: "br", Wire: "w", Uplinks: []string{"eth1"}}}}},
		Ranges: []Range{{Name: "r", Wire: "w", VLAN: 5, Gateways: []netip.Prefix{netip.MustParsePrefix("198.51.100.1/24")}}},
		VMs:    []VM{{Name: "acme/web", Host: "kvm1", NICs: []NIC{{Name: "n", MAC: "02:00:00:00:00:01"}}}},
	}
}

func TestCheck(t *testing.T) {
	if err := small().Check(); err != nil {
		t.Fatal(err)
	}
	// Each of these would end in a path, a link or a command line.
	for _, c := range []struct {
		name  string
		spoil func(*Spec)
		want  string
	}{
		{"host path", func(s *Spec) { s.Hosts[0].Name = "../x" }, "not a DNS label"},
		{"host twice", func(s *Spec) { s.Hosts = append(s.Hosts, Host{Name: "kvm1"}) }, "is that of"},
		{"no wire", func(s *Spec) { s.Hosts[0].Bridges[0].Wire = "x" }, `no wire "x"`},
		{"long bridge", func(s *Spec) { s.Hosts[0].Bridges[0].Name = "bridge-of-16-let" }, "name of a link"},
		{"option as uplink", func(s *Spec) { s.Hosts[0].Bridges[0].Uplinks = []string{"--x"} }, "name of a link"},
		{"uplink twice", func(s *Spec) { s.Hosts[0].Bridges[0].Uplinks = []string{"eth1", "eth1"} }, "is that of"},
		{"nothing to take over", func(s *Spec) { s.Hosts[0].Bridges[0] = Bridge{Name: "br", Wire: "w", Manage: Takeover} }, "no uplink to take over"},
		{"manage", func(s *Spec) { s.Hosts[0].Bridges[0].Manage = "Grab" }, `not "Grab"`},
		{"vlan", func(s *Spec) { s.Ranges[0].VLAN = 4095 }, "vlan 4095"},
		{"wire mtu", func(s *Spec) { s.Wires[0].MTU = 100 }, "mtu 100"},
		{"vm path", func(s *Spec) { s.VMs[0].Name = "acme/../../etc" }, "not ACCOUNT/NAME"},
		{"vm of account host", func(s *Spec) { s.VMs[0].Name = "host/kvm1" }, "not ACCOUNT/NAME"},
		{"unknown host", func(s *Spec) { s.VMs[0].Host = "kvm9" }, `no host "kvm9"`},
		{"hostname line", func(s *Spec) { s.VMs[0].Hostname = "a\nnameserver 6.6.6.6" }, "hostname"},
		{"domain line", func(s *Spec) { s.VMs[0].NICs[0].Domain = "a\nb" }, "domain"},
		{"multicast mac", func(s *Spec) { s.VMs[0].NICs[0].MAC = "01:00:00:00:00:01" }, "MAC"},
		{"nic name", func(s *Spec) { s.VMs[0].NICs[0].Name = `n" -- emer-reset` }, "letters"},
		{"vnet interface", func(s *Spec) { s.VMs[0].NICs[0].Interface = "vnet3" }, "hypervisor"},
		{"interface path", func(s *Spec) { s.VMs[0].NICs[0].Interface = "a/b" }, "name of a link"},
	} {
		s := small()
		c.spoil(&s)
		if err := s.Check(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

func TestWorldLeavesRangesAlone(t *testing.T) {
	s := small() // its range holds the default addresses 198.51.100.5 and .6
	s.World = DefaultWorld
	s.DNS = []netip.Addr{netip.MustParseAddr("8.8.8.8"), netip.MustParseAddr("198.51.100.9")}
	addresses, resolvers := s.world()
	if got := len(addresses); got != 2 || len(resolvers) != 1 || resolvers[0] != s.DNS[0] {
		t.Errorf("addresses %v, resolvers %v", addresses, resolvers)
	}
}

func TestDefaultName(t *testing.T) {
	a, err := DefaultName("/srv/Big Cloud!/")
	if err != nil || !strings.HasPrefix(a, "big-cloud-") || !labName.MatchString(a) {
		t.Errorf("%q, %v", a, err)
	}
	b, _ := DefaultName("/home/Big Cloud!")
	if a == b {
		t.Errorf("two directories have the name %s", a)
	}
	for _, path := range []string{"/", "/" + strings.Repeat("x", 200), "/---", "/ä"} {
		if name, err := DefaultName(path); err != nil || !labName.MatchString(name) {
			t.Errorf("name of %q: %q, %v", path, name, err)
		}
	}
}

func TestLock(t *testing.T) {
	dir := t.TempDir() + "/weft/labs/x"
	held, err := lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lock(dir); !errors.Is(err, errHeld) {
		t.Errorf("second lock: %v", err)
	}
	if err := discardState(dir); err != nil {
		t.Fatal(err)
	}
	held.Close()
	if _, err := os.Stat(dir + "/../../.."); err == nil {
		t.Error("empty directories above are left")
	}
	again, err := lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
}

func TestStateDirRefusesPaths(t *testing.T) {
	for _, name := range []string{"", "..", "a/b", ".x", strings.Repeat("x", 64), "a b"} {
		if dir, err := stateDir(name); err == nil {
			t.Errorf("lab %q may be in %s", name, dir)
		}
	}
}
