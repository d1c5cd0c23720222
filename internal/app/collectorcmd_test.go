package app

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/internal/otelconf"
)

// TestCollectorFlags sets each flag with a configuration and with the built-in jobs.
func TestCollectorFlags(t *testing.T) {
	kubeconfig := filepath.Join(t.TempDir(), "config")
	require.NoError(t, os.WriteFile(kubeconfig, []byte(kubeconfigText), 0o600))
	file := "yaml:{scrape_configs: [{job_name: j}], remote_write: [{url: 'http://h/'}]}"
	for name, f := range map[string]collectorFlags{
		"file":     {files: []string{file}},
		"built-in": {kubeconfig: kubeconfig, interval: time.Minute, remoteWrite: []string{"http://h/"}},
	} {
		f.queueBytes, f.queueAge, f.directory = "80MiB", time.Hour, "/somewhere"
		f.pprof, f.metrics, f.shard = "127.0.0.1:1", "127.0.0.1:2", "1/3"
		cfg, err := f.load()
		require.NoError(t, err, name)
		require.Equal(t, otelconf.Queue{MaxBytes: 80 << 20, MaxAge: time.Hour, Directory: "/somewhere"}, cfg.Queue, name)
		require.Equal(t, otelconf.Shard{Index: 1, Count: 3}, cfg.Shard, name)
		require.Equal(t, "127.0.0.1:1", cfg.PprofAddress, name)
		require.Equal(t, "127.0.0.1:2", cfg.MetricsAddress, name)
	}
	for want, f := range map[string]collectorFlags{
		`--queue-size: found "lots"`:                    {files: []string{file}, queueBytes: "lots"},
		"--queue-age: found -1s":                        {files: []string{file}, queueAge: -time.Second},
		"--naming needs --config":                       {kubeconfig: kubeconfig, remoteWrite: []string{"http://h/"}, naming: "otel"},
		"--feature-gates needs":                         {kubeconfig: kubeconfig, remoteWrite: []string{"http://h/"}, gates: []string{"a"}},
		`--shard: `:                                     {kubeconfig: kubeconfig, interval: time.Minute, remoteWrite: []string{"http://h/"}, shard: "3/3"},
		"needs either --target-allocator-collectors or": {files: []string{file}, handOut: HandOut{Listen: ":0"}},
		"or --target-allocator-selector":                {files: []string{file}, handOut: HandOut{Listen: ":0", Collectors: []string{"a"}, Selector: "a=b"}},
		`found ["a" "a"]`:                               {files: []string{file}, handOut: HandOut{Listen: ":0", Collectors: []string{"a", "a"}}},
		"--target-allocator-selector: ":                 {files: []string{file}, handOut: HandOut{Listen: ":0", Selector: "a in"}},
		"-namespace needs --target-allocator-selector":  {files: []string{file}, handOut: HandOut{Listen: ":0", Collectors: []string{"a"}, Namespace: "n"}},
		"--target-allocator-listen: must be HOST:PORT":  {files: []string{file}, handOut: HandOut{Listen: "8080", Collectors: []string{"a"}}},
		"-namespace need --target-allocator-listen":     {files: []string{file}, handOut: HandOut{Collectors: []string{"a"}}},
		"--target-allocator-listen and --shard":         {files: []string{file}, handOut: HandOut{Listen: ":0", Collectors: []string{"a"}}, shard: "0/2"},
		"can be handed out in a pod only":               {kubeconfig: kubeconfig, interval: time.Minute, handOut: HandOut{Listen: ":0", Collectors: []string{"a"}}},
	} {
		_, err := f.load()
		require.ErrorContains(t, err, want)
	}
}

// TestListenersFollowReloads moves the collector's addresses while it runs, and
// starts it again on a directory that a failed start had claimed.
func TestListenersFollowReloads(t *testing.T) {
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	load := func(pprof string) *otelconf.Config {
		cfg := otelconf.New()
		cfg.MetricsAddress, cfg.PprofAddress = "127.0.0.1:0", pprof
		cfg.Queue.Directory = t.TempDir()
		return cfg
	}
	cfg := load("not an address")
	_, err := NewCollector(cfg, CollectorDeps{Logger: log, Registerer: prometheus.NewRegistry()})
	require.ErrorContains(t, err, "pprof")
	cfg.PprofAddress = "127.0.0.1:0"
	c, err := NewCollector(cfg, CollectorDeps{Logger: log, Registerer: prometheus.NewRegistry(), DrainTimeout: time.Second})
	require.NoError(t, err)
	require.Empty(t, c.Queue().Queue.Directory.Error, "the failed start has given the directory back")
	stop := run(t, c)
	defer stop()
	require.Len(t, c.Addrs(), 2)
	metrics, profiles := c.Addrs()[0], c.Addrs()[1]
	get := func(addr string) error {
		resp, err := http.Get("http://" + addr)
		if err != nil {
			return err
		}
		require.Equal(t, http.StatusOK, resp.StatusCode)
		return resp.Body.Close()
	}
	require.NoError(t, get(profiles.String()+"/debug/pprof/cmdline"))
	next := load("")
	require.NoError(t, c.Reload(next))
	require.Equal(t, cfg.Queue.Directory, next.Queue.Directory, "stays until a restart")
	require.Len(t, c.Addrs(), 1)
	require.Equal(t, metrics, c.Addrs()[0], "an address that stays is not let go")
	require.NoError(t, get(metrics.String()+"/-/ready"))
	require.Error(t, get(profiles.String()+"/debug/pprof/cmdline"))
	require.NoError(t, c.Reload(load("127.0.0.1:0")))
	require.NoError(t, get(c.Addrs()[1].String()+"/debug/pprof/cmdline"))
	require.Error(t, c.Reload(load("not an address")))
	require.Len(t, c.Addrs(), 2, "a bad configuration changes nothing")
}

// run runs a collector until the function that it returns is called.
func run(t *testing.T, c *Collector) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() { result <- c.Run(ctx) }()
	require.Eventually(t, c.ready.Load, 30*time.Second, time.Millisecond)
	return func() {
		cancel()
		require.NoError(t, <-result)
	}
}
