package node

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// A guest under libvirt comes from another host as it runs in three steps: Receive here, Depart there and libvirt's own
// migration, Arrived here. What fails in between is undone by Destroy here and Depart back there.

// Shared is a directory that all hosts of a lab have in common, for the stream of a guest that moves.
const Shared = Dir + "/shared"

// Arrival is a guest that comes from another host.
type Arrival struct {
	Guest Guest
	Known []NICStatus // as the host that it leaves knows its NICs
}

// Departure is a guest that is about to leave this host, or does not after all.
type Departure struct {
	Name  string
	Leave bool
}

// Receive makes the host ready for a guest that libvirt is to bring.
func (n *Node) Receive(a Arrival, _ *Void) error {
	d, err := n.newDomain(a.Guest)
	if err != nil {
		return err
	}
	d.status.NICs = slices.Clone(a.Known)
	close(d.answers) // it did where it was
	n.join(d)
	ctx, cancel := context.WithTimeout(d.alive, time.Minute)
	defer cancel()
	_, err = d.prepare(ctx)
	return err
}

// Arrived takes up a guest that libvirt has brought.
func (n *Node) Arrived(name string, _ *Void) error {
	d, err := n.domain(name)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(d.alive, time.Minute)
	defer cancel()
	conn, err := d.meet(ctx)
	if err != nil {
		return err
	}
	d.work.Go(func() { d.attend(conn) })
	return nil
}

// Depart says of a guest that its end is none, since it goes on elsewhere; it waits until the guest is up. Where it did not go, an end that came meanwhile
// is one.
func (n *Node) Depart(p Departure, _ *Void) error {
	d, err := n.domain(p.Name)
	if err != nil {
		return err
	}
	if p.Leave {
		select {
		case <-d.answers:
		case <-d.alive.Done():
			return d.alive.Err()
		case <-time.After(time.Minute):
			return fmt.Errorf("%s does not answer yet", p.Name)
		}
	}
	d.change(func(s *GuestStatus) {
		s.Ended = s.Ended || d.leaves && !p.Leave && !s.Runs
		d.leaves = p.Leave
	})
	return nil
}

func (n *Node) domain(name string) (*domain, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	i := slices.IndexFunc(n.domains, func(d *domain) bool { return d.guest.Name == name })
	if i < 0 {
		return nil, fmt.Errorf("%s is not on %s", name, n.config.Name)
	}
	return n.domains[i], nil
}
