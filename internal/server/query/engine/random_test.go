package engine

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"
	"github.com/prometheus/prometheus/util/teststorage"
	"github.com/stretchr/testify/require"
)

const day = 24 * time.Hour

// seedOf is a test's seed, which MANGRU_SEED sets to see a failure again.
func seedOf(t *testing.T) uint64 {
	t.Helper()
	seed := uint64(1) // the same in every run; MANGRU_SEED=random looks further
	switch s := os.Getenv("MANGRU_SEED"); s {
	case "":
	case "random":
		seed = rand.Uint64()
	default:
		var err error
		seed, err = strconv.ParseUint(s, 10, 64)
		require.NoError(t, err)
	}
	t.Logf("MANGRU_SEED=%d", seed)
	return seed
}

// data are series of all sorts over six hours: some in blocks, some in memory,
// some out of order, some deleted.
func data(t testing.TB, r *rand.Rand) *teststorage.TestStorage {
	st := teststorage.New(t, func(o *tsdb.Options) {
		o.OutOfOrderTimeWindow, o.MinBlockDuration, o.MaxBlockDuration = day.Milliseconds(), 3600_000, 3600_000
	})
	t.Cleanup(func() { _ = st.Close() })
	var all []sample
	for _, name := range []string{"requests_total", "load", "size_bucket", "odd", "native"} {
		for a := range 6 {
			for b := range 5 {
				l := labels.FromStrings(model.MetricNameLabel, name, "a", strconv.Itoa(a), "b", strconv.Itoa(b), "le", strconv.Itoa(b))
				all = append(all, series(r, l)...)
			}
		}
	}
	slices.SortFunc(all, func(a, b sample) int { return cmp.Compare(a.t, b.t) })
	var late []sample
	app := st.Appender(context.Background())
	for i, s := range all {
		switch {
		case i%5000 == 0:
			require.NoError(t, app.Commit())
			app = st.Appender(context.Background())
		case r.IntN(100) == 0:
			late = append(late, s)
			continue
		}
		s.append(t, app)
	}
	require.NoError(t, app.Commit())
	require.NoError(t, st.Compact(context.Background()))
	app = st.Appender(context.Background())
	for _, s := range late {
		s.append(t, app)
	}
	require.NoError(t, app.Commit())
	require.NoError(t, st.Delete(context.Background(), 3600_000, 2*3600_000, labels.MustNewMatcher(labels.MatchEqual, "a", "3")))
	require.Greater(t, len(st.Blocks()), 2)
	return st
}

type sample struct {
	labels labels.Labels
	t      int64
	v      float64
	h      *histogram.Histogram
}

func (s *sample) append(t testing.TB, app storage.Appender) {
	var err error
	if s.h != nil {
		_, err = app.AppendHistogram(0, s.labels, s.t, s.h, nil)
	} else {
		_, err = app.Append(0, s.labels, s.t, s.v)
	}
	require.NoError(t, err)
}

// series makes the samples of one, with gaps, resets and ends.
func series(r *rand.Rand, l labels.Labels) (out []sample) {
	const length = 6 * 3600_000
	name := l.Get(model.MetricNameLabel)
	v := r.Float64() * 100
	interval := []int64{10_000, 15_000, 30_000, 60_000}[r.IntN(4)]
	from, to := int64(0), int64(length)
	if r.IntN(4) == 0 {
		from = r.Int64N(length)
	}
	if r.IntN(4) == 0 {
		to = r.Int64N(length)
	}
	strange := []float64{math.NaN(), math.Inf(1), math.Inf(-1), math.MaxFloat64, -math.MaxFloat64, math.Copysign(0, -1)}
	for at := from + r.Int64N(interval); at < to; at += interval + r.Int64N(3)/2 {
		s := sample{labels: l, t: at}
		switch kind := r.IntN(200); {
		case kind == 0:
			at += r.Int64N(20 * interval)
			continue
		case kind == 1:
			v = 0
		case kind == 2:
			s.v = math.Float64frombits(value.StaleNaN)
			out = append(out, s)
			continue
		case kind == 3 && name == "odd":
			s.v = strange[r.IntN(len(strange))]
			out = append(out, s)
			continue
		}
		switch {
		case name == "native" && l.Get("a") != "0":
			s.h = tsdbutil.GenerateTestHistogram(r.Int64N(50))
		case name == "load" || name == "odd":
			v += r.NormFloat64()
		default:
			v += float64(r.IntN(10))
		}
		s.v = v
		out = append(out, s)
	}
	return out
}

