package link

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"weft.dev/reconcile/host"
	"weft.dev/reconcile/resource"
)

// tabled are the routes of the tables that weft's rules use.
func tabled(s *host.Space) (map[uint32][]hop, error) {
	out, err := s.Dump(unix.NETLINK_ROUTE, unix.RTM_GETROUTE, unix.RTM_NEWROUTE, &nl.RtMsg{RtMsg: unix.RtMsg{Family: unix.AF_INET}})
	if err != nil {
		return nil, fmt.Errorf("read routes: %w", err)
	}
	tables := map[uint32][]hop{}
	for _, m := range out {
		if r, table, ok := parseTabled(m); ok && ruled(table) {
			tables[table] = append(tables[table], r)
		}
	}
	return tables, nil
}

// paths are the routes of r's table.
func paths(r resource.RoutingRule) []resource.Route {
	return []resource.Route{
		{NS: r.NS, Dst: r.Net, Dev: r.Dev},
		{NS: r.NS, Dst: netip.PrefixFrom(netip.IPv4Unspecified(), 0), Via: r.Via, Dev: r.Dev},
	}
}

func pathText(dst netip.Prefix, dev string, via netip.Addr) string {
	s := "route " + dst.String() + " dev " + dev
	if via.IsValid() {
		s += " via " + via.String()
	}
	return s
}

// lines are what the kernel tells of r when it is true.
func lines(r resource.RoutingRule) []string {
	out := []string{"group of " + r.Dev}
	for _, c := range choices(r) {
		out = append(out, c.String())
	}
	for _, p := range paths(r) {
		out = append(out, pathText(p.Dst, p.Dev, p.Via))
	}
	slices.Sort(out)
	return out
}

// makeRule makes r true, what is missing first.
func (x *site) makeRule(r resource.RoutingRule) error {
	if !ruled(r.Table) || !r.Net.IsValid() || r.Net != r.Net.Masked() || !r.Net.Addr().Is4() || !r.Via.Is4() {
		return fmt.Errorf("routing rule %d of %s: %s by %s is no IPv4 network and gateway", r.Table, r.Dev, r.Net, r.Via)
	}
	l, ok, err := linkNamed(x.space, r.Dev)
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("link %s does not exist", r.Dev)
	}
	if err := x.regroup(l, legGroup); err != nil {
		return err
	}
	tables, err := tabled(x.space)
	if err != nil {
		return err
	}
	want := paths(r)
	for _, p := range want {
		if err := x.putPath(p, l.index, r.Table); err != nil {
			return fmt.Errorf("route to %s in table %d: %w", p.Dst, r.Table, err)
		}
	}
	for _, cur := range tables[r.Table] {
		if !slices.ContainsFunc(want, func(p resource.Route) bool { return p.Dst == cur.dst && cur.keyed() }) {
			if err := x.removePath(cur, r.Table); err != nil {
				return err
			}
		}
	}
	return x.choose(r.Table, choices(r))
}

// choose makes want all rules of a table.
func (x *site) choose(table uint32, want []choice) error {
	had, err := readChoices(x.space)
	if err != nil {
		return err
	}
	for _, c := range want {
		if !slices.Contains(had, c) {
			if err := x.askRule(unix.RTM_NEWRULE, unix.NLM_F_CREATE|unix.NLM_F_EXCL, c); err != nil {
				return err
			}
		}
	}
	for _, c := range had {
		if c.of(table) && !slices.Contains(want, c) {
			if err := x.askRule(unix.RTM_DELRULE, 0, c); err != nil && !errors.Is(err, unix.ENOENT) {
				return err
			}
		}
	}
	return nil
}

func (x *site) regroup(l iface, group uint32) error {
	if l.group == group {
		return nil
	}
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index = l.index
	if err := ask(x.space, unix.RTM_NEWLINK, 0, msg, nl.NewRtAttr(unix.IFLA_GROUP, nl.Uint32Attr(group))); err != nil {
		return fmt.Errorf("group of link %s: %w", l.name, err)
	}
	return nil
}

// putPath makes or replaces a route in a table.
func (x *site) putPath(r resource.Route, index int32, table uint32) error {
	msg := x.routeMsg(r.Dst)
	msg.Table, msg.Scope = unix.RT_TABLE_UNSPEC, unix.RT_SCOPE_LINK
	parts := []nl.NetlinkRequestData{
		msg, nl.NewRtAttr(unix.RTA_OIF, nl.Uint32Attr(uint32(index))), nl.NewRtAttr(unix.RTA_TABLE, nl.Uint32Attr(table)),
	}
	if r.Dst.Bits() > 0 {
		parts = append(parts, nl.NewRtAttr(unix.RTA_DST, r.Dst.Addr().AsSlice()))
	}
	if r.Via.IsValid() {
		msg.Scope = unix.RT_SCOPE_UNIVERSE
		parts = append(parts, nl.NewRtAttr(unix.RTA_GATEWAY, r.Via.AsSlice()))
	}
	return ask(x.space, unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, parts...)
}

