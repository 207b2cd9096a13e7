package model

import (
	"net/netip"
	"slices"

	"weft.dev/schema"
)

// Resolve makes the unit of one network: its document, the VMs and public
// addresses that refer to it, and the numbers that a lock gives. It is pure: the
// result depends on the arguments only. The network is nil when not even its
// zone, account, offering or physical network is known; where diagnostics have
// errors, or Blocked, Missing or Suspended is set, it must be held.
func Resolve(site *Site, index *Index, doc *schema.Document, numbers Numbers) (*Network, schema.Diags) {
	spec, _ := doc.Spec.(*schema.Network)
	n := &Network{ID: doc.ID(), Doc: doc, Spec: spec, State: Allocated}
	r := &resolver{site: site, index: index, n: n, doc: doc, spec: spec, numbers: numbers, owner: n.ID.String()}
	r.vms, r.ips = index.Members(n.ID)
	if !r.ground() {
		if n.Blocked == "" && !r.diags.HasErrors() {
			n.Blocked = "what it stands on is invalid"
		}
		r.members()
		return n, r.diags
	}
	r.suspended()
	r.address()
	r.broadcast()
	r.mtu()
	r.rules()
	r.members()
	r.publicIPs()
	r.lifecycle()
	r.router()
	r.hosts()
	r.endpoints()
	slices.SortFunc(n.Demands, compareDemands)
	n.Demands = slices.Clip(n.Demands)
	return n, r.diags
}

func compareDemands(a, b Demand) int {
	switch {
	case a.Owner != b.Owner:
		if a.Owner < b.Owner {
			return -1
		}
		return 1
	case a.Field < b.Field:
		return -1
	case a.Field > b.Field:
		return 1
	}
	return 0
}

type resolver struct {
	site    *Site
	index   *Index
	n       *Network
	doc     *schema.Document
	spec    *schema.Network
	numbers Numbers
	owner   string // of the network in the lock
	vms     []*schema.Document
	ips     []*schema.Document
	diags   schema.Diags

	pool  *addrPool // of guests' addresses, nil when the CIDR is wrong
	room  []NIC     // what n.NICs point into
	usedN int       // NICs that run
	// servesRouter: an offered service is a VirtualRouter's.
	servesRouter bool
	ranges       []*PublicRange // that public addresses may come from
}

// blocked notes that the network cannot be judged because of id.
func (r *resolver) blocked(kind, name string) bool {
	why, ok := r.site.Invalid[schema.ID{Kind: kind, Name: name}]
	if ok && r.n.Blocked == "" {
		r.n.Blocked = why
	}
	return ok
}

// ground resolves what the network stands on.
func (r *resolver) ground() bool {
	ok := r.account()
	ok = r.offering() && ok
	ok = r.zone() && ok
	if !ok || r.n.Offering == nil || !r.allowed() {
		return false
	}
	return r.physical()
}

func (r *resolver) account() bool {
	name := r.doc.Meta.Account
	if r.n.Account = r.site.Accounts[name]; r.n.Account != nil {
		return true
	}
	if !r.blocked(schema.KindAccount, name) {
		unknown(&r.diags, r.doc.At("metadata.account"), "account", name, keys(r.site.Accounts)).
			Hintf("add a document of kind Account named %s", name)
	}
	return false
}

func (r *resolver) offering() bool {
	name := r.spec.Offering
	if r.n.Offering = r.site.Offerings[name]; r.n.Offering != nil && r.site.Invalid[schema.ID{Kind: schema.KindNetworkOffering, Name: name}] == "" {
		return true
	}
	if !r.blocked(schema.KindNetworkOffering, name) {
		unknown(&r.diags, r.doc.At("spec.offering"), "offering", name, keys(r.site.Offerings))
	}
	return false
}

