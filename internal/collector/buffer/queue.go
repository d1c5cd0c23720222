package buffer

import (
	"cmp"
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
	// MaxBytes bounds what the frames take in memory; 0 means no bound.
	MaxBytes int64
	// MaxAge bounds how long a frame waits; 0 means no bound.
	MaxAge time.Duration
}

// Endpoint is one reader of the queue.
type Endpoint struct {
	Name string
	// Shards is how many readers share the endpoint's frames.
	Shards int
}

// Reason is why samples left the queue without having been delivered.
type Reason string

// The reasons why samples leave the queue undelivered.
const (
	ReasonBytes    Reason = "queue_bytes"      // Config.MaxBytes was reached
	ReasonAge      Reason = "queue_age"        // Config.MaxAge was reached
	ReasonRemoved  Reason = "endpoint_removed" // a reload took the endpoint away
	ReasonShutdown Reason = "shutdown"         // the collector stopped
)

// Queue is a bounded queue of frames with one position per endpoint and shard.
// It is safe for use by many goroutines. Append never waits for a reader.
type Queue struct {
	log      *slog.Logger
	throttle telemetry.Throttle

	mu        sync.Mutex
	cfg       Config
	oldest    *entry
	newest    *entry
	bytes     int64
	shapes    map[shapeKey]*shapeUse
	endpoints []*endpoint
	closed    bool
}

// entry is one frame in the list of all, oldest first.
type entry struct {
	older, newer *entry
	seq          uint64
	frame        *model.Frame
	at           time.Time
	bytes        int64
	waiting      int // endpoints that have not finished with it
	leases       int // endpoints that are sending it now
}

type endpoint struct {
	Endpoint
	shards  []*shard
	samples int64
	bytes   int64
	dropped map[Reason]int64
}

// New returns an empty queue for the endpoints.
func New(cfg Config, endpoints []Endpoint, log *slog.Logger) (*Queue, error) {
	q := &Queue{
		log: log, cfg: cfg, shapes: make(map[shapeKey]*shapeUse),
		throttle: telemetry.Throttle{Every: time.Minute},
	}
	if err := q.SetEndpoints(endpoints); err != nil {
		return nil, err
	}
	return q, nil
}

// SetConfig changes the bounds; what no longer fits goes at the next append.
func (q *Queue) SetConfig(cfg Config) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.cfg = cfg
}

