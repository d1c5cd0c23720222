package sink

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/maphash"
	"math"
)

// The decoder is the bench's own and knows as little as it needs: it judges
// programs, so it shares no code with one of them.

// staleNaN is the value that marks the end of a series.
const staleNaN = 0x7ff0000000000002

var errMalformed = errors.New("malformed protobuf message")

// field is one field of a message: a number for varints and fixed64, bytes for
// what has a length.
type field struct {
	number int
	value  uint64
	bytes  []byte
}

// next cuts the first field off a message.
func next(msg []byte) (f field, rest []byte, err error) {
	tag, n := binary.Uvarint(msg)
	if n <= 0 || tag>>3 == 0 {
		return f, nil, errMalformed
	}
	msg = msg[n:]
	f.number = int(tag >> 3)
	switch tag & 7 {
	case 0:
		if f.value, n = binary.Uvarint(msg); n <= 0 {
			return f, nil, errMalformed
		}
	case 1:
		if n = 8; len(msg) < n {
			return f, nil, errMalformed
		}
		f.value = binary.LittleEndian.Uint64(msg)
	case 2:
		size, head := binary.Uvarint(msg)
		if head <= 0 || size > uint64(len(msg)-head) {
			return f, nil, errMalformed
		}
		n = head + int(size)
		f.bytes = msg[head:n]
	case 5:
		if n = 4; len(msg) < n {
			return f, nil, errMalformed
		}
	default:
		return f, nil, errMalformed
	}
	return f, msg[n:], nil
}

// point is a sample or a native histogram.
type point struct {
	time  int64
	stale bool
}

// batch is what the decoder found out about one series of a request.
type batch struct {
	hash   uint64
	name   []byte // the metric's, valid until the next batch
	points []point
}

// totals count what a request holds beside samples.
type totals struct{ samples, histograms, exemplars, metadata int }

// decoder reads write requests of both versions. It is not safe for concurrent
// use, and keeps its buffers for the next request.
type decoder struct {
	seed    maphash.Seed
	symbols [][]byte
	hashes  []uint64
	batch   batch
}

// v1 reads a prometheus.WriteRequest and hands every series to each.
func (d *decoder) v1(msg []byte, each func(*batch)) (t totals, err error) {
	var f field
	for len(msg) > 0 {
		if f, msg, err = next(msg); err != nil {
			return t, err
		}
		switch f.number {
		case 1:
			if err := d.seriesV1(f.bytes, &t); err != nil {
				return t, err
			}
			each(&d.batch)
		case 3:
			t.metadata++
		}
	}
	return t, nil
}

func (d *decoder) seriesV1(msg []byte, t *totals) (err error) {
	b := &d.batch
	*b = batch{points: b.points[:0]}
	var h maphash.Hash
	h.SetSeed(d.seed)
	var f field
	for len(msg) > 0 {
		if f, msg, err = next(msg); err != nil {
			return err
		}
		switch f.number {
		case 1:
			_, _ = h.Write(f.bytes) // a hash never fails
			if b.name == nil {
				if b.name, err = metricName(f.bytes); err != nil {
					return err
				}
			}
		case 2:
			t.samples++
			err = d.sample(f.bytes, 1, 2)
		case 3:
			t.exemplars++
		case 4:
			t.histograms++
			err = d.histogram(f.bytes)
		}
		if err != nil {
			return err
		}
	}
	b.hash = h.Sum64()
	return nil
}

// metricName is the value of a label message that is __name__, else nil.
func metricName(label []byte) (value []byte, err error) {
	isName := false
	var f field
	for len(label) > 0 {
		if f, label, err = next(label); err != nil {
			return nil, err
		}
		switch f.number {
		case 1:
			isName = string(f.bytes) == "__name__"
		case 2:
			value = f.bytes
		}
	}
	if !isName {
		return nil, nil
	}
	return value, nil
}

func (d *decoder) sample(msg []byte, valueField, timeField int) (err error) {
	var p point
	var f field
	for len(msg) > 0 {
		if f, msg, err = next(msg); err != nil {
			return err
		}
		switch f.number {
		case valueField:
			p.stale = f.value == staleNaN
		case timeField:
			p.time = int64(f.value)
		}
	}
	d.batch.points = append(d.batch.points, p)
	return nil
}

// histogram finds the time of a native histogram, whose fields both versions
// number alike.
func (d *decoder) histogram(msg []byte) error { return d.sample(msg, math.MaxInt, 15) }

// v2 reads an io.prometheus.write.v2.Request. The symbols come before the series
// or after them.
func (d *decoder) v2(msg []byte, each func(*batch)) (t totals, err error) {
	d.symbols, d.hashes = d.symbols[:0], d.hashes[:0]
	var f field
	for rest := msg; len(rest) > 0; {
		if f, rest, err = next(rest); err != nil {
			return t, err
		}
		if f.number == 4 {
			d.symbols = append(d.symbols, f.bytes)
			d.hashes = append(d.hashes, maphash.Bytes(d.seed, f.bytes))
		}
	}
	if len(d.symbols) > 0 && len(d.symbols[0]) > 0 {
		return t, errors.New("the first symbol must be empty")
	}
	for len(msg) > 0 {
		if f, msg, err = next(msg); err != nil {
			return t, err
		}
		if f.number != 5 {
			continue
		}
		if err := d.seriesV2(f.bytes, &t); err != nil {
			return t, err
		}
		each(&d.batch)
	}
	return t, nil
}

func (d *decoder) seriesV2(msg []byte, t *totals) (err error) {
	b := &d.batch
	*b = batch{points: b.points[:0]}
	var f field
	for len(msg) > 0 {
		if f, msg, err = next(msg); err != nil {
			return err
		}
		switch f.number {
		case 1:
			err = d.references(f)
		case 2:
			t.samples++
			err = d.sample(f.bytes, 1, 2)
		case 3:
			t.histograms++
			err = d.histogram(f.bytes)
		case 4:
			t.exemplars++
		case 5:
			t.metadata++
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// references looks up a series' labels, which are packed symbol numbers.
func (d *decoder) references(f field) error {
	if f.bytes == nil {
		return errors.New("label references are not packed")
	}
	b := &d.batch
	isName := false
	for i := 0; len(f.bytes) > 0; i++ {
		ref, n := binary.Uvarint(f.bytes)
		if n <= 0 || ref >= uint64(len(d.symbols)) {
			return errors.New("a label refers to a symbol that is not there")
		}
		f.bytes = f.bytes[n:]
		b.hash = (b.hash ^ d.hashes[ref]) * 0x9e3779b97f4a7c15
		b.hash ^= b.hash >> 29
		if i%2 == 0 {
			isName = bytes.Equal(d.symbols[ref], []byte("__name__"))
		} else if isName {
			b.name = d.symbols[ref]
		}
	}
	return nil
}
