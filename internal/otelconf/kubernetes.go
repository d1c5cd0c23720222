package otelconf

import (
	"fmt"
	"net/url"
	"strings"
	"time"

	commoncfg "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/discovery/kubernetes"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/model/labels"
	"k8s.io/client-go/tools/clientcmd"
)

// Where a pod finds what it needs to talk to its cluster.
const (
	podToken = "/var/run/secrets/kubernetes.io/serviceaccount/token"
	podCA    = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"
)

// KubernetesOptions say how the built-in jobs reach a cluster.
type KubernetesOptions struct {
	// Kubeconfig is the file to find the cluster by; empty means the pod that the
	// process runs in.
	Kubeconfig string
	// InCluster is true where nodes and pods can be reached at their own
	// addresses. Otherwise everything is scraped through the API server.
	InCluster bool
	// Interval between scrapes; 0 means DefaultScrapeInterval.
	Interval time.Duration
	// Cluster is the value of the cluster label. If empty it is taken from the
	// kubeconfig; in a pod there is none.
	Cluster string
}

// Kubernetes returns a configuration with the built-in jobs for a cluster and no
// endpoints; AddEndpoint adds them. Each job leaves out what another job owns, so
// that every target is scraped once. Names of jobs and labels are those that the
// kube-prometheus dashboards select by.
func Kubernetes(o KubernetesOptions) (*Config, error) {
	k, err := newClusterJobs(o)
	if err != nil {
		return nil, err
	}
	c := New()
	c.Form = "built-in Kubernetes jobs"
	c.Global.ScrapeInterval = model.Duration(k.interval)
	c.Global.ScrapeTimeout = model.Duration(min(10*time.Second, k.interval))
	c.Dedupe = DedupeFirstJobWins
	c.Sharding.Auto = o.InCluster
	if k.cluster != "" {
		c.Global.ExternalLabels = labels.FromStrings("cluster", k.cluster)
	} else {
		c.Warnings = append(c.Warnings, Warning{Where: "built-in Kubernetes jobs", Text: "the cluster has no name, so series have no cluster label and a second cluster in the same workspace cannot be told apart: set --cluster NAME"})
	}
	c.ScrapeConfigs = []*config.ScrapeConfig{
		k.apiserver(), k.kubelet(), k.cadvisor(), k.kubeStateMetrics(), k.nodeExporter(), k.dns(), k.annotatedPods(), k.annotatedServices(),
	}
	for _, sc := range c.ScrapeConfigs {
		if err := sc.Validate(c.Global); err != nil {
			return nil, fmt.Errorf("built-in job %q: %w", sc.JobName, err)
		}
		if k.proxy != nil {
			if c.APIServerProxy == nil {
				c.APIServerProxy = map[string]string{}
			}
			c.APIServerProxy[sc.JobName] = o.Kubeconfig
		}
	}
	return c, nil
}

// clusterJobs builds the jobs for one cluster and way of access.
type clusterJobs struct {
	kubeconfig string
	cluster    string
	interval   time.Duration
	// proxy is the API server's URL where targets are reached through it.
	proxy *url.URL
}

func newClusterJobs(o KubernetesOptions) (*clusterJobs, error) {
	k := &clusterJobs{kubeconfig: o.Kubeconfig, cluster: o.Cluster, interval: o.Interval}
	if k.interval <= 0 {
		k.interval = DefaultScrapeInterval
	}
	if o.Kubeconfig == "" {
		return k, nil
	}
	file, err := clientcmd.LoadFromFile(o.Kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("reading kubeconfig: %w", err)
	}
	current, ok := file.Contexts[file.CurrentContext]
	if !ok {
		return nil, &Error{File: o.Kubeconfig, Field: "current-context", Text: "there is no such context", Found: file.CurrentContext, Allowed: sortedKeys(file.Contexts)}
	}
	cluster, ok := file.Clusters[current.Cluster]
	if !ok {
		return nil, &Error{File: o.Kubeconfig, Field: "contexts." + file.CurrentContext + ".cluster", Text: "there is no such cluster", Found: current.Cluster, Allowed: sortedKeys(file.Clusters)}
	}
	if k.cluster == "" {
		// EKS names clusters by ARN: arn:aws:eks:REGION:ACCOUNT:cluster/NAME.
		k.cluster = current.Cluster[strings.LastIndexByte(current.Cluster, '/')+1:]
	}
	if o.InCluster {
		return k, nil
	}
	k.proxy, err = apiServerURL(cluster.Server)
	if err != nil {
		return nil, &Error{File: o.Kubeconfig, Field: "clusters." + current.Cluster + ".server", Text: err.Error()}
	}
	return k, nil
}