// zone takes the zone as written, as the physical network or the offering
// implies it, or the only one.
func (r *resolver) zone() bool {
	implied, by := "", ""
	if name := r.spec.PhysicalNetwork; name != "" {
		p := r.site.Physical[name]
		if p == nil {
			if !r.blocked(schema.KindPhysicalNetwork, name) {
				unknown(&r.diags, r.doc.At("spec.physicalNetwork"), "physical network", name, keys(r.site.Physical))
			}
			return false
		}
		implied, by = p.Zone, "physical network "+name
	} else if o := r.n.Offering; o != nil && r.spec.Zone == "" && len(o.Spec.Zones) == 1 && r.site.Zones[o.Spec.Zones[0]] != nil {
		implied, by = o.Spec.Zones[0], "offering "+o.Name
	}
	name, ok := pickZone(&r.diags, r.doc, r.spec.Zone, implied, by, r.site.ZoneNames(), r.site.Invalid)
	if !ok {
		r.blocked(schema.KindZone, r.spec.Zone)
		return false
	}
	r.n.Zone = r.site.Zones[name]
	if why := r.n.Zone.Invalid; why != "" {
		r.n.Blocked = why
	}
	return true
}

// allowed holds the offering's own restrictions.
func (r *resolver) allowed() bool {
	o := r.n.Offering
	known := len(r.diags)
	if o.Spec.State == "Disabled" && r.numbers.Number(r.owner, FieldVNet) == "" {
		r.offeringDiag("offering-disabled", "offering %s is Disabled: no new network can use it", o.Name)
	}
	if len(o.Spec.Zones) > 0 && !slices.Contains(o.Spec.Zones, r.n.Zone.Name) {
		r.offeringDiag("offering-zone", "offering %s is for zone %s, and network %s is in zone %s", o.Name, list(o.Spec.Zones), r.doc.Meta.Name, r.n.Zone.Name)
	}
	if len(o.Spec.Accounts) > 0 && !slices.Contains(o.Spec.Accounts, r.doc.Meta.Account) {
		r.offeringDiag("offering-account", "offering %s is for account %s, not for %s", o.Name, list(o.Spec.Accounts), r.doc.Meta.Account)
	}
	return known == len(r.diags)
}

func (r *resolver) offeringDiag(code, format string, args ...any) {
	d := r.diags.Errorf(r.doc.At("spec.offering"), code, format, args...).Offending(r.spec.Offering)
	if o := r.n.Offering; o.Doc != nil {
		d.See(o.Doc.At("spec"), "the offering")
	}
}

// physical finds the physical network: as written, or the only one that has the
// offering's tags, Guest traffic and the isolation that the VLAN asks for.
func (r *resolver) physical() bool {
	o, z := r.n.Offering, r.n.Zone
	if name := r.spec.PhysicalNetwork; name != "" {
		p := r.site.Physical[name]
		if why, tag := r.unfit(p); why != "" {
			d := r.diags.Errorf(r.doc.At("spec.physicalNetwork"), "physical-network-unfit", "physical network %s %s", name, why).Offending(name)
			d.See(p.Doc.At(tag), "its declaration")
			return false
		}
		r.n.Physical = p
		return r.providers()
	}
	var fit []*PhysicalNetwork
	var why []string
	for _, p := range z.Physical {
		w, _ := r.unfit(p)
		if w == "" {
			fit = append(fit, p)
			continue
		}
		why = append(why, p.Name+" "+w)
	}
	switch {
	case len(fit) == 1:
		r.n.Physical = fit[0]
		return r.providers()
	case len(fit) > 1:
		r.diags.Errorf(r.doc.At("spec"), "ambiguous-physical-network", "which physical network carries %s? %s fit", r.n.ID, list(names(fit))).
			Hintf("add physicalNetwork: %s", fit[0].Name)
	case z.Invalid == "":
		at, what := "spec.offering", "offering "+o.Name
		if u := r.spec.VLAN; !u.IsZero() {
			at, what = "spec.vlan", u.String()+" and "+what
		}
		d := r.diags.Errorf(r.doc.At(at), "no-physical-network", "no physical network of zone %s fits %s", z.Name, what)
		if len(why) > 0 {
			d.Hintf("%s", list(why))
		}
	}
	return false
}

