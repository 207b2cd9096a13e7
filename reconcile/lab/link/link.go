// Package link makes and moves the links of a lab: wires (Linux bridges in the supervisor's network namespace), the
// cables plugged into them, and veth pairs between nodes. Namespaces are named by a file such as /proc/PID/ns/net. All of
// it needs CAP_NET_ADMIN over both namespaces, which a user namespace of one's own gives. Only reconcile/lab and its
// packages import it.
package link

import (
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Ends of the range of MTUs that a veth takes.
const (
	MinMTU = 1280 // IPv6 needs it
	MaxMTU = 65535
)

// Here is the network namespace of the calling thread.
const Here = "/proc/thread-self/ns/net"

// in calls do with a handle in the namespace of the file ns.
func in(ns string, do func(h *netlink.Handle) error) error {
	file, err := netns.GetFromPath(ns)
	if err != nil {
		return fmt.Errorf("open %s: %w", ns, err)
	}
	defer func() { _ = file.Close() }()
	h, err := netlink.NewHandleAt(file)
	if err != nil {
		return fmt.Errorf("netlink in %s: %w", ns, err)
	}
	defer h.Close()
	return do(h)
}

// AddWire makes the Linux bridge of a wire here. Tagged and untagged frames alike pass it, by MAC only; it keeps no
// multicast groups and takes part in no spanning tree.
func AddWire(name, alias string, mtu int) error {
	return in(Here, func(h *netlink.Handle) error {
		off := false
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.MTU = name, mtu
		if err := h.LinkAdd(&netlink.Bridge{LinkAttrs: attrs, MulticastSnooping: &off}); err != nil {
			return fmt.Errorf("add wire %s: %w", name, err)
		}
		l, err := h.LinkByName(name)
		if err != nil {
			return fmt.Errorf("wire %s: %w", name, err)
		}
		// Without IPv6 of its own the wire says nothing that the hosts did not say.
		_ = os.WriteFile("/proc/sys/net/ipv6/conf/"+name+"/disable_ipv6", []byte("1"), 0)
		if err := h.LinkSetAlias(l, alias); err != nil {
			return fmt.Errorf("alias of wire %s: %w", name, err)
		}
		return h.LinkSetUp(l)
	})
}

// A Cable connects a node to a wire.
type Cable struct {
	Wire string // name of the bridge here
	Port string // name of the end here
	NS   string // namespace of the node
	Name string // name of the end in the node
	MTU  int
}

// AddCable plugs a cable; both ends are up.
func AddCable(c Cable) error {
	pair := Pair{NS: c.NS, Name: c.Name, PeerNS: Here, PeerName: c.Port, MTU: c.MTU}
	if err := AddPair(pair); err != nil {
		return err
	}
	return in(Here, func(h *netlink.Handle) error {
		port, err := h.LinkByName(c.Port)
		if err != nil {
			return fmt.Errorf("cable %s: %w", c.Port, err)
		}
		_ = os.WriteFile("/proc/sys/net/ipv6/conf/"+c.Port+"/disable_ipv6", []byte("1"), 0) // as for the wire
		wire, err := h.LinkByName(c.Wire)
		if err != nil {
			return fmt.Errorf("wire %s: %w", c.Wire, err)
		}
		if err := h.LinkSetMaster(port, wire); err != nil {
			return fmt.Errorf("plug %s into %s: %w", c.Port, c.Wire, err)
		}
		return h.LinkSetUp(port)
	})
}

// A Pair is a veth pair between two namespaces.
type Pair struct {
	NS, Name         string
	MAC              string // of the end in NS; empty: the kernel's choice
	PeerNS, PeerName string
	PeerMAC          string // of the other end; empty: the kernel's choice
	MTU              int
}

// AddPair makes the pair. The end in NS never offloads checksums to its peer: Open vSwitch's userspace datapath reads the
// peer with AF_PACKET and would pass on packets without checksum. That end is up, the other one too.
func AddPair(p Pair) error {
	peerNS, err := netns.GetFromPath(p.PeerNS)
	if err != nil {
		return fmt.Errorf("open %s: %w", p.PeerNS, err)
	}
	defer func() { _ = peerNS.Close() }()
	err = in(p.NS, func(h *netlink.Handle) error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.MTU = p.Name, p.MTU
		if p.MAC != "" {
			mac, err := net.ParseMAC(p.MAC)
			if err != nil {
				return err
			}
			attrs.HardwareAddr = mac
		}
		veth := &netlink.Veth{LinkAttrs: attrs, PeerName: p.PeerName, PeerNamespace: netlink.NsFd(peerNS)}
		if p.PeerMAC != "" {
			mac, err := net.ParseMAC(p.PeerMAC)
			if err != nil {
				return err
			}
			veth.PeerHardwareAddr = mac
		}
		if err := h.LinkAdd(veth); err != nil {
			return fmt.Errorf("add link %s with peer %s: %w", p.Name, p.PeerName, err)
		}
		l, err := h.LinkByName(p.Name)
		if err != nil {
			return fmt.Errorf("link %s: %w", p.Name, err)
		}
		return h.LinkSetUp(l)
	})
	if err != nil {
		return err
	}
	if err := ChecksumsOn(p.NS, p.Name); err != nil {
		return err
	}
	return in(p.PeerNS, func(h *netlink.Handle) error {
		l, err := h.LinkByName(p.PeerName)
		if err != nil {
			return fmt.Errorf("link %s: %w", p.PeerName, err)
		}
		if err := h.LinkSetMTU(l, p.MTU); err != nil {
			return fmt.Errorf("mtu %d of %s: %w", p.MTU, p.PeerName, err)
		}
		return h.LinkSetUp(l)
	})
}

// Move takes the link out of one namespace into another, up under its name; its peer stays as it is.
func Move(name, from, to string) error {
	target, err := netns.GetFromPath(to)
	if err != nil {
		return fmt.Errorf("open %s: %w", to, err)
	}
	defer func() { _ = target.Close() }()
	err = in(from, func(h *netlink.Handle) error {
		l, err := h.LinkByName(name)
		if err != nil {
			return fmt.Errorf("link %s: %w", name, err)
		}
		if err := h.LinkSetNsFd(l, int(target)); err != nil {
			return fmt.Errorf("move link %s: %w", name, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return in(to, func(h *netlink.Handle) error {
		l, err := h.LinkByName(name)
		if err != nil {
			return fmt.Errorf("link %s: %w", name, err)
		}
		return h.LinkSetUp(l)
	})
}

// SetMTU sets the size of a link; one that has it stays untouched.
func SetMTU(ns, name string, mtu int) error {
	return in(ns, func(h *netlink.Handle) error {
		l, err := h.LinkByName(name)
		if err != nil {
			return fmt.Errorf("link %s: %w", name, err)
		}
		if l.Attrs().MTU == mtu {
			return nil
		}
		if err := h.LinkSetMTU(l, mtu); err != nil {
			return fmt.Errorf("mtu %d of %s: %w", mtu, name, err)
		}
		return nil
	})
}

// Delete removes a link with its peer; one that is not there is no error.
func Delete(ns, name string) error {
	return in(ns, func(h *netlink.Handle) error {
		l, err := h.LinkByName(name)
		if errors.As(err, &netlink.LinkNotFoundError{}) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("link %s: %w", name, err)
		}
		if err := h.LinkDel(l); err != nil && !errors.Is(err, unix.ENODEV) {
			return fmt.Errorf("delete link %s: %w", name, err)
		}
		return nil
	})
}
