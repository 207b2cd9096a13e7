package reach

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"weft.dev/reconcile/model"
	"weft.dev/reconcile/resource"
)

// The links of a router.
const (
	guest  = model.GuestLink
	public = model.PublicLink
)

// A Way is traffic that may begin: from somewhere to somewhere, on ports.
type Way struct {
	// From and To are "internet", "network/ACCOUNT/NAME", an address or a CIDR;
	// "network/ACCOUNT/NAME CIDR" are some of its guests.
	From string `json:"from"`
	To   string `json:"to"`
	// Ports are "443/tcp", "tcp" (all of it), "icmp type 8".
	Ports string `json:"ports"`
	// At is where it arrives when that differs from To: "10.1.1.11:8080".
	At string `json:"at,omitempty"`
}

// String is the way for people.
func (w Way) String() string {
	s := w.From + " -> " + w.To + " " + w.Ports
	if w.At != "" {
		s += " (at " + w.At + ")"
	}
	return s
}

// Open reports whether anybody on the internet may begin.
func (w Way) Open() bool { return w.From == "internet" && !strings.HasPrefix(w.To, "internet") }

// Compare orders ways.
func (w Way) Compare(o Way) int {
	return cmp.Or(cmp.Compare(w.To, o.To), cmp.Compare(w.Ports, o.Ports), cmp.Compare(w.From, o.From), cmp.Compare(w.At, o.At))
}

// Of lists the ways through the routers of owner's fragment: from the internet
// to its public addresses, and from its guests, all of them alike, to the
// internet. It is sorted.
func Of(f *resource.Fragment) []Way {
	routers := Routers([]*resource.Fragment{f})
	list := tried(routers, routers, string(f.Owner))
	list = slices.DeleteFunc(list, func(t trial) bool { return t.part })
	return texts(narrow(expand(narrow(list))))
}

// protocols are those that a router of a family is tried with, beside others that its
// rules name.
func protocols(family int) []string {
	if family == 6 {
		return []string{"tcp", "udp", "icmpv6"}
	}
	return []string{"tcp", "udp", "icmp"}
}

func isICMP(proto string) bool { return proto == "icmp" || proto == "icmpv6" }

func known(proto string) bool { return proto == "tcp" || proto == "udp" || isICMP(proto) }

// A trial is what some packets do that all begin alike: a Way before it is text.
type trial struct {
	from, to place
	part     bool // some of an owner's guests only
	proto    string
	lo, hi   uint16
	at       string
}

func (t trial) way() Way {
	return Way{From: t.from.name, To: t.to.name, Ports: portText(t.proto, t.lo, t.hi), At: t.at}
}

func texts(list []trial) []Way {
	var out []Way
	for _, t := range list {
		out = append(out, t.way())
	}
	slices.SortFunc(out, Way.Compare)
	return slices.Compact(out)
}

// tried lists all that may begin through the routers, by the cells of both: they
// and those that they are compared with.
func tried(routers, both []*Router, owner string) []trial {
	var out []trial
	for _, family := range []int{4, 6} {
		rivals := ofFamily(both, family)
		if len(rivals) == 0 {
			continue
		}
		all := gridOf(rivals, netip.Addr{})
		for _, r := range ofFamily(routers, family) {
			if family == 4 {
				out = append(out, r.inbound(rivals)...)
			}
			if r.plain() {
				out = append(out, r.routed(all)...)
			}
			out = append(out, r.outbound(all, owner)...)
			out = append(out, r.through(all)...)
		}
	}
	return out
}

// inbound tries every public address from everywhere.
func (r *Router) inbound(both []*Router) []trial {
	var out []trial
	for _, leg := range r.legs() {
		out = append(out, r.inboundBy(leg, both)...)
	}
	return out
}

// inboundBy tries the public addresses of one leg.
func (r *Router) inboundBy(leg string, both []*Router) []trial {
	var out []trial
	for _, p := range r.links[leg] {
		addr := p.Addr()
		g := gridOf(both, addr)
		for _, from := range g.outside() {
			// What hears nothing from there is neither walked nor has ports of its own here.
			heard, rivals := r.hears(leg, from.probe), make([]*Router, len(both))
			for i, x := range both {
				rivals[i] = x.hears(leg, from.probe)
			}
			g := gridOf(rivals, addr)
			for _, proto := range g.protocols() {
				out = append(out, sweep(g, trial{from: from, to: place{name: addr.String()}, proto: proto}, func(port uint16) (string, bool) {
					v := heard.Send(Packet{In: leg, Src: from.probe, Dst: addr, Proto: proto, Port: port})
					return arrival(v, addr, proto, port), v.Pass
				})...)
			}
		}
	}
	return apart(out)
}

