package reach

import (
	"slices"

	"weft.dev/reconcile/plugin"
	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

// Members lists who hears whom without a router: the NICs of one network, unless they
// are isolated in a private VLAN, and those of networks that share a broadcast domain.
// Where security groups decide, it lists what these let begin.
func Members(domains []plugin.Domain) []Way { return members(domains, everybody) }

// Heard is what a commit changes of that, as far as it is about an owner: one of the two
// ends. Domains that are as they were, among none that changed, are not looked at.
func Heard(base, head []plugin.Domain, about func(resource.Owner) bool) Change {
	touched := touched(base, head)
	pick := func(list []plugin.Domain) []plugin.Domain {
		var out []plugin.Domain
		for i := range list {
			if touched[list[i].Segment] {
				out = append(out, list[i])
			}
		}
		return out
	}
	return Compare(members(pick(base), about), members(pick(head), about))
}

func everybody(resource.Owner) bool { return true }

// touched are the broadcast domains in which something changed.
func touched(base, head []plugin.Domain) map[plugin.Segment]bool {
	had, has := spots(base), spots(head)
	out := map[plugin.Segment]bool{}
	for at, d := range has {
		old, ok := had[at]
		if !ok || !slices.Equal(old.NICs, d.NICs) || old.Private != d.Private || len(old.Gates)+len(d.Gates) > 0 {
			out[at.segment] = true
		}
	}
	for at := range had {
		if has[at] == nil {
			out[at.segment] = true
		}
	}
	return out
}

// A spot is a network in one of its broadcast domains. Those of pods may look alike,
// and are told apart by their order.
type spot struct {
	network schema.ID
	segment plugin.Segment
	nth     int
}

func spots(domains []plugin.Domain) map[spot]*plugin.Domain {
	out := make(map[spot]*plugin.Domain, len(domains))
	for i := range domains {
		at := spot{network: domains[i].Network, segment: domains[i].Segment}
		for out[at] != nil {
			at.nth++
		}
		out[at] = &domains[i]
	}
	return out
}

func members(domains []plugin.Domain, about func(resource.Owner) bool) []Way {
	with := map[plugin.Segment][]*plugin.Domain{}
	for i := range domains {
		if d := &domains[i]; len(d.NICs) > 0 {
			with[d.Segment] = append(with[d.Segment], d)
		}
	}
	var out []Way
	for i := range domains {
		d := &domains[i]
		own := about(resource.Owner(d.Network.String()))
		for _, g := range d.Gates {
			if own {
				out = append(out, gated(g)...)
			}
		}
		if len(d.Gates) > 0 {
			continue
		}
		told := map[schema.ID]bool{} // pods of one network may look alike
		for _, e := range with[d.Segment] {
			to := e.Network.String()
			if told[e.Network] || len(e.Gates) > 0 || !d.Private.Hears(e.Private) || !own && !about(resource.Owner(to)) {
				continue
			}
			told[e.Network] = true
			for _, n := range d.NICs {
				out = append(out, Way{From: "nic/" + n, To: to, Ports: "all"})
			}
		}
	}
	return out
}
