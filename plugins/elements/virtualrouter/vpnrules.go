package virtualrouter

import (
	"net/netip"

	"weft.dev/reconcile/model"
	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

// protoESP is the protocol of IPsec's packets where no address translation is in between.
const protoESP = "50"

// l2tpPort is what L2TP uses inside IPsec, and never outside.
var l2tpPort = []schema.PortRange{{From: model.PortL2TP, To: model.PortL2TP}}

// vpnOuter lets the packets of tunnels come in at a public address: the call of a peer,
// and for users anybody's.
func (r *router) vpnOuter(addr netip.Addr) []resource.Rule {
	var out []resource.Rule
	for _, v := range r.r.VPNs {
		if r.vpnAt(v) != addr {
			continue
		}
		m := match{In: r.legOf(addr), Dst: host(addr), Proto: "udp"}
		if v.Site != nil {
			m.Src = host(v.Site.Peer.Gateway)
		}
		for _, p := range v.Ports() {
			if p != model.PortL2TP || !v.L2TP() {
				m.DstPorts = append(m.DstPorts, schema.PortRange{From: p, To: p})
			}
		}
		out = append(out, rule("vpn-"+v.ID.Name, m, "ACCEPT", v.Doc.Pos))
		if v.L2TP() {
			inside := m
			inside.IPsec, inside.DstPorts = "in", l2tpPort
			out = append(out, rule("vpn-"+v.ID.Name, inside, "ACCEPT", v.Doc.Pos))
		}
		if v.IKE() && r.r.Host.Facts.ESP {
			m.Proto, m.DstPorts = protoESP, nil
			out = append(out, rule("vpn-"+v.ID.Name, m, "ACCEPT", v.Doc.Pos))
		}
	}
	return out
}

// legOf is the link that a public address is on.
func (r *router) legOf(addr netip.Addr) string {
	for _, l := range r.r.Legs {
		if l.Range != nil && l.Range.Spec.CIDR.Contains(addr) {
			return l.Link
		}
	}
	return r.r.Legs[0].Link
}

// vpnInput is what the router itself is asked by the outer packets of tunnels, and for
// names by users in them.
func (r *router) vpnInput() []resource.Rule {
	var out []resource.Rule
	seen := map[netip.Addr]bool{}
	for _, v := range r.r.VPNs {
		if a := r.vpnAt(v); !seen[a] {
			seen[a] = true
			out = append(out, r.vpnOuter(a)...)
		}
	}
	for _, v := range r.r.VPNs {
		if v.Remote == nil {
			continue
		}
		for _, s := range r.sides() {
			if !r.provides(s.services().Dns) {
				continue
			}
			for _, far := range r.linkFar(v) {
				for _, proto := range []string{"udp", "tcp"} {
					m := r.inner(v, match{Src: far, Dst: host(s.side.IP), Proto: proto, DstPorts: []schema.PortRange{{From: 53, To: 53}}})
					out = append(out, rule("vpn-dns", m, "ACCEPT", v.Doc.Pos))
				}
			}
		}
	}
	return out
}

// linkFar is the other side of a VPN for rules that name its link beside: of WireGuard and L2TP
// the link alone tells, since it takes from each user that user's own address only.
func (r *router) linkFar(v *model.VPN) []netip.Prefix {
	if v.Link != "" {
		return []netip.Prefix{{}}
	}
	return v.From()
}

// inner matches what came out of v's tunnel.
func (r *router) inner(v *model.VPN, m match) match {
	switch {
	case v.Link != "":
		m.In = v.Link
	case r.r.Host.Facts.ESP:
		m.In, m.IPsec = r.legOf(r.vpnAt(v)), "in"
	default:
		m.In = ipsecLink
	}
	return m
}

// vpnClear holds what is for the other side of a tunnel, which never leaves in the
// clear: not while the tunnel is down, not of a connection that went through it before.
// A connection from before the tunnel would not go through it, because its source is
// translated, and one from the tunnel's time would leave with a guest's own address once
// the tunnel is gone: both end.
func (r *router) vpnClear() []resource.Rule {
	out := r.vpnHeld(func(*model.VPN) []netip.Prefix { return []netip.Prefix{{}} })
	for i := range out {
		out[i].Do.Ends = true
	}
	return out
}

// vpnHeld drops what is from one of near to the other side of a tunnel and leaves in the
// clear.
func (r *router) vpnHeld(near func(*model.VPN) []netip.Prefix) []resource.Rule {
	var out []resource.Rule
	for _, v := range r.r.VPNs {
		for _, far := range v.Far() {
			for _, src := range near(v) {
				for _, l := range r.r.Legs {
					m := match{Out: l.Link, Src: src, Dst: far}
					if v.IPsec() && r.r.Host.Facts.ESP {
						m.IPsec = "clear"
					}
					out = append(out, rule("vpn-"+v.ID.Name, m, "DROP", v.Doc.Pos))
				}
			}
		}
	}
	return out
}

// vpnOutput is vpnClear for what the router itself says on the guests' side: as one of
// their balancers, or to users who asked for a name. What it says as itself, to a peer,
// has its public address.
func (r *router) vpnOutput() {
	rules := r.vpnHeld(func(v *model.VPN) []netip.Prefix { return v.Guests })
	for _, v := range r.r.VPNs {
		if a := r.vpnAt(v); v.L2TP() {
			rules = append(rules, rule("vpn-"+v.ID.Name, match{Out: r.legOf(a), Src: host(a), Proto: "udp", SrcPorts: l2tpPort, IPsec: "clear"}, "DROP", v.Doc.Pos))
		}
	}
	if len(rules) > 0 {
		r.chain("filter", "OUTPUT", "ACCEPT", rules)
	}
}

// vpnMeters count what passes each tunnel.
func (r *router) vpnMeters() []resource.Rule {
	var out []resource.Rule
	for _, v := range r.r.VPNs {
		chain := map[string]string{}
		for _, direction := range []string{"in", "out"} {
			chain[direction] = resource.Short(28, "VPN", direction, v.ID.Kind[:1], v.ID.Name)
			r.ask(resource.Chain{
				NS: r.r.NS, Family: r.family, Table: "mangle", Name: chain[direction], Rules: []resource.Rule{rule("count", match{}, "RETURN")},
				Meter: &resource.Meter{Of: "vpn", Name: v.Name(), Account: v.ID.Account, Direction: direction},
			}, v.Doc.Pos)
		}
		in, back := r.inner(v, match{}), r.inner(v, match{})
		back.Out, back.In = back.In, ""
		if back.IPsec != "" {
			back.IPsec = "out"
		}
		for _, far := range r.linkFar(v) {
			in.Src, back.Dst = far, far
			out = append(out, jump("vpn-"+v.ID.Name, in, chain["in"]), jump("vpn-"+v.ID.Name, back, chain["out"]))
		}
	}
	return out
}

// vpnForward is what passes between the tunnels and the guests of a side, by accept:
// from a peer's networks to the guests and back, from users to the guests.
func (r *side) vpnForward(accept resource.Verdict) []resource.Rule {
	var out []resource.Rule
	add := func(v *model.VPN, m match, do resource.Verdict) {
		out = append(out, resource.Rule{Name: "vpn-" + v.ID.Name, Match: m, Do: do, Origin: v.Doc.Pos})
	}
	for _, v := range r.r.VPNs {
		for _, far := range v.From() {
			in := r.inner(v, match{Src: far, Dst: r.n.CIDR})
			in.Out = r.side.Link
			add(v, in, accept)
			if v.Site != nil {
				m := match{In: r.side.Link, Out: ipsecLink, Src: r.n.CIDR, Dst: far}
				if r.r.Host.Facts.ESP {
					m.Out, m.IPsec = r.legOf(r.vpnAt(v)), "out"
				}
				add(v, m, accept)
			}
		}
		if v.Remote == nil || !v.IPsec() || !r.r.Host.Facts.ESP {
			continue
		}
		// Guests answer users and call none; here a call would leave by the public link.
		for _, far := range v.Far() {
			add(v, match{In: r.side.Link, Out: r.legOf(r.vpnAt(v)), Dst: far}, resource.Verdict{Target: "DROP"})
		}
	}
	return out
}

// vpnNAT keeps what goes into a tunnel of the kernel's as it is, whichever leg it is on:
// with another source it would not be for the tunnel, and leave in the clear.
func (r *router) vpnNAT() []resource.Rule {
	if !r.r.Host.Facts.ESP {
		return nil // it leaves by a link of its own
	}
	var out []resource.Rule
	for _, v := range r.r.VPNs {
		if !v.IPsec() {
			continue
		}
		for _, far := range v.Far() {
			out = append(out, rule("vpn-"+v.ID.Name, match{Dst: far, IPsec: "out"}, "ACCEPT", v.Doc.Pos))
		}
	}
	return out
}

// vpnDecrypted lets pass before the public addresses' own rules what came out of a
// tunnel of the kernel's: it is seen once more, on the public link.
func (r *router) vpnDecrypted() []resource.Rule {
	if !r.r.Host.Facts.ESP {
		return nil
	}
	var out []resource.Rule
	for _, v := range r.r.VPNs {
		if !v.IPsec() {
			continue
		}
		for _, far := range v.From() {
			for _, near := range v.Guests {
				out = append(out, rule("vpn-"+v.ID.Name, r.inner(v, match{Src: far, Dst: near}), "ACCEPT", v.Doc.Pos))
			}
		}
	}
	return out
}
