package rewrite

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	prom "github.com/prometheus/common/model"
	"github.com/prometheus/otlptranslator"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/mangru/mangru/internal/model"
)

// Export is what an exporter does to names and labels.
type Export struct {
	// OTel names series as the OpenTelemetry Collector's prometheusremotewrite
	// exporter does. Without it names stay as they are exposed.
	OTel bool
	// Strategy is the exporter's translation_strategy; the zero value is its
	// default. It has an effect with OTel only.
	Strategy Strategy
	// Namespace is put before every metric's name.
	Namespace string
	// Scope says what becomes of the otel_scope_ labels, with OTel only.
	Scope Scope
	// ScopeVersion is the version under ScopeAdd.
	ScopeVersion string
	// Convert chooses the resource attributes that become labels of every series.
	Convert Conversion
	// External are the exporter's external_labels, added where a series has none
	// of that name. Their names are used as they are; see ExternalName.
	External labels.Labels
	// TargetInfo sends a target_info series for each target, with OTel only.
	TargetInfo bool
}

// Strategy is a way to turn OpenTelemetry's names into Prometheus' ones.
type Strategy string

// The strategies, with the names that the exporter has for them.
const (
	EscapeWithSuffixes    Strategy = "UnderscoreEscapingWithSuffixes"
	EscapeWithoutSuffixes Strategy = "UnderscoreEscapingWithoutSuffixes"
	KeepWithSuffixes      Strategy = "NoUTF8EscapingWithSuffixes"
	KeepNames             Strategy = "NoTranslation"
)

// Strategies returns the valid strategies.
func Strategies() []string {
	return []string{string(EscapeWithSuffixes), string(EscapeWithoutSuffixes), string(KeepWithSuffixes), string(KeepNames)}
}

// utf8 reports whether names may hold any character.
func (s Strategy) utf8() bool { return s == KeepWithSuffixes || s == KeepNames }

func (s Strategy) suffixes() bool { return s == "" || s == EscapeWithSuffixes || s == KeepWithSuffixes }

// ExternalName returns the label name that a key of external_labels becomes.
func (s Strategy) ExternalName(key string) (string, error) {
	name, ok := s.labelName(key)
	if !ok {
		return "", fmt.Errorf("%q cannot be made a label name", key)
	}
	return name, nil
}

// Scope is a way to treat the labels that name an instrumentation scope.
type Scope uint8

// The ways to treat scope labels.
const (
	// ScopeAsExposed leaves the labels that a target exposes.
	ScopeAsExposed Scope = iota
	// ScopeAdd adds the receiver's own scope to series without one. The version
	// makes all series new ones whenever it changes.
	ScopeAdd
	// ScopeDrop takes the labels away, also where that makes two series one.
	ScopeDrop
)

// receiverScope is the name under which the prometheus receiver is known.
const receiverScope = "github.com/open-telemetry/opentelemetry-collector-contrib/receiver/prometheusreceiver"

// Conversion chooses resource attributes by their keys. The zero value chooses none.
type Conversion struct {
	Included, Excluded []*regexp.Regexp
}

// NewConversion reads patterns with the wildcards * and ?. No included but some
// excluded ones choose everything else.
func NewConversion(included, excluded []string) Conversion {
	if len(included) == 0 && len(excluded) > 0 {
		included = []string{"*"}
	}
	return Conversion{Included: wildcards(included), Excluded: wildcards(excluded)}
}

// ServiceAttributes are the attributes that become job and instance.
func ServiceAttributes() []string {
	return []string{serviceName, serviceInstance, serviceNamespace}
}

func wildcards(patterns []string) []*regexp.Regexp {
	var out []*regexp.Regexp
	for _, p := range patterns {
		p = strings.ReplaceAll(regexp.QuoteMeta(p), `\*`, `.*`)
		out = append(out, regexp.MustCompile(`(?s)^`+strings.ReplaceAll(p, `\?`, `.`)+`$`))
	}
	return out
}

