package operator

import (
	"maps"
	"slices"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// services are the one for the collector's own metrics, and, where something
// listens, one with an address and one without.
func (r renderer) services(c *Collector) (out []runtime.Object) {
	service := func(name, kind string, ports []corev1.ServicePort) *corev1.Service {
		s := &corev1.Service{
			TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Service"}, ObjectMeta: r.meta(c, name),
			Spec: corev1.ServiceSpec{Selector: selectorOf(c), Ports: ports, IPFamilies: c.Spec.IPFamilies, IPFamilyPolicy: c.Spec.IPFamilyPolicy},
		}
		s.Labels[labelService] = kind
		return s
	}
	if ports := servicePorts(c); len(ports) > 0 {
		normal := service(base(c), "base", ports)
		if c.mode() == modeDaemonSet {
			local := corev1.ServiceInternalTrafficPolicyLocal
			normal.Spec.InternalTrafficPolicy = &local
		}
		headless := service(base(c)+"-headless", "headless", ports)
		headless.Labels["operator.opentelemetry.io/collector-headless-service"] = "Exists"
		headless.Spec.ClusterIP = corev1.ClusterIPNone
		out = append(out, normal, headless)
	}
	if port := ownMetricsPort(c); port > 0 {
		s := service(base(c)+"-monitoring", "monitoring", []corev1.ServicePort{{Name: "monitoring", Port: port, TargetPort: intstr.FromInt32(port), Protocol: corev1.ProtocolTCP}})
		s.Labels["operator.opentelemetry.io/collector-monitoring-service"] = "Exists"
		out = append(out, s)
	}
	if port, _, ok := healthCheck(c); ok {
		out = append(out, service(base(c)+"-extension", "extension", []corev1.ServicePort{{Name: "health-check", Port: port, TargetPort: intstr.FromInt32(port), Protocol: corev1.ProtocolTCP}}))
	}
	return out
}

// around are the objects that guard and scale the workload.
func (r renderer) around(c *Collector) (out []runtime.Object) {
	selector := metav1.LabelSelector{MatchLabels: selectorOf(c)}
	if c.mode() != modeDaemonSet {
		budget := policyv1.PodDisruptionBudgetSpec{Selector: &selector}
		if b := c.Spec.PodDisruptionBudget; b != nil {
			budget.MinAvailable, budget.MaxUnavailable = b.MinAvailable, b.MaxUnavailable
		}
		if budget.MinAvailable == nil && budget.MaxUnavailable == nil {
			one := intstr.FromInt32(1)
			budget.MaxUnavailable = &one
		}
		out = append(out, &policyv1.PodDisruptionBudget{TypeMeta: metav1.TypeMeta{APIVersion: "policy/v1", Kind: "PodDisruptionBudget"}, ObjectMeta: r.meta(c, base(c)), Spec: budget})
		if scaled(c) {
			out = append(out, r.autoscaler(c))
		}
	}
	if n := c.Spec.NetworkPolicy; n == nil || n.Enabled == nil || *n.Enabled {
		var ports []networkingv1.NetworkPolicyPort
		for _, p := range containerPorts(c) {
			number, protocol := intstr.FromInt32(p.ContainerPort), p.Protocol
			ports = append(ports, networkingv1.NetworkPolicyPort{Protocol: &protocol, Port: &number})
		}
		if port, _, ok := healthCheck(c); ok {
			number, tcp := intstr.FromInt32(port), corev1.ProtocolTCP
			ports = append(ports, networkingv1.NetworkPolicyPort{Protocol: &tcp, Port: &number})
		}
		policy := networkingv1.NetworkPolicySpec{PodSelector: selector, PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress}}
		if len(ports) > 0 {
			policy.Ingress = []networkingv1.NetworkPolicyIngressRule{{Ports: ports}}
		}
		out = append(out, &networkingv1.NetworkPolicy{TypeMeta: metav1.TypeMeta{APIVersion: "networking.k8s.io/v1", Kind: "NetworkPolicy"}, ObjectMeta: r.meta(c, base(c)+"-networkpolicy"), Spec: policy})
	}
	if i := c.Spec.Ingress; i != nil && i.Type == "ingress" {
		if o := r.ingress(c, i); o != nil {
			out = append(out, o)
		}
	}
	return out
}

