package query

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/timestamp"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunks"
)

// Cardinality is what a workspace's series are made of, as of a moment.
type Cardinality struct {
	// Time is the moment, in seconds. Samples are counted in the Window before it,
	// new and ended series in the ChurnWindow; both in seconds.
	Time        float64 `json:"time"`
	Window      float64 `json:"windowSeconds"`
	ChurnWindow float64 `json:"churnWindowSeconds"`
	// Total is all of it, Metrics the metrics with the most series, Values the
	// values of Label with the most.
	Total   CardinalityEntry   `json:"total"`
	Metrics []CardinalityEntry `json:"metrics"`
	Label   string             `json:"label"`
	Values  []CardinalityEntry `json:"values"`
	// Labels are the labels with the most values.
	Labels []LabelCardinality `json:"labels"`
	// MetricCount, ValueCount and LabelCount are how many of each there are.
	MetricCount int `json:"metricCount"`
	ValueCount  int `json:"valueCount"`
	LabelCount  int `json:"labelCount"`
	// Prices is what the costs were calculated with.
	Prices *PriceList `json:"prices"`
}

// CardinalityEntry is about some of the series.
type CardinalityEntry struct {
	Name string `json:"name,omitempty"`
	// Series have a sample in the window. Of those that had one in the churn window
	// New did not exist before it, and Ended have none in the window.
	Series int `json:"series"`
	New    int `json:"newSeries"`
	Ended  int `json:"endedSeries"`
	// SamplesPerSecond is the mean over the window.
	SamplesPerSecond float64 `json:"samplesPerSecond"`
	// CostPerMonth is this part's share of what all samples cost, by its samples.
	CostPerMonth float64 `json:"costPerMonth"`

	samples float64
}

// LabelCardinality is about a label.
type LabelCardinality struct {
	Name   string `json:"name"`
	Values int    `json:"values"`
	// Series are those that have the label, Largest the value that most have.
	Series        int    `json:"series"`
	Largest       string `json:"largestValue"`
	LargestSeries int    `json:"largestValueSeries"`
}

// Bounds of a request for cardinality.
const (
	defaultCardinalityLimit  = 20
	maxCardinalityLimit      = 10_000
	defaultCardinalityWindow = 5 * time.Minute
	defaultChurnWindow       = time.Hour
	maxChurnWindow           = 24 * time.Hour
)

type cardinalityRequest struct {
	now           time.Time
	window, churn time.Duration
	limit         int
	label         string
	selectors     [][]*labels.Matcher
}

// cardinalityParameters reads match[], label, limit, window, churn_window and time.
func (h *Handler) cardinalityParameters(r *http.Request) (c cardinalityRequest, err error) {
	c = cardinalityRequest{now: h.cfg.now(), window: defaultCardinalityWindow, churn: defaultChurnWindow, limit: defaultCardinalityLimit, label: r.FormValue("label")}
	if c.label == "" {
		c.label = "job"
	}
	if n, err := limitOf(r, "limit"); err != nil {
		return c, err
	} else if n > 0 {
		c.limit = min(n, maxCardinalityLimit)
	}
	for name, to := range map[string]*time.Duration{"window": &c.window, "churn_window": &c.churn} {
		s := r.FormValue(name)
		if s == "" {
			continue
		}
		d, err := model.ParseDuration(s)
		if err != nil || d == 0 || time.Duration(d) > maxChurnWindow {
			return c, fmt.Errorf("invalid parameter %q: found %q, expected a time span such as 5m, at most %s", name, s, model.Duration(maxChurnWindow))
		}
		*to = time.Duration(d)
	}
	c.churn = max(c.churn, c.window)
	if s := r.FormValue("time"); s != "" {
		v, err := strconv.ParseFloat(s, 64)
		if err != nil || math.Abs(v) > 1e12 {
			return c, fmt.Errorf("invalid parameter \"time\": found %q, expected seconds", s)
		}
		c.now = time.UnixMilli(int64(v * 1000))
	}
	if c.selectors, err = h.parser.ParseMetricSelectors(r.Form["match[]"]); err != nil {
		return c, fmt.Errorf("invalid parameter \"match[]\": %w", err)
	}
	if len(c.selectors) == 0 {
		c.selectors = [][]*labels.Matcher{{labels.MustNewMatcher(labels.MatchRegexp, model.MetricNameLabel, ".*")}}
	}
	return c, nil
}

