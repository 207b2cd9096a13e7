package doctor

import (
	"path"
	"slices"
	"strings"
)

// processes reads the names of what runs in this PID namespace, and the command lines of
// interpreters, whose own name says nothing.
func (x *exam) processes() {
	x.comms = map[string]bool{}
	for _, name := range x.glob("proc/[0-9]*/comm") {
		comm := x.read(name)
		x.comms[comm] = true
		if comm == "java" || comm == "jsvc" || strings.HasPrefix(comm, "python") || strings.HasPrefix(comm, "neutron") {
			x.lines = append(x.lines, x.read(path.Dir(name)+"/cmdline"))
		}
	}
}

// runs reports whether a process has that name, of which the kernel keeps 15 bytes, or is
// an interpreter of a program with that in its command line.
func (x *exam) runs(name string) bool {
	return x.comms[name[:min(len(name), 15)]] ||
		slices.ContainsFunc(x.lines, func(line string) bool { return strings.Contains(line, name) })
}

// others tells who else has its hands in this host's network.
func (x *exam) others() {
	x.networkManager()
	x.networkd()
	if x.runs("firewalld") {
		x.tell(Warning, "others", "systemctl disable --now firewalld, or let tunnels (udp 4789 of VXLAN, 6081 of GENEVE, protocol 47 of GRE) in from the other hosts",
			"firewalld runs: it refuses tunnels of other hosts unless it is told of them, and its reload flushes what others wrote to iptables")
	}
	if v, _ := shellValue(x.read("/etc/ufw/ufw.conf"), "ENABLED"); yes(v) {
		x.tell(Warning, "others", "ufw allow from the other hosts' tunnel addresses, or ufw disable", "ufw is enabled: it drops tunnels of other hosts unless it is told of them")
	}
	x.dockerd()
	for _, o := range foreigners {
		if x.runs(o.name) {
			x.tell(o.level, "others", o.cure, "%s runs: %s", o.name, o.what)
		}
	}
	if x.exists("/sys/class/net/virbr0") || x.exists("/etc/libvirt/qemu/networks/autostart/default.xml") {
		x.tell(Note, "others", "virsh net-autostart --disable default; virsh net-destroy default",
			"libvirt's default network is there: machines on it are none of weft's, and the host routes its addresses (192.168.122.0/24) there, also where a network of the tree has them")
	}
}

// foreigners are known by running.
var foreigners = []struct {
	name       string
	level      Level
	what, cure string
}{
	{"ovn-controller", Warning, "it writes br-int and makes tunnels on the same switch; Open vSwitch refuses a second tunnel of one type between two addresses", "give either another type of tunnel or another address (ovn-encap-ip, tunnelIP), and no bridge to both"},
	{"neutron-openvswitch-agent", Warning, "it deletes flows and ports that it does not know from the bridges of its bridge_mappings", "leave the labels of the tree out of bridge_mappings, or stop it"},
	{"neutron-linuxbridge-agent", Warning, "it plugs ports and uplinks into bridges of its own and writes to iptables", "leave the uplinks of the tree out of physical_interface_mappings, or stop it"},
	{"com.cloud.agent.AgentShell", Warning, "CloudStack's agent makes the bridges of its labels itself, plugs its machines into them and turns bridge-nf-call-iptables on", "give weft labels and ranges of its own, or stop it"},
}

// networkManager takes devices that nobody keeps from it.
func (x *exam) networkManager() {
	if !x.runs("NetworkManager") {
		return
	}
	conf := "/NetworkManager/conf.d"
	value, _ := x.setting("keyfile", "unmanaged-devices", []string{"/etc/NetworkManager/NetworkManager.conf"}, "/etc"+conf, "/run"+conf, "/usr/lib"+conf)
	var bare []string
	for _, name := range x.devices() {
		if !unmanaged(value, name) {
			bare = append(bare, name)
		}
	}
	mine := make([]string, 0, len(bare))
	for _, name := range bare {
		mine = append(mine, "interface-name:"+name)
	}
	cure := "in /etc/NetworkManager/conf.d/weft.conf: [keyfile] unmanaged-devices=" + strings.Join(mine, ";") + " - then nmcli general reload"
	switch {
	case x.Share != nil && len(bare) > 0:
		x.tell(Warning, "others", cure, "NetworkManager may manage %s: it gives addresses to uplinks, which then are refused, and takes down what it thinks is its own", strings.Join(bare, ", "))
	case x.Share == nil && value == "":
		x.tell(Warning, "others", "in /etc/NetworkManager/conf.d/weft.conf: [keyfile] unmanaged-devices=interface-name:UPLINK;interface-name:BRIDGE - then nmcli general reload",
			"NetworkManager runs and no unmanaged-devices are set: it gives addresses to uplinks, which then are refused, and takes down what it thinks is its own")
	}
}

