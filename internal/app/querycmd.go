package app

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/prometheus/common/model"
	"github.com/spf13/cobra"
)

// queryFlags are those of mangru query.
type queryFlags struct {
	aws                     awsFlags
	workspace               string
	at, start, end, window  string
	step, timeout, lookback string
	limit, width, height    int
}

const formatsQuery = "table, csv, json or plot"

func newQueryCmd() *cobra.Command {
	f := &queryFlags{}
	c := &cobra.Command{Use: "query EXPRESSION", Args: exactly("an expression"),
		Short: "Ask a workspace a PromQL expression",
		Long: "Ask a workspace a PromQL expression: what it is now, or with --range or --start how it went.\n\n" +
			"  mangru query 'sum by (namespace) (rate(container_cpu_usage_seconds_total[5m]))'\n" +
			"  mangru query --range 6h -o plot node_load1\n" +
			"  mangru query --start 2026-01-02T10:00:00Z --end 2026-01-02T11:00:00Z --step 30s -o csv up",
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args[0]) },
	}
	f.aws.register(c)
	c.PersistentFlags().Lookup("output").Usage = formatsQuery
	p := c.Flags()
	p.StringVarP(&f.workspace, "workspace", "w", "", "id or alias of the workspace (default the only one there is)")
	p.StringVar(&f.at, "time", "", "when: RFC 3339, seconds, or a time span ago such as 1h (default now)")
	p.StringVarP(&f.window, "range", "r", "", "how it went for so long until --end, such as 6h")
	p.StringVar(&f.start, "start", "", "how it went from here on: like --time")
	p.StringVar(&f.end, "end", "", "until here (default now)")
	p.StringVar(&f.step, "step", "", "time between two values (default what fits, about 120 of them)")
	p.StringVar(&f.timeout, "timeout", "", "how long the server may take")
	p.StringVar(&f.lookback, "lookback-delta", "", "how old a sample may be")
	p.IntVar(&f.limit, "limit", 0, "at most so many series (0 for all)")
	p.IntVar(&f.width, "width", 0, "columns of plots (default $COLUMNS, else 100)")
	p.IntVar(&f.height, "height", 15, "lines of plots")
	return c
}

// request makes the parameters of the query.
func (f *queryFlags) request(expr string, now time.Time) (path string, form url.Values, err error) {
	form = url.Values{"query": {expr}}
	for name, v := range map[string]string{"timeout": f.timeout, "lookback_delta": f.lookback} {
		if v != "" {
			form.Set(name, v)
		}
	}
	if f.limit > 0 {
		form.Set("limit", strconv.Itoa(f.limit))
	}
	at := func(flag, v string, def time.Time) (time.Time, error) {
		if v == "" {
			return def, nil
		}
		return parseWhen(flag, v, now)
	}
	if f.window == "" && f.start == "" {
		if f.end != "" || f.step != "" {
			return "", nil, usagef("--end and --step need --start or --range")
		}
		t, err := at("time", f.at, now)
		form.Set("time", stamp(t))
		return "query", form, err
	}
	if f.at != "" || f.window != "" && f.start != "" {
		return "", nil, usagef("give one of --time, --range and --start")
	}
	end, err := at("end", f.end, now)
	if err != nil {
		return "", nil, err
	}
	start := end
	if f.window != "" {
		d, err := model.ParseDuration(f.window)
		if err != nil {
			return "", nil, usagef("--range: found %q, expected a time span such as 30m or 6h", f.window)
		}
		start = end.Add(-time.Duration(d))
	} else if start, err = at("start", f.start, end); err != nil {
		return "", nil, err
	}
	if !start.Before(end) {
		return "", nil, usagef("--start: %s is not before %s, the end", start.UTC().Format(time.RFC3339), end.UTC().Format(time.RFC3339))
	}
	step := niceStep(end.Sub(start))
	if f.step != "" {
		d, err := model.ParseDuration(f.step)
		if err != nil || d == 0 {
			return "", nil, usagef("--step: found %q, expected a time span such as 15s or 5m", f.step)
		}
		step = time.Duration(d)
	}
	form.Set("start", stamp(start))
	form.Set("end", stamp(end))
	form.Set("step", strconv.FormatFloat(step.Seconds(), 'f', -1, 64))
	return "query_range", form, nil
}

