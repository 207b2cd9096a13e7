package engine

import (
	"net/netip"
	"strings"
	"testing"

	"weft.dev/reconcile/resource"
)

// uplinkIntent takes eth0 over: the bridge's address, and its address wait for the link.
func uplinkIntent() *resource.Intent {
	const own = resource.Owner("host/kvm1")
	link := resource.Link{Name: "eth0", Up: true, Takeover: &resource.Takeover{Bridge: "br0"}}
	id := link.ID()
	at := netip.MustParsePrefix("192.0.2.2/24")
	addr := resource.Addr{Link: "br0", Prefix: at, After: &id}
	return intent(resource.NewFragment(own, []resource.Entry{
		{State: link, Owner: own},
		{State: resource.Link{Name: "br0", Up: true}, Owner: own},
		{State: addr, Owner: own},
	}), network("a", 1))
}

// A link that carries the host's address is taken over only where somebody watches;
// the rest goes on, and the plan says what is needed.
func TestTakeoverNeedsATrial(t *testing.T) {
	w := newWorld(t)
	w.kernel.has.Put(resource.Entry{State: resource.Link{Name: "eth0", Up: true}, Owner: "host/kvm1"}) // with addresses
	e := w.engine()
	in := uplinkIntent()
	r := w.reconcile(e, in, Options{})
	if r.Converged() || !w.hasOf("a") {
		t.Fatalf("converged %t, and the network is there %t", r.Converged(), w.hasOf("a"))
	}
	for id := range w.kernel.has {
		if id.Kind == resource.KindAddr && strings.Contains(id.Name, "br0") {
			t.Errorf("%s was made beside the one of eth0", id)
		}
	}
	if len(r.Left.Blocked) != 2 || r.Left.Blocked[0].Reason != "takeover of eth0 needs weft apply --confirm-timeout" {
		t.Errorf("blocked: %+v", r.Left.Blocked)
	}
	if p, err := e.Plan(t.Context(), in, Options{Watched: true}); err != nil || len(p.Blocked) != 0 || len(p.Actions) != 2 {
		t.Errorf("the plan of a trial: %+v, %v", p, err)
	}
	if r = w.reconcile(e, in, Options{Watched: true, Trial: "T"}); !r.Converged() {
		t.Errorf("the trial: %+v", r.Owners)
	}
	// From then on nobody need watch.
	w.converge(e, in)
}
