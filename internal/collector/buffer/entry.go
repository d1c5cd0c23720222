package buffer

import (
	"bytes"
	"errors"
	"math/bits"
	"slices"
	"sync"
	"time"
	"unsafe"

	"github.com/mangru/mangru/internal/model"
)

// entry is a frame, or a block of several frames, in two lists: that of all
// entries, by the age of their newest frame, and that of its target. A block
// takes the place of the entries that it was made of.
type entry struct {
	older, newer *entry // of all entries
	prev, next   *entry // of the target's entries
	target       *target
	gen          *generation

	frame [1]*model.Frame // nil in a block
	data  []byte          // of a block
	open  *opened         // a block's frames, while they are being read

	seq, until  uint64        // numbers of the oldest and the newest frame, in order of arrival
	first, last time.Duration // arrival of the oldest and the newest frame, see Queue.now
	bytes       int64         // memory, without open
	plain       int64         // memory of its frames while not compressed
	waiting     slots         // endpoints that have not finished with it
	samples     int
	frames      int32
	leases      int32 // readers that have it now
	inside      int32 // endpoints that have finished a part of it
	full        bool  // no merge will make it larger
	gone        bool  // taken out of the lists

	// With a directory: see spool.
	records []*record // that are needed for it
	spooled bool      // there may be something of it on disk
	touched bool      // in spool.touched
}

// slots is a set of endpoints, by endpoint.slot.
type slots uint64

const maxEndpoints = 64

func (s slots) has(slot int) bool { return s>>slot&1 != 0 }

func (s slots) len() int { return bits.OnesCount64(uint64(s)) }

func (e *entry) isBlock() bool { return e.data != nil }

// untouched reports whether no endpoint has begun with the entry.
func (e *entry) untouched() bool { return !e.gone && e.leases == 0 && e.inside == 0 }

// opened is the decoded form of a block, made by the first who needs it.
type opened struct {
	data  []byte
	shape *model.Shape

	once   sync.Once
	frames []*model.Frame
	err    error
}

// load returns the block's frames. The queue must not be locked.
func (o *opened) load(c codec) ([]*model.Frame, error) {
	o.once.Do(func() {
		o.frames, o.err = c.decode(o.data, o.shape)
		if o.err == nil && len(o.frames) == 0 {
			o.err = errors.New("a block without frames")
		}
	})
	return o.frames, o.err
}

// target is what waits of one target. There is one only while something does.
type target struct {
	id          uint64
	first, last *entry
	entries     int
	gens        []*generation // those of the entries, oldest first
	lanes       []*lane       // by endpoint.slot; nil where nothing ever waited
	merging     bool          // a goroutine is at it
}

// generation is one list of series of a target. Its shapes are prefixes of each
// other: the longest serves for all blocks, and its memory counts once.
type generation struct {
	number  uint64
	shape   *model.Shape
	entries int
	bytes   int64
	stored  *shapeRecord // on disk, if not nil
}

// lane is what waits of one target for one endpoint.
type lane struct {
	ep      *endpoint
	target  *target
	head    *entry // the oldest that waits; nil if none does
	cell    int    // of head: where to go on
	left    int    // of head: samples not finished
	samples int    // of all that waits
	reader  *Reader
	leased  int    // entries that reader has: head and those after it
	cursor  *entry // the next one to lease; head, while there is no reader
	index   int    // in endpoint.ready, or -1
}

// after returns the entry after e that waits for the lane's endpoint.
func (l *lane) after(e *entry) *entry {
	for e = e.next; e != nil && !e.waiting.has(l.ep.slot); e = e.next {
	}
	return e
}

func (l *lane) setHead(e *entry) {
	l.head, l.cursor, l.cell, l.left = e, e, 0, 0
	if e != nil {
		l.left = e.samples
	}
}

// lanes is a heap of lanes by the arrival of what is next in them.
type lanes []*lane

func (h lanes) Len() int           { return len(h) }
func (h lanes) Less(i, j int) bool { return h[i].cursor.seq < h[j].cursor.seq }
func (h lanes) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push implements heap.Interface.
func (h *lanes) Push(x any) {
	l := x.(*lane)
	l.index = len(*h)
	*h = append(*h, l)
}

// Pop implements heap.Interface.
func (h *lanes) Pop() any {
	old := *h
	l := old[len(old)-1]
	old[len(old)-1] = nil
	l.index = -1
	*h = old[:len(old)-1]
	// Memory follows what waits, also after an outage.
	if cap(old) > 64 && len(old) < cap(old)/4 {
		*h = append(make(lanes, 0, cap(old)/2), *h...)
	}
	return l
}

const (
	entryBytes  = int64(unsafe.Sizeof(entry{}))
	targetBytes = int64(unsafe.Sizeof(target{})+unsafe.Sizeof(generation{})) + 64 // and its place in the map
	laneBytes   = int64(unsafe.Sizeof(lane{})) + 16                               // and its place in two lists
	extraBytes  = int64(unsafe.Sizeof(model.Extra{}))
	labelBytes  = int64(unsafe.Sizeof(model.Label{}))
)

