package otelconf

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/mangru/mangru/internal/rewrite"
)

func (l *loader) resourceProcessor(c *component) rewrite.Program {
	var body struct {
		Attributes []*node `conf:"attributes"`
	}
	decodeInto(c.body, c.path, &body, &l.problems)
	if len(body.Attributes) == 0 {
		l.at(c.pos, c.path+".attributes", "is missing: the list of what to do with the resource's attributes")
		return nil
	}
	return one(rewrite.Attributes{Resource: true, Actions: l.actions(body.Attributes, c.path+".attributes")})
}

func (l *loader) attributesProcessor(c *component) rewrite.Program {
	var body struct {
		Actions []*node `conf:"actions"`
		Include *node   `conf:"include"`
		Exclude *node   `conf:"exclude"`
	}
	decodeInto(c.body, c.path, &body, &l.problems)
	if len(body.Actions) == 0 {
		l.at(c.pos, c.path+".actions", "is missing: the list of what to do with the data points' attributes")
		return nil
	}
	s := rewrite.Attributes{
		Actions: l.actions(body.Actions, c.path+".actions"),
		Include: l.attributesMatch(body.Include, c.path+".include"), Exclude: l.attributesMatch(body.Exclude, c.path+".exclude"),
	}
	for i, a := range s.Actions {
		l.warnLabel(body.Actions[min(i, len(body.Actions)-1)], c.path+".actions", a.Key)
	}
	return one(s)
}

// warnLabel mentions that a label cannot be changed as an attribute.
func (l *loader) warnLabel(n *node, field, label string) {
	switch label {
	case "job", "instance":
		l.warn(n.pos, field, "%q is made from the resource's service attributes, so an attribute of a data point cannot change it; use the resource processor with service.name or service.instance.id", label)
	case "le", "quantile":
		l.warn(n.pos, field, "%q is part of a histogram's or summary's value there and no attribute", label)
	}
}

// attributesMatch reads an include or exclude of the attributes processor.
func (l *loader) attributesMatch(n *node, path string) *rewrite.Match {
	if n.isNull() {
		return nil
	}
	var body struct {
		MatchType *node   `conf:"match_type"`
		Regexp    *node   `conf:"regexp"`
		Names     []*node `conf:"metric_names"`
		Resources *node   `conf:"resources"`
	}
	decodeInto(n, path, &body, &l.problems)
	if !body.Resources.isNull() {
		l.warn(body.Resources.pos, path+".resources", "has no effect on metrics, here as in the OpenTelemetry Collector; choose by metric_names, or use the transform processor with a condition on resource.attributes")
	}
	if len(body.Names) == 0 {
		if body.Resources.isNull() {
			l.at(n.pos, path+".metric_names", "is missing: for metrics the choice is by name")
		}
		return nil
	}
	typ, ok := l.matchType(body.MatchType, n, path, true)
	if !ok {
		return nil
	}
	m := &rewrite.Match{}
	l.matchNames(m, body.Names, typ, path+".metric_names")
	return m
}

// actions reads a list of changes of attributes.
func (l *loader) actions(items []*node, path string) []rewrite.Action {
	var out []rewrite.Action
	for i, n := range items {
		if a, ok := l.action(n, fmt.Sprintf("%s[%d]", path, i)); ok {
			out = append(out, a)
		}
	}
	return out
}

// actionBody is one change of attributes as it is written.
type actionBody struct {
	Key       string `conf:"key"`
	Value     *node  `conf:"value"`
	Default   *node  `conf:"default_value"`
	Pattern   *node  `conf:"pattern"`
	From      string `conf:"from_attribute"`
	Context   *node  `conf:"from_context"`
	Converted *node  `conf:"converted_type"`
	Action    string `conf:"action"`
}

func (l *loader) action(n *node, field string) (rewrite.Action, bool) {
	before := len(l.list)
	var b actionBody
	decodeInto(n, field, &b, &l.problems)
	a := rewrite.Action{Kind: rewrite.ActionKind(strings.ToLower(b.Action)), Key: b.Key, From: b.From}
	if !l.oneOf(nodeAt(n, "action"), field+".action", string(a.Kind), rewrite.ActionKinds()) {
		return a, false
	}
	patterned := a.Kind == rewrite.Delete || a.Kind == rewrite.Hash
	if b.Key == "" && (!patterned || b.Pattern.isNull()) {
		l.at(n.pos, field+".key", "is missing")
	}
	switch a.Kind {
	case rewrite.Insert, rewrite.Update, rewrite.Upsert:
		l.actionValue(&a, b, n, field)
	case rewrite.Convert:
		l.notHere(n, field, a.Kind, "value", "from_attribute", "from_context", "pattern", "default_value")
		a.To = nodeText(b.Converted)
		l.oneOf(nodeAt(n, "converted_type"), field+".converted_type", a.To, []string{"string", "int", "double"})
	default:
		l.notHere(n, field, a.Kind, "value", "from_attribute", "from_context", "converted_type", "default_value")
		if !b.Pattern.isNull() {
			a.Pattern = l.regexpOf(b.Pattern, field+".pattern", b.Pattern.text)
		}
		if a.Kind == rewrite.Extract {
			l.extractPattern(a.Pattern, n, field)
		}
	}
	return a, len(l.list) == before
}

// actionValue reads where the value of an action comes from.
func (l *loader) actionValue(a *rewrite.Action, b actionBody, n *node, field string) {
	l.notHere(n, field, a.Kind, "pattern", "converted_type")
	sources := 0
	for _, set := range []bool{!b.Value.isNull(), b.From != "", !b.Context.isNull()} {
		if set {
			sources++
		}
	}
	if sources > 1 {
		l.at(n.pos, field, "only one of value, from_attribute and from_context is possible")
	}
	if sources == 0 && b.Default.isNull() {
		l.at(n.pos, field, "one of value, from_attribute or default_value is missing")
	}
	if !b.Context.isNull() {
		l.warn(b.Context.pos, field+".from_context", "is never there for metrics that are scraped")
	}
	a.Value, _ = l.textOf(b.Value, field+".value")
	a.Default, _ = l.textOf(b.Default, field+".default_value")
	if !b.Value.isNull() && a.Value == "" && a.Kind != rewrite.Insert {
		// An empty attribute is not exported, so setting it takes it away.
		a.Kind = rewrite.Delete
	}
}

// notHere refuses fields that an action does not have.
func (l *loader) notHere(n *node, field string, kind rewrite.ActionKind, keys ...string) {
	for _, key := range keys {
		if e := n.entry(key); e != nil && !e.value.isNull() {
			l.at(e.pos, join(field, key), "is not possible with the action %q", kind)
		}
	}
}

func (l *loader) extractPattern(re *regexp.Regexp, n *node, field string) {
	if re == nil {
		if n.get("pattern").isNull() {
			l.at(n.pos, field+".pattern", "is missing")
		}
		return
	}
	if names := re.SubexpNames(); len(names) < 2 || slices.Contains(names[1:], "") {
		l.at(n.get("pattern").pos, field+".pattern", "must have groups, each with a name such as (?P<name>...)")
	}
}

// nodeAt returns the value of a key, or the mapping itself where it is missing.
func nodeAt(n *node, key string) *node {
	if v := n.get(key); v != nil {
		return v
	}
	return n
}

func nodeText(n *node) string {
	if n.isNull() {
		return ""
	}
	return n.text
}
