package otelconf

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every configuration in testdata/accepted has a golden file of what it becomes.
func TestAccepted(t *testing.T) {
	files, err := filepath.Glob("testdata/accepted/*.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	env := map[string]string{"ZONE": "z1", "POD_NAME": "collector-0"}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			c, err := Load(Options{Files: []string{file}, Getenv: func(n string) (string, bool) { v, ok := env[n]; return v, ok }, Version: "v1"})
			require.NoError(t, err)
			text := describe(t, c)
			require.NotContains(t, text, "hush", "a secret")
			golden(t, "accepted-"+strings.TrimSuffix(filepath.Base(file), ".yaml")+".txt", text)
		})
	}
}

// refusal is a configuration that is refused.
type refusal struct {
	name, text string
	change     func(*Options)
}

// processor returns minimal with one processor in its pipeline.
func processor(id, body string) string {
	return with("service:", fmt.Sprintf("processors: {%s: %s}\nservice:", id, body), "exporters: [", fmt.Sprintf("processors: [%s], exporters: [", id))
}

// extension returns minimal with one extension that runs.
func extension(id, body string) string {
	return with("service:\n", fmt.Sprintf("extensions: {%s: %s}\nservice:\n  extensions: [%s]\n", id, body, id))
}

// signer returns minimal with an authenticator that the exporter names.
func signer(id, body string) string {
	return strings.Replace(extension(id, body), "    endpoint", "    auth: {authenticator: "+id+"}\n    endpoint", 1)
}

// field returns minimal with one more field of the exporter.
func field(text string) string { return with("    endpoint", "    "+text+"\n    endpoint") }

// receiverField returns minimal with one more field of the receiver.
func receiverField(text string) string { return with("    config:\n", "    "+text+"\n    config:\n") }

// telemetry returns minimal with service.telemetry.
func telemetry(text string) string {
	return with("service:\n", "service:\n  telemetry: "+text+"\n")
}

// write returns a Prometheus file with one remote_write.
func write(text string) string {
	return "remote_write:\n- url: http://x.example/\n  " + text + "\n"
}

// jobFiles reads what is in a folder from there.
func jobFiles(o *Options) {
	own := o.ReadFile
	o.ReadFile = func(name string) ([]byte, error) {
		if strings.Contains(name, "/") {
			return os.ReadFile(name)
		}
		return own(name)
	}
}

