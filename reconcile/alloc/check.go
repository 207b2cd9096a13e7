package alloc

import (
	"fmt"

	"weft.dev/reconcile/model"
	"weft.dev/schema"
)

// maxStale is how many stale entries Check reports one by one.
const maxStale = 20

// Check reports what weft lock would change, as errors.
func Check(demands []model.Demand, lock *Lock) schema.Diags {
	if lock == nil {
		lock = Empty()
	}
	if fresh(demands, lock) {
		return nil
	}
	_, report, ds := Allocate(demands, lock, Options{still: true})
	pos := make(map[Entry]schema.Pos, len(report.Allocated))
	if len(report.Allocated) <= maxStale {
		for _, d := range demands {
			pos[Entry{Owner: d.Owner, Field: d.Field}] = d.Pos
		}
	}
	stale := func(n int, at func(i int) (schema.Pos, string)) {
		for i := range min(n, maxStale) {
			p, text := at(i)
			ds.Errorf(p, "stale-lock", "%s", text).Hintf("run weft lock and commit %s", lock.file)
		}
	}
	all := schema.Pos{File: lock.file}
	if n := len(report.Allocated); n > maxStale {
		ds.Errorf(all, "stale-lock", "%s lacks %d numbers", lock.file, n).Hintf("run weft lock and commit %s", lock.file)
	} else {
		stale(n, func(i int) (schema.Pos, string) {
			e := report.Allocated[i]
			return pos[Entry{Owner: e.Owner, Field: e.Field}], fmt.Sprintf("%s has no %s for %s", lock.file, e.Field, e.Owner)
		})
	}
	stale(len(report.Changed), func(i int) (schema.Pos, string) {
		c := report.Changed[i]
		return lock.Pos(c.Owner, c.Field, c.From), fmt.Sprintf("%s of %s is now %s, not %s", c.Field, c.Owner, c.Value, c.From)
	})
	stale(len(report.Released), func(i int) (schema.Pos, string) {
		e := report.Released[i]
		return lock.Pos(e.Owner, e.Field, e.Value), fmt.Sprintf("nothing needs %s %s of %s any more", e.Field, e.Value, e.Owner)
	})
	for _, r := range []struct {
		n    int
		what string
	}{{len(report.Changed), "changed"}, {len(report.Released), "unneeded"}} {
		if r.n > maxStale {
			ds.Errorf(all, "stale-lock", "%s has %d %s entries in all", lock.file, r.n, r.what).Hintf("run weft lock and commit %s", lock.file)
		}
	}
	ds.Sort()
	return ds
}

// fresh reports whether lock has just what demands ask for, which is far quicker
// to see than what would change.
func fresh(demands []model.Demand, lock *Lock) bool {
	if !lock.Holds(len(demands)) {
		return false
	}
	type taken struct{ space, value string }
	holders := make(map[taken]*model.Demand, len(demands))
	for i := range demands {
		d := &demands[i]
		v := lock.Number(d.Owner, d.Field)
		if v == "" || d.Fixed != "" && v != d.Fixed || d.Fixed == "" && !d.Pool.Contains(v) {
			return false
		}
		if d.Apart != "" && lock.Number(d.Owner, d.Apart) == v {
			return false
		}
		space := d.Pool.Space()
		if space == "" {
			continue
		}
		if o := holders[taken{space, v}]; o != nil && (d.Shares == "" || d.Shares != o.Shares) {
			return false
		}
		holders[taken{space, v}] = d
	}
	return true
}
