package operator

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "write the files that are made of the types")

// TestDefinition keeps the chart's definition in step with the types. With
// -update it writes it.
func TestDefinition(t *testing.T) {
	text, err := json.Marshal(Definition())
	require.NoError(t, err)
	text = append(text, '\n')
	file := filepath.Join("..", "..", "deploy", "helm", "mangru", "files", "crd.json")
	if *update {
		require.NoError(t, os.WriteFile(file, text, 0o600))
	}
	have, err := os.ReadFile(file)
	require.NoError(t, err)
	require.True(t, bytes.Equal(text, have), "run go test ./internal/operator -run TestDefinition -update")
}

var image = renderer{image: "registry.example/mangru:v9", rbac: true}

const config = `
receivers:
  prometheus: {config: {scrape_configs: [{job_name: a, kubernetes_sd_configs: [{role: node}], bearer_token_file: /x}]}}
exporters:
  prometheusremotewrite: {endpoint: "http://127.0.0.1:9/api/v1/remote_write"}
service:
  pipelines: {metrics: {receivers: [prometheus], exporters: [prometheusremotewrite]}}
`

// collector makes an object of v1alpha1 and reads it as v1beta1.
func collector(t *testing.T, spec string) *Collector {
	t.Helper()
	o := map[string]any{}
	require.NoError(t, yaml.Unmarshal([]byte("apiVersion: opentelemetry.io/v1alpha1\nkind: OpenTelemetryCollector\nmetadata: {name: observability, namespace: prometheus, uid: u1}\nspec:\n"+spec), &o))
	return beta(t, o)
}

func beta(t *testing.T, o map[string]any) *Collector {
	t.Helper()
	b, err := convert(o, versionBeta)
	require.NoError(t, err)
	text, err := json.Marshal(b)
	require.NoError(t, err)
	c := &Collector{}
	require.NoError(t, json.Unmarshal(text, c))
	return c
}

func indent(text string) string { return strings.ReplaceAll(text, "\n", "\n    ") }

// TestConversion: there and back loses nothing, not even comments; what is no
// YAML is kept and said.
func TestConversion(t *testing.T) {
	text := "# mine\nreceivers: {otlp: null}\nexporters:\n  debug:\nservice:\n  pipelines:\n    metrics: {receivers: [otlp], exporters: [debug]}\n"
	old := map[string]any{
		"apiVersion": "opentelemetry.io/v1alpha1", "kind": Kind, "metadata": map[string]any{"name": "x"},
		"spec": map[string]any{
			"config": text, "maxReplicas": int64(5), "updateStrategy": map[string]any{"type": "OnDelete"},
			"targetAllocator": map[string]any{"prometheusCR": map[string]any{"serviceMonitorSelector": map[string]any{"a": "b"}}},
		},
	}
	b, err := convert(old, versionBeta)
	require.NoError(t, err)
	spec := b["spec"].(map[string]any)
	require.Equal(t, map[string]any{"otlp": map[string]any{}}, spec["config"].(map[string]any)["receivers"])
	require.Equal(t, map[string]any{"maxReplicas": int64(5)}, spec["autoscaler"])
	require.Equal(t, map[string]any{"type": "OnDelete"}, spec["daemonSetUpdateStrategy"])
	back, err := convert(b, versionAlpha)
	require.NoError(t, err)
	require.Equal(t, text, back["spec"].(map[string]any)["config"])
	require.NotContains(t, back["metadata"], "annotations")
	require.Equal(t, old["spec"].(map[string]any)["targetAllocator"], back["spec"].(map[string]any)["targetAllocator"])

	// Edited as v1beta1, the old text is no longer what it says.
	spec["config"].(map[string]any)["receivers"] = map[string]any{"zipkin": map[string]any{}}
	back, err = convert(b, versionAlpha)
	require.NoError(t, err)
	require.Contains(t, back["spec"].(map[string]any)["config"], "zipkin")

	old["spec"].(map[string]any)["config"] = "receivers: [\n"
	b, err = convert(old, versionBeta)
	require.NoError(t, err)
	require.NotEmpty(t, annotation(b, notYAML))
	back, err = convert(b, versionAlpha)
	require.NoError(t, err)
	require.Equal(t, "receivers: [\n", back["spec"].(map[string]any)["config"])
	require.Equal(t, []string{"spec.config: is not YAML: " + annotation(b, notYAML)}, image.validate(beta(t, b), nil).errors)

	_, err = convert(map[string]any{"apiVersion": "v1"}, versionBeta)
	require.Error(t, err)
}

