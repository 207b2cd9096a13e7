package plugins_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// worldHosts are those of every world: three of an Advanced zone, two of one with
// security groups, two of a Basic one, each of a pod.
var worldHosts = []string{"a1", "a2", "a3", "g1", "g2", "p1", "p2"}

// world draws the documents of a valid tree, in which all guest types, switches and
// ways to keep guests apart may occur: Isolated, Shared with subnets, L2, private
// VLANs, one VLAN of several, Basic, security groups, dual stack, limits and what is
// dedicated, gcWait and persistent networks, rates, and what NICs may ask for.
func world(r *rand.Rand) []string {
	d := &drawing{Rand: r}
	d.infra()
	for i := range 10 {
		if d.some(4, 5) {
			d.advanced(i)
		}
	}
	for i := range 3 {
		if d.some(3, 4) {
			d.grouped(i)
		}
	}
	for i := range 2 {
		if d.some(3, 4) {
			d.cloud(i)
		}
	}
	if d.some(4, 5) {
		d.basic()
	}
	return d.docs
}

type drawing struct {
	*rand.Rand
	docs []string
}

func (d *drawing) some(n, of int) bool { return d.IntN(of) < n }

func (d *drawing) one(words ...string) string { return words[d.IntN(len(words))] }

// either is word in n of so many cases, else nothing.
func (d *drawing) either(n, of int, word string) string {
	if d.some(n, of) {
		return word
	}
	return ""
}

// doc adds a document whose name may hold more of its metadata.
func (d *drawing) doc(kind, name, format string, args ...any) {
	d.docs = append(d.docs, fmt.Sprintf("apiVersion: weft.dev/v1alpha1\nkind: %s\nmetadata: {name: %s}\nspec: {%s}\n", kind, name, fmt.Sprintf(format, args...)))
}

