package rewrite

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"

	prom "github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/mangru/mangru/internal/model"
)

// subject is what an expression is about: one series.
type subject struct {
	b      *labels.Builder
	m      metric
	family model.Family
}

// scrapeFamilies are what the receiver says about the series that a scrape adds,
// whatever the target says.
var scrapeFamilies = map[string]model.Family{
	"up":                                    {Name: "up", Type: model.TypeGauge, Help: "The scraping was successful"},
	"scrape_duration_seconds":               {Name: "scrape_duration_seconds", Type: model.TypeGauge, Unit: "seconds", Help: "Duration of the scrape"},
	"scrape_samples_scraped":                {Name: "scrape_samples_scraped", Type: model.TypeGauge, Help: "The number of samples the target exposed"},
	"scrape_samples_post_metric_relabeling": {Name: "scrape_samples_post_metric_relabeling", Type: model.TypeGauge, Help: "The number of samples remaining after metric relabeling was applied"},
	"scrape_series_added":                   {Name: "scrape_series_added", Type: model.TypeGauge, Help: "The approximate number of new series in this scrape"},
}

func newSubject(b *labels.Builder, f model.Family) *subject {
	if own, ok := scrapeFamilies[b.Get(prom.MetricNameLabel)]; ok {
		f = own
	}
	return &subject{b: b, m: metricOf(b, f), family: f}
}

func (s *subject) attributes(resource bool) attributes {
	return attributes{b: s.b, m: s.m, resource: resource}
}

// expr is a compiled expression. Its values are string, int64, float64, bool,
// []any or nil, for what is not there. It returns false if it has none, because
// a function was given what it cannot work with.
type expr interface {
	eval(s *subject) (v any, ok bool)
}

type literal struct{ Value any }

func (l literal) eval(*subject) (any, bool) { return l.Value, true }

type list []expr

func (l list) eval(s *subject) (any, bool) {
	out := make([]any, len(l))
	for i, e := range l {
		v, ok := e.eval(s)
		if !ok {
			return nil, false
		}
		out[i] = v
	}
	return out, true
}

// attribute is one attribute.
type attribute struct {
	Resource bool
	Key      string
}

func (a attribute) eval(s *subject) (any, bool) {
	if v := s.attributes(a.Resource).get(a.Key); v != "" {
		return v, true
	}
	return nil, true
}

// attributeMap is all attributes together; only editors can do something with it.
type attributeMap struct{ Resource bool }

func (attributeMap) eval(*subject) (any, bool) { return nil, false }

type scopeName struct{}

func (scopeName) eval(s *subject) (any, bool) {
	if v := s.b.Get(scopePrefix + "name"); v != "" {
		return v, true
	}
	return receiverScope, true
}

// The numbers of a metric's types and temporalities.
const (
	typeGauge int64 = iota + 1
	typeSum
	typeHistogram
	typeExponential
	typeSummary
	cumulative int64 = 2
)

// metricField is a field of the metric.
type metricField struct{ Name string }

func (f metricField) eval(s *subject) (any, bool) {
	typ := s.m.otelNumber()
	switch f.Name {
	case "name":
		return s.m.name, true
	case "description":
		return s.family.Help, true
	case "unit":
		return ucum(s.m, s.family.Unit), true
	case "type":
		return typ, true
	case "is_monotonic":
		if typ == typeSum {
			return s.m.typ == model.TypeCounter, true
		}
	case "aggregation_temporality":
		if typ == typeSum || typ == typeHistogram || typ == typeExponential {
			return cumulative, true
		}
	}
	return nil, true
}

func (m metric) otelNumber() int64 {
	switch m.typ {
	case model.TypeCounter, model.TypeInfo, model.TypeStateset:
		return typeSum
	case model.TypeHistogram:
		if m.suffix == "" {
			return typeExponential
		}
		return typeHistogram
	case model.TypeSummary:
		return typeSummary
	}
	return typeGauge
}

