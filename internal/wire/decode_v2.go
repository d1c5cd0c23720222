package wire

import (
	"errors"
	"fmt"
	"math"
)

// Bounds of a remote write 2.0 message that no sender comes near. They keep the
// memory that a small message asks for small.
const (
	maxSymbols    = 1 << 20 // in a message
	maxSeriesRefs = 1 << 14 // references of one series or exemplar
)

// ErrSymbol is behind every error about references that do not lead to labels.
var ErrSymbol = errors.New("invalid symbol reference")

// Fields of io.prometheus.write.v2.Request.
const (
	fieldV2Symbols = 4
	fieldV2Series  = 5
)

// TimeSeriesV2 is one series of a Request of remote write 2.0. All of it is valid
// until the next call of DecoderV2.Next and, the messages, as long as the message
// that they are part of.
type TimeSeriesV2 struct {
	// Refs are the places of the labels' names and values in the symbol table, by
	// turns. They are not checked: see DecoderV2.Labels.
	Refs    []uint32
	Samples []Sample
	// Starts are the start timestamps of Samples in milliseconds, zero for none.
	// Nil when no sample has one.
	Starts []int64
	// Exemplars and Histograms are encoded messages.
	Exemplars  [][]byte
	Histograms [][]byte
	// Type is a Metadata.MetricType; Help and Unit are places in the symbol table.
	Type       int32
	Help, Unit uint32
}

// DecoderV2 walks over a Request of remote write 2.0 without copying it and
// without allocating per series or sample. Unknown fields are skipped. Reset makes
// it ready for another message.
//
// See https://prometheus.io/docs/specs/prw/remote_write_spec_2_0/.
type DecoderV2 struct {
	limits  Limits
	msg     []byte
	pos     int
	series  int
	items   int
	symbols []symbolSpan // in msg
	ts      TimeSeriesV2
	err     error
}

// Reset starts on a message, which has to stay unchanged until the last use of
// what is read from it. The table of symbols, wherever it is in the message, is
// read at once: see Symbols.
func (d *DecoderV2) Reset(msg []byte, limits Limits) {
	d.limits, d.msg, d.pos, d.series, d.items, d.err = limits, msg, 0, 0, 0, nil
	d.symbols = d.symbols[:0]
	d.err = d.readSymbols()
}

// readSymbols collects the symbols and checks the frame of the message.
func (d *DecoderV2) readSymbols() error {
	if len(d.msg) > math.MaxUint32 {
		return fmt.Errorf("decode request: %d bytes: %w", len(d.msg), ErrTooLarge)
	}
	for pos := 0; pos < len(d.msg); {
		f, n, err := nextField(d.msg[pos:])
		if err != nil {
			return fmt.Errorf("decode request near byte %d: %w", pos, err)
		}
		pos += n
		if f.number != fieldV2Symbols {
			continue
		}
		if err := f.expect(wireBytes); err != nil {
			return fmt.Errorf("decode symbol near byte %d: %w", pos-n, err)
		}
		if len(d.symbols) == maxSymbols {
			return fmt.Errorf("decode request: more than %d symbols: %w", maxSymbols, ErrTooLarge)
		}
		d.symbols = append(d.symbols, symbolSpan{uint32(pos - len(f.bytes)), uint32(pos)})
	}
	return nil
}

// Symbols returns how many symbols the message has.
func (d *DecoderV2) Symbols() int { return len(d.symbols) }

// Symbol returns the symbol at a place below Symbols, a view into the message.
func (d *DecoderV2) Symbol(ref int) []byte {
	s := d.symbols[ref]
	return d.msg[s.from:s.to:s.to]
}

// Text returns what a reference of metadata stands for.
func (d *DecoderV2) Text(ref uint32) ([]byte, error) {
	if int64(ref) >= int64(len(d.symbols)) {
		if ref == 0 { // a message without symbols at all
			return nil, nil
		}
		return nil, fmt.Errorf("%w %d of %d symbols", ErrSymbol, ref, len(d.symbols))
	}
	return d.Symbol(int(ref)), nil
}

// Labels appends the labels that references stand for to dst.
func (d *DecoderV2) Labels(dst []LabelView, refs []uint32) ([]LabelView, error) {
	if len(refs)%2 != 0 {
		return dst, fmt.Errorf("%w: %d references are not pairs of name and value", ErrSymbol, len(refs))
	}
	for i := 0; i < len(refs); i += 2 {
		name, value := refs[i], refs[i+1]
		if int64(max(name, value)) >= int64(len(d.symbols)) {
			return dst, fmt.Errorf("%w %d of %d symbols", ErrSymbol, max(name, value), len(d.symbols))
		}
		dst = append(dst, LabelView{d.Symbol(int(name)), d.Symbol(int(value))})
	}
	return dst, nil
}

// Err returns why Next stopped early, nil at the end of a good message.
func (d *DecoderV2) Err() error { return d.err }

// Series returns the series that Next moved to.
func (d *DecoderV2) Series() *TimeSeriesV2 { return &d.ts }

// Next moves to the next series. It returns false at the end and on error.
func (d *DecoderV2) Next() bool {
	for d.err == nil && d.pos < len(d.msg) {
		f, n, err := nextField(d.msg[d.pos:])
		if err != nil {
			d.err = fmt.Errorf("decode request near byte %d: %w", d.pos, err)
			return false
		}
		start := d.pos
		d.pos += n
		if f.number != fieldV2Series {
			continue
		}
		if err = f.expect(wireBytes); err == nil {
			err = d.decodeSeries(f.bytes)
		}
		if err != nil {
			d.err = fmt.Errorf("decode time series near byte %d: %w", start, err)
			return false
		}
		return true
	}
	return false
}

