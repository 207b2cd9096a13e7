package health

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"weft.dev/reconcile/resource"
)

// ping asks whether somebody is there at all: over IPv4 who has the address (ARP,
// which firewalls let pass), over IPv6 by an echo request, which is what they have to
// let pass.
func (n Net) ping(ctx context.Context, ns string, p resource.Probe) (string, error) {
	at := address(p.At)
	switch {
	case at.Is4() && p.Link != "":
		return n.arp(ctx, ns, p.Link, at)
	case at.Is6():
		return n.echo6(ctx, ns, p.Link, at)
	}
	return "", fmt.Errorf("%w: who has %q on link %q", errors.ErrUnsupported, p.At, p.Link)
}

// arp asks who has an address, as somebody who has none yet (RFC 5227), so that no
// cache takes anything from the question.
func (n Net) arp(ctx context.Context, ns, link string, at netip.Addr) (string, error) {
	fd := -1
	var own *net.Interface
	err := n.Host.In(ns, func() (err error) {
		if own, err = net.InterfaceByName(link); err != nil {
			return fmt.Errorf("%w: link %s: %w", ErrAbsent, link, err)
		}
		if !near(own, at) {
			// Of a pair of routers the other one has it, and the MAC of this link too: a
			// question would have switches look for that here.
			return fmt.Errorf("%w: link %s has no address beside %s at the moment", ErrAbsent, link, at)
		}
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, int(network16(unix.ETH_P_ARP)))
		if err == nil {
			err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: network16(unix.ETH_P_ARP), Ifindex: own.Index})
		}
		return err
	})
	if err != nil {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
		return "", err
	}
	f := os.NewFile(uintptr(fd), "arp")
	defer func() { _ = f.Close() }()
	q := []byte{0, 1, 8, 0, 6, 4, 0, 1}
	q = append(append(append(q, own.HardwareAddr...), 0, 0, 0, 0), 0, 0, 0, 0, 0, 0)
	q = append(q, at.AsSlice()...)
	to := &unix.SockaddrLinklayer{Protocol: network16(unix.ETH_P_ARP), Ifindex: own.Index, Halen: 6, Addr: [8]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}}
	if err := unix.Sendto(fd, q, 0, to); err != nil {
		return "", fmt.Errorf("ask on %s: %w", link, err)
	}
	if err := f.SetReadDeadline(deadline(ctx)); err != nil {
		return "", err
	}
	buf := make([]byte, 128)
	for {
		k, err := f.Read(buf)
		if err != nil {
			return "", plain(err)
		}
		if k >= 28 && buf[7] == 2 && netip.AddrFrom4([4]byte(buf[14:18])) == at {
			return "is at " + net.HardwareAddr(buf[8:14]).String(), nil
		}
	}
}

// near reports whether the link has an address of at's subnet.
func near(link *net.Interface, at netip.Addr) bool {
	list, _ := link.Addrs()
	for _, a := range list {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Masked().Contains(at) {
			return true
		}
	}
	return false
}

// network16 is a number in network byte order, as the kernel wants it of a protocol.
func network16(v uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v))
}

func (n Net) echo6(ctx context.Context, ns, link string, at netip.Addr) (string, error) {
	var conn *net.IPConn
	zone := ""
	if at.IsLinkLocalUnicast() {
		zone = link
	}
	err := n.Host.In(ns, func() (err error) {
		conn, err = net.DialIP("ip6:ipv6-icmp", nil, &net.IPAddr{IP: at.AsSlice(), Zone: zone})
		return err
	})
	if errors.Is(err, unix.EADDRNOTAVAIL) || errors.Is(err, unix.ENETUNREACH) {
		return "", fmt.Errorf("%w: %w", ErrAbsent, plain(err))
	}
	if err != nil {
		return "", plain(err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(deadline(ctx)); err != nil {
		return "", err
	}
	id := rand.Uint32()
	q := binary.BigEndian.AppendUint32([]byte{128, 0, 0, 0}, id) // the kernel sums it up
	if _, err := conn.Write(q); err != nil {
		return "", plain(err)
	}
	buf := make([]byte, 1500)
	for {
		k, err := conn.Read(buf)
		if err != nil {
			return "", plain(err)
		}
		if k >= 8 && buf[0] == 129 && binary.BigEndian.Uint32(buf[4:]) == id {
			return "answers", nil
		}
	}
}
