package wire

import (
	"errors"
	"math"
	"testing"

	"github.com/klauspost/compress/snappy"
	"github.com/prometheus/prometheus/prompb"
	"github.com/stretchr/testify/require"
)

func sampleRequest() *prompb.WriteRequest {
	return &prompb.WriteRequest{
		Timeseries: []prompb.TimeSeries{
			{
				Labels:  []prompb.Label{{Name: "__name__", Value: "up"}, {Name: "job", Value: "a"}},
				Samples: []prompb.Sample{{Value: 1, Timestamp: 1700000000000}, {Value: 0, Timestamp: 0}, {Value: math.Inf(-1), Timestamp: -5}},
			},
			{
				Labels:     []prompb.Label{{Name: "__name__", Value: "h"}, {Name: "empty"}},
				Exemplars:  []prompb.Exemplar{{Labels: []prompb.Label{{Name: "trace_id", Value: "x"}}, Value: 3, Timestamp: 7}},
				Histograms: []prompb.Histogram{{Sum: 4, Timestamp: 9}},
			},
			{},
		},
		Metadata: []prompb.MetricMetadata{{Type: prompb.MetricMetadata_GAUGE, MetricFamilyName: "up", Help: "h", Unit: "u"}},
	}
}

// compare demands that the decoder reads the same from msg as prompb did.
func compare(t testing.TB, want *prompb.WriteRequest, msg []byte) {
	t.Helper()
	var d Decoder
	d.Reset(msg, Limits{})
	for i := range want.Timeseries {
		w := &want.Timeseries[i]
		require.True(t, d.Next(), "series %d: %v", i, d.Err())
		got := d.Series()
		labels, err := DecodeLabels(nil, got.LabelBytes)
		require.NoError(t, err)
		compareLabels(t, w.Labels, labels)
		require.Len(t, got.Samples, len(w.Samples))
		for j, s := range w.Samples {
			require.Equal(t, s.Timestamp, got.Samples[j].Time)
			require.Equal(t, math.Float64bits(s.Value), math.Float64bits(got.Samples[j].Value))
		}
		require.Len(t, got.Exemplars, len(w.Exemplars))
		for j, e := range w.Exemplars {
			ge, err := DecodeExemplar(nil, got.Exemplars[j])
			require.NoError(t, err)
			compareLabels(t, e.Labels, ge.Labels)
			require.Equal(t, math.Float64bits(e.Value), math.Float64bits(ge.Value))
			require.Equal(t, e.Timestamp, ge.Time)
		}
		require.Len(t, got.Histograms, len(w.Histograms))
	}
	require.False(t, d.Next())
	require.NoError(t, d.Err())
	require.Len(t, d.Metadata(), len(want.Metadata))
	for i, m := range want.Metadata {
		g := d.Metadata()[i]
		require.Equal(t, []any{int32(m.Type), m.MetricFamilyName, m.Help, m.Unit}, []any{g.Type, string(g.Family), string(g.Help), string(g.Unit)})
	}
}

func compareLabels(t testing.TB, want []prompb.Label, got []LabelView) {
	t.Helper()
	require.Len(t, got, len(want))
	for i := range want {
		require.Equal(t, want[i].Name, string(got[i].Name))
		require.Equal(t, want[i].Value, string(got[i].Value))
	}
}

func TestDecodeAgainstPrompb(t *testing.T) {
	msg, err := sampleRequest().Marshal()
	require.NoError(t, err)
	compare(t, sampleRequest(), msg)
}

func TestDecodeUnusualForms(t *testing.T) {
	label := "\x0a\x06\x0a\x01a\x12\x01b"
	second := "\x0a\x06\x0a\x01c\x12\x01d"
	sample := "\x12\x0b\x10\x01\x09\x00\x00\x00\x00\x00\x00\xf0\x3f" // time before value
	unknown := "\x9a\x06\x03xyz"                                     // field 99
	group := "\xa3\x06\x08\x01\xa4\x06"                              // field 100, a group
	for name, ts := range map[string]string{
		"labels after sample":        sample + label + second,
		"sample between the labels":  label + sample + second,
		"unknown between the labels": label + unknown + second + sample,
		"unknown group":              label + second + group + sample,
	} {
		t.Run(name, func(t *testing.T) {
			msg := append([]byte{0x0a, byte(len(ts))}, ts...)
			var want prompb.WriteRequest
			require.NoError(t, want.Unmarshal(msg))
			require.Len(t, want.Timeseries[0].Labels, 2)
			require.Len(t, want.Timeseries[0].Samples, 1)
			compare(t, &want, msg)
		})
	}
}

