package schema

import (
	"net/netip"
	"reflect"
	"testing"
	"testing/fstest"
	"time"
)

func parseOne(t *testing.T, text string) *Document {
	t.Helper()
	tree, ds := Parse(fstest.MapFS{"a.yaml": {Data: []byte("apiVersion: weft.dev/v1alpha1\n" + text)}}, nil)
	if len(ds) > 0 || len(tree.Documents) != 1 {
		t.Fatal(describe(tree, ds))
	}
	return tree.Documents[0]
}

func prefixes(list ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func ptr[T any](v T) *T { return &v }

// TestDecode: what is written arrives, what is not written has its default.
func TestDecode(t *testing.T) {
	ip := netip.MustParseAddr
	for _, c := range []struct {
		text string
		want any
	}{
		{"kind: Zone\nmetadata: {name: z}\nspec: {networkType: Advanced, dns: [9.9.9.9, \"2620:fe::fe\"], networkDomain: z.internal, routers: {}}\n",
			&Zone{NetworkType: "Advanced", State: "Enabled", DNS: []netip.Addr{ip("9.9.9.9"), ip("2620:fe::fe")}, NetworkDomain: "z.internal",
				GuestCIDR: netip.MustParsePrefix("10.1.1.0/24"), Routers: &ZoneRouters{HealthCheckInterval: 30 * time.Second}}},
		{"kind: PhysicalNetwork\nmetadata: {name: p}\nspec:\n  isolation: VXLAN\n  vxlan: {}\n  vnets: [\"5000-5999\", 7]\n  traffic: [{type: Guest, label: br0}]\n",
			&PhysicalNetwork{VSwitch: "OpenVSwitch", Isolation: "VXLAN", VXLAN: &VXLANSettings{Mode: "Unicast", Port: 4789},
				VNets: []IDRange{{5000, 5999}, {7, 7}}, MTU: 1500, Traffic: []Traffic{{At: Pos32{8, 13}, Type: "Guest", Label: "br0"}}}},
		{"kind: Host\nmetadata: {name: h}\nspec:\n  bridges:\n    - name: br0\n      address: 192.168.50.11/24\n  facts: {esp: true, iptables: nft, ovsVersion: \"3.1.0\"}\n",
			&Host{State: "Enabled", Bridges: []HostBridge{{At: Pos32{6, 7}, Name: "br0", Manage: "Create", Address: netip.MustParsePrefix("192.168.50.11/24")}},
				OVS: OVSSettings{DB: "unix:/run/openvswitch/db.sock", Datapath: "system"}, Routers: HostRouters{Weight: 1},
				Facts: &HostFacts{ESP: ptr(true), IPTables: ptr("nft"), OVSVersion: ptr("3.1.0")}}},
		{"kind: PublicIPRange\nmetadata: {name: r}\nspec: {vlan: 50, cidr: 203.0.113.0/24, gateway: 203.0.113.1, ranges: [203.0.113.10-203.0.113.250, 203.0.113.5]}\n",
			&PublicIPRange{VLAN: BroadcastURI{Scheme: "vlan", ID: 50}, CIDR: netip.MustParsePrefix("203.0.113.0/24"), Gateway: ip("203.0.113.1"),
				Ranges: []IPRange{{ip("203.0.113.10"), ip("203.0.113.250")}, {ip("203.0.113.5"), ip("203.0.113.5")}}}},
		{"kind: NetworkOffering\nmetadata: {name: o}\nspec:\n  guestType: Isolated\n  services:\n    Dhcp: VirtualRouter\n    SourceNat: {provider: VirtualRouter}\n",
			&NetworkOffering{GuestType: "Isolated", EgressDefaultPolicy: "Deny", NetworkRate: 200, ConserveMode: true, InternetProtocol: "IPv4",
				NetworkMode: "Natted", RoutingMode: "Static", ConcurrentConnections: 4096, State: "Enabled", Services: Services{
					Dhcp:      &Service{At: Pos32{7, 11}, Provider: "VirtualRouter"},
					SourceNat: &SourceNatService{At: Pos32{8, 16}, Provider: "VirtualRouter", SourceNatType: "perAccount"}}}},
		{"kind: Account\nmetadata: {name: a}\n", &Account{Domain: "root", VNetsFallback: true, PublicIPFallback: true}},
		{"kind: Account\nmetadata: {name: a}\nspec: {limits: {vpcs: 0}}\n", &Account{Domain: "root", VNetsFallback: true, PublicIPFallback: true, Limits: &Limits{VPCs: ptr(0)}}},
		{"kind: Network\nmetadata: {name: n, account: a}\nspec:\n  offering: o\n  vlan: \"vlan://120\"\n  leaseTime: 1h\n  egress:\n" +
			"    - {name: dns, action: Allow, protocol: icmp, icmpType: 0, destinations: [9.9.9.9/32]}\n  routes: [{cidr: 172.16.0.0/12, via: 10.1.1.9}]\n",
			&Network{Offering: "o", VLAN: BroadcastURI{Scheme: "vlan", ID: 120}, LeaseTime: time.Hour,
				Egress: []EgressRule{{At: Pos32{9, 7}, Name: "dns", Action: "Allow", Protocol: "icmp", ICMPType: ptr(0), Destinations: prefixes("9.9.9.9/32")}},
				Routes: []Route{{At: Pos32{10, 12}, CIDR: netip.MustParsePrefix("172.16.0.0/12"), Via: ip("10.1.1.9")}}}},
		{"kind: VirtualMachine\nmetadata: {name: v, account: a}\nspec:\n  nics:\n  - network: beta/web\n    mac: \"02:00:4C:00:00:0b\"\n    antiSpoof: false\n",
			&VirtualMachine{State: "Running", NICs: []NIC{{At: Pos32{6, 5}, Network: Ref{"beta", "web"}, MAC: MAC{2, 0, 0x4c, 0, 0, 0xb}, Link: "Up"}}}},
		{"kind: PublicIP\nmetadata: {name: i, account: a}\nspec:\n  network: web\n  portForwarding:\n    - {name: f, protocol: tcp, ports: [80, \"90-91\"], to: {vm: v}, toPorts: [8080, 9090-9091]}\n  firewall: []\n",
			&PublicIP{Network: Ref{Name: "web"}, Firewall: []FirewallRule{}, PortForwarding: []PortForward{{At: Pos32{7, 7}, Name: "f", Protocol: "tcp",
				Ports: Ports{{80, 80}, {90, 91}}, To: Target{At: Pos32{7, 58}, VM: Ref{Name: "v"}}, ToPorts: Ports{{8080, 8080}, {9090, 9091}}}}}},
	} {
		d := parseOne(t, c.text)
		if !reflect.DeepEqual(d.Spec, c.want) {
			t.Errorf("%s:\ngot  %+v\nwant %+v", d.ID(), d.Spec, c.want)
		}
	}
}

func TestPairs(t *testing.T) {
	f := PortForward{Ports: Ports{{80, 80}, {90, 91}}, ToPorts: Ports{{8080, 8080}, {9090, 9091}}}
	want := []PortPair{{PortRange{80, 80}, PortRange{8080, 8080}}, {PortRange{90, 91}, PortRange{9090, 9091}}}
	if got := f.Pairs(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v", got)
	}
	f.ToPorts = nil
	if got := f.Pairs(); got[1].Private != (PortRange{90, 91}) {
		t.Errorf("got %v", got)
	}
}

func TestMetadata(t *testing.T) {
	d := parseOne(t, "kind: Network\nspec: {offering: o}\nmetadata:\n  name: a\n  account: x\n  labels: {rack: a, example.org/x: \"1\"}\n  annotations:\n"+
		"    weft.dev/suspend: \"true\"\n    weft.dev/prune: disabled\n    weft.dev/ignore-drift: \"ovs.port/*\"\n    weft.dev/formerly: b\n")
	m := &d.Meta
	if !m.Suspended() || !m.PruneDisabled() || m.IgnoreDrift() != "ovs.port/*" || m.Formerly() != "b" {
		t.Errorf("%+v", m)
	}
	if m.Labels["rack"] != "a" || m.Labels["example.org/x"] != "1" {
		t.Errorf("%+v", m.Labels)
	}
	if m = &parseOne(t, "kind: Account\nmetadata: {name: a}\n").Meta; m.Suspended() || m.PruneDisabled() || m.IgnoreDrift() != "" || m.Formerly() != "" {
		t.Errorf("%+v", m)
	}
}
