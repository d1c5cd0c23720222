package model

import (
	"encoding/binary"
	"slices"

	"github.com/klauspost/compress/s2"
)

// packed is a list of label sets at rest. It is the s2 block of
//
//	text of the labels, one after the other
//	of each series: how many bytes of runs it shares with the front of the series
//	  before it, how many with its end, and how many are its own, as uvarints
//	the series' own bytes of runs, one after the other
//
// Neighbours differ in little: mostly in one label of many. A series so takes
// some six bytes, where it takes twenty-five or more when it is open.
type packed struct {
	data             []byte
	series, distinct int
	text, heads      int // lengths of the first two parts
	runs             int // length of all runs, when open
}

// Worth packing is what has so many bytes.
const leastPacked = 256

// Packed reports whether the list is packed. Such a list can be asked for its
// lengths, and for nothing else until it is opened.
func (l Labels) Packed() bool { return l.packed != nil }

// pack returns the list in its smallest form.
func (l Labels) pack() Labels {
	if l.packed != nil || len(l.text)+len(l.runs) < leastPacked {
		return l
	}
	text, runs := l.text[:lastOf(l.ends)], l.runs[:lastOf(l.series)]
	var before, heads, own []byte
	for i := range l.series {
		now := l.Runs(i)
		front, back := common(before, now)
		heads = binary.AppendUvarint(heads, uint64(front))
		heads = binary.AppendUvarint(heads, uint64(back))
		heads = binary.AppendUvarint(heads, uint64(len(now)-front-back))
		own = append(own, now[front:len(now)-back]...)
		before = now
	}
	all := slices.Concat(text, heads, own)
	p := &packed{
		data: slices.Clone(s2.EncodeBetter(nil, all)), series: len(l.series), distinct: len(l.ends),
		text: len(text), heads: len(heads), runs: len(runs),
	}
	return Labels{packed: p, lineage: l.lineage}
}

// common returns how many bytes a and b share at the front, and at the end of
// what is left.
func common(a, b []byte) (front, back int) {
	n := min(len(a), len(b))
	for front < n && a[front] == b[front] {
		front++
	}
	for back < n-front && a[len(a)-1-back] == b[len(b)-1-back] {
		back++
	}
	return front, back
}

// Room is memory in which packed lists are opened, one at a time. The zero value
// is ready. It is for one goroutine.
type Room struct {
	of   *packed // what is open
	raw  []byte
	runs []byte
	ends []uint32 // of labels, then of series
}

// Open returns a list that can be read: the list itself if it is not packed,
// else one that is valid until the room is used for another list. Without a
// room it is made in memory of its own.
func (l Labels) Open(r *Room) Labels {
	p := l.packed
	if p == nil {
		return l
	}
	if r == nil {
		r = new(Room)
	}
	if r.of != p {
		r.of = nil
		r.open(p)
		r.of = p
	}
	return Labels{
		text: r.raw[:p.text:p.text], ends: r.ends[:p.distinct:p.distinct],
		runs: r.runs[:p.runs:p.runs], series: r.ends[p.distinct:len(r.ends):len(r.ends)], lineage: l.lineage,
	}
}

func (r *Room) open(p *packed) {
	raw, err := s2.Decode(r.raw[:cap(r.raw)], p.data)
	if err != nil {
		panic("BUG: label sets cannot be unpacked: " + err.Error())
	}
	r.raw = raw
	r.ends = slices.Grow(r.ends[:0], p.distinct+p.series)[:p.distinct+p.series]
	r.runs = slices.Grow(r.runs[:0], p.runs)
	at := 0
	for i := range p.distinct {
		size, n := uvarint(raw[at+1:])
		at += 1 + n + size
		r.ends[i] = uint32(at)
	}
	heads, own := raw[p.text:p.text+p.heads], raw[p.text+p.heads:]
	runs, from := r.runs, 0
	for i := range p.series {
		front, n := uvarint(heads)
		back, m := uvarint(heads[n:])
		mine, k := uvarint(heads[n+m:])
		heads = heads[n+m+k:]
		to := len(runs)
		runs = append(runs, runs[from:from+front]...)
		runs = append(runs, own[:mine]...)
		runs = append(runs, runs[to-back:to]...)
		own, from = own[mine:], to
		r.ends[p.distinct+i] = uint32(len(runs))
	}
	r.runs = runs
}

// uvarint reads a number that is nearly always one byte.
func uvarint(b []byte) (v, size int) {
	if b[0] < 0x80 {
		return int(b[0]), 1
	}
	u, n := binary.Uvarint(b)
	return int(u), n
}

// lineage is the same for the lists that one LabelsBuilder has given out.
type lineage struct{ _ byte }

// Extends reports whether both lists are from one LabelsBuilder, so that the
// shorter one is the front of the longer one. That is not known of lists that
// were stored.
func (l Labels) Extends(o Labels) bool { return l.lineage != nil && l.lineage == o.lineage }
