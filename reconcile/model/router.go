package model

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
)

// maxNS is far above what account and network names need, and below what a file
// name may have (255).
const maxNS = 200

// router asks for what the virtual routers need. Their numbers are asked for in
// every state, so that a network that goes idle finds them again.
func (r *resolver) router() {
	n := r.n
	if !r.servesRouter {
		if n.Routed() {
			r.offeringDiag("no-router", "offering %s is Routed, and has no service of VirtualRouter that would make a router", n.Offering.Name)
		}
		if len(n.IPs) > 0 {
			r.diags.Errorf(n.IPs[0].Doc.At("spec.network"), "no-router", "network %s has no router, so no public address can serve it", n.ID.Name).
				See(r.doc.At("spec.offering"), "its offering")
		}
		if len(r.spec.RouterIPs) > 0 && n.Type() == GuestShared {
			r.diags.Errorf(d1(r.doc, "spec.routerIPs", 0), "no-router", "network %s has no router: offering %s has no service of one", n.ID.Name, n.Offering.Name).
				Offending(r.spec.RouterIPs[0].String()).Hintf("leave routerIPs out")
		}
		return
	}
	if n.Tier != nil {
		r.tierSide(n.Segments[0])
		return
	}
	r.routerIPs()
	for _, s := range n.Segments {
		r.segmentRouter(s)
	}
	if side := n.Segments[0].Side; side != nil {
		n.Router = side.Router
	}
}

func (r *resolver) segmentRouter(s *Segment) {
	n := r.n
	known := len(n.Missing)
	errors := len(r.diags)
	x := &Router{
		ID: n.ID, Doc: r.doc, Zone: n.Zone, Domain: n.Domain, DNS: n.DNS, Services: &n.Offering.Spec.Services, Rate: n.Rate(nil), IPs: n.IPs, Balancers: n.Balancers, VPNs: n.VPNs,
	}
	side := &Side{Router: x, Network: n, Segment: s, IP: n.Gateway}
	x.Sides = []*Side{side}
	r.guestLeg(side)
	public := r.publicLeg(x)
	r.routed(x)
	host, second := r.routerHost(append(public, n.Physical.Guest), tunneled(s.Scheme) && n.Zone.several(n.Physical.Guest), s.Pod, s.owner)
	vrid := uint8(0)
	if r.redundant() {
		vrid = r.vrid(s.owner)
	}
	if host == nil || n.State != Implemented || len(n.Missing) > known || len(r.diags) > errors {
		return
	}
	x.Host = host
	name := func(x *Router) { nameRouter(n.ID, s.Name, x) }
	if name(x); second != nil {
		x.join(second, vrid, 0, name)
	}
	s.Side = side
}

// isGateway reports whether the router is the guests' gateway: it is asked to be,
// or has to be, because what it translates must come back through it.
func (r *resolver) isGateway() bool {
	s := &r.n.Offering.Spec.Services
	return r.n.Type() == GuestIsolated && (s.Gateway != nil || s.SourceNat != nil || s.StaticNat != nil || s.PortForwarding != nil || s.Lb != nil || r.n.Routed())
}

func (r *resolver) guestLeg(x *Side) {
	s := x.Segment
	mac := r.demand(Demand{Owner: s.owner, Field: FieldGuestMAC, Pool: macs, Pos: r.doc.Pos})
	x.MAC, _ = parseMAC(mac)
	defer r.twinLeg(x)
	for i, sub := range s.Subnets {
		sub.RouterIP = sub.Gateway
		if !r.isGateway() {
			sub.RouterIP = r.routerIP(sub)
		}
		if i == 0 {
			x.IP = sub.RouterIP
		}
		if !r.isGateway() {
			r.ownHop(sub.RouterIP)
		}
	}
	r.router6(s)
}

// ownHop reports a route whose next hop is the router itself, which the kernel
// refuses.
func (r *resolver) ownHop(own netip.Addr) {
	for i, x := range r.spec.Routes {
		if x.Via == own {
			r.diags.Errorf(d2(r.doc, "spec.routes", i, "via"), "route-via-router", "the next hop %s is the router of network %s itself", x.Via, r.n.ID.Name).
				Offending(x.Via.String()).Hintf("name the machine of the network that the route leads through")
		}
	}
}

// routerIP is the address of a router that is not the gateway.
func (r *resolver) routerIP(s *Subnet) netip.Addr {
	d := Demand{Owner: s.owner, Field: FieldGuestIP, Pool: s.pool, Pos: r.doc.Pos}
	for i, ip := range r.spec.RouterIPs {
		if s.CIDR.Contains(ip) {
			d.Fixed, d.Pos = ip.String(), d1(r.doc, "spec.routerIPs", i)
			r.demand(d)
			return ip
		}
	}
	return addrOf(r.demand(d))
}

