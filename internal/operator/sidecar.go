package operator

import (
	"context"
	"fmt"
	"strings"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	injectKey   = "sidecar.opentelemetry.io/inject"
	injectedKey = "sidecar.opentelemetry.io/injected"
)

// wantedSidecar says what the annotations of a pod and its namespace ask for
// together: "", "true", "false", NAME or NAMESPACE/NAME.
func wantedSidecar(pod, namespace string) string {
	switch {
	case namespace == "":
		return pod
	case pod == "":
		return namespace
	case !strings.EqualFold(pod, "true"):
		return pod
	case strings.EqualFold(namespace, "false"):
		return pod
	}
	return namespace
}

// sidecars puts a collector into a pod that asks for one. Whatever goes wrong,
// the pod starts: without its sidecar.
func (w *webhooks) sidecars(ctx context.Context, req *admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse {
	pod, err := podOf(req)
	if err != nil {
		return allowed()
	}
	ns := &corev1.Namespace{}
	if err := w.objects.Get(ctx, client.ObjectKey{Name: pod.Namespace}, ns); err != nil {
		w.log("the pod starts without a look at its namespace", "namespace", pod.Namespace, "err", err)
	}
	wanted := wantedSidecar(pod.Annotations[injectKey], ns.Annotations[injectKey])
	switch {
	case wanted == "":
		return allowed()
	case strings.EqualFold(wanted, "false"):
		if !removeSidecar(pod) {
			return allowed()
		}
		return changed(req.Object.Raw, pod)
	case hasSidecar(pod):
		return allowed()
	}
	c, err := w.chooseSidecar(ctx, pod.Namespace, wanted)
	if err == nil {
		err = w.render.inject(pod, c)
	}
	if err != nil {
		w.log("the pod starts without a sidecar", "namespace", pod.Namespace, "pod", pod.Name+pod.GenerateName, "err", err)
		return allowed("no sidecar: " + err.Error())
	}
	return changed(req.Object.Raw, pod)
}

func hasSidecar(p *corev1.Pod) bool {
	for i := range p.Spec.Containers {
		if p.Spec.Containers[i].Name == containerName {
			return true
		}
	}
	for i := range p.Spec.InitContainers {
		if p.Spec.InitContainers[i].Name == containerName {
			return true
		}
	}
	return false
}

func removeSidecar(p *corev1.Pod) bool {
	if p.Labels[injectedKey] == "" || !hasSidecar(p) {
		return false
	}
	without := func(in []corev1.Container) (out []corev1.Container) {
		for _, k := range in {
			if k.Name != containerName {
				out = append(out, k)
			}
		}
		return out
	}
	p.Spec.Containers, p.Spec.InitContainers = without(p.Spec.Containers), without(p.Spec.InitContainers)
	delete(p.Labels, injectedKey)
	return true
}

// chooseSidecar finds the collector that is meant.
func (w *webhooks) chooseSidecar(ctx context.Context, namespace, wanted string) (*Collector, error) {
	if !strings.EqualFold(wanted, "true") {
		name := wanted
		if ns, rest, ok := strings.Cut(wanted, "/"); ok {
			namespace, name = ns, rest
		}
		u := &unstructured.Unstructured{}
		u.SetGroupVersionKind(GVK)
		if err := w.objects.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, u); err != nil {
			return nil, fmt.Errorf("collector %s/%s: %w", namespace, name, err)
		}
		c, err := read(u)
		if err != nil {
			return nil, err
		}
		if c.mode() != modeSidecar {
			return nil, fmt.Errorf("collector %s/%s has mode %s, not sidecar", namespace, name, c.mode())
		}
		return c, nil
	}
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(GVK.GroupVersion().WithKind(Kind + "List"))
	if err := w.objects.List(ctx, list, client.InNamespace(namespace)); err != nil {
		return nil, fmt.Errorf("list the collectors of namespace %s: %w", namespace, err)
	}
	var found *Collector
	for i := range list.Items {
		c, err := read(&list.Items[i])
		if err != nil || c.mode() != modeSidecar {
			continue
		}
		if found != nil {
			return nil, fmt.Errorf("namespace %s has several collectors of mode sidecar, such as %s and %s: name one in the annotation %s", namespace, found.Name, c.Name, injectKey)
		}
		found = c
	}
	if found == nil {
		return nil, fmt.Errorf("namespace %s has no collector of mode sidecar", namespace)
	}
	return found, nil
}

// inject adds the sidecar, as an init container that keeps running, so that it
// starts before the others and ends after them.
func (r renderer) inject(p *corev1.Pod, c *Collector) error {
	text, err := configText(c)
	if err != nil {
		return err
	}
	k := r.container(c)
	k.Args = args(c, "env:OTEL_CONFIG")
	k.Env = append(k.Env, corev1.EnvVar{Name: "OTEL_CONFIG", Value: text})
	k.Env = append(k.Env, resourceAttributes(p)...)
	k.ReadinessProbe = nil // the pod's readiness is its own business
	always := corev1.ContainerRestartPolicyAlways
	k.RestartPolicy = &always
	copyCredentials(p, &k)
	p.Spec.InitContainers = append(append([]corev1.Container{}, c.Spec.InitContainers...), append(p.Spec.InitContainers, k)...)
	p.Spec.Volumes = append(p.Spec.Volumes, c.Spec.Volumes...)
	if p.Labels == nil {
		p.Labels = map[string]string{}
	}
	p.Labels[injectedKey] = truncate(c.Namespace + "." + c.Name)
	return nil
}

// resourceAttributes tell the collector whose sidecar it is.
func resourceAttributes(p *corev1.Pod) []corev1.EnvVar {
	env := []corev1.EnvVar{
		fieldEnv("OTEL_RESOURCE_ATTRIBUTES_POD_NAME", "metadata.name"), fieldEnv("OTEL_RESOURCE_ATTRIBUTES_POD_UID", "metadata.uid"),
		fieldEnv("OTEL_RESOURCE_ATTRIBUTES_NODE_NAME", "spec.nodeName"),
	}
	return append(env, corev1.EnvVar{Name: "OTEL_RESOURCE_ATTRIBUTES", Value: "k8s.namespace.name=" + p.Namespace +
		",k8s.node.name=$(OTEL_RESOURCE_ATTRIBUTES_NODE_NAME),k8s.pod.name=$(OTEL_RESOURCE_ATTRIBUTES_POD_NAME),k8s.pod.uid=$(OTEL_RESOURCE_ATTRIBUTES_POD_UID)"})
}

// copyCredentials gives a container what another webhook has given the pod's
// other containers already.
func copyCredentials(p *corev1.Pod, k *corev1.Container) {
	for i := range p.Spec.Containers {
		from := &p.Spec.Containers[i]
		for _, e := range from.Env {
			if strings.HasPrefix(e.Name, "AWS_") && !hasEnv(k.Env, e.Name) {
				k.Env = append(k.Env, e)
			}
		}
		for _, m := range from.VolumeMounts {
			if (m.Name == roleVolume || m.Name == podVolume) && !hasMount(k, m.Name) {
				k.VolumeMounts = append(k.VolumeMounts, m)
			}
		}
	}
}

func hasMount(k *corev1.Container, volume string) bool {
	for _, m := range k.VolumeMounts {
		if m.Name == volume {
			return true
		}
	}
	return false
}
