package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"weft.dev/reconcile/model"
	"weft.dev/reconcile/plan"
	"weft.dev/schema"
)

// daemons are the hosts whose routing daemon has to tell what is behind VXLANs, which
// is none of weft's, by physical network.
func daemons(t *compiled) map[*model.PhysicalNetwork]map[string]bool {
	out := map[*model.PhysicalNetwork]map[string]bool{}
	for _, n := range t.Networks() {
		if n.Physical == nil || n.Physical.VXLANMode() != model.EVPN { // nil: of a network that is held
			continue
		}
		for _, s := range n.Segments {
			if s.Scheme != schema.SchemeVXLAN || len(s.Hosts) < 2 {
				continue
			}
			if out[n.Physical] == nil {
				out[n.Physical] = map[string]bool{}
			}
			for _, h := range s.Hosts {
				out[n.Physical][h.Name] = true
			}
		}
	}
	return out
}

// tellDaemons adds to a plan on which hosts a routing daemon has to run from now on.
func tellDaemons(r *plan.Report, base, head *compiled) {
	had := map[string]map[string]bool{}
	for p, l := range daemons(base) {
		had[p.Name] = l
	}
	now := daemons(head)
	byName := func(a, b *model.PhysicalNetwork) int { return strings.Compare(a.Name, b.Name) }
	for _, p := range slices.SortedFunc(maps.Keys(now), byName) {
		fresh := slices.DeleteFunc(slices.Sorted(maps.Keys(now[p])), func(h string) bool { return had[p.Name][h] })
		if len(fresh) == 0 {
			continue
		}
		at := p.Doc.At("spec.vxlan.mode")
		r.Checks = append(r.Checks, plan.Check{
			Name: "routing daemon", Status: plan.Warned, Source: plan.Source{File: at.File, Line: at.Line},
			Message: fmt.Sprintf("physical network %s needs a routing daemon on %s that tells VXLANs by BGP EVPN (FRR: advertise-all-vni): weft configures none", p.Name, strings.Join(fresh, ", ")),
		})
	}
}

// daemonOn says which VXLANs of a host are a routing daemon's, or nothing.
func daemonOn(t *compiled, host string) []string {
	var out []string
	for p, l := range daemons(t) {
		if l[host] {
			out = append(out, fmt.Sprintf("VXLANs of physical network %s reach as far as this host's routing daemon tells (BGP EVPN), which is the operator's to run.", p.Name))
		}
	}
	slices.Sort(out)
	return out
}
