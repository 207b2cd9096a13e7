package status

import (
	"strings"
	"testing"
	"time"

	"weft.dev/reconcile/resource"
)

var now = time.Date(2027, 1, 15, 12, 0, 0, 0, time.UTC)

func ago(d time.Duration) time.Time { return now.Add(-d) }

const web = resource.Owner("network/acme/web")

// sample is a host on a bad day.
func sample() *Status {
	s := &Status{
		Host: "kvm1", Time: now, Repository: "https://git.example/net.git",
		ObservedRevision:      "main@sha1:3f2c1a9d3f2c1a9d3f2c1a9d3f2c1a9d3f2c1a9d",
		LastAttemptedRevision: "main@sha1:3f2c1a9d3f2c1a9d3f2c1a9d3f2c1a9d3f2c1a9d",
		LastAppliedRevision:   "main@sha1:77aa00ff77aa00ff77aa00ff77aa00ff77aa00ff",
		Subject:               "Give web a second address", Author: "Ann",
		Fetched: ago(12 * time.Second), Applied: ago(2 * time.Minute), Verified: ago(5 * time.Minute),
		Managed: map[resource.Kind]int{resource.KindNS: 13, resource.KindFile: 39},
		Owners: []Owner{
			{Name: "host/kvm1", State: OwnerReady, Since: ago(3 * time.Hour)},
			{Name: "network/acme/db", State: OwnerHeld, Since: ago(40 * time.Minute), Message: "Invalid: networks/db.yaml:3:9: vni 7001 is used twice"},
			{Name: web, State: OwnerFailing, Since: ago(2 * time.Minute), Retry: now.Add(4 * time.Second), Message: "net.link web/eth0: no buffer space"},
			{Name: "network/globex/x", State: OwnerSuspended, Since: ago(26 * time.Hour), Message: "Bob moves it"},
		},
		Drift: []Drift{{
			Owner: web, ID: resource.ID{Kind: resource.KindFile, Name: "routers/web/hosts"}, Since: ago(7 * time.Second),
			What: []string{"content has:   10.0.0.9 evil\x1b[31m", "content lacks: 10.0.0.2 b"},
		}},
		Diagnostics: []string{"networks/db.yaml:3:9: error: vni 7001 is used twice"},
	}
	s.Conditions = append(s.Conditions,
		Condition{Type: Ready, Reason: "Failing", Message: "1 network not as it should be: net.link web/eth0: no buffer space", Since: ago(2 * time.Minute)},
		Condition{Type: Reconciling, True: true, Reason: "Retrying", Message: "tried again at 12:00:04", Since: ago(2 * time.Minute)},
		Condition{Type: Stalled, True: true, Reason: "Invalid", Message: "1 error in the tree; what they are about is left as it is", Since: ago(40 * time.Minute)},
		Condition{Type: Drifted, True: true, Reason: "Drift", Message: "1 resource changed by another hand: file routers/web/hosts", Since: ago(7 * time.Second)},
		Condition{Type: Suspended, True: true, Reason: "Suspended", Message: "network/globex/x", Since: ago(26 * time.Hour)},
	)
	return s
}

