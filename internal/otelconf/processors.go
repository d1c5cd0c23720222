package otelconf

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/mangru/mangru/internal/rewrite"
)

// processorTypes maps the type names of the processors that become rewrite steps
// to the ones that the code uses.
var processorTypes = map[string]string{
	"filter": "filter", "resource": "resource", "attributes": "attributes", "transform": "transform",
	"metricstransform": "metricstransform", "metrics_transform": "metricstransform",
	"resourcedetection": "resourcedetection", "resource_detection": "resourcedetection",
	"k8sattributes": "k8sattributes", "k8s_attributes": "k8sattributes",
}

// processor compiles a processor. What is wrong with it is added to the problems,
// and then the program is not to be used. Other kinds of processors give nil.
func (l *loader) processor(c *component) rewrite.Program {
	switch c.kind {
	case "filter":
		return l.filter(c)
	case "resource":
		return l.resourceProcessor(c)
	case "attributes":
		return l.attributesProcessor(c)
	case "transform":
		return l.transform(c)
	case "metricstransform":
		return l.metricsTransform(c)
	case "resourcedetection":
		return l.resourceDetection(c, newSurroundings(l.opts))
	case "k8sattributes":
		return l.podAttributes(c)
	}
	return nil
}

// warnHidden mentions resource attributes that no series of a way will show, which
// is rarely what was meant.
func (l *loader) warnHidden(pos position, field string, p rewrite.Pipeline) {
	for _, key := range p.Hidden() {
		where := "nowhere"
		if p.TargetInfo() != nil {
			where = "on target_info alone"
		}
		l.warn(pos, field, "the resource attribute %q is set, but no series shows it: it is %s; name it in the exporter's resource_constant_labels.included, or add it to the data points with the attributes or transform processor", key, where)
	}
}

// one returns a program of one step.
func one(s rewrite.Step) rewrite.Program { return rewrite.Program{s} }

// oneOf reports an unknown value of a field and returns whether it is known.
func (l *loader) oneOf(n *node, field, value string, allowed []string) bool {
	if slices.Contains(allowed, value) {
		return true
	}
	l.add(&Error{File: n.pos.file, Line: n.pos.line, Field: field, Text: "unknown value", Found: found(field, value), Allowed: allowed})
	return false
}

// nodeOr returns n, or the component's own node where a field is missing.
func nodeOr(n *node, c *component) *node {
	if n != nil {
		return n
	}
	return &node{pos: c.pos}
}

// regexpOf compiles a regular expression that may match anywhere in a text.
func (l *loader) regexpOf(n *node, field, text string) *regexp.Regexp {
	re, err := regexp.Compile(text)
	if err != nil {
		l.at(n.pos, field, "%v", err)
	}
	return re
}

// textOf returns the text of a single value, in the form that it would have as
// an attribute; ok is false for a missing one.
func (l *loader) textOf(n *node, field string) (text string, ok bool) {
	switch {
	case n.isNull():
		return "", false
	case n.kind != scalar:
		l.at(n.pos, field, "must be a single value, found %s; attributes are texts here", n.kind)
		return "", false
	case n.tag == tagInt:
		if i, err := strconv.ParseInt(strings.ReplaceAll(n.text, "_", ""), 0, 64); err == nil {
			return strconv.FormatInt(i, 10), true
		}
	case n.tag == tagFloat:
		if f, err := strconv.ParseFloat(strings.ReplaceAll(n.text, "_", ""), 64); err == nil {
			return rewrite.FormatDouble(f), true
		}
	case n.tag == tagBool:
		return strings.ToLower(n.text), true
	}
	return n.text, true
}

// errorModes are what may be done with an error in a condition or statement.
var errorModes = []string{"ignore", "silent", "propagate"}

func (l *loader) errorMode(n *node, field string) {
	if n.isNull() {
		return
	}
	if l.oneOf(n, field, n.text, errorModes) && n.text == "propagate" {
		l.warn(n.pos, field, "an error in a condition or statement drops nothing here: the condition does not hold, the statement has no effect")
	}
}

// otherSignals warns of settings for signals that are not collected here.
func (l *loader) otherSignals(c *component, keys ...string) {
	for _, key := range keys {
		if e := c.body.entry(key); e != nil && c.used {
			l.warn(e.pos, join(c.path, key), "has no effect: only metrics are collected here")
		}
	}
}
