package rules

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	promrules "github.com/prometheus/prometheus/rules"
)

// ServeWorkspace answers /rules and /alerts of Prometheus' API for a workspace.
// Errors are answered here; the one returned is always nil.
func (m *Manager) ServeWorkspace(w http.ResponseWriter, r *http.Request, workspaceID, path string) error {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		writeError(w, http.StatusMethodNotAllowed, "the method must be GET")
		return nil
	}
	switch path {
	case "/rules":
		m.serveRules(w, r, workspaceID)
	case "/alerts":
		writeData(w, map[string]any{"alerts": m.alerts(workspaceID)})
	default:
		writeError(w, http.StatusNotFound, "there is no such path")
	}
	return nil
}

// The answers have the shape of Prometheus' own.

type alertJSON struct {
	Labels          labels.Labels `json:"labels"`
	Annotations     labels.Labels `json:"annotations"`
	State           string        `json:"state"`
	ActiveAt        time.Time     `json:"activeAt"`
	KeepFiringSince *time.Time    `json:"keepFiringSince,omitempty"`
	Value           string        `json:"value"`
}

type ruleJSON struct {
	State          string        `json:"state,omitempty"`
	Name           string        `json:"name"`
	Query          string        `json:"query"`
	Duration       *float64      `json:"duration,omitempty"`
	KeepFiringFor  *float64      `json:"keepFiringFor,omitempty"`
	Labels         labels.Labels `json:"labels"`
	Annotations    any           `json:"annotations,omitempty"`
	Alerts         any           `json:"alerts,omitempty"`
	Health         string        `json:"health"`
	LastError      string        `json:"lastError,omitempty"`
	EvaluationTime float64       `json:"evaluationTime"`
	LastEvaluation time.Time     `json:"lastEvaluation"`
	Type           string        `json:"type"`
}

type groupJSON struct {
	Name           string     `json:"name"`
	File           string     `json:"file"`
	Rules          []ruleJSON `json:"rules"`
	Interval       float64    `json:"interval"`
	Limit          int        `json:"limit"`
	EvaluationTime float64    `json:"evaluationTime"`
	LastEvaluation time.Time  `json:"lastEvaluation"`
}

// alerts returns the pending and firing alerts of a workspace.
func (m *Manager) alerts(workspaceID string) []alertJSON {
	out := []alertJSON{}
	for _, g := range m.Groups(workspaceID) {
		for _, rule := range g.AlertingRules() {
			out = append(out, alertsOf(rule)...)
		}
	}
	return out
}

func alertsOf(rule *promrules.AlertingRule) []alertJSON {
	active := rule.ActiveAlerts()
	out := make([]alertJSON, 0, len(active))
	for _, a := range active {
		j := alertJSON{Labels: a.Labels, Annotations: a.Annotations, State: a.State.String(), ActiveAt: a.ActiveAt,
			Value: strconv.FormatFloat(a.Value, 'e', -1, 64)}
		if !a.KeepFiringSince.IsZero() {
			j.KeepFiringSince = &a.KeepFiringSince
		}
		out = append(out, j)
	}
	slices.SortFunc(out, func(a, b alertJSON) int { return labels.Compare(a.Labels, b.Labels) })
	return out
}

// filter is what of the rules is asked for.
type filter struct {
	typ           string // "alert", "record", or "" for both
	names         []string
	groups        []string
	files         []string
	matchers      [][]*labels.Matcher
	excludeAlerts bool
	limit         int // of groups; 0 is none
	token         string
}

func parseFilter(q url.Values) (f filter, err error) {
	f = filter{typ: strings.ToLower(q.Get("type")), names: q["rule_name[]"], groups: q["rule_group[]"], files: q["file[]"], token: q.Get("group_next_token")}
	if f.typ != "" && f.typ != "alert" && f.typ != "record" {
		return f, fmt.Errorf("invalid parameter %q: not supported value %q, allowed are alert and record", "type", f.typ)
	}
	if s := q.Get("exclude_alerts"); s != "" {
		if f.excludeAlerts, err = strconv.ParseBool(strings.ToLower(s)); err != nil {
			return f, fmt.Errorf("invalid parameter %q: %q is neither true nor false", "exclude_alerts", s)
		}
	}
	if s := q.Get("group_limit"); s != "" {
		n, err := strconv.ParseInt(s, 10, 32)
		if err != nil || n <= 0 {
			return f, fmt.Errorf("invalid parameter %q: a number greater than 0 is expected", "group_limit")
		}
		f.limit = int(n)
	} else if f.token != "" {
		return f, fmt.Errorf("invalid parameter %q: group_limit is needed with it", "group_next_token")
	}
	if sel := q["match[]"]; len(sel) > 0 {
		if f.matchers, err = parser.NewParser(parser.Options{}).ParseMetricSelectors(sel); err != nil {
			return f, fmt.Errorf("invalid parameter %q: %w", "match[]", err)
		}
	}
	return f, nil
}

