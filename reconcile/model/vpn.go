package model

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"

	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

// The ports of IPsec.
const (
	PortIKE  = 500
	PortNATT = 4500
	// PortL2TP is what L2TP has inside IPsec.
	PortL2TP = 1701
)

// L2TPLinks are the links of those who are in by L2TP: pppd names them, and no other
// link of a router is called so.
const L2TPLinks = "ppp+"

// VPN is a resolved VPN of a router: Site or Remote is set.
type VPN struct {
	ID     schema.ID
	Doc    *schema.Document
	Site   *schema.SiteToSiteVPN
	Remote *schema.RemoteAccessVPN
	// IP is the public address that it ends at; nil: that of source NAT.
	IP *PublicIP
	// Guests are the networks that it leads to.
	Guests []netip.Prefix
	// Link is the WireGuard link of it inside the router, those of L2TP, or "".
	Link string
	// Own is the router's own address towards users of L2TP.
	Own netip.Addr
	// Users are those of Remote, each with an address where WireGuard has one for it.
	Users []VPNUser
}

// VPNUser is a resolved user of a VPN.
type VPNUser struct {
	Spec *schema.VPNUser
	IP   netip.Addr
}

// IPsec reports whether guests' packets are IPsec's own as they leave.
func (v *VPN) IPsec() bool { return v.Site != nil || v.Remote.Protocol == "IKEv2" }

// L2TP reports whether users come in by L2TP, which IPsec carries.
func (v *VPN) L2TP() bool { return v.Remote != nil && v.Remote.Protocol == "L2TP" }

// IKE reports whether the VPN shares the router's IKE.
func (v *VPN) IKE() bool { return v.IPsec() || v.L2TP() }

// Name is what people call it beside others of its sort: "acme/berlin".
func (v *VPN) Name() string { return v.ID.Account + "/" + v.ID.Name }

// Ports are those that it takes of its public address, by UDP.
func (v *VPN) Ports() []uint16 {
	switch {
	case v.L2TP():
		return []uint16{PortIKE, PortNATT, PortL2TP}
	case v.IPsec():
		return []uint16{PortIKE, PortNATT}
	}
	return []uint16{uint16(v.Remote.Port)}
}

// Far lists the addresses on its other side.
func (v *VPN) Far() []netip.Prefix {
	var out []netip.Prefix
	if v.Site != nil {
		for _, p := range v.Site.Peer.CIDRs {
			out = append(out, p.Masked())
		}
	} else {
		for _, r := range v.Remote.Ranges {
			out = append(out, cidrs(r.From, r.To)...)
		}
	}
	slices.SortFunc(out, func(a, b netip.Prefix) int { return cmp.Or(a.Addr().Compare(b.Addr()), a.Bits()-b.Bits()) })
	return slices.Compact(out)
}

// From lists where packets that come out of it are from: the tunnel itself takes from a
// user that user's address only, so that for those a CIDR around each range does.
func (v *VPN) From() []netip.Prefix {
	if v.Site != nil {
		return v.Far()
	}
	var out []netip.Prefix
	for _, r := range v.Remote.Ranges {
		p := netip.PrefixFrom(r.From, r.From.BitLen())
		for !p.Contains(r.To) {
			p = netip.PrefixFrom(r.From, p.Bits()-1).Masked()
		}
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b netip.Prefix) int { return cmp.Or(a.Addr().Compare(b.Addr()), a.Bits()-b.Bits()) })
	return slices.Compact(out)
}

// cidrs are the fewest CIDRs that hold a range and nothing else.
func cidrs(from, to netip.Addr) []netip.Prefix {
	var out []netip.Prefix
	for from.IsValid() && from.Compare(to) <= 0 {
		bits := from.BitLen()
		for bits > 0 {
			p := netip.PrefixFrom(from, bits-1)
			if p.Masked().Addr() != from || lastAddr(p).Compare(to) > 0 {
				break
			}
			bits--
		}
		p := netip.PrefixFrom(from, bits)
		out = append(out, p)
		from = lastAddr(p).Next()
	}
	return out
}

// A VPNHome is a network or VPC whose VPNs are resolved.
type VPNHome struct {
	ID     schema.ID
	Doc    *schema.Document
	Word   string // "network" or "VPC"
	Guests []netip.Prefix
	IPs    []*PublicIP
	// Ranges are those that the router's public addresses may be of.
	Ranges    []*PublicRange
	Balancers []*Balancer
	// Ways are where else the router sends packets.
	Ways []vpnWay
	// Offered: the offering has the service Vpn. SourceNAT: the router has such an address.
	Offered, SourceNAT bool
	ConserveMode       bool
	OfferingName       string
	Offering           *schema.Document // nil of a built-in one
	// Demand asks the lock for a number.
	Demand func(Demand) string
	Diags  *schema.Diags
}

// vpns resolves the VPNs of the network, whose router has ways elsewhere.
func (r *resolver) vpns(ways []vpnWay) {
	n := r.n
	if len(r.attached) == 0 || r.ofTier() {
		return
	}
	o := n.Offering
	h := &VPNHome{
		ID: n.ID, Doc: r.doc, Word: n.word(), IPs: n.IPs, Ranges: r.ranges, Balancers: n.Balancers, Ways: ways,
		Offered: o.Spec.Services.Vpn != nil, SourceNAT: o.Spec.Services.SourceNat != nil, ConserveMode: o.Spec.ConserveMode,
		OfferingName: o.Name, Offering: o.Doc, Demand: r.demand, Diags: &r.diags,
	}
	if n.CIDR.IsValid() {
		h.Guests = []netip.Prefix{n.CIDR}
	}
	n.VPNs = h.Resolve(r.attached)
}

