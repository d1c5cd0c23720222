package otelconf

import (
	"slices"
	"strings"
)

// gates are the feature gates that a configuration was started with.
type gates struct {
	// retryOn429 is nil where nothing was said.
	retryOn429         *bool
	multipleWorkers    bool
	httpBlockOnly      bool
	createdZero        bool
	constantLabelsOnly bool
}

// honouredGates are the feature gates that have an effect here, by the end of
// their names: the OpenTelemetry Collector spells the component's part in more
// than one way.
var honouredGates = map[string]func(g *gates, on bool){
	"RetryOn429":                           func(g *gates, on bool) { g.retryOn429 = &on },
	"EnableMultipleWorkers":                func(g *gates, on bool) { g.multipleWorkers = on },
	"enableSendingRW2":                     func(*gates, bool) {}, // protobuf_message says so in any case
	"removeTopLevelHTTPSettings":           func(g *gates, on bool) { g.httpBlockOnly = on },
	"EnableCreatedTimestampZeroIngestion":  func(g *gates, on bool) { g.createdZero = on },
	"DisableResourceToTelemetryConversion": func(g *gates, on bool) { g.constantLabelsOnly = on },
}

// withoutEffect are gates whose enabled state is how this program works anyway, or
// that real objects carry along for historical reasons. They are not worth a warning.
var withoutEffect = []string{
	"component.UseLocalHostAsDefaultHost", "confmap.unifyEnvVarExpansion", "confmap.strictlyTypedInput",
	"operator.collector.usedefaulttelemetryshape", "telemetry.useOtelForInternalMetrics", "telemetry.disableHighCardinalityMetrics",
	"pkg.translator.prometheus.NormalizeName", "pkg.translator.prometheus.PermissiveLabelSanitization",
	"receiver.prometheusreceiver.EnableNativeHistograms", "receiver.prometheusreceiver.UseCreatedMetric",
	"exporter.prometheusremotewritexporter.metrics.RetryOn429",
}

// gateSource is a list of gates and where it was found.
type gateSource struct {
	pos   position
	field string
	// list is of the form a,-b,+c.
	list string
}

// applyGates reads lists of gates, later ones over earlier ones.
func (l *loader) applyGates(sources []gateSource) {
	for _, s := range sources {
		for _, gate := range strings.Split(s.list, ",") {
			gate = strings.TrimSpace(gate)
			name, on := strings.TrimPrefix(gate, "+"), true
			if rest, off := strings.CutPrefix(gate, "-"); off {
				name, on = rest, false
			}
			if name == "" {
				continue
			}
			l.applyGate(s, name, on)
		}
	}
	l.config.CreatedZeroIngestion = l.gates.createdZero
}

func (l *loader) applyGate(s gateSource, name string, on bool) {
	if slices.Contains(withoutEffect, name) {
		return
	}
	end := name[strings.LastIndexByte(name, '.')+1:]
	set, known := honouredGates[end]
	component := strings.HasPrefix(name, "exporter.prometheusremotewrit") || strings.HasPrefix(name, "receiver.prometheus")
	if !known || !component {
		l.warn(s.pos, s.field, "the feature gate %q is not known here and has no effect", name)
		return
	}
	set(&l.gates, on)
	if end == "RetryOn429" && !on {
		l.note(s.pos, s.field, "requests that are answered with 429 are always retried; the feature gate %q cannot be turned off", name)
	}
}