func (d *drawing) infra() {
	d.doc("Zone", "adv", "networkType: Advanced, dns: [9.9.9.9], networkDomain: adv.example, gcWait: %s, ip6Prefix: \"2001:db8:100::/48\"%s, bgp: {asns: [\"65000-65099\"], peers: [{name: edge, address: 203.0.113.1, asn: 65500%s}]}", d.one("0s", "10m"), d.either(1, 2, ", routers: {spreadBy: rack}"), d.either(1, 2, ", holdTime: 9s, keepalive: 3s"))
	d.doc("Zone", "grp", "networkType: Advanced, securityGroups: true, dns: [%s], networkDomain: grp.example", d.one("9.9.9.9", "1.1.1.1"))
	d.doc("ServiceProvider", "names", "type: Dns, zone: adv, endpoint: \"udp:10.0.0.53:53\", domains: [example.org], reverse: [10.0.0.0/8, \"2001:db8:100::/48\"], ttl: %s", d.one("60s", "5m"))
	d.doc("ServiceProvider", "others", "type: Dns, zone: adv, endpoint: \"tcp:10.0.0.54:53\", domains: [org], tsig: {name: weft, psk: {secretFile: /etc/weft/dns.key}}")
	d.doc("Zone", "plain", "networkType: Basic, networkDomain: plain.example")
	d.doc("Pod", "rack1", "zone: plain, cidr: 10.200.1.0/24, ranges: [\"10.200.1.10-10.200.1.19\"]")
	d.doc("Pod", "rack2", "zone: plain, cidr: 10.200.2.0/24")
	for i := 1; i <= 3; i++ {
		d.doc("Host", fmt.Sprintf("a%d, labels: {rack: %s}", i, d.one("x", "y")), "zone: adv, %s%sbridges: [{name: br0, uplinks: [eth0]}, {name: br1, uplinks: [eth1], address: 192.168.50.1%d/24}, {name: lbr0, uplinks: [eth2]}, {name: lbr1, uplinks: [eth3], address: 192.168.60.1%d/24}], ovs: {datapath: %s}",
			d.either(1, 4, "routers: {weight: 2}, "), d.either(1, 2, "facts: {esp: false, wireguard: false}, "), i, i, d.one("netdev", "system"))
	}
	for i := 1; i <= 2; i++ {
		d.doc("Host", fmt.Sprintf("g%d", i), "zone: grp, bridges: [{name: br2, uplinks: [eth0]}, {name: lbr2, uplinks: [eth1]}]")
		d.doc("Host", fmt.Sprintf("p%d", i), "zone: plain, pod: rack%d, bridges: [{name: br3, uplinks: [eth0], address: 10.200.%d.31/24}]", i, i)
	}
	fabric := func(name, zone, rest, traffic string) {
		d.doc("PhysicalNetwork", name, "zone: %s, %s, mtu: 1600, traffic: [%s], providers: [VirtualRouter, VpcVirtualRouter, InternalLbVm, SecurityGroupProvider, ConfigDrive]", zone, rest, traffic)
	}
	fabric("vxlan", "adv", "isolation: VXLAN, vnets: [\"5000-5999\"]", "{type: Guest, label: br1}")
	fabric("geneve", "adv", "isolation: GENEVE, vnets: [\"5000-5999\"]", "{type: Guest, label: br1}")
	fabric("vlan", "adv", "isolation: VLAN, vnets: [\"100-199\"]", "{type: Guest, label: br1}, {type: Public, label: br0}")
	fabric("lvxlan", "adv", "vswitch: LinuxBridge, isolation: VXLAN, vxlan: {port: 4790"+d.either(1, 3, ", mode: Multicast")+"}, vnets: [\"6000-6999\"]", "{type: Guest, label: lbr1}")
	fabric("lvlan", "adv", "vswitch: LinuxBridge, isolation: VLAN, vnets: [\"100-199\"]", "{type: Guest, label: lbr1}, {type: Public, label: lbr0}")
	fabric("lan", "grp", "isolation: VLAN, vnets: [\"100-199\"]", "{type: Guest, label: br2}")
	fabric("llan", "grp", "vswitch: LinuxBridge, isolation: VLAN, vnets: [\"100-199\"]", "{type: Guest, label: lbr2}")
	fabric("flat", "plain", "isolation: VLAN", "{type: Guest, label: br3}")
	// The first is preferred, so that source NAT is of it and addresses of the second are another leg.
	d.doc("PublicIPRange", "internet", "zone: adv, account: acme, physicalNetwork: vlan, vlan: 50, cidr: 203.0.113.0/24, gateway: 203.0.113.1, ranges: [\"203.0.113.10-203.0.113.%d\"], ip6: {cidr: \"2001:db8:feed::/64\", gateway: \"2001:db8:feed::1\", ranges: [\"2001:db8:feed::10-2001:db8:feed::ff\"]}", 250-d.IntN(2))
	d.doc("PublicIPRange", "second", "zone: adv, physicalNetwork: vlan, vlan: 51, cidr: 192.88.99.0/24, gateway: 192.88.99.1, ranges: [\"192.88.99.10-192.88.99.250\"]")
	d.doc("Account", "acme", "domain: root/customers, vnets: {vxlan: [\"5000-5009\"]}, vnetsFallback: %t, limits: {networks: 40, publicIPs: 40}", d.some(1, 2))
	d.doc("Account", "beta", "domain: root/customers")
	d.offerings()
	d.doc("SecurityGroup", "web, account: acme", "ingress: [{name: http, protocol: tcp, ports: [80, %d], sources: [0.0.0.0/0]}, {name: ping, protocol: icmp, icmpType: 8, sources: [172.21.0.0/16]}]", 8080+d.IntN(2))
	d.doc("SecurityGroup", "db, account: acme", "ingress: [{name: sql, protocol: tcp, ports: 5432, groups: [web]}], egress: [%s]", d.either(1, 2, "{name: time, protocol: udp, ports: 123, destinations: [192.0.2.1/32]}"))
}

