package main

import (
	"context"
	"fmt"
	"net/netip"

	"weft.dev/reconcile/model"
)

// An echo request, as security groups see it.
const protocolICMP, typeEcho = 1, 8

// mayPing reports whether the groups of a NIC let it ping an address, and those of
// that address's NIC, if it is one of the tree, let it be pinged.
func mayPing(a *model.NIC, to netip.Addr, b *model.NIC) bool {
	if a.Groups != nil && !a.Groups.Open && !model.Allows(a.Groups.Egress, to, protocolICMP, typeEcho) {
		return false
	}
	return b == nil || b.Groups == nil || model.Allows(b.Groups.Ingress, a.IP, protocolICMP, typeEcho)
}

// grouped checks all pairs of neighbours that groups decide on, in both
// directions.
func (k *checker) grouped(n *model.Network, nics []*model.NIC) {
	for i, a := range nics {
		b := nics[(i+1)%len(nics)]
		for _, p := range [][2]*model.NIC{{a, b}, {b, a}} {
			from, to := p[0], p[1]
			if mayPing(from, to.IP, to) {
				k.add(fmt.Sprintf("%s reaches %s, as security groups say", vm(from), vm(to)),
					func(ctx context.Context) error { return k.ok(ctx, vm(from), "ping", "-c1", "-W3", to.IP.String()) })
				continue
			}
			k.add(fmt.Sprintf("%s does not reach %s, as security groups of %s say", vm(from), vm(to), n.ID),
				func(ctx context.Context) error { return k.no(ctx, vm(from), "ping", "-c1", "-W1", to.IP.String()) })
		}
	}
}
