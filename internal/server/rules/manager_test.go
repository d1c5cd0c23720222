package rules

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/notifier"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	promrules "github.com/prometheus/prometheus/rules"
	"github.com/prometheus/prometheus/storage"
	"github.com/stretchr/testify/require"
	"github.com/uptrace/bun"
	"go.uber.org/goleak"

	"github.com/mangru/mangru/internal/server/ingest"
	"github.com/mangru/mangru/internal/server/store"
	"github.com/mangru/mangru/internal/server/workspace"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is a store, ingest, an engine and a Manager, as the program plugs them.
type server struct {
	t       *testing.T
	dir     string
	conn    *bun.DB
	ws      *workspace.Workspace
	store   *store.Store
	ingest  *ingest.Handler
	engine  *promql.Engine
	reg     *prometheus.Registry
	records *Records
	m       *Manager
	cancel  context.CancelFunc
	done    chan struct{}

	mu     sync.Mutex
	alerts []*notifier.Alert
	limits ingest.Limits
	adjust func(*Config)
}

func newServer(t *testing.T) *server {
	s := &server{t: t, dir: t.TempDir(), conn: openDB(t)}
	s.ws = newWorkspace(t, s.conn)
	t.Cleanup(s.stop)
	return s
}

func (s *server) start() {
	t, logger := s.t, slog.New(slog.DiscardHandler)
	var err error
	s.reg = prometheus.NewRegistry()
	s.store, err = store.New(store.Config{Dir: s.dir, MinFreeDisk: -1}, logger)
	require.NoError(t, err)
	require.NoError(t, s.store.Create(t.Context(), s.ws.ID))
	s.ingest, err = ingest.New(ingest.Config{Limits: s.limits, Registerer: s.reg, Open: func(ctx context.Context, id string) (ingest.Target, error) {
		return s.store.AcquireWrite(ctx, id)
	}}, logger)
	require.NoError(t, err)
	s.engine = promql.NewEngine(promql.EngineOpts{Logger: logger, MaxSamples: 1e6, Timeout: time.Minute, Parser: parser.NewParser(parser.Options{})})
	s.records = NewRecords(RecordsConfig{}, s.conn)
	cfg := Config{
		Engine: func(string) promql.QueryEngine { return s.engine }, Open: s.open, Write: s.ingest.ServeWorkspace, Registerer: s.reg,
		Notify: func(id string, alerts ...*notifier.Alert) {
			require.Equal(t, s.ws.ID, id)
			s.mu.Lock()
			defer s.mu.Unlock()
			s.alerts = append(s.alerts, alerts...)
		},
		ExternalURL: func(id string) string { return "https://mangru.example/" + id },
	}
	if s.adjust != nil {
		s.adjust(&cfg)
	}
	s.m, err = NewManager(cfg, s.records, logger)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel, s.done = cancel, make(chan struct{})
	go func() { defer close(s.done); _ = s.m.Run(ctx) }()
}

