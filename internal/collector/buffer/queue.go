package buffer

import (
	"container/heap"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/mangru/mangru/internal/model"
	"github.com/mangru/mangru/internal/telemetry"
)

// Config bounds a queue.
type Config struct {
	// MaxBytes bounds the memory of everything that the queue holds; 0 means no
	// bound.
	MaxBytes int64
	// MaxAge bounds how long a frame waits; 0 means no bound. Frames that are
	// compressed together go together, when the newest is that old; they are at
	// most an eighth of MaxAge apart.
	MaxAge time.Duration
	// Directory, if not empty, is where what waits for longer than a second is
	// kept across restarts. Only New looks at it.
	Directory string
}

// Endpoint is somebody who gets the frames.
type Endpoint struct {
	Name string
	// Jobs are those whose frames the endpoint gets; nil means every job.
	Jobs []string
}

// Reason is why samples left the queue without having been delivered.
type Reason string

// The reasons why samples leave the queue undelivered.
const (
	ReasonBytes    Reason = "queue_bytes"      // Config.MaxBytes was reached
	ReasonAge      Reason = "queue_age"        // Config.MaxAge was reached
	ReasonRemoved  Reason = "endpoint_removed" // a reload took the endpoint away
	ReasonShutdown Reason = "shutdown"         // the collector stopped
	ReasonCorrupt  Reason = "queue_corrupt"    // a block could not be read
)

var reasons = [...]Reason{ReasonBytes, ReasonAge, ReasonRemoved, ReasonShutdown, ReasonCorrupt}

// Queue is a bounded queue of frames with one position per endpoint and target.
// It is safe for use by many goroutines. Append never waits for a reader.
type Queue struct {
	log      *slog.Logger
	throttle telemetry.Throttle
	codec    codec
	scratch  sync.Pool // of *[]byte, for merges
	start    time.Time

	directory string // or "" if there is none
	spool     *spool // what is in it; nil without one
	broken    error  // why there is no spool although there is a directory

	mu        sync.Mutex
	cfg       Config
	seq       uint64 // of the next frame
	oldest    *entry
	newest    *entry
	bytes     int64
	targets   map[uint64]*target
	endpoints []*endpoint
	wants     map[string]slots // by job; made anew when the endpoints change
	idle      []*entry         // blocks that are open although nobody has them
	closed    bool
}

// endpoint is what waits for one endpoint.
type endpoint struct {
	Endpoint
	slot    int
	ready   lanes // those without a reader in which something waits
	waiters []*Reader
	timer   *time.Timer
	due     time.Duration // when timer fires, or notSet

	samples   int   // not finished
	leased    int   // of samples: those that readers have
	available int   // of samples: those in ready
	bytes     int64 // of the entries that wait
	open      int64 // of the open blocks that readers have
	frames    int   // not compressed
	packed    int   // frames in blocks
	dropped   map[Reason]int64
	removed   bool
}

// New returns a queue for the endpoints: an empty one, or one with what an
// earlier process left in the directory. A directory that cannot be used is
// logged and shown in State, and the queue does without. With a directory, the
// queue must be ended with Discard.
func New(cfg Config, endpoints []Endpoint, log *slog.Logger) (*Queue, error) {
	return start(cfg, endpoints, log, defaultSpool())
}

func start(cfg Config, endpoints []Endpoint, log *slog.Logger, opts spoolOptions) (*Queue, error) {
	q := &Queue{
		log: log, cfg: cfg, codec: blockCodec(), start: time.Now(), directory: cfg.Directory,
		targets:  make(map[uint64]*target),
		throttle: telemetry.Throttle{Every: time.Minute},
	}
	if err := q.SetEndpoints(endpoints); err != nil {
		return nil, err
	}
	if cfg.Directory != "" {
		q.openSpool(opts)
	}
	return q, nil
}

// now is the time on the queue's own clock, which nobody can set.
func (q *Queue) now() time.Duration { return time.Since(q.start) }

// SetConfig changes the bounds; what no longer fits goes at the next append.
// The directory stays what it was.
func (q *Queue) SetConfig(cfg Config) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.cfg = cfg
}

