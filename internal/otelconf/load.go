package otelconf

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Options say what to load.
type Options struct {
	// Files are the values of --config: a path, file:PATH, env:NAME or yaml:TEXT.
	// Later ones are laid over earlier ones.
	Files []string
	// Set are the values of --set, a.b.c=VALUE, laid over all files.
	Set []string
	// Getenv looks up an environment variable; nil means os.LookupEnv.
	Getenv func(string) (string, bool)
	// ReadFile reads a file; nil means os.ReadFile.
	ReadFile func(string) ([]byte, error)
	// LogLevel, if not empty, replaces the configuration's.
	LogLevel string
	// Dedupe, if not empty, replaces the configuration's.
	Dedupe Dedupe
	// SkipUnsupportedSignals leaves pipelines for traces, logs and profiles out
	// instead of refusing them.
	SkipUnsupportedSignals bool
	// OwnEndpoint says that the caller adds an endpoint, so that one missing from
	// the configuration is not worth a warning.
	OwnEndpoint bool
}

// Load reads, merges and checks a configuration in any of the forms that the
// package knows. An error holds everything that is wrong, one *Error each, joined.
func Load(o Options) (*Config, error) {
	if o.Getenv == nil {
		o.Getenv = os.LookupEnv
	}
	if o.ReadFile == nil {
		o.ReadFile = os.ReadFile
	}
	l := &loader{opts: o, config: New()}
	if err := l.load(); err != nil {
		return nil, err
	}
	return l.config, nil
}

// loader carries what the parts of one Load share.
type loader struct {
	problems
	opts   Options
	config *Config
	jobs   []job
	// servicePos is where the service section is, for what has no better place.
	servicePos position
}

func (l *loader) warn(pos position, field, format string, args ...any) {
	where := pos.String()
	if field != "" {
		where += " " + field
	}
	l.config.Warnings = append(l.config.Warnings, Warning{Where: where, Text: fmt.Sprintf(format, args...)})
}

func (l *loader) load() error {
	if len(l.opts.Files) == 0 {
		return &Error{File: "--config", Text: "no configuration given"}
	}
	var merged *document
	for _, uri := range l.opts.Files {
		doc, err := l.read(uri)
		if err != nil {
			return err
		}
		if merged != nil && merged.form != doc.form && (merged.form == formPrometheus || doc.form == formPrometheus) {
			return &Error{File: doc.root.pos.file, Line: doc.root.pos.line, Text: fmt.Sprintf("%s cannot be laid over %s", doc.form, merged.form)}
		}
		if merged == nil {
			merged = doc
			continue
		}
		merged.root = merge(merged.root, doc.root)
	}
	for _, s := range l.opts.Set {
		n, err := parseSet(s)
		if err != nil {
			return err
		}
		merged.root = merge(merged.root, n)
	}
	l.config.Form = string(merged.form)
	if merged.form == formPrometheus {
		l.prometheusFile(merged)
	} else {
		l.collector(merged.root)
	}
	l.applyOptions()
	if len(l.list) > 0 {
		return l.err()
	}
	l.review()
	return nil
}

func (l *loader) applyOptions() {
	if l.opts.LogLevel != "" {
		l.logLevel(l.opts.LogLevel, position{file: "--log-level"}, "")
	}
	if l.opts.Dedupe != "" {
		l.dedupe(string(l.opts.Dedupe), position{file: "--dedupe"}, "")
	}
}

func (l *loader) logLevel(level string, pos position, field string) {
	allowed := []string{"debug", "info", "warn", "error"}
	level = strings.ToLower(level)
	if !slices.Contains(allowed, level) {
		l.add(&Error{File: pos.file, Line: pos.line, Field: field, Text: "unknown log level", Found: found(field, level), Allowed: allowed})
		return
	}
	l.config.LogLevel = level
}

func (l *loader) dedupe(value string, pos position, field string) {
	switch d := Dedupe(value); d {
	case DedupeOff, DedupeFirstJobWins:
		l.config.Dedupe = d
	default:
		l.add(&Error{
			File: pos.file, Line: pos.line, Field: field, Text: "unknown way to treat targets that several jobs scrape",
			Found: found(field, value), Allowed: []string{string(DedupeOff), string(DedupeFirstJobWins)},
		})
	}
}

// form is a way to write a configuration.
type form string

const (
	formObject     form = "OpenTelemetryCollector object"
	formCollector  form = "OpenTelemetry Collector configuration"
	formPrometheus form = "Prometheus configuration"
)

// document is one configuration, out of whatever it was wrapped in.
type document struct {
	form form
	root *node
	// directory is what relative paths in a Prometheus file are relative to.
	directory string
}

