package ingest

import (
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/storage"
)

// reason says why a sample was not stored. The names are those that Managed
// Prometheus uses where it has one.
type reason string

const (
	reasonOutOfOrder     reason = "sample-out-of-order"
	reasonOutOfBounds    reason = "sample-out-of-bounds"
	reasonBehindWindow   reason = "sample-too-old"
	reasonDuplicate      reason = "new-value-for-timestamp"
	reasonTooOld         reason = "greater_than_max_sample_age"
	reasonFuture         reason = "too_far_in_future"
	reasonLabelCount     reason = "max_label_names_per_series"
	reasonNameLength     reason = "label_name_too_long"
	reasonValueLength    reason = "label_value_too_long"
	reasonNoName         reason = "missing_metric_name"
	reasonMetricName     reason = "metric_name_invalid"
	reasonLabelInvalid   reason = "label_invalid"
	reasonDuplicateLabel reason = "duplicate_label_names"
	reasonSeriesLimit    reason = "per_user_series_limit"
	reasonHistogram      reason = "native_histogram_invalid"
	reasonOther          reason = "other"
)

// reasonOf names why the database refused a sample.
func reasonOf(err error) reason {
	switch {
	case errors.Is(err, storage.ErrOutOfOrderSample):
		return reasonOutOfOrder
	case errors.Is(err, storage.ErrTooOldSample):
		return reasonBehindWindow
	case errors.Is(err, storage.ErrDuplicateSampleForTimestamp):
		return reasonDuplicate
	case errors.Is(err, storage.ErrOutOfBounds):
		return reasonOutOfBounds
	}
	return reasonOther
}

type metrics struct {
	stored    *prometheus.CounterVec
	discarded *prometheus.CounterVec
	refused   *prometheus.CounterVec
	exemplars *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	vec := func(name, help string, names ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, append([]string{"workspace"}, names...))
	}
	m := &metrics{
		stored:    vec("mangru_ingested_samples_total", "Samples stored."),
		discarded: vec("mangru_discarded_samples_total", "Samples not stored, by reason.", "reason"),
		refused:   vec("mangru_refused_writes_total", "Remote-write requests refused as a whole, by reason.", "reason"),
		exemplars: vec("mangru_discarded_exemplars_total", "Exemplars not kept."),
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.stored, m.discarded, m.refused, m.exemplars} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("ingest: register metrics: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) count(workspace string, stored int, discarded map[reason]int) {
	m.stored.WithLabelValues(workspace).Add(float64(stored))
	for r, n := range discarded {
		if n > 0 {
			m.discarded.WithLabelValues(workspace, string(r)).Add(float64(n))
		}
	}
}

func (m *metrics) forget(workspace string) {
	l := prometheus.Labels{"workspace": workspace}
	for _, v := range []*prometheus.CounterVec{m.stored, m.discarded, m.refused, m.exemplars} {
		v.DeletePartialMatch(l)
	}
}

// metricType names the type in metadata as Prometheus' API writes it.
func metricType(t int32) string {
	switch prompb.MetricMetadata_MetricType(t) {
	case prompb.MetricMetadata_COUNTER:
		return "counter"
	case prompb.MetricMetadata_GAUGE:
		return "gauge"
	case prompb.MetricMetadata_HISTOGRAM:
		return "histogram"
	case prompb.MetricMetadata_GAUGEHISTOGRAM:
		return "gaugehistogram"
	case prompb.MetricMetadata_SUMMARY:
		return "summary"
	case prompb.MetricMetadata_INFO:
		return "info"
	case prompb.MetricMetadata_STATESET:
		return "stateset"
	}
	return "unknown"
}
