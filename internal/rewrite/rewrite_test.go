package rewrite

import (
	"regexp"
	"slices"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"
	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/internal/model"
)

// run applies steps to the series and returns what comes out; "" if it is dropped.
func run(p Program, f model.Family, series ...string) string {
	b := labels.NewBuilder(labels.FromStrings(series...))
	if !p.Apply(b, f) {
		return ""
	}
	return b.Labels().String()
}

func counter(name string) model.Family { return model.Family{Name: name, Type: model.TypeCounter} }

func histogram(name string) model.Family {
	return model.Family{Name: name, Type: model.TypeHistogram}
}

func TestMetricOf(t *testing.T) {
	family := func(name string, typ model.MetricType) model.Family { return model.Family{Name: name, Type: typ} }
	for _, c := range []struct {
		series  string
		family  model.Family
		metric  string
		known   bool
		created bool
	}{
		{"x_bucket", histogram("x"), "x", true, false},
		{"x_sum", histogram("x"), "x", true, false},
		{"x", histogram("x"), "x", true, false},
		{"x_created", histogram("x"), "x", true, true},
		{"x_other", histogram("x"), "x_other", false, false},
		{"renamed_bucket", histogram("x"), "renamed_bucket", false, false},
		{"x_count", family("x", model.TypeSummary), "x", true, false},
		{"x", family("x", model.TypeSummary), "x", true, false},
		{"x_total", counter("x_total"), "x_total", true, false},
		{"x_total", counter("x"), "x_total", true, false},
		{"x_created", counter("x"), "x", true, true},
		{"x_count", counter("x"), "x_count", false, false},
		{"x_created", family("x_created", model.TypeGauge), "x_created", true, false},
		{"x_count", family("x", model.TypeGauge), "x_count", false, false},
		{"x_count", family("x_count", model.TypeUnknown), "x_count", false, false},
		{"x", model.Family{}, "x", false, false},
	} {
		m := metricOf(labels.NewBuilder(labels.FromStrings("__name__", c.series)), c.family)
		require.Equal(t, c.metric, m.name, "%s of %v", c.series, c.family)
		require.Equal(t, c.known, m.typ != model.TypeUnknown, "%s of %v", c.series, c.family)
		require.Equal(t, c.created, m.created, "%s of %v", c.series, c.family)
	}
}

// A metric that was renamed keeps its type and its series' suffixes, and a later
// step finds it under the new name.
func TestRenameTwice(t *testing.T) {
	p := Pipeline{Processors: []Program{{
		MetricsTransform{Name: "x", NewName: "y"},
		MetricsTransform{Name: "x", NewName: "never"},
		MetricsTransform{Pattern: regexp.MustCompile("^(y)$"), NewName: "${1}_z"},
	}}}
	require.Equal(t, `{__name__="y_z_bucket", le="1.0"}`, run(p.Series(), histogram("x"), "__name__", "x_bucket", "le", "1.0"))
	p.Export.OTel = true
	require.Equal(t, `{__name__="y_z_bucket", le="1"}`, run(p.Series(), histogram("x"), "__name__", "x_bucket", "le", "1.0"))
	p.Processors[0] = append(p.Processors[0], DropIf{condition(t, `name == "y_z"`, MetricContext)})
	require.Empty(t, run(p.Series(), histogram("x"), "__name__", "x_sum"))
	require.NotEmpty(t, run(p.Series(), model.Family{}, "__name__", "x_sum"))
}

func condition(t *testing.T, text string, context Context) *Condition {
	c, err := ParseCondition(text, context)
	require.NoError(t, err)
	return c
}

func TestPipelineLeavesOutWhatHasNoEffect(t *testing.T) {
	env := Attributes{Resource: true, Actions: []Action{{Kind: Insert, Key: "env", Value: "prod"}}}
	p := Pipeline{Processors: []Program{{env}}}
	require.Empty(t, p.Series(), "a resource attribute shows nowhere")
	require.Equal(t, []string{"env"}, p.Hidden())
	require.Empty(t, p.Series().Discovered())

	p.Export.Convert = NewConversion([]string{"e?v"}, nil)
	require.Empty(t, p.Hidden())
	require.Contains(t, p.Series().Discovered(), "__scheme__")
	require.Equal(t, `{__name__="x", env="prod", job="j"}`, run(p.Series(), model.Family{}, "__name__", "x", "job", "j", "__scheme__", "http"))

	p.Export.Convert = Conversion{}
	p.Processors = append(p.Processors, Program{Transform{Statements: []*Statement{statement(t, `set(attributes["copy"], resource.attributes["env"])`)}}})
	require.Empty(t, p.Hidden(), "a later step reads it")
	require.Equal(t, `{__name__="x", copy="prod"}`, run(p.Series(), model.Family{}, "__name__", "x"))
}

