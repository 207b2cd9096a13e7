package model

import (
	"net/netip"

	"weft.dev/schema"
)

// nicIP6 decides the NIC's IPv6 address: with SLAAC it follows from the MAC, with
// DHCPv6 it is as stated, or asked for.
func (r *resolver) nicIP6(n *NIC, d Demand, i int, pod string) {
	stated := n.Spec.IP6
	wrong := func(code, format string, args ...any) *schema.Diag {
		return r.diags.Errorf(d2(n.VM, "spec.nics", i, "ip6"), code, format, args...).Offending(stated.String())
	}
	if r.n.IP6 == nil {
		r.without6(d2(n.VM, "spec.nics", i, "ip6"), stated.String()).Hintf("leave ip6 out")
		return
	}
	own := r.ip6Of(n, pod)
	if stated.IsValid() && !r.placed6(n, own, pod, wrong) {
		return
	}
	if r.n.IP6.Mode == SLAAC {
		if own != nil {
			r.slaac(n, own, wrong)
		}
		return
	}
	if stated.IsValid() {
		if own.CIDR.IsValid() && !r.stated6(own, stated, wrong) {
			return
		}
		d.Fixed = host6(lower, low64(stated)).String()
	}
	// Asked for in each broadcast domain: see sharedPool6.
	d.Pool = r.n.IP6.pool
	if v := r.demand(d); v != "" && own != nil && own.CIDR.IsValid() {
		n.IP6 = host6(own.CIDR, low64(addrOf(v)))
	}
}

// placed6 reports whether it is said which IPv6 a NIC has that states an address of it.
func (r *resolver) placed6(n *NIC, own *IP6, pod string, wrong func(code, format string, args ...any) *schema.Diag) bool {
	switch {
	case len(r.n.Segments) > 1 && pod == "" && !n.Spec.IP.IsValid():
		wrong("ip6-without-ip", "network %s has several broadcast domains, and the NIC states no ip, which says which of them it is in", r.n.ID.Name).
			See(nameOf(r.doc), "the network").Hintf("add ip")
	case own == nil && len(r.n.Segments) > 1:
		wrong("no-ip6", "network %s has no IPv6 in the broadcast domain of the NIC", r.n.ID.Name).See(nameOf(r.doc), "the network")
	}
	return own != nil
}

// slaac makes the address of the NIC. One that is stated has to be that: of its lower
// half this can be said before the network has its prefix.
func (r *resolver) slaac(n *NIC, x *IP6, wrong func(code, format string, args ...any) *schema.Diag) {
	if x.CIDR.IsValid() && !n.MAC.IsZero() {
		n.IP6 = eui64(x.CIDR, n.MAC)
	}
	stated := n.Spec.IP6
	if !stated.IsValid() {
		return
	}
	const other = "leave ip6 out, or give the network ip6.mode: DHCPv6"
	switch {
	case x.CIDR.IsValid() && !x.CIDR.Contains(stated):
		wrong("outside-cidr", "%s is outside %s of network %s", stated, x.CIDR, r.n.ID.Name).See(nameOf(r.doc), "the network")
	case !n.MAC.IsZero() && low64(stated) != low64(eui64(lower, n.MAC)):
		diag := wrong("ip6-not-of-mac", "%s is not what the NIC makes of its MAC %s: network %s has mode SLAAC", stated, n.MAC, r.n.ID.Name).
			See(nameOf(r.doc), "the network")
		if n.IP6.IsValid() {
			diag.Hintf("its address is %s; %s", n.IP6, other)
		} else {
			diag.Hintf("it ends in %s; %s", eui64(lower, n.MAC), other)
		}
	case n.MAC.IsZero():
		diag := wrong("ip6-without-mac", "network %s has mode SLAAC: guests make their address of its prefix and their MAC, and the NIC states none", r.n.ID.Name).
			See(nameOf(r.doc), "the network")
		if mac, ok := macOf(stated); ok {
			diag.Hintf("add mac: %q, of which it is made; or %s", mac, other)
		} else {
			diag.Hintf("%s", other)
		}
	}
}

// macOf is the MAC that an address was made of, see eui64.
func macOf(ip netip.Addr) (m schema.MAC, ok bool) {
	b := ip.As16()
	m = schema.MAC{b[8] ^ 2, b[9], b[10], b[13], b[14], b[15]}
	return m, b[11] == 0xff && b[12] == 0xfe && m[0]&1 == 0 && !m.IsZero()
}

func (r *resolver) stated6(x *IP6, ip netip.Addr, wrong func(code, format string, args ...any) *schema.Diag) bool {
	code, why := "outside-cidr", "is outside "+x.CIDR.String()+" of network "+r.n.ID.Name
	switch {
	case !x.CIDR.Contains(ip):
	case ip == x.CIDR.Addr():
		why = "is the address of all routers of " + x.CIDR.String() // RFC 4291, 2.6.1
	case ip == x.Gateway:
		code, why = "ip-taken", "is the gateway of network "+r.n.ID.Name
	default:
		return true
	}
	wrong(code, "%s %s", ip, why).See(nameOf(r.doc), "the network")
	return false
}

// secondary6 checks a further address of a NIC, and has the lock keep its lower half
// for it.
func (r *resolver) secondary6(n *NIC, d Demand, ip netip.Addr, pod string) {
	if r.n.IP6 == nil {
		r.without6(d.Pos, ip.String())
		return
	}
	wrong := func(code, format string, args ...any) *schema.Diag {
		return r.diags.Errorf(d.Pos, code, format, args...).Offending(ip.String())
	}
	own := r.ip6Of(n, pod)
	if !r.placed6(n, own, pod, wrong) || own.CIDR.IsValid() && !r.stated6(own, ip, wrong) {
		return
	}
	d.Pool, d.Fixed = r.n.IP6.pool, host6(lower, low64(ip)).String()
	r.demand(d)
}

// sameAddress6 reports further addresses that a NIC, itself or another, makes of its
// MAC. Where nobody makes any, the lock keeps them apart.
func (r *resolver) sameAddress6() {
	if r.n.IP6 == nil || r.n.IP6.Mode != SLAAC {
		return
	}
	type use struct {
		nic *NIC
		at  schema.Pos
	}
	var stated map[netip.Addr]use
	for _, n := range r.n.NICs {
		for _, ip := range n.Spec.SecondaryIPs {
			if ip.Is6() {
				if stated == nil {
					stated = map[netip.Addr]use{}
				}
				stated[ip] = use{n, n.secondaryPos(ip)}
			}
		}
	}
	if stated == nil {
		return
	}
	for _, n := range r.n.NICs {
		switch o, ok := stated[n.IP6]; {
		case !ok:
		case o.nic == n:
			r.diags.Errorf(o.at, "ip-taken", "%s is what the NIC makes of its MAC itself", n.IP6).Offending(n.IP6.String()).Hintf("leave it out")
		default:
			r.diags.Errorf(o.at, "ip-taken", "%s is what %s makes of its MAC %s", n.IP6, n.ID, n.MAC).Offending(n.IP6.String()).See(n.Pos, "the other NIC")
		}
	}
}

// secondaryPos is where the NIC states one of its further addresses.
func (n *NIC) secondaryPos(ip netip.Addr) schema.Pos {
	for i := range n.VMSpec.NICs {
		if &n.VMSpec.NICs[i] != n.Spec {
			continue
		}
		for j, x := range n.Spec.SecondaryIPs {
			if x == ip {
				return n.VM.At(path2("spec.nics", i, "secondaryIPs", j))
			}
		}
	}
	return n.Pos
}
