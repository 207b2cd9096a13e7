package link

import (
	"context"
	"fmt"
	"slices"

	"weft.dev/reconcile/resource"
)

// onHost observes what concerns us in the host's own namespace: outer ends that
// lost their inner one, links that something else makes and of which we set
// something, addresses and routes with our number, and what is in the way.
func (k *look) onHost(ctx context.Context, out *resource.Observed) error {
	n := k.d.note("", k.root.Cookie)
	byName, byIndex := map[string]*iface{}, map[int32]iface{}
	for i := range k.outside {
		l := &k.outside[i]
		byName[l.name], byIndex[l.index] = l, *l
		owner, ours := k.d.host.OwnerOf(l.alias)
		if ours && l.kind == "veth" && !k.d.made(*l) && !k.joinedInside(l) {
			k.put(out, resource.Link{Name: l.name, Host: l.name, MTU: l.mtu, Up: l.up}, owner)
		}
	}
	inWay := map[string]resource.ID{}
	var routesWanted, addrsWanted bool
	for id, e := range k.desired {
		switch st := e.State.(type) {
		case resource.Link:
			if st.Host != "" || st.Sort() == "" {
				k.outer(out, st, e.Owner, byName)
			}
			if st.Host != "" {
				inWay[st.Host] = id
			}
		case resource.Addr:
			addrsWanted = addrsWanted || st.NS == ""
		case resource.Route:
			routesWanted = routesWanted || st.NS == ""
		}
	}
	if err := k.takeovers(out, byName); err != nil {
		return err
	}
	k.remember(n, byName, inWay)
	if err := k.readFilters(); err != nil {
		return err
	}
	if k.wants(resource.KindLink) {
		if err := k.below(out, n, byName, byIndex); err != nil {
			return err
		}
	}
	if err := k.ports(ctx, out, n, byName, byIndex); err != nil {
		return err
	}
	k.limits(out, k.root, n, k.outside, k.queues, k.stray())
	if err := k.hostAddrs(out, n, byIndex); err != nil {
		return err
	}
	return k.hostRoutes(out, n, byIndex, routesWanted)
}

// joinedInside reports whether the other end of l is in a namespace of ours.
func (k *look) joinedInside(l *iface) bool {
	for _, s := range k.spaces {
		if s.NSID != -1 && s.NSID == l.peerNS {
			return true
		}
	}
	return false
}

// outer looks for what a wanted link finds in the host's namespace.
func (k *look) outer(out *resource.Observed, want resource.Link, owner resource.Owner, byName map[string]*iface) {
	if want.Host != "" {
		l := byName[want.Host]
		if l == nil {
			return
		}
		if _, ours := k.d.host.OwnerOf(l.alias); !ours && !k.joinedInside(l) {
			out.Foreign[want.ID()] = fmt.Sprintf("a link called %s is there that is not weft's", l.name)
		}
		return
	}
	if l := byName[want.Name]; l != nil && want.NS == "" {
		st := resource.Link{Name: l.name, MAC: l.mac, MTU: l.mtu, Up: l.up, Of: want.Of}
		if want.TxOff {
			st.TxOff, _ = txOff(k.root, l.name)
		}
		k.put(out, k.unasked(st, want), string(owner))
	}
}

// remember tells the watcher which links of the host's namespace concern us.
func (k *look) remember(n *note, byName map[string]*iface, wanted map[string]resource.ID) {
	outside, names, macs := map[int32]bool{}, map[string]bool{}, map[string]bool{}
	for _, e := range k.desired {
		switch l := e.State.(type) {
		case resource.Link:
			names[l.Name] = names[l.Name] || l.NS == ""
		case resource.BridgePort:
			names[l.Name], macs[hostMAC(l.MAC)] = true, true
		case resource.Qdisc:
			names[l.Link], macs[hostMAC(l.MAC)] = names[l.Link] || l.NS == "", true
		}
	}
	for _, p := range n.Ports {
		names[p.State.Name], macs[hostMAC(p.State.MAC)] = true, true
	}
	for _, q := range n.Limits {
		names[q.State.Link], macs[hostMAC(q.State.MAC)] = true, true
	}
	delete(macs, "")
	for name := range wanted {
		names[name] = true
	}
	for _, name := range k.taken {
		names[name] = true
	}
	for name, l := range byName {
		if _, ours := k.d.host.OwnerOf(l.alias); ours || names[name] || macs[l.mac] || k.d.made(*l) {
			outside[l.index] = true
		}
	}
	k.d.mu.Lock()
	defer k.d.mu.Unlock()
	k.d.outside, k.d.expected, k.d.macs = outside, names, macs
}

func (k *look) hostAddrs(out *resource.Observed, n *note, byIndex map[int32]iface) error {
	if !k.wants(resource.KindAddr) {
		return nil
	}
	all, err := addrs(k.root)
	if err != nil {
		return err
	}
	// A kernel that numbers addresses does so with its own 127.0.0.1 too. Then
	// a number says who made one, whatever a note says.
	numbered := slices.ContainsFunc(all, func(a ifaddr) bool { return a.proto == protoKernelLo })
	for _, a := range all {
		st := resource.Addr{Link: byIndex[a.index].name, Prefix: a.prefix}
		id := st.ID()
		owner := n.Owners[id.String()]
		ours := a.proto == k.d.proto || !numbered && owner != ""
		if !ours && !k.desires(id) {
			continue
		}
		k.putAddr(out, id, st, a, owner, k.stray())
	}
	return nil
}

// stray owns what carries our number and is known to nobody else.
func (k *look) stray() string { return "host/" + k.d.host.Name }

// hostRoutes reads routes with our number only, unless some are wanted: a host
// may have a million others.
func (k *look) hostRoutes(out *resource.Observed, n *note, byIndex map[int32]iface, wanted bool) error {
	if !k.wants(resource.KindRoute) {
		return nil
	}
	proto := k.d.proto
	if wanted {
		proto = 0
	}
	all, err := routes(k.root, proto)
	if err != nil {
		return err
	}
	var ours []hop
	for _, r := range all {
		if r.proto == k.d.proto {
			ours = append(ours, r)
			continue
		}
		if id := routeID("", r.dst); k.desires(id) && r.keyed() && !k.leaves(byIndex[r.oif].name) {
			out.Foreign[id] = "a route that is not weft's is there: " + r.describe(byIndex[r.oif].name)
		}
	}
	k.putRoutes(out, "", ours, byIndex, n, nil, k.stray())
	return nil
}
