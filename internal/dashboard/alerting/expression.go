package alerting

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// scrapeInterval is what intervals are computed with, as Grafana does where a
// data source names none.
const scrapeInterval = 15 * time.Second

// query is PromQL of a data source with the time that it is about.
type query struct {
	ref, source, expr string
	instant           bool
	span, step        time.Duration
}

// expression is a node that Grafana's server computes.
type expression struct {
	field      string
	Type       string      `json:"type"`
	Expression string      `json:"expression"`
	Reducer    string      `json:"reducer"`
	Conditions []condition `json:"conditions"`
	Settings   struct {
		Mode string `json:"mode"`
	} `json:"settings"`
}

type condition struct {
	Evaluator evaluator  `json:"evaluator"`
	Unload    *evaluator `json:"unloadEvaluator"`
	Operator  struct {
		Type string `json:"type"`
	} `json:"operator"`
	Query struct {
		Params []string `json:"params"`
	} `json:"query"`
	Reducer struct {
		Type string `json:"type"`
	} `json:"reducer"`
}

type evaluator struct {
	Type   string    `json:"type"`
	Params []float64 `json:"params"`
}

// maxQuery bounds what expressions that use each other several times grow to, in bytes.
const maxQuery = 64 << 10

// nodes are the queries and expressions of one rule, by their refId.
type nodes struct {
	queries     map[string]query
	expressions map[string]expression
	carried     map[string]bool // those whose value the condition compares
}

func (r *Rule) nodes() (*nodes, error) {
	n := &nodes{queries: map[string]query{}, expressions: map[string]expression{}, carried: map[string]bool{}}
	for i, q := range r.Data {
		field := fmt.Sprintf("data[%d]", i)
		if q.RefID == "" {
			return nil, wrong(field+".refId", "is missing")
		}
		if _, twice := n.queries[q.RefID]; twice || n.expressions[q.RefID].field != "" {
			return nil, wrong(field+".refId", "%s is there twice", q.RefID)
		}
		if q.DatasourceUID == Expressions || q.DatasourceUID == "-100" {
			e := expression{field: field + ".model"}
			if err := json.Unmarshal(q.Model, &e); err != nil {
				return nil, wrong(e.field, "is no expression: %v", err)
			}
			n.expressions[q.RefID] = e
			continue
		}
		one, err := readQuery(field, q)
		if err != nil {
			return nil, err
		}
		n.queries[q.RefID] = one
	}
	if _, ok := n.queries[r.Condition]; !ok && n.expressions[r.Condition].field == "" {
		return nil, wrong("condition", "found %q, which is the refId of none of data", r.Condition)
	}
	return n, nil
}

func readQuery(field string, q Query) (query, error) {
	var m struct {
		Expr          string  `json:"expr"`
		Instant       bool    `json:"instant"`
		Range         bool    `json:"range"`
		IntervalMs    float64 `json:"intervalMs"`
		MaxDataPoints float64 `json:"maxDataPoints"`
	}
	if err := json.Unmarshal(q.Model, &m); err != nil {
		return query{}, wrong(field+".model", "is no query of Prometheus: %v", err)
	}
	if strings.TrimSpace(m.Expr) == "" {
		return query{}, wrong(field+".model.expr", "is missing: rules are evaluated by Prometheus")
	}
	if q.RelativeTimeRange.To != 0 {
		return query{}, wrong(field+".relativeTimeRange.to", "found %d, allowed is 0: write an offset into the query", q.RelativeTimeRange.To)
	}
	if q.RelativeTimeRange.From < 0 || q.RelativeTimeRange.From > 366*24*3600 {
		return query{}, wrong(field+".relativeTimeRange.from", "found %d, allowed are 0 to a year, in seconds", q.RelativeTimeRange.From)
	}
	span := time.Duration(q.RelativeTimeRange.From) * time.Second
	points := m.MaxDataPoints
	if points < 1 || points > 43200 {
		points = 43200
	}
	step := max(scrapeInterval, time.Duration(min(max(m.IntervalMs, 0), 3.6e6))*time.Millisecond, (span / time.Duration(points)).Truncate(time.Second))
	expr := interpolate(m.Expr, span, step)
	return query{ref: q.RefID, source: q.DatasourceUID, expr: "(\n" + expr + "\n)", instant: m.Instant && !m.Range, span: span, step: step}, nil
}

var builtin = regexp.MustCompile(`\$(?:\{(__[a-z_]+)\}|(__[a-z_]+))`)

