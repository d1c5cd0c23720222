package query

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/teststorage"
	v1 "github.com/prometheus/prometheus/web/api/v1"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memory is a storage filled by a script. Nothing here asks for the statistics.
type memory struct {
	*teststorage.TestStorage
	v1.TSDBAdminStats
	mu       sync.Mutex
	values   map[any]any
	families []string
}

func (m *memory) Value(key any, create func() any) any {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.values[key]; !ok {
		m.values[key] = create()
	}
	return m.values[key]
}

func (m *memory) EachMetadata(name string, f func(family, typ, help, unit string) bool) {
	for _, family := range m.families {
		if (name == "" || name == family) && !f(family, "gauge", "help of "+family, "") {
			return
		}
	}
}

type fixture struct {
	*Handler
	stores   map[string]*memory
	mu       sync.Mutex
	released int
}

func open(t *testing.T, cfg Config, scripts map[string]string) *fixture {
	t.Helper()
	f := &fixture{stores: map[string]*memory{}}
	for id, script := range scripts {
		m := &memory{TestStorage: promqltest.LoadedStorage(t, script), values: map[any]any{}, families: []string{"a", "b", "c"}}
		t.Cleanup(func() { _ = m.TestStorage.Close() })
		f.stores[id] = m
	}
	cfg.Registerer = prometheus.NewRegistry()
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

func (f *fixture) get(t *testing.T, ws, path string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	p, query, _ := strings.Cut(path, "?")
	r := httptest.NewRequest("GET", "/workspaces/"+ws+"/api/v1/x?"+query, nil)
	require.NoError(t, f.ServeWorkspace(w, r, ws, p))
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
}

func TestAPI(t *testing.T) {
	f := open(t, Config{Version: "1.2.3"}, map[string]string{"ws-1": script})
	for path, want := range map[string]string{
		"/query_range?query=up&start=0&end=120&step=60": `[120,"2"]`,
		"/labels":                       `["__name__","job"]`,
		"/label/job/values":             `["a","b/c"]`,
		"/series?match[]=up":            `"job":"b/c"`,
		"/metadata?metric=b":            `{"b":[{"type":"gauge","help":"help of b","unit":""}]}`,
		"/status/buildinfo":             `"version":"1.2.3"`,
		"/rules":                        `{"groups":[]}`,
		"/alerts":                       `{"alerts":[]}`,
		"/parse_query?query=up":         `"vectorSelector"`,
		"/format_query?query=sum+(+up)": `"sum(up)"`,
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
	f := open(t, Config{MaxSamples: 5}, map[string]string{"ws-1": script})
	for path, want := range map[string][]string{
		"/query?query=up{":                              {"400", "bad_data", "parse error"},
		"/query?query=up&time=x":                        {"400", "bad_data", "time"},
		"/query_range?query=up&start=0&end=1&step=0":    {"400", "bad_data", "step"},
		"/query_range?query=up&start=0&end=600&step=60": {"422", "execution", "limit 5, setting query.max_samples"},
		"/metadata?limit=x":                             {"400", "bad_data", "limit must be a number"},
	} {
		code, body := f.get(t, "ws-1", path)
		require.Equal(t, want[0], fmt.Sprint(code), "%s: %s", path, body)
		require.Contains(t, body, `"errorType":"`+want[1]+`"`)
		require.Contains(t, body, want[2])
	}
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

func exec(ctx context.Context, l *limited) error {
	q, err := l.NewInstantQuery(ctx, nil, nil, "", time.Time{})
	if err != nil {
		return err
	}
	return q.Exec(ctx).Err
}

func TestConcurrencyAndTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		running, most := 0, 0
		l := newLimited(fakeEngine{func(ctx context.Context) *promql.Result {
			mu.Lock()
			running++
			most = max(most, running)
			mu.Unlock()
			defer func() { mu.Lock(); running--; mu.Unlock() }()
			select {
			case <-time.After(10 * time.Second):
				return &promql.Result{}
			case <-ctx.Done():
				return &promql.Result{Err: promql.ErrQueryTimeout("expression evaluation")}
			}
		}}, Config{MaxConcurrent: 2, Timeout: 25 * time.Second})
		errs := make(chan error, 7)
		for range cap(errs) {
			go func() { errs <- exec(context.Background(), l) }()
		}
		var ok, inQueue, running2 int
		for range cap(errs) {
			switch err := <-errs; {
			case err == nil:
				ok++
			case strings.Contains(err.Error(), "timed out in the queue") && strings.Contains(err.Error(), "query.max_concurrent"):
				inQueue++
			case strings.Contains(err.Error(), "setting query.timeout"):
				running2++
			default:
				t.Errorf("unexpected: %v", err)
			}
		}
		// Two at 10 s, two at 20 s, two cut off at 25 s, one never begun.
		require.Equal(t, []int{2, 4, 2, 1}, []int{most, ok, running2, inQueue})
	})
}

func TestCancelInTheQueue(t *testing.T) {
	l := newLimited(fakeEngine{func(context.Context) *promql.Result { return &promql.Result{} }}, Config{MaxConcurrent: 1, Timeout: time.Minute})
	l.slots <- struct{}{}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var canceled promql.ErrQueryCanceled
	require.ErrorAs(t, exec(ctx, l), &canceled)
}
