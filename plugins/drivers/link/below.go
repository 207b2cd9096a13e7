package link

import (
	"fmt"
	"slices"
	"strings"

	"weft.dev/reconcile/resource"
)

// below observes the bridges, VLANs and VXLANs that weft made, and what is in the
// way of those that are wanted.
func (k *look) below(out *resource.Observed, n *note, byName map[string]*iface, byIndex map[int32]iface) error {
	var entries map[int32][]resource.Peer
	var err error
	if slices.ContainsFunc(k.outside, func(l iface) bool { return l.kind == "vxlan" && k.d.made(l) }) {
		if entries, err = fdb(k.root, 0); err != nil {
			return err
		}
	}
	in, far := k.splicedIn()
	for i := range k.outside {
		l := &k.outside[i]
		if !k.d.made(*l) || l.kind == bucketLink || l.kind == "veth" && l.name == farEnd(byIndex[l.peer].name) {
			continue
		}
		asked := n.Links[l.name]
		if want, ok := k.desired[resource.LinkID("", l.name)].State.(resource.Link); ok && asked.Link.Name == "" {
			asked.Link = want
		}
		st, drift := k.specialState(*l, asked.Link, byIndex, entries[l.index], in[l.name], far)
		owner, ours := k.d.host.OwnerOf(l.alias)
		if !ours {
			drift = append(drift, fmt.Sprintf("the mark is %q", l.alias))
			owner = asked.Owner
		}
		if owner == "" {
			owner = k.guess(st.ID(), k.stray())
		}
		k.put(out, drifted(st, drift), owner)
		k.lonely(out, st.ID(), entries[l.index])
	}
	for name, s := range in {
		if id := resource.LinkID("", name); byName[name] == nil && !k.desires(id) {
			gone := resource.Link{Name: name, VLAN: &resource.VLAN{Dev: byIndex[s.dev].name, ID: s.id}}
			k.put(out, drifted(gone, []string{"only its filter is left"}), n.Links[name].Owner, k.stray())
		}
	}
	k.inPlace(out, byName)
	return nil
}

// lonely tells of a VXLAN that other hosts have too, and for which the host's routing
// daemon has written none of them.
func (k *look) lonely(out *resource.Observed, id resource.ID, entries []resource.Peer) {
	e := k.desired[id]
	l, _ := e.State.(resource.Link)
	if l.VXLAN == nil || !l.VXLAN.External || !l.VXLAN.Joined {
		return
	}
	if !slices.ContainsFunc(entries, func(p resource.Peer) bool { return p.MAC == everybody }) {
		out.Notices[e.Owner] = append(out.Notices[e.Owner], "no remote VTEP is known on "+l.Name+": the host's routing daemon (BGP EVPN) has told none")
	}
}

// inPlace reports what is not weft's where a bridge, a VLAN or a VXLAN is wanted.
func (k *look) inPlace(out *resource.Observed, byName map[string]*iface) {
	for id, e := range k.desired {
		want, ok := e.State.(resource.Link)
		if !ok || want.NS != "" || want.Host != "" || want.Sort() == "" {
			continue
		}
		if l := byName[want.Name]; l != nil && !k.d.made(*l) && (!want.Adopts() || l.kind == "bridge") {
			out.Foreign[id] = fmt.Sprintf("a link called %s is there that is not weft's", l.name)
		}
	}
}

// drifted is st, or what keeps it from working where no field tells.
func drifted(st resource.State, drift []string) resource.State {
	if len(drift) == 0 {
		return st
	}
	text := strings.Join(drift, "\n")
	up, _ := resource.Parent(st)
	return resource.Seen{
		Ident: st.ID(), Print: resource.Digest("drift", fmt.Sprint(st.Fingerprint()), text), Up: up,
		Needed: st.Needs(), Held: resource.Claims(st), Drift: text,
	}
}

// specialState turns a link that weft made into a state. What was never asked for
// is blank: the kernel chose it.
func (k *look) specialState(l iface, asked resource.Link, byIndex map[int32]iface, entries []resource.Peer, in spliced, far map[int32]filter) (resource.Link, []string) {
	st := resource.Link{Name: l.name, MAC: l.mac, MTU: l.mtu, Up: l.up}
	var drift []string
	switch l.kind {
	case "bridge":
		b := l.bridge
		b.Deaf = l.silent
		st.Bridge = &b
		if l.stp {
			drift = append(drift, "spanning tree is on")
		}
	case "vlan":
		st.VLAN = &resource.VLAN{Dev: byIndex[l.peer].name, ID: l.vlan}
	case "vxlan":
		v := l.vxlan
		v.Dev = byIndex[l.lower].name
		// One that learns is a mesh still, whose entries nobody else takes away.
		if x := asked.VXLAN; x != nil && x.External && !v.Learning {
			v.External = true
		} else {
			putFDB(&v, entries)
		}
		st.VXLAN = &v
		if !l.silent {
			drift = append(drift, "the host's own stack speaks on it")
		}
	case "veth":
		drift = k.splicedState(&st, l, asked, byIndex, in, far)
	}
	if asked.MAC == "" {
		st.MAC = ""
	}
	if asked.MTU == 0 {
		st.MTU = 0
	}
	if asked.VXLAN != nil && st.VXLAN != nil {
		st.VXLAN.Endpoint, st.VXLAN.Joined = asked.VXLAN.Endpoint, asked.VXLAN.Joined
	}
	return st, drift
}

// splicedState looks at all that stands for a VLAN.
func (k *look) splicedState(st *resource.Link, l iface, asked resource.Link, byIndex map[int32]iface, in spliced, far map[int32]filter) []string {
	var drift []string
	other := byIndex[l.peer]
	if l.peerNS != -1 || other.name != farEnd(l.name) {
		drift = append(drift, "its far end is not there")
	}
	if l.mtu == asked.MTU {
		st.MTU = other.mtu // whichever differs
	}
	if asked.Up {
		st.Up = l.up && other.up
	} else {
		st.Up = l.up || other.up
	}
	if asked.VLAN == nil {
		asked.VLAN = &resource.VLAN{}
	}
	st.VLAN = &resource.VLAN{Dev: asked.VLAN.Dev, ID: asked.VLAN.ID}
	if in.id != 0 {
		st.VLAN = &resource.VLAN{Dev: byIndex[in.dev].name, ID: in.id}
	}
	wantIn, wantOut := k.d.splices(*st, other.index, in.dev)
	if in.filter != wantIn {
		drift = append(drift, "nothing passes from "+st.VLAN.Dev)
	}
	if far[other.index] != wantOut {
		drift = append(drift, "nothing passes to "+st.VLAN.Dev)
	}
	return drift
}
