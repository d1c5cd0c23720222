package otelconf

import (
	"fmt"
	"slices"
	"strings"

	"github.com/mangru/mangru/internal/rewrite"
)

func (l *loader) filter(c *component) rewrite.Program {
	var body struct {
		ErrorMode         *node `conf:"error_mode"`
		Metrics           *node `conf:"metrics"`
		MetricConditions  *node `conf:"metric_conditions"`
		Spans             *node `conf:"spans"`
		Traces            *node `conf:"traces"`
		Logs              *node `conf:"logs"`
		Profiles          *node `conf:"profiles"`
		TraceConditions   *node `conf:"trace_conditions"`
		LogConditions     *node `conf:"log_conditions"`
		ProfileConditions *node `conf:"profile_conditions"`
	}
	decodeInto(c.body, c.path, &body, &l.problems)
	l.errorMode(body.ErrorMode, c.path+".error_mode")
	l.otherSignals(c, "spans", "traces", "logs", "profiles", "trace_conditions", "log_conditions", "profile_conditions")
	if !body.MetricConditions.isNull() {
		if !body.Metrics.isNull() {
			l.at(body.Metrics.pos, c.path+".metrics", "cannot be used together with metric_conditions")
		}
		return l.metricConditions(body.MetricConditions, c.path+".metric_conditions")
	}
	var metrics struct {
		Include    *node   `conf:"include"`
		Exclude    *node   `conf:"exclude"`
		Regexp     *node   `conf:"regexp"`
		Resource   []*node `conf:"resource"`
		Metric     []*node `conf:"metric"`
		DataPoints []*node `conf:"datapoint"`
	}
	path := c.path + ".metrics"
	decodeInto(body.Metrics, path, &metrics, &l.problems)
	conditions := slices.Concat(
		l.conditions(metrics.Resource, path+".resource", rewrite.ResourceContext),
		l.conditions(metrics.Metric, path+".metric", rewrite.MetricContext),
		l.conditions(metrics.DataPoints, path+".datapoint", rewrite.DataPointContext),
	)
	if metrics.Include == nil && metrics.Exclude == nil {
		return dropIf(conditions)
	}
	if len(conditions) > 0 {
		l.at(body.Metrics.pos, path, "include and exclude cannot be used together with resource, metric and datapoint")
		return nil
	}
	f := rewrite.Filter{Include: l.match(metrics.Include, path+".include"), Exclude: l.match(metrics.Exclude, path+".exclude")}
	if f.Include == nil && f.Exclude == nil {
		return nil
	}
	return one(f)
}

func dropIf(conditions []*rewrite.Condition) rewrite.Program {
	if len(conditions) == 0 {
		return nil
	}
	return one(rewrite.DropIf(conditions))
}

// metricConditions reads metric_conditions: a list of conditions, or of groups.
func (l *loader) metricConditions(n *node, path string) rewrite.Program {
	var all []*rewrite.Condition
	l.groups(n, path, "conditions", func(g group) {
		all = append(all, l.conditions(g.items, g.path, g.context)...)
	})
	return dropIf(all)
}

// group is a list of conditions or statements with what is set for all of them.
type group struct {
	path       string
	context    rewrite.Context
	conditions []*node // only for statements
	items      []*node
	paths      string
}

// groups reads a list in both of its forms: texts, whose paths name their context,
// or groups of them.
func (l *loader) groups(n *node, path, key string, do func(group)) {
	if n.kind != sequence {
		l.at(n.pos, path, "must be a list, found %s", n.kind)
		return
	}
	texts := 0
	for _, item := range n.items {
		if item.kind == scalar {
			texts++
		}
	}
	switch {
	case texts == 0:
	case texts == len(n.items):
		do(group{path: path, items: n.items})
		return
	default:
		l.at(n.pos, path, "must be a list of texts or a list of groups, not both")
		return
	}
	for i, item := range n.items {
		field := fmt.Sprintf("%s[%d]", path, i)
		if g, ok := l.group(item, field, key); ok {
			do(g)
		}
	}
}

func (l *loader) group(item *node, field, key string) (group, bool) {
	before := len(l.list)
	var body struct {
		Context    *node   `conf:"context"`
		ErrorMode  *node   `conf:"error_mode"`
		Conditions []*node `conf:"conditions"`
		Statements []*node `conf:"statements"`
		Cache      *node   `conf:"shared_cache"`
	}
	decodeInto(item, field, &body, &l.problems)
	if key == "conditions" {
		for _, k := range []string{"statements", "shared_cache"} {
			if e := item.entry(k); e != nil {
				l.add(unknownField(*e, field, []string{"conditions", "context", "error_mode"}))
			}
		}
	}
	l.errorMode(body.ErrorMode, field+".error_mode")
	g := group{path: field + "." + key, items: body.Conditions}
	if key == "statements" {
		g.items, g.conditions, g.paths = body.Statements, body.Conditions, field+".conditions"
	}
	if !body.Context.isNull() {
		name := strings.ToLower(body.Context.text)
		if l.oneOf(body.Context, field+".context", name, rewrite.Contexts()) {
			g.context = rewrite.Context(name)
		}
	}
	return g, len(l.list) == before
}

