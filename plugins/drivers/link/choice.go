package link

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"weft.dev/reconcile/host"
	"weft.dev/reconcile/resource"
)

// legGroup is the link group of those that rules are about ('W', 'F').
const legGroup = 0x5746

// The priorities of rules: that which keeps what lies inside apart from what lies behind
// such a link, then the rules of each.
const (
	insideFirst = 1000 + iota
	byMark
	bySource
	theRest
)

// Attributes and the one action of include/uapi/linux/fib_rules.h.
const (
	fraDst         = 1
	fraSrc         = 2
	fraIif         = 3
	fraPriority    = 6
	fraMark        = 10
	fraGroup       = 13
	fraTable       = 15
	fraMask        = 16
	fraOif         = 17
	fraProtocol    = 21
	actTable       = 1
	ruleHeaderSize = unix.SizeofRtMsg // struct fib_rule_hdr has the same fields
)

// choice is one of the kernel's rules.
type choice struct {
	priority   uint32
	src        netip.Prefix
	mark, mask uint32
	group      uint32 // suppressed, 0 is none
	table      uint32
	odd        string // what weft never asks for
}

func (c choice) String() string {
	s := fmt.Sprintf("rule %d", c.priority)
	if c.src.IsValid() {
		s += " from " + c.src.String()
	}
	if c.mask != 0 {
		s += fmt.Sprintf(" mark %#x/%#x", c.mark, c.mask)
	}
	if s += fmt.Sprintf(" table %d", c.table); c.group != 0 {
		s += fmt.Sprintf(" suppress group %d", c.group)
	}
	return s + c.odd
}

// choices are the rules that r consists of, in the order in which they are added.
func choices(r resource.RoutingRule) []choice {
	out := []choice{
		{priority: insideFirst, group: legGroup, table: unix.RT_TABLE_MAIN},
		{priority: bySource, src: r.Net, table: r.Table},
		{priority: byMark, mark: r.Mark, mask: r.Mask, table: r.Table},
	}
	if r.Rest {
		out = append(out, choice{priority: theRest, table: r.Table})
	}
	return out
}

// ruled reports whether a table is one of those that weft's rules use.
func ruled(table uint32) bool {
	return table >= resource.RoutingTables && table <= resource.RoutingTables+1<<16
}

// of reports whether c is a part of the rule of table.
func (c choice) of(table uint32) bool { return c.table == table || c.priority == insideFirst }

func readChoices(s *host.Space) ([]choice, error) {
	out, err := s.Dump(unix.NETLINK_ROUTE, unix.RTM_GETRULE, unix.RTM_NEWRULE, &nl.RtMsg{RtMsg: unix.RtMsg{Family: unix.AF_INET}})
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EAFNOSUPPORT) {
		return nil, nil // a kernel without policy routing
	}
	if err != nil {
		return nil, fmt.Errorf("read routing rules: %w", err)
	}
	var list []choice
	for _, m := range out {
		if c, ok := parseChoice(m); ok {
			list = append(list, c)
		}
	}
	return list, nil
}

// parseChoice reads a rule; those of others, at other priorities, are left out.
func parseChoice(m []byte) (choice, bool) {
	if len(m) < ruleHeaderSize {
		return choice{}, false
	}
	msg := nl.DeserializeRtMsg(m)
	c := choice{table: uint32(msg.Table)}
	var src netip.Addr
	for typ, v := range host.Attrs(m[ruleHeaderSize:]) {
		switch typ {
		case fraSrc:
			src, _ = netip.AddrFromSlice(v)
		case fraPriority:
			c.priority = u32(v)
		case fraMark:
			c.mark = u32(v)
		case fraMask:
			c.mask = u32(v)
		case fraTable:
			c.table = u32(v)
		case fraGroup:
			if g := u32(v); g != ^uint32(0) {
				c.group = g
			}
		case fraDst, fraIif, fraOif:
			c.odd += fmt.Sprintf(" with attribute %d", typ)
		}
	}
	if msg.Src_len > 0 {
		c.src = netip.PrefixFrom(src, int(msg.Src_len))
	}
	if msg.Type != actTable || msg.Tos != 0 {
		c.odd += fmt.Sprintf(" action %d tos %d", msg.Type, msg.Tos)
	}
	return c, ruled(c.table) || c.priority >= insideFirst && c.priority <= theRest
}

func (x *site) askRule(typ, flags int, c choice) error {
	msg := &nl.RtMsg{RtMsg: unix.RtMsg{Family: unix.AF_INET, Type: actTable}}
	parts := []nl.NetlinkRequestData{
		msg, nl.NewRtAttr(fraPriority, nl.Uint32Attr(c.priority)), nl.NewRtAttr(fraTable, nl.Uint32Attr(c.table)),
	}
	if c.src.IsValid() {
		msg.Src_len = uint8(c.src.Bits())
		parts = append(parts, nl.NewRtAttr(fraSrc, c.src.Addr().AsSlice()))
	}
	if c.mask != 0 {
		parts = append(parts, nl.NewRtAttr(fraMark, nl.Uint32Attr(c.mark)), nl.NewRtAttr(fraMask, nl.Uint32Attr(c.mask)))
	}
	if c.group != 0 {
		parts = append(parts, nl.NewRtAttr(fraGroup, nl.Uint32Attr(c.group)))
	}
	if typ == unix.RTM_NEWRULE {
		parts = append(parts, nl.NewRtAttr(fraProtocol, []byte{x.d.proto}))
	}
	if err := ask(x.space, typ, flags, parts...); err != nil {
		return fmt.Errorf("%s: %w", c, err)
	}
	return nil
}
