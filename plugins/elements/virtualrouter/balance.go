package virtualrouter

import (
	"hash/fnv"
	"net/netip"
	"slices"

	"weft.dev/reconcile/model"
	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

// statisticsRules lets guests see the page.
func (r *side) statisticsRules() []resource.Rule {
	if len(r.shown(r.r.Balancers)) == 0 {
		return nil
	}
	return []resource.Rule{rule("statistics", match{
		In: r.side.Link, Proto: "tcp", Src: r.n.CIDR, Dst: host(r.side.IP), DstPorts: port(model.StatisticsPort),
	}, "ACCEPT")}
}

func port(p uint16) []schema.PortRange { return []schema.PortRange{{From: p, To: p}} }

// balancerRules lets clients reach the balancers that listen in the router: from
// outside they have passed the firewall of the address already, and in a VPC the lists
// of where they come from and of the members' tier decide, as on what is forwarded.
func (r *router) balancerRules() []resource.Rule {
	var out []resource.Rule
	for _, b := range r.r.Balancers {
		if b.Transport() != "tcp" {
			continue
		}
		at := b.Doc.Pos
		m := match{Proto: "tcp", Dst: host(b.Addr), DstPorts: port(b.Port)}
		if r.r.VPC == nil {
			out = append(out, r.admit(b, m, "l", b.Spec.Sources)...)
			continue
		}
		if own := r.sideOf(b); b.IP == nil {
			guests := m
			guests.In = own.side.Link
			if list := inside(own.n.CIDR, b.Spec.Sources); len(list) > 0 {
				out = append(out, r.admit(b, guests, "m", list)...)
			}
		}
		if lists := r.balancerLists(b, m, at); lists != nil {
			out = append(append(out, lists...), r.admit(b, m, "l", b.Spec.Sources)...)
		}
	}
	return out
}

// inside are those of sources, nil for everywhere, that are in a network.
func inside(cidr netip.Prefix, sources []netip.Prefix) []netip.Prefix {
	if sources == nil {
		return []netip.Prefix{cidr}
	}
	var out []netip.Prefix
	for _, s := range sources {
		switch {
		case !s.Overlaps(cidr):
		case s.Bits() < cidr.Bits():
			out = append(out, cidr)
		default:
			out = append(out, s)
		}
	}
	return out
}

// admit accepts those of m who are among sources.
func (r *router) admit(b *model.Balancer, m match, kind string, sources []netip.Prefix) []resource.Rule {
	var out []resource.Rule
	for _, m := range r.ends(m, kind, b.ID.Account+"/"+b.ID.Name, sources, nil, b.Doc.Pos) {
		x := rule(b.ID.Name, m, "ACCEPT", b.Doc.Pos)
		for i := range b.Members {
			x.Behind = append(x.Behind, netip.AddrPortFrom(b.Members[i].To, b.To))
		}
		out = append(out, x)
	}
	return out
}

// balancerLists are the jumps to the lists that decide who may reach a balancer of a
// VPC: that of the tier, or gateway, where a client is, and that of the members' tier
// with the port that members are asked at; nil where there are no members, and so
// nobody to reach.
func (r *router) balancerLists(b *model.Balancer, m match, at schema.Pos) []resource.Rule {
	own := r.sideOf(b)
	if own == nil {
		return nil
	}
	var out []resource.Rule
	leave := func(link string, l *model.ACL) {
		m := m
		m.In = link
		x := jump(b.ID.Name, m, listed(l, false))
		x.Origin = at
		out = append(out, x)
	}
	for _, s := range r.r.Sides {
		leave(s.Link, s.ACL)
	}
	for _, g := range r.r.VPC.Gateways {
		leave(g.Leg.Link, g.ACL)
	}
	name := resource.Short(28, "LB_IN", b.ID.Account, b.ID.Name)
	r.chain("filter", name, "", r.atInstance(own.side.ACL, b), at)
	x := jump(b.ID.Name, m, name)
	x.Origin = at
	return append(out, x)
}

// atInstance are those rules of a tier's list that are about the port of the members,
// without the port: HAProxy is called at another, and by the client itself.
func (r *router) atInstance(l *model.ACL, b *model.Balancer) []resource.Rule {
	var out []resource.Rule
	for _, x := range r.entries(l, true) {
		about := len(x.Match.DstPorts) == 0 || slices.ContainsFunc(x.Match.DstPorts, func(p schema.PortRange) bool { return p.From <= b.To && b.To <= p.To })
		if about && (x.Match.Proto == "" || x.Match.Proto == "tcp") {
			x.Match.DstPorts = nil
			out = append(out, x)
		}
	}
	return out
}

// balancedWays lets guests reach a balancer of udp that is in their own tier, where
// nobody filters.
func (r *router) balancedWays() []resource.Rule {
	var out []resource.Rule
	for _, b := range r.r.Balancers {
		if own := r.sideOf(b); b.Transport() == "udp" && b.IP == nil {
			link := own.side.Link
			out = append(out, rule(b.ID.Name, match{In: link, Out: link, Src: own.n.CIDR, OrigDst: host(b.Addr), CT: []string{"DNAT"}}, "ACCEPT", b.Doc.Pos))
		}
	}
	return out
}

// balancedUDP asks for the chains of balancers of udp and returns the rules that
// lead there, in the order of PREROUTING of nat. HAProxy knows no udp, and kernels
// with IPVS are rare among routers' namespaces: what chooses the member is address
// translation, once for each client's port, and the kernel sends what follows after
// it. So members see clients' own addresses, and nothing is lost when rules change.
func (r *router) balancedUDP() []resource.Rule {
	var out []resource.Rule
	for _, b := range r.r.Balancers {
		if b.Transport() != "udp" {
			continue
		}
		at := b.Doc.Pos
		name := resource.Short(28, "LB", b.ID.Account, b.ID.Name)
		r.chain("nat", name, "", r.shares(b), at)
		m := match{Proto: "udp", Dst: host(b.Addr), DstPorts: port(b.Port)}
		for _, m := range r.ends(m, "u", b.ID.Account+"/"+b.ID.Name+of(b.Spec.Sources), b.Spec.Sources, nil, at) {
			x := jump(b.ID.Name, m, name)
			x.Origin = at
			out = append(out, x)
		}
	}
	return out
}

// shares gives each member its part of the clients: in turn, a rule for each unit of
// weight, or by address.
func (r *router) shares(b *model.Balancer) []resource.Rule {
	weights := b.Slots()
	left := 0
	for _, w := range weights {
		left += w
	}
	seed := fnv.New32a()
	_, _ = seed.Write([]byte(b.ID.String()))
	total, before := left, 0
	var out []resource.Rule
	add := func(i int, m match) {
		at := b.Doc.PosOf(b.Members[i].Spec.At)
		m.Proto = "udp"
		do := resource.Verdict{Target: "DNAT", To: b.Members[i].To}
		if b.To != b.Port {
			do.Ports = schema.PortRange{From: b.To, To: b.To}
		}
		out = append(out, resource.Rule{Name: b.Members[i].NIC.ID, Match: m, Do: do, Origin: at})
	}
	for i, w := range weights {
		switch {
		case w == 0:
		case b.Spec.Algorithm == "source" && left > w:
			add(i, match{Hash: resource.Hash{Nodes: total, Mask: (1<<w - 1) << before, Seed: seed.Sum32()}})
			left, before = left-w, before+w
		case b.Spec.Algorithm == "source":
			add(i, match{})
		default:
			for range w {
				add(i, match{Nth: every(left)})
				left--
			}
		}
	}
	return out
}

// every is the match of one of n; the last takes the rest.
func every(n int) int {
	if n == 1 {
		return 0
	}
	return n
}
