// Package compile turns a tree into the intent of every host: it resolves each
// network, lets the plugins design it, unites what networks share on a host and
// holds back what cannot be judged.
//
// In go a tree (schema), a lock (alloc) and the hosts' facts (model); out come
// intents (resource), diagnostics, demands and what reachability reads. It is
// pure: the result depends on these arguments only, never on what was compiled
// before; a Compiler merely remembers what it need not do again. Engine, lab and
// cmd import it; it never imports plugins, it gets them as a plugin.Registry.
package compile

import (
	"maps"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"weft.dev/reconcile/alloc"
	"weft.dev/reconcile/model"
	"weft.dev/reconcile/plugin"
	"weft.dev/schema"
)

// A Compiler compiles one tree after another and keeps the units that did not
// change. It is not safe for concurrent use; its results are.
type Compiler struct {
	registry plugin.Registry
	only     map[string]bool // hosts that fragments are kept of; nil is all

	input     input
	site      *model.Site
	siteDiags schema.Diags
	index     *model.Index
	units     map[schema.ID]*unit
	order     []*unit // units by ID
	claims    claims
	marks     marks
	hosts     map[string]*host
	holds     map[schema.ID]verdict
	shadows   map[string][]*plugin.Needs // of held networks, by host
	shared    map[*unit]bool             // those of Shared networks
	used      map[use]int                // numbers of pools that units have, see unit.uses
}

// input is what the last Update was given.
type input struct {
	docs    []*schema.Document
	invalid []*schema.Document
	lock    *alloc.Lock
	facts   map[string]model.Facts
	fresh   bool // nothing was given yet
}

// New returns a compiler that knows nothing yet.
func New(registry plugin.Registry) *Compiler {
	return &Compiler{
		registry: registry, input: input{fresh: true}, index: &model.Index{}, units: map[schema.ID]*unit{},
		claims: newClaims(), marks: newMarks(), hosts: map[string]*host{}, shared: map[*unit]bool{}, used: map[use]int{},
	}
}

// Only returns a compiler that makes the intents of the named hosts only, with a
// fraction of the memory. Whom it holds, and what it says of the tree, is the same
// but for what switches say of other hosts.
func Only(registry plugin.Registry, hosts ...string) *Compiler {
	c := New(registry)
	c.only = map[string]bool{}
	for _, h := range hosts {
		c.only[h] = true
	}
	return c
}

func (c *Compiler) wants(host string) bool { return c.only == nil || c.only[host] }

// Stats say what an Update had to do.
type Stats struct {
	Units    int // in the tree
	Compiled int // of them, in this Update
	Hosts    int
	Designed int // hosts whose shared resources were designed in this Update
}

// Update compiles tree. Units whose documents, numbers, zone, offering and
// account are those of the Update before are not compiled again.
func (c *Compiler) Update(tree *schema.Tree, lock *alloc.Lock, facts map[string]model.Facts) *Result {
	if lock == nil {
		lock = alloc.Empty()
	}
	gone, added := difference(c.input.docs, tree.Documents)
	dirty := map[schema.ID]bool{}
	infra := c.input.fresh || !maps.Equal(c.input.facts, facts)
	for _, d := range gone {
		infra = infra || model.IsInfrastructure(d.Kind)
		c.touchGroups(d, dirty)
		mark(dirty, c.index.Remove(d))
		c.touchLoose(d, dirty)
	}
	for _, d := range added {
		infra = infra || model.IsInfrastructure(d.Kind)
		mark(dirty, c.index.Add(d))
		c.touchGroups(d, dirty)
		c.touchLoose(d, dirty)
	}
	if !slices.Equal(c.input.invalid, tree.Invalid) {
		infra = true
		c.unreadChanged(tree, dirty)
	}
	if infra {
		c.site, c.siteDiags = model.BuildSite(tree, facts, c.site)
		c.moved(dirty)
	}
	c.renumbered(lock, tree, dirty)
	c.joined(dirty)
	c.input = input{docs: tree.Documents, invalid: tree.Invalid, lock: lock, facts: maps.Clone(facts)}
	compiled := c.compile(dirty, lock)
	return c.result(tree, infra, compiled)
}

