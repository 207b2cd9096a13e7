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
	vpc     *model.VPC     // whose network net is; nil for others
	guru    string         // that designed it, or ""
	diags   schema.Diags
	demands []model.Demand
	// answered: the lock has a fitting number for each demand, and none of those
	// that are unique in the unit twice.
	answered bool
	hold     *resource.Hold // why it is held by itself
	term     *resource.Term // what its annotations ask for, and whether it is idle; nil for nothing

	parts   []part // by host
	needs   map[string]*plugin.Needs
	domains []plugin.Domain
	claims  []claim
	uses    []use // numbers of physical networks and public ranges

	site siteParts
	made made
}

// A part is what a unit has on one host.
type part struct {
	host string
	// marks stand for all that it has for itself there.
	marks []uint64
	// fragment is nil on hosts that the compiler makes no intents of.
	fragment *resource.Fragment
}

// part returns that of host, or nil.
func (u *unit) part(host string) *part {
	for i := range u.parts {
		if u.parts[i].host == host {
			return &u.parts[i]
		}
	}
	return nil
}

// siteParts are what a unit stood on when it was compiled.
type siteParts struct {
	zone     *model.Zone
	offering *model.Offering
	account  *model.Account
	guests   []*model.Account
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
		site.Accounts[p.account.Name] == p.account && (p.zones == "" || p.zones == zoneNames(site)) &&
		!slices.ContainsFunc(p.guests, func(a *model.Account) bool { return site.Accounts[a.Name] != a })
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
	designer
	site  *model.Site
	index *model.Index
	lock  *alloc.Lock
	zones string
	only  map[string]bool // see Compiler
}

// unit compiles id, or returns nil when no document declares it.
func (w *worker) unit(id schema.ID) *unit {
	u := &unit{id: id, owner: resource.Owner(id.String())}
	switch id.Kind {
	case schema.KindPublicIP:
		return w.reserved(u, w.index.Loose(id))
	case schema.KindSecurityGroup:
		return w.group(u, w.index.Group(id))
	}
	d := w.index.Network(id)
	if d == nil {
		return nil
	}
	if id.Kind == schema.KindVPC {
		u.vpc, u.diags = model.ResolveVPC(w.site, w.index, d, w.lock)
		u.net = &u.vpc.Network
	} else {
		u.net, u.diags = model.Resolve(w.site, w.index, d, w.lock)
	}
	n := u.net
	u.demands = n.Demands
	u.site = siteParts{all: w.site}
	if n.Physical != nil && !u.diags.HasErrors() && n.Blocked == "" && !n.Wide && n.Tier == nil {
		u.site = siteParts{zone: n.Zone, offering: n.Offering, account: n.Account, guests: n.Guests}
		if n.Spec.Zone == "" {
			u.site.zones = w.zones
		}
	}
	u.hold = holdOf(u.owner, n, u.diags)
	w.claim(u)
	w.use(u)
	w.design(u)
	u.term = termOf(u)
	return u
}

// reserved compiles a public address without network: it has numbers only.
func (w *worker) reserved(u *unit, d *schema.Document) *unit {
	if d == nil {
		return nil
	}
	u.site.all = w.site
	demand, ok, diags := model.ResolveReserved(w.site, d)
	u.diags = diags
	model.CheckAttached(w.index, d.ID(), &u.diags)
	if ok {
		u.demands = []model.Demand{demand}
		w.claim(u)
		w.use(u)
	}
	return u
}

// group judges a security group: nothing on a host is its own.
func (w *worker) group(u *unit, d *schema.Document) *unit {
	if d == nil {
		return nil
	}
	u.site.all = w.site
	u.diags = model.CheckGroup(w.site, w.index, d)
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
	if draft := w.draft(u); draft != nil {
		w.take(u, draft)
	}
}

// designer lets plugins say what networks are made of.
type designer struct{ registry *plugin.Registry }

