package model

import (
	"slices"
	"strings"
)

// A HostPool has the hosts that a router may be placed on. Unlike other pools it
// gives a value to many owners, and each by its Weight.
type HostPool struct {
	zone     *Zone
	labels   []string // that a host must offer
	tunnel   bool     // and a tunnel endpoint
	pod      string   // that it must be in; "" any
	pair     bool     // of routers
	eligible []*Host
}

// Space implements Pool.
func (*HostPool) Space() string { return "" }

// Describe implements Pool.
func (p *HostPool) Describe() string { return "router host in " + p.zone.Name }

// Size implements Pool.
func (p *HostPool) Size() uint64 { return uint64(len(p.eligible)) }

// At implements Pool.
func (p *HostPool) At(i uint64) string { return p.eligible[i].Name }

// Weight is the share of candidate i.
func (p *HostPool) Weight(i uint64) int { return p.eligible[i].Spec.Routers.Weight }

// Contains implements Pool: where a router may stay. A Disabled host keeps its
// routers, because nothing on it changes; it gets no new ones. Of a pair it may stay
// in Maintenance too: see Leaves.
func (p *HostPool) Contains(name string) bool {
	if slices.ContainsFunc(p.eligible, func(h *Host) bool { return h.Name == name }) {
		return true
	}
	i := slices.IndexFunc(p.zone.Hosts, func(h *Host) bool { return h.Name == name })
	if i < 0 || p.missing(p.zone.Hosts[i]) != "" {
		return false
	}
	return p.pair || p.zone.stateOf(p.zone.Hosts[i]) == stateDisabled
}

// Leaves reports whether a router of a pair, the other one of which is on host twin, is
// to move away from a host where it may stay: one in Maintenance, where there is
// another host for it. That both are in Maintenance is no reason to move both at
// once: one moves, and the other one serves meanwhile. Where there is none, whichever of
// the two is stopped, the other one serves.
func (p *HostPool) Leaves(name, twin string) bool {
	i := slices.IndexFunc(p.zone.Hosts, func(h *Host) bool { return h.Name == name })
	return p.pair && i >= 0 && p.zone.stateOf(p.zone.Hosts[i]) == stateMaintenance &&
		slices.ContainsFunc(p.eligible, func(h *Host) bool { return h.Name != twin })
}

// Group is the label of a host that the routers of a pair are to differ in; "" for
// any.
func (p *HostPool) Group(name string) string {
	i := slices.IndexFunc(p.zone.Hosts, func(h *Host) bool { return h.Name == name })
	if i < 0 || p.zone.Spec.Routers == nil || p.zone.Spec.Routers.SpreadBy == "" {
		return ""
	}
	return p.zone.Hosts[i].Doc.Meta.Labels[p.zone.Spec.Routers.SpreadBy]
}

// able lists the hosts that could run the router, in whatever state.
func (p *HostPool) able() []string {
	var out []string
	for _, h := range p.zone.Hosts {
		if p.missing(h) == "" && h.Spec.Routers.Weight > 0 {
			out = append(out, h.Name)
		}
	}
	return out
}

// The states of zones and hosts; hosts know Maintenance too.
const (
	stateEnabled     = "Enabled"
	stateDisabled    = "Disabled"
	stateMaintenance = "Maintenance"
)

// Disabled reports whether nothing changes on any host of the zone.
func (z *Zone) Disabled() bool { return z.Spec.State == stateDisabled }

// stateOf is the state of h, one of the zone's hosts.
func (z *Zone) stateOf(h *Host) string {
	if z.Disabled() {
		return stateDisabled
	}
	return h.Spec.State
}

// missing says what h lacks to run the router, or "".
func (p *HostPool) missing(h *Host) string {
	for _, l := range p.labels {
		if h.Bridge(l) == nil {
			return "has no bridge " + l
		}
	}
	if p.tunnel && !h.TunnelIP.IsValid() {
		return "has no tunnel endpoint"
	}
	if p.pod != "" && h.Spec.Pod != p.pod {
		return "is not in pod " + p.pod
	}
	return ""
}

// why explains for each host of the zone why it is not eligible.
func (p *HostPool) why() string {
	var out []string
	for _, h := range p.zone.Hosts {
		switch m := p.missing(h); {
		case p.zone.Disabled():
			return "zone " + p.zone.Name + " is Disabled"
		case h.Spec.State != stateEnabled:
			out = append(out, h.Name+" is in state "+h.Spec.State)
		case m != "":
			out = append(out, h.Name+" "+m)
		case h.Spec.Routers.Weight == 0:
			out = append(out, h.Name+" has routers.weight 0")
		}
	}
	if len(out) > 8 {
		out = append(out[:8], "and so on")
	}
	return strings.Join(out, "; ")
}

// hostPool returns the pool for routers that need labels; networks share it.
func (z *Zone) hostPool(labels []string, tunnel bool, pod string, pair bool) *HostPool {
	key := "router " + strings.Join(labels, " ")
	if pair {
		key = "pair of " + key
	}
	if tunnel {
		key += " tunnel"
	}
	if pod != "" {
		key += " in pod " + pod
	}
	if p, ok := z.memo.Load(key); ok {
		return p.(*HostPool)
	}
	p := &HostPool{zone: z, labels: labels, tunnel: tunnel, pod: pod, pair: pair}
	for _, h := range z.Hosts {
		if z.stateOf(h) == stateEnabled && h.Spec.Routers.Weight > 0 && p.missing(h) == "" {
			p.eligible = append(p.eligible, h)
		}
	}
	kept, _ := z.memo.LoadOrStore(key, p)
	return kept.(*HostPool)
}

// several reports whether more than one host of z offers label, so that networks
// may need tunnels.
func (z *Zone) several(label string) bool {
	n := 0
	for _, h := range z.Hosts {
		if h.Bridge(label) != nil {
			n++
		}
	}
	return n > 1
}

// anywhere lists the hosts where a VM without host may run: those that offer
// label, are not Disabled and in pod, which may be "" for any; by name.
func (z *Zone) anywhere(label, pod string) []string {
	key := "guest " + label
	if pod != "" {
		key += " in pod " + pod
	}
	if l, ok := z.memo.Load(key); ok {
		return l.([]string)
	}
	var out []string
	for _, h := range z.Hosts {
		if h.Spec.State != stateDisabled && h.Bridge(label) != nil && (pod == "" || h.Spec.Pod == pod) {
			out = append(out, h.Name)
		}
	}
	kept, _ := z.memo.LoadOrStore(key, out)
	return kept.([]string)
}
