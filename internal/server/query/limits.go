package query

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
)

// limited runs the queries of one workspace on the shared engine, so many at
// once, and names the setting behind a limit that a query ran into.
type limited struct {
	engine promql.QueryEngine
	cfg    Config
	slots  chan struct{}
}

func newLimited(engine promql.QueryEngine, cfg Config) *limited {
	return &limited{engine: engine, cfg: cfg, slots: make(chan struct{}, cfg.MaxConcurrent)}
}

// NewInstantQuery implements promql.QueryEngine.
func (l *limited) NewInstantQuery(ctx context.Context, q storage.Queryable, opts promql.QueryOpts, qs string, ts time.Time) (promql.Query, error) {
	query, err := l.engine.NewInstantQuery(ctx, q, opts, qs, ts)
	return l.wrap(query, err)
}

// NewRangeQuery implements promql.QueryEngine.
func (l *limited) NewRangeQuery(ctx context.Context, q storage.Queryable, opts promql.QueryOpts, qs string, start, end time.Time, step time.Duration) (promql.Query, error) {
	query, err := l.engine.NewRangeQuery(ctx, q, opts, qs, start, end, step)
	return l.wrap(query, err)
}

func (l *limited) wrap(q promql.Query, err error) (promql.Query, error) {
	if err != nil {
		return nil, err
	}
	return &limitedQuery{Query: q, l: l}, nil
}

type limitedQuery struct {
	promql.Query
	l *limited
}

// Exec implements promql.Query.
func (q *limitedQuery) Exec(ctx context.Context) *promql.Result {
	wait, cancel := context.WithTimeout(ctx, q.l.cfg.Timeout)
	defer cancel()
	select {
	case q.l.slots <- struct{}{}:
		defer func() { <-q.l.slots }()
	case <-wait.Done():
	}
	// A slot that came free at the last moment is of no use any more.
	if wait.Err() != nil {
		if errors.Is(ctx.Err(), context.Canceled) {
			return &promql.Result{Err: promql.ErrQueryCanceled("query queue")}
		}
		return &promql.Result{Err: fmt.Errorf("query timed out in the queue: %d queries of this workspace run at once (settings query.max_concurrent, query.timeout)", q.l.cfg.MaxConcurrent)}
	}
	res := q.Query.Exec(wait)
	res.Err = q.l.explain(res.Err)
	return res
}

// explain adds to a limit's error which setting it is. A query that takes too
// long is the query's fault and answered as such, 422 as Managed Prometheus
// does, and not as the server's, which would be retried.
func (l *limited) explain(err error) error {
	var timeout promql.ErrQueryTimeout
	var samples promql.ErrTooManySamples
	switch {
	case errors.As(err, &timeout):
		return fmt.Errorf("%s after %s - consider simplifying your query (setting query.timeout)", err.Error(), l.cfg.Timeout)
	case errors.As(err, &samples):
		return promql.ErrTooManySamples(fmt.Sprintf("%s (limit %d, setting query.max_samples)", string(samples), l.cfg.MaxSamples))
	}
	return err
}
