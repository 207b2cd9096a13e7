package agent

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"weft.dev/reconcile/driver"
	"weft.dev/reconcile/resource"
	"weft.dev/reconcile/status"
)

// routerMetrics tells how routers are, at the moment of asking.
type routerMetrics struct{ agent *Agent }

var (
	descCheck = prometheus.NewDesc("weft_router_check", "1 while a service of a router answers, 0 while it is sick; a service that was not asked yet or is not here has none.",
		[]string{"router", "service", "outside"}, nil)
	descCheckTime = prometheus.NewDesc("weft_router_check_duration_seconds", "How long the last answer of a service took.", []string{"router", "service", "outside"}, nil)
	descRestarts  = prometheus.NewDesc("weft_router_restarts_total", "Processes of a router that were started anew because a service was sick.", []string{"router", "service"}, nil)
	descRebuilds  = prometheus.NewDesc("weft_router_rebuilds_total", "How often a router was made anew because a service was sick.", []string{"router"}, nil)
)

// told are the routers that metrics tell of, each name once: a metric that is there twice
// would be the end of all of them.
func (a *Agent) told() []status.Router {
	return slices.CompactFunc(a.checker.Routers(), func(x, y status.Router) bool { return x.Name == y.Name })
}

// Describe implements prometheus.Collector.
func (*routerMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descCheck, descCheckTime, descRestarts, descRebuilds} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m *routerMetrics) Collect(ch chan<- prometheus.Metric) {
	for _, r := range m.agent.told() {
		ch <- prometheus.MustNewConstMetric(descRebuilds, prometheus.CounterValue, float64(r.Rebuilds), r.Name)
		for _, s := range r.Services {
			outside := "false"
			if s.Outside {
				outside = "true"
			}
			if !s.Outside {
				ch <- prometheus.MustNewConstMetric(descRestarts, prometheus.CounterValue, float64(s.Restarts), r.Name, s.Name)
			}
			if s.State != status.ServiceWell && s.State != status.ServiceSick {
				continue
			}
			value := 0.0
			if s.State == status.ServiceWell {
				value = 1
				ch <- prometheus.MustNewConstMetric(descCheckTime, prometheus.GaugeValue, s.Took.Seconds(), r.Name, s.Name, outside)
			}
			ch <- prometheus.MustNewConstMetric(descCheck, prometheus.GaugeValue, value, r.Name, s.Name, outside)
		}
	}
}

// usageMetrics tells what was sent and received, as the kernel counts it at the
// moment of asking.
type usageMetrics struct {
	agent    *Agent
	counters []driver.Counter
	mu       sync.Mutex // one reads at a time
}

// meterDescs are the two counters of each sort of meter.
var meterDescs = describe()

func describe() map[string][2]*prometheus.Desc {
	out := map[string][2]*prometheus.Desc{}
	for of, words := range map[string][2]string{
		"publicip": {"account address direction", "a public address, as its router let it pass"},
		"vpn":      {"account vpn direction", "a VPN, without what carries it"},
		"nic":      {"account vm nic direction", "a NIC with a port on this host"},
	} {
		labels := strings.Fields(words[0])
		out[of] = [2]*prometheus.Desc{
			prometheus.NewDesc("weft_"+of+"_bytes_total", "Bytes of "+words[1]+"; \"in\" is towards the guests.", labels, nil),
			prometheus.NewDesc("weft_"+of+"_packets_total", "Packets of "+words[1]+"; \"in\" is towards the guests.", labels, nil),
		}
	}
	return out
}

// Describe implements prometheus.Collector.
func (*usageMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range meterDescs {
		ch <- d[0]
		ch <- d[1]
	}
}

// usageTime bounds one reading of all counters.
const usageTime = 10 * time.Second

// Collect implements prometheus.Collector.
func (m *usageMetrics) Collect(ch chan<- prometheus.Metric) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.agent.mu.Lock()
	meters, nics := m.agent.meters, m.agent.status.NICs
	m.agent.mu.Unlock()
	meters = meters[:len(meters):len(meters)]
	for _, n := range nics {
		if len(n.Ports) > 0 {
			meters = append(meters, resource.Link{Name: n.Ports[0], Meter: &resource.Meter{Of: "nic", Name: n.ID}})
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), usageTime)
	defer cancel()
	told := map[string]bool{}
	for _, c := range m.counters {
		for _, x := range c.Count(ctx, meters) {
			tell(ch, x, told)
		}
	}
}

// tell hands on what one meter counted, once.
func tell(ch chan<- prometheus.Metric, x driver.Count, told map[string]bool) {
	one := func(m resource.Meter, t driver.Traffic) {
		labels := labelsOf(m)
		key := m.Of + " " + strings.Join(labels, " ")
		d, ok := meterDescs[m.Of]
		if !ok || told[key] || len(labels) == 0 {
			return
		}
		told[key] = true
		ch <- prometheus.MustNewConstMetric(d[0], prometheus.CounterValue, float64(t.Bytes), labels...)
		ch <- prometheus.MustNewConstMetric(d[1], prometheus.CounterValue, float64(t.Packets), labels...)
	}
	switch st := x.State.(type) {
	case resource.Chain:
		one(*st.Meter, x.Received)
	case resource.Link:
		in, out := *st.Meter, *st.Meter
		in.Direction, out.Direction = "in", "out"
		if st.Meter.Of == "nic" {
			// The host's end receives what the guest sends.
			x.Received, x.Sent = x.Sent, x.Received
		}
		one(in, x.Received)
		one(out, x.Sent)
	}
}

// labelsOf are the values of a meter's labels; none where its name is not as it has
// to be.
func labelsOf(m resource.Meter) []string {
	switch parts := strings.Split(m.Name, "/"); {
	case m.Of == "nic" && len(parts) == 3:
		return append(parts, m.Direction)
	case m.Of == "vpn" || m.Of == "publicip":
		return []string{m.Account, parts[len(parts)-1], m.Direction}
	}
	return nil
}
