package model

import (
	"slices"

	"weft.dev/schema"
)

// Shadows lists what a network that cannot be judged may be, from what is known
// besides its documents: the numbers that it had, the VMs that name it, and known,
// what Resolve made of it, which may be nil. more are further hosts that may carry
// it. Nothing is made of a shadow; it tells what the network needs of what its
// hosts share, so that this stays.
func Shadows(site *Site, index *Index, doc *schema.Document, known *Network, numbers Numbers, more []string) []*Network {
	id := doc.ID()
	s := &shadow{site: site, doc: doc, id: id, owner: id.String(), numbers: numbers}
	s.routers = routersOf(site, numbers, s.owner)
	about := s.routers
	if len(about) == 0 {
		for _, vpc := range index.VPCs(id.Account) { // it may be a tier of any
			about = append(about, routersOf(site, numbers, vpc.String())...)
		}
	}
	if len(about) > 0 {
		more = append(slices.Clone(more), hostNames(about)...)
	}
	vms, ips := index.Members(id)
	for _, z := range s.zones(known, vms, more) {
		for _, p := range z.Physical {
			if p.Guest != "" && (known == nil || known.Physical == nil || known.Physical == p) {
				s.on(z, p, known, vms, ips, more)
			}
		}
	}
	return s.out
}

type shadow struct {
	site    *Site
	doc     *schema.Document
	id      schema.ID
	owner   string
	numbers Numbers
	routers []*Host // where its router is, and that which stands for it
	out     []*Network
}

// routersOf are the hosts that the lock has for the router of owner, or for the pair.
func routersOf(site *Site, numbers Numbers, owner string) []*Host {
	var out []*Host
	for _, field := range []string{FieldHost, FieldHost2} {
		if h := site.Hosts[numbers.Number(owner, field)]; h != nil {
			out = append(out, h)
		}
	}
	return out
}

// zones are those that the network may be in: its own, else those of its hosts,
// else all.
func (s *shadow) zones(known *Network, vms []*schema.Document, more []string) []*Zone {
	if known != nil && known.Zone != nil {
		return []*Zone{known.Zone}
	}
	var names []string
	for _, d := range vms {
		if spec, ok := d.Spec.(*schema.VirtualMachine); ok {
			more = append(slices.Clone(more), append(slices.Clone(spec.Hosts), spec.Host)...)
		}
	}
	for _, name := range more {
		if h := s.site.Hosts[name]; h != nil {
			names = append(names, h.Zone)
		}
	}
	if len(names) == 0 {
		names = s.site.ZoneNames()
	}
	slices.Sort(names)
	var out []*Zone
	for _, name := range slices.Compact(names) {
		out = append(out, s.site.Zones[name])
	}
	return out
}

// on adds the shadows of the network on one physical network.
func (s *shadow) on(z *Zone, p *PhysicalNetwork, known *Network, vms, ips []*schema.Document, more []string) {
	n := &Network{
		ID: s.id, Doc: s.doc, Spec: &schema.Network{}, Zone: z, Account: systemAccount, Offering: builtins[OfferingSourceNat],
		Physical: p, State: Implemented, Scheme: schemeOf(p), CIDR: z.Spec.GuestCIDR,
	}
	if known != nil && known.Scheme != "" {
		n.Scheme = known.Scheme
	}
	if z.Basic() {
		n.Scheme = schema.SchemeNative
	}
	n.VNet, _ = parseID(s.numbers.Number(s.owner, FieldVNet))
	n.Hosts = s.hosts(z, p, vms, more)
	s.common(n, vms)
	hosts := slices.DeleteFunc(slices.Clone(s.routers), func(h *Host) bool { return h.Zone != z.Name })
	if len(hosts) == 0 {
		n.Segments = s.segments(n, known)
		s.out = append(s.out, n)
		return
	}
	ranges := s.ranges(z, ips)
	if len(ranges) == 0 {
		ranges = []*PublicRange{nil}
	}
	for _, h := range hosts {
		for _, r := range ranges {
			x := *n
			x.Router = s.routerOf(&x, h, r)
			x.Segments = s.segments(&x, known)
			s.out = append(s.out, &x)
		}
	}
}

// routerOf is the router of a shadow on host h whose public leg is of range r, nil for
// none.
func (s *shadow) routerOf(n *Network, h *Host, r *PublicRange) *Router {
	x := &Router{ID: n.ID, Doc: n.Doc, Zone: n.Zone, Rate: n.Rate(nil), Host: h, SourceNAT: addrOf(s.numbers.Number(s.owner, FieldSourceNAT))}
	side := &Side{Router: x, Network: n, IP: n.CIDR.Addr().Next()}
	side.MAC, _ = parseMAC(s.numbers.Number(s.owner, FieldGuestMAC))
	x.Sides = []*Side{side}
	if r != nil {
		x.Legs = []*Leg{shadowLeg(s.numbers, s.owner, r)}
	}
	nameRouter(s.id, "", x)
	return x
}

// segments are the broadcast domains of a shadow: all of them everywhere.
func (s *shadow) segments(n, known *Network) []*Segment {
	own := &Segment{Scheme: n.Scheme, VNet: n.VNet, NICs: n.NICs, Hosts: n.Hosts}
	if n.Router != nil {
		own.Side = n.Router.Sides[0]
		own.Side.Segment = own
	}
	own.Secondary, _ = parseID(s.numbers.Number(s.owner, FieldSecondary))
	out := []*Segment{own}
	if known == nil {
		return out
	}
	for _, k := range known.Segments {
		if k.Name != "" && k.Scheme != "" {
			out = append(out, &Segment{Name: k.Name, Scheme: k.Scheme, VNet: k.VNet, Hosts: n.Hosts})
		}
	}
	return out
}

// common finds the ports of a network whose broadcast domain other networks may be
// in: it is made of the ports of all of them. That it is one tells the lock.
func (s *shadow) common(n *Network, vms []*schema.Document) {
	v, ok := parseID(s.numbers.Number(s.owner, FieldSharedVNet))
	if !ok {
		return
	}
	n.VNet, n.Scheme = v, schema.SchemeVLAN
	n.Spec = &schema.Network{AllowVLANOverlap: true}
	all := hostNames(n.Hosts)
	for _, d := range vms {
		spec, _ := d.Spec.(*schema.VirtualMachine)
		hosts := all
		if !s.unclear(n.Zone, spec) {
			hosts = append(slices.Clone(spec.Hosts), spec.Host)
		}
		for i := range spec.NICs {
			c := &spec.NICs[i]
			if refID(d, c.Network) != s.id {
				continue
			}
			id := d.Meta.Account + "/" + d.Meta.Name + "/" + c.NICName()
			mac := c.MAC
			if mac.IsZero() {
				mac, _ = parseMAC(s.numbers.Number("nic/"+id, FieldMAC))
			}
			n.NICs = append(n.NICs, &NIC{
				ID: id, VM: d, VMSpec: spec, Spec: c, Name: c.NICName(), MAC: mac, Interface: c.Interface,
				Running: spec.State == "Running", Hosts: hosts,
			})
		}
	}
}

func hostNames(l []*Host) []string {
	out := make([]string, len(l))
	for i, h := range l {
		out[i] = h.Name
	}
	return out
}

// hosts are all that may carry the network.
func (s *shadow) hosts(z *Zone, p *PhysicalNetwork, vms []*schema.Document, more []string) []*Host {
	var names []string
	for _, d := range vms {
		spec, ok := d.Spec.(*schema.VirtualMachine)
		switch {
		case !ok:
		case s.unclear(z, spec):
			names = append(names, z.anywhere(p.Guest, "")...)
		default:
			names = append(append(names, spec.Hosts...), spec.Host)
		}
	}
	names = append(names, more...)
	slices.Sort(names)
	var out []*Host
	for _, name := range slices.Compact(names) {
		if h := s.site.Hosts[name]; h != nil && h.Zone == z.Name && h.Bridge(p.Guest) != nil {
			out = append(out, h)
		}
	}
	return out
}

// unclear reports whether spec does not say where the VM may be.
func (s *shadow) unclear(z *Zone, spec *schema.VirtualMachine) bool {
	known := func(name string) bool { return s.site.Hosts[name] != nil && s.site.Hosts[name].Zone == z.Name }
	if spec.Host == "" && len(spec.Hosts) == 0 || spec.Host != "" && !known(spec.Host) {
		return true
	}
	return slices.ContainsFunc(spec.Hosts, func(h string) bool { return !known(h) })
}

// ranges are those that the router's public legs may be of.
func (s *shadow) ranges(z *Zone, ips []*schema.Document) []*PublicRange {
	if s.numbers.Number(s.owner, FieldPublicMAC) == "" {
		return nil
	}
	addrs := []string{s.numbers.Number(s.owner, FieldSourceNAT)}
	for _, d := range ips {
		addrs = append(addrs, s.numbers.Number(d.ID().String(), FieldAddress))
	}
	var out []*PublicRange
	for _, a := range addrs {
		if ip := addrOf(a); ip.IsValid() {
			r := rangeOf(z.Ranges, ip)
			if r != nil && !slices.ContainsFunc(out, func(o *PublicRange) bool { return samePublicNet(o, r) }) {
				out = append(out, r)
			}
		}
	}
	if len(out) == 0 {
		return z.Ranges
	}
	return out
}

// VPCShadows lists what the router of a VPC that cannot be judged may be, as Shadows
// does of a network: its legs, and its links to private networks, of which gates are
// those that could not be read.
func VPCShadows(site *Site, index *Index, doc *schema.Document, gates []*schema.Document, numbers Numbers) []*Router {
	id := doc.ID()
	s := &shadow{site: site, doc: doc, id: id, owner: id.String(), numbers: numbers}
	_, ips := index.Members(id)
	var out []*Router
	for _, host := range routersOf(site, numbers, s.owner) {
		out = append(out, s.cloud(host, append(index.Own(id), gates...), ips)...)
	}
	return out
}

// cloud lists what the router of a VPC may be on one host. docs may be its private
// gateways.
func (s *shadow) cloud(host *Host, docs, ips []*schema.Document) []*Router {
	z := s.site.Zones[host.Zone]
	if z == nil {
		return nil
	}
	base := Router{ID: s.id, Doc: s.doc, Zone: z, Host: host, VPC: &VPC{}}
	for _, d := range docs {
		base.VPC.Gateways = append(base.VPC.Gateways, s.gateways(z, d)...)
	}
	ranges := s.ranges(z, ips)
	if len(ranges) == 0 {
		nameVPC(&base)
		return []*Router{&base}
	}
	var out []*Router
	for _, r := range ranges {
		x := base
		x.Legs = []*Leg{shadowLeg(s.numbers, s.owner, r)}
		nameVPC(&x)
		out = append(out, &x)
	}
	return out
}

// gateways are those that d may be, on every physical network.
func (s *shadow) gateways(z *Zone, d *schema.Document) []*Gateway {
	spec, _ := d.Spec.(*schema.PrivateGateway)
	if d.Kind != schema.KindPrivateGateway || d.Meta.Account != s.id.Account {
		return nil
	}
	g := Gateway{ID: d.ID(), Doc: d, Spec: spec}
	owner := g.ID.String()
	vlan, known := parseID(s.numbers.Number(owner, FieldVNet))
	if !known {
		vlan, known = parseID(s.numbers.Number(owner, FieldSharedVNet))
	}
	if !known {
		return nil
	}
	g.VLAN = vlan
	g.Leg.MAC, _ = parseMAC(s.numbers.Number(owner, FieldMAC))
	var out []*Gateway
	for _, p := range z.Physical {
		if p.Guest != "" && (spec == nil || spec.PhysicalNetwork == "" || spec.PhysicalNetwork == p.Name) {
			one := g
			one.Physical = p
			out = append(out, &one)
		}
	}
	return out
}

// Anywhere lists the hosts of all zones, by name.
func (s *Site) Anywhere() []string { return keys(s.Hosts) }