func FuzzConversion(f *testing.F) {
	f.Add(config)
	f.Add("a: [")
	f.Fuzz(func(t *testing.T, text string) {
		o := map[string]any{"apiVersion": "opentelemetry.io/v1alpha1", "metadata": map[string]any{}, "spec": map[string]any{"config": text}}
		b, err := convert(o, versionBeta)
		require.NoError(t, err)
		back, err := convert(b, versionAlpha)
		require.NoError(t, err)
		if text != "" {
			require.Equal(t, text, back["spec"].(map[string]any)["config"])
		}
	})
}

// TestWorkshop renders the workshop's object and compares with the names that
// its kubectl output shows.
func TestWorkshop(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "..", "shared", "workshop", "otel-collector-config.yaml"))
	if os.IsNotExist(err) {
		t.Skip("the workshop's file is not there")
	}
	require.NoError(t, err)
	first, _, _ := strings.Cut(string(text), "\n---")
	first = strings.ReplaceAll(strings.ReplaceAll(first, "AMP_WORKSPACE_URL", "https://aps-workspaces.us-east-1.amazonaws.com/workspaces/ws-1/api/v1/remote_write"), "AWS_REGION", "us-east-1")
	o := map[string]any{}
	require.NoError(t, yaml.Unmarshal([]byte(first), &o))
	c := beta(t, o)
	require.Empty(t, image.validate(c, nil).errors)
	p, err := image.render(c)
	require.NoError(t, err)
	var names []string
	for _, o := range p.objects {
		names = append(names, o.GetObjectKind().GroupVersionKind().Kind+" "+o.(client.Object).GetName())
	}
	require.Equal(t, []string{
		"ConfigMap " + p.configName, "Deployment observability-collector", "Service observability-collector-monitoring",
		"PodDisruptionBudget observability-collector", "NetworkPolicy observability-collector-networkpolicy",
	}, names)
	d := p.objects[1].(*appsv1.Deployment)
	pod := d.Spec.Template.Spec
	require.Equal(t, "amp-irsa-role", pod.ServiceAccountName)
	require.Equal(t, containerName, pod.Containers[0].Name)
	require.Equal(t, []string{"--config=/conf/collector.yaml"}, pod.Containers[0].Args)
	require.Equal(t, []string{"/mangru", "collector"}, pod.Containers[0].Command)
	require.Equal(t, "registry.example/mangru:v9", pod.Containers[0].Image)
	require.Equal(t, []corev1.ContainerPort{{Name: "metrics", ContainerPort: 8888, Protocol: "TCP"}}, pod.Containers[0].Ports)
	require.Equal(t, map[string]string{
		labelManaged: managedBy, labelPart: "opentelemetry", labelComponent: "opentelemetry-collector", labelInstance: "prometheus.observability",
	}, d.Spec.Selector.MatchLabels)
	require.NotEmpty(t, d.Spec.Template.Annotations[hashKey])
	s := p.objects[2].(*corev1.Service)
	require.Equal(t, "monitoring", s.Spec.Ports[0].Name)
	require.EqualValues(t, 8888, s.Spec.Ports[0].Port)
}

