package ingest

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"sync/atomic"

	commonmodel "github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"

	"github.com/mangru/mangru/internal/wire"
)

// series is the series that samples go to just now.
type series struct {
	bytes   []byte        // encoded labels, of 1.0
	refs    []uint32      // labels, of 2.0
	sent    labels.Labels // labels, of OTLP
	key     seriesKey
	ordinal uint32 // which one of the message
	place   int    // in the cache, -1 for none
	fresh   int    // in request.fresh, -1 for none
	last    int    // the newest sample so far in request.book, -1 for none
	ref     storage.SeriesRef
	group   uint16
	start   uint32
	labels  labels.Labels // as stored; empty as long as ref is enough
}

func (q *request) wireLimits() wire.Limits {
	return wire.Limits{Series: max(q.limits.MaxSeriesPerRequest, 0), Samples: max(q.limits.MaxSamplesPerRequest, 0)}
}

// takeV1 takes the series of a remote write 1.0 message.
func (q *request) takeV1() error {
	q.v1.Reset(q.msg, q.wireLimits())
	for n := 0; q.v1.Next(); n++ {
		q.breathe(n)
		ts := q.v1.Series()
		q.s = series{bytes: ts.LabelBytes, key: q.cache.bytesKey(ts.LabelBytes), ordinal: uint32(n)}
		if !q.enter(len(ts.Samples)+len(ts.Histograms), len(ts.Exemplars)) {
			continue
		}
		for _, smp := range ts.Samples {
			q.appendFloat(smp.Time, smp.Value, 0)
		}
		for _, b := range ts.Histograms {
			q.appendHistogram(b)
		}
		for _, b := range ts.Exemplars {
			q.appendExemplar(b)
		}
	}
	if err := q.v1.Err(); err != nil {
		return unreadable(err)
	}
	for _, m := range q.v1.Metadata() {
		q.describe(string(m.Family), m.Type, m.Help, m.Unit)
	}
	return nil
}

// takeV2 takes the series of a remote write 2.0 message.
func (q *request) takeV2() error {
	q.v2.Reset(q.msg, q.wireLimits())
	q.symbols = q.cache.hashSymbols(q.symbols[:0], &q.v2)
	for n := 0; q.v2.Next(); n++ {
		q.breathe(n)
		ts := q.v2.Series()
		items := len(ts.Samples) + len(ts.Histograms)
		q.s = series{refs: ts.Refs, ordinal: uint32(n)}
		var ok bool
		if q.s.key, ok = symbolsKey(q.symbols, ts.Refs); !ok {
			_, err := q.v2.Labels(nil, ts.Refs)
			q.discard(reasonLabelInvalid, items, fmt.Sprintf("labels of a series: %v", err))
			q.discardExemplars(len(ts.Exemplars), "series")
			continue
		}
		if !q.entersV2(ts, items) {
			continue
		}
		for i, smp := range ts.Samples {
			start := int64(0)
			if len(ts.Starts) > 0 {
				start = ts.Starts[i]
			}
			q.appendFloat(smp.Time, smp.Value, start)
		}
		for _, b := range ts.Histograms {
			q.appendHistogram(b)
		}
		for _, b := range ts.Exemplars {
			q.appendExemplar(b)
		}
		if ts.Type|int32(ts.Help|ts.Unit) != 0 {
			q.describeSeries(ts)
		}
	}
	if err := q.v2.Err(); err != nil {
		return unreadable(err)
	}
	return nil
}

// entersV2 checks what 2.0 demands of a series and enters it.
func (q *request) entersV2(ts *wire.TimeSeriesV2, items int) bool {
	_, err := q.v2.Text(ts.Help)
	if err == nil {
		_, err = q.v2.Text(ts.Unit)
	}
	switch {
	case err != nil:
		q.discard(reasonMetadataInvalid, items, fmt.Sprintf("metadata of series %s: %v", q.describeLabels(), err))
	case items == 0 && len(ts.Exemplars) == 0:
		// With exemplars it is against the rules too, but that is how Prometheus
		// sends them.
		q.fail(fmt.Sprintf("series %s has neither samples nor histograms", q.describeLabels()))
	default:
		return q.enter(items, len(ts.Exemplars))
	}
	q.discardExemplars(len(ts.Exemplars), "series")
	return false
}

