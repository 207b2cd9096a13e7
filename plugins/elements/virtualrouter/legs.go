package virtualrouter

import (
	"net/netip"

	"weft.dev/reconcile/model"
	"weft.dev/reconcile/resource"
)

// A router with public addresses of several networks has a leg in each. An address
// answers where it was asked, and what a machine with static NAT begins leaves by its
// address's leg; all the rest leaves by the first leg. CloudStack does so with a mark and
// a table for each device (reference 5.8); here what lies inside never depends on a mark,
// because routes by links that are no legs come first (resource.RoutingRule).

// several reports whether legs have to be told apart.
func (r *router) several() bool { return len(r.r.Legs) > 1 }

// ways asks for the routing of several legs.
func (r *router) ways() {
	if !r.several() {
		return
	}
	for i, l := range r.r.Legs {
		r.ask(resource.RoutingRule{
			NS: r.r.NS, Table: l.TableOf(), Dev: l.Link, Net: l.Range.Spec.CIDR.Masked(), Via: l.Range.Spec.Gateway,
			Mark: l.MarkOf(), Mask: model.LegMarks, Rest: i == 0,
		})
	}
}

// legMarks are the first rules that packets meet: those from a leg, and with them their
// connection, belong to it, and so do the answers that come back from inside.
func (r *router) legMarks() []resource.Rule {
	if !r.several() {
		return nil
	}
	var out []resource.Rule
	begin := []string{"NEW"}
	save := func(name string, m match, l *model.Leg) {
		out = append(out, resource.Rule{Name: name, Match: m, Do: resource.Verdict{Target: "MARK", Mark: l.MarkOf(), Mask: model.LegMarks}})
		m.CT = begin
		out = append(out, resource.Rule{Name: name, Match: m, Do: resource.Verdict{Target: "SAVEMARK", Mask: model.LegMarks}})
	}
	for _, l := range r.r.Legs[1:] {
		save("leg", match{In: l.Link}, l)
	}
	for _, s := range r.r.Sides {
		out = append(out, resource.Rule{Name: "answer", Match: match{In: s.Link}, Do: resource.Verdict{Target: "RESTOREMARK", Mask: model.LegMarks}})
	}
	for _, ip := range r.r.IPs {
		l := r.r.LegOf(ip)
		if ip.StaticNAT == nil || l == nil || l == r.r.Legs[0] {
			continue
		}
		for _, s := range r.r.Sides {
			if s.Network.CIDR.Contains(ip.StaticTo) {
				save("static-nat", match{In: s.Link, Src: host(ip.StaticTo), CT: begin}, l)
			}
		}
	}
	return out
}

// leavers lists who of inside may begin connections by a leg: those that NAT gives a
// source there, or all where nothing is translated.
func (r *router) leavers(l *model.Leg, inside []netip.Prefix) []netip.Prefix {
	if l == r.r.Legs[0] && (r.r.SourceNAT.IsValid() || r.routed()) {
		return inside
	}
	var out []netip.Prefix
	for _, ip := range r.r.IPs {
		if ip.StaticNAT != nil && r.r.LegOf(ip) == l {
			out = append(out, host(ip.StaticTo))
		}
	}
	return out
}
