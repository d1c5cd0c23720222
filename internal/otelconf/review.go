package otelconf

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/discovery/kubernetes"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"

	frame "github.com/mangru/mangru/internal/model"
	"github.com/mangru/mangru/internal/rewrite"
)

// review warns about what is valid and will run, but is likely not meant.
func (l *loader) review() {
	if len(l.config.ScrapeConfigs) == 0 && len(l.config.TargetAllocators) == 0 {
		l.warn(l.servicePos, "", "there are no scrape jobs")
	}
	if len(l.config.Endpoints) == 0 && !l.opts.OwnEndpoint {
		l.warn(l.servicePos, "", "there is no remote-write endpoint, so nothing is sent")
	}
	for _, j := range l.jobs {
		if j.raw != nil {
			l.reviewDollars(j)
		}
		l.reviewLabelMaps(j)
		l.reviewPorts(j)
		l.reviewHistograms(j)
	}
	if l.config.Dedupe == DedupeOff {
		l.reviewDuplicates()
	}
	l.reviewCluster()
}

// loneDollar matches a $1 or ${1} whose $ is not doubled.
var loneDollar = regexp.MustCompile(`(?:^|[^$])(?:\$\$)*(\$(?:[0-9]+|\{[0-9]+\}))`)

// reviewDollars mentions group references that other collectors read differently.
func (l *loader) reviewDollars(j job) {
	for _, list := range []string{"relabel_configs", "metric_relabel_configs"} {
		rules := j.raw.get(list)
		if rules == nil {
			continue
		}
		for i, rule := range rules.items {
			for _, key := range []string{"replacement", "target_label"} {
				e := rule.entry(key)
				if e == nil {
					continue
				}
				if m := loneDollar.FindStringSubmatch(e.value.text); m != nil {
					l.warn(e.pos, fmt.Sprintf("%s.%s[%d].%s", j.path, list, i, key),
						"%s is taken for the group of the regular expression; other versions of the collector make it empty or refuse it, $%s works in all", m[1], m[1])
				}
			}
		}
	}
}

// reviewLabelMaps mentions rules that put every label of an object on every series.
func (l *loader) reviewLabelMaps(j job) {
	for i, r := range j.config.RelabelConfigs {
		if r.Action != relabel.LabelMap {
			continue
		}
		pos, path := rulePosition(j, i), fmt.Sprintf("%s.relabel_configs[%d]", j.path, i)
		switch {
		case r.Regex.MatchString("__meta_kubernetes_node_label_mangru_probe_9"):
			l.warn(pos, path, "job %q puts every label of the node on every series; with Karpenter or eksctl those are 20 to 40 labels a series, and each change of one begins all series anew", j.config.JobName)
		case r.Regex.MatchString("__meta_kubernetes_pod_annotation_mangru_probe_9"), r.Regex.MatchString("__meta_kubernetes_service_annotation_mangru_probe_9"):
			if !strings.HasPrefix(r.Replacement, "__") { // such as __param_$1, which is no label of a series
				l.warn(pos, path, "job %q puts every annotation on every series; annotations are long and change often, and each change begins all series anew", j.config.JobName)
			}
		case r.Regex.MatchString("__meta_kubernetes_pod_label_mangru_probe_9"), r.Regex.MatchString("__meta_kubernetes_service_label_mangru_probe_9"):
			l.note(pos, path, "job %q puts every label of the pod or service on every series; each change of one begins all series anew", j.config.JobName)
		}
	}
}

// reviewHistograms mentions native histograms that are scraped and not sent.
func (l *loader) reviewHistograms(j job) {
	if on := j.config.ScrapeNativeHistograms; on == nil || !*on {
		return
	}
	for _, e := range l.config.Endpoints {
		if !e.SendNativeHistograms && (e.Jobs == nil || slices.Contains(e.Jobs, j.config.JobName)) {
			l.warn(j.node.pos, j.path, "job %q scrapes native histograms, which %q does not get: set its send_native_histograms to true", j.config.JobName, e.Name)
		}
	}
}

