package node

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"golang.org/x/net/ipv6"
)

// Prefix is what the gateway of a Shared network says of itself by IPv6, as a router of the operator does.
type Prefix struct {
	Of netip.Prefix
	// Managed: addresses are had by DHCPv6; else guests make them of Of.
	Managed bool
}

// The gateway says it often, so that who missed it waits seconds.
const (
	advertiseEach = 5 * time.Second
	routerLife    = 1800 // seconds
	prefixLife    = 86400
)

// advertise sends router advertisements on a link: now and then, and to whom asks (RFC 4861, 6.2), as long as the node
// lives. It returns once the link is listened to.
func advertise(link string, prefixes []Prefix) error {
	l, err := net.InterfaceByName(link)
	if err != nil {
		return fmt.Errorf("router advertisements on %s: %w", link, err)
	}
	c, err := net.ListenPacket("ip6:ipv6-icmp", "::")
	if err != nil {
		return fmt.Errorf("router advertisements on %s: %w", link, err)
	}
	p := ipv6.NewPacketConn(c)
	var only ipv6.ICMPFilter
	only.SetAll(true)
	only.Accept(ipv6.ICMPTypeRouterSolicitation)
	routers := &net.IPAddr{IP: net.IPv6linklocalallrouters}
	err = errors.Join(p.SetICMPFilter(&only), p.SetControlMessage(ipv6.FlagInterface, true), p.SetMulticastHopLimit(255), p.SetHopLimit(255),
		p.SetMulticastLoopback(false), p.SetMulticastInterface(l), p.JoinGroup(l, routers))
	if err != nil {
		return errors.Join(fmt.Errorf("router advertisements on %s: %w", link, err), c.Close())
	}
	message := advertisement(l.HardwareAddr, prefixes)
	send := func() {
		_, err := p.WriteTo(message, &ipv6.ControlMessage{IfIndex: l.Index}, &net.IPAddr{IP: net.IPv6linklocalallnodes, Zone: link})
		if err != nil { // such as before the link has its link-local address
			slog.Debug("router advertisement", "link", link, "error", err)
		}
	}
	go solicited(p, l.Index, send)
	go func() {
		send()
		for range time.Tick(advertiseEach) {
			send()
		}
	}()
	return nil
}

// solicited answers who asks on a link, to all.
func solicited(p *ipv6.PacketConn, index int, send func()) {
	b := make([]byte, 1500)
	for {
		_, from, _, err := p.ReadFrom(b)
		if err != nil {
			return
		}
		if from != nil && from.IfIndex == index {
			send()
		}
	}
}

// advertisement is the message, without its checksum: the kernel writes that.
func advertisement(mac net.HardwareAddr, prefixes []Prefix) []byte {
	flags, all := byte(0), byte(0xc0) // prefixes: on the link, and guests make addresses of them
	for _, p := range prefixes {
		if p.Managed {
			flags = 0xc0 // addresses and the rest by DHCPv6
		} else {
			flags |= 0x40 // the rest
		}
	}
	b := []byte{134, 0, 0, 0, 64, flags}
	b = binary.BigEndian.AppendUint16(b, routerLife)
	b = append(b, make([]byte, 8)...)
	b = append(append(b, 1, 1), mac...)
	for _, p := range prefixes {
		how := all
		if p.Managed {
			how = 0x80
		}
		b = append(b, 3, 4, byte(p.Of.Bits()), how)
		b = binary.BigEndian.AppendUint32(b, prefixLife)
		b = binary.BigEndian.AppendUint32(b, prefixLife)
		b = append(b, 0, 0, 0, 0)
		a := p.Of.Masked().Addr().As16()
		b = append(b, a[:]...)
	}
	return b
}
