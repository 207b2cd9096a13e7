package model

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"weft.dev/schema"
)

// ctZones has the zones of connection tracking: 16 bits, 0 is what the host uses itself.
type ctZones struct{ zone string }

func (p ctZones) Space() string    { return "connection tracking zone in " + p.zone }
func (p ctZones) Describe() string { return p.Space() }
func (p ctZones) Size() uint64     { return 1<<16 - 1 }
func (p ctZones) At(i uint64) string {
	return number(uint32(i + 1))
}

func (p ctZones) Contains(v string) bool {
	n, ok := parseID(v)
	return ok && 0 < n && n < 1<<16 && number(n) == v
}

// Grouped reports whether the network has security groups.
func (n *Network) Grouped() bool { return n.Offering != nil && n.Offering.grouped() }

func (o *Offering) grouped() bool { return o.Spec.Services.SecurityGroup != nil }

// groups resolves the security groups of the NICs.
func (r *resolver) groups() {
	if !r.n.Grouped() {
		for _, n := range r.n.NICs {
			if len(n.Spec.SecurityGroups) > 0 {
				r.diags.Errorf(groupPath(n, schema.ID{}), "no-security-groups", "network %s has no security groups: offering %s lacks the service SecurityGroup", r.n.ID.Name, r.n.Offering.Name).
					See(nameOf(r.doc), "the network").Hintf("leave securityGroups out, or use an offering with the service")
			}
		}
		return
	}
	if z := r.n.Zone; !z.Spec.SecurityGroups && z.Spec.NetworkType != "Basic" {
		r.diags.Errorf(r.doc.At("spec.offering"), "zone-without-groups", "offering %s has the service SecurityGroup, and zone %s has no security groups", r.n.Offering.Name, z.Name).
			Offending(r.spec.Offering).See(z.Doc.At("spec"), "the zone").Hintf("security groups are for zones with securityGroups: true")
		return
	}
	if v := r.demand(Demand{Owner: r.owner, Field: FieldCTZone, Pool: ctZones{r.n.Zone.Name}, Pos: r.doc.Pos}); v != "" {
		n, _ := parseID(v)
		r.n.CTZone = uint16(n)
	}
	g := grouper{r: r, made: map[string]*Groups{}, members: map[schema.ID][]netip.Prefix{}, fit: map[schema.ID]bool{}}
	for _, n := range r.n.NICs {
		n.Groups = g.of(n)
	}
}

// groupPath is where a NIC names a group; without one, where it would.
func groupPath(n *NIC, id schema.ID) schema.Pos {
	for i := range n.VMSpec.NICs {
		if &n.VMSpec.NICs[i] != n.Spec {
			continue
		}
		for j, ref := range n.Spec.SecurityGroups {
			if groupID(n.VM, ref) == id {
				return n.VM.At(path2("spec.nics", i, "securityGroups", j))
			}
		}
		return d2(n.VM, "spec.nics", i, "securityGroups")
	}
	return n.Pos
}

// A grouper resolves the groups of one network's NICs.
type grouper struct {
	r       *resolver
	made    map[string]*Groups
	members map[schema.ID][]netip.Prefix
	fit     map[schema.ID]bool // networks whose NICs may be members
}

// of resolves the groups of a NIC. Where something is wrong with them the network is
// held, and the result means nothing.
func (g *grouper) of(n *NIC) *Groups {
	ids := groupsOf(n.VM, n.Spec)
	slices.SortFunc(ids, compareID)
	docs := make([]*schema.Document, 0, len(ids))
	key := ""
	for _, id := range ids {
		d := g.r.index.Group(id)
		switch {
		case d == nil && g.r.index.unread[id]:
			g.r.block(id.String() + " is invalid")
		case d == nil && len(n.Spec.SecurityGroups) == 0: // CloudStack's own default
		case d == nil:
			g.r.index.unknownGroup(&g.r.diags, groupPath(n, id), id, n.VM.Meta.Account)
		case !g.r.site.mayUse(d, n.VM.Meta.Account):
			g.r.diags.Errorf(groupPath(n, id), "not-shared", "security group %s of account %s is not shared with account %s", id.Name, id.Account, n.VM.Meta.Account).
				Offending(id.Account+"/"+id.Name).See(nameOf(d), "the group").Hintf("add the account to its sharedWith")
		default:
			docs = append(docs, d)
			key += " " + id.Account + "/" + id.Name
		}
	}
	key = strings.TrimPrefix(key, " ")
	if g.made[key] == nil {
		g.made[key] = g.resolve(key, docs)
	}
	return g.made[key]
}

