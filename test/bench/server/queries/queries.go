// Package queries lists what is asked of a database: the panels of dashboards,
// and queries that people and programs commonly have.
package queries

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/grafana/regexp"
	"github.com/prometheus/prometheus/promql/parser"
)

// Query is an expression and where it is from.
type Query struct {
	Source string
	Expr   string
	// Instant queries are asked for the end of the time range only.
	Instant bool
}

// Heavy are queries that touch a great part of a cluster's series: some a
// hundred thousand and more.
var Heavy = []Query{
	{Source: "heavy", Expr: `sum by (service) (rate(http_request_duration_seconds_bucket[5m]))`},
	{Source: "heavy", Expr: `histogram_quantile(0.99, sum by (le, service) (rate(http_request_duration_seconds_bucket[5m])))`},
	{Source: "heavy", Expr: `sum by (job, instance) ({__name__=~"container_.+|node_.+"})`},
	{Source: "heavy", Expr: `max by (job) (last_over_time({__name__=~"kube_.+|kubelet_.+"}[10m]))`},
	{Source: "heavy", Expr: `count by (__name__) ({job="kubelet"})`},
	{Source: "heavy", Expr: `histogram_quantile(0.9, rate(kubelet_runtime_operations_duration_seconds_bucket[5m]))`},
	{Source: "heavy", Expr: `histogram_quantile(0.99, sum by (le, verb, resource) (rate(apiserver_request_duration_seconds_bucket[5m])))`},
	{Source: "heavy", Expr: `topk(10, sum by (pod, handler) (increase(http_request_duration_seconds_bucket{le="+Inf"}[10m])))`},
	{Source: "heavy", Expr: `avg by (namespace) (avg_over_time(container_memory_working_set_bytes[30m]))`},
	{Source: "heavy", Expr: `sum by (namespace) (rate(container_cpu_usage_seconds_total[5m]))`},
}

// Typical are queries as in alerts, mixins and explorations.
var Typical = []Query{
	{Source: "typical", Expr: `up`},
	{Source: "typical", Expr: `node_load1`},
	{Source: "typical", Expr: `sum(kube_pod_info)`},
	{Source: "typical", Expr: `count by (namespace) (kube_pod_info)`},
	{Source: "typical", Expr: `rate(node_cpu_seconds_total{mode="idle"}[5m])`},
	{Source: "typical", Expr: `1 - avg by (instance) (rate(node_cpu_seconds_total{mode="idle"}[5m]))`},
	{Source: "typical", Expr: `sum by (mode) (irate(node_cpu_seconds_total[2m]))`},
	{Source: "typical", Expr: `100 * (1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes)`},
	{Source: "typical", Expr: `topk(5, sum by (namespace, pod) (rate(container_cpu_usage_seconds_total{container!=""}[5m])))`},
	{Source: "typical", Expr: `sum by (pod) (container_memory_working_set_bytes{namespace="default", container!=""}) / 1024 / 1024`},
	{Source: "typical", Expr: `sum by (code) (rate(apiserver_request_total[5m]))`},
	{Source: "typical", Expr: `sum(rate(apiserver_request_total{code=~"5.."}[5m])) / sum(rate(apiserver_request_total[5m]))`},
	{Source: "typical", Expr: `quantile(0.95, rate(container_cpu_usage_seconds_total[5m]))`},
	{Source: "typical", Expr: `avg_over_time(node_load5[1h])`},
	{Source: "typical", Expr: `max_over_time(sum by (instance) (node_load1)[30m:1m])`},
	{Source: "typical", Expr: `predict_linear(node_filesystem_avail_bytes[1h], 4 * 3600) < 0`},
	{Source: "typical", Expr: `changes(kube_pod_status_ready[1h]) > 2`},
	{Source: "typical", Expr: `absent(up{job="none"})`},
	{Source: "typical", Expr: `sum by (node) (kube_pod_container_resource_requests{resource="cpu"}) / on (node) group_left () kube_node_status_allocatable{resource="cpu"}`},
	{Source: "typical", Expr: `sum by (phase) (kube_pod_status_phase)`},
	{Source: "typical", Expr: `delta(node_memory_MemFree_bytes[10m])`},
	{Source: "typical", Expr: `sum by (namespace) (kube_pod_container_resource_limits * on (namespace, pod) group_left () (kube_pod_status_phase{phase="Running"} == 1))`},
	{Source: "typical", Expr: `stddev by (job) (scrape_duration_seconds or process_resident_memory_bytes)`},
	{Source: "typical", Expr: `sum by (node) (rate(container_network_receive_bytes_total[5m] offset 30m))`},
	{Source: "typical", Expr: `histogram_quantile(0.5, rate(apiserver_request_duration_seconds_bucket{verb="LIST"}[5m]))`},
	{Source: "typical", Expr: `sum by (instance) (process_resident_memory_bytes)`, Instant: true},
	{Source: "typical", Expr: `kube_pod_info`, Instant: true},
	{Source: "typical", Expr: `topk(10, count by (__name__) ({__name__=~".+"}))`, Instant: true},
	{Source: "typical", Expr: `sum by (job) (rate({__name__=~".+_total"}[5m]))`, Instant: true},
}

