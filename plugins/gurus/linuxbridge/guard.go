package linuxbridge

import (
	"net/netip"

	"weft.dev/reconcile/model"
	"weft.dev/reconcile/plugin"
	"weft.dev/reconcile/resource"
)

// guard is what may pass a NIC's port. In an L2 network nobody knows addresses.
func (d *draft) guard(nic *model.NIC) *resource.Guard {
	mac := nic.MAC.String()
	g := &resource.Guard{Down: !nic.Up(), Open: !nic.Spec.AntiSpoof, Any: d.n.Type() == model.GuestL2, MAC: mac}
	if g.Down {
		return g
	}
	g.Groups = d.groups(nic.Groups)
	if r := d.reserved; r != nil {
		g.Reserved = &resource.Reserved{Addrs: r.Addrs}
		for _, m := range r.MACs {
			g.Reserved.MACs = append(g.Reserved.MACs, m.String())
		}
	}
	if g.Open || g.Any {
		return g
	}
	own := func(a netip.Addr) {
		if a.IsValid() {
			g.Owned = append(g.Owned, resource.Owned{MAC: mac, CIDR: netip.PrefixFrom(a, a.BitLen())})
		}
	}
	own(nic.IP)
	own(nic.IP6)
	for _, a := range nic.Spec.SecondaryIPs {
		own(a)
	}
	for i := range nic.Spec.AllowedAddresses {
		a := &nic.Spec.AllowedAddresses[i]
		o := resource.Owned{MAC: mac, CIDR: a.CIDR.Masked()}
		if !a.MAC.IsZero() {
			o.MAC = a.MAC.String()
		}
		g.Owned = append(g.Owned, o)
	}
	return g
}

// groups are the security groups of a NIC, nil where it has none.
func (d *draft) groups(of *model.Groups) *resource.GuestGroups {
	if of == nil {
		return nil
	}
	g := &resource.GuestGroups{Open: of.Open, Ingress: rules(of.Ingress), Egress: rules(of.Egress)}
	for _, s := range d.on.Subnets {
		g.Local = append(g.Local, s.CIDR)
	}
	g.Resolvers = plugin.Resolvers(d.n, d.on)
	return g
}

func rules(list []model.GroupRule) []resource.GuestRule {
	var out []resource.GuestRule
	for i := range list {
		r := &list[i]
		if len(r.Peers) == 0 {
			continue // it matches nothing
		}
		x := resource.GuestRule{Proto: r.Proto, ICMPType: r.ICMPType, ICMPCode: r.ICMPCode, Peers: r.Peers}
		for _, p := range r.Ports {
			x.Ports = append(x.Ports, resource.PortSpan{From: p.From, To: p.To})
		}
		out = append(out, x)
	}
	return out
}