func statement(t *testing.T, text string) *Statement {
	s, err := ParseStatement(text, DataPointContext)
	require.NoError(t, err)
	return s
}

// The attributes that become job and instance change series without any further
// setting.
func TestServiceAttributes(t *testing.T) {
	p := Pipeline{Processors: []Program{{Attributes{Resource: true, Actions: []Action{
		{Kind: Upsert, Key: "service.name", Value: "shop"}, {Kind: Upsert, Key: "service.namespace", Value: "team"},
		{Kind: Delete, Key: "service.instance.id"},
	}}}}}
	require.Empty(t, p.Hidden())
	require.Equal(t, `{__name__="x", job="team/shop"}`, run(p.Series(), model.Family{}, "__name__", "x", "job", "j", "instance", "i"))
}

func TestPrometheusNamingKeepsNames(t *testing.T) {
	p := Pipeline{Processors: []Program{{Attributes{Actions: []Action{{Kind: Insert, Key: "a.b", Value: "v"}}}}}}
	require.Equal(t, `{__name__="x_count", a_b="v", "dotted.by.target"="y", le="1e+06"}`,
		run(p.Series(), counter("x_count"), "__name__", "x_count", "dotted.by.target", "y", "le", "1e+06"))
	require.Equal(t, `{__name__="x_count", a_b="v;w"}`, run(p.Series(), counter("x_count"), "__name__", "x_count", "a_b", "w"))
	p = Pipeline{Export: Export{Namespace: "acme", External: labels.FromStrings("a", "new", "b", "new")}}
	require.Equal(t, `{__name__="acme_x", a="own", b="new"}`, run(p.Series(), model.Family{}, "__name__", "x", "a", "own"))
}

func TestStrategies(t *testing.T) {
	series := []string{"__name__", "dotted.metric__x", "dotted.label", "v", "0digit", "w"}
	f := counter("dotted.metric__x")
	for strategy, want := range map[Strategy]string{
		"":                    `{__name__="dotted_metric_x_total", dotted_label="v", key_0digit="w"}`,
		EscapeWithSuffixes:    `{__name__="dotted_metric_x_total", dotted_label="v", key_0digit="w"}`,
		EscapeWithoutSuffixes: `{__name__="dotted_metric__x", dotted_label="v", key_0digit="w"}`,
		KeepWithSuffixes:      `{"0digit"="w", __name__="dotted.metric__x_total", "dotted.label"="v"}`,
		KeepNames:             `{"0digit"="w", __name__="dotted.metric__x", "dotted.label"="v"}`,
	} {
		p := Pipeline{Export: Export{OTel: true, Strategy: strategy}}
		b := labels.NewBuilder(labels.FromStrings(series...))
		require.True(t, p.Series().Apply(b, f), strategy)
		got := b.Labels().String()
		require.Equal(t, want, got, strategy)
	}
}

func TestOTelDropsWhatHasNoName(t *testing.T) {
	p := Pipeline{Export: Export{OTel: true}}.Series()
	require.Empty(t, run(p, model.Family{}, "__name__", "___"))
	require.Empty(t, run(p, model.Family{}, "__name__", "x", "_", "only underscores"))
	require.Empty(t, run(p, histogram("x"), "__name__", "x_bucket", "le", "many"))
	require.Empty(t, run(p, histogram("x"), "__name__", "x_bucket"))
	require.Empty(t, run(p, counter("x"), "__name__", "x_created"))
	require.NotEmpty(t, run(p, counter("x"), "__name__", "x_total"))
}

func TestScope(t *testing.T) {
	own := []string{"__name__", "x", "otel_scope_name", "n", "otel_scope_schema_url", "u"}
	for scope, want := range map[Scope][2]string{
		ScopeAsExposed: {`{__name__="x", otel_scope_name="n"}`, `{__name__="x"}`},
		ScopeDrop:      {`{__name__="x"}`, `{__name__="x"}`},
		ScopeAdd:       {`{__name__="x", otel_scope_name="n"}`, `{__name__="x", otel_scope_name="` + receiverScope + `", otel_scope_version="1"}`},
	} {
		p := Pipeline{Export: Export{OTel: true, Scope: scope, ScopeVersion: "1"}}.Series()
		require.Equal(t, want[0], run(p, model.Family{}, own...), scope)
		require.Equal(t, want[1], run(p, model.Family{}, "__name__", "x"), scope)
	}
}

