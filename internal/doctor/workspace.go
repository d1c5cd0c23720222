package doctor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/prometheus/promql/parser"
)

// Workspace is the part of the path at the server.
type Workspace struct {
	// URL is the data plane, with a slash at the end.
	URL string
	// Client signs what it sends.
	Client *http.Client
	// Write sends one sample by remote write.
	Write func(ctx context.Context, labels map[string]string, value float64, at time.Time) error
	// Boards are dashboards in Grafana's form; nil leaves them out.
	Boards fs.FS
}

// canaryName is the metric that the doctor writes.
const canaryName = "mangru_doctor_canary"

// Check writes a sample, waits for it to come back, and looks at what is there.
func (w Workspace) Check(ctx context.Context, r *Report) {
	if !w.reach(ctx, r) {
		return
	}
	w.canary(ctx, r)
	w.fresh(ctx, r)
	w.rules(ctx, r)
	w.boards(ctx, r)
}

// answer is what the query API gives.
type answer struct {
	Status string `json:"status"`
	Error  string `json:"error"`
	Data   struct {
		Result []struct {
			Metric map[string]string  `json:"metric"`
			Value  [2]json.RawMessage `json:"value"`
		} `json:"result"`
	} `json:"data"`
}

func (w Workspace) get(ctx context.Context, path string, form url.Values, into any) (http.Header, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.URL+path+"?"+form.Encode(), http.NoBody)
	if err != nil {
		return nil, err
	}
	res, err := w.Client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(res.Body, 16<<20))
	if err != nil {
		return res.Header, err
	}
	if res.StatusCode != http.StatusOK {
		return res.Header, fmt.Errorf("%s: %s", res.Status, bytes.TrimSpace(text[:min(len(text), 300)]))
	}
	return res.Header, json.Unmarshal(text, into)
}

func (w Workspace) query(ctx context.Context, q string) (*answer, error) {
	a := &answer{}
	_, err := w.get(ctx, "api/v1/query", url.Values{"query": {q}}, a)
	if err == nil && a.Status != "success" {
		err = errors.New(a.Error)
	}
	return a, err
}

// reach asks a first question: signature, role and clock show here.
func (w Workspace) reach(ctx context.Context, r *Report) bool {
	began := time.Now()
	head, err := w.get(ctx, "api/v1/query", url.Values{"query": {"vector(1)"}}, &answer{})
	took := time.Since(began)
	if date, e := http.ParseTime(head.Get("Date")); e == nil {
		// The date has whole seconds and is older by the answer's way.
		if skew := date.Sub(began); skew.Abs() > 2*time.Second+took {
			level := Warning
			if skew.Abs() > 4*time.Minute {
				level = Failure
			}
			r.add("workspace", "clock", level, "Set both clocks by NTP: signatures are refused from 5 minutes on.", "the server's clock is %s off", skew.Round(time.Second))
		} else {
			r.ok("workspace", "clock", "the server's clock agrees within seconds")
		}
	}
	if err != nil {
		r.add("workspace", "query API", Failure, Advice(err.Error()), "%v", err)
		return false
	}
	r.ok("workspace", "query API", "answers in %s, signature and role accepted", took.Round(time.Millisecond))
	return true
}

