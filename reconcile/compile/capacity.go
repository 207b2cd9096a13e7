package compile

import (
	"weft.dev/reconcile/model"
	"weft.dev/schema"
)

// warnAt is how much of a pool, in percent, may be used before that is said:
// CloudStack's zone.vlan.capacity.notificationthreshold, the same for public
// addresses.
const warnAt = 75

// A use is a number of a physical network or public range that a unit has, or asks
// for. number is set where several may have it: it is counted once.
type use struct {
	of     schema.ID
	number string
}

// use notes which pools of the site u has a number of, or asks for one.
func (w *worker) use(u *unit) {
	for i := range u.demands {
		d := &u.demands[i]
		switch d.Field {
		case model.FieldVNet, model.FieldSharedVNet:
			if u.net == nil || u.vpc != nil || !u.net.OfPool(d) {
				continue
			}
			x := use{of: u.net.Physical.Doc.ID()}
			if d.Shares != "" {
				x.number = d.Fixed
			}
			u.uses = append(u.uses, x)
		case model.FieldAddress, model.FieldSourceNAT, model.FieldOuter:
			value := d.Fixed
			if value == "" {
				value = w.lock.Number(d.Owner, d.Field)
			}
			if r := model.RangeOf(d.Pool, value); r != nil {
				u.uses = append(u.uses, use{of: r.Doc.ID()})
			}
		}
	}
}

// capacity warns of physical networks and public ranges that are nearly used up.
func (c *Compiler) capacity(ds *schema.Diags) {
	if len(c.used) == 0 {
		return
	}
	several := map[schema.ID]int{}
	for x := range c.used {
		if x.number != "" {
			several[x.of]++
		}
	}
	warn := func(d *schema.Document, path, what string, size uint64) {
		n := c.used[use{of: d.ID()}] + several[d.ID()]
		// More than there are is an error that the lock tells.
		if size > 0 && uint64(n)*100 >= size*warnAt && uint64(n) <= size {
			ds.Warnf(d.At(path), "capacity", "%d of %d %s of %s are used (%d %%)", n, size, what, d.Meta.Name, uint64(n)*100/size).
				Hintf("extend them before they are used up")
		}
	}
	for _, p := range c.site.Physical {
		size := uint64(0)
		for _, r := range p.Spec.VNets {
			size += uint64(r.To) - uint64(r.From) + 1
		}
		warn(p.Doc, "spec.vnets", "vnets", size)
	}
	for _, r := range c.site.Ranges {
		warn(r.Doc, "spec.ranges", "public addresses", r.Size())
	}
}