func TestRender(t *testing.T) {
	// Another configuration is another ConfigMap, and so a rollout.
	c := collector(t, "  config: |\n    "+indent(config))
	one, err := image.render(c)
	require.NoError(t, err)
	c.Spec.Args = map[string]string{"b": "2", "a": "1", "config": "no"}
	same, err := image.render(c)
	require.NoError(t, err)
	require.Equal(t, one.configName, same.configName)
	require.Equal(t, []string{"--config=/conf/collector.yaml", "--a=1", "--b=2"}, same.objects[2].(*appsv1.Deployment).Spec.Template.Spec.Containers[0].Args)
	c.Spec.Config.Exporters["debug"] = map[string]any{}
	other, err := image.render(c)
	require.NoError(t, err)
	require.NotEqual(t, one.configName, other.configName)
	// Without a service account it gets one, with the rights of its discoveries.
	require.Len(t, image.rights(c), 2)

	// An image of somebody else's runs its own program.
	c.Spec.Image = "otel/collector:0.158.0"
	theirs, err := image.render(c)
	require.NoError(t, err)
	require.False(t, theirs.ours)
	require.Empty(t, theirs.objects[2].(*appsv1.Deployment).Spec.Template.Spec.Containers[0].Command)
	require.Equal(t, "0.158.0", theirs.objects[2].(*appsv1.Deployment).Labels[labelVersion])

	for mode, kind := range map[string]string{modeDaemonSet: "DaemonSet", modeStatefulSet: "StatefulSet", modeDeployment: "Deployment"} {
		c.Spec.Mode = mode
		require.Equal(t, kind, image.workload(c, one, image.pod(c, one, "h")).GetObjectKind().GroupVersionKind().Kind)
	}
	c.Spec.Mode = modeSidecar
	side, err := image.render(c)
	require.NoError(t, err)
	require.IsType(t, &corev1.ServiceAccount{}, side.objects[1])
}

func TestPorts(t *testing.T) {
	c := collector(t, `
  config: |
    receivers: {otlp: {protocols: {grpc: {endpoint: "0.0.0.0:14317"}, http: {}}}, zipkin: {}, statsd: {endpoint: "localhost:8125"}, unused/x: {endpoint: "0.0.0.0:1"}}
    exporters: {prometheus: {endpoint: "0.0.0.0:8889"}}
    service: {pipelines: {metrics: {receivers: [otlp, zipkin, statsd], exporters: [prometheus]}}}
`)
	var got []string
	for _, p := range servicePorts(c) {
		got = append(got, p.Name+"/"+string(p.Protocol))
	}
	require.Equal(t, []string{"otlp-grpc/TCP", "otlp-http/TCP", "statsd/UDP", "zipkin/TCP", "prometheus/TCP"}, got)
	require.EqualValues(t, 14317, servicePorts(c)[0].Port)
	require.EqualValues(t, 4318, servicePorts(c)[1].Port)
	require.Len(t, image.services(c), 3)
}

func TestValidate(t *testing.T) {
	good := "  config: |\n    " + indent(config)
	for _, c := range []struct{ spec, says string }{
		{"  mode: deployment\n  volumeClaimTemplates: [{metadata: {name: x}}]\n" + good, "spec.volumeClaimTemplates: allowed in mode statefulset only"},
		{"  mode: sidecar\n  priorityClassName: high\n" + good, "spec.priorityClassName: not allowed in mode sidecar"},
		{"  autoscaler: {minReplicas: 5, maxReplicas: 2}\n" + good, "spec.autoscaler.minReplicas: found 5, allowed are 1 to maxReplicas (2)"},
		{"  ports: [{name: Upper, port: 80}]\n" + good, "spec.ports[0].name"},
		{"  config: |\n    receivers: {unicorn: {}}\n    exporters: {debug: {}}\n    service: {pipelines: {metrics: {receivers: [unicorn], exporters: [debug]}}}\n", "unicorn"},
		{"  targetAllocator: {enabled: true}\n" + good, "spec.targetAllocator: allowed in modes statefulset and daemonset"},
	} {
		v := image.validate(collector(t, c.spec), nil)
		require.Contains(t, strings.Join(v.errors, "\n"), c.says)
	}
	now, before := collector(t, good), collector(t, "  mode: daemonset\n"+good)
	require.Empty(t, image.validate(now, nil).errors)
	require.Contains(t, image.validate(now, before).errors[0], `spec.mode: found "deployment", it was "daemonset"`)
	// Another image's components are its own business.
	foreign := collector(t, "  image: otel/x:1\n  config: |\n    receivers: {unicorn: {}}\n    exporters: {debug: {}}\n    service: {pipelines: {traces: {receivers: [unicorn], exporters: [debug]}}}\n")
	require.Empty(t, image.validate(foreign, nil).errors)
}

