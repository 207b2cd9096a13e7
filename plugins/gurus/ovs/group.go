package ovs

import (
	"cmp"
	"net/netip"
	"slices"

	"weft.dev/reconcile/model"
	"weft.dev/reconcile/plugin"
	"weft.dev/reconcile/plugin/pipeline"
	"weft.dev/reconcile/resource"
)

// policies numbers what the groups of n's NICs decide; nil where it has none.
func policies(n *model.Network) map[string]uint32 {
	if !n.Grouped() {
		return nil
	}
	var groups []*model.Groups
	seen := map[*model.Groups]bool{}
	for _, nic := range n.NICs {
		if g := nic.Groups; g != nil && !seen[g] {
			seen[g] = true
			groups = append(groups, g)
		}
	}
	return pipeline.Policies(groups)
}

// policy is the number of what nic's groups decide, 0 where it has none.
func (d *draft) policy(nic *model.NIC) uint32 {
	if nic.Groups == nil {
		return 0
	}
	if !slices.Contains(d.groups, nic.Groups) {
		d.groups = append(d.groups, nic.Groups)
	}
	return d.policies[nic.Groups.Key]
}

// firewall adds what the groups of the host's NICs let through.
func (d *draft) firewall() {
	if len(d.groups) == 0 {
		return
	}
	f := pipeline.Firewall{Segment: d.seg, Zone: d.n.CTZone, Local: d.local(), Resolvers: plugin.Resolvers(d.n, d.on)}
	for _, nic := range d.on.NICs {
		f.IPv6 = f.IPv6 || speaks6(nic)
	}
	d.out.Flow(d.host.Name, nil, f.Rules()...)
	slices.SortFunc(d.groups, func(a, b *model.Groups) int { return cmp.Compare(a.Key, b.Key) })
	d.out.Flows(d.host.Name, 0, func(all *resource.Flows) {
		for _, g := range d.groups {
			all.Join(f.Policy(g, d.policies[g.Key]))
		}
	})
}

// local lists the segment's own addresses.
func (d *draft) local() []netip.Prefix {
	var out []netip.Prefix
	for _, s := range d.on.Subnets {
		out = append(out, s.CIDR)
	}
	return out
}

// speaks6 reports whether a NIC may use IPv6.
func speaks6(nic *model.NIC) bool {
	return !nic.Spec.AntiSpoof || nic.IP6.IsValid() ||
		slices.ContainsFunc(nic.Spec.SecondaryIPs, netip.Addr.Is6) ||
		slices.ContainsFunc(nic.Spec.AllowedAddresses, allowed6)
}

// guest returns the rules of a NIC's port.
func (d *draft) guest(nic *model.NIC, sym string) []resource.Flow {
	strict := nic.Spec.AntiSpoof && len(nic.Spec.AllowedAddresses) == 0
	if !nic.Spec.AntiSpoof {
		return pipeline.Reserve(pipeline.Open(d.seg, sym, d.policy(nic)), sym, d.reserved, strict)
	}
	return pipeline.Reserve(pipeline.Guest(d.seg, sym, owned(d.n, nic), d.policy(nic)), sym, d.reserved, strict)
}
