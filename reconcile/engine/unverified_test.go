package engine

import (
	"testing"

	"weft.dev/reconcile/plan"
)

// TestUnverified: whoever reads why a resource is not right learns it, also where a driver says it in words of its own.
func TestUnverified(t *testing.T) {
	const began = "it is not as it should be after all was done"
	for _, c := range []struct {
		changes []plan.Change
		want    string
	}{
		{nil, began},
		{[]plan.Change{{Field: "mtu", From: "1500", To: "9000"}}, began + `: mtu is "1500", not "9000"`},
		{[]plan.Change{{Field: "drift", Lines: true, Diff: []plan.Line{{Text: "link eth0: the switch does not have it"}}}}, began + ": link eth0: the switch does not have it"},
		{[]plan.Change{{Field: "flows", Lines: true, Diff: []plan.Line{{Text: "table=1"}, {Op: "-", Text: "table=2"}}}}, began + ": flows: -table=2"},
	} {
		if got := unverified(&plan.Action{Changes: c.changes}); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}
