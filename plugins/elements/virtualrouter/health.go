package virtualrouter

import (
	"net/netip"
	"time"

	"weft.dev/reconcile/model"
	"weft.dev/reconcile/resource"
)

// maxResolverProbes bounds the upstream resolvers that each router asks how they are.
const maxResolverProbes = 3

// health says how the router is looked after, nil where the zone wants no checks. What
// a process answers stands beside the process; here is what the router depends on.
func (r *router) health() *resource.Health {
	every := 30 * time.Second
	if s := r.r.Zone.Spec.Routers; s != nil {
		every = time.Duration(s.HealthCheckInterval)
	}
	if every <= 0 {
		return nil
	}
	h := &resource.Health{Name: "router/" + r.r.ID.Account + "/" + r.r.ID.Name, Every: every}
	own := r.sides()
	if len(own) > 0 && r.r.VPC == nil && own[0].on.Name != "" {
		h.Name += "/" + own[0].on.Name
	}
	if r.r.Pair != nil {
		h.Turn, h.Turns = r.r.Place, 2
	}
	gateway := func(service, link string, at netip.Addr) {
		h.Probes = append(h.Probes, resource.Probe{Service: service, Kind: resource.ProbePing, At: at.String(), Link: link, Outside: true})
	}
	for i, l := range r.r.Legs {
		name := ""
		if i > 0 {
			name = "/" + l.Link
		}
		gateway("gateway"+name, l.Link, l.Range.Spec.Gateway)
		if l.IP6.IsValid() && l.Gateway6.IsValid() {
			gateway("gateway6"+name, l.Link, l.Gateway6)
		}
	}
	dns := false
	for _, s := range own {
		dns = dns || r.provides(s.services().Dns)
		h.Probes = append(h.Probes, s.metadataProbes()...)
		if first := s.on.Subnets[0]; !r.r.Public() && first.RouterIP != first.Gateway && first.Gateway.IsValid() {
			gateway("gateway"+s.suffix(), s.side.Link, first.Gateway)
		}
	}
	if dns {
		for _, a := range only4(r.r.DNS)[:min(len(only4(r.r.DNS)), maxResolverProbes)] {
			h.Probes = append(h.Probes, resource.Probe{
				Service: "resolver/" + a.String(), Kind: resource.ProbeDNS, At: netip.AddrPortFrom(a, 53).String(), Ask: ".", Outside: true,
			})
		}
	}
	return h
}

// suffix tells the services of a VPC's tiers apart.
func (r *side) suffix() string {
	if r.side.Name == "" {
		return ""
	}
	return "/" + r.side.Name
}

// probes of dnsmasq: a name that it has to know, and a guest that it has to lease to.
func (r *side) probes(dhcp, dns bool) []resource.Probe {
	var out []resource.Probe
	at := r.on.Subnets[0].RouterIP
	if dns && at.IsValid() {
		p := resource.Probe{Service: "dns" + r.suffix(), Kind: resource.ProbeDNS, At: netip.AddrPortFrom(at, 53).String(), Ask: "weft-health." + r.n.Domain}
		for _, nic := range r.n.NICs {
			if nic.Running && nic.IP.IsValid() {
				p.Ask, p.Want = nic.Hostname+"."+r.n.Domain, nic.IP.String()
				break
			}
		}
		out = append(out, p)
	}
	if nic, s := r.leased(); dhcp && nic != nil {
		out = append(out, resource.Probe{
			Service: "dhcp" + r.suffix(), Kind: resource.ProbeDHCP, At: s.RouterIP.String(), Ask: nic.MAC.String(), Want: nic.IP.String(), Link: r.side.Port,
		})
	}
	return append(out, r.probes6()...)
}

// probes6 of dnsmasq: the prefix that it has to advertise, and a guest that it has to
// lease an address of it to.
func (r *side) probes6() []resource.Probe {
	x := r.on.IP6
	if x == nil || x.Foreign {
		return nil
	}
	out := []resource.Probe{{
		Service: "ra" + r.suffix(), Kind: resource.ProbeRA, At: x.Router.String(), Want: x.CIDR.Masked().String(), Link: r.side.Port,
	}}
	for _, nic := range r.on.NICs {
		if r.dhcp6() && nic.IP6.IsValid() {
			return append(out, resource.Probe{
				Service: "dhcp6" + r.suffix(), Kind: resource.ProbeDHCP6, At: x.Router.String(), Ask: nic.MAC.String(), Want: nic.IP6.String(), Link: r.side.Port,
			})
		}
	}
	return out
}

// leased is a guest that gets its address by DHCP, nil where there is none.
func (r *side) leased() (*model.NIC, *model.Subnet) {
	for _, nic := range r.on.NICs {
		for _, s := range r.on.Subnets {
			if nic.IP.Is4() && s.CIDR.Contains(nic.IP) && s.RouterIP.IsValid() {
				return nic, s
			}
		}
	}
	return nil, nil
}

// metadataProbes ask as the router itself, who is no guest: any answer will do. The
// server is the host's: it is started anew, and no router for its sake.
func (r *side) metadataProbes() []resource.Probe {
	if !r.provides(r.services().UserData) {
		return nil
	}
	at := netip.AddrPortFrom(r.on.Subnets[0].RouterIP, metadataPort).String()
	return []resource.Probe{{Service: "metadata" + r.suffix(), Kind: resource.ProbeHTTP, At: at, Path: "/latest/", Process: metadataServer}}
}