func TestWantedSidecar(t *testing.T) {
	for _, c := range [][3]string{
		{"", "", ""}, {"", "true", "true"}, {"false", "true", "false"}, {"true", "false", "true"}, {"true", "name", "name"},
		{"mine", "name", "mine"}, {"true", "", "true"}, {"true", "true", "true"},
	} {
		require.Equal(t, c[2], wantedSidecar(c[0], c[1]), c)
	}
}

func TestInject(t *testing.T) {
	c := collector(t, "  mode: sidecar\n  config: |\n    "+indent(config))
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "n"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{
		Name: "app", Env: []corev1.EnvVar{{Name: "AWS_ROLE_ARN", Value: "r"}}, VolumeMounts: []corev1.VolumeMount{{Name: roleVolume, MountPath: roleMount}},
	}}}}
	require.NoError(t, image.inject(p, c))
	k := p.Spec.InitContainers[0]
	require.Equal(t, corev1.ContainerRestartPolicyAlways, *k.RestartPolicy)
	require.Equal(t, []string{"--config=env:OTEL_CONFIG"}, k.Args)
	require.True(t, hasEnv(k.Env, "AWS_ROLE_ARN"), "credentials that are there are for the sidecar too")
	require.True(t, hasMount(&k, roleVolume))
	require.Equal(t, "prometheus.observability", p.Labels[injectedKey])
	require.True(t, hasSidecar(p))
	require.True(t, removeSidecar(p))
	require.False(t, hasSidecar(p))
}

func TestCredentials(t *testing.T) {
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "sa", Namespace: "n", Annotations: map[string]string{
		annotationPrefix + "role-arn": "arn:aws:iam::000000000000:role/r", annotationPrefix + "token-expiration": "60", annotationPrefix + "sts-regional-endpoints": "true",
	}}}
	c := &credentials{accounts: fake.NewClientBuilder().WithObjects(account).Build(), stsEndpoint: "http://sts", region: "us-east-1"}
	pod := func(name string) *corev1.Pod {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Annotations: map[string]string{annotationPrefix + "skip-containers": "b, c"}}, Spec: corev1.PodSpec{
			ServiceAccountName: name, InitContainers: []corev1.Container{{Name: "i"}}, Containers: []corev1.Container{{Name: "a"}, {Name: "b"}},
			Volumes: []corev1.Volume{{Name: "mine"}},
		}}
	}
	p := pod("sa")
	given, err := c.give(t.Context(), p)
	require.NoError(t, err)
	require.True(t, given)
	var env []string
	for _, e := range p.Spec.Containers[0].Env {
		env = append(env, e.Name+"="+e.Value)
	}
	require.Equal(t, []string{
		"AWS_STS_REGIONAL_ENDPOINTS=regional", "AWS_DEFAULT_REGION=us-east-1", "AWS_REGION=us-east-1", "AWS_ROLE_ARN=arn:aws:iam::000000000000:role/r",
		"AWS_WEB_IDENTITY_TOKEN_FILE=/var/run/secrets/eks.amazonaws.com/serviceaccount/token", "AWS_ENDPOINT_URL_STS=http://sts",
	}, env)
	require.Equal(t, env[0], p.Spec.InitContainers[0].Env[0].Name+"="+p.Spec.InitContainers[0].Env[0].Value)
	require.Empty(t, p.Spec.Containers[1].Env, "skipped")
	require.Equal(t, roleVolume, p.Spec.Volumes[0].Name)
	require.EqualValues(t, 600, *p.Spec.Volumes[0].Projected.Sources[0].ServiceAccountToken.ExpirationSeconds)
	// A second time, as on reinvocation, changes nothing.
	again := p.DeepCopy()
	given, err = c.give(t.Context(), again)
	require.NoError(t, err)
	require.False(t, given)
	require.Equal(t, p, again)

	given, err = c.give(t.Context(), pod("other"))
	require.NoError(t, err)
	require.False(t, given)
	c.podIdentity = func(string, string) bool { return true }
	p = pod("sa")
	given, err = c.give(t.Context(), p)
	require.NoError(t, err)
	require.True(t, given)
	require.Equal(t, "enabled", p.Labels[annotationPrefix+"pod-identity"])
	require.Equal(t, podVolume, p.Spec.Volumes[0].Name)
}

