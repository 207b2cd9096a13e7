package compile

import (
	"cmp"
	"maps"
	"slices"

	"weft.dev/reconcile/model"
	"weft.dev/schema"
)

// maxNamed is how far is looked for a free number to name.
const maxNamed = 4096

// dedicated reports networks that state a number of a common pool while their
// account has free ones of its own, which come first, and holds them. As in
// CloudStack what has its number stays, whatever becomes free later.
func (c *Compiler) dedicated(ds *schema.Diags, hold func(*unit, string)) {
	for _, name := range slices.Sorted(maps.Keys(c.site.Accounts)) {
		a := c.site.Accounts[name]
		for _, physical := range slices.Sorted(maps.Keys(a.Spec.VNets)) {
			c.dedicatedOf(a, physical, ds, hold)
		}
	}
}

// dedicatedOf does so for the numbers of one physical network.
func (c *Compiler) dedicatedOf(a *model.Account, physical string, ds *schema.Diags, hold func(*unit, string)) {
	type stated struct {
		unit   *unit
		demand *model.Demand
	}
	var strays []stated
	var own model.Pool
	taken := map[string]bool{} // of own
	asked := uint64(0)         // without number yet: those that own has are given first
	for _, u := range c.unitsOf(schema.KindNetwork, a.Name) {
		if u.net == nil || u.net.Physical == nil || u.net.Physical.Name != physical {
			continue
		}
		for i := range u.demands {
			d := &u.demands[i]
			pool := u.net.Preferred(d)
			if pool == nil {
				continue
			}
			own = pool
			switch number := c.input.lock.Number(d.Owner, d.Field); {
			case pool.Contains(cmp.Or(d.Fixed, number)):
				taken[cmp.Or(d.Fixed, number)] = true
			case d.Fixed != "" && d.Fixed != number:
				strays = append(strays, stated{u, d})
			case number == "":
				asked++
			}
		}
	}
	if len(strays) == 0 || uint64(len(taken))+asked >= own.Size() {
		return
	}
	for _, x := range strays {
		d := ds.Errorf(x.demand.Pos, "vnet-common", "%s is common, and account %s has %d of its own on physical network %s that are free: they come first", x.demand.Fixed, a.Name, own.Size()-uint64(len(taken))-asked, physical).
			Offending(x.demand.Fixed).See(a.Doc.At("spec.vnets."+physical), "dedicated to the account")
		for i := range min(own.Size(), maxNamed) {
			if v := own.At(i); !taken[v] {
				d.Hintf("state such as %s, or one that is not in vnets of %s", v, physical)
				break
			}
		}
		hold(x.unit, "account "+a.Name+" has free numbers of its own, and "+x.demand.Owner+" states a common one")
	}
}
