package send

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// idleAfter is how long a worker that is not needed stays.
const idleAfter = 5 * time.Second

// pool is the workers of a sender while it runs. There is always one. Another
// one comes when a full request is waiting while all are busy and the endpoint
// accepts; so their number doubles with each round, and what an endpoint that
// was away has missed is caught up soon. When a request fails, its worker keeps
// trying and all others go.
type pool struct {
	*Sender
	queue Queue
	wait  sync.WaitGroup

	mu      sync.Mutex
	workers int
	waiting int     // of them, those with nothing to send
	accepts bool    // the last answer was an acceptance
	prober  *worker // the only one who sends while the endpoint fails
	delay   time.Duration
	pause   time.Time // until when the endpoint has asked for quiet
}

// start begins the first worker.
func (p *pool) start(ctx context.Context) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.add(ctx)
}

// add begins a worker. The caller holds mu.
func (p *pool) add(ctx context.Context) {
	p.workers++
	p.metrics.workers.Set(float64(p.workers))
	w := &worker{pool: p, src: p.queue.Reader(), enc: newEncoder(&p.endpoint), busy: time.Now()}
	p.wait.Go(func() {
		defer p.leave(w)
		w.run(ctx)
	})
}

// leave takes note that a worker has ended.
func (p *pool) leave(w *worker) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.prober == w {
		p.prober = nil
	}
	p.remove(w)
}

func (p *pool) remove(w *worker) {
	if !w.gone {
		w.gone = true
		p.workers--
		p.metrics.workers.Set(float64(p.workers))
	}
}

// spare reports whether the pool can do without the worker, which is then no
// part of it any more.
func (p *pool) spare(w *worker) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.workers <= p.cfg.MinShards || p.prober == w {
		return false
	}
	p.remove(w)
	return true
}

// more reports whether there are more workers than are kept without need.
func (p *pool) more() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.workers > p.cfg.MinShards
}

// idle notes that a worker begins or ends to wait for something to send.
func (p *pool) idle(by int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting += by
}

// admit reports whether a worker may send what it has leased. If there is a full
// request more, and nobody for it, it starts another worker.
func (p *pool) admit(ctx context.Context, w *worker) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.prober != nil && p.prober != w {
		return false
	}
	if p.accepts && p.waiting == 0 && p.workers < p.cfg.MaxShards && p.queue.Waiting() >= p.limit.get() {
		p.add(ctx)
	}
	return true
}

// answered notes that the endpoint is there, and whether it accepts.
func (p *pool) answered(ctx context.Context, accepts bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.accepts, p.prober, p.delay, p.pause = accepts, nil, 0, time.Time{}
	for accepts && p.workers < p.cfg.MinShards && ctx.Err() == nil {
		p.add(ctx)
	}
}

// failed notes that a request failed that is to be tried again. It returns how
// long the worker is to wait before that, or false if another one does it.
func (p *pool) failed(w *worker, r reply) (wait time.Duration, stay bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.accepts = false
	if until := now.Add(r.after); until.After(p.pause) {
		p.pause = until
	}
	if p.prober != nil && p.prober != w {
		return 0, false
	}
	p.prober = w
	p.delay = min(p.cfg.Retry.Max, max(p.cfg.Retry.Initial, 2*p.delay))
	wait = max(p.pause.Sub(now), p.delay/2+rand.N(p.delay/2+1), time.Millisecond)
	return wait, true
}