// conditions compiles a list of conditions.
func (l *loader) conditions(items []*node, path string, context rewrite.Context) []*rewrite.Condition {
	var out []*rewrite.Condition
	for i, n := range items {
		field := fmt.Sprintf("%s[%d]", path, i)
		text, ok := l.ottlText(n, field)
		if !ok {
			continue
		}
		c, err := rewrite.ParseCondition(text, context)
		if err != nil {
			l.add(&Error{File: n.pos.file, Line: n.pos.line, Field: field, Text: err.Error(), Cause: err})
			continue
		}
		for _, w := range c.Warnings {
			l.warn(n.pos, field, "%s", w)
		}
		out = append(out, c)
	}
	return out
}

func (l *loader) ottlText(n *node, field string) (string, bool) {
	if n.isNull() || n.kind != scalar {
		l.at(n.pos, field, "must be a text")
		return "", false
	}
	return n.text, true
}

// match reads an include or exclude of the filter processor; nil chooses nothing
// in particular.
func (l *loader) match(n *node, path string) *rewrite.Match {
	if n.isNull() {
		return nil
	}
	var body struct {
		MatchType   *node   `conf:"match_type"`
		Regexp      *node   `conf:"regexp"`
		Names       []*node `conf:"metric_names"`
		Expressions *node   `conf:"expressions"`
		Resource    []*node `conf:"resource_attributes"`
	}
	decodeInto(n, path, &body, &l.problems)
	typ, ok := l.matchType(body.MatchType, n, path, len(body.Names)+len(body.Resource) > 0)
	if !ok {
		return nil
	}
	if !body.Expressions.isNull() {
		l.at(body.Expressions.pos, path+".expressions", "expressions are not supported; use OTTL conditions under metrics.metric or metrics.datapoint")
		return nil
	}
	m := &rewrite.Match{}
	l.matchNames(m, body.Names, typ, path+".metric_names")
	for i, r := range body.Resource {
		if a, ok := l.matchAttribute(r, typ, fmt.Sprintf("%s.resource_attributes[%d]", path, i)); ok {
			m.Resource = append(m.Resource, a)
		}
	}
	if len(body.Names)+len(body.Resource) == 0 {
		return nil
	}
	return m
}

func (l *loader) matchType(n, parent *node, path string, needed bool) (string, bool) {
	if n.isNull() {
		if needed {
			l.add(&Error{File: parent.pos.file, Line: parent.pos.line, Field: path + ".match_type", Text: "is missing", Allowed: []string{"strict", "regexp"}})
		}
		return "", !needed
	}
	if n.text == "expr" {
		l.at(n.pos, path+".match_type", "expressions are not supported; use strict or regexp here, or OTTL conditions under metrics.metric or metrics.datapoint")
		return "", false
	}
	return n.text, l.oneOf(n, path+".match_type", n.text, []string{"strict", "regexp"})
}

func (l *loader) matchNames(m *rewrite.Match, names []*node, typ, path string) {
	for i, n := range names {
		field := fmt.Sprintf("%s[%d]", path, i)
		text, ok := l.ottlText(n, field)
		switch {
		case !ok:
		case typ == "regexp":
			if re := l.regexpOf(n, field, text); re != nil {
				m.NamePatterns = append(m.NamePatterns, re)
			}
		default:
			m.Names = append(m.Names, text)
		}
	}
}

func (l *loader) matchAttribute(n *node, typ, field string) (rewrite.AttributeMatch, bool) {
	var body struct {
		Key   string `conf:"key"`
		Value *node  `conf:"value"`
	}
	decodeInto(n, field, &body, &l.problems)
	if body.Key == "" {
		l.at(n.pos, field+".key", "is missing")
		return rewrite.AttributeMatch{}, false
	}
	a := rewrite.AttributeMatch{Key: body.Key}
	text, ok := l.textOf(body.Value, field+".value")
	switch {
	case !ok:
	case typ == "regexp":
		a.Pattern = l.regexpOf(body.Value, field+".value", text)
	default:
		a.Value = text
	}
	return a, true
}

func (l *loader) transform(c *component) rewrite.Program {
	var body struct {
		ErrorMode         *node `conf:"error_mode"`
		MetricStatements  *node `conf:"metric_statements"`
		TraceStatements   *node `conf:"trace_statements"`
		LogStatements     *node `conf:"log_statements"`
		ProfileStatements *node `conf:"profile_statements"`
		Flatten           *node `conf:"flatten"`
		FlattenData       *node `conf:"flatten_data"`
	}
	decodeInto(c.body, c.path, &body, &l.problems)
	l.errorMode(body.ErrorMode, c.path+".error_mode")
	l.otherSignals(c, "trace_statements", "log_statements", "profile_statements", "flatten", "flatten_data")
	if body.MetricStatements.isNull() {
		return nil
	}
	var program rewrite.Program
	l.groups(body.MetricStatements, c.path+".metric_statements", "statements", func(g group) {
		t := rewrite.Transform{Conditions: l.conditions(g.conditions, g.paths, g.context)}
		for i, n := range g.items {
			if s, ok := l.statement(n, fmt.Sprintf("%s[%d]", g.path, i), g.context); ok {
				t.Statements = append(t.Statements, s)
			}
		}
		program = append(program, t)
	})
	return program
}

func (l *loader) statement(n *node, field string, context rewrite.Context) (*rewrite.Statement, bool) {
	text, ok := l.ottlText(n, field)
	if !ok {
		return nil, false
	}
	s, err := rewrite.ParseStatement(text, context)
	if err != nil {
		l.add(&Error{File: n.pos.file, Line: n.pos.line, Field: field, Text: err.Error(), Cause: err})
		return nil, false
	}
	for _, w := range s.Warnings {
		l.warn(n.pos, field, "%s", w)
	}
	return s, true
}
