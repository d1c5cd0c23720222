package otelconf

import (
	"fmt"
	"strings"

	"github.com/mangru/mangru/internal/rewrite"
)

// podAttributes compiles a k8sattributes processor as far as service discovery
// knows what it asks for.
func (l *loader) podAttributes(c *component) rewrite.Program {
	var body struct {
		AuthType    *node   `conf:"auth_type"`
		Context     *node   `conf:"context"`
		Passthrough bool    `conf:"passthrough"`
		Extract     *node   `conf:"extract"`
		Filter      *node   `conf:"filter"`
		Association []*node `conf:"pod_association"`
		Exclude     *node   `conf:"exclude"`
		Wait        *node   `conf:"wait_for_metadata"`
		WaitTimeout *node   `conf:"wait_for_metadata_timeout"`
		WatchSync   *node   `conf:"watch_sync_period"`
		DeleteGrace *node   `conf:"pod_delete_grace_period"`
	}
	decodeInto(c.body, c.path, &body, &l.problems)
	if body.Passthrough {
		l.at(c.body.get("passthrough").pos, c.path+".passthrough", "is not supported: there is no second collector behind this one")
	}
	if !body.Exclude.isNull() {
		l.at(body.Exclude.pos, c.path+".exclude", "is not supported: drop the pods in the scrape job's relabel_configs")
	}
	l.associations(body.Association, c.path+".pod_association")
	if c.used {
		l.warn(c.pos, c.path, "takes what service discovery knows about a target's pod and asks no API server: only targets of kubernetes_sd_configs with role pod, endpoints or endpointslice have these attributes")
	}
	var extract struct {
		Metadata    []*node `conf:"metadata"`
		Labels      []*node `conf:"labels"`
		Annotations []*node `conf:"annotations"`
		Semantic    *node   `conf:"otel_annotations"`
		FromReplica *node   `conf:"deployment_name_from_replicaset"`
	}
	decodeInto(body.Extract, c.path+".extract", &extract, &l.problems)
	p := rewrite.Pods{
		Labels:      l.podEntries(extract.Labels, c.path+".extract.labels", "labels"),
		Annotations: l.podEntries(extract.Annotations, c.path+".extract.annotations", "annotations"),
	}
	if extract.Metadata == nil {
		p.Fields = []string{"k8s.namespace.name", "k8s.pod.name", "k8s.pod.uid", "k8s.deployment.name", "k8s.node.name"}
	}
	for i, n := range extract.Metadata {
		field := fmt.Sprintf("%s.extract.metadata[%d]", c.path, i)
		if name := nodeText(n); l.oneOf(n, field, name, rewrite.PodFields()) {
			p.Fields = append(p.Fields, name)
		}
	}
	return one(p)
}

// associations checks that a pod is found by what is the target's own.
func (l *loader) associations(items []*node, path string) {
	for i, n := range items {
		field := fmt.Sprintf("%s[%d]", path, i)
		var body struct {
			Sources []*node `conf:"sources"`
			From    *node   `conf:"from"`
			Name    *node   `conf:"name"`
		}
		decodeInto(n, field, &body, &l.problems)
		sources := body.Sources
		if !body.From.isNull() {
			sources = append(sources, n)
		}
		for _, s := range sources {
			var source struct {
				From string `conf:"from"`
				Name string `conf:"name"`
			}
			decodeInto(s, field+".sources", &source, &l.problems)
			if l.oneOf(nodeAt(s, "from"), field+".sources.from", source.From, []string{"resource_attribute", "connection"}) && source.From == "resource_attribute" {
				l.oneOf(nodeAt(s, "name"), field+".sources.name", source.Name, []string{"k8s.pod.ip", "k8s.pod.name", "k8s.pod.uid", "k8s.namespace.name", "service.instance.id", "server.address"})
			}
		}
	}
}

// podEntries reads which labels or annotations become attributes.
func (l *loader) podEntries(items []*node, path, kind string) []rewrite.PodEntry {
	var out []rewrite.PodEntry
	for i, n := range items {
		field := fmt.Sprintf("%s[%d]", path, i)
		var b struct {
			Tag     string `conf:"tag_name"`
			Key     string `conf:"key"`
			Pattern *node  `conf:"key_regex"`
			Regex   *node  `conf:"regex"`
			From    string `conf:"from"`
		}
		decodeInto(n, field, &b, &l.problems)
		for _, key := range []string{"key_regex", "regex"} {
			if e := n.entry(key); e != nil {
				l.at(e.pos, join(field, key), "is not supported: name the key; regular expressions are possible in the scrape job's relabel_configs")
			}
		}
		if b.From != "" && b.From != "pod" {
			l.at(n.get("from").pos, field+".from", "only %s of pods are known to service discovery (supported: pod); those of others are labels of kube-state-metrics", kind)
		}
		if b.Key == "" && b.Pattern.isNull() {
			l.at(n.pos, field+".key", "is missing")
		}
		if b.Tag == "" {
			b.Tag = "k8s.pod." + strings.TrimSuffix(kind, "s") + "." + b.Key
		}
		out = append(out, rewrite.PodEntry{Key: b.Key, Attribute: b.Tag})
	}
	return out
}