// serveCardinality answers /cardinality.
func (h *Handler) serveCardinality(w http.ResponseWriter, r *http.Request, st Storage) {
	c, err := h.cardinalityParameters(r)
	if err != nil {
		writeError(w, http.StatusBadRequest, "bad_data", err.Error())
		return
	}
	out, err := h.cardinality(r.Context(), st, c)
	switch {
	case errors.Is(err, errTooMany):
		writeError(w, http.StatusUnprocessableEntity, "execution", fmt.Sprintf("more than %d series are selected (setting query.max_samples)", h.cfg.MaxSamples))
	case errors.Is(err, context.DeadlineExceeded):
		writeError(w, http.StatusUnprocessableEntity, "execution", fmt.Sprintf("took longer than %s (setting query.timeout)", h.cfg.Timeout))
	case errors.Is(err, context.Canceled):
		writeError(w, statusClientGone, "canceled", "the client is gone")
	case err != nil:
		writeError(w, http.StatusInternalServerError, "internal", err.Error())
	default:
		writeJSON(w, http.StatusOK, map[string]any{"status": "success", "data": out})
	}
}

// counting is the state of counting series.
type counting struct {
	cardinalityRequest
	total           CardinalityEntry
	metrics, values map[string]*CardinalityEntry
	labels          map[string]map[string]int // series by label and value
}

// cardinality looks at the chunks of all series, which say when their samples
// begin and end and how many they are, without decoding them.
func (h *Handler) cardinality(ctx context.Context, st Storage, c cardinalityRequest) (*Cardinality, error) {
	// A little more, because a series that existed before has a chunk there.
	mint, maxt := timestamp.FromTime(c.now.Add(-c.churn-h.cfg.LookbackDelta)), timestamp.FromTime(c.now)
	q, err := st.ChunkQuerier(mint, maxt)
	if err != nil {
		return nil, err
	}
	defer func() { _ = q.Close() }() // only read
	hints := &storage.SelectHints{Start: mint, End: maxt, DisableTrimming: true}
	n := counting{cardinalityRequest: c, metrics: map[string]*CardinalityEntry{}, values: map[string]*CardinalityEntry{}, labels: map[string]map[string]int{}}
	var set storage.ChunkSeriesSet
	if len(c.selectors) == 1 {
		set = q.Select(ctx, false, hints, c.selectors[0]...)
	} else {
		var sets []storage.ChunkSeriesSet
		for _, m := range c.selectors {
			sets = append(sets, q.Select(ctx, true, hints, m...))
		}
		set = storage.NewMergeChunkSeriesSet(sets, 0, storage.NewConcatenatingChunkSeriesMerger())
	}
	var it chunks.Iterator
	for seen := 0; set.Next(); seen++ {
		if seen%1024 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if seen >= h.cfg.MaxSamples {
			return nil, errTooMany
		}
		if it, err = n.add(set.At(), it); err != nil {
			return nil, err
		}
	}
	if err := set.Err(); err != nil {
		return nil, err
	}
	return n.result(h.cfg.Prices), nil
}

