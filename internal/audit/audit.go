// Package audit keeps the record of who did what: one JSON line for each
// decision at the edge of the server, in files that are rotated and kept for a
// while.
//
// Recording never holds a request up. What does not fit into the queue, or what
// the disk refuses, is lost, and that is counted and noted in the record itself.
// Events hold names, never secrets.
package audit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
)

// Decision is how a request fared at the gate.
type Decision string

// The decisions. Lost is not about a request: the line says how many events
// before it are missing.
const (
	Allow Decision = "allow"
	Deny  Decision = "deny"
	Error Decision = "error"
	Lost  Decision = "lost"
)

// Event is one request and what became of it.
type Event struct {
	Time      time.Time
	RequestID string
	// Principal is the caller's ARN; empty when nobody was authenticated, and
	// AccessKeyID is then only what the caller claimed.
	Principal, AccessKeyID string
	// Subject is who a web identity token was for.
	Subject string
	Service string
	// Action such as aps:CreateWorkspace, Resource an ARN.
	Action, Resource string
	Source           netip.Addr
	UserAgent        string
	Decision         Decision
	// Status and Code of an answer that is an error, Reason in words.
	Status       int
	Code, Reason string
	// Policy is the one that decided, if that is known.
	Policy string
	// Data marks calls of the data plane, of which there are many.
	Data bool
}

// Config of a Log. Zero values take the defaults named at the fields.
type Config struct {
	// File is written to; when it is full it gets the time into its name, and
	// a new one is begun.
	File string
	// MaxSize in bytes and MaxAge say when a file is full.
	MaxSize int64         // 64 MiB
	MaxAge  time.Duration // 24h
	// MaxFiles and KeepFor say when full ones are removed.
	MaxFiles int           // 30
	KeepFor  time.Duration // 90d
	// DataPlane is the share of allowed data-plane calls that is recorded, from
	// 0, none, to 1, all. Denied and failed ones are recorded anyway.
	DataPlane float64
	// RefusalsPerSecond bounds the lines about callers that were not
	// authenticated, and as many about data-plane calls that were denied; both
	// come as fast as a client can send, and must not push out of the files what
	// has been done. A tenth of a minute's may come at once.
	RefusalsPerSecond int // 10
	// Queue is how many events may wait for the disk.
	Queue int // 8192
	// Registerer takes the counters. Nil means none are kept.
	Registerer prometheus.Registerer
	// Now is the clock for file names and ages. Nil means time.Now.
	Now func() time.Time
}

func (c *Config) setDefaults() error {
	if c.File == "" {
		return errors.New("audit: a file is required")
	}
	if c.DataPlane < 0 || c.DataPlane > 1 {
		return fmt.Errorf("audit: the share of data-plane calls is %g, allowed is 0 to 1", c.DataPlane)
	}
	if c.MaxSize < 0 || c.MaxAge < 0 || c.MaxFiles < 0 || c.KeepFor < 0 || c.RefusalsPerSecond < 0 || c.Queue < 0 {
		return errors.New("audit: sizes, ages and numbers must not be negative")
	}
	def(&c.MaxSize, 64<<20)
	def(&c.MaxAge, 24*time.Hour)
	def(&c.MaxFiles, 30)
	def(&c.KeepFor, 90*24*time.Hour)
	def(&c.RefusalsPerSecond, 10)
	def(&c.Queue, 8192)
	if c.Now == nil {
		c.Now = time.Now
	}
	return nil
}

func def[T comparable](v *T, to T) {
	var zero T
	if *v == zero {
		*v = to
	}
}

// Log writes events to files. Make it with Open, keep Run running, and Close it.
type Log struct {
	cfg    Config
	logger *slog.Logger
	queue  chan Event
	file   *file

	strangers, denials *rate.Limiter
	lost               atomic.Int64 // since the last line about it
	complained         time.Time    // when a failure was last logged

	written, skipped, suppressed, dropped, failed prometheus.Counter
}

