package model

import (
	"slices"
	"strconv"
)

// A Pair is two routers that stand for each other: each is complete, on a host of its
// own, with a MAC and an address of its own in each guest network. What the world and
// the guests know, gateways and public addresses, has whichever is the primary.
type Pair struct {
	// VRID is the number by which they know each other.
	VRID uint8
	// Lead is the index of the side by which they hear each other: in a VPC that of a
	// tier that weft.lock names, so that another tier changes nothing.
	Lead int
	// Routers by place: the first is preferred where both begin at once.
	Routers [2]*Router
}

// Each returns r, or both where r is one of a pair, by place.
func (r *Router) Each() []*Router {
	if r.Pair == nil {
		return []*Router{r}
	}
	return r.Pair.Routers[:]
}

// Other is the router that stands for r, or nil.
func (r *Router) Other() *Router {
	if r.Pair == nil {
		return nil
	}
	return r.Pair.Routers[1-r.Place]
}

// SideOn is the side in the segment of the router on a host, or nil.
func (s *Segment) SideOn(host string) *Side {
	if s.Side == nil {
		return nil
	}
	for _, x := range s.Side.Router.Each() {
		if x.Host.Name == host {
			return x.side(s)
		}
	}
	return nil
}

func (r *Router) side(s *Segment) *Side {
	i := slices.IndexFunc(r.Sides, func(x *Side) bool { return x.Segment == s })
	if i < 0 {
		return s.Side // a tier knows no more of its VPC's router
	}
	return r.Sides[i]
}

// vrids are the numbers of pairs: each is alone with its guests, so only those of one
// router are told apart.
type vrids struct{ owner string }

func (p vrids) Space() string      { return "VRRP id of " + p.owner }
func (p vrids) Describe() string   { return "VRRP id" }
func (p vrids) Size() uint64       { return 255 }
func (p vrids) At(i uint64) string { return strconv.FormatUint(i+1, 10) }

func (p vrids) Contains(v string) bool {
	n, err := strconv.ParseUint(v, 10, 8)
	return err == nil && n > 0
}

// A tierPool has the tiers of a VPC, of which its routers hear each other in one.
type tierPool struct{ names []string }

func (tierPool) Space() string            { return "" }
func (tierPool) Describe() string         { return "tier in which the routers of a VPC hear each other" }
func (p tierPool) Size() uint64           { return uint64(len(p.names)) }
func (p tierPool) At(i uint64) string     { return p.names[i] }
func (p tierPool) Contains(v string) bool { return slices.Contains(p.names, v) }

// Movable implements Mover: a tier that goes is no mistake.
func (tierPool) Movable() bool { return true }

// leadTier asks for the tier in which the routers of the VPC hear each other.
func (r *resolver) leadTier(tiers []*Network) int {
	var p tierPool
	for _, t := range tiers {
		p.names = append(p.names, t.ID.Name)
	}
	if len(p.names) == 0 {
		return 0
	}
	v := r.demand(Demand{Owner: r.owner, Field: FieldLead, Pool: p, Pos: r.doc.Pos})
	return max(0, slices.Index(p.names, v))
}

// redundant reports whether the network's routers, or its VPC's, are pairs.
func (r *resolver) redundant() bool {
	o := r.n.Offering
	if r.n.Tier != nil {
		o = r.site.VPCOfferings[r.n.Tier.Spec.Offering]
	}
	return o != nil && o.Redundant()
}

// Redundant reports whether routers by the offering are pairs.
func (o *Offering) Redundant() bool {
	return o.Pairs || o.Spec.Services.SourceNat != nil && o.Spec.Services.SourceNat.RedundantRouter
}

// twinLeg asks for what the second router has of its own in a guest network, and for
// the first one's own address: the gateway is of both.
func (r *resolver) twinLeg(x *Side) {
	if !r.redundant() {
		return
	}
	s := x.Segment
	mac := r.demand(Demand{Owner: s.owner, Field: FieldGuestMAC2, Pool: macs, Pos: r.doc.Pos})
	x.twin.mac, _ = parseMAC(mac)
	if len(s.Subnets) == 0 {
		return
	}
	own := func(field string) Demand {
		return Demand{Owner: s.owner, Field: field, Pool: s.Subnets[0].pool, Pos: r.doc.Pos}
	}
	x.Own = addrOf(r.demand(own(FieldGuestIP)))
	x.twin.own = addrOf(r.demand(own(FieldGuestIP2)))
}

