package model

import (
	"net/netip"
	"slices"
	"strconv"

	"weft.dev/schema"
)

// StatisticsPort is where a router's balancers show their statistics to guests:
// CloudStack's.
const StatisticsPort = 8081

// maxSlots bounds the rules that a balancer of udp is made of, maxHashSlots what the
// kernel's cluster match divides by.
const (
	maxSlots     = 256
	maxHashSlots = 32
)

// Balancer is a resolved load balancer.
type Balancer struct {
	ID   schema.ID
	Doc  *schema.Document
	Spec *schema.LoadBalancer
	// IP is the public address that it is at; nil for an internal one.
	IP   *PublicIP
	Addr netip.Addr
	// Network is that of the members, in a VPC a tier; of an internal one that which
	// it is in.
	Network  *Network
	Port, To uint16 // To is the members'
	Members  []BalancedTo
}

// BalancedTo is a resolved member of a balancer.
type BalancedTo struct {
	Spec *schema.Member
	NIC  *NIC
	To   netip.Addr
}

// Transport is the protocol below: tcp or udp.
func (b *Balancer) Transport() string {
	if b.Spec.Protocol == "udp" {
		return "udp"
	}
	return "tcp"
}

// Slots are the members' weights less what they all have in common.
func (b *Balancer) Slots() []int {
	out := make([]int, len(b.Members))
	common := 0
	for i, m := range b.Members {
		out[i] = m.Spec.Weight
		common = gcd(common, out[i])
	}
	for i := range out {
		out[i] /= max(1, common)
	}
	return out
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// balancers resolves the load balancers of the network: those in it, and those at
// its public addresses.
func (r *resolver) balancers() {
	if len(r.attached) == 0 {
		return
	}
	for _, d := range r.attached {
		spec, ok := d.Spec.(*schema.LoadBalancer)
		if !ok {
			continue
		}
		b := &Balancer{ID: d.ID(), Doc: d, Spec: spec, Network: r.n, Port: uint16(spec.Port), To: uint16(spec.InstancePort)}
		if b.To == 0 {
			b.To = b.Port
		}
		if spec.PublicIP.IsZero() {
			r.internal(b)
		} else if !r.atPublic(b) {
			continue
		}
		for i := range spec.Members {
			m := &spec.Members[i]
			t := m.Target()
			if nic, to := r.target(d, &t, path1("spec.members", i)); nic != nil {
				b.Members = append(b.Members, BalancedTo{Spec: m, NIC: nic, To: to})
			}
		}
		r.n.Balancers = append(r.n.Balancers, b)
	}
	checkBalancers(r.n.Balancers, &r.diags)
	r.unopenedBalancers()
}

// balancedTiers finds the tier that the members of each balancer of the VPC are in:
// its ACL decides who may come in, and its offering how many.
func (r *resolver) balancedTiers(v *VPC) {
	for _, b := range r.n.Balancers {
		for i := range b.Members {
			m := &b.Members[i]
			t := v.TierOf(m.NIC)
			switch {
			case t == nil || b.Network == t:
			case b.Network != r.n:
				r.diags.Errorf(b.Doc.PosOf(m.Spec.At), "two-tiers", "NIC %s is in tier %s, and other members in tier %s", m.NIC.ID, t.ID.Name, b.Network.ID.Name).
					Offending(m.Spec.VM.String()).Hintf("the ACL of one tier decides who may come in: use a balancer for each tier")
			default:
				b.Network = t
				r.tierBalances(b)
			}
		}
	}
}

// tierBalances holds that the tier of b offers balancers at public addresses.
func (r *resolver) tierBalances(b *Balancer) {
	t := b.Network
	if lb := t.Offering.Spec.Services.Lb; lb != nil && lb.Scheme == "Public" {
		return
	}
	r.diags.Errorf(b.Doc.At("spec.members"), "service-not-offered", "offering %s of tier %s has no service Lb of scheme Public", t.Offering.Name, t.ID.Name).
		See(t.Doc.At("spec.offering"), "the tier's offering")
}

// atPublic finds the public address that b is at.
func (r *resolver) atPublic(b *Balancer) bool {
	ip, _ := addressOf(b.Doc)
	i := slices.IndexFunc(r.n.IPs, func(p *PublicIP) bool { return p.ID == ip })
	if i < 0 {
		return false // what is wrong with the address is reported there
	}
	b.IP = r.n.IPs[i]
	b.Addr = b.IP.Addr
	if b.Doc.Meta.Account != ip.Account {
		r.diags.Errorf(b.Doc.At("spec.publicIP"), "not-shared", "%s is of account %s, and %s of account %s", ip, ip.Account, b.ID, b.Doc.Meta.Account).
			Offending(b.Spec.PublicIP.String()).See(nameOf(b.IP.Doc), "the address")
		return false
	}
	r.offersBalancing(b, "Public", "spec.publicIP")
	return true
}

// offersBalancing holds that the members' network offers balancers of that scheme.
func (r *resolver) offersBalancing(b *Balancer, scheme, path string) {
	switch lb := r.n.Offering.Spec.Services.Lb; {
	case lb == nil:
		r.lacks(b.Doc, path, "Lb")
	case lb.Scheme != scheme:
		x := r.diags.Errorf(b.Doc.At(path), "wrong-scheme", "offering %s of network %s has balancers of scheme %s only", r.n.Offering.Name, r.n.ID.Name, lb.Scheme).
			Offending(b.Spec.PublicIP.String() + b.Spec.Network.String())
		if o := r.n.Offering; o.Doc != nil {
			x.See(o.Doc.PosOf(lb.At), "the service")
		}
		if scheme == "Public" {
			x.Hintf("an internal balancer has network: %s instead of publicIP", r.n.ID.Name)
		} else {
			x.Hintf("a public balancer has publicIP instead of network")
		}
	}
}

// internal asks for the address of a balancer that is in the network itself.
func (r *resolver) internal(b *Balancer) {
	n := r.n
	if b.Doc.Meta.Account != n.ID.Account {
		r.diags.Errorf(b.Doc.At("spec.network"), "not-shared", "network %s is of account %s, and %s of account %s", n.ID.Name, n.ID.Account, b.ID, b.Doc.Meta.Account).
			Offending(b.Spec.Network.String()).See(nameOf(r.doc), "the network")
		return
	}
	r.offersBalancing(b, "Internal", "spec.network")
	if n.Type() != GuestIsolated || r.pool == nil {
		r.diags.Errorf(b.Doc.At("spec.network"), "not-of-guest-type", "network %s is %s: only Isolated networks have internal balancers", n.ID.Name, n.Type()).
			Offending(b.Spec.Network.String()).See(r.doc.At("spec.offering"), "its offering")
		return
	}
	d := Demand{Owner: b.ID.String(), Field: FieldIP, Pool: r.pool, Pos: b.Doc.Pos, Formerly: formerly(b.Doc)}
	if ip := b.Spec.IP; ip.IsValid() {
		if !r.stated(ip, b.Doc.At("spec.ip"), "") || r.ofGuest(b, ip) {
			return
		}
		// Balancers of several ports may have one address, where they say so.
		d.Fixed, d.Shares, d.Pos = ip.String(), "balancers of "+n.ID.String(), b.Doc.At("spec.ip")
	}
	b.Addr = b.Spec.IP
	if v := r.demand(d); v != "" {
		b.Addr = addrOf(v)
	}
}

// ofGuest reports an address that a NIC states too.
func (r *resolver) ofGuest(b *Balancer, ip netip.Addr) bool {
	for _, n := range r.n.NICs {
		if n.Spec.IP == ip || slices.Contains(n.Spec.SecondaryIPs, ip) {
			r.diags.Errorf(b.Doc.At("spec.ip"), "ip-taken", "%s is used twice in %s: by %s and %s", ip, r.n.ID, n.ID, b.ID).
				Offending(ip.String()).See(n.Pos, "used by %s", n.ID)
			return true
		}
	}
	return false
}

// checkBalancers holds what balancers of one router must obey among themselves and
// beside what else their public addresses do.
func checkBalancers(list []*Balancer, ds *schema.Diags) {
	type port struct {
		addr      netip.Addr
		ip        *PublicIP
		transport string
		port      uint16
	}
	seen := map[port]*Balancer{}
	for _, b := range list {
		b.members(ds)
		if b.IP != nil {
			b.besides(ds)
		}
		if !b.Addr.IsValid() && b.IP == nil {
			continue
		}
		at := port{b.Addr, b.IP, b.Transport(), b.Port}
		if o := seen[at]; o != nil {
			ds.Errorf(b.Doc.At("spec.port"), "port-conflict", "%s port %d is balanced by %s already", b.Transport(), b.Port, o.ID).
				Offending(strconv.Itoa(int(b.Port))).See(o.Doc.At("spec.port"), "the other balancer")
			continue
		}
		seen[at] = b
	}
}

// members holds what a balancer's members must obey.
func (b *Balancer) members(ds *schema.Diags) {
	type member struct {
		nic *NIC
		to  netip.Addr
	}
	seen := map[member]*schema.Member{}
	total := 0
	for i := range b.Members {
		m := &b.Members[i]
		k := member{m.NIC, m.To}
		if o := seen[k]; o != nil {
			ds.Errorf(b.Doc.PosOf(m.Spec.At), "duplicate-item", "NIC %s is a member twice", m.NIC.ID).Offending(m.Spec.VM.String()).
				See(b.Doc.PosOf(o.At), "first here").Hintf("give it more weight instead")
			continue
		}
		seen[k] = m.Spec
	}
	if b.Transport() != "udp" {
		return
	}
	for _, w := range b.Slots() {
		total += w
	}
	limit, why := maxSlots, "is made of a rule for each"
	if b.Spec.Algorithm == "source" {
		limit, why = maxHashSlots, "by source divides clients by as many"
	}
	if total > limit {
		ds.Errorf(b.Doc.At("spec.members"), "too-many", "the weights of %s come to %d, and a balancer of udp, which %s, has at most %d", b.ID, total, why, limit).
			Hintf("use smaller weights: 2 and 1 instead of 200 and 99")
	}
}

// besides holds what a public address may do beside balancing.
func (b *Balancer) besides(ds *schema.Diags) {
	p := b.IP
	at := b.Doc.At("spec.publicIP")
	if p.Spec.StaticNat != nil {
		ds.Errorf(at, "conflicting-fields", "%s has staticNat, which forwards every port to one VM", p.ID).
			Offending(b.Spec.PublicIP.String()).See(p.Doc.PosOf(p.Spec.StaticNat.At), "the static NAT")
	}
	o := b.Network.Offering
	if (p.Spec.SourceNat || len(p.Spec.PortForwarding) > 0) && !o.Spec.ConserveMode {
		ds.Errorf(at, "one-purpose", "%s has several purposes, and offering %s has conserveMode: false", p.ID, o.Name).
			Offending(b.Spec.PublicIP.String()).Hintf("use one public address for each purpose")
	}
	port := schema.PortRange{From: b.Port, To: b.Port}
	for i := range p.Spec.PortForwarding {
		f := &p.Spec.PortForwarding[i]
		if f.Protocol == b.Transport() && slices.ContainsFunc(f.Ports, port.Overlaps) {
			ds.Errorf(b.Doc.At("spec.port"), "port-conflict", "%s port %d of %s is forwarded by %q already", f.Protocol, b.Port, p.ID, f.Name).
				Offending(strconv.Itoa(int(b.Port))).See(p.Doc.PosOf(f.At), "the forward")
		}
	}
}

// unopenedBalancers warns of balancers that the firewall lets nobody reach.
func (r *resolver) unopenedBalancers() {
	if r.n.Offering.Spec.Services.Firewall == nil {
		return
	}
	for _, b := range r.n.Balancers {
		if b.IP == nil || !b.IP.Filtered() || opened(b.IP.Spec.Firewall, b.Transport(), schema.PortRange{From: b.Port, To: b.Port}) {
			continue
		}
		r.diags.Warnf(b.Doc.At("spec.port"), "nothing-open", "%s port %d of %s is balanced, but no firewall rule opens it", b.Transport(), b.Port, b.IP.ID).
			Hintf("add {name: %s, protocol: %s, ports: %d} to firewall of %s", b.ID.Name, b.Transport(), b.Port, b.IP.ID)
	}
}
