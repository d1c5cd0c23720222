package query

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/route"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/teststorage"
	v1 "github.com/prometheus/prometheus/web/api/v1"
	"github.com/stretchr/testify/require"
)

// prometheusAPI is Prometheus' own API on its own engine.
func prometheusAPI(st *memory, options parser.Options) http.Handler {
	p := parser.NewParser(options)
	engine := promql.NewEngine(promql.EngineOpts{
		MaxSamples: 50_000_000, Timeout: time.Minute, LookbackDelta: 5 * time.Minute, Parser: p,
		NoStepSubqueryIntervalFn: func(int64) int64 { return time.Minute.Milliseconds() },
		EnableAtModifier:         true, EnableNegativeOffset: true, EnablePerStepStats: true,
	})
	api := v1.NewAPI(engine, st, nil, nil, st,
		noPools, noTargets, noAlertmanagers,
		func() config.Config { return config.DefaultConfig },
		nil, v1.GlobalURLOptions{}, func(f http.HandlerFunc) http.HandlerFunc { return f },
		st, "", false, false, 0, slog.New(slog.DiscardHandler),
		noRules,
		remoteReadSamples, remoteReadConcurrent, remoteReadFrameBytes, false, noOrigin,
		func() (v1.RuntimeInfo, error) { return v1.RuntimeInfo{}, nil }, &v1.PrometheusVersion{}, nil, nil,
		prometheus.NewRegistry(), prometheus.NewRegistry(), nil, false, nil, false, false, false, false,
		5*time.Minute, false, false, nil, nil, v1.OpenAPIOptions{}, p)
	router := route.New()
	api.Register(router)
	return router
}

// pair asks our handler and Prometheus' the same.
type pair struct {
	ours   *fixture
	theirs http.Handler
	stored *teststorage.TestStorage
	parser parser.Options
}

func newPair(t testing.TB, options parser.Options) *pair {
	t.Helper()
	return &pair{ours: open(t, Config{parser: options}, nil), parser: options}
}

func (p *pair) use(st *teststorage.TestStorage) {
	if p.stored != st {
		m := &memory{TestStorage: st}
		p.stored, p.ours.stores["ws"], p.theirs = st, m, prometheusAPI(m, p.parser)
	}
}

func (p *pair) ask(t testing.TB, path, query string) (ours, theirs *httptest.ResponseRecorder) {
	t.Helper()
	ours, theirs = httptest.NewRecorder(), httptest.NewRecorder()
	r := httptest.NewRequest("GET", "/", nil)
	r.URL.RawQuery = query
	require.NoError(t, p.ours.ServeWorkspace(ours, r, "ws", path))
	r = httptest.NewRequest("GET", "/", nil)
	r.URL.Path, r.URL.RawQuery = path, query
	p.theirs.ServeHTTP(theirs, r)
	return ours, theirs
}

// comparable is an answer without what differs each time.
func comparable(t testing.TB, body []byte, sorted bool) any {
	t.Helper()
	var v map[string]any
	require.NoError(t, json.Unmarshal(body, &v), "%s", body)
	for _, name := range []string{"warnings", "infos"} {
		if all, ok := v[name].([]any); ok {
			slices.SortFunc(all, func(a, b any) int { return strings.Compare(a.(string), b.(string)) })
		}
	}
	data, ok := v["data"].(map[string]any)
	if !ok {
		return v
	}
	if s, ok := data["stats"].(map[string]any); ok {
		delete(s, "timings")
		// Less is held in memory when it is not needed.
		delete(s["samples"].(map[string]any), "peakSamples")
	}
	if result, ok := data["result"].([]any); ok && sorted {
		text := func(v any) string { b, _ := json.Marshal(v); return string(b) }
		slices.SortFunc(result, func(a, b any) int { return strings.Compare(text(a), text(b)) })
	}
	return v
}

