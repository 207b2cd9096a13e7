package node

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"weft.dev/reconcile/lab/proc"
)

// NIC is how a guest sets up one of its links.
type NIC struct {
	Link      string
	Hostname  string // sent by DHCP
	DHCP      bool
	Addresses []netip.Prefix // static, also beside DHCP
	Gateway   netip.Addr     // static; may be invalid: none
	DNS       []netip.Addr   // static
	Domain    string         // static
	MTU       int            // static; 0: as plugged
	Metric    int            // of its routes: the lowest is the default NIC
	IP6       string         // SLAAC, DHCPv6 or none
}

// NICStatus is what a guest knows of its NIC.
type NICStatus struct {
	Link      string         `json:"link"`
	Addresses []netip.Prefix `json:"addresses"`
	Lease     bool           `json:"lease"` // Addresses hold what DHCP gave
	IP6       bool           `json:"ip6"`   // Addresses hold one by SLAAC or DHCPv6
	MTU       int            `json:"mtu,omitempty"`
	DNS       []netip.Addr   `json:"dns,omitempty"`
	Since     time.Time      `json:"since"`
}

// nic is a NIC at work.
type nic struct {
	node   *Node
	config NIC
	client *proc.Service // nil without DHCP

	mu     sync.Mutex
	lease  lease
	six    advice
	status NICStatus
}

func (c *nic) state() NICStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.status
}

// Connect sets up a link that was put into this guest: static settings at once, and a DHCP client that goes on for as long
// as the guest lives.
func (n *Node) Connect(config NIC, _ *Void) error {
	c := &nic{node: n, config: config, status: NICStatus{Link: config.Link, Since: time.Now()}}
	n.mu.Lock()
	n.nics = append(n.nics[:len(n.nics):len(n.nics)], c)
	n.mu.Unlock()
	if err := errors.Join(keepNeighbours(config.Link), c.apply()); err != nil {
		return fmt.Errorf("%s of %s: %w", config.Link, n.config.Name, err)
	}
	if config.IP6 != "" {
		if err := c.startIP6(); err != nil {
			return fmt.Errorf("%s of %s: %w", config.Link, n.config.Name, err)
		}
	}
	if config.DHCP {
		if err := c.startDHCP(); err != nil {
			return fmt.Errorf("%s of %s: %w", config.Link, n.config.Name, err)
		}
	}
	return nil
}

// keepNeighbours has the kernel remember the neighbours on a link that has no carrier for a moment. A live migration is one
// here, and is none for a real guest, which does not notice; without this a question for the gateway's MAC is asked at the
// worst moment, and again a second later.
func keepNeighbours(link string) error {
	return errors.Join(sysctl("net/ipv4/conf/"+link+"/arp_evict_nocarrier", "0"), sysctl("net/ipv6/conf/"+link+"/ndisc_evict_nocarrier", "0"))
}

// apply makes the link what the static settings and the lease say, and the resolver what all links say.
func (c *nic) apply() error {
	c.mu.Lock()
	l, err := netlink.LinkByName(c.config.Link)
	if err != nil {
		c.mu.Unlock()
		return err
	}
	mtu, addresses, routes := c.wanted()
	err = errors.Join(setMTU(l, mtu), setAddresses(l, addresses), setRoutes(l, routes, c.config.Metric))
	addresses = append(addresses, c.six.made...)
	c.status.IP6 = c.six.address()
	changed := !slices.Equal(c.status.Addresses, addresses) || c.status.Lease != c.lease.address.IsValid()
	if changed {
		c.status.Since = time.Now()
	}
	c.status.Addresses, c.status.Lease, c.status.MTU = addresses, c.lease.address.IsValid(), l.Attrs().MTU
	if mtu != 0 {
		c.status.MTU = mtu
	}
	c.status.DNS = slices.Concat(c.config.DNS, c.lease.dns, c.six.servers)
	c.mu.Unlock()
	err = errors.Join(err, c.node.writeResolver())
	c.node.changed()
	return err
}

