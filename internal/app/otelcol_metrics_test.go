package app

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/internal/otelconf"
)

// TestOtelcolMetrics: who has several receivers and exporters sees each by its id,
// also where one exporter has become several endpoints.
func TestOtelcolMetrics(t *testing.T) {
	const text = `
receivers:
  prometheus: {config: {scrape_configs: [{job_name: a}, {job_name: b}]}}
  prometheus/two: {config: {scrape_configs: [{job_name: c}]}}
processors:
  transform: {metric_statements: [{context: datapoint, statements: ['set(attributes["x"], "y")']}]}
exporters:
  prometheusremotewrite: {endpoint: "http://127.0.0.1:1/a"}
  prometheusremotewrite/both: {endpoint: "http://127.0.0.1:1/b"}
service:
  telemetry: {metrics: {readers: [{pull: {exporter: {prometheus: {host: 127.0.0.1, port: 0}}}}]}}
  pipelines:
    metrics: {receivers: [prometheus], exporters: [prometheusremotewrite, prometheusremotewrite/both]}
    metrics/two: {receivers: [prometheus/two], processors: [transform], exporters: [prometheusremotewrite/both]}
`
	gather := func(text string) *prometheus.Registry {
		cfg, err := otelconf.Load(otelconf.Options{Files: []string{"yaml:" + text}})
		require.NoError(t, err)
		cfg.MetricsAddress = "127.0.0.1:0"
		reg := prometheus.NewPedanticRegistry()
		c, err := NewCollector(cfg, CollectorDeps{Logger: slog.New(slog.DiscardHandler), Registerer: reg})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, c.Close()) })
		return reg
	}
	reg := gather(text)
	require.NoError(t, testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP otelcol_receiver_accepted_metric_points_total Metric points taken in.
# TYPE otelcol_receiver_accepted_metric_points_total counter
otelcol_receiver_accepted_metric_points_total{receiver="prometheus",transport="http"} 0
otelcol_receiver_accepted_metric_points_total{receiver="prometheus/two",transport="http"} 0
# HELP otelcol_exporter_sent_metric_points_total Metric points that the destination accepted.
# TYPE otelcol_exporter_sent_metric_points_total counter
otelcol_exporter_sent_metric_points_total{exporter="prometheusremotewrite"} 0
otelcol_exporter_sent_metric_points_total{exporter="prometheusremotewrite/both"} 0
# HELP otelcol_exporter_queue_size Bytes that wait for the destination.
# TYPE otelcol_exporter_queue_size gauge
otelcol_exporter_queue_size{data_type="metrics",exporter="prometheusremotewrite"} 0
otelcol_exporter_queue_size{data_type="metrics",exporter="prometheusremotewrite/both"} 0
`), "otelcol_receiver_accepted_metric_points_total", "otelcol_exporter_sent_metric_points_total", "otelcol_exporter_queue_size"))
	names := func(reg *prometheus.Registry) (out []string) {
		families, err := reg.Gather()
		require.NoError(t, err)
		for _, f := range families {
			if strings.HasPrefix(f.GetName(), "otelcol_") {
				out = append(out, strings.TrimPrefix(f.GetName(), "otelcol_"))
			}
		}
		return out
	}
	// As the OpenTelemetry Collector has them: with suffixes where readers are
	// configured, without them where not.
	require.Equal(t, []string{
		"exporter_enqueue_failed_metric_points_total", "exporter_queue_capacity", "exporter_queue_size",
		"exporter_send_failed_metric_points_total", "exporter_sent_metric_points_total",
		"process_cpu_seconds_total", "process_memory_rss_bytes", "process_runtime_heap_alloc_bytes",
		"process_runtime_total_alloc_bytes_total", "process_runtime_total_sys_memory_bytes", "process_uptime_seconds_total",
		"receiver_accepted_metric_points_total", "receiver_refused_metric_points_total",
	}, names(reg))
	plain := gather("scrape_configs: [{job_name: j}]\nremote_write: [{url: http://127.0.0.1:1}]\n")
	require.Equal(t, []string{
		"exporter_enqueue_failed_metric_points", "exporter_queue_capacity", "exporter_queue_size",
		"exporter_send_failed_metric_points", "exporter_sent_metric_points",
		"process_cpu_seconds", "process_memory_rss", "process_runtime_heap_alloc_bytes",
		"process_runtime_total_alloc_bytes", "process_runtime_total_sys_memory_bytes", "process_uptime",
		"receiver_accepted_metric_points", "receiver_refused_metric_points",
	}, names(plain))
	require.NoError(t, testutil.GatherAndCompare(plain, strings.NewReader(`
# HELP otelcol_receiver_accepted_metric_points Metric points taken in.
# TYPE otelcol_receiver_accepted_metric_points counter
otelcol_receiver_accepted_metric_points{receiver="prometheus",transport="http"} 0
`), "otelcol_receiver_accepted_metric_points"))
}
