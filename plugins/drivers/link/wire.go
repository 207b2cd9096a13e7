package link

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"weft.dev/reconcile/host"
)

// iface is a link as the kernel tells it.
type iface struct {
	index, peer int32
	peerNS      int // nsid of the namespace of peer; -1 is its own
	name, kind  string
	alias, mac  string
	mtu         int
	up          bool
	detail
}

// rtextSkipStats is RTEXT_FILTER_SKIP_STATS: do not count what nobody reads.
const rtextSkipStats = 1 << 3

// links reads all links of s.
func links(s *host.Space) ([]iface, error) {
	out, err := s.Dump(unix.NETLINK_ROUTE, unix.RTM_GETLINK, unix.RTM_NEWLINK,
		nl.NewIfInfomsg(unix.AF_UNSPEC), nl.NewRtAttr(unix.IFLA_EXT_MASK, nl.Uint32Attr(rtextSkipStats)))
	if err != nil {
		return nil, fmt.Errorf("read links: %w", err)
	}
	list := make([]iface, 0, len(out))
	for _, m := range out {
		list = append(list, parseLink(m))
	}
	return list, nil
}

// linkNamed reads one link; false if there is none.
func linkNamed(s *host.Space, name string) (iface, bool, error) {
	req := s.Request(unix.RTM_GETLINK, 0)
	req.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	req.AddData(nl.NewRtAttr(unix.IFLA_EXT_MASK, nl.Uint32Attr(rtextSkipStats)))
	req.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)))
	out, err := req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWLINK)
	switch {
	case errors.Is(err, unix.ENODEV):
		return iface{}, false, nil
	case err != nil:
		return iface{}, false, fmt.Errorf("read link %s: %w", name, err)
	case len(out) == 0:
		return iface{}, false, nil
	}
	return parseLink(out[0]), true, nil
}

func parseLink(m []byte) iface {
	msg := nl.DeserializeIfInfomsg(m)
	l := iface{index: msg.Index, up: msg.Flags&unix.IFF_UP != 0, peerNS: -1}
	for typ, v := range host.Attrs(m[unix.SizeofIfInfomsg:]) {
		switch typ {
		case unix.IFLA_IFNAME:
			l.name = text(v)
		case unix.IFLA_IFALIAS:
			l.alias = text(v)
		case unix.IFLA_ADDRESS:
			l.mac = net.HardwareAddr(v).String()
		case unix.IFLA_MTU:
			l.mtu = int(u32(v))
		case unix.IFLA_LINK:
			l.peer = int32(u32(v))
		case unix.IFLA_LINK_NETNSID:
			l.peerNS = int(int32(u32(v)))
		case unix.IFLA_LINKINFO:
			for t, w := range host.Attrs(v) {
				if t == unix.IFLA_INFO_KIND {
					l.kind = text(w)
				}
			}
		}
		l.add(typ, v)
	}
	return l
}

// ifaddr is an address as the kernel tells it.
type ifaddr struct {
	index  int32
	prefix netip.Prefix
	flags  uint32
	scope  uint8
	proto  uint8
	peer   bool // the far end has another address
}

// ifaProto is IFA_PROTO of include/uapi/linux/if_addr.h.
const ifaProto = 11

// The values of IFA_PROTO that are the kernel's own doing: addresses of lo, of
// router advertisements and link-local ones.
const (
	protoKernelLo = 1
	protoKernelLL = 3
)

// addrs reads all addresses of s.
func addrs(s *host.Space) ([]ifaddr, error) {
	out, err := s.Dump(unix.NETLINK_ROUTE, unix.RTM_GETADDR, unix.RTM_NEWADDR, nl.NewIfAddrmsg(unix.AF_UNSPEC))
	if err != nil {
		return nil, fmt.Errorf("read addresses: %w", err)
	}
	list := make([]ifaddr, 0, len(out))
	for _, m := range out {
		if a := parseAddr(m); a.prefix.IsValid() {
			list = append(list, a)
		}
	}
	return list, nil
}

func parseAddr(m []byte) ifaddr {
	msg := nl.DeserializeIfAddrmsg(m)
	a := ifaddr{index: int32(msg.Index), flags: uint32(msg.Flags), scope: msg.Scope}
	var local, address netip.Addr
	for typ, v := range host.Attrs(m[unix.SizeofIfAddrmsg:]) {
		switch typ {
		case unix.IFA_LOCAL:
			local, _ = netip.AddrFromSlice(v)
		case unix.IFA_ADDRESS:
			address, _ = netip.AddrFromSlice(v)
		case unix.IFA_FLAGS:
			a.flags = u32(v)
		case ifaProto:
			a.proto = first(v)
		}
	}
	if !local.IsValid() {
		local = address
	}
	a.peer = address.IsValid() && address != local
	a.prefix = netip.PrefixFrom(local, int(msg.Prefixlen))
	return a
}

