//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/test/cluster"
)

const nodes = 2

// TestCluster runs the path on a real Kubernetes: two nodes, kube-state-metrics,
// node-exporter, and the three pods of the shop.
func TestCluster(t *testing.T) {
	k := startCluster(t)
	t.Run("zero configuration, from outside", func(t *testing.T) { zeroConfig(t, k) })
	t.Run("a scraper of the server", func(t *testing.T) { scraper(t, k) })
	t.Run("the workshop's configuration, in a pod", func(t *testing.T) { workshop(t, k) })
	t.Run("the workshop's configuration, in replicas that come and go", func(t *testing.T) { replicas(t, k) })
	t.Run("targets handed out to other collectors", func(t *testing.T) { allocation(t, k) })
}

func startCluster(t *testing.T) *cluster.Cluster {
	t.Helper()
	began := time.Now()
	k, err := cluster.Up(t.Context(), cluster.Options{
		Nodes: nodes, Name: "mge", Net: "10.233", Log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	require.NoError(t, err)
	t.Cleanup(func() {
		if os.Getenv("MANGRU_KEEP_CLUSTER") != "" {
			return // for the next run, which then need not start one
		}
		// t.Context is over by now.
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		require.NoError(t, k.Down(ctx))
	})
	t.Logf("cluster with %d nodes is up after %s", nodes, time.Since(began).Round(time.Second))
	return k
}

// rightNumbers checks what every board and every alert would build on.
func (s *site) rightNumbers(limit time.Duration) {
	t := s.t
	t.Helper()
	s.expect(limit, `count by (job, instance) (kube_node_info)`, 0, nodes)
	s.expect(limit, `count(group by (node) (kube_node_info))`, 1, nodes)
	s.expect(limit, `max by (deployment) (kube_deployment_status_replicas_available{namespace="default", deployment="shop"})`, 1, 3)
	s.expect(limit, `count(group by (namespace, pod) (container_memory_working_set_bytes{namespace="default", pod=~"shop-.+", container!=""}))`, 1, 3)
	s.expect(limit, `count(group by (nodename) (node_uname_info))`, 1, nodes)
	s.expect(limit, `count(group by (node) (kubelet_node_name))`, 1, nodes)
	s.expect(limit, `count(group by (instance) (apiserver_storage_objects))`, 1, 1)
}

func zeroConfig(t *testing.T, k *cluster.Cluster) {
	s := up(t, t.TempDir(), nil, nil, "--listen", "127.0.0.1:0", "--ui", "127.0.0.1:0",
		"--kubeconfig", k.Kubeconfig(), "--scrape-interval", "5s")
	require.Contains(t, s.output(), k.APIServer())
	s.rightNumbers(60 * time.Second)
	// Each target once: no series differs from another in job and instance only.
	for _, metric := range []string{"kube_pod_info", "node_uname_info", "kubelet_node_name"} {
		s.expect(20*time.Second, `count without (job, instance) (`+metric+`)`, 0, 1)
	}
	s.expect(10*time.Second, `min(up)`, 1, 1)
	s.expect(10*time.Second, `count(up{cluster=""}) or vector(0)`, 1, 0)
	s.expect(10*time.Second, `count(node_load1{node=~"node-.+", instance=~"node-.+"})`, 1, nodes)
	s.expect(10*time.Second, `count(group by (eks_amazonaws_com_nodegroup) (kubelet_node_name{eks_amazonaws_com_nodegroup!=""}))`, 1, 2)
	s.waitForRates()
	s.boards(k, "zero-config")
}

// waitForRates waits until rate() over the boards' ranges has what it needs.
func (s *site) waitForRates() {
	s.t.Helper()
	s.expect(3*time.Minute, `count(group by (nodename) (max by (instance, job) (rate(node_cpu_seconds_total{mode="idle"}[1m])) * on (instance, job) group_left (nodename) max by (instance, job, nodename) (node_uname_info)))`, 1, nodes)
	s.expect(3*time.Minute, `count(group by (namespace, pod) (rate(container_cpu_usage_seconds_total{namespace="default", pod=~"shop-.+", container!=""}[1m])))`, 1, 3)
	s.expect(3*time.Minute, `count(group by (namespace, pod) (rate(container_network_receive_bytes_total{namespace="default", pod=~"shop-.+"}[1m])))`, 1, 3)
}

// boards opens both workshop boards in a browser: no panel empty, and the
// numbers of single-value panels as kubectl has them.
func (s *site) boards(k *cluster.Cluster, name string) {
	t := s.t
	t.Helper()
	shots := os.Getenv("MANGRU_SCREENSHOTS")
	if shots == "" {
		shots = t.TempDir()
	}
	values := browser(t, s, []string{"node-groups", "kubernetes-eks-cluster"}, filepath.Join(shots, name))
	out, err := k.Kubectl(t.Context(), "get", "pods", "-A", "-o", "jsonpath={range .items[*]}{.status.phase}{\"\\n\"}{end}")
	require.NoError(t, err)
	phases := strings.Fields(string(out))
	running := strings.Count(string(out), "Running")
	require.Equal(t, strconv.Itoa(len(phases)), values["node-groups"]["Pod Count - Total"])
	require.Equal(t, strconv.Itoa(running), values["node-groups"]["Pod Count - Running"])
	require.Equal(t, "0", values["node-groups"]["Pod Count - Not Running"])
	out, err = k.Kubectl(t.Context(), "get", "deployments", "-A", "-o", "jsonpath={.items[*].status.replicas}")
	require.NoError(t, err)
	replicas := 0
	for _, n := range strings.Fields(string(out)) {
		v, err := strconv.Atoi(n)
		require.NoError(t, err)
		replicas += v
	}
	require.Equal(t, strconv.Itoa(replicas), values["kubernetes-eks-cluster"]["Deployment Replicas"])
	require.Equal(t, strconv.Itoa(nodes), values["kubernetes-eks-cluster"]["Nodes ready"])
	require.Equal(t, "0", values["kubernetes-eks-cluster"]["Nodes not ready"])
	// The table has one row for the shop, 3 wanted, 3 up to date, 3 available.
	require.Contains(t, values["kubernetes-eks-cluster"]["table Deployment Replicas - Up To Date"], "default | shop | 3 | 3 | 3")
	require.Equal(t, 1, strings.Count(values["kubernetes-eks-cluster"]["table Deployment Replicas - Up To Date"], "| shop |"))
}

// collectorObject is the collector object with the placeholders replaced as the
// workshop does with sed: the workshop's own file with its two added jobs where
// it is at hand, else our equivalent.
func collectorObject(t *testing.T, s *site) string {
	t.Helper()
	text, err := os.ReadFile("testdata/collector.yaml")
	require.NoError(t, err)
	shared := os.Getenv("MANGRU_SHARED")
	if shared == "" {
		shared = filepath.Join(root, "..", "shared")
	}
	if original, err := os.ReadFile(filepath.Join(shared, "workshop", "otel-collector-config.yaml")); err == nil {
		at := strings.Index(string(original), "    processors:\n")
		require.Positive(t, at)
		text = []byte(string(original[:at]) + addedJobs + string(original[at:]))
		t.Log("with the workshop's own file")
	}
	out := strings.ReplaceAll(string(text), "AWS_REGION", "us-east-1")
	return strings.ReplaceAll(out, "AMP_WORKSPACE_URL", s.remote)
}

// addedJobs are the jobs that people append to the published configuration.
const addedJobs = `          - job_name: integrations/kubernetes/kube-state-metrics
            kubernetes_sd_configs:
            - role: pod
            relabel_configs:
            - action: keep
              regex: kube-state-metrics
              source_labels: [__meta_kubernetes_pod_label_app_kubernetes_io_name]
          - job_name: integrations/node_exporter
            kubernetes_sd_configs:
            - namespaces: {names: [default]}
              role: pod
            relabel_configs:
            - action: keep
              regex: prometheus-node-exporter.*
              source_labels: [__meta_kubernetes_pod_label_app_kubernetes_io_name]
            - {action: replace, source_labels: [__meta_kubernetes_pod_node_name], target_label: instance}
            - {action: replace, source_labels: [__meta_kubernetes_namespace], target_label: namespace}
`

func workshop(t *testing.T, k *cluster.Cluster) {
	data := t.TempDir()
	control := k.ControlCommand(t.Context(), "true").Args
	prefix := control[:len(control)-1]
	none := writeFile(t, t.TempDir(), "none.yaml", "scrape_configs: []\n")
	address := k.ControlAddress().String()
	args := []string{"--listen", address + ":9009", "--ui", address + ":3000", "--config", none}
	s := up(t, data, nil, prefix, args...)
	deployCollector(t, k, s, "run-collector.yaml", collectorObject(t, s))
	defer func() {
		if t.Failed() {
			out, err := k.Kubectl(context.WithoutCancel(t.Context()), "-n", "prometheus", "logs", "deployment/observability-collector", "--tail=60")
			t.Logf("collector: %s %v", out, err)
		}
	}()
	s.rightNumbers(90 * time.Second)
	// The configuration scrapes both exporters by two jobs. It says so.
	s.expect(30*time.Second, `count(count by (job) (kube_node_info))`, 1, 2)
	eventually(t, time.Minute, "the report of double scraping", func() error {
		logs, err := k.Kubectl(t.Context(), "-n", "prometheus", "logs", "deployment/observability-collector")
		if err == nil && !strings.Contains(string(logs), "integrations/kubernetes/kube-state-metrics") {
			return errors.New(tail(string(logs), 20))
		}
		return err
	})
	s.expect(10*time.Second, `count(container_cpu_usage_seconds_total{container!="", pod=""}) or vector(0)`, 1, 0)
	s.waitForRates()
	s.boards(k, "workshop")

	// The server is away for a minute; the collector's data is not.
	gone := time.Now()
	s.kill()
	select {
	case <-time.After(time.Minute):
	case <-t.Context().Done():
	}
	s = up(t, data, nil, prefix, args...)
	back := time.Now()
	eventually(t, 2*time.Minute, "the samples of the outage", func() error {
		return s.noGap(`node_load1{job="integrations/node_exporter"}`, gone.Add(-30*time.Second), back.Add(20*time.Second), 16*time.Second)
	})
}

// deployCollector runs a collector object's configuration in the Deployment
// observability-collector of a manifest in testdata, with a site's credentials.
func deployCollector(t *testing.T, k *cluster.Cluster, s *site, run, object string) {
	t.Helper()
	require.NoError(t, k.LoadImage(t.Context(), cluster.Image{Tag: "mangru:e2e", Binary: binary(t)}))
	creds, err := os.ReadFile(filepath.Join(s.data, "credentials"))
	require.NoError(t, err)
	manifest, err := os.ReadFile(filepath.Join("testdata", run))
	require.NoError(t, err)
	namespace, rest, _ := strings.Cut(string(manifest), "---\n")
	require.NoError(t, k.Apply(t.Context(), []byte(namespace)))
	conf, err := json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]string{"name": "collector", "namespace": "prometheus"},
		"data": map[string]string{"collector.yaml": object},
	})
	require.NoError(t, err)
	secret, err := json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "Secret", "metadata": map[string]string{"name": "aws", "namespace": "prometheus"},
		"stringData": map[string]string{"credentials": string(creds)},
	})
	require.NoError(t, err)
	// The rights are those of the object's own file: everything behind it.
	_, rights, _ := strings.Cut(object, "\n---\n")
	for _, part := range []string{rights, string(conf), string(secret), rest} {
		require.NoError(t, k.Apply(t.Context(), []byte(part)))
	}
	require.NoError(t, k.WaitRollout(t.Context(), "prometheus", "deployment", "observability-collector"))
}

