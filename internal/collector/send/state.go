package send

import (
	"errors"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mangru/mangru/internal/auth/sigv4"
)

// Status says in a word how an endpoint does.
type Status string

// The states of an endpoint.
const (
	StatusIdle        Status = "idle"        // nothing sent yet
	StatusOK          Status = "ok"          // the last request was accepted
	StatusRetrying    Status = "retrying"    // the last request failed and is tried again
	StatusCredentials Status = "credentials" // there are no credentials to sign with, or they are refused
	StatusRefusing    Status = "refusing"    // the last request was refused for good
)

// Reasons for which samples are dropped by a sender.
const (
	reasonRefused     = "refused"     // the endpoint answered 4xx, or did not write them
	reasonTooLarge    = "too_large"   // a sample does not fit into a request
	reasonUnconfirmed = "unconfirmed" // the endpoint accepted 2.0, but does not say that it knows it
	reasonTooOld      = "too_old"     // older than sample_age_limit
	reasonNoSample    = "no_sample"   // an exemplar, in 2.0, without a sample to go with
	reasonExemplars   = "disabled"    // exemplars are not to be sent
)

// Reasons for which samples are left out that nobody wants.
const (
	reasonRewrite    = "write_relabel"     // the endpoint's rules drop the series
	reasonHistograms = "native_histograms" // they are not to be sent
	reasonCustom     = "custom_buckets"    // histograms that 1.0 has no form for
)

// State is what is known about an endpoint.
type State struct {
	Name        string    `json:"name"`
	Status      Status    `json:"status"`
	LastSuccess time.Time `json:"lastSuccess,omitzero"`
	LastError   string    `json:"lastError,omitempty"`
	LastErrorAt time.Time `json:"lastErrorAt,omitzero"`
	// Failures counts the requests that failed since the last success.
	Failures int    `json:"failuresInARow"`
	Sent     uint64 `json:"sentSamples"`
	Refused  uint64 `json:"refusedSamples"`
	// Protocol is the version of remote write that is spoken: "1.0" or "2.0".
	Protocol string `json:"protocol"`
}

// State returns a snapshot.
func (s *Sender) State() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

// speaks notes which version is spoken.
func (s *Sender) speaks(v version) {
	s.mu.Lock()
	before := s.state.Protocol
	s.state.Protocol = v.String()
	s.mu.Unlock()
	if before != v.String() {
		s.log.Info("the endpoint is spoken to in another version of remote write", "version", v, "before", before)
	}
}

func (s *Sender) accepted(samples, exemplars, bytes int) {
	s.metrics.samples.Add(float64(samples))
	s.metrics.exemplars.Add(float64(exemplars))
	s.metrics.bytes.Add(float64(bytes))
	s.mu.Lock()
	failures := s.state.Failures
	s.state.Status, s.state.Failures, s.state.LastSuccess = StatusOK, 0, time.Now()
	s.state.Sent += uint64(samples)
	s.mu.Unlock()
	if failures > 0 {
		s.log.Info("the endpoint accepts again", "failed_requests", failures)
	}
}

func (s *Sender) retrying(r reply, wait time.Duration) {
	reason := r.reason
	if reason == "" {
		reason = "413"
	}
	s.metrics.retries(reason).Inc()
	var ce *sigv4.CredentialsError
	status := StatusRetrying
	if errors.As(r.err, &ce) || r.status == http.StatusUnauthorized || r.status == http.StatusForbidden {
		status = StatusCredentials
	}
	s.failed(status, r.err.Error(), 0)
	if hidden, ok := s.throttle.Allow(reason); ok {
		s.log.Warn("sending failed, will try again", "err", r.err, "wait", wait, "hidden_messages", hidden)
	}
}

func (s *Sender) refuse(reason string, samples int, text string) {
	s.metrics.dropped(reason).Add(float64(samples))
	s.failed(StatusRefusing, text, samples)
	if hidden, ok := s.throttle.Allow(reason); ok {
		s.log.Error("samples dropped", "reason", reason, "samples", samples, "err", text, "hidden_messages", hidden)
	}
}

