package alerts

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/go-openapi/runtime/client"
	"github.com/go-openapi/strfmt"
	amclient "github.com/prometheus/alertmanager/api/v2/client"
	"github.com/prometheus/alertmanager/api/v2/client/alert"
	"github.com/prometheus/alertmanager/api/v2/client/alertgroup"
	"github.com/prometheus/alertmanager/api/v2/client/general"
	"github.com/prometheus/alertmanager/api/v2/client/receiver"
	"github.com/prometheus/alertmanager/api/v2/client/silence"
	"github.com/prometheus/alertmanager/api/v2/models"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/notifier"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/stretchr/testify/require"
	"github.com/uptrace/bun"
	"go.uber.org/goleak"

	"github.com/mangru/mangru/internal/server/ingest"
	"github.com/mangru/mangru/internal/server/rules"
	"github.com/mangru/mangru/internal/server/store"
	"github.com/mangru/mangru/internal/server/workspace"
	"github.com/mangru/mangru/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pipes is a network of net.Pipe, so that a clock of a test can stand still while
// a server waits.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	c, s := net.Pipe()
	select {
	case p.conns <- s:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes"} }

// hook is a receiver of webhooks.
type hook struct {
	mu     sync.Mutex
	paths  []string
	got    []string // "receiver status: alert status, ..."
	bodies []string
	refuse int
}

func (h *hook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.refuse > 0 {
		h.refuse--
		http.Error(w, "not now", http.StatusServiceUnavailable)
		return
	}
	h.paths = append(h.paths, r.Host+r.URL.Path)
	h.bodies = append(h.bodies, string(b))
	var m struct {
		Receiver, Status string
		Alerts           []struct {
			Status string
			Labels map[string]string
		}
	}
	if json.Unmarshal(b, &m) == nil && m.Receiver != "" {
		line := []string{}
		for _, a := range m.Alerts {
			line = append(line, a.Labels["alertname"]+a.Labels["n"]+" "+a.Status)
		}
		slices.Sort(line)
		h.got = append(h.got, m.Receiver+" "+m.Status+": "+strings.Join(line, ", "))
	}
	_, _ = w.Write([]byte(`{"ok":true,"success":true,"status":"success","result":{"message_id":1,"chat":{"id":1}}}`))
}

func (h *hook) taken() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	got := h.got
	h.got = nil
	return got
}

// server is a Manager with a network of pipes and a webhook at its end.
type server struct {
	t       *testing.T
	dir     string
	conn    *bun.DB
	ws      *workspace.Workspace
	reg     *prometheus.Registry
	records *Records
	m       *Manager
	hook    *hook
	pipes   *pipes
	cancel  context.CancelFunc
	done    chan struct{}
	adjust  func(*Config)
}

func newServer(t *testing.T) *server {
	s := &server{t: t, dir: t.TempDir(), conn: openDB(t), hook: &hook{}}
	s.ws = newWorkspace(t, s.conn)
	require.NoError(t, os.MkdirAll(filepath.Join(s.dir, s.ws.ID), 0o700))
	s.records = NewRecords(RecordsConfig{}, s.conn)
	return s
}

