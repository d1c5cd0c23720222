package engine

import (
	"context"
	"errors"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/parser/posrange"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/util/annotations"
)

// substituting is the storage that the inner engine sees: the real one, and
// besides it the results computed ahead, each found by the one matcher that its
// selector has.
type substituting struct {
	storage.Queryable
	opened  storage.Querier // ahead of time; not yet the inner engine's
	results map[*labels.Matcher]*result
}

// open makes the querier that the inner engine will ask for.
func (s *substituting) open(mint, maxt int64) (err error) {
	s.opened, err = s.Queryable.Querier(mint, maxt)
	return err
}

// close closes the querier if nobody came for it.
func (s *substituting) close() {
	if s.opened != nil {
		_ = s.opened.Close() // nothing was read
		s.opened = nil
	}
}

// add keeps a result and returns the expression that selects it. It is in
// parentheses, because there are functions that do something else for a selector
// than for another expression.
func (s *substituting) add(r *result, pos posrange.PositionRange) parser.Expr {
	if s.results == nil {
		s.results = make(map[*labels.Matcher]*result)
	}
	m := &labels.Matcher{Type: labels.MatchEqual, Name: model.MetricNameLabel, Value: "computed"}
	s.results[m] = r
	return &parser.ParenExpr{PosRange: pos, Expr: &parser.VectorSelector{Name: m.Value, LabelMatchers: []*labels.Matcher{m}, PosRange: pos}}
}

// resultOf returns what was computed for an expression, if it was.
func (s *substituting) resultOf(e parser.Expr) *result {
	e, _ = bare(e, nil)
	if v, ok := e.(*parser.VectorSelector); ok && len(v.LabelMatchers) == 1 {
		return s.results[v.LabelMatchers[0]]
	}
	return nil
}

// Querier implements storage.Queryable.
func (s *substituting) Querier(mint, maxt int64) (storage.Querier, error) {
	q := s.opened
	if q == nil {
		var err error
		if q, err = s.Queryable.Querier(mint, maxt); err != nil {
			return nil, err
		}
	}
	s.opened = nil
	if len(s.results) == 0 {
		return q, nil
	}
	return &substitutingQuerier{q, s.results}, nil
}

type substitutingQuerier struct {
	storage.Querier
	results map[*labels.Matcher]*result
}

// Select implements storage.Querier.
func (q *substitutingQuerier) Select(ctx context.Context, sorted bool, hints *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	if len(matchers) == 1 {
		if r := q.results[matchers[0]]; r != nil {
			return &resultSet{result: r, at: -1}
		}
	}
	return q.Querier.Select(ctx, sorted, hints, matchers...)
}

type resultSet struct {
	result *result
	at     int
}

func (s *resultSet) Next() bool                        { s.at++; return s.at < len(s.result.series) }
func (s *resultSet) Err() error                        { return nil }
func (s *resultSet) Warnings() annotations.Annotations { return s.result.warnings }
func (s *resultSet) At() storage.Series {
	return &resultSeries{s.result.series[s.at], s.result.steps}
}

// computed is a series with a value for each step, or absent.
type computed struct {
	labels labels.Labels
	values []float64
}

type resultSeries struct {
	computed
	steps steps
}

// Labels implements storage.Series.
func (s *resultSeries) Labels() labels.Labels { return s.labels }

// Iterator implements storage.Series.
func (s *resultSeries) Iterator(it chunkenc.Iterator) chunkenc.Iterator {
	r, ok := it.(*resultIterator)
	if !ok {
		r = new(resultIterator)
	}
	*r = resultIterator{values: s.values, steps: s.steps, at: -1}
	return r
}

// resultIterator goes through all steps. One without a value has the mark of a
// series that has ended, which keeps the engine from looking further back.
type resultIterator struct {
	values []float64
	steps  steps
	at     int
}

// milliseconds tell Seek, which is chunkenc.Iterator's, from io.Seeker's: go vet
// goes by the type's name.
type milliseconds = int64

var errFloats = errors.New("values computed ahead are floats")

func (r *resultIterator) Next() chunkenc.ValueType {
	if r.at+1 >= len(r.values) {
		r.at = len(r.values)
		return chunkenc.ValNone
	}
	r.at++
	return chunkenc.ValFloat
}

func (r *resultIterator) Seek(t milliseconds) chunkenc.ValueType {
	at := 0
	if t > r.steps.start {
		at = int((t - r.steps.start + r.steps.interval - 1) / r.steps.interval)
	}
	r.at = max(r.at, at)
	if r.at >= len(r.values) {
		r.at = len(r.values)
		return chunkenc.ValNone
	}
	return chunkenc.ValFloat
}

func (r *resultIterator) At() (int64, float64) { return r.AtT(), r.values[r.at] }
func (r *resultIterator) AtT() int64           { return r.steps.start + int64(r.at)*r.steps.interval }
func (r *resultIterator) AtST() int64          { return 0 }
func (r *resultIterator) Err() error           { return nil }
func (r *resultIterator) AtHistogram(*histogram.Histogram) (int64, *histogram.Histogram) {
	panic(errFloats)
}
func (r *resultIterator) AtFloatHistogram(*histogram.FloatHistogram) (int64, *histogram.FloatHistogram) {
	panic(errFloats)
}

// absent is the value of a step without one. No calculation has it as a result:
// it is a signalling NaN, which any operation makes a quiet one.
const absent = value.StaleNaN