func (d *DecoderV2) decodeSeries(msg []byte) error {
	if err := countUp("series", &d.series, d.limits.Series); err != nil {
		return err
	}
	ts := &d.ts
	*ts = TimeSeriesV2{Refs: ts.Refs[:0], Samples: ts.Samples[:0], Starts: ts.Starts[:0],
		Exemplars: ts.Exemplars[:0], Histograms: ts.Histograms[:0]}
	starts := false
	msg = d.decodePlainStart(msg)
	for len(msg) > 0 {
		f, n, err := nextField(msg)
		if err != nil {
			return err
		}
		msg = msg[n:]
		switch f.number {
		case 1:
			if ts.Refs, err = appendRefs(ts.Refs, &f); err != nil {
				return err
			}
			continue
		case 2, 3, 4, 5:
			if err := f.expect(wireBytes); err != nil {
				return err
			}
		}
		switch f.number {
		case 2:
			s, start, err := decodeSampleV2(f.bytes)
			if err != nil {
				return err
			}
			ts.Samples, ts.Starts = append(ts.Samples, s), append(ts.Starts, start)
			starts = starts || start != 0
		case 3:
			ts.Histograms = append(ts.Histograms, f.bytes)
		case 4:
			ts.Exemplars = append(ts.Exemplars, f.bytes)
		case 5:
			if err := ts.decodeMetadata(f.bytes); err != nil {
				return err
			}
		}
		if f.number >= 2 && f.number <= 4 {
			if err := countUp("samples", &d.items, d.limits.Samples); err != nil {
				return err
			}
		}
	}
	if !starts {
		ts.Starts = ts.Starts[:0]
	}
	return nil
}

// decodePlainStart reads the references at the start of a series, where every
// encoder puts them, if they are of the form that nearly all have. It returns
// what follows.
func (d *DecoderV2) decodePlainStart(msg []byte) []byte {
	if len(msg) < 2 || msg[0] != tagV2Refs || msg[1] >= 0x80 || int(msg[1]) > len(msg)-2 {
		return msg
	}
	refs, rest := msg[2:2+msg[1]], msg[2+msg[1]:]
	dst := d.ts.Refs
	for len(refs) > 0 {
		switch {
		case refs[0] < 0x80:
			dst, refs = append(dst, uint32(refs[0])), refs[1:]
		case len(refs) > 1 && refs[1] < 0x80:
			dst, refs = append(dst, uint32(refs[0]&0x7f)|uint32(refs[1])<<7), refs[2:]
		case len(refs) > 2 && refs[2] < 0x80:
			dst, refs = append(dst, uint32(refs[0]&0x7f)|uint32(refs[1]&0x7f)<<7|uint32(refs[2])<<14), refs[3:]
		default:
			return msg // read again, by the general way
		}
	}
	d.ts.Refs = dst
	return rest
}

// appendRefs reads references, packed as encoders write them or one by one.
func appendRefs(dst []uint32, f *field) ([]uint32, error) {
	if f.typ == wireVarint {
		if len(dst) == maxSeriesRefs {
			return dst, fmt.Errorf("more than %d references: %w", maxSeriesRefs, ErrTooLarge)
		}
		return append(dst, uint32(f.value)), nil
	}
	if err := f.expect(wireBytes); err != nil {
		return dst, err
	}
	for b := f.bytes; len(b) > 0; {
		v, n := uint64(b[0]), 1
		if v >= 0x80 {
			var err error
			if len(b) > 1 && b[1] < 0x80 {
				v, n = v&0x7f|uint64(b[1])<<7, 2
			} else if v, n, err = uvarint(b); err != nil {
				return dst, err
			}
		}
		if len(dst) == maxSeriesRefs {
			return dst, fmt.Errorf("more than %d references: %w", maxSeriesRefs, ErrTooLarge)
		}
		dst, b = append(dst, uint32(v)), b[n:]
	}
	return dst, nil
}

// decodeSampleV2 reads a Sample and its start timestamp.
func decodeSampleV2(msg []byte) (s Sample, start int64, err error) {
	if s, ok := plainSample(msg); ok {
		return s, 0, nil
	}
	for len(msg) > 0 {
		f, n, err := nextField(msg)
		if err != nil {
			return s, start, err
		}
		msg = msg[n:]
		want := wireVarint
		switch f.number {
		case 1:
			want, s.Value = wireFixed64, math.Float64frombits(f.value)
		case 2:
			s.Time = int64(f.value)
		case 3:
			start = int64(f.value)
		default:
			continue
		}
		if err := f.expect(want); err != nil {
			return s, start, err
		}
	}
	return s, start, nil
}

func (ts *TimeSeriesV2) decodeMetadata(msg []byte) error {
	for len(msg) > 0 {
		f, n, err := nextField(msg)
		if err != nil {
			return err
		}
		msg = msg[n:]
		switch f.number {
		case 1:
			ts.Type = int32(f.value)
		case 3:
			ts.Help = uint32(f.value)
		case 4:
			ts.Unit = uint32(f.value)
		default:
			continue
		}
		if err := f.expect(wireVarint); err != nil {
			return err
		}
	}
	return nil
}

// ExemplarV2 is an exemplar whose labels are references.
type ExemplarV2 struct {
	Refs []uint32
	Sample
}

// DecodeExemplarV2 reads one of TimeSeriesV2.Exemplars, with room for references
// in dst.
func DecodeExemplarV2(dst []uint32, msg []byte) (ExemplarV2, error) {
	e := ExemplarV2{Refs: dst[:0]}
	for len(msg) > 0 {
		f, n, err := nextField(msg)
		if err != nil {
			return e, err
		}
		msg = msg[n:]
		switch f.number {
		case 1:
			if e.Refs, err = appendRefs(e.Refs, &f); err != nil {
				return e, err
			}
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