// frameBytes is what a frame takes beside its shape.
func frameBytes(f *model.Frame) int64 {
	n := int64(unsafe.Sizeof(*f)) + 8*int64(cap(f.Values)+cap(f.Times)) + extraBytes*int64(cap(f.Extras))
	if f.Starts != nil { // shared with other frames, mostly
		n += 8 * int64(cap(*f.Starts))
	}
	for i := range f.Extras {
		x := &f.Extras[i]
		n += int64(len(x.Histogram)) + labelBytes*int64(len(x.Labels))
		for _, l := range x.Labels {
			n += int64(len(l.Name) + len(l.Value))
		}
	}
	return n
}

// shapeBytes is what a list of series takes. The texts of metadata are not
// counted: targets share them.
func shapeBytes(s *model.Shape) int64 {
	return int64(unsafe.Sizeof(*s)) + int64(s.Labels.Bytes()) + 2*int64(cap(s.Family)) +
		8*int64(cap(s.Families))
}

// generationOf returns the target's generation for a shape, a new one if need
// be, and sees to it that it has the longest shape.
func (q *Queue) generationOf(t *target, s *model.Shape) *generation {
	var g *generation
	for _, known := range t.gens {
		if known.number == s.Generation {
			g = known // the last one counts
		}
	}
	if g == nil || !related(g.shape, s) {
		// Of a target that was away, numbers begin anew: they mean nothing then.
		g = &generation{number: s.Generation}
		t.gens = append(t.gens, g)
	}
	if g.shape == nil || s.Slots() >= g.shape.Slots() {
		q.reshape(g, s)
	}
	return g
}

// reshape gives a generation another shape.
func (q *Queue) reshape(g *generation, s *model.Shape) {
	b := shapeBytes(s)
	q.bytes += b - g.bytes
	g.shape, g.bytes = s, b
}

// related reports whether one shape's list of series is a prefix of the other's.
func related(a, b *model.Shape) bool {
	if a == b || a.Labels.Extends(b.Labels) {
		return true
	}
	x, y := a.Labels.Open(nil), b.Labels.Open(nil)
	if n := min(x.Distinct(), y.Distinct()); n > 0 && !bytes.Equal(x.Encoded(0, n), y.Encoded(0, n)) {
		return false
	}
	for i := range min(x.Len(), y.Len()) {
		if !bytes.Equal(x.Runs(i), y.Runs(i)) {
			return false
		}
	}
	return true
}

// lane returns the target's lane for an endpoint, a new one if need be.
func (q *Queue) lane(t *target, ep *endpoint) *lane {
	for len(t.lanes) <= ep.slot {
		t.lanes = append(t.lanes, nil)
	}
	l := t.lanes[ep.slot]
	if l == nil {
		l = &lane{ep: ep, target: t, index: -1}
		t.lanes[ep.slot] = l
		q.bytes += laneBytes
	}
	return l
}

// link puts a new entry at the end of both lists.
func (q *Queue) link(e *entry) {
	if e.older = q.newest; e.older != nil {
		e.older.newer = e
	} else {
		q.oldest = e
	}
	q.newest = e
	t := e.target
	if e.prev = t.last; e.prev != nil {
		e.prev.next = e
	} else {
		t.first = e
	}
	t.last = e
	t.entries++
	e.gen.entries++
	q.bytes += e.bytes
}

// unlink takes an entry out of both lists.
func (q *Queue) unlink(e *entry) {
	if e.older != nil {
		e.older.newer = e.newer
	} else {
		q.oldest = e.newer
	}
	if e.newer != nil {
		e.newer.older = e.older
	} else {
		q.newest = e.older
	}
	t := e.target
	if e.prev != nil {
		e.prev.next = e.next
	} else {
		t.first = e.next
	}
	if e.next != nil {
		e.next.prev = e.prev
	} else {
		t.last = e.prev
	}
	e.gone = true
	q.bytes -= e.bytes
}

// remove takes out an entry that nobody waits for, and what only it needed.
func (q *Queue) remove(e *entry) {
	q.shut(e)
	q.unlink(e)
	q.spool.release(e.records...)
	t, g := e.target, e.gen
	t.entries--
	if g.entries--; g.entries == 0 {
		q.bytes -= g.bytes
		q.spool.unuse(g.stored)
		t.forgetGeneration(g)
	}
	if t.entries > 0 {
		return
	}
	for _, l := range t.lanes {
		if l != nil {
			q.bytes -= laneBytes
		}
	}
	q.bytes -= targetBytes
	delete(q.targets, t.id)
}

func (t *target) forgetGeneration(g *generation) {
	i := slices.Index(t.gens, g)
	t.gens = slices.Delete(t.gens, i, i+1)
}
