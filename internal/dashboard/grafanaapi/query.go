package grafanaapi

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"

	"github.com/mangru/mangru/internal/dashboard/records"
)

// maxQueries bounds how many queries one request may have.
const maxQueries = 100

// panelQuery is one query of /api/ds/query.
type panelQuery struct {
	RefID      string `json:"refId"`
	Datasource struct {
		UID  string `json:"uid"`
		Type string `json:"type"`
	} `json:"datasource"`
	DatasourceID  int64   `json:"datasourceId"`
	Expr          string  `json:"expr"`
	Range         *bool   `json:"range"`
	Instant       bool    `json:"instant"`
	LegendFormat  string  `json:"legendFormat"`
	Format        string  `json:"format"`
	Interval      string  `json:"interval"`
	IntervalMs    float64 `json:"intervalMs"`
	MaxDataPoints float64 `json:"maxDataPoints"`
	Hide          bool    `json:"hide"`
}

type frameField struct {
	Name     string            `json:"name"`
	Type     string            `json:"type"`
	TypeInfo map[string]any    `json:"typeInfo"`
	Labels   map[string]string `json:"labels,omitempty"`
	Config   map[string]any    `json:"config,omitempty"`
}

type frame struct {
	Schema struct {
		RefID  string         `json:"refId"`
		Name   string         `json:"name,omitempty"`
		Meta   map[string]any `json:"meta"`
		Fields []frameField   `json:"fields"`
	} `json:"schema"`
	Data struct {
		Values   []any `json:"values"`
		Entities []any `json:"entities,omitempty"`
	} `json:"data"`
}

type queryResult struct {
	Status      int     `json:"status"`
	Error       string  `json:"error,omitempty"`
	ErrorSource string  `json:"errorSource,omitempty"`
	Frames      []frame `json:"frames"`
}

// queryFrames runs queries and answers data frames, Grafana's own form.
func (a *api) queryFrames(c *call) (any, error) {
	var in struct {
		Queries  []panelQuery `json:"queries"`
		From, To string
	}
	if err := c.body(&in); err != nil {
		return nil, err
	}
	if len(in.Queries) == 0 {
		return nil, fail(http.StatusBadRequest, "no queries found")
	}
	if len(in.Queries) > maxQueries {
		return nil, fail(http.StatusBadRequest, fmt.Sprintf("too many queries: found %d, allowed are %d", len(in.Queries), maxQueries))
	}
	now := time.Now()
	from, err := parseMoment(in.From, now, false)
	if err != nil {
		return nil, fail(http.StatusBadRequest, "from: "+err.Error())
	}
	to, err := parseMoment(in.To, now, true)
	if err != nil {
		return nil, fail(http.StatusBadRequest, "to: "+err.Error())
	}
	results, status := map[string]queryResult{}, http.StatusOK
	for _, q := range in.Queries {
		if q.RefID == "" {
			q.RefID = "A"
		}
		r := a.runQuery(c, q, from, to)
		if r.Error != "" {
			status = http.StatusBadRequest
		}
		results[q.RefID] = r
	}
	return reply{status, map[string]any{"results": results}}, nil
}

func failed(status int, text string) queryResult {
	return queryResult{Status: status, Error: text, ErrorSource: "downstream", Frames: []frame{}}
}

func (a *api) runQuery(c *call, q panelQuery, from, to time.Time) queryResult {
	d, err := a.Store.DataSource(c.Context(), c.ws, q.Datasource.UID)
	if err != nil && q.DatasourceID != 0 {
		d, err = a.Store.DataSourceByID(c.Context(), c.ws, strconv.FormatInt(q.DatasourceID, 10))
	}
	if err != nil {
		return failed(http.StatusNotFound, "Data source not found: "+q.Datasource.UID)
	}
	if strings.TrimSpace(q.Expr) == "" {
		return failed(http.StatusBadRequest, "query "+q.RefID+" has no expression")
	}
	step := queryStep(q, d, to.Sub(from))
	expr := expandMacros(q.Expr, step, scrapeInterval(d), to.Sub(from))
	out := queryResult{Status: http.StatusOK, Frames: []frame{}}
	if !q.Instant || (q.Range != nil && *q.Range) {
		// Aligned to the step, so that a refresh asks for the same points.
		start, end := from.Truncate(step), to.Truncate(step)
		form := map[string]string{"query": expr, "start": unix(start), "end": unix(end), "step": strconv.FormatFloat(step.Seconds(), 'f', -1, 64)}
		if err := a.addFrames(c, d, "query_range", form, q, step, &out); err != nil {
			return *err
		}
	}
	if q.Instant {
		if err := a.addFrames(c, d, "query", map[string]string{"query": expr, "time": unix(to)}, q, step, &out); err != nil {
			return *err
		}
	}
	return out
}

