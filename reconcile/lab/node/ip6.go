package node

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// How a NIC gets its IPv6 address.
const (
	SLAAC  = "SLAAC"  // the kernel makes it of what a router advertises
	DHCPv6 = "DHCPv6" // a client asks for it; routes are the kernel's all the same
)

// advice is what routers and DHCPv6 servers said to a guest, beside what the kernel does with it by itself.
type advice struct {
	given   netip.Prefix   // by DHCPv6
	made    []netip.Prefix // by the kernel
	servers []netip.Addr
	domain  string
}

func (a advice) address() bool { return a.given.IsValid() || len(a.made) > 0 }

// Client6 returns the command of a DHCPv6 client on this machine, or nil.
func Client6() []string {
	if path, err := Look("dhclient"); err == nil {
		return []string{path}
	}
	return nil
}

// solicit6 has the kernel ask for routers at once and again each second, as long as the way to one is being built.
func solicit6(link string) error {
	var errs []error
	for key, value := range map[string]string{
		"router_solicitation_delay": "0", "router_solicitation_interval": "1", "router_solicitation_max_interval": "2", "router_solicitations": "-1",
	} {
		errs = append(errs, sysctl("net/ipv6/conf/"+link+"/"+key, value))
	}
	return errors.Join(errs...)
}

// startIP6 follows what the link is told by IPv6, and asks by DHCPv6 where that is its mode.
func (c *nic) startIP6() error {
	if err := solicit6(c.config.Link); err != nil {
		return err
	}
	l, err := netlink.LinkByName(c.config.Link)
	if err != nil {
		return err
	}
	index := l.Attrs().Index
	updates := make(chan netlink.AddrUpdate, 64)
	err = netlink.AddrSubscribeWithOptions(updates, nil, netlink.AddrSubscribeOptions{
		ErrorCallback: func(err error) { slog.Error("addresses", "link", c.config.Link, "error", err) },
	})
	if err != nil {
		return fmt.Errorf("addresses: %w", err)
	}
	options, err := nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_ND_USEROPT)
	if err != nil {
		return fmt.Errorf("router options: %w", err)
	}
	go c.hearRouters(options, index)
	ready := make(chan struct{})
	go c.watchAddresses(updates, index, ready)
	if c.config.IP6 == DHCPv6 {
		go func() {
			<-ready // the client ends where there is no link-local address yet
			if err := c.startDHCP6(); err != nil {
				slog.Error("dhcpv6 client", "link", c.config.Link, "error", err)
			}
		}()
	}
	return nil
}

// watchAddresses takes over what the kernel made, now and whenever that changes. It closes ready once the link has a
// link-local address that may be used.
func (c *nic) watchAddresses(updates <-chan netlink.AddrUpdate, index int, ready chan<- struct{}) {
	for {
		made, local, err := dynamic(index)
		if err != nil {
			slog.Error("addresses", "link", c.config.Link, "error", err)
		}
		if local && ready != nil {
			close(ready)
			ready = nil
		}
		c.mu.Lock()
		changed := !slices.Equal(c.six.made, made)
		c.six.made = made
		c.mu.Unlock()
		if changed {
			if err := c.apply(); err != nil {
				slog.Error("addresses", "link", c.config.Link, "error", err)
			}
		}
		for u := range updates {
			if u.LinkIndex == index {
				break
			}
		}
	}
}

// dynamic lists the global addresses that the kernel made and that are known to be nobody else's, and says whether there is a
// link-local one.
func dynamic(index int) (made []netip.Prefix, local bool, err error) {
	l, err := netlink.LinkByIndex(index)
	if err != nil {
		return nil, false, err
	}
	list, err := netlink.AddrList(l, netlink.FAMILY_V6)
	for _, a := range list {
		ip, _ := netip.AddrFromSlice(a.IP)
		ones, _ := a.Mask.Size()
		switch {
		case a.Flags&(unix.IFA_F_TENTATIVE|unix.IFA_F_DADFAILED) != 0:
		case ip.IsLinkLocalUnicast():
			local = true
		case a.Flags&unix.IFA_F_PERMANENT == 0:
			made = append(made, netip.PrefixFrom(ip, ones))
		}
	}
	slices.SortFunc(made, netip.Prefix.Compare)
	return made, local, err
}

// hearRouters takes over the resolvers and domains that routers advertise, which the kernel hands on.
func (c *nic) hearRouters(options *nl.NetlinkSocket, index int) {
	for {
		messages, _, err := options.Receive()
		if err != nil {
			slog.Error("router options", "link", c.config.Link, "error", err)
			return
		}
		for _, m := range messages {
			if m.Header.Type != unix.RTM_NEWNDUSEROPT {
				continue
			}
			servers, domain, ok := routerOptions(m.Data, index)
			if !ok {
				continue
			}
			c.mu.Lock()
			if servers != nil {
				c.six.servers = servers
			}
			if domain != "" {
				c.six.domain = domain
			}
			c.mu.Unlock()
			if err := c.apply(); err != nil {
				slog.Error("router options", "link", c.config.Link, "error", err)
			}
		}
	}
}

