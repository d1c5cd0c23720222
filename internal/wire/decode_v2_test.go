package wire

import (
	"errors"
	"io"
	"math"
	"testing"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"github.com/stretchr/testify/require"
)

func sampleRequestV2() *writev2.Request {
	h := &histogram.Histogram{Schema: -4, Count: 7, ZeroCount: 1, ZeroThreshold: 0.1, Sum: -3,
		PositiveSpans: []histogram.Span{{Offset: -2, Length: 2}}, PositiveBuckets: []int64{3, -1},
		NegativeSpans: []histogram.Span{{Offset: 5, Length: 1}}, NegativeBuckets: []int64{1}}
	custom := &histogram.FloatHistogram{Schema: histogram.CustomBucketsSchema, Count: 2, Sum: 1,
		PositiveSpans: []histogram.Span{{Offset: 0, Length: 2}}, PositiveBuckets: []float64{1.5, 0.5}, CustomValues: []float64{1, 2}}
	float := writev2.FromFloatHistogram(11, 12, custom)
	return &writev2.Request{
		Symbols: []string{"", "__name__", "up", "job", "é", "trace_id", "abc", "help", "seconds"},
		Timeseries: []writev2.TimeSeries{
			{LabelsRefs: []uint32{1, 2, 3, 4}, Samples: []writev2.Sample{{Value: 1, Timestamp: 1700000000000}, {}, {Value: math.Inf(-1), Timestamp: -5, StartTimestamp: 3}},
				Metadata: writev2.Metadata{Type: writev2.Metadata_METRIC_TYPE_GAUGE, HelpRef: 7, UnitRef: 8}},
			{LabelsRefs: []uint32{1, 2}, Histograms: []writev2.Histogram{writev2.FromIntHistogram(-9, 10, h), float},
				Exemplars: []writev2.Exemplar{{LabelsRefs: []uint32{5, 6}, Value: 3, Timestamp: 7}}},
			{},
			{LabelsRefs: []uint32{1, 300}},
			{LabelsRefs: []uint32{1, 2, 3}, Metadata: writev2.Metadata{HelpRef: 99}},
		},
	}
}

// compareV2 demands that the decoder reads the same from msg as writev2 did.
func compareV2(t testing.TB, want *writev2.Request, msg []byte) {
	t.Helper()
	var d DecoderV2
	d.Reset(msg, Limits{})
	require.Equal(t, len(want.Symbols), d.Symbols())
	for i, s := range want.Symbols {
		require.Equal(t, s, string(d.Symbol(i)))
	}
	var b labels.ScratchBuilder
	for i := range want.Timeseries {
		w := &want.Timeseries[i]
		require.True(t, d.Next(), "series %d: %v", i, d.Err())
		got := d.Series()
		require.Len(t, got.Refs, len(w.LabelsRefs))
		for j, r := range w.LabelsRefs {
			require.Equal(t, r, got.Refs[j])
		}
		_, wantErr := w.ToLabels(&b, want.Symbols)
		views, err := d.Labels(nil, got.Refs)
		require.Equal(t, wantErr == nil, err == nil, "%v %v", wantErr, err)
		if err == nil {
			for j, v := range views {
				require.Equal(t, want.Symbols[w.LabelsRefs[2*j]], string(v.Name))
				require.Equal(t, want.Symbols[w.LabelsRefs[2*j+1]], string(v.Value))
			}
		} else {
			require.ErrorIs(t, err, ErrSymbol)
		}
		compareSamplesV2(t, w, got)
		require.Equal(t, []any{int32(w.Metadata.Type), w.Metadata.HelpRef, w.Metadata.UnitRef}, []any{got.Type, got.Help, got.Unit})
		_, wantErr = w.ToMetadata(want.Symbols)
		_, helpErr := d.Text(got.Help)
		_, unitErr := d.Text(got.Unit)
		if len(want.Symbols) > 0 {
			require.Equal(t, wantErr == nil, helpErr == nil && unitErr == nil)
		}
	}
	require.False(t, d.Next())
	require.NoError(t, d.Err())
}

