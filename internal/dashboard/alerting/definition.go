package alerting

import (
	"bytes"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/common/model"
	"gopkg.in/yaml.v3"
)

// Nobody is the contact point that is told nothing; policies begin with it.
const Nobody = "empty"

// Route is a policy: who is told of which alerts.
type Route struct {
	Receiver       string            `json:"receiver,omitempty"`
	GroupBy        []string          `json:"group_by,omitempty"`
	ObjectMatchers [][3]string       `json:"object_matchers,omitempty"`
	Matchers       []string          `json:"matchers,omitempty"`
	Match          map[string]string `json:"match,omitempty"`
	MatchRE        map[string]string `json:"match_re,omitempty"`
	MuteTimes      []string          `json:"mute_time_intervals,omitempty"`
	ActiveTimes    []string          `json:"active_time_intervals,omitempty"`
	Continue       bool              `json:"continue,omitempty"`
	GroupWait      string            `json:"group_wait,omitempty"`
	GroupInterval  string            `json:"group_interval,omitempty"`
	RepeatInterval string            `json:"repeat_interval,omitempty"`
	Routes         []*Route          `json:"routes,omitempty"`
	Provenance     string            `json:"provenance,omitempty"`
}

// DefaultRoute is the tree of policies that nobody has changed.
func DefaultRoute() *Route {
	return &Route{Receiver: Nobody, GroupBy: []string{"grafana_folder", "alertname"}}
}

// MuteTiming is a time, with a name, in which policies are quiet.
type MuteTiming struct {
	Name          string         `json:"name"`
	TimeIntervals []TimeInterval `json:"time_intervals"`
	Version       string         `json:"version,omitempty"`
	Provenance    string         `json:"provenance,omitempty"`
}

// TimeInterval is a repeating time in the alert manager's words.
type TimeInterval struct {
	Times []struct {
		StartTime string `json:"start_time" yaml:"start_time"`
		EndTime   string `json:"end_time" yaml:"end_time"`
	} `json:"times,omitempty" yaml:"times,omitempty"`
	Weekdays    []string `json:"weekdays,omitempty" yaml:"weekdays,omitempty"`
	DaysOfMonth []string `json:"days_of_month,omitempty" yaml:"days_of_month,omitempty"`
	Months      []string `json:"months,omitempty" yaml:"months,omitempty"`
	Years       []string `json:"years,omitempty" yaml:"years,omitempty"`
	Location    string   `json:"location,omitempty" yaml:"location,omitempty"`
}

// Template is a text that notifications use.
type Template struct {
	Name       string `json:"name"`
	Template   string `json:"template"`
	Version    string `json:"version,omitempty"`
	Provenance string `json:"provenance,omitempty"`
}

// Notifications are everything that an alert manager is told by.
type Notifications struct {
	Contacts  []Contact // with their secrets
	Policies  *Route
	Timings   []MuteTiming
	Templates []Template
}

// marker is the first line of definitions that are written here.
const marker = "# Written by the alert provisioning API of dashboard workspace "

// Owner is the dashboard workspace that wrote a definition, if one did.
func Owner(definition []byte) (string, bool) {
	rest, ok := bytes.CutPrefix(definition, []byte(marker))
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	return strings.TrimSpace(string(line)), ok
}

// Definition writes the definition of an alert manager for a dashboard workspace.
func (n *Notifications) Definition(owner string) ([]byte, error) {
	receivers := []map[string]any{{"name": Nobody}}
	for _, c := range n.Contacts {
		field, settings, err := c.receiver()
		if err != nil {
			return nil, fmt.Errorf("contact point %q: %w", c.Name, err)
		}
		i := slices.IndexFunc(receivers, func(r map[string]any) bool { return r["name"] == c.Name })
		if i < 0 {
			i = len(receivers)
			receivers = append(receivers, map[string]any{"name": c.Name})
		}
		list, _ := receivers[i][field].([]any)
		receivers[i][field] = append(list, settings)
	}
	policies := n.Policies
	if policies == nil {
		policies = DefaultRoute()
	}
	root, err := n.route(policies, "", receivers)
	if err != nil {
		return nil, err
	}
	config := map[string]any{"route": root, "receivers": receivers}
	var timings []any
	for _, t := range n.Timings {
		timings = append(timings, map[string]any{"name": t.Name, "time_intervals": t.TimeIntervals})
	}
	if timings != nil {
		config["time_intervals"] = timings
	}
	files := n.files()
	config["templates"] = slices.Sorted(maps.Keys(files))
	text, err := yaml.Marshal(config)
	if err != nil {
		return nil, err
	}
	out, err := yaml.Marshal(map[string]any{"alertmanager_config": string(text), "template_files": files})
	return append([]byte(marker+owner+"\n"), out...), err
}

// files are the templates, and those that texts of Grafana suppose to be there.
func (n *Notifications) files() map[string]string {
	out := map[string]string{"grafana-defaults": defaults}
	for _, t := range n.Templates {
		out[t.Name] = t.Template
	}
	return out
}

const defaults = `{{ define "default.title" }}{{ template "__subject" . }}{{ end }}
{{ define "default.message" }}{{ range .Alerts }}{{ .Status }}: {{ .Labels.alertname }}{{ range .Annotations.SortedPairs }}
{{ .Name }}: {{ .Value }}{{ end }}
{{ range .Labels.SortedPairs }}{{ .Name }}={{ .Value }} {{ end }}
{{ end }}{{ end }}
`