func (s *server) start() {
	s.pipes = newPipes()
	web := &http.Server{Handler: s.hook}
	served := make(chan struct{})
	go func() { defer close(served); _ = web.Serve(s.pipes) }()
	s.reg = prometheus.NewRegistry()
	cfg := Config{Dir: func(id string) string { return filepath.Join(s.dir, id, "alertmanager") }, Registerer: s.reg, dial: s.pipes.dial,
		ExternalURL: func(id string) string { return "https://mangru.example/" + id }}
	if s.adjust != nil {
		s.adjust(&cfg)
	}
	var err error
	s.m, err = NewManager(cfg, s.records, slog.New(slog.DiscardHandler))
	require.NoError(s.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	s.done = make(chan struct{})
	s.cancel = func() { cancel(); _ = web.Close(); <-served }
	go func() { defer close(s.done); _ = s.m.Run(ctx) }()
}

func (s *server) stop() {
	if s.cancel != nil {
		s.cancel()
		<-s.done
		s.cancel = nil
	}
}

func (s *server) define(config string) {
	s.t.Helper()
	_, err := s.records.Create(s.t.Context(), s.ws, define(config), "")
	require.NoError(s.t, err)
	s.settled(workspace.StatusActive)
}

func (s *server) settled(want workspace.Status) {
	s.t.Helper()
	for range 1000 {
		d, err := s.records.Describe(s.t.Context(), s.ws)
		if want == "" && isNotFound(err) {
			return
		}
		require.NoError(s.t, err)
		if d.Status == want {
			return
		}
		time.Sleep(10 * time.Millisecond) // of the bubble, where there is one
	}
	s.t.Fatalf("did not become %q", want)
}

// running waits until the workspace's alert manager is there, as after a start.
func (s *server) running() {
	for range 1000 {
		if s.m.instance(s.ws.ID) != nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	s.t.Fatal("no alert manager")
}

// fire sends alerts by name as rules do, which go on for a while.
func (s *server) fire(for_ time.Duration, alerts ...string) {
	var list []*notifier.Alert
	for _, a := range alerts {
		name, n, _ := strings.Cut(a, "/")
		list = append(list, &notifier.Alert{Labels: labels.FromStrings("alertname", name, "n", n, "empty", ""), StartsAt: time.Now(), EndsAt: time.Now().Add(for_)})
	}
	s.m.Send(s.ws.ID, list...)
}

// api is a client as amtool's, which calls the handler.
func (s *server) api() *amclient.AlertmanagerAPI {
	rt := client.NewWithClient("x", "/workspaces/"+s.ws.ID+"/alertmanager/api/v2", []string{"http"}, &http.Client{Transport: s})
	return amclient.New(rt, strfmt.Default)
}

// RoundTrip implements http.RoundTripper: what the router does.
func (s *server) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	path := strings.TrimPrefix(r.URL.Path, "/workspaces/"+s.ws.ID+"/alertmanager/api/v2")
	if r.Body == nil {
		r.Body = http.NoBody
	}
	if err := s.m.ServeWorkspace(w, r, s.ws.ID, path); err != nil {
		return nil, err
	}
	return w.Result(), nil
}

const routed = `
route:
  receiver: all
  group_by: [alertname]
  group_wait: 30s
  group_interval: 1m
  repeat_interval: 4h
receivers:
- name: all
  webhook_configs: [{url: "http://hook.example/all"}]
inhibit_rules:
- source_matchers: [alertname=Outage]
  target_matchers: [alertname=Slow]
`

func TestGroupsSilencesAndInhibition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		defer s.conn.Close()
		s.start()
		defer s.stop()
		s.fire(time.Hour, "Early/1")
		require.InDelta(t, 1, testutil.ToFloat64(s.m.metrics.dropped.WithLabelValues(s.ws.ID, "no_definition")), 0)
		s.define(routed)

		s.fire(10*time.Minute, "Disk/1", "Disk/2", "Outage/1", "Slow/1")
		time.Sleep(29 * time.Second)
		require.Empty(t, s.hook.taken(), "a group waits for others")
		time.Sleep(2 * time.Second)
		got := s.hook.taken()
		slices.Sort(got)
		require.Equal(t, []string{"all firing: Disk1 firing, Disk2 firing", "all firing: Outage1 firing"}, got, "Slow is inhibited")

		// By the API, with Alertmanager's own client.
		api, ctx := s.api(), t.Context()
		status, err := api.General.GetStatus(general.NewGetStatusParamsWithContext(ctx))
		require.NoError(t, err)
		require.Contains(t, *status.Payload.Config.Original, "alertname")
		recv, err := api.Receiver.GetReceivers(receiver.NewGetReceiversParamsWithContext(ctx))
		require.NoError(t, err)
		require.Equal(t, "all", *recv.Payload[0].Name)
		inhibited := false
		list, err := api.Alert.GetAlerts(alert.NewGetAlertsParamsWithContext(ctx).WithInhibited(&inhibited))
		require.NoError(t, err)
		require.Len(t, list.Payload, 3)
		groups, err := api.Alertgroup.GetAlertGroups(alertgroup.NewGetAlertGroupsParamsWithContext(ctx))
		require.NoError(t, err)
		require.Len(t, groups.Payload, 3)

		id := s.silence("Disk", time.Hour)
		one, err := api.Silence.GetSilence(silence.NewGetSilenceParamsWithContext(ctx).WithSilenceID(strfmt.UUID(id)))
		require.NoError(t, err)
		require.Equal(t, "active", *one.Payload.Status.State)
		s.fire(10*time.Minute, "Disk/1", "Disk/2", "Disk/3")
		start := strfmt.DateTime(time.Now())
		_, err = api.Alert.PostAlerts(alert.NewPostAlertsParamsWithContext(ctx).WithAlerts(models.PostableAlerts{
			{Alert: models.Alert{Labels: models.LabelSet{"alertname": "Posted"}}, StartsAt: start}}))
		require.NoError(t, err)
		time.Sleep(2 * time.Minute)
		require.Equal(t, []string{"all firing: Posted firing"}, s.hook.taken(), "Disk is silenced")
		_, err = api.Silence.DeleteSilence(silence.NewDeleteSilenceParamsWithContext(ctx).WithSilenceID(strfmt.UUID(id)))
		require.NoError(t, err)
		time.Sleep(time.Minute)
		require.Equal(t, []string{"all firing: Disk1 firing, Disk2 firing, Disk3 firing"}, s.hook.taken())

		// What is not told again is resolved. What was inhibited never was told.
		time.Sleep(11 * time.Minute)
		got = s.hook.taken()
		slices.Sort(got)
		require.Equal(t, []string{"all resolved: Disk1 resolved, Disk2 resolved, Disk3 resolved", "all resolved: Outage1 resolved", "all resolved: Posted resolved"}, got)

		require.Error(t, func() error { // nothing else than what there is
			_, err := api.Silence.GetSilence(silence.NewGetSilenceParamsWithContext(ctx).WithSilenceID("bad"))
			return err
		}())
		families, err := s.reg.Gather()
		require.NoError(t, err)
		found := 0.0
		for _, f := range families {
			if f.GetName() == "mangru_alertmanager_notifications_total" {
				require.Len(t, f.GetMetric(), 1, "only the kinds that were used")
				require.Contains(t, f.GetMetric()[0].String(), s.ws.ID)
				found = f.GetMetric()[0].GetCounter().GetValue()
			}
		}
		require.Greater(t, found, 5.0)
	})
}

