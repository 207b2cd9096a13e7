package compile

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"weft.dev/reconcile/alloc"
	"weft.dev/reconcile/model"
	"weft.dev/reconcile/plugin"
	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

// A unit is the compiled form of one network, or of a public address without
// one. It is immutable.
type unit struct {
	id      schema.ID
	owner   resource.Owner
	net     *model.Network // nil for a public address
	diags   schema.Diags
	demands []model.Demand
	hold    *resource.Hold // why it is held by itself

	fragments map[string]*resource.Fragment
	needs     map[string]*plugin.Needs
	domains   []plugin.Domain
	relays    []plugin.Relay
	claims    []claim
	marks     []uint64

	site siteParts
}

// siteParts are what a unit stood on when it was compiled.
type siteParts struct {
	zone     *model.Zone
	offering *model.Offering
	account  *model.Account
	// zones are the names of all zones, where the unit's is inferred from them.
	zones string
	all   *model.Site // where the unit depends on more than the parts above
}

// standsOn reports whether u would be the same on site.
func (u *unit) standsOn(site *model.Site) bool {
	p := &u.site
	if p.all != nil {
		return p.all == site
	}
	return site.Zones[p.zone.Name] == p.zone && site.Offerings[p.offering.Name] == p.offering &&
		site.Accounts[p.account.Name] == p.account && (p.zones == "" || p.zones == zoneNames(site))
}

// zoneNames is what an inferred zone depends on.
func zoneNames(site *model.Site) string {
	names := strings.Join(site.ZoneNames(), " ")
	for id := range site.Invalid {
		if id.Kind == schema.KindZone {
			return names + " and invalid ones"
		}
	}
	return names
}

// worker compiles units; it only reads.
type worker struct {
	registry *plugin.Registry
	site     *model.Site
	index    *model.Index
	lock     *alloc.Lock
	tree     *schema.Tree
	zones    string
	wants    func(host string) bool
}

// unit compiles id, or returns nil when no document declares it.
func (w *worker) unit(id schema.ID) *unit {
	d := w.tree.Lookup(id)
	if d == nil {
		return nil
	}
	u := &unit{id: id, owner: resource.Owner(id.String())}
	if id.Kind == schema.KindPublicIP {
		return w.reserved(u, d)
	}
	u.net, u.diags = model.Resolve(w.site, w.index, d, w.lock)
	n := u.net
	u.demands = n.Demands
	u.site = siteParts{all: w.site}
	if n.Physical != nil && !u.diags.HasErrors() && n.Blocked == "" {
		u.site = siteParts{zone: n.Zone, offering: n.Offering, account: n.Account}
		if n.Spec.Zone == "" {
			u.site.zones = w.zones
		}
	}
	u.hold = holdOf(u.owner, n, u.diags)
	w.claim(u)
	w.design(u)
	return u
}

// reserved compiles a public address without network: it has numbers only.
func (w *worker) reserved(u *unit, d *schema.Document) *unit {
	if p, ok := d.Spec.(*schema.PublicIP); !ok || !p.Network.IsZero() {
		return nil
	}
	u.site.all = w.site
	demand, ok, diags := model.ResolveReserved(w.site, d)
	u.diags = diags
	if ok {
		u.demands = []model.Demand{demand}
		w.claim(u)
	}
	return u
}

// holdOf says why a network is held by itself, or nil.
func holdOf(owner resource.Owner, n *model.Network, ds schema.Diags) *resource.Hold {
	h := &resource.Hold{Owner: owner}
	switch {
	case ds.HasErrors():
		i := slices.IndexFunc(ds, func(d schema.Diag) bool { return d.Severity == schema.Error })
		h.Cause, h.Reason = resource.HoldInvalid, ds[i].Pos.String()+": "+ds[i].Message
	case n.Blocked != "":
		h.Cause, h.Reason = resource.HoldInvalid, n.Blocked
	case len(n.Missing) > 0:
		m := n.Missing[0]
		h.Cause, h.Reason = resource.HoldUnallocated, alloc.FileName+" has no fitting "+m.Field+" for "+m.Owner+"; run weft lock"
	case n.Suspended != "":
		h.Cause, h.Reason = resource.HoldSuspended, n.Suspended
	default:
		return nil
	}
	return h
}

// design lets the plugins say what the network is made of, unless it is held:
// then its shadow tells what has to stay.
func (w *worker) design(u *unit) {
	if u.hold != nil || u.net.State != model.Implemented {
		return
	}
	draft := plugin.NewDraft(u.owner, u.net.Doc.Pos)
	if w.topology(u, u.net, draft) {
		w.services(u, u.net, draft)
		u.take(draft, w.wants)
	}
}

// topology asks the one guru that handles n, and that of the public leg.
func (w *worker) topology(u *unit, n *model.Network, draft *plugin.Draft) bool {
	var guru plugin.Guru
	var why, accept []string
	for _, g := range w.registry.Gurus {
		if no := g.CanHandle(n); no != "" {
			why = append(why, g.Name()+" declines: "+no)
			continue
		}
		accept = append(accept, g.Name())
		guru = g
	}
	if len(accept) != 1 {
		w.noGuru(u, n, accept, why)
		return false
	}
	guru.Design(n, draft)
	if n.Router == nil || !n.Router.Public() {
		return true
	}
	if w.registry.Public == nil {
		w.refuse(u, n, "no-guru", "no guru of this weft designs public networks")
		return false
	}
	if no := w.registry.Public.CanHandle(n); no != "" {
		w.refuse(u, n, "no-guru", "the public network of "+n.ID.String()+" can not be designed: "+w.registry.Public.Name()+" declines: "+no)
		return false
	}
	w.registry.Public.Design(n, draft)
	return true
}

