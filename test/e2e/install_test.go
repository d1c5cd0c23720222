//go:build e2e

package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/test/cluster"
)

// TestInstall puts everything into a cluster that has nothing, by one command,
// runs the workshop's collector object there, and takes all of it away again.
func TestInstall(t *testing.T) {
	h := newHouse(t)
	for _, part := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"one command, and the doctor finds nothing", h.install},
		{"the numbers are right", h.numbers},
		{"the workshop's object", h.workshop},
		{"the doctor reports the double scrape", h.doubled},
		{"the object is edited", h.edited},
		{"the object is broken", h.broken},
		{"the operator is killed, its certificate expired", h.killed},
		{"uninstall leaves nothing", h.uninstall},
	} {
		require.True(t, t.Run(part.name, part.run), part.name)
	}
}

// house is a cluster with a release in it.
type house struct {
	*site
	k      *cluster.Cluster
	before []string // what the cluster had
	object string   // the workshop's
}

func newHouse(t *testing.T) *house {
	t.Helper()
	k, err := cluster.Up(t.Context(), cluster.Options{Nodes: nodes, NoAddons: true, Name: "mgo", Net: "10.235", Log: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	require.NoError(t, err)
	h := &house{k: k, site: &site{process: &process{t: t}, data: t.TempDir()}}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
		defer cancel()
		if t.Failed() {
			for _, args := range [][]string{{"get", "pods,otelcol", "-A", "-o", "wide"}, {"get", "events", "-A"}, {"-n", "mangru", "logs", "-l", "app.kubernetes.io/name=mangru-operator", "--tail=40"}} {
				out, err := k.Kubectl(ctx, args...)
				t.Logf("%s: %v\n%s", strings.Join(args, " "), err, out)
			}
		}
		require.NoError(t, k.Down(ctx))
	})
	archive := filepath.Join(t.TempDir(), "image.tar")
	t.Log(run(t, append(os.Environ(), "GOFLAGS=-trimpath"), "go", "run", "../../deploy/image", "-binary", binary(t), "-tag", "mangru:e2e", "-o", archive))
	require.NoError(t, k.LoadArchive(t.Context(), archive))
	shop, err := os.ReadFile("testdata/shop.yaml")
	require.NoError(t, err)
	require.NoError(t, k.Apply(t.Context(), shop))
	require.NoError(t, k.WaitRollout(t.Context(), "default", "deployment", "shop"))
	h.before = h.everything()
	return h
}

// everything lists what a release could leave behind.
func (h *house) everything() (out []string) {
	const kinds = "namespaces,customresourcedefinitions,mutatingwebhookconfigurations,validatingwebhookconfigurations,clusterroles,clusterrolebindings," +
		"roles,rolebindings,serviceaccounts,configmaps,secrets,services,deployments,daemonsets,statefulsets,jobs,poddisruptionbudgets,networkpolicies," +
		"persistentvolumeclaims,persistentvolumes,leases"
	for line := range strings.Lines(h.kubectl("get", kinds, "-A", "--no-headers", "-o", "custom-columns=K:.kind,NS:.metadata.namespace,N:.metadata.name")) {
		f := strings.Fields(line)
		if len(f) == 3 && f[1] != "kube-system" && f[1] != "kube-node-lease" {
			out = append(out, strings.Join(f, " "))
		}
	}
	slices.Sort(out)
	return out
}

func (h *house) kubectl(args ...string) string {
	h.t.Helper()
	out, err := h.k.Kubectl(h.t.Context(), args...)
	require.NoError(h.t, err, "kubectl %s: %s", strings.Join(args, " "), out)
	return strings.TrimSpace(string(out))
}

// command runs mangru against the cluster.
func (h *house) command(args ...string) (string, error) {
	return try(h.t, []string{"KUBECONFIG=" + h.k.Kubeconfig()}, binary(h.t), args...)
}

func (h *house) install(t *testing.T) {
	began := time.Now()
	out, err := h.command("install", "--preset", "all-in-one", "--image", "mangru:e2e", "--set", "collector.scrapeInterval=5s",
		"--set-string", `kubeStateMetrics.annotations.prometheus\.io/scrape=true`)
	require.NoError(t, err, out)
	t.Log(out)
	out, err = h.command("doctor", "--wait", "90s")
	require.NoError(t, err, out)
	t.Logf("green after %s:\n%s", time.Since(began).Round(time.Second), out)
	require.NotContains(t, h.kubectl("get", "persistentvolumeclaims", "-A", "--ignore-not-found"), "mangru")
	require.Equal(t, "restricted", h.kubectl("get", "namespace", "mangru", "-o", `jsonpath={.metadata.labels.pod-security\.kubernetes\.io/enforce}`))

	// Who asks from the machine is the administrator.
	value := func(key string) string {
		return h.kubectl("-n", "mangru", "get", "configmap", "mangru-site", "-o", "jsonpath={.data."+key+"}")
	}
	address := h.kubectl("-n", "mangru", "get", "service", "mangru-server", "-o", "jsonpath={.spec.clusterIP}")
	h.workspace = value("workspace")
	base := "http://" + address + ":9009/workspaces/" + h.workspace + "/api/v1/"
	h.remote, h.query = base+"remote_write", base+"query"
	pod := strings.Fields(h.kubectl("-n", "mangru", "get", "pods", "-l", "app.kubernetes.io/name=mangru-server", "-o", "jsonpath={.items[0].metadata.uid} {.items[0].spec.nodeName}"))
	cmd, err := h.k.NodeCommand(t.Context(), pod[1], "cat", "/var/lib/kubelet/pods/"+pod[0]+"/volumes/kubernetes.io~empty-dir/data/credentials")
	require.NoError(t, err)
	keys, err := cmd.Output()
	require.NoError(t, err)
	writeFile(t, h.data, "credentials", string(keys))
}