// noGap reads the raw samples of every series of a selector and returns an
// error where two that follow each other are further apart than allowed.
func (s *site) noGap(selector string, from, to time.Time, allowed time.Duration) error {
	window := to.Sub(from).Round(time.Second)
	res, err := s.client().PostForm(s.query, url.Values{
		"query": {fmt.Sprintf("%s[%s]", selector, window)}, "time": {strconv.FormatInt(to.Unix(), 10)},
	})
	if err != nil {
		return err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	var reply struct {
		Data struct {
			Result []struct {
				Metric map[string]string
				Values [][2]any
			}
		}
	}
	if err := json.Unmarshal(text, &reply); err != nil {
		return fmt.Errorf("%s: %s", res.Status, text)
	}
	if len(reply.Data.Result) != nodes {
		return fmt.Errorf("%d series, wanted %d", len(reply.Data.Result), nodes)
	}
	for _, r := range reply.Data.Result {
		last := float64(from.Unix())
		for _, v := range append(r.Values, [2]any{float64(to.Unix()), ""}) {
			at := v[0].(float64)
			if at-last > allowed.Seconds() {
				return fmt.Errorf("%v: nothing between %.0f and %.0f (%.0f s)", r.Metric, last, at, at-last)
			}
			last = at
		}
	}
	return nil
}
