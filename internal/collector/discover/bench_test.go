package discover

import (
	"fmt"
	"log/slog"
	"runtime"
	"testing"

	commonmodel "github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/targetgroup"

	"github.com/mangru/mangru/internal/collector/discover/members"
)

// podGroups are n pods as the Kubernetes service discovery shows them, of which
// every one in of asks to be scraped.
func podGroups(n, of int) []*targetgroup.Group {
	groups := make([]*targetgroup.Group, 0, n)
	for i := range n {
		g := &targetgroup.Group{Source: fmt.Sprintf("pod/shop/pod-%d", i), Labels: commonmodel.LabelSet{
			"__meta_kubernetes_namespace": "shop", "__meta_kubernetes_pod_name": commonmodel.LabelValue(fmt.Sprintf("pod-%d", i)),
			"__meta_kubernetes_pod_node_name": commonmodel.LabelValue(fmt.Sprintf("node-%d", i%50)), "__meta_kubernetes_pod_phase": "Running",
			"__meta_kubernetes_pod_ready": "true", "__meta_kubernetes_pod_controller_kind": "ReplicaSet",
		}}
		for k := range 10 {
			name := fmt.Sprintf("label_%d", k)
			g.Labels[commonmodel.LabelName("__meta_kubernetes_pod_label_"+name)] = commonmodel.LabelValue(fmt.Sprintf("value-%d", (i+k)%97))
			g.Labels[commonmodel.LabelName("__meta_kubernetes_pod_labelpresent_"+name)] = "true"
		}
		if i%of == 0 {
			g.Labels["__meta_kubernetes_pod_annotation_prometheus_io_scrape"] = "true"
		}
		g.Targets = []commonmodel.LabelSet{{
			"__address__":                               commonmodel.LabelValue(fmt.Sprintf("10.%d.%d.%d:8080", i>>16, i>>8&255, i&255)),
			"__meta_kubernetes_pod_container_name":      "app",
			"__meta_kubernetes_pod_container_port_name": "http",
		}}
		groups = append(groups, g)
	}
	return groups
}

const podsJob = `
scrape_configs:
- job_name: kubernetes-pods
  static_configs: []
  relabel_configs:
  - {source_labels: [__meta_kubernetes_pod_annotation_prometheus_io_scrape], action: keep, regex: true}
  - {action: labelmap, regex: __meta_kubernetes_pod_label_(.+)}
  - {source_labels: [__meta_kubernetes_namespace], target_label: kubernetes_namespace}
  - {source_labels: [__meta_kubernetes_pod_name], target_label: kubernetes_pod_name}
  - {source_labels: [__meta_kubernetes_pod_phase], regex: Pending|Succeeded|Failed, action: drop}
`

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkTargets says what is kept of a target beside what its discovery
// keeps, and what a list costs when all is known.
//
//	go test -run - -bench Targets -benchtime 20x ./internal/collector/discover
func BenchmarkTargets(b *testing.B) {
	const pods = 10_000
	for _, bb := range []struct {
		name  string
		of    int // one pod in so many is scraped
		ring  *members.Ring
		named string
	}{
		{"scraped=all/replicas=1", 1, nil, ""},
		{"scraped=all/replicas=4", 1, members.Fixed("a", "b", "c", "d"), "a"},
		{"scraped=tenth/replicas=1", 10, nil, ""},
	} {
		b.Run(bb.name, func(b *testing.B) {
			cfg, err := config.Load(podsJob, slog.New(slog.DiscardHandler))
			if err != nil {
				b.Fatal(err)
			}
			list, err := cfg.GetScrapeConfigs()
			if err != nil {
				b.Fatal(err)
			}
			groups := podGroups(pods, bb.of)
			before := heap()
			j := &jobTargets{cfg: list[0]}
			var job Job
			round := func() {
				first, lists := j.find(groups)
				jobs, all := []Job{first}, [][]found{lists}
				duplicates(jobs, all, false)
				jobs[0].found = all[0]
				s := share{ring: bb.ring, self: bb.named, all: bb.ring == nil}
				s.divide(&jobs[0])
				job = jobs[0]
			}
			round()
			kept := heap() - before
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				round()
			}
			b.ReportMetric(float64(kept)/pods, "B/pod")
			b.ReportMetric(float64(len(job.Targets)), "targets")
			runtime.KeepAlive(groups)
			runtime.KeepAlive(job)
		})
	}
}
