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

const (
	dhcpServer   = 67
	dhcpDiscover = 1
	dhcpOffer    = 2
	dhcpAck      = 5
	dhcpInform   = 8
	bootpLen     = 240 // with the cookie, before the options
)

var dhcpCookie = []byte{0x63, 0x82, 0x53, 0x63}

// dhcp sends a DISCOVER into the router through the host's end of its link, so that
// it comes in as a guest's does, and waits for the OFFER. It names the server itself
// as the relay (giaddr), so the server sends the OFFER to itself: no guest hears
// anything. A guest of the tree asks, because strangers get no answer; to offer
// binds nothing. Measured with dnsmasq 2.90: only a frame whose source is 0.0.0.0 comes in.
//
// An INFORM of the same guest follows. That alone is answered where the guest declined
// its address, which dnsmasq then offers to nobody for ten minutes: no guest has its
// router made anew by that.
func (n Net) dhcp(ctx context.Context, ns string, p resource.Probe) (string, error) {
	server := address(p.At)
	mac, err := net.ParseMAC(p.Ask)
	if err != nil || len(mac) != 6 || !server.Is4() {
		return "", fmt.Errorf("%w: a question for DHCP of %q at %q", errors.ErrUnsupported, p.Ask, p.At)
	}
	id := rand.Uint32()
	heard, err := n.offers(ns, server)
	if err != nil {
		return "", err
	}
	defer func() { _ = heard.Close() }()
	if err := heard.SetReadDeadline(deadline(ctx)); err != nil {
		return "", err
	}
	guest, _ := netip.ParseAddr(p.Want)
	questions := [][]byte{asked(dhcpDiscover, id, mac, netip.Addr{}, server)}
	if guest.Is4() {
		questions = append(questions, asked(dhcpInform, id, mac, guest, server))
	}
	for _, q := range questions {
		if err := send(p.Link, q); err != nil {
			return "", err
		}
	}
	buf := make([]byte, 2048)
	for {
		k, err := heard.Read(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return "", errors.New("no offer")
		}
		if err != nil {
			return "", err
		}
		switch kind, offered := answerOf(buf[:k], id); {
		case kind == dhcpAck:
			return "answers, and the guest declined " + p.Want, nil
		case kind != dhcpOffer:
		case p.Want != "" && offered.String() != p.Want:
			return "", fmt.Errorf("it offers %s instead of %s", offered, p.Want)
		default:
			return "offers " + offered.String(), nil
		}
	}
}

// offers hears the UDP packets that the server sends to itself.
func (n Net) offers(ns string, server netip.Addr) (*os.File, error) {
	fd := -1
	err := n.Host.In(ns, func() (err error) {
		fd, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_UDP)
		if err == nil {
			err = unix.Bind(fd, &unix.SockaddrInet4{Addr: server.As4()})
		}
		return err
	})
	if err != nil {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
		return nil, fmt.Errorf("listen for offers: %w", err)
	}
	// Nothing but port 67 to port 67: guests' questions do not wake anybody.
	ports := uint32(dhcpServer<<16 | dhcpServer)
	filter := []unix.SockFilter{
		{Code: unix.BPF_LDX | unix.BPF_B | unix.BPF_MSH, K: 0},
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_IND, K: 0},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: ports},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0x40000},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
	}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("listen for offers: %w", err)
	}
	return os.NewFile(uintptr(fd), "offers"), nil
}

// send puts a frame on a link of the host.
func send(link string, frame []byte) error {
	at, err := net.InterfaceByName(link)
	if err != nil {
		return fmt.Errorf("%w: link %s: %w", ErrAbsent, link, err)
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("packet socket: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: at.Index, Halen: 6}); err != nil {
		return fmt.Errorf("send on %s: %w", link, err)
	}
	return nil
}

// asked is the frame of a question that server is the relay of, of a guest that has the
// address own; the zero value is none.
func asked(kind byte, id uint32, mac net.HardwareAddr, own, server netip.Addr) []byte {
	m := make([]byte, bootpLen, bootpLen+8)
	m[0], m[1], m[2] = 1, 1, 6 // a request, Ethernet
	binary.BigEndian.PutUint32(m[4:], id)
	copy(m[12:], own.AsSlice())
	copy(m[24:], server.AsSlice())
	copy(m[28:], mac)
	copy(m[236:], dhcpCookie)
	m = append(m, 53, 1, kind, 255)
	m = append(m, make([]byte, 300-len(m))...) // the least length of BOOTP
	u := make([]byte, 28, 28+len(m))
	u[0], u[8], u[9] = 0x45, 64, unix.IPPROTO_UDP
	binary.BigEndian.PutUint16(u[2:], uint16(28+len(m)))
	copy(u[16:], []byte{255, 255, 255, 255})
	binary.BigEndian.PutUint16(u[10:], checksum(u[:20]))
	binary.BigEndian.PutUint16(u[20:], dhcpServer)
	binary.BigEndian.PutUint16(u[22:], dhcpServer)
	binary.BigEndian.PutUint16(u[24:], uint16(8+len(m)))
	frame := append([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, 2, 0, 0, 0, 0, 0x77, 8, 0)
	return append(append(frame, u...), m...)
}

// checksum is that of RFC 1071; b has an even length.
func checksum(b []byte) uint16 {
	sum := uint32(0)
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum>>16 > 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}

// answerOf is what sort of an answer to id an IP packet is, 0 for none, and the address
// that it is about.
func answerOf(b []byte, id uint32) (kind byte, addr netip.Addr) {
	if len(b) < 20 || len(b) < int(b[0]&15)*4+8 {
		return 0, addr
	}
	m := b[int(b[0]&15)*4+8:]
	if len(m) < bootpLen || m[0] != 2 || binary.BigEndian.Uint32(m[4:]) != id || string(m[236:240]) != string(dhcpCookie) {
		return 0, addr
	}
	for o := m[bootpLen:]; len(o) > 0 && o[0] != 255; {
		if o[0] == 0 {
			o = o[1:]
			continue
		}
		if len(o) < 2 || len(o) < 2+int(o[1]) {
			break
		}
		if o[0] == 53 && o[1] == 1 {
			return o[2], netip.AddrFrom4([4]byte(m[16:20]))
		}
		o = o[2+int(o[1]):]
	}
	return 0, addr
}
