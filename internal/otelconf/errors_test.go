package otelconf

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// firstError returns the first *Error in err.
func firstError(t *testing.T, err error) *Error {
	t.Helper()
	var e *Error
	require.ErrorAs(t, err, &e)
	return e
}

// Each case changes one text of a configuration, and the error must name the
// line that the changed text is on, in the object and in its inner configuration.
func TestErrorsNameTheLine(t *testing.T) {
	const jobs = "receivers.prometheus.config.scrape_configs"
	tests := []struct {
		name, old, new string
		field, text    string
	}{
		{"bad regex", "regex: ([^:]+)(?::", "regex: ([^:]+(?::", jobs + "[2].relabel_configs[1].regex", "missing closing )"},
		{"bad regex in flow style", "regex: kube-state-metrics,", "regex: 'kube[',", jobs + "[4].relabel_configs[0]", "error parsing regexp"},
		{"unknown action", "action: labelmap", "action: labelmop", jobs + "[1].relabel_configs[0].action", `unknown relabel action "labelmop"`},
		{"unknown role", "[{role: node}]", "[{role: nodes}]", jobs + "[1].kubernetes_sd_configs", `unknown Kubernetes SD role "nodes"`},
		{"timeout above interval", "scrape_timeout: 30s", "scrape_timeout: 30m", jobs + "[3].scrape_timeout", "scrape timeout greater than scrape interval"},
		{"global timeout above interval", "scrape_timeout: 10s", "scrape_timeout: 1m", "receivers.prometheus.config.global.scrape_timeout", "scrape timeout greater"},
		{"unknown field of a job", "scrape_interval: 5m", "scrape_intervall: 5m", jobs + "[3].scrape_intervall", `unknown field "scrape_intervall", did you mean "scrape_interval"?`},
		{"unknown field of a rule", "replacement: kubernetes.default.svc:443", "replace: x", jobs + "[1].relabel_configs[1].replace", `unknown field "replace"`},
		{"unknown field of tls_config", "insecure_skip_verify: true", "skip_verify: true", jobs + "[0].tls_config.skip_verify", "(allowed: ca, ca_file"},
		{"unknown field of SD", "names: [default]", "name: [default]", jobs + "[5].kubernetes_sd_configs[0].namespaces.name", `unknown field "name"`},
		{"wrong type", "insecure_skip_verify: true", "insecure_skip_verify: maybe", jobs + "[0].tls_config.insecure_skip_verify", "into bool"},
		{"unsupported discovery", "kubernetes_sd_configs: [{role: node}]", "moon_sd_configs: [{}]", jobs + "[1].moon_sd_configs", `service discovery "moon" is not supported (allowed: aws_sd_configs`},
		{"job twice", "job_name: cadvisor", "job_name: api-servers", jobs + "[1].job_name", "already used at c.yaml:"},
		{"bad target label", "target_label: instance", "target_label: ''", jobs + "[5].relabel_configs[1]", "requires 'target_label'"},
		{"unknown processor", "batch/metrics:", "batsh/metrics:", "processors.batsh/metrics", `unknown type: "batsh" for id: "batsh/metrics" (valid values: [attributes batch filter `},
		{"component under another id", "batch/metrics:", "batch/other:", "service.pipelines.metrics", `references processor "batch/metrics" which is not configured`},
		{"undefined exporter", "exporters: [prometheusremotewrite]", "exporters: [x]", "service.pipelines.metrics", `references exporter "x" which is not configured (allowed: prometheusremotewrite)`},
		{"undefined authenticator", "authenticator: sigv4auth", "authenticator: sigv4", "exporters.prometheusremotewrite.auth.authenticator", `references extension "sigv4" which is not configured`},
		{"bad duration", "timeout: 60s", "timeout: 60", "processors.batch/metrics.timeout", `must be a duration such as "30s" or "1m30s" with a unit, found "60"`},
		{"unknown field of a processor", "timeout: 60s", "timeot: 60s", "processors.batch/metrics.timeot", `did you mean "timeout"?`},
		{"bad URL", "https://aps-workspaces", "ftp://aps-workspaces", "exporters.prometheusremotewrite.endpoint", `scheme "ftp" of the URL`},
		{"unknown section", "    processors:", "    processers:", "processers", `unknown field "processers"`},
		{"unknown signal", "        metrics:\n", "        metric:\n", "service.pipelines.metric", "(allowed: metrics, traces, logs, profiles)"},
		{"traces", "        metrics:\n", "        traces:\n", "service.pipelines.traces", "--skip-unsupported-signals"},
		{"duplicate key", "              replacement: $$1:$$2", "              regex: x", "", `key "regex" is already set at line`},
		{"not YAML", "- job_name: cadvisor", "- job_name: {", "", "not valid YAML"},
		{"bad reference", "$$1/proxy", "${env:9 lives}/proxy", jobs + "[1].relabel_configs[2].replacement", "has an invalid name"},
	}
	object := readTestdata(t, "adot.yaml")
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			require.Contains(t, object, tt.old)
			changed := strings.Replace(object, tt.old, tt.new, 1)
			at := strings.Index(changed, strings.TrimLeft(tt.new, " "))
			line := 1 + strings.Count(changed[:at], "\n")
			_, err := load(changed)
			require.Error(t, err)
			e := firstError(t, err)
			require.Contains(t, e.Error(), tt.text)
			require.True(t, strings.HasPrefix(e.Field, tt.field), "field %q", e.Field)
			switch tt.name {
			case "not YAML":
				require.InDelta(t, line, e.Line, 2, "%v", err)
			case "bad target label":
				require.Contains(t, []int{line, line - 1}, e.Line, "%v", err)
			case "job twice":
				require.Equal(t, 34, e.Line, "%v", err)
			case "component under another id", "undefined exporter":
				// The reference is further down.
				require.Contains(t, strings.Split(changed, "\n")[e.Line-1], strings.Split(tt.text, `"`)[1])
			default:
				require.Equal(t, line, e.Line, "%v", err)
			}
		})
	}
}