// interpolate writes the intervals that Grafana knows into a query.
func interpolate(expr string, span, step time.Duration) string {
	return builtin.ReplaceAllStringFunc(expr, func(s string) string {
		switch strings.Trim(s, "${}") {
		case "__interval":
			return seconds(step)
		case "__interval_ms":
			return strconv.FormatInt(step.Milliseconds(), 10)
		case "__rate_interval":
			return seconds(max(step+scrapeInterval, 4*scrapeInterval))
		case "__range":
			return seconds(span)
		case "__range_s":
			return strconv.FormatInt(int64(span.Seconds()), 10)
		default:
			return s // the workspace says that it does not know it
		}
	})
}

func seconds(d time.Duration) string { return strconv.FormatInt(max(int64(d.Seconds()), 1), 10) + "s" }

// value is the PromQL of a node's number for each series.
func (n *nodes) value(ref string) (string, error) { return n.valueIn(ref, nil) }

// valueIn is value for the nodes within, which lead to this one.
func (n *nodes) valueIn(ref string, within []string) (string, error) {
	if slices.Contains(within, ref) || len(within) > 20 {
		return "", wrong("data", "the expressions %s lead in a circle", strings.Join(append(within, ref), " -> "))
	}
	within = append(slices.Clone(within), ref)
	n.carried[ref] = true
	if q, ok := n.queries[ref]; ok {
		return q.expr, nil
	}
	e := n.expressions[ref]
	switch e.Type {
	case "reduce":
		return n.reduce(e, within)
	case "math":
		return n.math(e, within, false)
	case "":
		return "", wrong("data", "there is no query or expression %q", ref)
	default:
		return "", wrong(e.field+".type", "found %q, allowed are reduce and math, and threshold or classic_conditions as the condition", e.Type)
	}
}

// overTime are reducers with what they are over the points of a range.
var overTime = map[string]string{
	"mean": "avg_over_time", "avg": "avg_over_time", "min": "min_over_time", "max": "max_over_time", "sum": "sum_over_time", "count": "count_over_time",
	"median": "quantile_over_time", "last": "",
}

func (n *nodes) reduce(e expression, within []string) (string, error) {
	ref := strings.Trim(e.Expression, "${} ")
	inner, err := n.valueIn(ref, within)
	if err != nil {
		return "", err
	}
	switch e.Settings.Mode {
	case "", "strict":
	case "dropNN":
		inner = "(" + inner + " >= -Inf)" // NaN is in no order
	default:
		return "", wrong(e.field+".settings.mode", "found %q, allowed are strict and dropNN", e.Settings.Mode)
	}
	return n.reduced(e.field+".reducer", e.Reducer, ref, inner)
}

// reduced makes one number of each series of a query of a range; of others there
// is one already.
func (n *nodes) reduced(field, reducer, ref, inner string) (string, error) {
	fn, known := overTime[reducer]
	if !known {
		return "", wrong(field, "found %q, allowed are last, mean, min, max, sum, count and median", reducer)
	}
	q, isQuery := n.queries[ref]
	if fn == "" || !isQuery || q.instant || q.span == 0 {
		if reducer == "count" {
			return "(" + inner + " * 0 + 1)", nil
		}
		return inner, nil
	}
	span := fmt.Sprintf("(%s)[%s:%s]", inner, seconds(q.span), seconds(q.step))
	if reducer == "median" {
		return fn + "(0.5, " + span + ")", nil
	}
	return fn + "(" + span + ")", nil
}

// mathToken finds the parts of a math expression: a reference, a number, a
// function with its bracket, an operator.
var mathToken = regexp.MustCompile(`^\s*(\$\{[^}]+\}|\$[A-Za-z0-9_]+|[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|[a-z_]+\(|\*\*|&&|\|\||[<>=!]=|[-+*/%<>()])`)

var mathFunction = map[string]string{"abs(": "abs(", "log(": "ln(", "ceil(": "ceil(", "floor(": "floor(", "round(": "round("}

// math translates arithmetic with one query. Two would be matched by labels in
// another way than PromQL's.
//
// Comparisons choose series, as the condition's do.
func (n *nodes) math(e expression, within []string, compares bool) (string, error) {
	out, used, rest := "", "", e.Expression
	for strings.TrimSpace(rest) != "" {
		m := mathToken.FindStringSubmatch(rest)
		if m == nil {
			return "", wrong(e.field+".expression", "cannot be read from %q on", strings.TrimSpace(rest))
		}
		rest = rest[len(m[0]):]
		token := m[1]
		switch {
		case !compares && slices.Contains(comparisons, token):
			return "", wrong(e.field+".expression", "compares: allowed in the condition only")
		case token[0] == '$':
			ref := strings.Trim(token, "${}")
			if used != "" && used != ref {
				return "", wrong(e.field+".expression", "uses $%s and $%s: write one PromQL query that combines them", used, ref)
			}
			inner, err := n.valueIn(ref, within)
			if err != nil {
				return "", err
			}
			used, token = ref, inner
		case token == "**":
			token = "^"
		case token == "&&":
			token = "and"
		case token == "||":
			token = "or"
		case strings.HasSuffix(token, "(") && len(token) > 1:
			if mathFunction[token] == "" {
				return "", wrong(e.field+".expression", "found %s), allowed are abs, log, ceil, floor and round", token)
			}
			token = mathFunction[token]
		}
		if out += token + " "; len(out) > maxQuery {
			return "", wrong(e.field+".expression", "becomes a query of more than %d bytes", maxQuery)
		}
	}
	if used == "" {
		return "", wrong(e.field+".expression", "uses no query")
	}
	return "(" + strings.TrimSpace(out) + ")", nil
}

