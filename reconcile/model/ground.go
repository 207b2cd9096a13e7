package model

import (
	"slices"

	"weft.dev/schema"
)

// ground resolves what the network stands on.
func (r *resolver) ground() bool {
	ok := r.account()
	ok = r.offering() && ok
	ok = r.tier() && ok
	ok = r.zone() && ok
	if !ok || r.n.Offering == nil || !r.allowed() || !r.zoneRules() {
		return false
	}
	return r.physical()
}

func (r *resolver) account() bool {
	name := r.doc.Meta.Account
	if r.n.Account = r.site.Accounts[name]; r.n.Account != nil {
		return true
	}
	if !r.blocked(schema.KindAccount, name) {
		unknownAccount(&r.diags, r.doc.At("metadata.account"), name, r.site)
	}
	return false
}

func (r *resolver) offering() bool {
	name := r.spec.Offering
	if r.n.Offering = r.site.Offerings[name]; r.n.Offering != nil && r.site.Invalid[schema.ID{Kind: schema.KindNetworkOffering, Name: name}] == "" {
		return true
	}
	if !r.blocked(schema.KindNetworkOffering, name) {
		unknown(&r.diags, r.doc.At("spec.offering"), "offering", name, keys(r.site.Offerings))
	}
	return false
}

// zone takes the zone as written, as the physical network or the offering
// implies it, or the only one.
func (r *resolver) zone() bool {
	implied, by := "", ""
	if name := r.spec.PhysicalNetwork; name != "" {
		p := r.site.Physical[name]
		if p == nil {
			if !r.blocked(schema.KindPhysicalNetwork, name) {
				unknown(&r.diags, r.doc.At("spec.physicalNetwork"), "physical network", name, keys(r.site.Physical))
			}
			return false
		}
		implied, by = p.Zone, "physical network "+name
	} else if z := r.tierZone(); z != "" {
		implied, by = z, "VPC "+r.n.Tier.ID.Name
	} else if o := r.n.Offering; o != nil && r.spec.Zone == "" && len(o.Spec.Zones) == 1 && r.site.Zones[o.Spec.Zones[0]] != nil {
		implied, by = o.Spec.Zones[0], "offering "+o.Name
	}
	name, ok := pickZone(&r.diags, r.doc, r.spec.Zone, implied, by, r.site.ZoneNames(), r.site.Invalid)
	if !ok {
		r.blocked(schema.KindZone, r.spec.Zone)
		return false
	}
	if z := r.tierZone(); z != "" && z != name {
		r.diags.Errorf(r.doc.At("spec.physicalNetwork"), "zone-mismatch", "network %s is in zone %s, and VPC %s, of which it is a tier, in zone %s", r.n.ID.Name, name, r.n.Tier.ID.Name, z).
			Offending(r.spec.PhysicalNetwork).See(nameOf(r.n.Tier.Doc), "the VPC")
		return false
	}
	r.n.Zone = r.site.Zones[name]
	if why := r.n.Zone.Invalid; why != "" {
		r.n.Blocked = why
	}
	return true
}

// tierZone is the zone of the VPC of which the network is a tier; "" where it is none's,
// or where that is not known.
func (r *resolver) tierZone() string {
	t := r.n.Tier
	if t == nil {
		return ""
	}
	name := t.Spec.Zone
	if o := r.site.VPCOfferings[t.Spec.Offering]; name == "" && o != nil && len(o.Spec.Zones) == 1 {
		name = o.Spec.Zones[0]
	}
	if r.site.Zones[name] == nil {
		return ""
	}
	return name
}

// allowed holds the offering's own restrictions.
func (r *resolver) allowed() bool {
	o := r.n.Offering
	known := len(r.diags)
	if z := r.n.Zone; z.Disabled() && !r.numbered() {
		r.diags.Errorf(nameOf(r.doc), "zone-disabled", "zone %s is Disabled: no new %s can be in it", z.Name, r.n.word()).
			Offending(r.doc.Meta.Name).See(z.Doc.At("spec.state"), "the zone")
	}
	if o.Spec.State == stateDisabled && !r.numbered() {
		r.offeringDiag("offering-disabled", "offering %s is Disabled: no new %s can use it", o.Name, r.n.word())
	}
	if len(o.Spec.Zones) > 0 && !slices.Contains(o.Spec.Zones, r.n.Zone.Name) {
		r.offeringDiag("offering-zone", "offering %s is for zone %s, and %s is in zone %s", o.Name, list(o.Spec.Zones), r.n.what(), r.n.Zone.Name)
	}
	if len(o.Spec.Accounts) > 0 && !slices.Contains(o.Spec.Accounts, r.doc.Meta.Account) {
		r.offeringDiag("offering-account", "offering %s is for account %s, not for %s", o.Name, list(o.Spec.Accounts), r.doc.Meta.Account)
	}
	return known == len(r.diags)
}

