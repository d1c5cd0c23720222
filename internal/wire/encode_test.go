package wire

import (
	"bytes"
	"math"
	"testing"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/prompb"
	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/internal/model"
)

func TestAppendSeriesAgainstPrompb(t *testing.T) {
	own := []model.Label{{Name: "__name__", Value: "up"}, {Name: "cluster", Value: "mine"}, {Name: "z", Value: "ä"}}
	ext := []model.Label{{Name: "a", Value: "first"}, {Name: "cluster", Value: "other"}, {Name: "zz", Value: "last"}}
	samples := []Sample{
		{Time: 1, Value: 0},
		{Time: 1732278000123, Value: math.Copysign(0, -1)},
		{Time: -5, Value: math.Inf(1)},
		{Time: 0, Value: 3.25},
		{Time: math.MaxInt64, Value: model.Stale()},
	}
	body := AppendSeries([]byte(nil), AppendLabels(nil, own, ext), samples)
	body = AppendSeries(body, AppendLabels(nil, own, nil), nil)

	var got prompb.WriteRequest
	require.NoError(t, got.Unmarshal(body))
	require.Len(t, got.Timeseries, 2)
	require.Equal(t, []prompb.Label{
		{Name: "__name__", Value: "up"}, {Name: "a", Value: "first"}, {Name: "cluster", Value: "mine"},
		{Name: "z", Value: "ä"}, {Name: "zz", Value: "last"},
	}, got.Timeseries[0].Labels)
	require.Len(t, got.Timeseries[0].Samples, len(samples))
	for i, s := range got.Timeseries[0].Samples {
		require.Equal(t, samples[i].Time, s.Timestamp)
		require.Equal(t, math.Float64bits(samples[i].Value), math.Float64bits(s.Value))
	}
	require.Empty(t, got.Timeseries[1].Samples)

	// The reference encoder makes the same bytes, so nothing is wasted; save
	// that it loses the sign of a negative zero.
	samples[1].Value = 1
	body = AppendSeries(nil, AppendLabels(nil, own, ext), samples)
	require.NoError(t, got.Unmarshal(body))
	got.Timeseries = got.Timeseries[len(got.Timeseries)-1:]
	want, err := got.Marshal()
	require.NoError(t, err)
	require.Equal(t, want, body)
}

func TestAppendSnappyKeepsWhatIsThere(t *testing.T) {
	src := bytes.Repeat([]byte("mangru "), 1000)
	for _, room := range []int{0, 10, 100000} {
		dst := append(make([]byte, 0, 3+room), "abc"...)
		dst = AppendSnappy(dst, src)
		require.Equal(t, "abc", string(dst[:3]))
		got, err := snappy.Decode(nil, dst[3:])
		require.NoError(t, err)
		require.Equal(t, src, got)
	}
}

func FuzzAppendSeries(f *testing.F) {
	f.Add("__name__", "up", "job", "x", int64(1), uint64(0))
	f.Add("", "", "b", "", int64(-1), math.Float64bits(math.NaN()))
	f.Fuzz(func(t *testing.T, n1, v1, n2, v2 string, ts int64, bits uint64) {
		body := AppendSeries(nil, AppendLabels(nil, []model.Label{{Name: n1, Value: v1}}, []model.Label{{Name: n2, Value: v2}}),
			[]Sample{{Time: ts, Value: math.Float64frombits(bits)}, {Time: 7, Value: 1}})
		var got prompb.WriteRequest
		if err := got.Unmarshal(body); err != nil {
			t.Fatalf("reference decoder refuses %x: %v", body, err)
		}
		s := got.Timeseries[0]
		want := 2
		if n1 == n2 {
			want = 1
		}
		if len(s.Labels) != want || len(s.Samples) != 2 || s.Samples[0].Timestamp != ts ||
			math.Float64bits(s.Samples[0].Value) != bits {
			t.Fatalf("got %v", s)
		}
		for _, l := range s.Labels {
			if !(l.Name == n1 && l.Value == v1) && !(l.Name == n2 && l.Value == v2) {
				t.Fatalf("label %q=%q is nobody's", l.Name, l.Value)
			}
		}
	})
}

func TestAppendSeriesDoesNotAllocate(t *testing.T) {
	ls := AppendLabels(nil, []model.Label{{Name: "__name__", Value: "up"}}, nil)
	buf := make([]byte, 0, 1<<12)
	samples := []Sample{{Time: 1732278000123, Value: 1}}
	if n := testing.AllocsPerRun(100, func() { buf = AppendSeries(buf[:0], ls, samples) }); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}