// expression makes a random query.
func expression(r *rand.Rand, depth int) string {
	pick := func(s ...string) string { return s[r.IntN(len(s))] }
	sel := func() string {
		s := pick("requests_total", "load", "size_bucket", "odd", "native", `{__name__=~"load|odd"}`, `{__name__=~"requests_total|load", a="1"}`) +
			pick("", "", `{a="1"}`, `{a!="2",b=~"1|2"}`, `{b=""}`, `{a=~"[0-3]"}`)
		return strings.Replace(s, "}{", ", ", 1)
	}
	offset := func() string { return pick("", "", "", " offset 7m", " offset -3m", " @ 7200", " @ start()") }
	over := func() string {
		f := pick("rate", "increase", "delta", "irate", "idelta", "deriv", "changes", "resets", "avg_over_time", "sum_over_time", "min_over_time", "max_over_time",
			"count_over_time", "last_over_time", "first_over_time", "stddev_over_time", "present_over_time", "absent_over_time", "rate", "rate", "increase", "mad_over_time")
		return f + "(" + sel() + "[" + pick("1m", "2m", "5m", "17s", "1h", "10s") + "]" + offset() + ")"
	}
	if depth <= 0 {
		switch r.IntN(5) {
		case 0:
			return sel() + offset()
		case 1:
			return pick("quantile_over_time(0.7, ", "predict_linear(") + sel() + "[5m]" + pick(")", ", 100)")
		}
		return over()
	}
	inner := func() string { return expression(r, depth-1-r.IntN(2)) }
	switch r.IntN(15) {
	case 11, 12, 13, 14:
		return join(r, inner(), inner())
	case 10:
		return pick("histogram_quantile(0.9, ", "histogram_quantile(0, ", "histogram_quantile(2, ") + pick("", "sum by (a, le) (", "sum by (le) (", "max without (b) (") + over() + pick(")", "))")
	case 0, 1, 2, 3, 4:
		by := pick("", " by (a)", " by (a, b)", " without (b)", " by (__name__)", " by (le)", " without (a, b)", " by (none)", " by ()")
		return aggregate(r, by, inner())
	case 5:
		return "(" + inner() + ") " + pick("+", "/", "*", "> bool", "<", "and", "unless", "or") + pick("", " on (a)", " ignoring (le)") + " (" + inner() + ")"
	case 6:
		return pick("histogram_quantile(0.9, ", "abs(", "-(", "timestamp(", "absent(", "scalar(", "sort(", "clamp_min(1 + ") + inner() + pick(")", ")")
	case 7:
		return pick("max_over_time", "rate", "avg_over_time") + "((" + inner() + ")[10m:" + pick("1m", "", "33s") + "])"
	case 8:
		return inner() + pick(" > 2", " * 3", " == 1", " ^ 2")
	}
	return `label_replace(` + inner() + `, "c", "$1", "a", "(.*)")`
}

// join makes an operation between vectors that often finds pairs.
func join(r *rand.Rand, a, b string) string {
	pick := func(s ...string) string { return s[r.IntN(len(s))] }
	op := pick("*", "*", "+", "-", "/", "==", "!=", "> bool", "<=", "^", "atan2", "%")
	number := func(e string) string {
		return pick(e, e, "("+e+" > 5)", "2 * ("+e+")", "("+e+") / 3", "(1 < bool "+e+")")
	}
	var out string
	switch r.IntN(5) {
	case 0:
		out = fmt.Sprintf("sum by (a) (%s) %s sum by (a) (%s)", a, op, b)
	case 1:
		out = fmt.Sprintf("%s %s on (a) group_left (%s) max by (a, none) (%s)", number(a), op, pick("", "none", "b"), number(b))
	case 2:
		out = fmt.Sprintf("%s %s on (a, b) group_left (le) %s", number("requests_total"), op, number(pick("load", "size_bucket", "odd")))
	case 3:
		out = fmt.Sprintf("sum by (b) (%s) %s on (b) group_right () %s", b, op, number(a))
	case 4:
		out = fmt.Sprintf("%s %s ignoring (%s) %s", number(pick("load", "rate(requests_total[2m])", "odd", `{__name__=~"load|odd"}`)), op, pick("", "a", "le"), number(pick("size_bucket", "load", "native")))
	}
	if r.IntN(2) == 0 {
		return aggregate(r, pick("", " by (a)", " by (b)", " without (b)", " by (le)"), out)
	}
	return out
}

func aggregate(r *rand.Rand, by, inner string) string {
	op := []string{"sum", "sum", "avg", "min", "max", "count", "group", "stddev", "stdvar", "topk", "quantile", "count_values"}[r.IntN(12)]
	switch op {
	case "topk":
		return op + by + "(3, " + inner + ")"
	case "quantile":
		return op + by + "(0.3, " + inner + ")"
	case "count_values":
		return op + by + `("v", ` + inner + ")"
	}
	return op + by + "(" + inner + ")"
}

// same compares long texts, and shows where they begin to differ.
func same(t *testing.T, want, got, format string, args ...any) {
	t.Helper()
	if want == got {
		return
	}
	i := 0
	for i < min(len(want), len(got)) && want[i] == got[i] {
		i++
	}
	i = max(0, i-100)
	require.FailNow(t, "answers differ", "%s:\n...%.200s\nnot\n...%.200s", fmt.Sprintf(format, args...), got[i:], want[i:])
}

// unstable tells whether an engine answers differently each time: the order of
// series is that of a map after an operation between vectors, and sums and
// choices between equals depend on it.
func unstable(query func(promql.QueryEngine) (promql.Query, error), e promql.QueryEngine, expr string) bool {
	first := answer(query, e, expr)
	for range 20 {
		if answer(query, e, expr) != first {
			return true
		}
	}
	return false
}

