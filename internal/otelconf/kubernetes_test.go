package otelconf

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/discovery/kubernetes"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/scrape"
	"github.com/stretchr/testify/require"
)

// labelSet takes names and values in turn; "k:" stands for the prefix of
// Kubernetes discovery.
func labelSet(pairs ...string) model.LabelSet {
	ls := model.LabelSet{}
	for i := 0; i < len(pairs); i += 2 {
		name := strings.Replace(pairs[i], "k:", "__meta_kubernetes_", 1)
		ls[model.LabelName(name)] = model.LabelValue(pairs[i+1])
	}
	return ls
}

func union(sets ...model.LabelSet) model.LabelSet {
	out := model.LabelSet{}
	for _, s := range sets {
		maps.Copy(out, s)
	}
	return out
}

type port struct{ container, name, number, protocol string }

type pod struct {
	namespace, name, ip, node string
	// more are labels and annotations in discovery's form.
	more  model.LabelSet
	ports []port
}

func (p pod) meta() model.LabelSet {
	return union(labelSet("k:namespace", p.namespace, "k:pod_name", p.name, "k:pod_ip", p.ip, "k:pod_node_name", p.node, "k:pod_phase", "Running",
		"k:node_name", p.node, "k:node_label_eks_amazonaws_com_nodegroup", "blue", "k:node_label_pod_template_hash", "x"), p.more)
}

func (p pod) address(number string) string {
	host := p.ip
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if number == "" {
		return p.ip
	}
	return host + ":" + number
}

func (pt port) meta() model.LabelSet {
	return labelSet("k:pod_container_name", pt.container, "k:pod_container_init", "false", "k:pod_container_port_name", pt.name, "k:pod_container_port_number", pt.number, "k:pod_container_port_protocol", pt.protocol)
}

// discovered is what role pod finds of p.
func (p pod) discovered() (out []model.LabelSet) {
	if len(p.ports) == 0 {
		return []model.LabelSet{union(p.meta(), labelSet("__address__", p.ip, "k:pod_container_name", "main", "k:pod_container_init", "false"))}
	}
	for _, pt := range p.ports {
		out = append(out, union(p.meta(), pt.meta(), labelSet("__address__", p.address(pt.number))))
	}
	return out
}

type service struct {
	namespace, name string
	more            model.LabelSet
	port            port // container is not used
	pods            []pod
}

// discovered is what role endpointslice finds of s: its port of each pod, and
// the other ports that the pods declare.
func (s service) discovered() (out []model.LabelSet) {
	base := union(labelSet("k:namespace", s.namespace, "k:service_name", s.name), s.more)
	for _, p := range s.pods {
		meta := p.meta()
		if p.name == "" { // an address without a pod
			meta = nil
		}
		own := union(base, meta, labelSet("__address__", p.address(s.port.number), "k:endpointslice_port", s.port.number,
			"k:endpointslice_port_name", s.port.name, "k:endpointslice_port_protocol", s.port.protocol, "k:endpointslice_endpoint_node_name", p.node))
		for _, pt := range p.ports {
			if pt.number == s.port.number {
				own = union(own, pt.meta())
			} else {
				out = append(out, union(base, meta, pt.meta(), labelSet("__address__", p.address(pt.number))))
			}
		}
		out = append(out, own)
	}
	return out
}

