package scrape

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
)

// nodePage is a page like those of kubelets: families with comments, histograms.
func nodePage(families int, rnd *rand.Rand) string {
	var b strings.Builder
	for i := range families {
		fmt.Fprintf(&b, "# HELP storage_operation_%d_duration_seconds [ALPHA] Storage operation duration\n# TYPE storage_operation_%d_duration_seconds histogram\n", i, i)
		for _, plugin := range []string{"kubernetes.io/configmap", "kubernetes.io/projected"} {
			for _, le := range []string{"0.1", "0.25", "0.5", "1", "2.5", "5", "10", "15", "25", "50", "120", "300", "600", "+Inf"} {
				fmt.Fprintf(&b, "storage_operation_%d_duration_seconds_bucket{migrated=\"false\",operation_name=\"verify_volume\",status=\"success\",volume_plugin=%q,le=%q} %d\n", i, plugin, le, rnd.IntN(1e5))
			}
			fmt.Fprintf(&b, "storage_operation_%d_duration_seconds_sum{migrated=\"false\",operation_name=\"verify_volume\",status=\"success\",volume_plugin=%q} %v\n", i, plugin, rnd.Float64()*1e4)
			fmt.Fprintf(&b, "storage_operation_%d_duration_seconds_count{migrated=\"false\",operation_name=\"verify_volume\",status=\"success\",volume_plugin=%q} %d\n", i, plugin, rnd.IntN(1e5))
		}
	}
	return b.String()
}

// BenchmarkFirstPage is the cost of meeting a target, and what it leaves in memory.
func BenchmarkFirstPage(b *testing.B) {
	sp := testSpec(b)
	pg := &page{wire: []byte(nodePage(150, rand.New(rand.NewPCG(1, 1)))), contentType: textType}
	const series = 150 * 32
	b.ReportAllocs()
	before := cpuTime()
	for b.Loop() {
		passPage(newCache(1, 1, "j"), sp, 1, pg)
	}
	b.ReportMetric(float64(cpuTime()-before)/float64(b.N)/series, "cpu-ns/series")
	var m0, m1 runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m0)
	var keep []*cache
	for i := range 20 {
		c := newCache(uint64(i), 1, "j")
		for n := range 6 {
			passPage(c, sp, int64(n), pg)
		}
		keep = append(keep, c)
	}
	runtime.GC()
	runtime.ReadMemStats(&m1)
	b.ReportMetric(float64(m1.HeapAlloc-m0.HeapAlloc)/20/series, "B/series")
	runtime.KeepAlive(keep)
}
