package link

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"weft.dev/reconcile/resource"
)

// makeAddr gives a link an address; one that is there in another shape (with a
// peer, or without our number) is replaced.
func (x *site) makeAddr(a resource.Addr) error {
	index, err := x.index(a.Link)
	if err != nil {
		return err
	}
	if !a.Prefix.IsValid() {
		return fmt.Errorf("address of link %s is empty", a.Link)
	}
	all, err := addrs(x.space)
	if err != nil {
		return err
	}
	known := false
	for _, cur := range all {
		known = known || cur.index == index && cur.prefix.Addr() == a.Prefix.Addr()
		if cur.index == index && cur.prefix == a.Prefix && cur.peer {
			if err := x.removeAddr(index, cur); err != nil {
				return err
			}
		}
	}
	if err := x.putAddr(index, a.Prefix); err != nil {
		return fmt.Errorf("address %s of link %s: %w", a.Prefix, a.Link, err)
	}
	if !known {
		x.news = append(x.news, news{x.ns, a.Link, a.Prefix.Addr()})
	}
	return nil
}

func (x *site) putAddr(index int32, p netip.Prefix) error {
	return ask(x.space, unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, addrParts(index, p, x.d.proto)...)
}

func addrParts(index int32, p netip.Prefix, proto uint8) []nl.NetlinkRequestData {
	msg := nl.NewIfAddrmsg(unix.AF_INET)
	msg.Index, msg.Prefixlen = uint32(index), uint8(p.Bits())
	raw := p.Addr().AsSlice()
	parts := []nl.NetlinkRequestData{msg, nl.NewRtAttr(unix.IFA_LOCAL, raw), nl.NewRtAttr(unix.IFA_ADDRESS, raw)}
	if proto != 0 {
		parts = append(parts, nl.NewRtAttr(ifaProto, []byte{proto}))
	}
	switch {
	case p.Addr().Is6():
		msg.Family = unix.AF_INET6
		// Usable at once: who has which address is settled in the tree.
		parts = append(parts, nl.NewRtAttr(unix.IFA_FLAGS, nl.Uint32Attr(unix.IFA_F_NODAD)))
	case p.Bits() < 31:
		last := p.Masked().Addr().As4()
		host := uint32(1)<<(32-p.Bits()) - 1
		binary.BigEndian.PutUint32(last[:], binary.BigEndian.Uint32(last[:])|host)
		parts = append(parts, nl.NewRtAttr(unix.IFA_BROADCAST, last[:]))
	}
	return parts
}

// dropAddr takes an address from a link.
func (x *site) dropAddr(a resource.Addr) error {
	l, ok, err := linkNamed(x.space, a.Link)
	if err != nil || !ok {
		return err
	}
	all, err := addrs(x.space)
	if err != nil {
		return err
	}
	for _, cur := range all {
		if cur.index == l.index && cur.prefix == a.Prefix {
			return x.removeAddr(l.index, cur)
		}
	}
	return nil
}

// removeAddr removes cur. The first IPv4 address of a subnet takes the others
// with it unless the kernel promotes them, which in a namespace of weft's it
// does; elsewhere they are put back.
func (x *site) removeAddr(index int32, cur ifaddr) error {
	msg := nl.NewIfAddrmsg(unix.AF_INET)
	if cur.prefix.Addr().Is6() {
		msg.Family = unix.AF_INET6
	}
	msg.Index, msg.Prefixlen = uint32(index), uint8(cur.prefix.Bits())
	before, err := addrs(x.space)
	if err != nil {
		return err
	}
	err = ask(x.space, unix.RTM_DELADDR, 0, msg, nl.NewRtAttr(unix.IFA_LOCAL, cur.prefix.Addr().AsSlice()))
	if err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
		return fmt.Errorf("remove address %s: %w", cur.prefix, err)
	}
	if cur.flags&unix.IFA_F_SECONDARY != 0 || cur.prefix.Addr().Is6() {
		return nil
	}
	return x.restore(index, cur, before)
}

// restore puts back the secondary addresses that went with lost.
func (x *site) restore(index int32, lost ifaddr, before []ifaddr) error {
	after, err := addrs(x.space)
	if err != nil {
		return err
	}
	there := map[netip.Prefix]bool{}
	for _, a := range after {
		if a.index == index {
			there[a.prefix] = true
		}
	}
	for _, a := range before {
		if a.index != index || a.prefix == lost.prefix || there[a.prefix] || a.prefix.Addr().Is6() || a.peer {
			continue
		}
		if err := ask(x.space, unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, addrParts(index, a.prefix, a.proto)...); err != nil {
			return fmt.Errorf("put address %s back: %w", a.prefix, err)
		}
	}
	return nil
}
