package otelconf

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzLoad: whatever the text, Load ends with a complete Config or with errors
// that name the file, and never panics.
func FuzzLoad(f *testing.F) {
	f.Add(minimal)
	f.Add(readTestdata(f, "adot.yaml"))
	f.Add(readTestdata(f, "prometheus.yaml"))
	f.Add("a: &a [*a]\n")
	f.Add("<<: [{receivers: }]\nservice: {pipelines: }\n")
	f.Add("scrape_configs:\n- {job_name: a, params: {x: [1, {}]}, relabel_configs: [{action: hashmod}]}\n")
	f.Add("apiVersion: opentelemetry.io/v1alpha1\nkind: OpenTelemetryCollector\nspec: {config: \"exporters: {debug: \\n\"}\n")
	f.Add("exporters::debug::verbosity: ${env:HOST}\nreceivers: ${env:MAP}\nservice: ${env:LIST}\n")
	for _, file := range []string{"pipelines", "prometheus-full", "object-v1beta1", "allocator"} {
		f.Add(readTestdata(f, "accepted/"+file+".yaml"))
	}
	for _, r := range refusals() {
		f.Add(r.text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := load(text, withEnv(expansionEnv), func(o *Options) {
			o.SkipUnsupportedSignals = true
			o.Fetch = func(string) ([]byte, error) { return nil, errors.New("not here") }
		})
		if err == nil {
			require.NotNil(t, c)
			for _, sc := range c.ScrapeConfigs {
				require.NotEmpty(t, sc.JobName)
				require.Positive(t, sc.ScrapeInterval)
			}
			for _, e := range c.Endpoints {
				require.NotEmpty(t, e.URL)
				require.LessOrEqual(t, e.MinShards, e.MaxShards)
				require.Positive(t, e.Timeout)
			}
			for _, w := range append(c.Warnings, c.Notes...) {
				require.NotEmpty(t, w.Where)
			}
			return
		}
		var e *Error
		require.True(t, errors.As(err, &e), "%v", err)
		require.NotEmpty(t, e.File)
		require.NotEmpty(t, e.Text)
	})
}

// FuzzTargetAllocator: whatever an allocator answers, its list is read or refused.
func FuzzTargetAllocator(f *testing.F) {
	f.Add(`{"a": {"job_name": "a", "scrape_interval": "30s"}}`)
	f.Add(`{"a": {"job_name": "a", "kubernetes_sd_configs": [{"role": "pod"}], "relabel_configs": [{"regex": "$(SHARD)"}]}, "b": null}`)
	f.Add("a: {job_name: b}\n---\nb: []\n")
	c, err := Load(Options{Files: []string{"testdata/accepted/allocator.yaml"}, Getenv: func(n string) (string, bool) { return "c", n == "POD_NAME" }})
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, text string) {
		jobs, err := c.TargetAllocators[0].ScrapeConfigs([]byte(text), "0")
		if err != nil {
			var e *Error
			require.True(t, errors.As(err, &e), "%v", err)
			return
		}
		for _, sc := range jobs {
			require.Len(t, sc.ServiceDiscoveryConfigs, 1)
			require.Equal(t, "http", sc.ServiceDiscoveryConfigs[0].Name())
		}
	})
}
