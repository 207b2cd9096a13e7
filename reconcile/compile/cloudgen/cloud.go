// Package cloudgen makes large clouds for benchmarks and law tests: the files of
// a tree, from a few sizes. It is deterministic and pure; only tests import it.
package cloudgen

import (
	"fmt"
	"strings"
)

// Size says how large a cloud is. Zero values are replaced by small ones.
type Size struct {
	Zones    int // hosts are spread over them
	Hosts    int
	Accounts int
	Networks int // spread over accounts and zones
	NICs     int // of each network, one VM each
	Spread   int // hosts that a network's VMs are on
}

// Large is the cloud that weft's figures are stated for: 10,000 networks and
// 100,000 NICs on 500 hosts.
var Large = Size{Zones: 5, Hosts: 500, Accounts: 200, Networks: 10000, NICs: 10, Spread: 4}

const envelope = "apiVersion: weft.dev/v1alpha1\n"

// isolations take turns, one physical network of each in every zone.
var isolations = []struct{ name, vnets string }{
	{"VXLAN", "10000-29999"}, {"GENEVE", "10000-29999"}, {"GRE", "10000-29999"}, {"VLAN", "100-3999"},
}

// Files returns the cloud as file name and content.
func Files(s Size) map[string]string {
	s = s.orSmall()
	files := map[string]string{}
	for z := range s.Zones {
		files[fmt.Sprintf("infra/zone%d.yaml", z)] = zone(z)
	}
	for h := range s.Hosts {
		files[fmt.Sprintf("infra/hosts/kvm%d.yaml", h)] = host(h, h%s.Zones)
	}
	for a := range s.Accounts {
		files[fmt.Sprintf("tenants/acc%d/account.yaml", a)] = envelope + fmt.Sprintf("kind: Account\nmetadata: {name: acc%d}\nspec: {}\n", a)
	}
	for n := range s.Networks {
		files[NetworkFile(s, n)] = Network(s, n)
	}
	return files
}

func (s Size) orSmall() Size {
	for _, x := range []struct {
		to    *int
		small int
	}{{&s.Zones, 1}, {&s.Hosts, 4}, {&s.Accounts, 2}, {&s.Networks, 8}, {&s.NICs, 3}, {&s.Spread, 2}} {
		if *x.to == 0 {
			*x.to = x.small
		}
	}
	return s
}

func zone(z int) string {
	var b strings.Builder
	fmt.Fprintf(&b, envelope+"kind: Zone\nmetadata: {name: zone%d}\nspec: {networkType: Advanced, dns: [9.9.9.9], networkDomain: zone%d.internal}\n", z, z)
	for i, x := range isolations {
		fmt.Fprintf(&b, "---\n"+envelope+"kind: PhysicalNetwork\nmetadata: {name: z%d-%s}\n", z, strings.ToLower(x.name))
		fmt.Fprintf(&b, "spec:\n  zone: zone%d\n  isolation: %s\n  vnets: [\"%s\"]\n  mtu: 1600\n  providers: [VirtualRouter]\n", z, x.name, x.vnets)
		fmt.Fprintf(&b, "  traffic:\n    - {type: Guest, label: cloudbr1}\n")
		if i == 0 {
			fmt.Fprintf(&b, "    - {type: Public, label: cloudbr0}\n")
		}
	}
	fmt.Fprintf(&b, "---\n"+envelope+"kind: PublicIPRange\nmetadata: {name: internet%d}\n", z)
	fmt.Fprintf(&b, "spec: {zone: zone%d, vlan: 50, cidr: 100.%d.0.0/16, gateway: 100.%d.0.1, ranges: [\"100.%d.1.0-100.%d.200.255\"]}\n", z, 64+z, 64+z, 64+z, 64+z)
	return b.String()
}

func host(h, z int) string {
	return envelope + fmt.Sprintf(`kind: Host
metadata: {name: kvm%d, labels: {rack: r%d}}
spec:
  zone: zone%d
  bridges:
    - {name: cloudbr0, uplinks: [eth0]}
    - {name: cloudbr1, uplinks: [eth1], address: 10.%d.%d.%d/8}
`, h, h/20, z, 128+z, h/250, h%250+1)
}

// NetworkFile is the name of network n's file.
func NetworkFile(s Size, n int) string {
	s = s.orSmall()
	return fmt.Sprintf("tenants/acc%d/net%d.yaml", n%s.Accounts, n)
}

// Network is the content of network n's file: the network, its VMs, and for every
// second one a public address.
func Network(s Size, n int) string {
	s = s.orSmall()
	account, z := n%s.Accounts, n%s.Zones
	var b strings.Builder
	fmt.Fprintf(&b, envelope+`kind: Network
metadata: {name: net%d, account: acc%d}
spec:
  zone: zone%d
  offering: DefaultIsolatedNetworkOfferingWithSourceNatService
  physicalNetwork: z%d-%s
  egress:
    - {name: web, action: Allow, protocol: tcp, ports: [80, 443]}
`, n, account, z, z, strings.ToLower(isolations[n/s.Zones%len(isolations)].name))
	perZone := max(s.Hosts/s.Zones, 1)
	for i := range s.NICs {
		h := ((n/s.Zones+i%s.Spread)%perZone)*s.Zones + z
		fmt.Fprintf(&b, "---\n"+envelope+`kind: VirtualMachine
metadata: {name: vm%d-%d, account: acc%d}
spec:
  zone: zone%d
  host: kvm%d
  nics:
    - network: net%d
`, n, i, account, z, h, n)
	}
	if n%2 == 0 {
		fmt.Fprintf(&b, "---\n"+envelope+`kind: PublicIP
metadata: {name: vip%d, account: acc%d}
spec:
  zone: zone%d
  network: net%d
  portForwarding:
    - {name: ssh, protocol: tcp, ports: 2222, to: {vm: vm%d-0}, toPorts: 22}
  firewall:
    - {name: ssh, protocol: tcp, ports: 2222}
`, n, account, z, n, n)
	}
	return b.String()
}