// routerIPs holds that each stated address of a router can be one, and that a
// subnet has one.
func (r *resolver) routerIPs() {
	if r.n.Type() != GuestShared {
		return
	}
	var had []*Subnet
	var had6 []*IP6
	for i, ip := range r.spec.RouterIPs {
		if ip.Is6() {
			r.routerOrGuest(ip, i)
			r.routerIP6At(i, &had6)
			continue
		}
		s := r.n.subnetOf(ip)
		why, code, whose := "", "outside-cidr", ""
		if s != nil {
			whose, _ = r.ofHosts(s, ip)
		}
		switch {
		case s == nil:
			why = "is in no subnet of network " + r.n.ID.Name
		case ip == s.CIDR.Addr() || ip == lastAddr(s.CIDR):
			why = "is the first or last address of " + s.CIDR.String()
		case ip == s.Gateway:
			why, code = "is the gateway of "+s.CIDR.String()+", which the router of a Shared network is not", "ip-taken"
		case slices.Contains(had, s):
			why, code = "is a second router in "+s.CIDR.String()+", which has one", "too-many"
		case whose != "":
			why, code = "is "+whose, "ip-taken"
		}
		had = append(had, s)
		r.routerOrGuest(ip, i)
		if why != "" {
			r.diags.Errorf(d1(r.doc, "spec.routerIPs", i), code, "the router address %s %s", ip, why).Offending(ip.String())
		}
	}
}

// routerOrGuest reports an address that a NIC states too.
func (r *resolver) routerOrGuest(ip netip.Addr, i int) {
	for _, n := range r.n.NICs {
		if n.Spec.IP == ip || n.Spec.IP6 == ip || n.IP6 == ip || slices.Contains(n.Spec.SecondaryIPs, ip) {
			r.diags.Errorf(n.Pos, "ip-taken", "%s is that of the router of network %s", ip, r.n.ID.Name).
				Offending(ip.String()).See(d1(r.doc, "spec.routerIPs", i), "the router's")
		}
	}
}

// publicLeg asks for the outer link's numbers and returns the labels that it
// needs of the router's host.
func (r *resolver) publicLeg(x *Router) []string {
	n := r.n
	nat := n.Offering.Spec.Services.SourceNat != nil
	routed := n.Routed()
	if !nat && len(n.IPs) == 0 && !routed {
		return nil
	}
	mac := r.demand(Demand{Owner: r.owner, Field: FieldPublicMAC, Pool: macs, Pos: r.doc.Pos})
	leg := &Leg{}
	leg.MAC, _ = parseMAC(mac)
	leg.Range = r.mainRange()
	if r.n.IP6 != nil {
		r.ranges6()
	}
	if nat {
		r.sourceNAT(x, leg)
	}
	if routed {
		r.outer(x, leg)
	}
	if r.n.IP6 != nil {
		r.routerIP6(leg)
	}
	r.publicMTU(leg)
	r.apart()
	var labels []string
	for _, p := range r.ranges {
		if !slices.Contains(labels, p.Physical.Public) {
			labels = append(labels, p.Physical.Public)
		}
	}
	if leg.Range != nil {
		x.Legs = []*Leg{leg}
		r.moreLegs(x)
		labels = nil
		for _, l := range x.Legs {
			labels = append(labels, l.Range.Physical.Public)
		}
	}
	slices.Sort(labels)
	return labels
}

func (r *resolver) sourceNAT(x *Router, leg *Leg) {
	n := r.n
	for _, p := range n.IPs {
		if p.SourceNAT {
			x.SourceNAT, leg.Range = p.Addr, p.Range
			return
		}
	}
	if len(r.ranges) == 0 {
		if n.Zone.Invalid == "" {
			r.diags.Errorf(r.doc.At("spec.offering"), "no-public-range", "offering %s has SourceNat, and zone %s has no public range", n.Offering.Name, n.Zone.Name).
				Offending(n.Offering.Name).See(nameOf(n.Zone.Doc), "the zone").Hintf("add a document of kind PublicIPRange")
		}
		return
	}
	v := r.demand(Demand{Owner: r.owner, Field: FieldSourceNAT, Pool: n.Zone.publicPool(r.ranges), Pos: r.doc.Pos})
	if v != "" {
		x.SourceNAT = addrOf(v)
		leg.Range = rangeOf(r.ranges, x.SourceNAT)
	}
}

// apart holds that guests and the public network have different addresses: a
// router between equal networks knows no way to either.
func (r *resolver) apart() {
	for _, p := range r.ranges {
		if p.Spec.CIDR.Overlaps(r.n.CIDR) {
			r.diags.Errorf(r.doc.At("spec.cidr"), "overlapping-cidr", "%s of %s overlaps %s of public range %s", r.n.CIDR, r.n.what(), p.Spec.CIDR, p.Name).
				See(p.Doc.At("spec.cidr"), "the public range").Hintf("give the %s another cidr", r.n.word())
			return
		}
	}
}

