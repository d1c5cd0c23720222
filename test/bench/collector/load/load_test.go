package load

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/test/bench/collector/recording"
)

var start = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

// loadOnce keeps the recordings for all tests, none of which changes them.
var loadOnce = sync.OnceValues(func() (map[string]*recording.Recording, error) {
	return recording.Load(os.DirFS("../testdata"), Jobs())
})

func recordings(t testing.TB) map[string]*recording.Recording {
	t.Helper()
	recs, err := loadOnce()
	require.NoError(t, err)
	return recs
}

func cluster(t testing.TB, shape Shape) *Cluster {
	t.Helper()
	if shape.Interval == 0 {
		shape.Interval = RecordedInterval
	}
	c, err := New(shape, recordings(t), start)
	require.NoError(t, err)
	return c
}

// sample is a parsed line.
type sample struct {
	value float64
	stamp int64 // 0 if there is none
}

// parse reads a page as Prometheus does; a series that is there twice fails.
func parse(t testing.TB, page []byte) map[string]sample {
	t.Helper()
	p := textparse.NewPromParser(page, labels.NewSymbolTable(), false)
	all := map[string]sample{}
	for {
		entry, err := p.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		require.NoError(t, err)
		if entry != textparse.EntrySeries {
			continue
		}
		var ls labels.Labels
		p.Labels(&ls)
		_, stamp, v := p.Series()
		s := sample{value: v}
		if stamp != nil {
			s.stamp = *stamp
		}
		key := ls.String()
		if _, twice := all[key]; twice {
			require.Fail(t, "series twice", key)
		}
		all[key] = s
	}
}

// TestPagesAreWhatTheyCount checks every page of a small cluster over some
// scrapes with Prometheus' own parser: no series twice, as many as counted, and
// fresh ones exactly those whose timestamp moved.
func TestPagesAreWhatTheyCount(t *testing.T) {
	c := cluster(t, Shape{Nodes: 2, PodsPerNode: 40, APIServers: 1, Apps: 2, Churn: 0.01, Seed: 1})
	for _, target := range c.Targets() {
		before := map[string]sample{}
		for scrape := range 5 {
			page, count := target.Page.Render(nil, start.Add(time.Duration(scrape)*RecordedInterval))
			now := parse(t, page)
			require.Len(t, now, count.Lines, "%s, scrape %d", target.Job, scrape)
			fresh := 0
			for key, s := range now {
				if old, known := before[key]; !known || s.stamp == 0 || s.stamp != old.stamp {
					fresh++
				}
			}
			require.Equal(t, fresh, count.Fresh, "%s, scrape %d", target.Job, scrape)
			before = now
		}
	}
}

// TestPagesMoveAsRecorded compares how many values differ from one scrape to the
// next with the recording itself, and that counters never go back.
func TestPagesMoveAsRecorded(t *testing.T) {
	recs := recordings(t)
	c := cluster(t, Shape{Nodes: 1, PodsPerNode: 32, Seed: 1})
	for _, target := range c.Targets() {
		recorded, of := 0, 0
		for _, f := range recs[target.Job].Families {
			for _, s := range f.Series {
				for i := 1; i < len(s.Values); i++ {
					of++
					if s.Values[i] != s.Values[i-1] {
						recorded++
					}
				}
			}
		}
		want := float64(recorded) / float64(of)
		changed, seen := 0, 0
		var before map[string]sample
		var counters []string
		for scrape := range 25 {
			page, _ := target.Page.Render(nil, start.Add(time.Duration(scrape)*RecordedInterval))
			now := parse(t, page)
			if scrape == 0 {
				counters = certainCounters(now)
			}
			for key, s := range now {
				if old, known := before[key]; known && s.stamp != old.stamp || known && s.stamp == 0 {
					seen++
					if s.value != old.value {
						changed++
					}
				}
			}
			for _, key := range counters {
				if old, known := before[key]; known {
					require.False(t, now[key].value < old.value, key)
				}
			}
			before = now
		}
		require.InDelta(t, want, float64(changed)/float64(seen), 0.05, target.Job)
	}
}

// certainCounters are the series of which everybody knows that they only grow.
func certainCounters(page map[string]sample) []string {
	var all []string
	for key := range page {
		if strings.Contains(key, `__name__="node_cpu_seconds_total"`) || strings.Contains(key, `__name__="container_cpu_usage_seconds_total"`) ||
			strings.Contains(key, `__name__="apiserver_request_total"`) {
			all = append(all, key)
		}
	}
	return all
}

func TestIdentities(t *testing.T) {
	c := cluster(t, Shape{Nodes: 3, PodsPerNode: 7, Seed: 1})
	pages := map[string][]byte{}
	for _, target := range c.Targets() {
		pages[target.Job+" "+target.Node], _ = target.Page.Render(nil, start)
	}
	ksm := parse(t, pages[JobKubeStateMetrics+" "+NodeName(0)])
	known := map[string]bool{} // pod and uid
	for key := range ksm {
		if strings.Contains(key, `__name__="kube_pod_info"`) {
			known[value(key, "pod")+" "+value(key, "uid")] = true
		}
	}
	require.Len(t, known, 21)
	found := map[string]bool{}
	for node := range 3 {
		for key := range parse(t, pages[JobCAdvisor+" "+NodeName(node)]) {
			id := value(key, "id")
			if pod := value(key, "pod"); pod != "" {
				uid := id[strings.Index(id, "/pod")+len("/pod"):]
				found[pod+" "+uid[:36]] = true
			}
		}
		for name, page := range pages {
			if strings.HasSuffix(name, NodeName(node)) {
				require.NotContains(t, string(page), RecordedNode, name)
			}
		}
	}
	require.Equal(t, known, found, "kube-state-metrics and cAdvisor know the same pods")
}

