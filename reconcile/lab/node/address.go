package node

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

// loopback brings lo up.
func loopback() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("link lo: %w", err)
	}
	return netlink.LinkSetUp(lo)
}

// address gives a link of a host the address, gateway and routes of a bridge and brings it up.
func address(link string, b Bridge) error {
	l, err := netlink.LinkByName(link)
	if err != nil {
		return fmt.Errorf("link %s: %w", link, err)
	}
	if err := netlink.LinkSetUp(l); err != nil {
		return fmt.Errorf("bring up %s: %w", link, err)
	}
	if b.Address.IsValid() {
		if err := netlink.AddrReplace(l, &netlink.Addr{IPNet: ipNet(b.Address)}); err != nil {
			return fmt.Errorf("address %s on %s: %w", b.Address, link, err)
		}
	}
	routes := b.Routes
	if b.Gateway.IsValid() {
		routes = append([]Route{{To: everything(b.Gateway), Via: b.Gateway}}, routes...)
	}
	for _, r := range routes {
		if err := route(l, r, 0); err != nil {
			return err
		}
	}
	return nil
}

// makeBridge makes a bridge of the kernel's with its uplinks.
func makeBridge(b Bridge) error {
	off := false
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = b.Name, b.MTU
	if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs, MulticastSnooping: &off}); err != nil {
		return fmt.Errorf("bridge %s: %w", b.Name, err)
	}
	l, err := netlink.LinkByName(b.Name)
	if err != nil {
		return fmt.Errorf("bridge %s: %w", b.Name, err)
	}
	for _, name := range b.Uplinks {
		up, err := netlink.LinkByName(name)
		if err != nil {
			return fmt.Errorf("uplink %s of bridge %s: %w", name, b.Name, err)
		}
		if err := netlink.LinkSetMaster(up, l); err != nil {
			return fmt.Errorf("plug %s into %s: %w", name, b.Name, err)
		}
	}
	return nil
}

// route adds a route over l; without Via its destination is on the link.
func route(l netlink.Link, r Route, metric int) error {
	rt := &netlink.Route{LinkIndex: l.Attrs().Index, Dst: ipNet(r.To), Priority: metric}
	if r.Via.IsValid() && !r.Via.IsUnspecified() {
		rt.Gw = r.Via.AsSlice()
		rt.Flags = int(netlink.FLAG_ONLINK) // a gateway outside the subnet (/32 leases) is legal
	} else {
		rt.Scope = unix.RT_SCOPE_LINK
	}
	if err := netlink.RouteReplace(rt); err != nil {
		return fmt.Errorf("route %s via %s: %w", r.To, r.Via, err)
	}
	return nil
}

func everything(a netip.Addr) netip.Prefix {
	if a.Is4() {
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// sysctl writes a kernel setting of this network namespace. One that the kernel lacks is no error.
func sysctl(name, value string) error {
	err := os.WriteFile("/proc/sys/"+name, []byte(value), 0)
	if os.IsNotExist(err) {
		return nil
	}
	return err
}
