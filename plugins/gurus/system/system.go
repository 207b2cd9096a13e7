// Package system has the gurus of the hosts' own traffic: Management, Storage and
// Control. In CloudStack they give addresses to system VMs. Weft runs none: its
// routers are namespaces that are entered, not reached over a network. What
// remains of them is that the label's bridge is on the hosts, which the switch
// makes of spec.bridges, and that the addresses and VLANs of this traffic are
// given to nobody else, which the model holds.
//
// In goes a physical network and a host; out come warnings about labels that the
// host lacks. It is pure; plugins registers it.
package system

import (
	"weft.dev/reconcile/model"
	"weft.dev/reconcile/plugin"
)

// Gurus lists those of this package.
func Gurus() []plugin.System {
	return []plugin.System{PodBased{}, Storage{}, Control{}}
}

// PodBased is CloudStack's PodBasedNetworkGuru. CanHandle claims the traffic type
// Management of any physical network: untagged on its label, static addresses.
// The management ranges of pods are reserved: no range, no network and no host may
// have their addresses.
type PodBased struct{}

// Name implements plugin.System.
func (PodBased) Name() string { return "PodBasedNetworkGuru" }

// CanHandle implements plugin.System.
func (PodBased) CanHandle(_ *model.PhysicalNetwork, traffic string) string {
	return only(traffic, model.TrafficManagement)
}

// DesignHost implements plugin.System.
func (PodBased) DesignHost(h *model.Host, p *model.PhysicalNetwork, out *plugin.Draft) {
	offered(h, p, model.TrafficManagement, out)
}

// Storage is CloudStack's StorageNetworkGuru. CanHandle claims the traffic type
// Storage of any physical network, with or without storage ranges: without, as in
// CloudStack, storage has the addresses of management. The ranges are reserved,
// and their VLANs on the whole wire.
type Storage struct{}

// Name implements plugin.System.
func (Storage) Name() string { return "StorageNetworkGuru" }

// CanHandle implements plugin.System.
func (Storage) CanHandle(_ *model.PhysicalNetwork, traffic string) string {
	return only(traffic, model.TrafficStorage)
}

// DesignHost implements plugin.System.
func (Storage) DesignHost(h *model.Host, p *model.PhysicalNetwork, out *plugin.Draft) {
	offered(h, p, model.TrafficStorage, out)
}

// Control is CloudStack's ControlNetworkGuru. CanHandle claims the traffic type
// Control, which every physical network of guests has without saying so: the
// link-local network (169.254.0.0/16) between a host and its system VMs. Weft has
// nothing on it, so hosts get nothing; the language refuses link-local networks
// for guests and public ranges.
type Control struct{}

// Name implements plugin.System.
func (Control) Name() string { return "ControlNetworkGuru" }

// CanHandle implements plugin.System.
func (Control) CanHandle(_ *model.PhysicalNetwork, traffic string) string {
	return only(traffic, model.TrafficControl)
}

// DesignHost implements plugin.System: it asks for nothing.
func (Control) DesignHost(*model.Host, *model.PhysicalNetwork, *plugin.Draft) {}

func only(traffic, mine string) string {
	if traffic == mine {
		return ""
	}
	return "it serves " + mine + " traffic, not " + traffic
}

// offered warns where a host in use has no bridge for its own traffic.
func offered(h *model.Host, p *model.PhysicalNetwork, traffic string, out *plugin.Draft) {
	label := p.Label(traffic)
	if label == "" || h.Spec.State == "Disabled" || h.Bridge(label) != nil {
		return
	}
	out.Diags.Warnf(h.Doc.At("metadata.name"), "label-missing", "host %s has no bridge %s, which %s traffic of physical network %s goes through", h.Name, label, traffic, p.Name).
		Offending(h.Name).See(p.Doc.At("spec.traffic"), "its traffic types").Hintf("add {name: %s} to bridges of the host", label)
}
