package main

import (
	"fmt"
	"strings"

	"weft.dev/reconcile/model"
	"weft.dev/reconcile/plan"
	"weft.dev/schema"
)

// upstream is the way to a network behind r, of what is not translated, that what is
// outside has to know, which weft cannot tell it: "2001:db8:100:5::/64 by
// 2001:db8:feed::9251"; or "". What a router tells by BGP it tells itself.
func upstream(n *model.Network, r *model.Router) string {
	if r == nil || r.BGP != nil {
		return ""
	}
	var ways []string
	if r.Outer.IsValid() {
		ways = append(ways, fmt.Sprintf("%s by %s", n.CIDR, r.Outer))
	}
	if r.IP6().IsValid() && n.IP6 != nil {
		ways = append(ways, fmt.Sprintf("%s by %s", n.IP6.CIDR, r.IP6()))
	}
	return strings.Join(ways, " and ")
}

// routerOf is the router that leads to n: its own, or that of its VPC; nil without.
func routerOf(t *compiled, n *model.Network) *model.Router {
	if n.Tier == nil {
		return n.Router
	}
	if v := t.VPC(n.Tier.ID); v != nil {
		return v.Router
	}
	return nil
}

// tellUpstream adds to a plan which routes the operator has to add or remove upstream.
func tellUpstream(r *plan.Report, base, head *compiled) {
	had := map[schema.ID]string{}
	for _, n := range base.Networks() {
		if way := upstream(n, routerOf(base, n)); way != "" {
			had[n.ID] = way
		}
	}
	note := func(n *model.Network, text string) {
		at := n.Doc.At("metadata.name")
		r.Checks = append(r.Checks, plan.Check{Name: "upstream route", Status: plan.Warned, Message: text, Source: plan.Source{File: at.File, Line: at.Line}})
	}
	for _, n := range head.Networks() {
		was, way := had[n.ID], upstream(n, routerOf(head, n))
		delete(had, n.ID)
		switch {
		case was == way:
		case way == "":
			note(n, fmt.Sprintf("the route to %s of network %s can go upstream", was, n.ID.Name))
		case was == "":
			note(n, fmt.Sprintf("add a route to %s of network %s upstream: weft cannot", way, n.ID.Name))
		default:
			note(n, fmt.Sprintf("change the route to %s of network %s upstream to %s: weft cannot", was, n.ID.Name, way))
		}
	}
	for _, n := range base.Networks() {
		if way := had[n.ID]; way != "" {
			note(n, fmt.Sprintf("the route to %s of network %s can go upstream", way, n.ID.Name))
		}
	}
}

// notesOf are the routes that have to be upstream of the routers of a host, the
// advertisements that its guests wait for, and the daemons that its VXLANs need.
func notesOf(t *compiled, host string) []string {
	var out []string
	for _, n := range t.Networks() {
		r := routerOf(t, n)
		if way := upstream(n, r); way != "" && r.Host.Name == host {
			out = append(out, fmt.Sprintf("The world reaches %s by a route to %s, which is the operator's to add.", ownerOf(n), way))
		}
		out = append(out, advertisedOn(n, host)...)
	}
	return append(out, daemonOn(t, host)...)
}
