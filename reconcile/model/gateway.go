package model

import (
	"strconv"

	"weft.dev/schema"
)

// gateways resolves the private gateways of a VPC.
func (r *resolver) gateways(v *VPC, lists map[string]*ACL) {
	for _, d := range r.attached {
		spec, ok := d.Spec.(*schema.PrivateGateway)
		if !ok || !r.ofVPC(v, d, spec.VPC) {
			continue
		}
		g := &Gateway{ID: d.ID(), Doc: d, Spec: spec, ACL: r.list(v, lists, d, spec.ACL), VLAN: spec.VLAN.ID}
		if !r.gatewayWire(g) {
			continue
		}
		g.Leg.MAC, _ = parseMAC(r.demand(Demand{Owner: d.ID().String(), Field: FieldMAC, Pool: macs, Pos: d.Pos, Formerly: formerly(d)}))
		r.gatewayMTU(g)
		r.gatewayApart(v, g)
		v.Gateways = append(v.Gateways, g)
	}
}

// gatewayWire finds the physical network, and asks for the VLAN.
func (r *resolver) gatewayWire(g *Gateway) bool {
	p := r.gatewayPhysical(g)
	if p == nil {
		return false
	}
	g.Physical = p
	// As a network that states its VLAN would.
	as := &resolver{site: r.site, index: r.index, n: &Network{ID: g.ID, Doc: g.Doc, Spec: &schema.Network{}, Zone: r.n.Zone, Account: r.n.Account, Physical: p}, doc: g.Doc, numbers: r.numbers}
	pool := r.n.Zone.wires[p.Guest].vlans
	text := g.Spec.VLAN.String()
	taken := as.publicVLAN(g.VLAN, text, "spec.vlan") || as.dedicatedVNet(pool.Space(), g.VLAN, text, "spec.vlan")
	r.diags = append(r.diags, as.diags...)
	if taken {
		return false
	}
	d := Demand{Owner: g.ID.String(), Field: FieldVNet, Fixed: number(g.VLAN), Pool: pool, Pos: g.Doc.At("spec.vlan"), Formerly: formerly(g.Doc)}
	if g.Spec.AllowVLANOverlap {
		d.Field, d.Shares = FieldSharedVNet, "overlap"
	}
	r.demand(d)
	return true
}

// gatewayPhysical is the physical network of a gateway: as written, or the only one
// with Guest traffic.
func (r *resolver) gatewayPhysical(g *Gateway) *PhysicalNetwork {
	z, name := r.n.Zone, g.Spec.PhysicalNetwork
	var fit []*PhysicalNetwork
	for _, p := range z.Physical {
		if p.Name == name && p.Guest == "" {
			r.diags.Errorf(g.Doc.At("spec.physicalNetwork"), "physical-network-unfit", "physical network %s carries no Guest traffic", name).
				Offending(name).See(p.Doc.At("spec.traffic"), "its declaration")
			return nil
		}
		if p.Guest != "" && (name == "" || p.Name == name) {
			fit = append(fit, p)
		}
	}
	switch {
	case len(fit) == 1:
		return fit[0]
	case name != "":
		if !r.blocked(schema.KindPhysicalNetwork, name) {
			unknown(&r.diags, g.Doc.At("spec.physicalNetwork"), "physical network", name, names(z.Physical))
		}
	case len(fit) > 1:
		r.diags.Errorf(g.Doc.At("spec"), "ambiguous-physical-network", "which physical network carries %s? %s fit", g.ID, list(names(fit))).
			Hintf("add physicalNetwork: %s", fit[0].Name)
	case z.Invalid == "":
		r.diags.Errorf(nameOf(g.Doc), "no-physical-network", "no physical network of zone %s carries Guest traffic", z.Name)
	}
	return nil
}

func (r *resolver) gatewayMTU(g *Gateway) {
	wire := g.Physical.Spec.MTU
	g.Leg.MTU = min(1500, wire)
	if g.Spec.MTU > wire {
		r.diags.Errorf(g.Doc.At("spec.mtu"), "mtu-too-large", "mtu %d does not fit: the wire of physical network %s carries %d bytes", g.Spec.MTU, g.Physical.Name, wire).
			Offending(strconv.Itoa(g.Spec.MTU)).See(g.Physical.Doc.At("spec.mtu"), "the wire's MTU").Hintf("at most %d", wire)
	} else if g.Spec.MTU != 0 {
		g.Leg.MTU = g.Spec.MTU
	}
}

// gatewayApart holds that the router knows one way to each address.
func (r *resolver) gatewayApart(v *VPC, g *Gateway) {
	own := g.Spec.IP.Masked()
	clash := func(with, what string, at schema.Pos) {
		r.diags.Errorf(g.Doc.At("spec.ip"), "overlapping-cidr", "%s of private gateway %s overlaps %s of %s", own, g.ID.Name, with, what).
			Offending(g.Spec.IP.String()).See(at, "the other network")
	}
	if own.Overlaps(v.CIDR) {
		clash(v.CIDR.String(), "VPC "+v.ID.Name, r.doc.At("spec.cidr"))
	}
	for _, o := range v.Gateways {
		if own.Overlaps(o.Spec.IP.Masked()) {
			clash(o.Spec.IP.Masked().String(), "private gateway "+o.ID.Name, o.Doc.At("spec.ip"))
		}
	}
	for _, p := range r.n.Zone.Ranges {
		if own.Overlaps(p.Spec.CIDR) {
			clash(p.Spec.CIDR.String(), "public range "+p.Name, p.Doc.At("spec.cidr"))
		}
	}
}