// wanted joins the static settings and the lease; c.mu is held.
func (c *nic) wanted() (mtu int, addresses []netip.Prefix, routes []Route) {
	mtu = c.config.MTU
	if c.lease.mtu != 0 {
		mtu = c.lease.mtu
	}
	if c.lease.address.IsValid() {
		addresses = append(addresses, c.lease.address)
	}
	if c.six.given.IsValid() {
		addresses = append(addresses, c.six.given)
	}
	addresses = append(addresses, c.config.Addresses...)
	if c.config.Gateway.IsValid() {
		routes = append(routes, Route{To: everything(c.config.Gateway), Via: c.config.Gateway})
	}
	return mtu, addresses, append(routes, c.lease.routes...)
}

func setMTU(l netlink.Link, mtu int) error {
	if mtu == 0 || l.Attrs().MTU == mtu {
		return nil
	}
	if err := netlink.LinkSetMTU(l, mtu); err != nil {
		return fmt.Errorf("mtu %d: %w", mtu, err)
	}
	return nil
}

// setAddresses makes the link hold these global addresses and no other static one.
func setAddresses(l netlink.Link, want []netip.Prefix) error {
	have, err := netlink.AddrList(l, netlink.FAMILY_ALL)
	if err != nil {
		return err
	}
	for _, a := range have {
		ones, _ := a.Mask.Size()
		ip, _ := netip.AddrFromSlice(a.IP)
		permanent := a.Flags&unix.IFA_F_PERMANENT != 0 && !ip.IsLinkLocalUnicast()
		if permanent && !slices.Contains(want, netip.PrefixFrom(ip.Unmap(), ones)) {
			if err := netlink.AddrDel(l, &a); err != nil {
				return fmt.Errorf("remove address %s: %w", a.IPNet, err)
			}
		}
	}
	for _, p := range want {
		if err := netlink.AddrReplace(l, &netlink.Addr{IPNet: ipNet(p), Flags: unix.IFA_F_NODAD}); err != nil {
			return fmt.Errorf("address %s: %w", p, err)
		}
	}
	return nil
}

// setRoutes makes the link hold these routes beside those of the kernel.
func setRoutes(l netlink.Link, want []Route, metric int) error {
	have, err := netlink.RouteList(l, netlink.FAMILY_V4)
	if err != nil {
		return err
	}
	for _, r := range have {
		stays := r.Protocol == unix.RTPROT_KERNEL || slices.ContainsFunc(want, func(w Route) bool {
			return r.Dst != nil && r.Dst.String() == ipNet(w.To).String() && r.Gw.Equal(w.Via.AsSlice())
		})
		if stays {
			continue
		}
		if err := netlink.RouteDel(&r); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("remove route %s: %w", r, err)
		}
	}
	for _, r := range want {
		if err := route(l, r, metric); err != nil {
			return err
		}
	}
	return nil
}

// writeResolver writes the node's resolv.conf from all links, the default one first.
func (n *Node) writeResolver() error {
	n.mu.Lock()
	nics := slices.Clone(n.nics)
	n.mu.Unlock()
	slices.SortStableFunc(nics, func(a, b *nic) int { return a.config.Metric - b.config.Metric })
	var text strings.Builder
	var search []string
	for _, c := range nics {
		c.mu.Lock()
		for _, domain := range []string{c.config.Domain, c.lease.domain, c.six.domain} {
			if domain != "" && !slices.Contains(search, domain) {
				search = append(search, domain)
			}
		}
		for _, server := range c.status.DNS {
			fmt.Fprintf(&text, "nameserver %s\n", server)
		}
		c.mu.Unlock()
	}
	if len(search) > 0 {
		fmt.Fprintf(&text, "search %s\n", strings.Join(search, " "))
	}
	return writeInPlace("/etc/resolv.conf", text.String())
}