func (w *worker) noGuru(u *unit, n *model.Network, accept, why []string) {
	d := u.diags.Errorf(n.Doc.At("spec.offering"), "no-guru", "no guru can design network %s", n.ID.Name).Offending(n.Spec.Offering)
	if len(accept) > 1 {
		d.Message = "several gurus can design network " + n.ID.Name + ": " + strings.Join(accept, ", ")
	}
	d.See(n.Physical.Doc.At("metadata.name"), "physical network %s", n.Physical.Name)
	if len(why) > 0 {
		d.Hintf("%s", strings.Join(why, "; "))
	}
	u.held()
}

// refuse reports what no plugin can do.
func (w *worker) refuse(u *unit, n *model.Network, code, message string) {
	u.diags.Errorf(n.Doc.At("spec.offering"), code, "%s", message).Offending(n.Spec.Offering)
	u.held()
}

// held holds u because of its diagnostics.
func (u *unit) held() {
	u.hold = holdOf(u.owner, u.net, u.diags)
	u.needs, u.domains, u.relays, u.fragments, u.marks = nil, nil, nil, nil, nil
}

// services asks the element of each provider in the offering.
func (w *worker) services(u *unit, n *model.Network, draft *plugin.Draft) {
	for _, name := range n.Offering.Providers() {
		i := slices.IndexFunc(w.registry.Elements, func(e plugin.Element) bool { return e.Name() == name })
		if i < 0 {
			w.refuse(u, n, "no-element", "this weft has no provider "+name+", which offering "+n.Offering.Name+" uses")
			continue
		}
		w.registry.Elements[i].Implement(n, draft)
	}
}

// take makes the draft the unit's.
func (u *unit) take(draft *plugin.Draft, wants func(string) bool) {
	u.diags = append(u.diags, draft.Diags...)
	if u.diags.HasErrors() {
		u.held()
		return
	}
	u.needs, u.domains, u.relays = draft.Needs, draft.Domains, draft.Relays
	u.fragments = make(map[string]*resource.Fragment, len(draft.Hosts))
	for _, name := range slices.Sorted(maps.Keys(draft.Hosts)) {
		var entries []resource.Entry
		entries, u.marks = once(name, draft.Hosts[name], u.marks, &u.diags)
		if wants(name) {
			u.fragments[name] = resource.NewFragment(u.owner, entries)
		}
	}
	if u.diags.HasErrors() {
		u.held()
	}
}

// once sorts the entries of a host by ID and appends their marks. Entries of an ID
// that is there already are dropped, and those that say something else reported.
func once(host string, entries []resource.Entry, marks []uint64, ds *schema.Diags) ([]resource.Entry, []uint64) {
	type keyed struct {
		id    resource.ID
		entry resource.Entry
	}
	list := make([]keyed, len(entries))
	for i, e := range entries {
		list[i] = keyed{e.State.ID(), e}
	}
	slices.SortStableFunc(list, func(a, b keyed) int { return a.id.Compare(b.id) })
	at := hostMark(host)
	out := make([]resource.Entry, 0, len(list))
	for i := range list {
		k := &list[i]
		if n := len(out); i > 0 && k.id == list[i-1].id {
			if out[n-1].State.Fingerprint() != k.entry.State.Fingerprint() {
				twoClaim(ds, k.id.String(), out[n-1], k.entry)
			}
			continue
		}
		k.entry.State = trimmed(k.entry.State)
		out = append(out, k.entry)
		marks = append(marks, at.of(string(k.id.Kind), k.id.Name))
		for _, c := range resource.Claims(k.entry.State) {
			marks = append(marks, at.of("claim", c))
		}
	}
	return out, marks
}

// trimmed gives back the room that growing lists left: fragments are kept long.
func trimmed(st resource.State) resource.State {
	if f, ok := st.(resource.Flows); ok && cap(f.Rules) > len(f.Rules)+len(f.Rules)/8 {
		f.Rules = slices.Clone(f.Rules)
		return f
	}
	return st
}

// twoClaim reports two resources that claim one thing, with both lines.
func twoClaim(ds *schema.Diags, what string, a, b resource.Entry) {
	ds.Errorf(origin(b), "two-claim-one", "two resources claim one thing: %s", what).
		See(origin(a), "asked for by %s", a.Owner).Hintf("the other is asked for by %s", b.Owner)
}

func origin(e resource.Entry) schema.Pos {
	if len(e.Origin) == 0 {
		return schema.Pos{}
	}
	return e.Origin[0]
}

// documentOf is the document whose number an owner of the lock is.
func documentOf(owner string) (schema.ID, bool) {
	if rest, ok := strings.CutPrefix(owner, "nic/"); ok {
		parts := strings.Split(rest, "/")
		if len(parts) != 3 {
			return schema.ID{}, false
		}
		return schema.ID{Kind: schema.KindVirtualMachine, Account: parts[0], Name: parts[1]}, true
	}
	id, err := schema.ParseID(owner)
	return id, err == nil
}

func compareID(a, b schema.ID) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Account, b.Account), cmp.Compare(a.Name, b.Name))
}
