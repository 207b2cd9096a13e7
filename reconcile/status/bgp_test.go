package status

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

// TestBGP: what serves BGP tells, people read without asking for all, and programs read
// back.
func TestBGP(t *testing.T) {
	edge := &BGP{State: BGPEstablished, Address: "203.0.113.1", ASN: 65500, Since: ago(3 * time.Minute), Told: 2, Sessions: 2, Reset: "the peer closed the connection", Ended: ago(4 * time.Minute)}
	down := &BGP{State: "Active", Address: "2001:db8:1::1", ASN: 65501, Reset: "the peer does not answer\x1b[31m"}
	for _, b := range []*BGP{edge, down} {
		if line, back := ParseBGP(b.Reply()); !strings.HasPrefix(line, b.State) || !reflect.DeepEqual(back, b) {
			t.Errorf("%+v is read back as %q, %+v", b, line, back)
		}
	}
	for _, text := range []string{"", "bgpd does not answer", "bgpd does not answer\n{}", "x\n{", "x\nnull"} {
		if _, b := ParseBGP(text); b != nil {
			t.Errorf("%q is a session: %+v", text, b)
		}
	}
	s := &Status{Host: "kvm1", Time: now, Routers: []Router{{Name: "router/acme/app", Services: []Service{
		{Name: "bgp", State: ServiceWell, Message: "bgpd answers", Since: ago(time.Hour)},
		{Name: "bgp/edge", State: ServiceWell, Message: "Established", Since: ago(time.Hour), Outside: true, BGP: edge},
		{Name: "dns", State: ServiceWell, Message: "answers", Since: ago(time.Hour)},
	}}}}
	render := func() string {
		got := text(t, s, func(s *Status, b *strings.Builder) error { return s.Text(b, Style{Now: now}) })
		return got[strings.Index(got, "Routers"):]
	}
	equal(t, render(), `
Routers
  router/acme/app
    bgp/edge  Established  3m  AS 65500 at 203.0.113.1, told of 2 networks; session 2, the one before ended 4m ago: the peer closed the connection
`)
	s.Routers[0].Services[1] = Service{Name: "bgp/far", State: ServiceSick, Message: "Active", Since: ago(2 * time.Minute), Outside: true, BGP: down}
	if got := render(); !strings.Contains(got, "    bgp/far  Active  2m  AS 65501 at 2001:db8:1::1: the peer does not answer\ufffd[31m\n") {
		t.Errorf("got\n%s", got)
	}
	if c := s.Health(); !c.True || c.Reason != "OutsideSick" {
		t.Errorf("condition %+v", c)
	}
	edge.Told, edge.Sessions = 1, 1
	if got := edge.words(now); got != "AS 65500 at 203.0.113.1, told of 1 network" {
		t.Error(got)
	}
}