func TestDecodeRefuses(t *testing.T) {
	for name, msg := range map[string]string{
		"cut in a length":      "\x0a",
		"cut in a series":      "\x0a\x05\x0a",
		"field number zero":    "\x02\x00",
		"wrong wire type":      "\x08\x01",
		"sample as varint":     "\x0a\x02\x10\x01",
		"varint without end":   "\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
		"group without end":    "\x0b\x08\x01",
		"end without a group":  "\x0c",
		"wire type 7":          "\x0f",
		"metadata as a varint": "\x18\x01",
	} {
		t.Run(name, func(t *testing.T) {
			var d Decoder
			d.Reset([]byte(msg), Limits{})
			for d.Next() {
			}
			require.ErrorContains(t, d.Err(), "near byte")
		})
	}
}

func TestDecodeBounds(t *testing.T) {
	msg, err := sampleRequest().Marshal()
	require.NoError(t, err)
	for _, l := range []Limits{{Series: 2}, {Samples: 4}} {
		var d Decoder
		d.Reset(msg, l)
		for d.Next() {
		}
		require.ErrorIs(t, d.Err(), ErrTooLarge)
	}
	var d Decoder
	d.Reset(msg, Limits{Series: 3, Samples: 5})
	for d.Next() {
	}
	require.NoError(t, d.Err())
}

func TestDecompress(t *testing.T) {
	plain := make([]byte, 1000)
	got, err := Decompress(nil, snappy.Encode(nil, plain), 1000)
	require.NoError(t, err)
	require.Equal(t, plain, got)
	_, err = Decompress(nil, snappy.Encode(nil, plain), 999)
	require.ErrorIs(t, err, ErrTooLarge)
	// 4 GiB declared in five bytes: nothing may be allocated for it.
	bomb := []byte{0xff, 0xff, 0xff, 0xff, 0x0f}
	require.Zero(t, testing.AllocsPerRun(1, func() {
		_, err = snappy.DecodedLen(bomb)
	}))
	_, err = Decompress(nil, bomb, 1000)
	require.ErrorIs(t, err, ErrTooLarge)
	_, err = Decompress(nil, []byte("not snappy"), 1000)
	require.Error(t, err)
}

func TestDecodeDoesNotAllocate(t *testing.T) {
	var req prompb.WriteRequest
	for range 500 {
		req.Timeseries = append(req.Timeseries, sampleRequest().Timeseries[0])
	}
	msg, err := req.Marshal()
	require.NoError(t, err)
	var d Decoder
	walk := func() {
		d.Reset(msg, Limits{})
		for d.Next() {
		}
	}
	walk()
	require.Zero(t, testing.AllocsPerRun(10, walk))
}

// illegalNumbers reports whether the decoder stops at a field number that
// protobuf forbids. The reference cuts such numbers to 32 bits and goes on.
func illegalNumbers(msg []byte) bool {
	var d Decoder
	d.Reset(msg, Limits{})
	for d.Next() {
		if _, err := DecodeLabels(nil, d.Series().LabelBytes); errors.Is(err, errFieldNumber) {
			return true
		}
		for _, e := range d.Series().Exemplars {
			if _, err := DecodeExemplar(nil, e); errors.Is(err, errFieldNumber) {
				return true
			}
		}
	}
	return errors.Is(d.Err(), errFieldNumber)
}

func FuzzDecode(f *testing.F) {
	msg, _ := sampleRequest().Marshal()
	f.Add(msg)
	f.Add([]byte("\x0a\x15\x0a\x06\x0a\x01a\x12\x01b\x12\x0b\x10\x01\x09\x00\x00\x00\x00\x00\x00\xf0\x3f"))
	f.Add([]byte("\x0a\x06\xa3\x06\x08\x01\xa4\x06"))
	f.Fuzz(func(t *testing.T, msg []byte) {
		var want prompb.WriteRequest
		if want.Unmarshal(msg) == nil && !illegalNumbers(msg) {
			compare(t, &want, msg)
			return
		}
		// What prompb refuses may fail later here, in parts that are read
		// only when needed, but must not panic.
		var d Decoder
		d.Reset(msg, Limits{})
		for d.Next() {
			_, _ = DecodeLabels(nil, d.Series().LabelBytes)
			for _, e := range d.Series().Exemplars {
				_, _ = DecodeExemplar(nil, e)
			}
		}
	})
}

func FuzzDecompress(f *testing.F) {
	f.Add(snappy.Encode(nil, []byte("hello hello hello")))
	f.Fuzz(func(t *testing.T, src []byte) {
		out, err := Decompress(nil, src, 1<<16)
		if err == nil && len(out) > 1<<16 {
			t.Fatalf("%d bytes came out, allowed were %d", len(out), 1<<16)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	var req prompb.WriteRequest
	for range 2000 {
		ts := sampleRequest().Timeseries[0]
		ts.Samples = ts.Samples[:1]
		req.Timeseries = append(req.Timeseries, ts)
	}
	msg, _ := req.Marshal()
	var d Decoder
	b.ReportAllocs()
	for b.Loop() {
		d.Reset(msg, Limits{})
		for d.Next() {
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/2000, "ns/sample")
}
