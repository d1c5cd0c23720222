package scrape

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/prometheus/model/labels"
)

// Tolerance within which a scrape that came late keeps the time at which it was
// due, which compresses better.
const maxTolerance = 2 * time.Millisecond

// spec is what a target's goroutine is to do. It is not changed once made.
type spec struct {
	Target
	plan   *plan
	forced error // scrape nothing and report this
	public labels.Labels
}

// covers reports whether a scrape that is due at a time is ours to make.
func (s *spec) covers(due time.Time) bool {
	return !due.Before(s.From) && (s.Until.IsZero() || due.Before(s.Until))
}

func (s *spec) same(o *spec) bool {
	sameErr := (s.forced == nil) == (o.forced == nil) && (s.forced == nil || s.forced.Error() == o.forced.Error())
	return s.plan == o.plan && sameErr && s.URL == o.URL && s.Interval == o.Interval &&
		s.Timeout == o.Timeout && s.From.Equal(o.From) && s.Until.Equal(o.Until) && labels.Equal(s.Labels, o.Labels) &&
		labels.Equal(s.Discovered, o.Discovered)
}

// target is one place to scrape, with its goroutine.
type target struct {
	id  uint64
	m   *Manager
	log *slog.Logger

	changed chan struct{} // signals that spec has changed

	mu    sync.Mutex
	spec  *spec // nil: the target is gone
	moved bool  // to another collector
	heir  bool  // of another collector, which has scraped it before
	state scrapeResult

	work  sync.Mutex // guards cache
	cache *cache

	// For the goroutine alone.
	fetcher fetcher
	last    *spec     // the one of the last scrape
	due     time.Time // of the last scrape
}

func (t *target) current() *spec {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.spec
}

// update replaces the spec.
func (t *target) update(s *spec) {
	t.mu.Lock()
	t.spec, t.moved = s, false
	t.heir = t.heir || !s.From.IsZero()
	t.mu.Unlock()
	t.signal()
}

// inherits reports whether another collector had the target before this one.
func (t *target) inherits() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.heir
}

// end takes the spec away; moved says that another collector goes on.
func (t *target) end(moved bool) {
	t.mu.Lock()
	news := t.spec != nil || t.moved != moved
	t.spec, t.moved = nil, moved
	t.mu.Unlock()
	if news {
		t.signal()
	}
}

func (t *target) signal() {
	select {
	case t.changed <- struct{}{}:
	default:
	}
}

func (t *target) run(ctx context.Context) {
	for ctx.Err() == nil {
		if sp := t.current(); sp != nil {
			t.cycle(ctx, sp)
		} else if t.linger(ctx) {
			return
		}
	}
}

// wait returns true when d has passed, false when the spec has changed or ctx
// has ended.
func (t *target) wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.changed:
		return false
	case <-timer.C:
		return true
	}
}

// cycle scrapes in the rhythm of the spec until the target is gone or has
// another rhythm.
func (t *target) cycle(ctx context.Context, sp *spec) {
	now := time.Now().Round(0)
	due := t.nextDue(now, sp.Interval)
	if within := t.m.cfg.FirstWithin; due.Sub(now) > within && within > 0 && t.last == nil && !t.inherits() {
		early := due.Sub(now) % within
		if !t.wait(ctx, early) {
			return
		}
		t.due = time.Now().Round(0)
		t.scrape(sp, t.due)
		due = t.nextDue(time.Now().Round(0), sp.Interval)
	}
	timer := time.NewTimer(time.Until(due))
	defer timer.Stop()
	for {
		var goOn bool
		if sp, goOn = t.await(ctx, timer, sp); !goOn && time.Now().Round(0).Before(due) {
			return
		}
		// One that is due is made, whatever has come in the meantime: who goes on
		// with the target begins with the next one.
		at := time.Now().Round(0)
		if at.Sub(due).Abs() <= min(sp.Interval/100, maxTolerance) {
			at = due
		}
		if sp.covers(due) {
			t.due = dueBefore(due, at, sp.Interval)
			t.scrape(sp, at)
		}
		if !goOn {
			return
		}
		due = t.dueAfter(due, time.Now().Round(0), sp.Interval)
		timer.Reset(time.Until(due))
	}
}

// await waits for the timer and returns the spec as it is then. It reports false
// as soon as the target is gone or has another rhythm, or ctx has ended.
func (t *target) await(ctx context.Context, timer *time.Timer, sp *spec) (last *spec, goOn bool) {
	for {
		select {
		case <-ctx.Done():
			return sp, false
		case <-t.changed:
			next := t.current()
			if next == nil || next.Interval != sp.Interval {
				return sp, false
			}
			sp = next
		case <-timer.C:
			return sp, true
		}
	}
}