func (x *site) removePath(r hop, table uint32) error {
	msg := x.routeMsg(r.dst)
	msg.Table, msg.Protocol, msg.Type, msg.Tos, msg.Scope = unix.RT_TABLE_UNSPEC, r.proto, r.typ, r.tos, r.scope
	parts := []nl.NetlinkRequestData{
		msg, nl.NewRtAttr(unix.RTA_PRIORITY, nl.Uint32Attr(r.prio)), nl.NewRtAttr(unix.RTA_TABLE, nl.Uint32Attr(table)),
	}
	if r.dst.Bits() > 0 {
		parts = append(parts, nl.NewRtAttr(unix.RTA_DST, r.dst.Addr().AsSlice()))
	}
	if err := ask(x.space, unix.RTM_DELROUTE, 0, parts...); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("remove route to %s of table %d: %w", r.dst, table, err)
	}
	return nil
}

// dropRule removes all of a table: the rules that lead to it first. With the last such
// table goes the rule that all have in common.
func (x *site) dropRule(id resource.ID) error {
	_, rest, _ := cut(id.Name)
	n, err := strconv.ParseUint(rest, 10, 32)
	if err != nil || !ruled(uint32(n)) {
		return fmt.Errorf("%s is no routing rule", id)
	}
	table := uint32(n)
	had, err := readChoices(x.space)
	if err != nil {
		return err
	}
	var left []choice
	if slices.ContainsFunc(had, func(c choice) bool { return c.priority != insideFirst && c.table != table }) {
		left = []choice{{priority: insideFirst, group: legGroup, table: unix.RT_TABLE_MAIN}}
	}
	if err := x.choose(table, left); err != nil {
		return err
	}
	tables, err := tabled(x.space)
	if err != nil {
		return err
	}
	all, err := links(x.space)
	if err != nil {
		return err
	}
	for _, r := range tables[table] {
		if err := x.removePath(r, table); err != nil {
			return err
		}
		for _, l := range all {
			if l.index == r.oif {
				if err := x.regroup(l, 0); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// rules observes the routing rules of a namespace of ours.
func (k *look) rules(out *resource.Observed, s *host.Space, n *note, byIndex map[int32]iface) error {
	had, err := readChoices(s)
	if err != nil || len(had) == 0 {
		return err
	}
	tables, err := tabled(s)
	if err != nil {
		return err
	}
	found := map[uint32][]string{}
	for table, list := range tables {
		for _, r := range list {
			text := pathText(r.dst, byIndex[r.oif].name, r.via)
			if !r.plain(k.d.proto) {
				text += fmt.Sprintf(" type %d proto %d metric %d", r.typ, r.proto, r.prio)
			}
			found[table] = append(found[table], text)
			if l := byIndex[r.oif]; l.group == legGroup && !slices.Contains(found[table], "group of "+l.name) {
				found[table] = append(found[table], "group of "+l.name)
			}
		}
	}
	for _, c := range had {
		if ruled(c.table) && found[c.table] == nil {
			found[c.table] = []string{}
		}
	}
	for table, text := range found {
		for _, c := range had {
			if c.of(table) {
				text = append(text, c.String())
			}
		}
		slices.Sort(text)
		k.putRule(out, s, n, table, text)
	}
	return nil
}

// putRule adds what was found of a table: the rule that was asked for, if that is it.
func (k *look) putRule(out *resource.Observed, s *host.Space, n *note, table uint32, text []string) {
	id := resource.RoutingRuleID(s.Name, table)
	owner := n.Owners[id.String()]
	if owner == "" {
		owner = k.guess(id, s.Owner)
	}
	want, wanted := k.desired[id].State.(resource.RoutingRule)
	if wanted && slices.Equal(lines(want), text) {
		k.put(out, want, owner)
		return
	}
	drift := strings.Join(text, "\n")
	out.Set.Put(resource.Entry{Owner: resource.Owner(owner), State: resource.Seen{
		Ident: id, Print: resource.Digest("net.rule", drift), Up: resource.ID{Kind: resource.KindNS, Name: s.Name}, Drift: drift,
	}})
}
