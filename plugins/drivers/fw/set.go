package fw

import (
	"bytes"
	"errors"
	"fmt"
	"math/bits"
	"net/netip"
	"slices"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"weft.dev/reconcile/host"
	"weft.dev/reconcile/resource"
)

// kset is an ipset as the kernel tells it.
type kset struct {
	name    string
	family  int // 0 when it is no set of networks at all
	members []netip.Prefix
	odd     string // what it has that weft never makes
}

// A set of networks cannot hold the network of everything; its halves can.
var halves = map[netip.Prefix][2]netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/0"): {netip.MustParsePrefix("0.0.0.0/1"), netip.MustParsePrefix("128.0.0.0/1")},
	netip.MustParsePrefix("::/0"):      {netip.MustParsePrefix("::/1"), netip.MustParsePrefix("8000::/1")},
}

// split returns what stands in the kernel for members: sorted, everything in
// two halves.
func split(members []netip.Prefix) []netip.Prefix {
	out := make([]netip.Prefix, 0, len(members)+1)
	for _, m := range members {
		if h, ok := halves[m]; ok {
			out = append(out, h[:]...)
		} else {
			out = append(out, m)
		}
	}
	slices.SortFunc(out, comparePrefix)
	return slices.Compact(out)
}

// join is the reverse of split.
func join(members []netip.Prefix) []netip.Prefix {
	out := slices.Clone(members)
	for whole, h := range halves {
		if slices.Contains(out, h[0]) && slices.Contains(out, h[1]) {
			out = slices.DeleteFunc(out, func(p netip.Prefix) bool { return p == h[0] || p == h[1] })
			out = append(out, whole)
		}
	}
	slices.SortFunc(out, comparePrefix)
	return out
}

func comparePrefix(a, b netip.Prefix) int {
	if c := a.Addr().Compare(b.Addr()); c != 0 {
		return c
	}
	return a.Bits() - b.Bits()
}

// The attributes of include/uapi/linux/netfilter/ipset/ip_set.h that are read.
const (
	setProtocol = 1
	setNameAttr = 2
	setType     = 3
	setFamily   = 5
	setHeader   = 7 // IPSET_ATTR_DATA
	setEntries  = 8 // IPSET_ATTR_ADT
	entryIP     = 1
	entryCIDR   = 3
	entryFlags  = 8 // nomatch and the like
	headTimeout = 6
	cmdList     = 7
)

// readSets lists the sets of a namespace with their members sorted. Where the
// kernel has no ipset there are none.
func readSets(s *host.Space) ([]kset, error) {
	raw, err := dumpSets(s)
	if err != nil {
		return nil, err
	}
	return parseSets(raw), nil
}

// dumpSets reads the sets of a namespace as the kernel tells them.
func dumpSets(s *host.Space) ([][]byte, error) {
	const typ = unix.NFNL_SUBSYS_IPSET<<8 | cmdList
	out, err := s.Dump(unix.NETLINK_NETFILTER, typ, 0, &nl.Nfgenmsg{NfgenFamily: unix.AF_INET}, nl.NewRtAttr(setProtocol, nl.Uint8Attr(nl.IPSET_PROTOCOL)))
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EPROTONOSUPPORT) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read ipsets: %w", err)
	}
	return out, nil
}

func parseSets(raw [][]byte) []kset {
	var sets []kset
	for _, m := range raw {
		if len(m) < nl.SizeofNfgenmsg {
			continue
		}
		part := parseSet(m[nl.SizeofNfgenmsg:])
		// A large set comes in parts.
		if last := len(sets) - 1; last >= 0 && sets[last].name == part.name {
			sets[last].members = append(sets[last].members, part.members...)
			if part.odd != "" {
				sets[last].odd = part.odd
			}
			continue
		}
		sets = append(sets, part)
	}
	for i := range sets {
		slices.SortFunc(sets[i].members, comparePrefix)
	}
	return sets
}

func parseSet(b []byte) kset {
	var set kset
	kind := "hash:net"
	for typ, v := range host.Attrs(b) {
		switch typ {
		case setNameAttr:
			set.name = strings.TrimRight(string(v), "\x00")
		case setType:
			kind = strings.TrimRight(string(v), "\x00")
		case setFamily:
			if len(v) > 0 {
				set.family = map[byte]int{unix.AF_INET: 4, unix.AF_INET6: 6}[v[0]]
			}
		case setHeader:
			for t := range host.Attrs(v) {
				if t == headTimeout {
					set.odd = "the members have timeouts"
				}
			}
		case setEntries:
			for _, entry := range host.Attrs(v) {
				p, odd := parseMember(entry)
				if p.IsValid() {
					set.members = append(set.members, p)
				}
				if odd {
					set.odd = "a member is marked: " + p.String()
				}
			}
		}
	}
	if kind != "hash:net" {
		set.family = 0
	}
	return set
}

func parseMember(b []byte) (p netip.Prefix, odd bool) {
	var addr netip.Addr
	bits := -1
	for typ, v := range host.Attrs(b) {
		switch typ {
		case entryIP:
			for _, raw := range host.Attrs(v) {
				addr, _ = netip.AddrFromSlice(raw)
			}
		case entryCIDR:
			if len(v) > 0 {
				bits = int(v[0])
			}
		case entryFlags:
			odd = true
		}
	}
	if bits < 0 {
		bits = addr.BitLen()
	}
	return netip.PrefixFrom(addr, bits), odd
}

// spareSet holds new members until it takes the place of a set.
const spareSet = "weft-new"

// renderSet returns the lines of `ipset restore` that make set true in one
// moment: a full new set changes places with have, if there is one.
func renderSet(set resource.AddrSet, have *kset) ([]byte, error) {
	family := map[int]string{4: "inet", 6: "inet6"}[set.Family]
	if family == "" {
		return nil, fmt.Errorf("set %q is of family %d, neither 4 nor 6", set.Name, set.Family)
	}
	if !setName.MatchString(set.Name) || set.Name == spareSet {
		return nil, fmt.Errorf("%q is no name for a set", set.Name)
	}
	members := split(set.Members)
	// The kernel's default, and room above it in steps.
	limit := max(1<<16, 1<<bits.Len(uint(len(members))))
	var b bytes.Buffer
	fmt.Fprintf(&b, "create %s hash:net family %s maxelem %d\n", spareSet, family, limit)
	for _, m := range members {
		if !m.IsValid() || m.Addr().Is4() != (set.Family == 4) || m.Addr().Is4In6() || m.Addr().Zone() != "" || m != m.Masked() {
			return nil, fmt.Errorf("member %s of set %s is no network of IPv%d", m, set.Name, set.Family)
		}
		fmt.Fprintf(&b, "add %s %s\n", spareSet, m)
	}
	switch {
	case have == nil:
		fmt.Fprintf(&b, "rename %s %s\n", spareSet, set.Name)
	case have.family != set.Family: // only of one kind can change places
		fmt.Fprintf(&b, "destroy %s\nrename %s %s\n", set.Name, spareSet, set.Name)
	default:
		fmt.Fprintf(&b, "swap %s %s\ndestroy %s\n", spareSet, set.Name, spareSet)
	}
	return b.Bytes(), nil
}
