package otelconf

import (
	"testing"

	"github.com/prometheus/prometheus/config"
	"github.com/stretchr/testify/require"
)

func TestFeatures(t *testing.T) {
	const prometheusFile = "scrape_configs: [{job_name: j}]\nremote_write: [{url: http://x}]\n"
	loadWith := func(text string, features ...string) *Config {
		t.Helper()
		c, err := Load(Options{Files: []string{"yaml:" + text}, Features: features, Getenv: func(string) (string, bool) { return "", false }})
		require.NoError(t, err)
		return c
	}
	plain := loadWith(prometheusFile)
	require.False(t, plain.StartTimestamps || plain.CreatedZeroIngestion)
	require.Equal(t, config.DefaultScrapeProtocols, plain.ScrapeConfigs[0].ScrapeProtocols)

	c := loadWith(prometheusFile, "native-histograms,st-storage")
	require.True(t, c.StartTimestamps)
	require.False(t, c.CreatedZeroIngestion)
	require.Empty(t, c.Warnings)
	require.Equal(t, config.DefaultProtoFirstScrapeProtocols, c.ScrapeConfigs[0].ScrapeProtocols)
	c = loadWith("global: {scrape_protocols: [OpenMetricsText1.0.0]}\n"+prometheusFile, "st-storage")
	require.Equal(t, []config.ScrapeProtocol{config.OpenMetricsText1_0_0}, c.ScrapeConfigs[0].ScrapeProtocols, "what is configured stays")

	c = loadWith(prometheusFile, "created-timestamp-zero-ingestion", "promql-experimental-functions", "extra-scrape-metrics")
	require.True(t, c.CreatedZeroIngestion)
	require.Len(t, c.Warnings, 2)
	require.Equal(t, "--enable-feature", c.Warnings[0].Where)
	require.Contains(t, c.Warnings[0].Text, `"promql-experimental-functions" has no effect`)
	require.Contains(t, c.Warnings[1].Text, "the setting extra_scrape_metrics")
}