func text(t *testing.T, s *Status, f func(*Status, *strings.Builder) error) string {
	t.Helper()
	var b strings.Builder
	if err := f(s, &b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func equal(t *testing.T, got, want string) {
	t.Helper()
	want = strings.TrimPrefix(want, "\n")
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestText(t *testing.T) {
	got := text(t, sample(), func(s *Status, b *strings.Builder) error { return s.Text(b, Style{}) })
	equal(t, got, `
host/kvm1: Not ready for 2m

  Repository  https://git.example/net.git, answered 12s ago
  Revision    main@3f2c1a9d3f2c "Give web a second address" by Ann
  Last whole  main@77aa00ff77aa
  Changed     2m ago; all was right 5m ago

  Not ready    Failing    2m   1 network not as it should be: net.link web/eth0: no buffer space
  Reconciling  Retrying   2m   tried again at 12:00:04
  Stalled      Invalid    40m  1 error in the tree; what they are about is left as it is
  Drifted      Drift      7s   1 resource changed by another hand: file routers/web/hosts
  Suspended    Suspended  26h  network/globex/x

  Networks    1 failing, 1 held, 1 suspended; 52 resources here

  network/acme/db   Held       40m  Invalid: networks/db.yaml:3:9: vni 7001 is used twice
  network/acme/web  Failing    2m   net.link web/eth0: no buffer space; again in 4s
  network/globex/x  Suspended  26h  Bob moves it

Drift
  network/acme/web
    file routers/web/hosts  since 7s
      content has:   10.0.0.9 evil�[31m
      content lacks: 10.0.0.2 b

In the tree
  networks/db.yaml:3:9: error: vni 7001 is used twice
`)
}

// What is too long for the terminal goes on below itself.
func TestNarrowText(t *testing.T) {
	got := text(t, sample(), func(s *Status, b *strings.Builder) error { return s.Text(b, Style{Width: 64}) })
	for _, want := range []string{`
  Not ready    Failing    2m   1 network not as it should be:
                               net.link web/eth0: no buffer
                               space
`, `
  network/acme/db   Held       40m
      Invalid: networks/db.yaml:3:9: vni 7001 is used twice
  network/acme/web  Failing    2m
      net.link web/eth0: no buffer space; again in 4s
`} {
		if !strings.Contains(got, want) {
			t.Errorf("there is no%sin\n%s", want, got)
		}
	}
}

func TestTextOfAGoodDay(t *testing.T) {
	s := &Status{
		Host: "kvm1", Time: now, Repository: "/srv/net.git", Fetched: now, Applied: ago(3 * time.Hour), Verified: ago(12 * time.Second),
		ObservedRevision: "main@sha1:3f2c1a9d3f2c1a9d", LastAttemptedRevision: "main@sha1:3f2c1a9d3f2c1a9d", LastAppliedRevision: "main@sha1:3f2c1a9d3f2c1a9d",
		Owners: []Owner{
			{Name: "host/kvm1", State: OwnerReady, Since: ago(time.Hour)},
			{Name: "network/acme/idle", State: OwnerReady, Lifecycle: Allocated, Since: ago(time.Minute)},
			{Name: "network/acme/old", State: OwnerWaiting, Lifecycle: Shutdown, Since: ago(time.Minute), Message: "shutdown, after 10m"},
			{Name: web, State: OwnerReady, Lifecycle: Implemented, Since: ago(time.Hour), Resources: 40, Guru: "G"},
		},
		Managed: map[resource.Kind]int{resource.KindNS: 40},
	}
	s.Set(Condition{Type: Ready, True: true, Reason: "Converged"}, ago(3*time.Hour))
	s.Set(Condition{Type: Stalled}, ago(3*time.Hour))
	got := text(t, s, func(s *Status, b *strings.Builder) error { return s.Text(b, Style{}) })
	equal(t, got, `
host/kvm1: Ready for 3h

  Repository  /srv/net.git, answered now
  Revision    main@3f2c1a9d3f2c
  Changed     3h ago; all was right 12s ago

  Networks    2 ready, 1 waiting; 40 resources here
              1 allocated, 1 implemented, 1 shutdown

  network/acme/old  Waiting  Shutdown  1m  shutdown, after 10m
`)
	got = text(t, s, func(s *Status, b *strings.Builder) error { return s.Text(b, Style{All: true}) })
	if want := "  network/acme/web   Ready    Implemented  1h  designed by G\n"; !strings.Contains(got, want) {
		t.Errorf("all:\n%s", got)
	}
}

func TestDriftText(t *testing.T) {
	s := sample()
	s.Repaired = []Drift{{Owner: web, ID: resource.ID{Kind: resource.KindProcess, Name: "web/dnsmasq"}, What: []string{"it is gone"}, Since: ago(time.Minute), Healed: ago(time.Minute)}}
	got := text(t, s, func(s *Status, b *strings.Builder) error { return s.DriftText(b, Style{}) })
	equal(t, got, `
Drift
  network/acme/web
    file routers/web/hosts  since 7s
      content has:   10.0.0.9 evil�[31m
      content lacks: 10.0.0.2 b

Repaired
  network/acme/web
    process web/dnsmasq  repaired 1m ago
      it is gone
`)
	s.Drift, s.Repaired = nil, nil
	// Who cannot see does not say that all is well.
	got = text(t, s, func(s *Status, b *strings.Builder) error { return s.DriftText(b, Style{}) })
	equal(t, got, `
No drift was seen, but the host is not ready: 1 network not as it should be: net.link web/eth0: no buffer space
`)
	s.Set(Condition{Type: Ready, True: true}, now)
	got = text(t, s, func(s *Status, b *strings.Builder) error { return s.DriftText(b, Style{}) })
	equal(t, got, `
No drift: everything is as main@77aa00ff77aa says.
`)
}

func TestLine(t *testing.T) {
	s := &Status{LastAppliedRevision: "main@sha1:77aa00ff77aa00"}
	s.Set(Condition{Type: Ready, True: true}, now)
	if got := s.Line(); got != "Ready (main@77aa00ff77aa)" {
		t.Error(got)
	}
	s.Set(Condition{Type: Suspended, True: true, Reason: "Suspended", Message: "network/acme/web"}, now)
	if got := s.Line(); got != "Ready (main@77aa00ff77aa), suspended: network/acme/web" || s.HostSuspended() {
		t.Error(got)
	}
	s.Set(Condition{Type: Suspended, True: true, Reason: HostSuspended, Message: "nothing is changed on this host"}, now)
	if !s.HostSuspended() {
		t.Error("the host is not suspended")
	}
	s.Set(Condition{Type: Suspended, Reason: HostSuspended}, now)
	if s.HostSuspended() {
		t.Error("the host is suspended")
	}
	s.Set(Condition{Type: Reconciling, True: true, Reason: ReconcilingWaits, Message: "another weft changes this host"}, now)
	if got := s.Line(); got != "Ready (main@77aa00ff77aa), waiting: another weft changes this host" {
		t.Error(got) // who asked for a pass did not get it
	}
}
