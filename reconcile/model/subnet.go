package model

import (
	"cmp"
	"net/netip"
	"slices"

	"weft.dev/schema"
)

// The guest types of offerings.
const (
	GuestIsolated = "Isolated"
	GuestShared   = "Shared"
	GuestL2       = "L2"
)

// Subnet is an IPv4 subnet of a network. That of a network which states no
// subnets has no name.
type Subnet struct {
	Name    string
	CIDR    netip.Prefix
	Gateway netip.Addr
	Pod     string // in Basic zones: it is for guests on hosts of that pod
	// RouterIP is the address of its segment's router in it; zero without router.
	RouterIP netip.Addr
	Segment  *Segment

	owner string // in the lock
	path  string // of its fields in the network's document
	vlan  schema.BroadcastURI
	pool  *addrPool
	// ranged: the document states what addresses it has for guests.
	ranged bool
}

// Segment is one broadcast domain of a network, on some of its hosts.
type Segment struct {
	// Name is that of the subnet or pod that it is for; "" for the network's own.
	Name   string
	Scheme string
	VNet   uint32
	// Secondary is the secondary VLAN of a private VLAN, whose primary is VNet;
	// else 0. It equals VNet for promiscuous ports.
	Secondary uint32
	Pod       string
	IP6       *IP6      // nil without IPv6
	Subnets   []*Subnet // by name; none in an L2 network
	NICs      []*NIC    // by ID
	Side      *Side     // of the router that serves it; nil without one
	Hosts     []*Host   // by name

	owner string // in the lock
}

// Type is the guest type: Isolated, Shared or L2.
func (n *Network) Type() string { return n.Offering.Spec.GuestType }

// Common reports whether other networks may have ports in the broadcast domain:
// what it needs of the switch is then made once for all of them.
func (n *Network) Common() bool { return n.Spec.AllowVLANOverlap || n.Spec.PVLAN != nil }

// Basic reports whether the zone is one of networkType Basic.
func (z *Zone) Basic() bool { return z.Spec.NetworkType == "Basic" }

// subnets resolves where the network's addresses are from, and with that its
// segments.
func (r *resolver) subnets() {
	n, s := r.n, r.spec
	switch {
	case n.Type() == GuestL2:
	case len(s.Subnets) > 0:
		for i := range s.Subnets {
			x := &s.Subnets[i]
			r.subnet(&Subnet{
				Name: x.Name, CIDR: x.CIDR, Gateway: x.Gateway, Pod: x.Pod, vlan: x.VLAN,
				owner: "subnet/" + n.ID.Account + "/" + n.ID.Name + "/" + x.Name, path: path1("spec.subnets", i) + ".",
			}, x.Ranges)
		}
		slices.SortFunc(n.Subnets, func(a, b *Subnet) int { return cmp.Compare(a.Name, b.Name) })
	case n.Type() == GuestShared && !s.CIDR.IsValid():
		r.diags.Errorf(r.doc.At("spec"), "cidr-missing", "the Shared network %s states no cidr", n.ID.Name).
			Hintf("add cidr, gateway and ranges, or subnets")
	default:
		x := &Subnet{CIDR: s.CIDR, Gateway: s.Gateway, owner: r.owner, path: "spec."}
		if !x.CIDR.IsValid() {
			x.CIDR = n.Zone.Spec.GuestCIDR
		}
		r.subnet(x, s.Ranges)
	}
	if len(n.Subnets) > 0 {
		n.CIDR, n.Gateway = n.Subnets[0].CIDR, n.Subnets[0].Gateway
	}
	r.segments()
	r.pool = r.unite(n.Subnets, "")
}

func (r *resolver) subnet(s *Subnet, ranges []schema.IPRange) {
	s.CIDR = s.CIDR.Masked()
	if !s.Gateway.IsValid() {
		s.Gateway = s.CIDR.Addr().Next()
	}
	s.pool, s.ranged = guestPool(r.n.ID, s.CIDR, s.Gateway, ranges, r.spec.Reserved), len(ranges) > 0
	if s.Name != "" {
		s.pool.describe += " subnet " + s.Name
	}
	r.n.Subnets = append(r.n.Subnets, s)
}

// segments sorts the subnets into broadcast domains.
func (r *resolver) segments() {
	n := r.n
	own := &Segment{owner: r.owner}
	for _, s := range n.Subnets {
		seg, name := own, ""
		switch {
		case s.Pod != "":
			name = s.Pod
		case !s.vlan.IsZero():
			name = s.Name
		}
		if name != "" {
			i := slices.IndexFunc(n.Segments, func(o *Segment) bool { return o.Name == name })
			if i < 0 {
				i = len(n.Segments)
				n.Segments = append(n.Segments, &Segment{Name: name, Pod: s.Pod, owner: "subnet/" + n.ID.Account + "/" + n.ID.Name + "/" + name})
			}
			seg = n.Segments[i]
		}
		seg.Subnets = append(seg.Subnets, s)
		s.Segment = seg
	}
	if len(own.Subnets) > 0 || len(n.Subnets) == 0 {
		n.Segments = slices.Insert(n.Segments, 0, own)
	}
}

// CIDRPos is where the network states the CIDR of its subnet s.
func (n *Network) CIDRPos(s *Subnet) schema.Pos { return n.Doc.At(s.path + "cidr") }

