package operator

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"path"
	"slices"
	"sort"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/yaml"
)

const (
	managedBy     = "opentelemetry-operator"
	containerName = "otc-container"
	configVolume  = "otc-internal"
	configFile    = "collector.yaml"
	metricsPort   = 8888
	hashKey       = "opentelemetry-operator-config/sha256"

	labelManaged   = "app.kubernetes.io/managed-by"
	labelPart      = "app.kubernetes.io/part-of"
	labelComponent = "app.kubernetes.io/component"
	labelInstance  = "app.kubernetes.io/instance"
	labelName      = "app.kubernetes.io/name"
	labelVersion   = "app.kubernetes.io/version"
	labelService   = "operator.opentelemetry.io/collector-service-type"
)

// renderer turns a collector into objects.
type renderer struct {
	// image runs collectors that name none; its program is ours.
	image string
	// rbac is whether ClusterRoles are made.
	rbac bool
}

// plan is what has to be there for a collector.
type plan struct {
	objects    []runtime.Object
	config     string // as it is mounted
	configName string
	image      string
	selector   map[string]string
	replicas   int32
	template   string // digest of the pods' template
	ours       bool   // the image is ours
}

// selectorOf are the labels that never change.
func selectorOf(c *Collector) map[string]string {
	return map[string]string{
		labelManaged: managedBy, labelPart: "opentelemetry", labelComponent: "opentelemetry-collector",
		labelInstance: truncate(c.Namespace + "." + c.Name),
	}
}

func truncate(s string) string { return strings.TrimRight(s[:min(len(s), 63)], "-._") }

// labelsOf are the labels of one of its objects; those of the collector itself
// are handed on.
func (r renderer) labelsOf(c *Collector, name string) map[string]string {
	out := maps.Clone(c.Labels)
	if out == nil {
		out = map[string]string{}
	}
	delete(out, "app.kubernetes.io/managed-by")
	maps.Copy(out, selectorOf(c))
	out[labelName] = truncate(name)
	out[labelVersion] = imageVersion(r.imageOf(c))
	return out
}

// imageVersion is the tag of an image, as a label may have it.
func imageVersion(image string) string {
	image, _, _ = strings.Cut(image, "@")
	if i := strings.LastIndexByte(image, ':'); i > strings.LastIndexByte(image, '/') {
		return truncate(strings.NewReplacer("+", "_", ":", "_").Replace(image[i+1:]))
	}
	return "latest"
}

func (r renderer) imageOf(c *Collector) string {
	if c.Spec.Image != "" {
		return c.Spec.Image
	}
	return r.image
}

func (r renderer) meta(c *Collector, name string) metav1.ObjectMeta {
	m := metav1.ObjectMeta{Name: name, Namespace: c.Namespace, Labels: r.labelsOf(c, name), OwnerReferences: []metav1.OwnerReference{c.owner()}}
	for k, v := range c.Annotations {
		if !strings.Contains(k, "kubectl.kubernetes.io/") && !strings.HasPrefix(k, "mangru.io/") {
			if m.Annotations == nil {
				m.Annotations = map[string]string{}
			}
			m.Annotations[k] = v
		}
	}
	return m
}

func base(c *Collector) string { return c.Name + "-collector" }

// configText writes the configuration that is mounted: as it was asked for,
// with the collector's own metrics where Prometheus can reach them.
func configText(c *Collector) (string, error) {
	config := c.Spec.Config
	telemetry := runtime.DeepCopyJSON(nonNil(config.Service.Telemetry))
	metrics, _ := telemetry["metrics"].(map[string]any)
	if metrics == nil {
		metrics = map[string]any{}
	}
	if metrics["address"] == nil && metrics["readers"] == nil && metrics["level"] != "none" {
		metrics["readers"] = []any{map[string]any{"pull": map[string]any{"exporter": map[string]any{
			"prometheus": map[string]any{"host": "0.0.0.0", "port": int64(metricsPort)},
		}}}}
		telemetry["metrics"] = metrics
	}
	config.Service.Telemetry = telemetry
	b, err := yaml.Marshal(config)
	if err != nil {
		return "", fmt.Errorf("write the configuration: %w", err)
	}
	return string(b), nil
}

func nonNil(f Free) map[string]any {
	if f == nil {
		return map[string]any{}
	}
	return f
}

