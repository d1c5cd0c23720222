//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/prometheus/prometheus/prompb"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mangru/mangru/test/bench/collector/peer"
	"github.com/mangru/mangru/test/cluster"
)

// TestTargetAllocator has two collectors get their targets from an allocator:
// ours, and one as the OpenTelemetry Operator's documentation describes it; the
// collectors are ours, and stock ones. Each target must be scraped by one of them.
func TestTargetAllocator(t *testing.T) {
	for _, allocator := range []string{"ours", "as documented"} {
		for _, collector := range []string{"ours", "stock"} {
			t.Run("allocator "+allocator+", collectors "+collector, func(t *testing.T) {
				program, args := binary(t), []string{"collector", "--metrics-address", "127.0.0.1:0", "--config"}
				if collector == "stock" {
					program, args = stockCollector(t), []string{"--config"}
				}
				s := startShop(t)
				s.targets(0, 20)
				base := s.documentedAllocator()
				if allocator == "ours" {
					base = s.ourAllocator()
				}
				for _, id := range collectorIDs {
					start(t, program, append(args, s.collectorFile(base, id))...)
				}
				s.eachOnce(0, 20)
				// Some go, some come.
				s.targets(10, 30)
				s.eachOnce(10, 30)
			})
		}
	}
}

var collectorIDs = []string{"collector-0", "collector-1"}

// stockCollector is the OpenTelemetry Collector: the otelcol in $MANGRU_PEERS, or
// one that the collectors' bench has built. MANGRU_BUILD_PEERS has it built here,
// which takes minutes.
func stockCollector(t *testing.T) string {
	t.Helper()
	if dir := os.Getenv("MANGRU_PEERS"); dir != "" {
		file := filepath.Join(dir, peer.OTelCol)
		_, err := os.Stat(file)
		require.NoError(t, err, "MANGRU_PEERS")
		return file
	}
	cache, err := os.UserCacheDir()
	require.NoError(t, err)
	cache = filepath.Join(cache, "mangru-bench")
	if os.Getenv("MANGRU_BUILD_PEERS") != "" {
		file, err := peer.Builder{Root: root, Cache: cache, Log: slog.New(slog.NewTextHandler(os.Stderr, nil))}.Build(t.Context(), peer.OTelCol)
		require.NoError(t, err)
		return file
	}
	built, err := filepath.Glob(filepath.Join(cache, peer.OTelCol+"-????????????"))
	require.NoError(t, err)
	if len(built) == 0 {
		t.Skip("there is no OpenTelemetry Collector: MANGRU_PEERS=DIR names a directory with otelcol, MANGRU_BUILD_PEERS=1 builds one")
	}
	return built[0]
}

// start runs a program until the test is over.
func start(t *testing.T, program string, args ...string) {
	t.Helper()
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	require.NoError(t, err)
	cmd := exec.Command(program, args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}
	cmd.Stdout, cmd.Stderr = log, log
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
		text, err := os.ReadFile(log.Name())
		require.NoError(t, errorsOf(err, log.Close()))
		if t.Failed() {
			t.Logf("%s %s:\n%s", program, strings.Join(args, " "), tail(string(text), 40))
		}
	})
}

// errorsOf returns the first error.
func errorsOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// allocatedJob is a job's name that needs escaping, as those of monitors do.
const allocatedJob = "serviceMonitor/shop/a b/0"

// allocatedRules are relabelling rules of all shapes that have given trouble on
// their way through JSON.
const allocatedRules = `
  - {source_labels: [__meta_shelf], target_label: shelf}
  - {source_labels: [__meta_shelf], regex: (.)(.*), target_label: first, replacement: $1}
  - {action: labelmap, regex: __meta_label_(.+), replacement: label_$1}
  - {source_labels: [__meta_shelf], target_label: shelf, action: keepequal}
  - {source_labels: [__meta_shelf], target_label: job, action: dropequal}
`

// allocationShop has targets, which count their scrapes, and takes what
// collectors send.
type allocationShop struct {
	t     *testing.T
	dir   string
	pages *httptest.Server
	sink  *httptest.Server

	mu      sync.Mutex
	listed  [2]int
	scrapes map[string][]time.Time     // by path
	came    map[string]map[string]bool // by the labels of what is on the page, then by collector
}

func startShop(t *testing.T) *allocationShop {
	t.Helper()
	s := &allocationShop{t: t, dir: t.TempDir(), scrapes: map[string][]time.Time{}, came: map[string]map[string]bool{}}
	s.pages = httptest.NewServer(http.HandlerFunc(s.page))
	t.Cleanup(s.pages.Close)
	s.sink = httptest.NewServer(http.HandlerFunc(s.receive))
	t.Cleanup(s.sink.Close)
	return s
}

func (s *allocationShop) page(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.scrapes[r.URL.Path] = append(s.scrapes[r.URL.Path], time.Now())
	s.mu.Unlock()
	w.Header().Set("Content-Type", "text/plain; version=0.0.4")
	_, _ = io.WriteString(w, "goods 1\n")
}

// receive takes remote writes of version 1.0 at a path that says whose they are.
func (s *allocationShop) receive(w http.ResponseWriter, r *http.Request) {
	if strings.Contains(r.Header.Get("Content-Type"), "v2") {
		http.Error(w, "version 1.0 only", http.StatusUnsupportedMediaType)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err == nil {
		body, err = s2.Decode(nil, body)
	}
	var message prompb.WriteRequest
	if err := errorsOf(err, message.Unmarshal(body)); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ts := range message.Timeseries {
		ls := map[string]string{}
		for _, l := range ts.Labels {
			if !strings.HasPrefix(l.Name, "otel_scope_") { // stock collectors say who they are
				ls[l.Name] = l.Value
			}
		}
		if ls["__name__"] == "goods" {
			key := labelKey(ls)
			if s.came[key] == nil {
				s.came[key] = map[string]bool{}
			}
			s.came[key][strings.TrimPrefix(r.URL.Path, "/")] = true
		}
	}
	w.WriteHeader(http.StatusNoContent)
}

// groups are targets in the form of service discovery by file or HTTP.
func (s *allocationShop) groups(from, to int, keep func(i int) bool) []map[string]any {
	out := []map[string]any{}
	for i := from; i < to; i++ {
		if keep(i) {
			out = append(out, map[string]any{
				"targets": []string{s.pages.Listener.Addr().String()},
				"labels": map[string]string{
					"__metrics_path__": fmt.Sprint("/", i), "instance": fmt.Sprint("goods-", i),
					"__meta_shelf": fmt.Sprint("x", i), "__meta_label_app": "shop",
				},
			})
		}
	}
	return out
}

// targets makes it targets from one number up to another.
func (s *allocationShop) targets(from, to int) {
	s.t.Helper()
	text, err := json.Marshal(s.groups(from, to, func(int) bool { return true }))
	require.NoError(s.t, err)
	file := writeFile(s.t, s.dir, "new", string(text))
	s.mu.Lock()
	s.listed = [2]int{from, to}
	clear(s.came)
	s.mu.Unlock()
	require.NoError(s.t, os.Rename(file, filepath.Join(s.dir, "targets.json")))
}

// ourAllocator runs our collector as an allocator, and returns its URL.
func (s *allocationShop) ourAllocator() string {
	t := s.t
	t.Helper()
	jobs := writeFile(t, t.TempDir(), "jobs.yaml", fmt.Sprintf(`
scrape_configs:
- job_name: %s
  scrape_interval: 1s
  scrape_timeout: 1s
  file_sd_configs: [{files: [%q]}]
  relabel_configs:%s`, allocatedJob, filepath.Join(s.dir, "targets.json"), allocatedRules))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := l.Addr().String()
	require.NoError(t, l.Close())
	start(t, binary(t), "collector", "--metrics-address", "127.0.0.1:0", "--config", jobs,
		"--target-allocator-listen", address, "--target-allocator-collectors", strings.Join(collectorIDs, ","))
	base := "http://" + address
	eventually(t, 20*time.Second, "the allocator", func() error {
		res, err := http.Get(base + "/readyz")
		if err != nil {
			return err
		}
		defer res.Body.Close()
		if res.StatusCode != http.StatusOK {
			return errorString(res.Status)
		}
		return nil
	})
	return base
}

// documentedAllocator serves the examples of the documentation of the
// OpenTelemetry Operator's target allocator, with our job and targets in them.
func (s *allocationShop) documentedAllocator() string {
	rules := []map[string]any{
		{"action": "replace", "regex": "(.*)", "replacement": "$1", "separator": ";", "source_labels": []string{"__meta_shelf"}, "target_label": "shelf"},
		{"action": "replace", "regex": "(.)(.*)", "replacement": "$1", "separator": ";", "source_labels": []string{"__meta_shelf"}, "target_label": "first"},
		{"action": "labelmap", "regex": "__meta_label_(.+)", "replacement": "label_$1", "separator": ";"},
		{"action": "keepequal", "source_labels": []string{"__meta_shelf"}, "target_label": "shelf"},
		{"action": "dropequal", "source_labels": []string{"__meta_shelf"}, "target_label": "job"},
	}
	config := map[string]any{
		"follow_redirects": true, "honor_timestamps": true, "job_name": allocatedJob, "metric_relabel_configs": []any{},
		"metrics_path": "/metrics", "relabel_configs": rules, "scheme": "http", "scrape_interval": "1s", "scrape_timeout": "1s",
		"kubernetes_sd_configs": []any{},
	}
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, v any) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v) // the asker is gone
	}
	mux.HandleFunc("GET /scrape_configs", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{allocatedJob: config})
	})
	mux.HandleFunc("GET /jobs", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{allocatedJob: map[string]string{"_link": "/jobs/" + url.QueryEscape(allocatedJob) + "/targets"}})
	})
	mux.HandleFunc("GET /jobs/{job}/targets", func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.EscapedPath(), "/jobs/"+url.QueryEscape(allocatedJob)+"/") {
			answer(w, []any{})
			return
		}
		share := slices.Index(collectorIDs, r.URL.Query().Get("collector_id"))
		s.mu.Lock()
		listed := s.listed
		s.mu.Unlock()
		answer(w, s.groups(listed[0], listed[1], func(i int) bool { return i%2 == share }))
	})
	server := httptest.NewServer(mux)
	s.t.Cleanup(server.Close)
	return server.URL
}

