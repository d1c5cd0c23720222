package send

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/mangru/mangru/internal/model"
)

// worker is one stream of requests, of which one is under way at a time.
type worker struct {
	*pool
	src  Source
	enc  *encoder
	busy time.Time // when it last had a full request
	gone bool      // guarded by pool.mu
}

// outcome is what came of a lease, which is settled.
type outcome struct {
	reply   reply // of the last request
	asked   bool  // there was a request, and an answer
	failed  bool  // the same samples are to be tried again
	stopped bool  // ctx has ended
}

func (w *worker) run(ctx context.Context) {
	for ctx.Err() == nil {
		spans, err := w.next(ctx)
		if errors.Is(err, errIdle) {
			if w.spare(w) {
				return
			}
			continue
		}
		if err != nil {
			if !errors.Is(err, io.EOF) && ctx.Err() == nil {
				w.log.Error("reading the queue failed; a worker has stopped", "err", err)
			}
			return
		}
		if !w.admit(ctx, w) {
			w.src.Settle(0)
			return
		}
		out := w.deliver(ctx, spans)
		switch {
		case out.stopped:
			return
		case out.failed:
			wait, stay := w.failed(w, out.reply)
			w.retrying(out.reply, wait)
			if !stay || !sleep(ctx, wait) {
				return
			}
		case out.asked:
			w.answered(ctx, out.reply.err == nil)
		}
		if time.Since(w.busy) > idleAfter && w.spare(w) {
			return
		}
	}
}

// errIdle says that there was nothing to do for a while.
var errIdle = errors.New("nothing to send")

// next leases the spans of a request. A worker that is not the only one does not
// wait for ever.
func (w *worker) next(ctx context.Context) ([]model.Span, error) {
	w.idle(1)
	defer w.idle(-1)
	if !w.more() {
		return w.src.Next(ctx, w.limit.get(), w.cfg.BatchTimeout)
	}
	patience, cancel := context.WithTimeout(ctx, idleAfter)
	defer cancel()
	spans, err := w.src.Next(patience, w.limit.get(), w.cfg.BatchTimeout)
	if err != nil && patience.Err() != nil && ctx.Err() == nil {
		return nil, errIdle
	}
	return spans, err
}

// deliver makes requests of the spans until one of them is answered for good,
// and settles them. Samples that are refused in one version, or that are too
// many at once, are tried again in another form at once.
func (w *worker) deliver(ctx context.Context, spans []model.Span) outcome {
	n, v := len(spans), w.protocol.pick(time.Now())
	var first *reply // where the version has been changed, that to the other one
	for {
		var fits bool
		if n, fits = w.fit(v, spans[:n]); !fits {
			if first != nil && first.retry {
				return w.conclude(0, 0, *first)
			}
			w.tooLarge(n)
			return outcome{}
		}
		if w.enc.counts.sent()+w.enc.counts.exemplars == 0 {
			w.src.Settle(n)
			w.count()
			return outcome{}
		}
		size := len(w.enc.packed)
		r := w.post(ctx, v)
		if r.err != nil && ctx.Err() != nil {
			w.src.Settle(0)
			return outcome{stopped: true}
		}
		next, again := w.protocol.learn(v, r, time.Now())
		w.speaks(w.protocol.version())
		if again && first == nil {
			w.log.Debug("the endpoint does not take this version of remote write; trying the other", "version", v, "err", r.err)
			v, first = next, &r
			continue
		}
		if r.status == http.StatusRequestEntityTooLarge {
			if m, smaller := w.cut(spans[:n], w.enc.counts.total()/2); smaller {
				w.limit.lower(w.enc.counts.total() / 2)
				w.retrying(r, 0)
				n = m
				continue
			}
		}
		if first != nil && first.retry && r.err != nil {
			r = *first // it was no matter of the version
		}
		return w.conclude(n, size, r)
	}
}

// tooLarge drops what cannot be made smaller.
func (w *worker) tooLarge(n int) {
	w.src.Settle(n)
	w.count()
	w.metrics.droppedExemplars(reasonTooLarge).Add(float64(w.enc.counts.exemplars))
	w.refuse(reasonTooLarge, w.enc.counts.sent(),
		fmt.Sprintf("one sample takes more than max_request_bytes (%d)", w.cfg.MaxRequestBytes))
}

