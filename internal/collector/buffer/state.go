package buffer

import (
	"maps"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// State is what the queue holds at one moment.
type State struct {
	// Bytes is the memory of frames and of the series they keep alive.
	Bytes     int64           `json:"bytes"`
	MaxBytes  int64           `json:"maxBytes"`
	MaxAge    time.Duration   `json:"maxAgeNanoseconds"`
	Endpoints []EndpointState `json:"endpoints"`
}

// EndpointState is what waits for one endpoint.
type EndpointState struct {
	Name    string `json:"name"`
	Samples int64  `json:"samples"`
	Frames  int    `json:"frames"`
	// Bytes is the memory of the frames, which endpoints share.
	Bytes     int64         `json:"bytes"`
	OldestAge time.Duration `json:"oldestAgeNanoseconds"`
	// Dropped counts the samples that left undelivered.
	Dropped map[Reason]int64 `json:"dropped"`
}

// State returns a snapshot.
func (q *Queue) State() State {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	q.expire(now)
	st := State{Bytes: q.bytes, MaxBytes: q.cfg.MaxBytes, MaxAge: q.cfg.MaxAge}
	for _, ep := range q.endpoints {
		es := EndpointState{Name: ep.Name, Samples: ep.samples, Bytes: ep.bytes, Dropped: maps.Clone(ep.dropped)}
		for _, s := range ep.shards {
			es.Frames += s.fifo.len()
			if s.fifo.len() > 0 {
				es.OldestAge = max(es.OldestAge, now.Sub(s.fifo.at(0).entry.at))
			}
		}
		st.Endpoints = append(st.Endpoints, es)
	}
	return st
}

var (
	descBytes = prometheus.NewDesc("mangru_collector_queue_bytes",
		"Memory of the frames that wait, with the series they keep alive.", nil, nil)
	descMaxBytes = prometheus.NewDesc("mangru_collector_queue_max_bytes",
		"Bound of mangru_collector_queue_bytes; 0 means none.", nil, nil)
	descEndpointBytes = prometheus.NewDesc("mangru_collector_queue_endpoint_bytes",
		"Memory of the frames that wait for the endpoint; endpoints share it.", []string{"endpoint"}, nil)
	descSamples = prometheus.NewDesc("mangru_collector_queue_samples",
		"Samples that wait for the endpoint.", []string{"endpoint"}, nil)
	descOldest = prometheus.NewDesc("mangru_collector_queue_oldest_age_seconds",
		"Age of the oldest frame that waits for the endpoint.", []string{"endpoint"}, nil)
	descDropped = prometheus.NewDesc("mangru_collector_queue_dropped_samples_total",
		"Samples that left the queue undelivered.", []string{"endpoint", "reason"}, nil)
)

// Describe implements prometheus.Collector.
func (q *Queue) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descBytes, descMaxBytes, descEndpointBytes, descSamples, descOldest, descDropped} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (q *Queue) Collect(ch chan<- prometheus.Metric) {
	st := q.State()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(descBytes, float64(st.Bytes))
	gauge(descMaxBytes, float64(st.MaxBytes))
	for _, ep := range st.Endpoints {
		gauge(descEndpointBytes, float64(ep.Bytes), ep.Name)
		gauge(descSamples, float64(ep.Samples), ep.Name)
		gauge(descOldest, ep.OldestAge.Seconds(), ep.Name)
		for _, why := range []Reason{ReasonBytes, ReasonAge, ReasonRemoved, ReasonShutdown} {
			ch <- prometheus.MustNewConstMetric(descDropped, prometheus.CounterValue,
				float64(ep.Dropped[why]), ep.Name, string(why))
		}
	}
}
