package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/klauspost/compress/snappy"
)

// tagV1Label is the tag of a label in a TimeSeries of 1.0.
const tagV1Label = 1<<3 | 2

// ErrTooLarge is behind every error about a message beyond a bound.
var ErrTooLarge = errors.New("message too large")

// Decompress undoes the snappy block format into dst, which is grown when it is
// too small, and returns the message. A block that declares more than limit
// bytes is refused before any memory is taken for it.
func Decompress(dst, src []byte, limit int) ([]byte, error) {
	n, err := snappy.DecodedLen(src)
	if err != nil {
		return nil, fmt.Errorf("decompress snappy: %w", err)
	}
	if n > limit {
		return nil, fmt.Errorf("decompress snappy: %d bytes, allowed are %d: %w", n, limit, ErrTooLarge)
	}
	if cap(dst) < n {
		dst = make([]byte, n)
	}
	out, err := snappy.Decode(dst[:cap(dst)], src)
	if err != nil {
		return nil, fmt.Errorf("decompress snappy: %w", err)
	}
	return out, nil
}

// LabelView is a label as a view into the message.
type LabelView struct{ Name, Value []byte }

// TimeSeries is one series of a WriteRequest. All of it is valid until the next
// call of Decoder.Next and, the views, as long as the message.
type TimeSeries struct {
	// LabelBytes are the encoded labels, tags and all, in the order in which
	// they were sent: the same series from the same sender has the same bytes.
	// Read them with DecodeLabels.
	LabelBytes []byte
	Samples    []Sample
	// Exemplars and Histograms are encoded messages.
	Exemplars  [][]byte
	Histograms [][]byte
}

// Metadata describes a metric family. The strings are views into the message.
type Metadata struct {
	Type               int32 // prometheus.MetricMetadata.MetricType
	Family, Help, Unit []byte
}

// Limits bound what a message may hold. Zero means no bound.
type Limits struct {
	Series  int // series in a message
	Samples int // samples, histograms and exemplars in a message
}

// Decoder walks over a remote write 1.0 WriteRequest without copying it and
// without allocating per series or sample. Unknown fields are skipped. Reset
// makes it ready for another message.
type Decoder struct {
	limits Limits
	rest   []byte
	offset int // of rest in the message, for errors
	series int
	items  int

	ts       TimeSeries
	scratch  []byte // labels of a series that has something between them
	metadata []Metadata
	err      error
}

// Reset starts on a message, which has to stay unchanged until the last use of
// what is read from it.
func (d *Decoder) Reset(msg []byte, limits Limits) {
	d.limits, d.rest, d.offset, d.series, d.items, d.err = limits, msg, 0, 0, 0, nil
	d.metadata = d.metadata[:0]
}

// Err returns why Next stopped early, nil at the end of a good message.
func (d *Decoder) Err() error { return d.err }

// Metadata returns the metadata met so far; all of it once Next returned false.
func (d *Decoder) Metadata() []Metadata { return d.metadata }

// Series returns the series that Next moved to.
func (d *Decoder) Series() *TimeSeries { return &d.ts }

// Next moves to the next series. It returns false at the end and on error.
func (d *Decoder) Next() bool {
	for d.err == nil && len(d.rest) > 0 {
		f, n, err := nextField(d.rest)
		if err != nil {
			return d.fail("write request", err)
		}
		start := d.offset
		d.rest, d.offset = d.rest[n:], d.offset+n
		switch f.number {
		case 1:
			if err := f.expect(wireBytes); err == nil {
				err = d.decodeSeries(f.bytes)
				if err == nil {
					return true
				}
				d.offset = start
				return d.fail("time series", err)
			}
			return d.fail("time series", f.expect(wireBytes))
		case 3:
			if err := d.decodeMetadata(f); err != nil {
				return d.fail("metadata", err)
			}
		}
	}
	return false
}

func (d *Decoder) fail(what string, err error) bool {
	d.err = fmt.Errorf("decode %s near byte %d: %w", what, d.offset, err)
	return false
}

// countUp counts one more of a kind.
func countUp(kind string, n *int, limit int) error {
	*n++
	if limit > 0 && *n > limit {
		return fmt.Errorf("more than %d %s: %w", limit, kind, ErrTooLarge)
	}
	return nil
}

func (d *Decoder) decodeSeries(msg []byte) error {
	if err := countUp("series", &d.series, d.limits.Series); err != nil {
		return err
	}
	ts := &d.ts
	ts.LabelBytes, ts.Samples = nil, ts.Samples[:0]
	ts.Exemplars, ts.Histograms = ts.Exemplars[:0], ts.Histograms[:0]
	if ok, err := d.decodePlainSeries(msg); ok {
		return err
	}
	d.scratch = d.scratch[:0]
	from, to := -1, -1 // the run of label fields in msg
	for pos := 0; pos < len(msg); {
		f, n, err := nextField(msg[pos:])
		if err != nil {
			return err
		}
		start := pos
		pos += n
		if f.number >= 1 && f.number <= 4 {
			if err := f.expect(wireBytes); err != nil {
				return err
			}
		}
		switch f.number {
		case 1:
			switch {
			case from < 0:
				from, to = start, pos
			case to == start && len(d.scratch) == 0:
				to = pos
			default:
				if len(d.scratch) == 0 {
					d.scratch = append(d.scratch, msg[from:to]...)
				}
				d.scratch = append(d.scratch, msg[start:pos]...)
			}
		case 2:
			s, err := decodeSample(f.bytes)
			if err != nil {
				return err
			}
			ts.Samples = append(ts.Samples, s)
		case 3:
			ts.Exemplars = append(ts.Exemplars, f.bytes)
		case 4:
			ts.Histograms = append(ts.Histograms, f.bytes)
		}
		if f.number >= 2 && f.number <= 4 {
			if err := countUp("samples", &d.items, d.limits.Samples); err != nil {
				return err
			}
		}
	}
	if len(d.scratch) > 0 {
		ts.LabelBytes = d.scratch
	} else if from >= 0 {
		ts.LabelBytes = msg[from:to]
	}
	return nil
}

