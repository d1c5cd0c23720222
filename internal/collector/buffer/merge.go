package buffer

import (
	"slices"
	"sync"
	"time"

	"github.com/mangru/mangru/internal/model"
)

// Most frames are delivered within seconds, and compressing them would be work
// for nothing. So a frame begins as an entry of its own, and only when several
// of one target wait they become one small block, and small blocks a large one:
// each sample is encoded twice and decoded once until it is where it compresses
// best, and what is not compressed yet is never more than a few frames a target.
//
// The work is done by the goroutine that appended the target's last frame, while
// the queue is not locked. A reader that begins with one of the frames in the
// meantime wins: the work is then thrown away.
const (
	// smallFrames is how many frames make a small block.
	smallFrames = 5
	// largeFrames is how many frames make a large block, if maxCells allows.
	largeFrames = 30
	// maxCells bounds frames times slots of blocks of more than smallFrames: they
	// are decoded as a whole.
	maxCells = 100_000
	// maxSpan bounds how far apart a block's frames are: they expire together.
	maxSpan = 10 * time.Minute
	// lookBack bounds how many of a target's newest entries are looked at.
	lookBack = 48
)

// merge is the making of one block.
type merge struct {
	codec  codec
	target *target
	parts  []*entry
	shape  *model.Shape // the longest of the generation
	data   []byte
	err    error
}

// plan looks for entries of a target that should become one, the oldest first.
func (q *Queue) plan(t *target) *merge {
	if t.merging || t.entries < 2 {
		return nil
	}
	var recent [lookBack]*entry
	i := lookBack
	for e := t.last; e != nil && i > 0 && !e.full; e = e.prev {
		i--
		recent[i] = e
	}
	for list := recent[i:]; len(list) > 1; {
		n, enough := q.run(list)
		if enough {
			t.merging = true
			return &merge{codec: q.codec, target: t, parts: slices.Clone(list[:n]), shape: list[0].gen.shape}
		}
		list = list[n:]
	}
	return nil
}

// run returns how many entries at the front of the list belong together, at
// least 1, and whether they are worth a merge now: there are enough of them, or
// there never will be more.
func (q *Queue) run(list []*entry) (n int, enough bool) {
	first := list[0]
	if !first.untouched() {
		return 1, false
	}
	limit, goal := int32(min(max(smallFrames, maxCells/max(1, first.gen.shape.Slots())), largeFrames+2)), int32(smallFrames)
	if first.isBlock() {
		goal = min(largeFrames, limit)
	}
	span := maxSpan
	if q.cfg.MaxAge > 0 {
		span = min(span, q.cfg.MaxAge/8)
	}
	frames, ended := int32(0), false
	for _, e := range list {
		ended = e.gen != first.gen || frames+e.frames > limit || e.last-first.first > span
		// One that is touched in the middle differs in who waits for it, too.
		if ended || e.waiting != first.waiting || e.isBlock() != first.isBlock() || frames >= goal {
			break
		}
		frames += e.frames
		n++
	}
	if n <= 1 {
		first.full = ended
		return 1, false
	}
	return n, ended || frames >= goal
}

// run makes the block. The queue must not be locked.
func (m *merge) run(scratch *sync.Pool) {
	buf, ok := scratch.Get().(*[]byte)
	if !ok {
		buf = new([]byte)
	}
	defer scratch.Put(buf)
	b := (*buf)[:0]
	if m.parts[0].isBlock() {
		blocks := make([][]byte, len(m.parts))
		for i, e := range m.parts {
			blocks[i] = e.data
		}
		b, m.err = m.codec.merge(b, m.shape, blocks...)
	} else {
		frames := make([]*model.Frame, len(m.parts))
		for i, e := range m.parts {
			frames[i] = e.frame[0]
		}
		b = m.codec.encode(b, frames)
	}
	m.data = make([]byte, len(b)) // no more than it needs
	copy(m.data, b)
	*buf = b
}

// commit puts the block in the place of what it was made of, if nobody has
// touched that, and returns the merge that has become due by it, if any.
func (q *Queue) commit(m *merge) *merge {
	t := m.target
	t.merging = false
	if m.err != nil {
		// Whoever reads the block will count its samples.
		for _, e := range m.parts {
			e.full = true
		}
		q.log.Error("a block of the queue cannot be read", "err", m.err)
		return nil
	}
	first, last := m.parts[0], m.parts[len(m.parts)-1]
	for _, e := range m.parts {
		if !e.untouched() || e.waiting != first.waiting {
			return nil
		}
	}
	b := &entry{
		target: t, gen: first.gen, data: m.data, seq: first.seq, until: last.until, first: first.first, last: last.last,
		waiting: first.waiting, bytes: entryBytes + int64(cap(m.data)),
	}
	for _, e := range m.parts {
		b.samples += e.samples
		b.frames += e.frames
		b.plain += e.plain
		b.records = append(b.records, e.records...)
		b.spooled = b.spooled || e.spooled
	}
	b.full = b.frames >= largeFrames
	q.replace(m.parts, b)
	q.spool.add(b)
	return q.plan(t)
}

// replace puts a block into the lists and lanes in the place of its parts, which
// are neighbours and untouched.
func (q *Queue) replace(parts []*entry, b *entry) {
	first, last := parts[0], parts[len(parts)-1]
	t := b.target
	// First the block goes behind the last part, then the parts go.
	b.older, b.newer = last, last.newer
	if last.newer = b; b.newer != nil {
		b.newer.older = b
	} else {
		q.newest = b
	}
	b.prev, b.next = last, last.next
	if last.next = b; b.next != nil {
		b.next.prev = b
	} else {
		t.last = b
	}
	q.bytes += b.bytes
	for _, e := range parts {
		q.unlink(e)
	}
	t.entries += 1 - len(parts)
	b.gen.entries += 1 - len(parts)
	for _, ep := range q.endpoints {
		if !b.waiting.has(ep.slot) {
			continue
		}
		for _, e := range parts {
			ep.bytes -= e.bytes
			ep.countFrames(e, -1)
		}
		ep.bytes += b.bytes
		ep.countFrames(b, 1)
		if l := t.lanes[ep.slot]; l.head == first {
			l.setHead(b)
		}
	}
}
