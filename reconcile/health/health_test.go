package health

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"weft.dev/reconcile/resource"
	"weft.dev/reconcile/status"
)

// A liar answers as it is told to, by namespace and service.
type liar struct {
	mu    sync.Mutex
	lies  map[string]func(ctx context.Context) error
	asked map[string]int
}

func (l *liar) tell(ns, service string, f func(ctx context.Context) error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lies[ns+" "+service] = f
}

func (l *liar) Ask(ctx context.Context, ns string, p resource.Probe) (string, error) {
	l.mu.Lock()
	l.asked[ns]++
	f := l.lies[ns+" "+p.Service]
	l.mu.Unlock()
	if f == nil {
		return "answers", nil
	}
	return "", f(ctx)
}

func silent(ctx context.Context) error { <-ctx.Done(); return errors.New("no answer") }

// world is a checker with a doctor who notes the cures; f of each is carried out.
type world struct {
	*liar
	c     *Checker
	noted []Cure
	heals func(Cure)
}

// heal is what is done in every cure from now on.
func (w *world) heal(f func(Cure)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.heals = f
}

// cures are those so far.
func (w *world) cures() []Cure {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.noted)
}

func (w *world) count(ns string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.asked[ns]
}

// run calls f in a bubble where time passes as fast as everybody sleeps.
func run(t *testing.T, routers []Router, f func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{liar: &liar{lies: map[string]func(context.Context) error{}, asked: map[string]int{}}, heals: func(Cure) {}}
		w.c = New(Config{Asker: w})
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() { w.c.Run(ctx) })
		all.Go(func() {
			for {
				select {
				case cure := <-w.c.Cures():
					w.c.Treat(cure, func() {
						w.mu.Lock()
						w.noted = append(w.noted, cure)
						f := w.heals
						w.mu.Unlock()
						f(cure)
					})
				case <-ctx.Done():
					return
				}
			}
		})
		w.c.Watch(routers, nil)
		f(w)
		cancel()
		all.Wait()
	})
}

func router(ns string) Router {
	return Router{
		Health: resource.Health{Name: "router/acme/" + ns, Every: 30 * time.Second, Probes: []resource.Probe{{Service: "gateway", Outside: true}}},
		NS:     ns, Owner: resource.Owner("network/acme/" + ns),
		Processes: []resource.Process{{Name: ns + "/dnsmasq", NS: ns, Probes: []resource.Probe{{Service: "dns"}, {Service: "dhcp"}}}},
	}
}

// wait lets time pass.
func wait(d time.Duration) {
	time.Sleep(d) // of the bubble: nobody waits
	synctest.Wait()
}

func (w *world) state(t *testing.T, ns, service string) status.Service {
	t.Helper()
	for _, r := range w.c.Routers() {
		for _, s := range r.Services {
			if r.NS == ns && s.Name == service {
				return s
			}
		}
	}
	t.Fatalf("nothing is known of %s in %s", service, ns)
	return status.Service{}
}

func ids(cures []Cure) string {
	out := ""
	for _, c := range cures {
		out += c.ID.String() + "; "
	}
	return out
}

// A service that is silent is started anew within a minute, which helps.
func TestRestartHelps(t *testing.T) {
	run(t, []Router{router("web")}, func(w *world) {
		w.heal(func(Cure) { w.tell("web", "dns", nil) })
		wait(time.Minute)
		if s := w.state(t, "web", "dns"); s.State != status.ServiceWell || len(w.cures()) != 0 {
			t.Fatalf("dns is %+v, cures %v", s, w.cures())
		}
		w.tell("web", "dns", silent)
		wait(time.Minute + 30*time.Second)
		if got := ids(w.cures()); got != "process web/dnsmasq; " {
			t.Fatalf("cures: %s", got)
		}
		if s := w.state(t, "web", "dns"); s.State != status.ServiceWell || s.Restarts != 1 {
			t.Errorf("dns is %+v", s)
		}
		wait(20 * time.Minute)
		w.tell("web", "dns", silent)
		wait(90 * time.Second)
		if got := ids(w.cures()); got != "process web/dnsmasq; process web/dnsmasq; " {
			t.Errorf("long after, it is treated as it was the first time: %s", got)
		}
	})
}