func sampleCluster() map[kubernetes.Role][]model.LabelSet {
	app := func(name string) model.LabelSet { return labelSet("k:pod_label_app_kubernetes_io_name", name) }
	scrapeMe := func(kind string, more ...string) model.LabelSet {
		ls := labelSet("k:"+kind+"_annotation_prometheus_io_scrape", "true")
		for i := 0; i < len(more); i += 2 {
			ls[model.LabelName("__meta_kubernetes_"+kind+"_annotation_prometheus_io_"+more[i])] = model.LabelValue(more[i+1])
		}
		return ls
	}
	ksm := pod{"default", "ksm-1", "10.1.0.2", "node-1", app("kube-state-metrics"), []port{{"ksm", "http", "8080", "TCP"}, {"ksm", "metrics", "8081", "TCP"}}}
	ne := pod{"default", "ne-1", "10.0.0.1", "node-1", app("prometheus-node-exporter"), []port{{"ne", "metrics", "9100", "TCP"}}}
	dns := pod{"kube-system", "coredns-1", "10.1.0.3", "node-2", labelSet("k:pod_label_k8s_app", "kube-dns"), []port{{"coredns", "dns", "53", "UDP"}, {"coredns", "dns-tcp", "53", "TCP"}, {"coredns", "metrics", "9153", "TCP"}}}
	shop := pod{"default", "shop-1", "10.1.0.4", "node-1", union(labelSet("k:pod_label_app", "shop"), scrapeMe("pod", "port", "8080", "path", "metrics/all", "param_format", "text")), []port{{"web", "http", "80", "TCP"}, {"web", "admin", "8081", "TCP"}}}
	six := pod{"six", "v6-1", "fd00::7", "node-2", union(app("v6"), scrapeMe("pod", "port", "9000", "scheme", "https")), nil}
	declared := pod{"default", "both-1", "10.1.0.5", "node-2", union(app("both"), scrapeMe("pod")), []port{{"main", "http", "8000", "TCP"}, {"main", "dns", "5353", "UDP"}}}
	plain := pod{"default", "plain-1", "10.1.0.6", "node-1", app("plain"), []port{{"main", "http", "7000", "TCP"}, {"side", "other", "7001", "TCP"}}}
	done := pod{"default", "job-1", "10.1.0.9", "node-1", union(scrapeMe("pod"), labelSet("k:pod_phase", "Succeeded")), []port{{"main", "http", "1", "TCP"}}}
	out := map[kubernetes.Role][]model.LabelSet{}
	for _, p := range []pod{ksm, ne, dns, shop, six, declared, plain, done} {
		out[kubernetes.RolePod] = append(out[kubernetes.RolePod], p.discovered()...)
	}
	for _, s := range []service{
		{"default", "ksm", scrapeMe("service"), port{"", "http", "8080", "TCP"}, []pod{ksm}},
		{"default", "node-exporter", scrapeMe("service"), port{"", "metrics", "9100", "TCP"}, []pod{ne}},
		{"kube-system", "kube-dns", scrapeMe("service", "port", "9153"), port{"", "dns", "53", "UDP"}, []pod{dns}},
		{"default", "shop", scrapeMe("service", "port", "8080", "path", "/metrics/all"), port{"", "http", "80", "TCP"}, []pod{shop}},
		{"default", "both", scrapeMe("service"), port{"", "http", "8000", "TCP"}, []pod{declared}},
		{"default", "plain", scrapeMe("service"), port{"", "http", "7000", "TCP"}, []pod{plain}},
		{"six", "v6", scrapeMe("service", "port", "9001"), port{"", "http", "80", "TCP"}, []pod{six}},
		{"default", "silent", nil, port{"", "http", "7000", "TCP"}, []pod{plain}},
		{"default", "kubernetes", nil, port{"", "https", "6443", "TCP"}, []pod{{ip: "10.0.0.100"}}},
	} {
		out[kubernetes.RoleEndpointSlice] = append(out[kubernetes.RoleEndpointSlice], s.discovered()...)
	}
	for _, n := range []string{"1", "2"} {
		out[kubernetes.RoleNode] = append(out[kubernetes.RoleNode], labelSet("__address__", "10.0.0."+n+":10250", "instance", "node-"+n, "k:node_name", "node-"+n,
			"k:node_label_topology_kubernetes_io_zone", "z"+n, "k:node_label_kubernetes_io_hostname", "node-"+n, "k:node_label_eks_amazonaws_com_nodegroup", "blue"))
	}
	return out
}

