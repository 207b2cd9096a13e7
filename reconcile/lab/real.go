package lab

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"weft.dev/reconcile/lab/initrd"
	"weft.dev/reconcile/lab/node"
)

// A guest with runtime Qemu is a member without a process: its host's libvirt runs it, and what is known of it is in the
// host's status.

// real says whether the member is such a guest.
func (m *member) real() bool {
	m.s.mu.Lock()
	defer m.s.mu.Unlock()
	return m.vm != nil && m.vm.Runtime == Qemu
}

// switchOn begins a life of a real guest, which its host is then told of.
func (m *member) switchOn() {
	m.s.mu.Lock()
	m.power, m.state, m.reason, m.since = true, Starting, "", time.Now()
	m.s.mu.Unlock()
	m.s.changed()
}

// switchOff ends it, also where its host is no more.
func (m *member) switchOff(reason string) {
	m.s.mu.Lock()
	on := m.power
	host := m.s.members["host/"+m.vm.Host]
	if on {
		m.power, m.state, m.reason, m.since = false, Stopped, reason, time.Now()
	}
	m.s.mu.Unlock()
	if host != nil && host.alive() {
		_ = host.call("Destroy", m.name) // it may be going down itself, which is an end as well
	}
	m.s.changed()
}

// furnishReal has the host start a guest.
func (s *supervisor) furnishReal(m *member) error {
	host, err := s.member("host/" + m.vm.Host)
	if err != nil {
		return err
	}
	return host.call("Create", m.guest())
}

// guest is what a host is told of a real guest.
func (m *member) guest() node.Guest {
	g := node.Guest{Name: m.name, Hostname: m.vm.hostname()}
	for i, n := range m.vm.NICs {
		g.NICs = append(g.NICs, node.Card{MAC: n.MAC, Interface: *n.Element, NIC: node.NIC{Link: nicLink(i), Hostname: m.vm.hostname(), DHCP: n.DHCP,
			Addresses: n.Addresses, Gateway: n.Gateway, DNS: n.DNS, Domain: n.Domain, MTU: n.MTU, Metric: m.vm.metric(i)}})
	}
	return g
}

// noteGuests takes from a host's status what ended or never began.
func (m *member) noteGuests(status node.Status) {
	if m.kind != KindHost {
		return
	}
	m.s.mu.Lock()
	defer m.s.mu.Unlock()
	for _, g := range status.Guests {
		guest := m.s.members[g.Name]
		if guest == nil || !guest.power || "host/"+guest.vm.Host != m.name {
			continue
		}
		switch {
		case g.Error != "" && guest.state != Failed:
			guest.state, guest.reason, guest.since = Failed, g.Error, time.Now()
		case g.Ended:
			guest.power, guest.state, guest.reason, guest.since = false, Stopped, "it switched itself off", time.Now()
		}
	}
}

// known is what a real guest's host says of it; s.mu is held.
func (s *supervisor) known(m *member) node.GuestStatus {
	if host := s.members["host/"+m.vm.Host]; host != nil && m.power {
		i := slices.IndexFunc(host.status.Guests, func(g node.GuestStatus) bool { return g.Name == m.name })
		if i >= 0 {
			return host.status.Guests[i]
		}
	}
	return node.GuestStatus{}
}

// realCards is the state of a real guest's NICs; s.mu is held.
func (s *supervisor) realCards(m *member) []NICStatus {
	known := s.known(m)
	var cards []NICStatus
	for i, n := range m.vm.NICs {
		c := NICStatus{Name: n.Name, Link: nicLink(i), Port: known.Ports[strings.ToLower(n.MAC)], MAC: n.MAC}
		c.Plugged = n.Interface == "" && known.Runs
		for _, seen := range known.NICs {
			if seen.Link == c.Link {
				c.Addresses, c.MTU, c.DNS, c.Since = seen.Addresses, seen.MTU, seen.DNS, seen.Since
				c.Ready = known.Runs && (seen.Lease || !n.DHCP || n.Down)
			}
		}
		cards = append(cards, c)
	}
	return cards
}

