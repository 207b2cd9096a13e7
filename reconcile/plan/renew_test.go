package plan_test

import (
	"testing"

	"weft.dev/reconcile/plan"
	"weft.dev/reconcile/resource"
)

// What is to be renewed is replaced with all that cannot stay, and is no drift; what is not
// there, not wanted or held is left as it is.
func TestRenew(t *testing.T) {
	ns := resource.NS{Name: "r", Owner: web}
	link := resource.Link{NS: "r", Name: "eth0", Host: "w0", MAC: "02:00:00:00:00:01", Up: true}
	p := resource.Process{Name: "r/dnsmasq", NS: "r", Argv: []string{"dnsmasq"}}
	in := intentOf(of(web, ns), of(web, link), of(web, p))
	renew := func(in *resource.Intent, id resource.ID) *plan.Plan {
		return diff(t, in, observedOf(in), plan.Options{Last: in, Renew: map[resource.ID]string{id: "it is sick"}})
	}
	one := renew(in, p.ID())
	if len(one.Actions) != 1 || one.Actions[0].Verb != plan.Replace || one.Actions[0].Drift || one.Actions[0].Reason != "it is sick" || len(one.Steps) != 2 {
		t.Errorf("a process:\n%s", describe(one, nil))
	}
	all := renew(in, ns.ID())
	if len(all.Actions) != 3 {
		t.Errorf("a namespace:\n%s", describe(all, nil))
	}
	for _, a := range all.Actions {
		if a.Verb != plan.Replace || a.Drift || a.Reason == "" {
			t.Errorf("%s %s, drift %v, %q", a.Verb, a.ID, a.Drift, a.Reason)
		}
	}
	if none := renew(in, resource.ID{Kind: resource.KindProcess, Name: "other"}); !none.Empty() {
		t.Errorf("what is not there:\n%s", describe(none, nil))
	}
	held := resource.NewIntent(hostName, in.Fragments, []resource.Hold{{Owner: web, Cause: resource.HoldSuspended, Reason: "suspended"}})
	if none := renew(held, ns.ID()); !none.Empty() {
		t.Errorf("what is held:\n%s", describe(none, nil))
	}
}
