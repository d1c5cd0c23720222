package otelconf

import (
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/relabel"
)

// Labels that Kubernetes discovery sets.
const (
	metaNamespace   = "__meta_kubernetes_namespace"
	metaNodeName    = "__meta_kubernetes_node_name"
	metaServiceName = "__meta_kubernetes_service_name"

	metaPodName    = "__meta_kubernetes_pod_name"
	metaPodIP      = "__meta_kubernetes_pod_ip"
	metaPodNode    = "__meta_kubernetes_pod_node_name"
	metaPodPhase   = "__meta_kubernetes_pod_phase"
	metaPodApp     = "__meta_kubernetes_pod_label_app"
	metaPodAppName = "__meta_kubernetes_pod_label_app_kubernetes_io_name"
	metaPodK8sApp  = "__meta_kubernetes_pod_label_k8s_app"

	metaContainerName         = "__meta_kubernetes_pod_container_name"
	metaContainerInit         = "__meta_kubernetes_pod_container_init"
	metaContainerPort         = "__meta_kubernetes_pod_container_port_number"
	metaContainerPortName     = "__meta_kubernetes_pod_container_port_name"
	metaContainerPortProtocol = "__meta_kubernetes_pod_container_port_protocol"

	metaSlicePort         = "__meta_kubernetes_endpointslice_port"
	metaSlicePortName     = "__meta_kubernetes_endpointslice_port_name"
	metaSlicePortProtocol = "__meta_kubernetes_endpointslice_port_protocol"
	metaSliceNode         = "__meta_kubernetes_endpointslice_endpoint_node_name"

	podAnnotation     = "__meta_kubernetes_pod_annotation_prometheus_io_"
	serviceAnnotation = "__meta_kubernetes_service_annotation_prometheus_io_"
)

// notRunning are the phases in which a pod has nothing to scrape.
const notRunning = "Pending|Succeeded|Failed"

// nodeLabels are the labels of a node that its series carry: what people group
// nodes by, and no more, since each is on every series of the node.
const nodeLabels = "eks_amazonaws_com_nodegroup|eks_amazonaws_com_capacityType|karpenter_sh_nodepool|" +
	"node_kubernetes_io_instance_type|topology_kubernetes_io_zone|topology_kubernetes_io_region"

// rules are relabelling rules, written shorter.
type rules = []*relabel.Config

func rule(action relabel.Action, regex string, sources ...string) *relabel.Config {
	r := relabel.DefaultRelabelConfig
	r.Action = action
	r.Regex = relabel.MustNewRegexp(regex)
	for _, s := range sources {
		r.SourceLabels = append(r.SourceLabels, model.LabelName(s))
	}
	return &r
}

// keep drops targets whose sources, joined by ";", do not match.
func keep(regex string, sources ...string) *relabel.Config {
	return rule(relabel.Keep, regex, sources...)
}

// drop drops targets whose sources, joined by ";", match.
func drop(regex string, sources ...string) *relabel.Config {
	return rule(relabel.Drop, regex, sources...)
}

// replace sets target to replacement if the sources match.
func replace(target, replacement, regex string, sources ...string) *relabel.Config {
	r := rule(relabel.Replace, regex, sources...)
	r.TargetLabel, r.Replacement = target, replacement
	return r
}

// set sets target to a constant.
func set(target, value string) *relabel.Config {
	return replace(target, value, ".*")
}

// copyLabel sets target to a label's value if it has one.
func copyLabel(from, target string) *relabel.Config {
	return replace(target, "$1", "(.+)", from)
}

func labelMap(regex, replacement string) *relabel.Config {
	r := rule(relabel.LabelMap, regex)
	r.Replacement = replacement
	return r
}

// boundedNodeLabels copies nodeLabels of the node that a target is on.
func boundedNodeLabels() *relabel.Config {
	return labelMap("__meta_kubernetes_node_label_("+nodeLabels+")", "$1")
}

// dropTemporary removes the labels that rules keep intermediate values in. They
// would else keep equal targets apart.
func dropTemporary() *relabel.Config {
	return rule(relabel.LabelDrop, "__tmp_.+")
}

// dropOwned drops the pods that have a job of their own.
func dropOwned() rules {
	return rules{
		drop(stateMetricsPods+"|"+nodeExporterPods+"|coredns", metaPodAppName),
		drop(dnsPods, metaPodK8sApp),
	}
}

// annotations applies prometheus.io/scheme, path and param_*.
func annotations(prefix string) rules {
	return rules{
		replace("__scheme__", "$1", "(https?)", prefix+"scheme"),
		replace("__metrics_path__", "$1", "(.+)", prefix+"path"),
		replace("__metrics_path__", "/$1", "([^/].*)", "__metrics_path__"),
		labelMap(prefix+"param_(.+)", "__param_$1"),
	}
}

// dropAnnotatedPods drops a service's target if the pod behind it is annotated
// so that the same page is scraped for the pod.
func dropAnnotatedPods() rules {
	same := relabel.DefaultRelabelConfig
	same.Action, same.TargetLabel = relabel.DropEqual, "__tmp_pod_page"
	same.SourceLabels = model.LabelNames{"__tmp_address", "__metrics_path__"}
	from := []string{podScrape, metaPodIP, podAnnotation + "port", "__tmp_pod_path"}
	return rules{
		set("__tmp_pod_path", "/metrics"),
		replace("__tmp_pod_path", "$1", "(.+)", podAnnotation+"path"),
		replace("__tmp_pod_path", "/$1", "([^/].*)", "__tmp_pod_path"),
		replace("__tmp_pod_page", "$1:$2;$3", `true;([\d.]+);(\d+);(.+)`, from...),
		replace("__tmp_pod_page", "[$1]:$2;$3", `true;([0-9A-Fa-f]*:[0-9A-Fa-f:.]*);(\d+);(.+)`, from...),
		// Without prometheus.io/port the pod's job takes all ports that the pod declares.
		replace("__tmp_pod_page", "$1;$2", `true;;\d+;;(.+);(.+)`, podScrape, podAnnotation+"port", metaContainerPort, serviceAnnotation+"port", "__tmp_address", "__tmp_pod_path"),
		&same,
	}
}
