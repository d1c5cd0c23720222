package query

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are counted by workspace.
type metrics struct {
	requests          *prometheus.CounterVec
	queue, eval       *prometheus.CounterVec
	samples, rejected *prometheus.CounterVec
	running, waiting  *prometheus.Desc
	queueOf           *queue
}

func newMetrics(reg prometheus.Registerer, q *queue) (*metrics, error) {
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, append([]string{"workspace"}, labels...))
	}
	m := &metrics{
		requests: vec("mangru_query_requests_total", "Requests for data, by kind and status of the answer.", "kind", "code"),
		queue:    vec("mangru_query_queue_seconds_total", "Time that requests waited for others."),
		eval:     vec("mangru_query_eval_seconds_total", "Time that requests took after they had waited."),
		samples:  vec("mangru_query_samples_processed_total", "Samples that queries processed, each once for every step that it mattered for."),
		rejected: vec("mangru_query_rejected_total", "Requests for data that were refused, by reason.", "reason"),
		running:  prometheus.NewDesc("mangru_query_running", "Requests for data being worked on.", []string{"workspace"}, nil),
		waiting:  prometheus.NewDesc("mangru_query_waiting", "Requests for data that wait for others.", []string{"workspace"}, nil),
		queueOf:  q,
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.requests, m.queue, m.eval, m.samples, m.rejected, m} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("query: register metrics: %w", err)
		}
	}
	return m, nil
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(out chan<- *prometheus.Desc) { out <- m.running; out <- m.waiting }

// Collect implements prometheus.Collector.
func (m *metrics) Collect(out chan<- prometheus.Metric) {
	m.queueOf.mu.Lock()
	defer m.queueOf.mu.Unlock()
	for id, f := range m.queueOf.flows {
		out <- prometheus.MustNewConstMetric(m.running, prometheus.GaugeValue, float64(f.running), id)
		out <- prometheus.MustNewConstMetric(m.waiting, prometheus.GaugeValue, float64(len(f.waiting)), id)
	}
}

// forget drops what was counted of a workspace that is gone.
func (m *metrics) forget(workspaceID string) {
	for _, v := range []*prometheus.CounterVec{m.requests, m.queue, m.eval, m.samples, m.rejected} {
		v.DeletePartialMatch(prometheus.Labels{"workspace": workspaceID})
	}
}

// recorder notes the status of an answer.
type recorder struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements http.ResponseWriter.
func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	return r.ResponseWriter.Write(b)
}

// Flush implements http.Flusher, which streamed remote read needs.
func (r *recorder) Flush() { _ = http.NewResponseController(r.ResponseWriter).Flush() }

// Unwrap is for http.ResponseController.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// refusal says why a request was not served, in words for metrics.
func refusal(err error) string {
	if errors.Is(err, errQueueFull) {
		return "queue_full"
	}
	return "queue_timeout"
}
