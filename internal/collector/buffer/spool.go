package buffer

import (
	"errors"
	"slices"
	"time"
	"weak"

	"github.com/mangru/mangru/internal/collector/buffer/journal"
	"github.com/mangru/mangru/internal/model"
)

// A spool keeps what waits on disk as well, so that it survives the process. The
// memory has everything that the disk has; the disk is read only at the start.
//
// Twice a second, a goroutine writes to the journal, and syncs it once: entries
// that wait, once any of them has done so for a second, for then there is an
// endpoint that does not keep up (a frame as a block of its own), blocks that
// took the place of entries on disk, the shapes that those need, and the state
// of entries on disk that endpoints have finished or begun with. A record says
// all about a range of a target's frames, by their numbers, and overrides what
// stands before it in the journal about any part of the range. So segments may
// be removed in their order, oldest first, as soon as nothing in them counts.
//
// Blocks that wait for long are few among records that no longer count. When the
// journal is much larger than what counts in it, what counts in the oldest
// segment is written again at the end.
//
// What fails is tried again, all of it; a record that is there twice does no harm.
type spoolOptions struct {
	every time.Duration // between two writes
	after time.Duration // nothing gets to the disk while all is delivered sooner
	rest  time.Duration // after the last write, an empty journal is removed
	slack int64         // bytes of records that no longer count are all right
	journal.Options
}

func defaultSpool() spoolOptions {
	return spoolOptions{every: time.Second / 2, after: time.Second, rest: time.Minute, slack: 64 << 20}
}

// journalFile is what a spool needs of a journal.Journal, which explains it.
type journalFile interface {
	Replay(fn func(pos journal.Position, record []byte) error) error
	Append(record []byte) (journal.Position, error)
	Sync() error
	Segments() []uint64
	CurrentSegment() uint64
	DropSegment(n uint64) error
	Size() int64
	Damage() journal.Damage
	Close() error
}

// spool is the part of a queue that is on disk. Methods that a Queue calls are
// called with it locked, and do nothing on a nil spool.
type spool struct {
	spoolOptions
	journal journalFile
	stop    chan struct{}
	stopped chan struct{}

	fresh   []*entry // may have to be written
	touched []*entry // on disk, but not as they are now
	live    map[uint64]*tally
	shapes  map[shapeKey]*shapeRecord
	lastID  uint64        // of a shape
	written time.Duration // last time that anything was

	errors int64
	failed error // by the last attempt
}

// record is a record of the journal that is needed, or being written.
type record struct {
	segment  uint64 // 0 until it is durable
	bytes    int64
	released bool
}

// tally is what of a segment is needed.
type tally struct {
	records int
	bytes   int64
}

// shapeKey names a list of series.
type shapeKey struct{ target, generation uint64 }

// shapeRecord is a generation's shape on disk. When nobody uses it any more it
// may still be there when the target's next frames have to wait.
type shapeRecord struct {
	id     uint64
	key    shapeKey
	shape  weak.Pointer[model.Shape]
	record *record
	users  int // generations
}

// add notes a new entry.
func (s *spool) add(e *entry) {
	if s != nil {
		s.fresh = append(s.fresh, e)
	}
}

// touch notes that an entry is not any more as it is on disk.
func (s *spool) touch(e *entry) {
	if s != nil && e.spooled && !e.touched {
		e.touched = true
		s.touched = append(s.touched, e)
	}
}

// release notes that records are not needed any more.
func (s *spool) release(records ...*record) {
	for _, r := range records {
		if r.released {
			continue
		}
		r.released = true
		if t := s.live[r.segment]; r.segment != 0 {
			t.records--
			t.bytes -= r.bytes
		}
	}
}

// hold notes that a record is needed.
func (s *spool) hold(r *record) {
	t := s.live[r.segment]
	if t == nil {
		t = &tally{}
		s.live[r.segment] = t
	}
	r.released = false
	t.records++
	t.bytes += r.bytes
}

// unuse notes that a generation has gone.
func (s *spool) unuse(r *shapeRecord) {
	if r == nil {
		return
	}
	if r.users--; r.users == 0 {
		s.release(r.record)
	}
}

// position is where a record was written; it counts when it is durable.
type position struct {
	segment uint64
	bytes   int64
}

// batch is what is written at a time.
type batch struct {
	shapes  []shapeItem
	entries []entryItem
	states  []stateItem
}

