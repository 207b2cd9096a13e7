package link

import (
	"encoding/binary"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"weft.dev/reconcile/host"
	"weft.dev/reconcile/resource"
)

// detail is what the kernel tells of bridges, VLANs, VXLANs and ports.
type detail struct {
	group  uint32
	master int32 // index of the bridge that it is a port of
	port   portFlags
	stp    bool
	bridge resource.LinuxBridge
	vlan   int
	vxlan  resource.VXLAN // without FDB and Dev
	lower  int32          // of a VXLAN
	// silent: the host neither answers ARP nor speaks IPv6 here.
	silent bool
}

// portFlags are the settings of a bridge's port.
type portFlags struct{ hairpin, isolated, learning, suppress bool }

// Indices of the arrays below IFLA_AF_SPEC: IPV4_DEVCONF_ARP_IGNORE less one, of
// include/uapi/linux/ip.h, and DEVCONF_DISABLE_IPV6 of include/uapi/linux/ipv6.h.
const (
	inetConf      = 1
	inet6Conf     = 2
	arpIgnoreAt   = 18
	disableIPv6At = 26
)

// arpNever is the value of arp_ignore that answers for no address at all.
const arpNever = 8

// add reads one attribute of a link.
func (l *iface) add(typ uint16, v []byte) {
	switch typ {
	case unix.IFLA_GROUP:
		l.group = u32(v)
	case unix.IFLA_MASTER:
		l.master = int32(u32(v))
	case unix.IFLA_AF_SPEC:
		l.silent = silence(v)
	case unix.IFLA_LINKINFO:
		var data, slave []byte
		slaveKind := ""
		for t, w := range host.Attrs(v) {
			switch t {
			case nl.IFLA_INFO_DATA:
				data = w
			case nl.IFLA_INFO_SLAVE_KIND:
				slaveKind = text(w)
			case nl.IFLA_INFO_SLAVE_DATA:
				slave = w
			}
		}
		switch l.kind {
		case "bridge":
			l.addBridge(data)
		case "vlan":
			l.addVLAN(data)
		case "vxlan":
			l.addVXLAN(data)
		}
		if slaveKind == "bridge" {
			l.addPort(slave)
		}
	}
}

// silence reads the settings of IPv4 and IPv6 of a link.
func silence(spec []byte) bool {
	at := func(b []byte, want uint16, i int) uint32 {
		for t, v := range host.Attrs(b) {
			if t == want && len(v) >= 4*i+4 {
				return binary.NativeEndian.Uint32(v[4*i:])
			}
		}
		return 0
	}
	arp, six := false, true // without IPv6 in the kernel there is nothing to silence
	for t, v := range host.Attrs(spec) {
		switch t {
		case unix.AF_INET:
			arp = at(v, inetConf, arpIgnoreAt) == arpNever
		case unix.AF_INET6:
			six = at(v, inet6Conf, disableIPv6At) == 1
		}
	}
	return arp && six
}

func (l *iface) addBridge(data []byte) {
	for t, v := range host.Attrs(data) {
		switch t {
		case nl.IFLA_BR_STP_STATE:
			l.stp = u32(v) != 0
		case nl.IFLA_BR_MCAST_SNOOPING:
			l.bridge.Snooping = first(v) != 0
		}
	}
}

func (l *iface) addVLAN(data []byte) {
	for t, v := range host.Attrs(data) {
		if t == nl.IFLA_VLAN_ID && len(v) >= 2 {
			l.vlan = int(binary.NativeEndian.Uint16(v))
		}
	}
}

func (l *iface) addVXLAN(data []byte) {
	for t, v := range host.Attrs(data) {
		switch t {
		case nl.IFLA_VXLAN_ID:
			l.vxlan.VNI = u32(v)
		case nl.IFLA_VXLAN_GROUP, nl.IFLA_VXLAN_GROUP6:
			l.vxlan.Group = remote(v)
		case nl.IFLA_VXLAN_LOCAL, nl.IFLA_VXLAN_LOCAL6:
			l.vxlan.Local = remote(v)
		case nl.IFLA_VXLAN_LINK:
			l.lower = int32(u32(v))
		case nl.IFLA_VXLAN_TTL:
			l.vxlan.TTL = int(first(v))
		case nl.IFLA_VXLAN_LEARNING:
			l.vxlan.Learning = first(v) != 0
		case nl.IFLA_VXLAN_PORT:
			if len(v) >= 2 {
				l.vxlan.DstPort = int(binary.BigEndian.Uint16(v))
			}
		}
	}
}

// remote reads an address; one of zeros is none.
func remote(v []byte) netip.Addr {
	a, ok := netip.AddrFromSlice(v)
	if !ok || a.IsUnspecified() {
		return netip.Addr{}
	}
	return a
}

func (l *iface) addPort(slave []byte) {
	for t, v := range host.Attrs(slave) {
		on := first(v) != 0
		switch t {
		case nl.IFLA_BRPORT_MODE:
			l.port.hairpin = on
		case nl.IFLA_BRPORT_LEARNING:
			l.port.learning = on
		case nl.IFLA_BRPORT_NEIGH_SUPPRESS:
			l.port.suppress = on
		case nl.IFLA_BRPORT_ISOLATED:
			l.port.isolated = on
		}
	}
}
