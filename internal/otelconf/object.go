package otelconf

import (
	"fmt"
	"slices"
	"strings"
)

// modeSidecar is the mode of an object whose collector runs inside other pods.
const modeSidecar = "sidecar"

// object is what an OpenTelemetryCollector object says besides its configuration
// and that has to do with it.
type object struct {
	mode string
	// env are the variables that the container gets; those from other objects are
	// not known.
	env map[string]string
	// gates and set are from the container's arguments.
	gates []gateSource
	set   []string
}

// customResources splits documents into OpenTelemetryCollector objects and other
// Kubernetes objects; the items of a List count one by one.
func customResources(docs []*node) (collectors, others []*node) {
	for _, d := range docs {
		k := d.get("kind")
		switch {
		case k == nil || d.get("apiVersion") == nil:
		case k.text == "List" && d.get("items") != nil:
			c, o := customResources(d.get("items").items)
			collectors, others = append(collectors, c...), append(others, o...)
		case k.text == "OpenTelemetryCollector":
			collectors = append(collectors, d)
		default:
			others = append(others, d)
		}
	}
	return collectors, others
}

func objectName(n *node) string {
	meta := n.get("metadata")
	var parts []string
	for _, key := range []string{"namespace", "name"} {
		if v := meta.get(key); v != nil && v.text != "" {
			parts = append(parts, v.text)
		}
	}
	return strings.Join(parts, "/")
}

// customResource takes the collector's configuration out of spec.config, which is
// a string in v1alpha1 and a mapping in v1beta1.
func (l *loader) customResource(object *node) (*document, error) {
	version := object.get("apiVersion")
	if group, v, _ := strings.Cut(version.text, "/"); group != "opentelemetry.io" || v != "v1alpha1" && v != "v1beta1" {
		return nil, &Error{
			File: version.pos.file, Line: version.pos.line, Field: "apiVersion", Text: "not a version of OpenTelemetryCollector known here",
			Found: version.text, Allowed: []string{"opentelemetry.io/v1alpha1", "opentelemetry.io/v1beta1"},
		}
	}
	l.objectSettings(object.get("spec"))
	inner := object.at("spec", "config")
	if inner.isNull() {
		return nil, &Error{File: object.pos.file, Line: object.pos.line, Field: "spec.config", Text: fmt.Sprintf("the object %s has no configuration", objectName(object))}
	}
	if inner.kind == mapping {
		return &document{form: formObject, root: inner}, nil
	}
	if inner.kind != scalar {
		return nil, &Error{File: inner.pos.file, Line: inner.pos.line, Field: "spec.config", Text: "must be a mapping or a string of YAML, found " + inner.kind.String()}
	}
	docs, err := innerSource(inner).parse()
	if err != nil {
		return nil, err
	}
	if len(docs) != 1 || docs[0].kind != mapping {
		return nil, &Error{File: inner.pos.file, Line: inner.pos.line, Field: "spec.config", Text: "must be one mapping in YAML"}
	}
	return &document{form: formObject, root: docs[0]}, nil
}

// objectSettings reads the parts of an object's spec that change what its
// configuration means. Everything else is the operator's.
func (l *loader) objectSettings(spec *node) {
	if mode := spec.get("mode"); !mode.isNull() {
		allowed := []string{"deployment", "daemonset", "statefulset", modeSidecar}
		if !slices.Contains(allowed, mode.text) {
			l.add(&Error{File: mode.pos.file, Line: mode.pos.line, Field: "spec.mode", Text: "unknown mode", Found: found("spec.mode", mode.text), Allowed: allowed})
		}
		l.object.mode = mode.text
	}
	l.object.env = map[string]string{}
	if env := spec.get("env"); env != nil {
		for _, item := range env.items {
			if name, value := item.get("name"), item.get("value"); name != nil && !value.isNull() {
				l.object.env[name.text] = value.text
			}
		}
	}
	if args := spec.get("args"); args != nil {
		for _, e := range args.entries {
			l.objectArgument(e)
		}
	}
	allocator := spec.get("targetAllocator")
	if enabled := allocator.get("enabled"); enabled != nil && enabled.text == "true" {
		l.note(enabled.pos, "spec.targetAllocator", "replicas share the targets among themselves, without an allocator")
	}
	if enabled := allocator.at("prometheusCR", "enabled"); enabled != nil && enabled.text == "true" {
		l.warn(enabled.pos, "spec.targetAllocator.prometheusCR", "ServiceMonitor, PodMonitor and the like are not read: put the jobs into scrape_configs, or name an allocator in the receiver's target_allocator")
	}
}

// objectArgument reads one argument of the collector's command line.
func (l *loader) objectArgument(e entry) {
	field := "spec.args." + e.key
	switch e.key {
	case "feature-gates":
		l.object.gates = append(l.object.gates, gateSource{pos: e.pos, field: field, list: e.value.text})
	case "set":
		l.object.set = append(l.object.set, e.value.text)
	case "skip-unsupported-signals":
		l.opts.SkipUnsupportedSignals = l.opts.SkipUnsupportedSignals || e.value.text == "true" || e.value.text == ""
	case "config": // the operator's own
	default:
		l.note(e.pos, field, "is an argument of the container, which is not looked at here")
	}
}

// innerSource is the YAML inside a string. Below a "|" its lines are lines of
// the file; in any other string they are counted on their own.
func innerSource(n *node) source {
	src := source{name: n.pos.file, data: []byte(n.text)}
	if n.literal {
		src.firstLine = n.pos.line
		return src
	}
	src.name = fmt.Sprintf("%s:%d: spec.config", n.pos.file, n.pos.line)
	return src
}
