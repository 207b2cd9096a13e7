package model

// vpcRoutes finds the link that each static route leads through.
func (r *resolver) vpcRoutes(v *VPC) {
	for i := range v.Spec.Routes {
		r.vpcRoute(v, i)
	}
	for _, g := range v.Gateways {
		for i := range g.Spec.Routes {
			s := &g.Spec.Routes[i]
			v.Routes = append(v.Routes, VPCRoute{CIDR: s.CIDR.Masked(), Via: g.Spec.Gateway, Gateway: g, Pos: g.Doc.PosOf(s.At)})
		}
	}
	for i, x := range v.Routes {
		r.oneWay(v, x, v.Routes[:i])
	}
}

func (r *resolver) vpcRoute(v *VPC, i int) {
	s := &v.Spec.Routes[i]
	x := VPCRoute{CIDR: s.CIDR.Masked(), Via: s.Via, Pos: r.doc.PosOf(s.At)}
	own, found := false, false
	for _, t := range v.Tiers {
		if t.CIDR.Contains(s.Via) || t.IP6 != nil && t.IP6.CIDR.Contains(s.Via) {
			x.Side, found = t.Segments[0].Side, true
			own = own || s.Via == t.Gateway || t.IP6 != nil && s.Via == t.IP6.Gateway
		}
	}
	for _, g := range v.Gateways {
		if g.Spec.IP.Masked().Contains(s.Via) {
			x.Gateway, found = g, true
			own = own || s.Via == g.Spec.IP.Addr()
		}
	}
	at := d2(r.doc, "spec.routes", i, "via")
	switch {
	case !found && r.n.Blocked == "" && len(r.n.Missing) == 0:
		r.diags.Errorf(at, "outside-cidr", "the next hop %s is in no tier of VPC %s, nor in the network of a private gateway", s.Via, v.ID.Name).
			Offending(s.Via.String())
	case own:
		r.diags.Errorf(at, "route-via-router", "the next hop %s is the router of VPC %s itself", s.Via, v.ID.Name).Offending(s.Via.String())
	case found && (x.Side != nil || x.Gateway != nil):
		v.Routes = append(v.Routes, x)
	}
}

// oneWay holds that the router knows one way to what x leads to.
func (r *resolver) oneWay(v *VPC, x VPCRoute, others []VPCRoute) {
	for _, o := range others {
		if o.CIDR.Overlaps(x.CIDR) {
			r.diags.Errorf(x.Pos, "overlapping-route", "the route to %s of VPC %s overlaps that to %s", x.CIDR, v.ID.Name, o.CIDR).
				Offending(x.CIDR.String()).See(o.Pos, "the other route")
		}
	}
	if x.Gateway != nil && v.CIDR.Overlaps(x.CIDR) {
		r.diags.Errorf(x.Pos, "route-inside", "%s overlaps %s of VPC %s itself", x.CIDR, v.CIDR, v.ID.Name).
			Offending(x.CIDR.String()).See(r.doc.At("spec.cidr"), "the VPC's cidr")
	}
}
