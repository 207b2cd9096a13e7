package main

import (
	"fmt"
	"strings"

	"weft.dev/reconcile/model"
	"weft.dev/reconcile/plan"
	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

// offeringChanges lists the networks of both trees whose offering is another now,
// and what of that no network can go through. Only a plan between commits can
// tell: a host that sees just the new tree makes what that says.
func offeringChanges(base, head *compiled) ([]*model.OfferingChange, schema.Diags) {
	var out []*model.OfferingChange
	var diags schema.Diags
	had := map[schema.ID]*model.Network{}
	for _, n := range base.Networks() {
		had[n.ID] = n
	}
	for _, n := range head.Networks() {
		x, ds := model.ChangeOfOffering(had[n.ID], n)
		if diags = append(diags, ds...); x != nil {
			out = append(out, x)
		}
	}
	return out, diags
}

// mostDisturbed is how much of what one change disturbs is told with it; all of it stands
// beside the actions.
const mostDisturbed = 10

// tellOfferings adds to a plan what changes of offerings add, and whom they disturb.
func tellOfferings(r *plan.Report, changes []*model.OfferingChange) {
	if len(changes) == 0 {
		return
	}
	disturbed := map[resource.Owner][]string{}
	for _, p := range r.Hosts {
		for _, a := range p.Actions {
			if a.Disrupts != "" {
				disturbed[a.Owner()] = append(disturbed[a.Owner()], a.Disrupts)
			}
		}
	}
	for _, x := range changes {
		text := x.Sentence() + "; nobody is disturbed"
		if list := disturbed[ownerOf(x.Now)]; len(list) > 0 {
			if n := len(list) - mostDisturbed; n > 0 {
				list = append(list[:mostDisturbed], fmt.Sprintf("and %d more", n))
			}
			text = x.Sentence() + "; disturbed: " + strings.Join(list, "; ")
		}
		at := x.Now.Doc.At("spec.offering")
		r.Checks = append(r.Checks, plan.Check{Name: "offering change", Status: plan.Warned, Message: text, Source: plan.Source{File: at.File, Line: at.Line}})
	}
}
