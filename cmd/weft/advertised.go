package main

import (
	"fmt"

	"weft.dev/reconcile/model"
	"weft.dev/reconcile/plan"
)

// advertised is what the gateway of a broadcast domain has to advertise, which is none
// of weft's: "2001:db8:120::/64 by the gateway 2001:db8:120::1: on-link, managed (flag
// M), not autonomous"; or "".
func advertised(s *model.Segment) string {
	switch x := s.IP6; {
	case x == nil || !x.Foreign:
		return ""
	case x.Mode == model.DHCPv6:
		return fmt.Sprintf("%s by the gateway %s: on-link, managed (flag M), not autonomous", x.CIDR, x.Gateway)
	default:
		return fmt.Sprintf("%s by the gateway %s: on-link, autonomous, with other configuration (flag O)", x.CIDR, x.Gateway)
	}
}

// tellAdvertised adds to a plan what gateways have to advertise from now on.
func tellAdvertised(r *plan.Report, base, head *compiled) {
	had := map[string]bool{}
	for _, n := range base.Networks() {
		for _, s := range n.Segments {
			had[n.ID.String()+" "+advertised(s)] = true
		}
	}
	for _, n := range head.Networks() {
		for _, s := range n.Segments {
			what := advertised(s)
			if what == "" || had[n.ID.String()+" "+what] {
				continue
			}
			at := n.IP6Pos(s)
			r.Checks = append(r.Checks, plan.Check{Name: "router advertisements", Status: plan.Warned, Source: plan.Source{File: at.File, Line: at.Line},
				Message: fmt.Sprintf("network %s needs advertisements of %s: weft sends none there", n.ID.Name, what)})
		}
	}
}

// advertisedOn are the advertisements that guests on a host wait for.
func advertisedOn(n *model.Network, host string) []string {
	var out []string
	for _, s := range n.Segments {
		for _, h := range s.Hosts {
			if what := advertised(s); what != "" && h.Name == host {
				out = append(out, fmt.Sprintf("Guests of %s wait for advertisements of %s, which are the operator's to send.", ownerOf(n), what))
			}
		}
	}
	return out
}
