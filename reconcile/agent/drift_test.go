package agent

import (
	"slices"
	"testing"
	"time"

	"weft.dev/reconcile/engine"
	"weft.dev/reconcile/plan"
	"weft.dev/reconcile/resource"
)

// What vanished with its parent is counted there; what stays open keeps its
// first time; what goes away by itself is repaired too, but not what nobody can see.
func TestDriftLog(t *testing.T) {
	begin := time.Date(2027, 1, 15, 12, 0, 0, 0, time.UTC)
	gone := func(st resource.State) *plan.Action {
		return &plan.Action{ID: st.ID(), Verb: plan.Create, After: &resource.Entry{State: st, Owner: owner("a")}, Drift: true}
	}
	ns := gone(resource.NS{Name: "a"})
	link := gone(resource.Link{NS: "a", Name: "eth0", Host: "a-0"})
	sysctl := gone(resource.Sysctl{NS: "a", Key: "net.ipv4.ip_forward", Value: "1"})
	wanted := gone(resource.NS{Name: "b"})
	wanted.Drift = false

	var d driftLog
	all := &plan.Plan{Actions: []*plan.Action{link, ns, sysctl, wanted}}
	d.take(&engine.Result{Began: begin, Plan: all, Left: all}, begin)
	if l := d.list(); len(l) != 1 || l[0].ID != ns.ID || !slices.Equal(l[0].What, []string{"it is gone, and 2 more with it"}) {
		t.Fatalf("open: %+v", l)
	}
	later := begin.Add(time.Minute)
	d.take(&engine.Result{Began: later, Plan: all, Left: all}, later)
	if l := d.list(); !l[0].Since.Equal(begin) {
		t.Errorf("since %v", l[0].Since)
	}
	blind := &plan.Plan{Unread: []resource.Unread{{Kind: resource.KindNS, Err: "no answer"}}}
	for _, before := range []*plan.Plan{blind, all} {
		d.take(&engine.Result{Began: later, Plan: before, Left: blind}, later)
		if l := d.list(); len(l) != 1 || !l[0].Since.Equal(begin) || len(d.repaired) != 0 {
			t.Errorf("nothing can be read, and open is %+v, repaired %+v", l, d.repaired)
		}
	}
	suspended := &plan.Plan{Held: []plan.Held{{Hold: resource.Hold{Owner: owner("a"), Cause: resource.HoldSuspended}}}}
	inTheWay := &plan.Plan{Blocked: []plan.Blocked{{ID: ns.ID, Reason: "somebody else's"}}}
	aside := d
	aside.take(&engine.Result{Began: later, Plan: inTheWay, Left: inTheWay}, later)
	if len(aside.repaired) != 0 {
		t.Errorf("it cannot be made, and repaired is %+v", aside.repaired)
	}
	aside = d
	aside.take(&engine.Result{Began: later, Plan: suspended, Left: suspended}, later)
	if len(aside.list()) != 0 || len(aside.repaired) != 0 {
		t.Errorf("nobody looks, and open is %+v, repaired %+v", aside.list(), aside.repaired)
	}
	d.take(&engine.Result{Began: later, Plan: &plan.Plan{}, Left: &plan.Plan{}}, later)
	if len(d.list()) != 0 || len(d.repaired) != 1 || !d.repaired[0].Healed.Equal(later) {
		t.Errorf("open %+v, repaired %+v", d.list(), d.repaired)
	}
	for i := range 2 * maxRepaired {
		f := gone(resource.File{Path: string(rune('a' + i))})
		d.take(&engine.Result{Began: later, Plan: &plan.Plan{Actions: []*plan.Action{f}}, Left: &plan.Plan{}}, later)
	}
	if len(d.repaired) != maxRepaired {
		t.Errorf("%d are remembered", len(d.repaired))
	}
}
