package query

import (
	"context"
	"errors"
	"sync"
	"time"
)

// errQueueFull says that a workspace has as many requests waiting as it may.
var errQueueFull = errors.New("too many outstanding requests")

// queue lets a number of requests run at a time, and shares this number between
// workspaces: who has fewest running for their weight is next, and among those
// who have equally many, the one who has been served least. A workspace that
// asks for much waits for itself and not the others for it.
type queue struct {
	slots        int // of all workspaces together
	perWorkspace int // running at a time
	waiting      int // of one workspace
	weight       func(workspaceID string) float64
	now          func() time.Time

	mu      sync.Mutex
	running int
	flows   map[string]*flow // those that have something running or waiting
}

// flow is a workspace in the queue.
type flow struct {
	weight  float64
	running int
	waiting []*waiter // first come, first served
	served  float64   // seconds of service by weight, since it and others are here
}

type waiter struct{ granted chan struct{} }

func newQueue(slots, perWorkspace, waiting int, weight func(string) float64, now func() time.Time) *queue {
	return &queue{slots: slots, perWorkspace: perWorkspace, waiting: waiting, weight: weight, now: now, flows: make(map[string]*flow)}
}

// enter waits for a place and returns the function that leaves it. The error is
// errQueueFull or that of the context.
func (q *queue) enter(ctx context.Context, workspaceID string) (leave func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	q.mu.Lock()
	f := q.flow(workspaceID)
	if len(f.waiting) == 0 && q.running < q.slots && f.running < q.perWorkspace {
		q.start(f)
		q.mu.Unlock()
		return q.leaver(workspaceID, f), nil
	}
	if len(f.waiting) >= q.waiting {
		q.mu.Unlock()
		return nil, errQueueFull
	}
	w := &waiter{granted: make(chan struct{})}
	f.waiting = append(f.waiting, w)
	q.mu.Unlock()
	select {
	case <-w.granted:
		// A place that came free at the last moment is of no use any more. The timer of
		// the deadline may come later than that of the request which gave the place up.
		err := ctx.Err()
		if d, ok := ctx.Deadline(); err == nil && ok && !q.now().Before(d) {
			err = context.DeadlineExceeded
		}
		if err != nil {
			q.leaver(workspaceID, f)()
			return nil, err
		}
		return q.leaver(workspaceID, f), nil
	case <-ctx.Done():
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for i, other := range f.waiting {
		if other == w {
			f.waiting = append(f.waiting[:i], f.waiting[i+1:]...)
			q.tidy(workspaceID, f)
			return nil, ctx.Err()
		}
	}
	// It was granted in the meantime.
	q.end(workspaceID, f, 0)
	return nil, ctx.Err()
}

// flow returns a workspace's flow. Who comes anew has been served as much as the
// least served of those who are there, and not nothing at all.
func (q *queue) flow(id string) *flow {
	f := q.flows[id]
	if f == nil {
		f = &flow{weight: 1}
		if q.weight != nil {
			if w := q.weight(id); w > 0 {
				f.weight = w
			}
		}
		first := true
		for _, other := range q.flows {
			if first || other.served < f.served {
				f.served, first = other.served, false
			}
		}
		q.flows[id] = f
	}
	return f
}

func (q *queue) start(f *flow) {
	q.running++
	f.running++
}

func (q *queue) leaver(id string, f *flow) func() {
	began := q.now()
	return sync.OnceFunc(func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.end(id, f, q.now().Sub(began))
	})
}

// end takes a request out and lets others in.
func (q *queue) end(id string, f *flow, took time.Duration) {
	q.running--
	f.running--
	f.served += took.Seconds() / f.weight
	for q.running < q.slots {
		next := q.next()
		if next == nil {
			break
		}
		w := next.waiting[0]
		next.waiting = next.waiting[1:]
		q.start(next)
		close(w.granted)
	}
	q.tidy(id, f)
}

func (q *queue) tidy(id string, f *flow) {
	if f.running == 0 && len(f.waiting) == 0 {
		delete(q.flows, id)
	}
}

// next returns the flow whose turn it is, if any can go on.
func (q *queue) next() *flow {
	var best *flow
	for _, f := range q.flows {
		if len(f.waiting) == 0 || f.running >= q.perWorkspace {
			continue
		}
		if best == nil || f.before(best) {
			best = f
		}
	}
	return best
}

func (f *flow) before(g *flow) bool {
	if a, b := float64(f.running)/f.weight, float64(g.running)/g.weight; a != b {
		return a < b
	}
	return f.served < g.served
}
