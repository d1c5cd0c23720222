package engine

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/schema"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/annotations"
)

// evaluation computes one part. One goroutine reads series and their chunks from
// the storage, whose readers are not made for more, and collects them in batches.
// Workers decode the batches and compute the values at each step, and the
// results are put together in the order in which the series came, so that sums
// come out as they do one by one.
type evaluation struct {
	*part
	steps  steps
	counts *counts
	limit  int // of values in the result

	groups     *groups // nil when there is no aggregation
	series     []computed
	seen       map[uint64]struct{} // hashes of the result's labels, when they may repeat
	warnings   annotations.Annotations
	groupNames bool // groups are by labels that the function drops

	batchSeries int
	free        chan *batch
	work        chan *batch // nil until there are workers

	mu        sync.Mutex
	finished  map[int]*batch // by number; those that wait for earlier ones
	next      int            // number of the batch to be put into the result
	combining bool
	err       error // the first one
}

// batch is some series on their way.
type batch struct {
	number int
	series []batchSeries
	chunks []chunkenc.Chunk
	values []float64 // of all series, in turn, one for each step
	counts *counts
	state  workState
}

type batchSeries struct {
	labels labels.Labels
	chunks int // how many of the batch's
	group  uint64
	hash   uint64
	empty  bool // no step has a value
}

// maxBatchValues bounds a batch so that its values stay in a processor's cache.
const (
	maxBatchValues = 16 << 10
	maxBatchSeries = 64
)

func newEvaluation(p *part, s steps, c *counts, limit int, delayedNames bool) *evaluation {
	ev := &evaluation{part: p, steps: s, counts: c, limit: limit, finished: make(map[int]*batch),
		batchSeries: min(max(maxBatchValues/s.n, 1), maxBatchSeries)}
	if p.agg != nil {
		ev.groups = newGroups(p.agg.Op, s.n)
		ev.groupNames = p.dropsName() && !p.agg.Without && slices.ContainsFunc(p.agg.Grouping, schema.IsMetadataLabel)
	}
	if p.dropsName() && !p.oneName() && !delayedNames {
		ev.seen = make(map[uint64]struct{})
	}
	return ev
}

// run computes the part. An error is why it cannot be.
func (ev *evaluation) run(ctx context.Context, querier storage.ChunkQuerier, tokens chan struct{}) error {
	ctx, cancel := context.WithCancel(ctx)
	set := querier.Select(ctx, false, &ev.hints, ev.selector.LabelMatchers...)
	// More than a batch each for all who may be at work, and one for each in the queue.
	most := 3 * (cap(tokens) + 1)
	ev.free = make(chan *batch, most)
	ev.free <- ev.newBatch()
	made := 1
	var workers sync.WaitGroup
	stop := func() {
		if ev.work != nil {
			close(ev.work)
			workers.Wait()
			ev.work = nil
		}
	}
	defer func() { cancel(); stop() }()
	var it chunks.Iterator
	b, number := <-ev.free, 0
	for set.Next() {
		var err error
		if it, err = ev.read(b, set.At(), it); err != nil {
			return err
		}
		if len(b.series) < ev.batchSeries {
			continue
		}
		if err := ev.stopped(ctx); err != nil {
			return err
		}
		if ev.work == nil && cap(tokens) > 0 {
			ev.hire(ctx, tokens, &workers)
		}
		b.number = number
		number++
		ev.dispatch(ctx, b)
		select {
		case b = <-ev.free:
		default:
			if made < most {
				b = ev.newBatch()
				made++
			} else {
				b = <-ev.free
			}
		}
	}
	if err := set.Err(); err != nil {
		return fmt.Errorf("select series: %w", err)
	}
	b.number = number
	ev.compute(ctx, b)
	stop()
	ev.warnings.Merge(set.Warnings())
	return ev.stopped(ctx)
}

// stopped returns why the evaluation cannot go on, if it cannot.
func (ev *evaluation) stopped(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	ev.mu.Lock()
	defer ev.mu.Unlock()
	return ev.err
}

func (ev *evaluation) fail(err error) {
	ev.mu.Lock()
	defer ev.mu.Unlock()
	if ev.err == nil {
		ev.err = err
	}
}