// tooOld counts samples that have waited for too long. That says nothing about
// how the endpoint is now.
func (s *Sender) tooOld(samples int) {
	s.metrics.dropped(reasonTooOld).Add(float64(samples))
	if hidden, ok := s.throttle.Allow(reasonTooOld); ok {
		s.log.Error("samples dropped", "reason", reasonTooOld, "samples", samples, "limit", s.cfg.SampleAgeLimit, "hidden_messages", hidden)
	}
}

func (s *Sender) failed(status Status, text string, refused int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.Status, s.state.LastError, s.state.LastErrorAt = status, text, time.Now()
	s.state.Failures++
	s.state.Refused += uint64(refused)
}

// Metrics are the counters of all endpoints.
type Metrics struct {
	samples, exemplars, bytes  *prometheus.CounterVec
	requests, retries, dropped *prometheus.CounterVec
	filtered, droppedExemplars *prometheus.CounterVec
	duration                   *prometheus.HistogramVec
	workers                    *prometheus.GaugeVec
}

// NewMetrics registers the counters.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "mangru_collector_" + name, Help: help},
			append([]string{"endpoint"}, labels...))
	}
	m := &Metrics{
		samples:   counter("sent_samples_total", "Samples that the endpoint accepted."),
		exemplars: counter("sent_exemplars_total", "Exemplars that the endpoint accepted."),
		bytes:     counter("sent_bytes_total", "Compressed bytes of the requests that the endpoint accepted."),
		requests:  counter("send_requests_total", "Requests by status code, or by what kept them from getting one.", "code"),
		retries:   counter("send_retries_total", "Requests that failed and were tried again.", "reason"),
		dropped:   counter("send_dropped_samples_total", "Samples that the endpoint refused for good or that cannot be sent.", "reason"),
		droppedExemplars: counter("send_dropped_exemplars_total",
			"Exemplars that the endpoint refused for good or that cannot be sent.", "reason"),
		filtered: counter("send_filtered_samples_total",
			"Samples of series that the endpoint's own rules leave out; they are not lost.", "reason"),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "mangru_collector_send_duration_seconds", Help: "Time until the head of the answer.",
			Buckets: prometheus.ExponentialBuckets(0.005, 2, 13),
		}, []string{"endpoint"}),
		workers: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "mangru_collector_send_workers", Help: "Workers, each with at most one request under way.",
		}, []string{"endpoint"}),
	}
	for _, c := range m.vectors() {
		reg.MustRegister(c)
	}
	reg.MustRegister(m.duration, m.workers)
	return m
}

func (m *Metrics) vectors() []*prometheus.CounterVec {
	return []*prometheus.CounterVec{m.samples, m.exemplars, m.bytes, m.requests, m.retries, m.dropped, m.droppedExemplars, m.filtered}
}

// Forget drops the series of an endpoint that is no more.
func (m *Metrics) Forget(name string) {
	l := prometheus.Labels{"endpoint": name}
	for _, v := range m.vectors() {
		v.DeletePartialMatch(l)
	}
	m.duration.DeletePartialMatch(l)
	m.workers.DeletePartialMatch(l)
}

type endpointMetrics struct {
	samples, exemplars, bytes           prometheus.Counter
	workers                             prometheus.Gauge
	duration                            prometheus.Observer
	requests, retries                   func(string) prometheus.Counter
	dropped, droppedExemplars, filtered func(string) prometheus.Counter
}

func (m *Metrics) endpoint(name string) *endpointMetrics {
	bind := func(v *prometheus.CounterVec) func(string) prometheus.Counter {
		return func(l string) prometheus.Counter { return v.WithLabelValues(name, l) }
	}
	em := &endpointMetrics{
		samples: m.samples.WithLabelValues(name), exemplars: m.exemplars.WithLabelValues(name),
		bytes:   m.bytes.WithLabelValues(name),
		workers: m.workers.WithLabelValues(name), duration: m.duration.WithLabelValues(name),
		requests: bind(m.requests), retries: bind(m.retries), dropped: bind(m.dropped),
		droppedExemplars: bind(m.droppedExemplars), filtered: bind(m.filtered),
	}
	em.dropped(reasonRefused) // shown as 0 from the start
	em.dropped(reasonTooLarge)
	return em
}
