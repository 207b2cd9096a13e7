package model

import "weft.dev/schema"

// tierSide asks for what the VPC's router has in this tier. Where the router is, its
// VPC's number says.
func (r *resolver) tierSide(s *Segment) {
	n := r.n
	side := &Side{Name: n.ID.Name, Network: n, Segment: s, IP: n.Gateway}
	r.guestLeg(side)
	vpc := n.Tier.ID.String()
	host := r.site.Hosts[r.numbers.Number(vpc, FieldHost)]
	if host == nil || host.Zone != n.Zone.Name || host.Bridge(n.Physical.Guest) == nil {
		n.Missing = append(n.Missing, Demand{Owner: vpc, Field: FieldHost, Pos: n.Tier.Doc.Pos})
		return
	}
	if len(n.Missing) > 0 || r.diags.HasErrors() {
		return
	}
	side.Router = &Router{ID: n.Tier.ID, Doc: n.Tier.Doc, Zone: n.Zone, Host: host}
	nameVPC(side.Router)
	nameSide(side, host.Facts.Instance)
	if r.redundant() {
		second := r.site.Hosts[r.numbers.Number(vpc, FieldHost2)]
		if second == nil || second == host || second.Zone != n.Zone.Name || second.Bridge(n.Physical.Guest) == nil {
			n.Missing = append(n.Missing, Demand{Owner: vpc, Field: FieldHost2, Pos: n.Tier.Doc.Pos})
			return
		}
		side.Router.Sides = []*Side{side}
		side.Router.join(second, 0, 0, nameVPC)
	}
	s.Side = side
}

// tier finds the VPC that the network is a tier of; false where it is not known.
func (r *resolver) tier() bool {
	ref := r.spec.VPC
	if o := r.n.Offering; o != nil && o.Spec.ForVPC != !ref.IsZero() {
		why := "is for tiers of VPCs, and network %s states no vpc"
		if !ref.IsZero() {
			why = "is not for tiers of VPCs, and network %s is one"
		}
		r.offeringDiag("tier-offering", "offering %s "+why, o.Name, r.n.ID.Name)
		return false
	}
	if ref.IsZero() {
		return true
	}
	id := schema.ID{Kind: schema.KindVPC, Account: ref.Or(r.doc.Meta.Account), Name: ref.Name}
	doc := r.index.VPC(id)
	if doc == nil {
		r.n.Blocked = id.String() + " does not exist" // which is reported where all that name it are
		if r.index.unread[id] {
			r.n.Blocked = id.String() + " is invalid"
		}
		return false
	}
	if id.Account != r.doc.Meta.Account {
		r.diags.Errorf(r.doc.At("spec.vpc"), "not-shared", "VPC %s is of account %s, and network %s of account %s", id.Name, id.Account, r.n.ID.Name, r.doc.Meta.Account).
			Offending(ref.String()).See(nameOf(doc), "the VPC")
		return false
	}
	spec, _ := doc.Spec.(*schema.VPC)
	r.n.Tier = &Tier{ID: id, Doc: doc, Spec: spec}
	return r.subset()
}

// subset holds that a tier takes what concerns the world and the ACL from nobody but
// the VPC.
func (r *resolver) subset() bool {
	vpc := r.site.VPCOfferings[r.n.Tier.Spec.Offering]
	if vpc == nil || r.n.Offering == nil {
		return true // reported there
	}
	ok, has := r.sameMode(vpc), map[string]string{}
	for _, s := range vpc.services() {
		has[s.Name] = s.Provider
	}
	for _, s := range r.n.Offering.services() {
		switch s.Name {
		case "Dhcp", "Dns", "Gateway", "UserData":
			continue
		case "Lb":
			if has[s.Name] != "" { // public and internal ones have different providers
				continue
			}
		}
		if has[s.Name] != s.Provider {
			ok = false
			r.offeringDiag("tier-services", "offering %s has %s of %s, which offering %s of VPC %s has not", r.n.Offering.Name, s.Name, s.Provider, vpc.Name, r.n.Tier.ID.Name)
		}
	}
	return ok
}

// sameMode holds that a tier is as its VPC, whose router translates for all or none.
func (r *resolver) sameMode(vpc *Offering) bool {
	was := len(r.diags)
	tier, all := r.n.Offering.Spec, vpc.Spec
	for _, x := range []struct{ field, tier, vpc string }{
		{"networkMode", tier.NetworkMode, all.NetworkMode}, {"routingMode", tier.RoutingMode, all.RoutingMode},
	} {
		if x.tier != x.vpc {
			r.offeringDiag("tier-mode", "offering %s has %s %s, and offering %s of VPC %s %s", r.n.Offering.Name, x.field, x.tier, vpc.Name, r.n.Tier.ID.Name, x.vpc)
			break
		}
	}
	return len(r.diags) == was
}

// tierCIDR holds that tiers are parts of the VPC that have nothing in common.
func (r *resolver) tierCIDR(v *VPC, t *Network) {
	if !v.CIDR.Contains(t.CIDR.Addr()) || t.CIDR.Bits() < v.CIDR.Bits() {
		r.diags.Errorf(t.Doc.At("spec.cidr"), "outside-cidr", "%s of tier %s is not within %s of VPC %s", t.CIDR, t.ID.Name, v.CIDR, v.ID.Name).
			Offending(t.CIDR.String()).See(r.doc.At("spec.cidr"), "the VPC")
	}
	for _, o := range v.Tiers {
		if o.CIDR.Overlaps(t.CIDR) {
			r.diags.Errorf(t.Doc.At("spec.cidr"), "overlapping-cidr", "%s of tier %s overlaps %s of tier %s", t.CIDR, t.ID.Name, o.CIDR, o.ID.Name).
				Offending(t.CIDR.String()).See(o.Doc.At("spec.cidr"), "the other tier")
		}
	}
}
