package otelconf

import (
	"fmt"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"
)

// two is a configuration with two receivers, two exporters and some processors.
func two(pipelines ...string) string {
	return `
receivers:
  prometheus/a: {config: {global: {external_labels: {cluster: ca, region: r}}, scrape_configs: [{job_name: a1}, {job_name: a2}]}}
  prometheus/b: {config: {scrape_configs: [{job_name: b1}]}}
processors:
  batch: {timeout: 10s}
  batch/fast: {timeout: 2s, send_batch_max_size: 9000}
  attributes/x: {actions: [{key: x, value: "1", action: insert}]}
  attributes/y: {actions: [{key: y, value: "2", action: insert}]}
  filter/go: {metrics: {exclude: {match_type: regexp, metric_names: ["go_.*"]}}}
  k8sattributes: {extract: {metadata: [k8s.pod.name]}}
exporters:
  prometheusremotewrite/1: {endpoint: http://one.example/, external_labels: {e: "1"}}
  prometheusremotewrite/2: {endpoint: http://two.example/}
  prometheusremotewrite/otel: {endpoint: http://otel.example/, naming: otel, namespace: ns}
  debug:
service:
  pipelines:
    ` + strings.Join(pipelines, "\n    ") + "\n"
}

func pipe(name, receivers, processors, exporters string) string {
	list := func(prefix, s string) string {
		var ids []string
		for _, id := range strings.Fields(s) {
			if len(id) == 1 || id == "otel" {
				id = prefix + id
			}
			ids = append(ids, id)
		}
		return "[" + strings.Join(ids, ", ") + "]"
	}
	return fmt.Sprintf("metrics/%s: {receivers: %s, processors: %s, exporters: %s}",
		name, list("prometheus/", receivers), list("attributes/", processors), list("prometheusremotewrite/", exporters))
}

// routes renders for each job and endpoint what becomes of a series.
func routes(c *Config) string {
	var b strings.Builder
	for _, sc := range c.ScrapeConfigs {
		for _, e := range c.Endpoints {
			if e.Jobs != nil && !strings.Contains(" "+strings.Join(e.Jobs, " ")+" ", " "+sc.JobName+" ") {
				continue
			}
			set := labels.NewBuilder(labels.FromStrings("__name__", "go_x", "cluster", "own"))
			text := apply(c.Programs[sc.JobName], "__name__", "go_x", "cluster", "own")
			if text != "dropped" {
				text = through(c, sc.JobName, e, set)
			}
			fmt.Fprintf(&b, "%s -> %s: %s\n", sc.JobName, e.Name, text)
		}
	}
	return b.String()
}

func through(c *Config, job string, e Endpoint, b *labels.Builder) string {
	c.Programs[job].Apply(b, family(b))
	e.ExternalLabels.Range(func(l labels.Label) {
		if b.Get(l.Name) == "" {
			b.Set(l.Name, l.Value)
		}
	})
	if !e.Rewrite.Apply(b, family(b)) {
		return "dropped"
	}
	return b.Labels().String()
}

func TestRouting(t *testing.T) {
	tests := map[string]struct {
		pipelines []string
		want      string
	}{
		"all to all": {
			[]string{pipe("1", "a b", "batch x", "1 2")}, `
a1 -> prometheusremotewrite/1: {__name__="go_x", cluster="ca", e="1", region="r", x="1"}
a1 -> prometheusremotewrite/2: {__name__="go_x", cluster="ca", region="r", x="1"}
a2 -> prometheusremotewrite/1: {__name__="go_x", cluster="ca", e="1", region="r", x="1"}
a2 -> prometheusremotewrite/2: {__name__="go_x", cluster="ca", region="r", x="1"}
b1 -> prometheusremotewrite/1: {__name__="go_x", cluster="own", e="1", x="1"}
b1 -> prometheusremotewrite/2: {__name__="go_x", cluster="own", x="1"}
`,
		},
		"each its own way": {
			[]string{pipe("1", "a", "x", "1"), pipe("2", "b", "y", "2")}, `
a1 -> prometheusremotewrite/1: {__name__="go_x", cluster="ca", e="1", region="r", x="1"}
a2 -> prometheusremotewrite/1: {__name__="go_x", cluster="ca", e="1", region="r", x="1"}
b1 -> prometheusremotewrite/2: {__name__="go_x", cluster="own", y="2"}
`,
		},
		"different processors for different exporters": {
			[]string{pipe("1", "b", "x", "1"), pipe("2", "b", "x y", "2")}, `
b1 -> prometheusremotewrite/1: {__name__="go_x", cluster="own", e="1", x="1"}
b1 -> prometheusremotewrite/2: {__name__="go_x", cluster="own", x="1", y="2"}
`,
		},
		"filtered for one exporter": {
			[]string{pipe("1", "b", "", "1"), pipe("2", "b", "filter/go", "2")}, `
b1 -> prometheusremotewrite/1: {__name__="go_x", cluster="own", e="1"}
b1 -> prometheusremotewrite/2: dropped
`,
		},
		"one exporter becomes two endpoints": {
			[]string{pipe("1", "a", "x", "1"), pipe("2", "a", "y", "2"), pipe("3", "b", "", "1")}, `
a1 -> prometheusremotewrite/1: {__name__="go_x", cluster="ca", e="1", region="r", x="1"}
a1 -> prometheusremotewrite/2: {__name__="go_x", cluster="ca", region="r", y="2"}
a2 -> prometheusremotewrite/1: {__name__="go_x", cluster="ca", e="1", region="r", x="1"}
a2 -> prometheusremotewrite/2: {__name__="go_x", cluster="ca", region="r", y="2"}
b1 -> prometheusremotewrite/1#2: {__name__="go_x", cluster="own", e="1"}
`,
		},
		"names as OpenTelemetry has them": {
			[]string{pipe("1", "b", "x", "otel")}, `
b1 -> prometheusremotewrite/otel: {__name__="ns_go_x", cluster="own", x="1"}
`,
		},
		"an exporter that sends nothing": {
			[]string{pipe("1", "b", "x", "debug 1")}, `
b1 -> prometheusremotewrite/1: {__name__="go_x", cluster="own", e="1", x="1"}
`,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c, err := load(two(tt.pipelines...))
			require.NoError(t, err)
			require.Equal(t, strings.TrimPrefix(tt.want, "\n"), routes(c))
		})
	}
}

