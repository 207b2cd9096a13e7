package link

import (
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"weft.dev/reconcile/host"
	"weft.dev/reconcile/resource"
)

// Neighbours go on sending to the link that had an address before, and switches to
// the port where they last heard a MAC, until they are told. The kernel's arp_notify
// is not enough (measured with 6.18): it tells them once, when a link comes up, which
// is before the port of a new link is plugged in, and never of an address that a link
// which is up gets.

// encores are the pauses before the addresses are announced: at once, for a link
// whose port works, and again while the switch takes up that of a new one.
var encores = []time.Duration{0, time.Second, 2 * time.Second, 4 * time.Second}

// news are a link whose neighbours have something to learn: an address it got,
// or all that it has, if addr is zero.
type news struct {
	ns, link string
	addr     netip.Addr
}

// renew has all addresses of a link announced that was there and came up or got
// another MAC; was is what it and its other end were before.
func (x *site) renew(l resource.Link, mac net.HardwareAddr, was ...iface) {
	other := mac != nil && mac.String() != was[0].mac
	for _, end := range was {
		other = other || !end.up
	}
	if l.Up && other {
		x.news = append(x.news, news{ns: x.ns, link: l.Name})
	}
}

// announce tells the neighbours, now and a few times more, without keeping anybody
// waiting. The encores end with whoever watches, or are lost with the process: see
// Settle.
func (d *Driver) announce(list []news) {
	if len(list) == 0 {
		return
	}
	d.mu.Lock()
	d.told = append(d.told, list...)
	life := d.life
	d.mu.Unlock()
	go d.encore(life, list)
}

func (d *Driver) encore(ctx context.Context, list []news) {
	for _, pause := range encores {
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
			d.tellAll(list)
		}
	}
}

// Settle implements engine.Settler: what the pass announced is announced once more,
// now that the ports of new links are plugged in. Whoever applies once and ends says
// it in time.
func (d *Driver) Settle(context.Context) {
	d.mu.Lock()
	list := d.told
	d.told = nil
	d.mu.Unlock()
	d.tellAll(list)
}

func (d *Driver) tellAll(list []news) {
	perSpace := map[string][]news{}
	for _, t := range list {
		perSpace[t.ns] = append(perSpace[t.ns], t)
	}
	// To close a packet socket the kernel waits until nobody can be using it, 10 ms
	// and more: side by side that is waited for once.
	host.Each(tellers, slices.Collect(maps.Keys(perSpace)), func(_ int, ns string) {
		// A namespace or link that went has nothing to tell.
		_ = d.host.In(ns, func() error { return tell(perSpace[ns]) })
	})
}

// tellers is how many namespaces are spoken in at a time.
const tellers = 64

// tell sends the announcements of links in the namespace of the calling thread. An
// address that is gone by now is not announced.
func tell(list []news) error {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0) // it hears nothing
	if err != nil {
		return fmt.Errorf("packet socket: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	links := map[string]*net.Interface{}
	has := map[string][]netip.Addr{}
	for _, t := range list {
		l, known := links[t.link]
		if !known {
			l, has[t.link] = reachable(t.link)
			links[t.link] = l
		}
		for _, a := range has[t.link] {
			if t.addr.IsValid() && a != t.addr {
				continue
			}
			for _, f := range announcements(l.HardwareAddr, a, a.Is6() && forwards(t.link)) {
				to := &unix.SockaddrLinklayer{Ifindex: l.Index, Protocol: binary.NativeEndian.Uint16(f[12:])}
				_ = unix.Sendto(fd, f, 0, to) // it went down, or there is an encore
			}
		}
	}
	return nil
}

// reachable returns a link that is up and has neighbours who ask for MACs, and
// its addresses.
func reachable(name string) (*net.Interface, []netip.Addr) {
	l, err := net.InterfaceByName(name)
	const broadcast = net.FlagUp | net.FlagBroadcast
	if err != nil || l.Flags&broadcast != broadcast || len(l.HardwareAddr) != 6 {
		return nil, nil
	}
	all, err := l.Addrs()
	if err != nil {
		return nil, nil
	}
	var out []netip.Addr
	for _, a := range all {
		p, err := netip.ParsePrefix(a.String())
		if err == nil && !p.Addr().IsLoopback() && !(p.Addr().Is6() && p.Addr().IsLinkLocalUnicast()) {
			out = append(out, p.Addr())
		}
	}
	return l, out
}

// forwards reports whether the link's neighbours should take it for a router: one
// that says it is none is forgotten as such (RFC 4861, 7.2.5).
func forwards(link string) bool {
	v, err := os.ReadFile("/proc/sys/net/ipv6/conf/" + link + "/forwarding")
	return err == nil && strings.TrimSpace(string(v)) != "0"
}

// announcements are the frames that tell who has a: of IPv4 a request and a reply
// (RFC 5227, 3; some listen to one, some to the other), of IPv6 an unsolicited
// neighbour advertisement (RFC 4861, 7.2.6).
func announcements(mac net.HardwareAddr, a netip.Addr, router bool) [][]byte {
	if a.Is6() {
		return [][]byte{advertisement(mac, a.As16(), router)}
	}
	return [][]byte{arp(1, mac, net.HardwareAddr{0, 0, 0, 0, 0, 0}, a.As4()), arp(2, mac, mac, a.As4())}
}

func arp(op byte, mac, target net.HardwareAddr, a [4]byte) []byte {
	f := append([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, mac...)
	f = append(f, 0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, op)
	f = append(append(f, mac...), a[:]...)
	return append(append(f, target...), a[:]...)
}

func advertisement(mac net.HardwareAddr, a [16]byte, router bool) []byte {
	all := [16]byte{0xff, 0x02, 15: 1}
	body := []byte{136, 0, 0, 0, 0x20, 0, 0, 0} // override
	if router {
		body[4] |= 0x80
	}
	body = append(append(append(body, a[:]...), 2, 1), mac...)
	pseudo := append(append([]byte{}, a[:]...), all[:]...)
	pseudo = append(pseudo, 0, 0, 0, byte(len(body)), 0, 0, 0, unix.IPPROTO_ICMPV6)
	binary.BigEndian.PutUint16(body[2:], checksum(append(pseudo, body...)))
	f := append([]byte{0x33, 0x33, 0, 0, 0, 1}, mac...)
	f = append(f, 0x86, 0xdd, 0x60, 0, 0, 0, 0, byte(len(body)), unix.IPPROTO_ICMPV6, 255)
	return append(append(append(f, a[:]...), all[:]...), body...)
}

// checksum is RFC 1071's, of an even number of bytes.
func checksum(b []byte) uint16 {
	sum := uint32(0)
	for i := 0; i < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