// enter finds out where the samples of q.s go. It reports false, and has counted
// them, if they go nowhere.
func (q *request) enter(items, exemplars int) bool {
	s := &q.s
	s.fresh, s.last = -1, -1
	s.place = q.cache.find(s.key, q.guess)
	if s.place >= 0 {
		e := &q.cache.entries[s.place]
		q.guess = s.place + 1
		e.touch(q.cache.turn)
		s.ref, s.group = e.ref, e.group
	}
	r, msg := reason(""), ""
	if s.group != 0 && q.judge(s.group) != accept {
		r, msg = q.notElected()
	} else if s.ref == 0 {
		r, msg = q.resolve()
	}
	switch r {
	case "":
		return true
	case reasonReplica:
		q.deduplicated += items
	default:
		q.discard(r, items, msg)
		q.discardExemplars(exemplars, "series")
	}
	return false
}

// newestSample returns the newest sample of q.s that is known: one that this
// request has appended, or else one that is committed.
func (q *request) newestSample() (t int64, bits uint64, k kind) {
	s := &q.s
	if s.last < 0 && s.place >= 0 {
		e := &q.cache.entries[s.place]
		mark := atomic.LoadUint64(&e.mark)
		n := int(uint32(mark))
		if uint32(mark>>32) != q.id || n >= len(q.book) || int(q.book[n].place) != s.place {
			return e.newestTime, e.newestBits, e.newestKind
		}
		s.last = n
	}
	if s.last < 0 {
		return math.MinInt64, 0, kindNone
	}
	b := &q.book[s.last]
	return b.time, b.bits, b.kind
}

// known says what is to be done with a sample, as far as the series' newest one
// tells. It reports true if it is a repetition.
func (q *request) known(t int64, bits uint64, k kind) (again bool, r reason) {
	newest, newestBits, newestKind := q.newestSample()
	switch {
	case newestKind == kindNone || t > newest:
		return false, ""
	case t == newest && k == newestKind && bits == newestBits && (k == kindFloat || bits != 0):
		return true, ""
	case t == newest && k == kindFloat && newestKind == kindFloat && bits != newestBits:
		return false, reasonDuplicate
	case t < newest && q.limits.OutOfOrderWindow < 0:
		return false, reasonOutOfOrder
	case t < newest && q.newestStored > math.MinInt64/2 && t < q.newestStored-q.limits.OutOfOrderWindow.Milliseconds():
		return false, reasonBehindWindow
	}
	return false, ""
}

// appendFloat appends a sample and keeps the books.
func (q *request) appendFloat(t int64, v float64, start int64) {
	bits := math.Float64bits(v)
	again, ok := q.admit(t, bits, kindFloat)
	if !ok {
		return
	}
	if !again {
		if start != 0 {
			q.appendStart(t, start, nil, nil)
		}
		ref, err := q.app.Append(q.s.ref, q.s.labels, t, v)
		if err != nil && q.reresolve(err) {
			ref, err = q.app.Append(q.s.ref, q.s.labels, t, v)
		}
		if err != nil {
			q.refuse(err, t)
			return
		}
		q.enterBook(ref, booked{time: t, bits: bits, kind: kindFloat})
	}
	q.written.samples++
}

// admit checks a sample's time. It reports whether the sample is stored already,
// and whether it may be appended; if not, it is counted.
func (q *request) admit(t int64, bits uint64, k kind) (again, ok bool) {
	if t < q.oldest || t > q.newest {
		q.discardTime(t)
		return false, false
	}
	again, r := q.known(t, bits, k)
	if r != "" {
		q.refuseAs(r, t, map[reason]error{reasonDuplicate: storage.ErrDuplicateSampleForTimestamp,
			reasonOutOfOrder: storage.ErrOutOfOrderSample, reasonBehindWindow: storage.ErrTooOldSample}[r])
		return false, false
	}
	return again, true
}