// What a restart does not help is made anew; what that does not help either, ever more rarely.
func TestLadder(t *testing.T) {
	run(t, []Router{router("web")}, func(w *world) {
		w.tell("web", "dhcp", func(context.Context) error { return errors.New("refused") })
		wait(2 * time.Minute)
		if got := ids(w.cures()[:2]); got != "process web/dnsmasq; net.ns web; " {
			t.Fatalf("cures: %s", got)
		}
		wait(2 * time.Hour)
		if n := len(w.cures()); n < 4 || n > 12 {
			t.Errorf("%d cures in two hours", n)
		}
		r := w.c.Routers()[0]
		if r.Rebuilds == 0 || r.Next.IsZero() || len(r.Sick(false)) != 1 {
			t.Errorf("told: %+v", r)
		}
		w.tell("web", "dhcp", nil)
		wait(20 * time.Minute)
		n := len(w.cures())
		w.tell("web", "dhcp", silent)
		wait(90 * time.Second)
		if got := w.cures()[n:]; len(got) == 0 || got[0].Rebuilds() {
			t.Errorf("after it was well for long: %v", got)
		}
	})
}

// A failure now and then is no sickness, nor is one that nobody here can heal.
func TestNoFalseAlarm(t *testing.T) {
	leave := router("held")
	leave.Leave = "suspended"
	run(t, []Router{router("web"), leave}, func(w *world) {
		n := 0
		w.tell("web", "dns", func(context.Context) error {
			if n++; n%3 == 0 {
				return nil
			}
			return errors.New("no answer")
		})
		w.tell("web", "gateway", silent)
		w.tell("held", "dns", silent)
		wait(30 * time.Minute)
		if len(w.cures()) != 0 {
			t.Fatalf("cures: %s", ids(w.cures()))
		}
		if s := w.state(t, "web", "gateway"); s.State != status.ServiceSick || !s.Outside {
			t.Errorf("the gateway is %+v", s)
		}
		if s := w.state(t, "held", "dns"); s.State != status.ServiceSick {
			t.Errorf("the suspended one is not checked: %+v", s)
		}
		st := status.Status{Routers: w.c.Routers()}
		if c := st.Health(); c.True || c.Reason != "Sick" {
			t.Errorf("condition %+v", c)
		}
	})
}

// What was offered before somebody said that nothing may be done is not done.
func TestTooLate(t *testing.T) {
	run(t, []Router{router("web")}, func(w *world) {
		cure := Cure{NS: "web", Service: "dns", ID: resource.ID{Kind: resource.KindProcess, Name: "web/dnsmasq"}}
		act := func() { t.Error("it is done") }
		held := router("web")
		held.Leave = "suspended"
		w.c.Watch([]Router{held}, nil)
		held.Leave = ""
		done := w.c.Treat(cure, act)
		w.c.Watch([]Router{held}, map[string]bool{"web/dnsmasq": true})
		done = w.c.Treat(cure, act) || done
		w.c.Watch(nil, nil)
		if done = w.c.Treat(cure, act) || done; done {
			t.Error("it was treated")
		}
	})
}

// A process that cannot be started is the engine's, and no reason to make anything anew.
func TestDown(t *testing.T) {
	run(t, []Router{router("web")}, func(w *world) {
		w.c.Watch([]Router{router("web")}, map[string]bool{"web/dnsmasq": true})
		w.tell("web", "dns", silent)
		wait(time.Hour)
		if got := w.cures(); len(got) > 0 || w.state(t, "web", "dns").State != status.ServiceSick {
			t.Errorf("cures: %s", ids(got))
		}
	})
}

// Where something of a router cannot be made, who is sick is started anew, again and again,
// and the router is left as it is; and none waits behind a process that cannot be started.
func TestKeep(t *testing.T) {
	kept := router("web")
	kept.Keep = "process web/ipsec cannot be made: no key"
	kept.Processes = append(kept.Processes, resource.Process{Name: "web/ipsec", NS: "web", Probes: []resource.Probe{{Service: "ipsec"}}})
	run(t, []Router{kept}, func(w *world) {
		w.c.Watch([]Router{kept}, map[string]bool{"web/ipsec": true})
		w.tell("web", "ipsec", silent)
		wait(10 * time.Minute)
		if got := w.cures(); len(got) > 0 {
			t.Fatalf("for what cannot be started: %s", ids(got))
		}
		w.tell("web", "dns", silent)
		wait(10 * time.Minute)
		if got := w.cures(); len(got) < 2 || slices.ContainsFunc(got, Cure.Rebuilds) || slices.ContainsFunc(got, func(c Cure) bool { return c.Service != "dns" }) {
			t.Errorf("cures: %s", ids(got))
		}
		rebuild := Cure{NS: "web", Service: "dns", ID: resource.ID{Kind: resource.KindNS, Name: "web"}}
		if w.c.Treat(rebuild, func() {}) {
			t.Error("it was made anew")
		}
	})
}

