package buffer

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/mangru/mangru/internal/model"
)

// shard is the part of an endpoint's frames that one reader gets.
type shard struct {
	fifo   deque[item]
	left   int // samples in fifo
	leased int // items at the front that are being sent
	want   int // samples for which the reader asked
	wake   chan struct{}
}

// item is one frame of a shard and how much of it has been delivered.
type item struct {
	entry *entry
	from  int // sample number, see model.Span
	left  int // samples not delivered yet
}

func (s *shard) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// remove takes out an item that is not leased; in practice it is the first.
func (s *shard) remove(e *entry) (left int, ok bool) {
	for i := s.leased; i < s.fifo.len(); i++ {
		if it := s.fifo.at(i); it.entry == e {
			left = it.left
			s.fifo.removeAt(i)
			s.left -= left
			return left, true
		} else if it.entry.seq > e.seq {
			break
		}
	}
	return 0, false
}

// Reader reads one endpoint's shard. It is for one goroutine.
type Reader struct {
	q        *Queue
	endpoint string
	index    int
	spans    []model.Span
}

// Reader returns the reader of a shard, counted from 0.
func (q *Queue) Reader(endpoint string, shard int) (*Reader, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, ep := range q.endpoints {
		if ep.Name == endpoint {
			if shard < 0 || shard >= len(ep.shards) {
				return nil, fmt.Errorf("endpoint %q: no shard %d, it has %d", endpoint, shard, len(ep.shards))
			}
			return &Reader{q: q, endpoint: endpoint, index: shard}, nil
		}
	}
	return nil, fmt.Errorf("endpoint %q: not known to the queue", endpoint)
}

func (r *Reader) find() (*endpoint, *shard) {
	for _, ep := range r.q.endpoints {
		if ep.Name == r.endpoint && r.index < len(ep.shards) {
			return ep, ep.shards[r.index]
		}
	}
	return nil, nil
}

// Next leases the oldest spans of the shard, at most maxSamples samples in all.
// It returns when there are that many, when the oldest has waited for as long
// as wait says, when ctx ends, or with io.EOF when the queue is closed and
// nothing is left. A lease must be settled with Settle before the next one. The
// returned slice is valid until then; the caller may shorten a span in it, so
// that only that part counts as finished.
func (r *Reader) Next(ctx context.Context, maxSamples int, wait time.Duration) ([]model.Span, error) {
	for {
		r.q.mu.Lock()
		_, s := r.find()
		if s == nil {
			r.q.mu.Unlock()
			return nil, io.EOF
		}
		r.q.expire(time.Now())
		s.want = maxSamples
		var due time.Duration = -1
		if s.fifo.len() > 0 {
			due = max(0, wait-time.Since(s.fifo.at(0).entry.at))
			if s.left >= maxSamples || due == 0 || r.q.closed {
				spans := r.lease(s, maxSamples)
				r.q.mu.Unlock()
				return spans, nil
			}
		} else if r.q.closed {
			r.q.mu.Unlock()
			return nil, io.EOF
		}
		wake := s.wake
		r.q.mu.Unlock()
		if err := await(ctx, wake, due); err != nil {
			return nil, err
		}
	}
}

// await returns at a wake-up or when due has passed; a negative due never does.
func await(ctx context.Context, wake <-chan struct{}, due time.Duration) error {
	var expired <-chan time.Time
	if due >= 0 {
		t := time.NewTimer(due)
		defer t.Stop()
		expired = t.C
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-wake:
	case <-expired:
	}
	return nil
}

func (r *Reader) lease(s *shard, maxSamples int) []model.Span {
	clear(r.spans)
	r.spans = r.spans[:0]
	for i := 0; i < s.fifo.len() && maxSamples > 0; i++ {
		it := s.fifo.at(i)
		e := it.entry
		span := model.Span{Frame: e.frame, From: it.from, To: e.frame.Positions()}
		if it.left > maxSamples {
			if i > 0 {
				break // a frame is split only where it does not fit alone
			}
			span = span.Prefix(maxSamples)
		}
		maxSamples -= it.left
		e.leases++
		s.leased++
		r.spans = append(r.spans, span)
	}
	return r.spans
}

// Settle ends the lease: the first n spans are finished, the rest is handed
// back in its place. A finished span that ended before its frame does leaves
// the remainder of the frame first in the queue.
func (r *Reader) Settle(n int) {
	r.q.mu.Lock()
	defer r.q.mu.Unlock()
	ep, s := r.find()
	if s == nil {
		return
	}
	r.q.settle(ep, s, n, r.spans)
}

// settle ends the lease of a shard.
func (q *Queue) settle(ep *endpoint, s *shard, n int, spans []model.Span) {
	for i := range s.leased {
		s.fifo.at(i).entry.leases--
	}
	s.leased = 0
	for _, span := range spans[:n] {
		it := s.fifo.at(0)
		delivered := span.Samples()
		it.left -= delivered
		s.left -= delivered
		ep.samples -= int64(delivered)
		it.from = span.To
		if it.left == 0 {
			q.finish(ep, it.entry)
			s.fifo.pop()
		}
	}
}