func TestErrorsOfForms(t *testing.T) {
	tests := map[string]struct{ text, want string }{
		"empty":                 {"# nothing\n", "c.yaml: is empty (allowed: OpenTelemetryCollector object"},
		"a list":                {"- a\n", "c.yaml:1: a configuration is a mapping, found a list"},
		"something else":        {"\nname: x\nversion: 1\n", "c.yaml:2: this is no configuration known here: its keys are name, version (allowed: receivers"},
		"another object":        {"apiVersion: v1\nkind: ConfigMap\n", `c.yaml:1: kind: there is no OpenTelemetryCollector object in it, found "ConfigMap"`},
		"two objects":           {"apiVersion: opentelemetry.io/v1beta1\nkind: OpenTelemetryCollector\n---\napiVersion: opentelemetry.io/v1beta1\nkind: OpenTelemetryCollector\n", "c.yaml:4: a second OpenTelemetryCollector object"},
		"unknown version":       {"apiVersion: opentelemetry.io/v2\nkind: OpenTelemetryCollector\n", `c.yaml:1: apiVersion: not a version of OpenTelemetryCollector known here, found "opentelemetry.io/v2"`},
		"object without config": {"apiVersion: opentelemetry.io/v1beta1\nkind: OpenTelemetryCollector\nmetadata: {name: n, namespace: ns}\n", "c.yaml:1: spec.config: the object ns/n has no configuration"},
		"broken inner":          {"apiVersion: opentelemetry.io/v1alpha1\nkind: OpenTelemetryCollector\nspec:\n  config: |\n    receivers: [\n    a: b\n", "c.yaml:6: not valid YAML"},
		"broken folded inner":   {"apiVersion: opentelemetry.io/v1alpha1\nkind: OpenTelemetryCollector\nspec:\n  config: \"a: [\\nb\"\n", "c.yaml:4: spec.config:"},
		"no pipelines":          {"receivers:\nservice:\n", "c.yaml:2: service.pipelines: there is no pipeline"},
		"pipeline of nothing":   {with("receivers: [prometheus], ", ""), "service.pipelines.metrics: must have at least one receiver"},
		"processor twice":       {with("exporters: [", "processors: [batch, batch], exporters: [", "service:", "processors: {batch: }\nservice:"), `references processor "batch" multiple times`},
		"not listed extension":  {with("    endpoint", "    auth: {authenticator: sigv4auth}\n    endpoint", "service:", "extensions: {sigv4auth: }\nservice:"), `references extension "sigv4auth" which is not listed in service.extensions`},
		"remote_write inside":   {with("      scrape_configs:", "      remote_write: [{url: x}]\n      scrape_configs:"), "receivers.prometheus.config.remote_write: is not possible in a receiver"},
		"memory limiter":        {with("exporters: [", "processors: [memory_limiter], exporters: [", "service:", "processors: {memory_limiter: {limit_mib: 5}}\nservice:"), "check_interval: must be greater than zero"},
		"used, not supported":   {with("exporters: [", "processors: [span], exporters: [", "service:", "processors: {span: {a: b}}\nservice:"), `processors.span: the processor "span" is not supported (supported processors: attributes, batch, `},
		"prometheus: url":       {"remote_write:\n- url: ''\n", "c.yaml:2: remote_write[0].url: must be the remote-write URL"},
		"prometheus: unknown":   {"scrape_config: []\nglobal: {}\n", `c.yaml:1: scrape_config: unknown field "scrape_config", did you mean "scrape_configs"?`},
		"prometheus: two auth":  {"remote_write:\n- url: http://x.example/\n  sigv4: {region: r}\n  bearer_token: t\n", "c.yaml:4: remote_write[0].bearer_token: at most one of"},
		"static URL":            {"scrape_configs:\n- job_name: a\n  static_configs:\n  - targets:\n    - ok:1\n    - http://b:2/x\n", "c.yaml:6: scrape_configs[0].static_configs[0].targets[1]"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := load(tt.text)
			require.ErrorContains(t, err, tt.want)
		})
	}
	_, err := load(minimal, func(o *Options) { o.Set = []string{"nonsense"} })
	require.ErrorContains(t, err, "must be of the form a.b.c=VALUE")
	_, err = load(minimal, func(o *Options) { o.Dedupe = "maybe" })
	require.ErrorContains(t, err, "(allowed: off, first-job-wins)")
	_, err = load(minimal, func(o *Options) { o.Files = []string{"s3://bucket/c.yaml"} })
	require.ErrorContains(t, err, `scheme "s3" is not supported (allowed: file, env, yaml, http, https)`)
}

