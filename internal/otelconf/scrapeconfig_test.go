package otelconf

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery"
	"github.com/stretchr/testify/require"
	promyaml "go.yaml.in/yaml/v2"
)

// Paths of job files are relative to the file that names them, and so are the paths
// inside each file to that one.
func TestScrapeConfigFiles(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "jobs"), 0o755))
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	one := write("jobs/1.yaml", "scrape_configs:\n- {job_name: one, bearer_token_file: token, relabel_configs: [{replacement: '$1${2}', target_label: x}]}\n")
	two := write("jobs/2.yaml", "scrape_configs:\n- {job_name: two}\n- {job_name: three}\n")
	write("jobs/other.txt", "not: read\n")
	write("jobs/empty.yaml", "# nothing\n")
	forms := map[string]string{
		"prometheus": write("prometheus.yaml", "scrape_config_files: ['jobs/*.yaml', "+filepath.Join(dir, "missing.yaml")+"]\nglobal: {scrape_interval: 7s}\n"),
		"receiver":   write("collector.yaml", with("      scrape_configs:\n      - job_name: a\n        static_configs: [{targets: [\"a:1\"]}]", "      global: {scrape_interval: 7s}\n      scrape_config_files: ['jobs/*.yaml', "+filepath.Join(dir, "missing.yaml")+"]")),
	}
	for name, file := range forms {
		t.Run(name, func(t *testing.T) {
			c, err := Load(Options{Files: []string{file}, OwnEndpoint: true})
			require.NoError(t, err)
			var names []string
			for _, sc := range c.ScrapeConfigs {
				names = append(names, sc.JobName)
				require.Equal(t, "7s", sc.ScrapeInterval.String())
				require.Equal(t, name == "receiver", sc.ScrapeFallbackProtocol != "")
			}
			require.Equal(t, []string{"one", "two", "three"}, names)
			require.Equal(t, filepath.Join(dir, "jobs/token"), c.ScrapeConfigs[0].HTTPClientConfig.Authorization.CredentialsFile)
			require.Equal(t, "$1${2}", c.ScrapeConfigs[0].RelabelConfigs[0].Replacement, "nothing is expanded")
			require.Equal(t, []string{file, one, two, filepath.Join(dir, "jobs/empty.yaml")}, c.Files)
			require.Equal(t, []string{filepath.Join(dir, "jobs/*.yaml"), filepath.Join(dir, "missing.yaml")}, c.FilePatterns)
			require.Len(t, c.Warnings, 1)
			require.Contains(t, c.Warnings[0].Where, file+":")
			require.Contains(t, c.Warnings[0].Text, "there is no such file yet")
		})
	}
}

func TestTargetAllocator(t *testing.T) {
	c, err := Load(Options{Files: []string{"testdata/accepted/allocator.yaml"}, Getenv: func(n string) (string, bool) { return "collector 0", n == "POD_NAME" }})
	require.NoError(t, err)
	require.Len(t, c.TargetAllocators, 1)
	a := &c.TargetAllocators[0]
	require.Equal(t, "https://allocator.obs.svc/scrape_configs", a.ScrapeConfigsURL())
	require.Equal(t, map[string]string{"X-C": "d"}, a.Headers)
	require.Equal(t, "/c.key", a.HTTP.TLSConfig.KeyFile)
	jobs, err := a.ScrapeConfigs([]byte(`{
	  "pod/a b": {"job_name": "pod/a b", "scrape_interval": "30s", "kubernetes_sd_configs": [{"role": "pod"}], "basic_auth": {"username": "u"},
	              "relabel_configs": [{"source_labels": ["__address__"], "modulus": 2, "target_label": "__tmp_hash", "action": "hashmod"},
	                                  {"source_labels": ["__tmp_hash"], "regex": "$(SHARD)", "action": "keep"}]},
	  "a": {"job_name": "a"}}`), "3")
	require.NoError(t, err)
	require.Len(t, jobs, 2)
	require.Equal(t, "a", jobs[0].JobName)
	sc := jobs[1]
	require.Equal(t, "pod/a b", sc.JobName)
	require.Equal(t, "30s", sc.ScrapeInterval.String())
	require.Equal(t, config.PrometheusText0_0_4, sc.ScrapeFallbackProtocol)
	require.True(t, sc.RelabelConfigs[1].Regex.MatchString("3"))
	require.Nil(t, sc.HTTPClientConfig.BasicAuth, "http_scrape_config takes its place")
	require.False(t, sc.HTTPClientConfig.FollowRedirects)
	text, err := promyaml.Marshal(struct{ SD discovery.Configs }{sc.ServiceDiscoveryConfigs})
	require.NoError(t, err)
	require.Contains(t, string(text), "url: https://allocator.obs.svc/jobs/pod%2Fa+b/targets?collector_id=collector+0")
	require.Contains(t, string(text), "refresh_interval: 1m")
	require.Contains(t, string(text), "key_file: /c.key")
	require.NotContains(t, string(text), "role: pod")

	for text, want := range map[string]string{
		`[]`: "must be a mapping of names to scrape configurations", `{`: "not valid YAML", `{"a": {"job_name": "a", "scrap": 1}}`: `unknown field "scrap"`,
		`{"a": {"job_name": "a", "scrape_timeout": "5m"}}`: "scrape timeout greater than scrape interval", `{"a": 1}`: "must be a scrape configuration", `{"a": {}}`: "job_name is empty",
	} {
		_, err := a.ScrapeConfigs([]byte(text), "0")
		require.ErrorContains(t, err, want, text)
		require.ErrorContains(t, err, "https://allocator.obs.svc/scrape_configs:", text)
	}
	jobs, err = a.ScrapeConfigs(nil, "0")
	require.NoError(t, err)
	require.Empty(t, jobs)
}
