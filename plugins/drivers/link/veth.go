package link

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"weft.dev/reconcile/host"
	"weft.dev/reconcile/resource"
)

// checkName refuses what the kernel refuses, "%", which it replaces, and the names
// below /proc/sys/net that stand for more than one link.
func checkName(name string) error {
	if name == "" || len(name) >= unix.IFNAMSIZ || name == "." || name == ".." || name == "all" || name == "default" ||
		strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == '/' || r == ':' || r == '%' || r == 0x7f }) {
		return fmt.Errorf("%q is no name for a link", name)
	}
	return nil
}

// makeLink makes l true; a link that is there is changed in place.
func (x *site) makeLink(ctx context.Context, l resource.Link, owner resource.Owner) error {
	if err := checkName(l.Name); err != nil {
		return err
	}
	switch l.Sort() {
	case "veth":
	case "":
		return x.tune(ctx, l)
	default:
		return x.makeSpecial(l, owner)
	}
	if err := checkName(l.Host); err != nil {
		return err
	}
	if l.NS == "" {
		return fmt.Errorf("link %s: both ends would be in the host's namespace", l.Name)
	}
	mac, err := parseMAC(l.MAC)
	if err != nil {
		return err
	}
	alias, err := x.d.host.Alias(string(owner))
	if err != nil {
		return err
	}
	inner, outer, err := x.pair(l)
	if err != nil {
		return err
	}
	there := inner.index != 0
	if !there {
		if err := x.makeVeth(l, mac); err != nil {
			return err
		}
		if inner, outer, err = x.pair(l); err != nil {
			return err
		}
	}
	if l.TxOff || inner.index != 0 {
		if off, err := txOff(x.space, l.Name); err != nil {
			return err
		} else if off != l.TxOff {
			if err := setTxOff(x.space, l.Name, l.TxOff); err != nil {
				return err
			}
		}
	}
	// The inner end first: the pair then works once the outer one is up.
	if err := change(x.space, inner, wanted{mac: mac, mtu: l.MTU, up: l.Up}); err != nil {
		return fmt.Errorf("link %s: %w", l.Name, err)
	}
	if err := x.finish(outer, l, alias); err != nil {
		return err
	}
	if there {
		x.renew(l, mac, inner, outer)
	}
	return nil
}

// pair returns both ends of l if they are there and belong together. An end of
// ours that does not is removed; a foreign one is an error.
func (x *site) pair(l resource.Link) (inner, outer iface, err error) {
	inner, in, err := linkNamed(x.space, l.Name)
	if err != nil {
		return iface{}, iface{}, err
	}
	outer, out, err := linkNamed(x.root, l.Host)
	if err != nil {
		return iface{}, iface{}, err
	}
	if in && out && joined(x.space, inner, outer) {
		return inner, outer, nil
	}
	if out {
		if _, ours := x.d.host.OwnerOf(outer.alias); !ours {
			return iface{}, iface{}, fmt.Errorf("link %s is in the way and not weft's", l.Host)
		}
		if err := remove(x.root, outer); err != nil {
			return iface{}, iface{}, err
		}
	}
	if in {
		if err := remove(x.space, inner); err != nil {
			return iface{}, iface{}, err
		}
	}
	return iface{}, iface{}, nil
}

// joined reports whether inner, in s, and outer, in the host's namespace, are
// one veth pair.
func joined(s *host.Space, inner, outer iface) bool {
	return inner.kind == "veth" && outer.kind == "veth" && outer.peer == inner.index && inner.peer == outer.index && outer.peerNS == s.NSID
}

// makeVeth makes the pair, each end at its place, in one message. Both are down.
func (x *site) makeVeth(l resource.Link, mac net.HardwareAddr) error {
	fd, err := netns.GetFromPath(filepath.Join(x.d.host.Netns, l.NS))
	if err != nil {
		return fmt.Errorf("namespace %s: %w", l.NS, err)
	}
	defer func() { _ = fd.Close() }()
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated("veth"))
	far := info.AddRtAttr(nl.IFLA_INFO_DATA, nil).AddRtAttr(nl.VETH_INFO_PEER, nil)
	nl.NewIfInfomsgChild(far, unix.AF_UNSPEC)
	far.AddRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(l.Name))
	far.AddRtAttr(unix.IFLA_NET_NS_FD, nl.Uint32Attr(uint32(fd)))
	if mac != nil {
		far.AddRtAttr(unix.IFLA_ADDRESS, mac)
	}
	parts := []nl.NetlinkRequestData{nl.NewIfInfomsg(unix.AF_UNSPEC), nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(l.Host))}
	if l.MTU != 0 {
		far.AddRtAttr(unix.IFLA_MTU, nl.Uint32Attr(uint32(l.MTU)))
		parts = append(parts, nl.NewRtAttr(unix.IFLA_MTU, nl.Uint32Attr(uint32(l.MTU))))
	}
	if err := ask(x.root, unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL, append(parts, info)...); err != nil {
		return fmt.Errorf("make link %s with %s in %s: %w", l.Host, l.Name, l.NS, err)
	}
	return nil
}

