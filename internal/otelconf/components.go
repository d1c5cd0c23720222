package otelconf

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"sort"
	"strings"
)

// section is one of the component sections of a collector configuration.
type section struct {
	key, noun string
	// types maps the type names that work here to the one they are known by
	// below: a component may have an old and a new name.
	types map[string]string
	// later are types that the OpenTelemetry Collector or its AWS distribution
	// knows and that do not work here. They are refused where they are used.
	later []string
}

var sections = []section{
	{
		key: "receivers", noun: "receiver",
		types: map[string]string{"prometheus": "prometheus", "nop": "nop"},
		later: []string{
			"otlp", "statsd", "kafka", "jaeger", "zipkin", "filelog", "awsecscontainermetrics", "awscontainerinsightreceiver",
			"awscontainerinsight", "awsxray", "hostmetrics", "kubeletstats", "k8s_cluster", "prometheus_simple", "prometheusremotewrite",
		},
	},
	{
		key: "processors", noun: "processor",
		types: allProcessorTypes(),
		later: []string{
			"cumulativetodelta", "cumulative_to_delta", "deltatorate", "delta_to_rate", "deltatocumulative", "delta_to_cumulative",
			"metricsgeneration", "metrics_generation", "experimental_metricsgeneration", "probabilistic_sampler", "probabilisticsampler", "tail_sampling", "tailsampling",
			"span", "groupbytrace", "groupbyattrs", "interval", "metricstarttime", "metric_start_time", "redaction", "schema", "sumologic",
		},
	},
	{
		key: "exporters", noun: "exporter",
		types: map[string]string{
			"prometheusremotewrite": "prometheusremotewrite", "prometheus_remote_write": "prometheusremotewrite",
			"awsprometheusremotewrite": "awsprometheusremotewrite", "debug": "debug", "logging": "debug", "nop": "nop",
		},
		later: []string{
			"otlp", "otlphttp", "otlp_http", "otlp_grpc", "prometheus", "file", "kafka", "awsemf", "awsxray", "awscloudwatchlogs", "loadbalancing",
			"datadog", "logzio", "signalfx", "splunk_hec", "googlecloud", "googlemanagedprometheus", "influxdb", "loki",
		},
	},
	{
		key: "extensions", noun: "extension",
		types: map[string]string{
			"sigv4auth": "sigv4auth", "basicauth": "basicauth", "bearertokenauth": "bearertokenauth", "bearer_token_auth": "bearertokenauth",
			"oauth2client": "oauth2client", "oauth2_client": "oauth2client", "headers_setter": "headers_setter",
			"health_check": "health_check", "pprof": "pprof", "zpages": "zpages", "memory_ballast": "memory_ballast", "file_storage": "file_storage",
		},
		later: []string{
			"awsproxy", "ecs_observer", "k8s_observer", "host_observer", "health_check_v2", "healthcheckv2", "opamp", "oidc", "asapclient",
			"googleclientauth", "azureauth", "k8s_leader_elector", "db_storage", "redis_storage",
		},
	},
	{key: "connectors", noun: "connector", later: []string{"forward", "count", "spanmetrics", "span_metrics", "routing", "servicegraph", "service_graph", "failover", "roundrobin", "sum"}},
}

// allProcessorTypes are the processors that change series and those that have to
// do with how they are queued.
func allProcessorTypes() map[string]string {
	types := map[string]string{"batch": "batch", "memory_limiter": "memory_limiter"}
	maps.Copy(types, processorTypes)
	return types
}

// typeNames returns the type names that work, sorted.
func (s section) typeNames() []string { return sortedKeys(s.types) }

// component is one configured component.
type component struct {
	id   string
	kind string // its type under the name that the code uses; "" if it does not work here
	pos  position
	path string
	body *node
	// used is true if a pipeline, or service.extensions, names it.
	used bool
}

var componentID = regexp.MustCompile(`^([a-zA-Z][0-9a-zA-Z_]{0,62})(?:/(.+))?$`)

// components reads all component sections; the result is by section and id.
func (l *loader) components(root *node) map[string]map[string]*component {
	all := map[string]map[string]*component{}
	for _, s := range sections {
		all[s.key] = map[string]*component{}
		n := root.get(s.key)
		if n.isNull() {
			continue
		}
		if n.kind != mapping {
			l.at(n.pos, s.key, "must be a mapping of %ss, found %s", s.noun, n.kind)
			continue
		}
		for _, e := range n.entries {
			if c := l.component(s, e); c != nil {
				all[s.key][c.id] = c
			}
		}
	}
	return all
}

