package engine

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"weft.dev/reconcile/driver"
	"weft.dev/reconcile/driver/memhost"
	"weft.dev/reconcile/plan"
	"weft.dev/reconcile/resource"
)

// strict is a host as strict as a kernel, served by drivers as in production.
func strict(w *world, m *memhost.Host) *Engine {
	return New(w.host, []driver.Driver{
		m.Serve(resource.KindNS, resource.KindLink, resource.KindAddr, resource.KindRoute, resource.KindSysctl),
		m.Serve(resource.KindChain, resource.KindSet), m.Serve(resource.KindFile), m.Serve(resource.KindProcess),
		m.Serve(resource.KindBridge, resource.KindPort, resource.KindTunnel, resource.KindFlows),
	}, w.settings)
}

// random draws networks, each with a router that has some of everything; they
// exchange addresses and names of files.
func random(r *rand.Rand) *resource.Intent {
	var all []*resource.Fragment
	bridge := resource.Bridge{Name: "weft-int", Datapath: "netdev", FailMode: "secure"}
	for i := range 4 {
		if r.IntN(4) == 0 {
			continue
		}
		name := fmt.Sprintf("n%d", i)
		f := network(name, r.Uint64N(3))
		entries := f.Entries()
		add := func(st resource.State) { entries = append(entries, resource.Entry{State: st, Owner: f.Owner}) }
		if r.IntN(2) == 0 {
			add(resource.Port{Bridge: bridge.Name, Name: name + "-0", Link: &[]resource.ID{resource.LinkID(name, "eth0")}[0]})
		}
		if r.IntN(2) == 0 {
			add(resource.Route{NS: name, Dst: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.MustParseAddr("10.0.0.254"), Dev: "eth0"})
		}
		if r.IntN(2) == 0 {
			add(resource.Sysctl{NS: name, Key: "net.ipv4.ip_forward", Value: fmt.Sprint(r.IntN(2))})
		}
		all = append(all, resource.NewFragment(f.Owner, entries))
	}
	shared := resource.Owner("host/kvm1")
	all = append(all, resource.NewFragment(shared, []resource.Entry{{State: bridge, Owner: shared}}))
	return resource.NewIntent("kvm1", all, nil)
}

// From any world to any other in one pass; with other hands at work and a
// death after any number of steps, in one more.
func TestLaws(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 7))
		w, m := newWorld(t), memhost.New()
		w.settings.Limits.Consent = true
		reach := func(what string, in *resource.Intent) {
			t.Helper()
			e := strict(w, m)
			e.maxBatch = 1 + r.IntN(40) // batches of all sizes
			res := w.reconcile(e, in, Options{})
			if !res.Converged() {
				t.Fatalf("seed %d: %s: %+v, blocked %+v", seed, what, res.Owners, res.Left.Blocked)
			}
			if again := w.reconcile(strict(w, m), in, Options{}); !again.Plan.Empty() {
				t.Fatalf("seed %d: %s: the second pass does %d things", seed, what, len(again.Plan.Actions))
			}
		}
		from, to := random(r), random(r)
		reach("from nothing", from)
		left := r.IntN(20)
		m.Fault = func(*plan.Step) error {
			if left--; left < 0 {
				return errors.New("the process is dead")
			}
			return nil
		}
		w.reconcile(strict(w, m), to, Options{})
		m.Fault = nil
		reach("after a death", to)
		for range r.IntN(4) {
			m.Corrupt(r.IntN)
		}
		if ids := m.Set().IDs(); len(ids) > 0 && r.IntN(2) == 0 {
			m.Remove(ids[r.IntN(len(ids))])
		}
		reach("after other hands", to)
	}
}
