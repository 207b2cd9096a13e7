package model

import (
	"cmp"
	"maps"
	"slices"

	"weft.dev/schema"
)

// StockFacts are those of a stock Debian 12 host: what is assumed where no host
// and no document says otherwise.
func StockFacts() Facts {
	return Facts{
		Instance: "weft", ESP: true, WireGuard: true, PPP: true, VLANDevices: true,
		OVSVersion: "3.1.0", IPTables: "nft", Assumed: true,
	}
}

// IsInfrastructure reports whether documents of that kind shape the Site.
func IsInfrastructure(kind string) bool {
	return !schema.IsTenant(kind) && kind != schema.KindPolicy
}

// BuildSite resolves the infrastructure kinds of tree. facts are what hosts said
// of themselves, by name; a host without is taken for what its document states,
// else for stock Debian. prev is the site before, or nil: parts that did not
// change are taken from it. The diagnostics are complete, not a difference.
func BuildSite(tree *schema.Tree, facts map[string]Facts, prev *Site) (*Site, schema.Diags) {
	b := &builder{tree: tree, facts: facts, prev: prev, site: &Site{
		Zones: map[string]*Zone{}, Hosts: map[string]*Host{}, Offerings: maps.Clone(builtins), VPCOfferings: maps.Clone(builtinVPCs), Accounts: map[string]*Account{},
		Ranges: map[string]*PublicRange{}, Physical: map[string]*PhysicalNetwork{}, Invalid: map[schema.ID]string{},
		pods: map[string]*schema.Document{},
	}}
	b.collect()
	b.zones()
	b.prefixes6()
	b.pods()
	b.physical()
	b.providers()
	b.vswitches()
	b.ranges()
	b.hosts()
	b.reserved()
	b.offerings()
	b.dedications()
	b.finish()
	b.diags.Sort()
	return b.site, b.diags
}

type builder struct {
	tree  *schema.Tree
	facts map[string]Facts
	prev  *Site
	site  *Site
	diags schema.Diags
	kinds map[string][]*schema.Document
	// zoneNames are in order; parts collects what a zone consists of.
	zoneNames []string
	parts     map[string]*Zone
	all       string // why no zone at all can be judged
}

// collect sorts the documents by kind and name, so that nothing depends on
// files, and notes the invalid ones.
func (b *builder) collect() {
	b.kinds = map[string][]*schema.Document{}
	for _, d := range b.tree.Documents {
		if IsInfrastructure(d.Kind) {
			b.kinds[d.Kind] = append(b.kinds[d.Kind], d)
		}
	}
	for _, docs := range b.kinds {
		slices.SortFunc(docs, func(x, y *schema.Document) int { return cmp.Compare(x.Meta.Name, y.Meta.Name) })
	}
	for _, d := range b.tree.Invalid {
		if d.Kind != "" && IsInfrastructure(d.Kind) {
			b.broken(d)
		}
	}
}

// broken notes an infrastructure document that cannot be judged. Where it could
// belong to any zone, none can be judged.
func (b *builder) broken(d *schema.Document) {
	id := d.ID()
	why := id.String() + " is invalid"
	b.site.Invalid[id] = why
	switch d.Kind {
	case schema.KindZone:
		b.zoneBroken(id.Name, why)
	case schema.KindHost, schema.KindPhysicalNetwork, schema.KindPublicIPRange, schema.KindPod:
		b.zoneBroken("", why)
	}
}

// zoneBroken notes why a zone cannot be judged, or with "" that none can.
func (b *builder) zoneBroken(zone, why string) {
	if z := b.parts[zone]; z != nil && z.Invalid == "" {
		z.Invalid = why
	} else if zone == "" && b.all == "" {
		b.all = why
	}
}

func (b *builder) zones() {
	b.parts = map[string]*Zone{}
	for _, d := range b.kinds[schema.KindZone] {
		spec, _ := d.Spec.(*schema.Zone)
		b.parts[d.Meta.Name] = &Zone{Name: d.Meta.Name, Doc: d, Spec: spec}
		b.zoneNames = append(b.zoneNames, d.Meta.Name)
	}
}

