package health

import (
	"maps"
	"slices"

	"weft.dev/reconcile/status"
)

// state is what is told of the router.
func (p *patient) state() status.Router {
	r := &p.router
	out := status.Router{Name: r.Name, Owner: r.Owner, NS: r.NS, Every: r.Every, Leave: r.Leave, Keep: r.Keep, Rebuilds: p.rebuilds}
	for _, outside := range []bool{false, true} {
		for _, name := range slices.Sorted(maps.Keys(p.services)) {
			s := p.services[name].state
			if s.Restarts = p.restarts[name]; s.Outside == outside {
				out.Services = append(out.Services, s)
			}
		}
	}
	if p.sickest() != nil {
		out.Next = p.until
	}
	return out
}
