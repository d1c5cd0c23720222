// Package operator runs OpenTelemetryCollector objects: it turns each into the
// workload, configuration, services and rights that the OpenTelemetry operator
// would make of it, with our collector as the default image. It also serves the
// admission and conversion webhooks, puts sidecars into pods, and gives pods the
// AWS credentials of their service account.
package operator

import (
	"encoding/json"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// The kind that is served, in two versions. v1beta1 is the stored one.
const (
	Group        = "opentelemetry.io"
	Kind         = "OpenTelemetryCollector"
	versionBeta  = "v1beta1"
	versionAlpha = "v1alpha1"
)

// GVK is the stored version.
var GVK = schema.GroupVersionKind{Group: Group, Version: versionBeta, Kind: Kind}

// The modes of a collector.
const (
	modeDeployment  = "deployment"
	modeDaemonSet   = "daemonset"
	modeStatefulSet = "statefulset"
	modeSidecar     = "sidecar"
)

// Collector is an OpenTelemetryCollector of version v1beta1.
type Collector struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              Spec   `json:"spec,omitempty"`
	Status            Status `json:"status,omitempty"`
}

// Spec is what a person asks for. Its fields are those of the OpenTelemetry
// operator.
type Spec struct {
	ManagementState string            `json:"managementState,omitempty" enum:"managed,unmanaged" default:"managed"`
	Mode            string            `json:"mode,omitempty" enum:"daemonset,deployment,sidecar,statefulset"`
	UpgradeStrategy string            `json:"upgradeStrategy,omitempty" enum:"automatic,none"`
	Config          Config            `json:"config"`
	ConfigVersions  *int32            `json:"configVersions,omitempty" min:"1" default:"3"`
	Args            map[string]string `json:"args,omitempty"`
	Command         []string          `json:"command,omitempty"`
	Replicas        *int32            `json:"replicas,omitempty"`
	Image           string            `json:"image,omitempty"`
	ImagePullPolicy corev1.PullPolicy `json:"imagePullPolicy,omitempty"`
	ServiceAccount  string            `json:"serviceAccount,omitempty"`
	ServiceName     string            `json:"serviceName,omitempty"`

	Env            []corev1.EnvVar                                         `json:"env,omitempty"`
	EnvFrom        []corev1.EnvFromSource                                  `json:"envFrom,omitempty"`
	Ports          []Port                                                  `json:"ports,omitempty"`
	Resources      corev1.ResourceRequirements                             `json:"resources,omitempty"`
	Volumes        []corev1.Volume                                         `json:"volumes,omitempty"`
	VolumeMounts   []corev1.VolumeMount                                    `json:"volumeMounts,omitempty"`
	ConfigMaps     []MountedConfigMap                                      `json:"configmaps,omitempty"`
	Claims         []Claim                                                 `json:"volumeClaimTemplates,omitempty"`
	ClaimRetention *appsv1.StatefulSetPersistentVolumeClaimRetentionPolicy `json:"persistentVolumeClaimRetentionPolicy,omitempty"`

	NodeSelector                  map[string]string                 `json:"nodeSelector,omitempty"`
	Tolerations                   []corev1.Toleration               `json:"tolerations,omitempty"`
	Affinity                      *corev1.Affinity                  `json:"affinity,omitempty"`
	TopologySpreadConstraints     []corev1.TopologySpreadConstraint `json:"topologySpreadConstraints,omitempty"`
	PodAnnotations                map[string]string                 `json:"podAnnotations,omitempty"`
	SecurityContext               *corev1.SecurityContext           `json:"securityContext,omitempty"`
	PodSecurityContext            *corev1.PodSecurityContext        `json:"podSecurityContext,omitempty"`
	InitContainers                []corev1.Container                `json:"initContainers,omitempty"`
	AdditionalContainers          []corev1.Container                `json:"additionalContainers,omitempty"`
	HostNetwork                   bool                              `json:"hostNetwork,omitempty"`
	HostPID                       bool                              `json:"hostPID,omitempty"`
	ShareProcessNamespace         bool                              `json:"shareProcessNamespace,omitempty"`
	PriorityClassName             string                            `json:"priorityClassName,omitempty"`
	Lifecycle                     *corev1.Lifecycle                 `json:"lifecycle,omitempty"`
	TerminationGracePeriodSeconds *int64                            `json:"terminationGracePeriodSeconds,omitempty"`
	LivenessProbe                 *Probe                            `json:"livenessProbe,omitempty"`
	ReadinessProbe                *Probe                            `json:"readinessProbe,omitempty"`
	StartupProbe                  *Probe                            `json:"startupProbe,omitempty"`
	PodDNSConfig                  *corev1.PodDNSConfig              `json:"podDnsConfig,omitempty"`
	DNSPolicy                     *corev1.DNSPolicy                 `json:"dnsPolicy,omitempty"`
	IPFamilies                    []corev1.IPFamily                 `json:"ipFamilies,omitempty"`
	IPFamilyPolicy                *corev1.IPFamilyPolicy            `json:"ipFamilyPolicy,omitempty"`

	Autoscaler               *Autoscaler                     `json:"autoscaler,omitempty"`
	PodDisruptionBudget      *PodDisruptionBudget            `json:"podDisruptionBudget,omitempty"`
	NetworkPolicy            *NetworkPolicy                  `json:"networkPolicy,omitempty"`
	Ingress                  *Ingress                        `json:"ingress,omitempty"`
	Observability            *Observability                  `json:"observability,omitempty"`
	TargetAllocator          *TargetAllocator                `json:"targetAllocator,omitempty"`
	DaemonSetUpdateStrategy  *appsv1.DaemonSetUpdateStrategy `json:"daemonSetUpdateStrategy,omitempty"`
	DeploymentUpdateStrategy *appsv1.DeploymentStrategy      `json:"deploymentUpdateStrategy,omitempty"`
}

