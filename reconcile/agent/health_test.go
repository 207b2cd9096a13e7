package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"weft.dev/reconcile/driver"
	"weft.dev/reconcile/resource"
	"weft.dev/reconcile/status"
)

// A mute answers, or does not.
type mute struct{ silent atomic.Bool }

func (m *mute) Ask(context.Context, string, resource.Probe) (string, error) {
	if m.silent.Load() {
		return "", errors.New("no answer")
	}
	return "answers", nil
}

// counting counts the same of everything.
type counting struct{}

func (counting) Count(_ context.Context, metered []resource.State) []driver.Count {
	var out []driver.Count
	for _, st := range metered {
		out = append(out, driver.Count{State: st, Received: driver.Traffic{Packets: 3, Bytes: 300}, Sent: driver.Traffic{Packets: 1, Bytes: 100}})
	}
	return out
}

func sickIntent() *resource.Intent {
	ns := resource.NS{Name: "a", Owner: owner("a"), Health: &resource.Health{
		Name: "router/acme/a", Every: time.Second, Probes: []resource.Probe{{Service: "dns"}},
	}}
	f := resource.NewFragment(owner("a"), []resource.Entry{{State: ns, Owner: owner("a")}})
	return resource.NewIntent("kvm1", []*resource.Fragment{f}, nil)
}

// A router that is sick is made anew by an ordinary pass, which is journalled, told and counted.
func TestSickRouterIsMadeAnew(t *testing.T) {
	w := newWorld(t)
	asker := &mute{}
	w.config.Asker = asker
	w.define(1, func() (*Compiled, error) { return &Compiled{Intent: sickIntent()}, nil })
	w.repo.push(1, false)
	w.start()
	w.applied(1)
	w.until("it is well", func(s *status.Status) bool {
		return len(s.Routers) == 1 && s.Routers[0].Services[0].State == status.ServiceWell && s.Condition(status.Healthy).Reason == "Well"
	})
	asker.silent.Store(true)
	w.until("it is made anew", func(s *status.Status) bool { return s.Routers[0].Rebuilds > 0 })
	asker.silent.Store(false)
	s := w.until("it is well again", func(s *status.Status) bool {
		return s.Condition(status.Healthy).True && s.Routers[0].Services[0].State == status.ServiceWell
	})
	if len(s.Repaired) > 0 || len(s.Drift) > 0 {
		t.Errorf("what weft did itself is drift: %v %v", s.Repaired, s.Drift)
	}
	h, err := w.client().History(context.Background(), 10)
	if err != nil || len(h) < 2 || h[0].Note != "a made anew, it is sick: dns of router/acme/a: no answer" || h[0].Count.Add != 1 || h[0].Count.Destroy != 1 {
		t.Errorf("history %+v, %v", h, err)
	}
	text := scrape(w.agent)
	for _, want := range []string{
		fmt.Sprintf(`weft_router_rebuilds_total{router="router/acme/a"} %d`, s.Routers[0].Rebuilds),
		`weft_router_check{outside="false",router="router/acme/a",service="dns"} 1`,
		`weft_condition{type="Healthy"} 1`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
}

func scrape(a *Agent) string {
	r := httptest.NewRecorder()
	a.health().ServeHTTP(r, httptest.NewRequest("GET", "/metrics", nil))
	b, _ := io.ReadAll(r.Body)
	return string(b)
}

// gather is what one collector tells.
func gather(t *testing.T, c prometheus.Collector) string {
	t.Helper()
	r := prometheus.NewRegistry()
	must(t, r.Register(c))
	w := httptest.NewRecorder()
	promhttp.HandlerFor(r, promhttp.HandlerOpts{ErrorHandling: promhttp.PanicOnError}).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	return w.Body.String()
}

// TestUsage: what is counted is told under labels that are bounded, each series once.
func TestUsage(t *testing.T) {
	for _, c := range []struct {
		st   resource.State
		want []string
	}{
		{resource.Chain{Name: "IN_x", Meter: &resource.Meter{Of: "publicip", Name: "203.0.113.9", Account: "acme", Direction: "in"}},
			[]string{`weft_publicip_bytes_total{account="acme",address="203.0.113.9",direction="in"} 300`, `weft_publicip_packets_total{account="acme",address="203.0.113.9",direction="in"} 3`}},
		{resource.Link{NS: "a", Name: "wg-x", Meter: &resource.Meter{Of: "vpn", Name: "acme/staff", Account: "acme"}},
			[]string{`weft_vpn_bytes_total{account="acme",direction="in",vpn="staff"} 300`, `weft_vpn_bytes_total{account="acme",direction="out",vpn="staff"} 100`}},
		{resource.Link{Name: "tap0", Meter: &resource.Meter{Of: "nic", Name: "acme/web-1/web"}}, // the host's end hears what the guest says
			[]string{`weft_nic_bytes_total{account="acme",direction="out",nic="web",vm="web-1"} 300`, `weft_nic_bytes_total{account="acme",direction="in",nic="web",vm="web-1"} 100`}},
		{resource.Link{Name: "tap1", Meter: &resource.Meter{Of: "nic", Name: "nonsense"}}, nil},
		{resource.Link{Name: "x", Meter: &resource.Meter{Of: "nonsense", Name: "a/b/c"}}, nil},
	} {
		w := newWorld(t)
		w.push(1, "a")
		w.start()
		w.applied(1)
		w.agent.mu.Lock()
		w.agent.meters = []resource.State{c.st, c.st}
		w.agent.mu.Unlock()
		m := &usageMetrics{agent: w.agent, counters: []driver.Counter{counting{}}}
		text := gather(t, m)
		for _, want := range c.want {
			if strings.Count(text, want+"\n") != 1 {
				t.Errorf("%v: no %s in\n%s", c.st, want, text)
			}
		}
		if c.want == nil && text != "" {
			t.Errorf("%v: %s", c.st, text)
		}
	}
}
