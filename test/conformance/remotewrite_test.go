// Package conformance runs the suites by which others judge a Prometheus
// ecosystem program, against the built program. It is a module of its own, so
// that what the suites need stays out of ours.
package conformance

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/prometheus/compliance/remotewrite/sender"
)

// program returns the program under test: $MANGRU, or what `make build` made.
func program(t *testing.T) string {
	t.Helper()
	bin := os.Getenv("MANGRU")
	if bin == "" {
		bin = filepath.Join("..", "..", "bin", "mangru")
	}
	bin, err := filepath.Abs(bin)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(bin); err != nil {
		t.Skipf("no program to test, make build makes it: %v", err)
	}
	return bin
}

// collector is our sender: `mangru collector` with a Prometheus file.
type collector struct {
	bin string
	dir string
}

func (collector) Name() string { return "mangru" }

// Run implements sender.Sender.
func (c collector) Run(ctx context.Context, o sender.Options) error {
	dir, err := os.MkdirTemp(c.dir, "")
	if err != nil {
		return err
	}
	file := filepath.Join(dir, "prometheus.yml")
	text := fmt.Sprintf(`
global: {scrape_interval: 1s}
remote_write:
- url: %q
  protobuf_message: %q
  send_exemplars: true
  queue_config: {retry_on_http_429: true, batch_send_deadline: 100ms}
scrape_configs:
- job_name: %q
  scrape_protocols: [PrometheusProto, OpenMetricsText1.0.0, PrometheusText0.0.4]
  static_configs: [{targets: [%q]}]
`, o.RemoteWriteEndpointURL, o.RemoteWriteMessage, o.ScrapeTargetJobName, o.ScrapeTargetHostPort)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return err
	}
	// Prometheus' own flag for start timestamps, which are off by default there, too.
	return sender.RunCommand(ctx, dir, nil, c.bin, "collector", "--config", file,
		"--enable-feature", "st-storage", "--metrics-address", "127.0.0.1:0", "--drain-timeout", "1s")
}

// TestSender runs the Prometheus project's suite for remote-write senders, all
// its cases as they are for 2.0.
func TestSender(t *testing.T) {
	c := collector{bin: program(t), dir: t.TempDir()}
	sender.RunTests(t, c, sender.ComplianceTests())
}

var _ sender.Sender = collector{}