func rulePosition(j job, i int) position {
	if rules := j.node.get("relabel_configs"); rules != nil && i < len(rules.items) {
		return rules.items[i].pos
	}
	return j.node.pos
}

// knownApps are the programs whose Helm charts put prometheus.io/scrape on their
// Service unless told not to.
var knownApps = []struct{ name, label string }{
	{"kube-state-metrics", "kube-state-metrics"},
	{"node-exporter", "prometheus-node-exporter"},
}

// reviewPorts mentions jobs that scrape kube-state-metrics once for each port: a
// pod of it has one for objects and, in newer charts, one for itself.
func (l *loader) reviewPorts(j job) {
	const app = "kube-state-metrics"
	if keptApp(j.config) != app || !hasRole(j.config, kubernetes.RolePod) {
		return
	}
	for _, r := range j.config.RelabelConfigs {
		if r.TargetLabel == model.AddressLabel || slices.ContainsFunc(r.SourceLabels, func(n model.LabelName) bool {
			return strings.HasPrefix(string(n), "__meta_kubernetes_pod_container_") || n == model.AddressLabel
		}) {
			return
		}
	}
	l.warn(j.node.pos, j.path, "job %q makes a target of every port of a %s pod; keep one by __meta_kubernetes_pod_container_port_name", j.config.JobName, app)
}

// reviewDuplicates mentions pairs of jobs that by their rules scrape the same
// targets, so that every sum over them is too high.
func (l *loader) reviewDuplicates() {
	for i, b := range l.jobs {
		for _, a := range l.jobs[:i] {
			if why := sameTargets(a.config, b.config); why != "" {
				l.warn(b.node.pos, b.path, "jobs %q (%s) and %q scrape the same targets: %s; sums over them count double, so remove one job or set dedupe: first-job-wins", a.config.JobName, a.node.pos, b.config.JobName, why)
			}
		}
	}
}

const (
	serviceScrape = "__meta_kubernetes_service_annotation_prometheus_io_scrape"
	podScrape     = "__meta_kubernetes_pod_annotation_prometheus_io_scrape"
)

// sameTargets says why two jobs have targets in common, as far as their
// configuration shows it, or "".
func sameTargets(a, b *config.ScrapeConfig) string {
	if keeps(a, podScrape, "true") && keeps(b, podScrape, "true") {
		return "both take the pods annotated with prometheus.io/scrape"
	}
	if keeps(a, serviceScrape, "true") && keeps(b, serviceScrape, "true") {
		return "both take the services annotated with prometheus.io/scrape"
	}
	appA, appB := keptApp(a), keptApp(b)
	if appA != "" && appA == appB {
		return "both take the pods of " + appA
	}
	if app := appA + appB; app != "" && (keeps(a, serviceScrape, "true") || keeps(b, serviceScrape, "true")) {
		return "the Helm chart of " + app + " annotates its Service with prometheus.io/scrape"
	}
	if p := nodePath(a); p != "" && p == nodePath(b) {
		return "both take " + p + " of every node"
	}
	if samePage(a, b) && len(a.ServiceDiscoveryConfigs) > 0 && reflect.DeepEqual(a.ServiceDiscoveryConfigs, b.ServiceDiscoveryConfigs) && reflect.DeepEqual(a.RelabelConfigs, b.RelabelConfigs) && sameStatic(a, b) == "" {
		return "both have the same discovery and the same rules"
	}
	return sameStatic(a, b)
}

// keeps is true if the job keeps the targets that have this value in this label.
func keeps(sc *config.ScrapeConfig, label, value string) bool {
	for _, r := range sc.RelabelConfigs {
		if r.Action == relabel.Keep && len(r.SourceLabels) == 1 && string(r.SourceLabels[0]) == label {
			return r.Regex.MatchString(value)
		}
	}
	return false
}

// keptApp names the well-known program that a job is made for.
func keptApp(sc *config.ScrapeConfig) string {
	for _, app := range knownApps {
		for _, label := range []string{"__meta_kubernetes_pod_label_app_kubernetes_io_name", "__meta_kubernetes_service_label_app_kubernetes_io_name"} {
			if keeps(sc, label, app.label) || keeps(sc, label, app.name) {
				return app.name
			}
		}
	}
	return ""
}