func stamp(t time.Time) string { return strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64) }

// niceStep is the first of some even steps with which at most 120 fit.
func niceStep(d time.Duration) time.Duration {
	for _, s := range []time.Duration{time.Second, 5 * time.Second, 10 * time.Second, 15 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute,
		5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 6 * time.Hour, 12 * time.Hour} {
		if d/s <= 120 {
			return s
		}
	}
	return (d / 120).Round(time.Hour)
}

// parseWhen reads a time, or a time span before now.
func parseWhen(flag, text string, now time.Time) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return t, nil
	}
	if s, err := strconv.ParseFloat(text, 64); err == nil && math.Abs(s) < 1e12 {
		return time.UnixMilli(int64(math.Round(s * 1000))), nil
	}
	if d, err := model.ParseDuration(strings.TrimPrefix(text, "-")); err == nil {
		return now.Add(-time.Duration(d)), nil
	}
	return time.Time{}, usagef("--%s: found %q, expected a time such as 2026-01-02T15:04:05Z, seconds since 1970, or a time span ago such as 1h", flag, text)
}

// answer is what Prometheus' API answers a query with.
type answer struct {
	Status   string     `json:"status"`
	Error    string     `json:"error"`
	Data     answerData `json:"data"`
	Warnings []string   `json:"warnings"`
	Infos    []string   `json:"infos"`
}

type answerData struct {
	Type   string          `json:"resultType"`
	Result json.RawMessage `json:"result"`
}

func (f *queryFlags) run(cmd *cobra.Command, expr string) error {
	format := f.aws.output
	switch format {
	case "table", "csv", "json", "plot":
	default:
		return usagef("--output: found %q, allowed are %s", format, formatsQuery)
	}
	path, form, err := f.request(expr, time.Now())
	if err != nil {
		return err
	}
	if format == "plot" && path != "query_range" {
		return usagef("a plot shows how something went: give --range or --start")
	}
	f.aws.output = "table"
	ctx := cmd.Context()
	c, err := f.aws.client(ctx)
	if err != nil {
		return err
	}
	id, err := c.findWorkspace(ctx, f.workspace)
	if err != nil {
		return err
	}
	text, err := c.promAPI(ctx, id, path, form)
	if err != nil {
		return inExpression(expr, err)
	}
	var a answer
	if err := json.Unmarshal(text, &a); err != nil {
		return fmt.Errorf("the answer is not the JSON of Prometheus' API: %w", err)
	}
	for _, w := range append(a.Warnings, a.Infos...) {
		fmt.Fprintln(cmd.ErrOrStderr(), "mangru: "+w)
	}
	w := cmd.OutOrStdout()
	if format == "json" {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		enc.SetEscapeHTML(false)
		return enc.Encode(a.Data)
	}
	all, err := a.Data.series()
	if err != nil {
		return err
	}
	switch {
	case format == "csv":
		return writeCSV(w, all)
	case format == "plot":
		return f.plot(w, all, form)
	case a.Data.Type == "matrix":
		return writeRanges(w, all)
	}
	return writeInstants(w, all)
}

// maxQueryAnswer bounds an answer, in bytes.
const maxQueryAnswer = 512 << 20

// promAPI asks a workspace's API of Prometheus. A refusal is an *apiError.
func (c *awsClient) promAPI(ctx context.Context, workspaceID, path string, form url.Values) ([]byte, error) {
	base, region := c.address(serviceAPS)
	if c.endpoint == "" {
		base = "https://aps-workspaces." + c.region + ".amazonaws.com"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/workspaces/"+url.PathEscape(workspaceID)+"/api/v1/"+path, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := c.do(req, serviceAPS, region)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(res.Body, maxQueryAnswer+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read the answer: %w", err)
	case len(text) > maxQueryAnswer:
		return nil, fmt.Errorf("the answer is larger than %d MiB: ask for less, such as with topk, a greater --step or --limit", maxQueryAnswer>>20)
	case res.StatusCode/100 == 2:
		return text, nil
	}
	var refused struct{ Error, ErrorType string }
	if json.Unmarshal(text, &refused) == nil && refused.Error != "" {
		return nil, &apiError{refused.ErrorType, refused.Error}
	}
	return nil, restError(path, res, text)
}