// zoneOf resolves the zone of an infrastructure document: as written, as implied
// by another reference, or the only one.
func (b *builder) zoneOf(d *schema.Document, written, implied, by string) (string, bool) {
	name, ok := pickZone(&b.diags, d, written, implied, by, b.zoneNames, b.site.Invalid)
	if !ok {
		b.site.Invalid[d.ID()] = d.ID().String() + " is in no zone"
		b.zoneBroken("", d.ID().String()+" is in no zone")
	}
	return name, ok
}

// pickZone is the rule for every `zone` that may be left out.
func pickZone(ds *schema.Diags, d *schema.Document, written, implied, by string, known []string, invalid map[schema.ID]string) (string, bool) {
	switch {
	case written != "" && !slices.Contains(known, written):
		if _, broken := invalid[schema.ID{Kind: schema.KindZone, Name: written}]; !broken {
			unknown(ds, d.At("spec.zone"), "zone", written, known)
		}
		return "", false
	case written != "" && implied != "" && written != implied:
		ds.Errorf(d.At("spec.zone"), "zone-mismatch", "%s is in zone %s, but %s is in zone %s", d.ID(), written, by, implied).
			Offending(written).Hintf("leave zone out, or write zone: %s", implied)
		return "", false
	case written != "":
		return written, true
	case implied != "":
		return implied, true
	case zoneUnread(invalid):
		return "", false // it may be the one that is meant
	case len(known) == 1:
		return known[0], true
	case len(known) == 0:
		ds.Errorf(nameOf(d), "no-zone", "%s needs a zone, and the tree has none", d.ID()).Hintf("add a document of kind Zone")
		return "", false
	}
	ds.Errorf(d.At("spec"), "ambiguous-zone", "which zone is %s in? The tree has %s", d.ID(), list(known)).
		Hintf("add zone: %s", known[0])
	return "", false
}

func zoneUnread(invalid map[schema.ID]string) bool {
	for id := range invalid {
		if id.Kind == schema.KindZone {
			return true
		}
	}
	return false
}

func (b *builder) pods() {
	for _, d := range b.kinds[schema.KindPod] {
		spec, _ := d.Spec.(*schema.Pod)
		zone, ok := b.zoneOf(d, spec.Zone, "", "")
		if !ok {
			continue
		}
		b.site.pods[d.Meta.Name] = d
		z := b.parts[zone]
		for _, other := range z.Pods {
			if o, _ := other.Spec.(*schema.Pod); o.CIDR.Overlaps(spec.CIDR) {
				b.diags.Errorf(d.At("spec.cidr"), "overlapping-cidr", "the CIDR %s of pod %s overlaps %s of pod %s", spec.CIDR, d.Meta.Name, o.CIDR, other.Meta.Name).
					Offending(spec.CIDR.String()).See(other.At("spec.cidr"), "the other pod")
			}
		}
		z.Pods = append(z.Pods, d)
	}
}

func (b *builder) physical() {
	for _, d := range b.kinds[schema.KindPhysicalNetwork] {
		spec, _ := d.Spec.(*schema.PhysicalNetwork)
		zone, ok := b.zoneOf(d, spec.Zone, "", "")
		if !ok {
			continue
		}
		p := b.prevPhysical(d, zone)
		if p == nil {
			p = &PhysicalNetwork{Name: d.Meta.Name, Doc: d, Spec: spec, Zone: zone}
			for _, t := range spec.Traffic {
				switch t.Type {
				case "Guest":
					p.Guest = t.Label
				case "Public":
					p.Public = t.Label
				case "Management":
					p.Management = t.Label
				case "Storage":
					p.Storage = t.Label
				}
			}
		}
		b.site.Physical[p.Name] = p
		b.parts[zone].Physical = append(b.parts[zone].Physical, p)
	}
}

func (b *builder) prevPhysical(d *schema.Document, zone string) *PhysicalNetwork {
	if b.prev == nil {
		return nil
	}
	if p := b.prev.Physical[d.Meta.Name]; p != nil && p.Doc == d && p.Zone == zone {
		return p
	}
	return nil
}

