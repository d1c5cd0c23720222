package buffer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"unique"

	"github.com/mangru/mangru/internal/model"
)

// Records of the journal, all numbers uvarints, texts with their length:
//
//	shape = 1, id, target, generation, version, job, families (name, help, unit, type),
//	        family of each slot, labels
//	entry = 2, target, first and last number, readers, shape's id, first and last arrival in ms,
//	        frames, samples, memory of the frames, block
//	state = 3, target, first and last number, readers
//
// Lists begin with their length. The readers are the endpoints that have not
// finished with the frames: name, cell, and samples left if the cell is not 0.
const (
	recordShape = 1
	recordEntry = 2
	recordState = 3
)

var errRecord = errors.New("not a record of the queue")

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendShape(b []byte, id uint64, s *model.Shape) []byte {
	b = append(b, recordShape)
	for _, v := range []uint64{id, s.Target, s.Generation, s.Version} {
		b = binary.AppendUvarint(b, v)
	}
	b = appendText(b, s.Job)
	b = binary.AppendUvarint(b, uint64(len(s.Families)))
	for _, h := range s.Families {
		f := h.Value()
		b = append(appendText(appendText(appendText(b, f.Name), f.Help), f.Unit), byte(f.Type))
	}
	b = binary.AppendUvarint(b, uint64(len(s.Family)))
	for _, f := range s.Family {
		b = binary.AppendUvarint(b, uint64(f))
	}
	return s.Labels.MarshalAppend(b)
}

// entryHead returns an entry's record without its block.
func (q *Queue) entryHead(e *entry) []byte {
	b := q.appendRange([]byte{recordEntry}, e)
	b = binary.AppendUvarint(b, e.gen.stored.id)
	b = binary.AppendUvarint(b, uint64(q.start.Add(e.first).UnixMilli()))
	b = binary.AppendUvarint(b, uint64(q.start.Add(e.last).UnixMilli()))
	b = binary.AppendUvarint(b, uint64(e.frames))
	b = binary.AppendUvarint(b, uint64(e.samples))
	return binary.AppendUvarint(b, uint64(e.plain))
}

// stateRecord returns a record of an entry's state.
func (q *Queue) stateRecord(e *entry) []byte { return q.appendRange([]byte{recordState}, e) }

// appendRange appends what records of entries and of states have in common.
func (q *Queue) appendRange(b []byte, e *entry) []byte {
	b = binary.AppendUvarint(b, e.target.id)
	b = binary.AppendUvarint(b, e.seq)
	b = binary.AppendUvarint(b, e.until)
	b = binary.AppendUvarint(b, uint64(e.waiting.len()))
	for _, ep := range q.endpoints {
		if !e.waiting.has(ep.slot) {
			continue
		}
		b = appendText(b, ep.Name)
		if l := e.target.lanes[ep.slot]; l.head == e && l.cell > 0 {
			b = binary.AppendUvarint(b, uint64(l.cell))
			b = binary.AppendUvarint(b, uint64(l.left))
		} else {
			b = binary.AppendUvarint(b, 0)
		}
	}
	return b
}

// storedShape is what a record of a shape says.
type storedShape struct {
	id    uint64
	shape *model.Shape
}

// storedEntry is what a record of an entry or of a state says.
type storedEntry struct {
	target, seq, until uint64
	readers            []storedReader
	// Of an entry only:
	shape           uint64
	first, last     int64 // ms since the Unix epoch
	frames, samples int
	plain           int64
	data            []byte
	at              position
}

// storedReader is an endpoint that has not finished.
type storedReader struct {
	name       string
	cell, left int
}

// fields reads a record. After an error, everything is zero.
type fields struct {
	b   []byte
	bad bool
}

func (r *fields) uint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || r.bad {
		r.b, r.bad = nil, true
		return 0
	}
	r.b = r.b[n:]
	return v
}

// int reads a number that must not be larger than most.
func (r *fields) int(most int) int {
	v := r.uint()
	if v > uint64(most) {
		r.b, r.bad = nil, true
		return 0
	}
	return int(v)
}

// list reads the length of a list, each element of which takes a byte at least.
func (r *fields) list() int { return r.int(len(r.b)) }

func (r *fields) bytes(n int) []byte {
	if n > len(r.b) {
		r.b, r.bad = nil, true
		return nil
	}
	b := r.b[:n:n]
	r.b = r.b[n:]
	return b
}

func (r *fields) text() string { return string(r.bytes(r.list())) }

func parseShape(b []byte) (s storedShape, err error) {
	r := fields{b: b}
	s.id = r.uint()
	s.shape = &model.Shape{Target: r.uint(), Generation: r.uint(), Version: r.uint(), Job: r.text()}
	for range r.list() {
		f := model.Family{Name: r.text(), Help: r.text(), Unit: r.text(), Type: model.MetricType(r.int(math.MaxUint8))}
		s.shape.Families = append(s.shape.Families, unique.Make(f))
	}
	for range r.list() {
		s.shape.Family = append(s.shape.Family, uint16(r.int(len(s.shape.Families))))
	}
	if r.bad {
		return storedShape{}, errRecord
	}
	var rest []byte
	if s.shape.Labels, rest, err = model.UnmarshalLabels(r.b); err != nil {
		return storedShape{}, fmt.Errorf("%w: %w", errRecord, err)
	}
	if len(rest) > 0 || len(s.shape.Family) > 0 && len(s.shape.Family) != s.shape.Slots() {
		return storedShape{}, errRecord
	}
	return s, nil
}

// parseEntry reads the record of an entry, or of a state. The block is a copy.
func parseEntry(b []byte, state bool) (e storedEntry, err error) {
	r := fields{b: b}
	e.target, e.seq, e.until = r.uint(), r.uint(), r.uint()
	for range r.list() {
		p := storedReader{name: r.text(), cell: r.int(math.MaxInt32)}
		if p.cell > 0 {
			p.left = r.int(math.MaxInt32)
		}
		e.readers = append(e.readers, p)
	}
	if !state {
		e.shape = r.uint()
		e.first, e.last = int64(r.uint()), int64(r.uint())
		e.frames, e.samples, e.plain = r.int(math.MaxInt32), r.int(math.MaxInt32), int64(r.int(math.MaxInt))
		e.data = append([]byte(nil), r.b...)
	}
	if r.bad || e.seq > e.until || !state && (e.frames == 0 || e.samples == 0 || len(e.data) == 0) || state && len(r.b) > 0 {
		return storedEntry{}, errRecord
	}
	return e, nil
}