func (s *server) open(ctx context.Context, id string) (storage.Queryable, func(), error) {
	h, err := s.store.AcquireRead(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	return h.DB, h.Release, nil
}

func (s *server) stop() {
	if s.cancel == nil {
		return
	}
	s.cancel()
	<-s.done
	s.cancel = nil
	require.NoError(s.t, s.store.Close(context.Background()))
	require.NoError(s.t, s.engine.Close())
}

func (s *server) create(name, data string) {
	s.t.Helper()
	_, err := s.records.Create(s.t.Context(), s.ws, workspace.Definition{Name: name, Data: []byte(data)}, "")
	require.NoError(s.t, err)
	s.settled(name, workspace.StatusActive)
}

// settled waits until the Manager has done what the records say.
func (s *server) settled(name string, want workspace.Status) {
	s.t.Helper()
	for range 1000 {
		n, err := s.records.Describe(s.t.Context(), s.ws, name)
		if want == "" && isNotFound(err) {
			return
		}
		require.NoError(s.t, err)
		if n.Status == want {
			return
		}
		time.Sleep(10 * time.Millisecond) // of the bubble
	}
	s.t.Fatalf("%s did not become %q", name, want)
}

// send writes samples of now, by the way that senders take.
func (s *server) send(series ...string) {
	s.t.Helper()
	a := &appender{ctx: s.t.Context(), write: s.ingest.ServeWorkspace, workspace: s.ws.ID, logger: slog.New(slog.DiscardHandler)}
	for _, line := range series {
		sel, value, _ := strings.Cut(line, " ")
		l, err := parser.NewParser(parser.Options{}).ParseMetric(sel)
		require.NoError(s.t, err)
		var v float64
		_, err = fmt.Sscan(value, &v)
		require.NoError(s.t, err)
		_, err = a.Append(0, l, time.Now().UnixMilli(), v)
		require.NoError(s.t, err)
	}
	require.NoError(s.t, a.Commit())
}

func (s *server) query(expr string) string {
	s.t.Helper()
	st, release, err := s.open(s.t.Context(), s.ws.ID)
	require.NoError(s.t, err)
	defer release()
	v, err := promrules.EngineQueryFunc(s.engine, st)(s.t.Context(), expr, time.Now())
	require.NoError(s.t, err)
	lines := make([]string, 0, len(v))
	for _, smp := range v {
		lines = append(lines, fmt.Sprintf("%s %v", smp.Metric, smp.F))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// taken returns the alerts since the last call: name, state by end.
func (s *server) taken() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, a := range s.alerts {
		state := "firing"
		if !a.EndsAt.After(time.Now()) {
			state = "resolved"
		}
		line := a.Labels.Get(labels.AlertName) + " " + state
		if !slices.Contains(out, line) {
			out = append(out, line)
		}
	}
	s.alerts = nil
	return out
}

const sampleRules = `groups:
- name: recording
  interval: 15s
  rules:
  - record: job:errors:sum
    expr: sum by (job) (errors)
    labels: {team: core}
- name: alerting
  interval: 15s
  labels: {region: eu}
  rules:
  - alert: Errors
    expr: job:errors:sum > 5
    for: 2m
    labels: {severity: page}
    annotations: {summary: '{{ $labels.job }} has {{ $value }} errors'}
`

type rulesData struct {
	Groups []struct {
		Name, File string
		Interval   float64
		Rules      []struct {
			Name, State, Type, Health, LastError, Query string
			Labels                                      map[string]string
			Alerts                                      []map[string]any
		}
	}
	GroupNextToken string
}

func TestRulesFromSamplesToAlerts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		defer s.conn.Close()
		defer s.stop()
		s.start()
		s.create("app", sampleRules)

		tick := func(d time.Duration, errs float64) {
			t.Helper()
			for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(15 * time.Second) {
				s.send(fmt.Sprintf(`errors{job="a",pod="1"} %v`, errs), `errors{job="a",pod="2"} 3`, `errors{job="b",pod="1"} 1`)
			}
		}
		tick(time.Minute, 1)
		require.Equal(t, `{__name__="job:errors:sum", job="a", team="core"} 4`+"\n"+`{__name__="job:errors:sum", job="b", team="core"} 1`, s.query("job:errors:sum"))
		require.Empty(t, s.taken())

		tick(time.Minute, 4)
		var alerts struct{ Alerts []map[string]any }
		apiResponse(t, s.m, s.ws.ID, "/alerts", &alerts)
		require.Len(t, alerts.Alerts, 1)
		require.Equal(t, "pending", alerts.Alerts[0]["state"])
		require.Empty(t, s.taken())

		tick(2*time.Minute, 4)
		apiResponse(t, s.m, s.ws.ID, "/alerts", &alerts)
		require.Equal(t, "firing", alerts.Alerts[0]["state"])
		require.Equal(t, map[string]any{"alertname": "Errors", "job": "a", "team": "core", "severity": "page", "region": "eu"}, alerts.Alerts[0]["labels"])
		require.Equal(t, map[string]any{"summary": "a has 7 errors"}, alerts.Alerts[0]["annotations"])
		require.Equal(t, "7e+00", alerts.Alerts[0]["value"])
		s.mu.Lock()
		require.True(t, strings.HasPrefix(s.alerts[0].GeneratorURL, "https://mangru.example/"+s.ws.ID+"/graph?g0.expr=job"), s.alerts[0].GeneratorURL)
		s.mu.Unlock()
		require.Equal(t, []string{"Errors firing"}, s.taken())
		require.Equal(t, `{__name__="ALERTS", alertname="Errors", alertstate="firing", job="a", region="eu", severity="page", team="core"} 1`, s.query("ALERTS"))

		tick(time.Minute, 0)
		require.Contains(t, s.taken(), "Errors resolved")
		require.Empty(t, s.query("ALERTS"), "the end of a series is written at once")

		var got rulesData
		apiResponse(t, s.m, s.ws.ID, "/rules", &got)
		require.Len(t, got.Groups, 2)
		require.Equal(t, "app", got.Groups[0].File)
		require.Equal(t, []string{"alerting", "recording"}, []string{got.Groups[0].Name, got.Groups[1].Name})
		require.Equal(t, []string{"inactive", "alerting", "ok"}, []string{got.Groups[0].Rules[0].State, got.Groups[0].Rules[0].Type, got.Groups[0].Rules[0].Health})
		families, err := s.reg.Gather()
		require.NoError(t, err)
		found := false
		for _, f := range families {
			if f.GetName() == "mangru_prometheus_rule_evaluations_total" {
				found = true
				require.Contains(t, f.GetMetric()[0].String(), s.ws.ID)
				require.Greater(t, f.GetMetric()[0].GetCounter().GetValue(), 4.0)
			}
		}
		require.True(t, found)
		// Without rules there is nothing.
		require.NoError(t, s.records.Delete(t.Context(), s.ws, "app", ""))
		s.settled("app", "")
		require.Empty(t, s.m.Groups(s.ws.ID))
		families, err = s.reg.Gather()
		require.NoError(t, err)
		for _, f := range families {
			require.False(t, strings.HasPrefix(f.GetName(), "mangru_prometheus_rule"), f.GetName())
		}
	})
}

