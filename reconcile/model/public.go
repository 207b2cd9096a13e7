package model

import (
	"net/netip"
	"slices"

	"weft.dev/schema"
)

// publicIPs resolves the public addresses of the network.
func (r *resolver) publicIPs() {
	n := r.n
	r.ranges = n.Zone.rangesFor(n.Account)
	var sourceNAT *PublicIP
	for _, d := range r.ips {
		spec, _ := d.Spec.(*schema.PublicIP)
		p := &PublicIP{ID: d.ID(), Doc: d, Spec: spec, SourceNAT: spec.SourceNat}
		field, ref := "spec.network", spec.Network
		if !spec.VPC.IsZero() {
			field, ref = "spec.vpc", spec.VPC
		}
		if d.Meta.Account != n.ID.Account {
			r.diags.Errorf(d.At(field), "not-shared", "%s of account %s is not shared with account %s", n.what(), n.ID.Account, d.Meta.Account).
				Offending(ref.String()).See(nameOf(r.doc), "the %s", n.word())
			continue
		}
		if n.Tier != nil {
			r.diags.Errorf(d.At(field), "tier-address", "network %s is a tier of VPC %s, which has the public addresses", n.ID.Name, n.Tier.ID.Name).
				Offending(ref.String()).See(r.doc.At("spec.vpc"), "the tier").Hintf("write vpc: %s instead of network", n.Tier.ID.Name)
			continue
		}
		if r.noPublicIPs(d, field) {
			continue
		}
		if n.Type() != GuestIsolated {
			r.diags.Errorf(d.At("spec.network"), "not-of-guest-type", "network %s is %s: no public address can serve it", n.ID.Name, n.Type()).
				Offending(spec.Network.String()).See(r.doc.At("spec.offering"), "its offering")
			continue
		}
		if !r.publicAddress(p) {
			continue
		}
		n.IPs = append(n.IPs, p)
		if p.SourceNAT {
			if sourceNAT != nil {
				r.diags.Errorf(d.At("spec.sourceNat"), "two-source-nats", "%s has two source NAT addresses: %s and %s", n.what(), sourceNAT.ID, p.ID).
					Offending("true").See(sourceNAT.Doc.At("spec.sourceNat"), "the other one").Hintf("a %s has one", n.word())
			}
			sourceNAT = p
		}
		r.publicUse(p)
		r.targets(p)
		r.unopened(p)
	}
	r.mainNet()
	r.oneStaticNAT()
}

// publicAddress finds the range and asks for the address.
func (r *resolver) publicAddress(p *PublicIP) bool {
	d, z := p.Doc, r.n.Zone
	if s := p.Spec.Zone; s != "" && s != z.Name {
		r.diags.Errorf(d.At("spec.zone"), "zone-mismatch", "%s is in zone %s, and %s in zone %s", p.ID, s, r.n.what(), z.Name).
			Offending(s).See(nameOf(r.doc), "the %s", r.n.word()).Hintf("leave zone out, or write zone: %s", z.Name)
		return false
	}
	rng, demand := publicDemand(r.site, z, d, p.Spec, &r.diags)
	if rng == nil {
		if z.Invalid != "" && r.n.Blocked == "" {
			r.n.Blocked = z.Invalid
		}
		return false
	}
	p.Range, p.Addr = rng, p.Spec.Address
	if v := r.demand(demand); v != "" {
		p.Addr = addrOf(v)
		p.Range = rangeOf(z.Ranges, p.Addr)
	}
	return true
}