// compare asks both and expects the same: also in the same order, unless that is
// the order of a map.
func (p *pair) compare(t testing.TB, path string, query url.Values) {
	t.Helper()
	ours, theirs := p.ask(t, path, query.Encode())
	require.Equal(t, theirs.Code, ours.Code, "%s: %s, not %s", query, ours.Body, theirs.Body)
	if assertEqual(comparable(t, ours.Body.Bytes(), false), comparable(t, theirs.Body.Bytes(), false)) {
		return
	}
	require.Equal(t, comparable(t, theirs.Body.Bytes(), true), comparable(t, ours.Body.Bytes(), true), "%s", query)
}

func assertEqual(a, b any) bool { return fmt.Sprint(a) == fmt.Sprint(b) }

// overHTTP is an engine for Prometheus' scripts. Every query also goes through
// our handler and Prometheus' own API, without the features that the scripts
// need but a server does not have, and the answers must be the same.
type overHTTP struct {
	*promql.Engine
	t     testing.TB
	pair  *pair
	count int
}

func seconds(t time.Time) string { return strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64) }

func (o *overHTTP) NewInstantQuery(ctx context.Context, q storage.Queryable, opts promql.QueryOpts, qs string, ts time.Time) (promql.Query, error) {
	o.pair.use(q.(*teststorage.TestStorage))
	o.pair.compare(o.t, "/query", url.Values{"query": {qs}, "time": {seconds(ts)}, "stats": {"all"}})
	o.count++
	return o.Engine.NewInstantQuery(ctx, q, opts, qs, ts)
}

func (o *overHTTP) NewRangeQuery(ctx context.Context, q storage.Queryable, opts promql.QueryOpts, qs string, start, end time.Time, step time.Duration) (promql.Query, error) {
	o.pair.use(q.(*teststorage.TestStorage))
	o.pair.compare(o.t, "/query_range", url.Values{"query": {qs}, "start": {seconds(start)}, "end": {seconds(end)}, "step": {strconv.FormatFloat(step.Seconds(), 'f', -1, 64)}, "stats": {"all"}})
	o.count++
	return o.Engine.NewRangeQuery(ctx, q, opts, qs, start, end, step)
}

func TestScriptsOverHTTP(t *testing.T) {
	if testing.Short() {
		t.Skip("thousands of requests")
	}
	o := &overHTTP{Engine: promqltest.NewTestEngine(t, false, 0, promqltest.DefaultMaxSamplesPerQuery), t: t, pair: newPair(t, promqltest.TestParserOpts)}
	promqltest.RunBuiltinTests(t, o)
	t.Logf("%d queries compared", o.count)
	require.Greater(t, o.count, 5000)
}

const mixed = `load 30s
  requests_total{job="a",code="200"} 0+5x100
  requests_total{job="a",code="500"} 0+1x50 0+1x50
  requests_total{job="b",code="200"} 0+9x20 _x30 200+3x50
  latency_bucket{job="a",le="0.1"} 0+1x100
  latency_bucket{job="a",le="1"} 0+3x100
  latency_bucket{job="a",le="+Inf"} 0+4x100
  load{job="a"} 1 2 3 stale 5 6 7x90
  native{job="a"} {{schema:0 sum:5 count:4 buckets:[1 2 1]}}+{{schema:0 sum:1 count:1 buckets:[1]}}x100
`

