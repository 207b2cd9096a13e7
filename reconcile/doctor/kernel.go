package doctor

import "strings"

// kernel tells what follows from what the kernel has not.
func (x *exam) kernel() {
	if x.Privileged {
		switch {
		case x.Facts.ESP:
		case x.wants["ipsec-serve"] != "" && !x.exists(plugins+"kernel-libipsec.so"):
			x.tell(Error, "kernel", "apt install libcharon-extra-plugins", "the kernel has no ESP, and the plugin kernel-libipsec of charon, which does without, is not installed: no VPNs by IPsec")
		default:
			x.tell(Note, "kernel", "a kernel with esp4 and xfrm_user", "the kernel has no ESP: VPNs by IPsec are encrypted by charon in userspace, which is slower, and L2TP is refused")
		}
		if !x.Facts.WireGuard {
			x.tell(Note, "kernel", "a kernel with wireguard", "the kernel has no WireGuard: its users are served in userspace, which is slower")
		}
		if !x.Facts.PPP {
			x.tell(Note, "kernel", "a kernel with l2tp_ppp, and /dev/ppp", "the kernel has no PPP: L2TP is refused, protocol: IKEv2 is not")
		}
	}
	if x.vlans() {
		return
	}
	const cure = "a kernel with 8021q"
	switch who := x.wants[needVLAN]; {
	case !x.Facts.Rootless:
		x.tell(Note, "kernel", cure, "the kernel has no VLAN devices: on Linux bridges BPF programs stand for them")
	case who != "":
		x.tell(Error, "kernel", cure+", or root that is root outside of a user namespace", "the kernel has no VLAN devices, and lets no BPF programs stand for them in a user namespace: %s cannot be made", who)
	default:
		x.tell(Note, "kernel", cure, "the kernel has no VLAN devices, and lets no BPF programs stand for them in a user namespace: VLANs on Linux bridges cannot be made, those on Open vSwitch can")
	}
}

// vlans reports whether the kernel has 802.1q devices, or a module of them.
func (x *exam) vlans() bool {
	if x.exists("/proc/net/vlan") {
		return true
	}
	dir := "/lib/modules/" + x.read("/proc/sys/kernel/osrelease")
	return strings.Contains(x.read(dir+"/modules.dep"), "/8021q.ko") || strings.Contains(x.read(dir+"/modules.builtin"), "/8021q.ko")
}