// numbers are those that boards build on, each once.
func (h *house) numbers(*testing.T) {
	h.rightNumbers(60 * time.Second)
	for _, metric := range []string{"kube_pod_info", "node_uname_info", "kubelet_node_name"} {
		h.expect(20*time.Second, `count without (job, instance) (`+metric+`)`, 0, 1)
	}
	h.expect(10*time.Second, `min(up)`, 1, 1)
}

func (h *house) workshop(t *testing.T) {
	h.mangru("irsa", "create", "--cluster", "kubernetes", "-n", "prometheus", "--service-account", "amp-irsa-role", "--policy", writeAccess, "--kubeconfig", h.k.Kubeconfig())
	h.object = strings.Replace(everyFiveSeconds(collectorObject(t, h.site)), "timeout: 60s", "timeout: 2s", 1)
	require.NoError(t, h.k.Apply(t.Context(), []byte(h.object)))
	h.ready(t)
	all := h.kubectl("get", "all", "-n", "prometheus")
	t.Log("kubectl get all -n prometheus:\n" + all)
	for _, name := range []string{
		`pod/observability-collector-[0-9a-f]+-\w+ +1/1 +Running +0`, `service/observability-collector-monitoring +ClusterIP +\S+ +<none> +8888/TCP`,
		`deployment.apps/observability-collector +1/1`, `replicaset.apps/observability-collector-[0-9a-f]+ +1 +1 +1`,
	} {
		require.Regexp(t, name, all)
	}
	require.Equal(t, 4, strings.Count(all, "observability-collector"))
	t.Log(h.kubectl("get", "otelcol", "-n", "prometheus"))
	h.expect(60*time.Second, `count(group by (node) (kubelet_node_name{job="kubernetes-nodes"}))`, 1, nodes)
	h.expect(30*time.Second, `count(group by (job) (kube_node_info{job=~"integrations/kubernetes/kube-state-metrics|kubernetes-service-endpoints"}))`, 1, 2)
}

// ready waits until the object says that all is well, of what it is now.
func (h *house) ready(t *testing.T) {
	t.Helper()
	eventually(t, 90*time.Second, "the object to be ready", func() error {
		got := h.kubectl("-n", "prometheus", "get", "otelcol", "observability", "-o",
			`jsonpath={.metadata.generation} {.status.observedGeneration} {.status.scale.statusReplicas} {.status.conditions[?(@.type=="Ready")].status} {.status.conditions[?(@.type=="Ready")].message}`)
		if f := strings.Fields(got); len(f) < 4 || f[0] != f[1] || f[2] != "1/1" || f[3] != "True" {
			return errors.New(got)
		}
		return nil
	})
}

func (h *house) doubled(t *testing.T) {
	eventually(t, 30*time.Second, "the report", func() error {
		out, err := h.command("doctor", "-A")
		if err == nil || !strings.Contains(out, "integrations/kubernetes/kube-state-metrics") || !strings.Contains(out, "kubernetes-service-endpoints") {
			return fmt.Errorf("%w\n%s", err, out)
		}
		t.Log(out)
		return nil
	})
}

// mounts is the ConfigMap that the Deployment has, and the pods that run.
func (h *house) mounts() (config, pods string) {
	return h.kubectl("-n", "prometheus", "get", "deployment", "observability-collector", "-o", "jsonpath={.spec.template.spec.volumes[0].configMap.name}"),
		h.kubectl("-n", "prometheus", "get", "pods", "-l", "app.kubernetes.io/instance=prometheus.observability", "-o", "jsonpath={.items[*].metadata.name}")
}

func (h *house) edited(t *testing.T) {
	config, pod := h.mounts()
	h.object = strings.Replace(h.object, "timeout: 2s", "timeout: 1s", 1)
	require.NoError(t, h.k.Apply(t.Context(), []byte(h.object)))
	eventually(t, 90*time.Second, "another pod", func() error {
		now, pods := h.mounts()
		if now == config || pods == pod || strings.Contains(pods, " ") {
			return fmt.Errorf("ConfigMap %s, pods %s", now, pods)
		}
		return nil
	})
	h.ready(t)
}