// ofTier reports whether the network is a tier, and the VPNs of it: those are the VPC's.
func (r *resolver) ofTier() bool {
	if r.n.Tier == nil {
		return false
	}
	for _, d := range r.attached {
		if spec, ok := d.Spec.(*schema.SiteToSiteVPN); ok {
			r.diags.Errorf(d.At("spec.network"), "tier-vpn", "network %s is a tier of VPC %s, which has the VPNs", r.n.ID.Name, r.n.Tier.ID.Name).
				Offending(spec.Network.String()).See(r.doc.At("spec.vpc"), "the tier").Hintf("write vpc: %s instead of network", r.n.Tier.ID.Name)
		}
	}
	return true
}

// Resolve returns the VPNs among docs, those that belong to the home.
func (h *VPNHome) Resolve(docs []*schema.Document) []*VPN {
	var out []*VPN
	for _, d := range docs {
		v := &VPN{ID: d.ID(), Doc: d, Guests: h.Guests}
		var ref schema.Ref
		switch spec := d.Spec.(type) {
		case *schema.SiteToSiteVPN:
			v.Site, ref = spec, spec.PublicIP
		case *schema.RemoteAccessVPN:
			v.Remote, ref = spec, spec.PublicIP
		default:
			continue
		}
		if !h.at(v, ref) {
			continue
		}
		switch {
		case v.IPsec():
		case v.L2TP():
			v.Link, v.Own = L2TPLinks, v.first()
		default:
			v.Link = resource.Short(15, "wg", v.ID.Name)
		}
		h.users(v)
		out = append(out, v)
	}
	h.check(out)
	return out
}

// at finds the public address that v ends at.
func (h *VPNHome) at(v *VPN, ref schema.Ref) bool {
	d := v.Doc
	if d.Meta.Account != h.ID.Account {
		path := "spec." + lowerWord(h.Word)
		if v.Remote != nil {
			path = "spec.publicIP"
		}
		h.Diags.Errorf(d.At(path), "not-shared", "%s %s is of account %s, and %s of account %s", h.Word, h.ID.Name, h.ID.Account, v.ID, d.Meta.Account).
			See(nameOf(h.Doc), "the %s", h.Word)
		return false
	}
	if !h.Offered {
		x := h.Diags.Errorf(d.At("spec"), "service-not-offered", "offering %s of %s %s has no service Vpn", h.OfferingName, h.Word, h.ID.Name)
		x.See(h.Doc.At("spec.offering"), "the %s's offering", h.Word)
		if h.Offering != nil {
			x.See(h.Offering.At("spec.services"), "its services")
		}
		return false
	}
	if ref.IsZero() {
		if !h.SourceNAT {
			h.Diags.Errorf(d.At("spec"), "no-public-address", "%s %s has no source NAT address that %s could end at", h.Word, h.ID.Name, v.ID).
				Hintf("add publicIP: NAME")
			return false
		}
		return true
	}
	id := schema.ID{Kind: schema.KindPublicIP, Account: ref.Or(d.Meta.Account), Name: ref.Name}
	i := slices.IndexFunc(h.IPs, func(p *PublicIP) bool { return p.ID == id })
	if i < 0 {
		if v.Site != nil {
			known := make([]string, len(h.IPs))
			for j, p := range h.IPs {
				known[j] = p.ID.Name
			}
			h.Diags.Errorf(d.At("spec.publicIP"), "unknown-public-IP", "%s %s has no public address %q", h.Word, h.ID.Name, ref.String()).
				Offending(ref.String()).See(nameOf(h.Doc), "the %s", h.Word).Hintf("%s", nearHint(ref.Name, known))
		}
		return false // what is wrong with the address is reported there
	}
	v.IP = h.IPs[i]
	return true
}

func lowerWord(word string) string {
	if word == "VPC" {
		return "vpc"
	}
	return word
}

// nearHint says which of known may be meant.
func nearHint(name string, known []string) string {
	if best := nearest(name, known); best != "" {
		return "did you mean " + strconv.Quote(best) + "?"
	}
	if len(known) > 0 && len(known) <= 8 {
		return "it has " + list(known)
	}
	return "name a PublicIP that serves it"
}

// users asks for an address for each user of WireGuard.
func (h *VPNHome) users(v *VPN) {
	if v.Remote == nil {
		return
	}
	var pool *addrPool
	if v.Remote.Protocol == "WireGuard" {
		pool = &addrPool{space: "user of " + v.ID.String(), describe: "address for users of " + v.ID.String(), base: netip.IPv4Unspecified()}
		for _, r := range v.Remote.Ranges {
			if r.From.Is4() {
				pool.spans = append(pool.spans, span{offset(pool.base, r.From), offset(pool.base, r.To)})
			}
		}
		slices.SortFunc(pool.spans, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	}
	for i := range v.Remote.Users {
		u := VPNUser{Spec: &v.Remote.Users[i]}
		if pool != nil {
			d := Demand{Owner: v.ID.String(), Field: FieldUser + u.Spec.Name, Pool: pool, Pos: v.Doc.PosOf(u.Spec.At), Formerly: formerly(v.Doc)}
			if u.Spec.IP.IsValid() {
				d.Fixed = u.Spec.IP.String()
			}
			u.IP = addrOf(h.Demand(d))
		}
		v.Users = append(v.Users, u)
	}
}
