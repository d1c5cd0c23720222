package app

import (
	"errors"
	"slices"
	"sort"

	dto "github.com/prometheus/client_model/go"
)

// Gather implements prometheus.Gatherer: the metrics of all scrapers' collectors,
// each with a label that names the scraper.
func (r *scrapers) Gather() ([]*dto.MetricFamily, error) {
	r.mu.Lock()
	running := make(map[string]*runningScraper, len(r.running))
	for id, run := range r.running {
		running[id] = run
	}
	r.mu.Unlock()
	byName := make(map[string]*dto.MetricFamily)
	var errs []error
	for id, run := range running {
		families, err := run.registry.Gather()
		if err != nil {
			errs = append(errs, err)
		}
		for _, f := range families {
			for _, m := range f.GetMetric() {
				name, value := "scraper", id
				m.Label = append(m.Label, &dto.LabelPair{Name: &name, Value: &value})
				sort.Slice(m.Label, func(i, j int) bool { return m.Label[i].GetName() < m.Label[j].GetName() })
			}
			if have := byName[f.GetName()]; have != nil {
				have.Metric = append(have.Metric, f.GetMetric()...)
			} else {
				byName[f.GetName()] = f
			}
		}
	}
	out := make([]*dto.MetricFamily, 0, len(byName))
	for _, f := range byName {
		out = append(out, f)
	}
	slices.SortFunc(out, func(a, b *dto.MetricFamily) int {
		if a.GetName() < b.GetName() {
			return -1
		}
		return 1
	})
	return out, errors.Join(errs...)
}
