package rewrite

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Context is the level of OpenTelemetry's data that a path without a prefix is
// about. The empty one allows no such paths.
type Context string

// The contexts for metrics.
const (
	ResourceContext  Context = "resource"
	ScopeContext     Context = "scope"
	MetricContext    Context = "metric"
	DataPointContext Context = "datapoint"
)

// Contexts returns the names of all contexts.
func Contexts() []string {
	return []string{string(ResourceContext), string(ScopeContext), string(MetricContext), string(DataPointContext)}
}

// Condition is a compiled condition.
type Condition struct {
	Text string
	expr expr
	// Warnings are sentences about what is valid but can not be meant.
	Warnings []string
	uses     touch
	// reads are the resource attributes that it looks at, "" for all of them.
	reads []string
	// resourceOnly is true if it looks at nothing but the resource.
	resourceOnly bool
}

// Statement is a compiled statement: an editor and the condition under which it runs.
type Statement struct {
	Text     string
	editor   editor
	where    expr // nil for always
	Warnings []string
	uses     touch
	reads    []string
	// resourceOnly is true if nothing but the resource is read and written.
	resourceOnly bool
}

// ParseCondition compiles a condition. The error says what is wrong and at which
// column, or what cannot be decided per series.
func ParseCondition(text string, context Context) (*Condition, error) {
	p, err := newParser(text, context)
	if err != nil {
		return nil, err
	}
	e, err := p.or()
	if err == nil {
		err = p.end()
	}
	if err != nil {
		return nil, err
	}
	return &Condition{Text: text, expr: e, Warnings: p.warnings, uses: p.uses, reads: p.reads, resourceOnly: !p.series}, nil
}

// ParseStatement compiles a statement.
func ParseStatement(text string, context Context) (*Statement, error) {
	p, err := newParser(text, context)
	if err != nil {
		return nil, err
	}
	ed, err := p.editor()
	if err != nil {
		return nil, err
	}
	s := &Statement{Text: text, editor: ed}
	if p.word("where") {
		if s.where, err = p.or(); err != nil {
			return nil, err
		}
	}
	if err := p.end(); err != nil {
		return nil, err
	}
	s.Warnings, s.uses, s.reads, s.resourceOnly = p.warnings, p.uses|ed.touches(), p.reads, !p.series && ed.onResource()
	if ed.onResource() && p.series {
		s.Warnings = append(s.Warnings, "changes a resource under a condition on its metrics; here this is seen by the metric alone, not by the others of the resource")
	}
	return s, nil
}

// maxDepth bounds nesting, so that no text makes the parser recurse without end.
const maxDepth = 50

type parser struct {
	tokens   []token
	context  Context
	depth    int
	warnings []string
	// uses are the parts of a series that expressions read, reads the resource
	// attributes among them; series is true if anything else is read.
	uses   touch
	reads  []string
	series bool
}

func newParser(text string, context Context) (*parser, error) {
	tokens, err := lex(text)
	if err != nil {
		return nil, err
	}
	return &parser{tokens: tokens, context: context}, nil
}

func (p *parser) peek() token { return p.tokens[0] }

func (p *parser) next() token {
	t := p.tokens[0]
	if t.kind != endToken {
		p.tokens = p.tokens[1:]
	}
	return t
}

func (p *parser) errorf(at token, format string, args ...any) error {
	return &syntaxError{at: at.at, text: fmt.Sprintf(format, args...)}
}

// sign takes an operator or bracket, if it is the next token.
func (p *parser) sign(text string) bool {
	if t := p.peek(); t.kind != signToken || t.text != text {
		return false
	}
	p.next()
	return true
}

// word takes a word, if it is the next token.
func (p *parser) word(text string) bool {
	if t := p.peek(); t.kind != wordToken || t.text != text {
		return false
	}
	p.next()
	return true
}

func (p *parser) expect(sign string) error {
	if !p.sign(sign) {
		return p.errorf(p.peek(), "expected %q, found %s", sign, p.peek())
	}
	return nil
}

func (p *parser) end() error {
	if t := p.peek(); t.kind != endToken {
		return p.errorf(t, "unexpected %s", t)
	}
	return nil
}