func (c Conversion) enabled() bool { return len(c.Included) > 0 }

func (c Conversion) matches(key string) bool {
	hit := func(re *regexp.Regexp) bool { return re.MatchString(key) }
	return slices.ContainsFunc(c.Included, hit) && !slices.ContainsFunc(c.Excluded, hit)
}

func (e Export) changesSeries() bool {
	return e.OTel || e.Namespace != "" || e.Convert.enabled() || !e.External.IsEmpty()
}

// finish is the last step of a pipeline's program: it gives names their final
// form and takes away what only the steps before it needed.
type finish struct {
	Export
	// Names are attribute names that steps may have added and that are not
	// valid label names without UTF-8.
	Names []string
}

// add notes the names that need another form.
func (f *finish) add(names []string) {
	for _, n := range names {
		if n != "" && !plainLabel(n) && !slices.Contains(f.Names, n) {
			f.Names = append(f.Names, n)
		}
	}
}

// Apply names the series. It drops those that the exporter has no name for, and
// with OTel those whose only purpose is to say when another one began.
func (f finish) Apply(b *labels.Builder, family model.Family) bool {
	m := metricOf(b, family)
	if f.OTel && (m.created || !f.nameMetric(b, m, family.Unit) || !boundaryForm(b, m)) {
		return false
	}
	if !f.OTel && f.Namespace != "" {
		b.Set(prom.MetricNameLabel, f.Namespace+"_"+b.Get(prom.MetricNameLabel))
	}
	if !f.nameLabels(b, m) {
		return false
	}
	f.External.Range(func(l labels.Label) {
		if b.Get(l.Name) == "" {
			b.Set(l.Name, l.Value)
		}
	})
	if f.OTel {
		f.scope(b)
	}
	return true
}

// nameMetric gives the series the name that the exporter builds for its metric.
func (f finish) nameMetric(b *labels.Builder, m metric, unit string) bool {
	namer := otlptranslator.MetricNamer{Namespace: f.Namespace, WithMetricSuffixes: f.Strategy.suffixes(), UTF8Allowed: f.Strategy.utf8()}
	name, err := namer.Build(otlptranslator.Metric{Name: m.name, Unit: otelUnit(m, unit), Type: m.otelType()})
	if err != nil {
		return false
	}
	b.Set(prom.MetricNameLabel, name+m.exported)
	return true
}

// otelUnit returns the unit as the exporter's naming rules read it. A unit of
// which nothing is known to belong to the series is none.
func otelUnit(m metric, unit string) string {
	if m.typ == model.TypeUnknown {
		return ""
	}
	unit, per, divided := strings.Cut(unit, "_per_")
	if unit == "ratio" {
		unit = "1"
	}
	if divided && per != "" {
		return unit + "/" + per
	}
	return unit
}

// otelType returns the type that the receiver gives the metric.
func (m metric) otelType() otlptranslator.MetricType {
	switch m.typ {
	case model.TypeCounter:
		return otlptranslator.MetricTypeMonotonicCounter
	case model.TypeHistogram:
		if m.suffix == "" {
			return otlptranslator.MetricTypeExponentialHistogram
		}
		return otlptranslator.MetricTypeHistogram
	case model.TypeSummary:
		return otlptranslator.MetricTypeSummary
	case model.TypeInfo, model.TypeStateset:
		return otlptranslator.MetricTypeNonMonotonicCounter
	}
	return otlptranslator.MetricTypeGauge
}

// boundaryForm writes le and quantile without an exponent and without a fraction
// of zero. A bucket or quantile without a number is no part of a metric.
func boundaryForm(b *labels.Builder, m metric) bool {
	name := m.boundary()
	bucket := m.typ == model.TypeHistogram && m.suffix == suffixBucket
	quantile := m.typ == model.TypeSummary && m.suffix == ""
	if !bucket && !quantile {
		return true
	}
	text := b.Get(name)
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return false
	}
	if form := strconv.FormatFloat(v, 'f', -1, 64); form != text {
		b.Set(name, form)
	}
	return true
}

