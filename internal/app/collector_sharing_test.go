package app

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/internal/otelconf"
)

// TestHandOut has a collector hand its targets out to two others, and change what
// there is while it does.
func TestHandOut(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	var mu sync.Mutex
	scraped := map[string]map[string]int{} // by path, then collector
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if scraped[r.URL.Path] == nil {
			scraped[r.URL.Path] = map[string]int{}
		}
		scraped[r.URL.Path][r.Header.Get("X-Collector")]++
		_, _ = io.WriteString(w, "m 1\n")
	}))
	defer page.Close()
	address := page.Listener.Addr().String()
	targets := filepath.Join(t.TempDir(), "targets.json")
	write := func(from, to int) {
		var groups []map[string]any
		for i := range to {
			if i >= from {
				groups = append(groups, map[string]any{"targets": []string{address}, "labels": map[string]string{"__metrics_path__": fmt.Sprint("/", i), "instance": fmt.Sprint("i", i)}})
			}
		}
		text, err := json.Marshal(groups)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(targets+".new", text, 0o600))
		require.NoError(t, os.Rename(targets+".new", targets))
	}
	write(0, 20)
	file := filepath.Join(t.TempDir(), "collector.yaml")
	require.NoError(t, os.WriteFile(file, []byte(fmt.Sprintf(`scrape_configs: [{job_name: a/b, scrape_interval: 100ms, file_sd_configs: [{files: [%q]}]}]`, targets)), 0o600))

	flags := collectorFlags{files: []string{file}, metrics: "127.0.0.1:0", handOut: HandOut{Listen: "127.0.0.1:0", Collectors: []string{"c-0", "c-1"}}}
	cfg, err := flags.load()
	require.NoError(t, err, "nowhere to send to is needed")
	server, err := NewCollector(cfg, CollectorDeps{Logger: log, Registerer: prometheus.NewRegistry(), HandOut: &flags.handOut})
	require.NoError(t, err)
	defer run(t, server)()
	require.Len(t, server.Addrs(), 2)
	for i := range 2 {
		cfg, err := otelconf.Load(otelconf.Options{OwnEndpoint: true, Files: []string{fmt.Sprintf(`yaml:
receivers:
  prometheus:
    target_allocator:
      endpoint: http://%s
      collector_id: c-%d
      interval: 1s
      http_sd_config: {refresh_interval: 1s}
      http_scrape_config: {http_headers: {X-Collector: {values: [c-%d]}}}
exporters: {prometheusremotewrite: {endpoint: "http://127.0.0.1:1/"}}
service: {telemetry: {metrics: {level: none}}, pipelines: {metrics: {receivers: [prometheus], exporters: [prometheusremotewrite]}}}
`, server.Addrs()[1], i, i)}})
		require.NoError(t, err)
		c, err := NewCollector(cfg, CollectorDeps{Logger: log, Registerer: prometheus.NewRegistry(), DrainTimeout: time.Millisecond})
		require.NoError(t, err)
		defer run(t, c)()
	}
	each := func(n int) func() bool {
		return func() bool {
			mu.Lock()
			defer mu.Unlock()
			for _, by := range scraped {
				if by["c-0"]+by["c-1"] < 3 {
					return false
				}
			}
			return len(scraped) == n
		}
	}
	require.Eventually(t, each(20), 30*time.Second, 10*time.Millisecond)
	require.NoError(t, server.Reload(cfg), "the same again changes nothing")
	write(10, 30)
	require.Eventually(t, each(30), 30*time.Second, 10*time.Millisecond)
	mu.Lock()
	defer mu.Unlock()
	by := map[string]int{}
	for path, collectors := range scraped {
		require.Len(t, collectors, 1, "%s is scraped by one, and not by who hands it out", path)
		for id := range collectors {
			by[id]++
		}
	}
	require.Len(t, by, 2)
	for _, j := range server.Targets().Jobs {
		require.Empty(t, j.Targets)
	}
}

// TestHandOutFailsEarly is about what a start finds out.
func TestHandOutFailsEarly(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	for want, out := range map[string]HandOut{
		"needs --target-allocator-namespace outside Kubernetes": {Listen: "127.0.0.1:0", Selector: "a=b"},
		"watching collectors":       {Listen: "127.0.0.1:0", Selector: "a=b", Namespace: "n", Kubeconfig: "/does/not/exist"},
		"--target-allocator-listen": {Listen: "256.0.0.1:0", Collectors: []string{"c-0"}},
	} {
		_, err := NewCollector(otelconf.New(), CollectorDeps{Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(), HandOut: &out})
		require.ErrorContains(t, err, want)
	}
}
