package app

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/internal/auth/sigv4"
)

func loadServer(t *testing.T, text string) (ServerConfig, string, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "server.yaml")
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	cfg, err := LoadServerConfig(file)
	return cfg, file, err
}

func TestLoadServerConfig(t *testing.T) {
	cfg, _, err := loadServer(t, `
listen: 0.0.0.0:9009
region: ap-northeast-2
public_url: https://mangru.example/
signatures:
  skew: 15m
  tolerate: [query]
limits: {max_request_size: 4MiB, max_sample_age: -1s, max_labels: 50}
store:
  retention: 30d
query:
  timeout: 2m
max_scrapers: 7
addons:
  image: registry.example/mangru:v9
  kubeconfigs: {prod: prod.yaml, "arn:aws:eks:us-east-1:111111111111:cluster/prod": other.yaml}
`)
	require.NoError(t, err)
	require.Equal(t, "0.0.0.0:9009", cfg.Listen)
	require.Equal(t, "./mangru-data", cfg.Data, "defaults stay")
	require.Equal(t, "https://mangru.example", cfg.PublicURL)
	require.Equal(t, []sigv4.Tolerance{sigv4.TolerateQuery}, cfg.Signatures.Tolerate)
	require.Equal(t, Duration(15*time.Minute), cfg.Signatures.Skew)
	require.Equal(t, Size(4<<20), cfg.Limits.MaxRequestSize)
	require.Equal(t, -time.Second, cfg.Limits.ingest().MaxSampleAge)
	require.Equal(t, 50, cfg.Limits.MaxLabels)
	require.Equal(t, Duration(30*24*time.Hour), cfg.Store.Retention)
	require.Equal(t, 7, cfg.MaxScrapers)
	require.Equal(t, ServerAddons{Image: "registry.example/mangru:v9", Kubeconfigs: map[string]string{
		"prod": "prod.yaml", "arn:aws:eks:us-east-1:111111111111:cluster/prod": "other.yaml"}}, cfg.Addons)

	empty, _, err := loadServer(t, "")
	require.NoError(t, err)
	require.Equal(t, DefaultServerConfig(), empty)
	none, _, err := loadServer(t, "signatures: {tolerate: []}\nstore:\n")
	require.NoError(t, err)
	require.Empty(t, none.Signatures.Tolerate)
}

func TestLoadServerConfigErrors(t *testing.T) {
	for name, tc := range map[string]struct{ text, want string }{
		"unknown field":  {"listen: :1\nlimtis: {}\n", ":2: limtis: unknown field, allowed are listen, data, "},
		"unknown nested": {"query:\n  timeout: 1m\n  tmeout: 1m\n", ":3: query.tmeout: unknown field, allowed are max_concurrent, max_total, max_waiting, max_samples, max_selectors, timeout, lookback_delta, workers, weights, price_list, log"},
		"twice":          {"listen: :1\nlisten: :2\n", ":2"},
		"duration":       {"store:\n  retention: forever\n", `:2: store.retention: found "forever", expected a duration such as`},
		"size":           {"limits: {max_request_size: big}\n", `:1: limits.max_request_size: found "big", expected a number of bytes`},
		"number":         {"query: {max_samples: many}\n", `:1: query.max_samples: found "many", expected a number`},
		"bool":           {"metrics_public: perhaps\n", `:1: metrics_public: found "perhaps", expected true or false`},
		"list":           {"signatures:\n  tolerate: query\n", `:2: signatures.tolerate: found "query", expected a list`},
		"section":        {"store: big\n", `:1: store: found "big", expected fields`},
		"tolerance":      {"signatures:\n  tolerate:\n    - query\n    - all\n", `:4: signatures.tolerate[1]: "all" is not known, allowed are [path query token content_hash host_port forwarded_host]`},
		"refusals":       {"signatures: {max_refusals: -5}\n", ":1: signatures.max_refusals: found -5, allowed are a number a second, 0 for 50, and -1 for no bound"},
		"address":        {"region: us-east-1\nlisten: here\n", `:2: listen: "here" is not an address`},
		"region":         {"region: US\n", `:1: region: "US" is not a region`},
		"negative":       {"query:\n  timeout: -1m\n", ":2: query.timeout: must not be negative"},
		"url":            {"public_url: https://x/y\n", ":1: public_url:"},
		"half a TLS":     {"tls: {cert_file: a}\n", ":1: tls: cert_file and key_file belong together"},
		"not YAML":       {"a: [\n", "yaml"},
	} {
		t.Run(name, func(t *testing.T) {
			_, file, err := loadServer(t, tc.text)
			require.ErrorContains(t, err, file)
			require.ErrorContains(t, err, tc.want)
		})
	}
	_, err := LoadServerConfig("/nonexistent/server.yaml")
	require.ErrorIs(t, err, os.ErrNotExist)
}

func FuzzLoadServerConfig(f *testing.F) {
	f.Add("listen: 127.0.0.1:1\nlimits: &a {max_labels: 3}\nquery: {timeout: 1m}\n")
	f.Add("store: *x\n")
	f.Fuzz(func(t *testing.T, text string) {
		cfg, _, err := loadServer(t, text)
		if err == nil && cfg.Validate() != nil {
			t.Fatalf("loaded but not valid: %v", cfg.Validate())
		}
	})
}

func TestRulesAlertsAndLogsConfig(t *testing.T) {
	cfg, _, err := loadServer(t, `
store: {max_bytes: 10GiB}
rules: {max_rules: 50, min_interval: 5s, for_grace_period: 1m}
alerts: {max_alerts: 7, retention: 24h, sns: {http: "https://notify.example/sns"}, allow_networks: [10.0.0.0/8]}
logs: {max_files: 2, urls: ["https://logs.example:8443"]}
`)
	require.NoError(t, err)
	require.Equal(t, Size(10<<30), cfg.Store.MaxBytes)
	require.Equal(t, 50, cfg.Rules.records().MaxRules)
	require.Equal(t, 5*time.Second, cfg.Rules.records().MinInterval)
	a, err := cfg.Alerts.config(t.Context())
	require.NoError(t, err)
	require.Equal(t, 7, a.MaxAlerts)
	require.Equal(t, "https://notify.example/sns", a.SNS.HTTP)
	require.Nil(t, a.SNS.Credentials, "what is posted is not signed")
	require.Len(t, a.Egress.Allow, 1)
	for text, want := range map[string]string{
		"rules:\n  max_rules: -1\n":                                   ":2: rules.max_rules: must not be negative",
		"alerts:\n  allow_networks:\n  - ten\n":                       `:3: alerts.allow_networks[0]: "ten" is no network`,
		"alerts:\n  sns: {http: notify}\n":                            ":2: alerts.sns.http: is not a URL",
		"alerts:\n  sns: {http: http://a, endpoint: aws}\n":           ":2: alerts.sns: http and endpoint exclude each other",
		"logs:\n  urls: [\"https://user@logs.example\"]\n":            ":2: logs.urls[0]:",
		"logs:\n  urls: [\"https://logs.example/with/a/path?q=1\"]\n": ":2: logs.urls[0]:",
	} {
		_, _, err := loadServer(t, text)
		require.ErrorContains(t, err, want)
	}
}
