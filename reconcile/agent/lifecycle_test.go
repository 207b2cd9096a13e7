package agent

import (
	"testing"

	"weft.dev/reconcile/engine"
	"weft.dev/reconcile/host"
	"weft.dev/reconcile/plan"
	"weft.dev/reconcile/resource"
	"weft.dev/reconcile/status"
)

// A network is Allocated, Implementing, Implemented, Shutdown or Destroy by what is
// wanted of it, what was verified, and what is left to do.
func TestLifecycles(t *testing.T) {
	h := host.New("kvm1", "weft")
	h.RunDir, h.StateDir = t.TempDir(), t.TempDir()
	defer h.Close()
	a := &Agent{Config: Config{Engine: engine.New(h, nil, engine.Settings{})}}
	entry := func(name string) *resource.Entry {
		o := resource.Owner("network/acme/" + name)
		return &resource.Entry{State: resource.NS{Name: name, Owner: o}, Owner: o}
	}
	gone := func(name string) *plan.Action {
		e := entry(name)
		return &plan.Action{ID: e.State.ID(), Verb: plan.Delete, Before: e}
	}
	in := resource.NewIntent("kvm1", []*resource.Fragment{
		resource.NewFragment("network/acme/runs", []resource.Entry{*entry("runs")}),
		resource.NewFragment("network/acme/comes", []resource.Entry{*entry("comes")}),
	}, nil)
	in.Terms = []resource.Term{{Owner: "network/acme/goes", Idle: true}, {Owner: "network/acme/idle", Idle: true}, {Owner: "network/acme/waits", Idle: true, Linger: 1}}
	a.result = &engine.Result{Left: &plan.Plan{
		Actions: []*plan.Action{gone("goes"), gone("removed"), gone("elsewhere")},
		Held:    []plan.Held{{Hold: resource.Hold{Owner: "network/acme/waits", Cause: resource.HoldLingering, Reason: "shutdown, after 10m"}, Resources: 4}},
	}}
	a.compiled = &Compiled{Declared: func(o resource.Owner) bool { return o == "network/acme/elsewhere" }}
	found := lives{
		"network/acme/runs":  {State: status.OwnerReady},
		"network/acme/comes": {State: status.OwnerFailing},
	}
	a.lifecycles(in, found)
	for name, want := range map[string]string{
		"runs": status.Implemented, "comes": status.Implementing, "idle": status.Allocated,
		"goes": status.Shutdown, "waits": status.Shutdown, "removed": status.Destroy, "elsewhere": status.Implemented,
	} {
		if got := found[resource.Owner("network/acme/"+name)].Lifecycle; got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if o := found["network/acme/waits"]; o.State != status.OwnerWaiting || o.Message != "shutdown, after 10m" || o.Resources != 4 {
		t.Errorf("what waits: %+v", o)
	}
}
