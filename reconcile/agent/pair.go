package agent

import (
	"maps"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"weft.dev/reconcile/resource"
	"weft.dev/reconcile/status"
)

// pairOf is the namespace of a router that is one of a pair, of which st tells, or "".
func pairOf(st resource.State) string {
	if p, ok := st.(resource.Process); ok && p.NS != "" && p.Name == p.NS+"/keepalived" {
		return p.NS
	}
	return ""
}

// roles is what a router of a pair became. a.mu is held.
func (a *Agent) roles(ns string) []status.Role {
	if _, ok := a.pairs[ns]; !ok || a.Roles == nil {
		return nil
	}
	return a.Roles(ns)
}

// unchecked lists the routers of pairs that are not among those whose services are
// asked. a.mu is held.
func (a *Agent) unchecked(checked []status.Router) []status.Router {
	var out []status.Router
	for _, ns := range slices.Sorted(maps.Keys(a.pairs)) {
		if slices.ContainsFunc(checked, func(r status.Router) bool { return r.NS == ns }) {
			continue
		}
		owner := a.pairs[ns]
		_, name, _ := strings.Cut(string(owner), "/")
		out = append(out, status.Router{Name: "router/" + name, Owner: owner, NS: ns, Roles: a.roles(ns)})
	}
	return out
}

// pairMetrics tells what the routers of pairs are, at the moment of asking.
type pairMetrics struct{ agent *Agent }

var (
	descPrimary = prometheus.NewDesc("weft_router_primary", "1 where a router of a redundant pair is the primary, 0 where it is not.", []string{"router"}, nil)
	descRole    = prometheus.NewDesc("weft_router_role_since_seconds", "Since when a router of a redundant pair is what it is, as Unix time.", []string{"router", "role"}, nil)
)

// Describe implements prometheus.Collector.
func (*pairMetrics) Describe(ch chan<- *prometheus.Desc) {
	ch <- descPrimary
	ch <- descRole
}

// Collect implements prometheus.Collector.
func (m *pairMetrics) Collect(ch chan<- prometheus.Metric) {
	m.agent.mu.Lock()
	list := m.agent.routersLocked()
	m.agent.mu.Unlock()
	told := map[string]bool{}
	for _, r := range list {
		role := r.Role()
		if role.State == "" || told[r.Name] {
			continue
		}
		told[r.Name] = true
		primary := 0.0
		if role.State == status.RolePrimary {
			primary = 1
		}
		ch <- prometheus.MustNewConstMetric(descPrimary, prometheus.GaugeValue, primary, r.Name)
		ch <- prometheus.MustNewConstMetric(descRole, prometheus.GaugeValue, float64(role.Since.UnixMilli())/1000, r.Name, role.State)
	}
}
