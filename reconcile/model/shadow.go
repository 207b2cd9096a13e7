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
	s.router = site.Hosts[numbers.Number(s.owner, FieldHost)]
	if s.router != nil {
		more = append(slices.Clone(more), s.router.Name)
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
	router  *Host
	out     []*Network
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
	if s.router == nil || s.router.Zone != z.Name {
		n.Segments = s.segments(n, known)
		s.out = append(s.out, n)
		return
	}
	ranges := s.ranges(z, ips)
	if len(ranges) == 0 {
		ranges = []*PublicRange{nil}
	}
	for _, r := range ranges {
		x := *n
		x.Router = &Router{Host: s.router, Range: r, GuestIP: n.CIDR.Addr().Next()}
		x.Router.GuestMAC, _ = parseMAC(s.numbers.Number(s.owner, FieldGuestMAC))
		x.Router.PublicMAC, _ = parseMAC(s.numbers.Number(s.owner, FieldPublicMAC))
		x.Router.SourceNAT = addrOf(s.numbers.Number(s.owner, FieldSourceNAT))
		nameRouter(s.id, "", x.Router)
		x.Segments = s.segments(&x, known)
		s.out = append(s.out, &x)
	}
}

// segments are the broadcast domains of a shadow: all of them everywhere.
func (s *shadow) segments(n, known *Network) []*Segment {
	own := &Segment{Scheme: n.Scheme, VNet: n.VNet, NICs: n.NICs, Router: n.Router, Hosts: n.Hosts}
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

// ranges are those that the router's public leg may be of.
func (s *shadow) ranges(z *Zone, ips []*schema.Document) []*PublicRange {
	if s.numbers.Number(s.owner, FieldPublicMAC) == "" {
		return nil
	}
	addrs := []string{s.numbers.Number(s.owner, FieldSourceNAT)}
	for _, d := range ips {
		addrs = append(addrs, s.numbers.Number(d.ID().String(), FieldAddress))
	}
	for _, a := range addrs {
		if ip := addrOf(a); ip.IsValid() {
			if r := rangeOf(z.Ranges, ip); r != nil {
				return []*PublicRange{r}
			}
		}
	}
	return z.Ranges
}

// Anywhere lists the hosts of all zones, by name.
func (s *Site) Anywhere() []string { return keys(s.Hosts) }
