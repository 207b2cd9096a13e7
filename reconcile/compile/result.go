package compile

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"weft.dev/reconcile/alloc"
	"weft.dev/reconcile/model"
	"weft.dev/reconcile/plugin"
	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

// A Result is what a tree compiles to. It is immutable and stays valid while its
// compiler goes on.
type Result struct {
	// Diags are all of the model and of the plugins, sorted; those of parsing and
	// of the lock (alloc.Check) are not among them.
	Diags schema.Diags
	Site  *model.Site
	Stats Stats

	units []*unit
	lock  *alloc.Lock
	twice bool // two units claim one number
	hosts map[string]view
	names []string
	holds []resource.Hold // by owner, for every host
	terms []resource.Term // by owner, for every host
	why   string          // everything is frozen
}

// view is one host in a result.
type view struct {
	frags  []*resource.Fragment
	frozen string
	keep   string // why what networks share must stay as it is
}

// Hosts lists the hosts of the tree, by name.
func (r *Result) Hosts() []string { return r.names }

// Intent returns what host should have. A host that the tree does not have, or
// whose document is invalid, is frozen.
//
// An owner may have both a fragment and a hold: what the fragment says is wanted,
// but something that cannot be judged may need more, so nothing is to be removed.
func (r *Result) Intent(host string) *resource.Intent {
	in := &resource.Intent{Host: host, Holds: r.holds, Frozen: r.why}
	v, ok := r.hosts[host]
	if !ok {
		switch _, there := slices.BinarySearch(r.names, host); {
		case in.Frozen != "":
		case there:
			in.Frozen = "host " + host + " was not compiled"
		default:
			in.Frozen = "the tree has no valid host " + host
		}
		return in
	}
	in.Fragments, in.Terms = v.frags, r.terms
	if in.Frozen == "" {
		in.Frozen = v.frozen
	}
	if v.keep != "" {
		own := resource.Hold{Owner: resource.Owner("host/" + host), Cause: resource.HoldInvalid, Reason: v.keep}
		i, _ := slices.BinarySearchFunc(in.Holds, own.Owner, func(h resource.Hold, o resource.Owner) int { return cmp.Compare(h.Owner, o) })
		in.Holds = slices.Insert(slices.Clone(in.Holds), i, own)
	}
	return in
}

// Demands lists all numbers that the tree asks for, by document. It makes a new
// list.
func (r *Result) Demands() []model.Demand {
	n := 0
	for _, u := range r.units {
		n += len(u.demands)
	}
	out := make([]model.Demand, 0, n)
	for _, u := range r.units {
		out = append(out, u.demands...)
	}
	return out
}

// CheckLock reports what weft lock would change, as alloc.Check does, but does not
// look again at what compiling has seen to be right.
func (r *Result) CheckLock() schema.Diags {
	demands, answered := 0, !r.twice
	for _, u := range r.units {
		demands += len(u.demands)
		answered = answered && u.answered
	}
	if answered && r.lock.Holds(demands) {
		return nil
	}
	return alloc.Check(r.Demands(), r.lock)
}

// Domains lists the broadcast domains of all networks that are not held.
func (r *Result) Domains() []plugin.Domain {
	var out []plugin.Domain
	for _, u := range r.units {
		out = append(out, u.domains...)
	}
	return out
}

// Networks lists the networks by ID, the held ones as far as they are known.
func (r *Result) Networks() []*model.Network {
	var out []*model.Network
	for _, u := range r.units {
		if u.net != nil && u.vpc == nil {
			out = append(out, u.net)
		}
	}
	return out
}

// Network returns one network, or nil.
func (r *Result) Network(id schema.ID) *model.Network {
	if u := r.unit(id); u != nil {
		return u.net
	}
	return nil
}

// unit returns the unit of that ID, or nil.
func (r *Result) unit(id schema.ID) *unit {
	i, ok := slices.BinarySearchFunc(r.units, id, func(u *unit, id schema.ID) int { return compareID(u.id, id) })
	if !ok {
		return nil
	}
	return r.units[i]
}