// render makes all objects of a collector.
func (r renderer) render(c *Collector) (*plan, error) {
	text, err := configText(c)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(text))
	hash := hex.EncodeToString(sum[:])
	p := &plan{
		config: text, configName: base(c) + "-" + hash[:8], image: r.imageOf(c), selector: selectorOf(c), replicas: c.replicas(),
		ours: c.Spec.Image == "" || c.Spec.Image == r.image,
	}
	p.objects = append(p.objects, &corev1.ConfigMap{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"}, ObjectMeta: r.meta(c, p.configName), Data: map[string]string{configFile: text},
	})
	if c.Spec.ServiceAccount == "" {
		p.objects = append(p.objects, &corev1.ServiceAccount{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ServiceAccount"}, ObjectMeta: r.meta(c, base(c))})
	}
	if c.mode() != modeSidecar {
		template := r.pod(c, p, hash)
		if p.template, err = templateDigest(template); err != nil {
			return nil, err
		}
		p.objects = append(p.objects, r.workload(c, p, template))
		p.objects = append(p.objects, r.services(c)...)
		p.objects = append(p.objects, r.around(c)...)
	}
	if r.rbac && c.Spec.ServiceAccount == "" {
		p.objects = append(p.objects, r.rights(c)...)
	}
	return p, nil
}

// container is the collector's container, but for where its configuration is.
func (r renderer) container(c *Collector) corev1.Container {
	s := &c.Spec
	k := corev1.Container{
		Name: containerName, Image: r.imageOf(c), ImagePullPolicy: s.ImagePullPolicy, Command: s.Command,
		Env:     append([]corev1.EnvVar{fieldEnv("POD_NAME", "metadata.name"), fieldEnv("POD_NAMESPACE", "metadata.namespace")}, s.Env...),
		EnvFrom: s.EnvFrom, Resources: s.Resources, SecurityContext: s.SecurityContext, Lifecycle: s.Lifecycle,
		VolumeMounts: slices.Clone(s.VolumeMounts), Ports: containerPorts(c),
	}
	if s.Image == "" || s.Image == r.image {
		if len(k.Command) == 0 {
			k.Command = []string{"/mangru", "collector"}
		}
		if k.SecurityContext == nil {
			no, yes := false, true
			k.SecurityContext = &corev1.SecurityContext{
				AllowPrivilegeEscalation: &no, ReadOnlyRootFilesystem: &yes, RunAsNonRoot: &yes,
				Capabilities:   &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
				SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
			}
		}
	}
	if _, ok := s.Resources.Limits[corev1.ResourceMemory]; ok && !hasEnv(k.Env, "GOMEMLIMIT") {
		k.Env = append(k.Env, resourceEnv("GOMEMLIMIT", "limits.memory"))
	}
	if _, ok := s.Resources.Limits[corev1.ResourceCPU]; ok && !hasEnv(k.Env, "GOMAXPROCS") {
		k.Env = append(k.Env, resourceEnv("GOMAXPROCS", "limits.cpu"))
	}
	r.probes(c, &k)
	for _, m := range s.ConfigMaps {
		k.VolumeMounts = append(k.VolumeMounts, corev1.VolumeMount{Name: mountedName(m), MountPath: path.Join("/var/conf", m.MountPath, mountedName(m))})
	}
	return k
}

func mountedName(m MountedConfigMap) string { return "configmap-" + m.Name }

func fieldEnv(name, path string) corev1.EnvVar {
	return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: path}}}
}

func resourceEnv(name, what string) corev1.EnvVar {
	return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{ResourceFieldRef: &corev1.ResourceFieldSelector{ContainerName: containerName, Resource: what}}}
}

func hasEnv(env []corev1.EnvVar, name string) bool {
	return slices.ContainsFunc(env, func(e corev1.EnvVar) bool { return e.Name == name })
}

