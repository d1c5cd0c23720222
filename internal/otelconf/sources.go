package otelconf

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// contentVariable is the environment variable in which AWS' distribution of the
// OpenTelemetry Collector takes a whole configuration, in place of any file.
const contentVariable = "AOT_CONFIG_CONTENT"

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

// readFile reads a file and remembers that it was part of the configuration.
func (l *loader) readFile(name string) ([]byte, error) {
	if !slices.Contains(l.config.Files, name) {
		l.config.Files = append(l.config.Files, name)
	}
	return l.opts.ReadFile(name)
}

// read fetches one value of --config and unwraps it.
func (l *loader) read(uri string) (*document, error) {
	src, directory, err := l.source(uri)
	if err != nil {
		return nil, err
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

// source fetches one value of --config.
func (l *loader) source(uri string) (src source, directory string, err error) {
	scheme, rest, _ := strings.Cut(uri, ":")
	switch {
	case scheme == "yaml":
		return source{name: "--config yaml:", data: []byte(rest)}, "", nil
	case scheme == "env":
		value, ok := l.opts.Getenv(rest)
		if !ok {
			return src, "", &Error{File: "--config " + uri, Text: fmt.Sprintf("environment variable %q is not set", rest)}
		}
		return source{name: "--config env:" + rest, data: []byte(value)}, "", nil
	case strings.HasPrefix(rest, "//"):
		if scheme == "http" || scheme == "https" {
			name := redacted(uri)
			data, err := l.opts.Fetch(uri)
			if err != nil {
				return src, "", &Error{File: "--config " + name, Text: "reading the configuration: " + err.Error(), Cause: err}
			}
			return source{name: name, data: data}, "", nil
		}
		if scheme != "file" {
			return src, "", &Error{File: "--config", Text: fmt.Sprintf("scheme %q is not supported", scheme), Allowed: []string{"file", "env", "yaml", "http", "https"}}
		}
	}
	name := strings.TrimPrefix(uri, "file:")
	data, err := l.readFile(name)
	if err != nil {
		return src, "", &Error{File: name, Text: "reading the configuration: " + err.Error(), Cause: err}
	}
	return source{name: name, data: data}, filepath.Dir(name), nil
}

// redacted returns a URL as it may be shown: without credentials and parameters.
func redacted(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "(not a URL)"
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String()
}

const (
	fetchTimeout = 30 * time.Second
	fetchLimit   = 32 << 20
)

// fetch reads a page over HTTP. Its errors don't show credentials in the URL.
func fetch(raw string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), fetchTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, raw, http.NoBody)
	if err != nil {
		return nil, errors.New("not a URL")
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		var wrapped *url.Error
		if errors.As(err, &wrapped) {
			err = wrapped.Err
		}
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the server answered %s", res.Status)
	}
	data, err := io.ReadAll(io.LimitReader(res.Body, fetchLimit+1))
	if err != nil {
		return nil, err
	}
	if len(data) > fetchLimit {
		return nil, fmt.Errorf("the page is larger than %d bytes", fetchLimit)
	}
	return data, nil
}

// parseSet turns a.b.c=VALUE into nested mappings.
func parseSet(s string) (*node, error) {
	key, value, ok := strings.Cut(s, "=")
	name := "--set " + key
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
