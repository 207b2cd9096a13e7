package lab

import (
	"hash/fnv"
	"net/netip"
	"slices"
	"strings"

	"weft.dev/reconcile/model"
	"weft.dev/schema"
)

// SpecOf derives a lab from what a tree means: its hosts with their uplinks, a wire per label and zone, the public ranges,
// and a guest per running VirtualMachine. A guest that cannot be built because a number of one of its NICs is missing is as
// it is in last (the zero Spec: left out). The result depends on the arguments only.
func SpecOf(site *model.Site, networks []*model.Network, last Spec) Spec {
	s := Spec{World: DefaultWorld}
	mtu := map[string]int{}
	for _, zone := range site.ZoneNames() {
		z := site.Zones[zone]
		for _, p := range z.Physical {
			for _, t := range p.Spec.Traffic {
				mtu[wireName(zone, t.Label)] = max(mtu[wireName(zone, t.Label)], p.Spec.MTU)
			}
		}
		for _, h := range z.Hosts {
			s.Hosts = append(s.Hosts, hostOf(zone, h))
		}
		for _, r := range z.Ranges {
			s.Ranges = append(s.Ranges, rangeOf(zone, r))
		}
		s.DNS = append(s.DNS, z.Spec.DNS...)
	}
	for _, h := range s.Hosts {
		for _, b := range h.Bridges {
			mtu[b.Wire] = max(mtu[b.Wire], 1500)
		}
	}
	for _, r := range s.Ranges {
		mtu[r.Wire] = max(mtu[r.Wire], 1500)
	}
	for name, size := range mtu {
		s.Wires = append(s.Wires, Wire{Name: name, MTU: size})
	}
	slices.SortFunc(s.Wires, func(a, b Wire) int { return strings.Compare(a.Name, b.Name) })
	for _, n := range networks {
		s.DNS = append(s.DNS, n.DNS...)
	}
	slices.SortFunc(s.DNS, netip.Addr.Compare)
	s.DNS = slices.Compact(s.DNS)
	s.VMs = guestsOf(networks, last)
	s.Secrets = last.Secrets
	return s
}

func wireName(zone, label string) string { return zone + "/" + label }

func hostOf(zone string, h *model.Host) Host {
	host := Host{Name: h.Name, Agent: []string{"weft", "agent", "--host", h.Name, "--repo", RepoPath, "--branch", "main"}}
	for _, b := range h.Spec.Bridges {
		bridge := Bridge{Name: b.Name, Wire: wireName(zone, b.Name), Manage: Manage(b.Manage), Uplinks: b.Uplinks,
			Address: b.Address, Gateway: b.Gateway}
		for _, r := range b.Routes {
			bridge.Routes = append(bridge.Routes, Route{To: r.CIDR, Via: r.Via})
		}
		host.Bridges = append(host.Bridges, bridge)
	}
	return host
}

func rangeOf(zone string, r *model.PublicRange) Range {
	out := Range{Name: r.Name, Wire: wireName(zone, r.Physical.Public), VLAN: int(r.Spec.VLAN.ID)}
	out.Gateways = append(out.Gateways, netip.PrefixFrom(r.Spec.Gateway, r.Spec.CIDR.Bits()))
	if ip6 := r.Spec.IP6; ip6 != nil {
		out.Gateways = append(out.Gateways, netip.PrefixFrom(ip6.Gateway, ip6.CIDR.Bits()))
	}
	return out
}

// leg is a NIC with its network.
type leg struct {
	nic     *model.NIC
	network *model.Network
}

// guestsOf gathers the NICs of all networks by virtual machine.
func guestsOf(networks []*model.Network, last Spec) []VM {
	legs := map[schema.ID][]leg{}
	for _, n := range networks {
		for _, c := range n.NICs {
			if c.Running {
				legs[c.VM.ID()] = append(legs[c.VM.ID()], leg{c, n})
			}
		}
	}
	var vms []VM
	for _, of := range legs {
		vm, ok := guestOf(of)
		if !ok {
			i := slices.IndexFunc(last.VMs, func(v VM) bool { return v.Name == vm.Name })
			if i < 0 {
				continue
			}
			vm = last.VMs[i]
		}
		vms = append(vms, vm)
	}
	slices.SortFunc(vms, func(a, b VM) int { return strings.Compare(a.Name, b.Name) })
	return vms
}

// guestOf makes one guest; ok is false when something of it is not known.
func guestOf(legs []leg) (vm VM, ok bool) {
	first := legs[0].nic
	vm = VM{Name: first.VM.Meta.Account + "/" + first.VM.Meta.Name, Host: first.Host, Hostname: first.Hostname}
	hosts := slices.Clone(first.Hosts)
	for i := range first.VMSpec.NICs {
		name := first.VMSpec.NICs[i].NICName()
		at := slices.IndexFunc(legs, func(l leg) bool { return l.nic.Name == name })
		if at < 0 {
			return vm, false
		}
		l := legs[at]
		if l.nic.MAC == (schema.MAC{}) || !l.nic.IP.IsValid() {
			return vm, false
		}
		vm.NICs = append(vm.NICs, cardOf(l))
		hosts = slices.DeleteFunc(hosts, func(h string) bool { return !slices.Contains(l.nic.Hosts, h) })
	}
	if vm.Host == "" {
		vm.Host = pick(vm.Name, hosts)
	}
	return vm, vm.Host != ""
}

// pick chooses a host by hash, the same as long as that host is among them.
func pick(name string, hosts []string) string {
	var best string
	var score uint64
	for _, h := range hosts {
		sum := fnv.New64a()
		sum.Write([]byte(name + "\x00" + h))
		if v := sum.Sum64(); best == "" || v > score || v == score && h < best {
			best, score = h, v
		}
	}
	return best
}

// cardOf is what a guest's card needs to know: everything where the network has no DHCP.
func cardOf(l leg) NIC {
	n := l.network
	card := NIC{Name: l.nic.Name, MAC: l.nic.MAC.String(), Interface: l.nic.Interface, Default: l.nic.Default}
	services := n.Offering.Spec.Services
	if services.Dhcp != nil {
		card.DHCP = true
		if n.MTU > 1500 {
			card.MTU = n.MTU
		}
		return card
	}
	card.Addresses = []netip.Prefix{netip.PrefixFrom(l.nic.IP, n.CIDR.Bits())}
	card.MTU = n.MTU
	if l.nic.Default {
		if services.SourceNat != nil || services.Gateway != nil {
			card.Gateway = n.Gateway
		}
		card.Domain = n.Domain
		card.DNS = n.Spec.GuestDNS
		if len(card.DNS) == 0 && services.Dns != nil && n.Router != nil {
			card.DNS = []netip.Addr{n.Router.GuestIP}
		}
	}
	return card
}
