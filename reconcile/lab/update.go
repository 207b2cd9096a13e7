package lab

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"

	"weft.dev/reconcile/lab/link"
)

// update turns the lab into another Spec with as little disturbance as possible: guests come and go, one whose declared
// host changed moves, one whose cards changed starts anew. A guest that was moved by hand stays where it is. Bridges of a
// running host change in their uplinks only; the rest waits for its next start.
func (s *supervisor) update(next Spec) error {
	if err := errors.Join(next.Check(), next.Missing()); err != nil {
		return err
	}
	s.mu.Lock()
	last := s.spec
	s.spec = next
	s.mu.Unlock()
	if err := s.addWires(next.Wires); err != nil {
		return err
	}
	errs := []error{s.updateInternet(last, next)}
	var leaving []*member // hosts, once their guests have left
	for _, m := range s.all() {
		switch {
		case m.kind == KindVM && !slices.ContainsFunc(next.VMs, func(v VM) bool { return v.Name == m.name }):
			errs = append(errs, s.removeVM(m))
		case m.kind == KindHost && !slices.ContainsFunc(next.Hosts, func(h Host) bool { return "host/"+h.Name == m.name }):
			leaving = append(leaving, m)
		}
	}
	var work group
	for _, h := range next.Hosts {
		work.do(func() error { return s.updateHost(h) })
	}
	errs = append(errs, work.wait())
	var guests group
	for _, v := range next.VMs {
		guests.do(func() error { return s.updateVM(v) })
	}
	errs = append(errs, guests.wait())
	for _, m := range leaving {
		errs = append(errs, s.discard(m))
	}
	errs = append(errs, s.trimWires(next.Wires))
	return errors.Join(errs...)
}

// trimWires removes wires that are no more and gives the others their size.
func (s *supervisor) trimWires(next []Wire) error {
	s.mu.Lock()
	bridges := maps.Clone(s.wires)
	s.mu.Unlock()
	var errs []error
	for _, w := range next {
		errs = append(errs, link.SetMTU(link.Here, bridges[w.Name], w.mtu()))
		delete(bridges, w.Name)
	}
	for name, bridge := range bridges {
		errs = append(errs, link.Delete(link.Here, bridge))
		s.mu.Lock()
		delete(s.wires, name)
		s.mu.Unlock()
	}
	return errors.Join(errs...)
}

func (s *supervisor) updateInternet(last, next Spec) error {
	before := []any{last.Ranges, last.World, last.DNS}
	same := reflect.DeepEqual(before, []any{next.Ranges, next.World, next.DNS})
	if same && slices.Equal(last.Routes, next.Routes) {
		return nil
	}
	m, err := s.member("internet")
	switch {
	case err != nil:
		return err
	case same && m.alive():
		return m.call("Routes", routes(next.Routes))
	}
	return s.restart(m)
}

// restart ends a node and begins a new life.
func (s *supervisor) restart(m *member) error {
	m.cut("restarted")
	if err := s.spawn(m); err != nil {
		return err
	}
	return s.furnish(m)
}

func (s *supervisor) updateHost(h Host) error {
	m, err := s.member("host/" + h.Name)
	if err != nil {
		m = s.hostMember(h)
		if err := s.spawn(m); err != nil {
			return err
		}
		return s.furnish(m)
	}
	s.mu.Lock()
	m.host = &h
	s.mu.Unlock()
	if !m.alive() {
		return nil
	}
	wanted := map[string]string{}
	for _, b := range h.Bridges {
		for _, uplink := range b.Uplinks {
			wanted[uplink] = b.Wire
		}
	}
	for uplink, port := range s.cablesOf(m) {
		if _, ok := wanted[uplink]; !ok {
			if err := link.Delete(link.Here, port); err != nil {
				return err
			}
			s.mu.Lock()
			delete(m.cables, uplink)
			s.mu.Unlock()
		}
	}
	for uplink, wire := range wanted {
		port, there := s.cablesOf(m)[uplink]
		if !there {
			if err := s.cable(m, wire, uplink); err != nil {
				return err
			}
			continue
		}
		if err := errors.Join(link.SetMTU(link.Here, port, s.mtu(wire)), link.SetMTU(m.netns(), uplink, s.mtu(wire))); err != nil {
			return err
		}
	}
	return nil
}

func (s *supervisor) cablesOf(m *member) map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(m.cables)
}

func (s *supervisor) updateVM(v VM) error {
	m, err := s.member(v.Name)
	if err != nil {
		return s.startVM(s.vmMember(v))
	}
	moved := v.Host != m.declared
	m.declared = v.Host
	there := v
	there.Host = m.vm.Host
	if !reflect.DeepEqual(*m.vm, there) {
		if err := s.removeVM(m); err != nil {
			return err
		}
		if !moved {
			v = there
		}
		n := s.vmMember(v)
		n.declared = m.declared
		return s.startVM(n)
	}
	if moved {
		return s.move(m, v.Host)
	}
	s.rehost(m, m.vm.Host)
	return nil
}

func (s *supervisor) removeVM(m *member) error {
	if err := s.stopVM(m, "removed"); err != nil {
		return err
	}
	return s.discard(m)
}

// discard forgets a node with its disk.
func (s *supervisor) discard(m *member) error {
	m.cut("removed")
	s.mu.Lock()
	delete(s.members, m.name)
	s.mu.Unlock()
	s.changed()
	return os.RemoveAll(m.dir)
}

// kill is a power cut of a node, or ends an agent for good.
func (s *supervisor) kill(name string) error {
	m, service, err := s.find(name)
	if err != nil {
		return err
	}
	if service != "" {
		return m.order(service, false)
	}
	if !m.alive() {
		return fmt.Errorf("%s does not run", name)
	}
	if m.kind == KindVM {
		return s.stopVM(m, "killed")
	}
	m.cut("killed")
	return nil
}

// start gives a node that was killed a new life, a host its guests too, or an agent.
func (s *supervisor) start(name string) error {
	m, service, err := s.find(name)
	if err != nil {
		return err
	}
	if service != "" {
		return m.order(service, true)
	}
	if m.alive() {
		return fmt.Errorf("%s runs already", name)
	}
	if m.kind == KindVM {
		return s.startVM(m)
	}
	if err := s.restart(m); err != nil {
		return err
	}
	var work group
	for _, guest := range s.guests(m.name) {
		if !guest.alive() {
			work.do(func() error { return s.startVM(guest) })
		}
	}
	return work.wait()
}
