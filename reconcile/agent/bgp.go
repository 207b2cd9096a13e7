package agent

import (
	"github.com/prometheus/client_golang/prometheus"

	"weft.dev/reconcile/status"
)

// bgpMetrics tells how the BGP sessions of routers are, as they were last asked for.
type bgpMetrics struct{ agent *Agent }

var bgpLabels = []string{"router", "service"}

var (
	descSession  = prometheus.NewDesc("weft_bgp_session", "1 while a router's session with a BGP peer is established, 0 while it is not.", bgpLabels, nil)
	descBegan    = prometheus.NewDesc("weft_bgp_session_since_seconds", "Since when a session with a BGP peer is established, as Unix time.", bgpLabels, nil)
	descSessions = prometheus.NewDesc("weft_bgp_sessions_total", "Sessions with a BGP peer since bgpd began.", bgpLabels, nil)
	descTold     = prometheus.NewDesc("weft_bgp_networks_told", "Networks that a BGP peer is told of.", bgpLabels, nil)
)

// Describe implements prometheus.Collector.
func (*bgpMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descSession, descBegan, descSessions, descTold} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m *bgpMetrics) Collect(ch chan<- prometheus.Metric) {
	for _, r := range m.agent.told() {
		for _, s := range r.Services {
			b := s.BGP
			if b == nil {
				continue
			}
			gauge := func(d *prometheus.Desc, value float64) {
				ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, r.Name, s.Name)
			}
			up := 0.0
			if b.State == status.BGPEstablished {
				up = 1
				gauge(descBegan, float64(b.Since.Unix()))
			}
			gauge(descSession, up)
			gauge(descTold, float64(b.Told))
			ch <- prometheus.MustNewConstMetric(descSessions, prometheus.CounterValue, float64(b.Sessions), r.Name, s.Name)
		}
	}
}