// canary times a sample's way through ingest to the query API.
func (w Workspace) canary(ctx context.Context, r *Report) {
	if w.Write == nil {
		return
	}
	began := time.Now()
	labels := map[string]string{"__name__": canaryName, "probe": fmt.Sprint(began.UnixNano() % 64)}
	value := float64(began.Unix())
	if err := w.Write(ctx, labels, value, began); err != nil {
		r.add("workspace", "canary sample", Failure, Advice(err.Error()), "it was refused: %v", err)
		return
	}
	written := time.Since(began)
	limit, tick := time.After(30*time.Second), time.NewTicker(50*time.Millisecond)
	defer tick.Stop()
	question := fmt.Sprintf("%s{probe=%q} == %d", canaryName, labels["probe"], began.Unix())
	for {
		a, err := w.query(ctx, question)
		if err == nil && len(a.Data.Result) > 0 {
			r.ok("workspace", "canary sample", "written in %s, found by the query API after %s", written.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-limit:
			r.add("workspace", "canary sample", Failure, "Look at the server's log and at mangru_discarded_samples_total.", "acknowledged after %s and not found within 30 s (last error: %v)", written.Round(time.Millisecond), err)
			return
		case <-tick.C:
		}
	}
}

// fresh looks at which jobs have arrived.
func (w Workspace) fresh(ctx context.Context, r *Report) {
	a, err := w.query(ctx, "count by (job) (up)")
	if err != nil {
		r.add("workspace", "jobs", Failure, Advice(err.Error()), "%v", err)
		return
	}
	if len(a.Data.Result) == 0 {
		r.add("workspace", "jobs", Failure, "Look at the checks of the collector above: nothing has arrived in the last five minutes.", "no job's samples are here")
		return
	}
	var jobs []string
	for _, s := range a.Data.Result {
		jobs = append(jobs, s.Metric["job"])
	}
	slices.Sort(jobs)
	r.ok("workspace", "jobs", "samples of %d jobs: %s", len(jobs), strings.Join(jobs, ", "))
	if a, err = w.query(ctx, "up == 0"); err == nil && len(a.Data.Result) > 0 {
		var down []string
		for _, s := range a.Data.Result {
			down = append(down, s.Metric["job"]+" "+s.Metric["instance"])
		}
		r.add("workspace", "targets down", Warning, "The collector's checks say why.", "%d targets are down:\n%s", len(down), strings.Join(down[:min(len(down), 5)], "\n"))
	}
}

// rules looks at whether they are evaluated.
func (w Workspace) rules(ctx context.Context, r *Report) {
	var out struct {
		Data struct {
			Groups []struct {
				Name  string `json:"name"`
				Rules []struct {
					Name      string `json:"name"`
					Health    string `json:"health"`
					LastError string `json:"lastError"`
				} `json:"rules"`
			} `json:"groups"`
		} `json:"data"`
	}
	if _, err := w.get(ctx, "api/v1/rules", nil, &out); err != nil {
		r.add("rules", "rules", Skipped, "", "%v", firstLine(err.Error()))
		return
	}
	count, bad := 0, []string{}
	for _, g := range out.Data.Groups {
		for _, rule := range g.Rules {
			count++
			if rule.Health == "err" {
				bad = append(bad, g.Name+"/"+rule.Name+": "+rule.LastError)
			}
		}
	}
	if len(bad) > 0 {
		r.add("rules", "rules", Failure, "Correct the rule's expression.", "%d of %d rules fail:\n%s", len(bad), count, strings.Join(bad[:min(len(bad), 5)], "\n"))
		return
	}
	r.ok("rules", "rules", "%d rules, none fails", count)
}

// boards looks for every metric that a board's panels ask for.
func (w Workspace) boards(ctx context.Context, r *Report) {
	if w.Boards == nil {
		return
	}
	var names struct {
		Data []string `json:"data"`
	}
	if _, err := w.get(ctx, "api/v1/label/__name__/values", nil, &names); err != nil {
		r.add("boards", "metrics", Failure, Advice(err.Error()), "%v", err)
		return
	}
	there := map[string]bool{}
	for _, n := range names.Data {
		there[n] = true
	}
	files, _ := fs.Glob(w.Boards, "*.json") // the pattern is good
	for _, file := range files {
		text, err := fs.ReadFile(w.Boards, file)
		if err != nil {
			r.add("boards", file, Skipped, "", "%v", err)
			continue
		}
		title, panels, err := panelMetrics(text)
		if err != nil {
			r.add("boards", file, Skipped, "", "%v", err)
			continue
		}
		missing := map[string][]string{}
		for panel, metrics := range panels {
			for _, m := range metrics {
				if !there[m] {
					missing[m] = append(missing[m], panel)
				}
			}
		}
		if len(missing) == 0 {
			r.ok("boards", title, "all metrics of its %d panels are here", len(panels))
			continue
		}
		var lines []string
		for _, m := range slices.Sorted(maps.Keys(missing)) {
			lines = append(lines, m+" ("+strings.Join(missing[m], ", ")+")")
		}
		r.add("boards", title, Warning, "Collect them, or remove the panels: kube-state-metrics has kube_*, node-exporter node_*, the kubelet container_* and kubelet_*.",
			"%d metrics are missing:\n%s", len(missing), strings.Join(lines, "\n"))
	}
}

// What boards put into queries and PromQL does not know.
var (
	rangeVariable = regexp.MustCompile(`\[\s*\$\{?[\w:]+\}?\s*\]`)
	boardVariable = regexp.MustCompile(`\$\{[\w.:]+\}|\$\w+|\[\[\w+\]\]`)
)

type panel struct {
	Title   string `json:"title"`
	Panels  []panel
	Targets []struct {
		Expr string `json:"expr"`
	} `json:"targets"`
}

// panelMetrics returns the names of metrics that each panel of a board asks for.
func panelMetrics(text []byte) (title string, out map[string][]string, err error) {
	var board struct {
		Title  string
		Panels []panel
		Rows   []struct{ Panels []panel }
	}
	if err := json.Unmarshal(text, &board); err != nil {
		return "", nil, err
	}
	all := board.Panels
	for _, row := range board.Rows {
		all = append(all, row.Panels...)
	}
	for i := 0; i < len(all); i++ { // it grows while it is read
		all = append(all, all[i].Panels...)
	}
	out = map[string][]string{}
	p := parser.NewParser(parser.Options{})
	for _, panel := range all {
		found := map[string]bool{}
		for _, t := range panel.Targets {
			q := boardVariable.ReplaceAllString(rangeVariable.ReplaceAllString(t.Expr, "[5m]"), "1")
			expr, err := p.ParseExpr(q)
			if err != nil {
				continue // the board itself shows that
			}
			parser.Inspect(expr, func(n parser.Node, _ []parser.Node) error {
				if v, ok := n.(*parser.VectorSelector); ok && v.Name != "" {
					found[v.Name] = true
				}
				return nil
			})
		}
		if len(found) > 0 {
			out[panel.Title] = slices.Sorted(maps.Keys(found))
		}
	}
	return board.Title, out, nil
}
