package model_test

import (
	"bytes"
	"fmt"

	"weft.dev/reconcile/model"
)

func dumpVPC(w *bytes.Buffer, v *model.VPC) {
	fmt.Fprintf(w, "%s %s: %s, domain %s, dns %v, blocked %q, suspended %q\n", v.ID, v.State, v.CIDR, v.Domain, v.DNS, v.Blocked, v.Suspended)
	for _, p := range v.IPs {
		fmt.Fprintf(w, "  ip %s %s of %s sourcenat=%t filtered=%t\n", p.ID, p.Addr, p.Range.Name, p.SourceNAT, p.Filtered())
	}
	if r := v.Router; r != nil {
		fmt.Fprintf(w, "  router on %s %s", r.Host.Name, r.NS)
		for _, l := range r.Legs {
			fmt.Fprintf(w, ", %s %s %s mtu %d", l.Link, l.Port, l.MAC, l.MTU)
		}
		fmt.Fprintf(w, ", source NAT %s\n", r.SourceNAT)
		for _, s := range r.Sides {
			fmt.Fprintf(w, "  side %s %s %s %s %s acl %s %d/%d\n", s.Name, s.Link, s.Port, s.IP, s.MAC, s.ACL.Name, len(s.ACL.Ingress), len(s.ACL.Egress))
		}
	}
	for _, g := range v.Gateways {
		fmt.Fprintf(w, "  gateway %s %s %s %s vlan %d on %s mtu %d acl %s\n", g.ID, g.Leg.Link, g.Leg.Port, g.Leg.MAC, g.VLAN, g.Physical.Name, g.Leg.MTU, g.ACL.Name)
	}
	for _, x := range v.Routes {
		fmt.Fprintf(w, "  route %s via %s by %s\n", x.CIDR, x.Via, x.Link())
	}
	for _, d := range v.Demands {
		fmt.Fprintf(w, "  needs %s %s: %s\n", d.Owner, d.Field, d.Pool.Describe())
	}
	for _, d := range v.Missing {
		fmt.Fprintf(w, "  missing %s %s\n", d.Owner, d.Field)
	}
}