// block notes that the network cannot be judged.
func (r *resolver) block(why string) {
	if r.n.Blocked == "" {
		r.n.Blocked = why
	}
}

func (g *grouper) resolve(key string, docs []*schema.Document) *Groups {
	out := &Groups{Key: key, Open: true}
	for _, d := range docs {
		if d.Meta.Suspended() && g.r.n.Suspended == "" {
			g.r.n.Suspended = "suspended by " + schema.AnnotationSuspend + " of " + d.ID().String()
		}
		spec, _ := d.Spec.(*schema.SecurityGroup)
		for i := range spec.Ingress {
			x := &spec.Ingress[i]
			out.Ingress = append(out.Ingress, g.rule(d, x.Name, x.At, x.Protocol, x.Ports, x.ICMPType, x.ICMPCode, x.Sources, x.Groups))
		}
		for i := range spec.Egress {
			x := &spec.Egress[i]
			out.Open = false
			out.Egress = append(out.Egress, g.rule(d, x.Name, x.At, x.Protocol, x.Ports, x.ICMPType, x.ICMPCode, x.Destinations, x.Groups))
		}
	}
	byName := func(a, b GroupRule) int { return cmp.Compare(a.Name, b.Name) }
	slices.SortFunc(out.Ingress, byName)
	slices.SortFunc(out.Egress, byName)
	return out
}

func (g *grouper) rule(d *schema.Document, name string, at schema.Pos32, protocol string, ports schema.Ports, typ, code *int, peers []netip.Prefix, refs []schema.Ref) GroupRule {
	out := GroupRule{
		Name: d.Meta.Account + "/" + d.Meta.Name + "/" + name, Ports: ports, ICMPType: AllTypes, ICMPCode: AllTypes, Pos: d.PosOf(at),
	}
	out.Proto, _ = schema.GroupProtocol(protocol)
	if typ != nil {
		out.ICMPType = *typ
	}
	if code != nil {
		out.ICMPCode = *code
	}
	for _, p := range peers {
		out.Stated = append(out.Stated, p.Masked())
	}
	out.Peers = slices.Clone(out.Stated)
	for _, ref := range refs {
		id := groupID(d, ref)
		switch named := g.r.index.Group(id); {
		case named == nil && g.r.index.unread[id]:
			g.r.block(id.String() + " is invalid")
		case named == nil || !g.r.site.mayUse(named, d.Meta.Account):
			g.r.block(d.ID().String() + " names a group that it may not")
		default:
			out.Named = append(out.Named, id.Account+"/"+id.Name)
			out.Peers = append(out.Peers, g.addresses(id, named)...)
		}
	}
	out.Peers = tidy(out.Peers)
	return out
}

// addresses are those of the running NICs in a group, in all networks of the zone
// that have security groups: elsewhere nobody keeps a NIC from using others.
func (g *grouper) addresses(id schema.ID, doc *schema.Document) []netip.Prefix {
	g.r.n.Wide = true
	if out, ok := g.members[id]; ok {
		return out
	}
	var out []netip.Prefix
	for d := range g.r.index.groups.vms[id] {
		spec, _ := d.Spec.(*schema.VirtualMachine)
		if spec.State != "Running" || !g.r.site.mayUse(doc, d.Meta.Account) {
			continue
		}
		for i := range spec.NICs {
			n := &spec.NICs[i]
			if slices.Contains(groupsOf(d, n), id) && g.fits(refID(d, n.Network)) {
				out = append(out, g.r.addressesOf(d, n)...)
			}
		}
	}
	out = tidy(out)
	g.members[id] = out
	return out
}

