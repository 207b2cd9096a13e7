package linuxbridge

import (
	"net/netip"

	"weft.dev/reconcile/model"
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
	g.Resolvers = d.resolvers()
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

// resolvers are what the network tells its guests to ask for names.
func (d *draft) resolvers() []netip.Addr {
	switch {
	case len(d.n.Spec.GuestDNS) > 0:
		return d.n.Spec.GuestDNS
	case d.on.Router != nil && d.n.Offering.Spec.Services.Dns != nil:
		var out []netip.Addr
		for _, s := range d.on.Subnets {
			if s.RouterIP.IsValid() {
				out = append(out, s.RouterIP)
			}
		}
		return out
	}
	return d.n.DNS
}