// ucumUnits are the units that the receiver writes in another way than
// Prometheus does.
var ucumUnits = map[string]string{
	"days": "d", "hours": "h", "minutes": "min", "seconds": "s", "milliseconds": "ms", "microseconds": "us", "nanoseconds": "ns",
	"bytes": "By", "kibibytes": "KiBy", "mebibytes": "MiBy", "gibibytes": "GiBy", "tibibytes": "TiBy",
	"kilobytes": "KBy", "megabytes": "MBy", "gigabytes": "GBy", "terabytes": "TBy",
	"meters": "m", "volts": "V", "amperes": "A", "joules": "J", "watts": "W", "grams": "g", "celsius": "Cel", "hertz": "Hz",
	"ratio": "1", "percent": "%",
}

// ucum returns the metric's unit as metric.unit has it.
func ucum(m metric, unit string) string {
	if m.typ == model.TypeUnknown {
		return ""
	}
	unit, per, divided := strings.Cut(unit, "_per_")
	if u, ok := ucumUnits[unit]; ok {
		unit = u
	}
	if divided && per != "" {
		perUnits := map[string]string{"second": "s", "minute": "m", "hour": "h", "day": "d", "week": "w", "month": "mo", "year": "y"}
		if u, ok := perUnits[per]; ok {
			per = u
		}
		return unit + "/" + per
	}
	return unit
}

type anyOf []expr

func (l anyOf) eval(s *subject) (any, bool) {
	for _, e := range l {
		if v, ok := e.eval(s); !ok || v == true {
			return v, ok
		}
	}
	return false, true
}

type allOf []expr

func (l allOf) eval(s *subject) (any, bool) {
	for _, e := range l {
		if v, ok := e.eval(s); !ok || v == false {
			return v, ok
		}
	}
	return true, true
}

type not struct{ Of expr }

func (n not) eval(s *subject) (any, bool) {
	v, ok := n.Of.eval(s)
	return v == false, ok
}

type compare struct {
	Op          string
	Left, Right expr
}

func (c compare) eval(s *subject) (any, bool) {
	l, ok := c.Left.eval(s)
	if !ok {
		return nil, false
	}
	r, ok := c.Right.eval(s)
	if !ok {
		return nil, false
	}
	return compareValues(c.Op, l, r), true
}

// compareValues compares as OTTL does: values of different kinds are different
// and neither is less.
func compareValues(op string, l, r any) bool {
	switch l := l.(type) {
	case string:
		if r, ok := r.(string); ok {
			return holds(op, cmp.Compare(l, r))
		}
	case bool:
		if r, ok := r.(bool); ok {
			return holds(op, cmp.Compare(number(l), number(r)))
		}
	case int64:
		switch r := r.(type) {
		case int64:
			return holds(op, cmp.Compare(l, r))
		case float64:
			return holds(op, cmp.Compare(float64(l), r))
		}
	case float64:
		switch r := r.(type) {
		case int64:
			return holds(op, cmp.Compare(l, float64(r)))
		case float64:
			return holds(op, cmp.Compare(l, r))
		}
	case nil:
		if r == nil {
			return holds(op, 0)
		}
	}
	return op == "!="
}

func number(b bool) int {
	if b {
		return 1
	}
	return 0
}

func holds(op string, order int) bool {
	switch op {
	case "==":
		return order == 0
	case "!=":
		return order != 0
	case "<":
		return order < 0
	case "<=":
		return order <= 0
	case ">":
		return order > 0
	}
	return order >= 0
}

// function describes a function that can be called.
type function struct {
	kind       functionKind
	parameters []string
	required   int
	// pattern is the place of an argument that is a regular expression, or -1.
	pattern int
}

type functionKind struct {
	name    string
	boolean bool
}

func stringFunction(name string, required int, parameters ...string) function {
	return function{kind: functionKind{name: name}, parameters: parameters, required: required, pattern: -1}
}