// apiServerURL parses the server of a kubeconfig; like kubectl it takes a bare
// HOST:PORT for https.
func apiServerURL(server string) (*url.URL, error) {
	if !strings.Contains(server, "://") {
		server = "https://" + server
	}
	u, err := url.Parse(server)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("not the URL of an API server")
	}
	u.Path = strings.TrimSuffix(u.Path, "/")
	return u, nil
}

// job returns a job with everything but rules.
func (k *clusterJobs) job(name string, sd discovery.Config) *config.ScrapeConfig {
	sc := config.DefaultScrapeConfig
	sc.JobName = name
	sc.ServiceDiscoveryConfigs = discovery.Configs{sd}
	return &sc
}

// discover returns the discovery for a role. It is the same for all jobs that
// use the role, so that they share one watch.
func (k *clusterJobs) discover(role kubernetes.Role) *kubernetes.SDConfig {
	sd := kubernetes.DefaultSDConfig
	sd.Role, sd.KubeConfig = role, k.kubeconfig
	if role == kubernetes.RolePod {
		sd.AttachMetadata.Node = true
	}
	return &sd
}

// asPod makes a job authenticate as the pod that it runs in.
func asPod(sc *config.ScrapeConfig, tls commoncfg.TLSConfig) {
	sc.Scheme = "https"
	sc.HTTPClientConfig.Authorization = &commoncfg.Authorization{Type: "Bearer", CredentialsFile: podToken}
	sc.HTTPClientConfig.TLSConfig = tls
}

// apiserver scrapes every API server; through the proxy only the one that answers.
func (k *clusterJobs) apiserver() *config.ScrapeConfig {
	if k.proxy != nil {
		group := &targetgroup.Group{Source: "0", Targets: []model.LabelSet{{model.AddressLabel: model.LabelValue(k.proxy.Host)}}}
		sc := k.job("apiserver", discovery.StaticConfig{group})
		sc.Scheme, sc.MetricsPath = k.proxy.Scheme, k.proxy.Path+"/metrics"
		return sc
	}
	sc := k.job("apiserver", k.discover(kubernetes.RoleEndpointSlice))
	// The certificate always names "kubernetes", but not always the address.
	asPod(sc, commoncfg.TLSConfig{CAFile: podCA, ServerName: "kubernetes"})
	sc.RelabelConfigs = rules{
		keep("default;kubernetes;https", metaNamespace, metaServiceName, metaSlicePortName),
	}
	return sc
}

// nodeJob scrapes one path of every kubelet, as job "kubelet" with the path in
// metrics_path, which is how the dashboards tell the kubelet's pages apart.
func (k *clusterJobs) nodeJob(name, path string) *config.ScrapeConfig {
	sc := k.job(name, k.discover(kubernetes.RoleNode))
	sc.MetricsPath = path
	// The pages' own labels name objects of the cluster.
	sc.HonorLabels = true
	sc.RelabelConfigs = rules{
		set("job", "kubelet"),
		set("metrics_path", path),
		copyLabel(metaNodeName, "node"),
		boundedNodeLabels(),
	}
	if k.proxy == nil {
		// Kubelets often serve with a certificate that they signed themselves.
		asPod(sc, commoncfg.TLSConfig{CAFile: podCA, InsecureSkipVerify: true})
		return sc
	}
	sc.Scheme = k.proxy.Scheme
	sc.RelabelConfigs = append(sc.RelabelConfigs,
		replace("__metrics_path__", k.proxy.Path+"/api/v1/nodes/$1/proxy"+path, "(.+)", metaNodeName),
		set("__address__", k.proxy.Host),
	)
	return sc
}

func (k *clusterJobs) kubelet() *config.ScrapeConfig { return k.nodeJob("kubelet", "/metrics") }