// comparisons are what chooses series instead of computing numbers.
var comparisons = []string{"<", ">", "==", "!=", "<=", ">=", "&&", "||"}

// condition is PromQL that has a series for each alert.
func (n *nodes) condition(ref string) (string, error) {
	e, isExpression := n.expressions[ref]
	if !isExpression || e.Type == "reduce" {
		value, err := n.value(ref)
		return value + " != 0", err
	}
	switch e.Type {
	case "threshold":
		if len(e.Conditions) != 1 {
			return "", wrong(e.field+".conditions", "found %d, allowed is 1", len(e.Conditions))
		}
		c := e.Conditions[0]
		if c.Unload != nil {
			return "", wrong(e.field+".conditions[0].unloadEvaluator", "a threshold of its own for recovery is not known here: keep_firing_for keeps an alert from flapping")
		}
		value, err := n.valueIn(strings.Trim(e.Expression, "${} "), []string{ref})
		if err != nil {
			return "", err
		}
		return c.Evaluator.compare(e.field+".conditions[0].evaluator", value)
	case "classic_conditions":
		return n.classic(e, ref)
	case "math":
		value, err := n.math(e, []string{ref}, true)
		if err == nil && !strings.ContainsAny(e.Expression, "<>=") {
			value += " != 0"
		}
		return value, err
	default:
		return "", wrong(e.field+".type", "found %q, allowed as a condition are threshold, classic_conditions, math and reduce", e.Type)
	}
}

// classic is one alert without labels for all series together.
func (n *nodes) classic(e expression, ref string) (string, error) {
	out := ""
	for i, c := range e.Conditions {
		field := fmt.Sprintf("%s.conditions[%d]", e.field, i)
		if len(c.Query.Params) == 0 {
			return "", wrong(field+".query.params", "names no query")
		}
		value, err := n.valueIn(c.Query.Params[0], []string{ref})
		if err != nil {
			return "", err
		}
		if value, err = n.reduced(field+".reducer.type", c.Reducer.Type, c.Query.Params[0], value); err != nil {
			return "", err
		}
		if value, err = c.Evaluator.compare(field+".evaluator", value); err != nil {
			return "", err
		}
		switch value = "group(" + value + ")"; {
		case i == 0:
			out = value
		case c.Operator.Type == "or":
			out = "(" + out + " or " + value + ")"
		default:
			out = "(" + out + " and " + value + ")"
		}
		if len(out) > maxQuery {
			return "", wrong(e.field+".conditions", "become a query of more than %d bytes", maxQuery)
		}
	}
	if out == "" {
		return "", wrong(e.field+".conditions", "there is none")
	}
	return out, nil
}

func (v evaluator) compare(field, value string) (string, error) {
	one := map[string]string{"gt": ">", "lt": "<", "eq": "==", "ne": "!=", "gte": ">=", "lte": "<="}
	two := map[string][3]string{
		"within_range": {">", "and", "<"}, "within_range_included": {">=", "and", "<="},
		"outside_range": {"<", "or", ">"}, "outside_range_included": {"<=", "or", ">="},
	}
	need := 1
	if _, ok := two[v.Type]; ok {
		need = 2
	} else if one[v.Type] == "" {
		return "", wrong(field+".type", "found %q, allowed are gt, lt, eq, ne, gte, lte, within_range, outside_range and both with _included", v.Type)
	}
	if len(v.Params) < need {
		return "", wrong(field+".params", "found %d numbers, %s needs %d", len(v.Params), v.Type, need)
	}
	number := func(i int) string { return strconv.FormatFloat(v.Params[i], 'g', -1, 64) }
	if need == 1 {
		return value + " " + one[v.Type] + " " + number(0), nil
	}
	low, high := 0, 1
	if v.Params[0] > v.Params[1] {
		low, high = 1, 0
	}
	o := two[v.Type]
	return fmt.Sprintf("(%s %s %s) %s (%s %s %s)", value, o[0], number(low), o[1], value, o[2], number(high)), nil
}