// Boards returns the expressions of the panels of all dashboards, JSON files, in
// a folder, each once, and how many could not be read as PromQL.
func Boards(files fs.FS) (out []Query, unreadable int, err error) {
	names, err := fs.Glob(files, "*.json")
	if err != nil {
		return nil, 0, err
	}
	p := parser.NewParser(parser.Options{})
	seen := map[string]bool{}
	for _, name := range names {
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, 0, err
		}
		var board any
		if err := json.Unmarshal(text, &board); err != nil {
			return nil, 0, fmt.Errorf("%s: %w", name, err)
		}
		targets(board, func(expr string, instant bool) {
			expr = fill(expr)
			if expr == "" || seen[expr] {
				return
			}
			seen[expr] = true
			if _, err := p.ParseExpr(expr); err != nil {
				unreadable++
				return
			}
			out = append(out, Query{strings.TrimSuffix(path.Base(name), ".json"), expr, instant})
		})
	}
	return out, unreadable, nil
}

// targets finds everything in a dashboard that has an expression.
func targets(node any, f func(expr string, instant bool)) {
	switch n := node.(type) {
	case map[string]any:
		if expr, ok := n["expr"].(string); ok {
			instant, _ := n["instant"].(bool)
			f(expr, instant)
		}
		// In order, so that a list is the same each time.
		keys := make([]string, 0, len(n))
		for k := range n {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		for _, k := range keys {
			targets(n[k], f)
		}
	case []any:
		for _, v := range n {
			targets(v, f)
		}
	}
}

// known are the variables that have a meaning; all others match everything.
var known = map[string]string{
	"cluster": "bench", "namespace": "default", "__rate_interval": "2m", "__interval": "1m", "__range": "6h",
	"interval": "5m", "resolution": "5m", "rate_interval": "5m", "window": "5m", "range": "1h", "__range_s": "21600",
	"__interval_ms": "60000", "__range_ms": "21600000", "topk": "5", "limit": "5", "quantile": "0.99", "percentile": "0.99",
}

var (
	variable = regexp.MustCompile(`\$\{?(\w+)(?::\w+)?\}?|\[\[(\w+)\]\]`)
	equals   = regexp.MustCompile(`(!?)=~?\s*("[^"]*\$[^"]*"|'[^']*\$[^']*')`)
	ranges   = regexp.MustCompile(`\[\s*\$\{?\w+(:\w+)?\}?\s*(:[^\]]*)?\]`)
)

// fill gives values to the variables of a panel: everything is selected.
func fill(expr string) string {
	name := func(v string) string {
		m := variable.FindStringSubmatch(v)
		return m[1] + m[2]
	}
	expr = ranges.ReplaceAllStringFunc(expr, func(r string) string {
		return variable.ReplaceAllStringFunc(r, func(v string) string {
			if k, ok := known[name(v)]; ok {
				return k
			}
			return "5m"
		})
	})
	expr = equals.ReplaceAllStringFunc(expr, func(m string) string {
		inner := strings.Trim(strings.TrimLeft(m, "!=~ "), `"'`)
		value := variable.ReplaceAllStringFunc(inner, func(v string) string {
			if n := name(v); n == "cluster" || n == "namespace" {
				return known[n]
			}
			return ".*"
		})
		op := "=~"
		if strings.HasPrefix(m, "!") {
			// Everything but everything is nothing: a panel that leaves out what
			// is chosen has chosen something that is not there.
			op, value = "!~", strings.ReplaceAll(value, ".*", "none")
		}
		return op + `"` + value + `"`
	})
	return strings.TrimSpace(variable.ReplaceAllStringFunc(expr, func(v string) string {
		if k, ok := known[name(v)]; ok {
			return k
		}
		return "1"
	}))
}
