package scrape

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/internal/model"
)

func valueOf(families []*dto.MetricFamily, name, label string) (sum float64) {
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetValue() == label {
					sum += m.GetCounter().GetValue()
				}
			}
		}
	}
	return sum
}

func testSpec(t testing.TB) *spec {
	t.Helper()
	tt, ok := t.(*testing.T)
	if !ok {
		tt = &testing.T{}
	}
	p, err := newPlan(Job{Config: loadConfig(tt, "scrape_configs: [{job_name: j}]").ScrapeConfigs[0]}, "test")
	require.NoError(t, err)
	return &spec{plan: p, public: labels.FromStrings("job", "j", "instance", "it")}
}

// pass runs one page through a cache, as a target does.
func pass(c *cache, sp *spec, now int64, page string) (*model.Frame, *scrapeResult) {
	c.use(sp)
	r := &scrapeResult{}
	c.begin(now)
	pg := &pageText{page}
	if r.err = c.read(pg.page(), r); r.err != nil {
		c.fail()
	} else {
		c.succeed()
	}
	c.report(r)
	f := c.frame()
	gen := c.shape.Generation
	c.compact(func() uint64 { return gen + 1 })
	return f, r
}

type pageText struct{ s string }

func (p *pageText) page() *page { return &page{text: []byte(p.s), contentType: textType} }

func TestTextsWithTheSameHash(t *testing.T) {
	c := newCache(1, 1)
	a := c.addEntry([]byte("a"), 99, 0)
	b := c.addEntry([]byte("b"), 99, 1)
	require.Equal(t, a, c.find([]byte("a"), 99))
	require.Equal(t, b, c.find([]byte("b"), 99))
	require.Equal(t, int32(-1), c.find([]byte("c"), 99))
	c.order = []int32{a, b}
	require.Equal(t, b, c.find([]byte("b"), 99), "not the one expected next")
}

// TestChurn shows a target new series all the time: memory follows what lives.
func TestChurn(t *testing.T) {
	sp, c := testSpec(t), newCache(1, 1)
	var last *model.Frame
	shapes := map[uint64]bool{}
	for i := range 200 {
		var b strings.Builder
		for k := range 100 {
			fmt.Fprintf(&b, "m{i=\"%d\"} %d\n", i*50+k, i)
		}
		f, r := pass(c, sp, int64(i*1000), b.String())
		require.NoError(t, r.err)
		stale, fresh := 0, 0
		for _, v := range f.Values {
			switch {
			case model.IsStale(v):
				stale++
			case v == float64(i):
				fresh++
			}
		}
		require.GreaterOrEqual(t, fresh, 100)
		if i > 0 {
			require.Equal(t, 50, stale, "each series ends once, also where the list was made anew")
			if f.Shape.Generation == last.Shape.Generation {
				require.GreaterOrEqual(t, len(f.Shape.Series), len(last.Shape.Series))
				require.Equal(t, last.Shape.Series, f.Shape.Series[:len(last.Shape.Series)], "a prefix of its successor")
			}
		}
		last = f
		shapes[f.Shape.Generation] = true
		require.Less(t, len(f.Shape.Series), 1500)
		require.Less(t, len(c.entries), 1500)
	}
	require.Greater(t, len(shapes), 3)
}

