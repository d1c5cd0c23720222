package otelconf

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/config"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the golden files anew")

// load loads one text, as a file called "c.yaml".
func load(text string, change ...func(*Options)) (*Config, error) {
	o := Options{
		Files:    []string{"c.yaml"},
		Getenv:   func(string) (string, bool) { return "", false },
		ReadFile: func(string) ([]byte, error) { return []byte(text), nil },
	}
	for _, f := range change {
		f(&o)
	}
	return Load(o)
}

func withEnv(env map[string]string) func(*Options) {
	return func(o *Options) {
		o.Getenv = func(name string) (string, bool) { v, ok := env[name]; return v, ok }
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", "golden", name)
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), got, "run with -update if this is meant to change")
}

func TestLoadCollectorObject(t *testing.T) {
	c, err := Load(Options{Files: []string{"testdata/adot.yaml"}, Getenv: func(string) (string, bool) { return "", false }})
	require.NoError(t, err)
	golden(t, "adot.txt", describe(t, c))
}

// The same configuration must come out the same from every wrapping.
func TestLoadForms(t *testing.T) {
	data, err := os.ReadFile("testdata/adot.yaml")
	require.NoError(t, err)
	object, _, _ := strings.Cut(string(data), "\n---\n")
	head, inner, _ := strings.Cut(object, "  config: |\n")
	var plain, structured []string
	for _, line := range strings.Split(inner, "\n") {
		plain = append(plain, strings.TrimPrefix(line, "    "))
		structured = append(structured, line)
	}
	want, err := load(string(data))
	require.NoError(t, err)
	forms := map[string]string{
		"plain":    strings.Join(plain, "\n"),
		"v1beta1":  strings.ReplaceAll(head, "v1alpha1", "v1beta1") + "  config:\n" + strings.Join(structured, "\n"),
		"list":     "apiVersion: v1\nkind: List\nitems:\n- " + strings.ReplaceAll(strings.TrimSpace(object), "\n", "\n  "),
		"reversed": "kind: ClusterRole\napiVersion: rbac.authorization.k8s.io/v1\n---\n" + object,
	}
	for name, text := range forms {
		t.Run(name, func(t *testing.T) {
			got, err := load(text)
			require.NoError(t, err)
			// Places and the name of the form differ, the rest must not.
			for _, c := range []*Config{got, want} {
				c.Form, c.Warnings = "", nil
			}
			require.Equal(t, describe(t, want), describe(t, got))
		})
	}
}

// TestLoadWorkshop loads the workshop's own files where they are at hand.
func TestLoadWorkshop(t *testing.T) {
	shared := os.Getenv("MANGRU_SHARED")
	if shared == "" {
		shared = "../../../shared"
	}
	data, err := os.ReadFile(filepath.Join(shared, "workshop", "otel-collector-config.yaml"))
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("the workshop's files are not here; set MANGRU_SHARED")
	}
	require.NoError(t, err)
	_, err = load(string(data))
	require.ErrorContains(t, err, `"AWS_REGION" is a placeholder`)
	require.ErrorContains(t, err, `"AMP_WORKSPACE_URL" is a placeholder`)

	url := "https://aps-workspaces.ap-northeast-2.amazonaws.com/workspaces/ws-1/api/v1/remote_write"
	text := strings.NewReplacer("AWS_REGION", "ap-northeast-2", "AMP_WORKSPACE_URL", url).Replace(string(data))
	c, err := load(text)
	require.NoError(t, err)
	require.Len(t, c.ScrapeConfigs, 9)
	require.Equal(t, "ap-northeast-2", c.Endpoints[0].SigV4.Region)
	require.Equal(t, time.Minute, c.BatchTimeout)

	guide, err := os.ReadFile(filepath.Join(shared, "workshop", "eks-amp-amg.md"))
	require.NoError(t, err)
	_, jobs, found := strings.Cut(string(guide), "- job_name: integrations/kubernetes/kube-state-metrics")
	require.True(t, found)
	jobs, _, _ = strings.Cut("- job_name: integrations/kubernetes/kube-state-metrics"+jobs, "```")
	jobs = "          " + strings.ReplaceAll(strings.TrimSpace(jobs), "\n", "\n          ") + "\n\n    processors:\n"
	c, err = load(strings.Replace(text, "    processors:\n", jobs, 1))
	require.NoError(t, err)
	require.Len(t, c.ScrapeConfigs, 11)
	require.Equal(t, "integrations/node_exporter", c.ScrapeConfigs[10].JobName)
	var doubled int
	for _, w := range c.Warnings {
		if strings.Contains(w.Text, "scrape the same targets") {
			doubled++
		}
	}
	require.Equal(t, 2, doubled, "kube-state-metrics and node-exporter are scraped for their Services too")
}