func (d *drawing) offerings() {
	router := "Dhcp: VirtualRouter, Dns: VirtualRouter, UserData: " + d.one("VirtualRouter", "ConfigDrive")
	full := router + ", SourceNat: VirtualRouter, StaticNat: VirtualRouter, PortForwarding: VirtualRouter, Firewall: VirtualRouter, Lb: VirtualRouter, Vpn: VirtualRouter"
	pairs := func(services, provider string) string {
		return strings.Replace(services, "SourceNat: "+provider, "SourceNat: {provider: "+provider+", redundantRouter: "+d.one("true", "false")+"}", 1)
	}
	rate := func() string { return d.one("", ", networkRate: 0", ", networkRate: 50") }
	d.doc("NetworkOffering", "isolated", "guestType: Isolated, egressDefaultPolicy: Deny%s, services: {%s}", rate(), pairs(full, "VirtualRouter"))
	d.doc("NetworkOffering", "dual", "guestType: Isolated, internetProtocol: DualStack, services: {%s}", pairs(full, "VirtualRouter"))
	d.doc("NetworkOffering", "always", "guestType: Isolated, persistent: true, services: {%s}", full)
	d.doc("NetworkOffering", "bare", "guestType: Isolated, specifyVlan: true, services: {Dhcp: VirtualRouter, UserData: VirtualRouter}")
	d.doc("NetworkOffering", "shared", "guestType: Shared, specifyVlan: true, specifyIPRanges: true%s, services: {%s}", rate(), router)
	d.doc("NetworkOffering", "plainshared", "guestType: Shared, specifyIPRanges: true, services: {%s}", router)
	d.doc("NetworkOffering", "groups", "guestType: Shared, specifyVlan: true, specifyIPRanges: true%s, services: {%s, SecurityGroup: SecurityGroupProvider}", rate(), router)
	d.doc("VPCOffering", "cloud", "redundantRouter: %t, services: {SourceNat: VpcVirtualRouter, NetworkACL: VpcVirtualRouter, StaticNat: VpcVirtualRouter, PortForwarding: VpcVirtualRouter, Lb: VpcVirtualRouter, Vpn: VpcVirtualRouter}", d.some(1, 2))
	const tier = "Dhcp: VpcVirtualRouter, Dns: VpcVirtualRouter, UserData: VpcVirtualRouter, SourceNat: VpcVirtualRouter, NetworkACL: VpcVirtualRouter"
	d.doc("NetworkOffering", "tier", "guestType: Isolated, forVPC: true%s, services: {%s, StaticNat: VpcVirtualRouter, PortForwarding: VpcVirtualRouter, Lb: VpcVirtualRouter}", rate(), tier)
	d.doc("NetworkOffering", "insidetier", "guestType: Isolated, forVPC: true%s, services: {%s, Lb: {provider: InternalLbVm, scheme: Internal}}", rate(), tier)
	d.doc("NetworkOffering", "dualtier", "guestType: Isolated, forVPC: true, internetProtocol: DualStack, services: {%s}", tier)
	// Each zone has one mode of routing at a time, so that tiers are as their VPC.
	told := "networkMode: Routed, routingMode: " + d.one("Static", "Dynamic")
	d.doc("VPCOffering", "known", "%s, redundantRouter: %t, services: {NetworkACL: VpcVirtualRouter, Lb: {provider: InternalLbVm, scheme: Internal}}", told, d.some(1, 2))
	const known = "Dhcp: VpcVirtualRouter, Dns: VpcVirtualRouter, UserData: VpcVirtualRouter, NetworkACL: VpcVirtualRouter"
	d.doc("NetworkOffering", "knowntier", "guestType: Isolated, forVPC: true, %s%s, services: {%s, Lb: {provider: InternalLbVm, scheme: Internal}}", told, rate(), known)
	d.doc("NetworkOffering", "dualknowntier", "guestType: Isolated, forVPC: true, internetProtocol: DualStack, %s, services: {%s}", told, known)
	d.doc("NetworkOffering", "l2", "guestType: L2%s, services: {UserData: ConfigDrive}", rate())
	d.doc("NetworkOffering", "l2vlan", "guestType: L2, specifyVlan: true, services: {UserData: ConfigDrive}")
}

