package fw

import (
	"bytes"
	"context"
	"encoding/binary"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"weft.dev/reconcile/driver"
	"weft.dev/reconcile/host"
	"weft.dev/reconcile/resource"
)

// Count implements driver.Counter: of each chain what its first rule saw. A namespace's
// tables are read from the kernel in one piece each; no program is started.
func (d *Driver) Count(ctx context.Context, metered []resource.State) []driver.Count {
	groups := map[place][]resource.Chain{}
	var places []place
	for _, st := range metered {
		if c, ok := st.(resource.Chain); ok {
			p := place{c.NS, c.Family, c.Table}
			if groups[p] == nil {
				places = append(places, p)
			}
			groups[p] = append(groups[p], c)
		}
	}
	if len(places) == 0 {
		return nil
	}
	t, err := d.find(ctx)
	if err != nil {
		return nil
	}
	found := make([]map[string]driver.Traffic, len(places))
	host.Each(readers, places, func(i int, p place) {
		if ctx.Err() != nil {
			return
		}
		if t.variant == NFT {
			found[i] = d.countNFT(p)
		} else {
			found[i] = countLegacy(d.host, p)
		}
	})
	var out []driver.Count
	for i, p := range places {
		for _, c := range groups[p] {
			if n, ok := found[i][c.Name]; ok {
				out = append(out, driver.Count{State: c, Received: n})
			}
		}
	}
	return out
}

// place is a table of a namespace.
type place struct {
	ns     string
	family int
	table  string
}

// countNFT returns the counter of the first rule of each chain of a table.
func (d *Driver) countNFT(p place) map[string]driver.Traffic {
	s, err := d.host.Space(p.ns)
	if err != nil {
		return nil
	}
	family := uint8(unix.AF_INET)
	if p.family == 6 {
		family = unix.AF_INET6
	}
	all, err := s.Dump(unix.NETLINK_NETFILTER, unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_GETRULE, unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_NEWRULE,
		&nl.Nfgenmsg{NfgenFamily: family}, nl.NewRtAttr(unix.NFTA_RULE_TABLE, nl.ZeroTerminated(p.table)))
	if err != nil {
		return nil
	}
	out := map[string]driver.Traffic{}
	for _, m := range all {
		if len(m) < nl.SizeofNfgenmsg || m[0] != family {
			continue
		}
		var table, chain string
		var exprs []byte
		for typ, value := range host.Attrs(m[nl.SizeofNfgenmsg:]) {
			switch typ {
			case unix.NFTA_RULE_TABLE:
				table = text(value)
			case unix.NFTA_RULE_CHAIN:
				chain = text(value)
			case unix.NFTA_RULE_EXPRESSIONS:
				exprs = value
			}
		}
		if _, known := out[chain]; !known && table == p.table { // a kernel that cannot filter gives all
			out[chain] = counterOf(exprs)
		}
	}
	return out
}

// counterOf is the counter among the expressions of a rule.
func counterOf(exprs []byte) driver.Traffic {
	var out driver.Traffic
	for _, e := range host.Attrs(exprs) {
		name, data := "", []byte(nil)
		for typ, value := range host.Attrs(e) {
			switch typ {
			case unix.NFTA_EXPR_NAME:
				name = text(value)
			case unix.NFTA_EXPR_DATA:
				data = value
			}
		}
		if name != "counter" {
			continue
		}
		for typ, value := range host.Attrs(data) {
			switch {
			case len(value) < 8:
			case typ == unix.NFTA_COUNTER_BYTES:
				out.Bytes = binary.BigEndian.Uint64(value)
			case typ == unix.NFTA_COUNTER_PACKETS:
				out.Packets = binary.BigEndian.Uint64(value)
			}
		}
	}
	return out
}

// text is a string that the kernel ended with a zero.
func text(b []byte) string {
	b, _, _ = bytes.Cut(b, []byte{0})
	return string(b)
}

// Of include/uapi/linux/netfilter/x_tables.h: the name of a target stands after its
// size, that of a chain after the head of a target called ERROR.
const (
	targetName = 2
	targetHead = 32
	chainHead  = "ERROR"
)

// countLegacy is countNFT for the other variant.
func countLegacy(h *host.Host, p place) map[string]driver.Traffic {
	x, ok := xfamilies[p.family]
	if !ok {
		return nil
	}
	out := map[string]driver.Traffic{}
	err := h.In(p.ns, func() error {
		fd, err := unix.Socket(x.domain, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
		if err != nil {
			return err
		}
		defer func() { _ = unix.Close(fd) }()
		b, err := x.entries(fd, p.table)
		if err != nil {
			return err
		}
		chain := ""
		for e := range x.each(b) {
			if chain != "" {
				out[chain] = driver.Traffic{
					Packets: binary.NativeEndian.Uint64(e[x.counters:]), Bytes: binary.NativeEndian.Uint64(e[x.counters+8:]),
				}
			}
			chain = ""
			if at := int(binary.NativeEndian.Uint16(e[x.next-2:])); at+targetHead < len(e) && text(e[at+targetName:at+targetHead-1]) == chainHead {
				chain = text(e[at+targetHead:])
			}
		}
		return nil
	})
	if err != nil {
		return nil
	}
	return out
}