func (p *parser) or() (expr, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, p.errorf(p.peek(), "nested too deeply")
	}
	defer func() { p.depth-- }()
	e, err := p.and()
	if err != nil || !p.word("or") {
		return e, err
	}
	all := anyOf{e}
	for more := true; more; more = p.word("or") {
		if e, err = p.and(); err != nil {
			return nil, err
		}
		all = append(all, e)
	}
	return all, nil
}

func (p *parser) and() (expr, error) {
	e, err := p.factor()
	if err != nil || !p.word("and") {
		return e, err
	}
	all := allOf{e}
	for more := true; more; more = p.word("and") {
		if e, err = p.factor(); err != nil {
			return nil, err
		}
		all = append(all, e)
	}
	return all, nil
}

func (p *parser) factor() (expr, error) {
	negated := p.word("not")
	var e expr
	var err error
	if p.sign("(") {
		if e, err = p.or(); err == nil {
			err = p.expect(")")
		}
	} else {
		e, err = p.comparison()
	}
	if err != nil {
		return nil, err
	}
	if negated {
		return not{e}, nil
	}
	return e, nil
}

var comparisons = []string{"==", "!=", "<=", ">=", "<", ">"}

func (p *parser) comparison() (expr, error) {
	start := p.peek()
	left, err := p.value()
	if err != nil {
		return nil, err
	}
	op := p.peek()
	if op.kind != signToken || !slices.Contains(comparisons, op.text) {
		if c, ok := left.(call); ok && c.Function.boolean {
			return left, nil
		}
		if l, ok := left.(literal); ok {
			if _, ok := l.Value.(bool); ok {
				return left, nil
			}
		}
		return nil, p.errorf(op, "expected a comparison after %s, found %s", start, op)
	}
	p.next()
	right, err := p.value()
	if err != nil {
		return nil, err
	}
	for _, pair := range [][2]expr{{left, right}, {right, left}} {
		p.checkTypes(pair[0], pair[1])
	}
	return compare{Op: op.text, Left: left, Right: right}, nil
}

var arithmetic = []string{"+", "-", "*", "/"}

// checkTypes warns of a comparison of an attribute with what no label can be.
func (p *parser) checkTypes(a, b expr) {
	attr, isAttribute := a.(attribute)
	l, isLiteral := b.(literal)
	if !isAttribute || !isLiteral {
		return
	}
	switch l.Value.(type) {
	case int64, float64, bool:
		p.warnings = append(p.warnings, fmt.Sprintf("the attribute %q is a text, which never equals %v; compare with a text in quotes", attr.Key, l.Value))
	}
}

// value reads an operand or an argument.
func (p *parser) value() (expr, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, p.errorf(p.peek(), "nested too deeply")
	}
	defer func() { p.depth-- }()
	e, err := p.operand()
	if t := p.peek(); err == nil && t.kind == signToken && slices.Contains(arithmetic, t.text) {
		return nil, p.errorf(t, "arithmetic is not supported: attributes are texts")
	}
	return e, err
}

func (p *parser) operand() (expr, error) {
	t := p.peek()
	switch t.kind {
	case stringToken:
		p.next()
		return literal{t.text}, nil
	case intToken, floatToken:
		return p.number(false)
	case wordToken:
		return p.wordOperand()
	case signToken:
		switch t.text {
		case "-":
			p.next()
			return p.number(true)
		case "[":
			return p.list()
		}
	}
	return nil, p.errorf(t, "expected a value, found %s", t)
}

func (p *parser) number(negative bool) (expr, error) {
	t := p.next()
	text := t.text
	if negative {
		text = "-" + text
	}
	switch t.kind {
	case intToken:
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			return literal{n}, nil
		}
	case floatToken:
		if f, err := strconv.ParseFloat(text, 64); err == nil {
			return literal{f}, nil
		}
	}
	return nil, p.errorf(t, "expected a number, found %s", t)
}

func (p *parser) list() (expr, error) {
	p.next()
	var items list
	for !p.sign("]") {
		if len(items) > 0 {
			if err := p.expect(","); err != nil {
				return nil, err
			}
		}
		e, err := p.value()
		if err != nil {
			return nil, err
		}
		items = append(items, e)
	}
	return items, nil
}

