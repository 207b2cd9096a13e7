package lab

import (
	"hash/fnv"
	"net/netip"
	"slices"
	"strings"

	"weft.dev/reconcile/lab/libvirt"
	"weft.dev/reconcile/lab/node"
	"weft.dev/reconcile/model"
	"weft.dev/schema"
)

// SpecOf derives a lab from what a tree means: its hosts with their uplinks, a wire per label and zone, the public ranges,
// and a guest per running VirtualMachine. A guest that cannot be built because a number of one of its NICs is missing is as
// it is in last (the zero Spec: left out). The result depends on the arguments only.
func SpecOf(site *model.Site, networks []*model.Network, vpcs []*model.VPC, last Spec) Spec {
	s := Spec{World: slices.Clone(DefaultWorld)}
	mtu := map[string]int{}
	for _, zone := range site.ZoneNames() {
		z := site.Zones[zone]
		for _, p := range z.Physical {
			for _, t := range p.Spec.Traffic {
				for _, pod := range podsOf(z) {
					wire := wireName(zone, pod, t.Label)
					mtu[wire] = max(mtu[wire], p.Spec.MTU)
				}
			}
		}
		for _, h := range z.Hosts {
			s.Hosts = append(s.Hosts, hostOf(z, h))
		}
		for _, r := range z.Ranges {
			s.Ranges = append(s.Ranges, rangeOf(zone, r))
		}
		s.DNS = append(s.DNS, z.Spec.DNS...)
	}
	for _, n := range networks {
		s.DNS = append(s.DNS, n.DNS...)
		s.Ranges = append(s.Ranges, gatewaysOf(n)...)
		if x := n.Router; x != nil && x.IP6().IsValid() {
			s.Routes = append(s.Routes, Route{To: n.IP6.CIDR, Via: x.IP6()})
		}
		if x := n.Router; x != nil && x.Outer.IsValid() { // also of one that tells: the internet does not listen
			s.Routes = append(s.Routes, Route{To: n.CIDR, Via: x.Outer})
		}
	}
	for _, v := range vpcs {
		beyond(&s, v)
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
	slices.SortFunc(s.DNS, netip.Addr.Compare)
	s.DNS = slices.Compact(s.DNS)
	s.VMs = guestsOf(networks, last)
	s.Secrets = last.Secrets
	return s
}

// wireName is what a label stands for: one wire in a zone, and in Basic zones one in
// each pod.
func wireName(zone, pod, label string) string {
	if pod != "" {
		label = pod + "/" + label
	}
	return zone + "/" + label
}

// podsOf are those with wires of their own, "" for the zone.
func podsOf(z *model.Zone) []string {
	out := []string{""}
	if z.Basic() {
		for _, p := range z.Pods {
			out = append(out, p.Meta.Name)
		}
	}
	return out
}

func hostOf(z *model.Zone, h *model.Host) Host {
	pod := ""
	if z.Basic() {
		pod = h.Spec.Pod
	}
	host := Host{Name: h.Name, Agent: []string{"weft", "agent", "--host", h.Name, "--repo", RepoPath, "--branch", "main"}}
	for _, b := range h.Spec.Bridges {
		bridge := Bridge{Name: b.Name, Wire: wireName(z.Name, pod, b.Name), Manage: Manage(b.Manage), Uplinks: b.Uplinks, Linux: onLinux(z, b.Name),
			Address: b.Address, Gateway: b.Gateway}
		for _, r := range b.Routes {
			bridge.Routes = append(bridge.Routes, Route{To: r.CIDR, Via: r.Via})
		}
		host.Bridges = append(host.Bridges, bridge)
	}
	return host
}

// onLinux reports whether a label is one of Linux bridges.
func onLinux(z *model.Zone, label string) bool {
	i := slices.IndexFunc(z.Physical, func(p *model.PhysicalNetwork) bool {
		return slices.ContainsFunc(p.Spec.Traffic, func(t schema.Traffic) bool { return t.Label == label })
	})
	return i >= 0 && z.Physical[i].Spec.VSwitch == linuxBridge
}

// linuxBridge is the vswitch of physical networks whose switch is the kernel.
const linuxBridge = "LinuxBridge"

func rangeOf(zone string, r *model.PublicRange) Range {
	out := Range{Name: r.Name, Wire: wireName(zone, "", r.Physical.Public), VLAN: int(r.Spec.VLAN.ID)}
	out.Gateways = append(out.Gateways, netip.PrefixFrom(r.Spec.Gateway, r.Spec.CIDR.Bits()))
	if ip6 := r.Spec.IP6; ip6 != nil {
		out.Gateways = append(out.Gateways, netip.PrefixFrom(ip6.Gateway, ip6.CIDR.Bits()))
	}
	return out
}

// gatewaysOf are the gateways of a Shared network, which are none of weft's: the
// internet has them, on the wires that it sees. Those of overlays are nowhere.
func gatewaysOf(n *model.Network) []Range {
	if n.Physical == nil || n.Type() != model.GuestShared {
		return nil
	}
	var out []Range
	for _, s := range n.Segments {
		if s.Scheme != schema.SchemeVLAN && s.Scheme != schema.SchemeNative || len(s.Subnets) == 0 {
			continue
		}
		r := Range{Name: n.ID.String(), Wire: wireName(n.Zone.Name, s.Pod, n.Physical.Guest), VLAN: int(s.VNet)}
		if s.Name != "" {
			r.Name += "/" + s.Name
		}
		for _, x := range s.Subnets {
			r.Gateways = append(r.Gateways, netip.PrefixFrom(x.Gateway, x.CIDR.Bits()))
		}
		if x := s.IP6; x != nil {
			r.Gateways = append(r.Gateways, netip.PrefixFrom(x.Gateway, x.CIDR.Bits()))
			r.Prefixes = append(r.Prefixes, Prefix{Of: x.CIDR, Managed: x.Mode == model.DHCPv6})
		}
		out = append(out, r)
	}
	return out
}

// beyond adds what is beyond a VPC: the internet stands for the routers of the private
// networks too, and for one machine behind each route to them. It knows the way to
// tiers, where they are not translated.
func beyond(s *Spec, v *model.VPC) {
	s.DNS = append(s.DNS, v.DNS...)
	for _, g := range v.Gateways {
		if !g.Spec.Gateway.IsValid() {
			continue
		}
		s.Ranges = append(s.Ranges, Range{
			Name: g.ID.String(), Wire: wireName(v.Zone.Name, "", g.Physical.Guest), VLAN: int(g.VLAN),
			Gateways: []netip.Prefix{netip.PrefixFrom(g.Spec.Gateway, g.Spec.IP.Bits())},
		})
		if !g.Spec.SourceNat {
			s.Routes = append(s.Routes, Route{To: v.CIDR, Via: g.Spec.IP.Addr()})
		}
		for _, r := range g.Spec.Routes {
			s.World = append(s.World, machineOf(r.CIDR))
		}
	}
	if v.Router == nil {
		return
	}
	for _, t := range v.Tiers {
		if t.IP6 != nil && v.Router.IP6().IsValid() {
			s.Routes = append(s.Routes, Route{To: t.IP6.CIDR, Via: v.Router.IP6()})
		}
		if v.Router.Outer.IsValid() {
			s.Routes = append(s.Routes, Route{To: t.CIDR, Via: v.Router.Outer})
		}
	}
}

// machineOf is an address behind a route: the first that a machine can have.
func machineOf(to netip.Prefix) netip.Addr {
	first := to.Masked().Addr()
	if to.IsSingleIP() {
		return first
	}
	return first.Next()
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
	vm = VM{Name: first.VM.Meta.Account + "/" + first.VM.Meta.Name, Host: first.Host, Hostname: first.Hostname, Runtime: first.VM.Meta.LabRuntime()}
	hosts := slices.Clone(first.Hosts)
	for i := range first.VMSpec.NICs {
		name := first.VMSpec.NICs[i].NICName()
		at := slices.IndexFunc(legs, func(l leg) bool { return l.nic.Name == name })
		if at < 0 {
			return vm, false
		}
		l := legs[at]
		if l.nic.MAC == (schema.MAC{}) || !l.nic.IP.IsValid() && l.network.Type() != model.GuestL2 {
			return vm, false
		}
		card := cardOf(l)
		if vm.Runtime == Qemu {
			element := InterfaceOf(l.network, l.nic, "")
			element.Plain = true // the switch of a lab is always Open vSwitch's userspace datapath
			card.Element = &element
		}
		vm.NICs = append(vm.NICs, card)
		hosts = slices.DeleteFunc(hosts, func(h string) bool { return !slices.Contains(l.nic.Hosts, h) })
	}
	if vm.Host == "" {
		vm.Host = pick(vm.Name, hosts)
	}
	return vm, vm.Host != ""
}

// InterfaceOf is how libvirt has to plug a NIC for weft to recognise its port: into weft-int on Open vSwitch, where the MAC
// that libvirt writes beside the port names the NIC, and else into bridge, the network's on that host. A NIC with an
// interface name is made by libvirt and plugged by weft.
func InterfaceOf(n *model.Network, c *model.NIC, bridge string) libvirt.Interface {
	i := libvirt.Interface{MAC: c.MAC.String(), Target: c.Interface, MTU: n.MTU, Down: c.Spec.Link == "Down"}
	switch {
	case c.Interface != "":
	case n.Physical.Spec.VSwitch == "OpenVSwitch":
		i.Bridge, i.OpenVSwitch = node.Integration, true
	default:
		i.Bridge = bridge
	}
	return i
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

// secondary are the further addresses of a NIC, which a guest sets by itself in any case.
func secondary(c *model.NIC) []netip.Prefix {
	if c.Subnet == nil {
		return nil
	}
	var out []netip.Prefix
	for _, a := range c.Spec.SecondaryIPs {
		bits := c.Subnet.CIDR.Bits()
		if a.Is6() {
			bits = 64
		}
		out = append(out, netip.PrefixFrom(a, bits))
	}
	return out
}

// mode6 is how a guest gets its IPv6 address, "" where it gets none: in a Shared network without the operator's router,
// whose advertisements it waits for.
func mode6(l leg) string {
	s := l.nic.Segment
	if s == nil || s.IP6 == nil || s.IP6.Foreign && s.Scheme != schema.SchemeVLAN && s.Scheme != schema.SchemeNative {
		return ""
	}
	return s.IP6.Mode
}

// cardOf is what a guest's card needs to know: everything where the network has no DHCP, nothing in an L2 network.
func cardOf(l leg) NIC {
	n := l.network
	card := NIC{Name: l.nic.Name, MAC: l.nic.MAC.String(), Interface: l.nic.Interface, Default: l.nic.Default, Down: !l.nic.Up(),
		Linux: n.Physical.Spec.VSwitch == linuxBridge}
	services := n.Offering.Spec.Services
	if services.Dhcp != nil {
		card.DHCP = true
		if n.MTU > 1500 {
			card.MTU = n.MTU
		}
		card.Addresses = secondary(l.nic)
		card.IP6 = mode6(l)
		return card
	}
	card.MTU = n.MTU
	card.IP6 = mode6(l)
	if l.nic.Subnet == nil {
		return card
	}
	card.Addresses = append([]netip.Prefix{netip.PrefixFrom(l.nic.IP, l.nic.Subnet.CIDR.Bits())}, secondary(l.nic)...)
	if l.nic.Default {
		if services.SourceNat != nil || services.Gateway != nil || n.Type() == model.GuestShared {
			card.Gateway = l.nic.Subnet.Gateway
		}
		card.Domain = n.Domain
		card.DNS = n.Spec.GuestDNS
		if len(card.DNS) == 0 && services.Dns != nil && l.nic.Subnet.RouterIP.IsValid() {
			card.DNS = []netip.Addr{l.nic.Subnet.RouterIP}
		}
	}
	return card
}
