package query

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"net/url"
	"os"
	"strconv"
	"testing"
	"text/template"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/teststorage"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v2"
)

// variants are what the templates of the compliance suite are filled with.
var variants = map[string][]string{
	"range": {"1s", "15s", "1m", "5m", "15m", "1h"}, "offset": {"1m", "5m", "10m"},
	"simpleAggrOp":     {"sum", "avg", "max", "min", "count", "stddev", "stdvar"},
	"simpleTimeAggrOp": {"sum", "avg", "max", "min", "count", "stddev", "stdvar", "absent", "last"},
	"topBottomOp":      {"topk", "bottomk"},
	"quantile":         {"-0.5", "0.1", "0.5", "0.75", "0.95", "0.90", "0.99", "1", "1.5"},
	"arithBinOp":       {"+", "-", "*", "/", "%", "^"}, "compBinOp": {"==", "!=", "<", ">", "<=", ">="},
	"binOp":                {"+", "-", "*", "/", "%", "^", "==", "!=", "<", ">", "<=", ">="},
	"simpleMathFunc":       {"abs", "ceil", "floor", "exp", "sqrt", "ln", "log2", "log10", "round"},
	"extrapolatedRateFunc": {"delta", "rate", "increase"}, "clampFunc": {"clamp_min", "clamp_max"}, "instantRateFunc": {"idelta", "irate"},
	"dateFunc": {"day_of_month", "day_of_week", "days_in_month", "hour", "minute", "month", "year"},
}

// Prometheus' compliance suite for PromQL, which is no Go module to be had: the
// file of its queries is named by MANGRU_PROMQL_COMPLIANCE. The suite compares
// with a Prometheus that has the same data; so does this, over HTTP.
func TestCompliance(t *testing.T) {
	file := os.Getenv("MANGRU_PROMQL_COMPLIANCE")
	if file == "" {
		t.Skip("MANGRU_PROMQL_COMPLIANCE is not set to promql-test-queries.yml of github.com/prometheus/compliance")
	}
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	var suite struct {
		TestCases []struct {
			Query       string   `yaml:"query"`
			VariantArgs []string `yaml:"variant_args"`
			ShouldFail  bool     `yaml:"should_fail"`
		} `yaml:"test_cases"`
	}
	require.NoError(t, yaml.Unmarshal(text, &suite))
	p := newPair(t, parser.Options{})
	p.use(demo(t))
	passed, withResult := 0, 0
	for _, c := range suite.TestCases {
		for _, expr := range expand(t, c.Query, c.VariantArgs, nil) {
			for step := range []int{0, 1} {
				path, query := "/query_range", url.Values{"query": {expr}, "start": {"3600"}, "end": {"4200"}, "step": {"10"}}
				if step == 1 {
					path, query = "/query", url.Values{"query": {expr}, "time": {"4000"}}
				}
				p.compare(t, path, query)
				ours, _ := p.ask(t, path, query.Encode())
				if path == "/query_range" && c.ShouldFail != (ours.Code != 200) {
					// Names of labels may be anything nowadays, in Prometheus too.
					t.Logf("the suite expects failure: %t, both answer %d: %s", c.ShouldFail, ours.Code, expr)
				}
				if bytes.Contains(ours.Body.Bytes(), []byte(`"value`)) {
					withResult++
				}
				passed++
			}
		}
	}
	t.Logf("%d of %d passed, %d had a result", passed, passed, withResult)
	require.Greater(t, passed, 1000)
	require.Greater(t, withResult, passed/2)
}

func expand(t *testing.T, query string, args []string, with map[string]string) (out []string) {
	if len(args) == 0 {
		var b bytes.Buffer
		require.NoError(t, template.Must(template.New("").Option("missingkey=error").Parse(query)).Execute(&b, with))
		return []string{b.String()}
	}
	require.NotEmpty(t, variants[args[0]], args[0])
	for _, v := range variants[args[0]] {
		next := map[string]string{args[0]: v}
		for k, v := range with {
			next[k] = v
		}
		out = append(out, expand(t, query, args[1:], next)...)
	}
	return out
}

// demo has metrics like those of the suite's demo service, for 75 minutes.
func demo(t *testing.T) *teststorage.TestStorage {
	st := teststorage.New(t)
	t.Cleanup(func() { _ = st.Close() })
	app := st.Appender(context.Background())
	add := func(app storage.Appender, at int, v float64, name, instance string, more ...string) {
		_, err := app.Append(0, labels.FromStrings(append([]string{model.MetricNameLabel, name, "instance", instance, "job", "demo"}, more...)...), int64(at)*1000, v)
		require.NoError(t, err)
	}
	for at := 0; at < 75*60; at += 5 {
		x := float64(at)
		for i := range 3 {
			instance := fmt.Sprintf("demo.promlabs.com:1000%d", i)
			add(app, at, 4, "demo_num_cpus", instance)
			add(app, at, x-float64(at%60), "demo_batch_last_success_timestamp_seconds", instance)
			add(app, at, 1e10+x*float64(i+1), "demo_disk_usage_bytes", instance)
			if at/60%3 != i {
				add(app, at, 1, "demo_intermittent_metric", instance)
			}
			for j, mode := range []string{"idle", "system", "user"} {
				add(app, at, x*(0.3+0.2*float64(j)), "demo_cpu_usage_seconds_total", instance, "mode", mode)
			}
			for j, typ := range []string{"buffers", "cached", "free", "used"} {
				add(app, at, 1e9*float64(j+1)+1e7*math.Sin(x/60+float64(i)), "demo_memory_usage_bytes", instance, "type", typ)
			}
			for j, le := range []string{"0.0001", "0.001", "0.01", "0.1", "1", "+Inf"} {
				for k, status := range []string{"200", "500"} {
					add(app, at, float64(at*(j+1)/(k+1)), "demo_api_request_duration_seconds_bucket", instance, "le", le, "method", "GET", "path", "/api/foo", "status", status)
				}
			}
			add(app, at, x*3, "demo_api_request_duration_seconds_count", instance, "method", "GET", "status", strconv.Itoa(200+i))
		}
	}
	require.NoError(t, app.Commit())
	return st
}
