package buffer

import (
	"math"
	"time"
)

// A reader for which there is not enough yet joins endpoint.waiters. Whoever
// changes what is available calls dispatch, which gives the readers that have
// come first what they asked for and only then wakes them: none is woken in vain,
// and none misses what came while it fell asleep.

// notSet is the due time of a timer that is not running.
const notSet time.Duration = math.MaxInt64

// dispatch wakes the waiting readers of an endpoint for which there is something.
func (q *Queue) dispatch(ep *endpoint) {
	if len(ep.waiters) == 0 {
		return
	}
	now, ended := q.now(), q.ended(ep)
	waiters := ep.waiters[:0]
	for _, r := range ep.waiters {
		if !ended && !q.ready(r, now) {
			waiters = append(waiters, r)
			continue
		}
		if !ended {
			q.grant(r)
		}
		r.waiting = false
		r.wake <- struct{}{}
	}
	clear(ep.waiters[len(waiters):])
	ep.waiters = waiters
	q.arm(ep, now)
}

// arm sets the timer for the first moment at which the oldest that is available
// has waited long enough for one of the waiting readers.
func (q *Queue) arm(ep *endpoint, now time.Duration) {
	due := notSet
	if len(ep.ready) > 0 {
		first := ep.ready[0].cursor.first
		for _, r := range ep.waiters {
			// Where it has waited long enough already, only a Settle can help; and
			// a sum that overflows stands for a wait without end.
			if at := first + r.wait; at > now {
				due = min(due, at)
			}
		}
	}
	if due == ep.due {
		return
	}
	ep.due = due
	switch {
	case due == notSet:
		ep.timer.Stop()
	case ep.timer == nil:
		ep.timer = time.AfterFunc(due-now, func() {
			q.mu.Lock()
			defer q.mu.Unlock()
			ep.due = notSet
			q.dispatch(ep)
		})
	default:
		ep.timer.Reset(due - now)
	}
}
