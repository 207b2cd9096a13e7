package link

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"weft.dev/reconcile/host"
	"weft.dev/reconcile/resource"
)

// taken is what a link had before weft took it over: it comes back when weft lets
// go of the link. It is noted before anything is removed.
type taken struct {
	Bridge string       `json:"bridge"`
	Owner  string       `json:"owner"`
	Addrs  []takenAddr  `json:"addrs,omitempty"`
	Routes []takenRoute `json:"routes,omitempty"`
}

type takenAddr struct {
	Prefix netip.Prefix `json:"prefix"`
	Proto  uint8        `json:"proto,omitempty"`
}

type takenRoute struct {
	Dst    netip.Prefix `json:"dst"`
	Via    netip.Addr   `json:"via,omitzero"`
	Metric uint32       `json:"metric,omitempty"`
	Proto  uint8        `json:"proto"`
	Scope  uint8        `json:"scope"`
	Tos    uint8        `json:"tos,omitempty"`
	Onlink bool         `json:"onlink,omitempty"`
}

// belongings are the addresses and routes of a link that are not the kernel's own.
func belongings(x *site, index int32) ([]ifaddr, []hop, error) {
	all, err := addrs(x.space)
	if err != nil {
		return nil, nil, err
	}
	var own []ifaddr
	for _, a := range all {
		if a.index == index && carriedBy(a) {
			own = append(own, a)
		}
	}
	ways, err := routes(x.space, 0)
	if err != nil {
		return nil, nil, err
	}
	return own, slices.DeleteFunc(ways, func(r hop) bool { return r.oif != index || r.kernelMade() }), nil
}

// carriedBy reports whether a is an address that the host is reached by.
func carriedBy(a ifaddr) bool { return !a.prefix.Addr().IsLinkLocalUnicast() }

// take moves what l has of addresses and routes away, unless something of it would
// be lost: then nothing is touched.
func (x *site) take(l resource.Link, owner string) error {
	t := l.Takeover
	index, err := x.index(l.Name)
	if err != nil {
		return err
	}
	own, ways, err := belongings(x, index)
	if err != nil {
		return err
	}
	if err := losses(t, own, ways); err != nil {
		return fmt.Errorf("takeover of %s: %w", l.Name, err)
	}
	before, err := x.d.takenLinks()
	if err != nil {
		return err
	}
	was, known := before[l.Name]
	if !known {
		was = noted(own, ways)
	}
	if !known || was.Bridge != t.Bridge || was.Owner != owner {
		was.Bridge, was.Owner = t.Bridge, owner
		if err := x.d.keepTaken(l.Name, &was); err != nil {
			return err
		}
	}
	for _, r := range ways {
		if err := x.removeRoute(r); err != nil {
			return err
		}
	}
	for _, a := range own {
		if err := x.removeAddr(index, a); err != nil {
			return err
		}
	}
	return nil
}

// losses says what of a link the bridge would not have.
func losses(t *resource.Takeover, own []ifaddr, ways []hop) error {
	for _, a := range own {
		switch {
		case a.flags&unix.IFA_F_PERMANENT == 0 && a.prefix.Addr().Is4():
			return fmt.Errorf("its address %s is lent by DHCP: make it a static one first", a.prefix)
		case a.peer:
			return fmt.Errorf("its address %s is that of a line to one neighbour (peer), which bridge %s would not have", a.prefix, t.Bridge)
		case a.flags&unix.IFA_F_PERMANENT != 0 && !slices.Contains(t.Addresses, a.prefix):
			return fmt.Errorf("it carries %s, which is not the address of bridge %s (%s): state it, or take it away", a.prefix, t.Bridge, prefixes(t.Addresses))
		}
	}
	for _, r := range ways {
		if err := lossOf(t, r); err != nil {
			return err
		}
	}
	return nil
}

// lossOf says what would become of a route.
func lossOf(t *resource.Takeover, r hop) error {
	at := slices.IndexFunc(t.Ways, func(w resource.Way) bool { return w.Dst == r.dst })
	near := func(p netip.Prefix) bool { return p.Masked().Contains(r.via) }
	switch {
	case r.multi:
		return fmt.Errorf("the route to %s has several next hops", r.dst)
	case at < 0 && r.dst.Bits() == 0:
		return fmt.Errorf("the default route%s leads through it: state it as gateway of bridge %s", by(r.via), t.Bridge)
	case at < 0:
		return fmt.Errorf("the route to %s leads through it: state it in routes of bridge %s, or take it away", r.dst, t.Bridge)
	case t.Ways[at].Via != r.via:
		return fmt.Errorf("the route to %s%s leads through it, but%s from bridge %s: state the same gateway there, or change it here first",
			r.dst, cmp.Or(by(r.via), " straight"), cmp.Or(by(t.Ways[at].Via), " straight"), t.Bridge)
	case r.onlink && !slices.ContainsFunc(t.Addresses, near):
		return fmt.Errorf("the route to %s leads by %s, which is in no subnet of bridge %s (%s), as it was told to (onlink)", r.dst, r.via, t.Bridge, prefixes(t.Addresses))
	}
	return nil
}

func by(gateway netip.Addr) string {
	if !gateway.IsValid() {
		return ""
	}
	return " by " + gateway.String()
}

func prefixes(l []netip.Prefix) string {
	out := make([]string, len(l))
	for i, p := range l {
		out[i] = p.String()
	}
	return strings.Join(out, ", ")
}

