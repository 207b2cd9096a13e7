package compile

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"weft.dev/reconcile/model"
	"weft.dev/reconcile/plugin"
	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

// A host counts what units need of it and keeps what was designed for that.
type host struct {
	name     string
	labels   map[string]int
	tunnels  map[plugin.TunnelNeed]int
	segments map[plugin.SegmentNeed]int
	privates map[plugin.PrivateNeed]int
	wires    map[plugin.WireNeed]int
	routers  int // units that have some here
	// stale: the counts changed since the needs were made; dirty: a fragment on
	// the host changed.
	stale, dirty bool

	on     *model.Host // that the shared resources were designed for
	zone   *model.Zone
	shared *resource.Fragment
	diags  schema.Diags
	units  map[*unit]bool       // that have a fragment here
	frags  []*resource.Fragment // of units that are not held, by owner
	// clashes are units that have something that the host itself has too.
	clashes []clash
}

type clash struct {
	unit *unit
	mark uint64
}

func newHost(name string) *host {
	return &host{
		name: name, labels: map[string]int{}, tunnels: map[plugin.TunnelNeed]int{},
		segments: map[plugin.SegmentNeed]int{}, privates: map[plugin.PrivateNeed]int{}, wires: map[plugin.WireNeed]int{}, units: map[*unit]bool{}, stale: true, dirty: true,
	}
}

// change adds a unit's needs, or with -1 takes them away.
func (h *host) change(n *plugin.Needs, by int) {
	h.stale = true
	for _, l := range n.Labels {
		count(h.labels, l, by)
	}
	for _, t := range n.Tunnels {
		count(h.tunnels, t, by)
	}
	for _, s := range n.Segments {
		count(h.segments, s, by)
	}
	for _, p := range n.Privates {
		count(h.privates, p, by)
	}
	for _, w := range n.Wires {
		count(h.wires, w, by)
	}
	if n.Routers {
		h.routers += by
	}
}

func count[K comparable](m map[K]int, k K, by int) {
	if m[k] += by; m[k] == 0 {
		delete(m, k)
	}
}

// union is all that units need of the host, in order.
func (h *host) union(z *model.Zone, on *model.Host) *plugin.Needs {
	n := &plugin.Needs{
		Labels:   slices.Sorted(maps.Keys(h.labels)),
		Tunnels:  slices.SortedFunc(maps.Keys(h.tunnels), compareTunnels),
		Segments: slices.SortedFunc(maps.Keys(h.segments), compareSegments),
		Privates: slices.SortedFunc(maps.Keys(h.privates), comparePrivates),
		Wires:    slices.SortedFunc(maps.Keys(h.wires), compareWires),
		Routers:  h.routers > 0,
	}
	for _, b := range on.Spec.Bridges {
		for _, p := range z.Physical {
			if slices.Contains(p.Labels(), b.Name) {
				n.MTUs = append(n.MTUs, plugin.LabelMTU{Label: b.Name, MTU: p.Spec.MTU})
			}
		}
	}
	slices.SortFunc(n.MTUs, func(a, b plugin.LabelMTU) int {
		return cmp.Or(cmp.Compare(a.Label, b.Label), cmp.Compare(a.MTU, b.MTU))
	})
	n.MTUs = slices.Compact(n.MTUs)
	return n
}

func compareTunnels(a, b plugin.TunnelNeed) int {
	return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.DstPort, b.DstPort), a.Remote.Compare(b.Remote), cmp.Compare(a.Peer, b.Peer))
}

func compareSegments(a, b plugin.SegmentNeed) int {
	return cmp.Or(compareDomains(&a.Segment, &b.Segment), cmp.Compare(a.Port, b.Port), slices.Compare(a.MAC[:], b.MAC[:]))
}

func comparePrivates(a, b plugin.PrivateNeed) int {
	return cmp.Or(compareDomains(&a.Primary, &b.Primary), cmp.Compare(a.Secondary, b.Secondary))
}

func compareWires(a, b plugin.WireNeed) int {
	return cmp.Or(cmp.Compare(a.Label, b.Label), cmp.Compare(a.VLAN, b.VLAN))
}

func compareDomains(s, t *plugin.Segment) int {
	return cmp.Or(cmp.Compare(s.Zone, t.Zone), cmp.Compare(s.Label, t.Label), cmp.Compare(s.Scheme, t.Scheme),
		cmp.Compare(s.VNet, t.VNet), cmp.Compare(s.Port, t.Port))
}

