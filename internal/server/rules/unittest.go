package rules

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	promrules "github.com/prometheus/prometheus/rules"
	"gopkg.in/yaml.v3"
)

// TestResult is what tests of rules came to.
type TestResult struct {
	Tests    int
	Failures []string
}

// testFile is a file of unit tests of rules as promtool has them.
type testFile struct {
	RuleFiles          []string       `yaml:"rule_files"`
	EvaluationInterval model.Duration `yaml:"evaluation_interval"`
	GroupEvalOrder     []string       `yaml:"group_eval_order"`
	Tests              []testGroup    `yaml:"tests"`
	FuzzyCompare       bool           `yaml:"fuzzy_compare"`
}

type testGroup struct {
	Interval       model.Duration    `yaml:"interval"`
	InputSeries    []inputSeries     `yaml:"input_series"`
	AlertTests     []alertTest       `yaml:"alert_rule_test"`
	ExprTests      []exprTest        `yaml:"promql_expr_test"`
	ExternalLabels map[string]string `yaml:"external_labels"`
	ExternalURL    string            `yaml:"external_url"`
	Name           string            `yaml:"name"`
	Start          string            `yaml:"start_timestamp"`
}

type inputSeries struct {
	Series string `yaml:"series"`
	Values string `yaml:"values"`
}

type alertTest struct {
	EvalTime  model.Duration  `yaml:"eval_time"`
	Alertname string          `yaml:"alertname"`
	ExpAlerts []expectedAlert `yaml:"exp_alerts"`
}

type expectedAlert struct {
	Labels      map[string]string `yaml:"exp_labels"`
	Annotations map[string]string `yaml:"exp_annotations"`
}

type exprTest struct {
	Expr       string           `yaml:"expr"`
	EvalTime   model.Duration   `yaml:"eval_time"`
	ExpSamples []expectedSample `yaml:"exp_samples"`
}

type expectedSample struct {
	Labels    string  `yaml:"labels"`
	Value     float64 `yaml:"value"`
	Histogram string  `yaml:"histogram"`
}

// Test runs the unit tests in a file, which has promtool's format. With run only
// tests whose name one of its regular expressions matches are run.
func Test(ctx context.Context, file string, run []string) (*TestResult, error) {
	f, files, err := readTests(file)
	if err != nil {
		return nil, err
	}
	only, err := namePattern(run)
	if err != nil {
		return nil, err
	}
	out := new(TestResult)
	for i := range f.Tests {
		g := &f.Tests[i]
		name := g.Name
		if name == "" {
			name = "tests[" + strconv.Itoa(i) + "]"
		}
		if only != nil && !only.MatchString(g.Name) {
			continue
		}
		out.Tests++
		t, err := newGroupTest(ctx, f, g, files)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		for _, failure := range t.run(ctx) {
			out.Failures = append(out.Failures, name+": "+failure)
		}
	}
	return out, nil
}

func namePattern(run []string) (*regexp.Regexp, error) {
	if len(run) == 0 {
		return nil, nil
	}
	re, err := regexp.Compile("(" + strings.Join(run, ")|(") + ")")
	if err != nil {
		return nil, fmt.Errorf("names of tests: %w", err)
	}
	return re, nil
}

func readTests(file string) (*testFile, []string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, nil, err
	}
	f := &testFile{EvaluationInterval: model.Duration(time.Minute)}
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(f); err != nil && !errors.Is(err, io.EOF) {
		return nil, nil, err
	}
	if f.EvaluationInterval <= 0 {
		f.EvaluationInterval = model.Duration(time.Minute)
	}
	var files []string
	for _, pattern := range f.RuleFiles {
		if !filepath.IsAbs(pattern) {
			pattern = filepath.Join(filepath.Dir(file), pattern)
		}
		found, err := filepath.Glob(pattern)
		if err != nil {
			return nil, nil, fmt.Errorf("rule_files: %s: %w", pattern, err)
		}
		if len(found) == 0 {
			return nil, nil, fmt.Errorf("rule_files: no file is %s", pattern)
		}
		files = append(files, found...)
	}
	return f, files, nil
}

// groupTest is one test with its samples and rules.
type groupTest struct {
	*testGroup
	file   *testFile
	start  time.Time
	store  *testStore
	engine *promql.Engine
	groups []*promrules.Group
	parser parser.Parser
}

// maxTestSamples bounds what a query of a test may hold.
const maxTestSamples = 10_000_000