// TestKeyring follows the certificates for ten years, looking once a week: at
// no time is something served that the bundle of the week before does not trust.
func TestKeyring(t *testing.T) {
	names := []string{"op.ns.svc", "op.ns.svc.cluster.local"}
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	k, changed, err := keyring{}.renew(names, now)
	require.NoError(t, err)
	require.True(t, changed)
	known := k.bundle
	served, authorities := map[string]bool{}, map[string]bool{}
	for range 520 {
		now = now.Add(7 * 24 * time.Hour)
		k, _, err = k.renew(names, now)
		require.NoError(t, err)
		cert := certificates(k.serving)[0]
		require.True(t, now.Before(cert.NotAfter) && covers(cert, names))
		require.True(t, signedByAny(cert, certificates(known)), "the API server does not know the authority yet")
		_, err = k.pair()
		require.NoError(t, err)
		require.LessOrEqual(t, len(certificates(k.bundle)), 2)
		known = k.bundle
		served[cert.SerialNumber.String()], authorities[string(k.key)] = true, true
		_, changed, err = k.renew(names, now)
		require.NoError(t, err)
		require.False(t, changed, "what is good stays")
	}
	require.Greater(t, len(served), 40)
	require.Greater(t, len(authorities), 4)

	// What is broken or long expired is made anew; so is a certificate for other names.
	for _, broken := range []keyring{{bundle: []byte("x"), key: k.key}, {bundle: k.bundle, key: []byte("x"), serving: k.serving, private: k.private}} {
		fresh, changed, err := broken.renew(names, now)
		require.NoError(t, err)
		require.True(t, changed)
		_, err = fresh.pair()
		require.NoError(t, err)
	}
	fresh, changed, err := k.renew(names, now.AddDate(20, 0, 0))
	require.NoError(t, err)
	require.True(t, changed)
	require.Len(t, certificates(fresh.bundle), 1)
	moved, changed, err := k.renew([]string{"other.ns.svc"}, now)
	require.NoError(t, err)
	require.True(t, changed)
	require.True(t, covers(certificates(moved.serving)[0], []string{"other.ns.svc"}))
}

func TestDefaults(t *testing.T) {
	spec := map[string]any{"autoscaler": map[string]any{"maxReplicas": int64(4)}}
	setDefaults(spec)
	require.Equal(t, map[string]any{
		"mode": "deployment", "upgradeStrategy": "automatic", "managementState": "managed", "replicas": int64(1),
		"autoscaler": map[string]any{"maxReplicas": int64(4), "minReplicas": int64(1), "targetCPUUtilization": int64(90)},
	}, spec)
}
