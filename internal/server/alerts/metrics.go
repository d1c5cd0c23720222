package alerts

import (
	"slices"
	"strings"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

var (
	descWorkspaces = prometheus.NewDesc("mangru_alerts_workspaces", "Workspaces whose alert manager runs.", nil, nil)
	descFailures   = prometheus.NewDesc("mangru_alerts_start_failures_total", "Times that the alert manager of a workspace could not be started.", nil, nil)
)

// metrics are those of the Manager, and of Alertmanager's own those that tell how
// a workspace fares.
type metrics struct {
	m        *Manager
	failures atomic.Int64
	received *prometheus.CounterVec
	dropped  *prometheus.CounterVec
}

func newMetrics(m *Manager) *metrics {
	return &metrics{m: m,
		received: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "mangru_alerts_received_total",
			Help: "Alerts that rules gave to the alert manager."}, []string{"workspace"}),
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "mangru_alerts_dropped_total",
			Help: "Alerts that nobody is told of, by reason."}, []string{"workspace", "reason"}),
	}
}

func (c *metrics) receive(workspaceID string, n int) {
	c.received.WithLabelValues(workspaceID).Add(float64(n))
}

func (c *metrics) drop(workspaceID, reason string, n int) {
	if n > 0 {
		c.dropped.WithLabelValues(workspaceID, reason).Add(float64(n))
	}
}

func (c *metrics) forget(workspaceID string) {
	l := prometheus.Labels{"workspace": workspaceID}
	c.received.DeletePartialMatch(l)
	c.dropped.DeletePartialMatch(l)
}

// Describe implements prometheus.Collector. What comes from Alertmanager is not
// described: it is there when a workspace has one.
func (c *metrics) Describe(ch chan<- *prometheus.Desc) {
	ch <- descWorkspaces
	ch <- descFailures
	c.received.Describe(ch)
	c.dropped.Describe(ch)
}

// Collect implements prometheus.Collector.
func (c *metrics) Collect(ch chan<- prometheus.Metric) {
	c.m.mu.Lock()
	n := len(c.m.instances)
	c.m.mu.Unlock()
	ch <- prometheus.MustNewConstMetric(descWorkspaces, prometheus.GaugeValue, float64(n))
	ch <- prometheus.MustNewConstMetric(descFailures, prometheus.CounterValue, float64(c.failures.Load()))
	c.received.Collect(ch)
	c.dropped.Collect(ch)
}

// shown are the families of Alertmanager's metrics that are shown for each
// workspace.
var shown = []string{
	"alertmanager_alerts", "alertmanager_alerts_received_total", "alertmanager_alerts_invalid_total",
	"alertmanager_dispatcher_aggregation_groups", "alertmanager_dispatcher_aggregation_group_limit_reached_total",
	"alertmanager_notifications_total", "alertmanager_notifications_failed_total", "alertmanager_notifications_suppressed_total",
	"alertmanager_notification_requests_total", "alertmanager_notification_requests_failed_total",
	"alertmanager_silences", "alertmanager_silences_maintenance_errors_total", "alertmanager_nflog_maintenance_errors_total",
}

// workspaces collects Alertmanager's metrics.
type workspaces struct{ m *Manager }

// Describe implements prometheus.Collector: which ones there are, nobody knows
// before.
func (workspaces) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c workspaces) Collect(ch chan<- prometheus.Metric) {
	c.m.mu.Lock()
	all := make(map[string]*instance, len(c.m.instances))
	for id, i := range c.m.instances {
		all[id] = i
	}
	c.m.mu.Unlock()
	for id, i := range all {
		families, err := i.gatherers.Gather()
		if err != nil {
			c.m.logger.Warn("metrics of an alert manager", "workspace", id, "err", err)
		}
		for _, f := range families {
			if slices.Contains(shown, f.GetName()) {
				collectFamily(ch, id, f)
			}
		}
	}
}

func collectFamily(ch chan<- prometheus.Metric, id string, f *dto.MetricFamily) {
	for _, m := range f.GetMetric() {
		// There is one for every kind of receiver that could be; those that tell
		// nothing are left out.
		if m.Counter.GetValue() == 0 && m.Gauge.GetValue() == 0 && strings.Contains(f.GetName(), "_notification") {
			continue
		}
		name, label := "workspace", id
		labels := append([]*dto.LabelPair{{Name: &name, Value: &label}}, m.Label...)
		slices.SortFunc(labels, func(a, b *dto.LabelPair) int { return strings.Compare(a.GetName(), b.GetName()) })
		names := make([]string, 0, len(labels))
		for _, l := range labels {
			names = append(names, l.GetName())
		}
		ch <- &relabeled{prometheus.NewDesc("mangru_"+f.GetName(), f.GetHelp(), names, nil), &dto.Metric{Label: labels, Counter: m.Counter, Gauge: m.Gauge}}
	}
}

// relabeled is a counter or a gauge of another registry.
type relabeled struct {
	desc   *prometheus.Desc
	metric *dto.Metric
}

// Desc implements prometheus.Metric.
func (r *relabeled) Desc() *prometheus.Desc { return r.desc }

// Write implements prometheus.Metric.
func (r *relabeled) Write(out *dto.Metric) error {
	out.Label, out.Counter, out.Gauge = r.metric.Label, r.metric.Counter, r.metric.Gauge
	return nil
}