// unite is the pool of the addresses of several subnets, nil of none. of is what
// they have in common, for people.
func (r *resolver) unite(subnets []*Subnet, of string) *addrPool {
	switch len(subnets) {
	case 0:
		return nil
	case 1:
		return subnets[0].pool
	}
	p := &addrPool{space: subnets[0].pool.space, describe: subnets[0].pool.space + of, base: netip.IPv4Unspecified()}
	for _, s := range subnets {
		from := offset(p.base, s.pool.base)
		for _, x := range s.pool.spans {
			p.spans = append(p.spans, span{x.from + from, x.to + from})
		}
	}
	return p
}

// subnetOf returns the subnet that ip lies in, or nil.
func (n *Network) subnetOf(ip netip.Addr) *Subnet {
	for _, s := range n.Subnets {
		if s.CIDR.Contains(ip) {
			return s
		}
	}
	return nil
}

// poolOf is where the address of a guest is from: the subnets of its pod in Basic
// zones, else all; nil where there is none.
func (r *resolver) poolOf(pod string) *addrPool {
	if pod == "" {
		return r.pool
	}
	p, ok := r.pods[pod]
	if !ok {
		var own []*Subnet
		for _, s := range r.n.Subnets {
			if s.Pod == pod {
				own = append(own, s)
			}
		}
		if p = r.unite(own, " for pod "+pod); r.pods == nil {
			r.pods = map[string]*addrPool{}
		}
		r.pods[pod] = p
	}
	return p
}

// gather gives each segment its guests.
func (r *resolver) gather() {
	n := r.n
	if len(n.Segments) == 1 {
		n.Segments[0].NICs = n.NICs
		for _, c := range n.NICs {
			c.Segment = n.Segments[0]
		}
		return
	}
	for _, c := range n.NICs {
		if c.Subnet != nil {
			c.Segment = c.Subnet.Segment
			c.Segment.NICs = append(c.Segment.NICs, c)
		}
	}
}

// fields reports what the guest type, or the offering, has no use for.
func (r *resolver) fields() {
	s, o := r.spec, r.n.Offering.Spec
	type field struct {
		name    string
		written bool
	}
	refuse := func(why string, fields ...field) {
		for _, f := range fields {
			if f.written {
				d := r.diags.Errorf(r.doc.At("spec."+f.name), "not-of-guest-type", "network %s is %s: %s", r.n.ID.Name, o.GuestType, why).
					Offending(f.name).See(r.doc.At("spec.offering"), "its offering")
				d.Hintf("leave %s out", f.name)
			}
		}
	}
	shared := []field{{"subnets", len(s.Subnets) > 0}, {"routerIPs", len(s.RouterIPs) > 0}}
	switch o.GuestType {
	case GuestL2:
		refuse("it has no addresses", append(shared,
			field{"cidr", s.CIDR.IsValid()}, field{"gateway", s.Gateway.IsValid()}, field{"ranges", len(s.Ranges) > 0},
			field{"reserved", len(s.Reserved) > 0}, field{"routes", len(s.Routes) > 0}, field{"dns", len(s.DNS) > 0},
			field{"guestDNS", len(s.GuestDNS) > 0}, field{"leaseTime", s.LeaseTime != 0}, field{"ip6", s.IP6 != nil})...)
	case GuestIsolated:
		refuse("only Shared networks have it", shared...)
		refuse("only Shared and L2 networks have it", field{"allowVlanOverlap", s.AllowVLANOverlap}, field{"pvlan", s.PVLAN != nil})
		r.statedRanges()
	}
	if s.AllowVLANOverlap && o.Services.SecurityGroup != nil {
		r.diags.Errorf(r.doc.At("spec.allowVlanOverlap"), "overlap-security-groups", "network %s has security groups, which others in its VLAN would go around", r.n.ID.Name).
			Offending("true").See(r.doc.At("spec.offering"), "its offering").Hintf("leave allowVlanOverlap out")
	}
}

// subnetRoutes holds for subnets what schema does for a cidr: next hops lie in
// them, and what they lead to does not.
func (r *resolver) subnetRoutes() {
	for i, x := range r.spec.Routes {
		if x.Via.Is6() {
			continue // see routes6
		}
		if r.n.subnetOf(x.Via) == nil {
			r.diags.Errorf(d2(r.doc, "spec.routes", i, "via"), "outside-cidr", "the next hop %s is in none of the subnets of network %s", x.Via, r.n.ID.Name).
				Offending(x.Via.String()).See(r.doc.At("spec.subnets"), "the subnets")
		}
		for _, s := range r.n.Subnets {
			if s.CIDR.Overlaps(x.CIDR) && x.CIDR.Bits() >= s.CIDR.Bits() {
				r.diags.Errorf(d2(r.doc, "spec.routes", i, "cidr"), "route-inside", "%s is in subnet %s of the network itself", x.CIDR, s.Name).
					Offending(x.CIDR.String()).See(r.n.CIDRPos(s), "the subnet")
			}
		}
	}
}

// statedRanges holds that an Isolated network states ranges only where its
// offering asks for that.
func (r *resolver) statedRanges() {
	if o := r.n.Offering; len(r.spec.Ranges) > 0 && !o.Spec.SpecifyIPRanges {
		r.diags.Errorf(r.doc.At("spec.ranges"), "ranges-not-allowed", "offering %s does not let a network state its address ranges", o.Name).
			Offending("ranges").Hintf("leave ranges out, or use an offering with specifyIPRanges: true")
	}
}