func (b *builder) offerings() {
	for _, d := range b.kinds[schema.KindNetworkOffering] {
		spec, _ := d.Spec.(*schema.NetworkOffering)
		name := d.Meta.Name
		for i, z := range spec.Zones {
			if b.parts[z] == nil && b.site.Invalid[schema.ID{Kind: schema.KindZone, Name: z}] == "" {
				unknown(&b.diags, d1(d, "spec.zones", i), "zone", z, b.zoneNames)
			}
		}
		o := &Offering{Name: name, Doc: d, Spec: implied(spec)}
		if b.prev != nil {
			if p := b.prev.Offerings[name]; p != nil && p.Doc == d {
				o = p
			}
		}
		b.site.Offerings[name] = o
	}
	b.vpcOfferings()
	b.accounts()
}

// vpcOfferings says in the words of network offerings what VPCs are offered.
func (b *builder) vpcOfferings() {
	for _, d := range b.kinds[schema.KindVPCOffering] {
		spec, _ := d.Spec.(*schema.VPCOffering)
		for i, z := range spec.Zones {
			if b.parts[z] == nil && b.site.Invalid[schema.ID{Kind: schema.KindZone, Name: z}] == "" {
				unknown(&b.diags, d1(d, "spec.zones", i), "zone", z, b.zoneNames)
			}
		}
		b.site.VPCOfferings[d.Meta.Name] = vpcOffering(d.Meta.Name, d, spec)
	}
}

func (b *builder) accounts() {
	b.site.Accounts[schema.SystemAccount] = systemAccount
	for _, d := range b.kinds[schema.KindAccount] {
		spec, _ := d.Spec.(*schema.Account)
		a := &Account{Name: d.Meta.Name, Doc: d, Spec: spec}
		if b.prev != nil {
			if p := b.prev.Accounts[a.Name]; p != nil && p.Doc == d {
				a = p
			}
		}
		b.site.Accounts[a.Name] = a
	}
	known := slices.Sorted(maps.Keys(b.site.Accounts))
	for _, d := range slices.Concat(b.kinds[schema.KindNetworkOffering], b.kinds[schema.KindVPCOffering]) {
		for i, a := range accountsOf(d) {
			if b.site.Accounts[a] == nil && b.site.Invalid[schema.ID{Kind: schema.KindAccount, Name: a}] == "" {
				unknown(&b.diags, d1(d, "spec.accounts", i), "account", a, known)
			}
		}
	}
}

// accountsOf are those that an offering is for.
func accountsOf(d *schema.Document) []string {
	switch spec := d.Spec.(type) {
	case *schema.NetworkOffering:
		return spec.Accounts
	case *schema.VPCOffering:
		return spec.Accounts
	}
	return nil
}

var systemAccount = &Account{Name: schema.SystemAccount, Spec: &schema.Account{Domain: "root", VNetsFallback: true, PublicIPFallback: true}}

// finish takes zones from the site before where nothing in them changed.
func (b *builder) finish() {
	for _, name := range b.zoneNames {
		z := b.parts[name]
		if z.Invalid == "" {
			z.Invalid = b.all
		}
		if b.prev != nil {
			if o := b.prev.Zones[name]; o != nil && sameZone(o, z) {
				z = o
			}
		}
		if z.wires == nil {
			z.buildWires()
		}
		b.site.Zones[name] = z
	}
}

func sameZone(a, b *Zone) bool {
	return a.Doc == b.Doc && a.Invalid == b.Invalid && slices.Equal(a.Hosts, b.Hosts) && slices.Equal(a.Physical, b.Physical) &&
		slices.Equal(a.Ranges, b.Ranges) && slices.Equal(a.Pods, b.Pods) && slices.Equal(a.Providers, b.Providers) && slices.Equal(a.dedicated, b.dedicated)
}

// ZoneNames lists the zones by name.
func (s *Site) ZoneNames() []string { return slices.Sorted(maps.Keys(s.Zones)) }
