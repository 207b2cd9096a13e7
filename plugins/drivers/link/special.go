package link

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"strconv"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"weft.dev/reconcile/resource"
)

// made reports whether weft made a bridge, VLAN or VXLAN: they have our group from
// their first moment, and get their alias right after.
func (d *Driver) made(l iface) bool { return l.group == d.group }

// makeSpecial makes a bridge, a VLAN or a VXLAN true; one that is there is changed
// in place where the kernel can.
func (x *site) makeSpecial(l resource.Link, owner resource.Owner) error {
	if l.NS != "" {
		return fmt.Errorf("link %s: a %s is for the host's namespace only", l.Name, l.Sort())
	}
	mac, err := parseMAC(l.MAC)
	if err != nil {
		return err
	}
	alias, err := x.d.host.Alias(string(owner))
	if err != nil {
		return err
	}
	lower, err := x.lower(l)
	if err != nil {
		return err
	}
	cur, there, err := linkNamed(x.root, l.Name)
	switch {
	case err != nil:
		return err
	case there && !x.d.made(cur):
		if l.Adopts() && cur.kind == "bridge" {
			return nil
		}
		return fmt.Errorf("link %s is in the way and not weft's", l.Name)
	case there && !fits(cur, l, lower):
		if err := x.removeSpecial(cur); err != nil {
			return err
		}
		there = false
	}
	if !there {
		if err := x.create(l, mac, lower); err != nil {
			return fmt.Errorf("make %s %s: %w", l.Sort(), l.Name, err)
		}
		if cur, there, err = linkNamed(x.root, l.Name); err != nil || !there {
			return errors.Join(fmt.Errorf("link %s went as it was made", l.Name), err)
		}
	}
	if err := x.dress(cur, l, lower); err != nil {
		return fmt.Errorf("%s %s: %w", l.Sort(), l.Name, err)
	}
	if err := change(x.root, cur, wanted{mac: mac, mtu: l.MTU, up: l.Up, alias: alias}); err != nil {
		return fmt.Errorf("link %s: %w", l.Name, err)
	}
	return nil
}

// lower checks what l says and returns the link that it stands on, if any.
func (x *site) lower(l resource.Link) (iface, error) {
	dev := ""
	switch {
	case l.VLAN != nil:
		if l.VLAN.ID < 1 || l.VLAN.ID > 4094 {
			return iface{}, fmt.Errorf("link %s: VLAN %d is not between 1 and 4094", l.Name, l.VLAN.ID)
		}
		if dev = l.VLAN.Dev; dev == "" {
			return iface{}, fmt.Errorf("link %s: a VLAN needs a device", l.Name)
		}
	case l.VXLAN != nil:
		if err := checkVXLAN(l.VXLAN); err != nil {
			return iface{}, fmt.Errorf("link %s: %w", l.Name, err)
		}
		if _, err := wantedFDB(l.VXLAN); err != nil {
			return iface{}, fmt.Errorf("link %s: %w", l.Name, err)
		}
		dev = l.VXLAN.Dev
	}
	if dev == "" {
		return iface{}, nil
	}
	lower, ok, err := linkNamed(x.root, dev)
	if err == nil && !ok {
		err = fmt.Errorf("link %s: %s below it does not exist", l.Name, dev)
	}
	return lower, err
}

// fits reports whether cur can become l without being made anew. A VXLAN that begins
// or ends to learn is: what was learned, and what a routing daemon wrote, would stay.
func fits(cur iface, l resource.Link, lower iface) bool {
	switch {
	case l.Bridge != nil:
		return cur.kind == "bridge"
	case l.VLAN != nil && cur.kind == "vlan":
		return cur.vlan == l.VLAN.ID && cur.peer == lower.index && cur.peerNS == -1
	case l.VLAN != nil:
		return cur.kind == "veth" && cur.peerNS == -1
	}
	v := l.VXLAN
	return cur.kind == "vxlan" && cur.vxlan.VNI == v.VNI && cur.vxlan.DstPort == v.DstPort && cur.vxlan.Group == v.Group && cur.vxlan.Learning == v.Learning &&
		cur.lower == lower.index && (!cur.vxlan.Local.IsValid() || cur.vxlan.Local.Is4() == v.Local.Is4())
}

// create makes the link, down and with our group, without which a crash before it
// got its alias would leave a foreign link.
func (x *site) create(l resource.Link, mac net.HardwareAddr, lower iface) error {
	parts := []nl.NetlinkRequestData{
		nl.NewIfInfomsg(unix.AF_UNSPEC), nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(l.Name)),
		nl.NewRtAttr(unix.IFLA_GROUP, nl.Uint32Attr(x.d.group)),
	}
	if mac != nil {
		parts = append(parts, nl.NewRtAttr(unix.IFLA_ADDRESS, mac))
	}
	switch {
	case l.VLAN != nil:
		return x.createVLAN(l, parts, lower)
	case l.Bridge != nil && l.MTU != 0:
		// A bridge follows the MTU of its ports until it gets another than it
		// has (br_change_mtu of net/bridge/br_device.c).
		parts = append(parts, nl.NewRtAttr(unix.IFLA_MTU, nl.Uint32Attr(uint32(l.MTU+1))))
	case l.MTU != 0:
		parts = append(parts, nl.NewRtAttr(unix.IFLA_MTU, nl.Uint32Attr(uint32(l.MTU))))
	}
	return ask(x.root, unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL, append(parts, kindData(l, lower, false))...)
}

