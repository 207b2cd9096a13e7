package model

import (
	"cmp"
	"net/netip"
	"slices"

	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

// VPC is a virtual private cloud. To the world it is one network, which is what it
// embeds: its offering is the VPC's, its CIDR holds those of the tiers, its NICs are
// those of all tiers, and its router has a side in each.
type VPC struct {
	Network
	Spec     *schema.VPC
	Tiers    []*Network // by name
	Gateways []*Gateway // by name
	Routes   []VPCRoute
}

// A Tier is what a network knows of the VPC that it is a tier of.
type Tier struct {
	ID   schema.ID
	Doc  *schema.Document
	Spec *schema.VPC
}

// VPCRoute is a static route of a VPC, by the side or the gateway that sees its next
// hop.
type VPCRoute struct {
	CIDR    netip.Prefix
	Via     netip.Addr
	Side    *Side
	Gateway *Gateway
	Pos     schema.Pos
}

// Link is the router's link that the route leads through.
func (x *VPCRoute) Link() string {
	if x.Gateway != nil {
		return x.Gateway.Leg.Link
	}
	return x.Side.Link
}

// A Gateway is a router's link to a network of the operator's. Its rules are as those
// of a tier.
type Gateway struct {
	ID   schema.ID
	Doc  *schema.Document
	Spec *schema.PrivateGateway
	Leg  Leg // without Range
	// Physical carries VLAN, 0 for untagged.
	Physical *PhysicalNetwork
	VLAN     uint32
	ACL      *ACL
}

// ACL is a list of rules that decide what enters and leaves a network of a VPC. Doc
// is nil for the built-in ones.
type ACL struct {
	Name string
	Doc  *schema.Document
	// Ingress and Egress are in the order of their numbers; what none matches is
	// denied.
	Ingress, Egress []*schema.ACLRule
}

var builtinACLs = func() map[string]*ACL {
	out := map[string]*ACL{schema.ACLDefaultDeny: {Name: schema.ACLDefaultDeny}}
	all := []*schema.ACLRule{{Number: 1, Name: "all", Action: "Allow", Protocol: "all"}}
	out[schema.ACLDefaultAllow] = &ACL{Name: schema.ACLDefaultAllow, Ingress: all, Egress: all}
	return out
}()

// ResolveVPC makes the unit of one VPC, as Resolve does of a network. Its tiers are
// resolved for it, and judged as units of their own: where one cannot be judged, the
// VPC cannot.
func ResolveVPC(site *Site, index *Index, doc *schema.Document, numbers Numbers) (*VPC, schema.Diags) {
	spec, _ := doc.Spec.(*schema.VPC)
	v := &VPC{Spec: spec}
	n := &v.Network
	*n = Network{ID: doc.ID(), Doc: doc, Spec: &schema.Network{Zone: spec.Zone, Offering: spec.Offering, PublicMTU: spec.PublicMTU, CIDR: spec.CIDR, ASN: spec.ASN}, State: Allocated}
	r := &resolver{site: site, index: index, n: n, doc: doc, spec: n.Spec, numbers: numbers, owner: n.ID.String(), servesRouter: true}
	_, r.ips = index.Members(n.ID)
	r.attached = index.Attached(n.ID)
	if !r.vpcGround() {
		if n.Blocked == "" && !r.diags.HasErrors() {
			n.Blocked = "what it stands on is invalid"
		}
		return v, r.diags
	}
	n.CIDR = spec.CIDR.Masked()
	n.Domain, n.DNS = vpcNames(spec, doc, n.Zone)
	r.tiers(v)
	r.vpcSuspended(v)
	lists := r.lists(v)
	r.tierLists(v, lists)
	r.gateways(v, lists)
	r.vpcRoutes(v)
	r.publicIPs()
	r.tierServices(v)
	r.balancers()
	r.balancedTiers(v)
	r.vpns(v.vpnWays())
	r.vpcRouter(v)
	r.l2tp()
	slices.SortFunc(n.Demands, compareDemands)
	n.Demands = slices.Clip(n.Demands)
	return v, r.diags
}

// vpcNames are the domain and the resolvers of a VPC's guests.
func vpcNames(spec *schema.VPC, doc *schema.Document, z *Zone) (string, []netip.Addr) {
	dns := spec.DNS
	if len(dns) == 0 {
		dns = z.Spec.DNS
	}
	return cmp.Or(spec.NetworkDomain, z.Spec.NetworkDomain, doc.Meta.Account+".cloud.internal"), dns
}

// vpcGround resolves what the VPC stands on.
func (r *resolver) vpcGround() bool {
	ok := r.account()
	name := r.spec.Offering
	r.n.Offering = r.site.VPCOfferings[name]
	if why := r.site.Invalid[schema.ID{Kind: schema.KindVPCOffering, Name: name}]; r.n.Offering == nil || why != "" {
		if !r.blocked(schema.KindVPCOffering, name) {
			unknown(&r.diags, r.doc.At("spec.offering"), "VPC offering", name, keys(r.site.VPCOfferings))
		}
		ok = false
	}
	return r.zone() && ok && r.allowed()
}

// tiers resolves the networks of the VPC.
func (r *resolver) tiers(v *VPC) {
	n := r.n
	hostnames := map[string]*NIC{}
	for _, d := range r.index.Tiers(v.ID) {
		t, ds := Resolve(r.site, r.index, d, r.numbers)
		switch {
		case n.Blocked != "":
		case ds.HasErrors() || t.Blocked != "":
			n.Blocked = "tier " + d.Meta.Name + " can not be judged"
		case len(t.Missing) > 0:
			n.Missing = append(n.Missing, t.Missing[0])
		}
		if len(t.Segments) == 0 || !t.CIDR.IsValid() {
			continue
		}
		r.tierCIDR(v, t)
		v.Tiers = append(v.Tiers, t)
		n.NICs = append(n.NICs, t.NICs...)
		for _, nic := range t.NICs {
			if o := hostnames[nic.Hostname]; o != nil && o.VM != nic.VM && o.Segment != nic.Segment {
				r.diags.Errorf(nic.VM.At("spec.hostname"), "duplicate-hostname", "two VMs of %s have the host name %s", v.ID, nic.Hostname).
					Offending(nic.Hostname).See(o.VM.At("spec.hostname"), "the other VM").Hintf("give one another hostname")
			}
			hostnames[nic.Hostname] = nic
		}
		if t.IP6 != nil && n.IP6 == nil {
			n.IP6 = t.IP6
		}
	}
	slices.SortFunc(n.NICs, func(a, b *NIC) int { return cmp.Compare(a.ID, b.ID) })
	if len(v.Tiers) > 0 {
		n.State = Implemented
	}
}

// vpcSuspended finds the document that suspends the VPC: its own, those of it, and
// tiers.
func (r *resolver) vpcSuspended(v *VPC) {
	n := r.n
	docs := []*schema.Document{r.doc, n.Account.Doc, n.Offering.Doc, n.Zone.Doc}
	docs = slices.Concat(docs, r.ips, r.attached)
	for _, d := range docs {
		if d != nil && d.Meta.Suspended() {
			n.Suspended = "suspended by " + schema.AnnotationSuspend + " of " + d.ID().String()
			return
		}
	}
	for _, t := range v.Tiers {
		if t.Suspended != "" {
			n.Suspended = t.Suspended
			return
		}
	}
}

// lists resolves the network ACLs of the VPC, by name; the built-in ones are among
// them.
func (r *resolver) lists(v *VPC) map[string]*ACL {
	out := map[string]*ACL{}
	for name, l := range builtinACLs {
		out[name] = l
	}
	for _, d := range r.attached {
		spec, ok := d.Spec.(*schema.NetworkACL)
		if !ok || !r.ofVPC(v, d, spec.VPC) {
			continue
		}
		l := &ACL{Name: d.Meta.Name, Doc: d}
		for i := range spec.Rules {
			if x := &spec.Rules[i]; x.Direction == "Egress" {
				l.Egress = append(l.Egress, x)
			} else {
				l.Ingress = append(l.Ingress, x)
			}
		}
		for _, rules := range [][]*schema.ACLRule{l.Ingress, l.Egress} {
			slices.SortFunc(rules, func(a, b *schema.ACLRule) int { return cmp.Compare(a.Number, b.Number) })
		}
		out[l.Name] = l
	}
	return out
}

// ofVPC holds that what is of a VPC is of its account too.
func (r *resolver) ofVPC(v *VPC, d *schema.Document, ref schema.Ref) bool {
	if d.Meta.Account == v.ID.Account {
		return true
	}
	r.diags.Errorf(d.At("spec.vpc"), "not-shared", "VPC %s is of account %s, and %s of account %s", v.ID.Name, v.ID.Account, d.ID(), d.Meta.Account).
		Offending(ref.String()).See(nameOf(r.doc), "the VPC")
	return false
}

// list is the ACL called name, as d asks for it.
func (r *resolver) list(v *VPC, lists map[string]*ACL, d *schema.Document, name string) *ACL {
	if name == "" {
		name = schema.ACLDefaultDeny
	}
	if l := lists[name]; l != nil {
		return l
	}
	if r.index.unread[schema.ID{Kind: schema.KindNetworkACL, Account: v.ID.Account, Name: name}] {
		if r.n.Blocked == "" {
			r.n.Blocked = "networkacl/" + v.ID.Account + "/" + name + " is invalid"
		}
		return builtinACLs[schema.ACLDefaultDeny]
	}
	unknown(&r.diags, d.At("spec.acl"), "ACL of VPC "+v.ID.Name, name, keys(lists))
	return builtinACLs[schema.ACLDefaultDeny]
}

// tierLists gives each tier its ACL.
func (r *resolver) tierLists(v *VPC, lists map[string]*ACL) {
	for _, t := range v.Tiers {
		l := r.list(v, lists, t.Doc, t.Spec.ACL)
		if side := t.Segments[0].Side; side != nil {
			side.ACL = l
		}
	}
}

// TierOf is the tier that a NIC is in, or nil.
func (v *VPC) TierOf(nic *NIC) *Network {
	for _, t := range v.Tiers {
		if nic.Segment == t.Segments[0] {
			return t
		}
	}
	return nil
}

// tierServices holds that a tier has the services that lead to its guests, and that
// an address serves several tiers only where the offering lets it.
func (r *resolver) tierServices(v *VPC) {
	for _, ip := range v.IPs {
		tiers := map[*Network]bool{}
		use := func(nic *NIC, offered func(*schema.Services) bool, path, service string) {
			t := v.TierOf(nic)
			if t == nil {
				return
			}
			tiers[t] = true
			if !offered(&t.Offering.Spec.Services) {
				x := r.diags.Errorf(ip.Doc.At(path), "service-not-offered", "offering %s of tier %s has no service %s", t.Offering.Name, t.ID.Name, service)
				x.See(t.Doc.At("spec.offering"), "the tier's offering")
			}
		}
		if ip.StaticNAT != nil {
			use(ip.StaticNAT, func(s *schema.Services) bool { return s.StaticNat != nil }, "spec.staticNat", "StaticNat")
		}
		for i, f := range ip.Forwards {
			use(f.NIC, func(s *schema.Services) bool { return s.PortForwarding != nil }, path1("spec.portForwarding", i), "PortForwarding")
		}
		if len(tiers) > 1 && !r.n.Offering.Spec.ConserveMode {
			r.diags.Errorf(ip.Doc.At("spec"), "one-purpose", "%s serves several tiers, and offering %s has conserveMode: false", ip.ID, r.n.Offering.Name).
				Hintf("use one public address for each tier")
		}
	}
}

// vpcRouter asks for what the VPC's router needs.
func (r *resolver) vpcRouter(v *VPC) {
	n := r.n
	x := &Router{ID: n.ID, Doc: r.doc, Zone: n.Zone, Domain: n.Domain, DNS: n.DNS, Services: &n.Offering.Spec.Services, VPC: v, IPs: n.IPs, VPNs: n.VPNs}
	x.Balancers = slices.Clone(n.Balancers)
	labels := r.publicLeg(x)
	r.routed(x)
	tunnel := false
	for _, t := range v.Tiers {
		labels = append(labels, t.Physical.Guest)
		x.Balancers = append(x.Balancers, t.Balancers...)
		tunnel = tunnel || tunneled(t.Scheme) && n.Zone.several(t.Physical.Guest)
		if side := t.Segments[0].Side; side != nil {
			side.Router = x
			x.Sides = append(x.Sides, side)
		}
	}
	for _, g := range v.Gateways {
		labels = append(labels, g.Physical.Guest)
	}
	if len(v.Tiers) == 0 && len(labels) == 0 {
		return
	}
	host, second := r.routerHost(labels, tunnel, "", r.owner)
	vrid, lead := uint8(0), 0
	if r.redundant() {
		vrid, lead = r.vrid(r.owner), r.leadTier(v.Tiers)
	}
	x.Host = host
	if x.Host == nil || n.State != Implemented || len(n.Missing) > 0 || n.Blocked != "" || r.diags.HasErrors() || len(x.Sides) < len(v.Tiers) {
		return
	}
	if nameVPC(x); second != nil {
		x.join(second, vrid, lead, nameVPC)
	}
	n.Router = x
	for _, one := range x.Each() {
		n.Hosts = append(n.Hosts, one.Host)
	}
	sortHosts(n.Hosts)
}

// nameVPC gives the names that the router of a VPC has on its host. A dot keeps them
// from those of networks; tiers' are named by their own.
func nameVPC(x *Router) {
	instance, own := x.Host.Facts.Instance, "vpc."+x.ID.Name
	x.NS = resource.Short(maxNS, instance, x.ID.Account, own)
	for _, s := range x.Sides {
		nameSide(s, instance)
	}
	nameLegs(x, x.ID.Account, own, instance)
	if x.VPC == nil {
		return
	}
	for _, g := range x.VPC.Gateways {
		g.Leg.Link, g.Leg.Port = resource.Short(15, "g", g.ID.Name), resource.Short(15, "wp", x.ID.Account, "gw."+g.ID.Name, instance)
	}
}

// nameSide names the link into a tier by the tier, so that another one changes
// nothing here.
func nameSide(s *Side, instance string) {
	s.Link = resource.Short(15, "t", s.Name)
	s.Port = resource.Short(15, "wg", s.Network.ID.Account, s.Network.ID.Name, instance)
}

// word is what people call n, which may be that of a VPC.
func (n *Network) word() string {
	if n.ID.Kind == schema.KindVPC {
		return "VPC"
	}
	return "network"
}

// what names n for people.
func (n *Network) what() string { return n.word() + " " + n.ID.Name }
