package query

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/stats"
	"github.com/prometheus/prometheus/util/teststorage"
	v1 "github.com/prometheus/prometheus/web/api/v1"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memory is a storage filled by a script.
type memory struct {
	*teststorage.TestStorage
	v1.TSDBAdminStats // nothing here asks for the statistics
	families          []string
}

func (m *memory) EachMetadata(name string, f func(family, typ, help, unit string) bool) {
	for _, family := range m.families {
		if (name == "" || name == family) && !f(family, "gauge", "help of "+family, "") {
			return
		}
	}
}

func (m *memory) CleanTombstones() error { return m.DB.CleanTombstones() }
func (m *memory) Delete(ctx context.Context, mint, maxt int64, ms ...*labels.Matcher) error {
	return m.DB.Delete(ctx, mint, maxt, ms...)
}

type fixture struct {
	*Handler
	registry *prometheus.Registry
	stores   map[string]*memory
	mu       sync.Mutex
	released int
	entries  []LogEntry
}

func (f *fixture) LogQuery(e LogEntry) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.entries = append(f.entries, e)
}

func (f *fixture) logged() []LogEntry {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := f.entries
	f.entries = nil
	return out
}

func open(t testing.TB, cfg Config, scripts map[string]string) *fixture {
	t.Helper()
	f := &fixture{stores: map[string]*memory{}, registry: prometheus.NewRegistry()}
	for id, script := range scripts {
		f.stores[id] = &memory{TestStorage: promqltest.LoadedStorage(t, script), families: []string{"a", "b", "c"}}
		t.Cleanup(func() { _ = f.stores[id].TestStorage.Close() })
	}
	cfg.Registerer, cfg.Log = f.registry, f
	cfg.Who = func(r *http.Request) (string, string) { return "arn:aws:iam::000000000000:user/a", "10.0.0.1" }
	cfg.Open = func(_ context.Context, id string) (Storage, func(), error) {
		m := f.stores[id]
		if m == nil {
			return nil, nil, errors.New("no such workspace")
		}
		return m, func() { f.mu.Lock(); f.released++; f.mu.Unlock() }, nil
	}
	var err error
	f.Handler, err = New(cfg, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func (f *fixture) get(t testing.TB, ws, path string) (int, string) {
	t.Helper()
	return f.do(t, httptest.NewRequest("GET", "/", nil), ws, path)
}

func (f *fixture) do(t testing.TB, r *http.Request, ws, path string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	path, r.URL.RawQuery, _ = strings.Cut(path, "?")
	require.NoError(t, f.ServeWorkspace(w, r, ws, path))
	return w.Code, w.Body.String()
}

const script = "load 1m\n  up{job=\"a\"} 0+1x10\n  up{job=\"b/c\"} 0+2x10\n"

func TestWorkspacesAreApart(t *testing.T) {
	f := open(t, Config{}, map[string]string{"ws-1": script, "ws-2": "load 1m\n  other 5x10\n"})
	code, body := f.get(t, "ws-1", "/query?time=600&query="+url.QueryEscape("sum(up)"))
	require.Equal(t, 200, code)
	require.Contains(t, body, `"value":[600,"30"]`)
	_, body = f.get(t, "ws-2", "/query?time=600&query=up")
	require.Contains(t, body, `"result":[]`)
	_, body = f.get(t, "ws-2", "/query?time=600&query=other")
	require.Contains(t, body, `"5"`)
	require.Equal(t, 3, f.released)
	w := httptest.NewRecorder()
	require.Error(t, f.ServeWorkspace(w, httptest.NewRequest("GET", "/", nil), "ws-3", "/query"))
	require.InDelta(t, 2, testutil.ToFloat64(f.metrics.requests.WithLabelValues("ws-2", "query", "200")), 0)
	f.Forget("ws-2")
	require.InDelta(t, 0, testutil.ToFloat64(f.metrics.requests.WithLabelValues("ws-2", "query", "200")), 0)
}

func TestAPI(t *testing.T) {
	f := open(t, Config{Version: "1.2.3", Retention: func(string) time.Duration { return 150 * 24 * time.Hour }}, map[string]string{"ws-1": script})
	for path, want := range map[string]string{
		"/query_range?query=up&start=0&end=120&step=60": `[120,"2"]`,
		"/query?query=up&time=1000&lookback_delta=10m":  `"20"`,
		"/query?query=up&time=600&limit=1":              `results truncated due to limit`,
		"/query?query=sum(up)&time=600&stats=all":       `"totalQueryableSamplesPerStep":[[600,2]]`,
		"/query?query=rate(up[5m])&time=600":            `"infos":["PromQL info: metric might not be a counter`,
		"/labels":                                       `["__name__","job"]`,
		"/labels?limit=1":                               `results truncated due to limit`,
		"/label/job/values":                             `["a","b/c"]`,
		"/series?match[]=up":                            `"job":"b/c"`,
		"/series?match[]=up&limit=1":                    `results truncated due to limit`,
		"/query_exemplars?query=up&start=0&end=9":       `"data":[]`,
		"/metadata?metric=b":                            `{"b":[{"type":"gauge","help":"help of b","unit":""}]}`,
		"/targets/metadata?metric=b":                    `[{"target":{},"type":"gauge","help":"help of b","unit":""}]`,
		"/targets/metadata?limit=1":                     `[{"target":{},"metric":"a","type":"gauge","help":"help of a","unit":""}]`,
		"/status/buildinfo":                             `"version":"1.2.3"`,
		"/status/runtimeinfo":                           `"storageRetention":"150d"`,
		"/status/flags":                                 `"query.lookback-delta":"5m"`,
		"/features":                                     `"promql_functions":`,
		"/rules":                                        `{"groups":[]}`,
		"/alerts":                                       `{"alerts":[]}`,
		"/targets":                                      `"activeTargets":[]`,
		"/scrape_pools":                                 `{"scrapePools":[]}`,
		"/alertmanagers":                                `"activeAlertmanagers":[]`,
		"/status/config":                                `"yaml":`,
		"/parse_query?query=up":                         `"vectorSelector"`,
		"/format_query?query=sum+(+up)":                 `"sum(up)"`,
	} {
		code, body := f.get(t, "ws-1", path)
		require.Equal(t, 200, code, "%s: %s", path, body)
		require.Contains(t, body, want, path)
	}
	_, body := f.get(t, "ws-1", "/metadata?limit=2")
	var md struct{ Data map[string]any }
	require.NoError(t, json.Unmarshal([]byte(body), &md))
	require.Len(t, md.Data, 2)
}

func TestErrors(t *testing.T) {
	f := open(t, Config{MaxSamples: 5, MaxSelectors: 2}, map[string]string{"ws-1": script})
	for path, want := range map[string][]string{
		"/query?query=up{":                                                    {"400", "bad_data", "parse error"},
		"/query?query=up&time=x":                                              {"400", "bad_data", "time"},
		"/query?query=up&%zz":                                                 {"400", "bad_data", "invalid URL escape"},
		"/query_range?query=up&start=0&end=1&step=0":                          {"400", "bad_data", "step"},
		"/query_range?query=up&start=0&end=600&step=60":                       {"422", "execution", "limit 5, setting query.max_samples"},
		"/metadata?limit=x":                                                   {"400", "bad_data", "limit must be a number"},
		"/targets/metadata?limit=x":                                           {"400", "bad_data", "limit must be a number"},
		"/series?match[]=a&match[]=b&match[]=c":                               {"400", "bad_data", "setting query.max_selectors"},
		"/query?query=up&time=600&max_samples_processed_error_threshold=1":    {"422", "execution", "query processed 2 samples"},
		"/query?query=up&time=600&max_samples_processed_warning_threshold=-1": {"400", "bad_data", "greater than 0"},
	} {
		code, body := f.get(t, "ws-1", path)
		require.Equal(t, want[0], fmt.Sprint(code), "%s: %s", path, body)
		require.Contains(t, body, `"errorType":"`+want[1]+`"`)
		require.Contains(t, body, want[2])
	}
	_, body := f.get(t, "ws-1", "/query?query=up&time=600&max_samples_processed_warning_threshold=1")
	require.Contains(t, body, `"warnings":["query processed 2 samples, more than its max_samples_processed_warning_threshold of 1"]`)
}

func TestDeleteSeries(t *testing.T) {
	f := open(t, Config{}, map[string]string{"ws-1": script})
	code, body := f.do(t, httptest.NewRequest("POST", "/", nil), "ws-1", "/admin/tsdb/delete_series?match[]="+url.QueryEscape(`up{job="a"}`))
	require.Equal(t, 204, code, body)
	code, body = f.do(t, httptest.NewRequest("PUT", "/", nil), "ws-1", "/admin/tsdb/clean_tombstones")
	require.Equal(t, 204, code, body)
	for _, expr := range []string{"up", "sum by (job) (up)", "max_over_time(up[5m])"} {
		_, body = f.get(t, "ws-1", "/query?time=600&query="+url.QueryEscape(expr))
		require.Contains(t, body, `"job":"b/c"`)
		require.NotContains(t, body, `"job":"a"`)
	}
	code, _ = f.do(t, httptest.NewRequest("POST", "/", nil), "ws-1", "/admin/tsdb/delete_series")
	require.Equal(t, 400, code)
	code, _ = f.do(t, httptest.NewRequest("POST", "/", nil), "ws-1", "/admin/tsdb/snapshot")
	require.Equal(t, 404, code)
}

func TestFederate(t *testing.T) {
	now := time.UnixMilli(600_000)
	f := open(t, Config{now: func() time.Time { return now }}, map[string]string{"ws-1": script + "  old 1 1 stale\n  up{instance=\"i\"} 1x9 stale\n  z 1x20\n  h {{schema:0 sum:5 count:4 buckets:[1 2 1]}}x20\n"})
	const up = "up{job=\"a\",instance=\"\"} 10 600000\nup{job=\"b/c\",instance=\"\"} 20 600000\n"
	code, body := f.get(t, "ws-1", "/federate?match[]=up&match[]=old&match[]="+url.QueryEscape(`{job="a"}`))
	require.Equal(t, 200, code)
	require.Equal(t, "# TYPE up untyped\n"+up+"\n", body+"\n")
	now = time.UnixMilli(860_000) // z goes on, up is old but good
	_, body = f.get(t, "ws-1", "/federate?match[]=z&match[]=h")
	require.Equal(t, "# TYPE z untyped\nz{instance=\"\"} 1 840000\n", body)
	now = time.UnixMilli(910_000)
	_, body = f.get(t, "ws-1", "/federate?match[]=up")
	require.Empty(t, body)
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Accept", "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=text")
	_, body = f.do(t, r, "ws-1", "/federate?match[]=h")
	require.Contains(t, body, "sample_count_float:")
	code, _ = f.get(t, "ws-1", "/federate?match[]=up{")
	require.Equal(t, 400, code)
}

func TestLog(t *testing.T) {
	f := open(t, Config{}, map[string]string{"ws-1": script})
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("User-Agent", "grafana")
	_, _ = f.do(t, r, "ws-1", "/query_range?query=rate(up[2m])&start=120&end=180&step=60")
	_, _ = f.get(t, "ws-1", "/query?query=up&time=60&max_samples_processed_error_threshold=1")
	_, _ = f.get(t, "ws-1", "/series?match[]=up&match[]=down&start=1")
	_, _ = f.get(t, "ws-1", "/status/buildinfo")
	q, err := f.EngineOf("ws-1", "rules").NewInstantQuery(context.Background(), f.stores["ws-1"], nil, "sum(up)", time.Unix(60, 0))
	require.NoError(t, err)
	require.NoError(t, q.Exec(context.Background()).Err)
	got := f.logged()
	for i := range got {
		require.False(t, got[i].Time.IsZero())
		require.Positive(t, got[i].Eval)
		got[i].Time, got[i].Eval, got[i].Queue = time.Time{}, 0, 0
	}
	const who, source = "arn:aws:iam::000000000000:user/a", "10.0.0.1"
	require.Equal(t, []LogEntry{
		{Workspace: "ws-1", Who: who, Source: source, UserAgent: "grafana", Kind: "query_range", Query: "rate(up[2m])", Start: "120", End: "180", Step: "60",
			Samples: 8, Read: 6, Peak: got[0].Peak, Status: 200},
		{Workspace: "ws-1", Who: who, Source: source, Kind: "query", Query: "up", End: "60", Samples: 2, Read: 2, Peak: 2, Status: 422,
			Error: "query processed 2 samples, more than its max_samples_processed_error_threshold of 1"},
		{Workspace: "ws-1", Who: who, Source: source, Kind: "series", Query: "up or down", Start: "1", Status: 200},
		{Workspace: "ws-1", Who: "rules", Kind: "query", Query: "sum(up)", End: "1970-01-01T00:01:00Z", Samples: 2, Read: 2, Peak: got[3].Peak, Status: 200},
	}, got)
}

func TestFileLog(t *testing.T) {
	file := filepath.Join(t.TempDir(), "logs", "queries.log")
	l, err := OpenFileLog(FileLogConfig{File: file, MaxSize: 1000, MaxFiles: 2}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	for i := range 30 {
		l.LogQuery(LogEntry{Time: time.UnixMilli(1500), Workspace: "ws-1", Kind: "query", Query: fmt.Sprintf("up{a=\"%d\"}\n", i), Samples: 7, Eval: 1500 * time.Millisecond, Status: 200})
	}
	l.LogQuery(LogEntry{Query: strings.Repeat("망", maxLogText)})
	require.NoError(t, l.Close())
	require.Zero(t, l.Lost())
	files, err := filepath.Glob(file + "*")
	require.NoError(t, err)
	require.Equal(t, []string{file, file + ".1", file + ".2"}, files)
	text, err := os.ReadFile(file + ".1")
	require.NoError(t, err)
	require.LessOrEqual(t, len(text), 1000)
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	require.JSONEq(t, `{"time":"1970-01-01T00:00:01.500Z","workspace":"ws-1","kind":"query","query":"up{a=\"29\"}\n","samples":7,"samples_read":0,"samples_peak":0,
		"queue_seconds":0,"eval_seconds":1.5,"status":200}`, lines[len(lines)-1])
	text, err = os.ReadFile(file)
	require.NoError(t, err)
	var last struct{ Query string }
	require.NoError(t, json.Unmarshal(text, &last))
	require.Equal(t, strings.Repeat("망", maxLogText/3)+"...", last.Query)
	info, err := os.Stat(file)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	_, err = OpenFileLog(FileLogConfig{}, nil)
	require.Error(t, err)
}

func TestFileLogCountsWhatIsLost(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "logs")
	l, err := OpenFileLog(FileLogConfig{File: filepath.Join(dir, "q.log"), MaxSize: 10}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	l.LogQuery(LogEntry{})
	require.NoError(t, os.RemoveAll(dir))
	l.LogQuery(LogEntry{}) // needs another file, and has no place for it
	require.EqualValues(t, 1, l.Lost())
	require.NoError(t, os.Mkdir(dir, 0o700))
	l.LogQuery(LogEntry{})
	require.EqualValues(t, 1, l.Lost())
	require.NoError(t, l.Close())
}

// fakeEngine makes queries that run until they are let go.
type fakeEngine struct {
	run func(context.Context) *promql.Result
}

func (e fakeEngine) NewInstantQuery(context.Context, storage.Queryable, promql.QueryOpts, string, time.Time) (promql.Query, error) {
	return fakeQuery{run: e.run}, nil
}

func (e fakeEngine) NewRangeQuery(context.Context, storage.Queryable, promql.QueryOpts, string, time.Time, time.Time, time.Duration) (promql.Query, error) {
	return fakeQuery{run: e.run}, nil
}

type fakeQuery struct {
	promql.Query
	run func(context.Context) *promql.Result
}

func (q fakeQuery) Exec(ctx context.Context) *promql.Result { return q.run(ctx) }
func (q fakeQuery) Close()                                  {}
func (q fakeQuery) Stats() *stats.Statistics                { return nil }

// Queries take ten seconds each. Two may run, one may wait, and after 15 seconds
// it is no use.
func TestQueueOverHTTP(t *testing.T) {
	f := open(t, Config{MaxConcurrent: 2, MaxWaiting: 3, Timeout: 15 * time.Second}, map[string]string{"ws-1": script})
	synctest.Test(t, func(t *testing.T) {
		f.engine = &tracked{cfg: &f.cfg, engine: fakeEngine{func(ctx context.Context) *promql.Result {
			select {
			case <-time.After(10 * time.Second):
				return &promql.Result{Value: promql.Vector{}}
			case <-ctx.Done():
				return &promql.Result{Err: promql.ErrQueryTimeout("expression evaluation")}
			}
		}}}
		type reply struct {
			code int
			body string
		}
		replies := make(chan reply, 7)
		for range cap(replies) {
			go func() {
				w := httptest.NewRecorder()
				_ = f.ServeWorkspace(w, httptest.NewRequest("GET", "/?query=up", nil), "ws-1", "/query")
				if w.Code == 429 && w.Header().Get("Retry-After") != "1" {
					t.Error("no Retry-After")
				}
				replies <- reply{w.Code, w.Body.String()}
			}()
		}
		got := map[string]int{}
		for range cap(replies) {
			r := <-replies
			switch {
			case r.code == 200:
				got["ok"]++
			case r.code == 429 && strings.Contains(r.body, "too many outstanding requests") && strings.Contains(r.body, `"message"`):
				got["full"]++
			case r.code == 422 && strings.Contains(r.body, "timed out in the queue"):
				got["waited"]++
			case r.code == 422 && strings.Contains(r.body, "query timed out - consider simplifying your query"):
				got["ran"]++
			default:
				t.Errorf("unexpected: %d %s", r.code, r.body)
			}
		}
		// Two at once, two more after ten seconds for five, one not at all.
		require.Equal(t, map[string]int{"ok": 2, "ran": 2, "waited": 1, "full": 2}, got)
	})
	require.InDelta(t, 2, testutil.ToFloat64(f.metrics.rejected.WithLabelValues("ws-1", "queue_full")), 0)
	require.InDelta(t, 1, testutil.ToFloat64(f.metrics.rejected.WithLabelValues("ws-1", "queue_timeout")), 0)
}

func TestClientGoneInTheQueue(t *testing.T) {
	f := open(t, Config{MaxConcurrent: 1}, map[string]string{"ws-1": script})
	leave, err := f.queue.enter(context.Background(), "ws-1")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	code, body := f.do(t, httptest.NewRequest("GET", "/", nil).WithContext(ctx), "ws-1", "/query?query=up")
	require.Equal(t, statusClientGone, code, body)
	leave()
	require.Empty(t, f.queue.flows)
}

// A query that would take hours ends when nobody waits for it any more.
func TestClientGone(t *testing.T) {
	for _, expr := range []string{
		"sum(sum_over_time(rate(up[5m])[10m:1ms]))",  // in Prometheus' engine
		"sum(quantile_over_time(0.5, many[10000d]))", // ahead of it
	} {
		f := open(t, Config{Timeout: time.Hour}, map[string]string{"ws-1": script + "  many{a=\"1\"} 0+1x60000\n  many{a=\"2\"} 0+1x60000\n  many{a=\"3\"} 0+1x60000\n"})
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_ = f.ServeWorkspace(w, r, "ws-1", "/query_range")
		}))
		ctx, cancel := context.WithCancel(context.Background())
		r, err := http.NewRequestWithContext(ctx, "GET", server.URL+"/?start=3000000&end=3600000&step=60&query="+url.QueryEscape(expr), nil)
		require.NoError(t, err)
		done := make(chan error, 1)
		go func() {
			res, err := http.DefaultClient.Do(r)
			if err == nil {
				_ = res.Body.Close()
			}
			done <- err
		}()
		require.Eventually(t, func() bool { return testutil.CollectAndCount(f.metrics, "mangru_query_running") == 1 }, time.Minute, time.Millisecond)
		cancel()
		require.ErrorIs(t, <-done, context.Canceled, expr)
		require.Eventually(t, func() bool { return testutil.CollectAndCount(f.metrics, "mangru_query_running") == 0 }, time.Minute, time.Millisecond, expr)
		server.Close()
		entries := f.logged()
		require.Len(t, entries, 1)
		require.Equal(t, statusClientGone, entries[0].Status)
		require.Contains(t, entries[0].Error, "canceled")
		http.DefaultClient.CloseIdleConnections()
	}
}