// Config is the collector's configuration, arbitrary below these keys.
type Config struct {
	Receivers  Free    `json:"receivers"`
	Exporters  Free    `json:"exporters"`
	Processors Free    `json:"processors,omitempty"`
	Connectors Free    `json:"connectors,omitempty"`
	Extensions Free    `json:"extensions,omitempty"`
	Service    Service `json:"service"`
}

// Free is arbitrary JSON below an object.
type Free map[string]any

// Service says what of the configuration runs.
type Service struct {
	Extensions []string            `json:"extensions,omitempty"`
	Telemetry  Free                `json:"telemetry,omitempty"`
	Pipelines  map[string]Pipeline `json:"pipelines"`
}

// Pipeline is a path through components.
type Pipeline struct {
	Receivers  []string `json:"receivers"`
	Processors []string `json:"processors,omitempty"`
	Exporters  []string `json:"exporters"`
}

// Port is a port of the collector's Service and container.
type Port struct {
	corev1.ServicePort `json:",inline"`
	HostPort           int32 `json:"hostPort,omitempty"`
}

// MountedConfigMap is a ConfigMap to mount.
type MountedConfigMap struct {
	Name      string `json:"name"`
	MountPath string `json:"mountpath"`
}

// Claim is a claim of a volume for each pod of a stateful set.
type Claim struct {
	Metadata Free                             `json:"metadata,omitempty"`
	Spec     corev1.PersistentVolumeClaimSpec `json:"spec,omitempty"`
}

// Probe is a probe without its handler, which is the collector's health check.
type Probe struct {
	InitialDelaySeconds           *int32 `json:"initialDelaySeconds,omitempty"`
	TimeoutSeconds                *int32 `json:"timeoutSeconds,omitempty"`
	PeriodSeconds                 *int32 `json:"periodSeconds,omitempty"`
	SuccessThreshold              *int32 `json:"successThreshold,omitempty"`
	FailureThreshold              *int32 `json:"failureThreshold,omitempty"`
	TerminationGracePeriodSeconds *int64 `json:"terminationGracePeriodSeconds,omitempty"`
}

// Autoscaler asks for a HorizontalPodAutoscaler.
type Autoscaler struct {
	MinReplicas             *int32                                         `json:"minReplicas,omitempty"`
	MaxReplicas             *int32                                         `json:"maxReplicas,omitempty"`
	Behavior                *autoscalingv2.HorizontalPodAutoscalerBehavior `json:"behavior,omitempty"`
	Metrics                 []Metric                                       `json:"metrics,omitempty"`
	TargetCPUUtilization    *int32                                         `json:"targetCPUUtilization,omitempty"`
	TargetMemoryUtilization *int32                                         `json:"targetMemoryUtilization,omitempty"`
}

// Metric is a pods metric to scale by.
type Metric struct {
	Type autoscalingv2.MetricSourceType  `json:"type"`
	Pods *autoscalingv2.PodsMetricSource `json:"pods,omitempty"`
}

// PodDisruptionBudget asks for one.
type PodDisruptionBudget struct {
	MinAvailable   *intstr.IntOrString `json:"minAvailable,omitempty"`
	MaxUnavailable *intstr.IntOrString `json:"maxUnavailable,omitempty"`
}

// NetworkPolicy asks for one.
type NetworkPolicy struct {
	Enabled *bool `json:"enabled,omitempty"`
}

// Ingress asks for one.
type Ingress struct {
	Type             string                    `json:"type,omitempty" enum:"ingress,route"`
	RuleType         string                    `json:"ruleType,omitempty" enum:"path,subdomain"`
	Hostname         string                    `json:"hostname,omitempty"`
	Annotations      map[string]string         `json:"annotations,omitempty"`
	TLS              []networkingv1.IngressTLS `json:"tls,omitempty"`
	IngressClassName *string                   `json:"ingressClassName,omitempty"`
	Route            Free                      `json:"route,omitempty"`
}

