package main

import (
	"strings"

	"weft.dev/reconcile/model"
	"weft.dev/reconcile/plan"
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

// tellOfferings adds to a plan what changes of offerings add, and whom they disturb.
func tellOfferings(r *plan.Report, changes []*model.OfferingChange) {
	for _, x := range changes {
		var disturbed []string
		for _, p := range r.Hosts {
			for _, a := range p.Actions {
				if string(a.Owner()) == x.Now.ID.String() && a.Disrupts != "" {
					disturbed = append(disturbed, a.Disrupts)
				}
			}
		}
		text := x.Sentence() + "; nobody is disturbed"
		if len(disturbed) > 0 {
			text = x.Sentence() + "; disturbed: " + strings.Join(disturbed, "; ")
		}
		at := x.Now.Doc.At("spec.offering")
		r.Checks = append(r.Checks, plan.Check{Name: "offering change", Status: plan.Warned, Message: text, Source: plan.Source{File: at.File, Line: at.Line}})
	}
}