// named is a label under construction.
type named struct{ key, value string }

// nameLabels gives attributes their label names, adds the converted resource
// attributes and takes away every reserved label. Attributes that end up with
// the same name share it: their values are joined, in the order of their keys.
func (f finish) nameLabels(b *labels.Builder, m metric) bool {
	resource := attributes{b: b, resource: true}
	var list []named
	convert := false
	b.Range(func(l labels.Label) {
		switch {
		case l.Name == m.boundary():
		case !hidden(l.Name):
			list = append(list, named{l.Name, l.Value})
		}
	})
	if f.Convert.enabled() {
		resource.each(func(key, value string) {
			if !f.Convert.matches(key) {
				return
			}
			convert = true
			// It replaces an attribute of the data point with the same key.
			list = slices.DeleteFunc(list, func(n named) bool { return n.key == key })
			list = append(list, named{key, value})
		})
	}
	final, same, ok := f.finalNames(list, convert)
	if !ok {
		return false
	}
	if ns := resource.get(serviceNamespace); ns != "" && b.Get(prom.JobLabel) != "" {
		b.Set(prom.JobLabel, ns+"/"+b.Get(prom.JobLabel))
	}
	tidy(b)
	if same {
		return true
	}
	for _, n := range list {
		b.Del(n.key)
	}
	for _, n := range final {
		if (n.key == prom.JobLabel || n.key == prom.InstanceLabel) && b.Get(n.key) != "" {
			continue
		}
		b.Set(n.key, n.value)
	}
	return true
}

// finalNames returns the labels with their final names; same is true if they are
// what they were. It fails if an attribute has no possible name.
func (f finish) finalNames(list []named, convert bool) (final []named, same, ok bool) {
	same = !convert
	needsName := func(n named) bool { return f.nameNeeded(n.key, convert) }
	if same && !slices.ContainsFunc(list, needsName) {
		return nil, true, true
	}
	slices.SortStableFunc(list, func(a, b named) int { return strings.Compare(a.key, b.key) })
	for _, n := range list {
		name := n.key
		if needsName(n) {
			if name, ok = f.Strategy.labelName(n.key); !ok {
				return nil, false, false
			}
		}
		i := slices.IndexFunc(final, func(m named) bool { return m.key == name })
		switch {
		case i < 0:
			final = append(final, named{name, n.value})
		case final[i].value != n.value:
			final[i].value += ";" + n.value
		}
	}
	return final, false, true
}

// nameNeeded reports whether an attribute's key is not its label's name.
func (f finish) nameNeeded(key string, convert bool) bool {
	if f.OTel {
		return !plainLabel(key)
	}
	// Without OTel only what is not the target's own doing is named anew.
	return !plainLabel(key) && (convert || slices.Contains(f.Names, key))
}

// plainLabel reports whether every strategy leaves a label's name as it is.
func plainLabel(name string) bool {
	other := false
	for i, c := range []byte(name) {
		switch {
		case c == '_':
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z':
			other = true
		case c >= '0' && c <= '9' && i > 0:
			other = true
		default:
			return false
		}
	}
	return other
}

// labelName turns an attribute's key into a label name.
func (s Strategy) labelName(key string) (name string, ok bool) {
	if key == "" {
		return "", false
	}
	namer := otlptranslator.LabelNamer{UTF8Allowed: s.utf8(), PreserveMultipleUnderscores: true}
	name, err := namer.Build(key)
	return name, err == nil
}

// tidy takes away what must not leave: reserved and discovery's labels.
func tidy(b *labels.Builder) {
	b.Range(func(l labels.Label) {
		if strings.HasPrefix(l.Name, reserved) || discovered(l.Name) || l.Name == prom.SchemeLabel {
			b.Del(l.Name)
		}
	})
}