// add counts a series.
func (n *counting) add(s storage.ChunkSeries, it chunks.Iterator) (chunks.Iterator, error) {
	it = s.Iterator(it)
	end := timestamp.FromTime(n.now)
	from, churnFrom := end-n.window.Milliseconds(), end-n.churn.Milliseconds()
	first, last, samples := int64(math.MaxInt64), int64(math.MinInt64), 0.0
	for it.Next() {
		m := it.At()
		if m.MinTime > end {
			continue
		}
		first, last = min(first, m.MinTime), max(last, m.MaxTime)
		samples += float64(m.Chunk.NumSamples()) * share(m, from, end)
	}
	if err := it.Err(); err != nil {
		return it, err
	}
	if last <= churnFrom {
		return it, nil
	}
	e := CardinalityEntry{samples: samples}
	if last > from {
		e.Series = 1
	} else {
		e.Ended = 1
	}
	if first > churnFrom {
		e.New = 1
	}
	n.total.plus(&e)
	l := s.Labels()
	entryOf(n.metrics, l.Get(model.MetricNameLabel)).plus(&e)
	if v := l.Get(n.label); v != "" {
		entryOf(n.values, v).plus(&e)
	}
	if e.Series == 0 {
		return it, nil
	}
	l.Range(func(l labels.Label) {
		if l.Name == model.MetricNameLabel {
			return
		}
		values := n.labels[l.Name]
		if values == nil {
			values = map[string]int{}
			n.labels[l.Name] = values
		}
		values[l.Value]++
	})
	return it, nil
}

// share is the part of a chunk's samples that is after from and not after end, if
// they are evenly spread.
func share(m chunks.Meta, from, end int64) float64 {
	if m.MaxTime <= from {
		return 0
	}
	if m.MinTime > from && m.MaxTime <= end || m.MaxTime == m.MinTime {
		return 1
	}
	return float64(min(m.MaxTime, end)-max(m.MinTime, from)) / float64(m.MaxTime-m.MinTime)
}

func entryOf(m map[string]*CardinalityEntry, name string) *CardinalityEntry {
	e := m[name]
	if e == nil {
		e = &CardinalityEntry{Name: name}
		m[name] = e
	}
	return e
}

func (e *CardinalityEntry) plus(o *CardinalityEntry) {
	e.Series += o.Series
	e.New += o.New
	e.Ended += o.Ended
	e.samples += o.samples
}

// result sums up.
func (n *counting) result(prices *PriceList) *Cardinality {
	out := &Cardinality{Time: float64(n.now.UnixMilli()) / 1000, Window: n.window.Seconds(), ChurnWindow: n.churn.Seconds(), Total: n.total,
		Label: n.label, MetricCount: len(n.metrics), ValueCount: len(n.values), LabelCount: len(n.labels), Prices: prices,
		Labels: []LabelCardinality{}}
	cost := prices.perMonth(n.total.samples / n.window.Seconds())
	complete := func(e *CardinalityEntry) {
		e.SamplesPerSecond = e.samples / n.window.Seconds()
		if n.total.samples > 0 {
			e.CostPerMonth = cost * e.samples / n.total.samples
		}
	}
	complete(&out.Total)
	most := func(m map[string]*CardinalityEntry) []CardinalityEntry {
		all := make([]CardinalityEntry, 0, len(m))
		for _, e := range m {
			complete(e)
			all = append(all, *e)
		}
		slices.SortFunc(all, func(a, b CardinalityEntry) int {
			return cmp.Or(cmp.Compare(b.Series, a.Series), cmp.Compare(b.New, a.New), cmp.Compare(a.Name, b.Name))
		})
		return all[:min(len(all), n.limit)]
	}
	out.Metrics, out.Values = most(n.metrics), most(n.values)
	for name, values := range n.labels {
		l := LabelCardinality{Name: name, Values: len(values)}
		for v, series := range values {
			l.Series += series
			if series > l.LargestSeries || series == l.LargestSeries && v < l.Largest {
				l.Largest, l.LargestSeries = v, series
			}
		}
		out.Labels = append(out.Labels, l)
	}
	slices.SortFunc(out.Labels, func(a, b LabelCardinality) int {
		return cmp.Or(cmp.Compare(b.Values, a.Values), cmp.Compare(a.Name, b.Name))
	})
	out.Labels = out.Labels[:min(len(out.Labels), n.limit)]
	return out
}
