package otelconf

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
)

// ThroughAPIServer returns the URL by which a target of a cluster is reached
// through the cluster's API server, for those whom no way leads to its nodes and
// pods. The URL's host is KubernetesAPIHost. discovered are the labels that
// discovery gave the target; target is its URL after relabelling, and must be
// that of what was discovered, of a service by its name, or of the API server.
func ThroughAPIServer(target string, discovered labels.Labels) (string, error) {
	u, err := url.Parse(target)
	if err != nil {
		return "", fmt.Errorf("not a URL: %w", err)
	}
	get := func(name string) string { return metaLabel(discovered.Get, name) }
	host, port := u.Hostname(), u.Port()
	path := ""
	switch namespace, service, ok := serviceOf(host); {
	case ok && namespace == "default" && service == "kubernetes", isAPIServer(host, discovered):
	case ok:
		path = proxied("namespaces/"+namespace+"/services", u.Scheme, service, port)
	case get("pod_name") != "" && sameHost(host, get("pod_ip")):
		path = proxied("namespaces/"+get("namespace")+"/pods", u.Scheme, get("pod_name"), port)
	default:
		node := nodeOf(host, discovered)
		if node == "" {
			return "", fmt.Errorf("%s is neither a node, a pod nor a service of the cluster, nor what was discovered; a scraper reaches these only, through the API server", host)
		}
		if port == portOf(discovered) && get("node_name") != "" {
			port = "" // the kubelet's own, which the API server knows
		}
		path = proxied("nodes", u.Scheme, node, port)
	}
	out := url.URL{Scheme: "https", Host: KubernetesAPIHost, Path: path + u.Path, RawQuery: u.RawQuery}
	return out.String(), nil
}

// proxied returns the path below which the API server passes requests on.
func proxied(kind, scheme, name, port string) string {
	switch {
	case port == "":
	case scheme == "https":
		name = "https:" + name + ":" + port
	default:
		name += ":" + port
	}
	return "/api/v1/" + kind + "/" + name + "/proxy"
}

// serviceOf reads NAME.NAMESPACE.svc, with or without the usual domain of clusters.
func serviceOf(host string) (namespace, service string, ok bool) {
	host, _ = strings.CutSuffix(strings.TrimSuffix(host, "."), ".cluster.local")
	host, ok = strings.CutSuffix(host, ".svc")
	service, namespace, found := strings.Cut(host, ".")
	return namespace, service, ok && found && service != "" && namespace != "" && !strings.Contains(namespace, ".")
}

// isAPIServer reports whether a target is one of the endpoints of the service
// kubernetes. The one that answers stands for all.
func isAPIServer(host string, discovered labels.Labels) bool {
	name := cmp.Or(metaLabel(discovered.Get, "service_name"), metaLabel(discovered.Get, "endpoints_name"),
		metaLabel(discovered.Get, "endpointslice_label_kubernetes_io_service_name"))
	return name == "kubernetes" && metaLabel(discovered.Get, "namespace") == "default" &&
		sameHost(host, discoveredHost(discovered))
}

func discoveredHost(discovered labels.Labels) string {
	host, _, err := net.SplitHostPort(discovered.Get(model.AddressLabel))
	if err != nil {
		return discovered.Get(model.AddressLabel)
	}
	return host
}

func portOf(discovered labels.Labels) string {
	_, port, _ := net.SplitHostPort(discovered.Get(model.AddressLabel))
	return port
}

// nodeOf returns the name of the node that has an address, "" if that is not
// known to be the node that was discovered.
func nodeOf(host string, discovered labels.Labels) (node string) {
	get := func(name string) string { return metaLabel(discovered.Get, name) }
	if name := get("pod_node_name"); name != "" && sameHost(host, get("pod_host_ip")) {
		return name
	}
	for _, kind := range []string{"endpoint", "endpointslice"} {
		if get(kind+"_address_target_kind") == "Node" && sameHost(host, discoveredHost(discovered)) {
			return get(kind + "_address_target_name")
		}
	}
	name := get("node_name")
	if name == "" || get("pod_name") != "" {
		return ""
	}
	if host == name || sameHost(host, discoveredHost(discovered)) {
		return name
	}
	discovered.Range(func(l labels.Label) {
		if strings.HasPrefix(l.Name, model.MetaLabelPrefix+"kubernetes_node_address_") && sameHost(host, l.Value) {
			node = name
		}
	})
	return node
}

// sameHost compares addresses, or names to the letter.
func sameHost(a, b string) bool {
	if a == b {
		return a != ""
	}
	x, err := netip.ParseAddr(a)
	y, err2 := netip.ParseAddr(b)
	return err == nil && err2 == nil && x == y
}
