package otelconf

import (
	"fmt"
	"slices"
	"strings"

	"github.com/mangru/mangru/internal/rewrite"
)

// metricTransformBody is one transform as it is written.
type metricTransformBody struct {
	Include     string            `conf:"include"`
	MatchType   *node             `conf:"match_type"`
	MatchLabels map[string]string `conf:"experimental_match_labels"`
	Action      string            `conf:"action"`
	NewName     string            `conf:"new_name"`
	Group       *node             `conf:"group_resource_labels"`
	Aggregation *node             `conf:"aggregation_type"`
	Case        *node             `conf:"submatch_case"`
	Operations  []*node           `conf:"operations"`
}

func (l *loader) metricsTransform(c *component) rewrite.Program {
	var body struct {
		Transforms []*node `conf:"transforms"`
	}
	decodeInto(c.body, c.path, &body, &l.problems)
	var program rewrite.Program
	for i, n := range body.Transforms {
		if t, ok := l.metricTransform(n, fmt.Sprintf("%s.transforms[%d]", c.path, i)); ok {
			program = append(program, t)
		}
	}
	return program
}

func (l *loader) metricTransform(n *node, field string) (rewrite.MetricsTransform, bool) {
	before := len(l.list)
	var b metricTransformBody
	decodeInto(n, field, &b, &l.problems)
	t := rewrite.MetricsTransform{NewName: b.NewName}
	if b.Include == "" {
		l.at(n.pos, field+".include", "is missing: the name of the metric")
	}
	switch b.Action {
	case "update":
	case "insert", "combine", "group":
		l.at(n.get("action").pos, field+".action", "%q is not supported: each series is changed on its own here, none is made from others (supported: update); use a recording rule, or metric_relabel_configs in the scrape job", b.Action)
	default:
		l.oneOf(nodeAt(n, "action"), field+".action", b.Action, []string{"update"})
	}
	typ := nodeText(b.MatchType)
	if typ == "" {
		typ = "strict"
	} else if !l.oneOf(b.MatchType, field+".match_type", typ, []string{"strict", "regexp"}) {
		return t, false
	}
	if typ == "regexp" {
		t.Pattern = l.regexpOf(nodeAt(n, "include"), field+".include", b.Include)
	} else {
		t.Name = b.Include
	}
	for _, key := range sortedKeys(b.MatchLabels) {
		m := rewrite.AttributeMatch{Key: key, Value: b.MatchLabels[key]}
		if typ == "regexp" {
			m = rewrite.AttributeMatch{Key: key, Pattern: l.regexpOf(n.get("experimental_match_labels"), field+".experimental_match_labels", m.Value)}
		}
		t.Labels = append(t.Labels, m)
	}
	for i, op := range b.Operations {
		if o, ok := l.labelOperation(op, fmt.Sprintf("%s.operations[%d]", field, i)); ok {
			t.Operations = append(t.Operations, o)
		}
	}
	if len(t.Labels) > 0 && (t.NewName != "" || slices.ContainsFunc(t.Operations, func(o rewrite.LabelOperation) bool { return o.Kind != rewrite.UpdateLabel })) {
		l.at(n.get("experimental_match_labels").pos, field+".experimental_match_labels", "is supported for the operation update_label only: the others look at all data points of a metric together")
	}
	return t, len(l.list) == before
}

func (l *loader) labelOperation(n *node, field string) (rewrite.LabelOperation, bool) {
	before := len(l.list)
	var b struct {
		Action      string  `conf:"action"`
		Label       string  `conf:"label"`
		NewLabel    string  `conf:"new_label"`
		LabelSet    *node   `conf:"label_set"`
		Aggregation *node   `conf:"aggregation_type"`
		Aggregated  *node   `conf:"aggregated_values"`
		NewValue    string  `conf:"new_value"`
		Values      []*node `conf:"value_actions"`
		Scale       *node   `conf:"experimental_scale"`
		LabelValue  string  `conf:"label_value"`
	}
	decodeInto(n, field, &b, &l.problems)
	supported := []string{string(rewrite.AddLabel), string(rewrite.UpdateLabel), string(rewrite.DeleteLabelValue)}
	op := rewrite.LabelOperation{Kind: rewrite.LabelOperationKind(b.Action), Label: b.Label, NewLabel: b.NewLabel}
	missing := func(key, value string) {
		if value == "" {
			l.at(n.pos, join(field, key), "is missing")
		}
	}
	switch op.Kind {
	case rewrite.AddLabel:
		missing("new_label", b.NewLabel)
		missing("new_value", b.NewValue)
		op.Value = b.NewValue
	case rewrite.UpdateLabel:
		missing("label", b.Label)
		op.Values = l.valueActions(b.Values, field+".value_actions")
	case rewrite.DeleteLabelValue:
		missing("label", b.Label)
		op.Value = b.LabelValue
	default:
		switch b.Action {
		case "aggregate_labels", "aggregate_label_values", "toggle_scalar_data_type", "experimental_scale_value":
			l.at(n.get("action").pos, field+".action", "%q is not supported: labels are changed here once for each series, never values (supported: %s)", b.Action, strings.Join(supported, ", "))
		default:
			l.oneOf(nodeAt(n, "action"), field+".action", b.Action, supported)
		}
	}
	if strings.Contains(b.NewValue, "{{version}}") {
		l.at(n.get("new_value").pos, field+".new_value", "{{version}} is not supported: the label would change with every update and begin all series anew")
	}
	for _, label := range []string{b.Label, b.NewLabel} {
		l.warnLabel(n, field, label)
	}
	return op, len(l.list) == before
}

func (l *loader) valueActions(items []*node, path string) map[string]string {
	out := map[string]string{}
	for i, n := range items {
		var b struct {
			Value    string `conf:"value"`
			NewValue string `conf:"new_value"`
		}
		decodeInto(n, fmt.Sprintf("%s[%d]", path, i), &b, &l.problems)
		out[b.Value] = b.NewValue
	}
	return out
}
