package wire

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/prometheus/prometheus/model/histogram"
)

// Histogram is a native histogram, of either version. Its slices are the
// Histogram's own and used again by the next Decode.
//
// See https://prometheus.io/docs/specs/native_histograms/.
type Histogram struct {
	// Float says that counts are floats: CountFloat, ZeroCountFloat and the
	// Counts are in use, instead of CountInt, ZeroCountInt and the Deltas.
	Float          bool
	CountInt       uint64
	CountFloat     float64
	Sum            float64
	Schema         int32
	ZeroThreshold  float64
	ZeroCountInt   uint64
	ZeroCountFloat float64
	NegativeSpans  []histogram.Span
	NegativeDeltas []int64
	NegativeCounts []float64
	PositiveSpans  []histogram.Span
	PositiveDeltas []int64
	PositiveCounts []float64
	ResetHint      int32
	Time           int64 // milliseconds
	CustomValues   []float64
	Start          int64 // start timestamp in milliseconds, zero for none; 2.0 only
}

// Decode reads one of TimeSeries.Histograms or TimeSeriesV2.Histograms.
func (h *Histogram) Decode(msg []byte) error {
	*h = Histogram{
		NegativeSpans: h.NegativeSpans[:0], NegativeDeltas: h.NegativeDeltas[:0], NegativeCounts: h.NegativeCounts[:0],
		PositiveSpans: h.PositiveSpans[:0], PositiveDeltas: h.PositiveDeltas[:0], PositiveCounts: h.PositiveCounts[:0],
		CustomValues: h.CustomValues[:0],
	}
	for len(msg) > 0 {
		f, n, err := nextField(msg)
		if err != nil {
			return err
		}
		msg = msg[n:]
		if f.number >= 8 && f.number <= 13 || f.number == 16 {
			err = h.repeated(&f)
		} else {
			err = h.scalar(&f)
		}
		if err != nil {
			return fmt.Errorf("histogram field %d: %w", f.number, err)
		}
	}
	return nil
}

func (h *Histogram) scalar(f *field) error {
	want := wireFixed64
	switch f.number {
	case 1: // 1 and 2 are one of
		want, h.Float, h.CountInt, h.CountFloat = wireVarint, false, f.value, 0
	case 2:
		h.Float, h.CountInt, h.CountFloat = true, 0, math.Float64frombits(f.value)
	case 3:
		h.Sum = math.Float64frombits(f.value)
	case 4:
		want, h.Schema = wireVarint, zigzag32(f.value)
	case 5:
		h.ZeroThreshold = math.Float64frombits(f.value)
	case 6: // 6 and 7 are one of
		want, h.ZeroCountInt, h.ZeroCountFloat = wireVarint, f.value, 0
	case 7:
		h.ZeroCountInt, h.ZeroCountFloat = 0, math.Float64frombits(f.value)
	case 14:
		want, h.ResetHint = wireVarint, int32(f.value)
	case 15:
		want, h.Time = wireVarint, int64(f.value)
	case 17:
		want, h.Start = wireVarint, int64(f.value)
	default:
		return nil
	}
	return f.expect(want)
}

func (h *Histogram) repeated(f *field) (err error) {
	switch f.number {
	case 8:
		h.NegativeSpans, err = appendSpan(h.NegativeSpans, f)
	case 9:
		h.NegativeDeltas, err = appendDeltas(h.NegativeDeltas, f)
	case 10:
		h.NegativeCounts, err = appendDoubles(h.NegativeCounts, f)
	case 11:
		h.PositiveSpans, err = appendSpan(h.PositiveSpans, f)
	case 12:
		h.PositiveDeltas, err = appendDeltas(h.PositiveDeltas, f)
	case 13:
		h.PositiveCounts, err = appendDoubles(h.PositiveCounts, f)
	case 16:
		h.CustomValues, err = appendDoubles(h.CustomValues, f)
	}
	return err
}

// zigzag32 reads an sint32.
func zigzag32(v uint64) int32 {
	u := uint32(v)
	return int32(u>>1) ^ -int32(u&1)
}

func appendSpan(dst []histogram.Span, outer *field) ([]histogram.Span, error) {
	if err := outer.expect(wireBytes); err != nil {
		return dst, err
	}
	var s histogram.Span
	for msg := outer.bytes; len(msg) > 0; {
		f, n, err := nextField(msg)
		if err != nil {
			return dst, err
		}
		msg = msg[n:]
		switch f.number {
		case 1:
			s.Offset = zigzag32(f.value)
		case 2:
			s.Length = uint32(f.value)
		default:
			continue
		}
		if err := f.expect(wireVarint); err != nil {
			return dst, err
		}
	}
	return append(dst, s), nil
}

// appendDeltas reads sint64 values, packed or one by one.
func appendDeltas(dst []int64, f *field) ([]int64, error) {
	unzig := func(u uint64) int64 { return int64(u>>1) ^ -int64(u&1) }
	if f.typ == wireVarint {
		return append(dst, unzig(f.value)), nil
	}
	if err := f.expect(wireBytes); err != nil {
		return dst, err
	}
	for b := f.bytes; len(b) > 0; {
		v, n, err := uvarint(b)
		if err != nil {
			return dst, err
		}
		dst, b = append(dst, unzig(v)), b[n:]
	}
	return dst, nil
}

// appendDoubles reads double values, packed or one by one.
func appendDoubles(dst []float64, f *field) ([]float64, error) {
	if f.typ == wireFixed64 {
		return append(dst, math.Float64frombits(f.value)), nil
	}
	if err := f.expect(wireBytes); err != nil {
		return dst, err
	}
	if len(f.bytes)%8 != 0 {
		return dst, io.ErrUnexpectedEOF
	}
	for b := f.bytes; len(b) > 0; b = b[8:] {
		dst = append(dst, math.Float64frombits(binary.LittleEndian.Uint64(b)))
	}
	return dst, nil
}

// Int returns a copy as Prometheus' integer histogram. It is for histograms that
// are not Float.
func (h *Histogram) Int() *histogram.Histogram {
	return &histogram.Histogram{
		CounterResetHint: histogram.CounterResetHint(h.ResetHint),
		Schema:           h.Schema, ZeroThreshold: h.ZeroThreshold, ZeroCount: h.ZeroCountInt, Count: h.CountInt, Sum: h.Sum,
		PositiveSpans: clone(h.PositiveSpans), PositiveBuckets: clone(h.PositiveDeltas),
		NegativeSpans: clone(h.NegativeSpans), NegativeBuckets: clone(h.NegativeDeltas),
		CustomValues: clone(h.CustomValues),
	}
}

// FloatHistogram returns a copy as Prometheus' histogram of floats. It is for
// histograms that are Float.
func (h *Histogram) FloatHistogram() *histogram.FloatHistogram {
	return &histogram.FloatHistogram{
		CounterResetHint: histogram.CounterResetHint(h.ResetHint),
		Schema:           h.Schema, ZeroThreshold: h.ZeroThreshold, ZeroCount: h.ZeroCountFloat, Count: h.CountFloat, Sum: h.Sum,
		PositiveSpans: clone(h.PositiveSpans), PositiveBuckets: clone(h.PositiveCounts),
		NegativeSpans: clone(h.NegativeSpans), NegativeBuckets: clone(h.NegativeCounts),
		CustomValues: clone(h.CustomValues),
	}
}

// clone copies a slice; none for an empty one.
func clone[T any](s []T) []T {
	if len(s) == 0 {
		return nil
	}
	return slices.Clone(s)
}
