package node

import (
	"net"
	"testing"
)

// Who leaves for another host does not end; who stays after all has ended if it went meanwhile.
func TestDeparture(t *testing.T) {
	n := &Node{wake: make(chan struct{})}
	d, err := n.newDomain(Guest{Name: "acme/a"})
	if err != nil {
		t.Fatal(err)
	}
	close(d.answers)
	n.join(d)
	listens := func() (goes func()) {
		d.change(func(s *GuestStatus) { s.Runs, s.Ended = true, false })
		here, there := net.Pipe()
		done := make(chan struct{})
		go func() {
			d.attend(here)
			close(done)
		}()
		return func() {
			_ = there.Close()
			<-done
		}
	}
	state := func(runs, ended bool) {
		t.Helper()
		if s := d.state(); s.Runs != runs || s.Ended != ended {
			t.Errorf("runs %v, ended %v, want %v, %v", s.Runs, s.Ended, runs, ended)
		}
	}
	depart := func(leave bool) {
		t.Helper()
		if err := n.Depart(Departure{Name: "acme/a", Leave: leave}, nil); err != nil {
			t.Error(err)
		}
	}
	listens()()
	state(false, true) // it switched itself off

	goes := listens()
	depart(true)
	goes()
	state(false, false)
	depart(false) // libvirt says that it did not arrive
	state(false, true)

	goes = listens()
	depart(true)
	depart(false)
	state(true, false)
	goes()
	state(false, true)

	if n.Depart(Departure{Name: "acme/b"}, nil) == nil {
		t.Error("a guest that is not here departs")
	}
}