// devices are the devices of the tree that a manager of the network would find on the host.
func (x *exam) devices() (out []string) {
	if x.Share == nil || x.Share.Host == nil {
		return nil
	}
	for _, b := range x.Share.Host.Spec.Bridges {
		out = append(append(out, b.Name), b.Uplinks...)
	}
	return out
}

// unmanaged reads NetworkManager's list of devices; of its words those that name devices.
func unmanaged(list, name string) bool {
	covered := false
	for word := range strings.FieldsFuncSeq(list, func(r rune) bool { return r == ';' || r == ',' || r == ' ' }) {
		except := strings.HasPrefix(word, "except:")
		pattern, named := strings.CutPrefix(strings.TrimPrefix(word, "except:"), "interface-name:")
		if !named && word != "*" {
			continue
		}
		if ok, err := path.Match(strings.TrimPrefix(pattern, "="), name); err == nil && ok {
			if except {
				return false
			}
			covered = true
		}
	}
	return covered
}

// networkd removes routes and rules that it did not write, each time it starts.
func (x *exam) networkd() {
	if !x.runs("systemd-networkd") {
		return
	}
	var set []string
	for _, key := range []string{"ManageForeignRoutes", "ManageForeignRoutingPolicyRules"} {
		main := []string{"/etc/systemd/networkd.conf", "/run/systemd/networkd.conf", "/usr/local/lib/systemd/networkd.conf", "/usr/lib/systemd/networkd.conf"}
		value, there := x.setting("Network", key, main, "/etc/systemd/networkd.conf.d", "/run/systemd/networkd.conf.d", "/usr/local/lib/systemd/networkd.conf.d", "/usr/lib/systemd/networkd.conf.d")
		if !there || value == "" || yes(value) { // the default is yes
			set = append(set, key)
		}
	}
	if len(set) == 0 {
		return
	}
	l, what := Warning, "those of weft and of routing daemons too"
	if who := x.wants[needRoute]; who != "" {
		l, what = Error, who+" of weft too"
	}
	x.tell(l, "others", "in /etc/systemd/networkd.conf.d/weft.conf: [Network] "+strings.Join(set, "=no ")+"=no (each on a line of its own) - then systemctl restart systemd-networkd",
		"systemd-networkd removes routes and rules that it did not write whenever it starts (%s), %s", strings.Join(set, ", "), what)
}

// dockerd lets nothing be forwarded but for its containers.
func (x *exam) dockerd() {
	if !x.runs("dockerd") || x.Share != nil && x.wants[needBridge] == "" {
		return // frames on Open vSwitch pass no FORWARD
	}
	text := "dockerd runs: it loads br_netfilter and sets the policy of FORWARD to DROP, so that guests on Linux bridges do not hear each other"
	if x.policy == "ACCEPT" {
		text += "; the policy is ACCEPT now"
	}
	x.tell(Warning, "others", "sysctl net.bridge.bridge-nf-call-iptables=0 (and ip6tables) once it runs, or iptables -I DOCKER-USER -m physdev --physdev-is-bridged -j ACCEPT", "%s", text)
}

// shellValue is the last NAME=value of a file of assignments.
func shellValue(text, name string) (value string, set bool) {
	for line := range strings.Lines(text) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), name+"="); ok {
			value, set = strings.Trim(v, `"'`), true
		}
	}
	return value, set
}