// apiError is a refusal of Prometheus' API.
type apiError struct{ kind, text string }

// Error implements error.
func (e *apiError) Error() string { return e.text }

var parseError = regexp.MustCompile(`^(?:invalid parameter "query": )?(\d+):(\d+): (parse error: .*)$`)

// inExpression shows where in the expression an error is.
func inExpression(expr string, err error) error {
	var refused *apiError
	if !errors.As(err, &refused) {
		return err
	}
	code := exitFailed
	if refused.kind == "bad_data" {
		code = exitUsage
	}
	m := parseError.FindStringSubmatch(refused.text)
	if m == nil {
		return &ExitError{Code: code, Err: err}
	}
	line, _ := strconv.Atoi(m[1])
	column, _ := strconv.Atoi(m[2])
	lines := strings.Split(expr, "\n")
	if line < 1 || line > len(lines) || column < 1 {
		return &ExitError{Code: code, Err: err}
	}
	text := lines[line-1]
	before := []rune(text[:min(column-1, len(text))]) // columns are bytes
	for i, r := range before {
		if r != '\t' {
			before[i] = ' '
		}
	}
	return &ExitError{Code: code, Err: fmt.Errorf("line %d, column %d: %s\n  %s\n  %s^", line, column, m[3], text, string(before))}
}

const serviceAPS = "aps"