// broken objects are refused by the webhook, and, where there is none, by the
// operator; what ran goes on.
func (h *house) broken(t *testing.T) {
	config, pod := h.mounts()
	noYAML := strings.Replace(h.object, "    receivers:\n", "    receivers: [\n", 1)
	unknown := strings.Replace(h.object, "prometheusremotewrite:", "prometheusremotewrit:", 1)
	for object, says := range map[string]string{noYAML: "is not YAML", unknown: "prometheusremotewrit"} {
		err := h.k.Apply(t.Context(), []byte(object))
		require.ErrorContains(t, err, says)
		t.Log(err)
	}
	const webhook = "mangru-mangru-operator"
	h.kubectl("delete", "validatingwebhookconfiguration", webhook)
	for object, says := range map[string]string{noYAML: "is not YAML", unknown: "prometheusremotewrit"} {
		require.NoError(t, h.k.Apply(t.Context(), []byte(object)))
		eventually(t, 30*time.Second, "the condition to say why", func() error {
			got := h.kubectl("-n", "prometheus", "get", "otelcol", "observability", "-o", `jsonpath={.status.conditions[?(@.type=="Ready")]}`)
			if !strings.Contains(got, says) || !strings.Contains(got, "InvalidConfiguration") {
				return errors.New(got)
			}
			t.Log(got)
			return nil
		})
	}
	require.Contains(t, h.kubectl("-n", "prometheus", "get", "events"), "InvalidConfiguration")
	now, pods := h.mounts()
	require.Equal(t, config+pod, now+pods)
	h.expect(10*time.Second, `count(group by (node) (kubelet_node_name{job="kubernetes-nodes"}))`, 1, nodes)
	out, err := h.command("install", "--preset", "all-in-one", "--image", "mangru:e2e", "--set", "collector.scrapeInterval=5s",
		"--set-string", `kubeStateMetrics.annotations.prometheus\.io/scrape=true`)
	require.NoError(t, err, out)
	h.apply(t)
	h.ready(t)
}

// apply tries until the webhooks are there.
func (h *house) apply(t *testing.T) {
	t.Helper()
	eventually(t, 60*time.Second, "the object to be taken", func() error { return h.k.Apply(t.Context(), []byte(h.object)) })
}

func (h *house) killed(t *testing.T) {
	h.expire(t)
	h.kubectl("-n", "mangru", "delete", "pods", "-l", "app.kubernetes.io/name=mangru-operator", "--grace-period=0", "--force")
	h.kubectl("-n", "prometheus", "delete", "deployment", "observability-collector")
	h.kubectl("-n", "prometheus", "delete", "service", "observability-collector-monitoring")
	h.ready(t)
	h.apply(t)
	h.kubectl("-n", "prometheus", "get", "service", "observability-collector-monitoring")
	eventually(t, 30*time.Second, "a webhook that works again", func() error {
		err := h.k.Apply(t.Context(), []byte(strings.Replace(h.object, "prometheusremotewrite:", "prometheusremotewrit:", 1)))
		if err == nil || !strings.Contains(err.Error(), "prometheusremotewrit") {
			return fmt.Errorf("it does not say what is wrong: %w", err)
		}
		return nil
	})
	h.ready(t)
}

// expire puts a certificate that has expired where the operator keeps its own.
func (h *house) expire(t *testing.T) {
	t.Helper()
	secret := decode[struct{ Data map[string][]byte }](t, h.kubectl("-n", "mangru", "get", "secret", "mangru-operator-certificate", "-o", "json"))
	block, _ := pem.Decode(secret.Data["ca.crt"])
	ca, err := x509.ParseCertificate(block.Bytes)
	require.NoError(t, err)
	block, _ = pem.Decode(secret.Data["ca.key"])
	signer, err := x509.ParseECPrivateKey(block.Bytes)
	require.NoError(t, err)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	expired := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "expired"}, NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Hour),
		DNSNames: []string{"mangru-operator.mangru.svc", "mangru-operator.mangru.svc.cluster.local"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, expired, ca, key.Public(), signer)
	require.NoError(t, err)
	private, err := x509.MarshalECPrivateKey(key)
	require.NoError(t, err)
	text := func(kind string, b []byte) string {
		return base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}))
	}
	patch, err := json.Marshal(map[string]any{"data": map[string]string{"tls.crt": text("CERTIFICATE", der), "tls.key": text("EC PRIVATE KEY", private)}})
	require.NoError(t, err)
	h.kubectl("-n", "mangru", "patch", "secret", "mangru-operator-certificate", "--type=merge", "-p", string(patch))
}

func (h *house) uninstall(t *testing.T) {
	out, err := h.command("uninstall")
	require.Error(t, err)
	require.Contains(t, out, "OpenTelemetryCollector prometheus/observability", "people's objects go only by --force")
	out, err = h.command("uninstall", "--force")
	require.NoError(t, err, out)
	t.Log(out)
	h.kubectl("delete", "namespace", "prometheus")
	h.kubectl("delete", "clusterrole,clusterrolebinding", "otel-prometheus-role", "otel-prometheus-role-binding", "--ignore-not-found")
	require.Equal(t, strings.Join(h.before, "\n"), strings.Join(h.everything(), "\n"))
}
