package agent

import (
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"weft.dev/reconcile/status"
)

// vpnMetrics tells how VPNs are, as their routers said last.
type vpnMetrics struct{ agent *Agent }

var (
	descVPN      = prometheus.NewDesc("weft_vpn_state", "1 of the state that a VPN is in, 0 of the others; none where it is not here.", []string{"account", "vpn", "state"}, nil)
	descVPNSince = prometheus.NewDesc("weft_vpn_state_since_seconds", "Since when a VPN is in its state, as Unix time.", []string{"account", "vpn"}, nil)
	descVPNUser  = prometheus.NewDesc("weft_vpn_user_up", "1 while a user of a VPN, or a network of its peer, is there.", []string{"account", "vpn", "user"}, nil)
	descVPNShake = prometheus.NewDesc("weft_vpn_user_handshake_seconds", "When WireGuard's last handshake with a user was, as Unix time.", []string{"account", "vpn", "user"}, nil)
	descVPNBytes = prometheus.NewDesc("weft_vpn_user_bytes_total", "Bytes of a user of WireGuard, since its server began; \"in\" is towards the guests.", []string{"account", "vpn", "user", "direction"}, nil)
)

// Describe implements prometheus.Collector.
func (*vpnMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descVPN, descVPNSince, descVPNUser, descVPNShake, descVPNBytes} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m *vpnMetrics) Collect(ch chan<- prometheus.Metric) {
	told := map[string]bool{}
	for _, r := range m.agent.checker.Routers() {
		for _, s := range r.Services {
			// "vpn/ACCOUNT/NAME"
			if parts := strings.Split(s.Name, "/"); s.VPN != nil && len(parts) == 3 && !told[s.Name] {
				told[s.Name] = true
				tellVPN(ch, s.VPN, parts[1], parts[2])
			}
		}
	}
}

func tellVPN(ch chan<- prometheus.Metric, v *status.VPN, account, name string) {
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, append([]string{account, name}, labels...)...)
	}
	for _, s := range status.VPNStates() {
		gauge(descVPN, one(v.State == s), s)
	}
	gauge(descVPNSince, unixTime(v.Since))
	told := map[string]bool{}
	for _, e := range v.Ends {
		if told[e.Name] {
			continue // a user may be there twice
		}
		told[e.Name] = true
		gauge(descVPNUser, one(e.Up), e.Name)
		if e.Handshake.IsZero() {
			continue
		}
		gauge(descVPNShake, unixTime(e.Handshake), e.Name)
		for direction, n := range map[string]uint64{"in": e.In, "out": e.Out} {
			ch <- prometheus.MustNewConstMetric(descVPNBytes, prometheus.CounterValue, float64(n), account, name, e.Name, direction)
		}
	}
}

func one(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

func unixTime(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }
