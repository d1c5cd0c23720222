package otelconf

import (
	"slices"

	"github.com/mangru/mangru/internal/rewrite"
)

// namingBody are the fields of the prometheusremotewrite exporter about names and
// labels. "naming" is this program's own.
type namingBody struct {
	Naming     string `conf:"naming"`
	Namespace  string `conf:"namespace"`
	TargetInfo struct {
		Enabled *bool `conf:"enabled"`
	} `conf:"target_info"`
	ScopeInfo     *node           `conf:"scope_info"`
	DisableScope  *bool           `conf:"disable_scope_info"`
	AddSuffixes   *bool           `conf:"add_metric_suffixes"`
	Translation   string          `conf:"translation_strategy"`
	Conversion    *conversionBody `conf:"resource_to_telemetry_conversion"`
	Constants     *conversionBody `conf:"resource_constant_labels"`
	CreatedMetric *node           `conf:"export_created_metric"`
}

// conversionBody chooses the resource attributes that become labels.
type conversionBody struct {
	Enabled        bool     `conf:"enabled"`
	ExcludeService bool     `conf:"exclude_service_attributes"`
	ClearAfterCopy bool     `conf:"clear_after_copy"`
	Included       []string `conf:"included"`
	Excluded       []string `conf:"excluded"`
}

func (b *conversionBody) isEmpty() bool {
	return b == nil || !b.Enabled && !b.ExcludeService && len(b.Included)+len(b.Excluded) == 0
}

// exportNames reads how an exporter names series.
func (l *loader) exportNames(b remoteWriteBody, body *node, c *component) rewrite.Export {
	x := rewrite.Export{Namespace: b.Namespace, Convert: l.conversion(b, body, c)}
	x.OTel = l.naming(b.Naming, body, c) == NamingOTel
	if b.AddSuffixes != nil && !*b.AddSuffixes {
		x.Strategy = rewrite.EscapeWithoutSuffixes
	}
	if b.Translation != "" {
		n := body.get("translation_strategy")
		field := c.path + ".translation_strategy"
		x.Strategy = rewrite.Strategy(b.Translation)
		switch {
		case !slices.Contains(rewrite.Strategies(), b.Translation):
			l.add(&Error{File: n.pos.file, Line: n.pos.line, Field: field, Text: "unknown strategy", Found: found(field, b.Translation), Allowed: rewrite.Strategies()})
			x.Strategy = ""
		case x.OTel && (x.Strategy == rewrite.KeepNames || x.Strategy == rewrite.KeepWithSuffixes) && b.Protobuf != messageV2:
			l.at(n.pos, field, "%s needs remote write 2.0: set protobuf_message to %s", x.Strategy, messageV2)
		}
	}
	if x.OTel {
		x.TargetInfo = b.TargetInfo.Enabled == nil || *b.TargetInfo.Enabled
		switch d := b.DisableScope; {
		case d == nil: // off unless asked for: a version that changes begins all series anew
		case *d:
			x.Scope = rewrite.ScopeDrop
		default:
			x.Scope, x.ScopeVersion = rewrite.ScopeAdd, l.opts.Version
		}
	} else if c.used {
		l.noteNames(b, body, c)
	}
	for _, key := range []string{"export_created_metric", "scope_info"} {
		if e := body.at(key, "enabled"); e != nil && e.text == "true" && c.used {
			l.note(e.pos, join(c.path, key), "has no effect, as in newer collectors")
		}
	}
	return x
}

func (l *loader) naming(value string, body *node, c *component) Naming {
	pos, field := position{file: "--naming"}, ""
	if l.opts.Naming != "" {
		value = string(l.opts.Naming)
	} else if n := body.get("naming"); n != nil {
		pos, field = n.pos, c.path+".naming"
	}
	switch n := Naming(value); n {
	case "":
		return NamingPrometheus
	case NamingPrometheus, NamingOTel:
		return n
	}
	l.add(&Error{File: pos.file, Line: pos.line, Field: field, Text: "unknown way to name series", Found: value, Allowed: []string{string(NamingPrometheus), string(NamingOTel)}})
	return NamingPrometheus
}

// noteNames says which fields need naming: otel to have an effect.
func (l *loader) noteNames(b remoteWriteBody, body *node, c *component) {
	for _, f := range []struct {
		key string
		set bool
	}{
		{"target_info", b.TargetInfo.Enabled != nil && *b.TargetInfo.Enabled},
		{"disable_scope_info", b.DisableScope != nil && !*b.DisableScope},
		{"add_metric_suffixes", b.AddSuffixes != nil && *b.AddSuffixes},
		{"translation_strategy", b.Translation != "" && b.Translation != string(rewrite.KeepNames)},
	} {
		if f.set {
			l.note(body.entry(f.key).pos, join(c.path, f.key), "has no effect: series are sent as they are exposed; set naming: otel to have them named as the OpenTelemetry Collector does")
		}
	}
}

// conversion reads which resource attributes become labels of all series.
func (l *loader) conversion(b remoteWriteBody, body *node, c *component) rewrite.Conversion {
	const older, newer = "resource_to_telemetry_conversion", "resource_constant_labels"
	refuse := func(key, text string) { l.at(body.entry(key).pos, join(c.path, key), "%s", text) }
	if s := b.Constants; s != nil && (s.Enabled || s.ExcludeService) {
		refuse(newer, "enabled and exclude_service_attributes are not possible here: use included and excluded")
	}
	key, s := newer, b.Constants
	if !b.Conversion.isEmpty() {
		switch {
		case l.gates.constantLabelsOnly:
			refuse(older, "is turned off by the feature gate DisableResourceToTelemetryConversion: use resource_constant_labels")
		case !b.Constants.isEmpty():
			refuse(older, "cannot be used together with resource_constant_labels, which takes its place")
		}
		key, s = older, b.Conversion
	}
	switch {
	case s.isEmpty():
		return rewrite.Conversion{}
	case (s.Enabled || s.ExcludeService) && len(s.Included)+len(s.Excluded) > 0:
		refuse(key, "enabled and exclude_service_attributes cannot be used together with included and excluded")
	case s.Enabled && s.ExcludeService:
		return rewrite.NewConversion([]string{"*"}, rewrite.ServiceAttributes())
	case s.Enabled:
		return rewrite.NewConversion([]string{"*"}, nil)
	case s.ExcludeService:
		return rewrite.Conversion{}
	}
	return rewrite.NewConversion(s.Included, s.Excluded)
}