// FuzzPages runs pages through the cache and compares each frame with what a
// reader without memory makes of the page.
func FuzzPages(f *testing.F) {
	f.Add("a 1\nb{x=\"1\"} 2\n%a 2\n%b{x=\"1\"} 3\na 1\n%")
	f.Add("a{x=\"1\",y=\"2\"} 1\na{y=\"2\",x=\"1\"} 2\n%a{job=\"k\"} NaN\n%a{\n%a 1 123\na 1\n")
	f.Add("# TYPE h histogram\nh_bucket{le=\"1\"} 1\n%up 7\n%\"q u\" 1\n{\"a b\",c=\"d\"} 4\n")
	sp := testSpec(f)
	f.Fuzz(func(t *testing.T, in string) {
		c := newCache(1, 1)
		live := map[string]bool{}
		for i, text := range strings.Split(in, "%") {
			if text == "" {
				continue
			}
			now := int64(1000 * (i + 1))
			fr, r := pass(c, sp, now, text)
			want, ok := naive(sp, text)
			if ok != (r.err == nil) {
				t.Fatalf("page %q: error %v, expected success %v", text, r.err, ok)
			}
			got := map[string]float64{}
			for slot, v := range fr.Values {
				k := key(fr.Shape.Series[slot].Labels)
				if _, twice := got[k]; twice {
					t.Fatalf("%s has two slots", k)
				}
				if !model.IsAbsent(v) {
					got[k] = v
				}
			}
			next := map[string]bool{}
			for k, v := range want {
				if g, ok := got[k]; !ok || math.Float64bits(g) != math.Float64bits(plainNaN(v)) {
					t.Fatalf("page %q: %s is %v, want %v", text, k, g, v)
				}
				delete(got, k)
				next[k] = true
			}
			for k := range live {
				if !next[k] && !isReport(k) && !model.IsStale(got[k]) {
					t.Fatalf("page %q: %s ended without a marker", text, k)
				}
			}
			for k, v := range got {
				if !isReport(k) && (!live[k] || !model.IsStale(v)) {
					t.Fatalf("page %q: %s = %v came from nowhere", text, k, v)
				}
			}
			live = next
		}
	})
}

func isReport(k string) bool {
	return strings.Contains(k, `__name__="up"`) || strings.Contains(k, `__name__="scrape_`)
}

// naive reads a page: the first value of each series without a time of its own.
func naive(sp *spec, text string) (map[string]float64, bool) {
	out, texts := map[string]float64{}, map[string]bool{}
	p, _ := textparse.New([]byte(text), textType, labels.NewSymbolTable(), sp.plan.parser)
	for {
		et, err := p.Next()
		if err != nil {
			return out, err.Error() == "EOF" || emptied(out)
		}
		if et != textparse.EntrySeries {
			continue
		}
		met, own, v := p.Series()
		if texts[string(met)] && own == nil {
			continue // the same text again does not count, whatever came before
		}
		texts[string(met)] = true
		var ls labels.Labels
		p.Labels(&ls)
		ls, _ = finishLabels(labels.NewBuilder(labels.EmptyLabels()), ls, sp.public, false, nil)
		if !ls.Has("__name__") || !ls.IsValid(sp.plan.cfg.MetricNameValidationScheme) {
			return map[string]float64{}, false
		}
		if own == nil {
			if _, ok := out[ls.String()]; !ok {
				out[ls.String()] = v
			}
		}
	}
}

// emptied empties a map and says no.
func emptied(m map[string]float64) bool { clear(m); return false }

func bigPage(n int, rnd *rand.Rand) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "container_network_receive_bytes_total{container=\"c%d\",id=\"/kubepods/burstable/pod%d\",image=\"registry/app:v1\",namespace=\"ns%d\",pod=\"app-%d\"} %d\n", i%7, i, i%20, i, rnd.IntN(1e9))
	}
	return b.String()
}

// TestSteadyStateDoesNotAllocatePerSample guards the path that all samples take.
func TestSteadyStateDoesNotAllocatePerSample(t *testing.T) {
	sp, c := testSpec(t), newCache(1, 1)
	pg := bigPage(2000, rand.New(rand.NewPCG(1, 1)))
	now := time.Now().UnixMilli()
	pass(c, sp, now, pg)
	shape := c.shape
	allocs := testing.AllocsPerRun(20, func() {
		now += 15000
		pass(c, sp, now, pg)
	})
	require.Same(t, shape, c.shape)
	require.Less(t, allocs, 60.0, "a handful per page of 2000 samples")
}

// go test -bench Page -benchmem ./internal/collector/scrape
func BenchmarkPage(b *testing.B) {
	sp, c := testSpec(b), newCache(1, 1)
	pg := bigPage(5000, rand.New(rand.NewPCG(1, 1)))
	now := time.Now().UnixMilli()
	pass(c, sp, now, pg)
	b.ReportAllocs()
	for b.Loop() {
		now += 15000
		pass(c, sp, now, pg)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/5000, "ns/sample")
}