// unfit says why p cannot carry the network, and where p says so.
func (r *resolver) unfit(p *PhysicalNetwork) (why, path string) {
	if p.Guest == "" {
		return "carries no Guest traffic", "spec.traffic"
	}
	for _, t := range r.n.Offering.Spec.Tags {
		if !slices.Contains(p.Spec.Tags, t) {
			return "lacks the tag " + t + " of offering " + r.n.Offering.Name, "spec.tags"
		}
	}
	if s := r.spec.VLAN.Scheme; s != "" && s != schema.SchemeVLAN && s != schema.SchemeNative && s != schemeOf(p) {
		return "has isolation " + p.Spec.Isolation + ", not that of " + r.spec.VLAN.String(), "spec.isolation"
	}
	return "", ""
}

func schemeOf(p *PhysicalNetwork) string {
	switch p.Spec.Isolation {
	case "VLAN":
		return schema.SchemeVLAN
	case "VXLAN":
		return schema.SchemeVXLAN
	case "GRE":
		return schema.SchemeGRE
	case "GENEVE":
		return schema.SchemeGENEVE
	case "STT":
		return schema.SchemeSTT
	}
	return ""
}

// providers holds that each service's provider is enabled on the physical network.
func (r *resolver) providers() bool {
	ok, p := true, r.n.Physical
	for _, s := range r.n.Offering.services() {
		if s.Provider == providerRouter {
			r.servesRouter = true
		}
		if slices.Contains(p.Spec.Providers, s.Provider) {
			continue
		}
		ok = false
		d := r.diags.Errorf(r.doc.At("spec.offering"), "provider-not-enabled", "provider %s of service %s is not enabled on physical network %s", s.Provider, s.Name, p.Name).
			Offending(r.n.Offering.Name).Hintf("add %s to providers of %s", s.Provider, p.Name)
		if o := r.n.Offering; o.Doc != nil {
			d.See(o.Doc.PosOf(s.At), "the service")
		}
		d.See(p.Doc.At("spec.providers"), "the physical network")
	}
	return ok
}

// suspended finds the document that suspends the network.
func (r *resolver) suspended() {
	for _, d := range r.standsOn() {
		if d != nil && d.Meta.Suspended() {
			r.n.Suspended = "suspended by " + schema.AnnotationSuspend + " of " + d.ID().String()
			return
		}
	}
}

// standsOn lists the documents whose children the network is, and those of it.
func (r *resolver) standsOn() []*schema.Document {
	n := r.n
	docs := []*schema.Document{r.doc, n.Account.Doc, n.Offering.Doc, n.Physical.Doc, n.Zone.Doc}
	docs = append(docs, r.vms...)
	return append(docs, r.ips...)
}