const minimal = `
receivers:
  prometheus:
    config:
      scrape_configs:
      - job_name: a
        static_configs: [{targets: ["a:1"]}]
exporters:
  prometheusremotewrite:
    endpoint: http://receiver.example/api/v1/write
service:
  pipelines:
    metrics: {receivers: [prometheus], exporters: [prometheusremotewrite]}
`

func TestLoadDefaults(t *testing.T) {
	c, err := load(minimal)
	require.NoError(t, err)
	require.Equal(t, DefaultMetricsAddress, c.MetricsAddress)
	require.Empty(t, c.HealthAddress)
	require.Equal(t, DefaultBatchTimeout, c.BatchTimeout)
	require.Equal(t, DedupeOff, c.Dedupe)
	require.Equal(t, config.PrometheusText0_0_4, c.ScrapeConfigs[0].ScrapeFallbackProtocol)
	require.Equal(t, time.Minute, time.Duration(c.ScrapeConfigs[0].ScrapeInterval))
	e := c.Endpoints[0]
	require.Equal(t, 5*time.Second, e.Timeout)
	require.Equal(t, 5, e.MaxShards)
	require.Equal(t, 1_000_000, e.MaxRequestBytes)
	require.Nil(t, e.SigV4)
	require.Empty(t, c.Warnings)
}

// add puts lines into the section of minimal that ends before marker.
func with(replacements ...string) string {
	return strings.NewReplacer(replacements...).Replace(minimal)
}

