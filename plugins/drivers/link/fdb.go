package link

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"unsafe"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"weft.dev/reconcile/host"
	"weft.dev/reconcile/resource"
)

// everybody is the MAC of the entries that say where frames for all and for
// unknown MACs go.
const everybody = "00:00:00:00:00:00"

// neighbour is struct ndmsg.
type neighbour struct{ unix.NdMsg }

// Len implements nl.NetlinkRequestData.
func (*neighbour) Len() int { return unix.SizeofNdMsg }

// Serialize implements nl.NetlinkRequestData.
func (n *neighbour) Serialize() []byte {
	return slices.Clone((*(*[unix.SizeofNdMsg]byte)(unsafe.Pointer(n)))[:])
}

// permanent is the state of entries that do not age.
const permanent = unix.NUD_PERMANENT | unix.NUD_NOARP

// parseFDB reads an entry of a VXLAN that somebody set; false for all others.
func parseFDB(m []byte) (index int32, p resource.Peer, ok bool) {
	if len(m) < unix.SizeofNdMsg {
		return 0, p, false
	}
	msg := *(*unix.NdMsg)(unsafe.Pointer(&m[0]))
	if msg.Family != unix.AF_BRIDGE || msg.Flags&unix.NTF_SELF == 0 || msg.State&unix.NUD_PERMANENT == 0 {
		return 0, p, false
	}
	for typ, v := range host.Attrs(m[unix.SizeofNdMsg:]) {
		switch typ {
		case unix.NDA_LLADDR:
			p.MAC = net.HardwareAddr(v).String()
		case unix.NDA_DST:
			p.Remote = remote(v)
		}
	}
	return msg.Ifindex, p, p.Remote.IsValid() && p.MAC != ""
}

// fdb reads what was set of all VXLANs of s, by index and sorted; index limits the
// look to one, unless 0.
func fdb(s *host.Space, index int32) (map[int32][]resource.Peer, error) {
	ask := &neighbour{unix.NdMsg{Family: unix.AF_BRIDGE, Ifindex: index}}
	out, err := s.Dump(unix.NETLINK_ROUTE, unix.RTM_GETNEIGH, unix.RTM_NEWNEIGH, ask)
	if err != nil {
		return nil, fmt.Errorf("read FDB: %w", err)
	}
	all := map[int32][]resource.Peer{}
	for _, m := range out {
		if index, p, ok := parseFDB(m); ok {
			all[index] = append(all[index], p)
		}
	}
	for _, l := range all {
		slices.SortFunc(l, resource.ComparePeers)
	}
	return all, nil
}

// putFDB puts entries into a VXLAN as they were observed; the one of its group is
// the kernel's own.
func putFDB(v *resource.VXLAN, entries []resource.Peer) {
	for _, p := range entries {
		switch {
		case p.MAC == everybody && p.Remote == v.Group:
		case p.MAC == everybody:
			v.Remotes = append(v.Remotes, p.Remote)
		default:
			v.Peers = append(v.Peers, p)
		}
	}
}

// wantedFDB is what v asks for.
func wantedFDB(v *resource.VXLAN) ([]resource.Peer, error) {
	var out []resource.Peer
	for _, r := range v.Remotes {
		out = append(out, resource.Peer{MAC: everybody, Remote: r})
	}
	for _, p := range v.Peers {
		mac, err := parseMAC(p.MAC)
		if err != nil {
			return nil, err
		}
		if mac == nil || mac[0]&1 != 0 || mac.String() == everybody || mac.String() != p.MAC {
			return nil, fmt.Errorf("%q is no MAC of one peer, in lower case", p.MAC)
		}
		out = append(out, p)
	}
	for i, p := range out {
		if !p.Remote.IsValid() || p.Remote.Is4() != v.Local.Is4() || p.Remote.IsMulticast() || p.Remote.IsUnspecified() {
			return nil, fmt.Errorf("%s is no remote of a tunnel from %s", p.Remote, v.Local)
		}
		if i > 0 && p.MAC != everybody && out[i-1].MAC == p.MAC {
			return nil, fmt.Errorf("MAC %s is behind two remotes", p.MAC)
		}
	}
	slices.SortFunc(out, resource.ComparePeers)
	return slices.Compact(out), nil
}

