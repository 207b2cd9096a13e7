package main

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"

	"weft.dev/reconcile/model"
	"weft.dev/reconcile/reach"
)

// cloud tries what a VPC's lists let pass between its tiers and to the world, and what is
// open at its public addresses.
func (k *checker) cloud(v *model.VPC) {
	if v.Router == nil {
		return
	}
	ways := k.ways(&v.Network)
	var tiers []*model.Network
	for _, t := range v.Tiers {
		if len(running(t)) > 0 {
			tiers = append(tiers, t)
		}
	}
	for _, a := range tiers {
		for _, b := range tiers {
			if a != b {
				k.between(a, b, waysOf(v, a, b.CIDR.String(), ways))
			}
		}
		k.leaving(v, a, waysOf(v, a, "internet", ways))
		if v.Routed() {
			k.asItIs(a, ways)
		}
	}
	k.inbound(&v.Network)
	k.balanced(&v.Network)
}

// waysOf are those from a tier of v to somewhere.
func waysOf(v *model.VPC, from *model.Network, to string, ways []reach.Way) []reach.Way {
	var out []reach.Way
	for _, w := range ways {
		if w.From == v.ID.String()+" "+from.CIDR.String() && w.To == to {
			out = append(out, w)
		}
	}
	return out
}

// between tries one TCP port that is open from tier to tier, or that none is.
func (k *checker) between(a, b *model.Network, ways []reach.Way) {
	from, to := running(a)[0], running(b)[0]
	for _, w := range ways {
		port, ok := firstPort(w.Ports)
		if !ok {
			continue
		}
		k.add(fmt.Sprintf("%s reaches %s of tier %s on port %d", vm(from), vm(to), b.ID.Name, port), func(ctx context.Context) error {
			return k.served(ctx, vm(to), port, func(ctx context.Context) error {
				return k.says(ctx, vm(from), vm(to), "nc", "-w", "3", to.IP.String(), strconv.Itoa(port))
			})
		})
		return
	}
	if len(ways) > 0 {
		return // by other protocols than checks have
	}
	k.add(fmt.Sprintf("%s does not reach %s of tier %s", vm(from), vm(to), b.ID.Name),
		func(ctx context.Context) error { return k.no(ctx, vm(from), "ping", "-c1", "-W1", to.IP.String()) })
}

// leaving tries to reach the world from a tier.
func (k *checker) leaving(v *model.VPC, t *model.Network, ways []reach.Way) {
	nic := running(t)[0]
	get := []string{"curl", "-s", "-m", "2", "http://" + world + "/"}
	for _, w := range ways {
		if want := k.leaves(&v.Network, nic); covers(w.Ports, 80) && want != (netip.Addr{}) {
			k.add(fmt.Sprintf("%s reaches the internet, which sees %s", vm(nic), want), func(ctx context.Context) error {
				return k.says(ctx, vm(nic), want.String(), get...)
			})
			return
		}
	}
	k.add(vm(nic)+" does not reach the internet", func(ctx context.Context) error { return k.no(ctx, vm(nic), get...) })
}
