package link

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"weft.dev/reconcile/resource"
)

// plainMetric6 is what an IPv6 route has when none is asked for: IP6_RT_PRIO_USER of
// include/net/ip6_route.h.
const plainMetric6 = 1024

// keyed reports whether r has the metric and service of a plain route, so that
// no other such route to its destination can stand beside it.
func (r hop) keyed() bool {
	metric := uint32(0)
	if r.dst.Addr().Is6() {
		metric = plainMetric6
	}
	return r.tos == 0 && r.prio == metric
}

// plain reports whether r is what makeRoute makes of some resource.Route.
func (r hop) plain(proto uint8) bool {
	return r.keyed() && r.proto == proto && r.typ == unix.RTN_UNICAST && !r.multi && !r.onlink
}

// makeRoute makes r the only route to its destination in the main table of a
// namespace of ours, without a moment without one; in the host's it stands
// beside foreign ones or fails.
func (x *site) makeRoute(r resource.Route) error {
	index, err := x.index(r.Dev)
	if err != nil {
		return err
	}
	if !r.Dst.IsValid() || r.Dst != r.Dst.Masked() {
		return fmt.Errorf("route to %s: the destination has bits behind its length", r.Dst)
	}
	there, flags, extra, err := x.rivals(r, index)
	if err != nil {
		return err
	}
	if !there {
		if err := x.putRoute(r, index, flags); err != nil {
			return fmt.Errorf("route to %s: %w", r.Dst, err)
		}
	}
	for _, cur := range extra {
		if err := x.removeRoute(cur); err != nil {
			return err
		}
	}
	return nil
}

// rivals looks at what leads to the destination of r already: whether r is
// there, whether it has to be put in the place of another, and what has to go.
func (x *site) rivals(r resource.Route, index int32) (there bool, flags int, extra []hop, err error) {
	all, err := routes(x.space, 0)
	flags = unix.NLM_F_EXCL
	for _, cur := range all {
		switch {
		case cur.dst != r.Dst || cur.kernelMade():
		case x.ns == "" && cur.proto != x.d.proto:
			if cur.keyed() {
				return false, 0, nil, fmt.Errorf("route to %s: one of protocol %d that is not weft's is in the way", r.Dst, cur.proto)
			}
		case cur.plain(x.d.proto) && cur.oif == index && cur.via == r.Via:
			there = true
		case cur.keyed():
			flags = unix.NLM_F_REPLACE
		default:
			extra = append(extra, cur)
		}
	}
	return there, flags, extra, err
}

func (x *site) putRoute(r resource.Route, index int32, flags int) error {
	msg := x.routeMsg(r.Dst)
	parts := []nl.NetlinkRequestData{msg, nl.NewRtAttr(unix.RTA_OIF, nl.Uint32Attr(uint32(index)))}
	if r.Dst.Bits() > 0 {
		parts = append(parts, nl.NewRtAttr(unix.RTA_DST, r.Dst.Addr().AsSlice()))
	}
	msg.Scope = unix.RT_SCOPE_LINK
	if r.Via.IsValid() {
		msg.Scope = unix.RT_SCOPE_UNIVERSE
		parts = append(parts, nl.NewRtAttr(unix.RTA_GATEWAY, r.Via.AsSlice()))
	}
	return ask(x.space, unix.RTM_NEWROUTE, unix.NLM_F_CREATE|flags, parts...)
}

func (x *site) routeMsg(dst netip.Prefix) *nl.RtMsg {
	msg := &nl.RtMsg{RtMsg: unix.RtMsg{
		Family: unix.AF_INET, Table: unix.RT_TABLE_MAIN, Protocol: x.d.proto,
		Type: unix.RTN_UNICAST, Dst_len: uint8(dst.Bits()),
	}}
	if dst.Addr().Is6() {
		msg.Family = unix.AF_INET6
	}
	return msg
}

// dropRoute removes what leads to dst and is ours: in a namespace of ours all.
func (x *site) dropRoute(dst netip.Prefix) error {
	proto := uint8(0)
	if x.ns == "" {
		proto = x.d.proto
	}
	all, err := routes(x.space, proto)
	if err != nil {
		return err
	}
	for _, cur := range all {
		if cur.dst == dst && !cur.kernelMade() {
			if err := x.removeRoute(cur); err != nil {
				return err
			}
		}
	}
	return nil
}

func (x *site) removeRoute(r hop) error {
	msg := x.routeMsg(r.dst)
	msg.Protocol, msg.Type, msg.Tos, msg.Scope = r.proto, r.typ, r.tos, r.scope
	parts := []nl.NetlinkRequestData{msg, nl.NewRtAttr(unix.RTA_PRIORITY, nl.Uint32Attr(r.prio))}
	if r.dst.Bits() > 0 {
		parts = append(parts, nl.NewRtAttr(unix.RTA_DST, r.dst.Addr().AsSlice()))
	}
	if r.oif != 0 {
		parts = append(parts, nl.NewRtAttr(unix.RTA_OIF, nl.Uint32Attr(uint32(r.oif))))
	}
	if err := ask(x.space, unix.RTM_DELROUTE, 0, parts...); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("remove route to %s: %w", r.dst, err)
	}
	return nil
}
