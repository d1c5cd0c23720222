package query

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
)

// request is what is known of a request while it is served. It travels in the
// context, because the way to the engine is Prometheus'.
type request struct {
	queries []ran // those that were evaluated
	// warnAt and failAt are how many samples a query may process before it is
	// answered with a warning, or refused; 0 means any number.
	warnAt, failAt int64
}

// ran is what evaluating a query took.
type ran struct {
	samples, read int64
	peak          int
	took          time.Duration
	err           error
}

type requestKey struct{}

func requestOf(ctx context.Context) *request {
	r, _ := ctx.Value(requestKey{}).(*request)
	return r
}

// tracked evaluates queries on the shared engine, notes what they took and names
// the setting behind a limit that a query ran into.
type tracked struct {
	engine promql.QueryEngine
	cfg    *Config
}

// NewInstantQuery implements promql.QueryEngine.
func (t *tracked) NewInstantQuery(ctx context.Context, q storage.Queryable, opts promql.QueryOpts, qs string, ts time.Time) (promql.Query, error) {
	query, err := t.engine.NewInstantQuery(ctx, q, opts, qs, ts)
	return t.wrap(query, err)
}

// NewRangeQuery implements promql.QueryEngine.
func (t *tracked) NewRangeQuery(ctx context.Context, q storage.Queryable, opts promql.QueryOpts, qs string, start, end time.Time, step time.Duration) (promql.Query, error) {
	query, err := t.engine.NewRangeQuery(ctx, q, opts, qs, start, end, step)
	return t.wrap(query, err)
}

func (t *tracked) wrap(q promql.Query, err error) (promql.Query, error) {
	if err != nil {
		return nil, err
	}
	return &trackedQuery{Query: q, t: t}, nil
}

type trackedQuery struct {
	promql.Query
	t *tracked
}

// Exec implements promql.Query.
func (q *trackedQuery) Exec(ctx context.Context) *promql.Result {
	began := q.t.cfg.now()
	res := q.Query.Exec(ctx)
	one := ran{took: q.t.cfg.now().Sub(began)}
	if s := q.Stats(); s != nil && s.Samples != nil {
		one.samples, one.read, one.peak = s.Samples.TotalSamples, s.Samples.SamplesRead, s.Samples.PeakSamples
	}
	res.Err = q.t.explain(res.Err)
	r := requestOf(ctx)
	if r == nil {
		return res
	}
	if res.Err == nil && r.failAt > 0 && one.samples > r.failAt {
		res.Err, res.Value = fmt.Errorf("query processed %d samples, more than its max_samples_processed_error_threshold of %d", one.samples, r.failAt), nil
	} else if r.warnAt > 0 && one.samples > r.warnAt {
		res.Warnings.Add(fmt.Errorf("query processed %d samples, more than its max_samples_processed_warning_threshold of %d", one.samples, r.warnAt))
	}
	one.err = res.Err
	r.queries = append(r.queries, one)
	return res
}

// explain adds to a limit's error which setting it is. A query that takes too
// long is the query's fault and answered as such, 422 as Managed Prometheus
// does, and not as the server's, which would be retried.
func (t *tracked) explain(err error) error {
	var timeout promql.ErrQueryTimeout
	var samples promql.ErrTooManySamples
	switch {
	case errors.As(err, &timeout):
		return fmt.Errorf("query timed out - consider simplifying your query (in %s, after %s at most: setting query.timeout or parameter timeout)", string(timeout), t.cfg.Timeout)
	case errors.As(err, &samples):
		return promql.ErrTooManySamples(fmt.Sprintf("%s (limit %d, setting query.max_samples)", string(samples), t.cfg.MaxSamples))
	}
	return err
}

// thresholds reads the parameters of Managed Prometheus about samples processed.
func (r *request) thresholds(req *http.Request) error {
	for name, to := range map[string]*int64{"max_samples_processed_warning_threshold": &r.warnAt, "max_samples_processed_error_threshold": &r.failAt} {
		s := req.FormValue(name)
		if s == "" {
			continue
		}
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil || n < 1 {
			return fmt.Errorf("invalid parameter %q: must be a number greater than 0", name)
		}
		*to = n
	}
	return nil
}