func (r renderer) autoscaler(c *Collector) runtime.Object {
	a := c.Spec.Autoscaler
	kind := "Deployment"
	if c.mode() == modeStatefulSet {
		kind = "StatefulSet"
	}
	h := &autoscalingv2.HorizontalPodAutoscaler{
		TypeMeta: metav1.TypeMeta{APIVersion: "autoscaling/v2", Kind: "HorizontalPodAutoscaler"}, ObjectMeta: r.meta(c, base(c)),
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: kind, Name: base(c)},
			MinReplicas:    a.MinReplicas, MaxReplicas: *a.MaxReplicas, Behavior: a.Behavior,
		},
	}
	if h.Spec.MinReplicas == nil {
		n := c.replicas()
		h.Spec.MinReplicas = &n
	}
	cpu := a.TargetCPUUtilization
	if cpu == nil && a.TargetMemoryUtilization == nil && len(a.Metrics) == 0 {
		n := int32(90)
		cpu = &n
	}
	for _, m := range []struct {
		name   corev1.ResourceName
		target *int32
	}{{corev1.ResourceMemory, a.TargetMemoryUtilization}, {corev1.ResourceCPU, cpu}} {
		if m.target != nil {
			h.Spec.Metrics = append(h.Spec.Metrics, autoscalingv2.MetricSpec{Type: autoscalingv2.ResourceMetricSourceType, Resource: &autoscalingv2.ResourceMetricSource{
				Name: m.name, Target: autoscalingv2.MetricTarget{Type: autoscalingv2.UtilizationMetricType, AverageUtilization: m.target},
			}})
		}
	}
	for _, m := range a.Metrics {
		h.Spec.Metrics = append(h.Spec.Metrics, autoscalingv2.MetricSpec{Type: m.Type, Pods: m.Pods})
	}
	return h
}

func (r renderer) ingress(c *Collector, i *Ingress) runtime.Object {
	ports := servicePorts(c)
	if len(ports) == 0 {
		return nil
	}
	o := &networkingv1.Ingress{TypeMeta: metav1.TypeMeta{APIVersion: "networking.k8s.io/v1", Kind: "Ingress"}, ObjectMeta: r.meta(c, c.Name+"-ingress")}
	if len(i.Annotations) > 0 {
		o.Annotations = maps.Clone(i.Annotations)
	}
	o.Spec.TLS, o.Spec.IngressClassName = i.TLS, i.IngressClassName
	prefix := networkingv1.PathTypePrefix
	backend := func(p corev1.ServicePort) networkingv1.IngressBackend {
		return networkingv1.IngressBackend{Service: &networkingv1.IngressServiceBackend{Name: base(c), Port: networkingv1.ServiceBackendPort{Name: p.Name}}}
	}
	if i.RuleType == "subdomain" {
		for _, p := range ports {
			host := i.Hostname
			if host == "" {
				host = "*"
			}
			o.Spec.Rules = append(o.Spec.Rules, networkingv1.IngressRule{Host: p.Name + "." + host, IngressRuleValue: networkingv1.IngressRuleValue{
				HTTP: &networkingv1.HTTPIngressRuleValue{Paths: []networkingv1.HTTPIngressPath{{Path: "/", PathType: &prefix, Backend: backend(p)}}}}})
		}
		return o
	}
	rule := networkingv1.IngressRule{Host: i.Hostname, IngressRuleValue: networkingv1.IngressRuleValue{HTTP: &networkingv1.HTTPIngressRuleValue{}}}
	for _, p := range ports {
		path := "/" + p.Name
		if len(ports) == 1 {
			path = "/"
		}
		rule.HTTP.Paths = append(rule.HTTP.Paths, networkingv1.HTTPIngressPath{Path: path, PathType: &prefix, Backend: backend(p)})
	}
	o.Spec.Rules = []networkingv1.IngressRule{rule}
	return o
}

