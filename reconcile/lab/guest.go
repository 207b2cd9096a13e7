package lab

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"weft.dev/reconcile/lab/link"
	"weft.dev/reconcile/lab/node"
)

// worldNames are the names that the internet resolves.
func worldNames(world []netip.Addr) map[string][]netip.Addr {
	var at []netip.Addr
	for _, a := range world {
		if a == netip.MustParseAddr("198.51.100.5") || a.Is6() {
			at = append(at, a)
		}
	}
	if len(at) == 0 && len(world) > 0 {
		at = world[:1]
	}
	if len(at) == 0 {
		return nil
	}
	return map[string][]netip.Addr{"internet": at, "example.com": at, "www.example.com": at, "example.org": at}
}

// firstPort is the number of the first port that the lab plugs as vnetN. Those below are libvirt's, which takes the first free
// one on its own host; ours come along when their guest moves.
const firstPort = 1000

func (s *supervisor) vmMember(v VM) *member {
	m := s.newMember(v.Name, KindVM)
	m.vm, m.declared = &v, v.Host
	for _, n := range v.NICs {
		m.ports[n.Name] = n.Interface
		if n.Interface == "" && v.Runtime != Qemu {
			s.mu.Lock()
			m.ports[n.Name] = fmt.Sprintf("vnet%d", firstPort+s.vnets)
			s.vnets++
			s.mu.Unlock()
		}
	}
	return s.join(m)
}

func nicLink(i int) string { return fmt.Sprintf("eth%d", i) }

// furnishVM boots a guest and gives it its cards, plugged into its host.
func (s *supervisor) furnishVM(m *member) error {
	if m.real() {
		return s.furnishReal(m)
	}
	if err := m.call("Boot", m.config(m.vm.hostname())); err != nil {
		return err
	}
	host, err := s.member("host/" + m.vm.Host)
	if err != nil {
		return err
	}
	if !host.alive() {
		return fmt.Errorf("%s: its host %s does not run", m.name, m.vm.Host)
	}
	for i, n := range m.vm.NICs {
		port := m.ports[n.Name]
		pair := link.Pair{NS: m.netns(), Name: nicLink(i), MAC: n.MAC, PeerNS: host.netns(), PeerName: port, PeerMAC: n.tap(), MTU: n.mtu()}
		if err := link.AddPair(pair); err != nil {
			return fmt.Errorf("%s, nic %s: %w", m.name, n.Name, err)
		}
		if err := plug(host, m.vm, n, port); err != nil {
			return err
		}
		err := m.call("Connect", node.NIC{Link: nicLink(i), Hostname: m.vm.hostname(), DHCP: n.DHCP, Addresses: n.Addresses,
			Gateway: n.Gateway, DNS: n.DNS, Domain: n.Domain, MTU: n.MTU, Metric: m.vm.metric(i), IP6: n.IP6})
		if err != nil {
			return err
		}
	}
	return nil
}

// plug has a host plug a guest's port as libvirt does, unless weft shall do it.
func plug(host *member, v *VM, n NIC, port string) error {
	if !n.byLab() {
		return nil
	}
	return host.call("Plug", node.Port{Name: port, ExternalIDs: map[string]string{
		"iface-id":     v.Name + "/" + n.Name,
		"attached-mac": strings.ToLower(n.MAC),
		"vm-id":        v.Name,
		"iface-status": "active",
	}})
}

// unplug takes a guest's ports from a host that runs.
func (s *supervisor) unplug(m *member) error {
	host, err := s.member("host/" + m.vm.Host)
	if err != nil || !host.alive() || m.real() {
		return err
	}
	var errs []error
	for _, n := range m.vm.NICs {
		if n.byLab() {
			errs = append(errs, host.call("Unplug", m.ports[n.Name]))
		}
	}
	return errors.Join(errs...)
}

// stopVM ends a guest as its hypervisor does: the ports go too.
func (s *supervisor) stopVM(m *member, reason string) error {
	err := s.unplug(m)
	m.cut(reason)
	return err
}

// startVM begins a new life of a guest.
func (s *supervisor) startVM(m *member) error {
	host, err := s.member("host/" + m.vm.Host)
	if err != nil {
		return err
	}
	if !host.alive() {
		return fmt.Errorf("%s: its host %s does not run", m.name, m.vm.Host)
	}
	if err := s.spawn(m); err != nil {
		return err
	}
	return s.furnish(m)
}

// move brings a guest to another host. One that runs stays alive and keeps its links and addresses, as in a live
// migration; one that does not is started there.
func (s *supervisor) move(m *member, to string) error {
	target, err := s.member("host/" + to)
	if err != nil {
		return err
	}
	if !target.alive() {
		return fmt.Errorf("host %s does not run", to)
	}
	if m.vm.Host == to {
		return nil
	}
	if !m.alive() {
		s.rehost(m, to)
		return s.startVM(m)
	}
	source, err := s.member("host/" + m.vm.Host)
	if err != nil {
		return err
	}
	if m.real() {
		return s.migrate(m, source, target)
	}
	// The hypervisor that a guest comes to has its ports ready before the guest leaves the other.
	for _, n := range m.vm.NICs {
		if err := plug(target, m.vm, n, m.ports[n.Name]); err != nil {
			return err
		}
	}
	if err := target.call("Plugged", node.Void{}); err != nil {
		return err
	}
	for _, n := range m.vm.NICs {
		if err := link.Move(m.ports[n.Name], source.netns(), target.netns()); err != nil {
			return fmt.Errorf("%s, nic %s: %w", m.name, n.Name, err)
		}
	}
	for i := range m.vm.NICs {
		if err := m.call("Announce", nicLink(i)); err != nil {
			return err
		}
	}
	err = s.unplug(m)
	s.rehost(m, to)
	return err
}

// rehost records where a guest is.
func (s *supervisor) rehost(m *member, host string) {
	v := *m.vm
	v.Host = host
	s.mu.Lock()
	m.vm = &v
	for i := range s.spec.VMs {
		if s.spec.VMs[i].Name == v.Name {
			s.spec.VMs[i].Host = host
		}
	}
	s.mu.Unlock()
	s.changed()
}
