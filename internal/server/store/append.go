package store

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
)

// Appender returns an appender for one request. A sample whose Commit returned
// nil survives the process, unless it is among those that LeftOut counts.
func (d *DB) Appender(ctx context.Context) storage.Appender {
	return &appender{Appender: d.DB.Appender(ctx), commit: commit{db: d}}
}

// AppenderV2 is Appender by the other interface.
func (d *DB) AppenderV2(ctx context.Context) storage.AppenderV2 {
	return &appenderV2{AppenderV2: d.DB.AppenderV2(ctx), commit: commit{db: d}}
}

// commit keeps the books of an appender, and notes failed commits.
type commit struct {
	db      *DB
	taken   int
	leftOut int
}

// LeftOut returns how many samples Append took and Commit then left out without
// an error. The database does that when it finds only at commit that a sample
// is a repetition, is in conflict with another one, or has fallen behind.
func (c *commit) LeftOut() int { return c.leftOut }

// run commits. Commits of a database go one by one, so that what its counter
// moves by belongs to one of them; they would queue for its log anyway.
func (c *commit) run(f, rollback func() error) error {
	c.db.commitMu.Lock()
	defer c.db.commitMu.Unlock()
	// After a torn record nothing may follow it in the log: a replay ends there.
	if c.db.failed.Load() {
		_ = rollback() // of what is in memory only
		return &UnavailableError{"another write to the workspace failed; it takes samples again shortly"}
	}
	before := c.db.appended.total()
	if err := f(); err != nil {
		c.db.failed.Store(true)
		return &UnavailableError{fmt.Sprintf("samples could not be stored: %v", err)}
	}
	c.leftOut = c.taken - int(c.db.appended.total()-before)
	return nil
}

func (c *commit) take(ref storage.SeriesRef, err error) (storage.SeriesRef, error) {
	if err == nil {
		c.taken++
	}
	return ref, err
}

type appender struct {
	storage.Appender
	commit
}

// Append implements storage.Appender.
func (a *appender) Append(ref storage.SeriesRef, l labels.Labels, t int64, v float64) (storage.SeriesRef, error) {
	ref, err := a.Appender.Append(ref, l, t, v)
	if err == nil {
		a.taken++
	}
	return ref, err
}

// AppendSTZeroSample implements storage.Appender.
func (a *appender) AppendSTZeroSample(ref storage.SeriesRef, l labels.Labels, t, st int64) (storage.SeriesRef, error) {
	return a.take(a.Appender.AppendSTZeroSample(ref, l, t, st))
}

// AppendHistogram implements storage.Appender.
func (a *appender) AppendHistogram(ref storage.SeriesRef, l labels.Labels, t int64, h *histogram.Histogram, fh *histogram.FloatHistogram) (storage.SeriesRef, error) {
	return a.take(a.Appender.AppendHistogram(ref, l, t, h, fh))
}

// AppendHistogramSTZeroSample implements storage.Appender.
func (a *appender) AppendHistogramSTZeroSample(ref storage.SeriesRef, l labels.Labels, t, st int64, h *histogram.Histogram, fh *histogram.FloatHistogram) (storage.SeriesRef, error) {
	return a.take(a.Appender.AppendHistogramSTZeroSample(ref, l, t, st, h, fh))
}

// AppendExemplar implements storage.Appender.
func (a *appender) AppendExemplar(ref storage.SeriesRef, l labels.Labels, e exemplar.Exemplar) (storage.SeriesRef, error) {
	if err := a.db.growExemplars(); err != nil {
		return 0, err
	}
	return a.Appender.AppendExemplar(ref, l, e)
}

// Commit implements storage.Appender.
func (a *appender) Commit() error { return a.run(a.Appender.Commit, a.Rollback) }

// GetRef implements storage.GetRef.
func (a *appender) GetRef(lset labels.Labels, hash uint64) (storage.SeriesRef, labels.Labels) {
	return getRef(a.Appender, lset, hash)
}

func getRef(app any, lset labels.Labels, hash uint64) (storage.SeriesRef, labels.Labels) {
	if g, ok := app.(storage.GetRef); ok {
		return g.GetRef(lset, hash)
	}
	return 0, labels.EmptyLabels()
}

type appenderV2 struct {
	storage.AppenderV2
	commit
}

// Append implements storage.AppenderV2.
func (a *appenderV2) Append(ref storage.SeriesRef, l labels.Labels, st, t int64, v float64, h *histogram.Histogram, fh *histogram.FloatHistogram, opts storage.AOptions) (storage.SeriesRef, error) {
	if len(opts.Exemplars) > 0 {
		if err := a.db.growExemplars(); err != nil {
			return 0, err
		}
	}
	return a.take(a.AppenderV2.Append(ref, l, st, t, v, h, fh, opts))
}

// Commit implements storage.AppenderV2.
func (a *appenderV2) Commit() error { return a.run(a.AppenderV2.Commit, a.Rollback) }

// GetRef implements storage.GetRef.
func (a *appenderV2) GetRef(lset labels.Labels, hash uint64) (storage.SeriesRef, labels.Labels) {
	return getRef(a.AppenderV2, lset, hash)
}

const appendedSamples = "prometheus_tsdb_head_samples_appended_total"

// appendedCounter reads how many samples a database has taken in, from the
// metric where it counts them.
type appendedCounter struct {
	mu  sync.Mutex
	out dto.Metric
	all []prometheus.Counter // by type of sample
}

func (a *appendedCounter) total() float64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	sum := 0.0
	for _, c := range a.all {
		if c.Write(&a.out) == nil {
			sum += a.out.GetCounter().GetValue()
		}
	}
	return sum
}

// catchingRegisterer looks out for the counter of appended samples among what
// a database registers.
type catchingRegisterer struct {
	prometheus.Registerer
	appended *appendedCounter
}

// Register implements prometheus.Registerer.
func (r *catchingRegisterer) Register(c prometheus.Collector) error {
	r.look(c)
	return r.Registerer.Register(c)
}

// MustRegister implements prometheus.Registerer.
func (r *catchingRegisterer) MustRegister(cs ...prometheus.Collector) {
	for _, c := range cs {
		r.look(c)
	}
	r.Registerer.MustRegister(cs...)
}

func (r *catchingRegisterer) look(c prometheus.Collector) {
	vec, ok := c.(*prometheus.CounterVec)
	if !ok {
		return
	}
	descs := make(chan *prometheus.Desc, 1)
	vec.Describe(descs)
	if strings.Contains((<-descs).String(), `"`+appendedSamples+`"`) {
		for _, typ := range []string{"float", "histogram"} {
			r.appended.all = append(r.appended.all, vec.WithLabelValues(typ))
		}
	}
}