type shapeItem struct {
	to     *shapeRecord
	shape  *model.Shape
	record *record
	at     position
}

type entryItem struct {
	entry  *entry
	head   []byte
	record *record
	at     position
	old    []*record // what it takes the place of
}

type stateItem struct {
	entry *entry
	body  []byte
}

func (b *batch) empty() bool { return len(b.entries) == 0 && len(b.states) == 0 }

// openSpool opens the directory and takes in what it has.
func (q *Queue) openSpool(opts spoolOptions) {
	j, err := journal.Open(q.directory, opts.Options, q.log)
	s := &spool{
		spoolOptions: opts, journal: j, stop: make(chan struct{}), stopped: make(chan struct{}),
		live: make(map[uint64]*tally), shapes: make(map[shapeKey]*shapeRecord),
	}
	if err == nil {
		if err = q.replay(s); err != nil {
			err = errors.Join(err, j.Close())
		}
	}
	if err != nil {
		q.log.Error("the queue's directory cannot be used; what waits is kept in memory only",
			"directory", q.directory, "err", err)
		q.broken = err
		return
	}
	q.spool = s
	go q.spooling()
}

func (q *Queue) spooling() {
	defer close(q.spool.stopped)
	tick := time.NewTicker(q.spool.every)
	defer tick.Stop()
	for {
		select {
		case <-q.spool.stop:
			return
		case <-tick.C:
			_ = q.flush(false) // counted
		}
	}
}

// closeSpool writes everything that is left and gives the directory back. It
// reports whether all of it is durable.
func (q *Queue) closeSpool() bool {
	s := q.spool
	if s == nil {
		return false
	}
	select {
	case <-s.stopped:
		return false // closed before
	default:
	}
	close(s.stop)
	<-s.stopped
	err := errors.Join(q.flush(true), s.journal.Close())
	return err == nil
}

