package agent

import (
	"fmt"
	"slices"
	"testing"

	"weft.dev/reconcile/plan"
	"weft.dev/reconcile/resource"
)

// Three owners that wait for somebody are named; of many, two are, and how many more.
func TestNotices(t *testing.T) {
	for many, want := range map[int][]string{
		0: nil,
		3: {"network/acme/n0: a; b", "network/acme/n1: a; b", "network/acme/n2: a; b"},
		5: {"network/acme/n0: a; b", "network/acme/n1: a; b", "3 more have notices like these; `weft plan` lists them"},
	} {
		p := &plan.Plan{}
		for i := range many {
			p.Notices = append(p.Notices, plan.Notice{Owner: resource.Owner(fmt.Sprintf("network/acme/n%d", i)), Words: []string{"a", "b"}})
		}
		if got := notes(p); !slices.Equal(got, want) {
			t.Errorf("of %d notices is told %q", many, got)
		}
	}
}
