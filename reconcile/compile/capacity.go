package compile

import (
	"strconv"

	"weft.dev/reconcile/model"
	"weft.dev/schema"
)

// warnAt is how much of a pool, in percent, may be used before that is said:
// CloudStack's zone.vlan.capacity.notificationthreshold, the same for public
// addresses.
const warnAt = 75

// use notes which pools of the site u has a number of, or asks for one.
func (w *worker) use(u *unit) {
	for i := range u.demands {
		d := &u.demands[i]
		switch d.Field {
		case model.FieldVNet:
			if u.net == nil || u.net.Physical == nil {
				continue
			}
			id, ok := number(d.Fixed)
			if d.Fixed == "" || ok && within(u.net.Physical.Spec.VNets, id) {
				u.uses = append(u.uses, u.net.Physical.Doc.ID())
			}
		case model.FieldAddress, model.FieldSourceNAT:
			value := d.Fixed
			if value == "" {
				value = w.lock.Number(d.Owner, d.Field)
			}
			if r := model.RangeOf(d.Pool, value); r != nil {
				u.uses = append(u.uses, r.Doc.ID())
			}
		}
	}
}

func number(v string) (uint32, bool) {
	n, err := strconv.ParseUint(v, 10, 32)
	return uint32(n), err == nil
}

func within(ranges []schema.IDRange, id uint32) bool {
	for _, r := range ranges {
		if r.From <= id && id <= r.To {
			return true
		}
	}
	return false
}

// capacity warns of physical networks and public ranges that are nearly used up.
func (c *Compiler) capacity(ds *schema.Diags) {
	if len(c.used) == 0 {
		return
	}
	warn := func(d *schema.Document, path, what string, size uint64) {
		n := c.used[d.ID()]
		if size > 0 && uint64(n)*100 >= size*warnAt {
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
