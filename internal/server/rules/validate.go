package rules

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"gopkg.in/yaml.v3"
)

// Issue is something that is wrong with the data of a namespace.
type Issue struct {
	Line, Column int // from 1; 0 is not known
	Group        string
	Rule         int // from 1 in the group; 0 is the group itself
	RuleName     string
	Field        string // such as expr or labels.severity; "" is the whole
	Message      string
}

// String returns the issue as one line.
func (i Issue) String() string {
	var b strings.Builder
	switch {
	case i.Line > 0 && i.Column > 0:
		fmt.Fprintf(&b, "line %d, column %d: ", i.Line, i.Column)
	case i.Line > 0:
		fmt.Fprintf(&b, "line %d: ", i.Line)
	}
	if i.Group != "" {
		fmt.Fprintf(&b, "group %q, ", i.Group)
	}
	if i.Rule > 0 {
		fmt.Fprintf(&b, "rule %d", i.Rule)
		if i.RuleName != "" {
			fmt.Fprintf(&b, " (%s)", i.RuleName)
		}
		b.WriteString(", ")
	}
	if i.Field != "" {
		fmt.Fprintf(&b, "field %s: ", i.Field)
	}
	return strings.TrimSuffix(b.String(), ", ") + separator(i) + i.Message
}

func separator(i Issue) string {
	if i.Field == "" && (i.Group != "" || i.Rule > 0) {
		return ": "
	}
	return ""
}

// Parse reads the YAML of a namespace and says everything that is wrong with it.
// What Prometheus does not accept in a file of rules is not accepted here.
func Parse(data []byte) (*rulefmt.RuleGroups, []Issue) {
	doc, issues := document(data)
	if len(issues) > 0 {
		return nil, issues
	}
	return parse(doc, data)
}

// parse reads data, whose issues are where doc says.
func parse(doc *yaml.Node, data []byte) (*rulefmt.RuleGroups, []Issue) {
	x := index{root: doc}
	issues := x.precheck()
	if len(issues) > 0 {
		return nil, issues
	}
	groups, errs := rulefmt.Parse(data, false, model.UTF8Validation, parser.NewParser(parser.Options{}), slog.New(slog.DiscardHandler))
	for _, err := range errs {
		issues = append(issues, x.issues(err)...)
	}
	if len(issues) > 0 {
		return nil, issues
	}
	return groups, nil
}

// document reads the one YAML document that there has to be.
func document(data []byte) (*yaml.Node, []Issue) {
	if !utf8.Valid(data) {
		return nil, []Issue{{Message: "the data is not UTF-8"}}
	}
	d := yaml.NewDecoder(bytes.NewReader(data))
	var doc, second yaml.Node
	if err := d.Decode(&doc); errors.Is(err, io.EOF) || err == nil && len(doc.Content) == 0 {
		return nil, []Issue{{Message: "the data is empty: rule groups are expected"}}
	} else if err != nil {
		return nil, yamlIssues(err)
	}
	if err := d.Decode(&second); err == nil {
		return nil, []Issue{{Line: second.Line, Column: second.Column, Message: "a second YAML document: only one is allowed"}}
	} else if !errors.Is(err, io.EOF) {
		return nil, yamlIssues(err)
	}
	return doc.Content[0], nil
}

var (
	yamlLine = regexp.MustCompile(`^\s*(?:yaml: )?line (\d+): (.*)$`)
	position = regexp.MustCompile(`^(?:\d+:\d+: )+`)
)

// yamlIssues takes an error of the YAML reader apart, which may be about many
// lines.
func yamlIssues(err error) []Issue {
	lines := strings.Split(strings.TrimPrefix(err.Error(), "yaml: unmarshal errors:\n"), "\n")
	out := make([]Issue, 0, len(lines))
	for _, l := range lines {
		i := Issue{Message: strings.TrimPrefix(l, "yaml: ")}
		if m := yamlLine.FindStringSubmatch(l); m != nil {
			i.Line, _ = strconv.Atoi(m[1]) // digits
			i.Message = m[2]
		}
		out = append(out, i)
	}
	return out
}

// index finds where in the YAML something is.
type index struct{ root *yaml.Node }