// appendHistogram appends an encoded native histogram.
func (q *request) appendHistogram(b []byte) {
	p := &q.hist
	if err := p.Decode(b); err != nil {
		q.discard(reasonHistogram, 1, fmt.Sprintf("native histogram of series %s: %v", q.describeLabels(), err))
		return
	}
	var h storedHistogram
	if p.Float {
		h.fh = p.FloatHistogram()
	} else {
		h.h = p.Int()
	}
	q.appendDecoded(p.Time, p.Start, q.cache.bytesKey(b).b|1, h)
}

func (q *request) appendDecoded(t, start int64, hash uint64, h storedHistogram) {
	again, ok := q.admit(t, hash, kindHistogram)
	if !ok {
		return
	}
	if again {
		q.written.histograms++
		return
	}
	if err := h.reduce(q.limits.MaxHistogramBuckets); err != nil {
		r := reasonOf(err)
		if errors.Is(err, errBuckets) {
			r = reasonHistogramBuckets
		}
		q.refuseAs(r, t, err)
		return
	}
	if start != 0 {
		q.appendStart(t, start, h.h, h.fh)
	}
	ref, err := q.app.AppendHistogram(q.s.ref, q.s.labels, t, h.h, h.fh)
	if err != nil && q.reresolve(err) {
		ref, err = q.app.AppendHistogram(q.s.ref, q.s.labels, t, h.h, h.fh)
	}
	if err != nil {
		q.refuse(err, t)
		return
	}
	q.hists = append(q.hists, h)
	q.enterBook(ref, booked{time: t, bits: hash, kind: kindHistogram, hist: int32(len(q.hists) - 1)})
	q.written.histograms++
}

var errBuckets = errors.New("native histogram has too many buckets (setting limits.max_histogram_buckets)")

// reduce brings a histogram to a resolution that the database knows and to at
// most limit buckets.
func (h storedHistogram) reduce(limit int) error {
	schema := int32(0)
	if h.h != nil {
		schema = h.h.Schema
	} else {
		schema = h.fh.Schema
	}
	exponential := histogram.IsExponentialSchemaReserved(schema)
	if exponential && schema > histogram.ExponentialSchemaMax {
		schema = histogram.ExponentialSchemaMax
		if err := h.reduceTo(schema); err != nil {
			return err
		}
	}
	for over(h.buckets(), limit) {
		if schema--; !exponential || schema < histogram.ExponentialSchemaMin {
			return fmt.Errorf("%w: %d, allowed are %d", errBuckets, h.buckets(), limit)
		}
		if err := h.reduceTo(schema); err != nil {
			return err
		}
	}
	return nil
}

// reduceTo lowers the resolution of a valid histogram.
func (h storedHistogram) reduceTo(schema int32) error {
	if h.h != nil {
		return h.h.ReduceResolution(schema)
	}
	return h.fh.ReduceResolution(schema)
}

func (h storedHistogram) buckets() int {
	if h.h != nil {
		return len(h.h.PositiveBuckets) + len(h.h.NegativeBuckets)
	}
	return len(h.fh.PositiveBuckets) + len(h.fh.NegativeBuckets)
}

// appendStart appends the zero sample that a start timestamp stands for, once
// for each start. The database takes it only if it is the newest of its series,
// which it is not if the series goes on from before; so a failure is no error.
func (q *request) appendStart(t, start int64, h *histogram.Histogram, fh *histogram.FloatHistogram) {
	s := &q.s
	hash := hash32(uint64(start) * foldA)
	if s.start == hash || s.place >= 0 && q.cache.entries[s.place].start == hash {
		return
	}
	var (
		ref storage.SeriesRef
		err error
	)
	if h == nil && fh == nil {
		ref, err = q.app.AppendSTZeroSample(s.ref, s.labels, t, start)
	} else {
		ref, err = q.app.AppendHistogramSTZeroSample(s.ref, s.labels, t, start, h, fh)
	}
	s.start = hash
	if err != nil {
		if s.place < 0 || errors.Is(err, tsdb.ErrInvalidSample) || errors.Is(err, storage.ErrSTNewerThanSample) {
			s.start = 0
			return // a later sample may be luckier
		}
		ref = s.ref
	}
	q.enterBook(ref, booked{time: start, bits: uint64(hash), kind: kindStart})
}