func newGroupTest(ctx context.Context, f *testFile, g *testGroup, files []string) (*groupTest, error) {
	if g.Interval <= 0 {
		g.Interval = model.Duration(time.Minute)
	}
	t := &groupTest{testGroup: g, file: f, start: time.Unix(0, 0).UTC(), store: newTestStore(),
		parser: parser.NewParser(parser.Options{})}
	var err error
	if g.Start != "" {
		if t.start, err = parseStart(g.Start); err != nil {
			return nil, err
		}
	}
	for _, s := range g.InputSeries {
		if err := t.load(s); err != nil {
			return nil, fmt.Errorf("input_series %s: %w", s.Series, err)
		}
	}
	every := time.Duration(f.EvaluationInterval)
	t.engine = promql.NewEngine(promql.EngineOpts{MaxSamples: maxTestSamples, Timeout: time.Minute, EnableAtModifier: true, EnableNegativeOffset: true,
		NoStepSubqueryIntervalFn: func(int64) int64 { return every.Milliseconds() }, Parser: t.parser})
	m := promrules.NewManager(&promrules.ManagerOptions{QueryFunc: promrules.EngineQueryFunc(t.engine, t.store),
		Appendable: t.store, Queryable: t.store, Context: ctx, Logger: slog.New(slog.DiscardHandler),
		NotifyFunc: func(context.Context, string, ...*promrules.Alert) {}, Parser: t.parser})
	groups, errs := m.LoadGroups(time.Duration(g.Interval), labels.FromMap(g.ExternalLabels), g.ExternalURL, nil, false, files...)
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	t.order(groups)
	return t, nil
}

func parseStart(text string) (time.Time, error) {
	if n, err := strconv.ParseFloat(text, 64); err == nil {
		return time.UnixMilli(int64(n * 1000)).UTC(), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return at, fmt.Errorf("start_timestamp: found %q, expected a time such as 2026-01-02T15:04:05Z or seconds", text)
	}
	return at.UTC(), nil
}

// load puts the samples of a series where rules find them.
func (t *groupTest) load(s inputSeries) error {
	l, values, err := t.parser.ParseSeriesDesc(s.Series + " " + s.Values)
	if err != nil {
		return err
	}
	at := t.start.UnixMilli()
	for _, v := range values {
		if !v.Omitted {
			t.store.add(l, sample{at, v.Value, v.Histogram})
		}
		at += time.Duration(t.Interval).Milliseconds()
	}
	return nil
}

// order keeps the groups in the order in which they are to be evaluated.
func (t *groupTest) order(groups map[string]*promrules.Group) {
	place := make(map[string]int)
	for i, name := range t.file.GroupEvalOrder {
		place[name] = i
	}
	for _, g := range groups {
		t.groups = append(t.groups, g)
		for _, r := range g.Rules() {
			if a, ok := r.(*promrules.AlertingRule); ok {
				a.SetRestored(true) // there is no state of an earlier life
			}
		}
	}
	slices.SortFunc(t.groups, func(a, b *promrules.Group) int {
		if d := place[a.Name()] - place[b.Name()]; d != 0 {
			return d
		}
		return strings.Compare(promrules.GroupKey(a.File(), a.Name()), promrules.GroupKey(b.File(), b.Name()))
	})
}

// run evaluates the rules and returns what is not as it should be.
func (t *groupTest) run(ctx context.Context) (failures []string) {
	last := time.Duration(0)
	for _, a := range t.AlertTests {
		last = max(last, time.Duration(a.EvalTime))
	}
	for _, e := range t.ExprTests {
		last = max(last, time.Duration(e.EvalTime))
	}
	every := time.Duration(t.file.EvaluationInterval)
	for at := time.Duration(0); at <= last; at += every {
		if err := ctx.Err(); err != nil {
			return append(failures, err.Error())
		}
		for _, g := range t.groups {
			g.Eval(ctx, t.start.Add(at))
			for _, r := range g.Rules() {
				if err := r.LastError(); err != nil {
					failures = append(failures, fmt.Sprintf("rule %s at %s: %v", r.Name(), at, err))
				}
			}
		}
		for _, a := range t.AlertTests {
			if when := time.Duration(a.EvalTime); when >= at && when < at+every {
				failures = append(failures, t.checkAlerts(&a)...)
			}
		}
	}
	for _, e := range t.ExprTests {
		failures = append(failures, t.checkExpr(ctx, &e)...)
	}
	return failures
}