func TestSplit(t *testing.T) {
	drop := func(name string) Step { return Filter{Exclude: &Match{Names: []string{name}}} }
	a, b, c := drop("a"), drop("b"), Relabel{{Action: relabel.Drop, Regex: relabel.MustNewRegexp("x")}}
	common, rest := Split([]Program{{a, b, c}, {drop("a"), b}, {a, c}})
	require.Equal(t, Program{a}, common)
	require.Equal(t, []Program{{b, c}, {b}, {c}}, rest)
	common, rest = Split([]Program{{a}, {a}})
	require.Equal(t, Program{a}, common)
	require.Equal(t, []Program{nil, nil}, rest)
	common, rest = Split([]Program{{a}, nil})
	require.Empty(t, common)
	require.Equal(t, []Program{{a}, nil}, rest)
	_, rest = Split(nil)
	require.Empty(t, rest)
}

// One of several endpoints needs what discovery knows: it is read once, before the
// ways part, and both ways together do what each alone would.
func TestSplitKeepsDiscovery(t *testing.T) {
	over := Receiver{Labels: labels.FromStrings("job", "over")}
	pipelines := []Pipeline{
		{Receiver: over, Processors: []Program{{Pods{Labels: []PodEntry{{"app", "app"}}}}}, Export: Export{Convert: NewConversion([]string{"app", "url.*"}, nil)}},
		{Receiver: over, Processors: []Program{{Filter{Exclude: &Match{Names: []string{"y"}}}}}},
		{Receiver: over, Export: Export{OTel: true}},
		{Receiver: over},
	}
	programs := make([]Program, len(pipelines))
	for i, p := range pipelines {
		programs[i] = p.Series()
	}
	common, rest := Split(programs)
	require.Contains(t, common.Discovered(), "__meta_kubernetes_pod_label_app")
	series := []string{"__name__", "x_", "job", "j", "instance", "h:1", "__scheme__", "http", "__meta_kubernetes_pod_label_app", "web", "__meta_kubernetes_namespace", "n"}
	for i, want := range []string{
		`{__name__="x_", app="web", instance="h:1", job="over", url_scheme="http"}`, `{__name__="x_", instance="h:1", job="over"}`,
		`{__name__="x", instance="h:1", job="over"}`, `{__name__="x_", instance="h:1", job="over"}`,
	} {
		require.Empty(t, rest[i].Discovered())
		require.Equal(t, want, run(append(slices.Clone(common), rest[i]...), model.Family{}, series...), i)
	}
	common, rest = Split([]Program{programs[0], programs[0]})
	require.Equal(t, programs[0], common)
	require.Equal(t, []Program{nil, nil}, rest)
}

func TestRelabel(t *testing.T) {
	r := &relabel.Config{Action: relabel.LabelDrop, Regex: relabel.MustNewRegexp("a|b|__name__")}
	require.Equal(t, `{c="3"}`, run(Program{Relabel{r}}, model.Family{}, "__name__", "x", "a", "1", "c", "3"))
	require.Empty(t, run(Program{Relabel{r}}, model.Family{}, "__name__", "x", "a", "1"), "nothing is left")
}

func TestExternalLabels(t *testing.T) {
	own := []string{"__name__", "x", "a", "own"}
	ls := labels.FromStrings("a", "1", "b", "2")
	require.Equal(t, `{__name__="x", a="own", b="2"}`, run(Program{ExternalLabels{Labels: ls}}, model.Family{}, own...))
	require.Equal(t, `{__name__="x", a="1", b="2"}`, run(Program{ExternalLabels{Labels: ls, Override: true}}, model.Family{}, own...))
}