// broadcast decides the broadcast domain and asks for its number.
func (r *resolver) broadcast() {
	n, u := r.n, r.spec.VLAN
	d := Demand{Owner: r.owner, Field: FieldVNet, Pos: r.doc.Pos}
	switch {
	case !u.IsZero() && !n.Offering.Spec.SpecifyVLAN:
		r.diags.Errorf(r.doc.At("spec.vlan"), "vlan-not-allowed", "offering %s does not let a network state its VLAN", n.Offering.Name).
			Offending(u.String()).Hintf("leave vlan out, or use an offering with specifyVlan: true")
		return
	case u.IsZero() && n.Offering.Spec.SpecifyVLAN:
		r.diags.Errorf(r.doc.At("spec"), "vlan-missing", "offering %s has specifyVlan: the network has to state its VLAN", n.Offering.Name).
			Hintf("add vlan: \"vlan://ID\"")
		return
	case u.IsZero():
		n.Scheme = schemeOf(n.Physical)
		pool := n.Zone.vnets[n.Physical]
		if pool.Size() == 0 {
			r.diags.Errorf(r.doc.At("spec"), "no-vnets", "physical network %s has no vnets to allocate from", n.Physical.Name).
				See(n.Physical.Doc.At("spec"), "the physical network").Hintf("add vnets to it")
			return
		}
		d.Pool = pool
	case u.Scheme == schema.SchemeVLAN || u.Scheme == schema.SchemeNative:
		n.Scheme = u.Scheme
		w := n.Zone.wires[n.Physical.Guest]
		if p := w.public[u.ID]; p != nil {
			r.diags.Errorf(r.doc.At("spec.vlan"), "vlan-taken", "%s is that of public range %s on the same wire", u, p.Name).
				Offending(u.String()).See(p.Doc.At("spec"), "the range")
			return
		}
		d.Pool, d.Fixed = w.vlans, number(u.ID)
	default:
		n.Scheme = u.Scheme
		d.Pool, d.Fixed = n.Zone.vnets[n.Physical], number(u.ID)
	}
	if d.Fixed != "" {
		d.Pos = r.doc.At("spec.vlan")
	}
	if v := r.demand(d); v != "" {
		n.VNet, _ = parseID(v)
	}
}

// demand asks for a number and returns what the lock says, "" when that is
// nothing or no longer fits.
func (r *resolver) demand(d Demand) string {
	if d.Owner == r.owner {
		d.Formerly = formerly(r.doc)
	}
	r.n.Demands = append(r.n.Demands, d)
	v := r.numbers.Number(d.Owner, d.Field)
	if v == "" || d.Fixed != "" && v != d.Fixed || d.Fixed == "" && !d.Pool.Contains(v) {
		r.n.Missing = append(r.n.Missing, d)
		return ""
	}
	return v
}

// address derives CIDR, gateway, domain and resolvers.
func (r *resolver) address() {
	n, z := r.n, r.n.Zone
	n.CIDR, n.Gateway = r.spec.CIDR, r.spec.Gateway
	if !n.CIDR.IsValid() {
		n.CIDR = z.Spec.GuestCIDR
	}
	n.CIDR = n.CIDR.Masked()
	if !n.Gateway.IsValid() {
		n.Gateway = n.CIDR.Addr().Next()
	}
	n.DNS = r.spec.DNS
	if len(n.DNS) == 0 {
		n.DNS = z.Spec.DNS
	}
	n.Domain = r.spec.NetworkDomain
	if n.Domain == "" {
		n.Domain = z.Spec.NetworkDomain
	}
	if n.Domain == "" {
		n.Domain = r.doc.Meta.Account + ".cloud.internal"
	}
	r.pool = guestPool(n.ID, n.CIDR, n.Gateway, r.spec.Reserved)
	if !r.spec.CIDR.IsValid() {
		r.insideGuestCIDR()
	}
}

// insideGuestCIDR checks what schema cannot: the network took the zone's CIDR.
func (r *resolver) insideGuestCIDR() {
	c := r.n.CIDR
	for i, p := range r.spec.Reserved {
		if !c.Contains(p.Addr()) || p.Bits() < c.Bits() {
			r.outside(d1(r.doc, "spec.reserved", i), "the reserved "+p.String(), p.String())
		}
	}
	for i, e := range r.spec.Egress {
		for j, p := range e.Sources {
			if p.Bits() != 0 && (!c.Contains(p.Addr()) || p.Bits() < c.Bits()) {
				r.outside(r.doc.At(path2("spec.egress", i, "sources", j)), "the source "+p.String(), p.String())
			}
		}
	}
	for i, x := range r.spec.Routes {
		if !c.Contains(x.Via) {
			r.outside(d2(r.doc, "spec.routes", i, "via"), "the next hop "+x.Via.String(), x.Via.String())
		}
	}
}

