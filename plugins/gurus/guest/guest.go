// Package guest has the gurus of guest networks, by CloudStack's names: which of
// them claims a network follows from its zone, guest type and broadcast domain. What
// the network is made of says the switch of its physical network.
//
// In goes a resolved network; out comes what its switch asks for. It is pure;
// plugins registers it.
package guest

import (
	"slices"

	"weft.dev/reconcile/model"
	"weft.dev/reconcile/plugin"
	"weft.dev/schema"
)

// Gurus are all of this package, for networks on switches.
func Gurus(switches ...plugin.Switch) []plugin.Guru {
	on := switched{switches}
	return []plugin.Guru{External{on}, Vxlan{on}, Ovs{on}, Direct{on}, DirectPodBased{on}}
}

// switched is what the gurus share: the switches that carry out what they decide.
type switched struct{ switches []plugin.Switch }

func (s switched) of(n *model.Network) plugin.Switch {
	i := slices.IndexFunc(s.switches, func(sw plugin.Switch) bool { return sw.Name() == n.Physical.Spec.VSwitch })
	if i < 0 {
		return nil
	}
	return s.switches[i]
}

// carries returns "" if the switch of n's physical network can have n, else why not.
func (s switched) carries(n *model.Network) string {
	sw := s.of(n)
	if sw == nil {
		return "physical network " + n.Physical.Name + " has vswitch " + n.Physical.Spec.VSwitch + ", which this weft has not"
	}
	return sw.Carries(n)
}

// Design implements plugin.Guru.
func (s switched) Design(n *model.Network, out *plugin.Draft) {
	sw := s.of(n)
	for _, seg := range n.Segments {
		sw.DesignSegment(n, seg, out)
	}
}

// own says why n is no network of one owner's guests in an Advanced zone, or "".
func own(n *model.Network) string {
	switch {
	case n.Zone.Basic():
		return "zone " + n.Zone.Name + " is Basic"
	case n.Type() == model.GuestShared:
		return "guest type is Shared"
	}
	return ""
}

// domains says of which broadcast domains of n the guru is not, or "".
func domains(n *model.Network, known ...string) string {
	for _, s := range n.Segments {
		if !slices.Contains(known, s.Scheme) {
			return "its broadcast domain is " + s.Scheme
		}
	}
	return ""
}

func first(whys ...string) string {
	for _, w := range whys {
		if w != "" {
			return w
		}
	}
	return ""
}

// External is CloudStack's ExternalGuestNetworkGuru.
type External struct{ switched }

// Name implements plugin.Guru.
func (External) Name() string { return "ExternalGuestNetworkGuru" }

// CanHandle implements plugin.Guru: Isolated and L2 networks of Advanced zones that
// are a VLAN, or untagged.
func (g External) CanHandle(n *model.Network) string {
	return first(own(n), domains(n, schema.SchemeVLAN, schema.SchemeNative), g.carries(n))
}

// Vxlan is CloudStack's VxlanGuestNetworkGuru.
type Vxlan struct{ switched }

// Name implements plugin.Guru.
func (Vxlan) Name() string { return "VxlanGuestNetworkGuru" }

// CanHandle implements plugin.Guru: Isolated and L2 networks of Advanced zones that
// are a VXLAN.
func (g Vxlan) CanHandle(n *model.Network) string {
	return first(own(n), domains(n, schema.SchemeVXLAN), g.carries(n))
}

// Ovs is CloudStack's OvsGuestNetworkGuru.
type Ovs struct{ switched }

// Name implements plugin.Guru.
func (Ovs) Name() string { return "OvsGuestNetworkGuru" }

// CanHandle implements plugin.Guru: Isolated and L2 networks of Advanced zones whose
// hosts are joined by tunnels of GRE, GENEVE or STT.
func (g Ovs) CanHandle(n *model.Network) string {
	return first(own(n), domains(n, schema.SchemeGRE, schema.SchemeGENEVE, schema.SchemeSTT), g.carries(n))
}

// Direct is CloudStack's DirectNetworkGuru.
type Direct struct{ switched }

// Name implements plugin.Guru.
func (Direct) Name() string { return "DirectNetworkGuru" }

// CanHandle implements plugin.Guru: Shared networks of Advanced zones, whatever
// their broadcast domain.
func (g Direct) CanHandle(n *model.Network) string {
	switch {
	case n.Zone.Basic():
		return "zone " + n.Zone.Name + " is Basic"
	case n.Type() != model.GuestShared:
		return "guest type is " + n.Type()
	}
	return g.carries(n)
}

// DirectPodBased is CloudStack's DirectPodBasedNetworkGuru.
type DirectPodBased struct{ switched }

// Name implements plugin.Guru.
func (DirectPodBased) Name() string { return "DirectPodBasedNetworkGuru" }

// CanHandle implements plugin.Guru: the network of a Basic zone.
func (g DirectPodBased) CanHandle(n *model.Network) string {
	if !n.Zone.Basic() {
		return "zone " + n.Zone.Name + " is " + n.Zone.Spec.NetworkType
	}
	return g.carries(n)
}
