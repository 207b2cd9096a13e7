package model

import (
	"net/netip"
	"slices"
	"strings"

	"weft.dev/schema"
)

// first is the lowest address of the users' ranges, which with L2TP is the router's own.
func (v *VPN) first() netip.Addr {
	var out netip.Addr
	for _, r := range v.Remote.Ranges {
		if !out.IsValid() || r.From.IsValid() && r.From.Compare(out) < 0 {
			out = r.From
		}
	}
	return out
}

// Others are the ranges that users of L2TP get addresses of: all but the router's own.
func (v *VPN) Others() []schema.IPRange {
	var out []schema.IPRange
	for _, r := range v.Remote.Ranges {
		if r.From == v.Own {
			r.From = r.From.Next()
		}
		if r.From.Compare(r.To) <= 0 {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b schema.IPRange) int { return a.From.Compare(b.From) })
	return out
}

// l2tp refuses it where the host of the router can not: the kernel encrypts IPsec in
// userspace's place there, and has PPP.
func (r *resolver) l2tp() {
	if r.n.Router == nil {
		return
	}
	for _, v := range r.n.VPNs {
		if !v.L2TP() {
			continue
		}
		told := map[string]bool{}
		for _, x := range r.n.Router.Each() {
			if x.Host == nil || told[x.Host.Name] {
				continue
			}
			told[x.Host.Name] = true
			var lacks []string
			if !x.Host.Facts.PPP {
				lacks = append(lacks, "PPP")
			}
			if !x.Host.Facts.ESP {
				lacks = append(lacks, "ESP")
			}
			if len(lacks) > 0 {
				r.diags.Errorf(v.Doc.At("spec.protocol"), "no-ppp", "the kernel of host %s, where the router of %s %s is, has no %s, without which there is no L2TP", x.Host.Name, r.n.word(), r.n.ID.Name, strings.Join(lacks, " and no ")).
					Offending("L2TP").See(nameOf(x.Host.Doc), "the host").Hintf("use protocol: IKEv2, which every system has that has L2TP")
			}
		}
	}
}