// Declared reports whether a document declares owner, a network or a host.
func (r *Result) Declared(owner resource.Owner) bool {
	if name, ok := strings.CutPrefix(string(owner), "host/"); ok {
		return r.Site.Hosts[name] != nil
	}
	id, err := schema.ParseID(string(owner))
	if err != nil {
		return false
	}
	return r.unit(id) != nil
}

// Guru is the name of the guru that designed owner's network, or "".
func (r *Result) Guru(owner resource.Owner) string {
	id, err := schema.ParseID(string(owner))
	if err != nil {
		return ""
	}
	if u := r.unit(id); u != nil {
		return u.guru
	}
	return ""
}

// Holds lists the owners that are left as they are on every host, by owner.
func (r *Result) Holds() []resource.Hold { return r.holds }

// result judges what concerns several units and makes the hosts' views.
func (c *Compiler) result(tree *schema.Tree, infra bool, compiled int) *Result {
	r := &Result{Site: c.site, units: c.order, lock: c.input.lock, twice: len(c.claims.more) > 0, why: c.frozen(tree)}
	r.Diags = slices.Clone(c.siteDiags)
	t := c.touched(tree, c.dangling(&r.Diags))
	hold := func(u *unit, why string) { t.hold(u.id, why) }
	c.claims.judge(&r.Diags, hold)
	c.marks.judge(&r.Diags, hold)
	c.overlaps(&r.Diags, hold)
	c.advertisements(&r.Diags, hold)
	c.limits(&r.Diags, hold)
	c.dedicated(&r.Diags, hold)
	c.capacity(&r.Diags)
	c.clouds(t)
	c.rehold(t.holds)
	c.replaceShadows(c.shadowNeeds(tree, t.hosts))
	r.Stats = Stats{Units: len(c.units), Compiled: compiled, Hosts: len(c.site.Hosts)}
	r.Stats.Designed = c.designHosts(infra, &r.Diags, func(u *unit, why string) {
		hold(u, why)
		c.spoil(u)
		if u.net != nil && u.net.Tier != nil && c.units[u.net.Tier.ID] != nil {
			hold(c.units[u.net.Tier.ID], why)
			c.spoil(c.units[u.net.Tier.ID])
		}
	})
	r.holds, r.terms = c.allHolds(tree), c.terms()
	c.assemble()
	for _, u := range c.order {
		if len(u.diags) > 0 {
			r.Diags = append(r.Diags, u.diags...)
		}
	}
	r.Diags.Sort()
	c.views(r)
	return r
}

// termOf is what the annotations of a network ask for, and whether it is idle.
func termOf(u *unit) *resource.Term {
	m := &u.net.Doc.Meta
	t := resource.Term{Owner: u.owner}
	if len(m.Annotations) > 0 {
		t.Keep, t.IgnoreDrift = m.PruneDisabled(), m.IgnoreDrift()
	}
	if u.hold == nil && u.net.State == model.Allocated {
		t.Idle, t.Linger = true, time.Duration(u.net.Zone.Spec.GCWait)
	}
	if t == (resource.Term{Owner: u.owner}) {
		return nil
	}
	return &t
}

// terms lists what is to be known of networks besides what they are, by owner.
func (c *Compiler) terms() []resource.Term {
	var out []resource.Term
	for _, u := range c.order {
		if u.term != nil {
			out = append(out, *u.term)
		}
	}
	slices.SortFunc(out, func(a, b resource.Term) int { return cmp.Compare(a.Owner, b.Owner) })
	return out
}

// dangling reports references to networks and public addresses that no document declares, and returns
// the documents that have them.
func (c *Compiler) dangling(ds *schema.Diags) []*schema.Document {
	out := c.index.Lost(ds)
	for _, id := range c.index.Dangling() {
		out = append(out, model.Refer(c.site, c.index, id, ds)...)
	}
	return out
}

