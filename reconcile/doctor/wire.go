package doctor

import (
	"io/fs"
	"maps"
	"net/netip"
	"path"
	"slices"
	"strings"

	"weft.dev/reconcile/model"
	"weft.dev/schema"
)

// bridges tells of labels and uplinks that are not what the tree takes them for.
func (x *exam) bridges() {
	if x.Share == nil || x.Share.Host == nil {
		return
	}
	h := x.Share.Host
	for i := range h.Spec.Bridges {
		b := &h.Spec.Bridges[i]
		at := h.Doc.PosOf(b.At)
		if p := x.physical(b.Name); p != nil {
			x.label(b, p, at)
		}
		for _, up := range b.Uplinks {
			x.uplink(b, up, at)
		}
	}
}

// physical is a physical network that has the label, or nil.
func (x *exam) physical(label string) *model.PhysicalNetwork {
	i := slices.IndexFunc(x.Share.Wires, func(p *model.PhysicalNetwork) bool { return carries(p, label) })
	if i < 0 {
		return nil
	}
	return x.Share.Wires[i]
}

func carries(p *model.PhysicalNetwork, label string) bool {
	return p.Guest == label || p.Public == label
}

// What a device of the host is to a label.
const (
	isOVS    = "a bridge of Open vSwitch"
	isKernel = "a Linux bridge"
	isPlain  = "no bridge"
)

// kindOf is "" where there is no such device, or where it cannot be known.
func (x *exam) kindOf(name string) string {
	switch {
	case x.ovs[name]:
		return isOVS
	case x.exists("/sys/class/net/" + name + "/bridge"):
		return isKernel
	case x.exists("/sys/class/net/"+name) && (x.ovs != nil || !x.has("ovs-vswitchd")):
		return isPlain
	}
	return ""
}

func (x *exam) label(b *schema.HostBridge, p *model.PhysicalNetwork, at schema.Pos) {
	want, other := isOVS, "LinuxBridge"
	if p.Spec.VSwitch == "LinuxBridge" {
		want, other = isKernel, "OpenVSwitch"
	}
	switch is := x.kindOf(b.Name); {
	case is == want:
	case is != "":
		cure := "rename the device"
		if is != isPlain {
			cure += ", or write vswitch: " + other + " in physical network " + p.Name
		}
		x.tell(Error, "bridge", cure, "%s is %s here, and physical network %s wants %s", b.Name, is, p.Name, want).At = at
	case b.Manage == "Use" && !x.exists("/sys/class/net/"+b.Name) && (want == isKernel || x.ovs != nil):
		x.tell(Error, "bridge", "make it, or write manage: Create", "there is no bridge %s, and manage: Use leaves it to the host to make it", b.Name).At = at
	}
}

func (x *exam) uplink(b *schema.HostBridge, up string, at schema.Pos) {
	dir := "/sys/class/net/" + up
	if !x.exists(dir) {
		x.tell(Error, "bridge", "ip link shows what there is", "there is no %s, which is to be an uplink of %s", up, b.Name).At = at
		return
	}
	if in := x.master(up); in != "" && in != b.Name && in != "ovs-system" {
		x.tell(Error, "bridge", "ip link set "+up+" nomaster (Open vSwitch: ovs-vsctl del-port "+up+"), and ask who put it there", "%s is in %s here, and is to be an uplink of %s", up, in, b.Name).At = at
	}
	if has := x.Addresses[up]; len(has) > 0 && b.Manage == "Create" {
		x.tell(Error, "bridge", "move it to the bridge by hand, or write manage: Takeover, with weft apply --confirm-timeout",
			"%s has address %s, and as an uplink of %s would not be reached by it any more: it is refused", up, has[0], b.Name).At = at
	}
	if state := x.read(dir + "/carrier"); state == "0" {
		x.tell(Warning, "wire", "look at the cable and the switch's port", "%s, an uplink of %s, is up and has no carrier", up, b.Name).At = at
	}
}

// master is the bridge that a device is a port of, or "".
func (x *exam) master(name string) string {
	if x.ovs != nil {
		if out, err := x.Run(x.ctx, "", "ovs-vsctl", "--timeout=3", "--db="+x.OVSDB, "iface-to-br", name); err == nil {
			return strings.TrimSpace(string(out))
		}
	}
	target, err := fs.ReadLink(x.Root, "sys/class/net/"+name+"/master")
	if err != nil {
		return ""
	}
	return path.Base(target)
}

// wires compares the MTU of each wire with those of the devices that lead to it.
func (x *exam) wires() {
	if x.Share == nil || x.Share.Host == nil {
		return
	}
	h, told := x.Share.Host, map[string]bool{}
	for _, p := range x.Share.Wires {
		for _, label := range []string{p.Guest, p.Public} {
			b := h.Bridge(label)
			if label == "" || b == nil {
				continue
			}
			devices := slices.Clone(b.Uplinks)
			if b.Manage == "Use" {
				devices = append(devices, b.Name)
			}
			for _, dev := range devices {
				x.mtu(dev, p, told)
			}
		}
		if h.Bridge(p.Guest) != nil && overhead(p) > 0 {
			x.endpoint(h, p, told)
		}
	}
}

func overhead(p *model.PhysicalNetwork) int { return model.Overhead(strings.ToLower(p.Spec.Isolation)) }

// mtu: too small for what guests send is an error, smaller than stated a warning.
func (x *exam) mtu(dev string, p *model.PhysicalNetwork, told map[string]bool) {
	has, ok := x.number("/sys/class/net/" + dev + "/mtu")
	stated := p.Spec.MTU
	key := dev + " " + p.Name
	if !ok || has >= stated || told[key] {
		return
	}
	told[key] = true
	l, what := Warning, "what guests send today fits, larger frames are lost"
	if has < min(1500+overhead(p), stated) {
		l, what = Error, "larger frames are lost without a word"
	}
	x.tell(l, "wire", "raise it here and on the switch's port, or state the smaller mtu (weft then tells guests)",
		"the MTU of %s is %d, and the wire of physical network %s is said to carry %d: %s", dev, has, p.Name, stated, what).At = p.Doc.At("spec.mtu")
}

// endpoint looks at the device that tunnels leave by.
func (x *exam) endpoint(h *model.Host, p *model.PhysicalNetwork, told map[string]bool) {
	if !h.TunnelIP.IsValid() || x.Addresses == nil {
		return
	}
	for i := range h.Spec.Bridges {
		if b := &h.Spec.Bridges[i]; b.Manage != "Use" && b.Address.Addr() == h.TunnelIP {
			return // weft's to make; its uplinks are looked at
		}
	}
	for _, dev := range slices.Sorted(maps.Keys(x.Addresses)) {
		if slices.ContainsFunc(x.Addresses[dev], func(a netip.Prefix) bool { return a.Addr() == h.TunnelIP }) {
			x.mtu(dev, p, told)
			return
		}
	}
	x.tell(Error, "wire", "ip addr shows what there is", "no device of this host has %s, where tunnels are to end", h.TunnelIP).At = h.Doc.At("spec.tunnelIP")
}
