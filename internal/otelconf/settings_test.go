package otelconf

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/config"
	"github.com/stretchr/testify/require"
)

func withGates(list ...string) func(*Options) {
	return func(o *Options) { o.FeatureGates = list }
}

func TestFeatureGates(t *testing.T) {
	const prw, receiver = "exporter.prometheusremotewritexporter.", "receiver.prometheusreceiver."
	c, err := load(field("remote_write_queue: {num_consumers: 3}\n    max_batch_request_parallelism: 4"), withGates(prw+"EnableMultipleWorkers"))
	require.NoError(t, err)
	require.Equal(t, 12, c.Endpoints[0].MaxShards)
	c, err = load(minimal, withGates(prw+"EnableMultipleWorkers"))
	require.NoError(t, err)
	require.Equal(t, 1, c.Endpoints[0].MaxShards)
	c, err = load(minimal, withGates(prw+"EnableMultipleWorkers, -"+prw+"EnableMultipleWorkers"))
	require.NoError(t, err)
	require.Equal(t, 5, c.Endpoints[0].MaxShards, "the last one counts")

	for _, name := range []string{receiver + "EnableCreatedTimestampZeroIngestion", "+" + receiver + "EnableCreatedTimestampZeroIngestion"} {
		c, err = load(minimal, withGates(name))
		require.NoError(t, err)
		require.True(t, c.CreatedZeroIngestion)
		require.Equal(t, config.PrometheusProto, c.ScrapeConfigs[0].ScrapeProtocols[0])
	}
	c, err = load("scrape_configs: [{job_name: a}]\n", withGates(receiver+"EnableCreatedTimestampZeroIngestion"))
	require.NoError(t, err)
	require.Equal(t, config.PrometheusProto, c.ScrapeConfigs[0].ScrapeProtocols[0])

	_, err = load(with("endpoint: http://receiver.example/api/v1/write", "http: {endpoint: 'http://r.example/'}"), withGates(prw+"removeTopLevelHTTPSettings"))
	require.NoError(t, err)

	c, err = load(minimal, withGates("-component.UseLocalHostAsDefaultHost,-confmap.unifyEnvVarExpansion", prw+"RetryOn429,"+prw+"enableSendingRW2,,"))
	require.NoError(t, err)
	require.Empty(t, c.Warnings)
	require.Empty(t, c.Notes)
	c, err = load(minimal, withGates("-"+prw+"RetryOn429,own.Gate,processor.x.EnableMultipleWorkers"))
	require.NoError(t, err)
	require.Len(t, c.Notes, 1)
	require.Len(t, c.Warnings, 2)
	require.Equal(t, Warning{"--feature-gates", `the feature gate "own.Gate" is not known here and has no effect`}, c.Warnings[0])
}

func TestAuthenticators(t *testing.T) {
	c, err := load(signer("bearertokenauth", "{token: hush}"))
	require.NoError(t, err)
	a := c.Endpoints[0].HTTP.Authorization
	require.Equal(t, "Bearer hush", a.Type+" "+string(a.Credentials))

	c, err = load(signer("bearertokenauth/x", "{filename: /token, token: hush, scheme: Splunk}"))
	require.NoError(t, err)
	a = c.Endpoints[0].HTTP.Authorization
	require.Equal(t, "Splunk  /token", a.Type+" "+string(a.Credentials)+" "+a.CredentialsFile)

	c, err = load(signer("bearertokenauth", "{tokens: [first, second], header: X-Token, scheme: ''}"))
	require.NoError(t, err)
	require.Nil(t, c.Endpoints[0].HTTP.Authorization)
	require.Equal(t, map[string]string{"X-Token": "first"}, c.Endpoints[0].Headers)

	c, err = load(signer("basicauth", "{client_auth: {username: u, password: hush, password_file: /p}}"))
	require.NoError(t, err)
	require.Equal(t, "u  /p", c.Endpoints[0].HTTP.BasicAuth.Username+" "+string(c.Endpoints[0].HTTP.BasicAuth.Password)+" "+c.Endpoints[0].HTTP.BasicAuth.PasswordFile)
	require.NoError(t, c.Endpoints[0].HTTP.Validate())

	c, err = load(strings.Replace(signer("headers_setter",
		"{headers: [{key: A, value: new}, {key: B, value: new, action: insert}, {key: C, value: new, action: update}, {key: D, action: delete}, {key: e, default_value: d, from_context: x}, {key: F, value: f, action: update}]}"),
		"    endpoint", "    headers: {a: old, b: old, c: old, d: old}\n    endpoint", 1))
	require.NoError(t, err)
	require.Equal(t, map[string]string{"A": "new", "b": "old", "C": "new", "e": "d"}, c.Endpoints[0].Headers)

	c, err = load(signer("oauth2client", "{client_id: i, client_secret_file: /s, client_secret: hush, token_url: 'https://t.example/', tls: {insecure_skip_verify: true}}"))
	require.NoError(t, err)
	o := c.Endpoints[0].HTTP.OAuth2
	require.Equal(t, "/s", o.ClientSecretFile)
	require.Empty(t, o.ClientSecret)
	require.True(t, o.TLSConfig.InsecureSkipVerify)
	require.NoError(t, c.Endpoints[0].HTTP.Validate())
	require.True(t, o.ProxyFromEnvironment)
	require.True(t, c.Endpoints[0].HTTP.ProxyFromEnvironment)
	c, err = load(field("proxy_url: http://proxy.example:3128"))
	require.NoError(t, err)
	require.False(t, c.Endpoints[0].HTTP.ProxyFromEnvironment)
	require.NoError(t, c.Endpoints[0].HTTP.Validate())
}

