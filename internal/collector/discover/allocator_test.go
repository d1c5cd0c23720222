package discover

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	promhttp "github.com/prometheus/prometheus/discovery/http"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/internal/collector/discover/members"
	"github.com/mangru/mangru/internal/otelconf"
)

// allocatorOf reads a receiver that is served by an allocator.
func allocatorOf(t *testing.T, endpoint, id, more string) []otelconf.TargetAllocator {
	t.Helper()
	file := filepath.Join(t.TempDir(), "collector.yaml")
	require.NoError(t, os.WriteFile(file, []byte(fmt.Sprintf(`
receivers: {prometheus: {target_allocator: {endpoint: %q, collector_id: %q, interval: 20ms, http_sd_config: {refresh_interval: 50ms}%s}}}
exporters: {prometheusremotewrite: {endpoint: "http://r.example/"}}
service: {pipelines: {metrics: {receivers: [prometheus], exporters: [prometheusremotewrite]}}}
`, endpoint, id, more)), 0o600))
	cfg, err := otelconf.Load(otelconf.Options{Files: []string{file}})
	require.NoError(t, err)
	require.Len(t, cfg.TargetAllocators, 1)
	return cfg.TargetAllocators
}

const allocatedJobs = `
scrape_configs:
- job_name: serviceMonitor/shop//a b+c%/0
  scrape_interval: 20s
  basic_auth: {username: u, password: hush}
  static_configs:
  - {targets: ["10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1", "10.0.0.4:1", "10.0.0.5:1", "10.0.0.6:1", "10.0.0.7:1", "10.0.0.8:1"], labels: {__meta_zone: z, __meta_drop: n}}
  - {targets: ["10.0.0.9:1"], labels: {__meta_drop: "y"}}
  relabel_configs:
  - {source_labels: [__meta_drop], regex: "y", action: drop}
  - {source_labels: [__meta_zone], target_label: zone}
  - {source_labels: [__meta_zone], target_label: job, action: dropequal}
- job_name: own
  static_configs: [{targets: ["x:1"]}]
`