func TestLoadFields(t *testing.T) {
	tests := map[string]struct {
		text  string
		env   map[string]string
		check func(t *testing.T, c *Config)
	}{
		"legacy telemetry address": {
			text:  with("service:\n", "service:\n  telemetry: {metrics: {address: \"0.0.0.0:8888\"}, logs: {level: DEBUG}}\n"),
			check: func(t *testing.T, c *Config) { require.Equal(t, "0.0.0.0:8888 debug", c.MetricsAddress+" "+c.LogLevel) },
		},
		"telemetry readers": {
			text:  with("service:\n", "service:\n  telemetry: {metrics: {readers: [{pull: {exporter: {prometheus: {host: '${env:IP}', port: 9999}}}}]}}\n"),
			env:   map[string]string{"IP": "10.0.0.1"},
			check: func(t *testing.T, c *Config) { require.Equal(t, "10.0.0.1:9999", c.MetricsAddress) },
		},
		"telemetry off": {
			text:  with("service:\n", "service:\n  telemetry: {metrics: {level: none}}\n"),
			check: func(t *testing.T, c *Config) { require.Empty(t, c.MetricsAddress) },
		},
		"health check with defaults": {
			text: with("service:\n", "extensions: {health_check: }\nservice:\n  extensions: [health_check]\n"),
			check: func(t *testing.T, c *Config) {
				require.Equal(t, DefaultHealthAddress+"/", c.HealthAddress+c.HealthPath)
			},
		},
		"extension not listed does not run": {
			text:  with("service:\n", "extensions: {health_check: }\nservice:\n"),
			check: func(t *testing.T, c *Config) { require.Empty(t, c.HealthAddress) },
		},
		"new type name, http block, list of headers": {
			text: with("prometheusremotewrite", "prometheus_remote_write/x", "endpoint: http://receiver.example/api/v1/write",
				"http: {endpoint: http://r.example/w, headers: [{name: X-Scope-OrgID, value: t1}, {name: User-Agent, value: me}]}"),
			check: func(t *testing.T, c *Config) {
				require.Equal(t, "prometheus_remote_write/x", c.Endpoints[0].Name)
				require.Equal(t, "http://r.example/w", c.Endpoints[0].URL)
				require.Equal(t, map[string]string{"X-Scope-OrgID": "t1"}, c.Endpoints[0].Headers)
				require.Len(t, c.Warnings, 1)
			},
		},
		"old AWS exporter": {
			text: with("prometheusremotewrite", "awsprometheusremotewrite", "    endpoint: http://receiver.example/api/v1/write",
				"    endpoint: https://aps-workspaces.us-west-2.amazonaws.com/workspaces/ws-1/api/v1/remote_write\n    aws_auth: {role_arn: 'arn:aws:iam::1:role/r'}"),
			check: func(t *testing.T, c *Config) {
				s := c.Endpoints[0].SigV4
				require.Equal(t, "us-west-2 aps arn:aws:iam::1:role/r", s.Region+" "+s.Service+" "+s.RoleARN)
			},
		},
		"assumed role, region from the environment": {
			text: with("    endpoint", "    auth: {authenticator: sigv4auth/b}\n    endpoint",
				"service:\n", "extensions: {sigv4auth/b: {assume_role: {arn: a, external_id: e, sts_region: us-east-2}}}\nservice:\n  extensions: [sigv4auth/b]\n"),
			env: map[string]string{"AWS_REGION": "eu-west-1"},
			check: func(t *testing.T, c *Config) {
				s := c.Endpoints[0].SigV4
				require.Equal(t, "eu-west-1 aps a e us-east-2", strings.Join([]string{s.Region, s.Service, s.RoleARN, s.ExternalID, s.STSRegion}, " "))
			},
		},
		"external labels of receiver and exporter": {
			text: with("    endpoint", "    external_labels: {cluster: own}\n    endpoint",
				"      scrape_configs:", "      global: {external_labels: {cluster: all, region: r}}\n      scrape_configs:"),
			check: func(t *testing.T, c *Config) {
				// The receiver's replace what a series has; the exporter's do not.
				require.Equal(t, `{cluster="own"}`, c.Endpoints[0].ExternalLabels.String())
				require.Equal(t, `{__name__="up", cluster="all", region="r"}`, apply(c.Programs["a"], "__name__", "up", "cluster", "exposed"))
			},
		},
		"batch and memory limiter": {
			text: with("service:\n", "processors: {batch: , memory_limiter: {check_interval: 1s, limit_mib: 100}}\nservice:\n",
				"exporters: [", "processors: [memory_limiter, batch], exporters: ["),
			check: func(t *testing.T, c *Config) {
				require.Equal(t, 200*time.Millisecond, c.BatchTimeout)
				require.Equal(t, MemoryLimit{CheckInterval: time.Second, LimitBytes: 100 << 20, MinGCIntervalSoft: 10 * time.Second}, c.Memory)
				require.EqualValues(t, 50<<20, c.Queue.MaxBytes)
			},
		},
		"password in the URL": {
			text: with("http://receiver", "http://me:hush@receiver"),
			check: func(t *testing.T, c *Config) {
				require.Equal(t, "http://receiver.example/api/v1/write", c.Endpoints[0].URL)
				require.EqualValues(t, "hush", c.Endpoints[0].HTTP.BasicAuth.Password)
			},
		},
		"dedupe": {
			text:  with("    config:\n", "    dedupe: first-job-wins\n    config:\n"),
			check: func(t *testing.T, c *Config) { require.Equal(t, DedupeFirstJobWins, c.Dedupe) },
		},
		"unused components parse but do not run": {
			text: with("exporters:\n", "exporters:\n  otlp: {endpoint: x}\n  prometheusremotewrite/2: {endpoint: 'http://b.example/'}\n"),
			check: func(t *testing.T, c *Config) {
				require.Len(t, c.Endpoints, 1)
				require.Empty(t, c.Warnings)
				require.Len(t, c.Notes, 2)
				require.Equal(t, `c.yaml:9 exporters.otlp`, c.Notes[0].Where)
			},
		},
		"anchors and merge keys": {
			text: with("      - job_name: a\n", "      - &base\n        job_name: a\n        scrape_interval: 7s\n",
				"exporters:\n", "      - <<: *base\n        job_name: b\nexporters:\n"),
			check: func(t *testing.T, c *Config) {
				require.Len(t, c.ScrapeConfigs, 2)
				require.Equal(t, "7s", c.ScrapeConfigs[1].ScrapeInterval.String())
			},
		},
		"YAML 1.1 booleans": {
			text:  with("- job_name: a\n", "- job_name: a\n        honor_labels: yes\n"),
			check: func(t *testing.T, c *Config) { require.True(t, c.ScrapeConfigs[0].HonorLabels) },
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c, err := load(tt.text, withEnv(tt.env))
			require.NoError(t, err)
			tt.check(t, c)
		})
	}
}

