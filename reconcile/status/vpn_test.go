package status

import (
	"strings"
	"testing"
	"time"
)

// TestVPN: what serves a VPN tells, people read, and programs read back.
func TestVPN(t *testing.T) {
	var v VPN
	v.Become(VPNPending, "", ago(3*time.Hour))
	v.Become(VPNConnecting, "", ago(2*time.Hour))
	v.Become(VPNError, "received AUTHENTICATION_FAILED notify error\x1b[31m", ago(time.Hour))
	v.Become(VPNConnected, "1 of 2 users", ago(10*time.Minute))
	v.Become(VPNConnected, "2 of 3 users", now)
	if !v.Since.Equal(ago(10*time.Minute)) || len(v.Was) != 3 {
		t.Errorf("%+v", v)
	}
	v.Ends = []VPNEnd{
		{Name: "ann", Up: true, Since: ago(9 * time.Minute), Address: "10.254.0.2", From: "198.51.100.9:4711", Handshake: ago(time.Minute), In: 1234567, Out: 99},
		{Name: "bob", Address: "10.254.0.3"},
	}
	line, back := ParseVPN(v.Reply())
	if line != "Connected 2 of 3 users" || back == nil || back.Reason != v.Reason || len(back.Ends) != 2 || back.Ends[0] != v.Ends[0] || len(back.Was) != 3 {
		t.Errorf("%q: %+v", line, back)
	}
	s := &Status{Host: "kvm1", Time: now, Routers: []Router{{Name: "router/acme/web", Services: []Service{
		{Name: "dns", State: ServiceWell, Message: "answers", Since: ago(time.Hour)},
		{Name: "vpn/acme/staff", State: ServiceWell, Message: line, Since: ago(time.Hour), VPN: back},
	}}}}
	render := func(all bool) string {
		got := text(t, s, func(s *Status, b *strings.Builder) error { return s.Text(b, Style{Now: now, All: all}) })
		return got[strings.Index(got, "Routers"):]
	}
	equal(t, render(true), `
Routers
  router/acme/web
    dns             Well            1h   answers
    vpn/acme/staff  Connected       10m  2 of 3 users
      ann           up              9m   10.254.0.2, from 198.51.100.9:4711, last handshake 1m ago, 1.23 MB in, 99 B out
      bob           down                 10.254.0.3
                    was Error       1h   received AUTHENTICATION_FAILED notify error�[31m
                    was Connecting  2h
                    was Pending     3h
`)
	equal(t, render(false), `
Routers
  router/acme/web
    vpn/acme/staff  Connected  10m  2 of 3 users
`)
	back.Become(VPNError, "secret: it is empty", now)
	s.Routers[0].Services[1].State, s.Routers[0].Services[1].Outside = ServiceSick, true
	if got := render(false); !strings.Contains(got, "    vpn/acme/staff  Error  0s  secret: it is empty\n") {
		t.Errorf("%s", got)
	}
	for range 20 {
		back.Become(VPNConnecting, "", now)
		back.Become(VPNConnected, "", now)
	}
	if len(back.Was) != vpnRemembered {
		t.Errorf("%d former states", len(back.Was))
	}
}

func FuzzVPN(f *testing.F) {
	f.Add("Connected 2 users\n{\"state\":\"Connected\"}")
	f.Fuzz(func(t *testing.T, text string) {
		if line, v := ParseVPN(text); strings.Contains(line, "\n") || v != nil && v.State == "" {
			t.Errorf("%q: %+v", line, v)
		}
	})
}

func TestSize(t *testing.T) {
	for n, want := range map[uint64]string{0: "0 B", 999: "999 B", 1000: "1 kB", 1234567: "1.23 MB", 1 << 63: "9.22 EB"} {
		if got := size(n); got != want {
			t.Errorf("%d: %s", n, got)
		}
	}
}
