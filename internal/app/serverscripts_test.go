package app

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/snappy"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/route"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/util/teststorage"
	v1 "github.com/prometheus/prometheus/web/api/v1"
	"github.com/stretchr/testify/require"
)

// signedScripts is an engine for Prometheus' scripts. What a script loads goes to
// a workspace by remote write, and each of its queries also to that workspace and
// to Prometheus' own API over what the script loaded: the answers must be the same.
type signedScripts struct {
	*promql.Engine
	t          *testing.T
	server     *testServer
	theirs     http.Handler
	workspace  string
	stored     *teststorage.TestStorage
	size       int64  // of what the storage has on disk
	pushed     []byte // what was written of it
	queries    int    // compared
	pushes     int
	unsendable bool // it has something that no sender can send
	skipped    int  // queries of such a storage
}

// prometheusQueries is Prometheus' own API, for queries only.
func prometheusQueries(st *teststorage.TestStorage) http.Handler {
	p := parser.NewParser(parser.Options{})
	engine := promql.NewEngine(promql.EngineOpts{
		MaxSamples: 50_000_000, Timeout: time.Minute, LookbackDelta: 5 * time.Minute, Parser: p,
		NoStepSubqueryIntervalFn: func(int64) int64 { return time.Minute.Milliseconds() },
		EnableAtModifier:         true, EnableNegativeOffset: true,
	})
	api := v1.NewAPI(engine, st, nil, nil, st, nil, nil, nil, func() config.Config { return config.DefaultConfig },
		nil, v1.GlobalURLOptions{}, func(f http.HandlerFunc) http.HandlerFunc { return f },
		nil, "", false, false, 0, slog.New(slog.DiscardHandler), nil, 1, 1, 1, false, nil,
		func() (v1.RuntimeInfo, error) { return v1.RuntimeInfo{}, nil }, &v1.PrometheusVersion{}, nil, nil,
		prometheus.NewRegistry(), prometheus.NewRegistry(), nil, false, nil, false, false, false, false,
		5*time.Minute, false, false, nil, nil, v1.OpenAPIOptions{}, p)
	router := route.New()
	api.Register(router)
	return router
}

// loaded returns all samples of a storage as one remote write message, its series in
// the order in which they came, for sums depend on it in their last digit. Series
// without a name cannot be sent, nor can, by Prometheus' encoder, a zero's sign.
func loaded(t *testing.T, st *teststorage.TestStorage) (msg []byte, unsendable bool) {
	t.Helper()
	q, err := st.Querier(math.MinInt64, math.MaxInt64)
	require.NoError(t, err)
	defer func() { require.NoError(t, q.Close()) }()
	var req prompb.WriteRequest
	set := q.Select(t.Context(), false, nil, labels.MustNewMatcher(labels.MatchNotEqual, "no label has this name", "x"))
	for set.Next() {
		if !set.At().Labels().Has("__name__") {
			unsendable = true
			continue
		}
		var lset []prompb.Label
		set.At().Labels().Range(func(l labels.Label) { lset = append(lset, prompb.Label{Name: l.Name, Value: l.Value}) })
		it := set.At().Iterator(nil)
		// Floats and histograms of a series go in turns, as they came.
		var last chunkenc.ValueType
		for typ := it.Next(); typ != chunkenc.ValNone; typ = it.Next() {
			if (typ == chunkenc.ValFloat) != (last == chunkenc.ValFloat) || last == chunkenc.ValNone {
				req.Timeseries = append(req.Timeseries, prompb.TimeSeries{Labels: lset})
			}
			last = typ
			ts := &req.Timeseries[len(req.Timeseries)-1]
			switch typ {
			case chunkenc.ValFloat:
				at, v := it.At()
				unsendable = unsendable || v == 0 && math.Signbit(v)
				ts.Samples = append(ts.Samples, prompb.Sample{Timestamp: at, Value: v})
			case chunkenc.ValHistogram:
				at, h := it.AtHistogram(nil)
				ts.Histograms = append(ts.Histograms, prompb.FromIntHistogram(at, h))
			default:
				at, h := it.AtFloatHistogram(nil)
				ts.Histograms = append(ts.Histograms, prompb.FromFloatHistogram(at, h))
			}
		}
		require.NoError(t, it.Err())
	}
	require.NoError(t, set.Err())
	msg, err = req.Marshal()
	require.NoError(t, err)
	return msg, unsendable
}

