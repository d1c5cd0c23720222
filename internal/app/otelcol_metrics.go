package app

import (
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/procfs"
)

// otelcolMetrics shows what the collector does under the names that the
// OpenTelemetry Collector has for it, for the dashboards and alerts that exist.
type otelcolMetrics struct {
	c     *Collector
	start time.Time
}

// Names and labels are those of the OpenTelemetry Collector's own telemetry as
// it is by default: without type and unit suffixes.
var (
	otelAccepted = otelDesc("receiver_accepted_metric_points", "Metric points taken in.", "receiver", "transport")
	otelRefused  = otelDesc("receiver_refused_metric_points", "Metric points that were not taken in.", "receiver", "transport")
	otelSent     = otelDesc("exporter_sent_metric_points", "Metric points that the destination accepted.", "exporter")
	otelFailed   = otelDesc("exporter_send_failed_metric_points", "Metric points that were lost on the way to the destination.", "exporter")
	otelQueue    = otelDesc("exporter_queue_size", "Metric points that wait for the destination.", "exporter")
	otelUptime   = otelDesc("process_uptime", "Seconds since the start.")
	otelCPU      = otelDesc("process_cpu_seconds", "CPU time of user and system.")
	otelRSS      = otelDesc("process_memory_rss", "Resident memory in bytes.")
	otelHeap     = otelDesc("process_runtime_heap_alloc_bytes", "Bytes of live and not yet swept objects.")
	otelAlloc    = otelDesc("process_runtime_total_alloc_bytes", "Bytes allocated since the start.")
	otelSys      = otelDesc("process_runtime_total_sys_memory_bytes", "Bytes that the runtime got from the system.")
)

func otelDesc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("otelcol_"+name, help, labels, nil)
}

// Describe implements prometheus.Collector.
func (m *otelcolMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		otelAccepted, otelRefused, otelSent, otelFailed, otelQueue,
		otelUptime, otelCPU, otelRSS, otelHeap, otelAlloc, otelSys,
	} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m *otelcolMetrics) Collect(ch chan<- prometheus.Metric) {
	counter := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	var accepted, refused float64
	for _, n := range m.c.scraper.Samples() {
		accepted += float64(n.Accepted)
		refused += float64(n.Refused)
	}
	counter(otelAccepted, accepted, "prometheus", "http")
	counter(otelRefused, refused, "prometheus", "http")
	q := m.c.Queue()
	lost := make(map[string]float64)
	for _, e := range q.Queue.Endpoints {
		gauge(otelQueue, float64(e.Samples), e.Name)
		for _, n := range e.Dropped {
			lost[e.Name] += float64(n)
		}
	}
	for _, s := range q.Senders {
		counter(otelSent, float64(s.Sent), s.Name)
		counter(otelFailed, float64(s.Refused)+lost[s.Name], s.Name)
	}
	m.process(counter, gauge)
}

func (m *otelcolMetrics) process(counter, gauge func(d *prometheus.Desc, v float64, labels ...string)) {
	counter(otelUptime, time.Since(m.start).Seconds())
	if p, err := procfs.Self(); err == nil {
		if st, err := p.Stat(); err == nil {
			counter(otelCPU, st.CPUTime())
			gauge(otelRSS, float64(st.ResidentMemory()))
		}
	}
	var ms runtime.MemStats
	runtime.ReadMemStats(&ms)
	gauge(otelHeap, float64(ms.HeapAlloc))
	counter(otelAlloc, float64(ms.TotalAlloc))
	gauge(otelSys, float64(ms.Sys))
}