func (k *clusterJobs) cadvisor() *config.ScrapeConfig {
	sc := k.nodeJob("kubelet-cadvisor", "/metrics/cadvisor")
	// cAdvisor stamps its samples, and stamped series get no stale markers: a
	// container that is gone would be counted for five more minutes.
	sc.HonorTimestamps = false
	return sc
}

// Pods that have a job of their own, by label.
const (
	stateMetricsPods = "kube-state-metrics"
	nodeExporterPods = "node-exporter|prometheus-node-exporter"
	dnsPods          = "kube-dns|coredns"
)

// kubeStateMetrics leaves the labels of the page alone: namespace, pod and node
// are those of the objects that it describes.
func (k *clusterJobs) kubeStateMetrics() *config.ScrapeConfig {
	sc := k.job("kube-state-metrics", k.discover(kubernetes.RolePod))
	sc.HonorLabels = true
	r := rules{
		keep(stateMetricsPods, metaPodAppName),
		// Its own telemetry is on another port.
		keep("(http|http-metrics|main);.*|[^;]*;8080|;", metaContainerPortName, metaContainerPort),
		drop(notRunning, metaPodPhase),
		replace("__tmp_port", "$1", "(.+)", metaContainerPort),
		replace("__tmp_port", "8080", "", metaContainerPort),
	}
	sc.RelabelConfigs = append(r, k.reachPod()...)
	return sc
}

func (k *clusterJobs) nodeExporter() *config.ScrapeConfig {
	sc := k.job("node-exporter", k.discover(kubernetes.RolePod))
	r := rules{
		keep(nodeExporterPods, metaPodAppName),
		keep("(metrics|http-metrics);.*|[^;]*;9100|;", metaContainerPortName, metaContainerPort),
		drop(notRunning, metaPodPhase),
		replace("__tmp_port", "$1", "(.+)", metaContainerPort),
		replace("__tmp_port", "9100", "", metaContainerPort),
	}
	r = append(r, k.reachPod()...)
	// The node is what is measured; the pod that measures comes and goes.
	r = append(r, copyLabel(metaPodNode, "instance"), copyLabel(metaPodNode, "node"), boundedNodeLabels())
	sc.RelabelConfigs = r
	return sc
}

func (k *clusterJobs) dns() *config.ScrapeConfig {
	sc := k.job("kube-dns", k.discover(kubernetes.RolePod))
	r := rules{
		keep("("+dnsPods+");.*|[^;]*;coredns", metaPodK8sApp, metaPodAppName),
		keep("metrics;.*|[^;]*;9153", metaContainerPortName, metaContainerPort),
		drop(notRunning, metaPodPhase),
		replace("__tmp_port", "$1", "(.+)", metaContainerPort),
		copyLabel(metaNamespace, "namespace"),
		copyLabel(metaPodName, "pod"),
		copyLabel(metaPodNode, "node"),
	}
	sc.RelabelConfigs = append(r, k.reachPod()...)
	return sc
}

// annotatedPods scrapes pods with prometheus.io/scrape: "true".
func (k *clusterJobs) annotatedPods() *config.ScrapeConfig {
	sc := k.job("kubernetes-pods", k.discover(kubernetes.RolePod))
	// Nothing secret is sent, so a certificate of unknown origin does no harm.
	sc.HTTPClientConfig.TLSConfig.InsecureSkipVerify = true
	r := rules{keep("true", podScrape)}
	r = append(r, dropOwned()...)
	r = append(r,
		drop(notRunning, metaPodPhase),
		// Of a pod without prometheus.io/port each port is a target, but not those
		// of containers that only prepared it.
		drop("true;", metaContainerInit, podAnnotation+"port"),
		drop("(UDP|SCTP);", metaContainerPortProtocol, podAnnotation+"port"),
		replace("__tmp_port", "$1", "(.+)", metaContainerPort),
		replace("__tmp_port", "$1", `(\d+)`, podAnnotation+"port"),
		set("job", "kubernetes-pods"),
		copyLabel(metaPodApp, "job"),
		copyLabel(metaPodAppName, "job"),
		copyLabel(metaNamespace, "namespace"),
		copyLabel(metaPodName, "pod"),
		copyLabel(metaPodNode, "node"),
		// With prometheus.io/port all ports of a pod become one target, whose
		// container is not known.
		replace("container", "$1", "(.+);", metaContainerName, podAnnotation+"port"),
	)
	r = append(r, annotations(podAnnotation)...)
	sc.RelabelConfigs = append(r, k.reachPod()...)
	return sc
}

