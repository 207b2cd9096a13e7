package compile

import (
	"cmp"
	"maps"
	"slices"

	"weft.dev/reconcile/model"
	"weft.dev/schema"
)

// counted is something that a limit of its account counts.
type counted struct {
	unit *unit
	name string // of the document, for the order
	what string // "network/acme/web", or what a public address is for
	pos  schema.Pos
	held bool // it has its numbers already
}

// limits reports what accounts have beyond their limits, and holds it: it is
// neither made nor removed. What has its numbers counts before what is new, the
// rest by name, so that nothing depends on files.
func (c *Compiler) limits(ds *schema.Diags, hold func(*unit, string)) {
	for _, name := range slices.Sorted(maps.Keys(c.site.Accounts)) {
		a := c.site.Accounts[name]
		if a.Doc == nil || a.Spec.Limits == nil {
			continue
		}
		if limit := a.Spec.Limits.Networks; limit != nil {
			beyond(a, *limit, "networks", c.networksOf(name), ds, hold)
		}
		if limit := a.Spec.Limits.VPCs; limit != nil {
			beyond(a, *limit, "vpcs", c.vpcsOf(name), ds, hold)
		}
		if limit := a.Spec.Limits.PublicIPs; limit != nil {
			beyond(a, *limit, "publicIPs", c.addressesOf(name), ds, hold)
		}
	}
}

func beyond(a *model.Account, limit int, field string, list []counted, ds *schema.Diags, hold func(*unit, string)) {
	if len(list) <= limit {
		return
	}
	slices.SortStableFunc(list, func(x, y counted) int {
		if x.held != y.held {
			if x.held {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(x.name, y.name), cmp.Compare(x.what, y.what))
	})
	word := map[string]string{"networks": "networks", "publicIPs": "public addresses", "vpcs": "VPCs"}[field]
	for _, x := range list[limit:] {
		ds.Errorf(x.pos, "limit-exceeded", "%s is beyond the limit of account %s: it has %d %s and may have %d", x.what, a.Name, len(list), word, limit).
			See(a.Doc.At("spec.limits."+field), "the limit").Hintf("remove what is not used, or raise the limit")
		hold(x.unit, "account "+a.Name+" has more "+word+" than its limit")
	}
}

// unitsOf are those of one kind and account, by name.
func (c *Compiler) unitsOf(kind, account string) []*unit {
	from, _ := slices.BinarySearchFunc(c.order, schema.ID{Kind: kind, Account: account}, func(u *unit, id schema.ID) int { return compareID(u.id, id) })
	to := from
	for to < len(c.order) && c.order[to].id.Kind == kind && c.order[to].id.Account == account {
		to++
	}
	return c.order[from:to]
}

// networksOf lists what counts as network of an account: as in CloudStack the
// Isolated ones.
func (c *Compiler) networksOf(account string) []counted {
	var out []counted
	for _, u := range c.unitsOf(schema.KindNetwork, account) {
		if u.net == nil || u.net.Offering == nil || u.net.Type() != model.GuestIsolated {
			continue
		}
		held := c.input.lock.Number(u.id.String(), model.FieldVNet) != ""
		out = append(out, counted{u, u.id.Name, u.id.String(), u.net.Doc.At("metadata.name"), held})
	}
	return out
}

// addressesOf lists the public addresses of an account: as in CloudStack source
// NAT addresses too, and none of a range that is dedicated to it.
func (c *Compiler) addressesOf(account string) []counted {
	var out []counted
	for _, kind := range []string{schema.KindNetwork, schema.KindVPC, schema.KindPublicIP} {
		for _, u := range c.unitsOf(kind, account) {
			for i := range u.demands {
				d := &u.demands[i]
				if d.Field != model.FieldAddress && d.Field != model.FieldSourceNAT && d.Field != model.FieldOuter {
					continue
				}
				number := c.input.lock.Number(d.Owner, d.Field)
				if c.site.Dedicated(account, d.Pool, cmp.Or(d.Fixed, number)) {
					continue
				}
				x := counted{unit: u, name: u.id.Name, what: d.Owner, pos: c.named(u, d), held: number != ""}
				switch d.Field {
				case model.FieldSourceNAT:
					x.what = "the source NAT address of " + d.Owner
				case model.FieldOuter:
					x.what = "the address of the router of " + d.Owner
				}
				out = append(out, x)
			}
		}
	}
	return out
}

// named is where the document that asks u for a number has its name.
func (c *Compiler) named(u *unit, d *model.Demand) schema.Pos {
	if u.net == nil {
		return c.index.Loose(u.id).At("metadata.name")
	}
	for _, p := range u.net.IPs {
		if p.ID.String() == d.Owner {
			return p.Doc.At("metadata.name")
		}
	}
	return u.net.Doc.At("metadata.name")
}