// several joins the places of a way that leads to several.
const several = ", "

// apart makes a way of each place that one leads to.
func apart(list []trial) []trial {
	var out []trial
	for _, t := range list {
		for at := range strings.SplitSeq(t.at, several) {
			t.at = at
			out = append(out, t)
		}
	}
	return out
}

// arrival says where a packet ends, as an offset-free text, so that ranges
// that move as a whole stay one way.
func arrival(v Verdict, to netip.Addr, proto string, port uint16) string {
	if len(v.Behind) > 0 {
		var all []string
		for _, b := range v.Behind {
			all = append(all, arrival(Verdict{Dst: b.Addr(), Port: b.Port()}, to, proto, port))
		}
		slices.Sort(all)
		return strings.Join(slices.Compact(all), several)
	}
	if v.Dst == to || v.Local {
		return ""
	}
	if proto != "icmp" && v.Port != port {
		return v.Dst.String() + " port " + shift(v.Port, port)
	}
	return v.Dst.String()
}

// shift writes a translated port relative to the one asked for.
func shift(got, asked uint16) string {
	if got > asked {
		return "+" + span(got-asked, got-asked)
	}
	return "-" + span(asked-got, asked-got)
}

// outbound tries to leave from everywhere in the guests' network.
func (r *Router) outbound(g *grid, owner string) []trial {
	if len(r.links[guest]) == 0 || len(r.legs()) == 0 {
		return r.between(g, owner)
	}
	net := r.links[guest][0].Masked()
	var out []trial
	targets := g.beyond(net)
	for _, from := range slices.Concat(g.inside(net, owner), places(r.behind[guest], owner+" ")) {
		for _, to := range targets {
			if from.cidr.IsValid() && from.cidr == to.cidr {
				continue // not through the router
			}
			for _, proto := range g.protocols() {
				out = append(out, sweep(g, trial{from: from, to: to, part: !from.all, proto: proto}, func(port uint16) (string, bool) {
					v := r.Send(Packet{In: guest, Src: from.probe, Dst: to.probe, Proto: proto, Port: port})
					return "", v.Pass
				})...)
			}
		}
	}
	return out
}

// sweep tries one port of each interval and joins neighbours that fare alike.
func sweep(g *grid, t trial, try func(uint16) (string, bool)) []trial {
	var out []trial
	_, end := portsOf(t.proto)
	open := false
	flush := func(stop uint16) {
		if open {
			t.hi = stop
			out = append(out, t)
		}
	}
	for i, port := range g.ports[t.proto] {
		at, passes := try(port)
		if i > 0 && at == t.at && passes == open {
			continue
		}
		if i > 0 {
			flush(port - 1)
		}
		t.lo, t.at, open = port, at, passes
	}
	flush(end)
	return out
}

// narrow drops what a CIDR may do that a wider one, or all the rest, may do too.
func narrow(list []trial) []trial {
	list = drop(list, func(t *trial) *place { return &t.from })
	return drop(list, func(t *trial) *place { return &t.to })
}

// drop looks at one end of trials that are equal but for that end and the ports.
func drop(list []trial, end func(*trial) *place) []trial {
	type rest struct{ other, proto, at string }
	key := func(t trial) rest {
		e := end(&t)
		*e = place{}
		return rest{t.from.name + " " + t.to.name, t.proto, t.at}
	}
	type spot struct {
		rest
		cidr netip.Prefix // zero: all the rest
	}
	wide := map[spot][]trial{}
	lengths := map[rest][]int{}
	for _, t := range list {
		switch e := end(&t); {
		case e.all:
			at := spot{key(t), netip.Prefix{}}
			wide[at] = append(wide[at], t)
		case e.cidr.IsValid() && len(e.each) == 0:
			k := key(t)
			wide[spot{k, e.cidr}] = append(wide[spot{k, e.cidr}], t)
			if n := e.cidr.Bits(); !slices.Contains(lengths[k], n) {
				lengths[k] = append(lengths[k], n)
			}
		}
	}
	return slices.DeleteFunc(list, func(t trial) bool {
		e, k := end(&t), key(t)
		if !e.cidr.IsValid() || e.known {
			return false
		}
		within := func(o trial) bool { return o.lo <= t.lo && t.hi <= o.hi }
		if slices.ContainsFunc(wide[spot{k, netip.Prefix{}}], within) {
			return true
		}
		return len(e.each) == 0 && slices.ContainsFunc(lengths[k], func(n int) bool {
			p, err := e.cidr.Addr().Prefix(n)
			return err == nil && n < e.cidr.Bits() && slices.ContainsFunc(wide[spot{k, p}], within)
		})
	})
}