// What service discovery knows is taken up where a job is scraped, also if only one
// of its endpoints needs it.
func TestRoutingDiscovered(t *testing.T) {
	c, err := load(strings.Replace(two(pipe("1", "b", "", "1"), pipe("2", "b", "k8sattributes", "2")), "http://two.example/", "http://two.example/, resource_constant_labels: {included: ['k8s.*']}", 1))
	require.NoError(t, err)
	require.Contains(t, c.Programs["b1"].Discovered(), "__meta_kubernetes_pod_name")
	for i, want := range []string{`{__name__="x", e="1"}`, `{__name__="x", k8s_pod_name="p"}`} {
		b := labels.NewBuilder(labels.FromStrings("__name__", "x", "__meta_kubernetes_pod_name", "p"))
		require.Equal(t, want, through(c, "b1", c.Endpoints[i], b))
		require.Empty(t, c.Endpoints[i].Rewrite.Discovered())
	}
}

// What all endpoints of a receiver have in common is done once, where it is scraped.
func TestRoutingHoists(t *testing.T) {
	c, err := load(two(pipe("1", "b", "x", "1 2")))
	require.NoError(t, err)
	require.Len(t, c.Programs["b1"], 1)
	for _, e := range c.Endpoints {
		require.Nil(t, e.Jobs)
		require.Empty(t, e.Rewrite)
	}
	require.Equal(t, `{e="1"}`, c.Endpoints[0].ExternalLabels.String())

	c, err = load(two(pipe("1", "b", "", "otel")))
	require.NoError(t, err)
	require.Contains(t, c.TargetInfo, "b1")
	info, ok := c.TargetInfo["b1"].Labels(labels.FromStrings("job", "b1", "instance", "h:1"), labels.FromStrings("__scheme__", "https"), labels.EmptyLabels())
	require.True(t, ok)
	require.Equal(t, "ns_target_info", info.Get("__name__"))
}

// The waiting time is the shortest, the size of requests that of the pipeline.
func TestRoutingBatches(t *testing.T) {
	c, err := load(two(pipe("1", "a", "batch", "1"), pipe("2", "b", "batch/fast", "2")))
	require.NoError(t, err)
	require.Equal(t, "2s", c.BatchTimeout.String())
	require.Equal(t, DefaultMaxSamplesPerRequest, c.Endpoints[0].MaxSamplesPerRequest)
	require.Equal(t, 9000, c.Endpoints[1].MaxSamplesPerRequest)
}

// An endpoint and a job that are added later have their place among the routes.
func TestRoutingAdded(t *testing.T) {
	c, err := load(two(pipe("1", "a", "x", "1"), pipe("2", "b", "y", "2")))
	require.NoError(t, err)
	for range 2 {
		e, err := NewEndpoint("own", "http://own.example/")
		require.NoError(t, err)
		c.AddEndpoint(e)
	}
	require.NoError(t, c.AddStaticJob("self", "localhost:1", ""))
	require.Equal(t, strings.TrimPrefix(`
a1 -> prometheusremotewrite/1: {__name__="go_x", cluster="ca", e="1", region="r", x="1"}
a1 -> own: {__name__="go_x", cluster="ca", region="r", x="1"}
a1 -> own#2: {__name__="go_x", cluster="ca", region="r", x="1"}
a2 -> prometheusremotewrite/1: {__name__="go_x", cluster="ca", e="1", region="r", x="1"}
a2 -> own: {__name__="go_x", cluster="ca", region="r", x="1"}
a2 -> own#2: {__name__="go_x", cluster="ca", region="r", x="1"}
b1 -> prometheusremotewrite/2: {__name__="go_x", cluster="own", y="2"}
b1 -> own: {__name__="go_x", cluster="own", y="2"}
b1 -> own#2: {__name__="go_x", cluster="own", y="2"}
self -> prometheusremotewrite/1: {__name__="go_x", cluster="own", e="1"}
self -> prometheusremotewrite/2: {__name__="go_x", cluster="own"}
self -> own: {__name__="go_x", cluster="own"}
self -> own#2: {__name__="go_x", cluster="own"}
`, "\n"), routes(c))

	// Where the ways of a receiver differ, an added endpoint gets what it scrapes.
	c, err = load(two(pipe("1", "a", "x", "1"), pipe("2", "a", "y", "2")))
	require.NoError(t, err)
	e, err := NewEndpoint("own", "http://own.example/")
	require.NoError(t, err)
	c.AddEndpoint(e)
	require.Contains(t, routes(c), `a1 -> own: {__name__="go_x", cluster="ca", region="r"}`)
	require.Contains(t, routes(c), `a1 -> prometheusremotewrite/1: {__name__="go_x", cluster="ca", e="1", region="r", x="1"}`)

	// Without an exporter that sends, the processors still count.
	c, err = load(two(pipe("1", "a", "x", "debug")))
	require.NoError(t, err)
	c.AddEndpoint(e)
	require.Contains(t, routes(c), `a1 -> own: {__name__="go_x", cluster="ca", region="r", x="1"}`)
}