// enums are the constants that metric.type and metric.aggregation_temporality are
// compared with.
var enums = map[string]int64{
	"METRIC_DATA_TYPE_NONE": 0, "METRIC_DATA_TYPE_GAUGE": typeGauge, "METRIC_DATA_TYPE_SUM": typeSum, "METRIC_DATA_TYPE_HISTOGRAM": typeHistogram,
	"METRIC_DATA_TYPE_EXPONENTIAL_HISTOGRAM": typeExponential, "METRIC_DATA_TYPE_SUMMARY": typeSummary,
	"AGGREGATION_TEMPORALITY_UNSPECIFIED": 0, "AGGREGATION_TEMPORALITY_DELTA": 1, "AGGREGATION_TEMPORALITY_CUMULATIVE": cumulative,
}

func (p *parser) wordOperand() (expr, error) {
	t := p.peek()
	switch t.text {
	case "true", "false":
		p.next()
		return literal{t.text == "true"}, nil
	case "nil":
		p.next()
		return literal{}, nil
	case "and", "or", "not", "where":
		return nil, p.errorf(t, "expected a value, found %s", t)
	}
	if n, ok := enums[t.text]; ok {
		p.next()
		return literal{n}, nil
	}
	if isUpper(t.text) {
		return p.call()
	}
	return p.path()
}

func isUpper(word string) bool { return word[0] >= 'A' && word[0] <= 'Z' }

// call reads a function and its arguments.
func (p *parser) call() (expr, error) {
	t := p.next()
	f, ok := functions[t.text]
	if !ok {
		if why := refusedFunctions[t.text]; why != "" {
			return nil, p.errorf(t, "the function %s is not supported: %s", t.text, why)
		}
		return nil, p.errorf(t, "the function %q is not supported (supported: %s)", t.text, strings.Join(sortedNames(functions), ", "))
	}
	args, err := p.arguments(t, f.parameters, f.required)
	if err != nil {
		return nil, err
	}
	c := call{Name: t.text, Function: f.kind, Args: args}
	if f.pattern >= 0 {
		if c.Pattern, err = p.pattern(t, args[f.pattern]); err != nil {
			return nil, err
		}
	}
	if t := p.peek(); t.kind == signToken && t.text == "[" {
		return nil, p.errorf(t, "a part of a function's result is not supported")
	}
	return c, nil
}

// arguments reads a list of arguments, by place or by name.
func (p *parser) arguments(of token, parameters []string, required int) ([]expr, error) {
	if err := p.expect("("); err != nil {
		return nil, err
	}
	args := make([]expr, len(parameters))
	for n := 0; !p.sign(")"); n++ {
		if n > 0 {
			if err := p.expect(","); err != nil {
				return nil, err
			}
		}
		at := n
		if t := p.peek(); t.kind == wordToken && p.tokens[1].kind == signToken && p.tokens[1].text == "=" {
			if at = slices.Index(parameters, t.text); at < 0 {
				return nil, p.errorf(t, "%s has no argument %q (it has: %s)", of.text, t.text, strings.Join(parameters, ", "))
			}
			p.next()
			p.next()
		}
		if at >= len(args) {
			return nil, p.errorf(p.peek(), "%s has at most %d arguments here: %s", of.text, len(parameters), strings.Join(parameters, ", "))
		}
		e, err := p.value()
		if err != nil {
			return nil, err
		}
		args[at] = e
	}
	for i := range required {
		if args[i] == nil {
			return nil, p.errorf(of, "%s lacks the argument %q (it has: %s)", of.text, parameters[i], strings.Join(parameters, ", "))
		}
	}
	return args, nil
}

// text returns an argument that must be a text written in the configuration.
func (p *parser) text(of token, e expr) (string, error) {
	if l, ok := e.(literal); ok {
		if s, ok := l.Value.(string); ok {
			return s, nil
		}
	}
	return "", p.errorf(of, "%s needs a text in quotes there", of.text)
}

