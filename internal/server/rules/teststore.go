package rules

import (
	"context"
	"slices"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/annotations"
)

// testStore holds the samples of a test, of which there are few, in memory. It is
// for one goroutine at a time.
type testStore struct {
	series map[string]*testSeries
}

type testSeries struct {
	labels  labels.Labels
	samples []chunks.Sample // by time
}

// sample is a value at a time in milliseconds; one with a histogram has no value.
type sample struct {
	t int64
	f float64
	h *histogram.FloatHistogram
}

// T implements chunks.Sample.
func (s sample) T() int64 { return s.t }

// ST implements chunks.Sample.
func (sample) ST() int64 { return 0 }

// F implements chunks.Sample.
func (s sample) F() float64 { return s.f }

// H implements chunks.Sample.
func (sample) H() *histogram.Histogram { return nil }

// FH implements chunks.Sample.
func (s sample) FH() *histogram.FloatHistogram { return s.h }

// Type implements chunks.Sample.
func (s sample) Type() chunkenc.ValueType {
	if s.h != nil {
		return chunkenc.ValFloatHistogram
	}
	return chunkenc.ValFloat
}

// Copy implements chunks.Sample.
func (s sample) Copy() chunks.Sample {
	if s.h != nil {
		s.h = s.h.Copy()
	}
	return s
}

func newTestStore() *testStore { return &testStore{series: make(map[string]*testSeries)} }

// add puts a sample into its place, that of another one of the same time.
func (s *testStore) add(l labels.Labels, v sample) {
	key := string(l.Bytes(nil))
	e := s.series[key]
	if e == nil {
		e = &testSeries{labels: l}
		s.series[key] = e
	}
	i, found := slices.BinarySearchFunc(e.samples, v.t, func(a chunks.Sample, t int64) int { return int(a.T() - t) })
	if found {
		e.samples[i] = v
		return
	}
	e.samples = slices.Insert(e.samples, i, chunks.Sample(v))
}

// Querier implements storage.Queryable.
func (s *testStore) Querier(mint, maxt int64) (storage.Querier, error) {
	return &testQuerier{store: s, mint: mint, maxt: maxt}, nil
}

type testQuerier struct {
	store      *testStore
	mint, maxt int64
}

// Select implements storage.Querier.
func (q *testQuerier) Select(_ context.Context, _ bool, _ *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	set := &testSet{at: -1}
	for _, e := range q.store.series {
		if slices.ContainsFunc(matchers, func(m *labels.Matcher) bool { return !m.Matches(e.labels.Get(m.Name)) }) {
			continue
		}
		from, _ := slices.BinarySearchFunc(e.samples, q.mint, func(a chunks.Sample, t int64) int { return int(a.T() - t) })
		to, _ := slices.BinarySearchFunc(e.samples, q.maxt+1, func(a chunks.Sample, t int64) int { return int(a.T() - t) })
		if from < to {
			set.series = append(set.series, storage.NewListSeries(e.labels, slices.Clone(e.samples[from:to])))
		}
	}
	slices.SortFunc(set.series, func(a, b storage.Series) int { return labels.Compare(a.Labels(), b.Labels()) })
	return set
}

// LabelValues implements storage.Querier. No query asks.
func (*testQuerier) LabelValues(context.Context, string, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, nil, errUnsupported
}

// LabelNames implements storage.Querier. No query asks.
func (*testQuerier) LabelNames(context.Context, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, nil, errUnsupported
}

// Close implements storage.Querier.
func (*testQuerier) Close() error { return nil }

type testSet struct {
	series []storage.Series
	at     int
}

// Next implements storage.SeriesSet.
func (s *testSet) Next() bool {
	s.at++
	return s.at < len(s.series)
}

// At implements storage.SeriesSet.
func (s *testSet) At() storage.Series { return s.series[s.at] }

// Err implements storage.SeriesSet.
func (*testSet) Err() error { return nil }

// Warnings implements storage.SeriesSet.
func (*testSet) Warnings() annotations.Annotations { return nil }

// Appender implements storage.Appendable.
func (s *testStore) Appender(context.Context) storage.Appender { return &testAppender{store: s} }

// testAppender holds what rules result in until Commit. What rules do not use is
// as in appender.
type testAppender struct {
	*appender
	store   *testStore
	pending []pendingSample
}

type pendingSample struct {
	labels labels.Labels
	sample sample
}

// Append implements storage.Appender.
func (a *testAppender) Append(_ storage.SeriesRef, l labels.Labels, t int64, v float64) (storage.SeriesRef, error) {
	a.pending = append(a.pending, pendingSample{l, sample{t: t, f: v}})
	return 0, nil
}

// AppendHistogram implements storage.Appender.
func (a *testAppender) AppendHistogram(_ storage.SeriesRef, l labels.Labels, t int64, h *histogram.Histogram, fh *histogram.FloatHistogram) (storage.SeriesRef, error) {
	if h != nil {
		fh = h.ToFloat(nil)
	}
	a.pending = append(a.pending, pendingSample{l, sample{t: t, h: fh}})
	return 0, nil
}

// SetOptions implements storage.Appender.
func (*testAppender) SetOptions(*storage.AppendOptions) {}

// Commit implements storage.Appender.
func (a *testAppender) Commit() error {
	for _, p := range a.pending {
		a.store.add(p.labels, p.sample)
	}
	return nil
}

// Rollback implements storage.Appender.
func (*testAppender) Rollback() error { return nil }
