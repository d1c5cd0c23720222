package otelconf

import (
	"fmt"
	"net"
	"slices"
	"strings"
)

// telemetry reads service.telemetry: where the collector's own metrics are
// served and how it logs.
func (l *loader) telemetry(n *node) {
	const path = "service.telemetry"
	var body struct {
		Metrics struct {
			Level   string `conf:"level"`
			Address string `conf:"address"`
			Readers *node  `conf:"readers"`
			Views   *node  `conf:"views"`
		} `conf:"metrics"`
		Logs     *node `conf:"logs"`
		Traces   *node `conf:"traces"`
		Resource *node `conf:"resource"`
	}
	decodeInto(n, path, &body, &l.problems)
	l.telemetryLogs(body.Logs, path+".logs")
	if a := body.Metrics.Address; a != "" {
		at := n.at("metrics", "address").pos
		l.checkAddress(a, at, path+".metrics.address")
		l.config.MetricsAddress = a
		if body.Metrics.Readers != nil {
			l.warn(at, path+".metrics.address", "has no effect next to readers")
		}
	}
	if body.Metrics.Readers != nil {
		l.readers(body.Metrics.Readers, path+".metrics.readers")
	}
	allowed := []string{"none", "basic", "normal", "detailed"}
	switch level := strings.ToLower(body.Metrics.Level); {
	case level == "none":
		l.config.MetricsAddress = ""
	case level != "" && !slices.Contains(allowed, level):
		l.add(&Error{File: n.pos.file, Line: n.at("metrics", "level").pos.line, Field: path + ".metrics.level", Text: "unknown level", Found: found(path, level), Allowed: allowed})
	}
	for _, key := range []string{"traces", "resource"} {
		if e := n.entry(key); e != nil && !e.value.isNull() && e.value.children() > 0 {
			l.note(e.pos, join(path, key), "has no effect on the collector's own metrics")
		}
	}
}

func (l *loader) checkAddress(address string, pos position, field string) {
	if _, _, err := net.SplitHostPort(address); err != nil {
		l.at(pos, field, "must be HOST:PORT: %v", err)
	}
}

// telemetryLogs takes level and encoding; what else the collector knows about
// its log has no effect.
func (l *loader) telemetryLogs(n *node, path string) {
	if n.isNull() {
		return
	}
	if n.kind != mapping {
		l.at(n.pos, path, "must be a mapping, found %s", n.kind)
		return
	}
	for _, e := range n.entries {
		field := join(path, e.key)
		switch {
		case e.value.isNull():
		case e.key == "level":
			l.logLevel(e.value.text, e.pos, field)
		case e.key == "encoding":
			allowed := []string{"console", "json"}
			if !slices.Contains(allowed, e.value.text) {
				l.add(&Error{File: e.pos.file, Line: e.pos.line, Field: field, Text: "unknown encoding", Found: found(field, e.value.text), Allowed: allowed})
			}
			l.config.LogEncoding = e.value.text
		case slices.Contains([]string{"development", "disable_caller", "disable_stacktrace", "sampling", "output_paths", "error_output_paths", "initial_fields", "processors", "disable_zap_resource"}, e.key):
			l.note(e.pos, field, "has no effect here")
		default:
			l.add(unknownField(e, path, []string{"development", "disable_caller", "disable_stacktrace", "encoding", "error_output_paths", "initial_fields", "level", "output_paths", "processors", "sampling"}))
		}
	}
}

// readers takes the address out of the first Prometheus pull reader.
func (l *loader) readers(n *node, path string) {
	l.config.MetricsAddress = ""
	if n.kind != sequence {
		if !n.isNull() {
			l.at(n.pos, path, "must be a list, found %s", n.kind)
		}
		return
	}
	for i, item := range n.items {
		field := fmt.Sprintf("%s[%d]", path, i)
		prometheus := item.at("pull", "exporter", "prometheus")
		if prometheus == nil {
			l.warn(item.pos, field, "only pull readers with a prometheus exporter have an effect here")
			continue
		}
		if l.config.MetricsAddress != "" {
			l.warn(item.pos, field, "the collector's own metrics are served at one address, which is that of the first reader")
			continue
		}
		l.pullReader(prometheus, field+".pull.exporter.prometheus")
	}
}

func (l *loader) pullReader(n *node, path string) {
	body := struct {
		Host           string `conf:"host"`
		Port           int    `conf:"port"`
		NoTypeSuffix   *bool  `conf:"without_type_suffix"`
		NoUnits        *bool  `conf:"without_units"`
		NoScope        *bool  `conf:"without_scope_info"`
		NoTarget       *bool  `conf:"without_target_info"`
		Translation    string `conf:"translation_strategy"`
		ConstantLabels *node  `conf:"with_resource_constant_labels"`
	}{Host: "localhost", Port: 9464}
	decodeInto(n, path, &body, &l.problems)
	if body.Port < 0 || body.Port > 65535 {
		l.at(n.get("port").pos, path+".port", "must be a port number, found %d", body.Port)
	}
	l.config.MetricsAddress = net.JoinHostPort(body.Host, fmt.Sprint(body.Port))
	// Without readers the collector leaves suffixes out; with them it adds them
	// unless told not to.
	off := func(b *bool) bool { return b != nil && *b }
	l.config.MetricsNames = MetricsNames{TypeSuffix: !off(body.NoTypeSuffix), UnitSuffix: !off(body.NoUnits)}
	if strings.Contains(strings.ToLower(body.Translation), "without_suffixes") {
		l.config.MetricsNames = MetricsNames{}
	}
}