func TestLoadSeveral(t *testing.T) {
	files := map[string]string{
		"a.yaml": minimal,
		"b.yaml": "exporters: {prometheusremotewrite: {timeout: 9s}}\nprocessors: {batch: }\nservice: {pipelines: {metrics: {processors: [batch]}}}\n",
	}
	c, err := Load(Options{
		Files:    []string{"file:a.yaml", "b.yaml", "env:EXTRA", "yaml:processors::batch::timeout: 3s"},
		Set:      []string{"exporters.prometheusremotewrite.external_labels.cluster=c1", "service.telemetry.logs.level=warn"},
		Getenv:   func(n string) (string, bool) { return "service: {telemetry: {metrics: {level: none}}}", n == "EXTRA" },
		ReadFile: func(n string) ([]byte, error) { return []byte(files[n]), nil },
		LogLevel: "error",
	})
	require.NoError(t, err)
	require.Equal(t, 9*time.Second, c.Endpoints[0].Timeout)
	require.Equal(t, "http://receiver.example/api/v1/write", c.Endpoints[0].URL)
	require.Equal(t, 3*time.Second, c.BatchTimeout)
	require.Equal(t, `{cluster="c1"}`, c.Endpoints[0].ExternalLabels.String())
	require.Empty(t, c.MetricsAddress)
	require.Equal(t, "error", c.LogLevel)

	files["p.yaml"] = "scrape_configs: []\n"
	_, err = Load(Options{Files: []string{"a.yaml", "p.yaml"}, ReadFile: func(n string) ([]byte, error) { return []byte(files[n]), nil }})
	require.ErrorContains(t, err, "p.yaml:1: Prometheus configuration cannot be laid over OpenTelemetry Collector configuration")
}

func TestLoadPrometheusFile(t *testing.T) {
	c, err := Load(Options{Files: []string{"testdata/prometheus.yaml"}, Getenv: func(n string) (string, bool) { return "prod-" + n, n == "CLUSTER" }})
	require.NoError(t, err)
	golden(t, "prometheus.txt", describe(t, c))
	require.Equal(t, "/api/$1", c.ScrapeConfigs[0].RelabelConfigs[0].Replacement, "a Prometheus file has no ${...}")
	require.Equal(t, "testdata/token", c.ScrapeConfigs[0].HTTPClientConfig.Authorization.CredentialsFile)
}
