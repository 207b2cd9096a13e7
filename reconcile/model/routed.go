package model

import (
	"net/netip"
	"slices"
	"strconv"
	"time"

	"weft.dev/schema"
)

// The fields of a lock that routers of Routed networks have.
const (
	FieldOuter = "public-ip" // the router's own address on the public network
	FieldASN   = "asn"
)

// BGP is how a router tells its neighbours what lies behind it.
type BGP struct {
	ASN      uint32
	Router   netip.Addr // that it is called by: its public address
	Peers    []Peer     // by name
	Networks []netip.Prefix
}

// Peer is a neighbour that a router tells.
type Peer struct {
	Spec *schema.BGPPeer
	// Hold and Keepalive are in seconds.
	Hold, Keepalive int
}

// Routed reports whether nothing of the network is translated: the world knows a way to
// its addresses through its router. A tier is as its VPC.
func (n *Network) Routed() bool {
	return n.Offering != nil && n.Offering.Spec.NetworkMode == "Routed" && n.Type() == GuestIsolated
}

// outer asks for the address of a router that translates nothing.
func (r *resolver) outer(x *Router, leg *Leg) {
	n := r.n
	if len(r.ranges) == 0 {
		if n.Zone.Invalid == "" {
			r.diags.Errorf(r.doc.At("spec.offering"), "no-public-range", "offering %s is Routed, and zone %s has no public range", n.Offering.Name, n.Zone.Name).
				Offending(n.Offering.Name).See(nameOf(n.Zone.Doc), "the zone").Hintf("add a document of kind PublicIPRange")
		}
		return
	}
	if v := r.demand(Demand{Owner: r.owner, Field: FieldOuter, Pool: n.Zone.publicPool(r.ranges), Pos: r.doc.Pos}); v != "" {
		x.Outer = addrOf(v)
		leg.Range = rangeOf(r.ranges, x.Outer)
	}
}

// routed holds what the world knowing a network's addresses means for it, and asks for
// what its router needs to tell them.
func (r *resolver) routed(x *Router) {
	n := r.n
	if !n.Routed() {
		if r.spec.ASN != 0 {
			r.diags.Errorf(r.doc.At("spec.asn"), "not-routed", "%s tells nobody of itself: its offering %s is not Routed", n.what(), n.Offering.Name).
				Offending(strconv.Itoa(r.spec.ASN)).See(r.doc.At("spec.offering"), "its offering")
		}
		return
	}
	if !r.spec.CIDR.IsValid() {
		r.diags.Errorf(nameOf(r.doc), "required-field", "network %s is Routed and states no cidr: the world knows its addresses, so no other network has them", n.ID.Name).
			See(r.doc.At("spec.offering"), "its offering").Hintf("add cidr")
	}
	for _, p := range n.Zone.Ranges {
		if p.Spec.CIDR.Overlaps(n.CIDR) && !slices.Contains(r.ranges, p) { // of those see apart
			r.diags.Errorf(r.doc.At("spec.cidr"), "overlapping-cidr", "%s of %s overlaps %s of public range %s: both are reached from outside", n.CIDR, n.what(), p.Spec.CIDR, p.Name).
				See(p.Doc.At("spec.cidr"), "the public range").Hintf("give the %s another cidr", n.word())
		}
	}
	if n.Offering.Spec.RoutingMode == "Dynamic" {
		r.dynamic(x)
	} else if r.spec.ASN != 0 {
		r.diags.Errorf(r.doc.At("spec.asn"), "not-routed", "offering %s of %s has routingMode Static: BGP tells nobody of it", n.Offering.Name, n.what()).
			Offending(strconv.Itoa(r.spec.ASN)).See(r.doc.At("spec.offering"), "its offering")
	}
}

// dynamic asks for the AS number and gathers what BGP tells.
func (r *resolver) dynamic(x *Router) {
	n := r.n
	z := n.Zone.Spec.BGP
	if z == nil {
		if n.Zone.Invalid == "" {
			r.diags.Errorf(r.doc.At("spec.offering"), "no-bgp", "offering %s has routingMode Dynamic, and zone %s has no bgp", n.Offering.Name, n.Zone.Name).
				Offending(n.Offering.Name).See(nameOf(n.Zone.Doc), "the zone").Hintf("add bgp with asns and peers to the zone")
		}
		return
	}
	d := Demand{Owner: r.owner, Field: FieldASN, Pool: asnPool(n.Zone), Pos: r.doc.Pos}
	switch {
	case r.spec.ASN != 0:
		d.Fixed, d.Pos = strconv.Itoa(r.spec.ASN), r.doc.At("spec.asn")
	case len(z.ASNs) == 0:
		r.diags.Errorf(nameOf(r.doc), "no-bgp", "%s states no asn, and bgp of zone %s has no asns to allocate from", n.what(), n.Zone.Name).
			See(n.Zone.Doc.At("spec.bgp"), "the zone's bgp").Hintf("add asn, or asns to the zone")
		return
	}
	number, _ := parseID(r.demand(d))
	b := &BGP{ASN: number, Router: x.Outer}
	for _, t := range x.networks(n) {
		b.Networks = append(b.Networks, t.CIDR)
		if t.IP6 != nil && t.IP6.CIDR.IsValid() {
			b.Networks = append(b.Networks, t.IP6.CIDR)
		}
	}
	behind := "the network"
	if x.VPC != nil {
		behind = "a tier"
	}
	for i := range z.Peers {
		p := &z.Peers[i]
		b.Peers = append(b.Peers, Peer{Spec: p, Hold: int(p.HoldTime / time.Second), Keepalive: int(p.Keepalive / time.Second)})
		if p.Address.Is6() && !r.dual() {
			r.diags.Errorf(nameOf(r.doc), "no-ip6", "BGP peer %s of zone %s has address %s, and the router of %s has no IPv6", p.Name, n.Zone.Name, p.Address, n.what()).
				See(n.Zone.Doc.PosOf(p.At), "the peer").Hintf("give the peer an IPv4 address, or %s an offering that is DualStack", behind)
		}
	}
	slices.SortFunc(b.Peers, func(a, c Peer) int {
		if a.Spec.Name < c.Spec.Name {
			return -1
		}
		return 1
	})
	x.BGP = b
}

// networks are those of guests behind the router of n: n itself, or the tiers of a VPC.
func (r *Router) networks(n *Network) []*Network {
	if r.VPC != nil {
		return r.VPC.Tiers
	}
	return []*Network{n}
}

func (r *resolver) dual() bool { return r.n.IP6 != nil }

// asnPool has the AS numbers of a zone's routers.
func asnPool(z *Zone) *vnetPool {
	p := &vnetPool{space: "AS number in " + z.Name, describe: "AS number of " + z.Name}
	for _, r := range z.Spec.BGP.ASNs {
		p.spans = append(p.spans, span{uint64(r.From), uint64(r.To)})
	}
	return p
}

// noPublicIPs reports public addresses of a network where nothing is translated.
func (r *resolver) noPublicIPs(d *schema.Document, field string) bool {
	if !r.n.Routed() {
		return false
	}
	says := "ingress of the network"
	if r.n.ID.Kind == schema.KindVPC {
		says = "the ACL of each tier"
	}
	r.diags.Errorf(d.At(field), "not-of-guest-type", "%s is Routed: it is reached at its own addresses, and no public address can serve it", r.n.what()).
		See(r.doc.At("spec.offering"), "its offering").Hintf("what may come in says %s", says)
	return true
}

// rules4 holds that what comes in by IPv4 comes in at public addresses, but where
// nothing is translated.
func (r *resolver) rules4() {
	if r.n.Routed() {
		if len(r.spec.Ingress) > 0 && r.n.Offering.Spec.Services.Firewall == nil {
			r.lacks(r.doc, "spec.ingress", "Firewall")
		}
		return
	}
	if r.n.IP6 == nil {
		return // reported: see only4
	}
	for i := range r.spec.Ingress {
		x := &r.spec.Ingress[i]
		if x.Protocol == "icmp" {
			r.diags.Errorf(d2(r.doc, "spec.ingress", i, "protocol"), "wrong-family", "icmp is for IPv4, which does not come in by ingress of network %s", r.n.ID.Name).
				Offending("icmp").Hintf("write icmpv6")
		}
		for field, list := range map[string][]netip.Prefix{"sources": x.Sources, "destinations": x.Destinations} {
			for j, p := range list {
				if p.IsValid() && p.Addr().Is4() {
					r.diags.Errorf(r.doc.At(path2("spec.ingress", i, field, j)), "wrong-family", "%s is IPv4, which does not come in by ingress of network %s", p, r.n.ID.Name).
						Offending(p.String()).Hintf("IPv4 comes in at public addresses: use firewall of a PublicIP")
				}
			}
		}
	}
}