func (r *resolver) publicMTU(x *Leg) {
	if x.Range == nil {
		return
	}
	wire := x.Range.Physical.Spec.MTU
	x.MTU = min(1500, wire)
	switch {
	case r.spec.PublicMTU > wire:
		r.diags.Errorf(r.doc.At("spec.publicMTU"), "mtu-too-large", "publicMTU %d does not fit: the wire of physical network %s carries %d bytes", r.spec.PublicMTU, x.Range.Physical.Name, wire).
			Offending(strconv.Itoa(r.spec.PublicMTU)).See(x.Range.Physical.Doc.At("spec.mtu"), "the wire's MTU").Hintf("at most %d", wire)
	case r.spec.PublicMTU != 0:
		x.MTU = r.spec.PublicMTU
	}
}

// routerHost asks where the router runs, and where the second of a pair does; nil
// when that is not known.
func (r *resolver) routerHost(labels []string, tunnel bool, pod, owner string) (first, second *Host) {
	n := r.n
	slices.Sort(labels)
	labels = slices.Compact(labels)
	hosts := n.Zone.hostPool(labels, tunnel, pod, r.redundant())
	number := r.numbers.Number(owner, FieldHost)
	kept := number
	if before := r.formerly(owner); kept == "" && before != "" {
		kept = r.numbers.Number(before, FieldHost)
	}
	if hosts.Size() == 0 && (kept == "" || !hosts.Contains(kept)) {
		if n.Zone.Invalid == "" {
			d := r.diags.Errorf(r.doc.At("spec.offering"), "no-router-host", "no host of zone %s can run the router of %s, which needs %s %s", n.Zone.Name, n.what(), plural("bridge", len(labels)), list(labels)).
				Offending(n.Offering.Name)
			if why := hosts.why(); why != "" {
				d.Hintf("%s", why)
			}
		}
		return nil, nil
	}
	d := Demand{Owner: owner, Field: FieldHost, Pool: hosts, Pos: r.doc.Pos, Formerly: r.formerly(owner)}
	n.Demands = append(n.Demands, d)
	// A lock that still names a host in Maintenance is stale, but the router runs
	// there until the next weft lock: it is left alone.
	for _, h := range n.Zone.Hosts {
		if h.Name == number && hosts.missing(h) == "" {
			first = h
			break
		}
	}
	if first == nil {
		n.Missing = append(n.Missing, d)
	}
	if r.redundant() {
		second = r.secondHost(hosts, owner, first)
		r.leaving(hosts, first, second)
	}
	return first, second
}

// rules holds what egress rules and lists of the network itself must obey.
func (r *resolver) rules() {
	o := r.n.Offering.Spec
	r.sharing()
	if len(r.spec.Subnets) > 0 {
		r.subnetRoutes()
	}
	for i, x := range r.spec.Routes {
		if x.Via == r.n.Gateway && r.isGateway() {
			// The kernel refuses a next hop that is an address of its own.
			r.diags.Errorf(d2(r.doc, "spec.routes", i, "via"), "route-via-router", "the next hop %s is the router of network %s itself", x.Via, r.n.ID.Name).
				Offending(x.Via.String()).Hintf("name the machine of the network that the route leads through")
		}
	}
	if len(r.spec.Egress) > 0 && o.Services.Firewall == nil {
		r.lacks(r.doc, "spec.egress", "Firewall")
	}
	for i := range r.spec.Egress {
		e := &r.spec.Egress[i]
		if e.Action == o.EgressDefaultPolicy {
			d := r.diags.Errorf(d2(r.doc, "spec.egress", i, "action"), "egress-equals-default", "egress rule %q says %s, which offering %s does anyway", e.Name, e.Action, r.n.Offering.Name).
				Offending(e.Action).Hintf("egress rules are the exceptions: leave it out, or write action: %s", opposite(e.Action))
			if doc := r.n.Offering.Doc; doc != nil {
				d.See(doc.At("spec.egressDefaultPolicy"), "the offering's default")
			}
		}
	}
}

func plural(word string, n int) string {
	if n == 1 {
		return word
	}
	return word + "s"
}

func opposite(action string) string {
	if action == "Allow" {
		return "Deny"
	}
	return "Allow"
}

func number(n uint32) string { return strconv.FormatUint(uint64(n), 10) }

func parseID(v string) (uint32, bool) {
	n, err := strconv.ParseUint(v, 10, 32)
	return uint32(n), err == nil
}

func path1(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }

func path2(path string, i int, field string, j int) string {
	return fmt.Sprintf("%s[%d].%s[%d]", path, i, field, j)
}
