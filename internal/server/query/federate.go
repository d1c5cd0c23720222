package query

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/timestamp"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"google.golang.org/protobuf/proto"
)

// newest is the newest sample of a series.
type newest struct {
	name   string
	labels labels.Labels
	t      int64
	f      float64
	h      *histogram.FloatHistogram
}

// serveFederate answers /federate: the newest sample, if it is not older than the
// lookback delta, of every series that is selected, in one of the formats that
// metrics pages have.
func (h *Handler) serveFederate(w http.ResponseWriter, r *http.Request, st Storage) {
	sets, err := h.parser.ParseMetricSelectors(r.Form["match[]"])
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	now := h.cfg.now()
	mint, maxt := timestamp.FromTime(now.Add(-h.cfg.LookbackDelta)), timestamp.FromTime(now)
	q, err := st.Querier(mint, maxt)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer func() { _ = q.Close() }() // only read
	hints := &storage.SelectHints{Start: mint, End: maxt, Func: "series_federate"}
	var selected []storage.SeriesSet
	for _, matchers := range sets {
		selected = append(selected, q.Select(r.Context(), true, hints, matchers...))
	}
	all, err := collectNewest(storage.NewMergeSeriesSet(selected, 0, storage.ChainedSeriesMerge), maxt, h.cfg.LookbackDelta, h.cfg.MaxSamples)
	switch {
	case errors.Is(err, errTooMany):
		http.Error(w, fmt.Sprintf("more than %d series are selected (setting query.max_samples)", h.cfg.MaxSamples), http.StatusUnprocessableEntity)
	case err != nil:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	default:
		h.writeFederated(w, r, all)
	}
}

var errTooMany = errors.New("too many series")

func collectNewest(set storage.SeriesSet, maxt int64, lookback time.Duration, most int) ([]newest, error) {
	var all []newest
	it := storage.NewMemoizedEmptyIterator(lookback.Milliseconds())
	var chunks chunkenc.Iterator
	for set.Next() {
		s := set.At()
		chunks = s.Iterator(chunks)
		it.Reset(chunks)
		n := newest{labels: s.Labels()}
		found := true
		switch it.Seek(maxt) {
		case chunkenc.ValFloat:
			n.t, n.f = it.At()
		case chunkenc.ValFloatHistogram:
			n.t, n.h = it.AtFloatHistogram()
		default:
			_, n.t, n.f, n.h, found = it.PeekPrev()
		}
		if err := it.Err(); err != nil {
			return nil, err
		}
		// The formats have no mark for a series that has ended.
		if !found || value.IsStaleNaN(n.f) || n.h != nil && value.IsStaleNaN(n.h.Sum) {
			continue
		}
		if len(all) >= most {
			return nil, errTooMany
		}
		if n.h != nil {
			n.h = n.h.Copy() // the iterator uses it again
		}
		if n.name = n.labels.Get(model.MetricNameLabel); n.name != "" {
			all = append(all, n)
		}
	}
	slices.SortStableFunc(all, func(a, b newest) int { return strings.Compare(a.name, b.name) })
	return all, set.Err()
}

func (h *Handler) writeFederated(w http.ResponseWriter, r *http.Request, all []newest) {
	format := expfmt.NegotiateAccept(r.Header, expfmt.NewFormat(expfmt.TypeProtoDelim), expfmt.NewFormat(expfmt.TypeProtoText),
		expfmt.NewFormat(expfmt.TypeProtoCompact), expfmt.NewFormat(expfmt.TypeTextPlain))
	w.Header().Set("Content-Type", string(format))
	enc := expfmt.NewEncoder(w, format)
	for len(all) > 0 {
		// A family has samples of one kind.
		kind := all[0].kind()
		family := &dto.MetricFamily{Name: proto.String(all[0].name), Type: kind.Enum()}
		for len(all) > 0 && all[0].name == family.GetName() && all[0].kind() == kind {
			// The text format has no native histograms.
			if n := &all[0]; n.h == nil || n.h.UsesCustomBuckets() || format.FormatType() != expfmt.TypeTextPlain {
				family.Metric = append(family.Metric, n.metric())
			}
			all = all[1:]
		}
		if len(family.Metric) == 0 {
			continue
		}
		if err := enc.Encode(family); err != nil {
			h.logger.Debug("federation: client gone", "err", err)
			return
		}
	}
	if c, ok := enc.(expfmt.Closer); ok {
		_ = c.Close() // the client is gone if this fails
	}
}

func (n *newest) kind() dto.MetricType {
	switch {
	case n.h == nil:
		return dto.MetricType_UNTYPED
	case n.h.CounterResetHint == histogram.GaugeType:
		return dto.MetricType_GAUGE_HISTOGRAM
	}
	return dto.MetricType_HISTOGRAM
}

func (n *newest) metric() *dto.Metric {
	m := &dto.Metric{TimestampMs: proto.Int64(n.t)}
	instance := false
	n.labels.Range(func(l labels.Label) {
		if l.Name == model.MetricNameLabel {
			return
		}
		instance = instance || l.Name == "instance"
		m.Label = append(m.Label, &dto.LabelPair{Name: proto.String(l.Name), Value: proto.String(l.Value)})
	})
	if !instance {
		// Empty, so that whoever scrapes this does not set its own.
		m.Label = append(m.Label, &dto.LabelPair{Name: proto.String("instance"), Value: proto.String("")})
	}
	if n.h == nil {
		m.Untyped = &dto.Untyped{Value: proto.Float64(n.f)}
		return m
	}
	m.Histogram = &dto.Histogram{SampleCountFloat: proto.Float64(n.h.Count), SampleSum: proto.Float64(n.h.Sum)}
	if n.h.UsesCustomBuckets() {
		// These are classic histograms with another encoding.
		sum := 0.0
		for it := n.h.PositiveBucketIterator(); it.Next(); {
			b := it.At()
			sum += b.Count
			m.Histogram.Bucket = append(m.Histogram.Bucket, &dto.Bucket{UpperBound: proto.Float64(b.Upper), CumulativeCountFloat: proto.Float64(sum)})
		}
		return m
	}
	m.Histogram.Schema = proto.Int32(n.h.Schema)
	m.Histogram.ZeroThreshold, m.Histogram.ZeroCountFloat = proto.Float64(n.h.ZeroThreshold), proto.Float64(n.h.ZeroCount)
	m.Histogram.PositiveCount, m.Histogram.NegativeCount = n.h.PositiveBuckets, n.h.NegativeBuckets
	m.Histogram.PositiveSpan, m.Histogram.NegativeSpan = spans(n.h.PositiveSpans), spans(n.h.NegativeSpans)
	if len(n.h.PositiveSpans) == 0 && len(n.h.NegativeSpans) == 0 && n.h.ZeroThreshold == 0 && n.h.ZeroCount == 0 {
		// What tells an empty native histogram from a classic one.
		m.Histogram.PositiveSpan = []*dto.BucketSpan{{Offset: proto.Int32(0), Length: proto.Uint32(0)}}
	}
	return m
}

func spans(all []histogram.Span) (out []*dto.BucketSpan) {
	for _, s := range all {
		out = append(out, &dto.BucketSpan{Offset: proto.Int32(s.Offset), Length: proto.Uint32(s.Length)})
	}
	return out
}
