package discover

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery"
	_ "github.com/prometheus/prometheus/discovery/file"
	_ "github.com/prometheus/prometheus/discovery/kubernetes"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/model/labels"
	promscrape "github.com/prometheus/prometheus/scrape"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, klogFlush)
}

// klogFlush runs for as long as the process does.
var klogFlush = goleak.IgnoreTopFunction("k8s.io/klog/v2.(*flushDaemon).run.func1")

func load(t *testing.T, text string) []*config.ScrapeConfig {
	t.Helper()
	cfg, err := config.Load(text, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	list, err := cfg.GetScrapeConfigs()
	require.NoError(t, err)
	return list
}

// build makes a job's list without replicas.
func build(j *jobTargets, groups []*targetgroup.Group) Job {
	job, list := j.find(groups)
	job.found = list
	s := share{all: true}
	s.divide(&job)
	return job
}

// TestTargetsAgainstPrometheus compares with Prometheus' own way from group to
// targets, on what the workshop's configurations do with annotations.
func TestTargetsAgainstPrometheus(t *testing.T) {
	sc := load(t, `
scrape_configs:
- job_name: pods
  metrics_path: /m
  params: {module: [http, other], keep: [a b]}
  static_configs:
  - targets: ["10.0.0.1:8080", "10.0.0.1:8081", "10.0.0.2", "10.0.0.3:1", "[fd00::1]:9", "drop:1", "bad/path:1", "slow:1", "toolong:1", "private:1"]
    labels: {__meta_port: "9153", __meta_label_app: "dns", __meta_label_x_y: "z"}
  relabel_configs:
  - {source_labels: [__address__, __meta_port], regex: '(10\.0\.0\.[13])(?::\d+)?;(\d+)', replacement: '$1:$2', target_label: __address__}
  - {action: labelmap, regex: __meta_label_(.+)}
  - {source_labels: [__address__], regex: drop:1, action: drop}
  - {source_labels: [__address__], regex: slow:1, target_label: __scrape_interval__, replacement: 5m}
  - {source_labels: [__address__], regex: toolong:1, target_label: __scrape_timeout__, replacement: 10m}
  - {source_labels: [__address__], regex: private:1, target_label: __param_module, replacement: probe}
  - {source_labels: [__address__], regex: '10.*2', target_label: __scheme__, replacement: https}
`)[0]
	group := sc.ServiceDiscoveryConfigs[0].(discovery.StaticConfig)[0]
	j := &jobTargets{cfg: sc}
	job := build(j, []*targetgroup.Group{group})

	want, failures := promscrape.TargetsFromGroup(group, sc, nil, labels.NewBuilder(labels.EmptyLabels()))
	require.Len(t, failures, 2) // bad/path and toolong
	b := labels.NewBuilder(labels.EmptyLabels())
	expected := map[string]bool{}
	for _, w := range want {
		if ls := w.Labels(b); !ls.IsEmpty() {
			expected[w.URL().String()+ls.String()] = true
		}
	}
	got := map[string]bool{}
	for _, g := range job.Targets {
		ls := labels.NewBuilder(g.Labels)
		g.Labels.Range(func(l labels.Label) {
			if strings.HasPrefix(l.Name, "__") {
				ls.Del(l.Name)
			}
		})
		got[g.URL+ls.Labels().String()] = true
		require.NotEmpty(t, g.Discovered().Get("__meta_port"))
		want := time.Minute
		if strings.Contains(g.URL, "slow") {
			want = 5 * time.Minute
		}
		require.Equal(t, want, g.Interval)
		require.Equal(t, 10*time.Second, g.Timeout)
	}
	require.Equal(t, expected, got)
	require.Equal(t, map[Reason]int{ReasonRelabel: 1, ReasonInvalid: 2, ReasonSame: 1}, job.DroppedCounts)
	dropped, err := json.Marshal(job.Dropped())
	require.NoError(t, err)
	var shown []struct {
		Labels       map[string]string `json:"discoveredLabels"`
		Reason, Text string
	}
	require.NoError(t, json.Unmarshal(dropped, &shown))
	texts := map[string]string{}
	for _, d := range shown {
		texts[d.Labels["__address__"]] = d.Reason + " " + d.Text
	}
	require.Len(t, texts, 4)
	require.Equal(t, "relabel ", texts["drop:1"])
	require.Contains(t, texts["bad/path:1"], "invalid ")
	require.Contains(t, texts["toolong:1"], "scrape timeout cannot be greater than scrape interval")
	require.Equal(t, "same http://10.0.0.1:9153/m?keep=a+b&module=http&module=other", texts["10.0.0.1:8081"])

	// The same list again makes the same targets, without work.
	again := build(j, []*targetgroup.Group{group})
	require.Equal(t, job.Targets, again.Targets)
}

func TestIDs(t *testing.T) {
	text := `scrape_configs: [{job_name: a, scrape_interval: %s, static_configs: [{targets: ["x:1"], labels: {l: %s}}]}]`
	id := func(interval, l string) uint64 {
		sc := load(t, fmt.Sprintf(text, interval, l))[0]
		j := &jobTargets{cfg: sc}
		return build(j, sc.ServiceDiscoveryConfigs[0].(discovery.StaticConfig)).Targets[0].ID
	}
	require.Equal(t, id("15s", "v"), id("30s", "v"), "a setting does not make another target")
	require.NotEqual(t, id("15s", "v"), id("15s", "w"))
}

// lists takes what a manager finds.
type lists struct {
	mu   sync.Mutex
	jobs []Job
}

func (l *lists) apply(jobs []Job) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.jobs = jobs
}