func value(series, label string) string {
	_, rest, _ := strings.Cut(series, label+`="`)
	v, _, _ := strings.Cut(rest, `"`)
	return v
}

// TestChurn lets a hundred intervals pass: about as many pods as asked for are
// new, and both pages that tell of them agree.
func TestChurn(t *testing.T) {
	c := cluster(t, Shape{Nodes: 1, PodsPerNode: 100, Churn: 0.001, Seed: 1})
	names := func(now time.Time) map[string]bool {
		var lists []map[string]bool
		for _, target := range c.Targets() {
			if target.Job != JobCAdvisor && target.Job != JobKubeStateMetrics {
				continue
			}
			page, _ := target.Page.Render(nil, now)
			pods := map[string]bool{}
			for key := range parse(t, page) {
				if pod := value(key, "pod"); pod != "" {
					pods[pod] = true
				}
			}
			lists = append(lists, pods)
		}
		require.Equal(t, lists[0], lists[1])
		return lists[0]
	}
	before, after := names(start), names(start.Add(100*RecordedInterval))
	require.Len(t, before, 100)
	require.Len(t, after, 100)
	gone := 0
	for pod := range before {
		if !after[pod] {
			gone++
		}
	}
	require.InDelta(t, 10, gone, 5)
}

func TestSeedDecides(t *testing.T) {
	render := func(seed uint64) []byte {
		var all []byte
		for _, target := range cluster(t, Shape{Nodes: 1, PodsPerNode: 3, Seed: seed}).Targets() {
			for scrape := range 2 {
				all, _ = target.Page.Render(all, start.Add(time.Duration(scrape)*RecordedInterval))
			}
		}
		return all
	}
	require.True(t, bytes.Equal(render(1), render(1)))
	require.False(t, bytes.Equal(render(1), render(2)))
}

// TestOrder: kube-state-metrics has another order at every scrape, the others
// keep theirs.
func TestOrder(t *testing.T) {
	c := cluster(t, Shape{Nodes: 2, PodsPerNode: 10, Seed: 1})
	for _, target := range c.Targets() {
		var orders [2][]string
		for scrape := range orders {
			page, _ := target.Page.Render(nil, start)
			for line := range strings.Lines(string(page)) {
				name, _, _ := strings.Cut(line, "} ")
				orders[scrape] = append(orders[scrape], strings.Split(name, " ")[0])
			}
		}
		same := fmt.Sprint(orders[0]) == fmt.Sprint(orders[1])
		require.Equal(t, target.Job != JobKubeStateMetrics, same, target.Job)
		slices.Sort(orders[0])
		slices.Sort(orders[1])
		require.Equal(t, orders[0], orders[1], target.Job)
	}
}

func TestMotion(t *testing.T) {
	for _, tt := range []struct {
		name, metricType string
		recorded, want   []string
	}{
		{"counter goes on by the recorded steps", "counter", []string{"1", "3", "3", "4"}, []string{"1", "3", "3", "4", "6", "6", "7"}},
		{"with the recorded number of decimals", "counter", []string{"0.1", "0.2", "0.4"}, []string{"0.1", "0.2", "0.4", "0.5", "0.7"}},
		{"as a counter in nanoseconds does", "counter", []string{"1.5e+09", "1.500000001e+09"}, []string{"1.5e+09", "1.500000001e+09", "1.500000002e+09"}},
		{"gauge comes back", "gauge", []string{"5", "2"}, []string{"5", "2", "5", "2"}},
		{"clock goes on", "gauge", []string{"1.5", "2.5", "3.75"}, []string{"1.5", "2.5", "3.75", "4.75", "6"}},
		{"counter that was reset", "counter", []string{"5", "0", "1"}, []string{"5", "0", "1", "5"}},
		{"series that vanished", "gauge", []string{"5", "", "6"}, []string{"5", "", "6", "5", ""}},
		{"not a number", "gauge", []string{"NaN", "1"}, []string{"NaN", "1", "NaN"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, _, err := newMotion(recording.Series{Text: "x", Values: tt.recorded}, tt.metricType)
			require.NoError(t, err)
			for step, want := range tt.want {
				got := ""
				if m.present(int64(step)) {
					got = string(appendValue(nil, m.at(int64(step))))
				}
				require.Equal(t, want, got, "step %d", step)
			}
		})
	}
	m, text, err := newMotion(recording.Series{Values: []string{"0.10", "0.10"}}, "gauge")
	require.NoError(t, err)
	require.Nil(t, m)
	require.Equal(t, "0.10", text)
}

// BenchmarkRender tells what the page server itself costs for each sample:
// go test -bench Render ./test/bench/collector/load
func BenchmarkRender(b *testing.B) {
	c := cluster(b, Shape{Nodes: 4, PodsPerNode: 8, APIServers: 1, Seed: 1})
	targets := c.Targets()
	var page []byte
	lines := 0
	for b.Loop() {
		for _, t := range targets {
			var n Count
			page, n = t.Page.Render(page[:0], start)
			lines += n.Lines
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(lines), "ns/sample")
}