func boolFunction(name string, pattern int, parameters ...string) function {
	return function{kind: functionKind{name: name, boolean: true}, parameters: parameters, required: len(parameters), pattern: pattern}
}

// functions are those that can be called, by name.
var functions = map[string]function{
	"IsMatch":     boolFunction("IsMatch", 1, "target", "pattern"),
	"HasPrefix":   boolFunction("HasPrefix", -1, "target", "prefix"),
	"HasSuffix":   boolFunction("HasSuffix", -1, "target", "suffix"),
	"IsString":    boolFunction("IsString", -1, "target"),
	"Concat":      stringFunction("Concat", 2, "vals", "delimiter"),
	"ConvertCase": stringFunction("ConvertCase", 2, "target", "to_case"),
	"ToLowerCase": stringFunction("ToLowerCase", 1, "target"),
	"ToUpperCase": stringFunction("ToUpperCase", 1, "target"),
	"String":      stringFunction("String", 1, "target"),
	"SHA256":      stringFunction("SHA256", 1, "target"),
	"Trim":        stringFunction("Trim", 1, "target", "replacement"),
	"TrimPrefix":  stringFunction("TrimPrefix", 2, "target", "prefix"),
	"TrimSuffix":  stringFunction("TrimSuffix", 2, "target", "suffix"),
}

const perMetric = "it looks at all data points of a metric together; use a condition on datapoint.attributes, which drops the series that match"

// refusedFunctions are functions that exist and say why they cannot work here.
var refusedFunctions = map[string]string{
	"HasAttrOnDatapoint":    perMetric,
	"HasAttrKeyOnDatapoint": perMetric,
	"Now":                   "its value differs from sample to sample",
	"UUID":                  "its value differs each time",
}

func sortedNames[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for n := range m {
		names = append(names, n)
	}
	sort.Strings(names)
	return names
}

// call is a function with its arguments.
type call struct {
	Name     string
	Function functionKind
	Args     []expr
	Pattern  *regexp.Regexp
}

func (c call) eval(s *subject) (any, bool) {
	args := make([]any, len(c.Args))
	for i, e := range c.Args {
		if e == nil {
			continue
		}
		v, ok := e.eval(s)
		if !ok {
			return nil, false
		}
		args[i] = v
	}
	switch c.Name {
	case "IsMatch":
		v, ok := text(args[0])
		return ok && c.Pattern.MatchString(v), true
	case "IsString":
		_, ok := args[0].(string)
		return ok, true
	case "String":
		if v, ok := text(args[0]); ok {
			return v, true
		}
		return nil, true
	case "Concat":
		return concat(args[0], args[1])
	}
	target, ok := args[0].(string)
	if !ok {
		return nil, false
	}
	if len(args) == 1 || args[1] == nil {
		return c.one(target)
	}
	other, ok := args[1].(string)
	if !ok {
		return nil, false
	}
	return c.two(target, other)
}

// one calls a function of one text.
func (c call) one(target string) (any, bool) {
	switch c.Name {
	case "ToLowerCase":
		return strings.ToLower(target), true
	case "ToUpperCase":
		return strings.ToUpper(target), true
	case "Trim":
		return strings.Trim(target, " "), true
	case "SHA256":
		sum := sha256.Sum256([]byte(target))
		return hex.EncodeToString(sum[:]), true
	}
	return nil, false
}

// two calls a function of two texts.
func (c call) two(target, other string) (any, bool) {
	switch c.Name {
	case "HasPrefix":
		return strings.HasPrefix(target, other), true
	case "HasSuffix":
		return strings.HasSuffix(target, other), true
	case "Trim":
		return strings.Trim(target, other), true
	case "TrimPrefix":
		return strings.TrimPrefix(target, other), true
	case "TrimSuffix":
		return strings.TrimSuffix(target, other), true
	case "ConvertCase":
		switch other {
		case "lower":
			return strings.ToLower(target), true
		case "upper":
			return strings.ToUpper(target), true
		}
	}
	return nil, false
}

