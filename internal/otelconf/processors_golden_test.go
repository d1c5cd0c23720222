package otelconf

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/snappy"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/prometheus/prometheus/prompb"
	"github.com/stretchr/testify/require"
	"gopkg.in/yaml.v3"

	"github.com/mangru/mangru/internal/model"
	"github.com/mangru/mangru/internal/rewrite"
)

// goldenCase is one way from a target to an endpoint: a file of
// testdata/processors. The .golden file beside it has the series that a real
// OpenTelemetry Collector sends for it, a .differences file what is otherwise here.
type goldenCase struct {
	Page       string            `yaml:"page"`
	Target     map[string]string `yaml:"target"` // labels from discovery
	Global     yaml.Node         `yaml:"global"`
	Receiver   yaml.Node         `yaml:"receiver"`
	Processors yaml.Node         `yaml:"processors"`
	Exporter   yaml.Node         `yaml:"exporter"`
}

const goldenInstance = "host1:9100"

// TestAgainstCollector compares what comes out of programs with what a real
// collector sent. With MANGRU_OTELCOL naming a collector that has the processors
// it makes the golden files anew. Those here are from version 0.164, with the
// processors filter, attributes and transform of version 0.161.
func TestAgainstCollector(t *testing.T) {
	files, err := filepath.Glob("testdata/processors/*.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			var c goldenCase
			require.NoError(t, yaml.Unmarshal(text, &c))
			if c.Page == "" {
				c.Page = "target.txt"
			}
			page, err := os.ReadFile(filepath.Join("testdata/processors", c.Page))
			require.NoError(t, err)
			golden := strings.TrimSuffix(file, ".yaml") + ".golden"
			if collector := os.Getenv("MANGRU_OTELCOL"); collector != "" {
				sent := runCollector(t, collector, c, page)
				require.NoError(t, os.WriteFile(golden, []byte(strings.Join(sent, "\n")+"\n"), 0o600))
			}
			want, err := os.ReadFile(golden)
			require.NoError(t, err)
			got := runPrograms(t, file, text, page, c)
			differences, err := os.ReadFile(strings.TrimSuffix(file, ".yaml") + ".differences")
			if !errors.Is(err, os.ErrNotExist) {
				require.NoError(t, err)
			}
			require.Equal(t, string(differences), compareLines(strings.Split(strings.TrimSpace(string(want)), "\n"), got))
		})
	}
}

// compareLines returns the lines that only one of two sorted lists has.
func compareLines(want, got []string) string {
	var out strings.Builder
	for _, line := range want {
		if !slices.Contains(got, line) {
			fmt.Fprintln(&out, "-", line)
		}
	}
	for _, line := range got {
		if !slices.Contains(want, line) {
			fmt.Fprintln(&out, "+", line)
		}
	}
	return out.String()
}

func contentType(page string) string {
	if strings.Contains(page, ".om.") {
		return "application/openmetrics-text; version=1.0.0; charset=utf-8"
	}
	return "text/plain; version=0.0.4; charset=utf-8"
}

// runCollector lets a real collector scrape the page and returns the series that
// it sends.
func runCollector(t *testing.T, collector string, c goldenCase, page []byte) []string {
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType(c.Page))
		w.Write(page)
	}))
	defer target.Close()
	s := &sink{series: map[string]bool{}, times: map[int64]bool{}, enough: make(chan struct{})}
	receiver := httptest.NewServer(s)
	defer receiver.Close()

	config := filepath.Join(t.TempDir(), "config.yaml")
	require.NoError(t, os.WriteFile(config, collectorConfig(t, c, target.Listener.Addr().String(), receiver.URL), 0o600))
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, collector, "--config", config)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	require.NoError(t, cmd.Start())
	select {
	case <-s.enough:
	case <-ctx.Done():
		cmd.Wait()
		t.Fatalf("the collector sent nothing: %s", out.String())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]string, 0, len(s.series))
	for series := range s.series {
		all = append(all, series)
	}
	cancel()
	cmd.Wait()
	sort.Strings(all)
	return all
}

// sink is a remote-write endpoint that collects series until it has seen several
// scrapes.
type sink struct {
	mu     sync.Mutex
	series map[string]bool
	times  map[int64]bool
	enough chan struct{}
}