func compareSamplesV2(t testing.TB, w *writev2.TimeSeries, got *TimeSeriesV2) {
	t.Helper()
	require.Len(t, got.Samples, len(w.Samples))
	for j, s := range w.Samples {
		require.Equal(t, s.Timestamp, got.Samples[j].Time)
		require.Equal(t, math.Float64bits(s.Value), math.Float64bits(got.Samples[j].Value))
		start := int64(0)
		if len(got.Starts) > 0 {
			start = got.Starts[j]
		}
		require.Equal(t, s.StartTimestamp, start)
	}
	require.Len(t, got.Exemplars, len(w.Exemplars))
	for j, e := range w.Exemplars {
		ge, err := DecodeExemplarV2(nil, got.Exemplars[j])
		require.NoError(t, err)
		require.Len(t, ge.Refs, len(e.LabelsRefs))
		for k, r := range e.LabelsRefs {
			require.Equal(t, r, ge.Refs[k])
		}
		require.Equal(t, math.Float64bits(e.Value), math.Float64bits(ge.Value))
		require.Equal(t, e.Timestamp, ge.Time)
	}
	require.Len(t, got.Histograms, len(w.Histograms))
	var h Histogram
	for j := range w.Histograms {
		require.NoError(t, h.Decode(got.Histograms[j]))
		compareHistogram(t, &w.Histograms[j], &h)
	}
}

// compareHistogram compares by what Prometheus makes of a histogram. Its fields
// hold NaN, so bits are compared, as text.
func compareHistogram(t testing.TB, want *writev2.Histogram, got *Histogram) {
	t.Helper()
	require.Equal(t, want.IsFloatHistogram(), got.Float)
	require.Equal(t, want.Timestamp, got.Time)
	require.Equal(t, want.StartTimestamp, got.Start)
	if got.Float {
		a, b := want.ToFloatHistogram(), got.FloatHistogram()
		require.Equal(t, []int{len(a.PositiveSpans), len(a.PositiveBuckets), len(a.NegativeSpans), len(a.NegativeBuckets), len(a.CustomValues)},
			[]int{len(b.PositiveSpans), len(b.PositiveBuckets), len(b.NegativeSpans), len(b.NegativeBuckets), len(b.CustomValues)})
		back := writev2.FromFloatHistogram(want.StartTimestamp, want.Timestamp, a)
		again := writev2.FromFloatHistogram(got.Start, got.Time, b)
		requireSameBytes(t, &back, &again)
		return
	}
	a, b := want.ToIntHistogram(), got.Int()
	back := writev2.FromIntHistogram(want.StartTimestamp, want.Timestamp, a)
	again := writev2.FromIntHistogram(got.Start, got.Time, b)
	requireSameBytes(t, &back, &again)
}

func requireSameBytes(t testing.TB, want, got *writev2.Histogram) {
	t.Helper()
	a, err := want.Marshal()
	require.NoError(t, err)
	b, err := got.Marshal()
	require.NoError(t, err)
	require.Equal(t, a, b)
}

func TestDecodeV2AgainstWritev2(t *testing.T) {
	msg, err := sampleRequestV2().Marshal()
	require.NoError(t, err)
	compareV2(t, sampleRequestV2(), msg)
}

func TestDecodeV2SymbolsAfterSeries(t *testing.T) {
	var want writev2.Request
	msg := []byte("\x2a\x04\x0a\x02\x00\x01" + "\x22\x01a" + "\x22\x01b") // series, then symbols
	require.NoError(t, want.Unmarshal(msg))
	require.Equal(t, []string{"a", "b"}, want.Symbols)
	compareV2(t, &want, msg)
}

func TestDecodeV2UnpackedReferences(t *testing.T) {
	var want writev2.Request
	msg := []byte("\x22\x00\x22\x01a\x2a\x08\x08\x00\x0a\x02\x01\x01\x08\x00")
	require.NoError(t, want.Unmarshal(msg))
	require.Equal(t, []uint32{0, 1, 1, 0}, want.Timeseries[0].LabelsRefs)
	compareV2(t, &want, msg)
}

func TestDecodeHistogramOfNothing(t *testing.T) {
	h := &Histogram{}
	require.NoError(t, h.Decode(nil))
	require.Equal(t, &histogram.Histogram{}, h.Int())
}

func TestDecodeV2Refuses(t *testing.T) {
	many := make([]byte, 0, maxSeriesRefs+10)
	for range maxSeriesRefs + 1 {
		many = append(many, 0)
	}
	series := appendBytes(nil, tagV2Series, appendBytes(nil, tagV2Refs, many))
	for name, msg := range map[string][]byte{
		"cut symbol":             []byte("\x22\x05a"),
		"symbol as a varint":     []byte("\x20\x01"),
		"series as a varint":     []byte("\x28\x01"),
		"cut series":             []byte("\x2a\x05\x0a"),
		"references as a double": []byte("\x2a\x09\x09\x00\x00\x00\x00\x00\x00\x00\x00"),
		"cut reference":          []byte("\x2a\x03\x0a\x01\x80"),
		"start as a double":      []byte("\x2a\x0b\x12\x09\x19\x00\x00\x00\x00\x00\x00\x00\x00"),
		"type as bytes":          []byte("\x2a\x04\x2a\x02\x0a\x00"),
		"too many references":    series,
	} {
		t.Run(name, func(t *testing.T) {
			var d DecoderV2
			d.Reset(msg, Limits{})
			for d.Next() {
			}
			require.ErrorContains(t, d.Err(), "near byte")
		})
	}
	msg, err := sampleRequestV2().Marshal()
	require.NoError(t, err)
	for _, l := range []Limits{{Series: 4}, {Samples: 5}} {
		var d DecoderV2
		d.Reset(msg, l)
		for d.Next() {
		}
		require.ErrorIs(t, d.Err(), ErrTooLarge)
	}
}