func (m *Manager) serveRules(w http.ResponseWriter, r *http.Request, workspaceID string) {
	f, err := parseFilter(r.URL.Query())
	if err != nil {
		writeError(w, http.StatusBadRequest, err.Error())
		return
	}
	groups := m.Groups(workspaceID)
	if f.token != "" {
		at := slices.IndexFunc(groups, func(g *promrules.Group) bool { return groupToken(g) == f.token })
		if at < 0 {
			writeError(w, http.StatusBadRequest, fmt.Sprintf("invalid parameter %q: no group has the token %q, were rule groups changed?", "group_next_token", f.token))
			return
		}
		groups = groups[at:]
	}
	out := struct {
		Groups []groupJSON `json:"groups"`
		Next   string      `json:"groupNextToken,omitempty"`
	}{Groups: []groupJSON{}}
	for _, g := range groups {
		if !wanted(f.groups, g.Name()) || !wanted(f.files, g.File()) {
			continue
		}
		rules := f.rules(g)
		if len(rules) == 0 {
			continue
		}
		if f.limit > 0 && len(out.Groups) == f.limit {
			out.Next = groupToken(g)
			break
		}
		out.Groups = append(out.Groups, groupJSON{Name: g.Name(), File: g.File(), Rules: rules, Interval: g.Interval().Seconds(),
			Limit: g.Limit(), EvaluationTime: g.GetEvaluationTime().Seconds(), LastEvaluation: g.GetLastEvaluation()})
	}
	writeData(w, out)
}

// wanted reports whether name is in the list; an empty list wants all.
func wanted(list []string, name string) bool { return len(list) == 0 || slices.Contains(list, name) }

// rules returns the rules of a group that are asked for.
func (f *filter) rules(g *promrules.Group) (out []ruleJSON) {
	for _, rule := range g.Rules(f.matchers...) {
		if !wanted(f.names, rule.Name()) {
			continue
		}
		j := ruleJSON{Name: rule.Name(), Query: rule.Query().String(), Labels: rule.Labels(), Health: string(rule.Health()),
			EvaluationTime: rule.GetEvaluationDuration().Seconds(), LastEvaluation: rule.GetEvaluationTimestamp(), Type: "recording"}
		if err := rule.LastError(); err != nil {
			j.LastError = err.Error()
		}
		alerting, ok := rule.(*promrules.AlertingRule)
		if ok && f.typ == "record" || !ok && f.typ == "alert" {
			continue
		}
		if ok {
			hold, keep := alerting.HoldDuration().Seconds(), alerting.KeepFiringFor().Seconds()
			j.Type, j.State, j.Annotations = "alerting", alerting.State().String(), alerting.Annotations()
			j.Duration, j.KeepFiringFor = &hold, &keep
			if j.Alerts = json.RawMessage("null"); !f.excludeAlerts {
				j.Alerts = alertsOf(alerting)
			}
		}
		out = append(out, j)
	}
	return out
}

// groupToken stands for a group in the token of the next page.
func groupToken(g *promrules.Group) string {
	sum := sha256.Sum256([]byte(promrules.GroupKey(g.File(), g.Name())))
	return hex.EncodeToString(sum[:])
}

func writeData(w http.ResponseWriter, data any) {
	writeJSON(w, http.StatusOK, map[string]any{"status": "success", "data": data})
}

func writeError(w http.ResponseWriter, status int, message string) {
	typ := "bad_data"
	if status == http.StatusNotFound {
		typ = "not_found"
	}
	writeJSON(w, status, map[string]string{"status": "error", "errorType": typ, "error": message})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		http.Error(w, fmt.Sprintf("encode response: %v", err), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(b)
}