func (p *parser) pattern(of token, e expr) (*regexp.Regexp, error) {
	s, err := p.text(of, e)
	if err != nil {
		return nil, err
	}
	re, err := regexp.Compile(s)
	if err != nil {
		return nil, p.errorf(of, "%v", err)
	}
	return re, nil
}

// path reads a path such as metric.name or resource.attributes["k"].
func (p *parser) path() (expr, error) {
	start := p.next()
	context, field := p.context, start
	if c, ok := contextNamed(start.text); ok && p.sign(".") {
		if !p.reaches(c) {
			return nil, p.errorf(start, "%s is not known in the context %q", start.text, p.context)
		}
		if field = p.next(); field.kind != wordToken {
			return nil, p.errorf(field, "expected a field of %s, found %s", start.text, field)
		}
		context = c
	} else if context == "" {
		return nil, p.errorf(start, "begin the path with its context, such as metric.name, datapoint.attributes or resource.attributes; found %s", start)
	}
	switch {
	case field.text == "attributes" && (context == ResourceContext || context == DataPointContext):
		return p.attribute(context == ResourceContext)
	case context == MetricContext && metricFields[field.text]:
		p.series = true
		return metricField{field.text}, nil
	case context == ScopeContext && field.text == "name":
		p.series = true
		return scopeName{}, nil
	case context == DataPointContext && perSample[field.text]:
		return nil, p.errorf(field, "%s differs from sample to sample; here it is decided once for each series what becomes of it", field.text)
	}
	return nil, p.errorf(field, "the field %q of %s is not supported (supported: %s)", field.text, context, supportedFields[context])
}

func contextNamed(word string) (Context, bool) {
	if word == "instrumentation_scope" {
		return ScopeContext, true
	}
	return Context(word), slices.Contains(Contexts(), word)
}

// reaches reports whether a context can see another: itself and those above it.
func (p *parser) reaches(c Context) bool {
	all := Contexts()
	return p.context == "" || slices.Index(all, string(c)) <= slices.Index(all, string(p.context))
}

// metricFields are the fields of a metric that can be read.
var metricFields = map[string]bool{
	"name": true, "description": true, "unit": true, "type": true, "is_monotonic": true, "aggregation_temporality": true,
}

// perSample are the fields of a data point that are not the series' own.
var perSample = map[string]bool{
	"value": true, "value_double": true, "value_int": true, "count": true, "sum": true, "time": true, "time_unix_nano": true, "start_time": true,
	"start_time_unix_nano": true, "flags": true, "exemplars": true, "bucket_counts": true, "quantile_values": true, "explicit_bounds": true,
}

var supportedFields = map[Context]string{
	ResourceContext: "attributes", ScopeContext: "name", DataPointContext: "attributes",
	MetricContext: "name, description, unit, type, is_monotonic, aggregation_temporality",
}

// attribute reads the key of an attribute; without one it is all of them.
func (p *parser) attribute(resource bool) (expr, error) {
	p.series = p.series || !resource
	if !p.sign("[") {
		if resource {
			p.uses |= readsResource
			p.reads = append(p.reads, "")
		}
		return attributeMap{Resource: resource}, nil
	}
	t := p.next()
	if t.kind != stringToken || t.text == "" {
		return nil, p.errorf(t, "the key of an attribute must be a text in quotes, found %s", t)
	}
	if err := p.expect("]"); err != nil {
		return nil, err
	}
	if more := p.peek(); more.kind == signToken && more.text == "[" {
		return nil, p.errorf(more, "the attribute %q is a text and has no parts", t.text)
	}
	if resource {
		p.uses |= touchOfRead(t.text)
		p.reads = append(p.reads, t.text)
	} else if why := whyHidden(t.text); why != "" {
		p.warnings = append(p.warnings, why)
	}
	return attribute{Resource: resource, Key: t.text}, nil
}

// whyHidden says why a label is not an attribute of a data point, or returns "".
func whyHidden(key string) string {
	switch key {
	case "job":
		return `"job" is the resource attribute "service.name" here, and no attribute of a data point`
	case "instance":
		return `"instance" is the resource attribute "service.instance.id" here, and no attribute of a data point`
	case "__name__":
		return `"__name__" is the metric's name here, and no attribute of a data point`
	}
	return ""
}