// All mistakes are reported at once, in the order of their lines.
func TestErrorsTogether(t *testing.T) {
	text := strings.NewReplacer("timeout: 60s", "timeout: x", "scrape_timeout: 30s", "scrape_timeout: 30m", "region: \"eu-central-1\"", "regin: x").Replace(readTestdata(t, "adot.yaml"))
	_, err := load(text)
	var joined interface{ Unwrap() []error }
	require.True(t, errors.As(err, &joined))
	require.Len(t, joined.Unwrap(), 3)
	last := 0
	for _, err := range joined.Unwrap() {
		e := firstError(t, err)
		require.Greater(t, e.Line, last)
		last = e.Line
	}
}

func TestErrorsKeepSecrets(t *testing.T) {
	for _, text := range []string{
		with("http://receiver.example", "http://me:hunter2@receiver.example:port"),
		with("    endpoint", "    headers: {Authorization: [hunter2]}\n    endpoint"),
		with("http://receiver.example/api/v1/write", "gopher://me:hunter2@x/"),
		"scrape_configs: []\nremote_write:\n- url: http://x.example\n  basic_auth: {username: u, password: hunter2, password_file: f}\n",
		"scrape_configs: []\nremote_write:\n- url: http://x.example\n  sigv4: {access_key: a, secret_key: [hunter2, {b: c}]}\n",
		"scrape_configs:\n- job_name: a\n  bearer_token: hunter2\n  basic_auth: {username: u}\n",
	} {
		_, err := load(text)
		require.Error(t, err)
		require.NotContains(t, err.Error(), "hunter2")
	}
}

