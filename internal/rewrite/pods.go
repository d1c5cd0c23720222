package rewrite

import (
	"regexp"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/util/strutil"

	"github.com/mangru/mangru/internal/model"
)

// Pods gives the resource attributes that the k8sattributes processor would, as
// far as discovery says them about the target's pod. It asks no API server.
type Pods struct {
	// Fields are keys of PodFields.
	Fields []string
	// Labels and Annotations are the pod's, by the attribute that they become.
	Labels, Annotations []PodEntry
}

// PodEntry names a label or annotation of a pod and the attribute for it.
type PodEntry struct{ Key, Attribute string }

// podFields are the discovery labels for the attributes that can be had.
var podFields = map[string]string{
	"k8s.namespace.name":   metaKubernetes + "namespace",
	"k8s.pod.name":         metaKubernetes + "pod_name",
	"k8s.pod.uid":          metaKubernetes + "pod_uid",
	"k8s.pod.ip":           metaKubernetes + "pod_ip",
	"k8s.node.name":        metaKubernetes + "pod_node_name",
	"k8s.container.name":   metaKubernetes + "pod_container_name",
	"container.image.name": metaKubernetes + "pod_container_image",
	"container.image.tag":  metaKubernetes + "pod_container_image",
	"k8s.deployment.name":  metaPodController + "name",
	"k8s.replicaset.name":  metaPodController + "name",
	"k8s.daemonset.name":   metaPodController + "name",
	"k8s.statefulset.name": metaPodController + "name",
	"k8s.job.name":         metaPodController + "name",
}

// PodFields returns the attributes that Pods can give.
func PodFields() []string { return sortedNames(podFields) }

// ownerKinds are the kinds of owner that the attributes for owners speak of.
var ownerKinds = map[string]string{
	"k8s.deployment.name": "ReplicaSet", "k8s.replicaset.name": "ReplicaSet", "k8s.daemonset.name": "DaemonSet",
	"k8s.statefulset.name": "StatefulSet", "k8s.job.name": "Job",
}

// replicaSetName matches the name of a replica set that a deployment made.
var replicaSetName = regexp.MustCompile(`^(.*)-[0-9a-zA-Z]+$`)

// Apply sets the attributes that the resource does not have yet.
func (p Pods) Apply(b *labels.Builder, _ model.Family) bool {
	resource := attributes{b: b, resource: true}
	add := func(key, value string) {
		if resource.get(key) == "" {
			resource.set(key, value)
		}
	}
	for _, key := range p.Fields {
		add(key, podField(b, key))
	}
	for _, l := range p.Labels {
		add(l.Attribute, b.Get(metaKubernetes+"pod_label_"+strutil.SanitizeLabelName(l.Key)))
	}
	for _, a := range p.Annotations {
		add(a.Attribute, b.Get(metaKubernetes+"pod_annotation_"+strutil.SanitizeLabelName(a.Key)))
	}
	return true
}

func podField(b *labels.Builder, key string) string {
	v := b.Get(podFields[key])
	if kind := ownerKinds[key]; kind != "" && kind != b.Get(metaPodController+"kind") {
		return ""
	}
	switch key {
	case "k8s.deployment.name":
		if m := replicaSetName.FindStringSubmatch(v); m != nil {
			return m[1]
		}
		return ""
	case "container.image.name", "container.image.tag":
		name, tag := splitImage(v)
		if key == "container.image.name" {
			return name
		}
		return tag
	}
	return v
}

// splitImage divides an image's reference at its tag. A colon before the last
// slash belongs to a registry's port.
func splitImage(image string) (name, tag string) {
	image, _, _ = strings.Cut(image, "@")
	if i := strings.LastIndexByte(image, ':'); i > strings.LastIndexByte(image, '/') {
		return image[:i], image[i+1:]
	}
	return image, ""
}

// podReads are the discovery labels that the steps for pods read.
func podReads(steps Program) []string {
	var names []string
	for _, s := range steps {
		p, ok := s.(Pods)
		if !ok {
			continue
		}
		for _, key := range p.Fields {
			names = append(names, podFields[key])
		}
		for _, l := range p.Labels {
			names = append(names, metaKubernetes+"pod_label_"+strutil.SanitizeLabelName(l.Key))
		}
		for _, a := range p.Annotations {
			names = append(names, metaKubernetes+"pod_annotation_"+strutil.SanitizeLabelName(a.Key))
		}
	}
	return names
}

func (Pods) touches() touch  { return writesResource }
func (Pods) names() []string { return nil }

func (p Pods) onResource() Step { return p }

func (p Pods) resourceKeys() []string {
	keys := slices.Clone(p.Fields)
	for _, l := range slices.Concat(p.Labels, p.Annotations) {
		keys = append(keys, l.Attribute)
	}
	return keys
}