// nextDue returns when the first scrape from a time on is due: for all collectors
// that share the target at the same times of the clock.
func (t *target) nextDue(now time.Time, interval time.Duration) time.Time {
	return now.Add(offset(t.id, t.m.cfg.OffsetSeed, interval, now))
}

// dueAfter returns when the scrape after the one that was due at a time is due.
// Of those that were missed it is the last. Where the clock has been set back by
// more than the interval the times begin anew.
func (t *target) dueAfter(due, now time.Time, interval time.Duration) time.Time {
	next := due.Add(interval)
	switch late := now.Sub(next); {
	case late >= interval:
		return next.Add(late.Truncate(interval))
	case late < -2*interval:
		return t.nextDue(now, interval)
	}
	return next
}

// dueBefore returns the last time at which a scrape was due that takes place at a
// time: due, unless the scrape is so late that another one was due since then, or
// the clock has been set back. A mark at the next time it is due comes after it.
func dueBefore(due, at time.Time, interval time.Duration) time.Time {
	late := at.Sub(due)
	if late < 0 {
		return at
	}
	last := due.Add(late.Truncate(interval))
	if next := last.Add(interval); next.UnixMilli() == at.UnixMilli() {
		return next // samples have whole milliseconds
	}
	return last
}

// linger waits for the target to come back. It returns true when it has not. If
// no other collector has it either, its series are then marked stale, at the time
// of the scrape that did not take place.
func (t *target) linger(ctx context.Context) bool {
	t.mu.Lock()
	moved := t.moved
	t.mu.Unlock()
	if t.last == nil {
		return t.m.retire(t, nil, time.Time{})
	}
	interval := t.last.Interval
	stale := t.due.Add(interval)
	if moved {
		// Who has it now knows its series from this time on. If it is gone before,
		// only this one does.
		if !t.wait(ctx, time.Until(stale)) {
			return ctx.Err() != nil
		}
		return t.m.retire(t, nil, time.Time{})
	}
	if t.wait(ctx, time.Until(stale.Add(interval+interval/10))) {
		return t.m.retire(t, t.last, stale)
	}
	if ctx.Err() == nil {
		return false
	}
	// This collector stops, so nobody else will say that the target is gone.
	if now := time.Now().Round(0); now.Before(stale) {
		stale = now
	}
	return t.m.retire(t, t.last, stale)
}

// scrape does one scrape and hands on its frame.
func (t *target) scrape(sp *spec, at time.Time) {
	ctx := t.m.ctx
	if hold := t.m.cfg.Hold; hold != nil && hold() {
		t.m.metrics.scrapes.WithLabelValues(resultHeld).Inc()
		return
	}
	start := time.Now()
	pg, err := t.fetch(ctx, sp)
	if ctx.Err() != nil {
		pg.release()
		return // the collector stops; this says nothing about the target
	}
	select {
	case t.m.tokens <- struct{}{}:
	case <-ctx.Done():
		pg.release()
		return
	}
	r := t.digest(sp, &pg, err, at, start)
	<-t.m.tokens
	pg.release()

	t.mu.Lock()
	t.state = r
	t.mu.Unlock()
	t.last = sp
	t.m.metrics.observe(&r)
	t.m.count(sp.plan.cfg.JobName, &r)
	if r.err != nil {
		t.log.Debug("scrape failed", "err", r.err)
	}
}

func (t *target) fetch(ctx context.Context, sp *spec) (page, error) {
	if sp.forced != nil {
		return page{}, sp.forced
	}
	ctx, cancel := context.WithTimeout(ctx, sp.Timeout)
	defer cancel()
	return t.fetcher.fetch(ctx, sp)
}

// digest turns a page, or the want of one, into a frame and appends it.
func (t *target) digest(sp *spec, pg *page, err error, at, start time.Time) scrapeResult {
	t.work.Lock()
	defer t.work.Unlock()
	c := t.cache
	c.use(sp)
	state := passStates.Get().(*passState)
	c.begin(at.UnixMilli(), state)
	r := scrapeResult{at: at, err: err}
	if r.err == nil {
		r.err = c.read(pg, &r)
	}
	r.tooLarge = errors.Is(r.err, errBodySizeLimit)
	switch {
	case r.err != nil:
		r.rolledBack = r.scraped
		for what := repeated; what < outcomes; what++ {
			r.rolledBack -= r.lost[what]
		}
		c.fail()
	case r.bytes == 0:
		c.fail()
	default:
		c.succeed()
	}
	r.duration = time.Since(start)
	c.report(&r)
	f := c.frame()
	r.framed = f.Samples()
	t.m.sink.Append(f)
	c.passState = nil
	passStates.Put(state)
	c.compact(func() uint64 { return t.m.generation.Add(1) })
	r.series = c.live
	return r
}

var passStates = sync.Pool{New: func() any {
	return &passState{builder: *labels.NewBuilder(labels.EmptyLabels())}
}}