// use makes sure that a workspace has what the storage has.
func (s *signedScripts) use(st *teststorage.TestStorage) {
	if s.stored == st && s.size == st.Head().Size() {
		return // every append makes its log longer
	}
	if s.stored != st {
		s.stored, s.theirs, s.pushed = st, prometheusQueries(st), nil
	}
	s.size = st.Head().Size()
	msg, unsendable := loaded(s.t, st)
	s.unsendable = unsendable
	if s.pushed != nil && bytes.Equal(msg, s.pushed) {
		return
	}
	ctx := context.Background()
	if s.workspace != "" {
		require.NoError(s.t, s.server.store.Remove(ctx, s.workspace))
	}
	s.pushes++
	s.pushed = append(msg[:0:0], msg...)
	s.workspace = s.server.newWorkspace(s.t, fmt.Sprintf("script-%d", s.pushes))
	if len(msg) > 0 && !unsendable {
		res := s.server.write(s.t, s.workspace, snappy.Encode(nil, msg))
		require.Equal(s.t, 200, res.status, res.body)
	}
}

// compare asks both.
func (s *signedScripts) compare(q storage.Queryable, path string, form url.Values) {
	s.t.Helper()
	s.use(q.(*teststorage.TestStorage))
	if s.unsendable {
		s.skipped++
		return
	}
	theirs := httptest.NewRecorder()
	r := httptest.NewRequest("GET", path+"?"+form.Encode(), nil)
	s.theirs.ServeHTTP(theirs, r)
	body := form.Encode()
	ours := s.server.do(s.t, s.server.signed(s.t, "POST", "/workspaces/"+s.workspace+"/api/v1"+path, []byte(body), func(r *http.Request) {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}))
	s.queries++
	require.Equal(s.t, theirs.Code, ours.status, "%s: %s, not %s", form, ours.body, theirs.Body)
	require.Equal(s.t, sortedAnswer(s.t, theirs.Body.Bytes()), sortedAnswer(s.t, []byte(ours.body)), "%s", form)
}

// sortedAnswer is an API's answer with its series and warnings sorted.
func sortedAnswer(t *testing.T, body []byte) any {
	t.Helper()
	var v map[string]any
	require.NoError(t, json.Unmarshal(body, &v), "%s", body)
	for _, name := range []string{"warnings", "infos"} {
		if all, ok := v[name].([]any); ok {
			slices.SortFunc(all, func(a, b any) int { return strings.Compare(a.(string), b.(string)) })
		}
	}
	if data, ok := v["data"].(map[string]any); ok {
		if result, ok := data["result"].([]any); ok {
			text := func(v any) string { b, _ := json.Marshal(v); return string(b) }
			slices.SortFunc(result, func(a, b any) int { return strings.Compare(text(a), text(b)) })
		}
	}
	return v
}

func epoch(t time.Time) string { return strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64) }

func (s *signedScripts) NewInstantQuery(ctx context.Context, q storage.Queryable, opts promql.QueryOpts, expr string, at time.Time) (promql.Query, error) {
	s.compare(q, "/query", url.Values{"query": {expr}, "time": {epoch(at)}})
	return s.Engine.NewInstantQuery(ctx, q, opts, expr, at)
}

func (s *signedScripts) NewRangeQuery(ctx context.Context, q storage.Queryable, opts promql.QueryOpts, expr string, start, end time.Time, step time.Duration) (promql.Query, error) {
	s.compare(q, "/query_range", url.Values{"query": {expr}, "start": {epoch(start)}, "end": {epoch(end)}, "step": {strconv.FormatFloat(step.Seconds(), 'f', -1, 64)}})
	return s.Engine.NewRangeQuery(ctx, q, opts, expr, start, end, step)
}

// TestServerScripts runs Prometheus' own scripts through the whole server: by
// remote write, and by signed queries.
func TestServerScripts(t *testing.T) {
	if testing.Short() {
		t.Skip("thousands of requests")
	}
	cfg := testConfig(t.TempDir())
	cfg.MaxWorkspaces = 10_000
	cfg.Limits.MaxSampleAge, cfg.Limits.MaxSampleRate = -1, -1
	cfg.Limits.OutOfOrderWindow = Duration(1000 * 24 * time.Hour)
	s := &signedScripts{Engine: promqltest.NewTestEngine(t, false, 0, promqltest.DefaultMaxSamplesPerQuery), t: t, server: startServer(t, cfg)}
	promqltest.RunBuiltinTests(t, s)
	t.Logf("%d queries compared, %d loads, %d queries left out", s.queries, s.pushes, s.skipped)
	require.Greater(t, s.queries, 5000)
	require.Less(t, s.skipped, s.queries/50)
}