func (s *sink) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	raw, err := snappy.Decode(nil, body)
	var req prompb.WriteRequest
	if err == nil {
		err = req.Unmarshal(raw)
	}
	if err != nil {
		panic(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ts := range req.Timeseries {
		b := labels.NewScratchBuilder(len(ts.Labels))
		for _, l := range ts.Labels {
			b.Add(l.Name, l.Value)
		}
		b.Sort()
		s.series[b.Labels().String()] = true
		for _, sample := range ts.Samples {
			s.times[sample.Timestamp] = true
		}
	}
	if len(s.times) >= 3 {
		select {
		case <-s.enough:
		default:
			close(s.enough)
		}
	}
}

func collectorConfig(t *testing.T, c goldenCase, target, endpoint string) []byte {
	targetLabels := map[string]string{"instance": goldenInstance}
	receiver := map[string]any{"config": map[string]any{
		"global": mapOf(t, c.Global),
		"scrape_configs": []any{map[string]any{
			"job_name": "test", "scrape_interval": "1s", "scrape_timeout": "1s",
			"static_configs": []any{map[string]any{"targets": []string{target}, "labels": targetLabels}},
		}},
	}}
	for k, v := range mapOf(t, c.Receiver) {
		receiver[k] = v
	}
	for k, v := range c.Target {
		targetLabels[k] = v
	}
	exporter := mapOf(t, c.Exporter)
	exporter["endpoint"] = endpoint
	var order []string
	for i := 0; i < len(c.Processors.Content); i += 2 {
		order = append(order, c.Processors.Content[i].Value)
	}
	out, err := yaml.Marshal(map[string]any{
		"receivers": map[string]any{"prometheus": receiver}, "processors": &c.Processors, "exporters": map[string]any{"prometheusremotewrite": exporter},
		"service": map[string]any{
			"telemetry": map[string]any{"metrics": map[string]any{"level": "none"}},
			"pipelines": map[string]any{"metrics": map[string]any{"receivers": []string{"prometheus"}, "processors": order, "exporters": []string{"prometheusremotewrite"}}},
		},
	})
	require.NoError(t, err)
	return out
}

func mapOf(t *testing.T, n yaml.Node) map[string]any {
	m := map[string]any{}
	if !n.IsZero() {
		require.NoError(t, n.Decode(&m))
	}
	return m
}

// runPrograms compiles the case and runs it over the page's series, those that a
// scrape adds, and target_info.
func runPrograms(t *testing.T, file string, text, page []byte, c goldenCase) []string {
	p := casePipeline(t, file, text)
	program := p.Series()
	found := labels.NewBuilder(labels.FromStrings("__scheme__", "http", "__address__", "x"))
	for k, v := range c.Target {
		found.Set(k, v)
	}
	discovery := found.Labels()
	target := labels.FromStrings("job", "test", "instance", goldenInstance)
	info := p.TargetInfo()
	var out []string
	exposed := labels.EmptyLabels()
	for _, s := range pageSeries(t, page, contentType(c.Page)) {
		b := labels.NewBuilder(s.labels)
		target.Range(func(l labels.Label) { b.Set(l.Name, l.Value) })
		if s.labels.Get("__name__") == "target_info" && info != nil {
			exposed = b.Labels()
			continue
		}
		for _, name := range program.Discovered() {
			b.Set(name, discovery.Get(name))
		}
		if program.Apply(b, s.family) {
			out = append(out, b.Labels().String())
		}
	}
	if info != nil {
		ls, ok := info.Labels(target, discovery, exposed)
		require.True(t, ok)
		out = append(out, ls.String())
	}
	sort.Strings(out)
	return slices.Compact(out)
}

func casePipeline(t *testing.T, file string, text []byte) rewrite.Pipeline {
	docs, err := source{name: file, data: text}.parse()
	require.NoError(t, err)
	l := &loader{config: &Config{}, opts: Options{Getenv: func(string) (string, bool) { return "", false }, ReadFile: os.ReadFile}}
	x := &expander{getenv: l.opts.Getenv, readFile: l.opts.ReadFile, problems: &l.problems, warn: l.warn}
	root := x.expand(docs[0], "")
	var p rewrite.Pipeline
	if n := root.get("processors"); n != nil {
		for _, e := range n.entries {
			typ, _, _ := strings.Cut(e.key, "/")
			c := &component{id: e.key, kind: processorTypes[typ], pos: e.pos, path: "processors." + e.key, body: e.value, used: true}
			require.NotEmpty(t, c.kind, e.key)
			p.Processors = append(p.Processors, l.processor(c))
		}
	}
	var receiver struct {
		Trim bool `conf:"trim_metric_suffixes"`
	}
	decodeInto(root.get("receiver"), "receiver", &receiver, &l.problems)
	p.Receiver.TrimSuffixes = receiver.Trim
	var global struct {
		Labels map[string]string `conf:"external_labels"`
	}
	decodeInto(root.get("global"), "global", &global, &l.problems)
	p.Receiver.Labels = labels.FromMap(global.Labels)
	p.Export = caseExport(t, root.get("exporter"), &l.problems)
	require.NoError(t, l.err())
	return p
}

func caseExport(t *testing.T, n *node, ps *problems) rewrite.Export {
	var b struct {
		Scope     bool              `conf:"disable_scope_info"`
		Suffixes  *bool             `conf:"add_metric_suffixes"`
		Strategy  string            `conf:"translation_strategy"`
		Namespace string            `conf:"namespace"`
		External  map[string]string `conf:"external_labels"`
		Info      struct {
			Enabled *bool `conf:"enabled"`
		} `conf:"target_info"`
		Convert struct {
			Enabled bool `conf:"enabled"`
			Service bool `conf:"exclude_service_attributes"`
		} `conf:"resource_to_telemetry_conversion"`
		Constant struct {
			Included []string `conf:"included"`
			Excluded []string `conf:"excluded"`
		} `conf:"resource_constant_labels"`
	}
	decodeInto(n, "exporter", &b, ps)
	e := rewrite.Export{OTel: true, Strategy: rewrite.Strategy(b.Strategy), Namespace: b.Namespace, Scope: rewrite.ScopeDrop, TargetInfo: true}
	if !b.Scope {
		e.Scope, e.ScopeVersion = rewrite.ScopeAdd, "0.164.0"
	}
	if b.Suffixes != nil && !*b.Suffixes {
		e.Strategy = rewrite.EscapeWithoutSuffixes
	}
	if b.Info.Enabled != nil {
		e.TargetInfo = *b.Info.Enabled
	}
	e.Convert = rewrite.NewConversion(b.Constant.Included, b.Constant.Excluded)
	if b.Convert.Enabled {
		var excluded []string
		if b.Convert.Service {
			excluded = rewrite.ServiceAttributes()
		}
		e.Convert = rewrite.NewConversion([]string{"*"}, excluded)
	}
	external := labels.NewBuilder(labels.EmptyLabels())
	for k, v := range b.External {
		name, err := e.Strategy.ExternalName(k)
		require.NoError(t, err)
		external.Set(name, v)
	}
	e.External = external.Labels()
	return e
}

type pageEntry struct {
	labels labels.Labels
	family model.Family
}

// pageSeries parses a page the way a scrape does, and adds what a scrape adds.
func pageSeries(t *testing.T, page []byte, typ string) []pageEntry {
	p, err := textparse.New(page, typ, labels.NewSymbolTable(), textparse.ParserOptions{})
	require.NoError(t, err)
	families := map[string]*model.Family{}
	family := func(name []byte) *model.Family {
		if families[string(name)] == nil {
			families[string(name)] = &model.Family{Name: string(name)}
		}
		return families[string(name)]
	}
	var out []pageEntry
	for {
		entry, err := p.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		switch entry {
		case textparse.EntryType:
			name, typ := p.Type()
			family(name).Type = metricTypes[string(typ)]
		case textparse.EntryUnit:
			name, unit := p.Unit()
			family(name).Unit = string(unit)
		case textparse.EntrySeries:
			var ls labels.Labels
			p.Labels(&ls)
			out = append(out, pageEntry{ls, familyOf(families, ls.Get("__name__"))})
		}
	}
	for _, name := range []string{"up", "scrape_duration_seconds", "scrape_samples_scraped", "scrape_samples_post_metric_relabeling", "scrape_series_added"} {
		out = append(out, pageEntry{labels.FromStrings("__name__", name), model.Family{Name: name, Type: model.TypeGauge}})
	}
	return out
}

var metricTypes = map[string]model.MetricType{
	"counter": model.TypeCounter, "gauge": model.TypeGauge, "histogram": model.TypeHistogram, "gaugehistogram": model.TypeGaugeHistogram,
	"summary": model.TypeSummary, "info": model.TypeInfo, "stateset": model.TypeStateset, "unknown": model.TypeUnknown,
}

func familyOf(families map[string]*model.Family, name string) model.Family {
	if f := families[name]; f != nil {
		return *f
	}
	for _, suffix := range []string{"_bucket", "_sum", "_count", "_total", "_created", "_info", "_gsum", "_gcount"} {
		if f := families[strings.TrimSuffix(name, suffix)]; f != nil {
			return *f
		}
	}
	return model.Family{Name: name}
}

func Example_processors() {
	s, err := rewrite.ParseStatement(`set(attributes["env"], "prod") where IsMatch(metric.name, "^http_")`, rewrite.DataPointContext)
	if err != nil {
		fmt.Println(err)
		return
	}
	b := labels.NewBuilder(labels.FromStrings("__name__", "http_requests_total", "code", "200"))
	rewrite.Transform{Statements: []*rewrite.Statement{s}}.Apply(b, model.Family{Name: "http_requests_total", Type: model.TypeCounter})
	fmt.Println(b.Labels())
	// Output: {__name__="http_requests_total", code="200", env="prod"}
}
