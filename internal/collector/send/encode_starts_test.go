package send

import (
	"testing"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/internal/model"
)

// TestStartTimestamps sends samples with the times since when they count, each its
// own: after a reset what was scraped before keeps the old one.
func TestStartTimestamps(t *testing.T) {
	msg := prompb.FromIntHistogram(3000, &histogram.Histogram{Schema: 1, Count: 1, Sum: 1, ZeroThreshold: 1e-9, ZeroCount: 1})
	h, err := msg.Marshal()
	require.NoError(t, err)
	before, after := &model.Starts{1000, 1000}, &model.Starts{1000, 2500, 2600}
	sh := &model.Shape{Labels: named("a", "b", "c")}
	frames := []*model.Frame{
		{Shape: sh, Time: 2000, Values: []float64{1, 2, model.Absent()}, Starts: before},
		{Shape: sh, Time: 3000, Values: []float64{3, 4, model.Absent()}, Starts: after, Extras: []model.Extra{
			{Slot: 1, Time: 2400, Value: 5}, // older than the start: none
			{Slot: 2, Kind: model.ExtraHistogram, Time: 3000, Histogram: h},
		}},
		{Shape: sh, Time: 4000, Values: []float64{model.Stale(), 6, model.Absent()}, Starts: after},
	}
	want := map[string][]int64{"a": {1000, 1000, 0}, "b": {1000, 0, 2500, 2500}, "c": {2600}}
	for name, spans := range map[string][]model.Span{
		"one by one": {model.Whole(frames[:1]), model.Whole(frames[1:2]), model.Whole(frames[2:])},
		"columns":    {model.Whole(frames)},
	} {
		e := testEncoder(config())
		e.encode(v1, spans, time.Now())
		require.Len(t, decoded(t, e, v1).points, 8, "1.0 has no place for them")
		e.encode(v2, spans, time.Now())
		raw, err := snappy.Decode(nil, e.packed)
		require.NoError(t, err)
		var req writev2.Request
		require.NoError(t, req.Unmarshal(raw))
		got := map[string][]int64{}
		for _, ts := range req.Timeseries {
			series := req.Symbols[ts.LabelsRefs[1]]
			for _, s := range ts.Samples {
				got[series] = append(got[series], s.StartTimestamp)
			}
			for _, h := range ts.Histograms {
				require.EqualValues(t, 1, h.GetCountInt())
				got[series] = append(got[series], h.StartTimestamp)
			}
		}
		require.Equal(t, want, got, name)
	}
}