// design makes the host's shared resources anew where what they follow from
// changed. It reports whether it did.
func (h *host) design(r *plugin.Registry, site *model.Site, thin bool) bool {
	on := site.Hosts[h.name]
	if on == nil {
		changed := h.on != nil
		h.on, h.zone, h.shared, h.diags = nil, nil, nil, nil
		return changed
	}
	zone := site.Zones[on.Zone]
	if !h.stale && h.on == on && h.zone == zone {
		return false
	}
	h.stale, h.on, h.zone = false, on, zone
	needs := h.union(zone, on)
	draft := draftHost(r, on, zone, needs)
	h.diags = draft.Diags
	fresh := resource.Fold(draft.Hosts[h.name], claimTwice(&h.diags)).Fragment(draft.Owner)
	if thin {
		var again made
		name := h.name
		fresh = fresh.Thin(func() []resource.Entry {
			return again.from(name, func() *plugin.Draft { return draftHost(r, on, zone, needs) })
		})
	}
	if h.shared == nil || h.shared.Print != fresh.Print {
		h.dirty = true
	}
	h.shared = fresh
	return true
}

// draftHost lets the switches of the zone say what the host's networks share.
func draftHost(r *plugin.Registry, on *model.Host, zone *model.Zone, needs *plugin.Needs) *plugin.Draft {
	draft := plugin.NewDraft(resource.Owner("host/"+on.Name), on.Doc.Pos)
	first := true
	for _, sw := range r.Switches {
		used := slices.ContainsFunc(zone.Physical, func(p *model.PhysicalNetwork) bool { return p.Spec.VSwitch == sw.Name() })
		if used {
			own := *needs
			own.Bridges = bridgesOf(on, zone, sw.Name(), first)
			sw.DesignHost(on, &own, draft)
			first = false
		}
	}
	for _, e := range r.Elements {
		if e, ok := e.(plugin.HostElement); ok {
			e.DesignHost(on, needs, draft)
		}
	}
	for _, p := range zone.Physical {
		for _, traffic := range []string{model.TrafficManagement, model.TrafficStorage, model.TrafficControl} {
			if p.Label(traffic) != "" || traffic == model.TrafficControl && p.Guest != "" {
				draftSystem(r, on, p, traffic, draft)
			}
		}
	}
	return draft
}

// bridgesOf lists the bridges of a host that are one switch's: the label says whose,
// and those that no physical network names are the first switch's.
func bridgesOf(on *model.Host, zone *model.Zone, vswitch string, first bool) []*schema.HostBridge {
	out := make([]*schema.HostBridge, 0, len(on.Spec.Bridges))
	for i := range on.Spec.Bridges {
		b := &on.Spec.Bridges[i]
		at := slices.IndexFunc(zone.Physical, func(p *model.PhysicalNetwork) bool { return slices.Contains(p.Labels(), b.Name) })
		if at < 0 && first || at >= 0 && zone.Physical[at].Spec.VSwitch == vswitch {
			out = append(out, b)
		}
	}
	return out
}

// draftSystem lets the one guru of a host's own traffic say what that needs. A
// registry without such gurus has none to ask.
func draftSystem(r *plugin.Registry, on *model.Host, p *model.PhysicalNetwork, traffic string, draft *plugin.Draft) {
	var accept, why []string
	for _, g := range r.System {
		if no := g.CanHandle(p, traffic); no != "" {
			why = append(why, g.Name()+" declines: "+no)
			continue
		}
		if accept = append(accept, g.Name()); len(accept) == 1 {
			g.DesignHost(on, p, draft)
		}
	}
	if len(r.System) == 0 || len(accept) == 1 {
		return
	}
	d := draft.Diags.Errorf(p.Doc.At("spec.traffic"), "no-guru", "no guru serves %s traffic of physical network %s", traffic, p.Name)
	if len(accept) > 1 {
		d.Message = "several gurus serve " + traffic + " traffic of physical network " + p.Name + ": " + strings.Join(accept, ", ")
	}
	d.Hintf("%s", strings.Join(why, "; "))
}

// conflicts reports what both the host's own fragment and that of a unit hold.
func (h *host) conflicts(units *marks, ds *schema.Diags, hold func(*unit, string)) {
	at := mixed(h.name)
	if h.dirty {
		h.clashes = nil
		if h.shared != nil {
			for _, m := range h.shared.Marks() {
				if u := units.one[m^at]; u != nil {
					h.clashes = append(h.clashes, clash{u, m})
				}
			}
		}
	}
	for _, c := range h.clashes {
		e, _, what := c.unit.find(c.mark ^ at)
		own := resource.Entry{Owner: resource.Owner("host/" + h.name)}
		for _, x := range h.shared.Entries() {
			if _, ok := resource.Marked(x.State, c.mark); ok {
				own = x
			}
		}
		hold(c.unit, "host/"+h.name+" has "+what+" too")
		twoClaim(ds, what, own, e)
	}
}