// hire starts as many workers as there are tokens for just now.
func (ev *evaluation) hire(ctx context.Context, tokens chan struct{}, workers *sync.WaitGroup) {
	for range cap(tokens) {
		select {
		case tokens <- struct{}{}:
		default:
			return
		}
		if ev.work == nil {
			ev.work = make(chan *batch, cap(tokens))
		}
		work := ev.work
		workers.Go(func() {
			defer func() { <-tokens }()
			for b := range work {
				ev.compute(ctx, b)
			}
		})
	}
}

// dispatch gives a batch to a worker, or does the work itself if all have enough.
func (ev *evaluation) dispatch(ctx context.Context, b *batch) {
	if ev.work != nil {
		select {
		case ev.work <- b:
			return
		default:
		}
	}
	ev.compute(ctx, b)
}

func (ev *evaluation) newBatch() *batch {
	return &batch{series: make([]batchSeries, 0, ev.batchSeries), counts: ev.counts.child()}
}

// read adds a series to the batch. Chunks are decoded later.
func (ev *evaluation) read(b *batch, s storage.ChunkSeries, it chunks.Iterator) (chunks.Iterator, error) {
	it = s.Iterator(it)
	first := len(b.chunks)
	for it.Next() {
		m := it.At()
		if m.MinTime > ev.hints.End || m.MaxTime < ev.hints.Start {
			continue
		}
		switch m.Chunk.Encoding() {
		case chunkenc.EncXOR, chunkenc.EncXOR2:
		default:
			return it, leftHistograms
		}
		b.chunks = append(b.chunks, m.Chunk)
	}
	if err := it.Err(); err != nil {
		return it, fmt.Errorf("read chunks: %w", err)
	}
	if n := len(b.chunks) - first; n > 0 {
		b.series = append(b.series, batchSeries{labels: s.Labels(), chunks: n})
	}
	return it, nil
}

// compute decodes a batch, computes its values and hands it over.
func (ev *evaluation) compute(ctx context.Context, b *batch) {
	if err := ev.stopped(ctx); err == nil {
		if err := ev.values(ctx, b); err != nil {
			ev.fail(err)
		}
	}
	ev.finish(b)
}

// values computes the values of all series of a batch.
func (ev *evaluation) values(ctx context.Context, b *batch) error {
	n := ev.steps.n
	if need := len(b.series) * n; cap(b.values) < need {
		b.values = make([]float64, max(need, ev.batchSeries*n))
	}
	b.values = b.values[:len(b.series)*n]
	w := &b.state
	used := 0
	for i := range b.series {
		s := &b.series[i]
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := w.decode(b.chunks[used:used+s.chunks], ev.hints.Start, ev.hints.End, ev.call != nil); err != nil {
			return err
		}
		used += s.chunks
		points, values := w.points, b.values[i*n:(i+1)*n]
		s.empty = len(points) == 0
		if s.empty {
			continue
		}
		some, err := w.apply(ctx, ev, s.labels, points, values, b.counts)
		if err != nil {
			return err
		}
		s.empty = !some
		if some {
			if err := ev.identify(s, w); err != nil {
				return err
			}
		}
	}
	return nil
}

// identify finds the group of a series, and what its labels are without a name.
func (ev *evaluation) identify(s *batchSeries, w *workState) error {
	if ev.dropsName() && (s.labels.Has("__type__") || s.labels.Has("__unit__")) {
		return leftMetadata
	}
	if ev.seen != nil {
		s.hash, w.buf = s.labels.HashWithoutLabels(w.buf)
	}
	switch {
	case ev.agg == nil:
		if ev.dropsName() {
			s.labels = s.labels.DropReserved(schema.IsMetadataLabel)
		}
	case ev.agg.Without:
		s.group, w.buf = s.labels.HashWithoutLabels(w.buf, ev.agg.Grouping...)
	case len(ev.agg.Grouping) > 0:
		if ev.groupNames {
			s.labels = s.labels.DropReserved(schema.IsMetadataLabel)
		}
		s.group, w.buf = s.labels.HashForLabels(w.buf, ev.agg.Grouping...)
	}
	return nil
}