func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func get(t *testing.T, address string) (int, string) {
	t.Helper()
	resp, err := http.Get(address)
	require.NoError(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(b)
}

// visibleTargets lists what a manager scrapes, as anybody sees it.
func visibleTargets(jobs []Job) map[string]int {
	out := map[string]int{}
	for _, j := range jobs {
		for _, target := range j.Targets {
			b := labels.NewBuilder(target.Labels)
			target.Labels.Range(func(l labels.Label) {
				if strings.HasPrefix(l.Name, "__") {
					b.Del(l.Name)
				}
			})
			out[fmt.Sprint(j.Config.JobName, target.URL, b.Labels(), target.Interval, target.Timeout, target.ID)]++
		}
	}
	return out
}

// TestAllocatorBothWays has two collectors scrape what a third one discovers.
func TestAllocatorBothWays(t *testing.T) {
	jobs := load(t, allocatedJobs)
	server, l, _, _ := start(t)
	collectors := newFakeMembers("", members.Fixed("c 0", "c 1"))
	base := serve(t, server.AllocatorHandler(collectors))
	code, _ := get(t, base+"/readyz")
	require.Equal(t, http.StatusServiceUnavailable, code)
	require.NoError(t, server.Apply(Config{Jobs: jobs}))
	require.Eventually(t, func() bool { return len(l.urls()) == 9 }, patience, time.Millisecond)
	want := visibleTargets(l.get())

	got := map[string]int{}
	for i := range 2 {
		id := fmt.Sprint("c ", i)
		c, cl, _, _ := start(t)
		require.NoError(t, c.Apply(Config{
			Jobs:       load(t, `scrape_configs: [{job_name: own, static_configs: [{targets: ["mine:1"]}]}]`),
			Allocators: allocatorOf(t, base, id, ""),
			Members:    Shard{0, 1},
		}))
		mine := 1 // its own
		for i := range l.get()[0].found {
			if collectors.Ring().Owner(l.get()[0].found[i].key, time.Now()) == id {
				mine++
			}
		}
		require.True(t, mine > 1 && mine < 9)
		require.Eventually(t, func() bool { return len(cl.urls()) == mine }, patience, time.Millisecond)
		require.Contains(t, c.State().Problems["target allocator of receiver prometheus"], "not taken: own", "there is one here")
		require.Contains(t, c.State().Problems["target allocator of receiver prometheus"], "hides the credentials of jobs serviceMonitor")
		for k, n := range visibleTargets(cl.get()) {
			if !strings.Contains(k, "mine") {
				got[k] += n
			}
		}
	}
	for k := range want {
		if strings.HasPrefix(k, "own") {
			delete(want, k)
		}
	}
	require.Len(t, want, 8)
	require.Equal(t, want, got, "each once, as if it were discovered here")
}

// TestAllocatorShapes looks at what is sent, by the protocol's description.
func TestAllocatorShapes(t *testing.T) {
	server, l, _, _ := start(t)
	base := serve(t, server.AllocatorHandler(newFakeMembers("", members.Fixed("c-0"))))
	require.NoError(t, server.Apply(Config{Jobs: load(t, `
scrape_configs:
- job_name: a/b
  authorization: {credentials: hush}
  oauth2: null
  proxy_url: http://u:hush@proxy:1
  http_headers: {X-Key: {secrets: [hush]}}
  kubernetes_sd_configs: []
  static_configs: [{targets: ["10.0.0.1:1"], labels: {__meta_zone: z}}]
  relabel_configs: [{source_labels: [__meta_zone], target_label: zone, action: keepequal}, {action: labelmap, regex: __meta_(.+), replacement: x_$1}]
`)}))
	require.Eventually(t, func() bool { return len(l.get()) == 1 }, patience, time.Millisecond)

	code, body := get(t, base+"/scrape_configs")
	require.Equal(t, http.StatusOK, code)
	require.NotContains(t, body, "hush")
	require.NotContains(t, body, "static_configs")
	var configs map[string]map[string]any
	require.NoError(t, json.Unmarshal([]byte(body), &configs))
	require.Equal(t, "a/b", configs["a/b"]["job_name"])
	require.Equal(t, "1m", configs["a/b"]["scrape_interval"])
	require.Equal(t, "x_$1", configs["a/b"]["relabel_configs"].([]any)[1].(map[string]any)["replacement"])

	_, body = get(t, base+"/jobs")
	require.JSONEq(t, `{"a/b":{"_link":"/jobs/a%2Fb/targets"}}`, body)
	require.NoError(t, server.Apply(Config{Jobs: load(t, `
scrape_configs:
- {job_name: a/b, static_configs: [{targets: ["10.0.0.1:1"], labels: {__meta_zone: z}}]}
`)}))
	require.Eventually(t, func() bool { return len(l.urls()) == 1 }, patience, time.Millisecond)
	const target = `{"targets":["10.0.0.1:1"],"labels":{"__address__":"10.0.0.1:1","__meta_zone":"z"}}`
	_, body = get(t, base+"/jobs/a%2Fb/targets?collector_id=c-0")
	require.JSONEq(t, `[`+target+`]`, body)
	_, body = get(t, base+"/jobs/a%2Fb/targets?collector_id=nobody")
	require.JSONEq(t, `[]`, body)
	_, body = get(t, base+"/jobs/unknown/targets?collector_id=c-0")
	require.JSONEq(t, `[]`, body)
	_, body = get(t, base+"/jobs/a%2Fb/targets")
	require.JSONEq(t, `{"c-0":{"_link":"/jobs/a%2Fb/targets?collector_id=c-0","targets":[`+target+`]}}`, body)
	for _, path := range []string{"/livez", "/readyz"} {
		code, _ = get(t, base+path)
		require.Equal(t, http.StatusOK, code)
	}
}

// TestAllocatorHandlerWaits is about collectors not dropping what they scrape
// while their allocator does not know yet.
func TestAllocatorHandlerWaits(t *testing.T) {
	var ready atomic.Bool
	sd := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if !ready.Load() {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`[{"targets":["x:1"]}]`))
	}))
	server, l, _, _ := start(t)
	who := newFakeMembers("", nil)
	base := serve(t, server.AllocatorHandler(who))
	require.NoError(t, server.Apply(Config{Jobs: load(t, fmt.Sprintf(`
scrape_configs: [{job_name: a, static_configs: [{targets: ["s:1"]}], http_sd_configs: [{url: %q, refresh_interval: 20ms}]}]`, sd))}))
	require.Eventually(t, func() bool { return len(l.urls()) == 1 }, patience, time.Millisecond)
	who.set(members.Fixed("c-0"))
	code, _ := get(t, base+"/jobs/a/targets?collector_id=c-0")
	require.Equal(t, http.StatusServiceUnavailable, code)
	require.Eventually(t, func() bool { return strings.Contains(server.State().Problems["http of job a"], "502") }, patience, time.Millisecond)
	ready.Store(true)
	require.Eventually(t, func() bool { return len(l.urls()) == 2 }, patience, time.Millisecond)
	require.Empty(t, server.State().Problems)
	code, _ = get(t, base+"/jobs/a/targets?collector_id=c-0")
	require.Equal(t, http.StatusOK, code)
	who.set(nil)
	code, _ = get(t, base+"/jobs/a/targets?collector_id=c-0")
	require.Equal(t, http.StatusServiceUnavailable, code)
}