// Open opens the file, so that what can fail fails now.
func Open(cfg Config, logger *slog.Logger) (*Log, error) {
	if err := cfg.setDefaults(); err != nil {
		return nil, err
	}
	events := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "mangru_audit_events_total",
		Help: "Events for the audit log: written, skipped by setting, suppressed as part of a flood, dropped for a full queue, failed to be written."},
		[]string{"result"})
	if cfg.Registerer != nil {
		if err := cfg.Registerer.Register(events); err != nil {
			return nil, fmt.Errorf("register audit metrics: %w", err)
		}
	}
	f, err := openFile(cfg)
	if err != nil {
		return nil, fmt.Errorf("audit log: %w", err)
	}
	limit := func() *rate.Limiter {
		return rate.NewLimiter(rate.Limit(cfg.RefusalsPerSecond), 6*cfg.RefusalsPerSecond)
	}
	return &Log{cfg: cfg, logger: logger, queue: make(chan Event, cfg.Queue), file: f, strangers: limit(), denials: limit(),
		written: events.WithLabelValues("written"), skipped: events.WithLabelValues("skipped"), suppressed: events.WithLabelValues("suppressed"),
		dropped: events.WithLabelValues("dropped"), failed: events.WithLabelValues("failed")}, nil
}

// Record takes an event without waiting. It is safe for concurrent use, also
// while and after Run ends.
func (l *Log) Record(e Event) {
	switch {
	case e.Principal == "" && e.Decision != Allow:
		if !l.strangers.Allow() {
			l.lose(l.suppressed)
			return
		}
	case e.Data && e.Decision == Allow:
		if l.cfg.DataPlane == 0 || l.cfg.DataPlane < 1 && rand.Float64() >= l.cfg.DataPlane {
			l.skipped.Inc() // by setting: not lost
			return
		}
	case e.Data:
		if !l.denials.Allow() {
			l.lose(l.suppressed)
			return
		}
	}
	select {
	case l.queue <- e:
	default:
		l.lose(l.dropped)
	}
}

func (l *Log) lose(why prometheus.Counter) {
	why.Inc()
	l.lost.Add(1)
}

// tidyEvery is how often ages are looked at when nothing happens.
const tidyEvery = time.Minute

// Run writes until ctx is done, and then what is queued.
func (l *Log) Run(ctx context.Context) error {
	tick := time.NewTicker(tidyEvery)
	defer tick.Stop()
	var b []byte
	for {
		select {
		case <-ctx.Done():
			for len(l.queue) > 0 {
				l.write(l.drain(b[:0]))
			}
			l.write(l.drain(b[:0])) // what was lost
			return l.file.sync()
		case <-tick.C:
			l.complain(l.file.tidy(), 0)
			l.write(l.drain(b[:0])) // lost ones show even when no event follows
		case e := <-l.queue:
			b = l.drain(appendEvent(b[:0], e))
			l.write(b)
		}
		if cap(b) > maxBatch {
			b = nil
		}
	}
}

// maxBatch bounds what is written at once, in bytes.
const maxBatch = 256 << 10

// drain appends the lines of what is queued and of what was lost.
func (l *Log) drain(b []byte) []byte {
	for len(b) < maxBatch {
		select {
		case e := <-l.queue:
			b = appendEvent(b, e)
			continue
		default:
		}
		break
	}
	if n := l.lost.Swap(0); n > 0 {
		b = appendLost(b, l.cfg.Now(), n)
	}
	return b
}

// write hands lines to the file. What it refuses is lost.
func (l *Log) write(lines []byte) {
	for len(lines) > 0 {
		n := 1
		for lines[n-1] != '\n' {
			n++
		}
		// Whole lines go together, up to the size of a file.
		count := 1
		for next := n; next < len(lines) && int64(next) < l.cfg.MaxSize; {
			for lines[next] != '\n' {
				next++
			}
			next++
			if int64(next) > l.cfg.MaxSize {
				break
			}
			n, count = next, count+1
		}
		if err := l.file.write(lines[:n]); err != nil {
			l.failed.Add(float64(count))
			l.lost.Add(int64(count))
			l.complain(err, count)
		} else {
			l.written.Add(float64(count))
		}
		lines = lines[n:]
	}
}

// complain logs a failure, once a minute at most.
func (l *Log) complain(err error, lost int) {
	if now := l.cfg.Now(); err != nil && now.Sub(l.complained) >= time.Minute {
		l.complained = now
		l.logger.Error("audit log", "err", err, "events", lost)
	}
}

// Close closes the file. Run has to have ended.
func (l *Log) Close() error {
	if n := len(l.queue); n > 0 {
		l.dropped.Add(float64(n))
		l.logger.Warn("audit log closed with events waiting", "events", n)
	}
	return l.file.close()
}