func (s *server) silence(name string, d time.Duration) string {
	s.t.Helper()
	start, end := strfmt.DateTime(time.Now()), strfmt.DateTime(time.Now().Add(d))
	by, comment, key, equal, regex := "me", "because", "alertname", true, false
	res, err := s.api().Silence.PostSilences(silence.NewPostSilencesParamsWithContext(s.t.Context()).WithSilence(&models.PostableSilence{
		Silence: models.Silence{StartsAt: &start, EndsAt: &end, CreatedBy: &by, Comment: &comment,
			Matchers: models.Matchers{{Name: &key, Value: &name, IsEqual: &equal, IsRegex: &regex}}}}))
	require.NoError(s.t, err)
	return res.Payload.SilenceID
}

func TestRestartKeepsSilencesAndWhatWasTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		defer s.conn.Close()
		s.start()
		s.define(routed)
		s.fire(time.Hour, "Disk/1")
		time.Sleep(time.Minute)
		require.Equal(t, []string{"all firing: Disk1 firing"}, s.hook.taken())
		s.silence("Quiet", 24*time.Hour)
		// The silence is on disk before anything was shut down.
		kept, err := os.ReadFile(filepath.Join(s.dir, s.ws.ID, "alertmanager", silencesFile))
		require.NoError(t, err)
		require.Contains(t, string(kept), "Quiet")

		s.stop()
		time.Sleep(time.Minute)
		s.start()
		s.running()
		s.fire(time.Hour, "Disk/1", "Quiet/1")
		time.Sleep(10 * time.Minute)
		require.Empty(t, s.hook.taken(), "Disk was told before the restart, Quiet is silenced")
		s.fire(time.Hour, "Disk/2")
		time.Sleep(2 * time.Minute)
		require.Equal(t, []string{"all firing: Disk1 firing, Disk2 firing"}, s.hook.taken())

		// A file that can't be read is put aside, and the rest works.
		s.stop()
		file := filepath.Join(s.dir, s.ws.ID, "alertmanager", silencesFile)
		require.NoError(t, os.WriteFile(file, []byte("\xff\xff\xff"), 0o600))
		s.start()
		s.running()
		s.fire(time.Hour, "Quiet/1")
		time.Sleep(time.Minute)
		require.Equal(t, []string{"all firing: Quiet1 firing"}, s.hook.taken())
		require.FileExists(t, file+".unreadable")
		s.stop()
	})
}