func TestTelemetry(t *testing.T) {
	type want struct {
		address, level, encoding string
		names                    MetricsNames
	}
	reader := func(s string) string { return "{metrics: {readers: [{pull: {exporter: {prometheus: " + s + "}}}]}}" }
	for text, want := range map[string]want{
		"":                                     {DefaultMetricsAddress, "info", "", MetricsNames{}},
		"{metrics: {address: '0.0.0.0:8888'}}": {"0.0.0.0:8888", "info", "", MetricsNames{}},
		"{metrics: {level: none}}":             {"", "info", "", MetricsNames{}},
		"{metrics: {level: None, address: ':8888'}}":                              {"", "info", "", MetricsNames{}},
		"{metrics: {level: detailed, address: ':8888'}}":                          {":8888", "info", "", MetricsNames{}},
		"{metrics: {readers: []}}":                                                {"", "info", "", MetricsNames{}},
		"{logs: {level: DEBUG, encoding: json}}":                                  {DefaultMetricsAddress, "debug", "json", MetricsNames{}},
		"{logs: , metrics: , resource: {a: b}}":                                   {DefaultMetricsAddress, "info", "", MetricsNames{}},
		reader("{host: 0.0.0.0, port: 8888}"):                                     {"0.0.0.0:8888", "info", "", MetricsNames{TypeSuffix: true, UnitSuffix: true}},
		reader("{port: 1, without_type_suffix: true}"):                            {"localhost:1", "info", "", MetricsNames{UnitSuffix: true}},
		reader("{without_type_suffix: true, without_units: true}"):                {"localhost:9464", "info", "", MetricsNames{}},
		"{metrics: {readers: [{periodic: {exporter: {otlp: {endpoint: x}}}}]}}":   {"", "info", "", MetricsNames{}},
		"{traces: {processors: []}, logs: {level: warn, output_paths: [stderr]}}": {DefaultMetricsAddress, "warn", "", MetricsNames{}},
	} {
		c, err := load(telemetry(text))
		require.NoError(t, err, text)
		require.Equal(t, want.address, c.MetricsAddress, text)
		require.Equal(t, want.level, c.LogLevel, text)
		require.Equal(t, want.encoding, c.LogEncoding, text)
		require.Equal(t, want.names, c.MetricsNames, text)
	}
}

func TestMemoryBounds(t *testing.T) {
	const gib = 1 << 30
	for _, tt := range []struct {
		m          MemoryLimit
		soft, hard int64
	}{
		{MemoryLimit{}, 0, 0},
		{MemoryLimit{LimitBytes: 1000}, 800, 1000},
		{MemoryLimit{LimitBytes: 1000, SpikeBytes: 300}, 700, 1000},
		{MemoryLimit{LimitPercent: 80, SpikePercent: 20}, gib / 100 * 60, gib / 100 * 80},
		{MemoryLimit{LimitPercent: 50}, gib/100*50 - gib/100*50/5, gib / 100 * 50},
		{MemoryLimit{LimitBytes: 1000, LimitPercent: 50}, 800, 1000},
	} {
		soft, hard := tt.m.Bounds(gib)
		require.Equal(t, []int64{tt.soft, tt.hard}, []int64{soft, hard}, "%+v", tt.m)
		require.Equal(t, tt.hard == 0, tt.m.IsZero())
	}
	c, err := load(with("service:", "processors: {memory_limiter/a: {check_interval: 1s, limit_mib: 50}, memory_limiter/b: {check_interval: 2s, limit_mib: 60}, batch: }\nservice:",
		"exporters: [", "processors: [batch, memory_limiter/b, memory_limiter/a], exporters: ["))
	require.NoError(t, err)
	require.EqualValues(t, 60<<20, c.Memory.LimitBytes)
	require.EqualValues(t, 30<<20, c.Queue.MaxBytes)
	require.Len(t, c.Warnings, 1)
	require.Contains(t, c.Warnings[0].Text, `which is that of "memory_limiter/b"`)
}

