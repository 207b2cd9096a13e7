package engine

import (
	"context"
	"fmt"
	"net/netip"
	"testing"

	"weft.dev/reconcile/driver/memhost"
	"weft.dev/reconcile/resource"
)

// What a pass over 200 networks costs beside its drivers, with nothing to do.
func BenchmarkIdlePass(b *testing.B) {
	w, m := newWorld(b), memhost.New()
	var all []*resource.Fragment
	for i := range 200 {
		f := network(fmt.Sprintf("n%d", i), 1)
		entries := f.Entries()
		for k := range 45 {
			route := resource.Route{NS: fmt.Sprintf("n%d", i), Dst: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 1, byte(k), 0}), 24), Dev: "eth0"}
			entries = append(entries, resource.Entry{State: route, Owner: f.Owner})
		}
		all = append(all, resource.NewFragment(f.Owner, entries))
	}
	in := intent(all...)
	e := strict(w, m)
	w.reconcile(e, in, Options{})
	b.ReportAllocs()
	for b.Loop() {
		r, err := e.Reconcile(context.Background(), in, Options{})
		if err != nil || len(r.Plan.Actions) != 0 {
			b.Fatal(err, len(r.Plan.Actions))
		}
	}
}
