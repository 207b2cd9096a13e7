package doctor

import (
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"weft.dev/reconcile/model"
	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

// A machine is what a test makes of a patient: files, programs that are missing, what
// programs print.
type machine struct {
	Patient
	root    fstest.MapFS
	missing []string
	prints  map[string]string // by argv; by "NS: argv" in a namespace
}

func (m *machine) file(name, text string) {
	m.root[strings.TrimPrefix(name, "/")] = &fstest.MapFile{Data: []byte(text + "\n")}
}

func (m *machine) process(pid, comm, line string) {
	m.file("/proc/"+pid+"/comm", comm)
	m.file("/proc/"+pid+"/cmdline", line)
}

// well is a machine that nothing bites.
func well() *machine {
	m := &machine{root: fstest.MapFS{}, prints: map[string]string{
		"ovs-vsctl --timeout=3 --db=unix:/db list-br": "br0\n",
		"cat /proc/net/ip_tables_names":               "",
		"iptables-save":                               "*filter\n:FORWARD ACCEPT [0:0]\nCOMMIT\n",
	}}
	m.Facts = model.StockFacts()
	m.Privileged, m.OVSDB = true, "unix:/db"
	m.process("10", "ovs-vswitchd", "ovs-vswitchd")
	m.file("/proc/net/vlan/config", "")
	m.file("/proc/sys/net/netfilter/nf_conntrack_max", "262144")
	m.file("/proc/sys/net/ipv4/neigh/default/gc_thresh3", "65536")
	m.file("/proc/sys/fs/inotify/max_user_instances", "128")
	m.file("/proc/sys/user/max_user_namespaces", "1000")
	for _, t := range tools {
		if strings.HasPrefix(t.any[0], "/") {
			m.file(t.any[0], "")
		}
	}
	m.device("eth1", "1600")
	return m
}

func (m *machine) device(name, mtu string) { m.file("/sys/class/net/"+name+"/mtu", mtu) }

// share gives the machine a host with one label on one wire, and what it is to have.
func (m *machine) share(p schema.PhysicalNetwork, b schema.HostBridge, states ...resource.State) {
	doc := &schema.Document{Pos: schema.Pos{File: "cloud.yaml", Line: 7, Col: 1}}
	b.Name = "cloudbr1"
	if b.Manage == "" {
		b.Manage = "Create"
	}
	if p.MTU == 0 {
		p.MTU = 1500
	}
	m.Share = &Share{
		Host:  &model.Host{Name: "kvm1", Doc: doc, Spec: &schema.Host{Bridges: []schema.HostBridge{b}}},
		Wires: []*model.PhysicalNetwork{{Name: "lan", Doc: doc, Spec: &p, Guest: "cloudbr1"}},
		Set:   resource.Set{},
	}
	for _, st := range states {
		m.Share.Set.Put(resource.Entry{State: st})
	}
}

func (m *machine) examine(t *testing.T) []Finding {
	t.Helper()
	m.Root = m.root
	m.Look = func(program string) (string, error) {
		if slices.Contains(m.missing, program) {
			return "", exec.ErrNotFound
		}
		return "/usr/bin/" + program, nil
	}
	m.Run = func(_ context.Context, ns string, argv ...string) ([]byte, error) {
		line := strings.Join(argv, " ")
		if ns != "" {
			line = ns + ": " + line
		}
		if text, ok := m.prints[line]; ok {
			return []byte(text), nil
		}
		return nil, errors.New("no answer")
	}
	return Examine(t.Context(), m.Patient)
}

var (
	lan      = schema.PhysicalNetwork{VSwitch: "OpenVSwitch", Isolation: "VLAN"}
	kernel   = schema.PhysicalNetwork{VSwitch: "LinuxBridge", Isolation: "VLAN"}
	eth1     = schema.HostBridge{Uplinks: []string{"eth1"}}
	use      = schema.HostBridge{Manage: "Use"}
	switched = resource.Bridge{Name: "cloudbr1"}
	bridged  = resource.Link{Name: "cloudbr1", Bridge: &resource.LinuxBridge{}}
	port     = resource.BridgePort{Bridge: "cloudbr1", IfaceID: "acme/web-1/eth0"}
)

func keeper(verb string, more ...string) resource.Process {
	return resource.Process{Name: "weft-acme-web/x", NS: "weft-acme-web", Argv: append([]string{"{weft}", verb}, more...)}
}

// cases: what is done to a machine that is well, and what is found then, nothing else.
var cases = []struct {
	name  string
	make  func(m *machine)
	level Level
	check string
	text  string // part of it
	cure  string // part of it
}{
	{"a program", func(m *machine) { m.missing = []string{"dnsmasq"} }, Error, "tools", "dnsmasq is not installed: no addresses", "apt install dnsmasq-base"},
	{"a program of some", func(m *machine) { m.missing = []string{"haproxy"} }, Note, "tools", "haproxy is not installed: no load balancers", "apt install haproxy"},
	{"a file of a package", func(m *machine) { delete(m.root, "usr/lib/frr/bgpd") }, Note, "tools", "bgpd is not installed", "apt install frr"},
	{"a file that no share tells of", func(m *machine) {
		delete(m.root, "usr/lib/ipsec/plugins/libstrongswan-eap-mschapv2.so")
		m.share(lan, eth1, keeper("ipsec-serve"))
	}, Note, "tools", "no users by IKEv2", "apt install libcharon-extauth-plugins"},
	{"one that is needed", func(m *machine) {
		m.missing = []string{"haproxy"}
		m.share(lan, eth1, keeper("balance-serve"))
	}, Error, "tools", "haproxy is not installed, and process weft-acme-web/x needs it", "apt install haproxy"},
	{"one that a keeper's keeper needs", func(m *machine) {
		m.missing = []string{"xl2tpd"}
		m.share(lan, eth1, keeper("while-serve", "--", "{weft}", "l2tp-serve"))
	}, Error, "tools", "xl2tpd is not installed, and", ""},
	{"one for config drives", func(m *machine) {
		m.missing = []string{"genisoimage", "mkisofs", "xorrisofs"}
		m.share(lan, eth1, resource.File{Path: "x", Image: "config-2"})
	}, Error, "tools", "genisoimage or mkisofs or xorrisofs is not installed, and file x", ""},
	{"one for guards", func(m *machine) {
		m.missing = []string{"nft"}
		m.share(kernel, eth1, bridged, port)
	}, Error, "tools", "nft is not installed, and", "apt install nftables"},
	{"one nobody needs yet", func(m *machine) {
		m.missing = []string{"ipset"}
		m.share(lan, eth1, switched)
	}, Warning, "tools", "no network needs it here today", ""},
	{"wg of the kernel", func(m *machine) { m.missing = []string{"wg"} }, Note, "tools", "wg is not installed", "wireguard-tools"},
	{"ESP in userspace", func(m *machine) {
		m.Facts.ESP = false
		m.share(lan, eth1, keeper("ipsec-serve"))
		delete(m.root, "usr/lib/ipsec/plugins/libstrongswan-kernel-libipsec.so")
	}, Error, "kernel", "kernel-libipsec", "libcharon-extra-plugins"},

	{"an old switch", func(m *machine) { m.Facts.OVSVersion = "2.9.3" }, Warning, "switch", "Open vSwitch is version 2.9.3", "2.17"},
	{"a dead switch", func(m *machine) { delete(m.root, "proc/10/comm") }, Error, "switch", "ovs-vswitchd does not run", "systemctl start"},
	{"a mute database", func(m *machine) { m.prints = nil }, Error, "switch", "unix:/db does not answer: no answer", ""},
	{"a switch that nobody needs", func(m *machine) {
		delete(m.root, "proc/10/comm")
		m.share(kernel, eth1, bridged)
	}, Note, "switch", "ovs-vswitchd does not run", ""},

	{"the other iptables", func(m *machine) {
		m.prints["cat /proc/net/ip_tables_names"] = "filter\n"
		m.prints["iptables-legacy-save"] = "*filter\n:FORWARD DROP\n-A FORWARD -j DROP\nCOMMIT\n"
	}, Note, "iptables", "1 rules of the host are in iptables-legacy", "iptables-legacy-save"},
	{"the other iptables beside Linux bridges", func(m *machine) {
		m.Facts.IPTables = "legacy"
		m.prints["iptables-nft-save"] = "*filter\n-A FORWARD -j DROP\n"
		m.share(kernel, eth1, bridged)
	}, Warning, "iptables", "1 rules of the host are in iptables-nft", ""},
	{"the other iptables of IPv6", func(m *machine) {
		m.prints["cat /proc/net/ip6_tables_names"] = "filter\n"
		m.prints["ip6tables-legacy-save"] = "*filter\n-A FORWARD -j DROP\nCOMMIT\n"
	}, Note, "iptables", "1 rules of the host are in iptables-legacy", "ip6tables-legacy-save"},
	{"routers of the other iptables", func(m *machine) {
		m.file("/run/netns/weft-acme-web", "")
		m.prints["weft-acme-web: cat /proc/net/ip_tables_names"] = "nat\n"
		m.prints["weft-acme-web: iptables-legacy-save"] = "*nat\n-A POSTROUTING -j SNAT\n"
	}, Error, "iptables", "1 namespaces of routers, such as weft-acme-web,", "update-alternatives --set iptables /usr/sbin/iptables-legacy"},

	{"no root", func(m *machine) { m.Privileged = false }, Note, "kernel", "without root", "as root"},
	{"no ESP", func(m *machine) { m.Facts.ESP = false }, Note, "kernel", "no ESP", ""},
	{"no WireGuard", func(m *machine) { m.Facts.WireGuard = false }, Note, "kernel", "no WireGuard", ""},
	{"no PPP", func(m *machine) { m.Facts.PPP = false }, Note, "kernel", "L2TP is refused", ""},
	{"no VLAN", func(m *machine) { delete(m.root, "proc/net/vlan/config") }, Note, "kernel", "BPF programs stand for them", ""},
	{"no VLAN without root", func(m *machine) { delete(m.root, "proc/net/vlan/config"); m.Facts.Rootless = true }, Note, "kernel", "those on Open vSwitch can", ""},
	{"no VLAN where there is to be one", func(m *machine) {
		delete(m.root, "proc/net/vlan/config")
		m.Facts.Rootless = true
		m.share(kernel, eth1, bridged, resource.Link{Name: "eth1.5", VLAN: &resource.VLAN{}})
	}, Error, "kernel", "net.link eth1.5 cannot be made", "8021q"},

	{"few connections", func(m *machine) { m.file("/proc/sys/net/netfilter/nf_conntrack_max", "8192") }, Warning, "sysctl", "nf_conntrack_max is 8192", "262144"},
	{"few neighbours", func(m *machine) { m.file("/proc/sys/net/ipv4/neigh/default/gc_thresh3", "1024") }, Note, "sysctl", "gc_thresh3 is 1024", ""},
	{"fewer neighbours than routers", func(m *machine) {
		m.file("/proc/sys/net/ipv4/neigh/default/gc_thresh3", "2")
		m.share(lan, eth1, resource.NS{Name: "a"}, resource.NS{Name: "b"})
	}, Warning, "sysctl", "gc_thresh3 is 2", ""},
	{"few watches", func(m *machine) { m.file("/proc/sys/fs/inotify/max_user_instances", "4") }, Warning, "sysctl", "max_user_instances is 4", ""},
	{"no user namespaces", func(m *machine) { m.file("/proc/sys/user/max_user_namespaces", "0") }, Note, "sysctl", "max_user_namespaces is 0", ""},
	{"no user namespaces for BGP", func(m *machine) {
		m.file("/proc/sys/user/max_user_namespaces", "0")
		m.share(lan, eth1, keeper("bgp-serve"))
	}, Error, "sysctl", "max_user_namespaces is 0", ""},
	{"bridge-nf", func(m *machine) {
		m.file("/proc/sys/net/bridge/bridge-nf-call-iptables", "1")
		m.share(kernel, eth1, bridged)
	}, Warning, "sysctl", "bridge-nf-call-iptables is 1", "=0"},
	{"bridge-nf of IPv6, without a tree", func(m *machine) { m.file("/proc/sys/net/bridge/bridge-nf-call-ip6tables", "1") }, Note, "sysctl", "bridge-nf-call-ip6tables is 1", ""},
	{"bridge-nf and DROP", func(m *machine) {
		m.file("/proc/sys/net/bridge/bridge-nf-call-iptables", "1")
		m.prints["iptables-save"] = "*mangle\n:FORWARD ACCEPT [0:0]\nCOMMIT\n*filter\n:FORWARD DROP [0:0]\nCOMMIT\n"
		m.share(kernel, eth1, bridged)
	}, Error, "sysctl", "guests do not hear each other", ""},

	{"NetworkManager", func(m *machine) { m.process("20", "NetworkManager", "") }, Warning, "others", "NetworkManager runs", "unmanaged-devices"},
	{"NetworkManager and an uplink", func(m *machine) {
		m.process("20", "NetworkManager", "")
		m.file("/etc/NetworkManager/conf.d/10.conf", "[keyfile]\nunmanaged-devices=interface-name:cloud*;mac:00:11:22:33:44:55")
		m.share(lan, eth1, switched)
	}, Warning, "others", "NetworkManager may manage eth1:", "interface-name:eth1 -"},
	{"networkd", func(m *machine) { m.process("20", "systemd-networkd"[:15], "") }, Warning, "others", "(ManageForeignRoutes, ManageForeignRoutingPolicyRules)", "/etc/systemd/networkd.conf.d/weft.conf: [Network] ManageForeignRoutes=no ManageForeignRoutingPolicyRules=no"},
	{"networkd, half cured", func(m *machine) {
		m.process("20", "systemd-network", "")
		m.file("/etc/systemd/networkd.conf", "[Network]\nManageForeignRoutes=no\n[DHCPv4]\nManageForeignRoutingPolicyRules=no")
	}, Warning, "others", "(ManageForeignRoutingPolicyRules)", ""},
	{"networkd, cure undone", func(m *machine) {
		m.process("20", "systemd-network", "")
		m.file("/usr/lib/systemd/networkd.conf.d/a.conf", "[Network]\nManageForeignRoutes=no\nManageForeignRoutingPolicyRules=no")
		m.file("/etc/systemd/networkd.conf.d/b.conf", "[Network]\nManageForeignRoutes=yes")
	}, Warning, "others", "(ManageForeignRoutes)", ""},
	{"networkd and a route", func(m *machine) {
		m.process("20", "systemd-network", "")
		m.share(lan, eth1, resource.Route{Dst: netip.MustParsePrefix("10.0.0.0/8")})
	}, Error, "others", "net.route", ""},
	{"firewalld", func(m *machine) { m.process("20", "firewalld", "") }, Warning, "others", "firewalld runs", "4789"},
	{"ufw", func(m *machine) { m.file("/etc/ufw/ufw.conf", "# on\nENABLED=yes") }, Warning, "others", "ufw is enabled", ""},
	{"docker", func(m *machine) { m.process("20", "dockerd", "") }, Warning, "others", "dockerd runs", "DOCKER-USER"},
	{"OVN", func(m *machine) { m.process("20", "ovn-controller", "") }, Warning, "others", "ovn-controller runs", ""},
	{"neutron", func(m *machine) {
		m.process("20", "python3.11", "/usr/bin/python3\x00/usr/bin/neutron-openvswitch-agent")
	}, Warning, "others", "neutron-openvswitch-agent runs", ""},
	{"CloudStack", func(m *machine) { m.process("20", "java", "java\x00com.cloud.agent.AgentShell") }, Warning, "others", "CloudStack's agent", ""},
	{"libvirt", func(m *machine) { m.file("/etc/libvirt/qemu/networks/autostart/default.xml", "") }, Note, "others", "libvirt's default network", "virsh"},

	{"a small wire", func(m *machine) { m.device("eth1", "1400"); m.share(lan, eth1) }, Error, "wire", "the MTU of eth1 is 1400, and the wire of physical network lan is said to carry 1500", "raise it"},
	{"a wire smaller than said", func(m *machine) { m.share(schema.PhysicalNetwork{MTU: 9000}, eth1) }, Warning, "wire", "is said to carry 9000", ""},
	{"a wire too small for an overlay", func(m *machine) {
		m.device("eth1", "1500")
		m.share(schema.PhysicalNetwork{MTU: 9000, Isolation: "VXLAN"}, eth1)
	}, Error, "wire", "the MTU of eth1 is 1500", ""},
	{"a tunnel's small device", func(m *machine) {
		m.device("eth2", "1400")
		m.share(schema.PhysicalNetwork{Isolation: "GRE"}, eth1)
		m.Share.Host.TunnelIP = netip.MustParseAddr("192.0.2.1")
		m.Addresses = map[string][]netip.Prefix{"eth2": {netip.MustParsePrefix("192.0.2.1/24")}}
	}, Error, "wire", "the MTU of eth2 is 1400", ""},
	{"a tunnel's lost address", func(m *machine) {
		m.share(schema.PhysicalNetwork{Isolation: "GRE"}, eth1)
		m.Share.Host.TunnelIP = netip.MustParseAddr("192.0.2.1")
		m.Addresses = map[string][]netip.Prefix{}
	}, Error, "wire", "no device of this host has 192.0.2.1", ""},
	{"no carrier", func(m *machine) { m.file("/sys/class/net/eth1/carrier", "0"); m.share(lan, eth1) }, Warning, "wire", "no carrier", ""},

	{"a Linux bridge for a switch", func(m *machine) {
		m.device("cloudbr1/bridge", "")
		m.share(lan, eth1)
	}, Error, "bridge", "cloudbr1 is a Linux bridge here, and physical network lan wants a bridge of Open vSwitch", "vswitch: LinuxBridge"},
	{"a switch for a Linux bridge", func(m *machine) {
		m.prints["ovs-vsctl --timeout=3 --db=unix:/db list-br"] = "cloudbr1\n"
		m.share(kernel, eth1, bridged)
	}, Error, "bridge", "cloudbr1 is a bridge of Open vSwitch here", "vswitch: OpenVSwitch"},
	{"a plain device", func(m *machine) { m.device("cloudbr1", "1500"); m.share(lan, eth1) }, Error, "bridge", "cloudbr1 is no bridge here", "rename"},
	{"no bridge to use", func(m *machine) { m.share(lan, use) }, Error, "bridge", "there is no bridge cloudbr1", "manage: Create"},
	{"no uplink", func(m *machine) { delete(m.root, "sys/class/net/eth1/mtu"); m.share(lan, eth1) }, Error, "bridge", "there is no eth1", ""},
	{"an uplink of another", func(m *machine) {
		m.root["sys/class/net/eth1/master"] = &fstest.MapFile{Data: []byte("../br7"), Mode: fs.ModeSymlink | 0o777}
		m.share(lan, eth1)
	}, Error, "bridge", "eth1 is in br7 here", "nomaster"},
	{"an uplink of another switch", func(m *machine) {
		m.prints["ovs-vsctl --timeout=3 --db=unix:/db iface-to-br eth1"] = "br0\n"
		m.share(lan, eth1)
	}, Error, "bridge", "eth1 is in br0 here", "del-port eth1"},
	{"an uplink with an address", func(m *machine) {
		m.Addresses = map[string][]netip.Prefix{"eth1": {netip.MustParsePrefix("192.0.2.7/24")}}
		m.share(lan, eth1)
	}, Error, "bridge", "eth1 has address 192.0.2.7/24", "Takeover"},

	{"a refusal", func(m *machine) {
		m.share(lan, eth1)
		m.Share.Diags.Errorf(schema.Pos{File: "vpn.yaml", Line: 3, Col: 5}, "no-ppp", "no PPP").Hintf("use IKEv2")
	}, Error, "tree", "no PPP", "use IKEv2"},
}

// TestExamine: each case is found alone on a machine that is well otherwise.
func TestExamine(t *testing.T) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			m := well()
			c.make(m)
			found := m.examine(t)
			if len(found) != 1 {
				t.Fatalf("%d findings: %+v", len(found), found)
			}
			f := found[0]
			if f.Level != c.level || f.Check != c.check || !strings.Contains(f.Text, c.text) || !strings.Contains(f.Cure, c.cure) {
				t.Errorf("%+v\nwant %s %s %q, cure %q", f, c.level, c.check, c.text, c.cure)
			}
		})
	}
}

