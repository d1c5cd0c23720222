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
	reasonRefused  = "refused"   // the endpoint answered 4xx
	reasonTooLarge = "too_large" // a sample does not fit into a request
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
}

// State returns a snapshot.
func (s *Sender) State() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

func (s *Sender) accepted(samples, bytes int) {
	s.metrics.samples.Add(float64(samples))
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

func (s *Sender) failed(status Status, text string, refused int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.Status, s.state.LastError, s.state.LastErrorAt = status, text, time.Now()
	s.state.Failures++
	s.state.Refused += uint64(refused)
}

// Metrics are the counters of all endpoints.
type Metrics struct {
	samples, bytes             *prometheus.CounterVec
	requests, retries, dropped *prometheus.CounterVec
	duration                   *prometheus.HistogramVec
}

// NewMetrics registers the counters.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "mangru_collector_" + name, Help: help},
			append([]string{"endpoint"}, labels...))
	}
	m := &Metrics{
		samples:  counter("sent_samples_total", "Samples that the endpoint accepted."),
		bytes:    counter("sent_bytes_total", "Compressed bytes of the requests that the endpoint accepted."),
		requests: counter("send_requests_total", "Requests by status code, or by what kept them from getting one.", "code"),
		retries:  counter("send_retries_total", "Requests that failed and were tried again.", "reason"),
		dropped:  counter("send_dropped_samples_total", "Samples that the endpoint refused for good or that cannot be sent.", "reason"),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "mangru_collector_send_duration_seconds", Help: "Time until the head of the answer.",
			Buckets: prometheus.ExponentialBuckets(0.005, 2, 13),
		}, []string{"endpoint"}),
	}
	reg.MustRegister(m.samples, m.bytes, m.requests, m.retries, m.dropped, m.duration)
	return m
}

// Forget drops the series of an endpoint that is no more.
func (m *Metrics) Forget(name string) {
	l := prometheus.Labels{"endpoint": name}
	for _, v := range []*prometheus.CounterVec{m.samples, m.bytes, m.requests, m.retries, m.dropped} {
		v.DeletePartialMatch(l)
	}
	m.duration.DeletePartialMatch(l)
}

type endpointMetrics struct {
	samples, bytes             prometheus.Counter
	duration                   prometheus.Observer
	requests, retries, dropped func(string) prometheus.Counter
}

func (m *Metrics) endpoint(name string) *endpointMetrics {
	bind := func(v *prometheus.CounterVec) func(string) prometheus.Counter {
		return func(l string) prometheus.Counter { return v.WithLabelValues(name, l) }
	}
	em := &endpointMetrics{
		samples: m.samples.WithLabelValues(name), bytes: m.bytes.WithLabelValues(name),
		duration: m.duration.WithLabelValues(name),
		requests: bind(m.requests), retries: bind(m.retries), dropped: bind(m.dropped),
	}
	em.dropped(reasonRefused) // shown as 0 from the start
	em.dropped(reasonTooLarge)
	return em
}
