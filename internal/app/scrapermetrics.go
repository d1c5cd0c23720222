package app

import "github.com/prometheus/client_golang/prometheus"

// Describe implements prometheus.Collector. It describes nothing: which metrics
// there are depends on the scrapers.
func (r *scrapers) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector: the metrics of all scrapers'
// collectors, each with a label that names the scraper.
func (r *scrapers) Collect(out chan<- prometheus.Metric) {
	for id, run := range r.all() {
		prometheus.WrapCollectorWith(prometheus.Labels{"scraper": id}, run.registry).Collect(out)
	}
}
