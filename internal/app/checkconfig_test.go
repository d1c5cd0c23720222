package app

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func checkConfig(t *testing.T, text string, args ...string) (string, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "c.yaml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	var out bytes.Buffer
	cmd := newCheckConfigCmd()
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SilenceUsage, cmd.SilenceErrors = true, true
	cmd.SetArgs(append(args, path))
	err := cmd.Execute()
	return out.String(), err
}

func TestCheckConfigPrintsWhatRuns(t *testing.T) {
	out, err := checkConfig(t, `
global: {external_labels: {cluster: c1}}
scrape_configs:
- job_name: web
  scrape_interval: 30s
  bearer_token: hush1
  static_configs: [{targets: ["a:1", "b:1"]}]
- job_name: pods
  kubernetes_sd_configs: [{role: pod}]
  relabel_configs: [{action: keep, regex: "true", source_labels: [x]}]
remote_write:
- url: http://me:hush2@one.example/write
  headers: {X-Key: hush3}
- url: http://two.example/write
  sigv4: {region: r1, access_key: AK, secret_key: hush4}
`)
	require.NoError(t, err)
	for _, want := range []string{
		"valid: Prometheus configuration", "2 scrape jobs", "web   30s       10s      static (2 targets)  0", "pods  1m        10s      kubernetes/pod      1",
		"2 endpoints", "http://one.example/write", "basic authentication (password hidden)", "headers: X-Key (values hidden)",
		"signed (SigV4) for service aps, region r1, with the keys in the configuration", `external labels: {cluster="c1"}`,
		"the queue holds up to 128 MiB and 2h",
	} {
		require.Contains(t, out, want)
	}
	require.NotContains(t, out, "hush")
}

func TestCheckConfigEndsWithTwo(t *testing.T) {
	out, err := checkConfig(t, "scrape_configs:\n- job_name: a\n  scrape_intervall: 5s\n")
	var exit *ExitError
	require.True(t, errors.As(err, &exit))
	require.Equal(t, 2, exit.Code)
	require.Contains(t, err.Error(), `c.yaml:3: scrape_configs[0].scrape_intervall: unknown field "scrape_intervall", did you mean "scrape_interval"?`)
	require.Empty(t, out)
	_, err = checkConfig(t, "scrape_configs: []\n", "--dedupe", "x")
	require.ErrorContains(t, err, "(allowed: off, first-job-wins)")
}