// Whatever is asked, the answer is that of Prometheus' engine, to the last bit.
func TestRandomQueries(t *testing.T) {
	seed := seedOf(t)
	r := rand.New(rand.NewPCG(seed, 0))
	st := data(t, r)
	theirs := innerEngine(false)
	parallel, alone := newEngine(t, 3, false), newEngine(t, -1, false)
	queries, good, unsure := 1000, 0, 0
	if testing.Short() {
		queries = 300
	}
	for range queries {
		expr := expression(r, r.IntN(3))
		start := time.UnixMilli(r.Int64N(5 * 3600_000))
		end := start.Add(time.Duration(r.Int64N(int64(2 * time.Hour))))
		step := []time.Duration{7 * time.Second, 30 * time.Second, time.Minute, 5 * time.Minute, time.Hour}[r.IntN(5)]
		query := func(e promql.QueryEngine) (promql.Query, error) {
			if end.UnixMilli()%4 == 0 {
				return e.NewInstantQuery(context.Background(), st, withSteps, expr, end)
			}
			return e.NewRangeQuery(context.Background(), st, withSteps, expr, start, end, step)
		}
		want := answer(query, theirs, expr)
		for _, ours := range []*Engine{parallel, alone} {
			got := answer(query, ours, expr)
			if got != want && unstable(query, theirs, expr) {
				unsure++
				break
			}
			same(t, want, got, "%s from %d to %d by %s", expr, start.UnixMilli(), end.UnixMilli(), step)
		}
		if strings.Contains(want, ":") {
			good++
		}
	}
	derived := testutil.ToFloat64(parallel.parts.WithLabelValues("derived"))
	t.Logf("%d of %d queries had results, %d are not sure of theirs, %g results are derived", good, queries, unsure, derived)
	require.Greater(t, derived, float64(queries)/20)
	require.Less(t, unsure, queries/20)
	require.Greater(t, good, queries/4)
}

// The expressions of Prometheus' scripts find no series here; what this is
// about is that many batches come out in order.
func TestManySeries(t *testing.T) {
	st := teststorage.New(t)
	t.Cleanup(func() { _ = st.Close() })
	app := st.Appender(context.Background())
	r := rand.New(rand.NewPCG(1, 1))
	for i := range 5000 {
		l := labels.FromStrings(model.MetricNameLabel, "many_total", "i", strconv.Itoa(i), "group", strconv.Itoa(i%7))
		for at := int64(0); at < 600_000; at += 30_000 {
			_, err := app.Append(0, l, at, r.Float64()*math.Pow(10, float64(r.IntN(20))))
			require.NoError(t, err)
		}
	}
	require.NoError(t, app.Commit())
	theirs := innerEngine(false)
	for _, expr := range []string{`sum by (group) (rate(many_total[2m]))`, `sum(many_total)`, `avg(many_total)`, `rate(many_total[2m])`, `stddev(many_total)`} {
		query := func(e promql.QueryEngine) (promql.Query, error) {
			return e.NewRangeQuery(context.Background(), st, withSteps, expr, time.UnixMilli(0), time.UnixMilli(600_000), 10*time.Second)
		}
		want := answer(query, theirs, expr)
		for range 5 {
			for _, workers := range []int{-1, 1, 4} {
				e := newEngine(t, workers, false)
				same(t, want, answer(query, e, expr), "%s with %d workers", expr, workers)
				require.Empty(t, e.workers, "all workers are given back")
			}
		}
	}
}

func TestLimitAndCancel(t *testing.T) {
	st := teststorage.New(t)
	t.Cleanup(func() { _ = st.Close() })
	app := st.Appender(context.Background())
	for i := range 300 {
		_, err := app.Append(0, labels.FromStrings(model.MetricNameLabel, "x_total", "i", fmt.Sprint(i)), 1000, 1)
		require.NoError(t, err)
	}
	require.NoError(t, app.Commit())
	e := newEngine(t, 1, false)
	e.maxSamples = 100
	q, err := e.NewInstantQuery(context.Background(), st, nil, `sum by (i) (x_total)`, time.UnixMilli(2000))
	require.NoError(t, err)
	res := q.Exec(context.Background())
	require.NoError(t, res.Err) // by the inner engine, which has its own limit
	require.Len(t, res.Value, 300)

	q, err = e.NewInstantQuery(context.Background(), st, nil, `sum(x_total)`, time.UnixMilli(2000))
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var canceled promql.ErrQueryCanceled
	require.ErrorAs(t, q.Exec(ctx).Err, &canceled)
	ctx, cancel = context.WithDeadline(context.Background(), time.Now().Add(-time.Second))
	defer cancel()
	q, err = e.NewInstantQuery(context.Background(), st, nil, `sum(x_total)`, time.UnixMilli(2000))
	require.NoError(t, err)
	var timeout promql.ErrQueryTimeout
	require.ErrorAs(t, q.Exec(ctx).Err, &timeout)
	q.Cancel()
}
