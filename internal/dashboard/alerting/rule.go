package alerting

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"gopkg.in/yaml.v3"
)

// Expressions is the uid of the data source that expressions have.
const Expressions = "__expr__"

// Rule is an alert rule, or a recording one, as Grafana's API has it.
type Rule struct {
	ID                   int64             `json:"id"`
	UID                  string            `json:"uid"`
	OrgID                int64             `json:"orgID"`
	FolderUID            string            `json:"folderUID"`
	RuleGroup            string            `json:"ruleGroup"`
	Title                string            `json:"title"`
	Condition            string            `json:"condition"`
	Data                 []Query           `json:"data"`
	Updated              string            `json:"updated"`
	NoDataState          string            `json:"noDataState"`
	ExecErrState         string            `json:"execErrState"`
	For                  string            `json:"for"`
	KeepFiringFor        string            `json:"keep_firing_for,omitempty"`
	MissingSeries        int64             `json:"missingSeriesEvalsToResolve,omitempty"`
	Annotations          map[string]string `json:"annotations,omitempty"`
	Labels               map[string]string `json:"labels,omitempty"`
	IsPaused             bool              `json:"isPaused"`
	NotificationSettings json.RawMessage   `json:"notification_settings,omitempty"`
	Record               *Record           `json:"record,omitempty"`
	Provenance           string            `json:"provenance,omitempty"`
}

// Query is one query or expression of a rule. Times are in seconds before now.
type Query struct {
	RefID             string          `json:"refId"`
	QueryType         string          `json:"queryType"`
	RelativeTimeRange TimeRange       `json:"relativeTimeRange"`
	DatasourceUID     string          `json:"datasourceUid"`
	Model             json.RawMessage `json:"model"`
}

// TimeRange is what a query looks back on, in seconds.
type TimeRange struct {
	From int64 `json:"from"`
	To   int64 `json:"to"`
}

// Record makes a rule a recording one.
type Record struct {
	Metric           string `json:"metric"`
	From             string `json:"from"`
	TargetDatasource string `json:"target_datasource_uid,omitempty"`
}

// Group is a list of rules that are evaluated one after another.
type Group struct {
	Name     string
	Interval time.Duration
	Rules    []Rule
}

// PromRule is a rule as Prometheus reads it.
type PromRule struct {
	Record        string            `yaml:"record,omitempty"`
	Alert         string            `yaml:"alert,omitempty"`
	Expr          string            `yaml:"expr"`
	For           string            `yaml:"for,omitempty"`
	KeepFiringFor string            `yaml:"keep_firing_for,omitempty"`
	Labels        map[string]string `yaml:"labels,omitempty"`
	Annotations   map[string]string `yaml:"annotations,omitempty"`
}

// Source is the one data source, its uid, that the queries of a rule ask.
func (r *Rule) Source() (string, error) {
	source := ""
	for i, q := range r.Data {
		switch {
		case q.DatasourceUID == Expressions || q.DatasourceUID == "-100":
		case q.DatasourceUID == "":
			return "", wrong(fmt.Sprintf("data[%d].datasourceUid", i), "is missing")
		case source != "" && source != q.DatasourceUID:
			return "", wrong(fmt.Sprintf("data[%d].datasourceUid", i), "found %s beside %s: a rule is evaluated in one workspace, so all its queries have the same data source", q.DatasourceUID, source)
		default:
			source = q.DatasourceUID
		}
	}
	if source == "" {
		return "", wrong("data", "a rule needs a query of a data source")
	}
	return source, nil
}

// Check refuses a rule that misses what every rule has, and gives what may be
// left out its default.
func (r *Rule) Check() error {
	for _, f := range []struct{ name, value string }{{"title", r.Title}, {"folderUID", r.FolderUID}, {"ruleGroup", r.RuleGroup}} {
		if strings.TrimSpace(f.value) == "" {
			return wrong(f.name, "is missing")
		}
		if len(f.value) > 190 {
			return wrong(f.name, "has %d characters, allowed are 190", len(f.value))
		}
	}
	if r.Record != nil {
		r.Condition = r.Record.From
		if !model.LegacyValidation.IsValidMetricName(r.Record.Metric) {
			return wrong("record.metric", "found %q, allowed is the name of a metric", r.Record.Metric)
		}
	}
	if r.NoDataState == "" {
		r.NoDataState = "NoData"
	}
	if !slices.Contains([]string{"NoData", "OK", "Alerting", "KeepLast"}, r.NoDataState) {
		return wrong("noDataState", "found %q, allowed are NoData, OK, Alerting and KeepLast", r.NoDataState)
	}
	if r.ExecErrState == "" {
		r.ExecErrState = "Error"
	}
	if !slices.Contains([]string{"Error", "OK", "KeepLast"}, r.ExecErrState) {
		return wrong("execErrState", "found %q, allowed are Error, OK and KeepLast: a rule that cannot be evaluated has the health \"err\" and fires nothing by itself", r.ExecErrState)
	}
	if r.MissingSeries > 1 {
		return wrong("missingSeriesEvalsToResolve", "found %d, allowed is 1: an alert whose series is gone resolves with the next evaluation; keep_firing_for keeps it longer", r.MissingSeries)
	}
	if s := strings.TrimSpace(string(r.NotificationSettings)); s != "" && s != "null" {
		return wrong("notification_settings", "a rule cannot choose its contact point here: give it a label, and the policies a matcher for it")
	}
	r.NotificationSettings = nil
	for _, f := range []struct {
		name  string
		value *string
	}{{"for", &r.For}, {"keep_firing_for", &r.KeepFiringFor}} {
		if *f.value == "" {
			continue
		}
		d, err := model.ParseDuration(*f.value)
		if err != nil {
			return wrong(f.name, "found %q, allowed are durations such as 5m or 1h30m", *f.value)
		}
		*f.value = d.String()
	}
	if r.For == "" {
		r.For = "0s"
	}
	return nil
}