func TestChangeAndDeleteDefinition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		defer s.conn.Close()
		s.start()
		defer s.stop()
		s.define(routed)
		s.fire(time.Hour, "Disk/1")
		time.Sleep(time.Minute)
		require.Len(t, s.hook.taken(), 1)

		// Alerts and silences outlive the change; the new receiver is told.
		s.silence("Quiet", time.Hour)
		changed := strings.Replace(strings.ReplaceAll(routed, "all", "new"), "url:", "send_resolved: false, url:", 1) +
			"templates: [t]\n"
		data := append(define(changed), "template_files:\n  t: '{{ define \"x\" }}y{{ end }}'\n"...)
		_, err := s.records.Put(t.Context(), s.ws, data, "")
		require.NoError(t, err)
		s.settled(workspace.StatusActive)
		s.fire(time.Hour, "Quiet/1")
		time.Sleep(time.Minute)
		require.Equal(t, []string{"new firing: Disk1 firing"}, s.hook.taken())
		recv, err := s.api().Receiver.GetReceivers(nil)
		require.NoError(t, err)
		require.Equal(t, "new", *recv.Payload[0].Name)

		// One that can't be applied leaves the one from before at work.
		_, err = s.conn.NewUpdate().Table("alert_definitions").Set("data = ?", "alertmanager_config: x").Set("revision = revision + 1").
			Set("status = ?", string(workspace.StatusUpdating)).Where("workspace_id = ?", s.ws.ID).Exec(t.Context())
		require.NoError(t, err)
		s.records.kick()
		s.settled(workspace.StatusUpdateFailed)
		d, err := s.records.Describe(t.Context(), s.ws)
		require.NoError(t, err)
		require.NotEmpty(t, d.StatusReason)
		s.fire(time.Hour, "Disk/2")
		time.Sleep(2 * time.Minute)
		require.Equal(t, []string{"new firing: Disk1 firing, Disk2 firing"}, s.hook.taken())

		require.NoError(t, s.records.Delete(t.Context(), s.ws, ""))
		s.settled("")
		s.fire(time.Hour, "Disk/3")
		time.Sleep(2 * time.Minute)
		require.Empty(t, s.hook.taken())
		_, err = s.api().Receiver.GetReceivers(nil)
		require.ErrorContains(t, err, "412")

		// At the end of the workspace nothing is left.
		s.define(routed)
		require.NoError(t, s.m.Remove(t.Context(), s.ws.ID))
		require.Nil(t, s.m.instance(s.ws.ID))
		_, err = s.records.Describe(t.Context(), s.ws)
		require.True(t, isNotFound(err), "%v", err)
	})
}

func TestNumberOfAlertsIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		defer s.conn.Close()
		s.adjust = func(c *Config) { c.MaxAlerts = 2 }
		s.start()
		defer s.stop()
		s.define(routed)
		s.fire(time.Minute, "A/1", "A/2", "A/3", "A/1", "/")
		time.Sleep(31 * time.Second)
		require.Equal(t, []string{"all firing: A1 firing, A2 firing"}, s.hook.taken())
		require.InDelta(t, 1, testutil.ToFloat64(s.m.metrics.dropped.WithLabelValues(s.ws.ID, "limit")), 0)
		require.InDelta(t, 1, testutil.ToFloat64(s.m.metrics.dropped.WithLabelValues(s.ws.ID, "invalid")), 0)
		time.Sleep(40 * time.Minute) // resolved, and let go of
		s.fire(time.Hour, "B/1", "B/2", "B/3")
		require.InDelta(t, 2, testutil.ToFloat64(s.m.metrics.dropped.WithLabelValues(s.ws.ID, "limit")), 0)
	})
}

