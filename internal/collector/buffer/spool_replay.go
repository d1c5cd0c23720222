package buffer

import (
	"cmp"
	"fmt"
	"slices"
	"time"
	"weak"

	"github.com/mangru/mangru/internal/collector/buffer/journal"
)

// replayed is what a journal says.
type replayed struct {
	shapes  map[uint64]*replayedShape // by id
	entries map[uint64][]*storedEntry // by target, in order
	last    uint64                    // number of a frame
	bad     int                       // records that could not be read
}

type replayedShape struct {
	storedShape
	at  position
	gen *generation
}

// replay takes in what the journal has.
func (q *Queue) replay(s *spool) error {
	r := &replayed{shapes: make(map[uint64]*replayedShape), entries: make(map[uint64][]*storedEntry)}
	err := s.journal.Replay(func(pos journal.Position, b []byte) error {
		r.read(position{pos.Segment, int64(len(b))}, b)
		return nil
	})
	if err != nil {
		return fmt.Errorf("reading the queue's directory: %w", err)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.spool = s
	q.adopt(r)
	return nil
}

func (r *replayed) read(at position, b []byte) {
	if len(b) == 0 {
		r.bad++
		return
	}
	switch b[0] {
	case recordShape:
		s, err := parseShape(b[1:])
		if err != nil {
			r.bad++
			return
		}
		r.shapes[s.id] = &replayedShape{storedShape: s, at: at}
	case recordEntry, recordState:
		state := b[0] == recordState
		e, err := parseEntry(b[1:], state)
		if err != nil {
			r.bad++
			return
		}
		e.at = at
		r.last = max(r.last, e.until)
		r.entries[e.target] = override(r.entries[e.target], &e, state)
	default:
		r.bad++
	}
}

// override returns a target's entries after a record about some of its frames.
func override(list []*storedEntry, e *storedEntry, state bool) []*storedEntry {
	from, _ := slices.BinarySearchFunc(list, e.seq, func(o *storedEntry, seq uint64) int { return cmp.Compare(o.seq, seq) })
	to := from
	for to < len(list) && list[to].until <= e.until {
		to++
	}
	// A part of an entry that is newer than the record's sender knew, or than the
	// record: that cannot be, unless others between them are lost.
	if from > 0 && list[from-1].until >= e.seq || to < len(list) && list[to].seq <= e.until {
		return list
	}
	switch {
	case !state:
		return slices.Replace(list, from, to, e)
	case len(e.readers) == 0:
		return slices.Delete(list, from, to)
	}
	for _, o := range list[from:to] {
		exact := o.seq == e.seq && o.until == e.until
		o.readers = slices.DeleteFunc(o.readers, func(r storedReader) bool { return e.reader(r.name) == nil })
		for i := range o.readers {
			if p := e.reader(o.readers[i].name); exact {
				o.readers[i] = *p
			}
		}
	}
	return list
}

func (e *storedEntry) reader(name string) *storedReader {
	for i := range e.readers {
		if e.readers[i].name == name {
			return &e.readers[i]
		}
	}
	return nil
}

// adopt makes entries of what the journal says, for the endpoints that there
// still are.
func (q *Queue) adopt(r *replayed) {
	var all []*storedEntry
	lost, homeless := 0, 0
	for _, list := range r.entries {
		for _, e := range list {
			switch {
			case !slices.ContainsFunc(e.readers, func(p storedReader) bool { return q.endpoint(p.name) != nil }):
				homeless += e.samples
			case r.shapes[e.shape] == nil || r.shapes[e.shape].shape.Target != e.target:
				lost += e.samples
				for _, p := range e.readers {
					if ep := q.endpoint(p.name); ep != nil {
						q.count(ep, ReasonCorrupt, cmp.Or(p.left, e.samples))
					}
				}
			default:
				all = append(all, e)
			}
		}
	}
	slices.SortFunc(all, func(a, b *storedEntry) int { return cmp.Compare(a.until, b.until) })
	samples, last := 0, time.Duration(-1<<62)
	for _, e := range all {
		last = max(last, q.adoptEntry(e, r.shapes[e.shape], last))
		samples += e.samples
	}
	for id := range r.shapes {
		q.spool.lastID = max(q.spool.lastID, id)
	}
	if len(all) > 0 || r.last > 0 {
		q.seq = r.last + 1
	}
	q.expire(q.now())
	q.makeRoom()
	if samples+lost+homeless+r.bad > 0 {
		q.log.Info("samples of an earlier run taken from the queue's directory", "directory", q.directory,
			"samples", samples, "without_endpoint", homeless, "unreadable_samples", lost, "unreadable_records", r.bad)
	}
}

// adoptEntry makes an entry, not older than the last one, and returns its age.
func (q *Queue) adoptEntry(o *storedEntry, sh *replayedShape, last time.Duration) time.Duration {
	since := func(ms int64) time.Duration { return min(0, time.UnixMilli(ms).Sub(q.start)) }
	rec := &record{segment: o.at.segment, bytes: o.at.bytes}
	e := &entry{
		data: o.data, seq: o.seq, until: o.until, first: since(o.first), last: max(last, since(o.last)),
		bytes: entryBytes + int64(cap(o.data)), plain: o.plain, samples: o.samples, frames: int32(o.frames),
		full: o.frames >= largeFrames, spooled: true, records: []*record{rec},
	}
	t := q.targets[o.target]
	if t == nil {
		t = &target{id: o.target}
		q.targets[o.target] = t
		q.bytes += targetBytes
	}
	if sh.gen == nil {
		sh.gen = &generation{number: sh.shape.Generation}
		sh.gen.stored = &shapeRecord{
			id: sh.id, shape: weak.Make(sh.shape), users: 1,
			record: &record{segment: sh.at.segment, bytes: sh.at.bytes},
		}
		q.spool.hold(sh.gen.stored.record)
		t.gens = append(t.gens, sh.gen)
		q.reshape(sh.gen, sh.shape)
	}
	e.target, e.gen = t, sh.gen
	q.spool.hold(rec)
	for _, p := range o.readers {
		if ep := q.endpoint(p.name); ep != nil {
			e.waiting |= 1 << ep.slot
		}
	}
	q.link(e)
	for _, p := range o.readers {
		ep := q.endpoint(p.name)
		if ep == nil {
			continue
		}
		q.offer(e, ep)
		l := t.lanes[ep.slot]
		if p.cell > 0 && p.left > 0 && p.left < e.samples && l.head == e {
			ep.advance(l, &lease{to: p.cell, carried: e.samples - p.left})
			ep.available -= e.samples - p.left
		}
	}
	return e.last
}