// noted is what is to be given back.
func noted(own []ifaddr, ways []hop) (out taken) {
	for _, a := range own {
		if a.flags&unix.IFA_F_PERMANENT != 0 {
			out.Addrs = append(out.Addrs, takenAddr{a.prefix, a.proto})
		}
	}
	for _, r := range ways {
		out.Routes = append(out.Routes, takenRoute{r.dst, r.via, r.prio, r.proto, r.scope, r.tos, r.onlink})
	}
	// What leads to a next hop comes before what leads by it.
	slices.SortStableFunc(out.Routes, func(a, b takenRoute) int { return b.Dst.Bits() - a.Dst.Bits() })
	return out
}

// giveBack puts on a link what it had before it was taken over. It may be repeated.
// That of a link which is not there is kept until it comes back: a card is away while
// its driver is loaded anew.
func (x *site) giveBack(name string) error {
	all, err := x.d.takenLinks()
	t, ok := all[name]
	if err != nil || !ok {
		return err
	}
	l, there, err := linkNamed(x.space, name)
	if err != nil || !there {
		return err
	}
	if err := change(x.space, l, wanted{up: true}); err != nil {
		return fmt.Errorf("link %s: %w", name, err)
	}
	for _, a := range t.Addrs {
		if err := ask(x.space, unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, addrParts(l.index, a.Prefix, a.Proto)...); err != nil {
			return fmt.Errorf("give %s back to %s: %w", a.Prefix, name, err)
		}
		x.news = append(x.news, news{x.ns, name, a.Prefix.Addr()})
	}
	for _, r := range t.Routes {
		if err := x.restoreRoute(l.index, r); err != nil {
			return fmt.Errorf("give the route to %s back to %s: %w", r.Dst, name, err)
		}
	}
	return x.d.keepTaken(name, nil)
}

// takenPath is the file of what was taken, by link. It outlives a reboot, as the
// bridge does that has it.
func (d *Driver) takenPath() string { return filepath.Join(d.host.StateDir, "taken.json") }

// takenLinks is what links had that were taken over. A note that cannot be read is
// an error: to write another over it would lose what is to be given back.
func (d *Driver) takenLinks() (map[string]taken, error) {
	out := map[string]taken{}
	b, err := os.ReadFile(d.takenPath())
	if errors.Is(err, os.ErrNotExist) {
		return out, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &out)
	}
	if err != nil {
		return nil, fmt.Errorf("%s, which says what links had before they were taken over, cannot be read; mend or remove it: %w", d.takenPath(), err)
	}
	return out, nil
}

// keepTaken notes what a link had, or with nil that it has it back.
func (d *Driver) keepTaken(name string, t *taken) error {
	all, err := d.takenLinks()
	if err != nil {
		return err
	}
	_, known := all[name]
	switch {
	case t != nil:
		all[name] = *t
	case !known:
		return nil
	default:
		delete(all, name)
	}
	b, err := json.Marshal(all)
	if err == nil {
		err = host.WriteFile(d.takenPath(), b, 0o600)
	}
	if err != nil {
		return fmt.Errorf("note what link %s had: %w", name, err)
	}
	return nil
}

func (x *site) restoreRoute(index int32, r takenRoute) error {
	msg := x.routeMsg(r.Dst)
	msg.Protocol, msg.Scope, msg.Tos = r.Proto, r.Scope, r.Tos
	if r.Onlink {
		msg.Flags |= unix.RTNH_F_ONLINK
	}
	parts := []nl.NetlinkRequestData{msg, nl.NewRtAttr(unix.RTA_OIF, nl.Uint32Attr(uint32(index))), nl.NewRtAttr(unix.RTA_PRIORITY, nl.Uint32Attr(r.Metric))}
	if r.Dst.Bits() > 0 {
		parts = append(parts, nl.NewRtAttr(unix.RTA_DST, r.Dst.Addr().AsSlice()))
	}
	if r.Via.IsValid() {
		parts = append(parts, nl.NewRtAttr(unix.RTA_GATEWAY, r.Via.AsSlice()))
	}
	err := ask(x.space, unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, parts...)
	if errors.Is(err, unix.EEXIST) {
		return nil
	}
	return err
}

// takeovers observes the links that were taken over: those that nobody wants so any
// more too, once they are there. One that is to be taken and has nothing is as it
// should be.
func (k *look) takeovers(out *resource.Observed, byName map[string]*iface) error {
	list, err := k.d.takenLinks()
	if err != nil {
		return err
	}
	k.taken = slices.Collect(maps.Keys(list))
	if !k.wants(resource.KindLink) {
		return nil
	}
	for id, e := range k.desired {
		l, ok := e.State.(resource.Link)
		if !ok || l.Takeover == nil || byName[l.Name] == nil {
			continue
		}
		if _, known := list[l.Name]; !known && id.Kind == resource.KindLink {
			list[l.Name] = taken{Bridge: l.Takeover.Bridge, Owner: string(e.Owner)}
		}
	}
	if len(list) == 0 {
		return nil
	}
	all, err := addrs(k.root)
	if err != nil {
		return err
	}
	for name, t := range list {
		l := byName[name]
		if l == nil {
			continue
		}
		st := resource.Link{Name: name, Up: true}
		if e, ok := out.Set[st.ID()]; ok {
			if seen, ok := e.State.(resource.Link); ok {
				st = seen
			}
		}
		own := func(a ifaddr) bool { return a.index == l.index && carriedBy(a) }
		if st.Takeover = nil; !slices.ContainsFunc(all, own) {
			st.Takeover = &resource.Takeover{Bridge: t.Bridge}
		}
		k.put(out, st, t.Owner)
	}
	return nil
}

// leaves reports whether what goes through a link is to move away from it.
func (k *look) leaves(name string) bool {
	l, ok := k.desired[resource.LinkID("", name)].State.(resource.Link)
	return ok && l.Takeover != nil
}