func concat(values, delimiter any) (any, bool) {
	items, ok := values.([]any)
	d, isText := delimiter.(string)
	if !ok || !isText {
		return nil, false
	}
	parts := make([]string, len(items))
	for i, item := range items {
		if parts[i], ok = text(item); !ok {
			parts[i] = "<nil>" // what OTTL writes for a value that is not there
		}
	}
	return strings.Join(parts, d), true
}

// text returns a value as text, as an attribute would hold it.
func text(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case int64:
		return strconv.FormatInt(v, 10), true
	case float64:
		return FormatDouble(v), true
	case bool:
		return strconv.FormatBool(v), true
	}
	return "", false
}

// DropIf drops the series for which one of the conditions holds, as the filter
// processor does. A condition that cannot be decided does not hold.
type DropIf []*Condition

// Apply evaluates the conditions.
func (d DropIf) Apply(b *labels.Builder, f model.Family) bool {
	s := newSubject(b, f)
	return !slices.ContainsFunc(d, func(c *Condition) bool { return c.holds(s) })
}

func (c *Condition) holds(s *subject) bool {
	v, ok := c.expr.eval(s)
	return ok && v == true
}

func (d DropIf) touches() touch {
	t := writesSeries
	for _, c := range d {
		t |= c.uses
	}
	return t
}

func (DropIf) names() []string { return nil }

func (d DropIf) resourceReads() []string { return readsOf(d, nil) }

func readsOf(conditions []*Condition, statements []*Statement) []string {
	var keys []string
	for _, c := range conditions {
		keys = append(keys, c.reads...)
	}
	for _, s := range statements {
		keys = append(keys, s.reads...)
	}
	return keys
}

// onResource returns the conditions that have to do with the resource alone.
func (d DropIf) onResource() Step {
	var only DropIf
	for _, c := range d {
		if c.resourceOnly {
			only = append(only, c)
		}
	}
	if len(only) == 0 {
		return nil
	}
	return only
}

// Transform runs statements, as a group of the transform processor does.
type Transform struct {
	// Conditions are those of which one must hold; none means always.
	Conditions []*Condition
	Statements []*Statement
}

// Apply runs the statements in their order.
func (t Transform) Apply(b *labels.Builder, f model.Family) bool {
	s := newSubject(b, f)
	if len(t.Conditions) > 0 && !slices.ContainsFunc(t.Conditions, func(c *Condition) bool { return c.holds(s) }) {
		return true
	}
	for _, st := range t.Statements {
		if st.where != nil {
			if v, ok := st.where.eval(s); !ok || v != true {
				continue
			}
		}
		st.editor.edit(s)
	}
	return true
}

func (t Transform) touches() touch {
	var all touch
	for _, c := range t.Conditions {
		all |= c.uses
	}
	for _, s := range t.Statements {
		all |= s.uses
	}
	return all
}

func (t Transform) resourceReads() []string { return readsOf(t.Conditions, t.Statements) }

func (t Transform) names() []string {
	var names []string
	for _, s := range t.Statements {
		if k, ok := s.editor.(setAttribute); ok && !k.Resource {
			names = append(names, k.Key)
		}
	}
	return names
}

func (t Transform) resourceKeys() []string {
	var keys []string
	for _, s := range t.Statements {
		if k, ok := s.editor.(setAttribute); ok && k.Resource {
			keys = append(keys, k.Key)
		}
	}
	return keys
}

// onResource returns the statements that have to do with the resource alone.
func (t Transform) onResource() Step {
	if len(t.Conditions) > 0 {
		return nil
	}
	var only Transform
	for _, s := range t.Statements {
		if s.resourceOnly && s.editor.onResource() {
			only.Statements = append(only.Statements, s)
		}
	}
	if len(only.Statements) == 0 {
		return nil
	}
	return only
}