// findWorkspace returns the id of the workspace with an id or alias, or of the
// only one.
func (c *awsClient) findWorkspace(ctx context.Context, name string) (string, error) {
	if strings.HasPrefix(name, "ws-") {
		return name, nil
	}
	var ids, found []string
	next := ""
	for {
		var page struct {
			Workspaces []struct{ WorkspaceID, Alias string } `json:"workspaces"`
			NextToken  string                                `json:"nextToken"`
		}
		q := url.Values{"maxResults": {"100"}}
		if next != "" {
			q.Set("nextToken", next)
		}
		if err := c.restOf(ctx, serviceAPS, "ListWorkspaces", http.MethodGet, "/workspaces?"+q.Encode(), nil, &page); err != nil {
			return "", err
		}
		for _, w := range page.Workspaces {
			ids = append(ids, strings.TrimSpace(w.WorkspaceID+" "+w.Alias))
			if name == "" || w.Alias == name {
				found = append(found, w.WorkspaceID)
			}
		}
		if next = page.NextToken; next == "" {
			break
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(ids) == 0:
		return "", usagef("there is no workspace yet: make one with aws amp create-workspace, or start with mangru up")
	case len(found) == 0:
		return "", usagef("--workspace: no workspace has the alias %q; there are: %s", name, strings.Join(ids, ", "))
	case name == "":
		return "", usagef("--workspace: which one? There are: %s", strings.Join(ids, ", "))
	}
	return "", usagef("--workspace: the alias %q is that of %s: give an id", name, strings.Join(found, " and "))
}

// point is a value at a time; text is it as it was sent, which a native histogram
// is too.
type point struct {
	at   time.Time
	v    float64
	text string
}

// answered is a series of an answer.
type answered struct {
	labels map[string]string
	points []point
}

func (s *answered) name() string {
	var parts []string
	for _, k := range sortedKeys(s.labels) {
		if k != "__name__" {
			parts = append(parts, k+"="+strconv.Quote(s.labels[k]))
		}
	}
	if len(parts) == 0 && s.labels["__name__"] != "" {
		return s.labels["__name__"]
	}
	return s.labels["__name__"] + "{" + strings.Join(parts, ", ") + "}"
}

// series reads a result of any type.
func (d *answerData) series() ([]answered, error) {
	var out []answered
	var err error
	switch d.Type {
	case "scalar", "string":
		var p point
		p, err = readPoint(d.Result, false)
		out = []answered{{points: []point{p}}}
	case "vector", "matrix":
		var all []struct {
			Metric             map[string]string
			Value, Histogram   json.RawMessage
			Values, Histograms []json.RawMessage
		}
		if err = json.Unmarshal(d.Result, &all); err != nil {
			break
		}
		for _, s := range all {
			o := answered{labels: s.Metric}
			floats, histograms := s.Values, s.Histograms
			if s.Value != nil {
				floats = append(floats, s.Value)
			}
			if s.Histogram != nil {
				histograms = append(histograms, s.Histogram)
			}
			for i, raw := range append(floats, histograms...) {
				p, bad := readPoint(raw, i >= len(floats))
				err = errors.Join(err, bad)
				o.points = append(o.points, p)
			}
			slices.SortStableFunc(o.points, func(a, b point) int { return a.at.Compare(b.at) })
			out = append(out, o)
		}
	default:
		err = fmt.Errorf("a result of type %q", d.Type)
	}
	if err != nil {
		return nil, fmt.Errorf("the answer is not that of Prometheus' API: %w", err)
	}
	return out, nil
}

// readPoint reads [seconds, "value"] or [seconds, {histogram}].
func readPoint(raw json.RawMessage, histogram bool) (point, error) {
	var pair []json.RawMessage
	if err := json.Unmarshal(raw, &pair); err != nil {
		return point{}, err
	}
	if len(pair) != 2 {
		return point{}, fmt.Errorf("a point of %d parts", len(pair))
	}
	at, err := strconv.ParseFloat(string(pair[0]), 64)
	if err != nil {
		return point{}, err
	}
	p := point{at: time.UnixMilli(int64(math.Round(at * 1000))).UTC(), v: math.NaN()}
	if histogram {
		var h struct{ Count, Sum string }
		err = json.Unmarshal(pair[1], &h)
		p.text = "histogram count=" + h.Count + " sum=" + h.Sum
		return p, err
	}
	if err := json.Unmarshal(pair[1], &p.text); err != nil {
		return point{}, err
	}
	if v, err := strconv.ParseFloat(p.text, 64); err == nil {
		p.v = v
	}
	return p, nil
}

func writeInstants(w io.Writer, all []answered) error {
	if len(all) == 0 {
		fmt.Fprintln(w, "No series.")
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(t, "SERIES\tVALUE")
	for _, s := range all {
		for i, p := range s.points {
			name := s.name()
			if i > 0 {
				name = ""
			}
			if len(s.points) > 1 { // a range selector
				fmt.Fprintf(t, "%s\t%s @ %s\n", name, p.text, p.at.Format("2006-01-02T15:04:05.999Z"))
			} else {
				fmt.Fprintf(t, "%s\t%s\n", name, p.text)
			}
		}
	}
	return t.Flush()
}

func writeRanges(w io.Writer, all []answered) error {
	if len(all) == 0 {
		fmt.Fprintln(w, "No series.")
		return nil
	}
	first, last := timesOf(all)
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintf(t, "SERIES\t%s - %s UTC\tMIN\tMAX\tLAST\n", first.Format("01-02 15:04"), last.Format("01-02 15:04"))
	for _, s := range all {
		lo, hi := bounds([]answered{s})
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", s.name(), sparkline(s.points, first, last, 40), short(lo), short(hi), s.points[len(s.points)-1].shown())
	}
	return t.Flush()
}

func (p point) shown() string {
	if math.IsNaN(p.v) {
		return p.text
	}
	return short(p.v)
}

// writeCSV writes a line for each value, with a column for each label.
func writeCSV(w io.Writer, all []answered) error {
	names := map[string]bool{}
	for _, s := range all {
		for k := range s.labels {
			names[k] = true
		}
	}
	columns := sortedKeys(names)
	c := csv.NewWriter(w)
	_ = c.Write(append([]string{"time", "value"}, columns...)) // Flush tells
	for _, s := range all {
		for _, p := range s.points {
			row := []string{p.at.Format("2006-01-02T15:04:05.000Z"), p.text}
			for _, k := range columns {
				row = append(row, s.labels[k])
			}
			_ = c.Write(row)
		}
	}
	c.Flush()
	return c.Error()
}

// columns returns the width of plots.
func (f *queryFlags) columns() int {
	if f.width > 0 {
		return f.width
	}
	if n, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil && n > 0 {
		return n
	}
	return 100
}