// kernelMade reports whether nobody configured a.
func (a ifaddr) kernelMade() bool {
	ip := a.prefix.Addr()
	return a.proto >= protoKernelLo && a.proto <= protoKernelLL ||
		ip.IsLoopback() || ip.Is6() && ip.IsLinkLocalUnicast() ||
		a.flags&(unix.IFA_F_PERMANENT|unix.IFA_F_MANAGETEMPADDR) != unix.IFA_F_PERMANENT && ip.Is6()
}

// rtaNextHop is RTA_NH_ID of include/uapi/linux/rtnetlink.h.
const rtaNextHop = 30

// hop is a route of the main table as the kernel tells it.
type hop struct {
	dst    netip.Prefix
	via    netip.Addr
	oif    int32
	prio   uint32
	proto  uint8
	typ    uint8
	tos    uint8
	scope  uint8
	onlink bool
	multi  bool // several next hops, or one we do not understand
}

// routes reads the main table of s; proto limits it to one protocol unless 0.
func routes(s *host.Space, proto uint8) ([]hop, error) {
	var list []hop
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		msg := &nl.RtMsg{RtMsg: unix.RtMsg{Family: family, Protocol: proto, Table: unix.RT_TABLE_MAIN}}
		out, err := s.Dump(unix.NETLINK_ROUTE, unix.RTM_GETROUTE, unix.RTM_NEWROUTE, msg)
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EOPNOTSUPP) {
			continue // no route was ever made in that family, or there is none
		}
		if err != nil {
			return nil, fmt.Errorf("read routes: %w", err)
		}
		for _, m := range out {
			if r, ok := parseRoute(m); ok && (proto == 0 || r.proto == proto) {
				list = append(list, r)
			}
		}
	}
	return list, nil
}

// parseRoute reads a route of the main table.
func parseRoute(m []byte) (hop, bool) {
	r, table, ok := parseTabled(m)
	return r, ok && table == unix.RT_TABLE_MAIN
}

// parseTabled reads a route, and which table it is of.
func parseTabled(m []byte) (hop, uint32, bool) {
	msg := nl.DeserializeRtMsg(m)
	if msg.Flags&unix.RTM_F_CLONED != 0 {
		return hop{}, 0, false
	}
	r := hop{proto: msg.Protocol, typ: msg.Type, tos: msg.Tos, scope: msg.Scope, onlink: msg.Flags&unix.RTNH_F_ONLINK != 0}
	table := uint32(msg.Table)
	dst := netip.IPv4Unspecified()
	if msg.Family == unix.AF_INET6 {
		dst = netip.IPv6Unspecified()
	}
	for typ, v := range host.Attrs(m[unix.SizeofRtMsg:]) {
		switch typ {
		case unix.RTA_TABLE:
			table = u32(v)
		case unix.RTA_DST:
			dst, _ = netip.AddrFromSlice(v)
		case unix.RTA_GATEWAY:
			r.via, _ = netip.AddrFromSlice(v)
		case unix.RTA_OIF:
			r.oif = int32(u32(v))
		case unix.RTA_PRIORITY:
			r.prio = u32(v)
		case unix.RTA_MULTIPATH, unix.RTA_ENCAP, unix.RTA_VIA, rtaNextHop:
			r.multi = true
		}
	}
	r.dst = netip.PrefixFrom(dst, int(msg.Dst_len))
	return r, table, r.dst.IsValid()
}

// kernelMade reports whether the kernel or a router advertisement made r.
func (r hop) kernelMade() bool {
	return r.proto == unix.RTPROT_KERNEL || r.proto == unix.RTPROT_RA || r.proto == unix.RTPROT_REDIRECT
}

func text(v []byte) string { return strings.TrimRight(string(v), "\x00") }

func first(v []byte) uint8 {
	if len(v) == 0 {
		return 0
	}
	return v[0]
}

func u32(v []byte) uint32 {
	if len(v) < 4 {
		return 0
	}
	return binary.NativeEndian.Uint32(v)
}

// ask sends one request that only succeeds or fails.
func ask(s *host.Space, typ, flags int, parts ...nl.NetlinkRequestData) error {
	req := s.Request(typ, flags|unix.NLM_F_ACK)
	for _, p := range parts {
		req.AddData(p)
	}
	_, err := req.Execute(unix.NETLINK_ROUTE, 0)
	return err
}