func mark(dirty map[schema.ID]bool, ids []schema.ID) {
	for _, id := range ids {
		dirty[id] = true
	}
}

// touchLoose marks a public address without network, which is a unit itself.
func (c *Compiler) touchLoose(d *schema.Document, dirty map[schema.ID]bool) {
	if p, ok := d.Spec.(*schema.PublicIP); ok && p.Network.IsZero() && p.VPC.IsZero() {
		dirty[d.ID()] = true
	}
}

// touchGroups marks the security groups, and the networks that have some, in which
// d has a say.
func (c *Compiler) touchGroups(d *schema.Document, dirty map[schema.ID]bool) {
	for _, id := range c.index.Concerned(d) {
		if u := c.units[id]; u == nil || u.net == nil || u.net.Grouped() {
			dirty[id] = true
		}
	}
	if d.Kind != schema.KindSecurityGroup {
		return
	}
	for id, u := range c.units { // where one is not known, the others are named
		if slices.ContainsFunc(u.diags, func(x schema.Diag) bool { return x.Code == "unknown-security-group" }) {
			dirty[id] = true
		}
	}
}

// unreadChanged marks the networks whose judgement may depend on which documents
// could not be read.
func (c *Compiler) unreadChanged(tree *schema.Tree, dirty map[schema.ID]bool) {
	accounts := map[string]bool{}
	for _, list := range [][]*schema.Document{c.input.invalid, tree.Invalid} {
		for _, d := range list {
			accounts[d.Meta.Account] = true
		}
	}
	c.index.SetUnread(tree.Invalid)
	for _, list := range [][]*schema.Document{c.input.invalid, tree.Invalid} {
		for _, d := range list {
			as := *d
			as.Kind = schema.KindSecurityGroup
			c.touchGroups(&as, dirty)
		}
	}
	for id := range c.units {
		if accounts[id.Account] {
			dirty[id] = true
		}
	}
}

// moved marks the units that stand on something else than before.
func (c *Compiler) moved(dirty map[schema.ID]bool) {
	for id, u := range c.units {
		if !u.standsOn(c.site) {
			dirty[id] = true
		}
	}
}

// renumbered marks the units whose numbers changed.
func (c *Compiler) renumbered(lock *alloc.Lock, tree *schema.Tree, dirty map[schema.ID]bool) {
	if c.input.fresh {
		return
	}
	others, names := map[schema.ID]bool{}, map[string]bool{}
	for _, owner := range lock.Changed(c.input.lock) {
		id, ok := documentOf(owner)
		if ok && id.Kind == schema.KindVPC {
			dirty[id] = true
			for _, t := range c.index.Tiers(id) {
				dirty[t.ID()] = true
			}
		} else if ok && id.Kind == schema.KindNetwork {
			dirty[id] = true
		} else if ok {
			others[id], names[id.Name] = true, true
		}
	}
	if len(others) == 0 {
		return
	}
	// Once through the documents is far less than an index of them.
	for _, d := range tree.Documents {
		if names[d.Meta.Name] && others[d.ID()] {
			mark(dirty, model.NetworksOf(d))
			if home, ok := c.index.Home(d); ok {
				dirty[home] = true
			}
			c.touchLoose(d, dirty)
			c.touchGroups(d, dirty)
		}
	}
}

// compile makes the dirty units anew, in parallel, and puts them in place.
func (c *Compiler) compile(dirty map[schema.ID]bool, lock *alloc.Lock) int {
	ids := slices.SortedFunc(maps.Keys(dirty), compareID)
	made := make([]*unit, len(ids))
	w := worker{designer: designer{&c.registry}, site: c.site, index: c.index, lock: lock, zones: zoneNames(c.site), only: c.only}
	parallel(len(ids), func(i int) { made[i] = w.unit(ids[i]) })
	if len(c.units) == 0 {
		c.expect(made)
	}
	fresh := make([]*unit, 0, len(made))
	for i, id := range ids {
		if before := c.units[id]; before != nil {
			c.drop(before)
		}
		if made[i] == nil {
			delete(c.units, id)
			continue
		}
		c.units[id] = made[i]
		fresh = append(fresh, made[i])
	}
	c.put(fresh)
	c.reorder(ids)
	return len(fresh)
}