func TestShard(t *testing.T) {
	for value, want := range map[string]struct {
		shard Shard
		auto  bool
	}{"": {Shard{}, true}, "auto": {Shard{}, true}, "off": {Shard{}, false}, "0/1": {Shard{0, 1}, false}, "2/3": {Shard{2, 3}, false}} {
		c, err := load(minimal, func(o *Options) { o.Shard = value })
		require.NoError(t, err, value)
		require.Equal(t, want.shard, c.Shard, value)
		require.Equal(t, want.auto, c.Sharding.Auto, value)
	}
	c, err := load("scrape_configs: []\n")
	require.NoError(t, err)
	require.False(t, c.Sharding.Auto, "two Prometheus with one configuration are two Prometheus")
	for _, value := range []string{"1/1", "-1/2", "1/0", "a/b", "1/", "1", "1/2/3"} {
		require.ErrorContains(t, New().SetShard(value), "--shard", value)
	}
}

func TestQueueOptions(t *testing.T) {
	c, err := load(field("wal: {directory: /wal}\n    remote_write_queue: {directory: /own, max_bytes: 2000000, max_age: 5m}"))
	require.NoError(t, err)
	require.Equal(t, Queue{MaxBytes: 2_000_000, MaxAge: 5 * time.Minute, Directory: "/own"}, c.Queue)
	c, err = load(field("wal: {directory: /wal}"), func(o *Options) { o.QueueDirectory, o.QueueBytes, o.QueueAge = "/flag", 3<<20, time.Hour })
	require.NoError(t, err)
	require.Equal(t, Queue{MaxBytes: 3 << 20, MaxAge: time.Hour, Directory: "/flag"}, c.Queue)
}

func TestNaming(t *testing.T) {
	c, err := load(minimal, func(o *Options) { o.Naming = NamingOTel })
	require.NoError(t, err)
	require.Contains(t, c.TargetInfo, "a")
	require.Equal(t, `{__name__="a_x"}`, apply(c.Programs["a"], "__name__", "a__x"))

	c, err = load(field("naming: otel"), func(o *Options) { o.Naming = NamingPrometheus })
	require.NoError(t, err)
	require.Empty(t, c.Programs)
	require.Empty(t, c.TargetInfo)

	c, err = load(field("naming: otel\n    target_info: {enabled: false}\n    disable_scope_info: false"), func(o *Options) { o.Version = "v9" })
	require.NoError(t, err)
	require.Empty(t, c.TargetInfo)
	require.Contains(t, apply(c.Programs["a"], "__name__", "x"), `otel_scope_version="v9"`)

	c, err = load(field("namespace: ns"))
	require.NoError(t, err)
	require.Equal(t, `{__name__="ns_a__x"}`, apply(c.Programs["a"], "__name__", "a__x"))
}

// The objects of both versions, with all that an operator adds, mean the same.
func TestObjectVersions(t *testing.T) {
	v1beta1 := readTestdata(t, "accepted/object-v1beta1.yaml")
	spec, inner, _ := strings.Cut(v1beta1, "  config:\n")
	v1alpha1 := strings.Replace(spec, "v1beta1", "v1alpha1", 1) + "  config: |\n" + inner
	var got []string
	for _, text := range []string{v1beta1, v1alpha1} {
		c, err := load(text)
		require.NoError(t, err)
		got = append(got, describe(t, c))
	}
	require.Equal(t, got[0], got[1])

	c, err := load(strings.Replace(v1beta1, "mode: sidecar", "mode: statefulset", 1), withEnv(map[string]string{"HOST": "process.example"}))
	require.NoError(t, err)
	require.True(t, c.Sharding.Auto)
	require.Equal(t, "https://process.example/write", c.Endpoints[0].URL, "the process' own variables come first")

	_, err = load(strings.Replace(v1beta1, "metrics: {receivers", "traces: {receivers: [prometheus], exporters: [prometheusremotewrite]}, metrics: {receivers", 1))
	require.ErrorContains(t, err, "--skip-unsupported-signals")
	c, err = load(strings.NewReplacer("metrics: {receivers", "traces: {receivers: [prometheus], exporters: [prometheusremotewrite]}, metrics: {receivers", `v: "2"`, `skip-unsupported-signals: ""`).Replace(v1beta1))
	require.NoError(t, err)
	require.Len(t, c.Endpoints, 1)
}
