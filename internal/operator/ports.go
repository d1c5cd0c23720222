package operator

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// wellKnown are the ports of components that name none, by component and, where
// it has several, protocol.
var wellKnown = map[string]int32{
	"otlp/grpc": 4317, "otlp/http": 4318, "jaeger/grpc": 14250, "jaeger/thrift_http": 14268, "jaeger/thrift_compact": 6831, "jaeger/thrift_binary": 6832,
	"zipkin": 9411, "statsd": 8125, "carbon": 2003, "fluentforward": 8006, "influxdb": 8086, "opencensus": 55678, "skywalking/grpc": 11800,
	"skywalking/http": 12800, "syslog": 514, "tcplog": 0, "udplog": 0, "splunk_hec": 8088, "signalfx": 9943, "wavefront": 2003, "awsxray": 2000, "loki/grpc": 3600, "loki/http": 3500,
}

// datagrams are components whose port is UDP.
var datagrams = map[string]bool{"statsd": true, "udplog": true, "awsxray": true, "jaeger/thrift_compact": true, "jaeger/thrift_binary": true}

// componentPorts are the ports that receivers and exporters in use listen on.
func componentPorts(c *Collector) []corev1.ServicePort {
	var out []corev1.ServicePort
	used := map[string]bool{}
	for _, p := range c.Spec.Config.Service.Pipelines {
		for _, r := range p.Receivers {
			used["r "+r] = true
		}
		for _, e := range p.Exporters {
			used["e "+e] = true
		}
	}
	for _, id := range slices.Sorted(maps.Keys(c.Spec.Config.Receivers)) {
		if used["r "+id] {
			out = append(out, receiverPorts(id, c.Spec.Config.Receivers[id])...)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(c.Spec.Config.Exporters)) {
		kind, _, _ := strings.Cut(id, "/")
		if kind != "prometheus" || !used["e "+id] {
			continue
		}
		body, _ := c.Spec.Config.Exporters[id].(map[string]any)
		if port, ok := endpointPort(body); ok {
			out = append(out, servicePort(id, port, ""))
		}
	}
	return out
}

func receiverPorts(id string, config any) (out []corev1.ServicePort) {
	kind, _, _ := strings.Cut(id, "/")
	body, _ := config.(map[string]any)
	protocols, _ := body["protocols"].(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(protocols)) {
		settings, _ := protocols[name].(map[string]any)
		port, ok := endpointPort(settings)
		if !ok {
			port = wellKnown[kind+"/"+name]
		}
		if port > 0 {
			out = append(out, servicePort(id+"-"+name, port, kind+"/"+name))
		}
	}
	if protocols != nil {
		return out
	}
	port, ok := endpointPort(body)
	if !ok {
		port = wellKnown[kind]
	}
	if port > 0 {
		out = append(out, servicePort(id, port, kind))
	}
	return out
}

// endpointPort reads the port of endpoint or listen_address.
func endpointPort(body map[string]any) (int32, bool) {
	for _, key := range []string{"endpoint", "listen_address"} {
		text, ok := body[key].(string)
		if !ok {
			continue
		}
		_, port, err := net.SplitHostPort(text)
		if err != nil {
			continue
		}
		if n, err := strconv.ParseUint(port, 10, 16); err == nil {
			return int32(n), true //nolint:gosec // at most 65535
		}
	}
	return 0, false
}

var notInPortName = regexp.MustCompile(`[^a-z0-9-]+`)

func servicePort(name string, port int32, kind string) corev1.ServicePort {
	name = strings.Trim(notInPortName.ReplaceAllString(strings.ToLower(strings.ReplaceAll(name, "/", "-")), "-"), "-")
	if len(name) > 15 {
		name = fmt.Sprintf("port-%d", port)
	}
	p := corev1.ServicePort{Name: name, Port: port, TargetPort: intstr.FromInt32(port), Protocol: corev1.ProtocolTCP}
	switch {
	case datagrams[kind]:
		p.Protocol = corev1.ProtocolUDP
	case strings.HasSuffix(kind, "/grpc"):
		grpc := "grpc"
		p.AppProtocol = &grpc
	case strings.HasSuffix(kind, "/http"):
		http := "http"
		p.AppProtocol = &http
	}
	return p
}

// servicePorts are those of the configuration and those that were asked for,
// which win where they have the same number or name.
func servicePorts(c *Collector) []corev1.ServicePort {
	var out []corev1.ServicePort
	for _, p := range c.Spec.Ports {
		out = append(out, p.ServicePort)
	}
	for _, p := range componentPorts(c) {
		if !slices.ContainsFunc(out, func(o corev1.ServicePort) bool {
			return o.Name == p.Name || o.Port == p.Port && cmp.Or(o.Protocol, corev1.ProtocolTCP) == p.Protocol
		}) {
			out = append(out, p)
		}
	}
	return out
}

// ownMetricsPort is where the collector serves its own metrics; 0 where nowhere.
func ownMetricsPort(c *Collector) int32 {
	metrics, _ := c.Spec.Config.Service.Telemetry["metrics"].(map[string]any)
	if metrics["level"] == "none" {
		return 0
	}
	if text, ok := metrics["address"].(string); ok {
		if i := strings.LastIndexByte(text, ':'); i >= 0 {
			if n, err := strconv.ParseUint(text[i+1:], 10, 16); err == nil {
				return int32(n) //nolint:gosec // at most 65535
			}
		}
	}
	readers, _ := metrics["readers"].([]any)
	for _, r := range readers {
		if p, ok := dig(r, "pull", "exporter", "prometheus", "port"); ok {
			switch n := p.(type) {
			case float64:
				return int32(n)
			case int64:
				return int32(n) //nolint:gosec // checked by the collector
			}
		}
	}
	return metricsPort
}

// dig walks into JSON.
func dig(v any, keys ...string) (any, bool) {
	for _, k := range keys {
		m, ok := v.(map[string]any)
		if !ok {
			return nil, false
		}
		if v, ok = m[k]; !ok {
			return nil, false
		}
	}
	return v, true
}

// healthCheck is where the health check extension answers.
func healthCheck(c *Collector) (port int32, path string, ok bool) {
	for _, id := range c.Spec.Config.Service.Extensions {
		if kind, _, _ := strings.Cut(id, "/"); kind != "health_check" {
			continue
		}
		body, _ := c.Spec.Config.Extensions[id].(map[string]any)
		port, found := endpointPort(body)
		if !found {
			port = 13133
		}
		path, _ := body["path"].(string)
		return port, cmp.Or(path, "/"), true
	}
	return 0, "", false
}

// containerPorts are all of them, by name.
func containerPorts(c *Collector) []corev1.ContainerPort {
	var out []corev1.ContainerPort
	for _, p := range servicePorts(c) {
		port := p.Port
		if n := p.TargetPort.IntValue(); n > 0 {
			port = int32(n) //nolint:gosec // a port
		}
		k := corev1.ContainerPort{Name: p.Name, ContainerPort: port, Protocol: cmp.Or(p.Protocol, corev1.ProtocolTCP)}
		for _, asked := range c.Spec.Ports {
			if asked.Name == p.Name {
				k.HostPort = asked.HostPort
			}
		}
		out = append(out, k)
	}
	if port := ownMetricsPort(c); port > 0 && !slices.ContainsFunc(out, func(p corev1.ContainerPort) bool { return p.ContainerPort == port }) {
		out = append(out, corev1.ContainerPort{Name: "metrics", ContainerPort: port, Protocol: corev1.ProtocolTCP})
	}
	slices.SortFunc(out, func(a, b corev1.ContainerPort) int { return strings.Compare(a.Name, b.Name) })
	return out
}
