package agent

import (
	"errors"
	"slices"
	"testing"
	"time"

	"weft.dev/reconcile/resource"
	"weft.dev/reconcile/status"
)

// What is said of a NIC follows from where it is expected and which ports say that
// they are it.
func TestNICsHere(t *testing.T) {
	port := func(name, id, mac string, used bool) resource.GuestPort {
		return resource.GuestPort{Port: name, IfaceID: id, MAC: mac, Used: used}
	}
	guest := func(id, host string, hosts ...string) Guest {
		return Guest{ID: id, MAC: "02:00:00:00:00:0A", Running: true, Host: host, Hosts: hosts}
	}
	stopped, down := guest("a/v/n", "kvm1", "kvm1"), guest("a/v/n", "kvm1", "kvm1")
	stopped.Running, down.Down = false, true
	for name, c := range map[string]struct {
		guest Guest
		ports []resource.GuestPort
		state string
		says  string
	}{
		"waits":         {guest("a/v/n", "kvm1", "kvm1"), nil, status.NICAllocated, "waits for its port"},
		"here":          {guest("a/v/n", "kvm1", "kvm1"), []resource.GuestPort{port("t", "a/v/n", "", true)}, status.NICReserved, ""},
		"here by MAC":   {guest("a/v/n", "kvm1", "kvm1"), []resource.GuestPort{port("t", "", "02:00:00:00:00:0a", true)}, status.NICReserved, ""},
		"not yet":       {guest("a/v/n", "kvm1", "kvm1"), []resource.GuestPort{port("t", "a/v/n", "", false)}, status.NICAllocated, "its port carries nothing yet"},
		"anywhere":      {guest("a/v/n", "", "kvm1", "kvm2"), []resource.GuestPort{port("t", "a/v/n", "", true)}, status.NICReserved, ""},
		"moved":         {guest("a/v/n", "kvm2", "kvm1", "kvm2"), []resource.GuestPort{port("t", "a/v/n", "", true)}, status.NICMoved, ""},
		"outside":       {guest("a/v/n", "kvm2", "kvm2"), []resource.GuestPort{port("t", "a/v/n", "", true)}, status.NICOutside, "its VM's hosts are kvm2"},
		"outside, dead": {guest("a/v/n", "kvm2", "kvm2"), []resource.GuestPort{port("t", "a/v/n", "", false)}, status.NICOutside, "its VM's hosts are kvm2; nothing is realised here"},
		"two": {guest("a/v/n", "kvm1", "kvm1"), []resource.GuestPort{port("a", "a/v/n", "", false), port("t", "a/v/n", "", true)}, status.NICTwoPorts,
			"t and a say that they are this NIC; weft changes neither; t carries it"},
		"stopped":   {stopped, nil, status.NICAllocated, "the VM is Stopped"},
		"link Down": {down, []resource.GuestPort{port("t", "a/v/n", "", true)}, status.NICReserved, "link: Down"},
	} {
		other := Guest{ID: "a/other/n", MAC: "02:00:00:00:00:0b", Running: true, Host: "kvm2", Hosts: []string{"kvm2"}}
		got := nicsHere("kvm1", slices.Values([]Guest{c.guest, other}), c.ports, nil, time.Unix(5, 0))
		if len(got) != 1 || got[0].State != c.state || got[0].Message != c.says {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// Since is when the state began, not when it was looked at.
func TestNICsSince(t *testing.T) {
	g := slices.Values([]Guest{{ID: "a/v/n", Running: true, Host: "kvm1", Hosts: []string{"kvm1"}}})
	first := nicsHere("kvm1", g, nil, nil, time.Unix(5, 0))
	second := nicsHere("kvm1", g, nil, first, time.Unix(9, 0))
	here := []resource.GuestPort{{Port: "t", IfaceID: "a/v/n", Used: true}}
	third := nicsHere("kvm1", g, here, second, time.Unix(12, 0))
	if second[0].Since != time.Unix(5, 0) || third[0].Since != time.Unix(12, 0) {
		t.Errorf("%v %v", second, third)
	}
}

// A revision that is compiled anew for what is seen on the host, and cannot be, is
// tried again.
func TestCompiledAnewAgain(t *testing.T) {
	w := newWorld(t)
	w.push(1, "a")
	w.start()
	w.applied(1)
	w.define(1, func() (*Compiled, error) { return nil, errors.New("the clone is damaged") })
	w.agent.recompile.Store(true)
	w.agent.refetch <- struct{}{}
	w.until("it is told", reason(status.Stalled, "Invalid"))
	w.define(1, func() (*Compiled, error) { return &Compiled{Intent: intent("a", "b")}, nil })
	w.agent.refetch <- struct{}{}
	w.until("it is compiled", func(s *status.Status) bool { return w.kernel.names() == "a b" && !s.Condition(status.Stalled).True })
}
