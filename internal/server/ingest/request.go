package ingest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"github.com/mangru/mangru/internal/wire"
)

// request is the state of one write request, reused for the next. Its methods
// are in three files: here it begins and ends, append.go takes samples in, and
// resolve.go reads labels.
type request struct {
	h         *Handler
	target    Target
	workspace string
	limits    Limits
	now       time.Time
	app       storage.Appender
	cache     *seriesCache
	count     *seriesCount

	message message
	body    []byte // as it came, if nobody else holds it
	msg     []byte // decompressed
	v1      wire.Decoder
	v2      wire.DecoderV2
	symbols []seriesKey     // of v2's symbols
	sets    []labels.Labels // the series of an OTLP request, for verify

	views   []wire.LabelView
	refs    []uint32
	builder labels.ScratchBuilder
	hist    wire.Histogram

	s       series
	id      uint32 // among the requests of the cache
	moved   uint32 // of the cache, at the beginning
	guess   int    // the next series' place in the cache
	book    []booked
	hists   []storedHistogram
	fresh   []freshSeries
	renewed []renewedSeries

	verdicts  []verdict // by number of a replica
	duplicate uint16    // a replica whose samples were dropped

	oldest, newest int64 // bounds of sample times, milliseconds
	newestStored   int64 // in the database, at the beginning
	written        written
	deduplicated   int
	described      int // metadata met
	lastFamily     uint64
	discarded      map[reason]int
	first          string // the first error, for the sender
}

// message is a kind of request.
type message uint8

const (
	messageV1 message = iota
	messageV2
	messageOTLP
)

// written is how much of a request was stored, or was there before.
type written struct{ samples, histograms, exemplars int }

// booked is a sample that was given to the database and is not committed yet.
type booked struct {
	time   int64
	bits   uint64 // the float's; a hash for others, zero if it is not known
	place  int32  // in the cache; negative: -1-place in fresh
	series uint32 // which one of the message
	hist   int32  // place in hists
	kind   kind
	absent bool // it turned out not to be stored
}

type storedHistogram struct {
	h  *histogram.Histogram
	fh *histogram.FloatHistogram
}

// freshSeries will be entered into the cache.
type freshSeries struct {
	key      seriesKey
	ref      storage.SeriesRef
	group    uint16
	metadata uint32
	place    int32 // in the cache, at the end
}

// renewedSeries is one whose reference has changed.
type renewedSeries struct {
	place int32
	ref   storage.SeriesRef
}

// cacheKey is the key of the cache among a database's values.
type cacheKey struct{}

func (q *request) begin(h *Handler, t Target, workspace string, l *Limits, m message) {
	q.h, q.target, q.workspace, q.limits, q.message = h, t, workspace, *l, m
	q.now = h.cfg.Now()
	q.cache = t.Value(cacheKey{}, func() any { return newSeriesCache(q.now) }).(*seriesCache)
	q.count = h.cfg.Series.get(workspace)
	q.oldest, q.newest = math.MinInt64, math.MaxInt64
	if l.MaxSampleAge > 0 {
		q.oldest = q.now.Add(-l.MaxSampleAge).UnixMilli()
	}
	if l.MaxSampleFuture > 0 {
		q.newest = q.now.Add(l.MaxSampleFuture).UnixMilli()
	}
	q.newestStored = t.MaxTime()
	q.id, q.guess = q.cache.requests.Add(1), 0
	q.book, q.fresh, q.renewed = q.book[:0], q.fresh[:0], q.renewed[:0]
	clear(q.verdicts)
	q.duplicate = 0
	q.written, q.deduplicated, q.described, q.lastFamily, q.first = written{}, 0, 0, 0, ""
	clear(q.discarded)
	q.useHA()
}

// useHA drops what the cache knows when replicas are told apart differently now.
func (q *request) useHA() {
	ha := q.limits.HA
	if !ha.Enabled {
		ha = HA{}
	}
	q.cache.mu.RLock()
	q.moved = q.cache.moved
	same := q.cache.ha == ha
	q.cache.mu.RUnlock()
	if same {
		return
	}
	q.cache.mu.Lock()
	defer q.cache.mu.Unlock()
	if q.cache.ha != ha {
		q.cache.ha = ha
		q.cache.groups.clear()
		q.cache.clear()
	}
	q.moved = q.cache.moved
}

// end drops what belongs to the request, so that the pool holds on to nothing.
func (q *request) end() {
	q.h, q.target, q.app, q.cache, q.count = nil, nil, nil, nil, nil
	q.v1.Reset(nil, wire.Limits{})
	q.v2.Reset(nil, wire.Limits{})
	q.s = series{}
	clear(q.hists)
	q.hists = q.hists[:0]
	clear(q.sets)
	q.sets = q.sets[:0]
	q.symbols = q.symbols[:0]
	q.limits = Limits{}
	clear(q.views[:cap(q.views)])
}

// maxPooled keeps what a rare huge request needed from staying in memory for good.
const maxPooled = 8 << 20

// small reports whether the request may wait for the next one.
func (q *request) small() bool {
	return cap(q.msg) <= maxPooled && cap(q.body) <= maxPooled && cap(q.book) <= maxPooled/32 && cap(q.symbols) <= maxPooled/16
}