// setFDB makes entries all that is set of the VXLAN at index. New ones come first:
// no remote is without traffic in between.
func (x *site) setFDB(index int32, v *resource.VXLAN) error {
	want, err := wantedFDB(v)
	if err != nil {
		return err
	}
	all, err := fdb(x.space, index)
	if err != nil {
		return err
	}
	has := all[index]
	for _, p := range want {
		if slices.Contains(has, p) {
			continue
		}
		flags := unix.NLM_F_CREATE | unix.NLM_F_REPLACE
		if p.MAC == everybody {
			flags = unix.NLM_F_CREATE | unix.NLM_F_APPEND
		}
		if err := x.entry(unix.RTM_NEWNEIGH, flags, index, p); err != nil {
			return fmt.Errorf("FDB entry %s dst %s: %w", p.MAC, p.Remote, err)
		}
	}
	for _, p := range has {
		moved := p.MAC != everybody && slices.ContainsFunc(want, func(w resource.Peer) bool { return w.MAC == p.MAC })
		if slices.Contains(want, p) || moved || p.MAC == everybody && p.Remote == v.Group {
			continue
		}
		if err := x.entry(unix.RTM_DELNEIGH, 0, index, p); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("remove FDB entry %s dst %s: %w", p.MAC, p.Remote, err)
		}
	}
	return nil
}

func (x *site) entry(typ, flags int, index int32, p resource.Peer) error {
	mac, err := net.ParseMAC(p.MAC)
	if err != nil {
		return err
	}
	msg := &neighbour{unix.NdMsg{Family: unix.AF_BRIDGE, Ifindex: index, State: permanent, Flags: unix.NTF_SELF}}
	return ask(x.space, typ, flags, msg, nl.NewRtAttr(unix.NDA_LLADDR, mac), nl.NewRtAttr(unix.NDA_DST, p.Remote.AsSlice()))
}

// checkVXLAN refuses what the kernel would take for something else.
func checkVXLAN(v *resource.VXLAN) error {
	var wrong []string
	if v.VNI == 0 || v.VNI >= 1<<24 {
		wrong = append(wrong, fmt.Sprintf("vni %d is not between 1 and 16777215", v.VNI))
	}
	if !v.Local.IsValid() || v.Local.IsUnspecified() || v.Local.IsMulticast() {
		wrong = append(wrong, fmt.Sprintf("%s is no address of this host", v.Local))
	}
	if v.DstPort < 1 || v.DstPort > 65535 {
		wrong = append(wrong, fmt.Sprintf("%d is no UDP port", v.DstPort))
	}
	if v.TTL < 0 || v.TTL > 255 {
		wrong = append(wrong, fmt.Sprintf("a TTL of %d", v.TTL))
	}
	if wrong = append(wrong, ends(v)...); wrong != nil {
		return fmt.Errorf("vxlan: %s", strings.Join(wrong, "; "))
	}
	return nil
}

// ends lists what is wrong with how v finds the others.
func ends(v *resource.VXLAN) (wrong []string) {
	group := v.Group != (netip.Addr{})
	if group && (!v.Group.IsMulticast() || v.Dev == "" || v.Group.Is4() != v.Local.Is4() || len(v.Remotes) > 0) {
		wrong = append(wrong, "a multicast group has a device, the family of the local address, and no remotes beside it")
	}
	if v.External && (v.Learning || len(v.Remotes) > 0 || len(v.Peers) > 0 || group) {
		wrong = append(wrong, "a routing daemon's VXLAN has no entries, group or learning beside it")
	}
	if v.Dev != "" && !group {
		wrong = append(wrong, "a device is for a multicast group only")
	}
	return wrong
}