// checkAlerts compares the alerts that fire now with those that should.
func (t *groupTest) checkAlerts(a *alertTest) []string {
	if a.Alertname == "" {
		return []string{fmt.Sprintf("alert_rule_test at %s: alertname is required", a.EvalTime)}
	}
	var got, want []string
	for _, g := range t.groups {
		for _, r := range g.Rules() {
			rule, ok := r.(*promrules.AlertingRule)
			if !ok || rule.Name() != a.Alertname {
				continue
			}
			for _, alert := range rule.ActiveAlerts() {
				if alert.State == promrules.StateFiring {
					got = append(got, alert.Labels.String()+" "+alert.Annotations.String())
				}
			}
		}
	}
	for _, e := range a.ExpAlerts {
		l := map[string]string{labels.AlertName: a.Alertname}
		for k, v := range e.Labels {
			l[k] = v
		}
		want = append(want, labels.FromMap(l).String()+" "+labels.FromMap(e.Annotations).String())
	}
	return differ(fmt.Sprintf("alertname: %s, time: %s", a.Alertname, a.EvalTime), want, got)
}

// differ says how two lists, in no order, differ.
func differ(what string, want, got []string) []string {
	slices.Sort(want)
	slices.Sort(got)
	if slices.Equal(want, got) {
		return nil
	}
	show := func(list []string) string {
		if len(list) == 0 {
			return " nothing"
		}
		return "\n    " + strings.Join(list, "\n    ")
	}
	return []string{fmt.Sprintf("%s\n  expected:%s\n  got:%s", what, show(want), show(got))}
}

// checkExpr compares the result of a query with what it should be.
func (t *groupTest) checkExpr(ctx context.Context, e *exprTest) []string {
	what := fmt.Sprintf("expr: %q, time: %s", e.Expr, e.EvalTime)
	q, err := t.engine.NewInstantQuery(ctx, t.store, nil, e.Expr, t.start.Add(time.Duration(e.EvalTime)))
	if err != nil {
		return []string{fmt.Sprintf("%s: %v", what, err)}
	}
	defer q.Close()
	res := q.Exec(ctx)
	if res.Err != nil {
		return []string{fmt.Sprintf("%s: %v", what, res.Err)}
	}
	var got []promql.Sample
	switch v := res.Value.(type) {
	case promql.Vector:
		got = v
	case promql.Scalar:
		got = []promql.Sample{{T: v.T, F: v.V, Metric: labels.EmptyLabels()}}
	default:
		return []string{fmt.Sprintf("%s: the result is a %s, expected a vector or a scalar", what, res.Value.Type())}
	}
	want, err := t.expected(e)
	if err != nil {
		return []string{fmt.Sprintf("%s: %v", what, err)}
	}
	if t.same(want, got) {
		return nil
	}
	return differ(what, lines(want), lines(got))
}

func lines(samples []promql.Sample) (out []string) {
	for _, s := range samples {
		value := strconv.FormatFloat(s.F, 'g', -1, 64)
		if s.H != nil {
			value = s.H.TestExpression()
		}
		out = append(out, s.Metric.String()+" "+value)
	}
	return out
}

func (t *groupTest) expected(e *exprTest) (out []promql.Sample, err error) {
	for _, s := range e.ExpSamples {
		w := promql.Sample{F: s.Value}
		if w.Metric, err = t.parser.ParseMetric(s.Labels); err != nil {
			return nil, fmt.Errorf("labels %q: %w", s.Labels, err)
		}
		if s.Histogram != "" {
			_, values, err := t.parser.ParseSeriesDesc("{} " + s.Histogram)
			if err != nil {
				return nil, fmt.Errorf("histogram %q: %w", s.Histogram, err)
			}
			if len(values) != 1 || values[0].Histogram == nil {
				return nil, fmt.Errorf("histogram %q: expected one histogram such as {{schema:0 count:1 sum:2 buckets:[1]}}", s.Histogram)
			}
			w.F, w.H = 0, values[0].Histogram
		}
		out = append(out, w)
	}
	return out, nil
}

// same compares results in no order. Where the file says so, numbers may differ
// by the last bit.
func (t *groupTest) same(want, got []promql.Sample) bool {
	if len(want) != len(got) {
		return false
	}
	byLabels := func(a, b promql.Sample) int { return labels.Compare(a.Metric, b.Metric) }
	slices.SortFunc(want, byLabels)
	slices.SortFunc(got, byLabels)
	return slices.EqualFunc(want, got, func(a, b promql.Sample) bool {
		return labels.Equal(a.Metric, b.Metric) && t.close(a.F, b.F) && sameHistogram(a.H, b.H)
	})
}

func (t *groupTest) close(a, b float64) bool {
	if a == b || math.IsNaN(a) && math.IsNaN(b) {
		return true
	}
	return t.file.FuzzyCompare && (math.Nextafter(a, math.Inf(-1)) == b || math.Nextafter(a, math.Inf(1)) == b)
}

func sameHistogram(a, b *histogram.FloatHistogram) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Compact(0).TestExpression() == b.Compact(0).TestExpression()
}