// enterBook notes what was appended, and under which reference.
func (q *request) enterBook(ref storage.SeriesRef, b booked) {
	s := &q.s
	if s.place < 0 && s.fresh < 0 {
		q.fresh = append(q.fresh, freshSeries{key: s.key, ref: ref, group: s.group})
		s.fresh = len(q.fresh) - 1
	} else if ref != s.ref {
		if s.fresh >= 0 {
			q.fresh[s.fresh].ref = ref
		} else {
			q.renewed = append(q.renewed, renewedSeries{int32(s.place), ref})
		}
	}
	s.ref = ref
	b.series = s.ordinal
	if b.place = int32(s.place); s.place < 0 {
		b.place = int32(-1 - s.fresh)
	}
	q.book = append(q.book, b)
	if b.kind == kindStart || s.last >= 0 && b.time <= q.book[s.last].time {
		return
	}
	if s.place >= 0 {
		e := &q.cache.entries[s.place]
		if b.time < e.newestTime {
			return
		}
		atomic.StoreUint64(&e.mark, uint64(q.id)<<32|uint64(uint32(len(q.book)-1)))
	}
	s.last = len(q.book) - 1
}

// reresolve finds out whether an append failed because the series has left
// memory since its reference was noted, and if so gets ready for another try.
func (q *request) reresolve(err error) bool {
	s := &q.s
	if s.ref == 0 || !s.labels.IsEmpty() || !errors.Is(err, tsdb.ErrInvalidSample) {
		return false
	}
	s.ref = 0
	r, msg := q.resolve()
	if r != "" {
		q.fail(msg)
	}
	return r == ""
}

// refuse counts a sample that the database refused.
func (q *request) refuse(err error, t int64) { q.refuseAs(reasonOf(err), t, err) }

func (q *request) refuseAs(r reason, t int64, err error) {
	msg := ""
	if q.first == "" {
		msg = fmt.Sprintf("%v: timestamp %s, series %s", err, formatTime(t), q.describeLabels())
	}
	q.discard(r, 1, msg)
}

func (q *request) discardTime(t int64) {
	r, limit, knob := reasonTooOld, q.limits.MaxSampleAge, "limits.max_sample_age"
	if t > q.newest {
		r, limit, knob = reasonFuture, q.limits.MaxSampleFuture, "limits.max_sample_future"
	}
	msg := ""
	if q.first == "" {
		msg = fmt.Sprintf("sample at %s is more than %s from now (setting %s): series %s", formatTime(t), limit, knob, q.describeLabels())
	}
	q.discard(r, 1, msg)
}

func (q *request) discardExemplars(n int, why string) {
	addIf(q.h.metrics.exemplars, n, q.workspace, why)
}

// appendExemplar keeps an exemplar. One that does not fit is counted; 1.0 has no
// way to say so, and 2.0 says it.
func (q *request) appendExemplar(b []byte) {
	var (
		e   exemplar.Exemplar
		err error
	)
	if q.message == messageV2 {
		var x wire.ExemplarV2
		x, err = wire.DecodeExemplarV2(q.refs, b)
		q.refs = x.Refs
		if err == nil {
			q.views, err = q.v2.Labels(q.views[:0], x.Refs)
		}
		e = exemplar.Exemplar{Value: x.Value, Ts: x.Time, HasTs: true}
	} else {
		var x wire.Exemplar
		x, err = wire.DecodeExemplar(q.views, b)
		q.views = x.Labels
		e = exemplar.Exemplar{Value: x.Value, Ts: x.Time, HasTs: true}
	}
	if err != nil {
		q.discardExemplars(1, "invalid")
		if q.message == messageV2 {
			q.fail(fmt.Sprintf("exemplar of series %s: %v", q.describeLabels(), err))
		}
		return
	}
	e.Labels = q.build(q.views)
	q.keepExemplar(e)
}