// advanced draws network i of the Advanced zone, whatever it is, and its machines.
func (d *drawing) advanced(i int) {
	name := fmt.Sprintf("n%d", i)
	on := d.one("vxlan", "geneve", "vlan", "lvxlan", "lvlan")
	wire := d.one("vlan", "lvlan")
	vlan := 300 + 10*i + d.IntN(2)
	net := func(format string, args ...any) {
		suspend := d.either(1, 12, ", annotations: {weft.dev/prune: disabled}")
		d.doc("Network", name+", account: acme"+suspend, "zone: adv, %s, mtu: %d", fmt.Sprintf(format, args...), 1400+d.IntN(2))
	}
	isolated := fmt.Sprintf("cidr: 10.%d.0.0/24, egress: [%s]", i, d.either(1, 2, "{name: web, action: Allow, protocol: tcp, ports: [80, 443]}"))
	// A private VLAN is Open vSwitch's; of its networks one is promiscuous.
	private := "{type: " + d.one("Isolated", "Community") + fmt.Sprintf(", secondary: %d}", 510+i)
	if i == 0 {
		private = "{type: Promiscuous, secondary: 500}"
	}
	guests := guestsOf{network: name, account: "acme", hosts: []string{"a1", "a2", "a3"}, prefix: fmt.Sprintf("10.%d.0.", i)}
	names := d.either(1, 2, fmt.Sprintf(", networkDomain: n%d.example.org, dnsUpdates: %s", i, d.one("names", "others")))
	switch kind := d.IntN(9); kind {
	case 0:
		net("offering: isolated, physicalNetwork: %s, %s%s", on, isolated, names)
		d.publicIP(name)
		d.site(i, "network: "+name)
	case 1:
		net("offering: dual, physicalNetwork: %s, %s, ip6: {mode: %s}%s", on, isolated, d.one("SLAAC", "DHCPv6"), names)
	case 2:
		net("offering: always, physicalNetwork: %s, %s", on, isolated)
	case 3:
		net("offering: bare, physicalNetwork: %s, vlan: %d, cidr: 10.%d.0.0/24", wire, vlan, i)
	case 4:
		six := d.either(1, 2, fmt.Sprintf(", ip6: {cidr: \"fd00:%d::/64\", mode: %s}", i, d.one("SLAAC", "DHCPv6")))
		net("offering: shared, physicalNetwork: %s, vlan: %d, cidr: 172.20.%d.0/24, sharedWith: [%s]%s", wire, vlan, i, d.one("beta", "domain/root", "\"*\""), six)
		guests.prefix = fmt.Sprintf("172.20.%d.", i)
	case 5:
		net("offering: shared, physicalNetwork: %s, vlan: %d, subnets: [{name: a, cidr: 172.20.%d.0/25}, {name: b, cidr: 172.20.%d.128/25%s}]", wire, vlan, i, i, d.either(1, 2, fmt.Sprintf(", vlan: %d", 600+i)))
		guests.prefix = fmt.Sprintf("172.20.%d.", i)
	case 6:
		net("offering: l2, physicalNetwork: %s", on)
		guests.prefix = ""
	case 7:
		net("offering: l2vlan, physicalNetwork: vlan, vlan: 400, allowVlanOverlap: true")
		guests.prefix = ""
	case 8:
		net("offering: l2vlan, physicalNetwork: vlan, vlan: 500, pvlan: %s", private)
		guests.prefix = ""
	}
	d.machines(i, guests)
}

// cloud draws a VPC with its tiers.
func (d *drawing) cloud(i int) {
	name := fmt.Sprintf("v%d", i)
	of := d.one("Default VPC offering", "cloud", "known")
	domain, names := d.either(1, 2, fmt.Sprintf(", networkDomain: v%d.example.org", i)), ""
	if domain != "" {
		names = d.either(1, 2, ", dnsUpdates: names")
	}
	d.doc("VPC", name+", account: acme", "zone: adv, offering: %s, cidr: 10.%d.0.0/16%s%s", of, 100+i,
		domain, d.either(1, 3, fmt.Sprintf(", routes: [{cidr: 10.98.0.0/16, via: 10.%d.0.99}]", 100+i)))
	d.doc("NetworkACL", name+"-list, account: acme", "vpc: %s, rules: [{number: %d, name: web, action: Allow, protocol: tcp, ports: %d}, {number: 40, name: out, action: %s, direction: Egress, protocol: all}]",
		name, 1+d.IntN(30), 80+d.IntN(2), d.one("Allow", "Deny"))
	first := "" // of the tiers whose machines a public balancer may have
	for j := range 3 {
		if j > 0 && d.some(1, 3) {
			continue
		}
		tier := fmt.Sprintf("%s-t%d", name, j)
		offering := d.one("tier", "tier", "dualtier", "insidetier")
		if of == "known" {
			offering = d.one("knowntier", "dualknowntier")
		}
		if (offering == "insidetier" || offering == "knowntier") && d.some(2, 3) {
			d.balancer(tier, "network: "+tier)
		}
		if offering == "tier" && first == "" {
			first = tier
		}
		d.doc("Network", tier+", account: acme", "zone: adv, vpc: %s, offering: %s, physicalNetwork: %s, cidr: 10.%d.%d.0/24, acl: %s%s", name, offering,
			d.one("vxlan", "lvlan"), 100+i, j, d.one("default_allow", "default_deny", name+"-list"), names)
		d.machines(40+10*i+j, guestsOf{network: tier, account: "acme", hosts: []string{"a1", "a2", "a3"}, prefix: fmt.Sprintf("10.%d.%d.", 100+i, j)})
	}
	if d.some(1, 2) {
		d.doc("PrivateGateway", name+"-gw, account: acme", "vpc: %s, physicalNetwork: %s, vlan: %d, ip: 172.31.%d.2/24, gateway: 172.31.%d.1, sourceNat: %t, acl: default_allow%s", name, d.one("vxlan", "lvlan"),
			900+2*i+d.IntN(2), i, i, d.some(1, 2), d.either(1, 2, ", routes: [{cidr: 10.97.0.0/16}]"))
	}
	if of == "known" {
		return // nothing is translated
	}
	d.site(10+i, "vpc: "+name)
	if d.some(1, 2) {
		d.doc("PublicIP", name+"-vip, account: acme", "zone: adv, vpc: %s, range: internet, %s%s", name, d.one("sourceNat: true", "sourceNat: false"), d.either(1, 2, ", firewall: [{name: web, protocol: tcp, ports: 80}]"))
		if first != "" && d.some(1, 2) {
			d.balancer(first, "publicIP: "+name+"-vip")
		}
	}
}

