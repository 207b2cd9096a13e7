package virtualrouter

import (
	"slices"
	"time"

	"weft.dev/reconcile/model"
	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

// publish asks for the records of the running machines' names at an external DNS
// server, which the host of the router tells; of a pair that of the primary, or two would
// undo each other.
//
// Addresses are those that machines have themselves. What is public of them, by static NAT
// or forwarding, has no name of theirs: beside it at one name clients inside and outside
// would be given both, and each could use one.
func (r *router) publish() {
	var with *resource.ID
	if r.r.Pair != nil {
		with = r.leadID()
	}
	var order []resource.ID
	told := map[resource.ID]*resource.Record{}
	origins := map[resource.ID][]schema.Pos{}
	for _, s := range r.sides() {
		p := s.n.Published
		if p == nil {
			continue
		}
		server, ttl := serverOf(p), uint32(p.Provider.Spec.TTL/time.Second)
		for _, nic := range s.on.NICs {
			for _, x := range s.n.Told(nic) {
				rec := &resource.Record{Server: server, Zone: x.Zone, Name: x.Name, Type: x.Type, TTL: ttl, With: with}
				id := rec.ID()
				if told[id] == nil {
					told[id] = rec
					order = append(order, id)
				}
				if rec = told[id]; !slices.Contains(rec.Values, x.Value) {
					rec.Values = append(rec.Values, x.Value)
				}
				if !slices.Contains(origins[id], nic.Pos) {
					origins[id] = append(origins[id], nic.Pos)
				}
			}
		}
	}
	for _, id := range order {
		slices.Sort(told[id].Values)
		r.out.Ask(r.r.Host.Name, *told[id], origins[id]...)
	}
}

func serverOf(p *model.Published) resource.Server {
	out := resource.Server{Endpoint: p.Provider.Spec.Endpoint}
	if k := p.Provider.Spec.TSIG; k != nil {
		out.Key, out.Algorithm, out.Secret = k.Name, k.Algorithm, k.PSK.SecretFile
	}
	for i, a := range p.Resolvers {
		if i > 0 {
			out.Resolvers += " "
		}
		out.Resolvers += a.String()
	}
	return out
}