// finish makes the outer end what l wants. Its mark comes last: without it, as after
// a crash, everything is set again.
func (x *site) finish(outer iface, l resource.Link, alias string) error {
	if outer.alias != alias {
		// Open vSwitch's userspace datapath only copies what arrives here, so the
		// host's stack sees it too: it must have no address.
		err := os.WriteFile("/proc/sys/net/ipv6/conf/"+l.Host+"/disable_ipv6", []byte("1"), 0)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("link %s without IPv6: %w", l.Host, err)
		}
	}
	if err := change(x.root, outer, wanted{mtu: l.MTU, up: l.Up, alias: alias, deaf: true}); err != nil {
		return fmt.Errorf("link %s: %w", l.Host, err)
	}
	return nil
}

// wanted is what change makes of a link; zero leaves it alone, except up.
type wanted struct {
	mac   net.HardwareAddr
	mtu   int
	up    bool
	alias string
	// deaf links do not answer ARP, which Linux does for every address of
	// the host on every link.
	deaf bool
}

// change makes l what w wants, in one message or none.
func change(s *host.Space, l iface, w wanted) error {
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index = l.index
	parts := []nl.NetlinkRequestData{msg}
	if w.up != l.up {
		msg.Change |= unix.IFF_UP
		if w.up {
			msg.Flags |= unix.IFF_UP
		}
	}
	if w.alias != "" && w.alias != l.alias {
		parts = append(parts, nl.NewRtAttr(unix.IFLA_IFALIAS, []byte(w.alias)))
		if w.deaf {
			msg.Change |= unix.IFF_NOARP
			msg.Flags |= unix.IFF_NOARP
		}
	}
	if w.mtu != 0 && w.mtu != l.mtu {
		parts = append(parts, nl.NewRtAttr(unix.IFLA_MTU, nl.Uint32Attr(uint32(w.mtu))))
	}
	if w.mac != nil && w.mac.String() != l.mac {
		parts = append(parts, nl.NewRtAttr(unix.IFLA_ADDRESS, w.mac))
	}
	if len(parts) == 1 && msg.Change == 0 {
		return nil
	}
	return ask(s, unix.RTM_NEWLINK, 0, parts...)
}

// linkWait is how long a link that something else makes may take to appear.
const linkWait = 3 * time.Second

// tune sets what l says of a link that something else makes: a link that is to
// be up is brought up, one that is not is left as it is.
func (x *site) tune(ctx context.Context, l resource.Link) error {
	mac, err := parseMAC(l.MAC)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, linkWait)
	defer cancel()
	for {
		cur, ok, err := linkNamed(x.space, l.Name)
		if err != nil {
			return err
		}
		if ok {
			if l.TxOff {
				if err := setTxOff(x.space, l.Name, true); err != nil {
					return err
				}
			}
			if err := change(x.space, cur, wanted{mac: mac, mtu: l.MTU, up: l.Up || cur.up}); err != nil {
				return fmt.Errorf("link %s: %w", l.Name, err)
			}
			x.renew(l, mac, cur)
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("link %s does not exist", l.Name)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// dropLink removes what was observed as l. A link that something else makes
// stays.
func (x *site) dropLink(l resource.Link) error {
	switch {
	case l.Sort() == "":
		return x.giveBack(l.Name)
	case l.Host == "":
		return x.dropNamed(l.Name)
	}
	cur, ok, err := linkNamed(x.space, l.Name)
	if err != nil || !ok {
		return err
	}
	if l.NS != "" {
		return remove(x.space, cur)
	}
	// The outer end of a pair whose inner end was in no namespace of ours.
	// Its name may have been used again since.
	if _, ours := x.d.host.OwnerOf(cur.alias); !ours {
		return nil
	}
	spaces, _, err := x.d.host.Spaces()
	if err != nil {
		return err
	}
	for _, s := range spaces {
		if cur.peerNS != -1 && s.NSID == cur.peerNS {
			return nil
		}
	}
	return remove(x.root, cur)
}

func remove(s *host.Space, l iface) error {
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index = l.index
	if err := ask(s, unix.RTM_DELLINK, 0, msg); err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("remove link %s: %w", l.name, err)
	}
	return nil
}

func parseMAC(s string) (net.HardwareAddr, error) {
	if s == "" {
		return nil, nil
	}
	mac, err := net.ParseMAC(s)
	if err != nil || len(mac) != 6 {
		return nil, fmt.Errorf("%q is no Ethernet address", s)
	}
	return mac, nil
}
