package buffer

import (
	"container/heap"
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/mangru/mangru/internal/model"
)

// Feed is what waits for one endpoint. It is safe for use by many goroutines.
type Feed struct {
	q  *Queue
	ep *endpoint
}

// Feed returns the feed of an endpoint. It ends when SetEndpoints removes the
// endpoint, also if one of the same name comes back later.
func (q *Queue) Feed(endpoint string) (*Feed, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if ep := q.endpoint(endpoint); ep != nil {
		return &Feed{q, ep}, nil
	}
	return nil, fmt.Errorf("endpoint %q: not known to the queue", endpoint)
}

// Waiting returns how many samples no reader has leased.
func (f *Feed) Waiting() int {
	f.q.mu.Lock()
	defer f.q.mu.Unlock()
	return f.ep.samples - f.ep.leased
}

// Reader returns a new reader. There may be any number of them; each reads what
// the others have not leased. One may be forgotten when it has no lease.
func (f *Feed) Reader() *Reader {
	return &Reader{q: f.q, ep: f.ep, wake: make(chan struct{}, 1)}
}

// Reader reads one endpoint's frames. It is for one goroutine.
type Reader struct {
	q      *Queue
	ep     *endpoint
	leases []lease
	spans  []model.Span

	// Of a Next that waits; see dispatch.
	wake    chan struct{}
	waiting bool
	want    int           // samples
	wait    time.Duration // for company
}

// lease is an entry, or the rest of one, that a reader has.
type lease struct {
	lane  *lane
	entry *entry
	open  *opened // of a block
	from  int     // cell
	held  int     // samples, as far as is known before a block is decoded
	limit int     // if more than 0, only so many samples

	// What only the reader itself uses, without the queue's lock.
	to      int  // cell, exclusive
	carried int  // samples
	end     bool // to is the end of the entry
}

// Next leases the oldest spans whose targets no other reader has, at most
// maxSamples samples in all. It returns when there are that many, when the
// oldest has waited for as long as wait says, when ctx ends, or with io.EOF when
// the queue is closed or the endpoint removed and nothing is left, not even with
// other readers, who could hand it back. A lease must be settled with Settle
// before the next one. The returned slice is valid until then; the caller may
// shorten a span in it, so that only that part counts as finished.
func (r *Reader) Next(ctx context.Context, maxSamples int, wait time.Duration) ([]model.Span, error) {
	for {
		if err := r.acquire(ctx, maxSamples, wait); err != nil {
			return nil, err
		}
		if r.load() {
			return r.spans, nil
		}
	}
}

// Settle ends the lease: the first n spans are finished, the rest is handed
// back in its place. The last of the finished ones may have been shortened by a
// lower To: its remainder stays first in its place. Should another one have
// been shortened, what follows it counts as handed back.
func (r *Reader) Settle(n int) {
	for i, s := range r.spans[:n] {
		if l := &r.leases[i]; s.To < l.to {
			l.to, l.carried, l.end = s.To, s.Samples(), false
			n = i + 1
			break
		}
	}
	r.q.mu.Lock()
	defer r.q.mu.Unlock()
	r.q.settle(r, n)
	r.q.dispatch(r.ep)
}

// acquire gets leases. It returns io.EOF when there never will be any.
func (r *Reader) acquire(ctx context.Context, maxSamples int, wait time.Duration) error {
	q, ep := r.q, r.ep
	q.mu.Lock()
	q.settle(r, 0)
	now := q.now()
	q.expire(now)
	r.want, r.wait = max(1, maxSamples), wait
	switch {
	case q.ended(ep):
		q.mu.Unlock()
		return io.EOF
	case q.ready(r, now):
		q.grant(r)
		q.mu.Unlock()
		return nil
	}
	r.waiting = true
	ep.waiters = append(ep.waiters, r)
	q.arm(ep, now)
	q.mu.Unlock()
	select {
	case <-r.wake:
		if len(r.leases) == 0 {
			return io.EOF
		}
		return nil
	case <-ctx.Done():
		q.abandon(r)
		return ctx.Err()
	}
}

// abandon ends the wait of a reader whose time is up.
func (q *Queue) abandon(r *Reader) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if r.waiting {
		r.waiting = false
		i := slices.Index(r.ep.waiters, r)
		r.ep.waiters = slices.Delete(r.ep.waiters, i, i+1)
		return
	}
	<-r.wake // it was given something at the same moment
	q.settle(r, 0)
	q.dispatch(r.ep)
}

