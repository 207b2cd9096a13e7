package main

import (
	"fmt"
	"strings"
	"testing"

	"weft.dev/reconcile/model"
	"weft.dev/reconcile/plan"
	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

// A change of offering tells whom it disturbs: its own network's NICs, of many the first.
func TestTellOfferings(t *testing.T) {
	network := func(offering string) *model.Network {
		return &model.Network{
			ID: schema.ID{Kind: "Network", Account: "acme", Name: "web"}, Offering: &model.Offering{Name: offering}, Doc: &schema.Document{File: "a.yaml"},
		}
	}
	changes := []*model.OfferingChange{{Was: network("small"), Now: network("large")}}
	for n, want := range map[int]string{
		0: "; nobody is disturbed", 1: "; disturbed: web-0", mostDisturbed: "; web-9", mostDisturbed + 2: "; web-9; and 2 more",
	} {
		p := &plan.Plan{Host: "kvm1"}
		add := func(owner resource.Owner, disrupts string) {
			p.Actions = append(p.Actions, &plan.Action{Verb: plan.Delete, Before: &resource.Entry{Owner: owner}, Disrupts: disrupts})
		}
		add("network/acme/db", "db-1")
		for i := range n {
			add("network/acme/web", fmt.Sprintf("web-%d", i))
		}
		r := plan.NewReport("", "", []*plan.Plan{p})
		tellOfferings(r, changes)
		if len(r.Checks) != 1 || !strings.HasSuffix(r.Checks[0].Message, want) || strings.Contains(r.Checks[0].Message, "db") {
			t.Errorf("%d disturbed: %+v", n, r.Checks)
		}
	}
}
