package peer

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/config"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"
)

func task(v2 bool) Task {
	return Task{
		Jobs: []Job{
			{Name: "cadvisor", HonorLabels: true, Targets: []Target{{Address: "127.12.0.1:9", Path: "/metrics/cadvisor", Node: "a"}}},
			{Name: "node-exporter", Targets: []Target{{Address: "127.11.0.1:9", Path: "/metrics", Node: "a"}}},
		},
		Interval: 10 * time.Second, URL: "http://127.0.0.1:1/api/v1/write", V2: v2,
	}
}

func TestPrometheusReadsTheConfiguration(t *testing.T) {
	for _, v2 := range []bool{false, true} {
		text, err := prometheusConfig(task(v2), true)
		require.NoError(t, err)
		c, err := config.Load(string(text), promslog.NewNopLogger())
		require.NoError(t, err)
		require.Len(t, c.ScrapeConfigs, 2)
		require.True(t, c.ScrapeConfigs[0].HonorLabels)
		require.True(t, c.ScrapeConfigs[0].HonorTimestamps)
		require.Equal(t, "/metrics/cadvisor", c.ScrapeConfigs[0].MetricsPath)
		require.Equal(t, "bench", c.GlobalConfig.ExternalLabels.Get("cluster"))
		require.EqualValues(t, message(task(v2)), c.RemoteWriteConfigs[0].ProtobufMessage)
	}
}

func TestCommands(t *testing.T) {
	dir := t.TempDir()
	for _, name := range Names() {
		cmd, err := Collector{Name: name, Binary: "/bin/" + name, Args: []string{"--more"}, Config: "# more\n"}.Command(t.Context(), task(true), dir, 1234)
		require.NoError(t, err)
		require.Equal(t, "--more", cmd.Args[len(cmd.Args)-1])
		text, err := os.ReadFile(filepath.Join(dir, name+".yaml"))
		require.NoError(t, err)
		var any map[string]any
		require.NoError(t, yaml.Unmarshal(text, &any))
	}
	_, err := Collector{Name: "vector"}.Command(t.Context(), task(false), dir, 1)
	require.ErrorContains(t, err, "unknown collector")
}

func TestDigestFollowsTheModule(t *testing.T) {
	dir := t.TempDir()
	_, err := digestOf(dir)
	require.Error(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module a\n"), 0o600))
	one, err := digestOf(dir)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "go.sum"), []byte("x\n"), 0o600))
	two, err := digestOf(dir)
	require.NoError(t, err)
	require.NotEqual(t, one, two)
}
