package send

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unique"

	"github.com/golang/snappy"
	remoteapi "github.com/prometheus/client_golang/exp/api/remote"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/storage/remote"
	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/internal/model"
	"github.com/mangru/mangru/internal/rewrite"
)

// step is a rewrite.Step from a function.
type step func(b *labels.Builder, f model.Family) bool

func (s step) Apply(b *labels.Builder, f model.Family) bool { return s(b, f) }

func testEncoder(cfg Config) *encoder {
	ep := &endpoint{cfg: cfg, known: described{every: time.Minute}}
	cfg.ExternalLabels.Range(func(l labels.Label) {
		ep.external = append(ep.external, model.Label{Name: l.Name, Value: l.Value})
	})
	return newEncoder(ep)
}

func decoded(t testing.TB, e *encoder, v version) *requestContent {
	raw, err := snappy.Decode(nil, e.packed)
	require.NoError(t, err)
	return readContent(v, raw)
}

func named(names ...string) model.Labels {
	var b model.LabelsBuilder
	for _, n := range names {
		b.Append([]model.Label{{Name: "__name__", Value: n}, {Name: "job", Value: "j"}})
	}
	return b.Labels()
}

func TestRewrite(t *testing.T) {
	for _, v := range []version{v1, v2} {
		applied := map[string]int{}
		cfg := config()
		cfg.ExternalLabels = labels.FromStrings("job", "never", "zone", "ext")
		cfg.Rewrite = rewrite.Program{
			step(func(b *labels.Builder, f model.Family) bool {
				applied[b.Get("__name__")]++
				if b.Get("zone") != "ext" || b.Get("job") != "j" {
					panic("external labels are there, and do not win")
				}
				want := model.Family{Name: b.Get("__name__")}
				if want.Name == "a" {
					want = model.Family{Name: "fam", Type: model.TypeCounter}
				}
				if f != want {
					panic(fmt.Sprintf("family %+v", f))
				}
				b.Del("zone")
				return b.Get("__name__") != "gone"
			}),
			step(func(b *labels.Builder, _ model.Family) bool {
				if b.Get("__name__") == "twin" {
					b.Set("__name__", "a")
				}
				if b.Get("__name__") == "empty" {
					b.Del("__name__", "job")
				}
				return true
			}),
		}
		e := testEncoder(cfg)
		short := &model.Shape{Target: 1, Labels: named("a", "gone", "twin"), Family: []uint16{1, 0, 0}, Families: []unique.Handle[model.Family]{unique.Make(model.Family{Name: "fam", Type: model.TypeCounter})}}
		long := &model.Shape{Target: 1, Version: 1, Labels: named("a", "gone", "twin", "empty", "b"), Family: []uint16{1, 0, 0, 0, 0}, Families: short.Families}
		frames := []*model.Frame{
			{Shape: short, Time: 1, Values: []float64{1, 2, 3}},
			{Shape: long, Time: 2, Values: []float64{4, 5, 6, 7, 8}, Extras: []model.Extra{{Slot: 1, Time: 1}, {Slot: 3, Kind: model.ExtraExemplar}}},
		}
		for range 3 { // retries are not rewritten again
			e.encode(v, []model.Span{model.Whole(frames[:1])}, time.Now())
			require.Equal(t, counts{samples: 2, filtered: 1}, e.counts)
			e.encode(v, []model.Span{model.Whole(frames)}, time.Now())
			require.Equal(t, counts{samples: 5, filtered: 4}, e.counts)
			bits := math.Float64bits
			c := decoded(t, e, v)
			require.Equal(t, []point{{1, bits(1), false}, {2, bits(4), false}, {1, bits(3), false}, {2, bits(6), false}, {2, bits(8), false}}, c.points)
			require.Equal(t, []string{`{__name__="a", job="j"}`, `{__name__="a", job="j"}`, `{__name__="a", job="j"}`, `{__name__="a", job="j"}`, `{__name__="b", job="j"}`}, c.series)
		}
		require.Equal(t, map[string]int{"a": 1, "gone": 1, "twin": 1, "empty": 1, "b": 1}, applied)

		// Another generation has nothing to do with it.
		next := &model.Shape{Target: 1, Generation: 1, Labels: named("b", "gone")}
		e.encode(v, []model.Span{model.Whole([]*model.Frame{{Shape: next, Time: 3, Values: []float64{1, 2}}})}, time.Now())
		require.Equal(t, []string{`{__name__="b", job="j"}`}, decoded(t, e, v).series)
		require.Equal(t, 2, applied["b"])
	}
}