func TestDecodeV2DoesNotAllocate(t *testing.T) {
	req := sampleRequestV2()
	for range 500 {
		req.Timeseries = append(req.Timeseries, req.Timeseries[0])
	}
	msg, err := req.Marshal()
	require.NoError(t, err)
	var (
		d DecoderV2
		h Histogram
	)
	walk := func() {
		d.Reset(msg, Limits{})
		for d.Next() {
			for _, b := range d.Series().Histograms {
				_ = h.Decode(b)
			}
		}
	}
	walk()
	require.Zero(t, testing.AllocsPerRun(10, walk))
}

// stricter reports whether an error is one of those where the reference goes on:
// it cuts illegal field numbers to 32 bits, and lets the last number of a packed
// field run over the field's end.
func stricter(err error) bool {
	return errors.Is(err, errFieldNumber) || errors.Is(err, io.ErrUnexpectedEOF)
}

// stricterV2 reports whether the decoder stops at something that the reference
// passes over.
func stricterV2(msg []byte) bool {
	var (
		d DecoderV2
		h Histogram
	)
	for d.Reset(msg, Limits{}); d.Next(); {
		for _, b := range d.Series().Histograms {
			if stricter(h.Decode(b)) {
				return true
			}
		}
		for _, b := range d.Series().Exemplars {
			if _, err := DecodeExemplarV2(nil, b); stricter(err) {
				return true
			}
		}
	}
	return stricter(d.Err())
}

func FuzzDecodeV2(f *testing.F) {
	msg, _ := sampleRequestV2().Marshal()
	f.Add(msg)
	f.Add([]byte("\x2a\x04\x0a\x02\x00\x01\x22\x01a\x22\x01b"))
	f.Add([]byte("\x22\x00\x22\x01a\x2a\x08\x08\x00\x0a\x02\x01\x01\x08\x00"))
	f.Fuzz(func(t *testing.T, msg []byte) {
		var want writev2.Request
		if want.Unmarshal(msg) == nil {
			if stricterV2(msg) { // then in its plain form, which keeps unknown fields
				if msg, _ = want.Marshal(); stricterV2(msg) {
					return
				}
			}
			compareV2(t, &want, msg)
			return
		}
		var (
			d DecoderV2
			h Histogram
		)
		for d.Reset(msg, Limits{}); d.Next(); {
			_, _ = d.Labels(nil, d.Series().Refs)
			_, _ = d.Text(d.Series().Help)
			for _, b := range d.Series().Histograms {
				_ = h.Decode(b)
			}
			for _, b := range d.Series().Exemplars {
				_, _ = DecodeExemplarV2(nil, b)
			}
		}
	})
}

func FuzzDecodeHistogram(f *testing.F) {
	for _, ts := range sampleRequestV2().Timeseries {
		for _, h := range ts.Histograms {
			b, _ := h.Marshal()
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, msg []byte) {
		var (
			want writev2.Histogram
			v1   prompb.Histogram
			got  Histogram
		)
		err := got.Decode(msg)
		if want.Unmarshal(msg) != nil {
			return
		}
		if stricter(err) {
			msg, _ = want.Marshal()
			if err = got.Decode(msg); errors.Is(err, errFieldNumber) {
				return // an unknown field is kept as it was
			}
		}
		require.NoError(t, err)
		compareHistogram(t, &want, &got)
		if v1.Unmarshal(msg) == nil { // the same message but for the start timestamp
			require.Equal(t, v1.Timestamp, got.Time)
			require.Equal(t, v1.IsFloatHistogram(), got.Float)
		}
	})
}

func BenchmarkDecodeV2(b *testing.B) {
	req := sampleRequestV2()
	ts := req.Timeseries[0]
	ts.Samples = ts.Samples[:1]
	req.Timeseries = nil
	for range 2000 {
		req.Timeseries = append(req.Timeseries, ts)
	}
	msg, _ := req.Marshal()
	var d DecoderV2
	b.ReportAllocs()
	for b.Loop() {
		d.Reset(msg, Limits{})
		for d.Next() {
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/2000, "ns/sample")
}