func refusals() []refusal {
	option := func(change func(*Options)) func(*Options) { return change }
	return []refusal{
		{"no configuration", "", option(func(o *Options) { o.Files = nil })},
		{"no such file", "", option(func(o *Options) { o.ReadFile = func(string) ([]byte, error) { return nil, os.ErrNotExist } })},
		{"no such variable", "", option(func(o *Options) { o.Files = []string{"env:NOPE"} })},
		{"unknown scheme", "", option(func(o *Options) { o.Files = []string{"s3://bucket/key"} })},
		{"bad --set", minimal, option(func(o *Options) { o.Set = []string{"=x"} })},
		{"--set of an unknown field", minimal, option(func(o *Options) { o.Set = []string{"exporters.prometheusremotewrite.tiemout=1s"} })},
		{"bad --shard", minimal, option(func(o *Options) { o.Shard = "3/3" })},
		{"unknown --shard", minimal, option(func(o *Options) { o.Shard = "some" })},
		{"unknown --naming", minimal, option(func(o *Options) { o.Naming = "own" })},
		{"unknown --dedupe", minimal, option(func(o *Options) { o.Dedupe = "own" })},
		{"negative age", minimal, option(func(o *Options) { o.QueueAge = -1 })},
		{"small queue", minimal, option(func(o *Options) { o.QueueBytes = 5 })},

		{"batch: sizes", processor("batch", "{send_batch_size: 10, send_batch_max_size: 5}"), nil},
		{"memory_limiter: interval", processor("memory_limiter", "{limit_mib: 5}"), nil},
		{"memory_limiter: no limit", processor("memory_limiter", "{check_interval: 1s}"), nil},
		{"memory_limiter: percentage", processor("memory_limiter", "{check_interval: 1s, limit_percentage: 101}"), nil},
		{"memory_limiter: spike", processor("memory_limiter", "{check_interval: 1s, limit_mib: 5, spike_limit_mib: 5}"), nil},
		{"memory_limiter: spike percentage", processor("memory_limiter", "{check_interval: 1s, limit_percentage: 5, spike_limit_percentage: 6}"), nil},
		{"memory_limiter: collections", processor("memory_limiter", "{check_interval: 1s, limit_mib: 5, min_gc_interval_when_hard_limited: 20s}"), nil},
		{"memory_limiter: huge", processor("memory_limiter", "{check_interval: 1s, limit_mib: 9999999999999}"), nil},

		{"sigv4auth: no role", signer("sigv4auth", "{assume_role: {external_id: e}}"), nil},
		{"sigv4auth: placeholder", signer("sigv4auth", "{region: AWS_REGION}"), nil},
		{"basicauth: server", signer("basicauth", "{htpasswd: {inline: a}}"), nil},
		{"basicauth: no name", signer("basicauth", "{client_auth: {password: hush}}"), nil},
		{"bearertokenauth: no token", signer("bearertokenauth", "{scheme: x}"), nil},
		{"bearertokenauth: file in a header", signer("bearertokenauth", "{filename: f, header: X}"), nil},
		{"oauth2client: id file", signer("oauth2client", "{client_id_file: f, client_secret: hush, token_url: 'http://t/'}"), nil},
		{"oauth2client: no URL", signer("oauth2client", "{client_id: f, client_secret: hush}"), nil},
		{"oauth2client: parameters", signer("oauth2client", "{client_id: f, client_secret: hush, token_url: 'http://t/', endpoint_params: {a: [b, c]}}"), nil},
		{"headers_setter: context", signer("headers_setter", "{headers: [{key: a, from_context: b}]}"), nil},
		{"headers_setter: action", signer("headers_setter", "{headers: [{key: a, value: b, action: add}]}"), nil},
		{"headers_setter: protocol", signer("headers_setter", "{headers: [{key: Content-Type, value: b}]}"), nil},
		{"headers_setter: no key", signer("headers_setter", "{headers: [{value: b}]}"), nil},
		{"headers_setter: file", signer("headers_setter", "{headers: [{key: a, value_file: b}], additional_auth: x}"), nil},
		{"two credentials", strings.Replace(signer("basicauth", "{client_auth: {username: u}}"), "http://r", "http://me:hush@r", 1), nil},
		{"pprof: address", extension("pprof", "{endpoint: x}"), nil},
		{"health_check: address", extension("health_check", "{endpoint: x}"), nil},
		{"health_check: tls", extension("health_check", "{tls: {}, auth: {a: b}}"), nil},
		{"health_check: port", extension("health_check", "{port: 1}"), nil},
		{"unsupported extension", extension("ecs_observer", ""), nil},

		{"exporter: placeholder", with("http://receiver.example/api/v1/write", "AMP_WORKSPACE_URL"), nil},
		{"exporter: no URL", with("    endpoint: http://receiver.example/api/v1/write", "    timeout: 1s"), nil},
		{"exporter: message", field("protobuf_message: x"), nil},
		{"exporter: compression", field("compression: gzip"), nil},
		{"exporter: parallelism", field("max_batch_request_parallelism: 0"), nil},
		{"exporter: consumers", field("remote_write_queue: {num_consumers: -1}"), nil},
		{"exporter: batch size", field("max_batch_size_bytes: -1"), nil},
		{"exporter: backoff", field("retry_on_failure: {initial_interval: 1m}"), nil},
		{"exporter: histograms", field("convert_explicit_histograms_to_nhcb: true"), nil},
		{"exporter: label", field("external_labels: {a: ''}"), nil},
		{"exporter: naming", field("naming: own"), nil},
		{"exporter: strategy", field("translation_strategy: own"), nil},
		{"exporter: strategy needs 2.0", field("translation_strategy: NoTranslation\n    naming: otel"), nil},
		{"exporter: both conversions", field("resource_to_telemetry_conversion: {enabled: true}\n    resource_constant_labels: {included: ['*']}"), nil},
		{"exporter: mixed conversion", field("resource_to_telemetry_conversion: {enabled: true, included: ['*']}"), nil},
		{"exporter: older conversion", field("resource_constant_labels: {enabled: true}"), nil},
		{"exporter: tls version", field("tls: {min_version: '9'}"), nil},
		{"exporter: tls ciphers", field("tls: {cipher_suites: [x]}"), nil},
		{"exporter: proxy", field("proxy_url: x"), nil},
		{"exporter: aws_auth", field("aws_auth: {region: r}"), nil},
		{"exporter: middlewares", field("middlewares: [{id: x}]"), nil},
		{"exporter: queue bytes", field("remote_write_queue: {max_bytes: 5}"), nil},
		{"unsupported exporter", with("exporters:\n", "exporters:\n  otlphttp: {endpoint: x}\n", "exporters: [", "exporters: [otlphttp, "), nil},
		{"unsupported receiver", with("receivers:\n", "receivers:\n  otlp: \n", "receivers: [", "receivers: [otlp, "), nil},
		{"unsupported connector", with("exporters:\n", "connectors: {forward: }\nexporters:\n", "exporters: [", "exporters: [forward, "), nil},
		{"two directories", with("    endpoint", "    wal: {directory: /a}\n    endpoint", "service:", "  prometheusremotewrite/2: {endpoint: 'http://b.example/', wal: {directory: /b}}\nservice:",
			"[prometheusremotewrite]", "[prometheusremotewrite, prometheusremotewrite/2]"), nil},

		{"receiver: nothing", with("    config:\n      scrape_configs:\n      - job_name: a\n        static_configs: [{targets: [\"a:1\"]}]", "    dedupe: off"), nil},
		{"receiver: dedupe", receiverField("dedupe: own"), nil},
		{"receiver: rules", with("      scrape_configs:", "      rule_files: [x]\n      scrape_configs:"), nil},
		{"receiver: files", with("      scrape_configs:", "      scrape_config_files: ['a*/b.yaml']\n      scrape_configs:"), nil},
		{"receiver: a job file", with("      scrape_configs:", "      scrape_config_files: [testdata/refused/*.yaml]\n      scrape_configs:"), jobFiles},
		{"receiver: job twice", with("      scrape_configs:", "      scrape_config_files: [testdata/jobs/*.yaml]\n      scrape_configs:", "job_name: a", "job_name: from-a-file"), jobFiles},
		{"allocator: scheme", receiverField("target_allocator: {endpoint: 'x:1', collector_id: c}"), nil},
		{"allocator: id", receiverField("target_allocator: {endpoint: 'http://x'}"), nil},
		{"allocator: interval", receiverField("target_allocator: {endpoint: 'http://x', collector_id: c, interval: 0s}"), nil},
		{"allocator: password", receiverField("target_allocator: {endpoint: 'http://me:hush@x', collector_id: c}"), nil},
		{"allocator: auth", receiverField("target_allocator: {endpoint: 'http://x', collector_id: c, auth: {authenticator: a}}"), nil},
		{"allocator: discovery", receiverField("target_allocator: {endpoint: 'http://x', collector_id: c, http_sd_config: {refresh: 1s}}"), nil},
		{"allocator: scraping", receiverField("target_allocator: {endpoint: 'http://x', collector_id: c, http_scrape_config: {basic_auth: {}, bearer_token: hush}}"), nil},

		{"telemetry: address", telemetry("{metrics: {address: x}}"), nil},
		{"telemetry: level", telemetry("{metrics: {level: x}}"), nil},
		{"telemetry: log level", telemetry("{logs: {level: x}}"), nil},
		{"telemetry: log encoding", telemetry("{logs: {encoding: x}}"), nil},
		{"telemetry: log field", telemetry("{logs: {encodign: json}}"), nil},
		{"telemetry: port", telemetry("{metrics: {readers: [{pull: {exporter: {prometheus: {port: 99999}}}}]}}"), nil},

		{"object: mode", "apiVersion: opentelemetry.io/v1beta1\nkind: OpenTelemetryCollector\nspec:\n  mode: x\n  config: {service: }\n", nil},
		{"routes: same way twice", two(pipe("1", "a", "x", "1"), pipe("2", "a", "y", "1")), nil},
		{"routes: target_info", two(pipe("1", "a", "x", "1 otel")), nil},
		{"routes: allocator", strings.Replace(two(pipe("1", "b", "x", "1"), pipe("2", "b", "y", "2")), "prometheus/b: {", "prometheus/b: {target_allocator: {endpoint: 'http://x', collector_id: c}, ", 1), nil},
		{"routes: allocator not to all", strings.Replace(two(pipe("1", "a", "", "1"), pipe("2", "b", "", "2")), "prometheus/b: {", "prometheus/b: {target_allocator: {endpoint: 'http://x', collector_id: c}, ", 1), nil},

		{"gate: http block only", minimal, option(func(o *Options) {
			o.FeatureGates = []string{"exporter.prometheusremotewritexporter.removeTopLevelHTTPSettings"}
		})},
		{"gate: constant labels only", field("resource_to_telemetry_conversion: {enabled: true}"), option(func(o *Options) {
			o.FeatureGates = []string{"exporter.prometheusremotewrite.DisableResourceToTelemetryConversion"}
		})},

		{"prometheus: field", "scrape_configs: []\nremote_wirte: []\n", nil},
		{"prometheus: naming", "scrape_configs: []\n", option(func(o *Options) { o.Naming = NamingOTel })},
		{"prometheus: global", "global: {scrape_interval: 1x}\n", nil},
		{"prometheus: no list", "remote_write: {url: x}\n", nil},
		{"prometheus: name twice", write("name: a\n- url: http://y.example/\n  name: a"), nil},
		{"prometheus: relabel", write("write_relabel_configs: [{action: dorp}]"), nil},
		{"prometheus: queue", write("queue_config: {max_shards: 1, min_shards: 2}"), nil},
		{"prometheus: queue field", write("queue_config: {max_shard: 1}"), nil},
		{"prometheus: backoff", write("queue_config: {min_backoff: 0s, max_backoff: 0s}"), nil},
		{"prometheus: message", write("protobuf_message: x"), nil},
		{"prometheus: two credentials", write("sigv4: {region: r}\n  oauth2: {client_id: a, client_secret: hush, token_url: 'http://t/'}"), nil},
		{"prometheus: sigv4 tags", write("sigv4: {region: r, role_arn: a, tags: {a: b}}"), nil},
		{"prometheus: azuread", write("azuread: {cloud: x}"), nil},
		{"prometheus: header", write("headers: {Authorization: hush}"), nil},
		{"prometheus: file pattern", "scrape_config_files: ['*/a.yaml']\n", nil},
		{"prometheus: job twice", "scrape_configs:\n- job_name: a\n- job_name: a\n", nil},
		{"prometheus: no job name", "scrape_configs:\n- scheme: https\n", nil},
	}
}

// Every error has its text in a golden file: file, line, field, what was found and
// what is allowed.
func TestRefused(t *testing.T) {
	var b strings.Builder
	seen := map[string]bool{}
	for _, r := range refusals() {
		require.False(t, seen[r.name], r.name)
		seen[r.name] = true
		change := func(*Options) {}
		if r.change != nil {
			change = r.change
		}
		_, err := load(r.text, change)
		require.Error(t, err, r.name)
		var e *Error
		require.ErrorAs(t, err, &e, r.name)
		require.NotEmpty(t, e.File, r.name)
		require.NotContains(t, err.Error(), "hush", r.name)
		fmt.Fprintf(&b, "# %s\n%v\n\n", r.name, err)
	}
	golden(t, "refused.txt", b.String())
}