// SetEndpoints replaces the list of endpoints. One that stays keeps what waits
// for it, also when its jobs change; a new one starts with the next frame; what
// waits for one that leaves is dropped and counted, what its readers have at
// the time included, and they get io.EOF.
func (q *Queue) SetEndpoints(list []Endpoint) error {
	if len(list) > maxEndpoints {
		return fmt.Errorf("%d endpoints, at most %d allowed", len(list), maxEndpoints)
	}
	seen := make(map[string]bool)
	for _, e := range list {
		if seen[e.Name] {
			return fmt.Errorf("endpoint %q: name used twice", e.Name)
		}
		seen[e.Name] = true
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	var used slots
	for _, old := range q.endpoints {
		if !seen[old.Name] {
			q.forget(old, ReasonRemoved)
			old.removed = true
			q.dispatch(old)
			continue
		}
		used |= 1 << old.slot
	}
	var next []*endpoint
	for _, e := range list {
		ep := q.endpoint(e.Name)
		if ep == nil {
			ep = &endpoint{dropped: make(map[Reason]int64), due: notSet}
			for used.has(ep.slot) {
				ep.slot++
			}
			used |= 1 << ep.slot
		}
		ep.Endpoint = Endpoint{e.Name, slices.Clone(e.Jobs)}
		next = append(next, ep)
	}
	q.endpoints, q.wants = next, make(map[string]slots)
	return nil
}

// endpoint returns the endpoint of a name, or nil.
func (q *Queue) endpoint(name string) *endpoint {
	for _, ep := range q.endpoints {
		if ep.Name == name {
			return ep
		}
	}
	return nil
}

// wanted returns the endpoints that get a job's frames.
func (q *Queue) wanted(job string) (s slots) {
	s, ok := q.wants[job]
	if ok {
		return s
	}
	for _, ep := range q.endpoints {
		if ep.Jobs == nil || slices.Contains(ep.Jobs, job) {
			s |= 1 << ep.slot
		}
	}
	q.wants[job] = s
	return s
}

// Append adds a frame for every endpoint that gets its job. When the queue is
// full it drops the oldest entries that nobody is sending, and failing that, the
// new one. It then compresses what has gathered of the target, if that is due.
func (q *Queue) Append(f *model.Frame) {
	samples := f.Samples()
	if samples == 0 {
		return
	}
	q.mu.Lock()
	m := q.insert(f, samples)
	q.mu.Unlock()
	for m != nil {
		m.run(&q.scratch)
		q.mu.Lock()
		m = q.commit(m)
		q.mu.Unlock()
	}
}

// insert adds a frame and returns a merge that has become due, if any.
func (q *Queue) insert(f *model.Frame, samples int) *merge {
	waiting := q.wanted(f.Shape.Job)
	if waiting == 0 {
		return nil
	}
	e := &entry{
		frame: [1]*model.Frame{f}, seq: q.seq, until: q.seq, first: q.now(), waiting: waiting,
		samples: samples, frames: 1, bytes: entryBytes + frameBytes(f),
	}
	e.last, e.plain = e.first, e.bytes-entryBytes
	q.seq++
	if q.closed {
		q.refuse(e, ReasonShutdown)
		return nil
	}
	q.expire(e.first)
	alone := e.bytes + shapeBytes(f.Shape) + targetBytes + laneBytes*int64(waiting.len())
	if q.cfg.MaxBytes > 0 && alone > q.cfg.MaxBytes {
		// It could never fit: no reason to drop what does.
		q.refuse(e, ReasonBytes)
		return nil
	}
	t := q.targets[f.Shape.Target]
	if t == nil {
		t = &target{id: f.Shape.Target}
		q.targets[t.id] = t
		q.bytes += targetBytes
	}
	e.target, e.gen = t, q.generationOf(t, f.Shape)
	q.link(e)
	q.spool.add(e)
	for _, ep := range q.endpoints {
		if waiting.has(ep.slot) {
			q.offer(e, ep)
		}
	}
	q.makeRoom()
	q.dispatchAll()
	return q.plan(t)
}

// refuse counts the samples of an entry that was not taken in.
func (q *Queue) refuse(e *entry, why Reason) {
	for _, ep := range q.endpoints {
		if e.waiting.has(ep.slot) {
			q.count(ep, why, e.samples)
		}
	}
}

// offer notes that a new entry waits for an endpoint.
func (q *Queue) offer(e *entry, ep *endpoint) {
	l := q.lane(e.target, ep)
	l.samples += e.samples
	ep.samples += e.samples
	ep.bytes += e.bytes
	ep.countFrames(e, 1)
	if l.reader != nil {
		return // what it has comes first
	}
	ep.available += e.samples
	if l.head == nil {
		l.setHead(e)
		heap.Push(&ep.ready, l)
	}
}

// countFrames notes that an entry's frames have begun (+1) or ceased (-1) to wait.
func (ep *endpoint) countFrames(e *entry, sign int) {
	if e.isBlock() {
		ep.packed += sign * int(e.frames)
	} else {
		ep.frames += sign * int(e.frames)
	}
}

// makeRoom drops what MaxBytes does not allow.
func (q *Queue) makeRoom() {
	if q.cfg.MaxBytes <= 0 || q.bytes <= q.cfg.MaxBytes {
		return
	}
	q.shutIdle()
	for e := q.oldest; e != nil && q.bytes > q.cfg.MaxBytes; {
		newer := e.newer
		q.drop(e, ReasonBytes)
		e = newer
	}
}

// expire drops what is older than MaxAge.
func (q *Queue) expire(now time.Duration) {
	if q.cfg.MaxAge <= 0 {
		return
	}
	for e := q.oldest; e != nil && now-e.last > q.cfg.MaxAge; {
		newer := e.newer
		q.drop(e, ReasonAge)
		e = newer
	}
	if q.closed {
		q.dispatchAll() // that may have been the last
	}
}

func (q *Queue) dispatchAll() {
	for _, ep := range q.endpoints {
		q.dispatch(ep)
	}
}

// drop takes an entry from all endpoints that have not finished with it, unless
// one of them is sending it now.
func (q *Queue) drop(e *entry, why Reason) {
	if e.leases > 0 {
		return
	}
	for _, ep := range q.endpoints {
		if e.waiting.has(ep.slot) {
			q.count(ep, why, q.leave(e.target.lanes[ep.slot], e))
		}
	}
	q.remove(e)
}

// leave takes an entry out of a lane and returns how many of its samples the
// endpoint had not finished.
func (q *Queue) leave(l *lane, e *entry) (left int) {
	ep := l.ep
	left = e.samples
	if l.head == e {
		left = l.left
		if l.cell > 0 {
			e.inside--
		}
		l.setHead(l.after(e))
	}
	e.waiting &^= 1 << ep.slot
	q.spool.touch(e)
	l.samples -= left
	ep.samples -= left
	ep.bytes -= e.bytes
	ep.countFrames(e, -1)
	if l.reader == nil {
		ep.available -= left
		ep.place(l)
	}
	return left
}

// place puts a lane without a reader where it belongs among those.
func (ep *endpoint) place(l *lane) {
	switch {
	case l.head == nil && l.index >= 0:
		heap.Remove(&ep.ready, l.index)
	case l.head != nil && l.index >= 0:
		heap.Fix(&ep.ready, l.index)
	case l.head != nil:
		heap.Push(&ep.ready, l)
	}
}

// forget drops everything that waits for an endpoint. It returns how many
// samples that are; if why is empty, they are not lost.
func (q *Queue) forget(ep *endpoint, why Reason) (dropped int) {
	for _, t := range q.targets {
		if len(t.lanes) <= ep.slot || t.lanes[ep.slot] == nil {
			continue
		}
		l := t.lanes[ep.slot]
		if l.reader != nil {
			q.unlease(l)
		}
		for l.head != nil {
			e := l.head
			dropped += q.leave(l, e)
			if e.waiting == 0 {
				q.remove(e)
			}
		}
		if q.targets[t.id] == t {
			t.lanes[ep.slot] = nil
			q.bytes -= laneBytes
		}
	}
	ep.leased, ep.open = 0, 0
	if why == "" {
		return 0
	}
	q.count(ep, why, dropped)
	return dropped
}

// unlease takes a lane from its reader, which will find it gone.
func (q *Queue) unlease(l *lane) {
	for e := l.head; l.leased > 0; e = l.after(e) {
		l.leased--
		q.giveBack(e, false)
	}
	l.reader, l.cursor = nil, l.head
	l.ep.available += l.samples
}

func (q *Queue) count(ep *endpoint, why Reason, samples int) {
	if samples == 0 {
		return
	}
	ep.dropped[why] += int64(samples)
	if hidden, ok := q.throttle.Allow(ep.Name + string(why)); ok {
		q.log.Warn("samples dropped from the queue", "endpoint", ep.Name, "reason", string(why), "samples", samples,
			"dropped_in_all", ep.dropped[why], "hidden_messages", hidden,
			"max_bytes", q.cfg.MaxBytes, "max_age", q.cfg.MaxAge)
	}
}

// Close ends the intake: readers get what is left, without waiting for company,
// and then io.EOF.
func (q *Queue) Close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.dispatchAll()
}

// Discard drops and counts what is left after Close and returns, per endpoint,
// how many samples that were. With a directory, what is left stays there for the
// next process and does not count. Readers must have stopped.
func (q *Queue) Discard() map[string]int64 {
	kept := q.closeSpool()
	q.mu.Lock()
	defer q.mu.Unlock()
	lost := make(map[string]int64)
	for _, ep := range q.endpoints {
		why := ReasonShutdown
		if kept {
			why = ""
			q.log.Info("samples stay in the directory for the next start", "endpoint", ep.Name, "samples", ep.samples)
		}
		lost[ep.Name] = int64(q.forget(ep, why))
		q.dispatch(ep)
	}
	return lost
}