func (l *lists) get() []Job {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.jobs
}

func (l *lists) ids() map[uint64]bool {
	ids := map[uint64]bool{}
	for _, j := range l.get() {
		for _, t := range j.Targets {
			ids[t.ID] = true
		}
	}
	return ids
}

func (l *lists) urls() (out []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, j := range l.jobs {
		for _, t := range j.Targets {
			out = append(out, j.Config.JobName+" "+t.URL)
		}
	}
	return out
}

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *logBuffer) count(s string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), s)
}

func start(t *testing.T) (*Manager, *lists, *prometheus.Registry, *logBuffer) {
	t.Helper()
	l, reg, logs := &lists{}, prometheus.NewRegistry(), &logBuffer{}
	m, err := New(l.apply, reg, slog.New(slog.NewTextHandler(logs, nil)))
	require.NoError(t, err)
	m.Start()
	t.Cleanup(m.Stop)
	return m, l, reg, logs
}

const patience = 30 * time.Second

func TestDuplicatesAcrossJobs(t *testing.T) {
	jobs := load(t, `
scrape_configs:
- {job_name: a, static_configs: [{targets: ["x:1", "y:1"]}]}
- {job_name: b, static_configs: [{targets: ["x:1"], labels: {other: l}}]}
- {job_name: c, static_configs: [{targets: ["x:1", "z:1"]}]}
- {job_name: d, params: {p: [q]}, static_configs: [{targets: ["x:1"]}]}
`)
	m, l, reg, logs := start(t)
	require.NoError(t, m.Apply(Config{Jobs: jobs}))
	require.Eventually(t, func() bool { return len(l.urls()) == 6 }, patience, time.Millisecond)
	require.Equal(t, []Duplicate{{URL: "http://x:1/metrics", Jobs: []string{"a", "b", "c"}}}, m.State().Duplicates)
	check := func(n int) {
		require.NoError(t, testutil.GatherAndCompare(reg, strings.NewReader(fmt.Sprintf(`
# HELP mangru_collector_duplicate_targets Targets that another one before them reads too, at the same address, path and parameters.
# TYPE mangru_collector_duplicate_targets gauge
mangru_collector_duplicate_targets %d
`, n)), "mangru_collector_duplicate_targets"))
	}
	check(2)
	require.NoError(t, m.Apply(Config{Jobs: jobs}))
	require.Equal(t, 1, logs.count("scrape the same targets"), "said once")

	require.NoError(t, m.Apply(Config{Jobs: jobs, FirstJobWins: true}))
	require.ElementsMatch(t, []string{"a http://x:1/metrics", "a http://y:1/metrics", "c http://z:1/metrics", "d http://x:1/metrics?p=q"}, l.urls())
	st := m.State()
	require.True(t, st.Duplicates[0].Dropped)
	require.Equal(t, 1, st.Jobs[1].DroppedCounts[ReasonDuplicate])
	check(2)

	// And back: what was left out is there again.
	require.NoError(t, m.Apply(Config{Jobs: jobs}))
	require.Len(t, l.urls(), 6)
}