// SetEndpoints replaces the list of endpoints. One that stays keeps what waits
// for it, also when the number of its shards changes; a new one starts with the
// next frame; what waits for one that leaves is dropped and counted. Readers of
// endpoints that leave or change their shards must have stopped.
func (q *Queue) SetEndpoints(list []Endpoint) error {
	seen := make(map[string]bool)
	for _, e := range list {
		if e.Shards < 1 {
			return fmt.Errorf("endpoint %q: %d shards, at least 1 needed", e.Name, e.Shards)
		}
		if seen[e.Name] {
			return fmt.Errorf("endpoint %q: name used twice", e.Name)
		}
		seen[e.Name] = true
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	var next []*endpoint
	for _, e := range list {
		i := slices.IndexFunc(q.endpoints, func(old *endpoint) bool { return old.Name == e.Name })
		if i < 0 {
			next = append(next, newEndpoint(e))
			continue
		}
		next = append(next, q.resize(q.endpoints[i], e.Shards))
	}
	for _, old := range q.endpoints {
		if !seen[old.Name] {
			q.forget(old, ReasonRemoved)
		}
	}
	q.endpoints = next
	return nil
}

func newEndpoint(e Endpoint) *endpoint {
	ep := &endpoint{Endpoint: e, dropped: make(map[Reason]int64)}
	for range e.Shards {
		ep.shards = append(ep.shards, &shard{wake: make(chan struct{}, 1)})
	}
	return ep
}

// resize spreads what waits for the endpoint over another number of shards.
func (q *Queue) resize(ep *endpoint, shards int) *endpoint {
	if len(ep.shards) == shards {
		return ep
	}
	var all []item
	for _, s := range ep.shards {
		q.settle(ep, s, 0, nil)
		for i := range s.fifo.len() {
			all = append(all, *s.fifo.at(i))
		}
	}
	slices.SortFunc(all, func(a, b item) int { return cmp.Compare(a.entry.seq, b.entry.seq) })
	n := newEndpoint(Endpoint{Name: ep.Name, Shards: shards})
	n.samples, n.bytes, n.dropped = ep.samples, ep.bytes, ep.dropped
	for _, it := range all {
		s := n.shard(it.entry.frame)
		s.fifo.push(it)
		s.left += it.left
	}
	return n
}

func (ep *endpoint) shard(f *model.Frame) *shard {
	return ep.shards[f.Shape.Target%uint64(len(ep.shards))]
}

// Append adds a frame for every endpoint. When the queue is full it drops the
// oldest frames that nobody is sending, and failing that, the new one.
func (q *Queue) Append(f *model.Frame) {
	samples := f.Samples()
	if samples == 0 {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || len(q.endpoints) == 0 {
		for _, ep := range q.endpoints {
			q.count(ep, ReasonShutdown, samples)
		}
		return
	}
	now := time.Now()
	q.expire(now)
	size := frameBytes(f) + q.retain(f.Shape)
	if q.cfg.MaxBytes > 0 && frameBytes(f)+q.shapes[keyOf(f.Shape)].bytes > q.cfg.MaxBytes {
		// It could never fit: no reason to drop what does.
		q.bytes += size - frameBytes(f) - q.release(f.Shape)
		for _, ep := range q.endpoints {
			q.count(ep, ReasonBytes, samples)
		}
		return
	}
	for e := q.oldest; e != nil && q.cfg.MaxBytes > 0 && q.bytes+size > q.cfg.MaxBytes; {
		newer := e.newer
		q.drop(e, ReasonBytes)
		e = newer
	}
	q.bytes += size
	e := &entry{frame: f, at: now, bytes: frameBytes(f), waiting: len(q.endpoints), older: q.newest}
	if e.older != nil {
		e.older.newer, e.seq = e, e.older.seq+1
	} else {
		q.oldest = e
	}
	q.newest = e
	for _, ep := range q.endpoints {
		ep.samples += int64(samples)
		ep.bytes += e.bytes
		s := ep.shard(f)
		s.fifo.push(item{entry: e, left: samples})
		if s.left += samples; s.fifo.len() == 1 || s.left >= s.want {
			s.signal()
		}
	}
	if q.cfg.MaxBytes > 0 && q.bytes > q.cfg.MaxBytes {
		q.drop(e, ReasonBytes) // what is being sent leaves no room for it
	}
}

// expire drops what is older than MaxAge.
func (q *Queue) expire(now time.Time) {
	for e := q.oldest; e != nil && q.cfg.MaxAge > 0 && now.Sub(e.at) > q.cfg.MaxAge; {
		newer := e.newer
		q.drop(e, ReasonAge)
		e = newer
	}
}

// drop takes an entry from all endpoints that have not finished with it, unless
// one of them is sending it now.
func (q *Queue) drop(e *entry, why Reason) {
	if e.leases > 0 {
		return
	}
	for _, ep := range q.endpoints {
		if left, ok := ep.shard(e.frame).remove(e); ok {
			ep.samples -= int64(left)
			ep.bytes -= e.bytes
			q.count(ep, why, left)
		}
	}
	q.vacate(e)
}

// finish notes that one endpoint needs the entry no more.
func (q *Queue) finish(ep *endpoint, e *entry) {
	ep.bytes -= e.bytes
	if e.waiting--; e.waiting == 0 {
		q.vacate(e)
	}
}

// vacate takes an entry out of the list of all.
func (q *Queue) vacate(e *entry) {
	q.bytes -= e.bytes + q.release(e.frame.Shape)
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
}

// forget drops everything that waits for an endpoint.
func (q *Queue) forget(ep *endpoint, why Reason) {
	for _, s := range ep.shards {
		q.settle(ep, s, 0, nil)
		for s.fifo.len() > 0 {
			it := s.fifo.pop()
			ep.samples -= int64(it.left)
			q.count(ep, why, it.left)
			q.finish(ep, it.entry)
		}
		s.left = 0
		s.signal()
	}
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
	for _, ep := range q.endpoints {
		for _, s := range ep.shards {
			s.signal()
		}
	}
}

// Discard drops and counts what is left after Close and returns, per endpoint,
// how many samples that were. Readers must have stopped.
func (q *Queue) Discard() map[string]int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	left := make(map[string]int64)
	for _, ep := range q.endpoints {
		left[ep.Name] = ep.samples
		q.forget(ep, ReasonShutdown)
	}
	return left
}