// routerOptions reads a struct nduseroptmsg (include/uapi/linux/rtnetlink.h) of a link: RDNSS and DNSSL of RFC 8106. A router
// may say anything.
func routerOptions(b []byte, index int) (servers []netip.Addr, domain string, ok bool) {
	const header = 16
	if len(b) < header || int(binary.NativeEndian.Uint32(b[4:])) != index {
		return nil, "", false
	}
	size := int(binary.NativeEndian.Uint16(b[2:]))
	b = b[header:]
	b = b[:min(len(b), size)]
	for len(b) >= 8 && b[1] != 0 && 8*int(b[1]) <= len(b) {
		option := b[:8*int(b[1])]
		b = b[len(option):]
		switch option[0] {
		case 25:
			for a := option[8:]; len(a) >= 16; a = a[16:] {
				servers = append(servers, netip.AddrFrom16([16]byte(a)))
			}
		case 31:
			domain = firstName(option[8:])
		}
	}
	return servers, domain, true
}

// firstName is the first domain of a list of labels, or "".
func firstName(b []byte) string {
	var labels []string
	for len(b) > 0 && b[0] != 0 && int(b[0]) < len(b) {
		labels = append(labels, string(b[1:1+b[0]]))
		b = b[1+b[0]:]
	}
	if name := strings.Join(labels, "."); domainName.MatchString(name) {
		return name
	}
	return ""
}

// startDHCP6 runs a DHCPv6 client on the link.
func (c *nic) startDHCP6() error {
	if len(c.node.config.DHCP6) == 0 {
		return errors.New("there is none")
	}
	if err := install(Dir+"/dhcp6", c.config.Link, strings.NewReplacer("$1", "$reason", "/dhcp.", "/dhcp6.").Replace(script)); err != nil {
		return err
	}
	fifo := Dir + "/dhcp6." + c.config.Link
	if err := syscall.Mkfifo(fifo, 0o600); err != nil && !os.IsExist(err) {
		return err
	}
	events, err := os.OpenFile(fifo, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	go c.listen(bufio.NewReader(events))
	at := Dir + "/dhcp6-" + c.config.Link
	argv := slices.Concat(c.node.config.DHCP6, []string{"-6", "-d", "-q", "-sf", Dir + "/dhcp6", "-lf", at + ".leases", "-pf", at + ".pid", "-cf", "/dev/null", c.config.Link})
	_, err = c.node.keep("dhcp6-"+c.config.Link, argv, nil)
	return err
}

// take6 reads one event of the DHCPv6 client; ok is false where nothing changes.
func (a *advice) take6(event map[string]string) (ok bool, err error) {
	switch event["event"] {
	case "BOUND6", "RENEW6", "REBIND6":
	case "EXPIRE6", "RELEASE6", "STOP6":
		a.given = netip.Prefix{}
		return true, nil
	default:
		return false, nil
	}
	ip, err := netip.ParseAddr(event["new_ip6_address"])
	if err != nil || !ip.Is6() {
		return false, fmt.Errorf("address %q", event["new_ip6_address"])
	}
	a.given = netip.PrefixFrom(ip, 128)
	var servers []netip.Addr
	for _, field := range strings.Fields(event["new_dhcp6_name_servers"]) {
		if s, err := netip.ParseAddr(field); err == nil {
			servers = append(servers, s)
		}
	}
	if servers != nil {
		a.servers = servers
	}
	if list := strings.Fields(event["new_dhcp6_domain_search"]); len(list) > 0 && domainName.MatchString(strings.TrimSuffix(list[0], ".")) {
		a.domain = strings.TrimSuffix(list[0], ".")
	}
	return true, nil
}

// static is the protocol number of the internet's own routes: that of RTPROT_STATIC.
const static = unix.RTPROT_STATIC

// Routes makes the internet know the way to these networks, and to no others that it was told of before. Where the next hop is
// follows from its address.
func (n *Node) Routes(want []Route, _ *Void) error {
	have, err := netlink.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{Protocol: static}, netlink.RT_FILTER_PROTOCOL)
	if err != nil {
		return err
	}
	var errs []error
	for _, r := range have {
		stays := slices.ContainsFunc(want, func(w Route) bool { return r.Dst != nil && r.Dst.String() == ipNet(w.To).String() })
		if !stays {
			errs = append(errs, netlink.RouteDel(&r))
		}
	}
	for _, w := range want {
		if err := netlink.RouteReplace(&netlink.Route{Dst: ipNet(w.To), Gw: w.Via.AsSlice(), Protocol: static}); err != nil {
			errs = append(errs, fmt.Errorf("route %s via %s: %w", w.To, w.Via, err))
		}
	}
	return errors.Join(errs...)
}