func TestWarnings(t *testing.T) {
	static := func(extra string) string {
		return "scrape_configs:\n- {job_name: a, static_configs: [{targets: ['x:1', 'y:1']}]}\n- {job_name: b, static_configs: [{targets: ['y:1']}]" + extra + "}\n" +
			"remote_write: [{url: 'http://r.example/'}]\n"
	}
	tests := map[string]struct {
		text string
		want []string
	}{
		"same static target":   {static(""), []string{`c.yaml:3 scrape_configs[1]: jobs "a" (c.yaml:2) and "b" scrape the same targets: both list y:1`}},
		"another path":         {static(", metrics_path: /other"), nil},
		"no endpoint, no jobs": {"global: {}\n", []string{"c.yaml:1: there are no scrape jobs", "c.yaml:1: there is no remote-write endpoint"}},
		"same discovery": {
			"remote_write: [{url: 'http://r.example/', name: r}]\nglobal: {external_labels: {cluster: c}}\nscrape_configs:\n" + strings.Repeat("- {job_name: JOB, kubernetes_sd_configs: [{role: ingress}], relabel_configs: [{target_label: a, replacement: b}]}\n", 2),
			[]string{`c.yaml:5 scrape_configs[1]: jobs "one" (c.yaml:4) and "two" scrape the same targets: both have the same discovery and the same rules`},
		},
		"every annotation": {
			"remote_write: [{url: 'http://r.example/', name: r}]\nscrape_configs:\n- job_name: one\n  kubernetes_sd_configs: [{role: pod}]\n  relabel_configs:\n  - {action: labelmap, regex: __meta_kubernetes_pod_annotation_prometheus_io_param_(.+), replacement: __param_$1}\n  - {action: labelmap, regex: __meta_kubernetes_pod_annotation_(.+)}\n",
			[]string{`c.yaml:7 scrape_configs[0].relabel_configs[1]: job "one" puts every annotation`, `c.yaml:1: series sent to "r" have no cluster label`},
		},
		"histograms": {
			"remote_write: [{url: 'http://r.example/', name: r}]\nscrape_configs:\n- {job_name: one, scrape_native_histograms: true}\n",
			[]string{`c.yaml:3 scrape_configs[0]: job "one" scrapes native histograms, which "r" does not get`},
		},
		"lone dollar": {
			with("        static", "        relabel_configs: [{target_label: a, replacement: '${1}'}, {target_label: a, replacement: '$$1$1x'}, {target_label: a, replacement: '$$1'}]\n        static"),
			[]string{"relabel_configs[0].replacement: ${1} is taken", "relabel_configs[1].replacement: $1 is taken"},
		},
		"unset variable": {with("http://receiver.example", "http://receiver${env:NOPE}.example"), []string{"c.yaml:10 exporters.prometheusremotewrite.endpoint: ${env:NOPE} is not set"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c, err := load(strings.Replace(strings.Replace(tt.text, "JOB", "one", 1), "JOB", "two", 1))
			require.NoError(t, err)
			require.Len(t, c.Warnings, len(tt.want), "%v", c.Warnings)
			for i, w := range c.Warnings {
				require.Contains(t, w.Where+": "+w.Text, tt.want[i])
			}
		})
	}
	// Doubled jobs are no mistake where the second scrape is left out.
	c, err := load(static(""), func(o *Options) { o.Dedupe = DedupeFirstJobWins })
	require.NoError(t, err)
	require.Empty(t, c.Warnings)
}
