package health

import (
	"errors"
	"testing"
	"time"

	"weft.dev/reconcile/resource"
	"weft.dev/reconcile/status"
)

// TestSession: a session is told as it is, is news when it is another one, and what is
// outside is no reason to do anything.
func TestSession(t *testing.T) {
	now := time.Unix(1e9, 0)
	p := newPatient()
	q := question{Probe: resource.Probe{Service: "bgp/edge", Kind: resource.ProbeBGP, Want: "Established", Outside: true}, process: "r/bgpd"}
	p.take(Router{NS: "r", Processes: []resource.Process{{Name: "r/bgpd", Probes: []resource.Probe{q.Probe}}}}, now)
	tell := func(b *status.BGP, absent bool) bool {
		a := answer{words: b.Reply()}
		if b.State != status.BGPEstablished {
			a = answer{err: errors.New(b.Reply())}
		}
		if absent {
			a = answer{err: ErrAbsent}
		}
		now = now.Add(time.Second)
		return p.hear([]question{q}, []answer{a}, 0, now)
	}
	up := status.BGP{State: status.BGPEstablished, Sessions: 1, Told: 1}
	if !tell(&up, false) || tell(&up, false) {
		t.Error("the first session is no news, or twice")
	}
	up.Sessions++
	if !tell(&up, false) {
		t.Error("another session is no news")
	}
	down := status.BGP{State: "Active", Sessions: 2, Reset: "the peer does not answer"}
	for range enough {
		tell(&down, false)
	}
	s := p.services["bgp/edge"].state
	if s.State != status.ServiceSick || s.Message != "Active: the peer does not answer" || s.BGP == nil || s.BGP.State != "Active" {
		t.Errorf("of a peer that is away it is told %+v, %+v", s, s.BGP)
	}
	if c, ok := p.cure(now); ok {
		t.Errorf("something is done for it: %+v", c)
	}
	tell(&down, true)
	if s := p.services["bgp/edge"].state; s.State != status.ServiceAbsent || s.BGP != nil {
		t.Errorf("of a backup it is told %+v", s)
	}
}