// annotatedServices scrapes what is behind services with prometheus.io/scrape:
// "true", unless the pods there are annotated for the same page themselves.
func (k *clusterJobs) annotatedServices() *config.ScrapeConfig {
	sc := k.job("kubernetes-services", k.discover(kubernetes.RoleEndpointSlice))
	sc.HTTPClientConfig.TLSConfig.InsecureSkipVerify = true
	r := rules{
		keep("true", serviceScrape),
		drop("default;kubernetes", metaNamespace, metaServiceName),
		// Discovery adds the pods' other ports to those of the service.
		keep(".+", metaSlicePort),
	}
	r = append(r, dropOwned()...)
	r = append(r,
		drop(notRunning, metaPodPhase),
		drop("(UDP|SCTP);", metaSlicePortProtocol, serviceAnnotation+"port"),
		replace("__tmp_port", "$1", "(.+)", metaSlicePort),
		replace("__tmp_port", "$1", `(\d+)`, serviceAnnotation+"port"),
		replace("__tmp_address", "$1:$2", `(.+):\d+;(\d+)`, "__address__", "__tmp_port"),
		copyLabel(metaServiceName, "job"),
		copyLabel(metaNamespace, "namespace"),
		copyLabel(metaServiceName, "service"),
		copyLabel(metaPodName, "pod"),
		copyLabel(metaSliceNode, "node"),
		copyLabel(metaPodNode, "node"),
		replace("container", "$1", "(.+);", metaContainerName, serviceAnnotation+"port"),
	)
	r = append(r, annotations(serviceAnnotation)...)
	r = append(r, dropAnnotatedPods()...)
	if k.proxy == nil {
		sc.RelabelConfigs = append(r, replace("__address__", "$1", "(.+)", "__tmp_address"), dropTemporary())
		return sc
	}
	// What is not a pod has no address at the API server.
	r = append(r, keep(".+", metaPodName))
	sc.RelabelConfigs = append(r, k.throughProxy()...)
	return sc
}

// reachPod turns a pod's address and __tmp_port into the target's address, and
// through the proxy into a path.
func (k *clusterJobs) reachPod() rules {
	r := rules{
		replace("__tmp_address", "$1:$2", `([\d.]+);(\d+)`, metaPodIP, "__tmp_port"),
		replace("__tmp_address", "[$1]:$2", `([0-9A-Fa-f]*:[0-9A-Fa-f:.]*);(\d+)`, metaPodIP, "__tmp_port"),
		replace("__tmp_address", "$1", `([\d.]+);`, metaPodIP, "__tmp_port"),
		replace("__tmp_address", "[$1]", `([0-9A-Fa-f]*:[0-9A-Fa-f:.]*);`, metaPodIP, "__tmp_port"),
	}
	if k.proxy != nil {
		return append(r, k.throughProxy()...)
	}
	return append(r, replace("__address__", "$1", "(.+)", "__tmp_address"), dropTemporary())
}

// throughProxy sends a scrape of __tmp_address to the API server, which passes it
// on to the pod. The instance remains the pod's own address.
func (k *clusterJobs) throughProxy() rules {
	base := k.proxy.Path + "/api/v1/namespaces/$1/pods/"
	from := []string{"__scheme__", metaNamespace, metaPodName, "__tmp_port", "__metrics_path__"}
	return rules{
		copyLabel("__tmp_address", "instance"),
		replace("__tmp_path", base+"$2:$3/proxy$4", "http;([^;]+);([^;]+);([^;]+);(.*)", from...),
		replace("__tmp_path", base+"$2/proxy$3", "http;([^;]+);([^;]+);;(.*)", from...),
		replace("__tmp_path", base+"https:$2:$3/proxy$4", "https;([^;]+);([^;]+);([^;]*);(.*)", from...),
		replace("__metrics_path__", "$1", "(.+)", "__tmp_path"),
		set("__scheme__", k.proxy.Scheme),
		set("__address__", k.proxy.Host),
		dropTemporary(),
	}
}