// child returns the key and the value of a field of a mapping, nil if it is not
// there.
func child(n *yaml.Node, key string) (k, v *yaml.Node) {
	if n = resolved(n); n == nil || n.Kind != yaml.MappingNode {
		return nil, nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i], resolved(n.Content[i+1])
		}
	}
	return nil, nil
}

func resolved(n *yaml.Node) *yaml.Node {
	if n != nil && n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

// items returns the elements of a list in a field.
func items(n *yaml.Node, key string) []*yaml.Node {
	_, v := child(n, key)
	if v == nil || v.Kind != yaml.SequenceNode {
		return nil
	}
	return v.Content
}

func text(n *yaml.Node, key string) string {
	if _, v := child(n, key); v != nil && v.Kind == yaml.ScalarNode {
		return v.Value
	}
	return ""
}

func nameOf(rule *yaml.Node) string {
	if name := text(rule, "alert"); name != "" {
		return name
	}
	return text(rule, "record")
}

// The fields that there are, as Prometheus has them.
var (
	fileFields  = []string{"groups"}
	groupFields = []string{"name", "interval", "query_offset", "limit", "labels", "rules"}
	ruleFields  = []string{"alert", "record", "expr", "for", "keep_firing_for", "labels", "annotations"}
)

// unknown finds fields that are none of the known ones.
func unknown(n *yaml.Node, at Issue, known []string) (out []Issue) {
	if n = resolved(n); n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		if k.Tag == "!!merge" || slices.Contains(known, k.Value) {
			continue
		}
		at.Line, at.Column, at.Field = k.Line, k.Column, k.Value
		at.Message = "unknown field, allowed are " + strings.Join(known, ", ")
		out = append(out, at)
	}
	return out
}

// precheck finds what Prometheus' reader says without a place, or not at all.
func (x index) precheck() (out []Issue) {
	seen := make(map[string]bool)
	if k, _ := child(x.root, "groups"); k == nil {
		i := Issue{Line: x.root.Line, Column: x.root.Column, Field: "groups", Message: "is required"}
		if x.root.Kind != yaml.MappingNode {
			i.Field, i.Message = "", "a mapping with the field groups is expected"
		}
		return append(out, i)
	}
	out = unknown(x.root, Issue{}, fileFields)
	for _, g := range items(x.root, "groups") {
		name := text(g, "name")
		out = append(out, unknown(g, Issue{Group: name}, groupFields)...)
		at := Issue{Line: g.Line, Column: g.Column, Group: name}
		if k, _ := child(g, "name"); k != nil {
			at.Line, at.Column = k.Line, k.Column
		}
		switch {
		case name == "":
			at.Field, at.Message = "name", "a group needs a name"
			out = append(out, at)
		case seen[name]:
			at.Field, at.Message = "name", "another group of the file has this name"
			out = append(out, at)
		}
		seen[name] = true
		out = append(out, durations(g, Issue{Group: name}, "interval", "query_offset")...)
		for n, r := range items(g, "rules") {
			at := Issue{Group: name, Rule: n + 1, RuleName: nameOf(r)}
			out = append(out, unknown(r, at, ruleFields)...)
			out = append(out, durations(r, at, "for", "keep_firing_for")...)
			if text(r, "alert") == "" && text(r, "record") == "" {
				at.Line, at.Column, at.Message = r.Line, r.Column, "one of the fields record and alert must be set"
				out = append(out, at)
			}
			if k, _ := child(r, "expr"); k == nil {
				at.Line, at.Column, at.Field, at.Message = r.Line, r.Column, "expr", "is required"
				out = append(out, at)
			}
		}
	}
	return out
}

// durations checks fields that hold a duration: the reader does not say where a
// bad one is.
func durations(n *yaml.Node, at Issue, fields ...string) (out []Issue) {
	for _, f := range fields {
		k, v := child(n, f)
		if v == nil || v.Kind != yaml.ScalarNode || v.Tag == "!!null" {
			continue
		}
		if _, err := model.ParseDuration(v.Value); err != nil {
			at.Line, at.Column, at.Field = k.Line, k.Column, f
			at.Message = fmt.Sprintf("%q is not a duration such as 30s, 5m or 1h30m", v.Value)
			out = append(out, at)
		}
	}
	return out
}

