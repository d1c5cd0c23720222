//go:build e2e

package e2e

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func writeFile(t *testing.T, dir, name, text string) string {
	t.Helper()
	file := filepath.Join(dir, name)
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	return file
}

func copyTo(w io.Writer, res *http.Response) (int64, error) {
	defer res.Body.Close()
	return io.Copy(w, res.Body)
}

var badConfigurations = map[string]struct {
	text string
	want []string
}{
	"unknown component": {`
receivers:
  prometheuz: {}
exporters:
  prometheusremotewrite: {endpoint: "http://127.0.0.1:1/x"}
service:
  pipelines:
    metrics: {receivers: [prometheuz], exporters: [prometheusremotewrite]}
`, []string{"config.yaml:3", `unknown type: "prometheuz"`, "valid values", "prometheus"}},
	"unknown field": {`
receivers:
  prometheus:
    config:
      scrape_configs:
      - job_name: a
        scrape_intervall: 15s
exporters:
  prometheusremotewrite: {endpoint: "http://127.0.0.1:1/x"}
service:
  pipelines:
    metrics: {receivers: [prometheus], exporters: [prometheusremotewrite]}
`, []string{"config.yaml:7", "scrape_intervall"}},
	"bad regex": {`
receivers:
  prometheus:
    config:
      scrape_configs:
      - job_name: a
        relabel_configs:
        - source_labels: [x]
          regex: "("
          action: keep
exporters:
  prometheusremotewrite: {endpoint: "http://127.0.0.1:1/x"}
service:
  pipelines:
    metrics: {receivers: [prometheus], exporters: [prometheusremotewrite]}
`, []string{"config.yaml:9", "regex"}},
}