// renewReal has a real guest ask for its leases again.
func (s *supervisor) renewReal(m *member) error {
	host, err := s.member("host/" + m.vm.Host)
	if err != nil {
		return err
	}
	return host.call("RenewGuest", m.name)
}

// migrating is how long a guest may take to move as it runs: one in software emulation needs some seconds when the machine
// is idle.
const migrating = 3 * time.Minute

// migrate brings a real guest to another host as it runs; where that fails, it goes on where it was.
func (s *supervisor) migrate(m *member, source, target *member) error {
	s.mu.Lock()
	known := s.known(m)
	s.mu.Unlock()
	if !known.Runs {
		return fmt.Errorf("%s is not up yet", m.name)
	}
	err := target.call("Receive", node.Arrival{Guest: m.guest(), Known: known.NICs})
	if err == nil {
		err = source.call("Depart", node.Departure{Name: m.name, Leave: true})
	}
	if err == nil {
		err = s.carry(m.name, source, target)
	}
	if err != nil {
		// It may never have been told to leave.
		_ = source.call("Depart", node.Departure{Name: m.name})
		return errors.Join(err, target.call("Destroy", m.name))
	}
	err = target.call("Arrived", m.name)
	s.rehost(m, strings.TrimPrefix(target.name, "host/"))
	return errors.Join(err, source.call("Destroy", m.name))
}

// carry has the libvirt of one host hand a guest to that of another. What goes over is a stream through a socket that both
// see; the guest stops for its last part, and the emulator says by RARP where it is now.
func (s *supervisor) carry(guest string, source, target *member) error {
	virsh, err := node.Look("virsh")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), migrating)
	defer cancel()
	stream := fmt.Sprintf("%x", sha256.Sum256([]byte(guest)))[:16] // names are longer than a socket's path
	defer func() { _ = os.Remove(filepath.Join(shared(s.dir), stream)) }()
	_, err = s.table.Run(ctx, virsh, "--quiet", "--connect", source.libvirt(), "migrate", "--live", "--auto-converge", "--bandwidth", "1000",
		"--domain", node.DomainName(guest), "--desturi", target.libvirt(), "--migrateuri", "unix://"+filepath.Join(node.Shared, stream))
	return err
}

// libvirt is where the daemon of a host answers, as the supervisor sees it.
func (m *member) libvirt() string {
	m.s.mu.Lock()
	defer m.s.mu.Unlock()
	pid := 0
	if m.process != nil {
		pid = m.process.Pid
	}
	return fmt.Sprintf("qemu+unix:///system?socket=/proc/%d/root%s", pid, node.LibvirtSocket)
}

// placeReal is where commands for a real guest are handed to it: on its host.
func (c *Control) placeReal(m *member, out *Place) error {
	host, err := c.s.member("host/" + m.vm.Host)
	if err != nil {
		return err
	}
	if !m.alive() {
		return fmt.Errorf("%s does not run", m.name)
	}
	err = c.place(host, "", out)
	out.Guest = m.name
	return err
}

// callGuest runs a command in a real guest of this host: args are its name and the command.
func callGuest(args []string) int {
	if len(args) < 2 {
		return 2
	}
	// Only one caller is served, so one whose own caller is gone must not stay.
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		fmt.Fprintf(os.Stderr, "follow the caller: %v\n", err)
		return 126
	}
	conn, err := net.Dial("unix", node.ExecSocket(args[0]))
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s does not run yet: %v\n", args[0], err)
		return 126
	}
	defer func() { _ = conn.Close() }()
	status, err := initrd.Call(conn, args[1:], os.Stdout)
	if errors.Is(err, io.EOF) {
		err = errors.New("it was switched off")
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", args[0], err)
		return 126
	}
	return status
}
