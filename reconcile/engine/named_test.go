package engine

import (
	"slices"
	"strings"
	"testing"

	"weft.dev/reconcile/driver"
	"weft.dev/reconcile/resource"
)

// switched is a host whose shared flows name the port of a network's router: the
// port needs a link that the net driver makes.
func switched(w *world) (*Engine, *resource.Intent) {
	ovs := &fake{kernel: w.kernel, kinds: []resource.Kind{resource.KindBridge, resource.KindPort, resource.KindFlows}}
	e := New(w.host, []driver.Driver{ovs, w.net}, w.settings)
	shared, net := resource.Owner("host/kvm1"), owner("a")
	bridge := resource.Bridge{Name: "weft-int"}
	ns := resource.NS{Name: "a", Owner: net}
	link := resource.Link{NS: "a", Name: "eth0", Host: "a-0", Up: true}
	id := link.ID()
	port := resource.Port{Bridge: "weft-int", Name: "a-0", Link: &id}
	flows := resource.Flows{Bridge: "weft-int", Owner: shared, Rules: []resource.Flow{
		{Do: []resource.Act{{Op: resource.OpOutput, Sym: resource.PortSym("a-0")}}},
	}}
	return e, intent(
		resource.NewFragment(shared, []resource.Entry{{State: bridge, Owner: shared}, {State: flows, Owner: shared}}),
		resource.NewFragment(net, []resource.Entry{{State: ns, Owner: net}, {State: link, Owner: net}, {State: port, Owner: net}}))
}

// Flows are written once the ports they name are there.
func TestFlowsAfterThePortsTheyName(t *testing.T) {
	w := newWorld(t)
	e, in := switched(w)
	w.converge(e, in)
	port := slices.Index(w.kernel.log, "+ovs.port a-0")
	flows := slices.IndexFunc(w.kernel.log, isFlows)
	if port < 0 || flows < port {
		t.Errorf("order: %v", w.kernel.log)
	}
}

// A port that cannot be made holds back no flows that name it.
func TestFlowsWithoutAPortTheyName(t *testing.T) {
	w := newWorld(t)
	w.net.hook = failing(resource.ID{Kind: resource.KindNS, Name: "a"})
	e, in := switched(w)
	w.reconcile(e, in, Options{})
	if !slices.ContainsFunc(w.kernel.log, isFlows) {
		t.Errorf("done: %v", w.kernel.log)
	}
}

func isFlows(done string) bool { return strings.HasPrefix(done, "+ovs.flows") }