// flush writes what has to be written, all of what waits or only what has done
// so for a while.
func (q *Queue) flush(all bool) error {
	b := q.collect(all)
	var err error
	if !b.empty() {
		err = q.write(b)
		q.conclude(b, err)
	}
	for _, n := range q.droppable(all) { // also when the disk is full, or it would stay so
		err = errors.Join(err, q.spool.journal.DropSegment(n))
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.spool.failed = err
	if err != nil {
		q.spool.errors++
		if hidden, ok := q.throttle.Allow("spool"); ok {
			q.log.Error("the queue's directory cannot be written; what waits there is incomplete until it can",
				"directory", q.directory, "err", err, "hidden_messages", hidden)
		}
	}
	return err
}

// collect takes down what has to be written.
func (q *Queue) collect(all bool) *batch {
	q.mu.Lock()
	defer q.mu.Unlock()
	s, b, now := q.spool, &batch{}, q.now()
	all = all || q.oldest != nil && now-q.oldest.first >= s.after
	later := s.fresh[:0]
	for _, e := range s.fresh {
		switch {
		case e.gone:
		case !all && !e.spooled:
			later = append(later, e)
		default:
			q.store(b, e)
		}
	}
	clear(s.fresh[len(later):])
	if s.fresh = later; len(later) == 0 {
		s.fresh = nil // it may have been long
	}
	if n := s.crowded(); n != 0 {
		q.evacuate(b, n)
	}
	for _, e := range s.touched {
		e.touched = false
		if e.gone && e.waiting != 0 {
			continue // it has become part of a block
		}
		b.states = append(b.states, stateItem{e, q.stateRecord(e)})
	}
	s.touched = nil
	return b
}

// store adds an entry to a batch, with its shape if need be.
func (q *Queue) store(b *batch, e *entry) {
	q.storeShape(b, e.gen, false)
	r := &record{}
	old := e.records
	e.records = append(slices.Clip(slices.Clone(old)), r)
	e.spooled = true
	b.entries = append(b.entries, entryItem{entry: e, head: q.entryHead(e), record: r, old: old})
}

// storeShape adds a generation's shape to a batch if it is not on disk as it is
// now, or if it is to be written again.
func (q *Queue) storeShape(b *batch, g *generation, again bool) {
	s, key := q.spool, shapeKey{g.shape.Target, g.shape.Generation}
	if g.stored == nil {
		if r := s.shapes[key]; r != nil && r.users == 0 && r.shape.Value() == g.shape {
			g.stored, r.users = r, 1
			s.hold(r.record)
		}
	}
	if g.stored == nil {
		s.lastID++
		g.stored = &shapeRecord{id: s.lastID, key: key, record: &record{released: true}, users: 1}
		s.shapes[key] = g.stored
	} else if g.stored.shape.Value() == g.shape && !again {
		return
	}
	g.stored.shape = weak.Make(g.shape)
	b.shapes = append(b.shapes, shapeItem{to: g.stored, shape: g.shape, record: &record{}})
}

// crowded returns the oldest segment if too little of the journal is needed.
func (s *spool) crowded() uint64 {
	needed := int64(0)
	for _, t := range s.live {
		needed += t.bytes
	}
	list := s.journal.Segments()
	if len(list) < 2 || s.journal.Size() <= 2*needed+s.slack {
		return 0
	}
	return list[0]
}

// evacuate adds everything that a segment is needed for to a batch.
func (q *Queue) evacuate(b *batch, segment uint64) {
	there := func(r *record) bool { return r.segment == segment }
	for _, t := range q.targets {
		for _, g := range t.gens {
			if g.stored != nil && g.stored.record.segment == segment {
				q.storeShape(b, g, true)
			}
		}
	}
	for e := q.oldest; e != nil; e = e.newer {
		if slices.ContainsFunc(e.records, there) && e.records[len(e.records)-1].segment != 0 {
			q.store(b, e)
		}
	}
}

// write appends a batch to the journal and syncs it.
func (q *Queue) write(b *batch) error {
	j := q.spool.journal
	var buf []byte
	put := func() (position, error) {
		pos, err := j.Append(buf)
		return position{pos.Segment, int64(len(buf))}, err
	}
	var err error
	for i := range b.shapes {
		it := &b.shapes[i]
		buf = appendShape(buf[:0], it.to.id, it.shape)
		if it.at, err = put(); err != nil {
			return err
		}
	}
	for i := range b.entries {
		it := &b.entries[i]
		buf = append(buf[:0], it.head...)
		if e := it.entry; e.isBlock() {
			buf = append(buf, e.data...)
		} else {
			buf = q.codec.encode(buf, e.frame[:])
		}
		if it.at, err = put(); err != nil {
			return err
		}
	}
	for _, it := range b.states {
		buf = append(buf[:0], it.body...)
		if _, err := put(); err != nil {
			return err
		}
	}
	return j.Sync()
}

// conclude notes what has become durable, or that all of a batch is to be
// written again.
func (q *Queue) conclude(b *batch, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	s := q.spool
	if err != nil {
		s.retry(b)
		return
	}
	s.written = q.now()
	for _, it := range b.shapes {
		old := it.to.record
		it.to.record = it.record
		s.durable(it.record, it.at, it.to.users == 0)
		s.release(old)
	}
	for _, it := range b.entries {
		s.durable(it.record, it.at, it.record.released)
		s.release(it.old...)
		if e := it.entry; !e.gone {
			e.records = []*record{it.record}
		}
	}
}

// durable notes where a record is.
func (s *spool) durable(r *record, at position, unused bool) {
	r.segment, r.bytes, r.released = at.segment, at.bytes, true
	if !unused {
		s.hold(r)
	}
}

func (s *spool) retry(b *batch) {
	for _, it := range b.shapes {
		it.to.shape = weak.Pointer[model.Shape]{} // not as it is on disk
	}
	for _, it := range b.entries {
		it.record.released = true
		if e := it.entry; !e.gone {
			e.records = it.old
			s.fresh = append(s.fresh, e)
		}
	}
	for _, it := range b.states {
		s.touch(it.entry)
	}
}

// droppable returns the segments that nobody needs: the oldest ones. The one
// that is being written is among them when there is nothing to write any more.
func (q *Queue) droppable(ending bool) (drop []uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	s := q.spool
	current := s.journal.CurrentSegment()
	resting := len(s.fresh) == 0 && (ending || q.now()-s.written >= s.rest)
	for _, n := range s.journal.Segments() {
		if t := s.live[n]; t != nil && t.records > 0 || n == current && !resting {
			break
		}
		drop = append(drop, n)
		delete(s.live, n)
		for key, r := range s.shapes {
			if r.record.segment == n {
				delete(s.shapes, key)
			}
		}
	}
	return drop
}