// issues turns an error of Prometheus' reader into issues with a place.
func (x index) issues(err error) []Issue {
	var rule *rulefmt.Error
	if !errors.As(err, &rule) {
		if strings.HasPrefix(err.Error(), "yaml: ") {
			return yamlIssues(err)
		}
		return []Issue{{Message: position.ReplaceAllString(err.Error(), "")}}
	}
	i := Issue{Group: rule.Group, Rule: rule.Rule, RuleName: rule.RuleName, Message: rule.Err.Error()}
	i.Message = position.ReplaceAllString(i.Message, "")
	i.Field = fieldOf(i.Message)
	i.Message = quoted.ReplaceAllString(i.Message, "")
	for _, g := range items(x.root, "groups") {
		if text(g, "name") != rule.Group {
			continue
		}
		if list := items(g, "rules"); rule.Rule <= len(list) {
			r := list[rule.Rule-1]
			i.Line, i.Column = r.Line, r.Column
			parent, key, nested := strings.Cut(i.Field, ".")
			if k, v := child(r, parent); k != nil {
				i.Line, i.Column = k.Line, k.Column
				if k, _ := child(v, key); nested && k != nil {
					i.Line, i.Column = k.Line, k.Column
				}
			}
		}
	}
	return []Issue{i}
}

var quoted = regexp.MustCompile(`^(label|annotation) ("(?:[^"\\]|\\.)*"): `)

// fieldOf tells from a message which field of a rule it is about.
func fieldOf(message string) string {
	if m := quoted.FindStringSubmatch(message); m != nil {
		if name, err := strconv.Unquote(m[2]); err == nil {
			return m[1] + "s." + name
		}
	}
	for prefix, field := range map[string]string{
		"could not parse expression": "expr", "only one of 'record'": "record", "invalid field 'annotations'": "annotations",
		"invalid field 'for'": "for", "invalid field 'keep_firing_for'": "keep_firing_for", "invalid recording rule name": "record",
		"braces present": "record", "invalid label value": "labels",
	} {
		if strings.HasPrefix(message, prefix) {
			return field
		}
	}
	if name, ok := strings.CutPrefix(message, "invalid label name: "); ok {
		return "labels." + name
	}
	if name, ok := strings.CutPrefix(message, "invalid annotation name: "); ok {
		return "annotations." + name
	}
	return ""
}

// maxIssues is how many issues an error lists.
const maxIssues = 20

func joinIssues(issues []Issue) string {
	lines := make([]string, 0, min(len(issues), maxIssues)+1)
	for n, i := range issues {
		if n == maxIssues {
			lines = append(lines, fmt.Sprintf("and %d more", len(issues)-n))
			break
		}
		lines = append(lines, i.String())
	}
	return strings.Join(lines, "; ")
}

// check reads the data of a namespace under the bounds that hold here.
func (s *Records) check(namespace string, data []byte) (*rulefmt.RuleGroups, error) {
	if len(data) > s.cfg.MaxBytes {
		return nil, &InvalidError{Field: "data", Message: fmt.Sprintf("%d bytes, allowed are %d (setting rules.max_bytes)", len(data), s.cfg.MaxBytes)}
	}
	groups, issues := Parse(data)
	if len(issues) == 0 {
		issues = s.bounds(namespace, data, groups)
	}
	if len(issues) > 0 {
		return nil, &InvalidError{Field: "data", Message: joinIssues(issues)}
	}
	return groups, nil
}

func (s *Records) bounds(namespace string, data []byte, groups *rulefmt.RuleGroups) (out []Issue) {
	doc, _ := document(data) // it was read before
	for n, g := range items(doc, "groups") {
		group := &groups.Groups[n]
		at := Issue{Line: g.Line, Column: g.Column, Group: group.Name}
		if len(namespace)+len(group.Name) > maxNames {
			at.Field, at.Message = "name", fmt.Sprintf("together with the namespace's name %d bytes, allowed are %d", len(namespace)+len(group.Name), maxNames)
			out = append(out, at)
		}
		if k, _ := child(g, "interval"); k != nil && group.Interval != 0 && time.Duration(group.Interval) < s.cfg.MinInterval {
			at.Line, at.Column, at.Field = k.Line, k.Column, "interval"
			at.Message = fmt.Sprintf("%s is less than %s (setting rules.min_interval)", group.Interval, s.cfg.MinInterval)
			out = append(out, at)
		}
	}
	return out
}
