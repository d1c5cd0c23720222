// Package engine evaluates PromQL. It is Prometheus' own engine, with one thing
// done before it starts: the parts of a query that touch most samples, which
// are functions over ranges and aggregations of selectors, are computed here,
// many series at once and without holding their samples, and Prometheus'
// engine then finds their results where the selectors were. The results are the
// same to the last bit, because values are computed by the same operations in
// the same order; whatever is not certain to be so, such as native histograms,
// is left to Prometheus' engine. docs/adr/0012-query-engine.md says why.
package engine

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/timestamp"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"
)

// Config of an Engine.
type Config struct {
	// Engine is what evaluates all that is not computed ahead.
	Engine *promql.Engine
	// DelayedNames and StartTimestamps say that Engine was made with
	// EnableDelayedNameRemoval and with UseStartTimestamps. Fewer parts of queries
	// can be computed ahead then.
	DelayedNames, StartTimestamps bool
	// MaxSamples is how many values the results computed ahead may have in one
	// query. A query with more is left to Engine, which has a limit of its own.
	MaxSamples int
	// Workers is how many goroutines all queries together may have besides their
	// own. Zero means one for each processor but one, and negative none.
	Workers int
	// Registerer takes the metrics. Nil means none are kept.
	Registerer prometheus.Registerer
}

// Engine implements promql.QueryEngine. It is safe for concurrent use.
type Engine struct {
	inner      *promql.Engine
	cfg        Config
	maxSamples int
	workers    chan struct{} // taken by whoever has a worker
	parts      *prometheus.CounterVec
}

// New returns an Engine.
func New(cfg Config) (*Engine, error) {
	if cfg.Engine == nil {
		return nil, errors.New("engine: no engine to evaluate what is not computed ahead")
	}
	if cfg.Workers == 0 {
		cfg.Workers = runtime.GOMAXPROCS(0) - 1
	}
	if cfg.MaxSamples <= 0 {
		cfg.MaxSamples = math.MaxInt
	}
	e := &Engine{inner: cfg.Engine, cfg: cfg, maxSamples: cfg.MaxSamples, workers: make(chan struct{}, max(cfg.Workers, 0)),
		parts: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "mangru_query_parts_total",
			Help: "Parts of queries that could be computed ahead of the engine, by result: ahead, or the reason why the engine computed them."}, []string{"result"})}
	if cfg.Registerer != nil {
		if err := cfg.Registerer.Register(e.parts); err != nil {
			return nil, fmt.Errorf("register metrics of the query engine: %w", err)
		}
	}
	return e, nil
}

// NewInstantQuery implements promql.QueryEngine.
func (e *Engine) NewInstantQuery(ctx context.Context, q storage.Queryable, opts promql.QueryOpts, qs string, ts time.Time) (promql.Query, error) {
	s := &substituting{Queryable: q}
	inner, err := e.inner.NewInstantQuery(ctx, s, opts, qs, ts)
	return e.wrap(inner, err, s)
}

// NewRangeQuery implements promql.QueryEngine.
func (e *Engine) NewRangeQuery(ctx context.Context, q storage.Queryable, opts promql.QueryOpts, qs string, start, end time.Time, step time.Duration) (promql.Query, error) {
	s := &substituting{Queryable: q}
	inner, err := e.inner.NewRangeQuery(ctx, s, opts, qs, start, end, step)
	return e.wrap(inner, err, s)
}

func (e *Engine) wrap(inner promql.Query, err error, s *substituting) (promql.Query, error) {
	if err != nil {
		return nil, err
	}
	return &query{Query: inner, engine: e, storage: s}, nil
}

// query is a query of the inner engine, of which some parts are computed ahead.
type query struct {
	promql.Query
	engine  *Engine
	storage *substituting

	mu     sync.Mutex
	cancel context.CancelFunc // while it runs
}

// Cancel implements promql.Query.
func (q *query) Cancel() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.cancel != nil {
		q.cancel()
	}
}

