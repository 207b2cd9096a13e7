//go:build netns

package virtualrouter

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The messages of DHCP (RFC 2132, 9.6).
const (
	discover = 1
	request  = 3
	ack      = 5
	nak      = 6
)

// packet is what a client says.
type packet struct {
	kind     byte
	mac      string
	clientID []byte
	wants    string // address asked for
	server   string // that made the offer
}

// offer is what a server says.
type offer struct {
	kind                                            byte
	ip, mask, router, dns, domain, hostname, server string
	search, routes, windows                         string
	mtu, lease                                      uint32
}

// lease goes through a whole exchange.
func (x *lan) lease(mac string, clientID []byte) offer {
	x.t.Helper()
	got := x.ask(packet{kind: discover, mac: mac, clientID: clientID})
	return x.ask(packet{kind: request, mac: mac, clientID: clientID, wants: got.ip, server: got.server})
}

// ask sends a packet until it is answered.
func (x *lan) ask(p packet) offer {
	x.t.Helper()
	conn := x.client()
	defer func() { _ = conn.Close() }()
	buf := make([]byte, 2048)
	for limit := time.Now().Add(patience); time.Now().Before(limit); {
		send(x, conn, p)
		_ = conn.SetReadDeadline(time.Now().Add(time.Second))
		if n, _, err := conn.ReadFrom(buf); err == nil {
			return parse(buf[:n])
		}
	}
	x.t.Fatalf("nobody answers %+v", p)
	return offer{}
}

// tell sends a packet without waiting for an answer.
func (x *lan) tell(p packet) {
	x.t.Helper()
	conn := x.client()
	defer func() { _ = conn.Close() }()
	send(x, conn, p)
}

func send(x *lan, conn net.PacketConn, p packet) {
	x.t.Helper()
	if _, err := conn.WriteTo(p.bytes(), &net.UDPAddr{IP: net.IPv4bcast, Port: 67}); err != nil {
		x.t.Fatal(err)
	}
}

// client opens the port of DHCP clients on the guests' link, which need not have
// an address.
func (x *lan) client() net.PacketConn {
	x.t.Helper()
	cfg := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		if e := c.Control(func(fd uintptr) { err = unix.BindToDevice(int(fd), "eth0") }); e != nil {
			return e
		}
		return err
	}}
	var conn net.PacketConn
	within(x.t, x.guests, func() (err error) {
		conn, err = cfg.ListenPacket(x.t.Context(), "udp4", "0.0.0.0:68")
		return err
	})
	return conn
}

// bytes is the packet on the wire: BOOTP's fixed part, with the flag that asks
// for answers by broadcast, and options.
func (p packet) bytes() []byte {
	b := make([]byte, 240, 512)
	mac, err := net.ParseMAC(p.mac)
	if err != nil {
		panic(err)
	}
	b[0], b[1], b[2] = 1, 1, 6
	copy(b[4:], []byte{0xde, 0xad, mac[4], mac[5]})
	b[10] = 0x80
	copy(b[28:], mac)
	copy(b[236:], []byte{99, 130, 83, 99})
	option := func(code byte, v []byte) {
		if len(v) > 0 {
			b = append(append(b, code, byte(len(v))), v...)
		}
	}
	option(53, []byte{p.kind})
	option(61, p.clientID)
	option(50, addr(p.wants))
	option(54, addr(p.server))
	option(12, []byte("liar"))
	option(55, []byte{1, 3, 6, 12, 15, 26, 51, 54, 119, 121, 249})
	return append(b, 255)
}

func addr(s string) []byte {
	if s == "" {
		return nil
	}
	return netip.MustParseAddr(s).AsSlice()
}

func parse(b []byte) offer {
	ip := func(v []byte) string { return netip.AddrFrom4([4]byte(v[:4])).String() }
	o := offer{ip: ip(b[16:20])}
	for b = b[240:]; len(b) > 1 && b[0] != 255; {
		if b[0] == 0 {
			b = b[1:]
			continue
		}
		v := b[2 : 2+int(b[1])]
		switch b[0] {
		case 53:
			o.kind = v[0]
		case 1:
			o.mask = ip(v)
		case 3:
			o.router = ip(v)
		case 6:
			o.dns = ip(v)
		case 12:
			o.hostname = string(v)
		case 15:
			o.domain = string(v)
		case 26:
			o.mtu = uint32(binary.BigEndian.Uint16(v))
		case 51:
			o.lease = binary.BigEndian.Uint32(v)
		case 54:
			o.server = ip(v)
		case 119:
			o.search = name(v)
		case 121:
			o.routes = routes(v)
		case 249:
			o.windows = routes(v)
		}
		b = b[2+int(b[1]):]
	}
	return o
}

// name reads one name of a search list (RFC 1035, 3.1).
func name(v []byte) string {
	var labels []string
	for len(v) > 0 && v[0] != 0 {
		labels = append(labels, string(v[1:1+v[0]]))
		v = v[1+v[0]:]
	}
	return strings.Join(labels, ".")
}

// routes reads pairs of network and next hop (RFC 3442).
func routes(v []byte) string {
	var out []string
	for len(v) > 0 {
		n := (int(v[0]) + 7) / 8
		var dst [4]byte
		copy(dst[:], v[1:1+n])
		out = append(out, fmt.Sprintf("%s/%d %s", netip.AddrFrom4(dst), v[0], netip.AddrFrom4([4]byte(v[1+n:5+n]))))
		v = v[5+n:]
	}
	return strings.Join(out, " ")
}
