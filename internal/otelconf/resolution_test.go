package otelconf

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/confmap"
)

// sources are what the URIs of a test lead to.
type sources struct {
	files, env, pages map[string]string
}

func (s sources) load(set []string, uris ...string) (*Config, error) {
	return Load(Options{
		Files: uris, Set: set,
		Getenv: func(n string) (string, bool) { v, ok := s.env[n]; return v, ok },
		ReadFile: func(n string) ([]byte, error) {
			if text, ok := s.files[n]; ok {
				return []byte(text), nil
			}
			return nil, errors.New("no such file")
		},
		Fetch: func(u string) ([]byte, error) {
			if text, ok := s.pages[u]; ok {
				return []byte(text), nil
			}
			return nil, errors.New("not found")
		},
	})
}

// What the collector does with --config and --set, one case a sentence.
func TestResolution(t *testing.T) {
	const over = "exporters: {prometheusremotewrite: {timeout: 9s}}\n"
	s := sources{
		files: map[string]string{
			"a.yaml": minimal, "dir:c.yaml": minimal, "over.yaml": over, "timeout.txt": "7s",
			"lists.yaml":    "receivers: {prometheus: {config: {scrape_configs: [{job_name: other}]}}}\n",
			"null.yaml":     "exporters: {prometheusremotewrite: {external_labels: }}\n",
			"labels.yaml":   "exporters: {prometheusremotewrite: {external_labels: {a: '1', b: '2'}}}\n",
			"piece.yaml":    "exporters: {prometheusremotewrite: {external_labels: '${file:map.txt}'}}\n",
			"map.txt":       "{c: '3'}",
			"template.yaml": strings.Replace(minimal, "http://receiver.example", "${env:SCHEME}://${env:HOST}", 1),
		},
		env:   map[string]string{"OVER": over, "WHOLE": minimal, "SCHEME": "https", "HOST": "h.example"},
		pages: map[string]string{"https://me:hush@conf.example/c?token=hush": minimal, "http://conf.example/t": "6s"},
	}
	timeout := func(d time.Duration) func(*testing.T, *Config) {
		return func(t *testing.T, c *Config) { require.Equal(t, d, c.Endpoints[0].Timeout) }
	}
	labels := func(want string) func(*testing.T, *Config) {
		return func(t *testing.T, c *Config) { require.Equal(t, want, c.Endpoints[0].ExternalLabels.String()) }
	}
	tests := []struct {
		sentence string
		uris     []string
		set      []string
		check    func(*testing.T, *Config)
	}{
		{"no scheme is a file", []string{"a.yaml"}, nil, timeout(5 * time.Second)},
		{"file:", []string{"file:a.yaml"}, nil, timeout(5 * time.Second)},
		{"an unknown scheme is part of a file's name", []string{"dir:c.yaml"}, nil, timeout(5 * time.Second)},
		{"env:", []string{"env:WHOLE", "env:OVER"}, nil, timeout(9 * time.Second)},
		{"yaml:", []string{"a.yaml", "yaml:exporters::prometheusremotewrite::timeout: 4s"}, nil, timeout(4 * time.Second)},
		{"http: and https:", []string{"https://me:hush@conf.example/c?token=hush"}, nil, timeout(5 * time.Second)},
		{"later ones are laid over earlier ones", []string{"over.yaml", "a.yaml", "yaml:exporters::prometheusremotewrite::timeout: 8s"}, nil, timeout(8 * time.Second)},
		{"--set comes after all of them", []string{"a.yaml", "over.yaml"}, []string{"exporters.prometheusremotewrite.timeout=3s"}, timeout(3 * time.Second)},
		{"--set takes YAML", []string{"a.yaml"}, []string{"exporters.prometheusremotewrite.external_labels={x: y}"}, labels(`{x="y"}`)},
		{"mappings are merged", []string{"a.yaml", "labels.yaml", "yaml:exporters::prometheusremotewrite::external_labels::b: three"}, nil, labels(`{a="1", b="three"}`)},
		{"lists are replaced", []string{"a.yaml", "lists.yaml"}, nil, func(t *testing.T, c *Config) {
			require.Len(t, c.ScrapeConfigs, 1)
			require.Equal(t, "other", c.ScrapeConfigs[0].JobName)
		}},
		{"null replaces", []string{"a.yaml", "labels.yaml", "null.yaml"}, nil, labels("{}")},
		{"merging comes before expansion", []string{"a.yaml", "labels.yaml", "piece.yaml"}, nil, labels(`{c="3"}`)},
		{"${file:}", []string{"a.yaml", "yaml:exporters::prometheusremotewrite::timeout: ${file:timeout.txt}"}, nil, timeout(7 * time.Second)},
		{"${http:}", []string{"a.yaml", "yaml:exporters::prometheusremotewrite::timeout: ${http://conf.example/t}"}, nil, timeout(6 * time.Second)},
		{"${yaml:}", []string{"a.yaml", "yaml:exporters::prometheusremotewrite::external_labels: '${yaml:d: e}'"}, nil, labels(`{d="e"}`)},
		{"${env:} inside a text", []string{"template.yaml"}, nil, func(t *testing.T, c *Config) {
			require.Equal(t, "https://h.example/api/v1/write", c.Endpoints[0].URL)
		}},
		{"keys are not expanded", []string{"a.yaml", "yaml:exporters::prometheusremotewrite::headers: {'$${env:HOST}': x, '${env:HOST}': y}"}, nil, func(t *testing.T, c *Config) {
			require.Equal(t, map[string]string{"$${env:HOST}": "x", "${env:HOST}": "y"}, c.Endpoints[0].Headers)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.sentence, func(t *testing.T) {
			c, err := s.load(tt.set, tt.uris...)
			require.NoError(t, err)
			tt.check(t, c)
		})
	}
	c, err := s.load(nil, "a.yaml", "file:labels.yaml", "piece.yaml", "env:OVER")
	require.NoError(t, err)
	require.Equal(t, []string{"a.yaml", "labels.yaml", "piece.yaml", "map.txt"}, c.Files)

	s.env["AOT_CONFIG_CONTENT"] = minimal
	c, err = s.load(nil, "missing.yaml")
	require.NoError(t, err)
	require.Contains(t, fmt.Sprint(c.Notes), "AOT_CONFIG_CONTENT")
}

// The collector's rules about components, one case a sentence.
func TestComponentRules(t *testing.T) {
	tests := []struct {
		sentence, text, want string // what the error contains; none if empty
	}{
		{"a null component means its defaults", with("service:\n", "processors: {batch: }\nservice:\n", "exporters: [", "processors: [batch], exporters: ["), ""},
		{"type/name", with("prometheus:\n", "prometheus/a b/c:\n", "[prometheus]", "['prometheus/a b/c']"), ""},
		{"an id has a type", with("service:\n", "processors: {/x: }\nservice:\n"), `c.yaml:11: processors./x: id "/x" must be of the form type or type/name`},
		{"a type begins with a letter", with("service:\n", "processors: {1batch: }\nservice:\n"), `must be of the form type or type/name`},
		{"unknown type", with("service:\n", "exporters/x: \nservice:\n"), `c.yaml:11: exporters/x: unknown field "exporters/x", did you mean "exporters"?`},
		{"unknown key", with("    endpoint", "    endpiont"), `c.yaml:10: exporters.prometheusremotewrite.endpiont: unknown field "endpiont", did you mean "endpoint"?`},
		{"what is not used must parse", with("service:\n", "processors: {batch: {timeout: x}}\nservice:\n"), "c.yaml:11: processors.batch.timeout: must be a duration"},
		{"not configured", with("exporters: [prometheusremotewrite]", "exporters: [debug]"), `references exporter "debug" which is not configured (allowed: prometheusremotewrite)`},
		{"an extension must be listed", with("service:\n", "extensions: {pprof: }\nservice:\n  extensions: [zpages]\n"), `references extension "zpages" which is not configured (allowed: pprof)`},
		{"a processor once", with("service:\n", "processors: {batch: }\nservice:\n", "exporters: [", "processors: [batch, batch], exporters: ["), `references processor "batch" multiple times`},
		{"a receiver at least", with("receivers: [prometheus]", "receivers: []"), "must have at least one receiver"},
		{"an exporter at least", with("exporters: [prometheusremotewrite]", "exporters: []"), "must have at least one exporter"},
		{"new names of types", with("service:\n", "processors: {metrics_transform: , resource_detection: {detectors: [env]}, k8s_attributes: }\nservice:\n"), ""},
		{"new name of the exporter", with("prometheusremotewrite", "prometheus_remote_write"), ""},
		{"logging is debug", with("exporters:\n", "exporters:\n  logging: {loglevel: debug}\n", "exporters: [", "exporters: [logging, "), ""},
		{"other signals are refused", with("    metrics: {", "    logs: {receivers: [prometheus], exporters: [prometheusremotewrite]}\n    metrics: {"), "service.pipelines.logs: logs are not collected here"},
	}
	for _, tt := range tests {
		t.Run(tt.sentence, func(t *testing.T) {
			_, err := load(tt.text)
			if tt.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tt.want)
		})
	}
}