// store appends what take gives and is good, and commits it. It returns an error
// when nothing was stored.
func (q *request) store(ctx context.Context, take func() error) error {
	if q.count != nil {
		if err := q.count.use(ctx, &q.limits, q.target.EachSeries); err != nil {
			return err
		}
	}
	q.app = q.target.Appender(ctx)
	done := false
	defer func() {
		if !done {
			_ = q.app.Rollback()
		}
	}()
	if err := q.locked(take); err != nil {
		return err
	}
	if err := q.checkRate(q.written.samples+q.written.histograms, q.described); err != nil {
		return err
	}
	done = true
	if err := q.app.Commit(); err != nil {
		return fmt.Errorf("commit samples: %w", err)
	}
	if l, ok := q.app.(interface{ LeftOut() int }); ok && l.LeftOut() > 0 {
		if err := q.verify(ctx); err != nil {
			// What was taken is stored; only the account of it is not exact.
			q.h.logger.Error("samples that the database left out could not be told apart", "workspace", q.workspace,
				"samples", l.LeftOut(), "err", err)
			q.discard(reasonOther, l.LeftOut(), fmt.Sprintf("%d samples were left out at commit", l.LeftOut()))
		}
	}
	q.remember()
	m := q.h.metrics
	m.stored.WithLabelValues(q.workspace).Add(float64(q.written.samples + q.written.histograms))
	m.discard(q.workspace, q.discarded)
	addIf(m.deduplicated, q.deduplicated, q.workspace)
	return nil
}

// locked holds the cache while samples are taken.
func (q *request) locked(take func() error) error {
	q.cache.mu.RLock()
	defer q.cache.mu.RUnlock()
	return take()
}

// breathe lets those in who wait to write to the cache, from time to time.
func (q *request) breathe(series int) {
	if series%256 == 255 {
		q.cache.mu.RUnlock()
		q.cache.mu.RLock()
	}
}

// remember enters what was committed into the cache.
func (q *request) remember() {
	c := q.cache
	series := q.target.NumSeries()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.moved != q.moved {
		return // places are not what they were; the next request finds out anew
	}
	for i := range q.fresh {
		f := &q.fresh[i]
		f.place = int32(c.add(f.key, f.ref, f.group))
		c.entries[f.place].metadata = f.metadata
	}
	for _, r := range q.renewed {
		c.entries[r.place].ref = r.ref
	}
	for i := range q.book {
		b := &q.book[i]
		place := b.place
		if place < 0 {
			place = q.fresh[-1-place].place
		}
		e := &c.entries[place]
		switch {
		case b.absent:
		case b.kind == kindStart:
			e.start = uint32(b.bits)
		case b.time > e.newestTime:
			e.newestTime, e.newestBits, e.newestKind = b.time, b.bits, b.kind
		}
	}
	c.tidy(q.now, series)
}

// checkRate takes samples and metadata out of what the workspace may send.
func (q *request) checkRate(samples, metadata int) error {
	rate, size := q.rate()
	if rate <= 0 {
		return nil
	}
	if wait, ok := q.h.buckets.get(q.workspace).take(q.now, samples+metadata, rate, size); !ok {
		return q.rateLimited(samples, metadata, wait)
	}
	return nil
}

// rateLimited counts what the rate limit keeps out, and says so.
func (q *request) rateLimited(samples, metadata int, wait time.Duration) error {
	q.h.metrics.discarded.WithLabelValues(q.workspace, string(reasonRate)).Add(float64(samples))
	return &badRequestError{http.StatusTooManyRequests, string(reasonRate), retryAfter(wait), fmt.Errorf(
		"ingestion rate limit (%d) exceeded while adding %d samples and %d metadata (setting limits.max_sample_rate)", q.limits.MaxSampleRate, samples, metadata)}
}

// rate returns the workspace's samples per second, and how many it may send at
// once: a second's, and one more request.
func (q *request) rate() (rate, size float64) {
	return float64(q.limits.MaxSampleRate), float64(q.limits.MaxSampleRate + max(q.limits.MaxSamplesPerRequest, 0))
}

// exhausted reports whether the workspace has sent so much that nothing can be
// taken of this request.
func (q *request) exhausted() bool {
	rate, size := q.rate()
	return rate > 0 && q.h.buckets.get(q.workspace).empty(q.now, rate, size)
}

func (q *request) discard(r reason, samples int, msg string) {
	if q.discarded == nil {
		q.discarded = make(map[reason]int)
	}
	q.discarded[r] += samples
	q.fail(msg)
}

// fail notes what is wrong with the request, if it is the first thing.
func (q *request) fail(msg string) {
	if q.first == "" {
		q.first = msg
	}
}

// fullyDuplicate reports whether all there was came from a replica that is not
// elected.
func (q *request) fullyDuplicate() bool {
	return q.deduplicated > 0 && q.written == written{} && q.first == ""
}

func formatTime(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z") }

// badRequestError is a request of which nothing is taken.
type badRequestError struct {
	status     int
	reason     string
	retryAfter int // seconds; zero for never
	err        error
}

func (e *badRequestError) Error() string { return e.err.Error() }
func (e *badRequestError) Unwrap() error { return e.err }

func unreadable(err error) error {
	if errors.Is(err, wire.ErrTooLarge) {
		err = fmt.Errorf("%w (settings limits.max_series_per_request and limits.max_samples_per_request)", err)
		return &badRequestError{http.StatusRequestEntityTooLarge, "too_large", 0, err}
	}
	return &badRequestError{http.StatusBadRequest, "bad_protobuf", 0, err}
}
