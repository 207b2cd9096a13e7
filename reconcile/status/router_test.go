package status

import (
	"strings"
	"testing"
	"time"
)

// TestRouters: what is sick is shown, all where all is asked for; what fails outside does
// not make the host unhealthy.
func TestRouters(t *testing.T) {
	s := &Status{Host: "kvm1", Time: now, Routers: []Router{
		{Name: "router/acme/app", Services: []Service{{Name: "dns", State: ServiceWell, Message: "answers", Since: ago(time.Hour)}}},
		{Name: "router/acme/web", Deaths: 1, Rebuilds: 2, Next: now.Add(90 * time.Second), Services: []Service{
			{Name: "dhcp", State: ServiceSick, Message: "no offer\x1b[31m", Since: ago(time.Minute), Restarts: 3},
			{Name: "gateway", State: ServiceSick, Message: "no answer", Since: ago(2 * time.Minute), Outside: true},
		}},
	}}
	c := s.Health()
	if c.True || c.Reason != "Sick" || !strings.HasPrefix(c.Message, "router/acme/web: dhcp: no offer") {
		t.Errorf("condition %+v", c)
	}
	render := func(all bool) string {
		got := text(t, s, func(s *Status, b *strings.Builder) error { return s.Text(b, Style{Now: now, All: all}) })
		return got[strings.Index(got, "Routers"):]
	}
	equal(t, render(false), `
Routers
  router/acme/web, ended by itself 1×, started anew for being sick 3×, made anew 2×, treated again in 1m
    dhcp     Sick  1m  no offer�[31m; started anew 3×
    gateway  Sick  2m  no answer (outside: nothing is restarted for it)
`)
	if got := render(true); !strings.Contains(got, "router/acme/app\n    dns  Well  1h  answers\n") {
		t.Errorf("with all of them:\n%s", got)
	}
	s.Routers[1].Services[0].State = ServiceWell
	if c := s.Health(); !c.True || c.Reason != "OutsideSick" {
		t.Errorf("condition %+v", c)
	}
	s.Routers = nil
	if c := s.Health(); !c.True || c.Reason != "NoRouters" {
		t.Errorf("condition %+v", c)
	}
}