func (l *loader) component(s section, e entry) *component {
	field := join(s.key, e.key)
	m := componentID.FindStringSubmatch(e.key)
	if m == nil {
		l.at(e.pos, field, "id %q must be of the form type or type/name", e.key)
		return nil
	}
	c := &component{id: e.key, kind: s.types[m[1]], pos: e.pos, path: field, body: e.value}
	if c.kind == "" && !slices.Contains(s.later, m[1]) {
		l.at(e.pos, field, "unknown type: %q for id: %q (valid values: %v)", m[1], e.key, s.typeNames())
		return nil
	}
	return c
}

// refuseUnsupported reports components that are used but do not work here, and
// mentions those that are merely there.
func (l *loader) refuseUnsupported(all map[string]map[string]*component) {
	for _, s := range sections {
		for _, id := range sortedKeys(all[s.key]) {
			c := all[s.key][id]
			switch {
			case c.kind == "" && c.used:
				l.at(c.pos, c.path, "the %s %q is not supported (supported %ss: %s)", s.noun, c.id, s.noun, orNone(s.typeNames()))
			case !c.used && s.key == "extensions" && strings.HasPrefix(c.kind, "memory"):
			case !c.used:
				l.note(c.pos, c.path, "the %s %q is defined but not used", s.noun, c.id)
			}
		}
	}
}

func orNone(list []string) string {
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, ", ")
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

// pipeline is one entry of service.pipelines.
type pipeline struct {
	id, path                         string
	pos                              position
	receivers, processors, exporters []string
}

// pipelines reads service.pipelines, checks every reference and marks what is used.
// Pipelines for other signals than metrics are left out or refused.
func (l *loader) pipelines(n *node, all map[string]map[string]*component) []pipeline {
	const path = "service.pipelines"
	if n.isNull() || n.kind == mapping && len(n.entries) == 0 {
		pos := l.servicePos
		l.at(pos, path, "there is no pipeline; the service must have at least one")
		return nil
	}
	if n.kind != mapping {
		l.at(n.pos, path, "must be a mapping of pipelines, found %s", n.kind)
		return nil
	}
	var out []pipeline
	for _, e := range n.entries {
		field := path + "." + e.key
		signal, _, _ := strings.Cut(e.key, "/")
		switch signal {
		case "metrics":
		case "traces", "logs", "profiles":
			if l.opts.SkipUnsupportedSignals {
				l.warn(e.pos, field, "left out: %s are not collected here", signal)
			} else {
				l.at(e.pos, field, "%s are not collected here; start with --skip-unsupported-signals to leave such pipelines out", signal)
			}
			continue
		default:
			l.add(&Error{File: e.pos.file, Line: e.pos.line, Field: field, Text: "unknown kind of pipeline", Found: found(field, signal), Allowed: []string{"metrics", "traces", "logs", "profiles"}})
			continue
		}
		if p, ok := l.pipeline(e, field, all); ok {
			out = append(out, p)
		}
	}
	if len(out) == 0 && len(l.list) == 0 {
		l.at(n.pos, path, "there is no pipeline for metrics")
	}
	return out
}

func (l *loader) pipeline(e entry, field string, all map[string]map[string]*component) (pipeline, bool) {
	before := len(l.list)
	var body struct {
		Receivers  *node `conf:"receivers"`
		Processors *node `conf:"processors"`
		Exporters  *node `conf:"exporters"`
	}
	decodeInto(e.value, field, &body, &l.problems)
	p := pipeline{id: e.key, path: field, pos: e.pos}
	p.receivers = l.references(body.Receivers, field+".receivers", "receiver", field, all["receivers"], all["connectors"])
	p.processors = l.references(body.Processors, field+".processors", "processor", field, all["processors"], nil)
	p.exporters = l.references(body.Exporters, field+".exporters", "exporter", field, all["exporters"], all["connectors"])
	if len(l.list) == before {
		if len(p.receivers) == 0 {
			l.at(e.pos, field, "must have at least one receiver")
		}
		if len(p.exporters) == 0 {
			l.at(e.pos, field, "must have at least one exporter")
		}
	}
	return p, len(l.list) == before
}

// references reads a list of component ids and checks each against what is
// configured.
func (l *loader) references(n *node, field, noun, owner string, configured, connectors map[string]*component) []string {
	if n.isNull() {
		return nil
	}
	if n.kind != sequence {
		l.at(n.pos, field, "must be a list of %s ids, found %s", noun, n.kind)
		return nil
	}
	var out []string
	for _, item := range n.items {
		id := item.text
		c := configured[id]
		if c == nil {
			c = connectors[id]
		}
		switch {
		case c == nil:
			e := &Error{File: item.pos.file, Line: item.pos.line, Field: owner, Text: fmt.Sprintf("references %s %q which is not configured", noun, id), Allowed: sortedKeys(configured)}
			l.add(e)
		case slices.Contains(out, id) && noun == "processor":
			l.at(item.pos, owner, "references %s %q multiple times", noun, id)
		case !slices.Contains(out, id):
			c.used = true
			out = append(out, id)
		}
	}
	return out
}
