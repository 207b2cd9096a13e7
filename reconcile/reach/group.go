package reach

import (
	"cmp"
	"net/netip"
	"strconv"
	"strings"

	"weft.dev/reconcile/model"
	"weft.dev/reconcile/plugin"
)

// gated lists what a NIC's security groups let begin, in and out, and which they are:
// "securitygroup/ACCOUNT/NAME" stands for the NICs in it.
func gated(g plugin.Gate) []Way {
	nic := "nic/" + g.NIC
	var out []Way
	for _, key := range strings.Fields(g.Groups.Key) {
		out = append(out, Way{From: nic, To: "securitygroup/" + key, Ports: "member"})
	}
	for i := range g.Groups.Ingress {
		r := &g.Groups.Ingress[i]
		for _, peer := range peersOf(r) {
			for _, ports := range portsOfRule(r) {
				out = append(out, Way{From: peer, To: nic, Ports: ports})
			}
		}
	}
	if g.Groups.Open {
		return append(out, Way{From: nic, To: "internet", Ports: "all"})
	}
	for i := range g.Groups.Egress {
		r := &g.Groups.Egress[i]
		for _, peer := range peersOf(r) {
			for _, ports := range portsOfRule(r) {
				out = append(out, Way{From: nic, To: peer, Ports: ports})
			}
		}
	}
	return out
}

// peersOf names the other ends of a rule.
func peersOf(r *model.GroupRule) []string {
	var out []string
	for _, p := range r.Stated {
		out = append(out, peerName(p))
	}
	for _, g := range r.Named {
		out = append(out, "securitygroup/"+g)
	}
	return out
}

func peerName(p netip.Prefix) string {
	switch p.Bits() {
	case 0:
		return "internet"
	case p.Addr().BitLen():
		return p.Addr().String()
	}
	return p.String()
}

var protocolNames = map[int]string{model.AllProtocols: "all", 1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6"}

func portsOfRule(r *model.GroupRule) []string {
	name := cmp.Or(protocolNames[r.Proto], "protocol "+strconv.Itoa(r.Proto))
	switch {
	case r.ICMPType != model.AllTypes:
		return []string{name + " type " + strconv.Itoa(r.ICMPType)}
	case len(r.Ports) == 0:
		return []string{name}
	}
	var out []string
	for _, p := range r.Ports {
		out = append(out, portText(name, p.From, p.To))
	}
	return out
}
