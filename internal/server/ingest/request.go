package ingest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
	"unicode/utf8"
	"unsafe"

	commonmodel "github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"

	"github.com/mangru/mangru/internal/wire"
)

// request is the state of one remote-write request, reused for the next.
type request struct {
	h         *Handler
	target    Target
	workspace string
	app       storage.Appender
	cache     *refCache

	msg      []byte
	dec      wire.Decoder
	views    []wire.LabelView
	exLabels []wire.LabelView
	builder  labels.ScratchBuilder

	oldest, newest int64 // bounds of sample times, milliseconds
	stored         int
	discarded      map[reason]int
	first          string // the first error, for the sender
}

// cacheKey is the key of the reference cache among a database's values.
type cacheKey struct{}

func (q *request) begin(h *Handler, t Target, workspace string) {
	q.h, q.target, q.workspace = h, t, workspace
	q.cache = t.Value(cacheKey{}, func() any { return newRefCache(h.cfg.Now()) }).(*refCache)
	now, l := h.cfg.Now(), &h.cfg.Limits
	q.cache.turn(now)
	q.oldest, q.newest = -1<<62, 1<<62
	if l.MaxSampleAge > 0 {
		q.oldest = now.Add(-l.MaxSampleAge).UnixMilli()
	}
	if l.MaxSampleFuture > 0 {
		q.newest = now.Add(l.MaxSampleFuture).UnixMilli()
	}
	q.stored, q.first = 0, ""
	clear(q.discarded)
}

// end drops what belongs to the request, so that the pool holds on to nothing.
func (q *request) end() {
	q.h, q.target, q.app, q.cache = nil, nil, nil, nil
	q.dec.Reset(nil, wire.Limits{})
}

// store appends what is good. It returns an error when nothing was stored:
// the message cannot be read, or the database refused to commit.
func (q *request) store(ctx context.Context) error {
	l := &q.h.cfg.Limits
	q.dec.Reset(q.msg, wire.Limits{Series: max(l.MaxSeriesPerRequest, 0), Samples: max(l.MaxSamplesPerRequest, 0)})
	q.app = q.target.Appender(ctx)
	done := false
	defer func() {
		if !done {
			_ = q.app.Rollback() // after Commit it does nothing
		}
	}()
	for q.dec.Next() {
		q.appendSeries(q.dec.Series())
	}
	if err := q.dec.Err(); err != nil {
		return q.unreadable(err)
	}
	done = true
	if err := q.app.Commit(); err != nil {
		return fmt.Errorf("commit samples: %w", err)
	}
	for _, m := range q.dec.Metadata() {
		q.target.SetMetadata(string(m.Family), metricType(m.Type), string(m.Help), string(m.Unit))
	}
	q.h.metrics.count(q.workspace, q.stored, q.discarded)
	return nil
}

func (q *request) unreadable(err error) error {
	if errors.Is(err, wire.ErrTooLarge) {
		err = fmt.Errorf("%w (settings limits.max_series_per_request and limits.max_samples_per_request)", err)
		return &badRequestError{http.StatusRequestEntityTooLarge, "too_large", err}
	}
	return &badRequestError{http.StatusBadRequest, "bad_protobuf", err}
}

// series is where a series' samples go.
type series struct {
	key    refKey
	ref    storage.SeriesRef // zero while unknown
	labels labels.Labels     // empty as long as ref is enough
	bytes  []byte
}

func (q *request) appendSeries(ts *wire.TimeSeries) {
	s := series{bytes: ts.LabelBytes}
	s.key = q.cache.key(s.bytes)
	s.ref = q.cache.get(s.key)
	items := len(ts.Samples) + len(ts.Histograms)
	if s.ref == 0 {
		if r, msg := q.resolve(&s); r != "" {
			q.discard(r, items, msg)
			return
		}
	}
	for _, smp := range ts.Samples {
		q.appendOne(&s, item{t: smp.Time, v: smp.Value})
	}
	for _, b := range ts.Histograms {
		q.appendHistogram(&s, b)
	}
	for _, b := range ts.Exemplars {
		q.appendExemplar(&s, b)
	}
}

// item is a sample of any kind.
type item struct {
	t  int64
	v  float64
	h  *histogram.Histogram
	fh *histogram.FloatHistogram
}

func (q *request) add(s *series, it item) (storage.SeriesRef, error) {
	if it.h != nil || it.fh != nil {
		return q.app.AppendHistogram(s.ref, s.labels, it.t, it.h, it.fh)
	}
	return q.app.Append(s.ref, s.labels, it.t, it.v)
}

// appendOne appends a sample and keeps the books.
func (q *request) appendOne(s *series, it item) {
	if it.t < q.oldest || it.t > q.newest {
		q.discardTime(s, it.t)
		return
	}
	ref, err := q.add(s, it)
	if err != nil && s.ref != 0 && s.labels.IsEmpty() && errors.Is(err, tsdb.ErrInvalidSample) {
		// The series has left memory since its reference was noted.
		s.ref = 0
		if r, msg := q.resolve(s); r != "" {
			q.discard(r, 1, msg)
			return
		}
		ref, err = q.add(s, it)
	}
	if err != nil {
		r := reasonOf(err)
		if q.first == "" {
			q.discard(r, 1, fmt.Sprintf("%v: timestamp %s, series %s", err, formatTime(it.t), q.describe(s)))
		} else {
			q.discard(r, 1, "")
		}
		return
	}
	if ref != s.ref {
		s.ref = ref
		q.cache.put(s.key, ref)
	}
	q.stored++
}

