package rules

import (
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

var (
	descWorkspaces = prometheus.NewDesc("mangru_rules_workspaces", "Workspaces whose rules are evaluated.", nil, nil)
	descFailures   = prometheus.NewDesc("mangru_rules_load_failures_total", "Times that the rules of a workspace could not be loaded.", nil, nil)
	descRunning    = prometheus.NewDesc("mangru_rules_queries_running", "Queries of rules that run.", nil, nil)
)

// metrics are those of the Manager itself. Those of groups are Prometheus' own,
// with the label workspace.
type metrics struct {
	m        *Manager
	failures atomic.Int64
}

func newMetrics(m *Manager) *metrics { return &metrics{m: m} }

// Describe implements prometheus.Collector.
func (c *metrics) Describe(ch chan<- *prometheus.Desc) {
	ch <- descWorkspaces
	ch <- descFailures
	ch <- descRunning
}

// Collect implements prometheus.Collector.
func (c *metrics) Collect(ch chan<- prometheus.Metric) {
	c.m.mu.Lock()
	n := len(c.m.runners)
	c.m.mu.Unlock()
	ch <- prometheus.MustNewConstMetric(descWorkspaces, prometheus.GaugeValue, float64(n))
	ch <- prometheus.MustNewConstMetric(descFailures, prometheus.CounterValue, float64(c.failures.Load()))
	ch <- prometheus.MustNewConstMetric(descRunning, prometheus.GaugeValue, float64(len(c.m.slots)))
}

// registered remembers what was registered, so that it can be taken away.
type registered struct {
	prometheus.Registerer // nil: nothing is registered
	mu                    sync.Mutex
	all                   []prometheus.Collector
}

// Register implements prometheus.Registerer.
func (r *registered) Register(c prometheus.Collector) error {
	if r.Registerer == nil {
		return nil
	}
	if err := r.Registerer.Register(c); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, c)
	return nil
}

// MustRegister implements prometheus.Registerer.
func (r *registered) MustRegister(cs ...prometheus.Collector) {
	for _, c := range cs {
		if err := r.Register(c); err != nil {
			panic(err)
		}
	}
}

func (r *registered) unregister() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.all {
		r.Registerer.Unregister(c)
	}
	r.all = nil
}
