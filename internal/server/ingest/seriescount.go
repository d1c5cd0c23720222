package ingest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	commonmodel "github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunks"
)

// SeriesCounts counts the series in memory of each workspace by metric and by
// label set, for those limits. The database tells it what comes and goes: see
// Callback. It is safe for concurrent use.
type SeriesCounts struct {
	mu sync.Mutex
	m  map[string]*seriesCount
}

// NewSeriesCounts returns counts of nothing.
func NewSeriesCounts() *SeriesCounts { return &SeriesCounts{m: make(map[string]*seriesCount)} }

// Callback returns what the database of a workspace has to tell. It is called
// whenever the database is opened, and begins from zero.
func (c *SeriesCounts) Callback(workspaceID string) tsdb.SeriesLifecycleCallback {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := new(seriesCount)
	c.m[workspaceID] = n
	return n
}

// get returns the counts of a workspace, nil for one that tells nothing.
func (c *SeriesCounts) get(workspaceID string) *seriesCount {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.m[workspaceID]
}

func (c *SeriesCounts) forget(workspaceID string) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.m, workspaceID)
}

// seriesCount counts the series of one open database. As long as no limit needs
// it, it counts nothing.
type seriesCount struct {
	mu      sync.Mutex
	on      bool
	metrics map[string]int // nil unless there is a limit per metric
	sets    []labelSet
	given   []LabelSetLimit // what sets were made of
}

// labelSet is a LabelSetLimit with how many series are in it.
type labelSet struct {
	labels labels.Labels
	limit  int
	series int
}

func (s *labelSet) holds(l labels.Labels) bool {
	in := true
	s.labels.Range(func(want labels.Label) {
		in = in && l.Get(want.Name) == want.Value
	})
	return in
}

// PreCreation implements tsdb.SeriesLifecycleCallback.
func (*seriesCount) PreCreation(labels.Labels) error { return nil }

// PostCreation implements tsdb.SeriesLifecycleCallback.
func (c *seriesCount) PostCreation(l labels.Labels) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count(l, 1)
}

// PostDeletion implements tsdb.SeriesLifecycleCallback.
func (c *seriesCount) PostDeletion(gone map[chunks.HeadSeriesRef]labels.Labels) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range gone {
		c.count(l, -1)
	}
}

func (c *seriesCount) count(l labels.Labels, by int) {
	if !c.on {
		return
	}
	if c.metrics != nil {
		name := l.Get(commonmodel.MetricNameLabel)
		if n := c.metrics[name] + by; n > 0 {
			c.metrics[strings.Clone(name)] = n
		} else {
			delete(c.metrics, name)
		}
	}
	for _, i := range c.setsOf(l) {
		c.sets[i].series = max(0, c.sets[i].series+by)
	}
}

// setsOf returns the places of the sets that a series is in. The set without
// labels has those that are in no other.
func (c *seriesCount) setsOf(l labels.Labels) (in []int) {
	rest := -1
	for i := range c.sets {
		if c.sets[i].labels.IsEmpty() {
			rest = i
		} else if c.sets[i].holds(l) {
			in = append(in, i)
		}
	}
	if len(in) == 0 && rest >= 0 {
		in = append(in, rest)
	}
	return in
}

// use makes the limits those of a request. If others were in use, what is in
// memory is counted again.
func (c *seriesCount) use(ctx context.Context, l *Limits, each func(context.Context, func(labels.Labels)) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	on := l.MaxSeriesPerMetric > 0 || len(l.LabelSets) > 0
	if on == c.on && (c.metrics != nil) == (l.MaxSeriesPerMetric > 0) && slices.EqualFunc(c.given, l.LabelSets, sameLabelSet) {
		for i := range c.sets {
			c.sets[i].limit = l.LabelSets[i].MaxSeries
		}
		return nil
	}
	c.on, c.metrics, c.sets, c.given = on, nil, nil, slices.Clone(l.LabelSets)
	if !on {
		return nil
	}
	if l.MaxSeriesPerMetric > 0 {
		c.metrics = make(map[string]int)
	}
	for _, s := range l.LabelSets {
		c.sets = append(c.sets, labelSet{labels: labels.FromMap(s.Labels), limit: s.MaxSeries})
	}
	if err := each(ctx, func(l labels.Labels) { c.count(l, 1) }); err != nil {
		c.on, c.given = false, nil // again with the next request
		return fmt.Errorf("count series: %w", err)
	}
	return nil
}

func sameLabelSet(a, b LabelSetLimit) bool {
	if len(a.Labels) != len(b.Labels) {
		return false
	}
	for name, value := range a.Labels {
		if other, ok := b.Labels[name]; !ok || other != value {
			return false
		}
	}
	return true
}

// check says whether there is room for a new series.
func (c *seriesCount) check(l labels.Labels, perMetric int) (reason, string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.on {
		return "", ""
	}
	if c.metrics != nil && perMetric > 0 {
		if n := c.metrics[l.Get(commonmodel.MetricNameLabel)]; n >= perMetric {
			return reasonMetricSeriesLimit, fmt.Sprintf("per-metric series limit of %d exceeded (setting limits.max_series_per_metric): (local limit: 0 global limit: %d actual local limit: %d) for series %s",
				perMetric, perMetric, perMetric, l)
		}
	}
	for _, i := range c.setsOf(l) {
		if s := &c.sets[i]; s.limit > 0 && s.series >= s.limit {
			return reasonLabelSetLimit, fmt.Sprintf("per-labelset series limit of %d exceeded (labelSet: %s) for series %s", s.limit, s.labels, l)
		}
	}
	return "", ""
}
