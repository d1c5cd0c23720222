package scrape

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"maps"
	"math"
	"math/rand/v2"
	"strings"
	"syscall"
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
func pass(c *cache, sp *spec, now int64, text string) (*model.Frame, *scrapeResult) {
	return passPage(c, sp, now, &page{wire: []byte(text), contentType: textType})
}

func passPage(c *cache, sp *spec, now int64, pg *page) (*model.Frame, *scrapeResult) {
	c.use(sp)
	r := &scrapeResult{}
	state := passStates.Get().(*passState)
	defer passStates.Put(state)
	c.begin(now, state)
	if r.err = c.read(pg, r); r.err != nil || r.bytes == 0 {
		c.fail()
	} else {
		c.succeed()
	}
	c.report(r)
	f := c.frame()
	c.passState = nil
	gen := c.shape.Generation
	c.compact(func() uint64 { return gen + 1 })
	return f, r
}

// TestChurn shows a target new series all the time: memory follows what lives.
func TestChurn(t *testing.T) {
	sp, c := testSpec(t), newCache(1, 1, "j")
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
				require.GreaterOrEqual(t, f.Shape.Slots(), last.Shape.Slots())
				for i := range last.Shape.Slots() {
					require.Equal(t, last.Shape.Labels.Append(nil, i), f.Shape.Labels.Append(nil, i), "a prefix of its successor")
				}
			}
		}
		last = f
		shapes[f.Shape.Generation] = true
		require.Less(t, f.Shape.Slots(), 1500)
		require.Less(t, len(c.lines), 1500)
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
		c := newCache(1, 1, "j")
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
			require.Len(t, fr.Values, fr.Shape.Slots())
			for slot, v := range fr.Values {
				if fr.TimeOf(slot) != now {
					continue
				}
				k := key(fr.Shape.Labels.Append(nil, slot))
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
				if !next[k] && !aboutScrape(k) && !model.IsStale(got[k]) {
					t.Fatalf("page %q: %s ended without a marker", text, k)
				}
			}
			for k, v := range got {
				if !aboutScrape(k) && (!live[k] || !model.IsStale(v)) {
					t.Fatalf("page %q: %s = %v came from nowhere", text, k, v)
				}
			}
			live = next
		}
	})
}

// TestStampsGoRound lets a target fail for longer than there are stamps.
func TestStampsGoRound(t *testing.T) {
	sp, c := testSpec(t), newCache(1, 1, "j")
	c.pass = stamps - 3
	now := int64(0)
	for i := range 10 {
		now += 1000
		_, r := pass(c, sp, now, "a 1\nb 2\n")
		require.NoError(t, r.err)
		require.Equal(t, map[bool]int{true: 2}[i == 0], r.added, "pass %d", i)
	}
	for range 5 {
		now += 1000
		_, r := pass(c, sp, now, "a 1\nb{\n")
		require.Error(t, r.err)
	}
	_, r := pass(c, sp, now+1000, "a 1\nb 2\nc 3\n")
	require.Equal(t, 1, r.added, "a failed page does not make series new")
}

// TestLongLines has texts that are too long to be expected.
func TestLongLines(t *testing.T) {
	sp, c := testSpec(t), newCache(1, 1, "j")
	long := strings.Repeat("x", 70000)
	page := "a{l=\"" + long + "1\"} 1\na{l=\"" + long + "2\"} 2\nb 3\n"
	for i := range 3 {
		f, r := pass(c, sp, int64(i), page)
		require.NoError(t, r.err)
		require.Equal(t, []float64{1, 2, 3}, f.Values[:3])
		require.Len(t, c.lines, 3)
	}
}

// pieces is a page that comes n bytes at a time.
type pieces struct {
	b    []byte
	n    int
	from int
	to   int
}

func (p *pieces) Next(keep int) ([]byte, error) {
	if p.to == len(p.b) {
		return p.b[p.to-keep:], io.EOF
	}
	p.from, p.to = p.to-keep, min(len(p.b), p.to+p.n)
	return append([]byte(nil), p.b[p.from:p.to]...), nil
}

// FuzzLines reads pages line by line, in pieces, twice, and through Prometheus'
// parser alone, and compares what came of them.
func FuzzLines(f *testing.F) {
	for _, seed := range []string{
		"# HELP a b\n# TYPE a histogram\na_bucket{le=\"1\"} 1\na_sum 1.5e3\n# TYPE b summary\nb{quantile=\"1\"} -0.25\na_count 1e400\n",
		"a{x=\"}\\\"\"} 1 17\na {y=\"1\"}\t2 \t 18 \n\n  b 3\n{\"q r\",z=\"1\"} +Inf\nc 0x1p-2\nd 1_0\n",
		"a{x=\"line\nbreak\"} 1\n#comment\n# x\n#\na 12345678901234567890 1234567890123\nb .5\nc 5.\nd -\n",
		"a\x00b 1\na{b=\"\x00\"} 2\n# HELP a \x00 x\nx NaN\ny nan\nz -Inf\r\n", "a 1", "a{} 1\na 1e22\na 1e23\na 9007199254740993\na 1.\n",
	} {
		f.Add(seed, uint8(3))
	}
	sp := testSpec(f)
	f.Fuzz(func(t *testing.T, text string, size uint8) {
		ref, lined := newCache(1, 1, "j"), newCache(1, 1, "j")
		for i, page := range []string{text, text, text + text} {
			want, wr := drive(ref, sp, int64(i), func(c *cache, r *scrapeResult) error {
				p, _ := textparse.New([]byte(page), textType, labels.NewSymbolTable(), sp.plan.parser)
				return c.readParsed(p, r)
			})
			got, gr := drive(lined, sp, int64(i), func(c *cache, r *scrapeResult) error {
				return c.readText(&pieces{b: []byte(page), n: 1 + int(size)}, r)
			})
			if (wr.err == nil) != (gr.err == nil) {
				t.Fatalf("pass %d of %q: error %v, the parser says %v", i, page, gr.err, wr.err)
			}
			if wr.scraped != gr.scraped || wr.postRelabel != gr.postRelabel || wr.added != gr.added || wr.lost != gr.lost {
				t.Fatalf("pass %d of %q: %+v, want %+v", i, page, gr, wr)
			}
			if !maps.Equal(content(want), content(got)) {
				t.Fatalf("pass %d of %q: %v, want %v", i, page, content(got), content(want))
			}
		}
	})
}

