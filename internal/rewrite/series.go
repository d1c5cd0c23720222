package rewrite

import (
	"net"
	"slices"
	"strings"

	prom "github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/mangru/mangru/internal/model"
)

// OpenTelemetry has no series. It has metrics with data points, whose attributes
// are the series' own labels, and above them a resource, whose attributes say what
// the target is. The steps that stand for its processors see a series that way:
//
//   - the metric's name is the family's: "x" for the series x_bucket, x_sum and
//     x_count of a histogram or summary, but "x_total" for a counter's;
//   - job and instance are the resource attributes service.name and
//     service.instance.id, and no attributes of the data point;
//   - le and quantile belong to the value and are no attributes either.
//
// While a program runs, the other resource attributes are labels of the builder
// under names that no target can use. The program's last step takes them away.
const (
	reserved       = "__otel."
	resourcePrefix = reserved + "resource."
	// familyLabel is the metric's name once a step has changed it.
	familyLabel = reserved + "family"
	scopePrefix = "otel_scope_"

	serviceName       = "service.name"
	serviceInstance   = "service.instance.id"
	serviceNamespace  = "service.namespace"
	serverAddress     = "server.address"
	serverPort        = "server.port"
	urlScheme         = "url.scheme"
	targetInfo        = "target_info"
	suffixBucket      = "_bucket"
	suffixSum         = "_sum"
	suffixCount       = "_count"
	suffixCreated     = "_created"
	suffixInfo        = "_info"
	suffixTotal       = "_total"
	suffixGaugeCount  = "_gcount"
	suffixGaugeSum    = "_gsum"
	metaKubernetes    = prom.MetaLabelPrefix + "kubernetes_"
	metaPodController = metaKubernetes + "pod_controller_"
)

// metric is a series' metric as OpenTelemetry has it.
type metric struct {
	name string
	// suffix is what the series' name has after the metric's. The OpenTelemetry
	// Collector gives some of them back on export (exported) and forgets others.
	suffix, exported string
	// typ is unknown unless the family is known to be the series' own.
	typ model.MetricType
	// created is true for a series that only says when others began.
	created bool
}

// metricOf finds out which metric a series belongs to. A family whose name does
// not begin the series' name is not its own: relabelling has renamed the series,
// and then nothing is known of it.
func metricOf(b *labels.Builder, f model.Family) metric {
	series := b.Get(prom.MetricNameLabel)
	base := f.Name
	if renamed := b.Get(familyLabel); renamed != "" {
		base = renamed
	}
	unknown := metric{name: series}
	rest, own := strings.CutPrefix(series, base)
	if !own || f.Type == model.TypeUnknown {
		return unknown
	}
	m := metric{name: base, suffix: rest, exported: rest, typ: f.Type}
	switch f.Type {
	case model.TypeCounter:
		switch rest {
		case suffixCreated:
			m.created = true
		case "", suffixTotal:
			m = metric{name: series, typ: f.Type}
		default:
			return unknown
		}
	case model.TypeHistogram, model.TypeSummary:
		switch rest {
		case "", suffixBucket, suffixSum, suffixCount:
		case suffixCreated:
			m.created = true
		default:
			return unknown
		}
	case model.TypeGaugeHistogram:
		if rest != suffixBucket && rest != "" {
			return unknown // _gsum and _gcount are metrics of their own
		}
		m.exported = ""
	case model.TypeInfo:
		if rest != suffixInfo && rest != "" {
			return unknown
		}
		m.exported = ""
	default:
		if rest != "" {
			return unknown
		}
	}
	return m
}

// rename gives the metric another name; the series keeps its suffix.
func (m metric) rename(b *labels.Builder, name string) {
	if name == "" || name == m.name {
		return
	}
	if m.typ != model.TypeUnknown {
		b.Set(familyLabel, name)
	}
	b.Set(prom.MetricNameLabel, name+m.suffix)
}

// attributes gives access to the attributes of a series' data point, or to
// those of its resource.
type attributes struct {
	b        *labels.Builder
	m        metric
	resource bool
}

// label returns the label that holds an attribute, or "" if there can be none.
func (a attributes) label(key string) string {
	if a.resource {
		switch key {
		case serviceName:
			return prom.JobLabel
		case serviceInstance:
			return prom.InstanceLabel
		}
		return resourcePrefix + key
	}
	if hidden(key) || key == a.m.boundary() {
		return ""
	}
	return key
}