// TestFromSampleToWebhook goes the whole way, with a receiver that fails at first.
func TestFromSampleToWebhook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		defer s.conn.Close()
		s.start()
		defer s.stop()
		logger, id := slog.New(slog.DiscardHandler), s.ws.ID
		st, err := store.New(store.Config{Dir: s.dir, MinFreeDisk: -1}, logger)
		require.NoError(t, err)
		defer func() { require.NoError(t, st.Close(context.Background())) }()
		require.NoError(t, st.Create(t.Context(), id))
		in, err := ingest.New(ingest.Config{Open: func(ctx context.Context, id string) (ingest.Target, error) { return st.AcquireWrite(ctx, id) }}, logger)
		require.NoError(t, err)
		engine := promql.NewEngine(promql.EngineOpts{Logger: logger, MaxSamples: 1e6, Timeout: time.Minute, Parser: parser.NewParser(parser.Options{})})
		defer engine.Close()
		records := rules.NewRecords(rules.RecordsConfig{}, s.conn)
		rm, err := rules.NewManager(rules.Config{Engine: func(string) promql.QueryEngine { return engine }, Write: in.ServeWorkspace, Notify: s.m.Send,
			ExternalURL: func(id string) string { return "https://mangru.example/" + id },
			Open: func(ctx context.Context, id string) (storage.Queryable, func(), error) {
				h, err := st.AcquireRead(ctx, id)
				if err != nil {
					return nil, nil, err
				}
				return h.DB, h.Release, nil
			}}, records, logger)
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); _ = rm.Run(ctx) }()
		defer func() { cancel(); <-done }()

		s.define(routed)
		_, err = records.Create(t.Context(), s.ws, workspace.Definition{Name: "ns", Data: []byte("groups:\n- name: g\n  interval: 15s\n  rules:\n" +
			"  - {alert: Hot, expr: max by (n) (temp) > 50, for: 1m, annotations: {text: 'n {{ $labels.n }} is {{ $value }}'}}\n")}, "")
		require.NoError(t, err)
		s.hook.mu.Lock()
		s.hook.refuse = 2
		s.hook.mu.Unlock()
		send := func(d time.Duration, v float64) {
			for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(15 * time.Second) {
				msg, err := (&prompb.WriteRequest{Timeseries: []prompb.TimeSeries{{Labels: []prompb.Label{{Name: "__name__", Value: "temp"}, {Name: "n", Value: "7"}},
					Samples: []prompb.Sample{{Timestamp: time.Now().UnixMilli(), Value: v}}}}}).Marshal()
				require.NoError(t, err)
				w := httptest.NewRecorder()
				r := httptest.NewRequest("POST", "/", bytes.NewReader(wire.AppendSnappy(nil, msg)))
				require.NoError(t, in.ServeWorkspace(w, r, id))
				require.Equal(t, http.StatusOK, w.Code, w.Body.String())
			}
		}
		send(time.Minute, 40)
		send(3*time.Minute, 60)
		require.Equal(t, []string{"all firing: Hot7 firing"}, s.hook.taken())
		require.Contains(t, s.hook.bodies[0], `"text":"n 7 is 60"`)
		require.Contains(t, s.hook.bodies[0], `"generatorURL":"https://mangru.example/`+id+`/graph?g0.expr=max+by+`)
		require.Contains(t, s.hook.bodies[0], `"externalURL":"https://mangru.example/`+id)
		send(3*time.Minute, 40)
		require.Equal(t, []string{"all resolved: Hot7 resolved"}, s.hook.taken())
	})
}

