// Package bridge knows what broadcast domains consist of on bridges of the Linux
// kernel, as CloudStack's BridgeVifDriver names them: `br<pif>-<vlan>` on the device
// `<pif>.<vlan>` for a VLAN, `brvx-<vni>` on `vxlan<vni>` for a VXLAN, the label's
// own bridge for what is untagged. pif is the label's uplink.
//
// In go a host and a broadcast domain; out come names and resources. It is pure;
// gurus import it.
package bridge

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	"weft.dev/reconcile/model"
	"weft.dev/reconcile/plugin"
	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

// Switch is the vswitch of physical networks whose switch is the kernel.
const Switch = "LinuxBridge"

// maxName is the longest name of an interface.
const maxName = 15

// Uplink is what CloudStack calls the pif of a label: the interface that its VLANs
// are devices of, "" where the host's document states none.
func Uplink(b *schema.HostBridge) string {
	switch {
	case b.Bond != nil:
		return b.Bond.Name
	case len(b.Uplinks) == 1:
		return b.Uplinks[0]
	}
	return ""
}

// VLANName is the name of the bridge of a VLAN of an uplink.
func VLANName(uplink string, vlan uint32) string {
	return resource.Short(maxName, "br"+uplink, strconv.FormatUint(uint64(vlan), 10))
}

// VNIName is the name of the bridge of a VXLAN.
func VNIName(vni uint32) string {
	return resource.Short(maxName, "brvx", strconv.FormatUint(uint64(vni), 10))
}

// Wire is the bridge of a VLAN of a label on h, of what is untagged for VLAN 0; ""
// where the label is not on h, or has no uplink that the VLAN could be of.
func Wire(h *model.Host, label string, vlan uint32) string {
	b := h.Bridge(label)
	switch {
	case b == nil:
		return ""
	case vlan == 0:
		return label
	case Uplink(b) == "":
		return ""
	}
	return VLANName(Uplink(b), vlan)
}

// VLAN returns the bridge of a VLAN of label, which Wire names, with its way to the
// uplink.
func VLAN(h *model.Host, label string, vlan uint32, mtu int) []resource.State {
	uplink := Uplink(h.Bridge(label))
	device := resource.Link{
		Name: resource.Short(maxName, uplink+"."+strconv.FormatUint(uint64(vlan), 10)), MTU: mtu, Up: true,
		VLAN: &resource.VLAN{Dev: uplink, ID: int(vlan)},
	}
	return on(Wire(h, label, vlan), device)
}

// on returns a bridge for guests with the one link that leads away from the host.
func on(name string, device resource.Link) []resource.State {
	id := device.ID()
	return []resource.State{
		resource.Link{Name: name, MTU: device.MTU, Up: true, Bridge: &resource.LinuxBridge{Deaf: true}},
		device,
		resource.BridgePort{Bridge: name, Name: device.Name, Link: &id},
	}
}

// A Tunnel is a VXLAN on one host.
type Tunnel struct {
	VNI     uint32
	Port    int
	MTU     int
	Remotes []netip.Addr // of the other hosts
	// Multicast finds them by a group instead.
	Multicast bool
	// EVPN has the host's routing daemon say where they are, and which MAC is behind
	// which, as CloudStack's modifyvxlan-evpn.sh.
	EVPN bool
}

// VXLAN returns the bridge of a VXLAN with its tunnels.
//
// Unless a daemon says where they are, remote MACs are learned from what arrives, and
// what is for unknown ones goes to every remote: a guest may be on any of its hosts,
// and moves among them without a commit, so that the tree does not say behind which
// it is.
func VXLAN(h *model.Host, t Tunnel) []resource.State {
	v := &resource.VXLAN{VNI: t.VNI, Local: h.TunnelIP, DstPort: t.Port, Learning: true}
	dev, endpoint := plugin.Endpoint(h)
	v.Endpoint = endpoint
	switch {
	case t.EVPN:
		v.Learning, v.External, v.Joined = false, true, len(t.Remotes) > 0
	case t.Multicast:
		v.Group, v.Dev, v.TTL = Group(t.VNI, h.TunnelIP.Is6()), dev, groupTTL
	default:
		v.Remotes = slices.SortedFunc(slices.Values(t.Remotes), netip.Addr.Compare)
	}
	device := resource.Link{Name: "vxlan" + strconv.FormatUint(uint64(t.VNI), 10), MTU: t.MTU, Up: true, VXLAN: v}
	list := on(VNIName(t.VNI), device)
	if t.EVPN {
		i := len(list) - 1
		p, _ := list[i].(resource.BridgePort)
		p.Static, p.NeighSuppress = true, true
		list[i] = p
	}
	return list
}

// groupTTL is that of CloudStack's multicast script.
const groupTTL = 10

// Group is the multicast group of a VNI, as CloudStack's script computes it: the three
// bytes of the number, which in IPv6 are written in decimal.
func Group(vni uint32, six bool) netip.Addr {
	a, b, c := byte(vni>>16), byte(vni>>8), byte(vni)
	if six {
		return netip.MustParseAddr(fmt.Sprintf("ff05::%d:%d:%d", a, b, c))
	}
	return netip.AddrFrom4([4]byte{239, a, b, c})
}

// Limit returns what keeps a port to mbit, in 10^6 bit/s, in both directions: none
// for 0. A port is that of a guest, or the host's end of a router's link: then the
// other end, inner in namespace ns, limits what leaves the router.
func Limit(p *resource.BridgePort, ns, inner string, mbit int) []resource.State {
	if mbit <= 0 {
		return nil
	}
	to := resource.Qdisc{Link: p.Name, Mbit: mbit, IfaceID: p.IfaceID, MAC: p.MAC}
	if ns == "" {
		// It stays where it is when the port goes.
		from := to
		from.Ingress = true
		return []resource.State{to, from}
	}
	port := p.ID()
	to.Below = &port
	return []resource.State{to, resource.Qdisc{NS: ns, Link: inner, Mbit: mbit}}
}