func unix(t time.Time) string { return strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', -1, 64) }

func (a *api) addFrames(c *call, d *records.DataSource, op string, form map[string]string, q panelQuery, step time.Duration, out *queryResult) *queryResult {
	status, body, err := a.Sources.Query(c.Context(), d, op, form)
	if err != nil {
		r := failed(http.StatusBadGateway, err.Error())
		return &r
	}
	var answer struct {
		Status, Error, ErrorType string
		Warnings                 []string
		Data                     struct {
			ResultType string
			Result     json.RawMessage
		}
	}
	if err := json.Unmarshal(body, &answer); err != nil || answer.Status == "" {
		r := failed(http.StatusBadGateway, fmt.Sprintf("the data source answered %d and no JSON", status))
		return &r
	}
	if answer.Status != "success" {
		r := failed(status, answer.ErrorType+": "+answer.Error)
		return &r
	}
	series, err := readSeries(answer.Data.ResultType, answer.Data.Result)
	if err != nil {
		r := failed(http.StatusBadGateway, err.Error())
		return &r
	}
	for _, s := range series {
		f := s.frame(q, step, answer.Data.ResultType, form["query"])
		if len(answer.Warnings) > 0 {
			notices := make([]map[string]string, 0, len(answer.Warnings))
			for _, w := range answer.Warnings {
				notices = append(notices, map[string]string{"severity": "warning", "text": w})
			}
			f.Schema.Meta["notices"] = notices
		}
		out.Frames = append(out.Frames, f)
	}
	return nil
}

// point is a sample as Prometheus' API writes it: [seconds, "value"].
type point [2]json.RawMessage

type apiSeries struct {
	Metric map[string]string `json:"metric"`
	Value  *point            `json:"value"`
	Values []point           `json:"values"`
}

func readSeries(kind string, raw json.RawMessage) ([]apiSeries, error) {
	switch kind {
	case "matrix", "vector":
		var list []apiSeries
		if err := json.Unmarshal(raw, &list); err != nil {
			return nil, fmt.Errorf("the answer is not a %s: %w", kind, err)
		}
		for i := range list {
			if list[i].Value != nil {
				list[i].Values = []point{*list[i].Value}
			}
		}
		return list, nil
	case "scalar", "string":
		var p point
		if err := json.Unmarshal(raw, &p); err != nil {
			return nil, fmt.Errorf("the answer is not a %s: %w", kind, err)
		}
		return []apiSeries{{Metric: map[string]string{}, Values: []point{p}}}, nil
	default:
		return nil, fmt.Errorf("the answer is a %q, which is not known here", kind)
	}
}

// entity is where a field's values are no JSON numbers.
type entity struct {
	NaN    []int `json:"NaN,omitempty"`
	Inf    []int `json:"Inf,omitempty"`
	NegInf []int `json:"NegInf,omitempty"`
}

func (s apiSeries) frame(q panelQuery, step time.Duration, kind, expr string) frame {
	var f frame
	f.Schema.RefID, f.Schema.Name = q.RefID, s.name(q.LegendFormat)
	frameType := "timeseries-multi"
	if kind == "vector" || kind == "scalar" {
		frameType = "numeric-multi"
	}
	f.Schema.Meta = map[string]any{
		"type": frameType, "typeVersion": []int{0, 1}, "custom": map[string]any{"resultType": kind},
		"executedQueryString": "Expr: " + expr + "\nStep: " + step.String(),
	}
	value := frameField{Name: "Value", Type: "number", TypeInfo: map[string]any{"frame": "float64"}, Labels: s.Metric, Config: map[string]any{}}
	if f.Schema.Name != "" {
		value.Config["displayNameFromDS"] = f.Schema.Name
	}
	f.Schema.Fields = []frameField{
		{Name: "Time", Type: "time", TypeInfo: map[string]any{"frame": "time.Time"}, Config: map[string]any{"interval": step.Milliseconds()}}, value,
	}
	times, values, odd := make([]int64, 0, len(s.Values)), make([]any, 0, len(s.Values)), entity{}
	for i, p := range s.Values {
		t, _ := strconv.ParseFloat(string(p[0]), 64)
		var text string
		_ = json.Unmarshal(p[1], &text)
		v, err := strconv.ParseFloat(text, 64)
		times = append(times, int64(math.Round(t*1000)))
		switch {
		case err != nil || math.IsNaN(v):
			odd.NaN = append(odd.NaN, i)
			values = append(values, nil)
		case math.IsInf(v, 1):
			odd.Inf = append(odd.Inf, i)
			values = append(values, nil)
		case math.IsInf(v, -1):
			odd.NegInf = append(odd.NegInf, i)
			values = append(values, nil)
		default:
			values = append(values, v)
		}
	}
	f.Data.Values = []any{times, values}
	if odd.NaN != nil || odd.Inf != nil || odd.NegInf != nil {
		f.Data.Entities = []any{nil, odd}
	}
	return f
}

// name is what the legend calls a series: its format filled in, or its labels.
func (s apiSeries) name(format string) string {
	if format != "" && format != "__auto" {
		var b strings.Builder
		rest := format
		for {
			before, after, ok := strings.Cut(rest, "{{")
			b.WriteString(before)
			if !ok {
				return b.String()
			}
			label, tail, ok := strings.Cut(after, "}}")
			if !ok {
				b.WriteString("{{" + after)
				return b.String()
			}
			b.WriteString(s.Metric[strings.TrimSpace(label)])
			rest = tail
		}
	}
	names := make([]string, 0, len(s.Metric))
	for n := range s.Metric {
		if n != model.MetricNameLabel {
			names = append(names, n)
		}
	}
	sort.Strings(names)
	parts := make([]string, 0, len(names))
	for _, n := range names {
		parts = append(parts, fmt.Sprintf("%s=%q", n, s.Metric[n]))
	}
	metric := s.Metric[model.MetricNameLabel]
	if len(parts) == 0 {
		return metric
	}
	return metric + "{" + strings.Join(parts, ", ") + "}"
}

func scrapeInterval(d *records.DataSource) time.Duration {
	if i, err := model.ParseDuration(d.Text("timeInterval")); err == nil && i > 0 {
		return time.Duration(i)
	}
	return 15 * time.Second
}

// maxPoints is Prometheus' own limit of points a series.
const maxPoints = 11_000

// queryStep is the distance of points: the panel's, at least the scrape
// interval, and never so small that the answer has too many.
func queryStep(q panelQuery, d *records.DataSource, width time.Duration) time.Duration {
	least := scrapeInterval(d)
	if i, err := model.ParseDuration(q.Interval); err == nil && i > 0 {
		least = time.Duration(i)
	}
	step := time.Duration(q.IntervalMs) * time.Millisecond
	if step <= 0 && q.MaxDataPoints > 0 {
		step = time.Duration(float64(width) / q.MaxDataPoints)
	}
	step = max(step, least, width/maxPoints+1)
	if r := step % time.Second; step > time.Second && r != 0 {
		step += time.Second - r
	}
	return max(step, time.Millisecond)
}

// expandMacros fills Grafana's interval and range variables in.
func expandMacros(expr string, step, scrape, width time.Duration) string {
	rate := max(step+scrape, 4*scrape)
	text := func(d time.Duration) string { return model.Duration(d).String() }
	seconds := int64(math.Round(width.Seconds()))
	pairs := []string{}
	for _, m := range []struct{ name, value string }{
		{"__rate_interval_ms", strconv.FormatInt(rate.Milliseconds(), 10)}, {"__rate_interval", text(rate)},
		{"__interval_ms", strconv.FormatInt(step.Milliseconds(), 10)}, {"__interval", text(step)},
		{"__range_ms", strconv.FormatInt(width.Milliseconds(), 10)}, {"__range_s", strconv.FormatInt(seconds, 10)}, {"__range", strconv.FormatInt(seconds, 10) + "s"},
	} {
		pairs = append(pairs, "${"+m.name+"}", m.value, "$"+m.name, m.value)
	}
	return strings.NewReplacer(pairs...).Replace(expr)
}

// parseMoment reads a time of a query: milliseconds, RFC 3339, or relative to
// now, such as now-6h or now/d.
func parseMoment(s string, now time.Time, roundUp bool) (time.Time, error) {
	s = strings.TrimSpace(s)
	if s == "" {
		if roundUp {
			return now, nil
		}
		return now.Add(-time.Hour), nil
	}
	if ms, err := strconv.ParseInt(s, 10, 64); err == nil {
		return time.UnixMilli(ms), nil
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}
	rest, ok := strings.CutPrefix(s, "now")
	if !ok {
		return now, fmt.Errorf("found %q, allowed are milliseconds since 1970, RFC 3339 and now, now-1h, now/d", s)
	}
	t := now
	for rest != "" {
		var err error
		if t, rest, err = shift(t, rest, roundUp); err != nil {
			return now, fmt.Errorf("found %q: %w", s, err)
		}
	}
	return t, nil
}

// shift applies the first part of a relative time: -6h, +30m or /d.
func shift(t time.Time, s string, roundUp bool) (time.Time, string, error) {
	op := s[0]
	i := 1
	for i < len(s) && s[i] >= '0' && s[i] <= '9' {
		i++
	}
	if i >= len(s) || (op != '+' && op != '-' && op != '/') {
		return t, "", fmt.Errorf("expected +, - or / and a unit after now")
	}
	n := 1
	if i > 1 {
		var err error
		if n, err = strconv.Atoi(s[1:i]); err != nil {
			return t, "", err
		}
	}
	unit := s[i]
	if op == '/' {
		rounded, err := roundTo(t.UTC(), unit, roundUp)
		return rounded, s[i+1:], err
	}
	if op == '-' {
		n = -n
	}
	moved, err := moveBy(t, n, unit)
	return moved, s[i+1:], err
}

func moveBy(t time.Time, n int, unit byte) (time.Time, error) {
	switch unit {
	case 's':
		return t.Add(time.Duration(n) * time.Second), nil
	case 'm':
		return t.Add(time.Duration(n) * time.Minute), nil
	case 'h':
		return t.Add(time.Duration(n) * time.Hour), nil
	case 'd':
		return t.AddDate(0, 0, n), nil
	case 'w':
		return t.AddDate(0, 0, 7*n), nil
	case 'M':
		return t.AddDate(0, n, 0), nil
	case 'y':
		return t.AddDate(n, 0, 0), nil
	default:
		return t, fmt.Errorf("unit %q: allowed are s, m, h, d, w, M and y", string(unit))
	}
}

func roundTo(t time.Time, unit byte, up bool) (time.Time, error) {
	var start time.Time
	switch unit {
	case 's':
		start = t.Truncate(time.Second)
	case 'm':
		start = t.Truncate(time.Minute)
	case 'h':
		start = t.Truncate(time.Hour)
	case 'd':
		start = time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, t.Location())
	case 'w':
		start = time.Date(t.Year(), t.Month(), t.Day()-(int(t.Weekday())+6)%7, 0, 0, 0, 0, t.Location())
	case 'M':
		start = time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, t.Location())
	case 'y':
		start = time.Date(t.Year(), 1, 1, 0, 0, 0, 0, t.Location())
	}
	if !up || start.IsZero() {
		_, err := moveBy(start, 0, unit)
		return start, err
	}
	end, err := moveBy(start, 1, unit)
	return end.Add(-time.Millisecond), err
}