// hidden reports whether a label is not an attribute of the data point.
func hidden(name string) bool {
	switch name {
	case prom.MetricNameLabel, prom.JobLabel, prom.InstanceLabel, prom.SchemeLabel, prom.MetricsPathLabel:
		return true
	}
	return strings.HasPrefix(name, reserved) || strings.HasPrefix(name, scopePrefix) || discovered(name)
}

// boundary returns the label that is part of the metric's value, or "".
func (m metric) boundary() string {
	switch m.typ {
	case model.TypeHistogram:
		return prom.BucketLabel
	case model.TypeSummary:
		return prom.QuantileLabel
	}
	return ""
}

// get returns an attribute's value; "" if it is not there.
func (a attributes) get(key string) string {
	if name := a.label(key); name != "" {
		return a.b.Get(name)
	}
	return ""
}

// set gives an attribute a value; an empty one takes it away. Where the
// attribute's label is taken by something else, nothing happens, as it would have
// no effect on the exported series either.
func (a attributes) set(key, value string) {
	if name := a.label(key); name != "" {
		a.b.Set(name, value)
	}
}

// each calls f for every attribute; f may change them.
func (a attributes) each(f func(key, value string)) {
	a.b.Range(func(l labels.Label) {
		if !a.resource {
			if a.label(l.Name) != "" {
				f(l.Name, l.Value)
			}
			return
		}
		switch key, ok := strings.CutPrefix(l.Name, resourcePrefix); {
		case ok:
			f(key, l.Value)
		case l.Name == prom.JobLabel:
			f(serviceName, l.Value)
		case l.Name == prom.InstanceLabel:
			f(serviceInstance, l.Value)
		}
	})
}

// enter makes the resource attributes that the prometheus receiver would. It
// reads the labels that discovery gave the target (see Program.Discovered), as far
// as they are in the builder.
type enter struct {
	// Keep are labels that steps further on read themselves.
	Keep []string
}

// kubernetesAttributes are the discovery labels that become resource attributes.
var kubernetesAttributes = []struct{ label, key string }{
	{metaKubernetes + "pod_name", "k8s.pod.name"},
	{metaKubernetes + "pod_uid", "k8s.pod.uid"},
	{metaKubernetes + "pod_container_name", "k8s.container.name"},
	{metaKubernetes + "namespace", "k8s.namespace.name"},
	{metaKubernetes + "pod_node_name", "k8s.node.name"},
	{metaKubernetes + "node_name", "k8s.node.name"},
	{metaKubernetes + "endpoint_node_name", "k8s.node.name"},
}

// controllerAttributes are the resource attributes for a pod's owner, by kind.
var controllerAttributes = map[string]string{
	"ReplicaSet":  "k8s.replicaset.name",
	"DaemonSet":   "k8s.daemonset.name",
	"StatefulSet": "k8s.statefulset.name",
	"Job":         "k8s.job.name",
	"CronJob":     "k8s.cronjob.name",
}

// discovered reports whether a label comes from discovery and never leaves.
func discovered(name string) bool {
	return strings.HasPrefix(name, prom.MetaLabelPrefix)
}

// Apply sets the resource attributes.
func (enter) Apply(b *labels.Builder, _ model.Family) bool {
	resource := attributes{b: b, resource: true}
	instance := b.Get(prom.InstanceLabel)
	host, port, err := net.SplitHostPort(instance)
	if err != nil {
		host, port = instance, ""
	}
	if tellsHosts(host) {
		resource.set(serverAddress, host)
	}
	resource.set(serverPort, port)
	resource.set(urlScheme, b.Get(prom.SchemeLabel))
	for _, k := range kubernetesAttributes {
		if v := b.Get(k.label); v != "" {
			resource.set(k.key, v)
		}
	}
	if key := controllerAttributes[b.Get(metaPodController+"kind")]; key != "" {
		resource.set(key, b.Get(metaPodController+"name"))
	}
	return true
}

// tellsHosts reports whether an address names one host among others: loopback
// and unspecified ones do not.
func tellsHosts(host string) bool {
	if ip := net.ParseIP(host); ip != nil {
		return !ip.IsLoopback() && !ip.IsUnspecified()
	}
	return host != "localhost"
}

// reads are the names of the discovery labels that it, or a later step, reads.
func (e enter) reads() []string {
	names := []string{prom.SchemeLabel, metaPodController + "kind", metaPodController + "name"}
	for _, k := range kubernetesAttributes {
		names = append(names, k.label)
	}
	names = append(names, e.Keep...)
	slices.Sort(names)
	return slices.Compact(names)
}