// addressesOf are what a NIC of any network has.
func (r *resolver) addressesOf(d *schema.Document, n *schema.NIC) []netip.Prefix {
	var out []netip.Prefix
	add := func(a netip.Addr) {
		if a.IsValid() {
			out = append(out, netip.PrefixFrom(a, a.BitLen()))
		}
	}
	owner := "nic/" + d.Meta.Account + "/" + d.Meta.Name + "/" + n.NICName()
	ip := n.IP
	if !ip.IsValid() {
		ip = addrOf(r.numbers.Number(owner, FieldIP))
	}
	add(ip)
	add(r.member6(d, n, owner, ip))
	for _, a := range n.SecondaryIPs {
		add(a)
	}
	return out
}

// fits reports whether the network has security groups and is in the zone.
func (g *grouper) fits(id schema.ID) bool {
	if id == g.r.n.ID {
		return true
	}
	if fit, ok := g.fit[id]; ok {
		return fit
	}
	fit := false
	if d := g.r.index.Network(id); d != nil {
		spec, _ := d.Spec.(*schema.Network)
		r := resolver{site: g.r.site, index: g.r.index, n: &Network{ID: id, Doc: d, Spec: spec}, doc: d, spec: spec, numbers: g.r.numbers}
		fit = r.offering() && r.zone() && r.n.Zone == g.r.n.Zone && r.n.Grouped()
	}
	g.fit[id] = fit
	return fit
}

// mayUse reports whether account may have NICs in group d, or name it in rules.
func (s *Site) mayUse(d *schema.Document, account string) bool {
	spec, _ := d.Spec.(*schema.SecurityGroup)
	a := s.Accounts[account]
	return account == d.Meta.Account || a != nil && SharedWith(&schema.Network{SharedWith: spec.SharedWith}, a)
}

// unknownGroup reports a group that no document has, as account writes it.
func (x *Index) unknownGroup(ds *schema.Diags, at schema.Pos, id schema.ID, account string) {
	before := ""
	if id.Account != account {
		before = id.Account + "/"
	}
	var known []string
	if x.groups != nil {
		for other := range x.groups.docs {
			if other.Account == id.Account {
				known = append(known, before+other.Name)
			}
		}
	}
	slices.Sort(known)
	d := unknown(ds, at, "security group", before+id.Name, known)
	if len(known) == 0 {
		d.Hintf("account %s has no security group", id.Account)
	}
}

// CheckGroup reports what is wrong with a security group, whoever uses it.
func CheckGroup(site *Site, x *Index, d *schema.Document) schema.Diags {
	var ds schema.Diags
	spec, _ := d.Spec.(*schema.SecurityGroup)
	if site.Accounts[d.Meta.Account] == nil && site.Invalid[schema.ID{Kind: schema.KindAccount, Name: d.Meta.Account}] == "" {
		unknown(&ds, d.At("metadata.account"), "account", d.Meta.Account, keys(site.Accounts)).
			Hintf("add a document of kind Account named %s", d.Meta.Account)
	}
	for i, with := range spec.SharedWith {
		if with != "*" && !strings.HasPrefix(with, "domain/") && site.Accounts[with] == nil && site.Invalid[schema.ID{Kind: schema.KindAccount, Name: with}] == "" {
			unknown(&ds, d1(d, "spec.sharedWith", i), "account", with, keys(site.Accounts))
		}
	}
	refs := func(list string, rule int, refs []schema.Ref) {
		for j, ref := range refs {
			id, at := groupID(d, ref), d.At(path2(list, rule, "groups", j))
			switch named := x.Group(id); {
			case named == nil && !x.unread[id]:
				x.unknownGroup(&ds, at, id, d.Meta.Account)
			case named != nil && !site.mayUse(named, d.Meta.Account):
				ds.Errorf(at, "not-shared", "security group %s of account %s is not shared with account %s", id.Name, id.Account, d.Meta.Account).
					Offending(ref.String()).See(nameOf(named), "the group").Hintf("add the account to its sharedWith")
			}
		}
	}
	for i := range spec.Ingress {
		refs("spec.ingress", i, spec.Ingress[i].Groups)
	}
	for i := range spec.Egress {
		refs("spec.egress", i, spec.Egress[i].Groups)
	}
	return ds
}
