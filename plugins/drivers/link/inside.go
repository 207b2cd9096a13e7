package link

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"weft.dev/reconcile/host"
	"weft.dev/reconcile/resource"
)

// fallbacks are links that the kernel makes in every namespace once the module
// is there, unless net.core.fb_tunnels_only_for_init_net says otherwise.
var fallbacks = []string{"lo", "tunl0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6_vti0", "sit0", "ip6tnl0", "ip6gre0"}

// own reports whether l made itself: by the kernel, or as the tunnel device of a
// process, with which it goes.
func own(l iface) bool {
	return slices.Contains(fallbacks, l.name) || l.kind == "tun" || l.kind == "wireguard" || l.kind == "ppp"
}

// noHost stands for the outer end of a link that has none in the host's
// namespace; it is no name of a link.
const noHost = "(none)"

// inside observes one namespace of ours.
func (k *look) inside(s *host.Space) (*resource.Observed, error) {
	out := resource.NewObserved()
	all, err := links(s)
	if err != nil {
		return nil, err
	}
	n := k.d.note(s.Name, s.Cookie)
	byIndex := make(map[int32]iface, len(all))
	owners := map[int32]string{}
	for _, l := range all {
		byIndex[l.index] = l
		if l.name == "lo" {
			k.putNS(out, s, l)
		}
		if own(l) && !k.desires(resource.LinkID(s.Name, l.name)) {
			continue
		}
		st, owner, err := k.link(s, l, n)
		if err != nil {
			return nil, err
		}
		owners[l.index] = owner
		k.put(out, st, owner)
	}
	for try := 1; ; try++ {
		part := resource.NewObserved()
		if err := k.layer3(part, s, n, byIndex, owners); err != nil {
			return nil, err
		}
		if k.settle(part, s.Name) || try == givenTries {
			out.Merge(part)
			break
		}
		time.Sleep(givenPause)
	}
	if k.wants(resource.KindRule) {
		if err := k.rules(out, s, n, byIndex); err != nil {
			return nil, err
		}
	}
	if k.wants(resource.KindQdisc) {
		queues, err := disciplines(s)
		if err != nil {
			return nil, err
		}
		k.limits(out, s, n, all, queues, s.Owner)
	}
	if k.wants(resource.KindSysctl) {
		if err := k.settings(out, s, n); err != nil {
			out.Unread = append(out.Unread, resource.Unread{Kind: resource.KindSysctl, NS: s.Name, Err: err.Error()})
		}
	}
	return out, nil
}

// layer3 observes the addresses and routes of one namespace of ours.
func (k *look) layer3(out *resource.Observed, s *host.Space, n *note, byIndex map[int32]iface, owners map[int32]string) error {
	given := len(k.given[s.Name]) > 0
	if given || k.wants(resource.KindAddr) {
		if err := k.addrs(out, s, n, byIndex, owners); err != nil {
			return err
		}
	}
	if !given && !k.wants(resource.KindRoute) {
		return nil
	}
	hops, err := routes(s, 0)
	if err != nil {
		return err
	}
	hops = slices.DeleteFunc(hops, func(r hop) bool {
		return r.kernelMade() || own(byIndex[r.oif]) && byIndex[r.oif].name != "lo" && !k.desires(routeID(s.Name, r.dst))
	})
	k.putRoutes(out, s.Name, hops, byIndex, n, owners, s.Owner)
	return nil
}

func (k *look) desires(id resource.ID) bool { _, ok := k.desired[id]; return ok }

// putNS adds the namespace itself, of which lo tells.
func (k *look) putNS(out *resource.Observed, s *host.Space, lo iface) {
	st := resource.NS{Name: s.Name, Owner: resource.Owner(s.Owner)}
	owner, ours := k.d.host.OwnerOf(lo.alias)
	var drift []string
	if !ours {
		drift = append(drift, fmt.Sprintf("the mark on lo is %q", lo.alias))
	} else {
		st.Owner = resource.Owner(owner)
	}
	if !lo.up {
		drift = append(drift, "lo is down")
	}
	if drift != nil {
		text := strings.Join(drift, "\n")
		out.Set.Put(resource.Entry{Owner: st.Owner, State: resource.Seen{Ident: st.ID(), Print: resource.Digest("net.ns", text), Drift: text}})
		return
	}
	k.put(out, st, string(st.Owner))
}

// link turns a link inside a namespace of ours into a state.
func (k *look) link(s *host.Space, l iface, n *note) (resource.Link, string, error) {
	st := resource.Link{NS: s.Name, Name: l.name, MAC: l.mac, MTU: l.mtu, Up: l.up, Host: noHost}
	asked, known := n.Links[l.name]
	owner := asked.Owner
	if want, ok := k.desired[st.ID()].State.(resource.Link); ok && !known {
		asked.Link, known = want, true
	}
	if known && asked.Link.Host == "" {
		st.Host = ""
	}
	if outer := k.ends[end{s.NSID, l.index}]; outer != nil && joined(s, l, *outer) {
		st.Host = outer.name
		if o, ours := k.d.host.OwnerOf(outer.alias); ours {
			owner = o
		}
		if l.mtu == asked.Link.MTU {
			st.MTU = outer.mtu // whichever differs
		}
		if asked.Link.Up {
			st.Up = l.up && outer.up
		} else {
			st.Up = l.up || outer.up
		}
		var err error
		if st.TxOff, err = txOff(s, l.name); err != nil {
			return st, "", err
		}
	}
	if known {
		st.Of = asked.Link.Of
		st = k.unasked(st, asked.Link)
	}
	if owner == "" {
		owner = k.guess(st.ID(), s.Owner)
	}
	return st, owner, nil
}