func TestTargetsAreForgotten(t *testing.T) {
	var ts targets
	now := time.Now()
	old := ts.get(1, now)
	require.Same(t, old, ts.get(1, now.Add(targetIdle)))
	ts.get(2, now.Add(2*targetIdle+time.Hour))
	require.Len(t, ts.byID, 1)
}

func TestLeftOutIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now().UnixMilli()
		sh := &model.Shape{Target: 1, Labels: named("a", "b", "gone")}
		frames := []*model.Frame{
			{Shape: sh, Time: now - 60_001, Values: []float64{1, 2, 3}, Extras: []model.Extra{{Slot: 0}}},
			{Shape: sh, Time: now - 50_000, Values: []float64{1, model.Absent(), 3}, Extras: []model.Extra{
				{Slot: 0, Kind: model.ExtraExemplar},
				{Slot: 1, Kind: model.ExtraHistogram, Histogram: histogramBytes(now, 1)},
			}},
			{Shape: sh, Time: now - 1000, Values: []float64{4, 5, 6}},
		}
		cfg := config()
		cfg.SampleAgeLimit, cfg.SendNativeHistograms, cfg.SendExemplars = time.Minute, false, false
		cfg.Rewrite = rewrite.Program{step(func(b *labels.Builder, _ model.Family) bool { return b.Get("__name__") != "gone" })}
		s, reg := newSender(t, cfg, &sink{})
		spans := []model.Span{model.Whole(frames)}
		n := total(spans)
		s.Run(t.Context(), newQueue(spans...))
		require.Equal(t, 10, n)
		require.NoError(t, testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP mangru_collector_sent_samples_total Samples that the endpoint accepted.
# TYPE mangru_collector_sent_samples_total counter
mangru_collector_sent_samples_total{endpoint="test"} 3
# HELP mangru_collector_send_filtered_samples_total Samples of series that the endpoint's own rules leave out; they are not lost.
# TYPE mangru_collector_send_filtered_samples_total counter
mangru_collector_send_filtered_samples_total{endpoint="test",reason="custom_buckets"} 0
mangru_collector_send_filtered_samples_total{endpoint="test",reason="native_histograms"} 1
mangru_collector_send_filtered_samples_total{endpoint="test",reason="write_relabel"} 3
# HELP mangru_collector_send_dropped_samples_total Samples that the endpoint refused for good or that cannot be sent.
# TYPE mangru_collector_send_dropped_samples_total counter
mangru_collector_send_dropped_samples_total{endpoint="test",reason="refused"} 0
mangru_collector_send_dropped_samples_total{endpoint="test",reason="too_large"} 0
mangru_collector_send_dropped_samples_total{endpoint="test",reason="too_old"} 3
`), "mangru_collector_sent_samples_total", "mangru_collector_send_filtered_samples_total", "mangru_collector_send_dropped_samples_total"))
	})
}

// TestAllIsFiltered: then there is nothing to send.
func TestAllIsFiltered(t *testing.T) {
	sink := &sink{}
	cfg := config()
	cfg.Rewrite = rewrite.Program{step(func(*labels.Builder, model.Family) bool { return false })}
	s, _ := newSender(t, cfg, sink)
	q := newQueue(someSpans(1, 20)...)
	s.Run(t.Context(), q)
	require.Zero(t, sink.requests)
	require.Empty(t, q.entries)
	require.Zero(t, s.State().Sent+s.State().Refused)
}

func TestMetadata(t *testing.T) {
	for _, v := range []version{v1, v2} {
		synctest.Test(t, func(t *testing.T) {
			fail := true
			sink := &sink{answer: func(int, version, int) action {
				if fail {
					fail = false
					return refusal(503, "")
				}
				return action{}
			}}
			cfg := config()
			cfg.Protocol, cfg.MetadataInterval = v.String(), time.Minute
			a := model.Family{Name: "a", Help: "all about a", Unit: "seconds", Type: model.TypeCounter}
			b := model.Family{Name: "b", Help: "all about b", Type: model.TypeGauge}
			versions := map[string]uint64{}
			frame := func(target uint64, families ...model.Family) model.Span {
				sh := &model.Shape{Target: target, Labels: named("a", "a", "b", "none", "b")}
				for _, f := range families {
					sh.Families = append(sh.Families, unique.Make(f))
				}
				key := fmt.Sprint(target, families)
				if versions[key] == 0 {
					versions[key] = uint64(len(versions) + 1)
				}
				sh.Version = versions[key]
				sh.Family = []uint16{1, 1, uint16(len(families)), 0, uint16(len(families))}
				return model.Whole([]*model.Frame{{Shape: sh, Time: time.Now().UnixMilli(), Values: make([]float64, 5)}})
			}
			q := &fakeQueue{changed: make(chan struct{})}
			s, _ := newSender(t, cfg, sink)
			done := make(chan struct{})
			go func() { defer close(done); s.Run(t.Context(), q) }()
			send := func(sp ...model.Span) map[string]model.Family {
				sink.mu.Lock()
				sink.families = map[string]model.Family{}
				sink.mu.Unlock()
				q.push(sp...)
				time.Sleep(10 * time.Second)
				sink.mu.Lock()
				defer sink.mu.Unlock()
				return sink.families
			}
			both := map[string]model.Family{"a": a, "b": b}
			require.Equal(t, both, send(frame(1, a, b), frame(2, a, b)), "after a failure it is told with the next attempt")
			require.Empty(t, send(frame(1, a, b), frame(2, a, b), frame(3, a, b)), "what is known is not told again")
			c := model.Family{Name: "b", Help: "news", Type: model.TypeGauge}
			require.Equal(t, map[string]model.Family{"b": c}, send(frame(3, a, c)))
			time.Sleep(time.Minute)
			require.Equal(t, both, send(frame(2, a, b)), "after a while it is")
			if v == v2 {
				require.Equal(t, 4*7, sink.typed, "every series of a family says its type")
			}
			q.close()
			<-done
		})
	}
}

func TestNoMetadata(t *testing.T) {
	sink := &sink{}
	cfg := config()
	cfg.SendMetadata = false
	s, _ := newSender(t, cfg, sink)
	s.Run(t.Context(), newQueue(someSpans(1, 20)...))
	require.Empty(t, sink.families)
	require.Zero(t, sink.typed)
	require.NotEmpty(t, sink.got)
}

type appender = storage.Appender

// recorder is a storage that remembers what is appended.
type recorder struct {
	appender
	got      map[string][]point
	families map[string]metadata.Metadata
	examples int
}

func (r *recorder) Appender(context.Context) storage.Appender { return r }
func (r *recorder) SetOptions(*storage.AppendOptions)         {}
func (r *recorder) Commit() error                             { return nil }
func (r *recorder) Rollback() error                           { return errors.New("nothing is to be taken back") }

func (r *recorder) Append(_ storage.SeriesRef, l labels.Labels, t int64, v float64) (storage.SeriesRef, error) {
	r.got[l.String()] = append(r.got[l.String()], point{t, math.Float64bits(v), false})
	return 0, nil
}

func (r *recorder) AppendHistogram(_ storage.SeriesRef, l labels.Labels, t int64, h *histogram.Histogram, _ *histogram.FloatHistogram) (storage.SeriesRef, error) {
	r.got[l.String()] = append(r.got[l.String()], point{t, math.Float64bits(h.Sum), true})
	return 0, h.Validate()
}

func (r *recorder) AppendExemplar(storage.SeriesRef, labels.Labels, exemplar.Exemplar) (storage.SeriesRef, error) {
	r.examples++
	return 0, nil
}

func (r *recorder) UpdateMetadata(_ storage.SeriesRef, l labels.Labels, m metadata.Metadata) (storage.SeriesRef, error) {
	if m.Help != "" {
		r.families[l.Get("__name__")] = m
	}
	return 0, nil
}

// TestPrometheusReceives: its own handler for both versions takes what is sent.
func TestPrometheusReceives(t *testing.T) {
	for _, protocol := range []string{ProtocolV1, ProtocolV2, ""} {
		r := &recorder{got: map[string][]point{}, families: map[string]metadata.Metadata{}}
		h := remote.NewWriteHandler(slog.New(slog.DiscardHandler), prometheus.NewRegistry(), r,
			remoteapi.MessageTypes{remoteapi.WriteV1MessageType, remoteapi.WriteV2MessageType}, false, false, true)
		cfg := config()
		cfg.Protocol, cfg.MaxShards = protocol, 1
		s, reg := newSender(t, cfg, handler{h})
		spans, want := mixed(rand.New(rand.NewPCG(8, 8)), 3, 60)
		n := total(spans)
		s.Run(t.Context(), newQueue(spans...))
		require.Empty(t, s.State().LastError)
		require.Equal(t, uint64(n), s.State().Sent)
		repeated, missing := audit(t, want, r.got)
		require.Zero(t, repeated)
		require.Zero(t, missing)
		require.Positive(t, r.examples)
		if protocol != ProtocolV1 { // it has no use for the metadata of 1.0
			require.Contains(t, r.families, "m0")
			require.Equal(t, metadata.Metadata{Type: "gauge", Help: "about m"}, r.families["m0"])
			require.NoError(t, testutil.GatherAndCompare(reg, strings.NewReader(fmt.Sprintf(`
# HELP mangru_collector_sent_exemplars_total Exemplars that the endpoint accepted.
# TYPE mangru_collector_sent_exemplars_total counter
mangru_collector_sent_exemplars_total{endpoint="test"} %d
`, r.examples)), "mangru_collector_sent_exemplars_total"))
		}
	}
}

// manyPages returns a scrape of many targets: of the pages in the folder that
// MANGRU_PAGES names, text files, each as a few targets; else of made-up ones.
func manyPages(tb testing.TB) (spans []model.Span) {
	files, err := filepath.Glob(filepath.Join(os.Getenv("MANGRU_PAGES"), "*.txt"))
	require.NoError(tb, err)
	rnd := rand.New(rand.NewPCG(1, 2))
	for target := range uint64(40) {
		node := fmt.Sprintf("ip-10-0-%d-%d.ap-northeast-2.compute.internal", rnd.IntN(250), rnd.IntN(250))
		extra := []model.Label{{Name: "instance", Value: fmt.Sprintf("10.0.%d.%d:9100", rnd.IntN(250), rnd.IntN(250))}, {Name: "node", Value: node}}
		if os.Getenv("MANGRU_PAGES") == "" || len(files) == 0 {
			spans = append(spans, madeUpPage(target, extra, rnd))
			continue
		}
		file := files[target%uint64(len(files))]
		extra = append(extra, model.Label{Name: "job", Value: "kubernetes-" + strings.TrimSuffix(filepath.Base(file), ".txt")})
		spans = append(spans, recordedPage(tb, target, file, extra, rnd))
	}
	return spans
}

func madeUpPage(target uint64, extra []model.Label, rnd *rand.Rand) model.Span {
	var b model.LabelsBuilder
	sh := &model.Shape{Target: target}
	var values []float64
	for family := range 60 {
		name := fmt.Sprintf("container_some_metric_%d_total", family)
		sh.Families = append(sh.Families, unique.Make(model.Family{Name: name, Help: "What this metric is about, in a sentence.", Type: model.TypeCounter}))
		for pod := range 25 {
			ls := append([]model.Label{{Name: "__name__", Value: name}, {Name: "container", Value: "app"}}, extra[0])
			ls = append(ls, model.Label{Name: "job", Value: "kubernetes-nodes-cadvisor"}, extra[1], model.Label{Name: "pod", Value: fmt.Sprintf("shop-%d-%d-7d9c", target, pod)})
			b.Append(ls)
			sh.Family = append(sh.Family, uint16(family+1))
			values = append(values, []float64{0, float64(rnd.IntN(1e6)), rnd.Float64() * 1000}[rnd.IntN(3)])
		}
	}
	sh.Labels = b.Labels()
	return model.Whole([]*model.Frame{{Shape: sh, Time: 1732278000000 + rnd.Int64N(10000), Values: values}})
}

// recordedPage reads a page as another node would have given it.
func recordedPage(tb testing.TB, target uint64, file string, extra []model.Label, rnd *rand.Rand) model.Span {
	raw, err := os.ReadFile(file)
	require.NoError(tb, err)
	p, err := textparse.New(append(raw, '\n'), "text/plain", labels.NewSymbolTable(), textparse.ParserOptions{})
	require.NoError(tb, err)
	var b model.LabelsBuilder
	var values []float64
	var families []model.Family
	sh := &model.Shape{Target: target}
	for {
		entry, err := p.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(tb, err)
		switch entry {
		case textparse.EntryHelp:
			name, help := p.Help()
			families = append(families, model.Family{Name: string(name), Help: string(help)})
		case textparse.EntryType:
			if _, kind := p.Type(); len(families) > 0 {
				families[len(families)-1].Type = map[string]model.MetricType{"counter": 1, "gauge": 2, "histogram": 3, "summary": 5}[string(kind)]
			}
		case textparse.EntrySeries:
			_, _, v := p.Series()
			var own labels.Labels
			p.Labels(&own)
			var ls []model.Label
			own.Range(func(l labels.Label) { ls = append(ls, model.Label{Name: l.Name, Value: l.Value}) })
			for _, x := range extra {
				if !own.Has(x.Name) {
					ls = append(ls, x)
				}
			}
			slices.SortFunc(ls, func(a, b model.Label) int { return strings.Compare(a.Name, b.Name) })
			b.Append(ls)
			if v != math.Trunc(v) {
				v *= 1 + rnd.Float64()/10
			} else if v > 100 {
				v += math.Trunc(v * rnd.Float64() / 10)
			}
			values = append(values, v)
			sh.Family = append(sh.Family, uint16(len(families)))
		}
	}
	for _, f := range families {
		sh.Families = append(sh.Families, unique.Make(f))
	}
	sh.Labels = b.Labels()
	return model.Whole([]*model.Frame{{Shape: sh, Time: 1732278000000 + rnd.Int64N(10000), Values: values}})
}

// batches divides spans into leases.
func batches(spans []model.Span, limit int) (out [][]model.Span) {
	q := newQueue(spans...)
	r := q.Reader()
	for {
		lease, err := r.Next(context.Background(), limit, 0)
		if err != nil {
			return out
		}
		out = append(out, slices.Clone(lease))
		r.Settle(len(lease))
	}
}

func BenchmarkEncode(b *testing.B) {
	lists := batches(manyPages(b), 10_000)
	now := time.Now()
	for _, v := range []version{v1, v2} {
		b.Run(v.String(), func(b *testing.B) {
			e := testEncoder(config())
			samples, size := 0, 0
			b.ReportAllocs()
			for b.Loop() {
				for _, l := range lists {
					e.encode(v, l, now)
					e.known.done(e.described, now)
					samples += e.counts.sent()
					size += len(e.packed)
				}
			}
			b.ReportMetric(float64(size)/float64(samples), "B/sample")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(samples), "ns/sample")
		})
	}
}
