package link

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"weft.dev/reconcile/resource"
)

// A VLAN is an 802.1q device. A kernel without them (CONFIG_VLAN_8021Q) has no
// VLAN-aware bridges either (CONFIG_BRIDGE_VLAN_FILTERING depends on it): there it
// is a veth pair, one end of which is the link and the other, the far end, is
// spliced to the device below by two BPF filters.

// farEnd is the name of the far end of the VLAN called name.
func farEnd(name string) string { return resource.Short(15, "wv", name) }

// createVLAN makes the device, or what stands for it.
func (x *site) createVLAN(l resource.Link, parts []nl.NetlinkRequestData, lower iface) error {
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated("vlan"))
	info.AddRtAttr(nl.IFLA_INFO_DATA, nil).AddRtAttr(nl.IFLA_VLAN_ID, nl.Uint16Attr(uint16(l.VLAN.ID)))
	below := nl.NewRtAttr(unix.IFLA_LINK, nl.Uint32Attr(uint32(lower.index)))
	if l.MTU != 0 {
		parts = append(parts, nl.NewRtAttr(unix.IFLA_MTU, nl.Uint32Attr(uint32(l.MTU))))
	}
	err := ask(x.root, unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL, append(slices.Clone(parts), below, info)...)
	if !errors.Is(err, unix.EOPNOTSUPP) {
		return err
	}
	// What cannot be spliced must not stand there as if it were.
	if fd, err := load(tag(l.VLAN.ID, lower.index)); err != nil {
		return fmt.Errorf("the kernel has no 802.1q devices, and refuses what would replace them: %w", err)
	} else if err := unix.Close(fd); err != nil {
		return err
	}
	if err := x.unsplice(l.Name); err != nil {
		return err
	}
	info = nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated("veth"))
	far := info.AddRtAttr(nl.IFLA_INFO_DATA, nil).AddRtAttr(nl.VETH_INFO_PEER, nil)
	nl.NewIfInfomsgChild(far, unix.AF_UNSPEC)
	far.AddRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(farEnd(l.Name)))
	far.AddRtAttr(unix.IFLA_GROUP, nl.Uint32Attr(x.d.group))
	return ask(x.root, unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL, append(parts, info)...)
}

// splices are the two filters of a VLAN: what comes in by the device below goes to
// the far end, and back.
func (d *Driver) splices(l resource.Link, far, lower int32) (in, out filter) {
	mark := func(dir string, to int32) string {
		return fmt.Sprintf("%svlan-%s/%s/%d/%d", d.filterMark(), dir, l.Name, l.VLAN.ID, to)
	}
	in = filter{index: lower, handle: uint32(l.VLAN.ID), prio: prioUntag, proto: unix.ETH_P_8021Q, name: mark("in", far)}
	out = filter{index: far, handle: 1, prio: prioTag, proto: unix.ETH_P_ALL, name: mark("out", lower)}
	return in, out
}

// splicedName reads the VLAN and its number from the name of a filter on the
// device below.
func (d *Driver) splicedName(f filter) (name string, id int, ok bool) {
	rest, ok := strings.CutPrefix(f.name, d.filterMark()+"vlan-in/")
	parts := strings.Split(rest, "/")
	if !ok || len(parts) != 3 {
		return "", 0, false
	}
	id, err := strconv.Atoi(parts[1])
	return parts[0], id, err == nil
}

// splice makes both filters true and the far end as wide and as up as the link.
func (x *site) splice(cur iface, l resource.Link, lower iface) error {
	far, ok, err := linkNamed(x.root, farEnd(l.Name))
	if err != nil {
		return err
	}
	if !ok || far.peer != cur.index {
		return fmt.Errorf("its far end %s is not there", farEnd(l.Name))
	}
	in, out := x.d.splices(l, far.index, lower.index)
	for f, prog := range map[filter][]inst{in: untag(l.VLAN.ID, far.index), out: tag(l.VLAN.ID, lower.index)} {
		has, _, err := x.filters(f.index, atIngress)
		if err != nil {
			return err
		}
		if slices.Contains(has, f) {
			continue
		}
		// The same number of another VLAN's is a clash that claims exclude.
		for _, old := range has {
			if old.handle == f.handle && old.prio == f.prio {
				if err := x.dropFilter(old); err != nil {
					return err
				}
			}
		}
		if err := x.putFilter(f, prog); err != nil {
			return err
		}
	}
	if err := silenceLink(far.name, true); err != nil {
		return err
	}
	return change(x.root, far, wanted{mtu: cmp.Or(l.MTU, cur.mtu), up: l.Up})
}

// unsplice removes what is left of the VLAN called name on the devices below.
func (x *site) unsplice(name string) error {
	all, err := disciplines(x.root)
	if err != nil {
		return err
	}
	for _, q := range all {
		if q.kind != "clsact" {
			continue
		}
		has, _, err := x.filters(q.index, atIngress)
		if err != nil {
			return err
		}
		for _, f := range has {
			if other, _, ok := x.d.splicedName(f); ok && other == name {
				if err := x.dropFilter(f); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// spliced is what stands for the VLANs of a host whose kernel has none.
type spliced struct {
	dev    int32 // the device below
	id     int
	filter filter
}

// splicedIn returns them all by name, and the filters of far ends by index.
func (k *look) splicedIn() (in map[string]spliced, out map[int32]filter) {
	in, out = map[string]spliced{}, map[int32]filter{}
	for index, has := range k.filters {
		for _, f := range has {
			if name, id, ok := k.d.splicedName(f); ok {
				in[name] = spliced{index, id, f}
			} else if f.prio == prioTag {
				out[index] = f
			}
		}
	}
	return in, out
}

// readFilters reads weft's filters of the host's links, by index: the kernel tells
// them link by link only.
func (k *look) readFilters() error {
	k.filters = map[int32][]filter{}
	for _, q := range k.queues {
		if q.kind != "clsact" {
			continue
		}
		has, _, err := filtersAt(k.d, k.root, q.index, atIngress)
		if err != nil {
			return err
		}
		k.filters[q.index] = has
	}
	return nil
}
