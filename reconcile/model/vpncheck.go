package model

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"weft.dev/schema"
)

// check holds what VPNs of one router must obey among themselves and beside what else
// their public addresses do.
func (h *VPNHome) check(all []*VPN) {
	one := map[string]*VPN{} // by protocol
	links, told := map[string]*VPN{}, map[*VPN]bool{}
	for i, v := range all {
		h.apart(v)
		h.oneWay(v)
		h.outer(v, all)
		h.besides(v)
		for _, o := range all[:i] {
			h.pair(v, o, told)
		}
		switch {
		case v.Remote == nil:
		case v.IKE():
			if o := one[v.Remote.Protocol]; o != nil {
				h.Diags.Errorf(v.Doc.At("spec.protocol"), "second-"+strings.ToLower(v.Remote.Protocol), "%s %s has a remote access VPN of %s already: %s", h.Word, h.ID.Name, v.Remote.Protocol, o.ID).
					Offending(v.Remote.Protocol).See(o.Doc.At("spec.protocol"), "the other one").Hintf("add the users there")
			} else {
				one[v.Remote.Protocol] = v
			}
		case links[v.Link] != nil:
			h.Diags.Errorf(nameOf(v.Doc), "name-clash", "the links of %s and %s would have one name, %s", v.ID, links[v.Link].ID, v.Link).
				See(nameOf(links[v.Link].Doc), "the other VPN").Hintf("rename one of them")
		default:
			links[v.Link] = v
		}
	}
}

// farAt is where a VPN's document says what is on its other side.
func (v *VPN) farAt() schema.Pos {
	if v.Site != nil {
		return v.Doc.At("spec.peer.cidrs")
	}
	return v.Doc.At("spec.ranges")
}

// overlap returns what the lists have in common, or false.
func overlap(a, b []netip.Prefix) (x, y netip.Prefix, ok bool) {
	for _, x := range a {
		for _, y := range b {
			if x.Overlaps(y) {
				return x, y, true
			}
		}
	}
	return x, y, false
}

// apart holds that what is on the other side is neither of the guests nor of the public
// network.
func (h *VPNHome) apart(v *VPN) {
	far := v.Far()
	if x, y, ok := overlap(far, h.Guests); ok {
		h.Diags.Errorf(v.farAt(), "overlapping-cidr", "%s of %s overlaps %s of %s %s", x, v.ID, y, h.Word, h.ID.Name).
			See(nameOf(h.Doc), "the %s", h.Word).Hintf("addresses on both sides of a VPN must differ")
	}
	for _, r := range h.Ranges {
		if x, y, ok := overlap(far, []netip.Prefix{r.Spec.CIDR}); ok {
			h.Diags.Errorf(v.farAt(), "overlapping-cidr", "%s of %s overlaps %s of public range %s", x, v.ID, y, r.Name).
				See(r.Doc.At("spec.cidr"), "the public range")
			return
		}
	}
}

// pair holds that two VPNs do not get in each other's way. told are those of which it
// was said that their port is another's.
func (h *VPNHome) pair(v, o *VPN, told map[*VPN]bool) {
	if x, y, ok := overlap(v.Far(), o.Far()); ok {
		h.Diags.Errorf(v.farAt(), "overlapping-cidr", "%s of %s overlaps %s of %s, and a packet goes through one of them", x, v.ID, y, o.ID).
			See(o.farAt(), "the other VPN")
	}
	if v.Site != nil && o.Site != nil && v.IP == o.IP && v.Site.Peer.Gateway == o.Site.Peer.Gateway {
		h.Diags.Errorf(v.Doc.At("spec.peer"), "peer-twice", "%s leads to the peer %s already", o.ID, v.Site.Peer.Gateway).
			See(o.Doc.At("spec.peer"), "the other VPN").Hintf("add the networks to cidrs there, or give one of them another publicIP")
	}
	for _, p := range v.Ports() {
		// A WireGuard takes its port of all the router's addresses.
		if (!v.IKE() || !o.IKE()) && slices.Contains(o.Ports(), p) {
			at, see := v, o
			if v.IKE() {
				at, see = o, v
			}
			if told[at] {
				continue
			}
			told[at] = true
			h.Diags.Errorf(at.Doc.At("spec.port"), "port-conflict", "UDP port %d of the router is that of %s already", p, see.ID).
				See(nameOf(see.Doc), "the other VPN").Hintf("give WireGuard another port")
		}
	}
}

// besides holds what a public address may do beside a VPN.
func (h *VPNHome) besides(v *VPN) {
	for _, p := range h.IPs {
		if p != v.IP && (v.IP != nil || !p.SourceNAT) {
			continue
		}
		if p.Spec.StaticNat != nil {
			h.Diags.Errorf(v.Doc.At("spec.publicIP"), "conflicting-fields", "%s has staticNat, which forwards every port to one VM", p.ID).
				Offending(p.ID.Name).See(p.Doc.PosOf(p.Spec.StaticNat.At), "the static NAT")
		}
		if (p.Spec.SourceNat || len(p.Spec.PortForwarding) > 0) && !h.ConserveMode && v.IP != nil {
			h.Diags.Errorf(v.Doc.At("spec.publicIP"), "one-purpose", "%s has several purposes, and offering %s has conserveMode: false", p.ID, h.OfferingName).
				Offending(p.ID.Name).Hintf("use one public address for each purpose")
		}
		h.taken(v, p)
	}
}

// taken reports ports of a VPN that its public address forwards or balances.
func (h *VPNHome) taken(v *VPN, p *PublicIP) {
	for _, port := range v.Ports() {
		x := schema.PortRange{From: port, To: port}
		for i := range p.Spec.PortForwarding {
			f := &p.Spec.PortForwarding[i]
			if f.Protocol == "udp" && slices.ContainsFunc(f.Ports, x.Overlaps) {
				h.port(v, p, port, fmt.Sprintf("is forwarded by %q", f.Name), p.Doc.PosOf(f.At), "the forward")
			}
		}
		for _, b := range h.Balancers {
			if b.IP == p && b.Transport() == "udp" && b.Port == port {
				h.port(v, p, port, fmt.Sprintf("is balanced by %s", b.ID), b.Doc.At("spec.port"), "the balancer")
			}
		}
	}
}

func (h *VPNHome) port(v *VPN, p *PublicIP, port uint16, does string, see schema.Pos, what string) {
	at := v.Doc.At("spec.publicIP")
	if !v.IKE() {
		at = v.Doc.At("spec.port")
	}
	h.Diags.Errorf(at, "port-conflict", "UDP port %d of %s %s already, and %s needs it", port, p.ID, does, v.ID).See(see, "%s", what)
}