// Observability is about the collector's own metrics.
type Observability struct {
	Metrics *MetricsObservability `json:"metrics,omitempty"`
}

// MetricsObservability is about how they are scraped.
type MetricsObservability struct {
	EnableMetrics                bool              `json:"enableMetrics,omitempty"`
	ExtraLabels                  map[string]string `json:"extraLabels,omitempty"`
	DisablePrometheusAnnotations bool              `json:"disablePrometheusAnnotations,omitempty"`
}

// TargetAllocator asks for targets to be shared; our replicas share them
// among themselves, so enabled needs nothing more.
type TargetAllocator struct {
	Enabled                   bool                              `json:"enabled,omitempty"`
	AllocationStrategy        string                            `json:"allocationStrategy,omitempty" enum:"consistent-hashing,least-weighted,per-node"`
	FilterStrategy            string                            `json:"filterStrategy,omitempty" enum:",relabel-config"`
	Replicas                  *int32                            `json:"replicas,omitempty"`
	Image                     string                            `json:"image,omitempty"`
	ServiceAccount            string                            `json:"serviceAccount,omitempty"`
	NodeSelector              map[string]string                 `json:"nodeSelector,omitempty"`
	Resources                 corev1.ResourceRequirements       `json:"resources,omitempty"`
	PrometheusCR              *PrometheusCR                     `json:"prometheusCR,omitempty"`
	SecurityContext           *corev1.SecurityContext           `json:"securityContext,omitempty"`
	PodSecurityContext        *corev1.PodSecurityContext        `json:"podSecurityContext,omitempty"`
	TopologySpreadConstraints []corev1.TopologySpreadConstraint `json:"topologySpreadConstraints,omitempty"`
	Tolerations               []corev1.Toleration               `json:"tolerations,omitempty"`
	Affinity                  *corev1.Affinity                  `json:"affinity,omitempty"`
	Env                       []corev1.EnvVar                   `json:"env,omitempty"`
	Observability             *Observability                    `json:"observability,omitempty"`
	PodDisruptionBudget       *PodDisruptionBudget              `json:"podDisruptionBudget,omitempty"`
	CollectorNotReadyGrace    *metav1.Duration                  `json:"collectorNotReadyGracePeriod,omitempty"`
}

// PrometheusCR chooses objects of the Prometheus operator.
type PrometheusCR struct {
	Enabled                bool                  `json:"enabled,omitempty"`
	AllowNamespaces        []string              `json:"allowNamespaces,omitempty"`
	DenyNamespaces         []string              `json:"denyNamespaces,omitempty"`
	ScrapeInterval         *metav1.Duration      `json:"scrapeInterval,omitempty"`
	PodMonitorSelector     *metav1.LabelSelector `json:"podMonitorSelector,omitempty"`
	ServiceMonitorSelector *metav1.LabelSelector `json:"serviceMonitorSelector,omitempty"`
	ProbeSelector          *metav1.LabelSelector `json:"probeSelector,omitempty"`
	ScrapeConfigSelector   *metav1.LabelSelector `json:"scrapeConfigSelector,omitempty"`
	ScrapeClasses          []Free                `json:"scrapeClasses,omitempty"`
}

// Status is what is so.
type Status struct {
	Scale              *Scale             `json:"scale,omitempty"`
	Version            string             `json:"version,omitempty"`
	Image              string             `json:"image,omitempty"`
	ObservedGeneration int64              `json:"observedGeneration,omitempty"`
	Conditions         []metav1.Condition `json:"conditions,omitempty"`
}

// Scale serves the scale subresource.
type Scale struct {
	Selector       string `json:"selector,omitempty"`
	Replicas       int32  `json:"replicas,omitempty"`
	StatusReplicas string `json:"statusReplicas,omitempty"`
}

// read decodes an object of the stored version.
func read(u *unstructured.Unstructured) (*Collector, error) {
	text, err := json.Marshal(u.Object)
	if err != nil {
		return nil, err
	}
	c := &Collector{}
	if err := json.Unmarshal(text, c); err != nil {
		return nil, fmt.Errorf("the object cannot be read: %w", err)
	}
	return c, nil
}

// mode returns the mode, defaulted.
func (c *Collector) mode() string {
	if c.Spec.Mode == "" {
		return modeDeployment
	}
	return c.Spec.Mode
}

// replicas returns the wanted number of pods.
func (c *Collector) replicas() int32 {
	n := int32(1)
	if c.Spec.Replicas != nil {
		n = *c.Spec.Replicas
	}
	if a := c.Spec.Autoscaler; a != nil && a.MinReplicas != nil && *a.MinReplicas > n {
		n = *a.MinReplicas
	}
	return n
}

// object returns the reference that events and owners are about.
func (c *Collector) owner() metav1.OwnerReference {
	yes := true
	return metav1.OwnerReference{APIVersion: GVK.GroupVersion().String(), Kind: Kind, Name: c.Name, UID: c.UID, Controller: &yes, BlockOwnerDeletion: &yes}
}
