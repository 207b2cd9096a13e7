package model

import (
	"maps"
	"net/netip"
	"slices"

	"weft.dev/schema"
)

// hosts resolves the hosts and what is assumed of them.
func (b *builder) hosts() {
	for _, d := range b.kinds[schema.KindHost] {
		spec, _ := d.Spec.(*schema.Host)
		implied, by := "", ""
		if spec.Pod != "" {
			implied, by = b.podZone(d, spec.Pod)
		}
		zone, ok := b.zoneOf(d, spec.Zone, implied, by)
		if !ok {
			continue
		}
		h := &Host{Name: d.Meta.Name, Doc: d, Spec: spec, Zone: zone, Facts: b.hostFacts(d.Meta.Name, spec)}
		h.TunnelIP = tunnelIP(b.parts[zone], spec)
		b.checkHost(h)
		if b.prev != nil {
			if o := b.prev.Hosts[h.Name]; o != nil && *o == *h {
				h = o
			}
		}
		b.site.Hosts[h.Name] = h
		b.parts[zone].Hosts = append(b.parts[zone].Hosts, h)
	}
}

func (b *builder) podZone(d *schema.Document, pod string) (zone, by string) {
	p := b.site.pods[pod]
	if p == nil {
		if b.site.Invalid[schema.ID{Kind: schema.KindPod, Name: pod}] == "" {
			unknown(&b.diags, d.At("spec.pod"), "pod", pod, slices.Sorted(maps.Keys(b.site.pods)))
		}
		return "", ""
	}
	for name, z := range b.parts {
		if slices.Contains(z.Pods, p) {
			return name, "pod " + pod
		}
	}
	return "", ""
}

// hostFacts takes what the host said itself over what its document states, and
// that over stock Debian.
func (b *builder) hostFacts(name string, spec *schema.Host) Facts {
	if f, ok := b.facts[name]; ok {
		if f.Instance == "" {
			f.Instance = "weft"
		}
		return f
	}
	f := StockFacts()
	s := spec.Facts
	if s == nil {
		return f
	}
	set(&f.ESP, s.ESP)
	set(&f.WireGuard, s.WireGuard)
	set(&f.PPP, s.PPP)
	set(&f.VLANDevices, s.VLANDevices)
	set(&f.Rootless, s.Rootless)
	set(&f.IPTables, s.IPTables)
	set(&f.OVSVersion, s.OVSVersion)
	set(&f.STT, s.STT)
	return f
}

func set[T any](to, from *T) {
	if from != nil {
		*to = *from
	}
}

// tunnelIP is where a host's tunnels end: as written, else the address of a
// bridge that carries guest traffic, else of any bridge.
func tunnelIP(z *Zone, spec *schema.Host) netip.Addr {
	if spec.TunnelIP.IsValid() {
		return spec.TunnelIP
	}
	first := netip.Addr{}
	for i := range spec.Bridges {
		br := &spec.Bridges[i]
		if !br.Address.IsValid() {
			continue
		}
		if slices.ContainsFunc(z.Physical, func(p *PhysicalNetwork) bool { return p.Guest == br.Name }) {
			return br.Address.Addr()
		}
		if !first.IsValid() {
			first = br.Address.Addr()
		}
	}
	return first
}

// checkHost holds the rule that a userspace datapath can end tunnels only on
// the local port of one of its bridges, and that a tunnel end is one host's.
func (b *builder) checkHost(h *Host) {
	d := h.Doc
	if h.Spec.TunnelIP.IsValid() && h.Spec.OVS.Datapath == "netdev" {
		found := slices.ContainsFunc(h.Spec.Bridges, func(br schema.HostBridge) bool { return br.Address.IsValid() && br.Address.Addr() == h.Spec.TunnelIP })
		if !found {
			b.diags.Errorf(d.At("spec.tunnelIP"), "tunnel-endpoint", "the tunnel endpoint %s is not the address of a bridge of host %s, which the datapath netdev needs", h.Spec.TunnelIP, h.Name).
				Offending(h.Spec.TunnelIP.String()).Hintf("give a bridge the address, or leave tunnelIP out")
			b.site.Invalid[d.ID()] = d.ID().String() + " has a wrong tunnel endpoint"
			b.zoneBroken(h.Zone, d.ID().String()+" has a wrong tunnel endpoint")
		}
	}
	if !h.TunnelIP.IsValid() {
		return
	}
	for _, o := range b.parts[h.Zone].Hosts {
		if o.TunnelIP == h.TunnelIP {
			b.diags.Errorf(endpointPos(h), "duplicate-endpoint", "the tunnels of host %s end at %s, as those of host %s do", h.Name, h.TunnelIP, o.Name).
				Offending(h.TunnelIP.String()).See(endpointPos(o), "the other host").Hintf("each host of a zone has its own tunnel endpoint")
			b.zoneBroken(h.Zone, "hosts "+o.Name+" and "+h.Name+" have the same tunnel endpoint")
		}
	}
}

// endpointPos is the place that states where h's tunnels end.
func endpointPos(h *Host) schema.Pos {
	if h.Spec.TunnelIP.IsValid() {
		return h.Doc.At("spec.tunnelIP")
	}
	for i := range h.Spec.Bridges {
		if h.Spec.Bridges[i].Address.IsValid() && h.Spec.Bridges[i].Address.Addr() == h.TunnelIP {
			return d2(h.Doc, "spec.bridges", i, "address")
		}
	}
	return h.Doc.At("spec.bridges")
}