// numbered reports whether the network, under the name it has or had, or one of its
// subnets, has the number of a broadcast domain, or the VPC a host: it is not new.
func (r *resolver) numbered() bool {
	if r.n.ID.Kind == schema.KindVPC {
		before := r.formerly(r.owner)
		return r.numbers.Number(r.owner, FieldHost) != "" || before != "" && r.numbers.Number(before, FieldHost) != ""
	}
	owners := []string{r.owner}
	for i := range r.spec.Subnets {
		owners = append(owners, "subnet/"+r.n.ID.Account+"/"+r.n.ID.Name+"/"+r.spec.Subnets[i].Name)
	}
	return slices.ContainsFunc(owners, func(o string) bool {
		if r.numbers.Number(o, FieldVNet) != "" || r.numbers.Number(o, FieldSharedVNet) != "" {
			return true
		}
		before := r.formerly(o)
		return before != "" && (r.numbers.Number(before, FieldVNet) != "" || r.numbers.Number(before, FieldSharedVNet) != "")
	})
}

func (r *resolver) offeringDiag(code, format string, args ...any) {
	d := r.diags.Errorf(r.doc.At("spec.offering"), code, format, args...).Offending(r.spec.Offering)
	if o := r.n.Offering; o.Doc != nil {
		d.See(o.Doc.At("spec"), "the offering")
	}
}

// physical finds the physical network: as written, or the only one that has the
// offering's tags, Guest traffic and the isolation that the VLAN asks for.
func (r *resolver) physical() bool {
	o, z := r.n.Offering, r.n.Zone
	if name := r.spec.PhysicalNetwork; name != "" {
		p := r.site.Physical[name]
		if why, tag := r.unfit(p); why != "" {
			d := r.diags.Errorf(r.doc.At("spec.physicalNetwork"), "physical-network-unfit", "physical network %s %s", name, why).Offending(name)
			d.See(p.Doc.At(tag), "its declaration")
			return false
		}
		r.n.Physical = p
		return r.providers()
	}
	var fit []*PhysicalNetwork
	var why []string
	for _, p := range z.Physical {
		w, _ := r.unfit(p)
		if w == "" {
			fit = append(fit, p)
			continue
		}
		why = append(why, p.Name+" "+w)
	}
	switch {
	case len(fit) == 1:
		r.n.Physical = fit[0]
		return r.providers()
	case len(fit) > 1:
		r.diags.Errorf(r.doc.At("spec"), "ambiguous-physical-network", "which physical network carries %s? %s fit", r.n.ID, list(names(fit))).
			Hintf("add physicalNetwork: %s", fit[0].Name)
	case z.Invalid == "":
		at, what := "spec.offering", "offering "+o.Name
		if u := r.spec.VLAN; !u.IsZero() {
			at, what = "spec.vlan", u.String()+" and "+what
		}
		d := r.diags.Errorf(r.doc.At(at), "no-physical-network", "no physical network of zone %s fits %s", z.Name, what)
		if len(why) > 0 {
			d.Hintf("%s", list(why))
		}
	}
	return false
}

// unfit says why p cannot carry the network, and where p says so.
func (r *resolver) unfit(p *PhysicalNetwork) (why, path string) {
	if p.Guest == "" {
		return "carries no Guest traffic", "spec.traffic"
	}
	for _, t := range r.n.Offering.Spec.Tags {
		if !slices.Contains(p.Spec.Tags, t) {
			return "lacks the tag " + t + " of offering " + r.n.Offering.Name, "spec.tags"
		}
	}
	if s := r.spec.VLAN.Scheme; s != "" && s != schema.SchemeVLAN && s != schema.SchemeNative && s != schemeOf(p) {
		return "has isolation " + p.Spec.Isolation + ", not that of " + r.spec.VLAN.String(), "spec.isolation"
	}
	return "", ""
}

func schemeOf(p *PhysicalNetwork) string {
	switch p.Spec.Isolation {
	case "VLAN":
		return schema.SchemeVLAN
	case "VXLAN":
		return schema.SchemeVXLAN
	case "GRE":
		return schema.SchemeGRE
	case "GENEVE":
		return schema.SchemeGENEVE
	case "STT":
		return schema.SchemeSTT
	}
	return ""
}

// providers holds that each service's provider is enabled on the physical network.
func (r *resolver) providers() bool {
	ok, p := true, r.n.Physical
	for _, s := range r.n.Offering.services() {
		if s.Provider == providerRouter || s.Provider == ProviderVPC {
			r.servesRouter = true
		}
		if slices.Contains(p.Spec.Providers, s.Provider) {
			continue
		}
		ok = false
		d := r.diags.Errorf(r.doc.At("spec.offering"), "provider-not-enabled", "provider %s of service %s is not enabled on physical network %s", s.Provider, s.Name, p.Name).
			Offending(r.n.Offering.Name).Hintf("add %s to providers of %s", s.Provider, p.Name)
		if o := r.n.Offering; o.Doc != nil {
			d.See(o.Doc.PosOf(s.At), "the service")
		}
		d.See(p.Doc.At("spec.providers"), "the physical network")
	}
	return ok
}