// secondHost asks for the host of the second router; nil when that is not known. The
// demand of the first one is there.
func (r *resolver) secondHost(hosts *HostPool, owner string, first *Host) *Host {
	n := r.n
	if able := hosts.able(); len(able) < 2 {
		d := r.diags.Errorf(r.doc.At("spec.offering"), "redundant-one-host", "offering %s has redundantRouter, and only host %s of zone %s can run a router of %s", n.Offering.Name, list(able), n.Zone.Name, n.what()).
			Offending(n.Offering.Name)
		if why := hosts.why(); why != "" {
			d.Hintf("%s", why)
		}
		return nil
	}
	before := r.formerly(owner)
	for i := range n.Demands {
		if d := &n.Demands[i]; d.Owner == owner && d.Field == FieldHost {
			d.Apart = FieldHost2
		}
	}
	d := Demand{Owner: owner, Field: FieldHost2, Pool: hosts, Pos: r.doc.Pos, Formerly: before, Apart: FieldHost}
	n.Demands = append(n.Demands, d)
	number := r.numbers.Number(owner, FieldHost2)
	for _, h := range n.Zone.Hosts {
		if h.Name == number && h != first && hosts.missing(h) == "" {
			return h
		}
	}
	n.Missing = append(n.Missing, d)
	return nil
}

// leaving warns of routers that are still where they are to move away from.
func (r *resolver) leaving(hosts *HostPool, first, second *Host) {
	if first == nil || second == nil {
		return
	}
	for _, x := range [][2]*Host{{first, second}, {second, first}} {
		if at := x[0]; hosts.Leaves(at.Name, x[1].Name) {
			r.diags.Warnf(nameOf(r.doc), "router-leaves", "a router of %s is still on host %s, which is in Maintenance", r.n.what(), at.Name).
				Offending(r.doc.Meta.Name).See(at.Doc.At("spec.state"), "the host").Hintf("run weft lock; of a pair it moves one router at a time")
			return
		}
	}
}

// vrid asks for the number of the pair.
func (r *resolver) vrid(owner string) uint8 {
	v := r.demand(Demand{Owner: owner, Field: FieldVRID, Pool: vrids{owner}, Pos: r.doc.Pos})
	n, _ := strconv.ParseUint(v, 10, 8) // 0 is Missing
	return uint8(n)
}

// twin is the VPC as the second router of a pair knows it: its private gateways have
// names of that one's host.
func (v *VPC) twin() *VPC {
	w := *v
	twins := map[*Gateway]*Gateway{}
	w.Gateways, w.Routes = make([]*Gateway, len(v.Gateways)), slices.Clone(v.Routes)
	for i, g := range v.Gateways {
		twin := *g
		w.Gateways[i], twins[g] = &twin, &twin
	}
	for i := range w.Routes {
		w.Routes[i].Gateway = twins[w.Routes[i].Gateway]
	}
	return &w
}

// join makes r, which has its names, the first of a pair whose second is on another
// host; name gives that one its names.
func (r *Router) join(second *Host, vrid uint8, lead int, name func(*Router)) {
	y := *r
	y.Place, y.Host = 1, second
	y.Sides = make([]*Side, len(r.Sides))
	for i, s := range r.Sides {
		twin := *s
		twin.Router, twin.MAC, twin.Own = &y, s.twin.mac, s.twin.own
		y.Sides[i] = &twin
	}
	y.Legs = make([]*Leg, len(r.Legs))
	for i, l := range r.Legs {
		twin := *l // its MAC too: neighbours keep it, only switches learn a new place
		y.Legs[i] = &twin
	}
	if r.VPC != nil {
		y.VPC = r.VPC.twin()
	}
	r.Pair = &Pair{VRID: vrid, Lead: lead, Routers: [2]*Router{r, &y}}
	y.Pair = r.Pair
	name(&y)
}