// reorder makes the list of units anew after those called ids changed. Results
// keep the list that was.
func (c *Compiler) reorder(ids []schema.ID) {
	if len(ids) > len(c.order)/16 {
		c.order = slices.SortedFunc(maps.Values(c.units), func(a, b *unit) int { return compareID(a.id, b.id) })
		return
	}
	c.order = slices.Clone(c.order)
	for _, id := range ids {
		i, found := slices.BinarySearchFunc(c.order, id, func(u *unit, id schema.ID) int { return compareID(u.id, id) })
		switch u := c.units[id]; {
		case found && u != nil:
			c.order[i] = u
		case found:
			c.order = slices.Delete(c.order, i, i+1)
		case u != nil:
			c.order = slices.Insert(c.order, i, u)
		}
	}
}

// parallel calls do for 0 to n-1 on all processors and waits.
func parallel(n int, do func(i int)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), n) {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				do(i)
			}
		})
	}
	wg.Wait()
}

// expect makes room in the indices of an empty compiler.
func (c *Compiler) expect(units []*unit) {
	numbers, things := 0, 0
	for _, u := range units {
		if u != nil {
			numbers += len(u.claims)
			for i := range u.parts {
				things += len(u.parts[i].marks)
			}
		}
	}
	c.units = make(map[schema.ID]*unit, len(units))
	c.claims.one = make(map[claimKey]*claim, numbers)
	c.marks.one = make(map[uint64]*unit, things)
}

// drop takes a unit out of all indices.
func (c *Compiler) drop(u *unit) {
	c.claims.remove(u)
	c.marks.remove(u)
	delete(c.shared, u)
	for _, x := range u.uses {
		count(c.used, x, -1)
	}
	for name, n := range u.needs {
		c.need(name, n, -1)
	}
	for _, p := range u.parts {
		if p.fragment != nil {
			h := c.host(p.host)
			h.dirty = true
			delete(h.units, u)
		}
	}
}

// put takes units into all indices, into several at a time.
func (c *Compiler) put(units []*unit) {
	each := []func(*unit){
		c.marks.add,
		c.claims.add,
		func(u *unit) {
			if isShared(u) {
				c.shared[u] = true
			}
			for _, x := range u.uses {
				c.used[x]++
			}
			for name, n := range u.needs {
				c.need(name, n, 1)
			}
			for _, p := range u.parts {
				if p.fragment != nil {
					h := c.host(p.host)
					h.dirty = true
					h.units[u] = true
				}
			}
		},
	}
	parallel(len(each), func(i int) {
		for _, u := range units {
			each[i](u)
		}
	})
}

// need counts what a unit needs of a host.
func (c *Compiler) need(name string, n *plugin.Needs, by int) {
	if c.wants(name) {
		c.host(name).change(n, by)
	}
}

func (c *Compiler) host(name string) *host {
	h := c.hosts[name]
	if h == nil {
		h = newHost(name)
		c.hosts[name] = h
	}
	return h
}

// difference returns the documents that only old or only now has. Both are by
// file and position, so that usually all of it lies in a short middle part.
func difference(old, now []*schema.Document) (gone, added []*schema.Document) {
	for len(old) > 0 && len(now) > 0 && old[0] == now[0] {
		old, now = old[1:], now[1:]
	}
	for len(old) > 0 && len(now) > 0 && old[len(old)-1] == now[len(now)-1] {
		old, now = old[:len(old)-1], now[:len(now)-1]
	}
	if len(old) == 0 {
		return nil, now
	}
	had := make(map[*schema.Document]bool, len(old))
	for _, d := range old {
		had[d] = true
	}
	for _, d := range now {
		if had[d] {
			delete(had, d)
			continue
		}
		added = append(added, d)
	}
	for _, d := range old {
		if had[d] {
			gone = append(gone, d)
		}
	}
	return gone, added
}