// kindData is what the kernel is told of a bridge or a VXLAN. It refuses the port of
// a VXLAN that is there, even the same.
func kindData(l resource.Link, lower iface, there bool) *nl.RtAttr {
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated(l.Sort()))
	data := info.AddRtAttr(nl.IFLA_INFO_DATA, nil)
	if b := l.Bridge; b != nil {
		data.AddRtAttr(nl.IFLA_BR_STP_STATE, nl.Uint32Attr(0))
		data.AddRtAttr(nl.IFLA_BR_MCAST_SNOOPING, flagAttr(b.Snooping))
		return info
	}
	v := l.VXLAN
	family := func(a netip.Addr, four, six int) {
		if a.Is4() {
			data.AddRtAttr(four, a.AsSlice())
		} else if a.IsValid() {
			data.AddRtAttr(six, a.AsSlice())
		}
	}
	data.AddRtAttr(nl.IFLA_VXLAN_ID, nl.Uint32Attr(v.VNI))
	family(v.Local, nl.IFLA_VXLAN_LOCAL, nl.IFLA_VXLAN_LOCAL6)
	family(v.Group, nl.IFLA_VXLAN_GROUP, nl.IFLA_VXLAN_GROUP6)
	if lower.index != 0 {
		data.AddRtAttr(nl.IFLA_VXLAN_LINK, nl.Uint32Attr(uint32(lower.index)))
	}
	if !there {
		data.AddRtAttr(nl.IFLA_VXLAN_PORT, binary.BigEndian.AppendUint16(nil, uint16(v.DstPort)))
	}
	data.AddRtAttr(nl.IFLA_VXLAN_TTL, []byte{uint8(v.TTL)})
	data.AddRtAttr(nl.IFLA_VXLAN_LEARNING, flagAttr(v.Learning))
	return info
}

func flagAttr(on bool) []byte {
	if on {
		return []byte{1}
	}
	return []byte{0}
}

// dress gives a link that is there what only its sort has. Bridges for guests,
// VLANs and VXLANs are silenced before they come up: the host would answer on them
// until they are plugged in.
func (x *site) dress(cur iface, l resource.Link, lower iface) error {
	if l.VLAN != nil {
		if !cur.silent {
			if err := silenceLink(l.Name, true); err != nil {
				return err
			}
		}
		if cur.kind == "vlan" {
			return nil
		}
		return x.splice(cur, l, lower)
	}
	same := l.Bridge != nil && !cur.stp && cur.bridge.Snooping == l.Bridge.Snooping
	if v := l.VXLAN; v != nil {
		same = cur.vxlan.Local == v.Local && cur.vxlan.TTL == v.TTL
	}
	if !same {
		msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
		msg.Index = cur.index
		if err := ask(x.root, unix.RTM_NEWLINK, 0, msg, kindData(l, lower, true)); err != nil {
			return err
		}
	}
	if quiet := l.VXLAN != nil || l.Bridge.Deaf; quiet != cur.silent {
		if err := silenceLink(l.Name, quiet); err != nil {
			return err
		}
	}
	if l.VXLAN != nil && !l.VXLAN.External {
		return x.setFDB(cur.index, l.VXLAN)
	}
	return nil
}

// silenceLink keeps the host's own stack from speaking on a link of its namespace,
// or lets it.
func silenceLink(name string, quiet bool) error {
	never, off := arpNever, 1
	if !quiet {
		never, off = 0, 0
	}
	for path, v := range map[string]int{"ipv4/conf/" + name + "/arp_ignore": never, "ipv6/conf/" + name + "/disable_ipv6": off} {
		err := os.WriteFile("/proc/sys/net/"+path, []byte(strconv.Itoa(v)), 0)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("silence %s: %w", name, err)
		}
	}
	return nil
}

// removeSpecial removes what weft made; what else there is of it goes along.
func (x *site) removeSpecial(cur iface) error {
	if cur.kind == "veth" {
		if err := x.unsplice(cur.name); err != nil {
			return err
		}
	}
	return remove(x.root, cur)
}

// dropNamed removes the bridge, VLAN or VXLAN called name, if there is one that weft
// made. Ports of a bridge that goes are released, whoever's they are.
func (x *site) dropNamed(name string) error {
	cur, there, err := linkNamed(x.root, name)
	switch {
	case err != nil:
		return err
	case !there:
		return x.unsplice(name)
	case !x.d.made(cur):
		return nil
	}
	return x.removeSpecial(cur)
}