// decodePlainSeries reads a series of the form that nearly all have: labels, each
// shorter than 128 bytes, then one sample. It reports false, and has done
// nothing, for any other.
func (d *Decoder) decodePlainSeries(msg []byte) (bool, error) {
	at := 0
	for at+1 < len(msg) && msg[at] == tagV1Label && msg[at+1] < 0x80 {
		at += 2 + int(msg[at+1])
	}
	if at+1 >= len(msg) || msg[at] != tagSeriesSamples || int(msg[at+1]) != len(msg)-at-2 {
		return false, nil
	}
	s, ok := plainSample(msg[at+2:])
	if !ok {
		return false, nil
	}
	d.ts.LabelBytes, d.ts.Samples = msg[:at], append(d.ts.Samples, s)
	return true, countUp("samples", &d.items, d.limits.Samples)
}

// plainSample reads a Sample in the form that every encoder writes: value, then
// time, either left out when it is zero. It reports false for anything else.
func plainSample(msg []byte) (s Sample, ok bool) {
	if len(msg) >= 9 && msg[0] == tagSampleValue {
		s.Value = math.Float64frombits(binary.LittleEndian.Uint64(msg[1:]))
		msg = msg[9:]
	}
	if len(msg) > 1 && msg[0] == tagSampleTime {
		t, n := binary.Uvarint(msg[1:])
		if n <= 0 {
			return s, false
		}
		s.Time, msg = int64(t), msg[1+n:]
	}
	return s, len(msg) == 0
}

// decodeSample reads a Sample.
func decodeSample(msg []byte) (Sample, error) {
	if s, ok := plainSample(msg); ok {
		return s, nil
	}
	var s Sample
	for len(msg) > 0 {
		f, n, err := nextField(msg)
		if err != nil {
			return s, err
		}
		msg = msg[n:]
		switch f.number {
		case 1:
			if err := f.expect(wireFixed64); err != nil {
				return s, err
			}
			s.Value = math.Float64frombits(f.value)
		case 2:
			if err := f.expect(wireVarint); err != nil {
				return s, err
			}
			s.Time = int64(f.value)
		}
	}
	return s, nil
}

// DecodeLabels appends the labels in LabelBytes to dst.
func DecodeLabels(dst []LabelView, labelBytes []byte) ([]LabelView, error) {
	for len(labelBytes) > 0 {
		f, n, err := nextField(labelBytes)
		if err != nil {
			return dst, err
		}
		labelBytes = labelBytes[n:]
		if f.number != 1 {
			continue
		}
		if err := f.expect(wireBytes); err != nil {
			return dst, err
		}
		l, err := decodeLabel(f.bytes)
		if err != nil {
			return dst, err
		}
		dst = append(dst, l)
	}
	return dst, nil
}

func decodeLabel(msg []byte) (l LabelView, err error) {
	for len(msg) > 0 {
		f, n, err := nextField(msg)
		if err != nil {
			return l, err
		}
		msg = msg[n:]
		if f.number != 1 && f.number != 2 {
			continue
		}
		if err := f.expect(wireBytes); err != nil {
			return l, err
		}
		if f.number == 1 {
			l.Name = f.bytes
		} else {
			l.Value = f.bytes
		}
	}
	return l, nil
}

// Exemplar is a sample that points to a trace.
type Exemplar struct {
	Labels []LabelView
	Sample
}

// DecodeExemplar reads one of TimeSeries.Exemplars, with room for labels in dst.
func DecodeExemplar(dst []LabelView, msg []byte) (Exemplar, error) {
	e := Exemplar{Labels: dst[:0]}
	for len(msg) > 0 {
		f, n, err := nextField(msg)
		if err != nil {
			return e, err
		}
		msg = msg[n:]
		switch f.number {
		case 1:
			if err := f.expect(wireBytes); err != nil {
				return e, err
			}
			l, err := decodeLabel(f.bytes)
			if err != nil {
				return e, err
			}
			e.Labels = append(e.Labels, l)
		case 2:
			if err := f.expect(wireFixed64); err != nil {
				return e, err
			}
			e.Value = math.Float64frombits(f.value)
		case 3:
			if err := f.expect(wireVarint); err != nil {
				return e, err
			}
			e.Time = int64(f.value)
		}
	}
	return e, nil
}

// maxMetadata bounds the metadata of one message.
const maxMetadata = 100_000

func (d *Decoder) decodeMetadata(outer field) error {
	if err := outer.expect(wireBytes); err != nil {
		return err
	}
	if len(d.metadata) >= maxMetadata {
		return fmt.Errorf("more than %d metadata: %w", maxMetadata, ErrTooLarge)
	}
	var m Metadata
	for msg := outer.bytes; len(msg) > 0; {
		f, n, err := nextField(msg)
		if err != nil {
			return err
		}
		msg = msg[n:]
		want := wireBytes
		switch f.number {
		case 1:
			want, m.Type = wireVarint, int32(f.value)
		case 2:
			m.Family = f.bytes
		case 4:
			m.Help = f.bytes
		case 5:
			m.Unit = f.bytes
		default:
			continue
		}
		if err := f.expect(want); err != nil {
			return err
		}
	}
	d.metadata = append(d.metadata, m)
	return nil
}
