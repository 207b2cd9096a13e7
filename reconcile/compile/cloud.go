package compile

import (
	"maps"
	"slices"

	"weft.dev/reconcile/model"
	"weft.dev/reconcile/plugin"
	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

// cloud lets the plugins say what a VPC is made of beside its tiers: what joins its
// router to networks that are not theirs, and the router.
func (w designer) cloud(u *unit, draft *plugin.Draft) *plugin.Draft {
	if u.net.Router == nil {
		return draft
	}
	if !w.legs(u, u.net, draft) {
		return nil
	}
	for _, e := range w.registry.Elements {
		if x, ok := e.(plugin.VPCElement); ok {
			x.ImplementVPC(u.vpc, draft)
		}
	}
	return draft
}

// joined adds to dirty the VPCs whose tiers are in it: what a tier is, its VPC's router
// depends on.
func (c *Compiler) joined(dirty map[schema.ID]bool) {
	for id := range maps.Clone(dirty) {
		if id.Kind != schema.KindNetwork {
			continue
		}
		if d := c.index.Network(id); d != nil {
			if vpc, ok := model.VPCOf(d); ok {
				dirty[vpc] = true
			}
		}
	}
}

// clouds holds the VPCs of held tiers: their routers stay as they are too.
func (c *Compiler) clouds(t *toucher) {
	for id, u := range c.units {
		if u.net == nil || u.net.Tier == nil {
			continue
		}
		vpc := u.net.Tier.ID
		if v, held := t.holds[id]; held {
			t.hold(vpc, v.reason)
		} else if u.hold != nil && u.hold.Cause != resource.HoldSuspended {
			t.hold(vpc, "tier "+id.Name+" is held: "+u.hold.Reason)
		}
	}
}

// cloud holds the VPCs that d, which cannot be judged, may be of: those that it names,
// else all of its account.
func (t *toucher) cloud(d *schema.Document, why string) {
	all, known := t.vpcs[d.Meta.Account]
	if !known { // a mistake may be in every document
		all = t.compiler.index.VPCs(d.Meta.Account)
		t.vpcs[d.Meta.Account] = all
	}
	if len(all) == 0 {
		return
	}
	var named []schema.ID
	if d.Spec == nil {
		text := t.spelling(d)
		named = slices.DeleteFunc(slices.Clone(all), func(id schema.ID) bool { return !text.words[id.Name] || text.unclear })
	} else if id, ok := model.VPCOf(d); ok && t.compiler.units[id] != nil {
		named = []schema.ID{id}
	}
	if len(named) == 0 {
		if d.Kind == schema.KindNetwork && !t.tier(d) {
			return
		}
		named = all
	}
	for _, id := range named {
		t.hold(id, why)
	}
}

// tier reports whether d, which cannot be read, was a tier: its side of the router has a
// number, and the router, which is another's, has not.
func (t *toucher) tier(d *schema.Document) bool {
	owner := d.ID().String()
	return d.Spec != nil || t.lock.Number(owner, model.FieldGuestMAC) != "" && t.lock.Number(owner, model.FieldHost) == ""
}

// VPCs lists the VPCs by ID, the held ones as far as they are known.
func (r *Result) VPCs() []*model.VPC {
	var out []*model.VPC
	for _, u := range r.units {
		if u.vpc != nil {
			out = append(out, u.vpc)
		}
	}
	return out
}

// VPC returns one VPC, or nil.
func (r *Result) VPC(id schema.ID) *model.VPC {
	if u := r.unit(id); u != nil {
		return u.vpc
	}
	return nil
}

// vpcsOf lists the VPCs of an account, as its limit counts them.
func (c *Compiler) vpcsOf(account string) []counted {
	var out []counted
	for _, u := range c.unitsOf(schema.KindVPC, account) {
		held := c.input.lock.Number(u.id.String(), model.FieldHost) != ""
		out = append(out, counted{u, u.id.Name, u.id.String(), u.net.Doc.At("metadata.name"), held})
	}
	return out
}

// castVPC adds what a held VPC's router may need of its host.
func (c *Compiler) castVPC(d *schema.Document, gates []*schema.Document, out map[string][]*plugin.Needs) {
	p := c.registry.Public
	if p == nil {
		return
	}
	for _, x := range model.VPCShadows(c.site, c.index, d, gates, c.input.lock) {
		if p.CanServe(x) != "" {
			continue
		}
		draft := plugin.NewDraft(resource.Owner(d.ID().String()), d.Pos)
		p.DesignLegs(x, draft)
		draft.Need(x.Host.Name).Routers = true
		for host, needs := range draft.Needs {
			out[host] = append(out[host], needs)
		}
	}
}