// publicIP draws an address that leads to the network's first machine, which is
// always there.
func (d *drawing) publicIP(network string) {
	if d.some(1, 2) {
		return
	}
	use := fmt.Sprintf("portForwarding: [{name: ssh, protocol: tcp, ports: %d, to: {vm: %s-0}, toPorts: 22}]", 2200+d.IntN(2), network)
	if d.some(1, 2) {
		use = fmt.Sprintf("staticNat: {vm: %s-0}", network)
	} else {
		if d.some(2, 3) {
			d.balancer(network, "publicIP: "+network+"-vip")
		}
		d.users(network)
	}
	sources := []string{"198.51.100.0/24"}
	for i := range d.IntN(2) * (10 + d.IntN(2)) {
		sources = append(sources, fmt.Sprintf("192.0.2.%d/32", i)) // so many are a set
	}
	d.doc("PublicIP", network+"-vip, account: acme", "zone: adv, network: %s, range: %s, %s, firewall: [{name: all, protocol: tcp, ports: \"22-%d\", sources: [%s]}]", network, d.one("internet", "second"), use, 3000+d.IntN(2), strings.Join(sources, ", "))
}

// site draws a VPN to an office.
func (d *drawing) site(i int, where string) {
	if d.some(1, 2) {
		return
	}
	d.doc("SiteToSiteVPN", fmt.Sprintf("v%d, account: acme", i), "%s, peer: {gateway: 198.51.100.%d, cidrs: [172.30.%d.0/24%s]}, psk: {secretFile: /etc/weft/psk}, ike: {version: %d}, %s", where, 10+i+d.IntN(2), i,
		d.either(1, 2, fmt.Sprintf(", 172.29.%d.0/24", i)), 1+d.IntN(2), d.one("passive: true", "splitConnections: true", "dpd: false, forceEncap: true"))
}

// users draws a VPN for people who call a network's public address.
func (d *drawing) users(network string) {
	how := d.one(
		"protocol: WireGuard, privateKey: {secretFile: /etc/weft/wg}, users: [{name: ann, publicKey: xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=}"+d.either(1, 2, ", {name: bob, publicKey: TrMvSoP4jYQlY6RIzBgbssQqY3vxI2Pi+y71lOWWXX0=}")+"]",
		"protocol: IKEv2, key: {secretFile: /etc/weft/key}, certificate: \"-----BEGIN CERTIFICATE-----\\nAAAA\\n-----END CERTIFICATE-----\", users: ["+d.either(1, 2, "{name: bob, password: {secretFile: /etc/weft/bob}}")+"]",
		"protocol: L2TP, psk: {secretFile: /etc/weft/psk}, users: ["+d.either(1, 2, "{name: bob, password: {secretFile: /etc/weft/bob}}")+"]")
	if strings.Contains(how, "L2TP") && slices.ContainsFunc(d.docs, func(doc string) bool { return strings.Contains(doc, "esp: false") }) {
		return // on such a host there is none
	}
	if d.some(1, 2) {
		d.doc("RemoteAccessVPN", network+"-users, account: acme", "publicIP: %s-vip, ranges: [172.28.0.2-172.28.0.%d], %s", network, 20+d.IntN(2), how)
	}
}