// load makes spans of the leases. It returns false if a block could not be
// read; that is then counted, and the other leases are handed back.
func (r *Reader) load() bool {
	for i := range r.leases {
		l := &r.leases[i]
		frames := l.entry.frame[:]
		if l.open != nil {
			var err error
			if frames, err = l.open.load(r.q.codec); err != nil {
				r.q.skip(r, l, err)
				return false
			}
		}
		s := model.Whole(frames)
		end := s.To
		s.From, l.carried = l.from, l.held
		if l.limit > 0 {
			s = s.Prefix(l.limit)
			l.carried = s.Samples()
		}
		l.to, l.end = s.To, s.To == end
		r.spans = append(r.spans, s)
	}
	return true
}

// skip drops, for the reader's endpoint, a block that could not be read.
func (q *Queue) skip(r *Reader, l *lease, why error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	ours, e := l.lane.reader == r, l.entry
	lane := l.lane
	q.settle(r, 0)
	if !ours {
		return // the endpoint has been removed
	}
	q.log.Error("a block of the queue cannot be read", "endpoint", r.ep.Name, "err", why)
	q.count(r.ep, ReasonCorrupt, q.leave(lane, e))
	if e.waiting == 0 {
		q.remove(e)
	}
	q.dispatch(r.ep)
}

// ended reports whether an endpoint's readers will get nothing any more.
func (q *Queue) ended(ep *endpoint) bool {
	return ep.removed || q.closed && ep.samples == 0
}

// ready reports whether there is now what a reader has asked for.
func (q *Queue) ready(r *Reader, now time.Duration) bool {
	ep := r.ep
	if len(ep.ready) == 0 {
		return false
	}
	first := ep.ready[0].cursor
	return (q.closed || ep.available >= r.want || now-first.first >= r.wait) && q.mayOpen(ep, first)
}

// grant leases to a reader what it has asked for, or what there is of it: the
// oldest first.
func (q *Queue) grant(r *Reader) {
	ep := r.ep
	for left := r.want; left > 0 && len(ep.ready) > 0; {
		l := ep.ready[0]
		e := l.cursor
		ls := lease{lane: l, entry: e, held: e.samples}
		if e == l.head {
			ls.from, ls.held = l.cell, l.left
		}
		if ls.held > left {
			// A frame is divided only where it does not fit alone; a block, which is
			// large, when a good part of the request would stay empty otherwise.
			if len(r.leases) > 0 && (!e.isBlock() || left < r.want/4) {
				break
			}
			ls.held, ls.limit = left, left
		}
		if len(r.leases) > 0 && !q.mayOpen(ep, e) {
			break
		}
		q.take(ep, e)
		ls.open = e.open
		if l.reader == nil {
			l.reader = r
			ep.available -= l.samples
		}
		l.leased++
		ep.leased += ls.held
		left -= ls.held
		r.leases = append(r.leases, ls)
		if l.cursor = l.after(e); l.cursor != nil {
			heap.Fix(&ep.ready, l.index)
		} else {
			heap.Remove(&ep.ready, l.index)
		}
	}
	for _, ls := range r.leases {
		if ls.lane.index >= 0 {
			heap.Remove(&ep.ready, ls.lane.index)
		}
	}
}

// settle ends a reader's leases, of which the first n are finished.
func (q *Queue) settle(r *Reader, n int) {
	ep := r.ep
	for i := range r.leases {
		ls := &r.leases[i]
		l, e := ls.lane, ls.entry
		if l.reader != r {
			continue // the endpoint has been forgotten
		}
		l.leased--
		ep.leased -= ls.held
		if e.isBlock() {
			ep.open -= e.plain
		}
		switch {
		case i >= n:
		case ls.end || ls.carried >= l.left:
			q.leave(l, e)
		default:
			ep.advance(l, ls)
			q.spool.touch(e)
		}
		q.giveBack(e, n > 0)
		if e.waiting == 0 {
			q.remove(e)
		}
	}
	for i := range r.leases {
		if l := r.leases[i].lane; l.reader == r {
			l.reader, l.cursor = nil, l.head
			ep.available += l.samples
			ep.place(l)
		}
	}
	clear(r.leases)
	clear(r.spans)
	r.leases, r.spans = r.leases[:0], r.spans[:0]
}

// advance notes that a part of a lane's head is finished.
func (ep *endpoint) advance(l *lane, ls *lease) {
	if ls.to <= l.cell {
		return
	}
	if l.cell == 0 {
		l.head.inside++
	}
	l.cell = ls.to
	l.left -= ls.carried
	l.samples -= ls.carried
	ep.samples -= ls.carried
}