// read fetches one value of --config and unwraps it.
func (l *loader) read(uri string) (*document, error) {
	src := source{name: uri}
	directory := ""
	switch scheme, rest, _ := strings.Cut(uri, ":"); scheme {
	case "yaml":
		src.name, src.data = "--config yaml:", []byte(rest)
	case "env":
		value, ok := l.opts.Getenv(rest)
		if !ok {
			return nil, &Error{File: "--config " + uri, Text: fmt.Sprintf("environment variable %q is not set", rest)}
		}
		src.name, src.data = "--config env:"+rest, []byte(value)
	case "http", "https", "s3", "s3provider":
		if strings.HasPrefix(rest, "//") {
			return nil, &Error{File: "--config", Text: fmt.Sprintf("scheme %q is not supported", scheme), Allowed: []string{"file", "env", "yaml"}}
		}
		fallthrough
	default:
		src.name = strings.TrimPrefix(uri, "file:")
		data, err := l.opts.ReadFile(src.name)
		if err != nil {
			return nil, fmt.Errorf("reading the configuration: %w", err)
		}
		src.data, directory = data, filepath.Dir(src.name)
	}
	docs, err := src.parse()
	if err != nil {
		return nil, err
	}
	doc, err := l.unwrap(docs, src.name)
	if err != nil {
		return nil, err
	}
	doc.root, doc.directory = splitKeys(doc.root), directory
	return doc, nil
}

// parseSet turns a.b.c=VALUE into nested mappings.
func parseSet(s string) (*node, error) {
	name := "--set " + s
	key, value, ok := strings.Cut(s, "=")
	if !ok || key == "" {
		return nil, &Error{File: name, Text: "must be of the form a.b.c=VALUE"}
	}
	docs, err := source{name: name, data: []byte(value), fixed: 1}.parse()
	if err != nil {
		return nil, err
	}
	v := &node{pos: position{file: name}, tag: tagNull}
	if len(docs) > 0 {
		v = docs[0]
	}
	parts := strings.FieldsFunc(strings.ReplaceAll(key, "::", "."), func(r rune) bool { return r == '.' })
	for _, part := range slices.Backward(parts) {
		v = &node{pos: position{file: name}, kind: mapping, entries: []entry{{key: part, pos: position{file: name}, value: v}}}
	}
	return v, nil
}

var (
	collectorKeys  = []string{"receivers", "processors", "exporters", "extensions", "connectors", "service"}
	prometheusKeys = []string{"global", "scrape_configs", "scrape_config_files", "remote_write", "rule_files", "alerting", "remote_read", "storage", "tracing", "otlp", "runtime"}
)

// unwrap finds the configuration among the documents of a source.
func (l *loader) unwrap(docs []*node, name string) (*document, error) {
	objects, others := customResources(docs)
	switch {
	case len(objects) > 1:
		second := objects[1]
		return nil, &Error{File: second.pos.file, Line: second.pos.line, Text: fmt.Sprintf("a second OpenTelemetryCollector object (%s); a collector runs one, the first is %s at line %d", objectName(second), objectName(objects[0]), objects[0].pos.line)}
	case len(objects) == 1:
		return l.customResource(objects[0])
	case len(docs) == 0:
		return nil, &Error{File: name, Text: "is empty", Allowed: []string{string(formObject), string(formCollector), string(formPrometheus)}}
	case len(others) > 0:
		return nil, &Error{File: others[0].pos.file, Line: others[0].pos.line, Field: "kind", Text: "there is no OpenTelemetryCollector object in it", Found: others[0].get("kind").text}
	case len(docs) > 1:
		return nil, &Error{File: docs[1].pos.file, Line: docs[1].pos.line, Text: "a second YAML document; a configuration is one document"}
	}
	root := docs[0]
	switch {
	case root.kind != mapping:
		return nil, &Error{File: root.pos.file, Line: root.pos.line, Text: "a configuration is a mapping, found " + root.kind.String()}
	case hasAny(splitKeys(root), collectorKeys):
		return &document{form: formCollector, root: root}, nil
	case hasAny(splitKeys(root), prometheusKeys):
		return &document{form: formPrometheus, root: root}, nil
	}
	return nil, &Error{
		File: root.pos.file, Line: root.pos.line, Text: fmt.Sprintf("this is no configuration known here: its keys are %s", strings.Join(root.keys(), ", ")),
		Allowed: slices.Concat(collectorKeys, prometheusKeys[:4], []string{"kind: OpenTelemetryCollector"}),
	}
}

func hasAny(n *node, keys []string) bool {
	return slices.ContainsFunc(keys, func(k string) bool { return n.entry(k) != nil })
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
