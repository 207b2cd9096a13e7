package link

import (
	"context"
	"encoding/binary"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"weft.dev/reconcile/driver"
	"weft.dev/reconcile/host"
	"weft.dev/reconcile/resource"
)

// Count implements driver.Counter: of each link what the kernel counts. The links of a
// namespace are read in one piece.
func (d *Driver) Count(ctx context.Context, metered []resource.State) []driver.Count {
	groups := map[string][]resource.Link{}
	for _, st := range metered {
		if l, ok := st.(resource.Link); ok {
			groups[l.NS] = append(groups[l.NS], l)
		}
	}
	var out []driver.Count
	for ns, links := range groups {
		if ctx.Err() != nil {
			break
		}
		s, err := d.host.Space(ns)
		if err != nil {
			continue // it is not there: nothing is counted
		}
		all, err := s.Dump(unix.NETLINK_ROUTE, unix.RTM_GETLINK, unix.RTM_NEWLINK, nl.NewIfInfomsg(unix.AF_UNSPEC))
		if err != nil {
			continue
		}
		found := map[string]driver.Count{}
		for _, m := range all {
			if name, c, ok := counted(m); ok {
				found[name] = c
			}
		}
		for _, l := range links {
			if c, ok := found[l.Name]; ok {
				c.State = l
				out = append(out, c)
			}
		}
	}
	return out
}

// counted reads the name and the counters of a link (struct rtnl_link_stats64).
func counted(m []byte) (name string, c driver.Count, ok bool) {
	if len(m) < unix.SizeofIfInfomsg {
		return "", c, false
	}
	for typ, value := range host.Attrs(m[unix.SizeofIfInfomsg:]) {
		switch {
		case typ == unix.IFLA_IFNAME && len(value) > 1:
			name = string(value[:len(value)-1])
		case typ == unix.IFLA_STATS64 && len(value) >= 32:
			number := func(i int) uint64 { return binary.NativeEndian.Uint64(value[8*i:]) }
			c.Received = driver.Traffic{Packets: number(0), Bytes: number(2)}
			c.Sent = driver.Traffic{Packets: number(1), Bytes: number(3)}
			ok = true
		}
	}
	return name, c, ok && name != ""
}
