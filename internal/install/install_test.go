package install

import (
	"slices"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/mangru/mangru/deploy"
)

func render(t *testing.T, req Request) *Rendered {
	t.Helper()
	if req.Release == "" {
		req.Release = "mangru"
	}
	if req.Namespace == "" {
		req.Namespace = "mangru"
	}
	r, err := Render(deploy.Chart(), req, nil)
	require.NoError(t, err)
	return r
}

func names(r *Rendered) (out []string) {
	for _, o := range r.Objects {
		out = append(out, refOf(o).String())
	}
	return out
}

func TestPresets(t *testing.T) {
	require.Equal(t, []string{"all-in-one", "collector-only", "workshop"}, Presets(deploy.Chart()))
	all := names(render(t, Request{Preset: "all-in-one", Version: "v9"}))
	for _, want := range []string{
		"CustomResourceDefinition opentelemetrycollectors.opentelemetry.io", "Deployment mangru/mangru-server", "Deployment mangru/mangru-collector",
		"Deployment mangru/mangru-operator", "Deployment mangru/mangru-kube-state-metrics", "DaemonSet mangru-node/mangru-prometheus-node-exporter",
		"Namespace mangru-node",
	} {
		require.Contains(t, all, want)
	}
	workshop := names(render(t, Request{Preset: "workshop"}))
	require.Contains(t, workshop, "Deployment default/ksm-kube-state-metrics")
	require.Contains(t, workshop, "Service default/nodeexporter-prometheus-node-exporter")
	require.NotContains(t, workshop, "Deployment mangru/mangru-collector")

	one := render(t, Request{Preset: "collector-only", Version: "v9", Set: []string{"collector.remoteWrite.url=https://example.com/api/v1/remote_write", "kubeStateMetrics.enabled=false"}})
	require.NotContains(t, names(one), "Deployment mangru/mangru-kube-state-metrics")
	text, err := one.YAML()
	require.NoError(t, err)
	require.Contains(t, string(text), "value: https://example.com/api/v1/remote_write")
	require.Contains(t, string(text), "image: mangru:v9")
	require.Contains(t, one.Notes, "mangru doctor")
}

// TestRestricted checks every pod against the Pod Security level "restricted";
// only the node exporter may have more.
func TestRestricted(t *testing.T) {
	seen := 0
	for _, preset := range []string{"all-in-one", "workshop"} {
		for _, o := range render(t, Request{Preset: preset, Set: []string{"doctor.job=true"}}).Objects {
			pod, ok, _ := unstructured.NestedMap(o.Object, "spec", "template", "spec")
			if !ok {
				continue
			}
			seen++
			node := o.GetKind() == "DaemonSet"
			require.Equal(t, node, pod["hostNetwork"] == true, refOf(o))
			nonRoot, _, _ := unstructured.NestedBool(pod, "securityContext", "runAsNonRoot")
			require.True(t, nonRoot, refOf(o))
			seccomp, _, _ := unstructured.NestedString(pod, "securityContext", "seccompProfile", "type")
			require.Equal(t, "RuntimeDefault", seccomp, refOf(o))
			for _, c := range pod["containers"].([]any) {
				security := c.(map[string]any)["securityContext"].(map[string]any)
				require.Equal(t, false, security["allowPrivilegeEscalation"], refOf(o))
				require.Equal(t, true, security["readOnlyRootFilesystem"], refOf(o))
				require.Equal(t, []any{"ALL"}, security["capabilities"].(map[string]any)["drop"], refOf(o))
			}
			volumes, _, _ := unstructured.NestedSlice(pod, "volumes")
			for _, v := range volumes {
				require.Equal(t, node, v.(map[string]any)["hostPath"] != nil, refOf(o))
				require.Nil(t, v.(map[string]any)["persistentVolumeClaim"], refOf(o))
			}
		}
	}
	require.Equal(t, 10, seen) // 6 and 4
}

