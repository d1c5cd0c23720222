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
	f.Fuzz(func(t *testing.T, text string) {
		c, err := load(text, withEnv(expansionEnv), func(o *Options) { o.SkipUnsupportedSignals = true })
		if err == nil {
			require.NotNil(t, c)
			for _, sc := range c.ScrapeConfigs {
				require.NotEmpty(t, sc.JobName)
				require.Positive(t, sc.ScrapeInterval)
			}
			for _, e := range c.Endpoints {
				require.NotEmpty(t, e.URL)
			}
			return
		}
		var e *Error
		require.True(t, errors.As(err, &e), "%v", err)
		require.NotEmpty(t, e.File)
		require.NotEmpty(t, e.Text)
	})
}