// finish puts a batch, and those that waited for it, into the result. Only one
// goroutine does so at a time; the others leave their batches and go on.
func (ev *evaluation) finish(b *batch) {
	ev.mu.Lock()
	defer ev.mu.Unlock()
	ev.finished[b.number] = b
	if ev.combining {
		return
	}
	ev.combining = true
	for {
		b := ev.finished[ev.next]
		if b == nil {
			break
		}
		delete(ev.finished, ev.next)
		ev.next++
		if ev.err == nil {
			ev.mu.Unlock()
			err := ev.combine(b)
			ev.mu.Lock()
			if ev.err == nil {
				ev.err = err
			}
		}
		b.series, b.chunks = b.series[:0], b.chunks[:0]
		ev.free <- b // there is room for all
	}
	ev.combining = false
}

// combine adds a batch to the result.
func (ev *evaluation) combine(b *batch) error {
	n := ev.steps.n
	taken := false
	for i := range b.series {
		s := &b.series[i]
		if s.empty {
			continue
		}
		if ev.seen != nil {
			if _, repeated := ev.seen[s.hash]; repeated {
				return leftDuplicates
			}
			ev.seen[s.hash] = struct{}{}
		}
		values := b.values[i*n : (i+1)*n : (i+1)*n]
		if ev.groups != nil {
			ev.groups.add(s.group, values, func() labels.Labels { return ev.groupLabels(s.labels) })
		} else {
			ev.series = append(ev.series, computed{s.labels, values})
			taken = true
		}
		if ev.size()*n > ev.limit {
			return leftTooMany
		}
	}
	if taken {
		b.values = nil
	}
	ev.counts.merge(b.counts)
	b.counts.reset()
	ev.warnings.Merge(b.state.warnings)
	b.state.warnings = nil
	return nil
}

func (ev *evaluation) size() int {
	if ev.groups != nil {
		return len(ev.groups.all)
	}
	return len(ev.series)
}

// result returns what was computed.
func (ev *evaluation) result() *result {
	r := &result{steps: ev.steps, series: ev.series, warnings: ev.warnings}
	if ev.groups != nil {
		r.series = ev.groups.finish()
	}
	if ev.quantile != nil {
		r.quantiles(ev.quantile)
	}
	return r
}

// counts are how many samples a query was about: at each step all in the window,
// and those that were not in the window of the step before.
type counts struct {
	samples, read     int64
	samplesAt, readAt []int64 // by step; nil if nobody asks
	results           int64   // values that stand for them
	resultsAt         []int64
}

func newCounts(n int, perStep bool) *counts {
	c := new(counts)
	if perStep {
		c.samplesAt, c.readAt, c.resultsAt = make([]int64, n), make([]int64, n), make([]int64, n)
	}
	return c
}

func (c *counts) child() *counts { return newCounts(len(c.samplesAt), c.samplesAt != nil) }

func (c *counts) at(step int, samples, read int64) {
	c.samples += samples
	c.read += read
	if c.samplesAt != nil {
		c.samplesAt[step] += samples
		c.readAt[step] += read
	}
}

func (c *counts) merge(o *counts) {
	c.samples += o.samples
	c.read += o.read
	for i := range o.samplesAt {
		c.samplesAt[i] += o.samplesAt[i]
		c.readAt[i] += o.readAt[i]
	}
}

func (c *counts) reset() {
	c.samples, c.read = 0, 0
	clear(c.samplesAt)
	clear(c.readAt)
}

// subtract notes the values of a result that the inner engine reads. It will
// count each as a sample, which it is not.
func (c *counts) subtract(r *result) {
	for _, s := range r.series {
		for i, v := range s.values {
			if math.Float64bits(v) == absent {
				continue
			}
			c.results++
			if c.resultsAt != nil {
				c.resultsAt[i]++
			}
		}
	}
}

// account corrects the statistics of a query that has run.
func (q *query) account(c *counts) {
	s := q.Stats().Samples
	if c == nil || s == nil {
		return
	}
	s.TotalSamples += c.samples - c.results
	s.SamplesRead += c.read - c.results
	for i := range s.TotalSamplesPerStep {
		s.TotalSamplesPerStep[i] += c.samplesAt[i] - c.resultsAt[i]
		s.SamplesReadPerStep[i] += c.readAt[i] - c.resultsAt[i]
	}
}

// workState is what a worker keeps from series to series.
type workState struct {
	iterator chunkenc.Iterator
	points   []promql.FPoint
	resets   []int
	buf      []byte
	helper   *promql.EvalNodeHelper
	matrix   promql.Matrix
	vectors  []promql.Vector
	warnings annotations.Annotations
}
