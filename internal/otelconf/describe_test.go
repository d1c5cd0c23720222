package otelconf

import (
	"fmt"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"
	promyaml "go.yaml.in/yaml/v2"

	frame "github.com/mangru/mangru/internal/model"
	"github.com/mangru/mangru/internal/rewrite"
)

// describe renders everything of a Config for a golden file, secrets hidden.
func describe(t testing.TB, c *Config) string {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "form: %s\nfiles: %v %v\nbatch timeout: %s\ndedupe: %s\nshard: %+v %+v\nqueue: %+v\nmemory: %+v\n",
		c.Form, c.Files, c.FilePatterns, c.BatchTimeout, c.Dedupe, c.Shard, c.Sharding, c.Queue, c.Memory)
	fmt.Fprintf(&b, "metrics: %q %+v\nhealth: %q %q\npprof: %q\nlog: %q %q\ncreated: %v\n",
		c.MetricsAddress, c.MetricsNames, c.HealthAddress, c.HealthPath, c.PprofAddress, c.LogLevel, c.LogEncoding, c.CreatedZeroIngestion)
	for _, e := range c.Endpoints {
		describeEndpoint(t, &b, e)
	}
	for _, a := range c.TargetAllocators {
		fmt.Fprintf(&b, "\ntarget allocator of %s: %s every %s as %q program=%s\n", a.Receiver, a.URL, a.Interval, a.CollectorID, steps(a.Program))
	}
	for _, job := range sortedKeys(c.Programs) {
		fmt.Fprintf(&b, "\nprogram of %q: %s\n", job, steps(c.Programs[job]))
	}
	for _, job := range sortedKeys(c.TargetInfo) {
		fmt.Fprintf(&b, "\ntarget_info of %q\n", job)
	}
	for _, w := range c.Warnings {
		fmt.Fprintf(&b, "\nwarning: %s: %s\n", w.Where, w.Text)
	}
	for _, w := range c.Notes {
		fmt.Fprintf(&b, "\nnote: %s: %s\n", w.Where, w.Text)
	}
	for _, sc := range c.ScrapeConfigs {
		text, err := promyaml.Marshal(sc)
		require.NoError(t, err)
		fmt.Fprintf(&b, "\n%s", text)
	}
	return b.String()
}

func describeEndpoint(t testing.TB, b *strings.Builder, e Endpoint) {
	http, err := promyaml.Marshal(e.HTTP)
	require.NoError(t, err)
	fmt.Fprintf(b, "\nendpoint %s %s jobs=%v\n  labels=%s rewrite=%s\n  protocol=%q metadata=%v/%s exemplars=%v histograms=%v\n",
		e.Name, e.URL, e.Jobs, e.ExternalLabels, steps(e.Rewrite), e.Protocol, e.SendMetadata, e.MetadataInterval, e.SendExemplars, e.SendNativeHistograms)
	fmt.Fprintf(b, "  timeout=%s max=%d bytes %d samples shards=%d..%d retry=%s..%s age=%s headers=%v\n",
		e.Timeout, e.MaxRequestBytes, e.MaxSamplesPerRequest, e.MinShards, e.MaxShards, e.Retry.Initial, e.Retry.Max, e.SampleAgeLimit, sortedKeys(e.Headers))
	if e.SigV4 != nil && e.SigV4.SecretKey != "" {
		signer := *e.SigV4
		signer.SecretKey = "(hidden)"
		e.SigV4 = &signer
	}
	fmt.Fprintf(b, "  sigv4=%+v azuread=%v google=%v\n  %s\n", e.SigV4, e.AzureAD != nil, e.GoogleIAM != nil, strings.ReplaceAll(strings.TrimSpace(string(http)), "\n", "\n  "))
}

// steps renders a program by the types of its steps.
func steps(p rewrite.Program) string {
	names := make([]string, len(p))
	for i, s := range p {
		names[i] = strings.TrimPrefix(fmt.Sprintf("%T", s), "rewrite.")
		if text := fmt.Sprintf("%+v", s); len(text) < 200 && !strings.Contains(text, "0x") {
			names[i] += text
		}
	}
	return "[" + strings.Join(names, ", ") + "]"
}

// apply runs a program on the labels of a gauge; "dropped" if it is dropped.
func apply(p rewrite.Program, pairs ...string) string {
	b := labels.NewBuilder(labels.FromStrings(pairs...))
	if !p.Apply(b, family(b)) {
		return "dropped"
	}
	return b.Labels().String()
}

func family(b *labels.Builder) frame.Family {
	return frame.Family{Name: b.Get("__name__"), Type: frame.TypeGauge}
}
