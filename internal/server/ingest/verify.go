package ingest

import (
	"context"
	"fmt"
	"math"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/mangru/mangru/internal/wire"
)

// verify reads back what was committed, after the database has left out some of
// it without saying what. That happens when two requests bring the same series at
// the same time, when one request brings a series twice, and when what is repeated
// was sent before the cache knew the series. A sample that is there with its value
// is stored, whoever brought it; the others are counted, with the reason.
func (q *request) verify(ctx context.Context) error {
	if len(q.book) == 0 {
		return nil
	}
	from, to := int64(math.MaxInt64), int64(math.MinInt64)
	for i := range q.book {
		from, to = min(from, q.book[i].time), max(to, q.book[i].time)
	}
	querier, err := q.target.Querier(from, to)
	if err != nil {
		return fmt.Errorf("read back: %w", err)
	}
	defer func() { _ = querier.Close() }()
	at := 0
	check := func(ordinal uint32) error {
		first := at
		for at < len(q.book) && q.book[at].series == ordinal {
			at++
		}
		if first == at {
			return nil
		}
		l, err := q.storedLabels()
		if err != nil {
			return err
		}
		return q.verifySeries(ctx, querier, l, q.book[first:at])
	}
	switch q.message {
	case messageV1:
		q.v1.Reset(q.msg, wire.Limits{})
		for n := uint32(0); at < len(q.book) && q.v1.Next(); n++ {
			q.s = series{bytes: q.v1.Series().LabelBytes}
			if err := check(n); err != nil {
				return err
			}
		}
	case messageV2:
		q.v2.Reset(q.msg, wire.Limits{})
		for n := uint32(0); at < len(q.book) && q.v2.Next(); n++ {
			q.s = series{refs: q.v2.Series().Refs}
			if err := check(n); err != nil {
				return err
			}
		}
	default:
		for n := range q.sets {
			q.s = series{sent: q.sets[n]}
			if err := check(uint32(n)); err != nil {
				return err
			}
		}
	}
	return nil
}

// storedLabels returns the labels under which q.s is stored.
func (q *request) storedLabels() (l labels.Labels, err error) {
	if q.views, err = q.labelViews(q.views[:0]); err != nil {
		return l, err
	}
	if q.limits.HA.Enabled {
		if _, name := q.replicaLabels(q.views); name >= 0 {
			q.views = append(q.views[:name], q.views[name+1:]...)
		}
	}
	return q.build(q.views), nil
}

// verifySeries looks for the samples of a series.
func (q *request) verifySeries(ctx context.Context, querier storage.Querier, l labels.Labels, book []booked) error {
	var matchers []*labels.Matcher
	l.Range(func(l labels.Label) {
		matchers = append(matchers, &labels.Matcher{Type: labels.MatchEqual, Name: l.Name, Value: l.Value})
	})
	found := make(map[int64]bool, len(book)) // by time: whether there is a sample
	same := make([]bool, len(book))
	set := querier.Select(ctx, false, nil, matchers...)
	for set.Next() {
		if !labels.Equal(set.At().Labels(), l) {
			continue
		}
		it := set.At().Iterator(nil)
		for typ := it.Next(); typ != chunkenc.ValNone; typ = it.Next() {
			for i := range book {
				if book[i].time == it.AtT() {
					found[book[i].time] = true
					same[i] = q.isSame(&book[i], it, typ)
				}
			}
		}
		if err := it.Err(); err != nil {
			return fmt.Errorf("read back: %w", err)
		}
	}
	if err := set.Err(); err != nil {
		return fmt.Errorf("read back: %w", err)
	}
	for i := range book {
		b := &book[i]
		if b.kind == kindStart || same[i] {
			continue
		}
		b.absent = true
		if b.kind == kindFloat {
			q.written.samples--
		} else {
			q.written.histograms--
		}
		q.refuseLeftOut(b, l, found[b.time])
	}
	return nil
}

// refuseLeftOut counts a sample that was left out at commit.
func (q *request) refuseLeftOut(b *booked, l labels.Labels, other bool) {
	r, err := reasonOutOfOrder, storage.ErrOutOfOrderSample
	switch {
	case other:
		r, err = reasonDuplicate, storage.ErrDuplicateSampleForTimestamp
	case q.limits.OutOfOrderWindow >= 0 && b.time < q.target.MaxTime()-q.limits.OutOfOrderWindow.Milliseconds():
		r, err = reasonBehindWindow, storage.ErrTooOldSample
	}
	q.discard(r, 1, fmt.Sprintf("%v: timestamp %s, series %s", err, formatTime(b.time), l))
}

// isSame reports whether the sample that the iterator is at is the booked one.
func (q *request) isSame(b *booked, it chunkenc.Iterator, typ chunkenc.ValueType) bool {
	stale := b.kind == kindFloat && b.bits == value.StaleNaN
	switch typ {
	case chunkenc.ValFloat:
		_, v := it.At()
		return b.kind == kindFloat && math.Float64bits(v) == b.bits
	case chunkenc.ValHistogram:
		_, h := it.AtHistogram(nil)
		if stale {
			return value.IsStaleNaN(h.Sum) // a series of histograms ends with one
		}
		return b.kind == kindHistogram && q.hists[b.hist].h != nil && q.hists[b.hist].h.Copy().Compact(0).Equals(h.Compact(0))
	case chunkenc.ValFloatHistogram:
		_, h := it.AtFloatHistogram(nil)
		if stale {
			return value.IsStaleNaN(h.Sum)
		}
		return b.kind == kindHistogram && q.hists[b.hist].fh != nil && q.hists[b.hist].fh.Copy().Compact(0).Equals(h.Compact(0))
	}
	return false
}