// yamlProvider is the collector's yaml: scheme, without its own handling of "::",
// which is the configuration's.
type yamlProvider struct{}

func (yamlProvider) Retrieve(_ context.Context, uri string, _ confmap.WatcherFunc) (*confmap.Retrieved, error) {
	return confmap.NewRetrievedFromYAML([]byte(strings.TrimPrefix(uri, "yaml:")))
}
func (yamlProvider) Scheme() string                 { return "yaml" }
func (yamlProvider) Shutdown(context.Context) error { return nil }

// plain turns a tree into what the collector's resolver returns.
func plain(n *node) any {
	switch {
	case n.isNull():
		return nil
	case n.kind == mapping:
		out := map[string]any{}
		for _, e := range n.entries {
			out[e.key] = plain(e.value)
		}
		return out
	case n.kind == sequence:
		out := []any{}
		for _, item := range n.items {
			out = append(out, plain(item))
		}
		return out
	}
	return n.text
}

// Merging is compared with the collector's own resolver.
func TestMergeLikeTheCollector(t *testing.T) {
	tests := [][]string{
		{"a: {b: x, c: y}", "a: {c: z, d: w}"},
		{"a: {b: [x, y]}", "a: {b: [z]}"},
		{"a: {b: {c: x}}", "a: {b: }"},
		{"a: {b: {c: x}}", "a: "},
		{"a: ", "a: {b: {c: x}}"},
		{"a: {b: {c: x}}", "a: {b: text}"},
		{"a: {b: text}", "a: {b: {c: x}}"},
		{"a::b: x", "a: {c: y}"},
		{"a: {b: x}", "a::b: y", "a::c::d: z"},
		{"a: {b: {c: x}}", "{}"},
		{"a: {x/y: {c: x}}", "a::x/y::d: w"},
		{"a: {b: []}", "a: {b: {}}"},
	}
	for _, uris := range tests {
		t.Run(strings.Join(uris, " + "), func(t *testing.T) {
			settings := confmap.ResolverSettings{DefaultScheme: "yaml", ProviderFactories: []confmap.ProviderFactory{factory(yamlProvider{})}}
			var merged *node
			for _, text := range uris {
				settings.URIs = append(settings.URIs, "yaml:"+text)
				docs, err := source{name: "x", data: []byte(text)}.parse()
				require.NoError(t, err)
				merged = merge(merged, splitKeys(docs[0]))
			}
			r, err := confmap.NewResolver(settings)
			require.NoError(t, err)
			want, err := r.Resolve(t.Context())
			require.NoError(t, err)
			require.Equal(t, want.ToStringMap(), plain(merged))
		})
	}
}

func TestFetch(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/c.yaml" {
			http.NotFound(w, r)
			return
		}
		fmt.Fprint(w, minimal)
	}))
	defer srv.Close()
	c, err := Load(Options{Files: []string{srv.URL + "/c.yaml?token=hush"}})
	require.NoError(t, err)
	require.Len(t, c.ScrapeConfigs, 1)
	require.Empty(t, c.Files)

	_, err = Load(Options{Files: []string{strings.Replace(srv.URL, "://", "://me:hush@", 1) + "/other?token=hush"}})
	require.ErrorContains(t, err, "the server answered 404 Not Found")
	require.NotContains(t, err.Error(), "hush")
	srv.Close()
	_, err = Load(Options{Files: []string{srv.URL + "/c.yaml?token=hush"}})
	require.ErrorContains(t, err, "connection refused")
	require.NotContains(t, err.Error(), "hush")
}
