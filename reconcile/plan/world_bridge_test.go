package plan_test

import (
	"fmt"
	"net/netip"

	"weft.dev/reconcile/resource"
)

// linuxShared draws what hosts have for networks on bridges of the kernel's: an
// uplink that weft did not make.
func (d *draw) linuxShared() {
	if d.some(3, 4) {
		d.ask(shared, resource.Link{Name: "eth7", Up: true})
	}
}

// linux draws a network on a bridge of the kernel's: its VLAN or VXLAN, the ports of
// guests with guards, and limits in both directions.
func (d *draw) linux(owner resource.Owner, i int) {
	name := fmt.Sprintf("lbr%d", i)
	d.ask(owner, resource.Link{Name: name, Up: true, MTU: 1450 + d.IntN(2), Bridge: &resource.LinuxBridge{Deaf: d.some(1, 2)}})
	d.trunk(owner, name, i)
	for j := range 2 {
		if !d.some(2, 3) {
			continue
		}
		p := resource.BridgePort{Bridge: name, IfaceID: fmt.Sprintf("acme/lvm%d/n%d", j, i), MAC: fmt.Sprintf("02:00:00:0%d:0%d:0%d", i, j, d.IntN(2)), Isolated: d.some(1, 4)}
		if d.some(2, 3) {
			p.Guard = &resource.Guard{MAC: p.MAC, Down: d.some(1, 5), Open: d.some(1, 5)}
			if d.some(1, 2) {
				p.Guard.Owned = []resource.Owned{{MAC: p.MAC, CIDR: netip.MustParsePrefix("10.1.1.5/32")}, {MAC: p.MAC, CIDR: netip.MustParsePrefix("2001:db8::5/128")}}
			}
			if d.some(1, 2) {
				p.Guard.Groups = &resource.GuestGroups{Open: d.some(1, 2), Ingress: []resource.GuestRule{{Proto: 6, Ports: []resource.PortSpan{{From: 80, To: 80 + uint16(d.IntN(2))}}, ICMPType: -1, ICMPCode: -1}}}
			}
		}
		id := d.ask(owner, p)
		for _, ingress := range []bool{false, true} {
			if d.some(1, 2) {
				d.ask(owner, resource.Qdisc{IfaceID: p.IfaceID, MAC: p.MAC, Mbit: 10 + d.IntN(2), Ingress: ingress, Below: &id})
			}
		}
	}
}

// trunk draws how bridge name is joined to the wire.
func (d *draw) trunk(owner resource.Owner, name string, i int) {
	var l resource.Link
	switch d.IntN(3) {
	case 0:
		return
	case 1:
		if !d.has(resource.LinkID("", "eth7")) {
			return
		}
		l = resource.Link{Name: fmt.Sprintf("eth7.%d", i), Up: true, VLAN: &resource.VLAN{Dev: "eth7", ID: 100 + i}}
	case 2:
		x := &resource.VXLAN{VNI: uint32(6000 + i), Local: netip.MustParseAddr("192.0.2.1"), DstPort: 4790}
		if x.External = d.some(1, 4); x.External {
			x.Joined = d.some(1, 2)
		} else if d.some(1, 3) && d.has(resource.LinkID("", "eth7")) {
			x.Group, x.Dev = netip.MustParseAddr("239.0.23.112"), "eth7"
		} else {
			for j := range d.IntN(3) {
				remote := netip.AddrFrom4([4]byte{192, 0, 2, byte(100 + j)})
				x.Remotes = append(x.Remotes, remote)
				x.Peers = append(x.Peers, resource.Peer{MAC: fmt.Sprintf("02:00:00:00:00:0%d", j), Remote: remote})
			}
		}
		l = resource.Link{Name: fmt.Sprintf("vx%d", i), Up: true, VXLAN: x}
	}
	id := d.ask(owner, l)
	d.ask(owner, resource.BridgePort{Bridge: name, Name: l.Name, Link: &id, Static: l.VXLAN != nil, NeighSuppress: l.VXLAN != nil && d.some(1, 2)})
}