// collectorFile configures a collector for an allocator.
func (s *allocationShop) collectorFile(base, id string) string {
	return writeFile(s.t, s.t.TempDir(), "collector.yaml", fmt.Sprintf(`
receivers:
  prometheus:
    target_allocator:
      endpoint: %s
      collector_id: %s
      interval: 1s
      http_sd_config: {refresh_interval: 1s}
exporters:
  prometheusremotewrite: {endpoint: "%s/%s", tls: {insecure: true}}
service:
  telemetry: {metrics: {level: none}}
  pipelines: {metrics: {receivers: [prometheus], exporters: [prometheusremotewrite]}}
`, base, id, s.sink.URL, id))
}

// eachOnce waits until the targets are scraped and no others, then looks at who
// scrapes them for a while.
func (s *allocationShop) eachOnce(from, to int) {
	t := s.t
	t.Helper()
	want := map[string]bool{}
	for i := from; i < to; i++ {
		want[labelKey(map[string]string{
			"job": allocatedJob, "instance": fmt.Sprint("goods-", i), "shelf": fmt.Sprint("x", i), "first": "x", "label_app": "shop",
		})] = true
	}
	all := func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		for key := range want {
			if len(s.came[key]) == 0 {
				return fmt.Errorf("nothing came of %s; there are %v", key, slices.Sorted(maps.Keys(s.came)))
			}
		}
		return nil
	}
	eventually(t, 60*time.Second, "samples of every target", all)
	// What is on its way from former targets has come by now; from here on it counts.
	eventually(t, 30*time.Second, "former targets to be left alone", func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		for path, at := range s.scrapes {
			var n int
			_, err := fmt.Sscanf(path, "/%d", &n)
			require.NoError(t, err)
			if (n < from || n >= to) && time.Since(at[len(at)-1]) < 3*time.Second {
				return fmt.Errorf("%s is still scraped", path)
			}
		}
		clear(s.came)
		clear(s.scrapes)
		return nil
	})
	began := time.Now()
	const scrapes = 6
	eventually(t, 60*time.Second, "some scrapes of every target", func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		for i := from; i < to; i++ {
			if n := len(s.scrapes[fmt.Sprint("/", i)]); n < scrapes {
				return fmt.Errorf("%d was scraped %d times", i, n)
			}
		}
		return nil
	})
	eventually(t, 60*time.Second, "samples of every target", all)
	s.mu.Lock()
	defer s.mu.Unlock()
	most := int(time.Since(began)/time.Second) + 2
	shares := map[string]int{}
	for key, by := range s.came {
		require.Len(t, by, 1, "%s comes from one collector", key)
		require.True(t, want[key], "%s is none of the targets", key)
		for id := range by {
			shares[id]++
		}
	}
	require.Len(t, s.scrapes, to-from)
	for path, at := range s.scrapes {
		require.LessOrEqual(t, len(at), most, "%s is scraped once a second", path)
	}
	require.Len(t, shares, len(collectorIDs))
	t.Logf("targets %d to %d: %v, at most %d scrapes each in %s", from, to-1, shares, most, time.Since(began).Round(time.Second))
}