func hasRole(sc *config.ScrapeConfig, role kubernetes.Role) bool {
	return slices.ContainsFunc(sc.ServiceDiscoveryConfigs, func(c discovery.Config) bool {
		k, ok := c.(*kubernetes.SDConfig)
		return ok && k.Role == role
	})
}

// nodePath returns the path that a job scrapes of every node, or "" if it takes
// another kind of target or leaves some nodes out.
func nodePath(sc *config.ScrapeConfig) string {
	if !hasRole(sc, kubernetes.RoleNode) {
		return ""
	}
	path := sc.MetricsPath
	for _, r := range sc.RelabelConfigs {
		switch {
		case r.Action == relabel.Keep || r.Action == relabel.Drop || r.Action == relabel.HashMod:
			return ""
		case r.TargetLabel == model.MetricsPathLabel:
			path = r.Replacement
		}
	}
	return path
}

// sameStatic finds a static target that both jobs list and neither relabels.
func sameStatic(a, b *config.ScrapeConfig) string {
	if len(a.RelabelConfigs) > 0 || len(b.RelabelConfigs) > 0 || !samePage(a, b) {
		return ""
	}
	inA := staticAddresses(a)
	for _, address := range staticAddresses(b) {
		if slices.Contains(inA, address) {
			return "both list " + address
		}
	}
	return ""
}

// samePage reports whether two jobs scrape the same page of a target.
func samePage(a, b *config.ScrapeConfig) bool {
	return a.Scheme == b.Scheme && a.MetricsPath == b.MetricsPath && a.Params.Encode() == b.Params.Encode()
}

func staticAddresses(sc *config.ScrapeConfig) []string {
	var out []string
	for _, c := range sc.ServiceDiscoveryConfigs {
		groups, ok := c.(discovery.StaticConfig)
		if !ok {
			continue
		}
		for _, g := range groups {
			for _, t := range g.Targets {
				out = append(out, string(t[model.AddressLabel]))
			}
		}
	}
	return out
}

// reviewCluster mentions that series of a Kubernetes cluster don't say of which.
func (l *loader) reviewCluster() {
	for _, e := range l.config.Endpoints {
		for _, sc := range l.config.ScrapeConfigs {
			inCluster := slices.ContainsFunc(sc.ServiceDiscoveryConfigs, func(c discovery.Config) bool { return c.Name() == "kubernetes" })
			setsLabel := slices.ContainsFunc(sc.RelabelConfigs, func(r *relabel.Config) bool { return r.TargetLabel == clusterLabel })
			if !inCluster || setsLabel || e.Jobs != nil && !slices.Contains(e.Jobs, sc.JobName) || l.sends(sc.JobName, &e, clusterLabel) {
				continue
			}
			pos, known := l.endpointPos[e.Name]
			if i := strings.LastIndexByte(e.Name, '#'); !known && i > 0 {
				pos = l.endpointPos[e.Name[:i]] // a part of an exporter
			}
			l.warn(pos, "", "series sent to %q have no cluster label, so a second cluster in the same workspace cannot be told apart: set external_labels: {cluster: NAME}", e.Name)
			break
		}
	}
}

// clusterLabel is the label by which dashboards and Amazon's de-duplication tell
// clusters apart.
const clusterLabel = "cluster"

// sends reports whether the series of a job have a label when they are sent.
func (l *loader) sends(job string, e *Endpoint, name string) bool {
	b := labels.NewBuilder(labels.FromStrings(model.MetricNameLabel, "up", model.JobLabel, job, model.InstanceLabel, "localhost:80"))
	up := frame.Family{Name: "up", Type: frame.TypeGauge}
	l.config.Programs[job].Apply(b, up)
	rewrite.ExternalLabels{Labels: e.ExternalLabels}.Apply(b, up)
	e.Rewrite.Apply(b, up)
	return b.Get(name) != ""
}