// TestWell: nothing is found where nothing bites, with a tree or without.
func TestWell(t *testing.T) {
	for name, make := range map[string]func(m *machine){
		"no tree": func(*machine) {},
		"a tree":  func(m *machine) { m.share(lan, eth1, switched, keeper("bgp-serve")) },
		"Linux bridges, no OVS": func(m *machine) {
			m.missing = []string{"ovs-vswitchd", "ovs-ofctl"}
			m.share(kernel, eth1, bridged, port)
		},
		"a bridge that is there": func(m *machine) { m.device("cloudbr1/bridge", ""); m.share(kernel, eth1, bridged) },
		"a module": func(m *machine) {
			delete(m.root, "proc/net/vlan/config")
			m.file("/proc/sys/kernel/osrelease", "6.1")
			m.file("/lib/modules/6.1/modules.dep", "kernel/net/8021q/8021q.ko.xz:")
		},
		"wg without the kernel's": func(m *machine) { m.missing = []string{"wg"}; m.Facts.WireGuard, m.Privileged = false, false },
		"docker beside a switch": func(m *machine) {
			m.process("20", "dockerd", "")
			m.file("/proc/sys/net/bridge/bridge-nf-call-iptables", "1")
			m.share(lan, eth1, switched)
		},
		"NetworkManager, told": func(m *machine) {
			m.process("20", "NetworkManager", "")
			m.file("/usr/lib/NetworkManager/conf.d/10.conf", "[keyfile]\nunmanaged-devices=none")
			m.file("/etc/NetworkManager/conf.d/90.conf", "[keyfile]\nunmanaged-devices=interface-name:eth1;interface-name:cloudbr?")
			m.share(lan, eth1, switched)
		},
		"networkd, cured": func(m *machine) {
			m.process("20", "systemd-network", "")
			m.file("/etc/systemd/networkd.conf.d/weft.conf", "[Network]\nManageForeignRoutes=no\nManageForeignRoutingPolicyRules = off")
			m.share(lan, eth1, resource.Route{Dst: netip.MustParsePrefix("10.0.0.0/8")})
		},
		"legacy tables without rules": func(m *machine) {
			m.prints["cat /proc/net/ip_tables_names"] = "filter\n"
			m.prints["iptables-legacy-save"] = "*filter\n:FORWARD DROP\nCOMMIT\n"
		},
		"the address of an uplink that is taken over": func(m *machine) {
			m.Addresses = map[string][]netip.Prefix{"eth1": {netip.MustParsePrefix("192.0.2.7/24")}}
			m.share(lan, schema.HostBridge{Manage: "Takeover", Uplinks: []string{"eth1"}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := well()
			make(m)
			found := slices.DeleteFunc(m.examine(t), func(f Finding) bool { return !m.Privileged && strings.Contains(f.Text, "without root") })
			if len(found) > 0 {
				t.Errorf("found: %+v", found)
			}
		})
	}
}

// TestOrder: the worst comes first, and a refusal has its line.
func TestOrder(t *testing.T) {
	m := well()
	m.Facts.PPP = false
	m.missing = []string{"dnsmasq", "haproxy"}
	m.process("20", "firewalld", "")
	m.share(lan, eth1)
	m.Share.Diags.Errorf(schema.Pos{File: "vpn.yaml", Line: 3, Col: 5}, "no-ppp", "no PPP")
	found := m.examine(t)
	if !slices.IsSortedFunc(found, func(a, b Finding) int { return rank[a.Level] - rank[b.Level] }) || len(found) != 5 {
		t.Errorf("found: %+v", found)
	}
	if f := found[0]; f.At.String() != "vpn.yaml:3:5" || f.Code != "no-ppp" {
		t.Errorf("first: %+v", f)
	}
}

func TestOlder(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{{"3.1.0", "2.17", false}, {"2.17", "2.17", false}, {"2.9.3", "2.17", true}, {"2", "2.17", true}, {"10.0", "2.17", false}} {
		if got := older(c.a, c.b); got != c.want {
			t.Errorf("older(%s, %s) is %v", c.a, c.b, got)
		}
	}
}
