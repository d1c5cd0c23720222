package app

import (
	"cmp"
	"maps"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/procfs"

	"github.com/mangru/mangru/internal/otelconf"
)

// otelcolMetrics shows what the collector does under the names that the
// OpenTelemetry Collector has for it, for the dashboards and alerts that exist.
type otelcolMetrics struct {
	c     *Collector
	start time.Time
}

// otelMetric is one of them. Whether its name ends in its unit and in _total, is for
// the configuration to say; as it is by default, it does not.
type otelMetric struct {
	name, unit, help string
	kind             prometheus.ValueType
	labels           []string
}

var (
	otelAccepted = otelMetric{"receiver_accepted_metric_points", "", "Metric points taken in.", prometheus.CounterValue, []string{"receiver", "transport"}}
	otelRefused  = otelMetric{"receiver_refused_metric_points", "", "Metric points that were not taken in.", prometheus.CounterValue, []string{"receiver", "transport"}}
	otelSent     = otelMetric{"exporter_sent_metric_points", "", "Metric points that the destination accepted.", prometheus.CounterValue, []string{"exporter"}}
	otelFailed   = otelMetric{"exporter_send_failed_metric_points", "", "Metric points that the destination refused for good.", prometheus.CounterValue, []string{"exporter"}}
	otelEnqueue  = otelMetric{"exporter_enqueue_failed_metric_points", "", "Metric points for which the queue had no room, or not for long enough.", prometheus.CounterValue, []string{"exporter"}}
	otelQueue    = otelMetric{"exporter_queue_size", "", "Bytes that wait for the destination.", prometheus.GaugeValue, []string{"data_type", "exporter"}}
	otelCapacity = otelMetric{"exporter_queue_capacity", "", "Bytes that may wait for all destinations.", prometheus.GaugeValue, []string{"data_type", "exporter"}}
	otelUptime   = otelMetric{"process_uptime", "seconds", "Seconds since the start.", prometheus.CounterValue, nil}
	otelCPU      = otelMetric{"process_cpu_seconds", "seconds", "CPU time of user and system.", prometheus.CounterValue, nil}
	otelRSS      = otelMetric{"process_memory_rss", "bytes", "Resident memory in bytes.", prometheus.GaugeValue, nil}
	otelHeap     = otelMetric{"process_runtime_heap_alloc_bytes", "bytes", "Bytes of live and not yet swept objects.", prometheus.GaugeValue, nil}
	otelAlloc    = otelMetric{"process_runtime_total_alloc_bytes", "bytes", "Bytes allocated since the start.", prometheus.CounterValue, nil}
	otelSys      = otelMetric{"process_runtime_total_sys_memory_bytes", "bytes", "Bytes that the runtime got from the system.", prometheus.GaugeValue, nil}
)

// desc returns the metric's name and labels as the configuration wants them.
func (o otelMetric) desc(n otelconf.MetricsNames) *prometheus.Desc {
	name := "otelcol_" + o.name
	if n.UnitSuffix && o.unit != "" && !strings.HasSuffix(name, "_"+o.unit) {
		name += "_" + o.unit
	}
	if n.TypeSuffix && o.kind == prometheus.CounterValue {
		name += "_total"
	}
	return prometheus.NewDesc(name, o.help, o.labels, nil)
}

// Describe implements prometheus.Collector: the names change with the configuration.
func (m *otelcolMetrics) Describe(chan<- *prometheus.Desc) {}

// show hands a value on.
type show func(o otelMetric, v float64, labels ...string)

// Collect implements prometheus.Collector.
func (m *otelcolMetrics) Collect(ch chan<- prometheus.Metric) {
	set := m.c.jobs.Load()
	show := func(o otelMetric, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(o.desc(set.names), o.kind, v, labels...)
	}
	m.receivers(set, show)
	m.exporters(set, show)
	m.process(show)
}

// receivers shows what each receiver has taken in, also if that is nothing yet.
func (m *otelcolMetrics) receivers(set *jobSettings, show show) {
	accepted, refused := make(map[string]float64), make(map[string]float64)
	for _, id := range set.receivers {
		accepted[id] += 0
	}
	for job, n := range m.c.scraper.Samples() {
		id := set.receivers[job]
		if id == "" && set.allocator != nil {
			id = set.allocator.Receiver
		}
		id = cmp.Or(id, "prometheus") // of a form of configuration without receivers
		accepted[id] += float64(n.Accepted)
		refused[id] += float64(n.Refused)
	}
	if len(accepted) == 0 {
		accepted["prometheus"] = 0
	}
	for _, id := range slices.Sorted(maps.Keys(accepted)) {
		show(otelAccepted, accepted[id], id, "http")
		show(otelRefused, refused[id], id, "http")
	}
}

// exporters shows what each exporter sends. One may be several endpoints here.
func (m *otelcolMetrics) exporters(set *jobSettings, show show) {
	type sums struct{ sent, failed, lost, waits float64 }
	all := make(map[string]*sums)
	of := func(endpoint string) *sums {
		id := cmp.Or(set.exporters[endpoint], endpoint)
		if all[id] == nil {
			all[id] = &sums{}
		}
		return all[id]
	}
	q := m.c.Queue()
	for _, e := range q.Queue.Endpoints {
		x := of(e.Name)
		x.waits += float64(e.Bytes)
		for _, n := range e.Dropped {
			x.lost += float64(n)
		}
	}
	for _, s := range q.Senders {
		x := of(s.Name)
		x.sent += float64(s.Sent)
		x.failed += float64(s.Refused)
	}
	for _, id := range slices.Sorted(maps.Keys(all)) {
		x := all[id]
		show(otelSent, x.sent, id)
		show(otelFailed, x.failed, id)
		show(otelEnqueue, x.lost, id)
		show(otelQueue, x.waits, "metrics", id)
		show(otelCapacity, float64(q.Queue.MaxBytes), "metrics", id)
	}
}

func (m *otelcolMetrics) process(show show) {
	show(otelUptime, time.Since(m.start).Seconds())
	if p, err := procfs.Self(); err == nil {
		if st, err := p.Stat(); err == nil {
			show(otelCPU, st.CPUTime())
			show(otelRSS, float64(st.ResidentMemory()))
		}
	}
	var ms runtime.MemStats
	runtime.ReadMemStats(&ms)
	show(otelHeap, float64(ms.HeapAlloc))
	show(otelAlloc, float64(ms.TotalAlloc))
	show(otelSys, float64(ms.Sys))
}
