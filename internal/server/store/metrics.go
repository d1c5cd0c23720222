package store

import (
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// exported lists the database's own metrics that are shown per workspace, by
// the name they have there.
var exported = map[string]struct{ name, help, reason string }{
	"prometheus_tsdb_head_series":                 {"mangru_store_series", "Series in memory.", ""},
	"prometheus_tsdb_head_samples_appended_total": {"mangru_store_samples_appended_total", "Samples stored since the workspace was opened.", ""},
	"prometheus_tsdb_out_of_order_samples_total":  {"mangru_store_rejected_samples_total", rejectedHelp, "out_of_order"},
	"prometheus_tsdb_out_of_bound_samples_total":  {"mangru_store_rejected_samples_total", rejectedHelp, "out_of_bounds"},
	"prometheus_tsdb_too_old_samples_total":       {"mangru_store_rejected_samples_total", rejectedHelp, "too_old"},
	"prometheus_tsdb_wal_corruptions_total":       {"mangru_store_wal_corruptions_total", "Corruptions found in the write-ahead log.", ""},
	"prometheus_tsdb_compactions_failed_total":    {"mangru_store_compactions_failed_total", "Compactions that failed.", ""},
	"prometheus_tsdb_storage_blocks_bytes":        {"mangru_store_blocks_bytes", "Bytes in blocks on disk.", ""},
	"prometheus_tsdb_retention_limit_seconds":     {"mangru_store_retention_seconds", "How long samples are kept.", ""},
	"prometheus_tsdb_retention_limit_bytes":       {"mangru_store_retention_bytes", "How many bytes of blocks are kept, 0 without a bound.", ""},
	"prometheus_tsdb_wal_storage_size_bytes":      {"mangru_store_wal_bytes", "Bytes in the write-ahead log.", ""},
}

const rejectedHelp = "Samples refused by the database since the workspace was opened, at append or, when two writers met at one series, at commit."

var openDesc = prometheus.NewDesc("mangru_store_open_workspaces", "Workspaces whose database is open.", nil, nil)

// collector reads the metrics of the open databases when it is asked for them.
type collector struct{ store *Store }

// Describe sends nothing: which metrics there are depends on what is open.
func (*collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	open := 0
	for id, e := range c.store.snapshot() {
		select {
		case e.lock <- struct{}{}:
		default:
			continue // opening or closing just now
		}
		db := e.db
		e.release()
		if db == nil {
			continue
		}
		open++
		families, err := db.registry.Gather()
		if err != nil {
			out <- prometheus.NewInvalidMetric(openDesc, err)
			continue
		}
		for _, f := range families {
			send(out, id, f)
		}
	}
	out <- prometheus.MustNewConstMetric(openDesc, prometheus.GaugeValue, float64(open))
}

func send(out chan<- prometheus.Metric, id string, f *dto.MetricFamily) {
	x, ok := exported[f.GetName()]
	if !ok {
		return
	}
	sum, typ := 0.0, prometheus.GaugeValue
	for _, m := range f.GetMetric() { // some are split by type of sample
		sum += m.GetGauge().GetValue() + m.GetCounter().GetValue()
	}
	if f.GetType() == dto.MetricType_COUNTER {
		typ = prometheus.CounterValue
	}
	names, values := []string{"workspace"}, []string{id}
	if x.reason != "" {
		names, values = append(names, "reason"), append(values, x.reason)
	}
	out <- prometheus.MustNewConstMetric(prometheus.NewDesc(x.name, x.help, names, nil), typ, sum, values...)
}