// TestDuplicatesInOneJob is two annotated services before the same pod.
func TestDuplicatesInOneJob(t *testing.T) {
	m, l, _, _ := start(t)
	cfg := Config{Jobs: load(t, `
scrape_configs:
- job_name: a
  static_configs:
  - {targets: ["x:1"], labels: {service: one}}
  - {targets: ["x:1"], labels: {service: two}}
`)}
	require.NoError(t, m.Apply(cfg))
	require.Eventually(t, func() bool { return len(l.urls()) == 2 }, patience, time.Millisecond)
	require.Equal(t, []Duplicate{{URL: "http://x:1/metrics", Jobs: []string{"a"}}}, m.State().Duplicates)
	cfg.FirstJobWins = true
	require.NoError(t, m.Apply(cfg))
	require.Eventually(t, func() bool { return len(l.urls()) == 1 }, patience, time.Millisecond)
}

func TestDiscoveryThatCannotStartYet(t *testing.T) {
	// client-go sleeps between two tries without looking at its context; after
	// the stop it ends at the next one.
	t.Cleanup(func() {
		var left error
		for end := time.Now().Add(patience); time.Now().Before(end); { // Find waits a moment itself
			if left = goleak.Find(klogFlush); left == nil {
				return
			}
		}
		t.Error(left)
	})
	dir := t.TempDir()
	kubeconfig := filepath.Join(dir, "kubeconfig")
	targets := filepath.Join(dir, "targets.json")
	require.NoError(t, os.WriteFile(targets, []byte(`[{"targets":["f:1"]}]`), 0o600))
	jobs := load(t, fmt.Sprintf(`
scrape_configs:
- {job_name: kube, kubernetes_sd_configs: [{role: pod, kubeconfig_file: %s}]}
- {job_name: file, file_sd_configs: [{files: [%s]}]}
`, kubeconfig, targets))
	m, l, reg, _ := start(t)
	require.NoError(t, m.Apply(Config{Jobs: jobs}))
	require.Eventually(t, func() bool { return len(l.urls()) == 1 }, patience, time.Millisecond, "the other job is not held up")
	require.Contains(t, m.State().Problems["kubernetes of job kube"], "no such file")
	families, err := reg.Gather()
	require.NoError(t, err)
	failed := -1.0
	for _, f := range families {
		if f.GetName() == "mangru_collector_failed_discoveries" {
			failed = f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	require.Equal(t, 1.0, failed)

	// The file comes; the API server it names is away, which is the client's to retry.
	require.NoError(t, os.WriteFile(kubeconfig, []byte(`
apiVersion: v1
kind: Config
current-context: c
clusters: [{name: c, cluster: {server: "http://127.0.0.1:1"}}]
contexts: [{name: c, context: {cluster: c, user: u}}]
users: [{name: u, user: {}}]
`), 0o600))
	require.Eventually(t, func() bool { return len(m.State().Problems) == 0 }, patience, time.Millisecond)
}

func TestFileDiscoveryFollowsTheFile(t *testing.T) {
	targets := filepath.Join(t.TempDir(), "targets.json")
	require.NoError(t, os.WriteFile(targets, []byte(`[{"targets":["f:1"]}]`), 0o600))
	jobs := load(t, fmt.Sprintf(`scrape_configs: [{job_name: file, file_sd_configs: [{files: [%s], refresh_interval: 50ms}]}]`, targets))
	m, l, _, _ := start(t)
	require.NoError(t, m.Apply(Config{Jobs: jobs}))
	require.Eventually(t, func() bool { return len(l.urls()) == 1 }, patience, time.Millisecond)
	require.NoError(t, os.WriteFile(targets+".new", []byte(`[{"targets":["f:1","g:1"]}]`), 0o600))
	require.NoError(t, os.Rename(targets+".new", targets))
	require.Eventually(t, func() bool { return len(l.urls()) == 2 }, patience, time.Millisecond)
}