func (q *request) appendHistogram(s *series, b []byte) {
	var p prompb.Histogram
	if err := p.Unmarshal(b); err != nil {
		q.discard(reasonHistogram, 1, fmt.Sprintf("native histogram of series %s: %v", q.describe(s), err))
		return
	}
	it := item{t: p.Timestamp}
	if p.IsFloatHistogram() {
		it.fh = p.ToFloatHistogram()
	} else {
		it.h = p.ToIntHistogram()
	}
	q.appendOne(s, it)
}

// appendExemplar keeps an exemplar. One that does not fit is counted and no
// more: exemplars are hints, and senders repeat old ones.
func (q *request) appendExemplar(s *series, b []byte) {
	e, err := wire.DecodeExemplar(q.exLabels, b)
	q.exLabels = e.Labels
	if err == nil && s.ref != 0 && e.Time >= q.oldest && e.Time <= q.newest {
		_, err = q.app.AppendExemplar(s.ref, s.labels, exemplar.Exemplar{
			Labels: q.build(e.Labels), Value: e.Value, Ts: e.Time, HasTs: true})
		if err == nil || errors.Is(err, storage.ErrDuplicateExemplar) {
			return
		}
	}
	q.h.metrics.exemplars.WithLabelValues(q.workspace).Inc()
}

// resolve reads and checks the labels of a series that has no reference.
func (q *request) resolve(s *series) (reason, string) {
	var err error
	if q.views, err = wire.DecodeLabels(q.views[:0], s.bytes); err != nil {
		return reasonLabelInvalid, fmt.Sprintf("labels of a series: %v", err)
	}
	if r, msg := checkLabels(q.views, &q.h.cfg.Limits); r != "" {
		return r, msg
	}
	s.labels = q.build(q.views)
	if name, dup := s.labels.HasDuplicateLabelNames(); dup {
		return reasonDuplicateLabel, fmt.Sprintf("duplicate label name %q in series %s", name, s.labels)
	}
	if limit := q.h.cfg.Limits.MaxSeries; limit > 0 && q.target.NumSeries() >= uint64(limit) {
		// Only series that are not there yet are refused.
		g, ok := q.app.(storage.GetRef)
		if !ok {
			return reasonSeriesLimit, seriesLimitMessage(limit)
		}
		if s.ref, _ = g.GetRef(s.labels, s.labels.Hash()); s.ref == 0 {
			return reasonSeriesLimit, seriesLimitMessage(limit)
		}
		q.cache.put(s.key, s.ref)
	}
	return "", ""
}

func seriesLimitMessage(limit int) string {
	return fmt.Sprintf("per-user series limit of %d exceeded (setting limits.max_series)", limit)
}

// build makes Prometheus' form of labels. It copies the bytes.
func (q *request) build(views []wire.LabelView) labels.Labels {
	q.builder.Reset()
	for _, v := range views {
		if len(v.Value) > 0 { // an empty value is the same as no label
			q.builder.Add(viewString(v.Name), viewString(v.Value))
		}
	}
	q.builder.Sort()
	return q.builder.Labels()
}

// viewString makes a string without copying, for the builder, which copies what
// it is given before the message's buffer is used again.
func viewString(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// describe writes a series for an error message.
func (q *request) describe(s *series) string {
	if !s.labels.IsEmpty() {
		return s.labels.String()
	}
	views, err := wire.DecodeLabels(nil, s.bytes)
	if err != nil {
		return "{?}"
	}
	return q.build(views).String()
}

func (q *request) discard(r reason, samples int, msg string) {
	if q.discarded == nil {
		q.discarded = make(map[reason]int)
	}
	q.discarded[r] += samples
	if q.first == "" {
		q.first = msg
	}
}

func (q *request) discardTime(s *series, t int64) {
	r, limit, knob := reasonTooOld, q.h.cfg.Limits.MaxSampleAge, "limits.max_sample_age"
	if t > q.newest {
		r, limit, knob = reasonFuture, q.h.cfg.Limits.MaxSampleFuture, "limits.max_sample_future"
	}
	msg := ""
	if q.first == "" {
		msg = fmt.Sprintf("sample at %s is more than %s from now (setting %s): series %s", formatTime(t), limit, knob, q.describe(s))
	}
	q.discard(r, 1, msg)
}

func formatTime(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z") }

// checkLabels holds a series' labels against the rules and limits.
func checkLabels(views []wire.LabelView, l *Limits) (reason, string) {
	if l.MaxLabels > 0 && len(views) > l.MaxLabels {
		return reasonLabelCount, fmt.Sprintf("series has %d labels, allowed are %d (setting limits.max_labels)", len(views), l.MaxLabels)
	}
	named := false
	for _, v := range views {
		switch {
		case len(v.Name) == 0:
			return reasonLabelInvalid, "a label has no name"
		case l.MaxLabelName > 0 && len(v.Name) > l.MaxLabelName:
			return reasonNameLength, fmt.Sprintf("label name %.50q... has %d bytes, allowed are %d (setting limits.max_label_name)", v.Name, len(v.Name), l.MaxLabelName)
		case l.MaxLabelValue > 0 && len(v.Value) > l.MaxLabelValue:
			return reasonValueLength, fmt.Sprintf("value of label %.200q has %d bytes, allowed are %d (setting limits.max_label_value)", v.Name, len(v.Value), l.MaxLabelValue)
		case !utf8.Valid(v.Name) || !utf8.Valid(v.Value):
			if string(v.Name) == commonmodel.MetricNameLabel {
				return reasonMetricName, "the metric name is not valid UTF-8"
			}
			return reasonLabelInvalid, fmt.Sprintf("label %.200q is not valid UTF-8", v.Name)
		}
		named = named || string(v.Name) == commonmodel.MetricNameLabel && len(v.Value) > 0
	}
	if !named {
		return reasonNoName, "series without a metric name (label __name__)"
	}
	return "", ""
}