// scope treats the labels that name an instrumentation scope.
func (f finish) scope(b *labels.Builder) {
	own := false
	b.Range(func(l labels.Label) {
		if !strings.HasPrefix(l.Name, scopePrefix) {
			return
		}
		own = true
		if f.Scope == ScopeDrop || l.Name == scopePrefix+"schema_url" {
			b.Del(l.Name)
		}
	})
	if f.Scope == ScopeAdd && !own {
		b.Set(scopePrefix+"name", receiverScope)
		b.Set(scopePrefix+"version", f.ScopeVersion)
	}
}

// trimSuffixes takes type and unit off metrics' names, as the receiver's
// trim_metric_suffixes does.
type trimSuffixes struct{}

func (trimSuffixes) Apply(b *labels.Builder, f model.Family) bool {
	m := metricOf(b, f)
	name := m.name
	if m.typ == model.TypeCounter {
		name = strings.TrimSuffix(name, suffixTotal)
	}
	if m.typ != model.TypeUnknown && f.Unit != "" {
		name = strings.TrimSuffix(name, "_"+f.Unit)
	}
	m.rename(b, name)
	return true
}

// TargetInfo makes the labels of the target_info series of targets.
type TargetInfo struct {
	pipeline Pipeline
	steps    Program
}

// TargetInfo returns what makes target_info series, or nil if the exporter sends
// none.
func (p Pipeline) TargetInfo() *TargetInfo {
	if !p.Export.OTel || !p.Export.TargetInfo {
		return nil
	}
	t := &TargetInfo{pipeline: p}
	for _, s := range slices.Concat(p.Processors...) {
		if r, ok := s.(resourceStep); ok {
			if s := r.onResource(); s != nil {
				t.steps = append(t.steps, s)
			}
		}
	}
	return t
}

// Labels returns the labels of a target's series, whose value is 1. They are made
// from the target's own labels, from those that discovery gave it (__meta_ labels
// and __scheme__) and, where the target exposes a target_info series of its own,
// from the labels of that one, whose place the result then takes. It returns false
// if the target has no such series.
func (t *TargetInfo) Labels(target, discovery, exposed labels.Labels) (labels.Labels, bool) {
	b := labels.NewBuilder(discovery)
	for _, name := range []string{prom.JobLabel, prom.InstanceLabel} {
		value := target.Get(name)
		if v := t.pipeline.Receiver.Labels.Get(name); v != "" {
			value = v
		}
		b.Set(name, value)
	}
	enter{}.Apply(b, model.Family{})
	resource := attributes{b: b, resource: true}
	exposed.Range(func(l labels.Label) {
		if !hidden(l.Name) {
			resource.set(l.Name, l.Value)
		}
	})
	if !t.steps.Apply(b, model.Family{}) || b.Get(prom.JobLabel) == "" && b.Get(prom.InstanceLabel) == "" {
		return labels.EmptyLabels(), false
	}
	out := labels.NewBuilder(labels.EmptyLabels())
	for _, name := range []string{prom.JobLabel, prom.InstanceLabel} {
		out.Set(name, b.Get(name))
	}
	resource.each(func(key, value string) {
		if key == serviceNamespace || !slices.Contains(ServiceAttributes(), key) {
			out.Set(resourcePrefix+key, value)
		}
	})
	all := finish{Export: t.pipeline.Export}
	all.Convert = NewConversion(nil, ServiceAttributes())
	if !all.nameLabels(out, metric{}) {
		return labels.EmptyLabels(), false
	}
	name := targetInfo
	if ns := t.pipeline.Export.Namespace; ns != "" {
		name = ns + "_" + name
	}
	out.Set(prom.MetricNameLabel, name)
	ExternalLabels{Labels: t.pipeline.Export.External}.Apply(out, model.Family{})
	return out.Labels(), true
}