// What cannot be started says nothing of the host, and is no part of a router's history.
func TestDownIsNoSign(t *testing.T) {
	var routers []Router
	down := map[string]bool{}
	for _, name := range []string{"a", "b", "c"} {
		r := router(name)
		r.Keep = "there is no key"
		r.Processes = append(r.Processes, resource.Process{Name: name + "/ipsec", NS: name, Probes: []resource.Probe{{Service: "ipsec"}}})
		routers, down[name+"/ipsec"] = append(routers, r), true
	}
	run(t, routers, func(w *world) {
		w.c.Watch(routers, down)
		for _, r := range routers {
			w.tell(r.NS, "ipsec", silent)
		}
		w.tell("a", "dns", silent)
		w.heal(func(c Cure) { w.tell(c.NS, c.Service, nil) })
		wait(2 * time.Minute)
		if got := ids(w.cures()); got != "process a/dnsmasq; " {
			t.Fatalf("cures: %s", got)
		}
		wait(24 * time.Hour)
		for i := range routers {
			routers[i].Keep = ""
		}
		w.c.Watch(routers, nil)
		for _, r := range routers {
			w.tell(r.NS, "ipsec", nil)
		}
		wait(2 * time.Minute)
		w.tell("a", "dns", silent)
		wait(2 * time.Minute)
		if got := ids(w.cures()); got != "process a/dnsmasq; process a/dnsmasq; " {
			t.Errorf("cures: %s", got)
		}
	})
}

// Who is not here is not sick.
func TestAbsent(t *testing.T) {
	run(t, []Router{router("web")}, func(w *world) {
		w.tell("web", "dns", func(context.Context) error { return fmt.Errorf("%w: a standby", ErrAbsent) })
		wait(10 * time.Minute)
		if s := w.state(t, "web", "dns"); s.State != status.ServiceAbsent || len(w.cures()) != 0 {
			t.Errorf("%+v, cures %v", s, w.cures())
		}
		st := status.Status{Routers: w.c.Routers()}
		if c := st.Health(); !c.True {
			t.Errorf("condition %+v", c)
		}
	})
}

// One that flaps is made anew instead of being started again and again.
func TestFlapping(t *testing.T) {
	run(t, []Router{router("web")}, func(w *world) {
		w.tell("web", "dns", silent)
		w.heal(func(Cure) { w.tell("web", "dns", nil) })
		wait(2 * time.Minute)
		w.tell("web", "dns", silent)
		wait(2 * time.Minute)
		if got := ids(w.cures()); got != "process web/dnsmasq; net.ns web; " {
			t.Errorf("cures: %s", got)
		}
	})
}

// Where most of a host's routers are sick at once, it is the host.
func TestHostIsSick(t *testing.T) {
	var routers []Router
	for i := range 10 {
		routers = append(routers, router(fmt.Sprint("r", i)))
	}
	run(t, routers, func(w *world) {
		for i := range 6 {
			w.tell(fmt.Sprint("r", i), "dns", silent)
		}
		w.c.mu.Lock() // all at once: nobody is treated while others are still believed
		for _, x := range w.c.routers {
			x.until = time.Now().Add(3 * time.Minute)
		}
		w.c.mu.Unlock()
		wait(20 * time.Minute)
		if len(w.cures()) != 0 {
			t.Fatalf("cures: %s", ids(w.cures()))
		}
		w.tell("r0", "dns", nil)
		wait(2 * time.Minute)
		if len(w.cures()) == 0 {
			t.Error("nobody is treated though most are well")
		}
	})
}

// Of few routers all have to be sick for that, and of two nobody can tell.
func TestSmallHostIsSick(t *testing.T) {
	for _, c := range []struct {
		all, sick int
		treated   bool
	}{{1, 1, true}, {2, 2, true}, {3, 3, false}, {3, 2, true}, {5, 5, false}, {5, 4, true}} {
		var routers []Router
		for i := range c.all {
			routers = append(routers, router(fmt.Sprint("r", i)))
		}
		run(t, routers, func(w *world) {
			w.c.mu.Lock()
			for _, x := range w.c.routers {
				x.until = time.Now().Add(3 * time.Minute)
			}
			w.c.mu.Unlock()
			for i := range c.sick {
				w.tell(fmt.Sprint("r", i), "dns", silent)
			}
			wait(20 * time.Minute)
			if got := len(w.cures()) > 0; got != c.treated {
				t.Errorf("%d of %d are sick: treated %v, want %v", c.sick, c.all, got, c.treated)
			}
		})
	}
}