// balancer draws one whose member is the network's first machine.
func (d *drawing) balancer(network, where string) {
	how := d.one("protocol: tcp", "protocol: tcp-proxy, algorithm: source, stickiness: {method: SourceBased}", "protocol: http, stickiness: {method: LbCookie}, healthCheck: {path: /a}, statistics: true", "protocol: udp", "protocol: udp, algorithm: source")
	d.doc("LoadBalancer", network+"-lb, account: acme", "%s, port: %d, %s, members: [{vm: %s-0, weight: %d}]%s", where, 80+d.IntN(2), how, network, 1+d.IntN(2),
		d.either(1, 2, ", sources: [198.51.100.0/24, 192.0.2.0/28, 192.0.2.16/28, 192.0.2.32/28, 192.0.2.48/28]"))
}

// grouped draws a Shared network whose machines have security groups.
func (d *drawing) grouped(i int) {
	name := fmt.Sprintf("s%d", i)
	d.doc("Network", name+", account: acme", "zone: grp, offering: groups, physicalNetwork: %s, vlan: %d, cidr: 172.21.%d.0/24, sharedWith: [\"*\"]%s", d.one("lan", "llan"), 300+i, i, d.either(1, 2, fmt.Sprintf(", ip6: {cidr: \"fd00:21%d::/64\"}", i)))
	d.machines(20+i, guestsOf{network: name, account: d.one("acme", "acme", "beta"), hosts: []string{"g1", "g2"}, prefix: fmt.Sprintf("172.21.%d.", i), groups: true})
}

// basic draws the network of the Basic zone.
func (d *drawing) basic() {
	d.doc("Network", "pods, account: system", "zone: plain, offering: plainshared, sharedWith: [\"*\"], subnets: [{name: one, pod: rack1, cidr: 10.201.1.0/24}, {name: two, pod: rack2, cidr: 10.201.2.0/24%s}]", d.either(1, 2, ", ranges: [\"10.201.2.2-10.201.2.254\"]"))
	for i, host := range []string{"p1", "p2"} {
		d.machines(30+i, guestsOf{network: "pods", account: "acme", hosts: []string{host}, prefix: fmt.Sprintf("10.201.%d.", i+1)})
	}
}

// guestsOf says what machines of a network may ask for.
type guestsOf struct {
	network, account string
	hosts            []string
	prefix           string // of addresses that may be stated; "" where there are none
	groups           bool
}

// machines draws up to three machines; the first is always there.
func (d *drawing) machines(i int, g guestsOf) {
	network := g.network
	if g.network == "pods" {
		network = "system/pods"
	} else if g.account != "acme" {
		network = "acme/" + g.network
	}
	for j := range 3 {
		if j > 0 && d.some(1, 3) {
			continue
		}
		nic := []string{"network: " + network, "name: nic"}
		add := func(n, of int, format string, args ...any) {
			if d.some(n, of) {
				nic = append(nic, fmt.Sprintf(format, args...))
			}
		}
		add(1, 6, "link: Down")
		add(1, 3, "rate: %d", 10*d.IntN(3))
		add(1, 6, "interface: tap-%d-%d", i, j)
		add(1, 6, "mac: \"02:aa:00:00:%02x:%02x\"", i, j)
		if g.prefix != "" {
			add(1, 4, "ip: %s%d", g.prefix, 200+j)
			add(1, 6, "dhcpOptions: {42: %s9}", g.prefix)
			if !strings.HasPrefix(g.prefix, "172.20.") {
				add(1, 4, "secondaryIPs: [%s%d]", g.prefix, 210+j)
			}
		}
		if !g.groups {
			add(1, 6, "antiSpoof: false")
		} else if g.account == "acme" {
			add(2, 3, "securityGroups: [%s]", d.one("web", "db", "web, db"))
		}
		where := "host: " + d.one(g.hosts...)
		switch {
		case g.network == "pods" || d.some(2, 3):
		case d.some(1, 2):
			where = "hosts: [" + strings.Join(g.hosts, ", ") + "]"
		default:
			where = "zone: " + map[bool]string{true: "grp", false: "adv"}[g.groups]
		}
		d.doc("VirtualMachine", fmt.Sprintf("%s-%d, account: %s", machine(g), j, g.account), "state: %s, %s, nics: [{%s}]%s", d.one("Running", "Running", "Running", "Stopped"), where, strings.Join(nic, ", "), d.either(1, 3, ", userData: \""+d.one("one", "two")+"\""))
	}
}

// machine is what the machines are called after.
func machine(g guestsOf) string {
	if g.network == "pods" {
		return g.hosts[0]
	}
	return g.network
}