// publicDemand is what a PublicIP asks the lock for, or nil and a diagnostic.
func publicDemand(site *Site, z *Zone, d *schema.Document, spec *schema.PublicIP, ds *schema.Diags) (*PublicRange, Demand) {
	out := Demand{Owner: d.ID().String(), Field: FieldAddress, Pos: d.Pos, Formerly: formerly(d)}
	var rng *PublicRange
	usable := z.rangesFor(site.Accounts[d.Meta.Account])
	switch {
	case spec.Range != "":
		rng = site.Ranges[spec.Range]
		if rng != nil && rng.Zone != z.Name {
			ds.Errorf(d.At("spec.range"), "zone-mismatch", "public range %s is in zone %s, and %s in zone %s", rng.Name, rng.Zone, d.ID(), z.Name).
				Offending(spec.Range).See(nameOf(rng.Doc), "the range")
			return nil, out
		}
		if rng == nil {
			if site.Invalid[schema.ID{Kind: schema.KindPublicIPRange, Name: spec.Range}] == "" {
				unknown(ds, d.At("spec.range"), "public range", spec.Range, rangeNames(z.Ranges))
			}
			return nil, out
		}
	case spec.Address.IsValid():
		if rng = rangeOf(z.Ranges, spec.Address); rng == nil {
			outsideRanges(ds, d, spec, z, z.Ranges)
			return nil, out
		}
	case len(usable) == 1 || fallsBack(usable, d.Meta.Account):
		rng = usable[0]
	case len(usable) == 0:
		if z.Invalid == "" {
			ds.Errorf(nameOf(d), "no-public-range", "zone %s has no public range for %s", z.Name, d.ID()).Hintf("add a document of kind PublicIPRange")
		}
		return nil, out
	default:
		ds.Errorf(d.At("spec"), "ambiguous-range", "which range is %s of? Zone %s has %s", d.ID(), z.Name, list(rangeNames(usable))).
			Hintf("add range: %s", usable[0].Name)
		return nil, out
	}
	if !rangeUsable(site, usable, rng, d, spec, ds) {
		return nil, out
	}
	if spec.Address.IsValid() {
		if rangeOf([]*PublicRange{rng}, spec.Address) == nil {
			outsideRanges(ds, d, spec, z, []*PublicRange{rng})
			return nil, out
		}
		out.Fixed, out.Pos = spec.Address.String(), d.At("spec.address")
	}
	from := []*PublicRange{rng}
	if spec.Range == "" && !spec.Address.IsValid() {
		from = usable
	}
	out.Pool = z.publicPool(from)
	return rng, out
}

func outsideRanges(ds *schema.Diags, d *schema.Document, spec *schema.PublicIP, z *Zone, ranges []*PublicRange) {
	if z.Invalid != "" {
		return
	}
	x := ds.Errorf(d.At("spec.address"), "outside-ranges", "the public address %s is in none of the ranges of %s", spec.Address, list(rangeNames(ranges))).
		Offending(spec.Address.String())
	for _, r := range ranges {
		x.See(r.Doc.At("spec.ranges"), "the ranges of %s", r.Name)
	}
}

func rangeNames(l []*PublicRange) []string {
	out := make([]string, len(l))
	for i, r := range l {
		out[i] = r.Name
	}
	return out
}

// publicUse holds that the offering has the services used, and that one purpose
// does not exclude another.
func (r *resolver) publicUse(p *PublicIP) {
	s, o := p.Spec, &r.n.Offering.Spec.Services
	purposes := 0
	use := func(on bool, service string, offered bool, path string) {
		if on && !offered {
			r.lacks(p.Doc, path, service)
		}
	}
	use(s.SourceNat, "SourceNat", o.SourceNat != nil, "spec.sourceNat")
	use(s.StaticNat != nil, "StaticNat", o.StaticNat != nil, "spec.staticNat")
	use(len(s.PortForwarding) > 0, "PortForwarding", o.PortForwarding != nil, "spec.portForwarding")
	use(len(s.Firewall) > 0, "Firewall", o.Firewall != nil, "spec.firewall")
	for _, on := range []bool{s.SourceNat, s.StaticNat != nil, len(s.PortForwarding) > 0} {
		if on {
			purposes++
		}
	}
	if purposes > 1 && !r.n.Offering.Spec.ConserveMode {
		r.diags.Errorf(p.Doc.At("spec"), "one-purpose", "%s has several purposes, and offering %s has conserveMode: false", p.ID, r.n.Offering.Name).
			Hintf("use one public address for each purpose")
	}
}