func TestEveryKindOfReceiver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		defer s.conn.Close()
		s.adjust = func(c *Config) { c.SNS.HTTP = "http://sns.example/deliver" }
		s.start()
		defer s.stop()
		s.define(`
route: {receiver: a, group_wait: 1s}
receivers:
- name: a
  webhook_configs: [{url: "http://webhook.example/"}]
  slack_configs: [{api_url: "http://slack.example/", channel: c}]
  pagerduty_configs: [{url: "http://pagerduty.example/", routing_key: k}]
  opsgenie_configs: [{api_url: "http://opsgenie.example/", api_key: k}]
  msteams_configs: [{webhook_url: "http://msteams.example/"}]
  msteamsv2_configs: [{webhook_url: "http://msteamsv2.example/"}]
  discord_configs: [{webhook_url: "http://discord.example/"}]
  victorops_configs: [{api_url: "http://victorops.example/", api_key: k, routing_key: r}]
  telegram_configs: [{api_url: "http://telegram.example", bot_token: b, chat_id: 1}]
  webex_configs: [{api_url: "http://webex.example/", room_id: r, http_config: {authorization: {credentials: c}}}]
  rocketchat_configs: [{api_url: "http://rocketchat.example/", token_id: i, token: t, channel: c}]
  mattermost_configs: [{webhook_url: "http://mattermost.example/"}]
  incidentio_configs: [{url: "http://incidentio.example/", alert_source_token: t}]
  wechat_configs: [{api_url: "http://wechat.example/", corp_id: i, api_secret: s, agent_id: a, to_user: u}]
  sns_configs: [{topic_arn: "arn:aws:sns:eu-west-1:1:t", sigv4: {region: eu-west-1}, subject: "s\ns", attributes: {severity: page}}]
`)
		s.fire(time.Minute, "A/1")
		time.Sleep(20 * time.Second)
		s.hook.mu.Lock()
		defer s.hook.mu.Unlock()
		hosts := map[string]bool{}
		for _, p := range s.hook.paths {
			host, _, _ := strings.Cut(p, "/")
			hosts[strings.TrimSuffix(host, ".example")] = true
		}
		for _, want := range []string{"webhook", "slack", "pagerduty", "opsgenie", "msteams", "msteamsv2", "discord", "victorops", "telegram",
			"webex", "rocketchat", "mattermost", "incidentio", "wechat", "sns"} {
			require.True(t, hosts[want], "%s not reached: %v", want, s.hook.paths)
		}
		for i, p := range s.hook.paths {
			if p == "sns.example/deliver" {
				require.Contains(t, s.hook.bodies[i], `"Type":"Notification"`)
				require.Contains(t, s.hook.bodies[i], `"TopicArn":"arn:aws:sns:eu-west-1:1:t","Subject":"s s"`)
				require.Contains(t, s.hook.bodies[i], `"severity":{"Type":"String","Value":"page"}`)
			}
		}
	})
}

// eventually waits on the real network.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	require.Eventually(t, ok, 20*time.Second, 5*time.Millisecond, what)
}

func TestAddressesAreGuarded(t *testing.T) {
	h := &hook{}
	web := httptest.NewServer(h)
	defer web.Close()
	redirect := httptest.NewServer(http.RedirectHandler(web.URL, http.StatusTemporaryRedirect))
	defer redirect.Close()
	mails := newMailServer(t)
	_, mailPort, err := net.SplitHostPort(mails.ln.Addr().String())
	require.NoError(t, err)
	port := func(u string) string { p, _ := url.Parse(u); return p.Port() }
	config := fmt.Sprintf(`
route: {receiver: a, group_wait: 1ms, group_interval: 100ms}
receivers:
- name: a
  webhook_configs: [{url: %q}, {url: "http://localhost:%s/"}, {url: %q}]
  email_configs: [{to: a@b.c, from: x@y.z, smarthost: "localhost:%s", require_tls: false}]
`, web.URL, port(web.URL), redirect.URL, mailPort)

	for _, allow := range []bool{false, true} {
		t.Run(fmt.Sprintf("allow=%v", allow), func(t *testing.T) {
			s := newServer(t)
			s.adjust = func(c *Config) { c.dial, c.Egress.AllowPrivate = nil, allow }
			s.start()
			defer s.stop()
			s.define(config)
			s.fire(time.Hour, "A/1")
			count := func(metric string) (n float64) {
				families, err := s.reg.Gather()
				require.NoError(t, err)
				for _, f := range families {
					if f.GetName() == metric {
						for _, m := range f.GetMetric() {
							n += m.GetCounter().GetValue()
						}
					}
				}
				return n
			}
			if allow {
				eventually(t, "webhooks", func() bool {
					h.mu.Lock()
					defer h.mu.Unlock()
					return len(h.paths) >= 3
				})
				eventually(t, "mail", func() bool {
					return strings.Contains(mails.text(), "Subject: ") && strings.Contains(mails.text(), "EHLO localhost")
				})
				return
			}
			eventually(t, "failed attempts", func() bool { return count("mangru_alertmanager_notification_requests_failed_total") >= 4 })
			require.Empty(t, h.taken())
			require.Empty(t, mails.text(), "nobody connected")
		})
	}
}