func TestRestartRestoresAlerts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		defer s.conn.Close()
		defer s.stop()
		s.start()
		s.create("app", "groups:\n- name: g\n  interval: 15s\n  rules:\n  - {alert: Down, expr: up == 0, for: 30m}\n")
		run := func(d time.Duration) {
			for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(15 * time.Second) {
				s.send(`up{job="a"} 0`)
			}
		}
		state := func() (string, time.Time) {
			var alerts struct {
				Alerts []struct {
					State    string
					ActiveAt time.Time
				}
			}
			apiResponse(t, s.m, s.ws.ID, "/alerts", &alerts)
			require.Len(t, alerts.Alerts, 1)
			return alerts.Alerts[0].State, alerts.Alerts[0].ActiveAt
		}
		run(28 * time.Minute)
		before, since := state()
		require.Equal(t, "pending", before)

		s.stop()
		time.Sleep(time.Minute)
		s.start()
		run(time.Minute)
		_, restored := state()
		// Less than the grace period was left to wait, so that is what is waited.
		require.Less(t, restored.Sub(since), 11*time.Minute, "the time before the restart counts")
		require.Empty(t, s.taken())
		run(11 * time.Minute)
		after, _ := state()
		require.Equal(t, "firing", after, "not half an hour from the restart")
		require.Equal(t, []string{"Down firing"}, s.taken())

		// One that was firing fires again without waiting.
		s.stop()
		time.Sleep(2 * time.Minute)
		s.start()
		run(time.Minute)
		after, _ = state()
		require.Equal(t, "firing", after)
	})
}

func TestReloadLeavesUnchangedGroupsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		defer s.conn.Close()
		defer s.stop()
		s.start()
		group := "- name: %s\n  interval: 15s\n  rules:\n  - {alert: Down, expr: up == 0, for: 10m}\n  - {record: %s, expr: sum(up)}\n"
		s.create("app", "groups:\n"+fmt.Sprintf(group, "stays", "x")+fmt.Sprintf(group, "goes", "y"))
		s.create("other", "groups:\n"+fmt.Sprintf(group, "elsewhere", "z"))
		run := func(d time.Duration) {
			for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(15 * time.Second) {
				s.send(`up{job="a"} 0`)
			}
		}
		run(9 * time.Minute)
		stays := s.m.Groups(s.ws.ID)[1]
		require.Equal(t, "stays", stays.Name())

		// "stays" goes on, "goes" goes, and "new" comes.
		_, err := s.records.Put(t.Context(), s.ws, "app", []byte("groups:\n"+fmt.Sprintf(group, "stays", "x")+fmt.Sprintf(group, "new", "y")), "")
		require.NoError(t, err)
		s.settled("app", workspace.StatusActive)
		groups := s.m.Groups(s.ws.ID)
		require.Len(t, groups, 3)
		require.Same(t, stays, groups[1])
		run(2 * time.Minute)
		require.Equal(t, "firing", stays.AlertingRules()[0].State().String(), "its ten minutes did not begin again")
		require.Equal(t, "pending", groups[0].AlertingRules()[0].State().String())

		// Rules of another revision of a group take over its alerts.
		_, err = s.records.Put(t.Context(), s.ws, "app", []byte("groups:\n"+strings.Replace(fmt.Sprintf(group, "stays", "x2"), "15s", "30s", 1)), "")
		require.NoError(t, err)
		s.settled("app", workspace.StatusActive)
		require.Equal(t, "firing", s.m.Groups(s.ws.ID)[0].AlertingRules()[0].ActiveAlerts()[0].State.String())

		// Of data that does not load, the rules from before stay.
		_, err = s.conn.NewUpdate().Table("rule_namespaces").Set("data = ?", "groups: [{name: g, rules: [{record: a, expr: 'sum('}]}]").
			Set("revision = revision + 1").Set("status = ?", string(workspace.StatusUpdating)).Where("name = ?", "app").Exec(t.Context())
		require.NoError(t, err)
		s.records.kick()
		s.settled("app", workspace.StatusUpdateFailed)
		n, err := s.records.Describe(t.Context(), s.ws, "app")
		require.NoError(t, err)
		require.Contains(t, n.StatusReason, "could not parse expression")
		require.Len(t, s.m.Groups(s.ws.ID), 2)
	})
}

func TestOffsetLimitsAndRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		defer s.conn.Close()
		defer s.stop()
		s.limits = ingest.Limits{MaxLabelValue: 20}
		s.adjust = func(c *Config) { c.QueryOffset = func(string) time.Duration { return time.Minute } }
		s.start()
		s.create("app", `groups:
- name: default
  interval: 15s
  rules: [{record: late, expr: v}]
- name: own
  interval: 15s
  query_offset: 0s
  rules: [{record: now, expr: v}]
- name: limited
  interval: 15s
  limit: 1
  rules: [{record: l, expr: many}]
- name: refused
  interval: 15s
  rules:
  - {record: r, expr: v, labels: {l: 123456789012345678901}}
  - {record: fine, expr: v}
`)
		for n := range 9 {
			s.send(fmt.Sprintf("v %d", n), `many{a="1"} 1`, `many{a="2"} 1`)
			time.Sleep(15 * time.Second)
		}
		require.Equal(t, `{__name__="now"} 8`, s.query("now"))
		late := s.query("late")
		require.Contains(t, []string{`{__name__="late"} 4`, `{__name__="late"} 5`}, late)

		var got rulesData
		apiResponse(t, s.m, s.ws.ID, "/rules?rule_group[]=limited&rule_group[]=refused", &got)
		require.Len(t, got.Groups, 2)
		require.Equal(t, "err", got.Groups[0].Rules[0].Health)
		require.Contains(t, got.Groups[0].Rules[0].LastError, "exceeded limit of 1 with 2 series")
		require.Equal(t, "err", got.Groups[1].Rules[0].Health)
		require.Contains(t, got.Groups[1].Rules[0].LastError, "label value too long (actual: 21, limit: 20", "what ingest said")
		require.Equal(t, "ok", got.Groups[1].Rules[1].Health)
	})
}

func TestConcurrencyIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		defer s.conn.Close()
		defer s.stop()
		var mu sync.Mutex
		running, most := map[string]int{}, map[string]int{}
		s.adjust = func(c *Config) {
			c.MaxConcurrent, c.MaxPerWorkspace = 3, 2
			open := c.Open
			c.Notify = nil
			c.Open = func(ctx context.Context, id string) (storage.Queryable, func(), error) {
				mu.Lock()
				for _, k := range []string{id, "all"} {
					running[k]++
					most[k] = max(most[k], running[k])
				}
				mu.Unlock()
				time.Sleep(5 * time.Second)
				q, release, err := open(ctx, s.ws.ID)
				return q, func() {
					mu.Lock()
					running[id]--
					running["all"]--
					mu.Unlock()
					release()
				}, err
			}
		}
		s.start()
		data := "groups:\n"
		for n := range 6 {
			data += fmt.Sprintf("- {name: g%d, interval: 1m, rules: [{record: r%d, expr: '1'}, {record: s%d, expr: '1'}]}\n", n, n, n)
		}
		s.create("app", data)
		other := newWorkspace(t, s.conn)
		require.NoError(t, s.store.Create(t.Context(), other.ID))
		_, err := s.records.Create(t.Context(), other, workspace.Definition{Name: "app", Data: []byte(data)}, "")
		require.NoError(t, err)
		time.Sleep(10 * time.Minute)
		mu.Lock()
		require.Equal(t, map[string]int{s.ws.ID: 2, other.ID: 2, "all": 3}, most)
		mu.Unlock()

		// A workspace that is removed is let go of at once.
		require.NoError(t, s.m.Remove(t.Context(), other.ID))
		require.Empty(t, s.m.Groups(other.ID))
		require.Len(t, s.m.Groups(s.ws.ID), 6)
		rows, err := s.records.load(t.Context(), other.ID)
		require.NoError(t, err)
		require.Empty(t, rows)
	})
}