// TestRights: nobody may do anything to everything, and only kube-state-metrics
// sees secrets, by list and watch, for their names.
func TestRights(t *testing.T) {
	for _, o := range render(t, Request{Preset: "all-in-one"}).Objects {
		rules, ok, _ := unstructured.NestedSlice(o.Object, "rules")
		if !ok {
			continue
		}
		for _, r := range rules {
			rule := r.(map[string]any)
			for _, field := range []string{"apiGroups", "resources", "verbs"} {
				list, _ := rule[field].([]any)
				require.NotContains(t, list, "*", refOf(o))
			}
			verbs, _ := rule["verbs"].([]any)
			require.False(t, slices.Contains(verbs, any("escalate")) || slices.Contains(verbs, any("bind")), refOf(o))
			resources, _ := rule["resources"].([]any)
			if slices.Contains(resources, any("secrets")) && o.GetName() != "mangru-kube-state-metrics" {
				require.NotNil(t, rule["resourceNames"], refOf(o))
			}
		}
	}
}

func TestOrder(t *testing.T) {
	last := -1
	for _, o := range render(t, Request{Preset: "all-in-one"}).Objects {
		require.GreaterOrEqual(t, rank(o.GetKind()), last, refOf(o))
		last = rank(o.GetKind())
	}
}

func TestBadRequests(t *testing.T) {
	for _, c := range []struct {
		req  Request
		says string
	}{
		{Request{Release: "No", Namespace: "n"}, `found "No"`},
		{Request{Release: "r", Namespace: "n", Preset: "best"}, `found "best", allowed are all-in-one, collector-only, workshop`},
		{Request{Release: "r", Namespace: "n", Preset: "../values"}, "preset"},
		{Request{Release: "r", Namespace: "n", Preset: "collector-only"}, "collector.remoteWrite.url: where samples go is required"},
		{Request{Release: "r", Namespace: "n", Preset: "all-in-one", Set: []string{"colector.replicas=2"}}, "colector"},
		{Request{Release: "r", Namespace: "n", Preset: "all-in-one", Set: []string{"collector.replicas=many"}}, "replicas"},
		{Request{Release: "r", Namespace: "n", Values: []Values{{"my.yaml", []byte("a: [")}}}, "my.yaml"},
	} {
		_, err := Render(deploy.Chart(), c.req, nil)
		var usage *UsageError
		require.ErrorAs(t, err, &usage)
		require.ErrorContains(t, err, c.says)
	}
	_, err := Render(fstest.MapFS{}, Request{Release: "r"}, nil)
	require.Error(t, err)
}

func TestDecode(t *testing.T) {
	objects, err := Decode([]byte("# nothing\n---\n---\nkind: A\napiVersion: v1\nmetadata: {name: x}\n"))
	require.NoError(t, err)
	require.Len(t, objects, 1)
	_, err = Decode([]byte("kind: A\n"))
	require.ErrorContains(t, err, "without kind or name")
}

func TestNotReady(t *testing.T) {
	o := &unstructured.Unstructured{Object: map[string]any{
		"kind": "Deployment", "metadata": map[string]any{"generation": int64(2)}, "spec": map[string]any{"replicas": int64(3)},
		"status": map[string]any{"observedGeneration": int64(1)},
	}}
	for _, step := range []struct {
		field string
		value int64
		says  string
	}{
		{"observedGeneration", 1, "its controller has not seen it yet"}, {"observedGeneration", 2, "0 of 3 pods are of this version"},
		{"updatedReplicas", 3, "0 of 3 pods are available"}, {"availableReplicas", 2, "2 of 3 pods are available"}, {"availableReplicas", 3, ""},
	} {
		require.NoError(t, unstructured.SetNestedField(o.Object, step.value, "status", step.field))
		says, err := notReady(o)
		require.NoError(t, err)
		require.Equal(t, step.says, says)
	}
}
