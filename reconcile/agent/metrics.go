package agent

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"weft.dev/reconcile/driver"
	"weft.dev/reconcile/engine"
	"weft.dev/reconcile/engine/trial"
	"weft.dev/reconcile/plan"
	"weft.dev/reconcile/resource"
	"weft.dev/reconcile/status"
)

// Metrics are what an agent counts. A nil *Metrics counts nothing.
type Metrics struct {
	registry  *prometheus.Registry
	passes    *prometheus.CounterVec
	duration  prometheus.Histogram
	actions   *prometheus.CounterVec
	backend   *prometheus.HistogramVec
	drift     *prometheus.GaugeVec
	managed   *prometheus.GaugeVec
	revision  *prometheus.GaugeVec
	success   prometheus.Gauge
	fetches   *prometheus.CounterVec
	fetchTime prometheus.Histogram
	suspend   prometheus.Gauge
	condition *prometheus.GaugeVec
	hooks     *prometheus.CounterVec
	deaths    *prometheus.CounterVec
}

var seconds = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}

// NewMetrics returns metrics with their own registry.
func NewMetrics(version string) *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
	}
	histogram := func(name, help string, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: seconds}, labels)
	}
	m := &Metrics{
		registry:  prometheus.NewRegistry(),
		passes:    counter("weft_reconcile_total", "Passes over the host, by result.", "result"),
		duration:  prometheus.NewHistogram(prometheus.HistogramOpts{Name: "weft_reconcile_duration_seconds", Help: "Length of passes.", Buckets: seconds}),
		actions:   counter("weft_apply_actions_total", "Actions that were carried out, by kind, verb and result.", "kind", "action", "result"),
		backend:   histogram("weft_apply_duration_seconds", "Length of one call of a driver.", "backend"),
		drift:     gauge("weft_drift_objects", "Resources that another hand changed and that are not repaired.", "kind"),
		managed:   gauge("weft_managed_objects", "Resources of weft on this host.", "kind"),
		revision:  gauge("weft_last_applied_revision_info", "The revision that was verified last.", "revision"),
		success:   prometheus.NewGauge(prometheus.GaugeOpts{Name: "weft_last_success_timestamp_seconds", Help: "When the host was last found to be all it should be."}),
		fetches:   counter("weft_git_fetch_total", "Fetches from the repository, by result.", "result"),
		fetchTime: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "weft_git_fetch_duration_seconds", Help: "Length of fetches.", Buckets: seconds}),
		suspend:   prometheus.NewGauge(prometheus.GaugeOpts{Name: "weft_suspend_status", Help: "1 while anything on this host is suspended."}),
		condition: gauge("weft_condition", "1 where the condition is true.", "type"),
		deaths:    counter("weft_process_deaths_total", "Processes of routers that ended by themselves and were started again, by what they are.", "process"),
		hooks:     counter("weft_webhook_total", "Requests to the webhook, by result.", "result"),
	}
	build := gauge("weft_build_info", "The version of weft.", "version")
	build.WithLabelValues(version).Set(1)
	m.registry.MustRegister(m.passes, m.duration, m.actions, m.backend, m.drift, m.managed, m.revision, m.success, m.fetches,
		m.fetchTime, m.suspend, m.condition, m.hooks, m.deaths, build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// of adds what is read of an agent when somebody asks, until the function it returns is called.
func (m *Metrics) of(a *Agent) (end func()) {
	if m == nil {
		return func() {}
	}
	usage := &usageMetrics{agent: a}
	for _, d := range a.Engine.Drivers() {
		if c, ok := d.(driver.Counter); ok {
			usage.counters = append(usage.counters, c)
		}
	}
	all := []prometheus.Collector{usage, &routerMetrics{a}, &pairMetrics{a}, &vpnMetrics{a}, &bgpMetrics{a}}
	m.registry.MustRegister(all...)
	return func() {
		for _, c := range all {
			m.registry.Unregister(c)
		}
	}
}

// Did is for engine.Settings.
func (m *Metrics) Did(d driver.Driver, _ int, took time.Duration) {
	if m != nil {
		m.backend.WithLabelValues(string(d.Kinds()[0])).Observe(took.Seconds())
	}
}

func (m *Metrics) fetched(took time.Duration, err error) {
	if m == nil {
		return
	}
	m.fetches.WithLabelValues(outcome(err == nil)).Inc()
	m.fetchTime.Observe(took.Seconds())
}

// What may become of a request to the webhook.
const (
	hookAccepted = "accepted"
	hookOther    = "other_ref"
	hookUnsigned = "unauthorized"
	hookMethod   = "method"
	hookLarge    = "too_large"
	hookMany     = "too_many"
	hookTorn     = "torn"
)

func (m *Metrics) hooked(result string) {
	if m != nil {
		m.hooks.WithLabelValues(result).Inc()
	}
}

func (m *Metrics) died(p resource.Process) {
	if m != nil {
		m.deaths.WithLabelValues(serviceOf(p)).Inc()
	}
}

func outcome(ok bool) string {
	if ok {
		return "success"
	}
	return "failure"
}

func (m *Metrics) passed(r *engine.Result, err error, took time.Duration) {
	if m == nil {
		return
	}
	m.duration.Observe(took.Seconds())
	result := "success"
	var locked *engine.LockedError
	var pending *trial.PendingError
	switch {
	case errors.As(err, &locked) || errors.As(err, &pending):
		result = "locked"
	case err != nil:
		result = "error"
	case r.Refused != "":
		result = "refused"
	case !r.Converged():
		result = "failure"
	}
	m.passes.WithLabelValues(result).Inc()
	if r == nil || r.Journal == 0 {
		return
	}
	failed := map[string]bool{}
	for _, a := range r.Left.Actions {
		failed[a.ID.String()] = true
	}
	for _, a := range r.Plan.Actions {
		m.actions.WithLabelValues(string(a.ID.Kind), verbName(a.Verb), outcome(!failed[a.ID.String()])).Inc()
	}
}

func verbName(v plan.Verb) string {
	switch v {
	case plan.Create:
		return "create"
	case plan.Update:
		return "update"
	case plan.Replace:
		return "replace"
	}
	return "delete"
}

// state shows what a status says.
func (m *Metrics) state(st *status.Status) {
	if m == nil {
		return
	}
	m.drift.Reset()
	for _, d := range st.Drift {
		m.drift.WithLabelValues(string(d.ID.Kind)).Inc()
	}
	m.managed.Reset()
	for k, n := range st.Managed {
		m.managed.WithLabelValues(string(k)).Set(float64(n))
	}
	m.revision.Reset()
	if st.LastAppliedRevision != "" {
		m.revision.WithLabelValues(st.LastAppliedRevision).Set(1)
	}
	if !st.Verified.IsZero() {
		m.success.Set(float64(st.Verified.UnixNano()) / 1e9)
	}
	m.suspend.Set(0)
	for _, c := range st.Conditions {
		value := 0.0
		if c.True {
			value = 1
		}
		m.condition.WithLabelValues(c.Type).Set(value)
		if c.Type == status.Suspended {
			m.suspend.Set(value)
		}
	}
}
