package model

import (
	"fmt"
	"net/netip"
	"slices"

	"weft.dev/schema"
)

// A vpnWay is where the router sends packets for a network that is none of its guests'.
type vpnWay struct {
	to   netip.Prefix
	what string // "the route to 10.99.0.0/16"
	see  string
	at   schema.Pos
}

// vpnWays are those of a network's own router.
func (r *resolver) vpnWays() []vpnWay {
	var out []vpnWay
	for _, x := range r.spec.Routes {
		if x.CIDR.Addr().Is4() {
			out = append(out, routeWay(x.CIDR.Masked(), r.doc.PosOf(x.At)))
		}
	}
	return out
}

// vpnWays are those of the VPC's router.
func (v *VPC) vpnWays() []vpnWay {
	var out []vpnWay
	for _, g := range v.Gateways {
		own := g.Spec.IP.Masked()
		out = append(out, vpnWay{own, fmt.Sprintf("%s of private gateway %s", own, g.ID.Name), "the private gateway", g.Doc.At("spec.ip")})
	}
	for _, x := range v.Routes {
		if x.CIDR.Addr().Is4() {
			out = append(out, routeWay(x.CIDR, x.Pos))
		}
	}
	return out
}

func routeWay(to netip.Prefix, at schema.Pos) vpnWay {
	return vpnWay{to, fmt.Sprintf("the route to %s", to), "the route", at}
}

// oneWay holds that what is on v's other side is reached by no other way: while the
// tunnel is down packets would take that one, in the clear.
func (h *VPNHome) oneWay(v *VPN) {
	far := v.Far()
	for _, w := range h.Ways {
		if x, _, ok := overlap(far, []netip.Prefix{w.to}); ok {
			h.Diags.Errorf(v.farAt(), "overlapping-cidr", "%s of %s overlaps %s of %s %s", x, v.ID, w.what, h.Word, h.ID.Name).
				See(w.at, "%s", w.see).Hintf("what is behind a VPN is reached through it only")
		}
	}
}

// outer holds that v's own packets go by no tunnel of the router, nor to guests.
func (h *VPNHome) outer(v *VPN, all []*VPN) {
	if v.Site == nil {
		return
	}
	peer, at := v.Site.Peer.Gateway, v.Doc.At("spec.peer.gateway")
	holds := func(list []netip.Prefix) bool {
		return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(peer) })
	}
	if holds(h.Guests) {
		h.Diags.Errorf(at, "peer-inside", "the peer %s of %s is among the guests of %s %s", peer, v.ID, h.Word, h.ID.Name).
			Offending(peer.String()).See(nameOf(h.Doc), "the %s", h.Word)
	}
	for _, o := range all {
		if o != v && holds(o.Far()) {
			h.Diags.Errorf(at, "peer-inside", "the peer %s of %s is behind %s, and no tunnel is built through another", peer, v.ID, o.ID).
				Offending(peer.String()).See(o.farAt(), "the other VPN")
		}
	}
}
