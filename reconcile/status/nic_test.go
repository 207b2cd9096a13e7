package status

import (
	"strings"
	"testing"
	"time"
)

func TestNICText(t *testing.T) {
	s := &Status{Host: "kvm1", Time: now, NICs: []NIC{
		{ID: "acme/a/web", State: NICReserved, Ports: []string{"vnet1"}, Host: "kvm1", Since: ago(time.Hour)},
		{ID: "acme/b/web", State: NICMoved, Ports: []string{"vnet2"}, Host: "kvm2", Since: ago(3 * time.Minute)},
		{ID: "acme/c/web", State: NICTwoPorts, Ports: []string{"t", "a"}, Message: "t and a say that they are this NIC", Since: now},
		{ID: "acme/d/web", State: NICAllocated, Host: "kvm1", Message: "waits for its port", Since: now},
	}}
	p := &printer{now: now}
	p.nics(s)
	equal(t, p.String(), `

  NICs        1 reserved, 1 allocated, 1 moved here, 1 with two ports

  nic/acme/b/web  Moved     3m  vnet2  expected on kvm2
  nic/acme/c/web  TwoPorts  0s  t, a   expected anywhere  t and a say that they are this NIC
`)
	p = &printer{now: now, style: Style{All: true}}
	p.nics(s)
	if !strings.Contains(p.String(), "nic/acme/d/web  Allocated  0s  no port  expected here      waits for its port\n") {
		t.Errorf("all:\n%s", p.String())
	}
	if got := s.OfVM("acme/b"); len(got) != 1 || got[0].ID != "acme/b/web" || len(s.OfVM("acme")) != 0 || len(s.OfVM("acme/a/web")) != 1 {
		t.Errorf("%v", got)
	}
}