// lacks reports a service that is used and not offered.
func (r *resolver) lacks(d *schema.Document, path, service string) {
	x := r.diags.Errorf(d.At(path), "service-not-offered", "offering %s of %s has no service %s", r.n.Offering.Name, r.n.what(), service)
	x.See(r.doc.At("spec.offering"), "the %s's offering", r.n.word())
	if o := r.n.Offering; o.Doc != nil {
		x.See(o.Doc.At("spec.services"), "its services")
	}
}

// targets resolves the VMs that the address leads to.
func (r *resolver) targets(p *PublicIP) {
	if t := p.Spec.StaticNat; t != nil {
		if nic, ip := r.target(p.Doc, t, "spec.staticNat"); nic != nil {
			p.StaticNAT, p.StaticTo = nic, ip
		}
	}
	for i := range p.Spec.PortForwarding {
		f := &p.Spec.PortForwarding[i]
		nic, ip := r.target(p.Doc, &f.To, path1("spec.portForwarding", i)+".to")
		if nic != nil {
			p.Forwards = append(p.Forwards, Forward{Spec: f, NIC: nic, To: ip})
		}
	}
}

// target is the NIC that t means, and the address of it.
func (r *resolver) target(d *schema.Document, t *schema.Target, path string) (*NIC, netip.Addr) {
	nic := r.targetNIC(d, t, path)
	if nic == nil || !t.IP.IsValid() {
		if nic == nil {
			return nil, netip.Addr{}
		}
		return nic, nic.IP
	}
	if t.IP != nic.IP && !slices.Contains(nic.Spec.SecondaryIPs, t.IP) {
		x := r.diags.Errorf(d.At(path+".ip"), "unknown-address", "%s is no address of NIC %s", t.IP, nic.ID).Offending(t.IP.String()).
			See(nic.Pos, "the NIC")
		if len(nic.Spec.SecondaryIPs) == 0 {
			x.Hintf("leave ip out, or add it to secondaryIPs of the NIC")
		}
		return nil, netip.Addr{}
	}
	return nic, t.IP
}

func (r *resolver) targetNIC(d *schema.Document, t *schema.Target, path string) *NIC {
	vm := schema.ID{Kind: schema.KindVirtualMachine, Account: t.VM.Or(d.Meta.Account), Name: t.VM.Name}
	nics := r.nicsOf(vm)
	if len(nics) == 0 {
		if r.index.unread[vm] {
			if r.n.Blocked == "" {
				r.n.Blocked = vm.String() + " is invalid"
			}
			return nil
		}
		r.unknownTarget(d, t, path)
		return nil
	}
	if t.NIC == "" {
		if len(nics) > 1 {
			r.diags.Errorf(d.At(path), "ambiguous-nic", "which NIC of VM %s? It has %s in %s", t.VM, list(nicNames(nics)), r.n.what()).
				Offending(t.VM.String()).See(nics[0].VM.At("spec.nics"), "the VM").Hintf("add nic: %s", nics[0].Name)
			return nil
		}
		return nics[0]
	}
	for _, n := range nics {
		if n.Name == t.NIC {
			return n
		}
	}
	unknown(&r.diags, d.At(path+".nic"), "NIC", t.NIC, nicNames(nics)).See(nics[0].VM.At("spec.nics"), "the NICs of VM %s", t.VM)
	return nil
}

// nicsOf lists a VM's NICs in the network.
func (r *resolver) nicsOf(vm schema.ID) []*NIC {
	var out []*NIC
	for _, n := range r.n.NICs {
		if n.VM.Meta.Name == vm.Name && n.VM.Meta.Account == vm.Account {
			out = append(out, n)
		}
	}
	return out
}

func (r *resolver) unknownTarget(d *schema.Document, t *schema.Target, path string) {
	var known []string
	for _, n := range r.n.NICs {
		known = append(known, n.VM.Meta.Name)
	}
	slices.Sort(known)
	known = slices.Compact(known)
	x := r.diags.Errorf(d.At(path+".vm"), "unknown-vm", "no VM %q has a NIC in %s", t.VM.String(), r.n.what()).Offending(t.VM.String())
	x.See(nameOf(r.doc), "the %s", r.n.word())
	if best := nearest(t.VM.Name, known); best != "" {
		x.Hintf("did you mean %q?", best)
	} else if len(known) > 0 {
		x.Hintf("the %s has %s", r.n.word(), list(known))
	}
}