// drive runs a page through a cache by a given reader.
func drive(c *cache, sp *spec, now int64, read func(*cache, *scrapeResult) error) (*model.Frame, *scrapeResult) {
	c.use(sp)
	r := &scrapeResult{}
	c.begin(now, &passState{builder: *labels.NewBuilder(labels.EmptyLabels())})
	if r.err = read(c, r); r.err != nil {
		c.fail()
	} else {
		c.succeed()
	}
	return c.frame(), r
}

// content writes a frame down.
func content(f *model.Frame) map[string]string {
	out := map[string]string{}
	for slot, v := range f.Values {
		if !model.IsAbsent(v) {
			out[key(f.Shape.Labels.Append(nil, slot))] = fmt.Sprintf("%x at %d", math.Float64bits(v), f.TimeOf(slot))
		}
	}
	for _, x := range f.Extras {
		out[key(f.Shape.Labels.Append(nil, int(x.Slot)))] += fmt.Sprintf(" before %x at %d", math.Float64bits(x.Value), x.Time)
	}
	return out
}

func aboutScrape(k string) bool {
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
	sp, c := testSpec(t), newCache(1, 1, "j")
	pg := bigPage(2000, rand.New(rand.NewPCG(1, 1)))
	now := time.Now().UnixMilli()
	for range 3 {
		now += 15000
		pass(c, sp, now, pg)
	}
	shape := c.shape
	require.True(t, shape.Labels.Packed(), "it is at rest")
	allocs := testing.AllocsPerRun(20, func() {
		now += 15000
		pass(c, sp, now, pg)
	})
	require.Same(t, shape, c.shape)
	require.Less(t, allocs, 60.0, "a handful per page of 2000 samples")
}

// TestRest: a target is at rest soon after something new, unless something new comes
// all the time; its shapes say the same in both states.
func TestRest(t *testing.T) {
	sp, c := testSpec(t), newCache(1, 1, "j")
	pg := bigPage(100, rand.New(rand.NewPCG(1, 1)))
	now, news := time.Now().UnixMilli(), 0
	seen := []string{}
	scrape := func() *model.Frame {
		now += 15000
		f, r := pass(c, sp, now, pg)
		require.NoError(t, r.err)
		list := f.Shape.Labels.Open(nil)
		all := make([]string, list.Len())
		for i := range all {
			all[i] = key(list.Append(nil, i))
			require.False(t, model.IsAbsent(f.Values[i]), "a value for %s", all[i])
		}
		require.Equal(t, seen, all[:len(seen)], "slots stay what they are")
		seen = all
		return f
	}
	// passes returns how many it takes until the target is at rest after news.
	passes := func() (n int) {
		news++
		pg += fmt.Sprintf("new{n=\"%d\"} 1\n", news)
		for n = 1; ; n++ {
			if f := scrape(); !c.labels.Awake() {
				require.True(t, f.Shape.Labels.Packed())
				require.Len(t, seen, 100+news+5)
				return n
			}
		}
	}
	first := passes()
	require.LessOrEqual(t, first, 3)
	for range 5 {
		passes()
	}
	require.Equal(t, longestPatience+1, passes(), "it is never at rest for long")
	for range 5 * longestPatience {
		scrape()
	}
	passes()
	require.Less(t, passes(), longestPatience, "that was long ago")
}

// go test -bench Page -benchmem ./internal/collector/scrape
func BenchmarkPage(b *testing.B) {
	const series = 5000
	plain := []byte(bigPage(series, rand.New(rand.NewPCG(1, 1))))
	var packed bytes.Buffer
	zw := gzip.NewWriter(&packed)
	_, _ = zw.Write(plain)
	_ = zw.Close()
	for name, pg := range map[string]*page{
		"plain": {wire: plain, contentType: textType},
		"gzip":  {wire: packed.Bytes(), contentType: textType, packed: true},
	} {
		b.Run(name, func(b *testing.B) {
			sp, c := testSpec(b), newCache(1, 1, "j")
			now := time.Now().UnixMilli()
			passPage(c, sp, now, pg)
			b.ReportAllocs()
			before := cpuTime()
			for b.Loop() {
				now += 15000
				passPage(c, sp, now, pg)
			}
			b.ReportMetric(float64(cpuTime()-before)/float64(b.N)/series, "cpu-ns/sample")
		})
	}
}

// cpuTime is what the process has used; unlike the clock it says the same on a
// busy machine.
func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
