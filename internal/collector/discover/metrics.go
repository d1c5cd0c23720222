package discover

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type collector struct{ m *Manager }

var (
	descDuplicates = prometheus.NewDesc("mangru_collector_duplicate_targets",
		"Targets that another one before them reads too, at the same address, path and parameters.", nil, nil)
	descDropped = prometheus.NewDesc("mangru_collector_dropped_targets",
		"Discovered targets that are not scraped, by reason.", []string{"job", "reason"}, nil)
	descProblems = prometheus.NewDesc("mangru_collector_failed_discoveries",
		"Service discoveries that do not work at the moment and are tried again.", nil, nil)
	descElsewhere = prometheus.NewDesc("mangru_collector_replica_targets",
		"Targets that replicas of this collector scrape.", []string{"job"}, nil)
	descMembers = prometheus.NewDesc("mangru_collector_members",
		"Replicas that share the targets, this one included.", nil, nil)
)

// Describe implements prometheus.Collector.
func (c collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descDuplicates, descDropped, descProblems, descElsewhere, descMembers} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	c.m.mu.Lock()
	surplus, jobs, who := c.m.surplus, c.m.state.Jobs, c.m.cfg.Members
	c.m.mu.Unlock()
	gauge := func(d *prometheus.Desc, v int, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v), labels...)
	}
	gauge(descDuplicates, surplus)
	gauge(descProblems, c.m.problems.count())
	if who != nil {
		gauge(descMembers, len(who.Ring().Members(time.Now())))
	}
	for _, j := range jobs {
		for reason, n := range j.DroppedCounts {
			gauge(descDropped, n, j.Config.JobName, string(reason))
		}
		if who != nil {
			gauge(descElsewhere, j.Total-len(j.Targets), j.Config.JobName)
		}
	}
}