// targetLines relabels what discovery finds with Prometheus' own code and returns
// one line a target: its URL and the labels that its series get.
func targetLines(t *testing.T, sc *config.ScrapeConfig, found map[kubernetes.Role][]model.LabelSet) []string {
	t.Helper()
	var in []model.LabelSet
	for _, sd := range sc.ServiceDiscoveryConfigs {
		switch sd := sd.(type) {
		case *kubernetes.SDConfig:
			in = append(in, found[sd.Role]...)
		case discovery.StaticConfig:
			for _, target := range sd[0].Targets {
				in = append(in, union(sd[0].Labels, target))
			}
		}
	}
	tg := &targetgroup.Group{Source: "x", Targets: in, Labels: model.LabelSet{}}
	targets, failures := scrape.TargetsFromGroup(tg, sc, nil, labels.NewBuilder(labels.EmptyLabels()))
	require.Empty(t, failures)
	seen := map[string]bool{}
	var out []string
	for _, target := range targets {
		lb := labels.NewBuilder(labels.EmptyLabels())
		if target.Labels(lb).IsEmpty() {
			continue
		}
		// Prometheus takes targets for one if URL and all labels are the same,
		// hidden ones included.
		all, err := scrape.PopulateLabels(labels.NewBuilder(labels.EmptyLabels()), sc, in[slices.Index(targets, target)], nil)
		require.NoError(t, err)
		require.NotContains(t, all.String(), "__tmp")
		line := target.URL().String() + " " + target.Labels(lb).String()
		if key := line + all.String(); !seen[key] {
			seen[key] = true
			out = append(out, line)
		}
	}
	slices.Sort(out)
	return out
}

func writeKubeconfig(t *testing.T, server string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config")
	require.NoError(t, os.WriteFile(path, []byte(`apiVersion: v1
kind: Config
current-context: c
contexts: [{name: c, context: {cluster: "arn:aws:eks:eu-west-1:1:cluster/prod", user: u}}]
clusters: [{name: "arn:aws:eks:eu-west-1:1:cluster/prod", cluster: {server: "`+server+`"}}]
users: [{name: u, user: {}}]
`), 0o600))
	return path
}

func TestKubernetesTargets(t *testing.T) {
	path := writeKubeconfig(t, "https://api.example:6443/k8s/clusters/c1")
	for name, o := range map[string]KubernetesOptions{"direct": {InCluster: true, Cluster: "prod"}, "proxy": {Kubeconfig: path}} {
		t.Run(name, func(t *testing.T) {
			c, err := Kubernetes(o)
			require.NoError(t, err)
			require.Equal(t, `{cluster="prod"}`, c.Global.ExternalLabels.String())
			require.Equal(t, DedupeFirstJobWins, c.Dedupe)
			var b strings.Builder
			urls := map[string]string{}
			for _, sc := range c.ScrapeConfigs {
				b.WriteString(sc.JobName + "\n")
				for _, line := range targetLines(t, sc, sampleCluster()) {
					b.WriteString("  " + line + "\n")
					url, _, _ := strings.Cut(line, " ")
					require.Empty(t, urls[url], "%s is scraped by two jobs, the second is %s", url, sc.JobName)
					urls[url] = sc.JobName
				}
				require.Equal(t, map[string]string{"proxy": path}[name], c.APIServerProxy[sc.JobName])
			}
			golden(t, "kubernetes-"+name+".txt", b.String())
		})
	}
}

// The instance, which people see, must not depend on how a target is reached.
func TestKubernetesInstancesAreTheSameBothWays(t *testing.T) {
	direct, err := Kubernetes(KubernetesOptions{InCluster: true, Cluster: "prod"})
	require.NoError(t, err)
	proxied, err := Kubernetes(KubernetesOptions{Kubeconfig: writeKubeconfig(t, "10.0.0.100:6443")})
	require.NoError(t, err)
	visible := func(c *Config, i int) (out []string) {
		for _, line := range targetLines(t, c.ScrapeConfigs[i], sampleCluster()) {
			_, ls, _ := strings.Cut(line, " ")
			out = append(out, ls)
		}
		slices.Sort(out)
		return out
	}
	for i, sc := range direct.ScrapeConfigs {
		require.Equal(t, visible(direct, i), visible(proxied, i), sc.JobName)
	}
}