// mailServer speaks as much SMTP as is needed.
type mailServer struct {
	ln net.Listener
	mu sync.Mutex
	in bytes.Buffer
}

func (m *mailServer) text() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.in.String()
}

func newMailServer(t *testing.T) *mailServer {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	m := &mailServer{ln: ln}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { m.serve(c) })
		}
	})
	t.Cleanup(func() { _ = ln.Close(); wg.Wait() })
	return m
}

func (m *mailServer) serve(c net.Conn) {
	defer c.Close()
	fmt.Fprint(c, "220 hello\r\n")
	data := false
	for sc := bufio.NewScanner(c); sc.Scan(); {
		line := sc.Text()
		m.mu.Lock()
		m.in.WriteString(line + "\n")
		m.mu.Unlock()
		switch {
		case data && line == ".":
			data = false
			fmt.Fprint(c, "250 taken\r\n")
		case data:
		case line == "DATA":
			data = true
			fmt.Fprint(c, "354 go on\r\n")
		case line == "QUIT":
			fmt.Fprint(c, "221 bye\r\n")
			return
		default:
			fmt.Fprint(c, "250 ok\r\n")
		}
	}
}

func TestSNSByItsProtocol(t *testing.T) {
	type request struct{ auth, topic, message, subject string }
	got := make(chan request, 10)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		got <- request{r.Header.Get("Authorization"), r.Form.Get("TopicArn"), r.Form.Get("Message"), r.Form.Get("Subject")}
		fmt.Fprint(w, `<PublishResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><PublishResult><MessageId>1</MessageId></PublishResult></PublishResponse>`)
	}))
	defer web.Close()
	s := newServer(t)
	s.adjust = func(c *Config) {
		c.dial = nil
		c.SNS = SNS{Endpoint: web.URL, Credentials: credentials.NewStaticCredentialsProvider("AKSERVER", "secret", "")}
	}
	s.start()
	defer s.stop()
	const topic = "arn:aws:sns:eu-west-1:123456789012:t"
	s.define(fmt.Sprintf(`
route: {receiver: a, group_wait: 1ms, routes: [{matchers: [n=own], receiver: own}]}
receivers:
- name: a
  sns_configs: [{topic_arn: %q, message: "{{ .Alerts | len }} alerts", subject: hello}]
- name: own
  sns_configs:
  - {topic_arn: %q, api_url: %q, sigv4: {region: r, access_key: AKOWN, secret_key: s}}
  - {topic_arn: %q, api_url: %q, sigv4: {region: r}}
`, topic, topic, web.URL, topic, web.URL))
	s.fire(time.Hour, "A/1")
	r := <-got
	require.Equal(t, request{r.auth, topic, "1 alerts", "hello"}, r)
	require.Contains(t, r.auth, "Credential=AKSERVER/")
	require.Contains(t, r.auth, "/eu-west-1/sns/", "the region of the topic")
	require.NotContains(t, r.auth, "secret")

	// Definitions reach no address that is forbidden to them, even the server's
	// own one, and never with the server's credentials.
	s.fire(time.Hour, "B/own")
	eventually(t, "failures", func() bool {
		families, err := s.reg.Gather()
		require.NoError(t, err)
		n := 0.0
		for _, f := range families {
			if f.GetName() == "mangru_alertmanager_notification_requests_failed_total" {
				for _, m := range f.GetMetric() {
					n += m.GetCounter().GetValue()
				}
			}
		}
		return n >= 2
	})
	require.Empty(t, got)
}
