package main

import (
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/config"
	"github.com/stretchr/testify/require"
	promyaml "go.yaml.in/yaml/v2"

	"github.com/mangru/mangru/internal/otelconf"
)

// Every discovery that is offered as a field is registered.
func TestDiscoveriesAreRegistered(t *testing.T) {
	require.Greater(t, len(otelconf.DiscoveryFields()), 30)
	for _, name := range otelconf.DiscoveryFields() {
		var sc config.ScrapeConfig
		require.NoError(t, promyaml.UnmarshalStrict([]byte("job_name: a\n"+name+": []\n"), &sc), name)
	}
}

// Prometheus' own example of a file with everything is read as Prometheus does.
func TestLikePrometheus(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/prometheus/prometheus").Output()
	if err != nil || len(strings.TrimSpace(string(out))) == 0 {
		t.Skip("Prometheus' sources are not here")
	}
	dir := filepath.Join(strings.TrimSpace(string(out)), "config", "testdata")
	files, err := filepath.Glob(filepath.Join(dir, "*.good.yml"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	compared := 0
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			want, err := config.LoadFile(file, false, slog.New(slog.DiscardHandler))
			require.NoError(t, err)
			jobs, err := want.GetScrapeConfigs()
			require.NoError(t, err)
			got, err := otelconf.Load(otelconf.Options{Files: []string{file}, Getenv: func(n string) (string, bool) { v, ok := os.LookupEnv(n); return v, ok && n != "AOT_CONFIG_CONTENT" }})
			if err != nil && strings.Contains(err.Error(), `scheme "localhost" of the URL`) {
				t.Skip("such a URL fails there once it is used")
			}
			require.NoError(t, err)
			require.Equal(t, len(jobs), len(got.ScrapeConfigs))
			for i, j := range jobs {
				require.Equal(t, j, got.ScrapeConfigs[i], j.JobName)
				compared++
			}
			require.Equal(t, want.GlobalConfig, got.Global)
			require.Len(t, got.Endpoints, len(want.RemoteWriteConfigs))
			for i, rw := range want.RemoteWriteConfigs {
				require.Equal(t, rw.HTTPClientConfig, got.Endpoints[i].HTTP)
				require.Equal(t, rw.Headers, got.Endpoints[i].Headers)
			}
		})
	}
	require.Greater(t, compared, 40)
}