// allocation has our collector divide a cluster's targets among the pods of the
// shop, as if those were collectors, and one of them go.
func allocation(t *testing.T, k *cluster.Cluster) {
	client := newKubeClient(t, k)
	jobs := writeFile(t, t.TempDir(), "jobs.yaml", fmt.Sprintf(`
scrape_configs:
- job_name: pods
  kubernetes_sd_configs: [{role: pod, kubeconfig_file: %q, namespaces: {names: [kube-system, default]}}]
- job_name: nodes
  kubernetes_sd_configs: [{role: node, kubeconfig_file: %q}]
`, k.Kubeconfig(), k.Kubeconfig()))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := l.Addr().String()
	require.NoError(t, l.Close())
	start(t, binary(t), "collector", "--metrics-address", "127.0.0.1:0", "--config", jobs, "--kubeconfig", k.Kubeconfig(),
		"--target-allocator-listen", address, "--target-allocator-selector", "app=shop", "--target-allocator-namespace", "default")
	// shares returns how many targets of both jobs each collector has.
	shares := func() (map[string]int, error) {
		out := map[string]int{}
		for job, least := range map[string]int{"pods": 5, "nodes": nodes} {
			var all map[string]struct{ Targets []struct{ Targets []string } }
			if err := getJSON("http://"+address+"/jobs/"+job+"/targets", &all); err != nil {
				return nil, err
			}
			seen := map[string]bool{}
			for id, share := range all {
				out[id] += len(share.Targets)
				for _, target := range share.Targets {
					if seen[target.Targets[0]] {
						return nil, fmt.Errorf("%s is handed out twice", target.Targets[0])
					}
					seen[target.Targets[0]] = true
				}
			}
			if len(seen) < least {
				return nil, fmt.Errorf("only %d targets of job %s", len(seen), job)
			}
		}
		return out, nil
	}
	pods := func() (ready []string) {
		list, err := client.CoreV1().Pods("default").List(t.Context(), metav1.ListOptions{LabelSelector: "app=shop"})
		require.NoError(t, err)
		for _, pod := range list.Items {
			if pod.DeletionTimestamp == nil {
				ready = append(ready, pod.Name)
			}
		}
		slices.Sort(ready)
		return ready
	}
	divided := func() {
		t.Helper()
		eventually(t, time.Minute, "shares of all pods of the shop", func() error {
			got, err := shares()
			if err != nil {
				return err
			}
			if want := pods(); len(want) != 3 || !slices.Equal(want, slices.Sorted(maps.Keys(got))) {
				return fmt.Errorf("the pods are %v, the shares %v", want, got)
			}
			return nil
		})
	}
	divided()
	before := pods()
	require.NoError(t, client.CoreV1().Pods("default").Delete(t.Context(), before[0], metav1.DeleteOptions{}))
	divided()
	require.NotContains(t, pods(), before[0])
}

func getJSON(address string, v any) error {
	res, err := http.Get(address)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return errorString(res.Status)
	}
	return json.NewDecoder(res.Body).Decode(v)
}