// TestAllocatorClientKeepsWhatItHas has an allocator that answers badly, then
// well, then badly again.
func TestAllocatorClientKeepsWhatItHas(t *testing.T) {
	var answer atomic.Value // of /scrape_configs
	answer.Store("")
	base := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path == "/jobs/j/targets" {
			_, _ = w.Write([]byte(`[{"targets":["` + url.QueryEscape(r.URL.Query().Get("collector_id")) + `:1"],"labels":{"__address__":"other:1","__meta_a":"b"}}]`))
			return
		}
		if r.Header.Get("X-C") != "d" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		text, _ := answer.Load().(string)
		if strings.HasPrefix(text, "5") {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_, _ = w.Write([]byte(text))
	}))
	m, l, reg, logs := start(t)
	allocators := allocatorOf(t, base, "me", ", headers: {X-C: d}")
	require.NoError(t, m.Apply(Config{Allocators: allocators}))
	problem := func() string { return m.State().Problems["target allocator of receiver prometheus"] }
	eventually := func(want string) {
		t.Helper()
		require.Eventually(t, func() bool { p := problem(); return (want == "") == (p == "") && strings.Contains(p, want) }, patience, time.Millisecond)
	}
	eventually("answered nothing")

	const good = `{"j": {"job_name": "j", "scrape_interval": "30s", "metrics_path": "/m", "relabel_configs": [{"source_labels": ["__meta_a"], "target_label": "s$(SHARD)"}]}}`
	answer.Store(good)
	require.Eventually(t, func() bool { return len(l.urls()) == 1 }, patience, time.Millisecond)
	eventually("")
	require.Equal(t, "j http://me:1/m", l.urls()[0])
	require.Equal(t, "b", l.get()[0].Targets[0].Labels.Get("s0"))
	require.Equal(t, 30*time.Second, l.get()[0].Targets[0].Interval)
	sd := m.allocators[0].current()[0].ServiceDiscoveryConfigs[0].(*promhttp.SDConfig)
	require.Equal(t, base+"/jobs/j/targets?collector_id=me", sd.URL)

	for text, want := range map[string]string{"503": "503", "{": "YAML", `{"j": {"job_name": "j", "scrape_interval": "x"}}`: "scrape_interval"} {
		answer.Store(text)
		eventually(want)
		require.Len(t, l.urls(), 1, text)
	}
	require.Contains(t, logs.text(), "jobs stay as they are")

	// The same configuration again goes on with the same client; another does not.
	same := m.allocators[0]
	require.NoError(t, m.Apply(Config{Allocators: allocatorOf(t, base, "me", ", headers: {X-C: d}")}))
	require.Same(t, same, m.allocators[0])
	require.Len(t, l.urls(), 1)
	answer.Store(good)
	eventually("")
	require.NoError(t, m.Apply(Config{Allocators: allocatorOf(t, base, "you", ", headers: {X-C: d}")}))
	require.Eventually(t, func() bool { u := l.urls(); return len(u) == 1 && u[0] == "j http://you:1/m" }, patience, time.Millisecond)
	answer.Store(`{}`)
	require.Eventually(t, func() bool { return len(l.urls()) == 0 }, patience, time.Millisecond)
	require.NoError(t, m.Apply(Config{}))
	require.Empty(t, m.State().Problems)
	_, err := reg.Gather()
	require.NoError(t, err)
	m.Stop()
	require.ErrorIs(t, m.Apply(Config{}), errStopped)
}
