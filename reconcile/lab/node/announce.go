package node

import (
	"encoding/binary"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// announcements are the milliseconds after a move at which a guest says where it is: QEMU's five (50 ms, then every 100 ms), and
// some later ones for a port that is plugged late.
var announcements = []int{50, 150, 250, 350, 450, 700, 1000, 1500, 2000, 3000, 5000}

// Announce has the guest say on a link which addresses it holds, as after a live migration. It does not wait.
func (n *Node) Announce(link string, _ *Void) error {
	l, err := netlink.LinkByName(link)
	if err != nil {
		return fmt.Errorf("link %s of %s: %w", link, n.config.Name, err)
	}
	go func() {
		begin := time.Now()
		for _, at := range announcements {
			time.Sleep(time.Until(begin.Add(time.Duration(at) * time.Millisecond)))
			if err := sayAddresses(l); err != nil {
				slog.Error("announce", "link", link, "error", err)
				return
			}
		}
	}()
	return nil
}

// sayAddresses sends a gratuitous ARP request for each IPv4 address of the link.
func sayAddresses(l netlink.Link) error {
	addresses, err := netlink.AddrList(l, netlink.FAMILY_V4)
	if err != nil {
		return err
	}
	const arp = unix.ETH_P_ARP>>8 | unix.ETH_P_ARP&0xff<<8 // in network order
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	for _, a := range addresses {
		to := &unix.SockaddrLinklayer{Protocol: arp, Ifindex: l.Attrs().Index, Halen: 6, Addr: [8]byte{255, 255, 255, 255, 255, 255}}
		if err := unix.Sendto(fd, gratuitous(l.Attrs().HardwareAddr, a.IP.To4()), 0, to); err != nil {
			return err
		}
	}
	return nil
}

// gratuitous is the frame of an ARP request for one's own address.
func gratuitous(mac net.HardwareAddr, ip net.IP) []byte {
	frame := []byte{255, 255, 255, 255, 255, 255}
	frame = append(frame, mac...)
	for _, word := range []uint16{unix.ETH_P_ARP, 1, unix.ETH_P_IP, 6<<8 | 4, 1} {
		frame = binary.BigEndian.AppendUint16(frame, word)
	}
	frame = append(frame, mac...)
	frame = append(frame, ip...)
	frame = append(frame, 0, 0, 0, 0, 0, 0)
	return append(frame, ip...)
}