// Prometheus translates a rule that Check found good. folder is the title of its
// folder. A rule may become two: the second fires where the first has no data.
func (r *Rule) Prometheus(folder string) ([]PromRule, error) {
	if _, err := r.Source(); err != nil {
		return nil, err
	}
	nodes, err := r.nodes()
	if err != nil {
		return nil, err
	}
	if r.Record != nil {
		value, err := nodes.value(r.Record.From)
		if err != nil {
			return nil, err
		}
		return []PromRule{{Record: r.Record.Metric, Expr: value, Labels: r.Labels}}, nil
	}
	expr, err := nodes.condition(r.Condition)
	if err != nil {
		return nil, err
	}
	rule := PromRule{Alert: r.Title, Expr: expr, For: r.For, KeepFiringFor: zero(r.KeepFiringFor), Labels: map[string]string{"grafana_folder": folder}}
	maps.Copy(rule.Labels, r.Labels)
	if rule.Annotations, err = nodes.texts("annotations", r.Annotations); err != nil {
		return nil, err
	}
	if rule.Labels, err = nodes.texts("labels", rule.Labels); err != nil {
		return nil, err
	}
	return r.withNoData(rule, nodes)
}

func zero(d string) string {
	if d == "0s" {
		return ""
	}
	return d
}

// withNoData adds what fires where the queries have no data, as Grafana does.
func (r *Rule) withNoData(rule PromRule, n *nodes) ([]PromRule, error) {
	if r.NoDataState == "OK" || r.NoDataState == "KeepLast" {
		return []PromRule{rule}, nil
	}
	query := n.queries[slices.Sorted(maps.Keys(n.queries))[0]]
	missing := PromRule{Alert: r.Title, Expr: "absent(" + query.expr + ")", For: r.For, Labels: rule.Labels, Annotations: rule.Annotations}
	if r.NoDataState == "NoData" {
		missing.Alert, missing.Labels = "DatasourceNoData", maps.Clone(rule.Labels)
		missing.Labels["rulename"], missing.Labels["ref_id"], missing.Labels["datasource_uid"] = r.Title, query.ref, query.source
	}
	return []PromRule{rule, missing}, nil
}

// valueOf finds what templates of Grafana call the values of a rule's queries.
var valueOf = regexp.MustCompile(`\(?\s*(?:\$values\.([A-Za-z0-9_]+)|index \$values "([^"]+)")\s*\)?(\.Value)?`)

// texts translates templates: the value of whatever leads to the condition is
// $value there.
func (n *nodes) texts(field string, in map[string]string) (map[string]string, error) {
	out := make(map[string]string, len(in))
	for name, text := range in {
		var bad string
		out[name] = valueOf.ReplaceAllStringFunc(text, func(s string) string {
			m := valueOf.FindStringSubmatch(s)
			ref := m[1] + m[2]
			if !n.carried[ref] {
				bad = ref
			}
			return " $value "
		})
		if bad != "" {
			return nil, wrong(field+"."+name, "$values.%s is not known when the alert fires: $value is the value that is compared", bad)
		}
		if strings.Contains(out[name], "$values") {
			return nil, wrong(field+"."+name, "$values as a whole is not known when the alert fires: $value is the value that is compared")
		}
	}
	return out, nil
}

// RulesFile writes groups as the rules file that a namespace is. Paused rules are
// not in it, and groups without rules neither; it is empty where nothing is left.
func RulesFile(groups []Group, folder string) ([]byte, error) {
	type group struct {
		Name     string     `yaml:"name"`
		Interval string     `yaml:"interval"`
		Rules    []PromRule `yaml:"rules"`
	}
	var file struct {
		Groups []group `yaml:"groups"`
	}
	for _, g := range groups {
		out := group{Name: g.Name, Interval: model.Duration(g.Interval).String()}
		for i := range g.Rules {
			if g.Rules[i].IsPaused {
				continue
			}
			rules, err := g.Rules[i].Prometheus(folder)
			if err != nil {
				return nil, fmt.Errorf("rule %q: %w", g.Rules[i].Title, err)
			}
			out.Rules = append(out.Rules, rules...)
		}
		if len(out.Rules) > 0 {
			file.Groups = append(file.Groups, out)
		}
	}
	if len(file.Groups) == 0 {
		return nil, nil
	}
	return yaml.Marshal(file)
}