// Jobs with the same role must ask for exactly the same, so that one watch serves them all.
func TestKubernetesSharesWatches(t *testing.T) {
	c, err := Kubernetes(KubernetesOptions{})
	require.NoError(t, err)
	require.Contains(t, c.Warnings[0].Text, "no cluster label")
	byRole := map[kubernetes.Role]*kubernetes.SDConfig{}
	for _, sc := range c.ScrapeConfigs {
		sd := sc.ServiceDiscoveryConfigs[0].(*kubernetes.SDConfig)
		if first := byRole[sd.Role]; first != nil {
			require.Equal(t, first, sd, sc.JobName)
		}
		byRole[sd.Role] = sd
	}
	require.Len(t, byRole, 3)
}

// A pod can claim to be anything by its labels, so no credentials may go to pods.
func TestKubernetesSendsNoTokenToPods(t *testing.T) {
	c, err := Kubernetes(KubernetesOptions{})
	require.NoError(t, err)
	var withToken []string
	for _, sc := range c.ScrapeConfigs {
		if sc.HTTPClientConfig.Authorization != nil {
			withToken = append(withToken, sc.JobName)
		}
	}
	require.Equal(t, []string{"apiserver", "kubelet", "kubelet-cadvisor"}, withToken)
}

func TestKubernetesBadKubeconfig(t *testing.T) {
	_, err := Kubernetes(KubernetesOptions{Kubeconfig: filepath.Join(t.TempDir(), "none")})
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = Kubernetes(KubernetesOptions{Kubeconfig: writeKubeconfig(t, "ftp://x")})
	require.ErrorContains(t, err, "not the URL of an API server")
	path := filepath.Join(t.TempDir(), "config")
	require.NoError(t, os.WriteFile(path, []byte("current-context: gone\n"), 0o600))
	_, err = Kubernetes(KubernetesOptions{Kubeconfig: path})
	require.ErrorContains(t, err, `current-context: there is no such context, found "gone"`)
}

func TestMachine(t *testing.T) {
	c, err := Machine(MachineOptions{Address: "127.0.0.1:9100", Interval: 5 * time.Second, Instance: "laptop"})
	require.NoError(t, err)
	require.Equal(t, []string{`http://127.0.0.1:9100/metrics {instance="laptop", job="node-exporter"}`}, targetLines(t, c.ScrapeConfigs[0], nil))
	require.Equal(t, "5s", c.ScrapeConfigs[0].ScrapeTimeout.String())
	_, err = Machine(MachineOptions{})
	require.Error(t, err)
}

func TestNewEndpoint(t *testing.T) {
	e, err := NewEndpoint("", "https://aps-workspaces.us-west-2.amazonaws.com/workspaces/ws-1/api/v1/remote_write")
	require.NoError(t, err)
	require.Equal(t, "us-west-2", e.SigV4.Region)
	require.Equal(t, "aps", e.SigV4.Service)
	c, err := Kubernetes(KubernetesOptions{Cluster: "prod"})
	require.NoError(t, err)
	c.AddEndpoint(e)
	require.Equal(t, "prod", c.Endpoints[0].ExternalLabels.Get("cluster"))
	e, err = NewEndpoint("x", "http://u:p@127.0.0.1:9009/write")
	require.NoError(t, err)
	require.Nil(t, e.SigV4)
	require.Equal(t, "http://127.0.0.1:9009/write", e.URL)
	require.Equal(t, "u", e.HTTP.BasicAuth.Username)
	for _, bad := range []string{"", "AMP_WORKSPACE_URL", "<URL>", "host/path", "http://", "http://[::1"} {
		_, err := NewEndpoint("", bad)
		require.Error(t, err, bad)
	}
}
