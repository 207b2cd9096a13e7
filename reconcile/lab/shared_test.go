package lab

import (
	"net/netip"
	"os"
	"slices"
	"testing"

	"weft.dev/reconcile/alloc"
	"weft.dev/reconcile/model"
	"weft.dev/schema"
)

// specOf derives the lab of an example.
func specOf(t *testing.T, example string) Spec {
	t.Helper()
	dir := os.DirFS("../../examples/" + example)
	tree, ds := schema.Parse(dir, nil)
	text, err := os.ReadFile("../../examples/" + example + "/" + alloc.FileName)
	if err != nil || ds.HasErrors() {
		t.Fatal(err, ds)
	}
	lock, _ := alloc.Parse(alloc.FileName, text, nil)
	site, _ := model.BuildSite(tree, nil, nil)
	var index model.Index
	for _, d := range tree.Documents {
		index.Add(d)
	}
	var networks []*model.Network
	for _, d := range index.Networks() {
		n, ds := model.Resolve(site, &index, d, lock)
		if ds.HasErrors() {
			t.Fatal(ds)
		}
		networks = append(networks, n)
	}
	return SpecOf(site, networks, nil, Spec{})
}

func (s Spec) vm(t *testing.T, name string) VM {
	t.Helper()
	i := slices.IndexFunc(s.VMs, func(v VM) bool { return v.Name == name })
	if i < 0 {
		t.Fatalf("no guest %s", name)
	}
	return s.VMs[i]
}

// TestSharedGateways: the internet has the gateways of Shared networks, and guests
// without DHCP are set up by hand.
func TestSharedGateways(t *testing.T) {
	s := specOf(t, "shared")
	got := map[string]int{}
	for _, r := range s.Ranges {
		if r.Wire != "dc/cloudbr0" {
			t.Errorf("the gateway of %s is on %s", r.Name, r.Wire)
		}
		for _, g := range r.Gateways {
			got[g.String()] = r.VLAN
		}
	}
	for gateway, vlan := range map[string]int{"192.0.2.1/25": 120, "192.0.2.129/25": 120, "198.18.0.254/24": 130} {
		if got[gateway] != vlan {
			t.Errorf("gateways %v, want %s on VLAN %d", got, gateway, vlan)
		}
	}
	web := s.vm(t, "acme/web")
	if len(web.NICs) != 2 || !web.NICs[0].DHCP || web.NICs[1].DHCP || len(web.NICs[1].Addresses) != 1 || web.NICs[1].Addresses[0].String() != "198.18.0.11/24" {
		t.Errorf("cards of web: %+v", web.NICs)
	}
}

// TestL2Card: a guest of an L2 network is told nothing.
func TestL2Card(t *testing.T) {
	c := specOf(t, "l2-pvlan").vm(t, "acme/node-1").NICs[0]
	if c.MAC == "" || c.DHCP || len(c.Addresses) > 0 || c.Gateway.IsValid() || len(c.DNS) > 0 {
		t.Errorf("the card is told %+v", c)
	}
}

// TestPodWires: pods of a Basic zone are wires of their own, with a gateway each.
func TestPodWires(t *testing.T) {
	s := specOf(t, "basic-zone")
	for host, wire := range map[string]string{"kvm1": "plain/rack1/cloudbr0", "kvm2": "plain/rack2/cloudbr0"} {
		i := slices.IndexFunc(s.Hosts, func(h Host) bool { return h.Name == host })
		if i < 0 || s.Hosts[i].Bridges[0].Wire != wire {
			t.Errorf("%s is not on %s: %+v", host, wire, s.Hosts)
		}
		if !slices.ContainsFunc(s.Ranges, func(r Range) bool { return r.Wire == wire && r.VLAN == 0 && len(r.Gateways) == 1 }) {
			t.Errorf("no gateway on %s: %+v", wire, s.Ranges)
		}
	}
	if vm := s.vm(t, "acme/db"); vm.Host != "kvm2" {
		t.Errorf("db of rack2 is on %s", vm.Host)
	}
}

// TestSharedIP6: the gateways of Shared networks advertise, and guests hear how they
// get their addresses; further ones they set themselves.
func TestSharedIP6(t *testing.T) {
	s := specOf(t, "shared-dual-stack")
	got := map[string]Range{}
	for _, r := range s.Ranges {
		got[r.Name] = r
	}
	for name, want := range map[string]struct {
		prefix  Prefix
		gateway string
	}{
		"network/system/office": {Prefix{netip.MustParsePrefix("2001:db8:120::/64"), true}, "2001:db8:120::1/64"},
		"network/acme/plant":    {Prefix{netip.MustParsePrefix("2001:db8:130::/64"), false}, "2001:db8:130::fe/64"},
	} {
		r := got[name]
		if !slices.Equal(r.Prefixes, []Prefix{want.prefix}) || !slices.Contains(r.Gateways, netip.MustParsePrefix(want.gateway)) {
			t.Errorf("%s: %+v", name, r)
		}
	}
	web, robot := s.vm(t, "acme/web-1").NICs[0], s.vm(t, "acme/robot-1").NICs[0]
	if web.IP6 != model.DHCPv6 || robot.IP6 != model.SLAAC || !slices.Equal(web.Addresses, []netip.Prefix{netip.MustParsePrefix("2001:db8:120::80/64")}) {
		t.Errorf("web-1 %+v, robot-1 %+v", web, robot)
	}
}
