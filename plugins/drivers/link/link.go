// Package link drives net.ns, net.link, net.addr, net.route, net.sysctl, net.port
// and net.qdisc through netlink.
//
// In go steps of a plan and a host; out come what the kernel has of ours, and
// errors. reconcile/driver has the contract; cmd and tests import it.
//
// What is ours: a namespace whose lo carries our alias, with everything inside
// except what the kernel makes by itself; in the host's namespace the outer ends
// of veth pairs (alias), bridges, VLANs and VXLANs (link group, alias), addresses and
// routes with our protocol number, limits with our handle, filters with our name. What
// the kernel has no room for, such as who owns a route or what a setting was
// before, is kept in a note per namespace below the host's marks; without it an
// owner is guessed from what is desired, else from the namespace.
package link

import (
	"context"
	"hash/fnv"
	"sync"

	"weft.dev/reconcile/driver"
	"weft.dev/reconcile/host"
	"weft.dev/reconcile/resource"
)

// Protocol is the protocol number of the routes, and of the addresses where the
// kernel (5.18) has such a number, of the instance called "weft". It is 'W' and
// free in include/uapi/linux/rtnetlink.h. Other instances use 200 to 249.
const Protocol = 87

// workers is how many namespaces are changed or read at a time: the kernel's
// rtnl lock lets one change at a time through, the rest is waiting.
const workers = 4

// Driver implements driver.Driver.
type Driver struct {
	host  *host.Host
	marks *host.Marks
	// places are the links, by index, that weft gave a place for filters; each with the
	// cookie of the host's namespace.
	places *host.Marks
	proto  uint8
	// group is that of the links that weft makes in the host's namespace as
	// bridge, VLAN or VXLAN, handle that of its limits.
	group, handle uint32

	doing sync.Mutex // one Do at a time: they write notes

	mu    sync.Mutex
	notes map[string]*note // by namespace, guarded by mu; replaced, never changed
	// stamps say which file a note was read from.
	stamps map[string]uint64
	// outside are the links of the host's namespace that concern us, by
	// index, as last observed; the watcher ignores others.
	outside map[int32]bool
	// expected are the names of links that were wanted at that time.
	expected map[string]bool
	// macs are those of guests' interfaces that were wanted.
	macs map[string]bool
	// guardless is the generation of nftables that had no rules of ours, 0 if none is
	// known.
	guardless uint32
	// life is the context of whoever watches.
	life context.Context
	// told is what was announced since the last Settle.
	told []news
}

// groupBase and handleBase are 'W', 'F' in the upper half, and the instance below.
const (
	groupBase  = 0x57460000
	handleBase = 0x57000000
)

// New returns the driver of h.
func New(h *host.Host) *Driver {
	sum := fnv.New32a()
	_, _ = sum.Write([]byte(h.Instance))
	d := &Driver{host: h, marks: h.Marks("link"), places: h.Marks("link.places"), proto: Protocol, notes: map[string]*note{}, stamps: map[string]uint64{}, life: context.Background()}
	if h.Instance != "weft" {
		d.proto = uint8(200 + sum.Sum32()%50)
	}
	d.group = groupBase | sum.Sum32()&0xffff
	d.handle = handleBase | sum.Sum32()&0xff<<16
	return d
}

// Kinds implements driver.Driver.
func (*Driver) Kinds() []resource.Kind {
	return []resource.Kind{
		resource.KindNS, resource.KindLink, resource.KindAddr, resource.KindRoute, resource.KindRule, resource.KindSysctl,
		resource.KindBridgePort, resource.KindQdisc,
	}
}

// Epoch implements driver.Driver: netlink has no generation, and a look is cheap.
func (*Driver) Epoch(context.Context, driver.Scope) (uint64, bool) { return 0, false }
