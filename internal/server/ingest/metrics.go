package ingest

import (
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/storage"
)

// reason says why a sample was not stored. The names are those that Managed
// Prometheus uses where it has one.
type reason string

const (
	reasonOutOfOrder        reason = "sample-out-of-order"
	reasonOutOfBounds       reason = "sample-out-of-bounds"
	reasonBehindWindow      reason = "sample-too-old"
	reasonDuplicate         reason = "new-value-for-timestamp"
	reasonTooOld            reason = "greater_than_max_sample_age"
	reasonFuture            reason = "too_far_in_future"
	reasonLabelCount        reason = "max_label_names_per_series"
	reasonNameLength        reason = "label_name_too_long"
	reasonValueLength       reason = "label_value_too_long"
	reasonNoName            reason = "missing_metric_name"
	reasonMetricName        reason = "metric_name_invalid"
	reasonLabelInvalid      reason = "label_invalid"
	reasonDuplicateLabel    reason = "duplicate_label_names"
	reasonMetadataInvalid   reason = "metadata_invalid"
	reasonSeriesLimit       reason = "per_user_series_limit"
	reasonMetricSeriesLimit reason = "per_metric_series_limit"
	reasonLabelSetLimit     reason = "per_labelset_series_limit"
	reasonRate              reason = "rate_limited"
	reasonHAClusters        reason = "too_many_ha_clusters"
	reasonHistogram         reason = "native_histogram_invalid"
	reasonHistogramSchema   reason = "native_histogram_invalid_schema"
	reasonHistogramBuckets  reason = "native_histogram_buckets_exceeded"
	reasonTranslation       reason = "otlp_not_translatable"
	reasonOther             reason = "other"
)

// reasonOf names why the database refused a sample.
func reasonOf(err error) reason {
	var invalid histogram.Error
	switch {
	case errors.Is(err, storage.ErrOutOfOrderSample):
		return reasonOutOfOrder
	case errors.Is(err, storage.ErrTooOldSample):
		return reasonBehindWindow
	case errors.Is(err, storage.ErrDuplicateSampleForTimestamp):
		return reasonDuplicate
	case errors.Is(err, storage.ErrOutOfBounds):
		return reasonOutOfBounds
	case errors.Is(err, histogram.ErrHistogramsUnknownSchema), errors.Is(err, histogram.ErrHistogramsInvalidSchema):
		return reasonHistogramSchema
	case errors.As(err, &invalid):
		return reasonHistogram
	}
	return reasonOther
}

// metrics counts what came in, by workspace.
type metrics struct {
	stored       *prometheus.CounterVec
	discarded    *prometheus.CounterVec
	deduplicated *prometheus.CounterVec
	elections    *prometheus.CounterVec
	refused      *prometheus.CounterVec
	exemplars    *prometheus.CounterVec
	metadata     *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	vec := func(name, help string, names ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, append([]string{"workspace"}, names...))
	}
	m := &metrics{
		stored:       vec("mangru_ingested_samples_total", "Samples stored."),
		discarded:    vec("mangru_discarded_samples_total", "Samples not stored, by reason.", "reason"),
		deduplicated: vec("mangru_deduplicated_samples_total", "Samples not stored because another replica sends them."),
		elections:    vec("mangru_ha_replica_changes_total", "How often another replica of a cluster was elected."),
		refused:      vec("mangru_refused_writes_total", "Write requests refused as a whole, by reason.", "reason"),
		exemplars:    vec("mangru_discarded_exemplars_total", "Exemplars not kept, by reason.", "reason"),
		metadata:     vec("mangru_discarded_metadata_total", "Descriptions of metrics not kept because there are too many."),
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range m.all() {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("ingest: register metrics: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) all() []*prometheus.CounterVec {
	return []*prometheus.CounterVec{m.stored, m.discarded, m.deduplicated, m.elections, m.refused, m.exemplars, m.metadata}
}

func (m *metrics) discard(workspace string, discarded map[reason]int) {
	for r, n := range discarded {
		if n > 0 {
			m.discarded.WithLabelValues(workspace, string(r)).Add(float64(n))
		}
	}
}

// addIf counts n, and makes no metric of nothing.
func addIf(v *prometheus.CounterVec, n int, values ...string) {
	if n > 0 {
		v.WithLabelValues(values...).Add(float64(n))
	}
}

func (m *metrics) forget(workspace string) {
	l := prometheus.Labels{"workspace": workspace}
	for _, v := range m.all() {
		v.DeletePartialMatch(l)
	}
}

// metricType names the type in metadata as Prometheus' API writes it. Both
// versions of remote write number the types alike up to stateset.
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