// designHosts designs what networks share on the hosts where that changed.
func (c *Compiler) designHosts(infra bool, ds *schema.Diags, hold func(*unit, string)) int {
	for name := range c.site.Hosts {
		if infra && c.wants(name) {
			c.host(name)
		}
	}
	names := slices.Sorted(maps.Keys(c.hosts))
	var designed atomic.Int64
	parallel(len(names), func(i int) {
		if h := c.hosts[names[i]]; (h.stale || infra) && h.design(&c.registry, c.site, c.only == nil) {
			designed.Add(1)
		}
	})
	for _, name := range names {
		h := c.hosts[name]
		if h.on == nil && len(h.labels)+len(h.tunnels)+len(h.segments)+len(h.privates)+len(h.wires)+len(h.units) == 0 {
			delete(c.hosts, name)
			continue
		}
		*ds = append(*ds, h.diags...)
		h.conflicts(&c.marks, ds, hold)
	}
	return int(designed.Load())
}

// rehold marks the hosts of units that are now held, or no longer.
func (c *Compiler) rehold(holds map[schema.ID]verdict) {
	for _, m := range []map[schema.ID]verdict{holds, c.holds} {
		for id := range m {
			_, now := holds[id]
			_, before := c.holds[id]
			if u := c.units[id]; u != nil && now != before {
				c.spoil(u)
			}
		}
	}
	c.holds = holds
}

// spoil marks the hosts whose lists u is in, or was.
func (c *Compiler) spoil(u *unit) {
	for _, p := range u.parts {
		if p.fragment != nil {
			c.host(p.host).dirty = true
		}
	}
}

// allHolds lists the held owners, by owner.
func (c *Compiler) allHolds(tree *schema.Tree) []resource.Hold {
	var out []resource.Hold
	for _, u := range c.order {
		if u.hold != nil {
			out = append(out, *u.hold)
		} else if v, ok := c.holds[u.id]; ok && u.net != nil {
			out = append(out, resource.Hold{Owner: u.owner, Cause: v.cause, Reason: v.reason})
		}
	}
	for _, d := range suspects(tree) {
		if (d.Kind == schema.KindNetwork || d.Kind == schema.KindVPC) && c.units[d.ID()] == nil {
			out = append(out, resource.Hold{Owner: resource.Owner(d.ID().String()), Cause: resource.HoldInvalid, Reason: d.ID().String() + " is invalid"})
		}
	}
	slices.SortFunc(out, func(a, b resource.Hold) int { return cmp.Compare(a.Owner, b.Owner) })
	return slices.CompactFunc(out, func(a, b resource.Hold) bool { return a.Owner == b.Owner })
}

// assemble makes the lists of fragments of the hosts where one changed.
func (c *Compiler) assemble() {
	for _, h := range c.hosts {
		if !h.dirty {
			continue
		}
		h.dirty = false
		list := make([]*resource.Fragment, 0, len(h.units)+1)
		if h.shared != nil && h.shared.Len() > 0 {
			list = append(list, h.shared)
		}
		for u := range h.units {
			_, held := c.holds[u.id]
			if f := u.part(h.name).fragment; !held && f.Len() > 0 {
				list = append(list, f)
			}
		}
		slices.SortFunc(list, func(a, b *resource.Fragment) int { return cmp.Compare(a.Owner, b.Owner) })
		h.frags = list
	}
}

// views fills in the hosts of the tree.
func (c *Compiler) views(r *Result) {
	r.hosts = make(map[string]view, len(c.site.Hosts))
	for name, on := range c.site.Hosts {
		r.names = append(r.names, name)
		if !c.wants(name) {
			continue
		}
		v := view{frags: c.hosts[name].frags}
		switch z := c.site.Zones[on.Zone]; {
		case on.Spec.State == "Disabled":
			v.frozen = "host " + name + " is Disabled"
		case z.Disabled():
			v.frozen = "zone " + z.Name + " is Disabled"
		case on.Doc.Meta.Suspended():
			v.frozen = "host " + name + " is suspended"
		case z.Doc.Meta.Suspended():
			v.frozen = "zone " + z.Name + " is suspended"
		case z.Invalid != "":
			v.keep = z.Invalid
		}
		r.hosts[name] = v
	}
	slices.Sort(r.names)
}
