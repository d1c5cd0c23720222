//go:build unix

package cluster

import (
	"encoding/json"
	"maps"
	"slices"
	"testing"

	"sigs.k8s.io/yaml"
)

// everything renders all manifests and returns the objects as "Kind/name".
func everything(t *testing.T) map[string]map[string]any {
	t.Helper()
	data := newManifestData(newPlan(testOptions(t)), map[string]string{"kube-state-metrics": "v2.19.1", "node_exporter": "v1.12.1"})
	names := []string{"base"}
	for _, a := range addons {
		names = append(names, a.manifest)
	}
	objects := make(map[string]map[string]any)
	for _, name := range names {
		text, err := manifest(name, data)
		if err != nil {
			t.Fatal(err)
		}
		for _, doc := range append(splitDocuments(text), splitDocuments(simulatedPods(1))...) {
			var o map[string]any
			if err := yaml.UnmarshalStrict(doc, &o); err != nil {
				t.Fatalf("%s: %v\n%s", name, err, doc)
			}
			objects[o["kind"].(string)+"/"+at(t, o, "metadata", "name").(string)] = o
		}
	}
	return objects
}

// at walks into an object.
func at(t *testing.T, o any, path ...any) any {
	t.Helper()
	for _, step := range path {
		switch s := step.(type) {
		case string:
			o = o.(map[string]any)[s]
		case int:
			o = o.([]any)[s]
		}
		if o == nil {
			t.Fatalf("nothing at %v", path)
		}
	}
	return o
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestManifestsHoldWhatTheChartsInstall(t *testing.T) {
	objects := everything(t)
	want := []string{
		"ClusterRole/ksm-kube-state-metrics", "ClusterRole/system:coredns",
		"ClusterRoleBinding/ksm-kube-state-metrics", "ClusterRoleBinding/mangru-cluster-issuer-discovery", "ClusterRoleBinding/system:coredns",
		"ConfigMap/coredns", "DaemonSet/nodeexporter-prometheus-node-exporter",
		"Deployment/coredns", "Deployment/ksm-kube-state-metrics", "Deployment/load-1", "Deployment/shop", "Namespace/simulated",
		"Service/ksm-kube-state-metrics", "Service/kube-dns", "Service/nodeexporter-prometheus-node-exporter", "Service/shop",
		"ServiceAccount/coredns", "ServiceAccount/ksm-kube-state-metrics", "ServiceAccount/nodeexporter-prometheus-node-exporter",
	}
	if got := slices.Sorted(maps.Keys(objects)); !slices.Equal(got, want) {
		t.Errorf("objects:\n got %q\nwant %q", got, want)
	}
	for _, test := range []struct {
		object string
		path   []any
		want   string
	}{
		{"Service/ksm-kube-state-metrics", []any{"metadata", "annotations"}, `{"prometheus.io/scrape":"true"}`},
		{"Service/nodeexporter-prometheus-node-exporter", []any{"metadata", "annotations"}, `{"prometheus.io/scrape":"true"}`},
		{"Service/nodeexporter-prometheus-node-exporter", []any{"spec", "ports", 0}, `{"name":"metrics","port":9100,"protocol":"TCP","targetPort":9100}`},
		{"Deployment/ksm-kube-state-metrics", []any{"spec", "template", "metadata", "labels"},
			`{"app.kubernetes.io/component":"metrics","app.kubernetes.io/instance":"ksm","app.kubernetes.io/managed-by":"Helm",` +
				`"app.kubernetes.io/name":"kube-state-metrics","app.kubernetes.io/part-of":"kube-state-metrics",` +
				`"app.kubernetes.io/version":"2.19.1","helm.sh/chart":"kube-state-metrics-5.28.0"}`},
		{"Deployment/ksm-kube-state-metrics", []any{"spec", "template", "spec", "containers", 0, "image"}, `"kube-state-metrics:v2.19.1"`},
		{"DaemonSet/nodeexporter-prometheus-node-exporter", []any{"spec", "template", "metadata", "labels", "app.kubernetes.io/name"}, `"prometheus-node-exporter"`},
		{"DaemonSet/nodeexporter-prometheus-node-exporter", []any{"spec", "template", "metadata", "annotations"}, `{"cluster-autoscaler.kubernetes.io/safe-to-evict":"true"}`},
		{"DaemonSet/nodeexporter-prometheus-node-exporter", []any{"spec", "template", "spec", "containers", 0, "image"}, `"node-exporter:v1.12.1"`},
		{"Service/shop", []any{"spec", "ports", 0}, `{"name":"http","nodePort":30751,"port":80,"protocol":"TCP","targetPort":8080}`},
		{"Deployment/shop", []any{"spec", "replicas"}, `3`},
		{"Service/kube-dns", []any{"spec", "clusterIP"}, `"10.9.96.10"`},
	} {
		if got := asJSON(t, at(t, objects[test.object], test.path...)); got != test.want {
			t.Errorf("%s %v:\n got %s\nwant %s", test.object, test.path, got, test.want)
		}
	}
	// The workshop's shop is not annotated; only node discovery by Service is.
	if shop := at(t, objects["Deployment/shop"], "spec", "template", "metadata").(map[string]any); shop["annotations"] != nil {
		t.Errorf("shop pods are annotated: %v", shop["annotations"])
	}
}

func TestSimulatedPodsAddUp(t *testing.T) {
	for count, want := range map[int][]float64{0: nil, 99: {99}, 100: {100}, 250: {100, 100, 50}} {
		var sizes []float64
		for _, doc := range splitDocuments(simulatedPods(count))[1:] {
			var o map[string]any
			if err := yaml.UnmarshalStrict(doc, &o); err != nil {
				t.Fatal(err)
			}
			sizes = append(sizes, at(t, o, "spec", "replicas").(float64))
		}
		if !slices.Equal(sizes, want) {
			t.Errorf("%d pods: %v, want %v", count, sizes, want)
		}
	}
}

func TestNodeConfigurationIsYAMLAndJSON(t *testing.T) {
	p := newPlan(testOptions(t))
	n := p.node(2)
	for name, text := range map[string]string{"kubelet": kubeletConfig(p), "kube-proxy": proxyConfig(p, n), "pod network": podNetwork(n)} {
		var o map[string]any
		if err := yaml.UnmarshalStrict([]byte(text), &o); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	var network struct {
		Plugins []struct {
			IPAM struct{ Ranges [][]struct{ Subnet string } }
		}
	}
	if err := json.Unmarshal([]byte(podNetwork(n)), &network); err != nil {
		t.Fatal(err)
	}
	if got := network.Plugins[0].IPAM.Ranges[0][0].Subnet; got != n.Pods.String() {
		t.Errorf("pod network hands out %s, want %s", got, n.Pods)
	}
}

func TestSplitDocuments(t *testing.T) {
	got := splitDocuments([]byte("---\na: 1\n---\n\n---\nb: |\n  ---\n"))
	if len(got) != 2 {
		t.Errorf("%d documents: %q", len(got), got)
	}
}