func TestTargetInfo(t *testing.T) {
	p := Pipeline{
		Receiver: Receiver{Labels: labels.FromStrings("job", "external", "other", "x")},
		Processors: []Program{{
			Attributes{Resource: true, Actions: []Action{{Kind: Upsert, Key: "deployment.environment", Value: "prod"}, {Kind: Delete, Key: "server.port"}}},
			Attributes{Actions: []Action{{Kind: Upsert, Key: "point", Value: "v"}}},
			Pods{Fields: []string{"k8s.deployment.name", "container.image.tag"}, Labels: []PodEntry{{"app.kubernetes.io/name", "app"}}},
		}},
		Export: Export{OTel: true, TargetInfo: true, Namespace: "acme", External: labels.FromStrings("cluster", "one", "app", "never")},
	}
	target := labels.FromStrings("job", "j", "instance", "10.0.0.1:80", "own", "label")
	discovery := labels.FromStrings("__scheme__", "https", "__meta_kubernetes_pod_name", "p", "__meta_kubernetes_pod_controller_kind", "ReplicaSet",
		"__meta_kubernetes_pod_controller_name", "web-abc12", "__meta_kubernetes_pod_container_image", "reg:5000/web:v1@sha256:0", "__meta_kubernetes_pod_label_app_kubernetes_io_name", "web")
	got, ok := p.TargetInfo().Labels(target, discovery, labels.FromStrings("__name__", "target_info", "job", "j", "own.key", "v"))
	require.True(t, ok)
	require.Equal(t, `{__name__="acme_target_info", app="web", cluster="one", container_image_tag="v1", deployment_environment="prod", instance="10.0.0.1:80", `+
		`job="external", k8s_deployment_name="web", k8s_pod_name="p", k8s_replicaset_name="web-abc12", own_key="v", server_address="10.0.0.1", url_scheme="https"}`, got.String())

	p.Processors = append(p.Processors, Program{DropIf{condition(t, `attributes["service.name"] == "external"`, ResourceContext)}})
	_, ok = p.TargetInfo().Labels(target, discovery, labels.EmptyLabels())
	require.False(t, ok, "the filter drops the whole resource")
	p.Export.TargetInfo = false
	require.Nil(t, p.TargetInfo())
}

func TestPodsNotInAPod(t *testing.T) {
	p := Pipeline{
		Processors: []Program{{Pods{Fields: PodFields()}}},
		Export:     Export{Convert: NewConversion(nil, append(ServiceAttributes(), "server.*"))},
	}
	require.Equal(t, `{__name__="x"}`, run(p.Series(), model.Family{}, "__name__", "x"))
	require.Equal(t, `{__name__="x", container_image_name="reg:5000/web"}`, run(p.Series(), model.Family{}, "__name__", "x", "__meta_kubernetes_pod_container_image", "reg:5000/web"))
	require.Equal(t, `{__name__="x", k8s_job_name="j"}`, run(p.Series(), model.Family{}, "__name__", "x", "__meta_kubernetes_pod_controller_kind", "Job", "__meta_kubernetes_pod_controller_name", "j"))
	require.Contains(t, p.Series().Discovered(), "__meta_kubernetes_pod_container_image")
}

func TestConvertAction(t *testing.T) {
	for _, c := range [][3]string{
		{"007", "int", "7"}, {"5.5", "int", "5.5"}, {"text", "double", "text"}, {"1.50", "double", "1.5"}, {"1e21", "double", "1e+21"}, {"007", "string", "007"},
	} {
		require.Equal(t, c[2], convert(c[0], c[1]), c)
	}
}

func TestActionOnPatternOfResource(t *testing.T) {
	p := Pipeline{
		Processors: []Program{{Attributes{Resource: true, Actions: []Action{{Kind: Delete, Pattern: regexp.MustCompile("^(server|service.instance)")}}}}},
		Export:     Export{Convert: NewConversion([]string{"*"}, []string{"service.name"})},
	}
	require.Equal(t, `{__name__="x", job="j", url_scheme="http"}`, run(p.Series(), model.Family{}, "__name__", "x", "job", "j", "instance", "h:1", "__scheme__", "http"))
}

func BenchmarkOTelNaming(b *testing.B) {
	p := Pipeline{Export: Export{OTel: true}}.Series()
	base := labels.FromStrings("__name__", "http_request_duration_seconds_bucket", "job", "j", "instance", "i", "le", "0.25", "namespace", "n", "pod", "p", "container", "c")
	builder := labels.NewBuilder(base)
	f := histogram("http_request_duration_seconds")
	b.ReportAllocs()
	for b.Loop() {
		builder.Reset(base)
		if !p.Apply(builder, f) {
			b.Fatal("dropped")
		}
	}
}