// Every path of the API answers as Prometheus' own does.
func TestSameAsPrometheus(t *testing.T) {
	p := newPair(t, parser.Options{})
	st := promqltest.LoadedStorage(t, mixed)
	t.Cleanup(func() { _ = st.Close() })
	p.use(st)
	for _, path := range []string{
		"/query?query=sum(rate(requests_total[2m]))&time=1500", "/query?query=up{&time=1", "/query?query=requests_total&time=abc", "/query",
		"/query?query=requests_total&time=1500&limit=1", "/query?query=requests_total&time=1500&limit=-1", "/query?query=load&time=3100&lookback_delta=20m",
		"/query?query=load&time=1&timeout=x", "/query?query=load&time=1&lookback_delta=x", `/query?query="text"&time=1`, "/query?query=load[5m]&time=600", "/query?query=1&time=1",
		"/query?query=native&time=600&stats=all", "/query?query=rate(load[5m])&time=600&stats=1",
		"/query_range?query=sum+by+(job)+(rate(requests_total[2m]))&start=0&end=3000&step=30&stats=all", "/query_range?query=load&start=10&end=1&step=1",
		"/query_range?query=load&start=0&end=3000&step=0.1", "/query_range?query=load[5m]&start=0&end=10&step=1", "/query_range?query=load&start=0&end=10&step=-1",
		"/query_range?query=histogram_quantile(0.9,rate(latency_bucket[5m]))&start=0&end=3000&step=60",
		"/query_range?query=histogram_quantile(0.9,sum+by+(le)(rate(latency_bucket[5m])))&start=0&end=3000&step=60&limit=1",
		"/query_range?query=sum(native)&start=0&end=3000&step=60", "/query_range?query=sum({__name__=~%22native|load%22})&start=0&end=3000&step=60",
		"/query_range?query=rate({job=~%22.%2B%22}[5m])&start=0&end=3000&step=60",
		"/labels", "/labels?match[]=load", "/labels?limit=2", "/labels?start=5000", "/labels?match[]={}", "/label/job/values", "/label/job/values?match[]=load", "/label/a%20b/values",
		"/series?match[]=load&match[]=native", "/series", "/series?match[]=requests_total&limit=2", "/series?match[]=load&start=1&end=0",
		"/query_exemplars?query=load&start=0&end=1", "/query_exemplars?query=", "/format_query?query=sum(+load+)", "/format_query?query=(", "/parse_query?query=load+%2B+1", "/parse_query",
	} {
		path, raw, _ := strings.Cut(path, "?")
		query, err := url.ParseQuery(raw)
		require.NoError(t, err)
		p.compare(t, path, query)
	}
}

// FuzzParameters asks both for anything and expects the same status.
func FuzzParameters(f *testing.F) {
	paths := []string{"/query", "/query_range", "/series", "/labels", "/label/job/values", "/query_exemplars", "/format_query", "/parse_query"}
	f.Add(uint8(0), "query=sum(rate(requests_total[2m]))&time=1500&limit=1&stats=all&lookback_delta=1m&timeout=5s")
	f.Add(uint8(1), "query=avg+by+(job)(load+offset+1m)&start=0&end=3000&step=60")
	f.Add(uint8(1), "query=histogram_quantile(0.5,sum+by+(le)(rate(latency_bucket[1m])))&start=0&end=3000&step=1m")
	f.Add(uint8(2), "match[]=load&match[]={job=~%22a.*%22}&start=0&end=1e3&limit=1")
	f.Add(uint8(4), "match[]=load&limit=x")
	f.Add(uint8(5), "query=load&start=1970-01-01T00:00:00Z&end=9")
	p := newPair(f, parser.Options{})
	st := promqltest.LoadedStorage(f, mixed)
	f.Cleanup(func() { _ = st.Close() })
	p.use(st)
	f.Fuzz(func(t *testing.T, path uint8, query string) {
		values, err := url.ParseQuery(query)
		if err != nil || len(values["match[]"]) > 256 || strings.Contains(query, "processed") || len(query) > 500 {
			t.Skip("ours alone")
		}
		values.Set("timeout", "2s")
		ours, theirs := p.ask(t, paths[int(path)%len(paths)], values.Encode())
		if theirs.Code == http.StatusServiceUnavailable {
			return // it took too long, and ours is another status or in time
		}
		require.Equal(t, theirs.Code, ours.Code, "%s, not %s", ours.Body, theirs.Body)
		require.True(t, json.Valid(ours.Body.Bytes()) || ours.Body.Len() == 0)
	})
}
