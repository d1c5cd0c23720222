package engine

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/storage"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func innerEngine(features bool) *promql.Engine {
	return promql.NewEngine(promql.EngineOpts{
		MaxSamples: 1_000_000, Timeout: time.Minute, EnableAtModifier: true, EnableNegativeOffset: true, EnablePerStepStats: true,
		NoStepSubqueryIntervalFn: func(int64) int64 { return time.Minute.Milliseconds() },
		Parser:                   parser.NewParser(promqltest.TestParserOpts),
		EnableDelayedNameRemoval: features, UseStartTimestamps: features,
	})
}

func newEngine(t testing.TB, workers int, features bool) *Engine {
	t.Helper()
	e, err := New(Config{Engine: innerEngine(features), DelayedNames: features, StartTimestamps: features,
		MaxSamples: 1_000_000, Workers: workers, Registerer: prometheus.NewRegistry()})
	require.NoError(t, err)
	return e
}

// both runs every query on an Engine with the features that Prometheus' scripts
// need, and besides it on one without them and on Prometheus' own, which must
// say the same.
type both struct {
	t        testing.TB
	features *Engine
	ours     *Engine
	theirs   *promql.Engine
	compared int
}

func newBoth(t testing.TB) *both {
	return &both{t: t, features: newEngine(t, 2, true), ours: newEngine(t, 2, false), theirs: innerEngine(false)}
}

var withSteps = promql.NewPrometheusQueryOpts(true, 0)

func (b *both) NewInstantQuery(ctx context.Context, q storage.Queryable, opts promql.QueryOpts, qs string, ts time.Time) (promql.Query, error) {
	b.compare(qs, func(e promql.QueryEngine) (promql.Query, error) {
		return e.NewInstantQuery(ctx, q, withSteps, qs, ts)
	})
	return b.features.NewInstantQuery(ctx, q, opts, qs, ts)
}

func (b *both) NewRangeQuery(ctx context.Context, q storage.Queryable, opts promql.QueryOpts, qs string, start, end time.Time, step time.Duration) (promql.Query, error) {
	b.compare(qs, func(e promql.QueryEngine) (promql.Query, error) {
		return e.NewRangeQuery(ctx, q, withSteps, qs, start, end, step)
	})
	return b.features.NewRangeQuery(ctx, q, opts, qs, start, end, step)
}

func (b *both) compare(qs string, query func(promql.QueryEngine) (promql.Query, error)) {
	want := answer(query, b.theirs, qs)
	got := answer(query, b.ours, qs)
	if want != got {
		b.t.Errorf("%s:\n%s\nnot\n%s", qs, got, want)
	}
	b.compared++
}

// answer is all that can be seen of a query, as text.
func answer(query func(promql.QueryEngine) (promql.Query, error), e promql.QueryEngine, qs string) string {
	q, err := query(e)
	if err != nil {
		return err.Error()
	}
	defer q.Close()
	res := q.Exec(context.Background())
	warnings, infos := res.Warnings.AsStrings(qs, 0, 0)
	sort.Strings(warnings)
	sort.Strings(infos)
	if res.Err != nil {
		return fmt.Sprint(res.Err)
	}
	s := q.Stats().Samples
	return fmt.Sprint(text(res.Value), "\n", strings.Join(warnings, "\n"), strings.Join(infos, "\n"),
		"\nsamples ", s.TotalSamples, s.TotalSamplesPerStep, s.SamplesRead, s.SamplesReadPerStep)
}

// text shows values to the last bit.
func text(v parser.Value) string {
	var all []string
	switch v := v.(type) {
	case promql.Matrix:
		for _, s := range v {
			line := s.Metric.String()
			for _, p := range s.Floats {
				line += fmt.Sprintf(" %d:%s", p.T, bits(p.F))
			}
			for _, p := range s.Histograms {
				line += fmt.Sprintf(" %d:%s", p.T, p.H)
			}
			all = append(all, line)
		}
	case promql.Vector:
		for _, s := range v {
			if s.H != nil {
				all = append(all, fmt.Sprintf("%s %d:%s", s.Metric, s.T, s.H))
			} else {
				all = append(all, fmt.Sprintf("%s %d:%s", s.Metric, s.T, bits(s.F)))
			}
		}
		// Elements are in the order of a map for some aggregations.
		slices.Sort(all)
	default:
		return v.String()
	}
	return strings.Join(all, "\n")
}

func bits(v float64) string {
	if math.IsNaN(v) {
		return "NaN" // signs of NaNs are nobody's business
	}
	return fmt.Sprintf("%x", v)
}

// Prometheus' own scripts for its engine.
func TestScripts(t *testing.T) {
	if testing.Short() {
		t.Skip("20,000 evaluations")
	}
	b := newBoth(t)
	promqltest.RunBuiltinTests(t, b)
	ahead, ahead2 := testutil.ToFloat64(b.features.parts.WithLabelValues("ahead")), testutil.ToFloat64(b.ours.parts.WithLabelValues("ahead"))
	t.Logf("%d queries compared, %g parts computed ahead, %g with features", b.compared, ahead2, ahead)
	require.Greater(t, ahead2, 500.0)
	require.Greater(t, ahead, 100.0)
}