// args are --config first, then the others by name.
func args(c *Collector, config string) []string {
	out := []string{"--config=" + config}
	names := make([]string, 0, len(c.Spec.Args))
	for name := range c.Spec.Args {
		if name != "config" {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	for _, name := range names {
		out = append(out, "--"+name+"="+c.Spec.Args[name])
	}
	return out
}

// probes asks the health check extension where there is one, and our collector
// in any case.
func (r renderer) probes(c *Collector, k *corev1.Container) {
	handler := corev1.ProbeHandler{}
	if port, at, ok := healthCheck(c); ok {
		handler.HTTPGet = &corev1.HTTPGetAction{Path: at, Port: intstr.FromInt32(port)}
	} else {
		return
	}
	k.LivenessProbe, k.ReadinessProbe, k.StartupProbe = c.Spec.LivenessProbe.with(handler), c.Spec.ReadinessProbe.with(handler), nil
	if k.LivenessProbe == nil {
		k.LivenessProbe = &corev1.Probe{ProbeHandler: handler}
	}
	if k.ReadinessProbe == nil {
		k.ReadinessProbe = &corev1.Probe{ProbeHandler: handler}
	}
	k.StartupProbe = c.Spec.StartupProbe.with(handler)
}

func (p *Probe) with(h corev1.ProbeHandler) *corev1.Probe {
	if p == nil {
		return nil
	}
	out := &corev1.Probe{ProbeHandler: h, TerminationGracePeriodSeconds: p.TerminationGracePeriodSeconds}
	for _, f := range []struct {
		from *int32
		to   *int32
	}{
		{p.InitialDelaySeconds, &out.InitialDelaySeconds}, {p.TimeoutSeconds, &out.TimeoutSeconds}, {p.PeriodSeconds, &out.PeriodSeconds},
		{p.SuccessThreshold, &out.SuccessThreshold}, {p.FailureThreshold, &out.FailureThreshold},
	} {
		if f.from != nil {
			*f.to = *f.from
		}
	}
	return out
}

// pod is the template of the workload's pods.
func (r renderer) pod(c *Collector, p *plan, hash string) corev1.PodTemplateSpec {
	s := &c.Spec
	k := r.container(c)
	k.Args = args(c, "/conf/"+configFile)
	k.VolumeMounts = append([]corev1.VolumeMount{{Name: configVolume, MountPath: "/conf"}}, k.VolumeMounts...)
	volumes := []corev1.Volume{{Name: configVolume, VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
		LocalObjectReference: corev1.LocalObjectReference{Name: p.configName}, Items: []corev1.KeyToPath{{Key: configFile, Path: configFile}},
	}}}}
	volumes = append(volumes, s.Volumes...)
	for _, m := range s.ConfigMaps {
		volumes = append(volumes, corev1.Volume{Name: mountedName(m), VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
			LocalObjectReference: corev1.LocalObjectReference{Name: m.Name},
		}}})
	}
	annotations := map[string]string{hashKey: hash}
	if s.Observability == nil || s.Observability.Metrics == nil || !s.Observability.Metrics.DisablePrometheusAnnotations {
		maps.Copy(annotations, map[string]string{"prometheus.io/scrape": "true", "prometheus.io/port": fmt.Sprint(metricsPort), "prometheus.io/path": "/metrics"})
	}
	maps.Copy(annotations, s.PodAnnotations)
	account := s.ServiceAccount
	if account == "" {
		account = base(c)
	}
	spec := corev1.PodSpec{
		ServiceAccountName: account, InitContainers: s.InitContainers, Containers: append(slices.Clone(s.AdditionalContainers), k), Volumes: volumes,
		NodeSelector: s.NodeSelector, Tolerations: s.Tolerations, Affinity: s.Affinity, TopologySpreadConstraints: s.TopologySpreadConstraints,
		HostNetwork: s.HostNetwork, HostPID: s.HostPID, PriorityClassName: s.PriorityClassName, SecurityContext: s.PodSecurityContext,
		TerminationGracePeriodSeconds: s.TerminationGracePeriodSeconds, DNSConfig: s.PodDNSConfig, DNSPolicy: corev1.DNSClusterFirst,
	}
	if s.ShareProcessNamespace {
		yes := true
		spec.ShareProcessNamespace = &yes
	}
	if s.HostNetwork {
		spec.DNSPolicy = corev1.DNSClusterFirstWithHostNet
	}
	if s.DNSPolicy != nil {
		spec.DNSPolicy = *s.DNSPolicy
	}
	return corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: r.labelsOf(c, base(c)), Annotations: annotations}, Spec: spec}
}

// workload is the deployment, daemon set or stateful set.
func (r renderer) workload(c *Collector, p *plan, template corev1.PodTemplateSpec) runtime.Object {
	s, m := &c.Spec, r.meta(c, base(c))
	selector := &metav1.LabelSelector{MatchLabels: p.selector}
	// Where an autoscaler scales, the number of replicas is its own.
	replicas := s.Replicas
	if scaled(c) {
		replicas = nil
	}
	switch c.mode() {
	case modeDaemonSet:
		d := &appsv1.DaemonSet{TypeMeta: metav1.TypeMeta{APIVersion: "apps/v1", Kind: "DaemonSet"}, ObjectMeta: m,
			Spec: appsv1.DaemonSetSpec{Selector: selector, Template: template}}
		if s.DaemonSetUpdateStrategy != nil {
			d.Spec.UpdateStrategy = *s.DaemonSetUpdateStrategy
		}
		return d
	case modeStatefulSet:
		name := s.ServiceName
		if name == "" {
			name = base(c)
		}
		set := &appsv1.StatefulSet{TypeMeta: metav1.TypeMeta{APIVersion: "apps/v1", Kind: "StatefulSet"}, ObjectMeta: m,
			Spec: appsv1.StatefulSetSpec{
				Selector: selector, Template: template, Replicas: replicas, ServiceName: name, PodManagementPolicy: appsv1.ParallelPodManagement,
				PersistentVolumeClaimRetentionPolicy: s.ClaimRetention,
			}}
		for _, claim := range s.Claims {
			name, _ := claim.Metadata["name"].(string)
			set.Spec.VolumeClaimTemplates = append(set.Spec.VolumeClaimTemplates, corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: claim.Spec})
		}
		return set
	default:
		d := &appsv1.Deployment{TypeMeta: metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"}, ObjectMeta: m,
			Spec: appsv1.DeploymentSpec{Selector: selector, Template: template, Replicas: replicas}}
		if s.DeploymentUpdateStrategy != nil {
			d.Spec.Strategy = *s.DeploymentUpdateStrategy
		}
		return d
	}
}

func scaled(c *Collector) bool {
	return c.Spec.Autoscaler != nil && c.Spec.Autoscaler.MaxReplicas != nil
}
