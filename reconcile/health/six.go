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

// What is asked for IPv6 comes in through the host's end of the router's link, as a
// guest's questions do, from the router's own link-local address: so what is answered
// goes to itself and no guest hears anything.

const (
	dhcp6Port      = 547
	dhcp6Solicit   = 1
	dhcp6Advertise = 2
	dhcp6Forward   = 12
	dhcp6Reply     = 13
	optionClient   = 1
	optionIANA     = 3
	optionIAAddr   = 5
	optionElapsed  = 8
	optionRelayed  = 9
	optionMAC      = 79 // RFC 6939: dnsmasq knows a guest by it

	solicitRouters = 133
	advertisement  = 134
	prefixOption   = 3
)

// dhcp6 asks as a relay would for a guest of the tree, because strangers get no answer,
// and waits for the ADVERTISE. To advertise binds nothing. Whoever asks for a guest that
// leased its address is offered none: dnsmasq takes it for another, whose DUID or IAID
// differs (check_address in rfc3315.c). That is an answer too.
func (n Net) dhcp6(ctx context.Context, ns string, p resource.Probe) (string, error) {
	server := address(p.At)
	mac, err := net.ParseMAC(p.Ask)
	if err != nil || len(mac) != 6 || !server.Is6() {
		return "", fmt.Errorf("%w: a question for DHCPv6 of %q at %q", errors.ErrUnsupported, p.Ask, p.At)
	}
	id := rand.Uint32() & 0xffffff
	own, heard, err := n.six(ns, server, unix.IPPROTO_UDP)
	if err != nil {
		return "", err
	}
	defer func() { _ = heard.Close() }()
	ports := []byte{dhcp6Port >> 8, dhcp6Port & 0xff, dhcp6Port >> 8, dhcp6Port & 0xff, 0, 0, 0, 0}
	frame := frame6(own, netip.MustParseAddr("ff02::1:2"), unix.IPPROTO_UDP, append(ports, solicit(id, mac, server)...))
	var offered netip.Addr
	err = asked6(ctx, heard, p.Link, frame, func(b []byte) (ok bool) {
		if len(b) > 8 && binary.BigEndian.Uint32(b) == dhcp6Port<<16|dhcp6Port {
			offered, ok = advertised(b[8:], id)
		}
		return ok
	})
	switch {
	case err != nil:
		return "", err
	case !offered.IsValid():
		return "answers, the guest has its address", nil
	case p.Want != "" && offered.String() != p.Want:
		return "", fmt.Errorf("it offers %s instead of %s", offered, p.Want)
	}
	return "offers " + offered.String(), nil
}

// ra asks for an advertisement, as a guest does that comes up, and waits for one.
func (n Net) ra(ctx context.Context, ns string, p resource.Probe) (string, error) {
	at := address(p.At)
	if !at.Is6() {
		return "", fmt.Errorf("%w: a question for advertisements at %q", errors.ErrUnsupported, p.At)
	}
	own, heard, err := n.six(ns, at, unix.IPPROTO_ICMPV6)
	if err != nil {
		return "", err
	}
	defer func() { _ = heard.Close() }()
	frame := frame6(own, netip.MustParseAddr("ff02::2"), unix.IPPROTO_ICMPV6, []byte{solicitRouters, 0, 0, 0, 0, 0, 0, 0})
	var prefixes []netip.Prefix
	err = asked6(ctx, heard, p.Link, frame, func(b []byte) (ok bool) {
		prefixes, ok = prefixesOf(b)
		return ok
	})
	if err != nil {
		return "", err
	}
	for _, x := range prefixes {
		if p.Want == "" || x.String() == p.Want {
			return "advertises " + x.String(), nil
		}
	}
	if p.Want != "" {
		return "", fmt.Errorf("it does not advertise %s", p.Want)
	}
	return "advertises itself", nil
}

// six is the link-local address of the link that has addr, and a socket that hears the
// packets of a protocol that the router sends to itself there.
func (n Net) six(ns string, addr netip.Addr, proto int) (own netip.Addr, heard *os.File, err error) {
	fd := -1
	err = n.Host.In(ns, func() (err error) {
		var link int
		if own, link, err = localOf(addr); err != nil {
			return err
		}
		fd, err = unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, proto)
		if err == nil {
			err = unix.Bind(fd, &unix.SockaddrInet6{Addr: own.As16(), ZoneId: uint32(link)})
		}
		return err
	})
	if err == nil && proto == unix.IPPROTO_ICMPV6 {
		filter := unix.ICMPv6Filter{}
		for i := range filter.Data {
			filter.Data[i] = ^uint32(0)
		}
		filter.Data[advertisement/32] &^= 1 << (advertisement % 32)
		err = unix.SetsockoptICMPv6Filter(fd, unix.SOL_ICMPV6, unix.ICMPV6_FILTER, &filter)
	}
	if err != nil {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
		return own, nil, fmt.Errorf("listen for answers: %w", err)
	}
	return own, os.NewFile(uintptr(fd), "answers"), nil
}