func TestRulesAPIFilters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		defer s.conn.Close()
		defer s.stop()
		s.start()
		s.create("one", "groups:\n- {name: a, rules: [{record: r, expr: '1', labels: {x: y}}, {alert: A, expr: '1'}]}\n- {name: b, rules: [{record: r, expr: '1'}]}\n")
		s.create("two", "groups:\n- {name: a, rules: [{alert: B, expr: '1'}]}\n")
		list := func(query string) (out []string, next string) {
			var got rulesData
			apiResponse(t, s.m, s.ws.ID, "/rules?"+query, &got)
			for _, g := range got.Groups {
				for _, r := range g.Rules {
					out = append(out, g.File+"/"+g.Name+"/"+r.Name)
				}
			}
			return out, got.GroupNextToken
		}
		for query, want := range map[string][]string{
			"":                                      {"one/a/r", "one/a/A", "one/b/r", "two/a/B"},
			"type=alert":                            {"one/a/A", "two/a/B"},
			"type=record":                           {"one/a/r", "one/b/r"},
			"rule_name[]=r&rule_name[]=B":           {"one/a/r", "one/b/r", "two/a/B"},
			"rule_group[]=a&file[]=two":             {"two/a/B"},
			"match[]={x=\"y\"}&exclude_alerts=true": {"one/a/r"},
		} {
			got, next := list(strings.ReplaceAll(strings.ReplaceAll(query, "{", "%7B"), "\"", "%22"))
			require.Equal(t, want, got, query)
			require.Empty(t, next)
		}
		got, next := list("group_limit=2")
		require.Equal(t, []string{"one/a/r", "one/a/A", "one/b/r"}, got)
		got, next = list("group_limit=2&group_next_token=" + next)
		require.Equal(t, []string{"two/a/B"}, got)
		require.Empty(t, next)
		for query, message := range map[string]string{
			"type=x": "not supported value", "group_limit=0": "greater than 0", "group_next_token=x": "group_limit is needed",
			"group_limit=1&group_next_token=x": "were rule groups changed", "exclude_alerts=x": "neither true nor false", "match[]=%7B": "match[]",
		} {
			w := &response{header: http.Header{}, status: http.StatusOK}
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "/rules?"+query, nil)
			require.NoError(t, err)
			require.NoError(t, s.m.ServeWorkspace(w, r, s.ws.ID, "/rules"))
			require.Equal(t, http.StatusBadRequest, w.status)
			require.Contains(t, w.body.String(), message)
		}
	})
}

func TestWriteErrorsReachTheRule(t *testing.T) {
	writes := 0
	a := &appender{ctx: t.Context(), workspace: "w", logger: slog.New(slog.DiscardHandler), write: func(w http.ResponseWriter, r *http.Request, _ string) error {
		writes++
		b, err := io.ReadAll(r.Body)
		require.NoError(t, err)
		require.Equal(t, b, r.Body.(interface{ Bytes() []byte }).Bytes())
		if bytes.Contains(b, []byte("unavailable")) {
			http.Error(w, "disk full", http.StatusServiceUnavailable)
		} else if bytes.Contains(b, []byte("gone")) {
			return errors.New("no storage")
		} else if !bytes.Contains(b, []byte("fine")) {
			http.Error(w, "bad", http.StatusBadRequest)
		}
		return nil
	}}
	for metric, want := range map[string]string{"unavailable": "disk full", "gone": "write samples: no storage", "refused": "bad", "fine": ""} {
		_, err := a.Append(0, labels.FromStrings("__name__", metric), 1, 1)
		require.NoError(t, err)
		err = a.Commit()
		if want == "" {
			require.NoError(t, err)
		} else {
			require.EqualError(t, err, want)
		}
	}
	require.Equal(t, 4, writes)
	require.NoError(t, a.Commit(), "nothing is left of what was committed")
	require.Equal(t, 4, writes)
}