// draft is what the plugins ask for, nil where nobody designs the network. What
// they refuse is reported in u.
func (w designer) draft(u *unit) *plugin.Draft {
	draft := plugin.NewDraft(u.owner, u.net.Doc.Pos)
	if u.vpc != nil {
		return w.cloud(u, draft)
	}
	if !w.topology(u, u.net, draft) {
		return nil
	}
	w.services(u, u.net, draft)
	return draft
}

// topology asks the one guru that handles n, and that of the public leg.
func (w designer) topology(u *unit, n *model.Network, draft *plugin.Draft) bool {
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
	u.guru = guru.Name()
	guru.Design(n, draft)
	return w.legs(u, n, draft)
}

// legs asks for what joins n's router to public networks.
func (w designer) legs(u *unit, n *model.Network, draft *plugin.Draft) bool {
	if n.Router == nil || !n.Router.Outside() {
		return true
	}
	if w.registry.Public == nil {
		w.refuse(u, n, "no-guru", "no guru of this weft designs public networks")
		return false
	}
	if no := w.registry.Public.CanServe(n.Router); no != "" {
		w.refuse(u, n, "no-guru", "the public network of "+n.ID.String()+" can not be designed: "+w.registry.Public.Name()+" declines: "+no)
		return false
	}
	w.registry.Public.DesignLegs(n.Router, draft)
	return true
}

func (w designer) noGuru(u *unit, n *model.Network, accept, why []string) {
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
func (w designer) refuse(u *unit, n *model.Network, code, message string) {
	u.diags.Errorf(n.Doc.At("spec.offering"), code, "%s", message).Offending(n.Spec.Offering)
	u.held()
}

// held holds u because of its diagnostics.
func (u *unit) held() {
	u.hold = holdOf(u.owner, u.net, u.diags)
	u.needs, u.domains, u.parts = nil, nil, nil
}

// services asks the element of each provider in the offering.
func (w designer) services(u *unit, n *model.Network, draft *plugin.Draft) {
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
func (w *worker) take(u *unit, draft *plugin.Draft) {
	u.diags = append(u.diags, draft.Diags...)
	if u.diags.HasErrors() {
		u.held()
		return
	}
	u.needs, u.domains = draft.Needs, draft.Domains
	u.parts = make([]part, 0, len(draft.Hosts))
	for _, name := range slices.Sorted(maps.Keys(draft.Hosts)) {
		entries := resource.Fold(draft.Hosts[name], claimTwice(&u.diags))
		p := part{host: name}
		switch {
		case w.only == nil:
			p.fragment = entries.Fragment(u.owner).Thin(func() []resource.Entry { return u.made.on(w.designer, u, name) })
		case w.only[name]:
			trim(entries.Entries())
			p.fragment = entries.Fragment(u.owner)
		default:
			p.marks = entries.Marks()
		}
		if p.fragment != nil {
			p.marks = p.fragment.Marks()
		}
		u.parts = append(u.parts, p)
	}
	if u.diags.HasErrors() {
		u.held()
	}
}

// trim gives back the room that growing lists left: these entries are kept long.
func trim(entries []resource.Entry) {
	for i := range entries {
		if f, ok := entries[i].State.(resource.Flows); ok && cap(f.Rules) > len(f.Rules)+len(f.Rules)/8 {
			f.Rules = slices.Clone(f.Rules)
			entries[i].State = f
		}
	}
}

// claimTwice reports entries of one ID that say something else.
func claimTwice(ds *schema.Diags) func(first, again resource.Entry) {
	return func(first, again resource.Entry) {
		if first.State.Fingerprint() != again.State.Fingerprint() {
			twoClaim(ds, first.State.ID().String(), first, again)
		}
	}
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
	if rest, ok := strings.CutPrefix(owner, "subnet/"); ok {
		i := strings.LastIndexByte(rest, '/')
		if i < 0 {
			return schema.ID{}, false
		}
		owner = "network/" + rest[:i]
	}
	id, err := schema.ParseID(owner)
	return id, err == nil
}

func compareID(a, b schema.ID) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Account, b.Account), cmp.Compare(a.Name, b.Name))
}