// localOf is the link-local address of the link that has addr, and its number.
func localOf(addr netip.Addr) (netip.Addr, int, error) {
	links, err := net.Interfaces()
	if err != nil {
		return netip.Addr{}, 0, err
	}
	for _, l := range links {
		var local netip.Addr
		found := false
		list, _ := l.Addrs()
		for _, a := range list {
			p, err := netip.ParsePrefix(a.String())
			found = found || err == nil && p.Addr() == addr
			if err == nil && p.Addr().Is6() && p.Addr().IsLinkLocalUnicast() {
				local = p.Addr()
			}
		}
		if found && local.IsValid() {
			return local, l.Index, nil
		}
	}
	return netip.Addr{}, 0, fmt.Errorf("%w: no link has %s and a link-local address", ErrAbsent, addr)
}

// asked6 puts a frame on a link of the host and reads answers until one is right.
func asked6(ctx context.Context, heard *os.File, link string, frame []byte, right func([]byte) bool) error {
	if err := heard.SetReadDeadline(deadline(ctx)); err != nil {
		return err
	}
	if err := send(link, frame); err != nil {
		return err
	}
	buf := make([]byte, 2048)
	for {
		k, err := heard.Read(buf) // without the header of IPv6
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return errors.New("no answer")
		}
		if err != nil {
			return err
		}
		if right(buf[:k]) {
			return nil
		}
	}
}

// frame6 is a frame to a group, whose packet carries body; the sum is filled in.
func frame6(from, to netip.Addr, proto byte, body []byte) []byte {
	group := to.As16()
	frame := append([]byte{0x33, 0x33}, group[12:]...)
	frame = append(frame, 2, 0, 0, 0, 0, 0x77, 0x86, 0xdd)
	at := 2 // of the sum
	if proto == unix.IPPROTO_UDP {
		at = 6
		binary.BigEndian.PutUint16(body[4:], uint16(len(body)))
	}
	pseudo := append(from.AsSlice(), group[:]...)
	pseudo = binary.BigEndian.AppendUint32(pseudo, uint32(len(body)))
	pseudo = append(append(pseudo, 0, 0, 0, proto), body...)
	if len(pseudo)%2 == 1 {
		pseudo = append(pseudo, 0)
	}
	sum := checksum(pseudo)
	if sum == 0 && proto == unix.IPPROTO_UDP {
		sum = 0xffff // 0 is none, which IPv6 drops: RFC 8200, 8.1
	}
	binary.BigEndian.PutUint16(body[at:], sum)
	packet := binary.BigEndian.AppendUint16([]byte{0x60, 0, 0, 0}, uint16(len(body)))
	packet = append(append(packet, proto, 255), from.AsSlice()...)
	packet = append(append(packet, group[:]...), body...)
	return append(frame, packet...)
}

func option(code uint16, value []byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, code)
	return append(binary.BigEndian.AppendUint16(b, uint16(len(value))), value...)
}

// solicit is what a relay on the link of server passes on of a guest.
func solicit(id uint32, mac net.HardwareAddr, server netip.Addr) []byte {
	m := binary.BigEndian.AppendUint32(nil, dhcp6Solicit<<24|id)
	m = append(m, option(optionClient, append([]byte{0, 3, 0, 1}, mac...))...) // a DUID of the hardware address
	m = append(m, option(optionIANA, make([]byte, 12))...)
	m = append(m, option(optionElapsed, []byte{0, 0})...)
	peer := netip.MustParseAddr("fe80::77")
	out := append([]byte{dhcp6Forward, 0}, server.AsSlice()...)
	out = append(out, peer.AsSlice()...)
	out = append(out, option(optionMAC, append([]byte{0, 1}, mac...))...)
	return append(out, option(optionRelayed, m)...)
}

// valueOf is the first option of a code.
func valueOf(options []byte, code uint16) ([]byte, bool) {
	for len(options) >= 4 {
		n := int(binary.BigEndian.Uint16(options[2:]))
		if len(options) < 4+n {
			break
		}
		if binary.BigEndian.Uint16(options) == code {
			return options[4 : 4+n], true
		}
		options = options[4+n:]
	}
	return nil, false
}

// advertised is the address in the answer that a relay is to pass on, the zero value where
// it holds none.
func advertised(b []byte, id uint32) (netip.Addr, bool) {
	if len(b) < 34 || b[0] != dhcp6Reply {
		return netip.Addr{}, false
	}
	m, _ := valueOf(b[34:], optionRelayed)
	if len(m) < 4 || binary.BigEndian.Uint32(m) != dhcp6Advertise<<24|id {
		return netip.Addr{}, false
	}
	ia, _ := valueOf(m[4:], optionIANA)
	if len(ia) < 12 {
		return netip.Addr{}, true
	}
	addr, _ := valueOf(ia[12:], optionIAAddr)
	if len(addr) < 16 {
		return netip.Addr{}, true
	}
	return netip.AddrFrom16([16]byte(addr[:16])), true
}

// prefixesOf are those of an advertisement.
func prefixesOf(b []byte) ([]netip.Prefix, bool) {
	if len(b) < 16 || b[0] != advertisement {
		return nil, false
	}
	var out []netip.Prefix
	for o := b[16:]; len(o) >= 8 && o[1] > 0 && len(o) >= int(o[1])*8; o = o[int(o[1])*8:] {
		if o[0] == prefixOption && o[1] == 4 {
			out = append(out, netip.PrefixFrom(netip.AddrFrom16([16]byte(o[16:32])), int(o[2])))
		}
	}
	return out, true
}
