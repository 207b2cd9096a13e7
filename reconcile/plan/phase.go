package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"weft.dev/reconcile/resource"
)

// phases returns the function that says which phase an action belongs to.
func (w *world) phases() func(*Action) Phase {
	was, will := map[resource.Owner]bool{}, map[resource.Owner]bool{}
	stays := func(o resource.Owner) bool { // on both sides, folded; same is sorted
		_, ok := slices.BinarySearchFunc(w.same, o, func(f *resource.Fragment, o resource.Owner) int { return cmp.Compare(f.Owner, o) })
		return ok
	}
	for _, e := range w.before {
		was[e.Owner] = true
	}
	for _, e := range w.after {
		will[e.Owner] = true
	}
	return func(a *Action) Phase {
		owner := a.Owner()
		switch {
		case a.After == nil && a.Drift:
			return Trash
		case a.Before == nil && resource.NICOf(a.After.State) != "":
			return Prepare
		case a.After == nil && resource.NICOf(a.Before.State) != "":
			return Release
		case !will[owner] && !stays(owner):
			return w.farewell(owner)
		case !was[owner] && !stays(owner):
			return Implement
		case a.forNICs() != "":
			return a.forNICs()
		case strings.HasPrefix(string(a.ID.Kind), "ovs."), a.ID.Kind == resource.KindBridgePort, made(a):
			return Design
		}
		return Implement
	}
}

// farewell is how an owner goes that has nothing here any more.
func (w *world) farewell(owner resource.Owner) Phase {
	switch {
	case w.terms[owner].Idle:
		return Shutdown
	case w.opt.Declared != nil && w.opt.Declared(owner):
		return Release
	}
	return Trash
}

// made reports whether a is about a bridge, VLAN or VXLAN of the kernel's.
func made(a *Action) bool {
	e := a.After
	if e == nil {
		e = a.Before
	}
	l, ok := e.State.(resource.Link)
	return ok && l.NS == "" && l.Sort() != "" && l.Host == ""
}

// Owner is whose action it is: the new owner where it changes.
func (a *Action) Owner() resource.Owner {
	if a.After != nil {
		return a.After.Owner
	}
	return a.Before.Owner
}

// disrupts says whom n disturbs and how. What is done to a resource because
// of another is on that one's account, except that a process restarts.
func (d *decision) disrupts(n *node) string {
	if n.before == nil || n.gone != nil {
		return ""
	}
	lost := "is lost"
	if n.after != nil {
		lost = "is interrupted"
	}
	owner := n.before.Owner
	switch st := n.before.State.(type) {
	case resource.NS:
		if n.goes() {
			return fmt.Sprintf("the router of %s %s, and with it everything in namespace %s", owner, lost, st.Name)
		}
	case resource.Bridge:
		if n.goes() {
			return fmt.Sprintf("everything plugged into %s %s: %s", st.Name, lost, d.usersOwners(n.id))
		}
		if n.changed("mtu") {
			return fmt.Sprintf("frames through %s while its MTU changes: %s", st.Name, d.usersOwners(n.id))
		}
	case resource.Link:
		if st.Bridge != nil && n.goes() {
			return fmt.Sprintf("everything plugged into %s %s: %s", st.Name, lost, d.usersOwners(n.id))
		}
		if n.goes() || n.changed("mtu", "mac", "up") {
			return fmt.Sprintf("traffic of %s through %s %s", owner, st.ID().Name, lost)
		}
	case resource.Addr:
		if n.goes() {
			return fmt.Sprintf("connections to %s: it leaves %s", st.Prefix.Addr(), resource.LinkID(st.NS, st.Link).Name)
		}
	case resource.Route:
		if st.Dst.Bits() == 0 {
			return fmt.Sprintf("traffic of %s by its default route %s", owner, lost)
		}
	case resource.Process:
		return d.stops(n, st)
	case resource.Port, resource.Tunnel, resource.BridgePort:
		if d.withLink(n) {
			return ""
		}
		return plugged(n, lost)
	}
	return ""
}

func (n *node) changed(fields ...string) bool {
	return n.verb == Update && slices.ContainsFunc(n.changes, func(c Change) bool { return slices.Contains(fields, c.Field) })
}

func (d *decision) stops(n *node, st resource.Process) string {
	ns := d.nodes[resource.ID{Kind: resource.KindNS, Name: st.NS}]
	switch {
	case !n.goes() && !n.changed("command", "configuration"), ns != nil && ns.goes():
		return ""
	case n.after == nil:
		return fmt.Sprintf("clients of %s: it ends", st.Name)
	}
	return fmt.Sprintf("clients of %s wait while it restarts", st.Name)
}

// withLink reports whether what n plugs in goes with its namespace, which says so.
func (d *decision) withLink(n *node) bool {
	return slices.ContainsFunc(d.wasRequired(n.id, n.before, n.after), func(id resource.ID) bool {
		link := d.nodes[id]
		return id.Kind == resource.KindLink && link != nil && link.goes() && link.gone != nil && link.gone.id.Kind == resource.KindNS
	})
}

func plugged(n *node, lost string) string {
	switch st := n.before.State.(type) {
	case resource.Tunnel:
		if n.goes() || n.changed("local", "remote", "dst-port") {
			return fmt.Sprintf("traffic to %s through %s %s", st.Remote, st.Name, lost)
		}
	case resource.Port:
		switch {
		case !n.goes() && !n.changed("peer"):
		case st.IfaceID != "":
			return fmt.Sprintf("the link of NIC %s %s", st.IfaceID, lost)
		case st.Uplink:
			return fmt.Sprintf("the wire of %s %s", st.Bridge, lost)
		default:
			return fmt.Sprintf("traffic through port %s of %s %s", st.Name, st.Bridge, lost)
		}
	case resource.BridgePort:
		switch {
		case !n.goes() && !n.changed("isolated"):
		case st.IfaceID != "":
			return fmt.Sprintf("the link of NIC %s %s", st.IfaceID, lost)
		case st.Uplink:
			return fmt.Sprintf("the wire of %s %s", st.Bridge, lost)
		default:
			return fmt.Sprintf("traffic through port %s of %s %s", st.Name, st.Bridge, lost)
		}
	}
	return ""
}

// mostOwners is how many owners a sentence names before it counts.
const mostOwners = 3

func (d *decision) usersOwners(id resource.ID) string {
	seen := map[resource.Owner]bool{}
	var out []string
	for _, u := range d.usersOf(id) {
		before, _ := d.find(u)
		if before != nil && !seen[before.Owner] && before.Owner != "" {
			seen[before.Owner] = true
			out = append(out, string(before.Owner))
		}
	}
	slices.Sort(out)
	switch {
	case len(out) == 0:
		return "nobody uses it"
	case len(out) > mostOwners:
		return fmt.Sprintf("%s and %d more", strings.Join(out[:mostOwners], ", "), len(out)-mostOwners)
	}
	return strings.Join(out, ", ")
}