// One process that serves many is started anew once, and no router for its sake.
func TestShared(t *testing.T) {
	var routers []Router
	for i := range 3 {
		r := router(fmt.Sprint("r", i))
		r.Probes = append(r.Probes, resource.Probe{Service: "metadata", Process: "metadata"})
		routers = append(routers, r)
	}
	run(t, routers, func(w *world) {
		for i := range 3 {
			w.tell(fmt.Sprint("r", i), "metadata", silent)
		}
		w.heal(func(Cure) {
			for i := range 3 {
				w.tell(fmt.Sprint("r", i), "metadata", nil)
			}
		})
		wait(3 * time.Minute)
		if got := ids(w.cures()); got != "process metadata; " {
			t.Errorf("cures: %s", got)
		}
	})
}

// The two of a pair are never made anew in the same minute.
func TestTurns(t *testing.T) {
	var pair []Router
	for i := range 2 {
		r := router(fmt.Sprint("r", i))
		r.Turn, r.Turns = i, 2
		pair = append(pair, r)
	}
	run(t, pair, func(w *world) {
		w.tell("r0", "dns", silent)
		w.tell("r1", "dns", silent)
		at := map[int64]string{}
		w.heal(func(c Cure) {
			if !c.Rebuilds() {
				return
			}
			w.mu.Lock()
			defer w.mu.Unlock()
			slot := time.Now().UnixNano() / int64(turnTime)
			if other := at[slot]; other != "" && other != c.NS {
				t.Errorf("%s and %s are made anew in the same minute", other, c.NS)
			}
			at[slot] = c.NS
		})
		wait(time.Hour)
		if len(at) < 2 {
			t.Errorf("made anew: %v", at)
		}
	})
}

// What is not watched any more is not asked; what comes is, within its interval.
func TestWatch(t *testing.T) {
	run(t, []Router{router("web"), router("app")}, func(w *world) {
		wait(time.Minute)
		w.c.Watch([]Router{router("web")}, nil)
		before := w.count("app")
		wait(5 * time.Minute)
		if w.count("app") != before || w.count("web") < 30 {
			t.Errorf("web was asked %d times, app %d, before %d", w.count("web"), w.count("app"), before)
		}
		r := router("web")
		r.Every = 0
		r.Processes = nil
		w.c.Watch([]Router{r}, nil)
		wait(time.Minute)
		if got := w.c.Routers(); len(got) != 1 || len(got[0].Services) != 1 {
			t.Errorf("told: %+v", got)
		}
	})
}

// Another interval holds at once, and not after the one before.
func TestInterval(t *testing.T) {
	slow, quick := router("web"), router("web")
	slow.Every, quick.Every = time.Hour, 10*time.Second
	run(t, []Router{slow}, func(w *world) {
		wait(time.Minute)
		before := w.count("web")
		w.c.Watch([]Router{quick}, nil)
		w.c.Watch([]Router{quick}, nil)
		wait(time.Minute)
		if got := w.count("web") - before; before != 3 || got < 15 || got > 21 {
			t.Errorf("asked %d times in an hour's minute, %d in the next", before, got)
		}
	})
}

// Who asks late because the machine is busy says nothing of who is slow.
func TestLate(t *testing.T) {
	p := newPatient()
	p.take(router("web"), time.Now())
	now := time.Now()
	for range 9 {
		p.hear(p.router.questions(), []answer{{}, {err: errors.New("slow")}, {}}, 2*time.Second, now)
	}
	if _, ok := p.cure(now); ok || p.sick() {
		t.Error("it is sick because we were late")
	}
}

func BenchmarkRounds200(b *testing.B) {
	w := &liar{lies: map[string]func(context.Context) error{}, asked: map[string]int{}}
	c := New(Config{Asker: w})
	var all []*watched
	var routers []Router
	for i := range 200 {
		routers = append(routers, router(fmt.Sprint("r", i)))
	}
	c.Watch(routers, nil)
	for _, x := range c.routers {
		all = append(all, x)
	}
	for b.Loop() {
		for _, x := range all {
			c.round(b.Context(), x, 0)
		}
	}
}
