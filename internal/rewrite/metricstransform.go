package rewrite

import (
	"regexp"
	"slices"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/mangru/mangru/internal/model"
)

// MetricsTransform is one transform of the metricstransform processor with the
// action update.
type MetricsTransform struct {
	// Name is the metric's whole name, or Pattern matches anywhere in it.
	Name    string
	Pattern *regexp.Regexp
	// Labels must have these values; an empty value means none at all. With
	// Pattern the values are patterns themselves.
	Labels []AttributeMatch
	// NewName, if any, is the metric's new name; with Pattern it may refer to groups.
	NewName    string
	Operations []LabelOperation
}

// LabelOperation is one operation on the labels of a metric.
type LabelOperation struct {
	Kind LabelOperationKind
	// Label is the label to update, or of which a value is deleted.
	Label string
	// NewLabel is the label to add, or the new name of Label; may be empty.
	NewLabel string
	// Value is that of the label to add, or the one that is deleted.
	Value string
	// Values are the new values of Label by its old ones.
	Values map[string]string
}

// LabelOperationKind says what an operation does.
type LabelOperationKind string

// The operations.
const (
	AddLabel         LabelOperationKind = "add_label"    // where it is missing
	UpdateLabel      LabelOperationKind = "update_label" //
	DeleteLabelValue LabelOperationKind = "delete_label_value"
)

// Apply transforms the series if it is the metric's.
func (s MetricsTransform) Apply(b *labels.Builder, f model.Family) bool {
	m := metricOf(b, f)
	a := attributes{b: b, m: m}
	if !s.matches(m.name) || !s.matchLabels(a) {
		return true
	}
	if s.NewName != "" {
		m.rename(b, s.newName(m.name))
	}
	for _, op := range s.Operations {
		if !op.apply(a) {
			return false
		}
	}
	return true
}

func (s MetricsTransform) matches(name string) bool {
	if s.Pattern != nil {
		return s.Pattern.MatchString(name)
	}
	return name == s.Name
}

func (s MetricsTransform) matchLabels(a attributes) bool {
	return !slices.ContainsFunc(s.Labels, func(l AttributeMatch) bool {
		v := a.get(l.Key)
		return l.Pattern == nil && v != l.Value || l.Pattern != nil && !l.Pattern.MatchString(v)
	})
}

func (s MetricsTransform) newName(name string) string {
	if s.Pattern == nil {
		return s.NewName
	}
	expanded := s.Pattern.ExpandString(nil, s.NewName, name, s.Pattern.FindStringSubmatchIndex(name))
	if len(expanded) == 0 {
		return s.NewName
	}
	return string(expanded)
}

func (op LabelOperation) apply(a attributes) (keep bool) {
	switch op.Kind {
	case AddLabel:
		if a.get(op.NewLabel) == "" {
			a.set(op.NewLabel, op.Value)
		}
	case UpdateLabel:
		value := a.get(op.Label)
		if value == "" {
			return true
		}
		label := op.Label
		if op.NewLabel != "" && op.NewLabel != label {
			a.set(label, "")
			label = op.NewLabel
			a.set(label, value)
		}
		if v, ok := op.Values[value]; ok {
			a.set(label, v)
		}
	case DeleteLabelValue:
		return a.get(op.Label) != op.Value || op.Value == ""
	}
	return true
}

func (s MetricsTransform) touches() touch {
	if s.NewName != "" {
		return writesSeries | renames
	}
	return writesSeries
}

func (s MetricsTransform) names() []string {
	var names []string
	for _, op := range s.Operations {
		names = append(names, op.NewLabel)
	}
	return names
}