// route translates a policy and those below it; field says where it is.
func (n *Notifications) route(r *Route, field string, receivers []map[string]any) (map[string]any, error) {
	out := map[string]any{}
	if r.Receiver == "" && field == "" {
		return nil, wrong("receiver", "the first policy needs a contact point")
	}
	if r.Receiver != "" {
		if !slices.ContainsFunc(receivers, func(c map[string]any) bool { return c["name"] == r.Receiver }) {
			return nil, wrong(field+"receiver", "there is no contact point %q", r.Receiver)
		}
		out["receiver"] = r.Receiver
	}
	matchers, err := r.matchers(field)
	if err != nil {
		return nil, err
	}
	if field == "" && len(matchers)+len(r.MuteTimes)+len(r.ActiveTimes) > 0 {
		return nil, wrong("object_matchers", "the first policy is for all alerts: it has no matchers and no times")
	}
	if len(matchers) > 0 {
		out["matchers"] = matchers
	}
	if len(r.GroupBy) > 0 {
		out["group_by"] = r.GroupBy
	}
	for name, list := range map[string][]string{"mute_time_intervals": r.MuteTimes, "active_time_intervals": r.ActiveTimes} {
		for _, t := range list {
			if !slices.ContainsFunc(n.Timings, func(m MuteTiming) bool { return m.Name == t }) {
				return nil, wrong(field+name, "there is no mute timing %q", t)
			}
		}
		if len(list) > 0 {
			out[name] = list
		}
	}
	for name, d := range map[string]string{"group_wait": r.GroupWait, "group_interval": r.GroupInterval, "repeat_interval": r.RepeatInterval} {
		if d == "" {
			continue
		}
		if _, err := model.ParseDuration(d); err != nil {
			return nil, wrong(field+name, "found %q, allowed are durations such as 30s or 4h", d)
		}
		out[name] = d
	}
	if r.Continue {
		out["continue"] = true
	}
	var below []any
	for i, inner := range r.Routes {
		if inner == nil {
			return nil, wrong(fmt.Sprintf("%sroutes[%d]", field, i), "is empty")
		}
		one, err := n.route(inner, fmt.Sprintf("%sroutes[%d].", field, i), receivers)
		if err != nil {
			return nil, err
		}
		below = append(below, one)
	}
	if below != nil {
		out["routes"] = below
	}
	return out, nil
}

func (r *Route) matchers(field string) ([]string, error) {
	out := slices.Clone(r.Matchers)
	for i, m := range r.ObjectMatchers {
		if !slices.Contains([]string{"=", "!=", "=~", "!~"}, m[1]) {
			return nil, wrong(fmt.Sprintf("%sobject_matchers[%d]", field, i), "found %q, allowed are =, !=, =~ and !~", m[1])
		}
		out = append(out, quoteName(m[0])+m[1]+strconv.Quote(m[2]))
	}
	for _, name := range slices.Sorted(maps.Keys(r.Match)) {
		out = append(out, quoteName(name)+"="+strconv.Quote(r.Match[name]))
	}
	for _, name := range slices.Sorted(maps.Keys(r.MatchRE)) {
		out = append(out, quoteName(name)+"=~"+strconv.Quote(r.MatchRE[name]))
	}
	return out, nil
}

func quoteName(name string) string {
	if model.LegacyValidation.IsValidLabelName(name) {
		return name
	}
	return strconv.Quote(name)
}

// Uses reports whether a policy or one below it names a contact point.
func (r *Route) Uses(contact string) bool {
	return r.Receiver == contact || slices.ContainsFunc(r.Routes, func(i *Route) bool { return i != nil && i.Uses(contact) })
}

// UsesTiming reports whether a policy or one below it names a mute timing.
func (r *Route) UsesTiming(name string) bool {
	return slices.Contains(r.MuteTimes, name) || slices.Contains(r.ActiveTimes, name) ||
		slices.ContainsFunc(r.Routes, func(i *Route) bool { return i != nil && i.UsesTiming(name) })
}

var defines = regexp.MustCompile(`\{\{-?\s*define\s`)

// Check refuses a name that cannot be that of a template; a text that defines
// nothing becomes the definition of its name.
func (t *Template) Check() error {
	if strings.TrimSpace(t.Name) == "" || strings.ContainsAny(t.Name, `*?[]\`) || t.Name == "grafana-defaults" {
		return wrong("name", "found %q, allowed are names without * ? [ ] \\", t.Name)
	}
	if strings.TrimSpace(t.Template) == "" {
		return wrong("template", "is missing")
	}
	if !defines.MatchString(t.Template) {
		t.Template = "{{ define " + strconv.Quote(t.Name) + " }}\n" + t.Template + "\n{{ end }}"
	}
	return nil
}

// Check refuses a mute timing without a name or times.
func (m *MuteTiming) Check() error {
	if strings.TrimSpace(m.Name) == "" {
		return wrong("name", "is missing")
	}
	if len(m.TimeIntervals) == 0 {
		return wrong("time_intervals", "is missing")
	}
	return nil
}
