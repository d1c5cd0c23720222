package differential

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/test/differential/program"
)

var update = flag.Bool("update", false, "record what the OpenTelemetry Collector sends anew")

// otelJobs are what the two collectors run: without the largest pages, so that
// the recording is small.
func otelJobs() []job {
	left := []string{"apiserver", "kubelet", "limit-body-plain", "life-legacy", "utf8-legacy"}
	return slices.DeleteFunc(promJobs(), func(j job) bool { return slices.Contains(left, j.name) })
}

// otelConfig is the usual way from targets to remote write.
func otelConfig(addr, sinkURL string, jobs []job, every time.Duration) string {
	indent := func(s string) string { return strings.ReplaceAll(strings.TrimRight(s, "\n"), "\n", "\n      ") }
	escaped := strings.ReplaceAll(scrapeConfigs(addr, jobs, every), "$", "$$")
	return fmt.Sprintf(`
receivers:
  prometheus:
    config:
      global: {scrape_interval: %[1]s, scrape_timeout: %[1]s}
      scrape_configs:
      %[2]s
processors:
  batch: {timeout: 50ms}
  memory_limiter: {check_interval: 1s, limit_mib: 2000}
exporters:
  prometheusremotewrite/v1:
    endpoint: %[3]s/v1
    external_labels: {cluster: test}
    disable_scope_info: true
    remote_write_queue: {num_consumers: 1}
    tls: {insecure: true}
  prometheusremotewrite/v2:
    endpoint: %[3]s/v2
    external_labels: {cluster: test}
    disable_scope_info: true
    protobuf_message: io.prometheus.write.v2.Request
    remote_write_queue: {num_consumers: 1}
service:
  telemetry: {metrics: {level: none}}
  pipelines:
    metrics:
      receivers: [prometheus]
      processors: [memory_limiter, batch]
      exporters: [prometheusremotewrite/v1, prometheusremotewrite/v2]
`, model.Duration(every), indent(escaped), sinkURL)
}

// both are the paths that the exporters send to.
var both = []string{"v1", "v2"}

const otelRecording = "testdata/otelcol.json.zst"

// TestOTelCollector lets the OpenTelemetry Collector and ours, with its names, run
// the same file. Where there is no OpenTelemetry Collector, what it sent when it
// was there takes its place.
func TestOTelCollector(t *testing.T) {
	t.Parallel()
	atSomePace(t, "testdata/otelcol.differences", func(every time.Duration) ([]difference, []string) {
		return besideOTel(t, every)
	})
}

func besideOTel(t *testing.T, every time.Duration) ([]difference, []string) {
	l := newLab(t, every)
	jobs := otelJobs()
	file := l.write("otelcol.yaml", otelConfig(l.targets.addr(), l.url, jobs, every))
	const gate = "--feature-gates=+exporter.prometheusremotewritexporter.enableSendingRW2"
	mangru := l.start(program.Mangru(t), "collector", "--config", file, "--naming", "otel", gate, "--metrics-address", "127.0.0.1:0")
	peer, live := program.OTelCollector(t)
	require.True(t, live || !*update, "there is no OpenTelemetry Collector to record; see package program")
	wanted := full(streams(ours))
	var col *program.Process
	if live {
		col = l.start(peer, "--config", file, gate)
		wanted = full(streams(ours, theirs))
	}
	l.scraped(jobs, wanted)
	late := l.late(ours)
	require.NoError(t, mangru.Stop())
	recording := readRecording(t)
	if live {
		late = append(late, l.late(theirs)...)
		require.NoError(t, col.Stop())
		for _, path := range both {
			recording[path] = l.read(theirs + "/" + path)
		}
	}
	if *update && len(late) == 0 {
		writeRecording(t, recording)
	}
	var all []difference
	for _, path := range both {
		all = append(all, differences(path, recording[path], l.read(ours+"/"+path))...)
	}
	return all, late
}

func readRecording(t *testing.T) map[string]canonical {
	t.Helper()
	out := make(map[string]canonical)
	f, err := os.Open(otelRecording)
	if os.IsNotExist(err) {
		return out
	}
	require.NoError(t, err)
	defer f.Close()
	z, err := zstd.NewReader(f)
	require.NoError(t, err)
	defer z.Close()
	require.NoError(t, json.NewDecoder(z).Decode(&out))
	return out
}

func writeRecording(t *testing.T, all map[string]canonical) {
	t.Helper()
	f, err := os.Create(otelRecording)
	require.NoError(t, err)
	z, err := zstd.NewWriter(f, zstd.WithEncoderLevel(zstd.SpeedBestCompression))
	require.NoError(t, err)
	require.NoError(t, json.NewEncoder(z).Encode(all))
	require.NoError(t, z.Close())
	require.NoError(t, f.Close())
}
