package main

import (
	"strings"
	"testing"
	"time"

	"weft.dev/reconcile/engine"
	"weft.dev/reconcile/plan"
	"weft.dev/reconcile/resource"
)

// What is said of one apply stands below its line and moves no column.
func TestHistoryText(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.Local)
	list := []engine.Record{
		{Revision: "main@sha1:0e6c9de433030e6c9de433030e6c9de433030e6c", Began: at, Took: 35 * time.Millisecond, Tries: 1, Outcome: engine.Applied, Count: plan.Count{Drift: 2}, Note: "went back: nobody\nconfirmed", Actions: []engine.Action{
			{Owner: "network/acme/old", Phase: plan.Trash}, {Owner: "host/kvm1", Phase: plan.Design}, {Owner: "network/acme/a", Phase: plan.Implement},
			{Owner: "network/acme/a", Phase: plan.Implement}, {Owner: "network/acme/d", Phase: plan.Implement, Drift: true},
			{Owner: "network/acme/b", Phase: plan.Implement}, {Owner: "network/acme/c", Phase: plan.Implement}, {Owner: "network/acme/e", Phase: plan.Implement},
			{Owner: "network/acme/f", Phase: plan.Implement},
		}},
		{Began: at.Add(-time.Minute), Took: time.Second, Tries: 3, Outcome: engine.Failed, Count: plan.Count{Add: 12, Change: 100},
			Failures: []engine.Failure{{ID: resource.ID{Kind: resource.KindLink, Name: "a/eth0"}, Owner: "network/acme/a", Error: "no\tspace"}}},
	}
	var out strings.Builder
	if err := (&app{out: &out}).historyText(list); err != nil {
		t.Fatal(err)
	}
	want := `
WHEN                 REVISION           OUTCOME  TOOK  CHANGES
2026-03-01 12:00:00  main@0e6c9de43303  Applied  35ms  +0 ~0 -0, 2 repaired
    implement network/acme/a, network/acme/b, network/acme/c, 2 more; trash network/acme/old; repair network/acme/d
    went back: nobody confirmed
2026-03-01 11:59:00  by hand            Failed   1s    +12 ~100 -0
    tried 3 times
    network/acme/a net.link a/eth0: no space
`
	if got := "\n" + out.String(); got != want {
		t.Errorf("got%s\nwant%s", got, want)
	}
	out.Reset()
	if err := (&app{out: &out}).historyText(nil); err != nil || out.String() != "Nothing was applied yet.\n" {
		t.Errorf("%v, %q", err, out.String())
	}
}