func (q *request) keepExemplar(e exemplar.Exemplar) {
	switch {
	case q.s.ref == 0 && q.s.labels.IsEmpty():
		q.discardExemplars(1, "series")
		return
	case e.Ts < q.oldest || e.Ts > q.newest:
		q.discardExemplars(1, "time")
		return
	}
	_, err := q.app.AppendExemplar(q.s.ref, q.s.labels, e)
	switch {
	case err == nil || errors.Is(err, storage.ErrDuplicateExemplar):
		q.written.exemplars++
	case errors.Is(err, storage.ErrOutOfOrderExemplar):
		q.discardExemplars(1, "out_of_order")
		if q.message == messageV2 {
			q.fail(fmt.Sprintf("%v: timestamp %s, series %s", err, formatTime(e.Ts), q.describeLabels()))
		}
	default:
		q.discardExemplars(1, "invalid")
	}
}

// maxDescription bounds the text that is kept about a metric.
const maxDescription = 8 << 10

// describe keeps what is said about a metric family.
func (q *request) describe(family string, typ int32, help, unit []byte) {
	q.described++
	if len(family)+len(help)+len(unit) > maxDescription || !q.target.SetMetadata(family, metricType(typ), string(help), string(unit)) {
		addIf(q.h.metrics.metadata, 1, q.workspace)
	}
}

// describeSeries keeps what a series of 2.0 says about its family, if it is not
// what it said before. Senders may leave the text out most of the time.
func (q *request) describeSeries(ts *wire.TimeSeriesV2) {
	s := &q.s
	var help, unit []byte
	hash := uint64(ts.Type)
	for _, ref := range []uint32{ts.Help, ts.Unit} {
		if int(ref) < len(q.symbols) {
			hash = (hash ^ q.symbols[ref].b) * foldA
		}
	}
	said := hash32(hash)
	old := uint32(0)
	switch {
	case s.fresh >= 0:
		old, q.fresh[s.fresh].metadata = q.fresh[s.fresh].metadata, said
	case s.place >= 0:
		if old = atomic.LoadUint32(&q.cache.entries[s.place].metadata); old != said {
			if ts.Help == 0 && old != 0 {
				return
			}
			atomic.StoreUint32(&q.cache.entries[s.place].metadata, said)
		}
	}
	if old == said {
		return
	}
	family := familyOf(q.metricName(), ts.Type)
	if key := q.cache.symbolKey([]byte(family)).a ^ hash; key != q.lastFamily {
		q.lastFamily = key
		help, _ = q.v2.Text(ts.Help) // checked before
		unit, _ = q.v2.Text(ts.Unit)
		if len(help) > 0 {
			q.describe(family, ts.Type, help, unit)
		} else if !q.target.AddMetadata(family, metricType(ts.Type), string(unit)) {
			addIf(q.h.metrics.metadata, 1, q.workspace)
		}
	}
}

// metricName returns the metric's name of q.s.
func (q *request) metricName() string {
	if !q.s.labels.IsEmpty() {
		return q.s.labels.Get(commonmodel.MetricNameLabel)
	}
	views, err := q.labelViews(q.views[:0])
	q.views = views
	if err == nil {
		for _, v := range views {
			if string(v.Name) == commonmodel.MetricNameLabel {
				return string(v.Value)
			}
		}
	}
	return ""
}

// familyOf returns the metric family that a series is of.
func familyOf(name string, typ int32) string {
	var suffixes []string
	switch prompb.MetricMetadata_MetricType(typ) {
	case prompb.MetricMetadata_HISTOGRAM:
		suffixes = []string{"_bucket", "_count", "_sum"}
	case prompb.MetricMetadata_GAUGEHISTOGRAM:
		suffixes = []string{"_bucket", "_gcount", "_gsum"}
	case prompb.MetricMetadata_SUMMARY:
		suffixes = []string{"_count", "_sum"}
	}
	for _, suffix := range suffixes {
		if family, ok := strings.CutSuffix(name, suffix); ok {
			return family
		}
	}
	return name
}