// unasked blanks what was never asked for: the kernel chose it.
func (k *look) unasked(st, asked resource.Link) resource.Link {
	if asked.MAC == "" {
		st.MAC = ""
	}
	if asked.MTU == 0 {
		st.MTU = 0
	}
	if asked.Host == "" {
		st.Up = st.Up && asked.Up
		st.TxOff = st.TxOff && asked.TxOff
	}
	return st
}

func (k *look) addrs(out *resource.Observed, s *host.Space, n *note, byIndex map[int32]iface, owners map[int32]string) error {
	all, err := addrs(s)
	if err != nil {
		return err
	}
	for _, a := range all {
		l := byIndex[a.index]
		id := resource.AddrID(s.Name, l.name, a.prefix)
		if (a.kernelMade() || own(l) && l.name != "lo") && !k.desires(id) {
			continue
		}
		k.putAddr(out, id, resource.Addr{NS: s.Name, Link: l.name, Prefix: a.prefix}, a, n.Owners[id.String()], owners[a.index], s.Owner)
	}
	return nil
}

func (k *look) putAddr(out *resource.Observed, id resource.ID, st resource.Addr, a ifaddr, noted string, or ...string) {
	if want, ok := k.desired[id].State.(resource.Addr); ok {
		st.With = want.With
	}
	owner := noted
	if owner == "" {
		owner = k.guess(id, "")
	}
	for _, o := range or {
		if owner == "" {
			owner = o
		}
	}
	if a.peer {
		out.Set.Put(resource.Entry{Owner: resource.Owner(owner), State: resource.Seen{
			Ident: id, Print: resource.Digest("peer", id.Name), Up: st.Parent(), Held: st.Claims(), Drift: "the address has a peer",
		}})
		return
	}
	k.put(out, st, owner)
}

// putRoutes adds the routes of one namespace, one entry per destination.
func (k *look) putRoutes(out *resource.Observed, ns string, hops []hop, byIndex map[int32]iface, n *note, owners map[int32]string, or string) {
	perDst := map[netip.Prefix][]hop{}
	for _, r := range hops {
		perDst[r.dst] = append(perDst[r.dst], r)
	}
	for dst, list := range perDst {
		first := list[0]
		st := resource.Route{NS: ns, Dst: dst, Via: first.via, Dev: byIndex[first.oif].name}
		id := st.ID()
		if want, ok := k.desired[id].State.(resource.Route); ok {
			st.With = want.With
		}
		owner := n.Owners[id.String()]
		if owner == "" {
			owner = k.guess(id, owners[first.oif])
		}
		if owner == "" {
			owner = or
		}
		if len(list) == 1 && (first.plain(k.d.proto) || st.With != nil && first.plain(protoDaemon)) {
			k.put(out, st, owner)
			continue
		}
		var lines []string
		for _, r := range list {
			lines = append(lines, r.describe(byIndex[r.oif].name))
		}
		slices.Sort(lines)
		text := strings.Join(lines, "\n")
		out.Set.Put(resource.Entry{Owner: resource.Owner(owner), State: resource.Seen{
			Ident: id, Print: resource.Digest("route", text), Up: st.Parent(), Drift: text,
		}})
	}
}

func (r hop) describe(dev string) string {
	s := fmt.Sprintf("type %d dev %s proto %d metric %d", r.typ, dev, r.proto, r.prio)
	if r.via.IsValid() {
		s += " via " + r.via.String()
	}
	if r.multi {
		s += " with several next hops"
	}
	if r.tos != 0 {
		s += fmt.Sprintf(" tos %d", r.tos)
	}
	return s
}

// settings adds the sysctls that weft wrote, and those that stand already as
// wanted.
func (k *look) settings(out *resource.Observed, s *host.Space, n *note) error {
	wanted := k.sysctls[s.Name]
	if len(wanted) == 0 && len(n.Sysctls) == 0 {
		return nil
	}
	return k.d.host.In(s.Name, func() error {
		for key, set := range n.Sysctls {
			if err := k.putSetting(out, set.Sysctl, key, set.Owner, true); err != nil {
				return err
			}
		}
		for _, e := range wanted {
			want := e.State.(resource.Sysctl)
			if _, noted := n.Sysctls[want.Key]; noted {
				continue
			}
			if err := k.putSetting(out, want, want.Key, string(e.Owner), false); err != nil {
				return err
			}
		}
		return nil
	})
}

// putSetting reads one sysctl in the namespace of the calling thread.
func (k *look) putSetting(out *resource.Observed, st resource.Sysctl, key, owner string, ours bool) error {
	if _, err := sysctlPath(key); err != nil {
		return nil //nolint:nilerr // Do refuses it; nothing can be there
	}
	now, ok, err := readSysctl(key)
	if err != nil || !ok {
		return err
	}
	compare := st
	if want, ok := k.desired[st.ID()].State.(resource.Sysctl); ok && now == squeeze(want.Value) {
		compare = want
	}
	if now != squeeze(compare.Value) {
		if !ours {
			return nil
		}
		compare.Value = now
	}
	k.put(out, compare, owner)
	return nil
}