// conclude settles n spans according to the answer to a request of so many bytes.
func (w *worker) conclude(n, size int, r reply) outcome {
	if r.retry {
		w.src.Settle(0)
		return outcome{reply: r, asked: true, failed: true}
	}
	w.src.Settle(n)
	w.count()
	c := w.enc.counts
	switch {
	case r.written.confirmed:
		// Also a refusal can be of a part only.
		ok, exemplars := min(c.sent(), r.written.samples), min(c.exemplars, r.written.exemplars)
		if ok > 0 || r.err == nil {
			w.accepted(ok, exemplars, size)
		}
		w.metrics.droppedExemplars(reasonRefused).Add(float64(c.exemplars - exemplars))
		if missing := c.sent() - ok; missing > 0 {
			if r.err == nil {
				r.err = fmt.Errorf("server accepted, but wrote only %d of %d samples", ok, c.sent())
			}
			w.refuse(reasonRefused, missing, r.err.Error())
		}
	case r.err == nil:
		w.accepted(c.sent(), c.exemplars, size)
	default:
		reason := reasonRefused
		if r.unconfirmed {
			reason = reasonUnconfirmed
		}
		w.metrics.droppedExemplars(reason).Add(float64(c.exemplars))
		w.refuse(reason, c.sent(), r.err.Error())
	}
	if r.err == nil {
		w.known.done(w.enc.described, time.Now())
		if size+size/8 < w.cfg.MaxRequestBytes {
			w.limit.raise()
		}
	}
	return outcome{reply: r, asked: true}
}

// count takes note of what of settled spans was not in the request.
func (w *worker) count() {
	c := w.enc.counts
	w.metrics.filtered(reasonRewrite).Add(float64(c.filtered))
	w.metrics.filtered(reasonHistograms).Add(float64(c.unwanted))
	w.metrics.filtered(reasonCustom).Add(float64(c.custom))
	w.metrics.droppedExemplars(reasonNoSample).Add(float64(c.bare))
	w.metrics.droppedExemplars(reasonExemplars).Add(float64(c.unwantedExemplars))
	if c.old > 0 {
		w.tooOld(c.old)
	}
}

// fit encodes as many spans from the front as a request may hold, and returns
// how many those are. It may shorten the last one. It returns false if what
// cannot be divided is too large; then that has been encoded.
func (w *worker) fit(v version, spans []model.Span) (n int, fits bool) {
	for n = len(spans); ; {
		w.enc.encode(v, spans[:n], time.Now())
		size, total := len(w.enc.packed), w.enc.counts.total()
		if total*10 >= w.limit.get()*9 {
			w.busy = time.Now()
		}
		if size <= w.cfg.MaxRequestBytes {
			return n, true
		}
		limit := max(1, min(total-1, int(0.9*float64(total)*float64(w.cfg.MaxRequestBytes)/float64(size))))
		smaller := false
		if n, smaller = w.cut(spans[:n], limit); !smaller {
			return n, false
		}
		w.limit.lower(limit)
	}
}

// cut returns how many spans from the front carry limit samples at most; a first
// one that alone has more is shortened. What cannot be divided stays: then it
// returns false.
func (w *worker) cut(spans []model.Span, limit int) (n int, smaller bool) {
	total := w.enc.counts.total()
	for {
		n = shorten(spans, max(1, limit))
		left := 0
		for _, sp := range spans[:n] {
			left += sp.Samples()
		}
		if left < total {
			return n, true
		}
		if limit <= 1 {
			return n, false
		}
		limit = 1
	}
}

func shorten(spans []model.Span, limit int) int {
	left := limit
	i := slices.IndexFunc(spans, func(sp model.Span) bool {
		left -= sp.Samples()
		return left < 0
	})
	switch i {
	case -1:
		return len(spans)
	case 0:
		spans[0] = spans[0].Prefix(limit)
		return 1
	}
	return i
}

// sleep waits and reports whether ctx still runs.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