// discoveryRights are what a discovery of Kubernetes needs to see, by its role.
var discoveryRights = map[string]rbacv1.PolicyRule{
	"node":          {APIGroups: []string{""}, Resources: []string{"nodes"}},
	"pod":           {APIGroups: []string{""}, Resources: []string{"pods"}},
	"service":       {APIGroups: []string{""}, Resources: []string{"services"}},
	"endpoints":     {APIGroups: []string{""}, Resources: []string{"endpoints", "pods", "services"}},
	"endpointslice": {APIGroups: []string{"discovery.k8s.io"}, Resources: []string{"endpointslices"}},
	"ingress":       {APIGroups: []string{"networking.k8s.io"}, Resources: []string{"ingresses"}},
}

// rights are the ClusterRole that the configuration's discoveries need, and the
// pods, among which replicas share their targets.
func (r renderer) rights(c *Collector) []runtime.Object {
	roles := map[string]bool{}
	for _, receiver := range c.Spec.Config.Receivers {
		findRoles(receiver, roles)
	}
	if len(roles) == 0 {
		return nil
	}
	roles["pod"] = true
	if roles["endpointslice"] {
		roles["service"] = true
	}
	var rules []rbacv1.PolicyRule
	for _, role := range slices.Sorted(maps.Keys(roles)) {
		if rule, ok := discoveryRights[role]; ok {
			rule.Verbs = []string{"get", "list", "watch"}
			rules = append(rules, rule)
		}
	}
	if roles["node"] {
		rules = append(rules, rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"nodes/metrics", "nodes/proxy"}, Verbs: []string{"get"}})
	}
	rules = append(rules, rbacv1.PolicyRule{NonResourceURLs: []string{"/metrics"}, Verbs: []string{"get"}})
	role, binding := rightsNames(c)
	meta := func(name string) metav1.ObjectMeta {
		m := r.meta(c, name)
		m.Namespace, m.OwnerReferences = "", nil // it has no namespace, so what has one cannot own it
		return m
	}
	return []runtime.Object{
		&rbacv1.ClusterRole{TypeMeta: metav1.TypeMeta{APIVersion: "rbac.authorization.k8s.io/v1", Kind: "ClusterRole"}, ObjectMeta: meta(role), Rules: rules},
		&rbacv1.ClusterRoleBinding{
			TypeMeta: metav1.TypeMeta{APIVersion: "rbac.authorization.k8s.io/v1", Kind: "ClusterRoleBinding"}, ObjectMeta: meta(binding),
			RoleRef:  rbacv1.RoleRef{APIGroup: "rbac.authorization.k8s.io", Kind: "ClusterRole", Name: role},
			Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Name: base(c), Namespace: c.Namespace}},
		},
	}
}

func rightsNames(c *Collector) (role, binding string) {
	return c.Name + "-" + c.Namespace + "-cluster-role", c.Name + "-" + c.Namespace + "-collector"
}

// findRoles finds every role of a discovery of Kubernetes below a value.
func findRoles(v any, roles map[string]bool) {
	switch v := v.(type) {
	case map[string]any:
		for key, sub := range v {
			if list, ok := sub.([]any); ok && key == "kubernetes_sd_configs" {
				for _, e := range list {
					if role, ok := dig(e, "role"); ok {
						if text, ok := role.(string); ok {
							roles[text] = true
						}
					}
				}
				continue
			}
			findRoles(sub, roles)
		}
	case []any:
		for _, sub := range v {
			findRoles(sub, roles)
		}
	}
}
