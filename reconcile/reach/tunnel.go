package reach

import (
	"net/netip"

	"weft.dev/reconcile/resource"
)

// A tunnel is one end of a VPN, as the rules that let packets through tell of it: by a
// link that has no address, or by what the kernel did to a packet on a public one.
type tunnel struct {
	link   string
	ipsec  bool         // the kernel's
	net    netip.Prefix // on the other side
	inward bool         // from there; else to there
}

// tunnels finds them among the rules that accept.
func (r *Router) tunnels() []tunnel {
	c := r.chains["filter/FORWARD"]
	if c == nil {
		return nil
	}
	var out []tunnel
	for i := range c.Rules {
		m := &c.Rules[i].Match
		if c.Rules[i].Do.Target == "DROP" {
			continue
		}
		if m.Src.IsValid() && r.outOf(m) {
			out = append(out, tunnel{m.In, m.IPsec == "in", m.Src, true})
		}
		if m.Dst.IsValid() && r.into(m) {
			out = append(out, tunnel{m.Out, m.IPsec == "out", m.Dst, false})
		}
	}
	return out
}

func (r *Router) outOf(m *resource.Match) bool {
	return m.IPsec == "in" || r.isTunnel(m.In)
}

func (r *Router) into(m *resource.Match) bool {
	return m.IPsec == "out" || r.isTunnel(m.Out)
}

// isTunnel reports whether a link is a tunnel's. A link to a network may have no address
// for a moment, while a host changes.
func (r *Router) isTunnel(link string) bool {
	return link != "" && len(r.links[link]) == 0 && !isLeg(link) && !isInner(link) && !isGateway(link)
}

// tunnel is the one that what is for a goes into.
func (r *Router) tunnel(a netip.Addr) (tunnel, bool) {
	for _, t := range r.tunnelled {
		if !t.inward && t.net.Contains(a) {
			return t, true
		}
	}
	return tunnel{}, false
}

// through tries the guests from the other sides of tunnels.
func (r *Router) through(g *grid) []trial {
	var out []trial
	for _, t := range r.tunnelled {
		if !t.inward {
			continue
		}
		from := place{name: t.net.String(), cidr: t.net, probe: t.net.Addr()}
		for _, link := range r.inner() {
			for _, to := range g.within(r.links[link][0].Masked()) {
				for _, proto := range g.protocols() {
					out = append(out, sweep(g, trial{from: from, to: to, proto: proto}, func(port uint16) (string, bool) {
						v := r.Send(Packet{In: t.link, Src: from.probe, Dst: to.probe, Proto: proto, Port: port, ipsec: t.ipsec})
						return "", v.Pass && !v.Local
					})...)
				}
			}
		}
	}
	return out
}

// matchIPsec: the packet came out of a tunnel of the kernel's, goes into one, or into
// none.
func matchIPsec(want string, p *Packet) bool {
	switch want {
	case "in":
		return p.ipsec
	case "out":
		return p.into
	case "clear":
		return !p.into
	}
	return true
}