func (r *resolver) outside(at schema.Pos, what, text string) {
	r.diags.Errorf(at, "outside-cidr", "%s is outside %s, which the network has from zone %s", what, r.n.CIDR, r.n.Zone.Name).
		Offending(text).See(r.n.Zone.Doc.At("spec.guestCIDR"), "the zone's guestCIDR").Hintf("give the network a cidr of its own")
}

// Overhead is what an encapsulation takes of the wire's MTU: the outer IPv4 and
// its headers, and for VXLAN and GENEVE the inner Ethernet header.
func Overhead(scheme string) int {
	switch scheme {
	case schema.SchemeVXLAN, schema.SchemeGENEVE:
		return 50
	case schema.SchemeGRE:
		return 42
	}
	return 0
}

// minMTU is what IPv4 asks of every host.
const minMTU = 576

func (r *resolver) mtu() {
	n := r.n
	if n.Scheme == "" {
		return
	}
	room := n.Physical.Spec.MTU - Overhead(n.Scheme)
	n.MTU = min(1500, room)
	switch {
	case room < minMTU:
		r.diags.Errorf(nameOf(r.doc), "mtu-too-small", "the wire of physical network %s carries %d bytes, which leaves %d inside %s", n.Physical.Name, n.Physical.Spec.MTU, room, n.Scheme).
			See(n.Physical.Doc.At("spec.mtu"), "the wire's MTU").Hintf("at least %d are needed", minMTU)
	case r.spec.MTU > room:
		r.diags.Errorf(r.doc.At("spec.mtu"), "mtu-too-large", "mtu %d does not fit: the wire of physical network %s carries %d bytes, and %s takes %d", r.spec.MTU, n.Physical.Name, n.Physical.Spec.MTU, n.Scheme, Overhead(n.Scheme)).
			Offending(number(uint32(r.spec.MTU))).See(n.Physical.Doc.At("spec.mtu"), "the wire's MTU").Hintf("at most %d", room)
	case r.spec.MTU != 0:
		n.MTU = r.spec.MTU
	}
}

func (r *resolver) endpoints() {
	n := r.n
	if len(n.Hosts) < 2 || n.Scheme == "" || n.Scheme == schema.SchemeVLAN || n.Scheme == schema.SchemeNative {
		return
	}
	for _, h := range n.Hosts {
		if !h.TunnelIP.IsValid() {
			r.diags.Errorf(h.Doc.At("spec"), "no-tunnel-endpoint", "host %s has no tunnel endpoint, and %s networks span it and other hosts", h.Name, n.Physical.Spec.Isolation).
				Hintf("give bridge %s an address, or state tunnelIP", n.Physical.Guest)
		}
	}
}

// hosts unites where NICs may appear and the router is.
func (r *resolver) hosts() {
	n := r.n
	if n.State != Implemented {
		return
	}
	seen := map[string]bool{}
	add := func(name string) {
		if h := r.site.Hosts[name]; h != nil && !seen[name] {
			seen[name] = true
			n.Hosts = append(n.Hosts, h)
		}
	}
	for _, nic := range n.NICs {
		if nic.Running {
			for _, h := range nic.Hosts {
				add(h)
			}
		}
	}
	if n.Router != nil {
		add(n.Router.Host.Name)
	}
	slices.SortFunc(n.Hosts, func(a, b *Host) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
}

func (r *resolver) lifecycle() {
	if r.usedN > 0 || r.n.Offering.Spec.Persistent {
		r.n.State = Implemented
	}
}

// formerly is the ID that a document had before a rename, or "".
func formerly(d *schema.Document) string {
	old := d.Meta.Formerly()
	if old == "" {
		return ""
	}
	id := d.ID()
	id.Name = old
	return id.String()
}

func addrOf(v string) netip.Addr {
	ip, err := netip.ParseAddr(v)
	if err != nil {
		return netip.Addr{}
	}
	return ip
}