func nicNames(l []*NIC) []string {
	out := make([]string, len(l))
	for i, n := range l {
		out[i] = n.Name
	}
	return out
}

// Filtered reports whether the address has a firewall of its own: in a VPC only
// where the document states one.
func (p *PublicIP) Filtered() bool { return p.Spec.VPC.IsZero() || p.Spec.Firewall != nil }

// unopened warns of forwards that the firewall lets nobody reach.
func (r *resolver) unopened(p *PublicIP) {
	if r.n.Offering.Spec.Services.Firewall == nil || !p.Filtered() {
		return
	}
	if p.StaticNAT != nil && len(p.Spec.Firewall) == 0 {
		r.diags.Warnf(p.Doc.PosOf(p.Spec.StaticNat.At), "nothing-open", "%s leads to VM %s, but no firewall rule lets anybody in", p.ID, p.Spec.StaticNat.VM).
			Hintf("add a rule to firewall")
	}
	for i := range p.Forwards {
		f := p.Forwards[i].Spec
		for _, ports := range f.Ports {
			if !opened(p.Spec.Firewall, f.Protocol, ports) {
				r.diags.Warnf(p.Doc.PosOf(f.At), "nothing-open", "%s port %s of %s is forwarded, but no firewall rule opens it", f.Protocol, ports, p.ID).
					Hintf("add {name: %s, protocol: %s, ports: %s} to firewall", f.Name, f.Protocol, ports)
			}
		}
	}
}

// opened reports whether a rule opens a part of ports.
func opened(rules []schema.FirewallRule, protocol string, ports schema.PortRange) bool {
	return slices.ContainsFunc(rules, func(f schema.FirewallRule) bool {
		return f.Protocol == protocol && (len(f.Ports) == 0 ||
			slices.ContainsFunc(f.Ports, func(x schema.PortRange) bool { return x.Overlaps(ports) }))
	})
}

// oneStaticNAT holds that each address of a NIC has one static NAT address: what it
// sends leaves with one.
func (r *resolver) oneStaticNAT() {
	type target struct {
		nic *NIC
		ip  netip.Addr
	}
	seen := map[target]*PublicIP{}
	for _, p := range r.n.IPs {
		if p.StaticNAT == nil {
			continue
		}
		to := target{p.StaticNAT, p.StaticTo}
		if o := seen[to]; o != nil {
			r.diags.Errorf(p.Doc.At("spec.staticNat"), "two-static-nats", "NIC %s has two static NAT addresses: %s and %s", p.StaticNAT.ID, o.ID, p.ID).
				See(o.Doc.At("spec.staticNat"), "the other one")
			continue
		}
		seen[to] = p
	}
}

// ResolveReserved judges a public address without network and returns what it
// asks the lock for.
func ResolveReserved(site *Site, d *schema.Document) (Demand, bool, schema.Diags) {
	var ds schema.Diags
	spec, _ := d.Spec.(*schema.PublicIP)
	if site.Accounts[d.Meta.Account] == nil {
		if site.Invalid[schema.ID{Kind: schema.KindAccount, Name: d.Meta.Account}] == "" {
			unknownAccount(&ds, d.At("metadata.account"), d.Meta.Account, site)
		}
		return Demand{}, false, ds
	}
	implied, by := "", ""
	if r := site.Ranges[spec.Range]; r != nil {
		implied, by = r.Zone, "range "+r.Name
	}
	zone, ok := pickZone(&ds, d, spec.Zone, implied, by, site.ZoneNames(), site.Invalid)
	if !ok {
		return Demand{}, false, ds
	}
	rng, demand := publicDemand(site, site.Zones[zone], d, spec, &ds)
	return demand, rng != nil, ds
}