// Exec implements promql.Query.
func (q *query) Exec(ctx context.Context) *promql.Result {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	q.mu.Lock()
	q.cancel = cancel
	q.mu.Unlock()
	stmt, ok := q.Statement().(*parser.EvalStmt)
	if !ok {
		return q.Query.Exec(ctx)
	}
	chunks, ok := q.storage.Queryable.(storage.ChunkQueryable)
	parts, derived := q.engine.plan(stmt)
	if !ok || len(parts) == 0 {
		return q.Query.Exec(ctx)
	}
	defer q.storage.close()
	counts, err := q.ahead(ctx, stmt, chunks, parts, derived)
	if err != nil {
		return &promql.Result{Err: err}
	}
	res := q.Query.Exec(ctx)
	q.account(counts)
	return res
}

// ahead computes parts and puts their results in their places. What cannot be
// computed here stays as it is; an error is that of the context.
func (q *query) ahead(ctx context.Context, stmt *parser.EvalStmt, chunks storage.ChunkQueryable, parts []*part, all []derived) (*counts, error) {
	mint, maxt := promql.FindMinMaxTime(stmt)
	// The inner engine gets a view of the data of the same moment.
	if err := q.storage.open(mint, maxt); err != nil {
		return nil, nil // it will find the error itself
	}
	querier, err := chunks.ChunkQuerier(mint, maxt)
	if err != nil {
		return nil, nil // as above
	}
	defer func() { _ = querier.Close() }() // only read
	steps := stepsOf(stmt)
	total := newCounts(steps.n, q.Stats().Samples.StepTrackingEnabled())
	left := q.engine.maxSamples
	for _, p := range parts {
		ev := newEvaluation(p, steps, total.child(), left, q.engine.cfg.DelayedNames)
		err := ev.run(ctx, querier, q.engine.workers)
		var reason leftOut
		switch {
		case ctx.Err() != nil:
			return nil, contextError(ctx.Err())
		case errors.As(err, &reason):
			q.engine.parts.WithLabelValues(string(reason)).Inc()
			continue
		case err != nil:
			q.engine.parts.WithLabelValues("storage_error").Inc()
			continue
		}
		q.engine.parts.WithLabelValues("ahead").Inc()
		res := ev.result()
		left -= len(res.series) * steps.n
		p.replace(q.storage.add(res, p.node.PositionRange()))
		total.merge(ev.counts)
	}
	for _, d := range all {
		res := q.derive(ctx, d.node, left)
		switch {
		case ctx.Err() != nil:
			return nil, contextError(ctx.Err())
		case res == nil:
			q.engine.parts.WithLabelValues("not_derived").Inc()
			continue
		}
		q.engine.parts.WithLabelValues("derived").Inc()
		left -= len(res.series) * steps.n
		d.replace(q.storage.add(res, d.node.PositionRange()))
	}
	for _, res := range q.storage.results {
		if !res.used {
			total.subtract(res)
		}
	}
	return total, nil
}

// contextError says what the inner engine says when its context ends.
func contextError(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return promql.ErrQueryTimeout("expression evaluation")
	}
	return promql.ErrQueryCanceled("expression evaluation")
}

// leftOut is why a part is left to the inner engine.
type leftOut string

// Error implements error.
func (l leftOut) Error() string { return string(l) }

const (
	leftHistograms leftOut = "native_histograms"
	leftDuplicates leftOut = "duplicate_series" // an error that the inner engine words
	leftMetadata   leftOut = "metadata_labels"
	leftTooMany    leftOut = "too_many_samples"
)

// steps are the times that a query is evaluated at, in milliseconds.
type steps struct {
	start, interval int64
	n               int
}

func stepsOf(stmt *parser.EvalStmt) steps {
	s := steps{start: timestamp.FromTime(stmt.Start), interval: max(1, stmt.Interval.Milliseconds())}
	s.n = int((timestamp.FromTime(stmt.End)-s.start)/s.interval) + 1
	return s
}

// result are the series that a part stands for.
type result struct {
	steps    steps
	series   []computed
	warnings annotations.Annotations
	used     bool // it is part of another result, and nobody else reads it
}
